//! Topics come and go, are many, have long names, and cost no more than they must.

use std::collections::BTreeSet;
use std::time::{Duration, Instant as Clock};

use kafka_protocol::messages::{
    ApiKey, DescribeTopicPartitionsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest,
    ProduceRequest,
};
use kavka_core::{
    Config, Error, Event, LimitKind, Limits, Misuse, Probing, ProduceError, Signal, Start, TopicId,
};
use kavka_tests::script::steps::{count, events, growths, poke, with_id};
use kavka_tests::script::{Script, World};
use kavka_tests::sim::Profile;

fn limited(world: World, topics: usize, partitions: usize) -> Script {
    let mut limits = Limits::small();
    (limits.topics, limits.partitions) = (topics, partitions);
    let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    let mut s = Script::with(world, config, &limits);
    // The check would watch the first topic again.
    s.watching = false;
    s
}

fn full() -> Result<TopicId, Error> {
    Err(Error::Limit { what: LimitKind::Topics, needed: 3 })
}

/// Produces a record and acknowledges it.
fn produce(s: &mut Script, topic: TopicId) {
    s.until("the record is taken", |s| match s.try_produce(topic, 0, "v") {
        Ok(_) => true,
        Err(ProduceError::NotReady) => false,
        Err(error) => panic!("{error:?}"),
    });
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    assert_eq!(s.delivered(), [(1, Some(0))]);
}

/// Responds to Metadata requests for this time; returns how many there were.
fn requested_metadata(s: &mut Script, time: Duration) -> usize {
    let (mut wants_requests, end) = (0, s.now() + time);
    while s.now() < end {
        while let Some(requested) = s.take::<MetadataRequest>() {
            wants_requests += 1;
            let response = s.world.metadata(&requested.body);
            s.respond(&requested, response);
        }
        s.run(Duration::from_millis(1));
    }
    wants_requests
}

/// Leaders of partitions that will be in use are kept while the response is read.
#[test]
fn start_and_growth_take_one_metadata_request_each() {
    for (produces, reads) in [(true, false), (false, true), (true, true)] {
        let mut s = Script::new(World::new(3).topic("t", 3));
        s.manual(ApiKey::Metadata);
        let t = s.topic("t");
        let now = s.now();
        if reads {
            s.client.assign_all(now, t, Start::Earliest).unwrap();
        }
        if produces {
            assert_eq!(s.try_produce(t, 0, "v"), Err(ProduceError::NotReady));
        }
        let what = format!("produces {produces}, reads {reads}");
        assert_eq!(requested_metadata(&mut s, Duration::from_millis(900)), 1, "{what}");
        if produces {
            for index in 0..3 {
                s.produce(t, index, "v");
            }
            s.run(Duration::from_millis(5));
            while let Some(requested) = s.take::<ProduceRequest>() {
                s.acknowledge(&requested, 0);
            }
            assert_eq!(s.delivered().len(), 3, "{what}");
        }
        s.world.grow("t", 6);
        assert_eq!(requested_metadata(&mut s, Duration::from_millis(1500)), 1, "growth, {what}");
        assert_eq!(count(&s.client, t), 6);
        if produces {
            for index in 3..6 {
                s.produce(t, index, "v");
            }
            assert_eq!(s.waiting::<ProduceRequest>(), 3, "no request in between, {what}");
        }
        if reads {
            let mut fetched = BTreeSet::new();
            for _ in 0..20 {
                if let Some(requested) = s.take::<FetchRequest>() {
                    fetched.extend(s.wanted(&requested).into_iter().map(|(_, index, _)| index));
                    s.give(&requested, 0, Vec::new());
                }
            }
            assert_eq!(fetched, (0..6).collect(), "{what}");
        }
        s.none::<MetadataRequest>("all leaders are known");
    }
}

