//! Record batches on their way to the application, many at a time.

use core::ops::Range;
use std::sync::{Arc, Mutex};

use kavka_core::codec::{Codec, Fault};
use kavka_core::record::{
    BatchHeader, Damage, HEADER_LEN, Headers, Malformed, Record, RecordRef, Records, check_records,
};

use crate::codec::Decoders;
use crate::error::{Error, ErrorKind};
use crate::pending::lock;

/// Whole record batches, of one or several partitions, in the order in which they came.
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    pub(super) batches: Vec<Entry>,
    /// Records that were compressed, and what earlier chunks left behind them.
    unpacked: Vec<u8>,
    /// Where its buffer goes in the end.
    home: Option<Arc<Spare>>,
}

/// Buffers of chunks that the application is through with, for the next ones.
#[derive(Debug)]
pub(super) struct Spare {
    buffers: Pool,
    /// Those that batches are unpacked to.
    unpacked: Pool,
    /// Bytes of a buffer: of a chunk, and of the batch that makes it full.
    size: usize,
}

/// Buffers that are kept: as many as travel while the application keeps up.
const SPARE: usize = 24;
/// Buffers with unpacked records that are kept: one is at the application's, one is filled.
const SPARE_UNPACKED: usize = 4;
/// A chunk has unpacked records of so many times the bytes of a packed one, and of the batch that
/// makes it full.
const UNPACKED: usize = 16;

/// Buffers to be used again.
#[derive(Debug, Default)]
struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn get(&self) -> Vec<u8> {
        lock(&self.0).pop().unwrap_or_default()
    }

    /// Keeps the buffer, unless there are `most` or it takes more than `bytes`.
    fn put(&self, buffer: Vec<u8>, most: usize, bytes: usize) {
        let mut buffers = lock(&self.0);
        if buffers.len() < most && buffer.capacity() <= bytes {
            buffers.push(buffer);
        }
    }
}

impl Spare {
    pub(super) fn new(chunk_bytes: usize) -> Self {
        let size = chunk_bytes + chunk_bytes / 4;
        Self { buffers: Pool::default(), unpacked: Pool::default(), size }
    }

    /// Bytes of unpacked records after which a chunk is full.
    fn enough(&self) -> usize {
        UNPACKED * self.size
    }

    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.buffers.put(buffer, SPARE, 2 * self.size);
    }

    /// Its bytes stay: to set them to zero again would cost as much as to unpack them.
    fn put_unpacked(&self, buffer: Vec<u8>) {
        self.unpacked.put(buffer, SPARE_UNPACKED, 2 * self.enough());
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.put(core::mem::take(&mut self.bytes));
            if !self.unpacked.is_empty() {
                home.put_unpacked(core::mem::take(&mut self.unpacked));
            }
        }
    }
}

impl Clone for Chunk {
    fn clone(&self) -> Self {
        let (bytes, unpacked) = (self.bytes.clone(), self.unpacked.clone());
        Self { bytes, batches: self.batches.clone(), unpacked, home: None }
    }
}

/// What became of a batch that was to be unpacked.
pub(super) enum Unpacked {
    Whole,
    /// The records before this error, where the batch ends now.
    Part(Error),
    Nothing(Error),
}

/// A batch in a chunk.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    /// Changes with every seek and pause: what was fetched before them is not delivered.
    pub(super) epoch: u32,
    pub(super) position: i64,
    pub(super) next_offset: i64,
    high_watermark: i64,
    header: BatchHeader,
    range: Range<usize>,
    /// Where its records are, if they were compressed.
    unpacked: Option<Range<usize>>,
}

/// A record batch of a [`Chunk`].
#[derive(Clone, Copy, Debug)]
pub struct ChunkBatch<'a> {
    entry: &'a Entry,
    bytes: &'a [u8],
    unpacked: &'a [u8],
}

