//! Rounds: who joins when, what is given up for it, and what the leader does.

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, ConsumerGroupHeartbeatRequest, FetchRequest, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, MetadataRequest, MetadataResponse, OffsetCommitRequest, OffsetFetchRequest,
    SyncGroupRequest,
};
use kavka_core::wire::consumer_protocol::{Subscription, previous};
use kavka_core::{
    Duration, Event, GroupError, GroupProtocol, LimitKind, Limits, OrderedGrowth, Start,
};
use kavka_tests::script::{Script, World};

use super::{
    ME, OTHER, Welcome, assignment, classic, follow, given, member, member_with, name, owned,
    pulse, refuse_join, refuse_sync, subscription, synced, theirs, welcome,
};
use crate::steps::{
    assigned, commit_with, config, fetch_commits, fetched, group_events, lost, next_commit,
    offsets, refuse_beat, revoking, subscribed, world,
};

#[test]
fn a_member_joins_again_at_once_with_the_id_that_it_is_given_and_keeps_it() {
    // GR14
    let world = world(2);
    let config = classic(&world, "range");
    let (mut s, _) = subscribed(world, config, Start::Earliest);
    let first = s.expect::<JoinGroupRequest>();
    assert_eq!(&*first.body.member_id, "");
    assert_eq!(subscription(&first), (vec!["t".to_owned()], vec![], -1));
    refuse_join(&mut s, &first, 79);
    let second = s.expect::<JoinGroupRequest>();
    assert_eq!(&*second.body.member_id, ME);
    assert!(first.at.until(second.at) < Duration::from_millis(20), "the others wait");
    s.cut(second.conn);
    let third = s.expect::<JoinGroupRequest>();
    assert_eq!(&*third.body.member_id, ME);
    refuse_join(&mut s, &third, 25);
    let fourth = s.expect::<JoinGroupRequest>();
    assert_eq!(&*fourth.body.member_id, "", "no member has that id");
}

#[test]
fn a_cluster_or_a_group_without_kip_848_is_joined_by_the_classic_protocol() {
    // GR18
    for code in [0, 69, 35] {
        let mut world = world(2);
        if code == 0 {
            world.without = vec![68];
        }
        let mut config = config(&world);
        config.group_protocol = GroupProtocol::Auto;
        let (mut s, _) = subscribed(world, config, Start::Earliest);
        if code != 0 {
            let due = s.expect::<ConsumerGroupHeartbeatRequest>();
            refuse_beat(&mut s, &due, code);
        }
        follow(&mut s, &Welcome::follower(1, "range"), &[0, 1]);
        fetch_commits(&mut s, |_| (0, "", 0));
        assert_eq!(assigned(&mut s), [0, 1], "{code}");
        assert!(group_events(&mut s).is_empty(), "{code}");
    }
}

#[test]
fn heartbeats_begin_an_interval_after_the_join() {
    let (mut s, _) = member("range", "range", &[0, 1]);
    let start = s.now();
    let first = pulse(&mut s, 0);
    let pause = start.until(first.at);
    assert!((2700..3100).contains(&pause.as_millis()), "{pause:?}");
    assert_eq!(first.body.generation_id, 1);
    let second = pulse(&mut s, 27);
    s.expect::<JoinGroupRequest>();
    s.run(Duration::from_secs(10));
    s.none::<HeartbeatRequest>("none while it waits for the others");
    assert!((2900..3100).contains(&first.at.until(second.at).as_millis()));
}

#[test]
fn partitions_that_stay_are_read_through_a_cooperative_round() {
    let (mut s, _) = member("cooperative-sticky", "cooperative-sticky", &[0, 1, 2]);
    pulse(&mut s, 27);
    let join = s.expect::<JoinGroupRequest>();
    assert_eq!(owned(&join), [0, 1, 2]);
    assert_eq!(subscription(&join).2, 1, "they are of the first generation");
    assert_eq!(revoking(&mut s), [0; 0]);
    s.expect::<FetchRequest>();
    welcome(&mut s, &join, &Welcome::follower(2, "cooperative-sticky"));
    let sync = s.expect::<SyncGroupRequest>();
    synced(&mut s, &sync, assignment(&[0, 1]));
    assert_eq!(revoking(&mut s), [2]);
    // It is given up, and another round gives it to its next owner.
    let next = s.expect::<JoinGroupRequest>();
    assert_eq!(owned(&next), [0, 1]);
    assert!(sync.at.until(next.at) < Duration::from_millis(100), "at once");
    assert_eq!(lost(&mut s), [0; 0]);
}

