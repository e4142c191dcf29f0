//! `consume --json | produce --json` is the identity.

use kavka_std::kavka_core::record::HeaderRef;
use kavka_std::{Producer, Record};
use kavka_tests::sim::Server;
use proptest::prelude::*;

use crate::{LONG, at, config, copied, feed, run, server};

/// A record for one of two partitions.
#[derive(Clone, Debug)]
struct Any {
    partition: u32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: i64,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Text, control characters, quotes and whatever bytes.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        Just(b"a\r".to_vec()),
        Just(b"\n{\"\\u0000".to_vec()),
        Just(vec![0, 0x1f, 0x7f]),
        Just("\u{2028}\u{10ffff}ž".into()),
        Just(vec![0xff, 0xfe]),
        ".{0,8}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..9),
    ]
}

fn records() -> impl Strategy<Value = Vec<Any>> {
    let some = || proptest::option::of(bytes());
    let name = prop_oneof![Just(b"h".to_vec()), bytes()];
    let headers = proptest::collection::vec((name, some()), 0..4);
    let time = prop_oneof![Just(-1), Just(0), 1_i64..1 << 40];
    let record = (0..2_u32, some(), some(), time, headers);
    let record = record.prop_map(|(partition, key, value, timestamp, headers)| Any {
        partition,
        key,
        value,
        timestamp,
        headers,
    });
    proptest::collection::vec(record, 0..30)
}

type Plain = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn stored(server: &Server, topic: &str) -> Vec<Vec<Plain>> {
    let plain = |at: kavka_tests::sim::batch::Record| {
        let headers = at.headers.iter().map(|(name, value)| (name.to_vec(), copied(value)));
        (at.timestamp, copied(&at.key), copied(&at.value), headers.collect())
    };
    (0..2).map(|part| server.records(topic, part).into_iter().map(plain).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn what_consume_prints_is_what_produce_reads(records in records()) {
        let server = server(1);
        for topic in ["a", "b"] {
            server.create_topic(topic, 2).expect("a topic");
        }
        let producer = Producer::new(config(&server)).expect("a producer");
        for at in &records {
            let headers: Vec<_> = at.headers.iter()
                .map(|(name, value)| HeaderRef { name, value: value.as_deref() }).collect();
            let mut record = Record::tombstone().timestamp(at.timestamp).header_refs(&headers);
            (record.key, record.value) = (at.key.as_deref(), at.value.as_deref());
            drop(producer.send_to("a", at.partition, &record).expect("taken"));
        }
        prop_assert!(producer.close(LONG).wait().unwrap().is_empty());
        let printed = run(&server, &["consume", "a", "-e", "--json"]).good();
        prop_assert_eq!(printed.text().lines().count(), records.len());
        feed(at(&server, &["produce", "b", "--json"]), &printed.out).good();
        prop_assert_eq!(stored(&server, "a"), stored(&server, "b"), "{}", printed.text());
        let again = run(&server, &["consume", "b", "-e", "--json"]).good();
        let renamed = again.text().replace("\"topic\":\"b\"", "\"topic\":\"a\"");
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        prop_assert_eq!(sorted(&renamed), printed.lines());
    }
}

#[test]
fn bytes_headers_nulls_and_carriage_returns_are_kept() {
    let server = server(1);
    server.create_topic("t", 1).expect("a topic");
    feed(at(&server, &["produce", "t", "-H", "h=1", "-H", "h=2"]), b"a\r\n").good();
    feed(at(&server, &["produce", "t", "-Z"]), b"\xff\xfe\n\n").good();
    let text = run(&server, &["consume", "t", "-e", "--json"]).good().text();
    let lines: Vec<&str> = text.lines().collect();
    let ends = |line: &str, end: &str| assert!(line.ends_with(end), "{line}");
    ends(lines[0], r#""headers":[["h","1"],["h","2"]],"key":null,"payload":"a\r"}"#);
    ends(lines[1], r#""headers":[],"key":null,"payload":{"base64":"//4="}}"#);
    ends(lines[2], r#""headers":[],"key":null,"payload":null}"#);
    let raw = run(&server, &["consume", "t", "-e", "-f", "%h|%s;"]).good();
    assert_eq!(raw.out, b"h=1,h=2|a\r;|\xff\xfe;|;");
}

/// Each kind of bytes in each place, and names that repeat.
#[test]
fn headers_of_any_bytes_come_back_as_they_were() {
    let server = server(1);
    for topic in ["a", "b"] {
        server.create_topic(topic, 2).expect("a topic");
    }
    let kinds: [Option<&[u8]>; 7] =
        [None, Some(b""), Some(b"\r"), Some(b"\n"), Some(b"\0"), Some(b"\xff\xfe"), Some(b"\xc3")];
    let producer = Producer::new(config(&server)).expect("a producer");
    for kind in kinds {
        let named = |name| HeaderRef { name, value: kind };
        let headers = [named(kind.unwrap_or(b"h")), named(b"h"), named(b"h"), named(b"\xff")];
        let mut record = Record::tombstone().header_refs(&headers);
        (record.key, record.value) = (kind, kind);
        drop(producer.send_to("a", 1, &record).expect("taken"));
    }
    assert!(producer.close(LONG).wait().unwrap().is_empty());
    let printed = run(&server, &["consume", "a", "-e", "--json"]).good();
    assert!(printed.text().contains(r#"[{"base64":"/w=="},"\u0000"]"#), "{}", printed.text());
    feed(at(&server, &["produce", "b", "--json"]), &printed.out).good();
    assert_eq!(stored(&server, "b")[1].len(), kinds.len());
    assert_eq!(stored(&server, "a"), stored(&server, "b"), "{}", printed.text());
}
