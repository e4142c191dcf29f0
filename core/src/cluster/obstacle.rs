//! What stands in the way, judged in one place: of all requests, of a topic, and of a partition
//! that is read or written.

#[cfg(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early")))]
use super::broker::LastFailure;
#[cfg(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early")))]
use super::identity::HOPELESS;
use super::{Cluster, Cx};
use crate::api::Kind;
use crate::connection::{Conn, ConnState};
use crate::error::{Error, LimitKind, Obstacle, PeerFault};
use crate::has::REASONS;
use crate::time::Tick;
use crate::wire::{ApiKey, ErrorCode};

/// What the last Metadata response said against a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// An error code; [`Self::NO_BROKERS`] and [`Self::NO_TOPIC`] are none of Kafka's.
    code: i16,
    /// Node id of the broker that sent it, -1 for a bootstrap address.
    by: i32,
}

impl Complaint {
    pub(super) const NONE: Self = Self { code: 0, by: 0 };
    /// The response listed no brokers.
    pub(super) const NO_BROKERS: i16 = i16::MIN;
    /// The response left out the topic, or all of its partitions.
    pub(super) const NO_TOPIC: i16 = i16::MIN + 1;

    pub(super) const fn new(code: i16, by: i32) -> Self {
        Self { code, by }
    }

    const fn obstacle(self) -> Option<Obstacle> {
        let broker = self.by;
        Some(match self.code {
            0 => return None,
            Self::NO_BROKERS => Obstacle::Peer { broker, fault: PeerFault::NoBrokers },
            Self::NO_TOPIC => Obstacle::Peer { broker, fault: PeerFault::NoTopic },
            code => {
                let (api, code) = (Some(ApiKey::METADATA), ErrorCode(code));
                Obstacle::Refused { broker, api, code }
            }
        })
    }
}

impl Conn {
    /// Returns the obstacle of what waits for a response over this connection, or for it to be
    /// ready.
    fn no_response(&self) -> Obstacle {
        Obstacle::NoResponse { broker: self.peer.node(), api: self.first_asked() }
    }
}

impl Cluster<'_> {
    /// Notes that a connection ended because it led to another cluster, or because the login was
    /// refused, if it did.
    pub(super) fn note_hopeless(&mut self, now: Tick, error: Error) {
        if error.is_hopeless() {
            self.identity.strayed(now);
        }
    }

    /// Returns from when on requests fail because every known address leads to another cluster or
    /// refuses the login; never if one may not.
    #[cfg(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early")))]
    pub(crate) fn hopeless_at(&self) -> Tick {
        let Some(since) = self.identity.hopeless_since else { return Tick::NEVER };
        let nodes = self.brokers.iter().filter(|broker| broker.used).map(|broker| broker.last);
        let mut all = nodes.chain([self.seeds.last]);
        let hopeless = all.all(LastFailure::is_hopeless);
        match guard!("one address that may lead to ours is enough", hopeless => true) {
            true => since + HOPELESS,
            false => Tick::NEVER,
        }
    }

    #[cfg(not(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early"))))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn hopeless_at(&self) -> Tick {
        Tick::NEVER
    }

    /// Returns the same if it is still to come: those who wait are woken then.
    pub(super) fn hopeless_after(&self, now: Tick) -> Tick {
        let at = if cfg!(feature = "sasl") { self.hopeless_at() } else { Tick::NEVER };
        if at > now { at } else { Tick::NEVER }
    }

    /// Notes which controller a Metadata response names, -1 for none.
    pub(super) const fn note_controller(&mut self, by: i32, controller: i32) {
        let (vain, _) = self.uncontrolled;
        self.uncontrolled = match controller {
            0.. => (0, by),
            _ => (vain.saturating_add(1), by),
        };
    }

    /// Returns that no controller is known, if a broker said so last.
    pub(crate) const fn no_controller(&self) -> Option<Obstacle> {
        match (self.controller, self.uncontrolled) {
            (None, (1.., broker)) => Some(Obstacle::NoController { broker }),
            _ => None,
        }
    }

    /// Returns why requests to a broker fail, where all fail.
    #[cfg(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early")))]
    pub(crate) fn why_hopeless(&self, broker: i32) -> Obstacle {
        let last = self.broker(broker).map_or(self.seeds.last, |broker| broker.last);
        let other = Obstacle::Peer { broker, fault: PeerFault::OtherCluster };
        last.hopeless().and_then(|error| error.as_obstacle(broker, None)).unwrap_or(other)
    }

    #[cfg(not(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early"))))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn why_hopeless(&self, broker: i32) -> Obstacle {
        Obstacle::Peer { broker, fault: PeerFault::OtherCluster }
    }

    /// Notes a response other than one of a handshake: brokers can be reached.
    pub(crate) fn on_response(&mut self) {
        self.trouble = None;
        self.identity.found();
    }
}

