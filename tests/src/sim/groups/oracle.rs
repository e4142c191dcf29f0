//! What has to hold of a group: no partition is two members', commits never go back, nothing that
//! was written since first contact is skipped, and what changes comes to rest.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::app::Role;
use super::plan::{self, Plan};
use super::{ApiKey, GROUP};
use crate::sim::What;
use crate::sim::world::World;

/// The starts of new partitions are committed within this time.
const SEEDED: Duration = Duration::from_secs(5);

pub(super) struct Oracle {
    pub(super) findings: Vec<String>,
    pub(super) acts: u64,
    /// Numbers of the topics that there are, and the next one.
    pub(super) topics: BTreeSet<usize>,
    next: usize,
    /// Who may read what is between the members, and whether they always agree on that.
    classic: bool,
    agrees: bool,
    /// How long members of both protocols may hold what the coordinator gives to others, and since
    /// when each client has done so.
    grace: Duration,
    strays: BTreeMap<(usize, String, i32), Duration>,
    started: bool,
    committed: BTreeMap<(String, u32), i64>,
    /// Since when each partition is there that was not there at first, and the clients that were
    /// members then. Another client must not skip anything in it where one of them has been a
    /// member since, and nobody died.
    added: BTreeMap<(String, u32), (Duration, Vec<usize>)>,
    gentle: bool,
    /// Another client is a member, and has overwritten all markers of these topics: the next
    /// member of kavka is at first contact again.
    foreign: bool,
    forgotten: BTreeSet<usize>,
    /// When each client ended.
    ended: BTreeMap<usize, Duration>,
    /// A seed was later than the first reader.
    rewound: bool,
    /// Heartbeats until the writer began.
    beats: u64,
}

