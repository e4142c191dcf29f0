//! What the application's threads and the background thread share.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use kavka_core::Error as Core;
use kavka_core::record::Record;

use super::chunk::{self, Chunk, Delivered, Failure};
use super::turn::Turn;
use crate::driver;
use crate::error::{Error, ErrorKind, ProduceError};
use crate::event::{Freshness, Hub};
use crate::lost::Lost;
use crate::metrics::ProducerMetrics;
use crate::pending::{Pending, Setter, Slots, lock};
use crate::wakers::{Old, Ticket, Wakers, Woken};

/// Buffers of chunks that are kept for the next ones.
const SPARE: usize = 8;
/// Bytes in the open chunk that end a short sleep of the background thread.
const WORTH_WAKING: usize = 32 << 10;

/// Of a topic that is not known (yet) this part of the queue's bytes may wait.
const TOPIC_SHARE: usize = 4;
/// Space for any topic that is known.
pub(super) const ANY_TOPIC: u32 = u32::MAX;
/// On the tickets of callers that wait for a topic.
const OF_TOPIC: u8 = 1;

pub(super) struct Inbox {
    state: Mutex<State>,
    pub(super) hub: Hub,
    waker: OnceLock<driver::Waker>,
    queue_bytes: usize,
    topic_bytes: usize,
    chunk_bytes: usize,
    /// Where the clock of records' deadlines begins.
    started: Instant,
}

struct State {
    items: VecDeque<Item>,
    open: Option<Chunk>,
    spare: Vec<Vec<u8>>,
    topics: HashMap<Arc<str>, u32>,
    known: Vec<Known>,
    /// The topic of the last record: most records go where the one before went.
    last: u32,
    /// Bytes that the machine has not taken yet, apart from what is parked.
    queued: usize,
    /// Bytes that are parked, of all topics.
    parked: usize,
    sleep: Sleep,
    room: Wakers,
    /// Nothing is taken any more, since `close` was called or the thread has ended.
    closed: Option<Error>,
    /// `close` was called.
    closing: bool,
    close: Option<Close>,
    /// A later call of `close` wants it to end by then.
    sooner: Option<Instant>,
    /// Callers that want metrics, however full the queue is.
    requested: Vec<Setter<ProducerMetrics>>,
    /// The earliest deadline that the background thread does not know yet.
    until: Option<u64>,
    /// A transaction is open.
    transaction: bool,
}

/// Where a record goes, and the time that it has, if that is its own.
pub(super) struct To<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: Option<u32>,
    pub(super) within: Option<Duration>,
}

/// What the application requests besides records.
pub(super) struct Requested {
    pub(super) close: Option<Close>,
    /// That end is to come by then.
    pub(super) sooner: Option<Instant>,
    pub(super) metrics: Vec<Setter<ProducerMetrics>>,
    pub(super) until: Option<u64>,
}

/// The end that the application requested.
pub(super) struct Close {
    /// The thread ends then at the latest.
    pub(super) until: Option<Instant>,
    pub(super) done: Setter<Lost>,
}

/// A topic that was sent to or requested.
struct Known {
    name: Arc<str>,
    /// Bytes of its records that the machine has not taken, queued and parked.
    bytes: usize,
    standing: Standing,
    /// Callers that wait for space for its records, while there is space for those of others.
    room: Wakers,
}

/// The state of the records of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// None of them was taken out of the queue.
    New,
    /// The machine took the last one.
    Taken,
    /// They are parked.
    Parked,
}

/// What the background thread reports of a topic.
pub(super) struct Reported {
    pub(super) topic: u32,
    /// Bytes that wait no longer.
    pub(super) left: usize,
    /// Bytes that are needed to park what waits.
    pub(super) more: usize,
    pub(super) standing: Standing,
}

/// Whether the background thread must be woken for a new record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sleep {
    /// It checks by itself.
    Awake,
    /// It sleeps for no longer than a batch lingers: only for many.
    Lingering,
    /// For the first.
    Asleep,
}

