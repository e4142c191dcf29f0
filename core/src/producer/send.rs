//! Which batches go out now: deadlines, order and sequences decide.

use super::lane::Due;
use super::{Identity, Place, Producer, Stage};
use crate::api::Kind;
use crate::cluster::{Cluster, Wish};
use crate::config::Acks;
use crate::connection::{Net, PRODUCE_IN_FLIGHT, Peer, Role, State};
use crate::error::Error;
use crate::memory::{List, backoff};
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{ApiKey, Encode, ErrorCode, init_producer_id};

/// A connection for first batches that is not there by then is not waited for.
const FIRST_WAIT: Span = Span::from_millis(200);

/// What a partition can do now.
pub(super) enum Next {
    Send(usize),
    /// It waits for an answer to a batch of its own.
    Blocked,
    /// It waits for a producer id, as all do.
    Hold,
}

impl<'d> Producer<'d> {
    /// Sends and expires what is due; returns when to look again.
    // Its frame ends before the next part's begins: a device has little stack.
    #[inline(never)]
    pub(crate) fn drive(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Tick,
    ) -> Tick {
        self.dirty = false;
        let mut next = self.drive_identity(cluster, net, now);
        next = next.min(self.expire(cluster, net, now));
        self.end_pauses(now);
        self.place_touched(cluster, net, now);
        self.move_strays(cluster);
        self.split_oversized(net);
        self.place_touched(cluster, net, now);
        if self.waiting_until <= now || self.pressure {
            self.waiting_until = Tick::NEVER;
            self.wake_all();
        }
        // Each is looked at once; what cannot be sent now, for want of a connection or of memory,
        // is tried again whenever something happens.
        let mut stuck = List::EMPTY;
        while let Some(lane) = self.next_due() {
            match self.drive_lane(cluster, net, now, lane) {
                Turn::Done(at) => self.wait(lane, at),
                Turn::Stuck(at) => {
                    next = next.min(at);
                    self.lane_places.push_back(&mut stuck, lane);
                }
            }
        }
        while let Some(lane) = self.lane_places.pop(&mut stuck) {
            self.wake(lane);
        }
        next = next.min(self.waiting_until).min(self.paused_until);
        next = next.min(self.check_room(&net.blocks, cluster, now));
        net.short |= self.wants_blocks > 0;
        self.deadline = next;
        next
    }

    /// Sends what is due of one lane.
    fn drive_lane(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Tick,
        lane: usize,
    ) -> Turn {
        let node = cluster.brokers[lane].id;
        let (mut wait, mut stuck) = (Tick::NEVER, false);
        if self.lanes[lane].first(Place::First).is_some() {
            let turn = match first_conn(cluster, net, now, node) {
                Ok(conn) => self.send_all(cluster, net, now, (lane, conn), Due::First),
                Err(at) => Turn::Stuck(at),
            };
            if let Turn::Stuck(at) = turn {
                (stuck, wait) = (true, at);
            }
        }
        let main = net.find(Peer::Node(node), Role::Main);
        let under_way = main.map_or(0, |conn| net.conns[conn].pending_of(ApiKey::PRODUCE));
        let due = self.due_of(&cluster.config, now, lane, under_way);
        let turn = match due {
            Due::Nothing(at) => Turn::Done(at),
            due => match cluster.wish(net, now, node, Role::Main) {
                Wish::Ready(conn) => self.send_all(cluster, net, now, (lane, conn), due),
                Wish::Later(at) => Turn::Stuck(at),
            },
        };
        match turn {
            Turn::Done(at) if stuck => Turn::Stuck(wait.min(at)),
            Turn::Done(at) => Turn::Done(at),
            Turn::Stuck(at) => Turn::Stuck(wait.min(at)),
        }
    }

    /// Requests with what is due of a lane, over a connection that is ready.
    fn send_all(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Tick,
        (lane, conn): (usize, usize),
        due: Due,
    ) -> Turn {
        if let Some(fault) = net.conns[conn].versions.lacks(Kind::Produce) {
            return self.refuse(net, lane, Error::Peer(fault));
        }
        while net.conns[conn].pending_of(ApiKey::PRODUCE) < PRODUCE_IN_FLIGHT {
            if !net.takes_requests(conn, now) {
                let until = net.conns[conn].throttled_until;
                return Turn::Stuck(if until > now { until } else { Tick::NEVER });
            }
            match self.send_request(cluster, net, now, (lane, conn), due) {
                Some(true) => {}
                // Short of memory.
                Some(false) => return Turn::Stuck(Tick::NEVER),
                None if matches!(due, Due::First) => return Turn::Done(Tick::NEVER),
                None => {
                    if !matches!(due, Due::Some(Tick::ZERO)) {
                        self.count_linger(&cluster.config, lane);
                    }
                    let under_way = net.conns[conn].pending_of(ApiKey::PRODUCE);
                    return match self.due_of(&cluster.config, now, lane, under_way) {
                        Due::Nothing(at) => Turn::Done(at),
                        // It waits for a producer id.
                        _ => Turn::Done(Tick::NEVER),
                    };
                }
            }
        }
        // The next answer gives it another turn.
        Turn::Done(Tick::NEVER)
    }