/// Entries are only created for partitions that are wanted, and while there is space.
#[test]
fn what_streams_by_takes_no_room_from_others() {
    let mut s = limited(World::new(1).topic("t", 6).topic("u", 2), 3, 4);
    let (t, u) = (s.topic("t"), s.topic("u"));
    let now = s.now();
    s.client.assign_all(now, t, Start::Earliest).unwrap();
    s.run(Duration::from_millis(100));
    let limit = Error::Limit { what: LimitKind::Partitions, needed: 6 };
    let reported = events(&mut s);
    assert!(
        reported.iter().any(|e| matches!(e, Event::TopicFailed { error, .. } if *error == limit))
    );
    let assigned = reported.iter().filter_map(|event| match event {
        Event::Assigned { at, .. } => Some(*at),
        _ => None,
    });
    let assigned: Vec<_> = assigned.collect();
    assert_eq!(assigned.len(), 4);
    // The other topic's entries were not used, and released ones are available.
    let now = s.now();
    s.client.unwatch(t);
    for at in &assigned[..2] {
        s.client.unassign(now, *at);
    }
    for index in 0..2 {
        s.client.assign(now, u, index, Start::Earliest).unwrap();
    }
    assert!(s.client.assign(now, u, 2, Start::Earliest).is_err());
}

#[test]
fn a_topic_that_is_not_watched_any_more_makes_room() {
    let mut s = limited(World::new(1).topic("a", 1).topic("b", 1).topic("c", 1), 2, 8);
    let (a, b) = (s.ready("a"), s.ready("b"));
    assert_eq!(s.client.topic("c"), full());
    s.client.unwatch(a);
    assert_eq!((s.client.topic_name(a), s.client.freshness(a)), (None, None));
    let c = s.ready("c");
    assert_ne!(a, c);
    assert_eq!(s.client.topic_name(a), None, "its place is somebody else's");
    let stale = Error::Caller(Misuse::StaleId);
    let now = s.now();
    assert_eq!(s.try_produce(a, 0, "v"), Err(ProduceError::Refused(stale)));
    assert_eq!(s.client.assign(now, a, 0, Start::Earliest), Err(stale));
    assert_eq!(s.client.assign_all(now, a, Start::Earliest), Err(stale));
    s.client.unwatch(a);
    assert_eq!(s.client.topic_name(c), Some("c"), "an old id unwatches nothing");
    assert_eq!(s.client.topic("b"), Ok(b));
    assert_eq!(s.client.topic("a"), full());
    // When the last one is gone, no broker gets a request.
    s.client.unwatch(b);
    s.client.unwatch(c);
    s.run(Duration::from_secs(1));
    let before = s.client.stats().requests;
    s.run(Duration::from_secs(600));
    assert_eq!(s.client.stats().requests, before);
    let again = s.ready("a");
    assert_ne!(again, a);
}

/// A topic's sequences are forgotten with it: the same numbers under the same epoch would look like
/// a repetition.
#[test]
fn a_forgotten_sequence_raises_the_epoch() {
    let mut s = limited(World::new(1).topic("a", 2), 2, 8);
    for epoch in 0..3 {
        let a = s.ready("a");
        for index in 0..2 {
            s.produce(a, index, "v");
            let requested = s.expect::<ProduceRequest>();
            assert_eq!(s.batches(&requested)[0].place(), (epoch, 0, 1), "partition {index}");
            s.acknowledge(&requested, 0);
        }
        s.client.unwatch(a);
    }
}

#[test]
fn a_topic_stays_while_something_of_it_is_in_use() {
    let mut s = limited(World::new(1).topic("a", 1).topic("b", 1).topic("c", 1), 2, 8);
    let (a, b) = (s.ready("a"), s.ready("b"));
    let now = s.now();
    // Beyond the end, where no response names it.
    let at = s.client.assign(now, a, 7, Start::Earliest).unwrap();
    s.produce(b, 0, "v");
    let requested = s.expect::<ProduceRequest>();
    s.client.unwatch(a);
    s.client.unwatch(b);
    s.run(Duration::from_secs(2));
    assert_eq!(s.client.topic("c"), full());
    assert_eq!((s.client.topic_name(a), s.client.topic_name(b)), (Some("a"), Some("b")));
    let now = s.now();
    s.client.unassign(now, at);
    s.run(Duration::from_millis(1));
    assert_eq!(s.client.topic_name(a), None);
    s.acknowledge(&requested, 0);
    assert_eq!(s.delivered(), [(1, Some(0))]);
    s.run(Duration::from_millis(1));
    assert_eq!(s.client.topic_name(b), None);
    assert!(s.client.topic("c").is_ok());
}

