//! Records that a broker names as the reason for refusing a batch (KIP-467).

use kafka_protocol::messages::produce_response::BatchIndexAndErrorMessage;
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;
use kavka_core::wire::ErrorCode;
use kavka_core::{Config, Duration, Error, Event, TopicId};
use kavka_tests::script::steps::{configured, warm_up};
use kavka_tests::script::{Reported, Requested, Script, Sent, World};

/// First record, number of records, error.
type Failed = (u32, u32, Error);

fn failed(s: &mut Script) -> Vec<Failed> {
    s.take_reported(|reported| match reported.event()? {
        Event::Failed { first, count, error, maybe_written: false, .. } => {
            Some((first, count, error))
        }
        _ => None,
    })
}

/// Returns ten records in one request; long ones span several send blocks. Records that are not to
/// blame fail with the others.
fn ten(len: usize) -> (Script, TopicId, Requested<ProduceRequest>) {
    ten_with(len, |config| config.resend_unblamed = false)
}

/// The same with another configuration.
fn ten_with(
    len: usize,
    change: impl FnOnce(&mut Config<'static>),
) -> (Script, TopicId, Requested<ProduceRequest>) {
    let mut s = configured(World::new(1).topic("t", 1), |c| {
        c.linger = Duration::from_millis(20);
        change(c);
    });
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    for n in 0..10 {
        s.produce(t, 0, &n.to_string().repeat(len));
    }
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&requested)[0].values.len(), 10);
    (s, t, requested)
}

fn respond(s: &mut Script, requested: &Requested<ProduceRequest>, code: i16, bad: &[i32]) {
    let body = refusal(requested, code, bad);
    s.respond(requested, body);
}

/// A response with one code that names records by their indices in the batch.
pub(crate) fn refusal(
    requested: &Requested<ProduceRequest>,
    code: i16,
    bad: &[i32],
) -> ProduceResponse {
    let mut body = Script::produce_response(requested, code, -1);
    let error = |index: &i32| BatchIndexAndErrorMessage::default().with_batch_index(*index);
    body.responses[0].partition_responses[0].record_errors = bad.iter().map(error).collect();
    body
}

#[test]
fn bad_records_get_the_code_and_the_others_are_refused_with_their_batch() {
    let code = ErrorCode::INVALID_RECORD;
    let (bad, other) = (Error::Broker(code), Error::BatchRefused(code));
    let cases: [(&[i32], &[Failed]); 6] = [
        (&[3], &[(0, 3, other), (3, 1, bad), (4, 6, other)]),
        (&[0, 1, 9], &[(0, 2, bad), (2, 7, other), (9, 1, bad)]),
        (&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[(0, 10, bad)]),
        // None is named: all are to blame, as far as is known.
        (&[], &[(0, 10, bad)]),
        // No such record, and a list out of order.
        (&[-1, 10, i32::MAX], &[(0, 10, bad)]),
        (&[5, 2, 5], &[(0, 5, other), (5, 1, bad), (6, 4, other)]),
    ];
    for len in [1, 100, 300] {
        for (named, expected) in cases {
            let (mut s, t, requested) = ten(len);
            respond(&mut s, &requested, code.0, named);
            s.settle();
            assert_eq!(failed(&mut s), expected, "{named:?}, records of {len} bytes");
            // Its memory is free again, and the partition continues.
            for _ in 0..200 {
                s.produce(t, 0, &"x".repeat(100));
                let requested = s.expect::<ProduceRequest>();
                s.acknowledge(&requested, 0);
                s.settle();
            }
            assert_eq!(failed(&mut s), []);
        }
    }
}

/// A list with a retriable code is ignored: the batch is sent again unchanged.
#[test]
fn a_batch_that_is_sent_again_is_what_it_was() {
    let (mut s, _, requested) = ten(50);
    respond(&mut s, &requested, ErrorCode::NOT_ENOUGH_REPLICAS.0, &[1, 2]);
    let again = s.expect::<ProduceRequest>();
    // `batches` verifies the checksum.
    assert_eq!(s.batches(&again)[0].values.len(), 10);
    s.acknowledge(&again, 0);
    assert_eq!(s.delivered(), [(10, Some(0))]);
}

/// The connection ends in the middle of the list.
#[test]
fn a_refusal_that_is_cut_fails_the_batch() {
    let (mut s, _, requested) = ten(50);
    let mut body = Script::produce_response(&requested, ErrorCode::INVALID_RECORD.0, -1);
    let errors = (0..10).map(|n| BatchIndexAndErrorMessage::default().with_batch_index(n));
    body.responses[0].partition_responses[0].record_errors = errors.collect();
    let frame = s.encoded(&requested, body);
    s.feed(requested.conn, &frame[..frame.len() - 20]);
    s.cut(requested.conn);
    s.run(Duration::from_secs(3));
    let failed = failed(&mut s);
    assert_eq!(failed.iter().map(|(_, count, _)| count).sum::<u32>(), 10, "{failed:?}");
    s.none::<ProduceRequest>("its bytes are no batch any more");
}

