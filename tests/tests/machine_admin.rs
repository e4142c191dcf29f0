//! Admin requests of the machine: what is requested of brokers, and the one end of each request.

use std::time::Duration;

use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    ApiKey, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kavka_core::wire::{ApiKey as Api, ErrorCode};
use kavka_core::{
    Admin, AdminError, Client, CloseReason, Config, ConfigError, Error, Event, LimitKind, Limits,
    Misuse, Obstacle, PeerFault, Reply, RequestId, Storage,
};
use kavka_tests::script::{Reported, Script, World};

fn script() -> Script {
    Script::new(World::new(1).topic("t", 2))
}

fn submit(s: &mut Script, operation: &Admin<'_>) -> RequestId {
    let now = s.now();
    s.client.admin(now, operation).expect("the request is taken")
}

/// Takes the ends of admin requests, in order.
fn done(s: &mut Script) -> Vec<(RequestId, Result<(), Error>)> {
    s.take_reported(|reported| match reported {
        Reported::Done { id, result } => Some((*id, *result)),
        _ => None,
    })
}

/// Takes the other parts of responses, as text.
fn replies(s: &mut Script) -> Vec<String> {
    s.take_reported(|reported| match reported {
        Reported::Reply { text, .. } => Some(text.clone()),
        _ => None,
    })
}

fn text(text: &'static str) -> Option<StrBytes> {
    Some(StrBytes::from_static_str(text))
}

#[test]
fn a_topic_is_created_with_its_configs() {
    let mut s = script();
    let configs = [("retention.ms", Some("1000")), ("cleanup.policy", None)];
    let id = submit(
        &mut s,
        &Admin::CreateTopic {
            name: "new",
            partitions: 3,
            replication_factor: 1,
            configs: &configs,
        },
    );
    let requested = s.expect::<CreateTopicsRequest>();
    let topic = &requested.body.topics[0];
    assert_eq!(
        (topic.name.as_str(), topic.num_partitions, topic.replication_factor),
        ("new", 3, 1)
    );
    let sent: Vec<_> =
        topic.configs.iter().map(|c| (c.name.to_string(), c.value.as_deref())).collect();
    let wanted = [("retention.ms".into(), Some("1000")), ("cleanup.policy".into(), None)];
    assert_eq!(sent, wanted);
    let result = CreatableTopicResult::default().with_name(topic.name.clone());
    s.respond(&requested, CreateTopicsResponse::default().with_topics(vec![result]));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
}

#[test]
fn a_topic_grows_or_the_broker_says_why_not() {
    for (code, validate_only) in [(0, false), (0, true), (37, false)] {
        let mut s = script();
        let id = submit(&mut s, &Admin::CreatePartitions { name: "t", count: 5, validate_only });
        let requested = s.expect::<CreatePartitionsRequest>();
        let topic = &requested.body.topics[0];
        assert_eq!((topic.name.as_str(), topic.count), ("t", 5));
        assert!(topic.assignments.is_none(), "the broker chooses the replicas");
        assert_eq!(requested.body.validate_only, validate_only);
        let result = CreatePartitionsTopicResult::default()
            .with_name(topic.name.clone())
            .with_error_code(code)
            .with_error_message(if code == 0 { None } else { text("it has five") });
        s.respond(&requested, CreatePartitionsResponse::default().with_results(vec![result]));
        let wanted = if code == 0 { Ok(()) } else { Err(Script::code(code)) };
        assert_eq!(done(&mut s), [(id, wanted)], "code {code}");
        let said: &[&str] = if code == 0 { &[] } else { &["Message(\"it has five\")"] };
        assert_eq!(replies(&mut s), said, "code {code}");
    }
}