#[test]
fn everything_is_given_up_before_an_eager_round() {
    // GR6
    let (mut s, _) = member("range", "range", &[0, 1]);
    s.manual(ApiKey::Fetch);
    pulse(&mut s, 27);
    s.settle();
    assert_eq!(revoking(&mut s), [0, 1]);
    let join = s.expect::<JoinGroupRequest>();
    assert_eq!(owned(&join), [0; 0]);
    welcome(&mut s, &join, &Welcome::follower(2, "range"));
    let sync = s.expect::<SyncGroupRequest>();
    synced(&mut s, &sync, assignment(&[0]));
    fetch_commits(&mut s, |_| (10, "", 0));
    assert_eq!(assigned(&mut s), [0]);
}

#[test]
fn a_member_of_sticky_says_what_it_had_before_it_gave_that_up() {
    let (mut s, _) = member("sticky", "sticky", &[1, 3]);
    pulse(&mut s, 27);
    let join = s.expect::<JoinGroupRequest>();
    assert_eq!(owned(&join), [0; 0], "it keeps nothing");
    let read = Subscription::read(&join.body.protocols[0].metadata).expect("a subscription");
    let data = read.user_data.expect("user data");
    let (topics, generation) = previous(data).expect("what it had");
    let list: Vec<_> = topics.map(|(name, list)| (name, list.collect::<Vec<_>>())).collect();
    assert_eq!(list, [("t", vec![1, 3])]);
    assert_eq!(generation, 1);
    // As leader it gets the same again, although it comes behind the other one.
    let mut welcomed = Welcome::leader(2, "sticky");
    welcomed.others = vec![("a-1", theirs(&[], -1))];
    welcome(&mut s, &join, &welcomed);
    let sync = s.expect::<SyncGroupRequest>();
    assert_eq!(given(&sync, ME), Some(vec![1, 3]));
}

#[test]
fn what_is_kept_is_lost_when_an_eager_assignor_is_elected() {
    let list = "cooperative-sticky,range";
    let (mut s, _) = member(list, "cooperative-sticky", &[0, 1]);
    pulse(&mut s, 27);
    let join = s.expect::<JoinGroupRequest>();
    assert_eq!(owned(&join), [0, 1]);
    // A member came that knows range alone: it may give them to others at once.
    welcome(&mut s, &join, &Welcome::follower(2, "range"));
    let sync = s.expect::<SyncGroupRequest>();
    assert_eq!(lost(&mut s), [0, 1], "before the leader can assign");
    synced(&mut s, &sync, assignment(&[1]));
    fetch_commits(&mut s, |_| (10, "", 0));
    assert_eq!(assigned(&mut s), [1]);
}

#[test]
fn commits_do_not_cross_a_round() {
    // GR15
    let (mut s, ids) = member("cooperative-sticky", "cooperative-sticky", &[0, 1]);
    let at = ids[0];
    let now = s.now();
    s.client.commit_offset(now, at, (20, -1), "").expect("a member");
    let commit = next_commit(&mut s);
    pulse(&mut s, 27);
    s.run(Duration::from_secs(2));
    s.none::<JoinGroupRequest>("a commit is on its way");
    let now = s.now();
    s.client.commit_offset(now, at, (30, -1), "").expect("a member");
    commit_with(&mut s, &commit, |_| 27);
    let join = s.expect::<JoinGroupRequest>();
    s.run(Duration::from_secs(2));
    s.none::<OffsetCommitRequest>("both generations would be refused");
    welcome(&mut s, &join, &Welcome::follower(2, "cooperative-sticky"));
    let sync = s.expect::<SyncGroupRequest>();
    s.none::<OffsetCommitRequest>("the leader has not assigned");
    synced(&mut s, &sync, assignment(&[0, 1]));
    let next = next_commit(&mut s);
    assert_eq!(offsets(&next), [(0, 30)], "the newer one alone");
    assert_eq!(next.body.generation_id_or_member_epoch, 2);
}

