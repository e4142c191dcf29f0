//! Record batches on their way to the application, many at a time.

use core::ops::Range;
use std::sync::{Arc, Mutex};

use kavka_core::record::{BatchHeader, Headers, Malformed, Records};

use crate::error::{Error, ErrorKind};
use crate::pending::lock;

/// Whole record batches, of one or several partitions, in the order in which they came.
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    pub(super) batches: Vec<Entry>,
    /// Where its buffer goes in the end.
    home: Option<Arc<Spare>>,
}

/// Buffers of chunks that the application is through with, for the next ones.
#[derive(Debug)]
pub(super) struct Spare {
    buffers: Mutex<Vec<Vec<u8>>>,
    /// Bytes of a buffer: of a chunk, and of the batch that makes it full.
    size: usize,
}

/// Buffers that are kept: as many as travel while the application keeps up.
const SPARE: usize = 24;

impl Spare {
    pub(super) fn new(chunk_bytes: usize) -> Self {
        Self { buffers: Mutex::default(), size: chunk_bytes + chunk_bytes / 4 }
    }

    fn get(&self) -> Vec<u8> {
        lock(&self.buffers).pop().unwrap_or_default()
    }

    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut buffers = lock(&self.buffers);
        if buffers.len() < SPARE && buffer.capacity() <= 2 * self.size {
            buffers.push(buffer);
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.put(core::mem::take(&mut self.bytes));
        }
    }
}

impl Clone for Chunk {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), batches: self.batches.clone(), home: None }
    }
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
}

/// A record batch of a [`Chunk`].
#[derive(Clone, Copy, Debug)]
pub struct ChunkBatch<'a> {
    entry: &'a Entry,
    bytes: &'a [u8],
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

impl Chunk {
    /// The records, of each partition in order.
    ///
    /// An item is an error when the batch is malformed inside (its checksum was right); the rest
    /// of that batch is left out.
    pub fn records(&self) -> impl Iterator<Item = Result<Received<'_>, Error>> {
        ChunkRecords { batches: self.batches.iter(), bytes: &self.bytes, at: None }
    }

    /// The batches, one after the other.
    pub fn batches(&self) -> impl Iterator<Item = ChunkBatch<'_>> {
        self.batches.iter().map(|entry| entry.in_chunk(&self.bytes))
    }

    /// Bytes that the chunk holds.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Takes out what is in there, which is to be handed over.
    pub(super) fn take(&mut self, spare: &Arc<Spare>) -> Self {
        let batches = core::mem::take(&mut self.batches);
        // Much memory for few bytes would wait in the queue.
        if self.bytes.len() < self.bytes.capacity() / 4 {
            let bytes = self.bytes.as_slice().to_vec();
            self.bytes.clear();
            return Self { bytes, batches, home: None };
        }
        let bytes = core::mem::replace(&mut self.bytes, spare.get());
        Self { bytes, batches, home: Some(spare.clone()) }
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
        });
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
        let records = Records::new(header, self.bytes).from_offset(*position);
        BatchRecords { entry: self.entry, records }
    }
}

impl Entry {
    fn in_chunk<'a>(&'a self, bytes: &'a [u8]) -> ChunkBatch<'a> {
        ChunkBatch { entry: self, bytes: bytes.get(self.range.clone()).unwrap_or_default() }
    }

    /// A record that cannot be read.
    #[cold]
    fn malformed(&self, why: Malformed) -> Error {
        let why = kavka_core::Unreadable::Malformed(why);
        let (offset, next_offset) = (self.position, self.header.next_offset());
        let error = Error::from(ErrorKind::Unreadable { offset, next_offset, why });
        error.doing(format!("read {}, partition {}", self.topic, self.partition))
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
            Err(why) => Some(Err(self.entry.malformed(why))),
        }
    }
}

/// The records of all batches.
struct ChunkRecords<'a> {
    batches: core::slice::Iter<'a, Entry>,
    bytes: &'a [u8],
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
            self.at = Some(self.batches.next()?.in_chunk(self.bytes).read());
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
        assert_eq!(lock(&spare.buffers).len(), 2, "a copy has no home");
        let (few, _) = fill(100);
        assert!(few.bytes.capacity() < 200, "{} bytes", few.bytes.capacity());
    }
}
