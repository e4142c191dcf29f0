//! Which peers to connect to, and when to try again.

use super::broker::LastFailure;
use super::{Broker, Cluster, Cx};
use crate::connection::{ANYONE, Conn, ConnState, PATIENCE, Peer, Role};
use crate::error::Error;
use crate::has::{REASONS, WITNESS};
use crate::memory::{Link, backoff};
use crate::time::{Span, Tick};
use crate::wire::ApiKey;

/// Brokers kept connected for probes, if there are so many, and spare connections.
const WITNESSES: usize = 3;
/// With fewer connections than brokers in use, each one keeps its slot at least this long.
const DWELL: Span = Span::from_millis(300);

/// A connection that lasted for so long is no attempt that failed.
const LASTED: Span = Span::from_secs(10);

/// The bootstrap list.
pub(super) struct Seeds {
    next: u32,
    /// Rounds in which every one failed.
    failures: u8,
    pub(super) retry_at: Tick,
    pub(super) last: LastFailure,
    /// Which one that was of.
    pub(super) failed: u32,
    /// Those before this one were compared with our cluster, or need not be.
    #[cfg(feature = "one-cluster")]
    pub(super) compared: u32,
    /// The turn in which a peer for cluster requests was connected last.
    turn: u16,
    /// A connection to one of them responded with less than is known (R4).
    pub(super) stale_until: Tick,
}

impl Seeds {
    pub(super) const fn new(first: u32) -> Self {
        Self {
            next: first,
            failures: 0,
            retry_at: Tick::ZERO,
            last: LastFailure::NONE,
            failed: 0,
            #[cfg(feature = "one-cluster")]
            compared: 0,
            turn: 0,
            stale_until: Tick::ZERO,
        }
    }
}

/// The outcome of a wish for a connection.
pub(crate) enum Wish {
    Ready(usize),
    /// Try again at this time at the latest, or when something happens.
    Later(Tick),
}

impl<'d> Cluster<'d> {
    /// Returns the peer of a node id; for -1 the bootstrap address that failed last.
    pub(crate) fn peer_of(&self, node: i32) -> Peer {
        if node < 0 { Peer::Seed(self.seeds.failed) } else { Peer::Node(node) }
    }

    /// Notes that a peer does not respond: of the bootstrap addresses it is the one that an event
    /// names next.
    pub(crate) fn on_silent(&mut self, peer: Peer) {
        if let Peer::Seed(n) = peer {
            let of_seed = self.trouble.is_some_and(|trouble| trouble.broker() == Some(-1));
            let of_other = REASONS && of_seed && n != self.seeds.failed;
            if guard!("another address's reason is not this one's", of_other) {
                self.trouble = None; // then the connections say what does not respond
            }
            self.seeds.failed = guard!("a silence is that of its address", n => self.seeds.failed);
        }
    }

    /// Notes a response other than ApiVersions. Any listener responds to that one before it reports
    /// its objections, so earlier failures are forgotten only now; those at a certain request only
    /// with a response to that. Returns whether they are.
    pub(crate) fn on_proven(&mut self, peer: Peer, api: ApiKey) -> bool {
        self.responded = true;
        match peer {
            Peer::Seed(_) if !self.seeds.last.is_over_with(api) => return false,
            Peer::Seed(_) => {
                self.seeds.failures = 0;
                self.seeds.last.forget_known();
            }
            Peer::Node(id) => {
                if let Some(broker) = self.broker_mut(id) {
                    if !broker.last.is_over_with(api) {
                        return false;
                    }
                    broker.last.forget_known();
                    broker.failures = guard!("who answers is sound", 0 => broker.failures);
                }
            }
        }
        true
    }

    /// Whether there is a failed connection that was not reported to the application.
    pub(super) fn has_failures(&self) -> bool {
        let news = |broker: &Broker| broker.last.has_news();
        self.broker_news && (self.seeds.last.has_news() || self.brokers.iter().any(news))
    }

