//! What brokers respond with, or do not respond to, reaches the caller: the request, the code and
//! the address, before the time is over where nothing more can come.

use std::time::{Duration, Instant};

use kavka_std::kavka_core::wire::ApiKey as Api;
use kavka_std::{Admin, Config, Consumer, Error, Event, Producer, Record, Start};
use kavka_tests::sim::{ApiKey, Fault, Options, Server};

use super::{LONG, config, reported, server};

const SOON: Duration = Duration::from_secs(1);
/// More often than any client here retries.
const ALWAYS: usize = 10_000;

fn names(error: &Error, words: &[&str]) -> bool {
    let said = error.to_string();
    words.iter().all(|word| said.contains(word))
}

/// A broker whose ListOffsets responses are all errors, never come, or end the connection.
#[test]
fn offsets_that_cannot_be_found_name_the_request_the_code_and_the_address() {
    let cases = [
        (Fault::Error(6), "responded with NOT_LEADER_OR_FOLLOWER (6) to LIST_OFFSETS", false),
        (Fault::Error(78), "responded with OFFSET_NOT_AVAILABLE (78) to LIST_OFFSETS", false),
        (Fault::Error(29), "responded with TOPIC_AUTHORIZATION_FAILED (29) to LIST_OFFSETS", true),
        (Fault::Error(43), "(43) to LIST_OFFSETS", true),
        (Fault::Delay(LONG), "no response from the broker to LIST_OFFSETS", false),
        (Fault::DropRequest, "(no response to LIST_OFFSETS)", false),
    ];
    for (fault, words, permanent) in cases {
        let server = server(1);
        server.create_topic("t", 1).unwrap();
        let time = if permanent { LONG } else { 2 * SOON };
        let quiet = config(&server).probing(kavka_std::Probing::Never).admin_timeout(time);
        let admin = Admin::new(quiet).unwrap();
        reported(admin.describe("t")).unwrap();
        server.fault(1, ApiKey::ListOffsets, fault, ALWAYS);
        let began = Instant::now();
        let one = reported(admin.offsets_of("t", &[0], Start::Latest)).unwrap();
        let Err(error) = &one[0] else { panic!("{fault:?}: {one:?}") };
        assert!(names(error, &[words, &server.bootstrap()]), "{fault:?}: {error}");
        assert_eq!(error.api(), Some(Api::LIST_OFFSETS), "{fault:?}");
        let all = reported(admin.offsets("t", Start::Latest)).unwrap_err();
        if permanent {
            assert!(names(&all, &[words, &server.bootstrap()]), "{fault:?}: {all}");
            assert!(began.elapsed() < LONG / 2, "{fault:?}: {:?}", began.elapsed());
        }
    }
}

/// The same of Fetch: an event names it, `Consumer::obstacle` at any time, and `next` fails where
/// no retry helps.
#[test]
fn a_partition_that_cannot_be_read_names_the_request_the_code_and_the_address() {
    let cases = [
        (Fault::Error(6), "responded with NOT_LEADER_OR_FOLLOWER (6) to FETCH", false),
        (Fault::TopError(-1), "responded with UNKNOWN_SERVER_ERROR (-1) to FETCH", false),
        (Fault::Error(29), "responded with TOPIC_AUTHORIZATION_FAILED (29) to FETCH", true),
        (Fault::Error(43), "(43) to FETCH", true),
    ];
    for (fault, words, permanent) in cases {
        let server = server(1);
        server.create_topic("t", 1).unwrap();
        server.fault(1, ApiKey::Fetch, fault, ALWAYS);
        let list = [("t", 0, Start::Offset(0))];
        let consumer = Consumer::assign(config(&server), &list).unwrap();
        let events = consumer.events();
        let words = [words, &server.bootstrap(), "t, partition 0"];
        let failed =
            std::iter::from_fn(|| events.next_timeout(LONG)).find_map(|event| match event {
                Event::PartitionFailed { error, .. } => Some(error),
                _ => None,
            });
        let error = failed.expect("an event");
        assert!(names(&error, &words), "{fault:?}: {error}");
        assert_eq!(error.api(), Some(Api::FETCH), "{fault:?}");
        let now = reported(consumer.obstacle("t", 0)).unwrap().expect("an obstacle");
        assert!(names(&now, &words), "{fault:?}: {now}");
        if permanent {
            let error = reported(consumer.next()).map(drop).unwrap_err();
            assert!(names(&error, &words), "{fault:?}: {error}");
        }
    }
}

