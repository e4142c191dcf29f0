//! A leader of a classic group, given what members of any kind send it.

use std::collections::{BTreeMap, BTreeSet};

use kavka_core::wire::consumer_protocol::{Assignment, Joining, Subscription, UserData};
use kavka_core::wire::{SliceSink, Writer};
use kavka_core::{Assignor, Leader};

use crate::input::Input;
use crate::memory::still;

/// Names that members subscribe to; metadata has the counts of the first ones.
const TOPICS: [&str; 5] = ["a", "b", "topic", "", "zz"];
const RACKS: [&str; 4] = ["r", "s", "", "other"];
const MEMBERS: usize = 10;
const PARTITIONS: usize = 200;

/// Reads assignor and counts, then members: subscriptions, or bytes in their place.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let assignor = input.pick(&Assignor::ALL);
    let counts: Vec<u32> = (0..4).map(|_| input.below(64) as u32).collect();
    let racks: Vec<usize> = (0..8).map(|_| input.below(RACKS.len())).collect();
    let mut leader = Leader::heap(MEMBERS, TOPICS.len() + 2, PARTITIONS, 4096);
    let mut members = Vec::new();
    while !input.is_empty() {
        let id = format!("{}-{}", input.below(4), members.len());
        let instance = input.one_in(3).then_some("instance");
        let bytes = subscription(&mut input);
        if still(|| leader.member(&id, instance, &bytes)).is_err() {
            // The group is too large: others can lead it.
            still(|| leader.begin());
            members.clear();
            continue;
        }
        members.push((id, bytes));
    }
    let mut known = BTreeMap::new();
    for (name, count) in TOPICS.iter().zip(&counts) {
        if let Some(topic) = still(|| leader.find(name)) {
            still(|| leader.count(topic, *count));
            known.insert((*name).to_owned(), *count);
        }
    }
    for (at, rack) in racks.iter().enumerate() {
        let pair = [RACKS[*rack], RACKS[at % RACKS.len()]];
        still(|| leader.racks(at % 3, at as u32 / 3, pair.into_iter()));
    }
    if still(|| leader.plan(assignor)).is_ok() {
        check(&leader, &members, &known, assignor);
    }
}

/// Makes a subscription, or takes bytes as one.
fn subscription(input: &mut Input<'_>) -> Vec<u8> {
    let kind = input.below(8);
    if kind == 0 {
        let len = input.below(64);
        return input.take(len).to_vec();
    }
    let pick = |input: &mut Input<'_>, bits: usize| {
        let bits = input.below(bits);
        TOPICS.iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1).map(|(_, name)| *name)
    };
    let topics = pick(input, 32);
    let (from, step) = (input.below(64) as i32 - 4, 1 + input.below(4));
    let owned = pick(input, 32);
    let owned = owned.map(|name| (name, (from..from + 12).step_by(step)));
    let generation = input.below(4) as i32 - 1;
    let user_data = match input.below(3) {
        0 => UserData::Null,
        1 => UserData::Generation(generation),
        _ => UserData::Previous(owned.clone(), generation),
    };
    let rack = input.one_in(2).then(|| input.pick(&RACKS));
    let joining = Joining { topics, user_data, owned, generation, rack };
    let version = input.below(5) as i16;
    let mut room = vec![0; joining.len(version)];
    let mut sink = SliceSink::new(&mut room);
    still(|| joining.write(version, &mut Writer::new(&mut sink))).expect("its own length");
    // Sometimes cut, or damaged.
    if kind == 1 {
        room.truncate(input.below(256));
    } else if kind == 2 && !room.is_empty() {
        let at = input.below(256) % room.len();
        room[at] ^= input.byte();
    }
    room
}

fn check(
    leader: &Leader<'_>,
    members: &[(String, Vec<u8>)],
    known: &BTreeMap<String, u32>,
    assignor: Assignor,
) {
    assert_eq!(leader.members(), members.len());
    let mut seen = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for member in 0..leader.members() {
        let mut room = vec![0; leader.assignment_len(member)];
        let mut sink = SliceSink::new(&mut room);
        still(|| leader.write_assignment(member, &mut Writer::new(&mut sink))).expect("its length");
        assert!(sink.len() >= 10 && sink.len() == leader.assignment_len(member));
        let id = leader.id(member);
        assert!(ids.insert(id.to_owned()), "{id} twice");
        let (_, bytes) = members.iter().find(|(other, _)| other == id).expect("a member");
        let wanted: BTreeSet<&str> =
            Subscription::read(bytes).map(|read| read.topics.collect()).unwrap_or_default();
        let read = Assignment::read(sink.written()).expect("an assignment");
        assert_eq!(read.user_data, None);
        for (topic, partitions) in read.topics {
            assert!(wanted.contains(topic), "{id} does not subscribe to {topic:?}");
            for partition in partitions {
                assert!(partition >= 0 && (partition as u32) < known[topic], "{topic} {partition}");
                assert!(seen.insert((topic.to_owned(), partition)), "{topic} {partition} twice");
            }
        }
    }
    // The cooperative assignor may withhold some; the others give everything that is subscribed.
    if assignor != Assignor::CooperativeSticky {
        let reads = members.iter().filter_map(|(_, bytes)| Subscription::read(bytes).ok());
        let wanted: BTreeSet<&str> = reads.flat_map(|read| read.topics).collect();
        let all: u32 = wanted.iter().filter_map(|name| known.get(*name)).sum();
        assert_eq!(seen.len() as u32, all);
    }
}
