//! Examples, most of them of the reference.

use std::collections::BTreeSet;

use kavka_core::{Assignor, GroupError, Leader, LimitKind};

use crate::case::{Case, Member, Plan, Topic, assigned, join, plan};

fn topic(name: &str, count: u32) -> Topic {
    Topic { name: name.to_owned(), count, racks: Vec::new() }
}

fn case(topics: &[(&str, u32)], members: Vec<Member>) -> Case {
    let topics = topics.iter().map(|(name, count)| topic(name, *count)).collect();
    Case { topics, members }
}

/// `a: t0 t1, b: t2` as a plan.
fn wanted(text: &str) -> Plan {
    let mut plan = Plan::new();
    for member in text.split(", ") {
        let (id, partitions) = member.split_once(':').expect("a member");
        let partition = |text: &str| {
            let (topic, index) = text.split_at(1);
            (topic.to_owned(), index.parse().expect("a partition"))
        };
        plan.insert(id.to_owned(), partitions.split_whitespace().map(partition).collect());
    }
    plan
}

#[test]
fn range_divides_topics_of_equal_size_alike() {
    // GR5
    let members = vec![Member::new("m1", &["t", "u"]), Member::new("m0", &["t", "u"])];
    let case = case(&[("t", 3), ("u", 3)], members);
    assert_eq!(plan(&case, Assignor::Range), wanted("m0:t0 t1 u0 u1, m1:t2 u2"));
}

#[test]
fn static_members_come_first_in_the_order_of_their_instances() {
    let mut members = vec![Member::new("m0", &["t"]), Member::new("m1", &["t"])];
    members.push(Member::new("m2", &["t"]));
    members[1].instance = Some("z".to_owned());
    members[2].instance = Some("a".to_owned());
    let case = case(&[("t", 5)], members);
    assert_eq!(plan(&case, Assignor::Range), wanted("m2:t0 t1, m1:t2 t3, m0:t4"));
    assert_eq!(plan(&case, Assignor::RoundRobin), wanted("m2:t0 t3, m1:t1 t4, m0:t2"));
}

#[test]
fn roundrobin_goes_on_with_the_next_topic_where_it_was() {
    let members =
        vec![Member::new("a", &["t"]), Member::new("b", &["t", "u"]), Member::new("c", &["u"])];
    let case = case(&[("t", 3), ("u", 3)], members);
    assert_eq!(plan(&case, Assignor::RoundRobin), wanted("a:t0 t2, b:t1 u0 u2, c:u1"));
}

#[test]
fn topics_without_metadata_drop_out() {
    for assignor in Assignor::ALL {
        let members = vec![Member::new("a", &["t", "gone"]), Member::new("b", &["gone"])];
        let case = case(&[("t", 2)], members);
        assert_eq!(plan(&case, assignor), wanted("a:t0 t1, b:"), "{assignor:?}");
    }
}

#[test]
fn what_two_claim_by_different_generations_is_that_of_the_later_one() {
    // GR3
    let members = vec![
        Member::new("a", &["t"]).owning("t", &[0], 5),
        Member::new("b", &["t"]).owning("t", &[0], 4),
    ];
    let case = case(&[("t", 2)], members);
    assert_eq!(plan(&case, Assignor::Sticky), wanted("a:t0, b:t1"));
    assert_eq!(plan(&case, Assignor::CooperativeSticky), wanted("a:t0, b:t1"));
}

#[test]
fn what_two_claim_by_one_generation_is_withheld_once() {
    // GR3
    let mut members = vec![
        Member::new("a", &["t"]).owning("t", &[0], 5),
        Member::new("b", &["t"]).owning("t", &[0], 5),
    ];
    let mut case = case(&[("t", 2)], members.clone());
    let first = plan(&case, Assignor::CooperativeSticky);
    let given: usize = first.values().map(|partitions| partitions.len()).sum();
    assert_eq!(given, 1, "{first:?}");
    assert!(first.values().flatten().all(|(_, partition)| *partition == 1), "{first:?}");
    for member in &mut members {
        member.owned = first[&member.id].clone();
        member.generation = 6;
    }
    case.members = members;
    let second = plan(&case, Assignor::CooperativeSticky);
    assert!(second.values().all(|partitions| partitions.len() == 1), "{second:?}");
}

#[test]
fn growth_gives_the_new_partitions_away_in_one_round() {
    let members = vec![
        Member::new("a", &["t"]).owning("t", &[0, 1], 5),
        Member::new("b", &["t"]).owning("t", &[2, 3], 5),
    ];
    let case = case(&[("t", 6)], members);
    let plan = plan(&case, Assignor::CooperativeSticky);
    assert_eq!(plan, wanted("a:t0 t1 t4, b:t2 t3 t5"));
}

