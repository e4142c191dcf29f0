//! Connections: who is connected, what was asked and not answered yet, which bytes go out next.
//! Knows requests only as bytes, deadlines and tickets; what an answer means is for its owner.

mod deadlines;
mod transmit;
mod turns;
mod versions;

use heapless::Vec;

use crate::api::Kind;
use crate::error::PeerFault;
use crate::id::ConnId;
use crate::memory::{Blocks, Chain, ChainSink, Index, Link, Mem, hash};
use crate::rare::Rare;
use crate::time::{Span, Tick};
use crate::wire::{ApiKey, Full, Writer, header};

pub(crate) use deadlines::Verdict;
use deadlines::{REPORT, Silence};
pub(crate) use transmit::Outgoing;
pub use transmit::Transmit;
pub(crate) use versions::Versions;

/// Requests without an answer per connection. Five are for Produce (KIP-98), the others for
/// everything else.
pub(crate) const IN_FLIGHT: usize = 8;
/// Produce requests in flight per connection: brokers remember five batches per producer.
pub(crate) const PRODUCE_IN_FLIGHT: usize = 5;
/// A request without an answer for this long makes its connection the second choice.
pub(crate) const PATIENCE: Span = Span::from_secs(1);
/// With so many connections some are to spare.
const ROOMY: usize = 8;
/// Where there are fewer connections than brokers in use, one makes way for another this often.
const ROTATION: Span = Span::from_millis(600);
/// What was saved up by not doing so: sixteen of them one right after the other.
const SAVED: Span = Span::from_millis(16 * 600);
/// Whoever can be asked about the cluster.
pub(crate) const ANYONE: Peer = Peer::Node(-1);

/// What a connection is for. A broker answers in order, so a fetch that waits for records would
/// hold up everything behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Main,
    Fetch,
    /// Beside a main one that has batches on its way, where there are connections to spare.
    Probe,
    /// For the first batches of new partitions, which take long, where there are such.
    First,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    /// The adapter was not told yet.
    Wanted,
    Connecting,
    /// ApiVersions is under way.
    Handshake,
    Ready,
    /// Forgotten; the adapter was not told yet.
    Doomed,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The n-th bootstrap address.
    Seed(u32),
    /// A broker by node id.
    Node(i32),
}

impl Peer {
    /// As events show it: -1 for a bootstrap address.
    pub(crate) const fn node(self) -> i32 {
        match self {
            Self::Seed(_) => -1,
            Self::Node(id) => id,
        }
    }
}

/// What its owner has to know again when the answer comes.
pub(crate) type Tag = [u32; 2];

/// What has to be known of a request to read its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) kind: Kind,
    pub(crate) version: i16,
    pub(crate) correlation: i32,
    pub(crate) tag: Tag,
}

impl Question {
    pub(crate) const NONE: Self =
        Self { kind: Kind::Versions, version: 0, correlation: 0, tag: [0; 2] };
}

/// Where an answer comes from.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) now: Tick,
    /// Slot of the connection.
    pub(crate) conn: usize,
    pub(crate) asked: Question,
}

/// A request that left or is leaving.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) asked: Question,
    /// When it was queued.
    since: Tick,
    pub(crate) deadline: Tick,
    /// First of the batches that go out with it.
    pub(crate) batches: Link,
    ctl: Chain,
    total: u32,
    sent: u32,
    /// No answer comes: it is over when its last byte was sent.
    silent: bool,
}

impl InFlight {
    /// Whether the peer may have it: a part of it is nothing to a broker.
    pub(crate) const fn left_whole(&self) -> bool {
        self.sent == self.total
    }
}

/// KIP-227 fetch session with this broker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Session {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
    /// The session of the partitions that carry the same number; another one when it ends.
    pub(crate) serial: u32,
    /// Topics are named by id (version 13 and later); a session cannot mix.
    pub(crate) by_id: bool,
    /// After an error without a remedy of its own.
    pub(crate) retry_at: Tick,
}

