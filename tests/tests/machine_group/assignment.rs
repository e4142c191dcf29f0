//! Joining, reconciling, losing and leaving.

use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, FetchRequest, OffsetFetchRequest};
use kavka_core::wire::ErrorCode;
use kavka_core::{Commands, Duration, Event, GroupError, LimitKind, Limits, Start};
use kavka_tests::script::Script;

use crate::steps::{
    assigned, beat, commit_with, config, fetch_commits, group_events, is_full, joining, lost,
    member, member_with, next_beat, next_commit, offsets, owned, refuse_beat, revoking, world,
};

#[test]
fn a_member_joins_with_all_fields_and_an_id_of_its_own() {
    let (mut s, _, first) = joining(4, Start::Earliest);
    assert_eq!(first.node, 2, "to the coordinator");
    assert_eq!((first.body.member_epoch, first.body.group_id.as_str()), (0, "g"));
    assert_eq!(first.body.member_id.len(), 22);
    assert_eq!(owned(&first), Some(vec![]), "an empty list, or brokers refuse it");
    assert!(is_full(&first));
    beat(&mut s, &first, 7, Some(&[0, 1]));
    fetch_commits(&mut s, |_| (10, "", 0));
    let second = next_beat(&mut s);
    assert_eq!(second.body.member_id, first.body.member_id);
    assert_eq!((second.body.member_epoch, owned(&second)), (7, Some(vec![0, 1])));
    assert_eq!(second.body.subscribed_topic_names, None, "unchanged");
    assert_eq!(assigned(&mut s), [0, 1]);
    beat(&mut s, &second, 7, None);
    let before = s.now();
    let third = next_beat(&mut s);
    assert_eq!(before.until(third.at), Duration::from_secs(5), "as the coordinator wants it");
    assert_eq!(owned(&third), None, "unchanged");
}

#[test]
fn a_lost_response_is_healed_by_a_heartbeat_with_all_fields() {
    // GR19
    let (mut s, _) = member(4, &[0, 1]);
    let lost = next_beat(&mut s);
    s.cut(lost.conn);
    let next = next_beat(&mut s);
    assert!(is_full(&next));
    assert_eq!((next.body.member_epoch, owned(&next)), (1, Some(vec![0, 1])));
}

#[test]
fn a_lost_join_is_repeated_under_the_same_id() {
    let (mut s, _, first) = joining(2, Start::Earliest);
    s.cut(first.conn);
    let again = next_beat(&mut s);
    assert_eq!(again.body.member_id, first.body.member_id);
    assert_eq!((again.body.member_epoch, owned(&again)), (0, Some(vec![])));
}

#[test]
fn revoked_partitions_are_given_up_before_they_are_acknowledged() {
    let (mut s, _) = member(4, &[0, 1, 2]);
    let due = next_beat(&mut s);
    beat(&mut s, &due, 1, Some(&[0, 1]));
    assert_eq!(revoking(&mut s), [2]);
    let next = next_beat(&mut s);
    assert_eq!(owned(&next), Some(vec![0, 1]));
    assert!(due.at.until(next.at) < Duration::from_millis(50), "at once");
    beat(&mut s, &next, 2, Some(&[0, 1]));
    assert_eq!(revoking(&mut s), [0; 0]);
    assert_eq!(lost(&mut s), [0; 0]);
}

#[test]
fn heartbeats_go_on_without_a_list_while_the_application_keeps_a_partition() {
    // GR20
    let (mut s, _) = member(4, &[0, 1, 2]);
    s.hook = Some(Box::new(|event: &Event<'_>, commands: &mut Commands<'static>| {
        if let Event::Revoking { at, .. } = event {
            commands.keep(*at);
        }
    }));
    let due = next_beat(&mut s);
    beat(&mut s, &due, 1, Some(&[0, 1]));
    let kept = s.take_reported(|reported| match reported.event()? {
        Event::Revoking { at, .. } => Some(at),
        _ => None,
    });
    for _ in 0..4 {
        let next = next_beat(&mut s);
        assert_eq!((owned(&next), next.body.member_epoch), (None, 1), "it still owns them");
        beat(&mut s, &next, 1, None);
    }
    let now = s.now();
    s.client.commit_offset(now, kept[0], (33, 5), "mine").expect("still its own");
    let commit = next_commit(&mut s);
    assert_eq!(offsets(&commit), [(2, 33)]);
    s.client.release(now, kept[0]);
    s.run(Duration::from_millis(50));
    s.none::<ConsumerGroupHeartbeatRequest>("its commit has no result");
    commit_with(&mut s, &commit, |_| 0);
    let next = next_beat(&mut s);
    assert_eq!(owned(&next), Some(vec![0, 1]));
    s.client.seek(now, kept[0], Start::Earliest).expect_err("it is another member's");
}