#[test]
fn a_topic_that_is_watched_again_in_time_stays() {
    let mut s = limited(World::new(1).topic("a", 1), 2, 8);
    let a = s.ready("a");
    let now = s.now();
    let at = s.client.assign(now, a, 0, Start::Earliest).unwrap();
    s.client.unwatch(a);
    assert_eq!(s.client.topic("a"), Ok(a));
    s.client.unassign(now, at);
    s.run(Duration::from_secs(1));
    assert_eq!(s.client.topic_name(a), Some("a"));
}

/// Its age then starts at zero, and has the same limit as that of others.
#[test]
fn metadata_of_a_topic_that_is_watched_again_is_requested_when_it_is_old() {
    let world = World::new(1).topic("t", 1);
    let mut config = Config::new(world.bootstrap());
    (config.probing, config.metadata_max_age) = (Probing::Never, Duration::from_secs(3));
    let mut s = Script::with(world, config, &Limits::small());
    s.watching = false;
    let t = s.ready("t");
    let now = s.now();
    let at = s.client.assign(now, t, 0, Start::Offset(0)).unwrap();
    s.client.pause(at);
    s.client.unwatch(t);
    s.run(Duration::from_secs(10));
    assert_eq!(s.client.topic("t"), Ok(t));
    s.manual(ApiKey::Metadata);
    let requested = requested_metadata(&mut s, Duration::from_secs(30));
    assert!((9..=10).contains(&requested), "{requested} times in ten times the age");
}

/// Whatever the ids are: some share an entry of the index.
#[test]
fn a_recreated_topic_is_found_by_its_new_id_and_others_by_theirs() {
    let others = ["a", "b", "c", "d", "e"];
    for id in 1..16 {
        let mut world = World::new(1).topic("t", 1);
        for name in others {
            world = world.topic(name, 1);
        }
        world.topic_mut("t").id = uuid::Uuid::from_u128(0x2000 + id);
        let mut s = limited(world, 6, 8);
        let mut topics: Vec<_> = others.iter().map(|name| s.ready(name)).collect();
        let t = s.ready("t");
        topics.push(t);
        s.world = with_id(&s.world, 0x3000 + id, 1);
        poke(&mut s, t);
        s.run(Duration::from_secs(5));
        assert_eq!(s.client.freshness(t).map(|fresh| fresh.generation), Some(1), "id {id}");
        for topic in topics {
            produce(&mut s, topic);
        }
    }
}

/// `metadata.max.idle.ms`, where the entry is needed.
#[test]
fn a_topic_that_was_not_produced_to_for_five_minutes_makes_room() {
    let mut s = limited(World::new(1).topic("a", 1).topic("b", 1).topic("c", 1), 2, 8);
    let (a, b) = (s.ready("a"), s.ready("b"));
    s.run(Duration::from_secs(400));
    assert_eq!(s.client.topic("c"), full(), "both are watched, for news alone perhaps");
    produce(&mut s, a);
    s.run(Duration::from_secs(200));
    produce(&mut s, b);
    s.run(Duration::from_secs(97));
    assert_eq!(s.client.topic("c"), full());
    s.run(Duration::from_secs(5));
    let c = s.client.topic("c").unwrap();
    assert_eq!(s.client.topic_name(a), None);
    assert_eq!(s.client.topic_name(b), Some("b"));
    produce(&mut s, c);
    // Topics that are read stay, and so do those with records that are not acknowledged.
    let now = s.now();
    s.client.assign(now, b, 0, Start::Earliest).unwrap();
    s.run(Duration::from_secs(290));
    s.manual(ApiKey::Metadata);
    s.produce(c, 0, "v");
    s.run(Duration::from_secs(20));
    assert_eq!(s.client.topic("a"), full());
}

