//! What could go on forever: rounds that help nobody, requests that never fit.

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use kavka_core::{Config, Duration, Event, GroupError, LimitKind, Limits, Start};
use kavka_tests::script::{Script, World};

use super::{
    ME, OTHER, Welcome, classic, follow, member, name, pulse, refuse_join, refuse_sync, synced,
    welcome,
};
use crate::steps::{fetch_commits, group_events, subscribed, world};

const COOPERATIVE: &str = "cooperative-sticky";

/// Returns the limit that ended the membership.
fn limit(s: &mut Script) -> Option<LimitKind> {
    group_events(s).iter().find_map(|event| match event {
        Event::GroupFailed { error: GroupError::Limit { what, .. } } => Some(*what),
        _ => None,
    })
}

/// Subscribes with so many blocks of so many bytes for requests.
fn in_blocks(world: World, config: Config<'static>, (blocks, bytes): (usize, usize)) -> Script {
    let mut limits = Limits::small();
    (limits.tx_blocks, limits.block_bytes) = (blocks, bytes);
    let mut s = Script::with(world, config, &limits);
    let t = s.topic("t");
    let now = s.now();
    s.client.subscribe(now, &[t], Start::Latest).expect("subscribed");
    s
}

#[test]
fn an_id_that_is_asked_for_time_and_again_makes_no_fast_loop() {
    let world = world(2);
    let config = classic(&world, "range");
    let (mut s, _) = subscribed(world, config, Start::Latest);
    let start = s.now();
    let mut joins = 0;
    while start.until(s.now()) < Duration::from_secs(10) {
        if let Some(join) = s.take::<JoinGroupRequest>() {
            joins += 1;
            refuse_join(&mut s, &join, 79);
        }
        s.run(Duration::from_millis(5));
    }
    assert!((5..25).contains(&joins), "{joins}");
}

#[test]
fn an_id_that_is_longer_than_any_ends_the_membership() {
    for code in [79, 0] {
        let world = world(2);
        let config = classic(&world, "range");
        let (mut s, _) = subscribed(world, config, Start::Latest);
        let join = s.expect::<JoinGroupRequest>();
        let body = JoinGroupResponse::default()
            .with_error_code(code)
            .with_protocol_name(Some(super::text("range")))
            .with_leader(super::text(OTHER))
            .with_member_id(StrBytes::from_string("x".repeat(301)));
        s.respond(&join, body);
        s.run(Duration::from_secs(2));
        assert_eq!(limit(&mut s), Some(LimitKind::Text), "{code}");
        s.none::<JoinGroupRequest>("it has ended");
        s.none::<SyncGroupRequest>("it has ended");
    }
}

#[test]
fn a_leader_whose_plan_the_coordinator_cannot_keep_leaves() {
    let world = world(2);
    let config = classic(&world, "range");
    let (mut s, _) = subscribed(world, config, Start::Latest);
    let mut generation = 0;
    let left = loop {
        s.run(Duration::from_millis(10));
        if let Some(left) = s.take::<LeaveGroupRequest>() {
            break left;
        }
        if s.waiting::<JoinGroupRequest>() == 0 {
            continue;
        }
        let join = name(&mut s);
        generation += 1;
        assert!(generation < 10, "others would lead");
        welcome(&mut s, &join, &Welcome::leader(generation, "range"));
        let sync = s.expect::<SyncGroupRequest>();
        refuse_sync(&mut s, &sync, -1);
    };
    assert!(generation > 2, "it may pass");
    assert_eq!(&*left.body.members[0].member_id, ME);
    let refused = |event: &Event<'_>| match event {
        Event::GroupFailed { error: GroupError::Refused(code) } => code.0 == -1,
        _ => false,
    };
    assert!(group_events(&mut s).iter().any(refused));
}

/// Responds to heartbeats until a JoinGroup comes.
fn next_join(s: &mut Script) -> super::Join {
    for _ in 0..20_000 {
        if let Some(join) = s.take::<JoinGroupRequest>() {
            return join;
        }
        if let Some(due) = s.take::<HeartbeatRequest>() {
            s.respond(&due, HeartbeatResponse::default());
        }
        while let Some(fetch) = s.take::<FetchRequest>() {
            s.give_only(&fetch, Vec::new());
        }
        s.run(Duration::from_millis(5));
    }
    s.fail("no round")
}

