use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::FetchRequest;
use kavka_core::{Config, Duration, Event, Limits, MoveReason, Start};
use kavka_tests::script::fetch::{led, records, refused};
use kavka_tests::script::steps::{batch, fetch_at, fetch_with, reading};
use kavka_tests::script::{Script, World};

#[test]
fn without_sessions_every_fetch_is_whole_and_takes_turns() {
    let (mut s, _) = reading(1, 3);
    let mut firsts = Vec::new();
    for _ in 0..3 {
        let requested = s.expect::<FetchRequest>();
        assert_eq!(requested.body.session_epoch, 0);
        let wanted = s.wanted(&requested);
        assert_eq!(wanted.len(), 3);
        firsts.push(wanted[0].1);
        s.give(&requested, 0, vec![]);
    }
    firsts.sort_unstable();
    assert_eq!(firsts, [0, 1, 2], "who comes last may get nothing: others have to be first");
}

/// Where one connection carries everything, a request limits itself to what its buffer holds.
#[test]
fn a_request_requests_as_many_bytes_as_were_configured() {
    let buffer = 1 << 16;
    for (conns, configured, wanted) in [
        (8, (1 << 20, 1000), (1 << 20, 1000)),
        (8, (9000, 1 << 20), (9000, buffer)),
        (1, (1 << 20, 1000), (buffer, 1000)),
    ] {
        let world = World::new(1).topic("t", 2);
        let mut config = Config::new(world.bootstrap());
        (config.fetch_max_bytes, config.partition_max_bytes) = configured;
        (config.fetch_min_bytes, config.fetch_max_wait) = (7, Duration::from_millis(90));
        let mut limits = Limits::small();
        limits.conns = conns;
        let mut s = Script::with(world, config, &limits);
        let t = s.ready("t");
        let now = s.now();
        for partition in 0..2 {
            s.client.assign(now, t, partition, Start::Offset(0)).expect("assigned");
        }
        let body = s.expect::<FetchRequest>().body;
        let of_parts: Vec<_> =
            body.topics[0].partitions.iter().map(|p| p.partition_max_bytes).collect();
        assert_eq!((body.max_bytes, of_parts), (wanted.0, vec![wanted.1; 2]), "{conns}");
        assert_eq!((body.min_bytes, body.max_wait_ms), (7, 90), "{conns}");
    }
}

#[test]
fn unassigning_beside_a_fetch_in_flight_keeps_the_others_alive() {
    let (mut s, parts) = reading(1, 3);
    let requested = s.expect::<FetchRequest>();
    let now = s.now();
    s.client.unassign(now, parts[0]);
    s.give(&requested, 7, vec![records(1, &[batch(0, &["b"])])]);
    assert_eq!(s.records(), [(1, 0, "b".into())], "what came for the others is of use");
    let requested = s.expect::<FetchRequest>();
    assert_eq!(requested.body.session_epoch, 1, "the session continues");
    assert_eq!(s.forgotten(&requested), [("t".into(), 0)]);
    assert_eq!(s.wanted(&requested), [("t".into(), 1, 1)]);
}

#[test]
fn the_session_of_an_old_leader_does_not_keep_the_partition() {
    // The old leader would respond for it at once, each time, and never hold a fetch again.
    let (mut s, _) = reading(2, 4);
    let (one, two) = (fetch_at(&mut s, 1), fetch_at(&mut s, 2));
    s.give(&one, 7, vec![]);
    s.give(&two, 8, vec![]);
    let (one, two) = (fetch_at(&mut s, 1), fetch_at(&mut s, 2));
    // Partition 0 moves from 1 to 2 while both fetches are held; 2 ends first.
    s.world.lead("t", 0, 2);
    s.give(&two, 8, vec![refused(3, 6)]);
    fetch_with(&mut s, |s, requested| s.wanted(requested).contains(&("t".into(), 0, 0)));
    s.give(&one, 7, vec![led(0, 6, 2, 1)]);
    let one = fetch_at(&mut s, 1);
    let out = s.forgotten(&one) == [("t".into(), 0)] || one.body.session_epoch == 0;
    assert!(out, "partition 0 stays in the session of broker 1");
    assert_eq!(s.records(), []);
}

