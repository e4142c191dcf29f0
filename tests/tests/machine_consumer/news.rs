//! An application that takes no records for now: what is fetched for it, and what it learns
//! meanwhile.

use std::time::Duration;

use kafka_protocol::messages::{FetchRequest, ProduceRequest};
use kavka_core::{Admin, Config, Event, Limits, Start};
use kavka_tests::script::fetch::records;
use kavka_tests::script::steps::{batch, events, fetch_at, reading, warm_up};
use kavka_tests::script::{Script, World};

/// Takes everything except records for this time. Returns the counts of reported growths.
fn take_news(s: &mut Script, time: Duration) -> Vec<u32> {
    let (end, mut grown) = (s.now() + time, Vec::new());
    s.listening = false;
    while s.now() < end {
        s.run(Duration::from_millis(50));
        let now = s.now();
        while let Some((event, _)) = s.client.poll_news(now) {
            match event {
                Event::Records(batch) => panic!("records at {}", batch.position()),
                Event::PartitionsAdded { to, .. } => grown.push(to),
                _ => {}
            }
        }
    }
    grown
}

#[test]
fn records_wait_in_the_buffer_for_as_long_as_no_application_takes_them() {
    let (mut s, _) = reading(1, 2);
    let requested = s.expect::<FetchRequest>();
    s.listening = false;
    let both =
        vec![records(0, &[batch(0, &["a"]), batch(1, &["b"])]), records(1, &[batch(0, &["c"])])];
    s.give(&requested, 7, both);
    let now = s.now();
    assert!(s.client.poll_news(now).is_none());
    let due = s.client.poll_timeout();
    assert!(due.is_none_or(|due| due > now), "records are no reason to look at once");
    take_news(&mut s, Duration::from_secs(20));
    s.none::<FetchRequest>("the response to the last one was not read");
    s.listening = true;
    let read: Vec<_> = s.records().into_iter().map(|(.., value)| value).collect();
    assert_eq!(read, ["a", "b", "c"]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(requested.body.session_epoch, 1, "the session continues");
}

#[test]
fn growth_is_reported_while_records_wait() {
    let (mut s, _) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    s.listening = false;
    s.give(&requested, 7, vec![records(0, &[batch(0, &["a"])])]);
    s.world.grow("t", 3);
    assert_eq!(take_news(&mut s, Duration::from_secs(5)), [3]);
}

#[test]
fn over_the_only_connection_nothing_is_fetched_again_before_records_are_taken() {
    let world = World::new(1).topic("t", 1);
    let mut limits = Limits::small();
    limits.conns = 1;
    let mut s = Script::with(world.clone(), Config::new(world.bootstrap()), &limits);
    let t = s.ready("t");
    let now = s.now();
    s.client.assign(now, t, 0, Start::Offset(0)).unwrap();
    let requested = s.expect::<FetchRequest>();
    s.listening = false;
    s.give(&requested, 7, vec![records(0, &[batch(0, &["a"])])]);
    take_news(&mut s, Duration::from_secs(20));
    s.none::<FetchRequest>("what nobody takes would be thrown away again");
    s.listening = true;
    let requested = s.expect_within::<FetchRequest>(Duration::ZERO);
    s.give(&requested, 7, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(s.records(), [(0, 0, "a".into())]);
}

/// Five brokers and eight connections, so one each for everything: an acknowledgement waits behind
/// records that nobody takes for a second, whatever waits at another one.
#[test]
fn each_of_several_connections_is_freed_after_a_second_of_its_own() {
    let (mut s, _) = reading(5, 5);
    let t = s.topic("t");
    warm_up(&mut s, t, 0);
    let first = fetch_at(&mut s, 1);
    let second = fetch_at(&mut s, 2);
    s.produce(t, 0, "x");
    let requested = s.expect_within::<ProduceRequest>(Duration::ZERO);
    assert_eq!(requested.conn, first.conn, "one connection for everything");
    s.listening = false;
    take_news(&mut s, Duration::from_millis(50));
    s.give(&first, 7, vec![records(0, &[batch(0, &["a"])])]);
    s.acknowledge(&requested, 1);
    let start = s.now();
    take_news(&mut s, Duration::from_millis(400));
    s.give(&second, 8, vec![records(1, &[batch(0, &["b"])])]);
    let delivered = loop {
        let now = s.now();
        match s.client.poll_news(now) {
            Some((Event::Delivered { .. }, _)) => break now,
            Some(_) => {}
            None => {
                let due = s.client.poll_timeout().expect("something is due");
                s.run(now.until(due));
            }
        }
    };
    assert_eq!(start.until(delivered), Duration::from_secs(1));
}

/// The records wait in the buffer of the other connection to the same broker.
#[test]
fn acknowledgements_and_probes_are_on_time_while_records_wait() {
    let world = World::new(1).topic("t", 1);
    let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    let now = s.now();
    s.client.assign(now, t, 0, Start::Offset(0)).unwrap();
    s.produce(t, 0, "a producer id");
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    let requested = s.expect::<FetchRequest>();
    s.listening = false;
    s.give(&requested, 7, vec![records(0, &[batch(0, &["a"])])]);
    take_news(&mut s, Duration::from_secs(1));
    let probes = s.client.stats().probes.requests;
    for turn in 0..20 {
        s.produce(t, 0, "b");
        let produced = s.now();
        let requested = s.expect_within::<ProduceRequest>(Duration::from_millis(10));
        s.acknowledge(&requested, turn + 1);
        let now = s.now();
        let news = s.client.poll_news(now).map(|(event, _)| event);
        let delivered = matches!(news, Some(Event::Delivered { count: 1, .. }));
        assert!(delivered, "record {turn}: {news:?}");
        let took = produced.until(now);
        assert!(took < Duration::from_millis(20), "record {turn}: {took:?}");
        let age = s.client.freshness(t).unwrap().confirmed.until(now);
        assert!(age <= Duration::from_millis(1100), "after {turn} records: {age:?} old");
        take_news(&mut s, Duration::from_millis(500));
    }
    let probes = s.client.stats().probes.requests - probes;
    assert!((9..=11).contains(&probes), "{probes} probes in ten seconds");
    s.listening = true;
    assert_eq!(s.records(), [(0, 0, "a".into())]);
}

/// After the last event there is none, and one that was withdrawn is none.
#[test]
fn what_has_an_event_has_one() {
    let world = World::new(2).topic("t", 2);
    let mut config = Config::new(world.bootstrap());
    config.report_positions = true;
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    let now = s.now();
    s.client.assign_all(now, t, Start::Earliest).unwrap();
    for offset in 0..3 {
        let requested = s.expect::<FetchRequest>();
        let part = requested.body.topics[0].partitions[0].partition;
        let part = records(part, &[batch(offset, &["a"])]).with_high_watermark(offset + 1);
        s.give(&requested, 0, vec![part]);
    }
    s.cut_all(1);
    s.run(Duration::from_secs(2));
    s.kill(2);
    let now = s.now();
    s.client.admin(now, &Admin::Describe { topic: None }).unwrap();
    s.run(Duration::from_secs(40));
    assert!(events(&mut s).len() > 5);
    assert_eq!(s.hollow, 0);
    // A seek withdraws what was to be reported of the position before.
    s.listening = false;
    s.world.node(2).up = true;
    let now = s.now();
    let at = s.client.assign(now, t, 7, Start::Offset(3)).unwrap();
    s.client.unassign(now, at);
    assert!(!s.client.has_event(now) || s.client.poll_event(now).is_some());
}
