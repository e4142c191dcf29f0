//! A member of a classic group that is another client: eager, with the assignor `range`, it begins
//! at the end where nothing is committed, and commits what it has read when it gives up. Without
//! connections: it takes part in each round at once. What distinguishes clients is when a leader
//! looks how many partitions there are.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;

use super::{Member, State};
use crate::model::group::Place;
use crate::model::txn::Pending;
use crate::model::{Cluster, Event};

/// Its id, as brokers make it of a client id.
const ID: &str = "theirs-00000000-0000-0000-0000-000000000000";
const ASSIGNOR: &str = "range";
/// It answers a coordinator for longer than any test takes.
const SESSION: Duration = Duration::from_secs(365 * 86_400);

/// When a client that leads looks how many partitions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// This often, and it begins a round if there are more (`metadata.max.age.ms`).
    pub every: Duration,
    /// In each round, too, as librdkafka and Sarama do; Java's client and franz-go do not.
    pub in_rounds: bool,
}

/// What a foreign member reads, or has read, of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The first offset.
    pub from: i64,
    /// The offset behind the last one; `None`: it still reads.
    pub to: Option<i64>,
    /// Nothing was committed: it began at the end.
    pub bare: bool,
    /// When it began.
    pub since: Duration,
}

#[derive(Clone)]
pub(in crate::model::group) struct Foreign {
    topics: Vec<StrBytes>,
    looks: Looks,
    look_at: Duration,
    /// Partitions of the topics, as it knows.
    counts: BTreeMap<StrBytes, usize>,
    stretches: Vec<Stretch>,
}

impl Cluster {
    /// Lets a member of another kind join a group.
    pub fn join_foreign(&mut self, group: &str, topics: &[&str], looks: Looks) {
        let name = StrBytes::from_string(group.to_owned());
        let topics = topics.iter().map(|topic| StrBytes::from_string((*topic).to_owned()));
        let look_at = self.now + looks.every;
        let foreign = Foreign {
            topics: topics.collect(),
            looks,
            look_at,
            counts: BTreeMap::new(),
            stretches: Vec::new(),
        };
        self.groups.entry(name.clone()).or_default().foreign = Some(Box::new(foreign));
        self.foreign_looks(&name);
        self.schedule(look_at, Event::Round { group: name.clone() });
        self.begin_round(&name);
    }

    /// Returns what the foreign member of a group reads and has read.
    #[must_use]
    pub fn foreign_reads(&self, group: &str) -> &[Stretch] {
        let group = self.groups.get(group.as_bytes());
        let foreign = group.and_then(|group| group.foreign.as_ref());
        foreign.map_or(&[], |foreign| &foreign.stretches)
    }

    /// Reads the counts of its topics; whether they are others than before.
    fn foreign_looks(&mut self, name: &StrBytes) -> bool {
        let Some(topics) = self.foreign(name).map(|foreign| foreign.topics.clone()) else {
            return false;
        };
        let count = |topic: StrBytes| {
            let count = self.partitions(&topic) as usize;
            (topic, count)
        };
        let counts: BTreeMap<StrBytes, usize> = topics.into_iter().map(count).collect();
        let Some(foreign) = self.foreign(name) else { return false };
        let before = core::mem::replace(&mut foreign.counts, counts);
        before != foreign.counts
    }

    fn foreign(&mut self, name: &StrBytes) -> Option<&mut Foreign> {
        self.groups.get_mut(name)?.foreign.as_deref_mut()
    }

    /// It looks again, if it is time.
    pub(super) fn wake_foreign(&mut self, name: &StrBytes) {
        let now = self.now;
        let Some(foreign) = self.foreign(name).filter(|foreign| foreign.look_at <= now) else {
            return;
        };
        foreign.look_at = now + foreign.looks.every;
        let at = foreign.look_at;
        self.schedule(at, Event::Round { group: name.clone() });
        let leads = |group: &super::Classic| group.leader.as_deref() == Some(ID);
        let leads = self.groups.get(name).is_some_and(|group| leads(&group.classic));
        if self.foreign_looks(name) && leads {
            self.begin_round(name);
            self.complete(name);
        }
    }