#[test]
fn a_request_names_what_there_is_room_for_and_the_next_one_the_rest() {
    // 40 partitions take more than the 8 x 128 bytes available for all requests.
    for (session, what) in [(7, "a session"), (0, "no session")] {
        let world = World::new(1).topic("t", 40);
        let config = Config::new(world.bootstrap());
        let mut limits = Limits::small();
        (limits.tx_blocks, limits.block_bytes, limits.partitions) = (8, 128, 64);
        let mut s = Script::with(world, config, &limits);
        let t = s.topic("t");
        let now = s.now();
        s.client.assign_all(now, t, Start::Latest).unwrap();
        let mut wanted = BTreeSet::new();
        for _ in 0..100 {
            let requested = s.expect::<FetchRequest>();
            wanted.extend(s.wanted(&requested).into_iter().map(|(_, partition, _)| partition));
            s.give(&requested, session, vec![]);
        }
        assert_eq!(wanted.len(), 40, "with {what}, {wanted:?}");
    }
}

/// A broker returns the records of a partition that was read on, but not named yet, once more.
#[test]
fn what_a_session_does_not_know_yet_is_not_taken_for_hidden_records() {
    let world = World::new(1).topic("t", 40);
    let config = Config::new(world.bootstrap());
    let mut limits = Limits::small();
    (limits.tx_blocks, limits.block_bytes, limits.partitions) = (8, 128, 64);
    let mut s = Script::with(world, config, &limits);
    let t = s.topic("t");
    let now = s.now();
    s.client.assign_all(now, t, Start::Earliest).unwrap();
    let mut read = BTreeSet::new();
    let requested = loop {
        let requested = s.expect::<FetchRequest>();
        let named: BTreeSet<i32> =
            s.wanted(&requested).into_iter().map(|wanted| wanted.1).collect();
        if let Some(&behind) = read.difference(&named).next() {
            let both = records(behind, &[batch(0, &["a"]), batch(1, &["b"])]);
            s.give(&requested, 7, vec![both]);
            let got: Vec<_> =
                s.records().into_iter().map(|(_, offset, value)| (offset, value)).collect();
            assert_eq!(got, [(1, "b".into())]);
            break requested;
        }
        let given = named.iter().map(|at| records(*at, &[batch(0, &["a"])])).collect();
        s.give(&requested, 7, given);
        let got = s.records().into_iter();
        read.extend(got.map(|(partition, ..)| i32::try_from(partition).expect("an index")));
    };
    assert_eq!(requested.body.session_id, 7);
    let skipped = s.take_reported(|reported| match reported.event()? {
        Event::Moved { why: MoveReason::Skipped, from, .. } => Some(from),
        _ => None,
    });
    assert!(skipped.is_empty(), "{skipped:?}");
}

/// Partitions of a topic are adjacent in a request: those of the first topic that were named before
/// must not precede those of the second that were not. Some 30 partitions fit.
#[test]
fn where_room_is_short_every_partition_of_every_topic_has_its_turn() {
    for of_topics in [[21, 24], [40, 20]] {
        // With a session "a" returns records all the time, so that it has to be named again.
        for (session, what) in [(0, "no session"), (7, "a session")] {
            let (named, longest) = turns(of_topics, session);
            assert_eq!(named, of_topics[0] + of_topics[1], "{of_topics:?} with {what}");
            let least = u32::from(session == 0);
            assert!((least..20).contains(&longest), "{of_topics:?} with {what}: {longest} turns");
        }
    }
}

/// Returns how many partitions of topics "a" and "b" 200 requests name, and without a session the
/// most turns between two of the same.
fn turns(of_topics: [usize; 2], session: i32) -> (usize, u32) {
    let world = World::new(1).topic("a", of_topics[0]).topic("b", of_topics[1]);
    let config = Config::new(world.bootstrap());
    let mut limits = Limits::small();
    (limits.tx_blocks, limits.block_bytes, limits.partitions) = (10, 128, 64);
    let mut s = Script::with(world, config, &limits);
    for name in ["a", "b"] {
        let topic = s.topic(name);
        let now = s.now();
        s.client.assign_all(now, topic, Start::Offset(0)).unwrap();
    }
    let (mut last, mut longest) = (BTreeMap::new(), 0);
    for turn in 0..200 {
        let requested = s.expect::<FetchRequest>();
        let named = s.wanted(&requested);
        for (topic, partition, _) in &named {
            let before = last.insert((topic.clone(), *partition), turn).unwrap_or(0);
            if session == 0 {
                longest = longest.max(turn - before);
            }
        }
        let of_a = named.iter().filter(|(topic, ..)| session != 0 && topic == "a");
        let parts = of_a.map(|(_, part, at)| records(*part, &[batch(*at, &["v"])])).collect();
        s.give(&requested, session, parts);
        s.records();
    }
    (last.len(), longest)
}
