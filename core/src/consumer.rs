//! Consumer: positions of assigned partitions, and the fetches that move them. A position only
//! jumps with an event that reports it.

mod bookmark;
#[cfg(feature = "read-committed")]
mod committed;
mod epochs;
mod fetch;
mod follow;
#[cfg(feature = "group")]
mod group;
#[cfg(feature = "ordered-growth")]
mod growth;
mod obstacle;
mod offsets;
#[cfg(feature = "old-records")]
mod old;
mod owner;
mod pace;
mod plan;
mod records;
mod replica;
mod work;

use crate::cluster::{CONSUMER, Cluster, Cx};
use crate::config::Start;
use crate::error::{Error, LimitKind, Misuse};
use crate::event::{Event, MoveReason, Unreadable};
use crate::has::Reasons;
use crate::id::{PartitionId, TopicId, TopicPartition};
use crate::memory::{Link, Mem, Nodes};
use crate::setup::Setup;
use crate::time::Tick;

pub(crate) use crate::memory::{Node as Knot, Nodes as Knots};
pub(crate) use bookmark::Bookmark;
#[cfg(feature = "read-committed")]
pub(crate) use committed::{Aborted, AbortedMem};
pub(crate) use fetch::FetchMemo;
pub(crate) use follow::Follow;
#[cfg(feature = "ordered-growth")]
pub(crate) use growth::Bar;
use offsets::OffsetsMemo;
pub(crate) use owner::Memo;
pub(crate) use records::{Found, Taken};
use replica::Lease;
pub(crate) use work::Desk;
use work::{Lists, Spot};

/// What a partition does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// Not assigned.
    Off,
    /// Its start has to be turned into an offset.
    Resolve,
    /// Read from its position on.
    Fetch,
    /// Waits for a seek: it met something that it must not skip by itself.
    Parked,
}

/// What is to be reported to the application about a partition.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Trouble {
    TooLarge { needed: usize, next_offset: i64 } = 1,
    Corrupt { why: Unreadable, next_offset: i64 },
    Failed(Error),
}

/// Where reading begins, in half the bytes of a [`Start`]: a timestamp, as ListOffsets has it, or
/// an offset that is the position. The earliest record is all zero, as empty memory has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin(i64);

impl Origin {
    const EARLIEST: Self = Self::at(-2);
    const LATEST: Self = Self::at(-1);
    const POSITION: Self = Self::at(-3);

    const fn at(timestamp: i64) -> Self {
        Self(timestamp ^ -2)
    }

    /// Returns the timestamp for ListOffsets: milliseconds, or a negative number.
    const fn timestamp(self) -> i64 {
        self.0 ^ -2
    }

    const fn of(start: Start) -> Self {
        match start {
            Start::Earliest => Self::EARLIEST,
            Start::Latest => Self::LATEST,
            Start::Timestamp(ms) => Self::at(ms),
            Start::Offset(_) => Self::POSITION,
        }
    }
}

/// What a Fetch response has of a partition that it should have.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Answered {
    /// An error, records, or that there are none.
    Fully,
    /// Not even its name.
    Nothing,
    /// No records, though there are so many offsets up to the high watermark.
    Less(#[cfg_attr(not(feature = "pace"), allow(dead_code))] u32),
}