#[test]
fn a_partition_that_no_caller_gives_up_goes_before_the_rebalance_timeout() {
    let world = world(2);
    let mut config = config(&world);
    config.rebalance_timeout = Duration::from_secs(20);
    let (mut s, _) = member_with(world, config, &[0, 1]);
    s.hook = Some(Box::new(|event: &Event<'_>, commands: &mut Commands<'static>| {
        if let Event::Revoking { at, .. } = event {
            commands.keep(*at);
        }
    }));
    // No Fetch gets a response here: the pace of probes changes as connections end.
    s.watching = false;
    let due = next_beat(&mut s);
    beat(&mut s, &due, 1, Some(&[0]));
    let since = s.now();
    loop {
        let next = next_beat(&mut s);
        if owned(&next) == Some(vec![0]) {
            assert!(since.until(next.at) < Duration::from_secs(20), "{:?}", since.until(next.at));
            return;
        }
        beat(&mut s, &next, 1, None);
    }
}

#[test]
fn partitions_that_stay_are_read_on_during_a_rebalance() {
    let (mut s, _) = member(2, &[0, 1]);
    let due = next_beat(&mut s);
    beat(&mut s, &due, 1, Some(&[0]));
    let named = loop {
        let fetch = s.expect::<FetchRequest>();
        let named = s.wanted(&fetch);
        s.give(&fetch, 1, vec![]);
        if !named.is_empty() {
            break named;
        }
    };
    assert!(named.iter().all(|(_, partition, _)| *partition == 0), "{named:?}");
}

#[test]
fn a_fenced_member_loses_its_partitions_and_joins_again() {
    // K3
    for code in [25, 110] {
        let (mut s, _) = member(4, &[0, 1]);
        let due = next_beat(&mut s);
        refuse_beat(&mut s, &due, code);
        assert_eq!(lost(&mut s), [0, 1], "{code}");
        let again = next_beat(&mut s);
        assert_eq!(again.body.member_id, due.body.member_id, "{code}");
        assert_eq!((again.body.member_epoch, owned(&again)), (0, Some(vec![])), "{code}");
        assert!(due.at.until(again.at) < Duration::from_millis(100), "{code}: at once");
        beat(&mut s, &again, 9, Some(&[1]));
        fetch_commits(&mut s, |_| (12, "", 0));
        assert_eq!(assigned(&mut s), [1], "{code}");
    }
}

#[test]
fn a_join_that_is_fenced_is_repeated_quietly() {
    // K3
    let (mut s, _, first) = joining(2, Start::Earliest);
    refuse_beat(&mut s, &first, 25);
    let again = next_beat(&mut s);
    assert_eq!((again.body.member_epoch, lost(&mut s).len()), (0, 0));
    assert!(group_events(&mut s).is_empty());
}

#[test]
fn a_member_that_is_fenced_all_the_time_joins_ever_more_slowly() {
    let (mut s, _, first) = joining(2, Start::Earliest);
    refuse_beat(&mut s, &first, 25);
    let mut last = first.at;
    for _ in 0..5 {
        let again = next_beat(&mut s);
        last = again.at;
        refuse_beat(&mut s, &again, 25);
    }
    assert!(first.at.until(last) > Duration::from_secs(3), "{:?}", first.at.until(last));
}

#[test]
fn errors_that_nothing_mends_end_the_membership() {
    // K1
    for code in [30, 42, 81, 82, 112, 128] {
        let (mut s, _) = member(2, &[0, 1]);
        let due = next_beat(&mut s);
        refuse_beat(&mut s, &due, code);
        assert_eq!(lost(&mut s), [0, 1], "{code}");
        let events = group_events(&mut s);
        let error = GroupError::Refused(ErrorCode(code));
        let failed =
            |event: &Event<'_>| matches!(event, Event::GroupFailed { error: of } if *of == error);
        assert!(events.iter().any(failed), "{code}: {events:?}");
        s.run(Duration::from_secs(20));
        s.none::<ConsumerGroupHeartbeatRequest>("the membership has ended");
    }
}

#[test]
fn errors_that_may_pass_are_tried_again_with_all_fields() {
    // K2
    for code in [14, 29, 7, 111] {
        let (mut s, _) = member(2, &[0, 1]);
        let due = next_beat(&mut s);
        refuse_beat(&mut s, &due, code);
        let again = next_beat(&mut s);
        let pause = due.at.until(again.at);
        assert!(is_full(&again) && pause >= Duration::from_millis(80), "{code}: {pause:?}");
        beat(&mut s, &again, 1, None);
        assert_eq!(lost(&mut s), [0; 0], "{code}");
    }
}

