//! LeaveGroup (13): a member leaves its classic group.

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response};
use super::{ApiKey, Encode, ErrorCode, Full, Writer};

const API: ApiKey = ApiKey::LEAVE_GROUP;

/// One member leaves; from version 3 on as a list of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The group.
    pub group: &'a str,
    /// The member's id.
    pub member: &'a str,
    /// The instance id of a static member; version 3 and later.
    pub instance: Option<&'a str>,
    /// For the broker's log; version 5 and later.
    pub reason: Option<&'a str>,
}

impl Encode for Request<'_> {
    const API: ApiKey = API;
    const VERSIONS: (i16, i16) = (0, 5);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        let flexible = version >= const { API.first_flexible() };
        out.str(flexible, self.group)?;
        if version >= 3 {
            out.count(flexible, Some(1))?;
        }
        out.str(flexible, self.member)?;
        if version >= 3 {
            out.nullable_str(flexible, self.instance)?;
        }
        if version >= 5 {
            out.nullable_str(flexible, self.reason)?;
        }
        if version >= 3 {
            out.no_tags(flexible)?;
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
        /// Milliseconds that the broker wants us to wait.
        throttle_ms: i32,
        /// The result.
        error: ErrorCode,
    },
    /// The result of one member; version 3 and later.
    Member {
        /// Its id.
        id: &'b str,
        /// Its instance id.
        instance: Option<&'b str>,
        /// The result.
        error: ErrorCode,
    },
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const MEMBER: u8 = 1;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[
            field("ThrottleTimeMs", Kind::I32, 1),
            field("ErrorCode", Kind::I16, 0),
            field("Members", Kind::Array(MEMBER), 3),
        ],
        &[
            field("MemberId", Kind::Str, 3),
            nullable(field("GroupInstanceId", Kind::Str, 3), 3),
            field("ErrorCode", Kind::I16, 3),
        ],
    ],
    flexible: 4,
};

response!(API, 0..=5, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) => {
            Item::Head { throttle_ms: values.i32_or(0, 0), error: values.error(1) }
        }
        Piece::Fields(MEMBER, _) => Item::Member {
            id: values.text(0).unwrap_or_default(),
            instance: values.text(1),
            error: values.error(2),
        },
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
