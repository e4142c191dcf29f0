//! The classic protocol: members join rounds, one of them assigns, and the coordinator only passes
//! on what it says (`AbstractCoordinator` and `ConsumerCoordinator` of Kafka's Java client). What
//! follows an assignment is the same as under KIP-848.
//!
//! A round: [`join`] until the coordinator knows all members, [`sync`] until the leader has
//! assigned. In between the group commits and requests nothing else: commits of the generation that
//! ends are refused, and those of the one that begins, too.

mod beat;
#[cfg(feature = "coverage")]
mod cover;
mod join;
#[cfg(feature = "coverage")]
mod look;
mod sync;

use super::{AGAIN, Group, Leader, Phase, Share};
use crate::cluster::Cx;
use crate::config::{Assignor, GroupProtocol, Settings, listed};
use crate::connection::Role;
use crate::consumer::Consumer;
use crate::error::{Error, GroupError, LimitKind};
use crate::memory::backoff;
use crate::time::{Span, Tick};
use crate::wire::ErrorCode;

pub(crate) use beat::PulseMemo;
#[cfg(feature = "coverage")]
pub(crate) use cover::CoverMemo;
#[cfg(feature = "coverage")]
pub(super) use cover::{Cover, Unassigned};
pub(crate) use join::JoinMemo;
pub(crate) use sync::{CountsMemo, SyncMemo};

/// Longest member id, in bytes: Kafka's are the client id or the instance id, and 37 more.
const ID: usize = 300;
/// What was read is committed before a round, within this time: the others wait.
const SETTLE: Span = Span::from_secs(1);
/// A follower that sees growth leaves the leader this time to begin a round.
const LEADERS_TURN: Span = Span::from_secs(2);

/// Seeds are kept this long for the round that growth leads to: other members may take long.
const LONGEST: Span = Span::from_secs(30);

/// How far a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Round {
    /// None is under way.
    Idle,
    /// JoinGroup has no response.
    Parked,
    /// This member leads, and reads how many partitions there are.
    Counting,
    /// SyncGroup is due, or has no response.
    Syncing,
}

/// Who assigns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Lead {
    /// A member of another kind, as far as is known.
    #[default]
    Foreign,
    /// A member that reads counts in every round, as this one does.
    Kin,
    /// The coordinator: it hosts this member in a group of KIP-848.
    Coordinator,
    /// This static member before its restart, by its id then: nobody watches for growth.
    Former,
    /// This member.
    Me,
}

/// See the module.
pub(super) struct Classic<'d> {
    /// This membership is a classic one.
    on: bool,
    round: Round,
    lead: Lead,
    /// A round is to begin, and what has to come before it was begun.
    due: bool,
    prepared: bool,
    /// What has to come before it is waited for no longer than this.
    settle_until: Tick,
    /// SyncGroup has no response yet.
    syncs: bool,
    /// The leader need not assign.
    skips: bool,
    /// The assignor that was elected, by its place in the list; whether partitions have to be given
    /// up before each round; whether they have to be now.
    elected: u8,
    eager: bool,
    surrenders: bool,
    /// The growth that is under way was seen before the round began.
    grew: bool,
    /// A static member has looked whether its first assignment is up to date.
    looked: bool,
    /// Rounds in a row that were of no use: their assignment was not for this member, or the
    /// coordinator could not keep it.
    unfit: u8,
    /// What was to be committed before the member leaves cannot be.
    gives_up: bool,
    /// The member keeps its id although its membership ended.
    keeps_id: bool,
    retry_at: Tick,
    failures: u8,
    /// The generation in which the member got what it has; 0: none.
    held: i32,
    /// Requests for counts so far, and when another broker gets the next one.
    asked: u32,
    /// Responses of this round that left topics out.
    partial: u8,
    ask_at: Tick,
    id: [u8; ID],
    id_len: u16,
    pub(super) leader: Leader<'d>,
    #[cfg(feature = "coverage")]
    pub(super) cover: Cover,
    #[cfg(feature = "coverage")]
    look: look::Look,
}

