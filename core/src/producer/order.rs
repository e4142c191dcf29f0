//! Which partition a key goes to while its topic grows (feature `key-order`). No producer can order
//! two partitions for a reader; what it can do is to append nothing under the new mapping before
//! everything under the old one is settled: acknowledged, or failed with no request left that could
//! still write it.

use super::Producer;
use crate::cluster::{Cluster, Cx, PRODUCER};
use crate::config::KeyOrder;
use crate::error::ProduceError;
use crate::event::Event;
use crate::time::{Span, Tick};

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    None,
    /// All of before was settled.
    Settled,
    /// The time was over, or the policy changed.
    Late,
}

/// How the keys of a topic are spread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    order: KeyOrder,
    /// Partitions that keys are spread over: 0 before the first one.
    count: u32,
    /// The same before the topic grew, until all that was produced then is settled; else 0.
    before: u32,
    /// It grew again meanwhile: all keys wait.
    again: bool,
    /// Hash of a key that was refused: its caller was not notified yet that it can try again.
    waits: Option<u32>,
    /// The drain is over; not reported yet.
    news: News,
    /// Serial of the last batch under the old mapping.
    upto: u64,
    /// When the wait ends in any case.
    until: Tick,
    /// Keys that move wait until then, for what another process may have sent; zero: for nothing.
    quiet: Tick,
    /// Refused records of this drain.
    held: u32,
}

impl Mapping {
    pub(super) const EMPTY: Self = Self {
        order: KeyOrder::Follow,
        count: 0,
        before: 0,
        again: false,
        waits: None,
        news: News::None,
        upto: 0,
        until: Tick::ZERO,
        quiet: Tick::ZERO,
        held: 0,
    };

    pub(super) fn age(&mut self, by: Span) {
        self.until.age(by);
        self.quiet.age(by);
    }

    /// Returns what a recreated topic begins with: the end of a drain is still to be reported.
    const fn anew(self) -> Self {
        let Self { order, news, held, .. } = self;
        Self { order, news, held, ..Self::EMPTY }
    }

    const fn drains(&self) -> bool {
        self.before > 0
    }
}

impl<'d> Producer<'d> {
    /// Sets the policy of a topic.
    pub(crate) fn set_key_order(&mut self, slot: usize, order: KeyOrder) {
        let mapping = &mut self.spreads[slot].mapping;
        mapping.order = order;
        if order != KeyOrder::Drain && mapping.drains() {
            self.end_drain(slot, false);
        }
    }

    /// Sets over how many partitions an earlier process spread the keys of a topic, and how long
    /// what it sent may still be on its way. Without effect once a key was produced.
    pub(crate) fn set_key_count(&mut self, now: Tick, slot: usize, count: u32, wait: Span) {
        let mapping = &mut self.spreads[slot].mapping;
        if guard!("the count of an earlier process is used", mapping.count == 0) {
            mapping.count = count;
            mapping.quiet = if wait == Span::ZERO { Tick::ZERO } else { now + wait };
        }
    }

    /// Returns over how many partitions the keys of a topic are spread, for a later process; 0:
    /// that does not matter, or is not known.
    pub(crate) fn key_count(&self, slot: usize) -> u32 {
        let Mapping { order, count, before, .. } = self.spreads[slot].mapping;
        match order {
            KeyOrder::Follow => 0,
            // What it waits for may come after this process.
            _ if before > 0 => before,
            _ => count,
        }
    }

    /// Whether records of a topic are refused until what was produced before it grew is settled.
    pub(crate) fn drains(&self, slot: usize) -> bool {
        self.spreads[slot].mapping.drains()
    }

    /// Returns the partition of a key.
    pub(super) fn keyed(
        &mut self,
        cx: &mut Cx<'d>,
        slot: usize,
        hash: u32,
    ) -> Result<u32, ProduceError> {
        let count = cx.cluster.topics[slot].count.max(1);
        match self.spreads[slot].mapping.order {
            // It is what another policy begins with.
            KeyOrder::Follow => self.spreads[slot].mapping.count = count,
            KeyOrder::Pin(0) => {
                let first = &mut self.spreads[slot].mapping.count;
                *first = if *first == 0 { count } else { *first };
                return self.pinned(cx, slot, hash);
            }
            KeyOrder::Pin(n) => {
                self.spreads[slot].mapping.count = n;
                return self.pinned(cx, slot, hash);
            }
            KeyOrder::Drain => {
                self.note_growth(cx, slot, count);
                let held = self.holds(cx, slot, hash);
                if guard!("keys that move wait for what was produced before", held) {
                    let mapping = &mut self.spreads[slot].mapping;
                    mapping.waits.get_or_insert(hash);
                    mapping.held = mapping.held.saturating_add(1);
                    return Err(ProduceError::NotReady);
                }
            }
        }
        Ok(hash % count)
    }

