//! The first batch to a new partition takes its broker up to 1.6 s, because it waits for followers.
//! Batches for other partitions must not wait for it.

use kafka_protocol::messages::ProduceRequest;
use kavka_core::{Acks, Config, Duration, Limits};
use kavka_tests::script::steps::{configured, warm_up};
use kavka_tests::script::{Requested, Script, World};

const SLOW: Duration = Duration::from_millis(1600);
const TICK: Duration = Duration::from_millis(5);

/// Writes to one old partition while the topic grows to four. Returns the longest time without an
/// acknowledgement of the old one, and the time until all new ones had two.
fn grow(s: &mut Script) -> (Duration, Duration) {
    let t = s.ready("t");
    warm_up(s, t, 0);
    s.world.grow("t", 4);
    let (mut held, mut seen) = (Vec::<Requested<ProduceRequest>>::new(), [1, 0, 0, 0]);
    let (start, mut last, mut silence, mut all) = (s.now(), s.now(), Duration::ZERO, None);
    while start.until(s.now()) < Duration::from_secs(8) {
        for partition in 0..4 {
            let _ = s.try_produce(t, partition, "x");
        }
        s.run(TICK);
        while let Some(requested) = s.take() {
            held.push(requested);
        }
        let now = s.now();
        // A broker responds in order: what follows a slow batch waits, on the same connection.
        for requested in core::mem::take(&mut held) {
            let batches = s.batches(&requested);
            let slow = batches.iter().any(|batch| seen[batch.partition as usize] == 0);
            let behind = held.iter().any(|before| before.conn == requested.conn);
            if behind || (slow && requested.at.until(now) < SLOW) {
                held.push(requested);
                continue;
            }
            for batch in batches {
                let partition = batch.partition as usize;
                seen[partition] += 1;
                if partition == 0 {
                    silence = silence.max(last.until(now));
                    last = now;
                }
            }
            if seen.iter().all(|n| *n > 1) {
                all.get_or_insert(start.until(now));
            }
            s.acknowledge(&requested, 1);
        }
    }
    assert_eq!(s.failed(), []);
    (silence, all.unwrap_or(Duration::MAX))
}

#[test]
fn old_partitions_do_not_wait_for_the_first_batches_of_new_ones() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let (silence, all) = grow(&mut s);
    assert!((TICK..10 * TICK).contains(&silence), "no acknowledgement for {silence:?}");
    assert!((SLOW..Duration::from_millis(3500)).contains(&all), "the new ones take {all:?}");
    assert!((2..=3).contains(&s.connects.len()), "{:?}", s.connects);
}

#[test]
fn a_client_without_a_connection_to_spare_sends_first_batches_over_the_one_it_has() {
    let world = World::new(1).topic("t", 1);
    let mut limits = Limits::small();
    limits.conns = 2;
    let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    let mut s = Script::with(world, config, &limits);
    let (silence, all) = grow(&mut s);
    assert!(silence >= SLOW, "{silence:?}");
    assert!((SLOW..Duration::from_secs(5)).contains(&all), "the new ones take {all:?}");
}

/// No batch overtakes it, on any connection.
#[test]
fn the_second_batch_waits_for_the_first_one_on_another_connection() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.world.grow("t", 2);
    s.run(Duration::from_secs(2));
    s.produce(t, 1, "a");
    let first = s.expect::<ProduceRequest>();
    s.produce(t, 1, "b");
    s.produce(t, 0, "c");
    let other = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&other)[0].values, ["c"]);
    assert_ne!(first.conn, other.conn);
    s.run(Duration::from_secs(1));
    s.none::<ProduceRequest>("a is not acknowledged");
    s.acknowledge(&first, 0);
    let second = s.expect_within::<ProduceRequest>(Duration::ZERO);
    assert_eq!((s.batches(&second)[0].place(), second.conn), ((0, 1, 1), other.conn));
}

/// A connection that does not open is not waited for.
#[test]
fn a_first_batch_whose_connection_is_not_made_takes_the_main_one() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.world.grow("t", 2);
    s.run(Duration::from_secs(2));
    s.world.node(1).hangs = true;
    s.produce(t, 1, "a");
    let start = s.now();
    s.expect::<ProduceRequest>();
    let waited = start.until(s.now());
    assert_eq!(waited, Duration::from_millis(200));
}

#[test]
fn with_acks_of_the_leader_alone_there_is_nothing_to_wait_for() {
    let mut s = configured(World::new(1).topic("t", 1), |c| {
        (c.acks, c.idempotence) = (Acks::Leader, false);
    });
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.world.grow("t", 2);
    s.run(Duration::from_secs(2));
    s.produce(t, 1, "a");
    s.expect::<ProduceRequest>();
    assert_eq!(s.connects.len(), 1, "{:?}", s.connects);
}
