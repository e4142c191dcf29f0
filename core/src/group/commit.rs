//! OffsetCommit: one request at a time, so that no older offset can overtake a newer one. What is
//! to be committed meanwhile is merged into the next. Commits come in sets: all that is wanted when
//! a set begins belongs to it, in as many requests as that takes, and its end is one event.

use super::assignment::{Offset, Share, Step};
use super::{AGAIN, Group, Phase};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::connection::{Draft, Origin};
use crate::consumer::Consumer;
use crate::error::{Error, GroupError};
#[cfg(feature = "given-offsets")]
use crate::error::{LimitKind, Misuse};
use crate::id::CommitId;
#[cfg(feature = "given-offsets")]
use crate::memory::Chain;
use crate::memory::{Blocks, Link};
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, Full, offset_commit};

/// Bytes of a partition in a request besides the text of the application: index, offset, epoch,
/// length and marker.
const BYTES: usize = 20 + super::marker::LONGEST;
/// Partitions in a request at most: brokers write them as one batch (`message.max.bytes`).
const MOST: usize = 4096;
/// Commits of partitions that do not move are renewed this often: a group without members keeps
/// none that is older than a week (`offsets.retention.minutes`).
const DAY: Span = Span::from_secs(24 * 3600);
/// Pace of commits while other members may wait for them to read what was added.
#[cfg(feature = "ordered-growth")]
const HURRY: Span = Span::from_millis(200);
/// Longest text of the application for a commit, in bytes; brokers refuse more than 4096.
#[cfg(feature = "given-offsets")]
pub(crate) const TEXT: usize = 1024;

/// Sets of commits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commits {
    /// Sets that were begun.
    begun: u32,
    /// One is under way.
    open: bool,
    /// Its end is an event.
    reports: bool,
    /// Another one is to begin, and whether that is reported.
    due: bool,
    requested: bool,
    /// Partitions of the set without a result, and partitions with something to commit.
    left: u32,
    wanted: u32,
    in_flight: bool,
    retry_at: Tick,
    until: Tick,
    failures: u8,
    room: u16,
    result: Option<GroupError>,
    news: Option<(CommitId, Result<(), GroupError>)>,
    /// When the next commit by itself is due, and the next renewal.
    pub(super) auto_at: Tick,
    pub(super) daily_at: Tick,
}

impl Commits {
    pub(super) const NONE: Self = Self {
        begun: 0,
        open: false,
        reports: false,
        due: false,
        requested: false,
        left: 0,
        wanted: 0,
        in_flight: false,
        retry_at: Tick::ZERO,
        until: Tick::NEVER,
        failures: 0,
        room: MOST as u16,
        result: None,
        news: None,
        auto_at: Tick::ZERO,
        daily_at: Tick::ZERO,
    };

    pub(super) fn age(&mut self, by: Span) {
        self.retry_at.age(by);
        self.until.age(by);
        self.auto_at.age(by);
        self.daily_at.age(by);
    }

    pub(super) const fn next_id(&self) -> CommitId {
        CommitId(self.begun.wrapping_add(1))
    }

    pub(super) const fn are_open(&self) -> bool {
        self.open || self.due || self.in_flight || self.wanted > 0
    }

    #[cfg(feature = "classic")]
    pub(super) const fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    #[cfg(feature = "classic")]
    pub(super) const fn has_wanted(&self) -> bool {
        self.wanted > 0
    }

    pub(super) const fn has_news(&self) -> bool {
        self.news.is_some()
    }

    pub(super) const fn take_news(&mut self) -> Option<(CommitId, Result<(), GroupError>)> {
        self.news.take()
    }

    /// Ends what is under way: there is no member any more that could commit it.
    pub(super) fn fail(&mut self, error: GroupError) {
        if self.requested && !self.open {
            self.begun = self.begun.wrapping_add(1);
            self.reports = true;
        }
        if (self.open || self.requested) && self.reports {
            self.news = Some((CommitId(self.begun), Err(error)));
        }
        (self.open, self.due, self.requested, self.reports) = (false, false, false, false);
        (self.left, self.in_flight, self.result) = (0, false, None);
    }
}

