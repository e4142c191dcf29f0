use kafka_protocol::messages::{ApiKey, FetchRequest, MetadataRequest, ProduceRequest};
use kavka_core::{Config, Duration, Error, Event, Limits};
use kavka_tests::script::fetch::refused;
use kavka_tests::script::steps::{changed, count, events, metadata, poke, ready};
use kavka_tests::script::{Script, World};

#[test]
fn m2_an_older_epoch_is_refused_and_an_equal_one_taken() {
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
fn m6_a_first_answer_without_leaders_is_asked_again_by_itself() {
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
fn m7_a_topic_missing_for_a_moment_stays() {
    // R7
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
fn m8_a_refusing_leader_that_metadata_goes_on_naming_makes_no_fast_loop() {
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
        if let Some(asked) = s.take::<FetchRequest>() {
            let refused = (0..parts).map(|p| refused(p, 6));
            s.give(&asked, 0, refused.collect());
        }
        s.run(Duration::from_millis(1));
    }
    assert!((20..60).contains(&asks), "{asks} Metadata requests in 30 s");
}

#[test]
fn m12_when_all_known_brokers_are_gone_the_bootstrap_list_is_asked() {
    let mut world = World::new(3).topic("t", 1);
    let mut config = Config::new("b1:9001,b2:9002");
    config.linger = Duration::ZERO;
    world.lead("t", 0, 3);
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    s.run(Duration::from_secs(3));
    for node in 1..=3 {
        s.kill(node);
    }
    let before = s.connects.len();
    s.run(Duration::from_secs(30));
    let tries = s.connects.len() - before;
    assert!((30..400).contains(&tries), "{tries} attempts in 30 s");
    // New brokers, of which the old list knows none; the second bootstrap address is one of them.
    for node in &mut s.world.nodes {
        node.id += 10;
        node.up = true;
    }
    s.world.nodes[0].port = 9101;
    s.world.nodes[2].port = 9103;
    s.world.lead("t", 0, 13);
    s.produce(t, 0, "a");
    assert_eq!(s.expect::<ProduceRequest>().node, 13);
    s.run(Duration::from_secs(2));
    assert_eq!(count(&s.client, t), 1);
}

#[test]
fn m15_a_topic_missing_for_long_is_told_once_and_comes_back() {
    // R7
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
fn m16_a_leader_that_is_no_known_broker_is_asked_for_again() {
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
fn m17_a_topic_without_partitions_is_no_success() {
    let mut s = Script::new(World::new(1).topic("t", 0));
    let t = s.topic("t");
    s.run(Duration::from_secs(2));
    assert!(s.client.freshness(t).is_none());
    s.world.grow("t", 1);
    s.until("it is ready", |s| s.client.freshness(t).is_some());
}
