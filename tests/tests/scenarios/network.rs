//! Frames in pieces, and connections that fail in every way.

use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, MetadataRequest, ProduceRequest,
};
use kavka_core::wire::ErrorCode;
use kavka_core::{Config, Duration, Error, Instant, LimitKind, Limits, PeerFault, Protocol, Start};
use kavka_tests::script::fetch::records;
use kavka_tests::script::steps::{batch, disconnected, events, next, reading, ready, send, warm};
use kavka_tests::script::{Script, World};
use kavka_tests::sim::Profile;
use kavka_tests::sim::journal::News;
use kavka_tests::sim::{Journal, Options, World as SimWorld};

#[test]
fn n1_responses_in_any_pieces_are_the_same() {
    let whole = story(usize::MAX);
    for piece in [1, 2, 3, 5, 7, 11, 64, 500] {
        assert_eq!(story(piece), whole, "pieces of {piece}");
    }
}

fn story(piece: usize) -> Vec<String> {
    let mut s = Script::new(World::new(3).topic("t", 6));
    s.piece = piece;
    let t = s.ready("t");
    for partition in 0..6 {
        s.produce(t, partition, "value");
    }
    let mut reported = Vec::new();
    while reported.iter().filter(|t: &&String| t.contains("Delivered")).count() < 6 {
        let requested = s.expect::<ProduceRequest>();
        s.acknowledge(&requested, 5);
        reported.extend(s.reported().iter().map(|reported| format!("{reported:?}")));
    }
    reported.sort();
    reported
}

#[test]
fn n1_records_responses_in_single_bytes_are_the_same() {
    let (mut s, _) = reading(1, 2);
    s.piece = 1;
    let requested = s.expect::<FetchRequest>();
    let parts = vec![records(0, &[batch(0, &["a"])]), records(1, &[batch(0, &["b", "c"])])];
    s.give(&requested, 0, parts);
    let wanted = [(0, 0, "a"), (1, 0, "b"), (1, 1, "c")];
    assert_eq!(s.records(), wanted.map(|(p, o, v)| (p, o, v.to_owned())));
}

#[test]
fn n2_a_broker_that_knows_fewer_versions_gets_a_second_request_once() {
    for (profile, versions) in [(Profile::V1_1, [5, 0]), (Profile::V2_4, [5, 3])] {
        let mut s = Script::new(World::new(1).release(profile).topic("t", 1));
        s.manual(ApiKey::ApiVersions);
        s.topic("t");
        for version in versions {
            let requested = s.expect::<ApiVersionsRequest>();
            assert_eq!(requested.version, version, "{profile}");
            let mut body = s.world.versions(profile);
            if version == 5 {
                body.error_code = 35;
                body.api_keys.retain(|range| range.api_key == 18 && profile > Profile::V1_1);
            }
            s.respond(&requested, body);
        }
        assert_eq!(s.connects.len(), 1, "{profile}: on the same connection");
        s.automatic(ApiKey::ApiVersions);
        s.ready("t");
    }
}

#[test]
fn n2_a_broker_that_refuses_all_versions_is_given_up_and_tried_again_later() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    s.manual(ApiKey::ApiVersions);
    s.topic("t");
    for hint in [5, 9, 0] {
        let requested = s.expect::<ApiVersionsRequest>();
        let range = kafka_protocol::messages::api_versions_response::ApiVersion::default()
            .with_api_key(18)
            .with_max_version(hint);
        let body = ApiVersionsResponse::default().with_error_code(35);
        s.respond(&requested, body.clone().with_api_keys(vec![range.clone()]));
        if hint == 0 {
            let again = s.expect::<ApiVersionsRequest>();
            assert_eq!(again.version, 0);
            s.respond(&again, body.with_api_keys(vec![range]));
        }
        let api = kavka_core::wire::ApiKey::API_VERSIONS;
        let fault = PeerFault::NoCommonVersion { api, min: 0, max: hint };
        let no_version = (-1, Error::Peer(fault));
        assert_eq!(disconnected(&mut s), [no_version], "hint {hint}");
    }
    assert!((3..=4).contains(&s.connects.len()), "{:?}", s.connects);
    let times: Vec<_> = s.connects.iter().map(|(at, _)| *at).collect();
    let paused = |pair: &[Instant]| pair[0].until(pair[1]) >= Duration::from_millis(30);
    assert!(times.windows(2).all(paused), "{times:?}");
}

