//! What a request names, and what a held fetch costs others.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use kafka_protocol::messages::FetchRequest;
use kavka_core::{Config, Event, Limits, Start};
use kavka_tests::script::fetch::records;
use kavka_tests::script::steps::{batch, fetch_with, reading};
use kavka_tests::script::{Requested, Script, World};

/// Lets a fetch wait for as long as it may, and responds without records.
fn nothing_came(s: &mut Script, requested: &Requested<FetchRequest>) {
    let wait = u64::try_from(requested.body.max_wait_ms).unwrap();
    s.run(Duration::from_millis(wait));
    s.give(requested, 7, vec![]);
}

#[test]
fn an_unassigned_partition_is_forgotten_and_the_session_continues() {
    let (mut s, parts) = reading(1, 3);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 7, vec![]);
    let requested = s.expect::<FetchRequest>();
    let now = s.now();
    s.client.unassign(now, parts[0]);
    s.give(&requested, 7, vec![]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!((requested.body.session_id, requested.body.session_epoch), (7, 2));
    assert_eq!((s.wanted(&requested), s.forgotten(&requested)), (vec![], vec![("t".into(), 0)]));
    s.give(&requested, 7, vec![]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!((s.wanted(&requested), s.forgotten(&requested)), (vec![], vec![]), "only once");
}

#[test]
fn a_partition_that_is_assigned_again_before_it_is_forgotten_stays_in_the_session() {
    let (mut s, parts) = reading(1, 2);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 7, vec![]);
    let requested = s.expect::<FetchRequest>();
    let (now, t) = (s.now(), s.topic("t"));
    s.client.unassign(now, parts[0]);
    let again = s.client.assign(now, t, 0, Start::Offset(5)).unwrap();
    assert_ne!(again, parts[0]);
    assert_eq!(s.client.position(parts[0]), None, "the old id means nothing");
    s.give(&requested, 7, vec![records(0, &[batch(0, &["old"])])]);
    assert_eq!(s.records(), [], "fetched for the assignment before");
    let requested = s.expect::<FetchRequest>();
    assert_eq!(requested.body.session_epoch, 2);
    assert_eq!((s.wanted(&requested), s.forgotten(&requested)), (vec![("t".into(), 0, 5)], vec![]));
}

#[test]
fn entries_that_a_session_has_to_forget_make_room() {
    let world = World::new(1).topic("t", 6);
    let mut limits = Limits::small();
    limits.partitions = 2;
    let mut s = Script::with(world.clone(), Config::new(world.bootstrap()), &limits);
    let t = s.ready("t");
    let mut last = Vec::new();
    for pair in 0..3 {
        let now = s.now();
        last.drain(..).for_each(|id| s.client.unassign(now, id));
        for partition in [2 * pair, 2 * pair + 1] {
            last.push(s.client.assign(now, t, partition, Start::Offset(0)).unwrap());
        }
        let requested = fetch_with(&mut s, |s, requested| s.wanted(requested).len() == 2);
        s.give(&requested, 7, vec![]);
    }
    // Nothing is left to fetch, and the entries are free nevertheless.
    let requested = s.expect::<FetchRequest>();
    let now = s.now();
    last.drain(..).for_each(|id| s.client.unassign(now, id));
    s.give(&requested, 7, vec![]);
    s.none::<FetchRequest>("nothing is read");
    let now = s.now();
    s.client.assign(now, t, 0, Start::Offset(0)).unwrap();
    let requested = s.expect::<FetchRequest>();
    assert_eq!((requested.body.session_epoch, s.wanted(&requested).len()), (0, 1));
}

#[test]
fn a_fetch_names_what_changed_and_nothing_else() {
    let (mut s, _) = reading(1, 40);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested).len(), 40);
    s.give(&requested, 7, vec![]);
    for offset in 0..3 {
        let requested = s.expect::<FetchRequest>();
        s.give(&requested, 7, vec![records(23, &[batch(offset, &["x"])])]);
        let requested = s.expect::<FetchRequest>();
        assert_eq!(s.wanted(&requested), [("t".into(), 23, offset + 1)]);
        s.give(&requested, 7, vec![]);
    }
}

#[test]
fn partitions_of_a_topic_stand_together_in_a_request() {
    let world = World::new(1).topic("a", 3).topic("b", 3);
    let mut s = Script::with(world.clone(), Config::new(world.bootstrap()), &Limits::small());
    let topics = [s.ready("a"), s.ready("b")];
    let now = s.now();
    let mut parts = Vec::new();
    for partition in 0..3 {
        for topic in topics {
            parts.push(s.client.assign(now, topic, partition, Start::Offset(0)).unwrap());
        }
    }
    let counts = |requested: &Requested<FetchRequest>| -> Vec<usize> {
        requested.body.topics.iter().map(|topic| topic.partitions.len()).collect()
    };
    let requested = s.expect::<FetchRequest>();
    assert_eq!(counts(&requested), [3, 3]);
    // Metadata added them topic by topic; now they come alternately.
    let now = s.now();
    for part in parts {
        s.client.seek(now, part, Start::Offset(1)).unwrap();
    }
    s.give(&requested, 7, vec![]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(counts(&requested), [3, 3]);
}

#[test]
fn what_is_held_is_fetched_within_milliseconds_after_it_is_resumed() {
    let (mut s, parts) = reading(1, 2);
    let requested = s.expect::<FetchRequest>();
    let full = Rc::new(Cell::new(true));
    let is_full = full.clone();
    s.hook = Some(Box::new(move |event, commands| {
        if let (Event::Records(batch), true) = (event, is_full.get()) {
            commands.hold(batch.partition(), batch.position());
        }
    }));
    s.give(&requested, 7, vec![records(0, &[batch(0, &["x"])])]);
    let waits_for_one = s.expect::<FetchRequest>();
    assert_eq!(s.forgotten(&waits_for_one), [("t".into(), 0)]);
    full.set(false);
    let resumed = s.now();
    s.client.resume(resumed, parts[0]);
    nothing_came(&mut s, &waits_for_one);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 0)]);
    let passed = resumed.until(requested.at);
    let short = Duration::from_millis(1)..=Duration::from_millis(10);
    assert!(short.contains(&passed), "{passed:?} after it was resumed");
    assert_eq!(requested.body.max_wait_ms, 500, "nothing is held any more");
}

#[test]
fn a_long_pause_costs_few_requests_and_still_ends_within_milliseconds() {
    let (mut s, parts) = reading(1, 2);
    let requested = s.expect::<FetchRequest>();
    s.client.pause(parts[0]);
    s.give(&requested, 7, vec![]);
    let begin = s.now();
    let mut requests = 0;
    while begin.until(s.now()) < Duration::from_secs(2) {
        let requested = s.expect::<FetchRequest>();
        nothing_came(&mut s, &requested);
        requests += 1;
    }
    assert!((80..200).contains(&requests), "{requests} requests in two seconds");
    let requested = s.expect::<FetchRequest>();
    let resumed = s.now();
    s.client.resume(resumed, parts[0]);
    nothing_came(&mut s, &requested);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 0)]);
    let passed = resumed.until(requested.at);
    let short = Duration::from_millis(10)..=Duration::from_millis(25);
    assert!(short.contains(&passed), "{passed:?} after it was resumed");
}