    /// Returns the partition of a key among the first ones, which have to exist.
    fn pinned(&mut self, cx: &mut Cx<'d>, slot: usize, hash: u32) -> Result<u32, ProduceError> {
        let (n, count) = (self.spreads[slot].mapping.count, cx.cluster.topics[slot].count);
        if guard!("keys that are pinned wait for their partitions", n > count) {
            cx.refresh(slot);
            return Err(self.not_ready(cx.now, slot, n));
        }
        Ok(hash % guard!("keys that are pinned stay", n => count))
    }

    /// Begins to drain if the topic has grown since the last key.
    fn note_growth(&mut self, cx: &Cx<'d>, slot: usize, count: u32) {
        let mapping = &mut self.spreads[slot].mapping;
        let known = core::mem::replace(&mut mapping.count, count);
        if known == 0 || known >= count {
            return;
        }
        mapping.upto = self.serial;
        if mapping.drains() {
            mapping.again = guard!("growth while draining holds all keys", true);
            return;
        }
        (mapping.before, mapping.again) = (known, false);
        (mapping.until, mapping.held) = (cx.now + cx.settings.drain_timeout, 0);
        self.draining += 1;
        self.dirty = true;
    }

    /// Whether a key has to wait: it moved, and its old partition has something of before.
    fn holds(&self, cx: &Cx<'d>, slot: usize, hash: u32) -> bool {
        let Mapping { count, before, again, upto, quiet, .. } = self.spreads[slot].mapping;
        if before == 0 {
            return false;
        }
        if again {
            return !self.is_drained(cx, slot);
        }
        let (old, cluster) = (hash % before, &cx.cluster);
        let part = cluster.table.find(slot, old);
        let open = part.is_some_and(|part| self.has_before(cluster, part, upto));
        let others = guard!("what an earlier process sent is waited for", quiet > cx.now);
        old != hash % count && (open || others)
    }

    /// Whether a partition has a batch up to this serial. Batches stand in their order.
    fn has_before(&self, cluster: &Cluster<'d>, part: usize, upto: u64) -> bool {
        let head = self.queues[part].head.get();
        cluster.table[part].used_by(PRODUCER)
            && head.is_some_and(|batch| self.batches[batch].id <= upto)
    }

    fn is_drained(&self, cx: &Cx<'d>, slot: usize) -> bool {
        let (Mapping { upto, quiet, .. }, cluster) = (self.spreads[slot].mapping, &cx.cluster);
        quiet <= cx.now
            && !cluster.table.of_topic(slot).any(|part| self.has_before(cluster, part, upto))
    }

    /// Ends drains that are over, and wakes callers. Returns the time of the next check.
    pub(super) fn check_drains(&mut self, cx: &Cx<'d>) -> Tick {
        let mut next = Tick::NEVER;
        if self.draining == 0 {
            return next;
        }
        for slot in 0..self.spreads.len() {
            let Mapping { until, .. } = self.spreads[slot].mapping;
            if !self.drains(slot) {
                continue;
            }
            let settled = self.is_drained(cx, slot);
            let late = guard!("a drain has a time limit", until <= cx.now);
            if settled || late {
                self.end_drain(slot, settled);
                continue;
            }
            let quiet = self.spreads[slot].mapping.quiet;
            next = next.min(until).min(if quiet > cx.now { quiet } else { Tick::NEVER });
            let waits = self.spreads[slot].mapping.waits;
            if waits.is_some_and(|hash| !self.holds(cx, slot, hash)) {
                self.spreads[slot].mapping.waits = None;
                self.room = true;
            }
        }
        next
    }

    /// Ends a drain; `settled`: nothing of before is left.
    pub(super) fn end_drain(&mut self, slot: usize, settled: bool) {
        let mapping = &mut self.spreads[slot].mapping;
        mapping.before = 0;
        mapping.news = if settled { News::Settled } else { News::Late };
        self.draining -= 1;
        self.drained = true;
        self.room |= self.spreads[slot].mapping.waits.take().is_some();
    }

    /// Ends the drain of a topic that was recreated. Returns its mapping, which begins anew.
    pub(super) fn recreated(&mut self, slot: usize) -> Mapping {
        if self.drains(slot) {
            self.end_drain(slot, true);
        }
        self.spreads[slot].mapping.anew()
    }

    /// Returns the event of a drain that is over.
    pub(crate) fn poll_drained(&mut self, cluster: &Cluster<'d>) -> Option<Event<'static>> {
        if !core::mem::take(&mut self.drained) {
            return None;
        }
        for slot in 0..self.spreads.len() {
            let mapping = &mut self.spreads[slot].mapping;
            let news = core::mem::replace(&mut mapping.news, News::None);
            if news != News::None {
                self.drained = true;
                let settled = news == News::Settled;
                let (topic, held) = (cluster.topic_id(slot), mapping.held);
                // None of a recreated topic has had a key.
                let now = cluster.topics[slot].count;
                let partitions = if mapping.count > 0 { mapping.count } else { now };
                return Some(Event::Drained { topic, partitions, held, settled });
            }
        }
        None
    }
}
