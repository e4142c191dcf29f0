//! The adapter's part, and the passing of time.

use core::fmt::Debug;
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::RequestKind;
use kavka_core::{Action, CloseReason, ConnId, Instant};

use super::{Line, Reported, Requested, Script};
use crate::sim::frame::Request;
use crate::sim::sasl::Verdict;

/// Rounds at one instant that count as an endless loop.
const ENDLESS: usize = 20_000;

impl Script {
    /// Does what is due now, until the client has nothing more to do.
    pub fn settle(&mut self) {
        let mut idle = 0;
        for _ in 0..ENDLESS {
            let acted = self.round();
            let due = self.client.poll_timeout().is_some_and(|at| at <= self.now);
            if acted {
                idle = 0;
            } else if !due || (!self.listening && self.client.has_event(self.now)) {
                return;
            } else {
                idle += 1;
            }
            if idle > self.patience {
                self.fail("poll_timeout lies in the past and nothing happens: it spins");
            }
        }
        self.fail("the client finds no end");
    }

    /// Runs one turn of an adapter's loop; returns whether anything happened.
    fn round(&mut self) -> bool {
        self.client.handle_timeout(self.now);
        let mut acted = self.act();
        for conn in self.lines.iter().map(|line| line.conn).collect::<Vec<_>>() {
            acted |= self.write(conn);
            acted |= self.read(conn);
        }
        if self.listening {
            while self.poll_one() {
                acted = true;
            }
        }
        acted
    }

    fn note(&mut self, what: &str, of: &dyn Debug) {
        self.trace.push(format!("{:>12} {what} {of:?}", self.now.as_micros()));
    }

    fn act(&mut self) -> bool {
        let mut acted = false;
        while let Some(action) = self.client.poll_action(self.now) {
            acted = true;
            match action {
                Action::Connect { conn } => self.connect(conn),
                Action::Close { conn } => {
                    self.note("close", &conn);
                    self.drop_line(conn);
                }
                Action::NeedToken => {
                    self.note("token", &());
                    self.tokens += 1;
                }
                other => self.fail(&format!("an action that is new: {other:?}")),
            }
        }
        acted
    }

    fn connect(&mut self, conn: ConnId) {
        let address = self.client.address(conn).map(|(host, port)| (host.to_owned(), port));
        let node = address.as_ref().and_then(|(host, port)| self.world.at(host, *port));
        let id = node.map_or(-1, |n| n.id);
        let (up, hangs) = node.map_or((false, false), |n| (n.up, n.hangs));
        let why = node.map_or(CloseReason::Refused, |node| node.why);
        self.note("connect", &(conn, &address, id, up));
        self.connects.push((self.now, id));
        if !up {
            return self.client.handle_closed(self.now, conn, why);
        }
        let line = Line {
            conn,
            node: id,
            connected: !hangs,
            responses: Default::default(),
            from_client: Default::default(),
            to_client: Default::default(),
            window: None,
            login: Default::default(),
        };
        self.lines.push(line);
        if !hangs {
            self.client.handle_connected(self.now, conn);
        }
    }

    pub(super) fn drop_line(&mut self, conn: ConnId) {
        self.lines.retain(|line| line.conn != conn);
        self.requested.retain(|requested| requested.conn != conn);
    }

    /// Takes bytes that the client sends, and reads requests from them.
    fn write(&mut self, conn: ConnId) -> bool {
        let mut acted = false;
        while let Some(line) = self.lines.iter_mut().find(|line| line.conn == conn) {
            let room = line.window.unwrap_or(usize::MAX);
            let Some(slices) = self.client.poll_transmit(self.now, conn) else { break };
            let most = room.min(self.piece);
            if most == 0 {
                break;
            }
            let mut n = 0;
            for slice in slices {
                let take = slice.len().min(most - n);
                line.from_client.extend_from_slice(&slice[..take]);
                n += take;
                if n == most {
                    break;
                }
            }
            if n == 0 {
                self.fail("poll_transmit gave no bytes");
            }
            line.window = line.window.map(|window| window - n);
            self.client.handle_transmitted(self.now, conn, n);
            acted = true;
        }
        if acted {
            self.serve_all(conn);
        }
        acted
    }

    fn serve_all(&mut self, conn: ConnId) {
        loop {
            let Some(line) = self.lines.iter_mut().find(|line| line.conn == conn) else { return };
            let Some(length) = line.from_client.first_chunk::<4>() else { return };
            let length = u32::from_be_bytes(*length) as usize;
            if line.from_client.len() < 4 + length {
                return;
            }
            line.from_client.advance(4);
            let (frame, node): (Bytes, _) = (line.from_client.split_to(length).freeze(), line.node);
            let request = match Request::decode(frame) {
                Ok(request) => request,
                Err(e) => self.fail(&format!("a request that no broker can read: {e}")),
            };
            let Request { api, version, correlation, body, .. } = request;
            let requested = Requested { conn, node, api, version, correlation, at: self.now, body };
            self.note("request", &requested);
            let silent = matches!(&requested.body, RequestKind::Produce(body) if body.acks == 0);
            if let (Some(line), false) = (self.lines.iter_mut().find(|l| l.conn == conn), silent) {
                line.responses.push_back((correlation, None));
            }
            match self.manual.contains(&api) {
                true => self.requested.push_back(requested),
                false => self.serve_one(requested),
            }
        }
    }

