//! Writes records, and checks that each gets exactly one outcome.

use core::time::Duration;
use std::collections::{HashMap, HashSet};

use kavka_core::{BatchId, Commands, Error, Instant, ProduceError, Record, RecordId, TopicId};

use crate::sim::rng::Rng;
use crate::sim::swarm::plan::Writes;
use crate::sim::swarm::step::{Done, Id, Step};

/// The outcome of a record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Response {
    Delivered(Option<i64>),
    Failed(Error, bool),
}

/// A record that the client has not accepted yet.
struct Draft {
    id: Id,
    /// Index in the plan.
    topic: usize,
    partition: Option<u32>,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
}

pub(super) struct Writer {
    process: usize,
    plan: Option<Writes>,
    rng: Rng,
    count: u64,
    next_burst: Instant,
    /// Records left of the burst.
    burst: u64,
    draft: Option<Draft>,
    /// Whether the client returned `Full` or `NotReady`, and reported no `Room` since.
    waits: bool,
    under_way: HashMap<RecordId, (Id, usize)>,
    /// Records for the topic that does not exist.
    lost: HashSet<RecordId>,
    findings: Vec<String>,
}

impl Writer {
    pub(super) fn new(process: usize, plan: Option<Writes>, rng: Rng) -> Self {
        Self {
            process,
            plan,
            rng,
            count: 0,
            next_burst: Instant::ZERO,
            burst: 0,
            draft: None,
            waits: false,
            under_way: HashMap::new(),
            lost: HashSet::new(),
            findings: Vec::new(),
        }
    }

    /// Stops writing, except for a record that waits for space.
    pub(super) fn stop(&mut self) {
        (self.plan, self.draft) = (None, None);
    }

    pub(super) fn room(&mut self) {
        self.waits = false;
    }

    pub(super) fn all_responded(&self) -> bool {
        self.under_way.is_empty() && self.lost.is_empty()
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.plan.filter(|_| !self.waits).map(|_| self.next_burst)
    }

    pub(super) fn findings(&mut self) -> &mut Vec<String> {
        &mut self.findings
    }

    /// Gives the client what is due. `missing`: a topic that does not exist, and how many in 100
    /// records go there.
    pub(super) fn work(
        &mut self,
        now: Instant,
        commands: &mut Commands<'static>,
        (topics, missing): (&[TopicId], Option<(TopicId, u64)>),
        steps: &mut Vec<Step>,
    ) {
        let Some(plan) = self.plan else { return };
        while !self.waits {
            if self.draft.is_none() {
                if self.burst == 0 {
                    if now < self.next_burst {
                        return;
                    }
                    if self.rng.chance(plan.flushes) {
                        commands.flush(now);
                    }
                    self.burst = self.rng.range(1, plan.burst);
                    self.next_burst = now + self.rng.time(Duration::from_millis(1), plan.gap * 2);
                }
                self.burst -= 1;
                self.draft = Some(self.compose(&plan, commands, topics));
            }
            if let Some((topic, share)) = missing
                && self.rng.chance(share)
            {
                self.give_in_vain(now, commands, topic);
            }
            let Some(draft) = self.draft.take() else { return };
            self.give(now, commands, topics, draft, steps);
        }
    }

    fn compose(
        &mut self,
        plan: &Writes,
        commands: &Commands<'static>,
        topics: &[TopicId],
    ) -> Draft {
        self.count += 1;
        let id = Id { process: self.process, number: self.count };
        let topic = self.rng.below(topics.len() as u64) as usize;
        let known = commands.freshness(topics[topic]).map_or(0, |known| known.partitions);
        let chosen = known > 0 && self.rng.chance(plan.chosen);
        let mut value = id.text().into_bytes();
        let size = self.rng.range(0, plan.size) as usize;
        value.resize(value.len().max(size), b'.');
        if plan.noise && self.count.is_multiple_of(2) {
            let mut noise = Rng(self.count);
            let of = id.text().len();
            value[of..].fill_with(|| b'0' + noise.below(75) as u8);
        }
        Draft {
            id,
            topic,
            partition: chosen.then(|| self.rng.below(u64::from(known)) as u32),
            key: (plan.keys > 0).then(|| self.rng.below(plan.keys).to_string().into_bytes()),
            value,
        }
    }

    fn give(
        &mut self,
        now: Instant,
        commands: &mut Commands<'static>,
        topics: &[TopicId],
        draft: Draft,
        steps: &mut Vec<Step>,
    ) {
        let mut record = Record::new(&draft.value);
        if let Some(key) = &draft.key {
            record = record.key(key);
        }
        let topic = topics[draft.topic];
        let taken = match draft.partition {
            Some(partition) => commands.produce(now, (topic, partition), &record),
            None => commands.produce(now, topic, &record),
        };
        match taken {
            Ok(at) => {
                let what = Done::Sent(draft.id);
                steps.push(Step { at: now, topic: draft.topic, what });
                if self.under_way.insert(at, (draft.id, draft.topic)).is_some() {
                    self.findings.push(format!("{at:?} was given out twice"));
                }
            }
            Err(ProduceError::Full | ProduceError::NotReady) => {
                self.draft = Some(draft);
                self.waits = true;
            }
            Err(ProduceError::TooLarge { .. }) => {}
            Err(error) => {
                self.findings.push(format!("record {:?} refused: {error:?}", draft.id));
            }
        }
    }

    /// Sends a record to a topic that does not exist. Whatever its result, others continue.
    fn give_in_vain(&mut self, now: Instant, commands: &mut Commands<'static>, topic: TopicId) {
        if let Ok(at) = commands.produce(now, topic, &Record::new(b"in vain")) {
            self.lost.insert(at);
        }
    }

    /// Records the outcome of records `first .. first + count` of a batch.
    pub(super) fn responded(
        &mut self,
        now: Instant,
        (batch, partition): (BatchId, u32),
        first: u32,
        count: u32,
        respond: impl Fn(u32) -> Response,
        steps: &mut Vec<Step>,
    ) {
        for n in 0..count {
            let at = RecordId { batch, index: first + n, partition };
            if self.lost.remove(&at) {
                if let Response::Delivered(offset) = respond(n) {
                    self.findings.push(format!("{at:?} was for no topic, and is at {offset:?}"));
                }
                continue;
            }
            let Some((id, topic)) = self.under_way.remove(&at) else {
                self.findings.push(format!("{at:?} answered, but not in flight"));
                continue;
            };
            let what = match respond(n) {
                Response::Delivered(offset) => Done::Delivered(id, partition, offset),
                Response::Failed(error, maybe) => Done::Failed(id, error, maybe),
            };
            steps.push(Step { at: now, topic, what });
        }
    }
}
