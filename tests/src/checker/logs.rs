//! Logs as far as they are known: which record is at which offset.

use std::collections::HashMap;

use super::finding::At;

/// One partition of one generation of a topic.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) topic: u32,
    pub(super) generation: u32,
    pub(super) partition: u32,
    /// Where it begins, as far as retention was reported.
    pub(super) start: i64,
    /// The offset of the last truncation by an unclean election, and its line.
    pub(super) truncated: Option<(i64, At)>,
    places: HashMap<i64, u32>,
    /// Offsets that some process passed, from and to (not included).
    covered: Vec<(i64, i64)>,
}

impl Log {
    /// Puts `record` at `offset`; returns another record that is already there.
    pub(super) fn put(&mut self, offset: i64, record: u32) -> Option<u32> {
        let there = *self.places.entry(offset).or_insert(record);
        (there != record).then_some(there)
    }

    pub(super) fn replace(&mut self, offset: i64, record: u32) {
        self.places.insert(offset, record);
    }

    /// Removes what is at `offset` and after, and returns it.
    pub(super) fn truncate(&mut self, offset: i64, at: At) -> Vec<u32> {
        let lowest = self.truncated.map_or(offset, |(lowest, _)| lowest.min(offset));
        self.truncated = Some((lowest, at));
        let gone = self.places.extract_if(|place, _| *place >= offset);
        gone.map(|(_, record)| record).collect()
    }

    /// Returns whether what was at `offset` before `at` may have been truncated.
    pub(super) fn may_have_lost(&self, offset: i64, at: At) -> bool {
        self.truncated.is_some_and(|(from, when)| offset >= from && at < when)
    }

    pub(super) fn cover(&mut self, from: i64, to: i64) {
        if from >= to {
            return;
        }
        match self.covered.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => self.covered.push((from, to)),
        }
    }

    /// Sorts by offset, for lookups.
    pub(super) fn sort(&mut self) -> Sorted {
        let places = core::mem::take(&mut self.places);
        let mut places: Vec<(i64, u32)> = places.into_iter().collect();
        places.sort_unstable();
        let mut covered = core::mem::take(&mut self.covered);
        covered.sort_unstable();
        covered.dedup_by(|next, before| {
            let joins = next.0 <= before.1;
            if joins {
                before.1 = before.1.max(next.1);
            }
            joins
        });
        Sorted { places, covered, start: self.start }
    }
}

/// A log that is complete.
#[derive(Debug)]
pub(super) struct Sorted {
    pub(super) places: Vec<(i64, u32)>,
    covered: Vec<(i64, i64)>,
    pub(super) start: i64,
}

impl Sorted {
    /// Returns what is at `from` and after, before `to`.
    pub(super) fn between(&self, from: i64, to: i64) -> &[(i64, u32)] {
        let begin = self.places.partition_point(|(offset, _)| *offset < from);
        let end = self.places.partition_point(|(offset, _)| *offset < to);
        &self.places[begin..end.max(begin)]
    }

    /// Returns whether some process passed `offset`.
    pub(super) fn is_covered(&self, offset: i64) -> bool {
        let after = self.covered.partition_point(|(from, _)| *from <= offset);
        after > 0 && self.covered[after - 1].1 > offset
    }

    /// Returns whether processes passed all of it, up to the last known offset.
    pub(super) fn is_covered_from_start(&self) -> bool {
        let end = self.places.last().map_or(self.start, |(offset, _)| offset + 1);
        self.covered.first().is_none_or(|(from, to)| *from <= self.start && *to >= end)
    }
}

/// All logs, by number.
#[derive(Debug, Default)]
pub(super) struct Logs {
    ids: HashMap<(u32, u32, u32), u32>,
    pub(super) all: Vec<Log>,
}

impl Logs {
    /// Returns the log's number, creating it if needed.
    pub(super) fn id(&mut self, topic: u32, generation: u32, partition: u32) -> u32 {
        let next = u32::try_from(self.all.len()).expect("fewer than 2^32 logs");
        let id = *self.ids.entry((topic, generation, partition)).or_insert(next);
        if id == next {
            self.all.push(Log {
                topic,
                generation,
                partition,
                start: 0,
                truncated: None,
                places: HashMap::new(),
                covered: Vec::new(),
            });
        }
        id
    }
}

impl core::ops::Index<u32> for Logs {
    type Output = Log;

    fn index(&self, id: u32) -> &Log {
        &self.all[id as usize]
    }
}

impl core::ops::IndexMut<u32> for Logs {
    fn index_mut(&mut self, id: u32) -> &mut Log {
        &mut self.all[id as usize]
    }
}
