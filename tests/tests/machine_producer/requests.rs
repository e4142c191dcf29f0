//! What goes into a request and when: linger, size, flush, throttling, acks=0, fairness.

use std::collections::BTreeSet;

use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, ProduceRequest};
use kavka_core::wire::{ApiKey as Api, ErrorCode};
use kavka_core::{Config, Duration, Error, Limits, Obstacle, ProduceError, Record};
use kavka_tests::script::steps::{configured, next, send, take_all, warm_up};
use kavka_tests::script::{Script, World};
use rustix::time::{ClockId, clock_gettime};

#[test]
fn records_linger_and_travel_together() {
    let mut s = configured(World::new(1).topic("t", 1), |c| {
        (c.linger, c.linger_when_idle) = (Duration::from_millis(50), true);
    });
    let t = s.ready("t");
    s.produce(t, 0, "a");
    s.run(Duration::from_millis(49));
    s.produce(t, 0, "b");
    assert_eq!(s.waiting::<ProduceRequest>(), 0, "it lingers");
    s.run(Duration::from_millis(1));
    take_all(&mut s, &[("a,b", (0, 0, 2))]);
}

#[test]
fn a_full_batch_does_not_linger() {
    let world = World::new(1).topic("t", 1);
    let mut s = configured(world, |c| {
        (c.linger, c.batch_bytes) = (Duration::from_secs(10), 1000);
        c.linger_when_idle = true;
    });
    let t = s.ready("t");
    for _ in 0..2 {
        s.produce(t, 0, &"x".repeat(400));
    }
    s.run(Duration::from_secs(9));
    s.none::<ProduceRequest>("it is not full");
    s.produce(t, 0, &"x".repeat(400));
    let start = s.now();
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&requested)[0].header.count, 2);
    assert_eq!(start.until(s.now()), Duration::ZERO);
}

/// At most five are in flight at a broker; any response allows the next one.
#[test]
fn the_sixth_request_leaves_when_one_of_five_gets_its_response() {
    let mut s = configured(World::new(1).topic("t", 6), |_| ());
    let t = s.ready("t");
    for partition in 0..6 {
        warm_up(&mut s, t, partition);
    }
    let mut requested = Vec::new();
    for partition in 0..5 {
        s.produce(t, partition, "x");
        requested.push(s.expect_within::<ProduceRequest>(Duration::ZERO));
    }
    s.produce(t, 5, "sixth");
    s.run(Duration::from_secs(1));
    s.none::<ProduceRequest>("five are in flight");
    s.acknowledge(&requested[0], 1);
    let sixth = s.expect_within::<ProduceRequest>(Duration::ZERO);
    assert_eq!(s.batches(&sixth)[0].values, ["sixth"]);
}

/// When a request cannot hold everything, the partitions left out come first next time.
#[test]
fn partitions_take_turns_when_requests_are_full() {
    let world = World::new(1).topic("t", 12);
    let mut s = configured(world, |c| (c.batch_bytes, c.request_bytes) = (1000, 4000));
    let t = s.ready("t");
    for partition in 0..12 {
        warm_up(&mut s, t, partition);
    }
    let mut sent = [0; 12];
    let value = "x".repeat(850);
    for round in 0..60 {
        for partition in 0..12 {
            let _ = s.try_produce(t, partition, &value);
        }
        s.settle();
        let Some(requested) = s.take::<ProduceRequest>() else { s.fail("nothing sent") };
        for batch in s.batches(&requested) {
            sent[batch.partition as usize] += 1;
        }
        s.acknowledge(&requested, round);
    }
    let (least, most) = (sent.iter().min(), sent.iter().max());
    assert!(most.unwrap() - least.unwrap() <= 4, "{sent:?}");
    assert!(sent.iter().sum::<i32>() >= 3 * 60, "full requests: {sent:?}");
}

