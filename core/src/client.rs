//! The public face: [`Client`] and its [`Commands`].

#[cfg(feature = "consumer")]
mod consume;
mod digest;
mod drive;
mod handshake;
#[cfg(feature = "producer")]
mod produce;

use core::ops::{Deref, DerefMut};

use crate::admin::Admin;
use crate::answer::AnswerSlot;
use crate::cluster::{Cluster, Probes, Table};
use crate::config::{Config, Settings};
use crate::connection::{Net, State, Transmit};
use crate::consumer::{Consumer, Taken};
use crate::error::{CloseReason, ConfigError, Error, LimitKind, Obstacle};
use crate::event::{Action, Event, Freshness};
use crate::id::{ConnId, TopicId};
use crate::memory::{Blocks, Mem, Rng};
use crate::producer::Producer;
use crate::rare::Rare;
use crate::setup::Setup;
use crate::snapshot::{self, RestoreError, Restored};
use crate::storage::Storage;
use crate::time::{Instant, Scale, Span, Tick};
use digest::Present;

/// A connection that was asked nothing for this long and then ends is no failure.
const IDLE: Span = Span::from_secs(5);
/// A loop that leaves bytes where they are is woken for them no more often than this.
const NUDGE: Span = Span::from_millis(10);

/// An Apache Kafka client that does no I/O.
///
/// Methods say their direction. `handle_*` brings something in: a connection, bytes, time.
/// `poll_*` asks what is to be done next: actions and bytes for the adapter, events for the
/// application. Plain verbs (of [`Commands`], to which this derefs) are commands. Any order of
/// calls is legal; each does bounded work. An adapter polls until `None`, then waits for its
/// sockets or for [`Client::poll_timeout`].
pub struct Client<'d> {
    rx: Mem<'d, u8>,
    rx_bytes: usize,
    commands: Commands<'d>,
}

/// What an application tells a [`Client`]; usable while it holds an [`Event`].
pub struct Commands<'d> {
    net: Net<'d>,
    cluster: Cluster<'d>,
    producer: Producer<'d>,
    consumer: Consumer<'d>,
    admin: Admin<'d>,
    answers: Mem<'d, AnswerSlot>,
    /// The batch that the application holds, and the connection that it came from.
    taken: Option<(u16, Taken)>,
    /// It takes no records for now.
    records_wait: bool,
    rx_bytes: usize,
    /// Answers that wait for the application.
    ready: usize,
    /// When a loop that does not look for bytes is woken for them again.
    nudge: Tick,
    nudged: bool,
    /// Wall clock: milliseconds since 1970 at an instant.
    wall: Option<(Instant, i64)>,
    scale: Scale,
    deadline: Tick,
    dirty: bool,
    turn: usize,
    stats: Stats,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Stats {
    /// Requests of all kinds.
    pub requests: u64,
    /// What noticing growth costs.
    pub probes: Probes,
    /// Bytes after the end of an answer: tolerated.
    pub trailing_bytes: u64,
    /// Tagged fields in answers that this version does not know.
    pub unknown_tags: u64,
    /// Send blocks that hold something now, of [`Limits::tx_blocks`](crate::Limits::tx_blocks).
    pub blocks_used: usize,
}

