//! Noticing growth at a cost that does not depend on how many partitions there are.
//!
//! Brokers from 3.8 on get DescribeTopicPartitions requests for the last known partition and
//! whether more follow; older ones get ListOffsets for the last known index and the first unknown
//! one, the former as a self-test of the broker; where neither works, Metadata is read under a
//! budget of bytes. Probes rotate over open connections; with spare connections, up to three
//! brokers are kept connected for that.

use super::topics::Plan;
use super::{Cluster, Cx, Topic};
use crate::api::Kind;
use crate::config::Probing;
use crate::connection::{Draft, Origin, Tag};
use crate::event::{Signal, Source};
use crate::has::ADMIN;
use crate::memory::Link;
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{Encode, ErrorCode, Uuid, describe_topic_partitions as describe, list_offsets};

/// A probe without a response for this long does not keep others waiting.
const PATIENCE: Span = Span::from_millis(300);
/// A probe that finds no memory is retried for this long.
const REFUSED: Span = Span::from_secs(1);
/// Pace right after the application itself grew the topic.
const EAGER: Span = Span::from_millis(20);
/// Topics in one ListOffsets probe.
const TOPICS_PER_PROBE: usize = 100;

/// A DescribeTopicPartitions response as it streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DescribeMemo {
    error: ErrorCode,
    id: Uuid,
    /// The highest index that it names.
    last: Option<i32>,
    /// Index from which more partitions follow.
    more: Option<i32>,
    skipped: bool,
}

/// A ListOffsets probe response as it streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OffsetsProbeMemo {
    topic: Link,
    generation: u16,
    last: Option<ErrorCode>,
    beyond: Option<ErrorCode>,
}

/// Returns the tag of a probe: the topic, its count as of now and how often it was recreated.
fn tag_of(slot: usize, topic: &Topic) -> Tag {
    [(slot as u32) << 16 | u32::from(topic.generation), topic.epoch << 24 ^ topic.count]
}

impl<'d> Cluster<'d> {
    fn probe_sent(&mut self, bytes: u32) {
        self.probes.requests += 1;
        self.probes.bytes_out += u64::from(bytes);
    }

    /// Returns the topic that is probed next, apart from this one.
    fn first_beside(&self, slot: usize) -> Link {
        let first = self.topics.first(Plan::Rest);
        if first == Link::to(slot) { self.topics.next(slot) } else { first }
    }

    /// Notes that a probe will get no response: the next one need not wait for it.
    pub(crate) fn probe_lost(&mut self) {
        // Others wait for longer than that anyway.
        let mut link = self.topics.first(Plan::Eager);
        while let Some(slot) = link.get().filter(|_| ADMIN) {
            self.topics[slot].probe.until = Tick::ZERO;
            link = self.topics.next(slot);
        }
    }

    pub(crate) fn on_describe(&mut self, memo: &mut DescribeMemo, got: Segment<'_, '_>) {
        let Some(item) = describe::item(got) else { return };
        match item {
            describe::Item::Topic { error, id, .. } => (memo.error, memo.id) = (error, id),
            describe::Item::Partition { index, .. } => memo.last = memo.last.max(Some(index)),
            describe::Item::Cursor(Some((_, index))) => memo.more = Some(index),
            describe::Item::Skipped => memo.skipped = true,
            _ => {}
        }
    }
}

impl<'d> Cx<'d> {
    /// Returns when a topic is probed next.
    fn probe_due(&self, topic: &Topic, requests: u32) -> Tick {
        if !topic.ready || topic.need.wanted || topic.need.serial != 0 {
            return Tick::NEVER;
        }
        let idle = self.settings.probe_idle;
        let due = match self.settings.probing {
            Probing::Never => return Tick::NEVER,
            Probing::WhenProducing => {
                if self.cluster.produced.is_none_or(|at| at + idle + idle <= self.now) {
                    return Tick::NEVER;
                }
                topic.probe.sent + idle
            }
            Probing::Always => topic.probe.sent.max(topic.described) + idle,
        };
        let requested = requests.wrapping_sub(topic.probe.requests);
        // Each topic has its part of the share.
        let share =
            self.cluster.topics.ready() * 100 / u32::from(self.settings.probe_share.clamp(1, 100));
        let busy = topic.probe.sent + self.settings.probe_busy;
        let due = if ADMIN && topic.probe.eager_until.or(Tick::ZERO) > self.now {
            topic.probe.sent + EAGER
        } else if requested > share {
            due.min(busy)
        } else {
            due
        };
        due.max(topic.probe.until)
    }

