//! Clients and brokers in virtual time, without sockets and threads: the same seed gives the same
//! run. Streams are cut in random pieces and take random time; nothing waits for a real clock.

mod link;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use kavka_core::{
    Action, Client, CloseReason, Commands, Config, ConnId, Event, Instant, Limits, Storage,
};

use super::model::{Cluster, Options};
use link::{Happening, Link};

/// What runs on top of a client.
pub trait App {
    /// Something happened.
    fn on_event(&mut self, now: Instant, event: Event<'_>, commands: &mut Commands<'static>);
    /// All events were told; a chance to produce.
    fn on_idle(&mut self, now: Instant, commands: &mut Commands<'static>);
}

/// The network between clients and brokers. Every stream keeps its order.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    /// Shortest time that bytes, and opening a connection, take.
    pub fastest: Duration,
    /// Longest such time.
    pub slowest: Duration,
    /// Whether bytes come and go in random pieces.
    pub pieces: bool,
}

impl Default for Net {
    fn default() -> Self {
        Self {
            fastest: Duration::from_micros(100),
            slowest: Duration::from_millis(3),
            pieces: true,
        }
    }
}

struct Member<A> {
    client: Client<'static>,
    app: A,
    conns: BTreeMap<ConnId, u64>,
}

/// A cluster, its clients and the time. Anything may be done to [`World::cluster`] between two
/// runs; brokers die and streams end through [`World::kill`] and [`World::disconnect`].
pub struct World<A> {
    /// The brokers.
    pub cluster: Cluster,
    /// The network, from now on.
    pub net: Net,
    members: Vec<Member<A>>,
    links: BTreeMap<u64, Link>,
    queue: BTreeMap<(Duration, u64), Happening>,
    order: u64,
    now: Duration,
    seed: u64,
    rng: Rng,
}

impl<A: App> World<A> {
    /// A world at time zero.
    #[must_use]
    pub fn new(seed: u64, options: Options) -> Self {
        Self {
            cluster: Cluster::new(options),
            net: Net::default(),
            members: Vec::new(),
            links: BTreeMap::new(),
            queue: BTreeMap::new(),
            order: 0,
            now: Duration::ZERO,
            seed,
            rng: Rng(seed),
        }
    }

    /// Adds a client that knows all brokers, configured by `set`; its number is returned.
    ///
    /// # Panics
    /// When the client refuses its configuration.
    pub fn join(
        &mut self,
        app: A,
        limits: &Limits,
        set: impl FnOnce(&mut Config<'static>),
    ) -> usize {
        let address = |id| self.cluster.endpoint(id);
        let brokers = self.cluster.brokers().into_iter().filter_map(address);
        let all: Vec<_> = brokers.map(|(host, port)| format!("{host}:{port}")).collect();
        let mut config = Config::new(all.join(",").leak()); // lives as long as the client
        set(&mut config);
        let mut seed = [0; 32];
        seed.fill_with(|| self.rng.below(256) as u8);
        let client = Client::new(config, Storage::heap(limits), seed);
        let mut client = client.unwrap_or_else(|error| panic!("{}: {error:?}", self.at()));
        client.set_wall_clock(self.instant(), 1_700_000_000_000);
        self.members.push(Member { client, app, conns: BTreeMap::new() });
        self.members.len() - 1
    }

    /// Seed and time, for messages.
    #[must_use]
    pub fn at(&self) -> String {
        format!("seed {}, {:?}", self.seed, self.now)
    }

    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// What runs on a client.
    #[must_use]
    pub fn app(&self, member: usize) -> &A {
        &self.members[member].app
    }

    /// What runs on a client, to be changed.
    pub fn app_mut(&mut self, member: usize) -> &mut A {
        &mut self.members[member].app
    }

    /// A client, to look at.
    #[must_use]
    pub fn client(&self, member: usize) -> &Client<'static> {
        &self.members[member].client
    }

