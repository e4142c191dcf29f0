//! Frames in pieces, brokers that break the protocol, do not answer or go away.

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    MetadataRequest, ProduceRequest,
};
use kavka_core::{Admin, CloseReason, Config, Duration, Error, Event, Limits, PeerFault};
use kavka_tests::script::{Script, Told, World};
use kavka_tests::sim::Profile;

/// Connections that the application was told to have ended.
fn disconnected(s: &mut Script) -> Vec<(i32, Error)> {
    s.take_told(|told| match told.event()? {
        Event::Disconnected { broker, error } => Some((broker, error)),
        _ => None,
    })
}

#[test]
fn n1_answers_in_any_pieces_are_the_same() {
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
    let mut told = Vec::new();
    while told.iter().filter(|t: &&String| t.contains("Delivered")).count() < 6 {
        let asked = s.expect::<ProduceRequest>();
        s.acknowledge(&asked, 5);
        told.extend(s.told().iter().map(|told| format!("{told:?}")));
    }
    told.sort();
    told
}

#[test]
fn n2_a_broker_that_knows_fewer_versions_is_asked_again_once() {
    for (profile, versions) in [(Profile::V1_1, [5, 0]), (Profile::V2_4, [5, 3])] {
        let mut s = Script::new(World::new(1).release(profile).topic("t", 1));
        s.manual(ApiKey::ApiVersions);
        s.topic("t");
        for version in versions {
            let asked = s.expect::<ApiVersionsRequest>();
            assert_eq!(asked.version, version, "{profile}");
            let mut body = s.world.versions(profile);
            if version == 5 {
                body.error_code = 35;
                body.api_keys.retain(|range| range.api_key == 18 && profile > Profile::V1_1);
            }
            s.answer(&asked, body);
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
        let asked = s.expect::<ApiVersionsRequest>();
        let range = kafka_protocol::messages::api_versions_response::ApiVersion::default()
            .with_api_key(18)
            .with_max_version(hint);
        let body = ApiVersionsResponse::default().with_error_code(35);
        s.answer(&asked, body.clone().with_api_keys(vec![range.clone()]));
        if hint == 0 {
            let again = s.expect::<ApiVersionsRequest>();
            assert_eq!(again.version, 0);
            s.answer(&again, body.with_api_keys(vec![range]));
        }
        let no_version = (-1, Error::Peer(PeerFault::NoCommonVersion));
        assert_eq!(disconnected(&mut s), [no_version], "hint {hint}");
    }
    assert!(s.connects.len() <= 4, "{:?}", s.connects);
}

/// A peer that greets and then talks nonsense, again and again.
#[test]
fn n2_a_broker_that_always_fails_is_not_connected_in_a_circle() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    s.manual(ApiKey::Metadata);
    s.topic("t");
    let end = s.now() + Duration::from_secs(5);
    while s.now() < end {
        let asked = s.expect::<MetadataRequest>();
        s.feed(asked.conn, &[0, 0, 0, 6, 9, 9, 9, 9, 9, 9]);
    }
    assert!(s.connects.len() < 150, "{} connections in 5 s", s.connects.len());
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
    assert!(took < Duration::from_secs(4), "{took:?}");
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
    assert!(times[0].until(times[1]) <= Duration::from_millis(70));
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
        let asked = s.expect::<ProduceRequest>();
        assert_eq!(s.batches(&asked)[0].values, [value]);
        assert!(start.until(s.now()) >= Duration::from_secs(4));
        s.acknowledge(&asked, 1);
    }
    assert!(disconnected(&mut s).contains(&(1, Error::TimedOut)));
    assert_eq!(s.delivered().len(), 3);
}

