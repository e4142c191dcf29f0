//! Metadata: when it is requested, from which broker, and what of it is believed.

use kafka_protocol::messages::{ApiKey, FetchRequest, MetadataRequest, ProduceRequest};
use kavka_core::{Config, Duration, Error, Event, Limits, Probing, Start};
use kavka_tests::script::fetch::refused;
use kavka_tests::script::steps::{
    changed, configured, count, events, metadata, poke, ready, warm_up,
};
use kavka_tests::script::{Script, World};
use kavka_tests::sim::Profile;

#[test]
fn m1_a_second_refresh_right_after_bootstrap_is_not_delayed() {
    let (mut s, t) = ready(World::new(1).topic("t", 1));
    s.manual(ApiKey::Metadata);
    // The second response still has news: leaders of partitions that are produced to.
    let pauses = [(0, 20), (0, 20), (80, 120), (160, 240)];
    for (turn, (least, most)) in pauses.into_iter().enumerate() {
        poke(&mut s, t);
        let start = s.now();
        let requested = s.expect::<MetadataRequest>();
        let pause = start.until(s.now()).as_millis();
        assert!((least..=most).contains(&pause), "refresh {turn} after {pause} ms");
        // Nothing new: the next request has to wait.
        let body = s.world.metadata(&requested.body);
        s.respond(&requested, body);
    }
}

#[test]
fn m2_an_older_epoch_is_refused_and_an_equal_one_taken() {
    let mut world = World::new(2).topic("t", 1);
    world.partition("t", 0).epoch = 100;
    let (mut s, t) = ready(world);
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(requested.node, 1);
    let mut lower = 3;
    let stale = changed(&s.world, |w| {
        w.partition("t", 0).epoch = 99;
        w.partition("t", 0).leader = 2;
    });
    let current = s.world.clone();
    s.refuse(&requested, 6);
    metadata(&mut s, Duration::from_secs(5), |_| {
        if lower == 0 {
            return current.clone();
        }
        lower -= 1;
        stale.clone()
    });
    assert_eq!(lower, 0, "it asks again when somebody contradicts");
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(requested.node, 1);
}

#[test]
fn m3_a_topic_that_was_away_does_not_come_back_with_an_older_epoch() {
    let mut world = World::new(2).topic("t", 1);
    world.partition("t", 0).epoch = 100;
    let (mut s, t) = ready(world);
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    let current = s.world.clone();
    let away = changed(&current, |w| w.topic_mut("t").error = 3);
    let older = changed(&current, |w| {
        (w.partition("t", 0).epoch, w.partition("t", 0).leader) = (99, 2);
    });
    s.refuse(&requested, 6);
    let mut responses = 0;
    metadata(&mut s, Duration::from_secs(5), |_| {
        responses += 1;
        [&away, &away, &away, &older, &older, &older]
            .get(responses - 1)
            .map_or(&current, |w| *w)
            .clone()
    });
    assert!(responses > 6, "{responses} responses: it asks again when somebody contradicts");
    assert_eq!((count(&s.client, t), s.expect::<ProduceRequest>().node), (1, 1));
}

#[test]
fn m4_a_newer_epoch_seen_elsewhere_makes_the_leader_unknown() {
    let mut world = World::new(2).topic("t", 1);
    world.partition("t", 0).epoch = 100;
    let (mut s, t) = ready(world);
    let old = s.world.clone();
    // Leader 1 responds to ListOffsets, and names the epoch that began meanwhile.
    s.world.lead("t", 0, 2);
    let new = s.world.clone();
    let now = s.now();
    s.client.assign(now, t, 0, Start::Latest).expect("assigned");
    metadata(&mut s, Duration::from_millis(500), |_| old.clone());
    assert_eq!(count(&s.client, t), 1);
    s.none::<FetchRequest>("who leads is not known");
    metadata(&mut s, Duration::from_secs(2), |_| new.clone());
    let requested = s.expect::<FetchRequest>();
    assert_eq!(
        (requested.node, requested.body.topics[0].partitions[0].current_leader_epoch),
        (2, 101)
    );
}

/// Brokers before 2.4 return epochs that are wrong during reassignments.
#[test]
fn m5_epochs_of_old_metadata_versions_mean_nothing() {
    let mut world = World::new(2).topic("t", 1).release(Profile::V2_4);
    world.at_most.push((ApiKey::Metadata, 8));
    world.partition("t", 0).epoch = 100;
    let (mut s, t) = ready(world);
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    (s.world.partition("t", 0).epoch, s.world.partition("t", 0).leader) = (99, 2);
    let start = s.now();
    s.refuse(&requested, 6);
    assert_eq!(s.expect::<ProduceRequest>().node, 2);
    let took = start.until(s.now());
    let range = Duration::from_millis(20)..Duration::from_millis(200);
    assert!(range.contains(&took), "after a pause, and one response: {took:?}");
}

