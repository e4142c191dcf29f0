//! Classic members of a group of KIP-848, and the conversion of groups with members from one
//! protocol to the other (`GroupMetadataManager.classicGroupJoinToConsumerGroup`,
//! `convertToConsumerGroup`, `convertToClassicGroup`).

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::requests::{NAMES_FIRST, Refused, millis, protocols};
use super::{Classic, State, foreign};
use crate::code;
use crate::model::group::member::{self, State as Reached};
use crate::model::group::{Group, Place};
use crate::model::{Cluster, Ctx, Event};
use crate::profile::Profile;

/// What distinguishes a member that follows the classic protocol.
#[derive(Clone, Debug)]
pub(in crate::model::group) struct Hosted {
    came: u64,
    protocols: Vec<(StrBytes, Bytes)>,
    session: Duration,
    /// When it is removed unless it joins again, or sends SyncGroup.
    joins_until: Option<Duration>,
    syncs_until: Option<Duration>,
}

impl Hosted {
    pub(in crate::model::group) fn until(&self) -> Option<Duration> {
        self.joins_until.into_iter().chain(self.syncs_until).min()
    }

    /// Another coordinator has loaded the group; returns the session.
    pub(in crate::model::group) fn load(&mut self) -> Duration {
        (self.joins_until, self.syncs_until) = (None, None);
        self.session
    }

    /// Its subscription is that of the first assignor it lists.
    fn subscription(&self) -> Bytes {
        self.protocols.first().map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    }

    fn names(&self) -> BTreeSet<StrBytes> {
        foreign::topics(&self.subscription()).into_iter().map(StrBytes::from_string).collect()
    }
}

impl Group {
    /// Whether all of its members follow the classic protocol.
    fn hosts_all(&self) -> bool {
        !self.members.is_empty() && self.members.values().all(|member| member.hosted.is_some())
    }

    fn with_instance(&self, instance: &Option<StrBytes>) -> Option<StrBytes> {
        let named = |member: &member::Member| instance.is_some() && member.instance == *instance;
        self.members.iter().find(|(_, member)| named(member)).map(|(id, _)| id.clone())
    }

    /// Whether all classic members support one of these assignors.
    fn supports(&self, id: &StrBytes, given: &BTreeSet<StrBytes>) -> bool {
        let others = self.members.iter().filter(|(other, _)| *other != id);
        let mut common = given.clone();
        for hosted in others.filter_map(|(_, member)| member.hosted.as_ref()) {
            let list: BTreeSet<_> = hosted.protocols.iter().map(|(name, _)| name.clone()).collect();
            common.retain(|name| list.contains(name));
        }
        !common.is_empty()
    }

    /// Whether a partition of a member's target is still another's.
    fn waits_for_others(&self, id: &StrBytes, member: &member::Member) -> bool {
        let target = self.target.get(id).into_iter().flatten();
        let mut missing = target.filter(|place| !member.assigned.contains(*place));
        missing.any(|place| self.owners.get(place).is_some_and(|owner| owner != id))
    }

    /// Finds a member of the classic protocol by what its request names.
    fn hosted(
        &self,
        id: &StrBytes,
        instance: &Option<StrBytes>,
        generation: i32,
    ) -> Result<&member::Member, i16> {
        let Some(member) = self.members.get(id) else {
            return Err(match self.with_instance(instance) {
                Some(_) => code::FENCED_INSTANCE_ID,
                None => code::UNKNOWN_MEMBER_ID,
            });
        };
        if member.hosted.is_none() || member.instance != *instance {
            return Err(code::UNKNOWN_MEMBER_ID);
        }
        match member.epoch == generation {
            true => Ok(member),
            false => Err(code::ILLEGAL_GENERATION),
        }
    }
}

impl Cluster {
    /// Whether classic members of the group are hosted.
    pub(super) fn hosts(&self, name: &StrBytes) -> bool {
        self.groups.get(name).is_some_and(|group| !group.members.is_empty())
    }