/// A leader that stays silent, or closes the connection, over each Fetch.
#[test]
fn a_leader_that_does_not_respond_is_named_with_the_request_and_its_address() {
    let cases = [
        (Fault::Delay(2 * LONG), "no response from the broker to FETCH"),
        (Fault::DropRequest, "(no response to FETCH)"),
    ];
    for (fault, words) in cases {
        let server = server(1);
        server.create_topic("t", 1).unwrap();
        server.fault(1, ApiKey::Fetch, fault, ALWAYS);
        let list = [("t", 0, Start::Offset(0))];
        let consumer = Consumer::assign(config(&server), &list).unwrap();
        let until = Instant::now() + 10 * SOON;
        let error = loop {
            let now = reported(consumer.obstacle("t", 0)).unwrap();
            match now.filter(|error| error.to_string().contains(words)) {
                Some(error) => break error,
                None => assert!(Instant::now() < until, "{fault:?}: nothing is known"),
            }
            drop(consumer.next_timeout(SOON / 10));
        };
        assert!(names(&error, &[words, &server.bootstrap()]), "{fault:?}: {error}");
    }
}

/// Less time than a missing topic takes to be confirmed.
#[test]
fn a_topic_that_does_not_exist_is_unknown_to_an_address() {
    let server = server(1);
    let short = config(&server).topic_timeout(SOON);
    let producer = Producer::new(short.clone()).unwrap();
    let sent = reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap_err();
    let known = reported(producer.freshness("t")).unwrap_err();
    let consumer = Consumer::assign_all(short, &["t"]).unwrap();
    let next = reported(consumer.next()).map(drop).unwrap_err();
    let words = ["UNKNOWN_TOPIC_OR_PARTITION (3) to METADATA", &server.bootstrap()];
    for error in [sent, known, next] {
        assert!(names(&error, &words), "{error}");
        assert!(names(&error, &["create the topic"]), "{error}");
    }
    // An offset query ends when it is confirmed.
    let admin = Admin::new(config(&server).admin_timeout(LONG)).unwrap();
    let began = Instant::now();
    let error = reported(admin.offsets_of("t", &[0], Start::Latest)).unwrap_err();
    assert!(names(&error, &words), "{error}");
    let error = reported(admin.describe("t")).unwrap_err();
    assert!(names(&error, &words), "{error}");
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
}

/// ApiVersions or Metadata without a response.
#[test]
fn a_broker_that_does_not_respond_is_named_with_the_request() {
    for (api, name) in [(ApiKey::ApiVersions, "API_VERSIONS"), (ApiKey::Metadata, "METADATA")] {
        let server = server(1);
        server.create_topic("t", 1).unwrap();
        server.fault(1, api, Fault::Delay(2 * LONG), ALWAYS);
        let short = config(&server).topic_timeout(SOON).admin_timeout(SOON);
        let admin = Admin::new(short.clone()).unwrap();
        let producer = Producer::new(short).unwrap();
        let described = reported(admin.cluster()).unwrap_err();
        let found = reported(admin.offsets("t", Start::Latest)).unwrap_err();
        let known = reported(producer.freshness("t")).unwrap_err();
        let sent = reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap_err();
        for error in [described, found, known, sent] {
            let words = [&format!("no response from the broker to {name}"), &*server.bootstrap()];
            assert!(names(&error, &words), "{name}: {error}");
        }
    }
}

/// A leader that is advertised without a host.
#[test]
fn a_leader_without_an_address_is_named() {
    let options = Options { brokers: 2, replication: 1, ..Options::default() };
    let server = Server::start(options).unwrap();
    server.create_topic("t", 2).unwrap();
    let lost = (0..2).find(|index| server.leader("t", *index).unwrap().0 == 2).unwrap();
    let first = server.address(1).unwrap().to_string();
    server.with(|cluster| cluster.set_endpoint(2, "", 0));
    let short = Config::new(&first).delivery_timeout(SOON);
    let producer = Producer::new(short).unwrap();
    let error = reported(producer.send_to("t", lost, &Record::new(b"v")).unwrap()).unwrap_err();
    let words = ["the leader, broker 2, is advertised without a host", &first];
    assert!(names(&error, &words), "{error}");
    assert!(names(&error, &["advertised.listeners"]), "{error}");
}

/// All that waits fails when every address leads to another cluster; what was in flight may be in
/// the log of the first one.
#[test]
fn what_waits_for_another_cluster_ends_at_once() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    let consumer = Consumer::assign_all(config(&server), &["t"]).unwrap();
    let admin = Admin::new(config(&server).admin_timeout(LONG)).unwrap();
    reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap();
    reported(admin.offsets("t", Start::Latest)).unwrap();
    server.fault(1, ApiKey::Produce, Fault::Delay(2 * LONG), 1);
    let began = Instant::now();
    let flying = producer.send("t", &Record::new(b"in flight")).unwrap();
    while server.log_len("t", 0) < 2 {
        assert!(began.elapsed() < LONG, "it is written");
        std::thread::yield_now();
    }
    server.with(|cluster| cluster.impersonate(1, true));
    server.disconnect(1);
    let waiting = producer.send("t", &Record::new(b"waits")).unwrap();
    let began = Instant::now();
    let (flying, waiting) = (reported(flying).unwrap_err(), reported(waiting).unwrap_err());
    let read = loop {
        match consumer.next_timeout(LONG) {
            Ok(chunk) => assert!(chunk.is_some(), "no end"),
            Err(error) => break error,
        }
    };
    let found = reported(admin.offsets("t", Start::Latest)).unwrap_err();
    assert!(began.elapsed() < 10 * SOON, "{:?}", began.elapsed());
    let ids = ["another-cluster-00001", "simulated-cluster-0001", &server.bootstrap()];
    for error in [&flying, &waiting, &read, &found] {
        assert!(names(error, &ids), "{error}");
        assert!(names(error, &["nothing was sent there"]), "{error}");
        assert!(!names(error, &["(it may have been written);"]), "a contradiction: {error}");
    }
    assert!(flying.maybe_written() && names(&flying, &["written to this client's cluster"]));
    assert!(!waiting.maybe_written(), "{waiting}");
}

