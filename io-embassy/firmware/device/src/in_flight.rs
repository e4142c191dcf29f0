//! What was handed to the client and is neither acknowledged nor failed yet.

use heapless::Vec;
use kavka_embassy::core::{BatchId, RecordId};

/// Notes of the application about at most `N` records.
pub struct InFlight<T, const N: usize> {
    records: Vec<(RecordId, T), N>,
}

impl<T, const N: usize> InFlight<T, N> {
    /// Of no records.
    #[must_use]
    pub const fn new() -> Self {
        Self { records: Vec::new() }
    }

    /// No further record can be noted.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.records.is_full()
    }

    /// How many are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// None is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A record was taken by the client. To be called only with space: see [`InFlight::is_full`].
    pub fn note(&mut self, id: RecordId, note: T) {
        let _ = self.records.push((id, note));
    }

    /// Records `first .. first + count` of `batch` have ended: returns the note of each, in order.
    pub fn settle(&mut self, batch: BatchId, first: u32, count: u32, mut each: impl FnMut(&T)) {
        self.records.retain(|(id, note)| {
            let through = id.batch == batch && (first..first + count).contains(&id.index);
            if through {
                each(note);
            }
            !through
        });
    }
}

impl<T, const N: usize> Default for InFlight<T, N> {
    fn default() -> Self {
        Self::new()
    }
}
