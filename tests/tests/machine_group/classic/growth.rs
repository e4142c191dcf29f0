//! Growth: the leader's round, and what a follower does without it.

use kafka_protocol::messages::{
    ApiKey, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, MetadataRequest,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kavka_core::{Duration, Limits, Start};
use kavka_tests::script::Script;

use super::{
    ME, OTHER, Welcome, classic, given, member, member_with, name, pulse, synced, theirs, welcome,
};
use crate::steps::{
    assigned, commit_with, fetch_commits, fetched, next_commit, offsets, subscribed, world,
};

const COOPERATIVE: &str = "cooperative-sticky";
/// The id of instance `one` before its restart.
const FORMER: &str = "one-01234567-89ab-cdef-0123-456789abcdef";

pub(super) fn grow(s: &mut Script) {
    let count = s.world.topic_mut("t").partitions.len();
    s.world.grow("t", count + 1);
}

/// Responds to heartbeats until a JoinGroup comes, or `limit` is over.
pub(super) fn beat_until_join(s: &mut Script, limit: Duration) -> Option<super::Join> {
    let start = s.now();
    while start.until(s.now()) < limit {
        if let Some(due) = s.take::<HeartbeatRequest>() {
            s.respond(&due, HeartbeatResponse::default());
        }
        if let Some(join) = s.take::<JoinGroupRequest>() {
            return Some(join);
        }
        seed(s);
        s.run(Duration::from_millis(5));
    }
    None
}

/// Waits for a heartbeat, and responds to what a seed needs meanwhile; returns when it came.
fn pulse_beside_seeds(s: &mut Script, code: i16) -> kavka_core::Instant {
    loop {
        seed(s);
        if let Some(due) = s.take::<HeartbeatRequest>() {
            s.respond(&due, HeartbeatResponse::default().with_error_code(code));
            return due.at;
        }
        s.run(Duration::from_millis(1));
    }
}

/// Responds to what a seed needs.
fn seed(s: &mut Script) {
    if let Some(due) = s.take::<OffsetFetchRequest>() {
        fetched(s, &due, |index| (if index < 4 { 10 } else { -1 }, "", 0));
    }
    if let Some(due) = s.take::<OffsetCommitRequest>() {
        commit_with(s, &due, |_| 0);
    }
}

#[test]
fn a_leader_commits_the_start_of_a_new_partition_and_then_begins_a_round() {
    let world = world(2);
    let config = classic(&world, "cooperative-sticky");
    let (mut s, _) = subscribed(world, config, Start::Latest);
    let join = name(&mut s);
    welcome(&mut s, &join, &Welcome::leader(1, "cooperative-sticky"));
    let sync = s.expect::<SyncGroupRequest>();
    synced(&mut s, &sync, super::assignment(&[0, 1]));
    fetch_commits(&mut s, |_| (10, "", 0));
    assert_eq!(assigned(&mut s), [0, 1]);
    s.world.grow("t", 3);
    fetch_commits(&mut s, |_| (-1, "", 0));
    fetch_commits(&mut s, |index| (if index < 2 { 10 } else { -1 }, "", 0));
    let start = next_commit(&mut s);
    assert_eq!(offsets(&start), [(2, 0)]);
    s.none::<JoinGroupRequest>("the seed is not there");
    commit_with(&mut s, &start, |_| 0);
    let join = s.expect::<JoinGroupRequest>();
    assert!(start.at.until(join.at) < Duration::from_millis(30), "at once");
    welcome(&mut s, &join, &Welcome::leader(2, "cooperative-sticky"));
    let sync = s.expect::<SyncGroupRequest>();
    assert_eq!(given(&sync, ME), Some(vec![0, 1, 2]));
    synced(&mut s, &sync, super::assignment(&[0, 1, 2]));
    fetch_commits(&mut s, |_| (0, "", 0));
    assert_eq!(assigned(&mut s), [2]);
    assert!(beat_until_join(&mut s, Duration::from_secs(20)).is_none(), "no round without need");
}

#[test]
fn a_follower_waits_for_the_leader_for_two_seconds_and_joins_once() {
    // GR8
    let (mut s, _) = member("cooperative-sticky", "cooperative-sticky", &[0, 1]);
    s.world.assigned = 4;
    pulse(&mut s, 0);
    grow(&mut s);
    let start = s.now();
    let join = beat_until_join(&mut s, Duration::from_secs(6)).expect("the leader does nothing");
    let pause = start.until(join.at);
    assert!((1900..3600).contains(&pause.as_millis()), "{pause:?}");
    welcome(&mut s, &join, &Welcome::follower(2, "cooperative-sticky"));
    let sync = s.expect::<SyncGroupRequest>();
    synced(&mut s, &sync, super::assignment(&[0, 1]));
    assert!(beat_until_join(&mut s, Duration::from_secs(30)).is_none(), "not more than once");
}

#[test]
fn a_follower_that_sees_growth_hears_at_once_of_the_leaders_round() {
    let (mut s, _) = member("cooperative-sticky", "cooperative-sticky", &[1, 2]);
    pulse(&mut s, 0);
    grow(&mut s);
    let start = s.now();
    let mut last = pulse_beside_seeds(&mut s, 0);
    assert!(start.until(last) < Duration::from_millis(1200), "with the probe");
    for _ in 0..5 {
        let next = pulse_beside_seeds(&mut s, 0);
        assert!(last.until(next) <= Duration::from_millis(70));
        last = next;
    }
    pulse_beside_seeds(&mut s, 27);
    let join = s.expect::<JoinGroupRequest>();
    welcome(&mut s, &join, &Welcome::follower(2, "cooperative-sticky"));
    let sync = s.expect::<SyncGroupRequest>();
    synced(&mut s, &sync, super::assignment(&[1, 2, 4]));
    assert!(beat_until_join(&mut s, Duration::from_secs(10)).is_none(), "that was it");
}

#[test]
fn a_member_that_the_coordinator_hosts_joins_when_it_sees_growth() {
    // GR17
    let world = world(4);
    let config = classic(&world, "cooperative-sticky");
    let mut welcomed = Welcome::follower(1, "cooperative-sticky");
    welcomed.leader = "";
    let (mut s, _) = member_with(world, config, &welcomed, &[0, 1]);
    pulse(&mut s, 0);
    grow(&mut s);
    let start = s.now();
    let join = beat_until_join(&mut s, Duration::from_secs(3)).expect("nobody else begins");
    assert!(start.until(join.at) < Duration::from_millis(1800));
}

#[test]
fn a_static_leader_that_restarted_looks_for_growth_of_before() {
    // GR11, GR12: its former id leads, or it is told that it need not assign. Either way nobody
    // has seen the fifth partition.
    for (former, assignor) in [(true, "range"), (false, "range"), (true, COOPERATIVE)] {
        let world = world(5);
        let mut config = classic(&world, assignor);
        config.group_instance = "one";
        let (mut s, _) = subscribed(world, config, Start::Latest);
        let join = s.expect::<JoinGroupRequest>();
        let mut welcomed = Welcome::leader(3, assignor);
        welcomed.skips = !former;
        if former {
            welcomed.leader = FORMER;
        }
        welcome(&mut s, &join, &welcomed);
        let sync = s.expect::<SyncGroupRequest>();
        assert!(sync.body.assignments.is_empty(), "it assigns nothing");
        synced(&mut s, &sync, super::assignment(&[0, 1, 2, 3]));
        let start = s.now();
        let join = beat_until_join(&mut s, Duration::from_secs(3)).expect("a round");
        assert!(start.until(join.at) < Duration::from_millis(1800), "{former} {assignor}");
        assert_eq!(&*join.body.member_id, ME);
        welcome(&mut s, &join, &Welcome::leader(4, assignor));
        let sync = s.expect::<SyncGroupRequest>();
        assert_eq!(given(&sync, ME), Some(vec![0, 1, 2, 3, 4]), "{former} {assignor}");
        synced(&mut s, &sync, super::assignment(&[0, 1, 2, 3, 4]));
        assert!(beat_until_join(&mut s, Duration::from_secs(20)).is_none(), "no other round");
    }
}

#[test]
fn a_leader_whose_instance_begins_as_this_ones_is_another() {
    let world = world(4);
    let mut config = classic(&world, COOPERATIVE);
    config.group_instance = "one";
    let mut welcomed = Welcome::follower(1, COOPERATIVE);
    welcomed.leader = "one-more-01234567-89ab-cdef-0123-456789abcdef";
    let (mut s, _) = member_with(world, config, &welcomed, &[0, 1]);
    assert!(beat_until_join(&mut s, Duration::from_secs(20)).is_none(), "it has assigned");
}

#[test]
fn a_follower_that_sees_growth_while_a_round_waits_begins_one_after_it() {
    let (mut s, _) = member(COOPERATIVE, COOPERATIVE, &[0, 1]);
    s.world.assigned = 4;
    pulse(&mut s, 27);
    let join = s.expect::<JoinGroupRequest>();
    grow(&mut s);
    s.run(Duration::from_secs(5));
    welcome(&mut s, &join, &Welcome::follower(2, COOPERATIVE));
    let sync = s.expect::<SyncGroupRequest>();
    synced(&mut s, &sync, super::assignment(&[0, 1]));
    assert!(
        beat_until_join(&mut s, Duration::from_secs(2)).is_some(),
        "the leader has not seen it"
    );
}

/// Runs until a JoinGroup comes, and returns it and what was committed before it.
fn commits_until_join(s: &mut Script) -> (Vec<(i32, i64)>, super::Join) {
    let mut list = Vec::new();
    for _ in 0..2000 {
        if let Some(due) = s.take::<OffsetFetchRequest>() {
            fetched(s, &due, |index| (if index < 4 { 10 } else { -1 }, "", 0));
        }
        if let Some(due) = s.take::<OffsetCommitRequest>() {
            list.extend(offsets(&due));
            commit_with(s, &due, |_| 0);
        }
        if let Some(due) = s.take::<HeartbeatRequest>() {
            s.respond(&due, HeartbeatResponse::default());
        }
        if let Some(join) = s.take::<JoinGroupRequest>() {
            return (list, join);
        }
        s.run(Duration::from_millis(5));
    }
    s.fail("no round")
}

#[test]
fn a_leader_assigns_what_it_sees_first_in_a_round_after_its_start_is_committed() {
    for again in [false, true] {
        let world = world(4);
        let config = classic(&world, "range");
        let (mut s, _) = subscribed(world, config, Start::Latest);
        s.run(Duration::from_millis(100));
        let mut join = name(&mut s);
        if again {
            // It was a member before.
            welcome(&mut s, &join, &Welcome::leader(1, "range"));
            let sync = s.expect::<SyncGroupRequest>();
            synced(&mut s, &sync, super::assignment(&[0, 1, 2, 3]));
            fetch_commits(&mut s, |_| (10, "", 0));
            pulse(&mut s, 27);
            join = s.expect::<JoinGroupRequest>();
        }
        s.manual(ApiKey::Metadata);
        let mut welcomed = Welcome::leader(2, "range");
        welcomed.others = vec![(OTHER, theirs(&[], -1))];
        welcome(&mut s, &join, &welcomed);
        let asked = s.expect::<MetadataRequest>();
        s.automatic(ApiKey::Metadata);
        grow(&mut s);
        s.serve(asked);
        let sync = s.expect::<SyncGroupRequest>();
        assert_eq!(given(&sync, ME), Some(vec![0, 1]));
        assert_eq!(given(&sync, OTHER), Some(vec![2, 3]), "a foreign member would skip records");
        s.run(Duration::from_millis(700));
        synced(&mut s, &sync, super::assignment(&[0, 1]));
        let (list, join) = commits_until_join(&mut s);
        assert!(list.contains(&(4, 0)), "{again} {list:?}");
        welcomed.generation = 3;
        welcome(&mut s, &join, &welcomed);
        let sync = s.expect::<SyncGroupRequest>();
        assert_eq!(given(&sync, OTHER), Some(vec![3, 4]));
        synced(&mut s, &sync, super::assignment(&[0, 1, 2]));
        assert!(beat_until_join(&mut s, Duration::from_secs(20)).is_none(), "that was it");
    }
}

#[test]
fn growth_that_is_seen_between_memberships_is_not_forgotten() {
    let (mut s, _) = member(COOPERATIVE, COOPERATIVE, &[0, 1]);
    s.world.assigned = 4;
    pulse(&mut s, 25);
    let join = name(&mut s);
    grow(&mut s);
    s.run(Duration::from_secs(3));
    welcome(&mut s, &join, &Welcome::follower(2, COOPERATIVE));
    let sync = s.expect::<SyncGroupRequest>();
    synced(&mut s, &sync, super::assignment(&[0, 1]));
    let start = s.now();
    let (list, join) = commits_until_join(&mut s);
    assert!(list.contains(&(4, 0)), "{list:?}");
    assert!(start.until(join.at) < Duration::from_secs(4));
}

#[test]
fn a_static_member_that_restarted_with_another_topic_joins_once_more() {
    // GR13
    let world = world(4).topic("u", 1);
    let mut config = classic(&world, "range");
    config.group_instance = "one";
    let mut s = Script::with(world, config, &Limits::small());
    let topics = [s.topic("t"), s.topic("u")];
    let now = s.now();
    s.client.subscribe(now, &topics, Start::Latest).expect("subscribed");
    let join = s.expect::<JoinGroupRequest>();
    welcome(&mut s, &join, &Welcome::follower(3, "range"));
    let sync = s.expect::<SyncGroupRequest>();
    synced(&mut s, &sync, super::assignment(&[0, 1]));
    let (_, join) = commits_until_join(&mut s);
    assert!(sync.at.until(join.at) < Duration::from_secs(1));
    assert_eq!(&*join.body.member_id, ME, "or it would be served as before");
    welcome(&mut s, &join, &Welcome::follower(4, "range"));
    let sync = s.expect::<SyncGroupRequest>();
    synced(&mut s, &sync, super::assignment(&[0, 1]));
    assert!(beat_until_join(&mut s, Duration::from_secs(20)).is_none(), "others have it");
}
