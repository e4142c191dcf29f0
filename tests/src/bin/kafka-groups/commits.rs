//! What commits cost: throughput with and without a group, and one commit of many partitions.

use core::time::Duration;
use std::time::Instant;

use clap::Args;
use kavka_std::{Config, Consumer, GroupProtocol, Limits, Producer, Record, Start};
use kavka_tests::kafka::{Cluster, Spec, Version};
use rustix::time::{ClockId, clock_gettime};

use crate::{Failure, brokers};

const TOPIC: &str = "readings";
const PARTITIONS: u32 = 6;

#[derive(Args)]
pub(crate) struct Options {
    /// Kafka version.
    #[arg(long, default_value = "4.4.0")]
    version: Version,
    /// Records of 100 B that are read in each run.
    #[arg(long, default_value_t = 20_000_000)]
    records: u64,
    /// Runs of each kind, in turn.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Partitions that are committed at once.
    #[arg(long, default_value_t = 10_000)]
    partitions: u32,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    throughput(options)?;
    many(options)
}

/// One run: seconds, and seconds of processors of this process.
struct Cost {
    wall: f64,
    processors: f64,
}

fn processors() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn throughput(options: &Options) -> Result<(), Failure> {
    let spec = brokers(options.version, 1).set("log.segment.bytes", 256 << 20);
    let cluster = Cluster::start(spec)?;
    cluster.create(TOPIC, PARTITIONS)?;
    fill(&cluster, options.records)?;
    let all = || Config::new(cluster.bootstrap()).start(Start::Earliest);
    let member = |name: String| all().group(name).group_protocol(GroupProtocol::Auto);
    let mut costs: [Vec<Cost>; 3] = Default::default();
    for n in 0..options.runs {
        costs[0].push(read(Consumer::assign_all(all(), &[TOPIC])?, options.records, false)?);
        let quiet = Consumer::subscribe(member(format!("quiet-{n}")), &[TOPIC])?;
        costs[1].push(read(quiet, options.records, false)?);
        let commits = Consumer::subscribe(member(format!("commits-{n}")), &[TOPIC])?;
        costs[2].push(read(commits, options.records, true)?);
    }
    println!("{} records of 100 B, {} runs each, medians.\n", options.records, options.runs);
    println!("| | records/s | seconds of processors | of those without a group |");
    println!("|---|---|---|---|");
    let median = |costs: &[Cost], of: fn(&Cost) -> f64| {
        let mut all: Vec<f64> = costs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let [wall, cpu] = [|cost: &Cost| cost.wall, |cost: &Cost| cost.processors];
    for (name, kind) in ["no group", "a group", "a group, one commit a second"].iter().zip(&costs) {
        let rate = options.records as f64 / median(kind, wall);
        println!(
            "| {name} | {rate:.0} | {:.2} | {:.3} of the rate, {:.3} of the seconds |",
            median(kind, cpu),
            median(&costs[0], wall) / median(kind, wall),
            median(kind, cpu) / median(&costs[0], cpu),
        );
    }
    Ok(())
}

fn fill(cluster: &Cluster, records: u64) -> Result<(), Failure> {
    let producer = Producer::new(Config::new(cluster.bootstrap()).batch_bytes(256 << 10))?;
    let value = [b'x'; 100];
    for n in 0..records {
        let partition = (n % u64::from(PARTITIONS)) as u32;
        drop(producer.send_to(TOPIC, partition, &Record::new(&value))?);
    }
    Ok(producer.flush().wait()?)
}

/// Reads so many, measured from the first.
fn read(consumer: Consumer, records: u64, commit: bool) -> Result<Cost, Failure> {
    let (mut count, mut begun, mut committed) = (0, None, Instant::now());
    while count < records {
        let chunk = consumer.next_timeout(Duration::from_secs(30))?.ok_or("nothing came")?;
        begun.get_or_insert_with(|| (Instant::now(), processors()));
        count += chunk
            .batches()
            .map(|batch| u64::from(batch.header().count.unsigned_abs()))
            .sum::<u64>();
        if commit && committed.elapsed() >= Duration::from_secs(1) {
            committed = Instant::now();
            drop(consumer.commit(&chunk));
        }
    }
    let (at, cpu) = begun.ok_or("nothing came")?;
    let cost = Cost { wall: at.elapsed().as_secs_f64(), processors: processors() - cpu };
    consumer.close(Duration::from_secs(5))?;
    Ok(cost)
}

/// One member of all partitions reads a record of each and commits what it took.
fn many(options: &Options) -> Result<(), Failure> {
    let mut spec = Spec::new(options.version, 1);
    spec.heap = 2048;
    let cluster = Cluster::start(spec)?;
    // A broker creates fewer than 10,000 partitions in one request.
    let half = options.partitions.div_ceil(2);
    cluster.create(TOPIC, half)?;
    cluster.grow(TOPIC, options.partitions)?;
    cluster.await_count(TOPIC, options.partitions)?;
    let mut limits = Limits::server();
    limits.partitions = options.partitions as usize + 100;
    let config = || {
        let config = Config::new(cluster.bootstrap()).limits(limits);
        config.start(Start::Earliest)
    };
    let producer = Producer::new(config())?;
    for partition in 0..options.partitions {
        drop(producer.send_to(TOPIC, partition, &Record::new(b"one"))?);
    }
    producer.flush().wait()?;
    let consumer = Consumer::subscribe(config().group("many"), &[TOPIC])?;
    let (begun, mut count) = (Instant::now(), 0);
    let mut commits = Vec::new();
    while count < options.partitions as usize {
        let chunk = consumer.next_timeout(Duration::from_secs(60))?.ok_or("nothing came")?;
        count += chunk.records().count();
        commits.push(consumer.commit(&chunk));
    }
    println!("\n{count} records of {count} partitions read after {:?}", begun.elapsed());
    let begun = Instant::now();
    let called = commits.len();
    for commit in commits {
        commit.wait()?;
    }
    println!("{called} calls of commit, all acknowledged {:?} later", begun.elapsed());
    let seen = consumer.committed(TOPIC, options.partitions - 1).wait()?;
    println!("committed of the last partition: {seen:?}");
    Ok(consumer.close(Duration::from_secs(10))?)
}
