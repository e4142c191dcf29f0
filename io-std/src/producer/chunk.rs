//! Records on their way from the application's threads to the background thread, and the
//! outcomes on their way back: many at a time, in chunks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use kavka_core::record::{self, BatchHeader, Record, Records};
use kavka_core::wire::{Full, Sink};

use super::Delivered;
use crate::error::Error;
use crate::pending::{Slots, lock};

/// No partition of choice.
const ANY: u32 = u32::MAX;
/// No timestamp.
const NO_TIME: i64 = i64::MIN;
/// Topic, partition, bytes of the record, timestamp.
const FIXED: usize = 3 * 4 + 8;
/// Stands over each record alone, to read it.
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

/// Records, one after the other: each as Kafka writes it, with what it lacks in front.
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

impl Chunk {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, count: 0, outcomes: Arc::default() }
    }

    /// Appends a record, `length` of which [`Chunk::length`] told; its place in the chunk.
    pub(super) fn push(
        &mut self,
        topic: u32,
        partition: Option<u32>,
        record: &Record<'_>,
        length: u32,
    ) -> u32 {
        let mut fixed = [0; FIXED];
        let words = [topic, partition.unwrap_or(ANY), length];
        for (to, word) in fixed.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        fixed[12..].copy_from_slice(&record.timestamp.unwrap_or(NO_TIME).to_le_bytes());
        self.bytes.extend_from_slice(&fixed);
        // It fits: the sink takes everything, and the length was found to be possible.
        let _ = record::write(&mut Append(&mut self.bytes), record, 0, 0);
        let place = self.count;
        self.count += 1;
        place
    }

    /// Bytes of `record`; `None` when that is more than a record may have at all.
    pub(super) fn length(record: &Record<'_>) -> Option<u32> {
        let length = record::encoded_len(record, 0, 0);
        u32::try_from(length).ok().filter(|length| *length <= i32::MAX as u32)
    }

    /// Bytes that [`Chunk::push`] takes for a record of this length.
    pub(super) fn size(length: u32) -> usize {
        FIXED + length as usize
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
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let (topic, partition) = (take_u32(&mut rest)?, take_u32(&mut rest)?);
        let length = take_u32(&mut rest)?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let time = i64::from_le_bytes(*time);
        let bytes = rest.get(..length as usize)?;
        let mut record = Records::unpacked(&ALONE, bytes).next()?.ok()?.to_record();
        record.timestamp = (time != NO_TIME).then_some(time);
        let partition = (partition != ANY).then_some(partition);
        Some(Self { topic, partition, record, size: Chunk::size(length) })
    }
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (word, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*word))
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
        ];
        let mut chunk = Chunk::new(Vec::new());
        for (place, (topic, partition, record)) in (0..).zip(&given) {
            let length = Chunk::length(record).unwrap();
            assert_eq!(chunk.push(*topic, *partition, record, length), place);
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
