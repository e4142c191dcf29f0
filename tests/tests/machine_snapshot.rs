//! Snapshots: saved by one client, restored by the next one, refused when damaged.

use core::time::Duration;

use kafka_protocol::messages::{ApiKey, FetchRequest, ListOffsetsRequest, ProduceRequest};
use kavka_core::{
    Config, Error, Event, Instant, LimitKind, Limits, MoveReason, OutOfRange, PeerFault,
    RestoreError, Signal, Start, TopicId, snapshot_bytes,
};
use kavka_tests::script::fetch::records;
use kavka_tests::script::steps::{
    batch, changed, count, disconnected, events, growths, metadata, moves, reading, recreated,
    wanted,
};
use kavka_tests::script::{Script, World};
use kavka_tests::sim::Profile;

/// What the longest cluster id takes; most brokers here have none.
const CLUSTER_ID: usize = 41;
/// Where partitions end when a test begins.
const END: i64 = 40;

fn world(partitions: usize) -> World {
    let mut world = World::new(2).topic("t", partitions).topic("u", 1);
    for index in 0..partitions {
        world.partition("t", index).end = END;
    }
    world
}

/// Returns a client that reads all of `t` from its end on, in a world.
fn following(world: World) -> (Script, TopicId) {
    let mut config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    // A position that is lost would not be restored by itself.
    config.out_of_range = OutOfRange::Latest;
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.topic("t");
    let now = s.now();
    s.client.assign_all(now, t, Start::Latest).unwrap();
    (s, t)
}

fn save(s: &mut Script) -> Vec<u8> {
    let mut bytes = vec![0xff; 1024];
    let saved = s.client.save(&mut bytes).unwrap();
    assert!(saved.is_complete(), "{saved:?}");
    let len = saved.bytes;
    bytes.truncate(len);
    bytes
}

/// Returns a snapshot of a client that has read `t` to its end, and the world around it.
fn saved(partitions: usize) -> (Vec<u8>, World) {
    let (mut s, _) = following(world(partitions));
    assert_eq!(wanted(&mut s).len(), partitions);
    (save(&mut s), s.world)
}

/// Returns the next client, in a world that may have changed.
fn woken(bytes: &[u8], world: World) -> (Script, TopicId) {
    let (mut s, t) = following(world);
    let now = s.now();
    s.client.restore(now, bytes).unwrap();
    (s, t)
}

#[test]
fn positions_are_restored() {
    let (bytes, mut world) = saved(3);
    // Records written while no client read; a start at the end would skip them.
    for index in 0..3 {
        world.partition("t", index).end = END + 7;
    }
    let (mut s, t) = following(world);
    let now = s.now();
    let restored = s.client.restore(now, &bytes).unwrap();
    assert_eq!((restored.topics, restored.positions), (1, 3));
    assert_eq!(wanted(&mut s), [(0, END), (1, END), (2, END)]);
    assert_eq!(count(&s.client, t), 3);
    assert!(moves(&events(&mut s)).is_empty());
}

#[test]
fn what_is_saved_again_is_the_same() {
    let (bytes, world) = saved(3);
    let (mut s, _) = woken(&bytes, world);
    assert_eq!(save(&mut s), bytes, "before anything was polled");
    wanted(&mut s);
    assert_eq!(save(&mut s), bytes, "after the brokers were asked");
}

#[test]
fn records_that_were_polled_count_as_read() {
    let (mut s, parts) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![records(0, &[batch(0, &["a", "b"])])]);
    assert_eq!(s.records().len(), 2);
    let bytes = save(&mut s);
    let config = Config::new(s.world.bootstrap());
    let mut next = Script::with(s.world, config, &Limits::small());
    let t = next.topic("t");
    let now = next.now();
    let at = next.client.assign(now, t, 0, Start::Offset(0)).unwrap();
    next.client.restore(now, &bytes).unwrap();
    assert_eq!(next.client.position(at), Some(2));
    assert_eq!(wanted(&mut next), [(0, 2)]);
    assert_eq!(parts.len(), 1);
}

