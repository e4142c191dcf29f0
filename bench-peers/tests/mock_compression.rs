//! Compressed batches between kavka and librdkafka, whose mock cluster stores them as they come:
//! what either of the two writes, with each codec and level, both read, to the last byte.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kavka_std::{Compression, Config, Consumer, Header, Producer, Record, Start};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Headers as _, Message as _, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DefaultProducerContext, Producer as _, ProducerContext,
};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const PARTITIONS: u32 = 4;
const BROKERS: i32 = 3;
/// Records of each codec and batch size.
const RECORDS: usize = 2000;
/// Batches of a few records, of one block of LZ4 or less, and of many.
const BATCHES: [usize; 3] = [1 << 10, 16 << 10, 512 << 10];
/// Milliseconds since 1970.
const BEGUN: i64 = 1_790_000_000_000;
/// For everything to be acknowledged, or the next record to be read.
const LIMIT: Duration = Duration::from_secs(40);

type Mock = MockCluster<'static, DefaultProducerContext>;
type Bytes = Option<Vec<u8>>;

/// A record, without its place in a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Content {
    timestamp: i64,
    key: Bytes,
    value: Bytes,
    headers: Vec<(String, Bytes)>,
}

/// Partition, offset, content.
type Row = (u32, i64, Content);

/// The n-th record: nulls, empty ones, repeating text, what no codec can shrink, and now and then
/// one that takes several blocks.
fn content(n: usize) -> Content {
    let key = match n % 7 {
        0 => None,
        1 => Some(Vec::new()),
        of => Some(format!("sensor-{of}").into_bytes()),
    };
    let value = match n % 100 {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(noise(n, 3000)),
        3 if n % 1000 == 3 => Some(format!("{n} is a long one; ").repeat(8000).into_bytes()),
        _ => Some(format!("{n}: the temperature is 21.5 C; ").repeat(1 + n % 9).into_bytes()),
    };
    let all = [
        ("trace", Some(n.to_be_bytes().to_vec())),
        ("nothing", None),
        ("trace", Some(Vec::new())),
        ("größe", Some(noise(n, 10))),
    ];
    let headers = all.into_iter().take(n % 5).map(|(name, value)| (name.to_owned(), value));
    Content { timestamp: BEGUN + n as i64, key, value, headers: headers.collect() }
}

/// Bytes without any pattern (xorshift64).
fn noise(seed: usize, len: usize) -> Vec<u8> {
    let mut state = seed as u64 | 1 << 40;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Writes [`RECORDS`] to the topic in batches of this many bytes.
type Write<'a> = &'a dyn Fn(&str, usize) -> Vec<Row>;

/// Every reader gets the records that were written, and the batches are compressed.
fn exchange(mock: &Mock, who: &str, compression: &str, write: Write<'_>) {
    let name = format!("{who}-{}", compression.replace(':', "."));
    mock.create_topic(&name, PARTITIONS as i32, BROKERS).unwrap();
    let mut wanted: Vec<Row> = BATCHES.iter().flat_map(|bytes| write(&name, *bytes)).collect();
    wanted.sort();
    let compare = |reader: &str, rows: &[Row]| {
        assert_eq!(rows.len(), wanted.len(), "{name} read by {reader}");
        for (row, wanted) in rows.iter().zip(&wanted) {
            assert!(row == wanted, "{name} read by {reader}: {row:?}, written {wanted:?}");
        }
    };
    let (rows, codecs, bytes) = read_by_kavka(mock, &name, wanted.len());
    compare("kavka", &rows);
    compare("librdkafka", &read_by_librdkafka(mock, &name, wanted.len()));

    let codec = compression.parse::<Compression>().unwrap().codec();
    let id = codec.map_or(0, |codec| codec as u8);
    // Those that do not shrink go out plain.
    assert!(codecs.contains(&id) && codecs.is_subset(&[0, id].into()), "{name}: {codecs:?}");
    let len = |bytes: &Bytes| bytes.as_ref().map_or(0, Vec::len);
    let plain: usize = wanted.iter().map(|(.., content)| len(&content.value)).sum();
    assert!(id == 0 || bytes < plain / 2, "{name}: {bytes} bytes of batches, values {plain}");
    println!("{name}: {} records, values of {plain} bytes in {bytes}", wanted.len());
}

#[test]
fn what_kavka_writes() {
    let mock = MockCluster::new(BROKERS).unwrap();
    let levels = [
        "none", "gzip:1", "gzip", "gzip:9", "snappy", "lz4", "zstd:-5", "zstd:1", "zstd", "zstd:19",
    ];
    for compression in levels {
        exchange(&mock, "kavka", compression, &|topic, bytes| {
            written_by_kavka(&mock, topic, compression.parse().unwrap(), bytes)
        });
    }
}

#[test]
fn what_librdkafka_writes() {
    let mock = MockCluster::new(BROKERS).unwrap();
    // -1: what librdkafka chooses itself. Not zstd 12: it clears tens of MB for each batch, however
    // small.
    let levels = [
        ("none", "-1"),
        ("gzip", "1"),
        ("gzip", "-1"),
        ("gzip", "9"),
        ("snappy", "-1"),
        ("lz4", "-1"),
        ("lz4", "12"),
        ("zstd", "1"),
        ("zstd", "-1"),
        ("zstd", "6"),
    ];
    for (compression, level) in levels {
        exchange(&mock, &format!("librdkafka{level}"), compression, &|topic, bytes| {
            written_by_librdkafka(&mock, topic, (compression, level), bytes)
        });
    }
}

fn written_by_kavka(mock: &Mock, topic: &str, compression: Compression, bytes: usize) -> Vec<Row> {
    let config = Config::new(mock.bootstrap_servers()).compression(compression).batch_bytes(bytes);
    let producer = Producer::new(config).unwrap();
    let send = |n| {
        let content = content(n);
        let headers = content.headers.iter();
        let headers: Vec<_> =
            headers.map(|(name, value)| Header { name, value: value.as_deref() }).collect();
        let mut record = Record::tombstone().timestamp(content.timestamp).headers(&headers);
        (record.key, record.value) = (content.key.as_deref(), content.value.as_deref());
        let pending = producer.send(topic, &record).unwrap();
        (content, pending)
    };
    let sent: Vec<_> = (0..RECORDS).map(send).collect();
    let row = |(content, pending): (_, kavka_std::Pending<kavka_std::Delivered>)| {
        let result = pending.wait_timeout(LIMIT).unwrap_or_else(|_| panic!("{topic}: no result"));
        let at = result.unwrap_or_else(|error| panic!("{topic}: {error}"));
        (at.partition, at.offset.expect("acks=all"), content)
    };
    sent.into_iter().map(row).collect()
}

/// Where each record went: its number, partition and offset.
#[derive(Default)]
struct Deliveries(Mutex<Vec<(usize, u32, i64)>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, n: usize) {
        if let Ok(message) = result {
            let at = (n, message.partition() as u32, message.offset());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(at);
        }
    }
}

