//! Records on their way from the application's threads to the background thread, and the
//! outcomes on their way back: many at a time, in chunks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use kavka_core::record::{self, BatchHeader, Record, Records};
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

/// No partition of choice; no key, no value.
const NONE: u32 = u32::MAX;
/// Instead of a key's length: a record with headers, written as Kafka does.
const WHOLE: u32 = u32::MAX - 1;
/// No timestamp.
const NO_TIME: i64 = i64::MIN;
/// Topic, partition, lengths of key and value, timestamp.
const FIXED: usize = 4 * 4 + 8;
/// Stands over a whole record alone, to read it.
const ALONE: BatchHeader = BatchHeader {
    base_offset: 0,
    batch_length: 0,
    partition_leader_epoch: -1,
    crc: 0,
    attributes: 0,
    last_offset_delta: 0,
    base_timestamp: 0,
    max_timestamp: 0,
    producer_id: -1,
    producer_epoch: -1,
    base_sequence: -1,
    count: 1,
};

/// Records, one after the other: what each lacks or has in front, key and value behind. Only
/// what has headers is encoded here already; the others once, in their batch.
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) count: u32,
    pub(super) outcomes: Arc<Outcomes>,
}

struct Append<'a>(&'a mut Vec<u8>);

impl Sink for Append<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Lengths of a record as a chunk has them.
#[derive(Clone, Copy)]
pub(super) struct Lengths {
    key: u32,
    value: u32,
}

impl Lengths {
    /// `None` when that is more than a record may have at all.
    pub(super) fn of(record: &Record<'_>) -> Option<Self> {
        let short = |length: usize| u32::try_from(length).ok().filter(|n| *n <= i32::MAX as u32);
        if record.each_header().next().is_some() {
            let value = short(record::encoded_len(record, 0, 0))?;
            return Some(Self { key: WHOLE, value });
        }
        let field = |field: Option<&[u8]>| field.map_or(Some(NONE), |field| short(field.len()));
        Some(Self { key: field(record.key)?, value: field(record.value)? })
    }

    /// Bytes that the record takes up in a chunk.
    pub(super) fn size(self) -> usize {
        let field = |length: u32| if length >= WHOLE { 0 } else { length as usize };
        FIXED + field(self.key) + field(self.value)
    }
}

impl Chunk {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, count: 0, outcomes: Arc::default() }
    }

    /// Appends a record of these lengths; its place in the chunk.
    pub(super) fn push(
        &mut self,
        topic: u32,
        partition: Option<u32>,
        record: &Record<'_>,
        lengths: Lengths,
    ) -> u32 {
        let mut fixed = [0; FIXED];
        let words = [topic, partition.unwrap_or(NONE), lengths.key, lengths.value];
        for (to, word) in fixed.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        fixed[16..].copy_from_slice(&record.timestamp.unwrap_or(NO_TIME).to_le_bytes());
        self.bytes.reserve(lengths.size());
        self.bytes.extend_from_slice(&fixed);
        if lengths.key == WHOLE {
            // It fits: the sink takes everything, and the length was found to be possible.
            let _ = record::write(&mut Append(&mut self.bytes), record, 0, 0);
        } else {
            self.bytes.extend_from_slice(record.key.unwrap_or_default());
            self.bytes.extend_from_slice(record.value.unwrap_or_default());
        }
        let place = self.count;
        self.count += 1;
        place
    }
}

/// A record as it lies in a chunk.
pub(super) struct Packed<'a> {
    pub(super) topic: u32,
    pub(super) partition: Option<u32>,
    pub(super) record: Record<'a>,
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
        let lengths = Lengths { key: word(8), value: word(12) };
        let mut record = if lengths.key == WHOLE {
            let bytes = rest.get(..lengths.value as usize)?;
            Records::unpacked(&ALONE, bytes).next()?.ok()?.to_record()
        } else {
            let (key, rest) = field(rest, lengths.key)?;
            let (value, _) = field(rest, lengths.value)?;
            let mut record = value.map_or(Record::tombstone(), Record::new);
            record.key = key;
            record
        };
        record.timestamp = (time != NO_TIME).then_some(time);
        let partition = Some(word(4)).filter(|partition| *partition != NONE);
        Some(Self { topic: word(0), partition, record, size: lengths.size() })
    }
}

/// A field of this length and what follows it.
fn field(bytes: &[u8], length: u32) -> Option<(Option<&[u8]>, &[u8])> {
    if length == NONE {
        return Some((None, bytes));
    }
    let (field, rest) = bytes.split_at_checked(length as usize)?;
    Some((Some(field), rest))
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
    /// By place, up to the last one that somebody waits for.
    wakers: Vec<Option<Waker>>,
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
                let _ = failure.untold.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
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
            let lengths = Lengths::of(record).unwrap();
            assert_eq!(chunk.push(*topic, *partition, record, lengths), place);
        }
        let mut rest = chunk.bytes.as_slice();
        for (topic, partition, record) in &given {
            let packed = Packed::read(rest).unwrap();
            assert_eq!((packed.topic, packed.partition), (*topic, *partition));
            let (got, want) = (packed.record, record);
            assert_eq!((got.key, got.value), (want.key, want.value), "record of topic {topic}");
            assert_eq!(got.timestamp, want.timestamp, "record of topic {topic}");
            let mut lengths = (Vec::new(), Vec::new());
            record::write(&mut Append(&mut lengths.0), &got, 0, 0).unwrap();
            record::write(&mut Append(&mut lengths.1), want, 0, 0).unwrap();
            assert_eq!(lengths.0, lengths.1, "headers of the record of topic {topic}");
            rest = &rest[packed.size..];
        }
        assert!(Packed::read(rest).is_none(), "the end");
    }

    #[test]
    fn failures_that_somebody_heard_of_are_not_told_again() {
        let outcomes = Arc::new(Outcomes::default());
        outcomes.prepare(3);
        let failure = Failure::new(ErrorKind::RecordTooLarge { max: 1 }.into(), 2);
        outcomes.set(1, 2, |_| Outcome::Failed(failure.clone()));
        let waiting = Pending::new(outcomes.clone(), 0);
        assert!(waiting.wait_timeout(core::time::Duration::ZERO).is_err(), "the first waits on");
        assert!(Pending::new(outcomes.clone(), 1).wait().is_err());
        assert_eq!(failure.untold.load(Ordering::Acquire), 1);
        outcomes.close(&ErrorKind::Closed.into());
        let closed = Pending::new(outcomes.clone(), 0).wait().unwrap_err();
        assert_eq!(closed.kind(), ErrorKind::Closed);
        let failed = Pending::new(outcomes, 2).wait().unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::RecordTooLarge { max: 1 }, "known before the end");
    }
}
