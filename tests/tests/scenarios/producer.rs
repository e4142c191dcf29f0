//! Order, idempotence, deadlines and memory of the producer.

use kafka_protocol::messages::{ApiKey, ProduceRequest, ProduceResponse};
use kavka_core::Event::LeaderMoved;
use kavka_core::{Acks, CloseReason, Duration, Error, Obstacle, Record};
use kavka_tests::script::steps::{configured, events, next, poke, send, take_all, warm, warm_up};
use kavka_tests::script::{Script, World};

#[test]

fn i1_batches_in_flight_are_sent_again_in_order() {
    let (mut s, t) = warm();
    let requested = send(&mut s, t, &["a", "b", "c", "d", "e"]);
    s.produce(t, 0, "f");
    assert_eq!(s.waiting::<ProduceRequest>(), 0, "five in flight");
    s.refuse(&requested[0], 19);
    for later in &requested[1..] {
        s.refuse(later, 45);
    }
    let epoch = |sequence| (0, sequence, 1);
    let wanted: Vec<_> = ["a", "b", "c", "d", "e", "f"].into_iter().zip((1..).map(epoch)).collect();
    take_all(&mut s, &wanted);
    assert_eq!(s.delivered().len(), 6);
    assert_eq!(s.failed(), []);
}

/// A leader that does not know the producer accepts any sequence as its first one.
#[test]
fn i1_nothing_overtakes_the_first_batch_of_a_sequence() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let first = s.expect::<ProduceRequest>();
    s.produce(t, 0, "b");
    s.run(Duration::from_secs(1));
    s.none::<ProduceRequest>("the first is not acknowledged");
    s.refuse(&first, 19);
    take_all(&mut s, &[("a", (0, 0, 1)), ("b", (0, 1, 1))]);
}

/// After an unclean election the new leader may have lost what the last one knew (seed 2198 of
/// simulate).
#[test]
fn i1_nothing_goes_to_another_leader_before_the_last_one_has_responded() {
    let mut s = Script::new(World::new(2).topic("t", 1));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    let requested = send(&mut s, t, &["a", "b"]);
    s.world.lead("t", 0, 2);
    poke(&mut s, t);
    s.until("the move is known", |s| events(s).iter().any(|e| matches!(e, LeaderMoved { .. })));
    s.produce(t, 0, "c");
    s.run(Duration::from_secs(1));
    s.none::<ProduceRequest>("a and b have no response");
    s.refuse(&requested[0], 6);
    s.refuse(&requested[1], 6);
    let (first, value, place) = next(&mut s);
    assert_eq!((first.node, value.as_str(), place), (2, "a", (0, 1, 1)));
    s.run(Duration::from_secs(1));
    s.none::<ProduceRequest>("the first one for the new leader has no response");
    s.acknowledge(&first, 1);
    take_all(&mut s, &[("b", (0, 2, 1)), ("c", (0, 3, 1))]);
}

#[test]
fn i2_after_a_fatal_failure_the_rest_follows_in_a_new_epoch() {
    let (mut s, t) = warm();
    let requested = send(&mut s, t, &["a", "b", "c"]);
    s.refuse(&requested[0], 87);
    s.refuse(&requested[1], 45);
    s.refuse(&requested[2], 45);
    assert_eq!(s.failed(), [(1, Script::code(87), false)]);
    take_all(&mut s, &[("b", (1, 0, 1)), ("c", (1, 1, 1))]);
    assert_eq!(s.delivered().len(), 2);
}

#[test]
fn i2_a_new_epoch_begins_when_nothing_of_the_old_one_is_on_its_way() {
    let (mut s, t) = warm();
    let requested = send(&mut s, t, &["a", "b", "c"]);
    s.refuse(&requested[0], 87);
    s.produce(t, 0, "d");
    s.run(Duration::from_secs(1));
    s.none::<ProduceRequest>("b and c have no response");
    s.refuse(&requested[1], 45);
    s.none::<ProduceRequest>("c has no response");
    s.refuse(&requested[2], 45);
    take_all(&mut s, &[("b", (1, 0, 1)), ("c", (1, 1, 1)), ("d", (1, 2, 1))]);
}

