//! How many transactions there were, by the markers in the log of the group's offsets: each one
//! that was ended has one there.

use core::fmt;

use kavka_std::kavka_core::record::{BatchHeader, ControlRecord, Records};
use kavka_tests::kafka::Cluster;

use super::Failure;

const OFFSETS: &str = "__consumer_offsets";

/// Transactions with offsets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    committed: u64,
    aborted: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} transactions, {} aborted", self.committed, self.aborted)
    }
}

/// Counts the markers. The topic has one partition.
pub(super) fn count(cluster: &Cluster) -> Result<Counts, Failure> {
    let seen = cluster.metadata(Some(OFFSETS))?;
    let leader = seen.partitions.first().map_or(-1, |partition| partition.leader);
    let mut raw = cluster.raw(usize::try_from(leader)?)?;
    let (mut counts, mut offset) = (Counts::default(), 0);
    loop {
        let (end, bytes) = raw.fetch(OFFSETS, 0, offset)?;
        if offset >= end {
            return Ok(counts);
        }
        let before = offset;
        let mut rest = &bytes[..];
        while let Ok(header) = BatchHeader::parse(rest) {
            let Some((batch, behind)) = rest.split_at_checked(header.total_len()) else { break };
            offset = header.next_offset().max(offset);
            if header.is_control() {
                counts.add(&header, batch)?;
            }
            rest = behind;
        }
        if offset == before {
            return Err(format!("{OFFSETS} cannot be read at {offset}").into());
        }
    }
}

impl Counts {
    fn add(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<(), Failure> {
        for record in Records::new(header, batch) {
            match ControlRecord::parse(record?.key.unwrap_or_default())? {
                ControlRecord::Commit => self.committed += 1,
                ControlRecord::Abort => self.aborted += 1,
                _ => {}
            }
        }
        Ok(())
    }
}
