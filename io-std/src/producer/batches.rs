//! Which records of which chunks went into which batch of the machine.

use std::collections::VecDeque;
use std::sync::Arc;

use kavka_core::RecordId;

use super::chunk::{Outcome, Outcomes};

/// Records of a chunk, next to each other there and in a batch.
#[derive(Clone, Copy)]
struct Run {
    chunk: u64,
    /// Place of the first in the chunk, and in the batch.
    at: u32,
    first: u32,
    count: u32,
}

/// A table of batches and one of chunks. Both count up, so that both are windows that move.
#[derive(Default)]
pub(super) struct Batches {
    batches: Window<Vec<Run>>,
    chunks: Window<Option<Waited>>,
    spare: Vec<Vec<Run>>,
}

/// A chunk whose outcomes a caller may wait for.
struct Waited {
    outcomes: Arc<Outcomes>,
    open: u32,
}

impl Batches {
    /// Outcomes of the `count` records of this chunk, but for `known` of them, will be reported to
    /// `outcomes`.
    pub(super) fn watch(&mut self, chunk: u64, count: u32, known: u32, outcomes: Arc<Outcomes>) {
        outcomes.prepare(count);
        if count > known
            && let Some(slot) = self.chunks.entry(chunk)
        {
            *slot = Some(Waited { outcomes, open: count - known });
        }
    }

    /// The record at place `at` of a watched chunk went into a batch.
    pub(super) fn note(&mut self, chunk: u64, at: u32, record: RecordId) {
        self.put(chunk, at, record.batch.get(), record.index);
    }

    fn put(&mut self, chunk: u64, at: u32, batch: u64, index: u32) {
        let Some(runs) = self.batches.entry(batch) else { return };
        if let Some(last) = runs.last_mut()
            && last.chunk == chunk
            && last.at + last.count == at
            && last.first + last.count == index
        {
            last.count += 1;
            return;
        }
        if runs.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            *runs = spare;
        }
        runs.push(Run { chunk, at, first: index, count: 1 });
    }

    /// Reports the outcomes of records `first .. first + count` of a batch: `outcome(n)` for the
    /// n-th of them.
    pub(super) fn resolve(
        &mut self,
        batch: u64,
        first: u32,
        count: u32,
        outcome: impl Fn(u32) -> Outcome,
    ) {
        let Some(runs) = self.batches.get(batch) else { return };
        let mut runs = core::mem::take(runs);
        let end = first.saturating_add(count);
        let mut rest = Vec::new();
        for run in runs.drain(..) {
            let from = run.first.max(first);
            let to = (run.first + run.count).min(end);
            if from >= to {
                rest.push(run);
                continue;
            }
            let at = run.at + (from - run.first);
            self.report(run.chunk, at, to - from, |n| outcome(from - first + n));
            if run.first < from {
                rest.push(Run { count: from - run.first, ..run });
            }
            if to < run.first + run.count {
                let skip = to - run.first;
                rest.push(Run { at: run.at + skip, first: to, count: run.count - skip, ..run });
            }
        }
        if self.spare.len() < 64 {
            self.spare.push(runs);
        }
        if let Some(runs) = self.batches.get(batch) {
            *runs = rest;
        }
        self.batches.trim(Vec::is_empty);
    }

    /// Reports the outcomes of records of a chunk, whether they went into a batch or not.
    pub(super) fn report(
        &mut self,
        chunk: u64,
        at: u32,
        count: u32,
        outcome: impl FnMut(u32) -> Outcome,
    ) {
        let Some(slot) = self.chunks.get(chunk) else { return };
        let Some(waited) = slot else { return };
        waited.outcomes.set(at, count, outcome);
        waited.open = waited.open.saturating_sub(count);
        if waited.open == 0 {
            *slot = None;
            self.chunks.trim(Option::is_none);
        }
    }

    /// All chunks that are still waited for.
    pub(super) fn waited(&self) -> impl Iterator<Item = &Arc<Outcomes>> {
        self.chunks.entries.iter().flatten().map(|waited| &waited.outcomes)
    }
}

/// A table whose keys count up: entries from the oldest that is in use to the newest.
struct Window<T> {
    base: u64,
    entries: VecDeque<T>,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { base: 0, entries: VecDeque::new() }
    }
}

impl<T: Default> Window<T> {
    fn get(&mut self, key: u64) -> Option<&mut T> {
        let index = usize::try_from(key.checked_sub(self.base)?).ok()?;
        self.entries.get_mut(index)
    }

    /// Returns the entry, a new one if necessary; `None` only for a key before the window.
    fn entry(&mut self, key: u64) -> Option<&mut T> {
        if self.entries.is_empty() {
            self.base = key;
        }
        let index = usize::try_from(key.checked_sub(self.base)?).ok()?;
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, T::default);
        }
        self.entries.get_mut(index)
    }

    /// Drops what is done at the front.
    fn trim(&mut self, done: impl Fn(&T) -> bool) {
        while self.entries.front().is_some_and(&done) {
            self.entries.pop_front();
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunk::Delivered;
    use super::*;
    use crate::pending::Pending;

    fn reported(outcomes: &Arc<Outcomes>, place: u32) -> Option<Delivered> {
        let pending = Pending::new(outcomes.clone(), place);
        pending.wait_timeout(core::time::Duration::ZERO).ok().map(|result| result.unwrap())
    }

    #[test]
    fn outcomes_find_their_records_across_chunks_and_splits() {
        let mut batches = Batches::default();
        let chunks = [Arc::new(Outcomes::default()), Arc::new(Outcomes::default())];
        for (chunk, outcomes) in (0..).zip(&chunks) {
            batches.watch(chunk, 4, 0, outcomes.clone());
        }
        // Batch 9 has records 0 and 2 of the first chunk, then 0 to 3 of the second; batch 10
        // the others.
        for (chunk, at, batch, first) in [
            (0, 0, 9, 0),
            (0, 1, 10, 0),
            (0, 2, 9, 1),
            (0, 3, 10, 1),
            (1, 0, 9, 2),
            (1, 1, 9, 3),
            (1, 2, 9, 4),
            (1, 3, 9, 5),
        ] {
            batches.put(chunk, at, batch, first);
        }
        let delivered = |base: i64| {
            move |n: u32| Outcome::Delivered { partition: 1, offset: base + i64::from(n) }
        };
        // The broker took batch 9 in two halves, the second one first.
        batches.resolve(9, 3, 3, delivered(103));
        assert_eq!(reported(&chunks[1], 0), None);
        assert_eq!(reported(&chunks[1], 1).unwrap().offset, Some(103));
        assert_eq!(reported(&chunks[1], 3).unwrap().offset, Some(105));
        batches.resolve(9, 0, 3, delivered(50));
        assert_eq!(reported(&chunks[0], 2).unwrap().offset, Some(51));
        assert_eq!(reported(&chunks[1], 0).unwrap().offset, Some(52));
        assert_eq!(reported(&chunks[0], 1), None, "batch 10 is still out");
        assert_eq!(batches.waited().count(), 1, "the second chunk is done with");
        batches.resolve(10, 0, 2, delivered(-5)); // an offset that is not known
        assert_eq!(reported(&chunks[0], 3), Some(Delivered { partition: 1, offset: None }));
        assert_eq!(batches.waited().count(), 0);
        assert_eq!(batches.batches.entries.len(), 0, "nothing is kept of what is over");
    }
}
