//! Metrics of clients, and the example that serves them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use kavka_std::{Consumer, ErrorKind, ProduceError, Producer, Record, Start};
use kavka_tests::sim::ApiKey;

use super::{LONG, MISSING, config, reported, server};

#[allow(dead_code, reason = "an example has a main of its own")]
#[path = "../../../io-std/examples/prometheus.rs"]
mod prometheus_example;

#[test]
fn producers_count_records_batches_bytes_and_latencies() {
    let server = server(1);
    server.create_topic("t", 2).unwrap();
    let producer = Producer::new(config(&server).topic_timeout(MISSING)).unwrap();
    for _ in 0..30 {
        reported(producer.send("t", &Record::new(&[7; 100])).unwrap()).unwrap();
    }
    reported(producer.send("missing", &Record::new(b"v")).unwrap()).unwrap_err();
    let metrics = reported(producer.metrics()).unwrap();
    let sent = &metrics.topics["t"];
    assert_eq!((sent.records, sent.failed, sent.batches), (30, 0, 30), "one by one");
    assert_eq!((sent.retries, sent.errors), (0, 0));
    assert!(sent.leaders_age.is_some_and(|age| age < LONG), "{:?}", sent.leaders_age);
    assert!((3000..6000).contains(&sent.bytes), "{}", sent.bytes);
    assert_eq!(sent.latency.count(), 30);
    assert!(sent.latency.sum() > Duration::ZERO);
    assert_eq!(sent.partitions, 2);
    assert!(sent.age.is_some_and(|age| age < LONG), "{:?}", sent.age);
    let missing = &metrics.topics["missing"];
    assert_eq!(missing.failed, 1);
    assert!(missing.errors > 1, "the record, and the topic: {missing:?}");
    assert_eq!((metrics.queue_bytes, metrics.parked_bytes, metrics.in_flight), (0, 0, 0));
    assert!(metrics.net.connections > 0 && metrics.net.requests > 30, "{:?}", metrics.net);
    let dropped = metrics.net.disconnects;
    server.disconnect(1);
    reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap();
    assert!(reported(producer.metrics()).unwrap().net.disconnects > dropped);
    assert!(reported(producer.close(LONG)).is_ok());
    assert_eq!(reported(producer.metrics()).unwrap_err().kind(), ErrorKind::Closed);
}

/// Over each connection, and of all together.
#[test]
fn connections_count_bytes_requests_and_round_trips() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    for _ in 0..20 {
        reported(producer.send("t", &Record::new(&[7; 1000])).unwrap()).unwrap();
    }
    let net = reported(producer.metrics()).unwrap().net;
    assert_eq!(net.each.len(), net.connections, "{net:?}");
    let busy = net.each.iter().max_by_key(|conn| conn.bytes_out).expect("a connection");
    assert!(busy.bytes_out > 20_000 && busy.bytes_out <= net.bytes_out, "{net:?}");
    assert!(busy.bytes_in > 20 * 40 && busy.bytes_in <= net.bytes_in, "{net:?}");
    assert!(busy.requests > 20 && busy.requests <= net.requests, "{net:?}");
    assert_eq!((busy.broker, &*busy.address), (1, server.bootstrap().as_str()), "{net:?}");
    assert!(busy.round_trip.is_some_and(|took| took < LONG), "{net:?}");
    server.pause(1);
    let waits = producer.send("t", &Record::new(b"v")).unwrap();
    let until = Instant::now() + LONG;
    loop {
        let net = reported(producer.metrics()).unwrap().net;
        if net.each.iter().any(|conn| conn.in_flight > 0) {
            break;
        }
        assert!(Instant::now() < until, "{net:?}");
        thread::yield_now();
    }
    server.resume(1);
    reported(waits).unwrap();
}

#[test]
fn batches_that_are_sent_again_are_counted_as_retries_of_their_topic() {
    let server = server(1);
    for topic in ["t", "u"] {
        server.create_topic(topic, 1).unwrap();
    }
    let producer = Producer::new(config(&server)).unwrap();
    for topic in ["t", "u"] {
        reported(producer.send(topic, &Record::new(b"v")).unwrap()).unwrap();
    }
    server.inject(1, ApiKey::Produce, 19, 2); // NOT_ENOUGH_REPLICAS
    reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap();
    let topics = reported(producer.metrics()).unwrap().topics;
    assert_eq!((topics["t"].retries, topics["u"].retries), (2, 0), "{topics:?}");
    assert_eq!((topics["t"].errors, topics["t"].records), (0, 2));
}