/// The names of many topics need more memory than is reserved for requests.
#[test]
fn a_request_that_finds_no_memory_is_made_smaller() {
    let names: Vec<_> = (0..6).map(|i| format!("{}{i}", "n".repeat(240))).collect();
    let mut world = World::new(1);
    for name in &names {
        world = world.topic(name, 1);
    }
    // Topic ids are unknown to these brokers: requests carry the names.
    let mut world = world.release(kavka_tests::sim::Profile::V2_4);
    world.topics.iter_mut().for_each(|topic| topic.id = uuid());
    let mut limits = Limits::small();
    (limits.tx_blocks, limits.block_bytes) = (16, 256);
    let config = Config::new(world.bootstrap()).linger(Duration::from_millis(1));
    let mut s = Script::with(world, config, &limits);
    let topics: Vec<_> = names.iter().map(|name| s.ready(name)).collect();
    for topic in &topics {
        s.produce(*topic, 0, "a");
    }
    let mut batches = 0;
    while batches < 6 {
        let requested = s.expect_within::<ProduceRequest>(Duration::from_secs(5));
        batches += s.batches(&requested).len();
        s.acknowledge(&requested, 0);
    }
    assert_eq!(s.delivered().len(), 6);
}

fn uuid() -> uuid::Uuid {
    uuid::Uuid::nil()
}

#[test]
fn records_without_key_stay_with_a_partition_for_a_batch_and_then_spread() {
    let mut s = configured(World::new(1).topic("t", 8), |c| {
        (c.batch_bytes, c.linger) = (1000, Duration::from_secs(1));
    });
    let t = s.ready("t");
    let mut records = [0; 8];
    let (mut switches, mut last) = (0, None);
    for _ in 0..4000 {
        let now = s.now();
        let id = loop {
            match s.client.produce(now, t, &Record::new(&[7; 90])) {
                Ok(id) => break id,
                Err(ProduceError::Full) => {
                    let requested = s.expect::<ProduceRequest>();
                    s.acknowledge(&requested, 0);
                }
                Err(error) => s.fail(&format!("{error}")),
            }
        };
        records[id.partition as usize] += 1;
        switches += u32::from(last.replace(id.partition) != Some(id.partition));
    }
    assert!((300..500).contains(&switches), "{switches} {records:?}");
    assert!(records.iter().all(|n| (250..800).contains(n)), "{records:?}");
}

#[test]
fn a_slow_producer_without_keys_reaches_added_partitions_first_and_then_all() {
    let mut s = configured(World::new(1).topic("t", 8), |c| c.linger = Duration::from_millis(5));
    let t = s.ready("t");
    let send_one = |s: &mut Script| {
        let now = s.now();
        let id = s.client.produce(now, t, &Record::new(b"one in a batch")).expect("taken");
        let requested = s.expect::<ProduceRequest>();
        s.acknowledge(&requested, 0);
        id.partition
    };
    let before: BTreeSet<u32> = (0..100).map(|_| send_one(&mut s)).collect();
    assert_eq!(before.len(), 8, "{before:?}");
    s.world.grow("t", 11);
    s.run(Duration::from_secs(3));
    let after: Vec<u32> = (0..3).map(|_| send_one(&mut s)).collect();
    assert_eq!(after, [8, 9, 10], "each of the new ones got a record at once");
}

/// Version 13 has no field for names, and those before it have none for ids.
#[test]
fn requests_name_topics_by_id_if_all_of_them_have_one() {
    let mut world = World::new(1).topic("t", 1).topic("u", 1);
    world.topic_mut("u").id = uuid();
    let mut s = configured(world, |c| c.linger = Duration::from_millis(5));
    let (t, u) = (s.ready("t"), s.ready("u"));
    for (topics, version) in [(vec![t], 13), (vec![u], 12), (vec![t, u], 12), (vec![t], 13)] {
        for topic in &topics {
            s.produce(*topic, 0, "a");
        }
        let requested = s.expect::<ProduceRequest>();
        assert_eq!(requested.version, version, "{topics:?}");
        for topic in &requested.body.topic_data {
            assert_eq!(topic.name.is_empty(), version == 13, "{topic:?}");
            assert_eq!(topic.topic_id.is_nil(), version != 13, "{topic:?}");
        }
        s.acknowledge(&requested, 0);
        assert_eq!(s.delivered().len(), topics.len());
    }
}