impl<'d> Client<'d> {
    /// A client with its memory. The seed decides jitter, sticky partitions and the order in which
    /// bootstrap addresses are tried; devices of a fleet want different ones, tests the same.
    ///
    /// # Errors
    /// When the configuration cannot work or the memory is below the smallest that does.
    pub fn new(
        config: Config<'d>,
        storage: Storage<'d>,
        seed: [u8; 32],
    ) -> Result<Self, ConfigError> {
        let rare = Rare::new(&seed);
        let config = Settings::new(&rare.config(config));
        config.check()?;
        let s = storage;
        s.check()?;
        let blocks = Blocks::new(s.blocks, s.links, s.block_bytes);
        let table = Table::new(s.table);
        let setup = Setup {
            idempotence: config.idempotence,
            blocks: blocks.total(),
            rx_bytes: s.rx_bytes,
            rare,
        };
        let net = Net::new(s.conns, s.peers, blocks, s.outgoing, config.client_id, rare);
        let commands = Commands {
            net,
            cluster: Cluster::new(
                config,
                s.brokers,
                s.broker_index,
                s.hosts,
                s.topics,
                table,
                Rng::new(seed),
            ),
            producer: Producer::new(s.producer, &setup),
            consumer: Consumer::new(s.consumer, &setup),
            admin: Admin::new(s.requests, &setup),
            answers: s.answers,
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
    /// adapter with fewer sockets says so before the first [`Client::poll_action`].
    pub fn limit_connections(&mut self, most: usize) {
        self.commands.net.conns.shorten(most.max(1));
        self.commands.answers.shorten(most.max(1));
    }

    /// Ends all connections on purpose, before a device switches its link off. The adapter closes
    /// their sockets; no [`Action::Close`] follows. What is under way is done again over the
    /// connections that the next [`Client::poll_action`] asks for; nobody is told of a failure.
    pub fn disconnect(&mut self, now: Instant) {
        let now = self.settle_at(now);
        self.commands.leave_all(now);
    }

    /// Writes what is known of topics and positions, to be restored by a client to come, perhaps
    /// hours later, and how long that is. Records of events that were polled count as read.
    /// [`snapshot_bytes`](crate::snapshot_bytes) tells how large `out` should be.
    ///
    /// Kept are counts, ids, positions and leader epochs, not what waits to be sent: flush before.
    ///
    /// # Errors
    /// `Limit` with the number of bytes that are needed. `out` is of no use then.
    pub fn save(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        self.settle();
        let Commands { cluster, consumer, .. } = &self.commands;
        let needed = snapshot::save(cluster, consumer, out);
        if needed > out.len() {
            return Err(Error::Limit { what: LimitKind::Snapshot, needed });
        }
        Ok(needed)
    }

    /// Takes up what [`Client::save`] wrote, after the same `topic`, `assign` and `assign_all` as
    /// then and before anything is polled. A position that was saved replaces the start of its
    /// partition; topics that are not watched and partitions that are not assigned are passed over.
    /// Partitions that were added since are read from their first record, and a count never goes
    /// below the one that was saved.
    ///
    /// # Errors
    /// When `bytes` do not begin with a whole and unchanged snapshot: nothing has changed then.
    pub fn restore(&mut self, now: Instant, bytes: &[u8]) -> Result<Restored, RestoreError> {
        let now = self.settle_at(now);
        let Commands { cluster, consumer, dirty, .. } = &mut self.commands;
        *dirty = true;
        snapshot::restore(cluster, consumer, now, bytes)
    }

    /// What the adapter has to do next.
    pub fn poll_action(&mut self, now: Instant) -> Option<Action> {
        let now = self.settle_at(now);
        self.commands.drive(now);
        let deadline = now + self.commands.cluster.config.connect_timeout;
        let (state, conn) = self.commands.net.next_action(deadline)?;
        self.commands.dirty = true;
        Some(match state {
            State::Wanted => Action::Connect { conn },
            _ => Action::Close { conn },
        })
    }

    /// Host name or address, and port, of a connection.
    #[must_use]
    pub fn address(&self, conn: ConnId) -> Option<(&str, u16)> {
        let slot = self.commands.net.slot(conn)?;
        self.commands.cluster.address(self.commands.net.conns[slot].peer)
    }

    /// A connection is established.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId) {
        let now = self.settle_at(now);
        if let Some(slot) = self.commands.net.slot(conn)
            && self.commands.net.conns[slot].state == State::Connecting
        {
            self.commands.begin_handshake(now, slot);
        }
    }

    /// A connection ended, or could not be made.
    pub fn handle_closed(&mut self, now: Instant, conn: ConnId, why: CloseReason) {
        let now = self.settle_at(now);
        if let Some(slot) = self.commands.net.slot(conn) {
            let c = &self.commands.net.conns[slot];
            // Brokers end connections that were idle for long: nobody has to be told.
            let idle = c.state == State::Ready && c.pending() == 0 && c.used + IDLE <= now;
            let peer = c.peer;
            // Where somebody has answered before it is not for want of a password.
            let asked = c.state == State::Ready && c.pending() > 0;
            let early = asked && !self.commands.cluster.answered;
            let why = match why {
                CloseReason::Ended | CloseReason::Reset if early => CloseReason::EndedEarly,
                why => why,
            };
            self.commands.lose(now, slot, Error::Closed(why), false);
            if idle {
                self.commands.cluster.forgive(now, peer);
            }
        }
    }

    /// Where the next bytes of a connection go; empty while there is no room, until events were
    /// polled: TCP holds the rest back.
    pub fn recv_buffer(&mut self, conn: ConnId) -> &mut [u8] {
        self.settle();
        let Some(slot) = self.commands.net.slot(conn) else { return &mut [] };
        let size = self.rx_bytes;
        let c = &mut self.commands.net.conns[slot];
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
        memory.get_mut(c.rx_end as usize..).unwrap_or_default()
    }

    /// `len` bytes were put into the [`Client::recv_buffer`] of a connection.
    pub fn handle_received(&mut self, now: Instant, conn: ConnId, len: usize) {
        let now = self.settle_at(now);
        let Some(slot) = self.commands.net.slot(conn) else { return };
        let size = self.rx_bytes;
        let c = &mut self.commands.net.conns[slot];
        if !c.is_up() {
            return;
        }
        let end = (c.rx_end as usize).saturating_add(len).min(size);
        c.rx_end = end as u32;
        self.commands.net.arrived(now, slot);
        let memory = part_of(&self.rx, size, slot);
        self.commands.digest(now, slot, memory, Present::Nothing);
    }

    /// Bytes that a connection has to send; `None` when there are none.
    pub fn poll_transmit(&mut self, now: Instant, conn: ConnId) -> Option<Transmit<'_>> {
        let now = self.settle_at(now);
        self.commands.drive(now);
        let slot = self.commands.net.slot(conn)?;
        self.commands.net.show(slot);
        self.commands.nudge = Tick::ZERO;
        self.commands.net.transmit(slot)
    }

