//! Replicas: their logs, which of them are in sync, what is committed (`Partition.scala`).

use core::time::Duration;
use std::sync::Arc;

use uuid::Uuid;

use super::{Cluster, Event, Node, Touched};
use crate::log::Log;

/// One broker's copy of a partition.
pub(super) struct Replica {
    pub(super) broker: i32,
    pub(super) log: Log,
    /// A fetch from the leader is in flight.
    fetching: bool,
    /// When it last had all that the leader had.
    caught_up: Duration,
}

pub(super) struct Partition {
    /// -1: none.
    pub(super) leader: i32,
    pub(super) epoch: i32,
    /// In the order of preference; never empty.
    pub(super) replicas: Vec<Replica>,
    /// Brokers that must have a record before it is committed.
    pub(super) isr: Arc<[i32]>,
    /// Replication starts here.
    pub(super) ready_at: Duration,
    /// Index of the replica that led last: its log is read while there is no leader.
    home: usize,
    /// Whether a check for lagging followers is scheduled.
    watched: bool,
}

impl Partition {
    pub(super) fn new(brokers: &[i32], leader: i32, now: Duration, ready_at: Duration) -> Self {
        let replica = |broker: &i32| {
            let mut log = Log::default();
            log.begin_epoch(0);
            Replica { broker: *broker, log, fetching: false, caught_up: now }
        };
        Self {
            leader,
            epoch: 0,
            replicas: brokers.iter().map(replica).collect(),
            isr: brokers.into(),
            ready_at,
            home: brokers.iter().position(|id| *id == leader).unwrap_or(0),
            watched: false,
        }
    }

    /// Returns the log of the leader, or of the last one.
    pub(super) fn log(&self) -> &Log {
        &self.replicas[self.home].log
    }

    pub(super) fn log_mut(&mut self) -> &mut Log {
        &mut self.replicas[self.home].log
    }

    /// Returns the log of `broker`, which follows or leads.
    pub(super) fn log_at(&self, broker: i32) -> Option<&Log> {
        self.replicas.iter().find(|replica| replica.broker == broker).map(|replica| &replica.log)
    }

    /// Returns the follower that serves a reader at `offset` best, of those that `near` says are in
    /// its rack; `None` where the leader is in the rack, or no follower (`ReplicaManager`'s
    /// `findPreferredReadReplica`, `RackAwareReplicaSelector`).
    pub(super) fn preferred(
        &self,
        offset: i64,
        in_sync: bool,
        near: impl Fn(i32) -> bool,
    ) -> Option<i32> {
        let has = |r: &&Replica| (r.log.start()..=r.log.end()).contains(&offset);
        let serves = |r: &&Replica| has(r) && (!in_sync || self.isr.contains(&r.broker));
        let followers = self.replicas.iter().filter(|r| r.broker != self.leader);
        let best = followers.filter(|r| near(r.broker)).filter(serves);
        let best = best.max_by_key(|r| (r.log.end(), r.caught_up, r.broker))?;
        (!near(self.leader)).then_some(best.broker)
    }

    pub(super) fn brokers(&self) -> Arc<[i32]> {
        self.replicas.iter().map(|replica| replica.broker).collect()
    }

    pub(super) fn has(&self, broker: i32) -> bool {
        self.replicas.iter().any(|replica| replica.broker == broker)
    }

    /// Makes a broker, or with -1 none, the leader. Returns the offset up to which its log equals
    /// that of the last leader.
    pub(super) fn lead(&mut self, broker: i32, now: Duration) -> i64 {
        self.leader = broker;
        self.epoch += 1;
        let epoch = self.epoch;
        let mut kept = self.log().end();
        if let Some(home) = self.replicas.iter().position(|replica| replica.broker == broker) {
            if home != self.home {
                kept = self.log().agrees_up_to(&self.replicas[home].log);
            }
            self.home = home;
            let replica = &mut self.replicas[home];
            replica.log.begin_epoch(epoch);
            replica.caught_up = now;
        }
        kept
    }

    /// Makes `broker` a replica that has all that the leader has, as a reassignment does.
    pub(super) fn adopt(&mut self, broker: i32, now: Duration) {
        let log = self.log().clone();
        match self.replicas.iter_mut().find(|replica| replica.broker == broker) {
            Some(replica) if self.isr.contains(&broker) => replica.caught_up = now,
            Some(replica) => replica.log = log,
            None => {
                // It replaces one that does not lead.
                let replica = Replica { broker, log, fetching: false, caught_up: now };
                let place = (0..self.replicas.len()).rev().find(|place| *place != self.home);
                match place {
                    Some(place) => self.replicas[place] = replica,
                    None => self.replicas.push(replica),
                }
            }
        }
        let keeps = |id: &&i32| self.has(**id) && **id != broker;
        self.isr = self.isr.iter().filter(keeps).chain([&broker]).copied().collect();
    }

