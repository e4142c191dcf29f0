//! AddOffsetsToTxn (25): a group whose offsets a transaction will commit (KIP-98). Since KIP-890
//! TxnOffsetCommit does this itself.

use super::table::{Kind, Piece, Schema, Segment, field, response};
use super::{ApiKey, Encode, ErrorCode, Full, Writer};

/// Adds the offsets of a group to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The transactional id.
    pub transactional_id: &'a str,
    /// The producer id that belongs to it.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The group.
    pub group: &'a str,
}

impl Encode for Request<'_> {
    const API: ApiKey = ApiKey::ADD_OFFSETS_TO_TXN;
    const VERSIONS: (i16, i16) = (0, 4);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        let flexible = version >= const { Self::API.first_flexible() };
        out.str(flexible, self.transactional_id)?;
        out.i64(self.producer_id)?;
        out.i16(self.producer_epoch)?;
        out.str(flexible, self.group)?;
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
    },
    /// Something that did not fit was dropped.
    Skipped,
}

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[&[field("ThrottleTimeMs", Kind::I32, 0), field("ErrorCode", Kind::I16, 0)]],
    flexible: 3,
};

response!(ApiKey::ADD_OFFSETS_TO_TXN, 0..=4, 'b, Item);

pub(crate) fn item(got: Segment<'_, '_>) -> Option<Item> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(..) => {
            Item::Response { throttle_ms: values.i32_or(0, 0), error: values.error(1) }
        }
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
