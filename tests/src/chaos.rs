//! Faults on a real cluster: producers and consumers of kavka-std run while brokers are killed,
//! stopped and restarted and the topic gains partitions, all recorded as a
//! [history](crate::history) for the [`crate::checker`].

mod clients;
mod faults;
mod notes;

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use crate::checker::{self, Checker, Report};
use crate::history::Header;
use crate::kafka::Cluster;
use clients::{Consumed, Produced, Start};
use notes::Notes;

pub use faults::Counts;

/// The topic of all clients.
const TOPIC: &str = "readings";
/// Partitions at the start.
const PARTITIONS: u32 = 6;
/// Longest time until growth is noticed, whatever happens to brokers meanwhile.
const NOTICED_WITHIN: Duration = Duration::from_millis(2500);
/// Time for readers to reach the end after the faults.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides which faults occur when, as far as a real cluster allows it.
    pub seed: u64,
    /// Time during which faults occur.
    pub length: Duration,
    /// Records a second of each of the three producers.
    pub rate: u32,
    /// The file of the history.
    pub history: PathBuf,
}

/// The outcome of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Faults by kind.
    pub faults: Counts,
    /// The checker's report.
    pub report: Report,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.faults, self.report)
    }
}

/// Runs `plan` on a cluster of three that no other run uses.
///
/// # Errors
/// The cluster or a client cannot be used at all, or the history cannot be written.
pub fn run(cluster: &Cluster, plan: &Plan) -> io::Result<Outcome> {
    cluster.create(TOPIC, PARTITIONS)?;
    cluster.await_in_sync(TOPIC)?;
    let mut header = Header::new(format!("chaos on {}", cluster.spec()));
    header.seed = Some(plan.seed);
    header.growth_us = u64::try_from(NOTICED_WITHIN.as_micros()).ok();
    let notes = Notes::create(&plan.history, &header)?;
    notes.topic_has(PARTITIONS);
    let faults = everything(cluster, plan, &notes)?;
    notes.finish()?;
    Ok(Outcome { faults, report: check(&plan.history)? })
}

fn everything(cluster: &Cluster, plan: &Plan, notes: &Notes) -> io::Result<Counts> {
    let (calm, complete) = (AtomicBool::new(false), AtomicBool::new(false));
    let sent = Produced::default();
    let bootstrap = cluster.bootstrap();
    thread::scope(|scope| {
        let consume = |name: &'static str, start: Start| {
            let consumed = Consumed { name, start, sent: &sent, complete: &complete };
            scope.spawn(|| clients::consume(&bootstrap, consumed, notes))
        };
        let mut readers =
            vec![consume("earliest", Start::Earliest), consume("latest", Start::Latest)];
        let writers = clients::WRITERS.map(|writer| {
            let (bootstrap, sent, calm) = (&bootstrap, &sent, &calm);
            scope.spawn(move || clients::produce(bootstrap, writer, plan.rate, (sent, calm), notes))
        });
        let trouble = faults::make(cluster, plan, notes, |at| match at {
            faults::Moment::Third => readers.push(consume("joins", Start::Earliest)),
            faults::Moment::TwoThirds => readers.push(consume("joins late", Start::Latest)),
        });
        calm.store(true, Ordering::Release);
        let written: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        readers.push(consume("fresh", Start::Earliest));
        complete.store(true, Ordering::Release);
        let read = readers.into_iter().map(thread::ScopedJoinHandle::join);
        for ended in written.into_iter().chain(read) {
            ended.map_err(|_| io::Error::other("a client's thread panicked"))??;
        }
        trouble
    })
}

fn check(history: &Path) -> io::Result<Report> {
    let mut checker = Checker::default();
    checker::read(&mut checker, io::BufReader::new(std::fs::File::open(history)?))?;
    Ok(checker.finish())
}
