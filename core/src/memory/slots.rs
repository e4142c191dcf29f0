//! Which entries of a table are free. Freed ones are taken first, the last freed before the others,
//! then those that were never used, so that untouched memory stays untouched.

use super::Link;

/// The free entries of a table. Each that was used keeps the link to the next one, in a place that
/// the table chooses.
pub(crate) struct Slots {
    /// The entry that was freed last.
    free: Link,
    /// Free ones of both kinds.
    left: usize,
    /// Entries from this index on were never used.
    untouched: usize,
}

impl Slots {
    /// Creates `count` free entries.
    pub(crate) const fn new(count: usize) -> Self {
        Self { free: Link::NONE, left: count, untouched: 0 }
    }

    pub(crate) const fn left(&self) -> usize {
        self.left
    }

    /// Returns a bound of the entries that were ever used.
    pub(crate) const fn untouched(&self) -> usize {
        self.untouched
    }

    /// Takes a free entry. `next` returns the link that a used entry keeps.
    #[inline]
    pub(crate) fn take(&mut self, next: impl FnOnce(usize) -> Link) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        match self.free.get() {
            Some(slot) => {
                self.free = next(slot);
                Some(slot)
            }
            None => {
                self.untouched += 1;
                Some(self.untouched - 1)
            }
        }
    }

    /// Frees `count` entries, each linked to the next, and returns the link that the last of them
    /// has to keep.
    #[inline]
    pub(crate) const fn give(&mut self, first: Link, count: usize) -> Link {
        let next = self.free;
        self.free = first;
        self.left += count;
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_taken_again_before_others_are_touched() {
        let mut links = [Link::NONE; 4];
        let mut slots = Slots::new(4);
        let take = |slots: &mut Slots, links: &[Link; 4]| slots.take(|slot| links[slot]);
        for slot in 0..3 {
            assert_eq!(take(&mut slots, &links), Some(slot));
        }
        assert_eq!((slots.left(), slots.untouched()), (1, 3));
        links[2] = slots.give(Link::to(2), 1);
        // Two at once: 0, then 1.
        links[0] = Link::to(1);
        links[1] = slots.give(Link::to(0), 2);
        assert_eq!(slots.left(), 4);
        for slot in [0, 1, 2, 3] {
            assert_eq!(take(&mut slots, &links), Some(slot));
        }
        assert_eq!((take(&mut slots, &links), slots.left()), (None, 0));
    }
}
