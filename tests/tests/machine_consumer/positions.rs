use std::time::Duration;

use kafka_protocol::messages::{ApiKey, FetchRequest, ListOffsetsRequest};
use kavka_core::{Event, MoveReason, OutOfRange, Start};
use kavka_tests::script::World;
use kavka_tests::script::fetch::{diverging, led, records, refused};

use crate::support::{batch, events, fetch_at, fetch_with, reading, reading_with};

type Move = (i64, i64, MoveReason);

fn moves(told: &[Event<'_>]) -> Vec<Move> {
    let moved = |event: &Event<'_>| match *event {
        Event::Moved { from, to, why, .. } => Some((from, to, why)),
        _ => None,
    };
    told.iter().filter_map(moved).collect()
}

/// A reader at offset 50 of a log 20..30 or so, and where it goes on.
fn out_of_range(policy: OutOfRange, log: (i64, i64)) -> (Vec<Move>, Option<i64>, bool) {
    let world = World::new(1).topic("t", 1);
    let (mut s, parts) = reading_with(world, |mut config| {
        config.out_of_range = policy;
        config
    });
    (s.world.partition("t", 0).start, s.world.partition("t", 0).end) = log;
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(50)).unwrap();
    let asked = fetch_with(&mut s, |s, asked| s.wanted(asked) == [("t".into(), 0, 50)]);
    s.give(&asked, 0, vec![refused(0, 1)]);
    s.run(Duration::from_millis(200));
    let next = s.take::<FetchRequest>().map(|asked| s.wanted(&asked)[0].2);
    let told = events(&mut s);
    let failed = told.iter().any(|e| matches!(e, Event::PartitionFailed { .. }));
    (moves(&told), next, failed)
}

#[test]
fn a_position_outside_the_log_goes_where_the_policy_says_and_says_so() {
    // [T6]
    use OutOfRange::{Earliest, Latest, Nearest, Stop};
    let moved = |to| (vec![(50, to, MoveReason::OutOfRange)], Some(to), false);
    assert_eq!(out_of_range(Nearest, (60, 90)), moved(60), "below");
    assert_eq!(out_of_range(Nearest, (20, 30)), moved(30), "above");
    assert_eq!(out_of_range(Earliest, (20, 30)), moved(20));
    assert_eq!(out_of_range(Latest, (20, 30)), moved(30));
    assert_eq!(out_of_range(Stop, (20, 30)), (vec![], None, true));
}

#[test]
fn a_leader_that_contradicts_itself_about_the_range_makes_no_fast_loop() {
    let (mut s, parts) = reading(1, 1);
    (s.world.partition("t", 0).start, s.world.partition("t", 0).end) = (0, 100);
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(50)).unwrap();
    let (start, mut fetches) = (s.now(), 0);
    while start.until(s.now()) < Duration::from_secs(20) {
        let asked = s.expect::<FetchRequest>();
        s.give(&asked, 0, vec![refused(0, 1)]);
        fetches += 1;
    }
    assert!((15..60).contains(&fetches), "{fetches} fetches in 20 s");
    assert_eq!(moves(&events(&mut s)), []);
}

#[test]
fn an_out_of_range_answer_for_an_old_position_is_ignored() {
    // [C6]
    let (mut s, parts) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(7)).unwrap();
    s.give(&asked, 0, vec![refused(0, 1)]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&asked), [("t".into(), 0, 7)]);
    assert_eq!(moves(&events(&mut s)), []);
}

#[test]
fn records_that_come_while_paused_or_after_a_seek_are_not_given() {
    // [C7]
    let (mut s, parts) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    s.client.pause(parts[0]);
    s.give(&asked, 0, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(s.records(), []);
    s.run(Duration::from_secs(3));
    assert!(s.take::<FetchRequest>().is_none(), "nothing is fetched while paused");
    let now = s.now();
    s.client.resume(now, parts[0]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&asked), [("t".into(), 0, 0)], "the position was kept");
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(5)).unwrap();
    s.give(&asked, 0, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(s.records(), []);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&asked), [("t".into(), 0, 5)]);
}

