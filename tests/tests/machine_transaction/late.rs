//! Requests that may still wait in a broker's queue when their transaction has ended: what Jepsen
//! found torn in Kafka, and KIP-890 mends by an epoch for each transaction.

use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, EndTxnRequest,
    InitProducerIdRequest, TxnOffsetCommitRequest,
};
use kavka_core::Duration;
use kavka_tests::script::Script;
use kavka_tests::sim::Profile;

use crate::offsets::{answer, consumed, send};
use crate::steps::{
    ADDED, IMPLICIT, abort, add_all, begin, commit, end, events, give_id, ready, ready_in, sent,
    sent_added, world,
};

/// The next transaction has another epoch.
fn raises(s: &mut Script, t: kavka_core::TopicId, at: &str) {
    begin(s);
    s.produce(t, 0, "next");
    let init = s.expect::<InitProducerIdRequest>();
    assert_eq!((init.body.producer_id.0, init.body.producer_epoch), (1000, 5), "{at}");
    s.none::<AddPartitionsToTxnRequest>("the epoch is not known");
    give_id(s, &init, 0, 6);
    let add = s.expect::<AddPartitionsToTxnRequest>();
    assert_eq!(add.body.v3_and_below_producer_epoch, 6, "{at}");
}

// librdkafka#5423
#[test]
fn a_late_end_does_not_meet_the_next_transaction() {
    for commits in [true, false] {
        let (mut s, t) = ready(ADDED);
        sent_added(&mut s, t);
        if commits {
            commit(&mut s)
        } else {
            abort(&mut s)
        }
        let lost = s.expect::<EndTxnRequest>();
        s.cut(lost.conn);
        let again = s.expect::<EndTxnRequest>();
        assert_eq!(again.body.committed, commits);
        end(&mut s, &again, 0);
        assert_eq!(events(&mut s), [if commits { "committed" } else { "aborted" }]);
        raises(&mut s, t, &format!("commits: {commits}"));
    }
}

#[test]
fn a_late_partition_does_not_open_the_next_transaction() {
    let (mut s, t) = ready(ADDED);
    begin(&mut s);
    s.produce(t, 0, "a");
    let lost = s.expect::<AddPartitionsToTxnRequest>();
    s.cut(lost.conn);
    let again = s.expect::<AddPartitionsToTxnRequest>();
    add_all(&mut s, &again, |_| 0);
    let produce = s.expect::<kafka_protocol::messages::ProduceRequest>();
    s.acknowledge(&produce, 0);
    commit(&mut s);
    let asked = s.expect::<EndTxnRequest>();
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s), ["committed"]);
    raises(&mut s, t, "partitions");
}

#[test]
fn late_offsets_do_not_count_with_the_next_transaction() {
    for group in [true, false] {
        let (mut s, t) = ready(ADDED);
        begin(&mut s);
        send(&mut s, &[consumed("u", 0, 10)]);
        let mut add = s.expect::<AddOffsetsToTxnRequest>();
        if group {
            s.cut(add.conn);
            add = s.expect::<AddOffsetsToTxnRequest>();
        }
        s.respond(&add, AddOffsetsToTxnResponse::default());
        let mut asked = s.expect::<TxnOffsetCommitRequest>();
        if !group {
            s.cut(asked.conn);
            asked = s.expect::<TxnOffsetCommitRequest>();
        }
        answer(&mut s, &asked, |_| 0);
        commit(&mut s);
        let asked = s.expect::<EndTxnRequest>();
        end(&mut s, &asked, 0);
        assert_eq!(events(&mut s), ["offsets", "committed"]);
        raises(&mut s, t, &format!("the group itself: {group}"));
    }
}

#[test]
fn nothing_is_asked_for_where_each_end_raises_the_epoch() {
    let (mut s, t) = ready(IMPLICIT);
    sent(&mut s, t);
    commit(&mut s);
    let lost = s.expect::<EndTxnRequest>();
    s.cut(lost.conn);
    let again = s.expect::<EndTxnRequest>();
    end(&mut s, &again, 0);
    assert_eq!(events(&mut s), ["committed"]);
    s.run(Duration::from_secs(1));
    s.none::<InitProducerIdRequest>("a late end meets another epoch");
}

/// There is no request for it before 2.5: the producer goes on.
#[test]
fn where_nothing_raises_the_epoch_the_producer_goes_on() {
    let (mut s, t) = ready_in(world(0).release(Profile::V2_4));
    sent_added(&mut s, t);
    commit(&mut s);
    let lost = s.expect::<EndTxnRequest>();
    s.cut(lost.conn);
    let again = s.expect::<EndTxnRequest>();
    end(&mut s, &again, 0);
    assert_eq!(events(&mut s), ["committed"]);
    sent_added(&mut s, t);
    s.none::<InitProducerIdRequest>("it would fence whoever took the id over");
}
