//! Doubly linked lists over the indices of a table: work lists, in which finding, inserting and
//! removing an entry takes constant time.

use super::{Link, Mem, Slots};

/// The place of an entry in a list. The ends point to themselves, so that an entry without links is
/// in no list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    next: Link,
    before: Link,
}

impl Node {
    pub(crate) const EMPTY: Self = Self { next: Link::NONE, before: Link::NONE };
}

/// A list: its ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    first: Link,
    last: Link,
}

impl List {
    pub(crate) const EMPTY: Self = Self { first: Link::NONE, last: Link::NONE };

    pub(crate) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) const fn first(&self) -> Link {
        self.first
    }

    pub(crate) const fn last(&self) -> Link {
        self.last
    }
}

/// The places of all entries of a table. Each is in at most one of the lists that share it.
pub(crate) struct Nodes<'d>(Mem<'d, Node>);

impl<'d> Nodes<'d> {
    pub(crate) const fn new(nodes: Mem<'d, Node>) -> Self {
        Self(nodes)
    }

    /// Whether an entry is in a list.
    #[inline]
    pub(crate) fn contains(&self, at: usize) -> bool {
        !self.0[at].next.is_none()
    }

    /// Takes a free entry of a table whose free entries are in no list and keep their links here.
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) fn take_free(&self, slots: &mut Slots) -> Option<usize> {
        slots.take(|at| self.0[at].before)
    }

    /// Frees an entry that is in no list.
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) fn give_free(&mut self, slots: &mut Slots, at: usize) {
        self.0[at] = Node { next: Link::NONE, before: slots.give(Link::to(at), 1) };
    }

    /// Returns the entry after this one, which is in a list.
    #[cfg_attr(feature = "std", inline)]
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) fn next(&self, at: usize) -> Link {
        let next = self.0[at].next;
        if next == Link::to(at) { Link::NONE } else { next }
    }

    /// Iterates over the entries of a list.
    pub(crate) fn iter(&self, list: &List) -> impl Iterator<Item = usize> + Clone {
        let mut link = list.first;
        core::iter::from_fn(move || {
            let at = link.get()?;
            link = self.next(at);
            Some(at)
        })
    }

    /// Appends an entry, unless it is in a list.
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) fn push_back(&mut self, list: &mut List, at: usize) {
        if guard!("an entry is in a list once", self.contains(at)) {
            return;
        }
        let me = Link::to(at);
        let before = match list.last.get() {
            Some(last) => {
                self.0[last].next = me;
                list.last
            }
            None => {
                list.first = me;
                me
            }
        };
        self.0[at] = Node { next: me, before };
        list.last = me;
    }

    /// Inserts an entry right after another one, if that is in this list; else at the end.
    #[cfg(any(feature = "producer", feature = "consumer"))]
    pub(crate) fn push_after(&mut self, list: &mut List, other: usize, at: usize) {
        let next = self.next(other);
        let Some(behind) = next.get().filter(|_| self.contains(other) && !self.contains(at)) else {
            return self.push_back(list, at);
        };
        self.0[at] = Node { next, before: Link::to(other) };
        self.0[other].next = Link::to(at);
        self.0[behind].before = Link::to(at);
    }

    /// Removes an entry, if it is in this list.
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) fn remove(&mut self, list: &mut List, at: usize) {
        let Node { next, before } = core::mem::replace(&mut self.0[at], Node::EMPTY);
        let (Some(behind), Some(ahead), me) = (next.get(), before.get(), Link::to(at)) else {
            return;
        };
        match (next == me, before == me) {
            (true, true) => *list = List::EMPTY,
            (true, false) => {
                self.0[ahead].next = before;
                list.last = before;
            }
            (false, true) => {
                self.0[behind].before = next;
                list.first = next;
            }
            (false, false) => {
                self.0[ahead].next = next;
                self.0[behind].before = before;
            }
        }
    }

    /// Removes the first entry.
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) fn pop(&mut self, list: &mut List) -> Option<usize> {
        let at = list.first.get()?;
        self.remove(list, at);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Rng;
    use alloc::vec::Vec;

    #[test]
    fn two_lists_hold_what_was_put_into_them_in_order() {
        let mut memory = [Node::EMPTY; 12];
        let mut nodes = Nodes::new(Mem::Lent(&mut memory));
        let (mut lists, mut model) = ([List::EMPTY; 2], [Vec::new(), Vec::new()]);
        let mut rng = Rng::new([4; 32]);
        for step in 0..20_000 {
            let (at, which) = (rng.below(12) as usize, rng.below(2) as usize);
            let home = model.iter().position(|list| list.contains(&at));
            assert_eq!(nodes.contains(at), home.is_some(), "step {step}");
            match (rng.below(4), home) {
                (0, Some(home)) => {
                    nodes.remove(&mut lists[home], at);
                    model[home].retain(|other| *other != at);
                }
                (2, None) if !model[which].is_empty() => {
                    let place = rng.below(model[which].len() as u32) as usize;
                    nodes.push_after(&mut lists[which], model[which][place], at);
                    model[which].insert(place + 1, at);
                }
                (1, _) => {
                    let popped = nodes.pop(&mut lists[which]);
                    let first = (!model[which].is_empty()).then(|| model[which].remove(0));
                    assert_eq!(popped, first, "step {step}");
                }
                (_, None) if rng.below(2) == 0 && !model[which].is_empty() => {
                    let place = rng.below(model[which].len() as u32) as usize;
                    nodes.push_after(&mut lists[which], model[which][place], at);
                    model[which].insert(place + 1, at);
                }
                (_, home) => {
                    nodes.push_back(&mut lists[which], at);
                    if home.is_none() {
                        model[which].push(at);
                    }
                }
            }
            for (list, model) in lists.iter().zip(&model) {
                assert_eq!(&nodes.iter(list).collect::<Vec<_>>(), model, "step {step}");
                assert_eq!(list.last().get(), model.last().copied(), "step {step}");
            }
        }
    }
}
