//! Request and response headers (KIP-482 gave both a flexible form).

use super::read::{Reader, Stop};
use super::table::Schema;
use super::{ApiKey, Full, Malformed, Step, Writer};

/// Whether `version` of `api` has compact lengths and tagged fields.
#[must_use]
pub const fn is_flexible(api: ApiKey, version: i16) -> bool {
    version >= api.first_flexible()
}

/// Whether the response header has a section of tagged fields after its correlation id.
///
/// Never for ApiVersions: a client must be able to read that response before it knows the broker's
/// versions (KIP-511).
#[must_use]
pub const fn response_tags(api: ApiKey, version: i16) -> bool {
    api.0 != ApiKey::API_VERSIONS.0 && is_flexible(api, version)
}

/// Writes a request header: version 2 for flexible messages, else version 1.
///
/// # Errors
/// [`Full`] when the sink is, or when `client_id` is longer than 32,767 bytes.
pub fn request(
    out: &mut Writer<'_>,
    api: ApiKey,
    version: i16,
    correlation: i32,
    client_id: &str,
) -> Result<(), Full> {
    request_as(out, api, version, is_flexible(api, version), correlation, client_id)
}

/// The same for a caller that knows whether it is flexible: otherwise a table of all APIs would be
/// linked.
pub(crate) fn request_as(
    out: &mut Writer<'_>,
    api: ApiKey,
    version: i16,
    flexible: bool,
    correlation: i32,
    client_id: &str,
) -> Result<(), Full> {
    out.i16(api.0)?;
    out.i16(version)?;
    out.i32(correlation)?;
    // An old-style string even in header version 2, so that any broker can read this far.
    out.str(false, client_id)?;
    out.no_tags(flexible)
}

/// The section of tagged fields in the header of a response, for a walker: none of them are known.
pub(crate) static SCHEMA: Schema = Schema { structs: &[&[]], flexible: 0 };

/// A section of tagged fields none of which we know, read in any pieces and dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tags {
    state: TagState,
    seen: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum TagState {
    #[default]
    Count,
    Tag {
        left: u32,
        above: Option<u32>,
    },
    Value {
        left: u32,
        tag: u32,
        bytes: u32,
    },
    Done,
}

impl Tags {
    /// Starts at the beginning of the section, where its count is.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: TagState::Count, seen: 0 }
    }

    /// Returns how many tags were dropped.
    #[must_use]
    pub const fn unknown_tags(&self) -> u32 {
        self.seen
    }

    /// Takes bytes from the front of `input`: [`Step::Done`] when the section is over, else
    /// [`Step::More`]. Never yields an item.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are no tag section.
    pub fn step(&mut self, input: &mut &[u8]) -> Result<Step<()>, Malformed> {
        loop {
            let before = input.len();
            let mut reader = Reader::new(input);
            match self.next(&mut reader) {
                Ok(done) => {
                    *input = reader.rest();
                    if done {
                        return Ok(Step::Done);
                    }
                }
                Err(Stop::More(missing)) => {
                    return Ok(Step::More { needed: before.saturating_add(missing) });
                }
                Err(Stop::Bad(why)) => return Err(why),
            }
        }
    }

    fn next(&mut self, input: &mut Reader<'_>) -> Result<bool, Stop> {
        self.state = match self.state {
            TagState::Count => TagState::Tag { left: input.uvarint()?, above: None },
            TagState::Tag { left: 0, .. } | TagState::Done => {
                self.state = TagState::Done;
                return Ok(true);
            }
            TagState::Tag { left, above } => {
                let tag = input.uvarint()?;
                if above.is_some_and(|above| tag <= above) {
                    return Err(Stop::Bad(Malformed::TagOrder));
                }
                TagState::Value { left: left.saturating_sub(1), tag, bytes: input.uvarint()? }
            }
            TagState::Value { left, tag, bytes: 0 } => {
                self.seen = self.seen.saturating_add(1);
                TagState::Tag { left, above: Some(tag) }
            }
            TagState::Value { left, tag, bytes } => {
                let have = input.rest().len().clamp(1, bytes as usize);
                let taken = input.take(have)?.len();
                let taken = u32::try_from(taken).unwrap_or(bytes);
                TagState::Value { left, tag, bytes: bytes.saturating_sub(taken) }
            }
        };
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::SliceSink;

    #[test]
    fn the_flexible_header_keeps_an_old_client_id() {
        let mut room = [0; 32];
        let mut sink = SliceSink::new(&mut room);
        request(&mut Writer::new(&mut sink), ApiKey::METADATA, 9, 7, "ab").expect("fits");
        assert_eq!(sink.written(), [0, 3, 0, 9, 0, 0, 0, 7, 0, 2, b'a', b'b', 0]);
        let mut sink = SliceSink::new(&mut room);
        request(&mut Writer::new(&mut sink), ApiKey::METADATA, 8, 7, "").expect("fits");
        assert_eq!(sink.written(), [0, 3, 0, 8, 0, 0, 0, 7, 0, 0]);
    }

    #[test]
    fn api_versions_responses_have_the_old_header() {
        assert!(is_flexible(ApiKey::API_VERSIONS, 3));
        assert!(!response_tags(ApiKey::API_VERSIONS, 3));
        assert!(response_tags(ApiKey::FETCH, 12));
        assert!(!response_tags(ApiKey::FETCH, 11));
        assert!(!response_tags(ApiKey::SASL_HANDSHAKE, 1));
    }

    #[test]
    fn tags_are_dropped_byte_by_byte() {
        let bytes = [2, 0, 3, 1, 2, 3, 0x85, 1, 1, 9, 0x55];
        let mut tags = Tags::new();
        let mut used = 0;
        let mut pending = heapless::Vec::<u8, 16>::new();
        let done = bytes.iter().any(|byte| {
            pending.push(*byte).expect("11 bytes");
            let mut input = &pending[..];
            let step = tags.step(&mut input).expect("well-formed");
            let rest = heapless::Vec::from_slice(input).expect("no longer");
            used += pending.len() - rest.len();
            pending = rest;
            step == Step::Done
        });
        assert!(done);
        assert_eq!((used, tags.unknown_tags()), (10, 2));
    }

    #[test]
    fn tags_must_ascend() {
        for bytes in [&[2, 1, 0, 1, 0][..], &[2, 1, 0, 0, 0]] {
            let mut input = bytes;
            assert_eq!(Tags::new().step(&mut input), Err(Malformed::TagOrder), "{bytes:?}");
        }
    }
}
