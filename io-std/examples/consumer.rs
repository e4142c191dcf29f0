//! Prints everything in a topic, also what is in partitions that are added while it runs.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

use kavka_std::{Config, Consumer, Start};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".into());
    let config = Config::new(bootstrap).start(Start::Earliest);
    let consumer = Consumer::assign_all(config, &["readings"])?;
    loop {
        let chunk = consumer.next().wait()?; // async: next().await?
        for record in chunk.records() {
            let record = record?;
            let value = String::from_utf8_lossy(record.value.unwrap_or_default());
            println!("partition {} offset {}: {value}", record.partition, record.offset);
        }
    }
}
