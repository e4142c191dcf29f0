//! Each known cause is available within a second of its first sign: as an event, as the error of a
//! record, or from a query. `--nocapture` prints the measured times.

use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, ListOffsetsRequest,
    MetadataRequest, MetadataResponse, ProduceRequest,
};
use kavka_core::wire::{ApiKey as Api, ErrorCode};
use kavka_core::{
    AddressFault, CloseReason, Config, Duration, Error, Event, Limits, Obstacle, PartitionId,
    PeerFault, Protocol, Start, TopicId,
};
use kavka_tests::script::fetch::refused;
use kavka_tests::script::steps::disconnected;
use kavka_tests::script::{Operation, Script, World};

const SECOND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);

/// What a broker does to its Metadata responses.
type Change = fn(&mut MetadataResponse);

/// Measured times, in the order of the cases.
#[derive(Default)]
struct Times(Vec<(String, Duration, Error)>);

impl Times {
    /// Lets time pass from the first sign of a cause, which is now, until `found` returns it.
    fn measure(
        &mut self,
        name: &str,
        s: &mut Script,
        wanted: Error,
        mut found: impl FnMut(&mut Script) -> Option<Error>,
    ) {
        let sign = s.now();
        let error = loop {
            s.settle();
            if let Some(error) = found(s) {
                break error;
            }
            assert!(sign.until(s.now()) < 5 * SECOND, "{name}: no reason");
            s.run(STEP);
        };
        let time = sign.until(s.now());
        assert_eq!(error, wanted, "{name}, after {time:?}");
        assert!(time < SECOND, "{name}: {error:?} only after {time:?}");
        self.0.push((name.to_owned(), time, error));
    }
}

impl Drop for Times {
    fn drop(&mut self) {
        for (name, time, error) in &self.0 {
            println!("{:>5} ms  {name}: {error}", time.as_millis());
        }
    }
}

fn one() -> World {
    World::new(1).topic("t", 1)
}

/// Records fail after 0.8 s: what is known then is their reason.
fn script(world: World) -> Script {
    let mut config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    config.delivery_timeout = Duration::from_millis(800);
    Script::with(world, config, &Limits::small())
}

fn failed(s: &mut Script) -> Option<Error> {
    s.failed().into_iter().next().map(|(_, error, _)| error)
}

fn partition_failed(s: &mut Script) -> Option<Error> {
    let errors = s.take_reported(|reported| match reported.event()? {
        Event::PartitionFailed { error, .. } => Some(error),
        _ => None,
    });
    errors.into_iter().next()
}

fn topic_failed(s: &mut Script) -> Option<Error> {
    let errors = s.take_reported(|reported| match reported.event()? {
        Event::TopicFailed { error, .. } => Some(error),
        _ => None,
    });
    errors.into_iter().next()
}

fn stands_in_the_way(s: &mut Script) -> Option<Error> {
    s.client.obstacle().map(Error::Blocked)
}

fn of_partition(at: PartitionId) -> impl Fn(&mut Script) -> Option<Error> {
    move |s| s.client.obstacle_of(at).map(Error::Blocked)
}

fn of_topic(topic: TopicId) -> impl Fn(&mut Script) -> Option<Error> {
    move |s| s.client.obstacle_of_topic(topic).map(Error::Blocked)
}

fn assign(s: &mut Script, topic: TopicId, partition: u32, start: Start) -> PartitionId {
    let now = s.now();
    s.client.assign(now, topic, partition, start).expect("assigned")
}

fn by_leader(api: Api, code: i16) -> Error {
    let code = ErrorCode(code);
    Error::Blocked(Obstacle::Refused { broker: 1, api: Some(api), code })
}

fn peer(broker: i32, fault: PeerFault) -> Error {
    Error::Blocked(Obstacle::Peer { broker, fault })
}

#[test]
fn known_causes_are_available_within_a_second() {
    let mut times = Times::default();
    unreachable(&mut times);
    not_kafka(&mut times);
    refused_versions(&mut times);
    missing_apis(&mut times);
    refusals(&mut times);
    retried_refusals(&mut times);
    places(&mut times);
    odd_metadata(&mut times);
    another_cluster(&mut times);
    memory(&mut times);
}

