//! The coordinator: found, lost, found again.

use kafka_protocol::messages::{ApiKey, ConsumerGroupHeartbeatRequest, FindCoordinatorRequest};
use kavka_core::wire::ErrorCode;
use kavka_core::{Duration, Error, Event, GroupError, Start};

use crate::steps::{
    beat, config, group_events, joining, member, next_beat, refuse_beat, subscribed, world,
};

#[test]
fn a_coordinator_that_moves_is_found_again_at_once() {
    // K11
    let (mut s, _) = member(2, &[0]);
    let due = next_beat(&mut s);
    s.world.coordinator = Some(1);
    refuse_beat(&mut s, &due, 16);
    let next = next_beat(&mut s);
    assert_eq!((next.node, next.body.member_epoch), (1, 1), "it stays a member");
    assert!(due.at.until(next.at) < Duration::from_millis(300), "{:?}", due.at.until(next.at));
}

#[test]
fn a_coordinator_that_is_nowhere_is_looked_for_ever_more_slowly() {
    let world = world(2).coordinator(3);
    let config = config(&world);
    let (mut s, _) = subscribed(world, config, Start::Earliest);
    s.manual(ApiKey::FindCoordinator);
    let mut times = Vec::new();
    for _ in 0..8 {
        let requested = s.expect::<FindCoordinatorRequest>();
        times.push(requested.at);
        s.serve(requested);
    }
    let last = times[6].until(times[7]);
    assert!(last >= Duration::from_millis(700), "{last:?}");
    let events = group_events(&mut s);
    let error = Error::Broker(ErrorCode(15));
    let trouble =
        |event: &Event<'_>| matches!(event, Event::GroupTrouble { error: of } if *of == error);
    assert_eq!(events.iter().filter(|event| trouble(event)).count(), 1, "{events:?}");
    s.world.coordinator = Some(2);
    s.automatic(ApiKey::FindCoordinator);
    assert_eq!(next_beat(&mut s).node, 2);
}

#[test]
fn a_broker_that_is_killed_is_left_for_the_next_coordinator() {
    let (mut s, _) = member(2, &[0]);
    s.world.coordinator = Some(1);
    s.kill(2);
    let next = next_beat(&mut s);
    assert_eq!((next.node, next.body.member_epoch), (1, 1));
    beat(&mut s, &next, 1, None);
}

#[test]
fn a_coordinator_that_is_silent_is_given_up_before_the_session_ends() {
    let (mut s, _) = member(2, &[0]);
    let unheard = next_beat(&mut s);
    let next = next_beat(&mut s);
    let pause = unheard.at.until(next.at);
    assert!(pause < Duration::from_secs(15), "{pause:?}");
    assert_ne!(next.conn, unheard.conn);
}

#[test]
fn a_cluster_without_the_protocol_is_reported() {
    let mut world = world(2);
    world.without = vec![68];
    let config = config(&world);
    let (mut s, _) = subscribed(world, config, Start::Earliest);
    s.run(Duration::from_secs(1));
    s.none::<ConsumerGroupHeartbeatRequest>("no broker has it");
    let events = group_events(&mut s);
    let classic =
        |event: &Event<'_>| matches!(event, Event::GroupFailed { error: GroupError::NeedsClassic });
    assert!(events.iter().any(classic), "{events:?}");
}

#[test]
fn a_group_that_is_forbidden_ends() {
    let (mut s, _, first) = joining(2, Start::Earliest);
    refuse_beat(&mut s, &first, 30);
    let events = group_events(&mut s);
    assert!(matches!(events[..], [Event::GroupFailed { .. }]), "{events:?}");
}

#[test]
fn heartbeats_do_not_wait_behind_records() {
    // The coordinator leads a partition, too.
    let (mut s, _) = member(2, &[0, 1]);
    let fetching = s.expect::<kafka_protocol::messages::FetchRequest>();
    let other = loop {
        if fetching.node == 2 {
            break fetching;
        }
        let next = s.expect::<kafka_protocol::messages::FetchRequest>();
        if next.node == 2 {
            break next;
        }
    };
    let due = next_beat(&mut s);
    assert_ne!(due.conn, other.conn);
}

#[test]
fn brokers_that_disagree_about_the_coordinator_make_no_fast_loop() {
    let (mut s, _) = member(2, &[0]);
    let start = s.now();
    let mut beats = 0;
    while start.until(s.now()) < Duration::from_secs(20) {
        let due = next_beat(&mut s);
        refuse_beat(&mut s, &due, 16);
        beats += 1;
    }
    assert!((5..60).contains(&beats), "{beats} heartbeats");
}

#[test]
fn a_member_that_cannot_leave_makes_no_fast_loop() {
    let (mut s, _) = member(2, &[0]);
    let now = s.now();
    s.client.unsubscribe(now, Duration::from_secs(5));
    let mut beats = 0;
    while now.until(s.now()) < Duration::from_secs(5) {
        if let Some(due) = s.take::<ConsumerGroupHeartbeatRequest>() {
            refuse_beat(&mut s, &due, 14);
            beats += 1;
        }
        s.run(Duration::from_millis(10));
    }
    assert!((2..30).contains(&beats), "{beats} heartbeats");
    assert!(group_events(&mut s).iter().any(|event| matches!(event, Event::GroupLeft)));
}
