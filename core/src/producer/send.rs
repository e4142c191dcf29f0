//! Which batches are sent now: deadlines, order and sequences decide.

use super::lane::Due;
use super::{Identity, Marks, Place, Producer, Stage};
use crate::api::Kind;
use crate::cluster::{Cx, Wish};
use crate::config::Acks;
use crate::connection::{ConnState, PRODUCE_IN_FLIGHT, Peer, Role};
use crate::error::{Error, Obstacle, PeerFault};
use crate::has::{MOVES, REASONS, SPLIT, STRAYS, WITNESS};
use crate::memory::{Link, List, backoff};
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{ApiKey, Encode, ErrorCode, init_producer_id};

/// A connection for first batches that is not ready after this long is not waited for.
const FIRST_WAIT: Span = Span::from_millis(200);

/// What a partition can do now.
pub(super) enum Next {
    Send(usize),
    /// It waits for the response to a batch of its own.
    Blocked,
    /// It waits for a producer id, as all do.
    Hold,
}

/// Times at which the producer has something to do, by what that is.
struct Timers {
    /// A producer id is requested.
    identity: Tick,
    /// The oldest batch fails.
    delivery: Tick,
    /// A lane needs a connection, or memory, again.
    lanes: Tick,
    /// Batches have gathered for long enough.
    linger: Tick,
    /// A partition is tried again.
    backoff: Tick,
    /// A refused caller may try again.
    room: Tick,
}

impl Timers {
    fn first(self) -> Tick {
        let Self { identity, delivery, lanes, linger, backoff, room } = self;
        identity.min(delivery).min(lanes).min(linger).min(backoff).min(room)
    }
}

impl<'d> Producer<'d> {
    /// Sends and expires what is due; returns the time of the next pass.
    // Its frame ends before the next part's begins: a device has little stack.
    #[inline(never)]
    pub(crate) fn drive(&mut self, cx: &mut Cx<'d>) -> Tick {
        self.dirty = false;
        #[cfg(feature = "pack")]
        self.pack_on(cx);
        let identity = self.drive_identity(cx);
        let delivery = self.expire(cx);
        self.end_pauses(cx.now);
        self.place_touched(cx);
        self.move_strays(cx);
        if SPLIT {
            self.split_oversized(cx);
        }
        if MOVES || SPLIT {
            self.place_touched(cx);
        }
        if self.waiting_until <= cx.now || self.pressure {
            self.waiting_until = Tick::NEVER;
            self.wake_all();
        }
        // Each is driven once; what cannot be sent now, for lack of a connection or of memory, is
        // tried again whenever something happens.
        let (mut lanes, mut stuck) = (Tick::NEVER, List::EMPTY);
        while let Some(lane) = self.next_due() {
            match self.drive_lane(cx, lane) {
                Turn::Done(at) => self.wait(lane, at),
                Turn::Stuck(at) => {
                    lanes = lanes.min(at);
                    self.lane_places.push_back(&mut stuck, lane);
                }
            }
        }
        while let Some(lane) = self.lane_places.pop(&mut stuck) {
            self.wake(lane);
        }
        let (linger, backoff) = (self.waiting_until, self.paused_until);
        let room = self.check_room(cx);
        cx.net.short |= self.wants_blocks > 0;
        #[cfg(feature = "pack")]
        let lanes = lanes.min(self.packs_at());
        Timers { identity, delivery, lanes, linger, backoff, room }.first()
    }

    /// Sends what is due of one lane.
    fn drive_lane(&mut self, cx: &mut Cx<'d>, lane: usize) -> Turn {
        let node = cx.cluster.brokers[lane].id;
        let (mut wait, mut stuck) = (Tick::NEVER, false);
        if WITNESS && self.lanes[lane].first(Place::First).is_some() {
            let turn = match first_conn(cx, node) {
                Ok(conn) => self.send_all(cx, (lane, conn), Due::First),
                Err(at) => Turn::Stuck(at),
            };
            if let Turn::Stuck(at) = turn {
                (stuck, wait) = (true, at);
            }
        }
        let main = cx.net.find(Peer::Node(node), Role::Main);
        let under_way = main.map_or(0, |conn| cx.net.conns[conn].pending_of(ApiKey::PRODUCE));
        let due = self.due_of(&cx.settings, cx.now, lane, under_way);
        let turn = match due {
            Due::Nothing(at) => Turn::Done(at),
            due => match cx.wish(node, Role::Main) {
                Wish::Ready(conn) => self.send_all(cx, (lane, conn), due),
                Wish::Later(at) => Turn::Stuck(at),
            },
        };
        match turn {
            Turn::Done(at) if stuck => Turn::Stuck(wait.min(at)),
            Turn::Done(at) => Turn::Done(at),
            Turn::Stuck(at) => Turn::Stuck(wait.min(at)),
        }
    }

