//! Message sets of magic 0 and 1, as brokers before Kafka 0.11 wrote them, and later ones for
//! topics with an older `message.format.version` (`LegacyRecord`, `MemoryRecordsBuilder`).

use bytes::{BufMut, Bytes, BytesMut};

use super::{batch, packed};

/// Bytes before those that the size of a message, or of a batch, covers.
const FRONT: usize = 12;
/// Position of the magic in all formats.
const MAGIC: usize = 16;
/// In an LZ4 frame: the checksum of its header, which covers the magic number, too, in messages of
/// magic 0 (KAFKA-3160). This is its value for blocks of 64 KiB that do not depend on each other.
const BROKEN: (usize, u8) = (6, 0x1a);

/// A message. Change its fields to make an unusual one.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its offset.
    pub offset: i64,
    /// 0 or 1.
    pub magic: i8,
    /// Codec in bits 0-2, log append time in bit 3.
    pub attributes: i8,
    /// Milliseconds since 1970; only magic 1 has it.
    pub timestamp: i64,
    /// The key, `None` for null.
    pub key: Option<Bytes>,
    /// The value, `None` for null.
    pub value: Option<Bytes>,
}

impl Message {
    /// Returns its bytes, with a correct checksum.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let mut covered = BytesMut::new();
        covered.put_i8(self.magic);
        covered.put_i8(self.attributes);
        if self.magic > 0 {
            covered.put_i64(self.timestamp);
        }
        for field in [&self.key, &self.value] {
            match field {
                None => covered.put_i32(-1),
                Some(bytes) => {
                    covered.put_u32(length(bytes));
                    covered.put_slice(bytes);
                }
            }
        }
        let mut out = BytesMut::new();
        out.put_i64(self.offset);
        out.put_u32(length(&covered) + 4);
        out.put_u32(zlib_rs::crc32::crc32(0, &covered));
        out.put_slice(&covered);
        out.freeze()
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Returns messages one after the other.
#[must_use]
pub fn set(messages: &[Message]) -> Bytes {
    messages.iter().flat_map(Message::bytes).collect()
}

/// Returns the message that has these, which have the same magic, as its compressed value: 1 gzip,
/// 2 snappy, 3 lz4, 4 zstd. The offsets inside are as they are in magic 0, and relative to that of
/// the first one in magic 1 (KIP-31). `None` for no messages, and as [`packed::packed`].
#[must_use]
pub fn wrapped(messages: &[Message], codec: i16) -> Option<Message> {
    let (first, last) = (messages.first()?, messages.last()?);
    let base = if first.magic > 0 { first.offset } else { 0 };
    let inner = |m: &Message| Message { offset: m.offset - base, ..m.clone() };
    let inner: Vec<Message> = messages.iter().map(inner).collect();
    let mut value = packed::compressed(&set(&inner), codec)?;
    if codec == 3 && first.magic == 0 {
        *value.get_mut(BROKEN.0)? = BROKEN.1;
    }
    Some(Message {
        offset: last.offset,
        magic: first.magic,
        attributes: i8::try_from(codec).ok()?,
        timestamp: messages.iter().map(|message| message.timestamp).max()?,
        key: None,
        value: Some(value.into()),
    })
}

/// Returns a stored batch in an older format: without headers and producer, in magic 0 without
/// timestamps, in the same codec. `None` where it cannot be opened, and for zstd, which the old
/// formats do not have.
#[must_use]
pub fn converted(batch: &Bytes, magic: i8) -> Option<Bytes> {
    let codec = batch::Header::read(batch)?.codec();
    let message = |record: batch::Record| Message {
        offset: record.offset,
        magic,
        attributes: 0,
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
    };
    let messages: Vec<Message> = batch::records(batch)?.into_iter().map(message).collect();
    match codec {
        0 => Some(set(&messages)),
        1..=3 => Some(wrapped(&messages, codec)?.bytes()),
        _ => None,
    }
}

/// Returns the bytes of the batch or message at the front of `stored`, at most all of it.
pub(crate) fn piece(stored: &[u8]) -> usize {
    let length = stored.get(8..FRONT).and_then(|field| field.try_into().ok());
    let length = length.map_or(0, |field| u32::from_be_bytes(field) as usize);
    length.saturating_add(FRONT).min(stored.len())
}

/// Returns a message set from `offset` on, as an offset index finds it; a batch as it is.
pub(crate) fn from_offset(stored: &Bytes, offset: i64) -> Bytes {
    let mut rest = stored.clone();
    while rest.get(MAGIC).is_some_and(|magic| *magic < 2)
        && rest.first_chunk().is_some_and(|first| i64::from_be_bytes(*first) < offset)
    {
        rest = rest.slice(piece(&rest)..);
    }
    rest
}
