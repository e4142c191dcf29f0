//! What a producer compresses is read by Java's consumer and by ours, from topics that keep its
//! codec and from topics with another one (`compression.type`); what Java's producer compresses as
//! well.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use kavka_std::{Admin, ChunkBatch, Compression, Consumer, NewTopic, Producer, Record, Start};
use kavka_tests::kafka::{self, Cluster, Spec, Version, jars};

use crate::load::{config, done};

/// What the producer compresses with, and the topic's `compression.type`.
const CASES: [(&str, &str); 9] = [
    ("none", "producer"),
    ("gzip:1", "producer"),
    ("gzip", "zstd"),
    ("snappy", "producer"),
    ("snappy", "uncompressed"),
    ("lz4", "producer"),
    ("lz4", "gzip"),
    ("zstd", "producer"),
    ("zstd:1", "lz4"),
];
/// What Java's producer compresses with; those before 3.8 know no levels.
const JAVA: [&str; 7] = ["none", "gzip", "snappy", "lz4", "lz4:17", "zstd", "zstd:19"];
const RECORDS: usize = 3000;

/// Topic, partition, offset, key, value.
pub(crate) type Row = (String, u32, i64, String, String);

fn topic(compression: &str, stored: &str) -> String {
    format!("{}-{stored}", compression.replace(':', "-"))
}

fn java_topic(compression: &str) -> String {
    topic(compression, "java")
}

#[test]
fn kafka_4_4_0() {
    all_codecs(Version::V4_4_0);
}

#[test]
fn kafka_3_9_2() {
    all_codecs(Version::V3_9_2);
}

#[test]
fn kafka_2_8_2() {
    all_codecs(Version::V2_8_2);
}

#[test]
fn kafka_2_4_1() {
    all_codecs(Version::V2_4_1);
}

fn all_codecs(version: Version) {
    let Some(cluster) = kafka::start_or_skip(Spec::new(version, 1)) else { return };
    let admin = Admin::new(config(&cluster)).unwrap();
    let mut wanted = Vec::new();
    for (compression, stored) in CASES {
        let name = topic(compression, stored);
        let new = NewTopic::new(&name, 2, 1).config("compression.type", stored);
        done(admin.create_topic(new), "creating");
        let compression: Compression = compression.parse().unwrap();
        // Batches in one piece, and in several.
        for batch in [16 << 10, 512 << 10] {
            let config = config(&cluster).compression(compression).batch_bytes(batch);
            let producer = Producer::new(config).unwrap();
            let mut sent = Vec::new();
            for n in 0..RECORDS {
                let (key, value) =
                    (format!("k{}", n % 7), format!("{n}:{}", "payload ".repeat(20)));
                let record = Record::new(value.as_bytes()).key(key.as_bytes());
                sent.push((key.clone(), value.clone(), producer.send(&name, &record).unwrap()));
            }
            for (key, value, pending) in sent {
                let at = done(pending, "a record");
                let offset = at.offset.expect("acks=all");
                wanted.push((name.clone(), at.partition, offset, key, value));
            }
        }
    }
    wanted.extend(written_by_java(&cluster, version, &admin));
    wanted.sort();
    let (ours, bytes, codecs) = read_by_kavka(&cluster, wanted.len());
    assert!(ours == wanted, "read by kavka: {} of {} records", ours.len(), wanted.len());
    let plain = bytes["none-producer"];
    for (name, packed) in &bytes {
        let compressed = !name.starts_with("none-") && name != "snappy-uncompressed";
        let most = if compressed { plain / 3 } else { 2 * plain };
        assert!(*packed < most, "{name}: {packed} bytes, uncompressed {plain}");
    }
    for (name, codecs) in &codecs {
        assert!(codecs.iter().eq([&stored_codec(name)]), "{name}: batches of codecs {codecs:?}");
    }
    let java = read_by_java(&cluster, version);
    assert!(java == wanted, "read by Java: {} of {} records", java.len(), wanted.len());
}

