//! The partitions that records without a key go to, and what a recreated topic does to the others.

use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ProduceRequest};
use kavka_core::{CloseReason, Duration, Error, Event, Obstacle, Record, TopicId};
use kavka_tests::script::steps::{configured, next, poke, warm_up, with_id};
use kavka_tests::script::{Script, World};
use kavka_tests::sim::Profile;

/// Produces a record without key, which is sent at once; returns its partition.
fn one(s: &mut Script, t: TopicId) -> u32 {
    let now = s.now();
    let id = s.client.produce(now, t, &Record::new(b"no key")).expect("taken");
    s.settle();
    while let Some(requested) = s.take::<ProduceRequest>() {
        s.acknowledge(&requested, 0);
    }
    id.partition
}

/// Found by a few guesses where many have a leader, and by a full scan where few do.
#[test]
fn records_without_key_go_to_partitions_with_a_leader() {
    for led in [1, 2, 16, 31] {
        let mut world = World::new(1).topic("t", 32);
        for index in led..32 {
            world.partition("t", index).leader = -1;
        }
        let mut s = configured(world, |_| ());
        let t = s.ready("t");
        // The first goes anywhere, as no leader is known; the next ones scan.
        let mut looks = 0;
        while one(&mut s, t) as usize >= led {
            s.run(Duration::from_millis(2));
            looks += 1;
            assert!(looks < 200, "{led} with a leader, and none is found");
        }
        s.run(Duration::from_secs(1));
        let mut hits = [0_usize; 32];
        for _ in 0..500 {
            hits[one(&mut s, t) as usize] += 1;
        }
        let (with, without) = hits.split_at(led);
        assert_eq!(without.iter().sum::<usize>(), 0, "{led} with a leader: {hits:?}");
        assert!(with.iter().all(|n| (1..=500).contains(n)), "{led} with a leader: {hits:?}");
    }
}

/// Twelve clients of one record each, like `kavka produce`: no leader is known when they choose,
/// and records that were not sent yet move.
#[test]
fn records_without_key_move_away_from_partitions_without_a_leader() {
    for led in 0..3 {
        for seed in 0..12 {
            let mut world = World::new(1).topic("t", 3);
            for index in (0..3).filter(|index| *index != led) {
                world.partition("t", index).leader = -1;
            }
            let mut s = configured(world, |_| ());
            let t = s.ready("t");
            s.run(Duration::from_millis(10 * seed));
            let now = s.now();
            s.client.produce(now, t, &Record::new(b"no key")).expect("taken");
            let requested = s.expect::<ProduceRequest>();
            assert_eq!(s.batches(&requested)[0].partition as usize, led);
            s.acknowledge(&requested, 0);
            let to = s.take_reported(|reported| match reported.event()? {
                Event::Delivered { to, count: 1, .. } => Some(to.partition as usize),
                _ => None,
            });
            assert_eq!(to, [led]);
        }
    }
}

/// Metadata names a dead broker for a while. Records with keys wait, and report the reason.
#[test]
fn records_without_key_move_away_from_a_broker_that_refuses_connections() {
    let mut world = World::new(2).topic("t", 2);
    world.partition("t", 0).leader = 1;
    world.partition("t", 1).leader = 2;
    let mut s = configured(world, |c| c.delivery_timeout = Duration::from_secs(5));
    let t = s.ready("t");
    s.produce(t, 0, "leaders are known");
    s.run(Duration::from_secs(1));
    s.kill(2);
    let now = s.now();
    s.client.produce(now, (t, 1), &Record::new(b"its own")).expect("taken");
    s.run(Duration::from_millis(100));
    for _ in 0..20 {
        let now = s.now();
        s.client.produce(now, t, &Record::new(b"no key")).expect("taken");
        s.run(Duration::from_millis(100));
        while let Some(requested) = s.take::<ProduceRequest>() {
            assert_eq!(s.batches(&requested)[0].partition, 0);
            s.acknowledge(&requested, 0);
        }
    }
    s.run(Duration::from_secs(5));
    let delivered: u32 = s.delivered().iter().map(|(count, _)| count).sum();
    assert_eq!(delivered, 21, "all but the one that may go nowhere else");
    let why = CloseReason::Refused;
    let error = Error::Blocked(Obstacle::Unreachable { broker: 2, why, api: None });
    assert_eq!(s.failed(), [(1, error, false)]);
}

/// A connection to the leader is not established, or there is no response to ApiVersions: that is
/// known after three seconds.
#[test]
fn records_without_key_move_away_from_a_leader_that_is_silent() {
    for hangs in [true, false] {
        let mut world = World::new(2).topic("t", 2);
        world.partition("t", 0).leader = 1;
        world.partition("t", 1).leader = 2;
        let mut s = configured(world, |_| ());
        let t = s.ready("t");
        s.world.node(2).hangs = hangs;
        s.manual(ApiKey::ApiVersions);
        let begun = s.now();
        let mut taken = 0;
        let mut to_silent = false;
        while !to_silent {
            let now = s.now();
            let record = s.client.produce(now, t, &Record::new(b"no key")).expect("taken");
            to_silent = record.partition == 1;
            taken += 1;
            s.settle();
        }
        let mut delivered = 0;
        s.until("all are delivered", |s| {
            while let Some(requested) = s.take::<ApiVersionsRequest>() {
                if requested.node == 1 {
                    let body = s.world.versions(Profile::V4_4);
                    s.respond(&requested, body);
                }
            }
            while let Some(requested) = s.take::<ProduceRequest>() {
                s.acknowledge(&requested, 0);
            }
            delivered += s.delivered().iter().map(|(count, _)| count).sum::<u32>();
            delivered == taken
        });
        let took = begun.until(s.now());
        assert!(took < Duration::from_millis(3500), "hangs: {hangs}, after {took:?}");
        // Others are not sent there either.
        for _ in 0..20 {
            assert_eq!(one(&mut s, t), 0, "hangs: {hangs}");
        }
    }
}

