//! The memory of a leader. All of it is zero when empty.

use core::mem::size_of;

use super::WORD;
use crate::has;
use crate::memory::{Link, Mem};
use crate::wire::consumer_protocol::Subscription;

/// Part of the bytes that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    at: u32,
    len: u32,
}

impl Piece {
    pub(crate) const EMPTY: Self = Self { at: 0, len: 0 };

    pub(super) const fn new(at: usize, len: usize) -> Self {
        Self { at: at as u32, len: len as u32 }
    }

    pub(super) const fn at(self) -> usize {
        self.at as usize
    }

    pub(super) const fn len(self) -> usize {
        self.len as usize
    }

    pub(super) const fn end(self) -> usize {
        self.at() + self.len()
    }

    /// Returns it of all that are kept.
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.at()..self.end()).unwrap_or_default()
    }

    pub(super) fn text(self, bytes: &[u8]) -> &str {
        str::from_utf8(self.of(bytes)).unwrap_or_default()
    }

    /// Reads it as the subscription of a member.
    pub(super) fn subscription(self, bytes: &[u8]) -> Option<Subscription<'_>> {
        if self.is_empty() { None } else { Subscription::read(self.of(bytes)).ok() }
    }

    pub(super) const fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// A member of the group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(super) id: Piece,
    /// Its instance id; empty for none.
    pub(super) instance: Piece,
    /// Its subscription, if that can be read.
    pub(super) data: Piece,
    /// The bit of its rack; 0 for none.
    pub(super) rack: u32,
    /// The generation of what it claims to own, -1 for none.
    pub(super) generation: i32,
    /// Partitions that it has in the plan, and the first of them.
    pub(super) seats: u32,
    pub(super) first: Link,
    /// How many of those that it owns it keeps.
    pub(super) keeps: u32,
    /// The next one in a [`Queue`].
    pub(super) next: Link,
    /// The version of its subscription.
    pub(super) version: i16,
}

impl Member {
    pub(crate) const EMPTY: Self = Self {
        id: Piece::EMPTY,
        instance: Piece::EMPTY,
        data: Piece::EMPTY,
        rack: 0,
        generation: 0,
        seats: 0,
        first: Link::NONE,
        keeps: 0,
        next: Link::NONE,
        version: 0,
    };
}

impl Member {
    /// Whether it can have partitions: its subscription was read.
    pub(super) const fn is_planned(&self) -> bool {
        !self.data.is_empty()
    }
}

/// Members that wait for a partition. Each is in at most one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queue {
    first: Link,
    last: Link,
}

impl Queue {
    pub(super) fn push(&mut self, members: &mut [Member], at: usize) {
        members[at].next = Link::NONE;
        match self.last.get() {
            Some(last) => members[last].next = Link::to(at),
            None => self.first = Link::to(at),
        }
        self.last = Link::to(at);
    }

    pub(super) fn pop(&mut self, members: &[Member]) -> Option<usize> {
        let at = self.first.get()?;
        self.first = members[at].next;
        if self.first.is_none() {
            self.last = Link::NONE;
        }
        Some(at)
    }

    fn iter(&self, members: &[Member]) -> impl Iterator<Item = usize> {
        let mut link = self.first;
        core::iter::from_fn(move || {
            let at = link.get()?;
            link = members[at].next;
            Some(at)
        })
    }

    /// Returns the first one that `is` true of: from this member on, else of all.
    pub(super) fn find_from(
        &self,
        members: &[Member],
        from: usize,
        is: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let behind = self.iter(members).find(|at| *at >= from && is(*at));
        behind.or_else(|| self.iter(members).find(|at| is(*at)))
    }

    pub(super) fn remove(&mut self, members: &mut [Member], at: usize) {
        let before = self.iter(members).find(|other| members[*other].next == Link::to(at));
        let next = members[at].next;
        match before {
            Some(before) => members[before].next = next,
            None => self.first = next,
        }
        if next.is_none() {
            self.last = before.map_or(Link::NONE, Link::to);
        }
    }
}

