//! When a connection that does not respond is given up: not while its response waits for the
//! application, and not before what arrived while the loop was away was read.

use super::{Conn, ConnState, Net, Peer, Role};
use crate::api::Owner;
use crate::config::Settings;
use crate::has::SILENCE;
use crate::time::{Span, Tick};

/// A deadline that passed this long ago passed while the loop was away.
const LATE: Span = Span::from_millis(100);
/// Most renewals of a request's time on a slow link, while bytes move.
const RENEWALS: u8 = 16;
/// What has arrived meanwhile is read within this.
const GRACE: Span = Span::from_millis(50);
/// A connection that has been silent for this long is reported to the application.
const REPORT: Span = Span::from_secs(3);
/// A silent connection is checked again this often.
const AGAIN: Span = Span::from_secs(1);

/// Returns when a connection is reported that is silent from now on.
pub(super) fn report_at(now: Tick) -> Tick {
    if SILENCE { now + REPORT } else { Tick::NEVER }
}

/// What the application knows of a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    No,
    News,
    Reported,
}

impl Silence {
    /// Ends it; returns whether there was one.
    pub(super) fn end(&mut self) -> bool {
        core::mem::replace(self, Self::No) != Self::No
    }
}

/// The result of checking the deadlines of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Sound,
    /// A request or the connecting took too long.
    Over,
    /// Nothing arrives over it, while other connections get responses.
    Dead,
}

impl Conn {
    /// Returns since when something waits for this connection and nothing has arrived; never if
    /// nothing waits. Bytes sent behind the oldest request say nothing: they may lie in the socket.
    pub(crate) fn silent_since(&self, hold: Span) -> Tick {
        match self.state {
            ConnState::Connecting => self.used,
            ConnState::Handshake | ConnState::Ready if !self.blocked => {
                let Some(first) = self.in_flight.first().filter(|first| !first.silent) else {
                    return Tick::NEVER;
                };
                if first.requested.kind.is_round() {
                    return Tick::NEVER; // until its deadline
                }
                let may_wait = first.requested.kind.row().waits;
                let since = if may_wait { first.since + hold } else { first.since };
                let at = self.left_at.or(Tick::ZERO);
                let left = guard!("a request that leaves is no silence", at => Tick::ZERO);
                since.max(self.heard.or(Tick::ZERO)).max(left)
            }
            _ => Tick::NEVER,
        }
    }

    /// Whether what waits may be sent again over another connection.
    fn may_go_again(&self, idempotence: bool) -> bool {
        self.in_flight.iter().all(|request| match request.requested.kind.row().owner {
            Owner::Admin => false,
            Owner::Producer => idempotence,
            _ => true,
        })
    }

    /// Notes that a deadline passed while the loop was away: what has arrived meanwhile is read
    /// first. Returns until when.
    fn read_first(&mut self, now: Tick) -> Tick {
        if !self.overdue {
            (self.overdue, self.overdue_at) = (true, now + GRACE);
        }
        self.overdue_at
    }

    /// Renews the deadlines of the request at an index and of those after it, since bytes of it or
    /// of its response move, if some of their time is over. Bounded, since a peer may move a byte
    /// now and then forever. Returns whether they were renewed: the connection no longer counts as
    /// late.
    pub(super) fn renew(&mut self, now: Tick, from: usize) -> bool {
        let Some(first) = self.in_flight.get(from) else { return false };
        let quarter = first.since.until(first.deadline).shifted(2);
        let early = first.since.until(now) < quarter;
        if guard!("a slow link renews deadlines", early || self.renewals >= RENEWALS => true) {
            return false;
        }
        self.renewals += 1;
        for request in self.in_flight.iter_mut().skip(from) {
            let span = request.since.until(request.deadline);
            (request.since, request.deadline) = (now, now + span);
        }
        true
    }
}