/// A record that was read. The bytes lie in the [`Chunk`].
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: u32,
    /// Its offset there.
    pub offset: i64,
    /// Milliseconds since 1970, -1 for none.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

impl<'a> Received<'a> {
    /// Returns the same record to be sent again. Headers are copied unchanged.
    #[must_use]
    pub const fn to_record(&self) -> Record<'a> {
        let Self { offset, timestamp, key, value, headers, .. } = *self;
        RecordRef { offset, timestamp, key, value, headers }.to_record()
    }
}

/// An offset to be committed.
pub(super) struct Commit {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    pub(super) offset: i64,
    /// Leader epoch of the record before it, -1 for unknown.
    pub(super) epoch: i32,
    pub(super) text: Box<str>,
}

impl Chunk {
    /// Where each partition continues after the chunk.
    pub(super) fn ends(&self) -> Vec<Commit> {
        let mut ends: Vec<Commit> = Vec::new();
        for entry in &self.batches {
            let (offset, epoch) = (entry.next_offset, entry.header.partition_leader_epoch);
            let known =
                |end: &&mut Commit| end.partition == entry.partition && end.topic == entry.topic;
            if let Some(end) = ends.iter_mut().rev().find(known) {
                (end.offset, end.epoch) = (offset, epoch);
                continue;
            }
            let (topic, partition) = (entry.topic.clone(), entry.partition);
            ends.push(Commit { topic, partition, offset, epoch, text: Box::default() });
        }
        ends
    }

    /// The records, of each partition in order.
    ///
    /// Of a batch that is malformed inside, although its checksum is right, the chunk has those
    /// before the damage. The error comes from the next call to the consumer, and the partition
    /// waits there for a seek; so no item is an error with the default features of `kavka-core`.
    pub fn records(&self) -> impl Iterator<Item = Result<Received<'_>, Error>> {
        ChunkRecords { batches: self.batches.iter(), chunk: self, at: None }
    }

    /// The batches, one after the other.
    pub fn batches(&self) -> impl Iterator<Item = ChunkBatch<'_>> {
        self.batches.iter().map(|entry| entry.in_chunk(self))
    }

    /// Bytes that the chunk holds, as they were on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the content out, to be handed over.
    pub(super) fn take(&mut self, spare: &Arc<Spare>) -> Self {
        let batches = core::mem::take(&mut self.batches);
        // Much memory for few bytes would wait in the queue.
        if self.bytes.len() < self.bytes.capacity() / 4 {
            let bytes = self.bytes.as_slice().to_vec();
            self.bytes.clear();
            return Self { bytes, batches, unpacked: Vec::new(), home: Some(spare.clone()) };
        }
        let bytes = core::mem::replace(&mut self.bytes, spare.buffers.get());
        Self { bytes, batches, unpacked: Vec::new(), home: Some(spare.clone()) }
    }

    /// Appends a batch of this topic and partition.
    pub(super) fn push(
        &mut self,
        spare: &Spare,
        topic: &Arc<str>,
        partition: u32,
        epoch: u32,
        batch: &kavka_core::Batch<'_>,
    ) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(spare.size);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(batch.bytes());
        self.batches.push(Entry {
            topic: topic.clone(),
            partition,
            epoch,
            position: batch.position(),
            next_offset: batch.next_offset(),
            high_watermark: batch.high_watermark(),
            header: *batch.header(),
            range: start..self.bytes.len(),
            unpacked: None,
        });
    }

    /// Whether some batch has to be unpacked.
    pub(super) fn is_packed(&self) -> bool {
        self.batches.iter().any(Entry::is_packed)
    }

    /// Unpacks batches until there are enough records for a chunk, and checks their records.
    /// Returns how each went, in order; the batches behind these are left for later.
    pub(super) fn unpack(
        &mut self,
        spare: &Spare,
        decoders: &mut Decoders,
        limit: usize,
    ) -> Vec<Unpacked> {
        let (enough, mut end) = (spare.enough(), 0);
        let mut buffer = spare.unpacked.get();
        let mut done = Vec::with_capacity(self.batches.len());
        for entry in &mut self.batches {
            if end >= enough {
                break;
            }
            if !entry.is_packed() {
                done.push(Unpacked::Whole);
                continue;
            }
            let all = self.bytes.get(entry.range.clone()).unwrap_or_default();
            let packed = entry.header.body(all);
            let id = entry.header.codec();
            let unpacked = match Codec::from_id(id) {
                Some(codec) => decoders
                    .unpack_batch((codec, &entry.header), packed, &mut buffer, end, limit)
                    .map_err(|why| entry.not_unpacked(codec, packed.len(), limit, why)),
                // The machine hands out no others.
                None => Err(entry.malformed(entry.position, Malformed::Compressed(id))),
            };
            done.push(match unpacked {
                Ok(len) => {
                    let records = end..end + len;
                    end += len;
                    entry.check(records, &buffer)
                }
                Err(error) => Unpacked::Nothing(error),
            });
        }
        self.unpacked = buffer;
        done
    }

    /// Takes out the batches from the `n`-th on, which were not unpacked.
    pub(super) fn split_off(&mut self, n: usize) -> Option<Self> {
        let mut batches = self.batches.split_off(n);
        let start = batches.first()?.range.start;
        let bytes = self.bytes.get(start..).unwrap_or_default().to_vec();
        for entry in &mut batches {
            entry.range = entry.range.start - start..entry.range.end - start;
        }
        Some(Self { bytes, batches, unpacked: Vec::new(), home: self.home.clone() })
    }
}

