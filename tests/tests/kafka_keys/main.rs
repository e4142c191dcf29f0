//! The order of keys on real brokers, by the time at which leaders append: a topic grows under load
//! while a leader is killed.
//!
//! Skipped with one line where Java is missing; `KAVKA_REQUIRE_JAVA=1` makes that a failure.

#![allow(clippy::std_instead_of_alloc, reason = "only ever runs where there is std")]

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use kavka_std::{
    Admin, Config, Consumer, KeyOrder, NewTopic, OrderedGrowth, Producer, Record, Start,
};
use kavka_tests::kafka::{Spec, Version, start_or_skip};

const TOPIC: &str = "keys";
const DOUBLED: &str = "doubled";
const KEYS: u64 = 40;
/// Growths, each by two partitions, and the one after which a broker is killed.
const GROWTHS: i32 = 10;
const KILL_AT: i32 = 4;
/// Records that a producer sends in a burst, and the pause after it.
const BURST: u64 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// Sends until the end; returns how many were sent, all of them acknowledged.
fn write(config: Config, topic: &str, name: usize, over: &AtomicBool) -> u64 {
    let producer = Producer::new(config).expect("a producer");
    let (mut sent, mut pending) = (0, Vec::new());
    while !over.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            let key = (sent * 7919 % KEYS).to_string();
            let value = format!("{name}/{key}/{sent:08}");
            let record = Record::new(value.as_bytes()).key(key.as_bytes());
            pending.push(producer.send(topic, &record).expect("taken"));
            sent += 1;
        }
        thread::sleep(PAUSE);
    }
    for record in pending {
        record.wait().expect("acknowledged");
    }
    sent
}

/// Reads so many records; returns the times of appending by producer and key, in the order of
/// sending.
fn read(config: Config, count: u64) -> HashMap<String, BTreeMap<String, i64>> {
    let consumer = Consumer::assign_all(config.start(Start::Earliest), &[TOPIC]).unwrap();
    let mut found: HashMap<String, BTreeMap<String, i64>> = HashMap::new();
    let (mut read, began) = (0, Instant::now());
    while read < count && began.elapsed() < Duration::from_secs(90) {
        let Some(chunk) = consumer.next_timeout(Duration::from_secs(1)).expect("read") else {
            continue;
        };
        for batch in chunk.batches() {
            for record in batch.records().map(|record| record.expect("a record")) {
                let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
                let (of, number) = value.rsplit_once('/').expect("a value of ours");
                let times = found.entry(of.to_owned()).or_default();
                assert_eq!(
                    times.insert(number.to_owned(), record.timestamp),
                    None,
                    "{value} twice"
                );
                read += 1;
            }
        }
    }
    assert_eq!(read, count, "records read");
    found
}

#[test]
fn keys_keep_their_order_across_growth_under_drain() {
    let Some(cluster) = start_or_skip(Spec::new(Version::V4_4_0, 3)) else { return };
    let config = || Config::new(cluster.bootstrap());
    let admin = Admin::new(config()).expect("an admin");
    let topic = NewTopic::new(TOPIC, 3, 3).config("message.timestamp.type", "LogAppendTime");
    admin.create_topic(topic).wait().expect("created");
    cluster.await_count(TOPIC, 3).expect("created");
    let over = &AtomicBool::new(false);
    // The last one follows growth: what the others do not.
    let policies = [KeyOrder::Drain, KeyOrder::Drain, KeyOrder::Drain, KeyOrder::Follow];
    let count: u64 = thread::scope(|scope| {
        let writers: Vec<_> = (0..)
            .zip(policies)
            .map(|(n, order)| (n, config().key_order(order)))
            .map(|(n, config)| scope.spawn(move || write(config, TOPIC, n, over)))
            .collect();
        for n in 0..GROWTHS {
            thread::sleep(Duration::from_secs(1));
            if let Err(error) = admin.create_partitions(TOPIC, 5 + 2 * n).wait() {
                over.store(true, Ordering::Relaxed);
                panic!("growth {n}: {error}");
            }
            if n == KILL_AT {
                cluster.kill(1).expect("killed");
                thread::sleep(Duration::from_secs(4));
                cluster.restart(1).expect("restarted");
                cluster.await_in_sync(TOPIC).expect("all are back");
            }
        }
        thread::sleep(Duration::from_secs(3));
        over.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("a writer")).sum()
    });
    let mut reordered = [0; 4];
    for (of, times) in read(config(), count) {
        let producer: usize = of.split('/').next().expect("a number").parse().expect("a number");
        let times: Vec<i64> = times.into_values().collect();
        reordered[producer] += times.windows(2).filter(|pair| pair[0] > pair[1]).count();
    }
    println!("{count} records, {GROWTHS} growths, reordered by producer: {reordered:?}");
    assert_eq!(reordered[..3], [0; 3], "under drain");
}

