//! Faults of the cluster.

use core::fmt;
use core::time::Duration;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use fastrand::Rng;

use super::notes::Notes;
use super::{PARTITIONS, Plan, TOPIC};
use crate::kafka::Cluster;
use crate::kafka::raw::INVALID_PARTITIONS;

/// Highest number of partitions at the end.
const MOST_PARTITIONS: u32 = 120;

/// Faults by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Brokers killed, and restarted.
    pub kills: u32,
    /// Brokers stopped, and continued.
    pub stops: u32,
    /// Growths of the topic.
    pub growths: u32,
    /// Partitions at the end.
    pub partitions: u32,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, stops, growths, partitions } = self;
        write!(f, "{kills} brokers killed, {stops} stopped, {growths} growths to {partitions}")
    }
}

/// When a further consumer joins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    Third,
    TwoThirds,
}

/// The one broker that is in trouble, if any.
type Troubled = Mutex<Option<usize>>;

/// Causes faults for the plan's length; afterwards all brokers run.
pub(super) fn make(
    cluster: &Cluster,
    plan: &Plan,
    notes: &Notes,
    mut joins: impl FnMut(Moment),
) -> io::Result<Counts> {
    let end = Instant::now() + plan.length;
    let troubled = Troubled::default();
    let mut rng = Rng::with_seed(plan.seed);
    let mut growing = rng.fork();
    thread::scope(|scope| {
        let grown = scope.spawn(|| grow(cluster, &mut growing, end, &troubled, notes));
        let broken = scope.spawn(|| break_brokers(cluster, &mut rng, end, &troubled, notes));
        for moment in [Moment::Third, Moment::TwoThirds] {
            thread::sleep(plan.length / 3);
            joins(moment);
        }
        let joined = |ended: thread::Result<io::Result<Counts>>| {
            ended.unwrap_or_else(|_| Err(io::Error::other("a thread that makes faults panicked")))
        };
        let (broken, grown) = (joined(broken.join())?, joined(grown.join())?);
        Ok(Counts { kills: broken.kills, stops: broken.stops, ..grown })
    })
}

fn pause(rng: &mut Rng, ms: core::ops::Range<u64>) {
    thread::sleep(Duration::from_millis(rng.u64(ms)));
}

/// Kills or stops each broker in turn.
fn break_brokers(
    cluster: &Cluster,
    rng: &mut Rng,
    end: Instant,
    troubled: &Troubled,
    notes: &Notes,
) -> io::Result<Counts> {
    let set = |node| *troubled.lock().unwrap_or_else(PoisonError::into_inner) = node;
    let mut counts = Counts::default();
    for node in (1..=cluster.nodes()).cycle() {
        pause(rng, 500..3000);
        if Instant::now() > end {
            break;
        }
        set(Some(node));
        if rng.bool() {
            counts.kills += 1;
            notes.fault(&format!("kill {node}"));
            cluster.kill(node)?;
            pause(rng, 100..6000);
            cluster.restart(node)?;
            notes.fault(&format!("restarted {node}"));
        } else {
            counts.stops += 1;
            notes.fault(&format!("stop {node}"));
            cluster.pause(node)?;
            pause(rng, 200..8000);
            cluster.resume(node)?;
            notes.fault(&format!("continued {node}"));
        }
        set(None);
        // Often, not always: with one broker lagging, the death of another leaves partitions that
        // no client can write to.
        if rng.u32(0..4) > 0 {
            cluster.await_in_sync(TOPIC)?;
        }
    }
    cluster.await_in_sync(TOPIC)?;
    Ok(counts)
}

/// Adds one to three partitions at a time, through a broker that is not in trouble.
fn grow(
    cluster: &Cluster,
    rng: &mut Rng,
    end: Instant,
    troubled: &Troubled,
    notes: &Notes,
) -> io::Result<Counts> {
    let mut counts = Counts { partitions: PARTITIONS, ..Counts::default() };
    while counts.partitions < MOST_PARTITIONS {
        pause(rng, 1000..8000);
        if Instant::now() > end {
            break;
        }
        let to = counts.partitions + rng.u32(1..=3);
        let count = i32::try_from(to).map_err(io::Error::other)?;
        // While a controller is elected there is no response, or a refusal.
        while Instant::now() < end {
            let bad = *troubled.lock().unwrap_or_else(PoisonError::into_inner);
            let good: Vec<usize> = (1..=cluster.nodes()).filter(|n| Some(*n) != bad).collect();
            let node = good[rng.usize(..good.len())];
            let response =
                cluster.raw(node).and_then(|mut raw| raw.create_partitions(TOPIC, count));
            if let Ok(0 | INVALID_PARTITIONS) = response {
                notes.topic_has(to);
                counts.growths += 1;
                counts.partitions = to;
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(counts)
}
