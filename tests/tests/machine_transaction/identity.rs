//! The producer id of a transactional id.

use kafka_protocol::messages::{FindCoordinatorRequest, InitProducerIdRequest};
use kavka_core::{Duration, Event};

use crate::steps::{ADDED, IMPLICIT, begin, events, give_id, starting, world};

#[test]
fn the_id_is_requested_at_the_coordinator_at_once() {
    let (_, _, init) = starting(world(IMPLICIT));
    assert_eq!(init.node, 2);
    assert_eq!(init.body.transactional_id.as_ref().map(|id| id.0.as_str()), Some("x"));
    assert_eq!(init.body.transaction_timeout_ms, 60_000);
    assert_eq!((init.body.producer_id.0, init.body.producer_epoch), (-1, -1));
}

#[test]
fn what_a_predecessor_left_open_is_waited_for() {
    let (mut s, _, init) = starting(world(IMPLICIT));
    give_id(&mut s, &init, 51, 0);
    for code in [51, 51, 14, 16, 15, 51] {
        let init = s.expect::<InitProducerIdRequest>();
        assert_eq!(init.body.producer_id.0, -1);
        give_id(&mut s, &init, code, 0);
    }
    let init = s.expect::<InitProducerIdRequest>();
    give_id(&mut s, &init, 0, 3);
    assert_eq!(events(&mut s), ["ready"]);
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let (mut s, _, init) = starting(world(ADDED));
    s.cut(init.conn);
    let init = s.expect::<InitProducerIdRequest>();
    give_id(&mut s, &init, 0, 3);
    assert_eq!(events(&mut s), ["ready"]);
}

#[test]
fn refusals_that_do_not_pass_are_reported_to_the_next_transaction() {
    for code in [50, 42, 35, 90, 47] {
        let (mut s, _, init) = starting(world(IMPLICIT));
        give_id(&mut s, &init, code, 0);
        s.run(Duration::from_secs(5));
        s.none::<InitProducerIdRequest>("it would be refused again");
        let now = s.now();
        assert!(s.client.begin(now).is_err(), "{code}");
    }
}

#[test]
fn a_coordinator_that_cannot_be_found_is_reported_and_makes_no_fast_loop() {
    // aiokafka#1091
    let mut world = world(IMPLICIT);
    world.coordinator = None;
    world.extra.push((kafka_protocol::messages::ApiKey::FindCoordinator, 0, 6));
    let config = crate::steps::config(&world);
    let mut s = kavka_tests::script::Script::with(world, config, &kavka_core::Limits::small());
    s.manual(kafka_protocol::messages::ApiKey::FindCoordinator);
    s.ready("t");
    let mut asked = 0;
    let until = s.now() + Duration::from_secs(10);
    while s.now() < until {
        s.run(Duration::from_millis(20));
        while let Some(look_up) = s.take::<FindCoordinatorRequest>() {
            assert_eq!(look_up.body.key_type, 1);
            asked += 1;
            let body = s.world.find_coordinator(&look_up.body, look_up.version);
            s.respond(&look_up, body);
        }
    }
    assert!((5..=30).contains(&asked), "{asked}");
    let troubles = s.take_reported(|reported| match reported.event()? {
        Event::TransactionTrouble { error } => Some(error),
        _ => None,
    });
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    begin(&mut s);
}
