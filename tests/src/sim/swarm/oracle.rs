//! Compares what clients report with what brokers did, and finds what is wrong.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;

use bytes::Bytes;
use kavka_core::Acks;

use super::agent::Agent;
use super::annals::Annals;
use super::plan::{ClientPlan, Plan};
use super::step::{Done, Id, Step};
use crate::sim::batch::{self, Header};
use crate::sim::deed::{Deed, What};
use crate::sim::model::Cluster;
use crate::sim::world::World;

/// A topic of the plan, and a partition.
type Place = (usize, u32);

/// Sequences that were forgotten, perhaps with a loss, without anyone's fault.
#[derive(Clone, Copy, Debug)]
struct Excuse {
    topic: usize,
    /// The partition; `None`: all of them.
    partition: Option<u32>,
    /// Offset from which records are lost; `None`: none are.
    from: Option<i64>,
    at: Duration,
}

impl Excuse {
    fn concerns(&self, (topic, partition): Place) -> bool {
        self.topic == topic && self.partition.is_none_or(|lost| lost == partition)
    }
}

/// A record with its outcome.
struct Response {
    id: Id,
    /// When it was accepted.
    taken: Duration,
    what: Done,
}

pub(super) struct Oracle {
    /// Records that were ever stored at each offset.
    stored: HashMap<Place, Vec<Vec<Id>>>,
    /// Where and when each record was last stored.
    ever: HashMap<Id, (Place, Duration)>,
    taken: HashMap<Id, Duration>,
    responded: Vec<Response>,
    excuses: Vec<Excuse>,
    /// Producers (id and epoch) whose sequence a log accepted in the middle, having forgotten them.
    adrift: HashSet<(Place, i64, i16)>,
    read: u64,
    annals: Option<Annals>,
}

impl Oracle {
    pub(super) fn new(plan: &Plan, history: Option<Box<dyn Write>>) -> Self {
        Self {
            stored: HashMap::new(),
            ever: HashMap::new(),
            taken: HashMap::new(),
            responded: Vec::new(),
            excuses: Vec::new(),
            adrift: HashSet::new(),
            read: 0,
            annals: Annals::of(plan, history),
        }
    }

    /// Returns the number of records read so far, by all clients.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Returns the number of records acknowledged or given up so far.
    pub(super) fn responded(&self) -> usize {
        self.responded.len()
    }

    /// Processes what happened since the last call, and judges it.
    pub(super) fn look(&mut self, world: &mut World<Agent>) -> Vec<String> {
        for deed in world.cluster.take_deeds() {
            world.trace.say(deed.at, format_args!("{deed}"));
            self.learn(&deed);
        }
        let mut findings = Vec::new();
        if world.cluster.trespasses() > 0 {
            findings.push("requests went to another cluster".to_owned());
        }
        for member in 0..world.members() {
            let agent = world.app_mut(member);
            findings.append(&mut agent.take_findings());
            for step in agent.take_steps() {
                let found = self.judge(world.app(member), &step);
                findings.extend(found.map(|text| format!("client {member}: {text}")));
                if let Some(annals) = &mut self.annals {
                    annals.step(member, &step);
                }
            }
        }
        findings
    }

    fn learn(&mut self, deed: &Deed) {
        let Some(topic) = deed.topic.rsplit('-').next().and_then(|n| n.parse().ok()) else {
            return;
        };
        let at = deed.at;
        if let Some(annals) = &mut self.annals {
            annals.deed(topic, deed);
        }
        match &deed.what {
            What::Appended { partition, batch, amid } => {
                self.store((topic, *partition), batch, at);
                if *amid {
                    self.set_adrift((topic, *partition), batch);
                }
            }
            What::Deleted => {
                self.ever.retain(|_, (place, _)| place.0 != topic);
                self.adrift.retain(|(place, ..)| place.0 != topic);
                self.excuses.push(Excuse { topic, partition: None, from: Some(0), at });
            }
            What::Cut { partition, to } => {
                let partition = Some(*partition);
                self.excuses.push(Excuse { topic, partition, from: Some(*to), at });
            }
            What::Forgotten { partition } => {
                let partition = Some(*partition);
                self.excuses.push(Excuse { topic, partition, from: None, at });
            }
            What::Grown { .. } | What::Trimmed { .. } | What::Committed { .. } => {}
        }
    }

    fn store(&mut self, place: Place, stored: &Bytes, at: Duration) {
        for record in batch::records(stored).unwrap_or_default() {
            let Some(id) = record.value.as_deref().and_then(Id::parse) else { continue };
            let offset = usize::try_from(record.offset).unwrap_or(0);
            let log = self.stored.entry(place).or_default();
            if log.len() <= offset {
                log.resize(offset + 1, Vec::new());
            }
            log[offset].push(id);
            self.ever.insert(id, (place, at));
        }
    }

    /// Notes a producer that a log accepted after a loss: such a log knows no producers and accepts
    /// any sequence. What follows its first batch is then refused when it is sent again, and is
    /// sent under another epoch, whether it is in the log or not.
    fn set_adrift(&mut self, place: Place, batch: &Bytes) {
        let lost = |excuse: &Excuse| excuse.concerns(place);
        if let Some(header) = Header::read(batch).filter(|_| self.excuses.iter().any(lost)) {
            self.adrift.insert((place, header.producer_id, header.producer_epoch));
        }
    }

    fn was_stored(&self, place: Place, offset: i64, id: Id) -> bool {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        self.stored.get(&place).and_then(|log| log.get(at)).is_some_and(|ids| ids.contains(&id))
    }

