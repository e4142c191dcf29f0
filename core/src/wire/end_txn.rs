//! EndTxn (26): commits or aborts a transaction (KIP-98). From version 5 on (KIP-890) the response
//! has the producer's next epoch.

use super::table::{Kind, Piece, Schema, Segment, field, response};
use super::{ApiKey, Encode, ErrorCode, Full, Writer};

/// From this version on each end raises the epoch: for clusters of transaction version 2 alone.
pub const BUMPS: i16 = 5;

/// Ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The transactional id.
    pub transactional_id: &'a str,
    /// The producer id that belongs to it.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Whether it is committed; else it is aborted.
    pub committed: bool,
}

impl Encode for Request<'_> {
    const API: ApiKey = ApiKey::END_TXN;
    const VERSIONS: (i16, i16) = (0, 5);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        let flexible = version >= const { Self::API.first_flexible() };
        out.str(flexible, self.transactional_id)?;
        out.i64(self.producer_id)?;
        out.i16(self.producer_epoch)?;
        out.i8(i8::from(self.committed))?;
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
        /// The producer id of the next transaction, from version 5 on; -1 on failure and before.
        producer_id: i64,
        /// Its epoch, likewise.
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
        field("ProducerId", Kind::I64, 5),
        field("ProducerEpoch", Kind::I16, 5),
    ]],
    flexible: 3,
};

response!(ApiKey::END_TXN, 0..=5, 'b, Item);

pub(crate) fn item(got: Segment<'_, '_>) -> Option<Item> {
    let Segment { piece, values, walker } = got;

    Some(match piece {
        Piece::Fields(..) => {
            let named = i16::from(walker.version()) >= BUMPS;
            Item::Response {
                throttle_ms: values.i32_or(0, 0),
                error: values.error(1),
                producer_id: if named { values.i64_or(2, -1) } else { -1 },
                producer_epoch: if named { values.i16(3) } else { -1 },
            }
        }
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
