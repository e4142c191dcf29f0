//! Lanes and lists: each partition is in the list of what its next batch waits for, so that the
//! cost of a response, a deadline or a new leader depends only on the partitions that it concerns.
//! A lane has those that a broker leads.

use super::{Batch, Producer, Stage};
use crate::cluster::{Cx, PRODUCER};
use crate::config::{Acks, Settings};
use crate::has::{MOVES, SPLIT, WITNESS};
use crate::memory::{Link, List};
use crate::time::{Span, Tick};

/// Lists that are not a lane's.
pub(super) const OWN: usize = 5;

/// Lists of a lane: the last one is of first batches, for which there are no spare connections in
/// builds without `witness`.
const LISTS: usize = if WITNESS { 3 } else { 2 };

/// The list that a partition is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In none: not used, or all its batches are in flight.
    Nowhere,
    /// To be placed again.
    Touched,
    /// Nothing to send.
    Idle,
    /// In back-off.
    Paused,
    /// No known broker leads it.
    Homeless,
    /// Its next batch has to be split.
    Oversized,
    /// In a lane: its next batch may leave.
    Ready,
    /// In a lane: its next batch still takes records.
    Open,
    /// In a lane: its next batch is the first one ever, which has a connection of its own.
    First,
}

/// Partitions with something to send, by their leader: same index as the broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    lists: [List; LISTS],
    /// The open batches were begun while nothing was in flight: they leave with the next poll.
    prompt: bool,
    /// Partitions that are not new are written to: first batches must not delay them.
    pub(super) settled: bool,
    /// It is in the list of those that are due.
    due: bool,
    /// No open batch ends its linger before this.
    pub(super) lingers: Tick,
}

impl Lane {
    pub(crate) const EMPTY: Self = Self {
        lists: [List::EMPTY; LISTS],
        prompt: false,
        settled: false,
        due: false,
        lingers: Tick::ZERO,
    };

    pub(super) fn list(&self, place: Place) -> Option<&List> {
        self.lists.get((place as usize).wrapping_sub(1 + OWN))
    }

    pub(super) fn first(&self, place: Place) -> Option<usize> {
        self.list(place)?.first().get()
    }

    fn is_empty(&self) -> bool {
        self.lists.iter().all(List::is_empty)
    }
}

/// What is due of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// Nothing before this, unless something happens.
    Nothing(Tick),
    /// What is ready, and open batches that were begun by then.
    Some(Tick),
    /// First batches, over a connection of their own.
    First,
}

/// Returns whether batches linger although nothing is in flight.
fn lingers_when_idle(config: &Settings<'_>) -> bool {
    // Without responses nothing is ever in flight.
    config.linger_when_idle || config.acks == Acks::None
}

impl<'d> Producer<'d> {
    /// Removes a partition from its list.
    pub(super) fn unplace(&mut self, part: usize) {
        self.put(part, Place::Nowhere, Link::NONE);
    }

    /// Moves a partition to another list.
    #[inline(never)]
    pub(super) fn put(&mut self, part: usize, place: Place, lane: Link) {
        let Self { queues, lists, lanes, places, .. } = self;
        let q = &mut queues[part];
        let before =
            (core::mem::replace(&mut q.place, place), core::mem::replace(&mut q.lane, lane));
        for (is_new, (place, lane)) in [(false, before), (true, (place, lane))] {
            // `Nowhere` is no list.
            let at = (place as usize).wrapping_sub(1);
            let list = match lane.get() {
                Some(lane) => lanes[lane].lists.get_mut(at.wrapping_sub(OWN)),
                None => lists.get_mut(at),
            };
            match list {
                Some(list) if is_new => places.push_back(list, part),
                Some(list) => places.remove(list, part),
                None => {}
            }
        }
    }

    /// Notes that something happened to a partition: it is placed again before anything is sent.
    #[inline(never)]
    pub(super) fn touch(&mut self, part: usize) {
        if self.queues[part].place != Place::Touched {
            self.put(part, Place::Touched, Link::NONE);
        }
        self.dirty = true;
    }

