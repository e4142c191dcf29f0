//! Temporary refusals: one `Room` follows, and not before another try is worthwhile.

use kafka_protocol::messages::{ApiKey, FetchRequest, MetadataRequest, ProduceRequest};
use kavka_core::{Duration, Error, LimitKind, Limits, ProduceError, Start};
use kavka_tests::script::steps::{next, poke, small, warm};
use kavka_tests::script::{Script, World};

/// Fills the memory; returns how many records were accepted.
fn fill(s: &mut Script, t: kavka_core::TopicId, value: &str) -> usize {
    let mut n = 0;
    while s.try_produce(t, 0, value) != Err(ProduceError::Full) {
        n += 1;
        assert!(n < 100_000, "never full");
    }
    n
}

#[test]
fn room_follows_full_once() {
    let (mut s, t) = warm();
    let value = "x".repeat(3000);
    assert!(fill(&mut s, t, &value) > 20);
    assert_eq!(s.try_produce(t, 0, &value), Err(ProduceError::Full));
    s.run(Duration::from_secs(1));
    assert_eq!(s.rooms(), 0, "nothing was acknowledged");
    let mut rooms = 0;
    while s.delivered().is_empty() || s.waiting::<ProduceRequest>() > 0 {
        let requested = s.expect::<ProduceRequest>();
        s.acknowledge(&requested, 0);
        rooms += s.rooms();
    }
    assert_eq!(rooms, 1);
    assert!(s.try_produce(t, 0, &value).is_ok());
}

/// When an eighth of the memory is free, so that a burst fits; the rest is still in flight.
#[test]
fn room_comes_when_a_part_of_the_memory_is_free() {
    let all = Limits::small().tx_blocks;
    let (mut s, t) = warm();
    let value = "x".repeat(3000);
    fill(&mut s, t, &value);
    let full = s.client.stats().blocks_used;
    assert!(full > all / 2, "{full} of {all} blocks");
    let mut used = full;
    while s.rooms() == 0 {
        used = s.client.stats().blocks_used;
        let requested = s.expect::<ProduceRequest>();
        s.acknowledge(&requested, 0);
    }
    // Each batch of 16 blocks releases its blocks.
    let now_used = s.client.stats().blocks_used;
    assert!(now_used > all / 2, "{now_used} of {all} blocks: told late");
    assert!((full - all / 8 - 16..=full - all / 8).contains(&now_used), "{now_used} of {full}");
    assert!(used > full - all / 8, "{used} of {full} blocks, and it was not told");
    let mut more = 0;
    while s.try_produce(t, 0, &value).is_ok() {
        more += 1;
    }
    assert!(more * 3000 > (all / 8 - 4) * 1024, "room for {more} more");
}

/// An application that tries again on each `Room` must not try in a loop.
#[test]
fn room_is_not_reported_while_another_try_would_fail() {
    // Few batches: their number is the limit.
    let mut s = small(World::new(1).topic("t", 40), |l| (l.tx_blocks, l.block_bytes) = (16, 1024));
    let t = s.ready("t");
    s.manual(ApiKey::InitProducerId);
    let mut partition = 0;
    while s.try_produce(t, partition % 40, "x").is_ok() {
        partition += 1;
    }
    s.settle();
    assert_eq!(s.rooms(), 0, "after {partition} batches");
}

#[test]
fn room_comes_when_the_entry_of_a_partition_is_free() {
    let mut s = small(World::new(1).topic("t", 4), |l| l.partitions = 1);
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let (a, ..) = next(&mut s);
    for _ in 0..3 {
        assert_eq!(s.try_produce(t, 1, "b"), Err(ProduceError::Full));
        s.run(Duration::from_millis(10));
        assert_eq!(s.rooms(), 0, "the entry is in use");
    }
    s.acknowledge(&a, 0);
    assert_eq!(s.rooms(), 1);
    s.produce(t, 1, "b");
    let (b, _, place) = next(&mut s);
    assert_eq!(place, (1, 0, 1), "a sequence ended with the entry: a higher epoch");
    s.acknowledge(&b, 0);
    s.produce(t, 0, "c");
    let (_, _, place) = next(&mut s);
    assert_eq!(place.1, 0);
    assert!(place.0 > 0, "higher than partition 0 ever saw");
}

#[test]
fn an_entry_that_can_never_be_free_is_a_limit() {
    let mut s = small(World::new(1).topic("t", 4), |l| l.partitions = 1);
    let t = s.ready("t");
    let now = s.now();
    s.manual(ApiKey::Fetch);
    s.client.assign(now, t, 0, Start::Earliest).expect("assigned");
    s.settle();
    let limit = Error::Limit { what: LimitKind::Partitions, needed: 0 };
    assert_eq!(s.try_produce(t, 1, "b"), Err(ProduceError::Refused(limit)));
    let record = kavka_core::Record::new(b"b");
    s.produce(t, 0, "a");
    s.settle();
    assert!(s.client.produce(now, t, &record).is_ok(), "the reader's own partition will do");
}

