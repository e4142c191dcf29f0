//! What keeps a partition from being read.

use super::{Activity, Assignment, Consumer};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::connection::{ConnState, PATIENCE, Peer, Role};
use crate::error::Obstacle;
use crate::has::REASONS;

impl Assignment {
    /// Returns the request that it needs next.
    fn needs(&self) -> Kind {
        match self.state {
            Activity::Resolve => Kind::Offsets,
            _ => Kind::EPOCHS.filter(|_| self.unchecked).unwrap_or(Kind::Fetch),
        }
    }
}

impl<'d> Consumer<'d> {
    /// Returns what keeps a partition from being read, as far as that is known.
    pub(crate) fn obstacle_of(&self, cx: &Cx<'d>, part: usize) -> Option<Obstacle> {
        if !REASONS {
            return None;
        }
        let read = &self.reads[part];
        let refused = read.refused.or(None).map(|error| (read.needs().api(), error));
        cx.obstacle_of(part, refused).or_else(|| self.unanswered(cx, part))
    }

    /// Returns what the connection to the leader is still to bring, or will never.
    fn unanswered(&self, cx: &Cx<'d>, part: usize) -> Option<Obstacle> {
        let (read, broker) = (&self.reads[part], cx.cluster.table[part].leader());
        let kind = read.needs();
        if matches!(read.state, Activity::Off | Activity::Parked)
            || read.paused && kind == Kind::Fetch
        {
            return None;
        }
        let find = |role| cx.net.find(Peer::Node(broker), role);
        let conn = &cx.net.conns[find(Role::Fetch).or_else(|| find(Role::Main))?];
        if conn.state == ConnState::Ready {
            if let Some(fault) = conn.versions.lacks(kind) {
                return Some(Obstacle::Peer { broker, fault });
            }
            let silent = conn.silent_since(cx.settings.fetch_max_wait);
            if read.requested == 0 && silent + PATIENCE > cx.now {
                return None;
            }
        }
        let requested = if read.requested == 0 { conn.first_asked() } else { Some(kind.api()) };
        Some(Obstacle::NoResponse { broker, api: requested })
    }
}