#[test]
fn a_leader_reads_the_counts_in_each_round_and_bad_members_get_nothing() {
    // GR7
    let mut world = world(3);
    world.partition("t", 0).end = 1;
    let mut config = classic(&world, "range");
    config.group_skips = true;
    let (mut s, _) = subscribed(world, config, Start::Earliest);
    let join = name(&mut s);
    s.manual(ApiKey::Metadata);
    let mut welcomed = Welcome::leader(1, "range");
    welcomed.others = vec![("a-bad", Bytes::from_static(b"\0")), (OTHER, theirs(&[], -1))];
    welcome(&mut s, &join, &welcomed);
    let asked = s.expect::<MetadataRequest>();
    s.none::<SyncGroupRequest>("counts are not known");
    s.automatic(ApiKey::Metadata);
    s.world.grow("t", 4);
    s.serve(asked);
    let sync = s.expect::<SyncGroupRequest>();
    assert_eq!(given(&sync, "a-bad"), Some(vec![]));
    assert_eq!(given(&sync, ME), Some(vec![0, 1]));
    assert_eq!(given(&sync, OTHER), Some(vec![2, 3]), "the new one, too");
}

#[test]
fn a_leader_believes_no_broker_that_knows_fewer_partitions_than_it_does() {
    let world = world(4);
    let config = classic(&world, "range");
    let (mut s, _) = subscribed(world, config, Start::Earliest);
    s.run(Duration::from_millis(100));
    let join = name(&mut s);
    s.world.topic_mut("t").partitions.truncate(2);
    welcome(&mut s, &join, &Welcome::leader(1, "range"));
    let sync = s.expect::<SyncGroupRequest>();
    assert_eq!(given(&sync, ME), Some(vec![0, 1, 2, 3]));
}

#[test]
fn a_group_that_is_too_large_to_be_led_is_left() {
    let world = world(2);
    let config = classic(&world, "range");
    let mut limits = Limits::small();
    limits.group_members = 1;
    let mut s = Script::with(world, config, &limits);
    let t = s.topic("t");
    let now = s.now();
    s.client.subscribe(now, &[t], Start::Earliest).expect("subscribed");
    let join = name(&mut s);
    let mut welcomed = Welcome::leader(1, "range");
    welcomed.others = vec![(OTHER, theirs(&[], -1))];
    welcome(&mut s, &join, &welcomed);
    let left = s.expect::<kafka_protocol::messages::LeaveGroupRequest>();
    assert_eq!(&*left.body.members[0].member_id, ME);
    let what = LimitKind::GroupMembers;
    let limit = |event: &Event<'_>| match event {
        Event::GroupFailed { error: GroupError::Limit { what: found, .. } } => *found == what,
        _ => false,
    };
    assert!(group_events(&mut s).iter().any(limit));
    s.none::<SyncGroupRequest>("others lead");
}

#[test]
fn a_member_that_the_coordinator_hosts_follows_it() {
    // GR16: the protocol is the first that it lists, and the generation may repeat.
    let world = world(2);
    let config = classic(&world, "cooperative-sticky,range");
    let mut welcomed = Welcome::follower(1, "cooperative-sticky");
    welcomed.leader = "";
    let (mut s, _) = member_with(world, config, &welcomed, &[0]);
    pulse(&mut s, 27);
    follow(&mut s, &welcomed, &[0, 1]);
    fetch_commits(&mut s, |_| (10, "", 0));
    assert_eq!(assigned(&mut s), [1]);
    assert_eq!(lost(&mut s), [0; 0]);
}

#[test]
fn a_generation_that_was_missed_costs_the_partitions_and_not_the_id() {
    for (code, id) in [(22, ME), (25, "")] {
        let (mut s, _) = member("cooperative-sticky", "cooperative-sticky", &[0, 1]);
        pulse(&mut s, code);
        let join = s.expect::<JoinGroupRequest>();
        assert_eq!(&*join.body.member_id, id, "{code}");
        assert_eq!(owned(&join), [0; 0], "{code}");
        assert_eq!(lost(&mut s), [0, 1], "{code}");
    }
}