impl<'d> Classic<'d> {
    pub(super) const fn new(leader: Leader<'d>) -> Self {
        Self {
            on: false,
            round: Round::Idle,
            lead: Lead::Foreign,
            due: false,
            prepared: false,
            settle_until: Tick::ZERO,
            syncs: false,
            skips: false,
            elected: 0,
            eager: false,
            surrenders: false,
            grew: false,
            looked: false,
            unfit: 0,
            gives_up: false,
            keeps_id: false,
            retry_at: Tick::ZERO,
            failures: 0,
            held: 0,
            asked: 0,
            partial: 0,
            ask_at: Tick::ZERO,
            id: [0; ID],
            id_len: 0,
            leader,
            #[cfg(feature = "coverage")]
            cover: Cover::NONE,
            #[cfg(feature = "coverage")]
            look: look::Look::NONE,
        }
    }

    pub(super) fn age(&mut self, by: Span) {
        self.settle_until.age(by);
        self.retry_at.age(by);
        self.ask_at.age(by);
        #[cfg(feature = "coverage")]
        self.cover.age(by);
        #[cfg(feature = "coverage")]
        self.look.age(by);
    }

    /// Begins another membership.
    pub(super) const fn renew(&mut self) {
        (self.round, self.lead) = (Round::Idle, Lead::Foreign);
        (self.due, self.prepared, self.syncs) = (true, false, false);
        (self.surrenders, self.eager, self.held) = (false, false, 0);
        if !self.keeps_id {
            self.id_len = 0;
        }
        (self.looked, self.keeps_id, self.gives_up) = (false, false, false);
        self.unfit = 0;
        #[cfg(feature = "coverage")]
        self.cover.renew();
    }

    pub(super) fn id(&self) -> &str {
        let bytes = self.id.get(..usize::from(self.id_len)).unwrap_or_default();
        str::from_utf8(bytes).unwrap_or_default()
    }

    fn take_id(&mut self, id: &str) {
        if let Some(to) = self.id.get_mut(..id.len()).filter(|_| !id.is_empty()) {
            to.copy_from_slice(id.as_bytes());
            self.id_len = id.len() as u16;
        }
    }

    /// Whether the coordinator has a request that it may hold.
    fn is_held(&self) -> bool {
        self.round == Round::Parked || self.syncs
    }

    /// Returns the assignor that was elected, by name and by kind.
    fn elected<'s>(&self, settings: &'s Settings<'_>) -> Option<(&'s str, Assignor)> {
        let name = listed(&settings.classic.assignors).nth(usize::from(self.elected))?;
        Some((name, Assignor::from_name(name)?))
    }
}

impl<'d> Group<'d> {
    pub(super) const fn is_classic(&self) -> bool {
        self.classic.on
    }

    /// Chooses the protocol of a membership that begins.
    pub(super) fn choose_protocol(&mut self, settings: &Settings<'_>) {
        self.classic.on = settings.classic.protocol == GroupProtocol::Classic;
    }

    /// Handles a coordinator that has no KIP-848 for the group.
    pub(super) fn needs_classic(&mut self, settings: &Settings<'_>) {
        if settings.classic.protocol == GroupProtocol::Auto && !self.classic.on {
            self.classic.on = true;
            self.renew();
        } else {
            self.news.fatal = Some(GroupError::NeedsClassic);
        }
        self.dirty = true;
    }

    /// Returns what the connection to the coordinator is for.
    pub(super) fn role(&self) -> Role {
        match self.classic.on {
            // Behind a request that is held a member could not leave.
            true if self.phase == Phase::Leaving && self.classic.is_held() => Role::Main,
            true => Role::Round,
            false => Role::Coordinator,
        }
    }

    /// Whether the coordinator holds a request, behind which nothing is sent.
    pub(super) fn is_held(&self) -> bool {
        self.classic.on && self.classic.is_held() && self.phase != Phase::Leaving
    }

    /// Whether a round is under way. What comes meanwhile may be settled by it.
    pub(super) fn is_in_round(&self) -> bool {
        self.classic.on && self.classic.round != Round::Idle
    }

    /// Has another round begin.
    pub(super) fn rejoin(&mut self) {
        (self.classic.due, self.dirty) = (true, true);
    }

