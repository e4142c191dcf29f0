//! SyncGroup, and what the leader does before it: counts of partitions are read in every round, as
//! older ones would leave new partitions out.

use super::{Lead, Round};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::config::Assignor;
use crate::connection::{Draft, Origin};
use crate::error::{Error, GroupError};
use crate::group::heartbeat::Marked;
use crate::group::{AGAIN, Group, Interest, Phase};
use crate::memory::{Link, backoff};
use crate::time::{Span, Tick};
use crate::wire::consumer_protocol::Assignment;
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, Full, Uuid, metadata, sync_group};

/// Counts are requested of another broker when one has not responded for this long.
const PATIENCE: Span = Span::from_secs(1);
/// The coordinator may need so much longer than the rebalance timeout.
const MORE: Span = Span::from_secs(5);
/// Counts that responses leave out are requested again so often, then what is known counts.
const PARTIAL: u8 = 5;
/// A leader whose plans the coordinator cannot keep leaves after so many.
const TRIES: u8 = 5;
/// Pause at most between rounds that give this member what it cannot use.
const LONGEST: Span = Span::from_secs(60);

/// Counts as they stream in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CountsMemo {
    /// Place of the topic in the leader's list, and its partitions so far.
    topic: Link,
    count: u32,
    /// The broker does not know the topic, or cannot say now.
    missing: bool,
    unsure: bool,
    /// Topics that it was sure of; of a look: that have as many partitions as in the last plan.
    pub(super) sure: usize,
    /// Some topic has more partitions than the last plan.
    #[cfg(feature = "coverage")]
    pub(super) grown: bool,
}

/// A response to SyncGroup as it streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SyncMemo {
    /// It is of this membership.
    valid: bool,
    error: ErrorCode,
    marked: Marked,
    /// It cannot be read.
    bad: bool,
}

impl<'d> Group<'d> {
    /// Requests the counts of all topics of the group, over and over until a broker has responded.
    pub(super) fn send_counts(&mut self, cx: &mut Cx<'d>) -> Tick {
        let classic = &mut self.classic;
        if classic.ask_at > cx.now {
            return classic.ask_at;
        }
        let topics = classic.leader.topics().count();
        if topics == 0 {
            self.plan(cx);
            return cx.now;
        }
        let Some(conn) = cx.pick_main(None, Kind::Counts) else { return cx.now + AGAIN };
        let Some(mut draft) = cx.net.open(conn, cx.now, Kind::Counts, i16::MAX) else {
            return cx.now + AGAIN;
        };
        let leader = &self.classic.leader;
        let written = cx.net.write(&mut draft, &mut |w, version| {
            metadata::begin(w, version, Some(topics))?;
            for name in leader.topics() {
                metadata::topic(w, version, Uuid::ZERO, Some(name))?;
            }
            metadata::end(w, version, false)
        });
        if let Err(Full) = written {
            cx.net.abandon(draft);
            return self.overflowed(cx);
        }
        #[cfg(feature = "std")]
        self.classic.leader.begin_racks(true);
        self.classic.asked = self.classic.asked.wrapping_add(1);
        self.classic.ask_at = cx.now + PATIENCE;
        let tag = [self.serial, self.classic.asked];
        cx.net.send(cx.now, draft, tag, cx.settings.request_timeout);
        self.classic.ask_at
    }

    /// Whether a response has counts that something waits for.
    fn awaits_any(&self, tag: [u32; 2]) -> bool {
        #[cfg(feature = "coverage")]
        if self.awaits_look(tag) {
            return true;
        }
        self.awaits_counts(tag)
    }

    /// Whether a response has the counts that the round waits for.
    fn awaits_counts(&self, [serial, asked]: [u32; 2]) -> bool {
        let classic = &self.classic;
        serial == self.serial && asked == classic.asked && classic.round == Round::Counting
    }

