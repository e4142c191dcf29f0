//! Time-outs name the reason and the address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use kavka_core::codec::Codec;
use kavka_std::{Admin, Config, Consumer, Event, Producer, Record, Start};
use kavka_tests::sim::{ApiKey, Options, Profile, Server};

use super::{LONG, assert_gapless, config, read, reported, server};

const SOON: Duration = Duration::from_secs(1);

/// Starts a peer that is no broker: it responds to the first bytes with `greeting`, and `stays` or
/// not.
pub(super) fn peer(greeting: &'static [u8], stays: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 256]);
            let _ = stream.write_all(greeting);
            if stays {
                kept.push(stream);
            }
        }
    });
    address
}

#[test]
fn a_peer_that_is_no_broker_is_named_with_its_address() {
    let cases: [(&[u8], bool, &str); 5] = [
        (&[0x15, 3, 3, 0, 2, 2, 0x46], true, "seems to speak TLS"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", false, "seems to speak HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", true, "seems to speak SSH"),
        (b"", false, "ended by the peer"),
        (b"", true, "no response from the broker"),
    ];
    for (greeting, stays, text) in cases {
        let address = peer(greeting, stays);
        let config = Config::new(address.to_string()).topic_timeout(SOON).admin_timeout(SOON);
        let admin = Admin::new(config.clone()).unwrap();
        let producer = Producer::new(config).unwrap();
        let described = reported(admin.cluster()).unwrap_err();
        let known = reported(producer.freshness("t")).unwrap_err();
        let sent = reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap_err();
        for error in [described, known, sent] {
            let said = error.to_string();
            assert!(said.contains(text) && said.contains(&address.to_string()), "{said}");
            assert!(!said.contains("check that the brokers"), "{said}");
            assert!(!said.contains("(os error"), "an error of another connection: {said}");
        }
    }
}

/// Two dead addresses and one that is no broker: every call that waits names all of them.
#[test]
fn every_bootstrap_address_is_named_with_its_reason_by_every_call_that_waits() {
    let closed = |_| {
        // Not 127.0.0.1, where another test may be given the same port a moment later.
        let listener = TcpListener::bind("127.0.0.77:0").unwrap();
        listener.local_addr().unwrap()
    };
    let [one, two] = [0, 1].map(closed);
    let three = peer(b"HTTP/1.1 400 Bad Request\r\n\r\n", false);
    let list = format!("{one},{two},{three}");
    let config = Config::new(list).topic_timeout(2 * SOON).admin_timeout(2 * SOON);
    let consumer = Consumer::assign_all(config.clone(), &["t"]).unwrap();
    let assigned = Consumer::assign(config.clone(), &[("t", 0, Start::Earliest)]).unwrap();
    let admin = Admin::new(config.clone()).unwrap();
    let producer = Producer::new(config).unwrap();
    let began = Instant::now();
    let sent = producer.send("t", &Record::new(b"v")).unwrap();
    let next = consumer.next();
    let waiting = assigned.next();
    let known = producer.freshness("t");
    let described = admin.cluster();
    let offsets = admin.offsets("t", Start::Latest);
    let errors = [
        ("next", reported(next).map(drop)),
        ("next of a partition", reported(waiting).map(drop)),
        ("send", reported(sent).map(drop)),
        ("freshness", reported(known).map(drop)),
        ("cluster", reported(described).map(drop)),
        ("offsets", reported(offsets).map(drop)),
    ];
    assert!(began.elapsed() < 10 * SOON, "{:?}", began.elapsed());
    for (call, result) in errors {
        let said = result.expect_err(call).to_string();
        for address in [one, two] {
            let both = format!("{address} (Connection refused");
            assert!(said.contains(&both), "{call}: {both} is not in {said}");
        }
        let third = said.contains(&three.to_string()) && said.contains("seems to speak HTTP");
        assert!(third, "{call}: {three} is not in {said}");
    }
    assert!(reported(consumer.next()).is_err(), "again, as long as it lasts");
}

/// An advertised name that cannot be resolved: in the event and in the records' error.
#[test]
fn an_advertised_name_without_an_address_is_named_by_records_and_events() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    server.with(|cluster| cluster.set_endpoint(1, "kafka.invalid", 9092));
    let config = config(&server).delivery_timeout(2 * SOON);
    let producer = Producer::new(config).unwrap();
    let events = producer.events();
    let error = reported(producer.send_to("t", 0, &Record::new(b"v")).unwrap()).unwrap_err();
    let said = error.to_string();
    let name = "kafka.invalid:9092";
    assert!(said.contains("name not resolved") && said.contains(name), "{said}");
    assert!(said.contains("check the host name"), "{said}");
    let named = std::iter::from_fn(|| events.next_timeout(LONG)).find(|event| {
        matches!(event, Event::Disconnected { error, .. } if error.to_string().contains(name))
    });
    assert!(named.is_some());
}

