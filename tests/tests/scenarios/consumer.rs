//! Fetching, positions, sessions, and records that cannot be read.

use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, ProduceRequest,
};
use kavka_core::{Config, Duration, Event, Limits, Resources, Start};
use kavka_tests::script::fetch::{Batch, records, refused};
use kavka_tests::script::steps::{after, batch, events, fetch_with, moves, reading, values};
use kavka_tests::script::{Script, World};

#[test]
fn c1_a_compacted_tail_is_passed() {
    let compacted = Batch { last_delta: 9, ..Batch::new(0, &["a"]) };
    let (next, got, _) = after(&[compacted.bytes()]);
    assert_eq!((next, got), (Some(10), vec![(0, "a".into())]));
}

#[test]
fn c2_empty_and_control_batches_move_the_position_and_give_nothing() {
    let empty = Batch { last_delta: 4, ..Batch::new(0, &[]) };
    let control = Batch { attributes: 0x30, ..Batch::new(5, &["commit"]) };
    let (next, got, reported) = after(&[empty.bytes(), control.bytes()]);
    assert_eq!((next, got, reported.len()), (Some(6), vec![], 1), "{reported:?}");
}

#[test]
fn c3_an_offset_in_mid_batch_hides_what_is_before() {
    let (mut s, parts) = reading(1, 1);
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(2)).unwrap();
    let requested = fetch_with(&mut s, |s, requested| s.wanted(requested) == [("t".into(), 0, 2)]);
    s.give(&requested, 0, vec![records(0, &[batch(0, &["a", "b", "c", "d"])])]);
    assert_eq!(values(&mut s), [(2, "c".into()), (3, "d".into())]);
}

#[test]
fn c4_a_first_batch_that_is_always_cut_is_reported_and_never_loops_fast() {
    let whole = batch(0, &["a long value that is cut"]).len();
    for keep in [5, 40, 70] {
        let (mut s, _) = reading(1, 1);
        let (start, mut fetches) = (s.now(), 0);
        while start.until(s.now()) < Duration::from_secs(20) {
            let requested = s.expect::<FetchRequest>();
            let cut = batch(0, &["a long value that is cut"]).slice(..keep);
            s.give(&requested, 0, vec![records(0, &[cut])]);
            fetches += 1;
        }
        assert!((15..60).contains(&fetches), "{keep} bytes: {fetches} fetches in 20 s");
        let reported = format!("{:?}", events(&mut s));
        let needed = if keep < 12 { 0 } else { whole };
        let fault = format!("CutBatch {{ needed: {needed}, got: {keep} }}");
        assert!(reported.contains(&fault), "{keep} bytes: {reported}");
    }
}

#[test]
fn c4_a_batch_beyond_the_receive_buffer_is_reported_and_the_connection_lives_on() {
    let memory = Box::leak(Box::new(Resources::<2, 1, 2, 1024, 16>::new()));
    let world = World::new(1).topic("t", 1);
    let config = Config::new(world.bootstrap());
    let mut s = Script::over(world, config, memory.storage());
    let t = s.ready("t");
    let now = s.now();
    let at = s.client.assign(now, t, 0, Start::Offset(0)).unwrap();
    let requested = s.expect::<FetchRequest>();
    let large = batch(1, &["x".repeat(5000).as_str()]);
    s.give(&requested, 0, vec![records(0, &[batch(0, &["a"]), large.clone(), batch(2, &["c"])])]);
    assert_eq!(values(&mut s), [(0, "a".into())]);
    let reported = events(&mut s);
    let Some(Event::TooLarge { offset: 1, next_offset: 2, needed, .. }) = reported.last() else {
        panic!("{reported:?}")
    };
    assert_eq!(*needed, large.len());
    let conns = s.connections(1).len();
    let now = s.now();
    s.client.seek(now, at, Start::Offset(2)).unwrap();
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![records(0, &[batch(2, &["c"])])]);
    assert_eq!(values(&mut s), [(2, "c".into())]);
    assert_eq!((s.connects.len(), s.connections(1).len()), (conns, conns));
}

#[test]
fn c5_a_corrupt_batch_among_good_ones_is_named_and_can_be_passed() {
    let (mut s, parts) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    let mut bad = batch(1, &["b", "c"]).to_vec();
    *bad.last_mut().unwrap() ^= 1;
    let all = [batch(0, &["a"]), bad.into(), batch(3, &["d"])];
    s.give(&requested, 0, vec![records(0, &all)]);
    assert_eq!(values(&mut s), [(0, "a".into())]);
    let reported = events(&mut s);
    let Some(Event::Corrupt { at, offset: 1, next_offset: 3, .. }) = reported.last() else {
        panic!("{reported:?}")
    };
    assert_eq!((*at, s.client.position(parts[0])), (parts[0], Some(1)));
    s.run(Duration::from_secs(5));
    assert!(s.take::<FetchRequest>().is_none(), "it waits for a seek");
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(3)).unwrap();
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 3)]);
}