    /// Marks a partition of the producer without batches as idle: it may be evicted for another.
    pub(super) fn rest(&mut self, part: usize) {
        let q = &self.queues[part];
        if q.head.is_none() && q.place != Place::Idle {
            self.put(part, Place::Idle, Link::NONE);
        }
    }

    /// Returns the first partition of a list that is not a lane's.
    pub(super) fn first_of(&self, place: Place) -> Option<usize> {
        self.lists.get((place as usize).wrapping_sub(1))?.first().get()
    }

    /// Returns whether a batch takes no more records.
    pub(super) fn is_closed(&self, b: &Batch) -> bool {
        b.stage != Stage::Open || guard!("a flush closes batches", b.id <= self.flush_upto)
    }

    /// Moves partitions to which something happened to their right lists.
    pub(super) fn place_touched(&mut self, cx: &mut Cx<'d>) {
        while let Some(part) = self.first_of(Place::Touched) {
            self.place(cx, part);
            if let Some(lane) = self.queues[part].lane.get() {
                self.wake(lane);
            }
        }
    }

    /// Puts a partition into the list of what its next batch waits for.
    pub(super) fn place(&mut self, cx: &mut Cx<'d>, part: usize) {
        let Some(batch) = self.first_waiting(part) else {
            self.unplace(part);
            if cx.cluster.table[part].used_by(PRODUCER) {
                self.rest(part);
            }
            return;
        };
        // At once, whatever it waits for then: a new producer id may have to be requested.
        self.begin_epoch(part, batch);
        let (q, b, entry) = (&self.queues[part], &self.batches[batch], &cx.cluster.table[part]);
        // A leader that got no request yet gets one at once (KIP-951).
        let requested =
            guard!("a new leader gets requests at once", entry.epoch <= q.sent_epoch => true);
        let paused = guard!(
            "a back-off is waited out",
            q.retry_at > cx.now && (entry.leader() < 0 || requested)
        );
        let (place, lane) = match entry.broker() {
            _ if SPLIT && b.oversize.or(false) => (Place::Oversized, None),
            _ if paused => (Place::Paused, None),
            None => (Place::Homeless, None),
            Some(lane) => {
                let l = &self.lanes[lane];
                let first =
                    WITNESS && !q.settled.or(true) && l.settled && cx.settings.acks == Acks::All;
                let place = match () {
                    () if guard!("first batches stand aside", first && cx.net.is_roomy()) => {
                        Place::First
                    }
                    () if self.is_closed(b) => Place::Ready,
                    () => Place::Open,
                };
                (place, Some(lane))
            }
        };
        match place {
            Place::Paused => self.paused_until = self.paused_until.min(q.retry_at),
            // One behind a batch that has just left is split by the next pass.
            #[cfg(feature = "pack")]
            Place::Oversized => self.dirty = true,
            Place::Homeless => {
                cx.refresh(usize::from(entry.topic));
                self.astray = true;
            }
            _ if MOVES => {
                self.astray |= lane.is_some_and(|lane| cx.cluster.brokers[lane].last.is_down());
            }
            _ => {}
        }
        if let Some(lane) = lane {
            let (opens, ends) = (place == Place::Open, b.created + cx.settings.linger);
            let l = &mut self.lanes[lane];
            let is_new = !core::mem::replace(&mut self.batches[batch].placed, true);
            if l.is_empty() {
                l.prompt = opens && is_new && !lingers_when_idle(&cx.settings);
                l.lingers = Tick::NEVER;
            }
            if opens {
                l.lingers = l.lingers.min(ends);
            }
        }
        self.put(part, place, lane.map_or(Link::NONE, Link::to));
    }

