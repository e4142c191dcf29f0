//! DeleteGroups (42).

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response};
use super::{ApiKey, Encode, ErrorCode, Full, Writer};

const API: ApiKey = ApiKey::DELETE_GROUPS;

/// Deletes groups without members, and their offsets; each succeeds or fails separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The groups.
    pub groups: &'a [&'a str],
}

impl Encode for Request<'_> {
    const API: ApiKey = API;
    const VERSIONS: (i16, i16) = (0, 3);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        let flexible = version >= const { API.first_flexible() };
        out.strs(flexible, self.groups)?;
        out.no_tags(flexible)
    }
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
    /// One group.
    Group {
        /// Its id.
        id: &'b str,
        /// The result for it.
        error: ErrorCode,
        /// A message for people; from version 3 on.
        message: Option<&'b str>,
    },
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const GROUP: u8 = 1;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[field("ThrottleTimeMs", Kind::I32, 0), field("Results", Kind::Array(GROUP), 0)],
        &[
            field("GroupId", Kind::Str, 0),
            field("ErrorCode", Kind::I16, 0),
            nullable(field("ErrorMessage", Kind::Str, 3), 3),
        ],
    ],
    flexible: 2,
};

response!(API, 0..=3, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(GROUP, _) => Item::Group {
            id: values.text(0).unwrap_or_default(),
            error: values.error(1),
            message: values.text(2),
        },
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