fn unreachable(times: &mut Times) {
    let cases =
        [("refused connection", CloseReason::Refused), ("no address", CloseReason::Unresolved)];
    for (name, why) in cases {
        let mut world = one();
        let node = world.node(1);
        (node.up, node.why) = (false, why);
        let mut s = script(world);
        s.topic("t");
        let wanted = Error::Blocked(Obstacle::Unreachable { broker: -1, why, api: None });
        times.measure(name, &mut s, wanted, stands_in_the_way);
        // A name that a broker is advertised with.
        let mut s = script(World::new(2).topic("t", 1));
        let t = s.ready("t");
        s.world.lead("t", 0, 2);
        let listed = s.world.clone();
        let node = s.world.node(2);
        (node.up, node.why) = (false, why);
        s.manual(ApiKey::Metadata);
        s.produce(t, 0, "a");
        let requested = s.expect::<MetadataRequest>();
        s.respond(&requested, listed.metadata(&requested.body));
        let wanted = Error::Blocked(Obstacle::Unreachable { broker: 2, why, api: None });
        times.measure(&format!("{name} of a leader"), &mut s, wanted, failed);
    }
}

fn not_kafka(times: &mut Times) {
    let cases: [(&str, &[u8], Protocol); 5] = [
        ("SMTP", b"220 mail.example ESMTP\r\n", Protocol::Text(*b"220 ")),
        ("Redis", b"-ERR unknown command\r\n", Protocol::Text(*b"-ERR")),
        ("TLS", &[0x15, 3, 3, 0, 2, 2, 0x46], Protocol::Tls),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n", Protocol::Http),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", Protocol::Ssh),
    ];
    for (name, bytes, protocol) in cases {
        let mut s = script(one());
        s.manual(ApiKey::ApiVersions);
        s.topic("t");
        let requested = s.expect::<ApiVersionsRequest>();
        s.feed(requested.conn, bytes);
        let wanted = peer(-1, PeerFault::NotKafka(protocol));
        times.measure(name, &mut s, wanted, stands_in_the_way);
    }
}

fn refused_versions(times: &mut Times) {
    for code in [42, 31, -1] {
        let mut s = script(one());
        s.manual(ApiKey::ApiVersions);
        s.topic("t");
        let requested = s.expect::<ApiVersionsRequest>();
        s.respond(&requested, ApiVersionsResponse::default().with_error_code(code));
        let wanted = peer(-1, PeerFault::NoVersions(ErrorCode(code)));
        times.measure(&format!("ApiVersions refused: {code}"), &mut s, wanted, stands_in_the_way);
    }
}

fn missing_apis(times: &mut Times) {
    let other = |api| PeerFault::NoCommonVersion { api, min: 90, max: 91 };
    let cases = [
        (ApiKey::InitProducerId, Api::INIT_PRODUCER_ID),
        (ApiKey::Produce, Api::PRODUCE),
        (ApiKey::Fetch, Api::FETCH),
        (ApiKey::ListOffsets, Api::LIST_OFFSETS),
    ];
    for (theirs, api) in cases {
        for lacks in [true, false] {
            let mut world = one();
            match lacks {
                true => world.without.push(theirs as i16),
                false => world.offers.push((theirs, 90, 91)),
            }
            let fault = if lacks { PeerFault::NoApi(api) } else { other(api) };
            let name = format!("{} {}", api.name(), if lacks { "missing" } else { "too new" });
            let mut s = script(world);
            let t = s.ready("t");
            match api {
                Api::INIT_PRODUCER_ID | Api::PRODUCE => {
                    s.produce(t, 0, "a");
                    times.measure(&name, &mut s, Error::Peer(fault), failed);
                }
                _ => {
                    let at = assign(&mut s, t, 0, Start::Latest);
                    times.measure(&name, &mut s, Error::Peer(fault), partition_failed);
                    assert_eq!(of_partition(at)(&mut s), Some(peer(1, fault)), "{name}");
                }
            }
        }
    }
}

