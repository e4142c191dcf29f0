//! Sending: outcomes, space, lost records.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use kavka_std::kavka_core::Error as Core;
use kavka_std::kavka_core::wire::ErrorCode;
use kavka_std::{Acks, Config, ErrorKind, Header, ProduceError, Producer, Record};
use kavka_tests::sim::{Options, Server};

use super::asynchronous::block_on_example::block_on;
use super::{LONG, MISSING, config, reported, server};

#[test]
fn records_arrive_whole_and_report_where() {
    let server = server(1);
    server.create_topic("t", 3).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    let headers = [Header { name: "h", value: Some(b"1") }, Header { name: "n", value: None }];
    let record = Record::new(b"value").key(b"key").headers(&headers).timestamp(1_700_000_000_000);
    let at = reported(producer.send_to("t", 2, &record).unwrap()).unwrap();
    assert_eq!((at.partition, at.offset), (2, Some(0)));
    let at = reported(producer.send_to("t", 2, &Record::tombstone().key(b"key")).unwrap()).unwrap();
    assert_eq!((at.partition, at.offset), (2, Some(1)));
    let log = server.records("t", 2);
    assert_eq!(log.len(), 2);
    assert_eq!(log[0].key.as_deref(), Some(&b"key"[..]));
    assert_eq!(log[0].value.as_deref(), Some(&b"value"[..]));
    assert_eq!(log[0].timestamp, 1_700_000_000_000);
    assert_eq!(log[0].headers.len(), 2);
    assert_eq!(log[1].value, None);
    assert!(log[1].timestamp > 1_700_000_000_000, "the time of day when none is given");
}

/// A compacted topic: records without a key are refused, each with the broker's words; the others
/// of their batch are sent again, unless the caller wants to do that.
#[test]
fn one_bad_record_does_not_fail_its_batch() {
    for resends in [true, false] {
        let options = Options { brokers: 1, needs_keys: true, ..Options::default() };
        let server = Server::start(options).unwrap();
        server.create_topic("t", 1).unwrap();
        let config = config(&server).linger(Duration::from_millis(200)).linger_when_idle(true);
        let producer = Producer::new(config.resend_unblamed(resends)).unwrap();
        let send = |n: u32| {
            let value = n.to_string();
            let record = Record::new(value.as_bytes());
            let record = if n == 3 || n == 7 { record } else { record.key(b"k") };
            producer.send("t", &record).unwrap()
        };
        let all: Vec<_> = (0..10).map(send).collect();
        let results: Vec<_> = all.into_iter().map(reported).collect();
        for (n, result) in results.iter().enumerate() {
            if n == 3 || n == 7 {
                let error = result.as_ref().unwrap_err();
                assert_eq!(error.code().map(|code| code.0), Some(87), "{n}: {error}");
                let said = "Compacted topic cannot accept message without key";
                assert_eq!(error.said(), Some(said), "{n}");
                assert!(error.to_string().contains(said), "{n}: {error}");
            } else if resends {
                let offset = n - usize::from(n > 3) - usize::from(n > 7);
                assert_eq!(result.as_ref().unwrap().offset, Some(offset as i64), "{n}");
            } else {
                let error = result.as_ref().unwrap_err();
                let refused = Core::BatchRefused(ErrorCode(87));
                assert_eq!(error.kind(), ErrorKind::Kafka(refused), "{n}");
                assert_eq!(error.said(), Some("One or more records have been rejected"), "{n}");
            }
        }
        let values = server.records("t", 0).into_iter().map(|record| record.value.unwrap());
        let written = if resends { "01245689" } else { "" };
        assert_eq!(values.flat_map(Vec::from).collect::<Vec<u8>>(), written.as_bytes());
    }
}

