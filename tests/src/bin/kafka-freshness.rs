//! Measures how late growth is noticed on real brokers: from the response to CreatePartitions until
//! `PartitionsAdded`, at a producer and at a consumer.
//!
//! `cargo run --release -p kavka-tests --bin kafka-freshness` takes about a quarter of an hour.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use clap::Parser;
use kavka_std::{Config, Consumer, Event, Events, Producer, Record, Start};
use kavka_tests::kafka::{Cluster, Spec, Version};

/// Measures how late growth is noticed on real brokers.
#[derive(Parser)]
struct Options {
    /// Kafka versions.
    #[arg(long, value_delimiter = ',', default_value = "4.4.0,2.8.2")]
    versions: Vec<Version>,
    /// Brokers.
    #[arg(long, value_delimiter = ',', default_value = "1,3")]
    nodes: Vec<usize>,
    /// Partitions at the start.
    #[arg(long, value_delimiter = ',', default_value = "3,1000")]
    partitions: Vec<u32>,
    /// Records a second; 0 is idle.
    #[arg(long, value_delimiter = ',', default_value = "0,100")]
    rates: Vec<u32>,
    /// Growths, by one partition each.
    #[arg(long, default_value_t = 20)]
    growths: u32,
}

type Failure = Box<dyn core::error::Error + Send + Sync>;

/// Delay from the response to each growth's event, in milliseconds; 0 also for an earlier event.
#[derive(Default)]
struct Delays {
    producer: Vec<u128>,
    consumer: Vec<u128>,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    println!("Milliseconds from the response to CreatePartitions, {} growths.\n", options.growths);
    println!(
        "| Kafka | brokers | partitions | records/s \
         | producer median | worst | consumer median | worst |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for version in &options.versions {
        for nodes in &options.nodes {
            let cluster = Cluster::start(Spec::new(*version, *nodes))?;
            for partitions in &options.partitions {
                for rate in &options.rates {
                    let delays = measure(&cluster, *partitions, *rate, options.growths)?;
                    let (producer, consumer) = (summary(delays.producer), summary(delays.consumer));
                    println!(
                        "| {version} | {nodes} | {partitions} | {rate} | {producer} | {consumer} |"
                    );
                }
            }
        }
    }
    Ok(())
}

/// Formats `median | worst`.
fn summary(mut delays: Vec<u128>) -> String {
    delays.sort_unstable();
    let middle = delays.len() / 2;
    let median = delays.get(middle).copied().unwrap_or_default();
    format!("{median} | {}", delays.last().copied().unwrap_or_default())
}

fn measure(cluster: &Cluster, partitions: u32, rate: u32, growths: u32) -> Result<Delays, Failure> {
    let topic = format!("grows-{partitions}-{rate}");
    cluster.create(&topic, partitions)?;
    let config = || Config::new(cluster.bootstrap());
    let producer = Producer::new(config())?;
    let consumer = Consumer::assign_all(config().start(Start::Earliest), &[&topic])?;
    let (produced, consumed) = (producer.events(), consumer.events());
    // Both know the topic once a record was delivered.
    producer.send(&topic, &Record::new(b"first"))?.wait()?;
    consumer.next_timeout(Duration::from_secs(30))?.ok_or("the first record did not come")?;
    let over = AtomicBool::new(false);
    let delays = thread::scope(|scope| {
        scope.spawn(|| send_at(&producer, &topic, rate, &over));
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                let _ = consumer.next_timeout(Duration::from_millis(100));
            }
        });
        let delays = grow_often(cluster, &topic, partitions, growths, [&produced, &consumed]);
        over.store(true, Ordering::Release);
        delays
    });
    drop(producer); // waits until what it sent last is acknowledged
    cluster.delete(&topic)?;
    delays
}

fn send_at(producer: &Producer, topic: &str, rate: u32, over: &AtomicBool) {
    let pause = Duration::from_secs(1).checked_div(rate).unwrap_or(Duration::from_millis(100));
    let mut turn = 0u64;
    while !over.load(Ordering::Acquire) {
        if rate > 0 {
            turn += 1;
            let _ = producer.send(topic, &Record::new(&[0; 100]).key(&turn.to_be_bytes()));
        }
        thread::sleep(pause);
    }
}

fn grow_often(
    cluster: &Cluster,
    topic: &str,
    partitions: u32,
    growths: u32,
    [produced, consumed]: [&Events; 2],
) -> Result<Delays, Failure> {
    let mut delays = Delays::default();
    for turn in 1..=growths {
        let count = partitions + turn;
        cluster.grow(topic, count)?;
        let responded = Instant::now();
        thread::scope(|scope| {
            let consumer = scope.spawn(|| await_count(consumed, count));
            let late = |seen: Instant| seen.saturating_duration_since(responded).as_millis();
            delays.producer.push(late(await_count(produced, count)?));
            let seen = consumer.join().map_err(|_| "the waiting thread panicked")??;
            delays.consumer.push(late(seen));
            Ok::<(), Failure>(())
        })?;
        // Growths must not run in step with probes: 0.3 to 1.5 s between two of them.
        thread::sleep(Duration::from_millis(300 + u64::from(turn * 761 % 1200)));
    }
    Ok(delays)
}

fn await_count(events: &Events, count: u32) -> Result<Instant, Failure> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match events.next_timeout(left) {
            Some(Event::PartitionsAdded { to, .. }) if to >= count => return Ok(Instant::now()),
            Some(_) => {}
            None => return Err(format!("{count} partitions not noticed within 60 s").into()),
        }
    }
}
