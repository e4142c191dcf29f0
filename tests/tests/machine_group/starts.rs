//! Where partitions begin: committed, or where nothing is skipped.

use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::{
    ApiKey, FetchRequest, ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest,
    OffsetFetchResponse,
};
use kavka_core::{Duration, Event, MoveReason, Start};
use kavka_tests::script::fetch::refused;
use kavka_tests::script::{Script, World};

use crate::steps::{
    OTHER, assigned, beat, calm, commit_with, committed, config, fetch_commits, fetched, joining,
    marker, next_beat, next_commit, subscribed, world,
};

const BEGUN: i64 = 1_700_000_000_000;
const EARLIER: i64 = 1_600_000_000_000;

/// Returns what is fetched of which partition, until all of `count` were named.
fn positions(s: &mut Script, count: usize) -> Vec<(i32, i64)> {
    let mut found = std::collections::BTreeMap::new();
    while found.len() < count {
        calm(s);
        let fetch = s.expect::<FetchRequest>();
        for (_, partition, offset) in s.wanted(&fetch) {
            found.insert(partition, offset);
        }
        s.run(Duration::from_millis(20));
        s.give(&fetch, 1, vec![]);
    }
    found.into_iter().collect()
}

/// Commits whatever is to be committed, without errors.
fn commit_all(s: &mut Script) -> Vec<(i32, i64, String)> {
    calm(s);
    let commit = next_commit(s);
    let list = committed(&commit);
    commit_with(s, &commit, |_| 0);
    list
}

#[test]
fn partitions_continue_where_the_group_has_committed() {
    let (mut s, _, first) = joining(3, Start::Latest);
    beat(&mut s, &first, 1, Some(&[0, 1, 2]));
    fetch_commits(&mut s, |index| (i64::from(index) + 5, "", 0));
    assert_eq!(positions(&mut s, 3), [(0, 5), (1, 6), (2, 7)]);
    s.none::<OffsetCommitRequest>("all of them are committed");
}

#[test]
fn starts_are_committed_with_a_marker_before_any_record_is_read() {
    // GR23, L3
    let (mut s, _, first) = joining(4, Start::Latest);
    beat(&mut s, &first, 1, Some(&[0, 1, 2, 3]));
    fetch_commits(&mut s, |_| (-1, "", 0));
    calm(&mut s);
    let others = s.expect::<OffsetFetchRequest>();
    fetched(&mut s, &others, |_| (-1, "", 0));
    let text = marker(&mut s, 4, BEGUN);
    // Members that come at the same time find none either: once more, when the ends are known.
    look_again(&mut s, |_| (-1, "", 0));
    s.run(Duration::from_millis(100));
    s.none::<FetchRequest>("the starts are not committed");
    assert_eq!(assigned(&mut s), [0; 0]);
    let mut list = Vec::new();
    while list.len() < 4 {
        list.extend(commit_all(&mut s));
    }
    list.sort();
    let wanted: Vec<_> = (0..4).map(|index| (index, 40, text.clone())).collect();
    assert_eq!(list, wanted);
    assert_eq!(assigned(&mut s), [0, 1, 2, 3]);
    assert_eq!(positions(&mut s, 4), [(0, 40), (1, 40), (2, 40), (3, 40)]);
}

