//! Records that a broker names as the reason for refusing a batch (KIP-467).

use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_response::BatchIndexAndErrorMessage;
use kavka_core::wire::ErrorCode;
use kavka_core::{Duration, Error, Event, TopicId};
use kavka_tests::script::steps::{configured, warm_up};
use kavka_tests::script::{Asked, Script, World};

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

/// Returns ten records in one request; long ones span several send blocks.
fn ten(len: usize) -> (Script, TopicId, Asked<ProduceRequest>) {
    let mut s = configured(World::new(1).topic("t", 1), |c| c.linger = Duration::from_millis(20));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    for n in 0..10 {
        s.produce(t, 0, &n.to_string().repeat(len));
    }
    let asked = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&asked)[0].values.len(), 10);
    (s, t, asked)
}

fn answer(s: &mut Script, asked: &Asked<ProduceRequest>, code: i16, bad: &[i32]) {
    let mut body = Script::produce_answer(asked, code, -1);
    let error = |index: &i32| BatchIndexAndErrorMessage::default().with_batch_index(*index);
    body.responses[0].partition_responses[0].record_errors = bad.iter().map(error).collect();
    s.answer(asked, body);
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
            let (mut s, t, asked) = ten(len);
            answer(&mut s, &asked, code.0, named);
            s.settle();
            assert_eq!(failed(&mut s), expected, "{named:?}, records of {len} bytes");
            // Its memory is free again, and the partition continues.
            for _ in 0..200 {
                s.produce(t, 0, &"x".repeat(100));
                let asked = s.expect::<ProduceRequest>();
                s.acknowledge(&asked, 0);
                s.settle();
            }
            assert_eq!(failed(&mut s), []);
        }
    }
}

/// A list with a retriable code is ignored: the batch is sent again unchanged.
#[test]
fn a_batch_that_is_sent_again_is_what_it_was() {
    let (mut s, _, asked) = ten(50);
    answer(&mut s, &asked, ErrorCode::NOT_ENOUGH_REPLICAS.0, &[1, 2]);
    let again = s.expect::<ProduceRequest>();
    // `batches` verifies the checksum.
    assert_eq!(s.batches(&again)[0].values.len(), 10);
    s.acknowledge(&again, 0);
    assert_eq!(s.delivered(), [(10, Some(0))]);
}

/// The connection ends in the middle of the list.
#[test]
fn a_refusal_that_is_cut_fails_the_batch() {
    let (mut s, _, asked) = ten(50);
    let mut body = Script::produce_answer(&asked, ErrorCode::INVALID_RECORD.0, -1);
    let errors = (0..10).map(|n| BatchIndexAndErrorMessage::default().with_batch_index(n));
    body.responses[0].partition_responses[0].record_errors = errors.collect();
    let frame = s.encoded(&asked, body);
    s.feed(asked.conn, &frame[..frame.len() - 20]);
    s.cut(asked.conn);
    s.run(Duration::from_secs(3));
    let failed = failed(&mut s);
    assert_eq!(failed.iter().map(|(_, count, _)| count).sum::<u32>(), 10, "{failed:?}");
    s.none::<ProduceRequest>("its bytes are no batch any more");
}
