//! The leader watches topics that others subscribe to.

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, HeartbeatRequest, HeartbeatResponse, MetadataRequest, SyncGroupRequest,
};
use kavka_core::wire::consumer_protocol::Assignment;
use kavka_core::{Duration, Instant, Start};
use kavka_tests::script::{Script, World};

use super::growth::beat_until_join;
use super::{OTHER, Sync, Welcome, classic, name, synced, welcome};
use crate::steps::{fetch_commits, subscribed, world};

/// A subscription to topic `u`.
fn to_u() -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    bytes.put_i16(1);
    bytes.put_slice(b"u");
    bytes.put_i32(-1);
    bytes.freeze()
}

/// Returns how many partitions of `u` the other member gets.
fn theirs_of_u(sync: &Sync) -> usize {
    let one = sync.body.assignments.iter().find(|one| &*one.member_id == OTHER);
    let read = Assignment::read(&one.expect("a member").assignment).expect("an assignment");
    read.topics.filter(|(name, _)| *name == "u").map(|(_, list)| list.count()).sum()
}

fn leader(world: World) -> Script {
    let config = classic(&world, "cooperative-sticky");
    let (mut s, _) = subscribed(world, config, Start::Latest);
    let join = name(&mut s);
    let sync = lead(&mut s, &join, 1);
    assert_eq!(theirs_of_u(&sync), 3);
    fetch_commits(&mut s, |_| (10, "", 0));
    s
}

fn lead(s: &mut Script, join: &super::Join, generation: i32) -> Sync {
    let mut welcomed = Welcome::leader(generation, "cooperative-sticky");
    welcomed.others = vec![(OTHER, to_u())];
    welcome(s, join, &welcomed);
    let sync = s.expect::<SyncGroupRequest>();
    synced(s, &sync, super::assignment(&[0, 1]));
    sync
}

#[test]
fn a_leader_begins_a_round_when_a_topic_grows_that_others_alone_subscribe_to() {
    let mut s = leader(world(2).topic("u", 3));
    assert!(beat_until_join(&mut s, Duration::from_secs(20)).is_none(), "nothing has grown");
    s.world.grow("u", 5);
    let start = s.now();
    let join = beat_until_join(&mut s, Duration::from_secs(10)).expect("a round");
    let pause = start.until(join.at);
    assert!(pause < Duration::from_millis(1300), "{pause:?}");
    let sync = lead(&mut s, &join, 2);
    assert_eq!(theirs_of_u(&sync), 5);
    assert!(beat_until_join(&mut s, Duration::from_secs(20)).is_none(), "that was it");
}

/// As of a broker that is stale: what a look sees, the round's plan does not have.
#[test]
fn rounds_that_plan_without_what_was_seen_are_ever_rarer() {
    let mut s = leader(world(2).topic("u", 3));
    let mut before: Option<Instant> = None;
    let mut pauses = Vec::new();
    for generation in 2..14 {
        s.world.grow("u", 5);
        let join = beat_until_join(&mut s, Duration::from_secs(90)).expect("a round");
        pauses.extend(before.map(|before| before.until(join.at).as_secs()));
        before = Some(join.at);
        s.world.topic_mut("u").partitions.truncate(3);
        let sync = lead(&mut s, &join, generation);
        assert_eq!(theirs_of_u(&sync), 3);
    }
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert!(pauses[5] > 30 && pauses[10] < 80, "{pauses:?}");
    // A look that finds nothing ends that.
    assert!(beat_until_join(&mut s, Duration::from_secs(200)).is_none(), "nothing has grown");
    s.world.grow("u", 5);
    let start = s.now();
    let join = beat_until_join(&mut s, Duration::from_secs(90)).expect("a round");
    assert!(start.until(join.at) < Duration::from_secs(2), "{:?}", start.until(join.at));
}

/// A response has some 40 bytes for each partition.
#[test]
fn topics_with_more_partitions_are_looked_at_less_often() {
    let mut looks = Vec::new();
    for partitions in [3, 200] {
        let world = world(2).topic("u", partitions);
        let config = classic(&world, "cooperative-sticky");
        let (mut s, _) = subscribed(world, config, Start::Latest);
        let join = name(&mut s);
        let sync = lead(&mut s, &join, 1);
        assert_eq!(theirs_of_u(&sync), partitions);
        fetch_commits(&mut s, |_| (10, "", 0));
        s.manual(ApiKey::Metadata);
        let mut count = 0;
        for _ in 0..4000 {
            if let Some(due) = s.take::<MetadataRequest>() {
                let named = |topic: &MetadataRequestTopic| {
                    topic.name.as_ref().is_some_and(|name| &***name == "u")
                };
                count += usize::from(due.body.topics.iter().flatten().any(named));
                s.serve(due);
            }
            if let Some(due) = s.take::<HeartbeatRequest>() {
                s.respond(&due, HeartbeatResponse::default());
            }
            s.run(Duration::from_millis(5));
        }
        looks.push(count);
    }
    // Once a second, and two seconds more for 200 partitions.
    assert!((17..21).contains(&looks[0]) && (5..8).contains(&looks[1]), "{looks:?}");
}

/// A connection that ends takes the response along.
#[test]
fn a_lost_look_is_repeated() {
    let mut s = leader(world(2).topic("u", 3));
    s.manual(ApiKey::Metadata);
    let lost = loop {
        if let Some(due) = s.take::<HeartbeatRequest>() {
            s.respond(&due, HeartbeatResponse::default());
        }
        if let Some(due) = s.take::<MetadataRequest>() {
            let of_u = due
                .body
                .topics
                .iter()
                .flatten()
                .any(|topic| topic.name.as_ref().is_some_and(|name| &***name == "u"));
            if of_u {
                break due;
            }
            s.serve(due);
        }
        s.run(Duration::from_millis(5));
    };
    s.automatic(ApiKey::Metadata);
    s.cut(lost.conn);
    s.world.grow("u", 5);
    assert!(beat_until_join(&mut s, Duration::from_secs(20)).is_some(), "it is not looked at");
}