    /// Returns what is wrong with a step by itself.
    fn judge(&mut self, agent: &Agent, step: &Step) -> Option<String> {
        let at = Duration::from_micros(step.at.as_micros());
        match step.what {
            Done::Sent(id) => {
                self.taken.insert(id, at);
                return None;
            }
            Done::Delivered(id, ..) | Done::Failed(id, ..) => {
                let taken = self.taken.remove(&id).unwrap_or_default();
                self.responded.push(Response { id, taken, what: step.what });
            }
            Done::Read(..) => self.read += 1,
            _ => return None,
        }
        match step.what {
            Done::Delivered(id, partition, Some(offset)) => {
                let place = (step.topic, partition);
                (!self.was_stored(place, offset, id)).then(|| {
                    format!("{id:?} acknowledged at {place:?} offset {offset}, where it never was")
                })
            }
            Done::Delivered(id, partition, None) if agent.plan().config.acks != Acks::None => {
                let place = (step.topic, partition);
                self.ever
                    .get(&id)
                    .is_none_or(|(stored, _)| *stored != place)
                    .then(|| format!("{id:?} acknowledged in {place:?}, where it never was"))
            }
            Done::Read(id, partition, offset) => {
                let place = (step.topic, partition);
                let known = id.is_some_and(|id| self.was_stored(place, offset, id));
                (!known)
                    .then(|| format!("read {id:?} at {place:?} offset {offset}, no such record"))
            }
            _ => None,
        }
    }

    /// Judges the whole run, when all is quiet.
    pub(super) fn judge_end(
        &mut self,
        plan: &Plan,
        cluster: &Cluster,
        at: Duration,
    ) -> Vec<String> {
        let mut findings = Vec::new();
        let taken = self.responded.iter().map(|response| (response.id, response.taken)).collect();
        for topic in 0..plan.topics.len() {
            for partition in 0..cluster.partitions(&Plan::topic(topic)) {
                findings.append(&mut self.judge_log(plan, cluster, &taken, (topic, partition)));
            }
        }
        for response in &self.responded {
            let client = &plan.clients[response.id.process];
            findings.extend(self.judge_fate(client, response, cluster));
        }
        if let Some(annals) = self.annals.take() {
            findings.append(&mut annals.end(at, &[plan.clients.len()]));
        }
        findings
    }

    /// Checks that each record of an idempotent producer is there once, in its order.
    fn judge_log(
        &self,
        plan: &Plan,
        cluster: &Cluster,
        taken: &HashMap<Id, Duration>,
        place: Place,
    ) -> Vec<String> {
        let mut findings = Vec::new();
        let name = Plan::topic(place.0);
        // Whether the record is part of a sequence that was accepted in the middle.
        let (mut here, mut last) = (BTreeMap::new(), BTreeMap::new());
        for stored in cluster.batches(&name, place.1) {
            let adrift = Header::read(&stored)
                .is_some_and(|h| self.adrift.contains(&(place, h.producer_id, h.producer_epoch)));
            for record in batch::records(&stored).unwrap_or_default() {
                let Some(id) = record.value.as_deref().and_then(Id::parse) else { continue };
                let idempotent = |client: &ClientPlan| client.config.idempotence;
                if !plan.clients.get(id.process).is_some_and(idempotent) {
                    continue;
                }
                let at = format!("{name} {} offset {}", place.1, record.offset);
                let known = !self.forgotten(taken, id);
                if here.insert(id, adrift) == Some(false) && known {
                    findings.push(format!("{id:?} is twice in a log: {at}"));
                }
                if let Some((before, false)) = last.insert(id.process, (id.number, adrift))
                    && before >= id.number
                    && known
                {
                    findings.push(format!("{id:?} comes after {before}: {at}"));
                }
            }
        }
        findings
    }

    /// Returns whether the brokers may have forgotten a producer's sequence while a record was in
    /// flight: they rebuild it from a truncated log, and the log of a recreated topic has none
    /// (`ProducerStateManager`). They accept any sequence then, and neither order nor uniqueness
    /// holds.
    fn forgotten(&self, taken: &HashMap<Id, Duration>, id: Id) -> bool {
        let (Some(taken), Some((place, stored))) = (taken.get(&id), self.ever.get(&id)) else {
            return false;
        };
        let meanwhile = |excuse: &Excuse| (*taken..=*stored).contains(&excuse.at);
        self.excuses.iter().any(|excuse| excuse.concerns(*place) && meanwhile(excuse))
    }

    fn judge_fate(
        &self,
        client: &ClientPlan,
        response: &Response,
        cluster: &Cluster,
    ) -> Option<String> {
        let id = response.id;
        let place = self.ever.get(&id).map(|(place, _)| *place);
        match response.what {
            Done::Failed(_, error, false) if place.is_some() => {
                Some(format!("{id:?} failed ({error:?}) as surely not written, and was: {place:?}"))
            }
            Done::Delivered(_, _, offset) if client.config.acks == Acks::All => {
                let (topic, partition) = place?; // that it was stored was judged at once
                let kept = |record: &batch::Record| {
                    record.value.as_deref().and_then(Id::parse) == Some(id)
                        && offset.is_none_or(|offset| offset == record.offset)
                };
                let name = Plan::topic(topic);
                let excused = self.excuses.iter().any(|excuse| {
                    excuse.concerns((topic, partition))
                        && excuse.from.is_some_and(|from| offset.is_none_or(|at| from <= at))
                        && excuse.at >= response.taken
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
