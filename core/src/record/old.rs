//! Message sets of magic 0 and 1, which brokers before Kafka 0.11 wrote. Later ones hand them out
//! as they are stored. A set is messages one after the other (`LegacyRecord`), big endian:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | Offset |
//! | 8 | 4 | MessageSize: bytes after this field |
//! | 12 | 4 | CRC-32 of all that follows |
//! | 16 | 1 | Magic |
//! | 17 | 1 | Attributes: codec, in magic 1 also the timestamp type |
//! | 18 | 8 | Timestamp, in magic 1 |
//! | 18 or 26 | 4 and as many | Key: its length, -1 for null, and its bytes |
//! | .. | 4 and as many | Value, likewise |
//!
//! The value of a compressed message is a message set. Offsets in it are absolute in magic 0; in
//! magic 1 they count up to that of the last one, whose offset the compressed message has (KIP-31).

use super::header::{MAGIC, MAX_LENGTH};
use super::{BatchHeader, Headers, Magic, Malformed, PEEK_LEN, RecordRef, crc32};

/// MessageSize of a message of magic 0 without key and value.
const MIN_LENGTH: i32 = 14;

const CODEC: u8 = 0x07;
const LOG_APPEND: u8 = 0x08;

/// A message at the front of some bytes.
struct Message<'a> {
    offset: i64,
    crc: u32,
    magic: u8,
    /// Codec and timestamp type; what else there may be has no meaning.
    attributes: u8,
    /// -1 in magic 0.
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    /// Its bytes, offset and size included.
    len: usize,
}

impl Message<'_> {
    const fn codec(&self) -> u8 {
        self.attributes & CODEC
    }
}

/// Takes `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

/// Takes the front of a message: its offset, and the bytes that its size covers.
fn front<'a>(rest: &mut &'a [u8]) -> Result<(i64, &'a [u8]), Malformed> {
    let offset = i64::from_be_bytes(take(rest).ok_or(Malformed::Truncated)?);
    let length = i32::from_be_bytes(take(rest).ok_or(Malformed::Truncated)?);
    if !(MIN_LENGTH..=MAX_LENGTH).contains(&length) {
        return Err(Malformed::BatchLength);
    }
    let length = usize::try_from(length).map_err(|_| Malformed::BatchLength)?;
    let (body, after) = rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
    *rest = after;
    Ok((offset, body))
}

/// Reads the message at the front of `bytes`; `summed`: its checksum has to be right.
fn message(bytes: &[u8], summed: bool) -> Result<Message<'_>, Malformed> {
    let mut after = bytes;
    let (offset, mut rest) = front(&mut after)?;
    let crc = u32::from_be_bytes(take(&mut rest).ok_or(Malformed::BatchLength)?);
    let covered = rest;
    let [magic, attributes] = take(&mut rest).ok_or(Malformed::BatchLength)?;
    if magic >= MAGIC {
        return Err(Malformed::Magic(magic));
    }
    if guard!("checksum of an old message", summed && crc32(covered) != crc) {
        return Err(Malformed::Crc);
    }
    let (timestamp, known) = if magic == 0 {
        (-1, CODEC)
    } else {
        let timestamp = take(&mut rest).ok_or(Malformed::BatchLength)?;
        (i64::from_be_bytes(timestamp), CODEC | LOG_APPEND)
    };
    let (key, value) = (field(&mut rest)?, field(&mut rest)?);
    if guard!("an old message ends with its value", !rest.is_empty()) {
        return Err(Malformed::RecordLength);
    }
    let attributes = attributes & known;
    let len = bytes.len() - after.len();
    Ok(Message { offset, crc, magic, attributes, timestamp, key, value, len })
}

/// Takes a length, -1 for null, and as many bytes.
fn field<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    let length = i32::from_be_bytes(take(rest).ok_or(Malformed::FieldLength)?);
    let Ok(length) = usize::try_from(length) else {
        return if length == -1 { Ok(None) } else { Err(Malformed::FieldLength) };
    };
    let (bytes, after) = rest.split_at_checked(length).ok_or(Malformed::FieldLength)?;
    *rest = after;
    Ok(Some(bytes))
}