/// Work for the background thread, in order.
pub(super) enum Item {
    Chunk(Chunk),
    /// The result is the first failure that was not reported to a caller.
    Flush {
        done: Setter<()>,
    },
    /// Everything before it is to be acknowledged or failed, and the thread to end.
    Close,
    /// A transaction begins or ends, or gets offsets.
    Turn(Turn),
    Know {
        topic: u32,
        report: Setter<Freshness>,
    },
}

impl Item {
    pub(super) fn is_forgotten_flush(&self) -> bool {
        matches!(self, Self::Flush { done } if !done.is_awaited())
    }
}

impl Inbox {
    pub(super) fn new(queue_bytes: usize, chunk_bytes: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            open: None,
            spare: Vec::new(),
            topics: HashMap::new(),
            known: Vec::new(),
            last: 0,
            queued: 0,
            parked: 0,
            sleep: Sleep::Awake,
            room: Wakers::default(),
            closed: None,
            closing: false,
            sooner: None,
            close: None,
            requested: Vec::new(),
            until: None,
            transaction: false,
        };
        Self {
            state: Mutex::new(state),
            hub: Hub::default(),
            waker: OnceLock::new(),
            queue_bytes,
            topic_bytes: (queue_bytes / TOPIC_SHARE).max(1),
            chunk_bytes,
            started: Instant::now(),
        }
    }

    /// Microseconds on the clock of records' deadlines.
    pub(super) fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn set_waker(&self, waker: driver::Waker) {
        // Set once, by the caller that starts the thread.
        let _ = self.waker.set(waker);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    // The application's side.

    /// Takes a record if there is space. Its time begins now, if it has one of its own.
    pub(super) fn push(
        &self,
        &To { topic, partition, within }: &To<'_>,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        let too_large = ProduceError::TooLarge { max: i32::MAX as usize };
        let length = chunk::length(record).ok_or(too_large)?;
        let size = chunk::size(length, within.is_some());
        let until = within.map(|within| {
            let micros = u64::try_from(within.as_micros()).unwrap_or(u64::MAX);
            self.micros().saturating_add(micros)
        });
        let mut state = lock(&self.state);
        if let Some(error) = &state.closed {
            return Err(ProduceError::Refused(error.clone()));
        }
        if state.queued >= self.queue_bytes {
            return Err(ProduceError::Full);
        }
        let topic = state.topic(topic);
        if self.is_full_for(&state, topic) {
            return Err(ProduceError::TopicFull);
        }
        let chunk_bytes = self.chunk_bytes;
        let chunk = match &mut state.open {
            Some(open) if open.bytes.len() + size <= chunk_bytes => open,
            _ => state.start_chunk(chunk_bytes),
        };
        let place = chunk.push(topic, partition, record, length, until);
        let (outcomes, filled) = (chunk.outcomes.clone(), chunk.bytes.len());
        state.queued += size;
        if let Some(known) = state.known.get_mut(topic as usize) {
            known.bytes += size;
        }
        // The background thread may sleep for longer than this record has.
        let is_urgent = state.is_urgent(until);
        let wake = match state.sleep {
            _ if is_urgent => true,
            Sleep::Awake => false,
            Sleep::Lingering => filled >= WORTH_WAKING || !state.items.is_empty(),
            Sleep::Asleep => true,
        };
        if wake {
            state.sleep = Sleep::Awake;
        }
        drop(state);
        if wake {
            self.wake();
        }
        Ok(Pending::new(outcomes, place))
    }

    /// [`Inbox::push`] that blocks the thread until there is room.
    pub(super) fn push_waiting(
        self: &Arc<Self>,
        to: &To<'_>,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        loop {
            match self.push(to, record) {
                Err(ProduceError::Full | ProduceError::TopicFull) => {
                    self.room_for(to.topic).wait().map_err(ProduceError::Refused)?;
                }
                other => return other,
            }
        }
    }

    /// [`Inbox::push`] that awaits room.
    pub(super) async fn push_awaiting(
        self: &Arc<Self>,
        to: &To<'_>,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        loop {
            match self.push(to, record) {
                Err(ProduceError::Full | ProduceError::TopicFull) => {
                    self.room_for(to.topic).await.map_err(ProduceError::Refused)?;
                }
                other => return other,
            }
        }
    }

    /// Resolves when there may be room for a record of a topic.
    pub(super) fn room_for(self: &Arc<Self>, topic: &str) -> Pending<()> {
        Pending::new(self.clone(), self.topic(topic))
    }

    /// Whether a topic has to wait although others do not.
    fn is_full_for(&self, state: &State, topic: u32) -> bool {
        let Some(known) = state.known.get(topic as usize) else { return false };
        let full = known.bytes >= self.topic_bytes;
        match known.standing {
            Standing::Taken => false,
            // It may well be one like those that are parked.
            Standing::New => state.parked > 0 && full,
            Standing::Parked => full || state.parked >= self.queue_bytes,
        }
    }

    /// The number of a topic.
    pub(super) fn topic(&self, name: &str) -> u32 {
        lock(&self.state).topic(name)
    }

    /// Hands over an item that is no record, after all records so far.
    pub(super) fn submit(&self, item: impl FnOnce(&mut dyn FnMut(&str) -> u32) -> Item) {
        let mut state = lock(&self.state);
        if state.closed.is_some() {
            return; // dropping the item reports "closed"
        }
        state.seal();
        let item = item(&mut |name| state.topic(name));
        // A flush without a waiter ends with a later one.
        if matches!(item, Item::Flush { .. })
            && state.items.back().is_some_and(Item::is_forgotten_flush)
        {
            state.items.pop_back();
        }
        state.items.push_back(item);
        let wake = core::mem::replace(&mut state.sleep, Sleep::Awake) != Sleep::Awake;
        drop(state);
        if wake {
            self.wake();
        }
    }

    /// Begins a transaction, unless one is open.
    pub(super) fn begin_transaction(&self) -> bool {
        if core::mem::replace(&mut lock(&self.state).transaction, true) {
            return false;
        }
        self.submit(|_| Item::Turn(Turn::Begin));
        true
    }

    /// Ends the open transaction.
    pub(super) fn end_transaction(&self, end: Item) {
        self.submit(|_| end);
        lock(&self.state).transaction = false;
    }

    /// Requests metrics, ahead of the records.
    pub(super) fn request_metrics(&self, done: Setter<ProducerMetrics>) {
        let mut state = lock(&self.state);
        if state.closed.is_some() && state.close.is_none() {
            return; // dropping `done` reports "closed"
        }
        state.requested.push(done);
        drop(state);
        self.wake();
    }

    /// No more records are taken; the background thread ends after at most `bound`. `Err`: it has
    /// ended already.
    pub(super) fn begin_close(
        &self,
        bound: Duration,
        done: Setter<Lost>,
    ) -> Result<(), Setter<Lost>> {
        let mut state = lock(&self.state);
        if core::mem::replace(&mut state.closing, true) {
            state.sooner =
                [state.sooner, Instant::now().checked_add(bound)].into_iter().flatten().min();
            drop(state);
            self.wake();
            return Ok(()); // dropping `done` reports "closed"
        }
        if state.closed.is_some() {
            return Err(done);
        }
        state.closed = Some(ErrorKind::Closed.into());
        state.seal();
        state.items.push_back(Item::Close);
        state.close = Some(Close { until: Instant::now().checked_add(bound), done });
        state.sleep = Sleep::Awake;
        let mut woken = vec![state.room.take()];
        woken.extend(state.known.iter_mut().map(|known| known.room.take()));
        drop(state);
        woken.into_iter().for_each(Woken::wake);
        self.wake();
        Ok(())
    }

    /// Whether `close` was called.
    pub(super) fn is_closing(&self) -> bool {
        lock(&self.state).closing
    }

    // The background thread's side.

    /// Takes all that waits, at the end of `items`.
    pub(super) fn take(&self, items: &mut VecDeque<Item>) {
        let mut state = lock(&self.state);
        state.sleep = Sleep::Awake;
        state.seal();
        if items.is_empty() {
            core::mem::swap(items, &mut state.items);
        } else {
            items.append(&mut state.items);
        }
    }

    /// Returns a requested end, once, requests for metrics, and the earliest deadline of a record
    /// since the last call.
    pub(super) fn take_requested(&self) -> Requested {
        let mut state = lock(&self.state);
        let (close, sooner, until) = (state.close.take(), state.sooner.take(), state.until.take());
        Requested { close, sooner, until, metrics: core::mem::take(&mut state.requested) }
    }

    /// Bytes that wait: in the queue, and parked.
    pub(super) fn depth(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.queued, state.parked)
    }

    /// Goes to sleep, unless there is something to take already.
    pub(super) fn sleep(&self, how: Sleep) -> bool {
        let mut state = lock(&self.state);
        let requested = state.close.is_some()
            || state.sooner.is_some()
            || !state.requested.is_empty()
            || state.until.is_some();
        if requested || !state.items.is_empty() || state.open.is_some() {
            return false;
        }
        state.sleep = how;
        true
    }

    /// The machine has taken `bytes`, the last of them out of `buffers`, or they are among the
    /// `parked` now.
    pub(super) fn taken(
        &self,
        bytes: usize,
        parked: usize,
        reported: impl Iterator<Item = Reported>,
        buffers: &mut Vec<Vec<u8>>,
    ) {
        let mut state = lock(&self.state);
        state.queued = state.queued.saturating_sub(bytes);
        let was_full = state.parked >= self.queue_bytes;
        state.parked = parked;
        let mut woken: Vec<Woken> = Vec::new();
        for Reported { topic, left, more, standing } in reported {
            let Some(known) = state.known.get_mut(topic as usize) else { continue };
            known.bytes = (known.bytes + more).saturating_sub(left);
            known.standing = standing;
            if standing == Standing::Taken || known.bytes <= self.topic_bytes / 2 {
                woken.push(known.room.take());
            }
        }
        if was_full && parked < self.queue_bytes {
            woken.extend(state.known.iter_mut().map(|known| known.room.take()));
        }
        while state.spare.len() < SPARE
            && let Some(mut buffer) = buffers.pop()
        {
            if buffer.capacity() <= 2 * self.chunk_bytes {
                buffer.clear();
                state.spare.push(buffer);
            }
        }
        // Not for the space of each record: waking a thread is worth half of the queue.
        if state.queued <= self.queue_bytes / 2 {
            woken.push(state.room.take());
        }
        drop(state);
        buffers.clear();
        woken.into_iter().for_each(Woken::wake);
    }

    pub(super) fn name(&self, topic: u32) -> Option<Arc<str>> {
        lock(&self.state).known.get(topic as usize).map(|known| known.name.clone())
    }

    /// The background thread ends: everything that still waits fails with `error`. How many
    /// records that were, and an end that was requested meanwhile.
    pub(super) fn abort(&self, error: &Error) -> (u64, Option<Close>) {
        let mut state = lock(&self.state);
        state.closed = Some(error.clone());
        state.seal();
        let items = core::mem::take(&mut state.items);
        let close = state.close.take();
        let requested = core::mem::take(&mut state.requested);
        let mut woken = vec![state.room.take()];
        woken.extend(state.known.iter_mut().map(|known| known.room.take()));
        drop(state);
        drop(requested);
        woken.into_iter().for_each(Woken::wake);
        self.hub.close(error);
        let mut records = 0;
        for item in items {
            if let Item::Chunk(chunk) = item {
                records += u64::from(chunk.count - chunk.over);
                chunk.outcomes.close(error);
            }
        }
        (records, close)
    }
}

