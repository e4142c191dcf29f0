//! Three brokers of 4.4.0: killed in turn under load, and stopped while the topic grows.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use kavka_std::{Event, Events, Producer, Start};
use kavka_tests::kafka::{self, Cluster, Spec, Version};

use crate::load::{CountWatch, Reader, Sender, TOPIC, await_true, config};

const LOAD: u32 = 1;
const RECORDS: u32 = 100_000;
/// Longest time until growth is noticed while one of three brokers does not respond.
const NOTICED_WITHIN: Duration = Duration::from_millis(2500);
const STOPPED_FOR: Duration = Duration::from_secs(5);

fn three_brokers() -> Option<Cluster> {
    let cluster = kafka::start_or_skip(Spec::new(Version::V4_4_0, 3))?;
    cluster.create(TOPIC, 6).unwrap();
    cluster.await_in_sync(TOPIC).unwrap();
    Some(cluster)
}

#[test]
fn leaders_killed_in_turn_lose_nothing() {
    let Some(cluster) = three_brokers() else { return };
    let producer = Producer::new(config(&cluster)).unwrap();
    let reader = Reader::new(&cluster, Start::Earliest);
    let (over, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let sent = thread::scope(|scope| {
        let watch = CountWatch::new(scope, &producer, &stop);
        let load = scope.spawn(|| {
            let mut sender = Sender::new(&producer, LOAD);
            sender.send(RECORDS, 3000, |_| true);
            // The load continues as long as brokers die.
            sender.send(10 * RECORDS, 3000, |_| !over.load(Ordering::Acquire));
            sender
        });
        let killed = thread::scope(|inner| inner.spawn(|| kill_in_turn(&cluster)).join());
        over.store(true, Ordering::Release);
        killed.expect("killing in turn failed");
        let sender = load.join().expect("the sending thread panicked");
        let sent = sender.sent();
        sender.settle(&reader.readings);
        watch.finish();
        sent
    });
    let read = reader.await_read(LOAD, sent, Duration::from_secs(20));
    let report = reader.report(LOAD);
    eprintln!("{}, brokers killed in turn: {report}", cluster.spec());
    assert!(read && report.is_clean() && report.acknowledged == u64::from(sent), "{report}");
}

fn kill_in_turn(cluster: &Cluster) {
    for node in 1..=cluster.nodes() {
        cluster.await_in_sync(TOPIC).unwrap();
        assert!(leads(cluster, node) > 0, "node {node} leads nothing");
        cluster.kill(node).unwrap();
        let moved = await_true(Duration::from_secs(20), || leads(cluster, node) == 0);
        assert!(moved, "node {node} is dead and still leads {}", leads(cluster, node));
        cluster.restart(node).unwrap();
    }
}

/// Returns how many partitions `node` leads, by the first running broker's metadata.
fn leads(cluster: &Cluster, node: usize) -> usize {
    let seen = cluster.metadata(Some(TOPIC)).unwrap();
    seen.partitions.iter().filter(|p| usize::try_from(p.leader) == Ok(node)).count()
}

#[test]
fn growth_is_noticed_while_a_broker_is_stopped() {
    let Some(cluster) = three_brokers() else { return };
    let producer = Producer::new(config(&cluster)).unwrap();
    let events = producer.events();
    let reader = Reader::new(&cluster, Start::Earliest);
    let (over, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let sent = thread::scope(|scope| {
        let watch = CountWatch::new(scope, &producer, &stop);
        let load = scope.spawn(|| {
            let mut sender = Sender::new(&producer, LOAD);
            sender.send(RECORDS, 200, |_| !over.load(Ordering::Acquire));
            sender
        });
        let grown = thread::scope(|inner| inner.spawn(|| grow_in_turn(&cluster, &events)).join());
        over.store(true, Ordering::Release);
        grown.expect("growing failed");
        let sender = load.join().expect("the sending thread panicked");
        let sent = sender.sent();
        sender.settle(&reader.readings);
        watch.finish();
        sent
    });
    let read = reader.await_read(LOAD, sent, Duration::from_secs(20));
    let report = reader.report(LOAD);
    assert!(read && report.is_clean() && report.acknowledged == u64::from(sent), "{report}");
}

/// Stops each broker for 5 s and adds two partitions through another one meanwhile, except for the
/// active controller, without which no partition can be added.
fn grow_in_turn(cluster: &Cluster, events: &Events) {
    let mut count = 6;
    let controller = cluster.active_controller().unwrap();
    for node in (1..=cluster.nodes()).filter(|node| *node != controller) {
        let begun = Instant::now();
        let mut other = cluster.raw(controller).unwrap();
        cluster.pause(node).unwrap();
        count += 2;
        let response = other.create_partitions(TOPIC, i32::try_from(count).unwrap()).unwrap();
        let (grown, took) = (Instant::now(), begun.elapsed());
        assert_eq!(response, 0, "CreatePartitions while node {node} is stopped");
        if let Err(other) = await_count(events, count) {
            panic!(
                "{count} partitions, node {node} stopped, grown in {took:.1?}: not noticed; {other}"
            );
        }
        eprintln!(
            "node {node} stopped: grown in {took:.1?}, noticed {:.1?} later",
            grown.elapsed()
        );
        // The stop itself is tested: its length is no synchronisation.
        thread::sleep(STOPPED_FOR.saturating_sub(begun.elapsed()));
        cluster.resume(node).unwrap();
        cluster.await_count(TOPIC, count).unwrap();
    }
}

/// Waits for a growth; returns the other events when it is not reported in time.
fn await_count(events: &Events, count: u32) -> Result<(), String> {
    let deadline = Instant::now() + NOTICED_WITHIN;
    let mut others = String::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match events.next_timeout(left) {
            Some(Event::PartitionsAdded { to, .. }) if to == count => return Ok(()),
            Some(other) => others += &format!("\n  {other:?}"),
            None => return Err(others),
        }
    }
}
