//! What was sent, acknowledged and read, by producer and key.

use core::time::Duration;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kavka_std::Chunk;

use super::figures::Figures;

/// Bytes of a [`Tag`].
pub(crate) const TAG: usize = 20;
const MAGIC: u32 = 0x6b65_7973;
/// Records that were due within this time after a growth are what a policy may delay.
const NEAR: Duration = Duration::from_secs(1);

/// The beginning of each record's value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag {
    pub(crate) producer: u32,
    pub(crate) key: u32,
    /// Counts up from 0 for each producer and key.
    pub(crate) turn: u64,
}

impl Tag {
    pub(crate) fn value(self, size: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(size);
        value.extend(MAGIC.to_be_bytes());
        value.extend(self.producer.to_be_bytes());
        value.extend(self.key.to_be_bytes());
        value.extend(self.turn.to_be_bytes());
        value.resize(size, b'.');
        value
    }

    fn read(value: &[u8]) -> Option<Self> {
        let (magic, rest) = value.split_first_chunk()?;
        let (producer, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (turn, _) = rest.split_first_chunk()?;
        (u32::from_be_bytes(*magic) == MAGIC).then_some(Self {
            producer: u32::from_be_bytes(*producer),
            key: u32::from_be_bytes(*key),
            turn: u64::from_be_bytes(*turn),
        })
    }
}

/// The records of a producer and key.
#[derive(Default)]
struct Stream {
    /// When each turn was appended, `i64::MIN` for one that was not read yet.
    appended: Vec<i64>,
    /// One more than the highest turn that was read.
    next: u64,
}

#[derive(Default)]
struct State {
    streams: Vec<Stream>,
    sent: u64,
    acknowledged: u64,
    failed: u64,
    read: u64,
    doubled: u64,
    reordered: u64,
    latencies: Vec<u32>,
    /// When the topic gained partitions, and latencies of what was due within [`NEAR`] after it.
    grown: Vec<Instant>,
    near: Vec<u32>,
    /// By producer: when it noticed a growth whose drain has not ended.
    noticed: Vec<Option<Instant>>,
    /// How long drains took, and the slowest acknowledgement of a record that was under way then.
    drains: Vec<(Duration, Duration, bool)>,
    /// Drains that ended: the slowest acknowledgement is found as acknowledgements come in.
    open: Vec<(Instant, Instant, Duration, bool)>,
    waits: Vec<(Duration, bool)>,
}

/// See the module.
pub(crate) struct Book {
    keys: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Book {
    pub(crate) fn new(producers: u32, keys: u32) -> Self {
        let streams = (producers * keys) as usize;
        let streams = (0..streams).map(|_| Stream::default()).collect();
        let noticed = vec![None; producers as usize];
        let state = Mutex::new(State { streams, noticed, ..State::default() });
        Self { keys: keys as usize, state, changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sent(&self) {
        self.lock().sent += 1;
    }

    pub(crate) fn grown(&self) {
        self.lock().grown.push(Instant::now());
    }

    /// A record that was due at `sent` is acknowledged, or failed.
    pub(crate) fn settled(&self, sent: Instant, result: Result<(), String>) {
        let now = Instant::now();
        let mut state = self.lock();
        match result {
            Ok(()) => state.acknowledged += 1,
            Err(error) => {
                state.failed += 1;
                eprintln!("drill: not acknowledged: {error}");
            }
        }
        let took = now - sent;
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        state.latencies.push(micros);
        if state.grown.iter().any(|grown| sent >= *grown && sent - *grown <= NEAR) {
            state.near.push(micros);
        }
        // Under way when a growth was noticed.
        for (noticed, _, slowest, _) in &mut state.open {
            if sent <= *noticed && now > *noticed {
                *slowest = took.max(*slowest);
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(crate) fn noticed(&self, producer: u32) {
        self.lock().noticed[producer as usize].get_or_insert_with(Instant::now);
    }

    pub(crate) fn drained(&self, producer: u32, settled: bool) {
        let mut state = self.lock();
        if let Some(noticed) = state.noticed[producer as usize].take() {
            state.open.push((noticed, Instant::now(), Duration::ZERO, settled));
        }
    }

    pub(crate) fn released(&self, partitions: u32, waited: Duration, ordered: bool) {
        let mut state = self.lock();
        state.waits.extend((0..partitions).map(|_| (waited, ordered)));
    }

    pub(crate) fn read(&self, chunk: &Chunk) {
        let mut state = self.lock();
        for record in chunk.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    eprintln!("drill: record: {error}");
                    continue;
                }
            };
            let Some(tag) = record.value.and_then(Tag::read) else { continue };
            let stream = tag.producer as usize * self.keys + tag.key as usize;
            let Some(stream) = state.streams.get_mut(stream) else { continue };
            let turn = tag.turn as usize;
            if turn >= stream.appended.len() {
                stream.appended.resize(turn + 1, i64::MIN);
            }
            if stream.appended[turn] != i64::MIN {
                state.doubled += 1;
                continue;
            }
            stream.appended[turn] = record.timestamp;
            let early = tag.turn < stream.next;
            stream.next = stream.next.max(tag.turn + 1);
            state.reordered += u64::from(early);
            state.read += 1;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until everything is acknowledged and read.
    pub(crate) fn wait(&self, limit: Duration) {
        let open = |state: &mut State| {
            state.acknowledged + state.failed < state.sent || state.read < state.acknowledged
        };
        let waited = self.changed.wait_timeout_while(self.lock(), limit, open);
        drop(waited);
    }

    pub(crate) fn add_to(&self, figures: &mut Figures) {
        let mut state = self.lock();
        let open = core::mem::take(&mut state.open);
        let drains =
            open.into_iter().map(|(from, to, slowest, settled)| (to - from, slowest, settled));
        state.drains.extend(drains);
        figures.sent += state.sent;
        figures.acknowledged += state.acknowledged;
        figures.failed += state.failed;
        figures.read += state.read;
        figures.doubled += state.doubled;
        figures.reordered += state.reordered;
        figures.lost += state.acknowledged.saturating_sub(state.read);
        for stream in &state.streams {
            let times = stream.appended.iter().filter(|at| **at != i64::MIN);
            let pairs = times.clone().zip(times.skip(1));
            figures.appended += pairs.filter(|(first, second)| first > second).count() as u64;
        }
        figures.latencies.append(&mut state.latencies);
        figures.near.append(&mut state.near);
        figures.drains.append(&mut state.drains);
        figures.waits.append(&mut state.waits);
    }
}
