//! Order, sequences, epochs, and what is told of batches that fail.

use kafka_protocol::messages::{ApiKey, ProduceRequest, ProduceResponse};
use kavka_core::{Acks, Duration, Error};
use kavka_tests::script::{Script, World};

use crate::{next, script, send, take_all, warm, warm_up};

#[test]
fn i1_batches_in_flight_are_sent_again_in_order() {
    let (mut s, t) = warm();
    let asked = send(&mut s, t, &["a", "b", "c", "d", "e"]);
    s.produce(t, 0, "f");
    assert_eq!(s.waiting::<ProduceRequest>(), 0, "five in flight");
    s.refuse(&asked[0], 19);
    for later in &asked[1..] {
        s.refuse(later, 45);
    }
    let epoch = |sequence| (0, sequence, 1);
    let wanted: Vec<_> = ["a", "b", "c", "d", "e", "f"].into_iter().zip((1..).map(epoch)).collect();
    take_all(&mut s, &wanted);
    assert_eq!(s.delivered().len(), 6);
    assert_eq!(s.failed(), []);
}

/// A leader that does not know the producer takes any sequence for its first one.
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

#[test]
fn i2_after_a_fatal_failure_the_rest_follows_in_a_new_epoch() {
    let (mut s, t) = warm();
    let asked = send(&mut s, t, &["a", "b", "c"]);
    s.refuse(&asked[0], 87);
    s.refuse(&asked[1], 45);
    s.refuse(&asked[2], 45);
    assert_eq!(s.failed(), [(1, Script::code(87), false)]);
    take_all(&mut s, &[("b", (1, 0, 1)), ("c", (1, 1, 1))]);
    assert_eq!(s.delivered().len(), 2);
}

/// A batch that may be in the log must go again under its old sequence, or it is there twice.
#[test]
fn i2_a_batch_that_may_be_written_keeps_its_sequence_across_a_bump() {
    let (mut s, t) = warm();
    let asked = send(&mut s, t, &["a", "b", "c"]);
    s.refuse(&asked[0], 7);
    s.refuse(&asked[1], 87);
    s.refuse(&asked[2], 45);
    take_all(&mut s, &[("a", (0, 1, 1)), ("c", (1, 0, 1))]);
    assert_eq!(s.failed(), [(1, Script::code(87), false)]);
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
        let mut s = script(world, |c| c.delivery_timeout = Duration::from_secs(5));
        let t = s.ready("t");
        warm_up(&mut s, t, 0);
        send(&mut s, t, &["a"]);
        s.run(Duration::from_secs(3));
        send(&mut s, t, &["b"]);
        s.kill(1);
        s.until("a expires", |s| !s.failed().is_empty());
        s.world.node(1).up = true;
        let (asked, value, place) = next(&mut s);
        assert_eq!((value.as_str(), place), ("b", (0, 2, 1)));
        if written {
            s.acknowledge(&asked, 2);
        } else {
            s.refuse(&asked, 45);
            take_all(&mut s, &[("b", (1, 0, 1))]);
        }
        assert_eq!(s.delivered().len(), 1, "written: {written}");
    }
}

#[test]
fn i5_an_expired_batch_that_was_never_sent_leaves_no_gap() {
    let world = World::new(1).topic("t", 1);
    let mut s = script(world, |c| c.delivery_timeout = Duration::from_secs(5));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.kill(1);
    s.produce(t, 0, "a");
    s.until("a expires", |s| s.failed() == [(1, Error::TimedOut, false)]);
    s.world.node(1).up = true;
    s.produce(t, 0, "b");
    take_all(&mut s, &[("b", (0, 1, 1))]);
}

#[test]
fn i6_an_unknown_producer_begins_a_new_epoch() {
    let (mut s, t) = warm();
    let asked = send(&mut s, t, &["a", "b"]);
    s.refuse(&asked[0], 59);
    s.refuse(&asked[1], 59);
    take_all(&mut s, &[("a", (1, 0, 1)), ("b", (1, 1, 1))]);
}

#[test]
fn i8_what_a_failure_says_of_the_log() {
    // Error on the way, whether the batch may be in the log when it is given up in the end.
    for (code, maybe) in [(7, true), (20, true), (6, true), (19, false), (3, false), (45, false)] {
        let world = World::new(1).topic("t", 1);
        let mut s = script(world, |c| c.delivery_timeout = Duration::from_secs(5));
        let t = s.ready("t");
        warm_up(&mut s, t, 0);
        let asked = send(&mut s, t, &["a"]);
        s.refuse(&asked[0], code);
        s.kill(1);
        let mut failed = Vec::new();
        s.until("it expires", |s| {
            failed.append(&mut s.failed());
            !failed.is_empty()
        });
        assert_eq!(failed, [(1, Error::TimedOut, maybe)], "code {code}");
    }
    for (code, maybe) in [(-1, true), (29, false), (87, false), (10, false), (999, true)] {
        let (mut s, t) = warm();
        let asked = send(&mut s, t, &["a"]);
        s.refuse(&asked[0], code);
        assert_eq!(s.failed(), [(1, Script::code(code), maybe)], "code {code}");
    }
}

/// Half a request is nothing to a broker.
#[test]
fn i8_a_batch_whose_request_did_not_leave_whole_is_not_written() {
    for whole in [true, false] {
        let world = World::new(1).topic("t", 1);
        let mut s = script(world, |c| c.delivery_timeout = Duration::from_secs(5));
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
        assert_eq!(failed, [(1, Error::TimedOut, whole)], "whole: {whole}");
    }
}

