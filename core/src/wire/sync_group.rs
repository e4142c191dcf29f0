//! SyncGroup (14): the leader of a classic group hands out the assignments, and each member gets
//! its own. They are written and read by [`consumer_protocol`](super::consumer_protocol).

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response};
use super::{ApiKey, ErrorCode, Full, Writer};

const API: ApiKey = ApiKey::SYNC_GROUP;

fn flexible(version: i16) -> bool {
    version >= const { API.first_flexible() }
}

/// What a request begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The group.
    pub group: &'a str,
    /// The generation that JoinGroup began.
    pub generation: i32,
    /// The member's id.
    pub member: &'a str,
    /// The instance id of a static member; version 3 and later.
    pub instance: Option<&'a str>,
    /// The assignor that JoinGroup elected; version 5 and later.
    pub protocol: Option<&'a str>,
}

/// Begins a request with the assignments of `members` members, which follow, each by [`member`];
/// none of a follower.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn begin(
    out: &mut Writer<'_>,
    version: i16,
    head: &Head<'_>,
    members: usize,
) -> Result<(), Full> {
    let flexible = flexible(version);
    out.str(flexible, head.group)?;
    out.i32(head.generation)?;
    out.str(flexible, head.member)?;
    if version >= 3 {
        out.nullable_str(flexible, head.instance)?;
    }
    if version >= 5 {
        out.nullable_str(flexible, Some("consumer"))?;
        out.nullable_str(flexible, head.protocol)?;
    }
    out.count(flexible, Some(members))
}

/// One member. `len` bytes of its assignment follow, by [`Writer::raw`], then [`end`].
///
/// # Errors
/// [`Full`] when the sink is.
pub fn member(out: &mut Writer<'_>, version: i16, id: &str, len: usize) -> Result<(), Full> {
    out.str(flexible(version), id)?;
    out.count(flexible(version), Some(len))
}

/// Ends a member, and the request after the last one.
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
    /// The only one.
    Assignment {
        /// Milliseconds that the broker wants us to wait.
        throttle_ms: i32,
        /// The result.
        error: ErrorCode,
        /// What the members are: `consumer`; version 5 and later.
        protocol_type: Option<&'b str>,
        /// The assignor; version 5 and later.
        protocol: Option<&'b str>,
        /// The member's assignment.
        bytes: &'b [u8],
    },
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[&[
        field("ThrottleTimeMs", Kind::I32, 1),
        field("ErrorCode", Kind::I16, 0),
        nullable(field("ProtocolType", Kind::Str, 5), 5),
        nullable(field("ProtocolName", Kind::Str, 5), 5),
        field("Assignment", Kind::Bytes, 0),
    ]],
    flexible: 4,
};

response!(API, 0..=5, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) => Item::Assignment {
            throttle_ms: values.i32_or(0, 0),
            error: values.error(1),
            protocol_type: values.text(2),
            protocol: values.text(3),
            bytes: values.bytes(4),
        },
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