const BAD: ErrorCode = ErrorCode::INVALID_RECORD;

/// Takes the next batch that is sent alone, and acknowledges it.
fn next(s: &mut Script, offset: i64) -> Sent {
    let requested = s.expect::<ProduceRequest>();
    let [sent] = <[Sent; 1]>::try_from(s.batches(&requested)).expect("one batch");
    s.acknowledge(&requested, offset);
    sent
}

/// Returns the first and the last value of a batch of numbers, each repeated.
fn ends(sent: &Sent) -> (char, char) {
    let first = |value: &String| value.chars().next().expect("a digit");
    (first(&sent.values[0]), first(sent.values.last().expect("a record")))
}

/// First record at fault and how many, and first and last value of a batch that follows.
type Bad = (u32, u32);
type Ends = (char, char);

/// In batches of their own, in order, under an epoch in which the sequence has no gap.
#[test]
fn records_that_are_not_to_blame_are_sent_again_in_their_place() {
    let cases: [(&[i32], &[Bad], &[Ends]); 4] = [
        (&[3], &[(3, 1)], &[('0', '2'), ('4', '9')]),
        (&[0, 1, 9], &[(0, 2), (9, 1)], &[('2', '8')]),
        (
            &[0, 2, 4, 5, 6, 8],
            &[(0, 1), (2, 1), (4, 3), (8, 1)],
            &[('1', '1'), ('3', '3'), ('7', '7'), ('9', '9')],
        ),
        (&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[(0, 10)], &[]),
    ];
    for len in [1, 100, 300] {
        for (named, bad, again) in cases {
            let case = format!("{named:?}, records of {len} bytes");
            let (mut s, t, requested) = ten_with(len, |_| {});
            // Later records wait behind them.
            let later = "z".repeat(len);
            s.produce(t, 0, &later);
            respond(&mut s, &requested, BAD.0, named);
            let (mut sequence, mut offset) = (0, 100);
            for expected in again {
                let sent = next(&mut s, offset);
                assert_eq!(ends(&sent), *expected, "{case}");
                let (epoch, base, count) = sent.place();
                assert_eq!((epoch, base), (1, sequence), "{case}");
                (sequence, offset) = (sequence + count, offset + i64::from(count));
            }
            assert_eq!(ends(&next(&mut s, offset)), ('z', 'z'), "{case}");
            let wanted: Vec<Failed> =
                bad.iter().map(|(first, count)| (*first, *count, Error::Broker(BAD))).collect();
            assert_eq!(failed(&mut s), wanted, "{case}");
            let delivered: u32 = s.delivered().iter().map(|(count, _)| count).sum();
            assert_eq!(delivered as usize, 10 - named.len() + 1, "{case}");
            s.run(Duration::from_millis(50));
            assert_eq!(s.client.stats().blocks_used, 0, "{case}");
        }
    }
}

/// Others that are in flight are refused because of the gap, and come after them.
#[test]
fn records_that_are_sent_again_are_not_overtaken() {
    let (mut s, t, first) = ten_with(10, |_| {});
    for n in 0..3 {
        s.produce(t, 0, &format!("later {n}"));
    }
    let second = s.expect::<ProduceRequest>();
    respond(&mut s, &first, BAD.0, &[4]);
    s.none::<ProduceRequest>("a new epoch waits for what is in flight");
    s.refuse(&second, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.0);
    let sent: Vec<_> = (0..3).map(|n| next(&mut s, 10 * n)).collect();
    assert_eq!(sent.iter().map(ends).collect::<Vec<_>>(), [('0', '3'), ('5', '9'), ('l', 'l')]);
    assert_eq!(sent.iter().map(Sent::place).collect::<Vec<_>>(), [(1, 0, 4), (1, 4, 5), (1, 9, 3)]);
    assert_eq!(failed(&mut s), [(4, 1, Error::Broker(BAD))]);
}

/// Each record is reported under the place that it got when it was taken, also after two rounds.
#[test]
fn records_that_are_refused_one_after_the_other_keep_their_places() {
    let (mut s, _, requested) = ten_with(10, |_| {});
    respond(&mut s, &requested, BAD.0, &[2]);
    assert_eq!(ends(&next(&mut s, 0)), ('0', '1'));
    let requested = s.expect::<ProduceRequest>();
    respond(&mut s, &requested, BAD.0, &[1, 5]);
    let sent: Vec<_> = (0..3).map(|n| next(&mut s, 10 + n)).collect();
    assert_eq!(sent.iter().map(ends).collect::<Vec<_>>(), [('3', '3'), ('5', '7'), ('9', '9')]);
    let bad = Error::Broker(BAD);
    assert_eq!(failed(&mut s), [(2, 1, bad), (4, 1, bad), (8, 1, bad)]);
}

