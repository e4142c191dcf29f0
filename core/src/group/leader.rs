//! What the leader of a classic group computes: who reads which partition, from the subscriptions
//! of all members, by the assignors of Kafka's Java client. No I/O and no allocation.
//!
//! A plan takes these steps, each time from the beginning:
//!
//! 1. [`Leader::begin`], then [`Leader::member`] for each member of a JoinGroup response.
//! 2. [`Leader::count`] for each of [`Leader::topics`], from metadata that was requested after the
//!    JoinGroup response: an older count would leave out new partitions.
//! 3. Where racks are known, [`Leader::racks`] for each partition. A client has those of a Metadata
//!    response instead, which has brokers, replicas and counts in one pass (`replicas`).
//! 4. [`Leader::plan`], then [`Leader::write_assignment`] for each member.
//!
//! Texts are compared by their bytes. Java compares UTF-16 units, which differs for member ids with
//! characters beyond U+FFFF only: any order is as good for the group.

mod claims;
mod general;
mod memory;
mod racks;
mod range;
#[cfg(feature = "std")]
mod replicas;
mod sticky;

use core::cmp::Ordering;

use crate::config::Assignor;
use crate::error::{GroupError, LimitKind};
use crate::memory::Link;
use crate::wire::consumer_protocol::Subscription;
use crate::wire::{Full, Writer};

pub(crate) use memory::LeaderMem;
pub use memory::LeaderMemory;
use memory::{Member, Piece, Seat, Topic};

/// Topics in a word of the table of who subscribes to what.
const WORD: usize = 32;
/// Bytes of an assignment beside its topics: version, number of topics, no user data.
const FRAME: usize = 2 + 4 + 4;

/// See the module.
pub struct Leader<'d> {
    memory: LeaderMem<'d>,
    /// Members, topics and bytes that are in use.
    members: usize,
    topics: usize,
    used: usize,
    /// Partitions of all topics; `laid` once their places are known.
    seats: usize,
    laid: bool,
    /// Racks of members, and whether the plan considers them.
    racks: usize,
    near: bool,
    #[cfg(feature = "std")]
    arrival: replicas::Arrival,
}

impl<'d> Leader<'d> {
    pub(crate) const fn new(memory: LeaderMem<'d>) -> Self {
        Self {
            memory,
            members: 0,
            topics: 0,
            used: 0,
            seats: 0,
            laid: false,
            racks: 0,
            near: false,
            #[cfg(feature = "std")]
            arrival: replicas::Arrival::NONE,
        }
    }

