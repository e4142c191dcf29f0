//! Commits: in order, merged, split, repeated.

use kafka_protocol::messages::OffsetCommitRequest;
use kavka_core::{Duration, Event, GroupError, Limits, PartitionId, Start};
use kavka_tests::script::Script;

use crate::steps::{
    OTHER, assigned, beat, calm, commit_with, committed, config, fetch_commits, group_events,
    marker, member, member_with, next_beat, next_commit, offsets, subscribed, world,
};

/// Returns a member with two partitions, and their ids.
fn two() -> (Script, Vec<PartitionId>) {
    let world = world(2);
    let config = config(&world);
    let (mut s, _) = subscribed(world, config, Start::Latest);
    let first = next_beat(&mut s);
    beat(&mut s, &first, 1, Some(&[0, 1]));
    fetch_commits(&mut s, |_| (10, "", 0));
    let second = next_beat(&mut s);
    beat(&mut s, &second, 1, None);
    let mut list = s.take_reported(|reported| match reported.event()? {
        Event::Assigned { at, partition } => Some((partition.partition, at)),
        _ => None,
    });
    list.sort();
    (s, list.into_iter().map(|(_, at)| at).collect())
}

#[test]
fn one_commit_is_on_its_way_at_a_time_and_newer_offsets_are_merged() {
    // G9
    let (mut s, at) = two();
    let now = s.now();
    let first = s.client.commit_offset(now, at[0], (11, 3), "").expect("taken");
    let requested = next_commit(&mut s);
    assert_eq!(requested.body.topics[0].partitions[0].committed_leader_epoch, 3);
    assert_eq!(requested.body.generation_id_or_member_epoch, 1);
    let mut later = Vec::new();
    for offset in 12..20 {
        later.push(s.client.commit_offset(now, at[0], (offset, 3), "").expect("taken"));
    }
    later.push(s.client.commit_offset(now, at[1], (77, -1), "").expect("taken"));
    s.run(Duration::from_millis(200));
    s.none::<OffsetCommitRequest>("the first one has no response");
    commit_with(&mut s, &requested, |_| 0);
    let second = next_commit(&mut s);
    assert_eq!(offsets(&second), [(0, 19), (1, 77)]);
    commit_with(&mut s, &second, |_| 0);
    let ends = group_events(&mut s);
    let ids: Vec<_> = ends
        .iter()
        .map(|event| match event {
            Event::Committed { id, result: Ok(()) } => *id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(later.iter().all(|id| *id == later[0]) && later[0] > first);
    assert_eq!(ids, [first, later[0]]);
    assert_eq!(s.client.committed(at[0]), Some(19));
}

#[test]
fn an_older_offset_is_not_sent_again_once_there_is_a_newer_one() {
    // GR15
    let (mut s, at) = two();
    let now = s.now();
    s.client.commit_offset(now, at[0], (11, -1), "").expect("taken");
    s.client.commit_offset(now, at[1], (50, -1), "").expect("taken");
    let lost = next_commit(&mut s);
    s.client.commit_offset(now, at[0], (12, -1), "").expect("taken");
    s.cut(lost.conn);
    let again = next_commit(&mut s);
    assert_eq!(offsets(&again), [(0, 12), (1, 50)], "the other one may be lost");
}

#[test]
fn refusals_that_pass_are_repeated_and_others_are_reported() {
    let (mut s, at) = two();
    let now = s.now();
    s.client.commit_offset(now, at[0], (11, -1), "").expect("taken");
    s.client.commit_offset(now, at[1], (12, -1), "").expect("taken");
    for code in [14, 3, 7, 100] {
        let requested = next_commit(&mut s);
        assert_eq!(offsets(&requested), [(0, 11), (1, 12)], "{code}");
        commit_with(&mut s, &requested, |_| code);
        assert!(!group_events(&mut s).iter().any(|e| matches!(e, Event::Committed { .. })));
    }
    let requested = next_commit(&mut s);
    commit_with(&mut s, &requested, |partition| if partition == 0 { 12 } else { 0 });
    let ends = group_events(&mut s);
    let refused = |event: &Event<'_>| {
        matches!(event, Event::Committed { result: Err(GroupError::Commit { code, partition }), .. }
            if code.0 == 12 && partition.partition == 0)
    };
    assert!(ends.iter().any(refused), "{ends:?}");
    s.run(Duration::from_secs(2));
    s.none::<OffsetCommitRequest>("it would be refused again");
}

#[test]
fn a_stale_epoch_is_mended_by_a_heartbeat() {
    // K7
    let (mut s, at) = two();
    let now = s.now();
    s.client.commit_offset(now, at[0], (11, -1), "").expect("taken");
    let requested = next_commit(&mut s);
    commit_with(&mut s, &requested, |_| 113);
    let due = next_beat(&mut s);
    beat(&mut s, &due, 6, None);
    let again = next_commit(&mut s);
    assert_eq!((again.body.generation_id_or_member_epoch, offsets(&again)), (6, vec![(0, 11)]));
}

#[test]
fn commits_of_a_lost_membership_fail() {
    let (mut s, at) = two();
    let now = s.now();
    let id = s.client.commit_offset(now, at[0], (11, -1), "").expect("taken");
    let requested = next_commit(&mut s);
    commit_with(&mut s, &requested, |_| 25);
    assert_eq!(next_beat(&mut s).body.member_epoch, 0);
    let ends = group_events(&mut s);
    let failed = |event: &Event<'_>| {
        let Event::Committed { id: of, result } = event else { return false };
        (*of, *result) == (id, Err(GroupError::NoMember))
    };
    assert!(ends.iter().any(failed), "{ends:?}");
    s.run(Duration::from_secs(1));
    s.none::<OffsetCommitRequest>("the partition is another member's");
}

