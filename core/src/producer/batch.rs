//! Batches and the queue that each partition has of them.

#[cfg(feature = "pack")]
use super::pack::Form;
use super::{Own, Place, Producer};
use crate::cluster::Cx;
use crate::error::Error;
use crate::event::Event;
use crate::has::{CULPRITS, Culprits, Moves, Numbers, RESEND, Split};
#[cfg(feature = "pack")]
use crate::has::{PIECES, Packed};
use crate::id::{BatchId, TopicId, TopicPartition};
use crate::memory::{Blocks, Chain, Link};
use crate::record;
use crate::time::Tick;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Free,
    /// Takes records.
    Open,
    /// Waits to be sent, for the first time or again.
    Ready,
    /// Part of a request that has no response yet.
    Sent,
    /// Ended; not reported to the application yet.
    Done,
}

/// Records of one partition that travel together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(super) id: u64,
    pub(super) stage: Stage,
    /// Producer id, epoch, sequence and checksum are in the header.
    pub(super) sealed: bool,
    pub(super) maybe_written: bool,
    /// The broker refused its sequence in the last try: under this one it is not in the log.
    pub(super) out_of_sequence: bool,
    /// A broker finds it too large: it will be split when there is memory for it.
    pub(super) oversize: Split<bool>,
    /// It was put into the list of what it waits for.
    pub(super) placed: bool,
    /// None of its records has a key or a partition of its own.
    pub(super) keyless: Moves<bool>,
    /// The broker named some of its records as the reason for the refusal.
    pub(super) blamed: Culprits<bool>,
    /// Its time was over while it was in flight, and it returned to the queue.
    pub(super) late: bool,
    pub(super) attempts: u8,
    pub(super) epoch: i16,
    pub(super) to: TopicPartition,
    pub(super) part: u32,
    /// Place of the first record in the batch as the application knows it.
    pub(super) first: Split<u32>,
    pub(super) count: u32,
    pub(super) created: Tick,
    /// The deadline that its records brought along.
    pub(super) own: Own,
    /// Timestamp of the first record; once the batch was written, its offset, -1 where that is not
    /// known.
    pub(super) base: i64,
    pub(super) max_timestamp: i64,
    /// What its header names: half a split batch keeps that of the whole.
    pub(super) producer_id: Split<i64>,
    /// The last 32 bits of it, which tell ids of a client apart.
    pub(super) id_mark: i32,
    /// -1 before the first send.
    pub(super) sequence: i32,
    /// Number of records of an ended batch whose outcome was reported to the application.
    pub(super) reported: Culprits<u32>,
    /// Numbers of its first and last record, modulo 2^32.
    pub(super) records: Numbers<(u32, u32)>,
    /// Correlation id of the request that carries it.
    pub(super) request: i32,
    /// The next of the partition, of the free or of the ended batches.
    pub(super) next: Link,
    /// Why it failed.
    pub(super) error: Option<Error>,
    /// Header and records, until it ends.
    pub(super) chain: Chain,
    /// Whether it was packed, and its length before that.
    #[cfg(feature = "pack")]
    pub(super) form: Form,
    #[cfg(feature = "pack")]
    pub(super) unpacked: Packed<u32>,
}

impl Batch {
    pub(crate) const EMPTY: Self = Self {
        id: 0,
        stage: Stage::Free,
        sealed: false,
        maybe_written: false,
        out_of_sequence: false,
        oversize: Split::new(false),
        placed: false,
        keyless: Moves::new(false),
        blamed: Culprits::new(false),
        late: false,
        attempts: 0,
        epoch: 0,
        to: TopicPartition { topic: TopicId { index: 0, generation: 0 }, partition: 0 },
        part: 0,
        first: Split::new(0),
        count: 0,
        created: Tick::ZERO,
        own: Own::NONE,
        base: 0,
        max_timestamp: 0,
        producer_id: Split::new(0),
        id_mark: 0,
        sequence: 0,
        reported: Culprits::new(0),
        records: Numbers::new((0, 0)),
        request: 0,
        next: Link::NONE,
        error: None,
        chain: Chain::EMPTY,
        #[cfg(feature = "pack")]
        form: Form::Raw,
        #[cfg(feature = "pack")]
        unpacked: Packed::new(0),
    };

    /// Returns the event of its end.
    pub(super) fn ended(&self) -> Event<'static> {
        let (batch, to, first, count) = (BatchId(self.id), self.to, self.first.or(0), self.count);
        match self.error {
            None => {
                let base_offset = (self.base >= 0).then_some(self.base);
                Event::Delivered { batch, to, first, count, base_offset }
            }
            Some(error) => {
                let maybe_written = self.maybe_written;
                Event::Failed { batch, to, first, count, error, maybe_written }
            }
        }
    }
}

impl<'d> Producer<'d> {
    pub(super) fn take_batch(&mut self) -> Option<usize> {
        self.slots.take(|batch| self.batches[batch].next)
    }

    pub(super) fn free_batch(&mut self, batch: usize) {
        let b = &mut self.batches[batch];
        b.stage = Stage::Free;
        b.next = self.slots.give(Link::to(batch), 1);
        self.dirty |= self.wants_blocks > 0;
    }

