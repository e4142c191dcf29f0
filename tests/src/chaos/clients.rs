//! The clients under test, and what they record.

use core::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use kavka_std::{Chunk, Config, Consumer, Delivered, Event, Events, Pending, Producer, Record};

use super::notes::Notes;
use super::{DRAIN_LIMIT, PARTITIONS, TOPIC};
use crate::history::{Kind, Line, Op, Promise, Text};

/// Distinct keys of the producer that has any.
const KEYS: u64 = 500;
/// Length of every value in bytes.
const VALUE: usize = 100;
/// How long a consumer waits before it checks for events.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Sends between two pauses of a producer.
const SLICE: Duration = Duration::from_millis(20);

/// Where a consumer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
}

/// How a producer chooses partitions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Writer {
    Keyed,
    Explicit,
    Sticky,
}

pub(super) const WRITERS: [Writer; 3] = [Writer::Keyed, Writer::Explicit, Writer::Sticky];

impl Writer {
    fn name(self) -> &'static str {
        match self {
            Self::Keyed => "keyed",
            Self::Explicit => "explicit",
            Self::Sticky => "sticky",
        }
    }

    /// Returns the value of its record `n`; no other writer has this value.
    fn value(self, n: u64) -> u64 {
        n * WRITERS.len() as u64 + self as u64
    }
}

/// Highest acknowledged offset of each partition.
#[derive(Debug, Default)]
pub(super) struct Produced(Mutex<BTreeMap<u32, i64>>);

impl Produced {
    fn acknowledged(&self, partition: u32, offset: i64) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = ends.entry(partition).or_insert(offset);
        *end = offset.max(*end);
    }

    fn is_read(&self, read: &BTreeMap<u32, i64>) -> bool {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.iter().all(|(partition, end)| read.get(partition).is_some_and(|last| last >= end))
    }
}

/// A consumer of the whole topic.
pub(super) struct Consumed<'a> {
    pub(super) name: &'static str,
    pub(super) start: Start,
    pub(super) sent: &'a Produced,
    /// Whether all sends have their outcome.
    pub(super) complete: &'a AtomicBool,
}

fn failed(error: impl core::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

/// Sends until `calm`, then waits for the outcomes.
pub(super) fn produce(
    bootstrap: &str,
    writer: Writer,
    rate: u32,
    (sent, calm): (&Produced, &AtomicBool),
    notes: &Notes,
) -> io::Result<()> {
    let name = writer.name();
    let producer = Producer::new(Config::new(bootstrap).client_id(name)).map_err(failed)?;
    notes.note(name, Op::Open, Kind::Ok, |line| line.promise(Promise::default()));
    let events = producer.events();
    let known = AtomicI64::new(PARTITIONS.into());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (responses, waiting) = channel();
        let settling = scope.spawn(|| settle(name, waiting, sent, notes));
        let watching = scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                if let Some(count) = events.next_timeout(SLICE).and_then(|event| count(&event)) {
                    known.store(count.into(), Ordering::Release);
                    notes.note(name, Op::Count, Kind::Ok, |line| line.count(count));
                }
            }
        });
        let sending = send(&producer, (writer, rate), (&known, calm), responses, notes);
        let settled = settling.join();
        over.store(true, Ordering::Release);
        let _ = watching.join();
        notes.note(name, Op::Close, Kind::Ok, |line| line);
        settled.map_err(|_| io::Error::other("the settling thread panicked"))?;
        sending
    })
}

fn send(
    producer: &Producer,
    (writer, rate): (Writer, u32),
    (known, calm): (&AtomicI64, &AtomicBool),
    responses: Sender<(u64, Pending<Delivered>)>,
    notes: &Notes,
) -> io::Result<()> {
    let (begun, mut n) = (Instant::now(), 0_u64);
    while !calm.load(Ordering::Acquire) {
        let due = begun.elapsed().as_secs_f64() * f64::from(rate);
        while (n as f64) < due {
            let value = writer.value(n);
            let mut bytes = value.to_be_bytes().to_vec();
            bytes.resize(VALUE, b'.');
            let key = format!("k{}", n % KEYS);
            let line = |line: Line<'static>| line.value(value);
            let result = match writer {
                Writer::Keyed => {
                    let text: Text<'_> = key.as_str().into();
                    notes.note(writer.name(), Op::Send, Kind::Invoke, |line| {
                        line.value(value).key(text)
                    });
                    producer.send(TOPIC, &Record::new(&bytes).key(key.as_bytes()))
                }
                Writer::Explicit => {
                    notes.note(writer.name(), Op::Send, Kind::Invoke, line);
                    let count = known.load(Ordering::Acquire).unsigned_abs();
                    let partition = u32::try_from(n % count).unwrap_or_default();
                    producer.send_to(TOPIC, partition, &Record::new(&bytes))
                }
                Writer::Sticky => {
                    notes.note(writer.name(), Op::Send, Kind::Invoke, line);
                    producer.send(TOPIC, &Record::new(&bytes))
                }
            };
            let _ = responses.send((value, result.map_err(failed)?));
            n += 1;
        }
        thread::sleep(SLICE);
    }
    Ok(())
}

