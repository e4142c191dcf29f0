//! Compressed batches: written by a producer, read on the application's thread, and how damaged
//! ones are handled.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kavka_core::Config;
use kavka_core::codec::{Codec, Fault};
use kavka_std::{Compression, Consumer, Error, ErrorKind, Producer, Record, Start};
use kavka_tests::packed;
use kavka_tests::script::fetch::Batch;
use kavka_tests::sim::Server;
use kavka_tests::sim::batch::Header;

use super::{LONG, Read, assert_gapless, config, read, reported, server};

/// Returns the values of `count` records from `base` on, each of `len` bytes.
fn values(base: i64, count: i64, len: usize) -> Vec<String> {
    (base..base + count).map(|n| format!("{n:0len$}")).collect()
}

fn plain(base: i64, count: i64, len: usize) -> Bytes {
    let values = values(base, count, len);
    Batch::new(base, &values.iter().map(String::as_str).collect::<Vec<_>>()).bytes()
}

fn append(server: &Server, partition: u32, batch: &[u8]) {
    server.with(|cluster| cluster.append_batch("t", partition, batch)).expect("appended");
}

fn with_topic(partitions: u32) -> Server {
    let server = server(1);
    server.create_topic("t", partitions).expect("created");
    server
}

#[test]
fn batches_of_all_codecs_are_read_beside_plain_ones() {
    let server = with_topic(1);
    let mut base = 0;
    for _ in 0..20 {
        append(&server, 0, &plain(base, 3, 10));
        base += 3;
        for codec in Codec::ALL {
            append(&server, 0, &packed::batch(&plain(base, 7, 100), codec));
            base += 7;
        }
    }
    let consumer = Consumer::assign_all(config(&server).start(Start::Offset(5)), &["t"]).unwrap();
    let mut got = Read::new();
    let count = usize::try_from(base).unwrap() - 5;
    read(&consumer, &mut got, count);
    for (n, (offset, value)) in (5..).zip(&got[&0]) {
        assert_eq!((*offset, value.parse()), (n, Ok(n)));
    }
    assert_eq!(consumer.position("t", 0), Some(base));
}

/// A chunk is a unit of memory: what follows a full one is in the next, in order, whichever thread
/// takes it.
#[test]
fn what_unpacks_to_much_comes_in_several_chunks() {
    let server = with_topic(2);
    let (batches, each, len) = (24, 40, 1000);
    for n in 0..batches {
        for partition in 0..2 {
            append(&server, partition, &packed::batch(&plain(n * each, each, len), Codec::Zstd));
        }
    }
    let config = config(&server).start(Start::Earliest).chunk_bytes(8 << 10);
    let consumer = Consumer::assign_all(config, &["t"]).unwrap();
    let mut got = Read::new();
    let (total, mut largest) = (2 * batches * each, 0);
    while (got.values().map(Vec::len).sum::<usize>() as i64) < total {
        let chunk = consumer.next_timeout(LONG).unwrap().expect("records");
        let mut bytes = 0;
        for record in chunk.records() {
            let record = record.expect("a record");
            bytes += record.value.unwrap().len();
            let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
            got.entry(record.partition).or_default().push((record.offset, value));
        }
        largest = largest.max(bytes);
    }
    assert_gapless(&got);
    // Sixteen and a quarter chunks, and the batch that filled it.
    let most = 16 * (10 << 10) + each as usize * len;
    assert!(largest <= most, "{largest} bytes in a chunk, at most {most}");
    assert!(largest > most / 2, "{largest}: the batches are not packed well enough to show it");
}

/// Returns all kinds of damage under a right checksum.
fn damaged() -> Vec<(&'static str, Codec, Vec<u8>)> {
    let good = plain(2, 5, 200);
    let mut all = Vec::new();
    for codec in Codec::ALL {
        let body = packed::body(&good[61..], codec);
        all.push(("cut", codec, body[..body.len() - 1].to_vec()));
        all.push(("cut in half", codec, body[..body.len() / 2].to_vec()));
        all.push(("nothing", codec, Vec::new()));
        let mut trailing = body.clone();
        trailing.extend([1, 2, 3, 4, 5]);
        all.push(("trailing bytes", codec, trailing));
        all.push(("garbage", codec, vec![0xa5; 100]));
    }
    all
}

