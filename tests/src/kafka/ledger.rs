//! What was sent, acknowledged and read, and the difference.

use core::fmt;
use std::collections::{BTreeMap, HashMap};

/// Length of an [`Entry`]'s bytes; a record may have more after them.
const LEN: usize = 12;

/// One record of a test load: number `turn` of `key`; `run` separates it from earlier loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// The load's number.
    pub run: u32,
    /// The key's number.
    pub key: u32,
    /// Counts from 0 within the key.
    pub turn: u32,
}

impl Entry {
    /// Returns the record's value, padded to `len` bytes.
    pub fn value(self, len: usize) -> Vec<u8> {
        let mut value: Vec<u8> =
            [self.run, self.key, self.turn].iter().flat_map(|n| n.to_be_bytes()).collect();
        value.resize(len.max(LEN), b'.');
        value
    }

    /// Returns the record's key.
    pub fn key_bytes(self) -> String {
        format!("key-{}", self.key)
    }

    /// Reads an entry from a value; `None` for a value without one.
    pub fn read(value: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            value.get(at..at + 4)?.try_into().ok().map(|bytes: [u8; 4]| u32::from_be_bytes(bytes))
        };
        Some(Self { run: number(0)?, key: number(4)?, turn: number(8)? })
    }
}

/// The place of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// From 0.
    pub partition: u32,
    /// From 0.
    pub offset: i64,
}

/// Collects both sides of one load.
#[derive(Debug, Default)]
pub struct Ledger {
    acknowledged: HashMap<Entry, Option<Place>>,
    read: BTreeMap<Place, Entry>,
    read_again: u64,
}

/// The differences; all zero when the promises held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records read.
    pub read: u64,
    /// Acknowledged, but at no place of the log.
    pub lost: u64,
    /// At more than one place of the log, each place after the first counted.
    pub duplicated: u64,
    /// After a later one of the same key in the same partition.
    pub reordered: u64,
    /// Acknowledged at another place than the one they were read from.
    pub misplaced: u64,
    /// Places that the consumer returned more than once.
    pub read_again: u64,
}

impl Ledger {
    /// Adds an acknowledgement; the place is `None` when the broker did not report it.
    pub fn acknowledge(&mut self, entry: Entry, place: Option<Place>) {
        self.acknowledged.insert(entry, place);
    }

    /// Adds a record that the consumer returned.
    pub fn read(&mut self, entry: Entry, place: Place) {
        if self.read.insert(place, entry).is_some() {
            self.read_again += 1;
        }
    }

    /// Returns how many places were read.
    pub fn len_read(&self) -> usize {
        self.read.len()
    }

    /// Returns the highest offset read of each partition, in order of partitions.
    pub fn ends(&self) -> BTreeMap<u32, i64> {
        self.read.keys().map(|place| (place.partition, place.offset)).collect()
    }

    /// Returns the differences.
    pub fn report(&self) -> Report {
        let mut places: HashMap<Entry, Vec<Place>> = HashMap::new();
        let mut last: HashMap<(u32, u32), u32> = HashMap::new();
        let mut report = Report { read_again: self.read_again, ..Report::default() };
        for (place, entry) in &self.read {
            report.read += 1;
            places.entry(*entry).or_default().push(*place);
            // A duplicate is no reordering.
            let turn = last.entry((place.partition, entry.key)).or_insert(entry.turn);
            report.reordered += u64::from(entry.turn < *turn);
            *turn = entry.turn.max(*turn);
        }
        for found in places.values() {
            report.duplicated += found.len() as u64 - 1;
        }
        for (entry, reported) in &self.acknowledged {
            report.acknowledged += 1;
            match (places.get(entry), reported) {
                (None, _) => report.lost += 1,
                (Some(found), Some(reported)) if !found.contains(reported) => report.misplaced += 1,
                _ => {}
            }
        }
        report
    }
}

impl Report {
    /// Returns whether nothing is lost, duplicated, reordered, misplaced or read twice.
    pub fn is_clean(&self) -> bool {
        let Self { lost, duplicated, reordered, misplaced, read_again, .. } = self;
        [lost, duplicated, reordered, misplaced, read_again].iter().all(|count| **count == 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} read: {} lost, {} duplicated, {} reordered, {} misplaced, \
             {} read again",
            self.acknowledged,
            self.read,
            self.lost,
            self.duplicated,
            self.reordered,
            self.misplaced,
            self.read_again
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u32, turn: u32) -> Entry {
        Entry { run: 7, key, turn }
    }

    fn place(partition: u32, offset: i64) -> Place {
        Place { partition, offset }
    }

    fn ledger(read: &[(Entry, Place)]) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.acknowledge(entry(1, 0), Some(place(0, 0)));
        ledger.acknowledge(entry(1, 1), Some(place(0, 1)));
        ledger.acknowledge(entry(2, 0), None);
        read.iter().for_each(|(entry, place)| ledger.read(*entry, *place));
        ledger
    }

    #[test]
    fn a_value_gives_its_entry_back() {
        assert_eq!(Entry::read(&entry(3, 9).value(100)), Some(entry(3, 9)));
        assert_eq!(Entry::read(b"short"), None);
    }

    #[test]
    fn every_kind_of_difference_is_counted() {
        let good =
            [(entry(1, 0), place(0, 0)), (entry(1, 1), place(0, 1)), (entry(2, 0), place(1, 0))];
        let report = ledger(&good).report();
        assert!(report.is_clean() && report.acknowledged == 3 && report.read == 3, "{report}");

        assert_eq!(ledger(&good[..2]).report().lost, 1);

        let again = [good[0], good[1], good[2], good[2]];
        assert_eq!(ledger(&again).report().read_again, 1);

        let twice = [good[0], good[1], good[2], (entry(2, 0), place(1, 1))];
        assert_eq!(ledger(&twice).report().duplicated, 1);

        let swapped = [(entry(1, 1), place(0, 0)), (entry(1, 0), place(0, 1)), good[2]];
        let report = ledger(&swapped).report();
        assert_eq!((report.reordered, report.misplaced), (1, 2));
    }
}
