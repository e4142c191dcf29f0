//! Records: their senders, their outcomes, their places.

use std::collections::HashMap;

use super::finding::At;

/// An offset of a log; [`Place::UNREPORTED`] if the broker did not report one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) log: u32,
    pub(super) offset: i64,
}

impl Place {
    pub(super) const UNREPORTED: i64 = -1;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Only ever read.
    Unsent,
    /// Sent, no outcome yet.
    Open,
    Acked,
    Failed,
    Maybe,
}

/// One record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) topic: u32,
    pub(super) sender: u32,
    /// Index of the send among those of its sender.
    pub(super) turn: u32,
    pub(super) key: Option<u32>,
    pub(super) state: State,
    /// The promise no longer holds: its place was truncated.
    pub(super) void: bool,
    pub(super) invoked: At,
    pub(super) responded: At,
    pub(super) acked: Option<Place>,
    pub(super) read: Option<Place>,
    pub(super) read_at: At,
}

/// All records, by number.
#[derive(Debug, Default)]
pub(super) struct Records {
    ids: HashMap<(u32, u64), u32>,
    all: Vec<Record>,
}

impl Records {
    /// Returns the record of this value, a new one if needed.
    pub(super) fn id(&mut self, topic: u32, value: u64) -> u32 {
        let next = u32::try_from(self.all.len()).expect("fewer than 2^32 records");
        let id = *self.ids.entry((topic, value)).or_insert(next);
        if id == next {
            self.all.push(Record {
                topic,
                sender: u32::MAX,
                turn: 0,
                key: None,
                state: State::Unsent,
                void: false,
                invoked: At::NONE,
                responded: At::NONE,
                acked: None,
                read: None,
                read_at: At::NONE,
            });
        }
        id
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.all.iter()
    }
}

impl core::ops::Index<u32> for Records {
    type Output = Record;

    fn index(&self, id: u32) -> &Record {
        &self.all[id as usize]
    }
}

impl core::ops::IndexMut<u32> for Records {
    fn index_mut(&mut self, id: u32) -> &mut Record {
        &mut self.all[id as usize]
    }
}
