//! The header of a batch (`DefaultRecordBatch`), 61 bytes, big endian:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | BaseOffset |
//! | 8 | 4 | BatchLength: bytes after this field |
//! | 12 | 4 | PartitionLeaderEpoch |
//! | 16 | 1 | Magic |
//! | 17 | 4 | CRC-32C of all that follows |
//! | 21 | 2 | Attributes |
//! | 23 | 4 | LastOffsetDelta |
//! | 27 | 8 | BaseTimestamp |
//! | 35 | 8 | MaxTimestamp |
//! | 43 | 8 | ProducerId |
//! | 51 | 2 | ProducerEpoch |
//! | 53 | 4 | BaseSequence |
//! | 57 | 4 | RecordsCount |

use super::{Crc32c, Malformed};

/// Bytes of a batch header.
pub const HEADER_LEN: usize = 61;
/// Bytes that [`peek_len`] needs: the base offset and the length.
pub const PEEK_LEN: usize = 12;

/// Magic of the format that is described above.
pub(super) const MAGIC: u8 = 2;
/// Start of the bytes that the checksum covers.
pub(super) const CRC_START: usize = 21;
/// BatchLength of a batch without records.
pub(super) const MIN_LENGTH: i32 = 49;
/// Above this the whole batch would be longer than 2^31 - 1 bytes.
pub(super) const MAX_LENGTH: i32 = i32::MAX - 12;

const CODEC: i16 = 0x07;
const LOG_APPEND: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// The format of a batch.
#[cfg(feature = "old-records")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Magic(u8);

#[cfg(feature = "old-records")]
impl Magic {
    /// A message set without timestamps (before Kafka 0.10).
    pub const V0: Self = Self(0);
    /// A message set with timestamps (Kafka 0.10, KIP-32).
    pub const V1: Self = Self(1);
    /// A record batch (Kafka 0.11, KIP-98).
    pub const V2: Self = Self(MAGIC);

    /// Returns the number on the wire: 0, 1 or 2.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// What a record's timestamp means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TimestampType {
    /// When the producer created it.
    Create,
    /// When the leader appended it; one for the whole batch.
    LogAppend,
}

/// The header of a batch, field by field as on the wire; only length and magic are checked.
///
/// A message set of magic 0 or 1 has no header: `parse_old` (feature `old-records`) returns what
/// there is of the same fields, and -1 for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BatchHeader {
    /// Offset of the first record that the batch once had.
    pub base_offset: i64,
    /// Bytes after the length field, 49 and more.
    pub batch_length: i32,
    /// Leader epoch of the leader that appended it, -1 for unknown.
    pub partition_leader_epoch: i32,
    /// The format: a field of builds that read several (feature `old-records`).
    #[cfg(feature = "old-records")]
    pub magic: Magic,
    /// CRC-32C of the bytes from the attributes on.
    pub crc: u32,
    /// Flags, see the accessors; the unused bits may be anything.
    pub attributes: i16,
    /// Offset of the last record that the batch once had, from the base offset.
    pub last_offset_delta: i32,
    /// What the timestamp deltas add to, in ms. With bit 6 of the attributes it is the delete
    /// horizon as well.
    pub base_timestamp: i64,
    /// The largest timestamp, or the log append time, in ms.
    pub max_timestamp: i64,
    /// Producer id, -1 for none.
    pub producer_id: i64,
    /// Producer epoch, -1 for none.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 for none.
    pub base_sequence: i32,
    /// Number of records in the batch; compaction may leave none.
    pub count: i32,
}

