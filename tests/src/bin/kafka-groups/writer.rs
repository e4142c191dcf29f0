//! Writes at a steady rate to all partitions in turn, and keeps where acknowledged records are.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use kavka_std::{Config, Delivered, Pending, Producer, Record};

use crate::Failure;
use crate::delays::stamped;

/// Partition and offset.
pub(crate) type Place = (u32, i64);

pub(crate) struct Writer {
    over: Arc<AtomicBool>,
    partitions: Arc<AtomicU32>,
    acknowledged: Arc<Mutex<HashSet<Place>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Writer {
    /// Begins with so many partitions, `rate` records a second in all.
    pub(crate) fn start(
        config: Config,
        topic: &str,
        partitions: u32,
        rate: u32,
    ) -> Result<Self, Failure> {
        let producer = Producer::new(config)?;
        let over = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU32::new(partitions));
        let acknowledged = Arc::new(Mutex::new(HashSet::new()));
        let (sender, receiver) = mpsc::channel::<Pending<Delivered>>();
        let (topic, theirs) = (topic.to_owned(), (over.clone(), count.clone()));
        let sends = thread::spawn(move || {
            let (over, partitions) = theirs;
            let (begun, mut sent) = (Instant::now(), 0u64);
            while !over.load(Ordering::Acquire) {
                let due = begun.elapsed().as_millis() as u64 * u64::from(rate) / 1000;
                while sent < due {
                    let count = partitions.load(Ordering::Acquire);
                    let partition = (sent % u64::from(count)) as u32;
                    let pending = producer.send_to(&topic, partition, &Record::new(&stamped()));
                    let _ = pending.map(|pending| sender.send(pending));
                    sent += 1;
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let noted = acknowledged.clone();
        let notes = thread::spawn(move || {
            for pending in receiver {
                let Ok(Delivered { partition, offset: Some(offset), .. }) = pending.wait() else {
                    continue;
                };
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                noted.insert((partition, offset));
            }
        });
        Ok(Self { over, partitions: count, acknowledged, threads: vec![sends, notes] })
    }

    /// From now on writes to so many.
    pub(crate) fn widen(&self, partitions: u32) {
        self.partitions.store(partitions, Ordering::Release);
    }

    /// Returns the places of all that was acknowledged until now.
    pub(crate) fn acknowledged(&self) -> HashSet<Place> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends, when all is acknowledged.
    pub(crate) fn end(self) -> HashSet<Place> {
        self.over.store(true, Ordering::Release);
        let Self { threads, acknowledged, .. } = self;
        for thread in threads {
            let _ = thread.join();
        }
        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