/// Reads as a member of a group until the end; `seen` has the values in the order of reading.
fn join(config: Config, seen: &Mutex<Vec<String>>, over: &AtomicBool) {
    let order = OrderedGrowth::new(Duration::from_secs(2), Duration::from_secs(30));
    let config = config.start(Start::Earliest).group("readers").ordered_growth(order);
    let config = config.auto_commit(Some(Duration::from_secs(1)));
    let consumer = Consumer::subscribe(config, &[DOUBLED]).expect("a member");
    while !over.load(Ordering::Relaxed) {
        let Some(chunk) = consumer.next_timeout(Duration::from_millis(50)).expect("read") else {
            continue;
        };
        let mut seen = seen.lock().expect("no reader panicked");
        for record in chunk.records().map(|record| record.expect("a record")) {
            let value = String::from_utf8_lossy(record.value.unwrap_or_default());
            seen.push(value.into_owned());
        }
    }
}

#[test]
fn members_of_a_group_see_keys_in_order_while_the_topic_is_doubled() {
    let Some(cluster) = start_or_skip(Spec::new(Version::V4_4_0, 1)) else { return };
    let config = || Config::new(cluster.bootstrap());
    let admin = Admin::new(config()).expect("an admin");
    admin.create_topic(NewTopic::new(DOUBLED, 2, 1)).wait().expect("created");
    cluster.await_count(DOUBLED, 2).expect("created");
    let (over, read) = (&AtomicBool::new(false), &AtomicBool::new(false));
    let seen = &Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            let config = config();
            scope.spawn(move || join(config, seen, read));
        }
        let writers: Vec<_> = (0..2)
            .map(|n| (n, config().key_order(KeyOrder::Drain)))
            .map(|(n, config)| scope.spawn(move || write(config, DOUBLED, n, over)))
            .collect();
        for count in [4, 8] {
            thread::sleep(Duration::from_secs(3));
            if let Err(error) = admin.create_partitions(DOUBLED, count).wait() {
                over.store(true, Ordering::Relaxed);
                read.store(true, Ordering::Relaxed);
                panic!("growth to {count}: {error}");
            }
        }
        thread::sleep(Duration::from_secs(2));
        over.store(true, Ordering::Relaxed);
        let count: u64 = writers.into_iter().map(|w| w.join().expect("a writer")).sum();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30)
            && (seen.lock().expect("no reader panicked").len() as u64) < count
        {
            thread::sleep(Duration::from_millis(50));
        }
        read.store(true, Ordering::Relaxed);
        assert_eq!(seen.lock().expect("no reader panicked").len() as u64, count, "records read");
    });
    let mut last: HashMap<String, String> = HashMap::new();
    for value in seen.lock().expect("no reader panicked").iter() {
        let (of, number) = value.rsplit_once('/').expect("a value of ours");
        let before = last.insert(of.to_owned(), number.to_owned()).unwrap_or_default();
        assert!(*before < *number, "{value} after {before}");
    }
}