/// An assigned partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assignment {
    state: Activity,
    paused: bool,
    /// The list that it is in, and the broker of that list.
    spot: Spot,
    desk: Link,
    /// Held until there is space to produce once more than this, or until resumed; 0 for not held.
    held: u32,
    /// What was read may no longer be in the log: its leader epoch has changed since.
    unchecked: bool,
    /// The fetch in flight was sent before the position changed.
    stale: bool,
    /// An assignment was not reported yet.
    assigned_news: bool,
    /// The event that its position is known was not reported yet.
    positioned_news: bool,
    /// It was read to the end and has not moved since; the event was not reported yet.
    ended: bool,
    ended_news: bool,
    failures: u8,
    /// Error code that was reported to the application last, 0 for none since the last success.
    reported: i16,
    /// What was wrong with the last response, none since the last success.
    refused: Reasons<Option<Error>>,
    /// What the last response that had to name it has of it.
    answered: Reasons<Answered>,
    start: Origin,
    /// The position is out of range and is being replaced.
    resets: bool,
    position: i64,
    /// Leader epoch of the last batch, -1 for none: the leader checks it for truncation.
    last_epoch: i32,
    /// What was last sent to the leader.
    sent_position: i64,
    sent_epoch: i32,
    /// Serial of the fetch session that it is part of, 0 for none, and the broker that has it.
    session: u32,
    seat: Link,
    /// Correlation id of the request that it waits for, other than Fetch; 0 for none.
    requested: i32,
    /// Zero when it does not wait.
    retry_at: Tick,
    lease: Lease,
    failing_since: Tick,
    /// A jump to the position that was not reported yet, and why. Not one value, which would be
    /// longer.
    moved_from: i64,
    moved: Option<MoveReason>,
    trouble: Option<Trouble>,
}

impl Assignment {
    pub(crate) const EMPTY: Self = Self {
        state: Activity::Off,
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
        reported: 0,
        refused: Reasons::new(None),
        answered: Reasons::new(Answered::Fully),
        start: Origin::EARLIEST,
        resets: false,
        position: 0,
        last_epoch: 0,
        sent_position: 0,
        sent_epoch: 0,
        session: 0,
        seat: Link::NONE,
        requested: 0,
        retry_at: Tick::ZERO,
        lease: Lease::NONE,
        failing_since: Tick::ZERO,
        moved_from: 0,
        moved: None,
        trouble: None,
    };

    #[inline(never)]
    fn begin(&mut self, start: Start) {
        *self = Self {
            state: match start {
                Start::Offset(_) => Activity::Fetch,
                _ => Activity::Resolve,
            },
            start: Origin::of(start),
            position: match start {
                Start::Offset(offset) => offset,
                _ => -1,
            },
            last_epoch: -1,
            stale: true,
            paused: self.paused,
            spot: self.spot,
            desk: self.desk,
            session: self.session,
            seat: self.seat,
            lease: self.lease,
            // What was sent to the leader no longer holds, also if it was 0.
            sent_position: -1,
            assigned_news: self.assigned_news,
            ..Self::EMPTY
        };
    }

    /// Begins at the first record. Its offset is 0, unless something was deleted since; then the
    /// leader says so, and the start still is the earliest whatever the policy for other positions
    /// is.
    fn begin_first(&mut self) {
        self.begin(Start::Offset(0));
        (self.start, self.lease) = (Origin::EARLIEST, Lease::NONE);
    }

    /// Changes the epoch of the last record read to the one in the current log. The session has to
    /// be updated even if the position stays.
    fn go_on_from(&mut self, epoch: i32) {
        (self.last_epoch, self.sent_position) = (epoch, -1);
    }

    /// Notes that a broker responded without an error.
    fn recovered(&mut self) {
        (self.failures, self.reported, self.retry_at) = (0, 0, Tick::ZERO);
        self.refused.set(None);
    }

    /// Whether something of it is to be reported.
    fn has_news(&self) -> bool {
        self.assigned_news
            || self.positioned_news
            || self.ended_news
            || self.moved.is_some()
            || self.trouble.is_some()
    }

    /// Notes a jump of the position to be reported; one that was not reported yet becomes part of
    /// it.
    fn note_move(&mut self, to: i64, why: MoveReason) {
        if self.moved.is_none() {
            self.moved_from = self.position;
        }
        self.moved = (self.moved_from != to).then_some(why);
    }
}

/// The memory of a consumer.
pub(crate) struct ConsumerMem<'d> {
    pub(crate) reads: Mem<'d, Assignment>,
    pub(crate) follows: Mem<'d, Follow>,
    pub(crate) desks: Mem<'d, Desk>,
    /// One place for each partition.
    pub(crate) by_work: Knots<'d>,
    pub(crate) by_forget: Knots<'d>,
    pub(crate) by_news: Knots<'d>,
    /// One place for each broker.
    pub(crate) by_due: Knots<'d>,
    #[cfg(feature = "ordered-growth")]
    pub(crate) bars: Mem<'d, Bar>,
    #[cfg(feature = "read-committed")]
    pub(crate) aborted: AbortedMem<'d>,
}

