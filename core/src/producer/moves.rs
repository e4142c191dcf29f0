//! Batches that cannot leave: those without keys move to a partition that takes some, and for the
//! others the obstacle is known.

use super::{Identity, Producer, Stage};
use crate::cluster::{Cx, PRODUCER};
use crate::connection::{ConnState, Peer, Role};
use crate::error::{Error, Obstacle};
use crate::has::{MOVES, REASONS};
use crate::memory::Link;
use crate::wire::ErrorCode;

impl<'d> Producer<'d> {
    /// Notes that leaders or connections changed: batches that wait for some may have another way.
    pub(crate) fn on_ways_changed(&mut self) {
        if !MOVES {
            return;
        }
        self.astray |= self.unfinished > 0;
        self.dirty |= self.astray;
    }

    /// Moves records without keys, which may go to any partition, away from partitions without a
    /// reachable leader. Never to a partition that already has records that were sent later.
    pub(super) fn move_strays(&mut self, cx: &mut Cx<'d>) {
        if !MOVES || !core::mem::take(&mut self.astray) {
            return;
        }
        // In the order of their records.
        let mut link = self.aging.first();
        while let Some(batch) = link.get() {
            link = self.ages.next(batch);
            let b = &self.batches[batch];
            let waits = matches!(b.stage, Stage::Open | Stage::Ready);
            if b.keyless.or(false) && waits && b.attempts == 0 && !b.sealed {
                self.move_batch(cx, batch);
            }
        }
    }

    fn move_batch(&mut self, cx: &mut Cx<'d>, batch: usize) {
        let b = &self.batches[batch];
        let (part, records) = (b.part as usize, b.records.or((0, 0)));
        let entry = &cx.cluster.table[part];
        let slot = usize::from(entry.topic);
        let topic = &cx.cluster.topics[slot];
        let asked = topic.need.serial != 0 || topic.need.wanted && topic.need.failures == 0;
        let lost = match entry.broker() {
            Some(lane) => cx.cluster.brokers[lane].last.is_down(),
            // Its leader may become known soon.
            None => !asked,
        };
        if !topic.ready || !lost {
            return;
        }
        let Some(to) = self.reachable(cx, slot, records.0) else { return };
        self.unlink(part, batch);
        let b = &mut self.batches[batch];
        (b.stage, b.next, b.part) = (Stage::Ready, Link::NONE, to as u32);
        b.to = Self::destination(&cx.cluster, to);
        if let Some(tail) = self.queues[to].tail.get()
            && self.batches[tail].stage == Stage::Open
        {
            self.close(to, tail);
        }
        self.enqueue(to, batch);
        self.queues[to].newest.set(records.1);
        self.unstick(slot, part);
        self.touch(part);
    }

    /// Returns a partition of a topic that takes records now, and has none yet that was sent after
    /// this one.
    fn reachable(&self, cx: &mut Cx<'d>, slot: usize, first: u32) -> Option<usize> {
        let after = |other: u32| (first.wrapping_sub(other) as i32) > 0;
        let fits = |part: usize| {
            let newest = self.queues[part].newest.or(0);
            let later = after(newest) && after(self.evicted);
            guard!("nothing moves behind what was sent later", later => true)
        };
        self.try_partitions(cx, slot).filter(|part| fits(*part)).or_else(|| {
            cx.cluster.table.of_topic(slot).find(|part| {
                let used = cx.cluster.table[*part].used_by(PRODUCER);
                used && self.is_available(&cx.cluster, *part) && fits(*part)
            })
        })
    }

    /// Returns why a batch did not leave, or was not acknowledged, before its time was over.
    pub(super) fn why_late(&self, cx: &Cx<'d>, batch: usize) -> Error {
        if !REASONS {
            return Error::TimedOut;
        }
        let b = &self.batches[batch];
        let part = b.part as usize;
        let entry = &cx.cluster.table[part];
        let refused = self.queues[part].refused.or(ErrorCode(0));
        let slot = usize::from(entry.topic);
        let topic = &cx.cluster.topics[slot];
        let node = entry.leader();
        let obstacle = if entry.index >= topic.count && topic.ready {
            Some(Obstacle::NoPartition)
        } else if let Some(Error::Broker(code)) = topic.failure {
            Some(Obstacle::Refused { broker: -1, code })
        } else if node < 0 && refused == ErrorCode(0) {
            cx.cluster.whole_trouble().or(Some(Obstacle::NoLeader))
        } else if let Some(why) = cx.cluster.broker(node).and_then(|b| b.last.why_down()) {
            why.as_obstacle(node)
        } else if refused != ErrorCode(0) {
            Some(Obstacle::Refused { broker: node, code: refused })
        } else if !b.sealed && matches!(self.identity, Identity::Asked(_) | Identity::Wanted(_)) {
            self.identity_error.or_else(|| cx.cluster.whole_trouble())
        } else {
            let main = cx.net.find(Peer::Node(node), Role::Main);
            let waits = main.is_none_or(|conn| {
                cx.net.conns[conn].state != ConnState::Ready || cx.net.conns[conn].pending() > 0
            });
            (waits || b.maybe_written).then_some(Obstacle::NoAnswer { broker: node })
        };
        obstacle.map_or(Error::TimedOut, Error::Blocked)
    }
}
