//! Writing records, and the header over them.

#[cfg(feature = "std")]
use super::HeaderRef;
use super::header::{MAGIC, MAX_LENGTH, MIN_LENGTH};
use super::{Crc32c, HEADER_LEN, Headers, varint};
use crate::wire::{Full, Sink};

/// Keys up to this many bytes are gathered with the numbers around them.
const SHORT_KEY: usize = 32;
/// Length, attributes, timestamp delta, offset delta, key length, short key, value length.
const FRONT: usize = varint::MAX_32 + 1 + varint::MAX_64 + 3 * varint::MAX_32 + SHORT_KEY;

/// A record to be produced.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// Key; determines the partition where none is given.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Milliseconds since 1970. `None`: the default of the receiver.
    pub timestamp: Option<i64>,
    pub(super) headers: HeaderList<'a>,
}

impl<'a> Record<'a> {
    /// Creates a record of this value, without key and headers.
    #[must_use]
    pub const fn new(value: &'a [u8]) -> Self {
        Self { value: Some(value), ..Self::tombstone() }
    }

    /// Creates a record without value, which deletes its key from a compacted topic.
    #[must_use]
    pub const fn tombstone() -> Self {
        Self { key: None, value: None, timestamp: None, headers: HeaderList::Slice(&[]) }
    }

    /// Sets the key.
    #[must_use]
    pub const fn key(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets the headers, in order; names may repeat.
    #[must_use]
    pub const fn headers(mut self, headers: &'a [Header<'a>]) -> Self {
        self.headers = HeaderList::Slice(headers);
        self
    }

    /// The same with names that need not be UTF-8, as headers that were read may have them.
    #[cfg(feature = "std")]
    #[must_use]
    pub const fn header_refs(mut self, headers: &'a [HeaderRef<'a>]) -> Self {
        self.headers = HeaderList::Refs(headers);
        self
    }

    /// Iterates over names and values of the headers, in order.
    pub fn each_header(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let (mut made, mut read) = (&[][..], None);
        #[cfg(feature = "std")]
        let mut refs = &[][..];
        match self.headers {
            HeaderList::Slice(headers) => made = headers,
            HeaderList::Raw(headers) => read = Some(headers),
            #[cfg(feature = "std")]
            HeaderList::Refs(headers) => refs = headers,
        }
        let made = made.iter().map(|h| (h.name.as_bytes(), h.value));
        let made = made.chain(read.into_iter().flatten().map(|h| (h.name, h.value)));
        #[cfg(feature = "std")]
        let made = made.chain(refs.iter().map(|h| (h.name, h.value)));
        made
    }

    /// Sets the timestamp, in ms since 1970.
    #[must_use]
    pub const fn timestamp(mut self, ms: i64) -> Self {
        self.timestamp = Some(ms);
        self
    }
}

/// A header of a record to be produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header<'a> {
    /// Name.
    pub name: &'a str,
    /// Value.
    pub value: Option<&'a [u8]>,
}

/// Headers of the caller, or headers that were read.
#[derive(Clone, Copy, Debug)]
pub(super) enum HeaderList<'a> {
    Slice(&'a [Header<'a>]),
    Raw(Headers<'a>),
    #[cfg(feature = "std")]
    Refs(&'a [HeaderRef<'a>]),
}

impl Default for HeaderList<'_> {
    fn default() -> Self {
        Self::Slice(&[])
    }
}

