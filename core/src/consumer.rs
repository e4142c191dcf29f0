//! Consumer: positions of assigned partitions, and the fetches that move them. A position only
//! jumps with an event that says so.

mod epochs;
mod fetch;
mod offsets;
mod owner;
mod place;
mod plan;
mod records;
mod replica;
mod work;

use crate::cluster::{CONSUMER, Cluster};
use crate::config::Start;
use crate::connection::Net;
use crate::error::{Error, LimitKind, Misuse};
use crate::event::{Event, MoveReason, Unreadable};
use crate::id::{PartitionId, TopicId, TopicPartition};
use crate::memory::{Link, Mem, Nodes};
use crate::setup::Setup;
use crate::time::Tick;
use crate::wire::Uuid;

pub(crate) use crate::memory::{Node as Knot, Nodes as Knots};
pub(crate) use fetch::FetchCx;
use offsets::OffsetsCx;
pub(crate) use owner::Cx;
pub(crate) use place::Place;
pub(crate) use records::{Found, Taken};
use replica::Lease;
pub(crate) use work::Desk;
use work::{Lists, Spot};

/// What a partition does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not assigned.
    Off,
    /// Its start has to be turned into an offset.
    Resolve,
    /// Read from its position on.
    Fetch,
    /// Waits for a seek: it met something that it must not pass on its own.
    Parked,
}

/// What the application has to be told of a partition.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Trouble {
    TooLarge { needed: usize, next_offset: i64 } = 1,
    Corrupt { why: Unreadable, next_offset: i64 },
    Failed(Error),
}

/// An assigned partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    state: State,
    paused: bool,
    /// The list that it is in, and at which broker.
    spot: Spot,
    desk: Link,
    /// Until there is room to produce once more than this, or until resumed; 0 for not held.
    held: u32,
    /// What was read may not be in the log any more: its leader epoch is another one since.
    unchecked: bool,
    /// What is on its way was asked before the position changed.
    stale: bool,
    /// A move or an assignment was not told yet.
    assigned_news: bool,
    /// That its position is known was not reported yet.
    positioned_news: bool,
    /// Nothing moved since it was read to the end; that was not reported yet.
    ended: bool,
    ended_news: bool,
    failures: u8,
    /// Error code that the application was told last, 0 for none since it went well.
    told: i16,
    start: Start,
    /// An out-of-range position that is being replaced, -1 for none.
    reset_from: i64,
    position: i64,
    /// Leader epoch of the last batch, -1 for none: the leader checks it for truncation.
    last_epoch: i32,
    /// What the leader was told last.
    sent_position: i64,
    sent_epoch: i32,
    /// Serial of the fetch session that it is part of, 0 for none, and the broker that has it.
    session: u32,
    seat: Link,
    /// Correlation id of the request that it waits for, other than Fetch; 0 for none.
    asked: i32,
    /// Zero when it does not wait.
    retry_at: Tick,
    lease: Lease,
    failing_since: Tick,
    /// A jump that was not told yet, and why. Not one value, which would be longer.
    moved_from: i64,
    moved_to: i64,
    moved: Option<MoveReason>,
    trouble: Option<Trouble>,
}

impl Read {
    pub(crate) const EMPTY: Self = Self {
        state: State::Off,
        paused: false,
        spot: Spot::None,
        desk: Link::NONE,
        held: 0,
        unchecked: false,
        stale: false,
        assigned_news: false,
        positioned_news: false,
        ended: false,
        ended_news: false,
        failures: 0,
        told: 0,
        start: Start::Earliest,
        reset_from: 0,
        position: 0,
        last_epoch: 0,
        sent_position: 0,
        sent_epoch: 0,
        session: 0,
        seat: Link::NONE,
        asked: 0,
        retry_at: Tick::ZERO,
        lease: Lease::NONE,
        failing_since: Tick::ZERO,
        moved_from: 0,
        moved_to: 0,
        moved: None,
        trouble: None,
    };