    /// `len` bytes of the last [`Client::poll_transmit`] were taken by the transport.
    pub fn handle_transmitted(&mut self, _now: Instant, conn: ConnId, len: usize) {
        self.settle();
        let Some(slot) = self.commands.net.slot(conn) else { return };
        let Commands { net, producer, .. } = &mut self.commands;
        net.transmitted(slot, len);
        while let Some(batches) = net.take_silent(slot) {
            producer.on_silent(net, batches);
        }
    }

    /// When [`Client::handle_timeout`] has to be called at the latest, if nothing else happens.
    /// `None`: never. Lies in the past while an action, an event, bytes or work wait.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let c = &self.commands;
        let waits = c.taken.is_some()
            || c.is_dirty()
            || c.has_news()
            || c.has_answers()
            || c.net.has_actions();
        let mut at = if waits { Tick::ZERO } else { c.next_deadline().min(c.hold_up()) };
        if c.net.has_unshown() {
            at = at.min(c.nudge);
        }
        (at != Tick::NEVER).then(|| c.scale.instant(at))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.settle_at(now);
        self.give_way(now);
        self.commands.drive(now);
        // A loop that has had its turn and did not look for bytes has its reasons.
        if self.commands.net.has_unshown() {
            let nudged = self.commands.nudged;
            self.commands.nudge = if nudged { now + NUDGE } else { Tick::ZERO };
        }
        self.commands.nudged = self.commands.net.has_unshown();
    }

    /// Records that nobody takes make way in time on a connection that others need too.
    fn give_way(&mut self, now: Tick) {
        for slot in 0..self.commands.waiting() {
            if self.commands.is_held_up(now, slot) {
                let memory = part_of(&self.rx, self.rx_bytes, slot);
                self.commands.digest(now, slot, memory, Present::Nothing);
            }
        }
    }

    /// The next event, and the commands that may be used while it is held.
    ///
    /// The event borrows the receive memory; the next call to the client ends it. Records count
    /// as read then, unless [`Commands::hold`] was called.
    pub fn poll_event(&mut self, now: Instant) -> Option<(Event<'_>, &mut Commands<'d>)> {
        let now = self.settle_at(now);
        self.commands.take_records(true);
        self.poll(now, Present::All)
    }

    /// The next event that is not [`Event::Records`], for an application that has no room for
    /// records now. They stay in the receive buffers, where TCP holds the brokers back, and until
    /// [`Client::poll_event`] or [`Client::has_event`] is called again they are no reason for
    /// [`Client::poll_timeout`] to lie in the past.
    ///
    /// With two connections or more only fetches wait behind them. With one, records that wait
    /// for longer than a second are dropped, and fetched again after the next
    /// [`Client::poll_event`].
    pub fn poll_news(&mut self, now: Instant) -> Option<(Event<'_>, &mut Commands<'d>)> {
        let now = self.settle_at(now);
        self.commands.take_records(false);
        self.poll(now, Present::News)
    }

    fn poll(&mut self, now: Tick, what: Present) -> Option<(Event<'_>, &mut Commands<'d>)> {
        self.commands.drive(now);
        let commands = &mut self.commands;
        if let Some(event) = commands.poll_news() {
            return Some((event, commands));
        }
        let conns = commands.waiting();
        commands.turn = commands.turn.wrapping_add(1);
        for i in 0..conns {
            let slot = (commands.turn + i) % conns;
            if !commands.answers[slot].ready {
                continue;
            }
            let memory = part_of(&self.rx, self.rx_bytes, slot);
            if let Some(event) = commands.digest(now, slot, memory, what) {
                return Some((event, commands));
            }
        }
        // What was read may have made news.
        let event = commands.poll_news()?;
        Some((event, commands))
    }

    /// Whether [`Client::poll_event`] is worth calling. With this an event can be returned out of
    /// a loop that waits for one, which the borrow checker refuses otherwise (E0499).
    pub fn has_event(&mut self, now: Instant) -> bool {
        let now = self.settle_at(now);
        self.commands.take_records(true);
        self.commands.drive(now);
        if self.commands.has_news() {
            return true;
        }
        for slot in 0..self.commands.waiting() {
            if !self.commands.answers[slot].ready {
                continue;
            }
            let memory = part_of(&self.rx, self.rx_bytes, slot);
            if self.commands.has_answer_event(now, slot, memory) {
                return true;
            }
        }
        self.commands.has_news()
    }

    /// The application is through with the event that it had, and time has passed.
    fn settle_at(&mut self, now: Instant) -> Tick {
        self.settle();
        self.commands.at(now)
    }

    /// The application is through with the event that it had.
    fn settle(&mut self) {
        if let Some((slot, taken)) = self.commands.taken.take() {
            self.commands.put_behind(usize::from(slot), &taken);
        }
    }
}

