//! Topics: created, extended, described, deleted; and offsets.

use std::time::{Duration, Instant};

use kavka_std::{Admin, Config, ErrorKind, Event, NewTopic, Producer, Record, Start};
use kavka_tests::sim::ApiKey;

use super::{LONG, config, reported, server};

#[test]
fn topics_are_made_grown_described_and_deleted() {
    let server = server(3);
    let admin = Admin::new(config(&server)).unwrap();
    reported(admin.create_topic(("b", 2, 1))).unwrap();
    reported(admin.create_topic(NewTopic::new("a", 5, 3).config("retention.ms", "60000"))).unwrap();
    let topic = reported(admin.describe("a")).unwrap();
    let indexes: Vec<_> = topic.partitions.iter().map(|partition| partition.index).collect();
    assert_eq!(indexes, [0, 1, 2, 3, 4]);
    assert!(topic.partitions.iter().all(|at| at.leader.is_some() && at.replicas.len() == 3));
    reported(admin.create_partitions("b", 7)).unwrap();
    assert_eq!(reported(admin.describe("b")).unwrap().partitions.len(), 7);
    let names: Vec<_> =
        reported(admin.list_topics()).unwrap().into_iter().map(|topic| topic.name).collect();
    assert_eq!(names, ["a", "b"]);
    let cluster = reported(admin.cluster()).unwrap();
    let ids: Vec<_> = cluster.brokers.iter().map(|broker| broker.id).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(cluster.id.as_deref(), Some("simulated-cluster-0001"));
    reported(admin.delete_topic("b")).unwrap();
    reported(admin.create_topic(("b", 1, 1))).expect("at once again");
    assert_eq!(reported(admin.describe("b")).unwrap().partitions.len(), 1);
}

