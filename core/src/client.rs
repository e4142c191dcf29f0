//! The public API: [`Client`] and its [`Commands`].

#[cfg(feature = "consumer")]
mod consume;
mod counters;
mod digest;
mod drive;
#[cfg(feature = "group")]
mod group;
mod handshake;
#[cfg(feature = "sasl")]
mod login;
mod obstacles;
mod owners;
#[cfg(feature = "producer")]
mod produce;
#[cfg(feature = "std")]
mod stats;
#[cfg(feature = "transactions")]
mod transaction;
#[cfg(any(feature = "producer", feature = "group"))]
mod wall;

use core::ops::{Deref, DerefMut};

use crate::admin::Admin;
use crate::cluster::{Cluster, ClusterMem, Cx, Table};
use crate::config::{Config, Settings};
use crate::connection::{ConnState, Net, Transmit};
use crate::consumer::{Consumer, Taken};
use crate::error::{CloseReason, ConfigError, Error, LimitKind, Misuse};
use crate::event::{Action, Event, Freshness};
#[cfg(feature = "group")]
use crate::group::Group;
use crate::has::{REASONS, UNWATCH};
use crate::id::{ConnId, TopicId};
use crate::memory::{Blocks, Mem, Rng};
use crate::producer::Producer;
use crate::rare::Rare;
use crate::response::ResponseSlot;
use crate::setup::Setup;
use crate::snapshot::{self, RestoreError, Restored, Saved};
use crate::storage::Storage;
use crate::time::{Instant, Scale, Span, Tick};
#[cfg(feature = "transactions")]
use crate::transaction::Transaction;
pub use counters::Stats;
use digest::Present;
use owners::Owners;
#[cfg(feature = "std")]
pub use stats::ConnStats;

/// A connection that had no request for this long and then ends is no failure.
const IDLE: Span = Span::from_secs(5);
/// A loop that does not take bytes to transmit is woken for them no more often than this.
const NUDGE: Span = Span::from_millis(10);

/// An Apache Kafka client that does no I/O.
///
/// The name of a method says its direction. `handle_*` passes something in: a connection, bytes,
/// time. `poll_*` returns what is to be done next: actions and bytes for the adapter, events for
/// the application. Plain verbs (of [`Commands`], to which this derefs) are commands. Any order of
/// calls is legal; each does bounded work.
///
/// # The loop
/// Each turn of an adapter's loop:
///
/// 1. [`Client::handle_timeout`], then [`Client::poll_action`] until `None`. [`Action::Connect`]:
///    open a stream to [`Client::address`], and call [`Client::handle_connected`] or
///    [`Client::handle_closed`] depending on the result. [`Action::Close`]: close it; no call
///    follows.
/// 2. For each connection [`Client::poll_transmit`] until `None` or its socket is full, with
///    [`Client::handle_transmitted`] after each write. It returns the same bytes again until they
///    are reported.
/// 3. For each connection [`Client::recv_buffer`], a read into it, and [`Client::handle_received`],
///    until the buffer is empty or the socket has nothing. At the end of a stream close the socket
///    and call [`Client::handle_closed`].
/// 4. [`Client::poll_event`] until `None`.
/// 5. Wait for sockets, commands, or [`Client::poll_timeout`], which may lie in the past.
///
/// What may be skipped: `handle_timeout` where `poll_action` is called, `poll_transmit` while a
/// socket is full, and `poll_event` while the application is busy ([`Client::poll_news`]). After a
/// pause of the whole loop, bytes that arrived meanwhile are read before any deadline counts.
/// `docs/loop.md` in the repository has the whole contract, and examples. Mistakes of a loop are
/// named by [`Misuse`] and counted in [`Stats`] (feature `misuse`).
pub struct Client<'d> {
    rx: Mem<'d, u8>,
    rx_bytes: usize,
    commands: Commands<'d>,
}

