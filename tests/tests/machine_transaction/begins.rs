//! Transactions of version 2: begin, records, end.

use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProduceRequest,
};
use kavka_core::{Duration, Error, Misuse, ProduceError, TransactionError};

use crate::steps::{
    ID, IMPLICIT, abort, begin, commit, end, events, give_id, ready, ready_in, sent, starting,
    world,
};

#[test]
fn a_transaction_is_committed_under_its_epoch_and_the_next_one_has_another() {
    let (mut s, t) = ready(IMPLICIT);
    for (epoch, record) in [(5, "a"), (6, "b"), (7, "c")] {
        begin(&mut s);
        s.produce(t, 0, record);
        let produce = s.expect::<ProduceRequest>();
        assert!(produce.version >= 12, "{}", produce.version);
        assert_eq!(produce.body.transactional_id.as_ref().map(|id| id.0.as_str()), Some("x"));
        let batch = &s.batches(&produce)[0];
        assert_eq!(batch.header.producer_id, ID);
        assert_eq!((batch.header.producer_epoch, batch.header.base_sequence), (epoch, 0));
        assert_eq!(batch.header.attributes & 0x10, 0x10, "transactional");
        commit(&mut s);
        s.run(Duration::from_millis(300));
        s.none::<EndTxnRequest>("a record has no answer");
        s.acknowledge(&produce, 0);
        let asked = s.expect::<EndTxnRequest>();
        assert_eq!((asked.node, asked.version), (2, 5));
        assert_eq!((asked.body.producer_epoch, asked.body.committed), (epoch, true));
        end(&mut s, &asked, 0);
        assert_eq!(events(&mut s), ["committed"]);
    }
    s.none::<AddPartitionsToTxnRequest>("Produce does that");
    s.none::<InitProducerIdRequest>("EndTxn names the epochs");
}

/// A leader that finds no marker yet holds the record up for ten times as long.
#[test]
fn the_next_transaction_gives_the_markers_of_the_last_one_their_time() {
    let (mut s, t) = ready(IMPLICIT);
    sent(&mut s, t);
    commit(&mut s);
    let asked = s.expect::<EndTxnRequest>();
    let ended = s.now();
    end(&mut s, &asked, 0);
    begin(&mut s);
    s.produce(t, 0, "b");
    let produce = s.expect::<ProduceRequest>();
    let after = ended.until(produce.at);
    assert!(after >= Duration::from_millis(1) && after < Duration::from_millis(8), "{after:?}");
}

#[test]
fn an_empty_transaction_sends_nothing() {
    let (mut s, t) = ready(IMPLICIT);
    begin(&mut s);
    commit(&mut s);
    assert_eq!(events(&mut s), ["committed"]);
    begin(&mut s);
    abort(&mut s);
    assert_eq!(events(&mut s), ["aborted"]);
    s.none::<EndTxnRequest>("the coordinator knows of no transaction");
    sent(&mut s, t);
}

#[test]
fn records_are_refused_outside_of_a_transaction() {
    let (mut s, t) = ready(IMPLICIT);
    let refused = Err(ProduceError::Refused(Error::Caller(Misuse::NoTransaction)));
    assert_eq!(s.try_produce(t, 0, "a"), refused);
    sent(&mut s, t);
    commit(&mut s);
    assert_eq!(s.try_produce(t, 0, "a"), refused, "it ends");
}

#[test]
fn calls_out_of_order_are_refused() {
    let (mut s, t) = ready(IMPLICIT);
    let now = s.now();
    let none = Err(TransactionError::Caller(Misuse::NoTransaction));
    let open = Err(TransactionError::Caller(Misuse::InTransaction));
    assert_eq!(s.client.commit_transaction(now), none);
    assert_eq!(s.client.abort_transaction(now), none);
    sent(&mut s, t);
    assert_eq!(s.client.begin(now), open);
    commit(&mut s);
    assert_eq!(s.client.begin(now), open, "it ends");
    assert_eq!(s.client.abort_transaction(now), none, "librdkafka#4016");
    assert_eq!(s.client.commit_transaction(now), none);
    let asked = s.expect::<EndTxnRequest>();
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s), ["committed"]);
    begin(&mut s);
}

#[test]
fn a_client_without_a_transactional_id_has_no_transactions() {
    let world = world(IMPLICIT);
    let mut s = kavka_tests::script::Script::new(world);
    let now = s.now();
    let refused = Err(TransactionError::Caller(Misuse::NoTransactionalId));
    assert_eq!(s.client.begin(now), refused);
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let produce = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&produce)[0].header.attributes & 0x10, 0);
}

#[test]
fn records_wait_for_the_producer_id() {
    let (mut s, t, init) = starting(world(IMPLICIT));
    begin(&mut s);
    s.produce(t, 0, "a");
    s.run(Duration::from_millis(500));
    s.none::<ProduceRequest>("nothing is known of the id");
    give_id(&mut s, &init, 0, 0);
    let produce = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&produce)[0].header.producer_epoch, 0);
}

#[test]
fn several_batches_and_partitions_are_acknowledged_before_the_end() {
    let (mut s, t) = ready(IMPLICIT);
    begin(&mut s);
    s.produce(t, 0, "a");
    s.produce(t, 1, "b");
    let first = s.expect::<ProduceRequest>();
    let second = s.expect::<ProduceRequest>();
    s.produce(t, 0, "c");
    commit(&mut s);
    s.acknowledge(&second, 0);
    s.run(Duration::from_millis(100));
    s.none::<EndTxnRequest>("two batches have no answer");
    s.acknowledge(&first, 0);
    let third = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&third)[0].header.base_sequence, 1);
    s.none::<EndTxnRequest>("one batch has no answer");
    s.acknowledge(&third, 1);
    let asked = s.expect::<EndTxnRequest>();
    assert!(asked.body.committed);
}

#[test]
fn a_batch_that_is_sent_again_keeps_its_place_and_the_end_waits() {
    // librdkafka#5423
    let (mut s, t) = ready(IMPLICIT);
    begin(&mut s);
    s.produce(t, 0, "a");
    let produce = s.expect::<ProduceRequest>();
    commit(&mut s);
    s.cut(produce.conn);
    let again = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&again)[0].place().1, 0);
    s.none::<EndTxnRequest>("it has no answer");
    s.acknowledge(&again, 0);
    s.expect::<EndTxnRequest>();
}

#[test]
fn an_aborted_transaction_fails_what_was_not_sent() {
    let (mut s, t) = ready(IMPLICIT);
    begin(&mut s);
    s.produce(t, 0, "a");
    let produce = s.expect::<ProduceRequest>();
    s.produce(t, 0, "b");
    abort(&mut s);
    s.run(Duration::from_millis(100));
    s.none::<EndTxnRequest>("a record is on its way");
    s.acknowledge(&produce, 0);
    let asked = s.expect::<EndTxnRequest>();
    assert!(!asked.body.committed);
    s.none::<ProduceRequest>("it is aborted");
    end(&mut s, &asked, 0);
    assert_eq!(s.failed().len(), 1);
    assert_eq!(events(&mut s), ["aborted"]);
}

#[test]
fn a_transaction_whose_records_never_left_is_aborted_alone() {
    let world = world(IMPLICIT);
    let (mut s, t) = ready_in(world);
    s.world.partition("t", 0).leader = -1;
    s.kill(1);
    begin(&mut s);
    s.produce(t, 0, "a");
    s.run(Duration::from_millis(50));
    abort(&mut s);
    assert_eq!(events(&mut s), ["aborted"]);
    s.none::<EndTxnRequest>("nothing was sent");
}