#[test]
fn a_partition_that_was_added_while_asleep_is_read_from_its_first_record() {
    let (bytes, mut world) = saved(2);
    world.grow("t", 4);
    (world.partition("t", 2).end, world.partition("t", 3).end) = (9, 9);
    let (mut s, _) = woken(&bytes, world.clone());
    assert_eq!(wanted(&mut s), [(0, END), (1, END), (2, 0), (3, 0)]);
    assert_eq!(growths(&events(&mut s)), [(2, 4)]);
    // Without the snapshot they count as existing partitions.
    let (mut s, _) = following(world);
    assert_eq!(wanted(&mut s), [(0, END), (1, END), (2, 9), (3, 9)]);
}

#[test]
fn a_partition_that_was_added_before_is_still_one_that_was_added() {
    let (mut s, _) = following(world(1));
    wanted(&mut s);
    // The partition is known, and nothing could be fetched from it yet.
    s.world.grow("t", 2);
    s.world.partition("t", 1).leader = -1;
    wanted(&mut s);
    let bytes = save(&mut s);
    let mut world = s.world;
    world.partition("t", 1).leader = 1;
    world.partition("t", 1).end = 5;
    let (mut s, _) = woken(&bytes, world);
    assert_eq!(wanted(&mut s), [(0, END), (1, 0)]);
}

#[test]
fn a_count_never_goes_below_what_was_saved() {
    let (bytes, world) = saved(3);
    let behind = changed(&world, |world| {
        world.topic_mut("t").partitions.truncate(2);
    });
    let (mut s, t) = woken(&bytes, world);
    assert_eq!(count(&s.client, t), 3, "before anybody was asked");
    metadata(&mut s, Duration::from_secs(3), |_| behind.clone());
    assert_eq!(count(&s.client, t), 3, "after stale answers");
    let reported = events(&mut s);
    assert!(reported.iter().any(|e| matches!(e, Event::BrokerStale { .. })), "{reported:?}");
}

#[test]
fn a_topic_that_was_recreated_while_asleep_is_read_from_its_first_record() {
    let (bytes, mut world) = saved(2);
    world.topic_mut("t").id = uuid::Uuid::from_u128(0x77);
    for index in 0..2 {
        world.partition("t", index).end = 3;
    }
    let (mut s, _) = woken(&bytes, world);
    // The client believes the new id only after a while.
    let requested = [wanted(&mut s), wanted(&mut s)].concat();
    assert!(requested.contains(&(0, 0)) && requested.contains(&(1, 0)), "{requested:?}");
    let reported = events(&mut s);
    assert_eq!(recreated(&reported), [2], "{reported:?}");
    let expected = [(END, 0, MoveReason::Recreated); 2];
    assert_eq!(moves(&reported), expected);
}

#[test]
fn brokers_without_topic_ids_are_restored_too() {
    let mut world = world(2).release(Profile::V2_4);
    world.topic_mut("t").id = uuid::Uuid::nil();
    let (mut s, _) = following(world);
    wanted(&mut s);
    let bytes = save(&mut s);
    let mut world = s.world;
    world.grow("t", 3);
    world.partition("t", 2).end = 4;
    let (mut s, _) = woken(&bytes, world);
    assert_eq!(wanted(&mut s), [(0, END), (1, END), (2, 0)]);
}

#[test]
fn what_was_restored_says_so_until_a_broker_confirms_it() {
    let (bytes, world) = saved(2);
    let (mut s, t) = woken(&bytes, world);
    let fresh = s.client.freshness(t).unwrap();
    assert_eq!((fresh.by.signal, fresh.confirmed), (Signal::Snapshot, Instant::ZERO));
    s.run(Duration::from_secs(1));
    let fresh = s.client.freshness(t).unwrap();
    assert!(fresh.by.signal != Signal::Snapshot && fresh.confirmed > Instant::ZERO, "{fresh:?}");
}

