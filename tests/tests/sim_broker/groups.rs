//! Coordinators of consumer groups, as real brokers of 4.4.0 respond.

use core::time::Duration;
use std::collections::BTreeMap;

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FindCoordinatorRequest, GroupId,
    OffsetCommitRequest, OffsetFetchRequest, RequestKind, ResponseKind,
};
use kavka_tests::sim::frame::Request;
use kavka_tests::sim::{ApiKey, Cluster, Groups, Options, Reply};
use uuid::Uuid;

use crate::client::{text, topic};

const SECOND: Duration = Duration::from_secs(1);

struct Sim {
    cluster: Cluster,
    now: Duration,
    id: Uuid,
    /// What each member has, by the responses.
    has: BTreeMap<&'static str, (i32, Vec<i32>)>,
}

impl Sim {
    fn new(partitions: u32) -> Self {
        let groups = Some(Groups::default());
        let mut cluster = Cluster::new(Options { brokers: 3, groups, ..Options::default() });
        let id = cluster.create_topic("t", partitions).expect("a topic");
        Self { cluster, now: SECOND, id, has: BTreeMap::new() }
    }

    fn send(&mut self, broker: i32, version: i16, body: RequestKind) -> ResponseKind {
        let api = match &body {
            RequestKind::ConsumerGroupHeartbeat(_) => ApiKey::ConsumerGroupHeartbeat,
            RequestKind::OffsetCommit(_) => ApiKey::OffsetCommit,
            RequestKind::OffsetFetch(_) => ApiKey::OffsetFetch,
            _ => ApiKey::FindCoordinator,
        };
        let request = Request { api, version, correlation: 1, size: 100, body };
        match self.cluster.handle(self.now, broker, 1, request) {
            Reply::Now(response) => response.body,
            other => panic!("{other:?}"),
        }
    }

    fn coordinator(&self) -> i32 {
        self.cluster.coordinator("g").expect("a live broker")
    }

    fn beat(&mut self, body: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let body = body.with_group_id(GroupId(text("g")));
        let broker = self.coordinator();
        match self.send(broker, 1, RequestKind::ConsumerGroupHeartbeat(body)) {
            ResponseKind::ConsumerGroupHeartbeat(response) => response,
            other => panic!("{other:?}"),
        }
    }

    fn owned(&self, partitions: &[i32]) -> Vec<TopicPartitions> {
        let of = TopicPartitions::default().with_topic_id(self.id);
        match partitions {
            [] => Vec::new(),
            list => vec![of.with_partitions(list.to_vec())],
        }
    }

    /// A heartbeat of a member that does as it is said; `acknowledges`: lists what it has.
    fn follow(&mut self, member: &'static str, acknowledges: bool) -> i16 {
        let (epoch, mine) = self.has.get(member).cloned().unwrap_or_default();
        let mut body = ConsumerGroupHeartbeatRequest::default()
            .with_member_id(text(member))
            .with_member_epoch(epoch)
            .with_rebalance_timeout_ms(-1)
            .with_topic_partitions(acknowledges.then(|| self.owned(&mine)));
        if epoch == 0 {
            body = self.joining(member);
        }
        let response = self.beat(body);
        if response.error_code == 0 {
            let (known, mine) = self.has.entry(member).or_default();
            *known = response.member_epoch;
            if let Some(assignment) = response.assignment {
                *mine = assignment
                    .topic_partitions
                    .iter()
                    .flat_map(|of| of.partitions.iter().copied())
                    .collect();
            }
        }
        if response.error_code == 25 {
            self.has.remove(member);
        }
        self.disjoint();
        response.error_code
    }