#[test]
fn threads_share_a_producer_and_each_keeps_its_order() {
    const EACH: usize = 3000;
    let server = server(3);
    server.create_topic("t", 4).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let producer = &producer;
            scope.spawn(move || {
                let send = |n: usize| {
                    let value = format!("{name}{n}");
                    producer.send("t", &Record::new(value.as_bytes()).key(name.as_bytes())).unwrap()
                };
                let all: Vec<_> = (0..EACH).map(send).collect();
                let mut last = (None, -1);
                for (n, pending) in all.into_iter().enumerate() {
                    let at = reported(pending).unwrap();
                    let offset = at.offset.unwrap();
                    assert!(offset > last.1, "{name}{n} at {offset} after {last:?}");
                    assert_eq!(at.partition, last.0.unwrap_or(at.partition), "{name}{n}");
                    last = (Some(at.partition), offset);
                }
            });
        }
    });
    reported(producer.flush()).unwrap();
    let all: i64 = (0..4).map(|partition| server.log_len("t", partition)).sum();
    assert_eq!(all, 4 * EACH as i64);
}

/// Far more names than there are entries: one after another, and all at once.
#[test]
fn more_topics_than_there_is_room_for_take_turns() {
    const NAMES: usize = 300;
    let server = server(1);
    for n in 0..NAMES {
        server.create_topic(&format!("t{n}"), 2).unwrap();
    }
    let mut limits = kavka_std::Limits::small();
    limits.topics = 4;
    let producer = Producer::new(config(&server).limits(limits)).unwrap();
    let send = |n: usize| producer.send_to(&format!("t{n}"), 1, &Record::new(b"v")).unwrap();
    for n in 0..40 {
        reported(send(n)).unwrap();
        assert_eq!(reported(send(0)).unwrap().partition, 1, "what is in use stays");
    }
    for pending in (0..NAMES).map(send).collect::<Vec<_>>() {
        reported(pending).unwrap();
    }
    reported(producer.flush()).unwrap();
    for n in 0..NAMES {
        let sent = 1 + i64::from(n < 40) + if n == 0 { 40 } else { 0 };
        assert_eq!(server.log_len(&format!("t{n}"), 1), sent, "topic {n}");
    }
}

#[test]
fn a_topic_that_is_not_there_fails_alone_and_flush_reports() {
    let server = server(1);
    server.create_topic("there", 1).unwrap();
    let config = config(&server).topic_timeout(MISSING);
    let producer = Producer::new(config).unwrap();
    producer.send("missing", &Record::new(b"unheard")).unwrap();
    let lost = producer.send("missing", &Record::new(b"heard")).unwrap();
    let good = producer.send("there", &Record::new(b"1")).unwrap();
    assert_eq!(reported(good).unwrap().offset, Some(0), "the topic behind it does not wait");
    let error = reported(lost).unwrap_err();
    assert_eq!(error.code().map(|code| code.0), Some(3), "{error}");
    assert!(!error.maybe_written());
    let text = error.to_string();
    assert!(text.contains("missing") && text.contains("create the topic"), "{text}");
    let error = reported(producer.flush()).unwrap_err();
    assert_eq!(error.code().map(|code| code.0), Some(3), "{error}");
    reported(producer.flush()).expect("it was told");
    // It is created at last.
    server.create_topic("missing", 1).unwrap();
    reported(producer.freshness("missing")).unwrap();
    reported(producer.send("missing", &Record::new(b"2")).unwrap()).unwrap();
}

#[test]
fn records_of_a_topic_that_is_not_there_hold_up_no_others() {
    const RECORDS: u32 = 30_000;
    let server = server(1);
    server.create_topic("there", 1).unwrap();
    // Far fewer bytes than the chunks that hold a missing record.
    let config = config(&server).topic_timeout(LONG).queue_bytes(128 << 10).chunk_bytes(4 << 10);
    let producer = Producer::new(config).unwrap();
    let begun = Instant::now();
    let (mut last, mut missing) = (None, 0);
    for n in 0..RECORDS {
        let is_missing = n % 200 == 199;
        let topic = if is_missing { "missing" } else { "there" };
        let pending = producer.send(topic, &Record::new(&[7; 50])).unwrap();
        missing += u64::from(is_missing);
        last = if is_missing { last } else { Some(pending) };
    }
    let at = reported(last.unwrap()).unwrap();
    assert_eq!(at.offset, Some(i64::from(RECORDS) - missing as i64 - 1));
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
    let lost = producer.close(Duration::ZERO).wait().unwrap();
    assert_eq!((lost.unsent, lost.records()), (missing, missing), "{lost}");
}

