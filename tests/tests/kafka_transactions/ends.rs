//! Commits and aborts, of both protocols.

use kavka_std::kavka_core::{Error as Core, Misuse, TransactionError};
use kavka_std::{Consumed, ErrorKind, MemberId, Record};
use kavka_tests::kafka::Version;

use crate::{commit, committed, java, producer, send, site, sorted, values};

/// Commits, aborts, drops and commits again: what Kafka's consumer reads is what was committed.
fn ends(version: Version) {
    let Some(site) = site(version) else { return };
    let producer = producer(&site, &site.topic);
    let mut wanted = Vec::new();
    for round in 0..3 {
        let first = producer.transaction().expect("none is open");
        let name = format!("committed-{round}");
        send(&first, &site.topic, &values(&name, 100));
        wanted.extend(values(&name, 100));
        commit(first).expect("committed");
        let second = producer.transaction().expect("none is open");
        send(&second, &site.topic, &values("aborted", 100));
        producer.flush().wait().expect("all of it is written");
        second.abort().wait().expect("aborted");
        let third = producer.transaction().expect("none is open");
        send(&third, &site.topic, &values("dropped", 100));
        drop(third);
        commit(producer.transaction().expect("none is open")).expect("an empty one");
    }
    // The offsets of a group count with the transaction.
    let member = MemberId::outside(&site.topic);
    let offset = |offset| Consumed {
        topic: &site.topic,
        partition: 1,
        offset,
        leader_epoch: -1,
        metadata: "kavka",
    };
    let fourth = producer.transaction().expect("none is open");
    fourth.send_offsets(&member, &[offset(7)]).wait().expect("they are part of it");
    send(&fourth, &site.topic, &values("last", 10));
    wanted.extend(values("last", 10));
    commit(fourth).expect("committed");
    let fifth = producer.transaction().expect("none is open");
    fifth.send_offsets(&member, &[offset(8)]).wait().expect("they are part of it");
    fifth.abort().wait().expect("aborted");
    assert_eq!(committed(&site, &site.topic, wanted.len()), sorted(wanted));
    assert_eq!(
        java(&site, "GroupOffsets", &[&site.topic]),
        [format!("{}\t1\t7\tkavka", site.topic)]
    );
}

#[test]
fn transactions_of_version_two_end_as_they_say() {
    ends(Version::V4_4_0);
}

#[test]
fn transactions_on_3_9_end_as_they_say() {
    ends(Version::V3_9_2);
}

#[test]
fn transactions_on_2_8_end_as_they_say() {
    ends(Version::V2_8_2);
}

#[test]
fn transactions_on_2_4_end_as_they_say() {
    ends(Version::V2_4_1);
}

#[test]
fn records_outside_of_a_transaction_and_second_transactions_are_refused() {
    let Some(site) = site(Version::V4_4_0) else { return };
    let producer = producer(&site, &site.topic);
    let outside = producer.send(&site.topic, &Record::new(b"outside")).expect("there is space");
    let error = outside.wait().expect_err("no transaction is open");
    assert_eq!(error.kind(), ErrorKind::Kafka(Core::Caller(Misuse::NoTransaction)));
    let first = producer.transaction().expect("none is open");
    let second = producer.transaction().expect_err("one is open");
    let open = TransactionError::Caller(Misuse::InTransaction);
    assert_eq!(second.kind(), ErrorKind::Transaction(open));
    send(&first, &site.topic, &values("first", 1));
    commit(first).expect("committed");
    assert_eq!(committed(&site, &site.topic, 1), values("first", 1));
}