/// A reader of the whole topic whose seeks need not wait long for the fetch that is in flight.
fn brief_reader(server: &Server) -> Consumer {
    let brief = |core: &mut Config<'_>| core.fetch_max_wait = Duration::from_millis(10);
    let config = config(server).start(Start::Earliest).tune(brief);
    Consumer::assign_all(config, &["t"]).unwrap()
}

/// Reads until there were so many records and an error; returns the offsets of each partition.
fn read_apart(consumer: &Consumer, count: usize) -> (BTreeMap<u32, Vec<i64>>, Vec<Error>) {
    let (mut got, mut failed) = (BTreeMap::<u32, Vec<i64>>::new(), Vec::new());
    while got.values().map(Vec::len).sum::<usize>() < count || failed.is_empty() {
        match reported(consumer.next()) {
            Ok(chunk) => {
                for record in chunk.records() {
                    let record = record.expect("a record");
                    got.entry(record.partition).or_default().push(record.offset);
                }
            }
            Err(error) => failed.push(error),
        }
    }
    (got, failed)
}

#[test]
fn a_batch_that_cannot_be_unpacked_parks_its_partition_alone() {
    for (what, codec, body) in damaged() {
        let server = with_topic(2);
        append(&server, 0, &packed::batch(&plain(0, 2, 10), codec));
        append(&server, 0, &packed::with_body(&plain(2, 5, 200), codec, &body));
        append(&server, 0, &packed::batch(&plain(7, 2, 10), codec));
        for n in 0..10 {
            append(&server, 1, &packed::batch(&plain(n * 4, 4, 10), codec));
        }
        let consumer = brief_reader(&server);
        let (got, failed) = read_apart(&consumer, 42);
        let case = format!("{codec}, {what}");
        assert_eq!(got[&0], [0, 1], "{case}");
        assert_eq!(got[&1], (0..40).collect::<Vec<_>>(), "{case}");
        let [error] = failed.as_slice() else { panic!("{case}: {failed:?}") };
        let ErrorKind::Unpack { offset: 2, next_offset: 7, packed, limit, why, .. } = error.kind()
        else {
            panic!("{case}: {error}")
        };
        assert_eq!((packed, limit), (body.len(), 64 << 20), "{case}");
        assert!(!matches!(why, Fault::TooLarge { .. } | Fault::Missing), "{case}: {why:?}");
        let text = error.to_string();
        assert!(text.starts_with("read t, partition 0: the batch at offset 2"), "{case}: {text}");
        assert_eq!(consumer.position("t", 0), Some(2), "{case}");

        // The partition waits for a seek, whatever else arrives.
        append(&server, 0, &plain(9, 1, 10));
        append(&server, 1, &plain(40, 1, 10));
        let mut more = Read::new();
        read(&consumer, &mut more, 1);
        assert_eq!(more.keys().copied().collect::<Vec<_>>(), [1], "{case}");
        reported(consumer.seek("t", 0, Start::Offset(7))).unwrap();
        read(&consumer, &mut more, 4);
        let offsets: Vec<_> = more[&0].iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [7, 8, 9], "{case}");
    }
}