/// Joins with all of `count` partitions of which the group has these commits.
fn rejoins(
    mut world: World,
    count: i32,
    found: impl Fn(i32) -> crate::steps::Found<'static> + Copy,
) -> Script {
    for index in 0..count {
        world.partition("t", index as usize).end = 40;
    }
    let config = config(&world);
    let (mut s, _) = subscribed(world, config, Start::Latest);
    s.manual(ApiKey::ListOffsets);
    let first = next_beat(&mut s);
    let all: Vec<i32> = (0..count).collect();
    beat(&mut s, &first, 1, Some(&all));
    fetch_commits(&mut s, found);
    s
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// Returns the timestamps that the starts of partitions are looked up by.
fn lookups(s: &mut Script, count: usize) -> Vec<(i32, i64)> {
    let mut found = std::collections::BTreeMap::new();
    while found.len() < count {
        calm(s);
        let requested = s.expect::<ListOffsetsRequest>();
        let of = requested.body.topics.iter().flat_map(|topic| &topic.partitions);
        let list: Vec<_> = of.map(|p| (p.partition_index, p.timestamp)).collect();
        // Probes request two partitions by their ends.
        found.extend(list.into_iter().filter(|(_, timestamp)| *timestamp != -3));
        s.serve(requested);
    }
    found.into_iter().collect()
}

#[test]
fn partitions_that_were_added_while_nobody_read_begin_at_their_first_record() {
    // GR25, L2
    let mut known = world(4);
    let mut s = Script::new(known.clone());
    let text = leak(marker(&mut s, 2, EARLIER));
    known.partition("t", 3).start = 0;
    let found = move |index| if index < 2 { (7, text, 0) } else { (-1, "", 0) };
    let mut s = rejoins(known, 4, found);
    calm(&mut s);
    let others = s.expect::<OffsetFetchRequest>();
    fetched(&mut s, &others, found);
    let at = lookups(&mut s, 2);
    assert_eq!(at, [(2, -2), (3, -2)], "at the first record although the start is the latest");
    let mut list = commit_all(&mut s);
    while list.len() < 2 {
        list.extend(commit_all(&mut s));
    }
    assert!(list.iter().all(|(_, offset, of)| *offset == 0 && of == text), "{list:?}");
}

#[test]
fn a_partition_whose_owner_died_before_its_first_commit_begins_at_first_contact() {
    // GR24, L2
    let mut s = Script::new(world(4));
    let text = leak(marker(&mut s, 4, EARLIER));
    let found = move |index| if index == 0 { (7, text, 0) } else { (-1, "", 0) };
    let mut s = rejoins(world(4), 4, found);
    calm(&mut s);
    let others = s.expect::<OffsetFetchRequest>();
    fetched(&mut s, &others, found);
    // The end first: what is written after that is behind it.
    assert_eq!(lookups(&mut s, 3), [(1, -1), (2, -1), (3, -1)]);
    let from = EARLIER - 60_000;
    assert_eq!(lookups(&mut s, 3), [(1, from), (2, from), (3, from)]);
}

/// One of two members that come at the same time has committed its start before the other one knew
/// where it would begin.
#[test]
fn a_marker_that_comes_meanwhile_binds() {
    let mut s = Script::new(world(2));
    let text = leak(marker(&mut s, 2, BEGUN - 5));
    let mut s = rejoins(world(2), 2, |_| (-1, "", 0));
    calm(&mut s);
    let others = s.expect::<OffsetFetchRequest>();
    fetched(&mut s, &others, |_| (-1, "", 0));
    assert_eq!(lookups(&mut s, 2), [(0, -1), (1, -1)]);
    look_again(&mut s, move |index| if index == 1 { (40, text, 0) } else { (-1, "", 0) });
    let from = BEGUN - 5 - 60_000;
    assert_eq!(lookups(&mut s, 2), [(0, from), (1, from)]);
}

/// The second look for markers.
fn look_again(s: &mut Script, found: impl Fn(i32) -> crate::steps::Found<'static>) {
    calm(s);
    let again = s.expect::<OffsetFetchRequest>();
    fetched(s, &again, found);
}

#[test]
fn a_partition_that_another_member_has_not_reached_yet_is_looked_up_once() {
    // A commit of a partition that is not ours has the marker.
    let mut s = Script::new(world(4));
    let text = leak(marker(&mut s, 2, EARLIER));
    let world = world(4);
    let config = config(&world);
    let (mut s, _) = subscribed(world, config, Start::Latest);
    s.manual(ApiKey::ListOffsets);
    let first = next_beat(&mut s);
    beat(&mut s, &first, 1, Some(&[2]));
    fetch_commits(&mut s, |_| (-1, "", 0));
    calm(&mut s);
    let others = s.expect::<OffsetFetchRequest>();
    let named = others.body.groups[0].topics.as_ref().expect("topics")[0].partition_indexes.clone();
    assert_eq!(named, [0, 1, 2, 3]);
    fetched(&mut s, &others, move |index| if index == 1 { (7, text, 0) } else { (-1, "", 0) });
    assert_eq!(lookups(&mut s, 1), [(2, -2)]);
    commit_all(&mut s);
    s.none::<OffsetFetchRequest>("it is known");
}

#[test]
fn commits_of_an_earlier_topic_of_the_name_are_void() {
    // GR29
    let mut s = Script::new(world(2));
    let text = leak(marker(&mut s, 2, EARLIER));
    let mut again = world(2);
    again.topic_mut("t").id = OTHER;
    let mut s = rejoins(again, 2, move |_| (7, text, 0));
    assert_eq!(lookups(&mut s, 2), [(0, -2), (1, -2)]);
}

#[test]
fn commits_without_a_marker_are_first_contact_for_the_others() {
    let found = |index| if index == 0 { (7, "of another client", 0) } else { (-1, "", 0) };
    let mut s = rejoins(world(2), 2, found);
    calm(&mut s);
    let others = s.expect::<OffsetFetchRequest>();
    fetched(&mut s, &others, found);
    assert_eq!(lookups(&mut s, 1), [(1, -1)], "the start that was chosen");
    look_again(&mut s, found);
    let list = commit_all(&mut s);
    assert_eq!(list, [(1, 40, marker(&mut s, 2, BEGUN))]);
}

#[test]
fn a_group_that_skips_has_neither_markers_nor_commits_of_starts() {
    let world = world(2);
    let mut config = config(&world);
    config.group_skips = true;
    let (mut s, _) = subscribed(world, config, Start::Latest);
    let first = next_beat(&mut s);
    beat(&mut s, &first, 1, Some(&[0, 1]));
    fetch_commits(&mut s, |_| (-1, "", 0));
    assert_eq!(positions(&mut s, 2), [(0, 40), (1, 40)]);
    s.none::<OffsetCommitRequest>("nothing was read");
    s.none::<OffsetFetchRequest>("others do not matter");
}

#[test]
fn an_error_in_place_of_a_commit_never_leads_to_another_start() {
    // GR22, G8, G11
    for code in [88, 14, 16, 3, 100, 113] {
        let (mut s, _, first) = joining(1, Start::Latest);
        beat(&mut s, &first, 1, Some(&[0]));
        for _ in 0..5 {
            let requested = loop {
                if let Some(due) =
                    s.take::<kafka_protocol::messages::ConsumerGroupHeartbeatRequest>()
                {
                    beat(&mut s, &due, 1, None);
                }
                if let Some(requested) = s.take::<OffsetFetchRequest>() {
                    break requested;
                }
                s.run(Duration::from_millis(20));
            };
            fetched(&mut s, &requested, |_| (-1, "", code));
            s.none::<OffsetCommitRequest>("no start is known");
            s.none::<FetchRequest>("no start is known");
        }
        let requested = loop {
            if let Some(due) = s.take::<kafka_protocol::messages::ConsumerGroupHeartbeatRequest>() {
                beat(&mut s, &due, 1, None);
            }
            if let Some(requested) = s.take::<OffsetFetchRequest>() {
                break requested;
            }
            s.run(Duration::from_millis(20));
        };
        fetched(&mut s, &requested, |_| (23, "", 0));
        assert_eq!(positions(&mut s, 1), [(0, 23)], "{code}");
    }
}

#[test]
fn a_member_whose_epoch_is_always_stale_fetches_commits_as_nobody() {
    // GR22: groups.md of KIP-848 brokers always allow that.
    let (mut s, _, first) = joining(1, Start::Latest);
    beat(&mut s, &first, 1, Some(&[0]));
    for _ in 0..3 {
        let requested = s.expect::<OffsetFetchRequest>();
        assert_eq!(requested.body.groups[0].member_epoch, 1);
        let group = OffsetFetchResponseGroup::default()
            .with_group_id(requested.body.groups[0].group_id.clone())
            .with_error_code(113);
        let body = OffsetFetchResponse::default().with_groups(vec![group]);
        s.respond(&requested, body);
        let due = next_beat(&mut s);
        beat(&mut s, &due, 1, None);
    }
    let requested = s.expect::<OffsetFetchRequest>();
    let group = &requested.body.groups[0];
    assert_eq!((group.member_epoch, &group.member_id), (-1, &None));
    fetched(&mut s, &requested, |_| (23, "", 0));
    assert_eq!(positions(&mut s, 1), [(0, 23)]);
}

#[test]
fn what_a_response_leaves_out_is_fetched_again() {
    // G10
    let (mut s, _, first) = joining(2, Start::Latest);
    beat(&mut s, &first, 1, Some(&[0, 1]));
    let mut requested = s.expect::<OffsetFetchRequest>();
    let topics = requested.body.groups[0].topics.as_mut().expect("topics");
    topics[0].partition_indexes.retain(|index| *index == 1);
    fetched(&mut s, &requested, |_| (9, "", 0));
    let again = s.expect::<OffsetFetchRequest>();
    let named = again.body.groups[0].topics.as_ref().expect("topics")[0].partition_indexes.clone();
    assert_eq!(named, [0]);
}

#[test]
fn a_committed_offset_below_the_log_moves_to_its_start() {
    // GR30, L6
    let mut world = world(1);
    (world.partition("t", 0).start, world.partition("t", 0).end) = (500, 900);
    let config = config(&world);
    let (mut s, _) = subscribed(world, config, Start::Latest);
    let first = next_beat(&mut s);
    beat(&mut s, &first, 1, Some(&[0]));
    fetch_commits(&mut s, |_| (100, "", 0));
    let fetch = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&fetch), [("t".into(), 0, 100)]);
    s.give(&fetch, 1, vec![refused(0, 1)]);
    s.until("it has moved", |s| {
        s.reported().iter().any(|reported| {
            matches!(
                reported.event(),
                Some(Event::Moved { from: 100, to: 500, why: MoveReason::OutOfRange, .. })
            )
        })
    });
}

#[test]
fn a_member_that_is_fenced_when_it_fetches_commits_joins_again() {
    let (mut s, _, first) = joining(1, Start::Latest);
    beat(&mut s, &first, 1, Some(&[0]));
    let requested = s.expect::<OffsetFetchRequest>();
    let group = OffsetFetchResponseGroup::default()
        .with_group_id(requested.body.groups[0].group_id.clone())
        .with_error_code(25);
    s.respond(&requested, OffsetFetchResponse::default().with_groups(vec![group]));
    let again = loop {
        let next = next_beat(&mut s);
        if next.body.member_epoch == 0 {
            break next;
        }
        beat(&mut s, &next, 1, None);
    };
    s.none::<FetchRequest>("the partition may be another member's");
    beat(&mut s, &again, 4, Some(&[0]));
    fetch_commits(&mut s, |_| (6, "", 0));
    assert_eq!(positions(&mut s, 1), [(0, 6)]);
}
