//! Batches and the queue that each partition has of them.

use super::{Identity, Part, Producer};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::event::Event;
use crate::id::{BatchId, TopicId, TopicPartition};
use crate::memory::{Blocks, Chain, Link};
use crate::record;
use crate::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    /// Takes records.
    Open,
    /// Waits to be sent, for the first time or again.
    Ready,
    /// Part of a request without an answer.
    Sent,
    /// Ended; the application was not told yet.
    Done,
}

/// Records of one partition that travel together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(super) id: u64,
    pub(super) state: State,
    /// Producer id, epoch, sequence and checksum are in the header.
    pub(super) sealed: bool,
    pub(super) maybe_written: bool,
    /// The broker refused its sequence in the last try: under this one it is not in the log.
    pub(super) out_of_sequence: bool,
    /// A broker finds it too large: it will be split when there is memory for it.
    pub(super) oversize: bool,
    pub(super) attempts: u8,
    pub(super) epoch: i16,
    pub(super) to: TopicPartition,
    pub(super) part: u32,
    /// Place of the first record in the batch as the application knows it.
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) created: Instant,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    /// -1 before the first send.
    pub(super) sequence: i32,
    /// Correlation id of the request that carries it.
    pub(super) request: i32,
    /// The next of the partition, of the free or of the ended batches.
    pub(super) next: Link,
    /// Why it failed, or the offset of its first record, -1 where that is not known.
    pub(super) error: Option<Error>,
    pub(super) base_offset: i64,
    /// Header and records, until it ends.
    pub(super) chain: Chain,
}

impl Batch {
    pub(crate) const EMPTY: Self = Self {
        id: 0,
        state: State::Free,
        sealed: false,
        maybe_written: false,
        out_of_sequence: false,
        oversize: false,
        attempts: 0,
        epoch: 0,
        to: TopicPartition { topic: TopicId { index: 0, generation: 0 }, partition: 0 },
        part: 0,
        first: 0,
        count: 0,
        created: Instant::ZERO,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: 0,
        sequence: 0,
        request: 0,
        next: Link::NONE,
        error: None,
        base_offset: 0,
        chain: Chain::EMPTY,
    };