impl<'d> Group<'d> {
    /// Notes an offset to be committed, in place of an older one.
    pub(super) fn want(&mut self, part: usize, offset: i64, epoch: i32) {
        let share = &mut self.shares[part];
        self.commits.wanted += u32::from(share.wanted.is_none());
        (share.wanted, share.wanted_epoch) = (Offset::of(offset), epoch);
        self.commits.due = true;
    }

    /// Forgets what was to be committed of a partition.
    pub(super) fn unwant(&mut self, blocks: &mut Blocks<'d>, part: usize) {
        let share = &mut self.shares[part];
        self.commits.wanted -= u32::from(!share.wanted.is_none());
        if core::mem::take(&mut share.joined) {
            self.commits.left = self.commits.left.saturating_sub(1);
            self.commits.result.get_or_insert(GroupError::NoMember);
        }
        (share.wanted, share.sent) = (Offset::NONE, Offset::NONE);
        #[cfg(feature = "given-offsets")]
        blocks.release(&mut share.text);
        #[cfg(not(feature = "given-offsets"))]
        let _ = blocks;
    }

    pub(super) fn has_commits(&self, part: usize) -> bool {
        let share = &self.shares[part];
        !share.wanted.is_none() || !share.sent.is_none()
    }

    /// Has what was read of a partition committed, if that is more than is.
    pub(super) fn commit_one(
        &mut self,
        cx: &Cx<'d>,
        consumer: &Consumer<'d>,
        part: usize,
        again: bool,
    ) {
        let share = &self.shares[part];
        if !share.is_read() {
            return;
        }
        let read = match cx.settings.marks_taken() {
            true => share.taken.get().map(|offset| (offset, share.taken_epoch)),
            false => consumer.position(part).map(|at| (at, consumer.last_epoch(part))),
        };
        let Some((offset, epoch)) = read else { return };
        let last = if share.sent.is_none() { share.committed } else { share.sent };
        if again || last != Offset::of(offset) || !share.wanted.is_none() {
            self.want(part, offset, epoch);
        }
    }

    /// Has what was read of all partitions committed.
    pub(super) fn commit_all(&mut self, cx: &mut Cx<'d>, consumer: &Consumer<'d>, again: bool) {
        self.each(cx, &mut |group, cx, part| group.commit_one(cx, consumer, part, again));
    }

    /// Has what was committed last committed again, of partitions that do not move.
    pub(super) fn renew_commits(&mut self, cx: &mut Cx<'d>) {
        self.each(cx, &mut |group, _, part| {
            let share = group.shares[part];
            let idle = share.is_read() && !group.has_commits(part) && !share.texted;
            if let Some(offset) = share.committed.get().filter(|_| idle) {
                group.want(part, offset, share.sent_epoch);
            }
        });
    }

    /// The application has what was read of all partitions committed.
    pub(crate) fn commit(
        &mut self,
        cx: &mut Cx<'d>,
        consumer: &Consumer<'d>,
    ) -> Result<CommitId, GroupError> {
        if self.phase != Phase::Member {
            return Err(GroupError::NoMember);
        }
        self.commit_all(cx, consumer, false);
        Ok(self.request())
    }

    fn request(&mut self) -> CommitId {
        (self.commits.due, self.commits.requested, self.dirty) = (true, true, true);
        self.commits.next_id()
    }

    /// The application commits an offset of a partition.
    #[cfg(feature = "given-offsets")]
    pub(crate) fn commit_offset(
        &mut self,
        cx: &mut Cx<'d>,
        part: usize,
        (offset, epoch): (i64, i32),
        text: &str,
    ) -> Result<CommitId, GroupError> {
        if !self.shares[part].is_read() {
            return Err(GroupError::NoMember);
        }
        if offset < 0 {
            return Err(GroupError::Caller(Misuse::Negative));
        }
        if text.len() > TEXT {
            return Err(GroupError::Limit { what: LimitKind::Text, needed: text.len() });
        }
        let mut chain = Chain::EMPTY;
        if cx.net.blocks.append(&mut chain, text.as_bytes()).is_err() {
            cx.net.blocks.release(&mut chain);
            return Err(GroupError::Full);
        }
        cx.net.blocks.release(&mut self.shares[part].text);
        (self.shares[part].text, self.shares[part].texted) = (chain, false);
        self.want(part, offset, epoch);
        Ok(self.request())
    }