/// A batch that may be in the log must be sent again under its old sequence, or it is duplicated.
#[test]
fn i2_a_batch_that_may_be_written_keeps_its_sequence_across_a_bump() {
    let (mut s, t) = warm();
    let requested = send(&mut s, t, &["a", "b", "c"]);
    s.refuse(&requested[0], 7);
    s.refuse(&requested[1], 87);
    s.refuse(&requested[2], 45);
    take_all(&mut s, &[("a", (0, 1, 1)), ("c", (1, 0, 1))]);
    assert_eq!(s.failed(), [(1, Script::code(87), false)]);
}

/// That a batch was refused after another does not say anything about its next try.
#[test]
fn i2_a_batch_that_was_refused_once_and_may_be_written_now_keeps_its_sequence() {
    let (mut s, t) = warm();
    let requested = send(&mut s, t, &["a", "b"]);
    s.refuse(&requested[0], 19);
    s.refuse(&requested[1], 45);
    take_all(&mut s, &[("a", (0, 1, 1))]);
    let (b, ..) = next(&mut s);
    let c = send(&mut s, t, &["c"]);
    s.refuse(&b, 7);
    s.refuse(&c[0], 87);
    assert_eq!(s.failed(), [(1, Script::code(87), false)]);
    take_all(&mut s, &[("b", (0, 2, 1))]);
}

#[test]
fn i3_a_repetition_that_the_broker_recognises_is_a_success() {
    let (mut s, t) = warm();
    send(&mut s, t, &["a"]);
    s.cut_all(1);
    let (again, value, place) = next(&mut s);
    assert_eq!((value.as_str(), place), ("a", (0, 1, 1)), "the same bytes");
    s.refuse(&again, 46);
    assert_eq!(s.delivered(), [(1, None)]);
    send(&mut s, t, &["b"]);
}

#[test]
fn i4_when_a_sent_batch_expires_the_next_one_shows_whether_it_was_written() {
    for written in [true, false] {
        let world = World::new(1).topic("t", 1);
        let mut s = configured(world, |c| c.delivery_timeout = Duration::from_secs(5));
        let t = s.ready("t");
        warm_up(&mut s, t, 0);
        send(&mut s, t, &["a"]);
        s.run(Duration::from_secs(3));
        send(&mut s, t, &["b"]);
        s.kill(1);
        s.until("a expires", |s| !s.failed().is_empty());
        s.world.node(1).up = true;
        let (requested, value, place) = next(&mut s);
        assert_eq!((value.as_str(), place), ("b", (0, 2, 1)));
        if written {
            s.acknowledge(&requested, 2);
        } else {
            s.refuse(&requested, 45);
            take_all(&mut s, &[("b", (1, 0, 1))]);
        }
        assert_eq!(s.delivered().len(), 1, "written: {written}");
    }
}

#[test]
fn i5_an_expired_batch_that_was_never_sent_leaves_no_gap() {
    let world = World::new(1).topic("t", 1);
    let mut s = configured(world, |c| c.delivery_timeout = Duration::from_secs(5));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.kill(1);
    s.produce(t, 0, "a");
    s.until("a expires", |s| s.failed() == [(1, away(), false)]);
    s.world.node(1).up = true;
    s.produce(t, 0, "b");
    take_all(&mut s, &[("b", (0, 1, 1))]);
}

#[test]
fn i6_an_unknown_producer_begins_a_new_epoch() {
    let (mut s, t) = warm();
    let requested = send(&mut s, t, &["a", "b"]);
    s.refuse(&requested[0], 59);
    s.refuse(&requested[1], 59);
    take_all(&mut s, &[("a", (1, 0, 1)), ("b", (1, 1, 1))]);
}