#[test]
fn a_text_of_the_application_follows_the_marker() {
    let (mut s, at) = two();
    let now = s.now();
    s.client.commit_offset(now, at[0], (11, -1), "from the plant").expect("taken");
    let wanted = format!("{}from the plant", marker(&mut s, 2, 1_700_000_000_000));
    assert_eq!(committed(&next_commit(&mut s)), [(0, 11, wanted)]);
    let long = "x".repeat(2000);
    let refused = s.client.commit_offset(now, at[0], (12, -1), &long);
    assert!(matches!(refused, Err(GroupError::Limit { .. })), "{refused:?}");
}

#[test]
fn many_partitions_are_committed_in_as_many_requests_as_there_is_memory_for() {
    let world = world(200);
    let config = config(&world).auto_commit(Some(Duration::from_secs(3600)));
    let mut limits = Limits::small();
    (limits.tx_blocks, limits.block_bytes) = (16, 512);
    let mut s = Script::with(world, config, &limits);
    let (now, t) = (s.now(), s.topic("t"));
    s.client.subscribe(now, &[t], Start::Latest).expect("subscribed");
    let first = next_beat(&mut s);
    let all: Vec<i32> = (0..200).collect();
    beat(&mut s, &first, 1, Some(&all));
    let mut read = Vec::new();
    while read.len() < 200 {
        calm(&mut s);
        fetch_commits(&mut s, |index| (i64::from(index), "", 0));
        read.extend(assigned(&mut s));
    }
    let now = s.now();
    s.client.unsubscribe(now, Duration::from_secs(60));
    let (mut done, mut requests) = (Vec::new(), 0);
    while done.len() < 200 {
        calm(&mut s);
        let commit = next_commit(&mut s);
        done.extend(offsets(&commit));
        requests += 1;
        commit_with(&mut s, &commit, |_| 0);
    }
    done.sort_unstable();
    let wanted: Vec<_> = (0..200).map(|index| (index, i64::from(index))).collect();
    assert_eq!(done, wanted, "each once");
    assert!((3..=100).contains(&requests), "{requests} requests");
}

#[test]
fn a_group_commits_by_itself_what_was_read() {
    let world = world(2);
    let config = config(&world).auto_commit(Some(Duration::from_secs(5)));
    let (mut s, _) = member_with(world, config, &[0, 1]);
    s.run(Duration::from_secs(6));
    s.none::<OffsetCommitRequest>("nothing was read since the last commit");
    let fetch = s.expect::<kafka_protocol::messages::FetchRequest>();
    let read = s.wanted(&fetch)[0].1;
    let batch = kavka_tests::script::fetch::Batch::new(10, &["a", "b"]).bytes();
    s.give(&fetch, 1, vec![kavka_tests::script::fetch::records(read, &[batch])]);
    let commit = next_commit(&mut s);
    assert_eq!(offsets(&commit), [(read, 12)]);
}