#[test]
fn m6_a_first_response_without_leaders_is_requested_again_by_itself() {
    let mut world = World::new(1).topic("t", 1);
    world.partition("t", 0).leader = -1;
    world.partition("t", 0).error = 5;
    let (mut s, t) = ready(world);
    s.produce(t, 0, "a");
    s.run(Duration::from_secs(3));
    (s.world.partition("t", 0).leader, s.world.partition("t", 0).error) = (1, 0);
    let start = s.now();
    s.expect::<ProduceRequest>();
    let took = start.until(s.now()).as_millis();
    assert!((1..=1300).contains(&took), "after {took} ms");
}

#[test]
fn m7_a_topic_missing_for_a_moment_stays() {
    // R7
    for code in [3, 5, 7] {
        let (mut s, t) = ready(World::new(1).topic("t", 4));
        s.run(Duration::from_secs(10));
        poke(&mut s, t);
        s.world.topic_mut("t").error = code;
        s.run(Duration::from_secs(4));
        assert_eq!(count(&s.client, t), 4, "code {code}");
        let reported = events(&mut s);
        let failed = reported.iter().any(|e| matches!(e, Event::TopicFailed { .. }));
        assert!(!failed, "code {code}: {reported:?}");
        s.world.topic_mut("t").error = 0;
        s.produce(t, 3, "a");
        s.expect::<ProduceRequest>();
    }
}

#[test]
fn m8_a_refusing_leader_that_metadata_keeps_naming_makes_no_fast_loop() {
    let (mut s, parts) = {
        let (mut s, t) = ready(World::new(1).topic("t", 40));
        let now = s.now();
        for partition in 0..40 {
            s.client.assign(now, t, partition, Start::Offset(0)).unwrap();
        }
        (s, 40)
    };
    s.manual(ApiKey::Metadata);
    let (end, mut wants_requests) = (s.now() + Duration::from_secs(30), 0);
    while s.now() < end {
        if let Some(requested) = s.take::<MetadataRequest>() {
            wants_requests += 1;
            let body = s.world.metadata(&requested.body);
            s.respond(&requested, body);
        }
        if let Some(requested) = s.take::<FetchRequest>() {
            let refused = (0..parts).map(|p| refused(p, 6));
            s.give(&requested, 0, refused.collect());
        }
        s.run(Duration::from_millis(1));
    }
    assert!((20..60).contains(&wants_requests), "{wants_requests} Metadata requests in 30 s");
}

#[test]
fn m9_a_passing_error_of_a_topic_holds_nothing_up() {
    for (code, rounds) in [(3, 30), (5, 30), (7, 30), (-1, 3)] {
        let (mut s, t) = ready(World::new(1).topic("t", 4));
        (0..4).for_each(|partition| warm_up(&mut s, t, partition));
        s.world.topic_mut("t").error = code;
        for round in 0..rounds {
            poke(&mut s, t);
            s.produce(t, round % 4, "a");
            let requested = s.expect_within::<ProduceRequest>(Duration::from_millis(10));
            s.acknowledge(&requested, 0);
            s.run(Duration::from_millis(100));
        }
        assert_eq!(s.delivered().len(), rounds as usize, "code {code}");
        let reported = events(&mut s);
        let failed = reported.iter().any(|e| matches!(e, Event::TopicFailed { .. }));
        assert!(!failed, "code {code}: {reported:?}");
    }
}

/// All brokers are replaced, one by one, by brokers with other ids and addresses.
#[test]
fn m10_a_cluster_whose_brokers_are_replaced_one_by_one_is_followed() {
    let (mut s, t) = ready(World::new(3).topic("t", 1));
    for old in 1..=3 {
        let mut new = s.world.node(old).clone();
        (new.id, new.host, new.port) = (old + 10, format!("c{old}"), new.port + 100);
        s.world.nodes.push(new);
        s.world.lead("t", 0, old + 10);
        s.world.node(old).up = false;
        poke(&mut s, t);
        s.produce(t, 0, "a");
        let requested = loop {
            let requested = s.expect::<ProduceRequest>();
            if requested.node == old + 10 {
                break requested;
            }
            s.refuse(&requested, 6);
        };
        s.acknowledge(&requested, 0);
        s.run(Duration::from_secs(2));
        assert_eq!(s.connections(old), [], "to broker {old}, which nobody names any more");
    }
    let before = s.connects.len();
    s.run(Duration::from_secs(60));
    let strays: Vec<_> = s.connects[before..].iter().filter(|(_, node)| *node < 11).collect();
    assert!(strays.is_empty(), "to brokers of old: {strays:?}");
    assert_eq!(s.delivered().len(), 3);
}

#[test]
fn m11_a_broker_that_returns_while_it_is_being_removed_is_usable() {
    let (mut s, t) = ready(World::new(2).topic("t", 2));
    s.produce(t, 1, "a");
    let held = s.expect::<ProduceRequest>();
    assert_eq!(held.node, 2);
    // Metadata leaves it out while a response from it is awaited ...
    s.world.lead("t", 1, 1);
    s.world.node(2).up = false;
    poke(&mut s, t);
    s.run(Duration::from_millis(300));
    assert_eq!(s.connections(2), [held.conn], "kept for the response");
    // ... and names it again before that response arrived.
    s.world.lead("t", 1, 2);
    s.world.node(2).up = true;
    poke(&mut s, t);
    s.run(Duration::from_secs(1));
    s.acknowledge(&held, 0);
    for offset in 1..4 {
        s.produce(t, 1, "b");
        let requested = s.expect_within::<ProduceRequest>(Duration::from_millis(100));
        assert_eq!(requested.node, 2);
        s.acknowledge(&requested, offset);
    }
    // One for probes may exist beside the one for batches.
    let conns = s.connections(2).len();
    assert!(s.delivered().len() == 4 && (1..=2).contains(&conns), "{conns} connections");
}

