//! CreatePartitions (37): lets topics grow.

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response};
use super::{ApiKey, Encode, ErrorCode, Full, Writer};

/// One topic to grow; the broker assigns the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPartitions<'a> {
    /// The topic.
    pub name: &'a str,
    /// How many partitions it will have in all.
    pub count: i32,
}

/// Lets topics grow; each succeeds or fails separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The topics.
    pub topics: &'a [NewPartitions<'a>],
    /// How long the broker waits until they have grown, milliseconds.
    pub timeout_ms: i32,
    /// Only checks whether they could grow.
    pub validate_only: bool,
}

impl Encode for Request<'_> {
    const API: ApiKey = ApiKey::CREATE_PARTITIONS;
    const VERSIONS: (i16, i16) = (0, 3);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        let flexible = version >= const { Self::API.first_flexible() };
        out.count(flexible, Some(self.topics.len()))?;
        for topic in self.topics {
            out.str(flexible, topic.name)?;
            out.i32(topic.count)?;
            out.count(flexible, None)?; // Assignments by hand: null is "choose yourself".
            out.no_tags(flexible)?;
        }
        out.i32(self.timeout_ms)?;
        out.bool(self.validate_only)?;
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
        /// Its name.
        name: &'b str,
        /// The result for it.
        error: ErrorCode,
        /// A message for people.
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
        &[field("ThrottleTimeMs", Kind::I32, 0), field("Results", Kind::Array(TOPIC), 0)],
        &[
            field("Name", Kind::Str, 0),
            field("ErrorCode", Kind::I16, 0),
            nullable(field("ErrorMessage", Kind::Str, 0), 0),
        ],
    ],
    flexible: 2,
};

response!(ApiKey::CREATE_PARTITIONS, 0..=3, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(TOPIC, _) => Item::Topic {
            name: values.text(0).unwrap_or_default(),
            error: values.error(1),
            message: values.text(2),
        },
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
