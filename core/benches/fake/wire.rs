//! The few messages that the broker in memory reads and writes, each in one version, all flexible:
//! Produce 12, Fetch 12, ListOffsets 7, Metadata 12, InitProducerId 4, ApiVersions 3 to 5.

use super::TOPIC;
use super::alloc::vec::Vec;

/// API keys with the versions that are offered.
const OFFERED: [(i16, i16, i16); 6] =
    [(0, 3, 12), (1, 4, 12), (2, 1, 7), (3, 1, 12), (18, 0, 5), (22, 0, 4)];
const REPLICAS: [i32; 3] = [0, 1, 2];
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

/// Reads bytes that lie in several slices.
pub(super) struct Cursor<'a, I> {
    slices: I,
    rest: &'a [u8],
    /// Bytes read.
    pub(super) read: usize,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Cursor<'a, I> {
    pub(super) fn new(slices: I) -> Self {
        Self { slices, rest: &[], read: 0 }
    }

    /// Length of the next frame; `None` after the last.
    pub(super) fn length(&mut self) -> Option<usize> {
        while self.rest.is_empty() {
            self.rest = self.slices.next()?;
        }
        Some(u32::from_be_bytes(self.take()) as usize)
    }

    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let mut have = 0;
        while have < N {
            let n = self.rest.len().min(N - have);
            bytes[have..have + n].copy_from_slice(&self.rest[..n]);
            self.rest = &self.rest[n..];
            have += n;
            if have < N {
                self.rest = self.slices.next().expect("a whole request");
            }
        }
        self.read += N;
        bytes
    }

    pub(super) fn skip(&mut self, len: usize) {
        let mut left = len;
        while left > self.rest.len() {
            left -= self.rest.len();
            self.rest = self.slices.next().expect("a whole request");
        }
        self.rest = &self.rest[left..];
        self.read += len;
    }

    fn uvarint(&mut self) -> usize {
        let (mut value, mut shift) = (0, 0);
        loop {
            let [byte] = self.take();
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
            shift += 7;
        }
    }

    /// A compact string or compact bytes; also the length of an array.
    fn compact(&mut self) -> usize {
        self.uvarint() - 1
    }

    fn skip_text(&mut self) {
        let len = self.compact();
        self.skip(len);
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }
}

