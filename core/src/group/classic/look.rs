//! As leader: whether topics grew that other members subscribe to and this one does not. Java's
//! leader watches all topics of its group, too (`ConsumerCoordinator`, `groupSubscribe`). Counts of
//! the last plan are kept by the leader, so that a look takes no memory per partition.
//!
//! Where a member has a rack, all topics are looked at now and then: whether the racks of replicas
//! are still those of the last plan (KIP-881).

use super::{CountsMemo, Lead, Round};
use crate::api::Kind;
use crate::cluster::{Cluster, Cx};
use crate::group::{AGAIN, Group, Interest, Phase};
use crate::time::{Span, Tick};
use crate::wire::{Full, Uuid, metadata};

/// A response has some 40 bytes for each partition: looks at many are rarer, so that they cost no
/// more than about 4 KB a second.
const PER_PARTITION_MS: u32 = 10;
/// Rounds in a row that looks led to and that planned without what was seen, as of a broker that is
/// behind: each doubles the pause, up to this many.
const VAIN: u8 = 6;

/// When the next look is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    at: Tick,
    in_flight: bool,
    vain: u8,
    /// When racks are compared next, and whether the look in flight does.
    racks_at: Tick,
    all: bool,
}

impl Look {
    pub(super) const NONE: Self =
        Self { at: Tick::NEVER, in_flight: false, vain: 0, racks_at: Tick::NEVER, all: false };

    pub(super) fn age(&mut self, by: Span) {
        self.at.age(by);
        self.racks_at.age(by);
    }
}

impl<'d> Group<'d> {
    /// A round has ended: its plan is by the racks of now.
    pub(super) fn look_behind_plan(&mut self, cx: &Cx<'d>) {
        self.classic.look.racks_at = Tick::NEVER;
        self.look_later(cx);
    }

    /// A round has ended, or a look: the next one is due after a pause.
    pub(super) fn look_later(&mut self, cx: &Cx<'d>) {
        let leads = self.classic.lead == Lead::Me;
        let (leader, interests) = (&self.classic.leader, &self.interests);
        let racks = leads && leader.wants_racks();
        let others = leader.topics().enumerate();
        let others = others.filter(|(_, name)| leads && is_others(&cx.cluster, interests, name));
        let counts = others.map(|(place, _)| leader.counted(place));
        let partitions = counts.reduce(u32::saturating_add);
        let look = &mut self.classic.look;
        (look.in_flight, look.all) = (false, false);
        if !racks {
            look.racks_at = Tick::NEVER;
        } else if look.racks_at <= cx.now || look.racks_at == Tick::NEVER {
            look.racks_at = cx.now + cx.settings.metadata_max_age;
        }
        look.at = partitions.map_or(Tick::NEVER, |partitions| {
            let idle = cx.settings.probe_idle.millis().unsigned_abs();
            let pause = partitions.saturating_mul(PER_PARTITION_MS).saturating_add(idle);
            let pause = Span::from_millis(pause.saturating_mul(1 << look.vain));
            cx.now + pause.min(cx.settings.metadata_max_age)
        });
    }

    /// Requests the counts of the topics of others, if that is due; returns when it is.
    pub(super) fn send_look(&mut self, cx: &mut Cx<'d>) -> Tick {
        let look = &self.classic.look;
        if look.in_flight || self.classic.due || self.classic.lead != Lead::Me {
            return Tick::NEVER;
        }
        let due = look.at.min(look.racks_at);
        if due > cx.now {
            return due;
        }
        let all = look.racks_at <= cx.now;
        let (leader, interests) = (&self.classic.leader, &self.interests);
        let is_due = |name: &&str| all || is_others(&cx.cluster, interests, name);
        let topics = leader.topics().filter(is_due).count();
        if topics == 0 {
            self.classic.look.at = Tick::NEVER;
            return self.classic.look.racks_at;
        }
        let Some(conn) = cx.pick_main(None, Kind::Counts) else { return cx.now + AGAIN };
        let Some(mut draft) = cx.net.open(conn, cx.now, Kind::Counts, i16::MAX) else {
            return cx.now + AGAIN;
        };
        let (leader, interests) = (&self.classic.leader, &self.interests);
        let (net, cluster) = (&mut cx.net, &cx.cluster);
        let written = net.write(&mut draft, &mut |w, version| {
            metadata::begin(w, version, Some(topics))?;
            let is_due = |name: &&str| all || is_others(cluster, interests, name);
            for name in leader.topics().filter(is_due) {
                metadata::topic(w, version, Uuid::ZERO, Some(name))?;
            }
            metadata::end(w, version, false)
        });
        if let Err(Full) = written {
            cx.net.abandon(draft);
            return cx.now + AGAIN;
        }
        (self.classic.look.in_flight, self.classic.look.all) = (true, all);
        self.classic.leader.begin_racks(false);
        self.classic.asked = self.classic.asked.wrapping_add(1);
        let tag = [self.serial, self.classic.asked];
        cx.net.send(cx.now, draft, tag, cx.settings.request_timeout);
        Tick::NEVER
    }

    /// Whether a response has what a look waits for.
    pub(super) fn awaits_look(&self, [serial, asked]: [u32; 2]) -> bool {
        let classic = &self.classic;
        let current = serial == self.serial && asked == classic.asked && classic.look.in_flight;
        current && classic.round == Round::Idle && self.phase == Phase::Member
    }

    /// Compares how many partitions a topic has with the last plan. Growth of a topic of this
    /// member's own is for others to see: its starts are committed first.
    pub(super) fn look_at_count(
        &self,
        cx: &Cx<'d>,
        memo: &mut CountsMemo,
        (place, count): (usize, u32),
    ) {
        let counted = self.classic.leader.counted(place);
        memo.sure += usize::from(count == counted);
        let Some(name) = self.classic.leader.topics().nth(place) else { return };
        memo.grown |= count > counted && is_others(&cx.cluster, &self.interests, name);
    }

    /// A look has no response: the next one is of another broker.
    pub(super) fn look_lost(&mut self, cx: &Cx<'d>) {
        let all = self.classic.look.all;
        self.look_later(cx);
        if all {
            self.classic.look.racks_at = cx.now + cx.settings.retry_backoff_max;
        }
        self.dirty = true;
    }

    /// A look has ended. What it found begins a round, which reads counts anew.
    pub(super) fn look_done(&mut self, cx: &Cx<'d>, memo: &CountsMemo) {
        let (grown, leader) = (memo.grown, &self.classic.leader);
        // Where partitions came or went as well, their round comes first.
        let same = self.classic.look.all && memo.sure == leader.topics().count();
        let moved = same && leader.have_racks_moved();
        let vain = self.classic.look.vain;
        self.classic.look.vain = if grown { vain.saturating_add(1).min(VAIN) } else { 0 };
        self.look_later(cx);
        self.dirty = true;
        if guard!("growth of a topic of others begins a round", grown) || moved {
            self.rejoin();
        }
    }
}

/// Whether other members alone subscribe to a topic of the group.
fn is_others(cluster: &Cluster<'_>, interests: &[Interest], name: &str) -> bool {
    let slot = cluster.named_or_id(Some(name), Uuid::ZERO);
    !slot.is_some_and(|slot| interests[slot].wanted)
}
