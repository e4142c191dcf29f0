use std::time::Duration;

use kafka_protocol::messages::{ApiKey, MetadataRequest, ProduceRequest};
use kavka_core::Event;
use kavka_tests::script::World;

use crate::support::{changed, events, metadata, ready};

#[test]
fn an_older_epoch_is_refused_and_an_equal_one_taken() {
    // [M2] [E13]
    let mut world = World::new(2).topic("t", 1);
    world.partition("t", 0).epoch = 100;
    let (mut s, t) = ready(world);
    s.produce(t, 0, "a");
    let asked = s.expect::<ProduceRequest>();
    assert_eq!(asked.node, 1);
    let mut lower = 3;
    let stale = changed(&s.world, |w| {
        w.partition("t", 0).epoch = 99;
        w.partition("t", 0).leader = 2;
    });
    let current = s.world.clone();
    s.refuse(&asked, 6);
    metadata(&mut s, Duration::from_secs(5), |_| {
        if lower == 0 {
            return current.clone();
        }
        lower -= 1;
        stale.clone()
    });
    assert_eq!(lower, 0, "it asks again when somebody contradicts");
    let asked = s.expect::<ProduceRequest>();
    assert_eq!(asked.node, 1);
}

#[test]
fn an_epoch_that_all_say_is_lower_is_taken_in_the_end() {
    // algorithms.md section 2, rule 4: an unclean election lost the higher epoch.
    let mut world = World::new(2).topic("t", 1);
    world.partition("t", 0).epoch = 100;
    let (mut s, t) = ready(world);
    s.produce(t, 0, "a");
    let asked = s.expect::<ProduceRequest>();
    (s.world.partition("t", 0).epoch, s.world.partition("t", 0).leader) = (7, 2);
    s.refuse(&asked, 6);
    let start = s.now();
    loop {
        let asked = s.expect::<ProduceRequest>();
        if asked.node == 2 {
            break;
        }
        s.refuse(&asked, 6);
    }
    assert!(start.until(s.now()) < Duration::from_secs(15));
}

#[test]
fn a_cluster_without_leaders_for_long_keeps_the_last_epoch() {
    // [E10]
    let mut world = World::new(2).topic("t", 1);
    world.partition("t", 0).epoch = 100;
    let (mut s, t) = ready(world);
    s.produce(t, 0, "a");
    let asked = s.expect::<ProduceRequest>();
    (s.world.partition("t", 0).epoch, s.world.partition("t", 0).leader) = (-1, -1);
    s.refuse(&asked, 6);
    s.run(Duration::from_secs(20));
    assert!(s.take::<ProduceRequest>().is_none());
    // An old epoch is an old epoch still.
    (s.world.partition("t", 0).epoch, s.world.partition("t", 0).leader) = (99, 2);
    s.run(Duration::from_millis(500));
    assert!(s.take::<ProduceRequest>().is_none(), "epoch 99 was taken after 100");
    (s.world.partition("t", 0).epoch, s.world.partition("t", 0).leader) = (101, 1);
    assert_eq!(s.expect::<ProduceRequest>().node, 1);
}

#[test]
fn a_leader_that_is_no_known_broker_is_asked_for_again() {
    // [M16]
    let mut world = World::new(3).topic("t", 1);
    world.node(3).up = false;
    let (mut s, t) = ready(world);
    s.produce(t, 0, "a");
    let asked = s.expect::<ProduceRequest>();
    s.world.lead("t", 0, 3);
    s.manual(ApiKey::Metadata);
    s.refuse(&asked, 6);
    let unnamed = s.world.clone();
    s.world.node(3).up = true;
    let mut left = 4;
    let current = s.world.clone();
    let asked = metadata(&mut s, Duration::from_secs(6), |_| {
        if left == 0 {
            return current.clone();
        }
        left -= 1;
        unnamed.clone()
    });
    assert!((5..12).contains(&asked), "{asked} Metadata requests");
    assert_eq!(s.expect::<ProduceRequest>().node, 3);
}

#[test]
fn a_first_answer_without_leaders_is_asked_again_by_itself() {
    // [M6]
    let mut world = World::new(1).topic("t", 1);
    world.partition("t", 0).leader = -1;
    world.partition("t", 0).error = 5;
    let (mut s, t) = ready(world);
    s.produce(t, 0, "a");
    s.run(Duration::from_secs(3));
    (s.world.partition("t", 0).leader, s.world.partition("t", 0).error) = (1, 0);
    let start = s.now();
    s.expect::<ProduceRequest>();
    assert!(start.until(s.now()) <= Duration::from_millis(1300));
}

#[test]
fn a_refusing_leader_that_metadata_goes_on_naming_makes_no_fast_loop() {
    // [M8]
    let (mut s, parts) = {
        let (mut s, t) = ready(World::new(1).topic("t", 40));
        let now = s.now();
        for partition in 0..40 {
            s.client.assign(now, t, partition, kavka_core::Start::Offset(0)).unwrap();
        }
        (s, 40)
    };
    s.manual(ApiKey::Metadata);
    let (end, mut asks) = (s.now() + Duration::from_secs(30), 0);
    while s.now() < end {
        if let Some(asked) = s.take::<MetadataRequest>() {
            asks += 1;
            let body = s.world.metadata(&asked.body);
            s.answer(&asked, body);
        }
        if let Some(asked) = s.take::<kafka_protocol::messages::FetchRequest>() {
            let refused = (0..parts).map(|p| kavka_tests::script::fetch::refused(p, 6));
            s.give(&asked, 0, refused.collect());
        }
        s.run(Duration::from_millis(1));
    }
    assert!((20..60).contains(&asks), "{asks} Metadata requests in 30 s");
}

#[test]
fn a_move_is_told_once() {
    let (mut s, t) = ready(World::new(2).topic("t", 1));
    s.produce(t, 0, "a");
    let asked = s.expect::<ProduceRequest>();
    s.world.lead("t", 0, 2);
    s.refuse_with_leader(&asked, 6, (2, 1));
    let asked = s.expect::<ProduceRequest>();
    assert_eq!(asked.node, 2);
    s.acknowledge(&asked, 0);
    s.run(Duration::from_secs(3));
    let told = events(&mut s);
    let moved = |e: &&Event<'_>| matches!(e, Event::LeaderMoved { partition: 0, epoch: 1, .. });
    assert_eq!(told.iter().filter(moved).count(), 1, "{told:?}");
}