#[test]
fn topics_and_partitions_that_are_not_in_use_are_passed_over() {
    let (bytes, world) = saved(2);
    let config = Config::new(world.bootstrap());
    let mut s = Script::with(world, config, &Limits::small());
    let (now, u) = (s.now(), s.topic("u"));
    let restored = s.client.restore(now, &bytes).unwrap();
    assert_eq!((restored.topics, restored.positions), (0, 0), "another topic");
    let t = s.topic("t");
    let restored = s.client.restore(now, &bytes).unwrap();
    assert_eq!((restored.topics, restored.positions), (1, 0), "watched, not read");
    let restored = s.client.restore(now, &bytes).unwrap();
    assert_eq!(restored.topics, 0, "it is known by now");
    s.run(Duration::from_secs(1));
    assert_eq!((count(&s.client, t), count(&s.client, u)), (2, 1));
}

/// Checks that these bytes are refused and have no effect.
fn refused(bytes: &[u8], world: &World) -> RestoreError {
    let (mut s, t) = following(world.clone());
    let now = s.now();
    let error = s.client.restore(now, bytes).unwrap_err();
    assert!(s.client.freshness(t).is_none(), "refused, and yet something was taken up");
    error
}

#[test]
fn every_changed_byte_is_refused() {
    let (bytes, world) = saved(2);
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            let error = refused(&damaged, &world);
            let version = at == 3;
            let expected =
                if version { RestoreError::Version(1 ^ change) } else { RestoreError::Corrupt };
            assert_eq!(error, expected, "byte {at} ^ {change:#x}");
        }
    }
}

#[test]
fn every_missing_end_is_refused_and_more_after_it_is_not() {
    let (bytes, world) = saved(2);
    for len in 0..bytes.len() {
        assert_eq!(refused(&bytes[..len], &world), RestoreError::Corrupt, "{len} bytes");
    }
    let page = [bytes, vec![0xff; 100]].concat();
    let (mut s, _) = woken(&page, world);
    assert_eq!(wanted(&mut s), [(0, END), (1, END)]);
}

#[test]
fn memory_that_was_never_written_is_refused() {
    for byte in [0x00, 0xff] {
        assert_eq!(refused(&[byte; 512], &world(1)), RestoreError::Corrupt, "{byte:#x}");
    }
}

#[test]
fn the_room_that_is_needed_is_reported() {
    let (mut s, _) = following(world(3));
    wanted(&mut s);
    let len = save(&mut s).len();
    // Four bytes of a topic are those of keys.
    assert_eq!(len + CLUSTER_ID + 4, snapshot_bytes(1, 1, 3));
    let error = s.client.save(&mut vec![0; len - 1]).unwrap_err();
    assert_eq!(error, Error::Limit { what: LimitKind::Snapshot, needed: len });
    assert_eq!(s.client.save(&mut vec![0; len]).map(|saved| saved.bytes), Ok(len));
    // Two topics with names of twenty bytes and eight partitions, as a device may have.
    assert_eq!(snapshot_bytes(2, 40, 8), 276 + 2 * 4 + CLUSTER_ID);
}

/// A device that sleeps before its positions are known would read from another place than the one
/// at which it fell asleep.
#[test]
fn what_could_not_be_saved_is_reported_and_what_is_complete_loses_nothing() {
    let (mut s, t) = following(world(3));
    let mut bytes = vec![0; 1024];
    let kept = |s: &mut Script, bytes: &mut [u8]| s.client.save(bytes).unwrap();
    let saved = kept(&mut s, &mut bytes);
    assert_eq!((saved.positions, saved.unresolved, saved.unknown_topics), (0, 0, 1));
    assert!(!saved.is_complete(), "the topic is not known");
    s.manual(ApiKey::ListOffsets);
    s.until("the topic is ready", |s| s.client.freshness(t).is_some());
    assert!(s.waiting::<ListOffsetsRequest>() > 0);
    let saved = kept(&mut s, &mut bytes);
    assert_eq!((saved.positions, saved.unresolved, saved.unknown_topics), (0, 3, 0));
    assert!(!saved.is_complete(), "no position is known");
    s.automatic(ApiKey::ListOffsets);
    s.manual(ApiKey::Produce);
    s.produce(t, 0, "record");
    s.run(Duration::from_secs(2));
    let saved = kept(&mut s, &mut bytes);
    assert_eq!((saved.positions, saved.unresolved, saved.unfinished), (3, 0, 1));
    assert!(!saved.is_complete(), "a record is on its way");
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, END);
    let saved = kept(&mut s, &mut bytes);
    assert!(saved.is_complete(), "{saved:?}");
    // Records written while it sleeps are read.
    let mut world = s.world;
    world.partition("t", 1).end = END + 4;
    let (mut s, _) = woken(&bytes[..saved.bytes], world);
    assert!(wanted(&mut s).contains(&(1, END)));
}

