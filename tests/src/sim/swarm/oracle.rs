//! What may be seen and what may not: compares what clients say with what brokers did.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use kavka_core::Acks;

use super::agent::{Agent, Answered, Fate, Id, Seen};
use super::plan::{ClientPlan, Plan};
use crate::sim::batch;
use crate::sim::deed::{Deed, What};
use crate::sim::model::Cluster;
use crate::sim::world::World;

/// A topic of the plan, and a partition.
type Place = (usize, u32);

/// A loss that is nobody's fault.
#[derive(Clone, Copy, Debug)]
struct Excuse {
    topic: usize,
    /// `None`: all of them.
    partition: Option<u32>,
    /// What lay from here on.
    from: i64,
    at: Duration,
}

#[derive(Default)]
pub(super) struct Oracle {
    /// Who was ever stored at each offset.
    stored: HashMap<Place, Vec<Vec<Id>>>,
    ever: HashMap<Id, Place>,
    answered: Vec<Answered>,
    excuses: Vec<Excuse>,
    read: u64,
}

impl Oracle {
    /// Records that were read so far, by all clients.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Records that were acknowledged or given up so far.
    pub(super) fn answered(&self) -> usize {
        self.answered.len()
    }

    /// Takes in what happened since the last time, and judges it.
    pub(super) fn look(&mut self, world: &mut World<Agent>) -> Vec<String> {
        for deed in world.cluster.take_deeds() {
            self.learn(&deed);
        }
        let mut findings = Vec::new();
        for member in 0..world.members() {
            findings.append(&mut world.app_mut(member).take_findings());
            let answered = world.app_mut(member).take_answered();
            let seen = world.app_mut(member).take_seen();
            let agent = world.app(member);
            for answer in answered {
                findings.extend(self.judge_answer(agent, &answer));
                self.answered.push(answer);
            }
            self.read += seen.len() as u64;
            for seen in seen {
                findings.extend(
                    self.judge_seen(agent, &seen).map(|text| format!("client {member}: {text}")),
                );
            }
        }
        findings
    }

    fn learn(&mut self, deed: &Deed) {
        let Some(topic) = deed.topic.rsplit('-').next().and_then(|n| n.parse().ok()) else {
            return;
        };
        let at = deed.at;
        match &deed.what {
            What::Appended { partition, batch } => self.store((topic, *partition), batch),
            What::Deleted => {
                self.ever.retain(|_, place| place.0 != topic);
                self.excuses.push(Excuse { topic, partition: None, from: 0, at });
            }
            What::Cut { partition, to } => {
                let partition = Some(*partition);
                self.excuses.push(Excuse { topic, partition, from: *to, at });
            }
            What::Grown { .. } | What::Trimmed { .. } => {}
        }
    }

    fn store(&mut self, place: Place, stored: &Bytes) {
        for record in batch::records(stored).unwrap_or_default() {
            let Some(id) = record.value.as_deref().and_then(Id::parse) else { continue };
            let at = usize::try_from(record.offset).unwrap_or(0);
            let log = self.stored.entry(place).or_default();
            if log.len() <= at {
                log.resize(at + 1, Vec::new());
            }
            log[at].push(id);
            self.ever.insert(id, place);
        }
    }

    fn was_stored(&self, place: Place, offset: i64, id: Id) -> bool {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        self.stored.get(&place).and_then(|log| log.get(at)).is_some_and(|ids| ids.contains(&id))
    }

    fn judge_answer(&self, agent: &Agent, answer: &Answered) -> Option<String> {
        let Answered { id, to, fate, .. } = *answer;
        let place = (agent.topic_index(to.topic), to.partition);
        match fate {
            Fate::Delivered(Some(offset)) if !self.was_stored(place, offset, id) => Some(format!(
                "{id:?} acknowledged at {place:?} offset {offset}, where it never was"
            )),
            Fate::Delivered(None)
                if agent.plan().config.acks != Acks::None && self.ever.get(&id) != Some(&place) =>
            {
                Some(format!("{id:?} acknowledged in {place:?}, where it never was"))
            }
            _ => None,
        }
    }

    fn judge_seen(&self, agent: &Agent, seen: &Seen) -> Option<String> {
        let place = (agent.topic_index(seen.topic), seen.partition);
        let id = match seen.id {
            Some(id) if self.was_stored(place, seen.offset, id) => return None,
            other => other,
        };
        Some(format!("read {id:?} at {place:?} offset {}, where it never was", seen.offset))
    }

    /// Judges the whole of it, when all is quiet.
    pub(super) fn judge_end(&self, plan: &Plan, cluster: &Cluster) -> Vec<String> {
        let mut findings = Vec::new();
        let mut last = BTreeMap::new();
        for topic in 0..plan.topics.len() {
            let name = Plan::topic(topic);
            for partition in 0..cluster.partitions(&name) {
                let mut here = BTreeSet::new();
                for record in cluster.records(&name, partition) {
                    let Some(id) = record.value.as_deref().and_then(Id::parse) else { continue };
                    let Some(client) = plan.clients.get(id.process) else { continue };
                    if !client.config.idempotence {
                        continue;
                    }
                    let at = format!("{name} {partition} offset {}", record.offset);
                    if !here.insert(id) {
                        findings.push(format!("{id:?} is twice in a log: {at}"));
                    }
                    let before = last.insert((id.process, topic, partition), id.number);
                    if let Some(before) = before.filter(|before| *before >= id.number) {
                        findings.push(format!("{id:?} comes after {before}: {at}"));
                    }
                }
            }
        }
        for answer in &self.answered {
            let client = &plan.clients[answer.id.process];
            findings.extend(self.judge_fate(client, answer, cluster));
        }
        findings
    }

    fn judge_fate(
        &self,
        client: &ClientPlan,
        answer: &Answered,
        cluster: &Cluster,
    ) -> Option<String> {
        let id = answer.id;
        let place = self.ever.get(&id);
        match answer.fate {
            Fate::Failed(error, false) if place.is_some() => {
                Some(format!("{id:?} failed ({error:?}) as surely not written, and was: {place:?}"))
            }
            Fate::Delivered(offset) if client.config.acks == Acks::All => {
                let (topic, partition) = *place?; // that it was stored was judged at once
                let kept = |record: &batch::Record| {
                    record.value.as_deref().and_then(Id::parse) == Some(id)
                        && offset.is_none_or(|offset| offset == record.offset)
                };
                let name = Plan::topic(topic);
                let taken = Duration::from_micros(answer.taken.as_micros());
                let excused = self.excuses.iter().any(|excuse| {
                    excuse.topic == topic
                        && excuse.partition.is_none_or(|lost| lost == partition)
                        && offset.is_none_or(|offset| excuse.from <= offset)
                        && excuse.at >= taken
                });
                let trimmed = || {
                    let start = cluster.log_start(&name, partition);
                    offset.is_none_or(|offset| offset < start) && start > 0
                };
                let lost =
                    !excused && !trimmed() && !cluster.records(&name, partition).iter().any(kept);
                lost.then(|| {
                    format!("{id:?} acknowledged in {name} {partition} at {offset:?}, and lost")
                })
            }
            _ => None,
        }
    }
}
