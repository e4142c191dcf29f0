//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, LeaveGroupRequest, LeaveGroupResponse,
    ResponseKind, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::{Classic, Member, State};
use crate::code;
use crate::model::{Cluster, Ctx, Event, Reply};

/// First version that gives an id before it lets a member join (KIP-394).
pub(super) const NAMES_FIRST: i16 = 4;

pub(super) fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

impl Cluster {
    pub(in crate::model) fn join_group(&mut self, ctx: &Ctx, request: &JoinGroupRequest) -> Reply {
        let name = request.group_id.0.clone();
        let joined = match self.coordinates(ctx, &name) {
            Ok(()) => self.join(ctx, &name, request),
            Err(code) => Err(code.into()),
        };
        match joined {
            Ok(()) => self.complete(&name),
            Err(Refused(id, code)) => self.refuse_join(ctx, &id, code),
        }
        Reply::Later
    }

    fn join(
        &mut self,
        ctx: &Ctx,
        name: &StrBytes,
        request: &JoinGroupRequest,
    ) -> Result<(), Refused> {
        let now = self.now;
        let wrong = request.protocols.is_empty() || &*request.protocol_type != "consumer";
        let made = self.groups.entry(name.clone()).or_default();
        made.server = made.server.or(Some((ctx.broker, now)));
        if wrong {
            return Err(code::INCONSISTENT_GROUP_PROTOCOL.into());
        }
        if !made.members.is_empty() {
            return self.host(ctx, name, request);
        }
        let group = &mut made.classic;
        let given: BTreeSet<_> = request.protocols.iter().map(|one| one.name.clone()).collect();
        let suits = group.members.is_empty()
            || group.members.len() == 1 && group.members.contains_key(&request.member_id)
            || group.common().intersection(&given).next().is_some();
        if !suits {
            return Err(code::INCONSISTENT_GROUP_PROTOCOL.into());
        }
        let id = request.member_id.clone();
        if id.is_empty() {
            return self.join_as_new(ctx, name, request);
        }
        if group.pending.remove(&id).is_some() {
            self.admit_classic(ctx, name, &id, request);
            return Ok(());
        }
        let Some(member) = group.members.get(&id) else {
            return Err(code::UNKNOWN_MEMBER_ID.into());
        };
        if member.instance.is_some() && member.instance != request.group_instance_id {
            return Err(code::FENCED_INSTANCE_ID.into());
        }
        self.join_again(ctx, name, &id, request);
        Ok(())
    }

    fn join_as_new(
        &mut self,
        ctx: &Ctx,
        name: &StrBytes,
        request: &JoinGroupRequest,
    ) -> Result<(), Refused> {
        let (now, number) = (self.now, self.next_member());
        let instance = request.group_instance_id.clone();
        let who = instance.as_deref().unwrap_or("kavka");
        let id = StrBytes::from_string(format!("{who}-{number:036}"));
        let Some(group) = self.groups.get_mut(name).map(|group| &mut group.classic) else {
            return Err(code::UNKNOWN_SERVER_ERROR.into());
        };
        if instance.is_none() && ctx.version >= NAMES_FIRST {
            let until = now + millis(request.session_timeout_ms);
            group.pending.insert(id.clone(), until);
            self.schedule(until, Event::Member { group: name.clone(), id: id.clone() });
            return Err(Refused(id, code::MEMBER_ID_REQUIRED));
        }
        let old = group
            .members
            .iter()
            .find(|(_, member)| instance.is_some() && member.instance == instance)
            .map(|(id, _)| id.clone());
        match old {
            Some(old) => self.replace(ctx, name, (&old, &id), request),
            None => self.admit_classic(ctx, name, &id, request),
        }
        Ok(())
    }

    /// Lets a static member take the place that it had before its restart.
    fn replace(
        &mut self,
        ctx: &Ctx,
        name: &StrBytes,
        (old, id): (&StrBytes, &StrBytes),
        request: &JoinGroupRequest,
    ) {
        let Some(group) = self.groups.get_mut(name).map(|group| &mut group.classic) else { return };
        let Some(mut member) = group.members.remove(old) else { return };
        let (joins, syncs) = (member.joins.take(), member.syncs.take());
        let before = group.protocol.clone();
        member.take(request);
        member.watched = Duration::ZERO;
        group.members.insert(id.clone(), member);
        let led = group.leader.as_ref() == Some(old);
        let former = led.then(|| old.clone());
        if led {
            group.leader = Some(id.clone());
        }
        let stays = group.state == State::Stable && group.elect() == before;
        if let Some(ctx) = joins {
            self.refuse_join(&ctx, old, code::FENCED_INSTANCE_ID);
        }
        if let Some(ctx) = syncs {
            self.respond_to_sync(&ctx, Err(code::FENCED_INSTANCE_ID));
        }
        self.watch(name, id);
        if !stays {
            return self.join_again(ctx, name, id, request);
        }
        // Nobody is disturbed; the leader is told that it need not assign (KIP-814), and before
        // that it is told of its former self.
        let Some(group) = self.groups.get_mut(name).map(|group| &mut group.classic) else { return };
        group.store();
        let mut body = group.welcome(id);
        match former {
            Some(_) if ctx.version >= 9 => body.skip_assignment = true,
            Some(former) => {
                body.leader = former;
                body.members.clear();
            }
            None => {}
        }
        self.respond_to_join(ctx, body);
    }