/// The commands of an application; usable while it holds an [`Event`] of the [`Client`].
pub struct Commands<'d> {
    cx: Cx<'d>,
    owners: Owners<'d>,
    responses: Mem<'d, ResponseSlot>,
    /// The batch that the application holds, and the connection that it came from.
    taken: Option<(u16, Taken)>,
    /// The application takes no records for now.
    records_wait: bool,
    rx_bytes: usize,
    /// Responses that wait for the application.
    ready: usize,
    /// When a loop that does not poll for bytes is woken for them again.
    nudge: Tick,
    nudged: bool,
    /// The wall clock: milliseconds since 1970 at an instant.
    wall: Option<(Instant, i64)>,
    scale: Scale,
    deadline: Tick,
    dirty: bool,
    turn: usize,
    stats: Stats,
}

impl<'d> Client<'d> {
    /// Creates a client with its memory. The seed decides jitter, sticky partitions and the order
    /// in which bootstrap addresses are tried; devices of a fleet need different seeds, tests the
    /// same one.
    ///
    /// # Errors
    /// When the configuration cannot work or the memory is below the smallest that does.
    pub fn new(
        config: Config<'d>,
        storage: Storage<'d>,
        seed: [u8; 32],
    ) -> Result<Self, ConfigError> {
        Self::with(Settings::new(&Rare::new(&seed).config(config)), storage, seed)
    }

    /// Creates a client with memory of its own, [`Limits::bytes`](crate::Limits::bytes) of it, and
    /// with copies of the texts of the configuration: the owner of such a client borrows nothing.
    ///
    /// # Errors
    /// As [`Client::new`].
    #[cfg(feature = "alloc")]
    pub fn owned(
        config: Config<'_>,
        limits: &crate::storage::Limits,
        seed: [u8; 32],
    ) -> Result<Self, ConfigError> {
        Self::owned_with(config, Storage::heap(limits), seed)
    }

    /// The same in memory that the caller prepared, as by `Storage::encoders`.
    ///
    /// # Errors
    /// As [`Client::new`].
    #[cfg(feature = "alloc")]
    pub fn owned_with(
        config: Config<'_>,
        storage: Storage<'d>,
        seed: [u8; 32],
    ) -> Result<Self, ConfigError> {
        let settings = Settings::new(&Rare::new(&seed).config(config));
        settings.check()?;
        Self::with(settings.into_owned(), storage, seed)
    }

    fn with(
        config: Settings<'d>,
        storage: Storage<'d>,
        seed: [u8; 32],
    ) -> Result<Self, ConfigError> {
        let rare = Rare::new(&seed);
        config.check()?;
        let s = storage;
        s.check()?;
        #[cfg(feature = "pack")]
        let (mut s, mut config) = (s, config);
        #[cfg(feature = "pack")]
        s.producer.pack.check(&mut config)?;
        #[cfg(feature = "pack")]
        let packs = s.producer.pack.codecs() != crate::codec::Codecs::NONE;
        let blocks = Blocks::new(s.blocks, s.links, s.block_bytes);
        #[cfg(not(feature = "pack"))]
        let packs = false;
        let setup = Setup::new(&config, &blocks, s.rx_bytes, rare, packs);
        let id = config.client_id.clone();
        let net = Net::new(s.conns, s.peers, blocks, s.outgoing, id, s.login, rare);
        let mut rng = Rng::new(seed);
        let cluster = ClusterMem {
            brokers: s.brokers,
            broker_index: s.broker_index,
            hosts: s.hosts,
            topics: s.topics,
            table: Table::new(s.table),
        };
        let first_seed = rng.below(config.seeds() as u32);
        let commands = Commands {
            cx: Cx {
                settings: config,
                rng,
                now: Tick::ZERO,
                net,
                cluster: Cluster::new(cluster, first_seed),
            },
            owners: Owners {
                producer: Producer::new(s.producer, &setup),
                consumer: Consumer::new(s.consumer, &setup),
                admin: Admin::new(s.requests, &setup),
                #[cfg(feature = "group")]
                group: Group::new(s.group),
                #[cfg(feature = "transactions")]
                transaction: Transaction::new(),
            },
            responses: s.responses,
            taken: None,
            records_wait: false,
            rx_bytes: s.rx_bytes,
            ready: 0,
            nudge: Tick::ZERO,
            nudged: false,
            wall: None,
            scale: Scale::new(),
            deadline: Tick::NEVER,
            dirty: true,
            turn: 0,
            stats: Stats::default(),
        };
        Ok(Self { rx: s.rx, rx_bytes: s.rx_bytes, commands })
    }

