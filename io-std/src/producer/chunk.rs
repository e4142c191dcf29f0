//! Records on their way from the application's threads to the background thread, and the
//! outcomes on their way back: many at a time, in chunks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use kavka_core::record::{Header, Record};

use super::Delivered;
use crate::error::Error;
use crate::pending::{Slots, lock};

/// No key, value or partition.
const NONE: u32 = u32::MAX;
/// No timestamp.
const NO_TIME: i64 = i64::MIN;
/// Topic, partition, key length, value length, header count, timestamp.
const FIXED: usize = 5 * 4 + 8;

/// Records, one after the other, in an encoding of our own.
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) count: u32,
    pub(super) outcomes: Arc<Outcomes>,
}

impl Chunk {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, count: 0, outcomes: Arc::default() }
    }

    /// Appends a record; its place in the chunk.
    pub(super) fn push(&mut self, topic: u32, partition: Option<u32>, record: &Record<'_>) -> u32 {
        let length = |bytes: Option<&[u8]>| bytes.map_or(NONE, |b| b.len() as u32);
        let mut fixed = [0; FIXED];
        let words = [
            topic,
            partition.unwrap_or(NONE),
            length(record.key),
            length(record.value),
            record.headers.len() as u32,
        ];
        for (to, word) in fixed.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        fixed[20..].copy_from_slice(&record.timestamp.unwrap_or(NO_TIME).to_le_bytes());
        self.bytes.extend_from_slice(&fixed);
        self.bytes.extend_from_slice(record.key.unwrap_or_default());
        self.bytes.extend_from_slice(record.value.unwrap_or_default());
        for header in record.headers {
            self.bytes.extend_from_slice(&(header.name.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(&length(header.value).to_le_bytes());
            self.bytes.extend_from_slice(header.name.as_bytes());
            self.bytes.extend_from_slice(header.value.unwrap_or_default());
        }
        let place = self.count;
        self.count += 1;
        place
    }

    /// Bytes that [`Chunk::push`] takes for `record`; `None` when a length exceeds what a record
    /// may have at all.
    pub(super) fn size(record: &Record<'_>) -> Option<usize> {
        let mut sum = FIXED + record.key.map_or(0, <[u8]>::len);
        sum = sum.checked_add(record.value.map_or(0, <[u8]>::len))?;
        for header in record.headers {
            sum = sum.checked_add(8 + header.name.len())?;
            sum = sum.checked_add(header.value.map_or(0, <[u8]>::len))?;
        }
        (sum <= i32::MAX as usize).then_some(sum)
    }
}

/// A record as it lies in a chunk.
pub(super) struct Packed<'a> {
    pub(super) topic: u32,
    pub(super) partition: Option<u32>,
    pub(super) record: Record<'a>,
    headers: u32,
    header_bytes: &'a [u8],
    /// Bytes that it takes up.
    pub(super) size: usize,
}

impl<'a> Packed<'a> {
    /// Reads the record at the front of `bytes`, which [`Chunk::push`] has written.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut words = [0; 5];
        for word in &mut words {
            *word = take_u32(&mut rest)?;
        }
        let [topic, partition, key, value, headers] = words;
        let (time, mut rest) = rest.split_first_chunk::<8>()?;
        let time = i64::from_le_bytes(*time);
        let key = take(&mut rest, key)?;
        let value = take(&mut rest, value)?;
        let header_bytes = rest;
        for _ in 0..headers {
            take_header(&mut rest)?;
        }
        let mut record = Record::tombstone();
        record.key = key;
        record.value = value;
        record.timestamp = (time != NO_TIME).then_some(time);
        let partition = (partition != NONE).then_some(partition);
        let size = bytes.len() - rest.len();
        Some(Self { topic, partition, record, headers, header_bytes, size })
    }

    /// Calls `with` with the whole record. Headers are rare, so that their list may be allocated.
    pub(super) fn with<R>(&self, with: impl FnOnce(&Record<'_>) -> R) -> R {
        if self.headers == 0 {
            return with(&self.record);
        }
        let mut rest = self.header_bytes;
        let headers: Vec<Header<'_>> =
            (0..self.headers).filter_map(|_| take_header(&mut rest)).collect();
        with(&self.record.headers(&headers))
    }
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (word, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*word))
}

