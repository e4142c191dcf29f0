//! Finds what is wrong in a [history](crate::history).
//!
//! It shares no code with the client, and knows of Kafka only what a user does: a log per
//! partition, ascending offsets, records that were promised. Time and memory are linear in the
//! number of records. [`What`] explains the findings.

mod finding;
mod growth;
mod judge;
mod logs;
mod names;
mod readers;
mod records;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, BufRead};

pub use finding::{At, Finding, What};

use crate::history::{Header, Kind, Line, Op, Promise, Reader};
use finding::Findings;
use growth::Growth;
use logs::Logs;
use names::Names;
use readers::{Begin, Fit, Readers};
use records::{Place, Records, State};

/// Checks a history line by line.
#[derive(Debug, Default)]
pub struct Checker {
    growth_us: Option<u64>,
    processes: Names,
    topics: Names,
    keys: Names,
    records: Records,
    logs: Logs,
    readers: Readers,
    growth: Growth,
    promises: HashMap<u32, Promise>,
    /// Sends per process, and topics that were sent to.
    turns: HashMap<u32, u32>,
    sent_to: HashSet<u32>,
    /// For each process and key: the latest send with an outcome, its partition, and the line.
    key_ends: HashMap<(u32, u32, u32), (u32, u32, At)>,
    /// Topics and generations that were deleted.
    deleted: HashSet<(u32, u32)>,
    /// Two records at one place; judged at the end, when all deletions are known.
    conflicts: Vec<(Place, [u32; 2], At)>,
    /// Records at a second place, and the line that shows it.
    doubles: Vec<(u32, Place, At)>,
    findings: Findings,
    file: u16,
    number: u64,
    end: u64,
    reads: u64,
    lines: u64,
}

/// The result of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong; at most 100 of each kind.
    pub findings: Vec<Finding>,
    /// Number of all findings.
    pub total: u64,
    /// Lines read.
    pub lines: u64,
    /// Records sent.
    pub sent: u64,
    /// Records acknowledged.
    pub acked: u64,
    /// Records that were certainly not written.
    pub failed: u64,
    /// Records that may have been written.
    pub maybe: u64,
    /// Records read, by all processes together.
    pub reads: u64,
    /// How long each process took to notice each growth, in microseconds, sorted.
    pub growth: Vec<u64>,
}

impl Report {
    /// Returns whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.total == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let Self { total, lines, sent, acked, failed, maybe, reads, growth, .. } = self;
        write!(f, "{total} findings; {lines} lines, {sent} sent: {acked} acknowledged, ")?;
        write!(f, "{failed} failed, {maybe} perhaps written; {reads} reads")?;
        if let (Some(last), Some(median)) = (growth.last(), growth.get(growth.len() / 2)) {
            let ms = |us: u64| us / 1000;
            let n = growth.len();
            write!(
                f,
                "; growth noticed {n} times, median {} ms, max {} ms",
                ms(*median),
                ms(*last)
            )?;
        }
        Ok(())
    }
}

/// Reads a whole file into `checker`.
///
/// # Errors
/// Those of the file; `InvalidData` for a file that is no history.
pub fn read(checker: &mut Checker, file: impl BufRead) -> io::Result<()> {
    let mut reader = Reader::new(file)?;
    checker.begin(reader.header());
    while let Some((number, line)) = reader.next_line()? {
        checker.number = number - 1;
        checker.line(&line);
    }
    Ok(())
}

impl Checker {
    /// Begins a file. Several may follow each other in any order, as long as a process's lines are
    /// all in one.
    pub fn begin(&mut self, header: &Header) {
        if self.number > 0 {
            self.file += 1;
        }
        self.number = 1;
        self.growth_us = self.growth_us.into_iter().chain(header.growth_us).min();
    }

    /// Sets the time within which growth must be noticed, in microseconds, whatever the headers
    /// say.
    pub fn growth_within(&mut self, us: u64) {
        self.growth_us = Some(us);
    }

