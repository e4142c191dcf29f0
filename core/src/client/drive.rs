//! What happens by itself: deadlines, requests that are due, connections that end.

use super::Commands;
use crate::answer::AnswerSlot;
use crate::connection::{Peer, Ticket};
use crate::consumer::Taken;
use crate::error::{CloseReason, Error};
use crate::time::Instant;

impl Commands<'_> {
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
            || self.net.fresh
            || self.producer.dirty
            || self.consumer.dirty
            || self.admin.dirty
            || self.cluster.changed
            || self.cluster.asks
            || self.cluster.recreated
            || self.cluster.table.has_relocated()
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.deadline.min(self.producer.deadline)
    }

    /// Does what is due. One thing may make another due; what is left then is for the next call.
    pub(super) fn drive(&mut self, now: Instant) {
        for _ in 0..4 {
            if !self.is_dirty() && self.next_deadline() > now {
                return;
            }
            self.dirty = false;
            self.net.fresh = false;
            self.end_connections(now);
            self.tell_changes(now);
            let Self { cluster, net, producer, consumer, admin, .. } = self;
            let mut next = admin.drive(cluster, net, now);
            producer.drive(cluster, net, now);
            next = next.min(consumer.drive(cluster, net, now));
            next = next.min(cluster.drive(net, now));
            for slot in 0..net.conns.len() {
                next = next.min(net.deadline(slot));
            }
            self.deadline = next;
        }
    }

    /// Topics that were recreated or became ready or grew concern producer and consumer.
    fn tell_changes(&mut self, now: Instant) {
        let Self { cluster, net, producer, consumer, .. } = self;
        if core::mem::take(&mut cluster.recreated) {
            for slot in 0..cluster.topics.len() {
                if core::mem::take(&mut cluster.topics[slot].recreated) {
                    producer.on_recreated(cluster, &mut net.blocks, slot);
                    consumer.on_recreated(cluster, slot);
                }
            }
        }
        while let Some(part) = cluster.table.next_relocated() {
            producer.on_leader(cluster, part);
            consumer.on_leader(cluster, now, part);
        }
        if core::mem::take(&mut cluster.changed) {
            consumer.on_changed(cluster, now, |cluster| producer.evict_one(cluster));
            producer.on_grown(cluster, now);
        }
    }

    /// Connections that are overdue, lead to an old address, or gave way to others.
    fn end_connections(&mut self, now: Instant) {
        for slot in 0..self.net.conns.len() {
            let conn = &self.net.conns[slot];
            if !conn.is_live() {
                continue;
            }
            if guard!("request deadline", self.net.deadline(slot) <= now) {
                self.lose(now, slot, Error::TimedOut, true);
                continue;
            }
            if conn.drain && conn.pending() == 0 {
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
                    self.net.conns[slot].drain = true;
                    self.dirty = true;
                }
                Some(_) => {}
                // The cluster does not name it any more and it leads nothing.
                None if conn.pending() == 0 => self.end(slot),
                None => {}
            }
        }
        for broker in self.cluster.brokers.iter_mut() {
            (broker.readdressed, broker.doubted) = (false, false);
        }
    }

    fn end(&mut self, slot: usize) {
        self.answers[slot] = AnswerSlot::EMPTY;
        self.net.end(slot, true);
    }

    /// A connection is lost: everybody who waits for an answer is told.
    pub(super) fn lose(&mut self, now: Instant, slot: usize, error: Error, tell_adapter: bool) {
        let peer = self.net.conns[slot].peer;
        while let Some(lost) = self.net.take_lost(slot) {
            match lost.asked.ticket {
                Ticket::ApiVersions => {}
                Ticket::Fetch => self.consumer.fetch_done(&self.cluster, peer.node()),
                Ticket::Metadata => self.cluster.metadata_lost(now),
                Ticket::Describe { .. } | Ticket::ListOffsetsProbe => self.cluster.probe_lost(),
                Ticket::Offsets => {
                    let correlation = lost.asked.correlation;
                    self.consumer.offsets_done(&self.cluster, now, peer.node(), correlation);
                }
                Ticket::Produce => self.producer.on_lost(&mut self.cluster, now, &lost),
                Ticket::InitProducerId => {
                    self.producer.on_identity(&mut self.cluster, now, Err(error));
                }
                Ticket::Admin { .. } => self.admin.on_lost(lost.asked.ticket, error),
            }
        }
        self.cluster.on_closed(now, peer, error);
        self.answers[slot] = AnswerSlot::EMPTY;
        self.net.end(slot, tell_adapter);
        self.consumer.dirty = true;
        self.dirty = true;
    }

    /// All connections are ended by us, and that is nobody's failure.
    pub(super) fn leave_all(&mut self, now: Instant) {
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