impl HeaderList<'_> {
    #[cfg_attr(feature = "std", inline)]
    fn count(&self) -> usize {
        match self {
            Self::Slice(headers) => headers.len(),
            Self::Raw(headers) => headers.len(),
            #[cfg(feature = "std")]
            Self::Refs(headers) => headers.len(),
        }
    }

    /// Returns the bytes that the headers take, without their count.
    fn encoded_len(&self) -> usize {
        match self {
            Self::Slice(headers) => headers.iter().fold(0_usize, |sum, header| {
                let name = field_len(Some(header.name.as_bytes()));
                sum.saturating_add(name).saturating_add(field_len(header.value))
            }),
            Self::Raw(headers) => headers.bytes.len(),
            #[cfg(feature = "std")]
            Self::Refs(headers) => headers.iter().fold(0_usize, |sum, header| {
                let name = field_len(Some(header.name));
                sum.saturating_add(name).saturating_add(field_len(header.value))
            }),
        }
    }

    fn write(&self, sink: &mut (impl Sink + ?Sized)) -> Result<(), Full> {
        match self {
            Self::Slice(headers) => headers.iter().try_for_each(|header| {
                put_field(sink, Some(header.name.as_bytes()))?;
                put_field(sink, header.value)
            }),
            Self::Raw(headers) => sink.put(headers.bytes),
            #[cfg(feature = "std")]
            Self::Refs(headers) => headers.iter().try_for_each(|header| {
                put_field(sink, Some(header.name))?;
                put_field(sink, header.value)
            }),
        }
    }
}

/// Returns how many bytes [`write()`] appends for this record, the length in front included.
/// `usize::MAX` stands for more than can be counted.
#[must_use]
pub fn encoded_len(record: &Record<'_>, offset_delta: u32, timestamp_delta: i64) -> usize {
    with_length(body_len(record, offset_delta, timestamp_delta))
}

/// Returns the bytes of a record whose length field is `body`.
#[inline]
pub(super) fn with_length(body: usize) -> usize {
    varint::len(number(body)).saturating_add(body)
}

/// Appends a record, to be covered by [`seal`] later. `offset_delta` counts the records of the
/// batch from 0, `timestamp_delta` is in ms from the base timestamp of the batch; the timestamp of
/// `record` itself is ignored.
///
/// # Errors
/// `Full`, when the sink is, when the record is longer than 2^31 - 1 bytes or `offset_delta` is
/// above 2^31 - 1, which the format cannot express. What the sink took before stays there.
#[inline]
pub fn write(
    sink: &mut (impl Sink + ?Sized),
    record: &Record<'_>,
    offset_delta: u32,
    timestamp_delta: i64,
) -> Result<(), Full> {
    let body = body_len(record, offset_delta, timestamp_delta);
    write_body(sink, record, body, offset_delta, timestamp_delta)
}

/// What can be appended to a batch.
#[cfg(feature = "producer")]
pub(crate) trait Content {
    fn key(&self) -> Option<&[u8]>;
    fn timestamp(&self) -> Option<i64>;
    /// See [`encoded_len`].
    fn len(&self, offset_delta: u32, timestamp_delta: i64) -> usize;
    /// [`write()`], where `len` is the result of [`Content::len`] for these deltas: it is not
    /// computed again.
    fn write(
        &self,
        sink: &mut (impl Sink + ?Sized),
        len: usize,
        offset_delta: u32,
        timestamp_delta: i64,
    ) -> Result<(), Full>;
}

#[cfg(feature = "producer")]
impl Content for Record<'_> {
    #[inline]
    fn key(&self) -> Option<&[u8]> {
        self.key
    }

    #[inline]
    fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }

    #[inline]
    fn len(&self, offset_delta: u32, timestamp_delta: i64) -> usize {
        encoded_len(self, offset_delta, timestamp_delta)
    }

    #[inline]
    fn write(
        &self,
        sink: &mut (impl Sink + ?Sized),
        len: usize,
        offset_delta: u32,
        timestamp_delta: i64,
    ) -> Result<(), Full> {
        write_body(sink, self, body_of(len), offset_delta, timestamp_delta)
    }
}

/// Returns the bytes after the length field of a record of `len` bytes. The size of that field
/// depends on what follows it.
#[cfg(feature = "producer")]
#[inline]
fn body_of(len: usize) -> usize {
    let front = (1..varint::MAX_64).find(|front| {
        let body = len.saturating_sub(*front);
        varint::len(number(body)) <= *front
    });
    len.saturating_sub(front.unwrap_or(varint::MAX_64))
}

#[inline]
fn write_body(
    sink: &mut (impl Sink + ?Sized),
    record: &Record<'_>,
    body: usize,
    offset_delta: u32,
    timestamp_delta: i64,
) -> Result<(), Full> {
    write_content(sink, front(body, offset_delta, timestamp_delta)?, record)
}