    /// Processes the next line. Lines of a file count from 1, including the header.
    pub fn line(&mut self, line: &Line<'_>) {
        self.number += 1;
        self.lines += 1;
        self.end = self.end.max(line.time);
        let at = At::new(self.file, self.number);
        let process = self.processes.id(&line.process);
        if self.take(process, line, at).is_none() {
            self.malformed(line, at, "a field is missing, or this op has no such type");
        }
    }

    fn malformed(&mut self, line: &Line<'_>, at: At, why: &str) {
        self.findings.add(What::Malformed, || Finding {
            what: What::Malformed,
            process: line.process.to_string(),
            topic: line.topic.as_deref().unwrap_or_default().to_string(),
            partition: line.partition,
            offset: line.offset,
            lines: vec![at],
            text: format!("{:?} {:?}: {why}", line.op, line.kind),
        });
    }

    /// Processes a line; `None` when a field is missing.
    fn take(&mut self, process: u32, line: &Line<'_>, at: At) -> Option<()> {
        match (line.op, line.kind) {
            (Op::Open, Kind::Ok) => {
                self.promises.insert(process, line.promise.unwrap_or_default());
            }
            (Op::Close, Kind::Ok) => self.growth.closed(process, line.time),
            (Op::Drained, Kind::Ok) => {
                self.readers.drained.insert(process);
            }
            (Op::Memo, Kind::Info) => {}
            (Op::Fault, Kind::Info) => self.growth.fault(process, line.time),
            (Op::Calm, Kind::Info) => self.growth.calm(process, line.time),
            (Op::Memory, Kind::Ok) => self.memory(line, at)?,
            _ => {
                let topic = self.topics.id(line.topic.as_deref()?);
                self.about_topic(process, topic, line, at)?;
            }
        }
        Some(())
    }

    fn about_topic(&mut self, process: u32, topic: u32, line: &Line<'_>, at: At) -> Option<()> {
        let generation = line.generation;
        match (line.op, line.kind) {
            (Op::Send, Kind::Invoke) => self.invoke(process, topic, line, at)?,
            (Op::Send, _) => self.respond(process, topic, line, at)?,
            (Op::Poll, Kind::Ok) => self.poll(process, topic, line, at)?,
            (Op::Assign, Kind::Ok) => self.assign(process, topic, line),
            (Op::Count, Kind::Ok) => {
                let who = (process, topic, generation);
                let count = line.count?;
                if let Some((before, seen)) = self.growth.known(who, count, (line.time, at)) {
                    self.count_back(line, before, [seen, at]);
                }
            }
            (Op::Grow, Kind::Ok) => {
                self.growth.grown(topic, generation, line.count?, (line.time, at));
            }
            (Op::Delete, Kind::Ok) => {
                self.deleted.insert((topic, generation));
            }
            _ => {
                let log = self.logs.id(topic, generation, line.partition?);
                self.about_log(process, log, line, at)?;
            }
        }
        Some(())
    }

    fn about_log(&mut self, process: u32, log: u32, line: &Line<'_>, at: At) -> Option<()> {
        match (line.op, line.kind) {
            (Op::Trim, Kind::Ok) => {
                let start = &mut self.logs[log].start;
                *start = line.offset?.max(*start);
            }
            (Op::Truncate, Kind::Ok) => {
                for record in self.logs[log].truncate(line.offset?, at) {
                    self.records[record].void = true;
                }
            }
            (Op::Seek, Kind::Ok) => {
                let over = self.reader(process, log).seek(line.to?);
                over.into_iter().for_each(|(from, to)| self.logs[log].cover(from, to));
            }
            (Op::Moved, Kind::Ok) => {
                let (jump, start) = ((line.offset?, line.to?), self.logs[log].start);
                for (from, to) in self.reader(process, log).moved(jump, start, at) {
                    self.logs[log].cover(from, to);
                }
            }
            (Op::Unassign, Kind::Ok) => self.leave(process, log),
            _ => return None,
        }
        Some(())
    }

