//! The partitions that a request names, topic by topic, as Kafka's requests want them.

use super::Read;
use crate::cluster::Cluster;
use crate::time::Instant;
use crate::wire::{Full, Writer, fetch, list_offsets};

/// What a request says of the partitions in one of its parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Fetch: those that are new to the session or whose position changed.
    Sends,
    /// Fetch: those that the session has to forget.
    Forgets,
    /// ListOffsets: those whose start is not an offset.
    Offsets,
}

/// The entries that a request may name, beginning anywhere, and behind the last one at the first.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// Who comes last may get nothing when the limit on bytes bites.
    first: usize,
    len: usize,
    /// Of all.
    count: usize,
}

impl Span {
    /// All of `count` entries, from `first` on.
    pub(super) const fn all(first: usize, count: usize) -> Self {
        Self { first, len: count, count }
    }

    pub(super) const fn has(self, at: usize) -> bool {
        let ahead = if at < self.first { at + self.count } else { at };
        ahead - self.first < self.len
    }

    const fn at(self, ahead: usize) -> usize {
        let at = self.first + ahead;
        if at < self.count { at } else { at - self.count }
    }
}

/// See the module.
pub(super) struct Plan<'p, 'd> {
    /// Those that were ever assigned.
    pub(super) reads: &'p [Read],
    pub(super) cluster: &'p Cluster<'d>,
    pub(super) now: Instant,
    /// The broker that is asked.
    pub(super) node: i32,
    /// Serial of the fetch session.
    pub(super) serial: u32,
    /// The session begins with this request.
    pub(super) full: bool,
    /// What there is room for; the rest comes with the next request.
    pub(super) span: Span,
}

impl Plan<'_, '_> {
    pub(super) fn is_in(&self, part: Part, at: usize) -> bool {
        let (entry, read) = (&self.cluster.table[at], &self.reads[at]);
        let mine = entry.is_read_from(self.node);
        let wanted = mine && read.wants_records(self.now);
        let in_session = read.session == self.serial;
        match part {
            Part::Offsets => mine && read.needs_offset(self.now) && self.span.has(at),
            Part::Forgets => !self.full && in_session && !wanted,
            Part::Sends => {
                let told = (read.sent_position, read.sent_epoch) == (read.position, entry.epoch);
                wanted && (self.full || !in_session || !told) && self.span.has(at)
            }
        }
    }

    /// There is no room: half as many partitions are named. False: it was one, or none.
    pub(super) fn halve(&mut self, part: Part) -> bool {
        let (span, count) = (self.span, self.reads.len());
        let named = |ahead: &usize| self.is_in(part, span.at(*ahead));
        let half = (0..count).filter(named).count() / 2;
        let Some(last) = (0..count).filter(named).take(half).last() else { return false };
        self.span.len = last + 1;
        true
    }

    /// Whether there is any partition in a part.
    pub(super) fn any(&self, part: Part) -> bool {
        (0..self.reads.len()).any(|at| self.is_in(part, at))
    }

    /// The next partition of a topic; `turn` counts those that were looked at.
    #[inline(never)]
    fn next(&self, part: Part, slot: usize, turn: &mut usize) -> Option<usize> {
        let count = self.reads.len();
        while *turn < count {
            let at = self.span.at(*turn);
            *turn += 1;
            if usize::from(self.cluster.table[at].topic) == slot && self.is_in(part, at) {
                return Some(at);
            }
        }
        None
    }

    /// How many partitions of a topic there are.
    fn count(&self, part: Part, slot: usize) -> usize {
        let (mut turn, mut count) = (0, 0);
        while self.next(part, slot, &mut turn).is_some() {
            count += 1;
        }
        count
    }

    /// How many topics there are.
    fn topics(&self, part: Part) -> usize {
        // Nearly always there is nothing: that is found out before all topics are looked at.
        if !self.any(part) {
            return 0;
        }
        let slots = 0..self.cluster.topics.len();
        slots.filter(|slot| self.next(part, *slot, &mut 0).is_some()).count()
    }

    /// The body of a Fetch request. `max` is the most bytes of a partition.
    pub(super) fn write_fetch(
        &self,
        w: &mut Writer<'_>,
        version: i16,
        head: &fetch::Head,
        max: i32,
    ) -> Result<(), Full> {
        fetch::begin(w, version, head, self.topics(Part::Sends))?;
        self.write_topics(w, version, Part::Sends, max)?;
        fetch::forgotten_begin(w, version, self.topics(Part::Forgets))?;
        self.write_topics(w, version, Part::Forgets, max)?;
        fetch::end(w, version, "")
    }

    /// The body of a ListOffsets request.
    pub(super) fn write_offsets(
        &self,
        w: &mut Writer<'_>,
        version: i16,
        timeout_ms: i32,
    ) -> Result<(), Full> {
        list_offsets::begin(w, version, 0, self.topics(Part::Offsets))?;
        self.write_topics(w, version, Part::Offsets, 0)?;
        list_offsets::end(w, version, timeout_ms)
    }

    /// All topics of a part, from that of the first partition on.
    fn write_topics(
        &self,
        w: &mut Writer<'_>,
        version: i16,
        part: Part,
        max: i32,
    ) -> Result<(), Full> {
        if !self.any(part) {
            return Ok(());
        }
        let slots = self.cluster.topics.len();
        let first = self.cluster.table.get(self.span.first).map_or(0, |p| usize::from(p.topic));
        for slot in (0..slots).map(|i| (first + i) % slots) {
            let count = self.count(part, slot);
            if count == 0 {
                continue;
            }
            let topic = &self.cluster.topics[slot];
            let name = topic.name.as_str();
            match part {
                Part::Offsets => list_offsets::topic(w, version, name, count)?,
                _ => fetch::topic(w, version, name, topic.id, count)?,
            }
            let mut turn = 0;
            while let Some(at) = self.next(part, slot, &mut turn) {
                self.write_partition(w, version, part, at, max)?;
            }
            match part {
                Part::Offsets => list_offsets::end_topic(w, version)?,
                _ => fetch::end_topic(w, version)?,
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn write_partition(
        &self,
        w: &mut Writer<'_>,
        version: i16,
        part: Part,
        at: usize,
        max_bytes: i32,
    ) -> Result<(), Full> {
        let (entry, read) = (&self.cluster.table[at], &self.reads[at]);
        let index = entry.index as i32;
        match part {
            Part::Offsets => {
                list_offsets::partition(w, version, index, entry.epoch, read.timestamp())
            }
            Part::Forgets => w.i32(index),
            Part::Sends => {
                let partition = fetch::Partition {
                    index,
                    current_leader_epoch: entry.epoch,
                    fetch_offset: read.position,
                    last_fetched_epoch: read.last_epoch,
                    log_start_offset: -1,
                    max_bytes,
                };
                fetch::partition(w, version, &partition)
            }
        }
    }
}