/// Far more than there are entries, one after another.
#[test]
fn ten_thousand_topics_are_produced_to_one_after_another() {
    let mut s = limited(World::new(1), 4, 8);
    let mut names = Vec::new();
    for n in 0..10_000 {
        let name = format!("topic-{n}");
        s.world.topics.clear();
        s.world = s.world.clone().topic(&name, 2);
        let topic = s.client.topic(&name).unwrap();
        produce(&mut s, topic);
        s.client.unwatch(topic);
        names.push(topic);
        let _ = s.reported();
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 10_000, "no id came twice");
    assert_eq!(s.client.stats().blocks_used, 0);
}

/// Responses to requests for a topic whose entry another one has by now.
#[test]
fn late_responses_say_nothing_about_the_topic_that_came_after() {
    for release in [Profile::V4_4, Profile::V2_8] {
        let mut world = World::new(1).release(release).topic("a", 9).topic("b", 2);
        world.topic_mut("a").id = world.topic_mut("b").id;
        let mut s = limited(world, 1, 8);
        let a = s.ready("a");
        s.manual(ApiKey::DescribeTopicPartitions);
        s.manual(ApiKey::ListOffsets);
        s.run(Duration::from_secs(2));
        s.client.unwatch(a);
        let b = s.ready("b");
        let _ = events(&mut s);
        s.manual(ApiKey::Metadata);
        s.automatic(ApiKey::DescribeTopicPartitions);
        s.automatic(ApiKey::ListOffsets);
        assert_eq!(s.waiting::<MetadataRequest>(), 0, "{release:?}");
        assert_eq!(count(&s.client, b), 2);
        assert!(events(&mut s).is_empty());
    }
}

/// The topic is forgotten in the middle of a Metadata response about it.
#[test]
fn half_a_response_says_nothing_about_the_topic_that_came_after() {
    let mut s = limited(World::new(1).topic("a", 40).topic("b", 2), 1, 8);
    s.manual(ApiKey::Metadata);
    let a = s.topic("a");
    let requested = s.expect::<MetadataRequest>();
    let response = s.world.metadata(&requested.body);
    let bytes = s.encoded(&requested, response);
    let (front, rest) = bytes.split_at(bytes.len() / 2);
    s.feed(requested.conn, front);
    s.client.unwatch(a);
    let b = s.client.topic("b").unwrap();
    s.feed(requested.conn, rest);
    assert_eq!(s.client.freshness(b), None);
    requested_metadata(&mut s, Duration::from_millis(500));
    assert_eq!(count(&s.client, b), 2);
}

fn long(n: usize, len: usize) -> String {
    format!("{n:0>2}{}", "x".repeat(len - 2))
}

/// More names than fit into one request, of either kind.
#[test]
fn names_that_do_not_fit_into_one_request_are_split() {
    for (release, topics, len, blocks, bytes) in [
        (Profile::V4_4, 16, 204, 4, 512),
        (Profile::V2_8, 16, 204, 4, 512),
        (Profile::V4_4, 2, 249, 4, 128),
        (Profile::V2_8, 2, 249, 4, 128),
    ] {
        let mut world = World::new(1).release(release);
        for n in 0..topics {
            world = world.topic(&long(n, len), 1);
        }
        let mut limits = Limits::small();
        (limits.topics, limits.tx_blocks, limits.block_bytes) = (topics, blocks, bytes);
        let config = Config::new(world.bootstrap());
        let mut s = Script::with(world, config, &limits);
        let ids: Vec<_> = (0..topics).map(|n| s.topic(&long(n, len))).collect();
        s.run(Duration::from_secs(2));
        for id in &ids {
            assert!(s.client.freshness(*id).is_some(), "{id:?} of {topics}, {release:?}");
        }
        let _ = events(&mut s);
        // This does not need whole Metadata responses.
        s.run(Duration::from_secs(3));
        for id in &ids {
            let by = s.client.freshness(*id).unwrap().by.signal;
            assert_ne!(by, Signal::Metadata, "{id:?} of {topics}, {release:?}");
        }
        (0..topics).for_each(|n| s.world.grow(&long(n, len), 2));
        s.run(Duration::from_secs(3));
        assert_eq!(growths(&events(&mut s)), vec![(1, 2); topics], "{release:?}, {len}");
    }
}