#[test]
fn every_parked_record_fails_with_the_reason_of_its_topic() {
    let server = server(1);
    server.create_topic("there", 1).unwrap();
    let producer = Producer::new(config(&server).topic_timeout(MISSING)).unwrap();
    let send = |n: u32| {
        let topic = ["there", "missing", "absent"][n as usize % 3];
        (topic, producer.send(topic, &Record::new(&[7; 1000])).unwrap())
    };
    let all: Vec<_> = (0..600).map(send).collect();
    for (topic, pending) in all {
        match reported(pending) {
            Ok(_) => assert_eq!(topic, "there"),
            Err(error) => {
                assert_eq!(error.code().map(|code| code.0), Some(3), "{error}");
                assert!(error.to_string().contains(topic), "{topic}: {error}");
            }
        }
    }
    assert_eq!(server.log_len("there", 0), 200);
}

#[test]
fn a_topic_with_too_much_parked_is_full_alone_and_its_records_arrive_when_it_comes() {
    let server = server(1);
    server.create_topic("there", 1).unwrap();
    let config = config(&server).topic_timeout(LONG).queue_bytes(64 << 10).chunk_bytes(4 << 10);
    let producer = Producer::new(config).unwrap();
    reported(producer.send("there", &Record::new(b"0")).unwrap()).unwrap();
    let (mut parked, until) = (0_u32, Instant::now() + LONG);
    loop {
        let value = parked.to_string();
        match producer.try_send("late", &Record::new(value.as_bytes())).map(drop) {
            Ok(()) => parked += 1,
            Err(ProduceError::TopicFull) => break,
            Err(ProduceError::Full) => reported(producer.room()).unwrap(),
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < until, "{parked} records are parked");
    }
    let waiting = producer.room_for("late").wait_timeout(Duration::from_millis(50)).unwrap_err();
    reported(producer.room()).expect("others have room");
    reported(producer.try_send("there", &Record::new(b"1")).unwrap()).unwrap();
    server.create_topic("late", 1).unwrap();
    reported(waiting).unwrap();
    reported(producer.send("late", &Record::new(b"last")).unwrap()).unwrap();
    let log = server.records("late", 0);
    let values: Vec<_> =
        log.iter().map(|record| String::from_utf8_lossy(record.value.as_ref().unwrap())).collect();
    let want: Vec<_> = (0..parked).map(|n| n.to_string()).chain(["last".to_owned()]).collect();
    assert_eq!(values, want);
}

#[test]
fn a_record_that_is_too_large_fails_alone() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    let large = producer.send("t", &Record::new(&[7; 2_000_000])).unwrap();
    let small = producer.send("t", &Record::new(&[7; 200])).unwrap();
    let error = reported(large).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::RecordTooLarge { max: 1..2_000_000 }), "{error}");
    assert_eq!(reported(small).unwrap().offset, Some(0));
}

#[test]
fn without_room_try_send_says_full_and_room_comes() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server).queue_bytes(2000).chunk_bytes(500)).unwrap();
    reported(producer.freshness("t")).unwrap();
    server.pause(1);
    let record = Record::new(&[7; 500]);
    let mut taken = 0;
    loop {
        match producer.try_send("t", &record).map(drop) {
            Ok(()) => taken += 1,
            Err(ProduceError::Full) => {
                // Full for the moment, or because the machine sends nothing any more?
                if producer.room().wait_timeout(Duration::from_millis(300)).is_err() {
                    break;
                }
            }
            Err(error) => panic!("{error}"),
        }
        // The machine has 256 KiB for records, the queue 2 kB.
        assert!(taken < 600, "it never says Full");
    }
    server.resume(1);
    reported(producer.room()).unwrap();
    reported(producer.send("t", &record).unwrap()).unwrap();
    reported(producer.flush()).unwrap();
    assert_eq!(server.log_len("t", 0), taken + 1);
}

#[test]
fn closing_says_what_was_lost() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    reported(producer.send("t", &Record::new(b"kept")).unwrap()).unwrap();
    server.pause(1);
    let waiting = producer.send("t", &Record::new(b"a")).unwrap();
    producer.send("t", &Record::new(b"b")).unwrap();
    let lost = producer.close(Duration::from_millis(100)).wait().unwrap();
    assert_eq!(lost.records(), 2, "{lost}");
    assert_eq!(reported(waiting).unwrap_err().kind(), ErrorKind::Closed);
    server.resume(1);
}