    /// What the application is told of its end.
    pub(super) fn ended(&self) -> Event<'static> {
        let (batch, to, first, count) = (BatchId(self.id), self.to, self.first, self.count);
        match self.error {
            None => {
                let base_offset = (self.base_offset >= 0).then_some(self.base_offset);
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
        let index = match self.free.get() {
            Some(index) => {
                self.free = self.batches[index].next;
                index
            }
            None if self.free_count > 0 => {
                self.fresh += 1;
                self.fresh - 1
            }
            None => return None,
        };
        self.free_count -= 1;
        Some(index)
    }

    pub(super) fn free_batch(&mut self, batch: usize) {
        self.batches[batch].state = State::Free;
        self.batches[batch].next = self.free;
        self.free = Link::to(batch);
        self.free_count += 1;
        self.dirty |= self.wants_blocks > 0;
    }

    /// Starts a batch at the end of a partition's queue.
    pub(super) fn begin_batch(
        &mut self,
        cluster: &Cluster<'d>,
        blocks: &mut Blocks<'d>,
        now: Instant,
        part: usize,
        timestamp: i64,
    ) -> Option<usize> {
        if !self.may_begin() {
            return None;
        }
        let index = self.take_batch()?;
        self.serial += 1;
        let mut chain = Chain::EMPTY;
        if blocks.append(&mut chain, &[0; record::HEADER_LEN]).is_err() {
            self.free_batch(index);
            return None;
        }
        self.batches[index] = Batch {
            id: self.serial,
            state: State::Open,
            to: Self::destination(cluster, part),
            part: part as u32,
            created: now,
            base_timestamp: timestamp,
            max_timestamp: timestamp,
            sequence: -1,
            chain,
            ..Batch::EMPTY
        };
        self.enqueue(part, index);
        self.unfinished += 1;
        // A producer id is fetched while the first batch lingers.
        self.dirty |= matches!(self.identity, Identity::Wanted(_));
        self.deadline = self.deadline.min(now + cluster.config.linger);
        Some(index)
    }

    fn enqueue(&mut self, part: usize, batch: usize) {
        let p = &mut self.parts[part];
        match p.tail.get() {
            Some(tail) => self.batches[tail].next = Link::to(batch),
            None => p.head = Link::to(batch),
        }
        p.tail = Link::to(batch);
        if !p.active {
            p.active = true;
            p.next_active = Link::NONE;
            match self.active_tail.get() {
                Some(last) => self.parts[last].next_active = Link::to(part),
                None => self.active = Link::to(part),
            }
            self.active_tail = Link::to(part);
        }
    }

    /// Puts the second half of a batch right behind the first.
    pub(super) fn enqueue_after(&mut self, part: usize, batch: usize, half: usize) {
        self.batches[half].next = self.batches[batch].next;
        self.batches[batch].next = Link::to(half);
        if self.parts[part].tail == Link::to(batch) {
            self.parts[part].tail = Link::to(half);
        }
        self.unfinished += 1;
        if self.flushing && self.batches[half].id <= self.flush_upto {
            self.flush_left += 1;
        }
    }

    /// Takes a batch out of its partition's queue.
    fn unlink(&mut self, part: usize, batch: usize) {
        let next = self.batches[batch].next;
        let mut before = Link::NONE;
        let mut link = self.parts[part].head;
        while let Some(at) = link.get() {
            if at == batch {
                break;
            }
            before = link;
            link = self.batches[at].next;
        }
        match before.get() {
            Some(before) => self.batches[before].next = next,
            None => self.parts[part].head = next,
        }
        if self.parts[part].tail == Link::to(batch) {
            self.parts[part].tail = before;
        }
    }

    /// A batch ended: its memory is free, the application will be told.
    pub(super) fn finish(
        &mut self,
        blocks: &mut Blocks<'d>,
        part: usize,
        batch: usize,
        result: Result<Option<i64>, (Error, bool)>,
    ) {
        self.unlink(part, batch);
        let b = &mut self.batches[batch];
        if b.state == State::Sent {
            self.parts[part].in_flight = self.parts[part].in_flight.saturating_sub(1);
        }
        b.state = State::Done;
        match result {
            Ok(offset) => b.base_offset = offset.unwrap_or(-1),
            Err((error, maybe)) => (b.error, b.maybe_written) = (Some(error), maybe),
        }
        b.next = Link::NONE;
        blocks.release(&mut b.chain);
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
    }

    /// The oldest batch that is not part of a request.
    pub(super) fn first_waiting(&self, part: usize) -> Option<usize> {
        self.first_not(part, |b| b.state == State::Sent)
    }

    /// The first batch of a partition that is not such a one.
    pub(super) fn first_not(&self, part: usize, is: impl Fn(&Batch) -> bool) -> Option<usize> {
        let mut link = self.parts[part].head;
        while let Some(batch) = link.get() {
            if !is(&self.batches[batch]) {
                return Some(batch);
            }
            link = self.batches[batch].next;
        }
        None
    }

    /// The active partition behind this one is the next to be looked at first.
    pub(super) fn begin_after(&mut self, part: usize) {
        let head = core::mem::replace(&mut self.parts[part].next_active, Link::NONE);
        if let (Some(tail), false) = (self.active_tail.get(), head.is_none()) {
            self.parts[tail].next_active = self.active;
            (self.active, self.active_tail) = (head, Link::to(part));
        }
    }

    /// Partitions without batches leave the list of active ones.
    pub(super) fn prune_active(&mut self) {
        let mut before = Link::NONE;
        let mut link = self.active;
        while let Some(part) = link.get() {
            let next = self.parts[part].next_active;
            if self.parts[part].head.is_none() {
                match before.get() {
                    Some(before) => self.parts[before].next_active = next,
                    None => self.active = next,
                }
                let p = &mut self.parts[part];
                *p = Part { active: false, next_active: Link::NONE, ..*p };
            } else {
                before = link;
            }
            link = next;
        }
        self.active_tail = before;
    }
}