    /// Sends the probes that are due and returns when the next one is.
    pub(super) fn drive_probes(&mut self) -> Tick {
        let next = self.drive_eager();
        // In the order of their last probes: after one that is not due, none is.
        while let Some(slot) = self.cluster.topics.first(Plan::Rest).get() {
            let due = self.probe_due(&self.cluster.topics[slot], self.cluster.requests);
            if due > self.now {
                return next.min(due);
            }
            if !self.send_probe(slot) {
                // No broker is available: wait for a connection, and check from time to time.
                return next.min(self.now + self.settings.probe_busy);
            }
        }
        next
    }

    /// Does the same for the topics that the application has just grown.
    fn drive_eager(&mut self) -> Tick {
        let mut next = Tick::NEVER;
        if !ADMIN {
            return next;
        }
        let mut link = self.cluster.topics.first(Plan::Eager);
        let end = self.cluster.topics.last(Plan::Eager);
        while let Some(slot) = link.get() {
            let behind = self.cluster.topics.next(slot);
            if self.cluster.topics[slot].probe.eager_until.or(Tick::ZERO) <= self.now {
                self.cluster.topics[slot].probe.eager_until.set(Tick::ZERO);
                self.cluster.plan(slot);
            } else {
                let due = |cx: &Self| cx.probe_due(&cx.cluster.topics[slot], cx.cluster.requests);
                let sent = due(self) > self.now || self.send_probe(slot);
                next = next.min(if sent { due(self) } else { self.now + self.settings.probe_busy });
            }
            link = if link == end { Link::NONE } else { behind };
        }
        next
    }

    /// Sends a probe; the topic moves to the end of its list. `false` when there is no connection
    /// or no memory now.
    fn send_probe(&mut self, slot: usize) -> bool {
        let roomy = self.net.is_roomy();
        let aside = self.cluster.topics[slot].probe.aside || roomy;
        let Some(conn) = self.pick_probe(slot, aside) else { return false };
        // Stepping aside does not use up the turn, unless there are extra connections for it.
        let its_turn = !aside || roomy || self.pick_probe(slot, false) == Some(conn);
        let versions = &self.net.conns[conn].versions;
        let cursors = Kind::DESCRIBE.filter(|kind| versions.has(*kind));
        let offsets = versions.best(Kind::Versions, i16::MAX).unwrap_or(0) >= 2
            && !self.net.conns[conn].blind;
        // The first is the longest: it names the topic twice.
        let sent = cursors.is_some_and(|kind| self.send_describe(slot, conn, kind))
            || offsets && self.send_list_offsets(slot, conn);
        let refused = !sent && (cursors.is_some() || offsets);
        let topic = &self.cluster.topics[slot];
        // A probe that has found no memory for long may never fit; the others need not wait for it.
        let late = self.probe_due(topic, self.cluster.requests) + REFUSED <= self.now;
        if guard!("a probe without memory is tried again", refused && !topic.probe.refused && !late)
        {
            return false;
        }
        self.cluster.topics[slot].probe.refused = refused;
        if !sent {
            self.spend_metadata(slot);
        }
        self.note_probe(slot, its_turn.then_some(conn));
        let patience = PATIENCE.min(self.settings.probe_busy);
        let probe = &mut self.cluster.topics[slot].probe;
        probe.until = self.now + patience;
        probe.aside = !probe.aside;
        self.add_witness();
        true
    }

    /// Notes a probe of a topic, which is now the last in the order of probes.
    fn note_probe(&mut self, slot: usize, conn: Option<usize>) {
        let requests = self.cluster.requests;
        let topic = &mut self.cluster.topics[slot];
        (topic.probe.sent, topic.probe.requests) = (self.now, requests);
        if let Some(conn) = conn {
            topic.probe.conn = conn as u16;
        }
        let plan = topic.plan;
        self.cluster.topics.put(slot, plan);
    }

    /// Returns the next connection in turn for a topic; those to stale brokers come last. Each
    /// topic has its own turn, else two topics could divide two connections between them forever.
    /// With `aside` those with a batch in flight also come later: brokers respond in order, and the
    /// first batch to a new partition takes its time.
    fn pick_probe(&self, slot: usize, aside: bool) -> Option<usize> {
        self.net.in_turn(usize::from(self.cluster.topics[slot].probe.conn) + 1, &|conn| {
            let usable = conn.takes_requests(self.now);
            let stale = self.cluster.is_stale(conn.peer.node(), self.now);
            let busy = aside && conn.waits_for_batches();
            (usable && !conn.awaits(Kind::is_probe)).then_some([false, stale, busy])
        })
    }