/// Examines the message set of magic 0 or 1 at the front of `bytes`, and returns what there is of
/// the fields of a batch:
///
/// - of a compressed message that one alone: its offset, which is the last one inside, and a count
///   of 1;
/// - else of all messages up to one that is compressed, incomplete, damaged, of the other magic or
///   another timestamp type, or does not have a higher offset.
///
/// `crc` is that of the first message, and the attributes have its codec and timestamp type.
///
/// # Errors
/// When the first message is incomplete (`Truncated`), or cannot be read: `BatchLength`, `Magic`,
/// `Crc`, `FieldLength`, `RecordLength` for bytes after its value, and `Offset` if no position can
/// follow it.
pub fn parse_old(bytes: &[u8]) -> Result<BatchHeader, Malformed> {
    let first = message(bytes, true)?;
    if guard!("an old message has a position after it", first.offset == i64::MAX) {
        return Err(Malformed::Offset);
    }
    let (mut len, mut count, mut delta) = (first.len, 1, 0);
    let mut max_timestamp = first.timestamp;
    while first.codec() == 0 {
        let Ok(next) = message(bytes.get(len..).unwrap_or_default(), true) else { break };
        let above = next.offset.checked_sub(first.offset).map(i32::try_from);
        let Some(Ok(above)) = above.filter(|_| next.offset < i64::MAX) else { break };
        let end = len.saturating_add(next.len);
        let same = (next.magic, next.attributes) == (first.magic, first.attributes);
        if !same || above <= delta || end > MAX_LENGTH as usize {
            break;
        }
        (len, count, delta) = (end, count + 1, above);
        max_timestamp = max_timestamp.max(next.timestamp);
    }
    Ok(BatchHeader {
        base_offset: first.offset,
        batch_length: i32::try_from(len - PEEK_LEN).map_err(|_| Malformed::BatchLength)?,
        partition_leader_epoch: -1,
        magic: if first.magic == 0 { Magic::V0 } else { Magic::V1 },
        crc: first.crc,
        attributes: i16::from(first.attributes),
        last_offset_delta: delta,
        base_timestamp: first.timestamp,
        max_timestamp,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        count,
    })
}

/// Returns the value of a compressed message, or all of an uncompressed set.
pub(super) fn body<'a>(header: &BatchHeader, bytes: &'a [u8]) -> &'a [u8] {
    let bytes = bytes.get(..header.total_len()).unwrap_or_default();
    if header.codec() == 0 {
        return bytes;
    }
    message(bytes, false).ok().and_then(|message| message.value).unwrap_or_default()
}

/// What iteration over a message set needs.
#[derive(Clone, Debug)]
pub(super) struct Old {
    /// What is added to the offsets.
    base: i64,
    /// The offsets that the next message may have.
    least: i64,
    most: i64,
    /// Time of the leader that appended the set (`LegacyRecord.timestamp`).
    append_time: Option<i64>,
    /// Nobody has verified the checksums yet.
    summed: bool,
}

impl Old {
    /// Returns the messages of a set that is not compressed: `bytes` begin with it.
    pub(super) fn plain<'a>(
        header: &BatchHeader,
        bytes: &'a [u8],
    ) -> Result<(Self, &'a [u8]), Malformed> {
        if header.codec() != 0 {
            return Err(Malformed::Compressed(header.codec()));
        }
        let set = bytes.get(..header.total_len()).ok_or(Malformed::Truncated)?;
        let (least, most) = (header.base_offset, header.last_offset());
        Ok((Self { base: 0, least, most, append_time: None, summed: false }, set))
    }

    /// Returns the messages inside a compressed one.
    pub(super) fn unpacked<'a>(
        header: &BatchHeader,
        set: &'a [u8],
    ) -> Result<(Self, &'a [u8]), Malformed> {
        // As Java: a compressed message stands for at least one.
        if guard!("an unpacked set has messages", set.is_empty()) {
            return Err(Malformed::RecordCount);
        }
        let most = header.last_offset();
        let base = if header.magic == Magic::V0 {
            0
        } else {
            let relative = guard!("offsets in a set are relative", last_offset(set)? => most);
            most.checked_sub(relative).ok_or(Malformed::Offset)?
        };
        let appended = header.attributes & i16::from(LOG_APPEND) != 0 && header.codec() != 0;
        let append_time = appended.then_some(header.max_timestamp);
        Ok((Self { base, least: 0, most, append_time, summed: true }, set))
    }

    /// Reads the next message of `rest` to `into`; returns false at the end.
    #[cold]
    pub(super) fn step<'a>(
        &mut self,
        rest: &mut &'a [u8],
        into: &mut RecordRef<'a>,
    ) -> Result<bool, Malformed> {
        if rest.is_empty() {
            return Ok(false);
        }
        let message = message(rest, self.summed)?;
        if guard!("a set in a set is not compressed", message.codec() != 0) {
            return Err(Malformed::Compressed(message.codec()));
        }
        let offset = message.offset.checked_add(self.base).ok_or(Malformed::Offset)?;
        let outside = !(self.least..=self.most).contains(&offset);
        if guard!("offsets in a set rise", outside) {
            return Err(Malformed::Offset);
        }
        self.least = offset.saturating_add(1);
        let append_time = self.append_time.filter(|_| message.magic > 0);
        into.offset = offset;
        into.timestamp = append_time.unwrap_or(message.timestamp);
        (into.key, into.value, into.headers) = (message.key, message.value, Headers::default());
        *rest = rest.get(message.len..).unwrap_or_default();
        Ok(true)
    }
}

/// Returns the offset of the last message as it is written, without reading any of them.
fn last_offset(set: &[u8]) -> Result<i64, Malformed> {
    let (mut rest, mut last) = (set, 0);
    while !rest.is_empty() {
        (last, _) = front(&mut rest)?;
    }
    Ok(last)
}
