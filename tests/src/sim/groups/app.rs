//! Applications: one that writes, and members that read, commit and give up what is revoked.

use core::time::Duration;
use std::collections::BTreeMap;

use kavka_core::{
    Batch, Commands, Event, GroupError, Instant, PartitionId, ProduceError, Record, TopicId,
    TopicPartition,
};

use kavka_std::PatternTopics;

use super::plan::{self, Plan};
use crate::sim::rng::Rng;
use crate::sim::world::App;

/// The code that a static member gets whose instance another one has now.
const FENCED: i16 = 82;
/// Between two records.
const PACE: Duration = Duration::from_millis(15);

/// An application.
pub(super) enum Role {
    Writer(Writer),
    Member(Member),
}

pub(super) struct Writer {
    names: usize,
    topics: Vec<TopicId>,
    numbers: Vec<usize>,
    rng: Rng,
    next: Option<Instant>,
    count: u64,
}

/// A partition that a member reads.
pub(super) struct Held {
    pub(super) topic: usize,
    pub(super) partition: u32,
    /// Offset that has to come next.
    next: Option<i64>,
    /// It is being revoked, and given up then.
    until: Option<Instant>,
}

pub(super) struct Member {
    topics: Vec<TopicId>,
    pattern: Option<Box<PatternTopics>>,
    pub(super) held: BTreeMap<PartitionId, Held>,
    keeps: Duration,
    commits: bool,
    rng: Rng,
    pub(super) id: String,
    /// How often each record was read: topic, partition, offset.
    pub(super) read: BTreeMap<(usize, u32, i64), u32>,
    pub(super) lost: u32,
    /// It has ended: another process has its instance.
    pub(super) fenced: bool,
    pub(super) findings: Vec<String>,
}

impl Role {
    pub(super) fn writer(names: usize, rng: Rng) -> Self {
        let (topics, numbers) = (Vec::new(), Vec::new());
        Self::Writer(Writer { names, topics, numbers, rng, next: None, count: 0 })
    }

    pub(super) fn member(plan: &Plan, rng: Rng) -> Self {
        Self::Member(Member {
            topics: Vec::new(),
            pattern: None,
            held: BTreeMap::new(),
            keeps: plan.keeps,
            commits: plan.auto_commit.is_none(),
            rng,
            id: String::new(),
            read: BTreeMap::new(),
            lost: 0,
            fenced: false,
            findings: Vec::new(),
        })
    }

    pub(super) fn as_member(&self) -> Option<&Member> {
        match self {
            Self::Member(member) => Some(member),
            Self::Writer(_) => None,
        }
    }

    pub(super) fn subscribe(
        &mut self,
        now: Instant,
        commands: &mut Commands<'static>,
        (plan, expression): (&Plan, &str),
        topics: &[usize],
    ) {
        let Self::Member(member) = self else { return };
        if !expression.is_empty() {
            return match PatternTopics::new(expression, plan.start) {
                Ok(topics) => member.pattern = Some(Box::new(topics)),
                Err(error) => member.findings.push(format!("no pattern: {error}")),
            };
        }
        let names = topics.iter().copied().map(plan::topic);
        member.topics = names.filter_map(|name| commands.topic(&name).ok()).collect();
        if let Err(error) = commands.subscribe(now, &member.topics, plan.start) {
            member.findings.push(format!("not subscribed: {error}"));
        }
    }

    pub(super) fn leave(&mut self, now: Instant, commands: &mut Commands<'static>) {
        if let Self::Member(member) = self {
            for at in member.held.keys().copied().collect::<Vec<_>>() {
                member.commit_last(now, at, commands);
            }
            member.held.clear();
            member.pattern = None;
            commands.unsubscribe(now, Duration::from_secs(5));
        }
    }

    pub(super) fn write(&mut self, now: Instant, commands: &mut Commands<'static>) {
        if let Self::Writer(writer) = self {
            let names = (0..writer.names).map(plan::topic);
            writer.topics = names.filter_map(|name| commands.topic(&name).ok()).collect();
            writer.numbers = (0..writer.names).collect();
            writer.next = Some(now);
        }
    }

    /// Writes to one more topic.
    pub(super) fn begin_topic(&mut self, topic: usize, commands: &mut Commands<'static>) {
        if let Self::Writer(writer) = self
            && let Ok(id) = commands.topic(&plan::topic(topic))
        {
            writer.topics.push(id);
            writer.numbers.push(topic);
        }
    }

    /// Writes to one topic less.
    pub(super) fn end_topic(&mut self, topic: usize, commands: &mut Commands<'static>) {
        if let Self::Writer(writer) = self
            && let Some(at) = writer.numbers.iter().position(|other| *other == topic)
        {
            commands.unwatch(writer.topics.remove(at));
            writer.numbers.remove(at);
        }
    }

    /// Writes a last record to each partition, and no more.
    pub(super) fn calm(&mut self, now: Instant, commands: &mut Commands<'static>) {
        if let Self::Writer(writer) = self {
            writer.next = None;
            commands.flush(now);
        }
    }
}

