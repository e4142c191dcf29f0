//! Rounds: they begin with whoever joins or leaves, and end when all have joined and the leader has
//! assigned, or when their time is over.

use core::time::Duration;

use kafka_protocol::protocol::StrBytes;

use super::State;
use crate::code;
use crate::model::{Cluster, Event};

impl Cluster {
    /// Begins a round, unless one waits for members already.
    pub(super) fn begin_round(&mut self, name: &StrBytes) {
        let (now, delay) = (self.now, self.behaviour().join_delay);
        self.foreign_joins(name);
        let Some(group) = self.groups.get_mut(name).map(|group| &mut group.classic) else {
            return;
        };
        if group.state == State::Preparing {
            return;
        }
        let refused: Vec<_> =
            group.members.values_mut().filter_map(|member| member.syncs.take()).collect();
        let longest = group.members.values().map(|member| member.rebalance).max();
        group.waits = group.state == State::Empty;
        group.until = now + if group.waits { delay } else { longest.unwrap_or_default() };
        group.state = State::Preparing;
        let until = group.until;
        self.schedule(until, Event::Round { group: name.clone() });
        for ctx in refused {
            self.respond_to_sync(&ctx, Err(code::REBALANCE_IN_PROGRESS));
        }
    }

    /// Ends what a round waits for, if it is over.
    pub(in crate::model) fn check_round(&mut self, name: &StrBytes) {
        let now = self.now;
        self.wake_foreign(name);
        let Some(group) = self.groups.get_mut(name).map(|group| &mut group.classic) else {
            return;
        };
        if group.until > now {
            return;
        }
        match group.state {
            State::Preparing => self.complete(name),
            // Who has not synced is gone.
            State::Completing => {
                let late = group.members.iter().filter(|(_, m)| m.syncs.is_none() && !m.foreign);
                let late: Vec<StrBytes> = late.map(|(id, _)| id.clone()).collect();
                for id in late {
                    self.drop_classic(name, &id);
                }
            }
            State::Empty | State::Stable => {}
        }
    }

    /// Completes the part of a round in which members join, if all have or its time is over.
    pub(super) fn complete(&mut self, name: &StrBytes) {
        let now = self.now;
        let Some(known) = self.groups.get_mut(name) else { return };
        let group = &mut known.classic;
        if group.state != State::Preparing {
            return;
        }
        let over = group.until <= now;
        let all = group.pending.is_empty()
            && group.members.values().all(|m| m.joins.is_some() || m.foreign);
        let empty = group.members.is_empty() && group.pending.is_empty();
        if !over && !empty && (group.waits || !all) {
            return;
        }
        group.members.retain(|_, m| m.joins.is_some() || m.instance.is_some() || m.foreign);
        group.generation += 1;
        if group.members.is_empty() {
            (group.state, group.leader) = (State::Empty, None);
            known.empty_since = now;
            group.store();
            return;
        }
        group.protocol = group.elect();
        let joined =
            |id: &StrBytes| group.members.get(id).is_some_and(|m| m.joins.is_some() || m.foreign);
        if !group.leader.as_ref().is_some_and(joined) {
            let first = group.members.iter().filter(|(_, m)| m.joins.is_some() || m.foreign);
            let first = first.min_by_key(|(_, member)| member.came);
            group.leader = first.map(|(id, _)| id.clone());
        }
        (group.state, group.waits) = (State::Completing, false);
        let longest = group.members.values().map(|member| member.rebalance).max();
        group.until = now + longest.unwrap_or(Duration::ZERO);
        let until = group.until;
        let mut joined = Vec::new();
        for (id, member) in &mut group.members {
            if let Some(ctx) = member.joins.take() {
                joined.push((id.clone(), ctx));
            }
        }
        self.schedule(until, Event::Round { group: name.clone() });
        for (id, ctx) in joined {
            let Some(known) = self.groups.get(name) else { return };
            let body = known.classic.welcome(&id);
            self.respond_to_join(&ctx, body);
            self.watch(name, &id);
        }
        self.foreign_assigns(name);
    }
}