    /// Takes a new member in.
    fn admit_classic(
        &mut self,
        ctx: &Ctx,
        name: &StrBytes,
        id: &StrBytes,
        request: &JoinGroupRequest,
    ) {
        let Some(group) = self.groups.get_mut(name).map(|group| &mut group.classic) else { return };
        group.came += 1;
        let mut member = Member {
            instance: request.group_instance_id.clone(),
            came: group.came,
            protocols: Vec::new(),
            session: Duration::ZERO,
            rebalance: Duration::ZERO,
            session_until: Duration::ZERO,
            watched: Duration::ZERO,
            assignment: Bytes::new(),
            joins: Some(ctx.clone()),
            syncs: None,
            foreign: false,
        };
        member.take(request);
        group.members.insert(id.clone(), member);
        self.watch(name, id);
        self.begin_round(name);
    }

    /// A member joins again: a round begins, unless nothing would change.
    fn join_again(
        &mut self,
        ctx: &Ctx,
        name: &StrBytes,
        id: &StrBytes,
        request: &JoinGroupRequest,
    ) {
        let Some(group) = self.groups.get_mut(name).map(|group| &mut group.classic) else { return };
        let leads = group.leader.as_ref() == Some(id);
        let Some(member) = group.members.get_mut(id) else { return };
        let same = member.protocols == protocols(request);
        let stays = match group.state {
            State::Completing => same,
            State::Stable => same && !leads,
            State::Empty | State::Preparing => false,
        };
        member.take(request);
        if !stays {
            member.joins = Some(ctx.clone());
        }
        self.watch(name, id);
        if stays {
            let body = self.groups.get(name).map(|group| group.classic.welcome(id));
            return self.respond_to_join(ctx, body.unwrap_or_default());
        }
        self.begin_round(name);
    }

    pub(in crate::model) fn sync_group(&mut self, ctx: &Ctx, request: &SyncGroupRequest) -> Reply {
        let name = request.group_id.0.clone();
        let (id, instance) = (request.member_id.clone(), &request.group_instance_id);
        let allowed = self.coordinates(ctx, &name);
        if allowed.is_ok() && self.hosts(&name) {
            let result = self.sync_hosted(&name, request);
            self.respond_to_sync(ctx, result);
            return Reply::Later;
        }
        let known = allowed.and_then(|()| self.known(&name, &id, instance, request.generation_id));
        let state = known.and_then(|state| match state {
            State::Empty => Err(code::UNKNOWN_MEMBER_ID),
            State::Preparing => Err(code::REBALANCE_IN_PROGRESS),
            State::Completing | State::Stable => Ok(state),
        });
        if let Err(code) = state {
            self.respond_to_sync(ctx, Err(code));
            return Reply::Later;
        }
        self.watch(&name, &id);
        let Some(group) = self.groups.get_mut(&name).map(|group| &mut group.classic) else {
            return Reply::Close;
        };
        if let Some(member) = group.members.get_mut(&id) {
            member.syncs = Some(ctx.clone());
        }
        let assigns = group.state == State::Completing && group.leader.as_ref() == Some(&id);
        if assigns {
            for member in group.members.values_mut() {
                member.assignment = Bytes::new();
            }
            for one in &request.assignments {
                if let Some(member) = group.members.get_mut(&one.member_id) {
                    member.assignment = one.assignment.clone();
                }
            }
            group.state = State::Stable;
            group.store();
        }
        if group.state == State::Stable {
            let mut ready = Vec::new();
            for member in group.members.values_mut() {
                ready.extend(member.syncs.take().map(|ctx| (ctx, member.assignment.clone())));
            }
            for (ctx, bytes) in ready {
                self.respond_to_sync(&ctx, Ok(bytes));
            }
            if assigns {
                self.foreign_takes(&name);
            }
        }
        Reply::Later
    }

    pub(in crate::model) fn heartbeat(&mut self, ctx: &Ctx, request: &HeartbeatRequest) -> Reply {
        let name = request.group_id.0.clone();
        let (id, instance) = (request.member_id.clone(), &request.group_instance_id);
        let allowed = self.coordinates(ctx, &name);
        let hosts = allowed.is_ok() && self.hosts(&name);
        let known = allowed.and_then(|()| self.known(&name, &id, instance, request.generation_id));
        let code = match known {
            _ if hosts => self.pulse_hosted(&name, request).err().unwrap_or(code::NONE),
            Ok(State::Empty) => code::UNKNOWN_MEMBER_ID,
            Ok(State::Preparing) => code::REBALANCE_IN_PROGRESS,
            Ok(State::Completing | State::Stable) => code::NONE,
            Err(code) => code,
        };
        if known.is_ok() && !hosts {
            self.watch(&name, &id);
        }
        let body = HeartbeatResponse::default()
            .with_throttle_time_ms(ctx.throttle())
            .with_error_code(ctx.reported(code));
        Reply::Now(ctx.respond(ResponseKind::Heartbeat(body)))
    }

