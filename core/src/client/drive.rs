//! What happens without a command: deadlines, requests that are due, connections that end.

use super::Commands;
use super::owners::Owners;
#[cfg(feature = "sasl")]
use crate::connection::HandshakeStep;
use crate::connection::{ConnState, Peer, Verdict};
use crate::consumer::Taken;
#[cfg(feature = "sasl")]
use crate::error::PeerFault;
use crate::error::{CloseReason, Error, Misuse};
use crate::has::UNWATCH;
use crate::time::Tick;

/// Unwatched topics that are checked per pass.
const LEAVING: usize = 4;

impl Commands<'_> {
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty || self.owners.is_dirty(&self.cx)
    }

    pub(super) fn next_deadline(&self) -> Tick {
        self.deadline.min(self.cx.net.next_deadline())
    }

    /// Does what is due. One action may make another due; the rest is left for the next call.
    pub(super) fn drive(&mut self) {
        #[cfg(feature = "sasl")]
        self.compute_logins();
        for _ in 0..4 {
            if !self.is_dirty() && self.next_deadline() > self.cx.now {
                return;
            }
            self.dirty = false;
            self.cx.net.stirred = false;
            self.end_connections();
            self.report_changes();
            self.deadline = self.owners.drive(&mut self.cx);
        }
    }

    /// Reports topics that were recreated, became ready or grew to producer and consumer.
    fn report_changes(&mut self) {
        if UNWATCH {
            for _ in 0..LEAVING {
                if let Some(slot) = self.cx.cluster.topics.next_leaving() {
                    self.forget_unused(slot);
                }
            }
        }
        let Self { cx, owners, .. } = self;
        let Owners {
            producer,
            consumer,
            #[cfg(feature = "group")]
            group,
            ..
        } = owners;
        let mut link = cx.cluster.topics.first_changed();
        while let Some(slot) = link.get() {
            if core::mem::take(&mut cx.cluster.topics[slot].recreated) {
                producer.on_recreated(cx, slot);
                consumer.on_recreated(cx, slot);
                #[cfg(feature = "group")]
                group.on_recreated(cx, slot);
            }
            link = cx.cluster.topics.next_changed(slot);
        }
        while let Some(part) = cx.cluster.table.next_relocated() {
            producer.on_leader(&cx.cluster, part);
            consumer.on_relocated(cx, part);
        }
        if cx.cluster.topics.has_changed() {
            producer.on_ways_changed();
        }
        while let Some(slot) = cx.cluster.topics.take_changed() {
            consumer.on_changed(cx, slot, |cx| producer.evict_one(&mut cx.cluster));
            producer.on_grown(cx, slot);
            #[cfg(feature = "group")]
            group.on_changed(slot);
            cx.cluster.let_go(slot);
        }
    }

    /// Forgets a topic that is not watched, unless something of it is in use.
    pub(super) fn forget_unused(&mut self, slot: usize) {
        #[cfg(feature = "group")]
        if guard!("a topic of the group is not forgotten", self.owners.group.has(slot)) {
            return;
        }
        let Self { cx, owners, .. } = self;
        let Owners { producer, consumer, .. } = owners;
        #[cfg(feature = "pattern")]
        let group = &mut owners.group;
        let cluster = &mut cx.cluster;
        let used = cluster.is_read(slot) || !producer.may_forget(cluster, slot);
        if !guard!("a topic in use is not forgotten", used) {
            producer.forget(cluster, slot);
            consumer.forget(cluster, slot);
            #[cfg(feature = "pattern")]
            group.forget(slot);
            cluster.forget(slot);
        }
    }

    /// Forgets topics that are not watched, or one that was not produced to for long, to free a
    /// slot. Returns whether one is free.
    pub(super) fn make_topic_room(&mut self) -> bool {
        let used = self.cx.cluster.topics.used();
        for _ in 0..used {
            let Some(slot) = self.cx.cluster.topics.next_leaving() else { break };
            self.forget_unused(slot);
        }
        if self.cx.cluster.topics.used() == used {
            let (cluster, producer) = (&self.cx.cluster, &self.owners.producer);
            let unused =
                cluster.unused_topic(self.cx.now, |slot| producer.may_forget(cluster, slot));
            if let Some(slot) = unused {
                self.forget_unused(slot);
            }
        }
        self.cx.cluster.topics.used() < used
    }

    /// Ends connections that are overdue, lead to an old address, or are drained for others.
    fn end_connections(&mut self) {
        let moved = core::mem::take(&mut self.cx.cluster.brokers_moved);
        if !self.cx.net.check && !moved && self.cx.net.next_deadline() > self.cx.now {
            return;
        }
        self.cx.net.begin_pass();
        for slot in 0..self.cx.net.conns.len() {
            if !self.cx.net.conns[slot].is_live() {
                continue;
            }
            let verdict = self.cx.net.verdict(self.cx.now, slot, &self.cx.settings);
            if verdict == Verdict::Dead {
                self.lose(slot, Error::Closed(CloseReason::Silent), true);
                continue;
            }
            if guard!("request deadline", verdict == Verdict::Over) {
                let silent = self.cx.net.conns[slot].state == ConnState::Handshake;
                #[cfg(feature = "sasl")]
                if let Some(fault) = self.cx.net.conns[slot].login_overdue() {
                    self.lose(slot, Error::Peer(PeerFault::Login(fault)), true);
                    continue;
                }
                match self.cx.net.was_not_polled(slot) {
                    true => self.end_misused(slot, Misuse::Unpolled),
                    false if silent => self.lose(slot, Error::Closed(CloseReason::Silent), true),
                    false => self.lose(slot, Error::TimedOut, true),
                }
                continue;
            }
            let conn = &self.cx.net.conns[slot];
            if conn.is_draining() && conn.pending() == 0 {
                self.end(slot);
                continue;
            }
            #[cfg(feature = "sasl")]
            if self.cx.net.renews(self.cx.now, slot) {
                self.take_step(slot, HandshakeStep::Mechanism);
                continue;
            }
            let conn = &self.cx.net.conns[slot];
            let Peer::Node(id) = conn.peer else { continue };
            match self.cx.cluster.broker(id) {
                // Its old address: what is in flight there is sent again to the new one.
                Some(broker) if broker.readdressed => {
                    let why = CloseReason::Ended;
                    self.lose(slot, Error::Closed(why), true);
                    self.cx.forgive(Peer::Node(id));
                }
                // Possibly established while the broker had another address for a while (R9).
                Some(broker) if guard!("a doubted connection is reconnected", broker.doubted) => {
                    self.cx.net.drain(slot);
                }
                Some(_) => {}
                // The cluster no longer names it, and it leads nothing.
                None if conn.pending() == 0 => self.end(slot),
                None => {}
            }
        }
        if self.cx.net.silence_news {
            self.owners.producer.on_ways_changed();
        }
        if moved {
            for broker in self.cx.cluster.brokers.iter_mut() {
                (broker.readdressed, broker.doubted) = (false, false);
            }
        }
    }

    fn end(&mut self, slot: usize) {
        self.drop_response(slot);
        self.cx.net.end(slot, true);
    }

    /// Ends a lost connection: the owner of each request without a response is notified.
    pub(super) fn lose(&mut self, slot: usize, error: Error, report_adapter: bool) {
        let conn = &self.cx.net.conns[slot];
        let since = (conn.state == ConnState::Ready).then_some(conn.since);
        let (peer, open) = (conn.peer, (conn.first_asked(), since));
        while let Some(lost) = self.cx.net.take_lost(slot) {
            self.owners.lost(&mut self.cx, &lost, error);
        }
        self.cx.on_closed(peer, error, open);
        self.owners.producer.on_ways_changed();
        self.drop_response(slot);
        self.cx.net.end(slot, report_adapter);
        self.dirty = true;
    }

    /// Ends a connection because of a mistake of the loop, not of its peer.
    #[cold]
    pub(super) fn end_misused(&mut self, slot: usize, misuse: Misuse) {
        self.cx.net.watch.note(misuse);
        self.lose(slot, Error::Caller(misuse), true);
    }

    /// Ends all connections from our side, without reporting a failure.
    pub(super) fn leave_all(&mut self) {
        for slot in 0..self.cx.net.conns.len() {
            let conn = &self.cx.net.conns[slot];
            if conn.is_live() {
                let peer = conn.peer;
                self.lose(slot, Error::Closed(CloseReason::Ended), false);
                self.cx.forgive(peer);
            }
        }
    }

    /// Consumes a batch that the application is done with: it leaves the receive buffer.
    pub(super) fn consume_taken(&mut self, slot: usize, taken: &Taken) {
        let wanted = self.owners.consumer.taken(taken);
        self.consume_records(slot, taken.len, wanted);
    }
}