/// As after a signal: what was to be waited for long ends soon.
#[test]
fn closing_again_shortens_the_time() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    reported(producer.send("t", &Record::new(b"kept")).unwrap()).unwrap();
    server.pause(1);
    producer.send("t", &Record::new(b"a")).unwrap();
    let closing = producer.close(LONG * 10);
    for bound in [LONG * 20, Duration::from_millis(100)] {
        assert_eq!(reported(producer.close(bound)).unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(closing.wait().unwrap().records(), 1);
    assert_eq!(reported(producer.close(LONG)).unwrap_err().kind(), ErrorKind::Closed);
    server.resume(1);
}

/// Lingering is only worthwhile while something is in flight.
#[test]
fn a_send_that_is_awaited_does_not_linger() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let config = Config::new(server.bootstrap()).linger(Duration::from_secs(2));
    let producer = Producer::new(config).unwrap();
    producer.send("t", &Record::new(b"first")).unwrap().wait().unwrap();
    let start = Instant::now();
    for _ in 0..20 {
        producer.send("t", &Record::new(b"one by one")).unwrap().wait().unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn dropping_delivers_first_and_reports_the_rest() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let report = seen.clone();
    let config = config(&server)
        .linger(Duration::from_secs(30))
        .linger_when_idle(true)
        .close_timeout(Duration::from_millis(300))
        .on_lost(move |lost| report.lock().unwrap().push(lost.records()));
    let producer = Producer::new(config.clone().close_timeout(LONG)).unwrap();
    producer.send("t", &Record::new(b"1")).unwrap();
    drop(producer);
    assert_eq!(server.log_len("t", 0), 1, "without lingering");
    assert!(seen.lock().unwrap().is_empty());
    server.kill(1).unwrap();
    let producer = Producer::new(config).unwrap();
    producer.send("t", &Record::new(b"2")).unwrap();
    drop(producer);
    assert_eq!(*seen.lock().unwrap(), [1]);
}

#[test]
fn a_failure_that_no_caller_waited_for_is_reported_by_close() {
    let server = server(1);
    let config = config(&server).topic_timeout(MISSING);
    let producer = Producer::new(config).unwrap();
    producer.send("missing", &Record::new(b"1")).unwrap();
    let lost = producer.close(LONG).wait().unwrap();
    assert_eq!((lost.records(), lost.failed), (1, 1), "{lost}");
    let code = lost.first.as_ref().and_then(|error| error.code());
    assert_eq!(code.map(|code| code.0), Some(3), "{lost}");
}

#[test]
fn acks_0_and_1_are_reported_too() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    for (acks, offset) in [(Acks::Leader, Some(0)), (Acks::None, None)] {
        let producer = Producer::new(config(&server).acks(acks)).unwrap();
        let at = reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap();
        assert_eq!(at.offset, offset, "{acks:?}");
        drop(producer);
    }
}

#[test]
fn every_record_is_acknowledged_once_over_lost_responses_and_moved_leaders() {
    let server = server(3);
    server.create_topic("t", 2).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    let mut all = Vec::new();
    for n in 0..2000 {
        if n % 400 == 100 {
            for broker in 1..=3 {
                server.drop_response(broker, kavka_tests::sim::ApiKey::Produce);
            }
        }
        if n % 400 == 300 {
            for partition in 0..2 {
                let (leader, _) = server.leader("t", partition).unwrap();
                server.move_leader("t", partition, leader % 3 + 1).unwrap();
            }
        }
        let value = format!("{n}");
        all.push(producer.send_to("t", n % 2, &Record::new(value.as_bytes())).unwrap());
        if n % 50 == 0 {
            reported(producer.flush()).unwrap();
        }
    }
    for (n, pending) in all.into_iter().enumerate() {
        let at = reported(pending).unwrap_or_else(|error| panic!("record {n}: {error}"));
        assert_eq!(at.partition, n as u32 % 2, "record {n}");
    }
    for partition in 0..2_u32 {
        let log = server.records("t", partition);
        let values: Vec<_> = log
            .iter()
            .map(|record| String::from_utf8_lossy(record.value.as_ref().unwrap()))
            .collect();
        let want: Vec<_> =
            (0..2000_u32).filter(|n| n % 2 == partition).map(|n| n.to_string()).collect();
        assert_eq!(values, want, "partition {partition}");
    }
}