/// Refusals that no retry mends.
fn refusals(times: &mut Times) {
    let denied = ErrorCode(29);
    let mut s = script(one());
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    s.refuse(&requested, 29);
    times.measure("PRODUCE denied", &mut s, Error::Broker(denied), failed);

    let mut world = one();
    world.producer_error = 31;
    let mut s = script(world);
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let wanted = by_leader(Api::INIT_PRODUCER_ID, 31);
    times.measure("INIT_PRODUCER_ID denied", &mut s, wanted, failed);

    for start in [Start::Offset(0), Start::Latest] {
        let (mut s, at, api) = refused_reader(start, 29);
        let name = format!("{} denied", api.name());
        times.measure(&name, &mut s, Error::Broker(denied), partition_failed);
        assert_eq!(of_partition(at)(&mut s), Some(by_leader(api, 29)), "{name}");
    }

    let mut world = one();
    world.topic_mut("t").error = 29;
    let mut s = script(world);
    let t = s.topic("t");
    times.measure("METADATA denied", &mut s, Error::Broker(denied), topic_failed);
    let said = s.client.obstacle_of_topic(t);
    let (by, api) = (said.and_then(|said| said.broker()), said.and_then(|said| said.api()));
    assert!(by.is_some() && api == Some(Api::METADATA), "{said:?}");
}

/// Assigns a partition, and refuses the first request for it with this code.
fn refused_reader(start: Start, code: i16) -> (Script, PartitionId, Api) {
    let mut s = script(one());
    s.manual(ApiKey::ListOffsets);
    let t = s.ready("t");
    let at = assign(&mut s, t, 0, start);
    let api = if start == Start::Latest { Api::LIST_OFFSETS } else { Api::FETCH };
    s.until("a request", |s| refuse_reader(s, code));
    (s, at, api)
}

/// Refuses what has been requested for a partition. False: nothing was.
fn refuse_reader(s: &mut Script, code: i16) -> bool {
    if let Some(requested) = s.take::<FetchRequest>() {
        s.give(&requested, 0, vec![refused(0, code)]);
        return true;
    }
    let Some(requested) = s.take::<ListOffsetsRequest>() else { return false };
    let mut body = s.world.offsets(&requested.body);
    for at in body.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        (at.error_code, at.offset) = (code, -1);
    }
    s.respond(&requested, body);
    true
}

/// Refusals that are retried: the query has them at once, the event comes when they last.
fn retried_refusals(times: &mut Times) {
    for start in [Start::Offset(0), Start::Latest] {
        for code in [3, 5, 6, 9, 56, 74, 75, 78, 100, -1] {
            let (mut s, at, api) = refused_reader(start, code);
            let name = format!("{} {code}", api.name());
            let wanted = by_leader(api, code);
            times.measure(&format!("{name}, query"), &mut s, wanted, of_partition(at));
            times.measure(&name, &mut s, Error::Broker(ErrorCode(code)), |s| {
                while refuse_reader(s, code) {}
                partition_failed(s)
            });
        }
    }
    for code in [2, 5, 6, 7, 19, 56, 72] {
        let mut s = script(one());
        let t = s.ready("t");
        s.produce(t, 0, "a");
        let wanted = by_leader(Api::PRODUCE, code);
        times.measure(&format!("PRODUCE {code}"), &mut s, wanted, |s| {
            while let Some(requested) = s.take::<ProduceRequest>() {
                s.refuse(&requested, code);
            }
            failed(s)
        });
    }
    for code in [5, 72, -1] {
        let mut world = one();
        world.topic_mut("t").error = code;
        let mut s = script(world);
        s.topic("t");
        let wanted = Error::Broker(ErrorCode(code));
        times.measure(&format!("METADATA {code}"), &mut s, wanted, topic_failed);
    }
}

