//! Partitions in use. A topic's partition count is only a number; an entry exists while the
//! partition is produced to or read. Producer and consumer keep their own state under the same
//! index.

use core::ops::{Deref, DerefMut};

use crate::memory::{Index, Link, List, Mem, Nodes, Place, Slots, hash};

/// The users of an entry.
pub(crate) const PRODUCER: u8 = 1;
pub(crate) const CONSUMER: u8 = 2;
/// The cluster itself, for a partition that producer or consumer are about to adopt.
pub(crate) const HELD: u8 = 4;
/// The member of a group.
#[cfg(feature = "group")]
pub(crate) const GROUP: u8 = 8;
/// Those that wait for the partitions before them.
#[cfg(feature = "ordered-growth")]
pub(crate) const GROWTH: u8 = 16;

/// The lists of partitions with news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    None,
    /// For producer and consumer.
    Relocated,
    /// For the application.
    Moved,
}

/// A partition in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partition {
    users: u8,
    /// Its leader was known at some time.
    pub(crate) known: bool,
    /// The new leader was not reported to the application yet.
    moved: bool,
    /// Which list of news it is in.
    listed: News,
    /// Responses in a row with an older leader epoch.
    pub(crate) rewinds: u8,
    /// How often its leader said that it is none, since leader or epoch last changed.
    pub(crate) refusals: u8,
    pub(crate) topic: u16,
    /// Slot of its leader among the brokers; none while that broker is unknown.
    broker: Link,
    pub(crate) generation: u32,
    pub(crate) index: u32,
    /// Node id, -1 for none or unknown.
    leader: i32,
    /// -1 where brokers have none.
    pub(crate) epoch: i32,
}

impl Partition {
    pub(crate) const EMPTY: Self = Self {
        users: 0,
        known: false,
        moved: false,
        listed: News::None,
        rewinds: 0,
        refusals: 0,
        topic: 0,
        broker: Link::NONE,
        generation: 0,
        index: 0,
        leader: 0,
        epoch: 0,
    };

    pub(crate) const fn used(&self) -> bool {
        self.users != 0
    }

    pub(crate) const fn used_by(&self, user: u8) -> bool {
        self.users & user != 0
    }

    pub(crate) const fn leader(&self) -> i32 {
        self.leader
    }

    /// Returns the slot of its leader among the brokers.
    pub(crate) const fn broker(&self) -> Option<usize> {
        self.broker.get()
    }
}

/// The memory of a [`Table`].
pub(crate) struct TableMem<'d> {
    pub(crate) entries: Mem<'d, Partition>,
    /// One place for each entry.
    pub(crate) heads: Mem<'d, Place>,
    pub(crate) chain: Mem<'d, Place>,
    pub(crate) by_topic: Nodes<'d>,
    pub(crate) by_leader: Nodes<'d>,
    pub(crate) by_news: Nodes<'d>,
    /// One for each topic.
    pub(crate) topics: Mem<'d, List>,
    /// One for each broker.
    pub(crate) led: Mem<'d, List>,
}

/// All entries; found by (topic, partition), and listed by topic, by leader and by what is news.
pub(crate) struct Table<'d> {
    entries: Mem<'d, Partition>,
    index: Index<'d>,
    by_topic: Nodes<'d>,
    by_leader: Nodes<'d>,
    by_news: Nodes<'d>,
    topics: Mem<'d, List>,
    led: Mem<'d, List>,
    /// Partitions whose leader is no broker that is remembered.
    stray: List,
    /// Partitions whose leader or epoch changed since producer and consumer last saw them.
    relocated: List,
    /// Partitions whose new leader was not reported to the application yet.
    moved: List,
    /// Brokers that lead something.
    leaders: usize,
    /// The links of free ones are kept in the nodes by topic.
    slots: Slots,
}