    /// Uses at most this many connections, at least one, of those that there is memory for: an
    /// adapter with fewer sockets calls this before the first [`Client::poll_action`].
    ///
    /// With one, fetches and everything else share it. A broker responds in order and holds a Fetch
    /// that has no records to return, so acknowledgements, probes and admin responses may arrive up
    /// to 100 ms later: with one connection a Fetch waits for no longer than that, whatever
    /// [`Config::fetch_max_wait`] is. With two, fetches have a connection of their own.
    pub fn limit_connections(&mut self, most: usize) {
        self.commands.cx.net.conns.shorten(most.max(1));
        self.commands.responses.shorten(most.max(1));
    }

    /// Ends all connections deliberately, before a device switches its link off. The adapter closes
    /// their sockets; no [`Action::Close`] follows. What is in flight is sent again over the
    /// connections that the next [`Client::poll_action`] opens; no failure is reported.
    pub fn disconnect(&mut self, now: Instant) {
        self.proceed_at(now);
        self.commands.leave_all();
    }

    /// Writes what is known of topics and positions, to be restored by a later client, perhaps
    /// hours later, and returns how long that is. Records of events that were polled count as read.
    /// [`snapshot_bytes`](crate::snapshot_bytes) returns how large `out` should be.
    ///
    /// The snapshot keeps counts, ids, positions and leader epochs, not what waits to be sent:
    /// flush before. A position that is still being resolved cannot be kept either, and what is
    /// written to its partition meanwhile may never be read: [`Saved::is_complete`] returns false
    /// then: keep the client running, and save again.
    ///
    /// # Errors
    /// `Limit` with the number of bytes that are needed. The content of `out` is then undefined.
    pub fn save(&mut self, out: &mut [u8]) -> Result<Saved, Error> {
        self.proceed();
        let Commands { cx, owners, .. } = &self.commands;
        #[cfg(feature = "key-order")]
        let keys = |slot: usize| owners.producer.key_count(slot);
        #[cfg(not(feature = "key-order"))]
        let keys = |_: usize| 0;
        let mut saved = snapshot::save(&cx.cluster, &owners.consumer, &keys, out);
        if saved.bytes > out.len() {
            return Err(Error::Limit { what: LimitKind::Snapshot, needed: saved.bytes });
        }
        saved.unfinished = owners.producer.unfinished();
        Ok(saved)
    }

    /// Restores what [`Client::save`] wrote, after the same `topic`, `assign` and `assign_all` as
    /// then and before anything is polled. A position that was saved replaces the start of its
    /// partition; topics that are not watched and partitions that are not assigned are skipped.
    /// Partitions that were added since are read from their first record, and a count never goes
    /// below the one that was saved.
    ///
    /// # Errors
    /// When `bytes` do not begin with a whole and unchanged snapshot: the client is unchanged then.
    pub fn restore(&mut self, now: Instant, bytes: &[u8]) -> Result<Restored, RestoreError> {
        self.proceed_at(now);
        let Commands { cx, owners, dirty, .. } = &mut self.commands;
        *dirty = true;
        let Owners { producer: _producer, consumer, .. } = owners;
        #[cfg(feature = "key-order")]
        let now = cx.now;
        let mut keys = |_slot: usize, _count: u32| {
            #[cfg(feature = "key-order")]
            _producer.set_key_count(now, _slot, _count, Span::ZERO);
        };
        snapshot::restore(cx, consumer, &mut keys, bytes)
    }