/// A topic of the group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topic {
    pub(super) name: Piece,
    /// Its partitions, 0 for one without metadata.
    pub(super) count: u32,
    /// Where they begin.
    pub(super) first: usize,
    /// How many members subscribe to it.
    pub(super) subscribers: u32,
    /// The next one that has as many partitions.
    pub(super) next: Link,
    /// Where its racks begin, and those of how many partitions have arrived.
    #[cfg(feature = "std")]
    pub(super) racks: (u32, u32),
}

impl Topic {
    pub(crate) const EMPTY: Self = Self {
        name: Piece::EMPTY,
        count: 0,
        first: 0,
        subscribers: 0,
        next: Link::NONE,
        #[cfg(feature = "std")]
        racks: (0, 0),
    };

    pub(super) const fn end(&self) -> usize {
        self.first + self.count as usize
    }
}

/// A partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    /// Who reads it in the plan.
    pub(super) owner: Link,
    /// Who claims to own it, by the highest generation.
    pub(super) claim: Link,
    /// The same of those whose generation is not the highest of the group.
    pub(super) before: Link,
    /// Another one claims it by the same generation.
    pub(super) disputed: bool,
    /// Nobody kept it.
    pub(super) fresh: bool,
    /// Who had it before it was moved within the plan.
    pub(super) from: Link,
    /// Its places in a chain: of moves, then of its owner.
    pub(super) next: Link,
    pub(super) prev: Link,
    /// The first move whose hash is this place.
    pub(super) moves: Link,
}

impl Seat {
    pub(crate) const EMPTY: Self = Self {
        owner: Link::NONE,
        claim: Link::NONE,
        before: Link::NONE,
        disputed: false,
        fresh: false,
        from: Link::NONE,
        next: Link::NONE,
        prev: Link::NONE,
        moves: Link::NONE,
    };
}

impl Seat {
    /// Returns who owns it already, so that no other one does.
    pub(super) const fn kept(&self) -> Option<usize> {
        if self.disputed { None } else { self.claim.get() }
    }
}

/// The racks of a partition's replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Racks {
    /// The bits of those that members are in.
    pub(super) known: u32,
    /// A sum that distinguishes sets of racks.
    pub(super) sum: u32,
}

impl Racks {
    pub(crate) const EMPTY: Self = Self { known: 0, sum: 0 };
}

/// The rack of a broker.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrokerRack {
    pub(super) id: i32,
    pub(super) racks: Racks,
}

#[cfg(feature = "std")]
impl BrokerRack {
    const EMPTY: Self = Self { id: 0, racks: Racks::EMPTY };
}

/// Racks that members may be in: bits of a word.
const RACKS: usize = if has::RACKS { u32::BITS as usize } else { 0 };

/// All of it.
pub(crate) struct LeaderMem<'d> {
    pub(crate) members: Mem<'d, Member>,
    pub(crate) topics: Mem<'d, Topic>,
    pub(crate) seats: Mem<'d, Seat>,
    /// Of the partitions, and the names of those that members are in; empty where racks are not
    /// considered.
    pub(crate) racks: Mem<'d, Racks>,
    pub(crate) rack_names: Mem<'d, Piece>,
    /// Of the brokers that a response names.
    #[cfg(feature = "std")]
    pub(crate) brokers: Mem<'d, BrokerRack>,
    /// A bit for each topic, in the words of each member.
    pub(crate) wants: Mem<'d, u32>,
    /// Member ids, instance ids and subscriptions.
    pub(crate) bytes: Mem<'d, u8>,
}

impl<'d> LeaderMem<'d> {
    /// None: a client that never leads.
    pub(crate) const fn none() -> Self {
        Self {
            members: Mem::Lent(&mut []),
            topics: Mem::Lent(&mut []),
            seats: Mem::Lent(&mut []),
            racks: Mem::Lent(&mut []),
            rack_names: Mem::Lent(&mut []),
            #[cfg(feature = "std")]
            brokers: Mem::Lent(&mut []),
            wants: Mem::Lent(&mut []),
            bytes: Mem::Lent(&mut []),
        }
    }

