//! Replies to each record with another record from within its event: `hold` when the producer is
//! full, `resume` when it has space. A partition without records beside it must not slow that down.

use core::time::Duration;
use std::collections::BTreeMap;
use std::time::Instant as Clock;

use kavka_core::{
    Client, Config, Event, Limits, PartitionId, ProduceError, Record, Start, Storage,
};
use kavka_std::driver::Driver;
use kavka_std::{Config as Settings, Producer};
use kavka_tests::sim::{Options, Server};

use crate::measure::{Failure, Figure, Outcome};

const FROM: &str = "questions";
const TO: &str = "answers";
const RECORDS: u64 = 400_000;
/// Time during which the records of a run are counted.
const LENGTH: Duration = Duration::from_secs(5);
/// Longest time from `resume` to the next records.
const BAR: Duration = Duration::from_millis(20);

struct Seen {
    /// Records a second.
    rate: f64,
    /// Longest time from `resume` to the next records of that partition.
    longest: Duration,
    holds: u64,
}

pub(crate) fn run() -> Outcome {
    let alone = respond(1)?;
    let beside = respond(2)?;
    let Seen { rate, longest, holds } = beside;
    if holds == 0 {
        return Err("nothing was held".into());
    }
    Ok(Figure {
        found: format!(
            "answering from inside, a partition beside it caught up: {rate:.0} records/s (alone \
             {:.0}), {longest:.1?} at worst from resume to records, {holds} holds",
            alone.rate
        ),
        bar: format!("half the rate alone, {BAR:?}"),
        kept: longest <= BAR && rate * 2.0 >= alone.rate,
    })
}

/// Replies to records that are all in the first of `partitions` partitions.
fn respond(partitions: u32) -> Result<Seen, Failure> {
    let server = Server::start(Options { brokers: 1, replication: 1, ..Options::default() })?;
    for (name, count) in [(FROM, partitions), (TO, 1)] {
        server.create_topic(name, count).map_err(|code| format!("no topic: {code}"))?;
    }
    let writer = Producer::new(Settings::new(server.bootstrap()))?;
    for _ in 0..RECORDS {
        drop(writer.send_to(FROM, 0, &Record::new(&[b'q'; 100]))?);
    }
    writer.flush().wait()?;
    drop(writer);
    let bootstrap = server.bootstrap();
    let mut limits = Limits::server();
    limits.tx_blocks = 256; // fills soon
    let client = Client::new(Config::new(&bootstrap), Storage::heap(&limits), [7; 32])?;
    let mut driver = Driver::new(client)?;
    let (from, to) = (driver.topic(FROM)?, driver.topic(TO)?);
    let now = driver.now();
    driver.assign_all(now, from, Start::Earliest)?;
    let begun = Clock::now();
    let mut seen = Seen { rate: 0.0, longest: Duration::ZERO, holds: 0 };
    let (mut responded, mut held) = (0, None::<PartitionId>);
    let mut resumed: BTreeMap<u32, Clock> = BTreeMap::new();
    while responded < RECORDS && begun.elapsed() < LENGTH {
        driver.turn(Some(LENGTH.saturating_sub(begun.elapsed())))?;
        let now = driver.now();
        while let Some((event, commands)) = driver.poll_event() {
            match event {
                Event::Records(batch) => {
                    if let Some(at) = resumed.remove(&batch.topic_partition().partition) {
                        seen.longest = seen.longest.max(at.elapsed());
                    }
                    for record in batch.records() {
                        let record = record.map_err(|why| format!("{why:?}"))?;
                        let response = Record::new(record.value.unwrap_or_default());
                        match commands.produce(now, to, &response) {
                            Ok(_) => responded += 1,
                            Err(ProduceError::Full | ProduceError::NotReady) => {
                                commands.hold(batch.partition(), record.offset);
                                held = Some(batch.partition());
                                seen.holds += 1;
                                break;
                            }
                            Err(error) => return Err(format!("{error}").into()),
                        }
                    }
                }
                Event::Room => {
                    if let Some(at) = held.take() {
                        commands.resume(now, at);
                        resumed.insert(0, Clock::now());
                    }
                }
                _ => {}
            }
        }
    }
    let waits = resumed.values().map(Clock::elapsed).max().unwrap_or_default();
    seen.longest = seen.longest.max(waits);
    seen.rate = responded as f64 / begun.elapsed().as_secs_f64();
    Ok(seen)
}
