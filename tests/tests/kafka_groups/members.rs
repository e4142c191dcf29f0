//! Members that come and go.

use std::sync::Arc;

use kavka_std::{Config, Producer, Start};
use kavka_tests::kafka::Version;

use crate::member::{Kind, Member, Read, write};
use crate::{Site, broker};

#[test]
fn one_member_reads_commits_and_continues_on_4_4() {
    let Some(cluster) = broker(Version::V4_4_0) else { return };
    one_member(&cluster, Kind::Auto);
}

#[test]
fn one_member_reads_commits_and_continues_on_3_9() {
    let Some(cluster) = broker(Version::V3_9_2) else { return };
    one_member(&cluster, Kind::Auto);
}

pub(crate) fn one_member(cluster: &Site, kind: Kind) {
    let topic = cluster.topic.as_str();
    cluster.create(topic, 4).expect("created");
    let producer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
    let before = write(&producer, topic, 0..4);
    let read = Arc::new(Read::default());
    let member = Member::join_as(cluster, (topic, Start::Earliest), kind, &read);
    member.stable(4);
    read.wait(&before, "from the beginning");
    let during = write(&producer, topic, 0..4);
    read.wait(&during, "while it reads");
    member.leave();
    let between = write(&producer, topic, 0..4);
    let member = Member::join_as(cluster, (topic, Start::Latest), kind, &read);
    member.stable(4);
    read.wait(&between, "while nobody read");
    member.leave();
    assert_eq!(read.duplicates(), 0, "it continues where it was");
}

#[test]
fn three_members_share_and_take_over_on_4_4() {
    let Some(cluster) = broker(Version::V4_4_0) else { return };
    three_members(&cluster, Kind::Auto);
}

#[test]
fn three_members_share_and_take_over_on_3_9() {
    let Some(cluster) = broker(Version::V3_9_2) else { return };
    three_members(&cluster, Kind::Auto);
}

pub(crate) fn three_members(cluster: &Site, kind: Kind) {
    let topic = cluster.topic.as_str();
    cluster.create(topic, 6).expect("created");
    let producer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
    let read = Arc::new(Read::default());
    let join = || Member::join_as(cluster, (topic, Start::Latest), kind, &read);
    let first = join();
    first.stable(6);
    read.wait(&write(&producer, topic, 0..6), "one member");
    let second = join();
    second.stable(3);
    read.wait(&write(&producer, topic, 0..6), "two members");
    let third = join();
    third.stable(2);
    read.wait(&write(&producer, topic, 0..6), "three members");
    first.leave();
    read.wait(&write(&producer, topic, 0..6), "after one has left");
    third.leave();
    read.wait(&write(&producer, topic, 0..6), "after two have left");
    second.leave();
    assert_eq!(read.duplicates(), 0, "every revoked partition was committed");
}
