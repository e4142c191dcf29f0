//! OffsetFetch: where partitions begin. An error never leads to another start: it is tried again.

use super::assignment::{Offset, Step};
use super::contact::since;
use super::marker::Marker;
use super::{AGAIN, Group, Interest, Phase};
use crate::api::Kind;
use crate::cluster::{Cx, Topic};
use crate::config::{Settings, Start};
use crate::connection::{Draft, Origin};
use crate::consumer::Consumer;
use crate::error::{Error, GroupError};
use crate::memory::Link;
use crate::time::Tick;
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, Full, Uuid, Writer, offset_fetch};

/// Partitions in a request whose commits are read for their markers alone.
const PAGE: u32 = 500;
/// Partitions in a request at most; halved while there is no memory for so many.
const MOST: u16 = 4096;
/// After so many refusals of the member's epoch commits are requested as by no member, which
/// brokers allow: the partitions would never be read else.
const STALE: u8 = 3;
/// Milliseconds before first contact that the clocks of producers may be behind.
pub(super) const SLACK: i64 = 60_000;

/// Requests for commits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queries {
    /// One has no response yet.
    pub(super) in_flight: bool,
    pub(super) retry_at: Tick,
    pub(super) failures: u8,
    most: u16,
    /// The one in flight reads markers of this topic, up to this partition.
    scanning: Link,
    scans_to: u32,
    /// Partitions of other members that a growth waits for: topic and range; read when nothing else
    /// is. `looked`: the request in flight, or the last one, is about them.
    #[cfg(feature = "ordered-growth")]
    others: (Link, u32, u32),
    #[cfg(feature = "ordered-growth")]
    looked: bool,
}

impl Queries {
    pub(super) const NONE: Self = Self {
        in_flight: false,
        retry_at: Tick::ZERO,
        failures: 0,
        most: MOST,
        scanning: Link::NONE,
        scans_to: 0,
        #[cfg(feature = "ordered-growth")]
        others: (Link::NONE, 0, 0),
        #[cfg(feature = "ordered-growth")]
        looked: false,
    };

    /// Returns the topic and the partitions of other members that are to be looked at.
    #[cfg(feature = "ordered-growth")]
    fn others(&self) -> Option<(usize, core::ops::Range<u32>)> {
        let (topic, from, to) = self.others;
        topic.get().map(|slot| (slot, from..to))
    }

    #[cfg(not(feature = "ordered-growth"))]
    #[expect(clippy::unused_self, reason = "as of builds that order growth")]
    const fn others(&self) -> Option<(usize, core::ops::Range<u32>)> {
        None
    }
}

/// A response as it streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueryMemo {
    topic: Link,
    error: ErrorCode,
    refused: bool,
}

impl<'d> Group<'d> {
    /// Sends a request if one is due; returns when to try again.
    pub(super) fn send_queries(&mut self, cx: &mut Cx<'d>, conn: usize) -> Tick {
        if self.queries.in_flight || self.phase != Phase::Member {
            return Tick::NEVER;
        }
        let scan = (0..self.interests.len())
            .find(|slot| self.interests[*slot].active && self.interests[*slot].scans);
        let mut due = 0;
        self.each(cx, &mut |group, _, part| {
            let share = &group.shares[part];
            due += usize::from(share.step == Step::Query && !share.bare);
        });
        let others = self.queries.others().filter(|_| due == 0 && scan.is_none());
        if due == 0 && scan.is_none() && others.is_none() {
            return Tick::NEVER;
        }
        if self.queries.retry_at > cx.now {
            return self.queries.retry_at;
        }
        let scan = if due == 0 { scan } else { None };
        let Some(mut draft) = self.open_offsets(cx, conn, Kind::Committed) else {
            return cx.now + AGAIN;
        };
        let written = match (scan, &others) {
            #[cfg(feature = "pattern")]
            (Some(_), _) if self.scans_all() => self.write_scan_of_all(cx, &mut draft),
            (Some(slot), _) => self.write_page(cx, &mut draft, slot),
            (None, Some((slot, range))) => self.write_scan(cx, &mut draft, *slot, range.clone()),
            (None, None) => self.write_queries(cx, &mut draft),
        };
        if let Err(Full) = written {
            cx.net.abandon(draft);
            self.unfetch(cx);
            self.queries.most = (self.queries.most / 2).max(1);
            return cx.now + AGAIN;
        }
        (self.queries.in_flight, self.queries.most) = (true, MOST);
        self.queries.scanning = scan.map_or(Link::NONE, Link::to);
        #[cfg(feature = "ordered-growth")]
        {
            self.queries.looked = others.is_some();
        }
        let timeout = cx.settings.request_timeout;
        cx.net.send(cx.now, draft, [self.serial, self.epoch as u32], timeout);
        Tick::NEVER
    }

