//! Classic groups (`GroupCoordinator` of Kafka 2.8): members join rounds, one of them assigns.

mod describe;
mod foreign;
mod hosted;
mod requests;
mod rounds;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupResponse, ResponseKind, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;

use crate::code;
use crate::model::{Cluster, Ctx, Event, Output, Reply};

pub(super) use foreign::Foreign;
pub use foreign::{Looks, Stretch};
pub(super) use hosted::Hosted;

/// How far a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Empty,
    Preparing,
    Completing,
    Stable,
}

/// A classic group.
#[derive(Clone, Default)]
pub(super) struct Classic {
    pub(super) state: State,
    pub(super) generation: i32,
    protocol: StrBytes,
    leader: Option<StrBytes>,
    pub(super) members: BTreeMap<StrBytes, Member>,
    /// Ids that were given and have not joined, each with the end of its session.
    pending: BTreeMap<StrBytes, Duration>,
    /// When the round ends at the latest, and whether it does not end earlier.
    until: Duration,
    waits: bool,
    /// Members so far, for the order in which they came.
    came: u64,
    /// What a coordinator that loads the group finds.
    stored: Option<Box<Self>>,
}

#[derive(Clone)]
pub(super) struct Member {
    instance: Option<StrBytes>,
    came: u64,
    protocols: Vec<(StrBytes, Bytes)>,
    session: Duration,
    rebalance: Duration,
    pub(super) session_until: Duration,
    watched: Duration,
    assignment: Bytes,
    /// Its JoinGroup or SyncGroup that waits.
    joins: Option<Ctx>,
    syncs: Option<Ctx>,
    /// It is another client, without connections.
    foreign: bool,
}

impl Member {
    /// Whether a request of it is parked: it is alive as long.
    const fn waits(&self) -> bool {
        self.joins.is_some() || self.syncs.is_some() || self.foreign
    }
}

impl Classic {
    /// Whether it has members, or ids that may become some.
    pub(super) fn is_used(&self) -> bool {
        !self.members.is_empty() || !self.pending.is_empty()
    }

    /// Notes what another coordinator would load.
    fn store(&mut self) {
        self.stored = None;
        let mut copy = self.clone();
        for member in copy.members.values_mut() {
            (member.joins, member.syncs) = (None, None);
        }
        copy.pending.clear();
        self.stored = Some(Box::new(copy));
    }

    /// Loads the group at another broker; returns the requests that the one before held.
    pub(super) fn load(&mut self, ready: Duration) -> Vec<(Ctx, bool)> {
        let held = self.take_parked();
        let stored = self.stored.take().map_or_else(Self::default, |stored| *stored);
        *self = stored;
        for member in self.members.values_mut() {
            member.session_until = ready + member.session;
            member.watched = Duration::ZERO;
        }
        if self.state != State::Empty {
            self.store();
        }
        held
    }

    /// Takes all parked requests, each with whether it is a JoinGroup.
    pub(super) fn take_parked(&mut self) -> Vec<(Ctx, bool)> {
        let mut held = Vec::new();
        for member in self.members.values_mut() {
            held.extend(member.joins.take().map(|ctx| (ctx, true)));
            held.extend(member.syncs.take().map(|ctx| (ctx, false)));
        }
        held
    }

    /// Forgets the parked requests of a broker that died.
    pub(super) fn forget(&mut self, broker: i32) {
        for member in self.members.values_mut() {
            member.joins.take_if(|ctx| ctx.broker == broker);
            member.syncs.take_if(|ctx| ctx.broker == broker);
        }
    }

    /// Returns the names of assignors that all members support.
    fn common(&self) -> BTreeSet<StrBytes> {
        let mut lists = self.members.values().map(|member| {
            member.protocols.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>()
        });
        let first = lists.next().unwrap_or_default();
        lists.fold(first, |all, list| all.intersection(&list).cloned().collect())
    }

    /// Each member votes for the first of its list that all support.
    fn elect(&self) -> StrBytes {
        let common = self.common();
        let mut votes: BTreeMap<StrBytes, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().map(|(name, _)| name);
            if let Some(vote) = vote.into_iter().find(|name| common.contains(*name)) {
                *votes.entry(vote.clone()).or_default() += 1;
            }
        }
        let best = votes.into_iter().max_by_key(|(_, votes)| *votes);
        best.map(|(name, _)| name).unwrap_or_default()
    }

    /// The response to a JoinGroup of this generation.
    fn welcome(&self, id: &StrBytes) -> JoinGroupResponse {
        let leader = self.leader.clone().unwrap_or_default();
        let metadata = |member: &Member| {
            let mut all = member.protocols.iter();
            all.find(|(name, _)| *name == self.protocol).map(|(_, bytes)| bytes.clone())
        };
        let of = |(id, member): (&StrBytes, &Member)| {
            JoinGroupResponseMember::default()
                .with_member_id(id.clone())
                .with_group_instance_id(member.instance.clone())
                .with_metadata(metadata(member).unwrap_or_default())
        };
        let members = match leader == *id {
            true => self.members.iter().map(of).collect(),
            false => Vec::new(),
        };
        JoinGroupResponse::default()
            .with_generation_id(self.generation)
            .with_protocol_type(Some(StrBytes::from_static_str("consumer")))
            .with_protocol_name(Some(self.protocol.clone()))
            .with_leader(leader)
            .with_member_id(id.clone())
            .with_members(members)
    }
}

