//! Groups with members of both protocols, as real brokers of 4.4.0 respond: a classic group is
//! converted by the first member of KIP-848, hosts its classic members, and is converted back.

use core::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, GroupId, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, RequestKind, ResponseKind, SyncGroupRequest,
    SyncGroupResponse,
};
use kavka_tests::sim::frame::Request;
use kavka_tests::sim::{ApiKey, Cluster, Groups, Options, Profile, Reply};

use crate::client::{text, topic};

struct Sim {
    cluster: Cluster,
    now: Duration,
}

fn group() -> GroupId {
    GroupId(text("g"))
}

/// A subscription to `t` in version 1.
fn subscription(owned: &[i32]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff");
    out.put_slice(if owned.is_empty() { b"\0\0\0\0" } else { b"\0\0\0\x01\0\x01t" });
    if !owned.is_empty() {
        out.put_i32(owned.len() as i32);
        owned.iter().for_each(|partition| out.put_i32(*partition));
    }
    out.freeze()
}

/// Partitions of an assignment, each topic entry of which names `t`.
fn assigned(bytes: &Bytes) -> Vec<i32> {
    let count = usize::from(bytes[5]);
    let mut list = Vec::new();
    let mut at = 6;
    for _ in 0..count {
        let partitions = usize::from(bytes[at + 6]);
        list.extend((0..partitions).map(|n| i32::from(bytes[at + 10 + 4 * n])));
        at += 7 + 4 * partitions;
    }
    list
}

impl Sim {
    fn new(profile: Profile, groups: Groups) -> Self {
        let groups = Some(Groups { join_delay: Duration::ZERO, ..groups });
        let mut cluster =
            Cluster::new(Options { brokers: 1, profile, groups, ..Options::default() });
        cluster.create_topic("t", 4).expect("a topic");
        Self { cluster, now: Duration::from_secs(1) }
    }

    fn send(&mut self, api: ApiKey, version: i16, body: RequestKind) -> Option<ResponseKind> {
        let request = Request { api, version, correlation: 1, size: 100, body };
        let reply = match self.cluster.handle(self.now, 1, 1, request) {
            Reply::Later => self.cluster.poll_output()?.reply,
            reply => reply,
        };
        match reply {
            Reply::Now(response) => Some(response.body),
            other => panic!("{other:?}"),
        }
    }