/// Writes what precedes the key: length, attributes and deltas.
///
/// # Errors
/// `Full`, when the format cannot express them.
#[inline]
pub(super) fn front(body: usize, offset_delta: u32, timestamp_delta: i64) -> Result<Small, Full> {
    if i32::try_from(body).is_err() || i32::try_from(offset_delta).is_err() {
        return Err(Full);
    }
    Ok(Small::numbers(body, 0, timestamp_delta, i64::from(offset_delta)))
}

/// Appends what was gathered for the front of a record, and its key, value and headers.
#[inline]
pub(super) fn write_content(
    sink: &mut (impl Sink + ?Sized),
    mut front: Small,
    record: &Record<'_>,
) -> Result<(), Full> {
    front.number(length(record.key));
    match record.key {
        Some(key) if key.len() > SHORT_KEY => {
            sink.put(front.bytes())?;
            front = Small::new();
            sink.put(key)?;
        }
        Some(key) => front.push(key),
        None => {}
    }
    front.number(length(record.value));
    sink.put(front.bytes())?;
    if let Some(value) = record.value {
        sink.put(value)?;
    }
    let count = record.headers.count();
    if count == 0 {
        return sink.put(&[0]);
    }
    put_number(sink, number(count))?;
    record.headers.write(sink)
}

/// The fields of a batch header that describe its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Producer id, -1 for none.
    pub producer_id: i64,
    /// Producer epoch, -1 for none.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 for none.
    pub base_sequence: i32,
    /// Records, 1 to 2^31 - 1; their offset deltas are 0 to `count - 1`.
    pub count: u32,
    /// What the timestamp deltas add to, in ms: the timestamp of the first record.
    pub base_timestamp: i64,
    /// The largest timestamp, in ms.
    pub max_timestamp: i64,
    /// Whether the batch is part of a transaction.
    pub transactional: bool,
    /// Compression of the records: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub codec: u8,
}

/// Returns the header of a batch whose records are `records`, in pieces: base offset 0, leader
/// epoch -1 (the broker writes both), length and checksum over all pieces.
///
/// `None`, when the format cannot express it: no records, more than 2^31 - 1 of them, a codec
/// above 4, or a batch of more than 2^31 - 1 bytes.
#[must_use]
pub fn seal<'a>(seal: &Seal, records: impl Iterator<Item = &'a [u8]>) -> Option<[u8; HEADER_LEN]> {
    let count = i32::try_from(seal.count).ok()?;
    let last_offset_delta = count.checked_sub(1).filter(|last| *last >= 0)?;
    if seal.codec > 4 {
        return None;
    }
    let attributes = i16::from(seal.codec) | (i16::from(seal.transactional) << 4);

    let mut covered = Small::new();
    covered.push(&attributes.to_be_bytes());
    covered.push(&last_offset_delta.to_be_bytes());
    covered.push(&seal.base_timestamp.to_be_bytes());
    covered.push(&seal.max_timestamp.to_be_bytes());
    covered.push(&seal.producer_id.to_be_bytes());
    covered.push(&seal.producer_epoch.to_be_bytes());
    covered.push(&seal.base_sequence.to_be_bytes());
    covered.push(&count.to_be_bytes());

    let mut crc = Crc32c::new();
    crc.update(covered.bytes());
    let mut length = MIN_LENGTH;
    for piece in records {
        length = length.checked_add(i32::try_from(piece.len()).ok()?)?;
        crc.update(piece);
    }
    if length > MAX_LENGTH {
        return None;
    }
    let mut header = Small::new();
    header.push(&0_i64.to_be_bytes());
    header.push(&length.to_be_bytes());
    header.push(&(-1_i32).to_be_bytes());
    header.push(&[MAGIC]);
    header.push(&crc.finish().to_be_bytes());
    header.push(covered.bytes());
    header.bytes.first_chunk().copied()
}

/// Gathers what is small: the front of a record, or a header.
pub(crate) struct Small {
    bytes: [u8; SMALL],
    len: usize,
}