pub(crate) struct Conn {
    pub(crate) state: State,
    generation: u16,
    pub(crate) role: Role,
    pub(crate) peer: Peer,
    pub(crate) versions: Versions,
    pub(crate) session: Session,
    pub(crate) throttled_until: Tick,
    /// When it was last worth keeping.
    pub(crate) used: Tick,
    /// ApiVersions version that was asked last.
    pub(crate) handshake_version: i16,
    /// It answered more than ApiVersions.
    pub(crate) proven: bool,
    /// Its ListOffsets answers say nothing about partitions that it does not host.
    pub(crate) blind: bool,
    /// When it was established.
    pub(crate) since: Tick,
    /// Another broker needs the slot: no new requests, and the end after the last answer.
    drain: bool,
    /// Connect deadline.
    deadline: Tick,
    /// Its next answer lies here and waits for the application, since when: that is not the peer's
    /// fault, and deadlines rest.
    blocked: bool,
    blocked_since: Tick,
    /// A deadline passed while nobody looked: what has arrived meanwhile is to be read first.
    overdue: bool,
    overdue_at: Tick,
    /// When bytes came last.
    heard: Tick,
    /// It is silent, and whether the application knows.
    silence: Silence,
    /// Oldest first.
    in_flight: Vec<InFlight, IN_FLIGHT, u8>,
    /// Entries at the front of `in_flight` whose bytes all left.
    shown: u8,
    /// Something was queued that the adapter was not shown, and would not look for by itself.
    unshown: bool,
    /// Unread bytes in the receive buffer.
    pub(crate) rx_start: u32,
    pub(crate) rx_end: u32,
}

impl Conn {
    pub(crate) const EMPTY: Self = Self {
        state: State::Free,
        generation: 0,
        role: Role::Main,
        peer: Peer::Seed(0),
        versions: Versions::NONE,
        session: Session { id: 0, epoch: 0, serial: 0, by_id: false, retry_at: Tick::ZERO },
        throttled_until: Tick::ZERO,
        used: Tick::ZERO,
        handshake_version: 0,
        proven: false,
        blind: false,
        since: Tick::ZERO,
        drain: false,
        deadline: Tick::ZERO,
        blocked: false,
        blocked_since: Tick::ZERO,
        overdue: false,
        overdue_at: Tick::ZERO,
        heard: Tick::ZERO,
        silence: Silence::No,
        in_flight: Vec::new(),
        shown: 0,
        unshown: false,
        rx_start: 0,
        rx_end: 0,
    };

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Handshake | State::Ready)
    }

    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.state, State::Free | State::Doomed)
    }

    /// It takes no new requests.
    pub(crate) const fn is_draining(&self) -> bool {
        self.drain
    }

    /// Whether other requests share it with fetches.
    pub(crate) fn is_shared(&self) -> bool {
        self.role != Role::Fetch
    }

    /// The earliest deadline, for connecting or for an answer.
    fn next_deadline(&self) -> Tick {
        match self.state {
            State::Connecting => self.deadline,
            State::Handshake | State::Ready if !self.blocked => {
                self.in_flight.iter().fold(Tick::NEVER, |at, f| at.min(f.deadline))
            }
            _ => Tick::NEVER,
        }
    }

    pub(crate) fn pending(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether a request of such a kind has no answer yet.
    pub(crate) fn awaits(&self, is: impl Fn(Kind) -> bool) -> bool {
        self.in_flight.iter().any(|f| is(f.asked.kind))
    }

    /// When a request without an answer makes it the second choice.
    pub(crate) fn late_at(&self) -> Tick {
        let slow = |f: &&InFlight| !f.asked.kind.row().waits;
        let first = self.in_flight.iter().filter(slow).map(|f| f.since).min();
        first.map_or(Tick::NEVER, |since| since + PATIENCE)
    }

    /// Whether it answers, as far as is known.
    pub(crate) fn is_sound(&self, now: Tick) -> bool {
        self.state == State::Ready
            && !self.drain
            && now >= self.throttled_until
            && self.late_at() > now
    }

    /// Whether it may be asked about the cluster and has a chance to answer now.
    pub(crate) fn can_ask(&self, now: Tick) -> bool {
        self.role != Role::Fetch && !self.in_flight.is_full() && self.is_sound(now)
    }

    /// Whether answers wait behind those to batches, of which the first to a new partition takes
    /// up to 1.6 s.
    pub(crate) fn is_behind_batches(&self) -> bool {
        self.pending_of(ApiKey::PRODUCE) > 0
    }

    /// Takes a request out of the queue; there is one at that place.
    #[inline(never)]
    fn take(&mut self, at: usize) -> InFlight {
        self.shown = self.shown.saturating_sub(u8::from(at < usize::from(self.shown)));
        self.in_flight.remove(at)
    }

    /// Requests of a kind that have no answer yet.
    pub(crate) fn pending_of(&self, api: ApiKey) -> usize {
        self.in_flight.iter().filter(|f| f.asked.kind.api() == api).count()
    }
}

/// Where the index has the connections to a peer in a role.
fn place(peer: Peer, role: Role) -> u32 {
    let (kind, id) = match peer {
        Peer::Seed(n) => (0, n),
        Peer::Node(id) => (4, id as u32),
    };
    hash(id.wrapping_mul(8) + kind + role as u32)
}