/// Three records of which the last has a wrong length, under a right checksum.
fn damaged_inside(base: i64) -> Bytes {
    let mut bytes = plain(base, 3, 1).to_vec();
    bytes[61 + 16] = 0x7e; // a record takes 8 bytes
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

#[test]
fn damage_inside_a_batch_parks_its_partition_alone() {
    for codec in [None].into_iter().chain(Codec::ALL.map(Some)) {
        let pack = |plain: Bytes| codec.map_or(plain.clone(), |codec| packed::batch(&plain, codec));
        let server = with_topic(2);
        append(&server, 0, &pack(plain(0, 2, 1)));
        append(&server, 0, &pack(damaged_inside(2)));
        append(&server, 0, &pack(plain(5, 2, 1)));
        for n in 0..10 {
            append(&server, 1, &pack(plain(n * 4, 4, 10)));
        }
        let consumer = brief_reader(&server);
        let (got, failed) = read_apart(&consumer, 44);
        assert_eq!(got[&0], [0, 1, 2, 3], "{codec:?}");
        assert_eq!(got[&1], (0..40).collect::<Vec<_>>(), "{codec:?}");
        let [error] = failed.as_slice() else { panic!("{codec:?}: {failed:?}") };
        let ErrorKind::Unreadable { offset: 4, next_offset: 5, .. } = error.kind() else {
            panic!("{codec:?}: {error}")
        };
        assert_eq!(error.partition(), Some(("t", 0)), "{codec:?}");
        let text = error.to_string();
        assert!(
            text.starts_with("read t, partition 0: the record at offset 4 cannot be read: "),
            "{codec:?}: {text}"
        );
        assert_eq!(consumer.position("t", 0), Some(4), "{codec:?}");
        append(&server, 1, &plain(40, 1, 10));
        let mut more = Read::new();
        read(&consumer, &mut more, 1);
        assert_eq!(more.keys().copied().collect::<Vec<_>>(), [1], "{codec:?}");
        reported(consumer.seek("t", 0, Start::Offset(5))).unwrap();
        read(&consumer, &mut more, 3);
        let offsets: Vec<_> = more[&0].iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [5, 6], "{codec:?}");
    }
}

#[test]
fn a_batch_above_the_limit_parks_its_partition_and_a_larger_limit_reads_it() {
    for codec in Codec::ALL {
        let server = with_topic(1);
        let large = plain(0, 50, 2000);
        append(&server, 0, &packed::batch(&large, codec));
        let within = large.len() - 61;
        let config = config(&server).start(Start::Earliest);
        let small = config.clone().unpacked_bytes(within - 1);
        let consumer = Consumer::assign_all(small, &["t"]).unwrap();
        let error = reported(consumer.next()).expect_err("too large");
        let ErrorKind::Unpack { offset: 0, next_offset: 50, limit, why, .. } = error.kind() else {
            panic!("{codec}: {error}")
        };
        assert_eq!(limit, within - 1, "{codec}");
        assert!(matches!(why, Fault::TooLarge { .. }), "{codec}: {why:?}");
        assert!(error.to_string().ends_with("raise unpacked_bytes, or seek past the batch"));
        drop(consumer);
        let consumer = Consumer::assign_all(config.unpacked_bytes(within), &["t"]).unwrap();
        let mut got = Read::new();
        read(&consumer, &mut got, 50);
        assert_gapless(&got);
    }
}

/// What waits in the queue when the application pauses and resumes is read again, once.
#[test]
fn a_pause_amid_compressed_batches_loses_nothing() {
    let server = with_topic(1);
    for n in 0..30 {
        append(&server, 0, &packed::batch(&plain(n * 10, 10, 500), Codec::Lz4));
    }
    let config = config(&server).start(Start::Earliest).chunk_bytes(64);
    let consumer = Consumer::assign_all(config, &["t"]).unwrap();
    let mut got = Read::new();
    read(&consumer, &mut got, 1);
    reported(consumer.pause("t", 0)).unwrap();
    let position = consumer.position("t", 0).unwrap();
    assert_eq!(position, got[&0].len() as i64);
    assert!(position < 300, "all came at once");
    reported(consumer.resume("t", 0)).unwrap();
    read(&consumer, &mut got, 300);
    assert_gapless(&got);
    assert_eq!(got[&0].len(), 300);
}

/// Sends `count` records of about 200 bytes to each of three partitions.
fn send(producer: &Producer, count: usize) {
    for n in 0..count {
        for partition in 0..3 {
            let value = format!("{n} {}", "the same again and again ".repeat(8));
            producer.send_to("t", partition, &Record::new(value.as_bytes())).expect("taken");
        }
    }
    reported(producer.flush()).expect("acknowledged");
}

/// Returns the codecs of the batches of a topic's three partitions.
fn codecs(server: &Server) -> Vec<i16> {
    let batches =
        server.with(|cluster| (0..3).flat_map(|p| cluster.batches("t", p)).collect::<Vec<_>>());
    batches.iter().map(|batch| Header::read(batch).expect("a header").codec()).collect()
}