impl Cluster {
    /// Responds to a JoinGroup that may have been parked.
    fn respond_to_join(&mut self, ctx: &Ctx, mut body: JoinGroupResponse) {
        body.throttle_time_ms = ctx.throttle();
        body.error_code = ctx.reported(body.error_code);
        self.respond_later(ctx, ResponseKind::JoinGroup(suited(ctx, body)));
    }

    fn refuse_join(&mut self, ctx: &Ctx, id: &StrBytes, code: i16) {
        let body = JoinGroupResponse::default()
            .with_error_code(code)
            .with_generation_id(-1)
            .with_protocol_name(Some(StrBytes::default()))
            .with_member_id(id.clone());
        self.respond_to_join(ctx, body);
    }

    fn respond_to_sync(&mut self, ctx: &Ctx, result: Result<Bytes, i16>) {
        let (code, assignment) = match result {
            Ok(bytes) => (code::NONE, bytes),
            Err(code) => (code, Bytes::new()),
        };
        let body = SyncGroupResponse::default()
            .with_throttle_time_ms(ctx.throttle())
            .with_error_code(ctx.reported(code))
            .with_assignment(assignment);
        self.respond_later(ctx, ResponseKind::SyncGroup(body));
    }

    fn respond_later(&mut self, ctx: &Ctx, body: ResponseKind) {
        match self.afterwards(ctx, Reply::Now(ctx.respond(body))) {
            Reply::Later => {}
            reply => self.ready.push_back(Output { broker: ctx.broker, conn: ctx.conn, reply }),
        }
    }

    /// Refuses requests that a broker held which does not coordinate the group any more.
    pub(super) fn turn_away(&mut self, held: Vec<(Ctx, bool)>) {
        for (ctx, joins) in held {
            match joins {
                true => self.refuse_join(&ctx, &StrBytes::default(), code::NOT_COORDINATOR),
                false => self.respond_to_sync(&ctx, Err(code::NOT_COORDINATOR)),
            }
        }
    }

    /// The session of a member of a classic group may be over, or that of an id.
    pub(super) fn check_classic(&mut self, name: &StrBytes, id: &StrBytes) {
        let now = self.now;
        let Some(group) = self.groups.get_mut(name).map(|group| &mut group.classic) else {
            return;
        };
        if group.pending.get(id).is_some_and(|until| *until <= now) {
            group.pending.remove(id);
            return self.complete(name);
        }
        let Some(member) = group.members.get_mut(id) else { return };
        if member.waits() {
            member.session_until = now + member.session;
        }
        let until = member.session_until;
        if until > now {
            member.watched = until;
            return self.schedule(until, Event::Member { group: name.clone(), id: id.clone() });
        }
        self.drop_classic(name, id);
    }

    /// Removes a member of a classic group, and begins a round without it.
    pub(super) fn drop_classic(&mut self, name: &StrBytes, id: &StrBytes) {
        let Some(group) = self.groups.get_mut(name).map(|group| &mut group.classic) else {
            return;
        };
        let Some(member) = group.members.remove(id) else { return };
        if let Some(ctx) = member.joins {
            self.refuse_join(&ctx, id, code::UNKNOWN_MEMBER_ID);
        }
        if let Some(ctx) = member.syncs {
            self.respond_to_sync(&ctx, Err(code::UNKNOWN_MEMBER_ID));
        }
        self.begin_round(name);
        self.complete(name);
    }

    /// Watches the session of a member.
    fn watch(&mut self, name: &StrBytes, id: &StrBytes) {
        let now = self.now;
        let Some(group) = self.groups.get_mut(name).map(|group| &mut group.classic) else {
            return;
        };
        let Some(member) = group.members.get_mut(id) else { return };
        member.session_until = now + member.session;
        if member.watched <= now {
            member.watched = member.session_until;
            let at = member.watched;
            self.schedule(at, Event::Member { group: name.clone(), id: id.clone() });
        }
    }
}

/// Removes what the version cannot say.
fn suited(ctx: &Ctx, mut body: JoinGroupResponse) -> JoinGroupResponse {
    if ctx.version < 7 {
        body.protocol_type = None;
        body.protocol_name = Some(body.protocol_name.unwrap_or_default());
    }
    if ctx.version < 5 {
        for member in &mut body.members {
            member.group_instance_id = None;
        }
    }
    body
}