    fn may_convert(&self, broker: i32, name: &StrBytes) -> bool {
        // Another client is a member of classic groups only.
        let foreign = self.groups.get(name).is_some_and(|group| group.foreign.is_some());
        self.behaviour().converts && self.profile(broker) >= Profile::V4_4 && !foreign
    }

    /// Converts a classic group, which a first member of KIP-848 joins.
    pub(in crate::model::group) fn convert(
        &mut self,
        ctx: &Ctx,
        name: &StrBytes,
    ) -> Result<(), i16> {
        if !self.may_convert(ctx.broker, name) {
            return Err(code::GROUP_ID_NOT_FOUND);
        }
        let (now, topics) = (self.now, &self.names);
        let Some(group) = self.groups.get_mut(name) else { return Ok(()) };
        let mut classic = core::mem::take(&mut group.classic);
        let held = classic.members.iter_mut().flat_map(|(id, member)| {
            let joins = member.joins.take().map(|ctx| (id.clone(), ctx, true));
            joins.into_iter().chain(member.syncs.take().map(|ctx| (id.clone(), ctx, false)))
        });
        let held: Vec<_> = held.collect();
        let generation = classic.generation;
        (group.epoch, group.target_epoch) = (generation, generation);
        (group.target, group.owners, group.counts) = Default::default();
        let mut ends = Vec::new();
        for (id, one) in classic.members {
            let mut assigned: BTreeSet<Place> = BTreeSet::new();
            for (topic, partitions) in foreign::assigned(&mut one.assignment.clone()) {
                let id = topics.get(topic.as_bytes()).copied();
                assigned.extend(
                    id.into_iter()
                        .flat_map(|id| partitions.iter().map(move |partition| (id, *partition))),
                );
            }
            group.owners.extend(assigned.iter().map(|place| (*place, id.clone())));
            group.target.insert(id.clone(), assigned.clone());
            let hosted = Hosted {
                came: one.came,
                protocols: one.protocols,
                session: one.session,
                joins_until: None,
                syncs_until: None,
            };
            let until = now + one.session;
            let member = member::Member {
                instance: one.instance,
                names: hosted.names(),
                rebalance_timeout: one.rebalance,
                epoch: generation,
                previous: generation,
                assigned,
                session_until: until,
                watched: until,
                hosted: Some(Box::new(hosted)),
                ..member::Member::default()
            };
            group.members.insert(id.clone(), member);
            ends.push((until, id));
        }
        for (until, id) in ends {
            self.schedule(until, Event::Member { group: name.clone(), id });
        }
        for (id, ctx, joins) in held {
            match joins {
                true => self.refuse_join(&ctx, &id, code::REBALANCE_IN_PROGRESS),
                false => self.respond_to_sync(&ctx, Err(code::REBALANCE_IN_PROGRESS)),
            }
        }
        Ok(())
    }

    /// Removes a member of a group of KIP-848; the last one of that protocol converts it back.
    pub(in crate::model::group) fn remove_member(&mut self, name: &StrBytes, id: &StrBytes) {
        let now = self.now;
        let Some(group) = self.groups.get_mut(name) else { return };
        let (epoch, server) = (group.epoch, group.server);
        group.remove(id, now);
        let broker = server.map_or(-1, |(broker, _)| broker);
        if group.hosts_all() && self.may_convert(broker, name) {
            self.convert_back(name, epoch);
        }
    }

    fn convert_back(&mut self, name: &StrBytes, epoch: i32) {
        let (now, topics) = (self.now, &self.topics);
        let Some(group) = self.groups.get_mut(name) else { return };
        let mut classic = Classic { state: State::Stable, generation: epoch, ..Classic::default() };
        for (id, member) in core::mem::take(&mut group.members) {
            let Some(hosted) = member.hosted else { continue };
            let places = member
                .assigned
                .iter()
                .filter_map(|(id, index)| Some((topics.get(id)?.name.clone(), vec![*index])));
            let assignment = foreign::assignment(&places.collect::<Vec<_>>());
            let member = super::Member {
                instance: member.instance,
                came: hosted.came,
                protocols: hosted.protocols,
                session: hosted.session,
                rebalance: member.rebalance_timeout,
                session_until: now + hosted.session,
                watched: Duration::ZERO,
                assignment,
                joins: None,
                syncs: None,
                foreign: false,
            };
            classic.came = classic.came.max(member.came);
            classic.members.insert(id, member);
        }
        let first = classic.members.iter().min_by_key(|(_, member)| member.came);
        classic.leader = first.map(|(id, _)| id.clone());
        classic.protocol = classic.elect();
        classic.store();
        let ids: Vec<_> = classic.members.keys().cloned().collect();
        group.classic = classic;
        (group.target, group.owners, group.counts) = Default::default();
        group.patterns.clear();
        for id in ids {
            self.watch(name, &id);
        }
        self.begin_round(name);
    }

