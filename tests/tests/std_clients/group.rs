//! Members of a consumer group, for servers.

use std::sync::Arc;
use std::time::Duration;

use kavka_std::{Consumed, Consumer, ErrorKind, Event, Events, Producer, Record, Start};
use kavka_tests::sim::{Groups, Options, Server, Transactions};

use crate::{LONG, config, reported};

/// Returns the first event that is one.
#[track_caller]
fn first<T>(events: &Events, find: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let event = events.next_timeout(LONG).expect("an event");
        if let Some(found) = find(event) {
            return found;
        }
    }
}

fn partitions_of(event: Event) -> Option<u32> {
    match event {
        Event::Rebalanced { partitions } => Some(partitions),
        _ => None,
    }
}

#[test]
fn a_member_whose_application_stays_away_leaves_and_joins_again_when_it_is_back() {
    let groups = Groups { interval: Duration::from_millis(100), ..Groups::default() };
    let options = Options { brokers: 1, groups: Some(groups), ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("t", 2).expect("a new topic");
    let limit = Duration::from_millis(700);
    let config = config(&server).group("g").start(Start::Earliest);
    let lazy = config.clone().max_poll_interval(limit);
    let lazy = Consumer::subscribe(lazy, &["t"]).expect("a member");
    let events = lazy.events();
    assert_eq!(first(&events, partitions_of), 2, "it is alone");
    let producer = Producer::new(config.clone()).expect("a producer");
    reported(producer.send_to("t", 0, &Record::new(b"one")).expect("taken")).expect("sent");
    let chunk = reported(lazy.next()).expect("the record");
    // Nothing more is taken.
    let lost = |event| match event {
        Event::Lost { topic, partition } => Some((topic, partition)),
        _ => None,
    };
    let mut gone = [first(&events, lost), first(&events, lost)];
    gone.sort();
    assert_eq!(gone, [(Arc::from("t"), 0), (Arc::from("t"), 1)]);
    assert_eq!(server.with(|cluster| cluster.group_members("g")), [], "it has left");
    let late = reported(lazy.commit(&chunk)).expect_err("it is no member");
    assert!(late.to_string().contains("group g"), "{late}");
    let error = reported(lazy.next()).expect_err("the reason");
    assert_eq!(error.kind(), ErrorKind::PollTimeout { limit });
    let text = error.to_string();
    for part in ["group g", "700ms", "Config::max_poll_interval"] {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
    // It was not committed: it is read again.
    let chunk = reported(lazy.next()).expect("the record again");
    assert_eq!(
        chunk.records().map(|record| record.expect("sound").offset).collect::<Vec<_>>(),
        [0]
    );
    reported(lazy.commit(&chunk)).expect("it is a member again");
    assert_eq!(server.with(|cluster| cluster.group_members("g")).len(), 1);
}

#[test]
fn an_application_that_waits_is_not_away() {
    let groups = Groups { interval: Duration::from_millis(100), ..Groups::default() };
    let options = Options { brokers: 1, groups: Some(groups), ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("t", 1).expect("a new topic");
    let config = config(&server).group("g").start(Start::Earliest);
    let limit = Duration::from_millis(300);
    let consumer = Consumer::subscribe(config.clone().max_poll_interval(limit), &["t"]);
    let consumer = consumer.expect("a member");
    assert_eq!(first(&consumer.events(), partitions_of), 1);
    let waiting = consumer.next().wait_timeout(limit * 4).expect_err("there is no record");
    let producer = Producer::new(config).expect("a producer");
    reported(producer.send_to("t", 0, &Record::new(b"one")).expect("taken")).expect("sent");
    let chunk = reported(waiting).expect("no error, but the record");
    assert_eq!(chunk.records().count(), 1);
}

/// What was taken of such a partition must not be committed any more: a copy has to know.
#[test]
fn a_partition_that_is_taken_away_before_the_application_is_done_counts_as_lost() {
    let groups = Groups { interval: Duration::from_millis(100), ..Groups::default() };
    let options = Options { brokers: 1, groups: Some(groups), ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("t", 2).expect("a new topic");
    let config = config(&server).group("g").start(Start::Earliest);
    let slow = config.clone().revocation_wait(Duration::from_millis(200));
    let slow = Consumer::subscribe(slow, &["t"]).expect("a member");
    let events = slow.events();
    assert_eq!(first(&events, partitions_of), 2);
    let producer = Producer::new(config.clone()).expect("a producer");
    for partition in 0..2 {
        let sent = producer.send_to("t", partition, &Record::new(b"one")).expect("taken");
        reported(sent).expect("sent");
    }
    let mut taken = 0;
    while taken < 2 {
        taken += reported(slow.next()).expect("records").records().count();
    }
    let member = reported(slow.membership()).expect("a result").expect("a member");
    assert_eq!((member.group.as_str(), member.losses), ("g", 0));
    let other = Consumer::subscribe(config, &["t"]).expect("another member");
    let lost = |event| matches!(event, Event::Lost { .. }).then_some(());
    first(&events, lost);
    let again = reported(slow.membership()).expect("a result").expect("still a member");
    assert_eq!(again.losses, 1, "one of two");
    assert_eq!(again.member, member.member, "it is the same member");
    drop(other);
}

/// The offsets of a transaction replace those that the member committed at its start.
#[test]
fn offsets_of_transactions_have_the_mark_of_the_group() {
    let groups = Groups { interval: Duration::from_millis(100), ..Groups::default() };
    let transactions = Some(Transactions::default());
    let options = Options { brokers: 1, groups: Some(groups), transactions, ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("t", 1).expect("a new topic");
    let config = config(&server);
    let member = config.clone().group("g").start(Start::Latest);
    let consumer = Consumer::subscribe(member.clone(), &["t"]).expect("a member");
    first(&consumer.events(), partitions_of);
    let producer = Producer::new(config.clone()).expect("a producer");
    let write = |partition, text: &[u8]| {
        reported(producer.send_to("t", partition, &Record::new(text)).expect("taken"))
            .expect("sent")
    };
    // Until its start is known, what is written is before it.
    let mut taken = None;
    while taken.is_none() {
        write(0, b"one");
        taken = consumer.next_timeout(Duration::from_millis(50)).expect("no error");
    }
    let offset = taken.iter().flat_map(|chunk| chunk.batches()).map(|b| b.next_offset()).max();
    let offset = offset.expect("a batch");
    let writer = Producer::new(config.transactional_id("x")).expect("a producer");
    let transaction = writer.transaction().expect("none is open");
    let id = reported(consumer.membership()).expect("a result").expect("a member");
    let consumed =
        Consumed { topic: "t", partition: 0, offset, leader_epoch: -1, metadata: "mine" };
    reported(transaction.send_offsets(&id, &[consumed])).expect("they are part of it");
    reported(transaction.commit()).expect("committed");
    let committed = server.with(|cluster| cluster.group_offset("g", "t", 0));
    let (at, text) = committed.expect("a commit");
    assert!(at == offset && text.starts_with("kv1;n=1;") && text.ends_with(";mine"), "{text}");
    consumer.close(LONG).expect("it leaves");
    // Nobody is there when the topic grows.
    server.grow("t", 2).expect("grown");
    write(1, b"two");
    let next = Consumer::subscribe(member, &["t"]).expect("a member");
    let found = |chunk: &kavka_std::Chunk| {
        let mut values = chunk.records().map(|record| record.expect("sound").value);
        values.any(|value| value == Some(b"two"))
    };
    while !found(&reported(next.next()).expect("records")) {}
}
