//! Under the leader of another client: whether all partitions are some member's. A leader may plan
//! by counts that are minutes old (Java, franz-go), and a member sees its own part alone, so
//! DescribeGroups is requested. What no member has gets one round, and another one each minute.

use super::join::is_uuid;
use super::{Lead, Round};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::connection::Origin;
use crate::group::{AGAIN, Group, Phase};
use crate::id::TopicId;
use crate::time::{Span, Tick};
use crate::wire::consumer_protocol::{Assignment, Subscription, Topics};
use crate::wire::table::Segment;
use crate::wire::{Encode, ErrorCode, Uuid, describe_groups};

/// A plan is checked so long after its round: a cooperative one is followed by another at once.
const SETTLED: Span = Span::from_secs(2);
/// Between two looks: each response describes the whole group.
const NEXT: Span = Span::from_millis(100);
/// Pause between rounds because of partitions that the leader leaves out. A bit more, up to a
/// quarter, so that of several members one begins.
const PAUSE: Span = Span::from_secs(60);
/// Partitions of a topic that one request checks.
const WINDOW: u32 = 256;
/// Bytes that are kept of the leader's client id.
const NAME: usize = 64;

/// Partitions that no member has.
#[derive(Clone, Copy, Debug)]
pub(in crate::group) struct Unassigned {
    pub(in crate::group) topic: TopicId,
    pub(in crate::group) first: u32,
    pub(in crate::group) last: u32,
    pub(in crate::group) partitions: u32,
}

/// What is to be checked.
#[derive(Clone, Copy, Debug)]
pub(in crate::group) struct Cover {
    /// When the next request is due.
    look_at: Tick,
    in_flight: bool,
    /// The leader has had a round to assign what is open, since the last pause.
    tried: bool,
    /// What is open was reported.
    told: bool,
    pub(in crate::group) news: Option<Unassigned>,
    /// Topics from here on are still to be checked this time; some before lacked a member.
    next: u16,
    missing: bool,
    /// The topic of the request, its first partition, and which are some member's from there on.
    slot: u16,
    from: u32,
    owned: [u32; WINDOW as usize / 32],
    leader: [u8; NAME],
    leader_len: u8,
}

/// A response as it streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CoverMemo {
    valid: bool,
    error: ErrorCode,
    stable: bool,
    /// An assignment cannot be read.
    unclear: bool,
}

impl Cover {
    pub(super) const NONE: Self = Self {
        look_at: Tick::NEVER,
        in_flight: false,
        tried: false,
        told: false,
        news: None,
        next: 0,
        missing: false,
        slot: 0,
        from: 0,
        owned: [0; WINDOW as usize / 32],
        leader: [0; NAME],
        leader_len: 0,
    };

    pub(super) fn age(&mut self, by: Span) {
        self.look_at.age(by);
    }

    /// Forgets what is under way: another membership begins.
    pub(super) const fn renew(&mut self) {
        (self.look_at, self.in_flight) = (Tick::NEVER, false);
        (self.tried, self.told, self.news) = (false, false, None);
        (self.next, self.missing) = (0, false);
    }

    /// Keeps the client id of the leader: brokers put it in front of the member id.
    pub(super) fn note_leader(&mut self, id: &str) {
        let name = id.len().checked_sub(37).and_then(|at| id.split_at_checked(at));
        let name = name.filter(|(_, rest)| rest.strip_prefix('-').is_some_and(is_uuid));
        let name = name.map_or(id, |(name, _)| name);
        let mut len = name.len().min(NAME);
        while !name.is_char_boundary(len) {
            len -= 1;
        }
        if let (Some(to), Some(from)) = (self.leader.get_mut(..len), name.as_bytes().get(..len)) {
            to.copy_from_slice(from);
            self.leader_len = len as u8;
        }
    }

    pub(in crate::group) fn leader(&self) -> &str {
        let bytes = self.leader.get(..usize::from(self.leader_len)).unwrap_or_default();
        str::from_utf8(bytes).unwrap_or_default()
    }
}

impl<'d> Group<'d> {
    /// Growth came, and another member leads: these partitions may stay unassigned.
    pub(in crate::group) fn suspect(&mut self, slot: usize, from: u32) {
        if self.classic.on && !self.begins_rounds() {
            let open = &mut self.interests[slot].open;
            *open = if *open == 0 { from + 1 } else { (*open).min(from + 1) };
            self.classic.cover.told = false;
        }
    }

