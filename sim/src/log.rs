//! One replica's log of a partition: batches, leader epochs, producer state, transactions.

mod transactions;

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::batch::{self, Header, Record, Refused};
use super::{code, old};
use transactions::Transactions;

/// Batches a broker remembers per producer (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const BATCHES_TO_RETAIN: usize = 5;
/// Bytes of a log between two entries of its index (`index.interval.bytes`).
const INDEX_STEP: u64 = 4096;

#[derive(Clone, Debug)]
struct Stored {
    base: i64,
    last: i64,
    max_timestamp: i64,
    /// Bytes of the log before this batch, since its beginning.
    position: u64,
    bytes: Bytes,
    /// What consumers get: the same, or a message set of an older format.
    served: Bytes,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

#[derive(Clone, Debug, Default)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Remembered>,
}

/// The outcome of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// Stored; the offset of its first record.
    New(i64),
    /// A retry of a remembered batch; the offset it got the first time.
    Duplicate(i64),
}

/// Log of one partition. Offsets start at 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    batches: VecDeque<Stored>,
    /// Position after the last batch.
    position: u64,
    start: i64,
    end: i64,
    high_watermark: i64,
    /// (epoch, its first offset), both ascending (`LeaderEpochFileCache`).
    epochs: Vec<(i32, i64)>,
    producers: HashMap<i64, Producer>,
    transactions: Transactions,
}

impl Log {
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    pub(crate) fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Returns the offset below which every transaction is over.
    pub(crate) fn stable(&self) -> i64 {
        self.transactions.stable(self.high_watermark)
    }

    /// Returns the end for a reader: of all records, or of those below the last stable offset.
    pub(crate) fn end_for(&self, committed: bool) -> i64 {
        if committed { self.stable() } else { self.high_watermark }
    }

    /// Returns (producer id, first offset) of transactions that were aborted around the `len` bytes
    /// from `offset` on, by their ends. As in Kafka, the index of offsets decides where that is, so
    /// that there are more than needed.
    pub(crate) fn aborted(&self, offset: i64, len: usize) -> Vec<(i64, i64)> {
        let at = |index: usize| self.batches.get(index).map_or(self.position, |b| b.position);
        let end = at(self.find(offset)) + len as u64 + INDEX_STEP;
        let next = self.batches.partition_point(|b| b.position < end);
        let to = self.batches.get(next).map_or(self.end, |b| b.base);
        self.transactions.aborted(offset, to)
    }

    /// Raises the high watermark, at most to the end.
    pub(crate) fn commit(&mut self, to: i64) {
        self.high_watermark = self.high_watermark.max(to.min(self.end));
    }

    /// Records that a leader took over with `epoch`.
    pub(crate) fn begin_epoch(&mut self, epoch: i32) {
        while self.epochs.last().is_some_and(|(_, start)| *start >= self.end) {
            self.epochs.pop();
        }
        self.epochs.push((epoch, self.end));
    }

    /// Stores a checked batch under `epoch`, or recognises a duplicate. `strict`: an unknown
    /// producer has to begin with sequence 0. `old`: the magic of an older format to store
    /// it in, and the offset below which it is.
    pub(crate) fn append(
        &mut self,
        header: &Header,
        bytes: &[u8],
        epoch: i32,
        strict: bool,
        old: Option<(i8, i64)>,
    ) -> Result<Appended, Refused> {
        if let Some(offset) = self.check_sequence(header, strict)? {
            return Ok(Appended::Duplicate(offset));
        }
        let bytes = batch::stamp(bytes, self.end, epoch);
        let old = old.filter(|(_, until)| self.end < *until);
        let converted = old.and_then(|(magic, _)| old::converted(&bytes, magic));
        let served = converted.unwrap_or_else(|| bytes.clone());
        Ok(Appended::New(self.store(header, bytes, served)))
    }

    /// Stores the end of a transaction (`appendEndTxnMarker`): its epoch counts from then on.
    pub(crate) fn append_marker(&mut self, marker: &Bytes, epoch: i32) {
        let Some(header) = Header::read(marker) else { return };
        let bytes = batch::stamp(marker, self.end, epoch);
        self.store(&header, bytes.clone(), bytes);
    }

    /// Stores a batch at the end, and what consumers get of it; returns its offset.
    fn store(&mut self, header: &Header, bytes: Bytes, served: Bytes) -> i64 {
        let base = self.end;
        let last = base + i64::from(header.last_offset_delta);
        let position = self.position;
        self.position += served.len() as u64;
        self.transactions.note(header, &bytes, base);
        let max_timestamp = header.max_timestamp;
        self.batches.push_back(Stored { base, last, max_timestamp, position, bytes, served });
        self.end = last + 1;
        self.remember(header, base);
        base
    }

    /// Lets consumers get the last batch as these bytes.
    pub(crate) fn serve_last_as(&mut self, served: Bytes) {
        if let Some(last) = self.batches.back_mut() {
            self.position = last.position + served.len() as u64;
            last.served = served;
        }
    }

