//! Work lists: per broker the partitions that a request to it has to name. A step costs as much as
//! the partitions that it concerns, however many are read.

use super::{Activity, Answered, Consumer};
use crate::api::{Kind, Owner};
use crate::cluster::{CONSUMER, Cluster, Cx, Wish};
use crate::connection::Role;
use crate::error::{Error, PeerFault};
use crate::memory::{Link, List, Nodes};
use crate::time::{Span, Tick};

use super::Follow;
use super::fetch::NO_ROOM;
use super::pace::Pace;

/// How often metadata is wanted for partitions without a leader; the cluster decides how often it
/// is requested.
const SEARCH: Span = Span::from_millis(20);

/// The list that a partition is in, by what comes next for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Spot {
    /// Nothing, or nothing before its topic is known.
    None,
    /// A leader.
    Homeless,
    /// A pause after a refusal.
    Waits,
    /// Space to produce.
    Held,
    /// A resume by the application.
    Paused,
    /// The response to the request that it is in, other than Fetch.
    Requested,
    /// ListOffsets.
    Offsets,
    /// OffsetForLeaderEpoch.
    Checks,
    /// The next Fetch, which names it: the session does not know its current state.
    Sends,
    /// Records: it is part of every Fetch without being named.
    Quiet,
}

impl Spot {
    const fn rests(self) -> bool {
        matches!(self, Self::Held | Self::Paused)
    }

    /// Returns whether a request to its broker is due or in flight.
    const fn is_work(self) -> bool {
        matches!(self, Self::Offsets | Self::Checks | Self::Sends | Self::Quiet)
    }
}

/// The work that is due at a broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Desk {
    pub(super) offsets: List,
    pub(super) checks: List,
    pub(super) sends: List,
    pub(super) quiet: List,
    /// What its fetch session has to forget.
    pub(super) forgets: List,
    /// Its node id at the last pass: the entry may be another broker's now.
    node: i32,
    /// Serial of its fetch session.
    pub(super) serial: u32,
    /// When the next Fetch may follow.
    pub(super) pace: Pace,
    /// Partitions that are held or paused; `calm` counts requests since their number changed.
    pub(super) resting: u32,
    pub(super) calm: u8,
    /// The session cannot be updated: the next request begins another one.
    pub(super) restarts: bool,
    /// Some of what has to be forgotten is not assigned any more.
    pub(super) ghosts: bool,
}

impl Desk {
    pub(crate) const EMPTY: Self = Self {
        offsets: List::EMPTY,
        checks: List::EMPTY,
        sends: List::EMPTY,
        quiet: List::EMPTY,
        forgets: List::EMPTY,
        node: 0,
        serial: 0,
        pace: Pace::NONE,
        resting: 0,
        calm: 0,
        restarts: false,
        ghosts: false,
    };

    /// Returns the list that a request of this kind, other than Fetch, is about.
    fn wants_requests(&mut self, kind: Kind) -> &mut List {
        if Some(kind) == Kind::EPOCHS { &mut self.checks } else { &mut self.offsets }
    }

    fn wants(&self) -> bool {
        !(self.offsets.is_empty()
            && self.checks.is_empty()
            && self.sends.is_empty()
            && self.quiet.is_empty())
    }
}

/// The lists that are not a broker's.
pub(super) struct Lists {
    homeless: List,
    waits: List,
    held: List,
    pub(super) requested: List,
    pub(super) news: List,
    /// Brokers with something to do.
    due: List,
    /// When the first of those that wait is due, at the earliest.
    pub(super) wake: Tick,
    /// When missing leaders are searched for again.
    pub(super) search: Tick,
    /// When the first lease ends of a partition that is not read from its leader.
    pub(super) lease: Tick,
}

impl Lists {
    pub(super) const EMPTY: Self = Self {
        homeless: List::EMPTY,
        waits: List::EMPTY,
        held: List::EMPTY,
        requested: List::EMPTY,
        news: List::EMPTY,
        due: List::EMPTY,
        wake: Tick::NEVER,
        search: Tick::ZERO,
        lease: Tick::NEVER,
    };
}

/// Stands for an error code: the broker does not support the request.
const LACKS: i16 = i16::MIN;

