//! Leaders that move, topics that grow, brokers that are behind.

use kafka_protocol::messages::{ApiKey, MetadataRequest, ProduceRequest};
use kavka_core::{Duration, Error, Record};
use kavka_tests::script::{Script, World};

use crate::{next, script, warm_up};

#[test]
fn e11_a_hint_with_a_newer_epoch_moves_the_batch_at_once() {
    let mut s = Script::new(World::new(2).topic("t", 1));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.produce(t, 0, "a");
    let (asked, ..) = next(&mut s);
    assert_eq!(asked.node, 1);
    s.manual(ApiKey::Metadata);
    let start = s.now();
    s.refuse_with_leader(&asked, 6, (2, 1));
    let (asked, value, place) = next(&mut s);
    assert_eq!((asked.node, value.as_str(), place), (2, "a", (0, 1, 1)));
    assert_eq!(s.now(), start, "without a pause and without metadata");
    s.acknowledge(&asked, 1);
    assert_eq!(s.delivered().len(), 1);
}

#[test]
fn e11_a_hint_with_an_old_epoch_is_ignored() {
    let mut s = Script::new(World::new(2).topic("t", 1));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.produce(t, 0, "a");
    let (asked, ..) = next(&mut s);
    s.refuse_with_leader(&asked, 6, (2, 0));
    let (asked, ..) = next(&mut s);
    assert_eq!(asked.node, 1);
}

#[test]
fn e12_without_a_hint_metadata_is_asked_and_the_new_leader_at_once() {
    let mut s = Script::new(World::new(2).topic("t", 1));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    // A partition that fails again and again has a long pause ahead ...
    s.produce(t, 0, "a");
    for _ in 0..6 {
        let (asked, ..) = next(&mut s);
        s.refuse(&asked, 6);
        s.none::<ProduceRequest>("there must be a pause");
    }
    // ... which does not count once the new leader is known.
    let (asked, ..) = next(&mut s);
    s.manual(ApiKey::Metadata);
    s.refuse(&asked, 6);
    s.world.lead("t", 0, 2);
    s.expect::<MetadataRequest>();
    let start = s.now();
    s.cut_all(1);
    s.automatic(ApiKey::Metadata);
    let (asked, ..) = next(&mut s);
    assert_eq!(asked.node, 2);
    let took = start.until(s.now());
    if took >= Duration::from_millis(150) {
        s.fail(&format!("it took {took:?}"));
    }
}

#[test]
fn p1_keys_hash_over_the_grown_topic() {
    let mut s = script(World::new(1).topic("t", 4), |_| ());
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
    let (asked, value, _) = next(&mut s);
    assert_eq!(value, "a");
    s.acknowledge(&asked, 1);
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
    let (asked, ..) = next(&mut s);
    s.refuse(&asked, 3);
    s.run(Duration::from_secs(100));
    while let Some(asked) = s.take::<ProduceRequest>() {
        s.refuse(&asked, 3);
    }
    assert_eq!(s.failed(), []);
    s.run(Duration::from_secs(30));
    assert_eq!(s.failed(), [(1, Error::TimedOut, false)]);
}
