//! Transactions on real Kafka brokers, read by Kafka's own consumer with `read_committed`.
//!
//! Skipped with one line where Java is missing; `KAVKA_REQUIRE_JAVA=1` makes that a failure.

#![allow(clippy::std_instead_of_alloc, reason = "only ever runs where there is std")]

mod admin;
mod ends;
mod faults;

use std::process::Command;
use std::time::Duration;

use kavka_std::{Config, Producer, Record};
use kavka_tests::kafka::{Cluster, Spec, Version, jars, start_or_skip};

const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "readings";

/// Starts brokers, the first with topic `readings` of three partitions.
fn cluster(version: Version, nodes: usize) -> Option<Cluster> {
    // Transactions that are open for too long are looked for every ten seconds by default.
    let often = "transaction.abort.timed.out.transaction.cleanup.interval.ms";
    let cluster = start_or_skip(Spec::new(version, nodes).set(often, 500))?;
    cluster.create(TOPIC, 3).expect("created");
    Some(cluster)
}

fn config(cluster: &Cluster) -> Config {
    Config::new(cluster.bootstrap()).transactional_id("kavka-test")
}

fn producer(cluster: &Cluster) -> Producer {
    Producer::new(config(cluster)).expect("a producer")
}

/// Sends records in the open transaction.
fn send(transaction: &kavka_std::Transaction<'_>, values: &[String]) {
    for value in values {
        let record = Record::new(value.as_bytes()).key(value.as_bytes());
        drop(transaction.send(TOPIC, &record).expect("there is space"));
    }
}

/// Waits for the end of a commit.
fn commit(transaction: kavka_std::Transaction<'_>) -> Result<(), kavka_std::Error> {
    let ended = transaction.commit().wait_timeout(PATIENCE);
    ended.unwrap_or_else(|_| panic!("no end in {PATIENCE:?}"))
}

fn values(name: &str, count: u32) -> Vec<String> {
    (0..count).map(|n| format!("{name}-{n}")).collect()
}

/// Runs a Java program of `data/java`, and returns what it prints, sorted by line.
fn java(cluster: &Cluster, program: &str, arguments: &[&str]) -> Vec<String> {
    let jars = jars::fetch(Version::V4_4_0).expect("the broker's jars");
    // Clients of 4.x speak to brokers from 2.1 on.
    let mut command = Command::new("java");
    command.arg("-cp").arg(jars.join("*")).args(["-Xmx256m", "-XX:TieredStopAtLevel=1"]);
    command.arg(format!("{}/data/java/{program}.java", env!("CARGO_MANIFEST_DIR")));
    command.arg(cluster.bootstrap()).args(arguments);
    let output = command.output().expect("java");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Reads the committed records of the topic by Kafka's consumer, at least `count` of them.
fn committed(cluster: &Cluster, count: usize) -> Vec<String> {
    let lines = java(cluster, "ReadCommitted", &[TOPIC, &count.to_string()]);
    let mut values: Vec<String> =
        lines.iter().filter_map(|line| Some(line.split_once('\t')?.1.to_owned())).collect();
    values.sort_unstable();
    values
}

fn sorted(mut values: Vec<String>) -> Vec<String> {
    values.sort_unstable();
    values
}
