//! Record batches v2 as a broker checks and stores them (`DefaultRecordBatch`, `LogValidator`).

use bytes::{BufMut, Bytes, BytesMut};

use super::{code, packed};

/// Bytes before the first record.
pub const HEADER: usize = 61;

/// Bit of the attributes of a batch that belongs to a transaction.
pub const TRANSACTIONAL: i16 = 0x10;
/// Bit of the attributes of a batch that holds a marker.
pub const CONTROL: i16 = 0x20;

/// The fields of a batch header, as read from its 61 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes of the whole batch, including the offset and length fields.
    pub size: usize,
    /// Leader epoch that the broker wrote; -1 from a producer.
    pub leader_epoch: i32,
    /// 2 for this format.
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec in bits 0-2, log append time 3, transactional 4, control 5.
    pub attributes: i16,
    /// Offset of the last record minus that of the first.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, in milliseconds since 1970.
    pub base_timestamp: i64,
    /// The largest timestamp in the batch.
    pub max_timestamp: i64,
    /// -1 without idempotence.
    pub producer_id: i64,
    /// -1 without idempotence.
    pub producer_epoch: i16,
    /// Sequence of the first record; -1 without idempotence.
    pub base_sequence: i32,
    /// Records present.
    pub count: i32,
}

impl Header {
    /// Reads the header at the front of `bytes`; `None` for fewer than 61 bytes.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let at = |from: usize, len: usize| bytes.get(from..from + len);
        let int32 = |from| Some(i32::from_be_bytes(at(from, 4)?.try_into().ok()?));
        let int64 = |from| Some(i64::from_be_bytes(at(from, 8)?.try_into().ok()?));
        let int16 = |from| Some(i16::from_be_bytes(at(from, 2)?.try_into().ok()?));
        at(0, HEADER)?;
        Some(Self {
            base_offset: int64(0)?,
            size: usize::try_from(int32(8)?).ok()?.checked_add(12)?,
            leader_epoch: int32(12)?,
            magic: i8::from_be_bytes([*bytes.get(16)?]),
            crc: u32::from_be_bytes(at(17, 4)?.try_into().ok()?),
            attributes: int16(21)?,
            last_offset_delta: int32(23)?,
            base_timestamp: int64(27)?,
            max_timestamp: int64(35)?,
            producer_id: int64(43)?,
            producer_epoch: int16(51)?,
            base_sequence: int32(53)?,
            count: int32(57)?,
        })
    }

    /// Returns the codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    #[must_use]
    pub fn codec(&self) -> i16 {
        self.attributes & 7
    }

    /// Returns whether it belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Returns whether it holds a marker.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Returns the sequence of the last record; wraps from 2^31-1 to 0 (`incrementSequence`).
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        advance_sequence(self.base_sequence, self.last_offset_delta)
    }
}

/// Returns `sequence` plus `by`, wrapping from 2^31-1 to 0.
#[must_use]
pub fn advance_sequence(sequence: i32, by: i32) -> i32 {
    if sequence < 0 {
        return sequence;
    }
    let sum = i64::from(sequence) + i64::from(by);
    i32::try_from(sum % (1 << 31)).unwrap_or(0)
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Absolute offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The key, `None` for null.
    pub key: Option<Bytes>,
    /// The value, `None` for null.
    pub value: Option<Bytes>,
    /// Headers in order; values may be null.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Producer id of the batch, -1 for none.
    pub producer_id: i64,
    /// Sequence of this record, -1 for none.
    pub sequence: i32,
}

/// Why a broker refuses a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Kafka error code.
    pub code: i16,
    /// Text for the response's error message.
    pub why: &'static str,
}

const fn refused(code: i16, why: &'static str) -> Refused {
    Refused { code, why }
}

