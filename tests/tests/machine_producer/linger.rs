//! How long batches wait for more records: while requests are in flight and records keep arriving.

use kafka_protocol::messages::ProduceRequest;
use kavka_core::{Acks, Config, Duration, Instant, Limits, Record, TopicId};
use kavka_tests::script::steps::{configured, next, warm_up};
use kavka_tests::script::{Requested, Script, World};

const LINGER: Duration = Duration::from_millis(8);
/// After this pause, records count as no longer arriving.
const PAUSE: Duration = Duration::from_millis(1);
const STEP: Duration = Duration::from_micros(1);

/// Returns one partition whose leader has acknowledged a record.
fn lingering(change: impl FnOnce(&mut Config<'static>)) -> (Script, TopicId) {
    let mut s = configured(World::new(1).topic("t", 1), |c| {
        c.linger = LINGER;
        change(c);
    });
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.run(Duration::from_secs(1));
    (s, t)
}

fn values(s: &Script, requested: &Requested<ProduceRequest>) -> String {
    let batches = s.batches(requested);
    batches.iter().map(|batch| batch.values.join(",")).collect::<Vec<_>>().join(";")
}

#[test]
fn a_record_leaves_at_once_when_nothing_is_under_way() {
    let (mut s, t) = lingering(|_| {});
    for i in 1..20 {
        s.produce(t, 0, "awaited");
        let requested = s.expect_within::<ProduceRequest>(Duration::ZERO);
        s.run(Duration::from_micros(300));
        s.acknowledge(&requested, i);
        assert_eq!(s.delivered(), [(1, Some(i))]);
    }
}

#[test]
fn records_gather_while_a_request_is_under_way_but_no_longer_than_linger() {
    let (mut s, t) = lingering(|_| {});
    s.produce(t, 0, "a");
    let _unanswered = s.expect_within::<ProduceRequest>(Duration::ZERO);
    s.produce(t, 0, "b");
    s.run(LINGER - STEP);
    s.produce(t, 0, "c");
    s.none::<ProduceRequest>("b and c linger");
    s.run(STEP);
    let requested = s.expect_within::<ProduceRequest>(Duration::ZERO);
    assert_eq!(values(&s, &requested), "b,c");
}

/// A caller that awaits each acknowledgement sends nothing while one is missing.
#[test]
fn what_has_gathered_leaves_when_nothing_is_under_way_and_records_stop_coming() {
    let (mut s, t) = lingering(|_| {});
    s.produce(t, 0, "a");
    let requested = s.expect_within::<ProduceRequest>(Duration::ZERO);
    s.produce(t, 0, "b");
    s.run(PAUSE / 2);
    s.acknowledge(&requested, 1);
    s.produce(t, 0, "c");
    s.run(PAUSE - STEP);
    s.none::<ProduceRequest>("more records may come");
    s.run(STEP);
    let requested = s.expect_within::<ProduceRequest>(Duration::ZERO);
    assert_eq!(values(&s, &requested), "b,c");
}

#[test]
fn what_has_gathered_does_not_linger_forever_while_records_keep_coming() {
    let (mut s, t) = lingering(|_| {});
    s.produce(t, 0, "a");
    let requested = s.expect_within::<ProduceRequest>(Duration::ZERO);
    let start = s.now();
    s.produce(t, 0, "b");
    s.acknowledge(&requested, 1);
    while s.waiting::<ProduceRequest>() == 0 {
        s.run(PAUSE / 2);
        s.produce(t, 0, "b");
    }
    assert_eq!(start.until(s.now()), LINGER);
}

#[test]
fn records_of_one_turn_leave_together() {
    let mut s = configured(World::new(1).topic("t", 3), |c| c.linger = LINGER);
    let t = s.ready("t");
    for partition in 0..3 {
        warm_up(&mut s, t, partition);
    }
    for value in ["a", "b"] {
        for partition in 0..3 {
            s.produce(t, partition, value);
        }
    }
    let requested = s.expect_within::<ProduceRequest>(Duration::ZERO);
    assert_eq!(values(&s, &requested), "a,b;a,b;a,b");
}

/// The rest of a flow is worth waiting for.
#[test]
fn behind_a_full_batch_records_gather() {
    let (mut s, t) = lingering(|c| c.batch_bytes = 1000);
    for _ in 0..3 {
        s.produce(t, 0, &"x".repeat(400));
    }
    let requested = s.expect_within::<ProduceRequest>(Duration::ZERO);
    assert_eq!(s.batches(&requested)[0].header.count, 2);
    s.none::<ProduceRequest>("the third one waits for more");
    s.acknowledge(&requested, 1);
    s.none::<ProduceRequest>("the third one waits for more");
    s.run(PAUSE);
    assert_eq!(s.waiting::<ProduceRequest>(), 1);
}

#[test]
fn without_responses_all_records_linger() {
    let (mut s, t) = lingering(|c| {
        c.idempotence = false;
        c.acks = Acks::Leader;
    });
    s.produce(t, 0, "leader");
    next(&mut s);
    let mut s = configured(World::new(1).topic("t", 1), |c| {
        (c.linger, c.idempotence, c.acks) = (LINGER, false, Acks::None);
    });
    let t = s.ready("t");
    s.produce(t, 0, "first");
    next(&mut s);
    s.produce(t, 0, "a");
    s.run(LINGER - STEP);
    s.none::<ProduceRequest>("it lingers");
    s.run(STEP);
    assert_eq!(s.waiting::<ProduceRequest>(), 1);
}

/// How records arrive in a second: at these times, in microseconds, to partitions in turn.
struct Flow {
    name: &'static str,
    partitions: u32,
    gap: fn(u64) -> u64,
}

/// Counts requests in a virtual second against a broker that responds after 0.3 ms.
fn requests(flow: &Flow, linger_when_idle: bool) -> (u64, u64) {
    let world = World::new(1).topic("t", flow.partitions as usize);
    let mut config = Config::new(world.bootstrap());
    config.linger_when_idle = linger_when_idle;
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    for partition in 0..flow.partitions {
        warm_up(&mut s, t, partition);
    }
    let (start, before) = (s.now(), s.client.stats().requests);
    let end = start + Duration::from_secs(1);
    let mut responses: Vec<(Instant, Requested<ProduceRequest>)> = Vec::new();
    let (mut records, mut next) = (0, start);
    while next < end {
        let at = responses.first().map_or(next, |(at, _)| next.min(*at));
        s.run(s.now().until(at));
        if responses.first().is_some_and(|(due, _)| *due <= at) {
            let (_, requested) = responses.remove(0);
            s.acknowledge(&requested, 1);
        } else {
            let now = s.now();
            let to = (t, records as u32 % flow.partitions);
            s.client.produce(now, to, &Record::new(&[7; 100])).expect("room");
            records += 1;
            next = next + Duration::from_micros((flow.gap)(records));
        }
        s.settle();
        while let Some(requested) = s.take::<ProduceRequest>() {
            responses.push((s.now() + Duration::from_micros(300), requested));
        }
        let _ = s.reported();
    }
    (s.client.stats().requests - before, records)
}

/// Lingering only while requests are in flight must not cost brokers more requests than a fixed
/// linger does, when there are many records.
#[test]
fn many_records_a_second_take_few_requests() {
    let flows = [
        Flow { name: "evenly", partitions: 1, gap: |_| 50 },
        Flow { name: "over six partitions", partitions: 6, gap: |_| 50 },
        // Threads that sleep: two or three records at a time.
        Flow {
            name: "in twos and threes",
            partitions: 1,
            gap: |n| [0, 100, 0, 0, 150][n as usize % 5],
        },
        // Exponential gaps, as from many independent senders.
        Flow {
            name: "at random",
            partitions: 1,
            gap: |n| {
                let mixed =
                    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1_u64 << 53) as f64;
                (-50.0 * (1.0 - mixed).ln()) as u64
            },
        },
    ];
    for flow in &flows {
        let (fixed, _) = requests(flow, true);
        let (ours, records) = requests(flow, false);
        println!(
            "{}: {records} records, {fixed} requests with a fixed linger, {ours} without",
            flow.name
        );
        assert!((19_000..=21_500).contains(&records), "{}: {records}", flow.name);
        assert!(
            (fixed * 9 / 10..=fixed * 3 / 2).contains(&ours),
            "{}: {ours} requests, {fixed} with a fixed linger",
            flow.name
        );
        assert!((150..260).contains(&fixed), "{}: {fixed} with a fixed linger", flow.name);
    }
}
