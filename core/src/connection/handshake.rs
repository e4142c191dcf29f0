//! What a connection does before it takes requests, as a state machine: it returns the next step,
//! and the client sends it. Today it is only ApiVersions (KIP-511); authentication is another
//! [`HandshakeStep`] between the versions and `Ready`, and the same one again when the session of a
//! ready connection ends (KIP-368).

use super::{Conn, ConnState};
use crate::api::Kind;
use crate::error::PeerFault;
use crate::wire::table::Segment;
use crate::wire::{ApiKey, Decode, ErrorCode, api_versions};

/// What a handshake has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeStep {
    /// Send ApiVersions in the version of [`Conn::handshake_version`].
    Versions,
    /// Nothing: the connection takes requests.
    Ready,
}

/// What is known of a handshake while a response streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HandshakeMemo {
    pub(crate) error: ErrorCode,
    /// The highest ApiVersions version that the broker names.
    pub(crate) max: i16,
    pub(crate) ranges: u16,
}

impl Conn {
    /// Begins the handshake of an established connection. `known` is the ApiVersions version that
    /// its broker accepted last, 0 where that is not known.
    pub(crate) fn begin_handshake(&mut self, known: i16) -> HandshakeStep {
        let ours = api_versions::Answer::VERSIONS.1;
        self.handshake_version = if known > 0 { known } else { ours };
        HandshakeStep::Versions
    }

    /// Returns the version in which a handshake sends a request, if it is one of its own: nothing
    /// else is sent before a connection is ready.
    pub(super) fn handshake_asks(&self, kind: Kind) -> Option<i16> {
        let asks = self.state == ConnState::Handshake && kind == Kind::Versions;
        asks.then_some(self.handshake_version)
    }

    /// Takes an item of a broker's ApiVersions response.
    pub(crate) fn on_versions(&mut self, memo: &mut HandshakeMemo, got: Segment<'_, '_>) {
        match api_versions::item(got) {
            Some(api_versions::Item::Head { error }) => memo.error = error,
            Some(api_versions::Item::Range { api, min, max }) => {
                memo.ranges = memo.ranges.saturating_add(1);
                if api == ApiKey::API_VERSIONS {
                    memo.max = max;
                }
                if memo.error == ErrorCode::NONE {
                    self.versions.offer(api, min, max);
                }
            }
            _ => {}
        }
    }

    /// Ends ApiVersions: the versions are known, or are requested again in a version that the
    /// broker knows, at most once for each lower version.
    pub(crate) fn versions_done(
        &mut self,
        memo: &HandshakeMemo,
    ) -> Result<HandshakeStep, PeerFault> {
        if memo.error == ErrorCode::UNSUPPORTED_VERSION {
            let lower = memo.max.clamp(0, api_versions::Answer::VERSIONS.1);
            let again = lower >= self.handshake_version;
            if guard!("ApiVersions is asked once for each lower version", again) {
                let api = ApiKey::API_VERSIONS;
                return Err(PeerFault::NoCommonVersion { api, min: 0, max: memo.max });
            }
            self.handshake_version = lower;
            return Ok(HandshakeStep::Versions);
        }
        match self.versions.lacks(Kind::Metadata) {
            Some(fault) => Err(fault),
            None => Ok(HandshakeStep::Ready),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(conn: &mut Conn, error: i16, max: i16) -> Result<HandshakeStep, PeerFault> {
        conn.versions_done(&HandshakeMemo { error: ErrorCode(error), max, ranges: 1 })
    }

    #[test]
    fn versions_are_asked_in_ever_lower_versions_and_then_given_up() {
        let mut conn = Conn::EMPTY;
        assert_eq!(conn.begin_handshake(0), HandshakeStep::Versions);
        assert_eq!(conn.handshake_version, api_versions::Answer::VERSIONS.1);
        for lower in [2, 0] {
            assert_eq!(done(&mut conn, 35, lower), Ok(HandshakeStep::Versions));
            assert_eq!(conn.handshake_version, lower);
        }
        assert!(matches!(done(&mut conn, 35, 0), Err(PeerFault::NoCommonVersion { .. })));
    }

    #[test]
    fn a_connection_is_ready_when_its_broker_has_metadata() {
        let mut conn = Conn::EMPTY;
        assert_eq!(conn.begin_handshake(1), HandshakeStep::Versions);
        assert_eq!(conn.handshake_version, 1, "what its broker took last");
        assert!(matches!(done(&mut conn, 0, 4), Err(PeerFault::NoApi(ApiKey::METADATA))));
        conn.versions.offer(ApiKey::METADATA, 0, 9);
        assert_eq!(done(&mut conn, 0, 4), Ok(HandshakeStep::Ready));
    }

    #[test]
    fn only_a_handshake_sends_its_requests() {
        let mut conn = Conn::EMPTY;
        conn.begin_handshake(0);
        assert_eq!(conn.handshake_asks(Kind::Versions), None, "not established");
        conn.state = ConnState::Handshake;
        assert_eq!(conn.handshake_asks(Kind::Versions), Some(conn.handshake_version));
        assert_eq!(conn.handshake_asks(Kind::Metadata), None);
    }
}
