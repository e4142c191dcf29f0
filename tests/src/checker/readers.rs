//! Positions: what each process has read of each log.

use std::collections::{HashMap, HashSet};

use super::finding::At;

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// At the first record of the log.
    Start,
    /// At this offset.
    Offset(i64),
    /// At the end of the log at that time: the first record that arrives is accepted.
    Latest,
}

/// Offsets that a process passed without reading them: from, to (not included), and the line that
/// shows it.
pub(super) type Gap = (i64, i64, At);

/// One process's reader of one log.
#[derive(Debug)]
pub(super) struct Reader {
    /// The offset that should come next; not known before the first record under `Latest`.
    pub(super) next: Option<i64>,
    /// Where it began, or where it jumped to last.
    from: Option<i64>,
    /// Whether it begins at the first record, and has not shown yet which one that was.
    at_start: bool,
    /// The line of the last record.
    pub(super) last: At,
    pub(super) gaps: Vec<Gap>,
    pub(super) reads_on: bool,
}

/// How a record relates to what was read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Fits,
    /// It, or one after it, was read before, in this line.
    Repeats(At),
}

impl Reader {
    pub(super) fn new(begin: Begin, log_start: i64) -> Self {
        let next = match begin {
            Begin::Start => Some(log_start),
            Begin::Offset(offset) => Some(offset),
            Begin::Latest => None,
        };
        let at_start = begin == Begin::Start;
        Self { next, from: next, at_start, last: At::NONE, gaps: Vec::new(), reads_on: true }
    }

    /// Settles the beginning: the first record was the one at `offset`, or a later one that was
    /// deleted since. Retention is recorded when it happens; a broker returned the start offset, or
    /// the first records, some time before or after that.
    fn settle(&mut self, offset: i64, log_start: i64) {
        if core::mem::take(&mut self.at_start) {
            let first = Some(offset.min(log_start));
            (self.next, self.from) = (first, first);
        }
    }

    pub(super) fn read(&mut self, offset: i64, log_start: i64, at: At) -> Fit {
        self.settle(offset, log_start);
        let next = *self.next.get_or_insert(offset);
        self.from.get_or_insert(offset);
        if offset < next {
            return Fit::Repeats(self.last);
        }
        if offset > next {
            self.gaps.push((next, offset, at));
        }
        self.next = offset.checked_add(1);
        self.last = at;
        Fit::Fits
    }

    /// Moves the position for the application; returns the range passed so far.
    pub(super) fn seek(&mut self, to: i64) -> Option<(i64, i64)> {
        let over = self.range();
        (self.next, self.from, self.at_start) = (Some(to), Some(to), false);
        over
    }

    /// Checks a jump from `before` to `to` that the client reported. Nothing may be missing before
    /// the jump, and the jump may only pass what was deleted, below `log_start`.
    pub(super) fn moved(
        &mut self,
        (before, to): (i64, i64),
        log_start: i64,
        at: At,
    ) -> Vec<(i64, i64)> {
        self.settle(before, log_start);
        let next = self.next.unwrap_or(before);
        let passed = [(next, before), (before.max(next).max(log_start), to)];
        let passed = passed.into_iter().filter(|(from, to)| from < to);
        self.gaps.extend(passed.clone().map(|(from, to)| (from, to, at)));
        passed.chain(self.seek(to)).collect()
    }

    /// Returns the range passed since it began or last jumped: from, to (not included).
    pub(super) fn range(&self) -> Option<(i64, i64)> {
        Some((self.from?, self.next?))
    }
}

/// All positions.
#[derive(Debug, Default)]
pub(super) struct Readers {
    pub(super) all: HashMap<(u32, u32), Reader>,
    /// Topics that a process follows as a whole, and from where.
    pub(super) follows: HashMap<(u32, u32), Begin>,
    /// Processes that claim to have read everything.
    pub(super) drained: HashSet<u32>,
}
