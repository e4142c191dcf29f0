//! Frames in pieces, brokers that break the protocol, do not respond or close.

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse,
    MetadataRequest, ProduceRequest,
};
use kavka_core::wire::ApiKey as Api;
use kavka_core::{Admin, CloseReason, Config, Duration, Error, Limits, Obstacle, PeerFault};
use kavka_tests::script::steps::{configured, disconnected, reading_with, send, warm, warm_up};
use kavka_tests::script::{Reported, Requested, Script, World};
use kavka_tests::sim::Profile;

/// A half-read frame must not continue in the next connection with the same entry.
#[test]
fn bytes_after_a_response_do_not_reach_the_next_connection() {
    let mut limits = Limits::small();
    limits.conns = 1;
    let mut config = Config::new("b1:9001").linger(Duration::ZERO);
    config.probing = kavka_core::Probing::Never;
    let mut s = Script::with(World::new(2).topic("t", 2), config, &limits);
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    s.run(Duration::from_secs(1));
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    let mut bytes = s.encoded(&requested, Script::produce_response(&requested, 0, 1)).to_vec();
    // A frame that is a hundred bytes longer than its response, most of which never arrive.
    bytes[3] += 100;
    bytes.extend([0; 10]);
    s.feed(requested.conn, &bytes);
    assert_eq!((s.delivered().len() - 1, s.client.stats().trailing_bytes), (1, 100));
    // The other broker needs the only connection.
    s.produce(t, 1, "b");
    let requested = s.expect_within::<ProduceRequest>(Duration::from_millis(200));
    assert_eq!((requested.node, disconnected(&mut s)), (2, vec![]));
}

/// Newer brokers may append fields; the response after them is read nevertheless.
#[test]
fn bytes_after_a_response_are_passed_in_any_pieces() {
    for last in [0, 4, 10] {
        let (mut s, t) = warm();
        let requested = send(&mut s, t, &["a"]).remove(0);
        let mut bytes = s.encoded(&requested, Script::produce_response(&requested, 0, 1)).to_vec();
        bytes[3] += 10;
        bytes.extend([0; 10]);
        let (front, rest) = bytes.split_at(bytes.len() - last);
        s.feed(requested.conn, front);
        s.feed(requested.conn, rest);
        assert_eq!((s.delivered().len(), s.client.stats().trailing_bytes), (1, 10));
        let next = send(&mut s, t, &["b"]).remove(0);
        assert_eq!(next.conn, requested.conn);
        s.acknowledge(&next, 2);
        assert_eq!((s.delivered().len(), disconnected(&mut s)), (1, vec![]), "{last} bytes");
    }
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
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&requested)[0].partition, 9_999);
}

