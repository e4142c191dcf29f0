//! Reading from a replica in the client's own rack (KIP-392).

use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{
    ApiKey, BrokerId, FetchRequest, ListOffsetsRequest, MetadataRequest,
};
use kavka_core::{Duration, PartitionId, Start};
use kavka_tests::script::fetch::{diverging, records, refused};
use kavka_tests::script::steps::{batch, events, fetch_with, moves, reading_with};
use kavka_tests::script::{Asked, Script, World};

/// Returns a part that names a replica to read from.
fn elsewhere(partition: i32, replica: i32) -> PartitionData {
    records(partition, &[]).with_preferred_read_replica(BrokerId(replica))
}

/// Returns a reader in a rack of partition 0, which broker 1 leads, and the first fetch.
fn in_rack() -> (Script, Asked<FetchRequest>) {
    let world = World::new(3).topic("t", 1);
    let (mut s, _) = reading_with(world, |config| config.rack("r2"));
    let asked = s.expect::<FetchRequest>();
    assert_eq!((asked.node, asked.body.rack_id.as_str()), (1, "r2"));
    (s, asked)
}

/// Takes the next fetch that names the partition.
fn next(s: &mut Script) -> Asked<FetchRequest> {
    fetch_with(s, |s, asked| !s.wanted(asked).is_empty())
}

/// Returns a reader that forgets replicas after `age`, its partition, and a fetch at broker 2.
fn reader_at_replica(age: Duration) -> (Script, PartitionId, Asked<FetchRequest>) {
    let world = World::new(2).topic("t", 1);
    let (mut s, parts) = reading_with(world, |mut config| {
        config.metadata_max_age = age;
        config.rack("r2")
    });
    let asked = s.expect::<FetchRequest>();
    s.give(&asked, 7, vec![elsewhere(0, 2)]);
    let asked = next(&mut s);
    assert_eq!(asked.node, 2);
    (s, parts[0], asked)
}

/// Returns the same reader, with a fetch at broker 2.
fn at_replica() -> (Script, Asked<FetchRequest>) {
    let (mut s, asked) = in_rack();
    s.give(&asked, 7, vec![elsewhere(0, 2)]);
    let asked = next(&mut s);
    assert_eq!(asked.node, 2);
    (s, asked)
}

#[test]
fn a_partition_is_read_from_the_replica_that_its_leader_names() {
    let (mut s, asked) = at_replica();
    s.give(&asked, 8, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(s.records(), [(0, 0, "a".into())]);
    let asked = next(&mut s);
    assert_eq!((asked.node, s.wanted(&asked)), (2, vec![("t".into(), 0, 1)]));
    s.run(Duration::from_secs(1));
    s.none::<FetchRequest>("the leader has nothing to be asked for");
}

#[test]
fn a_replica_is_forgotten_after_metadata_max_age() {
    let world = World::new(2).topic("t", 1);
    let age = Duration::from_secs(60);
    let (mut s, _) = reading_with(world, |mut config| {
        config.metadata_max_age = age;
        config.rack("r2")
    });
    let asked = s.expect::<FetchRequest>();
    s.give(&asked, 7, vec![elsewhere(0, 2)]);
    let since = s.now();
    let mut asked = next(&mut s);
    while asked.node == 2 {
        assert!(since.until(s.now()) < age + Duration::from_secs(2), "still read from there");
        s.run(Duration::from_millis(500));
        s.give(&asked, 8, vec![]);
        asked = s.expect::<FetchRequest>();
    }
    assert!(since.until(s.now()) >= age, "after {:?}", since.until(s.now()));
    assert_eq!(asked.body.rack_id.as_str(), "r2");
}

#[test]
fn trouble_at_a_replica_is_decided_at_the_leader() {
    for trouble in [refused(0, 1), refused(0, 6), refused(0, 9), diverging(0, 0, 0)] {
        let (mut s, asked) = at_replica();
        s.give(&asked, 8, vec![trouble]);
        let before = s.now();
        let asked = next(&mut s);
        assert_eq!((asked.node, asked.body.rack_id.as_str()), (1, ""), "the leader itself");
        assert!(before.until(asked.at) < Duration::from_millis(10), "without a pause");
        s.none::<ListOffsetsRequest>("nobody said that it is out of range");
        s.give(&asked, 7, vec![records(0, &[batch(0, &["a"])])]);
        assert_eq!(s.records(), [(0, 0, "a".into())]);
        assert_eq!(moves(&events(&mut s)), []);
        // Later there may be a replica again.
        s.run(Duration::from_secs(10));
        let asked = fetch_with(&mut s, |_, asked| asked.body.rack_id.as_str() == "r2");
        s.give(&asked, 7, vec![elsewhere(0, 2)]);
        assert_eq!(next(&mut s).node, 2);
    }
}

/// Only a leader does: the address is another broker's by now, perhaps that of the leader.
#[test]
fn a_replica_that_names_one_itself_is_left() {
    for named in [1, 2, 3] {
        let (mut s, asked) = at_replica();
        s.manual(ApiKey::Metadata);
        s.give(&asked, 8, vec![elsewhere(0, named)]);
        let asked = next(&mut s);
        assert_eq!((asked.node, asked.body.rack_id.as_str()), (1, ""), "it named {named}");
        s.expect_within::<MetadataRequest>(Duration::from_millis(100));
    }
}

#[test]
fn a_replica_that_goes_away_is_left() {
    let (mut s, _) = at_replica();
    s.kill(2);
    let asked = next(&mut s);
    assert_eq!((asked.node, asked.body.rack_id.as_str()), (1, ""));
}

#[test]
fn a_replica_that_nobody_knows_strands_nothing() {
    let (mut s, asked) = in_rack();
    s.give(&asked, 7, vec![elsewhere(0, 9)]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!((asked.node, asked.body.rack_id.as_str()), (1, ""));
    s.give(&asked, 7, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(s.records(), [(0, 0, "a".into())]);
}

#[test]
fn a_new_leader_is_asked_first() {
    let (mut s, asked) = at_replica();
    s.world.lead("t", 0, 3);
    s.run(Duration::from_secs(1));
    s.give(&asked, 8, vec![refused(0, 6)]);
    assert_ne!(next(&mut s).node, 2);
}

/// Otherwise every seek would cost a round trip to the leader, which is slow with one connection.
#[test]
fn a_seek_stays_at_the_replica() {
    for to in [Start::Offset(5), Start::Earliest] {
        let (mut s, part, asked) = reader_at_replica(Duration::from_secs(300));
        let now = s.now();
        s.client.seek(now, part, to).unwrap();
        s.give(&asked, 8, vec![]);
        assert_eq!(next(&mut s).node, 2, "{to:?}");
    }
}

#[test]
fn a_replica_is_forgotten_in_time_also_while_paused() {
    let (mut s, part, asked) = reader_at_replica(Duration::from_secs(60));
    s.client.pause(part);
    s.give(&asked, 8, vec![]);
    s.run(Duration::from_secs(61));
    let now = s.now();
    s.client.resume(now, part);
    assert_eq!(next(&mut s).node, 1);
}
