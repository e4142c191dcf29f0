//! A member of a consumer group, and the offsets that the group commits.
//!
//! Under KIP-848 the coordinator decides who reads what: each heartbeat's response has the
//! partitions that may be used now. In a classic group a member decides, once in each round
//! (`classic`). What is new begins where the group committed; what is to go is revoked by the
//! application first, and the coordinator learns of it by the next list of what is owned.

mod assignment;
#[cfg(feature = "classic")]
mod classic;
mod commit;
mod committed;
mod contact;
mod coordinator;
mod growth;
mod heartbeat;
#[cfg(feature = "classic")]
mod leader;
mod marker;
mod news;
mod owner;
#[cfg(feature = "pattern")]
mod pattern;

use crate::api::Kind;
use crate::cluster::{Cx, Topic};
use crate::config::Start;
use crate::connection::Draft;
use crate::consumer::Consumer;
use crate::coordinator::Coordinator;
use crate::error::{Error, GroupError, Misuse};
use crate::id::TopicId;
use crate::memory::{Mem, Rng};
use crate::time::{Span, Tick};
use crate::wire::{ErrorCode, Full, Writer, offset_commit, offset_fetch};

pub(crate) use assignment::Share;
#[cfg(feature = "classic")]
use classic::Classic;
use commit::Commits;
use committed::Queries;
use contact::Check;
use growth::Growth;
#[cfg(feature = "classic")]
pub(crate) use leader::LeaderMem;
#[cfg(feature = "classic")]
pub use leader::{Leader, LeaderMemory};
#[cfg(feature = "transactions")]
pub use marker::CommitMark;
use news::News;
pub(crate) use owner::Memo;
#[cfg(feature = "pattern")]
use pattern::Pattern;

/// Pause after something did not fit, or waits for a connection.
const AGAIN: Span = Span::from_millis(20);
/// Heartbeats are due this often until the coordinator says otherwise.
const INTERVAL: Span = Span::from_secs(5);
/// A heartbeat without a response for this long ends the connection: there has to be time for
/// another one within the session.
const UNHEARD: Span = Span::from_secs(10);
/// A new assignment is in place within this time, unless a leader is missing.
const SOON: Span = Span::from_secs(2);
/// Bytes of a member id: 16 random ones in Kafka's text form.
const ID: usize = 22;

/// From this version on OffsetCommit and OffsetFetch have topic ids in place of names.
const BY_ID: i16 = offset_fetch::BY_ID;
const _: () = assert!(BY_ID == offset_commit::BY_ID);

/// Writes what is in front of the indices of a topic's partitions, as many as that.
type TopicHead<'a> = dyn Fn(&mut Writer<'_>, i16, &Topic, usize) -> Result<(), Full> + 'a;

/// What the member is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is subscribed.
    Off,
    /// Epoch 0 until the coordinator gives another one.
    Joining,
    Member,
    /// Commits what was read, then leaves.
    Leaving,
}

/// Partitions of a topic that a member of `sticky` says that it had: those behind them it gets as
/// anyone does.
#[cfg(feature = "classic")]
const HAD: usize = if cfg!(feature = "coverage") { 256 } else { 0 };

/// A topic of the subscription.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interest {
    /// Some partition of it may be the member's.
    active: bool,
    /// It is subscribed.
    wanted: bool,
    /// The partitions whose commits were read for their markers.
    scanned: u32,
    /// Some partition has no commit: those of the others are to be read.
    scans: bool,
    /// All that there is to be known of `count` and `begun` is known.
    known: bool,
    /// The topic has a marker of the group.
    marked: bool,
    /// This is the group's first contact, and no marker was committed yet.
    fresh: bool,
    /// The second look for markers of others, and until when positions are waited for before it.
    check: Check,
    check_at: Tick,
    /// Partitions that existed at first contact; see [`marker::Marker`].
    count: u32,
    begun: i64,
    /// Partitions of which growth was noticed, and those before.
    seen: u32,
    /// The first of those that the owner of partition 0 is to seed, until this member does.
    /// 0: none.
    unseeded: u32,
    /// Its partitions in the plan of this member, which leads.
    #[cfg(feature = "classic")]
    planned: u32,
    /// That it is part of a subscription by pattern is to be reported, or that it no longer is.
    #[cfg(feature = "pattern")]
    joins: bool,
    #[cfg(feature = "pattern")]
    leaves: bool,
    /// The first partition that may be no member's, plus 1; 0: none.
    #[cfg(feature = "coverage")]
    open: u32,
    /// A bit for each partition of the last classic assignment, which is given up by then.
    #[cfg(feature = "coverage")]
    had: [u32; HAD / 32],
}

