//! Topics whose `message.format.version` is older than Kafka 0.11: what producers send is stored as
//! message sets of magic 0 and 1, and handed out as it is stored. Also such logs after an upgrade.

use std::collections::{BTreeMap, BTreeSet};

use kavka_core::record::{Magic, TimestampType};
use kavka_core::wire::ErrorCode;
use kavka_std::{
    Admin, Compression, Consumer, Delivered, ErrorKind, NewTopic, Pending, Producer, Record, Start,
};
use kavka_tests::kafka::{self, Cluster, Spec, Version};

use crate::compression::{Row, java, read_batches};
use crate::load::{config, done, result};

const RECORDS: usize = 500;
const CODECS: [&str; 4] = ["none", "gzip", "snappy", "lz4"];
/// Names of topics, their format and who sets timestamps, and the magic that stands for that.
const FORMATS: [(&str, &str, &str, Magic); 3] = [
    ("v0", "0.9.0", "CreateTime", Magic::V0),
    ("v1", "0.10.2", "CreateTime", Magic::V1),
    ("v1-appended", "0.10.2", "LogAppendTime", Magic::V1),
];

#[test]
fn kafka_2_4_1() {
    old_formats(Version::V2_4_1, "2.4");
}

#[test]
fn kafka_2_8_2() {
    old_formats(Version::V2_8_2, "2.8");
}

fn old_formats(version: Version, now: &str) {
    let Some(cluster) = kafka::start_or_skip(Spec::new(version, 1)) else { return };
    let admin = Admin::new(config(&cluster)).unwrap();
    let (mut wanted, mut topics) = (Vec::new(), BTreeMap::new());
    let mut arguments = vec![RECORDS.to_string()];
    for (name, format, times, magic) in FORMATS {
        for codec in CODECS {
            for writer in ["kavka", "java"] {
                let topic = format!("{name}-{codec}-{writer}");
                let new = NewTopic::new(&topic, 2, 1).config("message.format.version", format);
                let new = new.config("message.timestamp.type", times);
                done(admin.create_topic(new), "creating");
                if writer == "java" {
                    arguments.push(format!("{topic}={codec}"));
                } else {
                    wanted.extend(written(&cluster, &topic, codec, 0));
                }
                topics.insert(topic, BTreeSet::from([magic.number()]));
            }
        }
    }
    wanted.extend(java(&cluster, version, "WriteAll", &arguments));
    refused_with_sequences(&cluster, &format!("v1-{}-kavka", CODECS[0]));
    // Logs that were upgraded twice.
    let upgraded: Vec<String> = CODECS.iter().map(|codec| format!("upgraded-{codec}")).collect();
    for (n, format) in ["0.9.0", "0.10.2", now].into_iter().enumerate() {
        if n == 0 {
            for topic in &upgraded {
                let new = NewTopic::new(topic, 2, 1).config("message.format.version", format);
                done(admin.create_topic(new), "creating");
            }
        } else {
            let mut arguments = vec!["message.format.version".to_owned(), format.to_owned()];
            arguments.extend(upgraded.iter().cloned());
            java(&cluster, version, "Configure", &arguments);
        }
        for (topic, codec) in upgraded.iter().zip(CODECS) {
            wanted.extend(written(&cluster, topic, codec, n * RECORDS));
            topics.insert(topic.clone(), BTreeSet::from([0, 1, 2]));
        }
    }
    wanted.sort();
    let (ours, found) = read_by_kavka(&cluster, &topics, wanted.len());
    assert!(ours == wanted, "{version}: {} of {} records", ours.len(), wanted.len());
    for (topic, magics) in &topics {
        let codec = CODECS.iter().position(|codec| topic.split('-').any(|part| part == *codec));
        let codec = codec.expect("a codec") as u8;
        // What does not shrink is not compressed, and that is stored as it is.
        let packed: BTreeSet<(u8, u8)> = magics.iter().map(|magic| (*magic, codec)).collect();
        let batches = &found[topic];
        assert!(batches.is_superset(&packed), "{version}, {topic}: magic and codec {batches:?}");
        let handed_out: BTreeSet<u8> = batches.iter().map(|(magic, _)| *magic).collect();
        assert_eq!(&handed_out, magics, "{version}, {topic}: formats that the broker handed out");
    }
    let names: Vec<String> = topics.into_keys().collect();
    let mut theirs = java(&cluster, version, "ReadAll", &names);
    theirs.sort();
    assert!(theirs == wanted, "{version}: Java reads {} of {}", theirs.len(), wanted.len());
}

/// Writes records, in batches of several sizes; returns them with their places.
fn written(cluster: &Cluster, topic: &str, codec: &str, from: usize) -> Vec<Row> {
    let compression: Compression = codec.parse().unwrap();
    let config = config(cluster).compression(compression).idempotent(false);
    let producer = Producer::new(config).unwrap();
    let mut sent = Vec::new();
    for n in from..from + RECORDS {
        let (key, value) = (format!("k{}", n % 7), format!("{n}:{}", "payload ".repeat(n % 30)));
        let record = Record::new(value.as_bytes()).key(key.as_bytes());
        sent.push((key.clone(), value.clone(), producer.send(topic, &record).unwrap()));
        // Sets of one message, too.
        if n % 100 == 0 {
            done(producer.flush(), "a flush");
        }
    }
    let place = |(key, value, pending): (String, String, Pending<Delivered>)| {
        let at = done(pending, "a record");
        (topic.to_owned(), at.partition, at.offset.expect("acks=all"), key, value)
    };
    sent.into_iter().map(place).collect()
}

/// The old formats have no sequences: a broker refuses the batches of an idempotent producer.
fn refused_with_sequences(cluster: &Cluster, topic: &str) {
    let producer = Producer::new(config(cluster)).unwrap();
    let pending = producer.send(topic, &Record::new(b"x")).unwrap();
    let error = result(pending, "a record").expect_err("refused");
    let code = match error.kind() {
        ErrorKind::Kafka(kavka_core::Error::Broker(code)) => Some(code),
        _ => None,
    };
    assert_eq!(code, Some(ErrorCode(43)), "{error}");
}

/// Format and codec of the batches of each topic.
type Found = BTreeMap<String, BTreeSet<(u8, u8)>>;

/// Returns all records, and what their batches are.
fn read_by_kavka(
    cluster: &Cluster,
    topics: &BTreeMap<String, BTreeSet<u8>>,
    count: usize,
) -> (Vec<Row>, Found) {
    let names: Vec<&str> = topics.keys().map(String::as_str).collect();
    let consumer = Consumer::assign_all(config(cluster).start(Start::Earliest), &names).unwrap();
    let mut found = Found::new();
    let rows = read_batches(&consumer, count, |batch| {
        let (header, topic) = (batch.header(), batch.topic());
        assert_eq!(batch.bytes()[16], header.magic.number(), "{topic}");
        let of = found.entry(topic.to_owned()).or_default();
        of.insert((header.magic.number(), header.codec()));
        let appended = header.timestamp_type() == TimestampType::LogAppend;
        assert_eq!(appended, topic.contains("appended"), "{topic}");
        for record in batch.records() {
            let record = record.expect("a record");
            assert_eq!(record.timestamp < 0, header.magic == Magic::V0, "{topic}");
        }
    });
    (rows, found)
}
