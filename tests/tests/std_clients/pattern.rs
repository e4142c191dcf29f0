//! Subscriptions by regular expression, for servers.

use std::time::{Duration, Instant};

use kavka_std::{Consumer, ErrorKind, Event, Events, Producer, Record, Start};
use kavka_tests::sim::{Groups, Options, Server};

use crate::{LONG, config, reported};

fn server() -> Server {
    let groups = Groups {
        interval: Duration::from_millis(100),
        find_pause: Duration::from_millis(200),
        ..Groups::default()
    };
    let options = Options { brokers: 1, groups: Some(groups), ..Options::default() };
    Server::start(options).expect("simulated brokers")
}

/// Waits for a topic that joins (`true`) or leaves.
#[track_caller]
fn next_topic(events: &Events) -> (bool, String) {
    loop {
        match events.next_timeout(LONG).expect("an event") {
            Event::TopicJoined { topic } => return (true, topic.to_string()),
            Event::TopicLeft { topic } => return (false, topic.to_string()),
            _ => {}
        }
    }
}

#[test]
fn topics_that_match_come_and_go() {
    let server = server();
    for topic in ["orders-1", "my-orders-1"] {
        server.create_topic(topic, 1).expect("a new topic");
    }
    let config = config(&server).group("g").start(Start::Latest);
    let producer = Producer::new(config.clone()).expect("a producer");
    let send = |topic: &str, value: &[u8]| {
        let sent = producer.send_to(topic, 0, &Record::new(value)).expect("taken");
        reported(sent).expect("sent");
    };
    send("orders-1", b"before");
    let consumer = Consumer::subscribe_pattern(config, "orders-.*").expect("a member");
    let events = consumer.events();
    let next = || {
        let chunk = reported(consumer.next()).expect("a record");
        let record = chunk.records().next().expect("one").expect("a sound one");
        (record.topic.to_owned(), record.value.map(<[u8]>::to_vec))
    };
    assert_eq!(next_topic(&events), (true, "orders-1".to_owned()));
    let assigned = |event| matches!(event, Event::Assigned { .. });
    while !assigned(events.next_timeout(LONG).expect("it is assigned")) {}
    send("orders-1", b"after");
    assert_eq!(next(), ("orders-1".to_owned(), Some(b"after".to_vec())));
    // A new one is read from its first record, although the start is the end.
    server.create_topic("orders-2", 1).expect("a new topic");
    send("orders-2", b"first");
    assert_eq!(next_topic(&events), (true, "orders-2".to_owned()));
    assert_eq!(next(), ("orders-2".to_owned(), Some(b"first".to_vec())));
    server.with(|cluster| cluster.delete_topic("orders-2")).expect("it is there");
    assert_eq!(next_topic(&events), (false, "orders-2".to_owned()));
    send("orders-1", b"more");
    assert_eq!(next(), ("orders-1".to_owned(), Some(b"more".to_vec())), "and no error");
    consumer.close(LONG).expect("it leaves");
}

#[test]
fn an_expression_that_the_broker_refuses_is_named() {
    let server = server();
    let config = config(&server).group("g");
    let error = Consumer::subscribe_pattern(config.clone(), "orders-(").expect_err("none");
    assert_eq!(error.kind(), ErrorKind::Pattern);
    // A flag that brokers do not have.
    let consumer = Consumer::subscribe_pattern(config.clone(), "(?x)a").expect("an expression");
    let text = reported(consumer.next()).expect_err("refused").to_string();
    assert!(text.contains("(?x)a") && text.contains("RE2J"), "{text}");
    let error = Consumer::subscribe_pattern(config.group(""), "a").expect_err("no group");
    assert!(error.to_string().contains("group"), "{error}");
}

#[test]
fn a_consumer_that_has_not_joined_yet_is_closed_at_once() {
    let config = kavka_std::Config::new("127.0.0.1:1").group("g");
    let consumer = Consumer::subscribe_pattern(config, "a").expect("a member");
    let begun = Instant::now();
    consumer.close(LONG).expect("nothing to leave");
    assert!(begun.elapsed() < LONG / 2);
}
