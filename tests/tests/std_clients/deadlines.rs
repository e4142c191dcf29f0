//! Records with a delivery timeout of their own, wherever they wait when it is over.

use std::thread;
use std::time::{Duration, Instant};

use kavka_std::{Error, Pending, Producer, Record};

use super::{LONG, config, reported, server};

const SHORT: Duration = Duration::from_millis(400);
const VALUE: [u8; 500] = [7; 500];

/// Waits for the failure of a record, which must come soon after its time, and not before.
#[track_caller]
fn late<T: std::fmt::Debug>(began: Instant, pending: Pending<T>) -> Error {
    let error = reported(pending).expect_err("its time is over");
    let took = began.elapsed();
    assert!(took >= SHORT && took < LONG / 4, "{took:?}: {error}");
    error
}

/// In a batch that did not leave: the broker is dead.
#[test]
fn a_record_whose_leader_is_dead_fails_after_its_own_time() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    reported(producer.send("t", &Record::new(b"first")).unwrap()).unwrap();
    let address = server.bootstrap();
    server.kill(1).unwrap();
    let patient = producer.send("t", &Record::new(b"patient")).unwrap();
    let began = Instant::now();
    let error = late(began, producer.within(SHORT).send("t", &Record::new(b"short")).unwrap());
    assert!(!error.maybe_written(), "{error}");
    assert!(error.to_string().contains(&address), "the reason: {error}");
    server.restart(1).unwrap();
    reported(patient).unwrap();
    reported(producer.flush()).unwrap();
    let values = server.records("t", 0).into_iter().map(|record| record.value.unwrap());
    assert_eq!(values.collect::<Vec<_>>(), [&b"first"[..], b"patient"]);
}

/// In the queue, behind others that the full machine does not take.
#[test]
fn a_record_in_a_full_queue_fails_after_its_own_time_and_is_not_sent_later() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server).queue_bytes(1 << 20)).unwrap();
    reported(producer.freshness("t")).unwrap();
    server.pause(1);
    let mut sent = 0;
    loop {
        if reported(producer.metrics()).unwrap().queue_bytes > 2000 {
            thread::sleep(Duration::from_millis(20));
            if reported(producer.metrics()).unwrap().queue_bytes > 2000 {
                break;
            }
        }
        for _ in 0..20 {
            producer.try_send("t", &Record::new(&VALUE)).map(drop).unwrap();
            sent += 1;
        }
    }
    let began = Instant::now();
    let within = producer.within(SHORT);
    let first = within.try_send("t", &Record::new(b"short")).unwrap();
    let other = producer.try_send("t", &Record::new(&VALUE)).unwrap();
    let dropped = within.try_send_to("t", 0, &Record::new(b"short")).unwrap();
    drop(dropped); // its failure is the flush's
    let error = late(began, first);
    assert!(!error.maybe_written(), "{error}");
    server.resume(1);
    reported(other).unwrap();
    let error = reported(producer.flush()).expect_err("one that was not waited for");
    assert!(error.to_string().contains("produce to t"), "{error}");
    let metrics = reported(producer.metrics()).unwrap();
    assert_eq!((metrics.topics["t"].failed, metrics.queue_bytes), (2, 0));
    assert_eq!(server.log_len("t", 0), sent + 1, "neither of them was sent");
    reported(producer.flush()).expect("reported once");
}

/// Parked: its topic does not exist.
#[test]
fn a_record_for_a_topic_that_is_not_known_fails_after_its_own_time() {
    let server = server(1);
    let producer = Producer::new(config(&server).topic_timeout(LONG)).unwrap();
    let patient = producer.send("t", &Record::new(b"patient")).unwrap();
    let began = Instant::now();
    let short = producer.within(SHORT).send("t", &Record::new(b"short")).unwrap();
    late(began, short);
    server.create_topic("t", 1).unwrap();
    reported(patient).unwrap();
    assert_eq!(server.log_len("t", 0), 1);
    let short = producer.within(LONG).send("t", &Record::new(b"short")).unwrap();
    reported(short).unwrap();
}

/// What was reported is not lost once more.
#[test]
fn records_whose_time_was_over_are_not_counted_as_lost_unsent() {
    let server = server(1);
    let producer = Producer::new(config(&server).topic_timeout(LONG)).unwrap();
    let patient = producer.send("t", &Record::new(b"patient")).unwrap();
    let began = Instant::now();
    late(began, producer.within(SHORT).send("t", &Record::new(b"short")).unwrap());
    let lost = reported(producer.close(Duration::ZERO)).unwrap();
    assert_eq!((lost.unsent, lost.failed), (1, 0), "{lost:?}");
    reported(patient).unwrap_err();
}