    /// Places partitions again whose back-off is over.
    pub(super) fn end_pauses(&mut self, now: Tick) {
        if self.paused_until > now {
            return;
        }
        let mut next = Tick::NEVER;
        let mut link = self.first_of(Place::Paused).map_or(Link::NONE, Link::to);
        while let Some(part) = link.get() {
            link = self.places.next(part);
            let at = self.queues[part].retry_at;
            if guard!("a back-off ends", at <= now) {
                self.touch(part);
            } else {
                next = next.min(at);
            }
        }
        self.paused_until = next;
    }

    /// Has the next pass drive a lane.
    pub(super) fn wake(&mut self, lane: usize) {
        if !core::mem::replace(&mut self.lanes[lane].due, true) {
            self.lane_places.remove(&mut self.waiting, lane);
            self.lane_places.push_back(&mut self.due, lane);
        }
    }

    /// Does the same for a lane that has something to send and may have waited for a response.
    pub(super) fn wake_waiting(&mut self, lane: usize) {
        if guard!("a response wakes what waited for it", !self.lanes[lane].is_empty()) {
            self.wake(lane);
            self.dirty = true;
        }
    }

    /// Wakes all lanes that wait.
    pub(super) fn wake_all(&mut self) {
        while let Some(lane) = self.waiting.first().get() {
            self.wake(lane);
        }
    }

    /// Takes the next lane that is due.
    pub(super) fn next_due(&mut self) -> Option<usize> {
        let lane = self.lane_places.pop(&mut self.due)?;
        self.lanes[lane].due = false;
        Some(lane)
    }

    /// Lets a lane wait until then, or for something to happen.
    pub(super) fn wait(&mut self, lane: usize, until: Tick) {
        let l = &self.lanes[lane];
        if !l.is_empty() && !l.due {
            self.lane_places.push_back(&mut self.waiting, lane);
            self.waiting_until = self.waiting_until.min(until);
        }
    }

    /// Returns when open batches leave, if no more records come.
    pub(crate) fn gathers_until(&self) -> Option<Tick> {
        let gathers = |lane: usize| self.lanes[lane].first(Place::Open).is_some();
        let any = !self.dirty && self.lane_places.iter(&self.waiting).any(gathers);
        any.then_some(self.waiting_until)
    }

    /// Returns what is due of a lane, with so many requests in flight on its connection.
    pub(super) fn due_of(
        &mut self,
        config: &Settings<'_>,
        now: Tick,
        lane: usize,
        under_way: usize,
    ) -> Due {
        let l = &mut self.lanes[lane];
        let nothing = guard!("what is in flight is lingered for", under_way == 0 => true);
        l.prompt &= nothing;
        let idle = nothing && !lingers_when_idle(config);
        // Open batches continue to gather as long as records keep coming: a caller that waits for
        // each acknowledgement sends none now.
        let pause = if idle {
            self.last_record + config.linger.shifted(3).max(Span::LEAST)
        } else {
            Tick::NEVER
        };
        let ends = l.lingers.min(pause);
        if l.first(Place::Open).is_some() {
            if l.prompt || self.pressure || pause <= now {
                return Due::Some(Tick::NEVER);
            }
            if l.lingers <= now {
                // Batches halfway through their linger are sent too: fewer requests, and soon all
                // in step.
                let half = guard!("batches half through go along", 1 => 0);
                return Due::Some(now - config.linger.shifted(half));
            }
        }
        if l.first(Place::Ready).is_some() {
            return Due::Some(Tick::ZERO);
        }
        Due::Nothing(if l.first(Place::Open).is_some() { ends } else { Tick::NEVER })
    }

    /// Computes when the first of the open batches that stay ends its linger.
    pub(super) fn count_linger(&mut self, config: &Settings<'_>, lane: usize) {
        let mut ends = Tick::NEVER;
        let open = self.lanes[lane].first(Place::Open);
        let mut link = open.map_or(Link::NONE, Link::to);
        while let Some(part) = link.get() {
            link = self.places.next(part);
            if let Some(batch) = self.first_waiting(part) {
                ends = ends.min(self.batches[batch].created + config.linger);
            }
        }
        self.lanes[lane].lingers = ends;
    }
}
