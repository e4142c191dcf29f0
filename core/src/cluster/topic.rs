//! A watched topic.

use heapless::String;

use crate::error::Error;
use crate::event::{Freshness, Signal, Source};
use crate::has::{Own, Unwatch};
use crate::time::{Scale, Span, Tick};
use crate::wire::Uuid;

use super::topics::Plan;
use super::{CONSUMER, Cluster, Complaint, Cx, HELD, PRODUCER};

/// News that was not reported to the application yet.
pub(crate) mod pending {
    pub(crate) const READY: u8 = 1;
    pub(crate) const ADDED: u8 = 2;
    pub(crate) const RECREATED: u8 = 4;
    pub(crate) const FAILED: u8 = 8;
    pub(crate) const STALE: u8 = 16;
}

/// A topic that was only produced to can be evicted after this long (`metadata.max.idle.ms`).
const UNUSED: Span = Span::from_secs(300);

/// When to request metadata.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) wanted: bool,
    /// No request before this.
    pub(crate) at: Tick,
    /// Responses in a row that did not settle it.
    pub(crate) failures: u8,
    /// A broker is known to have the news. Not an `Option`, which would not be all zero.
    pub(crate) reported: bool,
    /// That broker, and the signal that showed it.
    pub(crate) by: Source,
    /// Serial of the last request for it, 0 once there was a response.
    pub(crate) serial: u32,
}

/// The growth probe of a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    /// When the last one was sent.
    pub(crate) sent: Tick,
    /// No other one before this.
    pub(crate) until: Tick,
    /// Slot of the connection whose turn was last.
    pub(crate) conn: u16,
    /// The next one avoids connections with batches in flight; every other one does.
    pub(crate) aside: bool,
    /// The last one found no memory and was given up.
    pub(crate) refused: bool,
    /// Requests of the client when it was sent.
    pub(crate) requests: u32,
    /// Probes are fast until then: the application itself has just grown the topic.
    pub(crate) eager_until: Own<Tick>,
}

/// Responses that contradict what is known, counted until they are enough (R5 to R7).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence {
    /// The id that they name, zero for "no such topic" and for brokers without ids.
    pub(crate) id: Uuid,
    /// The count that they name, 0 for "no such topic".
    pub(crate) count: u32,
    pub(crate) responses: u8,
    pub(crate) since: Tick,
    /// The broker that gave the first of them, and whether another one agreed.
    pub(crate) node: i32,
    pub(crate) two_brokers: bool,
    /// A leader refused the id (or the partition) that we know.
    pub(crate) refused: bool,
}

/// A watched topic.
pub(crate) struct Topic {
    pub(crate) ready: bool,
    /// The application has not released it.
    pub(crate) watched: bool,
    /// The list that it is in.
    pub(crate) plan: Plan,
    /// The users of all of its partitions: entries are made as a response names them.
    pub(crate) wants: u8,
    /// Some of these entries were not adopted yet.
    pub(super) held: bool,
    pub(crate) generation: u16,
    pub(crate) name: String<249, u8>,
    pub(crate) id: Uuid,
    /// The id of the topic of this name before.
    pub(crate) old_id: Uuid,
    /// Brokers name it without its id now, and so does the client.
    pub(crate) nameless: bool,
    pub(crate) count: u32,
    /// How often it was recreated.
    pub(crate) epoch: u32,
    pub(crate) confirmed: Tick,
    pub(crate) by: Source,
    /// Last complete Metadata response.
    pub(crate) described: Tick,
    pub(crate) need: Need,
    pub(crate) probe: Probe,
    pub(crate) evidence: Evidence,
    /// See [`pending`].
    pub(crate) pending: u8,
    pub(crate) added_from: u32,
    pub(crate) added_by: Source,
    /// What the last Metadata response said against it.
    pub(crate) said: Complaint,
    pub(crate) failure: Option<Error>,
    pub(crate) stale_broker: i32,
    /// Producer and consumer have to restart.
    pub(crate) recreated: bool,
    /// When it was last produced to.
    pub(crate) used: Unwatch<Tick>,
}

const NOBODY: Source = Source { broker: 0, signal: Signal::Metadata };