#[test]
fn a_revoked_partition_is_committed_before_it_goes() {
    let world = world(2);
    let config = config(&world).auto_commit(Some(Duration::from_secs(3600)));
    let (mut s, _) = member_with(world, config, &[0, 1]);
    let fetch = loop {
        let fetch = s.expect::<kafka_protocol::messages::FetchRequest>();
        if s.wanted(&fetch).iter().any(|(_, partition, _)| *partition == 1) {
            break fetch;
        }
    };
    let batch = kavka_tests::script::fetch::Batch::new(10, &["a", "b"]).bytes();
    s.give(&fetch, 1, vec![kavka_tests::script::fetch::records(1, &[batch])]);
    let due = next_beat(&mut s);
    beat(&mut s, &due, 1, Some(&[0]));
    let commit = next_commit(&mut s);
    assert_eq!(offsets(&commit), [(1, 12)]);
    commit_with(&mut s, &commit, |_| 0);
    assert_eq!(crate::steps::owned(&next_beat(&mut s)), Some(vec![0]));
}

#[test]
fn idle_partitions_are_committed_again_every_day() {
    // L7
    let (mut s, _) = member(2, &[0, 1]);
    let mut hours = 0;
    let commit = loop {
        s.run(Duration::from_secs(4));
        if let Some(due) = s.take::<kafka_protocol::messages::ConsumerGroupHeartbeatRequest>() {
            beat(&mut s, &due, 1, None);
        }
        if let Some(commit) = s.take::<OffsetCommitRequest>() {
            break commit;
        }
        hours += 1;
        assert!(hours < 25 * 900, "no commit within 25 hours");
    };
    assert_eq!(offsets(&commit), [(0, 10), (1, 10)]);
}

#[test]
fn nothing_is_committed_before_the_member_has_joined() {
    let world = world(2);
    let config = config(&world);
    let (mut s, _) = subscribed(world, config, Start::Latest);
    let now = s.now();
    assert_eq!(s.client.commit(now), Err(GroupError::NoMember));
}

#[test]
fn a_commit_without_an_end_fails_in_time_and_nothing_spins() {
    let (mut s, at) = two();
    let now = s.now();
    let id = s.client.commit_offset(now, at[0], (11, -1), "").expect("taken");
    let limit = Duration::from_secs(100);
    let mut ended = None;
    while ended.is_none() && now.until(s.now()) < limit {
        s.run(Duration::from_millis(200));
        if let Some(due) = s.take::<kafka_protocol::messages::ConsumerGroupHeartbeatRequest>() {
            beat(&mut s, &due, 1, None);
        }
        if let Some(commit) = s.take::<OffsetCommitRequest>() {
            commit_with(&mut s, &commit, |_| 3);
        }
        ended = group_events(&mut s).into_iter().find_map(|event| match event {
            Event::Committed { id, result } => Some((id, result)),
            _ => None,
        });
    }
    assert_eq!(ended, Some((id, Err(GroupError::TimedOut))));
    assert!(now.until(s.now()) < Duration::from_secs(70));
}

#[test]
fn a_set_ends_when_nothing_is_left_of_it() {
    // Its topic is recreated while it waits to be sent again.
    let (mut s, at) = two();
    let now = s.now();
    let id = s.client.commit_offset(now, at[0], (11, 3), "").expect("taken");
    let start = s.now();
    s.world.topic_mut("t").id = OTHER;
    let mut ends = Vec::new();
    while ends.is_empty() {
        if let Some(commit) = s.take::<OffsetCommitRequest>() {
            commit_with(&mut s, &commit, |_| 14);
        }
        calm(&mut s);
        s.run(Duration::from_millis(10));
        ends = group_events(&mut s);
        ends.retain(|event| matches!(event, Event::Committed { .. }));
        assert!(start.until(s.now()) < Duration::from_secs(5), "it is open still");
    }
    let ended = |event: &Event<'_>| match event {
        Event::Committed { id: of, result: Err(GroupError::NoMember) } => *of == id,
        _ => false,
    };
    assert!(ends.iter().any(ended), "{ends:?}");
}