/// Brokers without producer ids: each record fails at once, with the address.
#[test]
fn a_broker_that_lacks_what_is_needed_is_named_with_its_address() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    server.with(|cluster| cluster.withhold(ApiKey::InitProducerId));
    let producer = Producer::new(config(&server)).unwrap();
    for n in 0..3 {
        let error = reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("does not have INIT_PRODUCER_ID"), "{n}: {said}");
        assert!(said.contains(&server.bootstrap()), "{n}: {said}");
        assert!(said.contains("switch idempotence off"), "{n}: {said}");
    }
}

/// The address leads to another cluster with topics of the same names: nothing goes there, and the
/// events and errors of all clients have the address and both cluster ids.
#[test]
fn another_cluster_at_the_address_is_named_and_gets_nothing() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let address = server.bootstrap();
    let short = config(&server).delivery_timeout(2 * SOON).topic_timeout(SOON).admin_timeout(SOON);
    let producer = Producer::new(short.clone()).unwrap();
    let consumer = Consumer::assign_all(short.clone().start(Start::Earliest), &["t"]).unwrap();
    let admin = Admin::new(short).unwrap();
    let all = [producer.events(), consumer.events()];
    let before = reported(producer.send("t", &Record::new(b"before")).unwrap()).unwrap();
    assert_eq!(before.offset, Some(0));
    reported(admin.cluster()).unwrap();
    assert!(consumer.next_timeout(LONG).unwrap().is_some());
    server.with(|cluster| cluster.impersonate(1, true));
    server.disconnect(1);
    let ids = ["another-cluster-00001", "simulated-cluster-0001"];
    let names = |said: &str| said.contains(&address) && ids.iter().all(|id| said.contains(id));
    for events in &all {
        let mut some = std::iter::from_fn(|| events.next_timeout(LONG)).take(50);
        let named = some.find_map(|event| match event {
            Event::Disconnected { error, .. } => Some(error.to_string()).filter(|said| names(said)),
            _ => None,
        });
        let said = named.expect("it is reported");
        assert!(said.contains("leads to another cluster"), "{said}");
        assert!(said.contains("accept_other_cluster"), "{said}");
    }
    // What was on its way over the old connections is not meant.
    let before = server.with(|cluster| cluster.trespasses());
    let sent = reported(producer.send("t", &Record::new(b"lost")).unwrap()).unwrap_err();
    let described = reported(admin.cluster()).unwrap_err();
    for error in [sent, described] {
        assert!(names(&error.to_string()), "{error}");
    }
    let ended = reported(consumer.next()).map(drop).unwrap_err();
    assert!(names(&ended.to_string()), "{ended}");
    let after = server.with(|cluster| cluster.trespasses());
    assert_eq!(after, before, "nothing was sent there");
    // When the address leads back all continue.
    server.with(|cluster| cluster.impersonate(1, false));
    server.disconnect(1);
    let until = Instant::now() + LONG;
    let after = loop {
        match reported(producer.send("t", &Record::new(b"after")).unwrap()) {
            Ok(sent) => break sent,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    };
    let mut read = consumer.next_timeout(LONG).unwrap().expect("a record");
    while !read.records().any(|record| record.unwrap().value == Some(b"after")) {
        read = consumer.next_timeout(LONG).unwrap().expect("more records");
    }
    assert!(after.offset >= Some(1));
}

/// This "cluster" closes the connection over what it is sent.
#[test]
fn another_cluster_at_the_address_can_be_accepted() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server).accept_other_cluster(true)).unwrap();
    reported(producer.send("t", &Record::new(b"before")).unwrap()).unwrap();
    server.with(|cluster| cluster.impersonate(1, true));
    server.disconnect(1);
    drop(producer.send("t", &Record::new(b"wanted")).unwrap());
    let until = Instant::now() + LONG;
    while server.with(|cluster| cluster.trespasses()) == 0 {
        assert!(Instant::now() < until, "nothing is sent there");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_partition_that_does_not_exist_is_named_after_the_topic_timeout() {
    let server = server(1);
    server.create_topic("t", 2).unwrap();
    let producer = Producer::new(config(&server).topic_timeout(SOON)).unwrap();
    reported(producer.freshness("t")).unwrap();
    let error = reported(producer.send_to("t", 77, &Record::new(b"v")).unwrap()).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("t, partition 77") && said.contains("no such partition"), "{said}");
}

