//! TxnOffsetCommit (28): where a group continues if a transaction is committed (KIP-98, KIP-447).

use super::table::{Kind, Piece, Schema, Segment, field, response};
use super::{ApiKey, ErrorCode, Full, Writer};

const API: ApiKey = ApiKey::TXN_OFFSET_COMMIT;
/// From this version on member and generation are sent, and the coordinator checks them (KIP-447).
pub const FENCES: i16 = 3;
/// From this version on the coordinator adds the group's offsets to the transaction itself: for
/// clusters of transaction version 2 alone.
pub const ADDS: i16 = 5;

/// Whether lengths are compact.
#[must_use]
pub fn flexible(version: i16) -> bool {
    version >= const { API.first_flexible() }
}

/// Begins a request, up to the group id, which is written next as a string.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn begin(out: &mut Writer<'_>, version: i16, transactional_id: &str) -> Result<(), Full> {
    out.str(flexible(version), transactional_id)
}

/// Continues after the group id. From version 3 on member id (a string, empty outside of a group)
/// and instance id (a nullable string) are written next, then the count of topics.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn producer(
    out: &mut Writer<'_>,
    version: i16,
    (producer_id, producer_epoch): (i64, i16),
    generation: i32,
) -> Result<(), Full> {
    out.i64(producer_id)?;
    out.i16(producer_epoch)?;
    if version >= FENCES {
        out.i32(generation)?;
    }
    Ok(())
}

/// One partition of a topic, whose name and count of partitions come before: the offset of the next
/// record, and the leader epoch of the last one, -1 for unknown (version 2 and later). Its
/// metadata, a string, follow, and [`end`].
///
/// # Errors
/// [`Full`] when the sink is.
pub fn partition(
    out: &mut Writer<'_>,
    version: i16,
    index: i32,
    offset: i64,
    leader_epoch: i32,
) -> Result<(), Full> {
    out.i32(index)?;
    out.i64(offset)?;
    if version >= 2 {
        out.i32(leader_epoch)?;
    }
    Ok(())
}

/// Ends a partition, a topic, and the request after the last one.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end(out: &mut Writer<'_>, version: i16) -> Result<(), Full> {
    out.no_tags(flexible(version))
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First.
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
        /// The result.
        error: ErrorCode,
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
        &[field("ThrottleTimeMs", Kind::I32, 0), field("Topics", Kind::Array(TOPIC), 0)],
        &[field("Name", Kind::Str, 0), field("Partitions", Kind::Array(PARTITION), 0)],
        &[field("PartitionIndex", Kind::I32, 0), field("ErrorCode", Kind::I16, 0)],
    ],
    flexible: 3,
};

response!(API, 0..=5, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(TOPIC, _) => Item::Topic { name: values.text(0).unwrap_or_default() },
        Piece::Fields(PARTITION, _) => {
            Item::Partition { index: values.i32_or(0, -1), error: values.error(1) }
        }
        Piece::End(TOPIC) => Item::TopicEnd,
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