fn list_of<'l>(
    desks: &'l mut [Desk],
    lists: &'l mut Lists,
    spot: Spot,
    desk: Link,
) -> Option<&'l mut List> {
    let desk = desk.get().and_then(|at| desks.get_mut(at));
    match spot {
        Spot::None | Spot::Paused => None,
        Spot::Homeless => Some(&mut lists.homeless),
        Spot::Waits => Some(&mut lists.waits),
        Spot::Held => Some(&mut lists.held),
        Spot::Requested => Some(&mut lists.requested),
        Spot::Offsets => desk.map(|desk| &mut desk.offsets),
        Spot::Checks => desk.map(|desk| &mut desk.checks),
        Spot::Sends => desk.map(|desk| &mut desk.sends),
        Spot::Quiet => desk.map(|desk| &mut desk.quiet),
    }
}

/// Times at which the consumer has something to do, by what that is.
struct Timers {
    /// A refused partition is tried again.
    backoff: Tick,
    /// A leader gets to name a closer replica again.
    lease: Tick,
    /// Missing leaders are searched for again.
    search: Tick,
    /// A broker needs a connection, or memory, again.
    desks: Tick,
    /// Added partitions are held until then.
    growth: Tick,
}

impl Timers {
    fn first(self) -> Tick {
        let Self { backoff, lease, search, desks, growth } = self;
        backoff.min(lease).min(search).min(desks).min(growth)
    }
}

impl<'d> Consumer<'d> {
    /// Returns the list of a partition, and the broker of that list.
    fn spot(&self, cluster: &Cluster<'d>, part: usize) -> (Spot, Link) {
        let (read, entry) = (&self.reads[part], &cluster.table[part]);
        let ready = cluster.topics[usize::from(entry.topic)].ready;
        let leader = entry.broker().map_or(Link::NONE, Link::to);
        let unchecked = Kind::EPOCHS.is_some() && read.unchecked;
        let fetches = read.state == Activity::Fetch && !unchecked;
        let desk = match (ready, fetches) {
            (false, _) => Link::NONE,
            (true, false) => leader,
            (true, true) => self.source(cluster, part),
        };
        let spot = match read.state {
            Activity::Off | Activity::Parked => return (Spot::None, Link::NONE),
            _ if guard!("a refused partition waits", read.retry_at != Tick::ZERO) => {
                return (Spot::Waits, Link::NONE);
            }
            _ if guard!("what was requested is awaited", read.requested != 0) => {
                return (Spot::Requested, Link::NONE);
            }
            Activity::Fetch if guard!("what is paused is not fetched", read.paused) => Spot::Paused,
            #[cfg(feature = "ordered-growth")]
            Activity::Fetch if self.is_behind_growth(part) => Spot::Paused,
            Activity::Fetch if guard!("what is held is not fetched", self.is_held(part)) => {
                Spot::Held
            }
            _ if !ready => Spot::None,
            _ if desk.is_none() => Spot::Homeless,
            Activity::Resolve => Spot::Offsets,
            Activity::Fetch if unchecked => Spot::Checks,
            Activity::Fetch => {
                let sent = (read.sent_position, read.sent_epoch);
                let reported = guard!(
                    "a session learns new positions",
                    sent == (read.position, entry.epoch) => true
                );
                let known = desk.get().is_some_and(|at| self.desks[at].serial == read.session);
                let same = reported && known && !read.stale && read.session != 0;
                if same { Spot::Quiet } else { Spot::Sends }
            }
        };
        (spot, desk)
    }

    /// Moves a partition to its right list, after anything about it changed.
    #[inline(never)]
    pub(super) fn relink(&mut self, cluster: &Cluster<'d>, part: usize) {
        let (spot, desk) = self.spot(cluster, part);
        self.link(part, spot, desk);
    }

