//! What the application's threads and the background thread share.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};

use kavka_core::record::Record;

use super::Delivered;
use super::chunk::{Chunk, Failure};
use crate::driver;
use crate::error::{Error, ErrorKind, ProduceError};
use crate::event::{Freshness, Hub};
use crate::pending::{Pending, Setter, Slots, lock};

/// Buffers of chunks that are kept for the next ones.
const SPARE: usize = 8;
/// Bytes in the open chunk that end a short sleep of the background thread.
const WORTH_WAKING: usize = 32 << 10;

pub(super) struct Inbox {
    state: Mutex<State>,
    pub(super) hub: Hub,
    waker: OnceLock<driver::Waker>,
    queue_bytes: usize,
    chunk_bytes: usize,
}

struct State {
    items: VecDeque<Item>,
    open: Option<Chunk>,
    spare: Vec<Vec<u8>>,
    topics: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
    /// The topic of the last record: most records go where the one before went.
    last: u32,
    /// Bytes that the machine has not taken yet.
    queued: usize,
    sleep: Sleep,
    room: Vec<Waker>,
    closed: Option<Error>,
}

/// Whether the background thread must be woken for a new record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sleep {
    /// It will look by itself.
    Awake,
    /// It sleeps for no longer than a batch lingers: only for many.
    Lingering,
    /// For the first.
    Asleep,
}

/// Work for the background thread, in order.
pub(super) enum Item {
    Chunk(Chunk),
    /// `report`: the answer tells the first failure that nobody has heard of.
    Flush {
        report: bool,
        done: Setter<()>,
    },
    Know {
        topic: u32,
        tell: Setter<Freshness>,
    },
}