    /// The application has read a partition up to an offset.
    #[cfg(feature = "given-offsets")]
    pub(crate) fn mark_taken(&mut self, part: usize, offset: i64, epoch: i32) {
        let share = &mut self.shares[part];
        if share.is_read() && offset >= 0 {
            (share.taken, share.taken_epoch) = (Offset::of(offset), epoch);
        }
    }

    /// Returns the offset of a partition that was committed last, as far as is known.
    pub(crate) fn committed(&self, part: usize) -> Option<i64> {
        self.shares[part].committed.get()
    }

    /// Begins sets of commits that are due; returns when the next one is.
    pub(super) fn keep_time(&mut self, cx: &mut Cx<'d>, consumer: &Consumer<'d>) -> Tick {
        let now = cx.now;
        let mut next = Tick::NEVER;
        if self.phase == Phase::Member {
            let every = cx.settings.auto_commit;
            if every != Span::ZERO {
                if self.commits.auto_at == Tick::ZERO {
                    self.commits.auto_at = now + every;
                } else if self.commits.auto_at <= now {
                    self.commits.auto_at = now + every;
                    self.commit_all(cx, consumer, false);
                }
                #[cfg(feature = "ordered-growth")]
                if consumer.hurries_commits(now) {
                    self.commits.auto_at = self.commits.auto_at.min(now + HURRY);
                }
                next = self.commits.auto_at;
            }
            if self.commits.daily_at == Tick::ZERO {
                self.commits.daily_at = now + DAY;
            } else if self.commits.daily_at <= now {
                self.commits.daily_at = now + DAY;
                self.renew_commits(cx);
            }
            next = next.min(self.commits.daily_at);
        }
        if self.commits.open && self.commits.until <= now && !self.commits.in_flight {
            self.expire(cx);
        }
        if !self.commits.in_flight {
            self.end_set();
        }
        if self.commits.due && !self.commits.open && self.commits.news.is_none() {
            self.begin_set(cx);
        }
        let waits = self.commits.open && !self.commits.in_flight;
        next.min(if waits { self.commits.until } else { Tick::NEVER })
    }

    fn begin_set(&mut self, cx: &mut Cx<'d>) {
        let commits = &mut self.commits;
        (commits.due, commits.open, commits.result) = (false, true, None);
        commits.reports = core::mem::take(&mut commits.requested);
        commits.begun = commits.begun.wrapping_add(1);
        commits.left = 0;
        commits.until = cx.now + cx.settings.request_timeout.times(2);
        self.each(cx, &mut |group, _, part| {
            let share = &mut group.shares[part];
            share.joined = !share.wanted.is_none();
            group.commits.left += u32::from(share.joined);
        });
        self.end_set();
    }

    /// Ends a set of which nothing is left.
    fn end_set(&mut self) {
        let commits = &mut self.commits;
        if !commits.open || commits.left > 0 {
            return;
        }
        commits.open = false;
        let result = commits.result.take();
        // Failures are reported always.
        if commits.reports || result.is_some_and(|error| error != GroupError::NoMember) {
            commits.news = Some((CommitId(commits.begun), result.map_or(Ok(()), Err)));
        }
        self.dirty = true;
    }

    /// Gives up what could not be committed for long.
    fn expire(&mut self, cx: &mut Cx<'d>) {
        self.each(cx, &mut |group, _, part| {
            let share = &mut group.shares[part];
            if core::mem::take(&mut share.joined) {
                group.commits.wanted -= u32::from(!share.wanted.is_none());
                share.wanted = Offset::NONE;
            }
        });
        self.commits.left = 0;
        self.commits.result.get_or_insert(GroupError::TimedOut);
        self.work = true;
        self.end_set();
    }

    /// Sends a commit if there is something to commit; returns when to try again.
    pub(super) fn send_commits(&mut self, cx: &mut Cx<'d>, conn: usize) -> Tick {
        let commits = &self.commits;
        if commits.in_flight || commits.wanted == 0 || self.epoch <= 0 {
            return Tick::NEVER;
        }
        if !commits.open {
            return Tick::NEVER;
        }
        if commits.retry_at > cx.now {
            return commits.retry_at;
        }
        let Some(mut draft) = self.open_offsets(cx, conn, Kind::Commit) else {
            return cx.now + AGAIN;
        };
        self.choose(cx);
        if let Err(Full) = self.write_commits(cx, &mut draft) {
            cx.net.abandon(draft);
            self.unsend(cx);
            self.commits.room = (self.commits.room / 2).max(1);
            return cx.now + AGAIN;
        }
        (self.commits.in_flight, self.commits.room) = (true, MOST as u16);
        let timeout = cx.settings.request_timeout;
        cx.net.send(cx.now, draft, [self.serial, self.epoch as u32], timeout);
        Tick::NEVER
    }