    fn leave(&mut self, process: u32, log: u32) {
        if let Some(reader) = self.readers.all.get_mut(&(process, log)) {
            reader.reads_on = false;
            if let Some((from, next)) = reader.range() {
                self.logs[log].cover(from, next);
            }
        }
    }

    fn assign(&mut self, process: u32, topic: u32, line: &Line<'_>) {
        let begin = match line.offset {
            Some(offset) => Begin::Offset(offset),
            None if line.latest => Begin::Latest,
            None => Begin::Start,
        };
        let Some(partition) = line.partition else {
            self.readers.follows.insert((process, topic), begin);
            return;
        };
        let log = self.logs.id(topic, line.generation, partition);
        self.leave(process, log);
        let start = self.logs[log].start;
        let mut reader = readers::Reader::new(begin, start);
        if let Some(before) = self.readers.all.remove(&(process, log)) {
            reader.gaps = before.gaps;
        }
        self.readers.all.insert((process, log), reader);
    }

    /// Returns a process's reader of a log, a new one where it follows the whole topic.
    fn reader(&mut self, process: u32, log: u32) -> &mut readers::Reader {
        let logs::Log { topic, generation, partition, start, .. } = self.logs[log];
        let begin = || {
            let follows = self.readers.follows.get(&(process, topic));
            let first = self.growth.first(process, topic, generation);
            judge::begin(follows.copied(), first, generation, partition)
        };
        let all = self.readers.all.entry((process, log));
        all.or_insert_with(|| readers::Reader::new(begin(), start))
    }

    fn invoke(&mut self, process: u32, topic: u32, line: &Line<'_>, at: At) -> Option<()> {
        let id = self.records.id(topic, line.value?);
        let key = line.key.as_deref().map(|key| self.keys.id(key));
        if self.records[id].sender != u32::MAX {
            self.malformed(line, at, "this value was sent before");
            return Some(());
        }
        let turn = self.turns.entry(process).or_default();
        let record = &mut self.records[id];
        (record.sender, record.turn, record.key) = (process, *turn, key);
        (record.state, record.invoked) = (State::Open, at);
        *turn += 1;
        self.sent_to.insert(topic);
        Some(())
    }

    fn respond(&mut self, process: u32, topic: u32, line: &Line<'_>, at: At) -> Option<()> {
        let id = self.records.id(topic, line.value?);
        let promised = self.promises.get(&process).copied().unwrap_or_default();
        let record = &mut self.records[id];
        if record.state != State::Open || record.sender != process {
            self.malformed(line, at, "this process has no such send in flight");
            return Some(());
        }
        record.responded = at;
        record.state = match line.kind {
            Kind::Ok => State::Acked,
            Kind::Fail => State::Failed,
            Kind::Info | Kind::Invoke => State::Maybe,
        };
        if line.kind != Kind::Ok {
            return Some(());
        }
        let partition = line.partition?;
        let log = self.logs.id(topic, line.generation, partition);
        let place = Place { log, offset: line.offset.unwrap_or(Place::UNREPORTED) };
        if place.offset >= 0 && self.logs[log].may_have_lost(place.offset, record.invoked) {
            record.void = true;
        } else {
            (record.acked, record.void) = (Some(place), false);
            if place.offset >= 0 {
                self.put(id, place, at, promised.durable);
            }
        }
        self.key_responded(id, partition, line, at);
        Some(())
    }