/// Two clusters in the bootstrap list.
#[test]
fn a_bootstrap_list_of_two_clusters_is_reported() {
    let (ours, other) = (server(1), server(1));
    for server in [&ours, &other] {
        server.create_topic("t", 1).unwrap();
    }
    other.with(|cluster| cluster.impersonate(1, true));
    let addresses = [ours.bootstrap(), other.bootstrap()];
    let producer = Producer::new(Config::new(addresses.join(","))).unwrap();
    let events = producer.events();
    reported(producer.freshness("t")).unwrap();
    let said = std::iter::from_fn(|| events.next_timeout(LONG)).find_map(|event| match event {
        Event::Disconnected { error, .. } => Some(error.to_string()),
        _ => None,
    });
    let said = said.expect("it is reported");
    for word in ["another-cluster-00001", "simulated-cluster-0001", &addresses[0], &addresses[1]] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
}

/// The words of a broker that refuses until the time is over, though each time it might not.
#[test]
fn a_refusal_that_was_retried_to_the_end_comes_with_the_words_of_the_broker() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server).delivery_timeout(2 * SOON)).unwrap();
    reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap();
    server.inject(1, ApiKey::Produce, 19, ALWAYS);
    let error = reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap_err();
    let words =
        ["NOT_ENOUGH_REPLICAS (19) to PRODUCE", "a fault of the simulation", &server.bootstrap()];
    assert!(names(&error, &words), "{error}");
    server.with(|cluster| cluster.clear_faults());
    server.inject(1, ApiKey::Produce, 29, 1);
    let error = reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap_err();
    let words = ["TOPIC_AUTHORIZATION_FAILED (29) to PRODUCE", &server.bootstrap()];
    assert!(names(&error, &words), "{error}");
}

/// Records that wait: why is an event within a second, once, whatever their time-out is.
#[test]
fn records_that_wait_say_why_within_a_second() {
    let options = Options { brokers: 2, replication: 1, ..Options::default() };
    let server = Server::start(options).unwrap();
    server.create_topic("t", 2).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    let events = producer.events();
    for partition in 0..2 {
        reported(producer.send_to("t", partition, &Record::new(b"v")).unwrap()).unwrap();
    }
    let (bad, good) = match server.leader("t", 0).unwrap().0 {
        2 => (0, 1),
        _ => (1, 0),
    };
    server.inject(2, ApiKey::Produce, 19, ALWAYS);
    let began = Instant::now();
    let waiting = producer.send_to("t", bad, &Record::new(b"v")).unwrap();
    reported(producer.send_to("t", good, &Record::new(b"v")).unwrap()).unwrap();
    let failed = |event| match event {
        Event::PartitionFailed { partition, error, .. } => Some((partition, error)),
        _ => None,
    };
    let found = std::iter::from_fn(|| events.next_timeout(LONG)).find_map(failed);
    let (partition, error) = found.expect("an event");
    let took = began.elapsed();
    let words = ["NOT_ENOUGH_REPLICAS (19) to PRODUCE", &server.address(2).unwrap().to_string()];
    assert!(partition == bad && names(&error, &words), "partition {partition}: {error}");
    assert!(took < 3 * SOON, "{took:?}");
    println!("an event after {} ms", took.as_millis());
    let again = std::iter::from_fn(|| events.next_timeout(2 * SOON)).find_map(failed);
    assert!(again.is_none(), "it is known: {again:?}");
    server.with(|cluster| cluster.clear_faults());
    reported(waiting).unwrap();
}

/// The advice names the setting, for the library and for the command.
#[test]
fn a_broker_without_producer_ids_comes_with_the_setting_to_change() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    server.with(|cluster| cluster.withhold(ApiKey::InitProducerId));
    let producer = Producer::new(config(&server)).unwrap();
    let error = reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap_err();
    let words = ["Config::idempotent(false)", "-X enable.idempotence=false", &server.bootstrap()];
    assert!(names(&error, &words), "{error}");
}
