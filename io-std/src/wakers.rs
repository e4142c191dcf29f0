//! Waiters for something that many may wait for: a slot for each, freed when it leaves.

use core::num::NonZeroU32;
use std::task::Waker;

/// A slab of wakers. Every operation but waking all of them is O(1), and its memory is that of the
/// most that waited at a time.
#[derive(Debug)]
pub(crate) struct Wakers {
    slots: Vec<Slot>,
    /// The first free slot.
    free: Option<u32>,
    waiting: usize,
    /// Changes when all are woken: tickets from before mean nothing then.
    round: NonZeroU32,
    /// On all tickets, for owners of several of these.
    mark: u8,
}

/// Slots that are kept while no caller waits.
const FEW: usize = 16;

#[derive(Debug)]
enum Slot {
    Waits(Waker),
    /// And the next free one.
    Free(Option<u32>),
}

/// A slot of [`Wakers`]; its owner returns it by [`Wakers::leave`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    round: NonZeroU32,
    slot: u32,
    pub(crate) mark: u8,
}

impl Ticket {
    /// Where only one can wait.
    pub(crate) const ONLY: Self = Self { round: NonZeroU32::MIN, slot: 0, mark: 0 };
}

/// A waker that is not needed any more. Dropping one may run code of the caller's, so that no lock
/// may be held then.
pub(crate) type Old = Option<Waker>;

impl Default for Wakers {
    fn default() -> Self {
        Self::marked(0)
    }
}

impl Wakers {
    pub(crate) fn marked(mark: u8) -> Self {
        Self { slots: Vec::new(), free: None, waiting: 0, round: NonZeroU32::MIN, mark }
    }

    /// Wakes `waker` with the others: in the slot of `ticket`, which is given if there is none.
    #[must_use = "to be dropped without a lock"]
    pub(crate) fn wait(&mut self, ticket: &mut Option<Ticket>, waker: &Waker) -> Old {
        if let Some(kept) = ticket.as_ref().and_then(|ticket| self.waker(*ticket)) {
            return (!kept.will_wake(waker)).then(|| core::mem::replace(kept, waker.clone()));
        }
        let slot = self.free.unwrap_or(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        match self.slots.get_mut(slot as usize) {
            Some(entry) => {
                let before = core::mem::replace(entry, Slot::Waits(waker.clone()));
                self.free = if let Slot::Free(next) = before { next } else { None };
            }
            None => self.slots.push(Slot::Waits(waker.clone())),
        }
        self.waiting += 1;
        *ticket = Some(Ticket { round: self.round, slot, mark: self.mark });
        None
    }

    /// Frees the slot of one that waits no longer.
    #[must_use = "to be dropped without a lock"]
    pub(crate) fn leave(&mut self, ticket: &mut Option<Ticket>) -> Old {
        let ticket = ticket.take()?;
        self.waker(ticket)?; // else woken before
        let entry = self.slots.get_mut(ticket.slot as usize)?;
        let old = core::mem::replace(entry, Slot::Free(self.free));
        self.free = Some(ticket.slot);
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0 {
            self.slots.clear();
            self.slots.shrink_to(FEW);
            self.free = None;
        }
        match old {
            Slot::Waits(waker) => Some(waker),
            Slot::Free(_) => None,
        }
    }

    fn waker(&mut self, ticket: Ticket) -> Option<&mut Waker> {
        match self.slots.get_mut(ticket.slot as usize) {
            Some(Slot::Waits(waker)) if ticket.round == self.round => Some(waker),
            _ => None,
        }
    }

    /// Takes all wakers out, to be woken when no lock is held.
    pub(crate) fn take(&mut self) -> Woken {
        self.round = self.round.checked_add(1).unwrap_or(NonZeroU32::MIN);
        (self.free, self.waiting) = (None, 0);
        Woken(core::mem::take(&mut self.slots))
    }

    /// Whether there is one.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting > 0
    }

    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }
}

/// Wakers that were taken out.
#[derive(Default)]
#[must_use = "they have to be woken"]
pub(crate) struct Woken(Vec<Slot>);

impl Woken {
    pub(crate) fn wake(self) {
        for slot in self.0 {
            if let Slot::Waits(waker) = slot {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn each_waiter_is_woken_once_and_slots_are_reused() {
        let counts: Vec<Arc<Count>> = (0..4).map(|_| Arc::default()).collect();
        let woken = || -> Vec<u32> {
            counts.iter().map(|count| count.0.swap(0, Ordering::SeqCst)).collect()
        };
        let mut wakers = Wakers::default();
        let mut tickets = [None; 4];
        for (ticket, count) in tickets.iter_mut().zip(&counts) {
            drop(wakers.wait(ticket, &count.clone().into()));
            drop(wakers.wait(ticket, &count.clone().into())); // polled again
        }
        assert_eq!(wakers.slots(), 4);
        drop(wakers.leave(&mut tickets[1]));
        drop(wakers.leave(&mut tickets[2]));
        drop(wakers.wait(&mut tickets[2], &counts[2].clone().into()));
        wakers.take().wake();
        assert_eq!(woken(), [1, 0, 1, 1]);
        // Their tickets are of the round before: they free no slot of this round.
        let mut late = tickets[0];
        drop(wakers.wait(&mut tickets[1], &counts[1].clone().into()));
        drop(wakers.leave(&mut late));
        drop(wakers.wait(&mut tickets[0], &counts[0].clone().into()));
        wakers.take().wake();
        assert_eq!(woken(), [1, 1, 0, 0]);
    }

    #[test]
    fn waiters_that_give_up_leave_nothing() {
        let mut wakers = Wakers::default();
        let waker: Waker = Arc::new(Count::default()).into();
        let mut stays = None;
        drop(wakers.wait(&mut stays, &waker));
        for _ in 0..10_000 {
            let mut ticket = None;
            drop(wakers.wait(&mut ticket, &waker));
            drop(wakers.leave(&mut ticket));
        }
        assert_eq!(wakers.slots(), 2);
        drop(wakers.leave(&mut stays));
        assert_eq!(wakers.slots(), 0);
    }
}