    pub(in crate::group) fn on_counts(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        memo: &mut CountsMemo,
        got: Segment<'_, '_>,
    ) {
        if !self.awaits_any(from.requested.tag) {
            return;
        }
        let item = metadata::item(got);
        #[cfg(feature = "std")]
        self.note_racks(from.requested.tag, memo, item.as_ref());
        match item {
            Some(metadata::Item::Topic { error, name, .. }) => {
                let place = name.and_then(|name| self.classic.leader.find(name));
                memo.topic = place.map_or(Link::NONE, Link::to);
                (memo.count, memo.missing) = (0, error.0 != 0);
                let final_error = matches!(
                    error,
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                        | ErrorCode::INVALID_TOPIC_EXCEPTION
                        | ErrorCode::TOPIC_AUTHORIZATION_FAILED
                );
                memo.unsure = memo.missing && !final_error;
            }
            Some(metadata::Item::Partition { index, .. }) => {
                let end = u32::try_from(index).map_or(0, |index| index + 1);
                memo.count = memo.count.max(end);
            }
            Some(metadata::Item::TopicEnd) => {
                if let Some(place) = memo.topic.get() {
                    let count = if memo.missing { 0 } else { memo.count };
                    #[cfg(feature = "coverage")]
                    if self.awaits_look(from.requested.tag) {
                        return self.look_at_count(cx, memo, (place, count));
                    }
                    self.note_count(cx, place, count);
                    memo.sure += usize::from(!memo.unsure);
                }
            }
            _ => {}
        }
    }

    /// Takes the racks of brokers, then those of the replicas of partitions.
    #[cfg(feature = "std")]
    fn note_racks(&mut self, tag: [u32; 2], memo: &CountsMemo, item: Option<&metadata::Item<'_>>) {
        let plans = self.awaits_counts(tag);
        let leader = &mut self.classic.leader;
        match item {
            Some(metadata::Item::Broker { id, rack, .. }) => leader.broker(*id, *rack),
            Some(metadata::Item::Partition { index, replicas, .. }) => {
                if let (Some(place), Ok(index)) = (memo.topic.get(), u32::try_from(*index)) {
                    leader.replicas(place, index, *replicas, plans);
                }
            }
            Some(metadata::Item::TopicEnd) => {
                if let Some(place) = memo.topic.get().filter(|_| plans) {
                    leader.end_replicas(place);
                }
            }
            _ => {}
        }
    }

    /// Notes how many partitions a topic has: a broker may be behind what this client knows.
    fn note_count(&mut self, cx: &mut Cx<'d>, place: usize, count: u32) {
        let Some(name) = self.classic.leader.topics().nth(place) else { return };
        let slot = cx.cluster.named_or_id(Some(name), Uuid::ZERO);
        let slot = slot.filter(|slot| self.interests[*slot].active);
        let known = slot.map_or(0, |slot| match cx.cluster.topics[slot].ready {
            true => cx.cluster.topics[slot].count,
            false => 0,
        });
        let mut count = guard!("a leader's counts only rise", known.max(count) => count);
        if let Some(slot) = slot {
            if count > known {
                cx.refresh(slot);
            }
            if Self::seeds(cx) {
                let most = self.seeded(cx, slot);
                count =
                    guard!("partitions without a start are not assigned", count.min(most) => count);
            }
            self.interests[slot].planned = count;
        }
        self.classic.leader.count(place, count);
    }

    /// Returns how many partitions of a topic may be assigned: those whose growth was not noticed
    /// have no committed start, nor have those whose start is being committed. Another round
    /// assigns them.
    fn seeded(&self, cx: &Cx<'d>, slot: usize) -> u32 {
        let Interest { seen, unseeded, .. } = self.interests[slot];
        if seen == 0 {
            return u32::MAX;
        }
        if !self.growth.prepares() {
            return seen;
        }
        let late = |part: &usize| self.shares[*part].is_being_seeded();
        let parts = cx.cluster.table.of_topic(slot).filter(late);
        let first = parts.map(|part| cx.cluster.table[part].index).min();
        let others = if unseeded > 0 { unseeded } else { seen };
        seen.min(others).min(first.unwrap_or(seen))
    }

    pub(in crate::group) fn counts_done(
        &mut self,
        cx: &mut Cx<'d>,
        tag: [u32; 2],
        memo: &CountsMemo,
    ) {
        #[cfg(feature = "coverage")]
        if self.awaits_look(tag) {
            return self.look_done(cx, memo);
        }
        if !self.awaits_counts(tag) {
            return;
        }
        let topics = self.classic.leader.topics().count();
        if memo.sure >= topics {
            return self.plan(cx);
        }
        // A topic without a count would be taken from all members.
        if self.classic.partial < PARTIAL {
            self.classic.partial += 1;
            (self.classic.ask_at, self.dirty) = (cx.now + cx.settings.retry_backoff, true);
            return;
        }
        for place in 0..topics {
            if self.classic.leader.counted(place) == 0 {
                self.note_count(cx, place, 0);
            }
        }
        self.plan(cx);
    }