impl BatchHeader {
    /// Reads the header of a batch at the front of `bytes`, which may be longer.
    ///
    /// # Errors
    /// `Truncated` below [`HEADER_LEN`] bytes; `Magic`; `BatchLength`. Magic is checked first,
    /// since it is at the same place in all formats and determines the meaning of the rest.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(Malformed::Truncated)?;
        let mut rest = bytes.as_slice();
        let base_offset = i64::from_be_bytes(take(&mut rest)?);
        let batch_length = i32::from_be_bytes(take(&mut rest)?);
        let partition_leader_epoch = i32::from_be_bytes(take(&mut rest)?);
        let [magic] = take(&mut rest)?;
        if magic != MAGIC {
            return Err(Malformed::Magic(magic));
        }
        plausible(batch_length)?;
        Ok(Self {
            base_offset,
            batch_length,
            partition_leader_epoch,
            #[cfg(feature = "old-records")]
            magic: Magic::V2,
            crc: u32::from_be_bytes(take(&mut rest)?),
            attributes: i16::from_be_bytes(take(&mut rest)?),
            last_offset_delta: i32::from_be_bytes(take(&mut rest)?),
            base_timestamp: i64::from_be_bytes(take(&mut rest)?),
            max_timestamp: i64::from_be_bytes(take(&mut rest)?),
            producer_id: i64::from_be_bytes(take(&mut rest)?),
            producer_epoch: i16::from_be_bytes(take(&mut rest)?),
            base_sequence: i32::from_be_bytes(take(&mut rest)?),
            count: i32::from_be_bytes(take(&mut rest)?),
        })
    }

    /// Whether it stands for a message set of magic 0 or 1.
    #[cfg(any(feature = "old-records", feature = "record-check"))]
    pub(crate) const fn is_old(&self) -> bool {
        #[cfg(feature = "old-records")]
        return self.magic.number() < MAGIC;
        #[cfg(not(feature = "old-records"))]
        false
    }

    /// Returns the bytes of the whole batch, header included: 61 and more of a batch.
    #[must_use]
    pub fn total_len(&self) -> usize {
        // The field is public: a made-up negative one counts as none.
        usize::try_from(self.batch_length).unwrap_or(0).saturating_add(PEEK_LEN)
    }

    /// Returns the bytes of the records in `bytes`, which begin with this batch: what is compressed
    /// where [`BatchHeader::codec`] is not 0. Empty where the batch is incomplete.
    #[must_use]
    pub fn body<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        #[cfg(feature = "old-records")]
        if self.is_old() {
            return super::old::body(self, bytes);
        }
        bytes.get(HEADER_LEN..self.total_len()).unwrap_or_default()
    }

    /// Returns the offset of the last record that the batch once had: at least `base_offset - 1`
    /// (for a negative delta) and at most 2^63 - 2.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        let last = self.base_offset.saturating_add(i64::from(self.last_offset_delta.max(-1)));
        last.min(i64::MAX - 1)
    }

    /// Returns the position after this batch, also where it is empty: last offset + 1, never below
    /// the base offset.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        guard!("position", self.last_offset().saturating_add(1)
            => self.base_offset + i64::from(self.count))
    }

    /// Returns the compression: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; Kafka has no 5 to 7.
    #[must_use]
    pub const fn codec(&self) -> u8 {
        (self.attributes & CODEC) as u8
    }

    /// Whether it belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it holds markers of the broker ([`ControlRecord`]), which are never delivered.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether the base timestamp is the time until which compaction keeps tombstones (KIP-534).
    #[must_use]
    pub const fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// Returns what the timestamps of its records mean.
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND == 0 {
            TimestampType::Create
        } else {
            TimestampType::LogAppend
        }
    }
}

/// Returns the bytes of the whole batch that begins with `front`, so that a stream knows what to
/// wait for. The length field is at the same place in message sets of magic 0 and 1, but is shorter
/// there.
///
/// # Errors
/// `BatchLength`: negative, below that of an empty batch of magic 2, or so large that the whole
/// batch would exceed 2^31 - 1 bytes.
pub fn peek_len(front: &[u8; PEEK_LEN]) -> Result<usize, Malformed> {
    let [.., a, b, c, d] = *front;
    let length = i32::from_be_bytes([a, b, c, d]);
    plausible(length)?;
    Ok(usize::try_from(length).map_err(|_| Malformed::BatchLength)?.saturating_add(PEEK_LEN))
}

/// Checks the CRC-32C of the batch at the front of `bytes`, which may be longer.
///
/// # Errors
/// `Truncated`, when the batch is incomplete; `Magic`; `BatchLength`; `Crc`.
pub fn check_crc(bytes: &[u8]) -> Result<(), Malformed> {
    let header = BatchHeader::parse(bytes)?;
    let covered = bytes.get(CRC_START..header.total_len()).ok_or(Malformed::Truncated)?;
    let damaged = guard!("checksum", Crc32c::of(covered) != header.crc);
    if damaged { Err(Malformed::Crc) } else { Ok(()) }
}

/// What a record of a control batch means, by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ControlRecord {
    /// The transaction of this producer id was aborted.
    Abort,
    /// The transaction of this producer id was committed.
    Commit,
    /// Another one, or one that Kafka does not have yet; to be skipped.
    Other(i16),
}

impl ControlRecord {
    /// Reads the key of a control record: version, type (`ControlRecordType`). Later versions are
    /// read as version 0, as Java does.
    ///
    /// # Errors
    /// `ControlKey`: below four bytes, or a negative version.
    pub fn parse(key: &[u8]) -> Result<Self, Malformed> {
        let [v0, v1, t0, t1] = *key.first_chunk().ok_or(Malformed::ControlKey)?;
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(Malformed::ControlKey);
        }
        Ok(match i16::from_be_bytes([t0, t1]) {
            0 => Self::Abort,
            1 => Self::Commit,
            other => Self::Other(other),
        })
    }
}

const fn plausible(length: i32) -> Result<(), Malformed> {
    if length < MIN_LENGTH || length > MAX_LENGTH { Err(Malformed::BatchLength) } else { Ok(()) }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (bytes, after) = rest.split_first_chunk().ok_or(Malformed::Truncated)?;
    *rest = after;
    Ok(*bytes)
}