#[test]
fn an_assignment_that_is_never_for_this_member_is_asked_for_ever_more_slowly() {
    for bad in [Bytes::from_static(b"\0\x01\0\0"), foreign()] {
        let (mut s, _) = member(COOPERATIVE, COOPERATIVE, &[0, 1]);
        pulse(&mut s, 27);
        let mut pauses = Vec::new();
        for generation in 2..10 {
            let start = s.now();
            let join = next_join(&mut s);
            pauses.push(start.until(join.at));
            welcome(&mut s, &join, &Welcome::follower(generation, COOPERATIVE));
            let sync = s.expect::<SyncGroupRequest>();
            synced(&mut s, &sync, bad.clone());
        }
        assert!(pauses[1] < Duration::from_millis(1500), "{pauses:?}");
        assert!(pauses[7] > Duration::from_secs(40), "{pauses:?}");
        // Others need not wait for it.
        let start = s.now();
        pulse(&mut s, 27);
        let join = s.expect::<JoinGroupRequest>();
        assert!(start.until(join.at) < Duration::from_secs(5));
        welcome(&mut s, &join, &Welcome::follower(10, COOPERATIVE));
        let sync = s.expect::<SyncGroupRequest>();
        synced(&mut s, &sync, super::assignment(&[0, 1]));
    }
}

/// An assignment of a topic that is not subscribed.
fn foreign() -> Bytes {
    let mut bytes = BytesMut::from(&super::assignment(&[0])[..]);
    bytes[8] = b'x';
    bytes.freeze()
}

#[test]
fn a_join_that_can_never_be_sent_ends_the_membership() {
    let world = world(2);
    let mut config = classic(&world, "range,roundrobin,sticky,cooperative-sticky");
    (config.rack, config.group_instance) = ("x".repeat(64).leak(), "x".repeat(250).leak());
    let mut s = in_blocks(world, config, (4, 128));
    s.run(Duration::from_secs(5));
    assert_eq!(limit(&mut s), Some(LimitKind::SendBlocks));
    s.none::<JoinGroupRequest>("it does not fit");
}

#[test]
fn a_leader_that_can_never_ask_for_the_counts_leaves() {
    let world = world(2);
    let config = classic(&world, "range");
    let mut s = in_blocks(world, config, (8, 128));
    let join = name(&mut s);
    let mut welcomed = Welcome::leader(1, "range");
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(7);
    for topic in 0..7 {
        bytes.put_i16(200);
        bytes.put_slice(format!("{topic:0200}").as_bytes());
    }
    bytes.put_i32(-1);
    welcomed.others = vec![(OTHER, bytes.freeze())];
    welcome(&mut s, &join, &welcomed);
    let left = s.expect::<LeaveGroupRequest>();
    assert_eq!(&*left.body.members[0].member_id, ME);
    assert_eq!(limit(&mut s), Some(LimitKind::SendBlocks));
}

#[test]
fn connections_take_turns_beside_a_round() {
    let mut world = World::new(4).topic("t", 4).coordinator(1);
    for index in 0..4 {
        world.lead("t", index, index as i32 + 1);
    }
    let config = classic(&world, COOPERATIVE);
    let mut limits = Limits::small();
    limits.conns = 3;
    let mut s = Script::with(world, config, &limits);
    s.manual(ApiKey::Fetch);
    let t = s.topic("t");
    let now = s.now();
    s.client.subscribe(now, &[t], Start::Latest).expect("subscribed");
    follow(&mut s, &Welcome::follower(1, COOPERATIVE), &[0, 1, 2, 3]);
    fetch_commits(&mut s, |_| (10, "", 0));
    let serve = |s: &mut Script, last: &mut [Duration; 4], start: kavka_core::Instant| {
        while let Some(fetch) = s.take::<FetchRequest>() {
            last[fetch.node as usize - 1] = start.until(fetch.at);
            s.give_only(&fetch, Vec::new());
        }
        s.run(Duration::from_millis(50));
    };
    let (start, mut last) = (s.now(), [Duration::ZERO; 4]);
    let due = loop {
        serve(&mut s, &mut last, start);
        if let Some(due) = s.take::<HeartbeatRequest>() {
            break due;
        }
        assert!(start.until(s.now()) < Duration::from_secs(20));
    };
    s.respond(&due, HeartbeatResponse::default().with_error_code(27));
    let start = s.now();
    while start.until(s.now()) < Duration::from_secs(40) {
        serve(&mut s, &mut last, start);
    }
    assert_eq!(s.waiting::<JoinGroupRequest>(), 1, "it waits for others");
    let late = last.iter().filter(|at| **at < Duration::from_secs(30)).count();
    assert_eq!(late, 0, "{last:?}");
}
