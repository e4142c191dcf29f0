//! The machine over non-blocking `std` sockets, for any loop to own.
//!
//! [`Driver::turn`] waits and moves bytes; [`Driver::poll_event`] then returns the result. A loop
//! that waits elsewhere watches the driver's file descriptor ([`AsFd`] on Unix) until
//! [`Driver::poll_timeout`] and calls [`Driver::turn_now`].

mod register;
mod resolve;
#[cfg(feature = "tls")]
mod secure;
mod socket;
mod tokens;

#[cfg(feature = "tls")]
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use crate::address;
use kavka_core::{Action, Client, CloseReason, Commands, ConnId, Event, Instant};
use polling::{Events, Poller};

use crate::security::Fetch;

pub use register::Mode;
use resolve::{Resolved, Resolver};
use socket::{Conn, Context, Ended};
use tokens::Tokens;

/// Ends a [`Driver::turn`] that waits, from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Poller>);

impl Waker {
    /// The turn that waits now, or else the next one, returns.
    pub fn wake(&self) {
        // It fails only when the process is out of everything; the turn's deadline still comes.
        let _ = self.0.notify();
    }
}

/// A connection that failed or ended: to which address, and what the system said.
#[derive(Debug)]
pub struct Failure {
    /// `host:port`.
    pub address: Arc<str>,
    /// The system's error.
    pub error: io::Error,
    /// Both, for people.
    text: Arc<str>,
    why: CloseReason,
}

impl Failure {
    fn new(address: Arc<str>, error: io::Error, why: CloseReason) -> Self {
        let text = format!("{address} ({error})").into();
        Self { address, error, text, why }
    }

    /// Whether a connection to `address` that ended like this may be the one.
    pub(crate) fn explains(&self, address: &str, why: CloseReason) -> bool {
        let early = why == CloseReason::EndedEarly
            && matches!(self.why, CloseReason::Ended | CloseReason::Reset);
        *self.address == *address && (self.why == why || early)
    }

    pub(crate) fn text(&self) -> Arc<str> {
        self.text.clone()
    }
}

/// A [`Client`] with its sockets. Derefs to the client, for its commands.
pub struct Driver<'d> {
    client: Client<'d>,
    started: StdInstant,
    mode: Mode,
    poller: Arc<Poller>,
    resolver: Resolver,
    tokens: Option<Tokens>,
    /// TLS handshakes that were complete, and those of them that resumed a session.
    handshakes: (u64, u64),
    #[cfg(feature = "tls")]
    tls: Option<crate::Tls>,
    /// Steps of handshakes that are left in this turn.
    #[cfg(feature = "tls")]
    steps: Cell<u32>,
    events: Events,
    conns: Vec<Option<Conn>>,
    /// The connection that is served first, changing with every turn.
    first: usize,
    failure: Option<Arc<Failure>>,
}

impl<'d> Driver<'d> {
    /// Level-triggered.
    ///
    /// # Errors
    /// When the system has no poller.
    pub fn new(client: Client<'d>) -> io::Result<Self> {
        Self::with_mode(client, Mode::Level)
    }

