//! `kavka copy --exactly-once` from topic to topic of a real cluster while its process is killed
//! again and again, brokers are killed and restarted in turn, and both topics gain partitions.
//! Afterwards both topics are read with `read_committed` by kavka, by Java and, where it is
//! installed, by kcat, and have to be the same: each record once, in order of its partition.
//!
//! `cargo build --release && target/release/kafka-copy --version 4.4.0 --minutes 10`
//!
//! Exit code 1 with differences.

mod copier;
mod faults;
mod markers;
mod readers;
mod watch;
mod writer;

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::Parser;
use fastrand::Rng;
use kavka_tests::kafka::{Campaign, Cluster, Spec, Version};

use copier::Copies;
use faults::Broken;
use watch::Seen;

type Failure = Box<dyn core::error::Error + Send + Sync>;

/// What is read.
const FROM: &str = "a";
/// What is written.
const TO: &str = "b";
/// Partitions of both at the start.
const PARTITIONS: u32 = 4;
/// Time for the copy to reach the end once nothing is broken any more.
const DRAIN_LIMIT: Duration = Duration::from_secs(180);
/// Pause between two checks.
const TICK: Duration = Duration::from_millis(50);

#[derive(Parser)]
#[command(about = "Exactly-once copies on a real cluster, killed again and again")]
struct Options {
    #[command(flatten)]
    campaign: Campaign,
    /// Processes that copy at the same time, as members of one group.
    #[arg(long, default_value_t = 1)]
    copies: usize,
    /// The `kavka` command [default: beside this one]
    #[arg(long, value_name = "FILE")]
    kavka: Option<PathBuf>,
    /// Folder for what the processes print and for the topics of a run that failed.
    #[arg(long, default_value = "kafka-copy")]
    folder: PathBuf,
}

/// What a run was made of.
struct Figures {
    seconds: u64,
    copies: Copies,
    broken: Broken,
    seen: Seen,
    markers: markers::Counts,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, copies, broken, seen, markers } = self;
        write!(
            f,
            "{} records in {seconds} s; copy: {copies}; {broken}; {markers}; longest time \
             without a copied record {:.1} s",
            seen.from,
            seen.pause.as_secs_f64()
        )
    }
}

fn main() -> Result<ExitCode, Failure> {
    let mut options = Options::parse();
    let seed = options.campaign.seed();
    let Campaign { version, nodes, minutes, .. } = options.campaign;
    let folder = options.folder.join(format!("{version}-{seed}"));
    std::fs::create_dir_all(&folder)?;
    println!("--seed {seed}: {minutes} minutes of Kafka {version} x{nodes}");
    let cluster = Cluster::start(impatient(version, nodes))?;
    for topic in [FROM, TO] {
        cluster.create(topic, PARTITIONS)?;
    }
    let ran = run(&cluster, &options, seed, &folder);
    let (figures, is_whole) = match ran {
        Ok(ran) => ran,
        Err(error) => {
            println!("--seed {seed}: {error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    println!("--seed {seed}, Kafka {version} x{nodes}: {figures}");
    let differences = readers::compare(&cluster, &folder)?;
    differences.iter().for_each(|difference| println!("--seed {seed}: {difference}"));
    Ok(if is_whole && differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sessions of six seconds, and transactions that are looked at every second.
fn impatient(version: Version, nodes: usize) -> Spec {
    // The timestamps of the records are old.
    let spec = Spec::new(version, nodes)
        .set("log.retention.ms", -1)
        .set("transaction.abort.timed.out.transaction.cleanup.interval.ms", 1000);
    if version != Version::V4_4_0 {
        return spec;
    }
    spec.session(Duration::from_secs(6))
}

/// Returns the figures, and whether everything was copied in time.
fn run(
    cluster: &Cluster,
    options: &Options,
    seed: u64,
    folder: &std::path::Path,
) -> Result<(Figures, bool), Failure> {
    let beside = || Ok::<_, Failure>(std::env::current_exe()?.with_file_name("kavka"));
    let kavka = options.kavka.clone().map_or_else(beside, Ok)?;
    if !kavka.exists() {
        return Err(
            format!("{} is missing: build it, or name it by --kavka", kavka.display()).into()
        );
    }
    let (calm, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (seen, watched) = (watch::Counts::default(), cluster.bootstrap());
    let begun = Instant::now();
    let end = options.campaign.end()?;
    let mut rng = Rng::with_seed(seed);
    let (mut growing, mut breaking) = (rng.fork(), rng.fork());
    let rngs: Vec<Rng> = (0..options.copies).map(|_| rng.fork()).collect();
    thread::scope(|scope| {
        let watching = scope.spawn(|| watch::watch(&watched, &seen, &over));
        let writing = scope.spawn(|| writer::write(&watched, options.campaign.rate, &calm));
        let grown = scope.spawn(|| faults::grow(cluster, &mut growing, end));
        let broken = scope.spawn(|| faults::break_brokers(cluster, &mut breaking, end));
        let copying: Vec<_> = (0..)
            .zip(rngs)
            .map(|(number, rng)| {
                let plan = copier::Plan { kavka: &kavka, bootstrap: &watched, folder, number, end };
                let over = &over;
                scope.spawn(move || copier::copy(&plan, rng, over))
            })
            .collect();
        let broken = joined(broken.join());
        calm.store(true, Ordering::Release);
        let written = joined(writing.join());
        let grown = joined(grown.join());
        let is_whole = drain(&seen);
        over.store(true, Ordering::Release);
        let mut copies = Copies::default();
        for one in copying {
            copies.add(&joined(one.join())?);
        }
        let seen = joined(watching.join())?;
        written?;
        let mut broken = broken?;
        broken.growths = grown?;
        let markers = markers::count(cluster)?;
        let seconds = begun.elapsed().as_secs();
        Ok((Figures { seconds, copies, broken, seen, markers }, is_whole))
    })
}

fn joined<T>(ended: thread::Result<Result<T, Failure>>) -> Result<T, Failure> {
    ended.unwrap_or_else(|_| Err("a thread panicked".into()))
}

/// Waits until as much is copied as was written.
fn drain(seen: &watch::Counts) -> bool {
    let limit = Instant::now() + DRAIN_LIMIT;
    let (mut steady, mut last) = (Instant::now(), (0, 0));
    while Instant::now() < limit {
        let now = seen.get();
        if now != last {
            (steady, last) = (Instant::now(), now);
        }
        if now.0 <= now.1 && steady.elapsed() > Duration::from_secs(3) {
            return true;
        }
        thread::sleep(TICK);
    }
    let (from, to) = seen.get();
    println!("{to} of {from} records are copied {DRAIN_LIMIT:?} after the last fault");
    false
}
