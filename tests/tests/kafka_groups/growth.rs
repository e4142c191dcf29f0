//! Growth under `latest`: how long it takes, and that nothing is skipped.

use core::time::Duration;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use kavka_std::{Config, Producer, Start};
use kavka_tests::kafka::Version;

use crate::member::{Kind, Member, Read, write};
use crate::{Site, broker};

/// How often a topic grows, and by how many partitions each time.
const TIMES: u32 = 3;
const BY: u32 = 2;
/// Far from what others need, in a build for tests on a machine that does other things, too.
const WORST: Duration = Duration::from_secs(5);

#[test]
fn growth_is_read_at_once_and_nothing_is_lost_on_4_4() {
    let Some(cluster) = broker(Version::V4_4_0) else { return };
    grow(&cluster, (1, Kind::Auto), "4.4.0");
    grow(&cluster, (3, Kind::Auto), "4.4.0");
}

#[test]
fn growth_is_read_at_once_and_nothing_is_lost_on_3_9() {
    let Some(cluster) = broker(Version::V3_9_2) else { return };
    grow(&cluster, (1, Kind::Auto), "3.9.2");
    grow(&cluster, (3, Kind::Auto), "3.9.2");
}

/// Grows a topic and measures until the first record of the last new partition was read.
pub(crate) fn grow(cluster: &Site, (members, kind): (u32, Kind), version: &str) {
    let topic = match kind {
        Kind::Auto => format!("{}-{members}", cluster.topic),
        Kind::Classic(assignors) => format!("{}-{members}-{assignors}", cluster.topic),
    };
    let mut count = 2 * members;
    cluster.create(&topic, count).expect("created");
    let producer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
    let read = Arc::new(Read::default());
    let join = |n| {
        let member = Member::join_as(cluster, (&topic, Start::Latest), kind, &read);
        member.stable(2 * members / n);
        member
    };
    let members: Vec<_> = (1..=members).map(join).collect();
    read.wait(&write(&producer, &topic, 0..count), "before growth");
    let mut times = Vec::new();
    for n in 0..TIMES {
        // In all phases of the probes, which come once a second while nothing is written.
        thread::sleep(Duration::from_millis(u64::from(300 + n * 137 % 1000)));
        let grown = Instant::now();
        cluster.grow(&topic, count + BY).expect("grown");
        // A new one knows the new partitions at once.
        let writer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
        let places = write(&writer, &topic, count..count + BY);
        read.wait(&places, "after growth");
        let last = places.iter().filter_map(|at| read.first(*at)).max().expect("all were read");
        times.push(last - grown);
        count += BY;
        read.wait(&write(&producer, &topic, 0..count), "all partitions");
    }
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{version}, {} members: median {median:?}, worst {worst:?}", members.len());
    members.into_iter().for_each(Member::leave);
    assert_eq!(read.duplicates(), 0);
    assert!(worst < WORST, "growth took {worst:?}");
}