    /// Allocates a leader of its own, for a group of at most this size.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn heap(members: usize, topics: usize, partitions: usize, bytes: usize) -> Self {
        Self::new(LeaderMem::heap(members, topics, partitions, 0, bytes))
    }

    /// Creates a leader with lent memory.
    pub fn lent<
        const MEMBERS: usize,
        const TOPICS: usize,
        const PARTS: usize,
        const BYTES: usize,
    >(
        memory: &'d mut LeaderMemory<MEMBERS, TOPICS, PARTS, BYTES>,
    ) -> Self {
        Self::new(memory.lend())
    }

    /// Forgets the group of the last round.
    pub const fn begin(&mut self) {
        (self.members, self.topics, self.used) = (0, 0, 0);
        (self.seats, self.laid) = (0, false);
        (self.racks, self.near) = (0, false);
        #[cfg(feature = "std")]
        {
            self.arrival = replicas::Arrival::NONE;
        }
    }

    /// Adds a member as a JoinGroup response has it. One whose subscription cannot be read gets an
    /// empty assignment, so that the others can work.
    ///
    /// # Errors
    /// [`GroupError::Limit`] when the group is larger than a limit of this client, which then
    /// cannot lead it.
    pub fn member(
        &mut self,
        id: &str,
        instance: Option<&str>,
        subscription: &[u8],
    ) -> Result<(), GroupError> {
        let at = self.members;
        if at >= self.memory.members.len() {
            return Err(limit(LimitKind::GroupMembers));
        }
        let read = Subscription::read(subscription).ok();
        let id = self.keep(id.as_bytes())?;
        let instance = self.keep(instance.unwrap_or_default().as_bytes())?;
        let data = if read.is_some() { self.keep(subscription)? } else { Piece::EMPTY };
        let rack = self.number_rack(read.as_ref().and_then(|read| read.rack))?;
        let version = read.map_or(0, |read| read.version);
        self.memory.members[at] = Member { id, instance, data, rack, version, ..Member::EMPTY };
        self.members += 1;
        self.add_topics(data)
    }

    /// Returns the names of all topics that some member subscribes to, in ascending order. The
    /// place of a name is what [`Leader::count`] takes.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.memory.topics[..self.topics].iter().map(|topic| topic.name.text(&self.memory.bytes))
    }

    /// Returns the place of a name in [`Leader::topics`].
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        search(&self.memory.topics[..self.topics], &self.memory.bytes, name.as_bytes()).ok()
    }

    /// Sets how many partitions a topic has; 0 for one without metadata, which drops out. So does
    /// one whose count is not set.
    pub fn count(&mut self, topic: usize, partitions: u32) {
        if let Some(topic) = self.memory.topics[..self.topics].get_mut(topic) {
            topic.count = partitions;
            self.laid = false;
        }
    }

    /// Returns how many partitions a topic has, as far as was said.
    pub(crate) fn counted(&self, topic: usize) -> u32 {
        self.memory.topics[..self.topics].get(topic).map_or(0, |topic| topic.count)
    }

    /// Computes who reads what.
    ///
    /// # Errors
    /// [`GroupError::Limit`] when the topics have more partitions than a limit of this client.
    pub fn plan(&mut self, assignor: Assignor) -> Result<(), GroupError> {
        self.lay_out()?;
        self.sort(assignor);
        self.note_subscribers();
        match assignor {
            Assignor::Range => self.range(),
            Assignor::RoundRobin => self.round_robin(),
            Assignor::Sticky => self.sticky(assignor),
            Assignor::CooperativeSticky => {
                self.sticky(assignor);
                self.withhold();
            }
        }
        self.chain();
        Ok(())
    }

    /// Returns how many members there are.
    #[must_use]
    pub const fn members(&self) -> usize {
        self.members
    }

    /// Returns the id of a member. [`Leader::plan`] orders them anew.
    #[must_use]
    pub fn id(&self, member: usize) -> &str {
        self.memory.members[..self.members]
            .get(member)
            .map_or("", |member| member.id.text(&self.memory.bytes))
    }

    /// Returns how many bytes the assignment of a member has.
    #[must_use]
    pub fn assignment_len(&self, member: usize) -> usize {
        let topic = |run: Run| 2 + self.memory.topics[run.topic].name.len() + 4 + 4 * run.len;
        FRAME + self.runs(member).map(topic).sum::<usize>()
    }

    /// Writes the assignment of a member (Kafka's `ConsumerProtocolAssignment`) in the version of
    /// its subscription. User data is null: brokers refuse members of KIP-848 beside any other.
    ///
    /// # Errors
    /// [`Full`] when the writer is.
    pub fn write_assignment(&self, member: usize, out: &mut Writer<'_>) -> Result<(), Full> {
        let version = self.memory.members[..self.members].get(member).map_or(0, |m| m.version);
        out.i16(version.min(3))?;
        out.count(false, Some(self.runs(member).count()))?;
        for run in self.runs(member) {
            let topic = &self.memory.topics[run.topic];
            out.str(false, topic.name.text(&self.memory.bytes))?;
            out.count(false, Some(run.len))?;
            let mut link = Link::to(run.first);
            for _ in 0..run.len {
                let Some(seat) = link.get() else { break };
                out.i32((seat - topic.first) as i32)?;
                link = self.memory.seats[seat].next;
            }
        }
        out.count(false, None)
    }
}

/// What a member reads of a topic.
struct Run {
    topic: usize,
    /// The first seat, and how many follow it in the chain with it.
    first: usize,
    len: usize,
}