    pub(super) fn link(&mut self, part: usize, spot: Spot, desk: Link) {
        let Self { reads, desks, lists, by_work, by_forget, .. } = self;
        let read = &mut reads[part];
        let (old, old_desk) = (read.spot, read.desk);
        if (old, old_desk) != (spot, desk) {
            (read.spot, read.desk) = (spot, desk);
            if let Some(list) = list_of(desks, lists, old, old_desk) {
                by_work.remove(list, part);
            }
            if let Some(list) = list_of(desks, lists, spot, desk) {
                by_work.push_back(list, part);
            }
            if let (true, Some(at)) = (old.rests(), old_desk.get()) {
                (desks[at].resting, desks[at].calm) = (desks[at].resting - 1, 0);
            }
            if let (true, Some(at)) = (spot.rests(), desk.get()) {
                (desks[at].resting, desks[at].calm) = (desks[at].resting + 1, 0);
            }
        }
        // A partition that is not fetched must leave the session, or the broker continues to return
        // it.
        if let (Some(seat), true) = (read.seat.get(), read.session != 0) {
            let stays = matches!(spot, Spot::Sends | Spot::Quiet) && desk == read.seat;
            match guard!("what is not fetched leaves the session", stays => true) {
                true => by_forget.remove(&mut desks[seat].forgets, part),
                false => by_forget.push_back(&mut desks[seat].forgets, part),
            }
        }
        if matches!(spot, Spot::Sends | Spot::Quiet) && read.lease.until() != Tick::ZERO {
            lists.lease = lists.lease.min(read.lease.until());
        }
        if let (true, Some(at)) = (spot.is_work(), desk.get()) {
            self.due(at);
        }
    }

    /// Has the next Fetch name a partition whose position moved with the records that were read.
    pub(super) fn moved_on(&mut self, part: usize) {
        let read = &mut self.reads[part];
        (read.ended, read.ended_news) = (false, false);
        read.answered.set(Answered::Fully);
        #[cfg(feature = "ordered-growth")]
        {
            // Others may wait for it.
            self.dirty |= self.waits.any;
        }
        if read.spot == Spot::Quiet
            && let Some(at) = read.desk.get()
        {
            read.spot = Spot::Sends;
            let desk = &mut self.desks[at];
            self.by_work.remove(&mut desk.quiet, part);
            self.by_work.push_back(&mut desk.sends, part);
        }
    }

    /// Notes that there may be something to do at a broker.
    pub(super) fn due(&mut self, desk: usize) {
        self.by_due.push_back(&mut self.lists.due, desk);
        self.dirty = true;
    }

    /// Lets a refused partition wait until its time.
    pub(super) fn wait(&mut self, part: usize) {
        let wake = self.lists.wake.min(self.reads[part].retry_at);
        self.lists.wake = wake;
        self.link(part, Spot::Waits, Link::NONE);
        self.dirty = true;
    }

    fn wake(&mut self, cx: &Cx<'d>) {
        self.lists.wake = Tick::NEVER;
        let mut link = self.lists.waits.first();
        while let Some(part) = link.get() {
            link = self.by_work.next(part);
            let read = &mut self.reads[part];
            if read.retry_at <= cx.now {
                read.retry_at = Tick::ZERO;
                self.relink(&cx.cluster, part);
            } else {
                self.lists.wake = self.lists.wake.min(read.retry_at);
            }
        }
    }

    /// Continues what was held back: there is space to produce again.
    pub(crate) fn on_room(&mut self) {
        self.rooms = self.rooms.wrapping_add(1).max(1);
        while let Some(part) = self.lists.held.first().get() {
            let desk = self.reads[part].desk;
            let spot = if desk.is_none() { Spot::Homeless } else { Spot::Sends };
            self.link(part, spot, desk);
        }
    }

    pub(super) fn is_held(&self, part: usize) -> bool {
        self.reads[part].held == self.rooms
    }

    /// Requests metadata as long as leaders are missing: no other caller may be waiting for it.
    /// Returns when to do so again.
    fn search(&mut self, cx: &mut Cx<'d>) -> Tick {
        if self.lists.homeless.is_empty() {
            return Tick::NEVER;
        }
        if self.lists.search <= cx.now {
            self.lists.search = cx.now + SEARCH;
            for part in self.by_work.iter(&self.lists.homeless) {
                let entry = &cx.cluster.table[part];
                let topic = usize::from(entry.topic);
                if entry.index < cx.cluster.topics[topic].count {
                    cx.refresh(topic);
                }
            }
        }
        self.lists.search
    }