#[test]
fn a_producer_writes_all_codecs_at_all_levels() {
    let all = ["gzip", "gzip:1", "gzip:9", "snappy", "lz4", "zstd", "zstd:-7", "zstd:12"];
    for text in all {
        let server = with_topic(3);
        let compression: Compression = text.parse().unwrap();
        let config = config(&server).compression(compression).start(Start::Earliest);
        // Many batches in one piece, and few in several.
        for batch in [4 << 10, 128 << 10] {
            let producer = Producer::new(config.clone().batch_bytes(batch)).unwrap();
            send(&producer, 500);
        }
        let codec = i16::from(compression.codec().expect("one").id());
        let found = codecs(&server);
        assert!(found.iter().all(|found| *found == codec), "{text}: {found:?}");
        let stored: usize = (0..3).map(|p| server.records("t", p).len()).sum();
        assert_eq!(stored, 3000, "{text}");
        let consumer = Consumer::assign_all(config, &["t"]).unwrap();
        let mut got = Read::new();
        read(&consumer, &mut got, 3000);
        assert_gapless(&got);
        for (n, (_, value)) in got[&1].iter().enumerate() {
            assert!(value.starts_with(&format!("{} the", n % 500)), "{text}: {n}: {value}");
        }
    }
}

/// A topic may store another codec than the producer's, and batches of that may be too large.
#[test]
fn brokers_may_compress_otherwise() {
    for stored in 0..=4 {
        let options = kavka_tests::sim::Options { brokers: 1, ..Default::default() };
        let most = kavka_tests::sim::Options { max_message_bytes: 20_000, ..options };
        let server = Server::start(most).expect("simulated brokers");
        server.create_topic("t", 3).expect("created");
        server.with(|cluster| cluster.set_compression("t", Some(stored))).expect("set");
        let config = config(&server).compression(Codec::Zstd).start(Start::Earliest);
        let producer = Producer::new(config.clone().batch_bytes(40 << 10)).unwrap();
        send(&producer, 1000);
        let found = codecs(&server);
        assert!(found.iter().all(|found| *found == stored), "{stored}: {found:?}");
        let consumer = Consumer::assign_all(config, &["t"]).unwrap();
        let mut got = Read::new();
        read(&consumer, &mut got, 3000);
        assert_gapless(&got);
    }
}

/// A topic's own compression goes before the producer's, its level included.
#[test]
fn topics_may_be_compressed_each_in_its_own_way() {
    let topics = [("t", None), ("fast", Some("gzip:1")), ("good", Some("gzip:9"))];
    let topics = [&topics[..], &[("plain", Some("none")), ("other", Some("snappy"))]].concat();
    for usual in ["zstd", "none"] {
        let server = server(1);
        let usual: Compression = usual.parse().unwrap();
        let mut config = config(&server).compression(usual).batch_bytes(64 << 10);
        for (topic, own) in &topics {
            server.create_topic(topic, 1).expect("created");
            if let Some(own) = own {
                config = config.topic_compression(*topic, own.parse::<Compression>().unwrap());
            }
        }
        let producer = Producer::new(config).unwrap();
        for n in 0..2000 {
            for (topic, _) in &topics {
                let value = format!("{n} of {} {}", n * 7919 % 1000, "and so on ".repeat(n % 13));
                producer.send(topic, &Record::new(value.as_bytes())).expect("taken");
            }
        }
        reported(producer.flush()).expect("acknowledged");
        let stored = |topic: &str| server.with(|cluster| cluster.batches(topic, 0));
        let mut bytes = BTreeMap::new();
        for (topic, own) in &topics {
            let wanted = own.map_or(usual, |own| own.parse().unwrap()).codec();
            let wanted = wanted.map_or(0, |codec| i16::from(codec.id()));
            for batch in stored(topic) {
                let header = Header::read(&batch).expect("a header");
                // One of a record may not shrink.
                let plain = header.codec() == 0 && batch.len() < 300;
                assert!(plain || header.codec() == wanted, "{usual}, {topic}: {header:?}");
            }
            assert_eq!(server.records(topic, 0).len(), 2000, "{usual}, {topic}");
            bytes.insert(*topic, stored(topic).iter().map(Bytes::len).sum::<usize>());
        }
        assert!(bytes["good"] < bytes["fast"], "{usual}: {bytes:?}");
        assert!(2 * bytes["fast"] < bytes["plain"], "{usual}: {bytes:?}");
    }
}
