//! What a connection does before it takes requests, as a state machine: it returns the next step,
//! and the client sends it. That is ApiVersions (KIP-511), the login where there is one, and a
//! Metadata request without topics where a cluster id is known that the peer's has to be compared
//! with. The login is repeated when the session of a ready connection ends (KIP-368).

use super::{Conn, ConnState};
use crate::api::Kind;
#[cfg(feature = "sasl")]
use crate::error::LoginFault;
use crate::error::PeerFault;
#[cfg(feature = "sasl")]
use crate::login::Next;
use crate::wire::table::Segment;
use crate::wire::{ApiKey, Decode, ErrorCode, api_versions};

/// Version of Metadata that has the cluster id.
pub(crate) const CLUSTER_ID_SINCE: i16 = 2;

/// What a handshake has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeStep {
    /// Send ApiVersions in the version of [`Conn::handshake_version`].
    Versions,
    /// Send SaslHandshake.
    #[cfg(feature = "sasl")]
    Mechanism,
    /// Send the next message of the mechanism.
    #[cfg(feature = "sasl")]
    Authenticate,
    /// Nothing, before a computation has ended or the application has provided a token.
    #[cfg(feature = "sasl")]
    Wait,
    /// Nothing: a ready connection has logged in again.
    #[cfg(feature = "sasl")]
    Renewed,
    /// Request the cluster id: records must not go to another cluster.
    Confirm,
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
    /// The epoch of the cluster's features, and the level of `transaction.version`.
    #[cfg(feature = "transactions")]
    pub(crate) features: (Option<i64>, i16),
    /// The peer belongs to another cluster.
    pub(crate) foreign: bool,
    /// What the mechanism made of the broker's message.
    #[cfg(feature = "sasl")]
    pub(crate) next: Option<Result<Next, LoginFault>>,
    #[cfg(feature = "sasl")]
    pub(crate) lifetime_ms: i64,
}

impl Conn {
    /// Begins the handshake of an established connection. `known` is the ApiVersions version that
    /// its broker accepted last, 0 where that is not known.
    pub(crate) fn begin_handshake(&mut self, known: i16) -> HandshakeStep {
        let ours = api_versions::Response::VERSIONS.1;
        self.handshake_version = if known > 0 { known } else { ours };
        HandshakeStep::Versions
    }

    /// Returns the version in which a handshake sends a request, if it is one of its own: nothing
    /// else is sent before a connection is ready.
    pub(super) fn handshake_version_for(&self, kind: Kind) -> Option<i16> {
        match kind {
            #[cfg(feature = "sasl")]
            Kind::Mechanism | Kind::Authenticate if self.may_log_in() => {
                self.versions.best(kind, i16::MAX)
            }
            _ if self.state != ConnState::Handshake => None,
            Kind::Versions => Some(self.handshake_version),
            kind if kind.confirms() => self.versions.best(kind, i16::MAX),
            _ => None,
        }
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
            #[cfg(feature = "transactions")]
            Some(api_versions::Item::FinalizedEpoch { epoch }) => memo.features.0 = Some(epoch),
            #[cfg(feature = "transactions")]
            Some(api_versions::Item::Finalized { name: "transaction.version", max, .. }) => {
                memo.features.1 = max;
            }
            _ => {}
        }
    }

    /// Ends ApiVersions: the versions are known, or are requested again in a version that the
    /// broker knows, at most once for each lower version. `known`: the client knows which cluster
    /// is its own.
    pub(crate) fn versions_done(
        &mut self,
        memo: &HandshakeMemo,
        known: bool,
    ) -> Result<HandshakeStep, PeerFault> {
        if memo.error == ErrorCode::UNSUPPORTED_VERSION {
            let lower = memo.max.clamp(0, api_versions::Response::VERSIONS.1);
            let again = lower >= self.handshake_version;
            if guard!("ApiVersions is asked once for each lower version", again) {
                let api = ApiKey::API_VERSIONS;
                return Err(PeerFault::NoCommonVersion { api, min: 0, max: memo.max });
            }
            self.handshake_version = lower;
            return Ok(HandshakeStep::Versions);
        }
        if let Some(fault) = self.versions.lacks(Kind::Metadata) {
            return Err(fault);
        }
        Ok(self.confirm_or_ready(known))
    }

    /// Returns what follows the versions and the login.
    pub(crate) fn confirm_or_ready(&mut self, known: bool) -> HandshakeStep {
        let confirms = known && Kind::CONFIRM.is_some_and(|kind| self.names_cluster(kind));
        self.unconfirmed = Kind::CONFIRM.is_some() && !known;
        match guard!("a connection is confirmed before it is ready", confirms) {
            true => HandshakeStep::Confirm,
            false => HandshakeStep::Ready,
        }
    }

    /// Whether responses of this kind have a cluster id: those of 0.10.0 do not.
    fn names_cluster(&self, kind: Kind) -> bool {
        self.versions.best(kind, i16::MAX) >= Some(CLUSTER_ID_SINCE)
    }

    /// Ends the comparison of cluster ids.
    pub(crate) fn confirmed(&self, memo: &HandshakeMemo) -> Result<HandshakeStep, PeerFault> {
        match memo.foreign {
            true => Err(PeerFault::OtherCluster),
            false => Ok(HandshakeStep::Ready),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(conn: &mut Conn, error: i16, max: i16) -> Result<HandshakeStep, PeerFault> {
        let error = ErrorCode(error);
        let memo = HandshakeMemo { error, max, ranges: 1, ..HandshakeMemo::default() };
        conn.versions_done(&memo, false)
    }

    #[test]
    fn versions_are_requested_in_ever_lower_versions_and_then_given_up() {
        let mut conn = Conn::EMPTY;
        assert_eq!(conn.begin_handshake(0), HandshakeStep::Versions);
        assert_eq!(conn.handshake_version, api_versions::Response::VERSIONS.1);
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

    #[cfg(feature = "one-cluster")]
    #[test]
    fn a_connection_is_confirmed_where_its_broker_names_its_cluster() {
        for (most, step) in [(1, HandshakeStep::Ready), (2, HandshakeStep::Confirm)] {
            let mut conn = Conn::EMPTY;
            conn.versions.offer(ApiKey::METADATA, 0, most);
            let memo = HandshakeMemo { ranges: 1, ..HandshakeMemo::default() };
            assert_eq!(conn.versions_done(&memo, true), Ok(step));
        }
        let foreign = HandshakeMemo { foreign: true, ..HandshakeMemo::default() };
        assert_eq!(Conn::EMPTY.confirmed(&foreign), Err(PeerFault::OtherCluster));
    }

    #[test]
    fn only_a_handshake_sends_its_requests() {
        let mut conn = Conn::EMPTY;
        conn.begin_handshake(0);
        assert_eq!(conn.handshake_version_for(Kind::Versions), None, "not established");
        conn.state = ConnState::Handshake;
        assert_eq!(conn.handshake_version_for(Kind::Versions), Some(conn.handshake_version));
        assert_eq!(conn.handshake_version_for(Kind::Metadata), None);
    }
}