#[test]
fn n6_what_is_not_the_answer_that_is_due_ends_the_connection() {
    let frames: [(&[u8], PeerFault); 5] = [
        (&[0, 0, 0, 4, 0x7f, 0, 0, 0], PeerFault::Correlation),
        (&[0xff, 0xff, 0xff, 0xff], PeerFault::FrameLength),
        (&[0x7f, 0xff, 0xff, 0xff], PeerFault::FrameLength),
        (&[0x15, 3, 3, 0, 2, 2, 70], PeerFault::NotKafka),
        (b"HTTP/1.1 400 Bad Request", PeerFault::NotKafka),
    ];
    for (bytes, fault) in frames {
        let mut s = Script::new(World::new(1).topic("t", 1));
        s.ready("t");
        let conn = s.connections(1)[0];
        s.feed(conn, bytes);
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
    let asked = s.expect::<ProduceRequest>();
    s.acknowledge(&asked, 0);
    s.run(Duration::from_secs(60));
    let conn = s.connections(1)[0];
    let now = s.now();
    s.cut(conn);
    s.produce(t, 0, "b");
    let asked = s.expect::<ProduceRequest>();
    s.acknowledge(&asked, 1);
    assert!(now.until(s.now()) < Duration::from_millis(30), "without a pause");
    assert_eq!((disconnected(&mut s), s.delivered().len()), (vec![], 2));
}

/// What a connection was in the middle of must not be read into the next one in its place.
#[test]
fn bytes_behind_an_answer_do_not_reach_the_next_connection() {
    let mut limits = Limits::small();
    limits.conns = 1;
    let mut config = Config::new("b1:9001").linger(Duration::ZERO);
    config.probing = kavka_core::Probing::Never;
    let mut s = Script::with(World::new(2).topic("t", 2), config, &limits);
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let asked = s.expect::<ProduceRequest>();
    s.acknowledge(&asked, 0);
    s.run(Duration::from_secs(1));
    s.produce(t, 0, "a");
    let asked = s.expect::<ProduceRequest>();
    let mut bytes = s.encoded(&asked, Script::produce_answer(&asked, 0, 1)).to_vec();
    // A frame that is a hundred bytes longer than its answer, most of which never come.
    bytes[3] += 100;
    bytes.extend([0; 10]);
    s.feed(asked.conn, &bytes);
    assert_eq!((s.delivered().len() - 1, s.client.stats().trailing_bytes), (1, 100));
    // The other broker needs the only connection.
    s.produce(t, 1, "b");
    let asked = s.expect_within::<ProduceRequest>(Duration::from_millis(200));
    assert_eq!((asked.node, disconnected(&mut s)), (2, vec![]));
}

#[test]
fn a_frame_far_larger_than_the_buffer_is_read() {
    let mut limits = Limits::small();
    limits.rx_bytes = 512;
    let config = Config::new("b1:9001").linger(Duration::ZERO);
    let mut s = Script::with(World::new(1).topic("t", 10_000), config, &limits);
    let t = s.ready("t");
    assert_eq!(s.client.freshness(t).map(|f| f.partitions), Some(10_000));
    s.produce(t, 9_999, "a");
    let asked = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&asked)[0].partition, 9_999);
}

#[test]
fn an_admin_request_follows_the_controller() {
    let mut s = Script::new(World::new(2).topic("t", 1).release(Profile::V2_8));
    s.ready("t");
    let ask =
        Admin::CreateTopic { name: "new", partitions: 1, replication_factor: 1, configs: &[] };
    let now = s.now();
    s.client.admin(now, &ask).expect("taken");
    for code in [41, 0] {
        let asked = s.expect::<CreateTopicsRequest>();
        let topic =
            kafka_protocol::messages::create_topics_response::CreatableTopicResult::default()
                .with_name(asked.body.topics[0].name.clone())
                .with_error_code(code);
        s.answer(&asked, CreateTopicsResponse::default().with_topics(vec![topic]));
    }
    let done = s.take_told(|told| match told {
        Told::Done { result, .. } => Some(*result),
        _ => None,
    });
    assert_eq!(done, [Ok(())]);
}

#[test]
fn an_unknown_or_late_connection_id_means_nothing() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    s.ready("t");
    let conn = s.connections(1)[0];
    s.cut(conn);
    let now = s.now();
    for _ in 0..3 {
        s.client.handle_connected(now, conn);
        s.client.handle_closed(now, conn, CloseReason::Reset);
        assert!(s.client.recv_buffer(conn).is_empty());
        s.client.handle_received(now, conn, 100);
        assert!(s.client.poll_transmit(now, conn).is_none());
        s.client.handle_transmitted(now, conn, 100);
    }
    s.run(Duration::from_secs(1));
    assert_eq!(disconnected(&mut s).len(), 1);
}

#[test]
fn tagged_fields_that_nobody_knows_are_counted() {
    let mut s = Script::new(World::new(1).topic("t", 2));
    s.manual(ApiKey::Metadata);
    s.topic("t");
    let asked = s.expect::<MetadataRequest>();
    let mut answer = s.world.metadata(&asked.body);
    answer.unknown_tagged_fields.insert(77, Bytes::from_static(b"from the future"));
    answer.topics[0].unknown_tagged_fields.insert(78, Bytes::new());
    s.answer(&asked, answer);
    assert_eq!(s.client.stats().unknown_tags, 2);
}
