//! Connections: which peers are connected, which requests have no response yet, which bytes are
//! sent next. Knows requests only as bytes, deadlines and tickets; what a response means is for its
//! owner.

mod deadlines;
mod handshake;
mod login;
mod request;
mod traffic;
mod transmit;
mod turns;
mod versions;

use heapless::Vec;

use crate::api::Kind;
use crate::config::Text;
use crate::error::{Misuse, PeerFault};
use crate::has::{REASONS, Silent, WITNESS};
use crate::id::ConnId;
use crate::memory::{Blocks, Chain, Index, Link, Mem, hash};
use crate::rare::Rare;
use crate::time::{Span, Tick};
use crate::watch::{Offer, Watch};
use crate::wire::{ApiKey, Full, Writer};

pub(crate) use deadlines::Verdict;
use deadlines::{Silence, report_at};
pub(crate) use handshake::{CLUSTER_ID_SINCE, HandshakeMemo, HandshakeStep};
#[cfg(feature = "sasl")]
pub(crate) use login::Waits;
pub(crate) use login::{Auth, Login};
use traffic::{Sent, Traffic};
pub(crate) use transmit::Outgoing;
pub use transmit::Transmit;
pub(crate) use versions::{BY_NAME, Versions};

/// Requests without a response per connection. Five are for Produce (KIP-98), the others for
/// everything else.
pub(crate) const IN_FLIGHT: usize = 8;
/// Produce requests in flight per connection: brokers remember five batches per producer.
pub(crate) const PRODUCE_IN_FLIGHT: usize = 5;
/// A request without a response for this long makes its connection the second choice.
pub(crate) const PATIENCE: Span = Span::from_secs(1);
/// With this many connections some are spare.
const ROOMY: usize = 8;
/// Where there are fewer connections than brokers in use, one is closed for another this often.
const ROTATION: Span = Span::from_millis(600);
/// Most that unused turns add up to: sixteen in immediate succession.
const SAVED: Span = Span::from_millis(16 * 600);
/// Any broker that can take requests about the cluster.
pub(crate) const ANYONE: Peer = Peer::Node(-1);

/// What a connection is for. A broker responds in order, so a fetch that waits for records would
/// hold up everything after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Main,
    Fetch,
    /// Beside a main one that has batches in flight, where there are spare connections.
    Probe,
    /// For the first batches of new partitions, which take long, where there are spare connections.
    First,
    /// For a coordinator of groups or transactions, where there are spare connections.
    #[cfg(any(feature = "group", feature = "transactions"))]
    Coordinator,
    /// The same where its requests may be held for long: wherever there are two connections.
    #[cfg(feature = "classic")]
    Round,
}

/// What other code needs of a role. A new role is defined here.
impl Role {
    /// Whether requests that any broker can serve may use it, too.
    pub(crate) const fn is_shared(self) -> bool {
        match self {
            Self::Main | Self::Probe | Self::First => true,
            Self::Fetch => false,
            #[cfg(any(feature = "group", feature = "transactions"))]
            Self::Coordinator => false,
            #[cfg(feature = "classic")]
            Self::Round => false,
        }
    }

