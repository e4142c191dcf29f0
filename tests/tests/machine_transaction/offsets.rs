//! Offsets of a group that are committed with a transaction.

use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, ApiKey, EndTxnRequest, InitProducerIdRequest,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kavka_core::{Consumed, Duration, Limits, Membership, Misuse, TransactionError};
use kavka_tests::script::{Requested, Script};
use kavka_tests::sim::Profile;

use crate::steps::{
    ADDED, IMPLICIT, begin, commit, config, end, events, give_id, ready, ready_in, sent, world,
};

const MEMBER: Membership<'_> =
    Membership { group: "g", member: "m-1", generation: 7, instance: Some("i") };

pub(crate) fn consumed(topic: &'static str, partition: i32, offset: i64) -> Consumed<'static> {
    Consumed { topic, partition, offset, leader_epoch: 3, metadata: "why" }
}

pub(crate) fn send(s: &mut Script, offsets: &[Consumed<'_>]) {
    let now = s.now();
    s.client.send_offsets(now, &MEMBER, offsets).expect("taken");
}

/// Responds with a code for each partition.
pub(crate) fn answer(
    s: &mut Script,
    asked: &Requested<TxnOffsetCommitRequest>,
    code: impl Fn(i32) -> i16,
) {
    let topics = asked.body.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(partition.partition_index))
        });
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    let topics = topics.collect();
    s.respond(asked, TxnOffsetCommitResponse::default().with_topics(topics));
}

/// Nothing else has a connection made: no topic is in use.
#[test]
fn a_transaction_of_offsets_alone_finds_its_coordinators() {
    let world = world(IMPLICIT);
    let config = config(&world);
    let mut s = Script::with(world, config, &Limits::small());
    s.manual(ApiKey::InitProducerId);
    begin(&mut s);
    send(&mut s, &[consumed("u", 0, 10)]);
    commit(&mut s);
    let init = s.expect::<InitProducerIdRequest>();
    give_id(&mut s, &init, 0, 5);
    let asked = s.expect::<TxnOffsetCommitRequest>();
    answer(&mut s, &asked, |_| 0);
    let ended = s.expect::<EndTxnRequest>();
    end(&mut s, &ended, 0);
    assert_eq!(events(&mut s), ["ready", "offsets", "committed"]);
}

#[test]
fn offsets_are_part_of_the_transaction_with_their_member() {
    let (mut s, t) = ready(IMPLICIT);
    sent(&mut s, t);
    send(&mut s, &[consumed("u", 0, 10), consumed("u", 1, 11), consumed("v", 0, 12)]);
    let asked = s.expect::<TxnOffsetCommitRequest>();
    assert_eq!(asked.version, 5);
    let body = &asked.body;
    assert_eq!((body.transactional_id.as_str(), body.group_id.as_str()), ("x", "g"));
    assert_eq!((body.producer_id.0, body.producer_epoch), (1000, 5));
    assert_eq!((body.generation_id, body.member_id.as_str()), (7, "m-1"));
    assert_eq!(body.group_instance_id.as_deref(), Some("i"));
    let named: Vec<_> = body
        .topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|p| {
                let text = p.committed_metadata.as_deref().unwrap_or_default();
                assert_eq!((p.committed_leader_epoch, text), (3, "why"));
                (topic.name.as_str(), p.partition_index, p.committed_offset)
            })
        })
        .collect();
    assert_eq!(named, [("u", 0, 10), ("u", 1, 11), ("v", 0, 12)]);
    commit(&mut s);
    s.run(Duration::from_millis(300));
    s.none::<EndTxnRequest>("the offsets have no answer");
    answer(&mut s, &asked, |_| 0);
    let asked = s.expect::<EndTxnRequest>();
    assert!(asked.body.committed);
    s.none::<AddOffsetsToTxnRequest>("the group's coordinator does that");
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s), ["offsets", "committed"]);
}

#[test]
fn offsets_without_records_are_a_transaction() {
    let (mut s, _) = ready(IMPLICIT);
    begin(&mut s);
    send(&mut s, &[consumed("u", 0, 10)]);
    let asked = s.expect::<TxnOffsetCommitRequest>();
    answer(&mut s, &asked, |_| 0);
    assert_eq!(events(&mut s), ["offsets"]);
    commit(&mut s);
    let asked = s.expect::<EndTxnRequest>();
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s), ["committed"]);
}

#[test]
fn the_group_is_added_first_before_version_two() {
    let (mut s, _) = ready(ADDED);
    begin(&mut s);
    send(&mut s, &[consumed("u", 0, 10)]);
    commit(&mut s);
    let add = s.expect::<AddOffsetsToTxnRequest>();
    assert_eq!((add.body.group_id.as_str(), add.body.producer_epoch), ("g", 5));
    s.none::<TxnOffsetCommitRequest>("the group is not added");
    s.respond(&add, AddOffsetsToTxnResponse::default().with_error_code(51));
    let add = s.expect::<AddOffsetsToTxnRequest>();
    s.respond(&add, AddOffsetsToTxnResponse::default());
    let asked = s.expect::<TxnOffsetCommitRequest>();
    assert!(asked.version <= 4, "{}", asked.version);
    answer(&mut s, &asked, |_| 0);
    assert!(s.expect::<EndTxnRequest>().body.committed);
}

