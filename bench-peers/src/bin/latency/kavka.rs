//! kavka-std, as its users use it: futures, woken on an executor's thread.

use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use kavka_std::{Admin, Config, Consumer, Delivered, NewTopic, Pending, Producer, Record, Start};

use crate::sample::{Figures, Latencies, Pace, Seen, number, read_number};
use crate::{PARTITIONS, Result, Task};

/// For everything that should come within milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Creates a topic with one replica of each partition.
pub(crate) fn create(bootstrap: &str, topic: &str, partitions: u32) -> Result<()> {
    let new = NewTopic::new(topic, i32::try_from(partitions)?, 1);
    Admin::new(Config::new(bootstrap))?.create_topic(new).wait()?;
    Ok(())
}

fn producer(task: &Task<'_>) -> Result<Producer> {
    let config = Config::new(task.bootstrap);
    Ok(Producer::new(match task.linger.0 {
        Some(ms) => config.linger(Duration::from_millis(ms)),
        None => config,
    })?)
}

/// Sends a record, waits until it is acknowledged, and again.
pub(crate) fn await_each(task: &Task<'_>) -> Result<Figures> {
    let producer = producer(task)?;
    let value = vec![b'v'; task.size];
    let mut latencies = Latencies::new(task)?;
    for n in 0..task.records {
        let began = Instant::now();
        producer.send(task.topic, &Record::new(&value))?.wait()?;
        latencies.add(n, began.elapsed());
    }
    Ok(Figures::new(&latencies, None))
}

/// Sends at a fixed rate and consumes beside it.
pub(crate) fn pace(task: &Task<'_>) -> Result<Figures> {
    let producer = producer(task)?;
    let config = Config::new(task.bootstrap).start(Start::Earliest);
    let consumer = Consumer::assign_all(config, &[task.topic])?;
    let (mut acknowledged, mut consumed) = (Latencies::new(task)?, Latencies::new(task)?);
    let (seen, ready) = (Seen::default(), Arc::new(Ready::default()));
    let began = Mutex::new(None);
    thread::scope(|scope| {
        let reading = scope.spawn(|| read(task, &consumer, &seen, &began, &mut consumed));
        for partition in 0..PARTITIONS {
            let mut value = vec![b'v'; task.size];
            number(&mut value, u64::MAX);
            producer.send_to(task.topic, partition, &Record::new(&value))?.wait()?;
        }
        seen.wait(PARTITIONS.into())?;
        let pace = Pace::new(task.rate);
        *began.lock().unwrap_or_else(PoisonError::into_inner) = Some(pace);
        let (from, into) = (&ready, &mut acknowledged);
        let reported = scope.spawn(move || collect(task, pace, from, into));
        send(task, &producer, &pace, &ready)?;
        reported.join().map_err(|_| "the executor panicked")??;
        reading.join().map_err(|_| "the consumer panicked")?
    })?;
    Ok(Figures::new(&acknowledged, Some(&consumed)))
}

fn send(task: &Task<'_>, producer: &Producer, pace: &Pace, ready: &Arc<Ready>) -> Result<()> {
    let mut value = vec![b'v'; task.size];
    for n in 0..task.records {
        pace.wait(n);
        number(&mut value, n);
        let pending = producer.send(task.topic, &Record::new(&value))?;
        Entry { n, task: Mutex::new(State::Pending(pending)), ready: ready.clone() }.start();
    }
    Ok(())
}

/// Entries whose future may have ended.
#[derive(Default)]
struct Ready {
    entries: Mutex<Vec<Arc<Entry>>>,
    more: Condvar,
}

/// A record whose acknowledgement is awaited: a task of the executor.
struct Entry {
    n: u64,
    task: Mutex<State>,
    ready: Arc<Ready>,
}

type Ended = std::result::Result<Delivered, kavka_std::Error>;

enum State {
    Pending(Pending<Delivered>),
    /// Acknowledged before the executor knew of it.
    Ended(Ended),
    Taken,
}

impl Entry {
    fn start(self) {
        let entry = Arc::new(self);
        if let Some(ended) = entry.poll() {
            *entry.state() = State::Ended(ended);
            entry.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it ended; once.
    fn poll(self: &Arc<Self>) -> Option<Ended> {
        let waker = Waker::from(self.clone());
        let mut state = self.state();
        if let State::Pending(pending) = &mut *state {
            let Poll::Ready(ended) = Pin::new(pending).poll(&mut Context::from_waker(&waker))
            else {
                return None;
            };
            *state = State::Ended(ended);
        }
        match std::mem::replace(&mut *state, State::Taken) {
            State::Ended(ended) => Some(ended),
            _ => None,
        }
    }
}

impl Wake for Entry {
    fn wake(self: Arc<Self>) {
        let ready = self.ready.clone();
        ready.entries.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        ready.more.notify_one();
    }
}

/// The executor's thread.
fn collect(task: &Task<'_>, pace: Pace, ready: &Ready, into: &mut Latencies) -> Result<()> {
    let mut entries = Vec::new();
    while into.records() < task.records {
        let lock = ready.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = ready.more.wait_timeout_while(lock, LIMIT, |entries| entries.is_empty());
        let (mut lock, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(format!("{} of {} acknowledged", into.records(), task.records).into());
        }
        entries.append(&mut lock);
        drop(lock);
        for entry in entries.drain(..) {
            if let Some(result) = entry.poll() {
                result?;
                into.add(entry.n, pace.since(entry.n, Instant::now()));
            }
        }
    }
    Ok(())
}

fn read(
    task: &Task<'_>,
    consumer: &Consumer,
    seen: &Seen,
    began: &Mutex<Option<Pace>>,
    into: &mut Latencies,
) -> Result<()> {
    while into.records() < task.records {
        let chunk = consumer.next_timeout(LIMIT)?.ok_or("no record came")?;
        let pace = *began.lock().unwrap_or_else(PoisonError::into_inner);
        for record in chunk.records() {
            match (read_number(record?.value)?, pace) {
                (Some(n), Some(pace)) => into.add(n, pace.since(n, Instant::now())),
                _ => seen.add(),
            }
        }
    }
    Ok(())
}