    /// Index of a broker's count of the turns in which it got a connection for this role.
    pub(crate) const fn turns(self) -> usize {
        match self {
            Self::Main => 0,
            Self::Fetch | Self::Probe | Self::First => 1,
            #[cfg(any(feature = "group", feature = "transactions"))]
            Self::Coordinator => 1,
            #[cfg(feature = "classic")]
            Self::Round => 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnState {
    Free,
    /// The adapter has not been notified yet.
    Wanted,
    Connecting,
    /// ApiVersions, or another request of the handshake, is in flight.
    Handshake,
    Ready,
    /// Forgotten; the adapter has not been notified yet.
    Doomed,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The n-th bootstrap address.
    Seed(u32),
    /// A broker by node id.
    Node(i32),
}

impl Peer {
    /// Returns the node id as in events: -1 for a bootstrap address.
    pub(crate) const fn node(self) -> i32 {
        match self {
            Self::Seed(_) => -1,
            Self::Node(id) => id,
        }
    }
}

/// What the owner of a request needs when the response arrives.
pub(crate) type Tag = [u32; 2];

/// What has to be known of a request to read its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) kind: Kind,
    pub(crate) version: i16,
    pub(crate) correlation: i32,
    pub(crate) tag: Tag,
}

impl Expected {
    pub(crate) const NONE: Self =
        Self { kind: Kind::Versions, version: 0, correlation: 0, tag: [0; 2] };
}

/// Where a response comes from.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// Slot of the connection.
    pub(crate) conn: usize,
    pub(crate) requested: Expected,
}

/// A request that was sent or is being sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) requested: Expected,
    /// When it was queued.
    since: Tick,
    pub(crate) deadline: Tick,
    /// First of the batches that are sent with it.
    pub(crate) batches: Link,
    ctl: Chain,
    total: u32,
    sent: u32,
    left: Sent,
    /// No response is due: the request ends when its last byte is sent.
    silent: bool,
}

impl InFlight {
    /// Whether the peer may have it: a broker ignores a part of a request.
    pub(crate) const fn left_whole(&self) -> bool {
        self.sent == self.total
    }

    /// Releases the memory of its own bytes.
    fn release(&mut self, blocks: &mut Blocks<'_>) {
        #[cfg(feature = "sasl")]
        self.wipe(blocks);
        blocks.release(&mut self.ctl);
    }
}

/// KIP-227 fetch session with this broker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Session {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
    /// Number of the session, also kept by its partitions; changes when it ends.
    pub(crate) serial: u32,
    /// Topics are named by id (version 13 and later); a session cannot mix.
    pub(crate) by_id: bool,
    /// When to retry after an error without specific handling.
    pub(crate) retry_at: Tick,
}

pub(crate) struct Conn {
    pub(crate) state: ConnState,
    generation: u16,
    pub(crate) role: Role,
    pub(crate) peer: Peer,
    pub(crate) versions: Versions,
    pub(crate) session: Session,
    pub(crate) throttled_until: Tick,
    /// When it was last worth keeping.
    pub(crate) used: Tick,
    /// ApiVersions version that was requested last.
    pub(crate) handshake_version: i16,
    pub(crate) auth: Auth,
    /// It responded to more than ApiVersions, and to what the connection before it failed at.
    pub(crate) proven: bool,
    /// It became ready while no cluster id was known, and has named none since.
    pub(crate) unconfirmed: bool,
    /// Its ListOffsets responses say nothing about partitions that it does not host.
    pub(crate) blind: bool,
    /// When it was established.
    pub(crate) since: Tick,
    /// Another broker needs the slot: no new requests, and the end after the last response.
    drain: bool,
    /// Connect deadline.
    deadline: Tick,
    /// Its next response has arrived and waits for the application, since when: that is not the
    /// peer's fault, and deadlines are suspended.
    blocked: bool,
    blocked_since: Tick,
    /// A deadline passed while the loop was away: what has arrived meanwhile is to be read first.
    overdue: bool,
    overdue_at: Tick,
    /// When bytes last arrived.
    heard: Silent<Tick>,
    /// When bytes of the oldest request last left.
    left_at: Silent<Tick>,
    /// It is silent, and whether the application knows.
    silence: Silence,
    /// Oldest first.
    in_flight: Vec<InFlight, IN_FLIGHT, u8>,
    /// Entries at the front of `in_flight` whose bytes were all sent.
    shown: u8,
    /// How often the deadlines of the requests in flight were renewed, for the response that is
    /// due.
    renewals: u8,
    /// Bytes were queued that the adapter has not been given, and would not poll for by itself.
    unshown: bool,
    /// Unread bytes in the receive buffer.
    pub(crate) rx_start: u32,
    pub(crate) rx_end: u32,
    pub(crate) offer: Offer,
    pub(crate) traffic: Traffic,
}

