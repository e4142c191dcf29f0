//! Topics that are deleted and recreated.

use kafka_protocol::messages::{ApiKey, FetchRequest, ProduceRequest};
use kavka_core::{Duration, Error, Event, MoveReason, Obstacle, OutOfRange, Start};
use kavka_tests::script::World;
use kavka_tests::script::fetch::{records, refused};
use kavka_tests::script::steps::{
    Move, batch, configured, count, events, fetch_with, metadata, moves, poke, reading,
    reading_with, ready, recreated, warm_up, with_id,
};
use uuid::Uuid;

#[test]
fn t1_another_id_from_one_broker_is_believed_after_two_seconds_and_its_lower_epochs_with_it() {
    // R5 (c)
    let mut world = World::new(1).topic("t", 4);
    world.partition("t", 0).epoch = 10;
    let (mut s, t) = ready(world);
    let new = with_id(&s.world, 77, 2);
    poke(&mut s, t);
    metadata(&mut s, Duration::from_millis(1900), |_| new.clone());
    assert_eq!(recreated(&events(&mut s)), [0_u32; 0]);
    metadata(&mut s, Duration::from_millis(1500), |_| new.clone());
    assert_eq!(recreated(&events(&mut s)), [2]);
    assert_eq!(count(&s.client, t), 2);
    s.world = new;
    s.automatic(ApiKey::Metadata);
    s.produce(t, 0, "a");
    assert_eq!(s.expect::<ProduceRequest>().node, 1);
}

#[test]
fn t2_ids_that_go_make_fetches_name_the_topic_and_ids_that_come_use_them() {
    let (mut s, _) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    assert!(requested.version >= 13);
    let id = core::mem::replace(&mut s.world.topics[0].id, Uuid::nil());
    s.give(&requested, 7, vec![refused(0, 100)]);
    // The id of the refusal was nil: it concerns no topic. The next one names ours.
    let requested = s.expect::<FetchRequest>();
    s.world.topics[0].id = id;
    s.give(&requested, 7, vec![refused(0, 100)]);
    s.world.topics[0].id = Uuid::nil();
    let requested = loop {
        let requested = s.expect::<FetchRequest>();
        if requested.version <= 12 {
            break requested;
        }
        s.world.topics[0].id = id;
        s.give(&requested, 7, vec![refused(0, 100)]);
        s.world.topics[0].id = Uuid::nil();
    };
    assert_eq!((requested.body.session_epoch, s.wanted(&requested)), (0, vec![("t".into(), 0, 0)]));
    s.give(&requested, 8, vec![refused(0, 6)]);
    s.world.topics[0].id = id;
    let requested = fetch_with(&mut s, |_, requested| requested.version >= 13);
    assert_eq!(requested.body.session_epoch, 0);
    let reported = format!("{:?}", events(&mut s));
    assert!(!reported.contains("TopicRecreated"), "{reported}");
}

#[test]
fn t3_a_recreated_topic_leaves_the_session_under_its_old_id() {
    let (mut s, _) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 7, vec![records(0, &[batch(0, &["a"])])]);
    let requested = s.expect::<FetchRequest>();
    let old = s.world.topics[0].id;
    s.give(&requested, 7, vec![]);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 7, vec![refused(0, 100)]);
    s.world.topics[0].id = Uuid::from_u128(99);
    let again = loop {
        let requested = s.expect::<FetchRequest>();
        if requested.body.topics.iter().any(|t| t.topic_id == Uuid::from_u128(99)) {
            break requested;
        }
        s.world.topics[0].id = old;
        s.give(&requested, 7, vec![refused(0, 100)]);
        s.world.topics[0].id = Uuid::from_u128(99);
    };
    assert_eq!(s.wanted(&again), [("t".into(), 0, 0)]);
    let forgets = again.body.forgotten_topics_data.iter().any(|t| t.topic_id == old);
    assert!(forgets || again.body.session_epoch == 0, "the old id stays in the session");
}

#[test]
fn t5_records_for_a_topic_that_stays_away_fail_whatever_else_comes_between() {
    let world = World::new(1).topic("t", 1);
    let mut s = configured(world, |c| c.delivery_timeout = Duration::from_secs(10));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.world = with_id(&s.world, 77, 1);
    s.produce(t, 0, "a");
    let start = s.now();
    let mut turn = 0;
    while start.until(s.now()) < Duration::from_millis(9_900) {
        if let Some(requested) = s.take::<ProduceRequest>() {
            s.refuse(&requested, [3, 3, 19, 100][turn % 4]);
            turn += 1;
        }
        s.run(Duration::from_millis(1));
    }
    assert!((8..60).contains(&turn), "{turn} tries in 10 s");
    assert_eq!(s.failed(), []);
    s.run(Duration::from_millis(200));
    while let Some(requested) = s.take::<ProduceRequest>() {
        s.refuse(&requested, 3);
    }
    let failed = s.failed();
    let refused = |error| matches!(error, Error::Blocked(Obstacle::Refused { broker: 1, .. }));
    assert!(failed.len() == 1 && refused(failed[0].1) && !failed[0].2, "{failed:?}");
}

/// Returns a reader at offset 50 of a log such as 20..30, and where it continues.
fn out_of_range(policy: OutOfRange, log: (i64, i64)) -> (Vec<Move>, Option<i64>, bool) {
    let world = World::new(1).topic("t", 1);
    let (mut s, parts) = reading_with(world, |mut config| {
        config.out_of_range = policy;
        config
    });
    (s.world.partition("t", 0).start, s.world.partition("t", 0).end) = log;
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(50)).unwrap();
    let requested = fetch_with(&mut s, |s, requested| s.wanted(requested) == [("t".into(), 0, 50)]);
    s.give(&requested, 0, vec![refused(0, 1)]);
    s.run(Duration::from_millis(200));
    let next = s.take::<FetchRequest>().map(|requested| s.wanted(&requested)[0].2);
    let reported = events(&mut s);
    let failed = reported.iter().any(|e| matches!(e, Event::PartitionFailed { .. }));
    (moves(&reported), next, failed)
}

#[test]
fn t6_a_position_outside_the_log_goes_where_the_policy_says_and_says_so() {
    use OutOfRange::{Earliest, Latest, Nearest, Stop};
    let moved = |to| (vec![(50, to, MoveReason::OutOfRange)], Some(to), false);
    assert_eq!(out_of_range(Nearest, (60, 90)), moved(60), "below");
    assert_eq!(out_of_range(Nearest, (20, 30)), moved(30), "above");
    assert_eq!(out_of_range(Earliest, (20, 30)), moved(20));
    assert_eq!(out_of_range(Latest, (20, 30)), moved(30));
    assert_eq!(out_of_range(Stop, (20, 30)), (vec![], None, true));
}