    /// Starts a batch at the end of a partition's queue.
    pub(super) fn begin_batch(
        &mut self,
        cx: &mut Cx<'d>,
        part: usize,
        timestamp: i64,
    ) -> Option<usize> {
        if !self.may_begin() {
            return None;
        }
        let index = self.take_batch()?;
        self.serial += 1;
        let mut chain = Chain::EMPTY;
        if cx.net.blocks.append(&mut chain, &[0; record::HEADER_LEN]).is_err() {
            self.free_batch(index);
            return None;
        }
        self.batches[index] = Batch {
            id: self.serial,
            stage: Stage::Open,
            to: Self::destination(&cx.cluster, part),
            part: part as u32,
            created: cx.now,
            base: timestamp,
            max_timestamp: timestamp,
            sequence: -1,
            chain,
            ..Batch::EMPTY
        };
        self.enqueue(part, index);
        self.ages.push_back(&mut self.aging, index);
        self.unfinished += 1;
        Some(index)
    }

    pub(super) fn enqueue(&mut self, part: usize, batch: usize) {
        let p = &mut self.queues[part];
        match p.tail.get() {
            Some(tail) => self.batches[tail].next = Link::to(batch),
            None => p.head = Link::to(batch),
        }
        p.tail = Link::to(batch);
        // After other batches it waits for them.
        if p.head == p.tail || p.place == Place::Nowhere {
            self.touch(part);
        }
    }

    /// Closes a batch, which takes no more records.
    pub(super) fn close(&mut self, part: usize, batch: usize) {
        self.batches[batch].stage = Stage::Ready;
        if self.queues[part].place == Place::Open {
            self.touch(part);
        }
    }

    /// Puts the second half of a batch directly after the first.
    pub(super) fn enqueue_after(&mut self, part: usize, batch: usize, half: usize) {
        self.batches[half].next = self.batches[batch].next;
        self.batches[batch].next = Link::to(half);
        if self.queues[part].tail == Link::to(batch) {
            self.queues[part].tail = Link::to(half);
        }
        self.ages.push_after(&mut self.aging, batch, half);
        self.unfinished += 1;
        if self.flushing && self.batches[half].id <= self.flush_upto {
            self.flush_left += 1;
        }
    }

    /// Removes a batch from its partition's queue.
    pub(super) fn unlink(&mut self, part: usize, batch: usize) {
        let next = self.batches[batch].next;
        let mut before = Link::NONE;
        let mut link = self.queues[part].head;
        while let Some(at) = link.get() {
            if at == batch {
                break;
            }
            before = link;
            link = self.batches[at].next;
        }
        match before.get() {
            Some(before) => self.batches[before].next = next,
            None => self.queues[part].head = next,
        }
        if self.queues[part].tail == Link::to(batch) {
            self.queues[part].tail = before;
        }
    }

    /// Ends a batch: its memory is freed, and the outcome will be reported to the application.
    pub(super) fn finish(
        &mut self,
        blocks: &mut Blocks<'d>,
        part: usize,
        batch: usize,
        result: Result<Option<i64>, (Error, bool)>,
    ) {
        self.unlink(part, batch);
        #[cfg(feature = "pack")]
        if PIECES {
            self.packer.abandon(blocks, batch);
        }
        let b = &mut self.batches[batch];
        self.ages.remove(if b.late { &mut self.late } else { &mut self.aging }, batch);
        if b.stage == Stage::Sent {
            self.queues[part].in_flight = self.queues[part].in_flight.saturating_sub(1);
        }
        b.stage = Stage::Done;
        match result {
            Ok(offset) => b.base = offset.unwrap_or(-1),
            Err((error, maybe)) => {
                (b.error, b.maybe_written) = (Some(error), maybe);
                self.txn.fail(error, b.sequence >= 0);
            }
        }
        b.next = Link::NONE;
        if CULPRITS && b.blamed.or(false) {
            b.max_timestamp = 0;
            if RESEND {
                b.records.set((0, 0));
            }
        } else {
            blocks.release(&mut b.chain);
        }
        if self.flushing && b.id <= self.flush_upto {
            self.flush_left = self.flush_left.saturating_sub(1);
        }
        self.unfinished -= 1;
        match self.done_tail.get() {
            Some(tail) => self.batches[tail].next = Link::to(batch),
            None => self.done = Link::to(batch),
        }
        self.done_tail = Link::to(batch);
        self.dirty = true;
        match self.queues[part].head.is_none() {
            true => self.rest(part),
            false => self.touch(part),
        }
    }

    /// Returns the oldest batch that is not part of a request.
    pub(super) fn first_waiting(&self, part: usize) -> Option<usize> {
        self.first_not(part, |b| b.stage == Stage::Sent)
    }

    /// Returns the first batch of a partition for which `is` is false.
    pub(super) fn first_not(&self, part: usize, is: impl Fn(&Batch) -> bool) -> Option<usize> {
        let mut link = self.queues[part].head;
        while let Some(batch) = link.get() {
            if !is(&self.batches[batch]) {
                return Some(batch);
            }
            link = self.batches[batch].next;
        }
        None
    }
}