    /// Requests offsets and records where that is due; returns the time of the next pass.
    // Its frame ends before the next part's begins: a device has little stack.
    #[inline(never)]
    pub(crate) fn drive(&mut self, cx: &mut Cx<'d>) -> Tick {
        self.dirty = false;
        if self.lists.wake <= cx.now {
            self.wake(cx);
        }
        if cfg!(feature = "replicas") && self.lists.lease <= cx.now {
            self.end_leases(cx);
        }
        #[cfg(feature = "ordered-growth")]
        let growth = self.drive_growth(cx);
        #[cfg(not(feature = "ordered-growth"))]
        let growth = Tick::NEVER;
        let (backoff, lease) = (self.lists.wake, self.lists.lease);
        let search = self.search(cx);
        let mut desks = Tick::NEVER;
        let mut link = self.lists.due.first();
        while let Some(desk) = link.get() {
            link = self.by_due.next(desk);
            match self.serve(cx, desk) {
                Some(at) => desks = desks.min(at),
                None => self.by_due.remove(&mut self.lists.due, desk),
            }
        }
        Timers { backoff, lease, search, desks, growth }.first()
    }

    /// Sends the requests that are due at a broker. `None`: there are none, or their responses come
    /// first; else the latest time of the next pass.
    fn serve(&mut self, cx: &mut Cx<'d>, desk: usize) -> Option<Tick> {
        let broker = &cx.cluster.brokers[desk];
        let other = core::mem::replace(&mut self.desks[desk].node, broker.id) != broker.id;
        if other || !broker.used || broker.last.is_down() {
            // What was read from it as a replica is read elsewhere.
            let gone = !broker.used || broker.last.is_down();
            if other {
                self.desks[desk].pace = Pace::NONE;
            }
            self.review(cx, desk, |_| guard!("a replica that is gone is left", gone));
        }
        if !self.desks[desk].wants() {
            if self.desks[desk].ghosts {
                self.leave_session(&mut cx.cluster, desk);
            }
            return None;
        }
        let node = cx.cluster.brokers[desk].id;
        let conn = match cx.wish(node, Role::Fetch) {
            Wish::Ready(conn) => conn,
            Wish::Later(at) => {
                if self.desks[desk].ghosts {
                    self.leave_session(&mut cx.cluster, desk);
                }
                return Some(at);
            }
        };
        let throttled = cx.net.conns[conn].throttled_until;
        if guard!("a throttled broker is not read from", throttled > cx.now) {
            return Some(throttled);
        }
        if cx.net.conns[conn].session.serial != self.desks[desk].serial
            && cx.net.conns[conn].awaits(|kind| kind.row().owner == Owner::Consumer)
        {
            // Requested from another entry of the same broker.
            return Some(Tick::NEVER);
        }
        for (spot, kind) in [(Spot::Offsets, Kind::Offsets), (Spot::Sends, Kind::Fetch)] {
            if let Some(fault) = cx.net.conns[conn].versions.lacks(kind) {
                self.refuse_all(cx, (desk, spot), fault, |_, _| true);
            }
        }
        let fault = cx.net.conns[conn].lacks_names(Kind::Fetch);
        if let Some(fault) = guard!("what cannot be named is refused", fault => None) {
            for spot in [Spot::Sends, Spot::Quiet] {
                self.refuse_all(cx, (desk, spot), fault, Cluster::is_nameless);
            }
        }
        let over = self.beside_fetches(cx, conn, node);
        let mut fits = self.send_offsets(cx, (over, desk));
        fits &= self.send_checks(cx, (conn, desk));
        let mut at = cx.net.conns[conn].session.retry_at.max(self.next_fetch(desk));
        if self.sated && cx.net.conns[conn].is_shared() {
            at = Tick::NEVER;
        }
        if at <= cx.now {
            fits &= self.send_fetch(cx, (conn, desk));
        }
        match (fits, at > cx.now) {
            (false, _) => Some(cx.now + NO_ROOM),
            (true, true) => Some(at),
            (true, false) => None,
        }
    }

