//! SaslAuthenticate (36): one message of a mechanism, and the broker's response to it (KIP-152);
//! from version 1 on how long the session lasts (KIP-368).

use core::fmt;

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response};
use super::{ApiKey, ErrorCode, Full, Writer};

/// Begins a request: so many bytes of the message follow, then [`end`].
///
/// # Errors
/// [`Full`] when the sink has no space.
pub fn begin(out: &mut Writer<'_>, version: i16, bytes: usize) -> Result<(), Full> {
    out.count(is_flexible(version), Some(bytes))
}

/// Ends a request.
///
/// # Errors
/// [`Full`] when the sink has no space.
pub fn end(out: &mut Writer<'_>, version: i16) -> Result<(), Full> {
    out.no_tags(is_flexible(version))
}

const fn is_flexible(version: i16) -> bool {
    version >= const { ApiKey::SASL_AUTHENTICATE.first_flexible() }
}

/// A step of the response.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// All of it.
    Response {
        /// The result; `SASL_AUTHENTICATION_FAILED` where the credentials are refused.
        error: ErrorCode,
        /// A message for people.
        message: Option<&'b str>,
        /// The broker's message to the mechanism.
        bytes: &'b [u8],
        /// Milliseconds after which the session ends; 0 where it does not, and before version 1.
        lifetime_ms: i64,
    },
    /// It did not fit and was dropped.
    Skipped,
}

/// Without the broker's message, which may be a secret: its length alone.
impl fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response { error, bytes, lifetime_ms, .. } => f
                .debug_struct("Response")
                .field("error", error)
                .field("bytes", &bytes.len())
                .field("lifetime_ms", lifetime_ms)
                .finish_non_exhaustive(),
            Self::Skipped => f.write_str("Skipped"),
        }
    }
}

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[&[
        field("ErrorCode", Kind::I16, 0),
        nullable(field("ErrorMessage", Kind::Str, 0), 0),
        field("AuthBytes", Kind::Bytes, 0),
        field("SessionLifetimeMs", Kind::I64, 1),
    ]],
    flexible: 2,
};

response!(ApiKey::SASL_AUTHENTICATE, 0..=2, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(..) => Item::Response {
            error: values.error(0),
            message: values.text(1),
            bytes: values.bytes(2),
            lifetime_ms: values.i64_or(3, 0),
        },
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
