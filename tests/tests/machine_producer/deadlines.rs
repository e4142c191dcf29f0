//! Records with deadlines of their own.

use kafka_protocol::messages::ProduceRequest;
use kavka_core::record::Packed;
use kavka_core::{Duration, Error, ProduceError, Record, RecordId, TopicId};
use kavka_tests::script::steps::{configured, next, warm_up};
use kavka_tests::script::{Script, World};

const SECOND: Duration = Duration::from_secs(1);

/// Returns a topic of one partition, whose leader knows the producer's sequences.
fn known() -> (Script, TopicId) {
    let mut s = configured(World::new(1).topic("t", 1), |c| c.linger = Duration::from_millis(50));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    (s, t)
}

/// Tries to produce a record that has so much time.
fn try_within(
    s: &mut Script,
    t: TopicId,
    value: &str,
    time: Duration,
) -> Result<RecordId, ProduceError> {
    let record = Record::new(value.as_bytes());
    let mut bytes = vec![0; kavka_core::record::packed_len(&record)];
    kavka_core::record::pack(&mut kavka_core::wire::SliceSink::new(&mut bytes), &record).unwrap();
    let now = s.now();
    let packed = Packed::new(&bytes, None);
    s.client.produce_packed_until(now, (t, 0), &packed, now + time)
}

fn within(s: &mut Script, t: TopicId, value: &str, time: Duration) -> RecordId {
    try_within(s, t, value, time).expect("the record is taken")
}

#[test]
fn a_record_that_did_not_leave_in_its_time_fails_alone() {
    let (mut s, t) = known();
    s.kill(1);
    s.settle();
    let long = s.produce(t, 0, "long");
    let short = within(&mut s, t, "short", 2 * SECOND);
    let after = s.produce(t, 0, "after");
    assert!(short.batch != long.batch && short.batch != after.batch, "batches of its own");
    s.run(Duration::from_millis(1900));
    assert_eq!(s.failed(), [], "its time is not over");
    s.run(Duration::from_millis(200));
    let failed = s.failed();
    assert!(matches!(failed[..], [(_, Error::Blocked(_), false)]), "{failed:?}");
    s.run(60 * SECOND);
    assert_eq!(s.failed(), [], "the others wait");
}

#[test]
fn a_record_that_is_on_its_way_ends_with_its_request() {
    let (mut s, t) = known();
    within(&mut s, t, "short", SECOND);
    let (requested, sent, _) = next(&mut s);
    assert_eq!(sent, "short");
    s.run(5 * SECOND);
    assert_eq!(s.failed(), [], "it may be written");
    s.acknowledge(&requested, 7);
    assert_eq!(s.delivered(), [(1, Some(7))]);
}

/// One that comes back from a broker after its time is not sent again.
#[test]
fn a_record_that_is_refused_after_its_time_is_not_sent_again() {
    let (mut s, t) = known();
    within(&mut s, t, "short", SECOND);
    let (requested, ..) = next(&mut s);
    s.run(2 * SECOND);
    s.refuse(&requested, 19);
    let failed = s.failed();
    assert!(matches!(failed[..], [(_, Error::Blocked(_), _)]), "{failed:?}");
    s.run(2 * SECOND);
    s.none::<ProduceRequest>("its time is over");
}

#[test]
fn records_whose_deadlines_are_close_share_a_batch() {
    let (mut s, t) = known();
    s.produce(t, 0, "on its way");
    let (requested, ..) = next(&mut s);
    let first = within(&mut s, t, "a", SECOND);
    s.run(Duration::from_millis(5));
    assert_eq!(within(&mut s, t, "b", SECOND).batch, first.batch);
    s.run(Duration::from_millis(10));
    assert_ne!(within(&mut s, t, "c", SECOND).batch, first.batch, "15 ms later");
    let none = s.produce(t, 0, "d");
    assert_ne!(within(&mut s, t, "e", Duration::from_secs(3600)).batch, none.batch);
    s.acknowledge(&requested, 1);
    assert_eq!(next(&mut s).1, "a,b");
}

/// The configured time-out is the limit, and a deadline in the past is refused.
#[test]
fn a_deadline_shortens_the_delivery_timeout_and_never_extends_it() {
    let (mut s, t) = known();
    s.kill(1);
    s.settle();
    let over = try_within(&mut s, t, "over", Duration::ZERO).expect_err("it is over");
    assert_eq!(over, ProduceError::Refused(Error::TimedOut));
    within(&mut s, t, "far", 3600 * SECOND);
    s.run(119 * SECOND);
    assert_eq!(s.failed(), []);
    s.run(2 * SECOND);
    assert_eq!(s.failed().len(), 1, "the delivery timeout");
}

/// The scale of ticks is shifted after nine hours.
#[test]
fn deadlines_hold_across_a_shift_of_the_scale() {
    let (mut s, t) = known();
    s.kill(1);
    s.sleep(Duration::from_secs(600_000));
    s.settle();
    within(&mut s, t, "a", SECOND);
    within(&mut s, t, "b", 3 * SECOND);
    s.run(2 * SECOND);
    assert_eq!(s.failed().len(), 1);
    s.run(2 * SECOND);
    assert_eq!(s.failed().len(), 1);
}
