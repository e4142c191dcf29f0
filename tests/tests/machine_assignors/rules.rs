//! Rules that hold for all groups, checked for groups of many seeds.

use std::collections::{BTreeMap, BTreeSet};

use kavka_core::Assignor;

use crate::case::{Case, Kind, Partition, Plan, draw, plan};

const SEEDS: u64 = 500;

fn kinds() -> impl Iterator<Item = Kind> {
    let flags = [false, true];
    flags
        .into_iter()
        .flat_map(move |equal| flags.map(move |disputes| Kind { equal, disputes, racks: false }))
}

fn each(mut f: impl FnMut(&str, Kind, &Case)) {
    for kind in kinds() {
        for seed in 0..SEEDS {
            f(&format!("seed {seed}, {kind:?}"), kind, &draw(seed, kind));
        }
    }
}

/// All partitions that somebody subscribes to.
fn subscribed(case: &Case) -> BTreeSet<Partition> {
    let mut all = BTreeSet::new();
    for topic in &case.topics {
        if case.members.iter().any(|member| member.topics.contains(&topic.name)) {
            let count = i32::try_from(topic.count).expect("few");
            all.extend((0..count).map(|partition| (topic.name.clone(), partition)));
        }
    }
    all
}

/// Everything once, to members that subscribe to it.
fn check_whole(name: &str, case: &Case, plan: &Plan) {
    let mut seen = BTreeSet::new();
    for member in &case.members {
        for partition in &plan[&member.id] {
            assert!(member.topics.contains(&partition.0), "{name}: {partition:?} not subscribed");
            assert!(seen.insert(partition.clone()), "{name}: {partition:?} twice");
        }
    }
    assert_eq!(seen, subscribed(case), "{name}");
}

/// No partition can be moved so that two members become more equal.
fn check_even(name: &str, case: &Case, plan: &Plan) {
    for member in &case.members {
        let few = plan[&member.id].len();
        for (other, partitions) in plan {
            let many = partitions.len();
            let better = partitions.iter().find(|(topic, _)| member.topics.contains(topic));
            assert!(
                few + 1 >= many || better.is_none(),
                "{name}: {better:?} of {other} ({many}) belongs to {} ({few})",
                member.id
            );
        }
    }
}

/// Returns who owns what by the highest generation, and what two own by it.
fn owners(case: &Case) -> BTreeMap<Partition, Option<&str>> {
    let mut owners: BTreeMap<Partition, (i32, Option<&str>)> = BTreeMap::new();
    for member in &case.members {
        for partition in &member.owned {
            let now = (member.generation, Some(member.id.as_str()));
            owners
                .entry(partition.clone())
                .and_modify(|owner| match now.0.cmp(&owner.0) {
                    std::cmp::Ordering::Greater => *owner = now,
                    std::cmp::Ordering::Equal => owner.1 = None,
                    std::cmp::Ordering::Less => {}
                })
                .or_insert(now);
        }
    }
    owners.into_iter().map(|(partition, (_, owner))| (partition, owner)).collect()
}

#[test]
fn every_partition_is_given_once_to_a_subscriber() {
    each(|name, _, case| {
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky] {
            check_whole(&format!("{name}, {assignor:?}"), case, &plan(case, assignor));
        }
    });
}

#[test]
fn sticky_plans_are_as_even_as_can_be() {
    each(|name, kind, case| {
        let plan = plan(case, Assignor::Sticky);
        check_even(name, case, &plan);
        if kind.equal {
            let sizes = || plan.values().map(BTreeSet::len);
            let (least, most) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
            assert!(most - least <= 1, "{name}: {least} to {most}");
        }
    });
}

#[test]
fn nobody_loses_what_it_owns_below_its_quota() {
    each(|name, kind, case| {
        if !kind.equal {
            return;
        }
        let plan = plan(case, Assignor::Sticky);
        let quota = subscribed(case).len() / case.members.len();
        let all = subscribed(case);
        for member in &case.members {
            let owners = owners(case);
            let owned = member.owned.iter().filter(|partition| {
                owners[*partition] == Some(&member.id) && all.contains(*partition)
            });
            let owned: BTreeSet<Partition> = owned.cloned().collect();
            let kept = owned.intersection(&plan[&member.id]).count();
            assert!(kept >= owned.len().min(quota), "{name}: {} keeps {kept}", member.id);
        }
    });
}

/// Lets members have what a plan gives them.
fn follow(case: &Case, plan: &Plan) -> Case {
    let mut next = case.clone();
    let latest = next.members.iter().map(|member| member.generation).max().unwrap_or(0);
    for member in &mut next.members {
        member.owned = plan[&member.id].clone();
        member.generation = latest + 1;
    }
    next
}

#[test]
fn a_second_plan_moves_nothing() {
    // GR4
    each(|name, _, case| {
        let first = plan(case, Assignor::Sticky);
        let second = plan(&follow(case, &first), Assignor::Sticky);
        assert_eq!(first, second, "{name}");
    });
}

#[test]
fn cooperative_plans_give_away_nothing_that_another_one_has() {
    each(|name, _, case| {
        let plan = plan(case, Assignor::CooperativeSticky);
        for (id, partitions) in &plan {
            for partition in partitions {
                let owner = owners(case).get(partition).copied();
                assert!(
                    owner.is_none_or(|owner| owner == Some(id)),
                    "{name}: {partition:?} is {owner:?}'s, not {id}'s"
                );
            }
        }
    });
}

/// Plans until nothing changes any more: after two rounds where all subscribe to the same topics,
/// as no later one takes anything from anybody; after few where they do not.
#[test]
fn cooperative_rounds_come_to_an_end() {
    each(|name, kind, case| {
        let (mut now, mut rounds) = (case.clone(), 1);
        let mut last = plan(&now, Assignor::CooperativeSticky);
        loop {
            now = follow(&now, &last);
            let next = plan(&now, Assignor::CooperativeSticky);
            if next == last {
                break;
            }
            rounds += 1;
            assert!(rounds <= if kind.equal { 2 } else { 4 }, "{name}: another round");
            for member in &now.members {
                let lost = member.owned.difference(&next[&member.id]).count();
                assert!(lost == 0 || !kind.equal, "{name}: {} loses {lost} again", member.id);
            }
            last = next;
        }
        check_whole(name, case, &last);
        check_even(name, case, &last);
    });
}

#[test]
fn two_members_do_not_exchange_partitions_of_a_topic() {
    each(|name, kind, case| {
        if kind.disputes {
            return;
        }
        let plan = plan(case, Assignor::Sticky);
        let owners = owners(case);
        let mut moves = BTreeSet::new();
        for (id, partitions) in &plan {
            for partition in partitions {
                let from = owners.get(partition).copied().flatten();
                if let Some(from) = from.filter(|from| from != id) {
                    moves.insert((partition.0.clone(), from.to_owned(), id.clone()));
                }
            }
        }
        for (topic, from, to) in &moves {
            let back = (topic.clone(), to.clone(), from.clone());
            assert!(!moves.contains(&back), "{name}: {from} and {to} exchange {topic}");
        }
    });
}

#[test]
fn plans_do_not_depend_on_the_order_of_members() {
    each(|name, _, case| {
        let mut turned = case.clone();
        turned.members.reverse();
        for assignor in Assignor::ALL {
            assert_eq!(plan(case, assignor), plan(&turned, assignor), "{name}, {assignor:?}");
        }
    });
}
