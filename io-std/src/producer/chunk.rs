//! Records on their way from the application's threads to the background thread, and the
//! outcomes on their way back: many at a time, in chunks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use kavka_core::record::{self, Record};
use kavka_core::wire::{Full, Sink};

use crate::error::Error;
use crate::pending::{Slots, lock};
use crate::wakers::Ticket;

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The partition.
    pub partition: u32,
    /// Its offset there; `None` with acks=0, and where the broker knows that it has the record
    /// but no longer where.
    pub offset: Option<i64>,
}

/// No partition of choice.
const NONE: u32 = u32::MAX;
/// No timestamp.
const NO_TIME: i64 = i64::MIN;
/// Topic, partition, bytes that follow, timestamp.
const FIXED: usize = 3 * 4 + 8;
/// With the topic: a deadline follows these.
const DATED: u32 = 1 << 31;
/// With the topic: the deadline has passed, and the outcome was reported.
const OVER: u32 = 1 << 30;

/// Records, one after the other: where each goes in front, then the record as its batch will have
/// it, but for what only its batch decides. To put it there takes one copy.
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) count: u32,
    /// Records whose deadline passed before the chunk's turn.
    pub(super) over: u32,
    pub(super) outcomes: Arc<Outcomes>,
}

struct Append<'a>(&'a mut Vec<u8>);

impl Sink for Append<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Bytes of a record as a chunk has it, without what stands in front; `None` when that is more
/// than a record may have at all.
pub(super) fn length(record: &Record<'_>) -> Option<u32> {
    u32::try_from(record::packed_len(record)).ok().filter(|length| *length <= i32::MAX as u32)
}

/// Bytes that a record of this length takes up in a chunk; `dated`: with a deadline of its own.
pub(super) fn size(length: u32, dated: bool) -> usize {
    FIXED + if dated { 8 } else { 0 } + length as usize
}

impl Chunk {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, count: 0, over: 0, outcomes: Arc::default() }
    }

    /// Appends a record of this length, which may have a deadline of its own; its place in the
    /// chunk.
    pub(super) fn push(
        &mut self,
        topic: u32,
        partition: Option<u32>,
        record: &Record<'_>,
        length: u32,
        until: Option<u64>,
    ) -> u32 {
        let mut fixed = [0; FIXED];
        let dated = if until.is_some() { DATED } else { 0 };
        let words = [topic | dated, partition.unwrap_or(NONE), length];
        for (to, word) in fixed.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        fixed[12..].copy_from_slice(&record.timestamp.unwrap_or(NO_TIME).to_le_bytes());
        self.bytes.reserve(size(length, until.is_some()));
        self.bytes.extend_from_slice(&fixed);
        if let Some(until) = until {
            self.bytes.extend_from_slice(&until.to_le_bytes());
        }
        // The sink takes everything.
        let _ = record::pack(&mut Append(&mut self.bytes), record);
        let place = self.count;
        self.count += 1;
        place
    }
}

/// A record as it lies in a chunk.
pub(super) struct Packed<'a> {
    pub(super) topic: u32,
    pub(super) partition: Option<u32>,
    pub(super) record: record::Packed<'a>,
    /// A deadline of its own, in microseconds on the inbox's clock.
    pub(super) until: Option<u64>,
    /// That has passed, and the outcome was reported.
    pub(super) is_over: bool,
    /// Bytes that it takes up.
    pub(super) size: usize,
}

impl<'a> Packed<'a> {
    /// Reads the record at the front of `bytes`, which [`Chunk::push`] has written.
    #[inline]
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_first_chunk::<FIXED>()?;
        let word = |at: usize| {
            let word = fixed.get(at..at + 4).and_then(<[u8]>::first_chunk::<4>);
            word.map_or(NONE, |word| u32::from_le_bytes(*word))
        };
        let time = i64::from_le_bytes(*fixed.last_chunk::<8>()?);
        let length = word(8);
        let (until, rest) = match word(0) & DATED {
            0 => (None, rest),
            _ => {
                let (until, rest) = rest.split_first_chunk::<8>()?;
                (Some(u64::from_le_bytes(*until)), rest)
            }
        };
        let bytes = rest.get(..length as usize)?;
        let record = record::Packed::new(bytes, (time != NO_TIME).then_some(time));
        let partition = Some(word(4)).filter(|partition| *partition != NONE);
        let (topic, is_over) = (word(0) & !(DATED | OVER), word(0) & OVER != 0);
        let size = size(length, until.is_some());
        Some(Self { topic, partition, record, until, is_over, size })
    }
}