#[test]
fn a_newcomer_gets_what_others_have_revoked_by_the_second_round() {
    let members =
        vec![Member::new("a", &["t"]).owning("t", &[0, 1, 2, 3], 5), Member::new("b", &["t"])];
    let mut case = case(&[("t", 4)], members);
    assert_eq!(plan(&case, Assignor::Sticky), wanted("a:t0 t1, b:t2 t3"));
    assert_eq!(plan(&case, Assignor::CooperativeSticky), wanted("a:t0 t1, b:"));
    case.members[0].owned.retain(|(_, partition)| *partition < 2);
    assert_eq!(plan(&case, Assignor::CooperativeSticky), wanted("a:t0 t1, b:t2 t3"));
}

#[test]
fn a_member_that_cannot_be_understood_gets_an_empty_assignment() {
    // GR7
    for assignor in Assignor::ALL {
        let case = case(&[("t", 3)], vec![Member::new("a", &["t"]), Member::new("c", &["t"])]);
        let mut leader = Leader::heap(3, 4, 3, 1024);
        join(&mut leader, &case, assignor);
        leader.member("b", None, &[0, 3, 0xff]).expect("there is room");
        leader.plan(assignor).expect("there is room");
        let plan = assigned(&leader);
        assert_eq!(plan["b"], Default::default(), "{assignor:?}");
        assert_eq!(plan["a"].len() + plan["c"].len(), 3, "{assignor:?}");
        let empty = (0..3).find(|member| leader.id(*member) == "b").expect("it is there");
        assert_eq!(leader.assignment_len(empty), 10, "{assignor:?}");
    }
}

#[test]
fn what_a_topic_does_not_have_is_given_to_nobody() {
    for assignor in Assignor::ALL {
        let claim = Member::new("a", &["t"]).owning("t", &[0, 1, 7, -1, i32::MAX], 2);
        let case = case(&[("t", 2)], vec![claim]);
        assert_eq!(plan(&case, assignor), wanted("a:t0 t1"), "{assignor:?}");
    }
}

#[test]
fn load_moves_along_a_long_chain_of_members() {
    // Each shares a topic with the next one; the first ones own everything that they may.
    let name = |at: usize| format!("t{at:03}");
    let mut topics = Vec::new();
    let mut members = Vec::new();
    for at in 0..120 {
        topics.push(topic(&name(at), 40));
        let (mine, next) = (name(at), name(at + 1));
        let mut member = Member::new(&format!("m{at:03}"), &[&mine, &next]);
        if at < 60 {
            member = member.owning(&mine, &(0..40).collect::<Vec<_>>(), 3);
        }
        members.push(member);
    }
    topics.truncate(61);
    let case = Case { topics, members };
    let plan = plan(&case, Assignor::Sticky);
    let sizes: Vec<usize> = plan.values().map(BTreeSet::len).take(61).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 61 * 40);
    assert!(sizes.windows(2).all(|pair| pair[0].abs_diff(pair[1]) <= 1), "{sizes:?}");
}

#[test]
fn a_group_that_is_too_large_names_the_limit() {
    let limit = |what, needed| Err(GroupError::Limit { what, needed });
    let bytes = Member::new("a", &["t", "u"]).subscription(Assignor::Range);
    let mut leader = Leader::heap(1, 2, 4, 100);
    leader.member("a", None, &bytes).expect("there is room");
    assert_eq!(leader.member("b", None, &bytes), limit(LimitKind::GroupMembers, 0));
    assert_eq!(leader.topics().collect::<Vec<_>>(), ["t", "u"]);
    leader.count(0, 3);
    leader.count(1, 2);
    assert_eq!(leader.plan(Assignor::Range), limit(LimitKind::GroupPartitions, 5));
    leader.count(1, 1);
    assert_eq!(leader.plan(Assignor::Range), Ok(()));
    assert_eq!(assigned(&leader), wanted("a:t0 t1 t2 u0"));
    leader.count(0, u32::MAX);
    leader.count(1, u32::MAX);
    assert!(leader.plan(Assignor::Range).is_err());
    leader.begin();
    assert_eq!((leader.members(), leader.topics().count()), (0, 0));
    assert_eq!(leader.member(&"x".repeat(101), None, &[]), limit(LimitKind::GroupBytes, 0));
    let mut narrow = Leader::heap(1, 1, 4, 100);
    assert_eq!(narrow.member("a", None, &bytes), limit(LimitKind::Topics, 0));
    let mut never = Leader::heap(0, 0, 0, 0);
    assert_eq!(never.member("a", None, &bytes), limit(LimitKind::GroupMembers, 0));
    assert_eq!(never.plan(Assignor::Sticky), Ok(()));
}