#[test]
fn an_admin_request_follows_the_controller() {
    let mut s = Script::new(World::new(2).topic("t", 1).release(Profile::V2_8));
    s.ready("t");
    let operation =
        Admin::CreateTopic { name: "new", partitions: 1, replication_factor: 1, configs: &[] };
    let now = s.now();
    s.client.admin(now, &operation).expect("taken");
    for code in [41, 0] {
        let requested = s.expect::<CreateTopicsRequest>();
        let topic =
            kafka_protocol::messages::create_topics_response::CreatableTopicResult::default()
                .with_name(requested.body.topics[0].name.clone())
                .with_error_code(code);
        s.respond(&requested, CreateTopicsResponse::default().with_topics(vec![topic]));
    }
    let done = s.take_reported(|reported| match reported {
        Reported::Done { result, .. } => Some(*result),
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
fn tagged_fields_that_are_not_known_are_counted() {
    let mut s = Script::new(World::new(1).topic("t", 2));
    s.manual(ApiKey::Metadata);
    s.topic("t");
    let requested = s.expect::<MetadataRequest>();
    let mut response = s.world.metadata(&requested.body);
    response.unknown_tagged_fields.insert(77, Bytes::from_static(b"from the future"));
    response.topics[0].unknown_tagged_fields.insert(78, Bytes::new());
    s.respond(&requested, response);
    assert_eq!(s.client.stats().unknown_tags, 2);
}

/// The adapter may be late: its call for an ended connection does not concern the next one.
#[test]
fn late_news_of_a_connection_does_not_reach_the_next_one_in_its_place() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.ready("t");
    let old = s.connections(1)[0];
    s.cut(old);
    s.until("a new connection", |s| !s.connections(1).is_empty());
    let now = s.now();
    s.client.handle_closed(now, old, CloseReason::Reset);
    assert!(s.client.recv_buffer(old).is_empty());
    assert!(s.client.address(old).is_none());
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    assert_eq!((s.delivered().len(), s.connects.len()), (1, 2));
}

#[test]
fn a_response_that_its_frame_cuts_short_ends_the_connection() {
    let mut s = Script::new(World::new(1).topic("t", 3));
    s.manual(ApiKey::Metadata);
    s.topic("t");
    let requested = s.expect::<MetadataRequest>();
    let body = s.world.metadata(&requested.body);
    let mut bytes = s.encoded(&requested, body).to_vec();
    bytes.truncate(bytes.len() - 9);
    let length = u32::try_from(bytes.len() - 4).expect("short").to_be_bytes();
    bytes[..4].copy_from_slice(&length);
    s.feed(requested.conn, &bytes);
    assert_eq!(disconnected(&mut s), [(-1, Error::Peer(PeerFault::Malformed(Api::METADATA)))]);
}

/// A throttled client stays quiet; brokers before these versions wait themselves (KIP-219).
#[test]
fn a_throttled_response_is_followed_by_quiet_since_the_version_that_says_so() {
    for (version, pause, quiet) in [(7, 300, 0), (8, 300, 300), (11, 300, 300), (11, 1, 1)] {
        let world = World::new(1).release(Profile::V2_4).topic("t", 1);
        let (mut s, _) = reading_with(world.at_most(ApiKey::Fetch, version), |config| config);
        let requested = s.expect::<FetchRequest>();
        assert_eq!(requested.version, version);
        let body = FetchResponse::default().with_session_id(7).with_throttle_time_ms(pause);
        s.respond(&requested, body);
        let start = s.now();
        s.expect::<FetchRequest>();
        assert_eq!(start.until(s.now()).as_millis(), quiet, "Fetch {version}");
    }
    for (version, quiet) in [(5, 0), (6, 300), (8, 300)] {
        let world = World::new(1).release(Profile::V2_4).topic("t", 1);
        let mut s = configured(world.at_most(ApiKey::Produce, version), |_| ());
        let t = s.ready("t");
        warm_up(&mut s, t, 0);
        let requested = send(&mut s, t, &["a"]).remove(0);
        assert_eq!(requested.version, version);
        let body = Script::produce_response(&requested, 0, 1).with_throttle_time_ms(300);
        s.respond(&requested, body);
        let start = s.now();
        s.produce(t, 0, "b");
        s.expect::<ProduceRequest>();
        assert_eq!(start.until(s.now()).as_millis(), quiet, "Produce {version}");
    }
}

/// Lets a broker fail at each Produce request in this way. Returns the connections to it.
fn fail_at_produce(
    time: Duration,
    fail: impl Fn(&mut Script, &Requested<ProduceRequest>),
) -> usize {
    let (mut s, t) = warm();
    s.produce(t, 0, "a");
    let (end, before, mut count) = (s.now() + time, s.connects.len(), 0);
    while s.now() < end {
        match s.take::<ProduceRequest>() {
            Some(requested) => {
                count += 1;
                fail(&mut s, &requested);
            }
            None => s.run(Duration::from_millis(1)),
        }
    }
    assert!(count >= 3, "it is tried again");
    s.connects.len() - before
}

/// A connection that is ready and responds to other requests says nothing about this one.
#[test]
fn a_broker_that_fails_at_the_same_request_again_is_connected_ever_more_slowly() {
    let time = Duration::from_secs(30);
    let connects = fail_at_produce(time, |s, requested| s.cut(requested.conn));
    assert!((5..60).contains(&connects), "{connects} connections in 30 s");
    let connects = fail_at_produce(time, |s, requested| {
        let mut bytes = s.encoded(requested, Script::produce_response(requested, 0, 1)).to_vec();
        bytes.truncate(14);
        bytes[3] = 10;
        s.feed(requested.conn, &bytes);
    });
    assert!((5..60).contains(&connects), "{connects} connections in 30 s");
}

#[test]
fn a_malformed_produce_response_is_the_reason_of_a_time_out() {
    let mut s = configured(World::new(1).topic("t", 1), |config| {
        config.delivery_timeout = Duration::from_secs(3);
    });
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let mut errors = Vec::new();
    while errors.is_empty() {
        if let Some(requested) = s.take::<ProduceRequest>() {
            let bytes = s.encoded(&requested, Script::produce_response(&requested, 0, 1)).to_vec();
            s.feed(requested.conn, &[&[0, 0, 0, 10][..], &bytes[4..14]].concat());
        }
        s.run(Duration::from_millis(1));
        errors = s.failed();
    }
    let fault = PeerFault::Malformed(Api::PRODUCE);
    assert_eq!(errors[0].1, Error::Blocked(Obstacle::Peer { broker: 1, fault }));
}
