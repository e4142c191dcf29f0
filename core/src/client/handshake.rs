//! ApiVersions, the first request of every connection (KIP-511).

use super::Commands;
use crate::answer::{AnswerSlot, HandshakeCx};
use crate::api::Kind;
use crate::connection::{Conn, Peer, State};
use crate::error::{Error, PeerFault};
use crate::time::Tick;
use crate::wire::table::Segment;
use crate::wire::{ApiKey, Decode, Encode, ErrorCode, api_versions};

const NAME: &str = "kavka";
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Commands<'_> {
    pub(super) fn begin_handshake(&mut self, now: Tick, slot: usize) {
        self.net.established(now, slot);
        // What the slot's last connection was in the middle of is over.
        self.answers[slot] = AnswerSlot::EMPTY;
        let known = match self.net.conns[slot].peer {
            Peer::Node(id) => self.cluster.broker(id).map_or(0, |b| b.handshake),
            Peer::Seed(_) => 0,
        };
        let ours = api_versions::Answer::VERSIONS.1;
        self.net.conns[slot].handshake_version = if known > 0 { known } else { ours };
        self.ask_versions(now, slot);
    }

    fn ask_versions(&mut self, now: Tick, slot: usize) {
        self.dirty = true;
        let request = api_versions::Request { software_name: NAME, software_version: VERSION };
        let kind = Kind::Versions;
        let draft = self.net.draft(slot, now, kind, &mut |w, version| request.encode(version, w));
        let Some(draft) = draft else {
            // No block free: the connection is tried again later.
            let what = crate::error::LimitKind::SendBlocks;
            return self.lose(now, slot, Error::Limit { what, needed: 1 }, true);
        };
        self.net.send(now, draft, [0; 2], self.cluster.config.connect_timeout);
    }

    /// The answer is complete: the connection is ready, or is asked again with a version that the
    /// broker knows, once for each version that is lower than the last.
    pub(super) fn versions_done(
        &mut self,
        now: Tick,
        slot: usize,
        cx: &HandshakeCx,
    ) -> Result<(), PeerFault> {
        let asked = self.net.conns[slot].handshake_version;
        if cx.error == ErrorCode::UNSUPPORTED_VERSION {
            let lower = cx.max.clamp(0, api_versions::Answer::VERSIONS.1);
            if guard!("ApiVersions is asked once for each lower version", lower >= asked) {
                let api = ApiKey::API_VERSIONS;
                return Err(PeerFault::NoCommonVersion { api, min: 0, max: cx.max });
            }
            self.net.conns[slot].handshake_version = lower;
            self.ask_versions(now, slot);
            return Ok(());
        }
        let versions = &self.net.conns[slot].versions;
        if let Some(fault) = versions.lacks(Kind::Metadata) {
            return Err(fault);
        }
        self.net.conns[slot].state = State::Ready;
        self.net.conns[slot].since = now;
        let peer = self.net.conns[slot].peer;
        if let Peer::Node(id) = peer
            && let Some(broker) = self.cluster.broker_mut(id)
        {
            broker.handshake = asked;
        }
        self.cluster.on_ready(now, peer);
        self.producer.on_ways_changed();
        self.dirty = true;
        Ok(())
    }
}

/// What a broker says of the versions that it speaks.
pub(super) fn on_versions(conn: &mut Conn, cx: &mut HandshakeCx, got: Segment<'_, '_>) {
    match api_versions::item(got) {
        Some(api_versions::Item::Head { error }) => cx.error = error,
        Some(api_versions::Item::Range { api, min, max }) => {
            cx.ranges = cx.ranges.saturating_add(1);
            if api == ApiKey::API_VERSIONS {
                cx.max = max;
            }
            if cx.error == ErrorCode::NONE {
                conn.versions.offer(api, min, max);
            }
        }
        _ => {}
    }
}