/// Only in builds with rare branches: otherwise it takes two thousand million records.
#[cfg(kavka_rare)]
#[test]
fn i7_sequences_wrap_to_zero_and_batches_keep_them_when_they_are_sent_again() {
    let (mut s, t) = warm();
    let requested = send(&mut s, t, &["a", "b", "c", "d", "e"]);
    let sequence = |batches: Vec<kavka_tests::script::Sent>| batches[0].header.base_sequence;
    let wanted = [i32::MAX - 1, i32::MAX, 0, 1, 2];
    assert_eq!(requested.iter().map(|a| sequence(s.batches(a))).collect::<Vec<_>>(), wanted);
    s.refuse(&requested[0], 19);
    requested[1..].iter().for_each(|later| s.refuse(later, 45));
    for sequence_again in wanted {
        let (again, ..) = next(&mut s);
        assert_eq!(sequence(s.batches(&again)), sequence_again);
        s.acknowledge(&again, 0);
    }
    assert_eq!((s.delivered().len(), s.failed().len()), (5, 0));
}

#[test]
fn i8_what_a_failure_says_of_the_log() {
    // Error on the way, and whether the batch may be in the log when it is finally given up.
    for (code, maybe) in [(7, true), (20, true), (6, true), (19, false), (3, false), (45, false)] {
        let world = World::new(1).topic("t", 1);
        let mut s = configured(world, |c| c.delivery_timeout = Duration::from_secs(5));
        let t = s.ready("t");
        warm_up(&mut s, t, 0);
        let requested = send(&mut s, t, &["a"]);
        s.refuse(&requested[0], code);
        s.kill(1);
        let mut failed = Vec::new();
        s.until("it expires", |s| {
            failed.append(&mut s.failed());
            !failed.is_empty()
        });
        assert_eq!(failed, [(1, away(), maybe)], "code {code}");
    }
    for (code, maybe) in [(-1, true), (29, false), (87, false), (10, false), (999, true)] {
        let (mut s, t) = warm();
        let requested = send(&mut s, t, &["a"]);
        s.refuse(&requested[0], code);
        assert_eq!(s.failed(), [(1, Script::code(code), maybe)], "code {code}");
    }
}

/// A leader that lost it in an unclean election refuses it, but a consumer may have read it before
/// (seed 1486 of simulate).
#[test]
fn i8_a_batch_that_may_be_written_stays_so_when_its_sequence_is_refused() {
    let world = World::new(1).topic("t", 1);
    let mut s = configured(world, |c| c.delivery_timeout = Duration::from_secs(5));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    send(&mut s, t, &["a"]);
    s.cut_all(1);
    let (again, ..) = next(&mut s);
    s.refuse(&again, 45);
    s.kill(1);
    let mut failed = Vec::new();
    s.until("it expires", |s| {
        failed.append(&mut s.failed());
        !failed.is_empty()
    });
    assert_eq!(failed, [(1, away(), true)]);
}

/// A broker ignores half a request.
#[test]
fn i8_a_batch_whose_request_did_not_leave_whole_is_not_written() {
    for whole in [true, false] {
        let world = World::new(1).topic("t", 1);
        let mut s = configured(world, |c| c.delivery_timeout = Duration::from_secs(5));
        let t = s.ready("t");
        warm_up(&mut s, t, 0);
        let conn = s.connections(1)[0];
        s.window(conn, if whole { None } else { Some(60) });
        s.produce(t, 0, "a");
        s.settle();
        s.kill(1);
        let mut failed = Vec::new();
        s.until("it expires", |s| {
            failed.append(&mut s.failed());
            !failed.is_empty()
        });
        assert_eq!(failed, [(1, away(), whole)], "whole: {whole}");
    }
}

