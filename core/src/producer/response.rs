//! Produce responses: which batches are delivered, sent again or failed (errors.md section 3).

use super::culprits::Named;
use super::{Marks, Place, Producer, Stage};
use crate::cluster::Cx;
use crate::connection::{Expected, InFlight, Net, Origin};
use crate::error::{Error, PeerFault};
use crate::event::Event;
use crate::has::{CULPRITS, HINTS, REASONS, RESEND, SPLIT};
use crate::id::BatchId;
use crate::memory::{Link, backoff};
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{ApiKey, Codes, ErrorCode, produce};

/// Pause before a partition that was just created, or that just moved, is tried again (R11).
const SHORT_PAUSE: Span = Span::from_millis(25);

/// State that is kept while a response streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ResponseMemo {
    topic: Link,
    /// Batch whose entry is being read.
    pub(super) batch: Link,
    pub(super) error: ErrorCode,
    base_offset: i64,
    hinted: bool,
    pub(super) named: Named,
    /// The connection that it arrives over.
    conn: u16,
}

impl ResponseMemo {
    pub(crate) fn new(conn: usize) -> Self {
        Self { conn: conn as u16, ..Self::default() }
    }

    /// Whether the broker's words about a batch that it refuses may come next, also of one that is
    /// sent again: they say why if its time is over then. The application has to take them element
    /// by element, since they are not kept.
    pub(crate) fn explains(&self) -> bool {
        cfg!(feature = "refusal-text") && self.error.0 != 0 && !self.batch.is_none()
    }
}