    /// Writes the beginning of a request: as a member, unless its epoch is refused all the time.
    fn write_head(
        &self,
        cx: &mut Cx<'d>,
        draft: &mut Draft,
        topics: Option<usize>,
        stale: bool,
    ) -> Result<(), Full> {
        #[cfg(feature = "classic")]
        let stale = stale || self.is_classic();
        let member = (!stale).then(|| (self.member_id(), self.epoch));
        let (net, group) = (&mut cx.net, &cx.settings.group);
        net.write(draft, &mut |w, version| offset_fetch::begin(w, version, group, member, topics))
    }

    /// Writes the next partitions of a topic that is scanned.
    fn write_page(&mut self, cx: &mut Cx<'d>, draft: &mut Draft, slot: usize) -> Result<(), Full> {
        let from = self.interests[slot].scanned;
        let page = PAGE.min(u32::from(self.queries.most));
        let to = cx.cluster.topics[slot].count.min(from.saturating_add(page));
        self.queries.scans_to = to;
        self.write_scan(cx, draft, slot, from..to)
    }

    fn write_scan(
        &self,
        cx: &mut Cx<'d>,
        draft: &mut Draft,
        slot: usize,
        range: core::ops::Range<u32>,
    ) -> Result<(), Full> {
        self.write_head(cx, draft, Some(1), false)?;
        let (net, topic) = (&mut cx.net, &cx.cluster.topics[slot]);
        net.write(draft, &mut |w, version| {
            offset_fetch::topic(w, version, &topic.name, topic.id, range.len())?;
            for index in range.clone() {
                w.i32(index as i32)?;
            }
            offset_fetch::end_topic(w, version)?;
            offset_fetch::end(w, version, true)
        })
    }

    /// Whether it was all commits that were looked through.
    #[cfg(feature = "pattern")]
    fn has_scanned_all(&mut self) -> bool {
        if self.queries.scans_to != u32::MAX {
            return false;
        }
        for slot in 0..self.interests.len() {
            if self.interests[slot].scans && self.interests[slot].scanned == u32::MAX {
                self.contacted(slot);
            }
        }
        true
    }

    /// Requests all commits of the group, for their markers: under a pattern any topic may have
    /// them.
    #[cfg(feature = "pattern")]
    fn write_scan_of_all(&mut self, cx: &mut Cx<'d>, draft: &mut Draft) -> Result<(), Full> {
        for interest in self.interests.iter_mut().filter(|interest| interest.scans) {
            interest.scanned = u32::MAX;
        }
        self.queries.scans_to = u32::MAX;
        self.write_head(cx, draft, None, false)?;
        cx.net.write(draft, &mut |w, version| offset_fetch::end(w, version, false))
    }