    /// The leader began no round because of growth: unless all is assigned this member does.
    pub(in crate::group) fn check_growth(&mut self, now: Tick) {
        let cover = &mut self.classic.cover;
        (cover.tried, cover.look_at) = (false, now);
        (cover.next, cover.missing) = (0, false);
        self.dirty = true;
    }

    /// A round has ended: what is open is checked when no other one follows. `first`: of this
    /// membership, so that nothing is known of the leader's plans.
    pub(super) fn check_plan(&mut self, cx: &Cx<'d>, first: bool) {
        let (lead, mut any) = (self.classic.lead, false);
        for interest in self.interests.iter_mut() {
            match lead {
                Lead::Foreign if first && interest.wanted => interest.open = 1,
                Lead::Foreign | Lead::Kin => {}
                _ => interest.open = 0,
            }
            any |= interest.open > 0;
        }
        let cover = &mut self.classic.cover;
        (cover.tried, cover.next, cover.missing) = (true, 0, false);
        cover.look_at = if any { cx.now + SETTLED } else { Tick::NEVER };
    }

    /// Requests who has what, if that is due; returns when it is.
    pub(super) fn send_cover(&mut self, cx: &mut Cx<'d>, conn: usize) -> Tick {
        let cover = &self.classic.cover;
        // The leader has its turn while growth waits.
        if cover.in_flight || self.classic.due || self.growth.waits() {
            return Tick::NEVER;
        }
        if cover.look_at > cx.now {
            return cover.look_at;
        }
        let open = |slot: &usize| {
            let interest = &self.interests[*slot];
            interest.open > 0 && interest.wanted && cx.cluster.topics[*slot].ready
        };
        let Some(slot) = (usize::from(cover.next)..self.interests.len()).find(open) else {
            self.end_check(cx);
            return cx.now;
        };
        if cx.net.conns[conn].versions.lacks(Kind::Cover).is_some() {
            self.cannot_tell();
            return cx.now;
        }
        let (groups, operations) = ([&*cx.settings.group], false);
        let request =
            describe_groups::Request { groups: &groups, include_authorized_operations: operations };
        let draft =
            cx.net.draft(conn, cx.now, Kind::Cover, &mut |w, version| request.encode(version, w));
        let Some(draft) = draft else { return cx.now + AGAIN };
        let cover = &mut self.classic.cover;
        (cover.in_flight, cover.owned) = (true, [0; WINDOW as usize / 32]);
        (cover.slot, cover.from) = (slot as u16, self.interests[slot].open - 1);
        let timeout = cx.settings.request_timeout;
        cx.net.send(cx.now, draft, [self.serial, self.epoch as u32], timeout);
        Tick::NEVER
    }

    pub(in crate::group) fn on_cover(
        &mut self,
        cx: &Cx<'d>,
        from: &Origin,
        memo: &mut CoverMemo,
        got: Segment<'_, '_>,
    ) {
        if from.requested.tag[0] != self.serial || !self.classic.cover.in_flight {
            return;
        }
        match describe_groups::item(got) {
            Some(describe_groups::Item::Group { error, state, .. }) => {
                (memo.valid, memo.error, memo.stable) = (true, error, state == "Stable");
            }
            Some(describe_groups::Item::Member { metadata, assignment, .. }) => {
                // What it gives up, in its own time, is still its own.
                if let Ok(read) = Subscription::read(metadata) {
                    self.note_owned(cx, read.owned);
                }
                match Assignment::read(assignment) {
                    Ok(read) => self.note_owned(cx, read.topics),
                    // A member of whom nothing is known may have everything.
                    Err(_) => memo.unclear |= !assignment.is_empty(),
                }
            }
            Some(describe_groups::Item::Skipped) => memo.unclear = true,
            _ => {}
        }
    }

    /// Notes what a member has of the window.
    fn note_owned(&mut self, cx: &Cx<'d>, topics: Topics<'_>) {
        let cover = &mut self.classic.cover;
        for (name, partitions) in topics {
            let slot = cx.cluster.named_or_id(Some(name), Uuid::ZERO);
            if slot != Some(usize::from(cover.slot)) {
                continue;
            }
            for at in partitions.filter_map(|index| u32::try_from(index).ok()) {
                let Some(at) = at.checked_sub(cover.from) else { continue };
                if let Some(word) = cover.owned.get_mut((at / 32) as usize) {
                    *word |= 1 << (at % 32);
                }
            }
        }
    }

