use std::time::Duration;

use kafka_protocol::messages::{ApiKey, ProduceRequest};
use kavka_core::{Error, Event};
use kavka_tests::script::{Script, World};
use kavka_tests::sim::Profile;
use uuid::Uuid;

use crate::support::{changed, count, events, metadata, ready};

fn recreated(told: &[Event<'_>]) -> Vec<u32> {
    let it = |event: &Event<'_>| match *event {
        Event::TopicRecreated { partitions, .. } => Some(partitions),
        _ => None,
    };
    told.iter().filter_map(it).collect()
}

fn with_id(world: &World, id: u128, partitions: usize) -> World {
    changed(world, |w| {
        w.topic_mut("t").id = Uuid::from_u128(id);
        w.topic_mut("t").partitions.truncate(partitions);
        for p in &mut w.topic_mut("t").partitions {
            p.epoch = 0;
        }
    })
}

/// Makes the client ask for metadata.
fn poke(s: &mut Script, topic: kavka_core::TopicId) {
    let _ = s.try_produce(topic, 1000, "x");
}

#[test]
fn another_id_from_one_broker_is_believed_after_two_seconds_and_its_lower_epochs_with_it() {
    // R5 (c), [T1]
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
fn another_id_is_believed_at_once_when_a_leader_refuses_ours() {
    // R5 (a)
    let (mut s, t) = ready(World::new(1).topic("t", 4));
    s.produce(t, 0, "a");
    let asked = s.expect::<ProduceRequest>();
    s.world = with_id(&s.world, 77, 4);
    let start = s.now();
    s.refuse(&asked, 100);
    s.until("it is believed", |s| s.client.freshness(t).unwrap().generation == 1);
    assert!(start.until(s.now()) < Duration::from_millis(300));
}

#[test]
fn the_id_before_ours_is_that_of_a_broker_behind() {
    // R5: ids never come back.
    let (mut s, t) = ready(World::new(1).topic("t", 4));
    let old = s.world.clone();
    let new = with_id(&s.world, 77, 4);
    s.world = new.clone();
    poke(&mut s, t);
    metadata(&mut s, Duration::from_secs(4), |_| new.clone());
    assert_eq!(recreated(&events(&mut s)), [4]);
    s.world = old.clone();
    poke(&mut s, t);
    let asked = metadata(&mut s, Duration::from_secs(20), |_| old.clone());
    assert!(asked < 30, "{asked} Metadata requests");
    let told = events(&mut s);
    assert_eq!(recreated(&told), [0_u32; 0]);
    assert!(told.iter().any(|e| matches!(e, Event::BrokerStale { .. })), "{told:?}");
    assert_eq!(
        s.client.freshness(t).unwrap().id,
        kavka_core::wire::Uuid(Uuid::from_u128(77).into_bytes())
    );
}

#[test]
fn growth_before_a_recreation_was_told_is_part_of_that() {
    let (mut s, t) = ready(World::new(1).topic("t", 4));
    let _ = events(&mut s);
    s.listening = false;
    s.world = with_id(&s.world, 77, 2);
    poke(&mut s, t);
    s.run(Duration::from_secs(5));
    s.world.grow("t", 6);
    s.run(Duration::from_secs(5));
    s.listening = true;
    let told = events(&mut s);
    assert_eq!(recreated(&told), [6], "{told:?}");
    assert_eq!(crate::support::growths(&told), [], "{told:?}");
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

#[test]
fn a_topic_missing_for_a_moment_stays() {
    // R7, [M7] [M9] [P2]
    for code in [3, 5, 7] {
        let (mut s, t) = ready(World::new(1).topic("t", 4));
        poke(&mut s, t);
        s.world.topic_mut("t").error = code;
        s.run(Duration::from_secs(4));
        assert_eq!(count(&s.client, t), 4, "code {code}");
        let told = events(&mut s);
        let failed = told.iter().any(|e| matches!(e, Event::TopicFailed { .. }));
        assert!(!failed, "code {code}: {told:?}");
        s.world.topic_mut("t").error = 0;
        s.produce(t, 3, "a");
        s.expect::<ProduceRequest>();
    }
}

#[test]
fn a_topic_missing_for_long_is_told_once_and_comes_back() {
    // R7, [M15]
    let (mut s, t) = ready(World::new(1).topic("t", 4));
    poke(&mut s, t);
    s.world.topic_mut("t").error = 3;
    s.run(Duration::from_secs(30));
    let failed = |told: &[Event<'_>]| {
        let unknown = Error::Broker(kavka_core::wire::ErrorCode(3));
        let gone =
            |e: &&Event<'_>| matches!(e, Event::TopicFailed { error, .. } if *error == unknown);
        told.iter().filter(gone).count()
    };
    assert_eq!(failed(&events(&mut s)), 1);
    s.world.topic_mut("t").error = 0;
    s.run(Duration::from_secs(3));
    s.produce(t, 3, "a");
    s.expect::<ProduceRequest>();
}

#[test]
fn a_topic_that_was_never_there_is_told_soon_in_a_large_cluster_too() {
    let mut s = Script::new(World::new(5));
    s.topic("nosuch");
    s.run(Duration::from_secs(4));
    let told = events(&mut s);
    assert_eq!(told.iter().filter(|e| matches!(e, Event::TopicFailed { .. })).count(), 1);
}

#[test]
fn a_topic_without_partitions_is_no_success() {
    // [M17]
    let mut s = Script::new(World::new(1).topic("t", 0));
    let t = s.topic("t");
    s.run(Duration::from_secs(2));
    assert!(s.client.freshness(t).is_none());
    s.world.grow("t", 1);
    s.until("it is ready", |s| s.client.freshness(t).is_some());
}
