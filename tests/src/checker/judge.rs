//! Judges what can only be seen when everything is known.

use std::collections::HashMap;

use super::finding::{At, Finding, Findings, What};
use super::growth::Growth;
use super::logs::{Log, Logs, Sorted};
use super::names::Names;
use super::readers::{Begin, Reader, Readers};
use super::records::{Place, Record, Records, State};
use super::{Checker, Promise, Report};

/// Returns where a process that follows a topic begins in a partition: in those that it knew first
/// as it requested, in those added later at their first record.
pub(super) fn begin(
    follows: Option<Begin>,
    first: Option<u32>,
    generation: u32,
    partition: u32,
) -> Begin {
    match follows {
        None => Begin::Latest,
        Some(begin) if generation == 0 && first.is_none_or(|count| partition < count) => begin,
        Some(_) => Begin::Start,
    }
}

/// The checker's data, as the judgement needs it.
struct Court {
    processes: Names,
    topics: Names,
    records: Records,
    logs: Logs,
    sorted: Vec<Sorted>,
    promises: HashMap<u32, Promise>,
    deleted: Vec<bool>,
    /// Logs that a process claims to have read to the end.
    drained: Vec<bool>,
    findings: Findings,
}

pub(super) fn finish(checker: Checker) -> Report {
    let Checker { mut logs, readers, growth, conflicts, doubles, sent_to, .. } = checker;
    for ((_, log), reader) in &readers.all {
        if let Some((from, next)) = reader.range() {
            logs[*log].cover(from, next);
        }
    }
    let deleted = logs.all.iter().map(|log| checker.deleted.contains(&(log.topic, log.generation)));
    let deleted: Vec<bool> = deleted.collect();
    let sorted = logs.all.iter_mut().map(Log::sort).collect();
    let mut court = Court {
        processes: checker.processes,
        topics: checker.topics,
        records: checker.records,
        logs,
        sorted,
        promises: checker.promises,
        drained: vec![false; deleted.len()],
        deleted,
        findings: checker.findings,
    };
    let names = (&court.processes, &court.topics);
    let took = growth.judge(checker.growth_us, checker.end, names, &mut court.findings);
    court.conflicts(&conflicts);
    court.doubles(&doubles);
    court.order();
    court.gaps(&readers);
    court.unseen(&readers, &growth);
    court.records(|topic| sent_to.contains(&topic));
    court.findings.kept.sort_by(|a, b| (a.what, &a.lines).cmp(&(b.what, &b.lines)));
    let count = |state| court.records.iter().filter(|record| record.state == state).count() as u64;
    let [open, acked, failed, maybe] =
        [State::Open, State::Acked, State::Failed, State::Maybe].map(count);
    Report {
        total: court.findings.total(),
        lines: checker.lines,
        sent: open + acked + failed + maybe,
        acked,
        failed,
        maybe: open + maybe,
        reads: checker.reads,
        growth: took,
        findings: court.findings.kept,
    }
}

impl Court {
    fn promise(&self, record: &Record) -> Promise {
        self.promises.get(&record.sender).copied().unwrap_or_default()
    }

    fn process(&self, id: u32) -> String {
        if id == u32::MAX { "unknown".into() } else { self.processes.name(id) }
    }

    fn find(&mut self, what: What, process: u32, place: Place, lines: &[At], text: String) {
        let log = &self.logs[place.log];
        let mut lines: Vec<At> = lines.iter().copied().filter(|at| *at != At::NONE).collect();
        lines.sort_unstable();
        let finding = Finding {
            what,
            process: self.process(process),
            topic: self.topics.name(log.topic),
            partition: Some(log.partition),
            offset: Some(place.offset).filter(|offset| *offset >= 0),
            lines,
            text,
        };
        self.findings.add(what, || finding);
    }

    /// Reports two records at one offset.
    fn conflicts(&mut self, conflicts: &[(Place, [u32; 2], At)]) {
        for (place, [first, second], at) in conflicts {
            let there = &self.records[*first];
            let (sender, seen) = (there.sender, [there.responded, there.read_at]);
            // Before its producer knew, a record may have been written to the topic that replaced a
            // deleted one: then only reads count.
            let read = |id: u32| self.records[id].read == Some(*place);
            if self.deleted[place.log as usize] && !(read(*first) && read(*second)) {
                continue;
            }
            let other = self.process(self.records[*second].sender);
            let text = format!("also a record of {other}");
            self.find(What::TwoValues, sender, *place, &[seen[0], seen[1], *at], text);
        }
    }

    /// Reports records at two places.
    fn doubles(&mut self, doubles: &[(u32, Place, At)]) {
        for (id, place, at) in doubles {
            let record = &self.records[*id];
            let Some(first) = record.read else { continue };
            let gone = |place: Place| self.deleted[place.log as usize];
            // The sender of this record does not write here, and may number records differently.
            let foreign = record.state == State::Unsent;
            if foreign || !self.promise(record).once || gone(first) || gone(*place) {
                continue;
            }
            let (sender, seen) = (record.sender, record.read_at);
            let text = format!("also at {}", self.name(first));
            self.find(What::Duplicated, sender, *place, &[seen, *at], text);
        }
    }

    fn name(&self, place: Place) -> String {
        format!("partition {} offset {}", self.logs[place.log].partition, place.offset)
    }