#[test]
fn a_topic_is_deleted_or_the_broker_says_why_not() {
    for code in [0, 29] {
        let mut s = script();
        let id = submit(&mut s, &Admin::DeleteTopic { name: "t" });
        let requested = s.expect::<DeleteTopicsRequest>();
        let name = requested.body.topics[0].name.clone();
        assert_eq!(name.as_ref().map(|name| name.as_str()), Some("t"));
        let result = DeletableTopicResult::default()
            .with_name(name)
            .with_error_code(code)
            .with_error_message(if code == 0 { None } else { text("not yours") });
        s.respond(&requested, DeleteTopicsResponse::default().with_responses(vec![result]));
        let wanted = if code == 0 { Ok(()) } else { Err(Script::code(code)) };
        assert_eq!(done(&mut s), [(id, wanted)], "code {code}");
        assert_eq!(replies(&mut s).len(), usize::from(code != 0), "code {code}");
    }
}

#[test]
fn a_topic_is_described_in_the_order_of_the_response() {
    let mut s = script();
    let id = submit(&mut s, &Admin::Describe { topic: Some("t") });
    s.until("the response is there", |s| s.client.stats().requests > 1);
    s.run(Duration::from_millis(10));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
    let kinds: Vec<_> = replies(&mut s)
        .iter()
        .map(|text| text.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(kinds, ["Broker", "Cluster", "Topic", "Partition", "Partition"]);
}

#[test]
fn there_is_an_event_as_long_as_parts_of_a_response_wait() {
    let mut s = script();
    (s.listening, s.watching) = (false, false);
    let id = submit(&mut s, &Admin::Describe { topic: Some("t") });
    s.run(Duration::from_secs(1));
    let (now, mut parts) = (s.now(), 0);
    while s.client.has_event(now) {
        let (event, _) = s.client.poll_event(now).expect("there is one");
        parts += 1;
        if let Event::Reply { reply: Reply::Done(result), id: of } = event {
            assert_eq!((of, result), (id, Ok(())));
            break;
        }
    }
    assert_eq!(parts, 6, "as above, and the end");
    assert!(!s.client.has_event(now));
}

/// A topic's error fails the request if the topic was requested by name; in a list of all topics it
/// is reported with the topic, and the request succeeds.
#[test]
fn a_missing_topic_fails_its_own_description_only() {
    let mut s = script();
    let id = submit(&mut s, &Admin::Describe { topic: Some("nobody") });
    s.run(Duration::from_secs(1));
    assert_eq!(done(&mut s), [(id, Err(Script::code(3)))]);
    let _ = replies(&mut s);
    s.world.topic_mut("t").error = 29;
    let id = submit(&mut s, &Admin::Describe { topic: None });
    s.run(Duration::from_secs(1));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
    let reported = replies(&mut s).join("\n");
    assert!(reported.contains("TOPIC_AUTHORIZATION_FAILED"), "{reported}");
}

#[test]
fn a_request_on_a_connection_that_breaks_ends_with_it() {
    let mut s = script();
    s.manual(ApiKey::Metadata);
    let id = submit(&mut s, &Admin::Describe { topic: None });
    let requested = s.expect::<MetadataRequest>();
    s.automatic(ApiKey::ApiVersions);
    s.cut(requested.conn);
    let ends = done(&mut s);
    assert_eq!(ends, [(id, Err(Error::Closed(CloseReason::EndedEarly)))]);
    assert_eq!(replies(&mut s), [""; 0]);
}

#[test]
fn a_request_that_no_broker_takes_ends_at_the_request_timeout() {
    let mut s = script();
    s.world.node(1).up = false;
    let before = s.now();
    let id = submit(&mut s, &Admin::DeleteTopic { name: "t" });
    s.run(Duration::from_secs(29));
    assert_eq!(done(&mut s), []);
    s.run(Duration::from_secs(2));
    assert_eq!(done(&mut s), [(id, Err(Error::TimedOut))], "{before:?}");
}

/// Batches leave little memory; a request that does not fit into it is refused for now, and keeps
/// no memory.
/// Nothing else wakes the client then: its brokers accept no connection, and it waits for one.
#[test]
fn a_request_that_no_broker_takes_ends_exactly_then() {
    let world = World::new(1);
    let mut config = Config::new(world.bootstrap());
    config.request_timeout = Duration::from_millis(7321);
    let mut s = Script::with(world, config, &Limits::small());
    s.world.node(1).hangs = true;
    let id = submit(&mut s, &Admin::Describe { topic: None });
    let start = s.now();
    let mut ended = Vec::new();
    s.until("the request ends", |s| {
        ended = done(s);
        !ended.is_empty()
    });
    assert!(matches!(ended[..], [(of, Err(_))] if of == id), "{ended:?}");
    assert_eq!(start.until(s.now()), Duration::from_millis(7321));
}

#[test]
fn a_request_that_finds_no_memory_is_taken_when_there_is_some() {
    let world = World::new(1).topic("t", 1);
    let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    let mut limits = Limits::small();
    (limits.tx_blocks, limits.block_bytes) = (12, 128);
    let mut s = Script::with(world, config, &limits);
    let t = s.ready("t");
    s.produce(t, 0, "the producer id is known then");
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    s.run(Duration::from_secs(1));
    let before = s.client.stats().blocks_used;
    let record = "x".repeat(50);
    while s.try_produce(t, 0, &record).is_ok() {}
    let held = s.expect::<ProduceRequest>();
    let value = "v".repeat(200);
    let configs = [("retention.ms", Some(value.as_str()))];
    let name = "n".repeat(200);
    let create =
        Admin::CreateTopic { name: &name, partitions: 1, replication_factor: 1, configs: &configs };
    let now = s.now();
    assert_eq!(s.client.admin(now, &create), Err(AdminError::Full));
    s.acknowledge(&held, 1);
    let mut taken = None;
    s.until("it is taken", |s| {
        while let Some(requested) = s.take::<ProduceRequest>() {
            s.acknowledge(&requested, 1);
        }
        let now = s.now();
        taken = s.client.admin(now, &create).ok();
        taken.is_some()
    });
    let id = taken.expect("taken");
    let requested = s.expect_within::<CreateTopicsRequest>(Duration::from_millis(100));
    assert_eq!(requested.body.topics[0].name.as_str(), name);
    let result = CreatableTopicResult::default().with_name(requested.body.topics[0].name.clone());
    s.respond(&requested, CreateTopicsResponse::default().with_topics(vec![result]));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
    s.run(Duration::from_secs(1));
    s.none::<CreateTopicsRequest>("it was answered");
    assert_eq!(s.client.stats().blocks_used, before, "blocks of tries are free again");
}

#[test]
fn more_requests_than_there_is_memory_for_are_refused() {
    let world = World::new(1).topic("t", 1);
    let mut limits = Limits::small();
    limits.requests = 1;
    let mut s = Script::with(world.clone(), Config::new(world.bootstrap()), &limits);
    let id = submit(&mut s, &Admin::Describe { topic: None });
    let now = s.now();
    let refused = s.client.admin(now, &Admin::Describe { topic: None });
    assert_eq!(refused, Err(AdminError::Full));
    s.run(Duration::from_secs(1));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
    let _ = submit(&mut s, &Admin::Describe { topic: None });
}

/// Creates a client with few and small blocks.
fn small(blocks: usize, block_bytes: usize, requests: usize) -> Script {
    let world = World::new(1).topic("t", 1);
    let mut limits = Limits::small();
    (limits.tx_blocks, limits.block_bytes, limits.requests) = (blocks, block_bytes, requests);
    Script::with(world.clone(), Config::new(world.bootstrap()), &limits)
}

fn create<'a>(configs: &'a [(&'a str, Option<&'a str>)]) -> Admin<'a> {
    Admin::CreateTopic { name: "new", partitions: 3, replication_factor: 1, configs }
}