impl Interest {
    pub(crate) const EMPTY: Self = Self {
        active: false,
        wanted: false,
        scanned: 0,
        scans: false,
        known: false,
        marked: false,
        fresh: false,
        check: Check::Open,
        check_at: Tick::ZERO,
        count: 0,
        begun: 0,
        seen: 0,
        unseeded: 0,
        #[cfg(feature = "classic")]
        planned: 0,
        #[cfg(feature = "pattern")]
        joins: false,
        #[cfg(feature = "pattern")]
        leaves: false,
        #[cfg(feature = "coverage")]
        open: 0,
        #[cfg(feature = "coverage")]
        had: [0; HAD / 32],
    };
}

/// The memory of a group's member.
pub(crate) struct GroupMem<'d> {
    /// One for each partition in use.
    pub(crate) shares: Mem<'d, Share>,
    /// One for each topic.
    pub(crate) interests: Mem<'d, Interest>,
    /// As many, for ids of topics whose name is not known yet.
    #[cfg(feature = "pattern")]
    pub(crate) ids: Mem<'d, crate::wire::Uuid>,
    #[cfg(feature = "classic")]
    pub(crate) leader: LeaderMem<'d>,
}

/// See the module.
pub(crate) struct Group<'d> {
    shares: Mem<'d, Share>,
    interests: Mem<'d, Interest>,
    phase: Phase,
    /// Changes whenever the membership does: responses to what was sent before say nothing.
    serial: u32,
    id: [u8; ID],
    epoch: i32,
    start: Start,
    /// When the group was subscribed, in milliseconds since 1970; 0 without a clock.
    begun: i64,
    coordinator: Coordinator,
    /// A heartbeat has no response yet; whether it is the last one, and whether there was any.
    beats: bool,
    departs: bool,
    beaten: bool,
    /// When the next one is due.
    beat_at: Tick,
    interval: Span,
    /// Heartbeats that failed in a row.
    failures: u8,
    /// The next one has everything.
    full: bool,
    /// The next one has the list of what is owned.
    acknowledges: bool,
    /// Some topic of the assignment is not known yet.
    unresolved: bool,
    /// Partitions that are being revoked or lost, and until when at most.
    revoking: u32,
    revoke_until: Tick,
    /// Partitions on their way to being read, and until when they are expected soon.
    coming: u32,
    fresh_until: Tick,
    /// The shares have to be looked at, or compared with another assignment.
    work: bool,
    reconciles: bool,
    /// The last assignment is another one than the one before.
    reassigned: bool,
    look_at: Tick,
    queries: Queries,
    commits: Commits,
    growth: Growth,
    news: News,
    leave_until: Tick,
    dirty: bool,
    #[cfg(feature = "pattern")]
    pattern: Pattern<'d>,
    #[cfg(feature = "classic")]
    classic: Classic<'d>,
}

impl<'d> Group<'d> {
    pub(crate) fn new(memory: GroupMem<'d>) -> Self {
        Self {
            shares: memory.shares,
            interests: memory.interests,
            phase: Phase::Off,
            serial: 0,
            id: [0; ID],
            epoch: 0,
            start: Start::Latest,
            begun: 0,
            coordinator: Coordinator::UNKNOWN,
            beats: false,
            departs: false,
            beaten: false,
            beat_at: Tick::ZERO,
            interval: INTERVAL,
            failures: 0,
            full: true,
            acknowledges: false,
            unresolved: false,
            revoking: 0,
            revoke_until: Tick::NEVER,
            coming: 0,
            fresh_until: Tick::ZERO,
            work: false,
            reconciles: false,
            reassigned: false,
            look_at: Tick::NEVER,
            queries: Queries::NONE,
            commits: Commits::NONE,
            growth: Growth::NONE,
            news: News::NONE,
            leave_until: Tick::NEVER,
            dirty: false,
            #[cfg(feature = "pattern")]
            pattern: Pattern::new(memory.ids),
            #[cfg(feature = "classic")]
            classic: Classic::new(Leader::new(memory.leader)),
        }
    }

