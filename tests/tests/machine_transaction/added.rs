//! Transactions before version 2: partitions are added first, and the epoch stays.

use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, ApiKey, EndTxnRequest, InitProducerIdRequest, ProduceRequest,
};
use kavka_core::Duration;
use kavka_tests::sim::Profile;

use crate::steps::{
    ADDED, IMPLICIT, abort, add_all, added, begin, commit, end, events, give_id, ready, ready_in,
    sent_added, world,
};

#[test]
fn partitions_are_added_before_their_records_leave_and_the_epoch_stays() {
    let (mut s, t) = ready(ADDED);
    for sequence in [0, 1] {
        begin(&mut s);
        s.produce(t, 0, "a");
        let add = s.expect::<AddPartitionsToTxnRequest>();
        assert_eq!((add.node, add.version, added(&add)), (2, 3, vec![0]));
        s.produce(t, 1, "b");
        s.run(Duration::from_millis(300));
        s.none::<ProduceRequest>("its partition is not added");
        add_all(&mut s, &add, |_| 0);
        let produce = s.expect::<ProduceRequest>();
        assert!(produce.version <= 11, "{}", produce.version);
        let batch = &s.batches(&produce)[0];
        assert_eq!(batch.header.attributes & 0x10, 0x10, "transactional");
        assert_eq!((batch.header.producer_epoch, batch.header.base_sequence), (5, sequence));
        let add = s.expect::<AddPartitionsToTxnRequest>();
        assert_eq!(added(&add), [1]);
        commit(&mut s);
        s.acknowledge(&produce, 0);
        s.run(Duration::from_millis(100));
        s.none::<EndTxnRequest>("a partition is not added");
        add_all(&mut s, &add, |_| 0);
        let produce = s.expect::<ProduceRequest>();
        s.acknowledge(&produce, 0);
        let asked = s.expect::<EndTxnRequest>();
        assert!(asked.version <= 4, "{}", asked.version);
        assert_eq!((asked.body.producer_epoch, asked.body.committed), (5, true));
        end(&mut s, &asked, 0);
        assert_eq!(events(&mut s), ["committed"]);
    }
    s.none::<InitProducerIdRequest>("nothing is wrong");
}

#[test]
fn versions_alone_do_not_make_it_version_two() {
    // franz-go#1017
    let (mut s, t) = ready(0);
    sent_added(&mut s, t);
    commit(&mut s);
    assert!(s.expect::<EndTxnRequest>().version <= 4);
}

#[test]
fn a_feature_without_the_versions_is_not_enough() {
    let (mut s, t) = ready_in(world(IMPLICIT).release(Profile::V3_9));
    sent_added(&mut s, t);
    commit(&mut s);
    assert!(s.expect::<EndTxnRequest>().version <= 4);
}

#[test]
fn old_brokers_have_transactions() {
    for profile in [Profile::V2_4, Profile::V2_8, Profile::V3_2] {
        let (mut s, t) = ready_in(world(0).release(profile));
        sent_added(&mut s, t);
        commit(&mut s);
        let asked = s.expect::<EndTxnRequest>();
        end(&mut s, &asked, 0);
        assert_eq!(events(&mut s), ["committed"], "{profile}");
    }
}

#[test]
fn what_was_added_without_a_record_is_ended() {
    // franz-go#967
    let (mut s, t) = ready(ADDED);
    begin(&mut s);
    s.produce(t, 0, "a");
    let add = s.expect::<AddPartitionsToTxnRequest>();
    abort(&mut s);
    add_all(&mut s, &add, |_| 0);
    s.none::<ProduceRequest>("it is aborted");
    let asked = s.expect::<EndTxnRequest>();
    assert!(!asked.body.committed);
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s), ["aborted"]);
}

#[test]
fn what_was_not_added_is_not_ended() {
    let (mut s, t) = ready(ADDED);
    begin(&mut s);
    s.produce(t, 0, "a");
    let add = s.expect::<AddPartitionsToTxnRequest>();
    add_all(&mut s, &add, |_| 29);
    assert_eq!(events(&mut s), ["failed: partition 0 29"]);
    commit(&mut s);
    assert_eq!(events(&mut s), ["not committed: partition 0 29"]);
    s.none::<EndTxnRequest>("nothing was added");
}

#[test]
fn x7_what_was_added_before_a_refusal_is_ended() {
    let (mut s, t) = ready(ADDED);
    sent_added(&mut s, t);
    s.produce(t, 1, "b");
    let add = s.expect::<AddPartitionsToTxnRequest>();
    assert_eq!(added(&add), [1]);
    add_all(&mut s, &add, |_| 29);
    assert_eq!(events(&mut s), ["failed: partition 1 29"]);
    commit(&mut s);
    let asked = s.expect::<EndTxnRequest>();
    assert!(!asked.body.committed);
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s), ["not committed: partition 1 29"]);
}

#[test]
fn a_transaction_that_ends_is_waited_for_a_moment() {
    let (mut s, t) = ready(ADDED);
    begin(&mut s);
    s.produce(t, 0, "a");
    let mut last = s.now();
    for at_most in [30, 50, 100, 200] {
        let add = s.expect::<AddPartitionsToTxnRequest>();
        let waited = last.until(s.now());
        assert!(waited < Duration::from_millis(at_most), "{waited:?}");
        add_all(&mut s, &add, |_| 51);
        last = s.now();
    }
    let add = s.expect::<AddPartitionsToTxnRequest>();
    add_all(&mut s, &add, |_| 0);
    s.expect::<ProduceRequest>();
}

