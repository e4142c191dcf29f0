//! Subscriptions by regular expression: topics that are created, grown and deleted meanwhile.

use core::time::Duration;
use std::collections::HashMap;
use std::time::Instant;

use kavka_std::{
    Config, Consumer, Error, ErrorKind, Event, Events, GroupProtocol, Producer, Start,
};
use kavka_tests::kafka::{Cluster, Version};

use crate::broker;
use crate::member::{LIMIT, config, write};

const EXPRESSION: &str = "orders-.*";
/// Its readers.
const GROUP: &str = "orders";

/// A member, and how often it has read each record.
struct Reader {
    consumer: Consumer,
    events: Events,
    read: HashMap<(String, u32, i64), u32>,
    topics: Vec<String>,
    assigned: usize,
}

impl Reader {
    fn join(config: Config) -> Self {
        let consumer = Consumer::subscribe_pattern(config, EXPRESSION).expect("the member begins");
        let events = consumer.events();
        Self { consumer, events, read: HashMap::new(), topics: Vec::new(), assigned: 0 }
    }

    fn pump(&mut self) {
        let chunk = self.consumer.next_timeout(Duration::from_millis(20)).expect("records");
        if let Some(chunk) = chunk {
            for record in chunk.records() {
                let record = record.expect("a sound record");
                let place = (record.topic.to_owned(), record.partition, record.offset);
                *self.read.entry(place).or_default() += 1;
            }
            drop(self.consumer.commit(&chunk));
        }
        while let Some(event) = self.events.try_next() {
            match event {
                Event::TopicJoined { topic } => self.topics.push(topic.to_string()),
                Event::TopicLeft { topic } => self.topics.retain(|other| *other != *topic),
                Event::Assigned { .. } => self.assigned += 1,
                _ => {}
            }
        }
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < LIMIT, "{what}: not within {LIMIT:?}; read {:?}", self.read);
            self.pump();
        }
        begun.elapsed()
    }

    /// Reads what is written now to these partitions.
    fn reads(&mut self, producer: &Producer, topic: &str, partitions: core::ops::Range<u32>) {
        let places = write(producer, topic, partitions);
        self.until(topic, |reader| {
            places.iter().all(|(partition, offset)| {
                reader.read.contains_key(&(topic.to_owned(), *partition, *offset))
            })
        });
    }
}

#[test]
fn the_broker_finds_topics_on_4_4() {
    let Some(cluster) = broker(Version::V4_4_0) else { return };
    follow(&cluster, config(&cluster, GROUP, Start::Latest), "4.4.0");
    refused(&cluster);
}

#[test]
fn the_client_finds_topics_on_3_9() {
    let Some(cluster) = broker(Version::V3_9_2) else { return };
    follow(&cluster, config(&cluster, GROUP, Start::Latest), "3.9.2");
}

#[test]
fn the_client_finds_topics_of_a_classic_group_on_2_8() {
    let Some(cluster) = broker(Version::V2_8_2) else { return };
    let config = config(&cluster, GROUP, Start::Latest).group_protocol(GroupProtocol::Classic);
    follow(&cluster, config, "classic, 2.8.2");
}

fn follow(cluster: &Cluster, config: Config, version: &str) {
    for (topic, partitions) in [("orders-1", 2), ("my-orders-1", 1)] {
        cluster.create(topic, partitions).expect("created");
    }
    let producer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
    write(&producer, "orders-1", 0..2);
    write(&producer, "my-orders-1", 0..1);
    let mut reader = Reader::join(config);
    let joined = reader.until("joined", |reader| reader.assigned == 2);
    reader.reads(&producer, "orders-1", 0..2);
    assert_eq!(reader.read.len(), 2, "what is before first contact is not read under latest");
    // A topic that comes later, with records at once.
    cluster.create("orders-2", 2).expect("created");
    let created = Instant::now();
    reader.reads(&producer, "orders-2", 0..2);
    let created = created.elapsed();
    assert_eq!(reader.topics, ["orders-1", "orders-2"]);
    let grown = Instant::now();
    cluster.grow("orders-2", 3).expect("grown");
    let writer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
    reader.reads(&writer, "orders-2", 2..3);
    let grown = grown.elapsed();
    println!(
        "{version}: assigned {joined:?} after the start, a new topic read {created:?} after it was \
         created, growth after {grown:?}"
    );
    // The others take 15 s to be sure.
    if version == "4.4.0" {
        cluster.delete("orders-2").expect("deleted");
        let left = reader.until("deleted", |reader| reader.topics == ["orders-1"]);
        reader.reads(&producer, "orders-1", 0..2);
        println!("{version}: a deleted topic gone after {left:?}");
    }
    assert!(reader.read.keys().all(|(topic, ..)| topic.starts_with("orders-")));
    assert!(reader.read.values().all(|times| *times == 1), "{:?}", reader.read);
    reader.consumer.close(Duration::from_secs(5)).expect("the member leaves");
}

/// A bad expression is named: at once, or with what the broker says.
fn refused(cluster: &Cluster) {
    let subscribe = |expression: &str| -> Error {
        let config = config(cluster, GROUP, Start::Latest).group("another");
        match Consumer::subscribe_pattern(config, expression) {
            Err(error) => error,
            Ok(consumer) => {
                let end = Instant::now() + LIMIT;
                loop {
                    match consumer.next_timeout(Duration::from_millis(20)) {
                        Err(error) => return error,
                        Ok(_) => assert!(Instant::now() < end, "{expression}: no error"),
                    }
                }
            }
        }
    };
    let error = subscribe("orders-(");
    assert_eq!(error.kind(), ErrorKind::Pattern);
    // A flag that Rust has, and brokers do not.
    let error = subscribe("(?x)orders-.*");
    let text = error.to_string();
    assert!(text.contains("(?x)orders-.*") && text.contains("RE2J"), "{text}");
}