    /// A round begins: it commits what it has read and gives it up, and takes part.
    pub(super) fn foreign_joins(&mut self, name: &StrBytes) {
        let now = self.now;
        let Some(foreign) = self.foreign(name) else { return };
        let metadata = subscription(&foreign.topics);
        let held: Vec<usize> =
            (0..foreign.stretches.len()).filter(|at| foreign.stretches[*at].to.is_none()).collect();
        for at in held {
            let Some(foreign) = self.foreign(name) else { return };
            let Stretch { topic, partition, from, .. } = foreign.stretches[at].clone();
            let end = self.high_watermark(&topic, partition);
            if let Some(foreign) = self.foreign(name) {
                foreign.stretches[at].to = Some(end);
            }
            // Where nothing came nothing is committed.
            let id = self.names.get(topic.as_bytes()).copied();
            if let Some(id) = id.filter(|_| end > from) {
                let place = (id, i32::try_from(partition).unwrap_or(-1));
                let metadata = StrBytes::default();
                self.settle_offset(name, Pending { place, offset: end, epoch: -1, metadata });
            }
        }
        let Some(group) = self.groups.get_mut(name).map(|group| &mut group.classic) else { return };
        let id = StrBytes::from_static_str(ID);
        if group.members.contains_key(&id) {
            return;
        }
        group.came += 1;
        let member = Member {
            instance: None,
            came: group.came,
            protocols: vec![(StrBytes::from_static_str(ASSIGNOR), metadata)],
            session: SESSION,
            rebalance: Duration::from_secs(60),
            session_until: now + SESSION,
            watched: now + SESSION,
            assignment: Bytes::new(),
            joins: None,
            syncs: None,
            foreign: true,
        };
        group.members.insert(id, member);
    }

    /// Members have joined: it assigns if it leads.
    pub(super) fn foreign_assigns(&mut self, name: &StrBytes) {
        let Some(group) = self.groups.get(name) else { return };
        let leads = group.classic.leader.as_deref() == Some(ID);
        let Some(foreign) = group.foreign.as_ref().filter(|_| leads) else { return };
        if foreign.looks.in_rounds {
            self.foreign_looks(name);
        }
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(foreign) = &group.foreign else { return };
        let group = &mut group.classic;
        let mut given: BTreeMap<StrBytes, Vec<(StrBytes, Vec<i32>)>> = BTreeMap::new();
        for (topic, count) in &foreign.counts {
            let wants = |(_, member): &(&StrBytes, &Member)| {
                let mut all = member.protocols.iter();
                let of = all.find(|(name, _)| &**name == ASSIGNOR);
                of.is_some_and(|(_, bytes)| topics(bytes).contains(&**topic))
            };
            let takers: Vec<&StrBytes> =
                group.members.iter().filter(wants).map(|(id, _)| id).collect();
            let (each, more) = (count / takers.len().max(1), count % takers.len().max(1));
            let mut next = 0;
            for (n, id) in takers.into_iter().enumerate() {
                let end = next + each + usize::from(n < more);
                let list = (next..end).filter_map(|at| i32::try_from(at).ok()).collect();
                given.entry(id.clone()).or_default().push((topic.clone(), list));
                next = end;
            }
        }
        for (id, member) in &mut group.members {
            member.assignment = assignment(given.get(id).map_or(&[], |list| list));
        }
        group.state = State::Stable;
        group.store();
        self.foreign_takes(name);
    }