/// The receive buffer of a connection.
#[cfg_attr(not(feature = "std"), inline(never))]
fn part_of(rx: &[u8], size: usize, slot: usize) -> &[u8] {
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
    /// What the clock shows, on the machine's scale. Everything that is kept moves with it.
    #[inline(never)]
    fn at(&mut self, now: Instant) -> Tick {
        let (now, moved) = self.scale.read(now);
        if let Some(by) = moved {
            self.nudge.age(by);
            self.deadline.age(by);
            for answer in self.answers.iter_mut() {
                answer.age(by);
            }
            self.net.age(by);
            self.cluster.age(by);
            self.producer.age(by);
            self.consumer.age(by);
            self.admin.age(by);
        }
        now
    }

    /// Watches a topic, from now on. The same name gives the same id. When all places are taken, a
    /// topic that was only produced to makes room if that was five minutes ago or longer; its id
    /// means nothing then.
    ///
    /// # Errors
    /// `Caller` for a name that Kafka does not allow, `Limit` when all topics are in use.
    pub fn topic(&mut self, name: &str) -> Result<TopicId, Error> {
        self.dirty = true;
        match self.cluster.watch(name) {
            Err(Error::Limit { .. }) if self.make_topic_room() => self.cluster.watch(name),
            result => result,
        }
    }

    /// Has no use for a topic any more. An `assign_all` of it takes up no more partitions. The
    /// topic is forgotten, and its id means nothing, as soon as none of its partitions is assigned
    /// and no batch for it is unfinished.
    pub fn unwatch(&mut self, topic: TopicId) {
        if let Some(slot) = self.cluster.topic_slot(topic) {
            self.consumer.unfollow(&mut self.cluster, slot);
            self.cluster.topics.watch(slot, false);
            self.forget_unused(slot);
            self.dirty = true;
        }
    }

    /// Name of a topic.
    #[must_use]
    pub fn topic_name(&self, topic: TopicId) -> Option<&str> {
        self.cluster.topic_slot(topic).map(|slot| self.cluster.topics[slot].name.as_str())
    }

    /// What stands in the way of everything: a connection failed and no broker has answered
    /// since, or none has answered yet. [`Obstacle::broker`] is the one that it led to.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        let silent = || {
            let mut live = self.net.conns.iter().filter(|conn| conn.is_live());
            let first = live.clone().next()?;
            let ready = live.any(|conn| conn.state == State::Ready);
            (!ready).then_some(Obstacle::NoAnswer { broker: first.peer.node() })
        };
        self.cluster.whole_trouble().or_else(silent)
    }

    /// [`Config::silence_timeout`](crate::Config::silence_timeout), for adapters that have their
    /// transport look after it, too.
    #[must_use]
    pub fn silence_timeout(&self) -> core::time::Duration {
        let millis = self.cluster.config.silence_timeout.millis();
        core::time::Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// Host and port of a broker by its node id; of -1 those of the bootstrap address that failed
    /// last, or that is being connected.
    #[must_use]
    pub fn broker_address(&self, broker: i32) -> Option<(&str, u16)> {
        self.cluster.address(self.cluster.peer_of(broker))
    }

    /// What is known of a topic, and how old that is; `None` before its first answer.
    #[must_use]
    pub fn freshness(&self, topic: TopicId) -> Option<Freshness> {
        self.cluster.topic_slot(topic).and_then(|slot| self.cluster.freshness(slot, self.scale))
    }

    /// Sends an admin request. Its answer comes as [`Event::Reply`]s, the last of them
    /// [`Reply::Done`](crate::Reply::Done).
    ///
    /// # Errors
    /// `Full` passes; `TooLarge` does not, and names what would be needed.
    #[cfg(feature = "admin")]
    pub fn admin(
        &mut self,
        now: Instant,
        ask: &crate::event::Admin<'_>,
    ) -> Result<crate::id::RequestId, crate::error::AdminError> {
        let now = self.at(now);
        self.admin.ask(&mut self.cluster, &mut self.net.blocks, now, ask)
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            requests: self.net.requests,
            probes: self.cluster.probes,
            blocks_used: self.net.blocks.total() - self.net.blocks.free(),
            ..self.stats
        }
    }

    fn has_news(&self) -> bool {
        self.cluster.topics.has_news()
            || self.cluster.broker_news
            || self.net.silence_news
            || self.cluster.table.has_moved()
            || self.consumer.has_news()
            || self.admin.has_news()
            || self.producer.has_news()
    }

    /// The next event that needs no received bytes.
    fn poll_news(&mut self) -> Option<Event<'static>> {
        if let Some(event) = self.cluster.poll_event() {
            return Some(event);
        }
        if let Some(event) = self.producer.poll_outcome(&mut self.net) {
            if matches!(event, Event::Room) {
                self.consumer.on_room();
            }
            return Some(event);
        }
        if let Some(event) = self.consumer.poll_event(&self.cluster) {
            return Some(event);
        }
        if let Some(event) = self.admin.poll_event(&self.cluster) {
            return Some(event);
        }
        if self.net.silence_news {
            let hold = self.cluster.config.fetch_max_wait;
            if let Some((broker, since)) = self.net.take_silence(hold) {
                let millis = since.until(self.cluster.clock()).millis();
                let silent =
                    core::time::Duration::from_millis(u64::try_from(millis).unwrap_or_default());
                return Some(Event::Unresponsive { broker, silent });
            }
        }
        if self.cluster.broker_news {
            let (broker, error) = self.cluster.take_broker_news()?;
            return Some(Event::Disconnected { broker, error });
        }
        None
    }
}