impl Conn {
    pub(crate) const EMPTY: Self = Self {
        state: ConnState::Free,
        generation: 0,
        role: Role::Main,
        peer: Peer::Seed(0),
        versions: Versions::NONE,
        session: Session { id: 0, epoch: 0, serial: 0, by_id: false, retry_at: Tick::ZERO },
        throttled_until: Tick::ZERO,
        used: Tick::ZERO,
        handshake_version: 0,
        auth: Auth::EMPTY,
        proven: false,
        unconfirmed: false,
        blind: false,
        since: Tick::ZERO,
        drain: false,
        deadline: Tick::ZERO,
        blocked: false,
        blocked_since: Tick::ZERO,
        overdue: false,
        overdue_at: Tick::ZERO,
        heard: Silent::new(Tick::ZERO),
        left_at: Silent::new(Tick::ZERO),
        silence: Silence::No,
        in_flight: Vec::new(),
        shown: 0,
        renewals: 0,
        unshown: false,
        rx_start: 0,
        rx_end: 0,
        offer: Offer::NONE,
        traffic: Traffic::NONE,
    };

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, ConnState::Handshake | ConnState::Ready)
    }

    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.state, ConnState::Free | ConnState::Doomed)
    }

    /// It takes no new requests.
    pub(crate) const fn is_draining(&self) -> bool {
        self.drain
    }

    /// Whether other requests share it with fetches.
    pub(crate) fn is_shared(&self) -> bool {
        self.role.is_shared()
    }

    /// Returns the earliest deadline, for connecting or for a response.
    fn next_deadline(&self) -> Tick {
        match self.state {
            ConnState::Connecting => self.deadline,
            _ if self.waits_for_login() => self.deadline,
            ConnState::Handshake | ConnState::Ready if !self.blocked => {
                self.in_flight.iter().fold(Tick::NEVER, |at, f| at.min(f.deadline))
            }
            _ => Tick::NEVER,
        }
    }

    pub(crate) fn pending(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns the API of the oldest request that has no response yet.
    pub(crate) fn first_asked(&self) -> Option<ApiKey> {
        Some(self.in_flight.first()?.requested.kind.api())
    }

    /// Whether a request of such a kind has no response yet.
    pub(crate) fn awaits(&self, is: impl Fn(Kind) -> bool) -> bool {
        self.in_flight.iter().any(|f| is(f.requested.kind))
    }

    /// Returns when a request without a response makes it the second choice.
    pub(crate) fn late_at(&self) -> Tick {
        let slow = |f: &&InFlight| !f.requested.kind.row().waits;
        let first = self.in_flight.iter().filter(slow).map(|f| f.since).min();
        first.map_or(Tick::NEVER, |since| since + PATIENCE)
    }

    /// Whether nothing is sent over it for now although it is not drained: the broker throttles it.
    /// A ready connection that logs in again is quiet, too.
    pub(crate) fn is_quiet(&self, now: Tick) -> bool {
        now < self.throttled_until || self.is_renewing()
    }

    /// Whether it responds, as far as is known.
    pub(crate) fn is_sound(&self, now: Tick) -> bool {
        self.state == ConnState::Ready && !self.drain && !self.is_quiet(now) && self.late_at() > now
    }

    /// Whether it may take requests about the cluster and can respond now.
    pub(crate) fn takes_requests(&self, now: Tick) -> bool {
        let free = !self.in_flight.is_full() && !self.holds_round();
        self.is_shared() && free && self.is_sound(now)
    }

    /// Whether it waits for the members of a group: what is sent now would, too.
    pub(crate) fn holds_round(&self) -> bool {
        cfg!(feature = "classic") && self.awaits(Kind::is_round)
    }

    /// Whether responses wait for those to batches, of which the first to a new partition takes up
    /// to 1.6 s.
    pub(crate) fn waits_for_batches(&self) -> bool {
        self.pending_of(ApiKey::PRODUCE) > 0
    }

    /// Returns why no request of this kind can be sent about topics without an id, if others can.
    #[inline(always)]
    pub(crate) fn lacks_names(&self, kind: Kind) -> Option<PeerFault> {
        if REASONS { self.versions.lacks_names(kind) } else { None }
    }

    /// Takes the request at a valid index out of the queue.
    #[inline(never)]
    fn take(&mut self, at: usize) -> InFlight {
        self.shown = self.shown.saturating_sub(u8::from(at < usize::from(self.shown)));
        self.in_flight.remove(at)
    }

    /// Requests of a kind that have no response yet.
    pub(crate) fn pending_of(&self, api: ApiKey) -> usize {
        self.in_flight.iter().filter(|f| f.requested.kind.api() == api).count()
    }
}