const SMALL: usize = if FRONT > HEADER_LEN { FRONT } else { HEADER_LEN };

impl Small {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; SMALL], len: 0 }
    }

    /// Writes the start of a record, up to its offset delta; `body` bytes follow its length.
    #[inline]
    pub(super) fn numbers(
        body: usize,
        attributes: u8,
        timestamp_delta: i64,
        offset_delta: i64,
    ) -> Self {
        let mut front = Self::new();
        front.number(number(body));
        front.push(&[attributes]);
        front.number(timestamp_delta);
        front.number(offset_delta);
        front
    }

    /// The same for a record of which `rest` bytes follow its offset delta.
    #[cfg(feature = "producer")]
    pub(crate) fn front(
        attributes: u8,
        timestamp_delta: i64,
        offset_delta: i64,
        rest: usize,
    ) -> Self {
        let numbers = 1 + varint::len(timestamp_delta) + varint::len(offset_delta);
        Self::numbers(numbers.saturating_add(rest), attributes, timestamp_delta, offset_delta)
    }

    #[cfg_attr(feature = "std", inline)]
    #[cfg_attr(not(feature = "std"), inline(never))]
    fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        if let Some(room) = room.get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    #[cfg_attr(feature = "std", inline)]
    #[cfg_attr(not(feature = "std"), inline(never))]
    fn number(&mut self, value: i64) {
        // Nearly all of them are short.
        match varint::zigzag(value) {
            raw @ 0..0x80 => return self.push(&[raw as u8]),
            raw @ 0x80..0x4000 => return self.push(&[raw as u8 | 0x80, (raw >> 7) as u8]),
            _ => {}
        }
        let (bytes, len) = varint::encode(value);
        self.push(bytes.get(..len).unwrap_or_default());
    }

    #[cfg_attr(feature = "std", inline)]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[inline]
fn body_len(record: &Record<'_>, offset_delta: u32, timestamp_delta: i64) -> usize {
    numbers_len(offset_delta, timestamp_delta).saturating_add(content_len(record))
}

/// Returns the bytes of attributes and deltas.
#[inline]
pub(super) fn numbers_len(offset_delta: u32, timestamp_delta: i64) -> usize {
    1 + varint::len(timestamp_delta) + varint::len(i64::from(offset_delta))
}

/// Returns the bytes of key, value and headers.
#[inline]
pub(super) fn content_len(record: &Record<'_>) -> usize {
    let headers = match record.headers.count() {
        0 => 1,
        count => varint::len(number(count)).saturating_add(record.headers.encoded_len()),
    };
    field_len(record.key).saturating_add(field_len(record.value)).saturating_add(headers)
}

/// Returns the bytes of a length and the field itself.
#[cfg_attr(feature = "std", inline)]
#[cfg_attr(not(feature = "std"), inline(never))]
fn field_len(field: Option<&[u8]>) -> usize {
    varint::len(length(field)).saturating_add(field.map_or(0, <[u8]>::len))
}

fn put_field(sink: &mut (impl Sink + ?Sized), field: Option<&[u8]>) -> Result<(), Full> {
    put_number(sink, length(field))?;
    field.map_or(Ok(()), |bytes| sink.put(bytes))
}

fn put_number(sink: &mut (impl Sink + ?Sized), value: i64) -> Result<(), Full> {
    let (bytes, len) = varint::encode(value);
    sink.put(bytes.get(..len).unwrap_or_default())
}

/// Returns a field's length as encoded, -1 for null.
#[cfg_attr(feature = "std", inline)]
fn length(field: Option<&[u8]>) -> i64 {
    field.map_or(-1, |bytes| number(bytes.len()))
}

/// No slice is longer than `isize::MAX`.
#[cfg_attr(feature = "std", inline)]
pub(super) fn number(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

#[cfg(all(test, feature = "producer"))]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_body_is_found_from_that_of_the_record() {
        for body in (0..20_000).chain((1 << 20) - 50..(1 << 20) + 50).chain([usize::MAX >> 2]) {
            let len = varint::len(number(body)) + body;
            assert_eq!(body_of(len), body, "{len}");
        }
    }
}