#[test]
fn i9_a_batch_that_is_too_large_is_split_and_keeps_its_sequences() {
    let world = World::new(1).topic("t", 1);
    let mut s = script(world, |c| c.linger = Duration::from_millis(5));
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
    let told = s.take_told(|told| match told.event()? {
        kavka_core::Event::Delivered { batch, first, count, .. } => Some((batch, first, count)),
        _ => None,
    });
    let wanted: Vec<_> = [(0, 1), (1, 1), (2, 3)].map(|(f, n)| (ids[0].batch, f, n)).into();
    assert_eq!(told[1..4], wanted);
}

/// acks=1, no idempotence: one batch in flight per partition keeps the order.
#[test]
fn i13_without_idempotence_nothing_is_sent_before_a_retry() {
    let world = World::new(1).topic("t", 1);
    let mut s = script(world, |c| *c = c.acks(Acks::Leader));
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let (asked, _, place) = next(&mut s);
    assert_eq!((asked.body.acks, place), (1, (-1, -1, 1)));
    s.produce(t, 0, "b");
    s.run(Duration::from_millis(100));
    s.none::<ProduceRequest>("a has no answer");
    s.refuse(&asked, 19);
    take_all(&mut s, &[("a", (-1, -1, 1)), ("b", (-1, -1, 1))]);
}

#[test]
fn i14_a_stall_in_the_middle_of_a_request_doubles_nothing() {
    let world = World::new(1).topic("t", 1);
    let mut s = script(world, |c| c.delivery_timeout = Duration::from_secs(10));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    let conn = s.connections(1)[0];
    s.window(conn, Some(100));
    s.produce(t, 0, &"x".repeat(5000));
    s.run(Duration::from_secs(8));
    s.window(conn, None);
    let (asked, _, place) = next(&mut s);
    assert_eq!(place, (0, 1, 1));
    s.acknowledge(&asked, 1);
    assert_eq!(s.delivered(), [(1, Some(1))]);
}

#[test]
fn i16_a_partition_named_twice_counts_once_and_a_strange_one_not_at_all() {
    let (mut s, t) = warm();
    let asked = send(&mut s, t, &["a"]);
    let mut body = Script::produce_answer(&asked[0], 0, 5);
    let mut strange = body.responses[0].partition_responses[0].clone();
    strange.index = 77;
    let mut second = body.responses[0].partition_responses[0].clone();
    (second.error_code, second.base_offset) = (87, -1);
    body.responses[0].partition_responses.insert(0, strange);
    body.responses[0].partition_responses.push(second);
    s.answer(&asked[0], body);
    assert_eq!(s.delivered(), [(1, Some(5))]);
    assert_eq!(s.failed(), []);
    send(&mut s, t, &["b"]);
}

/// A batch that an answer leaves out is sent again, but not in a tight loop.
#[test]
fn i16_a_batch_that_the_answer_leaves_out_is_sent_again_after_a_pause() {
    let (mut s, t) = warm();
    send(&mut s, t, &["a"]).iter().for_each(|a| s.answer(a, ProduceResponse::default()));
    let start = s.now();
    for _ in 0..5 {
        let (asked, _, place) = next(&mut s);
        assert_eq!(place, (0, 1, 1));
        s.answer(&asked, ProduceResponse::default());
    }
    assert!(start.until(s.now()) > Duration::from_millis(800), "{:?}", start.until(s.now()));
    take_all(&mut s, &[("a", (0, 1, 1))]);
    assert_eq!(s.delivered().len(), 1);
}

/// At the end of the epochs a new producer id is asked; nothing of the new id overtakes what is
/// in flight under the old one.
#[test]
fn a_new_producer_id_waits_for_batches_of_the_old_one() {
    let mut s = Script::new(World::new(2).topic("t", 2));
    s.manual(ApiKey::InitProducerId);
    let t = s.ready("t");
    s.produce(t, 0, "first");
    let asked = s.expect::<kafka_protocol::messages::InitProducerIdRequest>();
    let answer = kafka_protocol::messages::InitProducerIdResponse::default()
        .with_producer_id(kafka_protocol::messages::ProducerId(7))
        .with_producer_epoch(i16::MAX);
    s.answer(&asked, answer);
    s.automatic(ApiKey::InitProducerId);
    take_all(&mut s, &[("first", (i16::MAX, 0, 1))]);
    s.produce(t, 1, "first");
    take_all(&mut s, &[("first", (i16::MAX, 0, 1))]);
    let a = send(&mut s, t, &["a"]);
    let b = send(&mut s, t, &["b"]).remove(0);
    // The other partition breaks its sequence: there is no higher epoch.
    s.produce(t, 1, "x");
    let (x, ..) = next(&mut s);
    s.refuse(&x, 45);
    s.produce(t, 0, "c");
    let (x, value, place) = next(&mut s);
    assert_eq!((value.as_str(), place), ("x", (0, 0, 1)), "under the new id");
    assert_eq!(s.batches(&x)[0].header.producer_id, 1000);
    s.acknowledge(&x, 1);
    s.run(Duration::from_millis(100));
    s.none::<ProduceRequest>("c waits for a and b");
    s.acknowledge(&a[0], 1);
    s.acknowledge(&b, 2);
    take_all(&mut s, &[("c", (0, 0, 1))]);
}