#[test]
fn x2_a_coordinator_that_moves_while_the_group_is_added_is_found() {
    let (mut s, _) = ready(ADDED);
    begin(&mut s);
    send(&mut s, &[consumed("u", 0, 10)]);
    commit(&mut s);
    let add = s.expect::<AddOffsetsToTxnRequest>();
    assert_eq!(add.node, 2);
    s.world.coordinator = Some(1);
    s.respond(&add, AddOffsetsToTxnResponse::default().with_error_code(16));
    let add = s.expect::<AddOffsetsToTxnRequest>();
    assert_eq!(add.node, 1);
    s.respond(&add, AddOffsetsToTxnResponse::default());
    let asked = s.expect::<TxnOffsetCommitRequest>();
    answer(&mut s, &asked, |_| 0);
    let asked = s.expect::<EndTxnRequest>();
    assert!(asked.body.committed && asked.node == 1);
    end(&mut s, &asked, 0);
    assert_eq!(events(&mut s), ["offsets", "committed"]);
}

#[test]
fn refusals_that_pass_are_repeated() {
    // aiokafka#1004
    let (mut s, _) = ready(IMPLICIT);
    begin(&mut s);
    send(&mut s, &[consumed("u", 0, 10), consumed("u", 1, 11)]);
    for code in [14, 15, 16, 3, 13, 51, 7] {
        let asked = s.expect::<TxnOffsetCommitRequest>();
        answer(&mut s, &asked, |partition| if partition == 1 { code } else { 0 });
        assert_eq!(events(&mut s), [""; 0], "{code}");
    }
    let asked = s.expect::<TxnOffsetCommitRequest>();
    s.cut(asked.conn);
    let asked = s.expect::<TxnOffsetCommitRequest>();
    answer(&mut s, &asked, |_| 0);
    assert_eq!(events(&mut s), ["offsets"]);
}

#[test]
fn a_member_that_is_none_any_more_aborts() {
    for code in [22, 25, 82, 113, 30, 120, 12, 29, 69] {
        let (mut s, t) = ready(IMPLICIT);
        sent(&mut s, t);
        send(&mut s, &[consumed("u", 0, 10)]);
        let asked = s.expect::<TxnOffsetCommitRequest>();
        answer(&mut s, &asked, |_| code);
        assert_eq!(events(&mut s), [format!("failed: offsets {code}")]);
        commit(&mut s);
        let asked = s.expect::<EndTxnRequest>();
        assert!(!asked.body.committed, "{code}");
        end(&mut s, &asked, 0);
        assert_eq!(events(&mut s), [format!("not committed: offsets {code}")]);
    }
}

#[test]
fn a_member_is_not_sent_to_brokers_that_would_not_check_it() {
    let (mut s, _) = ready_in(world(0).release(Profile::V2_4));
    begin(&mut s);
    send(&mut s, &[consumed("u", 0, 10)]);
    let add = s.expect::<AddOffsetsToTxnRequest>();
    s.respond(&add, AddOffsetsToTxnResponse::default());
    let said = events(&mut s);
    assert!(said.len() == 1 && said[0].contains("NoCommonVersion"), "{said:?}");
    s.none::<TxnOffsetCommitRequest>("nobody would be fenced");
}

#[test]
fn calls_out_of_order_are_refused() {
    let (mut s, _) = ready(IMPLICIT);
    let now = s.now();
    let offsets = [consumed("u", 0, 10)];
    let none = Err(TransactionError::Caller(Misuse::NoTransaction));
    assert_eq!(s.client.send_offsets(now, &MEMBER, &offsets), none);
    begin(&mut s);
    send(&mut s, &offsets);
    let full = Err(TransactionError::Full);
    assert_eq!(s.client.send_offsets(now, &MEMBER, &offsets), full);
    let asked = s.expect::<TxnOffsetCommitRequest>();
    answer(&mut s, &asked, |_| 0);
    send(&mut s, &[consumed("u", 0, 20)]);
    let asked = s.expect::<TxnOffsetCommitRequest>();
    assert_eq!(asked.body.topics[0].partitions[0].committed_offset, 20);
    commit(&mut s);
    assert_eq!(s.client.send_offsets(now, &MEMBER, &offsets), none);
}

#[test]
fn more_offsets_than_there_is_memory_for_are_refused_for_good() {
    let (mut s, _) = ready(IMPLICIT);
    begin(&mut s);
    let many = vec![consumed("u", 0, 10); 10_000];
    let now = s.now();
    let refused = s.client.send_offsets(now, &MEMBER, &many);
    assert!(matches!(refused, Err(TransactionError::Limit(_))), "{refused:?}");
    let used = s.client.stats().blocks_used;
    commit(&mut s);
    assert_eq!(events(&mut s), ["committed"]);
    assert!(s.client.stats().blocks_used <= used);
}