impl<'a> ChunkBatch<'a> {
    /// Its topic.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        &self.entry.topic
    }

    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.entry.partition
    }

    /// The position after this batch.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.entry.next_offset
    }

    /// End of what consumers may read, as the leader said with this batch.
    #[must_use]
    pub fn high_watermark(&self) -> i64 {
        self.entry.high_watermark
    }

    /// Its header. Of a message set of magic 0 or 1 what there is of the fields (`Magic`).
    #[must_use]
    pub fn header(&self) -> &'a BatchHeader {
        &self.entry.header
    }

    /// The whole batch as it was on the wire.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its records from the position on.
    pub fn records(&self) -> impl Iterator<Item = Result<Received<'a>, Error>> + use<'a> {
        self.read()
    }

    fn read(&self) -> BatchRecords<'a> {
        let Entry { header, position, .. } = self.entry;
        let records = match self.entry.unpacked {
            Some(_) => Records::unpacked(header, self.unpacked),
            None => Records::new(header, self.bytes),
        };
        BatchRecords { entry: self.entry, records: records.from_offset(*position) }
    }
}

impl Entry {
    /// Where the partition continues after it, and the leader epoch of its records.
    pub(super) fn end(&self) -> (i64, Option<i32>) {
        (self.next_offset, Some(self.header.partition_leader_epoch))
    }

    fn in_chunk<'a>(&'a self, chunk: &'a Chunk) -> ChunkBatch<'a> {
        let bytes = chunk.bytes.get(self.range.clone()).unwrap_or_default();
        let unpacked = self.unpacked.clone().and_then(|range| chunk.unpacked.get(range));
        ChunkBatch { entry: self, bytes, unpacked: unpacked.unwrap_or_default() }
    }

    fn is_packed(&self) -> bool {
        self.header.codec() != 0 && self.unpacked.is_none()
    }

    /// Checks the records in a range of `buffer`, which were packed.
    fn check(&mut self, records: Range<usize>, buffer: &[u8]) -> Unpacked {
        let body = buffer.get(records.clone()).unwrap_or_default();
        let Err(Damage { why, sound, .. }) = check_records(&self.header, body) else {
            self.unpacked = Some(records);
            return Unpacked::Whole;
        };
        let next = sound.next_offset();
        let error = self.malformed(next.max(self.position), why);
        if next <= self.position {
            return Unpacked::Nothing(error);
        }
        let len = sound.total_len().saturating_sub(HEADER_LEN).min(records.len());
        self.unpacked = Some(records.start..records.start + len);
        (self.header, self.next_offset) = (sound, next);
        Unpacked::Part(error)
    }