    /// Truncates all logs to `to`. Returns the offset up to which the leader and all in sync have
    /// what they had: a log loses whole batches, and one whose start is above `to` none.
    pub(super) fn cut(&mut self, to: i64) -> i64 {
        for replica in &mut self.replicas {
            replica.log.truncate(to);
        }
        let in_sync = self.replicas.iter().filter(|r| self.isr.contains(&r.broker));
        in_sync.map(|replica| replica.log.end()).fold(self.log().end(), i64::min)
    }

    /// Returns a replica's end as the leader knows it: 0 until it follows in this epoch. Until then
    /// it may have other records at the same offsets.
    fn reached(&self, replica: &Replica) -> i64 {
        let follows = replica.log.latest_epoch() == self.log().latest_epoch();
        if follows { replica.log.end() } else { 0 }
    }

    /// Raises the high watermark to what all in sync have; returns whether it rose.
    fn commit(&mut self) -> bool {
        let in_sync = self.replicas.iter().filter(|r| self.isr.contains(&r.broker));
        let Some(to) = in_sync.map(|replica| self.reached(replica)).min() else { return false };
        let before = self.log().high_watermark();
        self.log_mut().commit(to);
        self.log().high_watermark() > before
    }

    /// Copies the leader's log to a follower.
    fn follow(&mut self, place: usize, now: Duration) {
        if place == self.home {
            return;
        }
        let Ok([leader, follower]) = self.replicas.get_disjoint_mut([self.home, place]) else {
            return;
        };
        follower.log.follow(&leader.log);
        follower.caught_up = now;
    }

    /// Returns followers that the leader waits for, or that do not know the high watermark yet.
    fn behind(&self) -> Vec<usize> {
        let (end, high) = (self.log().end(), self.log().high_watermark());
        let epoch = self.log().latest_epoch();
        let lacks = |r: &Replica| {
            r.log.end() != end || r.log.high_watermark() < high || r.log.latest_epoch() != epoch
        };
        let outside = |r: &Replica| !self.isr.contains(&r.broker);
        (0..self.replicas.len())
            .filter(|place| *place != self.home)
            .filter(|place| lacks(&self.replicas[*place]) || outside(&self.replicas[*place]))
            .collect()
    }
}

impl Cluster {
    pub(super) fn at_mut(&mut self, topic: Uuid, partition: usize) -> Option<&mut Partition> {
        self.topics.get_mut(&topic).and_then(|topic| topic.partitions.get_mut(partition))
    }

    /// Lets followers fetch, after a write or a change of leader. Without a delay they do so at
    /// once.
    pub(super) fn replicate(&mut self, topic: Uuid, partition: usize) {
        let (now, delay) = (self.now, self.options.replication_delay);
        let Some(state) = self.topics.get_mut(&topic).and_then(|t| t.partitions.get_mut(partition))
        else {
            return;
        };
        let leads = self.nodes.get(&state.leader).is_some_and(Node::runs);
        let mut later = Vec::new();
        for place in state.behind() {
            let broker = state.replicas[place].broker;
            let Some(node) = self.nodes.get(&broker) else { continue };
            let wait = state.ready_at.saturating_sub(now) + delay + node.replica_lag;
            if !leads || !node.runs() || state.replicas[place].fetching {
                continue;
            }
            if wait.is_zero() {
                state.follow(place, now);
            } else {
                state.replicas[place].fetching = true;
                later.push((now + wait, broker));
            }
        }
        let watch = !state.watched && state.isr.len() > 1;
        state.watched |= watch;
        for (at, broker) in later {
            self.schedule(at, Event::Replicate { topic, partition, broker });
        }
        if watch {
            self.schedule(now + self.options.replica_lag_max, Event::Watch { topic, partition });
        }
        self.settle_replicas(topic, partition);
        self.spread(topic, partition);
    }

    /// Publishes a new high watermark at once to followers that fetch without a delay, where
    /// consumers read from followers (`Partition.followerNeedsHwUpdate`).
    fn spread(&mut self, topic: Uuid, partition: usize) {
        let (now, delay) = (self.now, self.options.replication_delay);
        let Some(state) = self.topics.get_mut(&topic).and_then(|t| t.partitions.get_mut(partition))
        else {
            return;
        };
        let leads = self.nodes.get(&state.leader).is_some_and(Node::runs);
        if !self.options.rack_aware || !leads || state.ready_at > now {
            return;
        }
        for place in state.behind() {
            let node = self.nodes.get(&state.replicas[place].broker);
            let at_once = |node: &Node| node.runs() && (delay + node.replica_lag).is_zero();
            if node.is_some_and(at_once) {
                state.follow(place, now);
            }
        }
    }