#[test]
fn i9_a_batch_that_is_too_large_is_split_and_keeps_its_sequences() {
    let world = World::new(1).topic("t", 1);
    let mut s = configured(world, |c| c.linger = Duration::from_millis(5));
    let t = s.ready("t");
    s.produce(t, 0, "first");
    take_all(&mut s, &[("first", (0, 0, 1))]);
    let ids: Vec<_> = ["a", "b", "c", "d", "e"].map(|v| s.produce(t, 0, v)).into();
    let (large, ..) = next(&mut s);
    s.produce(t, 0, "f");
    let (behind, ..) = next(&mut s);
    s.refuse(&large, 10);
    s.refuse(&behind, 45);
    let (again, value, place) = next(&mut s);
    assert_eq!((value.as_str(), place), ("a,b", (0, 1, 2)));
    let (second, value, place) = next(&mut s);
    assert_eq!((value.as_str(), place), ("c,d,e", (0, 3, 3)));
    s.refuse(&again, 10);
    s.refuse(&second, 45);
    take_all(&mut s, &[("a", (0, 1, 1)), ("b", (0, 2, 1)), ("c,d,e", (0, 3, 3)), ("f", (0, 6, 1))]);
    let reported = s.take_reported(|reported| match reported.event()? {
        kavka_core::Event::Delivered { batch, first, count, .. } => Some((batch, first, count)),
        _ => None,
    });
    let wanted: Vec<_> = [(0, 1), (1, 1), (2, 3)].map(|(f, n)| (ids[0].batch, f, n)).into();
    assert_eq!(reported[1..4], wanted);
}

/// Brokers index records by the time in the header.
#[test]
fn i9_each_half_has_the_largest_timestamp_of_its_own_records() {
    let world = World::new(1).topic("t", 1);
    let mut s = configured(world, |c| c.linger = Duration::from_millis(5));
    let t = s.ready("t");
    let now = s.now();
    for (value, timestamp) in [("a", 5), ("b", 3), ("c", 9), ("d", 4)] {
        let record = Record::new(value.as_bytes()).timestamp(timestamp);
        s.client.produce(now, (t, 0), &record).expect("room");
    }
    let (large, ..) = next(&mut s);
    s.refuse(&large, 10);
    for (values, largest) in [("a,b", 5), ("c,d", 9)] {
        let (half, value, _) = next(&mut s);
        assert_eq!((value.as_str(), s.batches(&half)[0].header.max_timestamp), (values, largest));
        s.acknowledge(&half, 0);
    }
}

/// Its halves would be new to the broker (seeds 5184 and 7006 of simulate).
#[test]
fn i9_a_batch_that_may_be_written_is_not_split() {
    let world = World::new(1).topic("t", 1);
    let mut s = configured(world, |c| c.linger = Duration::from_millis(5));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.produce(t, 0, "a");
    s.produce(t, 0, "b");
    let _ = next(&mut s);
    s.cut_all(1);
    let (again, value, place) = next(&mut s);
    assert_eq!((value.as_str(), place), ("a,b", (0, 1, 2)));
    s.refuse(&again, 10);
    assert_eq!(s.failed(), [(2, Script::code(10), true)]);
    s.produce(t, 0, "c");
    take_all(&mut s, &[("c", (1, 0, 1))]);
}

/// CVE-2026-35554: bytes of another batch must never be sent under the header of an expired one.
#[test]
fn i10_a_batch_on_its_way_keeps_its_bytes_past_its_deadline() {
    let world = World::new(1).topic("t", 1).topic("u", 1);
    let mut s = configured(world, |c| {
        (c.delivery_timeout, c.request_timeout) = (Duration::from_secs(3), Duration::from_secs(2));
    });
    let (t, u) = (s.ready("t"), s.ready("u"));
    warm_up(&mut s, t, 0);
    warm_up(&mut s, u, 0);
    let secret = "s".repeat(8000);
    let conn = s.connections(1)[0];
    s.window(conn, Some(300));
    s.produce(t, 0, &secret);
    s.settle();
    // Everything around it is reused meanwhile; every checksum is verified.
    for round in 0..40 {
        let _ = s.try_produce(u, 0, &format!("{round}").repeat(1000));
        s.run(Duration::from_millis(200));
        for conn in s.connections(1) {
            s.window(conn, if round % 8 == 7 { None } else { Some(300) });
        }
        while let Some(requested) = s.take::<ProduceRequest>() {
            for batch in s.batches(&requested) {
                let mixed = batch.values.iter().any(|v| v.contains('s')) != (batch.topic == "t");
                assert!(!mixed, "round {round}: bytes of one topic in a batch of the other");
            }
            s.acknowledge(&requested, 0);
        }
    }
    s.until("all ended", |s| {
        while let Some(requested) = s.take::<ProduceRequest>() {
            s.acknowledge(&requested, 0);
        }
        let now = s.now();
        s.client.flush(now);
        s.flushed() > 0
    });
}