    /// Returns what the adapter has to do next.
    pub fn poll_action(&mut self, now: Instant) -> Option<Action> {
        self.proceed_at(now);
        self.commands.drive();
        let deadline = self.commands.cx.now + self.commands.cx.settings.connect_timeout;
        let next = self.commands.cx.net.next_action(deadline);
        #[cfg(feature = "sasl")]
        if next.is_none() {
            return self.commands.token_action();
        }
        let (state, conn) = next?;
        self.commands.dirty = true;
        Some(match state {
            ConnState::Wanted => Action::Connect { conn },
            _ => Action::Close { conn },
        })
    }

    /// Returns host name or address, and port, of a connection.
    #[must_use]
    pub fn address(&self, conn: ConnId) -> Option<(&str, u16)> {
        let slot = self.commands.cx.net.slot(conn)?;
        self.commands.cx.address(self.commands.cx.net.conns[slot].peer)
    }

    /// Reports that a connection is established. Call it once for each [`Action::Connect`]; for a
    /// connection that was given up meanwhile, and a second time, it does nothing.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId) {
        self.proceed_at(now);
        if let Some(slot) = self.commands.cx.net.slot(conn)
            && self.commands.cx.net.conns[slot].state == ConnState::Connecting
        {
            self.commands.begin_handshake(slot);
        }
    }

    /// Reports that a connection ended, or could not be established. The adapter has closed its
    /// socket: no [`Action::Close`] follows. For a connection that has ended already it does
    /// nothing.
    pub fn handle_closed(&mut self, now: Instant, conn: ConnId, why: CloseReason) {
        self.proceed_at(now);
        if let Some(slot) = self.commands.cx.net.slot(conn) {
            let c = &self.commands.cx.net.conns[slot];
            // Brokers end connections that were idle for long: that is not reported.
            let idle = c.state == ConnState::Ready
                && c.pending() == 0
                && c.used + IDLE <= self.commands.cx.now;
            let peer = c.peer;
            // A peer that has answered before does not close for lack of authentication.
            let requested = c.state == ConnState::Ready && c.pending() > 0;
            let early = REASONS && requested && !self.commands.cx.cluster.responded;
            let why = match why {
                CloseReason::Ended | CloseReason::Reset if early => CloseReason::EndedEarly,
                why => why,
            };
            self.commands.lose(slot, Error::Closed(why), false);
            if idle {
                self.commands.cx.forgive(peer);
            }
        }
    }

    /// Returns where the next bytes of a connection go; empty while there is no space, until events
    /// are polled: TCP holds the rest back. Also empty for a connection that is not established, or
    /// has ended.
    pub fn recv_buffer(&mut self, conn: ConnId) -> &mut [u8] {
        self.proceed();
        let Some(slot) = self.commands.cx.net.slot(conn) else { return &mut [] };
        let size = self.rx_bytes;
        let c = &mut self.commands.cx.net.conns[slot];
        if !c.is_up() {
            return &mut [];
        }
        let Some(memory) = self.rx.get_mut(slot * size..(slot + 1) * size) else {
            return &mut [];
        };
        let (start, end) = (c.rx_start as usize, c.rx_end as usize);
        if start == end {
            (c.rx_start, c.rx_end) = (0, 0);
        } else if start > 0 && size - end <= size / 4 {
            memory.copy_within(start..end, 0);
            (c.rx_start, c.rx_end) = (0, (end - start) as u32);
        }
        c.offer.lend();
        memory.get_mut(c.rx_end as usize..).unwrap_or_default()
    }

    /// Makes the receive buffer of each connection `bytes` large, for a record batch that did not
    /// fit ([`Event::TooLarge`]); a smaller size changes nothing. What has arrived is kept. The
    /// partition is read again after [`Commands::retry`]. The client then takes
    /// [`Limits::bytes`](crate::Limits::bytes) with this [`Limits::rx_bytes`](crate::Limits), and
    /// for the moment of the call the old buffers, too.
    ///
    /// # Errors
    /// `Limit` when there is not so much memory: nothing has changed then.
    #[cfg(all(feature = "alloc", feature = "consumer"))]
    pub fn grow_receive_buffers(&mut self, bytes: usize) -> Result<(), Error> {
        self.proceed();
        let old = self.rx_bytes;
        if bytes <= old {
            return Ok(());
        }
        let count = self.rx.len() / old.max(1);
        let error = Error::Limit { what: LimitKind::ReceiveBuffer, needed: bytes };
        let total = bytes.checked_mul(count).filter(|_| u32::try_from(bytes).is_ok());
        let mut rx = total.and_then(crate::storage::try_zeroed).ok_or(error)?;
        for (slot, conn) in self.commands.cx.net.conns.iter().enumerate() {
            let unread = conn.rx_start as usize..conn.rx_end as usize;
            let from = rx_of(&self.rx, old, slot).get(unread.clone()).unwrap_or_default();
            let start = slot * bytes + unread.start;
            if guard!("what has arrived moves along", true)
                && let Some(to) = rx.get_mut(start..start + from.len())
            {
                to.copy_from_slice(from);
            }
        }
        (self.rx, self.rx_bytes, self.commands.rx_bytes) = (rx, bytes, bytes);
        self.commands.owners.consumer.set_rx_bytes(bytes);
        Ok(())
    }

    /// Reports that `len` bytes were put into the [`Client::recv_buffer`] of a connection: once for
    /// each buffer that was filled. Reads what has arrived, up to what the application has to poll.
    /// More bytes than the buffer had are a [`Misuse`] that ends the connection.
    pub fn handle_received(&mut self, now: Instant, conn: ConnId, len: usize) {
        self.proceed_at(now);
        let net = &mut self.commands.cx.net;
        let Some(slot) = net.slot(conn) else {
            if cfg!(feature = "misuse") && len > 0 && net.has_ended(conn) {
                net.watch.note(Misuse::Ended);
            }
            return;
        };
        let size = self.rx_bytes;
        let c = &mut net.conns[slot];
        let space = if c.is_up() { size - (c.rx_end as usize).min(size) } else { 0 };
        if c.offer.is_overrun(len, space) {
            return self.commands.end_misused(slot, Misuse::Received);
        }
        if !c.is_up() {
            return;
        }
        let had = c.rx_end as usize;
        let end = had.saturating_add(len).min(size);
        c.rx_end = end as u32;
        let now = self.commands.cx.now;
        self.commands.cx.net.arrived(now, slot, end - had);
        let memory = rx_of(&self.rx, size, slot);
        self.commands.digest(slot, memory, Present::Nothing);
    }

    /// Returns bytes that a connection has to send; `None` when there are none. They are returned
    /// again, with new ones after them, until [`Client::handle_transmitted`] reports them.
    pub fn poll_transmit(&mut self, now: Instant, conn: ConnId) -> Option<Transmit<'_>> {
        self.proceed_at(now);
        self.commands.drive();
        let slot = self.commands.cx.net.slot(conn)?;
        self.commands.cx.net.show(slot);
        self.commands.nudge = Tick::ZERO;
        if cfg!(feature = "misuse") {
            let bytes = self.commands.cx.net.offered(slot);
            self.commands.cx.net.conns[slot].offer.show(bytes);
        }
        self.commands.cx.net.transmit(slot)
    }

    /// Reports that the transport took the first `len` bytes of what [`Client::poll_transmit`]
    /// returned; they are not returned again. More than was returned is a [`Misuse`] that ends the
    /// connection.
    pub fn handle_transmitted(&mut self, now: Instant, conn: ConnId, len: usize) {
        self.proceed_at(now);
        let Some(slot) = self.commands.cx.net.slot(conn) else { return };
        if self.commands.cx.net.conns[slot].offer.is_exceeded(len) {
            return self.commands.end_misused(slot, Misuse::Transmitted);
        }
        let Commands { cx: Cx { net, now, .. }, owners, .. } = &mut self.commands;
        net.transmitted(*now, slot, len);
        while let Some(batches) = net.take_silent(slot) {
            owners.producer.on_silent(net, batches);
        }
    }

    /// Returns when [`Client::handle_timeout`] has to be called at the latest, if nothing else
    /// happens. `None`: never. It lies in the past while an action, an event, bytes or work wait.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let c = &self.commands;
        let waits = c.taken.is_some()
            || c.is_dirty()
            || c.has_news()
            || c.has_responses()
            || c.cx.net.has_actions();
        let mut at = if waits { Tick::ZERO } else { c.next_deadline().min(c.hold_up()) };
        if c.cx.net.has_unshown() {
            at = at.min(c.nudge);
        }
        (at != Tick::NEVER).then(|| c.scale.instant(at))
    }

    /// Reports that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.proceed_at(now);
        self.drop_held_up();
        self.commands.drive();
        // The loop had its turn and did not poll for bytes: its socket may be full.
        if self.commands.cx.net.has_unshown() {
            let nudged = self.commands.nudged;
            self.commands.nudge = if nudged { self.commands.cx.now + NUDGE } else { Tick::ZERO };
        }
        self.commands.nudged = self.commands.cx.net.has_unshown();
    }

    /// Drops records that the application does not take, after a time, on a connection that others
    /// need too.
    fn drop_held_up(&mut self) {
        for slot in 0..self.commands.waiting() {
            if self.commands.is_held_up(slot) {
                let memory = rx_of(&self.rx, self.rx_bytes, slot);
                self.commands.digest(slot, memory, Present::Nothing);
            }
        }
    }

    /// Returns the next event, and the commands that may be used while it is held.
    ///
    /// The event borrows the receive memory; the next call to the client ends the borrow. Records
    /// count as read then, unless [`Commands::hold`] was called.
    pub fn poll_event(&mut self, now: Instant) -> Option<(Event<'_>, &mut Commands<'d>)> {
        self.proceed_at(now);
        self.commands.take_records(true);
        self.poll(Present::All)
    }

    /// Returns the next event that is not [`Event::Records`], for an application that has no space
    /// for records now. They stay in the receive buffers, where TCP holds the brokers back, and
    /// until [`Client::poll_event`] or [`Client::has_event`] is called again they do not make
    /// [`Client::poll_timeout`] lie in the past.
    ///
    /// With two connections or more only fetches wait behind them. With one, records that wait
    /// for longer than a second are dropped, and fetched again after the next
    /// [`Client::poll_event`].
    pub fn poll_news(&mut self, now: Instant) -> Option<(Event<'_>, &mut Commands<'d>)> {
        self.proceed_at(now);
        self.commands.take_records(false);
        self.poll(Present::News)
    }

    fn poll(&mut self, what: Present) -> Option<(Event<'_>, &mut Commands<'d>)> {
        self.commands.drive();
        let commands = &mut self.commands;
        if let Some(event) = commands.poll_news() {
            return Some((event, commands));
        }
        let conns = commands.waiting();
        commands.turn = commands.turn.wrapping_add(1);
        for i in 0..conns {
            let slot = (commands.turn + i) % conns;
            if !commands.responses[slot].ready {
                continue;
            }
            let memory = rx_of(&self.rx, self.rx_bytes, slot);
            if let Some(event) = commands.digest(slot, memory, what) {
                return Some((event, commands));
            }
        }
        // Reading may have produced an event.
        let event = commands.poll_news()?;
        Some((event, commands))
    }

    /// Returns whether [`Client::poll_event`] has an event; also true where the rest of a response
    /// has arrived that may have one: to an admin request, or the words of a broker that refuses
    /// records. With this an event can be returned out of a loop that waits for one, which the
    /// borrow checker refuses otherwise (E0499).
    pub fn has_event(&mut self, now: Instant) -> bool {
        self.proceed_at(now);
        self.commands.take_records(true);
        self.commands.drive();
        if self.commands.has_news() {
            return true;
        }
        for slot in 0..self.commands.waiting() {
            if !self.commands.responses[slot].ready {
                continue;
            }
            let memory = rx_of(&self.rx, self.rx_bytes, slot);
            if self.commands.has_response_event(slot, memory) {
                return true;
            }
        }
        self.commands.has_news()
    }

    /// Ends the event that the application had, after time has passed.
    fn proceed_at(&mut self, now: Instant) {
        self.proceed();
        self.commands.at(now);
    }

    /// Ends the event that the application had.
    fn proceed(&mut self) {
        if let Some((slot, taken)) = self.commands.taken.take() {
            self.commands.consume_taken(usize::from(slot), &taken);
        }
        #[cfg(feature = "group")]
        self.commands.end_revocation();
    }
}