    /// Sends requests with what is due of a lane, over a connection that is ready.
    fn send_all(&mut self, cx: &mut Cx<'d>, (lane, conn): (usize, usize), due: Due) -> Turn {
        if let Some(fault) = cx.net.conns[conn].versions.lacks(Kind::Produce) {
            self.refuse(cx, lane, Error::Peer(fault), |_, _, _| true);
            return Turn::Done(Tick::NEVER);
        }
        let fault = cx.net.conns[conn].lacks_names(Kind::Produce);
        if let Some(fault) = guard!("what cannot be named is refused", fault => None) {
            self.refuse(cx, lane, Error::Peer(fault), |_, cx, part| cx.cluster.is_nameless(part));
        }
        #[cfg(feature = "pack")]
        self.refuse_zstd(cx, (lane, conn));
        if let Some(fault) = self.lacks_protocol(&cx.net, conn) {
            self.refuse(cx, lane, Error::Peer(fault), |_, _, _| true);
            return Turn::Done(Tick::NEVER);
        }
        while cx.net.conns[conn].pending_of(ApiKey::PRODUCE) < PRODUCE_IN_FLIGHT {
            if !cx.net.takes_requests(conn, cx.now) {
                let until = cx.net.conns[conn].throttled_until;
                return Turn::Stuck(if until > cx.now { until } else { Tick::NEVER });
            }
            match self.send_request(cx, (lane, conn), due) {
                Some(true) => {}
                // Short of memory.
                Some(false) => return Turn::Stuck(Tick::NEVER),
                None if matches!(due, Due::First) => return Turn::Done(Tick::NEVER),
                None => {
                    if !matches!(due, Due::Some(Tick::ZERO)) {
                        self.count_linger(&cx.settings, lane);
                    }
                    let under_way = cx.net.conns[conn].pending_of(ApiKey::PRODUCE);
                    return match self.due_of(&cx.settings, cx.now, lane, under_way) {
                        Due::Nothing(at) => Turn::Done(at),
                        // It waits for a producer id.
                        _ => Turn::Done(Tick::NEVER),
                    };
                }
            }
        }
        // The next response gives it another turn.
        Turn::Done(Tick::NEVER)
    }

