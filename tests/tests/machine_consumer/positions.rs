use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, FetchRequest, ListOffsetsRequest};
use kavka_core::{Config, Duration, Event, Limits, MoveReason, Start};
use kavka_tests::script::fetch::{Batch, diverging, records, refused};
use kavka_tests::script::steps::{batch, events, fetch_with, moves, poke, reading};
use kavka_tests::script::{Requested, Script, World};

#[test]
fn a_leader_that_contradicts_itself_about_the_range_makes_no_fast_loop() {
    let (mut s, parts) = reading(1, 1);
    (s.world.partition("t", 0).start, s.world.partition("t", 0).end) = (0, 100);
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(50)).unwrap();
    let (start, mut fetches) = (s.now(), 0);
    while start.until(s.now()) < Duration::from_secs(20) {
        let requested = s.expect::<FetchRequest>();
        s.give(&requested, 0, vec![refused(0, 1)]);
        fetches += 1;
    }
    assert!((15..60).contains(&fetches), "{fetches} fetches in 20 s");
    assert_eq!(moves(&events(&mut s)), []);
}

/// A session repeats what it got last, so a leader would refuse the same epoch forever.
#[test]
fn an_epoch_that_changes_without_the_position_is_reported_to_the_session() {
    let (mut s, _) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    let read = Batch { epoch: 5, ..Batch::new(0, &["a"; 10]) }.bytes();
    s.give(&requested, 7, vec![records(0, &[read])]);
    (s.world.partition("t", 0).start, s.world.partition("t", 0).end) = (0, 100);
    let reported = |requested: &Requested<FetchRequest>| {
        let parts = requested.body.topics.iter().flat_map(|topic| &topic.partitions);
        parts.map(|p| (p.fetch_offset, p.last_fetched_epoch)).collect::<Vec<_>>()
    };
    let requested = s.expect::<FetchRequest>();
    assert_eq!(reported(&requested), [(10, 5)]);
    s.give(&requested, 7, vec![diverging(0, 3, 10)]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(reported(&requested), [(10, 3)], "the leader knows epoch 3, and its end is here");
    s.give(&requested, 7, vec![refused(0, 1)]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(reported(&requested), [(10, -1)], "in range by ListOffsets: the epoch is to blame");
}

#[test]
fn held_records_come_again_from_there() {
    let (mut s, parts) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    let mut held = false;
    s.hook = Some(Box::new(move |event, commands| {
        if let Event::Records(batch) = event
            && !core::mem::replace(&mut held, true)
        {
            commands.hold(batch.partition(), 1);
        }
    }));
    s.give(&requested, 7, vec![records(0, &[batch(0, &["a", "b"]), batch(2, &["c"])])]);
    assert_eq!(s.records().len(), 2, "the batch in hand, and nothing behind it");
    s.run(Duration::from_secs(2));
    let now = s.now();
    s.client.resume(now, parts[0]);
    let requested = fetch_with(&mut s, |s, requested| !s.wanted(requested).is_empty());
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 1)]);
}

/// One request at a time: the old leader's response soon shows that it no longer leads.
#[test]
fn a_start_that_was_requested_is_awaited_when_the_leader_moves() {
    let (mut s, parts) = reading(2, 1);
    s.manual(ApiKey::ListOffsets);
    let first = s.expect::<FetchRequest>();
    let now = s.now();
    s.client.seek(now, parts[0], Start::Earliest).unwrap();
    s.give(&first, 7, vec![]);
    let requested = s.expect::<ListOffsetsRequest>();
    let t = s.topic("t");
    s.world.lead("t", 0, 2);
    poke(&mut s, t);
    s.run(Duration::from_secs(2));
    s.none::<ListOffsetsRequest>("the response is awaited");
    s.world.partition("t", 0).start = 5;
    let body = s.world.offsets(&requested.body);
    s.respond(&requested, body);
    let requested = fetch_with(&mut s, |s, requested| !s.wanted(requested).is_empty());
    assert_eq!((requested.node, s.wanted(&requested)), (2, vec![("t".into(), 0, 5)]));
}

#[test]
fn offsets_that_are_none_make_no_fast_loop() {
    let (mut s, parts) = reading(1, 1);
    s.manual(ApiKey::ListOffsets);
    (s.world.partition("t", 0).start, s.world.partition("t", 0).end) = (-5, -5);
    let now = s.now();
    s.client.seek(now, parts[0], Start::Earliest).unwrap();
    let (start, mut wants_requests) = (s.now(), 0);
    while start.until(s.now()) < Duration::from_secs(10) {
        s.expect::<ListOffsetsRequest>();
        s.automatic(ApiKey::ListOffsets);
        s.manual(ApiKey::ListOffsets);
        wants_requests += 1;
        assert!(wants_requests < 1000, "a fast loop");
        s.run(Duration::from_millis(1));
    }
    assert!((2..30).contains(&wants_requests), "{wants_requests} requests in 10 s");
    assert_eq!(s.client.position(parts[0]), None);
}