#[test]
fn errors_of_rounds_that_pass_are_followed_by_another_round() {
    let (mut s, _) = member("cooperative-sticky", "cooperative-sticky", &[0, 1]);
    pulse(&mut s, 27);
    for code in [14, 16, 27] {
        let join = s.expect::<JoinGroupRequest>();
        refuse_join(&mut s, &join, code);
    }
    let join = s.expect::<JoinGroupRequest>();
    welcome(&mut s, &join, &Welcome::follower(2, "cooperative-sticky"));
    let sync = s.expect::<SyncGroupRequest>();
    refuse_sync(&mut s, &sync, 27);
    let join = s.expect::<JoinGroupRequest>();
    assert_eq!(owned(&join), [0, 1], "nobody else has them");
    assert_eq!(lost(&mut s), [0; 0]);
}

#[test]
fn errors_that_stay_end_the_membership() {
    for code in [23, 24, 26, 30, 81, 82] {
        let world = world(2);
        let config = classic(&world, "range");
        let (mut s, _) = subscribed(world, config, Start::Earliest);
        let join = s.expect::<JoinGroupRequest>();
        refuse_join(&mut s, &join, code);
        let events = group_events(&mut s);
        let refused = |event: &Event<'_>| match event {
            Event::GroupFailed { error: GroupError::Refused(found) } => found.0 == code,
            _ => false,
        };
        assert!(events.iter().any(refused), "{code}: {events:?}");
        s.run(Duration::from_secs(5));
        s.none::<JoinGroupRequest>("it has ended");
    }
}

#[test]
fn nothing_waits_behind_a_round() {
    // Over one connection all stands still, so that no deadline ends the round.
    for conns in [1, 2] {
        let world = World::new(1).topic("t", 2).coordinator(1);
        let config = classic(&world, "cooperative-sticky");
        let mut limits = Limits::small();
        limits.conns = conns;
        let mut s = Script::with(world, config, &limits);
        let t = s.topic("t");
        let now = s.now();
        s.client.subscribe(now, &[t], Start::Latest).expect("subscribed");
        follow(&mut s, &Welcome::follower(1, "cooperative-sticky"), &[0, 1]);
        fetch_commits(&mut s, |_| (10, "", 0));
        let due = serve_fetches(&mut s, |s| s.take::<HeartbeatRequest>());
        s.respond(&due, HeartbeatResponse::default().with_error_code(27));
        let join = serve_fetches(&mut s, |s| s.take::<JoinGroupRequest>());
        for _ in 0..400 {
            s.run(Duration::from_millis(100));
            while let Some(fetch) = s.take::<FetchRequest>() {
                assert_ne!(fetch.conn, join.conn, "{conns}");
                s.give_only(&fetch, Vec::new());
            }
        }
        assert_eq!(s.waiting::<JoinGroupRequest>(), 0, "{conns}: no other one");
        welcome(&mut s, &join, &Welcome::follower(2, "cooperative-sticky"));
        let sync = serve_fetches(&mut s, |s| s.take::<SyncGroupRequest>());
        synced(&mut s, &sync, assignment(&[0, 1]));
        assert_eq!(lost(&mut s), [0; 0], "{conns}");
    }
}

/// Responds to fetches until something else comes.
fn serve_fetches<T>(s: &mut Script, mut other: impl FnMut(&mut Script) -> Option<T>) -> T {
    for _ in 0..2000 {
        while let Some(fetch) = s.take::<FetchRequest>() {
            s.give_only(&fetch, Vec::new());
        }
        if let Some(found) = other(s) {
            return found;
        }
        s.run(Duration::from_millis(5));
    }
    s.fail("it does not come")
}