/// An identity that is refused may be granted later (an ACL is added).
#[test]
fn a_refused_producer_id_is_requested_again() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.ready("t");
    s.world.producer_error = 31;
    s.produce(t, 0, "a");
    let (api, code) = (Some(Api::INIT_PRODUCER_ID), ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    let error = Error::Blocked(Obstacle::Refused { broker: 1, api, code });
    s.until("a fails", |s| s.failed() == [(1, error, false)]);
    let refused = Err(ProduceError::Refused(error));
    assert_eq!(s.try_produce(t, 0, "b"), refused);
    s.run(Duration::from_secs(2));
    s.world.producer_error = 0;
    s.produce(t, 0, "c");
    take_all(&mut s, &[("c", (0, 0, 1))]);
    assert_eq!(s.waiting::<InitProducerIdRequest>(), 0);
}
/// After the last epoch a new producer id is requested; nothing of the new id overtakes what is in
/// flight under the old one.
#[test]
fn a_new_producer_id_waits_for_batches_of_the_old_one() {
    let mut s = Script::new(World::new(2).topic("t", 2));
    s.manual(ApiKey::InitProducerId);
    let t = s.ready("t");
    s.produce(t, 0, "first");
    let requested = s.expect::<InitProducerIdRequest>();
    let response = kafka_protocol::messages::InitProducerIdResponse::default()
        .with_producer_id(kafka_protocol::messages::ProducerId(7))
        .with_producer_epoch(i16::MAX);
    s.respond(&requested, response);
    s.automatic(ApiKey::InitProducerId);
    take_all(&mut s, &[("first", (i16::MAX, 0, 1))]);
    s.produce(t, 1, "first");
    take_all(&mut s, &[("first", (i16::MAX, 0, 1))]);
    let a = send(&mut s, t, &["a"]);
    let b = send(&mut s, t, &["b"]).remove(0);
    // The other partition breaks its sequence: there is no higher epoch.
    s.produce(t, 1, "x");
    let (x, ..) = next(&mut s);
    s.refuse(&x, 45);
    s.produce(t, 0, "c");
    let (x, value, place) = next(&mut s);
    assert_eq!((value.as_str(), place), ("x", (0, 0, 1)), "under the new id");
    assert_eq!(s.batches(&x)[0].header.producer_id, 1000);
    s.acknowledge(&x, 1);
    s.run(Duration::from_millis(100));
    s.none::<ProduceRequest>("c waits for a and b");
    s.acknowledge(&a[0], 1);
    s.acknowledge(&b, 2);
    take_all(&mut s, &[("c", (0, 0, 1))]);
}

/// Each of its records was searched for from the beginning of the batch.
#[test]
fn a_batch_of_many_records_is_split_without_a_search_for_each() {
    let world = World::new(1).topic("t", 1);
    let mut config = Config::new(world.bootstrap()).linger(Duration::from_secs(1));
    (config.batch_bytes, config.request_bytes) = (1 << 20, 2 << 20);
    let mut limits = Limits::small();
    (limits.tx_blocks, limits.block_bytes) = (16_384, 128);
    let mut s = Script::with(world, config, &limits);
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    for _ in 0..60_000 {
        s.produce(t, 0, "abc");
    }
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&requested)[0].header.count, 60_000);
    let begun = clock_gettime(ClockId::ThreadCPUTime);
    s.refuse(&requested, ErrorCode::MESSAGE_TOO_LARGE.0);
    let half = s.expect::<ProduceRequest>();
    let took = clock_gettime(ClockId::ThreadCPUTime) - begun;
    assert_eq!(s.batches(&half)[0].header.count, 30_000);
    let took = Duration::new(took.tv_sec.unsigned_abs(), took.tv_nsec as u32);
    assert!(took < Duration::from_millis(300), "{took:?} of CPU time");
}
