//! Three brokers: logs that diverge in an unclean election, and reading from the replica in the
//! client's own rack.

use core::time::Duration;
use std::time::Instant;

use kavka_core::MoveReason;
use kavka_std::{Acks, Consumer, Event, Producer, Record, Start};
use kavka_tests::kafka::{self, Cluster, Spec, Version};

use crate::load::{TOPIC, await_true, config, done};

/// Reads up to `count` records within `limit`. Returns how many arrived.
fn read(consumer: &Consumer, count: usize, limit: Duration) -> usize {
    let (end, mut got) = (Instant::now() + limit, 0);
    while got < count && Instant::now() < end {
        if let Some(chunk) = consumer.next_timeout(Duration::from_millis(100)).unwrap() {
            got += chunk.records().count();
        }
    }
    got
}

fn write(producer: &Producer, count: usize) {
    let pending: Vec<_> = (0..count)
        .map(|n| producer.send(TOPIC, &Record::new(format!("{n:01000}").as_bytes())).unwrap())
        .collect();
    for pending in pending {
        done(pending, "a record");
    }
}

fn leader(cluster: &Cluster) -> usize {
    let seen = cluster.metadata(Some(TOPIC)).unwrap();
    seen.partitions.first().map_or(0, |p| usize::try_from(p.leader).unwrap_or(0))
}

fn in_sync(cluster: &Cluster) -> usize {
    let seen = cluster.metadata(Some(TOPIC)).unwrap();
    seen.partitions.first().map_or(0, |p| p.in_sync.len())
}

/// Fetch 11 does not detect it (KIP-595 came with 2.7).
#[test]
fn what_an_unclean_election_at_2_4_cut_off_is_reported_as_truncated() {
    let spec = Spec::new(Version::V2_4_1, 3).set("unclean.leader.election.enable", true);
    let Some(cluster) = kafka::start_or_skip(spec) else { return };
    cluster.create(TOPIC, 1).unwrap();
    cluster.await_in_sync(TOPIC).unwrap();
    let producer = Producer::new(config(&cluster).acks(Acks::Leader)).unwrap();
    let consumer = Consumer::assign(config(&cluster), &[(TOPIC, 0, Start::Earliest)]).unwrap();
    let events = consumer.events();
    write(&producer, 100);
    assert_eq!(read(&consumer, 100, Duration::from_secs(30)), 100);
    let first = leader(&cluster);
    let others: Vec<_> = (1..=3).filter(|node| *node != first).collect();
    // All replicas have the first records; only the first leader has the last ones.
    std::thread::sleep(Duration::from_secs(1));
    others.iter().for_each(|node| cluster.kill(*node).unwrap());
    assert!(await_true(Duration::from_secs(60), || in_sync(&cluster) == 1), "still in sync");
    write(&producer, 50);
    assert_eq!(read(&consumer, 50, Duration::from_secs(30)), 50);
    cluster.kill(first).unwrap();
    cluster.restart(others[0]).unwrap();
    let led = await_true(Duration::from_secs(60), || leader(&cluster) == others[0]);
    assert!(led, "no unclean election");
    let (end, mut moved) = (Instant::now() + Duration::from_secs(60), None);
    while moved.is_none() && Instant::now() < end {
        let _ = consumer.next_timeout(Duration::from_millis(10));
        if let Some(Event::Moved { from, to, why, .. }) =
            events.next_timeout(Duration::from_millis(100))
        {
            moved = Some((from, to, why));
        }
    }
    assert_eq!(moved, Some((150, 100, MoveReason::Truncated)), "{}", cluster.spec());
    write(&producer, 10);
    assert_eq!(read(&consumer, 10, Duration::from_secs(30)), 10);
}

/// A stopped leader returns nothing: what arrives during the stop comes from another broker.
#[test]
fn a_partition_is_read_from_the_replica_in_its_rack() {
    let Some(cluster) = kafka::start_or_skip(Spec::new(Version::V4_4_0, 3)) else { return };
    cluster.create(TOPIC, 1).unwrap();
    cluster.await_in_sync(TOPIC).unwrap();
    let producer = Producer::new(config(&cluster)).unwrap();
    write(&producer, 2000);
    let leader = leader(&cluster);
    let near = leader % 3 + 1;
    // Few records in each response, so that many requests are needed.
    let slow = config(&cluster).rack(format!("r{near}")).queue_bytes(1).tune(|core| {
        core.partition_max_bytes = 512;
        core.fetch_max_bytes = 512;
    });
    let consumer = Consumer::assign(slow, &[(TOPIC, 0, Start::Earliest)]).unwrap();
    let begun = read(&consumer, 1, Duration::from_secs(30));
    assert!(begun > 0, "nothing to read");
    cluster.pause(leader).unwrap();
    // The session of the leader lasts three seconds.
    let more = read(&consumer, 1000, Duration::from_millis(2500));
    cluster.resume(leader).unwrap();
    assert!(more >= 100, "{more} records while the leader was stopped, {begun} before");
}