    /// Subscribes to these topics, in place of those before.
    pub(crate) fn subscribe(
        &mut self,
        cx: &mut Cx<'d>,
        topics: &[TopicId],
        (start, begun): (Start, i64),
    ) -> Result<(), Error> {
        self.may_subscribe(cx, start)?;
        if topics.is_empty() || topics.iter().any(|id| cx.cluster.topic_slot(*id).is_none()) {
            return Err(Error::Caller(Misuse::StaleId));
        }
        #[cfg(feature = "pattern")]
        self.pattern.end();
        for slot in 0..self.interests.len() {
            let wanted = topics.iter().any(|id| cx.cluster.topic_slot(*id) == Some(slot));
            self.subscribe_one(cx, slot, wanted);
        }
        self.resubscribe(cx, start, begun);
        Ok(())
    }

    fn may_subscribe(&self, cx: &Cx<'d>, start: Start) -> Result<(), Error> {
        if cx.settings.group.is_empty() {
            return Err(Error::Caller(Misuse::NoGroup));
        }
        if matches!(start, Start::Offset(_)) || matches!(start, Start::Timestamp(..0)) {
            return Err(Error::Caller(Misuse::Negative));
        }
        match self.phase {
            Phase::Leaving => Err(Error::Caller(Misuse::Leaving)),
            _ => Ok(()),
        }
    }

    /// Has a topic be part of the subscription or not.
    fn subscribe_one(&mut self, cx: &Cx<'d>, slot: usize, wanted: bool) {
        if wanted && !self.interests[slot].active {
            self.interests[slot] = Interest { active: true, ..Interest::EMPTY };
        }
        // Partitions of a topic that is no longer wanted go by the next assignment.
        self.interests[slot].wanted = wanted;
        self.interests[slot].scans &= wanted;
        self.retire(cx, slot);
    }

    /// Has the coordinator learn of another subscription; joins the group with the first one.
    fn resubscribe(&mut self, cx: &mut Cx<'d>, start: Start, begun: i64) {
        self.growth.stirred = true;
        (self.start, self.full, self.beat_at) = (start, true, Tick::ZERO);
        if self.phase == Phase::Off {
            self.id = member_id(&mut cx.rng);
            (self.phase, self.begun) = (Phase::Joining, begun);
            self.renew();
            #[cfg(feature = "classic")]
            self.choose_protocol(&cx.settings);
        }
        #[cfg(feature = "classic")]
        {
            self.hasten(cx);
            self.rejoin();
        }
        self.dirty = true;
    }

    /// Begins another membership: what was sent before says nothing about it.
    fn renew(&mut self) {
        self.serial = self.serial.wrapping_add(1);
        (self.epoch, self.full, self.acknowledges) = (0, true, false);
        (self.unresolved, self.beats) = (false, false);
        (self.departs, self.beaten) = (false, false);
        self.beat_at = Tick::ZERO;
        self.queries = Queries::NONE;
        #[cfg(feature = "pattern")]
        self.pattern.renew();
        #[cfg(feature = "classic")]
        self.classic.renew();
        self.dirty = true;
    }

    /// Leaves the group: positions are committed first if the group commits by itself. Within
    /// `limit` at most.
    pub(crate) fn leave(&mut self, cx: &mut Cx<'d>, consumer: &mut Consumer<'d>, limit: Span) {
        if matches!(self.phase, Phase::Off | Phase::Leaving) {
            return;
        }
        (self.phase, self.leave_until) = (Phase::Leaving, cx.now + limit);
        self.beat_at = Tick::ZERO;
        self.growth = Growth::NONE;
        if cx.settings.commits_by_itself() {
            self.commit_all(cx, consumer, true);
        }
        self.give_up_all(cx, consumer, false);
        (self.work, self.dirty) = (true, true);
    }

    /// Whether the member has to be considered at all.
    pub(crate) const fn is_on(&self) -> bool {
        !matches!(self.phase, Phase::Off)
    }

    /// Ends the membership for good: the coordinator will not have it, or we cannot.
    fn fail(&mut self, cx: &mut Cx<'d>, consumer: &mut Consumer<'d>, error: GroupError) {
        self.news.failed = Some(error);
        self.give_up_all(cx, consumer, true);
        self.commits.fail(error);
        // A member that the coordinator knows leaves, so that others get its partitions.
        #[cfg(feature = "classic")]
        let has_id = self.is_classic() && !self.classic.id().is_empty();
        #[cfg(not(feature = "classic"))]
        let has_id = false;
        let known = (self.epoch > 0 || has_id) && error.is_ours();
        if known {
            (self.phase, self.leave_until) = (Phase::Leaving, cx.now + UNHEARD);
            self.beat_at = Tick::ZERO;
        } else {
            self.phase = Phase::Off;
            self.renew();
        }
        self.news.silent = known;
        self.growth = Growth::NONE;
        (self.work, self.dirty) = (true, true);
    }

