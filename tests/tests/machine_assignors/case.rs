//! Groups to plan for, made by a seed, and plans in a form that compares.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use kavka_core::wire::consumer_protocol::{Assignment, Joining, UserData};
use kavka_core::wire::{SliceSink, Writer};
use kavka_core::{Assignor, Leader};

/// A partition: topic and index.
pub(crate) type Partition = (String, i32);
/// Who reads what.
pub(crate) type Plan = BTreeMap<String, BTreeSet<Partition>>;

#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) count: u32,
    /// The racks of each partition's replicas; empty where brokers have none.
    pub(crate) racks: Vec<Vec<String>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) topics: Vec<String>,
    pub(crate) owned: BTreeSet<Partition>,
    pub(crate) generation: i32,
    pub(crate) rack: Option<String>,
    pub(crate) version: i16,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) topics: Vec<Topic>,
    pub(crate) members: Vec<Member>,
}

/// Returns partitions by topic.
pub(crate) fn by_topic(partitions: &BTreeSet<Partition>) -> BTreeMap<&str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    topics
}

impl Member {
    pub(crate) fn new(id: &str, topics: &[&str]) -> Self {
        Self {
            id: id.to_owned(),
            instance: None,
            topics: topics.iter().map(|name| (*name).to_owned()).collect(),
            owned: BTreeSet::new(),
            generation: -1,
            rack: None,
            version: 3,
        }
    }

    /// Says what it owns, and since which generation.
    pub(crate) fn owning(mut self, topic: &str, partitions: &[i32], generation: i32) -> Self {
        self.owned.extend(partitions.iter().map(|partition| (topic.to_owned(), *partition)));
        self.generation = generation;
        self
    }

    /// Returns its subscription as a member of this assignor sends it.
    pub(crate) fn subscription(&self, assignor: Assignor) -> Vec<u8> {
        let owned = by_topic(&self.owned);
        let each = |most| owned.iter().map(|(name, list)| (*name, list.iter().copied())).take(most);
        let user_data = match assignor {
            Assignor::Range | Assignor::RoundRobin => UserData::Null,
            Assignor::Sticky if self.owned.is_empty() => UserData::Null,
            Assignor::Sticky => UserData::Previous(each(usize::MAX), self.generation),
            Assignor::CooperativeSticky => UserData::Generation(self.generation),
        };
        // Members of eager assignors have revoked everything.
        let keeps = assignor == Assignor::CooperativeSticky;
        let joining = Joining {
            topics: self.topics.iter().map(String::as_str),
            user_data,
            owned: each(if keeps { usize::MAX } else { 0 }),
            generation: self.generation,
            rack: self.rack.as_deref(),
        };
        written(&joining, self.version)
    }
}

/// Writes a subscription, and checks what its length was said to be.
fn written<'a, P: Iterator<Item = i32> + Clone>(
    joining: &Joining<
        'a,
        impl Iterator<Item = &'a str> + Clone,
        impl Iterator<Item = (&'a str, P)> + Clone,
    >,
    version: i16,
) -> Vec<u8> {
    let mut room = vec![0; joining.len(version)];
    let mut sink = SliceSink::new(&mut room);
    joining.write(version, &mut Writer::new(&mut sink)).expect("its own length");
    assert_eq!(sink.len(), joining.len(version));
    room
}

/// Lets a leader plan.
pub(crate) fn lead(case: &Case, assignor: Assignor) -> Leader<'static> {
    let partitions = case.topics.iter().map(|topic| topic.count as usize).sum();
    let mut leader = Leader::heap(case.members.len(), 128, partitions, 1 << 20);
    join(&mut leader, case, assignor);
    leader.plan(assignor).expect("there is room");
    leader
}

pub(crate) fn join(leader: &mut Leader<'_>, case: &Case, assignor: Assignor) {
    leader.begin();
    for member in &case.members {
        let bytes = member.subscription(assignor);
        leader.member(&member.id, member.instance.as_deref(), &bytes).expect("there is room");
    }
    for topic in &case.topics {
        if let Some(at) = leader.find(&topic.name) {
            leader.count(at, topic.count);
        }
    }
    for topic in &case.topics {
        for (partition, racks) in topic.racks.iter().enumerate() {
            if let Some(at) = leader.find(&topic.name) {
                let partition = u32::try_from(partition).expect("few");
                leader.racks(at, partition, racks.iter().map(String::as_str));
            }
        }
    }
}