    /// `ProducerAppendInfo.checkSequence` and `ProducerStateEntry.findDuplicateBatch`.
    fn check_sequence(&self, header: &Header, strict: bool) -> Result<Option<i64>, Refused> {
        if header.producer_id < 0 || header.base_sequence < 0 {
            return Ok(None); // also markers, which the coordinator writes
        }
        let Some(known) = self.producers.get(&header.producer_id) else {
            if strict && header.base_sequence != 0 {
                let why = "nothing is left of this producer";
                return Err(Refused { code: code::UNKNOWN_PRODUCER_ID, why });
            }
            return Ok(None); // unknown producers may start anywhere since KIP-360
        };
        if header.producer_epoch < known.epoch {
            let why = "epoch older than the last one seen";
            return Err(Refused { code: code::INVALID_PRODUCER_EPOCH, why });
        }
        let mut expected = 0;
        if header.producer_epoch == known.epoch {
            let same = |b: &&Remembered| {
                b.first_sequence == header.base_sequence
                    && b.last_sequence == header.last_sequence()
            };
            if let Some(duplicate) = known.batches.iter().find(same) {
                return Ok(Some(duplicate.base_offset));
            }
            if let Some(last) = known.batches.back() {
                expected = batch::advance_sequence(last.last_sequence, 1);
            }
        }
        if header.base_sequence != expected {
            return Err(Refused {
                code: code::OUT_OF_ORDER_SEQUENCE_NUMBER,
                why: "sequence is not the next one",
            });
        }
        Ok(None)
    }

    /// Returns whether an unknown producer's sequence would be accepted in the middle.
    pub(crate) fn joins_amid(&self, header: &Header) -> bool {
        header.base_sequence > 0 && !self.producers.contains_key(&header.producer_id)
    }

    fn remember(&mut self, header: &Header, base_offset: i64) {
        if header.producer_id < 0 {
            return;
        }
        let known = self.producers.entry(header.producer_id).or_default();
        if known.epoch != header.producer_epoch {
            known.batches.clear();
            known.epoch = header.producer_epoch;
        }
        if header.base_sequence < 0 || header.is_control() {
            return;
        }
        known.batches.push_back(Remembered {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset,
        });
        if known.batches.len() > BATCHES_TO_RETAIN {
            known.batches.pop_front();
        }
    }

    /// Returns the index of the batch that holds `offset`, or of the first one after it.
    fn find(&self, offset: i64) -> usize {
        self.batches.partition_point(|b| b.last < offset)
    }

    /// Returns the bytes from the batch that holds `offset` on, up to offset `end`.
    pub(crate) fn available(&self, offset: i64, end: i64) -> u64 {
        let position = |index: usize| self.batches.get(index).map_or(self.position, |b| b.position);
        let from = position(self.find(offset));
        position(self.find(end)).saturating_sub(from)
    }

    /// Returns the bytes from the batch that holds `offset` on, up to offset `end`, at most `max`.
    /// As in Kafka, the last batch may be partial. `whole_first`: the first batch (or message of an
    /// older format) is returned even if it is larger than `max`; otherwise nothing is, when it
    /// would be partial.
    pub(crate) fn read(&self, offset: i64, end: i64, max: usize, whole_first: bool) -> Bytes {
        let from = self.find(offset);
        let to = self.find(end).max(from);
        let Some(first) = self.batches.get(from).filter(|_| from < to) else {
            return Bytes::new();
        };
        let first = old::from_offset(&first.served, offset);
        let whole = old::piece(&first);
        let max = if whole_first { max.max(whole) } else { max };
        if whole > max {
            return Bytes::new();
        }
        if to == from + 1 || first.len() >= max {
            return first.slice(..first.len().min(max));
        }
        let mut out = BytesMut::from(&first[..]);
        for stored in self.batches.range(from + 1..to) {
            let room = max - out.len();
            out.extend_from_slice(&stored.served[..stored.served.len().min(room)]);
            if out.len() == max {
                break;
            }
        }
        out.freeze()
    }

    /// Returns (epoch, end offset) for a client's `epoch`; (-1, -1) when unknown
    /// (`LeaderEpochFileCache.endOffsetFor`).
    pub(crate) fn epoch_end(&self, epoch: i32) -> (i32, i64) {
        let Some((latest, _)) = self.epochs.last() else { return (-1, -1) };
        if epoch == *latest {
            return (epoch, self.end);
        }
        let next = self.epochs.partition_point(|(e, _)| *e <= epoch);
        let Some((_, end)) = self.epochs.get(next) else { return (-1, -1) };
        match next.checked_sub(1) {
            Some(floor) => (self.epochs[floor].0, *end),
            None => (epoch, *end),
        }
    }

    /// Returns the leader epoch that `offset` was (or will be) written under.
    pub(crate) fn epoch_at(&self, offset: i64) -> i32 {
        let next = self.epochs.partition_point(|(_, start)| *start <= offset);
        next.checked_sub(1).map_or(-1, |i| self.epochs[i].0)
    }

