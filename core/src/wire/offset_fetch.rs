//! OffsetFetch (9): where a group has committed that it continues.

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response, until};
use super::{ApiKey, ErrorCode, Full, OFFSETS_SINCE, Uuid, Writer, offsets_have};

const API: ApiKey = ApiKey::OFFSET_FETCH;
/// From this version on topics have an id in place of their name (Kafka 4.2).
pub const BY_ID: i16 = 10;

fn flexible(version: i16) -> bool {
    offsets_have(version, const { API.first_flexible() })
}

/// Begins a request of one group and `topics` topics; `None`: all topics (version 2 and later).
/// `member` is the member under KIP-848 and its epoch, sent from version 9 on. Versions 1
/// to 10, without `classic` 9 and 10.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn begin(
    out: &mut Writer<'_>,
    version: i16,
    group: &str,
    member: Option<(&str, i32)>,
    topics: Option<usize>,
) -> Result<(), Full> {
    let flexible = flexible(version);
    if offsets_have(version, 8) {
        out.count(flexible, Some(1))?;
    }
    out.str(flexible, group)?;
    if offsets_have(version, 9) {
        out.nullable_str(flexible, member.map(|(id, _)| id))?;
        out.i32(member.map_or(-1, |(_, epoch)| epoch))?;
    }
    out.count(flexible, topics)
}

/// One topic of `partitions` partitions, each by [`Writer::i32`], then [`end_topic`].
///
/// # Errors
/// [`Full`] when the sink is.
pub fn topic(
    out: &mut Writer<'_>,
    version: i16,
    name: &str,
    id: Uuid,
    partitions: usize,
) -> Result<(), Full> {
    if version >= BY_ID {
        out.uuid(id)?;
    } else {
        out.str(flexible(version), name)?;
    }
    out.count(flexible(version), Some(partitions))
}

/// Ends a topic.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end_topic(out: &mut Writer<'_>, version: i16) -> Result<(), Full> {
    out.no_tags(flexible(version))
}

/// Ends the request. `require_stable` (version 7 and later): offsets of a transaction that is not
/// decided are reported by an error in place of the one before (KIP-447).
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end(out: &mut Writer<'_>, version: i16, require_stable: bool) -> Result<(), Full> {
    if offsets_have(version, 8) {
        out.no_tags(true)?;
    }
    if offsets_have(version, 7) {
        out.bool(require_stable)?;
    }
    out.no_tags(flexible(version))
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First, from version 3 on.
    Throttle {
        /// Milliseconds that the broker wants us to wait.
        ms: i32,
    },
    /// Topics of this group follow; from version 8 on.
    Group {
        /// The group.
        id: &'b str,
    },
    /// Partitions of this topic follow.
    Topic {
        /// Its name, before version 10.
        name: Option<&'b str>,
        /// Its id, from version 10 on; else zero.
        id: Uuid,
    },
    /// One partition.
    Partition {
        /// Its index.
        index: i32,
        /// The committed offset, -1 for none.
        offset: i64,
        /// The leader epoch that was committed with it, -1 for unknown; from version 5 on.
        leader_epoch: i32,
        /// The text that was committed with it.
        metadata: Option<&'b str>,
        /// What went wrong with this partition.
        error: ErrorCode,
    },
    /// After a topic's partitions.
    TopicEnd,
    /// After all topics: what went wrong with the group; from version 2 on.
    End {
        /// The result.
        error: ErrorCode,
    },
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const TOPIC: u8 = 1;
const PARTITION: u8 = 2;
const GROUP: u8 = 3;
const GROUP_TOPIC: u8 = 4;
const ROOT_ERROR: u8 = 2;
const GROUP_ERROR: u8 = 2;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[
            field("ThrottleTimeMs", Kind::I32, 3),
            until(field("Topics", Kind::Array(TOPIC), 0), 7),
            until(field("ErrorCode", Kind::I16, 2), 7),
            field("Groups", Kind::Array(GROUP), 8),
        ],
        &[
            until(field("Name", Kind::Str, 0), 7),
            until(field("Partitions", Kind::Array(PARTITION), 0), 7),
        ],
        &[
            field("PartitionIndex", Kind::I32, 0),
            field("CommittedOffset", Kind::I64, 0),
            field("CommittedLeaderEpoch", Kind::I32, 5),
            nullable(field("Metadata", Kind::Str, 0), 0),
            field("ErrorCode", Kind::I16, 0),
        ],
        &[
            field("GroupId", Kind::Str, 8),
            field("Topics", Kind::Array(GROUP_TOPIC), 8),
            field("ErrorCode", Kind::I16, 8),
        ],
        &[
            until(field("Name", Kind::Str, 8), 9),
            field("TopicId", Kind::Uuid, 10),
            field("Partitions", Kind::Array(PARTITION), 8),
        ],
    ],
    flexible: 6,
};

response!(API, OFFSETS_SINCE..=10, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, 0) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(GROUP, 0) => Item::Group { id: values.text(0).unwrap_or_default() },
        Piece::Fields(TOPIC, _) => Item::Topic { name: values.text(0), id: Uuid::ZERO },
        Piece::Fields(GROUP_TOPIC, _) => Item::Topic { name: values.text(0), id: values.uuid(1) },
        Piece::Fields(PARTITION, _) => Item::Partition {
            index: values.i32_or(0, -1),
            offset: values.i64_or(1, -1),
            leader_epoch: values.i32_or(2, -1),
            metadata: values.text(3),
            error: values.error(4),
        },
        Piece::End(TOPIC | GROUP_TOPIC) => Item::TopicEnd,
        Piece::Fields(ROOT, ROOT_ERROR) | Piece::Fields(GROUP, GROUP_ERROR) => {
            Item::End { error: values.error(0) }
        }
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