/// Partitions that do not exist, and one without a leader beside good ones.
#[test]
fn assigned_partitions_that_cannot_be_read_are_named_with_their_reason() {
    let options = Options { brokers: 2, replication: 1, ..Options::default() };
    let server = Server::start(options).unwrap();
    server.create_topic("t", 2).unwrap();
    let dead = (0..2).find(|index| server.leader("t", *index).unwrap().0 == 2).unwrap();
    let mut list = vec![("t", 77, Start::Earliest)];
    list.extend([0, 1].map(|index| ("t", index, Start::Earliest)));
    let consumer = Consumer::assign(config(&server).topic_timeout(SOON), &list).unwrap();
    let events = consumer.events();
    server.kill(2).unwrap();
    let mut missing = false;
    let mut leaderless = false;
    while !(missing && leaderless) {
        let event = events.next_timeout(LONG).expect("both are named");
        let Event::PartitionFailed { partition, error, .. } = event else { continue };
        let said = error.to_string();
        missing |= partition == 77 && said.contains("no such partition");
        let reason = said.contains("has no leader") || said.contains("connection closed");
        leaderless |= partition == dead && reason;
        assert!(partition == 77 || partition == dead, "a good one: {said}");
    }
}

/// What stands in the way of one partition is not said of another.
#[test]
fn offsets_that_cannot_be_found_say_why_for_each_partition() {
    let options = Options { brokers: 3, replication: 1, ..Options::default() };
    let server = Server::start(options).unwrap();
    server.create_topic("t", 3).unwrap();
    let closed = TcpListener::bind("127.0.0.77:0").unwrap().local_addr().unwrap();
    let first = server.bootstrap().split(',').next().unwrap().to_owned();
    server.with(|cluster| {
        cluster.set_endpoint(2, "kafka.invalid", 9092);
        cluster.set_endpoint(3, "127.0.0.77", closed.port());
    });
    let admin = Admin::new(Config::new(first).admin_timeout(3 * SOON)).unwrap();
    let found = reported(admin.offsets_of("t", &[0, 1, 2], Start::Earliest)).unwrap();
    for (index, result) in (0..3).zip(found) {
        let said = result.map_or_else(|error| error.to_string(), |offset| format!("at {offset}"));
        let word = match server.leader("t", index).unwrap().0 {
            1 => "at 0".to_owned(),
            2 => "kafka.invalid:9092".to_owned(),
            _ => format!("refused, broker {closed}"),
        };
        assert!(said.contains(&word), "partition {index}: {word} is not in {said}");
    }
}

/// Topics stored in zstd, and a broker whose Fetch is older than that (KIP-110). The partition is
/// read once the broker returns it.
#[test]
fn a_topic_of_zstd_behind_an_old_fetch_is_named_with_its_reason() {
    let options = Options { brokers: 1, profile: Profile::V1_1, ..Options::default() };
    let server = Server::start(options).unwrap();
    server.create_topic("t", 1).unwrap();
    let store = |codec| server.with(|cluster| cluster.set_compression("t", codec)).unwrap();
    store(Some(4));
    let producer = Producer::new(config(&server).compression(Codec::Lz4)).unwrap();
    for n in 0..50 {
        producer
            .send("t", &Record::new(format!("{n} {}", "and on ".repeat(9)).as_bytes()))
            .unwrap();
    }
    reported(producer.flush()).unwrap();
    let consumer = Consumer::assign_all(config(&server).start(Start::Earliest), &["t"]).unwrap();
    let events = consumer.events();
    let said = loop {
        let event = events.next_timeout(LONG).expect("it is named");
        let Event::PartitionFailed { partition: 0, error, .. } = event else { continue };
        break error.to_string();
    };
    assert!(said.contains("UNSUPPORTED_COMPRESSION_TYPE (76)"), "{said}");
    assert!(said.contains("zstd needs brokers of Kafka 2.1 or later"), "{said}");
    let error = consumer.next_timeout(LONG).expect_err("it is no time-out for the application");
    assert_eq!(error.code().map(|code| code.0), Some(76), "{error}");
    // Batches in zstd of a topic that is not set to it are returned as they are.
    store(None);
    let mut got = super::Read::new();
    read(&consumer, &mut got, 50);
    assert_gapless(&got);
}