#[test]
fn room_follows_not_ready_when_the_topic_is_ready() {
    let mut s = Script::new(World::new(1).topic("t", 1).topic("u", 1));
    s.manual(ApiKey::Metadata);
    let (t, u) = (s.topic("t"), s.topic("u"));
    assert_eq!(s.try_produce(t, 0, "a"), Err(ProduceError::NotReady));
    s.run(Duration::from_millis(500));
    assert_eq!(s.rooms(), 0);
    // The other topic cannot be reported: that is no reason for this one to wait.
    s.world.topic_mut("u").error = 5;
    s.expect::<MetadataRequest>();
    s.cut_all(1);
    s.automatic(ApiKey::Metadata);
    s.until("t is ready", |s| s.client.freshness(t).is_some());
    assert_eq!(s.rooms(), 1);
    assert!(s.client.freshness(u).is_none());
    s.produce(t, 0, "a");
    next(&mut s);
    s.run(Duration::from_secs(3));
    assert_eq!(s.rooms(), 0);
}

#[test]
fn a_topic_that_does_not_exist_is_no_reason_to_spin() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.topic("nowhere");
    let mut tries = 0;
    let end = s.now() + Duration::from_secs(30);
    while s.now() < end {
        assert_eq!(s.try_produce(t, 0, "a"), Err(ProduceError::NotReady));
        tries += 1;
        let mut rooms = 0;
        s.until("room", |s| {
            rooms += s.rooms();
            rooms > 0 || s.now() >= end
        });
    }
    // Missing is reported after two seconds, and from then on there is a try each second.
    assert!((25..40).contains(&tries), "{tries} tries in 30 s");
}

/// S12: the application knows of a partition that the client does not know.
#[test]
fn a_partition_beyond_the_count_is_looked_for_and_waited_for_in_peace() {
    let mut s = Script::new(World::new(1).topic("t", 2));
    let t = s.ready("t");
    let before = s.client.stats().requests;
    let end = s.now() + Duration::from_secs(10);
    let mut tries = 0;
    while s.now() < end {
        assert_eq!(s.try_produce(t, 5, "a"), Err(ProduceError::NotReady));
        tries += 1;
        let mut rooms = 0;
        s.until("room", |s| {
            rooms += s.rooms();
            rooms > 0 || s.now() >= end
        });
    }
    assert!((8..15).contains(&tries), "{tries} tries in 10 s");
    let requests = s.client.stats().requests - before;
    assert!((8..40).contains(&requests), "{requests} requests in 10 s");
    assert_eq!(s.try_produce(t, 5, "a"), Err(ProduceError::NotReady));
    s.run(Duration::from_millis(300));
    s.world.grow("t", 6);
    let start = s.now();
    while s.try_produce(t, 5, "a") == Err(ProduceError::NotReady) {
        s.until("room", |s| s.rooms() > 0);
    }
    let took = start.until(s.now()).as_millis();
    assert!((1..1300).contains(&took), "after {took} ms");
    next(&mut s);
}

/// A broker remembers sequences per epoch: a client that forgot them must use another epoch.
#[test]
fn a_partition_that_lost_its_entry_comes_back_under_another_epoch() {
    let mut s = small(World::new(1).topic("t", 2), |l| l.partitions = 1);
    let t = s.ready("t");
    let mut places = Vec::new();
    for partition in [0, 1, 0] {
        s.until("it is taken", |s| s.try_produce(t, partition, "a").is_ok());
        let (requested, _, place) = next(&mut s);
        places.push(place);
        s.acknowledge(&requested, 0);
        assert_eq!(s.delivered().len(), 1);
    }
    assert_eq!(places, [(0, 0, 1), (1, 0, 1), (2, 0, 1)]);
}

#[test]
fn a_full_producer_leaves_memory_for_other_requests() {
    let (mut s, t) = warm();
    fill(&mut s, t, &"x".repeat(3000));
    let held = s.expect::<ProduceRequest>();
    s.manual(ApiKey::Metadata);
    poke(&mut s, t);
    let now = s.now();
    s.client.assign(now, t, 0, Start::Offset(0)).expect("assigned");
    s.expect_within::<MetadataRequest>(Duration::from_secs(1));
    s.expect_within::<FetchRequest>(Duration::from_secs(1));
    s.acknowledge(&held, 1);
}