impl Member {
    fn take(&mut self, now: Instant, batch: &Batch<'_>, commands: &mut Commands<'static>) {
        let at = batch.partition();
        let Some(held) = self.held.get_mut(&at).filter(|held| held.until.is_none()) else {
            return self.findings.push(format!("records of {at:?}, which is not held"));
        };
        let mut last = None;
        for record in batch.records().flatten() {
            let offset = record.offset;
            if held.next.is_some_and(|next| next != offset) {
                let (topic, partition) = (held.topic, held.partition);
                self.findings.push(format!(
                    "offset {offset} of topic {topic}, partition {partition}, and {:?} was due",
                    held.next
                ));
            }
            held.next = Some(offset + 1);
            *self.read.entry((held.topic, held.partition, offset)).or_default() += 1;
            last = Some(offset + 1);
        }
        if let Some(next) = last.filter(|_| self.commits && self.rng.chance(30)) {
            // Full or no member now: the next one will do.
            let _ = commands.commit_offset(now, at, (next, -1), "mine");
        }
    }

    /// Commits what was read of a partition before it is given up.
    fn commit_last(&mut self, now: Instant, at: PartitionId, commands: &mut Commands<'static>) {
        let next = self.held.get(&at).and_then(|held| held.next);
        if let Some(next) = next.filter(|_| self.commits) {
            // Without memory, or outside of the group, it is read again.
            let _ = commands.commit_offset(now, at, (next, -1), "last");
        }
    }

    fn begin(&mut self, at: PartitionId, partition: TopicPartition, commands: &Commands<'static>) {
        let name = commands.topic_name(partition.topic).unwrap_or_default();
        let Some(topic) = plan::number(name) else { return };
        let held = Held { topic, partition: partition.partition, next: None, until: None };
        if self.held.insert(at, held).is_some() {
            self.findings.push(format!("{at:?} is assigned twice"));
        }
    }
}

impl App for Role {
    fn on_event(&mut self, now: Instant, event: Event<'_>, commands: &mut Commands<'static>) {
        let Self::Member(member) = self else { return };
        if let Some((id, _)) = commands.membership()
            && member.id != id
        {
            id.clone_into(&mut member.id);
        }
        if let Some(topics) = &mut member.pattern {
            topics.handle_event(now, &event, commands);
        }
        match event {
            Event::Records(batch) => member.take(now, &batch, commands),
            Event::Assigned { at, partition } => member.begin(at, partition, commands),
            Event::Revoking { at, .. } => {
                let pause = member.rng.time(Duration::ZERO, member.keeps);
                let micros = u64::try_from(pause.as_micros()).unwrap_or(0);
                if let Some(held) = member.held.get_mut(&at) {
                    held.until = Some(Instant::from_micros(now.as_micros() + micros));
                    commands.keep(at);
                }
            }
            Event::Lost { at, .. } => {
                member.lost += 1;
                if member.held.remove(&at).is_none() {
                    member.findings.push(format!("{at:?} is lost, and was not held"));
                }
            }
            Event::Moved { at, from, to, why } => {
                member.findings.push(format!("{at:?} moved from {from} to {to}: {why:?}"));
            }
            Event::GroupFailed { error: GroupError::Refused(code) } if code.0 == FENCED => {
                member.fenced = true;
            }
            Event::GroupFailed { error } => member.findings.push(format!("failed: {error}")),
            _ => {}
        }
    }

    fn on_idle(&mut self, now: Instant, commands: &mut Commands<'static>) {
        match self {
            Self::Member(member) => {
                if let Some(Err(error)) =
                    member.pattern.as_mut().map(|topics| topics.drive(now, commands))
                {
                    member.findings.push(format!("topics are not subscribed: {error}"));
                }
                let due = |held: &Held| held.until.is_some_and(|until| until <= now);
                let over: Vec<_> =
                    member.held.iter().filter(|(_, held)| due(held)).map(|(at, _)| *at).collect();
                for at in over {
                    member.commit_last(now, at, commands);
                    commands.release(now, at);
                    member.held.remove(&at);
                }
            }
            Self::Writer(writer) => {
                while writer.next.is_some_and(|next| next <= now) {
                    let topic =
                        writer.topics[writer.rng.below(writer.topics.len() as u64) as usize];
                    let value = writer.count.to_be_bytes();
                    match commands.produce(now, topic, &Record::new(&value)) {
                        Ok(_) => writer.count += 1,
                        Err(ProduceError::Full | ProduceError::NotReady) => {}
                        Err(_) => writer.next = None,
                    }
                    let micros = writer.rng.below(2 * PACE.as_micros() as u64);
                    writer.next =
                        writer.next.map(|_| Instant::from_micros(now.as_micros() + micros + 1));
                }
            }
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        match self {
            Self::Member(member) => {
                let listed = member.pattern.as_ref().and_then(|topics| topics.due());
                member.held.values().filter_map(|held| held.until).chain(listed).min()
            }
            Self::Writer(writer) => writer.next,
        }
    }
}