#[test]
fn refusals_say_who_refused_what_and_what_to_do() {
    let server = server(1);
    let admin = Admin::new(config(&server)).unwrap();
    let refused = |error: kavka_std::Error, code: i16, words: [&str; 2]| {
        let text = error.to_string();
        assert_eq!(error.code().map(|code| code.0), Some(code), "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    refused(reported(admin.describe("none")).unwrap_err(), 3, ["none", "create the topic"]);
    refused(reported(admin.delete_topic("none")).unwrap_err(), 3, ["delete topic none", "(3)"]);
    reported(admin.create_topic(("t", 3, 1))).unwrap();
    refused(
        reported(admin.create_topic(("t", 3, 1))).unwrap_err(),
        36,
        ["create topic t", "delete"],
    );
    refused(
        reported(admin.create_partitions("t", 2)).unwrap_err(),
        37,
        ["2 partitions", "only grow"],
    );
}

#[test]
fn topic_configs_may_be_many_and_long_and_too_many_fail_at_once() {
    let server = server(1);
    let limits = kavka_std::Limits::small();
    let admin = Admin::new(config(&server).limits(limits).admin_timeout(LONG)).unwrap();
    let mut topic = NewTopic::new("many", 1, 1);
    for n in 0..13 {
        topic = topic.config(format!("config.{n}"), "x".repeat(256));
    }
    reported(admin.create_topic(topic)).expect("13 configs of 256 bytes");
    let begun = Instant::now();
    let refused = |topic: NewTopic, words: [&str; 2]| {
        let error = reported(admin.create_topic(topic)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error.kind(), ErrorKind::RequestTooLarge { .. }), "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    let long = NewTopic::new("long", 1, 1).config("a", "x".repeat(40_000));
    refused(long, ["40000 bytes of a text", "at most 32767"]);
    let config = |topic: NewTopic, n: u32| topic.config(n.to_string(), "x".repeat(30_000));
    let many = (0..20).fold(NewTopic::new("more", 1, 1), config);
    refused(many, ["send blocks", "at most"]);
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
}

#[test]
fn a_request_is_tried_again_when_the_controller_moves_or_a_response_is_lost() {
    let server = server(1);
    let admin = Admin::new(config(&server)).unwrap();
    server.inject(1, ApiKey::CreateTopics, 41, 2);
    reported(admin.create_topic(("t", 1, 1))).unwrap();
    // Applied, but without a response.
    server.drop_response(1, ApiKey::CreatePartitions);
    reported(admin.create_partitions("t", 2)).unwrap();
    server.drop_response(1, ApiKey::DeleteTopics);
    reported(admin.delete_topic("t")).unwrap();
    assert_eq!(reported(admin.list_topics()).unwrap().len(), 0);
}

#[test]
fn a_request_that_every_broker_refuses_as_no_controller_is_reported_long_before_it_fails() {
    let server = server(1);
    let admin = Admin::new(config(&server).admin_timeout(LONG)).unwrap();
    let events = admin.events();
    server.inject(1, ApiKey::CreateTopics, 41, 10_000);
    let begun = Instant::now();
    let _created = admin.create_topic(("t", 1, 1));
    let address = server.address(1).unwrap().to_string();
    let error = loop {
        match events.next_timeout(LONG) {
            Some(Event::TopicFailed { topic, error }) if &*topic == "t" => break error.to_string(),
            Some(_) => {}
            None => panic!("nothing is reported"),
        }
    };
    assert!(begun.elapsed() < Duration::from_secs(3), "after {:?}", begun.elapsed());
    for part in ["create topic t", "NOT_CONTROLLER", &address] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

/// It fails with the same code after half a minute of tries: requests are counted, not seconds.
#[test]
fn a_refusal_that_stays_is_reported_after_one_request() {
    let server = server(1);
    let admin = Admin::new(config(&server)).unwrap();
    server.create_topic("t", 1).unwrap();
    let code = |result: Result<(), kavka_std::Error>| {
        result.unwrap_err().code().map(|code| code.0).unwrap_or_default()
    };
    let reported = [
        (ApiKey::CreateTopics, code(reported(admin.create_topic(("t", 1, 1)))), 36),
        (ApiKey::DeleteTopics, code(reported(admin.delete_topic("none"))), 3),
        (ApiKey::CreatePartitions, code(reported(admin.create_partitions("none", 2))), 3),
    ];
    for (api, code, expected) in reported {
        assert_eq!((code, server.traffic(api).requests), (expected, 1), "{api:?}");
    }
    // What was created here exists, and deleting one name did not delete others.
    super::reported(admin.create_topic(("u", 1, 1))).unwrap();
    super::reported(admin.delete_topic("u")).unwrap();
    assert_eq!(code(super::reported(admin.create_topic(("t", 1, 1)))), 36);
    assert_eq!(server.traffic(ApiKey::CreateTopics).requests, 3);
}

#[test]
fn a_topic_is_created_after_a_delete_whose_response_was_lost() {
    let server = server(1);
    let admin = Admin::new(config(&server)).unwrap();
    server.create_topic("t", 1).unwrap();
    server.drop_response(1, ApiKey::DeleteTopics);
    reported(admin.delete_topic("t")).unwrap();
    assert_eq!(server.traffic(ApiKey::DeleteTopics).requests, 2);
    // A broker of ZooKeeper's time keeps reporting that it exists.
    server.inject(1, ApiKey::CreateTopics, 36, 2);
    reported(admin.create_topic(("t", 4, 1))).expect("a short while later");
    assert_eq!(server.traffic(ApiKey::CreateTopics).requests, 3);
    assert_eq!(reported(admin.describe("t")).unwrap().partitions.len(), 4);
}

#[test]
fn offsets_of_all_partitions_are_found() {
    let server = server(1);
    server.create_topic("t", 70).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    for (partition, count) in [(0, 3), (1, 0), (69, 5)] {
        for _ in 0..count {
            producer.send_to("t", partition, &Record::new(b"v")).unwrap();
        }
    }
    reported(producer.flush()).unwrap();
    let admin = Admin::new(config(&server)).unwrap();
    let ends = reported(admin.offsets("t", Start::Latest)).unwrap();
    assert_eq!((ends.len(), ends[0], ends[1], ends[69]), (70, 3, 0, 5));
    let firsts = reported(admin.offsets("t", Start::Earliest)).unwrap();
    assert_eq!(firsts, [0; 70]);
    // A Fetch waits for records and delays the requests after it.
    assert_eq!(server.traffic(ApiKey::Fetch).requests, 0);
}

#[test]
fn no_listener_at_the_address_is_reported_with_the_address() {
    let server = server(1);
    server.kill(1).unwrap();
    let config = Config::new(server.bootstrap()).admin_timeout(Duration::from_millis(500));
    let error = reported(Admin::new(config).unwrap().list_topics()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&server.bootstrap()) && text.contains("refused"), "{text}");
}

/// A request keeps its topic's entry only while it runs; requests for one topic take turns.
#[test]
fn offsets_of_more_topics_than_there_is_room_for() {
    let server = server(1);
    let names: Vec<_> = (0..60).map(|n| format!("t{n}")).collect();
    for name in &names {
        server.create_topic(name, 2).unwrap();
    }
    let mut limits = kavka_std::Limits::small();
    limits.topics = 3;
    let admin = Admin::new(config(&server).limits(limits)).unwrap();
    for name in &names {
        assert_eq!(reported(admin.offsets(name, Start::Latest)).unwrap(), [0, 0], "{name}");
    }
    let all = names.iter().chain(&names[..5]).chain(&names[..5]);
    let all: Vec<_> = all.map(|name| admin.offsets(name, Start::Latest)).collect();
    for pending in all {
        assert_eq!(reported(pending).unwrap(), [0, 0]);
    }
}