    /// Lets a classic member join a group of KIP-848: it follows, and the broker assigns.
    pub(super) fn host(
        &mut self,
        ctx: &Ctx,
        name: &StrBytes,
        request: &JoinGroupRequest,
    ) -> Result<(), Refused> {
        let number = self.next_member();
        let instance = &request.group_instance_id;
        let Some(group) = self.groups.get_mut(name) else {
            return Err(code::UNKNOWN_SERVER_ERROR.into());
        };
        let holder = group.with_instance(instance);
        let mut id = request.member_id.clone();
        let given = request.protocols.iter().map(|one| one.name.clone()).collect();
        let replaced = holder.as_ref().filter(|_| id.is_empty()).unwrap_or(&id);
        if !group.supports(replaced, &given) {
            return Err(code::INCONSISTENT_GROUP_PROTOCOL.into());
        }
        if id.is_empty() {
            let who = instance.as_deref().unwrap_or("kavka");
            id = StrBytes::from_string(format!("{who}-{number:036}"));
            if instance.is_none() && ctx.version >= NAMES_FIRST {
                return Err(Refused(id, code::MEMBER_ID_REQUIRED));
            }
            if let Some(old) = holder {
                let member = group.members.get(&old).cloned().unwrap_or_default();
                group.rename(&old, &id);
                let member = member::Member { watched: Duration::ZERO, ..member };
                group.members.insert(id.clone(), member);
            }
        } else if holder.is_some_and(|holder| holder != id)
            || group.members.get(&id).is_some_and(|member| member.instance != *instance)
        {
            return Err(code::FENCED_INSTANCE_ID.into());
        }
        self.take_hosted(ctx, name, &id, request, number);
        Ok(())
    }

    fn take_hosted(
        &mut self,
        ctx: &Ctx,
        name: &StrBytes,
        id: &StrBytes,
        request: &JoinGroupRequest,
        number: u64,
    ) {
        let now = self.now;
        let Some(group) = self.groups.get_mut(name) else { return };
        let is_new = !group.members.contains_key(id);
        let member = group.members.entry(id.clone()).or_default();
        let (session, came) = (millis(request.session_timeout_ms), member.hosted.as_ref());
        let hosted = Hosted {
            came: came.map_or(number, |hosted| hosted.came),
            protocols: protocols(request),
            session,
            joins_until: None,
            syncs_until: Some(now + millis(request.rebalance_timeout_ms)),
        };
        let (bytes, names) = (hosted.subscription(), hosted.names());
        group.epoch += i32::from(is_new || member.names != names);
        member.instance = request.group_instance_id.clone();
        member.names = names;
        member.expression = StrBytes::default();
        member.rebalance_timeout = millis(request.rebalance_timeout_ms);
        member.session_until = now + session;
        member.hosted = Some(Box::new(hosted));
        let mut owned: BTreeSet<Place> = BTreeSet::new();
        for (topic, partitions) in foreign::owned(&bytes) {
            let id = self.names.get(topic.as_bytes()).copied();
            owned.extend(
                id.into_iter().flat_map(|id| partitions.iter().map(move |index| (id, *index))),
            );
        }
        self.recount(ctx.broker, name);
        let Some(group) = self.groups.get_mut(name) else { return };
        if group.target_epoch < group.epoch {
            group.assign();
        }
        group.reconcile(id, Some(&owned), now);
        let Some(member) = group.members.get_mut(id) else { return };
        // It is told by heartbeats, and has to join in time.
        member.revoke_until = None;
        let body = JoinGroupResponse::default()
            .with_generation_id(member.epoch)
            .with_protocol_type(Some(StrBytes::from_static_str("consumer")))
            .with_protocol_name(request.protocols.first().map(|one| one.name.clone()))
            .with_member_id(id.clone());
        self.respond_to_join(ctx, body);
        self.watch_hosted(name, id);
    }