impl Topic {
    pub(crate) const EMPTY: Self = Self {
        ready: false,
        watched: false,
        plan: Plan::None,
        wants: 0,
        held: false,
        generation: 0,
        name: String::new(),
        id: Uuid::ZERO,
        old_id: Uuid::ZERO,
        nameless: false,
        count: 0,
        epoch: 0,
        confirmed: Tick::ZERO,
        by: NOBODY,
        described: Tick::ZERO,
        need: Need {
            wanted: false,
            at: Tick::ZERO,
            failures: 0,
            reported: false,
            by: NOBODY,
            serial: 0,
        },
        probe: Probe {
            sent: Tick::ZERO,
            until: Tick::ZERO,
            conn: 0,
            aside: false,
            refused: false,
            requests: 0,
            eager_until: Own::new(Tick::ZERO),
        },
        evidence: Evidence::NONE,
        pending: 0,
        added_from: 0,
        added_by: NOBODY,
        said: Complaint::NONE,
        failure: None,
        stale_broker: 0,
        recreated: false,
        used: Unwatch::new(Tick::ZERO),
    };

    /// Makes a watched topic; metadata is requested at once. The name was checked.
    pub(crate) fn watched(name: &str, generation: u16) -> Self {
        let mut topic = Self { generation, watched: true, ..Self::EMPTY };
        topic.name = String::try_from(name).unwrap_or_default();
        topic.need.wanted = true;
        topic
    }

    /// Notes that a record goes to it.
    #[inline]
    pub(crate) fn note_produce(&mut self, now: Tick) {
        self.used.set(now);
        self.wants |= PRODUCER;
    }

    /// Returns whether requests have to name it, since it has no id there.
    pub(crate) fn lacks_id(&self) -> bool {
        self.nameless || self.id.is_zero()
    }
}

impl Evidence {
    pub(crate) const NONE: Self = Self {
        id: Uuid::ZERO,
        count: 0,
        responses: 0,
        since: Tick::ZERO,
        node: 0,
        two_brokers: false,
        refused: false,
    };

    /// Adds a response of a broker; a different kind of response than before restarts the count.
    pub(crate) fn add(&mut self, now: Tick, id: Uuid, count: u32, node: i32) {
        let same = self.responses > 0 && self.id == id && (!id.is_zero() || self.count == count);
        if guard!("another response restarts the evidence", !same) {
            let refused = self.refused;
            *self = Self { id, count, since: now, node, refused, ..Self::NONE };
        }
        self.responses = self.responses.saturating_add(1);
        self.count = count;
        // A bootstrap address (-1) may lead to any broker.
        self.two_brokers |= self.node >= 0 && node >= 0 && self.node != node;
        if self.node < 0 {
            self.node = node;
        }
    }
}