    /// Takes the next failed connection that was not reported to the application.
    pub(crate) fn take_broker_news(&mut self) -> Option<(i32, Error)> {
        if let Some(error) = self.seeds.last.take_news() {
            return Some((-1, error));
        }
        for broker in self.brokers.iter_mut() {
            if let Some(error) = broker.last.take_news() {
                return Some((broker.id, error));
            }
        }
        self.broker_news = false;
        None
    }
}

impl<'d> Cx<'d> {
    /// Returns host and port of a peer.
    pub(crate) fn address(&self, peer: Peer) -> Option<(&str, u16)> {
        match peer {
            Peer::Seed(n) => self.settings.seed(n as usize),
            Peer::Node(id) => {
                self.cluster.broker(id).map(|b| (self.cluster.hosts.get(b.host), b.port))
            }
        }
    }

    /// Returns a connection to a certain broker, opening one if necessary.
    pub(crate) fn wish(&mut self, node: i32, role: Role) -> Wish {
        let peer = Peer::Node(node);
        let mut role = role;
        // One connection to each broker is better than two to some and none to others.
        if role == Role::Fetch && self.net.find(peer, role).is_none() && self.is_crowded() {
            role = Role::Main;
        }
        if let Some(conn) = self.net.find(peer, role) {
            let found = &self.net.conns[conn];
            let ready =
                found.state == ConnState::Ready && !found.is_draining() && !found.is_renewing();
            return if ready { Wish::Ready(conn) } else { Wish::Later(Tick::NEVER) };
        }
        let Some(broker) = self.cluster.broker_mut(node) else { return Wish::Later(Tick::NEVER) };
        if broker.retry_at > self.now {
            return Wish::Later(broker.retry_at);
        }
        let last = &mut broker.turns[self.net.role(role).turns()];
        if self.net.connect_in_turn(self.now, (peer, peer), role, last).is_some() {
            return Wish::Later(Tick::NEVER);
        }
        Wish::Later(self.evict_connection())
    }

    /// Returns whether there are too few connections for two to each broker in use. A handful of
    /// them changes peers all the time, and requests should not wait behind records.
    fn is_crowded(&self) -> bool {
        self.net.is_roomy() && self.net.conns.len() < 2 * self.cluster.table.leaders()
    }

    /// Ensures a connection for cluster requests. Returns when to check again.
    pub(super) fn ensure_main(&mut self) -> Tick {
        let (mut hopeful, mut wake, mut behind) = (Tick::NEVER, Tick::NEVER, false);
        for conn in self.net.conns.iter().filter(|c| c.role == Role::Main && c.is_live()) {
            if conn.is_sound(self.now) {
                if !self.cluster.is_stale(conn.peer.node(), self.now) {
                    return conn.late_at();
                }
                behind = true;
                wake = wake.min(conn.late_at());
            }
            let comes = conn.state != ConnState::Ready || conn.is_renewing();
            if comes && conn.used + PATIENCE > self.now {
                hopeful = hopeful.min(conn.used + PATIENCE);
            }
            if conn.throttled_until > self.now {
                wake = wake.min(conn.throttled_until);
            }
        }
        if hopeful != Tick::NEVER {
            return hopeful.min(wake);
        }
        let Some((at, peer)) = self.candidate(behind) else { return wake };
        if at > self.now {
            return wake.min(at);
        }
        let turn = &mut self.cluster.seeds.turn;
        let next = match self.net.connect_in_turn(self.now, (ANYONE, peer), Role::Main, turn) {
            Some(_) => {
                if let Peer::Seed(n) = peer {
                    // An address that is still to be reported to the application is kept.
                    let seeds = &mut self.cluster.seeds;
                    if !seeds.last.has_news() {
                        seeds.failed = n;
                    }
                    self.seed_used();
                }
                self.now + PATIENCE
            }
            None if behind => self.relieve(),
            None => self.evict_connection(),
        };
        wake.min(next)
    }