    fn joining(&self, member: &str) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_member_id(text(member))
            .with_rebalance_timeout_ms(60_000)
            .with_subscribed_topic_names(Some(vec![topic("t")]))
            .with_topic_partitions(Some(Vec::new()))
    }

    /// No partition is ever given to two members, and the coordinator knows who has which.
    fn disjoint(&self) {
        let owners = self.cluster.group_owners("g");
        let mut seen = BTreeMap::new();
        for (member, (epoch, partitions)) in &self.has {
            for partition in partitions.iter().filter(|_| *epoch > 0) {
                let other = seen.insert(*partition, member);
                assert_eq!(other, None, "partition {partition}: {:?}", self.has);
                assert_eq!(owners[&("t".into(), *partition)], *member);
            }
        }
    }

    fn sizes(&self) -> Vec<usize> {
        self.has.values().map(|(_, partitions)| partitions.len()).collect()
    }

    fn commit(&mut self, member: &str, epoch: i32, offset: i64) -> i16 {
        let partition = OffsetCommitRequestPartition::default()
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("note")));
        let of = OffsetCommitRequestTopic::default().with_name(topic("t"));
        let body = OffsetCommitRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_member_id(text(member))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![of.with_partitions(vec![partition])]);
        let broker = self.coordinator();
        match self.send(broker, 9, RequestKind::OffsetCommit(body)) {
            ResponseKind::OffsetCommit(response) => response.topics[0].partitions[0].error_code,
            other => panic!("{other:?}"),
        }
    }

    /// Error of the group, or offset and metadata of partition 0.
    fn fetch(&mut self, broker: i32, member: Option<(&str, i32)>) -> Result<(i64, String), i16> {
        let of = OffsetFetchRequestTopics::default()
            .with_name(topic("t"))
            .with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text("g")))
            .with_member_id(member.map(|(id, _)| text(id)))
            .with_member_epoch(member.map_or(-1, |(_, epoch)| epoch))
            .with_topics(Some(vec![of]));
        let body = OffsetFetchRequest::default().with_groups(vec![group]);
        match self.send(broker, 9, RequestKind::OffsetFetch(body)) {
            ResponseKind::OffsetFetch(response) => match &response.groups[0] {
                group if group.error_code != 0 => Err(group.error_code),
                group => {
                    let at = &group.topics[0].partitions[0];
                    Ok((at.committed_offset, at.metadata.clone().unwrap_or_default().to_string()))
                }
            },
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_partition_changes_hands_when_its_member_has_given_it_up() {
    let mut sim = Sim::new(4);
    assert_eq!(sim.follow("a", true), 0);
    assert_eq!(sim.sizes(), [4]);
    assert_eq!(sim.follow("b", true), 0);
    assert_eq!(sim.sizes(), [4, 0], "everything is a's still");
    assert_eq!(sim.follow("a", false), 0);
    assert_eq!(sim.sizes(), [2, 0]);
    assert_eq!(sim.follow("b", false), 0);
    assert_eq!(sim.sizes(), [2, 0], "no list acknowledges nothing");
    assert_eq!(sim.follow("a", true), 0);
    assert_eq!(sim.follow("b", false), 0);
    assert_eq!(sim.sizes(), [2, 2]);
    // Growth: whoever comes next.
    sim.cluster.grow("t", 6).expect("it grows");
    for member in ["a", "b", "a", "b"] {
        assert_eq!(sim.follow(member, true), 0);
    }
    assert_eq!(sim.sizes(), [3, 3]);
    // And back when one leaves.
    let epoch = sim.has.remove("b").expect("b").0;
    let leave =
        ConsumerGroupHeartbeatRequest::default().with_member_id(text("b")).with_member_epoch(-1);
    assert!(epoch > 0);
    assert_eq!(sim.beat(leave).error_code, 0);
    assert_eq!(sim.follow("a", true), 0);
    assert_eq!(sim.sizes(), [6]);
}

#[test]
fn a_member_that_is_silent_or_keeps_what_is_revoked_is_removed() {
    let mut sim = Sim::new(4);
    sim.follow("a", true);
    sim.follow("b", true);
    assert_eq!(sim.follow("a", false), 0, "two are to be given up");
    // It stays alive, and never says that it has.
    for _ in 0..6 {
        sim.now += 10 * SECOND;
        let (a, b) = (sim.follow("a", false), sim.follow("b", false));
        assert_eq!(b, 0);
        if a != 0 {
            assert_eq!((a, sim.now), (25, 61 * SECOND), "its rebalance timeout");
            break;
        }
    }
    assert_eq!(sim.follow("b", true), 0);
    assert_eq!(sim.sizes(), [4]);
    sim.now += 46 * SECOND;
    assert_eq!(sim.follow("b", true), 25, "its session is over");
    assert_eq!(sim.cluster.group_members("g"), []);
}

#[test]
fn epochs_are_checked_as_brokers_do() {
    let mut sim = Sim::new(2);
    let wrong = sim.joining("a").with_topic_partitions(None);
    assert_eq!(sim.beat(wrong).error_code, 42, "a member that joins lists nothing");
    sim.follow("a", true);
    let before = sim.has["a"].clone();
    sim.follow("b", true);
    sim.follow("a", false); // this response is lost
    sim.follow("a", true);
    assert!(sim.has["a"].0 > before.0);
    let old = ConsumerGroupHeartbeatRequest::default()
        .with_member_id(text("a"))
        .with_member_epoch(before.0)
        .with_rebalance_timeout_ms(-1);
    assert_eq!(sim.beat(old.clone()).error_code, 110, "no list");
    let all = sim.owned(&[0, 1]);
    assert_eq!(sim.beat(old.clone().with_topic_partitions(Some(all))).error_code, 110);
    let mine = sim.owned(&sim.has["a"].1);
    assert_eq!(sim.beat(old.clone().with_topic_partitions(Some(mine))).error_code, 0);
    assert_eq!(sim.beat(old.clone().with_member_epoch(99)).error_code, 110);
    assert_eq!(sim.beat(old.with_member_id(text("c"))).error_code, 25);
    let broker = sim.coordinator() % 3 + 1;
    let body =
        RequestKind::ConsumerGroupHeartbeat(sim.joining("a").with_group_id(GroupId(text("g"))));
    let ResponseKind::ConsumerGroupHeartbeat(other) = sim.send(broker, 1, body) else { panic!() };
    assert_eq!(other.error_code, 16);
}

#[test]
fn an_instance_is_held_while_it_lives_and_inherited_when_it_left_for_now() {
    let mut sim = Sim::new(3);
    let join = |sim: &Sim, id: &str| sim.joining(id).with_instance_id(Some(text("i")));
    let first = join(&sim, "a");
    assert_eq!(sim.beat(first).error_code, 0);
    let second = join(&sim, "b");
    assert_eq!(sim.beat(second.clone()).error_code, 111);
    let leave = join(&sim, "a").with_member_epoch(-2);
    assert_eq!(sim.beat(leave).error_code, 0);
    let inherited = sim.beat(second);
    assert_eq!(inherited.error_code, 0);
    let count = inherited.assignment.map(|at| at.topic_partitions[0].partitions.len());
    assert_eq!(count, Some(3));
    assert_eq!(sim.cluster.group_members("g").len(), 1);
    let older = join(&sim, "a").with_member_epoch(1);
    assert_eq!(sim.beat(older).error_code, 82, "another one has the instance");
}

#[test]
fn commits_need_the_epoch_and_a_coordinator_that_has_loaded_the_group() {
    let mut sim = Sim::new(1);
    let at = sim.coordinator();
    assert_eq!(sim.fetch(at, None), Ok((-1, String::new())));
    sim.follow("a", true);
    let epoch = sim.has["a"].0;
    assert_eq!(sim.commit("a", epoch, 5), 0);
    assert_eq!(sim.commit("a", epoch - 1, 6), 113);
    assert_eq!(sim.commit("b", epoch, 6), 25);
    assert_eq!(sim.fetch(at, Some(("a", epoch))), Ok((5, "note".into())));
    assert_eq!(sim.fetch(at, Some(("a", epoch + 1))), Err(113));
    assert_eq!(sim.fetch(at, None), Ok((5, "note".into())), "as by no member");
    sim.cluster.move_coordinator("g");
    let next = sim.coordinator();
    assert_ne!(at, next);
    assert_eq!(sim.fetch(at, None), Err(16));
    assert_eq!(sim.fetch(next, None), Err(14));
    sim.now += SECOND;
    assert_eq!(sim.fetch(next, None), Ok((5, "note".into())));
    let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    let found = sim.send(1, 6, RequestKind::FindCoordinator(find));
    let ResponseKind::FindCoordinator(found) = found else { panic!("{found:?}") };
    assert_eq!(found.coordinators[0].node_id.0, next);
    // Its topic recreated, there is none.
    sim.cluster.recreate_topic("t", 1).expect("a topic");
    assert_eq!(sim.fetch(next, None), Ok((-1, String::new())));
}
