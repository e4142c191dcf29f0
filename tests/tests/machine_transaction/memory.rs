//! Transactions of a client with few entries for partitions.

use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProduceRequest,
};
use kavka_core::{Error, LimitKind, Limits, ProduceError};
use kavka_tests::script::{Script, World};

use crate::steps::{
    ADDED, IMPLICIT, begin, commit, config, end, events, give_id, ready, sent_added,
};

#[test]
fn a_partition_of_the_open_transaction_keeps_its_entry() {
    let world = World::new(2).topic("t", 3).transactions(2, IMPLICIT);
    let config = config(&world);
    let mut limits = Limits::small();
    limits.partitions = 2;
    let mut s = Script::with(world, config, &limits);
    let t = s.ready("t");
    begin(&mut s);
    for partition in [0, 1] {
        s.produce(t, partition, "a");
        let produce = s.expect::<ProduceRequest>();
        s.acknowledge(&produce, 0);
    }
    s.delivered();
    let full = Error::Limit { what: LimitKind::Partitions, needed: 0 };
    assert_eq!(s.try_produce(t, 2, "a"), Err(ProduceError::Refused(full)));
    s.produce(t, 0, "b");
    let produce = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&produce)[0].place(), (0, 1, 1), "its sequence goes on");
    s.acknowledge(&produce, 1);
    commit(&mut s);
    let asked = s.expect::<EndTxnRequest>();
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s), ["ready", "committed"]);
    // The next one has another epoch, for which no entry is needed.
    begin(&mut s);
    s.produce(t, 2, "c");
    s.expect::<ProduceRequest>();
}

#[test]
fn a_sequence_that_is_forgotten_between_transactions_raises_the_epoch() {
    let (mut s, t) = ready(ADDED);
    sent_added(&mut s, t);
    commit(&mut s);
    let asked = s.expect::<EndTxnRequest>();
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s), ["committed"]);
    s.client.unwatch(t);
    s.settle();
    let t = s.ready("t");
    s.none::<InitProducerIdRequest>("no transaction is open");
    begin(&mut s);
    s.produce(t, 0, "b");
    let init = s.expect::<InitProducerIdRequest>();
    assert_eq!((init.body.producer_id.0, init.body.producer_epoch), (1000, 5));
    s.none::<AddPartitionsToTxnRequest>("the epoch is not known");
    give_id(&mut s, &init, 0, 6);
    let add = s.expect::<AddPartitionsToTxnRequest>();
    assert_eq!(add.body.v3_and_below_producer_epoch, 6);
}
