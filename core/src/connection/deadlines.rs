//! When a connection that does not answer is given up: not while its answer waits for the
//! application, and not before what arrived while nobody looked was read.

use super::{Conn, Net};
use crate::time::{Span, Tick};

/// A deadline that passed so long ago passed while nobody looked.
const LATE: Span = Span::from_millis(100);
/// A slow link has the time of a request again so often, for as long as bytes move.
const RENEWALS: u8 = 16;
/// What has arrived meanwhile is read within this.
const GRACE: Span = Span::from_millis(50);

impl Conn {
    /// Bytes of the request at a place move, or of its response: it and those behind it have their
    /// whole time again, if some of it is over. Bounded, since a peer may take or give a byte now
    /// and then for ever.
    pub(super) fn renew(&mut self, now: Tick, from: usize) {
        let Some(first) = self.in_flight.get(from) else { return };
        let quarter = first.since.until(first.deadline).part(2);
        let early = first.since.until(now) < quarter;
        if guard!("a slow link renews deadlines", early || self.renewals >= RENEWALS => true) {
            return;
        }
        self.renewals += 1;
        for request in self.in_flight.iter_mut().skip(from) {
            let span = request.since.until(request.deadline);
            (request.since, request.deadline) = (now, now + span);
        }
    }
}

impl Net<'_> {
    /// The scale of time moves.
    pub(crate) fn age(&mut self, by: Span) {
        self.deadline.age(by);
        self.rotated.age(by);
        self.turns.age(by);
        self.watch.age(by);
        for c in self.conns.iter_mut() {
            c.session.retry_at.age(by);
            c.throttled_until.age(by);
            c.used.age(by);
            c.since.age(by);
            c.deadline.age(by);
            c.blocked_since.age(by);
            c.overdue_at.age(by);
            for request in &mut c.in_flight {
                request.since.age(by);
                request.deadline.age(by);
            }
        }
    }

    /// No connection has a deadline before this.
    pub(crate) const fn next_deadline(&self) -> Tick {
        self.deadline
    }

    /// Begins to look at the deadlines of all connections; [`Net::is_over`] is told of each.
    pub(crate) fn begin_look(&mut self) {
        self.deadline = Tick::NEVER;
        self.check = false;
    }

    /// Whether a deadline of a connection has passed.
    pub(crate) fn is_over(&mut self, now: Tick, slot: usize) -> bool {
        let conn = &mut self.conns[slot];
        let mut at = conn.next_deadline();
        if guard!("what has arrived is read before a deadline counts", at + LATE <= now => false) {
            // Whoever was away looks at the socket first.
            if !conn.overdue {
                (conn.overdue, conn.overdue_at) = (true, now + GRACE);
            }
            at = conn.overdue_at;
        }
        if at > now {
            self.deadline = self.deadline.min(at);
        }
        at <= now
    }

    /// Bytes of a connection have arrived.
    pub(crate) fn arrived(&mut self, now: Tick, slot: usize) {
        let conn = &mut self.conns[slot];
        conn.overdue = false;
        conn.renew(now, 0);
    }

    /// Whether the next answer on a connection lies here and waits for the application.
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
            "a deadline goes on where it rested",
            conn.blocked_since.until(now) => Span::ZERO
        );
        for request in &mut conn.in_flight {
            request.deadline = request.deadline + rested;
            request.since = request.since + rested;
            self.deadline = self.deadline.min(request.deadline);
        }
    }
}
