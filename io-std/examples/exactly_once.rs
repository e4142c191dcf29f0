//! Reads a topic as a member of a group, changes each value, and writes it to another topic:
//! exactly once, whatever dies. Records and offsets are committed in one transaction.
//!
//!     cargo run -p kavka-std --example exactly_once -- localhost:9092 orders invoices
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

use std::collections::BTreeMap;
use std::error::Error;

use kavka_std::{
    Config, Consumed, Consumer, ErrorKind, Isolation, Producer, Start,
    kavka_core::{GroupError, TransactionError},
};

const GROUP: &str = "invoices";

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = |default: &str| args.next().unwrap_or_else(|| default.to_owned());
    let (bootstrap, from, to) = (next("localhost:9092"), next("orders"), next("invoices"));
    // One id for each process, the same after each start.
    let producer = Producer::new(Config::new(&bootstrap).transactional_id(GROUP))?;
    loop {
        let config = Config::new(&bootstrap).group(GROUP).start(Start::Earliest);
        let consumer = Consumer::subscribe(config.isolation(Isolation::ReadCommitted), &[&from])?;
        // After a failure: from what is committed, by a consumer that has lost nothing yet.
        let error = transform(&consumer, &producer, &from, &to);
        eprintln!("{error}");
        if matches!(error.kind(), ErrorKind::Transaction(TransactionError::Fenced)) {
            return Err(error.into());
        }
    }
}

/// Runs until something fails.
fn transform(consumer: &Consumer, producer: &Producer, from: &str, to: &str) -> kavka_std::Error {
    let step = || -> Result<(), kavka_std::Error> {
        let chunk = consumer.next().wait()?;
        let transaction = producer.transaction()?;
        let mut ends = BTreeMap::new();
        for batch in chunk.batches() {
            for record in batch.records() {
                let mut record = record?.to_record();
                let upper = record.value.map(<[u8]>::to_ascii_uppercase);
                record.value = upper.as_deref();
                // The commit fails if it fails.
                drop(transaction.send(to, &record).map_err(|_| ErrorKind::Closed)?);
            }
            let epoch = batch.header().partition_leader_epoch;
            ends.insert(batch.partition(), (batch.next_offset(), epoch));
        }
        let end = |(partition, (offset, leader_epoch)): (u32, (i64, i32))| Consumed {
            topic: from,
            partition: partition.cast_signed(),
            offset,
            leader_epoch,
            metadata: "",
        };
        let offsets: Vec<_> = ends.into_iter().map(end).collect();
        // What was taken away from this member may be another's: nothing of it may be committed.
        let member = consumer.membership().wait()?.filter(|member| member.losses == 0);
        let member = member.ok_or(ErrorKind::Group(GroupError::NoMember))?;
        let sent = transaction.send_offsets(&member, &offsets);
        transaction.commit().wait()?;
        sent.wait()
    };
    loop {
        if let Err(error) = step() {
            return error;
        }
    }
}
