//! One topic under load: a producer, a reader in a thread of its own, and their ledgers.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use kavka_std::{
    Chunk, Config, Consumer, Delivered, Error, Events, Pending, Producer, Record, Start,
};
use kavka_tests::kafka::Cluster;
use kavka_tests::kafka::ledger::{Entry, Ledger, Place, Report};

pub(crate) const TOPIC: &str = "readings";
/// Value length of every record, in bytes.
const VALUE: usize = 100;
/// Distinct keys of a load.
const KEYS: u32 = 500;
/// Pause between two checks of an awaited state.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub(crate) fn config(cluster: &Cluster) -> Config {
    Config::new(cluster.bootstrap())
}

/// Returns the result of `pending`, which must arrive within a minute.
pub(crate) fn result<T>(pending: Pending<T>, what: &str) -> Result<T, Error> {
    let limit = Duration::from_secs(60);
    pending.wait_timeout(limit).unwrap_or_else(|_| panic!("{what}: no result within {limit:?}"))
}

/// Returns the result, which must be a success.
pub(crate) fn done<T>(pending: Pending<T>, what: &str) -> T {
    result(pending, what).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Sends entries of one run, and keeps their outcomes.
pub(crate) struct Sender<'a> {
    producer: &'a Producer,
    run: u32,
    sent: u32,
    waiting: Vec<(Entry, Pending<Delivered>)>,
}

impl<'a> Sender<'a> {
    pub(crate) fn new(producer: &'a Producer, run: u32) -> Self {
        Self { producer, run, sent: 0, waiting: Vec::new() }
    }

    pub(crate) fn sent(&self) -> u32 {
        self.sent
    }

    /// Sends until `total` are sent, at most `rate` a second, as long as `go_on` returns true after
    /// each tenth of a second.
    pub(crate) fn send(&mut self, total: u32, rate: u32, mut go_on: impl FnMut(u32) -> bool) {
        let slice = rate.div_ceil(10).max(1);
        let mut next = Instant::now();
        while self.sent < total && go_on(self.sent) {
            for _ in 0..slice.min(total - self.sent) {
                self.send_one();
            }
            next += Duration::from_millis(100);
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn send_one(&mut self) {
        let entry = Entry { run: self.run, key: self.sent % KEYS, turn: self.sent / KEYS };
        let (key, value) = (entry.key_bytes(), entry.value(VALUE));
        let record = Record::new(&value).key(key.as_bytes());
        let pending = self.producer.send(TOPIC, &record);
        let pending = pending.unwrap_or_else(|e| panic!("record {} refused: {e:?}", self.sent));
        self.waiting.push((entry, pending));
        self.sent += 1;
    }

    /// Waits for every acknowledgement. A record that failed fails the test.
    pub(crate) fn settle(self, readings: &Readings) {
        let mut failures = Vec::new();
        for (entry, pending) in self.waiting {
            match result(pending, "a sent record") {
                Ok(reported) => {
                    let partition = reported.partition;
                    let place = reported.offset.map(|offset| Place { partition, offset });
                    readings.ledger(entry.run).acknowledge(entry, place);
                }
                Err(error) => failures.push((entry, error)),
            }
        }
        assert!(failures.is_empty(), "{} failed: {:?} ..", failures.len(), failures[0]);
    }
}

/// The ledgers by run.
#[derive(Clone, Default)]
pub(crate) struct Readings(Arc<Mutex<HashMap<u32, Ledger>>>);

pub(crate) struct Locked<'a>(MutexGuard<'a, HashMap<u32, Ledger>>, u32);

impl core::ops::Deref for Locked<'_> {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.0[&self.1]
    }
}

impl core::ops::DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Ledger {
        self.0.entry(self.1).or_default()
    }
}

impl Readings {
    pub(crate) fn ledger(&self, run: u32) -> Locked<'_> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(run).or_default();
        Locked(all, run)
    }
}

/// Reads the topic until dropped.
pub(crate) struct Reader {
    pub(crate) readings: Readings,
    events: Events,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Reads all partitions of [`TOPIC`] from `start` on.
    pub(crate) fn new(cluster: &Cluster, start: Start) -> Self {
        let consumer = Consumer::assign_all(config(cluster).start(start), &[TOPIC]).unwrap();
        let events = consumer.events();
        let readings = Readings::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (into, stopped) = (readings.clone(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                let chunk = consumer.next_timeout(Duration::from_millis(100)).unwrap();
                if let Some(chunk) = chunk {
                    note(&chunk, &into);
                }
            }
        });
        Self { readings, events, stop, thread: Some(thread) }
    }

    /// Waits until `count` records of `run` were read; returns `false` when `limit` passes first.
    pub(crate) fn await_read(&self, run: u32, count: u32, limit: Duration) -> bool {
        let count = usize::try_from(count).unwrap();
        await_true(limit, || self.readings.ledger(run).len_read() >= count)
    }

    /// Returns what the consumer reported so far, for a failure's message.
    pub(crate) fn news(&self) -> String {
        reported(&self.events)
    }

    pub(crate) fn report(&self, run: u32) -> Report {
        self.readings.ledger(run).report()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let result = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            result.transpose().expect("the reader's thread panicked");
        }
    }
}

fn note(chunk: &Chunk, readings: &Readings) {
    for record in chunk.records() {
        let record = record.unwrap();
        let entry = record.value.and_then(Entry::read).expect("a value of ours");
        assert_eq!(record.key, Some(entry.key_bytes().as_bytes()), "key of {entry:?}");
        let place = Place { partition: record.partition, offset: record.offset };
        readings.ledger(entry.run).read(entry, place);
    }
}

/// Returns the waiting events, one per line.
pub(crate) fn reported(events: &Events) -> String {
    core::iter::from_fn(|| events.try_next()).map(|event| format!("\n  {event:?}")).collect()
}

pub(crate) fn await_true(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(LOOK_AGAIN);
    }
    true
}

/// Returns the producer's own count of the topic's partitions.
pub(crate) fn partitions(producer: &Producer) -> Option<u32> {
    let freshness = producer.freshness(TOPIC).wait_timeout(Duration::from_secs(1));
    freshness.ok()?.ok().map(|known| known.partitions)
}

/// Checks a producer's partition count all the time, and reports at the end whether it decreased.
pub(crate) struct CountWatch<'scope> {
    stop: &'scope AtomicBool,
    thread: Option<thread::ScopedJoinHandle<'scope, Vec<(u32, u32)>>>,
}

impl<'scope> CountWatch<'scope> {
    pub(crate) fn new<'env>(
        scope: &'scope thread::Scope<'scope, 'env>,
        producer: &'env Producer,
        stop: &'env AtomicBool,
    ) -> Self {
        let thread = scope.spawn(move || {
            let (mut last, mut falls) = (0, Vec::new());
            while !stop.load(Ordering::Acquire) {
                let count = partitions(producer).unwrap_or(last);
                if count < last {
                    falls.push((last, count));
                }
                last = count;
                thread::sleep(Duration::from_millis(1));
            }
            falls
        });
        Self { stop, thread: Some(thread) }
    }

    /// # Panics
    /// When the count ever decreased.
    pub(crate) fn finish(mut self) {
        self.stop.store(true, Ordering::Release);
        let falls = self.thread.take().map(thread::ScopedJoinHandle::join).transpose();
        let falls = falls.expect("the watching thread panicked").unwrap_or_default();
        assert!(falls.is_empty(), "partition counts went back: {falls:?}");
    }
}

impl Drop for CountWatch<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}