/// A broker without a version of Metadata, or one that refuses with another code, is useless, too.
#[test]
fn n2_a_broker_that_cannot_report_of_topics_is_given_up() {
    let lacks = PeerFault::NoApi(kavka_core::wire::ApiKey::METADATA);
    let refuses = PeerFault::NoVersions(ErrorCode(41));
    for (without, code, fault) in [(Some(ApiKey::Metadata), 0, lacks), (None, 41, refuses)] {
        let mut s = Script::new(World::new(1).topic("t", 1));
        s.manual(ApiKey::ApiVersions);
        let t = s.topic("t");
        let requested = s.expect::<ApiVersionsRequest>();
        let mut body = s.world.versions(Profile::V4_4).with_error_code(code);
        body.api_keys.retain(|range| without.is_none_or(|api| range.api_key != api as i16));
        s.respond(&requested, body);
        let no_version = (-1, Error::Peer(fault));
        assert_eq!(disconnected(&mut s), [no_version], "code {code}");
        s.automatic(ApiKey::ApiVersions);
        s.until("it is ready", |s| s.client.freshness(t).is_some());
    }
}

/// A peer that completes the handshake and then sends nonsense, repeatedly.
#[test]
fn n2_a_broker_that_always_fails_is_not_connected_in_a_loop() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    s.manual(ApiKey::Metadata);
    s.topic("t");
    let end = s.now() + Duration::from_secs(5);
    while s.now() < end {
        let requested = s.expect::<MetadataRequest>();
        s.feed(requested.conn, &[0, 0, 0, 6, 9, 9, 9, 9, 9, 9]);
    }
    let n = s.connects.len();
    assert!((5..150).contains(&n), "{n} connections in 5 s");
}

#[test]
fn n3_a_broker_that_never_accepts_is_given_up_for_the_next_address() {
    let mut world = World::new(3).topic("t", 1);
    world.node(1).hangs = true;
    world.node(2).up = false;
    let config = Config::new("b1:9001,b2:9002,b3:9003").linger(Duration::ZERO);
    let mut s = Script::with(world, config, &Limits::small());
    let start = s.now();
    s.ready("t");
    let took = start.until(s.now());
    // The one that hangs has its time; the next one refuses at once. Random numbers decide which is
    // the first, and differ in builds with rare branches.
    let least = if cfg!(kavka_rare) { Duration::ZERO } else { Duration::from_millis(900) };
    let range = least..Duration::from_secs(4);
    assert!(range.contains(&took), "{took:?}");
}

#[test]
fn n3_the_pause_before_connecting_again_grows() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    s.world.node(1).up = false;
    s.topic("t");
    s.run(Duration::from_secs(60));
    let n = s.connects.len();
    assert!((50..90).contains(&n), "{n} attempts in a minute");
    let times: Vec<_> = s.connects.iter().map(|(at, _)| *at).collect();
    let last = times[n - 2].until(times[n - 1]);
    assert!(last >= Duration::from_millis(790), "{last:?}");
    let first = times[0].until(times[1]).as_millis();
    assert!((35..=70).contains(&first), "{first} ms");
}

#[test]
fn n4_a_throttled_connection_is_quiet_and_continues_afterwards() {
    let (mut s, t) = warm();
    let requested = send(&mut s, t, &["a"]);
    let response = Script::produce_response(&requested[0], 0, 1).with_throttle_time_ms(300);
    s.respond(&requested[0], response);
    let start = s.now();
    s.produce(t, 0, "b");
    let (requested, ..) = next(&mut s);
    assert_eq!(start.until(s.now()), Duration::from_millis(300));
    s.acknowledge(&requested, 2);
    assert_eq!(s.delivered().len(), 2);
}

#[test]
fn n5_a_request_timeout_ends_the_connection_and_all_that_was_on_it_goes_again() {
    let mut config = Config::new("b1:9001").linger(Duration::ZERO);
    config.request_timeout = Duration::from_secs(4);
    let mut s = Script::with(World::new(1).topic("t", 2), config, &Limits::small());
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let first = s.expect::<ProduceRequest>();
    s.acknowledge(&first, 0);
    let start = s.now();
    for value in ["b", "c"] {
        s.produce(t, 0, value);
        s.expect_within::<ProduceRequest>(Duration::ZERO);
    }
    for value in ["b", "c"] {
        let requested = s.expect::<ProduceRequest>();
        assert_eq!(s.batches(&requested)[0].values, [value]);
        assert!(start.until(s.now()) >= Duration::from_secs(4));
        s.acknowledge(&requested, 1);
    }
    assert!(disconnected(&mut s).contains(&(1, Error::TimedOut)));
    assert_eq!(s.delivered().len(), 3);
}