    /// A batch that is not what it was when it was packed, or too large.
    #[cold]
    fn not_unpacked(&self, codec: Codec, packed: usize, limit: usize, why: Fault) -> Error {
        let (offset, next_offset) = (self.position, self.header.next_offset());
        let kind = ErrorKind::Unpack { offset, next_offset, codec, packed, limit, why };
        Error::from(kind).reading(&self.topic, self.partition)
    }

    /// A record that cannot be read.
    #[cold]
    fn malformed(&self, offset: i64, why: Malformed) -> Error {
        let why = kavka_core::Unreadable::Malformed(why);
        let next_offset = self.header.next_offset();
        let error = Error::from(ErrorKind::Unreadable { offset, next_offset, why });
        error.reading(&self.topic, self.partition)
    }
}

/// The records of a batch.
struct BatchRecords<'a> {
    entry: &'a Entry,
    records: Records<'a>,
}

impl<'a> Iterator for BatchRecords<'a> {
    type Item = Result<Received<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.records.next()? {
            Ok(record) => Some(Ok(Received {
                topic: &self.entry.topic,
                partition: self.entry.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: record.headers,
            })),
            Err(why) => Some(Err(self.entry.malformed(self.entry.position, why))),
        }
    }
}

/// The records of all batches.
struct ChunkRecords<'a> {
    batches: core::slice::Iter<'a, Entry>,
    chunk: &'a Chunk,
    at: Option<BatchRecords<'a>>,
}

impl<'a> Iterator for ChunkRecords<'a> {
    type Item = Result<Received<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.at.as_mut().and_then(Iterator::next) {
                return Some(record);
            }
            self.at = Some(self.batches.next()?.in_chunk(self.chunk).read());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_buffers_are_used_again_and_few_bytes_get_a_small_one() {
        let spare = Arc::new(Spare::new(1000));
        let mut open = Chunk::default();
        let mut fill = |bytes: usize| {
            open.bytes.reserve(spare.size);
            let at = open.bytes.as_ptr();
            open.bytes.resize(bytes, 7);
            let full = open.take(&spare);
            assert_eq!((full.size(), open.size()), (bytes, 0));
            (full, at)
        };
        let (full, first) = fill(1000);
        let copy = full.clone();
        drop(full);
        let (full, second) = fill(1000);
        assert_ne!(second, first, "taken while that was in use");
        let (full_again, third) = fill(1000);
        assert_eq!(third, first);
        drop((full, full_again, copy));
        assert_eq!(lock(&spare.buffers.0).len(), 2, "a copy has no home");
        let (few, _) = fill(100);
        assert!(few.bytes.capacity() < 200, "{} bytes", few.bytes.capacity());
    }

    #[test]
    fn buffers_of_unpacked_records_are_used_again_unless_they_are_huge() {
        let spare = Arc::new(Spare::new(100));
        let enough = spare.enough();
        let full = |bytes: usize| {
            let mut chunk = Chunk::default();
            (chunk.unpacked, chunk.home) = (vec![1; bytes], Some(spare.clone()));
            chunk
        };
        drop(full(2 * enough + 1));
        assert_eq!(lock(&spare.unpacked.0).len(), 0, "too large to be kept");
        let kept = full(2 * enough);
        let at = kept.unpacked.as_ptr();
        drop(kept);
        let again = spare.unpacked.get();
        assert_eq!((again.as_ptr(), again.len()), (at, 2 * enough), "and not cleared");
        (0..2 * SPARE_UNPACKED).map(|_| full(1)).collect::<Vec<_>>().clear();
        assert_eq!(lock(&spare.unpacked.0).len(), SPARE_UNPACKED);
    }
}
