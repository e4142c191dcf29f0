//! A request that a broker does not support fails at once, with the API; and peers that close after
//! the handshake are tried again ever more slowly.

use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, FetchRequest, InitProducerIdRequest,
    InitProducerIdResponse, MetadataRequest, ProduceRequest,
};
use kavka_core::wire::ApiKey as Api;
use kavka_core::{
    Admin, CloseReason, Config, Duration, Error, Event, Limits, Obstacle, PeerFault, Start, TopicId,
};
use kavka_tests::script::{Reported, Script, World};

const SECOND: Duration = Duration::from_secs(1);

fn without(api: i16) -> World {
    let mut world = World::new(1).topic("t", 1);
    world.without.push(api);
    world
}

fn failed(s: &mut Script) -> Vec<Error> {
    s.take_reported(|reported| match reported.event()? {
        Event::Failed { error, .. } => Some(error),
        _ => None,
    })
}

fn disconnected(s: &mut Script) -> Vec<Error> {
    s.take_reported(|reported| match reported.event()? {
        Event::Disconnected { error, .. } => Some(error),
        _ => None,
    })
}

/// Produces a record, and waits until it fails.
fn errors_of_a_record(s: &mut Script, t: TopicId) -> Vec<Error> {
    s.produce(t, 0, "a");
    let mut errors = Vec::new();
    s.until("a failed record", |s| {
        errors.extend(failed(s));
        !errors.is_empty()
    });
    errors
}

#[test]
fn records_fail_at_once_where_no_broker_gives_producer_ids() {
    let mut s = Script::new(without(22));
    let t = s.ready("t");
    let now = s.now();
    let errors = errors_of_a_record(&mut s, t);
    assert_eq!(errors, [Error::Peer(PeerFault::NoApi(Api::INIT_PRODUCER_ID))]);
    assert!(now.until(s.now()) < SECOND, "{:?}", now.until(s.now()));
    s.none::<InitProducerIdRequest>("nobody has it");
}

#[test]
fn records_fail_at_once_where_their_leader_takes_none() {
    for (api, offers, fault) in [
        (Some(0), vec![], PeerFault::NoApi(Api::PRODUCE)),
        (
            None,
            vec![(ApiKey::Produce, 90, 91)],
            PeerFault::NoCommonVersion { api: Api::PRODUCE, min: 90, max: 91 },
        ),
    ] {
        let mut world = World::new(1).topic("t", 1);
        world.without.extend(api);
        world.offers = offers;
        let mut s = Script::new(world);
        let t = s.ready("t");
        for value in ["a", "b"] {
            let now = s.now();
            s.produce(t, 0, value);
            let mut errors = Vec::new();
            s.until("a failed record", |s| {
                errors.extend(failed(s));
                !errors.is_empty()
            });
            assert_eq!(errors, [Error::Peer(fault)]);
            assert!(now.until(s.now()) < SECOND, "{fault:?}: {:?}", now.until(s.now()));
        }
        s.none::<ProduceRequest>("it has no such API");
    }
}

#[test]
fn a_partition_whose_leader_gives_no_records_says_so_once() {
    let mut world = World::new(1).topic("t", 1);
    world.offers.push((ApiKey::Fetch, 90, 91));
    let mut s = Script::new(world);
    let t = s.ready("t");
    let now = s.now();
    s.client.assign(now, t, 0, Start::Offset(0)).unwrap();
    s.run(Duration::from_secs(10));
    let reported = s.take_reported(|reported| match reported.event()? {
        Event::PartitionFailed { error, .. } => Some(error),
        _ => None,
    });
    let fault = PeerFault::NoCommonVersion { api: Api::FETCH, min: 90, max: 91 };
    assert_eq!(reported, [Error::Peer(fault)]);
    s.none::<FetchRequest>("it speaks no version of ours");
}

/// KIP-35: both ends of a range count.
#[test]
fn nothing_is_requested_in_a_version_below_the_brokers_lowest() {
    let mut world = World::new(1).topic("t", 1);
    world.offers.push((ApiKey::CreateTopics, 5, 7));
    world.offers.push((ApiKey::Fetch, 13, 18));
    let mut s = Script::new(world);
    s.manual(ApiKey::CreateTopics);
    let t = s.ready("t");
    let now = s.now();
    s.client.assign(now, t, 0, Start::Offset(0)).unwrap();
    assert!(s.expect::<FetchRequest>().version >= 13);
    s.client
        .admin(
            now,
            &Admin::CreateTopic { name: "u", partitions: 1, replication_factor: 1, configs: &[] },
        )
        .unwrap();
    assert!(s.expect::<CreateTopicsRequest>().version >= 5);
}

#[test]
fn admin_requests_fail_at_once_where_their_api_is_missing() {
    let mut s = Script::new(without(19));
    s.ready("t");
    let now = s.now();
    s.client
        .admin(
            now,
            &Admin::CreateTopic { name: "u", partitions: 1, replication_factor: 1, configs: &[] },
        )
        .unwrap();
    s.run(SECOND);
    let reported = s.take_reported(|reported| match reported {
        Reported::Done { result: Err(error), .. } => Some(*error),
        _ => None,
    });
    assert_eq!(reported, [Error::Peer(PeerFault::NoApi(Api::CREATE_TOPICS))]);
}

