//! DeleteTopics (20).

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response};
use super::{ApiKey, Encode, ErrorCode, Full, Uuid, Writer};

/// Deletes topics by name; each succeeds or fails separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The topics.
    pub names: &'a [&'a str],
    /// How long the broker waits until they are gone, milliseconds.
    pub timeout_ms: i32,
}

impl Encode for Request<'_> {
    const API: ApiKey = ApiKey::DELETE_TOPICS;
    const VERSIONS: (i16, i16) = (1, 6);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        let flexible = version >= const { Self::API.first_flexible() };
        out.count(flexible, Some(self.names.len()))?;
        for name in self.names {
            out.str(flexible, name)?;
            if version >= 6 {
                out.uuid(Uuid::ZERO)?; // Either the name or the id counts.
                out.no_tags(flexible)?;
            }
        }
        out.i32(self.timeout_ms)?;
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
    /// One topic.
    Topic {
        /// Its name; may be null from version 6 on.
        name: Option<&'b str>,
        /// Its id, from version 6 on; else zero.
        id: Uuid,
        /// The result for it.
        error: ErrorCode,
        /// A message for people; from version 5 on.
        message: Option<&'b str>,
    },
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const TOPIC: u8 = 1;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[field("ThrottleTimeMs", Kind::I32, 1), field("Responses", Kind::Array(TOPIC), 0)],
        &[
            nullable(field("Name", Kind::Str, 0), 6),
            field("TopicId", Kind::Uuid, 6),
            field("ErrorCode", Kind::I16, 0),
            nullable(field("ErrorMessage", Kind::Str, 5), 5),
        ],
    ],
    flexible: 4,
};

response!(ApiKey::DELETE_TOPICS, 1..=6, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(TOPIC, _) => Item::Topic {
            name: values.text(0),
            id: values.uuid(1),
            error: values.error(2),
            message: values.text(3),
        },
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