    /// Replaces a connection to a stale broker after a while: it is better than none, but may never
    /// catch up with what only others know. Returns when to check again.
    fn relieve(&mut self) -> Tick {
        let mut next = Tick::NEVER;
        for slot in 0..self.net.conns.len() {
            let conn = &self.net.conns[slot];
            let main = conn.role == Role::Main && conn.is_live();
            if !main || conn.is_draining() || !self.cluster.is_stale(conn.peer.node(), self.now) {
                continue;
            }
            let due = conn.since + PATIENCE;
            if due <= self.now {
                if guard!("who is behind makes way", true) {
                    self.net.drain(slot);
                }
                return self.now + DWELL;
            }
            next = next.min(due);
        }
        next
    }

    /// Connects one more witness: a single broker may be stale without knowing it. With spare
    /// connections, up to three are kept for requests, beside the main connection where that has
    /// batches in flight.
    pub(super) fn add_witness(&mut self) {
        if !WITNESS {
            return;
        }
        let requested = self
            .net
            .conns
            .iter()
            .filter(|c| c.is_live() && c.is_shared() && !c.waits_for_batches());
        if !self.net.is_roomy() || self.net.spare() < 0 || requested.count() >= WITNESSES {
            return;
        }
        let missing = |id: i32| {
            let peer = Peer::Node(id);
            match self.net.find(peer, Role::Main) {
                None => Some(Role::Main),
                Some(main) if !self.net.conns[main].waits_for_batches() => None,
                Some(_) => self.net.find(peer, Role::Probe).is_none().then_some(Role::Probe),
            }
        };
        let fits = self
            .cluster
            .brokers
            .iter()
            .filter(|b| b.used && b.retry_at <= self.now && b.stale_until <= self.now);
        let next = fits.filter_map(|b| Some((b.id, missing(b.id)?))).next();
        if let Some((id, role)) = next {
            self.net.connect(self.now, Peer::Node(id), role);
        }
    }