/// What a controller's listener offers.
#[test]
fn a_peer_without_metadata_is_named_and_left() {
    let mut s = Script::new(without(3));
    s.topic("t");
    s.run(SECOND);
    let fault = Error::Peer(PeerFault::NoApi(Api::METADATA));
    let reported = disconnected(&mut s);
    assert!(!reported.is_empty() && reported.iter().all(|error| *error == fault), "{reported:?}");
}

/// A listener that wants SASL responds to ApiVersions and closes the connection at the next
/// request.
#[test]
fn a_peer_that_greets_and_goes_is_tried_ever_more_slowly() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    s.manual(ApiKey::Metadata);
    s.topic("t");
    let end = s.now() + Duration::from_secs(10);
    while s.now() < end {
        let Some(requested) = s.take::<MetadataRequest>() else {
            s.run(Duration::from_millis(5));
            continue;
        };
        s.cut(requested.conn);
    }
    let connects = s.connects.len();
    assert!((8..=20).contains(&connects), "{connects} connections in 10 s");
    let reported = disconnected(&mut s);
    assert!(reported.iter().all(|e| *e == Error::Closed(CloseReason::EndedEarly)), "{reported:?}");
    // Once it responds, its failures are forgotten.
    s.automatic(ApiKey::Metadata);
    s.until("a connection", |s| !s.connections(1).is_empty());
}

/// Its earlier failures say nothing any more.
#[test]
fn a_broker_that_responds_again_is_reconnected_soon() {
    let mut world = World::new(2).topic("t", 1);
    world.lead("t", 0, 2);
    let mut s = Script::new(world);
    let t = s.ready("t");
    s.produce(t, 0, "leaders are known");
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    s.kill(2);
    s.produce(t, 0, "waits");
    s.run(Duration::from_secs(20));
    s.world.node(2).up = true;
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 1);
    s.cut_all(2);
    s.produce(t, 0, "again");
    let since = s.now();
    s.expect::<ProduceRequest>();
    let took = since.until(s.now());
    assert!(took < Duration::from_millis(150), "{took:?}, as if it still failed");
}

#[test]
fn a_broker_whose_metadata_is_damaged_is_tried_ever_more_slowly() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    s.ready("t");
    s.manual(ApiKey::Metadata);
    let t = s.topic("other");
    let end = s.now() + Duration::from_secs(10);
    let before = s.connects.len();
    while s.now() < end {
        let Some(requested) = s.take::<MetadataRequest>() else {
            s.run(Duration::from_millis(5));
            continue;
        };
        let mut frame = vec![0, 0, 0, 12];
        frame.extend(requested.correlation.to_be_bytes());
        frame.extend([0xff; 8]);
        s.feed(requested.conn, &frame);
    }
    let connects = s.connects.len() - before;
    assert!((6..=25).contains(&connects), "{connects} connections in 10 s, {t:?}");
}