    #[inline(never)]
    fn begin(&mut self, start: Start) {
        *self = Self {
            state: match start {
                Start::Offset(_) => State::Fetch,
                _ => State::Resolve,
            },
            start,
            position: match start {
                Start::Offset(offset) => offset,
                _ => -1,
            },
            last_epoch: -1,
            reset_from: -1,
            stale: true,
            paused: self.paused,
            spot: self.spot,
            desk: self.desk,
            session: self.session,
            seat: self.seat,
            // Whatever the leader was told of it does not hold any more, also if that was 0.
            sent_position: -1,
            assigned_news: self.assigned_news,
            ..Self::EMPTY
        };
    }

    /// Begins at the first record: that is 0, unless something was deleted since; then the leader
    /// says so, and the start still is the earliest whatever is to be done with other positions.
    fn begin_first(&mut self) {
        self.begin(Start::Offset(0));
        self.start = Start::Earliest;
    }

    /// The epoch that was read last is another one, by the log that there is now. The session has
    /// to be told, also if the position stays.
    fn go_on_from(&mut self, epoch: i32) {
        (self.last_epoch, self.sent_position) = (epoch, -1);
    }

    /// A broker answered as it should.
    fn recovered(&mut self) {
        (self.failures, self.told, self.retry_at) = (0, 0, Tick::ZERO);
    }

    /// A jump of the position, to be told; one that was not told yet is part of it.
    fn note_move(&mut self, to: i64, why: MoveReason) {
        if self.moved.is_none() {
            self.moved_from = self.position;
        }
        self.moved_to = to;
        self.moved = (self.moved_from != to).then_some(why);
    }
}

/// A topic all of whose partitions are read, those to come included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Follow {
    active: bool,
    /// The partitions that were there at first are counted.
    begun: bool,
    blocked: bool,
    start: Start,
    /// Partitions that were there at first; what is above was added (R12).
    first: u32,
    next: u32,
    /// Its partitions were looked at since the topic is ready.
    seen: bool,
    /// The topic had no id on the wire then.
    nameless: bool,
    /// Its partitions begin paused.
    #[cfg(feature = "std")]
    paused: bool,
    /// The last of its partitions in a list that is being put into order.
    last: Link,
}

impl Follow {
    pub(crate) const EMPTY: Self = Self {
        active: false,
        begun: false,
        blocked: false,
        start: Start::Earliest,
        first: 0,
        next: 0,
        seen: false,
        nameless: false,
        #[cfg(feature = "std")]
        paused: false,
        last: Link::NONE,
    };
}

/// The memory of a consumer.
pub(crate) struct ConsumerMem<'d> {
    pub(crate) reads: Mem<'d, Read>,
    pub(crate) follows: Mem<'d, Follow>,
    pub(crate) desks: Mem<'d, Desk>,
    /// One place for each partition.
    pub(crate) by_work: Knots<'d>,
    pub(crate) by_forget: Knots<'d>,
    pub(crate) by_news: Knots<'d>,
    /// One place for each broker.
    pub(crate) by_due: Knots<'d>,
}

/// See the module.
pub(crate) struct Consumer<'d> {
    reads: Mem<'d, Read>,
    follows: Mem<'d, Follow>,
    /// By slot of the broker.
    desks: Mem<'d, Desk>,
    by_work: Nodes<'d>,
    by_forget: Nodes<'d>,
    by_news: Nodes<'d>,
    by_due: Nodes<'d>,
    lists: Lists,
    /// Largest batch that can be received.
    rx_bytes: usize,
    session_serial: u32,
    /// How often there was room to produce again, from 1.
    rooms: u32,
    /// Leaders may not name other replicas before this: one of them did not serve.
    rack_from: Tick,
    /// Entries that are not assigned any more and that a session has to forget.
    ghosts: u32,
    /// Followed topics with more partitions than there is memory for.
    blocked: u32,
    /// Some partition has something to tell.
    news: bool,
    dirty: bool,
    /// The application took no records for so long that they were dropped: none are fetched over
    /// a connection that others need, until it takes some again.
    sated: bool,
}

