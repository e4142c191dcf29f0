//! Coordinators that die, producers that are fenced off, transactions that are open for too long.

use std::time::Duration;

use kavka_std::kavka_core::TransactionError;
use kavka_std::{ErrorKind, Producer, Record};
use kavka_tests::kafka::Version;

use crate::{commit, committed, config, producer, send, site, sorted, three, values};

const TOPIC: &str = "readings";

/// A second producer with the id fences the first one off, and what that had open is aborted.
fn fenced(version: Version) {
    let Some(site) = site(version) else { return };
    let older = producer(&site, &site.topic);
    let open = older.transaction().expect("none is open");
    send(&open, &site.topic, &values("older", 10));
    older.flush().wait().expect("written");
    let newer = producer(&site, &site.topic);
    let other = newer.transaction().expect("none is open");
    send(&other, &site.topic, &values("newer", 10));
    commit(other).expect("it is the newer one's id");
    send(&open, &site.topic, &values("late", 10));
    let error = commit(open).expect_err("it is fenced off");
    assert!(matches!(error.kind(), ErrorKind::Transaction(_)), "{error}");
    assert!(!error.maybe_written(), "{error}");
    // It ends, and does not fence the newer one off.
    let again = older.transaction().expect("none is open");
    send(&again, &site.topic, &values("again", 1));
    let error = commit(again).expect_err("for good");
    assert_eq!(error.kind(), ErrorKind::Transaction(TransactionError::Fenced), "{error}");
    let other = newer.transaction().expect("none is open");
    send(&other, &site.topic, &values("newer-still", 10));
    commit(other).expect("no other producer fenced it off");
    let wanted = [values("newer", 10), values("newer-still", 10)].concat();
    assert_eq!(committed(&site, &site.topic, wanted.len()), sorted(wanted));
}

#[test]
fn the_older_of_two_producers_ends() {
    fenced(Version::V4_4_0);
}

#[test]
fn the_older_of_two_producers_ends_on_2_8() {
    fenced(Version::V2_8_2);
}

#[test]
fn what_is_open_for_too_long_is_not_committed_and_the_producer_goes_on() {
    let Some(site) = site(Version::V4_4_0) else { return };
    let config = config(&site, &site.topic).transaction_timeout(Duration::from_secs(2));
    let producer = Producer::new(config).expect("a producer");
    let open = producer.transaction().expect("none is open");
    send(&open, &site.topic, &values("slow", 10));
    producer.flush().wait().expect("written");
    // The coordinator's clock decides.
    std::thread::sleep(Duration::from_secs(5));
    let error = commit(open).expect_err("its time is over");
    assert!(!error.maybe_written(), "{error}");
    let next = producer.transaction().expect("none is open");
    send(&next, &site.topic, &values("next", 10));
    commit(next).expect("the same producer");
    assert_eq!(committed(&site, &site.topic, 10), sorted(values("next", 10)));
}

/// Brokers are killed in turn while transactions are committed and aborted.
fn killed(version: Version) {
    let Some(cluster) = three(version, TOPIC) else { return };
    let producer = producer(&cluster, TOPIC);
    let (mut wanted, mut unknown) = (Vec::new(), 0);
    for round in 0..12_usize {
        let node = round / 4 + 1;
        if round % 4 == 1 {
            cluster.kill(node).expect("killed");
        }
        if round % 4 == 3 {
            cluster.restart(node).expect("restarted");
            cluster.await_in_sync(TOPIC).expect("in sync");
        }
        let name = format!("round-{round}");
        let transaction = producer.transaction().expect("none is open");
        send(&transaction, TOPIC, &values(&name, 50));
        if round % 3 == 2 {
            transaction.abort().wait().expect("aborted");
            continue;
        }
        match commit(transaction) {
            Ok(()) => wanted.extend(values(&name, 50)),
            Err(error) => {
                unknown += u32::from(error.maybe_written());
                assert!(round % 4 != 0, "nothing was wrong: {error}");
            }
        }
    }
    assert_eq!(unknown, 0, "a repeated EndTxn has the end");
    assert!(wanted.len() >= 300, "{}", wanted.len());
    assert_eq!(committed(&cluster, TOPIC, wanted.len()), sorted(wanted));
}

#[test]
fn coordinators_and_leaders_that_die_lose_and_repeat_nothing() {
    killed(Version::V4_4_0);
}

#[test]
fn coordinators_and_leaders_that_die_lose_and_repeat_nothing_on_3_9() {
    killed(Version::V3_9_2);
}

#[test]
fn a_producer_that_goes_leaves_nothing_open() {
    let Some(site) = site(Version::V4_4_0) else { return };
    let gone = producer(&site, &site.topic);
    let open = gone.transaction().expect("none is open");
    drop(open.send(&site.topic, &Record::new(b"gone")).expect("there is space"));
    drop(open);
    drop(gone);
    let other = Producer::new(config(&site, &format!("{}-other", site.topic))).expect("a producer");
    let transaction = other.transaction().expect("none is open");
    send(&transaction, &site.topic, &values("other", 5));
    commit(transaction).expect("committed");
    // Nothing holds the last stable offset back.
    let began = std::time::Instant::now();
    assert_eq!(committed(&site, &site.topic, 5), values("other", 5));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}