/// Checks what a producer sent for one partition: exactly one valid batch (`ProduceRequest`
/// `validateRecords`, `LogValidator`). Stricter than Kafka in one point: a wrong max timestamp is
/// refused, because it would be an error of the client under test.
///
/// # Errors
/// The error code and message of the broker's response.
pub fn check(bytes: &[u8], produce_version: i16, max_size: usize) -> Result<Header, Refused> {
    if bytes.get(16).is_some_and(|magic| *magic != 2) {
        return Err(refused(code::INVALID_RECORD, "Produce v3+ carries magic 2 only"));
    }
    let header =
        Header::read(bytes).ok_or(refused(code::CORRUPT_MESSAGE, "no whole batch header"))?;
    if header.size < HEADER || header.size > bytes.len() {
        return Err(refused(code::CORRUPT_MESSAGE, "batch length out of the request's bounds"));
    }
    if header.size < bytes.len() {
        return Err(refused(code::INVALID_RECORD, "more than one batch, or bytes behind it"));
    }
    if header.size > max_size {
        return Err(refused(code::MESSAGE_TOO_LARGE, "batch above max.message.bytes"));
    }
    if crc32c::crc32c(&bytes[21..]) != header.crc {
        return Err(refused(code::CORRUPT_MESSAGE, "CRC-32C does not match"));
    }
    if header.codec() == 4 && produce_version < 7 {
        return Err(refused(code::UNSUPPORTED_COMPRESSION_TYPE, "zstd needs Produce v7"));
    }
    if header.codec() > 4 {
        return Err(refused(code::UNSUPPORTED_COMPRESSION_TYPE, "no such codec"));
    }
    if header.is_control() {
        return Err(refused(code::INVALID_RECORD, "a producer may not send control batches"));
    }
    if header.count <= 0 || header.last_offset_delta != header.count - 1 {
        return Err(refused(code::INVALID_RECORD, "count and last offset delta disagree"));
    }
    let idempotent = header.producer_id >= 0;
    if idempotent != (header.producer_epoch >= 0) || idempotent != (header.base_sequence >= 0) {
        return Err(refused(code::INVALID_RECORD, "producer id, epoch and sequence go together"));
    }
    let plain = packed::unpacked(&Bytes::copy_from_slice(bytes));
    let plain = plain.ok_or(refused(code::CORRUPT_MESSAGE, "records that cannot be unpacked"))?;
    check_records(&plain, &header)?;
    Ok(header)
}

fn check_records(bytes: &[u8], header: &Header) -> Result<(), Refused> {
    const BAD: Refused = refused(code::INVALID_RECORD, "malformed record");
    let mut rest = &bytes[HEADER..];
    let mut max = i64::MIN;
    for delta in 0..header.count {
        let record = take_record(&mut rest).ok_or(BAD)?;
        if record.offset_delta != i64::from(delta) {
            return Err(refused(code::INVALID_RECORD, "offset deltas are not 0, 1, 2, .."));
        }
        max = max.max(header.base_timestamp.wrapping_add(record.timestamp_delta));
    }
    if !rest.is_empty() {
        return Err(refused(code::INVALID_RECORD, "bytes behind the last record"));
    }
    if max != header.max_timestamp {
        return Err(refused(code::INVALID_RECORD, "max timestamp is not the largest one"));
    }
    Ok(())
}

/// Parts of one record as ranges of its bytes.
struct Raw<'a> {
    timestamp_delta: i64,
    offset_delta: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

fn take_record<'a>(input: &mut &'a [u8]) -> Option<Raw<'a>> {
    let len = usize::try_from(varint(input)?).ok()?;
    let mut body = take(input, len)?;
    take(&mut body, 1)?;
    let timestamp_delta = varint(&mut body)?;
    let offset_delta = varint(&mut body)?;
    let key = nullable(&mut body)?;
    let value = nullable(&mut body)?;
    let count = varint(&mut body)?;
    if count < 0 {
        return None;
    }
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((nullable(&mut body)??, nullable(&mut body)?));
    }
    body.is_empty().then_some(Raw { timestamp_delta, offset_delta, key, value, headers })
}

fn take<'a>(input: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (front, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(front)
}

#[expect(clippy::option_option, reason = "outer: malformed; inner: null on the wire")]
fn nullable<'a>(input: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match varint(input)? {
        -1 => Some(None),
        len => Some(Some(take(input, usize::try_from(len).ok()?)?)),
    }
}

/// Zig-zag varint of at most ten bytes.
fn varint(input: &mut &[u8]) -> Option<i64> {
    let mut raw: u64 = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(input, 1)?[0];
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()));
        }
    }
    None
}