    /// The group is stable: it reads what it is given.
    pub(super) fn foreign_takes(&mut self, name: &StrBytes) {
        let Some(group) = self.groups.get(name) else { return };
        let Some(member) = group.classic.members.get(ID.as_bytes()) else { return };
        let mut bytes = member.assignment.clone();
        let now = self.now;
        let mut taken = Vec::new();
        for (topic, partitions) in assigned(&mut bytes) {
            let Some(id) = self.names.get(topic.as_bytes()) else { continue };
            for partition in partitions {
                let place: Place = (*id, partition);
                let committed = group.offsets.get(&place).map(|committed| committed.offset);
                let partition = u32::try_from(partition).unwrap_or(0);
                let from = committed.unwrap_or_else(|| self.high_watermark(&topic, partition));
                let (topic, bare) = (topic.clone(), committed.is_none());
                taken.push(Stretch { topic, partition, from, to: None, bare, since: now });
            }
        }
        if let Some(foreign) = self.foreign(name) {
            foreign.stretches.extend(taken);
        }
    }

    /// Another broker has loaded the group, as it was when it was stable last.
    pub(in crate::model::group) fn foreign_reloads(&mut self, name: &StrBytes) {
        let Some(group) = self.groups.get(name).filter(|group| group.foreign.is_some()) else {
            return;
        };
        let state = group.classic.state;
        self.foreign_joins(name);
        match state {
            State::Stable => self.foreign_takes(name),
            _ => self.begin_round(name),
        }
    }
}

fn put(out: &mut BytesMut, text: &str) {
    out.put_i16(i16::try_from(text.len()).unwrap_or(0));
    out.put_slice(text.as_bytes());
}

fn count(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(0)
}

fn subscription(topics: &[StrBytes]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(count(topics.len()));
    topics.iter().for_each(|topic| put(&mut out, topic));
    out.put_i32(-1);
    out.freeze()
}

pub(super) fn assignment(topics: &[(StrBytes, Vec<i32>)]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(count(topics.len()));
    for (topic, partitions) in topics {
        put(&mut out, topic);
        out.put_i32(count(partitions.len()));
        partitions.iter().for_each(|partition| out.put_i32(*partition));
    }
    out.put_i32(-1);
    out.freeze()
}

fn text(bytes: &mut Bytes) -> String {
    let len = usize::try_from(bytes.try_get_i16().unwrap_or(0)).unwrap_or(0).min(bytes.len());
    String::from_utf8_lossy(&bytes.split_to(len)).into_owned()
}

/// Reads the topics of a subscription.
pub(super) fn topics(bytes: &Bytes) -> BTreeSet<String> {
    let mut bytes = bytes.clone();
    let _version = bytes.try_get_i16();
    let count = bytes.try_get_i32().unwrap_or(0);
    (0..count).map(|_| text(&mut bytes)).collect()
}

/// Reads an assignment.
pub(super) fn assigned(bytes: &mut Bytes) -> Vec<(String, Vec<i32>)> {
    let _version = bytes.try_get_i16();
    lists(bytes)
}

/// Reads what a subscription lists as owned, which versions from 1 on do.
pub(super) fn owned(bytes: &Bytes) -> Vec<(String, Vec<i32>)> {
    let mut bytes = bytes.clone();
    if bytes.try_get_i16().unwrap_or(0) < 1 {
        return Vec::new();
    }
    let count = bytes.try_get_i32().unwrap_or(0);
    (0..count).for_each(|_| drop(text(&mut bytes)));
    let user = usize::try_from(bytes.try_get_i32().unwrap_or(0)).unwrap_or(0).min(bytes.len());
    drop(bytes.split_to(user));
    lists(&mut bytes)
}

fn lists(bytes: &mut Bytes) -> Vec<(String, Vec<i32>)> {
    let count = bytes.try_get_i32().unwrap_or(0);
    let mut all = Vec::new();
    for _ in 0..count {
        let topic = text(bytes);
        let partitions = bytes.try_get_i32().unwrap_or(0);
        all.push((topic, (0..partitions).map_while(|_| bytes.try_get_i32().ok()).collect()));
    }
    all
}