    /// With the readiness mode of choice.
    ///
    /// # Errors
    /// When the system has no poller, or none with this mode.
    pub fn with_mode(client: Client<'d>, mode: Mode) -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        if mode == Mode::Edge && !poller.supports_edge() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self {
            client,
            started: StdInstant::now(),
            mode,
            resolver: Resolver::new(&poller),
            tokens: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            steps: Cell::new(0),
            handshakes: (0, 0),
            poller,
            events: Events::new(),
            conns: Vec::new(),
            first: 0,
            failure: None,
        })
    }

    /// Encrypts all connections from now on.
    #[cfg(feature = "tls")]
    pub fn secure(&mut self, tls: &crate::Tls) {
        self.tls = Some(tls.clone());
    }

    /// Returns how many TLS handshakes were complete, and how many of them resumed a session.
    pub(crate) fn handshakes(&self) -> (u64, u64) {
        self.handshakes
    }

    /// Fetches tokens where the client requests them.
    pub(crate) fn fetch_tokens(&mut self, fetch: Fetch) {
        self.tokens = Some(Tokens::new(fetch, &self.poller));
    }

    /// Returns the driver's clock: time since it was created.
    #[must_use]
    pub fn now(&self) -> Instant {
        let micros = self.started.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Wakes this driver from other threads.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker(self.poller.clone())
    }

    /// The poller that the sockets are registered with.
    #[must_use]
    pub fn poller(&self) -> &Poller {
        &self.poller
    }

    /// The last connection that failed or ended, for a message to people.
    #[must_use]
    pub fn last_failure(&self) -> Option<&Failure> {
        self.failure.as_deref()
    }

    pub(crate) fn failure(&self) -> Option<Arc<Failure>> {
        self.failure.clone()
    }

    /// Connections that are open or being opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.iter().flatten().count()
    }

    /// Does what is due, waits until more is, at most for `timeout` (`None`: as long as it takes),
    /// and does that, too. Does not wait while an event can be taken.
    ///
    /// # Errors
    /// When the system's poller fails. A connection's failure is no error here: the client is
    /// notified, and reconnects.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.service();
        let due = self.poll_timeout();
        let wait = match (timeout, due) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.wait(wait)
    }

    /// [`Driver::turn`] without waiting.
    ///
    /// # Errors
    /// As [`Driver::turn`].
    pub fn turn_now(&mut self) -> io::Result<()> {
        self.turn(Some(Duration::ZERO))
    }

    /// As [`Driver::turn`], but ignores events that are there and waits for the whole `timeout`, or
    /// for sockets and wakers: for a caller that cannot take events now.
    ///
    /// # Errors
    /// As [`Driver::turn`].
    pub fn turn_without_events(&mut self, timeout: Duration) -> io::Result<()> {
        self.service();
        self.wait(Some(timeout))
    }

    /// How long a loop may wait before it must call [`Driver::turn_now`], if nothing becomes
    /// ready before. `None`: no limit.
    pub fn poll_timeout(&mut self) -> Option<Duration> {
        let client = &mut self.client;
        let conns = self.conns.iter().flatten();
        let sockets = conns.filter_map(|conn| conn.deadline(client)).min();
        let tokens = self.tokens.as_ref().and_then(Tokens::due);
        let due = Instant::earliest(self.client.poll_timeout(), sockets);
        let due = Instant::earliest(due, tokens)?;
        Some(self.now().until(due))
    }

    /// The next event, and the commands, which work beside it.
    pub fn poll_event(&mut self) -> Option<(Event<'_>, &mut Commands<'d>)> {
        let now = self.now();
        self.client.poll_event(now)
    }

    /// The next event that is not records; see [`Client::poll_news`].
    pub fn poll_news(&mut self) -> Option<(Event<'_>, &mut Commands<'d>)> {
        let now = self.now();
        self.client.poll_news(now)
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.events.clear();
        match self.poller.wait(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        };
        for event in self.events.iter() {
            if let Some(Some(conn)) = self.conns.get_mut(event.key) {
                conn.ready(event.readable, event.writable);
            }
        }
        self.service();
        Ok(())
    }

    /// Everything that can be done now, once around.
    fn service(&mut self) {
        let now = self.now();
        self.client.handle_timeout(now);
        self.actions(now);
        self.names(now);
        let count = self.conns.len();
        #[cfg(feature = "tls")]
        self.steps.set(socket::HANDSHAKES);
        self.first = if count == 0 { 0 } else { (self.first + 1) % count };
        for slot in (self.first..count).chain(0..self.first) {
            self.with_conn(now, slot, |conn, cx, client| conn.service(cx, client));
        }
        self.actions(now);
    }

    fn actions(&mut self, now: Instant) {
        while let Some(action) = self.client.poll_action(now) {
            match action {
                Action::Connect { conn } => self.connect(now, conn),
                Action::Close { conn } => {
                    if let Some(slot) = self.conns.get_mut(conn.slot()) {
                        slot.take_if(|open| open.id == conn);
                    }
                }
                Action::NeedToken => {
                    if let Some(tokens) = &mut self.tokens {
                        tokens.request(now);
                    }
                }
                _ => {}
            }
        }
        if let Some(tokens) = &mut self.tokens
            && let Some(fetched) = tokens.poll(now)
        {
            match fetched {
                Ok(token) => {
                    let (text, lifetime) = token.parts();
                    if let Err(error) = self.client.set_token(now, text, lifetime) {
                        self.client.refuse_token(now, &error.to_string(), true);
                    }
                }
                Err(error) => {
                    let permanent = error.kind() == io::ErrorKind::PermissionDenied;
                    self.client.refuse_token(now, &error.to_string(), permanent);
                }
            }
        }
    }

    fn connect(&mut self, now: Instant, id: ConnId) {
        let slot = id.slot();
        if self.conns.len() <= slot {
            self.conns.resize_with(slot + 1, || None);
        }
        let Some((host, port)) = self.client.address(id) else { return };
        let name: Arc<str> = address::text(host, port).into();
        self.conns[slot] = Some(Conn::new(id, name.clone()));
        if let Some(found) = self.resolver.resolve(id, &name, host, port) {
            self.resolved(now, id, &name, found);
        }
    }

    fn names(&mut self, now: Instant) {
        while let Some(Resolved { name, conns, found }) = self.resolver.poll() {
            let mut used = false;
            for id in conns {
                let open = self.conns.get(id.slot()).and_then(Option::as_ref);
                if open.is_none_or(|conn| conn.id != id) {
                    continue; // given up meanwhile
                }
                used = true;
                match &found {
                    Ok(addresses) => self.resolved(now, id, &name, addresses.clone()),
                    Err(error) => {
                        let error = io::Error::new(error.kind(), error.to_string());
                        let ended = Ended::unresolved(error);
                        self.with_conn(now, id.slot(), |_, _, _| Err(ended));
                    }
                }
            }
            if let (false, Ok(addresses)) = (used, found) {
                self.resolver.keep(&name, addresses);
            }
        }
    }

    /// The addresses of a connection's host are known.
    fn resolved(&mut self, now: Instant, id: ConnId, name: &str, mut found: Vec<SocketAddr>) {
        self.resolver.arrange(name, &mut found);
        // If another connection uses one of them successfully, it is tried first.
        let siblings = self.conns.iter().flatten().filter(|conn| *conn.name == *name);
        if let Some(good) = siblings.filter_map(Conn::responding).next()
            && let Some(at) = found.iter().position(|address| *address == good)
        {
            found[..=at].rotate_right(1);
        }
        self.with_conn(now, id.slot(), |conn, cx, _| conn.resolved(cx, found));
    }

    /// Runs `step` on the connection in `slot`; when it ends there, the client is notified.
    fn with_conn(
        &mut self,
        now: Instant,
        slot: usize,
        step: impl FnOnce(&mut Conn, &Context<'_>, &mut Client<'d>) -> Result<(), Ended>,
    ) {
        let Some(Some(conn)) = self.conns.get_mut(slot) else { return };
        let silence = self.client.silence_timeout();
        let cx = Context {
            now,
            poller: &self.poller,
            mode: self.mode,
            silence,
            #[cfg(feature = "tls")]
            tls: self.tls.as_ref(),
            #[cfg(feature = "tls")]
            handshakes: &self.steps,
        };
        let result = step(conn, &cx, &mut self.client);
        for address in conn.tried.drain(..) {
            self.resolver.tried(&conn.name, address);
        }
        #[cfg(feature = "tls")]
        if let Some(resumed) = conn.secured.take() {
            let (all, short) = self.handshakes;
            self.handshakes = (all + 1, short + u64::from(resumed));
        }
        if let Err(Ended { why, error }) = result {
            self.client.handle_closed(now, conn.id, why);
            self.failure = Some(Failure::new(conn.name.clone(), error, why).into());
            self.conns[slot] = None;
        }
    }
}

impl<'d> Deref for Driver<'d> {
    type Target = Client<'d>;

    fn deref(&self) -> &Client<'d> {
        &self.client
    }
}

impl DerefMut for Driver<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.client
    }
}

#[cfg(unix)]
impl AsFd for Driver<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

#[cfg(unix)]
impl AsRawFd for Driver<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.poller.as_raw_fd()
    }
}