/// Returns all records of one stored batch; `None` for a malformed one.
#[must_use]
pub fn records(batch: &Bytes) -> Option<Vec<Record>> {
    let batch = &packed::unpacked(batch)?;
    let header = Header::read(batch)?;
    let mut rest = batch.get(HEADER..header.size)?;
    let own = |part: &[u8]| batch.slice_ref(part);
    let mut found = Vec::new();
    for _ in 0..header.count {
        let raw = take_record(&mut rest)?;
        let delta = i32::try_from(raw.offset_delta).ok()?;
        found.push(Record {
            offset: header.base_offset.checked_add(raw.offset_delta)?,
            timestamp: header.base_timestamp.wrapping_add(raw.timestamp_delta),
            key: raw.key.map(own),
            value: raw.value.map(own),
            headers: raw.headers.iter().map(|(k, v)| (own(k), v.map(own))).collect(),
            producer_id: header.producer_id,
            sequence: advance_sequence(header.base_sequence, delta),
        });
    }
    Some(found)
}

/// Returns `batch` with the offset and leader epoch that a broker writes; the CRC covers neither.
#[must_use]
pub fn stamp(batch: &[u8], base_offset: i64, leader_epoch: i32) -> Bytes {
    let mut bytes = batch.to_vec();
    if let Some(field) = bytes.get_mut(0..8) {
        field.copy_from_slice(&base_offset.to_be_bytes());
    }
    if let Some(field) = bytes.get_mut(12..16) {
        field.copy_from_slice(&leader_epoch.to_be_bytes());
    }
    Bytes::from(bytes)
}

/// Whose batch it is: producer id, epoch and the sequence of its first record, each -1 for none.
pub type Sequence = (i64, i16, i32);

/// A record to be written: key and value.
pub type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Returns a batch of records (key, value), as a producer sends it, with any attributes.
#[must_use]
pub fn write(
    attributes: i16,
    (producer_id, producer_epoch, base_sequence): Sequence,
    timestamp: i64,
    records: &[KeyValue<'_>],
) -> Bytes {
    let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
    let mut covered = BytesMut::new();
    covered.put_i16(attributes);
    covered.put_i32(count - 1);
    covered.put_i64(timestamp);
    covered.put_i64(timestamp);
    covered.put_i64(producer_id);
    covered.put_i16(producer_epoch);
    covered.put_i32(base_sequence);
    covered.put_i32(count);
    for (delta, (key, value)) in (0_i64..).zip(records) {
        let mut record = BytesMut::new();
        record.put_i8(0);
        put_varint(&mut record, 0);
        put_varint(&mut record, delta);
        for part in [key, value] {
            put_varint(&mut record, part.map_or(-1, |part| part.len() as i64));
            record.put_slice(part.unwrap_or_default());
        }
        put_varint(&mut record, 0);
        put_varint(&mut covered, record.len() as i64);
        covered.put_slice(&record);
    }
    let mut out = BytesMut::new();
    out.put_i64(0);
    out.put_i32(i32::try_from(covered.len() + 9).unwrap_or(i32::MAX));
    out.put_i32(-1);
    out.put_i8(2);
    out.put_u32(crc32c::crc32c(&covered));
    out.put_slice(&covered);
    out.freeze()
}

/// Returns the marker that ends a transaction (`EndTransactionMarker`).
#[must_use]
pub fn marker((producer_id, producer_epoch): (i64, i16), commit: bool, timestamp: i64) -> Bytes {
    let key = [0, 0, 0, u8::from(commit)];
    let record = (Some(&key[..]), Some(&[0; 6][..]));
    write(TRANSACTIONAL | CONTROL, (producer_id, producer_epoch, -1), timestamp, &[record])
}

/// Returns whether a marker commits; `None` where it is another control batch, or empty.
#[must_use]
pub fn commits(batch: &Bytes) -> Option<bool> {
    let records = records(batch)?;
    match records.first()?.key.as_deref()? {
        [_, _, 0, 0, ..] => Some(false),
        [_, _, 0, 1, ..] => Some(true),
        _ => None,
    }
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}