    /// Returns the bytes that a group of this size takes.
    pub(crate) const fn bytes(
        members: usize,
        topics: usize,
        partitions: usize,
        brokers: usize,
        bytes: usize,
    ) -> usize {
        // Members, with what each subscribes to.
        members * (size_of::<Member>() + topics.div_ceil(WORD) * size_of::<u32>())
            // Topics and partitions.
            + topics * size_of::<Topic>()
            + partitions * size_of::<Seat>()
            // Racks of partitions and of members.
            + if has::RACKS { partitions * size_of::<Racks>() } else { 0 }
            + if members == 0 { 0 } else { RACKS * size_of::<Piece>() }
            // Racks of brokers.
            + if members == 0 { 0 } else { broker_bytes(brokers) }
            // Texts and subscriptions.
            + bytes
    }

    /// Allocates [`LeaderMem::bytes`].
    #[cfg(feature = "alloc")]
    pub(crate) fn heap(
        members: usize,
        topics: usize,
        partitions: usize,
        _brokers: usize,
        bytes: usize,
    ) -> Self {
        Self {
            members: owned(members, Member::EMPTY),
            topics: owned(topics, Topic::EMPTY),
            seats: owned(partitions, Seat::EMPTY),
            racks: owned(if has::RACKS { partitions } else { 0 }, Racks::EMPTY),
            rack_names: owned(if members == 0 { 0 } else { RACKS }, Piece::EMPTY),
            #[cfg(feature = "std")]
            brokers: owned(if members > 0 && has::RACKS { _brokers } else { 0 }, BrokerRack::EMPTY),
            wants: owned(members * topics.div_ceil(WORD), 0),
            bytes: owned(bytes, 0),
        }
    }

    /// Returns the words that each member has in `wants`.
    pub(super) fn width(&self) -> usize {
        self.wants.len().checked_div(self.members.len()).unwrap_or(0)
    }

    /// Returns how many topics there may be.
    pub(super) fn most_topics(&self) -> usize {
        self.topics.len().min(self.width() * WORD)
    }
}

#[cfg(feature = "std")]
const fn broker_bytes(brokers: usize) -> usize {
    if has::RACKS { brokers * size_of::<BrokerRack>() } else { 0 }
}

#[cfg(not(feature = "std"))]
const fn broker_bytes(_: usize) -> usize {
    0
}

#[cfg(feature = "alloc")]
fn owned<T: Clone>(count: usize, empty: T) -> Mem<'static, T> {
    Mem::Owned(alloc::vec![empty; count].into_boxed_slice())
}

/// The memory of a leader as one value, all zero when new: see
/// [`Storage::leading`](crate::Storage::leading).
///
/// `MEMBERS` members, `TOPICS` topics, at most 32, `PARTITIONS` partitions, `BYTES` bytes of member
/// ids and subscriptions: about 90 for each member that subscribes to one topic, 4 more for each
/// partition that it reads.
pub struct LeaderMemory<
    const MEMBERS: usize,
    const TOPICS: usize,
    const PARTITIONS: usize,
    const BYTES: usize,
> {
    members: [Member; MEMBERS],
    topics: [Topic; TOPICS],
    seats: [Seat; PARTITIONS],
    wants: [u32; MEMBERS],
    bytes: [u8; BYTES],
}

impl<const MEMBERS: usize, const TOPICS: usize, const PARTITIONS: usize, const BYTES: usize>
    LeaderMemory<MEMBERS, TOPICS, PARTITIONS, BYTES>
{
    /// Creates empty memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            members: [Member::EMPTY; MEMBERS],
            topics: [Topic::EMPTY; TOPICS],
            seats: [Seat::EMPTY; PARTITIONS],
            wants: [0; MEMBERS],
            bytes: [0; BYTES],
        }
    }

    pub(crate) fn lend(&mut self) -> LeaderMem<'_> {
        LeaderMem {
            members: Mem::Lent(&mut self.members),
            topics: Mem::Lent(&mut self.topics),
            seats: Mem::Lent(&mut self.seats),
            racks: Mem::Lent(&mut []),
            rack_names: Mem::Lent(&mut []),
            #[cfg(feature = "std")]
            brokers: Mem::Lent(&mut []),
            wants: Mem::Lent(&mut self.wants),
            bytes: Mem::Lent(&mut self.bytes),
        }
    }
}

impl<const MEMBERS: usize, const TOPICS: usize, const PARTITIONS: usize, const BYTES: usize> Default
    for LeaderMemory<MEMBERS, TOPICS, PARTITIONS, BYTES>
{
    fn default() -> Self {
        Self::new()
    }
}
