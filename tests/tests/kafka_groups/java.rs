//! Kafka's own clients beside ours: they see our commits, and lose nothing when a topic grows.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use kavka_std::{Config, Producer, Start};
use kavka_tests::kafka::{Cluster, Version, jars};

use crate::member::{Kind, Member, Read, group, write};
use crate::{Site, broker};

fn java(cluster: &Cluster, program: &str, arguments: &[&str]) -> Command {
    let jars = jars::fetch(Version::V4_4_0).expect("the broker's jars");
    let mut command = Command::new("java");
    command.arg("-cp").arg(jars.join("*")).args(["-Xmx256m", "-XX:TieredStopAtLevel=1"]);
    command.arg(format!("{}/data/java/{program}.java", env!("CARGO_MANIFEST_DIR")));
    command.arg(cluster.bootstrap()).args(arguments);
    command
}

#[test]
fn kafkas_admin_sees_the_commits_and_their_marker() {
    let Some(cluster) = broker(Version::V4_4_0) else { return };
    let topic = cluster.topic.as_str();
    cluster.create(topic, 2).expect("created");
    let producer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
    let read = Arc::new(Read::default());
    let member = Member::join(&cluster, topic, Start::Latest, &read);
    member.stable(2);
    read.wait(&write(&producer, topic, 0..1), "one record");
    member.leave();
    let output = java(&cluster, "GroupOffsets", &[&group(topic)]).output().expect("java");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 2, "{text}");
    for (line, place) in lines.iter().zip(["0\t1", "1\t0"]) {
        let wanted = format!("{topic}\t{place}\tkv1;n=2;b=");
        assert!(line.starts_with(&wanted), "{line}: an idle partition is committed, too");
    }
}

/// A Java member, whose records are noted as those of ours.
struct JavaMember(Child);

impl JavaMember {
    fn join(cluster: &Cluster, topic: &str, assignors: &[&str], read: &Arc<Read>) -> Self {
        let mut command = java(cluster, "GroupMember", &[&group(topic), topic]);
        command.args(assignors);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("java");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let read = read.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let (partition, offset) = line.split_once('\t').expect("two numbers");
                let number = "a number";
                read.note((partition.parse().expect(number), offset.parse().expect(number)));
            }
        });
        Self(child)
    }
}

impl Drop for JavaMember {
    fn drop(&mut self) {
        if let Some(stdin) = &mut self.0.stdin {
            let _ = stdin.write_all(b"\n");
        }
        let _ = self.0.wait();
    }
}

#[test]
fn a_java_member_beside_ours_skips_nothing_that_is_written_while_the_topic_grows() {
    // GR26
    let Some(cluster) = broker(Version::V4_4_0) else { return };
    beside_java(&cluster, Kind::Auto, &[]);
}

/// Java's classes of assignors.
const RANGE: &str = "org.apache.kafka.clients.consumer.RangeAssignor";
const COOPERATIVE: &str = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";

#[test]
fn a_java_member_beside_ours_in_a_classic_group_with_range() {
    let Some(cluster) = broker(Version::V4_4_0) else { return };
    // Ours lists more.
    beside_java(&cluster, Kind::Classic("cooperative-sticky,range"), &[RANGE]);
}

#[test]
fn a_java_member_beside_ours_in_a_classic_group_with_cooperative_sticky() {
    let Some(cluster) = broker(Version::V4_4_0) else { return };
    beside_java(&cluster, Kind::Classic("cooperative-sticky,range"), &[COOPERATIVE]);
}

#[test]
fn a_java_member_beside_ours_in_a_classic_group_with_its_default_list_on_2_8() {
    let Some(cluster) = broker(Version::V2_8_2) else { return };
    let list = format!("{RANGE},{COOPERATIVE}");
    beside_java(&cluster, Kind::Classic("cooperative-sticky,range"), &[&list]);
}

/// Ours leads: it was first.
fn beside_java(cluster: &Site, kind: Kind, assignors: &[&str]) {
    let topic = cluster.topic.as_str();
    cluster.create(topic, 4).expect("created");
    let producer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
    let read = Arc::new(Read::default());
    let member = Member::join_as(cluster, (topic, Start::Latest), kind, &read);
    member.stable(4);
    let theirs = JavaMember::join(cluster, topic, assignors, &read);
    member.stable(2);
    // From now on both read; what is written while partitions move is read once or twice.
    let mut written = write(&producer, topic, 0..4);
    let mut count = 4;
    for _ in 0..4 {
        cluster.grow(topic, count + 2).expect("grown");
        count += 2;
        let writer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
        for _ in 0..5 {
            written.extend(write(&writer, topic, 0..count));
        }
        read.wait(&written, "kavka and Java");
    }
    drop(theirs);
    member.leave();
}
