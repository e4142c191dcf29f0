//! Records that fail, and what becomes of their transaction.

use kafka_protocol::messages::{EndTxnRequest, ProduceRequest};
use kavka_core::{Duration, Error, Limits, ProduceError};
use kavka_tests::script::Script;

use crate::steps::{
    IMPLICIT, abort, begin, commit, config, end, events, give_id, ready, sent, world,
};

/// Sends a record that is refused with this code.
fn refused(code: i16) -> (Script, kavka_core::TopicId) {
    let (mut s, t) = ready(IMPLICIT);
    begin(&mut s);
    s.produce(t, 0, "a");
    let produce = s.expect::<ProduceRequest>();
    s.refuse(&produce, code);
    (s, t)
}

#[test]
fn a_record_that_failed_makes_the_commit_fail() {
    for (code, why) in [
        (48, "record"),
        (120, "record"),
        (45, "record"),
        (59, "record"),
        (47, "ended 47"),
        (87, "record"),
    ] {
        let (mut s, t) = refused(code);
        assert_eq!(events(&mut s), [format!("failed: {why}")], "{code}");
        let refused = Err(ProduceError::Refused(Error::Aborted));
        assert_eq!(s.try_produce(t, 0, "b"), refused, "{code}");
        commit(&mut s);
        let asked = s.expect::<EndTxnRequest>();
        assert!(!asked.body.committed, "{code}");
        end(&mut s, &asked, 0);
        assert_eq!(events(&mut s), [format!("not committed: {why}")], "{code}");
        sent(&mut s, t);
        commit(&mut s);
        let asked = s.expect::<EndTxnRequest>();
        assert_eq!((asked.body.producer_epoch, asked.body.committed), (6, true));
    }
}

#[test]
fn a_fenced_producer_sends_nothing_more() {
    let (mut s, _) = refused(90);
    assert_eq!(events(&mut s), ["failed: fenced"]);
    commit(&mut s);
    assert_eq!(events(&mut s), ["not committed: fenced"]);
    s.run(Duration::from_secs(10));
    s.none::<EndTxnRequest>("the transaction is another producer's");
    s.none::<kafka_protocol::messages::InitProducerIdRequest>("it would fence the other one");
    let now = s.now();
    assert!(s.client.begin(now).is_err());
}

#[test]
fn refusals_that_pass_are_repeated() {
    let (mut s, t) = ready(IMPLICIT);
    begin(&mut s);
    s.produce(t, 0, "a");
    for code in [51, 19, 6, 7, 51] {
        let produce = s.expect::<ProduceRequest>();
        let header = s.batches(&produce)[0].header;
        assert_eq!((header.producer_epoch, header.base_sequence), (5, 0), "{code}");
        s.refuse(&produce, code);
    }
    let produce = s.expect::<ProduceRequest>();
    s.acknowledge(&produce, 0);
    assert_eq!(events(&mut s), [""; 0]);
    commit(&mut s);
    assert!(s.expect::<EndTxnRequest>().body.committed);
}

#[test]
fn an_expired_record_makes_the_commit_fail() {
    let world = world(IMPLICIT);
    let mut config = config(&world);
    config.delivery_timeout = Duration::from_secs(3);
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    s.run(Duration::from_secs(1));
    sent(&mut s, t);
    s.produce(t, 0, "b");
    let lost = s.expect::<ProduceRequest>();
    commit(&mut s);
    s.kill(1);
    drop(lost);
    s.run(Duration::from_secs(5));
    let asked = s.expect::<EndTxnRequest>();
    assert!(!asked.body.committed, "the record may be missing");
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s).last().map(String::as_str), Some("not committed: record"));
}

#[test]
fn a_record_that_comes_late_does_not_meet_the_end() {
    // A batch on its way keeps the end back, also of an abort.
    let (mut s, t) = ready(IMPLICIT);
    begin(&mut s);
    s.produce(t, 0, "a");
    s.produce(t, 1, "b");
    let first = s.expect::<ProduceRequest>();
    let second = s.expect::<ProduceRequest>();
    s.refuse(&first, 87);
    assert_eq!(events(&mut s), ["failed: record"]);
    abort(&mut s);
    s.run(Duration::from_secs(5));
    s.none::<EndTxnRequest>("a record is on its way");
    s.acknowledge(&second, 0);
    let asked = s.expect::<EndTxnRequest>();
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s), ["aborted"]);
}

#[test]
fn a_batch_behind_one_that_failed_is_not_sent_again() {
    let (mut s, t) = ready(IMPLICIT);
    sent(&mut s, t);
    s.produce(t, 0, "b");
    let first = s.expect::<ProduceRequest>();
    s.produce(t, 0, "c");
    let second = s.expect::<ProduceRequest>();
    s.refuse(&first, 87);
    s.refuse(&second, 45);
    s.run(Duration::from_secs(2));
    s.none::<ProduceRequest>("the transaction is lost");
    assert_eq!(s.failed().len(), 2);
    assert_eq!(events(&mut s), ["failed: record"]);
}

#[test]
fn a_refused_id_fails_the_transaction_and_is_asked_for_by_the_next() {
    let (mut s, t, init) = crate::steps::starting(world(IMPLICIT));
    begin(&mut s);
    s.produce(t, 0, "a");
    give_id(&mut s, &init, 53, 0);
    assert_eq!(events(&mut s), ["failed: refused 53"]);
    s.run(Duration::from_secs(5));
    s.none::<kafka_protocol::messages::InitProducerIdRequest>("no endless retry");
    abort(&mut s);
    assert_eq!(events(&mut s), ["aborted"]);
    begin(&mut s);
    let init = s.expect::<kafka_protocol::messages::InitProducerIdRequest>();
    give_id(&mut s, &init, 0, 0);
    assert_eq!(events(&mut s), ["ready"]);
}