impl<'d> Consumer<'d> {
    pub(crate) fn new(memory: ConsumerMem<'d>, setup: &Setup) -> Self {
        Self {
            reads: memory.reads,
            follows: memory.follows,
            desks: memory.desks,
            by_work: memory.by_work,
            by_forget: memory.by_forget,
            by_news: memory.by_news,
            by_due: memory.by_due,
            lists: Lists::EMPTY,
            rx_bytes: setup.rx_bytes,
            session_serial: 0,
            rooms: 1,
            rack_from: Tick::ZERO,
            ghosts: 0,
            blocked: 0,
            news: false,
            dirty: false,
            sated: false,
        }
    }

    fn check(start: Start) -> Result<(), Error> {
        match start {
            Start::Offset(n) | Start::Timestamp(n) if n < 0 => Err(Error::Caller(Misuse::Negative)),
            _ => Ok(()),
        }
    }

    /// The entry of an id, unless it is no longer assigned.
    pub(crate) fn slot(&self, cluster: &Cluster<'d>, at: PartitionId) -> Option<usize> {
        let index = at.index as usize;
        let entry = cluster.table.get(index)?;
        let old = guard!("an old partition id means nothing", entry.generation != at.generation);
        let live = entry.used_by(CONSUMER) && !old;
        (live && self.reads[index].state != State::Off).then_some(index)
    }

    pub(crate) fn id(cluster: &Cluster<'d>, part: usize) -> PartitionId {
        PartitionId { index: part as u32, generation: cluster.table[part].generation }
    }

    pub(crate) fn topic_partition(cluster: &Cluster<'d>, part: usize) -> TopicPartition {
        let entry = &cluster.table[part];
        TopicPartition { topic: cluster.topic_id(usize::from(entry.topic)), partition: entry.index }
    }

    /// Assigns a partition, which need not exist yet.
    pub(crate) fn assign(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Tick,
        topic: TopicId,
        partition: u32,
        start: Start,
    ) -> Result<PartitionId, Error> {
        Self::check(start)?;
        let slot = cluster.topic_slot(topic).ok_or(Error::Caller(Misuse::StaleId))?;
        if partition >= i32::MAX as u32 {
            return Err(Error::Caller(Misuse::PartitionIndex));
        }
        let known = cluster.table.find(slot, partition);
        if known.is_some_and(|part| self.reads[part].state != State::Off) {
            return Err(Error::Caller(Misuse::AlreadyAssigned));
        }
        let part = cluster
            .table
            .take(slot, partition, CONSUMER)
            .ok_or(Error::Limit { what: LimitKind::Partitions, needed: cluster.table.len() + 1 })?;
        // A session may have it still, from before it was unassigned.
        let Read { session, seat, .. } = self.reads[part];
        self.ghosts -= u32::from(session != 0);
        self.reads[part] = Read { session, seat, ..Read::EMPTY };
        self.reads[part].begin(start);
        self.begin_added(cluster, part);
        self.relink(cluster, part);
        if cluster.topics[slot].ready && cluster.table[part].leader() < 0 {
            cluster.refresh(slot, now);
        }
        Ok(Self::id(cluster, part))
    }

    /// A partition that does not exist yet, assigned with a start that its leader has to resolve:
    /// whatever will be in there was written after the assignment (R12).
    fn begin_added(&mut self, cluster: &Cluster<'d>, part: usize) {
        let entry = &cluster.table[part];
        let topic = &cluster.topics[usize::from(entry.topic)];
        let read = &mut self.reads[part];
        if cluster.config.read_added_from_first
            && topic.ready
            && entry.index >= topic.count
            && read.state == State::Resolve
        {
            read.begin_first();
        }
    }

