//! Record batches of magic 2 (KIP-98): the only format that brokers write since Kafka 0.11. Older
//! message sets are read with the feature `old-records` (`parse_old`).
//!
//! A batch is a header of [`HEADER_LEN`] bytes and its records, which may be compressed as one
//! piece. Reading: [`peek_len`] returns how many bytes to wait for, [`check_crc`] and
//! [`BatchHeader::parse`] check and parse them, [`Records`] iterates over the records without a
//! copy. Writing: [`write()`] appends records one by one, [`seal`] makes the header after the last
//! one.
//!
//! Nothing here allocates, and no input can make it panic.

use core::fmt;

#[cfg(any(feature = "gzip", feature = "old-records"))]
mod crc32;
mod crc32c;
mod header;
#[cfg(feature = "old-records")]
mod old;
#[cfg(all(feature = "std", feature = "producer"))]
mod packed;
mod read;
pub mod varint;
mod write;

#[cfg(any(feature = "gzip", feature = "old-records"))]
pub(crate) use crc32::crc32;
pub use crc32c::Crc32c;
#[cfg(feature = "old-records")]
pub use header::Magic;
pub use header::{
    BatchHeader, ControlRecord, HEADER_LEN, PEEK_LEN, TimestampType, check_crc, peek_len,
};
#[cfg(feature = "old-records")]
pub use old::parse_old;
#[cfg(all(feature = "std", feature = "producer"))]
pub use packed::{Packed, pack, packed_len};
pub use read::{Damage, HeaderRef, Headers, RecordRef, Records, check_records};
#[cfg(feature = "producer")]
pub(crate) use write::{Content, Small};
pub use write::{Header, Record, Seal, encoded_len, seal, write};

/// Why record bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end within the batch.
    Truncated,
    /// A message set of magic 0 or 1 (before Kafka 0.11) where none is read (feature
    /// `old-records`), or a magic that Kafka never had.
    Magic(u8),
    /// BatchLength below that of an empty batch, or above what a frame may hold.
    BatchLength,
    /// The checksum is not that of the bytes.
    Crc,
    /// The batch is compressed with this codec; its records have to be unpacked first. Inside a
    /// compressed message set: a message that is compressed once more, which Kafka never writes.
    Compressed(u8),
    /// RecordsCount is negative, or above the number of records.
    RecordCount,
    /// Bytes are left after the last record.
    TrailingBytes,
    /// The length of a record is negative, beyond the batch, or not that of its fields.
    RecordLength,
    /// The length of a key, a value or a header, or the number of headers, is impossible.
    FieldLength,
    /// A varint of more than 5 bytes (varlong: 10), or with bits above 32 (64).
    Varint,
    /// A record's offset is outside the range in the header: it would be delivered again and again,
    /// since the position would not move past it.
    Offset,
    /// The key of a control record is too short, or its version negative.
    ControlKey,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "record batch is cut short",
            Self::Magic(magic) => return write!(f, "message format v{magic}, not v2"),
            Self::BatchLength => "impossible record batch length",
            Self::Crc => "record batch has a wrong checksum",
            Self::Compressed(codec) => return write!(f, "record batch is compressed ({codec})"),
            Self::RecordCount => "impossible number of records",
            Self::TrailingBytes => "bytes after the last record",
            Self::RecordLength => "impossible record length",
            Self::FieldLength => "impossible length of a key, value or header",
            Self::Varint => "overlong varint",
            Self::Offset => "impossible record offset",
            Self::ControlKey => "impossible control record",
        })
    }
}

impl core::error::Error for Malformed {}
