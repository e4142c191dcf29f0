//! Produces and consumes on tokio, without ever blocking one of its threads.
//!
//! `cargo run -p kavka-std --example tokio -- localhost:9092 readings`
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

use std::time::Duration;

use kavka_std::{Config, Consumer, Producer, Record, Start};

type Failure = Box<dyn std::error::Error>;

/// Sends `count` records and reads as many from the start of the topic.
pub(crate) async fn run(bootstrap: &str, topic: &str, count: usize) -> Result<usize, Failure> {
    let config = Config::new(bootstrap);
    let producer = Producer::new(config.clone())?;
    for n in 0..count {
        let value = format!("reading {n}");
        // Waits for space in the queue, not for the acknowledgement.
        drop(producer.send_async(topic, &Record::new(value.as_bytes())).await?);
    }
    producer.flush().await?; // reports the first failure

    let consumer = Consumer::assign_all(config.start(Start::Earliest), &[topic])?;
    let mut read = 0;
    while read < count {
        tokio::select! {
            // Cancel safe: the chunk that comes too late is the next one.
            chunk = consumer.next() => read += chunk?.records().count(),
            () = tokio::time::sleep(Duration::from_secs(1)) => println!("{read} records so far"),
        }
    }
    let lost = producer.close(Duration::from_secs(5)).await?;
    println!("{read} records read; lost: {}", lost.records());
    Ok(read)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or_else(|| "localhost:9092".into());
    let topic = args.next().unwrap_or_else(|| "readings".into());
    run(&bootstrap, &topic, 1000).await.map(drop)
}