    /// Gives commands to a client.
    pub fn command<R>(
        &mut self,
        member: usize,
        act: impl FnOnce(Instant, &mut Commands<'static>, &mut A) -> R,
    ) -> R {
        let now = self.instant();
        let member = &mut self.members[member];
        act(now, &mut member.client, &mut member.app)
    }

    /// Runs until `done`, at most for `limit`.
    ///
    /// # Panics
    /// When the time is over, naming `what` and the seed.
    #[track_caller]
    pub fn await_that(&mut self, what: &str, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        loop {
            self.settle();
            if done(self) {
                return;
            }
            assert!(self.step(end), "{}: no {what} after {limit:?}", self.at());
        }
    }

    /// Runs for this time.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while self.step(end) {
            self.settle();
        }
        self.now = end;
        self.cluster.advance(end);
    }

    /// SIGKILL of a broker: its streams end, what is under way on them is lost.
    pub fn kill(&mut self, broker: i32) {
        self.cluster.kill(broker);
        self.disconnect(broker);
    }

    /// Ends all streams of a broker; what is under way on them is lost.
    pub fn disconnect(&mut self, broker: i32) {
        let ended: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| link.broker == broker)
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            let Some(link) = self.links.remove(&id) else { continue };
            self.cluster.handle_closed(broker, id);
            self.lost(link.member, link.conn, CloseReason::Reset);
        }
    }

    fn lost(&mut self, member: usize, conn: ConnId, why: CloseReason) {
        let now = self.instant();
        let member = &mut self.members[member];
        if member.conns.remove(&conn).is_some() {
            member.client.handle_closed(now, conn, why);
        }
    }

    fn instant(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.now.as_micros()).unwrap_or(u64::MAX))
    }

    fn schedule(&mut self, at: Duration, happening: Happening) {
        self.order += 1;
        self.queue.insert((at, self.order), happening);
    }

    /// Time that one piece takes.
    fn latency(&mut self) -> Duration {
        let span = self.net.slowest.saturating_sub(self.net.fastest).as_micros();
        let span = u64::try_from(span).unwrap_or(u64::MAX - 1);
        self.net.fastest + Duration::from_micros(self.rng.below(span + 1))
    }

    /// Some of `len` bytes: often all, often few.
    fn piece(&mut self, len: usize) -> usize {
        if !self.net.pieces || len <= 1 {
            return len;
        }
        let up_to = |rng: &mut Rng, most: usize| 1 + rng.below(most as u64) as usize;
        match self.rng.below(4) {
            0 | 1 => len,
            2 => up_to(&mut self.rng, len.min(16)),
            _ => up_to(&mut self.rng, len),
        }
    }

    /// Goes on to the next thing that happens; `false` when that is after `end`.
    fn step(&mut self, end: Duration) -> bool {
        let mut next = self.queue.keys().next().map(|(at, _)| *at);
        let earlier = |next: Option<Duration>, at: Duration| next.map_or(at, |next| next.min(at));
        if let Some(at) = self.cluster.next_time() {
            // The client's clock counts microseconds.
            let micros = u64::try_from(at.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
            next = Some(earlier(next, Duration::from_micros(micros)));
        }
        for member in &self.members {
            if let Some(at) = member.client.poll_timeout() {
                next = Some(earlier(next, Duration::from_micros(at.as_micros())));
            }
        }
        let Some(next) = next.filter(|next| *next <= end) else { return false };
        self.now = self.now.max(next);
        self.cluster.advance(self.now);
        self.outputs();
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let happening = entry.remove();
            self.happen(happening);
        }
        true
    }

    /// Lets the clients work until none of them has anything to do at this time.
    fn settle(&mut self) {
        self.outputs();
        let now = self.instant();
        for at in 0..self.members.len() {
            let mut idle = 0;
            while idle < 1000 {
                let progress = self.pump(at);
                if progress {
                    idle = 0;
                    continue;
                }
                if self.members[at].client.poll_timeout().is_none_or(|due| due > now) {
                    break;
                }
                idle += 1;
            }
            assert!(idle < 1000, "{}: client {at} wants a call again and again", self.at());
        }
    }

    /// One turn of an event loop; whether anything moved.
    fn pump(&mut self, at: usize) -> bool {
        let now = self.instant();
        self.members[at].client.handle_timeout(now);
        let mut moved = self.actions(at);
        let conns: Vec<(ConnId, u64)> =
            self.members[at].conns.iter().map(|(conn, id)| (*conn, *id)).collect();
        for (conn, id) in conns {
            moved |= self.transmit(at, conn, id);
            moved |= self.receive(at, conn, id);
        }
        let member = &mut self.members[at];
        while let Some((event, commands)) = member.client.poll_event(now) {
            member.app.on_event(now, event, commands);
            moved = true;
        }
        member.app.on_idle(now, &mut member.client);
        moved
    }

    fn actions(&mut self, at: usize) -> bool {
        let now = self.instant();
        let mut moved = false;
        while let Some(action) = self.members[at].client.poll_action(now) {
            moved = true;
            match action {
                Action::Connect { conn } => self.connect(at, conn),
                Action::Close { conn } => self.hang_up(at, conn),
                _ => {}
            }
        }
        moved
    }
}

/// SplitMix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `limit`; 0 for 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw().checked_rem(limit).unwrap_or(0)
    }
}

/// Bytes in order, given out in pieces.
type Pipe = VecDeque<u8>;