    /// Fails the batches of some partitions of a lane at once: its broker cannot take them.
    pub(super) fn refuse(
        &mut self,
        cx: &mut Cx<'d>,
        lane: usize,
        error: Error,
        which: impl Fn(&mut Self, &Cx<'d>, usize) -> bool,
    ) {
        for place in [Place::First, Place::Open, Place::Ready] {
            let mut link = self.lanes[lane].first(place).map_or(Link::NONE, Link::to);
            while let Some(part) = link.get() {
                link = self.places.next(part);
                if !which(self, cx, part) {
                    continue;
                }
                while let Some(batch) = self.first_waiting(part) {
                    let maybe = self.batches[batch].maybe_written;
                    self.finish(&mut cx.net.blocks, part, batch, Err((error, maybe)));
                }
                self.touch(part);
            }
        }
    }

    /// Requests a producer id when batches wait for one.
    fn drive_identity(&mut self, cx: &mut Cx<'d>) -> Tick {
        match self.identity {
            Identity::Requested(at) | Identity::Wanted(at) if at > cx.now => return at,
            Identity::Requested(_) | Identity::Wanted(_) if self.unfinished > 0 => {}
            _ => return Tick::NEVER,
        }
        let soon = cx.now + Span::from_millis(20);
        let kind = Kind::InitProducerId;
        let Some(conn) = cx.pick_main(None, kind) else {
            if let Some(fault) = cx.net.lacking(cx.now, kind) {
                let until = cx.now + cx.settings.retry_backoff_max;
                self.identity = Identity::Refused(Error::Peer(fault), until);
            }
            return soon;
        };
        let request = init_producer_id::Request {
            transactional_id: None,
            timeout_ms: i32::MAX,
            producer_id: -1,
            producer_epoch: -1,
        };
        let draft = cx.net.draft(conn, cx.now, kind, &mut |w, version| request.encode(version, w));
        let Some(draft) = draft else { return soon };
        cx.net.send(cx.now, draft, [0; 2], cx.settings.request_timeout);
        let until = cx.now + Span::from_secs(2);
        self.identity = Identity::Requested(until);
        until
    }

    /// Handles the response to InitProducerId.
    pub(crate) fn on_init_producer_id(
        &mut self,
        cx: &mut Cx<'d>,
        conn: usize,
        got: Segment<'_, '_>,
    ) {
        if let Some(init_producer_id::Item::Response {
            error, producer_id, producer_epoch, ..
        }) = init_producer_id::item(got)
        {
            let (broker, api) = (cx.net.conns[conn].peer.node(), Some(ApiKey::INIT_PRODUCER_ID));
            let fault = PeerFault::NoValue(ApiKey::INIT_PRODUCER_ID);
            let none = producer_id < 0 || producer_epoch < 0;
            let response = match error {
                ErrorCode(0) if none => Err(Error::Blocked(Obstacle::Peer { broker, fault })),
                ErrorCode(0) => Ok((producer_id, producer_epoch)),
                code => Err(Error::Blocked(Obstacle::Refused { broker, api, code })),
            };
            self.on_identity(cx, response);
        }
    }

    /// Sets the producer id, or the reason why there is none.
    pub(crate) fn on_identity(&mut self, cx: &mut Cx<'d>, response: Result<(i64, i16), Error>) {
        if !matches!(self.identity, Identity::Requested(_)) {
            return;
        }
        self.dirty = true;
        match response {
            Ok((id, epoch)) => {
                (self.producer_id, self.epoch) = (id, epoch);
                self.identity = Identity::Known;
                self.identity_error = None;
                self.wake_all();
                self.identity_failures = 0;
            }
            Err(error @ Error::Blocked(Obstacle::Refused { code, .. }))
                if !code.is_retriable() && code.0 != -1 =>
            {
                let until = cx.now + cx.settings.retry_backoff_max;
                self.identity = Identity::Refused(error, until);
            }
            Err(error) => {
                let api = Some(ApiKey::INIT_PRODUCER_ID);
                self.identity_error = error.as_obstacle(-1, api).filter(|_| REASONS);
                let (base, max) = (cx.settings.retry_backoff, cx.settings.retry_backoff_max);
                let at = backoff(&mut cx.rng, cx.now, base, max, self.identity_failures);
                self.identity_failures = self.identity_failures.saturating_add(1);
                self.identity = Identity::Wanted(at);
            }
        }
    }

    /// Fails batches that waited too long, or that wait for a producer id that is refused. Returns
    /// the next deadline.
    fn expire(&mut self, cx: &mut Cx<'d>) -> Tick {
        loop {
            let (own, astray) = (self.over(cx), self.astray_at(cx));
            let oldest = if self.late.is_empty() { &self.aging } else { &self.late };
            let Some(batch) = own.ok().or(oldest.first().get()) else { return Tick::NEVER };
            let b = &self.batches[batch];
            let deadline = b.own.or(b.created + cx.settings.delivery_timeout);
            let error = match (self.identity, own) {
                (Identity::Refused(error, _), _) => error,
                _ if STRAYS && guard!("nothing waits for another cluster", astray <= cx.now) => {
                    Error::Blocked(cx.cluster.why_hopeless(self.leader_of(cx, batch)))
                }
                (_, Ok(_)) => self.why_late(cx, batch),
                _ if guard!("delivery deadline", deadline <= cx.now) => self.why_late(cx, batch),
                (_, Err(next)) => return deadline.min(next).min(astray),
            };
            self.ages.remove(if b.late { &mut self.late } else { &mut self.aging }, batch);
            // One that is in flight is reported when its request ends.
            if !guard!("a batch on its way keeps its memory", b.stage == Stage::Sent) {
                let (part, maybe) = (b.part as usize, b.maybe_written);
                self.finish(&mut cx.net.blocks, part, batch, Err((error, maybe)));
            }
        }
    }

    /// Returns the batch of a partition that may be sent now, if any: order and sequence decide.
    pub(super) fn next_batch(&mut self, cx: &Cx<'d>, part: usize) -> Next {
        let idempotent = self.idempotent();
        let Some(batch) = self.first_waiting(part) else { return Next::Blocked };
        if self.awaits_transaction(part) {
            return Next::Hold;
        }
        if self.begin_epoch(part, batch) {
            return Next::Blocked;
        }
        let (p, b) = (&self.queues[part], &self.batches[batch]);
        let entry = &cx.cluster.table[part];
        // Another leader may have lost what the previous one knew (an unclean election).
        let same =
            guard!("another leader's first batch alone", entry.epoch == p.sent_epoch => true);
        let known = p.marks.has(Marks::KNOWN) && !self.is_of_other_epoch(p);
        let most = match cx.settings.acks {
            Acks::None => u8::MAX,
            // A leader that does not know this producer accepts any sequence as the first: the
            // second batch must not overtake the first one.
            _ if idempotent && guard!("first batch alone", known && same => true) => {
                PRODUCE_IN_FLIGHT as u8
            }
            _ => 1,
        };
        // A batch that was sent before is sent alone and in its turn (SenderTest calls this
        // "multiple in flights retried in order").
        let full = guard!("batches in flight", p.in_flight >= most);
        if full || guard!("retries alone", b.attempts > 0 && p.in_flight > 0) {
            let first = self.queues[part].head.get();
            if b.attempts == 0 || first != Some(batch) {
                return Next::Blocked;
            }
        }
        if idempotent && !b.sealed {
            let is_new_id = p.id_mark != self.producer_id as i32;
            let waits = guard!("a new producer id waits", is_new_id && p.in_flight > 0);
            if waits {
                return Next::Blocked;
            }
            if !matches!(self.identity, Identity::Known) {
                return Next::Hold;
            }
        }
        Next::Send(batch)
    }

    /// Begins a new epoch for a partition whose sequence broke, of which this is the next batch.
    /// Returns whether that has to wait.
    pub(super) fn begin_epoch(&mut self, part: usize, batch: usize) -> bool {
        if !guard!(
            "a broken sequence begins a new epoch",
            self.queues[part].marks.has(Marks::BROKEN)
        ) {
            return false;
        }
        if guard!("a new epoch waits for the old one", self.queues[part].in_flight > 0) {
            return true;
        }
        // What may be in the log is sent again unchanged, so that the broker can recognise it.
        let b = &self.batches[batch];
        let kept = b.sealed && b.maybe_written && !b.out_of_sequence;
        if !guard!("what may be written goes again as it was", kept) {
            self.restart_sequence(part);
        }
        false
    }

    /// Restarts the sequence of a partition in a new epoch: brokers know then that what is sent
    /// again is not a repetition (rule 7: local, no request needed).
    fn restart_sequence(&mut self, part: usize) {
        self.raise_epoch();
        let p = &mut self.queues[part];
        p.marks = Marks(0);
        p.next_sequence = 0;
        (p.id_mark, p.epoch) = (self.producer_id as i32, self.epoch);
        let mut link = p.head;
        while let Some(batch) = link.get() {
            let b = &mut self.batches[batch];
            b.sequence = -1;
            (b.sealed, b.out_of_sequence) = (false, false);
            link = b.next;
        }
    }
}

/// The outcome of a lane's turn.
enum Turn {
    /// Nothing is due before this, unless something happens.
    Done(Tick),
    /// Something is due, and is tried again at this time at the latest.
    Stuck(Tick),
}

/// Returns the connection for first batches to a broker, opened if there is a spare one; else, or
/// when that takes too long, the main one. `Err`: when to check again.
fn first_conn<'d>(cx: &mut Cx<'d>, node: i32) -> Result<usize, Tick> {
    let peer = Peer::Node(node);
    match cx.net.find(peer, Role::First) {
        Some(conn) if cx.net.conns[conn].is_draining() => {}
        Some(conn) if cx.net.conns[conn].state == ConnState::Ready => return Ok(conn),
        Some(conn) if cx.net.conns[conn].used + FIRST_WAIT > cx.now => {
            return Err(cx.net.conns[conn].used + FIRST_WAIT);
        }
        Some(_) => {}
        None => {
            let sound = cx.cluster.broker(node).is_some_and(|broker| broker.retry_at <= cx.now);
            if sound && cx.net.spare() > 0 {
                cx.net.connect(cx.now, peer, Role::First);
                return Err(cx.now + FIRST_WAIT);
            }
        }
    }
    match cx.wish(node, Role::Main) {
        Wish::Ready(conn) => Ok(conn),
        Wish::Later(at) => Err(at),
    }
}
