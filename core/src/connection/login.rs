//! Logging in over one connection: where its exchange is, and when its session ends (KIP-368).
//! Without the feature `sasl` nothing of this takes memory.

#[cfg(not(feature = "sasl"))]
use core::marker::PhantomData;

#[cfg(not(feature = "sasl"))]
use super::Conn;
#[cfg(not(feature = "sasl"))]
use crate::time::Span;

#[cfg(feature = "sasl")]
pub(crate) use on::*;

/// What a client logs in with: nothing, in a build that cannot.
#[cfg(not(feature = "sasl"))]
pub(crate) struct Login<'d>(PhantomData<&'d ()>);

#[cfg(not(feature = "sasl"))]
impl Login<'_> {
    pub(crate) const NONE: Self = Self(PhantomData);

    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn has_work(&self) -> bool {
        false
    }
}

/// What a connection keeps of its login.
#[cfg(not(feature = "sasl"))]
pub(crate) struct Auth;

#[cfg(not(feature = "sasl"))]
impl Auth {
    pub(crate) const EMPTY: Self = Self;

    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn age(&mut self, _: Span) {}
}

#[cfg(not(feature = "sasl"))]
impl Conn {
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn is_renewing(&self) -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(in crate::connection) const fn waits_for_login(&self) -> bool {
        false
    }
}

#[cfg(feature = "sasl")]
mod on {
    use heapless::String;

    use crate::api::Kind;
    use crate::connection::{Conn, ConnState, Draft, HandshakeMemo, InFlight, Net};
    use crate::error::LoginFault;
    use crate::has::{REASONS, RENEWAL, TOKENS, WORDS};
    use crate::login::{BadToken, Exchange, Handle, Next, length};
    use crate::memory::{Blocks, Chain, Rng};
    use crate::time::{Span, Tick};
    use crate::wire::table::Segment;
    use crate::wire::{ErrorCode, sasl_authenticate, sasl_handshake};

    /// Bytes that are kept of a broker's words about a refusal, or of its list of mechanisms.
    const LONGEST_WORDS: usize = if WORDS { 110 } else { 0 };
    /// Brokers treat a login as any other request within this time of the last one.
    const LEAST: Span = Span::from_millis(1000);
    /// Sessions that are shorter are ended, and the connection reconnected.
    const SHORT: Span = Span::from_millis(1300);
    /// Longer sessions are renewed as if they lasted this long: the scale of time ends.
    const LONGEST: u32 = 24 * 3600 * 1000;
    /// A request may be on its way for this long before its broker reads it.
    const SLACK: Span = Span::from_millis(250);

