//! Record batches on their way to the application, many at a time.

use core::ops::Range;
use std::sync::Arc;

use kavka_core::record::{BatchHeader, Headers, Records};

use crate::error::{Error, ErrorKind};

/// Whole record batches, of one or several partitions, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    pub(super) batches: Vec<Entry>,
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
        self.batches().flat_map(|batch| batch.records())
    }

    /// The batches, one after the other.
    pub fn batches(&self) -> impl Iterator<Item = ChunkBatch<'_>> {
        self.batches.iter().map(|entry| ChunkBatch {
            entry,
            bytes: self.bytes.get(entry.range.clone()).unwrap_or_default(),
        })
    }

    /// Bytes that the chunk holds.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a batch of this topic and partition.
    pub(super) fn push(
        &mut self,
        topic: &Arc<str>,
        partition: u32,
        epoch: u32,
        batch: &kavka_core::Batch<'_>,
    ) {
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
        let Entry { topic, partition, position, header, .. } = self.entry;
        let records = Records::new(header, self.bytes).from_offset(*position);
        records.map(move |record| match record {
            Ok(record) => Ok(Received {
                topic,
                partition: *partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: record.headers,
            }),
            Err(why) => {
                let why = kavka_core::Unreadable::Malformed(why);
                let (offset, next_offset) = (*position, header.next_offset());
                let error = Error::from(ErrorKind::Unreadable { offset, next_offset, why });
                Err(error.doing(format!("read {topic}, partition {partition}")))
            }
        })
    }
}
