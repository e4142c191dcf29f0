//! kavka-std, as its users use it.

use std::path::Path;

use kavka_std::{Admin, Config, Consumer, NewTopic, Producer, Record, Start};

use crate::{Result, Task};

#[cfg(feature = "tls")]
fn config(bootstrap: &str, ca: Option<&Path>) -> Result<Config> {
    use kavka_std::{Sasl, Tls};
    use kavka_tests::kafka::{PASSWORD, USER};

    let config = Config::new(bootstrap);
    Ok(match ca {
        None => config,
        Some(ca) => {
            let tls = Tls::builder().ca_file(ca)?.build()?;
            config.tls(tls).sasl(Sasl::plain(USER, PASSWORD))
        }
    })
}

#[cfg(not(feature = "tls"))]
fn config(bootstrap: &str, ca: Option<&Path>) -> Result<Config> {
    match ca {
        None => Ok(Config::new(bootstrap)),
        Some(_) => Err("built without TLS".into()),
    }
}

/// Creates a topic with one replica of each partition.
pub(crate) fn create(
    (bootstrap, ca): (&str, Option<&Path>),
    topic: &str,
    partitions: u32,
) -> Result<()> {
    let new = NewTopic::new(topic, i32::try_from(partitions)?, 1);
    Admin::new(config(bootstrap, ca)?)?.create_topic(new).wait()?;
    Ok(())
}

/// Sends all records and waits until they are acknowledged.
pub(crate) fn produce(task: &Task<'_>) -> Result<()> {
    let config = config(task.bootstrap, task.ca)?;
    let config = config.linger(task.linger).batch_bytes(task.batch_bytes);
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
    let config = config(task.bootstrap, task.ca)?.start(Start::Earliest);
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