    fn join(&mut self, id: &str, owned: &[i32]) -> JoinGroupResponse {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("cooperative-sticky"))
            .with_metadata(subscription(owned));
        let body = JoinGroupRequest::default()
            .with_group_id(group())
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(20_000)
            .with_member_id(text(id))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        match self.send(ApiKey::JoinGroup, 9, RequestKind::JoinGroup(body)) {
            Some(ResponseKind::JoinGroup(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    fn sync(&mut self, id: &str, generation: i32, given: Option<Bytes>) -> SyncGroupResponse {
        let given = given.map(|bytes| {
            SyncGroupRequestAssignment::default().with_member_id(text(id)).with_assignment(bytes)
        });
        let body = SyncGroupRequest::default()
            .with_group_id(group())
            .with_generation_id(generation)
            .with_member_id(text(id))
            .with_assignments(given.into_iter().collect());
        match self.send(ApiKey::SyncGroup, 5, RequestKind::SyncGroup(body)) {
            Some(ResponseKind::SyncGroup(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    fn pulse(&mut self, id: &str, generation: i32) -> i16 {
        let body = HeartbeatRequest::default()
            .with_group_id(group())
            .with_generation_id(generation)
            .with_member_id(text(id));
        match self.send(ApiKey::Heartbeat, 4, RequestKind::Heartbeat(body)) {
            Some(ResponseKind::Heartbeat(response)) => response.error_code,
            other => panic!("{other:?}"),
        }
    }

    fn beat(&mut self, epoch: i32) -> ConsumerGroupHeartbeatResponse {
        let body = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(text("native"))
            .with_member_epoch(epoch)
            .with_rebalance_timeout_ms(if epoch == 0 { 60_000 } else { -1 })
            .with_subscribed_topic_names((epoch == 0).then(|| vec![topic("t")]))
            .with_topic_partitions((epoch == 0).then(Vec::new));
        let body = RequestKind::ConsumerGroupHeartbeat(body);
        match self.send(ApiKey::ConsumerGroupHeartbeat, 0, body) {
            Some(ResponseKind::ConsumerGroupHeartbeat(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    /// A stable classic group with one member, which has all four partitions. Its id.
    fn classic(&mut self) -> String {
        let refused = self.join("", &[]);
        assert_eq!(refused.error_code, 79);
        let id = refused.member_id.to_string();
        let joined = self.join(&id, &[]);
        assert_eq!((joined.error_code, joined.generation_id), (0, 1));
        assert_eq!(*joined.leader, *id);
        let all = Bytes::from_static(
            b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x04\
            \0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\xff\xff\xff\xff",
        );
        assert_eq!(self.sync(&id, 1, Some(all)).error_code, 0);
        id
    }
}

#[test]
fn a_first_native_member_converts_a_group_and_the_last_one_converts_it_back() {
    let mut sim = Sim::new(Profile::V4_4, Groups::default());
    let id = sim.classic();
    let joined = sim.beat(0);
    let epoch = joined.member_epoch;
    assert!(joined.error_code == 0 && epoch > 1, "{joined:?}");
    assert!(sim.cluster.is_native("g"));
    assert_eq!(sim.cluster.group_owners("g").len(), 4, "all of it is the hosted member's");
    // It follows: the leader is nobody, the protocol its first, the generation its epoch.
    assert_eq!(sim.pulse(&id, 1), 27);
    let hosted = sim.join(&id, &[0, 1, 2, 3]);
    assert_eq!((hosted.error_code, hosted.generation_id), (0, 1), "two are to be given up first");
    assert_eq!((&*hosted.leader, hosted.members.len()), ("", 0));
    assert_eq!(hosted.protocol_name.as_deref(), Some("cooperative-sticky"));
    let kept = assigned(&sim.sync(&id, 1, None).assignment);
    assert_eq!(kept.len(), 2);
    assert_eq!(sim.pulse(&id, 1), 27, "it is asked for the acknowledgement");
    let hosted = sim.join(&id, &kept);
    assert_eq!((hosted.error_code, hosted.generation_id), (0, epoch));
    assert_eq!(assigned(&sim.sync(&id, epoch, None).assignment), kept);
    assert_eq!(sim.pulse(&id, epoch), 0);
    assert_eq!(sim.pulse(&id, 1), 22);
    let beat = sim.beat(epoch);
    let given = beat.assignment.expect("what is free").topic_partitions;
    assert_eq!(given[0].partitions.len(), 2);
    // The last native member leaves.
    assert_eq!(sim.beat(-1).error_code, 0);
    assert!(!sim.cluster.is_native("g"));
    assert_eq!(sim.pulse(&id, epoch), 27, "a round begins");
    let joined = sim.join(&id, &kept);
    assert_eq!((joined.error_code, joined.generation_id), (0, epoch + 1));
    assert_eq!((&*joined.leader, joined.members.len()), (&*id, 1));
}

#[test]
fn a_hosted_member_that_does_not_join_again_in_time_is_removed() {
    let mut sim = Sim::new(Profile::V4_4, Groups::default());
    let id = sim.classic();
    let mut epoch = sim.beat(0).member_epoch;
    for _ in 0..5 {
        sim.now += Duration::from_secs(5);
        let code = sim.pulse(&id, 1);
        epoch = sim.beat(epoch).member_epoch;
        if code != 27 {
            assert_eq!((code, sim.now.as_secs()), (25, 26), "20 s after it was told to");
            return assert_eq!(sim.cluster.group_members("g").len(), 1);
        }
    }
    panic!("it stays");
}

#[test]
fn a_classic_group_is_not_converted_where_that_is_off_or_not_known() {
    let off = Groups { converts: false, ..Groups::default() };
    for (profile, groups) in [(Profile::V4_4, off), (Profile::V3_9, Groups::default())] {
        let mut sim = Sim::new(profile, groups);
        let id = sim.classic();
        assert_eq!(sim.beat(0).error_code, 69);
        assert_eq!(sim.pulse(&id, 1), 0, "nobody is disturbed");
    }
}

#[test]
fn kip_848_becomes_available() {
    let mut sim = Sim::new(Profile::V4_4, Groups { native: false, ..Groups::default() });
    assert_eq!(sim.beat(0).error_code, 35);
    sim.cluster.enable_native();
    assert_eq!(sim.beat(0).error_code, 0);
}
