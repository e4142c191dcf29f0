use std::time::Duration;

use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{
    ApiKey, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, ListOffsetsRequest,
    ListOffsetsResponse, ProduceRequest,
};
use kavka_core::{Config, Event, Limits, Signal};
use kavka_tests::script::{Script, World};
use kavka_tests::sim::Profile;

use kavka_tests::script::steps::{changed, count, events, growths, metadata, ready, warm_up};

fn old() -> World {
    World::new(1).release(Profile::V2_8).topic("t", 3)
}

#[test]
fn growth_is_noticed_within_a_second_for_less_than_300_bytes_a_second() {
    for world in [World::new(3).topic("t", 3), World::new(3).release(Profile::V2_8).topic("t", 3)] {
        let (mut s, t) = ready(world);
        let before = s.client.stats().probes;
        s.run(Duration::from_secs(100));
        let after = s.client.stats().probes;
        assert!((95..=101).contains(&(after.requests - before.requests)), "{after:?}");
        let bytes = after.bytes_in + after.bytes_out - before.bytes_in - before.bytes_out;
        assert!((8_000..30_000).contains(&bytes), "{bytes} bytes in 100 s");
        let _ = events(&mut s);
        let before = after.requests;
        s.world.grow("t", 5);
        let start = s.now();
        s.until("the growth is noticed", |s| count(&s.client, t) == 5);
        assert!(start.until(s.now()) <= Duration::from_millis(1001), "{:?}", s.now());
        let probes = s.client.stats().probes.requests - before;
        assert_eq!(probes, 1, "not before it is time for a probe");
        assert_eq!(growths(&events(&mut s)), [(3, 5)]);
    }
}

#[test]
fn several_growths_before_the_application_looks_are_reported_once_and_whole() {
    // R10
    let (mut s, t) = ready(World::new(1).topic("t", 3));
    let _ = events(&mut s);
    s.listening = false;
    for partitions in [4, 7, 9] {
        s.world.grow("t", partitions);
        s.run(Duration::from_secs(3));
        assert_eq!(count(&s.client, t), partitions as u32);
    }
    s.listening = true;
    assert_eq!(growths(&events(&mut s)), [(3, 9)]);
    s.world.grow("t", 10);
    s.run(Duration::from_secs(3));
    assert_eq!(growths(&events(&mut s)), [(9, 10)]);
}

#[test]
fn different_news_of_a_topic_before_the_application_looks_are_all_reported() {
    let (mut s, t) = ready(World::new(1).topic("t", 4));
    let _ = events(&mut s);
    s.listening = false;
    s.world.grow("t", 5);
    s.run(Duration::from_secs(3));
    assert_eq!(count(&s.client, t), 5);
    let behind = changed(&s.world, |w| w.topic_mut("t").partitions.truncate(2));
    let _ = s.try_produce(t, 9, "x");
    metadata(&mut s, Duration::from_secs(3), |_| behind.clone());
    s.listening = true;
    let reported = events(&mut s);
    assert_eq!(growths(&reported), [(4, 5)], "{reported:?}");
    assert!(reported.iter().any(|e| matches!(e, Event::BrokerStale { .. })), "{reported:?}");
}

/// Added partitions are read from another position than existing ones.
#[test]
fn growth_before_the_topic_was_reported_is_reported_after_it() {
    let mut s = Script::new(World::new(1).topic("t", 3));
    s.listening = false;
    let t = s.ready("t");
    s.world.grow("t", 6);
    s.until("the growth is noticed", |s| count(&s.client, t) == 6);
    s.listening = true;
    let reported = events(&mut s);
    assert!(matches!(reported[0], Event::TopicReady { partitions: 3, .. }), "{reported:?}");
    assert_eq!(growths(&reported), [(3, 6)], "{reported:?}");
}