/// All memory is in flight to a broker that takes nothing at the moment.
#[test]
fn a_probe_that_finds_no_memory_is_sent_when_there_is_some() {
    for release in [Profile::V4_4, Profile::V2_8] {
        let name = long(0, 120);
        let world = World::new(2).release(release).topic(&name, 2);
        let mut limits = Limits::small();
        (limits.tx_blocks, limits.block_bytes) = (8, 128);
        let mut config = Config::new(world.bootstrap()).linger(Duration::ZERO);
        config.batch_bytes = 128;
        let mut s = Script::with(world, config, &limits);
        let t = s.ready(&name);
        s.produce(t, 1, "first");
        let requested = s.expect::<ProduceRequest>();
        s.acknowledge(&requested, 0);
        // Until shortly before the next probe is due.
        let sent = s.client.stats().probes.requests;
        s.until("a probe", |s| s.client.stats().probes.requests > sent);
        s.run(Duration::from_millis(950));
        let sent = s.client.stats().probes.requests;
        let conn = s.connections(2)[0];
        s.window(conn, Some(0));
        while s.try_produce(t, 1, "x").is_ok() {}
        s.run(Duration::from_millis(100));
        assert_eq!(s.client.stats().probes.requests, sent, "{release:?}: there was memory");
        s.window(conn, None);
        for _ in 0..12 {
            s.run(Duration::from_millis(10));
            while let Some(requested) = s.take::<ProduceRequest>() {
                s.acknowledge(&requested, 1);
            }
        }
        assert_eq!(s.client.stats().probes.requests, sent + 1, "{release:?}");
    }
}

/// Probes of many topics: each has its turn, and a request names as many as it may.
#[test]
fn probes_of_many_topics_are_shared_out() {
    let mut world = World::new(2).release(Profile::V2_8);
    for n in 0..250 {
        world = world.topic(&long(n, 20), 1);
    }
    let mut s = limited(world, 250, 8);
    let ids: Vec<_> = (0..250).map(|n| s.topic(&long(n, 20))).collect();
    s.run(Duration::from_secs(3));
    let before = s.client.stats().probes.requests;
    s.run(Duration::from_secs(20));
    let probes = s.client.stats().probes.requests - before;
    assert!((40..=90).contains(&probes), "{probes} requests in 20 s for 250 topics, 100 each");
    for id in ids {
        let known = s.client.freshness(id).unwrap();
        let age = known.confirmed.until(s.now());
        assert!(age <= Duration::from_millis(1200), "{age:?} old");
    }
    assert_eq!(s.waiting::<ListOffsetsRequest>(), 0);
    assert_eq!(s.waiting::<DescribeTopicPartitionsRequest>(), 0);
}

/// Measures one step of a client that watches `topics` topics, all of them known.
fn look(topics: usize) -> Duration {
    let mut world = World::new(1).release(Profile::V2_8);
    for n in 0..topics {
        world = world.topic(&format!("t{n}"), 1);
    }
    let mut limits = Limits::small();
    (limits.topics, limits.tx_blocks) = (topics, 1024);
    let config = Config::new(world.bootstrap());
    let mut s = Script::with(world, config, &limits);
    s.watching = false;
    for n in 0..topics {
        s.topic(&format!("t{n}"));
    }
    s.until("all are ready", |s| {
        let last = s.topic(&format!("t{}", topics - 1));
        s.client.freshness(last).is_some()
    });
    s.run(Duration::from_millis(50));
    let now = s.now();
    let looks = || {
        let start = Clock::now();
        for _ in 0..200 {
            // Watching a watched topic changes nothing, but makes the client run a step.
            s.client.topic("t0").unwrap();
            s.client.handle_timeout(now);
            assert!(s.client.poll_event(now).is_none());
        }
        start.elapsed()
    };
    core::iter::repeat_with(looks).take(20).min().unwrap_or_default()
}

/// The minimum of many measurements, so that a busy machine does not matter.
#[test]
fn a_look_costs_the_same_for_4_000_topics() {
    let (one, many) = (look(1), look(4000));
    assert!(many < 2 * one, "{many:?} for 200 looks at 4,000 topics, {one:?} at one");
}