    /// Chooses what the next request commits: as much as there is memory for.
    fn choose(&mut self, cx: &mut Cx<'d>) {
        let bytes = cx.net.blocks.free() / 2 * cx.net.blocks.block_size();
        let mut left = (bytes / BYTES).min(usize::from(self.commits.room)).max(1);
        self.each(cx, &mut |group, _, part| {
            let share = &mut group.shares[part];
            if !share.wanted.is_none() && left > 0 {
                left -= 1;
                group.commits.wanted -= 1;
                share.sent = core::mem::take(&mut share.wanted);
                share.sent_epoch = share.wanted_epoch;
            }
        });
    }

    /// Has what was sent committed again, unless there is something newer.
    fn unsend(&mut self, cx: &mut Cx<'d>) {
        self.each(cx, &mut |group, _, part| group.retry(part));
    }

    fn retry(&mut self, part: usize) {
        let share = &mut self.shares[part];
        let sent = core::mem::take(&mut share.sent);
        if !sent.is_none() && guard!("no commit goes back", share.wanted.is_none()) {
            (share.wanted, share.wanted_epoch) = (sent, share.sent_epoch);
            self.commits.wanted += 1;
        }
    }

    fn write_commits(&self, cx: &mut Cx<'d>, draft: &mut Draft) -> Result<(), Full> {
        let sent = |share: &Share| !share.sent.is_none();
        let topics = self.count_topics(cx, &sent);
        let head = offset_commit::Head {
            group: &cx.settings.group,
            epoch: self.epoch,
            member: self.member_id(),
            instance: cx.settings.instance(),
        };
        cx.net.write(draft, &mut |w, version| offset_commit::begin(w, version, &head, topics))?;
        for slot in 0..self.interests.len() {
            let count = self.count(cx, slot, &sent);
            if count == 0 {
                continue;
            }
            let (net, topic) = (&mut cx.net, &cx.cluster.topics[slot]);
            let marker = self.marker(&cx.settings, topic.id, slot).text();
            let exact = cx.settings.exact_start();
            let marker = if exact { marker.bytes() } else { &[] };
            net.write(draft, &mut |w, version| {
                offset_commit::topic(w, version, &topic.name, topic.id, count)
            })?;
            let mut link = cx.cluster.table.first_of(slot);
            while let Some(part) = link.get() {
                link = cx.cluster.table.next_of(part);
                let index = cx.cluster.table[part].index as i32;
                let share = &self.shares[part];
                let Some(offset) = share.sent.get() else { continue };
                #[cfg(feature = "given-offsets")]
                let text = share.text.len();
                #[cfg(not(feature = "given-offsets"))]
                let text = 0;
                let len = (marker.len() + text) as u16;
                net.write(draft, &mut |w, version| {
                    offset_commit::partition(w, version, index, offset, share.sent_epoch)?;
                    w.text_len(version >= offset_commit::FLEXIBLE, Some(len))?;
                    w.raw(marker)
                })?;
                #[cfg(feature = "given-offsets")]
                copy_text(net, draft, &share.text)?;
                net.write(draft, &mut |w, version| offset_commit::end(w, version))?;
            }
            net.write(draft, &mut |w, version| offset_commit::end(w, version))?;
        }
        cx.net.write(draft, &mut |w, version| offset_commit::end(w, version))
    }

    pub(super) fn on_commit(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        memo: &mut CommitMemo,
        got: Segment<'_, '_>,
    ) {
        if from.requested.tag[0] != self.serial {
            return;
        }
        match offset_commit::item(got) {
            Some(offset_commit::Item::Topic { name, id }) => {
                let slot = cx.cluster.named_or_id(name, id);
                let slot = slot.filter(|slot| self.interests[*slot].active);
                memo.topic = slot.map_or(Link::NONE, Link::to);
            }
            Some(offset_commit::Item::Partition { index, error }) => {
                let part = cx.cluster.part_of(memo.topic, index);
                let part = part.filter(|part| !self.shares[*part].sent.is_none());
                if let Some(part) = part {
                    self.on_result(cx, memo, part, error);
                }
            }
            _ => {}
        }
    }

