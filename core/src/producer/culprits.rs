//! Records that a broker names as the reason for refusing their batch (KIP-467): they get its code.
//! The others are sent again, in batches of their own in the same place, or get an error that says
//! that they are not to blame.
//!
//! They are marked in the batch itself, which will not be sent again: in the attributes of each
//! record, which are 0.

#[cfg(feature = "pack")]
use super::pack::{Form, codec_of};
use super::response::ResponseMemo;
use super::split::{Reader, extent, renumbered};
use super::{Batch, Producer, Stage};
use crate::config::Settings;
use crate::connection::Net;
use crate::error::Error;
use crate::event::Event;
use crate::has::{CULPRITS, Culprits, RESEND, Split};
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

/// Neighbours in a batch that are all to blame, or all not.
struct Run {
    count: u32,
    bad: bool,
    /// Where the last one ends.
    end: usize,
}

impl<'d> Producer<'d> {
    /// Marks a record that a response names, in the batch that it is about.
    pub(super) fn on_record_error(
        &mut self,
        net: &mut Net<'d>,
        memo: &mut ResponseMemo,
        index: i32,
    ) {
        // Only these codes come with such a list, and no batch is sent again after them.
        let named = matches!(memo.error, ErrorCode::INVALID_RECORD | ErrorCode::INVALID_TIMESTAMP);
        if !CULPRITS || !named {
            return;
        }
        let (Some(batch), Ok(index)) = (memo.batch.get(), u32::try_from(index)) else { return };
        let b = &mut self.batches[batch];
        if index < memo.named.records || index >= b.count {
            return;
        }
        // Unpacked, it is marked as others are, and those that are not to blame can be sent again.
        #[cfg(feature = "pack")]
        if codec_of(b) != 0 && (b.blamed.or(false) || self.unpack(net, batch).is_none()) {
            Self::list_culprit(&mut net.blocks, &mut self.batches[batch], index);
            memo.named.records = index + 1;
            return;
        }
        let b = &mut self.batches[batch];
        let from = if b.blamed.or(false) { memo.named.bytes as usize } else { HEADER_LEN };
        let Some((at, end)) = place(&net.blocks, b, from, index - memo.named.records) else {
            return;
        };
        net.blocks.set(&b.chain, at, BAD);
        b.blamed.set(true);
        memo.named = Named { records: index + 1, bytes: end as u32 };
    }

    /// Whether the records of a refused batch that are not to blame are sent again. None of it is
    /// in the log then.
    pub(super) fn may_resend(&self, settings: &Settings<'_>, batch: usize) -> bool {
        let b = &self.batches[batch];
        if self.txn.is_on() {
            // Others would be numbered anew, which takes another epoch.
            return false;
        }
        #[cfg(feature = "pack")]
        if codec_of(b) != 0 {
            return false;
        }
        let wanted = RESEND && settings.resend_unblamed && b.blamed.or(false);
        guard!("who is not to blame is sent again", wanted)
            && !guard!("what may be written is not taken apart", b.maybe_written)
    }

    /// Puts the records of a refused batch that are not to blame into batches of their own, in its
    /// place, and ends it with the others. False: there is no memory for that now.
    pub(super) fn resend(&mut self, net: &mut Net<'d>, part: usize, batch: usize) -> bool {
        let whole = self.batches[batch];
        if !self.fits_again(&net.blocks, &whole) {
            return false;
        }
        let (mut first, mut at, mut last) = (0, HEADER_LEN, batch);
        while let Some(Run { count, bad, end }) = run(&net.blocks, &whole, first, at) {
            if !bad {
                match self.take_out(net, &whole, first, at, count) {
                    Some(new) => self.enqueue_after(part, last, new),
                    // There was enough memory.
                    None => break,
                }
                last = self.batches[last].next.get().unwrap_or(last);
            }
            (first, at) = (first + count, end);
        }
        let error = whole.error.unwrap_or(Error::Broker(ErrorCode::INVALID_RECORD));
        self.finish(&mut net.blocks, part, batch, Err((error, false)));
        self.batches[batch].records.set((first, 0));
        true
    }

