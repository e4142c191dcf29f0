//! Members by the classic protocol.

mod cover;
mod endless;
mod growth;
mod leaving;
mod look;
mod racks;
mod rounds;

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use kavka_core::wire::consumer_protocol::{Assignment, Subscription};
use kavka_core::{Config, Event, GroupProtocol, PartitionId, Start};
use kavka_tests::script::{Requested, Script, World};

use crate::steps::{config, fetch_commits, subscribed};

type Join = Requested<JoinGroupRequest>;
type Sync = Requested<SyncGroupRequest>;
type Pulse = Requested<HeartbeatRequest>;

/// The id that the coordinator gives.
const ME: &str = "kavka-1";
/// Another member.
const OTHER: &str = "theirs-2";

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn classic(world: &World, assignors: &'static str) -> Config<'static> {
    let mut config = config(world);
    config.group_protocol = GroupProtocol::Classic;
    config.group_assignors = assignors;
    config
}

/// Returns the topics of the first subscription, what is owned of `t`, and the generation.
fn subscription(join: &Join) -> (Vec<String>, Vec<i32>, i32) {
    let bytes = &join.body.protocols[0].metadata;
    let read = Subscription::read(bytes).expect("a subscription");
    let owned = read.owned.flat_map(|(_, list)| list);
    (read.topics.map(str::to_owned).collect(), owned.collect(), read.generation)
}

/// Returns what is owned of `t`.
fn owned(join: &Join) -> Vec<i32> {
    subscription(join).1
}

/// Gives the member an id, as brokers of 2.4 and later do first.
fn name(s: &mut Script) -> Join {
    let join = s.expect::<JoinGroupRequest>();
    if !join.body.member_id.is_empty() {
        return join;
    }
    refuse_join(s, &join, 79);
    s.expect::<JoinGroupRequest>()
}

fn refuse_join(s: &mut Script, join: &Join, code: i16) {
    let body = JoinGroupResponse::default()
        .with_error_code(code)
        .with_protocol_name(Some(text("")))
        .with_member_id(text(ME));
    s.respond(join, body);
}

/// What a JoinGroup is responded to with.
struct Welcome {
    generation: i32,
    protocol: &'static str,
    leader: &'static str,
    skips: bool,
    others: Vec<(&'static str, Bytes)>,
}

impl Welcome {
    const fn follower(generation: i32, protocol: &'static str) -> Self {
        Self { generation, protocol, leader: OTHER, skips: false, others: Vec::new() }
    }

    const fn leader(generation: i32, protocol: &'static str) -> Self {
        Self { generation, protocol, leader: ME, skips: false, others: Vec::new() }
    }
}

fn welcome(s: &mut Script, join: &Join, welcome: &Welcome) {
    let chosen = join.body.protocols.iter().find(|one| &*one.name == welcome.protocol);
    let metadata = chosen.map(|one| one.metadata.clone()).unwrap_or_default();
    let mine = (ME, metadata);
    let all = welcome.others.iter().chain([&mine]);
    let members = all.map(|(id, metadata)| {
        JoinGroupResponseMember::default().with_member_id(text(id)).with_metadata(metadata.clone())
    });
    let members = if welcome.leader == ME { members.collect() } else { Vec::new() };
    let body = JoinGroupResponse::default()
        .with_generation_id(welcome.generation)
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text(welcome.protocol)))
        .with_leader(text(welcome.leader))
        .with_skip_assignment(welcome.skips)
        .with_member_id(text(ME))
        .with_members(members);
    s.respond(join, body);
}

/// An assignment of partitions of `t`.
fn assignment(partitions: &[i32]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(1);
    bytes.put_i32(1);
    bytes.put_i16(1);
    bytes.put_slice(b"t");
    bytes.put_i32(partitions.len() as i32);
    partitions.iter().for_each(|index| bytes.put_i32(*index));
    bytes.put_i32(-1);
    bytes.freeze()
}

/// The subscription of another member to `t`, that has these partitions.
fn theirs(owned: &[i32], generation: i32) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(3);
    bytes.put_i32(1);
    bytes.put_i16(1);
    bytes.put_slice(b"t");
    bytes.put_i32(-1);
    bytes.put_i32(1);
    bytes.put_i16(1);
    bytes.put_slice(b"t");
    bytes.put_i32(owned.len() as i32);
    owned.iter().for_each(|index| bytes.put_i32(*index));
    bytes.put_i32(generation);
    bytes.put_i16(-1);
    bytes.freeze()
}

/// Returns what the leader gives to a member.
fn given(sync: &Sync, id: &str) -> Option<Vec<i32>> {
    let one = sync.body.assignments.iter().find(|one| &*one.member_id == id)?;
    let read = Assignment::read(&one.assignment).expect("an assignment");
    assert_eq!(read.user_data, None);
    Some(read.topics.flat_map(|(_, list)| list).collect())
}

fn synced(s: &mut Script, sync: &Sync, bytes: Bytes) {
    s.respond(sync, SyncGroupResponse::default().with_assignment(bytes));
}

fn refuse_sync(s: &mut Script, sync: &Sync, code: i16) {
    s.respond(sync, SyncGroupResponse::default().with_error_code(code));
}

fn pulse(s: &mut Script, code: i16) -> Pulse {
    let due = s.expect::<HeartbeatRequest>();
    s.respond(&due, HeartbeatResponse::default().with_error_code(code));
    due
}

/// Takes part in a round as a follower of a foreign leader; returns the JoinGroup.
fn follow(s: &mut Script, welcomed: &Welcome, mine: &[i32]) -> Join {
    let join = name(s);
    welcome(s, &join, welcomed);
    let sync = s.expect::<SyncGroupRequest>();
    assert!(sync.body.assignments.is_empty(), "a follower assigns nothing");
    synced(s, &sync, assignment(mine));
    join
}

/// Returns a follower with these partitions, which continue at 10.
fn member(
    assignors: &'static str,
    elected: &'static str,
    mine: &[i32],
) -> (Script, Vec<PartitionId>) {
    let world = crate::steps::world(4);
    let config = classic(&world, assignors);
    member_with(world, config, &Welcome::follower(1, elected), mine)
}

fn member_with(
    world: World,
    config: Config<'static>,
    welcomed: &Welcome,
    mine: &[i32],
) -> (Script, Vec<PartitionId>) {
    let (mut s, _) = subscribed(world, config, Start::Latest);
    follow(&mut s, welcomed, mine);
    fetch_commits(&mut s, |_| (10, "", 0));
    let mut list = s.take_reported(|reported| match reported.event()? {
        Event::Assigned { at, partition } => Some((partition.partition as i32, at)),
        _ => None,
    });
    list.sort();
    assert_eq!(list.iter().map(|(index, _)| *index).collect::<Vec<_>>(), mine);
    (s, list.into_iter().map(|(_, at)| at).collect())
}