    /// Sends a request of this kind, not Fetch, about the partitions of its list, or about as many
    /// as fit: they wait for the response then. False: no space.
    pub(super) fn request(
        &mut self,
        cx: &mut Cx<'d>,
        (conn, desk): (usize, usize),
        kind: Kind,
    ) -> bool {
        let timeout = cx.settings.request_timeout;
        let mut most = usize::MAX;
        let (draft, count) = loop {
            let Self { desks, follows, by_work, .. } = self;
            let list = desks[desk].wants_requests(kind);
            let count = Self::group(&cx.cluster, follows, by_work, list, most);
            let list = *list;
            let named = self.named(&list, count);
            let draft = cx.net.draft(conn, cx.now, kind, &mut |w, version| {
                let plan = self.plan(&cx.cluster, version);
                #[cfg(feature = "read-committed")]
                let plan = super::plan::Plan { isolation: cx.settings.isolation(), ..plan };
                plan.write(w, kind, &named, timeout.millis())
            });
            match draft {
                Some(draft) => break (draft, count),
                None if count > 1 => most = count / 2,
                None => return false,
            }
        };
        for _ in 0..count {
            if let Some(part) = self.desks[desk].wants_requests(kind).first().get() {
                self.reads[part].requested = draft.correlation();
                self.link(part, Spot::Requested, Link::NONE);
            }
        }
        cx.net.send(cx.now, draft, [desk as u32, 0], timeout);
        true
    }

    /// Refuses partitions of a list: their broker does not support the request that they need.
    fn refuse_all(
        &mut self,
        cx: &mut Cx<'d>,
        (desk, spot): (usize, Spot),
        fault: PeerFault,
        which: impl Fn(&Cluster<'d>, usize) -> bool,
    ) {
        let list = list_of(&mut self.desks, &mut self.lists, spot, Link::to(desk));
        let mut link = list.map_or(Link::NONE, |list| list.first());
        while let Some(part) = link.get() {
            link = self.by_work.next(part);
            if which(&cx.cluster, part) {
                self.back_off(cx, part);
                self.report_failure(cx.now, part, (LACKS, false), Error::Peer(fault));
                self.wait(part);
            }
        }
    }

    /// Leaves a fetch session that cannot be updated, or is over: the next request begins another.
    pub(super) fn leave_session(&mut self, cluster: &mut Cluster<'d>, desk: usize) {
        self.desks[desk].restarts = guard!("a session that cannot be changed restarts", true);
        self.desks[desk].ghosts = false;
        while let Some(part) = self.by_forget.pop(&mut self.desks[desk].forgets) {
            self.forgotten(cluster, part);
        }
    }

    /// Notes that a partition is in no session any more; its entry is free if it is not assigned.
    pub(super) fn forgotten(&mut self, cluster: &mut Cluster<'d>, part: usize) {
        let read = &mut self.reads[part];
        (read.session, read.seat) = (0, Link::NONE);
        if read.state == Activity::Off {
            self.ghosts -= 1;
            cluster.table.release(part, CONSUMER);
        }
    }

    /// Frees the entries that wait for a session to forget them. False: there were none.
    pub(crate) fn free_ghosts(&mut self, cluster: &mut Cluster<'d>) -> bool {
        let found = guard!("what has to be forgotten makes room", self.ghosts > 0);
        for desk in 0..self.desks.len() {
            if found && self.desks[desk].ghosts {
                self.leave_session(cluster, desk);
            }
        }
        found
    }

    /// Reorders the first `most` entries of a list so that those of a topic are adjacent. Returns
    /// their number.
    pub(super) fn group(
        cluster: &Cluster<'d>,
        follows: &mut [Follow],
        nodes: &mut Nodes<'d>,
        list: &mut List,
        most: usize,
    ) -> usize {
        let (mut grouped, mut count) = (List::EMPTY, 0);
        while count < most
            && let Some(part) = nodes.pop(list)
        {
            let last = &mut follows[usize::from(cluster.table[part].topic)].last;
            match guard!("partitions of a topic stand together", last.get() => None) {
                Some(ahead) => nodes.push_after(&mut grouped, ahead, part),
                None => nodes.push_back(&mut grouped, part),
            }
            *last = Link::to(part);
            count += 1;
        }
        for part in nodes.iter(&grouped) {
            follows[usize::from(cluster.table[part].topic)].last = Link::NONE;
        }
        while let Some(part) = nodes.pop(list) {
            nodes.push_back(&mut grouped, part);
        }
        *list = grouped;
        count
    }
}
