//! ApiVersions (18): the APIs and versions of a broker, and its features (KIP-511, KIP-584).

use super::table::{Kind, Piece, Schema, Segment, field, response, tagged};
use super::{ApiKey, Encode, ErrorCode, Full, Writer};

/// Requests the versions that the broker supports. Empty before version 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The client library's name: letters, digits, `.` and `-` (KIP-511).
    pub software_name: &'a str,
    /// Its version, same letters.
    pub software_version: &'a str,
}

impl Encode for Request<'_> {
    const API: ApiKey = ApiKey::API_VERSIONS;
    const VERSIONS: (i16, i16) = (0, 5);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        let flexible = version >= const { Self::API.first_flexible() };
        if version >= 3 {
            out.str(flexible, self.software_name)?;
            out.str(flexible, self.software_version)?;
        }
        if version >= 5 {
            // The broker checks both against itself (KIP-1242) unless they are null and -1.
            out.nullable_str(flexible, None)?;
            out.i32(-1)?;
        }
        out.no_tags(flexible)
    }
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First.
    Head {
        /// `UNSUPPORTED_VERSION` when the broker does not know the version of the request: the rest
        /// then has the format of version 0 (handled here) and may name ApiVersions alone.
        error: ErrorCode,
    },
    /// One API that the broker supports.
    Range {
        /// The API.
        api: ApiKey,
        /// First version.
        min: i16,
        /// Last version.
        max: i16,
    },
    /// After the ranges, from version 1 on.
    Throttle {
        /// Milliseconds that the broker wants us to wait.
        ms: i32,
    },
    /// A feature that the broker supports.
    Supported {
        /// Its name, such as `transaction.version`.
        name: &'b str,
        /// Lowest level.
        min: i16,
        /// Highest level.
        max: i16,
    },
    /// Before the finalized features.
    FinalizedEpoch {
        /// Rises with each change of the features; -1 for unknown.
        epoch: i64,
    },
    /// A feature level that the cluster has finalized.
    Finalized {
        /// Its name.
        name: &'b str,
        /// Lowest level.
        min: i16,
        /// Highest level.
        max: i16,
    },
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const RANGE: u8 = 1;
const SUPPORTED: u8 = 2;
const FINALIZED: u8 = 3;
/// Some brokers leave out this field, which is new in version 1.
pub(crate) const THROTTLE_FIELD: u8 = 2;
const EPOCH_FIELD: u8 = 4;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[
            field("ErrorCode", Kind::I16, 0),
            field("ApiKeys", Kind::Array(RANGE), 0),
            field("ThrottleTimeMs", Kind::I32, 1),
            tagged(field("SupportedFeatures", Kind::Array(SUPPORTED), 3), 0),
            tagged(field("FinalizedFeaturesEpoch", Kind::I64, 3), 1),
            tagged(field("FinalizedFeatures", Kind::Array(FINALIZED), 3), 2),
            tagged(field("ZkMigrationReady", Kind::Bool, 3), 3),
        ],
        &[
            field("ApiKey", Kind::I16, 0),
            field("MinVersion", Kind::I16, 0),
            field("MaxVersion", Kind::I16, 0),
        ],
        &[
            field("Name", Kind::Str, 3),
            field("MinVersion", Kind::I16, 3),
            field("MaxVersion", Kind::I16, 3),
        ],
        &[
            field("Name", Kind::Str, 3),
            field("MaxVersionLevel", Kind::I16, 3),
            field("MinVersionLevel", Kind::I16, 3),
        ],
    ],
    flexible: 3,
};

response!(ApiKey::API_VERSIONS, 0..=5, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, walker } = got;

    let (min, max) = (values.i16(1), values.i16(2));
    let name = values.text(0).unwrap_or_default();
    Some(match piece {
        Piece::Fields(ROOT, 0) => {
            let error = values.error(0);
            // For any version of the request, this response has the one format that every client
            // can read.
            if error == ErrorCode::UNSUPPORTED_VERSION {
                walker.set_version(0);
            }
            Item::Head { error }
        }
        Piece::Fields(RANGE, _) => Item::Range { api: ApiKey(values.i16(0)), min, max },
        Piece::Fields(ROOT, 2) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(SUPPORTED, _) => Item::Supported { name, min, max },
        Piece::Fields(ROOT, EPOCH_FIELD) => Item::FinalizedEpoch { epoch: values.i64_or(0, -1) },
        // Only here the schema has the maximum first.
        Piece::Fields(FINALIZED, _) => {
            Item::Finalized { name, min: values.i16(2), max: values.i16(1) }
        }
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
