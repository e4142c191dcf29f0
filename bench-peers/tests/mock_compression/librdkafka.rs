//! librdkafka.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{Content, LIMIT, Mock, PARTITIONS, RECORDS, Row, content};

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

pub(super) fn write(
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
            headers.insert(Header { key, value: value.as_ref() })
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

/// Returns the records in order.
pub(super) fn read(mock: &Mock, topic: &str, count: usize) -> Vec<Row> {
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
