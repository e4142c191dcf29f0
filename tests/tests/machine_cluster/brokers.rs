use kafka_protocol::messages::{
    ApiKey, DescribeTopicPartitionsRequest, MetadataRequest, MetadataResponse, ProduceRequest,
};
use kavka_core::{Config, Duration, Limits, Probing};
use kavka_tests::script::steps::{changed, count, metadata, ready, warm_up};
use kavka_tests::script::{Script, World};

#[test]
fn a_slow_response_of_the_only_broker_makes_no_loop_of_connections() {
    let (mut s, t) = ready(World::new(1).topic("t", 1));
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    let before = s.connects.len();
    s.run(Duration::from_secs(9));
    // Only a connection for probes beside the batch has a reason.
    let made = s.connects.len() - before;
    assert!((1..=2).contains(&made), "{made} connections");
    s.acknowledge(&requested, 0);
    s.run(Duration::from_secs(5));
    let open = s.connections(1).len();
    assert_eq!(open, 2, "one is for batches and one for probes");
}

#[test]
fn brokers_that_starve_of_metadata_get_requests_again_without_a_fast_loop() {
    // algorithms.md section 1, rule 8
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.topic("t");
    s.manual(ApiKey::Metadata);
    let (end, mut wants_requests) = (s.now() + Duration::from_secs(20), 0);
    while s.now() < end {
        if let Some(requested) = s.take::<MetadataRequest>() {
            wants_requests += 1;
            s.respond(&requested, MetadataResponse::default());
        }
        s.run(Duration::from_millis(1));
    }
    assert!((15..40).contains(&wants_requests), "{wants_requests} Metadata requests in 20 s");
    s.automatic(ApiKey::Metadata);
    s.until("it is ready", |s| s.client.freshness(t).is_some());
}