#[test]
fn a_group_that_cannot_convert_needs_the_classic_protocol() {
    // GR18
    for code in [69, 35] {
        let (mut s, _, first) = joining(2, Start::Earliest);
        refuse_beat(&mut s, &first, code);
        let events = group_events(&mut s);
        let classic = |event: &Event<'_>| {
            matches!(event, Event::GroupFailed { error: GroupError::NeedsClassic })
        };
        assert!(events.iter().any(classic), "{code}: {events:?}");
    }
}

#[test]
fn a_group_that_is_gone_is_joined_again() {
    let (mut s, _) = member(2, &[0]);
    let due = next_beat(&mut s);
    refuse_beat(&mut s, &due, 69);
    assert_eq!(lost(&mut s), [0]);
    assert_eq!(next_beat(&mut s).body.member_epoch, 0);
}

#[test]
fn an_assignment_with_an_unknown_topic_is_used_as_far_as_it_is_known() {
    // K8
    let (mut s, _, first) = joining(2, Start::Earliest);
    let id = s.world.topic_mut("t").id;
    s.world.topic_mut("t").id = crate::steps::OTHER;
    let body = {
        use kafka_protocol::messages::ConsumerGroupHeartbeatResponse;
        use kafka_protocol::messages::consumer_group_heartbeat_response::{
            Assignment, TopicPartitions,
        };
        let topic = |id| TopicPartitions::default().with_topic_id(id).with_partitions(vec![0]);
        let topics = vec![topic(crate::steps::OTHER), topic(id)];
        ConsumerGroupHeartbeatResponse::default()
            .with_member_epoch(3)
            .with_heartbeat_interval_ms(5000)
            .with_assignment(Some(Assignment::default().with_topic_partitions(topics)))
    };
    s.world.topic_mut("t").id = id;
    s.respond(&first, body);
    fetch_commits(&mut s, |_| (10, "", 0));
    assert_eq!(assigned(&mut s), [0]);
    let next = next_beat(&mut s);
    assert!(is_full(&next), "so that the coordinator names the rest again");
    assert_eq!(owned(&next), Some(vec![0]));
}

#[test]
fn an_epoch_below_zero_and_an_interval_of_zero_change_nothing() {
    // K9
    use kafka_protocol::messages::ConsumerGroupHeartbeatResponse;
    let (mut s, _) = member(2, &[0]);
    let due = next_beat(&mut s);
    let body = ConsumerGroupHeartbeatResponse::default()
        .with_member_epoch(-1)
        .with_heartbeat_interval_ms(0);
    s.respond(&due, body);
    let next = next_beat(&mut s);
    assert_eq!(next.body.member_epoch, 1);
    assert_eq!(due.at.until(next.at), Duration::from_secs(5));
}

#[test]
fn an_assignment_beyond_the_memory_is_reported_and_left() {
    let world = world(4);
    let mut limits = Limits::small();
    limits.partitions = 2;
    let config = config(&world);
    let mut s = Script::with(world, config, &limits);
    let (now, t) = (s.now(), s.topic("t"));
    s.client.subscribe(now, &[t], Start::Earliest).expect("subscribed");
    let first = next_beat(&mut s);
    beat(&mut s, &first, 1, Some(&[0, 1, 2, 3]));
    let leave = next_beat(&mut s);
    assert_eq!(leave.body.member_epoch, -1, "others can have them");
    beat(&mut s, &leave, -1, None);
    let events = group_events(&mut s);
    let limit = GroupError::Limit { what: LimitKind::Partitions, needed: 4 };
    let told = |event: &Event<'_>| matches!(event, Event::GroupFailed { error } if *error == limit);
    assert!(events.iter().any(told), "{events:?}");
    s.run(Duration::from_secs(20));
    s.none::<ConsumerGroupHeartbeatRequest>("it has left");
}

#[test]
fn a_member_leaves_after_its_last_commit() {
    let world = world(2);
    let config = config(&world).auto_commit(Some(Duration::from_secs(3600)));
    let (mut s, _) = member_with(world, config, &[0, 1]);
    let now = s.now();
    s.client.unsubscribe(now, Duration::from_secs(3));
    let commit = next_commit(&mut s);
    assert_eq!(offsets(&commit), [(0, 10), (1, 10)], "idle ones, too");
    s.none::<ConsumerGroupHeartbeatRequest>("commits come first");
    commit_with(&mut s, &commit, |_| 0);
    let leave = next_beat(&mut s);
    assert_eq!(leave.body.member_epoch, -1);
    beat(&mut s, &leave, -1, None);
    assert!(matches!(group_events(&mut s)[..], [Event::GroupLeft]));
    s.run(Duration::from_secs(20));
    s.none::<ConsumerGroupHeartbeatRequest>("it has left");
    s.none::<FetchRequest>("nothing is read any more");
}