    /// What a client logs in with, and what all connections share of it.
    pub(crate) struct Login<'d> {
        mechanism: Option<Handle<'d>>,
        /// A connection waits for a computation.
        computes: bool,
        /// The application is to be requested to provide a token.
        wants_token: bool,
        /// When it is to be requested to provide the next one.
        token_at: Tick,
        words: String<LONGEST_WORDS, u8>,
    }

    /// What an exchange waits for.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Waits {
        No,
        Computation,
        Token,
    }

    /// Whether a ready connection logs in again.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Renewal {
        No,
        /// The responses to what was sent before come first.
        Due,
        Running,
    }

    /// What a connection keeps of its login.
    pub(crate) struct Auth {
        exchange: Exchange,
        pub(crate) waits: Waits,
        renewal: Renewal,
        /// When to log in again; zero: never.
        renew_at: Tick,
        /// The session is too short for that.
        is_short: bool,
    }

    impl Auth {
        pub(crate) const EMPTY: Self = Self {
            exchange: Exchange::EMPTY,
            waits: Waits::No,
            renewal: Renewal::No,
            renew_at: Tick::ZERO,
            is_short: false,
        };

        /// Shifts the scale of time.
        pub(crate) fn age(&mut self, by: Span) {
            self.renew_at.age(by);
        }
    }

    impl<'d> Login<'d> {
        pub(crate) const NONE: Self = Self {
            mechanism: None,
            computes: false,
            wants_token: false,
            token_at: Tick::NEVER,
            words: String::new(),
        };

        pub(crate) fn new(mechanism: Handle<'d>) -> Self {
            Self { mechanism: Some(mechanism), ..Self::NONE }
        }

        /// Whether there is a mechanism: then every connection logs in.
        pub(crate) const fn is_some(&self) -> bool {
            self.mechanism.is_some()
        }

        /// Lets the mechanism know which broker the next exchange is with.
        #[cfg(feature = "std")]
        pub(crate) fn connecting_to(&mut self, host: &str) {
            if let Some(mechanism) = &mut self.mechanism {
                mechanism.get_mut().connecting_to(host);
            }
        }

        pub(crate) fn name(&self) -> &str {
            self.mechanism.as_ref().map_or("", |mechanism| mechanism.get().name())
        }

        /// Whether there is something to do before any deadline.
        pub(crate) const fn has_work(&self) -> bool {
            self.computes || (TOKENS && self.wants_token)
        }

        /// Computes a little. Returns whether the result is there now.
        pub(crate) fn compute(&mut self) -> bool {
            let Some(mechanism) = self.mechanism.as_mut().filter(|_| self.computes) else {
                return false;
            };
            self.computes = mechanism.get_mut().compute();
            !self.computes
        }

        pub(crate) fn take_token(&mut self, token: &[u8], next_at: Tick) -> Result<(), BadToken> {
            self.mechanism.as_mut().ok_or(BadToken)?.get_mut().take_token(token)?;
            (self.wants_token, self.token_at) = (false, next_at);
            Ok(())
        }

        /// Notes why there is no token. One is requested again when it is needed.
        pub(crate) fn refuse_token(&mut self, why: &str) {
            self.wants_token = false;
            self.words.clear();
            self.note(why);
        }

        /// Whether the application is to be requested to provide a token now.
        pub(crate) fn requests_token(&mut self) -> bool {
            core::mem::take(&mut self.wants_token)
        }

        pub(crate) fn words(&self) -> Option<&str> {
            (!self.words.is_empty()).then_some(self.words.as_str())
        }

        /// Shifts the scale of time.
        pub(crate) fn age(&mut self, by: Span) {
            self.token_at.age(by);
        }

        /// Keeps what a broker says, as far as there is memory.
        fn note(&mut self, text: &str) {
            if !WORDS {
                return;
            }
            for char in text.chars() {
                if self.words.push(char).is_err() {
                    return;
                }
            }
        }

        /// Takes an item of a SaslHandshake response.
        pub(crate) fn on_offer(&mut self, memo: &mut HandshakeMemo, got: Segment<'_, '_>) {
            match sasl_handshake::item(got) {
                Some(sasl_handshake::Item::Head { error }) => {
                    memo.error = error;
                    if error != ErrorCode::NONE {
                        self.words.clear();
                    }
                }
                Some(sasl_handshake::Item::Mechanism { name }) if memo.error != ErrorCode::NONE => {
                    self.note(if self.words.is_empty() { "" } else { ", " });
                    self.note(name);
                }
                _ => {}
            }
        }
    }

    impl Conn {
        /// Whether it is ready and logs in again: nothing else is sent meanwhile.
        pub(crate) fn is_renewing(&self) -> bool {
            let renews = RENEWAL && self.auth.renewal != Renewal::No;
            guard!("a connection is quiet while its session is renewed", renews)
        }

        /// Whether the next message of its login may be sent.
        pub(in crate::connection) fn may_log_in(&self) -> bool {
            self.state == ConnState::Handshake || (RENEWAL && self.auth.renewal == Renewal::Running)
        }

        pub(in crate::connection) fn waits_for_login(&self) -> bool {
            self.auth.waits != Waits::No
        }

        /// Returns why a connection is given up that waits for more than a broker.
        pub(crate) fn login_overdue(&self) -> Option<LoginFault> {
            (TOKENS && self.auth.waits == Waits::Token).then_some(LoginFault::NoToken)
        }

        /// Ends an exchange. Returns whether the connection was ready before.
        pub(crate) fn logged_in(
            &mut self,
            now: Tick,
            lifetime_ms: i64,
            rng: &mut Rng,
            hold: Span,
        ) -> bool {
            let auth = &mut self.auth;
            auth.exchange.reset();
            let millis = u32::try_from(lifetime_ms).unwrap_or(LONGEST).min(LONGEST);
            (auth.renew_at, auth.is_short) = (Tick::ZERO, false);
            if lifetime_ms > 0 {
                let whole = Span::from_millis(millis);
                // 85 to 95 % of it (KIP-368), in 1024ths.
                let part = whole.scaled(870 + rng.below(103));
                auth.is_short = !RENEWAL || whole < SHORT;
                auth.renew_at = now + part;
                if !auth.is_short {
                    // What was sent before has to be read before it ends.
                    let latest = (now + whole) - (hold + SLACK);
                    let at = auth.renew_at.min(latest).max(now + whole.shifted(1));
                    auth.renew_at = at.max(now + LEAST);
                }
            }
            core::mem::replace(&mut auth.renewal, Renewal::No) == Renewal::Running && RENEWAL
        }
    }

    impl Net<'_> {
        /// Whether the session of a connection is renewed now. Called in each pass over the
        /// deadlines.
        pub(crate) fn renews(&mut self, now: Tick, slot: usize) -> bool {
            if TOKENS {
                if guard!("a token is fetched before it expires", self.login.token_at <= now) {
                    (self.login.wants_token, self.login.token_at) = (true, Tick::NEVER);
                }
                self.deadline = self.deadline.min(self.login.token_at);
            }
            let conn = &mut self.conns[slot];
            let at = conn.auth.renew_at;
            if conn.state != ConnState::Ready || conn.drain || at == Tick::ZERO {
                return false;
            }
            if at > now {
                self.deadline = self.deadline.min(at);
                return false;
            }
            if !RENEWAL || conn.auth.is_short {
                self.drain(slot);
                return false;
            }
            if conn.auth.renewal == Renewal::No {
                conn.auth.renewal = Renewal::Due;
            }
            let waits = guard!("a login waits for responses", !conn.in_flight.is_empty());
            if conn.auth.renewal == Renewal::Running || waits {
                return false;
            }
            conn.auth.renewal = Renewal::Running;
            true
        }

        /// Begins the exchange of a connection.
        pub(crate) fn begin_exchange(&mut self, slot: usize) -> Result<Next, LoginFault> {
            let exchange = &mut self.conns[slot].auth.exchange;
            exchange.reset();
            match &mut self.login.mechanism {
                Some(mechanism) => mechanism.get_mut().begin(exchange),
                None => Err(LoginFault::State),
            }
        }

        /// Continues the exchange of a connection that waited.
        pub(crate) fn resume_exchange(&mut self, slot: usize) -> Result<Next, LoginFault> {
            let auth = &mut self.conns[slot].auth;
            auth.waits = Waits::No;
            match &mut self.login.mechanism {
                Some(mechanism) => mechanism.get_mut().resume(&mut auth.exchange),
                None => Err(LoginFault::State),
            }
        }

        /// Lets a connection wait until its exchange can continue, no longer than until `deadline`.
        pub(crate) fn await_login(&mut self, slot: usize, waits: Waits, deadline: Tick) {
            let conn = &mut self.conns[slot];
            (conn.auth.waits, conn.deadline) = (waits, deadline);
            self.deadline = self.deadline.min(deadline);
            match waits {
                Waits::No => {}
                Waits::Computation => self.login.computes = true,
                Waits::Token => self.login.wants_token = true,
            }
        }

        /// Takes an item of a SaslAuthenticate response.
        pub(crate) fn on_challenge(
            &mut self,
            slot: usize,
            memo: &mut HandshakeMemo,
            got: Segment<'_, '_>,
        ) {
            let exchange = &mut self.conns[slot].auth.exchange;
            match sasl_authenticate::item(got) {
                Some(sasl_authenticate::Item::Response { error, message, bytes, lifetime_ms }) => {
                    (memo.error, memo.lifetime_ms) = (error, lifetime_ms);
                    match &mut self.login.mechanism {
                        Some(mechanism) if error == ErrorCode::NONE => {
                            let next = mechanism.get_mut().receive(exchange, bytes);
                            memo.next = Some(next);
                            if REASONS && next == Err(LoginFault::Server) {
                                self.login.words.clear();
                                self.login.note(server_error(bytes));
                            }
                        }
                        _ => {
                            self.login.words.clear();
                            self.login.note(message.unwrap_or_default());
                        }
                    }
                }
                Some(sasl_authenticate::Item::Skipped) => {
                    memo.next = Some(Err(LoginFault::TooLong));
                }
                None => {}
            }
        }

        /// Writes the message of an exchange that is due; `None` while there is no memory.
        pub(crate) fn draft_message(&mut self, slot: usize, now: Tick) -> Option<Draft> {
            let mechanism = self.login.mechanism.take()?;
            let exchange = core::mem::take(&mut self.conns[slot].auth.exchange);
            let len = length(mechanism.get(), &exchange);
            let draft = self.draft(slot, now, Kind::Authenticate, &mut |w, version| {
                sasl_authenticate::begin(w, version, len)?;
                mechanism.get().write(&exchange, w)?;
                sasl_authenticate::end(w, version)
            });
            self.conns[slot].auth.exchange = exchange;
            self.login.mechanism = Some(mechanism);
            draft
        }
    }

    /// Returns the text of SCRAM's `e=` (RFC 5802).
    fn server_error(message: &[u8]) -> &str {
        let text = message.strip_prefix(b"e=").unwrap_or_default();
        let text = text.split(|byte| *byte == b',').next().unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }

    impl InFlight {
        /// Overwrites its bytes, if they have a secret, before their memory is used for others.
        pub(in crate::connection) fn wipe(&self, blocks: &mut Blocks<'_>) {
            wipe(blocks, self.requested.kind, &self.ctl);
        }
    }

    /// The same for a request of a kind.
    pub(in crate::connection) fn wipe(blocks: &mut Blocks<'_>, kind: Kind, chain: &Chain) {
        if guard!("sent secrets are overwritten", kind == Kind::Authenticate) {
            blocks.wipe(chain);
        }
    }
}