    /// Begins what has to come before a round: partitions are given up, or what was read of them is
    /// committed.
    pub(super) fn prepare_round(&mut self, cx: &mut Cx<'d>, consumer: &mut Consumer<'d>) {
        let classic = &mut self.classic;
        if core::mem::take(&mut classic.surrenders) {
            self.give_up_all(cx, consumer, true);
            self.work = true;
        }
        let classic = &mut self.classic;
        let due = classic.on && classic.due && classic.round == Round::Idle;
        if !due || classic.prepared || self.phase != Phase::Member {
            return;
        }
        (classic.prepared, classic.settle_until) = (true, cx.now + SETTLE);
        let eager = classic.eager;
        if guard!("eager members give everything up before a round", eager) {
            self.each(cx, &mut |group, _, part| group.shares[part].target = false);
            (self.reconciles, self.work) = (true, true);
        } else if cx.settings.commits_by_itself() {
            self.commit_all(cx, consumer, false);
        }
    }

    /// Returns when a round may begin.
    fn may_join(&self, now: Tick) -> Tick {
        let (classic, commits) = (&self.classic, &self.commits);
        let joins = self.phase == Phase::Joining;
        if !joins && (!classic.prepared || self.revoking > 0 || self.reconciles) {
            return Tick::NEVER;
        }
        // An older offset would come after what the next owner of a partition commits.
        let flies = guard!("no commit crosses a round", commits.is_in_flight());
        if flies || self.beats {
            return Tick::NEVER;
        }
        match commits.has_wanted() && !joins {
            true => classic.retry_at.max(classic.settle_until).max(now),
            false => classic.retry_at.max(now),
        }
    }

    /// Sends what is due to the coordinator; returns when something else is.
    pub(super) fn send_classic(&mut self, cx: &mut Cx<'d>, conn: usize) -> Tick {
        if self.phase == Phase::Leaving {
            return self.send_farewell(cx, conn);
        }
        match self.classic.round {
            Round::Idle => {}
            Round::Parked => return Tick::NEVER,
            Round::Counting => return self.send_counts(cx).min(self.send_pulse(cx, conn)),
            Round::Syncing => return self.send_sync(cx, conn),
        }
        let mut next = Tick::NEVER;
        if self.classic.due {
            next = self.may_join(cx.now);
            if next <= cx.now {
                return self.send_join(cx, conn);
            }
        }
        if self.phase != Phase::Member {
            return next;
        }
        let query = self.send_queries(cx, conn);
        let commit = self.send_commits(cx, conn);
        #[cfg(feature = "coverage")]
        let next = next.min(self.send_cover(cx, conn)).min(self.send_look(cx));
        next.min(self.send_pulse(cx, conn)).min(query).min(commit)
    }

    /// Handles the end of revocations: what this member gave up is assigned in another round.
    pub(super) fn gave_up(&mut self) {
        if self.classic.on {
            self.rejoin();
        }
    }

    /// Handles an error of a round that passes: another one begins later.
    fn join_later(&mut self, cx: &mut Cx<'d>, error: Error) {
        let (base, max) = (cx.settings.retry_backoff, cx.settings.retry_backoff_max);
        let classic = &mut self.classic;
        (classic.round, classic.due, classic.syncs) = (Round::Idle, true, false);
        classic.retry_at = backoff(&mut cx.rng, cx.now, base, max, classic.failures);
        classic.failures = classic.failures.saturating_add(1);
        self.dirty = true;
        self.note_trouble(cx.now, error);
    }

    /// Begins a round that is wanted soon: also a pause after rounds of no use is this short.
    pub(super) fn hasten(&mut self, cx: &Cx<'d>) {
        let soon = cx.now + cx.settings.retry_backoff_max;
        self.classic.retry_at = self.classic.retry_at.min(soon);
    }

    /// Handles a request that does not fit: one that never will ends the membership.
    fn overflowed(&mut self, cx: &Cx<'d>) -> Tick {
        if cx.net.blocks.free() == cx.net.blocks.total() {
            let (what, needed) = (LimitKind::SendBlocks, 0);
            self.news.fatal = Some(GroupError::Limit { what, needed });
            self.dirty = true;
        }
        cx.now + AGAIN
    }