/// The receive buffer of a connection.
#[cfg_attr(not(feature = "std"), inline(never))]
fn rx_of(rx: &[u8], size: usize, slot: usize) -> &[u8] {
    rx.get(slot * size..(slot + 1) * size).unwrap_or_default()
}

impl<'d> Deref for Client<'d> {
    type Target = Commands<'d>;

    fn deref(&self) -> &Commands<'d> {
        &self.commands
    }
}

impl<'d> DerefMut for Client<'d> {
    fn deref_mut(&mut self) -> &mut Commands<'d> {
        &mut self.commands
    }
}

impl<'d> Commands<'d> {
    /// Reads the clock on the machine's scale. Everything that is kept is shifted with it.
    #[inline(never)]
    fn at(&mut self, now: Instant) {
        let (now, moved) = self.scale.read(now);
        if let Some(by) = moved {
            self.nudge.age(by);
            self.deadline.age(by);
            for response in self.responses.iter_mut() {
                response.age(by);
            }
            self.cx.net.age(by);
            self.cx.cluster.age(by);
            self.owners.age(by);
        }
        self.cx.net.watch.look(now);
        self.cx.now = now;
    }

    /// Watches a topic, from now on. The same name returns the same id. When all slots are taken, a
    /// topic that was only produced to is evicted if that was five minutes ago or longer; its id is
    /// invalid then. Without the feature `unwatch` topics stay.
    ///
    /// # Errors
    /// `Caller` for a name that Kafka does not allow, `Limit` when all topics are in use.
    pub fn topic(&mut self, name: &str) -> Result<TopicId, Error> {
        self.dirty = true;
        match self.cx.cluster.watch(name) {
            Err(Error::Limit { .. }) if UNWATCH && self.make_topic_room() => {
                self.cx.cluster.watch(name)
            }
            result => result,
        }
    }

