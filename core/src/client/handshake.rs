//! Sends the requests of a connection's handshake.

use super::Commands;
use crate::api::Kind;
use crate::connection::{Body, ConnState, HandshakeMemo, HandshakeStep, Peer};
use crate::error::{Error, LimitKind, PeerFault};
use crate::response::ResponseSlot;
use crate::wire::{Encode, Full, Writer, api_versions, metadata};

const NAME: &str = "kavka";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes a Metadata request for the cluster alone.
fn no_topics(w: &mut Writer<'_>, version: i16) -> Result<(), Full> {
    metadata::begin(w, version, Some(0))?;
    metadata::end(w, version, false)
}

impl Commands<'_> {
    /// Returns whether every known address has led to another cluster, or has refused the login,
    /// for half a second: records that wait fail, and so does what is produced, until one is ours.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.cx.cluster.hopeless_at() <= self.cx.now
    }

    pub(super) fn begin_handshake(&mut self, slot: usize) {
        self.cx.net.established(self.cx.now, slot);
        // Drop what the slot's last connection was in the middle of.
        self.responses[slot] = ResponseSlot::EMPTY;
        let known = match self.cx.net.conns[slot].peer {
            Peer::Node(id) => self.cx.cluster.broker(id).map_or(0, |b| b.handshake),
            Peer::Seed(_) => 0,
        };
        let next = self.cx.net.conns[slot].begin_handshake(known);
        self.take_step(slot, next);
    }

    /// Handles the end of a response to a handshake request.
    pub(super) fn handshake_done(
        &mut self,
        slot: usize,
        kind: Kind,
        memo: &HandshakeMemo,
    ) -> Result<(), PeerFault> {
        let known = self.cx.cluster.identity.is_known();
        #[cfg(feature = "transactions")]
        if kind == Kind::Versions {
            self.cx.cluster.features.note(memo.features);
        }
        let conn = &mut self.cx.net.conns[slot];
        let next = match kind {
            kind if kind.confirms() => conn.confirmed(memo)?,
            #[cfg(feature = "sasl")]
            Kind::Mechanism => self.mechanism_done(slot, memo)?,
            #[cfg(feature = "sasl")]
            Kind::Authenticate => self.message_done(slot, memo)?,
            _ => match conn.versions_done(memo, known)? {
                #[cfg(feature = "sasl")]
                HandshakeStep::Confirm | HandshakeStep::Ready if self.cx.net.login.is_some() => {
                    self.log_in_first(slot)?
                }
                next => next,
            },
        };
        self.take_step(slot, next);
        Ok(())
    }

    /// Takes the next step of a handshake. A new step belongs here and in [`HandshakeStep`].
    pub(super) fn take_step(&mut self, slot: usize, next: HandshakeStep) {
        self.dirty = true;
        match next {
            HandshakeStep::Versions => self.request_versions(slot),
            #[cfg(feature = "sasl")]
            HandshakeStep::Mechanism => self.name_mechanism(slot),
            #[cfg(feature = "sasl")]
            HandshakeStep::Authenticate => self.send_message(slot),
            #[cfg(feature = "sasl")]
            HandshakeStep::Wait => {}
            #[cfg(feature = "sasl")]
            HandshakeStep::Renewed => self.renewed(),
            HandshakeStep::Confirm => self.request_cluster_id(slot),
            HandshakeStep::Ready => self.be_ready(slot),
        }
    }

    fn request_versions(&mut self, slot: usize) {
        let request = api_versions::Request { software_name: NAME, software_version: VERSION };
        self.send_handshake(slot, Kind::Versions, &mut |w, version| request.encode(version, w));
    }

    fn request_cluster_id(&mut self, slot: usize) {
        let Some(kind) = Kind::CONFIRM else { return };
        self.send_handshake(slot, kind, &mut no_topics);
    }

    pub(super) fn send_handshake(&mut self, slot: usize, kind: Kind, body: Body<'_>) {
        let (now, timeout) = (self.cx.now, self.cx.settings.connect_timeout);
        let net = &mut self.cx.net;
        let draft = net.draft(slot, now, kind, body);
        let Some(draft) = draft else {
            // No block is free: the connection is retried later.
            let what = LimitKind::SendBlocks;
            return self.lose(slot, Error::Limit { what, needed: 1 }, true);
        };
        net.send(now, draft, [0; 2], timeout);
    }

    fn be_ready(&mut self, slot: usize) {
        let conn = &mut self.cx.net.conns[slot];
        (conn.state, conn.since) = (ConnState::Ready, self.cx.now);
        let (peer, version) = (conn.peer, conn.handshake_version);
        if let Peer::Node(id) = peer
            && let Some(broker) = self.cx.cluster.broker_mut(id)
        {
            broker.handshake = version;
        }
        self.cx.on_ready(peer);
        self.owners.producer.on_ways_changed();
    }
}
