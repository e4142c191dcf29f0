//! Growth: seeds first, then heartbeats until the assignment has come.

use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use kavka_core::Duration;

use crate::steps::{
    assigned, beat, commit_with, committed, fetch_commits, fetched, marker, member, next_beat,
    next_commit, offsets, owned,
};

/// Grows `t` from two partitions to three.
fn grow(s: &mut kavka_tests::script::Script) {
    s.world.grow("t", 3);
    s.world.partition("t", 2).end = 9;
}

#[test]
fn the_owner_of_the_first_partition_commits_the_start_of_a_new_one_and_then_beats() {
    // L4, L5
    let (mut s, _) = member(2, &[0, 1]);
    let due = next_beat(&mut s);
    beat(&mut s, &due, 1, None);
    grow(&mut s);
    fetch_commits(&mut s, |_| (-1, "", 0));
    // Others may have a marker.
    fetch_commits(&mut s, |index| (if index < 2 { 10 } else { -1 }, "", 0));
    let seed = next_commit(&mut s);
    s.none::<ConsumerGroupHeartbeatRequest>("the seed is not there");
    assert_eq!(offsets(&seed), [(2, 0)], "at the first record");
    commit_with(&mut s, &seed, |_| 0);
    let asked = next_beat(&mut s);
    assert!(seed.at.until(asked.at) < Duration::from_millis(30), "at once");
    beat(&mut s, &asked, 1, None);
    // The coordinator assigns once a second.
    let mut last = asked.at;
    for _ in 0..10 {
        let next = next_beat(&mut s);
        let pause = last.until(next.at);
        assert!(pause <= Duration::from_millis(60), "{pause:?}");
        last = next.at;
        beat(&mut s, &next, 1, None);
    }
    let next = next_beat(&mut s);
    beat(&mut s, &next, 2, Some(&[0, 1, 2]));
    let list = next_beat(&mut s);
    // Another member may have had it meanwhile.
    fetch_commits(&mut s, |_| (0, "", 0));
    assert_eq!(assigned(&mut s), [2]);
    assert_eq!(owned(&list), Some(vec![0, 1, 2]));
    beat(&mut s, &list, 2, None);
    let calm = next_beat(&mut s);
    let pause = list.at.until(calm.at);
    assert!((5000..5300).contains(&pause.as_millis()), "{pause:?}");
}

#[test]
fn a_new_partition_that_is_another_members_is_seeded_and_let_go() {
    let (mut s, _) = member(2, &[0, 1]);
    let due = next_beat(&mut s);
    beat(&mut s, &due, 1, None);
    grow(&mut s);
    fetch_commits(&mut s, |_| (-1, "", 0));
    fetch_commits(&mut s, |_| (-1, "", 0));
    let seed = next_commit(&mut s);
    commit_with(&mut s, &seed, |_| 0);
    let asked = next_beat(&mut s);
    assert_eq!(owned(&asked), None, "it does not own the seed");
    beat(&mut s, &asked, 2, None);
    s.run(Duration::from_secs(8));
    assert!(assigned(&mut s).is_empty());
    let named = loop {
        let fetch = s.expect::<kafka_protocol::messages::FetchRequest>();
        let named = s.wanted(&fetch);
        s.give(&fetch, 1, vec![]);
        if !named.is_empty() {
            break named;
        }
    };
    assert!(named.iter().all(|(_, partition, _)| *partition < 2), "{named:?}");
}

#[test]
fn a_member_without_the_first_partition_beats_a_little_later() {
    let (mut s, _) = member(2, &[1]);
    let due = next_beat(&mut s);
    beat(&mut s, &due, 1, None);
    let before = s.now();
    grow(&mut s);
    let looked = s.expect::<OffsetFetchRequest>();
    let pause = before.until(looked.at);
    assert!(pause > Duration::from_millis(80) && pause < Duration::from_secs(2), "{pause:?}");
    fetched(&mut s, &looked, |_| (0, "", 0));
    let asked = next_beat(&mut s);
    assert!(looked.at.until(asked.at) < Duration::from_millis(50));
    s.none::<OffsetCommitRequest>("another member did that");
}

/// Another client has the first partition: nobody else commits the starts.
#[test]
fn a_member_without_the_first_partition_commits_starts_that_nobody_has() {
    let (mut s, _) = member(2, &[1]);
    let due = next_beat(&mut s);
    beat(&mut s, &due, 1, None);
    grow(&mut s);
    fetch_commits(&mut s, |_| (-1, "", 0));
    fetch_commits(&mut s, |index| (if index < 2 { 10 } else { -1 }, "", 0));
    let seed = next_commit(&mut s);
    assert_eq!(offsets(&seed), [(2, 0)]);
    s.none::<ConsumerGroupHeartbeatRequest>("the seed is not there");
    commit_with(&mut s, &seed, |_| 0);
    let asked = next_beat(&mut s);
    assert!(seed.at.until(asked.at) < Duration::from_millis(30), "at once");
}

#[test]
fn a_coordinator_that_does_not_assign_is_asked_for_three_seconds() {
    let (mut s, _) = member(2, &[1]);
    let due = next_beat(&mut s);
    beat(&mut s, &due, 1, None);
    grow(&mut s);
    fetch_commits(&mut s, |_| (0, "", 0));
    let first = next_beat(&mut s);
    beat(&mut s, &first, 1, None);
    let mut last = first.at;
    loop {
        let next = next_beat(&mut s);
        let pause = last.until(next.at);
        last = next.at;
        beat(&mut s, &next, 1, None);
        if pause > Duration::from_secs(4) {
            break;
        }
        assert!(first.at.until(next.at) < Duration::from_millis(3100), "no end");
    }
}

#[test]
fn a_new_partition_that_has_a_commit_is_not_seeded() {
    let (mut s, _) = member(2, &[0, 1]);
    let due = next_beat(&mut s);
    beat(&mut s, &due, 1, None);
    grow(&mut s);
    fetch_commits(&mut s, |_| (4, "", 0));
    let asked = next_beat(&mut s);
    s.none::<OffsetCommitRequest>("somebody was faster");
    beat(&mut s, &asked, 2, Some(&[0, 1, 2]));
    // What somebody has read meanwhile counts.
    fetch_commits(&mut s, |_| (9, "", 0));
    assert_eq!(assigned(&mut s), [2]);
}

#[test]
fn an_assignment_that_is_faster_than_the_probe_begins_at_the_first_record() {
    let (mut s, _) = member(2, &[0, 1]);
    let due = next_beat(&mut s);
    s.world.grow("t", 3);
    s.world.partition("t", 2).end = 9;
    beat(&mut s, &due, 2, Some(&[0, 1, 2]));
    fetch_commits(&mut s, |_| (-1, "", 0));
    let text = marker(&mut s, 2, 1_700_000_000_000);
    let commit = loop {
        if let Some(requested) = s.take::<OffsetFetchRequest>() {
            fetched(&mut s, &requested, |index| (if index < 2 { 10 } else { -1 }, "", 0));
        }
        if let Some(commit) = s.take::<OffsetCommitRequest>() {
            break commit;
        }
        s.run(Duration::from_millis(10));
    };
    let list = committed(&commit);
    assert_eq!((list[0].0, list[0].1), (2, 0), "{list:?} {text}");
}