impl Cx<'_> {
    /// Returns the obstacle of all requests: a connection failed and no broker has
    /// responded since, or none responds now.
    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        if !REASONS {
            return None;
        }
        if self.cluster.trouble.is_some() {
            return self.cluster.trouble;
        }
        let mut first = None;
        for conn in self.net.conns.iter().filter(|conn| conn.is_live() && conn.is_shared()) {
            // Before the first response of all, none is expected to be quick.
            let waits = !self.cluster.responded && conn.pending() > 0;
            if conn.state == ConnState::Ready && !waits && conn.late_at() > self.now {
                return None;
            }
            first = first.or(Some(conn.no_response()));
        }
        first
    }

    /// Returns the obstacle of a topic that cannot be used.
    pub(crate) fn obstacle_of_topic(&self, slot: usize) -> Option<Obstacle> {
        if !REASONS {
            return None;
        }
        let topic = &self.cluster.topics[slot];
        let (said, api) = (topic.said, Some(ApiKey::METADATA));
        match topic.failure {
            // Not what a broker said: a limit of this client.
            Some(error @ Error::Limit { .. }) => error.as_obstacle(said.by, None),
            Some(error) => said.obstacle().or_else(|| error.as_obstacle(said.by, api)),
            None if topic.ready => None,
            None => said
                .obstacle()
                .or_else(|| self.obstacle())
                .or_else(|| self.awaited(Kind::Metadata).filter(|_| topic.need.serial != 0)),
        }
    }

    /// Returns the obstacle of a partition, as far as the cluster knows it. `refused` is what its
    /// leader returned last to such a request, if that was an error.
    pub(crate) fn obstacle_of(
        &self,
        part: usize,
        refused: Option<(ApiKey, Error)>,
    ) -> Option<Obstacle> {
        let entry = &self.cluster.table[part];
        let slot = usize::from(entry.topic);
        let topic = &self.cluster.topics[slot];
        if !topic.ready || topic.failure.is_some() {
            return self.obstacle_of_topic(slot);
        }
        let leader = entry.leader();
        match entry.broker() {
            _ if entry.index >= topic.count => Some(Obstacle::NoPartition),
            None if leader < 0 => self.cluster.trouble.or(Some(Obstacle::NoLeader)),
            None if self.cluster.brokers.iter().all(|broker| broker.used) => {
                Some(Obstacle::Limit(LimitKind::Brokers))
            }
            None => {
                let (broker, why) = (topic.by.broker, self.cluster.unusable.why(leader));
                Some(Obstacle::NoAddress { broker, leader, why })
            }
            Some(slot) => self.cluster.brokers[slot].last.why_down(leader).or_else(|| {
                let (api, error) = refused?;
                error.as_obstacle(leader, Some(api))
            }),
        }
    }

    /// Returns the obstacle of a request of this kind that has no response, if there is one.
    pub(crate) fn awaited(&self, kind: Kind) -> Option<Obstacle> {
        let conn = self.net.conns.iter().find(|conn| conn.awaits(|requested| requested == kind))?;
        Some(Obstacle::NoResponse { broker: conn.peer.node(), api: Some(kind.api()) })
    }
}
