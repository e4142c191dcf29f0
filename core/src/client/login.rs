//! Logs connections in (SASL): between the versions and everything else, and again before a session
//! ends.

use super::{Client, Commands};
use crate::connection::{HandshakeMemo, HandshakeStep, Waits};
use crate::error::{Error, LimitKind, LoginFault, PeerFault};
use crate::event::Action;
use crate::has::TOKENS;
use crate::login::{BadToken, Next};
use crate::time::{Duration, Instant, Span, Tick};
use crate::wire::{Encode, ErrorCode, sasl_handshake};

use crate::api::Kind;

impl Commands<'_> {
    /// Gives the mechanism a token, after [`Action::NeedToken`]; connections that wait for it
    /// continue. `lifetime` is how long it is valid: at 80 % of it the next one is requested.
    /// The token is copied.
    ///
    /// # Errors
    /// When it is no bearer token, is longer than the mechanism has memory for, or the mechanism
    /// takes none, as in a build without the feature `tokens`.
    pub fn set_token(
        &mut self,
        now: Instant,
        token: &[u8],
        lifetime: Option<Duration>,
    ) -> Result<(), BadToken> {
        self.at(now);
        // 80 to 85 %, so that devices of a fleet do not all fetch theirs at once.
        let part = 819 + self.cx.rng.below(52);
        let next_at = lifetime.map_or(Tick::NEVER, |all| self.cx.now + Span::of(all).scaled(part));
        if !TOKENS {
            return Err(BadToken);
        }
        let net = &mut self.cx.net;
        net.login.take_token(token, next_at)?;
        net.check = true;
        self.resume_logins(Waits::Token);
        Ok(())
    }

    /// Gives up the logins that wait for a token, since none can be fetched. `why`, up to 110
    /// bytes, is what [`login_refusal`](Self::login_refusal) returns then. `permanent`: until
    /// something is changed. The next login emits [`Action::NeedToken`] again.
    pub fn refuse_token(&mut self, now: Instant, why: &str, permanent: bool) {
        self.at(now);
        let fault = if permanent { LoginFault::TokenRefused } else { LoginFault::NoToken };
        self.cx.net.login.refuse_token(why);
        for slot in 0..self.cx.net.conns.len() {
            let conn = &self.cx.net.conns[slot];
            if conn.is_up() && conn.auth.waits == Waits::Token {
                self.lose(slot, Error::Peer(PeerFault::Login(fault)), true);
            }
        }
    }

    /// Returns what the broker said that refused the login last: its reason, or the mechanisms that
    /// it has; up to 110 bytes. Kept with the feature `refusal-text`.
    #[must_use]
    pub fn login_refusal(&self) -> Option<&str> {
        self.cx.net.login.words()
    }

    /// Inserts the login before the step after it.
    pub(super) fn log_in_first(&mut self, slot: usize) -> Result<HandshakeStep, PeerFault> {
        for kind in [Kind::Mechanism, Kind::Authenticate] {
            if let Some(fault) = self.cx.net.conns[slot].versions.lacks(kind) {
                return Err(fault);
            }
        }
        Ok(HandshakeStep::Mechanism)
    }

    /// Handles the end of a SaslHandshake response.
    pub(super) fn mechanism_done(
        &mut self,
        slot: usize,
        memo: &HandshakeMemo,
    ) -> Result<HandshakeStep, PeerFault> {
        let renews = self.cx.net.conns[slot].is_renewing();
        let refused = match memo.error {
            ErrorCode::NONE => return self.continue_login(slot, memo, None),
            ErrorCode::UNSUPPORTED_SASL_MECHANISM => LoginFault::Mechanism,
            ErrorCode::ILLEGAL_SASL_STATE if !renews => LoginFault::NoSasl,
            ErrorCode::ILLEGAL_SASL_STATE => LoginFault::State,
            code => LoginFault::Refused(code),
        };
        Err(PeerFault::Login(refused))
    }

    /// Handles the end of a SaslAuthenticate response.
    pub(super) fn message_done(
        &mut self,
        slot: usize,
        memo: &HandshakeMemo,
    ) -> Result<HandshakeStep, PeerFault> {
        let fault = match (memo.error, memo.next) {
            (ErrorCode::NONE, Some(next)) => return self.continue_login(slot, memo, Some(next)),
            (ErrorCode::NONE, None) => LoginFault::Message,
            (ErrorCode::ILLEGAL_SASL_STATE, _) => LoginFault::State,
            (code, _) => LoginFault::Refused(code),
        };
        Err(PeerFault::Login(fault))
    }

    /// Continues an exchange, or begins it.
    fn continue_login(
        &mut self,
        slot: usize,
        memo: &HandshakeMemo,
        next: Option<Result<Next, LoginFault>>,
    ) -> Result<HandshakeStep, PeerFault> {
        #[cfg(feature = "std")]
        if next.is_none() {
            let host = self.cx.address(self.cx.net.conns[slot].peer);
            let host = host.map(|(host, _)| alloc::string::String::from(host));
            self.cx.net.login.connecting_to(host.as_deref().unwrap_or_default());
        }
        let next = next.unwrap_or_else(|| self.cx.net.begin_exchange(slot));
        let next = match next {
            Ok(Next::Token) if !TOKENS => Err(LoginFault::NoToken),
            next => next,
        };
        let next = next.map_err(PeerFault::Login)?;
        Ok(self.login_step(slot, next, memo.lifetime_ms))
    }

    /// Returns the step that an exchange leads to.
    fn login_step(&mut self, slot: usize, next: Next, lifetime_ms: i64) -> HandshakeStep {
        let waits = match next {
            Next::Send => return HandshakeStep::Authenticate,
            Next::Compute => Waits::Computation,
            Next::Token => Waits::Token,
            Next::Done => {
                let known = self.cx.cluster.identity.is_known();
                let (now, hold) = (self.cx.now, self.cx.settings.fetch_max_wait);
                let conn = &mut self.cx.net.conns[slot];
                let renewed = conn.logged_in(now, lifetime_ms, &mut self.cx.rng, hold);
                self.cx.net.check = true;
                return match renewed {
                    true => HandshakeStep::Renewed,
                    false => self.cx.net.conns[slot].confirm_or_ready(known),
                };
            }
        };
        let deadline = self.cx.now + self.cx.settings.connect_timeout;
        self.cx.net.await_login(slot, waits, deadline);
        HandshakeStep::Wait
    }

    pub(super) fn name_mechanism(&mut self, slot: usize) {
        let login = core::mem::replace(&mut self.cx.net.login, crate::connection::Login::NONE);
        let request = sasl_handshake::Request { mechanism: login.name() };
        self.send_handshake(slot, Kind::Mechanism, &mut |w, version| request.encode(version, w));
        self.cx.net.login = login;
    }

    pub(super) fn send_message(&mut self, slot: usize) {
        let (now, timeout) = (self.cx.now, self.cx.settings.connect_timeout);
        let Some(draft) = self.cx.net.draft_message(slot, now) else {
            let what = LimitKind::SendBlocks;
            return self.lose(slot, Error::Limit { what, needed: 1 }, true);
        };
        self.cx.net.send(now, draft, [0; 2], timeout);
    }

    /// Makes a connection that logged in again available.
    pub(super) fn renewed(&mut self) {
        self.cx.net.stirred = true;
        self.owners.producer.on_ways_changed();
    }

    /// Computes a little of what logins wait for.
    pub(super) fn compute_logins(&mut self) {
        if self.cx.net.login.compute() {
            self.resume_logins(Waits::Computation);
        }
    }

    fn resume_logins(&mut self, waits: Waits) {
        for slot in 0..self.cx.net.conns.len() {
            let conn = &self.cx.net.conns[slot];
            if !conn.is_up() || conn.auth.waits != waits {
                continue;
            }
            match self.cx.net.resume_exchange(slot) {
                Ok(next) => {
                    let step = self.login_step(slot, next, 0);
                    self.take_step(slot, step);
                }
                Err(fault) => self.lose(slot, Error::Peer(PeerFault::Login(fault)), true),
            }
        }
    }

    /// Returns the action that requests a token, if one is needed.
    pub(super) fn token_action(&mut self) -> Option<Action> {
        (TOKENS && self.cx.net.login.requests_token()).then_some(Action::NeedToken)
    }
}

impl Client<'_> {
    /// Returns the name of the mechanism that this client logs in with.
    #[must_use]
    pub fn mechanism(&self) -> Option<&str> {
        let login = &self.commands.cx.net.login;
        login.is_some().then(|| login.name())
    }
}