/// The result of [`expire`].
#[derive(Default)]
pub(super) struct Expired {
    /// Place and topic of the records whose deadline has passed.
    pub(super) over: Vec<(u32, u32)>,
    /// The earliest deadline of the others.
    pub(super) next: Option<u64>,
}

/// Marks the records of `bytes`, written by [`Chunk::push`], whose own deadline has passed. Places
/// are counted from `first` on.
pub(super) fn expire(bytes: &mut [u8], first: u32, now: u64) -> Expired {
    let mut expired = Expired::default();
    let (mut at, mut place) = (0, first);
    while let Some(packed) = bytes.get(at..).and_then(Packed::read) {
        let (topic, size) = (packed.topic, packed.size);
        match packed.until.filter(|_| !packed.is_over) {
            Some(until) if until <= now => {
                expired.over.push((place, topic));
                if let Some(word) = bytes.get_mut(at..at + 4) {
                    word.copy_from_slice(&(topic | DATED | OVER).to_le_bytes());
                }
            }
            Some(until) => expired.next = Some(expired.next.map_or(until, |at| at.min(until))),
            None => {}
        }
        at += size;
        place += 1;
    }
    expired
}

/// The outcomes of the records of a chunk.
#[derive(Default)]
pub(super) struct Outcomes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Empty until the background thread has taken the chunk.
    outcomes: Vec<Outcome>,
    /// By place, up to the last one that a caller waits for.
    wakers: Vec<Option<Waker>>,
    /// No outcome will come for what is still waiting.
    closed: Option<Error>,
}

/// The outcome of a record.
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

/// A failure, and how many of its records were not reported to a caller yet.
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) unreported: AtomicU64,
}

impl Failure {
    pub(super) fn new(error: Error, records: u64) -> Arc<Self> {
        Arc::new(Self { error, unreported: AtomicU64::new(records) })
    }
}

impl Outcomes {
    /// The chunk was taken: outcomes will come for `count` records.
    pub(super) fn prepare(&self, count: u32) {
        lock(&self.state).outcomes.resize(count as usize, Outcome::Waiting);
    }