/// The highest number of configs, of any size, in every version of the request.
#[test]
fn configs_are_sent_as_they_are_however_many_and_long() {
    let long = "v".repeat(5000);
    let names: Vec<_> = (0..40).map(|n| format!("config.{n}")).collect();
    let values = [Some(&*long), None, Some(""), Some("x")];
    let mut configs: Vec<_> =
        names.iter().map(|n| &**n).zip(values.iter().cycle().copied()).collect();
    configs.insert(13, ("exactly.255", Some(&long[..255])));
    for version in [2, 4] {
        let world = World::new(1).topic("t", 1).at_most(ApiKey::CreateTopics, version);
        let config = Config::new(world.bootstrap());
        let mut s = Script::with(world, config, &Limits::small());
        let id = submit(&mut s, &create(&configs));
        let requested = s.expect::<CreateTopicsRequest>();
        assert_eq!(requested.version, version);
        let topic = &requested.body.topics[0];
        let sent: Vec<_> =
            topic.configs.iter().map(|c| (c.name.as_str(), c.value.as_deref())).collect();
        assert_eq!(sent, configs, "version {version}");
        assert_eq!((topic.num_partitions, topic.replication_factor), (3, 1));
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        s.respond(&requested, CreateTopicsResponse::default().with_topics(vec![result]));
        assert_eq!(done(&mut s), [(id, Ok(()))]);
        assert_eq!(s.client.stats().blocks_used, 0, "version {version}");
    }
}