impl Net<'_> {
    /// Shifts the scale of time.
    pub(crate) fn age(&mut self, by: Span) {
        self.deadline.age(by);
        self.rotated.age(by);
        self.turns.age(by);
        self.watch.age(by);
        #[cfg(feature = "sasl")]
        self.login.age(by);
        for c in self.conns.iter_mut() {
            c.session.retry_at.age(by);
            c.throttled_until.age(by);
            c.auth.age(by);
            c.used.age(by);
            c.since.age(by);
            c.deadline.age(by);
            c.blocked_since.age(by);
            c.overdue_at.age(by);
            c.heard.age(by);
            c.left_at.age(by);
            for request in &mut c.in_flight {
                request.since.age(by);
                request.deadline.age(by);
                request.left.age(by);
            }
        }
    }

    /// Returns a time before which no connection has a deadline.
    pub(crate) const fn next_deadline(&self) -> Tick {
        self.deadline
    }

    /// Begins a check of the deadlines of all connections; [`Net::verdict`] follows for each.
    pub(crate) fn begin_pass(&mut self) {
        self.deadline = Tick::NEVER;
        self.check = false;
    }

    /// Whether a deadline of a connection has passed.
    pub(crate) fn verdict(&mut self, now: Tick, slot: usize, config: &Settings<'_>) -> Verdict {
        let deadline = self.conns[slot].next_deadline();
        if !SILENCE {
            let over = self.is_over(now, slot, deadline);
            return if over { Verdict::Over } else { Verdict::Sound };
        }
        let silent = self.conns[slot].silent_since(config.fetch_max_wait);
        let heard =
            |(other, conn): (usize, &Conn)| other != slot && conn.heard.or(Tick::ZERO) > silent;
        let dead = self.conns[slot].state != ConnState::Connecting
            && silent + config.silence_timeout <= now
            && self.conns.iter().enumerate().any(heard)
            && self.conns[slot].may_go_again(config.idempotence);
        let at = if guard!("a silent connection ends while others are answered", dead) {
            deadline.min(silent + config.silence_timeout)
        } else {
            deadline
        };
        if self.is_over(now, slot, at) {
            return if at < deadline { Verdict::Dead } else { Verdict::Over };
        }
        if silent != Tick::NEVER {
            self.watch_silence(now, slot, silent);
        }
        Verdict::Sound
    }

    /// Reports a silence to the application once.
    fn watch_silence(&mut self, now: Tick, slot: usize, silent: Tick) {
        let conn = &mut self.conns[slot];
        let report_at = silent + REPORT;
        if report_at > now {
            self.deadline = self.deadline.min(report_at);
            return;
        }
        self.deadline = self.deadline.min(now + AGAIN);
        if conn.silence != Silence::No {
            return;
        }
        // One that passed while the loop was away says nothing before the socket was read.
        if report_at + LATE > now || (conn.overdue && conn.overdue_at <= now) {
            (conn.silence, conn.overdue) = (Silence::News, false);
            self.silent += 1;
            self.silence_news = true;
        } else {
            self.deadline = self.deadline.min(conn.read_first(now));
        }
    }

    /// Whether the connection for requests to a peer has been silent for so long that the
    /// application is notified.
    pub(crate) fn is_silent(&self, peer: Peer) -> bool {
        let main = if self.silent > 0 { self.find(peer, Role::Main) } else { None };
        main.is_some_and(|slot| self.conns[slot].silence != Silence::No)
    }

    /// Whether there is a silent broker that was not reported.
    pub(crate) fn has_silence(&self, hold: Span) -> bool {
        let news = |c: &Conn| c.silence == Silence::News && c.silent_since(hold) != Tick::NEVER;
        self.silence_news && self.conns.iter().any(news)
    }

    /// Returns the next broker that is silent, and since when.
    pub(crate) fn take_silence(&mut self, hold: Span) -> Option<(Peer, Tick)> {
        for conn in self.conns.iter_mut() {
            if conn.silence == Silence::News {
                conn.silence = Silence::Reported;
                let since = conn.silent_since(hold);
                if since != Tick::NEVER {
                    return Some((conn.peer, since));
                }
            }
        }
        self.silence_news = false;
        None
    }

    /// Whether `at` has passed, once what has arrived is read.
    fn is_over(&mut self, now: Tick, slot: usize, mut at: Tick) -> bool {
        if guard!("what has arrived is read before a deadline counts", at + LATE <= now => false) {
            at = self.conns[slot].read_first(now);
        }
        if at > now {
            self.deadline = self.deadline.min(at);
        }
        at <= now
    }

    /// Notes that so many bytes of a connection have arrived.
    pub(crate) fn arrived(&mut self, now: Tick, slot: usize, bytes: usize) {
        let conn = &mut self.conns[slot];
        conn.traffic.read(bytes);
        self.traffic.read(bytes);
        conn.overdue = false;
        conn.heard.set(now);
        self.silent -= usize::from(conn.silence.end());
        self.stirred |= conn.renew(now, 0);
    }

    /// Sets whether the next response on a connection has arrived and waits for the application.
    pub(crate) fn set_blocked(&mut self, now: Tick, slot: usize, blocked: bool) {
        let conn = &mut self.conns[slot];
        if blocked == conn.blocked {
            return;
        }
        conn.blocked = guard!("a deadline rests while the application is awaited", blocked);
        if blocked {
            conn.blocked_since = now;
            return;
        }
        let rested = guard!(
            "a deadline continues where it rested",
            conn.blocked_since.until(now) => Span::ZERO
        );
        for request in &mut conn.in_flight {
            request.deadline = request.deadline + rested;
            request.since = request.since + rested;
            self.deadline = self.deadline.min(request.deadline);
        }
    }
}