    pub(in crate::group) fn cover_done(
        &mut self,
        cx: &mut Cx<'d>,
        [serial, generation]: [u32; 2],
        memo: &CoverMemo,
    ) {
        if serial != self.serial || !self.classic.cover.in_flight {
            return;
        }
        (self.classic.cover.in_flight, self.dirty) = (false, true);
        // The end of a round has it checked again.
        let rests = self.phase == Phase::Member && self.classic.round == Round::Idle;
        if generation != self.epoch as u32 || !rests {
            return;
        }
        let again = memo.error.passes_at_coordinators();
        if !memo.valid || again || memo.error.0 == 0 && !memo.stable {
            self.classic.cover.look_at = cx.now + SETTLED;
        } else if memo.error.0 != 0 || memo.unclear {
            self.cannot_tell();
        } else {
            self.judge_cover(cx);
        }
    }

    /// What the members have of the window is known.
    fn judge_cover(&mut self, cx: &mut Cx<'d>) {
        let cover = &mut self.classic.cover;
        let slot = usize::from(cover.slot);
        let count = cx.cluster.topics[slot].count;
        let end = count.min(cover.from.saturating_add(WINDOW));
        let is_open = |at: &u32| {
            let at = at - cover.from;
            cover.owned[(at / 32) as usize] >> (at % 32) & 1 == 0
        };
        let mut open = (cover.from..end).filter(is_open);
        let Some(first) = open.next() else {
            let interest = &mut self.interests[slot];
            interest.open = if end < count { end + 1 } else { 0 };
            cover.look_at = cx.now + NEXT;
            return;
        };
        let (mut last, mut partitions) = (first, 1);
        for at in open {
            (last, partitions) = (at, partitions + 1);
        }
        (cover.next, cover.missing, cover.look_at) = (cover.slot + 1, true, cx.now + NEXT);
        if cover.tried && !cover.told {
            let topic = cx.cluster.topic_id(slot);
            cover.news = Some(Unassigned { topic, first, last, partitions });
        }
        // Before the first round growth has done that.
        if cover.tried {
            self.seed_open(cx, first..last + 1);
        }
    }

    /// All that was open has been checked.
    fn end_check(&mut self, cx: &mut Cx<'d>) {
        let cover = &mut self.classic.cover;
        (cover.next, cover.look_at) = (0, Tick::NEVER);
        if !core::mem::take(&mut cover.missing) {
            return;
        }
        if !core::mem::replace(&mut cover.tried, true) {
            return self.rejoin();
        }
        let more = cx.rng.below(PAUSE.millis().unsigned_abs() / 4);
        let pause = guard!("rounds in vain are a minute apart", PAUSE => SETTLED);
        cover.look_at = cx.now + pause + Span::from_millis(more);
        (cover.tried, cover.told) = (false, true);
    }

    /// Has the starts of those committed that were added since the group first read the topic: who
    /// saw them come may be gone, and another client would begin at their end.
    fn seed_open(&mut self, cx: &mut Cx<'d>, range: core::ops::Range<u32>) {
        let Cover { slot, from, owned, .. } = self.classic.cover;
        let seeds = Self::seeds(cx);
        let interest = &self.interests[usize::from(slot)];
        let knows = interest.marked && !interest.fresh && seeds;
        let first = range.start.max(interest.count);
        if guard!("what nobody has gets its start", !knows => true) {
            return;
        }
        for index in first..range.end.max(first) {
            let at = index - from;
            if owned.get((at / 32) as usize).is_some_and(|word| word >> (at % 32) & 1 == 0) {
                self.seed(cx, usize::from(slot), index..index + 1);
            }
        }
        (self.work, self.dirty) = (true, true);
    }

    /// Nothing can be said about what members have: there is one round, and that is it.
    fn cannot_tell(&mut self) {
        for interest in self.interests.iter_mut() {
            interest.open = 0;
        }
        let cover = &mut self.classic.cover;
        cover.look_at = Tick::NEVER;
        if !core::mem::replace(&mut cover.tried, true) {
            self.rejoin();
        }
    }

    pub(in crate::group) fn cover_lost(&mut self, cx: &Cx<'d>, serial: u32) {
        if serial == self.serial {
            (self.classic.cover.in_flight, self.dirty) = (false, true);
            self.classic.cover.look_at = cx.now + SETTLED;
        }
    }
}