    pub(in crate::group) fn counts_lost(&mut self, cx: &Cx<'d>, tag: [u32; 2]) {
        #[cfg(feature = "coverage")]
        if self.awaits_look(tag) {
            return self.look_lost(cx);
        }
        if self.awaits_counts(tag) {
            self.classic.ask_at = cx.now;
            self.dirty = true;
        }
    }

    fn plan(&mut self, cx: &Cx<'d>) {
        let classic = &mut self.classic;
        (classic.round, self.dirty) = (Round::Syncing, true);
        #[cfg(feature = "std")]
        classic.leader.racks_planned();
        if classic.skips {
            return;
        }
        let assignor = classic.elected(&cx.settings).map_or(Assignor::Range, |(_, kind)| kind);
        if let Err(error) = classic.leader.plan(assignor) {
            self.news.fatal = Some(error);
        }
    }

    pub(super) fn send_sync(&mut self, cx: &mut Cx<'d>, conn: usize) -> Tick {
        if self.classic.syncs || self.classic.surrenders {
            return Tick::NEVER;
        }
        if self.classic.retry_at > cx.now {
            return self.classic.retry_at;
        }
        let Some(mut draft) = cx.net.open(conn, cx.now, Kind::Sync, i16::MAX) else {
            return cx.now + AGAIN;
        };
        if let Err(Full) = self.write_sync(cx, &mut draft) {
            cx.net.abandon(draft);
            return self.overflowed(cx);
        }
        self.classic.syncs = true;
        let timeout = cx.settings.rebalance_timeout + MORE;
        let timeout = timeout.max(cx.settings.request_timeout);
        cx.net.send(cx.now, draft, [self.serial, self.epoch as u32], timeout);
        Tick::NEVER
    }

    fn write_sync(&self, cx: &mut Cx<'d>, draft: &mut Draft) -> Result<(), Full> {
        let classic = &self.classic;
        let (net, settings) = (&mut cx.net, &cx.settings);
        let head = sync_group::Head {
            group: &settings.group,
            generation: self.epoch,
            member: classic.id(),
            instance: settings.instance(),
            protocol: classic.elected(settings).map(|(name, _)| name),
        };
        let assigns = classic.lead == Lead::Me && !classic.skips;
        let members = if assigns { classic.leader.members() } else { 0 };
        net.write(draft, &mut |w, version| sync_group::begin(w, version, &head, members))?;
        for member in 0..members {
            let (id, len) = (classic.leader.id(member), classic.leader.assignment_len(member));
            net.write(draft, &mut |w, version| {
                sync_group::member(w, version, id, len)?;
                classic.leader.write_assignment(member, w)?;
                sync_group::end(w, version)
            })?;
        }
        net.write(draft, &mut |w, version| sync_group::end(w, version))
    }

