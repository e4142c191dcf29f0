//! The leader watches topics that others subscribe to.

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::SyncGroupRequest;
use kavka_core::wire::consumer_protocol::Assignment;
use kavka_core::{Duration, Start};
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