    fn send_describe(&mut self, slot: usize, conn: usize, kind: Kind) -> bool {
        let topic = &self.cluster.topics[slot];
        let name = topic.name.as_str();
        let last = i32::try_from(topic.count.saturating_sub(1)).unwrap_or(i32::MAX - 1);
        let request = describe::Request { topics: &[name], limit: 1, cursor: Some((name, last)) };
        let draft =
            self.net.draft(conn, self.now, kind, &mut |w, version| request.encode(version, w));
        let Some(draft) = draft else { return false };
        let tag = tag_of(slot, topic);
        self.cluster.probe_sent(draft.len());
        self.net.send(self.now, draft, tag, self.settings.request_timeout);
        true
    }

    /// Probes a topic, and every other one whose probe is due within the busy interval, so that
    /// many topics cost one request.
    fn send_list_offsets(&mut self, slot: usize, conn: usize) -> bool {
        let horizon = self.now + self.settings.probe_busy;
        let (mut joining, mut link) = (0, self.cluster.first_beside(slot));
        while let Some(other) = link.get().filter(|_| joining + 1 < TOPICS_PER_PROBE) {
            let due = self.probe_due(&self.cluster.topics[other], self.cluster.requests);
            if due > horizon {
                break;
            }
            joining += 1;
            link = self.cluster.topics.next(other);
        }
        let draft = loop {
            match self.write_list_offsets(conn, slot, joining) {
                Some(draft) => break draft,
                // As many as there is memory for now; the others come next.
                None if guard!("a probe that does not fit is split", joining > 0) => joining /= 2,
                None => return false,
            }
        };
        for _ in 0..joining {
            if let Some(other) = self.cluster.first_beside(slot).get() {
                self.note_probe(other, Some(conn));
            }
        }
        self.cluster.probe_sent(draft.len());
        self.net.send(self.now, draft, [0; 2], self.settings.request_timeout);
        true
    }

    /// Writes a probe for a topic, and for the `joining` ones that come next.
    fn write_list_offsets(&mut self, conn: usize, slot: usize, joining: usize) -> Option<Draft> {
        self.net.draft(conn, self.now, Kind::Probe, &mut |w, version| {
            list_offsets::begin(w, version, 0, 1 + joining)?;
            let (mut slot, mut next) = (slot, self.cluster.first_beside(slot));
            for left in (0..=joining).rev() {
                let topic = &self.cluster.topics[slot];
                let n = i32::try_from(topic.count).unwrap_or(i32::MAX);
                list_offsets::topic(w, version, topic.name.as_str(), 2)?;
                list_offsets::partition(w, version, n.saturating_sub(1), -1, -1)?;
                list_offsets::partition(w, version, n, -1, -1)?;
                list_offsets::end_topic(w, version)?;
                if let Some(other) = next.get().filter(|_| left > 0) {
                    (slot, next) = (other, self.cluster.topics.next(other));
                }
            }
            list_offsets::end(w, version, 1000)
        })
    }

    /// Falls back to Metadata, as often as the budget of bytes allows, of which each topic has its
    /// share.
    fn spend_metadata(&mut self, slot: usize) {
        let topic = &self.cluster.topics[slot];
        let bytes = topic.count.saturating_mul(50).saturating_add(200);
        let bytes = bytes.saturating_mul(self.cluster.topics.ready());
        let budget = self.settings.metadata_budget.max(1);
        // In milliseconds, without 64-bit divisions; a pause of days need not be exact.
        let (seconds, rest) = (bytes / budget, bytes % budget);
        let rest = rest.saturating_mul(1000) / budget;
        let pause = Span::from_secs(seconds) + Span::from_millis(rest);
        let due = topic.described + pause.max(self.settings.probe_idle);
        if due <= self.now {
            self.refresh(slot);
        }
    }

    /// Notes that the application grew the topic itself: news is certain.
    pub(crate) fn expect_growth(&mut self, name: &str) {
        if let Some(slot) = self.cluster.named(name) {
            self.cluster.topics[slot].probe.eager_until.set(self.now + Span::from_secs(2));
            self.cluster.plan(slot);
        }
    }