impl<'d> Producer<'d> {
    pub(crate) fn on_response<'a>(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        memo: &mut ResponseMemo,
        got: Segment<'_, 'a>,
    ) -> Option<Event<'a>> {
        let item = produce::item(got)?;
        match item {
            produce::Item::Topic { name, id } => {
                let slot = cx.cluster.named_or_id(name, id);
                *memo = ResponseMemo {
                    topic: slot.map_or(Link::NONE, Link::to),
                    conn: memo.conn,
                    ..ResponseMemo::default()
                };
            }
            produce::Item::Partition { index, error, base_offset, .. } => {
                let part = cx.cluster.part_of(memo.topic, index);
                let batch = part.and_then(|part| self.sent_with(part, from.requested.correlation));
                *memo = ResponseMemo {
                    topic: memo.topic,
                    batch: batch.map_or(Link::NONE, Link::to),
                    error,
                    base_offset,
                    hinted: false,
                    named: Named::default(),
                    conn: memo.conn,
                };
            }
            produce::Item::CurrentLeader { leader, epoch } if HINTS => {
                if let Some(batch) = memo.batch.get() {
                    let part = self.batches[batch].part as usize;
                    memo.hinted |= cx.cluster.hint(part, leader, epoch);
                }
            }
            produce::Item::RecordError { batch_index, message } => {
                self.on_record_error(&mut cx.net, memo, batch_index);
                return self.explained(memo, u32::try_from(batch_index).ok(), message);
            }
            produce::Item::PartitionText { message } => return self.explained(memo, None, message),
            produce::Item::PartitionEnd => {
                if let Some(batch) = memo.batch.get() {
                    self.conclude(cx, batch, memo);
                }
                memo.batch = Link::NONE;
            }
            produce::Item::Endpoint { id, host, port, .. } if HINTS => {
                cx.merge_broker(id, host, port);
            }
            _ => {}
        }
        None
    }

    /// Returns the event of a broker's text about a record, or about a whole batch.
    fn explained<'a>(
        &self,
        memo: &ResponseMemo,
        record: Option<u32>,
        text: Option<&'a str>,
    ) -> Option<Event<'a>> {
        if !memo.explains() {
            return None;
        }
        let (b, text) = (&self.batches[memo.batch.get()?], text.filter(|text| !text.is_empty())?);
        let record = match record {
            Some(index) if index >= b.count => return None,
            Some(index) => Some(b.first.or(0) + index),
            None => None,
        };
        let (batch, to, code) = (BatchId(b.id), b.to, memo.error);
        Some(Event::Refused { batch, to, record, code, text })
    }

    /// Returns the batch of a partition that left with a request.
    fn sent_with(&self, part: usize, correlation: i32) -> Option<usize> {
        let mut link = self.queues[part].head;
        while let Some(batch) = link.get() {
            let b = &self.batches[batch];
            if b.stage == Stage::Sent && b.request == correlation {
                return Some(batch);
            }
            link = b.next;
        }
        None
    }

    /// Handles the loss of a request with its connection.
    pub(crate) fn on_lost(&mut self, cx: &mut Cx<'d>, request: &InFlight, error: Error) {
        let mut link = request.batches;
        while let Some(batch) = link.get() {
            link = cx.net.outgoing[batch].next;
            if CULPRITS && self.batches[batch].blamed.or(false) {
                // The connection ended in the middle of the refusal; the bytes are no valid batch
                // now.
                let part = self.batches[batch].part as usize;
                self.fail(&mut cx.net, part, batch, ErrorCode::INVALID_RECORD, false);
                continue;
            }
            let left = guard!("a request that left may be written", request.left_whole());
            self.batches[batch].maybe_written |= left;
            let part = self.again(batch);
            if REASONS && matches!(error, Error::Peer(_)) {
                self.queues[part].refused.set(Some(error));
            }
            cx.refresh(usize::from(cx.cluster.table[part].topic));
        }
        self.wake_all();
        self.dirty = true;
    }

    /// Handles the end of a response. Batches that it does not name are sent again after a pause.
    pub(crate) fn on_complete(
        &mut self,
        cx: &mut Cx<'d>,
        expected: &Expected,
        memo: &ResponseMemo,
    ) {
        let conn = &cx.net.conns[usize::from(memo.conn)];
        if let Some(lane) = cx.cluster.broker_slot(conn.peer.node()) {
            self.wake_waiting(lane);
        }
        let mut link = conn.oldest_batches();
        while let Some(batch) = link.get() {
            link = cx.net.outgoing[batch].next;
            let b = &mut self.batches[batch];
            if b.stage != Stage::Sent || b.request != expected.correlation {
                return;
            }
            b.maybe_written = true;
            let part = self.again(batch);
            if REASONS {
                let fault = PeerFault::LeftOut(ApiKey::PRODUCE);
                self.queues[part].refused.set(Some(Error::Peer(fault)));
            }
            let base = cx.settings.retry_backoff;
            self.pause(cx, part, base);
        }
    }

    /// Finishes the batches of a request without a response (acks 0) that has left.
    pub(crate) fn on_silent(&mut self, net: &mut Net<'d>, batches: Link) {
        let mut link = batches;
        while let Some(batch) = link.get() {
            link = net.outgoing[batch].next;
            let part = self.batches[batch].part as usize;
            if self.batches[batch].stage == Stage::Sent {
                self.finish(&mut net.blocks, part, batch, Ok(None));
            }
        }
    }

    /// Puts a batch back into the queue, at its old place. Returns the partition.
    fn again(&mut self, batch: usize) -> usize {
        let b = &mut self.batches[batch];
        let part = b.part as usize;
        b.stage = Stage::Ready;
        self.spreads[usize::from(b.to.topic.index)].retries.count();
        if !self.ages.contains(batch) {
            b.late = true;
            self.ages.push_back(&mut self.late, batch);
        }
        let q = &mut self.queues[part];
        q.in_flight = q.in_flight.saturating_sub(1);
        self.touch(part);
        part
    }

    /// Handles the result of a batch.
    fn conclude(&mut self, cx: &mut Cx<'d>, batch: usize, memo: &ResponseMemo) {
        // Its slot may become part of another request before this one is over.
        cx.net.leave_request(usize::from(memo.conn), batch);
        let part = self.batches[batch].part as usize;
        let is_head = self.queues[part].head == Link::to(batch);
        let idempotent = self.idempotent();
        let duplicate = ErrorCode::DUPLICATE_SEQUENCE_NUMBER;
        let b = &self.batches[batch];
        // No broker would recognise the halves of a batch that is in its log.
        let divisible =
            SPLIT && b.count > 1 && !guard!("what may be written stays whole", b.maybe_written);
        if REASONS {
            let refused = (memo.error.0 != 0).then_some(Error::Broker(memo.error));
            self.queues[part].refused.set(refused);
        }
        match memo.error {
            code if code.0 == 0 || guard!("duplicates are delivered", code == duplicate) => {
                self.deliver(cx, batch, memo);
            }
            ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE if divisible => {
                self.again(batch);
                self.batches[batch].oversize.set(true);
            }
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
            | ErrorCode::UNKNOWN_PRODUCER_ID
            | ErrorCode::INVALID_PRODUCER_EPOCH
                if idempotent && !(self.txn.is_on() && (is_head || code_ends(memo.error))) =>
            {
                // Expected after a batch that is sent again; at the head the sequence is broken.
                self.again(batch);
                // A batch that may be written stays so: an unclean election may have lost it again,
                // but perhaps only after it was read.
                self.batches[batch].out_of_sequence = true;
                self.queues[part].marks.add(Marks::BROKEN, is_head);
                if is_head {
                    self.pause(cx, part, SHORT_PAUSE);
                }
            }
            code if code.is_retriable() => {
                let maybe = guard!("some errors follow an append", may_follow_append(code));
                self.batches[batch].maybe_written |= maybe;
                self.again(batch);
                if !is_head {
                    return;
                }
                if HINTS && memo.hinted {
                    cx.refresh(usize::from(cx.cluster.table[part].topic));
                    self.queues[part].retry_at = Tick::ZERO;
                } else if code.is_invalid_metadata() {
                    cx.suspect(part, code);
                    self.pause(cx, part, SHORT_PAUSE);
                } else {
                    let base = cx.settings.retry_backoff;
                    self.pause(cx, part, base);
                }
            }
            code if self.may_resend(&cx.settings, batch) => {
                self.await_memory(part, batch, code);
            }
            code => {
                let maybe = self.batches[batch].maybe_written || may_follow_append(code);
                self.fail(&mut cx.net, part, batch, code, maybe);
            }
        }
    }

    /// Lets a refused batch wait for the memory that sending a part of it again takes, as one that
    /// is to be split.
    fn await_memory(&mut self, part: usize, batch: usize, code: ErrorCode) {
        self.again(batch);
        let idempotent = self.idempotent();
        let b = &mut self.batches[batch];
        b.oversize.set(true);
        b.error = Some(Error::Broker(code));
        let broken = idempotent && b.sequence >= 0;
        let gap = guard!("a gap begins a new epoch", broken);
        self.queues[part].marks.add(Marks::BROKEN, gap);
    }

    /// Notes that a batch is in the log.
    fn deliver(&mut self, cx: &mut Cx<'d>, batch: usize, memo: &ResponseMemo) {
        let part = self.batches[batch].part as usize;
        let (q, b) = (&mut self.queues[part], &self.batches[batch]);
        // With others in flight the response may be the previous leader's.
        let current = (b.id_mark, b.epoch) == (q.id_mark, q.epoch);
        q.marks.add(Marks::KNOWN, q.in_flight == 1 && current);
        (q.failures, q.retry_at) = (0, Tick::ZERO);
        q.settled.set(true);
        if REASONS {
            q.refused.set(None);
        }
        if let Some(lane) = cx.cluster.table[part].broker() {
            self.lanes[lane].settled = true;
        }
        let known = memo.error.0 == 0 && memo.base_offset >= 0;
        let offset = known.then_some(memo.base_offset);
        self.finish(&mut cx.net.blocks, part, batch, Ok(offset));
    }

    /// Splits batches that a broker found too large. That takes memory, for which they wait as long
    /// as other batches may free theirs.
    pub(super) fn split_oversized(&mut self, cx: &mut Cx<'d>) {
        let mut link = self.first_of(Place::Oversized).map_or(Link::NONE, Link::to);
        while let Some(part) = link.get() {
            link = self.places.next(part);
            let Some(batch) = self.first_waiting(part) else { continue };
            let b = &self.batches[batch];
            let (mut refused, maybe) = (b.error, b.maybe_written);
            if !RESEND {
                refused = None;
            }
            let done = match refused {
                Some(_) => self.resend(&mut cx.net, part, batch),
                None => self.split(cx, part, batch),
            };
            if done {
                self.touch(part);
            } else if self.unfinished < 2 {
                let code = match refused {
                    Some(Error::Broker(code)) => code,
                    _ => ErrorCode::MESSAGE_TOO_LARGE,
                };
                self.fail(&mut cx.net, part, batch, code, maybe);
            }
        }
    }

    fn pause(&mut self, cx: &mut Cx<'d>, part: usize, base: Span) {
        let q = &mut self.queues[part];
        let max = cx.settings.retry_backoff_max;
        q.retry_at = backoff(&mut cx.rng, cx.now, base, max, q.failures);
        q.failures = q.failures.saturating_add(1);
        self.touch(part);
    }

    /// Fails a batch. Batches sent after it will be refused because of the gap, and are sent again
    /// under a new epoch.
    fn fail(
        &mut self,
        net: &mut Net<'d>,
        part: usize,
        batch: usize,
        code: ErrorCode,
        maybe_written: bool,
    ) {
        let sequenced = self.idempotent() && !self.txn.is_on();
        if sequenced && self.batches[batch].sequence >= 0 {
            self.queues[part].marks.add(Marks::BROKEN, true);
        }
        let result = Err((Error::Broker(code), maybe_written));
        self.finish(&mut net.blocks, part, batch, result);
    }
}

/// Returns whether a code says that a transaction has ended, or belongs to another producer.
const fn code_ends(code: ErrorCode) -> bool {
    !matches!(code, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
}

/// Returns whether a broker may return this code for a batch that is in its log: waiting for
/// replicas can end so when they are slow or leadership moves, and unknown codes may mean anything.
const fn may_follow_append(code: ErrorCode) -> bool {
    const NEVER: Codes = Codes::of(&[
        2, 3, 10, 17, 18, 19, 21, 29, 31, 32, 35, 42, 43, 45, 53, 74, 76, 87, 89, 100, 103,
    ]);
    !NEVER.has(code)
}
