//! JoinGroup (11): a member of a classic group takes part in the next round. The subscription in it
//! is written by [`consumer_protocol`](super::consumer_protocol).

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response};
use super::{ApiKey, ErrorCode, Full, Writer};

const API: ApiKey = ApiKey::JOIN_GROUP;
/// From this version on (KIP-394) a member without an id is given one and has to join again.
pub const NAMES_FIRST: i16 = 4;

fn flexible(version: i16) -> bool {
    version >= const { API.first_flexible() }
}

/// What a request begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The group.
    pub group: &'a str,
    /// The coordinator removes a member that is silent for this long, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long the coordinator waits for members in a round, in milliseconds; version 1 and later.
    pub rebalance_timeout_ms: i32,
    /// The id that the coordinator gave; empty for none.
    pub member: &'a str,
    /// The instance id of a static member (KIP-345); version 5 and later.
    pub instance: Option<&'a str>,
}

/// Begins a request of a consumer that supports `protocols` assignors, which follow, each by
/// [`protocol`].
///
/// # Errors
/// [`Full`] when the sink is.
pub fn begin(
    out: &mut Writer<'_>,
    version: i16,
    head: &Head<'_>,
    protocols: usize,
) -> Result<(), Full> {
    let flexible = flexible(version);
    out.str(flexible, head.group)?;
    out.i32(head.session_timeout_ms)?;
    if version >= 1 {
        out.i32(head.rebalance_timeout_ms)?;
    }
    out.str(flexible, head.member)?;
    if version >= 5 {
        out.nullable_str(flexible, head.instance)?;
    }
    out.str(flexible, "consumer")?;
    out.count(flexible, Some(protocols))
}

/// One assignor. `len` bytes of subscription follow, by [`Writer::raw`], then [`end_protocol`].
///
/// # Errors
/// [`Full`] when the sink is.
pub fn protocol(out: &mut Writer<'_>, version: i16, name: &str, len: usize) -> Result<(), Full> {
    out.str(flexible(version), name)?;
    out.count(flexible(version), Some(len))
}

/// Ends an assignor.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end_protocol(out: &mut Writer<'_>, version: i16) -> Result<(), Full> {
    out.no_tags(flexible(version))
}

/// Ends the request. `reason` is for the broker's log; version 8 and later.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end(out: &mut Writer<'_>, version: i16, reason: Option<&str>) -> Result<(), Full> {
    if version >= 8 {
        out.nullable_str(flexible(version), reason)?;
    }
    out.no_tags(flexible(version))
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
        /// The generation that begins.
        generation: i32,
        /// What the members are: `consumer`; version 7 and later.
        protocol_type: Option<&'b str>,
        /// The assignor that was elected.
        protocol: Option<&'b str>,
        /// The leader's member id; empty where the coordinator assigns itself.
        leader: &'b str,
        /// The leader is not to assign (KIP-814); version 9 and later.
        skip_assignment: bool,
        /// This member's id.
        member: &'b str,
    },
    /// One member; only the leader learns of them.
    Member {
        /// Its id.
        id: &'b str,
        /// Its instance id; version 5 and later.
        instance: Option<&'b str>,
        /// Its subscription.
        metadata: &'b [u8],
    },
    /// Last.
    End,
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const MEMBER: u8 = 1;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[
            field("ThrottleTimeMs", Kind::I32, 2),
            field("ErrorCode", Kind::I16, 0),
            field("GenerationId", Kind::I32, 0),
            nullable(field("ProtocolType", Kind::Str, 7), 7),
            nullable(field("ProtocolName", Kind::Str, 0), 7),
            field("Leader", Kind::Str, 0),
            field("SkipAssignment", Kind::Bool, 9),
            field("MemberId", Kind::Str, 0),
            field("Members", Kind::Array(MEMBER), 0),
        ],
        &[
            field("MemberId", Kind::Str, 0),
            nullable(field("GroupInstanceId", Kind::Str, 5), 5),
            field("Metadata", Kind::Bytes, 0),
        ],
    ],
    flexible: 6,
};

response!(API, 0..=9, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, 0) => Item::Head {
            throttle_ms: values.i32_or(0, 0),
            error: values.error(1),
            generation: values.i32_or(2, -1),
            protocol_type: values.text(3),
            protocol: values.text(4),
            leader: values.text(5).unwrap_or_default(),
            skip_assignment: values.bool(6),
            member: values.text(7).unwrap_or_default(),
        },
        Piece::Fields(MEMBER, _) => Item::Member {
            id: values.text(0).unwrap_or_default(),
            instance: values.text(1),
            metadata: values.bytes(2),
        },
        Piece::End(ROOT) => Item::End,
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