#[test]
fn connections_that_are_ended_on_purpose_are_no_failure() {
    let (mut s, _) = reading(2, 2);
    let t = s.topic("t");
    let now = s.now();
    s.client.produce(now, t, &kavka_core::Record::new(b"r")).unwrap();
    let first = s.expect::<ProduceRequest>();
    s.disconnect();
    s.settle();
    // What was in flight is sent again, as it was.
    let again = s.expect::<ProduceRequest>();
    let as_sent = |s: &Script, requested| format!("{:?}", s.batches(requested));
    assert_eq!(as_sent(&s, &again), as_sent(&s, &first));
    s.acknowledge(&again, 0);
    assert_eq!(s.delivered(), [(1, Some(0))]);
    assert_eq!(disconnected(&mut s), []);
}

/// A device that wakes where its address leads to another cluster.
#[test]
fn the_cluster_is_restored() {
    let (mut s, _) = following(world(3).cluster("here"));
    assert_eq!(wanted(&mut s).len(), 3);
    let bytes = save(&mut s);
    assert_eq!(bytes[3], 3, "the version with a cluster id");
    assert!(bytes.len() <= snapshot_bytes(2, 2, 3));
    let (mut s, _) = woken(&bytes, world(3).cluster("there"));
    s.run(Duration::from_secs(3));
    s.none::<FetchRequest>("it leads to another cluster");
    assert_eq!(s.client.cluster_id(), Some("here"));
    let refused = Error::Peer(PeerFault::OtherCluster);
    assert!(disconnected(&mut s).iter().any(|(_, error)| *error == refused));
    let (mut s, _) = woken(&bytes, world(3).cluster("here"));
    assert_eq!(wanted(&mut s), [(0, END), (1, END), (2, END)]);
    // A client that accepts any cluster, and one that woke with a snapshot of earlier versions.
    let mut config = Config::new("b1:9001");
    config.accept_other_cluster = true;
    let mut s = Script::with(world(3).cluster("there"), config, &Limits::small());
    let t = s.topic("t");
    let now = s.now();
    s.client.assign_all(now, t, Start::Latest).unwrap();
    s.client.restore(now, &bytes).unwrap();
    assert_eq!(wanted(&mut s).len(), 3);
}

/// More positions of one topic than 16 bits can count.
#[test]
fn seventy_thousand_positions_are_restored() {
    const MANY: u32 = 70_000;
    let client = || {
        let mut limits = Limits::small();
        limits.partitions = MANY as usize;
        let world = World::new(1).topic("t", 1);
        let config = Config::new(world.bootstrap());
        let mut s = Script::with(world, config, &limits);
        let t = s.topic("t");
        (s, t)
    };
    let assign = |s: &mut Script, t, start| {
        let now = s.now();
        let assigned = (0..MANY).map(|index| s.client.assign(now, t, index, start).unwrap());
        assigned.collect::<Vec<_>>()
    };
    let (mut s, t) = client();
    s.ready("t");
    assign(&mut s, t, Start::Offset(7));
    let mut bytes = vec![0; snapshot_bytes(1, 1, MANY as usize) - CLUSTER_ID - 4];
    let saved = s.client.save(&mut bytes).unwrap();
    assert_eq!((saved.bytes, saved.positions, saved.unresolved), (bytes.len(), MANY, 0));
    assert_eq!(bytes[3], 2, "the version with larger counts");
    let (mut next, t) = client();
    let assigned = assign(&mut next, t, Start::Latest);
    let now = next.now();
    let restored = next.client.restore(now, &bytes).unwrap();
    assert_eq!((restored.topics, restored.positions), (1, MANY));
    assert!(assigned.iter().all(|at| next.client.position(*at) == Some(7)));
    bytes.truncate(bytes.len() - 1);
    assert_eq!(next.client.restore(now, &bytes), Err(RestoreError::Corrupt));
}