    fn on_result(&mut self, cx: &mut Cx<'d>, memo: &mut CommitMemo, part: usize, code: ErrorCode) {
        let slot = usize::from(cx.cluster.table[part].topic);
        let share = &mut self.shares[part];
        if code.0 == 0 {
            share.committed = core::mem::take(&mut share.sent);
            self.interests[slot].fresh = false;
            return self.settled(part);
        }
        memo.error = code;
        let again = matches!(
            code,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                | ErrorCode::UNKNOWN_TOPIC_ID
                | ErrorCode::REQUEST_TIMED_OUT
                | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
                | ErrorCode::COORDINATOR_NOT_AVAILABLE
                | ErrorCode::NOT_COORDINATOR
                | ErrorCode::STALE_MEMBER_EPOCH
                | ErrorCode::REBALANCE_IN_PROGRESS
                | ErrorCode::NOT_ENOUGH_REPLICAS
                | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
                | ErrorCode::UNKNOWN_MEMBER_ID
                | ErrorCode::FENCED_MEMBER_EPOCH
        );
        #[cfg(feature = "classic")]
        let again = self.may_commit_again(code, again);
        #[cfg(feature = "pattern")]
        if self.is_gone(cx, part, code) {
            self.shares[part].sent = Offset::NONE;
            return self.settled(part);
        }
        let share = &mut self.shares[part];
        if again {
            memo.again = true;
            return self.retry(part);
        }
        share.sent = Offset::NONE;
        self.commits.result.get_or_insert(GroupError::Commit {
            code,
            partition: Consumer::topic_partition(&cx.cluster, part),
        });
        self.settled(part);
    }

    /// Handles a partition whose commit has a result.
    fn settled(&mut self, part: usize) {
        let share = &mut self.shares[part];
        // No request is in flight when a set begins: the result is that of the set, or newer.
        if core::mem::take(&mut share.joined) {
            self.commits.left = self.commits.left.saturating_sub(1);
        }
        self.work |= !matches!(share.step, Step::Own);
    }

    pub(super) fn commit_done(&mut self, cx: &mut Cx<'d>, serial: u32, memo: &CommitMemo) {
        if serial != self.serial {
            return;
        }
        self.commits.in_flight = false;
        self.dirty = true;
        let mut left_out = false;
        self.each(cx, &mut |group, _, part| left_out |= !group.shares[part].sent.is_none());
        self.unsend(cx);
        match memo.again || left_out {
            true => {
                self.judge(cx, memo.error);
                self.commit_later(cx, Error::Broker(memo.error));
            }
            false => (self.commits.failures, self.commits.retry_at) = (0, Tick::ZERO),
        }
        self.end_set();
    }

    /// Handles a commit without a response.
    pub(super) fn commit_lost(&mut self, cx: &mut Cx<'d>, serial: u32, error: Error) {
        if serial != self.serial {
            return;
        }
        self.commits.in_flight = false;
        self.unsend(cx);
        self.commit_later(cx, error);
    }

    fn commit_later(&mut self, cx: &mut Cx<'d>, error: Error) {
        self.commits.retry_at = cx.retry_at(&mut self.commits.failures);
        self.dirty = true;
        self.note_trouble(cx.now, error);
    }
}

/// A response as it streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CommitMemo {
    topic: Link,
    error: ErrorCode,
    again: bool,
}

/// Copies a text to a request, piece by piece: both lie in blocks.
#[cfg(feature = "given-offsets")]
fn copy_text(
    net: &mut crate::connection::Net<'_>,
    draft: &mut Draft,
    text: &Chain,
) -> Result<(), Full> {
    let mut at = 0;
    while at < text.len() {
        let mut piece = [0; 64];
        let mut len = 0;
        for slice in net.blocks.slices(text, at, at + piece.len()) {
            if let Some(to) = piece.get_mut(len..len + slice.len()) {
                to.copy_from_slice(slice);
                len += slice.len();
            }
        }
        let bytes = piece.get(..len).filter(|bytes| !bytes.is_empty()).ok_or(Full)?;
        net.write(draft, &mut |w, _| w.raw(bytes))?;
        at += len;
    }
    Ok(())
}
