//! SaslHandshake (17): the mechanism that a client logs in with. Version 1 alone: after version 0
//! the messages of the mechanism would follow without any header (Kafka before 1.0).

use super::table::{Kind, Piece, Schema, Segment, field, response};
use super::{ApiKey, Encode, ErrorCode, Full, Writer};

/// Names a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its name, such as `SCRAM-SHA-256`.
    pub mechanism: &'a str,
}

impl Encode for Request<'_> {
    const API: ApiKey = ApiKey::SASL_HANDSHAKE;
    const VERSIONS: (i16, i16) = (1, 1);

    fn encode(&self, _: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        out.str(false, self.mechanism)
    }
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First.
    Head {
        /// `UNSUPPORTED_SASL_MECHANISM` where the listener does not have it; `ILLEGAL_SASL_STATE`
        /// where it has no SASL at all.
        error: ErrorCode,
    },
    /// A mechanism of the listener.
    Mechanism {
        /// Its name.
        name: &'b str,
    },
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const MECHANISM: u8 = 1;

/// The response's layout. Its list of names is read as one of structs with a name each, which is
/// the same on the wire.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[field("ErrorCode", Kind::I16, 0), field("Mechanisms", Kind::Array(MECHANISM), 0)],
        &[field("Name", Kind::Str, 0)],
    ],
    flexible: i8::MAX,
};

response!(ApiKey::SASL_HANDSHAKE, 1..=1, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) => Item::Head { error: values.error(0) },
        Piece::Fields(MECHANISM, _) => Item::Mechanism { name: values.text(0).unwrap_or_default() },
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