    /// Lets the broker respond to a request, if it does so by itself.
    pub(super) fn serve_one(&mut self, requested: Requested<RequestKind>) {
        let now = Duration::from_micros(self.now.as_micros());
        let line = self.lines.iter_mut().find(|line| line.conn == requested.conn);
        let verdict = match (&self.world.sasl, line) {
            (Some(sasl), Some(line)) => {
                line.login.handle(sasl, now, &requested.body, requested.version)
            }
            _ => Verdict::Serve,
        };
        let body = match verdict {
            Verdict::Respond(body) => Some(*body),
            Verdict::Serve => self.world.respond(&requested),
            Verdict::Close => {
                self.note("closed by its broker", &requested.conn);
                self.drop_line(requested.conn);
                let ended = CloseReason::Ended;
                return self.client.handle_closed(self.now, requested.conn, ended);
            }
        };
        match body {
            Some(body) => self.response_kind(&requested, body),
            None => self.requested.push_back(requested),
        }
    }

    /// Gives the client bytes that arrived.
    fn read(&mut self, conn: ConnId) -> bool {
        let mut acted = false;
        while let Some(line) = self.lines.iter_mut().find(|line| line.conn == conn) {
            if line.to_client.is_empty() {
                break;
            }
            let room = self.client.recv_buffer(conn);
            let n = room.len().min(line.to_client.len()).min(self.piece);
            if n == 0 {
                break;
            }
            room[..n].copy_from_slice(&line.to_client[..n]);
            line.to_client.advance(n);
            self.client.handle_received(self.now, conn, n);
            acted = true;
            if self.piece < usize::MAX && self.listening {
                while self.poll_one() {}
            }
        }
        acted
    }

    fn poll_one(&mut self) -> bool {
        // Every other time, since looking must not be needed, either.
        self.looked = !self.looked;
        let seen = self.looked.then(|| self.client.has_event(self.now));
        let Some((event, commands)) = self.client.poll_event(self.now) else {
            self.hollow += usize::from(seen == Some(true));
            return false;
        };
        let unseen = seen == Some(false);
        if unseen {
            let event = format!("{event:?}");
            self.fail(&format!("has_event did not see {event}"));
        }
        let reported = Reported::of(&event);
        if let Some(hook) = &mut self.hook {
            hook(&event, commands);
        }
        self.note("told", &reported);
        self.reported.push(reported);
        true
    }

    /// Lets time pass until something is due, or until `end`; returns false when the client waits
    /// for nothing and `end` is not finite.
    pub(super) fn pass(&mut self, end: Instant) -> bool {
        let due = self.client.poll_timeout();
        let mut next = due.unwrap_or(end).min(end).max(self.now);
        if !self.listening && next == self.now {
            // Events that are not polled keep the timeout in the past; time passes nevertheless.
            next = end.min(self.now + Duration::from_millis(10));
        } else if self.watching {
            self.watch(next);
        }
        self.now = next;
        true
    }

    /// Checks that nothing is due before `next`.
    fn watch(&mut self, next: Instant) {
        let Some(name) = self.known.clone() else { return };
        let span = self.now.until(next);
        let start = self.now;
        for at in [start, start + span / 2, start + span.saturating_sub(Duration::from_micros(1))] {
            // Watching a watched topic changes nothing, but makes the client check what is due.
            let _ = self.client.topic(&name);
            let action = self.client.poll_action(at);
            let bytes = self.lines.iter().position(|line| {
                line.window != Some(0) && self.client.poll_transmit(at, line.conn).is_some()
            });
            let event = self.listening && self.client.has_event(at);
            if action.is_some() || bytes.is_some() || event {
                self.now = at;
                self.fail(&format!(
                    "slept over: due {} us before poll_timeout: {action:?}, bytes {bytes:?}, \
                     event {event}",
                    at.until(next).as_micros()
                ));
            }
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while self.now < end {
            self.pass(end);
            self.settle();
        }
    }

    /// Lets time pass without a turn: a loop that was away.
    pub fn sleep(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Lets time pass until `holds`.
    ///
    /// # Panics
    /// When it does not hold within a minute.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let end = self.now + Duration::from_secs(60);
        loop {
            self.settle();
            if holds(self) {
                return;
            }
            if self.now >= end {
                self.fail(&format!("never: {what}"));
            }
            self.pass(end);
        }
    }
}