/// Returns the key of the connections to a peer in a role in the index.
fn place(peer: Peer, role: Role) -> u32 {
    let (kind, id) = match peer {
        Peer::Seed(n) => (0, n),
        Peer::Node(id) => (4, id as u32),
    };
    hash(id.wrapping_mul(8) + kind + role as u32)
}

/// Writes part of a request in this version. Not a type parameter: each type would add a copy of
/// the code around it.
pub(crate) type Body<'f> = &'f mut dyn FnMut(&mut Writer<'_>, i16) -> Result<(), Full>;

/// A request being written.
pub(crate) struct Draft {
    conn: usize,
    kind: Kind,
    pub(crate) version: i16,
    correlation: i32,
    ctl: Chain,
}

impl Draft {
    pub(crate) const fn correlation(&self) -> i32 {
        self.correlation
    }

    /// Bytes written so far, frame length included.
    pub(crate) const fn len(&self) -> u32 {
        self.ctl.len() as u32
    }
}

/// All connections, and the bytes that they send.
pub(crate) struct Net<'d> {
    pub(crate) conns: Mem<'d, Conn>,
    /// Those that are live, by peer and role.
    peers: Index<'d>,
    pub(crate) blocks: Blocks<'d>,
    pub(crate) outgoing: Mem<'d, Outgoing>,
    client_id: Text<'d>,
    pub(crate) login: Login<'d>,
    correlation: i32,
    rare: Rare,
    /// Something was queued or closed since the adapter last polled.
    pub(crate) stirred: bool,
    /// Some connection may have to end: it is empty, or its broker moved or disappeared.
    pub(crate) check: bool,
    /// No deadline of a connection is earlier than this.
    deadline: Tick,
    /// Connections that the adapter has to be notified of.
    actions: usize,
    /// Connections with bytes that it would not poll for by itself.
    unshown: usize,
    /// Connections to bootstrap addresses.
    pub(crate) seeds: usize,
    /// Advances by [`ROTATION`] for each connection that was closed for another one.
    rotated: Tick,
    /// A connection is silent and that has not been reported.
    pub(crate) silence_news: bool,
    /// Connections that are silent.
    silent: usize,
    /// A request or batch waits for send blocks.
    pub(crate) short: bool,
    turns: turns::Turns,
    /// Requests and bytes since the start, for the pace of probes and for statistics.
    pub(crate) requests: u64,
    pub(crate) traffic: Traffic,
    pub(crate) watch: Watch,
}

impl<'d> Net<'d> {
    pub(crate) fn new(
        conns: Mem<'d, Conn>,
        peers: Index<'d>,
        blocks: Blocks<'d>,
        outgoing: Mem<'d, Outgoing>,
        client_id: Text<'d>,
        login: Login<'d>,
        rare: Rare,
    ) -> Self {
        Self {
            conns,
            peers,
            blocks,
            outgoing,
            client_id,
            login,
            correlation: rare.correlation(),
            rare,
            stirred: false,
            check: false,
            deadline: Tick::NEVER,
            actions: 0,
            unshown: 0,
            seeds: 0,
            rotated: Tick::ZERO,
            silence_news: false,
            silent: 0,
            short: false,
            turns: turns::Turns::new(),
            requests: 0,
            traffic: Traffic::NONE,
            watch: Watch::new(),
        }
    }

