//! Partitions in use. A topic's partition count is only a number; an entry exists while somebody
//! produces to the partition or reads it. Producer and consumer keep their own state under the
//! same index.

use core::ops::{Deref, DerefMut};

use crate::memory::{Link, Mem};

/// Who uses an entry.
pub(crate) const PRODUCER: u8 = 1;
pub(crate) const CONSUMER: u8 = 2;

/// A partition in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partition {
    users: u8,
    /// Its leader was known at some time.
    pub(crate) known: bool,
    /// The application was not told of the new leader yet.
    pub(crate) moved: bool,
    /// Answers in a row with an older leader epoch.
    pub(crate) rewinds: u8,
    /// How often its leader said that it is none, since leader or epoch were news.
    pub(crate) refusals: u8,
    pub(crate) topic: u16,
    pub(crate) generation: u32,
    pub(crate) index: u32,
    /// Node id, -1 for none or unknown.
    pub(crate) leader: i32,
    /// -1 where brokers have none.
    pub(crate) epoch: i32,
    next: Link,
}

impl Partition {
    pub(crate) const EMPTY: Self = Self {
        users: 0,
        known: false,
        moved: false,
        rewinds: 0,
        refusals: 0,
        topic: 0,
        generation: 0,
        index: 0,
        leader: 0,
        epoch: 0,
        next: Link::NONE,
    };

    pub(crate) const fn used(&self) -> bool {
        self.users != 0
    }

    pub(crate) const fn used_by(&self, user: u8) -> bool {
        self.users & user != 0
    }

    /// Whether it is assigned, and led by this broker.
    pub(crate) const fn is_read_from(&self, node: i32) -> bool {
        self.used_by(CONSUMER) && self.leader == node
    }
}

/// All entries, and a hash index over (topic, partition).
pub(crate) struct Table<'d> {
    entries: Mem<'d, Partition>,
    heads: Mem<'d, Link>,
    /// No entry below this one is free.
    first_free: usize,
    used: usize,
}

impl<'d> Table<'d> {
    pub(crate) fn new(entries: Mem<'d, Partition>, heads: Mem<'d, Link>) -> Self {
        Self { entries, heads, first_free: 0, used: 0 }
    }

    fn bucket(&self, topic: usize, index: u32) -> usize {
        let mixed = (index ^ (topic as u32).wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
        (mixed >> 7) as usize % self.heads.len().max(1)
    }

    #[inline(never)]
    pub(crate) fn find(&self, topic: usize, index: u32) -> Option<usize> {
        let mut link = self.heads[self.bucket(topic, index)];
        while let Some(at) = link.get() {
            let entry = &self.entries[at];
            if entry.index == index && entry.topic as usize == topic {
                return Some(at);
            }
            link = entry.next;
        }
        None
    }

    /// How many more entries there is room for.
    pub(crate) fn room(&self) -> usize {
        self.entries.len() - self.used
    }

    /// The entry of a partition, made if need be; `None` when all are in use.
    pub(crate) fn take(&mut self, topic: usize, index: u32, user: u8) -> Option<usize> {
        if let Some(at) = self.find(topic, index) {
            self.entries[at].users |= user;
            return Some(at);
        }
        let free = self.entries[self.first_free..].iter().position(|p| !p.used())?;
        let at = self.first_free + free;
        self.first_free = at + 1;
        self.used += 1;
        let bucket = self.bucket(topic, index);
        self.entries[at] = Partition {
            users: user,
            topic: topic as u16,
            generation: self.entries[at].generation.wrapping_add(1),
            index,
            leader: -1,
            epoch: -1,
            next: self.heads[bucket],
            ..Partition::EMPTY
        };
        self.heads[bucket] = Link::to(at);
        Some(at)
    }

    /// One user is done with an entry; it is free when nobody else is left.
    pub(crate) fn release(&mut self, at: usize, user: u8) {
        self.entries[at].users &= !user;
        if self.entries[at].used() {
            return;
        }
        let entry = self.entries[at];
        let bucket = self.bucket(entry.topic as usize, entry.index);
        let mut link = self.heads[bucket];
        if link == Link::to(at) {
            self.heads[bucket] = entry.next;
        } else {
            while let Some(before) = link.get() {
                link = self.entries[before].next;
                if link == Link::to(at) {
                    self.entries[before].next = entry.next;
                }
            }
        }
        self.first_free = self.first_free.min(at);
        self.used -= 1;
    }
}

impl Deref for Table<'_> {
    type Target = [Partition];

    #[inline]
    fn deref(&self) -> &[Partition] {
        &self.entries
    }
}

impl DerefMut for Table<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Partition] {
        &mut self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Rng;
    use std::collections::HashMap;

    #[test]
    fn finds_what_was_taken_and_nothing_else() {
        let mut entries = [Partition::EMPTY; 40];
        let mut heads = [Link::NONE; 40];
        let mut table = Table::new(Mem::Lent(&mut entries), Mem::Lent(&mut heads));
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
        }
    }

    #[test]
    fn an_entry_stays_while_one_user_is_left() {
        let (mut entries, mut heads) = ([Partition::EMPTY; 2], [Link::NONE; 2]);
        let mut table = Table::new(Mem::Lent(&mut entries), Mem::Lent(&mut heads));
        let at = table.take(0, 7, PRODUCER).unwrap();
        let generation = table[at].generation;
        assert_eq!(table.take(0, 7, CONSUMER), Some(at));
        table.release(at, PRODUCER);
        assert_eq!(table.find(0, 7), Some(at));
        table.release(at, CONSUMER);
        assert_eq!(table.find(0, 7), None);
        assert_eq!(table.take(0, 7, CONSUMER), Some(at));
        assert_ne!(table[at].generation, generation, "an old id means nothing now");
    }
}
