//! The application of a simulated client: writes and reads as planned, and checks that what is
//! reported is consistent.

mod reader;
mod writer;

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};

use kavka_core::{Commands, Event, Instant, PartitionId, Start, TopicId};
use kavka_std::codec::Decoders;

use super::load::STALL;
use super::plan::{ClientPlan, Reads};
use super::step::{Done, Step};
use crate::sim::rng::Rng;
use crate::sim::world::App;
use reader::Reader;
use writer::{Response, Writer};

/// Bytes that a batch may unpack to: the largest one, and a record more.
const UNPACKED: usize = 32 << 10;
/// Records that are not polled for this long are dropped where other requests wait behind them.
const HOLD_UP: Duration = Duration::from_secs(1);

/// An application.
pub struct Agent {
    process: usize,
    plan: ClientPlan,
    rng: Rng,
    topics: Vec<TopicId>,
    writer: Writer,
    readers: BTreeMap<PartitionId, Reader>,
    /// Partitions of each topic as first reported, and as last reported.
    counts: BTreeMap<TopicId, (u32, u32)>,
    /// Partitions that resume reading later.
    resumes: Vec<(Instant, PartitionId)>,
    busy_until: Option<Instant>,
    /// Until when it has no space for records.
    full_until: Option<Instant>,
    /// When it stalls, once.
    stall: Option<Instant>,
    /// A topic that does not exist.
    missing: Option<TopicId>,
    /// Bytes of batches that were taken.
    taken: u64,
    /// How often a position changed other than by reading, or may have.
    turns: u64,
    /// Whether new records and whims have ended.
    calm: bool,
    steps: Vec<Step>,
    findings: Vec<String>,
    /// For compressed batches.
    decoders: Decoders,
    scratch: Vec<u8>,
}

impl Agent {
    pub(super) fn new(process: usize, plan: ClientPlan, mut rng: Rng) -> Self {
        let micros = |at: Duration| u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        Self {
            process,
            stall: plan.stall.map(|at| Instant::from_micros(micros(at))),
            missing: None,
            taken: 0,
            turns: 0,
            writer: Writer::new(process, plan.writes, rng.fork()),
            plan,
            rng,
            topics: Vec::new(),
            readers: BTreeMap::new(),
            counts: BTreeMap::new(),
            resumes: Vec::new(),
            busy_until: None,
            full_until: None,
            calm: false,
            steps: Vec::new(),
            findings: Vec::new(),
            decoders: Decoders::new(),
            scratch: Vec::new(),
        }
    }

    /// Watches and assigns.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        commands: &mut Commands<'static>,
        topics: &[String],
    ) {
        for name in topics {
            match commands.topic(name) {
                Ok(topic) => self.topics.push(topic),
                Err(error) => self.finds(format!("topic {name} refused: {error:?}")),
            }
        }
        if self.plan.missing > 0 {
            match commands.topic("missing") {
                Ok(topic) => self.missing = Some(topic),
                Err(error) => self.finds(format!("the missing topic refused: {error:?}")),
            }
        }
        for (topic, reads) in self.plan.reads.clone() {
            let topic = self.topics[topic];
            match reads {
                Reads::All(start) => {
                    self.did(now, topic, Done::Assigned(None, start));
                    if let Err(error) = commands.assign_all(now, topic, start) {
                        self.finds(format!("assign_all refused: {error:?}"));
                    }
                }
                Reads::ByHand(count, start) => {
                    for partition in 0..count {
                        match commands.assign(now, topic, partition, start) {
                            Ok(at) => {
                                self.readers.insert(at, Reader::new(topic, partition, start));
                                self.did(now, topic, Done::Assigned(Some(partition), start));
                            }
                            Err(error) => self.finds(format!("assign refused: {error:?}")),
                        }
                    }
                }
            }
        }
    }

    /// Ends new records and whims; paused partitions resume.
    pub(super) fn calm_down(&mut self, now: Instant, commands: &mut Commands<'static>) {
        self.calm = true;
        (self.busy_until, self.full_until, self.stall) = (None, None, None);
        self.turns += self.resumes.len() as u64;
        for (_, at) in core::mem::take(&mut self.resumes) {
            commands.resume(now, at);
        }
        self.writer.stop();
        commands.flush(now);
    }

    pub(super) fn plan(&self) -> &ClientPlan {
        &self.plan
    }

    pub(super) fn topic_id(&self, topic: usize) -> Option<TopicId> {
        self.topics.get(topic).copied()
    }

    /// Returns the index of a topic in the plan.
    fn topic_index(&self, topic: TopicId) -> usize {
        self.topics.iter().position(|id| *id == topic).unwrap_or(usize::MAX)
    }

    /// Returns whether every accepted record is delivered or failed.
    pub(super) fn all_responded(&self) -> bool {
        self.writer.all_responded()
    }

    /// Returns what was done since the last call, in order.
    pub(super) fn take_steps(&mut self) -> Vec<Step> {
        core::mem::take(&mut self.steps)
    }

    pub(super) fn take_findings(&mut self) -> Vec<String> {
        self.findings.append(self.writer.findings());
        core::mem::take(&mut self.findings)
    }

    /// Returns the partitions that are read.
    pub(super) fn readers(&self) -> HashMap<(TopicId, u32), PartitionId> {
        self.readers.iter().map(|(at, r)| ((r.topic, r.partition), *at)).collect()
    }

    /// Returns the bytes of accepted batches, and how often a position may have changed otherwise.
    pub(super) fn taken(&self) -> (u64, u64) {
        (self.taken, self.turns)
    }

    /// Simulates the time that an application takes for what it has read.
    fn take_time(&mut self, now: Instant, event: &Event<'_>) {
        match event {
            Event::Records(batch) => {
                self.taken += batch.bytes().len() as u64;
                if let Some(rate) = self.plan.rate.filter(|_| !self.calm) {
                    let records = batch.header().count.max(0) as u32;
                    let time = Duration::from_secs(1) * records / rate.max(1);
                    self.full_until = self.full_until.max(Some(now + time));
                    // Records that others wait behind are dropped once.
                    self.turns += if time < HOLD_UP { 0 } else { self.shared() };
                }
            }
            Event::Moved { .. }
            | Event::TooLarge { .. }
            | Event::Corrupt { .. }
            | Event::PartitionFailed { .. }
            | Event::LeaderMoved { .. }
            | Event::TopicRecreated { .. } => self.turns += 1,
            _ => {}
        }
    }

    /// Returns the number of connections on which other requests may wait behind records.
    fn shared(&self) -> u64 {
        match self.plan.limits.conns {
            2..8 => 0,
            conns => conns as u64,
        }
    }

    fn did(&mut self, at: Instant, topic: TopicId, what: Done) {
        self.steps.push(Step { at, topic: self.topic_index(topic), what });
    }

    fn finds(&mut self, text: String) {
        self.findings.push(format!("client {}: {text}", self.process));
    }

    /// Checks that counts never decrease within a topic's life.
    fn count(&mut self, now: Instant, topic: TopicId, from: Option<u32>, to: u32) {
        let first = self.counts.get(&topic).map_or(to, |(first, _)| *first);
        let known = self.counts.get(&topic).map(|(_, count)| *count);
        if let Some(from) = from
            && (Some(from) != known || to <= from)
        {
            self.finds(format!("{topic:?} grew from {from} to {to}, and {known:?} was known"));
        }
        self.counts.insert(topic, (first, to));
        self.did(now, topic, Done::Counted(to));
    }
}