    pub(crate) fn id(&self, conn: usize) -> ConnId {
        ConnId { index: conn as u16, generation: self.conns[conn].generation }
    }

    /// Returns the slot of an id, unless the connection ended.
    pub(crate) fn slot(&self, id: ConnId) -> Option<usize> {
        let conn = self.conns.get(id.index as usize)?;
        let old = guard!("an old connection id means nothing", conn.generation != id.generation);
        (!old && conn.is_live()).then_some(id.index as usize)
    }

    /// Whether the adapter has something to do for a connection.
    pub(crate) const fn has_actions(&self) -> bool {
        self.actions > 0 || self.login.has_work()
    }

    /// Whether there are bytes that the adapter would not poll for by itself.
    pub(crate) const fn has_unshown(&self) -> bool {
        self.unshown > 0
    }

    /// Notes that the adapter polls for bytes of a connection.
    pub(crate) fn show(&mut self, slot: usize) {
        if core::mem::take(&mut self.conns[slot].unshown) {
            self.unshown -= 1;
        }
    }

    /// Whether there are more connections than a device has, and the build makes use of them.
    pub(crate) fn is_roomy(&self) -> bool {
        WITNESS && self.conns.len() >= ROOMY
    }

    /// Returns how many connections more than a quarter are free; negative where fewer are.
    pub(crate) fn spare(&self) -> isize {
        let free = self.conns.iter().filter(|conn| conn.state == ConnState::Free).count();
        free as isize - (self.conns.len() / 4) as isize
    }

    /// Whether fetches can have connections of their own.
    pub(crate) fn splits_roles(&self) -> bool {
        self.conns.len() > 1
    }

    /// Returns the connection of the lowest rank, starting at `first` and wrapping around; those
    /// without a rank do not count.
    pub(crate) fn in_turn(
        &self,
        first: usize,
        rank: &dyn Fn(&Conn) -> Option<[bool; 3]>,
    ) -> Option<usize> {
        let mut best = None;
        for i in 0..self.conns.len() {
            let slot = (first + i) % self.conns.len();
            if let Some(rank) = rank(&self.conns[slot])
                && best.is_none_or(|(_, other)| rank < other)
            {
                best = Some((slot, rank));
            }
        }
        best.map(|(slot, _)| slot)
    }

    pub(crate) fn role(&self, wanted: Role) -> Role {
        #[cfg(any(feature = "group", feature = "transactions"))]
        if wanted == Role::Coordinator && !self.is_roomy() {
            // A main connection has no Fetch in front of others for longer than 100 ms.
            return Role::Main;
        }
        if self.splits_roles() { wanted } else { Role::Main }
    }

    /// Returns the live connection to a peer in a role.
    pub(crate) fn find(&self, peer: Peer, role: Role) -> Option<usize> {
        let role = self.role(role);
        let mut link = self.peers.first(place(peer, role));
        while let Some(slot) = link.get() {
            let conn = &self.conns[slot];
            if conn.peer == peer && conn.role == role && conn.is_live() {
                return Some(slot);
            }
            link = self.peers.next(slot);
        }
        None
    }

    /// Requests a connection from the adapter; `None` when all slots are taken.
    pub(crate) fn connect(&mut self, now: Tick, peer: Peer, role: Role) -> Option<usize> {
        let role = self.role(role);
        let slot = self.conns.iter().position(|c| c.state == ConnState::Free)?;
        let generation = self.conns[slot].generation.wrapping_add(1);
        self.conns[slot] =
            Conn { state: ConnState::Wanted, generation, role, peer, used: now, ..Conn::EMPTY };
        self.peers.insert(place(peer, role), slot);
        self.seeds += usize::from(matches!(peer, Peer::Seed(_)));
        self.actions += 1;
        self.stirred = true;
        Some(slot)
    }

