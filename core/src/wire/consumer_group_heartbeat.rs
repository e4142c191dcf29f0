//! ConsumerGroupHeartbeat (68): the only request of a member's life under KIP-848.

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response};
use super::{ApiKey, ErrorCode, Full, Ints, Uuid, Writer};

const API: ApiKey = ApiKey::CONSUMER_GROUP_HEARTBEAT;

/// The epoch of a member that joins.
pub const JOIN: i32 = 0;
/// The epoch of a member that leaves.
pub const LEAVE: i32 = -1;
/// The epoch of a static member that leaves and will be back: its partitions are kept for it for a
/// session.
pub const LEAVE_FOR_NOW: i32 = -2;

/// What a heartbeat begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The group.
    pub group: &'a str,
    /// Made by the client; it stays the same while the process lives.
    pub member: &'a str,
    /// The member's epoch, or one of the constants here.
    pub epoch: i32,
    /// The instance id of a static member (KIP-345).
    pub instance: Option<&'a str>,
    /// The rack; null: unchanged.
    pub rack: Option<&'a str>,
    /// How long the coordinator waits for partitions to be revoked, in milliseconds; -1: unchanged.
    pub rebalance_timeout_ms: i32,
}

/// Begins a heartbeat. `topics` subscribed names follow, each by [`name`]; `None`: unchanged.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn begin(out: &mut Writer<'_>, head: &Head<'_>, topics: Option<usize>) -> Result<(), Full> {
    out.str(true, head.group)?;
    out.str(true, head.member)?;
    out.i32(head.epoch)?;
    out.nullable_str(true, head.instance)?;
    out.nullable_str(true, head.rack)?;
    out.i32(head.rebalance_timeout_ms)?;
    out.count(true, topics)
}

/// The name of a subscribed topic.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn name(out: &mut Writer<'_>, name: &str) -> Result<(), Full> {
    out.str(true, name)
}

/// What follows the names: a regular expression (version 1 and later), the assignor of the server,
/// both null for "unchanged", and of how many topics partitions are owned, each by [`owned`];
/// `None`: unchanged.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn middle(
    out: &mut Writer<'_>,
    version: i16,
    regex: Option<&str>,
    assignor: Option<&str>,
    topics: Option<usize>,
) -> Result<(), Full> {
    if version >= 1 {
        out.nullable_str(true, regex)?;
    }
    out.nullable_str(true, assignor)?;
    out.count(true, topics)
}

/// A topic with owned partitions, each by [`Writer::i32`], then [`end`].
///
/// # Errors
/// [`Full`] when the sink is.
pub fn owned(out: &mut Writer<'_>, id: Uuid, partitions: usize) -> Result<(), Full> {
    out.uuid(id)?;
    out.count(true, Some(partitions))
}

/// Ends a topic, and the request after the last one.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end(out: &mut Writer<'_>) -> Result<(), Full> {
    out.no_tags(true)
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First.
    Head {
        /// Milliseconds that the broker wants us to wait.
        throttle_ms: i32,
        /// The result.
        error: ErrorCode,
        /// A message for people.
        message: Option<&'b str>,
        /// The member's id.
        member: Option<&'b str>,
        /// The member's epoch.
        epoch: i32,
        /// When the next heartbeat is due, in milliseconds.
        interval_ms: i32,
    },
    /// Partitions of a topic that the member may use now.
    Topic {
        /// Its id.
        id: Uuid,
        /// The partitions.
        partitions: Ints<'b>,
    },
    /// After all topics of an assignment.
    AssignmentEnd,
    /// In place of an assignment: it is unchanged.
    Unchanged,
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const ASSIGNMENT: u8 = 1;
const TOPIC: u8 = 2;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[
            field("ThrottleTimeMs", Kind::I32, 0),
            field("ErrorCode", Kind::I16, 0),
            nullable(field("ErrorMessage", Kind::Str, 0), 0),
            nullable(field("MemberId", Kind::Str, 0), 0),
            field("MemberEpoch", Kind::I32, 0),
            field("HeartbeatIntervalMs", Kind::I32, 0),
            nullable(field("Assignment", Kind::Struct(ASSIGNMENT), 0), 0),
        ],
        &[field("TopicPartitions", Kind::Array(TOPIC), 0)],
        &[field("TopicId", Kind::Uuid, 0), field("Partitions", Kind::Ints, 0)],
    ],
    flexible: 0,
};

response!(API, 0..=1, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, 0) => Item::Head {
            throttle_ms: values.i32_or(0, 0),
            error: values.error(1),
            message: values.text(2),
            member: values.text(3),
            epoch: values.i32_or(4, -1),
            interval_ms: values.i32_or(5, 0),
        },
        Piece::Fields(TOPIC, _) => Item::Topic { id: values.uuid(0), partitions: values.ints(1) },
        Piece::End(ASSIGNMENT) => Item::AssignmentEnd,
        Piece::Null(ASSIGNMENT) => Item::Unchanged,
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