#[test]
fn two_truncations_before_the_application_looks_are_one_move() {
    let (mut s, _) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![records(0, &[batch(0, &["a"; 10])])]);
    let _ = s.records();
    s.listening = false;
    for (epoch, end) in [(3, 7), (2, 4)] {
        let requested = s.expect::<FetchRequest>();
        s.give(&requested, 0, vec![diverging(0, epoch, end)]);
    }
    s.listening = true;
    assert_eq!(moves(&events(&mut s)), [(10, 4, MoveReason::Truncated)]);
}

#[test]
fn passing_errors_are_reported_within_a_second_and_refused_access_at_once() {
    for (code, passing) in [(3, true), (6, true), (29, false)] {
        let (mut s, _) = reading(1, 1);
        let start = s.now();
        let (mut first, mut count) = (None, 0);
        while start.until(s.now()) < Duration::from_secs(8) {
            let requested = s.expect::<FetchRequest>();
            s.give(&requested, 0, vec![refused(0, code)]);
            let reported = events(&mut s);
            if reported.iter().any(|e| matches!(e, Event::PartitionFailed { .. })) {
                first = first.or(Some(start.until(s.now()).as_millis()));
                count += 1;
            }
        }
        let first = first.expect("it is reported in the end");
        let right = if passing { 500..1000 } else { 0..50 };
        assert!(right.contains(&first), "code {code}: {first} ms");
        assert_eq!(count, if passing { 2 } else { 1 }, "code {code}: again after five seconds");
    }
}

#[test]
fn access_refused_after_a_passing_error_is_reported_too() {
    let (mut s, _) = reading(1, 1);
    for code in [6, 29, 29] {
        let requested = s.expect::<FetchRequest>();
        s.give(&requested, 0, vec![refused(0, code)]);
    }
    let failed = |e: &&Event<'_>| matches!(e, Event::PartitionFailed { .. });
    assert_eq!(events(&mut s).iter().filter(failed).count(), 1);
}

/// The start of reading, and that the end was reached, are reported on demand: once, and again
/// after the position moved.
#[test]
fn positions_and_ends_are_reported_once() {
    let world = World::new(1).topic("t", 1);
    let config = Config::new(world.bootstrap()).report_positions(true);
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    let now = s.now();
    let at = s.client.assign(now, t, 0, Start::Earliest).unwrap();
    let give = |s: &mut Script, end: i64, batches: &[Bytes]| {
        let requested = s.expect::<FetchRequest>();
        let mut entry = records(0, batches);
        entry.high_watermark = end;
        s.give(&requested, 0, vec![entry]);
        s.take_reported(|reported| match reported.event()? {
            Event::Positioned { at, offset } => Some((at, offset, "begins")),
            Event::EndOfPartition { at, offset } => Some((at, offset, "ends")),
            _ => None,
        })
    };
    assert_eq!(give(&mut s, 0, &[]), [(at, 0, "begins"), (at, 0, "ends")]);
    assert_eq!(give(&mut s, 0, &[]), [], "nothing moved");
    assert_eq!(give(&mut s, 3, &[batch(0, &["a"])]), [], "two more to come");
    let marker = Batch { attributes: 0x30, ..Batch::new(2, &["commit"]) };
    assert_eq!(give(&mut s, 3, &[batch(1, &["b"]), marker.bytes()]), [(at, 3, "ends")]);
    assert_eq!(s.client.position(at), Some(3), "behind the marker");
    assert_eq!(give(&mut s, 3, &[]), []);
    let now = s.now();
    s.client.seek(now, at, Start::Offset(3)).unwrap();
    assert_eq!(give(&mut s, 3, &[]), [], "asked before");
    assert_eq!(give(&mut s, 3, &[]), [(at, 3, "ends")], "sought");
}

#[test]
fn nothing_is_reported_of_positions_that_no_caller_requested() {
    let (mut s, _) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    let mut entry = records(0, &[batch(0, &["a"])]);
    entry.high_watermark = 1;
    s.give(&requested, 0, vec![entry]);
    let reported = s.take_reported(|reported| match reported.event()? {
        Event::EndOfPartition { offset, .. } | Event::Positioned { offset, .. } => Some(offset),
        _ => None,
    });
    assert_eq!(reported, [0_i64; 0]);
}