    /// Returns (timestamp, offset) of the first record not older than `timestamp`, if it is below
    /// `end`. The base offset counts of batches that cannot be opened.
    pub(crate) fn at_time(&self, timestamp: i64, end: i64) -> Option<(i64, i64)> {
        let stored = self.batches.iter().find(|b| b.max_timestamp >= timestamp)?;
        let found = batch::records(&stored.bytes)
            .and_then(|records| records.into_iter().find(|r| r.timestamp >= timestamp))
            .map(|r| (r.timestamp, r.offset))
            .unwrap_or((stored.max_timestamp, stored.base));
        (found.1 < end).then_some(found)
    }

    /// Returns (timestamp, offset) of a record with the largest timestamp.
    pub(crate) fn max_timestamp(&self, end: i64) -> Option<(i64, i64)> {
        let max = self.batches.iter().map(|b| b.max_timestamp).max()?;
        self.at_time(max, end)
    }

    /// Truncates the log to `to` (whole batches), as after an unclean election.
    pub(crate) fn truncate(&mut self, to: i64) {
        while self.batches.back().is_some_and(|b| b.last >= to) {
            if let Some(lost) = self.batches.pop_back() {
                self.end = lost.base;
                self.position = lost.position;
            }
        }
        self.high_watermark = self.high_watermark.min(self.end);
        self.start = self.start.min(self.end);
        let end = self.end;
        self.epochs.retain(|(_, start)| *start < end || *start == 0);
        self.learn_producers();
    }

    /// Forgets all producers (`producer.id.expiration.ms`).
    pub(crate) fn forget_producers(&mut self) {
        self.producers.clear();
    }

    /// Rebuilds the producer state from the log (as `ProducerStateManager` does).
    fn learn_producers(&mut self) {
        self.producers.clear();
        self.transactions.clear();
        let known = |b: &Stored| Some((Header::read(&b.bytes)?, b.bytes.clone(), b.base));
        let known: Vec<_> = self.batches.iter().filter_map(known).collect();
        for (header, bytes, base) in known {
            self.remember(&header, base);
            self.transactions.note(&header, &bytes, base);
        }
    }

    /// Copies `leader`'s log: what differs is truncated, what is missing is appended. The high
    /// watermark rises to the leader's, at most to the end of this log.
    pub(crate) fn follow(&mut self, leader: &Self) {
        let differs = |mine: &Stored| {
            leader
                .batches
                .get(leader.find(mine.base))
                .is_none_or(|theirs| theirs.bytes != mine.bytes)
        };
        let same_end = self.end == leader.end && self.epochs == leader.epochs;
        if self.end < leader.start || self.start > leader.end {
            *self = leader.clone();
        } else if !same_end {
            while let Some(last) = self.batches.back().filter(|last| differs(last)) {
                let base = last.base;
                self.truncate(base);
            }
            for stored in leader.batches.range(leader.find(self.end)..) {
                if let Some(header) = Header::read(&stored.bytes) {
                    self.remember(&header, stored.base);
                    self.transactions.note(&header, &stored.bytes, stored.base);
                }
                self.batches.push_back(stored.clone());
            }
            (self.end, self.position) = (leader.end, leader.position);
            self.epochs.clone_from(&leader.epochs);
        }
        self.trim(leader.start);
        self.high_watermark = self.high_watermark.max(leader.high_watermark.min(self.end));
    }

    /// Returns the offset up to which `other` has the same batches.
    pub(crate) fn agrees_up_to(&self, other: &Self) -> i64 {
        let same = |mine: &&Stored| {
            let theirs = other.batches.get(other.find(mine.base));
            theirs.is_some_and(|theirs| theirs.bytes == mine.bytes)
        };
        let shared = self.batches.iter().rev().find(same).map_or(0, |last| last.last + 1);
        shared.max(self.start.min(other.start))
    }

    /// Returns the current leader epoch and its first offset.
    pub(crate) fn latest_epoch(&self) -> (i32, i64) {
        self.epochs.last().copied().unwrap_or((-1, 0))
    }

    /// Deletes what is below `to` (at most the end), as retention does.
    pub(crate) fn trim(&mut self, to: i64) {
        self.start = self.start.max(to);
        while self.batches.front().is_some_and(|b| b.last < self.start) {
            self.batches.pop_front();
        }
    }

    /// Returns all batches as stored.
    pub(crate) fn batches(&self) -> impl DoubleEndedIterator<Item = &Bytes> {
        self.batches.iter().map(|b| &b.bytes)
    }

    /// Returns all records of batches that can be opened, without markers of transactions.
    pub(crate) fn records(&self) -> Vec<Record> {
        let control = |batch: &&Bytes| Header::read(batch).is_some_and(|of| of.is_control());
        let batches = self.batches().filter(|batch| !control(batch));
        batches.filter_map(batch::records).flatten().collect()
    }

    /// Returns whether a record is part of a transaction that is open, or was aborted.
    pub(crate) fn hides(&self, record: &Record) -> bool {
        let stored = self.batches.get(self.find(record.offset));
        let header = stored.and_then(|stored| Header::read(&stored.bytes));
        header.is_some_and(|header| header.is_transactional())
            && self.transactions.hides(record.producer_id, record.offset)
    }
}
