//! Under `latest` nothing is skipped that was written since the group first read the topic.

use std::sync::Arc;

use kavka_std::{Config, Consumer, Producer, Start};
use kavka_tests::kafka::{Cluster, Version};

use crate::member::{LIMIT, Member, Read, config, write};
use crate::{Site, broker};

/// Joins and leaves: all that is left of it are the commits of its starts.
fn visit(cluster: &Cluster, topic: &str, partitions: u32) {
    let member = Member::join(cluster, topic, Start::Latest, &Arc::new(Read::default()));
    member.stable(partitions);
    member.leave();
}

#[test]
fn what_was_written_while_no_member_ran_is_read_on_4_4() {
    let Some(cluster) = broker(Version::V4_4_0) else { return };
    while_no_member_ran(&cluster);
}

#[test]
fn what_was_written_while_no_member_ran_is_read_on_3_9() {
    let Some(cluster) = broker(Version::V3_9_2) else { return };
    while_no_member_ran(&cluster);
}

fn while_no_member_ran(cluster: &Site) {
    let topic = cluster.topic.as_str();
    cluster.create(topic, 4).expect("created");
    let producer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
    write(&producer, topic, 0..4);
    visit(cluster, topic, 4);
    // Idle partitions, and those that are added meanwhile.
    let mut written = write(&producer, topic, 0..4);
    cluster.grow(topic, 8).expect("grown");
    cluster.await_count(topic, 8).expect("known");
    for _ in 0..3 {
        written.extend(write(&producer, topic, 0..8));
    }
    let read = Arc::new(Read::default());
    let member = Member::join(cluster, topic, Start::Latest, &read);
    member.stable(8);
    read.wait(&written, "while no member ran");
    member.leave();
    let first = read.first((0, 0));
    assert!(first.is_none(), "what was written before first contact is not read");
    assert_eq!(read.duplicates(), 0);
}

#[test]
fn a_group_that_commits_by_itself_continues_after_what_was_taken() {
    let Some(cluster) = broker(Version::V4_4_0) else { return };
    let topic = cluster.topic.as_str();
    cluster.create(topic, 1).expect("created");
    let producer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
    let config = || config(&cluster, topic, Start::Earliest).auto_commit(Some(LIMIT));
    let consumer = Consumer::subscribe(config(), &[topic]).expect("a member");
    for value in 0..3 {
        write(&producer, topic, 0..1);
        let chunk = consumer.next().wait().expect("records");
        let last = chunk.records().last().expect("one").expect("sound");
        assert_eq!(last.offset, value);
    }
    // The third was taken and the application did not come back: it may not be processed.
    drop(consumer);
    let consumer = Consumer::subscribe(config(), &[topic]).expect("a member");
    let chunk = consumer.next().wait().expect("records");
    let first = chunk.records().next().expect("one").expect("sound");
    assert_eq!(first.offset, 2, "group of {topic}");
    consumer.close(LIMIT).expect("it leaves: all was processed");
    let consumer = Consumer::subscribe(config(), &[topic]).expect("a member");
    write(&producer, topic, 0..1);
    let chunk = consumer.next().wait().expect("records");
    let first = chunk.records().next().expect("one").expect("sound");
    assert_eq!(first.offset, 3);
}