#[test]
fn what_never_fits_is_refused_at_once_and_says_what_would_be_needed() {
    let mut s = small(16, 128, 2);
    let now = s.now();
    let long = "v".repeat(40_000);
    for len in [1000, 32_767] {
        let refused = s.client.admin(now, &create(&[("a", Some(&long[..len]))]));
        let Err(AdminError::TooLarge { what: LimitKind::SendBlocks, needed, max: 16 }) = refused
        else {
            panic!("{len}: {refused:?}")
        };
        assert!(needed > 2 * len / 128 && needed < 2 * len / 128 + 4, "{needed} for {len} bytes");
        // It is not more than reported.
        let mut enough = small(needed, 128, 2);
        let now = enough.now();
        enough.client.admin(now, &create(&[("a", Some(&long[..len]))])).expect("enough blocks");
        enough.expect::<CreateTopicsRequest>();
        let mut less = small(needed - 1, 128, 2);
        assert!(less.client.admin(now, &create(&[("a", Some(&long[..len]))])).is_err());
    }
    for configs in [[("a", Some(&*long))], [(&*long, None)]] {
        let refused = s.client.admin(now, &create(&configs));
        let text = AdminError::TooLarge { what: LimitKind::Text, needed: 40_000, max: 32_767 };
        assert_eq!(refused, Err(text));
    }
    let name = Admin::DeleteTopic { name: &long[..250] };
    assert_eq!(s.client.admin(now, &name), Err(AdminError::Caller(Misuse::TopicName)));
}

#[test]
fn what_does_not_fit_now_is_taken_when_others_have_ended() {
    let mut s = small(16, 128, 3);
    s.manual(ApiKey::CreateTopics);
    let value = "v".repeat(700);
    let configs = [("a", Some(&*value))];
    let first = submit(&mut s, &create(&configs));
    let now = s.now();
    let refused = s.client.admin(now, &create(&configs));
    assert_eq!(refused, Err(AdminError::Full));
    let requested = s.expect::<CreateTopicsRequest>();
    let now = s.now();
    assert_eq!(s.client.admin(now, &create(&configs)), refused, "it is kept until it has ended");
    let result = CreatableTopicResult::default().with_name(requested.body.topics[0].name.clone());
    s.respond(&requested, CreateTopicsResponse::default().with_topics(vec![result]));
    assert_eq!(done(&mut s), [(first, Ok(()))]);
    // One that ends without a response releases its memory as well.
    let second = submit(&mut s, &create(&configs));
    let requested = s.expect::<CreateTopicsRequest>();
    s.cut(requested.conn);
    assert_eq!(done(&mut s), [(second, Err(Error::Closed(CloseReason::Reset)))]);
    s.world.node(1).up = false;
    s.cut_all(1);
    let third = submit(&mut s, &create(&configs));
    s.run(Duration::from_secs(31));
    assert_eq!(done(&mut s), [(third, Err(Error::TimedOut))]);
    assert_eq!(s.client.stats().blocks_used, 0);
}