#[test]
fn a_topic_that_is_subscribed_while_a_round_waits_is_in_the_next_one() {
    let world = world(4).topic("u", 1);
    let config = classic(&world, "cooperative-sticky");
    let welcomed = Welcome::follower(1, "cooperative-sticky");
    let (mut s, _) = member_with(world, config, &welcomed, &[0, 1]);
    pulse(&mut s, 27);
    let join = s.expect::<JoinGroupRequest>();
    let topics = [s.topic("t"), s.topic("u")];
    let now = s.now();
    s.client.subscribe(now, &topics, Start::Latest).expect("subscribed");
    s.run(Duration::from_secs(1));
    welcome(&mut s, &join, &Welcome::follower(2, "cooperative-sticky"));
    let sync = s.expect::<SyncGroupRequest>();
    synced(&mut s, &sync, assignment(&[0, 1]));
    let next = s.expect::<JoinGroupRequest>();
    assert_eq!(subscription(&next).0, ["t", "u"]);
    assert!(sync.at.until(next.at) < Duration::from_millis(100), "at once");
}

#[test]
fn a_response_without_counts_takes_no_partitions_away() {
    for bad in [1, 20] {
        let world = world(4);
        let config = classic(&world, "range");
        let (mut s, _) = subscribed(world, config, Start::Earliest);
        s.run(Duration::from_millis(100));
        let join = name(&mut s);
        s.manual(ApiKey::Metadata);
        welcome(&mut s, &join, &Welcome::leader(1, "range"));
        let mut asked = 0;
        let sync = loop {
            if let Some(metadata) = s.take::<MetadataRequest>() {
                asked += 1;
                if asked <= bad {
                    s.respond(&metadata, MetadataResponse::default());
                } else {
                    s.serve(metadata);
                }
            }
            if let Some(sync) = s.take::<SyncGroupRequest>() {
                break sync;
            }
            s.run(Duration::from_millis(5));
        };
        assert_eq!(given(&sync, ME), Some(vec![0, 1, 2, 3]), "{bad}");
        assert!(asked > 1 && asked < 10, "{asked}");
    }
}

/// A partition that was added waits for what others have committed of those before. In a round none
/// of that can be requested, which is no reason to wake up again and again.
#[test]
fn added_partitions_that_wait_for_others_do_not_wake_a_member_in_a_round() {
    let world = world(3);
    let order = OrderedGrowth::new(Duration::from_secs(1), Duration::from_secs(60));
    let config = classic(&world, "cooperative-sticky").ordered_growth(Some(order));
    let (mut s, _) = subscribed(world, config, Start::Latest);
    follow(&mut s, &Welcome::follower(1, "cooperative-sticky"), &[2]);
    fetch_commits(&mut s, |_| (0, "kv1;n=2;b=5;t=AAAAAAAAAAAAAAAAAAAAAA;", 0));
    s.run(Duration::from_secs(2));
    let looks = s.expect::<OffsetFetchRequest>();
    fetched(&mut s, &looks, |_| (10, "", 0));
    s.until("a heartbeat", |s| looked_at(s) || pulse_if_due(s, 27));
    s.until("the end of what was under way", |s| {
        looked_at(s);
        s.waiting::<JoinGroupRequest>() > 0
    });
    let join = s.expect::<JoinGroupRequest>();
    let end = s.now() + Duration::from_secs(10);
    let mut wakes = 0;
    while s.now() < end {
        let next = s.client.poll_timeout().unwrap_or(end).min(end);
        let now = s.now();
        s.run(now.until(next).max(Duration::from_micros(1)));
        wakes += 1;
    }
    assert!(wakes < 100, "{wakes} in ten seconds");
    welcome(&mut s, &join, &Welcome::follower(2, "cooperative-sticky"));
    let sync = s.expect::<SyncGroupRequest>();
    synced(&mut s, &sync, assignment(&[2]));
    s.expect::<OffsetFetchRequest>(); // at once
}

/// Responds to a look at what others have committed; returns false.
fn looked_at(s: &mut Script) -> bool {
    if let Some(due) = s.take::<OffsetFetchRequest>() {
        fetched(s, &due, |_| (10, "", 0));
    }
    false
}

fn pulse_if_due(s: &mut Script, code: i16) -> bool {
    let Some(due) = s.take::<HeartbeatRequest>() else { return false };
    s.respond(&due, HeartbeatResponse::default().with_error_code(code));
    true
}
