//! Clients and brokers in virtual time, without sockets and threads: the same seed gives the same
//! run. Streams are split into random pieces and take random time; nothing waits for a real clock.

mod link;
mod net;
mod trace;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use kavka_core::codec::{CompactPack, Pack};
use kavka_core::login::Mechanism;
use kavka_core::{
    Action, Client, CloseReason, Commands, Config, ConnId, Event, Instant, Limits, Storage,
};

use super::model::{Cluster, Options};
use super::rng::Rng;
use link::{Happening, Link};
pub use net::{Net, Trouble};
pub use trace::Trace;

/// An application that runs on a client.
pub trait App {
    /// Handles an event.
    fn on_event(&mut self, now: Instant, event: Event<'_>, commands: &mut Commands<'static>);
    /// Is called after all events; a chance to produce.
    fn on_idle(&mut self, now: Instant, commands: &mut Commands<'static>);
    /// Returns when it wants to be called even if nothing happens.
    fn wake_at(&self) -> Option<Instant> {
        None
    }
    /// Returns whether it lets events wait; [`App::wake_at`] then says how long.
    fn is_busy(&self, _: Instant) -> bool {
        false
    }
    /// Returns whether it has no space for records, and polls other events only; [`App::wake_at`]
    /// says how long.
    fn is_full(&self, _: Instant) -> bool {
        false
    }
}

/// Creates what a client logs in with.
pub type Login = Box<dyn Fn() -> Box<dyn Mechanism + Send>>;

struct Member<A> {
    client: Client<'static>,
    app: A,
    conns: BTreeMap<ConnId, u64>,
    /// Whether something arrived since it last worked.
    stirred: bool,
    /// When it works by itself.
    due: Option<Instant>,
    /// It is gone.
    ended: bool,
    fetched: Fetched,
}

/// What brokers returned to a client's fetches, in bytes of whole record batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes of all responses.
    pub bytes: u64,
    /// Bytes of the largest response.
    pub largest: u64,
    /// Bytes of the last two responses of each connection that has ended: they may have been lost.
    pub with_ended: u64,
}

/// A cluster, its clients and the time. [`World::cluster`] may be changed freely between two runs;
/// brokers die and streams end through [`World::kill`] and [`World::disconnect`].
pub struct World<A> {
    /// The brokers.
    pub cluster: Cluster,
    /// The network, from now on.
    pub net: Net,
    /// What happened: a hash that differs between different runs, or in words.
    pub trace: Trace,
    /// What clients that join compress with, where their configuration says so.
    pub encoders: Box<dyn Fn() -> Box<dyn Pack + Send>>,
    /// What clients that join log in with.
    pub login: Option<Login>,
    /// The token that clients get when they want one, and how long it is said to be valid.
    pub token: (Vec<u8>, Duration),
    members: Vec<Member<A>>,
    links: BTreeMap<u64, Link>,
    queue: BTreeMap<(Duration, u64), Happening>,
    order: u64,
    now: Duration,
    seed: u64,
    rng: Rng,
}

impl<A: App> World<A> {
    /// Creates a world at time zero.
    #[must_use]
    pub fn new(seed: u64, options: Options) -> Self {
        Self {
            cluster: Cluster::new(options),
            net: Net::default(),
            trace: Trace::default(),
            encoders: Box::new(|| Box::new(CompactPack::new())),
            login: None,
            token: (b"good.token".to_vec(), Duration::from_secs(60)),
            members: Vec::new(),
            links: BTreeMap::new(),
            queue: BTreeMap::new(),
            order: 0,
            now: Duration::ZERO,
            seed,
            rng: Rng(seed),
        }
    }

    /// Adds a client that knows all brokers, configured by `set`; returns its number.
    ///
    /// # Panics
    /// When the client refuses its configuration.
    pub fn join(&mut self, app: A, limits: &Limits, set: impl FnOnce(&mut Config<'_>)) -> usize {
        let address = |id| self.cluster.endpoint(id);
        let brokers = self.cluster.brokers().into_iter().filter_map(address);
        let all: Vec<_> = brokers.map(|(host, port)| format!("{host}:{port}")).collect();
        let all = all.join(",");
        let mut config = Config::new(&all);
        set(&mut config);
        let mut seed = [0; 32];
        seed.fill_with(|| self.rng.below(256) as u8);
        let mut storage = Storage::heap(limits).encoders((self.encoders)());
        if let Some(login) = &self.login {
            storage = storage.owned_login(login());
        }
        let client = Client::owned_with(config, storage, seed);
        let mut client = client.unwrap_or_else(|error| panic!("{}: {error:?}", self.at()));
        let passed = i64::try_from(self.now.as_millis()).unwrap_or(0);
        client.set_wall_clock(self.instant(), 1_700_000_000_000 + passed);
        let conns = BTreeMap::new();
        self.members.push(Member {
            client,
            app,
            conns,
            stirred: true,
            due: None,
            ended: false,
            fetched: Fetched::default(),
        });
        self.members.len() - 1
    }

    /// Returns the seed and the time, for messages.
    #[must_use]
    pub fn at(&self) -> String {
        format!("seed {}, {:?}", self.seed, self.now)
    }

    /// Returns the time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Returns the number of clients so far; their numbers are below this.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Returns a client's application.
    #[must_use]
    pub fn app(&self, member: usize) -> &A {
        &self.members[member].app
    }

    /// Returns a client's application, mutable.
    pub fn app_mut(&mut self, member: usize) -> &mut A {
        self.members[member].stirred = true;
        &mut self.members[member].app
    }

    /// Returns a client, to inspect it.
    #[must_use]
    pub fn client(&self, member: usize) -> &Client<'static> {
        &self.members[member].client
    }

