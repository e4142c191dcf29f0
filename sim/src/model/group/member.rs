//! Members of a group, and how each gets to its target assignment (`CurrentAssignmentBuilder`).

use core::time::Duration;
use std::collections::BTreeSet;

use kafka_protocol::protocol::StrBytes;

use super::classic::Hosted;
use super::{Group, Place};

/// How far a member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Stable,
    /// It has to give partitions up, and has not said that it has.
    Unrevoked,
    /// Partitions of its target are still another member's.
    Unreleased,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    pub(super) instance: Option<StrBytes>,
    pub(super) names: BTreeSet<StrBytes>,
    /// The expression that it subscribes by; empty for none.
    pub(super) expression: StrBytes,
    pub(super) rebalance_timeout: Duration,
    pub(super) epoch: i32,
    pub(super) previous: i32,
    pub(super) state: State,
    /// What it may read.
    pub(super) assigned: BTreeSet<Place>,
    /// What it has to give up.
    pub(super) revoked: BTreeSet<Place>,
    pub(super) session_until: Duration,
    pub(super) revoke_until: Option<Duration>,
    /// When it is looked at next.
    pub(super) watched: Duration,
    /// It follows the classic protocol.
    pub(super) hosted: Option<Box<Hosted>>,
}

impl Member {
    /// When it is removed.
    pub(super) fn ends(&self) -> Duration {
        let hosted = self.hosted.as_ref().and_then(|hosted| hosted.until());
        let until = self.revoke_until.into_iter().chain(hosted).min();
        until.map_or(self.session_until, |until| until.min(self.session_until))
    }

    /// Whether the owned partitions that it names allow it an epoch that is not the broker's: the
    /// response that had that one was lost.
    pub(super) fn knows(&self, epoch: i32, owned: Option<&BTreeSet<Place>>) -> bool {
        epoch == self.epoch
            || epoch == self.previous
                && epoch < self.epoch
                && owned.is_some_and(|owned| owned.is_subset(&self.assigned))
    }
}

impl Group {
    pub(super) fn remove(&mut self, id: &StrBytes, now: Duration) {
        if self.members.remove(id).is_none() {
            return;
        }
        self.owners.retain(|_, owner| owner != id);
        self.target.remove(id);
        self.epoch += 1;
        if self.members.is_empty() {
            self.empty_since = now;
        }
    }

    /// Takes a member as far towards its target as it gets; `owned`: what it says that it has.
    pub(super) fn reconcile(
        &mut self,
        id: &StrBytes,
        owned: Option<&BTreeSet<Place>>,
        now: Duration,
    ) {
        let Some(mut member) = self.members.get(id).cloned() else { return };
        let still = |places: &BTreeSet<Place>| {
            owned.is_none_or(|owned| places.iter().any(|place| owned.contains(place)))
        };
        let behind = member.epoch != self.target_epoch;
        match member.state {
            State::Stable if !behind => {}
            State::Unrevoked if still(&member.revoked) => {}
            _ => self.next(id, &mut member, &still, now),
        }
        self.owners.retain(|_, owner| owner != id);
        for place in member.assigned.union(&member.revoked) {
            self.owners.insert(*place, id.clone());
        }
        self.members.insert(id.clone(), member);
    }

    fn next(
        &self,
        id: &StrBytes,
        member: &mut Member,
        still: &dyn Fn(&BTreeSet<Place>) -> bool,
        now: Duration,
    ) {
        let none = BTreeSet::new();
        let target = self.target.get(id).unwrap_or(&none);
        let kept: BTreeSet<Place> = member.assigned.intersection(target).copied().collect();
        let revoked: BTreeSet<Place> = member.assigned.difference(target).copied().collect();
        if !revoked.is_empty() && still(&revoked) {
            if member.state != State::Unrevoked || member.revoked != revoked {
                member.revoke_until = Some(now + member.rebalance_timeout);
            }
            (member.state, member.assigned, member.revoked) = (State::Unrevoked, kept, revoked);
            return;
        }
        let free = |place: &&Place| self.owners.get(place).is_none_or(|owner| owner == id);
        let (new, held): (Vec<_>, Vec<_>) = target.difference(&kept).partition(free);
        member.assigned = kept.iter().chain(new).copied().collect();
        member.revoked = BTreeSet::new();
        member.revoke_until = None;
        member.state = if held.is_empty() { State::Stable } else { State::Unreleased };
        if member.epoch != self.target_epoch {
            (member.previous, member.epoch) = (member.epoch, self.target_epoch);
        }
    }
}