fn names() -> Vec<String> {
    let ours = CASES.iter().map(|(compression, stored)| topic(compression, stored));
    ours.chain(JAVA.into_iter().map(java_topic)).collect()
}

/// Returns the number of the codec, 0 for none, that the batches of a topic have on the broker.
fn stored_codec(topic: &str) -> u8 {
    let parts: Vec<&str> = topic.split('-').collect();
    let name = match *parts.last().expect("a part") {
        "uncompressed" => "none",
        "producer" | "java" => parts[0],
        stored => stored,
    };
    name.parse::<Compression>().unwrap().codec().map_or(0, |codec| codec as u8)
}

/// The codecs of the batches of each topic.
type Codecs = BTreeMap<String, BTreeSet<u8>>;

/// Reads so many records, and returns them in order; `each` sees their batches.
pub(crate) fn read_batches(
    consumer: &Consumer,
    count: usize,
    mut each: impl FnMut(&ChunkBatch<'_>),
) -> Vec<Row> {
    let text =
        |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let mut rows = Vec::new();
    while rows.len() < count {
        let chunk = consumer.next_timeout(Duration::from_secs(20)).expect("records");
        let chunk = chunk.unwrap_or_else(|| panic!("only {} of {count}", rows.len()));
        for batch in chunk.batches() {
            each(&batch);
            for record in batch.records() {
                let record = record.expect("a record");
                let (key, value) = (text(record.key), text(record.value));
                rows.push((record.topic.to_owned(), record.partition, record.offset, key, value));
            }
        }
    }
    rows.sort();
    rows
}

/// Returns all records, and the bytes and codecs of the batches of each topic.
fn read_by_kavka(cluster: &Cluster, count: usize) -> (Vec<Row>, BTreeMap<String, u64>, Codecs) {
    let names = names();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let consumer = Consumer::assign_all(config(cluster).start(Start::Earliest), &topics).unwrap();
    let mut codecs = Codecs::new();
    let rows = read_batches(&consumer, count, |batch| {
        // The low byte of the attributes.
        let codec = batch.bytes()[22] & 7;
        codecs.entry(batch.topic().to_owned()).or_default().insert(codec);
    });
    let metrics = done(consumer.metrics(), "metrics");
    let bytes = metrics.topics.iter().map(|(name, read)| (name.to_string(), read.bytes));
    (rows, bytes.collect(), codecs)
}

/// Writes with Java's producer of the same release, and returns the records and their places.
fn written_by_java(cluster: &Cluster, version: Version, admin: &Admin) -> Vec<Row> {
    let mut arguments = vec![RECORDS.to_string()];
    for compression in JAVA {
        let name = java_topic(compression);
        done(admin.create_topic(NewTopic::new(&name, 2, 1)), "creating");
        arguments.push(format!("{name}={compression}"));
    }
    java(cluster, version, "WriteAll", &arguments)
}

/// Returns all records as Java's consumer of the same release reads them.
fn read_by_java(cluster: &Cluster, version: Version) -> Vec<Row> {
    let mut rows = java(cluster, version, "ReadAll", &names());
    rows.sort();
    rows
}

/// Runs a program of `data/java`, and returns the rows that it prints.
pub(crate) fn java(
    cluster: &Cluster,
    version: Version,
    program: &str,
    arguments: &[String],
) -> Vec<Row> {
    let jars = jars::fetch(version).expect("the broker's jars");
    let mut command = Command::new("java");
    command.arg("-cp").arg(jars.join("*")).args(["-Xmx256m", "-XX:TieredStopAtLevel=1"]);
    command.arg(format!("{}/data/java/{program}.java", env!("CARGO_MANIFEST_DIR")));
    let output = command.arg(cluster.bootstrap()).args(arguments).output().expect("java");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
    let row = |line: &str| {
        let mut parts = line.split('\t').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (topic, partition, offset) = (next(), next(), next());
        let place = (partition.parse().expect("a number"), offset.parse().expect("a number"));
        (topic, place.0, place.1, next(), next())
    };
    String::from_utf8_lossy(&output.stdout).lines().map(row).collect()
}
