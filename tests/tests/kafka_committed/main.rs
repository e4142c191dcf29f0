//! Transactions that Java's producer commits and aborts on real brokers, read by Java's consumer
//! and by ours.
//!
//! Skipped with one line where Java is missing; `KAVKA_REQUIRE_JAVA=1` makes that a failure.

#![allow(clippy::std_instead_of_alloc, reason = "only ever runs where there is std")]

use core::time::Duration;
use std::collections::BTreeMap;
use std::process::Command;

use kavka_std::{Admin, Config, Consumer, Isolation, Limits, Start};
use kavka_tests::kafka::{Cluster, Spec, Version, jars, start_or_skip};

const TOPIC: &str = "transactions";
const PARTITIONS: u32 = 3;
const ROUNDS: u32 = 40;

/// Partition and offset.
type Place = (u32, i64);

/// What Java's program printed: partitions and offsets by what became of the records.
type Printed = BTreeMap<String, Vec<Place>>;

fn java(cluster: &Cluster) -> Printed {
    let jars = jars::fetch(Version::V4_4_0).expect("the clients' jars");
    let mut command = Command::new("java");
    command.arg("-cp").arg(jars.join("*")).args(["-Xmx256m", "-XX:TieredStopAtLevel=1"]);
    command.arg(format!("{}/data/java/Transactions.java", env!("CARGO_MANIFEST_DIR")));
    command.args([&cluster.bootstrap(), TOPIC, &PARTITIONS.to_string(), &ROUNDS.to_string()]);
    let output = command.output().expect("java");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut printed = Printed::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let [fate, partition, offset] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let place = (partition.parse().expect("a number"), offset.parse().expect("a number"));
        printed.entry(fate.to_owned()).or_default().push(place);
    }
    printed.values_mut().for_each(|places| places.sort_unstable());
    printed
}

/// Reads the topic up to these ends.
fn read(config: Config, ends: &[Place]) -> Vec<Place> {
    let consumer = Consumer::assign_all(config.start(Start::Earliest), &[TOPIC]).unwrap();
    let mut got = Vec::new();
    let behind = |consumer: &Consumer| {
        let at_end = |(partition, end): &Place| consumer.position(TOPIC, *partition) >= Some(*end);
        !ends.iter().all(at_end)
    };
    for _ in 0..600 {
        while let Some(chunk) = consumer.next_timeout(Duration::from_millis(100)).expect("read") {
            for batch in chunk.batches() {
                let records = batch.records().map(|record| record.expect("a record").offset);
                got.extend(records.map(|offset| (batch.partition(), offset)));
            }
        }
        if !behind(&consumer) {
            got.sort_unstable();
            return got;
        }
    }
    panic!("the ends {ends:?} were not reached in a minute");
}

fn transactions(version: Version) {
    let Some(cluster) = start_or_skip(Spec::new(version, 1)) else { return };
    cluster.create(TOPIC, PARTITIONS).expect("created");
    let mut printed = java(&cluster);
    let mut of = |fate: &str| printed.remove(fate).unwrap_or_default();
    let (theirs, ends, committed) = (of("read"), of("end"), of("committed"));
    assert_eq!(theirs, committed, "Java reads what was committed");
    let config = || Config::new(cluster.bootstrap()).isolation(Isolation::ReadCommitted);
    assert_eq!(read(config(), &ends), committed);
    // The same with very little memory.
    let mut limits = Limits::small();
    limits.aborted = 3;
    assert_eq!(read(config().limits(limits), &ends), committed, "with memory for three");
    // Where partitions end, as an admin and a consumer that reads all see it.
    let offsets = |config: Config| {
        let admin = Admin::new(config).expect("an admin");
        admin.offsets(TOPIC, Start::Latest).wait().expect("offsets")
    };
    let stable: Vec<i64> = ends.iter().map(|(_, end)| *end).collect();
    assert_eq!(offsets(config()), stable);
    let all = Config::new(cluster.bootstrap());
    let high = offsets(all.clone());
    assert!(high.iter().zip(&stable).all(|(high, stable)| high > stable), "{high:?} {stable:?}");
    let mut written = committed;
    ["aborted", "open", "behind"].into_iter().for_each(|fate| written.extend(of(fate)));
    written.sort_unstable();
    let high: Vec<Place> = (0..).zip(high).collect();
    assert_eq!(read(all, &high), written, "who reads all");
}

#[test]
fn kafka_4_4_0() {
    transactions(Version::V4_4_0);
}

#[test]
fn kafka_2_8_2() {
    transactions(Version::V2_8_2);
}