#[test]
fn a_member_leaves_in_time_although_nothing_responds() {
    let world = world(2);
    let config = config(&world).auto_commit(Some(Duration::from_secs(3600)));
    let (mut s, _) = member_with(world, config, &[0, 1]);
    let start = s.now();
    s.client.unsubscribe(start, Duration::from_secs(3));
    s.until("it has left", |s| {
        group_events(s).iter().any(|event| matches!(event, Event::GroupLeft))
    });
    assert!(start.until(s.now()) <= Duration::from_millis(3100));
}

#[test]
fn a_heartbeat_on_its_way_does_not_keep_a_member_from_leaving() {
    // K4
    let (mut s, _) = member(2, &[0]);
    let due = next_beat(&mut s);
    let now = s.now();
    s.client.unsubscribe(now, Duration::from_secs(3));
    s.run(Duration::from_millis(50));
    beat(&mut s, &due, 5, Some(&[0, 1]));
    let leave = next_beat(&mut s);
    assert_eq!(leave.body.member_epoch, -1);
    beat(&mut s, &leave, -1, None);
    s.run(Duration::from_secs(20));
    s.none::<ConsumerGroupHeartbeatRequest>("the late response does not revive it");
    s.none::<OffsetFetchRequest>("nor its assignment");
}

#[test]
fn a_topic_that_is_subscribed_beside_a_heartbeat_is_in_the_next_one() {
    let world = world(2).topic("u", 1);
    let config = config(&world);
    let (mut s, t) = member_with(world, config, &[0]);
    let u = s.topic("u");
    let before = next_beat(&mut s);
    let now = s.now();
    s.client.subscribe(now, &[t, u], Start::Latest).expect("subscribed");
    s.settle();
    beat(&mut s, &before, 1, None);
    let next = next_beat(&mut s);
    assert!(is_full(&next));
    let names = next.body.subscribed_topic_names.as_ref().map_or(0, Vec::len);
    assert_eq!(names, 2);
    assert!(before.at.until(next.at) < Duration::from_millis(500), "at once");
    beat(&mut s, &next, 1, None);
    let last = next_beat(&mut s);
    assert_eq!(last.body.subscribed_topic_names, None, "that was it");
}

#[test]
fn a_static_member_keeps_its_place_when_it_leaves() {
    let world = world(2);
    let mut config = config(&world);
    config.group_instance = "one";
    let (mut s, _) = member_with(world, config, &[0]);
    let now = s.now();
    s.client.unsubscribe(now, Duration::from_secs(3));
    let leave = next_beat(&mut s);
    assert_eq!(leave.body.member_epoch, -2);
    assert_eq!(leave.body.instance_id.as_ref().map(|id| id.as_str()), Some("one"));
}

#[test]
fn an_instance_that_another_process_has_is_tried_until_it_is_free() {
    // GR21
    let world = world(2);
    let mut config = config(&world);
    config.group_instance = "one";
    let (mut s, _) = crate::steps::subscribed(world, config, Start::Earliest);
    let start = s.now();
    loop {
        let join = next_beat(&mut s);
        if start.until(s.now()) > Duration::from_secs(45) {
            beat(&mut s, &join, 4, Some(&[0]));
            break;
        }
        refuse_beat(&mut s, &join, 111);
    }
    fetch_commits(&mut s, |_| (10, "", 0));
    assert_eq!(assigned(&mut s), [0]);
}

#[test]
fn a_topic_of_the_group_stays_although_the_application_releases_it() {
    let (mut s, t, first) = joining(2, Start::Earliest);
    beat(&mut s, &first, 1, Some(&[0, 1]));
    let commits = s.expect::<OffsetFetchRequest>();
    s.client.unwatch(t);
    s.run(Duration::from_secs(2));
    crate::steps::fetched(&mut s, &commits, |_| (10, "", 0));
    assert_eq!(assigned(&mut s), [0, 1]);
    assert_eq!(s.client.topic_name(t), Some("t"));
}

#[test]
fn a_member_without_partitions_beats_as_slowly_as_others() {
    let (mut s, _, first) = joining(2, Start::Latest);
    // The coordinator responds to a heartbeat that has everything with the assignment.
    beat(&mut s, &first, 1, Some(&[]));
    let start = s.now();
    let mut beats = 0;
    while start.until(s.now()) < Duration::from_secs(20) {
        if let Some(due) = s.take::<ConsumerGroupHeartbeatRequest>() {
            beat(&mut s, &due, 1, Some(&[]));
            beats += 1;
        }
        s.run(Duration::from_millis(10));
    }
    assert!(beats <= 5, "{beats} heartbeats");
}
