//! OffsetDelete (47): forgets where a group continues in partitions (KIP-496).

use super::table::{Kind, Piece, Schema, Segment, field, response};
use super::{ApiKey, ErrorCode, Full, Writer};

const API: ApiKey = ApiKey::OFFSET_DELETE;

/// Begins a request of one group and `topics` topics.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn begin(out: &mut Writer<'_>, group: &str, topics: usize) -> Result<(), Full> {
    out.str(false, group)?;
    out.count(false, Some(topics))
}

/// One topic of `partitions` partitions, each by [`Writer::i32`]. Nothing follows the last one.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn topic(out: &mut Writer<'_>, name: &str, partitions: usize) -> Result<(), Full> {
    out.str(false, name)?;
    out.count(false, Some(partitions))
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First.
    Head {
        /// What went wrong with the group as a whole.
        error: ErrorCode,
        /// Milliseconds that the broker wants us to wait.
        throttle_ms: i32,
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
        /// The result; 86 while the group is subscribed to the topic.
        error: ErrorCode,
    },
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
            field("ErrorCode", Kind::I16, 0),
            field("ThrottleTimeMs", Kind::I32, 0),
            field("Topics", Kind::Array(TOPIC), 0),
        ],
        &[field("Name", Kind::Str, 0), field("Partitions", Kind::Array(PARTITION), 0)],
        &[field("PartitionIndex", Kind::I32, 0), field("ErrorCode", Kind::I16, 0)],
    ],
    flexible: i8::MAX,
};

response!(API, 0..=0, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) => {
            Item::Head { error: values.error(0), throttle_ms: values.i32_or(1, 0) }
        }
        Piece::Fields(TOPIC, _) => Item::Topic { name: values.text(0).unwrap_or_default() },
        Piece::Fields(PARTITION, _) => {
            Item::Partition { index: values.i32_or(0, -1), error: values.error(1) }
        }
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