/// An ApiVersions response of version 3 that ends anywhere except before its throttle time, or
/// whose tags are damaged, is invalid.
#[test]
fn only_a_missing_throttle_time_is_tolerated() {
    let ranges: Vec<u8> = [(0_i16, 3_i16, 12_i16), (1, 4, 17), (2, 1, 9), (3, 0, 12), (18, 0, 3)]
        .iter()
        .flat_map(|(api, min, max)| {
            [&api.to_be_bytes()[..], &min.to_be_bytes(), &max.to_be_bytes(), &[0]].concat()
        })
        .collect();
    let body = [&[0, 0, 6][..], &ranges].concat();
    let whole = [&body[..], &[0, 0, 0, 0, 0]].concat();
    let huge_tags = [&body[..], &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    let overrun = [&body[..], &[0, 0, 0, 0, 1, 0, 90, 1]].concat();
    let mut cases: Vec<(String, Vec<u8>, bool)> = vec![
        ("whole".into(), whole.clone(), true),
        ("no throttle time".into(), body.clone(), true),
        ("a huge count of tags".into(), huge_tags, false),
        ("a tag beyond the end".into(), overrun, false),
    ];
    for len in (0..whole.len()).filter(|len| *len != body.len()) {
        cases.push((format!("cut to {len}"), whole[..len].to_vec(), false));
    }
    for (name, body, good) in cases {
        for piece in [usize::MAX, 1, 5] {
            let mut s = Script::new(World::new(1).topic("t", 1));
            s.manual(ApiKey::ApiVersions);
            s.piece = piece;
            s.topic("t");
            let requested = s.expect::<ApiVersionsRequest>();
            let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
            let frame = [&length[..], &requested.correlation.to_be_bytes(), &body].concat();
            s.feed(requested.conn, &frame);
            s.run(Duration::from_millis(20));
            let bad = !disconnected(&mut s).is_empty();
            assert_eq!(bad, !good, "{name}, in pieces of {piece}");
        }
    }
}

/// The error is enough: version 0 is requested next. librdkafka's mock cluster writes an array's
/// length in one format and the rest in the other.
#[test]
fn what_follows_an_unknown_version_does_not_matter() {
    let of_the_mock = vec![0, 35, 1, 0, 18, 0, 0, 0, 2, 0, 0, 0, 0];
    let mut cases: Vec<Vec<u8>> = (2..of_the_mock.len()).map(|n| of_the_mock[..n].into()).collect();
    cases.push(of_the_mock);
    cases.push([&[0, 35][..], &[0xff; 40]].concat());
    for body in cases {
        for piece in [usize::MAX, 1, 5] {
            let mut s = Script::new(World::new(1).topic("t", 1));
            s.manual(ApiKey::ApiVersions);
            s.piece = piece;
            s.topic("t");
            let requested = s.expect::<ApiVersionsRequest>();
            let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
            let frame = [&length[..], &requested.correlation.to_be_bytes(), &body].concat();
            s.feed(requested.conn, &frame);
            let next = s.expect::<ApiVersionsRequest>();
            assert_eq!(
                (next.conn, next.version),
                (requested.conn, 0),
                "{body:?}, pieces of {piece}"
            );
        }
    }
}

/// Where many topics are watched and no broker can be used, nothing spins.
#[test]
fn a_missing_api_costs_no_loop() {
    let mut s = Script::with(without(0), Config::new("b1:9001"), &Limits::small());
    let t = s.ready("t");
    let before = s.client.stats().requests;
    for _ in 0..20 {
        s.produce(t, 0, "a");
        s.run(Duration::from_millis(100));
    }
    assert_eq!(failed(&mut s).len(), 20);
    let requested = s.client.stats().requests - before;
    assert!((1..40).contains(&requested), "{requested} requests");
}

/// KIP-516: Produce from version 13 on names topics by id only.
#[test]
fn records_fail_at_once_where_their_topic_cannot_be_named() {
    let mut world = World::new(1).topic("t", 1);
    world.topic_mut("t").id = uuid::Uuid::nil();
    world.offers.push((ApiKey::Produce, 13, 13));
    let mut s = Script::new(world);
    let t = s.ready("t");
    let now = s.now();
    let errors = errors_of_a_record(&mut s, t);
    assert_eq!(errors, [Error::Peer(PeerFault::NoTopicIds { api: Api::PRODUCE, min: 13 })]);
    assert!(now.until(s.now()) < SECOND);
    s.none::<ProduceRequest>("no version has names");
}

/// Lets a record wait for three seconds while `respond` is called; returns its error.
fn time_out(mut s: Script, mut respond: impl FnMut(&mut Script)) -> Error {
    let t = s.topic("t");
    s.until("the topic is ready", |s| {
        respond(s);
        s.client.freshness(t).is_some()
    });
    s.produce(t, 0, "a");
    let taken = s.now();
    let obstacle = |s: &Script| {
        let mut found = None;
        let age = Duration::from_millis(500);
        s.client.late_batches(age, |_, why| found = Some(Error::Blocked(why)));
        found
    };
    let mut early = None;
    loop {
        respond(&mut s);
        s.run(Duration::from_millis(1));
        if early.is_none() && taken.until(s.now()) > Duration::from_millis(900) {
            early = obstacle(&s);
        }
        if let Some(error) = failed(&mut s).pop() {
            assert_eq!(early, Some(error), "within a second");
            return error;
        }
    }
}

#[test]
fn what_produce_and_init_producer_id_leave_out_is_the_reason_of_a_time_out() {
    let script = || {
        let mut config = Config::new("b1:9001").linger(Duration::ZERO);
        config.delivery_timeout = Duration::from_secs(3);
        Script::with(World::new(1).topic("t", 1), config, &Limits::small())
    };
    let peer = |fault| Error::Blocked(Obstacle::Peer { broker: 1, fault });
    for topics in [false, true] {
        let mut count = 0;
        let error = time_out(script(), |s| {
            while let Some(requested) = s.take::<ProduceRequest>() {
                let mut body = Script::produce_response(&requested, 0, 1);
                body.responses.truncate(usize::from(topics));
                body.responses.iter_mut().for_each(|topic| topic.partition_responses.clear());
                s.respond(&requested, body);
                count += 1;
            }
        });
        assert_eq!(error, peer(PeerFault::LeftOut(Api::PRODUCE)));
        assert!((3..10).contains(&count), "{count} requests in 3 s");
    }
    let mut s = script();
    s.manual(ApiKey::InitProducerId);
    let mut count = 0;
    let error = time_out(s, |s| {
        while let Some(requested) = s.take::<InitProducerIdRequest>() {
            let body = InitProducerIdResponse::default().with_producer_id((-1).into());
            s.respond(&requested, body);
            count += 1;
        }
    });
    assert_eq!(error, peer(PeerFault::NoValue(Api::INIT_PRODUCER_ID)));
    assert!((3..10).contains(&count), "{count} requests in 3 s");
}