#[test]
fn a_refused_cursor_makes_other_probes_take_over() {
    // freshness.md, S2 (g): a proxy without cursors.
    let (mut s, t) = ready(World::new(1).topic("t", 3));
    s.manual(ApiKey::DescribeTopicPartitions);
    let requested = s.expect::<DescribeTopicPartitionsRequest>();
    let topic = DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(requested.body.topics[0].name.clone()))
        .with_error_code(42);
    s.respond(&requested, DescribeTopicPartitionsResponse::default().with_topics(vec![topic]));
    s.run(Duration::from_secs(3));
    assert_eq!(s.waiting::<DescribeTopicPartitionsRequest>(), 0);
    assert_eq!(s.client.freshness(t).unwrap().by.signal, Signal::ListOffsets);
}

#[test]
fn a_passing_error_of_a_probe_does_not_end_probing_by_it() {
    for code in [-1, 7, 29] {
        let (mut s, _) = ready(World::new(1).topic("t", 3));
        s.manual(ApiKey::DescribeTopicPartitions);
        let requested = s.expect::<DescribeTopicPartitionsRequest>();
        let topic = DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(requested.body.topics[0].name.clone()))
            .with_error_code(code);
        s.respond(&requested, DescribeTopicPartitionsResponse::default().with_topics(vec![topic]));
        s.run(Duration::from_secs(3));
        assert!(s.waiting::<DescribeTopicPartitionsRequest>() > 0, "code {code}");
    }
}

#[test]
fn a_negative_cursor_is_no_news() {
    // freshness.md, S2 (a)
    let (mut s, t) = ready(World::new(1).topic("t", 3));
    s.manual(ApiKey::DescribeTopicPartitions);
    s.manual(ApiKey::Metadata);
    let requested = s.expect::<DescribeTopicPartitionsRequest>();
    let name = requested.body.topics[0].name.clone();
    let topic = DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(name.clone()))
        .with_topic_id(s.world.topics[0].id);
    let cursor = Cursor::default().with_topic_name(name).with_partition_index(i32::MIN);
    let body = DescribeTopicPartitionsResponse::default()
        .with_topics(vec![topic])
        .with_next_cursor(Some(cursor));
    s.respond(&requested, body);
    s.run(Duration::from_millis(500));
    assert_eq!(s.waiting::<kafka_protocol::messages::MetadataRequest>(), 0);
    assert_eq!(count(&s.client, t), 3);
}

/// Responds to ListOffsets with these codes for the last known partition and the one after it.
fn judge(s: &mut Script, last: i16, beyond: i16) {
    let Some(requested) = s.take::<ListOffsetsRequest>() else { return };
    let topics = requested.body.topics.iter().map(|topic| {
        let parts = topic.partitions.iter().map(|p| {
            let code = if p.partition_index == 2 { last } else { beyond };
            ListOffsetsPartitionResponse::default()
                .with_partition_index(p.partition_index)
                .with_error_code(code)
        });
        // Brokers return partitions in any order.
        let mut parts: Vec<_> = parts.collect();
        parts.reverse();
        ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(parts)
    });
    let body = ListOffsetsResponse::default().with_topics(topics.collect());
    s.respond(&requested, body);
}

#[test]
fn any_response_but_unknown_for_the_next_index_is_growth() {
    for beyond in [0, 5, 6, 9, 78] {
        let (mut s, t) = ready(old());
        s.manual(ApiKey::ListOffsets);
        s.world.grow("t", 4);
        for _ in 0..2000 {
            judge(&mut s, 6, beyond);
            s.run(Duration::from_millis(1));
        }
        assert_eq!(count(&s.client, t), 4, "code {beyond}");
    }
}

#[test]
fn a_self_test_that_always_fails_keeps_metadata_within_its_budget() {
    let mut world = old();
    world.grow("t", 3);
    let mut config = Config::new(world.bootstrap());
    config.metadata_budget = 100;
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    s.manual(ApiKey::ListOffsets);
    s.run(Duration::from_secs(10));
    s.manual(ApiKey::Metadata);
    let (mut wants_requests, end) = (0, s.now() + Duration::from_secs(70));
    while s.now() < end {
        judge(&mut s, 3, 3);
        if let Some(requested) = s.take::<kafka_protocol::messages::MetadataRequest>() {
            wants_requests += 1;
            let response = s.world.metadata(&requested.body);
            s.respond(&requested, response);
        }
        s.run(Duration::from_millis(5));
    }
    // 350 bytes each.
    assert!((10..=21).contains(&wants_requests), "{wants_requests} Metadata requests in 70 s");
    s.automatic(ApiKey::Metadata);
    s.world.grow("t", 4);
    for _ in 0..1000 {
        judge(&mut s, 3, 3);
        s.run(Duration::from_millis(5));
    }
    assert_eq!(count(&s.client, t), 4);
}