impl<'d> Table<'d> {
    pub(crate) fn new(memory: TableMem<'d>) -> Self {
        let count = memory.entries.len();
        Self {
            entries: memory.entries,
            index: Index::new(memory.heads, memory.chain),
            by_topic: memory.by_topic,
            by_leader: memory.by_leader,
            by_news: memory.by_news,
            topics: memory.topics,
            led: memory.led,
            stray: List::EMPTY,
            relocated: List::EMPTY,
            moved: List::EMPTY,
            leaders: 0,
            slots: Slots::new(count),
        }
    }

    #[inline(never)]
    pub(crate) fn find(&self, topic: usize, index: u32) -> Option<usize> {
        let mut link = self.index.first(mixed(topic, index));
        while let Some(at) = link.get() {
            let entry = &self.entries[at];
            if entry.index == index && entry.topic as usize == topic && entry.used() {
                return Some(at);
            }
            link = self.index.next(at);
        }
        None
    }

    /// Returns how many more entries fit.
    pub(crate) fn room(&self) -> usize {
        self.slots.left()
    }

    /// Returns the entry of a partition, made if necessary; `None` when all are in use.
    pub(crate) fn take(&mut self, topic: usize, index: u32, user: u8) -> Option<usize> {
        if let Some(at) = self.find(topic, index) {
            self.entries[at].users |= user;
            return Some(at);
        }
        let at = self.by_topic.take_free(&mut self.slots)?;
        self.entries[at] = Partition {
            users: user,
            topic: topic as u16,
            generation: self.entries[at].generation.wrapping_add(1),
            index,
            leader: -1,
            epoch: -1,
            ..Partition::EMPTY
        };
        self.index.insert(mixed(topic, index), at);
        self.by_topic.push_back(&mut self.topics[topic], at);
        Some(at)
    }

    /// Removes one user of an entry, which is free when no other is left.
    pub(crate) fn release(&mut self, at: usize, user: u8) {
        self.entries[at].users &= !user;
        let entry = self.entries[at];
        if guard!("an entry stays while one user is left", entry.used()) {
            return;
        }
        let topic = usize::from(entry.topic);
        self.index.remove(mixed(topic, entry.index), at);
        self.by_topic.remove(&mut self.topics[topic], at);
        self.by_topic.give_free(&mut self.slots, at);
        self.leave(at);
        self.list_news(at, News::None);
    }

    /// Returns the partitions of a topic that are in use.
    pub(crate) fn of_topic(&self, topic: usize) -> impl Iterator<Item = usize> + Clone {
        self.by_topic.iter(&self.topics[topic])
    }

    /// Returns the first of them; with `next_of` for loops during which the table changes.
    pub(crate) fn first_of(&self, topic: usize) -> Link {
        self.topics[topic].first()
    }

    pub(crate) fn next_of(&self, at: usize) -> Link {
        self.by_topic.next(at)
    }

    /// Returns the first partition in use that a broker leads; `next_led` returns the others.
    pub(crate) fn first_led(&self, broker: usize) -> Link {
        self.led[broker].first()
    }

    pub(crate) fn next_led(&self, at: usize) -> Link {
        self.by_leader.next(at)
    }

    /// Sets leader and epoch of a partition. `broker` is the leader's slot.
    pub(super) fn lead(&mut self, at: usize, leader: i32, epoch: i32, broker: Option<usize>) {
        let entry = &mut self.entries[at];
        let broker = broker.map_or(Link::NONE, Link::to);
        if (entry.leader, entry.epoch, entry.broker) == (leader, epoch, broker) {
            return;
        }
        if (entry.leader, entry.broker) != (leader, broker) {
            self.leave(at);
            let entry = &mut self.entries[at];
            (entry.leader, entry.broker) = (leader, broker);
            match broker.get() {
                Some(slot) => {
                    self.leaders += usize::from(self.led[slot].is_empty());
                    self.by_leader.push_back(&mut self.led[slot], at);
                }
                None if leader >= 0 => self.by_leader.push_back(&mut self.stray, at),
                None => {}
            }
        }
        self.entries[at].epoch = epoch;
        self.relocate(at);
    }