#[test]
fn n6_what_is_not_the_response_that_is_due_ends_the_connection() {
    let frames: [(&[u8], PeerFault); 7] = [
        (&[0, 0, 0, 4, 0x7f, 0, 0, 0], PeerFault::Correlation),
        (&[0xff, 0xff, 0xff, 0xff], PeerFault::FrameLength(-1)),
        (&[0x7f, 0xff, 0xff, 0xff], PeerFault::FrameLength(i32::MAX)),
        (&[0x15, 3, 3, 0, 2, 2, 70], PeerFault::NotKafka(Protocol::Tls)),
        (b"HTTP/1.1 400 Bad Request", PeerFault::NotKafka(Protocol::Http)),
        (b"SSH-2.0-OpenSSH_9.6\r\n", PeerFault::NotKafka(Protocol::Ssh)),
        (b"\r\n\t~", PeerFault::NotKafka(Protocol::Text(*b"\r\n\t~"))),
    ];
    for (bytes, fault) in frames {
        let mut s = Script::new(World::new(1).topic("t", 1));
        let t = s.ready("t");
        s.produce(t, 0, "a response is due");
        let requested = s.expect::<ProduceRequest>();
        s.feed(requested.conn, bytes);
        assert_eq!(disconnected(&mut s), [(1, Error::Peer(fault))]);
        s.until("a new connection", |s| !s.connections(1).is_empty());
    }
}

#[test]
fn n7_a_connection_that_a_broker_ends_for_idleness_is_no_failure() {
    let mut config = Config::new("b1:9001").linger(Duration::ZERO);
    config.probing = kavka_core::Probing::Never;
    let mut s = Script::with(World::new(1).topic("t", 1), config, &Limits::small());
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    s.run(Duration::from_secs(60));
    let conn = s.connections(1)[0];
    let now = s.now();
    s.cut(conn);
    s.produce(t, 0, "b");
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 1);
    assert!(now.until(s.now()) < Duration::from_millis(30), "without a pause");
    assert_eq!((disconnected(&mut s), s.delivered().len()), (vec![], 2));
}

#[test]
fn n9_a_broker_that_moves_house_is_followed() {
    let (mut s, t) = ready(World::new(2).topic("t", 1));
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    s.world.node(1).port = 9555;
    let _ = s.try_produce(t, 9, "x");
    s.run(Duration::from_secs(2));
    s.produce(t, 0, "b");
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&requested)[0].values, ["b"]);
    let _ = events(&mut s);
}

/// Slow links cost throughput: no error, no connection that ends, no false time-out.
#[test]
fn n10_slow_links_cost_time_and_nothing_else() {
    for seed in 1..=3 {
        let mut world: SimWorld<Journal> = SimWorld::new(seed, Options::default());
        world.net.fastest = Duration::from_millis(50);
        world.net.slowest = Duration::from_millis(200);
        world.cluster.create_topic("t", 3).expect("created");
        let [writer, reader] =
            [(); 2].map(|()| world.join(Journal::default(), &Limits::small(), |_| ()));
        let topics = [writer, reader].map(|member| {
            world.command(member, |_, client, _| client.topic("t")).expect("a topic")
        });
        world
            .command(reader, |now, client, _| client.assign_all(now, topics[1], Start::Earliest))
            .expect("assigned");
        for n in 0..300 {
            world.app_mut(writer).send(topics[0], n.to_string());
        }
        let minute = Duration::from_secs(60);
        world.await_that("delivery", minute, |w| w.app(writer).sent_all());
        world.await_that("reading", minute, |w| w.app(reader).count_read() == 300);
        world.run_for(minute);
        assert_eq!(world.app(writer).lost, [], "{}", world.at());
        for member in [writer, reader] {
            // Builds with rare branches pretend now and then that no block is free for a handshake.
            let pretended = |error| {
                let blocks = matches!(error, Error::Limit { what: LimitKind::SendBlocks, .. });
                cfg!(kavka_rare) && blocks
            };
            let ended = |news: &News| match news {
                News::Disconnected { error, .. } => !pretended(*error),
                _ => false,
            };
            let ends: Vec<_> =
                world.app(member).news.iter().filter(|(_, news)| ended(news)).collect();
            assert!(ends.is_empty(), "{}: client {member}: {ends:?}", world.at());
        }
    }
}