#[test]
fn pausing_and_resuming_within_a_session_loses_nothing() {
    // [C7]
    let (mut s, parts) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    s.give(&asked, 7, vec![]);
    let asked = s.expect::<FetchRequest>();
    s.client.pause(parts[0]);
    s.give(&asked, 7, vec![records(0, &[batch(0, &["a"])])]);
    let now = s.now();
    s.client.resume(now, parts[0]);
    let asked = s.expect::<FetchRequest>();
    // The session still has offset 0: the broker sends the same again.
    assert_eq!(s.wanted(&asked), []);
    s.give(&asked, 7, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(s.records(), [(0, 0, "a".into())]);
}

#[test]
fn held_records_come_again_from_there() {
    let (mut s, parts) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    let mut held = false;
    s.hook = Some(Box::new(move |event, commands| {
        if let Event::Records(batch) = event
            && !core::mem::replace(&mut held, true)
        {
            commands.hold(batch.partition(), 1);
        }
    }));
    s.give(&asked, 7, vec![records(0, &[batch(0, &["a", "b"]), batch(2, &["c"])])]);
    assert_eq!(s.records().len(), 2, "the batch in hand, and nothing behind it");
    s.run(Duration::from_secs(2));
    let now = s.now();
    s.client.resume(now, parts[0]);
    let asked = fetch_with(&mut s, |s, asked| !s.wanted(asked).is_empty());
    assert_eq!(s.wanted(&asked), [("t".into(), 0, 1)]);
}

#[test]
fn a_late_answer_about_a_start_never_overwrites_a_seek() {
    // [C10] [E5]
    let (mut s, parts) = reading(1, 1);
    s.manual(ApiKey::ListOffsets);
    let now = s.now();
    s.client.seek(now, parts[0], Start::Latest).unwrap();
    let first = s.expect::<ListOffsetsRequest>();
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(3)).unwrap();
    s.world.partition("t", 0).end = 90;
    s.automatic(ApiKey::ListOffsets);
    let body = kafka_protocol::messages::ListOffsetsResponse::default();
    s.answer(&first, body);
    s.run(Duration::from_millis(300));
    assert_eq!(s.client.position(parts[0]), Some(3));
    let asked = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&asked), [("t".into(), 0, 3)]);
}

#[test]
fn offsets_that_are_none_make_no_fast_loop() {
    let (mut s, parts) = reading(1, 1);
    s.manual(ApiKey::ListOffsets);
    (s.world.partition("t", 0).start, s.world.partition("t", 0).end) = (-5, -5);
    let now = s.now();
    s.client.seek(now, parts[0], Start::Earliest).unwrap();
    let (start, mut asks) = (s.now(), 0);
    while start.until(s.now()) < Duration::from_secs(10) {
        s.expect::<ListOffsetsRequest>();
        s.automatic(ApiKey::ListOffsets);
        s.manual(ApiKey::ListOffsets);
        asks += 1;
        assert!(asks < 1000, "a fast loop");
        s.run(Duration::from_millis(1));
    }
    assert_eq!(s.client.position(parts[0]), None);
}

#[test]
fn truncation_goes_back_to_where_the_logs_part_and_says_so() {
    // [E3], in-band
    let (mut s, _) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    let mut old = kavka_tests::script::fetch::Batch::new(0, &["a"; 10]);
    old.epoch = 3;
    s.give(&asked, 0, vec![records(0, &[old.bytes()])]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(asked.body.topics[0].partitions[0].last_fetched_epoch, 3);
    s.give(&asked, 0, vec![diverging(0, 2, 7)]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&asked), [("t".into(), 0, 7)]);
    assert_eq!(asked.body.topics[0].partitions[0].last_fetched_epoch, 2);
    assert_eq!(moves(&events(&mut s)), [(10, 7, MoveReason::Truncated)]);
}

