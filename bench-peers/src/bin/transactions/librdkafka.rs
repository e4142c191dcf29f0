//! The `rdkafka` crate.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::{BATCH, LINGER, Result, Task};

/// Records between two checks of what has been delivered.
const POLL_EVERY: u64 = 1000;
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn run(task: &Task<'_>) -> Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", task.bootstrap)
        .set("transactional.id", task.topic)
        .set("linger.ms", LINGER.as_millis().to_string())
        .set("batch.size", BATCH.to_string())
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    producer.init_transactions(LIMIT)?;
    task.measure(|value| {
        producer.begin_transaction()?;
        for sent in 0..task.records {
            let mut record = BaseRecord::<(), [u8]>::to(task.topic).payload(value);
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
        Ok(producer.commit_transaction(LIMIT)?)
    })
}
