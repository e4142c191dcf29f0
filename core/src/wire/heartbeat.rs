//! Heartbeat (12): a member of a classic group is alive, and learns whether a round has begun.

use super::table::{Kind, Piece, Schema, Segment, field, response};
use super::{ApiKey, Encode, ErrorCode, Full, Writer};

const API: ApiKey = ApiKey::HEARTBEAT;

/// A heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The group.
    pub group: &'a str,
    /// The group's generation.
    pub generation: i32,
    /// The member's id.
    pub member: &'a str,
    /// The instance id of a static member; version 3 and later.
    pub instance: Option<&'a str>,
}

impl Encode for Request<'_> {
    const API: ApiKey = API;
    const VERSIONS: (i16, i16) = (0, 4);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        let flexible = version >= const { API.first_flexible() };
        out.str(flexible, self.group)?;
        out.i32(self.generation)?;
        out.str(flexible, self.member)?;
        if version >= 3 {
            out.nullable_str(flexible, self.instance)?;
        }
        out.no_tags(flexible)
    }
}

/// A step of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// The only one.
    Head {
        /// Milliseconds that the broker wants us to wait.
        throttle_ms: i32,
        /// The result; `REBALANCE_IN_PROGRESS` has the member join.
        error: ErrorCode,
    },
}

const ROOT: u8 = 0;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[&[field("ThrottleTimeMs", Kind::I32, 1), field("ErrorCode", Kind::I16, 0)]],
    flexible: 4,
};

response!(API, 0..=4, 'b, Item);

pub(crate) fn item(got: Segment<'_, '_>) -> Option<Item> {
    let Segment { piece, values, .. } = got;

    match piece {
        Piece::Fields(ROOT, _) => {
            Some(Item::Head { throttle_ms: values.i32_or(0, 0), error: values.error(1) })
        }
        _ => None,
    }
}