fn places(times: &mut Times) {
    let mut world = one();
    world.partition("t", 0).leader = -1;
    let mut s = script(world);
    let t = s.ready("t");
    let at = assign(&mut s, t, 0, Start::Offset(0));
    let wanted = Error::Blocked(Obstacle::NoLeader);
    times.measure("no leader, query", &mut s, wanted, of_partition(at));
    s.produce(t, 0, "a");
    times.measure("no leader, record", &mut s, wanted, failed);
    let at = assign(&mut s, t, 7, Start::Offset(0));
    let wanted = Error::Blocked(Obstacle::NoPartition);
    times.measure("no such partition", &mut s, wanted, of_partition(at));

    let mut s = script(World::new(1));
    let t = s.topic("t");
    let (api, code) = (Some(Api::METADATA), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    s.until("the first response", |s| {
        s.client.obstacle_of_topic(t).is_some_and(|o| o.broker() == Some(1))
    });
    let wanted = Error::Blocked(Obstacle::Refused { broker: 1, api, code });
    times.measure("unknown topic, query", &mut s, wanted, of_topic(t));
}

/// Responds to Metadata requests with a changed response.
fn respond(s: &mut Script, change: impl Fn(&mut MetadataResponse)) {
    while let Some(requested) = s.take::<MetadataRequest>() {
        let mut body = s.world.metadata(&requested.body);
        change(&mut body);
        s.respond(&requested, body);
    }
}

fn odd_metadata(times: &mut Times) {
    let mut s = script(one());
    s.manual(ApiKey::Metadata);
    s.topic("t");
    let requested = s.expect::<MetadataRequest>();
    let frame = [&[0, 0, 0, 12][..], &requested.correlation.to_be_bytes(), &[0xff; 8]].concat();
    s.feed(requested.conn, &frame);
    let wanted = peer(-1, PeerFault::Malformed(Api::METADATA));
    times.measure("malformed METADATA", &mut s, wanted, stands_in_the_way);

    let mut s = script(one());
    s.manual(ApiKey::Metadata);
    s.topic("t");
    let wanted = peer(-1, PeerFault::NoBrokers);
    times.measure("no brokers", &mut s, wanted, |s| {
        respond(s, |body| body.brokers.clear());
        stands_in_the_way(s).filter(|error| !is_silence(error))
    });

    let odd: [(&str, Change); 2] = [
        ("left out of METADATA", |body| body.topics.clear()),
        ("without partitions in METADATA", |body| body.topics[0].partitions.clear()),
    ];
    for (name, change) in odd {
        let mut s = script(one());
        s.manual(ApiKey::Metadata);
        let t = s.topic("t");
        let wanted = peer(1, PeerFault::NoTopic);
        times.measure(name, &mut s, wanted, |s| {
            respond(s, change);
            of_topic(t)(s).filter(|error| *error == wanted)
        });
    }

    let addresses: [(&str, AddressFault, Change); 4] = [
        ("empty host", AddressFault::NoHost, |body| body.brokers[1].host = "".into()),
        ("port 0", AddressFault::NoPort, |body| body.brokers[1].port = 0),
        ("negative port", AddressFault::NoPort, |body| body.brokers[1].port = -1),
        ("leader left out", AddressFault::Unlisted, |body| drop(body.brokers.pop())),
    ];
    for (name, why, change) in addresses {
        let mut world = World::new(2).topic("t", 1);
        world.partition("t", 0).leader = 2;
        let mut s = script(world);
        s.manual(ApiKey::Metadata);
        let t = s.topic("t");
        s.until("the topic is ready", |s| {
            respond(s, change);
            s.client.freshness(t).is_some()
        });
        let at = assign(&mut s, t, 0, Start::Offset(0));
        s.produce(t, 0, "a");
        let mut found = |wanted, of: &dyn Fn(&mut Script) -> Option<Error>| {
            times.measure(name, &mut s, wanted, |s| {
                respond(s, change);
                of(s).filter(|error| *error == wanted)
            });
        };
        let wanted = Error::Blocked(Obstacle::NoAddress { broker: 1, leader: 2, why });
        found(wanted, &of_partition(at));
        found(wanted, &failed);
    }
}

fn is_silence(error: &Error) -> bool {
    matches!(error, Error::Blocked(Obstacle::NoResponse { .. }))
}

fn another_cluster(times: &mut Times) {
    let world = |cluster| one().cluster(cluster);
    let mut config = Config::new("b1:9001").linger(Duration::ZERO);
    config.delivery_timeout = 120 * SECOND;
    let mut s = Script::with(world("here"), config, &Limits::small());
    let t = s.ready("t");
    s.produce(t, 0, "its leader is known");
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    s.world = world("there");
    s.cut_all(1);
    s.produce(t, 0, "a");
    s.until("it is noticed", |s| {
        disconnected(s).contains(&(1, Error::Peer(PeerFault::OtherCluster)))
    });
    times.measure("another cluster", &mut s, peer(1, PeerFault::OtherCluster), failed);
    s.none::<ProduceRequest>("it is another cluster");
}

fn memory(times: &mut Times) {
    let mut limits = Limits::small();
    limits.partitions = 2;
    let config = Config::new("b1:9001");
    let mut s = Script::with(World::new(1).topic("t", 5), config, &limits);
    let t = s.topic("t");
    let now = s.now();
    s.client.assign_all(now, t, Start::Earliest).expect("assigned");
    s.until("the topic is known", |s| s.client.freshness(t).is_some());
    let what = kavka_core::LimitKind::Partitions;
    let wanted = Error::Limit { what, needed: 5 };
    times.measure("memory for partitions", &mut s, wanted, topic_failed);
}

/// What a request waits for is known before the silence is reported as an event.
#[test]
fn a_request_without_a_response_is_named_while_it_waits() {
    fn silent<R: Operation>(
        api: ApiKey,
        name: Api,
        begin: impl Fn(&mut Script, TopicId) -> Option<PartitionId>,
    ) {
        let mut s = script(one());
        let early = matches!(api, ApiKey::ApiVersions | ApiKey::Metadata);
        let t = if early { s.topic("t") } else { s.ready("t") };
        s.manual(api);
        let at = begin(&mut s, t);
        s.until("a request", |s| s.waiting::<R>() > 0);
        s.run(2 * SECOND);
        let found = match at {
            Some(at) => s.client.obstacle_of(at),
            None => s.client.obstacle_of_topic(t),
        };
        let found = found.unwrap_or_else(|| panic!("{name:?}: nothing"));
        assert!(
            matches!(found, Obstacle::NoResponse { api: Some(api), .. } if api == name),
            "{name:?}: {found:?}"
        );
    }
    silent::<ApiVersionsRequest>(ApiKey::ApiVersions, Api::API_VERSIONS, |_, _| None);
    silent::<MetadataRequest>(ApiKey::Metadata, Api::METADATA, |_, _| None);
    silent::<ListOffsetsRequest>(ApiKey::ListOffsets, Api::LIST_OFFSETS, |s, t| {
        Some(assign(s, t, 0, Start::Latest))
    });
    silent::<FetchRequest>(ApiKey::Fetch, Api::FETCH, |s, t| {
        Some(assign(s, t, 0, Start::Offset(0)))
    });
}

/// A leader that closes the connection over each request of a kind.
#[test]
fn a_request_that_ends_the_connection_is_named() {
    let mut s = script(one());
    let t = s.ready("t");
    let at = assign(&mut s, t, 0, Start::Offset(0));
    s.produce(t, 0, "a");
    let mut named = [None, None];
    s.until("both are named", |s| {
        if let Some(requested) = s.take::<FetchRequest>() {
            s.cut(requested.conn);
        }
        if let Some(requested) = s.take::<ProduceRequest>() {
            s.cut(requested.conn);
        }
        let api = |obstacle: Obstacle| match obstacle {
            Obstacle::Unreachable { broker: 1, why: CloseReason::Reset, api } => api,
            _ => None,
        };
        let fetch = s.client.obstacle_of(at).and_then(api);
        named[0] = named[0].or(fetch.filter(|api| *api == Api::FETCH));
        let record = failed(s).and_then(|error| match error {
            Error::Blocked(obstacle) => api(obstacle),
            _ => None,
        });
        named[1] = named[1].or(record);
        named.iter().all(Option::is_some)
    });
}

/// A broker that is starting lists no brokers, itself included.
#[test]
fn a_peer_that_lists_no_brokers_is_tried_ever_more_slowly() {
    let mut s = script(World::new(1));
    s.manual(ApiKey::Metadata);
    s.topic("t");
    let (end, mut requested) = (s.now() + 10 * SECOND, 0);
    while s.now() < end {
        requested += s.waiting::<MetadataRequest>();
        respond(&mut s, |body| body.brokers.clear());
        s.run(Duration::from_millis(5));
    }
    assert!((5..=25).contains(&requested), "{requested} requests in 10 s");
    let reported = disconnected(&mut s);
    let all = reported.iter().all(|(_, error)| *error == Error::Peer(PeerFault::NoBrokers));
    assert!(all && !reported.is_empty(), "{reported:?}");
    assert_eq!(topic_failed(&mut s), None, "it says nothing about the topic");
    s.world = one();
    s.automatic(ApiKey::Metadata);
    s.ready("t");
}

/// One broker cannot be reached while another responds: that is no obstacle of everything.
#[test]
fn a_failed_connection_is_no_obstacle_of_all_while_another_broker_responds() {
    let mut s = script(World::new(2).topic("t", 2));
    let t = s.ready("t");
    s.produce(t, 0, "a");
    s.produce(t, 1, "b");
    s.run(Duration::from_millis(50));
    while let Some(requested) = s.take::<ProduceRequest>() {
        s.acknowledge(&requested, 0);
    }
    s.kill(2);
    s.run(2 * SECOND);
    assert_eq!(s.client.obstacle(), None);
}
