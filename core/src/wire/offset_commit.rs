//! OffsetCommit (8): where a group continues.

use super::table::{Kind, Piece, Schema, Segment, field, response, until};
use super::{ApiKey, ErrorCode, Full, OFFSETS_SINCE, Uuid, Writer, offsets_have};

const API: ApiKey = ApiKey::OFFSET_COMMIT;
/// The first version that is spoken.
const FIRST: i16 = if OFFSETS_SINCE > 2 { OFFSETS_SINCE } else { 2 };
/// From this version on topics have an id in place of their name (Kafka 4.2).
pub const BY_ID: i16 = 10;
/// From this version on texts have compact lengths.
pub const FLEXIBLE: i16 = API.first_flexible();

fn flexible(version: i16) -> bool {
    offsets_have(version, const { API.first_flexible() })
}

/// What a commit begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The group.
    pub group: &'a str,
    /// Generation of a classic group, epoch of a member under KIP-848 (version 9 and later); -1
    /// outside of a group.
    pub epoch: i32,
    /// The member's id; empty outside of a group.
    pub member: &'a str,
    /// The instance id of a static member; from version 7 on.
    pub instance: Option<&'a str>,
}

/// Begins a commit of `topics` topics. Versions 2 to 10, without `classic` 9 and 10.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn begin(
    out: &mut Writer<'_>,
    version: i16,
    head: &Head<'_>,
    topics: usize,
) -> Result<(), Full> {
    let flexible = flexible(version);
    out.str(flexible, head.group)?;
    out.i32(head.epoch)?;
    out.str(flexible, head.member)?;
    if offsets_have(version, 7) {
        out.nullable_str(flexible, head.instance)?;
    }
    if !offsets_have(version, 5) {
        out.i64(-1)?; // The retention of the broker.
    }
    out.count(flexible, Some(topics))
}

/// One topic of `partitions` partitions, which follow.
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

/// One partition: the offset of the next record, and the leader epoch of the last one, -1 for
/// unknown (version 6 and later). Its metadata, a string, follow, and [`end`].
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
    if offsets_have(version, 6) {
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
    /// First, from version 3 on.
    Throttle {
        /// Milliseconds that the broker wants us to wait.
        ms: i32,
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
        &[field("ThrottleTimeMs", Kind::I32, 3), field("Topics", Kind::Array(TOPIC), 0)],
        &[
            until(field("Name", Kind::Str, 0), 9),
            field("TopicId", Kind::Uuid, 10),
            field("Partitions", Kind::Array(PARTITION), 0),
        ],
        &[field("PartitionIndex", Kind::I32, 0), field("ErrorCode", Kind::I16, 0)],
    ],
    flexible: 8,
};

response!(API, FIRST..=10, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(TOPIC, _) => Item::Topic { name: values.text(0), id: values.uuid(1) },
        Piece::Fields(PARTITION, _) => {
            Item::Partition { index: values.i32_or(0, -1), error: values.error(1) }
        }
        Piece::End(TOPIC) => Item::TopicEnd,
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
