//! kavka-std, as its users use it.

use kavka_std::{Admin, Config, NewTopic, Producer, Record};

use crate::{BATCH, LINGER, Result, Task};

/// Creates a topic with one replica of each partition.
pub(crate) fn create(bootstrap: &str, topic: &str, partitions: u32) -> Result<()> {
    let new = NewTopic::new(topic, i32::try_from(partitions)?, 1);
    Admin::new(Config::new(bootstrap))?.create_topic(new).wait()?;
    Ok(())
}

pub(crate) fn run(task: &Task<'_>) -> Result<()> {
    let config = Config::new(task.bootstrap).transactional_id(task.topic);
    let producer = Producer::new(config.linger(LINGER).batch_bytes(BATCH))?;
    task.measure(|value| {
        let transaction = producer.transaction()?;
        for _ in 0..task.records {
            drop(transaction.send(task.topic, &Record::new(value))?);
        }
        Ok(transaction.commit().wait()?)
    })
}