#[test]
fn c6_an_out_of_range_response_for_an_old_position_is_ignored() {
    let (mut s, parts) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(7)).unwrap();
    s.give(&requested, 0, vec![refused(0, 1)]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 7)]);
    assert_eq!(moves(&events(&mut s)), []);
}

#[test]
fn c7_records_that_come_while_paused_or_after_a_seek_are_not_given() {
    let (mut s, parts) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    s.client.pause(parts[0]);
    s.give(&requested, 0, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(s.records(), []);
    s.run(Duration::from_secs(3));
    assert!(s.take::<FetchRequest>().is_none(), "nothing is fetched while paused");
    let now = s.now();
    s.client.resume(now, parts[0]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 0)], "the position was kept");
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(5)).unwrap();
    s.give(&requested, 0, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(s.records(), []);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 5)]);
}

#[test]
fn c7_pausing_and_resuming_within_a_session_loses_nothing() {
    let (mut s, parts) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 7, vec![]);
    let requested = s.expect::<FetchRequest>();
    s.client.pause(parts[0]);
    s.give(&requested, 7, vec![records(0, &[batch(0, &["a"])])]);
    let now = s.now();
    s.client.resume(now, parts[0]);
    let requested = s.expect::<FetchRequest>();
    // The session still has offset 0: the broker sends the same again.
    assert_eq!(s.wanted(&requested), []);
    s.give(&requested, 7, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(s.records(), [(0, 0, "a".into())]);
}

#[test]
fn c8_a_lost_session_restarts_at_once() {
    for code in [70, 71, 106] {
        let (mut s, _) = reading(1, 1);
        let requested = s.expect::<FetchRequest>();
        s.give(&requested, 7, vec![]);
        let requested = s.expect::<FetchRequest>();
        let before = s.now();
        s.refuse_fetch(&requested, code);
        let requested = s.expect::<FetchRequest>();
        assert_eq!((s.now(), requested.body.session_epoch), (before, 0), "code {code}");
        assert_eq!(requested.body.session_id, if code == 70 { 0 } else { 7 }, "code {code}");
        assert_eq!(s.wanted(&requested), [("t".into(), 0, 0)], "code {code}");
    }
}

#[test]
fn c8_an_unknown_error_of_a_whole_fetch_is_reported_and_never_loops_fast() {
    for code in [70, -1, 35] {
        let (mut s, _) = reading(1, 1);
        let start = s.now();
        let mut fetches = 0;
        while start.until(s.now()).as_secs() < 20 {
            let requested = s.expect::<FetchRequest>();
            s.refuse_fetch(&requested, code);
            fetches += 1;
        }
        assert!((15..60).contains(&fetches), "code {code}: {fetches} fetches in 20 s");
        let reported = format!("{:?}", events(&mut s));
        assert!(reported.contains("PartitionFailed"), "code {code}: {reported}");
    }
}

#[test]
fn c9_an_incremental_fetch_names_only_what_changed_and_loses_nothing() {
    let (mut s, _) = reading(1, 2);
    let requested = s.expect::<FetchRequest>();
    assert_eq!((requested.body.session_id, requested.body.session_epoch), (0, 0));
    s.give(&requested, 7, vec![records(0, &[batch(0, &["a"])])]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!((requested.body.session_id, requested.body.session_epoch), (7, 1));
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 1)]);
    s.give(&requested, 7, vec![records(1, &[batch(0, &["b"])])]);
    assert_eq!(s.records(), [(0, 0, "a".into()), (1, 0, "b".into())]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!((requested.body.session_id, requested.body.session_epoch), (7, 2));
    assert_eq!(s.wanted(&requested), [("t".into(), 1, 1)]);
}

#[test]
fn c9_what_is_paused_leaves_the_session_and_comes_back() {
    let (mut s, parts) = reading(1, 2);
    let requested = s.expect::<FetchRequest>();
    s.client.pause(parts[1]);
    s.give(&requested, 7, vec![]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!((s.wanted(&requested), s.forgotten(&requested)), (vec![], vec![("t".into(), 1)]));
    let now = s.now();
    s.client.resume(now, parts[1]);
    s.give(&requested, 7, vec![]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 1, 0)]);
}

