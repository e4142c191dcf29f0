//! Admin requests of the machine: what brokers are asked, and the one end that each request has.

use std::time::Duration;

use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    ApiKey, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, MetadataRequest,
};
use kafka_protocol::protocol::StrBytes;
use kavka_core::{Admin, AdminError, CloseReason, Config, Error, LimitKind, Limits, RequestId};
use kavka_tests::script::{Script, Told, World};

fn script() -> Script {
    Script::new(World::new(1).topic("t", 2))
}

fn ask(s: &mut Script, ask: &Admin<'_>) -> RequestId {
    let now = s.now();
    s.client.admin(now, ask).expect("the request is taken")
}

/// Ends of admin requests, in order.
fn done(s: &mut Script) -> Vec<(RequestId, Result<(), Error>)> {
    s.take_told(|told| match told {
        Told::Done { id, result } => Some((*id, *result)),
        _ => None,
    })
}

/// The other parts of answers, as text.
fn replies(s: &mut Script) -> Vec<String> {
    s.take_told(|told| match told {
        Told::Reply { text, .. } => Some(text.clone()),
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
    let id = ask(
        &mut s,
        &Admin::CreateTopic {
            name: "new",
            partitions: 3,
            replication_factor: 1,
            configs: &configs,
        },
    );
    let asked = s.expect::<CreateTopicsRequest>();
    let topic = &asked.body.topics[0];
    assert_eq!(
        (topic.name.as_str(), topic.num_partitions, topic.replication_factor),
        ("new", 3, 1)
    );
    let sent: Vec<_> =
        topic.configs.iter().map(|c| (c.name.to_string(), c.value.as_deref())).collect();
    let wanted = [("retention.ms".into(), Some("1000")), ("cleanup.policy".into(), None)];
    assert_eq!(sent, wanted);
    let result = CreatableTopicResult::default().with_name(topic.name.clone());
    s.answer(&asked, CreateTopicsResponse::default().with_topics(vec![result]));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
}

#[test]
fn a_topic_grows_or_the_broker_says_why_not() {
    for (code, validate_only) in [(0, false), (0, true), (37, false)] {
        let mut s = script();
        let id = ask(&mut s, &Admin::CreatePartitions { name: "t", count: 5, validate_only });
        let asked = s.expect::<CreatePartitionsRequest>();
        let topic = &asked.body.topics[0];
        assert_eq!((topic.name.as_str(), topic.count), ("t", 5));
        assert!(topic.assignments.is_none(), "the broker chooses the replicas");
        assert_eq!(asked.body.validate_only, validate_only);
        let result = CreatePartitionsTopicResult::default()
            .with_name(topic.name.clone())
            .with_error_code(code)
            .with_error_message(if code == 0 { None } else { text("it has five") });
        s.answer(&asked, CreatePartitionsResponse::default().with_results(vec![result]));
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
        let id = ask(&mut s, &Admin::DeleteTopic { name: "t" });
        let asked = s.expect::<DeleteTopicsRequest>();
        let name = asked.body.topics[0].name.clone();
        assert_eq!(name.as_ref().map(|name| name.as_str()), Some("t"));
        let result = DeletableTopicResult::default()
            .with_name(name)
            .with_error_code(code)
            .with_error_message(if code == 0 { None } else { text("not yours") });
        s.answer(&asked, DeleteTopicsResponse::default().with_responses(vec![result]));
        let wanted = if code == 0 { Ok(()) } else { Err(Script::code(code)) };
        assert_eq!(done(&mut s), [(id, wanted)], "code {code}");
        assert_eq!(replies(&mut s).len(), usize::from(code != 0), "code {code}");
    }
}

#[test]
fn a_topic_is_described_in_the_order_of_the_answer() {
    let mut s = script();
    let id = ask(&mut s, &Admin::Describe { topic: Some("t") });
    s.until("the answer is there", |s| s.client.stats().requests > 1);
    s.run(Duration::from_millis(10));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
    let kinds: Vec<_> = replies(&mut s)
        .iter()
        .map(|text| text.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(kinds, ["Broker", "Cluster", "Topic", "Partition", "Partition"]);
}

/// The error of a topic is that of the request if it was asked for; in a list of all topics it is
/// told with the topic, and the request did well.
#[test]
fn a_missing_topic_fails_its_own_description_only() {
    let mut s = script();
    let id = ask(&mut s, &Admin::Describe { topic: Some("nobody") });
    s.run(Duration::from_secs(1));
    assert_eq!(done(&mut s), [(id, Err(Script::code(3)))]);
    let _ = replies(&mut s);
    s.world.topic_mut("t").error = 29;
    let id = ask(&mut s, &Admin::Describe { topic: None });
    s.run(Duration::from_secs(1));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
    let told = replies(&mut s).join("\n");
    assert!(told.contains("TOPIC_AUTHORIZATION_FAILED"), "{told}");
}

#[test]
fn a_request_on_a_connection_that_breaks_ends_with_it() {
    let mut s = script();
    s.manual(ApiKey::Metadata);
    let id = ask(&mut s, &Admin::Describe { topic: None });
    let asked = s.expect::<MetadataRequest>();
    s.automatic(ApiKey::ApiVersions);
    s.cut(asked.conn);
    let ends = done(&mut s);
    assert_eq!(ends, [(id, Err(Error::Closed(CloseReason::Reset)))]);
    assert_eq!(replies(&mut s), [""; 0]);
}

#[test]
fn a_request_that_no_broker_takes_ends_at_the_request_timeout() {
    let mut s = script();
    s.world.node(1).up = false;
    let before = s.now();
    let id = ask(&mut s, &Admin::DeleteTopic { name: "t" });
    s.run(Duration::from_secs(29));
    assert_eq!(done(&mut s), []);
    s.run(Duration::from_secs(2));
    assert_eq!(done(&mut s), [(id, Err(Error::TimedOut))], "{before:?}");
}

#[test]
fn what_is_too_large_is_told_apart_from_what_has_to_wait() {
    let world = World::new(1);
    let mut limits = Limits::small();
    limits.requests = 1;
    let mut s = Script::with(world.clone(), Config::new(world.bootstrap()), &limits);
    let _ = ask(&mut s, &Admin::Describe { topic: None });
    let now = s.now();
    let value = "x".repeat(9000);
    let create =
        |configs| Admin::CreateTopic { name: "t", partitions: 1, replication_factor: 1, configs };
    let large = [("a", Some(value.as_str()))];
    let (what, needed) = (LimitKind::ConfigBytes, 2 + 1 + 2 + 9000);
    let refused = s.client.admin(now, &create(&large));
    assert_eq!(refused, Err(AdminError::TooLarge { what, needed, max: 8192 }));
    let many = [("a", None); 129];
    let what = LimitKind::Configs;
    let refused = s.client.admin(now, &create(&many));
    assert_eq!(refused, Err(AdminError::TooLarge { what, needed: 129, max: 128 }));
    assert_eq!(s.client.admin(now, &create(&many[1..])), Err(AdminError::Full));
}

#[test]
fn more_requests_than_there_is_memory_for_are_refused() {
    let world = World::new(1).topic("t", 1);
    let mut limits = Limits::small();
    limits.requests = 1;
    let mut s = Script::with(world.clone(), Config::new(world.bootstrap()), &limits);
    let id = ask(&mut s, &Admin::Describe { topic: None });
    let now = s.now();
    let refused = s.client.admin(now, &Admin::Describe { topic: None });
    assert_eq!(refused, Err(AdminError::Full));
    s.run(Duration::from_secs(1));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
    let _ = ask(&mut s, &Admin::Describe { topic: None });
}
