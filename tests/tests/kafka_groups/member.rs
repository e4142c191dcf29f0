//! A member in a thread of its own, and a producer whose every record is known.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use kavka_std::{Config, Consumer, Event, Events, GroupProtocol, Producer, Record, Start};
use kavka_tests::kafka::Cluster;

/// Time for anything to happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Where a record is.
pub(crate) type Place = (u32, i64);

/// What members have read of a topic: when each record came first, and how often.
#[derive(Default)]
pub(crate) struct Read {
    records: Mutex<HashMap<Place, (Instant, u32)>>,
}

impl Read {
    pub(crate) fn note(&self, place: Place) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.entry(place).or_insert((Instant::now(), 0)).1 += 1;
    }

    pub(crate) fn first(&self, place: Place) -> Option<Instant> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.get(&place).map(|(at, _)| *at)
    }

    pub(crate) fn duplicates(&self) -> usize {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.values().map(|(_, times)| *times as usize - 1).sum()
    }

    /// Waits until all of these were read.
    pub(crate) fn wait(&self, places: &[Place], what: &str) {
        let end = Instant::now() + LIMIT;
        loop {
            let missing: Vec<_> = places.iter().filter(|at| self.first(**at).is_none()).collect();
            if missing.is_empty() {
                return;
            }
            assert!(
                Instant::now() < end,
                "{what}: {} of {} not read: {missing:?}",
                missing.len(),
                places.len()
            );
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// A member of the group.
pub(crate) struct Member {
    stop: Arc<AtomicBool>,
    closes: Arc<AtomicBool>,
    pub(crate) events: Events,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    /// Joins; commits each chunk itself.
    pub(crate) fn join(cluster: &Cluster, topic: &str, start: Start, read: &Arc<Read>) -> Self {
        Self::with(config(cluster, topic, start), topic, read)
    }

    /// Joins by a certain protocol, with a list of assignors.
    pub(crate) fn join_as(
        cluster: &Cluster,
        (topic, start): (&str, Start),
        kind: Kind,
        read: &Arc<Read>,
    ) -> Self {
        Self::with(kind.config(cluster, (topic, start)), topic, read)
    }

    pub(crate) fn with(config: Config, topic: &str, read: &Arc<Read>) -> Self {
        let (stop, closes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
        let consumer = Consumer::subscribe(config, &[topic]).expect("the member begins");
        let events = consumer.events();
        let theirs = (stop.clone(), closes.clone(), read.clone());
        let thread = thread::spawn(move || {
            let (stop, closes, read) = theirs;
            while !stop.load(Ordering::Acquire) {
                let chunk = consumer.next_timeout(Duration::from_millis(20)).expect("records");
                let Some(chunk) = chunk else { continue };
                for record in chunk.records() {
                    let record = record.expect("a sound record");
                    read.note((record.partition, record.offset));
                }
                drop(consumer.commit(&chunk));
            }
            if closes.load(Ordering::Acquire) {
                consumer.close(Duration::from_secs(5)).expect("the member leaves");
            } else {
                core::mem::forget(consumer); // as if it had been killed: its thread goes on
            }
        });
        Self { stop, closes, events, thread: Some(thread) }
    }

    /// Waits until the assignment is in place, with so many partitions.
    pub(crate) fn stable(&self, partitions: u32) {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            if let Some(Event::Rebalanced { partitions: got }) =
                self.events.next_timeout(Duration::from_millis(20))
                && got == partitions
            {
                return;
            }
        }
        panic!("no assignment of {partitions} partitions within {LIMIT:?}");
    }

    pub(crate) fn leave(mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the member's thread");
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.closes.store(true, Ordering::Release);
        self.stop.store(true, Ordering::Release);
    }
}

/// How members take part.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// As the coordinator offers.
    Auto,
    /// By the classic protocol, with these assignors.
    Classic(&'static str),
}

impl Kind {
    pub(crate) fn config(self, cluster: &Cluster, (topic, start): (&str, Start)) -> Config {
        let config = config(cluster, topic, start);
        match self {
            Self::Auto => config,
            Self::Classic(assignors) => {
                config.group_protocol(GroupProtocol::Classic).group_assignors(assignors)
            }
        }
    }
}

/// Returns the name of the group of the topic's readers.
pub(crate) fn group(topic: &str) -> String {
    format!("dashboard-of-{topic}")
}

pub(crate) fn config(cluster: &Cluster, topic: &str, start: Start) -> Config {
    Config::new(cluster.bootstrap()).group(group(topic)).start(start)
}

/// Writes one record to each of these partitions, and returns where they are.
pub(crate) fn write(
    producer: &Producer,
    topic: &str,
    partitions: core::ops::Range<u32>,
) -> Vec<Place> {
    let sent: Vec<_> = partitions
        .map(|partition| {
            let record = Record::new(b"reading");
            producer.send_to(topic, partition, &record).expect("the record is taken")
        })
        .collect();
    let places = sent.into_iter().map(|pending| {
        let done = pending.wait_timeout(LIMIT).unwrap_or_else(|_| panic!("no acknowledgement"));
        let done = done.expect("acknowledged");
        (done.partition, done.offset.expect("an offset"))
    });
    places.collect()
}
