//! InitProducerId (22): an idempotent or transactional producer's identity (KIP-98, KIP-360).

use super::table::{Kind, Piece, Schema, Segment, field, response};
use super::{ApiKey, Encode, ErrorCode, Full, Writer};

/// Requests a producer id, or the next epoch of the one we have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// `None` for a producer that is only idempotent.
    pub transactional_id: Option<&'a str>,
    /// After which time the coordinator aborts a transaction, milliseconds.
    pub timeout_ms: i32,
    /// The id we have, -1 for none; from version 3 on.
    pub producer_id: i64,
    /// Its epoch, -1 for none; from version 3 on.
    pub producer_epoch: i16,
}

impl Encode for Request<'_> {
    const API: ApiKey = ApiKey::INIT_PRODUCER_ID;
    const VERSIONS: (i16, i16) = (0, 5);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        let flexible = version >= const { Self::API.first_flexible() };
        out.nullable_str(flexible, self.transactional_id)?;
        out.i32(self.timeout_ms)?;
        if version >= 3 {
            out.i64(self.producer_id)?;
            out.i16(self.producer_epoch)?;
        }
        out.no_tags(flexible)
    }
}

/// A step of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// All of it.
    Response {
        /// Milliseconds that the broker wants us to wait.
        throttle_ms: i32,
        /// What went wrong.
        error: ErrorCode,
        /// The id, -1 on failure.
        producer_id: i64,
        /// Its epoch.
        producer_epoch: i16,
    },
    /// Something that did not fit was dropped.
    Skipped,
}

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[&[
        field("ThrottleTimeMs", Kind::I32, 0),
        field("ErrorCode", Kind::I16, 0),
        field("ProducerId", Kind::I64, 0),
        field("ProducerEpoch", Kind::I16, 0),
    ]],
    flexible: 2,
};

response!(ApiKey::INIT_PRODUCER_ID, 0..=5, 'b, Item);

pub(crate) fn item(got: Segment<'_, '_>) -> Option<Item> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(..) => Item::Response {
            throttle_ms: values.i32_or(0, 0),
            error: values.error(1),
            producer_id: values.i64_or(2, -1),
            producer_epoch: values.i16(3),
        },
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