/// The same for one that was sent late, so that its deadline passes while half of it was sent.
#[test]
fn i10_a_batch_that_expires_half_sent_is_sent_to_its_end() {
    let world = World::new(1).topic("t", 1).topic("u", 1);
    let mut s = configured(world, |c| {
        c.delivery_timeout = Duration::from_secs(3);
        (c.retry_backoff, c.retry_backoff_max) =
            (Duration::from_millis(200), Duration::from_millis(200));
    });
    let (t, u) = (s.ready("t"), s.ready("u"));
    warm_up(&mut s, t, 0);
    warm_up(&mut s, u, 0);
    let secret = "s".repeat(8000);
    let start = s.now();
    s.produce(t, 0, &secret);
    let conn = loop {
        let requested = s.expect::<ProduceRequest>();
        s.refuse(&requested, 19);
        if start.until(s.now()) > Duration::from_millis(2300) {
            break requested.conn;
        }
    };
    s.window(conn, Some(300));
    s.run(Duration::from_millis(3200).saturating_sub(start.until(s.now())));
    assert_eq!(s.failed(), [], "its fate is not known");
    // Other records want memory; none of their bytes may be sent under its header.
    while s.try_produce(u, 0, &"u".repeat(1000)).is_ok() {}
    s.window(conn, None);
    let requested = s.expect::<ProduceRequest>();
    let batches = s.batches(&requested);
    assert_eq!((batches[0].topic.as_str(), batches[0].values == [secret]), ("t", true));
    s.acknowledge(&requested, 1);
    assert_eq!(s.delivered(), [(1, Some(1))]);
}

#[test]
fn i11_flush_ends_lingering_and_does_not_wait_for_later_records() {
    let mut s = configured(World::new(1).topic("t", 2), |c| {
        (c.linger, c.linger_when_idle) = (Duration::from_secs(10), true);
    });
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    warm_up(&mut s, t, 1);
    let now = s.now();
    s.client.flush(now);
    assert_eq!(s.flushed(), 1, "nothing to wait for");
    s.produce(t, 0, "a");
    s.client.flush(now);
    let (a, ..) = next(&mut s);
    s.produce(t, 0, "b");
    s.produce(t, 1, "c");
    assert_eq!(s.flushed(), 0);
    s.acknowledge(&a, 0);
    assert_eq!((s.delivered().len(), s.flushed()), (1, 1));
    assert_eq!(s.waiting::<ProduceRequest>(), 0, "b and c linger");
    // Two flushes that overlap end together; a split and a failure count as ended once.
    let now = s.now();
    s.client.flush(now);
    s.settle();
    s.client.flush(now);
    let both = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&both).len(), 2);
    s.acknowledge(&both, 1);
    assert_eq!((s.delivered().len(), s.flushed()), (2, 1));
}

#[test]
fn i12_without_acks_a_batch_is_delivered_when_it_left() {
    let mut s = configured(World::new(1).topic("t", 1), |c| *c = c.acks(Acks::None));
    let t = s.ready("t");
    s.produce(t, 0, "a");
    next(&mut s);
    assert_eq!(s.delivered(), [(1, None)]);
    // A batch that was not sent whole is sent again on the next connection.
    let conn = s.connections(1)[0];
    s.window(conn, Some(40));
    s.produce(t, 0, "b");
    s.run(Duration::from_millis(10));
    assert_eq!(s.delivered(), []);
    s.cut(conn);
    s.expect::<ProduceRequest>();
    assert_eq!(s.delivered(), [(1, None)]);
    s.cut_all(1);
    s.run(Duration::from_secs(1));
    assert_eq!((s.failed(), s.delivered()), (vec![], vec![]));
}