fn take<'a>(rest: &mut &'a [u8], length: u32) -> Option<Option<&'a [u8]>> {
    if length == NONE {
        return Some(None);
    }
    let (bytes, after) = rest.split_at_checked(length as usize)?;
    *rest = after;
    Some(Some(bytes))
}

fn take_header<'a>(rest: &mut &'a [u8]) -> Option<Header<'a>> {
    let (name, value) = (take_u32(rest)?, take_u32(rest)?);
    let name = core::str::from_utf8(take(rest, name)??).ok()?;
    Some(Header { name, value: take(rest, value)? })
}

/// What became of the records of a chunk.
#[derive(Default)]
pub(super) struct Outcomes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Empty until the background thread has taken the chunk.
    outcomes: Vec<Outcome>,
    wakers: Vec<(u32, Waker)>,
    /// Nothing will be told any more of what is still waiting.
    closed: Option<Error>,
}

/// What became of a record.
#[derive(Clone)]
pub(super) enum Outcome {
    Waiting,
    /// Offset -1: unknown.
    Delivered {
        partition: u32,
        offset: i64,
    },
    Failed(Arc<Failure>),
}

/// A failure, and how many of its records nobody has heard of yet.
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) untold: AtomicU64,
}

impl Failure {
    pub(super) fn new(error: Error, records: u64) -> Arc<Self> {
        Arc::new(Self { error, untold: AtomicU64::new(records) })
    }
}

impl Outcomes {
    /// The chunk was taken: outcomes will come for `count` records.
    pub(super) fn expect(&self, count: u32) {
        lock(&self.state).outcomes.resize(count as usize, Outcome::Waiting);
    }

    /// Sets the outcomes of `count` records from `first` on: `outcome(n)` for the n-th of them.
    pub(super) fn set(&self, first: u32, count: u32, mut outcome: impl FnMut(u32) -> Outcome) {
        let mut state = lock(&self.state);
        let end = first.saturating_add(count);
        for (n, slot) in (0..count).zip(state.outcomes.iter_mut().skip(first as usize)) {
            *slot = outcome(n);
        }
        let concerned = |waiting: &mut (u32, Waker)| (first..end).contains(&waiting.0);
        let woken: Vec<_> = state.wakers.extract_if(.., concerned).collect();
        drop(state);
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Ends all waiting with `error`.
    pub(super) fn close(&self, error: &Error) {
        let mut state = lock(&self.state);
        state.closed.get_or_insert_with(|| error.clone());
        let woken = core::mem::take(&mut state.wakers);
        drop(state);
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

impl Slots<Delivered> for Outcomes {
    fn poll(&self, index: u32, waker: &Waker) -> Poll<Result<Delivered, Error>> {
        let mut state = lock(&self.state);
        match state.outcomes.get(index as usize) {
            Some(&Outcome::Delivered { partition, offset }) => {
                let offset = (offset >= 0).then_some(offset);
                return Poll::Ready(Ok(Delivered { partition, offset }));
            }
            Some(Outcome::Failed(failure)) => {
                let less = |n: u64| n.checked_sub(1);
                let _ = failure.untold.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
                return Poll::Ready(Err(failure.error.clone()));
            }
            Some(Outcome::Waiting) | None => {}
        }
        if let Some(error) = &state.closed {
            return Poll::Ready(Err(error.clone()));
        }
        match state.wakers.iter_mut().find(|(at, _)| *at == index) {
            Some((_, kept)) => kept.clone_from(waker),
            None => state.wakers.push((index, waker.clone())),
        }
        Poll::Pending
    }
}
