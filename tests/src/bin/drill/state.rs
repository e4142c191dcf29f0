//! State shared by all threads of a run.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kavka_std::kavka_core::Signal;

use crate::book::Book;

/// A client that notices growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The one that sends.
    Producer,
    /// The one that reads.
    Consumer,
    /// One that only watches the topic.
    Watcher,
}

impl Who {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Producer, Self::Consumer, Self::Watcher];
}

/// The shared state, and a condition variable for threads that wait for a change.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Start of the run.
    pub(crate) start: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

/// Requests that only check for growth, and their bytes with the responses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Probes {
    /// Requests.
    pub(crate) requests: u64,
    /// Bytes of both directions, without TCP's own.
    pub(crate) bytes: u64,
}

/// What is known so far.
#[derive(Debug)]
pub(crate) struct State {
    /// Records.
    pub(crate) book: Book,
    /// When each client reported a partition count, and the count.
    pub(crate) reported: [Vec<(u32, Instant)>; 3],
    /// When the first record of each partition was acknowledged.
    pub(crate) acknowledged: BTreeMap<u32, Instant>,
    /// When the first record of each partition was delivered.
    pub(crate) delivered: BTreeMap<u32, Instant>,
    /// Microseconds from send to delivery, for each record.
    pub(crate) latencies: Vec<u64>,
    /// How often each kind of response revealed growth.
    pub(crate) signals: BTreeMap<String, u64>,
    /// What the watcher's probes have cost so far.
    pub(crate) probes: Probes,
    /// Other events, and how often they occurred.
    pub(crate) notes: BTreeMap<String, u64>,
    /// Why the run cannot continue.
    pub(crate) fatal: Option<String>,
}

impl State {
    /// Returns when this client knew of `count` partitions, if it does.
    pub(crate) fn noticed(&self, who: Who, count: u32) -> Option<Instant> {
        self.reported[who as usize].iter().find(|(to, _)| *to >= count).map(|(_, at)| *at)
    }

    /// Records that this client just reported `count` partitions.
    pub(crate) fn report(&mut self, who: Who, count: u32) {
        self.reported[who as usize].push((count, Instant::now()));
    }

    /// Records the same after growth, and how the client noticed.
    pub(crate) fn report_growth(&mut self, who: Who, count: u32, signal: Signal) {
        self.report(who, count);
        *self.signals.entry(format!("{signal:?}")).or_default() += 1;
    }

    /// Counts something worth a line in the report.
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        // Parts that differ each time must not make the report endless.
        let what = what.into();
        if self.notes.len() < 20 || self.notes.contains_key(&what) {
            *self.notes.entry(what).or_default() += 1;
        }
    }
}

impl Shared {
    /// Creates a state in which nothing is known yet. `producer` is the number of the records that
    /// count.
    pub(crate) fn new(producer: u64) -> Self {
        Self {
            start: Instant::now(),
            state: Mutex::new(State {
                book: Book::new(producer),
                reported: Default::default(),
                acknowledged: BTreeMap::new(),
                delivered: BTreeMap::new(),
                latencies: Vec::new(),
                signals: BTreeMap::new(),
                probes: Probes::default(),
                notes: BTreeMap::new(),
                fatal: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// Returns the microseconds since the start.
    pub(crate) fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Locks the state for reading.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked must not hide what the others found.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and notifies waiting threads.
    pub(crate) fn change<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let result = act(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `done`, for at most `bound`; returns whether it is. Returns early when the run
    /// cannot continue.
    pub(crate) fn wait(&self, bound: Duration, mut done: impl FnMut(&State) -> bool) -> bool {
        let waiting = |state: &mut State| state.fatal.is_none() && !done(state);
        let waited = self.changed.wait_timeout_while(self.lock(), bound, waiting);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.fatal.is_none() && done(&state)
    }
}