impl Leader<'_> {
    /// Keeps bytes until the next round.
    fn keep(&mut self, bytes: &[u8]) -> Result<Piece, GroupError> {
        let room = self.memory.bytes.get_mut(self.used..).unwrap_or_default();
        let Some((to, _)) = room.split_at_mut_checked(bytes.len()) else {
            return Err(limit(LimitKind::GroupBytes));
        };
        to.copy_from_slice(bytes);
        let piece = Piece::new(self.used, bytes.len());
        self.used += bytes.len();
        Ok(piece)
    }

    /// Adds the topics of a subscription that was read before.
    fn add_topics(&mut self, data: Piece) -> Result<(), GroupError> {
        // The names follow version and number, each behind its length.
        let Some(names) = data.subscription(&self.memory.bytes).map(|read| read.topics.len())
        else {
            return Ok(());
        };
        let mut at = data.at() + 2 + 4;
        for _ in 0..names {
            let Some(&[high, low]) = self.memory.bytes.get(at..at + 2) else { break };
            let name = Piece::new(at + 2, usize::from(u16::from_be_bytes([high, low])));
            at = name.end();
            let (topics, bytes) = (&self.memory.topics[..self.topics], &self.memory.bytes);
            let Err(place) = search(topics, bytes, name.of(bytes)) else { continue };
            if self.topics >= self.memory.most_topics() {
                return Err(limit(LimitKind::Topics));
            }
            self.memory.topics[self.topics] = Topic { name, ..Topic::EMPTY };
            self.topics += 1;
            self.memory.topics[place..self.topics].rotate_right(1);
        }
        Ok(())
    }

    /// Gives each partition its place.
    fn lay_out(&mut self) -> Result<(), GroupError> {
        if self.laid {
            return Ok(());
        }
        let mut next = 0_usize;
        for topic in &mut self.memory.topics[..self.topics] {
            topic.first = next;
            next = next.saturating_add(topic.count as usize);
        }
        if next > self.memory.seats.len() {
            return Err(GroupError::Limit { what: LimitKind::GroupPartitions, needed: next });
        }
        (self.seats, self.laid) = (next, true);
        #[cfg(feature = "std")]
        self.place_racks();
        Ok(())
    }

    /// Orders the members as the assignor needs them: by instance id, then by member id, or by
    /// member id alone.
    fn sort(&mut self, assignor: Assignor) {
        let statics = matches!(assignor, Assignor::Range | Assignor::RoundRobin);
        let LeaderMem { members, bytes, .. } = &mut self.memory;
        heap_sort(&mut members[..self.members], &|a, b| {
            let by_id = a.id.of(bytes).cmp(b.id.of(bytes));
            let order = match (statics && !a.instance.is_empty(), statics && !b.instance.is_empty())
            {
                (true, true) => a.instance.of(bytes).cmp(b.instance.of(bytes)).then(by_id),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => by_id,
            };
            order == Ordering::Greater
        });
    }

    /// Notes who subscribes to what, and frees all seats.
    fn note_subscribers(&mut self) {
        self.memory.seats[..self.seats].fill(Seat::EMPTY);
        let width = self.memory.width();
        let LeaderMem { members, topics, wants, bytes, .. } = &mut self.memory;
        let topics = &mut topics[..self.topics];
        for topic in topics.iter_mut() {
            topic.subscribers = 0;
        }
        for (at, member) in members[..self.members].iter_mut().enumerate() {
            (member.first, member.seats) = (Link::NONE, 0);
            let wants = &mut wants[at * width..(at + 1) * width];
            wants.fill(0);
            let Some(read) = member.data.subscription(bytes) else { continue };
            for topic in read.topics.filter_map(|name| search(topics, bytes, name.as_bytes()).ok())
            {
                wants[topic / WORD] |= 1 << (topic % WORD);
            }
            // A name may be there twice.
            for (at, topic) in topics.iter_mut().enumerate() {
                topic.subscribers += wants[at / WORD] >> (at % WORD) & 1;
            }
        }
    }

    /// Whether a member subscribes to a topic.
    fn wants(&self, member: usize, topic: usize) -> bool {
        let word = self.memory.wants[member * self.memory.width() + topic / WORD];
        word >> (topic % WORD) & 1 == 1
    }

    /// Returns how many members subscribe to a topic.
    fn subscribers(&self, topic: usize) -> usize {
        self.memory.topics[topic].subscribers as usize
    }

    /// Gives a partition to a member.
    fn give(&mut self, seat: usize, member: usize) {
        self.memory.seats[seat].owner = Link::to(member);
        self.memory.members[member].seats += 1;
    }

    /// Chains the partitions of each member, in the order of the topics.
    fn chain(&mut self) {
        for seat in (0..self.seats).rev() {
            if let Some(owner) = self.memory.seats[seat].owner.get() {
                let first = &mut self.memory.members[owner].first;
                self.memory.seats[seat].next = core::mem::replace(first, Link::to(seat));
            }
        }
    }

    /// Iterates over what a member reads, topic by topic.
    fn runs(&self, member: usize) -> impl Iterator<Item = Run> {
        let members = &self.memory.members[..self.members];
        let mut link = members.get(member).map_or(Link::NONE, |member| member.first);
        let mut topic = 0;
        core::iter::from_fn(move || {
            let first = link.get()?;
            while self.memory.topics[topic].end() <= first {
                topic += 1;
            }
            let (end, mut len) = (self.memory.topics[topic].end(), 0);
            while let Some(seat) = link.get().filter(|seat| *seat < end) {
                (len, link) = (len + 1, self.memory.seats[seat].next);
            }
            Some(Run { topic, first, len })
        })
    }
}

/// Returns the place of a topic, or where it belongs.
fn search(topics: &[Topic], bytes: &[u8], name: &[u8]) -> Result<usize, usize> {
    topics.binary_search_by(|topic| topic.name.of(bytes).cmp(name))
}

/// How much would have been enough is not known before the last member.
const fn limit(what: LimitKind) -> GroupError {
    GroupError::Limit { what, needed: 0 }
}

/// Sorts members; `after`: the first one comes after the second. The library's sort would take two
/// kilobytes of the stack.
fn heap_sort(members: &mut [Member], after: &dyn Fn(&Member, &Member) -> bool) {
    for at in (0..members.len() / 2).rev() {
        sift(members, at, after);
    }
    for end in (1..members.len()).rev() {
        members.swap(0, end);
        sift(&mut members[..end], 0, after);
    }
}

/// Moves a member down to its place in the heap, whose first is the last in order.
fn sift(members: &mut [Member], mut at: usize, after: &dyn Fn(&Member, &Member) -> bool) {
    loop {
        let mut child = 2 * at + 1;
        if child + 1 < members.len() && after(&members[child + 1], &members[child]) {
            child += 1;
        }
        if child >= members.len() || !after(&members[child], &members[at]) {
            return;
        }
        members.swap(at, child);
        at = child;
    }
}