    /// Handles the three possible outcomes: grown, current or stale.
    pub(crate) fn describe_done(&mut self, from: &Origin, memo: &DescribeMemo) {
        let Origin { conn, requested } = *from;
        let slot = (requested.tag[0] >> 16) as usize;
        let Some(topic) = self.cluster.topics.get_mut(slot) else { return };
        let right = tag_of(slot, topic);
        if right[0] != requested.tag[0] || memo.skipped {
            return;
        }
        topic.probe.until = Tick::ZERO;
        // It grew or was recreated meanwhile: the response does not concern the current state.
        if right != requested.tag {
            return;
        }
        let count = topic.count;
        let node = self.net.conns[conn].peer.node();
        let by = Source { broker: node, signal: Signal::DescribeTopicPartitions };
        match memo.error {
            ErrorCode(0) => {}
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
                return self.refresh(slot);
            }
            // Access to this topic is refused: Metadata shows that and notifies the application.
            ErrorCode::TOPIC_AUTHORIZATION_FAILED => return self.refresh(slot),
            // A proxy without cursors: other probes may still work.
            ErrorCode::INVALID_REQUEST | ErrorCode::UNSUPPORTED_VERSION => {
                return self.net.conns[conn].versions.forget(requested.kind);
            }
            _ => return,
        }
        if !topic.id.is_zero() && !memo.id.is_zero() && topic.id != memo.id {
            if memo.id == topic.old_id {
                // Or our own id is the stale one: only Metadata responses are evidence for that.
                self.stale(slot, node);
                return self.refresh(slot);
            }
            return self.refresh_now(slot, by);
        }
        let last = i64::from(count) - 1;
        let has_last = memo.last.is_some_and(|index| i64::from(index) == last);
        let grown = memo.more.is_some_and(|index| i64::from(index) >= i64::from(count));
        if guard!("a probe tests the broker", !has_last) {
            self.stale(slot, node);
            // Without an id, a topic that was recreated with fewer partitions looks the same.
            if self.cluster.topics[slot].id.is_zero() {
                self.spend_metadata(slot);
            }
        } else if grown {
            self.refresh_now(slot, by);
        } else {
            self.confirm(slot, by);
        }
    }

    pub(crate) fn on_list_offsets_probe(
        &mut self,
        conn: usize,
        memo: &mut OffsetsProbeMemo,
        got: Segment<'_, '_>,
    ) {
        let Some(item) = list_offsets::item(got) else { return };
        match item {
            list_offsets::Item::Topic { name } => {
                let slot = self.cluster.named(name).filter(|slot| self.cluster.topics[*slot].ready);
                *memo = OffsetsProbeMemo {
                    topic: slot.map_or(Link::NONE, Link::to),
                    generation: slot.map_or(0, |slot| self.cluster.topics[slot].generation),
                    ..OffsetsProbeMemo::default()
                };
            }
            list_offsets::Item::Partition { index, error, .. } => {
                let Some(slot) = self.cluster.still(memo.topic, memo.generation) else { return };
                let count = i64::from(self.cluster.topics[slot].count);
                if i64::from(index) == count - 1 {
                    memo.last = Some(error);
                } else if i64::from(index) == count {
                    memo.beyond = Some(error);
                }
            }
            list_offsets::Item::TopicEnd => {
                if let Some(slot) = self.cluster.still(memo.topic, memo.generation) {
                    self.cluster.topics[slot].probe.until = Tick::ZERO;
                    self.judge_offsets(conn, slot, memo);
                }
            }
            _ => {}
        }
    }

    fn judge_offsets(&mut self, conn: usize, slot: usize, memo: &OffsetsProbeMemo) {
        let (Some(last), Some(beyond)) = (memo.last, memo.beyond) else { return };
        let failed = ErrorCode::UNKNOWN_SERVER_ERROR;
        if last == failed || beyond == failed {
            return;
        }
        let by = Source { broker: self.net.conns[conn].peer.node(), signal: Signal::ListOffsets };
        let missing = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let refused = |code: ErrorCode| code.0 != 0 && !code.is_retriable();
        let denied = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
        if last == denied || beyond == denied {
            // Metadata shows that too, and notifies the application.
            self.refresh(slot);
        } else if refused(last) || refused(beyond) {
            // Not understood: this broker does not support such probes.
            self.net.conns[conn].blind = true;
        } else if guard!("a probe tests the broker", last == missing) {
            // The self-test failed: the broker is stale, the topic was recreated with fewer
            // partitions, or the broker reports only what it hosts. Metadata shows which, but in
            // the last case it repeats the same forever.
            self.spend_metadata(slot);
        } else if beyond != missing {
            self.refresh_now(slot, by);
        } else {
            self.confirm(slot, by);
        }
    }
}