    /// Sends what is due; returns the next deadline.
    #[inline(never)]
    pub(crate) fn drive(&mut self, cx: &mut Cx<'d>, consumer: &mut Consumer<'d>) -> Tick {
        self.dirty = false;
        #[cfg(feature = "classic")]
        self.prepare_round(cx, consumer);
        self.work |= consumer.take_resolved() && self.coming + self.growth.seeding > 0;
        if self.work || self.look_at <= cx.now {
            self.advance(cx, consumer);
        }
        if self.phase == Phase::Off {
            return self.look_at;
        }
        if let Some(error) = self.news.fatal.take() {
            self.fail(cx, consumer, error);
            if self.phase == Phase::Off {
                return cx.now;
            }
        }
        let grows = self.watch_growth(cx);
        let soon = self.coming > 0 && cx.now < self.fresh_until;
        consumer.await_assignment(self.growth.waits() || soon);
        let saves = self.keep_time(cx, consumer);
        let next = grows.min(saves).min(self.look_at);
        let leave = if self.phase == Phase::Leaving { self.leave_until } else { Tick::NEVER };
        if leave <= cx.now {
            self.left();
            return Tick::NEVER;
        }
        let next = next.min(leave);
        #[cfg(feature = "ordered-growth")]
        let next = next.min(self.look_at_others(cx, consumer));
        #[cfg(feature = "classic")]
        if self.is_held() {
            return next;
        }
        let sent = match self.find_coordinator(cx) {
            Ok(conn) => self.send(cx, conn),
            Err(at) => at,
        };
        #[cfg(feature = "ordered-growth")]
        self.looked_at_others(cx.now, consumer);
        next.min(sent)
    }

    /// Sends what is due to the coordinator.
    fn send(&mut self, cx: &mut Cx<'d>, conn: usize) -> Tick {
        #[cfg(feature = "pattern")]
        if self.awaits_topics(cx, conn) {
            return Tick::NEVER;
        }
        #[cfg(feature = "classic")]
        if self.is_classic() {
            return self.send_classic(cx, conn);
        }
        let query = self.send_queries(cx, conn);
        let commit = self.send_commits(cx, conn);
        let beat = self.send_heartbeat(cx, conn);
        #[cfg(feature = "pattern")]
        let beat = beat.min(self.send_search(cx));
        beat.min(query).min(commit)
    }

    /// Handles the end of the membership that the application wanted to end.
    fn left(&mut self) {
        self.phase = Phase::Off;
        for interest in self.interests.iter_mut() {
            interest.wanted = false;
        }
        self.work = true;
        self.news.left = !core::mem::take(&mut self.news.silent);
        self.commits.fail(GroupError::NoMember);
        self.renew();
    }

    /// Handles an error that a response of the coordinator has for the member as a whole. Returns
    /// whether the request is to be sent again.
    fn judge(&mut self, cx: &mut Cx<'d>, code: ErrorCode) -> bool {
        match code {
            ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::NOT_COORDINATOR => {
                self.move_coordinator(cx);
                true
            }
            #[cfg(feature = "classic")]
            ErrorCode::ILLEGAL_GENERATION => self.is_behind(),
            #[cfg(feature = "classic")]
            ErrorCode::REBALANCE_IN_PROGRESS => {
                self.rejoin();
                true
            }
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_MEMBER_EPOCH => {
                self.news.fenced = true;
                (self.work, self.dirty) = (true, true);
                false
            }
            ErrorCode::STALE_MEMBER_EPOCH => {
                // The epoch comes with a heartbeat.
                (self.full, self.beat_at, self.dirty) = (true, self.beat_at.min(cx.now), true);
                true
            }
            _ => false,
        }
    }

    /// Whether a topic is subscribed, or partitions of it are the member's.
    pub(crate) fn has(&self, slot: usize) -> bool {
        self.interests[slot].active
    }

