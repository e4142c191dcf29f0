use kafka_protocol::messages::ProduceRequest;
use kavka_core::{Duration, Event};
use kavka_tests::script::steps::{
    changed, count, events, growths, metadata, poke, ready, recreated, with_id,
};
use kavka_tests::script::{Script, World};
use kavka_tests::sim::Profile;
use uuid::Uuid;

#[test]
fn another_id_is_believed_at_once_when_a_leader_refuses_ours() {
    // R5 (a)
    let (mut s, t) = ready(World::new(1).topic("t", 4));
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    s.world = with_id(&s.world, 77, 4);
    poke(&mut s, t);
    s.run(Duration::from_millis(500));
    assert_eq!(s.client.freshness(t).unwrap().generation, 0, "the broker may be behind");
    let start = s.now();
    s.refuse(&requested, 100);
    s.until("it is believed", |s| s.client.freshness(t).unwrap().generation == 1);
    assert!(start.until(s.now()) < Duration::from_millis(300));
}

#[test]
fn the_id_before_ours_is_that_of_a_stale_broker() {
    // R5: old ids are never used again.
    let (mut s, t) = ready(World::new(1).topic("t", 4));
    let old = s.world.clone();
    let new = with_id(&s.world, 77, 4);
    s.world = new.clone();
    poke(&mut s, t);
    metadata(&mut s, Duration::from_secs(4), |_| new.clone());
    assert_eq!(recreated(&events(&mut s)), [4]);
    s.world = old.clone();
    poke(&mut s, t);
    let requested = metadata(&mut s, Duration::from_secs(20), |_| old.clone());
    assert!((10..30).contains(&requested), "{requested} Metadata requests");
    let reported = events(&mut s);
    assert_eq!(recreated(&reported), [0_u32; 0]);
    assert!(reported.iter().any(|e| matches!(e, Event::BrokerStale { .. })), "{reported:?}");
    assert_eq!(
        s.client.freshness(t).unwrap().id,
        kavka_core::wire::Uuid(Uuid::from_u128(77).into_bytes())
    );
}

/// Returns a client that took another topic's id for the newer one, and the correct world.
fn mistaken(brokers: i32) -> (Script, World) {
    let (mut s, t) = ready(World::new(brokers).topic("t", 4));
    let right = s.world.clone();
    let wrong = with_id(&s.world, 77, 4);
    s.world = wrong.clone();
    poke(&mut s, t);
    metadata(&mut s, Duration::from_secs(6), |_| wrong.clone());
    assert_eq!(recreated(&events(&mut s)), [4]);
    s.world = right.clone();
    (s, right)
}

/// A client that adopted two recreations in the wrong order learns of it at least by probes.
#[test]
fn probes_that_name_the_id_before_ours_at_every_broker_bring_it_back() {
    let (mut s, right) = mistaken(2);
    metadata(&mut s, Duration::from_secs(40), |_| right.clone());
    assert_eq!(recreated(&events(&mut s)), [4], "back to what both brokers say");
}

/// The other broker is gone permanently, and partitions without a leader are not fetched.
#[test]
fn the_id_before_ours_is_believed_of_the_only_broker_in_the_end() {
    let (mut s, right) = mistaken(1);
    metadata(&mut s, Duration::from_secs(25), |_| right.clone());
    assert_eq!(recreated(&events(&mut s)), [0_u32; 0], "it may be behind");
    metadata(&mut s, Duration::from_secs(20), |_| right.clone());
    assert_eq!(recreated(&events(&mut s)), [4]);
}

#[test]
fn growth_after_a_recreation_is_reported_after_it() {
    let (mut s, t) = ready(World::new(1).topic("t", 4));
    let _ = events(&mut s);
    s.listening = false;
    s.world = with_id(&s.world, 77, 2);
    poke(&mut s, t);
    s.run(Duration::from_secs(5));
    s.world.grow("t", 6);
    s.run(Duration::from_secs(5));
    s.listening = true;
    let reported = events(&mut s);
    assert_eq!(recreated(&reported), [2], "{reported:?}");
    assert_eq!(growths(&reported), [(2, 6)], "{reported:?}");
}

#[test]
fn without_ids_fewer_partitions_are_believed_after_five_seconds() {
    // R6
    let (mut s, t) = ready(World::new(1).release(Profile::V2_4).topic("t", 4));
    let new = changed(&s.world, |w| w.topic_mut("t").partitions.truncate(2));
    poke(&mut s, t);
    metadata(&mut s, Duration::from_millis(4900), |_| new.clone());
    assert_eq!((recreated(&events(&mut s)), count(&s.client, t)), (vec![], 4));
    metadata(&mut s, Duration::from_secs(3), |_| new.clone());
    assert_eq!((recreated(&events(&mut s)), count(&s.client, t)), (vec![2], 2));
}

/// Where the deleted partitions are not requested, only probes detect it.
#[test]
fn without_ids_fewer_partitions_show_in_probes_with_a_cursor() {
    let mut world = World::new(1).topic("t", 4);
    world.topic_mut("t").id = Uuid::nil();
    let (mut s, t) = ready(world);
    s.world.topic_mut("t").partitions.truncate(2);
    s.until("it is noticed", |s| count(&s.client, t) == 2);
    assert_eq!(recreated(&events(&mut s)), [2]);
}

#[test]
fn a_topic_that_was_never_there_is_reported_soon_in_a_large_cluster_too() {
    let mut s = Script::new(World::new(5).topic("t", 1));
    s.ready("t");
    s.run(Duration::from_secs(10));
    let _ = events(&mut s);
    s.topic("nosuch");
    let failed = |s: &mut Script| {
        events(s).iter().filter(|e| matches!(e, Event::TopicFailed { .. })).count()
    };
    s.run(Duration::from_millis(1900));
    assert_eq!(failed(&mut s), 0, "it may have been created just now");
    s.run(Duration::from_millis(2100));
    assert_eq!(failed(&mut s), 1);
}
