//! The end of a membership.

use kafka_protocol::messages::{
    JoinGroupRequest, LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest, SyncGroupRequest,
};
use kavka_core::{Duration, Event};

use super::{ME, Welcome, classic, member, member_with, pulse, synced, welcome};
use crate::steps::{commit_with, group_events, next_commit, offsets, world};

const COOPERATIVE: &str = "cooperative-sticky";

fn leave(s: &mut kavka_tests::script::Script) {
    let now = s.now();
    s.client.unsubscribe(now, Duration::from_secs(5));
}

#[test]
fn a_member_commits_and_leaves() {
    let (mut s, ids) = member("range", "range", &[0, 1]);
    let (at, now) = (ids[0], s.now());
    s.client.commit_offset(now, at, (20, -1), "").expect("a member");
    leave(&mut s);
    let commit = next_commit(&mut s);
    s.none::<LeaveGroupRequest>("commits come first");
    commit_with(&mut s, &commit, |_| 0);
    let left = s.expect::<LeaveGroupRequest>();
    assert_eq!(&*left.body.members[0].member_id, ME);
    s.respond(&left, LeaveGroupResponse::default());
    assert!(group_events(&mut s).iter().any(|event| matches!(event, Event::GroupLeft)));
}

#[test]
fn a_static_member_goes_without_a_word() {
    let world = world(4);
    let mut config = classic(&world, "range");
    config.group_instance = "one";
    let (mut s, _) = member_with(world, config, &Welcome::follower(1, "range"), &[0, 1]);
    leave(&mut s);
    s.run(Duration::from_secs(1));
    s.none::<LeaveGroupRequest>("its partitions are kept for it");
    assert!(group_events(&mut s).iter().any(|event| matches!(event, Event::GroupLeft)));
}

#[test]
fn a_member_leaves_beside_a_join_that_waits_for_others() {
    let (mut s, ids) = member(COOPERATIVE, COOPERATIVE, &[0, 1]);
    pulse(&mut s, 27);
    let join = s.expect::<JoinGroupRequest>();
    let (at, now) = (ids[0], s.now());
    s.client.commit_offset(now, at, (20, -1), "").expect("a member");
    leave(&mut s);
    let commit = next_commit(&mut s);
    assert_ne!(commit.conn, join.conn);
    assert_eq!(commit.body.generation_id_or_member_epoch, 1, "that is taken until the round ends");
    commit_with(&mut s, &commit, |_| 0);
    let left = s.expect::<LeaveGroupRequest>();
    s.respond(&left, LeaveGroupResponse::default());
    assert!(group_events(&mut s).iter().any(|event| matches!(event, Event::GroupLeft)));
}

#[test]
fn a_member_that_leaves_between_join_and_sync_commits_after_it() {
    let (mut s, ids) = member(COOPERATIVE, COOPERATIVE, &[0, 1]);
    pulse(&mut s, 27);
    let join = s.expect::<JoinGroupRequest>();
    welcome(&mut s, &join, &Welcome::follower(2, COOPERATIVE));
    let sync = s.expect::<SyncGroupRequest>();
    let (at, now) = (ids[0], s.now());
    s.client.commit_offset(now, at, (20, -1), "").expect("a member");
    leave(&mut s);
    s.run(Duration::from_millis(500));
    s.none::<OffsetCommitRequest>("it would be refused");
    synced(&mut s, &sync, super::assignment(&[0]));
    let commit = next_commit(&mut s);
    assert_eq!(offsets(&commit), [(0, 20)]);
    assert_eq!(commit.body.generation_id_or_member_epoch, 2);
    commit_with(&mut s, &commit, |_| 0);
    s.expect::<LeaveGroupRequest>();
}

#[test]
fn a_member_leaves_although_it_cannot_commit() {
    let (mut s, ids) = member("range", "range", &[0, 1]);
    let (at, now) = (ids[0], s.now());
    s.client.commit_offset(now, at, (20, -1), "").expect("a member");
    leave(&mut s);
    let start = s.now();
    let left = loop {
        if let Some(commit) = s.take::<OffsetCommitRequest>() {
            commit_with(&mut s, &commit, |_| 14);
        }
        if let Some(left) = s.take::<LeaveGroupRequest>() {
            break left;
        }
        s.run(Duration::from_millis(10));
        assert!(start.until(s.now()) < Duration::from_secs(5), "it would be missed for a session");
    };
    s.respond(&left, LeaveGroupResponse::default());
    assert!(group_events(&mut s).iter().any(|event| matches!(event, Event::GroupLeft)));
}

#[test]
fn a_member_leaves_beside_a_sync_that_waits_for_the_leader() {
    for commits in [false, true] {
        let (mut s, ids) = member(COOPERATIVE, COOPERATIVE, &[0, 1]);
        pulse(&mut s, 27);
        let join = s.expect::<JoinGroupRequest>();
        welcome(&mut s, &join, &Welcome::follower(2, COOPERATIVE));
        let sync = s.expect::<SyncGroupRequest>();
        let (at, now) = (ids[0], s.now());
        if commits {
            s.client.commit_offset(now, at, (20, -1), "").expect("a member");
        }
        leave(&mut s);
        let start = s.now();
        let left = loop {
            if let Some(left) = s.take::<LeaveGroupRequest>() {
                break left;
            }
            s.run(Duration::from_millis(10));
            assert!(start.until(s.now()) < Duration::from_secs(5), "{commits}");
        };
        assert_ne!(left.conn, sync.conn);
        let waited = start.until(left.at) > Duration::from_secs(4);
        assert_eq!(waited, commits, "what can be committed after it is waited for");
        s.respond(&left, LeaveGroupResponse::default());
        assert!(group_events(&mut s).iter().any(|event| matches!(event, Event::GroupLeft)));
    }
}