    fn write_queries(&mut self, cx: &mut Cx<'d>, draft: &mut Draft) -> Result<(), Full> {
        let (mut left, mut stale) = (self.queries.most, false);
        self.each(cx, &mut |group, _, part| {
            let share = &mut group.shares[part];
            if share.step == Step::Query && !share.bare && left > 0 {
                (share.step, left) = (Step::Fetching, left - 1);
                stale |= share.stale >= STALE;
            }
        });
        let fetching = |share: &super::Share| share.step == Step::Fetching;
        let topics = self.count_topics(cx, &fetching);
        self.write_head(cx, draft, Some(topics), stale)?;
        let begin = |w: &mut Writer<'_>, version, topic: &Topic, count| {
            offset_fetch::topic(w, version, &topic.name, topic.id, count)
        };
        self.write_lists(cx, draft, &fetching, &begin, &offset_fetch::end_topic)?;
        cx.net.write(draft, &mut |w, version| offset_fetch::end(w, version, true))
    }

    /// Notes which partitions of other members are to be looked at; returns when the next ones are.
    #[cfg(feature = "ordered-growth")]
    pub(super) fn look_at_others(&mut self, cx: &Cx<'d>, consumer: &mut Consumer<'d>) -> Tick {
        let (due, next) = consumer.due_commits(cx);
        self.queries.looked = false;
        self.queries.others = (Link::NONE, 0, 0);
        let is_due = due.is_some();
        if let Some((slot, range)) = due {
            let most = range.start.saturating_add(u32::from(self.queries.most));
            self.queries.others = (Link::to(slot), range.start, range.end.min(most));
        }
        // What is due is sent in this pass, or once what is in its way is over: a response, a
        // round, a pause. Each of them has the group driven again.
        match next {
            _ if is_due || self.queries.in_flight => Tick::NEVER,
            next if next <= cx.now => cx.now + AGAIN,
            next => next,
        }
    }

    /// Notes whether they were requested.
    #[cfg(feature = "ordered-growth")]
    pub(super) fn looked_at_others(&mut self, now: Tick, consumer: &mut Consumer<'d>) {
        if core::mem::take(&mut self.queries.looked)
            && let Some((slot, range)) = self.queries.others()
        {
            consumer.commits_requested(now, slot, range.end);
        }
    }

    /// Has what was being fetched fetched again.
    pub(super) fn unfetch(&mut self, cx: &mut Cx<'d>) {
        self.each(cx, &mut |group, _, part| {
            let share = &mut group.shares[part];
            if share.step == Step::Fetching {
                share.step = Step::Query;
            }
        });
    }

    pub(super) fn on_committed(
        &mut self,
        cx: &mut Cx<'d>,
        consumer: &mut Consumer<'d>,
        from: &Origin,
        memo: &mut QueryMemo,
        got: Segment<'_, '_>,
    ) {
        if from.requested.tag[0] != self.serial {
            return;
        }
        match offset_fetch::item(got) {
            Some(offset_fetch::Item::Topic { name, id }) => {
                let slot = cx.cluster.named_or_id(name, id);
                memo.topic = slot.map_or(Link::NONE, Link::to);
            }
            Some(offset_fetch::Item::Partition {
                index,
                offset,
                leader_epoch,
                metadata,
                error,
            }) => {
                let marker = metadata.and_then(Marker::read).filter(|_| offset >= 0);
                #[cfg(feature = "pattern")]
                self.note_meeting(cx, marker.as_ref());
                let Some(slot) = memo.topic.get().filter(|slot| self.interests[*slot].active)
                else {
                    return;
                };
                let part = cx.cluster.part_of(memo.topic, index);
                let part = part.filter(|part| self.shares[*part].step == Step::Fetching);
                if error.0 != 0 {
                    (memo.error, memo.refused) = (error, true);
                    if let Some(part) = part {
                        self.not_fetched(cx, part, error);
                    }
                    return;
                }
                let recreated = marker.is_some_and(|marker| self.is_of_another(cx, slot, &marker));
                if let Some(marker) = marker.filter(|_| !recreated) {
                    self.note_marker(slot, &marker);
                }
                #[cfg(feature = "ordered-growth")]
                if !recreated {
                    consumer.note_committed(&cx.cluster, memo.topic, (index, offset));
                }
                let Some(part) = part else { return };
                let text = metadata.unwrap_or_default();
                self.shares[part].texted = marker.is_none() && !text.is_empty();
                match recreated {
                    true => self.place(cx, consumer, part, Start::Earliest, -1),
                    false => self.begin_at(cx, consumer, (slot, part), (offset, leader_epoch)),
                }
                (self.work, self.dirty) = (true, true);
            }
            Some(offset_fetch::Item::End { error }) if error.0 != 0 => {
                (memo.error, memo.refused) = (error, true);
            }
            _ => {}
        }
    }

    /// Has a partition begin where it is committed; where it is not, others of its topic tell.
    fn begin_at(
        &mut self,
        cx: &mut Cx<'d>,
        consumer: &mut Consumer<'d>,
        (slot, part): (usize, usize),
        (offset, leader_epoch): (i64, i32),
    ) {
        let share = &mut self.shares[part];
        if offset < 0 {
            (share.step, share.bare) = (Step::Query, true);
            self.scan(cx, slot);
        } else if share.seed && !share.target {
            // Another member reads it already: its commits may be others when it comes.
            self.drop(cx, consumer, part);
        } else {
            share.committed = Offset::of(offset);
            self.place(cx, consumer, part, Start::Offset(offset), leader_epoch);
        }
    }

    /// Whether a marker is of an earlier topic of the name.
    fn is_of_another(&self, cx: &Cx<'d>, slot: usize, marker: &Marker) -> bool {
        let id = cx.cluster.topics[slot].id;
        id != marker.id && !id.is_zero() && marker.id != Uuid::ZERO
    }

    fn note_marker(&mut self, slot: usize, marker: &Marker) {
        let interest = &mut self.interests[slot];
        let first = !interest.marked;
        (interest.marked, interest.fresh) = (true, false);
        interest.count = if first { marker.count } else { interest.count.min(marker.count) };
        interest.begun = if first { marker.begun } else { interest.begun.min(marker.begun) };
    }

    /// Has the commits of a topic's other partitions read: one of them may have a marker.
    fn scan(&mut self, cx: &Cx<'d>, slot: usize) {
        let interest = &mut self.interests[slot];
        // Those of the first start do not need it: all of the log is read.
        let needless = matches!(self.start, Start::Earliest);
        // Which partitions were added is to be known all the same.
        #[cfg(feature = "ordered-growth")]
        let needless = needless && !cx.settings.orders_growth();
        let needless = needless || !cx.settings.exact_start();
        if interest.known || interest.scans {
            return;
        }
        match needless {
            true => self.contacted(slot),
            false => (interest.scans, interest.scanned) = (true, 0),
        }
    }

    /// Returns where a partition without a commit begins.
    pub(super) fn start_of(&self, cx: &Cx<'d>, part: usize) -> Start {
        let entry = &cx.cluster.table[part];
        let interest = &self.interests[usize::from(entry.topic)];
        if !cx.settings.exact_start() {
            return self.start;
        }
        if entry.index >= interest.count || self.shares[part].seed {
            return Start::Earliest;
        }
        match self.start {
            // First contact was before: what has been written since is to be read.
            Start::Latest if !interest.fresh => since(interest.begun),
            start => start,
        }
    }

    /// Returns the marker for commits of a topic's partitions.
    pub(super) fn marker(&self, settings: &Settings<'_>, id: Uuid, slot: usize) -> Marker {
        let Interest { count, begun, marked, .. } = self.interests[slot];
        let begun = if marked { begun } else { self.begun };
        #[cfg(feature = "pattern")]
        let met = self.meeting(settings);
        #[cfg(not(feature = "pattern"))]
        let _ = settings;
        Marker {
            count,
            begun,
            id,
            #[cfg(feature = "pattern")]
            met,
        }
    }

    /// Returns what commits of a partition begin with.
    #[cfg(feature = "transactions")]
    pub(crate) fn commit_mark(&self, cx: &Cx<'d>, part: usize) -> Option<super::CommitMark> {
        let slot = usize::from(cx.cluster.table[part].topic);
        let id = cx.cluster.topics[slot].id;
        cx.settings.exact_start().then(|| self.marker(&cx.settings, id, slot).text())
    }

    /// Handles a commit that could not be fetched.
    fn not_fetched(&mut self, cx: &mut Cx<'d>, part: usize, code: ErrorCode) {
        let share = &mut self.shares[part];
        share.step = Step::Query;
        if code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION || code == ErrorCode::UNKNOWN_TOPIC_ID {
            let slot = usize::from(cx.cluster.table[part].topic);
            cx.refresh(slot);
        }
    }

    pub(super) fn committed_done(&mut self, cx: &mut Cx<'d>, serial: u32, memo: &QueryMemo) {
        if serial != self.serial {
            return;
        }
        self.queries.in_flight = false;
        self.dirty = true;
        let scanned = self.queries.scanning.get();
        self.queries.scanning = Link::NONE;
        if memo.refused {
            return self.not_committed(cx, memo.error);
        }
        // What was left out is requested again.
        let mut left_out = false;
        self.each(cx, &mut |group, _, part| left_out |= group.shares[part].step == Step::Fetching);
        if left_out {
            return self.not_committed(cx, ErrorCode::UNKNOWN_SERVER_ERROR);
        }
        self.queries.failures = 0;
        #[cfg(feature = "pattern")]
        if scanned.is_some() && self.has_scanned_all() {
            return;
        }
        if let Some(slot) = scanned.filter(|slot| self.interests[*slot].scans) {
            self.interests[slot].scanned = self.queries.scans_to;
            if self.queries.scans_to >= cx.cluster.topics[slot].count {
                self.contacted(slot);
            }
        }
    }

    /// Handles an error in place of commits: they are requested again.
    fn not_committed(&mut self, cx: &mut Cx<'d>, code: ErrorCode) {
        if code == ErrorCode::STALE_MEMBER_EPOCH {
            self.each(cx, &mut |group, _, part| {
                let share = &mut group.shares[part];
                share.stale += u8::from(share.step == Step::Fetching && share.stale < STALE);
            });
        }
        self.unfetch(cx);
        if !self.judge(cx, code) && code == ErrorCode::GROUP_AUTHORIZATION_FAILED {
            self.news.fatal = Some(GroupError::Refused(code));
        }
        self.query_later(cx, Error::Broker(code));
    }

    pub(super) fn query_later(&mut self, cx: &mut Cx<'d>, error: Error) {
        self.queries.retry_at = cx.retry_at(&mut self.queries.failures);
        self.dirty = true;
        self.note_trouble(cx.now, error);
    }
}