#[test]
fn access_refused_for_one_topic_leaves_the_probes_of_others() {
    let mut s = Script::new(old().topic("u", 3));
    let (_, u) = (s.ready("t"), s.ready("u"));
    s.manual(ApiKey::ListOffsets);
    let refuse = |s: &mut Script| {
        let Some(requested) = s.take::<ListOffsetsRequest>() else { return 0 };
        let wants_requests = requested.body.topics.iter().any(|t| t.name.as_str() == "u");
        let topics = requested.body.topics.iter().map(|topic| {
            let refused = topic.name.as_str() == "t";
            let parts = topic.partitions.iter().map(|p| {
                let code = if refused { 29 } else { [6, 3][usize::from(p.partition_index > 2)] };
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(p.partition_index)
                    .with_error_code(code)
            });
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(parts.collect())
        });
        let body = ListOffsetsResponse::default().with_topics(topics.collect());
        s.respond(&requested, body);
        usize::from(wants_requests)
    };
    let mut probes = 0;
    for _ in 0..1000 {
        probes += refuse(&mut s);
        s.run(Duration::from_millis(10));
    }
    assert!(probes >= 8, "{probes} probes of the other topic in 10 s");
    assert_eq!(s.client.freshness(u).unwrap().by.signal, Signal::ListOffsets);
}

#[test]
fn a_busy_client_probes_faster_but_below_its_share_of_requests() {
    for topics in [1, 4] {
        let mut world = World::new(1).topic("t", 1);
        for n in 1..topics {
            world = world.topic(&format!("t{n}"), 1);
        }
        let (mut s, t) = ready(world);
        for n in 1..topics {
            s.ready(&format!("t{n}"));
        }
        s.produce(t, 0, "first");
        let requested = s.expect::<ProduceRequest>();
        s.acknowledge(&requested, 0);
        let before = s.client.stats();
        // One request every 2 ms.
        for offset in 1..5000 {
            s.produce(t, 0, "x");
            let requested = s.expect::<ProduceRequest>();
            s.acknowledge(&requested, offset);
            s.run(Duration::from_millis(2));
        }
        let after = s.client.stats();
        let probes = after.probes.requests - before.probes.requests;
        let own = after.requests - before.requests - probes;
        assert!(probes * 20 <= own + 20 * topics, "{topics} topics: {probes} of {own}");
        assert!(probes >= 80, "{topics} topics: {probes} probes in 10 s are no faster");
    }
}

#[test]
fn a_stopped_broker_does_not_delay_noticing_beyond_two_and_a_half_seconds() {
    // Broker 1 no longer responds, and its connections stay open; the others respond. Whose turn it
    // is depends on when that begins.
    let mut slowest = Duration::ZERO;
    for wait in 10..13 {
        let (mut s, t) = ready(World::new(3).topic("t", 3));
        s.run(Duration::from_secs(wait));
        s.manual(ApiKey::DescribeTopicPartitions);
        s.manual(ApiKey::Metadata);
        s.world.grow("t", 4);
        let start = s.now();
        while count(&s.client, t) < 4 {
            while let Some(requested) = s.take::<DescribeTopicPartitionsRequest>() {
                if requested.node != 1 {
                    let body = s.world.describe(&requested.body);
                    s.respond(&requested, body);
                }
            }
            while let Some(requested) = s.take::<kafka_protocol::messages::MetadataRequest>() {
                if requested.node != 1 {
                    let body = s.world.metadata(&requested.body);
                    s.respond(&requested, body);
                }
            }
            s.run(Duration::from_millis(1));
            assert!(start.until(s.now()) <= Duration::from_millis(2500), "not noticed");
        }
        slowest = slowest.max(start.until(s.now()));
    }
    assert!(slowest > Duration::from_secs(1), "{slowest:?}: the stopped one was not asked first");
}

