//! Records that wait for their topic, copied out of their chunks so that others do not wait.

use std::collections::VecDeque;

use kavka_core::Instant;

use super::chunk::{self, Expired, Packed};

/// Bytes that a parked record needs, its own apart.
pub(super) const PER_RECORD: usize = size_of::<Waiting>();

/// Records of one topic, in order.
#[derive(Default)]
pub(super) struct Parked {
    bytes: Vec<u8>,
    /// Where the first one begins; before are those that have left.
    at: usize,
    waiting: VecDeque<Waiting>,
    /// Those whose outcome was reported already.
    over: usize,
}

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    pub(super) from: Place,
    pub(super) since: Instant,
    size: usize,
}

/// Where a record came from.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The chunk, and whether a caller may wait for outcomes of its records.
    pub(super) chunk: u64,
    pub(super) watched: bool,
    /// Which of the records.
    pub(super) place: u32,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Records without an outcome.
    pub(super) fn open(&self) -> u64 {
        (self.waiting.len() - self.over) as u64
    }

    /// Marks those whose own deadline has passed, and returns where they came from, and the
    /// earliest deadline of the others.
    pub(super) fn expire(&mut self, now: u64) -> (Vec<Place>, Option<u64>) {
        let bytes = self.bytes.get_mut(self.at..).unwrap_or_default();
        let Expired { over, next } = chunk::expire(bytes, 0, now);
        self.over += over.len();
        let from = |(n, _): (u32, u32)| self.waiting.get(n as usize).map(|waiting| waiting.from);
        (over.into_iter().filter_map(from).collect(), next)
    }

    /// Puts a record behind the others.
    pub(super) fn push(&mut self, record: &[u8], from: Place, since: Instant) {
        self.bytes.extend_from_slice(record);
        self.waiting.push_back(Waiting { from, since, size: record.len() });
    }

    /// The oldest one.
    pub(super) fn first(&self) -> Option<(&[u8], &Waiting)> {
        let first = self.waiting.front()?;
        Some((self.bytes.get(self.at..self.at + first.size)?, first))
    }

    /// Takes the oldest one out. Returns the bytes that it kept.
    pub(super) fn pop(&mut self) -> usize {
        let is_over = self.first().and_then(|(bytes, _)| Packed::read(bytes));
        self.over -= usize::from(is_over.is_some_and(|packed| packed.is_over));
        let Some(first) = self.waiting.pop_front() else { return 0 };
        self.at += first.size;
        if self.waiting.is_empty() {
            *self = Self::default();
        } else if self.at > self.bytes.len() / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        first.size + PER_RECORD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_leave_in_order_and_their_memory_with_them() {
        let mut parked = Parked::default();
        for n in 0..100_u8 {
            let from = Place { chunk: n.into(), watched: true, place: 0 };
            parked.push(&[n; 50], from, Instant::ZERO);
        }
        let mut freed = 0;
        for n in 0..100_u8 {
            assert_eq!(parked.len(), usize::from(100 - n));
            assert_eq!(parked.first().unwrap().0, [n; 50]);
            freed += parked.pop();
            assert!(parked.bytes.len() <= 2 * 50 * parked.len(), "after {n}");
        }
        assert_eq!(freed, 100 * (50 + PER_RECORD));
        assert!(parked.is_empty() && parked.first().is_none());
    }
}
