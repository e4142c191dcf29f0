//! The leader plans with a view to racks (KIP-881).

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::SyncGroupRequest;
use kavka_core::{Duration, Start};
use kavka_tests::script::{Script, World};

use super::growth::beat_until_join;
use super::{ME, OTHER, Sync, Welcome, classic, given, name, synced, welcome};
use crate::steps::{fetch_commits, subscribed, world};

/// The oldest that metadata may be.
const MAX_AGE: Duration = Duration::from_secs(10);

/// A subscription to these topics of one letter, of a member in a rack.
fn in_rack(rack: &str, topics: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(3);
    bytes.put_i32(topics.len() as i32);
    for topic in topics {
        bytes.put_i16(1);
        bytes.put_u8(*topic);
    }
    bytes.put_i32(-1);
    bytes.put_i32(0);
    bytes.put_i32(-1);
    bytes.put_i16(rack.len() as i16);
    bytes.put_slice(rack.as_bytes());
    bytes.freeze()
}

/// Returns two brokers in racks a and b, and topic `t`, whose first partitions are in rack a.
fn in_two_racks() -> World {
    let mut world = world(4);
    (world.node(1).rack, world.node(2).rack) = (Some("a"), Some("b"));
    for index in 0..4 {
        world.partition("t", index).replicas = if index < 2 { &[1] } else { &[2] };
    }
    world
}

/// Subscribes as a member in rack b.
fn leader(world: World, assignor: &'static str) -> Script {
    let mut config = classic(&world, assignor);
    (config.rack, config.metadata_max_age) = ("b", MAX_AGE);
    subscribed(world, config, Start::Latest).0
}

/// Leads a round with another member; returns the plan.
fn lead(s: &mut Script, (assignor, generation): (&'static str, i32), other: &Bytes) -> Sync {
    let join = name(s);
    respond(s, &join, (assignor, generation), other)
}

fn respond(s: &mut Script, join: &super::Join, round: (&'static str, i32), other: &Bytes) -> Sync {
    let mut welcomed = Welcome::leader(round.1, round.0);
    welcomed.others = vec![(OTHER, other.clone())];
    welcome(s, join, &welcomed);
    let sync = s.expect::<SyncGroupRequest>();
    synced(s, &sync, super::assignment(&given(&sync, ME).expect("a plan")));
    sync
}

#[test]
fn a_leader_assigns_partitions_to_members_in_the_racks_of_their_replicas() {
    for assignor in ["range", "sticky", "cooperative-sticky"] {
        let mut s = leader(in_two_racks(), assignor);
        let sync = lead(&mut s, (assignor, 1), &in_rack("a", b"t"));
        assert_eq!(given(&sync, ME), Some(vec![2, 3]), "{assignor}: {ME} is in rack b");
        assert_eq!(given(&sync, OTHER), Some(vec![0, 1]), "{assignor}: {OTHER} is in rack a");
    }
}

/// Without a rack of theirs the members get what their ids would give them.
#[test]
fn a_plan_does_not_depend_on_racks_without_members_or_replicas_in_them() {
    let mut elsewhere = in_two_racks();
    (elsewhere.node(1).rack, elsewhere.node(2).rack) = (Some("c"), None);
    let mut everywhere = in_two_racks();
    for index in 0..4 {
        everywhere.partition("t", index).replicas = &[1, 2];
    }
    for (what, world) in [("elsewhere", elsewhere), ("everywhere", everywhere)] {
        let mut s = leader(world, "range");
        let sync = lead(&mut s, ("range", 1), &in_rack("a", b"t"));
        assert_eq!(given(&sync, ME), Some(vec![0, 1]), "{what}");
    }
    let mut s = leader(in_two_racks(), "range");
    s.world.node(2).rack = Some("");
    let sync = lead(&mut s, ("range", 1), &super::theirs(&[], -1));
    assert_eq!(given(&sync, ME), Some(vec![0, 1]), "no rack has a member");
}

/// Topics and partitions come in another order than that of the plan.
#[test]
fn racks_are_those_of_their_partitions_in_any_order_of_topics() {
    let world = in_two_racks().topic("a", 3).topic("z", 2);
    let mut s = leader(world, "range");
    for index in 0..3 {
        s.world.partition("a", index).replicas = if index < 1 { &[2] } else { &[1] };
    }
    for index in 0..2 {
        s.world.partition("z", index).replicas = if index < 1 { &[1] } else { &[2] };
    }
    s.world.backwards = true;
    let sync = lead(&mut s, ("range", 1), &in_rack("a", b"atz"));
    let theirs = given(&sync, OTHER).expect("a plan");
    assert_eq!(theirs, [0, 1, 2, 0, 1, 0, 1], "of a and z, that it alone reads, and of t");
    assert_eq!(given(&sync, ME), Some(vec![2, 3]));
}

#[test]
fn a_round_begins_when_racks_of_replicas_have_changed() {
    let assignor = "cooperative-sticky";
    let mut s = leader(in_two_racks(), assignor);
    let other = in_rack("a", b"t");
    lead(&mut s, (assignor, 1), &other);
    fetch_commits(&mut s, |_| (10, "", 0));
    assert!(beat_until_join(&mut s, 4 * MAX_AGE).is_none(), "nothing has changed");
    s.world.partition("t", 3).replicas = &[1];
    let start = s.now();
    let join = beat_until_join(&mut s, 2 * MAX_AGE).expect("a round");
    let after = start.until(join.at);
    assert!(after < MAX_AGE + Duration::from_secs(1), "{after:?}");
    respond(&mut s, &join, (assignor, 2), &other);
    assert!(beat_until_join(&mut s, 4 * MAX_AGE).is_none(), "that was it");
}

/// A broker that is away has no rack for now; one that starts knows of none at all.
#[test]
fn a_response_that_names_no_racks_begins_no_round() {
    let assignor = "cooperative-sticky";
    let mut s = leader(in_two_racks(), assignor);
    lead(&mut s, (assignor, 1), &in_rack("a", b"t"));
    fetch_commits(&mut s, |_| (10, "", 0));
    (s.world.node(1).rack, s.world.node(2).rack) = (None, None);
    assert!(beat_until_join(&mut s, 4 * MAX_AGE).is_none(), "nothing is known");
}
