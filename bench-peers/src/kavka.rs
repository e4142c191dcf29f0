//! kavka-std, as its users use it.

use kavka_std::{Admin, Config, Consumer, NewTopic, Producer, Record, Start};

use crate::{Result, Task};

/// Creates a topic with one replica of each partition.
pub(crate) fn create(bootstrap: &str, topic: &str, partitions: u32) -> Result<()> {
    let new = NewTopic::new(topic, i32::try_from(partitions)?, 1);
    Admin::new(Config::new(bootstrap))?.create_topic(new).wait()?;
    Ok(())
}

/// Sends all records and waits until they are acknowledged.
pub(crate) fn produce(task: &Task<'_>) -> Result<()> {
    let config = Config::new(task.bootstrap).linger(task.linger).batch_bytes(task.batch_bytes);
    let producer = Producer::new(config)?;
    let value = vec![b'v'; task.size];
    for _ in 0..task.records {
        drop(producer.send(task.topic, &Record::new(&value))?);
    }
    producer.flush().wait()?; // the first failure of any of them
    Ok(())
}

/// Reads all records of the topic.
pub(crate) fn consume(task: &Task<'_>) -> Result<()> {
    let config = Config::new(task.bootstrap).start(Start::Earliest);
    let consumer = Consumer::assign_all(config, &[task.topic])?;
    let (mut records, mut bytes) = (0, 0);
    while records < task.records {
        for record in consumer.next().wait()?.records() {
            records += 1;
            bytes += record?.value.map_or(0, <[u8]>::len);
        }
    }
    crate::report::check_bytes(task, bytes)
}
