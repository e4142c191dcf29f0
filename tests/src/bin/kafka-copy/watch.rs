//! How much is written and copied so far, and how long the copy stood still.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::time::Instant;

use kavka_std::{Config, Consumer, Isolation, Start};

use super::{FROM, Failure, TICK, TO};

/// Records of both topics so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    from: AtomicU64,
    to: AtomicU64,
}

impl Counts {
    pub(super) fn get(&self) -> (u64, u64) {
        (self.from.load(Ordering::Acquire), self.to.load(Ordering::Acquire))
    }
}

/// Records that were written, and the longest time in which none was copied while some were
/// waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) from: u64,
    pub(super) pause: Duration,
}

pub(super) fn watch(bootstrap: &str, counts: &Counts, over: &AtomicBool) -> Result<Seen, Failure> {
    let config = Config::new(bootstrap).client_id("watch").start(Start::Earliest);
    let config = config.isolation(Isolation::ReadCommitted);
    let consumer = Consumer::assign_all(config, &[FROM, TO])?;
    let (mut last, mut pause) = (Instant::now(), Duration::ZERO);
    while !over.load(Ordering::Acquire) {
        let Some(chunk) = consumer.next_timeout(TICK)? else { continue };
        for batch in chunk.batches() {
            let records = u64::from(batch.header().count.unsigned_abs());
            if batch.topic() == FROM {
                counts.from.fetch_add(records, Ordering::AcqRel);
            } else {
                let (from, to) = counts.get();
                if from > to {
                    pause = pause.max(last.elapsed());
                }
                last = Instant::now();
                counts.to.fetch_add(records, Ordering::AcqRel);
            }
        }
    }
    let (from, _) = counts.get();
    Ok(Seen { from, pause })
}
