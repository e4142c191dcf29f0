//! Records that a broker names as the reason for refusing their batch (KIP-467): they get its code,
//! the others of the batch an error that says that they are not to blame.
//!
//! They are marked in the batch itself, which will not be sent again: in the attributes of each
//! record, which are 0.

use super::answer::AnswerMemo;
#[cfg(feature = "pack")]
use super::pack::codec_of;
use super::split::Reader;
use super::{Batch, Producer};
use crate::connection::Net;
use crate::error::Error;
use crate::event::Event;
use crate::id::BatchId;
use crate::memory::Blocks;
use crate::record::HEADER_LEN;
use crate::wire::ErrorCode;

const BAD: u8 = 1;

/// The position in the broker's list, which is in the order of the records.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named {
    records: u32,
    bytes: u32,
}

impl<'d> Producer<'d> {
    /// Marks a record that a response names, in the batch that it is about.
    pub(super) fn on_record_error(&mut self, net: &mut Net<'d>, memo: &mut AnswerMemo, index: i32) {
        // Only these codes come with such a list, and no batch is sent again after them.
        if !matches!(memo.error, ErrorCode::INVALID_RECORD | ErrorCode::INVALID_TIMESTAMP) {
            return;
        }
        let (Some(batch), Ok(index)) = (memo.batch.get(), u32::try_from(index)) else { return };
        let b = &mut self.batches[batch];
        if index < memo.named.records || index >= b.count {
            return;
        }
        #[cfg(feature = "pack")]
        if codec_of(b) != 0 {
            Self::list_culprit(&mut net.blocks, b, index);
            memo.named.records = index + 1;
            return;
        }
        let from = if b.blamed { memo.named.bytes as usize } else { HEADER_LEN };
        let Some((at, end)) = place(&net.blocks, b, from, index - memo.named.records) else {
            return;
        };
        net.blocks.set(&b.chain, at, BAD);
        b.blamed = true;
        memo.named = Named { records: index + 1, bytes: end as u32 };
    }

    /// Returns the next records of an ended batch that share an outcome, and whether they are the
    /// last.
    pub(super) fn next_run(
        &mut self,
        blocks: &mut Blocks<'d>,
        batch: usize,
    ) -> (Event<'static>, bool) {
        let b = &mut self.batches[batch];
        if !b.blamed {
            return (b.ended(), true);
        }
        #[cfg(feature = "pack")]
        if codec_of(b) != 0 {
            return Self::next_listed(blocks, b);
        }
        // Where the last run ended: the fields have no other meaning any more.
        let (first, from) = (b.reported, (b.max_timestamp as usize).max(HEADER_LEN));
        let mut reader = Reader::new(blocks, &b.chain, from);
        let (mut count, mut bad, mut end) = (0, false, from);
        while first + count < b.count {
            let Some(is_bad) = record(&mut reader) else { break };
            if count > 0 && is_bad != bad {
                break;
            }
            (count, bad, end) = (count + 1, is_bad, reader.at);
        }
        // Our own bytes can be read; in any case every record is reported.
        let count = if count == 0 { b.count.saturating_sub(first) } else { count };
        (b.reported, b.max_timestamp) = (first + count, end as i64);
        let last = b.reported >= b.count;
        let error = match b.error {
            Some(Error::Broker(code)) if !bad => Error::BatchRefused(code),
            other => other.unwrap_or(Error::TimedOut),
        };
        let (id, to, maybe_written) = (BatchId(b.id), b.to, b.maybe_written);
        let first = b.first + first;
        if last {
            blocks.release(&mut b.chain);
        }
        (Event::Failed { batch: id, to, first, count, error, maybe_written }, last)
    }
}

/// Returns where the attributes of the `skip`-th record from here are, and where it ends.
fn place(blocks: &Blocks<'_>, b: &Batch, from: usize, skip: u32) -> Option<(usize, usize)> {
    let mut reader = Reader::new(blocks, &b.chain, from);
    for _ in 0..skip {
        record(&mut reader)?;
    }
    let len = usize::try_from(reader.varint()?).ok()?;
    Some((reader.at, reader.at.checked_add(len)?))
}

/// Reads a record and returns whether it is a bad one.
fn record(reader: &mut Reader<'_>) -> Option<bool> {
    let len = usize::try_from(reader.varint()?).ok()?;
    let end = reader.at.checked_add(len)?;
    let bad = reader.byte()? == BAD;
    reader.skip(end.checked_sub(reader.at)?)?;
    Some(bad)
}