    /// Stops watching a topic. An `assign_all` of it assigns no more partitions. The topic is
    /// forgotten, and its id is invalid, as soon as none of its partitions is assigned and no batch
    /// for it is unfinished. Feature `unwatch`.
    #[cfg(feature = "unwatch")]
    pub fn unwatch(&mut self, topic: TopicId) {
        if let Some(slot) = self.cx.cluster.topic_slot(topic) {
            self.owners.consumer.unfollow(&mut self.cx.cluster, slot);
            self.cx.cluster.topics.watch(slot, false);
            self.forget_unused(slot);
            self.dirty = true;
        }
    }

    /// Returns the name of a topic.
    #[must_use]
    pub fn topic_name(&self, topic: TopicId) -> Option<&str> {
        self.cx.cluster.topic_slot(topic).map(|slot| self.cx.cluster.topics[slot].name.as_str())
    }

    /// Returns [`Config::silence_timeout`](crate::Config::silence_timeout), for adapters whose
    /// transport can enforce it, too.
    #[must_use]
    pub fn silence_timeout(&self) -> core::time::Duration {
        let millis = self.cx.settings.silence_timeout.millis();
        core::time::Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// Returns host and port of a broker by its node id; for -1 those of the bootstrap address that
    /// failed last, or that is being connected.
    #[must_use]
    pub fn broker_address(&self, broker: i32) -> Option<(&str, u16)> {
        self.cx.address(self.cx.cluster.peer_of(broker))
    }

    /// Returns the id of the cluster that this client belongs to, its first 36 bytes: the one that
    /// the first Metadata response named. `None` before, and where brokers name none.
    #[cfg(feature = "one-cluster")]
    #[must_use]
    pub fn cluster_id(&self) -> Option<&str> {
        self.cx.cluster.identity.ours()
    }

    /// Returns host and port of the bootstrap address that named the id of this client's cluster.
    #[cfg(feature = "one-cluster")]
    #[must_use]
    pub fn cluster_address(&self) -> Option<(&str, u16)> {
        self.cx.settings.seed(self.cx.cluster.identity.seed()? as usize)
    }

    /// Returns the id of the cluster that was refused last
    /// ([`PeerFault::OtherCluster`](crate::PeerFault::OtherCluster)), its first 36 bytes; `None`
    /// where its brokers name none.
    #[cfg(feature = "one-cluster")]
    #[must_use]
    pub fn refused_cluster_id(&self) -> Option<&str> {
        self.cx.cluster.identity.other()
    }

    /// Returns what is known of a topic, and how old that is; `None` before the first response
    /// about it.
    #[must_use]
    pub fn freshness(&self, topic: TopicId) -> Option<Freshness> {
        self.cx
            .cluster
            .topic_slot(topic)
            .and_then(|slot| self.cx.cluster.freshness(slot, self.scale))
    }

    /// Sends an admin request. Its response arrives as [`Event::Reply`]s, the last of them
    /// [`Reply::Done`](crate::Reply::Done).
    ///
    /// # Errors
    /// `Full` is temporary; `TooLarge` is not, and names what would be needed.
    #[cfg(feature = "admin")]
    pub fn admin(
        &mut self,
        now: Instant,
        operation: &crate::event::Admin<'_>,
    ) -> Result<crate::id::RequestId, crate::error::AdminError> {
        self.at(now);
        self.owners.admin.submit(&mut self.cx, operation)
    }

    /// Returns the node id of the broker that the admin request was sent to whose
    /// [`Reply::Done`](crate::Reply::Done) was polled last, -1 for a bootstrap address.
    #[cfg(feature = "admin")]
    #[must_use]
    pub fn replied_by(&self) -> i32 {
        self.owners.admin.by
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        #[cfg(feature = "misuse")]
        let (misuses, last_misuse) = self.cx.net.watch.report();
        Stats {
            #[cfg(feature = "misuse")]
            misuses,
            #[cfg(feature = "misuse")]
            last_misuse,
            requests: self.cx.net.requests,
            #[cfg(feature = "std")]
            bytes_out: self.cx.net.traffic.bytes_out,
            #[cfg(feature = "std")]
            bytes_in: self.cx.net.traffic.bytes_in,
            probes: self.cx.cluster.probes,
            blocks_used: self.cx.net.blocks.total() - self.cx.net.blocks.free(),
            ..self.stats
        }
    }

    fn has_news(&self) -> bool {
        self.owners.has_news(&self.cx)
    }

    /// Returns the next event that needs no received bytes.
    fn poll_news(&mut self) -> Option<Event<'static>> {
        self.owners.poll_event(&mut self.cx)
    }
}
