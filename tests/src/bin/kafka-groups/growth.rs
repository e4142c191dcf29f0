//! From growth to the first record of the last new partition, and what it does to old partitions.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use clap::Args;
use kavka_std::{Config, Consumer, Producer, Record, Start};
use kavka_tests::kafka::{Cluster, Version};

use crate::delays::{Delays, now, sent_at, stamped};
use crate::writer::{Place, Writer};
use crate::{Failure, Kind, brokers};

/// Time for anything to happen.
const LIMIT: Duration = Duration::from_secs(60);
/// For so long after growth old partitions are looked at.
const AFTER: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

#[derive(Args)]
pub(crate) struct Options {
    /// Kafka versions.
    #[arg(long, value_delimiter = ',', default_value = "4.4.0,3.9.2")]
    versions: Vec<Version>,
    #[command(flatten)]
    kind: Kind,
    /// Members.
    #[arg(long, value_delimiter = ',', default_value = "1,3")]
    members: Vec<usize>,
    /// Records a second to old partitions; 0 is idle.
    #[arg(long, value_delimiter = ',', default_value = "0,1000")]
    rates: Vec<u32>,
    /// Where groups begin.
    #[arg(long, default_value = "latest")]
    start: String,
    /// Growths, by two partitions each.
    #[arg(long, default_value_t = 20)]
    growths: u32,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    println!(
        "{}, {} growths by two partitions, {}; ms from the response to CreatePartitions to the \
         first record of the last new partition, and ms from sending to reading in old ones \
         within {AFTER:?} of it.\n",
        options.kind.name(),
        options.growths,
        options.start,
    );
    println!(
        "| Kafka | members | records/s | growth: median | worst | lost | doubled \
         | old: median | 99 % | worst |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for version in &options.versions {
        let cluster = Cluster::start(brokers(*version, 1))?;
        for members in &options.members {
            for rate in &options.rates {
                measure(options, &cluster, *members, *rate)?;
            }
        }
    }
    Ok(())
}

/// What members have read: when first, and how often.
#[derive(Default)]
struct Read {
    places: HashMap<Place, (Instant, u32)>,
    /// Of records in partitions below this index.
    old: u32,
    delays: Vec<u64>,
}

type Shared = Arc<Mutex<Read>>;

fn lock(read: &Shared) -> MutexGuard<'_, Read> {
    read.lock().unwrap_or_else(PoisonError::into_inner)
}

fn member(
    config: Config,
    topic: &str,
    (read, over): (Shared, Arc<AtomicBool>),
) -> Result<JoinHandle<Result<(), Failure>>, Failure> {
    let consumer = Consumer::subscribe(config, &[topic])?;
    Ok(thread::spawn(move || {
        while !over.load(Ordering::Acquire) {
            let Some(chunk) = consumer.next_timeout(Duration::from_millis(20))? else { continue };
            let (at, micros) = (Instant::now(), now());
            let mut read = lock(&read);
            for record in chunk.records() {
                let record = record?;
                if record.partition < read.old {
                    read.delays.push(micros.saturating_sub(sent_at(record.value)));
                }
                read.places.entry((record.partition, record.offset)).or_insert((at, 0)).1 += 1;
            }
            drop(read);
            drop(consumer.commit(&chunk));
        }
        Ok(consumer.close(Duration::from_secs(5))?)
    }))
}

fn measure(options: &Options, cluster: &Cluster, members: usize, rate: u32) -> Result<(), Failure> {
    let topic = format!("grows-{members}-{rate}");
    let mut count = u32::try_from(2 * members)?;
    cluster.create(&topic, count)?;
    let start = if options.start == "earliest" { Start::Earliest } else { Start::Latest };
    let (read, over) = (Shared::default(), Arc::new(AtomicBool::new(false)));
    let bootstrap = cluster.bootstrap();
    let mut threads = Vec::new();
    for _ in 0..members {
        let config = options.kind.config(&bootstrap, &topic, start);
        threads.push(member(config, &topic, (read.clone(), over.clone()))?);
        thread::sleep(Duration::from_secs(1));
    }
    thread::sleep(Duration::from_secs(6));
    let config = Config::new(&bootstrap);
    let writer = Writer::start(config.clone(), &topic, count, rate)?;
    let mut wanted = write(&Producer::new(config)?, &topic, 0..count)?;
    await_read(&read, &wanted)?;
    let mut growth = Vec::new();
    let mut old = Delays::default();
    for n in 0..options.growths {
        thread::sleep(Duration::from_millis(300 + u64::from(n * 761 % 1200)));
        {
            let mut read = lock(&read);
            read.old = count;
            read.delays.clear();
        }
        cluster.grow(&topic, count + 2)?;
        let grown = Instant::now();
        // A new one knows the new partitions at once.
        let places = write(&Producer::new(Config::new(&bootstrap))?, &topic, count..count + 2)?;
        await_read(&read, &places)?;
        let last = places.iter().filter_map(|at| Some(lock(&read).places.get(at)?.0)).max();
        growth.push(last.ok_or("none")?.saturating_duration_since(grown).as_micros());
        wanted.extend(places);
        thread::sleep(AFTER.saturating_sub(grown.elapsed()));
        old.0.append(&mut lock(&read).delays);
        count += 2;
    }
    wanted.extend(writer.end());
    let lost = await_read(&read, &wanted).err();
    over.store(true, Ordering::Release);
    for thread in threads {
        thread.join().map_err(|_| "a member panicked")??;
    }
    let mut growth = Delays(growth.into_iter().map(|micros| micros as u64).collect());
    let [median, worst] = [500, 1000].map(|parts| growth.at(parts).as_millis());
    let doubled: u64 = lock(&read).places.values().map(|(_, times)| u64::from(times - 1)).sum();
    let lost = lost.map_or_else(|| "0".to_owned(), |error| error.to_string());
    let version = cluster.spec().version;
    let old = old.columns();
    println!(
        "| {version} | {members} | {rate} | {median} | {worst} | {lost} | {doubled} | {old} |"
    );
    cluster.delete(&topic)?;
    Ok(())
}

fn await_read(read: &Shared, places: &[Place]) -> Result<(), Failure> {
    let until = Instant::now() + LIMIT;
    loop {
        let missing = {
            let read = lock(read);
            places.iter().filter(|at| !read.places.contains_key(at)).count()
        };
        if missing == 0 {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("{missing} of {}", places.len()).into());
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn write(
    producer: &Producer,
    topic: &str,
    partitions: core::ops::Range<u32>,
) -> Result<Vec<Place>, Failure> {
    let sent: Result<Vec<_>, _> = partitions
        .map(|partition| producer.send_to(topic, partition, &Record::new(&stamped())))
        .collect();
    let mut places = Vec::new();
    for pending in sent? {
        let done = pending.wait()?;
        places.push((done.partition, done.offset.ok_or("no offset")?));
    }
    Ok(places)
}