/// Batches without acknowledgement are sent although the request before them has no response yet.
#[test]
fn i12_without_acks_nothing_waits_for_a_slow_response() {
    let mut s = configured(World::new(1).topic("t", 1), |c| *c = c.acks(Acks::None));
    let t = s.ready("t");
    s.produce(t, 0, "a");
    next(&mut s);
    s.manual(ApiKey::DescribeTopicPartitions);
    s.expect::<kafka_protocol::messages::DescribeTopicPartitionsRequest>();
    for i in 0..50 {
        s.produce(t, 0, &i.to_string());
        s.expect_within::<ProduceRequest>(Duration::ZERO);
    }
    assert_eq!(s.delivered().len(), 51);
}

/// acks=1, no idempotence: one batch in flight per partition keeps the order.
#[test]
fn i13_without_idempotence_nothing_is_sent_before_a_retry() {
    let world = World::new(1).topic("t", 1);
    let mut s = configured(world, |c| *c = c.acks(Acks::Leader));
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let (requested, _, place) = next(&mut s);
    assert_eq!((requested.body.acks, place), (1, (-1, -1, 1)));
    s.produce(t, 0, "b");
    s.run(Duration::from_millis(100));
    s.none::<ProduceRequest>("a has no response");
    s.refuse(&requested, 19);
    take_all(&mut s, &[("a", (-1, -1, 1)), ("b", (-1, -1, 1))]);
}

#[test]
fn i14_a_stall_in_the_middle_of_a_request_doubles_nothing() {
    let world = World::new(1).topic("t", 1);
    let mut s = configured(world, |c| c.delivery_timeout = Duration::from_secs(10));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    let conn = s.connections(1)[0];
    s.window(conn, Some(100));
    s.produce(t, 0, &"x".repeat(5000));
    s.run(Duration::from_secs(8));
    s.window(conn, None);
    let (requested, _, place) = next(&mut s);
    assert_eq!(place, (0, 1, 1));
    s.acknowledge(&requested, 1);
    assert_eq!(s.delivered(), [(1, Some(1))]);
}

#[test]
fn i16_a_partition_named_twice_counts_once_and_a_strange_one_not_at_all() {
    let (mut s, t) = warm();
    let requested = send(&mut s, t, &["a"]);
    let mut body = Script::produce_response(&requested[0], 0, 5);
    let mut strange = body.responses[0].partition_responses[0].clone();
    strange.index = 77;
    let mut second = body.responses[0].partition_responses[0].clone();
    (second.error_code, second.base_offset) = (87, -1);
    body.responses[0].partition_responses.insert(0, strange);
    body.responses[0].partition_responses.push(second);
    s.respond(&requested[0], body);
    assert_eq!(s.delivered(), [(1, Some(5))]);
    assert_eq!(s.failed(), []);
    send(&mut s, t, &["b"]);
}

/// A batch that a response leaves out is sent again, but not in a tight loop.
#[test]
fn i16_a_batch_that_the_response_leaves_out_is_sent_again_after_a_pause() {
    let (mut s, t) = warm();
    send(&mut s, t, &["a"]).iter().for_each(|a| s.respond(a, ProduceResponse::default()));
    let start = s.now();
    for _ in 0..5 {
        let (requested, _, place) = next(&mut s);
        assert_eq!(place, (0, 1, 1));
        s.respond(&requested, ProduceResponse::default());
    }
    assert!(start.until(s.now()) > Duration::from_millis(800), "{:?}", start.until(s.now()));
    take_all(&mut s, &[("a", (0, 1, 1))]);
    assert_eq!(s.delivered().len(), 1);
}

/// Returns the error of records that wait for broker 1 while it refuses connections.
fn away() -> Error {
    Error::Blocked(Obstacle::Unreachable { broker: 1, why: CloseReason::Refused, api: None })
}