/// Writes part of a request in this version. Not a type parameter: each would bring a copy of what
/// is around it.
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
    client_id: &'d str,
    correlation: i32,
    rare: Rare,
    /// Something was queued or closed since the adapter looked last.
    pub(crate) stirred: bool,
    /// Some connection may have to end: it is empty, or its broker moved or went.
    pub(crate) check: bool,
    /// No deadline of a connection is earlier than this.
    deadline: Tick,
    /// Connections that the adapter has to be told of.
    actions: usize,
    /// Connections with bytes that it would not look for by itself.
    unshown: usize,
    /// Connections to bootstrap addresses.
    pub(crate) seeds: usize,
    /// Each connection that made way for another one took [`ROTATION`] from there on.
    rotated: Tick,
    /// A connection is silent that the application was not told of.
    pub(crate) silence_news: bool,
    /// Somebody waits for send blocks.
    pub(crate) short: bool,
    turns: turns::Turns,
    /// Requests and bytes since the start, for the pace of probes and for statistics.
    pub(crate) requests: u64,
}

impl<'d> Net<'d> {
    pub(crate) fn new(
        conns: Mem<'d, Conn>,
        peers: Index<'d>,
        blocks: Blocks<'d>,
        outgoing: Mem<'d, Outgoing>,
        client_id: &'d str,
        rare: Rare,
    ) -> Self {
        Self {
            conns,
            peers,
            blocks,
            outgoing,
            client_id,
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
            short: false,
            turns: turns::Turns::new(),
            requests: 0,
        }
    }

    pub(crate) fn id(&self, conn: usize) -> ConnId {
        ConnId { index: conn as u16, generation: self.conns[conn].generation }
    }

    /// The slot of an id, unless the connection ended.
    pub(crate) fn slot(&self, id: ConnId) -> Option<usize> {
        let conn = self.conns.get(id.index as usize)?;
        let old = guard!("an old connection id means nothing", conn.generation != id.generation);
        (!old && conn.is_live()).then_some(id.index as usize)
    }

    /// Whether the adapter has something to do for a connection.
    pub(crate) const fn has_actions(&self) -> bool {
        self.actions > 0
    }

    /// Whether there are bytes that the adapter would not look for by itself.
    pub(crate) const fn has_unshown(&self) -> bool {
        self.unshown > 0
    }

    /// The adapter looks for bytes of a connection.
    pub(crate) fn show(&mut self, slot: usize) {
        if core::mem::take(&mut self.conns[slot].unshown) {
            self.unshown -= 1;
        }
    }

    /// Whether there are connections to spare for what is only asked.
    pub(crate) fn is_roomy(&self) -> bool {
        cfg!(feature = "witness") && self.is_large()
    }

    /// Whether there are more connections than a device has.
    pub(crate) fn is_large(&self) -> bool {
        self.conns.len() >= ROOMY
    }

    /// Whether fetches can have connections of their own.
    pub(crate) fn splits_roles(&self) -> bool {
        self.conns.len() > 1
    }