    /// Returns what a client has fetched.
    #[must_use]
    pub fn fetched(&self, member: usize) -> Fetched {
        self.members[member].fetched
    }

    /// Gives commands to a client.
    pub fn command<R>(
        &mut self,
        member: usize,
        act: impl FnOnce(Instant, &mut Commands<'static>, &mut A) -> R,
    ) -> R {
        let now = self.instant();
        let member = &mut self.members[member];
        member.stirred = true;
        act(now, &mut member.client, &mut member.app)
    }

    /// Runs until `done`, for at most `limit`.
    ///
    /// # Panics
    /// When `limit` has passed; the message names `what` and the seed.
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

    /// Kills a broker as SIGKILL does: its streams end, what is in flight on them is lost.
    pub fn kill(&mut self, broker: i32) {
        self.cluster.kill(broker);
        self.disconnect(broker);
    }

    /// Ends all streams of a broker; what is in flight on them is lost.
    pub fn disconnect(&mut self, broker: i32) {
        let ended: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| link.broker == broker)
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            self.reset(id);
        }
    }

    /// Ends a client as SIGKILL does: its streams end, and it is never called again.
    pub fn stop(&mut self, member: usize) {
        let mine: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| link.member == member)
            .map(|(id, _)| *id)
            .collect();
        for id in mine {
            self.reset(id);
        }
        let stopped = &mut self.members[member];
        (stopped.ended, stopped.stirred, stopped.due) = (true, false, None);
    }

    fn lost(&mut self, member: usize, conn: ConnId, why: CloseReason) {
        let now = self.instant();
        let member = &mut self.members[member];
        if member.conns.remove(&conn).is_some() {
            member.stirred = true;
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

    /// Returns the time that one piece takes.
    fn latency(&mut self) -> Duration {
        let span = self.net.slowest.saturating_sub(self.net.fastest).as_micros();
        let span = u64::try_from(span).unwrap_or(u64::MAX - 1);
        self.net.fastest + Duration::from_micros(self.rng.below(span + 1))
    }

    /// Returns a part of `len` bytes: often all, often few.
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

    /// Advances to the next thing that happens; returns `false` when that is after `end`.
    fn step(&mut self, end: Duration) -> bool {
        let mut next = self.queue.keys().next().map(|(at, _)| *at);
        let earlier = |next: Option<Duration>, at: Duration| next.map_or(at, |next| next.min(at));
        if let Some(at) = self.cluster.next_time() {
            // The client's clock counts microseconds.
            let micros = u64::try_from(at.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
            next = Some(earlier(next, Duration::from_micros(micros)));
        }
        for at in self.members.iter().filter_map(|member| member.due) {
            next = Some(earlier(next, Duration::from_micros(at.as_micros())));
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
            let member = &self.members[at];
            if member.ended || !member.stirred && member.due.is_none_or(|due| due > now) {
                continue;
            }
            let (mut idle, mut turns) = (0, 0);
            while idle < 1000 && turns < 100_000 {
                turns += 1;
                let progress = self.pump(at);
                if progress {
                    idle = 0;
                    continue;
                }
                let member = &self.members[at];
                let due = member.client.poll_timeout();
                if due.is_none_or(|due| due > now) || member.app.is_busy(now) {
                    break;
                }
                idle += 1;
            }
            assert!(
                idle < 1000 && turns < 100_000,
                "{}: client {at} wants a call again and again",
                self.at()
            );
            let misuse = self.members[at].client.stats().last_misuse;
            assert!(misuse.is_none(), "{}: this loop is wrong: {misuse:?}", self.at());
            let member = &mut self.members[at];
            member.stirred = false;
            let app = member.app.wake_at().map(|at| at.max(now + Duration::from_micros(1)));
            let client = member.client.poll_timeout();
            // While events wait for a busy application, the client wants a call all the time.
            let client = client.filter(|due| *due > now || !member.app.is_busy(now));
            self.trace.due(self.now, at, client);
            member.due = Instant::earliest(client, app);
        }
    }

    /// Runs one turn of an event loop; returns whether anything moved.
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
        while self.one_event(at) {
            moved = true;
        }
        let member = &mut self.members[at];
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
                Action::NeedToken => {
                    let (token, lifetime) = &self.token;
                    // One that is refused is missed by the client.
                    let _ = self.members[at].client.set_token(now, token, Some(*lifetime));
                }
                _ => {}
            }
        }
        moved
    }
}

/// Bytes in order, given out in pieces.
type Pipe = VecDeque<u8>;