#[test]
fn without_idempotence_they_are_sent_again_as_well() {
    let (mut s, _, requested) = ten_with(10, |config| config.idempotence = false);
    respond(&mut s, &requested, BAD.0, &[0]);
    assert_eq!(ends(&next(&mut s, 0)), ('1', '9'));
    assert_eq!(failed(&mut s), [(0, 1, Error::Broker(BAD))]);
}

/// The first attempt may have been written, so nothing of it is sent a second time.
#[test]
fn a_batch_that_may_be_written_is_not_taken_apart() {
    let (mut s, _, requested) = ten_with(10, |_| {});
    s.cut(requested.conn);
    let again = s.expect::<ProduceRequest>();
    respond(&mut s, &again, BAD.0, &[4]);
    s.run(Duration::from_secs(2));
    s.none::<ProduceRequest>("it may be in the log");
    let count: u32 = s.failed().iter().map(|(count, _, maybe)| count * u32::from(*maybe)).sum();
    assert_eq!(count, 10);
}

/// Copies need memory, of which some is kept for requests.
#[test]
fn records_are_sent_again_although_the_memory_is_full() {
    let (mut s, t, requested) = ten_with(300, |_| {});
    let mut taken = 0;
    while s.try_produce(t, 0, &"x".repeat(900)).is_ok() {
        taken += 1;
    }
    assert!(taken > 100, "{taken} records");
    s.settle();
    let others: Vec<_> = std::iter::from_fn(|| s.take::<ProduceRequest>()).collect();
    respond(&mut s, &requested, BAD.0, &[4]);
    for other in &others {
        s.refuse(other, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.0);
    }
    assert_eq!(ends(&next(&mut s, 0)), ('0', '3'));
    assert_eq!(ends(&next(&mut s, 4)), ('5', '9'));
    let mut offset = 9;
    s.until("the others follow", |s| {
        if let Some(requested) = s.take::<ProduceRequest>() {
            let count: i32 = s.batches(&requested).iter().map(|sent| sent.header.count).sum();
            s.acknowledge(&requested, offset);
            offset += i64::from(count);
        }
        offset == 9 + taken
    });
    assert_eq!(failed(&mut s), [(4, 1, Error::Broker(BAD))]);
}

/// There is no memory for copies, and nothing else that could free any.
#[test]
fn records_that_cannot_be_copied_fail_with_their_batch() {
    let (mut s, t, requested) = ten_with(15_000, |config| config.batch_bytes = 200_000);
    respond(&mut s, &requested, BAD.0, &[4]);
    let (bad, other) = (Error::Broker(BAD), Error::BatchRefused(BAD));
    assert_eq!(failed(&mut s), [(0, 4, other), (4, 1, bad), (5, 5, other)]);
    s.produce(t, 0, "next");
    assert_eq!(ends(&next(&mut s, 0)), ('n', 'n'));
}

/// A refusal that is retried: the words say why, if the time is over before it succeeds.
#[test]
fn the_words_of_the_broker_about_a_batch_that_is_sent_again_are_reported() {
    let (mut s, _, requested) = ten(20);
    let code = ErrorCode::NOT_ENOUGH_REPLICAS;
    let mut body = Script::produce_response(&requested, code.0, -1);
    body.responses[0].partition_responses[0].error_message =
        Some(StrBytes::from_static_str("one of three is in sync"));
    s.respond(&requested, body);
    let words = s.take_reported(|reported| match reported {
        Reported::Refused { record, code, text } => Some((*record, *code, text.clone())),
        _ => None,
    });
    assert_eq!(words, [(None, code, "one of three is in sync".to_owned())]);
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    assert_eq!((s.delivered().len(), failed(&mut s).len()), (1, 0));
}

/// A broker's words, each before its record fails; an application that is busy misses none.
#[test]
fn the_words_of_the_broker_are_reported() {
    for (piece, busy) in [(usize::MAX, false), (1, false), (7, true)] {
        let (mut s, _, requested) = ten(20);
        let mut body = refusal(&requested, BAD.0, &[3, 7, 99]);
        let partition = &mut body.responses[0].partition_responses[0];
        for error in &mut partition.record_errors {
            let text = format!("record {} has no key", error.batch_index);
            error.batch_index_error_message = Some(StrBytes::from_string(text));
        }
        partition.error_message = Some(StrBytes::from_static_str("some are wrong"));
        (s.piece, s.listening, s.watching) = (piece, !busy, !busy);
        s.respond(&requested, body);
        (s.listening, s.watching) = (true, true);
        let words = s.take_reported(|reported| match reported {
            Reported::Refused { record, code, text } => Some((*record, *code, text.clone())),
            _ => None,
        });
        let expected = [
            (Some(3), "record 3 has no key"),
            (Some(7), "record 7 has no key"),
            (None, "some are wrong"),
        ];
        let expected = expected.map(|(record, text)| (record, BAD, text.to_owned()));
        assert_eq!(words, expected, "in pieces of {piece}");
        assert_eq!(failed(&mut s).len(), 5);
    }
}