#[test]
fn c10_a_late_response_about_a_start_never_overwrites_a_seek() {
    let (mut s, parts) = reading(1, 1);
    s.manual(ApiKey::ListOffsets);
    let now = s.now();
    s.client.seek(now, parts[0], Start::Latest).unwrap();
    let first = s.expect::<ListOffsetsRequest>();
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(3)).unwrap();
    s.world.partition("t", 0).end = 90;
    s.automatic(ApiKey::ListOffsets);
    let body = ListOffsetsResponse::default();
    s.respond(&first, body);
    s.run(Duration::from_millis(300));
    assert_eq!(s.client.position(parts[0]), Some(3));
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 3)]);
}

#[test]
fn c10_a_second_start_wins_over_the_response_to_the_first() {
    let (mut s, parts) = reading(1, 1);
    (s.world.partition("t", 0).start, s.world.partition("t", 0).end) = (4, 90);
    s.manual(ApiKey::ListOffsets);
    let now = s.now();
    s.client.seek(now, parts[0], Start::Latest).expect("sought");
    let first = s.expect::<ListOffsetsRequest>();
    let now = s.now();
    s.client.seek(now, parts[0], Start::Earliest).expect("sought");
    let late = s.world.offsets(&first.body);
    s.respond(&first, late);
    assert_eq!(s.client.position(parts[0]), None, "90 is where nobody wants to be any more");
    s.automatic(ApiKey::ListOffsets);
    s.until("the start is known", |s| s.client.position(parts[0]) == Some(4));
}

#[test]
fn c11_a_start_is_requested_again_from_the_new_leader() {
    let (mut s, parts) = reading(2, 1);
    s.manual(ApiKey::ListOffsets);
    let now = s.now();
    s.client.seek(now, parts[0], Start::Latest).expect("sought");
    let requested = s.expect::<ListOffsetsRequest>();
    assert_eq!(requested.node, 1);
    s.manual(ApiKey::Metadata);
    s.world.lead("t", 0, 2);
    s.world.partition("t", 0).end = 90;
    let refused = ListOffsetsPartitionResponse::default().with_error_code(6).with_offset(-1);
    let topic = ListOffsetsTopicResponse::default()
        .with_name(requested.body.topics[0].name.clone())
        .with_partitions(vec![refused]);
    s.respond(&requested, ListOffsetsResponse::default().with_topics(vec![topic]));
    s.expect_within::<MetadataRequest>(Duration::from_millis(50));
    s.cut_all(1);
    s.automatic(ApiKey::Metadata);
    let requested = s.expect::<ListOffsetsRequest>();
    assert_eq!(requested.node, 2);
    s.automatic(ApiKey::ListOffsets);
    s.until("the start is known", |s| s.client.position(parts[0]).is_some());
    let body = s.world.offsets(&requested.body);
    s.respond(&requested, body);
    s.run(Duration::from_millis(300));
    assert_eq!(s.client.position(parts[0]), Some(90));
}

#[test]
fn c12_an_application_that_takes_nothing_holds_the_broker_back_and_loses_nothing() {
    let (mut s, _) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    s.listening = false;
    let value = "x".repeat(3000);
    let batches: Vec<_> = (0..60).map(|n| batch(n, &[value.as_str()])).collect();
    s.give(&requested, 0, vec![records(0, &batches)]);
    s.run(Duration::from_secs(10));
    assert!(s.take::<FetchRequest>().is_none(), "fetched more than fits");
    s.listening = true;
    let offsets: Vec<_> = values(&mut s).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, (0..60).collect::<Vec<_>>());
}

#[test]
fn c12_on_a_shared_connection_untaken_records_are_dropped_after_a_second_and_come_again() {
    let mut limits = Limits::small();
    limits.conns = 1;
    let world = World::new(1).topic("t", 1);
    let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    let mut s = Script::with(world, config, &limits);
    let t = s.ready("t");
    s.produce(t, 0, "the producer id is known then");
    let produced = s.expect::<ProduceRequest>();
    s.acknowledge(&produced, 0);
    assert_eq!(s.delivered().len(), 1);
    let now = s.now();
    s.client.assign(now, t, 0, Start::Offset(0)).unwrap();
    let requested = s.expect::<FetchRequest>();
    s.listening = false;
    s.produce(t, 0, "hello");
    let produced = s.expect::<ProduceRequest>();
    s.give(&requested, 0, vec![records(0, &[batch(0, &["a"])])]);
    s.acknowledge(&produced, 1);
    s.run(Duration::from_millis(1500));
    let again = s.take::<FetchRequest>();
    let again = again.unwrap_or_else(|| s.fail("the acknowledgement waits behind records"));
    assert_eq!(s.wanted(&again), [("t".into(), 0, 0)]);
    s.listening = true;
    assert_eq!(s.delivered(), [(1, Some(1))]);
    s.give(&again, 0, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(values(&mut s), [(0, "a".into())]);
}