    /// Responds to a SyncGroup with what the member may read now.
    pub(super) fn sync_hosted(
        &mut self,
        name: &StrBytes,
        request: &SyncGroupRequest,
    ) -> Result<Bytes, i16> {
        let (now, topics) = (self.now, &self.topics);
        let (id, instance) = (&request.member_id, &request.group_instance_id);
        let group = self.groups.get_mut(name).ok_or(code::UNKNOWN_MEMBER_ID)?;
        let member = group.hosted(id, instance, request.generation_id)?;
        let late = group.epoch > member.epoch && member.state != Reached::Unrevoked;
        let member = group.members.get_mut(id).ok_or(code::UNKNOWN_MEMBER_ID)?;
        let timeout = now + member.rebalance_timeout;
        let hosted = member.hosted.as_mut().ok_or(code::UNKNOWN_MEMBER_ID)?;
        let result = match late {
            true => {
                hosted.joins_until.get_or_insert(timeout);
                Err(code::REBALANCE_IN_PROGRESS)
            }
            false => {
                hosted.syncs_until = None;
                member.session_until = now + hosted.session;
                let places = member
                    .assigned
                    .iter()
                    .filter_map(|(id, index)| Some((topics.get(id)?.name.clone(), vec![*index])));
                Ok(foreign::assignment(&places.collect::<Vec<_>>()))
            }
        };
        self.watch_hosted(name, id);
        result
    }

    /// Handles a Heartbeat: the member has to join again where there is news.
    pub(super) fn pulse_hosted(
        &mut self,
        name: &StrBytes,
        request: &HeartbeatRequest,
    ) -> Result<(), i16> {
        let now = self.now;
        let (id, instance) = (&request.member_id, &request.group_instance_id);
        let group = self.groups.get_mut(name).ok_or(code::UNKNOWN_MEMBER_ID)?;
        let member = group.hosted(id, instance, request.generation_id)?;
        let is_news = match member.state {
            _ if member.epoch < group.epoch => true,
            Reached::Stable => false,
            Reached::Unrevoked => true,
            Reached::Unreleased => !group.waits_for_others(id, member),
        };
        let member = group.members.get_mut(id).ok_or(code::UNKNOWN_MEMBER_ID)?;
        let timeout = now + member.rebalance_timeout;
        let hosted = member.hosted.as_mut().ok_or(code::UNKNOWN_MEMBER_ID)?;
        member.session_until = now + hosted.session;
        if is_news {
            hosted.joins_until.get_or_insert(timeout);
        }
        self.watch_hosted(name, id);
        match is_news {
            true => Err(code::REBALANCE_IN_PROGRESS),
            false => Ok(()),
        }
    }

    /// Returns the id of a hosted member that leaves.
    pub(super) fn hosted_id(&self, name: &StrBytes, one: &MemberIdentity) -> Option<StrBytes> {
        let group = self.groups.get(name)?;
        let by_instance = || group.with_instance(&one.group_instance_id);
        let id = match group.members.contains_key(&one.member_id) {
            true => one.member_id.clone(),
            false if one.member_id.is_empty() => by_instance()?,
            false => return None,
        };
        group.members.get(&id)?.hosted.as_ref().map(|_| id)
    }

    fn watch_hosted(&mut self, name: &StrBytes, id: &StrBytes) {
        let now = self.now;
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(member) = group.members.get_mut(id) else { return };
        let ends = member.ends();
        if member.watched <= now || ends < member.watched {
            member.watched = ends;
            self.schedule(ends, Event::Member { group: name.clone(), id: id.clone() });
        }
    }
}