    pub(in crate::group) fn on_sync(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        memo: &mut SyncMemo,
        got: Segment<'_, '_>,
        make_room: &mut dyn FnMut(&mut Self, &mut Cx<'d>) -> bool,
    ) {
        if from.requested.tag[0] != self.serial || self.phase == Phase::Leaving {
            return;
        }
        match sync_group::item(got) {
            Some(sync_group::Item::Assignment { error, bytes, .. }) => {
                (memo.valid, memo.error) = (true, error);
                if error.0 != 0 {
                    return;
                }
                self.each(cx, &mut |group, _, part| group.shares[part].marked = false);
                // The coordinator has none for who joined too late.
                if bytes.is_empty() {
                    return;
                }
                let Ok(assignment) = Assignment::read(bytes) else {
                    memo.bad = true;
                    return;
                };
                for (name, partitions) in assignment.topics {
                    let slot = cx.cluster.named_or_id(Some(name), Uuid::ZERO);
                    self.mark(cx, &mut memo.marked, slot, partitions, make_room);
                }
            }
            Some(sync_group::Item::Skipped) => memo.marked.skipped = true,
            None => {}
        }
    }

    pub(in crate::group) fn sync_done(&mut self, cx: &mut Cx<'d>, serial: u32, memo: &SyncMemo) {
        if serial != self.serial || !self.classic.syncs {
            return;
        }
        (self.classic.syncs, self.dirty) = (false, true);
        if self.phase == Phase::Leaving {
            self.classic.round = Round::Idle;
            return;
        }
        if memo.valid && memo.error.0 != 0 {
            if self.is_too_much(memo.error) {
                self.news.fatal = Some(GroupError::Refused(memo.error));
            } else if self.judge_round(cx, memo.error) {
                self.join_later(cx, Error::Broker(memo.error));
            }
            return;
        }
        self.classic.round = Round::Idle;
        (self.classic.failures, self.failures, self.phase) = (0, 0, Phase::Member);
        self.classic.held = self.epoch;
        self.growth.stirred = true;
        let patience = if self.begins_rounds() { self.patience() } else { Span::ZERO };
        self.growth.resume(cx.now, patience);
        if self.fits(&memo.marked) {
            self.adopt(cx);
            #[cfg(feature = "coverage")]
            self.note_assigned(cx);
            self.look_behind(cx, memo.marked.unresolved || memo.bad);
        }
    }

    /// Whether the coordinator cannot keep this leader's plan, time and again: a group is one
    /// record, which may be larger than the broker allows (`message.max.bytes`).
    fn is_too_much(&mut self, code: ErrorCode) -> bool {
        let classic = &mut self.classic;
        if code != ErrorCode::UNKNOWN_SERVER_ERROR || classic.lead != Lead::Me {
            return false;
        }
        classic.unfit = classic.unfit.saturating_add(1);
        classic.unfit >= TRIES
    }

    /// Looks whether another round has to follow.
    fn look_behind(&mut self, cx: &mut Cx<'d>, unknown: bool) {
        let lead = self.classic.lead;
        let lacks = |slot: &usize| {
            let (topic, interest) = (&cx.cluster.topics[*slot], &self.interests[*slot]);
            interest.wanted && topic.ready && interest.planned < topic.count
        };
        // The starts of what was added come first.
        let waits = |slot: &usize| {
            let interest = &self.interests[*slot];
            let noticed = interest.seen >= cx.cluster.topics[*slot].count;
            interest.planned > 0 && (!noticed || self.growth.prepares())
        };
        let mut lacking = (0..self.interests.len()).filter(lacks);
        let covered = match lead {
            Lead::Kin => true,
            Lead::Me => lacking.clone().next().is_none(),
            _ => self.classic.grew,
        };
        let leads_on = lead == Lead::Me && !lacking.all(|slot| waits(&slot));
        if covered && self.growth.waits() {
            self.growth.over();
        }
        // Nobody has looked for growth since this static member was restarted.
        let blind = lead == Lead::Former || self.classic.skips;
        let first = !core::mem::replace(&mut self.classic.looked, true);
        #[cfg(feature = "coverage")]
        self.check_plan(cx, first);
        #[cfg(feature = "coverage")]
        self.look_behind_plan(cx);
        // A static member gets what it had, whatever it subscribes to now.
        let is_static = cx.settings.instance().is_some();
        let follows = matches!(lead, Lead::Foreign | Lead::Kin);
        let lost = |slot: usize| {
            self.interests[slot].wanted && self.count(cx, slot, &|share| share.target) == 0
        };
        let stale = is_static && follows && (0..self.interests.len()).any(lost);
        if first && (blind || stale) {
            self.rejoin();
        } else if leads_on || unknown {
            // The assignment may be by another subscription than this member's.
            self.rejoin_later(cx, unknown);
        } else {
            self.classic.unfit = 0;
        }
    }

    /// Begins a round because this one was of no use: at once, or ever later.
    fn rejoin_later(&mut self, cx: &mut Cx<'d>, pause: bool) {
        let (base, unfit) = (cx.settings.retry_backoff_max, self.classic.unfit);
        if pause || unfit > 0 {
            self.classic.retry_at = backoff(&mut cx.rng, cx.now, base, base.max(LONGEST), unfit);
        }
        (self.classic.unfit, self.classic.failures) = (unfit.saturating_add(1), 1);
        self.rejoin();
    }

    /// Handles a SyncGroup without a response: it is sent again, to whoever coordinates now.
    pub(in crate::group) fn sync_lost(&mut self, cx: &mut Cx<'d>, serial: u32, error: Error) {
        self.coordinator.forget(cx.now);
        self.dirty = true;
        if serial != self.serial || !self.classic.syncs {
            return;
        }
        self.classic.syncs = false;
        self.classic.retry_at = cx.now + cx.settings.retry_backoff;
        self.note_trouble(cx.now, error);
    }
}
