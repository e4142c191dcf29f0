//! AddPartitionsToTxn (24): partitions that a transaction will write to (KIP-98), in the form of
//! clients: later versions are between brokers. Since KIP-890 Produce does this itself.

use super::table::{Kind, Piece, Schema, Segment, field, response};
use super::{ApiKey, ErrorCode, Full, Writer};

const API: ApiKey = ApiKey::ADD_PARTITIONS_TO_TXN;

fn flexible(version: i16) -> bool {
    version >= const { API.first_flexible() }
}

/// Begins a request of `topics` topics. Versions 0 to 3.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn begin(
    out: &mut Writer<'_>,
    version: i16,
    transactional_id: &str,
    (producer_id, producer_epoch): (i64, i16),
    topics: usize,
) -> Result<(), Full> {
    out.str(flexible(version), transactional_id)?;
    out.i64(producer_id)?;
    out.i16(producer_epoch)?;
    out.count(flexible(version), Some(topics))
}

/// One topic of `partitions` partitions, whose indices follow as `i32`, and then [`end`].
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
        &[
            field("ThrottleTimeMs", Kind::I32, 0),
            field("ResultsByTopicV3AndBelow", Kind::Array(TOPIC), 0),
        ],
        &[field("Name", Kind::Str, 0), field("ResultsByPartition", Kind::Array(PARTITION), 0)],
        &[field("PartitionIndex", Kind::I32, 0), field("PartitionErrorCode", Kind::I16, 0)],
    ],
    flexible: 3,
};

response!(API, 0..=3, 'b, Item<'b>);

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