    /// Takes an entry out of its leader's list.
    fn leave(&mut self, at: usize) {
        let Some(slot) = self.entries[at].broker.get() else {
            return self.by_leader.remove(&mut self.stray, at);
        };
        self.by_leader.remove(&mut self.led[slot], at);
        self.leaders -= usize::from(self.led[slot].is_empty());
    }

    /// Returns how many brokers lead something that is in use.
    pub(crate) const fn leaders(&self) -> usize {
        self.leaders
    }

    /// Links partitions that waited for a broker, which has a slot now.
    pub(super) fn broker_came(&mut self, slot: usize, id: i32) {
        let mut link = self.stray.first();
        while let Some(at) = link.get() {
            link = self.by_leader.next(at);
            let Partition { leader, epoch, .. } = self.entries[at];
            if guard!("a leader is found when its broker comes", leader == id) {
                self.lead(at, leader, epoch, Some(slot));
            }
        }
    }

    /// Unlinks a broker that is forgotten: what it leads has an unknown leader.
    pub(super) fn broker_went(&mut self, slot: usize) {
        while let Some(at) = self.led[slot].first().get() {
            let Partition { leader, epoch, .. } = self.entries[at];
            self.lead(at, leader, epoch, None);
        }
    }

    /// Puts an entry into another list of news.
    fn list_news(&mut self, at: usize, to: News) {
        match core::mem::replace(&mut self.entries[at].listed, to) {
            News::None => {}
            News::Relocated => self.by_news.remove(&mut self.relocated, at),
            News::Moved => self.by_news.remove(&mut self.moved, at),
        }
        match to {
            News::None => {}
            News::Relocated => self.by_news.push_back(&mut self.relocated, at),
            News::Moved => self.by_news.push_back(&mut self.moved, at),
        }
    }

    /// Has producer and consumer check a partition again.
    fn relocate(&mut self, at: usize) {
        if self.entries[at].listed != News::Relocated {
            self.list_news(at, News::Relocated);
        }
    }

    pub(crate) const fn has_relocated(&self) -> bool {
        !self.relocated.is_empty()
    }

    /// Returns the next partition whose leader or epoch changed since producer and consumer last
    /// saw it. An event for the application comes after that.
    pub(crate) fn next_relocated(&mut self) -> Option<usize> {
        let at = self.relocated.first().get()?;
        let moved = guard!("a new leader is reported", self.entries[at].moved);
        let then = if moved { News::Moved } else { News::None };
        self.list_news(at, then);
        Some(at)
    }

    /// Notes a new leader to be reported to the application.
    pub(super) fn note_moved(&mut self, at: usize) {
        self.entries[at].moved = true;
        self.relocate(at);
    }

    pub(crate) const fn has_moved(&self) -> bool {
        !self.moved.is_empty()
    }

    /// Returns the next partition that has a new leader.
    pub(crate) fn next_moved(&mut self) -> Option<usize> {
        let at = self.moved.first().get()?;
        self.entries[at].moved = false;
        self.list_news(at, News::None);
        Some(at)
    }
}

fn mixed(topic: usize, index: u32) -> u32 {
    hash(index ^ (topic as u32).wrapping_mul(0x9e37_79b9))
}

impl<'d> Deref for Table<'d> {
    type Target = Mem<'d, Partition>;

    #[inline]
    fn deref(&self) -> &Mem<'d, Partition> {
        &self.entries
    }
}