    /// Checks whether an earlier record of the key was acknowledged after a later one elsewhere.
    fn key_responded(&mut self, id: u32, partition: u32, line: &Line<'_>, at: At) {
        let record = &self.records[id];
        let promised = self.promises.get(&record.sender).is_some_and(|promise| promise.key_ordered);
        let Some(key) = record.key.filter(|_| promised) else { return };
        let this = (record.turn, partition, at);
        let end = self.key_ends.entry((record.sender, record.topic, key)).or_insert(this);
        if this.0 >= end.0 {
            *end = this;
        } else if this.1 != end.1 {
            let (_, other, seen) = *end;
            self.findings.add(What::KeyReordered, || Finding {
                what: What::KeyReordered,
                process: line.process.to_string(),
                topic: line.topic.as_deref().unwrap_or_default().to_string(),
                partition: Some(partition),
                offset: line.offset,
                lines: vec![seen, at],
                text: format!(
                    "key {}: a later record was written to partition {other} before",
                    self.keys.name(key),
                ),
            });
        }
    }

    /// Records that `id` is at `place`; `sure`: no clean election removes it. A record that only
    /// its leader had when it was acknowledged may be gone, and another one be in its place.
    fn put(&mut self, id: u32, place: Place, at: At, sure: bool) {
        let Some(there) = self.logs[place.log].put(place.offset, id) else { return };
        let log = &self.logs[place.log];
        let before = |record| log.may_have_lost(place.offset, self.records[record].invoked);
        let (old, new) = (before(there) || !self.stays(there, place), before(id) || !sure);
        if old {
            self.logs[place.log].replace(place.offset, id);
        } else if !new {
            self.conflicts.push((place, [there, id], at));
        }
    }

    /// Returns whether a record is known to stay at `place`: consumers read what is committed, and
    /// durable is what all in-sync replicas have.
    fn stays(&self, id: u32, place: Place) -> bool {
        let record = &self.records[id];
        let promised = self.promises.get(&record.sender).copied().unwrap_or_default();
        promised.durable || record.read == Some(place)
    }

    fn poll(&mut self, process: u32, topic: u32, line: &Line<'_>, at: At) -> Option<()> {
        let (partition, offset) = (line.partition?, line.offset?);
        let id = self.records.id(topic, line.value?);
        let log = self.logs.id(topic, line.generation, partition);
        self.reads += 1;
        let place = Place { log, offset };
        self.put(id, place, at, true);
        let record = &mut self.records[id];
        match record.read {
            None => (record.read, record.read_at) = (Some(place), at),
            Some(before) if before == place => {}
            Some(before) => {
                if self.logs[before.log].may_have_lost(before.offset, record.read_at) {
                    (record.read, record.read_at) = (Some(place), at);
                } else {
                    self.doubles.push((id, place, at));
                }
            }
        }
        let start = self.logs[log].start;
        if let Fit::Repeats(last) = self.reader(process, log).read(offset, start, at) {
            self.findings.add(What::Repeated, || Finding {
                what: What::Repeated,
                process: line.process.to_string(),
                topic: line.topic.as_deref().unwrap_or_default().to_string(),
                partition: Some(partition),
                offset: Some(offset),
                lines: vec![last, at],
                text: "this offset, or one behind it, was read before".into(),
            });
        }
        Some(())
    }

    fn count_back(&mut self, line: &Line<'_>, before: u32, lines: [At; 2]) {
        self.findings.add(What::CountBack, || Finding {
            what: What::CountBack,
            process: line.process.to_string(),
            topic: line.topic.as_deref().unwrap_or_default().to_string(),
            partition: None,
            offset: None,
            lines: lines.to_vec(),
            text: format!("{} partitions after {before}", line.count.unwrap_or_default()),
        });
    }

    fn memory(&mut self, line: &Line<'_>, at: At) -> Option<()> {
        let (bytes, limit) = (line.bytes?, line.limit?);
        if bytes > limit {
            self.findings.add(What::MemoryAbove, || Finding {
                what: What::MemoryAbove,
                process: line.process.to_string(),
                topic: String::new(),
                partition: None,
                offset: None,
                lines: vec![at],
                text: format!("{bytes} bytes, {limit} are allowed"),
            });
        }
        Some(())
    }

    /// Judges what can only be seen at the end.
    #[must_use]
    pub fn finish(self) -> Report {
        judge::finish(self)
    }
}