/// See the module.
pub(crate) struct Consumer<'d> {
    reads: Mem<'d, Assignment>,
    follows: Mem<'d, Follow>,
    /// By slot of the broker.
    desks: Mem<'d, Desk>,
    by_work: Nodes<'d>,
    by_forget: Nodes<'d>,
    by_news: Nodes<'d>,
    by_due: Nodes<'d>,
    #[cfg(feature = "ordered-growth")]
    bars: Mem<'d, Bar>,
    #[cfg(feature = "ordered-growth")]
    waits: growth::Waits,
    #[cfg(feature = "read-committed")]
    aborted: AbortedMem<'d>,
    lists: Lists,
    /// Largest batch that can be received.
    rx_bytes: usize,
    session_serial: u32,
    /// Partitions that fit into a Fetch request last, and that may be tried next.
    room: (u16, u16),
    /// How often space to produce became available, from 1.
    rooms: u32,
    /// Leaders may not name other replicas before this: a replica failed to serve.
    rack_from: Tick,
    /// Entries that are not assigned any more and that a session has to forget.
    ghosts: u32,
    /// Followed topics with more partitions than there is memory for.
    blocked: u32,
    /// Some partition has something to report.
    news: bool,
    dirty: bool,
    /// The start of some partition was resolved since the group last looked.
    #[cfg(feature = "group")]
    resolved: bool,
    /// Partitions were assigned by a group.
    #[cfg(feature = "group")]
    aside: bool,
    /// Its next assignment is expected soon.
    #[cfg(feature = "group")]
    expects: bool,
    /// The application took no records for so long that they were dropped: none are fetched over a
    /// connection that others need, until it takes some again.
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
            #[cfg(feature = "ordered-growth")]
            bars: memory.bars,
            #[cfg(feature = "ordered-growth")]
            waits: growth::Waits::NONE,
            #[cfg(feature = "read-committed")]
            aborted: memory.aborted,
            lists: Lists::EMPTY,
            rx_bytes: setup.rx_bytes,
            session_serial: 0,
            room: (u16::MAX, u16::MAX),
            rooms: 1,
            rack_from: Tick::ZERO,
            ghosts: 0,
            blocked: 0,
            news: false,
            dirty: false,
            #[cfg(feature = "group")]
            resolved: false,
            #[cfg(feature = "group")]
            aside: false,
            #[cfg(feature = "group")]
            expects: false,
            sated: false,
        }
    }

    fn check(start: Start) -> Result<(), Error> {
        match start {
            Start::Offset(n) | Start::Timestamp(n) if n < 0 => Err(Error::Caller(Misuse::Negative)),
            _ => Ok(()),
        }
    }

    /// Returns the entry of an id, unless it is no longer assigned.
    pub(crate) fn slot(&self, cluster: &Cluster<'d>, at: PartitionId) -> Option<usize> {
        let index = at.index as usize;
        let entry = cluster.table.get(index)?;
        let old = guard!("an old partition id means nothing", entry.generation != at.generation);
        let live = entry.used_by(CONSUMER) && !old;
        (live && self.reads[index].state != Activity::Off).then_some(index)
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
        cx: &mut Cx<'d>,
        topic: TopicId,
        partition: u32,
        start: Start,
    ) -> Result<PartitionId, Error> {
        Self::check(start)?;
        let slot = cx.cluster.topic_slot(topic).ok_or(Error::Caller(Misuse::StaleId))?;
        if partition >= i32::MAX as u32 {
            return Err(Error::Caller(Misuse::PartitionIndex));
        }
        let known = cx.cluster.table.find(slot, partition);
        if known.is_some_and(|part| self.reads[part].state != Activity::Off) {
            return Err(Error::Caller(Misuse::AlreadyAssigned));
        }
        let part = cx.cluster.table.take(slot, partition, CONSUMER).ok_or(Error::Limit {
            what: LimitKind::Partitions,
            needed: cx.cluster.table.len() + 1,
        })?;
        // A session may have it still, from before it was unassigned.
        let Assignment { session, seat, .. } = self.reads[part];
        self.ghosts -= u32::from(session != 0);
        self.reads[part] = Assignment { session, seat, ..Assignment::EMPTY };
        self.reads[part].begin(start);
        self.begin_added(cx, part);
        self.relink(&cx.cluster, part);
        if cx.cluster.topics[slot].ready && cx.cluster.table[part].leader() < 0 {
            cx.refresh(slot);
        }
        Ok(Self::id(&cx.cluster, part))
    }

    /// Begins at the first record if a partition does not exist yet and its start would have to be
    /// resolved by its leader: all its records will be written after the assignment (R12).
    fn begin_added(&mut self, cx: &Cx<'d>, part: usize) {
        let entry = &cx.cluster.table[part];
        let topic = &cx.cluster.topics[usize::from(entry.topic)];
        let read = &mut self.reads[part];
        if cx.settings.read_added_from_first
            && topic.ready
            && entry.index >= topic.count
            && read.state == Activity::Resolve
        {
            read.begin_first();
            self.note_resolved();
        }
    }

    #[cfg(not(feature = "group"))]
    fn beside_fetches(&self, _: &Cx<'d>, conn: usize, _: i32) -> usize {
        conn
    }

    /// Notes that the start of a partition is known.
    fn note_resolved(&mut self) {
        #[cfg(feature = "group")]
        {
            self.resolved = true;
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
        self.follows[slot] = Follow { active: true, start, ..self.follows[slot].anew() };
        cluster.topics[slot].wants |= CONSUMER;
        cluster.topics.note_change(slot);
        Ok(())
    }

    /// Has the partitions of a topic that was just assigned begin paused.
    #[cfg(feature = "std")]
    pub(crate) fn begin_paused(&mut self, cluster: &Cluster<'d>, topic: TopicId) {
        if let Some(slot) = cluster.topic_slot(topic) {
            self.follows[slot].paused = true;
        }
    }

    /// Stops assigning partitions of a topic that are added from now on.
    pub(crate) fn unfollow(&mut self, cluster: &mut Cluster<'d>, slot: usize) {
        self.blocked -= u32::from(self.follows[slot].blocked);
        self.follows[slot] = self.follows[slot].anew();
        cluster.topics[slot].wants &= !CONSUMER;
    }

    /// Forgets a topic, of which nothing is assigned.
    pub(crate) fn forget(&mut self, cluster: &mut Cluster<'d>, slot: usize) {
        self.unfollow(cluster, slot);
        #[cfg(feature = "ordered-growth")]
        self.forget_growth(cluster, slot);
        self.follows[slot] = Follow::EMPTY;
        self.examine_blocked(cluster);
    }

    /// Checks topics of an `assign_all` again: another of their partitions may fit now.
    fn examine_blocked(&self, cluster: &mut Cluster<'d>) {
        if self.blocked > 0 {
            for slot in (0..self.follows.len()).filter(|slot| self.follows[*slot].blocked) {
                cluster.topics.note_change(slot);
            }
        }
    }

    /// Applies what became known of a topic. `make_room` frees a table entry.
    pub(crate) fn on_changed(
        &mut self,
        cx: &mut Cx<'d>,
        slot: usize,
        mut make_room: impl FnMut(&mut Cx<'d>) -> bool,
    ) {
        let topic = &cx.cluster.topics[slot];
        let (ready, count) = (topic.ready, topic.count);
        let nameless = topic.lacks_id();
        #[cfg(feature = "ordered-growth")]
        self.note_count(cx, slot);
        let follow = &mut self.follows[slot];
        let first = !core::mem::replace(&mut follow.seen, ready) && ready;
        let other = core::mem::replace(&mut follow.nameless, nameless) != nameless;
        if first || other {
            self.examine(cx, slot, other);
        }
        let follow = &self.follows[slot];
        if follow.active && ready && (!follow.begun || follow.next < count) {
            self.follow(cx, slot, &mut make_room);
        }
    }

    /// Checks the partitions of a topic that was described for the first time, or whose id on the
    /// wire appeared or disappeared.
    fn examine(&mut self, cx: &Cx<'d>, slot: usize, renamed: bool) {
        let mut link = cx.cluster.table.first_of(slot);
        while let Some(part) = link.get() {
            link = cx.cluster.table.next_of(part);
            if let (true, Some(desk)) = (renamed, self.reads[part].seat.get()) {
                self.desks[desk].restarts = true;
            }
            self.begin_added(cx, part);
            self.relink(&cx.cluster, part);
        }
    }

    /// Assigns the new partitions of a followed topic.
    fn follow(
        &mut self,
        cx: &mut Cx<'d>,
        slot: usize,
        make_room: &mut dyn FnMut(&mut Cx<'d>) -> bool,
    ) {
        let follow = self.follows[slot];
        let (id, count) = (cx.cluster.topic_id(slot), cx.cluster.topics[slot].count);
        let first = if follow.begun { follow.first } else { count };
        (self.follows[slot].begun, self.follows[slot].first) = (true, first);
        for index in follow.next..count {
            if cx.cluster.table.find(slot, index).is_none()
                && cx.cluster.table.room() == 0
                && !self.free_ghosts(&mut cx.cluster)
                && !make_room(cx)
            {
                if !core::mem::replace(&mut self.follows[slot].blocked, true) {
                    self.blocked += 1;
                    let what = LimitKind::Partitions;
                    cx.cluster.fail_topic(slot, Error::Limit { what, needed: count as usize });
                }
                break;
            }
            match self.assign(cx, id, index, follow.start) {
                Ok(at) => {
                    let part = at.index as usize;
                    let read = &mut self.reads[part];
                    read.assigned_news = true;
                    #[cfg(feature = "std")]
                    if follow.paused {
                        read.paused = true;
                        self.relink(&cx.cluster, part);
                    }
                    let read = &mut self.reads[part];
                    // Partitions that appear after the assignment are read from their first record
                    // (R12).
                    let added = index >= first && cx.settings.read_added_from_first;
                    if guard!("added partitions are read from their first record", added) {
                        read.begin_first();
                        self.relink(&cx.cluster, part);
                        #[cfg(feature = "ordered-growth")]
                        self.hold_added(cx, part, first, false);
                    }
                    self.report(part);
                }
                // Assigned by hand before: it stays as it is.
                Err(Error::Caller(Misuse::AlreadyAssigned)) => {}
                Err(_) => break,
            }
            self.follows[slot].next = index + 1;
        }
    }

    /// Notes that a partition has something to report to the application.
    fn report(&mut self, part: usize) {
        self.by_news.push_back(&mut self.lists.news, part);
        self.news = true;
    }

    pub(crate) fn unassign(&mut self, cluster: &mut Cluster<'d>, part: usize) {
        self.reads[part].state = Activity::Off;
        #[cfg(feature = "ordered-growth")]
        self.unhold(cluster, part);
        self.relink(cluster, part);
        self.by_news.remove(&mut self.lists.news, part);
        let Assignment { session, seat, .. } = self.reads[part];
        self.reads[part] = Assignment { session, seat, ..Assignment::EMPTY };
        // Its id becomes invalid, also if the entry stays.
        let entry = &mut cluster.table[part];
        entry.generation = entry.generation.wrapping_add(1);
        self.examine_blocked(cluster);
        match seat.get().filter(|_| session != 0) {
            Some(desk) => {
                self.ghosts += 1;
                self.desks[desk].ghosts = true;
                self.due(desk);
            }
            None => cluster.table.release(part, CONSUMER),
        }
    }

    pub(crate) fn seek(&mut self, cx: &Cx<'d>, part: usize, to: Start) -> Result<(), Error> {
        Self::check(to)?;
        self.reads[part].begin(to);
        self.begin_added(cx, part);
        self.relink(&cx.cluster, part);
        Ok(())
    }

    /// Reads a parked partition again from where it is.
    #[cfg(feature = "alloc")]
    pub(crate) fn retry(&mut self, cx: &Cx<'d>, part: usize) {
        let read = &mut self.reads[part];
        let Assignment { state, position, last_epoch, .. } = *read;
        if state == Activity::Parked && position >= 0 {
            read.begin(Start::Offset(position));
            read.go_on_from(guard!("a retry keeps the epoch", last_epoch => -1));
            self.relink(&cx.cluster, part);
        }
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn set_rx_bytes(&mut self, bytes: usize) {
        self.rx_bytes = bytes;
    }

    pub(crate) fn pause(&mut self, cluster: &Cluster<'d>, part: usize) {
        self.reads[part].paused = true;
        self.relink(cluster, part);
    }

    pub(crate) fn hold(&mut self, cluster: &Cluster<'d>, part: usize, offset: i64) {
        let read = &mut self.reads[part];
        read.held = self.rooms;
        if read.state == Activity::Fetch {
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

    /// Handles a change of a partition's leader or leader epoch.
    pub(crate) fn on_relocated(&mut self, cx: &mut Cx<'d>, part: usize) {
        self.doubt(part, cx.cluster.table[part].epoch);
        self.reads[part].lease = Lease::NONE;
        self.relink(&cx.cluster, part);
        let entry = &cx.cluster.table[part];
        let topic = usize::from(entry.topic);
        let missing = entry.broker().is_none() && entry.index < cx.cluster.topics[topic].count;
        if missing && !matches!(self.reads[part].state, Activity::Off | Activity::Parked) {
            cx.refresh(topic);
        }
    }

    /// Notes that the application left records for so long that they were dropped, or takes some
    /// again.
    pub(crate) fn set_sated(&mut self, sated: bool) {
        self.dirty |= core::mem::replace(&mut self.sated, sated) && !sated;
    }

    pub(crate) fn position(&self, part: usize) -> Option<i64> {
        let read = &self.reads[part];
        (read.state != Activity::Off && read.position >= 0).then_some(read.position)
    }

    /// Handles a recreated topic: its remaining partitions are read from the first record.
    pub(crate) fn on_recreated(&mut self, cx: &mut Cx<'d>, slot: usize) {
        let count = cx.cluster.topics[slot].count;
        #[cfg(feature = "ordered-growth")]
        self.forget_growth(&mut cx.cluster, slot);
        let follow = &mut self.follows[slot];
        (follow.next, follow.first) = (follow.next.min(count), 0);
        let follows = follow.active;
        let mut link = cx.cluster.table.first_of(slot);
        while let Some(part) = link.get() {
            link = cx.cluster.table.next_of(part);
            // Its session names the topic by the old id.
            if let Some(desk) = self.reads[part].seat.get() {
                self.desks[desk].restarts = guard!("a recreated topic's session restarts", true);
                self.due(desk);
            }
            let index = cx.cluster.table[part].index;
            if self.reads[part].state == Activity::Off {
                continue;
            }
            if follows && index >= count {
                self.unassign(&mut cx.cluster, part);
                continue;
            }
            let read = &mut self.reads[part];
            read.note_move(0, MoveReason::Recreated);
            // An assignment that was not reported yet has no position to move from.
            let from = read.moved_from;
            let moved = read.moved.filter(|_| from > 0 && !read.assigned_news);
            read.begin_first();
            (read.moved, read.moved_from) = (moved, from);
            self.note_resolved();
            self.report(part);
            self.relink(&cx.cluster, part);
        }
    }

    /// Returns the next event of a partition.
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
            let (from, to) = (read.moved_from, read.position);
            return Some(Event::Moved { at, from, to, why });
        }
        // The position is still where the trouble is.
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

    /// Moves the position to `to` and reports that to the application.
    fn jump(&mut self, cluster: &Cluster<'d>, part: usize, to: i64, why: MoveReason) {
        let read = &mut self.reads[part];
        read.note_move(to, why);
        read.position = to;
        read.stale = true;
        self.report(part);
        self.relink(cluster, part);
    }

    /// Parks the partition until a seek.
    fn park(&mut self, part: usize, trouble: Trouble) {
        let read = &mut self.reads[part];
        read.state = Activity::Parked;
        read.stale = true;
        read.trouble = Some(trouble);
        self.report(part);
        self.link(part, Spot::None, Link::NONE);
    }
}