/// Checks Kafka's rule for topic names (`Topic.validate`).
pub(crate) fn is_legal_name(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl Cluster<'_> {
    pub(crate) fn freshness(&self, slot: usize, scale: Scale) -> Option<Freshness> {
        let topic = &self.topics[slot];
        topic.ready.then_some(Freshness {
            partitions: topic.count,
            generation: topic.epoch,
            id: topic.id,
            confirmed: scale.instant(topic.confirmed),
            described: scale.instant(topic.described),
            by: topic.by,
        })
    }

    #[inline(never)]
    pub(super) fn report(&mut self, slot: usize, what: u8) {
        self.topics[slot].pending |= what;
        self.topics.note_news(slot);
    }

    /// Raises the count (R2, R10).
    pub(super) fn grow(&mut self, slot: usize, count: u32, by: Source) {
        let topic = &mut self.topics[slot];
        if topic.pending & pending::ADDED == 0 {
            topic.added_from = topic.count;
        }
        topic.added_by = by;
        topic.count = count;
        self.topics.note_change(slot);
        self.report(slot, pending::ADDED);
    }

    /// Restores what was known of a topic before the client was closed and recreated. Metadata is
    /// requested all the same; until it arrives, this is better than nothing.
    pub(crate) fn recall(&mut self, slot: usize, id: Uuid, count: u32, epoch: u32) {
        self.topics.set_id(slot, id);
        self.topics.set_ready(slot);
        let topic = &mut self.topics[slot];
        (topic.count, topic.epoch) = (count, epoch);
        topic.nameless = id.is_zero();
        topic.by = Source { broker: -1, signal: Signal::Snapshot };
        self.topics.note_change(slot);
        self.report(slot, pending::READY);
    }

    /// Accepts another topic of the same name: all state of the old one is void.
    pub(super) fn recreate(&mut self, slot: usize, id: Uuid, count: u32) {
        let topic = &mut self.topics[slot];
        topic.old_id = topic.id;
        self.topics.set_id(slot, id);
        let topic = &mut self.topics[slot];
        topic.nameless = id.is_zero();
        topic.count = count;
        topic.epoch = topic.epoch.wrapping_add(1);
        topic.evidence = Evidence::NONE;
        topic.recreated = true;
        topic.pending &= !pending::ADDED;
        let mut link = self.table.first_of(slot);
        while let Some(part) = link.get() {
            link = self.table.next_of(part);
            self.table[part].rewinds = 0;
            self.set_leader(part, -1, -1);
        }
        self.topics.note_change(slot);
        self.report(slot, pending::RECREATED);
    }

    /// Makes an entry for a partition that a response names and that will be in use, so that its
    /// leader need not be requested again. Producer and consumer adopt it when they are notified of
    /// the topic.
    pub(super) fn hold(&mut self, slot: usize, index: u32) -> Option<usize> {
        let topic = &mut self.topics[slot];
        if guard!("leaders that stream by are kept", topic.wants == 0 => true) {
            return None;
        }
        topic.held = true;
        self.table.take(slot, index, HELD)
    }

    /// Releases such entries once they were adopted.
    pub(crate) fn let_go(&mut self, slot: usize) {
        if !core::mem::take(&mut self.topics[slot].held) {
            return;
        }
        let mut link = self.table.first_of(slot);
        while let Some(part) = link.get() {
            link = self.table.next_of(part);
            self.table.release(part, HELD);
        }
    }

    /// Returns whether partitions of a topic are assigned, or will be.
    pub(crate) fn is_read(&self, slot: usize) -> bool {
        let assigned = |part: usize| self.table[part].used_by(CONSUMER);
        self.topics[slot].wants & CONSUMER != 0 || self.table.of_topic(slot).any(assigned)
    }

    /// Returns a topic that was produced to, but not recently.
    pub(crate) fn unused_topic(&self, now: Tick, may_go: impl Fn(usize) -> bool) -> Option<usize> {
        let is_unused = |slot: &usize| {
            let topic = &self.topics[*slot];
            let long = guard!("a topic in use stays", topic.used.or(now) + UNUSED <= now => true);
            topic.wants & PRODUCER != 0 && long && !self.is_read(*slot) && may_go(*slot)
        };
        (0..self.topics.len()).filter(is_unused).min_by_key(|slot| self.topics[*slot].used.or(now))
    }
}

impl<'d> Cx<'d> {
    /// Notes that the topic's count was confirmed.
    #[inline(never)]
    pub(super) fn confirm(&mut self, slot: usize, by: Source) {
        let topic = &mut self.cluster.topics[slot];
        topic.confirmed = self.now;
        topic.by = by;
    }

    /// Notes that a broker is stale with a topic (R4).
    pub(super) fn stale(&mut self, slot: usize, node: i32) {
        let pause = self.settings.probe_idle.times(3);
        let known = self.cluster.is_stale(node, self.now);
        match self.cluster.broker_mut(node) {
            Some(broker) => broker.stale_until = self.now + pause,
            None => self.cluster.seeds.stale_until = self.now + pause,
        }
        if !known {
            self.cluster.topics[slot].stale_broker = node;
            self.cluster.report(slot, pending::STALE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_are_kafkas() {
        for good in ["a", "A.b_c-9", &"x".repeat(249)] {
            assert!(is_legal_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(250)] {
            assert!(!is_legal_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_bootstrap_address_is_no_second_broker() {
        let mut evidence = Evidence::NONE;
        for (ms, node) in [(1, -1), (2, 1), (3, -1)] {
            evidence.add(Tick::from_millis(ms), Uuid::ZERO, 4, node);
            assert!(!evidence.two_brokers, "after broker {node}");
        }
        evidence.add(Tick::from_millis(4), Uuid::ZERO, 4, 2);
        assert!(evidence.two_brokers);
    }

    #[test]
    fn another_response_restarts_the_evidence() {
        let mut evidence = Evidence::NONE;
        let at = Tick::from_millis;
        evidence.add(at(1), Uuid::ZERO, 4, 1);
        evidence.add(at(2), Uuid::ZERO, 4, 2);
        assert!(evidence.two_brokers && evidence.responses == 2 && evidence.since == at(1));
        evidence.add(at(3), Uuid::ZERO, 5, 2);
        assert!(!evidence.two_brokers && evidence.responses == 1 && evidence.since == at(3));
    }
}
