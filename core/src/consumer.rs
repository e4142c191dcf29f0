//! Consumer: positions of assigned partitions, and the fetches that move them. A position only
//! jumps with an event that says so.

mod fetch;
mod offsets;
mod owner;
mod place;
mod plan;
mod records;

use crate::client::Setup;
use crate::cluster::{CONSUMER, Cluster};
use crate::config::Start;
use crate::connection::Net;
use crate::error::{Error, LimitKind, Misuse};
use crate::event::{Event, MoveReason, Unreadable};
use crate::id::{PartitionId, TopicId, TopicPartition};
use crate::memory::Mem;
use crate::time::Instant;

pub(crate) use fetch::FetchCx;
use offsets::OffsetsCx;
pub(crate) use owner::Cx;
pub(crate) use place::Place;
pub(crate) use records::{Found, Taken};

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
    /// Until there is room to produce, or until resumed.
    held: bool,
    /// What is on its way was asked before the position changed.
    stale: bool,
    /// A move or an assignment was not told yet.
    assigned_news: bool,
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
    /// Serial of the fetch session that it is part of.
    session: u32,
    /// Correlation id of the ListOffsets request that resolves it, 0 for none.
    asked: i32,
    retry_at: Instant,
    failing_since: Instant,
    moved: Option<(i64, i64, MoveReason)>,
    trouble: Option<Trouble>,
}

impl Read {
    pub(crate) const EMPTY: Self = Self {
        state: State::Off,
        paused: false,
        held: false,
        stale: false,
        assigned_news: false,
        failures: 0,
        told: 0,
        start: Start::Earliest,
        reset_from: 0,
        position: 0,
        last_epoch: 0,
        sent_position: 0,
        sent_epoch: 0,
        session: 0,
        asked: 0,
        retry_at: Instant::ZERO,
        failing_since: Instant::ZERO,
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
            session: self.session,
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
        (self.failures, self.told, self.retry_at) = (0, 0, Instant::ZERO);
    }

    /// A jump of the position, to be told; one that was not told yet is part of it.
    fn note_move(&mut self, to: i64, why: MoveReason) {
        let from = self.moved.map_or(self.position, |(from, ..)| from);
        self.moved = (from != to).then_some((from, to, why));
    }

    fn needs_offset(&self, now: Instant) -> bool {
        self.state == State::Resolve && self.asked == 0 && self.retry_at <= now
    }

    fn wants_records(&self, now: Instant) -> bool {
        self.state == State::Fetch && !self.paused && !self.held && self.retry_at <= now
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
}

impl Follow {
    pub(crate) const EMPTY: Self = Self {
        active: false,
        begun: false,
        blocked: false,
        start: Start::Earliest,
        first: 0,
        next: 0,
    };
}

/// See the module.
pub(crate) struct Consumer<'d> {
    reads: Mem<'d, Read>,
    /// No partition from here on was ever assigned.
    upto: usize,
    follows: Mem<'d, Follow>,
    /// Largest batch that can be received.
    rx_bytes: usize,
    session_serial: u32,
    turn: usize,
    /// Some partition has something to tell.
    pub(crate) news: bool,
    pub(crate) dirty: bool,
    pub(crate) deadline: Instant,
}