    /// Completes a follower's fetch.
    pub(super) fn replicated(&mut self, topic: Uuid, partition: usize, broker: i32) {
        let now = self.now;
        let runs = |id: i32| self.nodes.get(&id).is_some_and(Node::runs);
        let Some(state) = self.topics.get(&topic).and_then(|t| t.partitions.get(partition)) else {
            return;
        };
        let able = runs(broker) && runs(state.leader);
        let Some(state) = self.at_mut(topic, partition) else { return };
        let Some(place) = state.replicas.iter().position(|r| r.broker == broker) else { return };
        state.replicas[place].fetching = false;
        if able {
            let before = state.replicas[place].log.high_watermark();
            state.follow(place, now);
            let rose = state.replicas[place].log.high_watermark() > before;
            if rose && self.options.rack_aware {
                self.touch(topic, partition); // a consumer may read there
            }
            self.settle_replicas(topic, partition);
            self.replicate(topic, partition);
        }
    }

    /// Adds replicas that caught up to the ISR, and commits what all of it has.
    fn settle_replicas(&mut self, topic: Uuid, partition: usize) {
        let members: Vec<i32> =
            self.nodes.iter().filter(|(_, node)| node.in_cluster()).map(|(id, _)| *id).collect();
        let Some(state) = self.at_mut(topic, partition).filter(|state| state.leader >= 0) else {
            return;
        };
        let (high, epoch) = (state.log().high_watermark(), state.log().latest_epoch());
        let back = |r: &&Replica| {
            let follows = r.log.latest_epoch() == epoch;
            let up = follows && r.log.end() >= high.max(epoch.1);
            !state.isr.contains(&r.broker) && members.contains(&r.broker) && up
        };
        let back: Vec<i32> = state.replicas.iter().filter(back).map(|r| r.broker).collect();
        let grown = !back.is_empty();
        if grown {
            state.isr = state.isr.iter().copied().chain(back).collect();
        }
        if state.commit() || grown {
            self.touch(topic, partition);
        }
        if grown {
            self.publish_id(topic);
        }
    }

    /// Removes followers from the ISR that have lagged too long.
    pub(super) fn watch_followers(&mut self, topic: Uuid, partition: usize) {
        let (now, most) = (self.now, self.options.replica_lag_max);
        let Some(state) = self.at_mut(topic, partition) else { return };
        state.watched = false;
        let leader = state.leader;
        if !self.nodes.get(&leader).is_some_and(Node::runs) {
            return; // the leader that watched them does not run; the next one will
        }
        let Some(state) = self.at_mut(topic, partition) else { return };
        let end = state.log().end();
        let isr = state.isr.clone();
        let late = |id: &i32| {
            let replica = state.replicas.iter().find(|r| r.broker == *id);
            *id != leader
                && replica.is_none_or(|r| state.reached(r) < end && r.caught_up + most <= now)
        };
        let kept: Arc<[i32]> = isr.iter().copied().filter(|id| !late(id)).collect();
        let lags = state.replicas.iter().any(|r| isr.contains(&r.broker) && state.reached(r) < end);
        let shrunk = kept.len() < isr.len();
        if shrunk {
            state.isr = kept;
            state.commit();
            self.touch(topic, partition);
            self.publish_id(topic);
            self.wake();
        }
        if lags && !shrunk {
            if let Some(state) = self.at_mut(topic, partition) {
                state.watched = true;
            }
            self.schedule(now + most, Event::Watch { topic, partition });
        }
    }

    /// Replicates all partitions: a broker is back, or others may not wait for it.
    pub(super) fn replicate_all(&mut self) {
        let mut all: Vec<(Uuid, usize)> = Vec::new();
        for id in self.names.values() {
            let count = self.topics.get(id).map_or(0, |topic| topic.partitions.len());
            all.extend((0..count).map(|partition| (*id, partition)));
        }
        for (topic, partition) in all {
            self.replicate(topic, partition);
        }
    }

    fn touch(&mut self, topic: Uuid, partition: usize) {
        let Some(name) = self.topics.get(&topic).map(|topic| topic.name.clone()) else { return };
        let partition = i32::try_from(partition).unwrap_or(-1);
        self.touched.push(Touched { id: topic, name, partition });
    }

    fn publish_id(&mut self, topic: Uuid) {
        if let Some(name) = self.topics.get(&topic).map(|topic| topic.name.clone()) {
            self.publish(&[name]);
        }
    }
}
