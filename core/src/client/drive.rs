//! What happens by itself: deadlines, requests that are due, connections that end.

use super::Commands;
use crate::api::Owner;
use crate::connection::{Peer, State, Verdict};
use crate::consumer::Taken;
use crate::error::{CloseReason, Error};
use crate::time::Tick;

/// Topics that are not watched any more, looked at in one go.
const LEAVING: usize = 4;

impl Commands<'_> {
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
            || self.net.stirred
            || self.net.check
            || self.cluster.brokers_moved
            || self.producer.is_dirty()
            || self.consumer.is_dirty()
            || self.admin.is_dirty()
            || self.cluster.topics.has_changed()
            || self.cluster.asks
            || self.cluster.table.has_relocated()
    }

    pub(super) fn next_deadline(&self) -> Tick {
        self.deadline.min(self.producer.deadline()).min(self.net.next_deadline())
    }

    /// Does what is due. One thing may make another due; what is left then is for the next call.
    pub(super) fn drive(&mut self, now: Tick) {
        for _ in 0..4 {
            if !self.is_dirty() && self.next_deadline() > now {
                return;
            }
            self.dirty = false;
            self.net.stirred = false;
            self.end_connections(now);
            self.tell_changes(now);
            let Self { cluster, net, producer, consumer, admin, .. } = self;
            let mut next = admin.drive(cluster, net, now);
            producer.drive(cluster, net, now);
            next = next.min(consumer.drive(cluster, net, now));
            next = next.min(cluster.drive(net, now));
            self.deadline = next;
        }
    }

    /// Topics that were recreated or became ready or grew concern producer and consumer.
    fn tell_changes(&mut self, now: Tick) {
        for _ in 0..LEAVING {
            if let Some(slot) = self.cluster.topics.next_leaving() {
                self.forget_unused(slot);
            }
        }
        let Self { cluster, net, producer, consumer, .. } = self;
        let mut link = cluster.topics.first_changed();
        while let Some(slot) = link.get() {
            if core::mem::take(&mut cluster.topics[slot].recreated) {
                producer.on_recreated(cluster, net, slot);
                consumer.on_recreated(cluster, net, slot);
            }
            link = cluster.topics.next_changed(slot);
        }
        while let Some(part) = cluster.table.next_relocated() {
            producer.on_leader(cluster, part);
            consumer.on_relocated(cluster, now, part);
        }
        if cluster.topics.has_changed() {
            producer.on_ways_changed();
        }
        while let Some(slot) = cluster.topics.take_changed() {
            consumer.on_changed(cluster, now, slot, |cluster| producer.evict_one(cluster));
            producer.on_grown(cluster, now, slot);
            cluster.let_go(slot);
        }
    }

    /// Forgets a topic that is not watched, unless something of it is in use.
    pub(super) fn forget_unused(&mut self, slot: usize) {
        let Self { cluster, producer, consumer, .. } = self;
        let used = cluster.is_read(slot) || !producer.may_forget(cluster, slot);
        if !guard!("a topic in use is not forgotten", used) {
            producer.forget(cluster, slot);
            consumer.forget(cluster, slot);
            cluster.forget(slot);
        }
    }

    /// Forgets topics that are not watched, or one that was not produced to for long, to make room
    /// for another one. Returns whether there is room.
    pub(super) fn make_topic_room(&mut self) -> bool {
        let used = self.cluster.topics.used();
        for _ in 0..used {
            let Some(slot) = self.cluster.topics.next_leaving() else { break };
            self.forget_unused(slot);
        }
        if self.cluster.topics.used() == used {
            let Self { cluster, producer, .. } = &*self;
            let unused = cluster.unused_topic(|slot| producer.may_forget(cluster, slot));
            if let Some(slot) = unused {
                self.forget_unused(slot);
            }
        }
        self.cluster.topics.used() < used
    }

    /// Connections that are overdue, lead to an old address, or gave way to others.
    fn end_connections(&mut self, now: Tick) {
        let moved = core::mem::take(&mut self.cluster.brokers_moved);
        if !self.net.check && !moved && self.net.next_deadline() > now {
            return;
        }
        self.net.begin_look();
        for slot in 0..self.net.conns.len() {
            if !self.net.conns[slot].is_live() {
                continue;
            }
            let verdict = self.net.verdict(now, slot, &self.cluster.config);
            if verdict == Verdict::Dead {
                self.lose(now, slot, Error::Closed(CloseReason::Silent), true);
                continue;
            }
            if guard!("request deadline", verdict == Verdict::Over) {
                let silent = self.net.conns[slot].state == State::Handshake;
                let silent = silent.then_some(Error::Closed(CloseReason::Silent));
                self.lose(now, slot, silent.unwrap_or(Error::TimedOut), true);
                continue;
            }
            let conn = &self.net.conns[slot];
            if conn.is_draining() && conn.pending() == 0 {
                self.end(slot);
                continue;
            }
            let Peer::Node(id) = conn.peer else { continue };
            match self.cluster.broker(id) {
                // Its old address: what is under way there is done again at the new one.
                Some(broker) if broker.readdressed => {
                    let why = CloseReason::Ended;
                    self.lose(now, slot, Error::Closed(why), true);
                    self.cluster.forgive(now, Peer::Node(id));
                }
                // Made while it was at another address for a while, perhaps (R9).
                Some(broker) if guard!("a doubted connection is made anew", broker.doubted) => {
                    self.net.drain(slot);
                }
                Some(_) => {}
                // The cluster does not name it any more and it leads nothing.
                None if conn.pending() == 0 => self.end(slot),
                None => {}
            }
        }
        if moved {
            for broker in self.cluster.brokers.iter_mut() {
                (broker.readdressed, broker.doubted) = (false, false);
            }
        }
    }

    fn end(&mut self, slot: usize) {
        self.drop_answer(slot);
        self.net.end(slot, true);
    }

    /// A connection is lost: everybody who waits for an answer is told.
    pub(super) fn lose(&mut self, now: Tick, slot: usize, error: Error, tell_adapter: bool) {
        let peer = self.net.conns[slot].peer;
        while let Some(lost) = self.net.take_lost(slot) {
            let Self { net, cluster, producer, consumer, admin, .. } = self;
            match lost.asked.kind.row().owner {
                Owner::Handshake => {}
                Owner::Cluster => cluster.lost(now, &lost),
                Owner::Producer => producer.lost(cluster, net, now, &lost, error),
                Owner::Consumer => consumer.lost(cluster, net, now, &lost, error),
                Owner::Admin => admin.lost(cluster, net, now, &lost, error),
            }
        }
        self.cluster.on_closed(now, peer, error);
        self.producer.on_ways_changed();
        self.drop_answer(slot);
        self.net.end(slot, tell_adapter);
        self.dirty = true;
    }

    /// All connections are ended by us, and that is nobody's failure.
    pub(super) fn leave_all(&mut self, now: Tick) {
        for slot in 0..self.net.conns.len() {
            let conn = &self.net.conns[slot];
            if conn.is_live() {
                let peer = conn.peer;
                self.lose(now, slot, Error::Closed(CloseReason::Ended), false);
                self.cluster.forgive(now, peer);
            }
        }
    }

    /// The application is through with a batch: it leaves the receive buffer.
    pub(super) fn put_behind(&mut self, slot: usize, taken: &Taken) {
        let wanted = self.consumer.taken(taken);
        self.consume_records(slot, taken.len, wanted);
    }
}