impl<'d> DerefMut for Table<'d> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Mem<'d, Partition> {
        &mut self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Node, Rng};
    use alloc::vec;
    use alloc::vec::Vec;
    use std::collections::HashMap;

    fn with_table(size: usize, test: impl FnOnce(&mut Table<'_>)) {
        let nodes = || Nodes::new(Mem::Owned(vec![Node::EMPTY; size].into()));
        test(&mut Table::new(TableMem {
            entries: Mem::Owned(vec![Partition::EMPTY; size].into()),
            heads: Mem::Owned(vec![Place::NONE; size].into()),
            chain: Mem::Owned(vec![Place::NONE; size].into()),
            by_topic: nodes(),
            by_leader: nodes(),
            by_news: nodes(),
            topics: Mem::Owned(vec![List::EMPTY; 3].into()),
            led: Mem::Owned(vec![List::EMPTY; 4].into()),
        }));
    }

    #[test]
    fn finds_what_was_taken_and_nothing_else() {
        with_table(40, |table| {
            let mut rng = Rng::new([5; 32]);
            let mut model = HashMap::new();
            for step in 0..20_000 {
                let key = (rng.below(3) as usize, rng.below(30));
                if rng.below(2) == 0 {
                    match table.take(key.0, key.1, PRODUCER) {
                        Some(at) => assert_eq!(*model.entry(key).or_insert(at), at, "step {step}"),
                        None => assert_eq!((model.len(), table.room()), (40, 0), "step {step}"),
                    }
                } else if let Some(at) = model.remove(&key) {
                    table.release(at, PRODUCER);
                }
                assert_eq!(table.find(key.0, key.1), model.get(&key).copied(), "step {step}");
                assert_eq!(table.room(), 40 - model.len(), "step {step}");
                let mut listed: Vec<_> = table.of_topic(key.0).collect();
                let of_topic = model.iter().filter(|(other, _)| other.0 == key.0);
                let mut right: Vec<_> = of_topic.map(|(_, at)| *at).collect();
                listed.sort_unstable();
                right.sort_unstable();
                assert_eq!(listed, right, "step {step}");
            }
        });
    }

    #[test]
    fn an_entry_stays_while_one_user_is_left() {
        with_table(2, |table| {
            let at = table.take(0, 7, PRODUCER).unwrap();
            let generation = table[at].generation;
            assert_eq!(table.take(0, 7, CONSUMER), Some(at));
            table.release(at, PRODUCER);
            assert_eq!(table.find(0, 7), Some(at));
            table.release(at, CONSUMER);
            assert_eq!(table.find(0, 7), None);
            let again = table.take(0, 7, CONSUMER).unwrap();
            assert_eq!(again, at, "the last one used is the first free one");
            assert_ne!(table[at].generation, generation, "an old id means nothing now");
        });
    }

    /// Checks that the lists match the entries while leaders and partitions come, go and change.
    #[test]
    fn partitions_are_listed_by_leader_and_by_news() {
        with_table(12, |table| {
            let mut rng = Rng::new([6; 32]);
            // Broker 10 + n, if it is known, has slot n.
            let mut known = [false; 4];
            for step in 0..20_000 {
                let slot = rng.below(4) as usize;
                let at = table.find(0, rng.below(20));
                match (rng.below(8), at) {
                    (0, _) => drop(table.take(0, rng.below(20), CONSUMER)),
                    (1, Some(at)) => table.release(at, CONSUMER),
                    (2, _) if !known[slot] => {
                        known[slot] = true;
                        table.broker_came(slot, 10 + slot as i32);
                    }
                    (3, _) if known[slot] => {
                        known[slot] = false;
                        table.broker_went(slot);
                    }
                    (4, _) => drop(table.next_relocated()),
                    (5, _) => drop(table.next_moved()),
                    (6, Some(at)) => table.note_moved(at),
                    (_, Some(at)) => {
                        table.lead(at, 10 + slot as i32, step, known[slot].then_some(slot));
                    }
                    _ => {}
                }
                for (slot, known) in known.iter().enumerate() {
                    let mut link = table.first_led(slot);
                    let mut count = 0;
                    while let Some(at) = link.get() {
                        assert_eq!(table[at].leader(), 10 + slot as i32, "step {step}");
                        (link, count) = (table.next_led(at), count + 1);
                    }
                    let leads = |p: &&Partition| p.used() && p.leader() == 10 + slot as i32;
                    let right = table.iter().filter(leads).count();
                    assert_eq!(count, if *known { right } else { 0 }, "step {step}");
                }
                let pending = table.iter().filter(|p| p.used() && p.moved).count();
                let reported = table.by_news.iter(&table.moved).count();
                assert!(reported <= pending, "step {step}");
                assert!(table.has_relocated() || reported == pending, "step {step}");
            }
        });
    }
}