#[test]
fn a_response_that_throttles_while_no_other_broker_is_known_is_waited_for() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.topic("t");
    s.manual(ApiKey::Metadata);
    let requested = s.expect::<MetadataRequest>();
    let mut body = s.world.metadata(&requested.body).with_throttle_time_ms(3000);
    body.brokers[0].port = 0;
    body.topics.clear();
    s.respond(&requested, body);
    s.automatic(ApiKey::Metadata);
    let start = s.now();
    s.until("it is ready", |s| s.client.freshness(t).is_some());
    let took = start.until(s.now());
    assert!((3000..=4000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(s.connects.len(), 1, "another connection would meet the same broker");
}

/// The longest names that DNS allows, and some whose length is negative in eight bits.
#[test]
fn brokers_with_long_names_are_reached() {
    let lengths = [2, 127, 128, 129, 200, 254, 255];
    let mut world = World::new(lengths.len() as i32).topic("t", lengths.len());
    for (node, length) in world.nodes.iter_mut().zip(lengths).skip(1) {
        node.host = format!("{}{}", node.host, "x".repeat(length - 2));
        assert_eq!(node.host.len(), length);
    }
    let (mut s, t) = ready(world);
    for partition in 0..lengths.len() as u32 {
        warm_up(&mut s, t, partition);
    }
    let nobody = s.connects.iter().filter(|(_, node)| *node < 0).count();
    assert_eq!(nobody, 0, "every name leads to somebody");
}

/// There is no other reason for a request: no probes, no errors.
#[test]
fn metadata_is_requested_again_when_it_is_old_whatever_happens() {
    for age in [3, 10] {
        let world = World::new(1).topic("t", 2);
        let mut config = Config::new(world.bootstrap());
        (config.probing, config.metadata_max_age) = (Probing::Never, Duration::from_secs(age));
        let mut s = Script::with(world, config, &Limits::small());
        let t = s.ready("t");
        s.run(Duration::from_secs(1));
        let (same, start) = (s.world.clone(), s.now());
        let time = Duration::from_secs(10 * age);
        let requested = metadata(&mut s, time, |_| same.clone());
        assert!((9..=10).contains(&requested), "{requested} times in ten times {age} s");
        s.automatic(ApiKey::Metadata);
        s.until("it was asked", |s| s.client.freshness(t).is_some_and(|f| f.confirmed > start));
        let confirmed = s.client.freshness(t).map(|fresh| fresh.confirmed);
        s.world.grow("t", 3);
        s.until("growth is noticed", |s| count(&s.client, t) == 3);
        let took = confirmed.map(|at| at.until(s.now()));
        assert!(took <= Some(Duration::from_secs(age)), "{took:?}");
        assert!(took > Some(Duration::from_secs(age - 1)), "{took:?}");
    }
}

#[test]
fn a_stale_broker_is_not_the_only_one_that_gets_requests() {
    // R4: the only connection leads to a broker whose count is stale.
    let (mut s, t) = ready(World::new(3).topic("t", 4));
    let stale = s.world.clone();
    s.world.grow("t", 6);
    s.until("noticed", |s| count(&s.client, t) == 6);
    let requested_of = s.connects.last().map(|(_, node)| *node);
    let requested_of = requested_of.expect("somebody is connected");
    // From now on that broker returns only four partitions.
    let mut others = 0;
    s.manual(ApiKey::DescribeTopicPartitions);
    for _ in 0..10_000 {
        if let Some(requested) = s.take::<DescribeTopicPartitionsRequest>() {
            let from = if requested.node == requested_of { &stale } else { &s.world };
            let body = from.describe(&requested.body);
            others += usize::from(requested.node != requested_of);
            s.respond(&requested, body);
        }
        s.run(Duration::from_millis(1));
    }
    assert!(others >= 5, "{others} of ten probes went to brokers that are not behind");
    assert_eq!(count(&s.client, t), 6);
}

#[test]
fn a_stale_broker_does_not_bring_old_addresses_back() {
    // R9
    let (mut s, t) = ready(World::new(1).topic("t", 2));
    warm_up(&mut s, t, 0);
    s.run(Duration::from_secs(2));
    let behind = changed(&s.world, |w| w.topic_mut("t").partitions.truncate(1));
    let old = changed(&behind, |w| w.node(1).port = 9777);
    let _ = s.try_produce(t, 9, "x");
    metadata(&mut s, Duration::from_millis(50), |_| behind.clone());
    let _ = s.try_produce(t, 9, "x");
    let before = s.connects.len();
    let requested = metadata(&mut s, Duration::from_secs(2), |_| old.clone());
    assert!(requested > 0);
    s.produce(t, 0, "for the leader");
    s.expect_within::<ProduceRequest>(Duration::from_secs(1));
    let moved: Vec<_> = s.connects[before..].iter().filter(|(_, node)| *node < 0).collect();
    assert!(moved.is_empty(), "to the old address: {moved:?}");
    assert_eq!(count(&s.client, t), 2);
}

#[test]
fn the_only_connection_does_not_stay_with_a_stale_broker() {
    // Seed 24 of simulate: the connection's broker never learns of the other partitions.
    let world = World::new(2).topic("t", 2);
    let config = Config::new(world.bootstrap());
    let mut limits = Limits::small();
    limits.conns = 1;
    let mut s = Script::with(world, config, &limits);
    let t = s.ready("t");
    s.world.grow("t", 3);
    s.until("three are noticed", |s| count(&s.client, t) == 3);
    let behind = changed(&s.world, |w| w.topic_mut("t").partitions.truncate(2));
    let lags = [1, 2].into_iter().find(|node| !s.connections(*node).is_empty());
    let lags = lags.expect("a connection");
    s.world.grow("t", 4);
    s.manual(ApiKey::Metadata);
    s.manual(ApiKey::DescribeTopicPartitions);
    s.until("four are noticed", |s| {
        if let Some(requested) = s.take::<DescribeTopicPartitionsRequest>() {
            let body =
                if requested.node == lags { &behind } else { &s.world }.describe(&requested.body);
            s.respond(&requested, body);
        }
        if let Some(requested) = s.take::<MetadataRequest>() {
            let body =
                if requested.node == lags { &behind } else { &s.world }.metadata(&requested.body);
            s.respond(&requested, body);
        }
        count(&s.client, t) == 4
    });
}
