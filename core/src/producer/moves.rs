//! Batches that cannot leave: those without keys move to a partition that takes some, and for the
//! others the obstacle is known.

use super::{Identity, Producer, Stage};
use crate::api::Kind;
use crate::cluster::{Cx, PRODUCER};
use crate::connection::{Conn, ConnState, Peer, Role};
use crate::error::{Error, Obstacle};
use crate::has::{MOVES, REASONS};
#[cfg(feature = "std")]
use crate::id::TopicPartition;
use crate::memory::Link;
use crate::time::Tick;
use crate::wire::ApiKey;

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
        let requested = topic.need.serial != 0 || topic.need.wanted && topic.need.failures == 0;
        let lost = match entry.broker() {
            Some(lane) => !Self::responds(cx, lane),
            // Its leader may become known soon.
            None => !requested,
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
                used && self.is_available(cx, *part) && fits(*part)
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
        let node = cx.cluster.table[part].leader();
        let refused = self.queues[part].refused.or(None).map(|error| (ApiKey::PRODUCE, error));
        let no_id = matches!(self.identity, Identity::Requested(_) | Identity::Wanted(_));
        let obstacle = cx.obstacle_of(part, refused).or_else(|| match no_id && !b.sealed {
            true => self
                .identity_error
                .or_else(|| cx.obstacle())
                .or_else(|| cx.awaited(Kind::InitProducerId)),
            false => self.unanswered(cx, node, b.maybe_written),
        });
        obstacle.map_or(Error::TimedOut, Error::Blocked)
    }

    /// Reports the obstacle of each batch that was taken before `since`, oldest first.
    #[cfg(feature = "std")]
    pub(crate) fn late(
        &self,
        cx: &Cx<'d>,
        since: Tick,
        report: &mut dyn FnMut(TopicPartition, Obstacle),
    ) {
        for batch in self.ages.iter(&self.aging) {
            if self.batches[batch].created > since {
                return;
            }
            if let Error::Blocked(obstacle) = self.why_late(cx, batch) {
                report(self.batches[batch].to, obstacle);
            }
        }
    }

    /// Reports partition and count of records of each batch that was neither acknowledged nor
    /// failed, oldest first.
    #[cfg(feature = "std")]
    pub(crate) fn open(&self, report: &mut dyn FnMut(TopicPartition, u32)) {
        for batch in self.ages.iter(&self.aging) {
            report(self.batches[batch].to, self.batches[batch].count);
        }
    }

    /// Returns that a leader does not respond, if a request to it waits or it is not connected.
    fn unanswered(&self, cx: &Cx<'d>, broker: i32, sent: bool) -> Option<Obstacle> {
        let conn = cx.net.find(Peer::Node(broker), Role::Main).map(|conn| &cx.net.conns[conn]);
        let api = conn.and_then(Conn::first_asked);
        let waits = api.is_some() || conn.is_none_or(|conn| conn.state != ConnState::Ready);
        let api = api.or(sent.then_some(ApiKey::PRODUCE));
        (waits || sent).then_some(Obstacle::NoResponse { broker, api })
    }

    /// Returns the node id of the leader of a batch's partition, -1 for none.
    pub(super) fn leader_of(&self, cx: &Cx<'d>, batch: usize) -> i32 {
        cx.cluster.table[self.batches[batch].part as usize].leader()
    }

    /// Returns from when on all records fail because the addresses lead to another cluster, or
    /// refuse the login.
    pub(super) fn astray_at(&self, cx: &Cx<'d>) -> Tick {
        if self.unfinished > 0 { cx.cluster.hopeless_at() } else { Tick::NEVER }
    }
}