#[test]
fn a_smaller_count_marks_the_broker_and_never_the_topic() {
    // R2, R4
    let (mut s, t) = ready(World::new(1).topic("t", 4));
    warm_up(&mut s, t, 3);
    let _ = events(&mut s);
    let behind = changed(&s.world, |w| w.topic_mut("t").partitions.truncate(2));
    s.manual(ApiKey::DescribeTopicPartitions);
    let requested = s.expect::<DescribeTopicPartitionsRequest>();
    let topic = DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(requested.body.topics[0].name.clone()))
        .with_topic_id(s.world.topics[0].id);
    s.respond(&requested, DescribeTopicPartitionsResponse::default().with_topics(vec![topic]));
    // A partition that is not known yet makes the client request metadata.
    let _ = s.try_produce(t, 9, "y");
    let requested = metadata(&mut s, Duration::from_secs(10), |_| behind.clone());
    assert!((4..=12).contains(&requested), "{requested} Metadata requests to a stale broker");
    assert_eq!(count(&s.client, t), 4);
    let reported = events(&mut s);
    let stale = reported.iter().filter(|e| matches!(e, Event::BrokerStale { .. })).count();
    assert!((1..=2).contains(&stale), "{reported:?}");
}

#[test]
fn a_hole_leaves_the_count_and_is_requested_again() {
    // R3, ZooKeeper brokers
    let (mut s, t) = ready(World::new(1).release(Profile::V2_8).topic("t", 3));
    let _ = s.try_produce(t, 3, "x");
    s.world.grow("t", 5);
    s.manual(ApiKey::Metadata);
    let requested = s.expect::<kafka_protocol::messages::MetadataRequest>();
    let mut body = s.world.metadata(&requested.body);
    body.topics[0].partitions.remove(3);
    s.respond(&requested, body);
    assert_eq!(count(&s.client, t), 5);
    s.automatic(ApiKey::Metadata);
    s.run(Duration::from_secs(2));
    s.produce(t, 3, "x");
    s.expect::<ProduceRequest>();
}

/// Lets time pass with empty fetches, held as long as allowed.
fn idle_reader(s: &mut Script, time: Duration, mut probed: impl FnMut(i32)) -> usize {
    let (end, mut fetches) = (s.now() + time, 0);
    let mut held: Vec<kavka_tests::script::Requested<kafka_protocol::messages::FetchRequest>> =
        Vec::new();
    while s.now() < end {
        while let Some(requested) = s.take() {
            fetches += 1;
            held.push(requested);
        }
        while let Some(requested) = held.iter().position(|requested| {
            let wait = Duration::from_millis(requested.body.max_wait_ms.unsigned_abs().into());
            requested.at + wait <= s.now()
        }) {
            let requested = held.remove(requested);
            s.give(&requested, 1, vec![]);
        }
        // A broker responds in order: what follows a fetch waits for it.
        while let Some(requested) = s.take::<DescribeTopicPartitionsRequest>() {
            let late = held.iter().any(|fetch| {
                fetch.conn == requested.conn && fetch.correlation < requested.correlation
            });
            assert!(!late, "a probe waits behind a fetch at broker {}", requested.node);
            probed(requested.node);
            let body = s.world.describe(&requested.body);
            s.respond(&requested, body);
        }
        s.run(Duration::from_millis(1));
    }
    fetches
}