impl Inbox {
    pub(super) fn new(queue_bytes: usize, chunk_bytes: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            open: None,
            spare: Vec::new(),
            topics: HashMap::new(),
            names: Vec::new(),
            last: 0,
            queued: 0,
            sleep: Sleep::Awake,
            room: Vec::new(),
            closed: None,
        };
        Self {
            state: Mutex::new(state),
            hub: Hub::default(),
            waker: OnceLock::new(),
            queue_bytes,
            chunk_bytes,
        }
    }

    pub(super) fn set_waker(&self, waker: driver::Waker) {
        // Set once, by whoever starts the thread.
        let _ = self.waker.set(waker);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    // The application's side.

    /// Takes a record if there is room.
    pub(super) fn push(
        &self,
        topic: &str,
        partition: Option<u32>,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        let too_large = ProduceError::TooLarge { max: i32::MAX as usize };
        let length = Chunk::length(record).ok_or(too_large)?;
        let size = Chunk::size(length);
        let mut state = lock(&self.state);
        if let Some(error) = &state.closed {
            return Err(ProduceError::Refused(error.clone()));
        }
        if state.queued >= self.queue_bytes {
            return Err(ProduceError::Full);
        }
        let topic = state.topic(topic);
        let chunk_bytes = self.chunk_bytes;
        let chunk = match &mut state.open {
            Some(open) if open.bytes.len() + size <= chunk_bytes => open,
            _ => state.start_chunk(chunk_bytes),
        };
        let place = chunk.push(topic, partition, record, length);
        let (outcomes, length) = (chunk.outcomes.clone(), chunk.bytes.len());
        state.queued += size;
        let wake = match state.sleep {
            Sleep::Awake => false,
            Sleep::Lingering => length >= WORTH_WAKING || !state.items.is_empty(),
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

    /// Hands over something else than a record, behind all records so far.
    pub(super) fn ask(&self, item: impl FnOnce(&mut dyn FnMut(&str) -> u32) -> Item) {
        let mut state = lock(&self.state);
        if state.closed.is_some() {
            return; // dropping the item answers "closed"
        }
        state.seal();
        let item = item(&mut |name| state.topic(name));
        state.items.push_back(item);
        let wake = core::mem::replace(&mut state.sleep, Sleep::Awake) != Sleep::Awake;
        drop(state);
        if wake {
            self.wake();
        }
    }

    /// Nothing is taken any more; the background thread ends.
    pub(super) fn close(&self) {
        lock(&self.state).closed.get_or_insert_with(|| ErrorKind::Closed.into());
        self.wake();
    }

    // The background thread's side.

    /// Takes all that waits, at the end of `items`. `false`: closed.
    pub(super) fn take(&self, items: &mut VecDeque<Item>) -> bool {
        let mut state = lock(&self.state);
        state.sleep = Sleep::Awake;
        state.seal();
        if items.is_empty() {
            core::mem::swap(items, &mut state.items);
        } else {
            items.append(&mut state.items);
        }
        state.closed.is_none()
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed.is_some()
    }

    /// Goes to sleep, unless there is something to take already.
    pub(super) fn sleep(&self, how: Sleep) -> bool {
        let mut state = lock(&self.state);
        if state.closed.is_some() || !state.items.is_empty() || state.open.is_some() {
            return false;
        }
        state.sleep = how;
        true
    }

    /// The machine has taken `bytes`, the last of them out of `buffers`.
    pub(super) fn taken(&self, bytes: usize, buffers: &mut Vec<Vec<u8>>) {
        let mut state = lock(&self.state);
        state.queued = state.queued.saturating_sub(bytes);
        while state.spare.len() < SPARE
            && let Some(mut buffer) = buffers.pop()
        {
            if buffer.capacity() <= 2 * self.chunk_bytes {
                buffer.clear();
                state.spare.push(buffer);
            }
        }
        // Not for every record's room: a thread that waits is worth a whole half.
        let room = if state.queued <= self.queue_bytes / 2 {
            core::mem::take(&mut state.room)
        } else {
            Vec::new()
        };
        drop(state);
        buffers.clear();
        room.into_iter().for_each(Waker::wake);
    }

    pub(super) fn name(&self, topic: u32) -> Option<Arc<str>> {
        lock(&self.state).names.get(topic as usize).cloned()
    }

    /// The background thread ends: everything that still waits fails with `error`. How many
    /// records that were.
    pub(super) fn abort(&self, error: &Error) -> u64 {
        let mut state = lock(&self.state);
        state.closed = Some(error.clone());
        state.seal();
        let items = core::mem::take(&mut state.items);
        let room = core::mem::take(&mut state.room);
        drop(state);
        room.into_iter().for_each(Waker::wake);
        self.hub.close(error);
        let mut records = 0;
        for item in items {
            if let Item::Chunk(chunk) = item {
                records += u64::from(chunk.count);
                chunk.outcomes.close(error);
            }
        }
        records
    }
}

impl State {
    fn topic(&mut self, name: &str) -> u32 {
        if self.names.get(self.last as usize).is_some_and(|last| **last == *name) {
            return self.last;
        }
        let id = match self.topics.get(name) {
            Some(id) => *id,
            None => {
                let id = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
                let name = Arc::<str>::from(name);
                self.names.push(name.clone());
                self.topics.insert(name, id);
                id
            }
        };
        self.last = id;
        id
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

/// Room for at least one record.
impl Slots<()> for Inbox {
    fn poll(&self, _: u32, waker: &Waker) -> Poll<Result<(), Error>> {
        let mut state = lock(&self.state);
        if let Some(error) = &state.closed {
            return Poll::Ready(Err(error.clone()));
        }
        if state.queued < self.queue_bytes {
            return Poll::Ready(Ok(()));
        }
        if !state.room.iter().any(|kept| kept.will_wake(waker)) {
            state.room.push(waker.clone());
        }
        Poll::Pending
    }
}

/// Failures since the last report.
#[derive(Default)]
pub(super) struct Failures {
    list: VecDeque<Arc<Failure>>,
}

/// Failures that are kept apart; beyond, only the oldest tell their errors.
const FAILURES: usize = 64;

impl Failures {
    pub(super) fn add(&mut self, failure: Arc<Failure>) {
        use std::sync::atomic::Ordering;
        if self.list.len() >= FAILURES
            && let Some(last) = self.list.back()
        {
            let more = failure.untold.load(Ordering::Acquire);
            last.untold.fetch_add(more, Ordering::AcqRel);
            return;
        }
        self.list.push_back(failure);
    }

    /// How many records failed that nobody has heard of, and the first error; forgets them.
    pub(super) fn report(&mut self) -> Option<(u64, Error)> {
        use std::sync::atomic::Ordering;
        let mut first = None;
        let mut records = 0;
        for failure in self.list.drain(..) {
            let untold = failure.untold.load(Ordering::Acquire);
            if untold > 0 {
                records += untold;
                first.get_or_insert_with(|| failure.error.clone());
            }
        }
        first.map(|error| (records, error))
    }
}
