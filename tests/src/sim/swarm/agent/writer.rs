//! Writes records, and sees that each is answered exactly once.

use core::time::Duration;
use std::collections::HashMap;

use kavka_core::{
    BatchId, Commands, Error, Instant, ProduceError, Record, RecordId, TopicId, TopicPartition,
};

use super::Id;
use crate::sim::rng::Rng;
use crate::sim::swarm::plan::Writes;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim::swarm) enum Fate {
    /// Acknowledged, at this offset where the broker told one.
    Delivered(Option<i64>),
    /// Given up; whether it may be in the log all the same.
    Failed(Error, bool),
}

/// An answered record.
#[derive(Clone, Copy, Debug)]
pub(in crate::sim::swarm) struct Answered {
    pub(in crate::sim::swarm) id: Id,
    pub(in crate::sim::swarm) to: TopicPartition,
    pub(in crate::sim::swarm) fate: Fate,
    /// When it was taken.
    pub(in crate::sim::swarm) taken: Instant,
}

/// A record that the client did not take yet.
struct Draft {
    id: Id,
    topic: TopicId,
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
    /// Left of the burst.
    burst: u64,
    draft: Option<Draft>,
    /// The client said `Full` or `NotReady`, and no `Room` since.
    waits: bool,
    under_way: HashMap<RecordId, (Id, Instant)>,
    answered: Vec<Answered>,
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
            answered: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// No more records, but for one that waits for room.
    pub(super) fn stop(&mut self) {
        (self.plan, self.draft) = (None, None);
    }

    pub(super) fn room(&mut self) {
        self.waits = false;
    }

    pub(super) fn all_answered(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.plan.filter(|_| !self.waits).map(|_| self.next_burst)
    }

    pub(super) fn take_answered(&mut self) -> Vec<Answered> {
        core::mem::take(&mut self.answered)
    }

    pub(super) fn findings(&mut self) -> &mut Vec<String> {
        &mut self.findings
    }

    /// Gives the client what is due.
    pub(super) fn work(
        &mut self,
        now: Instant,
        commands: &mut Commands<'static>,
        topics: &[TopicId],
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
            let Some(draft) = self.draft.take() else { return };
            self.give(now, commands, draft);
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
        let topic = self.rng.pick(topics);
        let known = commands.freshness(topic).map_or(0, |known| known.partitions);
        let chosen = known > 0 && self.rng.chance(plan.chosen);
        let mut value = id.text().into_bytes();
        let size = self.rng.range(0, plan.size) as usize;
        value.resize(value.len().max(size), b'.');
        Draft {
            id,
            topic,
            partition: chosen.then(|| self.rng.below(u64::from(known)) as u32),
            key: (plan.keys > 0).then(|| self.rng.below(plan.keys).to_string().into_bytes()),
            value,
        }
    }

    fn give(&mut self, now: Instant, commands: &mut Commands<'static>, draft: Draft) {
        let mut record = Record::new(&draft.value);
        if let Some(key) = &draft.key {
            record = record.key(key);
        }
        let taken = match draft.partition {
            Some(partition) => commands.produce(now, (draft.topic, partition), &record),
            None => commands.produce(now, draft.topic, &record),
        };
        match taken {
            Ok(at) => {
                if self.under_way.insert(at, (draft.id, now)).is_some() {
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

    pub(super) fn delivered(
        &mut self,
        now: Instant,
        at: (BatchId, TopicPartition),
        first: u32,
        count: u32,
        base: Option<i64>,
    ) {
        for n in 0..count {
            let offset = base.map(|base| base + i64::from(n));
            self.answer(now, at, first + n, Fate::Delivered(offset));
        }
    }

    pub(super) fn failed(
        &mut self,
        now: Instant,
        at: (BatchId, TopicPartition),
        first: u32,
        count: u32,
        (error, maybe_written): (Error, bool),
    ) {
        for n in 0..count {
            self.answer(now, at, first + n, Fate::Failed(error, maybe_written));
        }
    }

    fn answer(
        &mut self,
        _: Instant,
        (batch, to): (BatchId, TopicPartition),
        index: u32,
        fate: Fate,
    ) {
        let at = RecordId { batch, index, partition: to.partition };
        match self.under_way.remove(&at) {
            Some((id, taken)) => self.answered.push(Answered { id, to, fate, taken }),
            None => self.findings.push(format!("{at:?} answered ({fate:?}), but not under way")),
        }
    }
}
