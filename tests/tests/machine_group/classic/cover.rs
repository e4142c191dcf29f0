//! Growth under the leader of another client, which may plan by older counts.

use kafka_protocol::messages::{
    ApiKey, DescribeGroupsRequest, DescribeGroupsResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kavka_core::{Duration, Event, Instant, Limits, Start};
use kavka_tests::script::Script;

use super::growth::{beat_until_join, grow};
use super::{
    Join, OTHER, Welcome, assignment, classic, member, member_with, pulse, synced, welcome,
};
use crate::steps::{
    OTHER as OTHER_ID, assigned, commit_with, fetch_commits, fetched, group_events, next_commit,
    offsets, subscribed, world,
};

const COOPERATIVE: &str = "cooperative-sticky";
/// A client id that is not this client's, as brokers make member ids of it.
const JAVA: &str = "consumer-g-1-01234567-89ab-cdef-0123-456789abcdef";

/// Returns a follower of a Java member, which has all partitions but two.
fn follower() -> Script {
    let mut world = world(4);
    world.assigned = 4;
    let config = classic(&world, COOPERATIVE);
    let mut welcomed = Welcome::follower(1, COOPERATIVE);
    welcomed.leader = JAVA;
    let (mut s, _) = member_with(world, config, &welcomed, &[0, 1]);
    pulse(&mut s, 0);
    s
}

/// Takes part in a round whose leader has not looked.
fn in_vain(s: &mut Script, join: &Join, generation: i32) {
    let mut welcomed = Welcome::follower(generation, COOPERATIVE);
    welcomed.leader = JAVA;
    welcome(s, join, &welcomed);
    let sync = s.expect::<SyncGroupRequest>();
    synced(s, &sync, assignment(&[0, 1]));
}

/// Returns what was reported as no member's: first, last, and how many.
fn unassigned(s: &mut Script) -> Vec<(u32, u32, u32)> {
    s.take_reported(|reported| match reported.event()? {
        Event::Unassigned { first, last, partitions, .. } => Some((first, last, partitions)),
        _ => None,
    })
}

/// Responds to heartbeats for a while; there is no round.
fn rest(s: &mut Script, time: Duration) {
    let start = s.now();
    if let Some(join) = beat_until_join(s, time) {
        s.fail(&format!("a round {:?} later", start.until(join.at)));
    }
}

#[test]
fn what_a_foreign_leader_leaves_out_is_reported_and_gets_a_round_each_minute() {
    // GR8, GR10
    let mut s = follower();
    grow(&mut s);
    grow(&mut s);
    let mut before: Option<Instant> = None;
    for generation in 2..5 {
        let join = beat_until_join(&mut s, Duration::from_secs(90)).expect("a round");
        if let Some(before) = before {
            let pause = before.until(join.at);
            assert!((60..80).contains(&pause.as_secs()), "{pause:?}");
            assert_eq!(unassigned(&mut s), [], "it was told");
        }
        before = Some(join.at);
        in_vain(&mut s, &join, generation);
        rest(&mut s, Duration::from_secs(5));
        if generation == 2 {
            assert_eq!(unassigned(&mut s), [(4, 5, 2)]);
            assert_eq!(s.client.group_leader(), Some("consumer-g-1"));
        }
    }
    s.world.assigned = 6;
    rest(&mut s, Duration::from_secs(200));
    assert_eq!(unassigned(&mut s), []);
}

#[test]
fn growth_that_others_have_needs_no_round() {
    let mut s = follower();
    s.world.assigned = 5;
    grow(&mut s);
    rest(&mut s, Duration::from_secs(100));
    assert_eq!(unassigned(&mut s), []);
}

#[test]
fn rounds_of_others_put_off_that_of_a_member_which_waits_for_growth() {
    // Of several members one begins: the leader has looked in that round for all of them.
    let mut s = follower();
    grow(&mut s);
    let join = beat_until_join(&mut s, Duration::from_secs(6)).expect("a round");
    in_vain(&mut s, &join, 2);
    for generation in 3..6 {
        rest(&mut s, Duration::from_secs(50));
        let due = loop {
            s.run(Duration::from_millis(5));
            if let Some(due) = s.take::<HeartbeatRequest>() {
                break due;
            }
        };
        s.respond(&due, HeartbeatResponse::default().with_error_code(27));
        let join = beat_until_join(&mut s, Duration::from_secs(2)).expect("it takes part");
        in_vain(&mut s, &join, generation);
    }
    assert_eq!(unassigned(&mut s), [(4, 4, 1)], "once");
    assert!(beat_until_join(&mut s, Duration::from_secs(80)).is_some(), "in the end");
}

#[test]
fn a_member_that_comes_to_a_leader_with_older_counts_reports_at_once() {
    let mut world = world(6);
    world.assigned = 4;
    let config = classic(&world, COOPERATIVE);
    let mut welcomed = Welcome::follower(1, COOPERATIVE);
    welcomed.leader = JAVA;
    let (mut s, _) = member_with(world, config, &welcomed, &[0, 1]);
    rest(&mut s, Duration::from_secs(50));
    assert_eq!(unassigned(&mut s), [(4, 5, 2)]);
    assert!(beat_until_join(&mut s, Duration::from_secs(30)).is_some(), "a minute later");
}

#[test]
fn growth_just_after_a_round_is_reported_after_another_one() {
    let mut world = world(4);
    world.assigned = 4;
    let config = classic(&world, COOPERATIVE);
    let mut welcomed = Welcome::follower(1, COOPERATIVE);
    welcomed.leader = JAVA;
    let (mut s, _) = member_with(world, config, &welcomed, &[0, 1]);
    grow(&mut s);
    let join = beat_until_join(&mut s, Duration::from_secs(6)).expect("a round");
    assert_eq!(unassigned(&mut s), [], "the leader has its turn");
    in_vain(&mut s, &join, 2);
    rest(&mut s, Duration::from_secs(5));
    assert_eq!(unassigned(&mut s), [(4, 4, 1)]);
}

#[test]
fn every_topic_is_checked_where_one_is_not_covered() {
    let mut world = world(6).topic("u", 6);
    world.assigned = 4;
    let config = classic(&world, COOPERATIVE);
    let mut s = Script::with(world, config, &Limits::small());
    let topics = [s.topic("t"), s.topic("u")];
    let now = s.now();
    s.client.subscribe(now, &topics, Start::Latest).expect("subscribed");
    let mut welcomed = Welcome::follower(1, COOPERATIVE);
    welcomed.leader = JAVA;
    super::follow(&mut s, &welcomed, &[0, 1]);
    rest(&mut s, Duration::from_secs(10));
    assert_eq!(unassigned(&mut s), [(4, 5, 2); 2]);
}

/// The starts of new partitions are committed where whoever saw them come is gone: another client
/// would begin at their end.
#[test]
fn a_member_that_comes_later_commits_the_starts_of_what_no_member_has() {
    let mut world = world(6);
    world.assigned = 4;
    let config = classic(&world, COOPERATIVE);
    let (mut s, _) = subscribed(world, config, Start::Latest);
    let mut welcomed = Welcome::follower(1, COOPERATIVE);
    welcomed.leader = JAVA;
    super::follow(&mut s, &welcomed, &[0, 1]);
    fetch_commits(&mut s, |_| (10, "kv1;n=5;b=5;t=AAAAAAAAAAAAAAAAAAAAAA;", 0));
    s.run(Duration::from_millis(2100));
    fetch_commits(&mut s, |_| (-1, "", 0));
    // It looks at the commits of all once more.
    fetch_commits(&mut s, |index| (if index < 2 { 10 } else { -1 }, "", 0));
    let commit = next_commit(&mut s);
    assert_eq!(offsets(&commit), [(5, 0)], "the other one was there at first contact");
    commit_with(&mut s, &commit, |_| 0);
    assert_eq!(s.waiting::<OffsetCommitRequest>(), 0);
}

/// A client with an entry for each partition that it may be assigned has some for seeds only until
/// then, whether their starts are committed or not.
#[test]
fn an_assignment_gets_the_entries_of_seeds() {
    for committed in [true, false] {
        let mut world = world(6);
        world.assigned = 4;
        let config = classic(&world, COOPERATIVE);
        let mut limits = Limits::small();
        limits.partitions = 3;
        let mut s = Script::with(world, config, &limits);
        let t = s.topic("t");
        let now = s.now();
        s.client.subscribe(now, &[t], Start::Latest).expect("subscribed");
        let mut welcomed = Welcome::follower(1, COOPERATIVE);
        welcomed.leader = JAVA;
        super::follow(&mut s, &welcomed, &[0, 1]);
        fetch_commits(&mut s, |_| (10, "kv1;n=5;b=5;t=AAAAAAAAAAAAAAAAAAAAAA;", 0));
        s.run(Duration::from_millis(2100));
        fetch_commits(&mut s, |_| (-1, "", 0));
        fetch_commits(&mut s, |index| (if index < 2 { 10 } else { -1 }, "", 0));
        let commit = next_commit(&mut s);
        assert_eq!(offsets(&commit), [(5, 0)]);
        let code = if committed { 0 } else { 15 };
        commit_with(&mut s, &commit, |_| code);
        pulse(&mut s, 27);
        s.until("a round", |s| {
            if let Some(again) = s.take::<OffsetCommitRequest>() {
                commit_with(s, &again, |_| code);
            }
            s.waiting::<JoinGroupRequest>() > 0
        });
        let join = s.expect::<JoinGroupRequest>();
        welcomed.generation = 2;
        welcome(&mut s, &join, &welcomed);
        let sync = s.expect::<SyncGroupRequest>();
        synced(&mut s, &sync, assignment(&[0, 1, 2]));
        let news = group_events(&mut s);
        assert!(!committed || news.is_empty(), "committed: {committed}: {news:?}");
        fetch_commits(&mut s, |_| (10, "", 0));
        assert_eq!(assigned(&mut s), [0, 1, 2], "committed: {committed}");
    }
}

#[test]
fn where_nothing_can_be_said_there_is_one_round() {
    for refused in [true, false] {
        let mut world = world(4);
        world.assigned = 4;
        if !refused {
            world.without = vec![ApiKey::DescribeGroups as i16];
        }
        let config = classic(&world, COOPERATIVE);
        let welcomed = Welcome::follower(1, COOPERATIVE);
        let (mut s, _) = member_with(world, config, &welcomed, &[0, 1]);
        rest(&mut s, Duration::from_secs(5));
        s.manual(ApiKey::DescribeGroups);
        grow(&mut s);
        if refused {
            s.run(Duration::from_secs(2));
            let due = s.expect::<DescribeGroupsRequest>();
            let group =
                kafka_protocol::messages::describe_groups_response::DescribedGroup::default();
            let body = DescribeGroupsResponse::default();
            s.respond(&due, body.with_groups(vec![group.with_error_code(30)]));
        }
        let join = beat_until_join(&mut s, Duration::from_secs(6)).expect("a round");
        welcome(&mut s, &join, &Welcome::follower(2, COOPERATIVE));
        let sync = s.expect::<SyncGroupRequest>();
        synced(&mut s, &sync, assignment(&[0, 1]));
        s.automatic(ApiKey::DescribeGroups);
        s.world.assigned = 1000;
        rest(&mut s, Duration::from_secs(100));
        assert_eq!(unassigned(&mut s), [], "{refused}");
    }
}

#[test]
fn what_a_member_gives_up_in_its_own_time_is_its_own() {
    // Cooperative: in its subscription, and in no assignment.
    let (mut s, _) = member(COOPERATIVE, COOPERATIVE, &[0, 1]);
    s.manual(ApiKey::DescribeGroups);
    s.run(Duration::from_secs(2));
    let due = s.expect::<DescribeGroupsRequest>();
    use kafka_protocol::messages::describe_groups_response::{
        DescribedGroup, DescribedGroupMember,
    };
    let theirs = DescribedGroupMember::default()
        .with_member_id(super::text(OTHER))
        .with_member_metadata(super::theirs(&[2, 3], 1))
        .with_member_assignment(assignment(&[]));
    let ours = DescribedGroupMember::default().with_member_assignment(assignment(&[0, 1]));
    let group = DescribedGroup::default()
        .with_group_state(super::text("Stable"))
        .with_members(vec![theirs, ours]);
    s.respond(&due, DescribeGroupsResponse::default().with_groups(vec![group]));
    rest(&mut s, Duration::from_secs(100));
    assert_eq!(unassigned(&mut s), []);
}

/// The leader may plan by the count of the topic before.
#[test]
fn a_recreated_topic_is_checked() {
    let mut s = follower();
    rest(&mut s, Duration::from_secs(5));
    assert_eq!(unassigned(&mut s), []);
    s.world.grow("t", 6);
    s.world.topic_mut("t").id = OTHER_ID;
    let join = beat_until_join(&mut s, Duration::from_secs(60)).expect("a round");
    in_vain(&mut s, &join, 2);
    rest(&mut s, Duration::from_secs(5));
    assert_eq!(unassigned(&mut s), [(4, 5, 2)]);
}

/// Each response describes the whole group, as large as it may be.
#[test]
fn there_is_a_pause_between_checks_of_topics() {
    for assigned in [4, 1000] {
        let mut world = world(6).topic("u", 6);
        world.assigned = assigned;
        let config = classic(&world, COOPERATIVE);
        let mut s = Script::with(world, config, &Limits::small());
        let topics = [s.topic("t"), s.topic("u")];
        let now = s.now();
        s.client.subscribe(now, &topics, Start::Latest).expect("subscribed");
        let mut welcomed = Welcome::follower(1, COOPERATIVE);
        welcomed.leader = JAVA;
        super::follow(&mut s, &welcomed, &[0, 1]);
        s.manual(ApiKey::DescribeGroups);
        let mut checks = Vec::new();
        for _ in 0..1000 {
            if let Some(due) = s.take::<DescribeGroupsRequest>() {
                checks.push(due.at);
                s.serve(due);
            }
            if let Some(due) = s.take::<HeartbeatRequest>() {
                s.respond(&due, HeartbeatResponse::default());
            }
            if let Some(due) = s.take::<OffsetFetchRequest>() {
                fetched(&mut s, &due, |_| (10, "", 0));
            }
            s.run(Duration::from_millis(5));
        }
        let [first, second] = checks[..] else { panic!("{assigned}: {checks:?}") };
        let pause = first.until(second);
        assert!((100..200).contains(&pause.as_millis()), "{assigned}: {pause:?}");
    }
}