#[test]
fn metrics_come_while_the_queue_is_full() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server).queue_bytes(2000).chunk_bytes(500)).unwrap();
    reported(producer.freshness("t")).unwrap();
    server.pause(1);
    let record = Record::new(&[7; 500]);
    loop {
        match producer.try_send("t", &record).map(drop) {
            Ok(()) => {}
            Err(ProduceError::Full) => {
                if producer.room().wait_timeout(Duration::from_millis(300)).is_err() {
                    break;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    let metrics = reported(producer.metrics()).unwrap();
    assert!(metrics.queue_bytes > 1000, "{}", metrics.queue_bytes);
    assert!(metrics.in_flight > 100, "{}", metrics.in_flight);
    server.resume(1);
    reported(producer.flush()).unwrap();
    assert_eq!(reported(producer.metrics()).unwrap().in_flight, 0);
}

#[test]
fn consumers_know_how_far_they_lag() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    for _ in 0..8 {
        reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap();
    }
    let from = config(&server).start(Start::Earliest);
    let consumer = Consumer::assign_all(from, &["t"]).unwrap();
    let until = Instant::now() + LONG;
    let metrics = loop {
        let metrics = reported(consumer.metrics()).unwrap();
        if metrics.queue_bytes > 0 {
            break metrics;
        }
        assert!(Instant::now() < until, "{metrics:?}");
        thread::yield_now();
    };
    assert_eq!(metrics.topics["t"].lag[&0], 8, "nothing was taken");
    let mut left = 8;
    while left > 0 {
        left -= reported(consumer.next()).unwrap().records().count();
    }
    let metrics = reported(consumer.metrics()).unwrap();
    let read = &metrics.topics["t"];
    assert_eq!((read.lag[&0], read.batches, read.errors), (0, 8, 0));
    assert_eq!((metrics.queue_bytes, read.partitions), (0, 1));
    assert!(read.bytes > 8 * 61 && read.age.is_some(), "{read:?}");
    assert!(read.leaders_age.is_some_and(|age| age < LONG), "{read:?}");
    assert!(metrics.net.bytes_in > read.bytes, "{metrics:?}");
    assert_eq!(metrics.net.disconnects, 0);
    server.disconnect(1);
    reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap();
    assert_eq!(reported(consumer.next()).unwrap().records().count(), 1);
    assert!(reported(consumer.metrics()).unwrap().net.disconnects > 0);
}

#[test]
fn the_example_serves_prometheus_text() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap();
    let from = config(&server).start(Start::Earliest);
    let consumer = Consumer::assign_all(from, &["t"]).unwrap();
    reported(consumer.next()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let scraper = thread::spawn(move || {
        let mut peer = TcpStream::connect(address).unwrap();
        peer.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        text
    });
    let (peer, _) = listener.accept().unwrap();
    prometheus_example::serve(&peer, &producer, &consumer).unwrap();
    drop(peer);
    let text = scraper.join().unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    for line in [
        "kavka_producer_records_total{topic=\"t\"} 1",
        "kavka_producer_latency_seconds_bucket{topic=\"t\",le=\"+Inf\"} 1",
        "kavka_producer_latency_seconds_count{topic=\"t\"} 1",
        "kavka_consumer_lag{topic=\"t\",partition=\"0\"} 0",
        "kavka_consumer_partitions{topic=\"t\"} 1",
        "kavka_producer_retries_total{topic=\"t\"} 0",
        "kavka_producer_errors_total{topic=\"t\"} 0",
    ] {
        assert!(body.lines().any(|one| one == line), "{line} is not in\n{body}");
    }
    let broker = server.bootstrap();
    for of in ["connection_round_trip_seconds", "connection_received_bytes_total"] {
        for client in ["producer", "consumer"] {
            let start = format!("kavka_{client}_{of}{{broker=\"{broker}\",slot=\"");
            assert!(body.lines().any(|one| one.starts_with(&start)), "{start} is not in\n{body}");
        }
    }
    for name in ["kavka_producer_leaders_age_seconds{", "kavka_consumer_metadata_age_seconds{"] {
        assert!(body.lines().any(|one| one.starts_with(name)), "{name} is not in\n{body}");
    }
}