/// Reads the assignments that a leader has for its members.
pub(crate) fn assigned(leader: &Leader<'_>) -> Plan {
    let mut plan = Plan::new();
    for member in 0..leader.members() {
        let mut room = vec![0; leader.assignment_len(member)];
        let mut sink = SliceSink::new(&mut room);
        leader.write_assignment(member, &mut Writer::new(&mut sink)).expect("its own length");
        assert_eq!(sink.len(), leader.assignment_len(member));
        plan.insert(leader.id(member).to_owned(), read(&room));
    }
    plan
}

/// Reads an assignment: each partition once, and no user data.
pub(crate) fn read(bytes: &[u8]) -> BTreeSet<Partition> {
    let assignment = Assignment::read(bytes).expect("an assignment");
    assert_eq!(assignment.user_data.unwrap_or_default(), [0_u8; 0]);
    let mut partitions = BTreeSet::new();
    for (topic, list) in assignment.topics {
        for partition in list {
            assert!(partitions.insert((topic.to_owned(), partition)), "{topic} {partition} twice");
        }
    }
    partitions
}

pub(crate) fn plan(case: &Case, assignor: Assignor) -> Plan {
    assigned(&lead(case, assignor))
}

/// What a group is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// All members subscribe to all topics.
    pub(crate) equal: bool,
    /// Some partitions are claimed by two.
    pub(crate) disputes: bool,
    pub(crate) racks: bool,
}

/// Makes a group of up to 8 members and 6 topics.
pub(crate) fn draw(seed: u64, kind: Kind) -> Case {
    let mut rng = Rng::with_seed(seed);
    let racks = ["a", "b", "c", "d"];
    let mut topics: Vec<Topic> = Vec::new();
    for name in 0..rng.usize(1..=6) {
        let count = if rng.u8(..8) == 0 { 0 } else { rng.u32(1..=12) };
        let count = topics.last().filter(|_| rng.bool()).map_or(count, |topic| topic.count);
        let mut replicas = Vec::new();
        for partition in 0..if kind.racks { count } else { 0 } {
            let near = usize::try_from(partition).expect("few") % 3;
            let one = if rng.bool() { near } else { rng.usize(..4) };
            let two = (one + rng.usize(..3)) % 4;
            replicas.push(vec![racks[one].to_owned(), racks[two].to_owned()]);
        }
        topics.push(Topic { name: format!("topic-{name}"), count, racks: replicas });
    }
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let mut members = Vec::new();
    for number in 0..rng.usize(1..=8) {
        let some = |rng: &mut Rng| kind.equal || rng.u8(..3) > 0;
        let mut wanted: Vec<&str> = names.clone();
        wanted.retain(|_| some(&mut rng));
        let mut member = Member::new(&format!("member-{}-{number}", rng.u8(..)), &wanted);
        member.instance = (rng.u8(..4) == 0).then(|| format!("instance-{}-{number}", rng.u8(..)));
        member.rack = (kind.racks && rng.u8(..5) > 0).then(|| racks[rng.usize(..3)].to_owned());
        members.push(member);
    }
    let mut case = Case { topics, members };
    own(&mut rng, &mut case, kind);
    case
}

/// Gives most partitions to somebody who has them already.
fn own(rng: &mut Rng, case: &mut Case, kind: Kind) {
    let generation = 3 + rng.i32(0..40);
    for member in &mut case.members {
        member.generation = generation - i32::from(rng.u8(..4) == 0);
    }
    let few = 1 + rng.usize(..case.members.len());
    let share = rng.u8(0..=10);
    for topic in &case.topics {
        for partition in 0..topic.count {
            if rng.u8(..10) >= share {
                continue;
            }
            let partition = (topic.name.clone(), i32::try_from(partition).expect("few"));
            let wants = |member: &Member| member.topics.contains(&topic.name);
            let owner = rng.usize(..few);
            if wants(&case.members[owner]) || rng.u8(..6) == 0 {
                case.members[owner].owned.insert(partition.clone());
            }
            if kind.disputes && rng.u8(..5) == 0 {
                let rival = rng.usize(..case.members.len());
                case.members[rival].owned.insert(partition);
            }
        }
    }
    // Who never had an assignment has no generation.
    for member in &mut case.members {
        if member.owned.is_empty() && rng.bool() {
            member.generation = -1;
        }
    }
}
