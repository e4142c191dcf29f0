//! What must work on every version: 100,000 records with keys while the topic grows twice, then the
//! topic deleted and recreated with fewer partitions.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use kavka_std::{Admin, Producer, Record, Start};
use kavka_tests::kafka::ledger::Entry;
use kavka_tests::kafka::{self, Spec, Version};

use crate::load::{CountWatch, Reader, Sender, TOPIC, await_true, config, done, partitions};

const WARM_UP: u32 = 0;
const LOAD: u32 = 1;
const RECREATED: u32 = 2;
const RECORDS: u32 = 100_000;
/// Records a second, so that both growths fall into the load.
const RATE: u32 = 20_000;

#[test]
fn kafka_4_4_0() {
    whole_life(Spec::new(Version::V4_4_0, 1));
}

#[test]
fn kafka_4_4_0_three_brokers() {
    whole_life(Spec::new(Version::V4_4_0, 3));
}

#[test]
fn kafka_3_9_2() {
    whole_life(Spec::new(Version::V3_9_2, 1));
}

#[test]
fn kafka_3_2_3() {
    whole_life(Spec::new(Version::V3_2_3, 1));
}

#[test]
fn kafka_2_8_2() {
    whole_life(Spec::new(Version::V2_8_2, 1));
}

#[test]
fn kafka_2_4_1() {
    whole_life(Spec::new(Version::V2_4_1, 1));
}

fn whole_life(spec: Spec) {
    let name = spec.to_string();
    let Some(cluster) = kafka::start_or_skip(spec) else { return };
    let begun = Instant::now();
    let admin = Admin::new(config(&cluster)).unwrap();
    let replicas = if cluster.nodes() == 3 { 3 } else { 1 };
    done(admin.create_topic((TOPIC, 6, replicas)), "creating");
    let producer = Producer::new(config(&cluster)).unwrap();
    // Latest: records written to a new partition before it was noticed must arrive nevertheless.
    let reader = Reader::new(&cluster, Start::Latest);
    warm_up(&producer, &reader, 6);

    load_and_grow(&producer, &admin, &reader);
    let read = reader.await_read(LOAD, RECORDS, Duration::from_secs(20));
    let report = reader.report(LOAD);
    assert!(read && report.is_clean(), "{name}: {report}; {}", reader.news());
    assert_eq!(report.acknowledged, u64::from(RECORDS), "{name}: acknowledged");
    assert_eq!(reader.readings.ledger(LOAD).ends().len(), 12, "{name}: partitions used");
    let again = Reader::new(&cluster, Start::Earliest);
    let read = again.await_read(LOAD, RECORDS, Duration::from_secs(20));
    assert!(read, "{name}: from the beginning only {}", again.report(LOAD));
    drop(again);
    let loaded = begun.elapsed();

    done(admin.delete_topic(TOPIC), "deleting");
    // Brokers with ZooKeeper take long to forget a name when the machine is busy.
    let created = await_true(Duration::from_secs(60), || {
        admin.create_topic((TOPIC, 3, replicas)).wait().is_ok()
    });
    assert!(created, "{name}: creating again");
    let seen = await_true(Duration::from_secs(20), || partitions(&producer) == Some(3));
    assert!(seen, "{name}: recreated with 3 partitions, known {:?}", partitions(&producer));
    let mut sender = Sender::new(&producer, RECREATED);
    sender.send(1000, RATE, |_| true);
    sender.settle(&reader.readings);
    let read = reader.await_read(RECREATED, 1000, Duration::from_secs(20));
    let report = reader.report(RECREATED);
    let ends = reader.readings.ledger(RECREATED).ends();
    assert!(
        read && report.is_clean(),
        "{name}: recreated: {report}; read up to {ends:?}; {}",
        reader.news()
    );
    assert_eq!(ends.len(), 3, "{name}: partitions of the new");
    eprintln!("{name}: loaded after {loaded:.1?}, recreated after {:.1?}", begun.elapsed());
}

/// Waits until the reader has its position at the end of every partition: each delivers a record.
fn warm_up(producer: &Producer, reader: &Reader, partitions: u32) {
    let mut turn = 0;
    let warm = await_true(Duration::from_secs(20), || {
        for partition in 0..partitions {
            let entry = Entry { run: WARM_UP, key: partition, turn };
            let (key, value) = (entry.key_bytes(), entry.value(0));
            let record = Record::new(&value).key(key.as_bytes());
            done(producer.send_to(TOPIC, partition, &record).unwrap(), "a first record");
        }
        turn += 1;
        reader.readings.ledger(WARM_UP).ends().len() == partitions as usize
    });
    let read = reader.readings.ledger(WARM_UP).ends();
    assert!(warm, "warm-up: {turn} turns, read only {read:?}; {}", reader.news());
}

/// Sends 100,000 records; after 30,000 the topic grows to 9 partitions, after 60,000 to 12.
fn load_and_grow(producer: &Producer, admin: &Admin, reader: &Reader) {
    let (sent, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let watch = CountWatch::new(scope, producer, &stop);
        let load = scope.spawn(|| {
            let mut sender = Sender::new(producer, LOAD);
            let mut held = false;
            sender.send(RECORDS, RATE, |count| {
                sent.store(count, Ordering::Release);
                if count >= 90_000 && !held {
                    // However slow the machine is, the last ones are sent to the grown topic.
                    held = true;
                    await_true(Duration::from_secs(20), || {
                        producer.freshness(TOPIC).wait().is_ok_and(|f| f.partitions == 12)
                    });
                }
                true
            });
            sender
        });
        for (after, partitions) in [(30_000, 9), (60_000, 12)] {
            let limit = Duration::from_secs(30);
            let running = await_true(limit, || sent.load(Ordering::Acquire) >= after);
            assert!(running, "only {} sent in {limit:?}", sent.load(Ordering::Acquire));
            done(admin.create_partitions(TOPIC, partitions), "growing");
        }
        load.join().expect("the sending thread panicked").settle(&reader.readings);
        watch.finish();
    });
}
