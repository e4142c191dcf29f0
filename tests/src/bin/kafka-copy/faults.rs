//! Faults of the cluster, and growth of both topics.

use core::fmt;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use fastrand::Rng;
use kavka_tests::kafka::Cluster;

use super::{FROM, Failure, PARTITIONS, TO};

/// Highest number of partitions.
const MOST: u32 = 24;

/// What happened to the cluster.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Broken {
    kills: u32,
    /// SIGTERM, with a hand-over of leaders and coordinators.
    ends: u32,
    pub(super) growths: u32,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, ends, growths } = self;
        write!(f, "brokers: {kills} kills, {ends} ends; {growths} growths")
    }
}

fn pause(rng: &mut Rng, ms: core::ops::Range<u64>) {
    thread::sleep(Duration::from_millis(rng.u64(ms)));
}

/// Kills each broker in turn; leaders and coordinators are among them. All run at the end.
pub(super) fn break_brokers(
    cluster: &Cluster,
    rng: &mut Rng,
    end: Instant,
) -> Result<Broken, Failure> {
    let mut broken = Broken::default();
    for node in (1..=cluster.nodes()).cycle() {
        pause(rng, 4_000..20_000);
        if Instant::now() > end {
            break;
        }
        if rng.u32(0..4) == 0 {
            broken.ends += 1;
            cluster.terminate(node)?;
            pause(rng, 2_000..8_000);
        } else {
            broken.kills += 1;
            cluster.kill(node)?;
            pause(rng, 0..5_000);
        }
        cluster.restart(node)?;
        for topic in [FROM, TO, "__consumer_offsets", "__transaction_state"] {
            cluster.await_in_sync(topic)?;
        }
    }
    Ok(broken)
}

/// Adds partitions to what is written first, mostly, then to what is read.
pub(super) fn grow(cluster: &Cluster, rng: &mut Rng, end: Instant) -> Result<u32, Failure> {
    let (mut growths, mut partitions) = (0, PARTITIONS);
    while partitions < MOST {
        pause(rng, 10_000..50_000);
        if Instant::now() > end {
            break;
        }
        partitions += rng.u32(1..=3);
        let both = if rng.u32(0..4) == 0 { [FROM, TO] } else { [TO, FROM] };
        for topic in both {
            cluster.grow_at_last(topic, partitions)?;
            pause(rng, 0..1_000);
        }
        growths += 1;
    }
    Ok(growths)
}
