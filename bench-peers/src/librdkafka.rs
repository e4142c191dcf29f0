//! The `rdkafka` crate, used as cheaply as it can be: callbacks counted on the sending thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use kavka_tests::kafka::{PASSWORD, USER};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::{PARTITIONS, Result, Task};

/// Records between two checks of what has been delivered.
const POLL_EVERY: u64 = 1000;
/// For everything that should come within milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Deliveries {
    done: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let count = if result.is_ok() { &self.done } else { &self.failed };
        count.fetch_add(1, Relaxed);
    }
}

fn config(task: &Task<'_>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", task.bootstrap);
    if let Some(ca) = task.ca {
        config.set("security.protocol", "SASL_SSL").set("sasl.mechanisms", "PLAIN");
        config.set("sasl.username", USER).set("sasl.password", PASSWORD);
        config.set("ssl.ca.location", ca.to_string_lossy());
    }
    config
}

/// Sends all records and waits until they are acknowledged.
pub(crate) fn produce(task: &Task<'_>) -> Result<()> {
    let producer: BaseProducer<Deliveries> = config(task)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", task.linger.as_millis().to_string())
        .set("batch.size", task.batch_bytes.to_string())
        .create_with_context(Deliveries::default())?;
    let value = vec![b'v'; task.size];
    for sent in 0..task.records {
        let mut record = BaseRecord::<(), [u8]>::to(task.topic).payload(&value);
        loop {
            record = match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => back,
                Err((error, _)) => return Err(error.into()),
            };
            producer.poll(Duration::from_millis(1));
        }
        if sent % POLL_EVERY == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(LIMIT)?;
    let counts = producer.context();
    let (done, failed) = (counts.done.load(Relaxed), counts.failed.load(Relaxed));
    if done != task.records {
        return Err(format!("{done} of {} delivered, {failed} failed", task.records).into());
    }
    Ok(())
}

/// Reads all records of the topic.
pub(crate) fn consume(task: &Task<'_>) -> Result<()> {
    let consumer: BaseConsumer = config(task)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(task.topic, partition as i32, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    let (mut records, mut bytes) = (0, 0);
    while records < task.records {
        let message = consumer.poll(LIMIT).ok_or("no record came")??;
        records += 1;
        bytes += message.payload().map_or(0, <[u8]>::len);
    }
    crate::report::check_bytes(task, bytes)
}