impl State {
    /// Whether a deadline is earlier than those that the background thread knows of.
    fn is_urgent(&mut self, until: Option<u64>) -> bool {
        let Some(until) = until else { return false };
        let is_first = self.until.is_none_or(|first| until < first);
        if is_first {
            self.until = Some(until);
        }
        is_first
    }

    fn topic(&mut self, name: &str) -> u32 {
        if self.known.get(self.last as usize).is_some_and(|last| *last.name == *name) {
            return self.last;
        }
        let id = match self.topics.get(name) {
            Some(id) => *id,
            None => {
                let id = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
                let name = Arc::<str>::from(name);
                let (standing, room) = (Standing::New, Wakers::marked(OF_TOPIC));
                self.known.push(Known { name: name.clone(), bytes: 0, standing, room });
                self.topics.insert(name, id);
                id
            }
        };
        self.last = id;
        id
    }

    /// Ends a wait for space: in the queue's list or in that of the topic `index`.
    fn leave(&mut self, index: u32, ticket: &mut Option<Ticket>) -> Old {
        if ticket.is_none_or(|ticket| ticket.mark != OF_TOPIC) {
            return self.room.leave(ticket);
        }
        self.known.get_mut(index as usize).and_then(|known| known.room.leave(ticket))
    }

    fn seal(&mut self) {
        self.items.extend(self.open.take().map(Item::Chunk));
    }

