//! A batch built field by field, valid or not, with separate code.

use kavka_core::record::{
    BatchHeader, Malformed, PEEK_LEN, Record, RecordRef, Records, peek_len, write,
};
use kavka_core::wire::{Full, Sink};

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl From<RecordRef<'_>> for Owned {
    fn from(record: RecordRef<'_>) -> Self {
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .map(|header| (header.name.to_vec(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

/// A sink that grows.
#[derive(Default)]
pub(crate) struct Grow(pub(crate) Vec<u8>);

impl Sink for Grow {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// A sink with space for this many bytes.
pub(crate) struct Bounded(pub(crate) Vec<u8>, pub(crate) usize);

impl Sink for Bounded {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if self.0.len() + bytes.len() > self.1 {
            return Err(Full);
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

pub(crate) fn encode(record: &Record<'_>, offset_delta: u32, timestamp_delta: i64) -> Vec<u8> {
    let mut sink = Grow::default();
    write(&mut sink, record, offset_delta, timestamp_delta).expect("this sink is never full");
    sink.0
}

/// Returns all records of a batch, or those before an error and the error.
pub(crate) fn read_all(batch: &[u8]) -> (Vec<Owned>, Option<Malformed>) {
    let header = match BatchHeader::parse(batch) {
        Ok(header) => header,
        Err(why) => return (Vec::new(), Some(why)),
    };
    collect(Records::new(&header, batch))
}

pub(crate) fn collect(mut records: Records<'_>) -> (Vec<Owned>, Option<Malformed>) {
    let mut all = Vec::new();
    while let Some(record) = records.next() {
        match record {
            Ok(record) => all.push(record.into()),
            Err(why) => {
                assert!(records.next().is_none(), "continues after {why:?}");
                return (all, Some(why));
            }
        }
    }
    assert!(records.next().is_none(), "continues after its end");
    (all, None)
}

/// Splits a record set into batches and old messages. Also returns the length of the incomplete
/// tail.
pub(crate) fn split(mut set: &[u8]) -> (Vec<&[u8]>, usize) {
    let mut all = Vec::new();
    while let Some(front) = set.first_chunk::<PEEK_LEN>() {
        // Small messages of magic 0 and 1 are shorter than a batch.
        let old = usize::from(set.get(16).is_some_and(|magic| *magic < 2))
            * (12 + i32::from_be_bytes([front[8], front[9], front[10], front[11]]) as usize);
        let len = if old > 0 { old } else { peek_len(front).expect("plausible length") };
        let Some((batch, rest)) = set.split_at_checked(len) else { break };
        all.push(batch);
        set = rest;
    }
    (all, set.len())
}

/// The fields of a batch. The defaults are those of one written by a producer.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) base_offset: i64,
    /// `None`: the correct one.
    pub(crate) length: Option<i32>,
    pub(crate) magic: u8,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) count: i32,
    pub(crate) body: Vec<u8>,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            base_offset: 0,
            length: None,
            magic: 2,
            attributes: 0,
            last_offset_delta: 0,
            base_timestamp: 1000,
            max_timestamp: 1000,
            count: 1,
            body: Vec::new(),
        }
    }
}

impl Raw {
    /// Returns the bytes, with a matching checksum.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut covered = Vec::new();
        covered.extend(self.attributes.to_be_bytes());
        covered.extend(self.last_offset_delta.to_be_bytes());
        covered.extend(self.base_timestamp.to_be_bytes());
        covered.extend(self.max_timestamp.to_be_bytes());
        covered.extend((-1_i64).to_be_bytes());
        covered.extend((-1_i16).to_be_bytes());
        covered.extend((-1_i32).to_be_bytes());
        covered.extend(self.count.to_be_bytes());
        covered.extend(&self.body);
        let length = self.length.unwrap_or(9 + covered.len() as i32);

        let mut bytes = Vec::new();
        bytes.extend(self.base_offset.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend((-1_i32).to_be_bytes());
        bytes.push(self.magic);
        bytes.extend(crc32c(&covered).to_be_bytes());
        bytes.extend(covered);
        bytes
    }
}

/// Computes CRC-32C, bit by bit.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)))
    })
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "odd hex {text}");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits"))
        .collect()
}