    /// The connection of the lowest rank, from `first` on around; those without one do not count.
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
        if self.splits_roles() { wanted } else { Role::Main }
    }

    /// The live connection to a peer in a role.
    pub(crate) fn find(&self, peer: Peer, role: Role) -> Option<usize> {
        let role = self.role(role);
        let mut link = self.peers.first(place(peer, role));
        while let Some(slot) = link.get() {
            let conn = &self.conns[slot];
            if conn.peer == peer && conn.role == role {
                return Some(slot);
            }
            link = self.peers.next(slot);
        }
        None
    }

    /// Asks the adapter for a connection; `None` when all slots are taken.
    pub(crate) fn connect(&mut self, now: Tick, peer: Peer, role: Role) -> Option<usize> {
        let role = self.role(role);
        let slot = self.conns.iter().position(|c| c.state == State::Free)?;
        let generation = self.conns[slot].generation.wrapping_add(1);
        self.conns[slot] =
            Conn { state: State::Wanted, generation, role, peer, used: now, ..Conn::EMPTY };
        self.peers.insert(place(peer, role), slot);
        self.seeds += usize::from(matches!(peer, Peer::Seed(_)));
        self.actions += 1;
        self.stirred = true;
        Some(slot)
    }

    /// The same for one of several who may want the last free slots: in turn, of which `last` was
    /// the last one of `whose`. Who can be asked about the cluster is [`ANYONE`]: which broker that
    /// is may change from one wish to the next, the turn is the same.
    pub(crate) fn connect_in_turn(
        &mut self,
        now: Tick,
        (whose, peer): (Peer, Peer),
        role: Role,
        last: &mut u16,
    ) -> Option<usize> {
        let role = self.role(role);
        let free = self.conns.iter().any(|c| c.state == State::Free);
        let admitted = self.turns.admit(now, (whose, role), last, free);
        admitted.then(|| self.connect(now, peer, role)).flatten()
    }

    /// A connection turned out to lead to this peer.
    pub(crate) fn adopt(&mut self, slot: usize, peer: Peer) {
        let conn = &mut self.conns[slot];
        self.peers.remove(place(conn.peer, conn.role), slot);
        conn.peer = peer;
        self.peers.insert(place(peer, conn.role), slot);
        self.seeds -= 1;
        self.stirred = true;
    }

    /// The next slot in a state that the adapter has to be told of.
    pub(crate) fn next_action(&mut self, deadline: Tick) -> Option<(State, ConnId)> {
        if self.actions == 0 {
            return None;
        }
        let slot =
            self.conns.iter().position(|c| matches!(c.state, State::Wanted | State::Doomed))?;
        self.actions -= 1;
        let id = self.id(slot);
        let conn = &mut self.conns[slot];
        let state = conn.state;
        if state == State::Wanted {
            conn.state = State::Connecting;
            conn.deadline = deadline;
            self.deadline = self.deadline.min(deadline).min(conn.used + REPORT);
        } else {
            conn.state = State::Free;
        }
        Some((state, id))
    }

    /// Ends a connection. Its requests must have been taken with [`Net::take_lost`] before.
    pub(crate) fn end(&mut self, slot: usize, tell_adapter: bool) {
        let conn = &mut self.conns[slot];
        let told = conn.state != State::Wanted;
        if conn.is_live() {
            self.peers.remove(place(conn.peer, conn.role), slot);
            self.seeds -= usize::from(matches!(conn.peer, Peer::Seed(_)));
        }
        self.actions += usize::from(tell_adapter && told);
        self.actions -= usize::from(!told);
        self.unshown -= usize::from(core::mem::take(&mut conn.unshown));
        for lost in &mut conn.in_flight {
            self.blocks.release(&mut lost.ctl);
        }
        conn.in_flight.clear();
        conn.shown = 0;
        conn.state = if tell_adapter && told { State::Doomed } else { State::Free };
        self.stirred = true;
    }

    /// Takes the oldest request of a connection that ends; its answer will not come.
    pub(crate) fn take_lost(&mut self, slot: usize) -> Option<InFlight> {
        let conn = &mut self.conns[slot];
        conn.in_flight.first()?;
        let mut lost = conn.take(0);
        self.blocks.release(&mut lost.ctl);
        Some(lost)
    }

    /// Begins a request; `None` while the connection cannot take it.
    pub(crate) fn open(&mut self, conn: usize, now: Tick, kind: Kind, cap: i16) -> Option<Draft> {
        let slot = &self.conns[conn];
        let version = if slot.state == State::Handshake && kind == Kind::Versions {
            slot.handshake_version
        } else if self.takes_requests(conn, now) {
            slot.versions.best(kind, cap)?
        } else {
            return None;
        };
        // 0 is nobody's.
        self.correlation = (self.correlation.wrapping_add(1) & i32::MAX).max(1);
        let mut draft =
            Draft { conn, kind, version, correlation: self.correlation, ctl: Chain::EMPTY };
        let (correlation, client_id) = (self.correlation, self.client_id);
        let written = self.write(&mut draft, &mut |w, version| {
            w.i32(0)?;
            let flexible = kind.is_flexible(version);
            header::request_as(w, kind.api(), version, flexible, correlation, client_id)
        });
        self.whole(draft, written)
    }

    /// A whole request, if the connection and the memory allow it.
    pub(crate) fn draft(
        &mut self,
        conn: usize,
        now: Tick,
        kind: Kind,
        body: Body<'_>,
    ) -> Option<Draft> {
        let mut draft = self.open(conn, now, kind, i16::MAX)?;
        let written = self.write(&mut draft, body);
        self.whole(draft, written)
    }

    /// A request, unless something of it found no room.
    fn whole(&mut self, draft: Draft, written: Result<(), Full>) -> Option<Draft> {
        match written {
            Ok(()) => Some(draft),
            Err(Full) => {
                self.abandon(draft);
                None
            }
        }
    }

    /// Writes to a request.
    #[inline(never)]
    pub(crate) fn write(&mut self, draft: &mut Draft, body: Body<'_>) -> Result<(), Full> {
        if self.rare.full() {
            self.stirred = true;
            return Err(Full);
        }
        let mut sink = ChainSink { blocks: &mut self.blocks, chain: &mut draft.ctl };
        let written = body(&mut Writer::new(&mut sink), draft.version);
        self.short |= written.is_err();
        written
    }

    /// Why nobody can be asked something at all, where there are connections to ask over.
    pub(crate) fn lacking(&self, now: Tick, kind: Kind) -> Option<PeerFault> {
        let mut faults =
            self.conns.iter().filter(|c| c.can_ask(now)).map(|c| c.versions.lacks(kind));
        let first = faults.next()??;
        faults.all(|fault| fault.is_some()).then_some(first)
    }

    /// Whether a connection that is ready takes requests now.
    pub(crate) fn takes_requests(&self, conn: usize, now: Tick) -> bool {
        let slot = &self.conns[conn];
        let free = !slot.drain && now >= slot.throttled_until && !slot.in_flight.is_full();
        slot.state == State::Ready && free
    }

    pub(crate) fn abandon(&mut self, mut draft: Draft) {
        self.blocks.release(&mut draft.ctl);
    }

    /// Queues a request with the batches that belong to it.
    pub(crate) fn commit(
        &mut self,
        now: Tick,
        draft: Draft,
        tag: Tag,
        deadline: Tick,
        batches: Link,
        no_answer: bool,
    ) {
        let mut total = draft.ctl.len();
        let (mut link, mut before) = (batches, Link::NONE);
        while let Some(batch) = link.get() {
            total += self.outgoing[batch].chain.len();
            self.outgoing[batch].before = core::mem::replace(&mut before, link);
            link = self.outgoing[batch].next;
        }
        let length = i32::try_from(total.saturating_sub(4)).unwrap_or(i32::MAX);
        self.blocks.patch(&draft.ctl, &length.to_be_bytes());
        let entry = InFlight {
            asked: Question {
                kind: draft.kind,
                version: draft.version,
                correlation: draft.correlation,
                tag,
            },
            since: now,
            deadline,
            batches,
            ctl: draft.ctl,
            total: total as u32,
            sent: 0,
            silent: no_answer,
        };
        self.deadline = self.deadline.min(deadline).min(now + REPORT);
        let conn = &mut self.conns[draft.conn];
        conn.used = now;
        // An adapter that has not sent all of what it was shown comes back by itself.
        if conn.pending() == usize::from(conn.shown) && !conn.unshown {
            conn.unshown = true;
            self.unshown += 1;
        }
        // `open` made sure that there is a place.
        if let Err(mut entry) = conn.in_flight.push(entry) {
            self.blocks.release(&mut entry.ctl);
        }
        self.requests += 1;
    }

    /// A request without batches.
    #[inline(never)]
    pub(crate) fn send(&mut self, now: Tick, draft: Draft, tag: Tag, timeout: Span) {
        self.commit(now, draft, tag, now + timeout, Link::NONE, false);
    }

    /// The question that the next answer on a connection belongs to, after its correlation id.
    pub(crate) fn expect(&self, conn: usize, correlation: i32) -> Result<Question, PeerFault> {
        let conn = &self.conns[conn];
        let first = conn.in_flight.first().filter(|_| conn.shown > 0);
        let asked = first.map(|f| f.asked).ok_or(PeerFault::Correlation)?;
        let matches = asked.correlation == correlation;
        if guard!("correlation ids match", !matches) {
            Err(PeerFault::Correlation)
        } else {
            Ok(asked)
        }
    }

    /// The request whose answer was read to its end leaves the queue.
    pub(crate) fn answered(&mut self, slot: usize) {
        let conn = &mut self.conns[slot];
        if conn.shown > 0 && !conn.in_flight.is_empty() {
            conn.take(0);
        }
        self.check |= conn.in_flight.is_empty();
        self.stirred = true;
    }

    /// A connection takes no new requests, and ends after the last answer.
    pub(crate) fn drain(&mut self, slot: usize) {
        self.conns[slot].drain = true;
        (self.check, self.stirred) = (true, true);
    }

    /// Whether a connection may make way for another one now; else when.
    pub(crate) fn may_rotate(&self, now: Tick) -> Result<(), Tick> {
        let at = self.rotated - SAVED;
        // A few connections go round faster: there is little that they could be made for in vain.
        if self.is_large() && guard!("slots rotate slowly", at > now) {
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
        conn.state = State::Handshake;
        conn.overdue = false;
        conn.silence = Silence::No;
        (conn.rx_start, conn.rx_end) = (0, 0);
        self.stirred = true;
    }
}