    fn start_chunk(&mut self, chunk_bytes: usize) -> &mut Chunk {
        self.seal();
        let buffer = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(chunk_bytes));
        self.open.insert(Chunk::new(buffer))
    }
}

/// Space for at least one record, of the topic with this index, or of one that is known.
impl Slots<()> for Inbox {
    fn poll(
        &self,
        index: u32,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> Poll<Result<(), Error>> {
        let mut state = lock(&self.state);
        let mut old = [state.leave(index, ticket), None];
        let result = if let Some(error) = &state.closed {
            Poll::Ready(Err(error.clone()))
        } else if state.queued >= self.queue_bytes {
            old[1] = state.room.wait(ticket, waker);
            Poll::Pending
        } else if self.is_full_for(&state, index)
            && let Some(known) = state.known.get_mut(index as usize)
        {
            old[1] = known.room.wait(ticket, waker);
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        };
        drop(state);
        drop(old);
        result
    }

    fn leave(&self, index: u32, ticket: &mut Option<Ticket>) {
        let old = lock(&self.state).leave(index, ticket);
        drop(old);
    }
}

/// Failures since the last report.
#[derive(Default)]
pub(super) struct Failures {
    list: VecDeque<Arc<Failure>>,
}

/// Failures that are kept apart; beyond, only the oldest ones keep their errors.
const FAILURES: usize = 64;

impl Failures {
    pub(super) fn add(&mut self, failure: Arc<Failure>) {
        use std::sync::atomic::Ordering;
        if failure.error.kind() == ErrorKind::Kafka(Core::Aborted) {
            return; // the end of its transaction is reported
        }
        if self.list.len() >= FAILURES
            && let Some(last) = self.list.back()
        {
            let more = failure.unreported.load(Ordering::Acquire);
            last.unreported.fetch_add(more, Ordering::AcqRel);
            return;
        }
        self.list.push_back(failure);
    }

    /// Returns how many records failed without a report to a caller, and the first error; forgets
    /// them.
    pub(super) fn report(&mut self) -> Option<(u64, Error)> {
        use std::sync::atomic::Ordering;
        let mut first = None;
        let mut records = 0;
        for failure in self.list.drain(..) {
            let unreported = failure.unreported.load(Ordering::Acquire);
            if unreported > 0 {
                records += unreported;
                first.get_or_insert_with(|| failure.error.clone());
            }
        }
        first.map(|error| (records, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn failures_beyond_those_kept_apart_count_too() {
        let mut failures = Failures::default();
        for records in [1; FAILURES].into_iter().chain([2, 3]) {
            failures.add(Failure::new(ErrorKind::Closed.into(), records));
        }
        let (records, error) = failures.report().expect("something failed");
        assert_eq!((records, error.kind()), (FAILURES as u64 + 5, ErrorKind::Closed));
        assert!(failures.report().is_none(), "it was reported");
    }
}