/// Records the outcome of each record.
fn settle(
    name: &str,
    waiting: Receiver<(u64, Pending<Delivered>)>,
    sent: &Produced,
    notes: &Notes,
) {
    for (value, pending) in waiting {
        match pending.wait() {
            Ok(Delivered { partition, offset }) => {
                if let Some(offset) = offset {
                    sent.acknowledged(partition, offset);
                }
                notes.note(name, Op::Send, Kind::Ok, |line| {
                    let line = line.value(value).partition(partition);
                    Line { offset, ..line }
                });
            }
            Err(error) => {
                let kind = if error.maybe_written() { Kind::Info } else { Kind::Fail };
                let text = error.to_string();
                notes.note(name, Op::Send, kind, |line| line.value(value).text(text.as_str()));
            }
        }
    }
}

/// Returns the partition count in an event.
fn count(event: &Event) -> Option<u32> {
    match event {
        Event::TopicReady { partitions, .. } => Some(*partitions),
        Event::PartitionsAdded { to, .. } => Some(*to),
        _ => None,
    }
}

/// Reads until everything that was acknowledged has arrived.
pub(super) fn consume(bootstrap: &str, consumed: Consumed<'_>, notes: &Notes) -> io::Result<()> {
    let Consumed { name, start, sent, complete } = consumed;
    let from = match start {
        Start::Earliest => kavka_std::Start::Earliest,
        Start::Latest => kavka_std::Start::Latest,
    };
    notes.note(name, Op::Assign, Kind::Ok, |line| Line { latest: start == Start::Latest, ..line });
    let config = Config::new(bootstrap).client_id(name).start(from);
    let consumer = Consumer::assign_all(config, &[TOPIC]).map_err(failed)?;
    let events = consumer.events();
    let mut read = BTreeMap::new();
    let mut deadline = None;
    loop {
        let chunk = consumer.next_timeout(LOOK_AGAIN).map_err(failed)?;
        // Events first: records of a partition come after the event that there is one.
        report(name, &events, notes);
        if let Some(chunk) = chunk {
            took(name, &chunk, &mut read, notes)?;
        }
        if complete.load(Ordering::Acquire) {
            let limit = *deadline.get_or_insert_with(|| Instant::now() + DRAIN_LIMIT);
            if sent.is_read(&read) || Instant::now() > limit {
                break;
            }
        }
    }
    notes.note(name, Op::Drained, Kind::Ok, |line| line);
    notes.note(name, Op::Close, Kind::Ok, |line| line);
    Ok(())
}

fn report(name: &str, events: &Events, notes: &Notes) {
    while let Some(event) = events.try_next() {
        if let Some(count) = count(&event) {
            notes.note(name, Op::Count, Kind::Ok, |line| line.count(count));
        }
        if let Event::Moved { partition, from, to, .. } = event {
            notes.note(name, Op::Moved, Kind::Ok, |line| {
                line.partition(partition).offset(from).to(to)
            });
        }
    }
}

fn took(name: &str, chunk: &Chunk, read: &mut BTreeMap<u32, i64>, notes: &Notes) -> io::Result<()> {
    for record in chunk.records() {
        let record = record.map_err(failed)?;
        let value = record.value.and_then(|value| value.first_chunk()).copied();
        let value = u64::from_be_bytes(value.ok_or_else(|| io::Error::other("a short value"))?);
        read.insert(record.partition, record.offset);
        notes.note(name, Op::Poll, Kind::Ok, |line| {
            line.partition(record.partition).offset(record.offset).value(value)
        });
    }
    Ok(())
}
