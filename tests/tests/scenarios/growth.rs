//! Partitions that are added.

use kafka_protocol::messages::ProduceRequest;
use kavka_core::{Duration, Error, Obstacle, Record, Start};
use kavka_tests::script::steps::{configured, events, next, wanted, warm_up};
use kavka_tests::script::{Script, World};

#[test]
fn p1_keys_hash_over_the_grown_topic() {
    let mut s = configured(World::new(1).topic("t", 4), |_| ());
    let t = s.ready("t");
    let partition_of = |s: &mut Script, key: &str| {
        let now = s.now();
        let record = Record::new(b"v").key(key.as_bytes());
        s.client.produce(now, t, &record).expect("the record is taken").partition
    };
    let murmur = |key: &str, n| {
        kavka_core::murmur2::positive(kavka_core::murmur2::murmur2(key.as_bytes())) % n
    };
    for i in 0..50 {
        let key = format!("key{i}");
        assert_eq!(partition_of(&mut s, &key), murmur(&key, 4), "{key}");
    }
    s.world.grow("t", 8);
    s.until("growth is known", |s| s.client.freshness(t).is_some_and(|f| f.partitions == 8));
    for i in 0..50 {
        let key = format!("key{i}");
        assert_eq!(partition_of(&mut s, &key), murmur(&key, 8), "{key}");
    }
}

#[test]
fn p2_records_of_a_partition_that_is_away_for_a_moment_are_kept() {
    let mut s = Script::new(World::new(1).topic("t", 6));
    let t = s.ready("t");
    warm_up(&mut s, t, 5);
    s.kill(1);
    s.produce(t, 5, "a");
    let all = s.world.topic_mut("t").partitions.clone();
    s.world.topic_mut("t").partitions.truncate(4);
    s.world.node(1).up = true;
    s.run(Duration::from_secs(3));
    s.world.topic_mut("t").partitions = all;
    let (requested, value, _) = next(&mut s);
    assert_eq!(value, "a");
    s.acknowledge(&requested, 1);
    assert_eq!(s.delivered().len(), 1);
    assert_eq!(s.failed(), []);
}

#[test]
fn p3_records_of_a_partition_that_stays_away_fail() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.world.partition("t", 0).leader = -1;
    s.world.partition("t", 0).epoch = 1;
    s.produce(t, 0, "a");
    let (requested, ..) = next(&mut s);
    s.refuse(&requested, 3);
    s.run(Duration::from_secs(100));
    while let Some(requested) = s.take::<ProduceRequest>() {
        s.refuse(&requested, 3);
    }
    assert_eq!(s.failed(), []);
    s.run(Duration::from_secs(30));
    assert_eq!(s.failed(), [(1, Error::Blocked(Obstacle::NoLeader), false)]);
}

#[test]
fn p7_a_partition_assigned_before_it_exists_is_read_from_its_first_record_by_itself() {
    for ready in [false, true] {
        let world = World::new(1).topic("t", 2);
        let mut s = Script::new(world);
        let t = if ready { s.ready("t") } else { s.topic("t") };
        let now = s.now();
        s.client.assign(now, t, 4, Start::Latest).unwrap();
        assert_eq!(wanted(&mut s), [], "ready {ready}");
        s.world.grow("t", 5);
        s.world.partition("t", 4).end = 3;
        assert_eq!(wanted(&mut s), [(4, 0)], "ready {ready}");
        let reported = format!("{:?}", events(&mut s));
        assert!(!reported.contains("PartitionFailed"), "ready {ready}: {reported}");
    }
}
