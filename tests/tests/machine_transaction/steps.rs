//! A coordinator by hand.

use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, ApiKey, EndTxnRequest, EndTxnResponse,
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProducerId,
};
use kavka_core::{Config, Duration, Event, Limits, Outcome, TopicId, TransactionError};
use kavka_tests::script::{Requested, Script, World};

/// The level of `transaction.version` with which Produce adds partitions.
pub(crate) const IMPLICIT: i16 = 2;
/// One with which AddPartitionsToTxn does.
pub(crate) const ADDED: i16 = 1;
/// The producer id of the tests.
pub(crate) const ID: i64 = 1000;

/// Returns a world of two brokers, the second of which coordinates, with topic `t` of two
/// partitions: broker 1 leads the first one.
pub(crate) fn world(level: i16) -> World {
    World::new(2).topic("t", 2).transactions(2, level)
}

pub(crate) fn config(world: &World) -> Config<'static> {
    Config::new(world.bootstrap()).linger(Duration::ZERO).transactional_id("x")
}

/// Returns a client whose first InitProducerId waits.
pub(crate) fn starting(world: World) -> (Script, TopicId, Requested<InitProducerIdRequest>) {
    let config = config(&world);
    let mut s = Script::with(world, config, &Limits::small());
    s.manual(ApiKey::InitProducerId);
    let t = s.ready("t");
    let init = s.expect::<InitProducerIdRequest>();
    (s, t, init)
}

/// Returns a client that knows its producer id, with epoch 5.
pub(crate) fn ready_in(world: World) -> (Script, TopicId) {
    let (mut s, t, init) = starting(world);
    give_id(&mut s, &init, 0, 5);
    assert_eq!(events(&mut s), ["ready"]);
    (s, t)
}

pub(crate) fn ready(level: i16) -> (Script, TopicId) {
    ready_in(world(level))
}

/// Responds to InitProducerId.
pub(crate) fn give_id(
    s: &mut Script,
    init: &Requested<InitProducerIdRequest>,
    code: i16,
    epoch: i16,
) {
    let id = if code == 0 { ID } else { -1 };
    let body = InitProducerIdResponse::default()
        .with_error_code(code)
        .with_producer_id(ProducerId(id))
        .with_producer_epoch(if code == 0 { epoch } else { -1 });
    s.respond(init, body);
}

pub(crate) fn begin(s: &mut Script) {
    let now = s.now();
    s.client.begin(now).expect("begun");
}

pub(crate) fn commit(s: &mut Script) {
    let now = s.now();
    s.client.commit_transaction(now).expect("one is open");
}

pub(crate) fn abort(s: &mut Script) {
    let now = s.now();
    s.client.abort_transaction(now).expect("one is open");
}

/// Begins a transaction and sends a record of it to partition 0, which is acknowledged.
pub(crate) fn sent(s: &mut Script, t: TopicId) {
    begin(s);
    s.produce(t, 0, "a");
    let produce = s.expect::<ProduceRequest>();
    s.acknowledge(&produce, 0);
    s.delivered();
}

/// The same where partitions are added.
pub(crate) fn sent_added(s: &mut Script, t: TopicId) {
    begin(s);
    s.produce(t, 0, "a");
    let add = s.expect::<AddPartitionsToTxnRequest>();
    add_all(s, &add, |_| 0);
    let produce = s.expect::<ProduceRequest>();
    s.acknowledge(&produce, 0);
    s.delivered();
}

/// Responds to AddPartitionsToTxn, by partition.
pub(crate) fn add_all(
    s: &mut Script,
    add: &Requested<AddPartitionsToTxnRequest>,
    code: impl Fn(i32) -> i16,
) {
    let topics = add.body.v3_and_below_topics.iter().map(|topic| {
        let results = topic.partitions.iter().map(|index| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code(*index))
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(results.collect())
    });
    let topics = topics.collect();
    s.respond(
        add,
        AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics),
    );
}

/// The partitions that AddPartitionsToTxn names.
pub(crate) fn added(add: &Requested<AddPartitionsToTxnRequest>) -> Vec<i32> {
    let topics = add.body.v3_and_below_topics.iter();
    let mut list: Vec<i32> = topics.flat_map(|topic| topic.partitions.clone()).collect();
    list.sort_unstable();
    list
}

/// Responds to EndTxn: with the next epoch where the version has it.
pub(crate) fn end(s: &mut Script, end: &Requested<EndTxnRequest>, code: i16) {
    let mut body = EndTxnResponse::default().with_error_code(code);
    if end.version >= 5 {
        let next = (end.body.producer_id, end.body.producer_epoch + 1);
        let next = if code == 0 { next } else { (ProducerId(-1), -1) };
        (body.producer_id, body.producer_epoch) = next;
    }
    s.respond(end, body);
}

/// Takes the events of transactions, in short.
pub(crate) fn events(s: &mut Script) -> Vec<String> {
    s.settle();
    s.take_reported(|reported| {
        Some(match reported.event()? {
            Event::TransactionsReady => "ready".to_owned(),
            Event::TransactionFailed { error } => format!("failed: {}", short(&error)),
            Event::TransactionEnded { outcome: Outcome::Committed } => "committed".to_owned(),
            Event::TransactionEnded { outcome: Outcome::Aborted } => "aborted".to_owned(),
            Event::TransactionEnded { outcome: Outcome::NotCommitted(error) } => {
                format!("not committed: {}", short(&error))
            }
            Event::TransactionEnded { outcome: Outcome::Unknown(error) } => {
                format!("unknown: {}", short(&error))
            }
            Event::OffsetsSent => "offsets".to_owned(),
            _ => return None,
        })
    })
}

/// A name and a code, if there is one.
fn short(error: &TransactionError) -> String {
    match error {
        TransactionError::Fenced => "fenced".to_owned(),
        TransactionError::Ended(code) => format!("ended {}", code.0),
        TransactionError::Refused(code) => format!("refused {}", code.0),
        TransactionError::Partition { code, partition } => {
            format!("partition {} {}", partition.partition, code.0)
        }
        TransactionError::Offsets(code) => format!("offsets {}", code.0),
        TransactionError::Record(_) => "record".to_owned(),
        other => format!("{other:?}"),
    }
}