    /// Assigns all partitions of a topic, and those that are added later.
    pub(crate) fn assign_all(
        &mut self,
        cluster: &mut Cluster<'d>,
        topic: TopicId,
        start: Start,
    ) -> Result<(), Error> {
        Self::check(start)?;
        let slot = cluster.topic_slot(topic).ok_or(Error::Caller(Misuse::StaleId))?;
        if self.follows[slot].active {
            return Err(Error::Caller(Misuse::AlreadyAssigned));
        }
        let Follow { seen, nameless, .. } = self.follows[slot];
        self.follows[slot] = Follow { active: true, start, seen, nameless, ..Follow::EMPTY };
        cluster.topics[slot].wants |= CONSUMER;
        cluster.topics.note_change(slot);
        Ok(())
    }

    /// Partitions of a topic that was just assigned begin paused.
    #[cfg(feature = "std")]
    pub(crate) fn begin_paused(&mut self, cluster: &Cluster<'d>, topic: TopicId) {
        if let Some(slot) = cluster.topic_slot(topic) {
            self.follows[slot].paused = true;
        }
    }

    /// Partitions of a topic that are added from now on are not taken up.
    pub(crate) fn unfollow(&mut self, cluster: &mut Cluster<'d>, slot: usize) {
        let Follow { seen, nameless, blocked, .. } = self.follows[slot];
        self.blocked -= u32::from(blocked);
        self.follows[slot] = Follow { seen, nameless, ..Follow::EMPTY };
        cluster.topics[slot].wants &= !CONSUMER;
    }

    /// A topic is forgotten; nothing of it is assigned.
    pub(crate) fn forget(&mut self, cluster: &mut Cluster<'d>, slot: usize) {
        self.unfollow(cluster, slot);
        self.follows[slot] = Follow::EMPTY;
        self.look_at_blocked(cluster);
    }

    /// There may be room for a partition of an `assign_all` now.
    fn look_at_blocked(&self, cluster: &mut Cluster<'d>) {
        if self.blocked > 0 {
            for slot in (0..self.follows.len()).filter(|slot| self.follows[*slot].blocked) {
                cluster.topics.note_change(slot);
            }
        }
    }