    /// Sets the outcomes of `count` records from `first` on: `outcome(n)` for the n-th of them.
    pub(super) fn set(&self, first: u32, count: u32, mut outcome: impl FnMut(u32) -> Outcome) {
        let mut state = lock(&self.state);
        let end = first.saturating_add(count);
        for (n, slot) in (0..count).zip(state.outcomes.iter_mut().skip(first as usize)) {
            *slot = outcome(n);
        }
        let end = (end as usize).min(state.wakers.len());
        let concerned = state.wakers.get_mut(first as usize..end).unwrap_or_default();
        let woken: Vec<_> = concerned.iter_mut().filter_map(Option::take).collect();
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Ends all waiting with `error`.
    pub(super) fn close(&self, error: &Error) {
        let mut state = lock(&self.state);
        state.closed.get_or_insert_with(|| error.clone());
        let woken = core::mem::take(&mut state.wakers);
        drop(state);
        woken.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Slots<Delivered> for Outcomes {
    fn poll(
        &self,
        index: u32,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> Poll<Result<Delivered, Error>> {
        let mut state = lock(&self.state);
        if let Some(result) = state.result(index) {
            *ticket = None;
            return Poll::Ready(result);
        }
        *ticket = Some(Ticket::ONLY);
        let at = index as usize;
        if state.wakers.len() <= at {
            state.wakers.resize_with(at + 1, || None);
        }
        let old = state.wakers.get_mut(at).and_then(|slot| slot.replace(waker.clone()));
        drop(state);
        drop(old);
        Poll::Pending
    }

    fn leave(&self, index: u32, ticket: &mut Option<Ticket>) {
        *ticket = None;
        let mut state = lock(&self.state);
        let old = state.wakers.get_mut(index as usize).and_then(Option::take);
        drop(state);
        drop(old);
    }
}

impl State {
    fn result(&self, index: u32) -> Option<Result<Delivered, Error>> {
        match self.outcomes.get(index as usize) {
            Some(&Outcome::Delivered { partition, offset }) => {
                let offset = (offset >= 0).then_some(offset);
                return Some(Ok(Delivered { partition, offset }));
            }
            Some(Outcome::Failed(failure)) => {
                let less = |n: u64| n.checked_sub(1);
                let _ = failure.unreported.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
                return Some(Err(failure.error.clone()));
            }
            Some(Outcome::Waiting) | None => {}
        }
        self.closed.clone().map(Err)
    }
}

#[cfg(test)]
mod tests {
    use kavka_core::record::Header;

    use super::*;
    use crate::error::ErrorKind;
    use crate::pending::Pending;

    #[test]
    fn records_come_out_of_a_chunk_as_they_went_in() {
        let headers = [Header { name: "a", value: Some(b"1") }, Header { name: "", value: None }];
        let given = [
            (0, None, Record::new(b"plain")),
            (7, Some(3), Record::new(b"").key(b"k").timestamp(1_700_000_000_000)),
            (1, Some(0), Record::tombstone().key(b"gone").headers(&headers).timestamp(-1)),
            (2, None, Record::tombstone()),
            (3, None, Record::new(b"last").headers(&headers)),
        ];
        let mut chunk = Chunk::new(Vec::new());
        for (place, (topic, partition, record)) in (0..).zip(&given) {
            let length = length(record).unwrap();
            let until = (place % 2 == 1).then_some(u64::from(place));
            assert_eq!(chunk.push(*topic, *partition, record, length, until), place);
        }
        let expired = expire(&mut chunk.bytes, 0, 2);
        assert_eq!((expired.over, expired.next), (vec![(1, 7)], Some(3)));
        let mut rest = chunk.bytes.as_slice();
        for (place, (topic, partition, record)) in (0..).zip(&given) {
            let packed = Packed::read(rest).unwrap();
            assert_eq!((packed.topic, packed.partition), (*topic, *partition));
            assert_eq!(packed.until, (place % 2 == 1).then_some(place));
            assert_eq!(packed.is_over, place == 1);
            assert_eq!(packed.record.timestamp, record.timestamp, "record of topic {topic}");
            let mut want = Vec::new();
            record::pack(&mut Append(&mut want), record).unwrap();
            assert_eq!(packed.record.bytes(), want, "record of topic {topic}");
            rest = &rest[packed.size..];
        }
        assert!(Packed::read(rest).is_none(), "the end");
    }

    #[test]
    fn failures_that_were_reported_are_not_reported_again() {
        let outcomes = Arc::new(Outcomes::default());
        outcomes.prepare(3);
        let failure = Failure::new(ErrorKind::RecordTooLarge { max: 1 }.into(), 2);
        outcomes.set(1, 2, |_| Outcome::Failed(failure.clone()));
        let waiting = Pending::new(outcomes.clone(), 0);
        assert!(waiting.wait_timeout(core::time::Duration::ZERO).is_err(), "the first waits on");
        assert!(Pending::new(outcomes.clone(), 1).wait().is_err());
        assert_eq!(failure.unreported.load(Ordering::Acquire), 1);
        outcomes.close(&ErrorKind::Closed.into());
        let closed = Pending::new(outcomes.clone(), 0).wait().unwrap_err();
        assert_eq!(closed.kind(), ErrorKind::Closed);
        let failed = Pending::new(outcomes, 2).wait().unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::RecordTooLarge { max: 1 }, "known before the end");
    }
}