/// 300 at a time: each ends once.
#[test]
fn more_than_256_requests_end() {
    let mut s = small(1024, 512, 300);
    let mut ids: Vec<_> =
        (0..300).map(|_| submit(&mut s, &Admin::Describe { topic: Some("t") })).collect();
    s.run(Duration::from_secs(3));
    let mut ended: Vec<_> = done(&mut s)
        .into_iter()
        .map(|(id, result)| {
            assert_eq!(result, Ok(()));
            id
        })
        .collect();
    ids.sort_unstable();
    ended.sort_unstable();
    assert_eq!(ended, ids);
}

#[test]
fn more_slots_than_can_be_numbered_are_refused_at_the_start() {
    for (topics, requests, fits) in
        [(8, 70_000, false), (70_000, 4, false), (65_535, 4, true), (8, 65_535, true)]
    {
        let mut limits = Limits::small();
        (limits.topics, limits.requests) = (topics, requests);
        let client = Client::new(Config::new("b1:9001"), Storage::heap(&limits), [1; 32]);
        let refused = matches!(client.err(), Some(ConfigError::TooMuch { .. }));
        assert_eq!(refused, !fits, "{topics} {requests}");
    }
}

/// Responds to requests that change topics for `time`, and to Metadata with what `metadata` makes
/// of it. Returns how many of both there were.
fn serve(
    s: &mut Script,
    time: Duration,
    code: i16,
    metadata: impl Fn(&mut MetadataResponse),
) -> (usize, usize) {
    let (end, mut counts) = (s.now() + time, (0, 0));
    while s.now() < end {
        if let Some(requested) = s.take::<CreateTopicsRequest>() {
            counts.0 += 1;
            let name = requested.body.topics[0].name.clone();
            let result = CreatableTopicResult::default().with_name(name).with_error_code(code);
            s.respond(&requested, CreateTopicsResponse::default().with_topics(vec![result]));
        }
        if let Some(requested) = s.take::<MetadataRequest>() {
            counts.1 += 1;
            let mut body = s.world.metadata(&requested.body);
            metadata(&mut body);
            s.respond(&requested, body);
        }
        s.run(Duration::from_millis(1));
    }
    counts
}

const NEW: Admin<'_> =
    Admin::CreateTopic { name: "new", partitions: 1, replication_factor: 1, configs: &[] };
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_controller_that_keeps_refusing_gets_requests_ever_more_slowly_and_is_named() {
    let mut s = script();
    s.manual(ApiKey::Metadata);
    let id = submit(&mut s, &NEW);
    let (first, _) = serve(&mut s, SECOND, 41, |_| {});
    assert!((3..8).contains(&first), "{first} requests in a second");
    let (broker, api, code) = (1, Some(Api::CREATE_TOPICS), ErrorCode(41));
    let obstacle = Obstacle::Refused { broker, api, code };
    assert_eq!(s.client.obstacle_of_request(id), Some(obstacle));
    let (creates, requested) = serve(&mut s, 20 * SECOND, 41, |_| {});
    assert!(creates < 30 && requested < 60, "{creates} requests, {requested} for Metadata in 20 s");
    serve(&mut s, 10 * SECOND, 41, |_| {});
    let [(ended, Err(error))] = done(&mut s)[..] else { panic!("it has an end") };
    assert_eq!(ended, id);
    assert!([Error::Blocked(obstacle), Error::Broker(code)].contains(&error), "{error:?}");
    assert_eq!(s.client.obstacle_of_request(id), None);
}

/// As after an election: one refusal, and the next controller gets the request at once.
#[test]
fn a_request_that_was_refused_once_is_sent_again_at_once() {
    let mut s = script();
    let id = submit(&mut s, &NEW);
    let requested = s.expect::<CreateTopicsRequest>();
    let name = requested.body.topics[0].name.clone();
    let result = CreatableTopicResult::default().with_name(name.clone()).with_error_code(41);
    s.respond(&requested, CreateTopicsResponse::default().with_topics(vec![result]));
    let now = s.now();
    let requested = s.expect::<CreateTopicsRequest>();
    assert!(now.until(s.now()) <= Duration::from_millis(130), "{:?}", now.until(s.now()));
    let result = CreatableTopicResult::default().with_name(name);
    s.respond(&requested, CreateTopicsResponse::default().with_topics(vec![result]));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
}

