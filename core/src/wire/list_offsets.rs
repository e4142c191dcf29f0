//! ListOffsets (2): offsets by timestamp, the earliest, the latest; also the growth probe.

use super::table::{Kind, Piece, Schema, Segment, field, response};
use super::{ApiKey, ErrorCode, Full, Writer};

/// The offset after the last record (or the last stable offset under `read_committed`).
pub const LATEST: i64 = -1;
/// The first offset of the log.
pub const EARLIEST: i64 = -2;
/// The record with the greatest timestamp (version 7, KIP-734).
pub const MAX_TIMESTAMP: i64 = -3;
/// The first offset on local disk (version 8, KIP-405).
pub const EARLIEST_LOCAL: i64 = -4;
/// The last offset in remote storage (version 9, KIP-1005).
pub const LATEST_TIERED: i64 = -5;
/// The first offset not yet in remote storage (version 11, KIP-1023).
pub const EARLIEST_PENDING_UPLOAD: i64 = -6;

const API: ApiKey = ApiKey::LIST_OFFSETS;

fn flexible(version: i16) -> bool {
    version >= const { API.first_flexible() }
}

/// Begins a request of `topics` topics; `isolation` is 0 for read_uncommitted, 1 for
/// read_committed (version 2 and later). Versions 1 to 11.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn begin(out: &mut Writer<'_>, version: i16, isolation: i8, topics: usize) -> Result<(), Full> {
    out.i32(-1)?; // A replica id: -1 for consumers.
    if version >= 2 {
        out.i8(isolation)?;
    }
    out.count(flexible(version), Some(topics))
}

/// One topic of `partitions` partitions, which follow.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn topic(
    out: &mut Writer<'_>,
    version: i16,
    name: &str,
    partitions: usize,
) -> Result<(), Full> {
    out.str(flexible(version), name)?;
    out.count(flexible(version), Some(partitions))
}

/// One partition. `leader_epoch` is -1 for "do not check" (version 4 and later); `timestamp` is in
/// milliseconds or one of the negative constants here.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn partition(
    out: &mut Writer<'_>,
    version: i16,
    index: i32,
    leader_epoch: i32,
    timestamp: i64,
) -> Result<(), Full> {
    out.i32(index)?;
    if version >= 4 {
        out.i32(leader_epoch)?;
    }
    out.i64(timestamp)?;
    out.no_tags(flexible(version))
}

/// Ends a topic.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end_topic(out: &mut Writer<'_>, version: i16) -> Result<(), Full> {
    out.no_tags(flexible(version))
}

/// Ends the request. `timeout_ms` (version 10 and later) bounds lookups in remote storage.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end(out: &mut Writer<'_>, version: i16, timeout_ms: i32) -> Result<(), Full> {
    if version >= 10 {
        out.i32(timeout_ms)?;
    }
    out.no_tags(flexible(version))
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First, from version 2 on.
    Throttle {
        /// Milliseconds that the broker wants us to wait.
        ms: i32,
    },
    /// Partitions of this topic follow.
    Topic {
        /// Its name.
        name: &'b str,
    },
    /// One partition.
    Partition {
        /// Its index.
        index: i32,
        /// What went wrong with this partition.
        error: ErrorCode,
        /// Milliseconds, -1 when none or not requested by time.
        timestamp: i64,
        /// The offset, -1 when there is none.
        offset: i64,
        /// Leader epoch of the record at that offset, -1 when unknown or before version 4.
        leader_epoch: i32,
    },
    /// After a topic's partitions.
    TopicEnd,
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const TOPIC: u8 = 1;
const PARTITION: u8 = 2;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[field("ThrottleTimeMs", Kind::I32, 2), field("Topics", Kind::Array(TOPIC), 0)],
        &[field("Name", Kind::Str, 0), field("Partitions", Kind::Array(PARTITION), 0)],
        &[
            field("PartitionIndex", Kind::I32, 0),
            field("ErrorCode", Kind::I16, 0),
            field("Timestamp", Kind::I64, 1),
            field("Offset", Kind::I64, 1),
            field("LeaderEpoch", Kind::I32, 4),
        ],
    ],
    flexible: 6,
};

response!(API, 1..=11, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(TOPIC, _) => Item::Topic { name: values.text(0).unwrap_or_default() },
        Piece::Fields(PARTITION, _) => Item::Partition {
            index: values.i32_or(0, 0),
            error: values.error(1),
            timestamp: values.i64_or(2, -1),
            offset: values.i64_or(3, -1),
            leader_epoch: values.i32_or(4, -1),
        },
        Piece::End(TOPIC) => Item::TopicEnd,
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