    /// The same for one of several peers that may want the last free slots, which get them in turn;
    /// `last` was the last turn of `whose`. A broker for requests about the cluster is [`ANYONE`]:
    /// the broker may change from one wish to the next, the turn is the same.
    pub(crate) fn connect_in_turn(
        &mut self,
        now: Tick,
        (whose, peer): (Peer, Peer),
        role: Role,
        last: &mut u16,
    ) -> Option<usize> {
        let role = self.role(role);
        let free = self.conns.iter().any(|c| c.state == ConnState::Free);
        let admitted = self.turns.admit(now, (whose, role), last, free);
        admitted.then(|| self.connect(now, peer, role)).flatten()
    }

    /// Notes that a connection turned out to lead to this peer.
    pub(crate) fn adopt(&mut self, slot: usize, peer: Peer) {
        let conn = &mut self.conns[slot];
        self.peers.remove(place(conn.peer, conn.role), slot);
        conn.peer = peer;
        self.peers.insert(place(peer, conn.role), slot);
        self.seeds -= 1;
        self.stirred = true;
    }

    /// Returns the next slot in a state that the adapter has to be notified of.
    pub(crate) fn next_action(&mut self, deadline: Tick) -> Option<(ConnState, ConnId)> {
        if self.actions == 0 {
            return None;
        }
        let slot = self
            .conns
            .iter()
            .position(|c| matches!(c.state, ConnState::Wanted | ConnState::Doomed))?;
        self.actions -= 1;
        let id = self.id(slot);
        let conn = &mut self.conns[slot];
        let state = conn.state;
        if state == ConnState::Wanted {
            conn.state = ConnState::Connecting;
            conn.deadline = deadline;
            self.deadline = self.deadline.min(deadline).min(report_at(conn.used));
        } else {
            conn.state = ConnState::Free;
        }
        Some((state, id))
    }

    /// Ends a connection. Its requests must have been taken with [`Net::take_lost`] before.
    pub(crate) fn end(&mut self, slot: usize, report_adapter: bool) {
        let conn = &mut self.conns[slot];
        let reported = conn.state != ConnState::Wanted;
        if conn.is_live() {
            self.peers.remove(place(conn.peer, conn.role), slot);
            self.seeds -= usize::from(matches!(conn.peer, Peer::Seed(_)));
        }
        self.actions += usize::from(report_adapter && reported);
        self.actions -= usize::from(!reported);
        self.unshown -= usize::from(core::mem::take(&mut conn.unshown));
        for lost in &mut conn.in_flight {
            lost.release(&mut self.blocks);
        }
        conn.auth = Auth::EMPTY;
        conn.in_flight.clear();
        (conn.shown, conn.renewals) = (0, 0);
        self.silent -= usize::from(conn.silence.end());
        conn.state = if report_adapter && reported { ConnState::Doomed } else { ConnState::Free };
        self.stirred = true;
    }

    /// Takes the oldest request of a connection that ends; no response will arrive.
    pub(crate) fn take_lost(&mut self, slot: usize) -> Option<InFlight> {
        let conn = &mut self.conns[slot];
        conn.in_flight.first()?;
        let mut lost = conn.take(0);
        lost.release(&mut self.blocks);
        Some(lost)
    }

    /// Returns why no broker can take a kind of request at all, where there are connections to send
    /// it over.
    pub(crate) fn lacking(&self, now: Tick, kind: Kind) -> Option<PeerFault> {
        let mut faults =
            self.conns.iter().filter(|c| c.takes_requests(now)).map(|c| c.versions.lacks(kind));
        let first = faults.next()??;
        faults.all(|fault| fault.is_some()).then_some(first)
    }