impl<'d> Consumer<'d> {
    pub(crate) fn new((reads, follows): (Mem<'d, Read>, Mem<'d, Follow>), setup: &Setup) -> Self {
        Self {
            reads,
            upto: 0,
            follows,
            rx_bytes: setup.rx_bytes,
            session_serial: 0,
            turn: 0,
            news: false,
            dirty: false,
            deadline: Instant::NEVER,
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
        now: Instant,
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
        if known.is_some_and(|part| cluster.table[part].used_by(CONSUMER)) {
            return Err(Error::Caller(Misuse::AlreadyAssigned));
        }
        let part = cluster
            .table
            .take(slot, partition, CONSUMER)
            .ok_or(Error::Limit { what: LimitKind::Partitions, needed: cluster.table.len() + 1 })?;
        self.reads[part] = Read::EMPTY;
        self.upto = self.upto.max(part + 1);
        self.reads[part].begin(start);
        self.begin_added(cluster, part);
        if cluster.topics[slot].ready && cluster.table[part].leader() < 0 {
            cluster.refresh(slot, now);
        }
        self.dirty = true;
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
            && entry.used_by(CONSUMER)
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
        self.follows[slot] = Follow { active: true, start, ..Follow::EMPTY };
        cluster.topics[slot].wants |= CONSUMER;
        cluster.topics.note_change(slot);
        Ok(())
    }

    /// Partitions of a topic that are added from now on are not taken up.
    pub(crate) fn unfollow(&mut self, cluster: &mut Cluster<'d>, slot: usize) {
        self.follows[slot] = Follow::EMPTY;
        cluster.topics[slot].wants &= !CONSUMER;
    }

    /// A topic is forgotten; nothing of it is assigned.
    pub(crate) fn forget(&mut self, cluster: &mut Cluster<'d>, slot: usize) {
        self.unfollow(cluster, slot);
        self.look_at_blocked(cluster);
    }

    /// There may be room for a partition of an `assign_all` now.
    fn look_at_blocked(&self, cluster: &mut Cluster<'d>) {
        for slot in (0..self.follows.len()).filter(|slot| self.follows[*slot].blocked) {
            cluster.topics.note_change(slot);
        }
    }

    /// Takes up what became known of a topic. `make_room` frees a table entry.
    pub(crate) fn on_changed(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Instant,
        slot: usize,
        mut make_room: impl FnMut(&mut Cluster<'d>) -> bool,
    ) {
        self.dirty = true;
        for part in cluster.table.of_topic(slot) {
            if self.reads[part].state == State::Resolve {
                self.begin_added(cluster, part);
            }
        }
        let follow = self.follows[slot];
        let topic = &cluster.topics[slot];
        if !follow.active || !topic.ready {
            return;
        }
        let (id, count) = (cluster.topic_id(slot), topic.count);
        let first = if follow.begun { follow.first } else { count };
        (self.follows[slot].begun, self.follows[slot].first) = (true, first);
        for index in follow.next..count {
            if cluster.table.find(slot, index).is_none()
                && cluster.table.room() == 0
                && !make_room(cluster)
            {
                if !self.follows[slot].blocked {
                    self.follows[slot].blocked = true;
                    let what = LimitKind::Partitions;
                    cluster.fail_topic(slot, Error::Limit { what, needed: count as usize });
                }
                break;
            }
            match self.assign(cluster, now, id, index, follow.start) {
                Ok(at) => {
                    let read = &mut self.reads[at.index as usize];
                    read.assigned_news = true;
                    // What appears after the assignment is read from its first record (R12).
                    let added = index >= first && cluster.config.read_added_from_first;
                    if guard!("added partitions are read from their first record", added) {
                        read.begin_first();
                    }
                    self.news = true;
                }
                // By hand, before: it stays as it is.
                Err(Error::Caller(Misuse::AlreadyAssigned)) => {}
                Err(_) => break,
            }
            self.follows[slot].next = index + 1;
        }
    }

    pub(crate) fn unassign(&mut self, cluster: &mut Cluster<'d>, net: &mut Net<'d>, part: usize) {
        // A session cannot forget what has no entry any more.
        fetch::restart_session(net, self.reads[part].session);
        self.reads[part] = Read::EMPTY;
        cluster.table.release(part, CONSUMER);
        self.look_at_blocked(cluster);
        self.dirty = true;
    }

    pub(crate) fn seek(&mut self, part: usize, to: Start) -> Result<(), Error> {
        Self::check(to)?;
        self.reads[part].begin(to);
        self.dirty = true;
        Ok(())
    }

    pub(crate) fn pause(&mut self, part: usize) {
        self.reads[part].paused = true;
    }

    pub(crate) fn hold(&mut self, part: usize, offset: i64) {
        let read = &mut self.reads[part];
        read.held = true;
        if read.state == State::Fetch {
            read.stale = true;
            read.position = offset.max(0);
        }
        self.dirty = true;
    }

    pub(crate) fn resume(&mut self, part: usize) {
        let read = &mut self.reads[part];
        (read.paused, read.held) = (false, false);
        self.dirty = true;
    }

    /// There is room to produce again: what was held back goes on.
    pub(crate) fn on_room(&mut self) {
        for read in self.reads[..self.upto].iter_mut().filter(|r| r.held) {
            read.held = false;
            self.dirty = true;
        }
    }

    /// A partition has another leader or leader epoch.
    pub(crate) fn on_leader(&mut self, _: &Cluster<'d>, _: usize) {
        self.dirty = true;
    }

    pub(crate) fn position(&self, part: usize) -> Option<i64> {
        let read = &self.reads[part];
        (read.state != State::Off && read.position >= 0).then_some(read.position)
    }

    /// The topic was made again: what is left of it is read from the first record.
    pub(crate) fn on_recreated(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        slot: usize,
    ) {
        let count = cluster.topics[slot].count;
        let follow = &mut self.follows[slot];
        (follow.next, follow.first) = (follow.next.min(count), 0);
        let follows = follow.active;
        for part in 0..self.upto {
            let entry = cluster.table[part];
            if !entry.used_by(CONSUMER) || usize::from(entry.topic) != slot {
                continue;
            }
            if follows && entry.index >= count {
                self.unassign(cluster, net, part);
                continue;
            }
            // Its session names the topic by the old id.
            fetch::restart_session(net, self.reads[part].session);
            let read = &mut self.reads[part];
            read.note_move(0, MoveReason::Recreated);
            // Who was not told of the partition yet knows no place that it left.
            let moved = read.moved.filter(|(from, ..)| *from > 0 && !read.assigned_news);
            read.begin_first();
            read.moved = moved;
            self.news = true;
        }
        self.dirty = true;
    }

    /// The next thing to tell of a partition.
    pub(crate) fn poll_event(&mut self, cluster: &Cluster<'d>) -> Option<Event<'static>> {
        if !self.news {
            return None;
        }
        for part in 0..self.upto {
            let read = &mut self.reads[part];
            if read.state == State::Off {
                continue;
            }
            let at = Self::id(cluster, part);
            if core::mem::take(&mut read.assigned_news) {
                let partition = Self::topic_partition(cluster, part);
                return Some(Event::Assigned { at, partition });
            }
            if let Some((from, to, why)) = read.moved.take() {
                return Some(Event::Moved { at, from, to, why });
            }
            if let Some(trouble) = read.trouble.take() {
                // It waits where it met it.
                let offset = read.position;
                return Some(match trouble {
                    Trouble::TooLarge { needed, next_offset } => {
                        Event::TooLarge { at, offset, next_offset, needed }
                    }
                    Trouble::Corrupt { why, next_offset } => {
                        Event::Corrupt { at, offset, next_offset, why }
                    }
                    Trouble::Failed(error) => Event::PartitionFailed { at, error },
                });
            }
        }
        self.news = false;
        None
    }

    /// The position moves to `to`, and the application is told.
    fn jump(&mut self, part: usize, to: i64, why: MoveReason) {
        let read = &mut self.reads[part];
        read.note_move(to, why);
        read.position = to;
        read.stale = true;
        self.news = true;
        self.dirty = true;
    }

    /// The partition waits for a seek.
    fn park(&mut self, part: usize, trouble: Trouble) {
        let read = &mut self.reads[part];
        read.state = State::Parked;
        read.stale = true;
        read.trouble = Some(trouble);
        self.news = true;
        self.dirty = true;
    }
}