    /// Handles the loss of the membership; the id may be used again.
    pub(super) fn lose_membership(&mut self, keeps_id: bool) {
        self.classic.keeps_id = keeps_id;
        self.news.fenced = true;
        (self.work, self.dirty) = (true, true);
    }

    /// Handles a commit of another generation than the group's; whether it is sent again. In a
    /// round the generation has only come meanwhile.
    pub(super) fn is_behind(&mut self) -> bool {
        if self.classic.round != Round::Idle {
            return true;
        }
        if self.phase == Phase::Leaving {
            self.classic.gives_up = true;
        } else {
            self.lose_membership(true);
        }
        false
    }

    /// Handles an error of a round or a heartbeat. `true`: it is one that passes.
    fn judge_round(&mut self, cx: &mut Cx<'d>, code: ErrorCode) -> bool {
        match code {
            ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::NOT_COORDINATOR => {
                self.move_coordinator(cx);
                true
            }
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.lose_membership(false);
                false
            }
            ErrorCode::ILLEGAL_GENERATION => {
                self.lose_membership(true);
                false
            }
            ErrorCode::GROUP_AUTHORIZATION_FAILED
            | ErrorCode::INCONSISTENT_GROUP_PROTOCOL
            | ErrorCode::INVALID_GROUP_ID
            | ErrorCode::INVALID_SESSION_TIMEOUT
            | ErrorCode::INVALID_REQUEST
            | ErrorCode::UNSUPPORTED_VERSION
            | ErrorCode::GROUP_MAX_SIZE_REACHED
            | ErrorCode::FENCED_INSTANCE_ID => {
                self.news.fatal = Some(GroupError::Refused(code));
                self.dirty = true;
                false
            }
            _ => true,
        }
    }

    /// Whether this member is to begin a round when it sees growth.
    pub(super) fn begins_rounds(&self) -> bool {
        matches!(self.classic.lead, Lead::Me | Lead::Former | Lead::Coordinator)
    }

    /// Whether the plan of this round's leader has these partitions already: it is this member's,
    /// or another one reads counts in the round that is under way.
    pub(super) fn is_planned(&self, slot: usize, count: u32) -> bool {
        self.classic.lead == Lead::Me && self.interests[slot].planned >= count
    }

    /// How long growth waits for an assignment.
    pub(super) fn patience(&self) -> Span {
        if self.begins_rounds() { LONGEST } else { LEADERS_TURN }
    }

    /// Whether this member commits the starts of new partitions at once: the leader does, so that
    /// its round is not earlier. `owns`: it has the first partition of the topic.
    pub(super) fn is_seeder(&self, owns: bool) -> bool {
        match self.classic.lead {
            Lead::Me | Lead::Former => true,
            Lead::Foreign | Lead::Coordinator => owns,
            Lead::Kin => false,
        }
    }

    /// Growth came: a follower hears at once of the leader's round.
    pub(super) fn listen(&mut self, now: Tick) {
        if self.classic.on && !self.begins_rounds() {
            self.growth.hurries = true;
            self.beat_at = self.beat_at.min(now);
        }
    }

    /// Growth came, its starts are committed, and a round because of it may begin. A follower only
    /// beats faster: the leader's round is on its way. Returns whether there is a round.
    pub(super) fn trigger(&mut self) -> bool {
        let begins = self.classic.on && self.begins_rounds();
        if begins {
            self.rejoin();
        }
        begins
    }

    /// The leader began no round because of growth: this member does, once.
    pub(super) fn despair(&mut self, _now: Tick) {
        if self.classic.on && !self.begins_rounds() {
            #[cfg(feature = "coverage")]
            self.check_growth(_now);
            #[cfg(not(feature = "coverage"))]
            self.rejoin();
        }
    }

    /// The membership ended; another one begins at this time at the earliest.
    pub(super) const fn join_at(&mut self, at: Tick) {
        self.classic.retry_at = at;
    }

    /// Whether a commit that was refused is sent again.
    pub(super) fn may_commit_again(&self, code: ErrorCode, again: bool) -> bool {
        again || self.classic.on && code == ErrorCode::ILLEGAL_GENERATION
    }

    fn owns_something(&self, cx: &Cx<'d>) -> bool {
        (0..self.interests.len()).any(|slot| self.count(cx, slot, &Share::is_owned) > 0)
    }
}