    /// Whether a connection that is ready takes requests now.
    pub(crate) fn takes_requests(&self, conn: usize, now: Tick) -> bool {
        let slot = &self.conns[conn];
        let free = !slot.drain && !slot.is_quiet(now) && !slot.in_flight.is_full();
        let free = free && guard!("nothing is sent behind a round", !slot.holds_round() => true);
        slot.state == ConnState::Ready && free
    }

    /// Returns the request that the next response on a connection belongs to, by its correlation
    /// id.
    pub(crate) fn expect(&mut self, slot: usize, correlation: i32) -> Result<Expected, PeerFault> {
        let conn = &self.conns[slot];
        let first = conn.in_flight.first().filter(|_| conn.shown > 0);
        let due = first.filter(
            |f| guard!("correlation ids match", f.requested.correlation == correlation => true),
        );
        if let Some(due) = due {
            return Ok(due.requested);
        }
        if cfg!(feature = "misuse") {
            self.suspect_loop(slot, correlation);
        }
        Err(PeerFault::Correlation)
    }

    /// Notes that a response that is not due may be a mistake of the loop.
    fn suspect_loop(&mut self, slot: usize, correlation: i32) {
        let is = |f: &InFlight| f.requested.correlation == correlation;
        let conn = &self.conns[slot];
        let unsent = conn.in_flight.get(usize::from(conn.shown)..).unwrap_or_default();
        if guard!("a response to what was not transmitted is noticed", unsent.iter().any(is)) {
            self.watch.suspect(Misuse::Unreported);
        } else if guard!(
            "bytes of another connection are noticed",
            self.conns.iter().enumerate().any(|(n, c)| n != slot && c.in_flight.iter().any(is))
        ) {
            self.watch.suspect(Misuse::OtherConnection);
        }
    }

    /// Whether a connection never had a chance to send what it is given up for.
    pub(crate) fn was_not_polled(&self, slot: usize) -> bool {
        cfg!(feature = "misuse") && self.conns[slot].unshown
    }

    /// Whether the adapter was notified of the end of a connection, or reported it.
    pub(crate) fn has_ended(&self, id: ConnId) -> bool {
        let conn = self.conns.get(id.index as usize);
        conn.is_some_and(|c| c.generation != id.generation || c.state == ConnState::Free)
    }

    /// Removes the request whose response was read completely from the queue.
    pub(crate) fn responded(&mut self, now: Tick, slot: usize) {
        let conn = &mut self.conns[slot];
        if conn.shown > 0 && !conn.in_flight.is_empty() {
            let request = conn.take(0);
            if !request.requested.kind.row().waits {
                conn.traffic.responded(request.left, now);
            }
        }
        conn.renewals = 0;
        self.check |= conn.in_flight.is_empty();
        self.stirred = true;
    }

    /// Drains a connection: it takes no new requests, and ends after the last response.
    pub(crate) fn drain(&mut self, slot: usize) {
        self.conns[slot].drain = true;
        (self.check, self.stirred) = (true, true);
    }

    /// Returns whether a connection may be closed for another one now; else when.
    pub(crate) fn may_rotate(&self, now: Tick) -> Result<(), Tick> {
        let at = self.rotated - SAVED;
        // With few connections slots change hands faster: little effort is wasted on short
        // connections.
        if self.is_roomy() && guard!("slots rotate slowly", at > now) {
            return Err(at);
        }
        Ok(())
    }

    pub(crate) fn note_rotation(&mut self, now: Tick) {
        self.rotated = self.rotated.max(now) + ROTATION;
    }

    pub(crate) fn established(&mut self, now: Tick, slot: usize) {
        let conn = &mut self.conns[slot];
        conn.since = now;
        conn.state = ConnState::Handshake;
        conn.overdue = false;
        self.silent -= usize::from(conn.silence.end());
        (conn.rx_start, conn.rx_end) = (0, 0);
        self.stirred = true;
    }
}
