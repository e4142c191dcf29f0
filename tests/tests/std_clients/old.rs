//! Logs from before Kafka 0.11: message sets of magic 0 and 1, unpacked on the application's
//! thread.

use std::collections::BTreeMap;

use bytes::Bytes;
use kavka_core::Unreadable;
use kavka_core::codec::{Codec, Fault};
use kavka_core::record::Malformed;
use kavka_std::{Compression, Consumer, ErrorKind, Producer, Record, Start};
use kavka_tests::script::fetch::Batch;
use kavka_tests::sim::Server;
use kavka_tests::sim::old::{Message, set, wrapped};

use super::{LONG, Read, config, read, server};

fn with_topic(partitions: u32) -> Server {
    let server = server(1);
    server.create_topic("t", partitions).expect("created");
    server
}

fn send(producer: &Producer, count: usize) {
    for n in 0..count {
        let (key, value) = (format!("k{}", n % 7), format!("{n} {}", "the same ".repeat(n % 40)));
        let record = Record::new(value.as_bytes()).key(key.as_bytes()).timestamp(1000 + n as i64);
        drop(producer.send_to("t", 0, &record).expect("taken"));
        if n % 50 == 0 {
            producer.flush().wait().expect("flushed");
        }
    }
    producer.flush().wait().expect("flushed");
}

/// Whatever stands in the log, in each codec: old sets, then batches.
#[test]
fn a_log_that_was_upgraded_is_read_to_its_end() {
    for magic in [0, 1] {
        for text in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let name = format!("magic {magic}, {text}");
            let server = with_topic(1);
            server.with(|cluster| cluster.set_old_format("t", magic, 300)).expect("set");
            let compression: Compression = text.parse().unwrap();
            let config = config(&server).compression(compression).start(Start::Earliest);
            let producer = Producer::new(config.clone()).unwrap();
            send(&producer, 500);
            let consumer = Consumer::assign_all(config, &["t"]).unwrap();
            let (mut got, mut magics, mut packed) = (Vec::new(), BTreeMap::new(), 0);
            while got.len() < 500 {
                let chunk = consumer.next_timeout(LONG).unwrap().expect("records");
                for batch in chunk.batches() {
                    let magic = batch.header().magic.number();
                    packed += u32::from(magic < 2 && batch.header().codec() != 0);
                    for record in batch.records() {
                        let record = record.expect("a record");
                        *magics.entry(magic).or_insert(0) += 1;
                        let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
                        got.push((record.offset, record.timestamp, magic, value));
                    }
                }
            }
            for (n, (offset, timestamp, magic, value)) in (0..).zip(&got) {
                assert_eq!(*offset, n, "{name}");
                let time = if *magic == 0 { -1 } else { 1000 + n };
                assert_eq!(*timestamp, time, "{name}, offset {n}");
                assert!(value.starts_with(&format!("{n} ")), "{name}, offset {n}: {value}");
            }
            let old = magics.get(&(magic as u8)).copied().unwrap_or(0);
            assert_eq!(packed > 0, !matches!(text, "none" | "zstd"), "{name}");
            assert!(old >= 300 || text == "zstd", "{name}: {magics:?}");
            assert!(magics[&2] >= 100, "{name}: {magics:?}");
        }
    }
}

fn message(magic: i8, offset: i64) -> Message {
    let value = Some(Bytes::from(offset.to_string()));
    Message { offset, magic, attributes: 0, timestamp: 7, key: None, value }
}

fn messages(magic: i8, offsets: core::ops::Range<i64>) -> Vec<Message> {
    offsets.map(|offset| message(magic, offset)).collect()
}

/// Appends records that consumers get as this set.
fn append(server: &Server, partition: u32, count: i64, set: Bytes) {
    let values = vec![""; count as usize];
    let batch = Batch::new(0, &values).bytes();
    server.with(|cluster| cluster.append_served("t", partition, &batch, set)).expect("appended");
}

