//! OffsetForLeaderEpoch (23): where a leader epoch ends in the log of a broker (KIP-320).

use super::table::{Kind, Piece, Schema, Segment, field, response};
use super::{ApiKey, ErrorCode, Full, Writer};

const API: ApiKey = ApiKey::OFFSET_FOR_LEADER_EPOCH;

fn flexible(version: i16) -> bool {
    version >= const { API.first_flexible() }
}

/// Begins a request of `topics` topics. Versions 2 to 4; before version 3 brokers serve it only to
/// clients with the permission ClusterAction.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn begin(out: &mut Writer<'_>, version: i16, topics: usize) -> Result<(), Full> {
    if version >= 3 {
        out.i32(-1)?; // A replica id: -1 for consumers.
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

/// One partition: the leader's epoch as we know it, -1 for "do not check", and the epoch whose end
/// is wanted.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn partition(
    out: &mut Writer<'_>,
    version: i16,
    index: i32,
    current_leader_epoch: i32,
    leader_epoch: i32,
) -> Result<(), Full> {
    out.i32(index)?;
    out.i32(current_leader_epoch)?;
    out.i32(leader_epoch)?;
    out.no_tags(flexible(version))
}

/// Ends a topic, and the request after the last one.
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
        /// What went wrong with this partition.
        error: ErrorCode,
        /// Its index.
        index: i32,
        /// The largest epoch not above the one in the request, -1 when there is none.
        leader_epoch: i32,
        /// The offset after the last record of that epoch, -1 when there is none.
        end_offset: i64,
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
        &[field("Topic", Kind::Str, 0), field("Partitions", Kind::Array(PARTITION), 0)],
        &[
            field("ErrorCode", Kind::I16, 0),
            field("Partition", Kind::I32, 0),
            field("LeaderEpoch", Kind::I32, 1),
            field("EndOffset", Kind::I64, 0),
        ],
    ],
    flexible: 4,
};

response!(API, 2..=4, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(TOPIC, _) => Item::Topic { name: values.text(0).unwrap_or_default() },
        Piece::Fields(PARTITION, _) => Item::Partition {
            error: values.error(0),
            index: values.i32_or(1, 0),
            leader_epoch: values.i32_or(2, -1),
            end_offset: values.i64_or(3, -1),
        },
        Piece::End(TOPIC) => Item::TopicEnd,
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
