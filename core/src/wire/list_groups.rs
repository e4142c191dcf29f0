//! ListGroups (16): the groups that one broker coordinates.

use super::table::{Kind, Piece, Schema, Segment, field, response};
use super::{ApiKey, Encode, ErrorCode, Full, Writer};

const API: ApiKey = ApiKey::LIST_GROUPS;

/// Requests the groups of the broker that gets the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Only groups in one of these states; from version 4 on (KIP-518). Empty: any.
    pub states: &'a [&'a str],
    /// Only groups of one of these types; from version 5 on (KIP-848). Empty: any.
    pub types: &'a [&'a str],
}

impl Encode for Request<'_> {
    const API: ApiKey = API;
    const VERSIONS: (i16, i16) = (0, 5);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        let flexible = version >= const { API.first_flexible() };
        for (since, list) in [(4, self.states), (5, self.types)] {
            if version >= since {
                out.strs(flexible, list)?;
            }
        }
        out.no_tags(flexible)
    }
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First.
    Head {
        /// Milliseconds that the broker wants us to wait; from version 1 on.
        throttle_ms: i32,
        /// The result.
        error: ErrorCode,
    },
    /// One group.
    Group {
        /// Its id.
        id: &'b str,
        /// What its members use it for: `consumer`, `connect`, ..., or empty while it has only
        /// offsets.
        protocol_type: &'b str,
        /// Its state; from version 4 on.
        state: Option<&'b str>,
        /// `classic`, `consumer`, `share` or `streams`, in either case; from version 5 on.
        kind: Option<&'b str>,
    },
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const GROUP: u8 = 1;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[
            field("ThrottleTimeMs", Kind::I32, 1),
            field("ErrorCode", Kind::I16, 0),
            field("Groups", Kind::Array(GROUP), 0),
        ],
        &[
            field("GroupId", Kind::Str, 0),
            field("ProtocolType", Kind::Str, 0),
            field("GroupState", Kind::Str, 4),
            field("GroupType", Kind::Str, 5),
        ],
    ],
    flexible: 3,
};

response!(API, 0..=5, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) => {
            Item::Head { throttle_ms: values.i32_or(0, 0), error: values.error(1) }
        }
        Piece::Fields(GROUP, _) => Item::Group {
            id: values.text(0).unwrap_or_default(),
            protocol_type: values.text(1).unwrap_or_default(),
            state: values.text(2),
            kind: values.text(3),
        },
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