/// The position is behind the last record that could be read, and the other partition is read on.
#[test]
fn a_compressed_message_that_cannot_be_read_parks_its_partition() {
    let good = wrapped(&messages(1, 2..5), 1).unwrap();
    let with = |value: Option<Vec<u8>>| Message { value: value.map(Bytes::from), ..good.clone() };
    let value = good.value.clone().unwrap();
    let nested = wrapped(&[message(1, 2), wrapped(&messages(1, 3..5), 1).unwrap()], 1).unwrap();
    let backward = wrapped(&[message(0, 3), message(0, 2), message(0, 4)], 3).unwrap();
    let bomb = Message { value: Some(vec![0; 3 << 20].into()), ..message(1, 4) };
    let bomb = |codec| wrapped(core::slice::from_ref(&bomb), codec).unwrap();
    let malformed = |why| Some(Unreadable::Malformed(why));
    let cases = [
        ("null", with(None), 2, None),
        ("empty", with(Some(vec![])), 2, None),
        ("garbage", with(Some(vec![0xa5; 40])), 2, None),
        ("cut", with(Some(value[..value.len() - 1].to_vec())), 2, None),
        ("no message", with(Some(kavka_tests::packed::body(&[], Codec::Gzip))), 2, {
            malformed(Malformed::RecordCount)
        }),
        ("compressed twice", nested, 3, malformed(Malformed::Compressed(1))),
        ("backward", backward, 4, malformed(Malformed::Offset)),
        ("bomb", bomb(1), 2, None),
        ("bomb of lz4", bomb(3), 2, None),
        ("bomb of snappy", bomb(2), 2, None),
    ];
    for (name, bad, position, why) in cases {
        let server = with_topic(2);
        append(&server, 0, 2, set(&messages(0, 0..2)));
        append(&server, 0, 3, bad.bytes());
        append(&server, 0, 3, wrapped(&messages(0, 5..8), 3).unwrap().bytes());
        append(&server, 1, 4, wrapped(&messages(0, 0..4), 2).unwrap().bytes());
        let config = config(&server).start(Start::Earliest).unpacked_bytes(1 << 20);
        let consumer = Consumer::assign_all(config, &["t"]).unwrap();
        let (mut got, mut error) = (Read::new(), None);
        // The one before the message that goes backward has offset 3.
        let count = if name == "backward" { 3 } else { position as usize };
        while got.values().map(Vec::len).sum::<usize>() < count + 4 || error.is_none() {
            match consumer.next_timeout(LONG) {
                Ok(chunk) => {
                    for record in chunk.unwrap_or_else(|| panic!("{name}: {got:?}")).records() {
                        let record = record.unwrap();
                        let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
                        got.entry(record.partition).or_default().push((record.offset, value));
                    }
                }
                Err(found) => assert!(error.replace(found).is_none(), "{name}: two errors"),
            }
        }
        let error = error.expect("one");
        match error.kind() {
            ErrorKind::Unreadable { offset, next_offset, why: found } => {
                assert_eq!((offset, next_offset, Some(found)), (position, 5, why), "{name}");
            }
            ErrorKind::Unpack { offset, next_offset, why: found, limit, .. } => {
                assert_eq!((offset, next_offset, why), (2, 5, None), "{name}: {found}");
                let bomb = matches!(found, Fault::TooLarge { .. });
                assert_eq!((bomb, limit), (name.starts_with("bomb"), 1 << 20), "{name}: {found}");
            }
            other => panic!("{name}: {other:?}"),
        }
        // A seek skips it.
        assert_eq!(consumer.position("t", 0), Some(position), "{name}");
        consumer.seek("t", 0, Start::Offset(5)).wait().unwrap();
        let mut rest = Read::new();
        read(&consumer, &mut rest, 3);
        let offsets: Vec<i64> = rest[&0].iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [5, 6, 7], "{name}");
    }
}

#[test]
fn messages_are_read_from_any_position() {
    let server = with_topic(1);
    let sets = [
        set(&messages(0, 0..5)),
        wrapped(&messages(0, 5..10), 3).unwrap().bytes(),
        wrapped(&messages(1, 10..15), 3).unwrap().bytes(),
        set(&messages(1, 15..20)),
    ];
    for set in sets {
        append(&server, 0, 5, set);
    }
    for start in 0..20 {
        let config = config(&server).start(Start::Offset(start));
        let consumer = Consumer::assign_all(config, &["t"]).unwrap();
        let mut got = Read::new();
        read(&consumer, &mut got, (20 - start) as usize);
        for (n, (offset, value)) in (start..).zip(&got[&0]) {
            assert_eq!((*offset, value), (n, &n.to_string()), "from {start}");
        }
    }
}