#[test]
fn two_truncations_before_the_application_looks_are_one_move() {
    let (mut s, _) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    s.give(&asked, 0, vec![records(0, &[batch(0, &["a"; 10])])]);
    let _ = s.records();
    s.listening = false;
    for (epoch, end) in [(3, 7), (2, 4)] {
        let asked = s.expect::<FetchRequest>();
        s.give(&asked, 0, vec![diverging(0, epoch, end)]);
    }
    s.listening = true;
    assert_eq!(moves(&events(&mut s)), [(10, 4, MoveReason::Truncated)]);
}

#[test]
fn an_undefined_divergence_is_out_of_range_and_no_loss() {
    // [E4]
    let (mut s, _) = reading(1, 1);
    s.world.partition("t", 0).end = 10;
    let asked = s.expect::<FetchRequest>();
    s.give(&asked, 0, vec![records(0, &[batch(0, &["a"; 10])])]);
    let asked = s.expect::<FetchRequest>();
    s.give(&asked, 0, vec![diverging(0, 0, -1)]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&asked), [("t".into(), 0, 10)]);
    assert_eq!(asked.body.topics[0].partitions[0].last_fetched_epoch, -1);
    assert_eq!(moves(&events(&mut s)), []);
}

#[test]
fn a_leader_that_is_named_is_fetched_from_at_once() {
    // [E11]
    let (mut s, _) = reading(2, 1);
    let asked = s.expect::<FetchRequest>();
    s.manual(ApiKey::Metadata);
    s.world.lead("t", 0, 2);
    s.give(&asked, 0, vec![led(0, 6, 2, 1)]);
    let before = s.now();
    let asked = s.expect::<FetchRequest>();
    assert_eq!((asked.node, s.now()), (2, before));
    // A lower epoch changes nothing.
    s.give(&asked, 0, vec![led(0, 6, 1, 0)]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(asked.node, 2);
}

#[test]
fn fenced_and_unknown_epochs_leave_the_position() {
    // [E14]
    for (code, refreshes) in [(74, true), (75, false)] {
        let (mut s, parts) = reading(1, 1);
        let asked = s.expect::<FetchRequest>();
        s.run(Duration::from_secs(3));
        s.manual(ApiKey::Metadata);
        s.give(&asked, 0, vec![refused(0, code)]);
        s.run(Duration::from_millis(20));
        let asks = s.waiting::<kafka_protocol::messages::MetadataRequest>() > 0;
        assert_eq!(asks, refreshes, "code {code}");
        assert_eq!(s.client.position(parts[0]), Some(0), "code {code}");
        let asked = fetch_at(&mut s, 1);
        assert_eq!(s.wanted(&asked), [("t".into(), 0, 0)], "code {code}");
    }
}

#[test]
fn passing_errors_are_silent_for_five_seconds_and_refused_access_is_told_at_once() {
    for (code, silent) in [(3, true), (6, true), (29, false)] {
        let (mut s, _) = reading(1, 1);
        let start = s.now();
        let mut first = None;
        while start.until(s.now()) < Duration::from_secs(8) {
            let asked = s.expect::<FetchRequest>();
            s.give(&asked, 0, vec![refused(0, code)]);
            let told = events(&mut s);
            if told.iter().any(|e| matches!(e, Event::PartitionFailed { .. })) {
                first = first.or(Some(start.until(s.now()).as_millis()));
            }
        }
        let first = first.expect("it is told in the end");
        assert!(if silent { first >= 5000 } else { first < 50 }, "code {code}: {first} ms");
    }
}

#[test]
fn access_refused_after_a_passing_error_is_told_too() {
    let (mut s, _) = reading(1, 1);
    for code in [6, 29, 29] {
        let asked = s.expect::<FetchRequest>();
        s.give(&asked, 0, vec![refused(0, code)]);
    }
    let failed = |e: &&Event<'_>| matches!(e, Event::PartitionFailed { .. });
    assert_eq!(events(&mut s).iter().filter(failed).count(), 1);
}