    /// Checks each producer's records in each log against the order of their sends.
    fn order(&mut self) {
        for log in 0..self.sorted.len() {
            let places = core::mem::take(&mut self.sorted[log].places);
            let mut latest: HashMap<u32, (u32, u32)> = HashMap::new();
            for (offset, id) in &places {
                let place = Place { log: u32::try_from(log).unwrap_or(u32::MAX), offset: *offset };
                let record = &self.records[*id];
                // Its other place counts; and in a deleted log only what was read.
                let shown = record.read.or(record.acked.filter(|_| !self.deleted[log]));
                if record.state == State::Unsent || record.void || shown != Some(place) {
                    continue;
                }
                let last = latest.entry(record.sender).or_insert((record.turn, *id));
                if record.turn >= last.0 {
                    *last = (record.turn, *id);
                } else if self.promise(record).ordered {
                    let (sender, invoked) = (record.sender, record.invoked);
                    let before = &self.records[last.1];
                    let lines = [invoked, before.invoked, before.responded, before.read_at];
                    let text = "a later record of its producer lies before it".into();
                    self.find(What::Reordered, sender, place, &lines, text);
                }
            }
            self.sorted[log].places = places;
        }
    }

    /// Reports records that some processes passed and others read.
    fn gaps(&mut self, readers: &Readers) {
        for ((process, log), reader) in &readers.all {
            for (from, to, at) in &reader.gaps {
                let is_read = |(offset, id): &&(i64, u32)| {
                    self.records[*id].read == Some(Place { log: *log, offset: *offset })
                };
                let between = self.sorted[*log as usize].between(*from, *to);
                let mut found = between.iter().filter(is_read).peekable();
                let Some((first, id)) = found.peek() else { continue };
                let (place, seen) =
                    (Place { log: *log, offset: *first }, self.records[*id].read_at);
                let text = format!("{} records up to offset {to}", found.count());
                self.find(What::Skipped, *process, place, &[seen, *at], text);
            }
        }
    }

    /// Returns the number of records at or after `from` that certainly exist, and the first of
    /// them.
    fn there(&self, log: u32, from: i64) -> Option<(usize, i64, u32)> {
        let sure = |(offset, id): &&(i64, u32)| {
            let (record, place) = (&self.records[*id], Place { log, offset: *offset });
            let reported = record.acked == Some(place) && self.promise(record).durable;
            !record.void && (reported || record.read == Some(place))
        };
        let found = self.sorted[log as usize].between(from, i64::MAX).iter().filter(sure);
        let mut found = found.peekable();
        let (offset, id) = **found.peek()?;
        Some((found.count(), offset, id))
    }

    /// Reports what was not reached by processes that claim to have read everything.
    fn unseen(&mut self, readers: &Readers, growth: &Growth) {
        for process in &readers.drained {
            for log in 0..self.logs.all.len() {
                let id = u32::try_from(log).unwrap_or(u32::MAX);
                let Log { topic, generation, partition, start, .. } = self.logs.all[log];
                let at_least = match readers.all.get(&(*process, id)) {
                    Some(Reader { reads_on: false, .. }) => None,
                    Some(reader) => reader.next,
                    None => {
                        let follows = readers.follows.get(&(*process, topic)).copied();
                        let first = growth.first(*process, topic, generation);
                        Reader::new(begin(follows, first, generation, partition), start).next
                    }
                };
                let Some(next) = at_least.filter(|_| !self.deleted[log]) else { continue };
                self.drained[log] = true;
                let Some((count, first, record)) = self.there(id, next.max(start)) else {
                    continue;
                };
                let place = Place { log: id, offset: first };
                let lines = [self.records[record].responded, self.records[record].read_at];
                let text = format!("{count} records from there on");
                self.find(What::Unseen, *process, place, &lines, text);
            }
        }
    }

    /// Judges the outcome of each record.
    fn records(&mut self, sent_to: impl Fn(u32) -> bool) {
        let all = core::mem::take(&mut self.records);
        for record in all.iter() {
            let lines = [record.invoked, record.responded, record.read_at];
            match (record.state, record.read, record.acked) {
                (State::Unsent, Some(read), _) if sent_to(record.topic) => {
                    self.find(
                        What::Phantom,
                        record.sender,
                        read,
                        &lines,
                        "nobody sent this value".into(),
                    );
                }
                (State::Failed, Some(read), _) => {
                    let text = "its producer said that it was not written".into();
                    self.find(What::FailedRead, record.sender, read, &lines, text);
                }
                (State::Acked, Some(read), Some(acked)) if read != acked => {
                    self.misplaced(record, read, acked, &lines);
                }
                (State::Acked, None, Some(acked)) => self.lost(record, acked, &lines),
                _ => {}
            }
        }
        self.records = all;
    }

    fn misplaced(&mut self, record: &Record, read: Place, acked: Place, lines: &[At]) {
        let gone = |place: Place| self.deleted[place.log as usize];
        let unreported = acked.offset < 0 && acked.log == read.log;
        if record.void || unreported || gone(read) || gone(acked) || !self.promise(record).once {
            return;
        }
        let text = format!("acknowledged at {}", self.name(acked));
        self.find(What::Misplaced, record.sender, read, lines, text);
    }

    fn lost(&mut self, record: &Record, acked: Place, lines: &[At]) {
        let log = &self.sorted[acked.log as usize];
        let gone = record.void || self.deleted[acked.log as usize];
        if gone || !self.promise(record).durable {
            return;
        }
        let read_past = if acked.offset == Place::UNREPORTED {
            self.drained[acked.log as usize] && log.is_covered_from_start()
        } else {
            acked.offset >= log.start && log.is_covered(acked.offset)
        };
        if read_past {
            let text = "acknowledged, and read past by all".into();
            self.find(What::Lost, record.sender, acked, lines, text);
        }
    }
}
