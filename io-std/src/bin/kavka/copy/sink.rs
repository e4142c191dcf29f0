//! Where the records of a stretch go.

use std::collections::BTreeMap;

use kavka_std::{Delivered, Pending, Producer, Record};

use crate::Failure;

/// Offsets to be committed, with the leader epoch of the record before, by partition.
pub(super) type Offsets = BTreeMap<u32, (i64, i32)>;

/// What a stretch has.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) offsets: Offsets,
    pub(super) bytes: usize,
    pub(super) records: u64,
}

pub(super) trait Sink {
    /// Sends a record, unless its partition is not being copied: `false`.
    fn send(
        &mut self,
        topic: &str,
        partition: u32,
        offset: i64,
        record: &Record<'_>,
    ) -> Result<bool, Failure>;

    /// A batch has ended; the next one begins at `next` or later. Returns whether that is to be
    /// committed.
    fn ends(&mut self, partition: u32, next: i64) -> Result<bool, Failure>;
}

/// One producer for all partitions.
pub(super) struct All<'a> {
    pub(super) producer: &'a Producer,
    /// Without a transaction: each of them is waited for.
    pub(super) sent: Option<Vec<Pending<Delivered>>>,
}

impl Sink for All<'_> {
    fn send(
        &mut self,
        topic: &str,
        partition: u32,
        _: i64,
        record: &Record<'_>,
    ) -> Result<bool, Failure> {
        let pending = self.producer.send_to(topic, partition, record)?;
        if let Some(sent) = &mut self.sent {
            sent.push(pending);
        }
        Ok(true)
    }

    fn ends(&mut self, _: u32, _: i64) -> Result<bool, Failure> {
        Ok(true)
    }
}
