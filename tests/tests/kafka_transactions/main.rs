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
use kavka_tests::kafka::{Cluster, Site, Spec, Version, jars, start_or_skip};

const PATIENCE: Duration = Duration::from_secs(60);
fn spec(version: Version, nodes: usize) -> Spec {
    // Transactions that are open for too long are looked for every ten seconds by default.
    let often = "transaction.abort.timed.out.transaction.cleanup.interval.ms";
    Spec::new(version, nodes).set(often, 500)
}

/// Returns a broker that tests share, with a topic of three partitions that is this test's own.
fn site(version: Version) -> Option<Site> {
    let site = Site::new(spec(version, 1))?;
    site.create(&site.topic, 3).expect("created");
    Some(site)
}

/// Starts three brokers for one test, with a topic of three partitions.
fn three(version: Version, topic: &str) -> Option<Cluster> {
    let cluster = start_or_skip(spec(version, 3))?;
    cluster.create(topic, 3).expect("created");
    Some(cluster)
}

fn config(cluster: &Cluster, id: &str) -> Config {
    Config::new(cluster.bootstrap()).transactional_id(id)
}

fn producer(cluster: &Cluster, id: &str) -> Producer {
    Producer::new(config(cluster, id)).expect("a producer")
}

/// Sends records in the open transaction.
fn send(transaction: &kavka_std::Transaction<'_>, topic: &str, values: &[String]) {
    for value in values {
        let record = Record::new(value.as_bytes()).key(value.as_bytes());
        drop(transaction.send(topic, &record).expect("there is space"));
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

/// Reads the committed records of a topic by Kafka's consumer, at least `count` of them.
fn committed(cluster: &Cluster, topic: &str, count: usize) -> Vec<String> {
    let lines = java(cluster, "ReadCommitted", &[topic, &count.to_string()]);
    let mut values: Vec<String> =
        lines.iter().filter_map(|line| Some(line.split_once('\t')?.1.to_owned())).collect();
    values.sort_unstable();
    values
}

fn sorted(mut values: Vec<String>) -> Vec<String> {
    values.sort_unstable();
    values
}