    /// Returns the state of the group of a member, if it is of this generation.
    fn known(
        &self,
        name: &StrBytes,
        id: &StrBytes,
        instance: &Option<StrBytes>,
        generation: i32,
    ) -> Result<State, i16> {
        let group = self.groups.get(name).map(|group| &group.classic);
        let group = group.ok_or(code::UNKNOWN_MEMBER_ID)?;
        let holder = |member: &Member| instance.is_some() && member.instance == *instance;
        let Some(member) = group.members.get(id) else {
            return Err(match group.members.values().any(holder) {
                true => code::FENCED_INSTANCE_ID,
                false => code::UNKNOWN_MEMBER_ID,
            });
        };
        if member.instance != *instance {
            return Err(code::UNKNOWN_MEMBER_ID);
        }
        match generation == group.generation {
            true => Ok(group.state),
            false => Err(code::ILLEGAL_GENERATION),
        }
    }

    /// Whether a member of a classic group may commit.
    pub(in crate::model::group) fn may_commit_classic(
        &mut self,
        name: &StrBytes,
        id: &StrBytes,
        instance: &Option<StrBytes>,
        generation: i32,
    ) -> Result<(), i16> {
        match self.known(name, id, instance, generation)? {
            State::Completing => Err(code::REBALANCE_IN_PROGRESS),
            _ => {
                self.watch(name, id);
                Ok(())
            }
        }
    }

    pub(in crate::model) fn leave_group(
        &mut self,
        ctx: &Ctx,
        request: &LeaveGroupRequest,
    ) -> Reply {
        let name = request.group_id.0.clone();
        let mut body = LeaveGroupResponse::default().with_throttle_time_ms(ctx.throttle());
        let mut members = request.members.clone();
        if ctx.version < 3 {
            members.push(MemberIdentity::default().with_member_id(request.member_id.clone()));
        }
        body.error_code = self.coordinates(ctx, &name).err().unwrap_or(code::NONE);
        if body.error_code != code::NONE {
            members.clear();
        }
        for one in members {
            let hosted = self.hosted_id(&name, &one);
            let id = hosted.clone().or_else(|| self.id_of(&name, &one));
            let code = match id {
                Some(id) if hosted.is_some() => {
                    self.remove_member(&name, &id);
                    code::NONE
                }
                Some(id) => {
                    if let Some(group) = self.groups.get_mut(&name) {
                        group.classic.pending.remove(&id);
                    }
                    self.drop_classic(&name, &id);
                    self.complete(&name);
                    code::NONE
                }
                None => code::UNKNOWN_MEMBER_ID,
            };
            if ctx.version < 3 {
                body.error_code = code;
                continue;
            }
            body.members.push(
                MemberResponse::default()
                    .with_member_id(one.member_id)
                    .with_group_instance_id(one.group_instance_id)
                    .with_error_code(code),
            );
        }
        body.error_code = ctx.reported(body.error_code);
        Reply::Now(ctx.respond(ResponseKind::LeaveGroup(body)))
    }

    fn id_of(&self, name: &StrBytes, one: &MemberIdentity) -> Option<StrBytes> {
        let group: &Classic = &self.groups.get(name)?.classic;
        let by_id = group.members.contains_key(&one.member_id)
            || group.pending.contains_key(&one.member_id);
        if by_id {
            return Some(one.member_id.clone());
        }
        let named = |member: &Member| {
            one.group_instance_id.is_some() && member.instance == one.group_instance_id
        };
        let mut all = group.members.iter();
        all.find(|(_, member)| named(member)).map(|(id, _)| id.clone())
    }
}

/// With the id that the response names.
pub(super) struct Refused(pub(super) StrBytes, pub(super) i16);

impl From<i16> for Refused {
    fn from(code: i16) -> Self {
        Self(StrBytes::default(), code)
    }
}

pub(super) fn protocols(request: &JoinGroupRequest) -> Vec<(StrBytes, Bytes)> {
    request.protocols.iter().map(|one| (one.name.clone(), one.metadata.clone())).collect()
}

impl Member {
    fn take(&mut self, request: &JoinGroupRequest) {
        self.protocols = protocols(request);
        self.session = millis(request.session_timeout_ms);
        self.rebalance = match request.rebalance_timeout_ms {
            ..0 => self.session,
            ms => millis(ms),
        };
    }
}