    /// Returns the peer that may be connected soonest: sound brokers, then the bootstrap list, then
    /// the others. With `current` only brokers, and none while it is known to be stale.
    fn candidate(&mut self, current: bool) -> Option<(Tick, Peer)> {
        self.cluster.turn = self.cluster.turn.wrapping_add(1);
        let count = self.cluster.brokers.len();
        let mut best: Option<((Tick, bool), Peer)> = None;
        for i in 0..count {
            let broker = &self.cluster.brokers[(self.cluster.turn + i) % count];
            let peer = Peer::Node(broker.id);
            if !broker.used || self.net.find(peer, Role::Main).is_some() {
                continue;
            }
            let stale_until = if current { broker.stale_until } else { Tick::ZERO };
            let at = broker.retry_at.max(stale_until).max(self.now);
            let rank = (at, broker.stale_until > self.now);
            if best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, peer));
            }
        }
        let best = best.map(|((at, _), peer)| (at, peer));
        let seed = Peer::Seed(self.cluster.seeds.next % self.settings.seeds().max(1) as u32);
        if current {
            return best;
        }
        let seed_is_free = self.net.find(seed, Role::Main).is_none();
        match best {
            Some((at, _)) if seed_is_free && at > self.cluster.seeds.retry_at.max(self.now) => {
                Some((self.cluster.seeds.retry_at, seed))
            }
            None if seed_is_free => Some((self.cluster.seeds.retry_at, seed)),
            best => best,
        }
    }

    fn seed_used(&mut self) {
        self.cluster.seeds.next =
            (self.cluster.seeds.next + 1) % self.settings.seeds().max(1) as u32;
        let at = backoff(
            &mut self.rng,
            self.now,
            self.settings.reconnect_backoff,
            self.settings.reconnect_backoff_max,
            self.cluster.seeds.failures,
        );
        if self.cluster.seeds.next == 0 {
            self.cluster.seeds.failures = self.cluster.seeds.failures.saturating_add(1);
            self.cluster.seeds.retry_at = at;
        }
    }

    /// Notes that a connection is ready to be used.
    pub(crate) fn on_ready(&mut self, peer: Peer) {
        match peer {
            Peer::Seed(_) => {
                // A peer that completes the handshake and closes must not be reconnected in a loop.
                let at = self.now + self.settings.reconnect_backoff;
                self.cluster.seeds.retry_at = self.cluster.seeds.retry_at.max(at);
                self.cluster.seeds.last.dismiss();
            }
            Peer::Node(id) => {
                if let Some(broker) = self.cluster.broker_mut(id) {
                    broker.last.dismiss();
                }
            }
        }
    }

    /// Notes that a connection ended or failed to open.
    /// `api` is the oldest request that had no response; `since`: when it was established, if it
    /// was ready.
    pub(crate) fn on_closed(
        &mut self,
        peer: Peer,
        error: Error,
        (api, since): (Option<ApiKey>, Option<Tick>),
    ) {
        let lasted = REASONS && since.is_some_and(|since| since + LASTED <= self.now);
        let last = LastFailure::new(error, api, since.is_some());
        self.cluster.broker_news = true;
        let (base, max) = (self.settings.reconnect_backoff, self.settings.reconnect_backoff_max);
        // A refusal is not worth a quick second attempt.
        let refused = guard!("a refused login is repeated slowly", error.is_refusal() => false);
        let base = if refused { max } else { base };
        self.cluster.trouble = error.as_obstacle(peer.node(), api).filter(|_| REASONS);
        self.cluster.note_hopeless(self.now, error);
        match peer {
            Peer::Seed(n) => {
                let seeds = &mut self.cluster.seeds;
                (seeds.last, seeds.failed) = (last, n);
                // The end of the list.
                if refused && seeds.next == 0 {
                    let at = backoff(&mut self.rng, self.now, base, max, 0);
                    seeds.retry_at = seeds.retry_at.max(at);
                }
            }
            Peer::Node(id) => {
                let failures = match self.cluster.broker(id) {
                    Some(broker) if !lasted => broker.failures,
                    _ => 0,
                };
                let at = backoff(&mut self.rng, self.now, base, max, failures);
                if let Some(broker) = self.cluster.broker_mut(id) {
                    broker.failures = failures.saturating_add(1);
                    broker.retry_at = at;
                    broker.last = last;
                }
                let mut led = self
                    .cluster
                    .broker_slot(id)
                    .map_or(Link::NONE, |b| self.cluster.table.first_led(b));
                while let Some(part) = led.get() {
                    self.refresh(usize::from(self.cluster.table[part].topic));
                    led = self.cluster.table.next_led(part);
                }
            }
        }
    }

    /// Notes that the last connection to a peer ended, and that this is no failure.
    pub(crate) fn forgive(&mut self, peer: Peer) {
        self.cluster.on_response();
        match peer {
            Peer::Seed(_) => self.cluster.seeds.last = LastFailure::NONE,
            Peer::Node(id) => {
                if let Some(broker) = self.cluster.broker_mut(id) {
                    (broker.failures, broker.retry_at) = (0, self.now);
                    broker.last = LastFailure::NONE;
                }
            }
        }
    }

    /// Connects once to each bootstrap address that no broker of the cluster has, one at a time:
    /// the list may lead to two clusters, and one that is not ours is reported when it is refused.
    /// Only where there are spare connections.
    #[cfg(feature = "one-cluster")]
    pub(super) fn compare_seeds(&mut self) {
        let identity = &self.cluster.identity;
        if self.cluster.seeds.compared == u32::MAX || !identity.is_known() || self.net.seeds > 0 {
            return;
        }
        if !self.net.is_roomy() || self.net.spare() < 0 {
            return;
        }
        let (ours, count) = (identity.seed(), self.settings.seeds() as u32);
        while self.cluster.seeds.compared < count && !self.settings.accept_other_cluster {
            let seed = self.cluster.seeds.compared;
            self.cluster.seeds.compared += 1;
            let known = ours == Some(seed) || self.node_at(seed).is_some();
            if guard!("each bootstrap address is compared with our cluster", !known) {
                self.net.connect(self.now, Peer::Seed(seed), Role::Main);
                return;
            }
        }
        self.cluster.seeds.compared = u32::MAX;
    }

    /// Returns the broker that has the address of the n-th bootstrap address.
    fn node_at(&self, seed: u32) -> Option<i32> {
        let (host, port) = self.settings.seed(seed as usize)?;
        let same = |b: &&Broker| b.used && b.port == port && self.cluster.hosts.get(b.host) == host;
        self.cluster.brokers.iter().find(same).map(|broker| broker.id)
    }

    /// Turns bootstrap connections into connections to the broker that they turned out to lead to;
    /// those that lead to no known broker end once they are not needed.
    pub(super) fn adopt_seeds(&mut self) {
        // Usually there is none, a moment after the start.
        let slots = if self.net.seeds > 0 { self.net.conns.len() } else { 0 };
        for slot in 0..slots {
            let Peer::Seed(seed) = self.net.conns[slot].peer else { continue };
            if self.net.conns[slot].state != ConnState::Ready {
                continue;
            }
            match self.node_at(seed).map(Peer::Node) {
                Some(peer) if self.net.find(peer, Role::Main).is_none() => {
                    self.net.adopt(slot, peer);
                }
                _ => {
                    let others = self.net.conns.iter().enumerate().any(|(other, c)| {
                        // One that does not respond is the reason why this one was opened.
                        other != slot && c.role == Role::Main && c.is_sound(self.now)
                    });
                    if others && self.net.conns[slot].pending() == 0 {
                        self.net.end(slot, true);
                    }
                }
            }
        }
    }

    /// Frees a slot when all are taken: the connection whose end costs least is drained or ends at
    /// once. Returns when to check again.
    fn evict_connection(&mut self) -> Tick {
        if let Err(at) = self.net.may_rotate(self.now) {
            return at;
        }
        let (mut victim, mut next) = (None, Tick::NEVER);
        for (slot, conn) in self.net.conns.iter().enumerate() {
            if guard!("a connection that holds a round takes no turns", conn.holds_round()) {
                continue;
            }
            let due = match conn.state {
                ConnState::Free | ConnState::Doomed => return self.now + DWELL,
                _ if conn.is_draining() => return self.now + DWELL,
                ConnState::Wanted => continue,
                ConnState::Ready => conn.since + DWELL,
                // Others need not wait until this one is given up.
                ConnState::Connecting | ConnState::Handshake => conn.used + PATIENCE,
            };
            next = next.min(due);
            // Unneeded ones first, and second ones to a broker; then those without work for a
            // while.
            let busy = conn.pending() > 0 || conn.used + DWELL > self.now;
            let rank = (!self.is_spare(conn), busy, conn.since);
            if due <= self.now && victim.is_none_or(|(_, other)| rank < other) {
                victim = Some((slot, rank));
            }
        }
        let Some((slot, _)) = victim else { return next };
        self.net.note_rotation(self.now);
        if self.net.conns[slot].pending() == 0 || self.net.conns[slot].state != ConnState::Ready {
            self.net.end(slot, true);
        } else {
            self.net.drain(slot);
        }
        self.now + DWELL
    }

    /// Returns whether a connection's peer leads nothing in use, or it is the second one to a
    /// broker.
    fn is_spare(&self, conn: &Conn) -> bool {
        // With only a handful, all take turns: a second one would never live long enough to be of
        // use.
        if !self.net.is_roomy() {
            return false;
        }
        let Peer::Node(id) = conn.peer else { return true };
        #[cfg(any(feature = "group", feature = "transactions"))]
        if conn.role == Role::Coordinator {
            return false;
        }
        #[cfg(feature = "classic")]
        if conn.role == Role::Round {
            return false;
        }
        let leads = self
            .cluster
            .broker_slot(id)
            .is_some_and(|slot| !self.cluster.table.first_led(slot).is_none());
        !leads || (conn.role != Role::Main && self.net.find(conn.peer, Role::Main).is_some())
    }
}