impl Oracle {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            findings: Vec::new(),
            acts: 0,
            topics: (0..plan.topics.len()).collect(),
            next: plan.topics.len(),
            classic: !plan.classic.is_empty(),
            agrees: plan.classic.len() <= 1,
            grace: plan.mixed.map_or(Duration::ZERO, |_| plan.grace()),
            strays: BTreeMap::new(),
            started: false,
            committed: BTreeMap::new(),
            added: BTreeMap::new(),
            gentle: plan.acts.len() == 3,
            foreign: plan.foreign.is_some(),
            forgotten: BTreeSet::new(),
            ended: BTreeMap::new(),
            rewound: false,
            beats: 0,
        }
    }

    pub(super) fn finds(&mut self, world: &World<Role>, text: String) {
        self.findings.push(format!("{}: {text}", world.at()));
    }

    /// Whether each topic has a commit: from then on nothing that is written is skipped.
    pub(super) fn is_contacted(&self) -> bool {
        let has = |topic| self.committed.keys().any(|(name, _)| *name == plan::topic(topic));
        self.topics.iter().copied().all(has)
    }

    /// Returns the number of another topic.
    pub(super) fn add_topic(&mut self) -> usize {
        let topic = self.next;
        self.next += 1;
        self.topics.insert(topic);
        topic
    }

    /// The writer begins.
    pub(super) fn start(&mut self, world: &World<Role>) {
        (self.started, self.beats) = (true, beats(world));
    }

    /// A topic is about to grow.
    pub(super) fn grows(&mut self, world: &World<Role>, topic: &str, members: &[usize]) {
        let count = world.cluster.partitions(topic);
        // One that has joined no round yet does not know how many there were.
        let joined = |client: &usize| {
            world.app(*client).as_member().is_some_and(|member| !member.id.is_empty())
        };
        let members: Vec<usize> = members.iter().copied().filter(joined).collect();
        // By three at most.
        for partition in count..count + 3 {
            self.added.insert((topic.to_owned(), partition), (world.now(), members.clone()));
        }
    }

    /// Returns what another client has read, or need not have.
    fn theirs(&self, world: &World<Role>) -> Vec<(usize, u32, core::ops::Range<i64>)> {
        let mut all = Vec::new();
        for one in world.cluster.foreign_reads(GROUP) {
            let Some(topic) = self.topics.iter().copied().find(|at| plan::topic(*at) == one.topic)
            else {
                continue;
            };
            let end = world.cluster.high_watermark(&one.topic, one.partition);
            // Such a client begins at the end where nothing is committed. In what was added the
            // start is, once kavka's members have had the time.
            let added = self.added.get(&(one.topic.clone(), one.partition));
            let stays = |client: &usize| self.ended.get(client).is_none_or(|at| *at > one.since);
            let seeded = added.is_some_and(|(added, members)| {
                *added + SEEDED <= one.since && members.iter().any(stays)
            });
            let from = if one.bare && !(seeded && self.gentle) { 0 } else { one.from };
            all.push((topic, one.partition, from..one.to.unwrap_or(end)));
        }
        all
    }

    /// Compares what members hold with what the coordinator knows, and commits with earlier ones.
    pub(super) fn look(&mut self, world: &mut World<Role>, members: &[usize]) {
        let known: BTreeSet<String> =
            world.cluster.group_members(GROUP).into_iter().map(|(id, _)| id).collect();
        let owners = world.cluster.group_owners(GROUP);
        let (now, native) = (world.now(), world.cluster.is_native(GROUP));
        let strays = core::mem::take(&mut self.strays);
        let mut findings = Vec::new();
        let mut holders: BTreeMap<(String, i32), String> = BTreeMap::new();
        for one in world.cluster.foreign_reads(GROUP).iter().filter(|one| one.to.is_none()) {
            let place = (one.topic.clone(), i32::try_from(one.partition).unwrap_or(-1));
            holders.insert(place, "the other client".to_owned());
        }
        for member in 0..world.members() {
            let runs = members.contains(&member);
            if !runs {
                self.ended.entry(member).or_insert(now);
            }
            let Role::Member(app) = world.app_mut(member) else { continue };
            findings.extend(app.findings.drain(..).map(|text| format!("client {member}: {text}")));
            // One that was removed does not know that yet.
            if !runs || !known.contains(&app.id) {
                continue;
            }
            for held in app.held.values().filter(|held| self.topics.contains(&held.topic)) {
                let place = (plan::topic(held.topic), i32::try_from(held.partition).unwrap_or(-1));
                if self.classic && !native {
                    let other = holders.insert(place.clone(), app.id.clone());
                    if let Some(other) = other.filter(|_| self.agrees) {
                        let id = &app.id;
                        findings.push(format!("{id} and {other} hold {place:?}"));
                    }
                    continue;
                }
                let owner = owners.get(&place);
                if owner != Some(&app.id) {
                    let key = (member, place.0.clone(), place.1);
                    let since = strays.get(&key).copied().unwrap_or(now);
                    self.strays.insert(key, since);
                    if since + self.grace > now {
                        continue;
                    }
                    let id = &app.id;
                    findings.push(format!("client {member} ({id}) holds {place:?} of {owner:?}"));
                }
            }
        }
        for deed in world.cluster.take_deeds() {
            if let What::Committed { partition, offset, .. } = deed.what {
                let place = (deed.topic.to_string(), partition);
                let before = self.committed.insert(place.clone(), offset);
                // Who seeds a new partition may be later than its first reader: then the records in
                // between are read again.
                self.rewound |= before.is_some_and(|before| before > offset);
                if let Some(before) = before.filter(|before| *before > offset && offset > 0) {
                    findings.push(format!("{place:?}: committed {before}, and then {offset}"));
                }
            }
        }
        for text in findings {
            self.finds(world, text);
        }
        self.note_forgotten(world);
    }

    fn note_forgotten(&mut self, world: &World<Role>) {
        for topic in self.topics.iter().copied().filter(|_| self.started && self.foreign) {
            let name = plan::topic(topic);
            let marked = |partition: u32| {
                let partition = i32::try_from(partition).unwrap_or(-1);
                let found = world.cluster.group_offset(GROUP, &name, partition);
                found.is_some_and(|(_, metadata)| metadata.starts_with("kv1;"))
            };
            if !(0..world.cluster.partitions(&name)).any(marked) {
                self.forgotten.insert(topic);
            }
        }
    }

    /// The places that have to be read.
    fn places(&self, world: &World<Role>) -> BTreeSet<(usize, u32, i64)> {
        let mut all = BTreeSet::new();
        for topic in self.topics.iter().copied().filter(|_| self.started) {
            let name = plan::topic(topic);
            for partition in 0..world.cluster.partitions(&name) {
                let end = world.cluster.high_watermark(&name, partition);
                all.extend((0..end).map(|offset| (topic, partition, offset)));
            }
        }
        all
    }

    fn read(world: &World<Role>) -> BTreeMap<(usize, u32, i64), u32> {
        let mut all = BTreeMap::new();
        for member in (0..world.members()).filter_map(|member| world.app(member).as_member()) {
            for (place, times) in &member.read {
                *all.entry(*place).or_default() += times;
            }
        }
        all
    }

    pub(super) fn due(&self, world: &World<Role>) -> usize {
        self.places(world).len()
    }

    pub(super) fn again(&self, world: &World<Role>) -> usize {
        Self::read(world).values().filter(|times| **times > 1).count()
    }

    /// What is not as it has to be in the end.
    pub(super) fn open(&self, world: &World<Role>, members: &[usize]) -> Vec<String> {
        let read = Self::read(world);
        let theirs = self.theirs(world);
        let is_theirs = |(topic, partition, offset): &(usize, u32, i64)| {
            theirs
                .iter()
                .any(|one| (one.0, one.1) == (*topic, *partition) && one.2.contains(offset))
        };
        let mut open = Vec::new();
        let unread: Vec<_> = self
            .places(world)
            .into_iter()
            .filter(|place| !read.contains_key(place) && !is_theirs(place))
            .filter(|(topic, ..)| !self.forgotten.contains(topic))
            .collect();
        if let Some(first) = unread.first() {
            open.push(format!("{} records are not read, the first is {first:?}", unread.len()));
        }
        let mut held = BTreeSet::new();
        for one in world.cluster.foreign_reads(GROUP).iter().filter(|one| one.to.is_none()) {
            let topic = self.topics.iter().copied().find(|at| plan::topic(*at) == one.topic);
            held.extend(topic.map(|topic| (topic, one.partition)));
        }
        for member in members {
            let app = world.app(*member).as_member();
            for at in app.into_iter().flat_map(|app| app.held.values()) {
                held.insert((at.topic, at.partition));
            }
        }
        for topic in self.topics.iter().copied() {
            for partition in 0..world.cluster.partitions(&plan::topic(topic)) {
                if !held.contains(&(topic, partition)) {
                    open.push(format!("nobody holds topic {topic}, partition {partition}"));
                }
            }
        }
        open
    }

    /// What can be said only when all is over.
    pub(super) fn judge(&mut self, world: &World<Role>, plan: &Plan) {
        let again = self.again(world);
        if plan.is_gentle() && again > 0 && !self.rewound {
            self.finds(world, format!("{again} records were read twice, and nobody died"));
        }
        let lost: u32 = (0..world.members())
            .filter_map(|member| world.app(member).as_member())
            .map(|member| member.lost)
            .sum();
        if plan.is_gentle() && lost > 0 {
            self.finds(world, format!("{lost} partitions were lost, and nobody died"));
        }
        // At rest a member sends one in each interval, in growth some twenty a second for a while.
        let rest = world.now().as_millis() / plan.interval.as_millis().max(1);
        let most = 8 * (rest as u64 + 1) + 300 * (self.acts + 4);
        let beats = beats(world) - self.beats;
        if beats > most {
            self.finds(world, format!("{beats} heartbeats, and {most} would be many"));
        }
    }
}

fn beats(world: &World<Role>) -> u64 {
    let apis =
        [ApiKey::ConsumerGroupHeartbeat, ApiKey::Heartbeat, ApiKey::JoinGroup, ApiKey::SyncGroup];
    apis.into_iter().map(|api| world.cluster.counters().of(api).requests).sum()
}
