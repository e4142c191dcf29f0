//! Partitions are read in the rack of a replica where that costs no balance (KIP-881), as by the
//! assignors of Java. Each member's rack is a bit: all of a partition's replicas are one word.

use super::Leader;
use super::memory::{Member, Queue, Racks};
use super::sticky::Quota;
use crate::error::GroupError;
use crate::has;
use crate::memory::Link;

/// Returns what distinguishes a rack in sums, never 0 (FNV-1a, also where no index needs hashes).
pub(super) fn sum_of(name: &[u8]) -> u32 {
    let add = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    name.iter().fold(0x811c_9dc5, add) | 1
}

impl Leader<'_> {
    /// Sets the racks of all replicas of a partition, once all counts are set. Where no racks are
    /// known, or no memory is there for them, plans do not consider racks.
    pub fn racks<'a>(
        &mut self,
        topic: usize,
        partition: u32,
        racks: impl Iterator<Item = &'a str> + Clone,
    ) {
        if !has::RACKS || topic >= self.topics || self.lay_out().is_err() {
            return;
        }
        let topic = self.memory.topics[topic];
        let seat = topic.first + partition as usize;
        if partition >= topic.count || seat >= self.memory.racks.len() {
            return;
        }
        let mut all = Racks::EMPTY;
        for (at, rack) in racks.clone().enumerate() {
            if racks.clone().take(at).any(|before| before == rack) {
                continue;
            }
            all.sum = all.sum.wrapping_add(sum_of(rack.as_bytes()));
            all.known |= self.bit_of(rack.as_bytes());
        }
        self.memory.racks[seat] = all;
    }

    /// Returns the bit of a rack, 0 for one without members.
    pub(super) fn bit_of(&self, rack: &[u8]) -> u32 {
        let names = &self.memory.rack_names[..self.racks];
        let at = names.iter().position(|name| name.of(&self.memory.bytes) == rack);
        at.map_or(0, |at| 1 << at)
    }

    /// Returns the bit of a member's rack, as its subscription names it. Those of more racks than
    /// bits are as if they had none.
    pub(super) fn number_rack(&mut self, rack: Option<&str>) -> Result<u32, GroupError> {
        let Some(rack) = rack.filter(|rack| has::RACKS && !rack.is_empty()) else { return Ok(0) };
        let bit = self.bit_of(rack.as_bytes());
        if bit != 0 || self.racks >= self.memory.rack_names.len() {
            return Ok(bit);
        }
        let name = self.keep(rack.as_bytes())?;
        self.memory.rack_names[self.racks] = name;
        self.racks += 1;
        Ok(1 << (self.racks - 1))
    }

    /// Whether racks are to be considered for these partitions and members: some rack matches, and
    /// not every partition is in every rack.
    fn are_racks_of_use(&self, seats: core::ops::Range<usize>, members: u32) -> bool {
        let Some(racks) = self.memory.racks.get(seats) else { return false };
        let any = racks.iter().fold(0, |any, racks| any | racks.known);
        let uniform = racks.iter().all(|other| Some(other) == racks.first());
        members & any != 0 && !uniform
    }

    /// Returns the racks of all members that `is` true of.
    fn racks_of(&self, is: impl Fn(usize) -> bool) -> u32 {
        let members = (0..self.members).filter(|at| is(*at));
        members.fold(0, |racks, at| racks | self.memory.members[at].rack)
    }

    /// Whether a member is in the rack of some replica; one without a rack is in all.
    fn is_near(&self, member: usize, seat: usize) -> bool {
        let rack = self.memory.members[member].rack;
        rack == 0 || self.memory.racks.get(seat).is_some_and(|racks| racks.known & rack != 0)
    }

    /// Decides whether the sticky assignors consider racks.
    pub(super) fn consider_racks(&mut self) {
        let racks = self.racks_of(|_| true);
        self.near = has::RACKS && self.are_racks_of_use(0..self.seats, racks);
    }

    /// Whether a member may keep or get a partition where racks matter.
    pub(super) fn fits(&self, member: usize, seat: usize) -> bool {
        !self.near || self.is_near(member, seat)
    }
}