/// The reason of a record that may not move.
#[test]
fn a_record_that_waits_for_a_leader_says_so() {
    let mut world = World::new(1).topic("t", 2);
    world.partition("t", 1).leader = -1;
    let mut s = configured(world, |c| c.delivery_timeout = Duration::from_secs(5));
    let t = s.ready("t");
    s.produce(t, 1, "a");
    s.run(Duration::from_secs(6));
    assert_eq!(s.failed(), [(1, Error::Blocked(Obstacle::NoLeader), false)]);
}

/// The partition that they stay with for now may lose its leader, too.
#[test]
fn records_without_key_leave_a_partition_that_loses_its_leader() {
    let world = World::new(1).topic("t", 2);
    let mut s = configured(world, |c| c.linger = Duration::from_secs(100));
    let t = s.ready("t");
    for partition in 0..2 {
        s.produce(t, partition, "leaders are known");
    }
    s.run(Duration::from_secs(2));
    let stay = |s: &mut Script| {
        let now = s.now();
        s.client.produce(now, t, &Record::new(b"no key")).expect("taken").partition
    };
    let first = stay(&mut s);
    assert!((0..20).all(|_| stay(&mut s) == first), "they travel together");
    s.world.partition("t", first as usize).leader = -1;
    poke(&mut s, t);
    s.run(Duration::from_secs(1));
    assert!((0..20).all(|_| stay(&mut s) == 1 - first), "to the one that has a leader");
    // Both without a leader: they stay, and wait.
    s.world.partition("t", 1 - first as usize).leader = -1;
    poke(&mut s, t);
    s.run(Duration::from_secs(1));
    assert!((0..20).all(|_| stay(&mut s) == 1 - first), "no other is better");
}

/// A partition has the records of one application in the order in which it sent them.
#[test]
fn records_without_key_do_not_move_after_what_was_sent_later() {
    let mut world = World::new(1).topic("t", 2);
    for index in 0..2 {
        world.partition("t", index).leader = -1;
    }
    let mut s = configured(world, |c| c.delivery_timeout = Duration::from_secs(60));
    let t = s.ready("t");
    let now = s.now();
    let first = s.client.produce(now, t, &Record::new(b"no key")).expect("taken").partition;
    s.produce(t, 1 - first, "later");
    s.run(Duration::from_secs(1));
    s.world.partition("t", 1 - first as usize).leader = 1;
    poke(&mut s, t);
    let requested = s.expect::<ProduceRequest>();
    let sent: Vec<_> = s.batches(&requested).into_iter().flat_map(|batch| batch.values).collect();
    assert_eq!(sent, ["later"], "alone");
    s.acknowledge(&requested, 0);
    s.run(Duration::from_secs(2));
    s.none::<ProduceRequest>("the first waits for its own leader");
    s.world.partition("t", first as usize).leader = 1;
    poke(&mut s, t);
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&requested)[0].partition, first as i32);
}

#[test]
fn an_added_partition_gets_records_without_key_when_it_has_a_leader() {
    let mut s = configured(World::new(1).topic("t", 2), |_| ());
    let t = s.ready("t");
    one(&mut s, t);
    s.world.grow("t", 3);
    s.world.partition("t", 2).leader = -1;
    s.run(Duration::from_secs(3));
    assert_eq!(s.client.freshness(t).map(|fresh| fresh.partitions), Some(3));
    assert!((0..50).all(|_| one(&mut s, t) < 2));
    s.world.lead("t", 2, 1);
    s.run(Duration::from_secs(3));
    assert_eq!(one(&mut s, t), 2, "the first that can be goes there");
}

/// The logs are new, and so are the sequences; records that wait for deleted partitions fail.
#[test]
fn a_recreated_topic_has_new_sequences_and_no_records_for_partitions_that_are_gone() {
    let mut s = configured(World::new(1).topic("t", 4), |_| ());
    let t = s.ready("t");
    for partition in [0, 1, 3] {
        warm_up(&mut s, t, partition);
    }
    s.world = with_id(&s.world, 77, 2);
    // One partition has something to send meanwhile, one has not.
    s.produce(t, 3, "gone");
    s.produce(t, 0, "a");
    let (start, mut failed, mut left) = (s.now(), Vec::new(), Vec::new());
    while start.until(s.now()) < Duration::from_secs(6) {
        if let Some(requested) = s.take::<ProduceRequest>() {
            for batch in s.batches(&requested) {
                left.push((batch.values.join(","), batch.place()));
            }
            if left.last().is_some_and(|(_, place)| place.0 > 0) {
                s.acknowledge(&requested, 0);
            } else {
                s.refuse(&requested, 100);
            }
        }
        s.run(Duration::from_millis(1));
        failed.append(&mut s.failed());
    }
    assert_eq!(failed, [(1, Script::code(3), false)], "long before its delivery timeout");
    assert_eq!(s.delivered(), [(1, Some(0))]);
    assert_eq!(left.last(), Some(&("a".into(), (1, 0, 1))), "{left:?}");
    s.produce(t, 1, "b");
    let (_, value, (epoch, sequence, _)) = next(&mut s);
    assert_eq!((value.as_str(), sequence), ("b", 0));
    assert!(epoch > 0, "epoch {epoch}");
}