#[test]
fn the_whole_request_is_repeated_for_a_partition_that_is_not_known_yet() {
    let (mut s, t) = ready(ADDED);
    begin(&mut s);
    s.produce(t, 0, "a");
    s.produce(t, 1, "b");
    let add = s.expect::<AddPartitionsToTxnRequest>();
    add_all(&mut s, &add, |_| 51);
    let add = s.expect::<AddPartitionsToTxnRequest>();
    assert_eq!(added(&add), [0, 1]);
    add_all(&mut s, &add, |index| if index == 1 { 3 } else { 55 });
    s.none::<ProduceRequest>("nothing was added");
    let add = s.expect::<AddPartitionsToTxnRequest>();
    assert_eq!(added(&add), [0, 1]);
    add_all(&mut s, &add, |_| 0);
    s.expect::<ProduceRequest>();
    s.expect::<ProduceRequest>();
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let (mut s, t) = ready(ADDED);
    begin(&mut s);
    s.produce(t, 0, "a");
    let add = s.expect::<AddPartitionsToTxnRequest>();
    s.cut(add.conn);
    let again = s.expect::<AddPartitionsToTxnRequest>();
    assert_eq!(added(&again), [0]);
    add_all(&mut s, &again, |_| 0);
    s.expect::<ProduceRequest>();
}

#[test]
fn what_may_have_been_added_is_ended() {
    let (mut s, t) = ready(ADDED);
    begin(&mut s);
    s.produce(t, 0, "a");
    let add = s.expect::<AddPartitionsToTxnRequest>();
    s.cut(add.conn);
    abort(&mut s);
    let asked = s.expect::<EndTxnRequest>();
    assert!(!asked.body.committed);
    end(&mut s, &asked, 48);
    assert_eq!(events(&mut s), ["aborted"]);
}

#[test]
fn a_record_that_failed_raises_the_epoch_after_the_abort() {
    let (mut s, t) = ready(ADDED);
    begin(&mut s);
    s.produce(t, 0, "a");
    let add = s.expect::<AddPartitionsToTxnRequest>();
    add_all(&mut s, &add, |_| 0);
    let produce = s.expect::<ProduceRequest>();
    s.refuse(&produce, 10);
    assert_eq!(events(&mut s), ["failed: record"]);
    abort(&mut s);
    let asked = s.expect::<EndTxnRequest>();
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s), ["aborted"]);
    let init = s.expect::<InitProducerIdRequest>();
    assert_eq!((init.body.producer_id.0, init.body.producer_epoch), (1000, 5));
    begin(&mut s);
    s.produce(t, 0, "b");
    s.run(Duration::from_millis(100));
    s.none::<AddPartitionsToTxnRequest>("the epoch is not known");
    give_id(&mut s, &init, 0, 6);
    let add = s.expect::<AddPartitionsToTxnRequest>();
    assert_eq!(add.body.v3_and_below_producer_epoch, 6);
    add_all(&mut s, &add, |_| 0);
    let produce = s.expect::<ProduceRequest>();
    let header = s.batches(&produce)[0].header;
    assert_eq!((header.producer_epoch, header.base_sequence), (6, 0));
}

#[test]
fn a_sequence_that_no_request_can_mend_ends_the_producer() {
    let (mut s, t) = ready_in(world(0).release(Profile::V2_4));
    begin(&mut s);
    s.produce(t, 0, "a");
    let add = s.expect::<AddPartitionsToTxnRequest>();
    add_all(&mut s, &add, |_| 0);
    let produce = s.expect::<ProduceRequest>();
    s.refuse(&produce, 10);
    abort(&mut s);
    let asked = s.expect::<EndTxnRequest>();
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s), ["failed: record", "aborted"]);
    s.run(Duration::from_secs(1));
    s.none::<InitProducerIdRequest>("it would fence whoever took the id over");
    let now = s.now();
    assert!(s.client.begin(now).is_err());
}

#[test]
fn an_upgrade_while_running_raises_the_epoch_once() {
    let (mut s, t) = ready(ADDED);
    sent_added(&mut s, t);
    // The ending transaction keeps its protocol.
    s.world.transactions = Some(IMPLICIT);
    for node in [1, 2] {
        for conn in s.connections(node) {
            s.cut(conn);
        }
    }
    s.run(Duration::from_secs(1));
    commit(&mut s);
    let asked = s.expect::<EndTxnRequest>();
    assert!(asked.version <= 4, "{}", asked.version);
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s), ["committed"]);
    begin(&mut s);
    s.produce(t, 0, "b");
    let init = s.expect::<InitProducerIdRequest>();
    assert_eq!((init.body.producer_id.0, init.body.producer_epoch), (1000, 5));
    give_id(&mut s, &init, 0, 6);
    let produce = s.expect::<ProduceRequest>();
    assert!(produce.version >= 12, "{}", produce.version);
    let header = s.batches(&produce)[0].header;
    assert_eq!((header.producer_epoch, header.base_sequence), (6, 0));
    s.none::<AddPartitionsToTxnRequest>("Produce does that");
}

#[test]
fn a_cluster_without_the_requests_is_named() {
    let mut world = world(0);
    world.without.push(ApiKey::AddPartitionsToTxn as i16);
    let (mut s, t) = ready_in(world);
    begin(&mut s);
    s.produce(t, 0, "a");
    let said = events(&mut s);
    assert!(said.len() == 1 && said[0].contains("NoApi"), "{said:?}");
}