/// An answer being written.
pub(super) struct Frame<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Frame<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>, correlation: i32, tags: bool) -> Self {
        let start = out.len();
        let mut frame = Self { out, start };
        frame.i32(0);
        frame.i32(correlation);
        if tags {
            frame.no_tags();
        }
        frame
    }

    pub(super) fn end(self) {
        let length = (self.out.len() - self.start - 4) as u32;
        self.out[self.start..self.start + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn i16(&mut self, value: i16) {
        self.bytes(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    /// The length of an array or of bytes.
    fn compact(&mut self, len: usize) {
        let mut rest = len + 1;
        while rest > 0x7f {
            self.out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push(rest as u8);
    }

    fn text(&mut self, text: &str) {
        self.compact(text.len());
        self.bytes(text.as_bytes());
    }

    fn null(&mut self) {
        self.out.push(0);
    }

    fn no_tags(&mut self) {
        self.out.push(0);
    }
}

pub(super) fn api_versions(to: &mut Frame<'_>) {
    to.i16(0);
    to.compact(OFFERED.len());
    for (api, min, max) in OFFERED {
        to.i16(api);
        to.i16(min);
        to.i16(max);
        to.no_tags();
    }
    to.i32(0);
    to.no_tags();
}

pub(super) fn producer_id(to: &mut Frame<'_>, id: i64) {
    to.i32(0);
    to.i16(0);
    to.i64(id);
    to.i16(0);
    to.no_tags();
}

pub(super) fn metadata<'a, I: Iterator<Item = &'a [u8]>>(
    from: &mut Cursor<'a, I>,
    to: &mut Frame<'_>,
    partitions: u32,
) {
    let topics = from.compact();
    to.i32(0);
    to.compact(1); // Brokers.
    to.i32(0);
    to.text("localhost");
    to.i32(9092);
    to.null(); // Rack.
    to.no_tags();
    to.null(); // Cluster id.
    to.i32(0);
    to.compact(topics);
    if topics > 0 {
        to.i16(0);
        to.text(TOPIC);
        to.bytes(&[0xa5; 16]);
        to.bytes(&[0]);
        to.compact(partitions as usize);
        for index in 0..partitions {
            to.i16(0);
            to.i32(index as i32);
            to.i32(0); // Leader, and its epoch.
            to.i32(0);
            for _ in ["replicas", "in-sync replicas"] {
                to.compact(REPLICAS.len());
                REPLICAS.iter().for_each(|node| to.i32(*node));
            }
            to.compact(0); // Offline replicas.
            to.no_tags();
        }
        to.i32(i32::MIN);
        to.no_tags();
    }
    to.no_tags();
}

/// Calls `append` with partition and records of each batch, for its base offset; returns the
/// records of all.
pub(super) fn produce<'a, I: Iterator<Item = &'a [u8]>>(
    from: &mut Cursor<'a, I>,
    to: &mut Frame<'_>,
    mut append: impl FnMut(usize, i64) -> i64,
) -> u64 {
    assert_eq!(from.uvarint(), 0, "no transactional id");
    from.skip(2 + 4);
    let topics = from.compact();
    to.compact(topics);
    let mut records = 0;
    for _ in 0..topics {
        from.skip_text();
        to.text(TOPIC);
        let partitions = from.compact();
        to.compact(partitions);
        for _ in 0..partitions {
            let index = from.i32();
            let len = from.compact();
            from.skip(57);
            let count = from.i32();
            from.skip(len - 61 + 1);
            records += u64::from(count.unsigned_abs());
            let base_offset = append(index as usize, i64::from(count));
            to.i32(index);
            to.i16(0);
            to.i64(base_offset);
            to.i64(-1);
            to.i64(0);
            to.compact(0);
            to.null();
            to.no_tags();
        }
        from.skip(1);
        to.no_tags();
    }
    to.i32(0);
    to.no_tags();
    records
}

pub(super) fn list_offsets<'a, I: Iterator<Item = &'a [u8]>>(
    from: &mut Cursor<'a, I>,
    to: &mut Frame<'_>,
    known: u32,
) {
    from.skip(4 + 1);
    let topics = from.compact();
    to.i32(0);
    to.compact(topics);
    for _ in 0..topics {
        from.skip_text();
        to.text(TOPIC);
        let partitions = from.compact();
        to.compact(partitions);
        for _ in 0..partitions {
            let index = from.i32();
            from.skip(4 + 8 + 1);
            let is_known = index < known as i32;
            to.i32(index);
            to.i16(if is_known { 0 } else { UNKNOWN_TOPIC_OR_PARTITION });
            to.i64(-1);
            to.i64(if is_known { 0 } else { -1 });
            to.i32(if is_known { 0 } else { -1 });
            to.no_tags();
        }
        from.skip(1);
        to.no_tags();
    }
    to.no_tags();
}

/// Calls `seek` with partition and offset of all that a Fetch request names.
pub(super) fn fetch_request<'a, I: Iterator<Item = &'a [u8]>>(
    from: &mut Cursor<'a, I>,
    mut seek: impl FnMut(usize, i64),
) {
    from.skip(4 + 4 + 4 + 4 + 1 + 4 + 4);
    for _ in 0..from.compact() {
        from.skip_text();
        for _ in 0..from.compact() {
            let index = from.i32();
            from.skip(4);
            seek(index as usize, i64::from_be_bytes(from.take()));
            from.skip(4 + 8 + 4 + 1);
        }
        from.skip(1);
    }
}

/// A Fetch answer of `per_partition` batches of each partition, and where they are: partition,
/// begin, records.
pub(super) fn fetch_answer(
    partitions: usize,
    batch: &[u8],
    per_partition: usize,
) -> (Vec<u8>, Vec<(usize, usize, i64)>) {
    let (mut out, mut batches) = (Vec::new(), Vec::new());
    let count = batch.get(57..61).and_then(|count| count.try_into().ok()).map(i32::from_be_bytes);
    let records = i64::from(count.unwrap_or(0));
    let mut to = Frame::begin(&mut out, 0, true);
    to.i32(0);
    to.i16(0);
    to.i32(77); // The fetch session.
    to.compact(1);
    to.text(TOPIC);
    to.compact(partitions);
    for partition in 0..partitions {
        to.i32(partition as i32);
        to.i16(0);
        to.i64(i64::MAX);
        to.i64(i64::MAX);
        to.i64(0);
        to.null(); // Aborted transactions.
        to.i32(-1);
        to.compact(batch.len() * per_partition);
        for _ in 0..per_partition {
            batches.push((partition, to.out.len(), records));
            to.bytes(batch);
        }
        to.no_tags();
    }
    to.no_tags();
    to.no_tags();
    to.end();
    (out, batches)
}
