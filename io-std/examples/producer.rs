//! Sends a thousand records and waits for the last one.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

use kavka_std::{Config, Producer, Record};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".into());
    let producer = Producer::new(Config::new(bootstrap))?;
    for i in 0..1000 {
        let value = format!("reading {i}");
        producer.send("readings", &Record::new(value.as_bytes()).key(b"pump-3"))?;
    }
    let last = producer.send("readings", &Record::new(b"done"))?.wait()?;
    println!("partition {} offset {:?}", last.partition, last.offset);
    Ok(producer.flush().wait()?) // reports the first failure of records nobody waited for
}