/// Builds that do not consider racks have no use for those of replicas.
#[cfg(all(feature = "coverage", not(feature = "std")))]
#[expect(clippy::unused_self, reason = "as of builds that do")]
impl Leader<'_> {
    pub(crate) const fn wants_racks(&self) -> bool {
        false
    }

    pub(crate) const fn begin_racks(&mut self, _: bool) {}

    pub(crate) const fn have_racks_moved(&self) -> bool {
        false
    }
}

/// Range.
impl Leader<'_> {
    /// Divides topics with a view to racks; false if those are of no use.
    pub(super) fn range_by_rack(&mut self) -> bool {
        if !has::RACKS || !(0..self.topics).any(|topic| self.needs_racks(topic)) {
            return false;
        }
        for topic in 0..self.topics {
            // The others of its group are divided along with the first.
            let earlier = (0..topic).any(|other| self.are_divided_alike(other, topic));
            if !earlier && self.subscribers(topic) > 0 {
                self.divide(topic);
            }
        }
        true
    }

    fn needs_racks(&self, topic: usize) -> bool {
        let racks = self.racks_of(|member| self.wants(member, topic));
        let topic = &self.memory.topics[topic];
        self.are_racks_of_use(topic.first..topic.end(), racks)
    }

    /// Whether two topics have the same size and subscribers.
    fn are_divided_alike(&self, topic: usize, other: usize) -> bool {
        let (a, b) = (&self.memory.topics[topic], &self.memory.topics[other]);
        (a.count, a.subscribers) == (b.count, b.subscribers)
            && (0..self.members).all(|at| self.wants(at, topic) == self.wants(at, other))
    }

    /// Divides a topic and those that are divided alike.
    fn divide(&mut self, topic: usize) {
        self.chain_alike(topic);
        let (first, end) = (self.memory.topics[topic].first, self.memory.topics[topic].end());
        let subscribers = self.subscribers(topic);
        let (quota, mut extra) = ((end - first) / subscribers, (end - first) % subscribers);
        for member in &mut self.memory.members[..self.members] {
            member.keeps = 0;
        }
        if !self.memory.topics[topic].next.is_none() {
            for partition in 0..end - first {
                let mut members = (0..self.members).filter(|at| {
                    self.wants(*at, topic)
                        && self.room(*at, quota, extra) > 0
                        && self.alike(topic).all(|seat| self.is_near(*at, seat + partition))
                });
                if let Some(member) = members.next() {
                    self.grant(first + partition, member, quota, &mut extra);
                }
            }
        } else if self.needs_racks(topic) {
            self.fill(topic, quota, &mut extra, Self::is_near);
        }
        self.fill(topic, quota, &mut extra, |_, _, _| true);
        let mut link = self.memory.topics[topic].next;
        while let Some(other) = link.get() {
            link = self.memory.topics[other].next;
            for partition in 0..end - first {
                if let Some(owner) = self.memory.seats[first + partition].owner.get() {
                    self.give(self.memory.topics[other].first + partition, owner);
                }
            }
        }
    }

    /// Chains the topics behind this one that are divided alike.
    fn chain_alike(&mut self, topic: usize) {
        let mut next = Link::NONE;
        for other in (topic + 1..self.topics).rev() {
            if self.are_divided_alike(topic, other) {
                self.memory.topics[other].next = core::mem::replace(&mut next, Link::to(other));
            }
        }
        self.memory.topics[topic].next = next;
    }

    /// Iterates over the first partitions of the topics of a chain.
    fn alike(&self, topic: usize) -> impl Iterator<Item = usize> {
        let mut link = Link::to(topic);
        core::iter::from_fn(move || {
            let topic = &self.memory.topics[link.get()?];
            link = topic.next;
            Some(topic.first)
        })
    }

    /// Returns how many more partitions of a topic a member may have.
    fn room(&self, member: usize, quota: usize, extra: usize) -> usize {
        let most = quota + usize::from(extra > 0);
        most.saturating_sub(self.memory.members[member].keeps as usize)
    }

    fn grant(&mut self, seat: usize, member: usize, quota: usize, extra: &mut usize) {
        self.give(seat, member);
        self.memory.members[member].keeps += 1;
        if self.memory.members[member].keeps as usize > quota {
            *extra = extra.saturating_sub(1);
        }
    }

    /// Lets members in order take free partitions of a topic up to their quota.
    fn fill(
        &mut self,
        topic: usize,
        quota: usize,
        extra: &mut usize,
        may: impl Fn(&Self, usize, usize) -> bool,
    ) {
        for member in 0..self.members {
            if !self.wants(member, topic) {
                continue;
            }
            let mut room = self.room(member, quota, *extra);
            for seat in self.memory.topics[topic].first..self.memory.topics[topic].end() {
                if room == 0 {
                    break;
                }
                if self.memory.seats[seat].owner.is_none() && may(self, member, seat) {
                    self.grant(seat, member, quota, extra);
                    room -= 1;
                }
            }
        }
    }
}