    /// Takes up what became known of a topic. `make_room` frees a table entry.
    pub(crate) fn on_changed(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Tick,
        slot: usize,
        mut make_room: impl FnMut(&mut Cluster<'d>) -> bool,
    ) {
        let topic = &cluster.topics[slot];
        let (ready, count) = (topic.ready, topic.count);
        let nameless = topic.wire_id() == Uuid::ZERO;
        let follow = &mut self.follows[slot];
        let first = !core::mem::replace(&mut follow.seen, ready) && ready;
        let other = core::mem::replace(&mut follow.nameless, nameless) != nameless;
        if first || other {
            self.look_at(cluster, slot, other);
        }
        let follow = &self.follows[slot];
        if follow.active && ready && (!follow.begun || follow.next < count) {
            self.follow(cluster, now, slot, &mut make_room);
        }
    }

    /// A topic was described for the first time, or has an id on the wire, or none, from now on.
    fn look_at(&mut self, cluster: &Cluster<'d>, slot: usize, renamed: bool) {
        let mut link = cluster.table.first_of(slot);
        while let Some(part) = link.get() {
            link = cluster.table.next_of(part);
            if let (true, Some(desk)) = (renamed, self.reads[part].seat.get()) {
                self.desks[desk].anew = true;
            }
            self.begin_added(cluster, part);
            self.relink(cluster, part);
        }
    }

    /// Assigns what is new of a followed topic.
    fn follow(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Tick,
        slot: usize,
        make_room: &mut dyn FnMut(&mut Cluster<'d>) -> bool,
    ) {
        let follow = self.follows[slot];
        let (id, count) = (cluster.topic_id(slot), cluster.topics[slot].count);
        let first = if follow.begun { follow.first } else { count };
        (self.follows[slot].begun, self.follows[slot].first) = (true, first);
        for index in follow.next..count {
            if cluster.table.find(slot, index).is_none()
                && cluster.table.room() == 0
                && !self.free_ghosts(cluster)
                && !make_room(cluster)
            {
                if !core::mem::replace(&mut self.follows[slot].blocked, true) {
                    self.blocked += 1;
                    let what = LimitKind::Partitions;
                    cluster.fail_topic(slot, Error::Limit { what, needed: count as usize });
                }
                break;
            }
            match self.assign(cluster, now, id, index, follow.start) {
                Ok(at) => {
                    let part = at.index as usize;
                    let read = &mut self.reads[part];
                    read.assigned_news = true;
                    #[cfg(feature = "std")]
                    if follow.paused {
                        read.paused = true;
                        self.relink(cluster, part);
                    }
                    let read = &mut self.reads[part];
                    // What appears after the assignment is read from its first record (R12).
                    let added = index >= first && cluster.config.read_added_from_first;
                    if guard!("added partitions are read from their first record", added) {
                        read.begin_first();
                        self.relink(cluster, part);
                    }
                    self.tell(part);
                }
                // By hand, before: it stays as it is.
                Err(Error::Caller(Misuse::AlreadyAssigned)) => {}
                Err(_) => break,
            }
            self.follows[slot].next = index + 1;
        }
    }

    /// The application has to be told something of a partition.
    fn tell(&mut self, part: usize) {
        self.by_news.push_back(&mut self.lists.news, part);
        self.news = true;
    }

    pub(crate) fn unassign(&mut self, cluster: &mut Cluster<'d>, part: usize) {
        self.reads[part].state = State::Off;
        self.relink(cluster, part);
        self.by_news.remove(&mut self.lists.news, part);
        let Read { session, seat, .. } = self.reads[part];
        self.reads[part] = Read { session, seat, ..Read::EMPTY };
        // Its id means nothing any more, also if the entry stays.
        let entry = &mut cluster.table[part];
        entry.generation = entry.generation.wrapping_add(1);
        self.look_at_blocked(cluster);
        match seat.get().filter(|_| session != 0) {
            Some(desk) => {
                self.ghosts += 1;
                self.desks[desk].ghosts = true;
                self.due(desk);
            }
            None => cluster.table.release(part, CONSUMER),
        }
    }

    pub(crate) fn seek(
        &mut self,
        cluster: &Cluster<'d>,
        part: usize,
        to: Start,
    ) -> Result<(), Error> {
        Self::check(to)?;
        self.reads[part].begin(to);
        self.begin_added(cluster, part);
        self.relink(cluster, part);
        Ok(())
    }

    pub(crate) fn pause(&mut self, cluster: &Cluster<'d>, part: usize) {
        self.reads[part].paused = true;
        self.relink(cluster, part);
    }

    pub(crate) fn hold(&mut self, cluster: &Cluster<'d>, part: usize, offset: i64) {
        let read = &mut self.reads[part];
        read.held = self.rooms;
        if read.state == State::Fetch {
            read.stale = true;
            read.position = offset.max(0);
        }
        self.relink(cluster, part);
    }

    pub(crate) fn resume(&mut self, cluster: &Cluster<'d>, part: usize) {
        let read = &mut self.reads[part];
        (read.paused, read.held) = (false, 0);
        self.relink(cluster, part);
    }

    /// A partition has another leader or leader epoch.
    pub(crate) fn on_relocated(&mut self, cluster: &mut Cluster<'d>, now: Tick, part: usize) {
        self.doubt(part, cluster.table[part].epoch);
        self.reads[part].lease = Lease::NONE;
        self.relink(cluster, part);
        let entry = &cluster.table[part];
        let topic = usize::from(entry.topic);
        let missing = entry.broker().is_none() && entry.index < cluster.topics[topic].count;
        if missing && !matches!(self.reads[part].state, State::Off | State::Parked) {
            cluster.refresh(topic, now);
        }
    }

    /// The application left records for so long that they were dropped, or takes some again.
    pub(crate) fn set_sated(&mut self, sated: bool) {
        self.dirty |= core::mem::replace(&mut self.sated, sated) && !sated;
    }

    pub(crate) fn position(&self, part: usize) -> Option<i64> {
        let read = &self.reads[part];
        (read.state != State::Off && read.position >= 0).then_some(read.position)
    }

    /// The topic was made again: what is left of it is read from the first record.
    pub(crate) fn on_recreated(&mut self, cluster: &mut Cluster<'d>, _: &mut Net<'d>, slot: usize) {
        let count = cluster.topics[slot].count;
        let follow = &mut self.follows[slot];
        (follow.next, follow.first) = (follow.next.min(count), 0);
        let follows = follow.active;
        let mut link = cluster.table.first_of(slot);
        while let Some(part) = link.get() {
            link = cluster.table.next_of(part);
            // Its session names the topic by the old id.
            if let Some(desk) = self.reads[part].seat.get() {
                self.desks[desk].anew = guard!("a recreated topic's session begins anew", true);
                self.due(desk);
            }
            let index = cluster.table[part].index;
            if self.reads[part].state == State::Off {
                continue;
            }
            if follows && index >= count {
                self.unassign(cluster, part);
                continue;
            }
            let read = &mut self.reads[part];
            read.note_move(0, MoveReason::Recreated);
            // Who was not told of the partition yet knows no place that it left.
            let from = read.moved_from;
            let moved = read.moved.filter(|_| from > 0 && !read.assigned_news);
            read.begin_first();
            (read.moved, read.moved_from) = (moved, from);
            self.tell(part);
            self.relink(cluster, part);
        }
    }

    /// The next thing to tell of a partition.
    pub(crate) fn poll_event(&mut self, cluster: &Cluster<'d>) -> Option<Event<'static>> {
        while let Some(part) = self.lists.news.first().get() {
            if let Some(event) = self.event_of(cluster, part) {
                return Some(event);
            }
            self.by_news.remove(&mut self.lists.news, part);
        }
        self.news = false;
        None
    }

    fn event_of(&mut self, cluster: &Cluster<'d>, part: usize) -> Option<Event<'static>> {
        let read = &mut self.reads[part];
        let at = Self::id(cluster, part);
        if core::mem::take(&mut read.assigned_news) {
            let partition = Self::topic_partition(cluster, part);
            return Some(Event::Assigned { at, partition });
        }
        if let Some(why) = read.moved.take() {
            let (from, to) = (read.moved_from, read.moved_to);
            return Some(Event::Moved { at, from, to, why });
        }
        // It waits where it met it.
        let offset = read.position;
        if core::mem::take(&mut read.positioned_news) {
            return Some(Event::Positioned { at, offset });
        }
        if core::mem::take(&mut read.ended_news) {
            return Some(Event::EndOfPartition { at, offset });
        }
        Some(match read.trouble.take()? {
            Trouble::TooLarge { needed, next_offset } => {
                Event::TooLarge { at, offset, next_offset, needed }
            }
            Trouble::Corrupt { why, next_offset } => {
                Event::Corrupt { at, offset, next_offset, why }
            }
            Trouble::Failed(error) => Event::PartitionFailed { at, error },
        })
    }

    /// The position moves to `to`, and the application is told.
    fn jump(&mut self, cluster: &Cluster<'d>, part: usize, to: i64, why: MoveReason) {
        let read = &mut self.reads[part];
        read.note_move(to, why);
        read.position = to;
        read.stale = true;
        self.tell(part);
        self.relink(cluster, part);
    }

    /// The partition waits for a seek.
    fn park(&mut self, part: usize, trouble: Trouble) {
        let read = &mut self.reads[part];
        read.state = State::Parked;
        read.stale = true;
        read.trouble = Some(trouble);
        self.tell(part);
        self.link(part, Spot::None, Link::NONE);
    }
}