#[test]
fn a_client_that_only_reads_probes_all_its_brokers_in_turn_and_waits_for_no_fetch() {
    let (mut s, t) = ready(World::new(3).topic("t", 3));
    let now = s.now();
    s.client.assign_all(now, t, kavka_core::Start::Offset(0)).unwrap();
    s.manual(ApiKey::DescribeTopicPartitions);
    let mut probed = Vec::new();
    let fetches = idle_reader(&mut s, Duration::from_secs(30), |node| probed.push(node));
    assert!((29..=31).contains(&probed.len()), "{probed:?}");
    for three in probed.windows(4) {
        let all = (1..=3).all(|node| three.contains(&node));
        assert!(all, "in turn: {probed:?}");
    }
    // Three brokers hold each fetch for half a second.
    assert!((3 * 30 * 2 - 6..=3 * 30 * 3).contains(&fetches), "{fetches} fetches in 30 s");
}

#[test]
fn each_topic_is_probed_at_all_brokers_in_turn() {
    let (mut s, _) = ready(World::new(3).topic("t", 3).topic("u", 3));
    s.ready("u");
    s.run(Duration::from_secs(5));
    s.manual(ApiKey::DescribeTopicPartitions);
    let mut probed = Vec::new();
    for _ in 0..10_000 {
        while let Some(requested) = s.take::<DescribeTopicPartitionsRequest>() {
            probed.push((requested.body.topics[0].name.to_string(), requested.node));
            let body = s.world.describe(&requested.body);
            s.respond(&requested, body);
        }
        s.run(Duration::from_millis(1));
    }
    for name in ["t", "u"] {
        let of = |node| probed.iter().filter(|p| **p == (name.to_owned(), node)).count();
        assert!((1..=3).all(|node| of(node) >= 3), "{name}: {probed:?}");
    }
}

#[test]
fn each_topic_is_probed_at_busy_brokers_too() {
    let config = Config::new("b1:9001").linger(Duration::ZERO);
    let world = World::new(3).topic("t", 3).topic("u", 3);
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    s.ready("u");
    for partition in 0..3 {
        s.produce(t, partition, "connects to its leader");
        s.run(Duration::from_secs(1));
    }
    s.manual(ApiKey::Produce);
    s.manual(ApiKey::DescribeTopicPartitions);
    let mut probed = Vec::new();
    for round in 0..300 {
        // The leaders of two partitions always have a batch in flight, the third never.
        s.produce(t, 1, "a");
        s.produce(t, 2, "b");
        for _ in 0..50 {
            while let Some(requested) = s.take::<DescribeTopicPartitionsRequest>() {
                probed.push((requested.body.topics[0].name.to_string(), requested.node));
                let body = s.world.describe(&requested.body);
                s.respond(&requested, body);
            }
            s.run(Duration::from_millis(1));
        }
        while let Some(requested) = s.take::<ProduceRequest>() {
            s.acknowledge(&requested, round);
        }
    }
    for name in ["t", "u"] {
        let of = |node| probed.iter().filter(|p| **p == (name.to_owned(), node)).count();
        assert!((1..=3).all(|node| of(node) >= 3), "{name}: {:?}", [1, 2, 3].map(of));
    }
}

#[test]
fn a_client_with_connections_to_spare_notices_growth_beside_slow_batches() {
    let config = Config::new("b1:9001").linger(Duration::ZERO);
    let mut s = Script::with(World::new(3).topic("t", 3), config, &Limits::small());
    let t = s.ready("t");
    for partition in 0..3 {
        s.produce(t, partition, "connects to its leader");
        s.run(Duration::from_secs(1));
    }
    s.manual(ApiKey::Produce);
    // Every leader has batches in flight that take long, like the first ones of new partitions.
    for partition in 0..3 {
        s.produce(t, partition, "slow");
    }
    s.run(Duration::from_secs(3));
    s.world.grow("t", 4);
    let start = s.now();
    s.until("the growth is known", |s| count(&s.client, t) == 4);
    let took = start.until(s.now()).as_millis();
    assert!((1..=1300).contains(&took), "noticed after {took} ms");
    let reported = events(&mut s);
    let by = reported.iter().find_map(|event| match event {
        Event::PartitionsAdded { by, .. } => Some(by.signal),
        _ => None,
    });
    assert_eq!(by, Some(Signal::DescribeTopicPartitions), "{reported:?}");
    assert_eq!(s.waiting::<ProduceRequest>(), 3, "no batch was answered");
}
