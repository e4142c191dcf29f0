//! The sending side: paced traffic, a record to each new partition, and their acknowledgements.

use core::ops::Range;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::thread;
use std::time::Instant;

use kavka_std::{Delivered, Pending, Producer, Record};

use crate::book::{DIRECT, HELLO, KEYLESS, Tag};
use crate::state::Shared;

/// Sends records that carry a [`Tag`].
pub(crate) struct Load<'a> {
    /// The client.
    pub(crate) producer: &'a Producer,
    /// The topic to send to.
    pub(crate) topic: &'a str,
    /// Where results are recorded.
    pub(crate) shared: &'a Shared,
    /// Number of the producer in the tags.
    pub(crate) id: u64,
    /// Bytes of a value.
    pub(crate) size: usize,
    /// Sender of notes to [`acknowledge`].
    pub(crate) acks: Sender<Note>,
    /// Records sent by [`Load::direct`].
    pub(crate) direct: AtomicU64,
}

impl Load<'_> {
    /// Sends a record; waits while the producer has no space.
    fn send(&self, stream: u32, turn: u64, partition: Option<u32>, key: Option<&str>) {
        let tag = Tag { producer: self.id, stream, turn, sent: self.shared.micros() };
        let value = tag.value(self.size);
        let record = Record::new(&value);
        let record = key.map_or(record, |key| record.key(key.as_bytes()));
        if stream != HELLO {
            self.shared.lock().book.sent();
        }
        let sent = match partition {
            Some(partition) => self.producer.send_to(self.topic, partition, &record),
            None => self.producer.send(self.topic, &record),
        };
        match sent {
            Ok(pending) => {
                // The receiver is gone only after a fatal end.
                let _ = self.acks.send(Note::Sent(Flight { pending, tag }));
            }
            Err(error) => self.shared.change(|state| {
                if stream != HELLO {
                    state.book.failed();
                }
                state.fatal.get_or_insert(format!("the producer takes no records: {error}"));
            }),
        }
    }

    /// Sends one record directly to each of these partitions.
    pub(crate) fn direct(&self, partitions: Range<u32>) {
        for partition in partitions {
            let turn = self.direct.fetch_add(1, Ordering::Relaxed);
            self.send(DIRECT, turn, Some(partition), None);
        }
    }

    /// Sends a record that is not counted to each of these partitions.
    pub(crate) fn hello(&self, partitions: &[u32]) {
        for partition in partitions {
            self.send(HELLO, 0, Some(*partition), None);
        }
    }

    /// Sends `rate` records a second, every second one with one of `keys` keys, until the gate
    /// closes.
    pub(crate) fn traffic(&self, rate: u32, keys: u32, gate: &Gate) {
        let names: Vec<String> = (0..keys).map(|key| format!("key-{key}")).collect();
        let mut turns = vec![0; names.len() + 1];
        let mut count = 0_usize;
        while gate.pass() {
            let (began, mut sent) = (Instant::now(), 0_u64);
            while gate.is_open() {
                let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u64;
                if sent + u64::from(rate) < due {
                    break; // blocked for a second: what was missed is not sent later
                }
                while sent < due && gate.is_open() {
                    let keyed = count % 2 == 1 && !names.is_empty();
                    let stream = if keyed { 1 + count / 2 % names.len() } else { 0 };
                    let key = stream.checked_sub(1).map(|key| names[key].as_str());
                    self.send(KEYLESS + stream as u32, turns[stream], None, key);
                    turns[stream] += 1;
                    count += 1;
                    sent += 1;
                }
                thread::sleep(Duration::from_secs_f64(1.0 / f64::from(rate.min(1000))));
            }
        }
    }
}

/// Lets traffic run, holds it, or ends it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<(Flow, bool)>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flow {
    #[default]
    Held,
    Open,
    Ended,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, (Flow, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, flow: Flow) {
        let mut state = self.lock();
        // The end is final.
        if state.0 != Flow::Ended {
            state.0 = flow;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Lets traffic run.
    pub(crate) fn open(&self) {
        self.set(Flow::Open);
    }

    /// Ends traffic.
    pub(crate) fn end(&self) {
        self.set(Flow::Ended);
    }

    /// Holds traffic, and returns when nothing is being sent any more.
    pub(crate) fn hold(&self) {
        self.set(Flow::Held);
        let held = |state: &mut (Flow, bool)| state.0 == Flow::Held && !state.1;
        let waited = self.changed.wait_while(self.lock(), held);
        drop(waited);
    }

    fn is_open(&self) -> bool {
        self.lock().0 == Flow::Open
    }

    /// Waits while traffic is held; returns whether there is more to send.
    fn pass(&self) -> bool {
        let mut state = self.lock();
        state.1 = true;
        self.changed.notify_all();
        let held = |state: &mut (Flow, bool)| state.0 == Flow::Held;
        let mut state =
            self.changed.wait_while(state, held).unwrap_or_else(PoisonError::into_inner);
        state.1 = false;
        state.0 == Flow::Open
    }
}

/// A record in flight.
pub(crate) struct Flight {
    pending: Pending<Delivered>,
    tag: Tag,
}

/// A message to [`acknowledge`].
pub(crate) enum Note {
    /// A record was sent.
    Sent(Flight),
    /// The record at this index was woken.
    Woken(usize),
    /// No more records follow.
    End,
}

struct Bell {
    place: usize,
    to: Sender<Note>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // The receiver is gone only after the end.
        let _ = self.to.send(Note::Woken(self.place));
    }
}

/// Records acknowledgements as they arrive, in any order.
pub(crate) fn acknowledge(notes: &Receiver<Note>, to: &Sender<Note>, shared: &Shared) {
    let mut flights: HashMap<usize, Flight> = HashMap::new();
    let mut next = 0;
    while let Ok(note) = notes.recv() {
        let place = match note {
            Note::Sent(flight) => {
                next += 1;
                flights.insert(next, flight);
                next
            }
            Note::Woken(place) => place,
            Note::End => return,
        };
        let Some(flight) = flights.get_mut(&place) else { continue };
        let waker = Waker::from(Arc::new(Bell { place, to: to.clone() }));
        let pending = Pin::new(&mut flight.pending);
        if let Poll::Ready(result) = pending.poll(&mut Context::from_waker(&waker)) {
            let tag = flight.tag;
            flights.remove(&place);
            settle(shared, tag, result);
        }
    }
}

fn settle(shared: &Shared, tag: Tag, result: Result<Delivered, kavka_std::Error>) {
    let now = Instant::now();
    shared.change(|state| match result {
        Ok(_) if tag.stream == HELLO => {}
        Ok(delivered) => {
            state.book.acknowledged(tag);
            state.acknowledged.entry(delivered.partition).or_insert(now);
        }
        Err(error) => {
            if tag.stream != HELLO {
                state.book.failed();
            }
            state.note(format!("not acknowledged: {error}"));
        }
    });
}
