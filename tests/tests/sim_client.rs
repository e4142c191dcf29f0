//! kavka's client against simulated brokers in virtual time. Every test runs from several seeds,
//! and over the releases where the client works differently.

extern crate alloc;

use alloc::collections::BTreeMap;
use core::time::Duration;

use kavka_core::{Limits, Start, TopicId};
use kavka_tests::sim::journal::News;
use kavka_tests::sim::{ApiKey, Fault, Journal, Options, Profile, World};

const SECOND: Duration = Duration::from_secs(1);

/// Returns the seeds that every test runs from: 1 to 8, or to `KAVKA_SEEDS`.
fn seeds() -> core::ops::RangeInclusive<u64> {
    1..=std::env::var("KAVKA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// Runs `test` from every seed on every release.
fn everywhere(test: impl Fn(u64, Profile)) {
    for profile in [Profile::V2_4, Profile::V2_8, Profile::V3_9, Profile::V4_4] {
        for seed in seeds() {
            test(seed, profile);
        }
    }
}

fn world(seed: u64, profile: Profile) -> World<Journal> {
    World::new(seed, Options { profile, ..Options::default() })
}

/// Adds a client that watches topic `t`.
fn join(world: &mut World<Journal>) -> (usize, TopicId) {
    let member = world.join(Journal::default(), &Limits::small(), |_| ());
    let topic = world.command(member, |_, client, _| client.topic("t")).expect("a topic");
    (member, topic)
}

/// Adds a client that reads all of topic `t`.
fn reader(world: &mut World<Journal>, start: Start) -> (usize, TopicId) {
    let (member, topic) = join(world);
    world.command(member, |now, client, _| client.assign_all(now, topic, start)).expect("assigned");
    (member, topic)
}

fn send(world: &mut World<Journal>, member: usize, topic: TopicId, values: core::ops::Range<u32>) {
    for n in values {
        world.app_mut(member).send(topic, n.to_string());
    }
}

fn texts(of: &[Vec<u8>]) -> Vec<String> {
    of.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

/// Checks that the logs hold each of `0..count` once, and every acknowledgement had the right
/// offset.
fn assert_stored_once(world: &World<Journal>, writer: usize, count: u32) {
    let at = world.at();
    let mut stored = Vec::new();
    let mut places = BTreeMap::new();
    for partition in 0..world.cluster.partitions("t") {
        for record in world.cluster.records("t", partition) {
            let value = record.value.unwrap_or_default().to_vec();
            places.insert((partition, record.offset), value.clone());
            stored.push(value);
        }
    }
    stored.sort();
    let mut wanted: Vec<Vec<u8>> = (0..count).map(|n| n.to_string().into_bytes()).collect();
    wanted.sort();
    assert_eq!(texts(&stored), texts(&wanted), "{at}: the logs");
    let journal = world.app(writer);
    assert!(journal.lost.is_empty(), "{at}: {:?}", journal.lost);
    assert_eq!(journal.acked.len(), count as usize, "{at}: acknowledgements");
    for acked in &journal.acked {
        let Some(offset) = acked.offset else { continue };
        let stored = places.get(&(acked.to.partition, offset));
        assert_eq!(stored, Some(&acked.value), "{at}: {acked:?}");
    }
}

/// Checks that a reader has all that the logs hold, each record once and in order.
fn assert_read_all(world: &World<Journal>, member: usize, topic: TopicId) {
    let at = world.at();
    let journal = world.app(member);
    for partition in 0..world.cluster.partitions("t") {
        let stored: Vec<(i64, Vec<u8>)> = world
            .cluster
            .records("t", partition)
            .into_iter()
            .map(|record| (record.offset, record.value.unwrap_or_default().to_vec()))
            .collect();
        let none = Vec::new();
        let read = journal.read.get(&(topic, partition)).unwrap_or(&none);
        assert_eq!(read, &stored, "{at}: partition {partition}");
    }
}

#[test]
fn produces_and_consumes() {
    everywhere(|seed, profile| {
        let mut world = world(seed, profile);
        world.cluster.create_topic("t", 4).expect("created");
        let (writer, topic) = join(&mut world);
        let (reader, read) = reader(&mut world, Start::Earliest);
        send(&mut world, writer, topic, 0..500);
        world.await_that("delivery", 20 * SECOND, |w| w.app(writer).sent_all());
        world.await_that("reading", 20 * SECOND, |w| w.app(reader).count_read() >= 500);
        assert_stored_once(&world, writer, 500);
        assert_read_all(&world, reader, read);
    });
}

#[test]
fn growth_is_noticed_within_two_seconds_and_its_records_are_read_from_the_first() {
    everywhere(|seed, profile| {
        let mut world = world(seed, profile);
        world.cluster.create_topic("t", 2).expect("created");
        let (writer, topic) = join(&mut world);
        let (latest, read) = reader(&mut world, Start::Latest);
        world.run_for(3 * SECOND);
        send(&mut world, writer, topic, 0..50);
        world.await_that("delivery", 20 * SECOND, |w| w.app(writer).sent_all());
        let added = |news: &News| matches!(news, News::Added { .. });
        assert_eq!(world.app(latest).first(added), None, "{}: nothing has grown", world.at());
        world.cluster.grow("t", 5).expect("grown");
        let grown = world.now();
        // Another client writes to the new partitions before they can have been noticed.
        let (stranger, strange) = join(&mut world);
        for n in 50..80 {
            world.app_mut(stranger).send_to(strange, 2 + n % 3, n.to_string());
        }
        world.await_that("news of growth", 2 * SECOND, |w| {
            let added = |news: &News| matches!(news, News::Added { to: 5, .. });
            w.app(latest).first(added).is_some() && w.app(writer).first(added).is_some()
        });
        world.await_that("reading", 20 * SECOND, |w| w.app(latest).count_read() >= 80);
        assert!(world.now() < grown + 5 * SECOND, "{}: slow", world.at());
        for member in [latest, writer] {
            let reported = world.app(member).first(added).expect("told");
            assert!(reported > grown, "{}: client {member} at {reported:?}", world.at());
        }
        assert_read_all(&world, latest, read);
    });
}

/// Two connections that are busy with fetches from three brokers are still available for probes.
#[test]
fn growth_is_noticed_over_fewer_connections_than_brokers_that_are_read() {
    everywhere(|seed, profile| {
        let mut world = world(seed, profile);
        world.cluster.create_topic("t", 6).expect("created");
        let mut limits = Limits::small();
        limits.conns = 2;
        let member = world.join(Journal::default(), &limits, |_| ());
        let topic = world.command(member, |_, client, _| client.topic("t")).expect("a topic");
        world
            .command(member, |now, client, _| client.assign_all(now, topic, Start::Earliest))
            .expect("assigned");
        world.run_for(10 * SECOND);
        world.cluster.grow("t", 8).expect("grown");
        world.await_that("news of growth", 5 * SECOND, |w| {
            w.app(member).first(|news| matches!(news, News::Added { to: 8, .. })).is_some()
        });
    });
}

#[test]
fn a_moved_leader_costs_no_records() {
    everywhere(|seed, profile| {
        let mut world = world(seed, profile);
        world.cluster.create_topic("t", 3).expect("created");
        let (writer, topic) = join(&mut world);
        let (reader, read) = reader(&mut world, Start::Earliest);
        for round in 0..6 {
            send(&mut world, writer, topic, round * 50..(round + 1) * 50);
            world.run_for(Duration::from_millis(7));
            let to = i32::try_from(round % 3 + 1).expect("small");
            world.cluster.move_leader("t", round % 3, to % 3 + 1).expect("moved");
            world.run_for(Duration::from_millis(20));
        }
        world.await_that("delivery", 30 * SECOND, |w| w.app(writer).sent_all());
        world.await_that("reading", 30 * SECOND, |w| w.app(reader).count_read() >= 300);
        assert_stored_once(&world, writer, 300);
        assert_read_all(&world, reader, read);
    });
}

#[test]
fn a_hinted_leader_gets_a_request_at_once() {
    for seed in seeds() {
        let mut world = world(seed, Profile::V4_4);
        world.cluster.create_topic("t", 1).expect("created");
        let (writer, topic) = join(&mut world);
        send(&mut world, writer, topic, 0..1);
        world.await_that("delivery", 20 * SECOND, |w| w.app(writer).sent_all());
        world.cluster.move_leader("t", 0, 3).expect("moved");
        send(&mut world, writer, topic, 1..2);
        let requested = world.now();
        world.await_that("delivery", 20 * SECOND, |w| w.app(writer).sent_all());
        let took = world.now() - requested;
        // Linger 5 ms, refusal, perhaps a connection with its handshake, the append: no back-off.
        // In builds with rare branches, refused memory costs a connection.
        let most = if cfg!(kavka_rare) { 200 } else { 60 };
        let range = 4 * world.net.fastest..Duration::from_millis(most);
        assert!(range.contains(&took), "{}: {took:?}", world.at());
        assert_stored_once(&world, writer, 2);
    }
}

#[test]
fn lost_responses_make_no_duplicates() {
    everywhere(|seed, profile| {
        let mut world = world(seed, profile);
        world.cluster.create_topic("t", 2).expect("created");
        let (writer, topic) = join(&mut world);
        for broker in [1, 2] {
            for fault in [Fault::DropResponse, Fault::ErrorAfter(7), Fault::Error(6)] {
                world.cluster.inject(broker, ApiKey::Produce, fault, 2);
            }
        }
        for n in 0..400_u32 {
            world.app_mut(writer).send_to(topic, n % 2, n.to_string());
            if n % 8 == 0 {
                world.run_for(Duration::from_millis(11));
            }
        }
        world.await_that("delivery", 60 * SECOND, |w| w.app(writer).sent_all());
        assert_eq!(world.cluster.faults_left(), 0, "{}: faults met", world.at());
        assert_stored_once(&world, writer, 400);
    });
}

/// Writes 200 records to a partition whose leader applies `faults`; each is stored once and in
/// order.
fn write_through(world: &mut World<Journal>, writer: usize, topic: TopicId, faults: &[Fault]) {
    let first = world.cluster.log_len("t", 0) as u32;
    for fault in faults {
        world.cluster.inject(1, ApiKey::Produce, *fault, 1);
    }
    for n in first..200 {
        world.app_mut(writer).send_to(topic, 0, n.to_string());
        world.run_for(Duration::from_millis(2));
    }
    world.await_that("delivery", 60 * SECOND, |w| w.app(writer).sent_all());
    assert_eq!(world.cluster.faults_left(), 0, "{}: faults met", world.at());
    assert_stored_once(world, writer, 200);
    let stored = world.cluster.records("t", 0).into_iter();
    let stored: Vec<Vec<u8>> = stored.map(|r| r.value.unwrap_or_default().to_vec()).collect();
    let wanted: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(texts(&stored), wanted, "{}", world.at());
}

#[test]
fn order_is_kept_through_retries() {
    everywhere(|seed, profile| {
        let mut world = world(seed, profile);
        world.cluster.create_topic("t", 1).expect("created");
        let (writer, topic) = join(&mut world);
        world.app_mut(writer).send_to(topic, 0, "0");
        world.await_that("delivery", 20 * SECOND, |w| w.app(writer).sent_all());
        let faults = [Fault::Error(6), Fault::DropResponse, Fault::Error(19), Fault::DropRequest];
        write_through(&mut world, writer, topic, &faults);
    });
}

/// A broker accepts any first sequence from a producer that it does not know. So when the first
/// batch is refused (a new leader returns 6 for some milliseconds), the one after it must not be
/// accepted.
#[test]
fn a_refused_first_batch_lets_no_other_in() {
    everywhere(|seed, profile| {
        let mut world = world(seed, profile);
        world.cluster.create_topic("t", 1).expect("created");
        let (writer, topic) = join(&mut world);
        write_through(&mut world, writer, topic, &[Fault::Error(6), Fault::DropResponse]);
    });
}

#[test]
fn a_killed_broker_costs_no_records() {
    everywhere(|seed, profile| {
        let mut world = world(seed, profile);
        world.cluster.create_topic("t", 6).expect("created");
        let (writer, topic) = join(&mut world);
        let (reader, read) = reader(&mut world, Start::Earliest);
        for round in 0..4 {
            send(&mut world, writer, topic, round * 100..(round + 1) * 100);
            world.run_for(Duration::from_millis(9));
            let broker = i32::try_from(round % 3 + 1).expect("small");
            world.kill(broker);
            world.run_for(SECOND);
            world.cluster.restart(broker);
            world.run_for(SECOND);
        }
        world.await_that("delivery", 60 * SECOND, |w| w.app(writer).sent_all());
        world.await_that("reading", 60 * SECOND, |w| w.app(reader).count_read() >= 400);
        assert_stored_once(&world, writer, 400);
        assert_read_all(&world, reader, read);
    });
}

/// Time for three probes.
const PROBED: Duration = Duration::from_secs(4);

/// Lets two of three brokers lag, grows `t` and waits until a client notices; then checks that the
/// count stays while the stale brokers get requests.
fn grow_behind_stale_brokers(
    world: &mut World<Journal>,
    member: usize,
    topic: TopicId,
    within: Duration,
) {
    world.cluster.set_lag(2, 60 * SECOND);
    world.cluster.set_lag(3, 40 * SECOND);
    world.cluster.grow("t", 9).expect("grown");
    let until = world.now() + 70 * SECOND;
    let count = |w: &World<Journal>| w.client(member).freshness(topic).map(|f| f.partitions);
    world.await_that("news of growth", within, |w| count(w) == Some(9));
    for n in 0_u32.. {
        if world.now() >= until {
            break;
        }
        world.app_mut(member).send_to(topic, n % 4, n.to_string());
        world.run_for(SECOND / 4);
        assert_eq!(count(world), Some(9), "{}", world.at());
    }
    let changes = world.app(member).news.iter();
    let changes =
        changes.filter(|(_, news)| matches!(news, News::Added { .. } | News::Recreated { .. }));
    assert_eq!(changes.count(), 1, "{}: told once", world.at());
}

/// Adds a client that has connections to all three brokers.
fn connected_writer(world: &mut World<Journal>) -> (usize, TopicId) {
    let (member, topic) = join(world);
    for partition in 0..4 {
        world.app_mut(member).send_to(topic, partition, "connects to its leader");
    }
    world.run_for(2 * SECOND);
    (member, topic)
}

#[test]
fn a_stale_broker_never_lowers_the_count() {
    everywhere(|seed, profile| {
        let mut world = world(seed, profile);
        world.cluster.create_topic("t", 4).expect("created");
        let (member, topic) = connected_writer(&mut world);
        grow_behind_stale_brokers(&mut world, member, topic, 30 * SECOND);
    });
}

#[test]
fn stale_brokers_hide_growth_no_longer_than_three_probes() {
    everywhere(|seed, profile| {
        let mut world = world(seed, profile);
        world.cluster.create_topic("t", 4).expect("created");
        let (member, topic) = connected_writer(&mut world);
        grow_behind_stale_brokers(&mut world, member, topic, PROBED);
    });
}

#[test]
fn stale_brokers_hide_nothing_from_a_reader() {
    everywhere(|seed, profile| {
        let mut world = world(seed, profile);
        world.cluster.create_topic("t", 4).expect("created");
        let (member, topic) = reader(&mut world, Start::Earliest);
        world.run_for(2 * SECOND);
        grow_behind_stale_brokers(&mut world, member, topic, PROBED);
    });
}

#[test]
fn a_recreated_topic_is_read_from_its_beginning() {
    for profile in [Profile::V2_8, Profile::V3_9, Profile::V4_4] {
        for seed in seeds() {
            let mut world = world(seed, profile);
            world.cluster.create_topic("t", 4).expect("created");
            let (writer, topic) = join(&mut world);
            let (reader, read) = reader(&mut world, Start::Earliest);
            send(&mut world, writer, topic, 0..40);
            world.await_that("delivery", 20 * SECOND, |w| w.app(writer).sent_all());
            world.await_that("reading", 20 * SECOND, |w| w.app(reader).count_read() >= 40);
            world.cluster.recreate_topic("t", 2).expect("recreated");
            world.await_that("news of it", 30 * SECOND, |w| {
                let recreated = |news: &News| matches!(news, News::Recreated { partitions: 2, .. });
                [writer, reader].iter().all(|m| w.app(*m).first(recreated).is_some())
            });
            world.app_mut(reader).read.clear();
            world.app_mut(writer).acked.clear();
            send(&mut world, writer, topic, 0..40);
            world.await_that("delivery", 30 * SECOND, |w| w.app(writer).sent_all());
            world.await_that("reading", 30 * SECOND, |w| w.app(reader).count_read() >= 40);
            assert_stored_once(&world, writer, 40);
            assert_read_all(&world, reader, read);
        }
    }
}

#[test]
fn evicted_fetch_sessions_lose_nothing() {
    everywhere(|seed, profile| {
        let mut world = world(seed, profile);
        world.cluster.create_topic("t", 3).expect("created");
        let (writer, topic) = join(&mut world);
        let (reader, read) = reader(&mut world, Start::Earliest);
        for round in 0..8 {
            send(&mut world, writer, topic, round * 20..(round + 1) * 20);
            world.run_for(Duration::from_millis(200));
            world.cluster.evict_sessions(i32::try_from(round % 3 + 1).expect("small"));
        }
        world.await_that("delivery", 20 * SECOND, |w| w.app(writer).sent_all());
        world.await_that("reading", 20 * SECOND, |w| w.app(reader).count_read() >= 160);
        assert_read_all(&world, reader, read);
    });
}

#[test]
fn retention_and_truncation_are_reported() {
    for seed in seeds() {
        let mut world = world(seed, Profile::V4_4);
        world.cluster.create_topic("t", 1).expect("created");
        let (writer, topic) = join(&mut world);
        for n in 0..20_u32 {
            world.app_mut(writer).send_to(topic, 0, n.to_string());
            world.run_for(Duration::from_millis(30));
        }
        world.await_that("delivery", 20 * SECOND, |w| w.app(writer).sent_all());
        let (reader, read) = reader(&mut world, Start::Earliest);
        world.await_that("reading", 20 * SECOND, |w| w.app(reader).count_read() == 20);
        world.cluster.truncate("t", 0, 10).expect("truncated");
        let end = world.cluster.log_len("t", 0);
        world.await_that("news of it", 20 * SECOND, |w| {
            let moved =
                |news: &News| matches!(news, News::Moved { from: 20, to, .. } if *to == end);
            w.app(reader).first(moved).is_some()
        });
        assert_eq!(world.app(reader).read[&(read, 0)].len(), 20);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut world = world(77, Profile::V4_4);
        world.cluster.create_topic("t", 3).expect("created");
        let (writer, topic) = join(&mut world);
        let (reader, _) = reader(&mut world, Start::Earliest);
        send(&mut world, writer, topic, 0..200);
        world.run_for(SECOND);
        world.kill(2);
        world.run_for(3 * SECOND);
        let news = world.app(reader).news.clone();
        (news, world.app(reader).read.clone(), world.app(writer).acked.clone())
    };
    let first = run();
    assert!(!first.1.is_empty());
    assert_eq!(first, run());
}

/// Tests the simulation: only a running leader may remove a lagging follower.
#[test]
fn who_was_in_sync_when_the_leader_died_leads_next() {
    let options = Options {
        brokers: 2,
        replication: 2,
        replica_lag_max: SECOND / 10,
        session_timeout: 2 * SECOND,
        ..Options::default()
    };
    let mut world = World::new(1, options);
    world.cluster.create_topic("t", 1).expect("created");
    let (writer, topic) = join(&mut world);
    world.run_for(SECOND);
    world.cluster.set_replica_lag(2, 10 * SECOND);
    send(&mut world, writer, topic, 0..1);
    world.await_that("the append", SECOND, |w| w.cluster.log_len("t", 0) == 1);
    world.kill(1);
    world.run_for(SECOND);
    assert_eq!(world.cluster.replicas("t", 0), (vec![1, 2], 2), "nobody is there to say so");
    world.await_that("an election", 2 * SECOND, |w| w.cluster.leader("t", 0) == Some((2, 1)));
}