/// Sticky, where all members subscribe to the same topics.
impl Leader<'_> {
    /// Chains the partitions that nobody has, those that the fewest members are near to first.
    pub(super) fn chain_free(&mut self) -> Link {
        let mut far = Link::NONE;
        for seat in (0..self.seats).rev() {
            if !self.memory.seats[seat].owner.is_none() {
                continue;
            }
            let known = self.memory.racks.get(seat).map_or(0, |racks| racks.known);
            let members = &mut self.memory.members[..self.members];
            let is_near = |member: &&Member| member.rack & known != 0;
            let near = if known == 0 { 0 } else { members.iter().filter(is_near).count() };
            let first = match near.checked_sub(1) {
                Some(at) => &mut members[at].first,
                None => &mut far,
            };
            self.memory.seats[seat].next = core::mem::replace(first, Link::to(seat));
        }
        // One chain of them all, built from its end.
        let mut chain = Link::NONE;
        for at in (0..=self.members).rev() {
            let first = match at.checked_sub(1) {
                Some(at) => core::mem::take(&mut self.memory.members[at].first),
                None => core::mem::take(&mut far),
            };
            let mut last = first;
            while let Some(next) = last.get().filter(|at| !self.memory.seats[*at].next.is_none()) {
                last = self.memory.seats[next].next;
            }
            if let Some(last) = last.get() {
                self.memory.seats[last].next = chain;
                chain = first;
            }
        }
        chain
    }

    /// Gives partitions of a chain to members that are near: in turn to those with too few, else to
    /// those that may have one more.
    pub(super) fn deal_by_rack(
        &mut self,
        mut link: Link,
        quota: &Quota,
        (under, even): (&mut Queue, &mut Queue),
    ) {
        let (mut next, mut more) = (0, self.above(quota));
        while let Some(seat) = link.get() {
            link = self.memory.seats[seat].next;
            let near = |leader: &Self, at: usize| {
                leader.memory.members[at].rack != 0 && leader.is_near(at, seat)
            };
            if let Some(member) = under.find_from(&self.memory.members, next, |at| near(self, at)) {
                self.give(seat, member);
                next = member + 1;
                let members = &mut self.memory.members[..self.members];
                if members[member].seats >= quota.least {
                    under.remove(members, member);
                    if more < quota.more {
                        even.push(members, member);
                    }
                }
            } else if let Some(member) =
                even.find_from(&self.memory.members, 0, |at| near(self, at))
            {
                self.give(seat, member);
                even.remove(&mut self.memory.members, member);
                more += 1;
                if more == quota.more {
                    *even = Queue::default();
                }
            }
        }
    }
}