    /// Calls `f` for each partition in use of a topic that is subscribed.
    fn each(&mut self, cx: &mut Cx<'d>, f: &mut dyn FnMut(&mut Self, &mut Cx<'d>, usize)) {
        for slot in 0..self.interests.len() {
            if !self.interests[slot].active {
                continue;
            }
            let mut link = cx.cluster.table.first_of(slot);
            while let Some(part) = link.get() {
                link = cx.cluster.table.next_of(part);
                f(self, cx, part);
            }
        }
    }

    /// Returns how many partitions of a topic `is` true of.
    fn count(&self, cx: &Cx<'d>, slot: usize, is: &dyn Fn(&Share) -> bool) -> usize {
        match self.interests[slot].active {
            true => cx.cluster.table.of_topic(slot).filter(|part| is(&self.shares[*part])).count(),
            false => 0,
        }
    }

    /// Returns of how many topics `is` is true of some partition.
    fn count_topics(&self, cx: &Cx<'d>, is: &dyn Fn(&Share) -> bool) -> usize {
        (0..self.interests.len()).filter(|slot| self.count(cx, *slot, is) > 0).count()
    }

    /// Writes the partitions that `is` is true of, by topic: `begin` writes what is in front of
    /// their indices, and `end` what is behind them.
    fn write_lists(
        &self,
        cx: &mut Cx<'d>,
        draft: &mut Draft,
        is: &dyn Fn(&Share) -> bool,
        begin: &TopicHead<'_>,
        end: &dyn Fn(&mut Writer<'_>, i16) -> Result<(), Full>,
    ) -> Result<(), Full> {
        for slot in 0..self.interests.len() {
            let count = self.count(cx, slot, is);
            if count == 0 {
                continue;
            }
            let (net, cluster) = (&mut cx.net, &cx.cluster);
            net.write(draft, &mut |w, version| {
                begin(w, version, &cluster.topics[slot], count)?;
                for part in cluster.table.of_topic(slot).filter(|part| is(&self.shares[*part])) {
                    w.i32(cluster.table[part].index as i32)?;
                }
                end(w, version)
            })?;
        }
        Ok(())
    }

    /// Begins a request about offsets; `None` when that does not fit now. Topics without an id need
    /// a version that names them.
    fn open_offsets(&self, cx: &mut Cx<'d>, conn: usize, kind: Kind) -> Option<Draft> {
        let nameless = (0..self.interests.len())
            .any(|slot| self.interests[slot].active && cx.cluster.topics[slot].lacks_id());
        let cap = if nameless { BY_ID - 1 } else { i16::MAX };
        cx.net.open(conn, cx.now, kind, cap)
    }

    /// Forgets a topic that is not subscribed any more when the last of its partitions is gone.
    fn retire(&mut self, cx: &Cx<'d>, slot: usize) {
        let interest = &self.interests[slot];
        let mut parts = cx.cluster.table.of_topic(slot);
        if interest.active && !interest.wanted && parts.all(|part| self.shares[part].is_free()) {
            self.interests[slot] = Interest::EMPTY;
            #[cfg(feature = "pattern")]
            self.topic_left(slot);
        }
    }

    /// Returns the member's id and epoch.
    pub(crate) fn membership(&self) -> Option<(&str, i32)> {
        (self.phase == Phase::Member).then(|| (self.member_id(), self.epoch))
    }

    /// Returns the client id of the member that leads.
    #[cfg(feature = "coverage")]
    pub(crate) fn leader(&self) -> Option<&str> {
        Some(self.classic.cover.leader()).filter(|id| self.is_classic() && !id.is_empty())
    }

    pub(crate) const fn coordinator(&self) -> Option<i32> {
        self.coordinator.node()
    }

    /// The application keeps a partition for now although its revocation was reported.
    pub(crate) fn keep(&mut self, part: usize) {
        self.news.keep(part);
    }

    pub(crate) fn member_id(&self) -> &str {
        #[cfg(feature = "classic")]
        if self.is_classic() {
            return self.classic.id();
        }
        str::from_utf8(&self.id).unwrap_or_default()
    }
}

/// Makes a member id as Kafka's clients do. Not a secret.
fn member_id(rng: &mut Rng) -> [u8; ID] {
    let (a, b) = (rng.next().to_be_bytes(), rng.next().to_be_bytes());
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(a.iter().chain(&b)) {
        *to = *from;
    }
    marker::base64(&bytes)
}