    /// A broker cannot be sent records at all: those of its lane fail at once.
    fn refuse(&mut self, net: &mut Net<'d>, lane: usize, error: Error) -> Turn {
        for place in [Place::First, Place::Open, Place::Ready] {
            while let Some(part) = self.lanes[lane].first(place) {
                while let Some(batch) = self.first_waiting(part) {
                    let maybe = self.batches[batch].maybe_written;
                    self.finish(&mut net.blocks, part, batch, Err((error, maybe)));
                }
                self.touch(part);
            }
        }
        Turn::Done(Tick::NEVER)
    }

    /// Gets a producer id when batches wait for one.
    fn drive_identity(&mut self, cluster: &mut Cluster<'d>, net: &mut Net<'d>, now: Tick) -> Tick {
        match self.identity {
            Identity::Asked(at) | Identity::Wanted(at) if at > now => return at,
            Identity::Asked(_) | Identity::Wanted(_) if self.unfinished > 0 => {}
            _ => return Tick::NEVER,
        }
        let soon = now + Span::from_millis(20);
        let kind = Kind::InitProducerId;
        let Some(conn) = cluster.pick_main(net, now, None, kind) else {
            if let Some(fault) = net.lacking(now, kind) {
                let until = now + cluster.config.retry_backoff_max;
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
        let draft = net.draft(conn, now, kind, &mut |w, version| request.encode(version, w));
        let Some(draft) = draft else { return soon };
        net.send(now, draft, [0; 2], cluster.config.request_timeout);
        let until = now + Span::from_secs(2);
        self.identity = Identity::Asked(until);
        until
    }

    /// The answer to InitProducerId.
    pub(crate) fn on_init_producer_id(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Tick,
        got: Segment<'_, '_>,
    ) {
        if let Some(init_producer_id::Item::Answer { error, producer_id, producer_epoch, .. }) =
            init_producer_id::item(got)
        {
            let answer = match error {
                ErrorCode(0) => Ok((producer_id, producer_epoch)),
                error => Err(Error::Broker(error)),
            };
            self.on_identity(cluster, now, answer);
        }
    }

    /// A producer id, or why there is none.
    pub(crate) fn on_identity(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Tick,
        answer: Result<(i64, i16), Error>,
    ) {
        if !matches!(self.identity, Identity::Asked(_)) {
            return;
        }
        self.dirty = true;
        match answer {
            Ok((id, epoch)) if id >= 0 && epoch >= 0 => {
                (self.producer_id, self.epoch) = (id, epoch);
                self.identity = Identity::Known;
                self.identity_error = None;
                self.wake_all();
                self.identity_failures = 0;
            }
            Err(Error::Broker(code)) if !code.is_retriable() && code.0 != -1 => {
                let until = now + cluster.config.retry_backoff_max;
                self.identity = Identity::Refused(Error::Broker(code), until);
            }
            _ => {
                self.identity_error = answer.err().and_then(|error| error.as_obstacle(-1));
                let (base, max) = (cluster.config.retry_backoff, cluster.config.retry_backoff_max);
                let at = backoff(&mut cluster.rng, now, base, max, self.identity_failures);
                self.identity_failures = self.identity_failures.saturating_add(1);
                self.identity = Identity::Wanted(at);
            }
        }
    }

    /// Fails what waited too long, or waits for a producer id that is refused. Returns the next
    /// deadline.
    fn expire(&mut self, cluster: &Cluster<'d>, net: &mut Net<'d>, now: Tick) -> Tick {
        loop {
            let oldest = if self.late.is_empty() { &self.aging } else { &self.late };
            let Some(batch) = oldest.first().get() else { return Tick::NEVER };
            let b = &self.batches[batch];
            let deadline = b.created + cluster.config.delivery_timeout;
            let error = match self.identity {
                Identity::Refused(error, _) => error,
                _ if guard!("delivery deadline", deadline <= now) => {
                    self.why_late(cluster, net, batch)
                }
                _ => return deadline,
            };
            self.ages.remove(if b.late { &mut self.late } else { &mut self.aging }, batch);
            // One that is on its way is told of when its request ends.
            if !guard!("a batch on its way keeps its memory", b.stage == Stage::Sent) {
                let (part, maybe) = (b.part as usize, b.maybe_written);
                self.finish(&mut net.blocks, part, batch, Err((error, maybe)));
            }
        }
    }

    /// The batch of a partition that may be sent now, if any: order and sequence decide.
    pub(super) fn next_batch(&mut self, cluster: &Cluster<'d>, part: usize) -> Next {
        let idempotent = self.idempotent();
        let Some(batch) = self.first_waiting(part) else { return Next::Blocked };
        if self.begin_epoch(part, batch) {
            return Next::Blocked;
        }
        let (p, b) = (&self.queues[part], &self.batches[batch]);
        let entry = &cluster.table[part];
        // Another leader may have lost what the last one knew (an unclean election).
        let same =
            guard!("another leader's first batch alone", entry.epoch == p.sent_epoch => true);
        let most = match cluster.config.acks {
            Acks::None => u8::MAX,
            // A leader that has never heard of this producer takes any sequence for the first:
            // the second batch must not overtake it.
            _ if idempotent && guard!("first batch alone", p.known && same => true) => {
                PRODUCE_IN_FLIGHT as u8
            }
            _ => 1,
        };
        // A batch that was sent before goes alone and in its turn (SenderTest calls this
        // "multiple in flights retried in order").
        let full = guard!("batches in flight", p.in_flight >= most);
        if full || guard!("retries alone", b.attempts > 0 && p.in_flight > 0) {
            let first = self.queues[part].head.get();
            if b.attempts == 0 || first != Some(batch) {
                return Next::Blocked;
            }
        }
        if idempotent && !b.sealed {
            let is_new_id = p.producer_id != self.producer_id;
            let waits = guard!("a new producer id waits", is_new_id && p.in_flight > 0);
            if waits {
                return Next::Blocked;
            }
            if self.identity != Identity::Known {
                return Next::Hold;
            }
        }
        Next::Send(batch)
    }

    /// A new epoch for a partition whose sequence broke, of which this is the next batch. Whether
    /// that has to wait.
    pub(super) fn begin_epoch(&mut self, part: usize, batch: usize) -> bool {
        if !guard!("a broken sequence begins a new epoch", self.queues[part].bump) {
            return false;
        }
        if guard!("a new epoch waits for the old one", self.queues[part].in_flight > 0) {
            return true;
        }
        // What may be in the log goes again as it was: only so can the broker recognise it.
        let b = &self.batches[batch];
        let kept = b.sealed && b.maybe_written && !b.out_of_sequence;
        if !guard!("what may be written goes again as it was", kept) {
            self.restart_sequence(part);
        }
        false
    }

    /// Begins a new epoch for a partition whose sequence broke: brokers know then that what is
    /// sent again is not a repetition (rule 7: local, no request needed).
    fn restart_sequence(&mut self, part: usize) {
        self.raise_epoch();
        let p = &mut self.queues[part];
        (p.bump, p.known) = (false, false);
        p.next_sequence = 0;
        (p.producer_id, p.epoch) = (self.producer_id, self.epoch);
        let mut link = p.head;
        while let Some(batch) = link.get() {
            let b = &mut self.batches[batch];
            b.sequence = -1;
            (b.sealed, b.out_of_sequence) = (false, false);
            link = b.next;
        }
    }
}

/// What became of a lane's turn.
enum Turn {
    /// Nothing is due before this, if nothing happens.
    Done(Tick),
    /// Something is, and is tried again: then at the latest.
    Stuck(Tick),
}

/// The connection for first batches to a broker, made if there is one to spare; else, or when that
/// takes too long, the main one. `Err`: when to look again.
fn first_conn<'d>(
    cluster: &mut Cluster<'d>,
    net: &mut Net<'d>,
    now: Tick,
    node: i32,
) -> Result<usize, Tick> {
    let peer = Peer::Node(node);
    match net.find(peer, Role::First) {
        Some(conn) if net.conns[conn].is_draining() => {}
        Some(conn) if net.conns[conn].state == State::Ready => return Ok(conn),
        Some(conn) if net.conns[conn].used + FIRST_WAIT > now => {
            return Err(net.conns[conn].used + FIRST_WAIT);
        }
        Some(_) => {}
        None => {
            let free = net.conns.iter().filter(|conn| conn.state == State::Free).count();
            let sound = cluster.broker(node).is_some_and(|broker| broker.retry_at <= now);
            if sound && free > net.conns.len() / 4 {
                net.connect(now, peer, Role::First);
                return Err(now + FIRST_WAIT);
            }
        }
    }
    match cluster.wish(net, now, node, Role::Main) {
        Wish::Ready(conn) => Ok(conn),
        Wish::Later(at) => Err(at),
    }
}
