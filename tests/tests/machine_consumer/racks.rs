//! Reading from a replica in the client's own rack (KIP-392).

use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{
    ApiKey, BrokerId, FetchRequest, ListOffsetsRequest, MetadataRequest,
};
use kavka_core::{Duration, PartitionId, Start};
use kavka_tests::script::fetch::{diverging, records, refused};
use kavka_tests::script::steps::{batch, events, fetch_with, moves, reading_with};
use kavka_tests::script::{Requested, Script, World};

/// Returns a part that names a replica to read from.
fn elsewhere(partition: i32, replica: i32) -> PartitionData {
    records(partition, &[]).with_preferred_read_replica(BrokerId(replica))
}

/// Returns a reader in a rack of partition 0, which broker 1 leads, and the first fetch.
fn in_rack() -> (Script, Requested<FetchRequest>) {
    let world = World::new(3).topic("t", 1);
    let (mut s, _) = reading_with(world, |config| config.rack("r2"));
    let requested = s.expect::<FetchRequest>();
    assert_eq!((requested.node, requested.body.rack_id.as_str()), (1, "r2"));
    (s, requested)
}

/// Takes the next fetch that names the partition.
fn next(s: &mut Script) -> Requested<FetchRequest> {
    fetch_with(s, |s, requested| !s.wanted(requested).is_empty())
}

/// Returns a reader that forgets replicas after `age`, its partition, and a fetch at broker 2.
fn reader_at_replica(age: Duration) -> (Script, PartitionId, Requested<FetchRequest>) {
    let world = World::new(2).topic("t", 1);
    let (mut s, parts) = reading_with(world, |mut config| {
        config.metadata_max_age = age;
        config.rack("r2")
    });
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 7, vec![elsewhere(0, 2)]);
    let requested = next(&mut s);
    assert_eq!(requested.node, 2);
    (s, parts[0], requested)
}

/// Returns the same reader, with a fetch at broker 2.
fn at_replica() -> (Script, Requested<FetchRequest>) {
    let (mut s, requested) = in_rack();
    s.give(&requested, 7, vec![elsewhere(0, 2)]);
    let requested = next(&mut s);
    assert_eq!(requested.node, 2);
    (s, requested)
}

#[test]
fn a_partition_is_read_from_the_replica_that_its_leader_names() {
    let (mut s, requested) = at_replica();
    s.give(&requested, 8, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(s.records(), [(0, 0, "a".into())]);
    let requested = next(&mut s);
    assert_eq!((requested.node, s.wanted(&requested)), (2, vec![("t".into(), 0, 1)]));
    s.run(Duration::from_secs(1));
    s.none::<FetchRequest>("the leader has nothing to be requested");
}

#[test]
fn a_replica_is_forgotten_after_metadata_max_age() {
    let world = World::new(2).topic("t", 1);
    let age = Duration::from_secs(60);
    let (mut s, _) = reading_with(world, |mut config| {
        config.metadata_max_age = age;
        config.rack("r2")
    });
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 7, vec![elsewhere(0, 2)]);
    let since = s.now();
    let mut requested = next(&mut s);
    while requested.node == 2 {
        assert!(since.until(s.now()) < age + Duration::from_secs(2), "still read from there");
        s.run(Duration::from_millis(500));
        s.give(&requested, 8, vec![]);
        requested = s.expect::<FetchRequest>();
    }
    assert!(since.until(s.now()) >= age, "after {:?}", since.until(s.now()));
    assert_eq!(requested.body.rack_id.as_str(), "r2");
}

#[test]
fn trouble_at_a_replica_is_decided_at_the_leader() {
    for trouble in [refused(0, 1), refused(0, 6), refused(0, 9), diverging(0, 0, 0)] {
        let (mut s, requested) = at_replica();
        s.give(&requested, 8, vec![trouble]);
        let before = s.now();
        let requested = next(&mut s);
        assert_eq!((requested.node, requested.body.rack_id.as_str()), (1, ""), "the leader itself");
        assert!(before.until(requested.at) < Duration::from_millis(10), "without a pause");
        s.none::<ListOffsetsRequest>("nobody said that it is out of range");
        s.give(&requested, 7, vec![records(0, &[batch(0, &["a"])])]);
        assert_eq!(s.records(), [(0, 0, "a".into())]);
        assert_eq!(moves(&events(&mut s)), []);
        // Later there may be a replica again.
        s.run(Duration::from_secs(10));
        let requested = fetch_with(&mut s, |_, requested| requested.body.rack_id.as_str() == "r2");
        s.give(&requested, 7, vec![elsewhere(0, 2)]);
        assert_eq!(next(&mut s).node, 2);
    }
}

/// Only a leader does: the address is another broker's by now, perhaps that of the leader.
#[test]
fn a_replica_that_names_one_itself_is_left() {
    for named in [1, 2, 3] {
        let (mut s, requested) = at_replica();
        s.manual(ApiKey::Metadata);
        s.give(&requested, 8, vec![elsewhere(0, named)]);
        let requested = next(&mut s);
        assert_eq!((requested.node, requested.body.rack_id.as_str()), (1, ""), "it named {named}");
        s.expect_within::<MetadataRequest>(Duration::from_millis(100));
    }
}

#[test]
fn a_replica_that_goes_away_is_left() {
    let (mut s, _) = at_replica();
    s.kill(2);
    let requested = next(&mut s);
    assert_eq!((requested.node, requested.body.rack_id.as_str()), (1, ""));
}

#[test]
fn a_replica_that_is_not_known_strands_nothing() {
    let (mut s, requested) = in_rack();
    s.give(&requested, 7, vec![elsewhere(0, 9)]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!((requested.node, requested.body.rack_id.as_str()), (1, ""));
    s.give(&requested, 7, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(s.records(), [(0, 0, "a".into())]);
}

#[test]
fn a_new_leader_gets_requests_first() {
    let (mut s, requested) = at_replica();
    s.world.lead("t", 0, 3);
    s.run(Duration::from_secs(1));
    s.give(&requested, 8, vec![refused(0, 6)]);
    assert_ne!(next(&mut s).node, 2);
}

/// Otherwise every seek would cost a round trip to the leader, which is slow with one connection.
#[test]
fn a_seek_stays_at_the_replica() {
    for to in [Start::Offset(5), Start::Earliest] {
        let (mut s, part, requested) = reader_at_replica(Duration::from_secs(300));
        let now = s.now();
        s.client.seek(now, part, to).unwrap();
        s.give(&requested, 8, vec![]);
        assert_eq!(next(&mut s).node, 2, "{to:?}");
    }
}

#[test]
fn a_replica_is_forgotten_in_time_also_while_paused() {
    let (mut s, part, requested) = reader_at_replica(Duration::from_secs(60));
    s.client.pause(part);
    s.give(&requested, 8, vec![]);
    s.run(Duration::from_secs(61));
    let now = s.now();
    s.client.resume(now, part);
    assert_eq!(next(&mut s).node, 1);
}
