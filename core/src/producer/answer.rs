//! Produce answers: who is delivered, who is sent again, who fails (errors.md section 3).

use super::{Identity, Producer, State};
use crate::cluster::Cluster;
use crate::connection::{InFlight, Net};
use crate::error::Error;
use crate::memory::{Link, backoff};
use crate::time::{Duration, Instant};
use crate::wire::{ErrorCode, produce};

/// Pause before a partition that was just made, or that just moved, is tried again (R11).
const SHORT_PAUSE: Duration = Duration::from_millis(25);

/// What has to be remembered while an answer streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AnswerCx {
    topic: Link,
    /// Batch whose entry is being read.
    batch: Link,
    error: ErrorCode,
    base_offset: i64,
    hinted: bool,
}

impl<'d> Producer<'d> {
    pub(crate) fn on_answer(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
        request: &InFlight,
        cx: &mut AnswerCx,
        item: produce::Item<'_>,
    ) {
        match item {
            produce::Item::Topic { name, id } => {
                let slot = cluster.topics.iter().position(|t| {
                    t.used && name.map_or(t.id == id, |name| t.name.as_str() == name)
                });
                *cx = AnswerCx { topic: slot.map_or(Link::NONE, Link::to), ..AnswerCx::default() };
            }
            produce::Item::Partition { index, error, base_offset, .. } => {
                let part = cx
                    .topic
                    .get()
                    .and_then(|slot| cluster.table.find(slot, u32::try_from(index).ok()?));
                let batch = part.and_then(|part| self.sent_with(part, request.correlation));
                *cx = AnswerCx {
                    topic: cx.topic,
                    batch: batch.map_or(Link::NONE, Link::to),
                    error,
                    base_offset,
                    hinted: false,
                };
            }
            produce::Item::CurrentLeader { leader, epoch } => {
                if let Some(batch) = cx.batch.get() {
                    let part = self.batches[batch].part as usize;
                    cx.hinted |= cluster.hint(part, leader, epoch);
                }
            }
            produce::Item::PartitionEnd => {
                if let Some(batch) = cx.batch.get() {
                    self.settle(cluster, net, now, batch, cx);
                }
                cx.batch = Link::NONE;
            }
            produce::Item::Endpoint { id, host, port, .. } => {
                cluster.merge_broker(now, id, host, port);
            }
            _ => {}
        }
    }

    /// The batch of a partition that left with a request.
    fn sent_with(&self, part: usize, correlation: i32) -> Option<usize> {
        let mut link = self.parts[part].head;
        while let Some(batch) = link.get() {
            let b = &self.batches[batch];
            if b.state == State::Sent && b.request == correlation {
                return Some(batch);
            }
            link = b.next;
        }
        None
    }

    /// A request ended: its connection was lost, or its answer left some batches out.
    pub(crate) fn on_lost(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &Net<'d>,
        now: Instant,
        request: &InFlight,
    ) {
        let mut link = request.batches;
        while let Some(batch) = link.get() {
            link = net.outgoing[batch].next;
            let b = &mut self.batches[batch];
            if b.state != State::Sent || b.request != request.correlation {
                continue;
            }
            b.maybe_written |= request.was_shown();
            let part = b.part as usize;
            self.again(batch);
            let slot = usize::from(cluster.table[part].topic);
            cluster.refresh(slot, now);
        }
        self.dirty = true;
    }

    /// Batches of a request that has no answer (acks 0) left.
    pub(crate) fn on_silent(&mut self, net: &mut Net<'d>, batches: Link) {
        let mut link = batches;
        while let Some(batch) = link.get() {
            link = net.outgoing[batch].next;
            let part = self.batches[batch].part as usize;
            if self.batches[batch].state == State::Sent {
                self.finish(&mut net.blocks, part, batch, Ok(None));
            }
        }
    }

    /// Back into the queue, at its old place.
    fn again(&mut self, batch: usize) {
        let b = &mut self.batches[batch];
        b.state = State::Ready;
        let p = &mut self.parts[b.part as usize];
        p.in_flight = p.in_flight.saturating_sub(1);
        self.dirty = true;
    }

    /// A batch's answer.
    fn settle(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
        batch: usize,
        cx: &AnswerCx,
    ) {
        let part = self.batches[batch].part as usize;
        let is_head = self.parts[part].head == Link::to(batch);
        let idempotent = self.idempotent();
        match cx.error {
            ErrorCode(0) => {
                self.parts[part].failures = 0;
                self.parts[part].retry_at = Instant::ZERO;
                let offset = (cx.base_offset >= 0).then_some(cx.base_offset);
                self.finish(&mut net.blocks, part, batch, Ok(offset));
            }
            ErrorCode::DUPLICATE_SEQUENCE_NUMBER => {
                self.finish(&mut net.blocks, part, batch, Ok(None));
            }
            ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE
                if self.batches[batch].count > 1 =>
            {
                self.again(batch);
                if !self.split(net, part, batch) {
                    self.fail(net, part, batch, cx.error, false);
                }
            }
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
            | ErrorCode::UNKNOWN_PRODUCER_ID
            | ErrorCode::INVALID_PRODUCER_EPOCH
                if idempotent =>
            {
                // Not written, for sure. Behind a batch that is sent again that is no wonder;
                // at the head the sequence is broken.
                self.again(batch);
                self.parts[part].bump |= is_head;
                if is_head {
                    self.pause(cluster, now, part, SHORT_PAUSE);
                }
            }
            code if code.is_retriable() => {
                let written = matches!(
                    code,
                    ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
                );
                self.batches[batch].maybe_written |= written;
                self.again(batch);
                if !is_head {
                    return;
                }
                if cx.hinted {
                    cluster.refresh(usize::from(cluster.table[part].topic), now);
                    self.parts[part].retry_at = Instant::ZERO;
                } else if code.is_invalid_metadata() {
                    cluster.suspect(part, code, now);
                    self.pause(cluster, now, part, SHORT_PAUSE);
                } else {
                    let base = cluster.config.retry_backoff;
                    self.pause(cluster, now, part, base);
                }
            }
            code => {
                let maybe = self.batches[batch].maybe_written;
                self.fail(net, part, batch, code, maybe);
            }
        }
    }

    fn pause(&mut self, cluster: &mut Cluster<'d>, now: Instant, part: usize, base: Duration) {
        let p = &mut self.parts[part];
        let max = cluster.config.retry_backoff_max;
        p.retry_at = now + backoff(&mut cluster.rng, base.min(max), max, u32::from(p.failures));
        p.failures = p.failures.saturating_add(1);
    }

    /// Gives a batch up. What was sent behind it will be refused for the gap that it leaves, and
    /// goes out again under a new epoch.
    fn fail(
        &mut self,
        net: &mut Net<'d>,
        part: usize,
        batch: usize,
        code: ErrorCode,
        maybe_written: bool,
    ) {
        if self.identity != Identity::None && self.batches[batch].sequence >= 0 {
            self.parts[part].bump = true;
        }
        let result = Err((Error::Broker(code), maybe_written));
        self.finish(&mut net.blocks, part, batch, result);
    }
}