    /// Returns whether there are blocks and slots for the records that are sent again.
    fn fits_again(&self, blocks: &Blocks<'d>, whole: &Batch) -> bool {
        let (mut batches, mut needed) = (0, 0);
        let (mut first, mut at) = (0, HEADER_LEN);
        while let Some(Run { count, bad, end }) = run(blocks, whole, first, at) {
            if !bad {
                batches += 1;
                needed += (HEADER_LEN + end - at).div_ceil(blocks.block_size());
            }
            (first, at) = (first + count, end);
        }
        batches <= self.slots.left() && needed <= blocks.free()
    }

    /// Makes a batch of some records of another one.
    fn take_out(
        &mut self,
        net: &mut Net<'d>,
        whole: &Batch,
        first: u32,
        at: usize,
        count: u32,
    ) -> Option<usize> {
        let (_, max_timestamp) = extent(net, whole, at, count)?;
        let mut chain = renumbered(net, &whole.chain, at, first, count)?;
        let Some(new) = self.take_batch() else {
            net.blocks.release(&mut chain);
            return None;
        };
        self.batches[new] = Batch {
            stage: Stage::Ready,
            sealed: false,
            oversize: Split::new(false),
            blamed: Culprits::new(false),
            attempts: 0,
            first: Split::new(whole.first.or(0) + first),
            count,
            max_timestamp,
            error: None,
            chain,
            #[cfg(feature = "pack")]
            form: Form::Raw,
            ..*whole
        };
        Some(new)
    }

    /// Returns the next records of an ended batch that share an outcome, and whether they are the
    /// last.
    pub(super) fn next_run(
        &mut self,
        blocks: &mut Blocks<'d>,
        batch: usize,
    ) -> (Event<'static>, bool) {
        let b = &mut self.batches[batch];
        if !CULPRITS || !b.blamed.or(false) {
            return (b.ended(), true);
        }
        #[cfg(feature = "pack")]
        if codec_of(b) != 0 {
            return Self::next_listed(blocks, b);
        }
        skip_resent(blocks, b);
        let (first, from) = place_of(b);
        // Our own bytes can be read; in any case every record is reported.
        let rest = Run { count: b.count.saturating_sub(first), bad: false, end: from };
        let Run { count, bad, end } = run(blocks, b, first, from).unwrap_or(rest);
        b.reported.set(first + count);
        b.max_timestamp = end as i64;
        skip_resent(blocks, b);
        let last = b.reported.or(0) >= b.count;
        let error = match b.error {
            Some(Error::Broker(code)) if !bad => Error::BatchRefused(code),
            other => other.unwrap_or(Error::TimedOut),
        };
        let (id, to, maybe_written) = (BatchId(b.id), b.to, b.maybe_written);
        let first = b.first.or(0) + first;
        if last {
            blocks.release(&mut b.chain);
        }
        (Event::Failed { batch: id, to, first, count, error, maybe_written }, last)
    }
}

/// Returns how many records of an ended batch were reported, and where they end: the fields have no
/// other meaning any more.
fn place_of(b: &Batch) -> (u32, usize) {
    (b.reported.or(0), (b.max_timestamp as usize).max(HEADER_LEN))
}

/// Passes records of an ended batch that are part of other batches now.
fn skip_resent(blocks: &Blocks<'_>, b: &mut Batch) {
    let (first, from) = place_of(b);
    let moved = RESEND && first < b.records.or((0, 0)).0;
    if !guard!("what is sent again is not reported twice", moved) {
        return;
    }
    if let Some(Run { count, bad: false, end }) = run(blocks, b, first, from) {
        b.reported.set(first + count);
        b.max_timestamp = end as i64;
    }
}

/// Reads the run of a batch that begins with its record `first`, at `from`. `None` at its end.
fn run(blocks: &Blocks<'_>, b: &Batch, first: u32, from: usize) -> Option<Run> {
    let mut reader = Reader::new(blocks, &b.chain, from);
    let mut run = Run { count: 0, bad: false, end: from };
    while first + run.count < b.count {
        let Some(bad) = record(&mut reader) else { break };
        if run.count > 0 && bad != run.bad {
            break;
        }
        run = Run { count: run.count + 1, bad, end: reader.at };
    }
    (run.count > 0).then_some(run)
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