#[test]
fn m12_when_all_known_brokers_are_gone_the_bootstrap_list_is_used() {
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
    // New brokers that are not in the old list; the second bootstrap address is one of them.
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
fn m13_two_brokers_behind_one_address_stay_two() {
    let mut world = World::new(2).topic("t", 2);
    let first = world.node(1).clone();
    let second = world.node(2);
    (second.host, second.port) = (first.host, first.port);
    let (mut s, t) = ready(world);
    let mut conns = Vec::new();
    for partition in [0, 1, 0, 1] {
        s.produce(t, partition, "a");
        let requested = s.expect::<ProduceRequest>();
        conns.push(requested.conn);
        s.acknowledge(&requested, 0);
    }
    assert!(conns[0] != conns[1] && conns[..2] == conns[2..], "{conns:?}");
    assert_eq!(s.delivered().len(), 4);
}

#[test]
fn m14_who_is_silent_by_request_or_busy_gets_requests_last() {
    let mut s = configured(World::new(3).topic("t", 3), |c| c.probing = Probing::Never);
    let t = s.ready("t");
    for partition in 0..3 {
        warm_up(&mut s, t, partition);
    }
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    let quiet = Script::produce_response(&requested, 0, 1).with_throttle_time_ms(20_000);
    s.respond(&requested, quiet);
    s.produce(t, 1, "held");
    s.expect::<ProduceRequest>();
    // Broker 1 throttles, 2 owes a response to a batch: it has to be 3, every time.
    s.manual(ApiKey::Metadata);
    for turn in 0..6 {
        poke(&mut s, t);
        let requested = s.expect_within::<MetadataRequest>(Duration::from_secs(2));
        assert_eq!(requested.node, 3, "request {turn}");
        let body = s.world.metadata(&requested.body);
        s.respond(&requested, body);
    }
}

#[test]
fn m15_a_topic_missing_for_long_is_reported_once_and_comes_back() {
    // R7
    let (mut s, t) = ready(World::new(1).topic("t", 4));
    s.run(Duration::from_secs(10));
    poke(&mut s, t);
    s.world.topic_mut("t").error = 3;
    s.run(Duration::from_millis(4900));
    assert!(!events(&mut s).iter().any(|e| matches!(e, Event::TopicFailed { .. })), "too soon");
    s.run(Duration::from_secs(25));
    let failed = |reported: &[Event<'_>]| {
        let unknown = Error::Broker(kavka_core::wire::ErrorCode(3));
        let gone =
            |e: &&Event<'_>| matches!(e, Event::TopicFailed { error, .. } if *error == unknown);
        reported.iter().filter(gone).count()
    };
    assert_eq!(failed(&events(&mut s)), 1);
    s.world.topic_mut("t").error = 0;
    s.run(Duration::from_secs(3));
    s.produce(t, 3, "a");
    s.expect::<ProduceRequest>();
}

#[test]
fn m15_how_many_brokers_there_are_matters_only_to_a_topic_that_was_seen() {
    // Twelve responses take about nine seconds, three of them less than two.
    let failed =
        |s: &mut Script| events(s).iter().any(|event| matches!(event, Event::TopicFailed { .. }));
    let mut s = Script::new(World::new(12));
    s.topic("t");
    s.run(Duration::from_millis(1900));
    assert!(!failed(&mut s), "too soon");
    s.run(Duration::from_millis(1300));
    assert!(failed(&mut s), "nobody can contradict, and it is not reported");

    let (mut s, t) = ready(World::new(12).topic("t", 4));
    poke(&mut s, t);
    s.world.topic_mut("t").error = 3;
    s.run(Duration::from_secs(7));
    assert!(!failed(&mut s), "fewer brokers have responded than there are");
    s.run(Duration::from_secs(13));
    assert!(failed(&mut s), "all have responded");
}

#[test]
fn m16_a_leader_that_is_no_known_broker_is_requested_again() {
    let mut world = World::new(3).topic("t", 1);
    world.node(3).up = false;
    let (mut s, t) = ready(world);
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    s.world.lead("t", 0, 3);
    s.manual(ApiKey::Metadata);
    s.refuse(&requested, 6);
    let unnamed = s.world.clone();
    s.world.node(3).up = true;
    let mut left = 4;
    let current = s.world.clone();
    let requested = metadata(&mut s, Duration::from_secs(6), |_| {
        if left == 0 {
            return current.clone();
        }
        left -= 1;
        unnamed.clone()
    });
    assert!((5..12).contains(&requested), "{requested} Metadata requests");
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