impl App for Agent {
    fn on_event(&mut self, now: Instant, event: Event<'_>, commands: &mut Commands<'static>) {
        if !self.calm && !self.plan.slow.is_zero() && self.rng.chance(10) {
            self.busy_until = Some(now + self.rng.time(Duration::ZERO, self.plan.slow));
        }
        self.take_time(now, &event);
        match event {
            Event::Delivered { batch, to, first, count, base_offset } => {
                let response = |n| Response::Delivered(base_offset.map(|base| base + i64::from(n)));
                self.writer.responded(
                    now,
                    (batch, to.partition),
                    first,
                    count,
                    response,
                    &mut self.steps,
                );
            }
            Event::Failed { batch, to, first, count, error, maybe_written } => {
                let response = |_| Response::Failed(error, maybe_written);
                self.writer.responded(
                    now,
                    (batch, to.partition),
                    first,
                    count,
                    response,
                    &mut self.steps,
                );
            }
            Event::Room => self.writer.room(),
            Event::TopicReady { topic, partitions } => self.count(now, topic, None, partitions),
            Event::PartitionsAdded { topic, from, to, .. } => {
                self.count(now, topic, Some(from), to)
            }
            // What is assigned from now on was added: it is read from its first record. Topics that
            // were created and deleted between two events may have had any number of partitions.
            Event::TopicRecreated { topic, partitions } => {
                self.counts.insert(topic, (0, partitions));
            }
            Event::Assigned { at, partition } => {
                let known = self.counts.get(&partition.topic);
                let added = known.is_some_and(|(first, _)| partition.partition >= *first);
                let start = self.plan.reads.iter().find_map(|(topic, reads)| match reads {
                    Reads::All(start) if self.topics[*topic] == partition.topic => Some(*start),
                    _ => None,
                });
                let start = if added { Start::Offset(0) } else { start.unwrap_or(Start::Latest) };
                let reader = Reader::new(partition.topic, partition.partition, start);
                // A partition that a recreated topic no longer had may return under another id.
                let same =
                    |r: &Reader| (r.topic, r.partition) == (partition.topic, partition.partition);
                self.readers.retain(|id, other| *id == at || !same(other));
                if self.readers.insert(at, reader).is_some() && !added {
                    self.finds(format!("{at:?} assigned twice"));
                }
            }
            event => self.on_reading(now, event, commands),
        }
    }

    fn on_idle(&mut self, now: Instant, commands: &mut Commands<'static>) {
        self.busy_until = self.busy_until.filter(|until| *until > now);
        self.full_until = self.full_until.filter(|until| *until > now);
        if self.stall.is_some_and(|at| at <= now) {
            self.stall = None;
            self.busy_until = Some(now + STALL);
        }
        let due = self.resumes.iter().position(|(at, _)| *at <= now);
        if let Some((_, at)) = due.map(|due| self.resumes.swap_remove(due)) {
            self.turns += 1;
            commands.resume(now, at);
        }
        let missing = self.missing.map(|topic| (topic, self.plan.missing));
        self.writer.work(now, commands, (&self.topics, missing), &mut self.steps);
    }

    fn wake_at(&self) -> Option<Instant> {
        let resume = self.resumes.iter().map(|(at, _)| *at).min();
        let busy = Instant::earliest(self.busy_until, self.stall);
        let busy = Instant::earliest(busy, self.full_until);
        Instant::earliest(Instant::earliest(resume, busy), self.writer.wake_at())
    }

    fn is_busy(&self, now: Instant) -> bool {
        self.busy_until.is_some_and(|until| until > now)
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_until.is_some_and(|until| until > now)
    }
}