fn written_by_librdkafka(
    mock: &Mock,
    topic: &str,
    (compression, level): (&str, &str),
    bytes: usize,
) -> Vec<Row> {
    let producer: BaseProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", mock.bootstrap_servers())
        .set("compression.type", compression)
        .set("compression.level", level)
        .set("batch.size", bytes.to_string())
        .set("linger.ms", "20")
        .create_with_context(Deliveries::default())
        .unwrap();
    for n in 0..RECORDS {
        let content = content(n);
        let headers = content.headers.iter();
        let headers = headers.fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(rdkafka::message::Header { key, value: value.as_ref() })
        });
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, n);
        record = record.timestamp(content.timestamp).headers(headers);
        record = content.key.iter().fold(record, |record, key| record.key(key));
        record = content.value.iter().fold(record, |record, value| record.payload(value));
        while let Err((error, back)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full, "{topic}");
            producer.poll(Duration::from_millis(1));
            record = back;
        }
    }
    producer.flush(LIMIT).unwrap();
    let at = producer.context().0.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(at.len(), RECORDS, "{topic}: delivered");
    at.iter().map(|(n, partition, offset)| (*partition, *offset, content(*n))).collect()
}

/// Returns the records in order, the codecs of their batches and the bytes of these.
fn read_by_kavka(mock: &Mock, topic: &str, count: usize) -> (Vec<Row>, BTreeSet<u8>, usize) {
    let config = Config::new(mock.bootstrap_servers()).start(Start::Earliest);
    let consumer = Consumer::assign_all(config, &[topic]).unwrap();
    let (mut rows, mut codecs, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    while rows.len() < count {
        let chunk = consumer.next_timeout(LIMIT).unwrap_or_else(|error| panic!("{topic}: {error}"));
        let chunk = chunk.unwrap_or_else(|| panic!("{topic}: only {} of {count}", rows.len()));
        for batch in chunk.batches() {
            bytes += batch.bytes().len();
            // The low byte of the batch's attributes.
            codecs.insert(batch.bytes()[22] & 7);
            for record in batch.records() {
                let record = record.unwrap();
                let headers = record.headers;
                let headers =
                    headers.map(|h| (h.name_str().unwrap().to_owned(), owned(h.value))).collect();
                let (key, value) = (owned(record.key), owned(record.value));
                let content = Content { timestamp: record.timestamp, key, value, headers };
                rows.push((record.partition, record.offset, content));
            }
        }
    }
    rows.sort();
    (rows, codecs, bytes)
}

/// Returns the records in order.
fn read_by_librdkafka(mock: &Mock, topic: &str, count: usize) -> Vec<Row> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", mock.bootstrap_servers())
        .set("group.id", "readers")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS as i32 {
        partitions.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let mut rows = Vec::new();
    while rows.len() < count {
        let message = consumer.poll(LIMIT);
        let message = message.unwrap_or_else(|| panic!("{topic}: only {} of {count}", rows.len()));
        let message = message.unwrap_or_else(|error| panic!("{topic}: {error}"));
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let headers = headers.map(|h| (h.key.to_owned(), owned(h.value))).collect();
        let content = Content {
            timestamp: message.timestamp().to_millis().unwrap_or(-1),
            key: owned(message.key()),
            value: owned(message.payload()),
            headers,
        };
        rows.push((message.partition() as u32, message.offset(), content));
    }
    rows.sort();
    rows
}
