//! FindCoordinator (10): the broker that coordinates a group.

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response, until};
use super::{ApiKey, Encode, ErrorCode, Full, Writer};

const API: ApiKey = ApiKey::FIND_COORDINATOR;

/// Requests the coordinator of one group; from version 4 on (KIP-699) as a list of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The group id, or the key of another kind.
    pub key: &'a str,
    /// Kind of coordinator: 0 group, 1 transaction (version 1 and later), 2 share (version 6 and
    /// later).
    pub key_type: i8,
}

impl Encode for Request<'_> {
    const API: ApiKey = API;
    const VERSIONS: (i16, i16) = (0, 6);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        let flexible = version >= const { API.first_flexible() };
        if version < 4 {
            out.str(flexible, self.key)?;
        }
        if version >= 1 {
            out.i8(self.key_type)?;
        }
        if version >= 4 {
            out.count(flexible, Some(1))?;
            out.str(flexible, self.key)?;
        }
        out.no_tags(flexible)
    }
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First, from version 4 on.
    Throttle {
        /// Milliseconds that the broker wants us to wait.
        ms: i32,
    },
    /// The coordinator; before version 4 the only item.
    Coordinator {
        /// Milliseconds that the broker wants us to wait, before version 4; else 0.
        throttle_ms: i32,
        /// Its key, from version 4 on.
        key: Option<&'b str>,
        /// The result.
        error: ErrorCode,
        /// A message for people, from version 1 on.
        message: Option<&'b str>,
        /// Its node id, -1 for none.
        node: i32,
        /// Its host.
        host: &'b str,
        /// Its port.
        port: i32,
    },
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const COORDINATOR: u8 = 1;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[
            field("ThrottleTimeMs", Kind::I32, 1),
            until(field("ErrorCode", Kind::I16, 0), 3),
            nullable(until(field("ErrorMessage", Kind::Str, 1), 3), 1),
            until(field("NodeId", Kind::I32, 0), 3),
            until(field("Host", Kind::Str, 0), 3),
            until(field("Port", Kind::I32, 0), 3),
            field("Coordinators", Kind::Array(COORDINATOR), 4),
        ],
        &[
            field("Key", Kind::Str, 4),
            field("NodeId", Kind::I32, 4),
            field("Host", Kind::Str, 4),
            field("Port", Kind::I32, 4),
            field("ErrorCode", Kind::I16, 4),
            nullable(field("ErrorMessage", Kind::Str, 4), 4),
        ],
    ],
    flexible: 3,
};

response!(API, 0..=6, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, walker } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) if walker.version() >= 4 => {
            Item::Throttle { ms: values.i32_or(0, 0) }
        }
        Piece::Fields(ROOT, _) => Item::Coordinator {
            throttle_ms: values.i32_or(0, 0),
            key: None,
            error: values.error(1),
            message: values.text(2),
            node: values.i32_or(3, -1),
            host: values.text(4).unwrap_or_default(),
            port: values.i32_or(5, -1),
        },
        Piece::Fields(COORDINATOR, _) => Item::Coordinator {
            throttle_ms: 0,
            key: values.text(0),
            node: values.i32_or(1, -1),
            host: values.text(2).unwrap_or_default(),
            port: values.i32_or(3, -1),
            error: values.error(4),
            message: values.text(5),
        },
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