#[test]
fn without_a_controller_metadata_is_requested_ever_more_slowly_until_there_is_one() {
    let mut s = script();
    s.manual(ApiKey::Metadata);
    let id = submit(&mut s, &NEW);
    let none = |body: &mut MetadataResponse| body.controller_id = (-1).into();
    let (creates, first) = serve(&mut s, SECOND, 0, none);
    assert!(creates == 0 && (2..10).contains(&first), "{first} for Metadata in a second");
    let obstacle = Obstacle::NoController { broker: 1 };
    assert_eq!(s.client.obstacle_of_request(id), Some(obstacle));
    let (_, requested) = serve(&mut s, 20 * SECOND, 0, none);
    assert!((10..40).contains(&requested), "{requested} for Metadata in 20 s");
    let (creates, _) = serve(&mut s, 2 * SECOND, 0, |_| {});
    assert_eq!((creates, done(&mut s)), (1, vec![(id, Ok(()))]));

    let id = {
        let mut s = script();
        s.manual(ApiKey::Metadata);
        let id = submit(&mut s, &NEW);
        serve(&mut s, 31 * SECOND, 0, none);
        assert_eq!(done(&mut s), [(id, Err(Error::Blocked(obstacle)))]);
        id
    };
    assert_eq!(s.client.obstacle_of_request(id), None);
}

/// An error code is in the entry of the topic: a response without it says nothing.
#[test]
fn a_response_without_the_topic_is_no_success() {
    let other = || StrBytes::from_static_str("other");
    for named in [false, true] {
        let mut s = script();
        let id = submit(&mut s, &NEW);
        let requested = s.expect::<CreateTopicsRequest>();
        let result = CreatableTopicResult::default().with_name(TopicName(other()));
        let topics = if named { vec![result] } else { vec![] };
        s.respond(&requested, CreateTopicsResponse::default().with_topics(topics));
        let fault = |api| Err(Error::Peer(PeerFault::LeftOut(api)));
        assert_eq!(done(&mut s), [(id, fault(Api::CREATE_TOPICS))]);

        let grow = Admin::CreatePartitions { name: "t", count: 5, validate_only: false };
        let id = submit(&mut s, &grow);
        let requested = s.expect::<CreatePartitionsRequest>();
        let result = CreatePartitionsTopicResult::default().with_name(TopicName(other()));
        let results = if named { vec![result] } else { vec![] };
        s.respond(&requested, CreatePartitionsResponse::default().with_results(results));
        assert_eq!(done(&mut s), [(id, fault(Api::CREATE_PARTITIONS))]);

        let id = submit(&mut s, &Admin::DeleteTopic { name: "t" });
        let requested = s.expect::<DeleteTopicsRequest>();
        let result = DeletableTopicResult::default().with_name(Some(TopicName(other())));
        let responses = if named { vec![result] } else { vec![] };
        s.respond(&requested, DeleteTopicsResponse::default().with_responses(responses));
        assert_eq!(done(&mut s), [(id, fault(Api::DELETE_TOPICS))]);
    }
}

/// A peer that lists no brokers: each admin request of the application is one more attempt.
#[test]
fn admin_requests_to_a_peer_without_brokers_do_not_undo_the_pauses_between_connections() {
    for operation in [Admin::Describe { topic: None }, NEW] {
        let mut s = script();
        s.manual(ApiKey::Metadata);
        let (end, mut count) = (s.now() + 10 * SECOND, 0);
        let mut next = s.now();
        while s.now() < end {
            let now = s.now();
            if now >= next && s.client.admin(now, &operation).is_ok() {
                next = now + SECOND;
            }
            while let Some(requested) = s.take::<MetadataRequest>() {
                count += 1;
                let mut body = s.world.metadata(&requested.body);
                body.brokers.clear();
                s.respond(&requested, body);
            }
            s.run(Duration::from_millis(1));
        }
        let connects = s.connects.len();
        assert!(
            count < 30 && connects < 25,
            "{operation:?}: {count} requests, {connects} connections in 10 s"
        );
    }
}