#[test]
fn growth_is_reported_and_used() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    let events = producer.events();
    assert_eq!(reported(producer.freshness("t")).unwrap().partitions, 1);
    server.grow("t", 3).unwrap();
    loop {
        let event = reported(events.next()).unwrap();
        if let kavka_std::Event::PartitionsAdded { topic, from, to, .. } = event {
            assert_eq!((&*topic, from, to), ("t", 1, 3));
            break;
        }
    }
    assert_eq!(reported(producer.freshness("t")).unwrap().partitions, 3);
    reported(producer.send_to("t", 2, &Record::new(b"v")).unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_futures_under_tokio() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Arc::new(Producer::new(config(&server)).unwrap());
    let mut tasks = Vec::new();
    for n in 0..50 {
        let producer = producer.clone();
        tasks.push(tokio::spawn(async move {
            producer.room().await.unwrap();
            let value = format!("{n}");
            let pending = producer.try_send("t", &Record::new(value.as_bytes())).unwrap();
            pending.await.unwrap().offset.unwrap()
        }));
    }
    let mut offsets = Vec::new();
    for task in tasks {
        offsets.push(tokio::time::timeout(LONG, task).await.unwrap().unwrap());
    }
    offsets.sort_unstable();
    assert_eq!(offsets, (0..50).collect::<Vec<i64>>());
    producer.flush().await.unwrap();
}

#[test]
fn results_are_futures_under_an_executor_of_ten_lines() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    let first = producer.send("t", &Record::new(b"1")).unwrap();
    let second = producer.send("t", &Record::new(b"2")).unwrap();
    let both = block_on(async { (second.await, first.await) });
    assert_eq!(both.0.unwrap().offset, Some(1));
    assert_eq!(both.1.unwrap().offset, Some(0));
}

#[test]
fn a_configuration_that_cannot_work_is_refused_at_once() {
    for bad in ["", "host:", "host:0", "host:x"] {
        let error = Producer::new(Config::new(bad)).unwrap_err();
        assert!(error.to_string().contains("host:port"), "{bad:?}: {error}");
    }
}

#[test]
fn a_partition_that_the_topic_does_not_have_fails_soon_and_one_that_comes_is_waited_for() {
    let server = server(1);
    server.create_topic("t", 6).unwrap();
    let producer = Producer::new(config(&server).topic_timeout(2 * LONG)).unwrap();
    assert_eq!(reported(producer.freshness("t")).unwrap().partitions, 6);
    let comes = producer.send_to("t", 6, &Record::new(b"early")).unwrap();
    server.grow("t", 7).unwrap();
    assert_eq!(reported(comes).unwrap().partition, 6);
    let begun = Instant::now();
    let missing = producer.send_to("t", 77, &Record::new(b"lost")).unwrap();
    let behind = producer.send_to("t", 0, &Record::new(b"kept")).unwrap();
    let error = reported(missing).unwrap_err();
    assert!(begun.elapsed() < LONG / 4, "{:?}", begun.elapsed());
    assert_eq!(error.code().map(|code| code.0), Some(3), "{error}");
    let text = error.to_string();
    assert!(text.contains("partition 77 (it has 7)"), "{text}");
    reported(behind).unwrap();
}

/// 16 KiB suit a device: with records of 10 kB every request has one batch of one record.
#[test]
fn batches_of_a_server_are_large_and_those_of_small_memory_are_not() {
    let bytes = |config: Config| {
        let seen = Arc::new(Mutex::new(0));
        let see = seen.clone();
        let config = config.tune(move |core| *see.lock().unwrap() = core.batch_bytes);
        drop(Producer::new(config).unwrap());
        *seen.lock().unwrap()
    };
    let server = server(1);
    assert_eq!(bytes(Config::new(server.bootstrap())), 256 << 10);
    assert_eq!(bytes(config(&server)), 16 << 10, "Limits::small has 256 KiB to send");
    assert_eq!(bytes(config(&server).batch_bytes(1000)), 1000);
}
