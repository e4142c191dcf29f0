//! Reading: positions, pauses, growth, back-pressure.

use std::time::{Duration, Instant};

use kavka_std::{Config, Consumer, ErrorKind, Event, Limits, Producer, Record, Start};
use kavka_tests::script::fetch::Batch;
use kavka_tests::sim::{ApiKey, Options, Server};

use super::{LONG, MISSING, Read, assert_gapless, config, read, reported, server};

fn fill(server: &Server, topic: &str, partition: u32, values: core::ops::Range<u32>) {
    let producer = Producer::new(config(server)).unwrap();
    for n in values {
        let value = format!("{n}");
        producer.send_to(topic, partition, &Record::new(value.as_bytes())).unwrap();
    }
    reported(producer.flush()).unwrap();
}

/// Waits for one more Fetch request: the machine has then processed the previous response.
fn one_more_fetch(server: &Server) {
    let seen = server.traffic(ApiKey::Fetch).requests;
    let until = Instant::now() + LONG;
    while server.traffic(ApiKey::Fetch).requests == seen {
        assert!(Instant::now() < until, "no Fetch request");
        std::thread::yield_now();
    }
}

/// A command wakes the background thread, which otherwise sleeps until its next deadline.
#[test]
fn commands_do_not_wait_for_anything_else() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let consumer = Consumer::assign_all(config(&server), &["t"]).unwrap();
    one_more_fetch(&server);
    let began = Instant::now();
    for _ in 0..300 {
        consumer.pause("t", 0).wait().unwrap();
        consumer.resume("t", 0).wait().unwrap();
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "600 commands took {took:?}");
}

#[test]
fn all_partitions_are_read_once_and_in_order() {
    let server = server(3);
    server.create_topic("t", 4).unwrap();
    for partition in 0..4 {
        fill(&server, "t", partition, 0..500);
    }
    let consumer = Consumer::assign_all(config(&server).start(Start::Earliest), &["t"]).unwrap();
    let mut got = Read::new();
    read(&consumer, &mut got, 2000);
    assert_gapless(&got);
    for partition in 0..4 {
        assert_eq!(got[&partition].len(), 500, "partition {partition}");
        assert_eq!(consumer.position("t", partition), Some(500), "partition {partition}");
    }
    let nothing = consumer.next_timeout(Duration::from_millis(50)).unwrap();
    assert!(nothing.is_none(), "and nothing twice");
    fill(&server, "t", 1, 0..1);
    read(&consumer, &mut got, 2001);
    assert_gapless(&got);
}

/// A topic whose `max.message.bytes` was raised: the default is far below.
#[test]
fn batches_that_are_larger_than_the_receive_buffer_are_read() {
    let options = Options { brokers: 1, max_message_bytes: 16 << 20, ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("t", 2).unwrap();
    let large = vec![b'x'; 5 << 20];
    let larger = vec![b'y'; 9 << 20];
    let write = |partition, value: &[u8]| {
        let config = Config::new(server.bootstrap()).tune(|core| core.request_bytes = 16 << 20);
        let producer = Producer::new(config).unwrap();
        let sent = producer.send_to("t", partition, &Record::new(value)).unwrap();
        reported(sent).unwrap();
    };
    for value in [b"before".as_slice(), &large, b"between", &larger, b"after"] {
        write(0, value);
    }
    write(1, b"beside");
    let limits = Limits::server();
    assert!(limits.rx_bytes < large.len());
    let config = Config::new(server.bootstrap()).limits(limits).start(Start::Earliest);
    let consumer = Consumer::assign_all(config, &["t"]).unwrap();
    let mut got = Read::new();
    read(&consumer, &mut got, 6);
    assert_gapless(&got);
    let lengths: Vec<_> = got[&0].iter().map(|(_, value)| value.len()).collect();
    assert_eq!(lengths, [6, large.len(), 7, larger.len(), 5]);
    assert_eq!(consumer.position("t", 0), Some(5));
    let nothing = consumer.next_timeout(Duration::from_millis(50)).unwrap();
    assert!(nothing.is_none(), "and nothing twice");
    // Beyond the limit its partition waits there, and the error has the number and the option.
    let config = Config::new(server.bootstrap()).max_batch_bytes(8 << 20).start(Start::Earliest);
    let consumer = Consumer::assign_all(config, &["t"]).unwrap();
    let (mut count, until) = (0, Instant::now() + LONG);
    let error = loop {
        assert!(Instant::now() < until, "no error");
        match consumer.next_timeout(LONG) {
            Ok(chunk) => count += chunk.map_or(0, |chunk| chunk.records().count()),
            Err(error) => break error,
        }
    };
    let ErrorKind::BatchTooLarge { offset, next_offset, needed } = error.kind() else {
        panic!("{error}");
    };
    assert_eq!((offset, next_offset), (3, 4));
    assert!(needed > larger.len() && needed < larger.len() + 1000, "{needed}");
    let text = error.to_string();
    assert!(text.contains(&needed.to_string()) && text.contains("max_batch_bytes"), "{text}");
    reported(consumer.seek("t", 0, Start::Offset(4))).unwrap();
    let mut rest = Read::new();
    read(&consumer, &mut rest, 5 - count);
    assert_eq!(rest[&0].last(), Some(&(4, "after".to_owned())));
}

/// A program that restores its state reads up to the current end, and has to be notified of it.
#[test]
fn where_reading_begins_and_ends_is_reported() {
    let server = server(1);
    server.create_topic("t", 2).unwrap();
    fill(&server, "t", 0, 0..10);
    let consumer = Consumer::assign_all(config(&server).start(Start::Earliest), &["t"]).unwrap();
    let events = consumer.events();
    let (mut begins, mut ends) = (Vec::new(), Vec::new());
    let until = Instant::now() + LONG;
    while ends.len() < 2 {
        assert!(Instant::now() < until, "begins {begins:?}, ends {ends:?}");
        drop(consumer.next_timeout(Duration::from_millis(10)).unwrap());
        while let Some(event) = events.try_next() {
            match event {
                Event::Positioned { partition, offset, .. } => begins.push((partition, offset)),
                Event::EndOfPartition { partition, offset, .. } => {
                    assert_eq!(consumer.position("t", partition), Some(offset));
                    ends.push((partition, offset));
                }
                _ => {}
            }
        }
    }
    begins.sort_unstable();
    ends.sort_unstable();
    assert_eq!((begins, ends), (vec![(0, 0), (1, 0)], vec![(0, 10), (1, 0)]));
}

/// A commit marker, an empty batch and the end of a compacted one hold no records: a program that
/// reads up to the end has to learn that it is there.
#[test]
fn the_position_moves_over_what_holds_no_records() {
    let marker = Batch { attributes: 0x30, ..Batch::new(3, &["commit"]) };
    let empty = Batch { last_delta: 1, ..Batch::new(3, &[]) };
    let compacted = Batch { last_delta: 5, ..Batch::new(3, &["3"]) };
    let tails = [("marker", marker, 4), ("empty", empty, 5), ("compacted", compacted, 9)];
    for (what, tail, end) in tails {
        let server = server(1);
        server.create_topic("t", 1).unwrap();
        fill(&server, "t", 0, 0..3);
        server.with(|cluster| cluster.append_batch("t", 0, &tail.bytes())).unwrap();
        let config = config(&server).start(Start::Earliest);
        let consumer = Consumer::assign_all(config, &["t"]).unwrap();
        let events = consumer.events();
        let (mut values, until) = (Vec::new(), Instant::now() + LONG);
        let reported = loop {
            assert!(Instant::now() < until, "{what}: no end; {:?}", consumer.position("t", 0));
            if let Some(chunk) = consumer.next_timeout(Duration::from_millis(10)).unwrap() {
                values.extend(chunk.records().map(|record| record.unwrap().offset));
            }
            let end = |event| match event {
                Event::EndOfPartition { offset, .. } => Some(offset),
                _ => None,
            };
            if let Some(offset) = std::iter::from_fn(|| events.try_next()).find_map(end) {
                break offset;
            }
        };
        assert_eq!((reported, consumer.position("t", 0)), (end, Some(end)), "{what}");
        let count = 3 + i64::from(what == "compacted");
        assert_eq!(values, (0..count).collect::<Vec<_>>(), "{what}");
        // What comes then is read, and reported as the end.
        fill(&server, "t", 0, 100..101);
        let chunk = consumer.next_timeout(LONG).unwrap().expect("a record");
        assert_eq!(chunk.records().next().unwrap().unwrap().offset, end, "{what}");
    }
}

#[test]
fn latest_reads_what_comes_and_added_partitions_from_their_first_record() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    fill(&server, "t", 0, 0..10);
    let consumer = Consumer::assign_all(config(&server).start(Start::Latest), &["t"]).unwrap();
    let events = consumer.events();
    let partition_of = |event| match event {
        Event::Assigned { partition, .. } => Some(partition),
        _ => None,
    };
    while partition_of(reported(events.next()).unwrap()) != Some(0) {}
    server.grow("t", 3).unwrap();
    // Before the consumer can know of them.
    fill(&server, "t", 1, 0..5);
    fill(&server, "t", 2, 0..5);
    let mut got = Read::new();
    read(&consumer, &mut got, 10);
    assert_gapless(&got);
    assert!(!got.contains_key(&0), "old records of the old partition");
}

#[test]
fn a_seek_drops_what_was_fetched_and_continues_there() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    fill(&server, "t", 0, 0..100);
    let list = [("t", 0, Start::Offset(40))];
    let consumer = Consumer::assign(config(&server), &list).unwrap();
    let mut got = Read::new();
    read(&consumer, &mut got, 1);
    assert_eq!(got[&0][0].0, 40);
    for (to, first) in [(Start::Offset(7), 7), (Start::Earliest, 0), (Start::Offset(99), 99)] {
        one_more_fetch(&server); // the session is at the end of the log
        reported(consumer.seek("t", 0, to)).unwrap();
        let chunk = reported(consumer.next()).unwrap_or_else(|error| panic!("{to:?}: {error}"));
        let record = chunk.records().next().unwrap().unwrap();
        assert_eq!(record.offset, first, "{to:?}");
    }
    let error = reported(consumer.seek("t", 0, Start::Offset(-1))).unwrap_err();
    assert!(error.to_string().contains("negative"), "{error}");
    assert!(reported(consumer.seek("t", 1, Start::Earliest)).is_err(), "not assigned");
    assert!(reported(consumer.pause("u", 0)).is_err(), "not assigned");
}

#[test]
fn a_paused_partition_continues_where_the_application_was() {
    let server = server(1);
    server.create_topic("t", 2).unwrap();
    fill(&server, "t", 0, 0..50);
    let config = config(&server).start(Start::Earliest);
    let consumer = Consumer::assign_all(config, &["t"]).unwrap();
    let mut got = Read::new();
    read(&consumer, &mut got, 50);
    reported(consumer.pause("t", 0)).unwrap();
    fill(&server, "t", 0, 50..100);
    fill(&server, "t", 1, 0..10);
    read(&consumer, &mut got, 60);
    assert_eq!(got[&0].len(), 50, "paused");
    assert_eq!(got[&1].len(), 10, "the other one continues");
    reported(consumer.resume("t", 0)).unwrap();
    read(&consumer, &mut got, 110);
    assert_gapless(&got);
    // With records that were fetched, but not taken, when the pause came.
    fill(&server, "t", 0, 100..150);
    one_more_fetch(&server);
    reported(consumer.pause("t", 0)).unwrap();
    reported(consumer.resume("t", 0)).unwrap();
    read(&consumer, &mut got, 160);
    assert_gapless(&got);
}

#[test]
fn partitions_can_be_added_and_removed() {
    let server = server(1);
    server.create_topic("t", 2).unwrap();
    fill(&server, "t", 0, 0..10);
    fill(&server, "t", 1, 0..10);
    let consumer = Consumer::assign(config(&server), &[("t", 0, Start::Earliest)]).unwrap();
    let mut got = Read::new();
    read(&consumer, &mut got, 10);
    reported(consumer.add("t", 1, Start::Offset(5))).unwrap();
    assert!(reported(consumer.add("t", 1, Start::Offset(5))).is_err(), "twice");
    let mut more = Read::new();
    read(&consumer, &mut more, 5);
    assert_eq!(more[&1][0].0, 5);
    reported(consumer.remove("t", 0)).unwrap();
    fill(&server, "t", 0, 10..20);
    fill(&server, "t", 1, 10..20);
    let mut more = Read::new();
    read(&consumer, &mut more, 10);
    assert!(!more.contains_key(&0), "removed");
    reported(consumer.add("t", 0, Start::Offset(10))).unwrap();
    let mut more = Read::new();
    read(&consumer, &mut more, 10);
    assert_eq!(more[&0][0].0, 10, "taken up again");
}

#[test]
fn a_slow_application_holds_the_broker_back_and_hears_of_growth_all_the_same() {
    const RECORDS: u32 = 3000;
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    let padding = "x".repeat(1000);
    for n in 0..RECORDS {
        let value = format!("{n} {padding}");
        producer.send_to("t", 0, &Record::new(value.as_bytes())).unwrap();
    }
    reported(producer.flush()).unwrap();
    let config = config(&server).start(Start::Earliest).queue_bytes(64 << 10).chunk_bytes(16 << 10);
    let consumer = Consumer::assign_all(config, &["t"]).unwrap();
    let events = consumer.events();
    while !matches!(reported(events.next()).unwrap(), Event::Assigned { .. }) {}
    // No records are taken; the first growths may be seen before that matters.
    for count in 2..=8 {
        server.grow("t", count).unwrap();
        loop {
            if let Event::PartitionsAdded { to, .. } = reported(events.next()).unwrap() {
                assert_eq!(to, count);
                break;
            }
        }
    }
    let mut got = Read::new();
    read(&consumer, &mut got, RECORDS as usize);
    assert_gapless(&got);
    fill(&server, "t", 1, 0..5);
    read(&consumer, &mut got, RECORDS as usize + 5);
    assert_gapless(&got);
}

/// It takes over three seconds until half the queue is free.
#[test]
fn a_slow_application_has_the_log_fetched_once() {
    const RECORDS: usize = 3000;
    const QUEUE: usize = 2 << 20;
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    for _ in 0..RECORDS {
        producer.send_to("t", 0, &Record::new(&[7; 1000])).unwrap();
    }
    reported(producer.flush()).unwrap();
    // Whole responses are in the receive buffer.
    let config = config(&server).limits(Limits::server()).start(Start::Earliest);
    let config = config.queue_bytes(QUEUE).chunk_bytes(16 << 10);
    let consumer = Consumer::assign_all(config, &["t"]).unwrap();
    let (mut records, mut taken) = (0, 0);
    let begun = Instant::now();
    while records < RECORDS {
        let chunk = reported(consumer.next()).unwrap();
        records += chunk.records().count();
        taken += chunk.size();
        // 300 kB a second.
        let due = Duration::from_micros(taken as u64 * 1000 / 300);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    assert_eq!(records, RECORDS);
    let fetched = server.traffic(ApiKey::Fetch).bytes_out as usize;
    assert!(fetched <= taken + taken / 10, "{fetched} bytes were fetched, {taken} taken");
}

#[test]
fn a_topic_that_is_not_there_is_reported_and_read_when_it_comes() {
    let server = server(1);
    let config = config(&server).start(Start::Earliest).topic_timeout(MISSING);
    let consumer = Consumer::assign_all(config, &["t"]).unwrap();
    let error = reported(consumer.next()).unwrap_err();
    assert_eq!(error.code().map(|code| code.0), Some(3), "{error}");
    server.create_topic("t", 1).unwrap();
    fill(&server, "t", 0, 0..3);
    let mut got = Read::new();
    read(&consumer, &mut got, 3);
    assert_gapless(&got);
    assert!(Consumer::assign_all(super::config(&server), &["no topic"]).is_err());
}

#[test]
fn who_waits_is_reported_when_the_consumer_ends() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let consumer = Consumer::assign_all(config(&server), &["t"]).unwrap();
    let pending = consumer.next();
    let events = consumer.events();
    drop(consumer);
    assert!(reported(pending).is_err());
    while reported(events.next()).is_ok() {}
}

#[tokio::test]
async fn chunks_are_futures_under_tokio() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let consumer = Consumer::assign_all(config(&server).start(Start::Earliest), &["t"]).unwrap();
    fill(&server, "t", 0, 0..1);
    let chunk = tokio::time::timeout(LONG, consumer.next()).await.unwrap().unwrap();
    let values: Vec<_> = chunk.records().map(|record| record.unwrap().value.unwrap()).collect();
    assert_eq!(values, [b"0"]);
    let batch = chunk.batches().next().unwrap();
    assert_eq!((batch.topic(), batch.partition(), batch.high_watermark()), ("t", 0, 1));
}

#[test]
fn a_refused_seek_leaves_no_position() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let consumer = Consumer::assign(config(&server), &[("t", 0, Start::Earliest)]).unwrap();
    reported(consumer.seek("t", 7, Start::Offset(5))).unwrap_err();
    assert_eq!(consumer.position("t", 7), None);
    reported(consumer.seek("t", 0, Start::Offset(5))).unwrap();
    assert_eq!(consumer.position("t", 0), Some(5));
    reported(consumer.seek("t", 0, Start::Offset(-5))).unwrap_err();
    assert_eq!(consumer.position("t", 0), Some(5), "where it was");
}

#[test]
fn stored_positions_are_where_partitions_start_growth_included() {
    let server = server(1);
    server.create_topic("t", 3).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    let fill = |partition: u32| {
        for n in 0..5 {
            let value = format!("{partition}/{n}");
            let sent = producer.send_to("t", partition, &Record::new(value.as_bytes())).unwrap();
            reported(sent).unwrap();
        }
    };
    (0..3).for_each(fill);
    let (operation, requested) = std::sync::mpsc::channel();
    let start_of = move |topic: &str, partition: u32| {
        operation.send((topic.to_owned(), partition)).unwrap();
        match partition {
            0 | 3 => Some(Start::Offset(3)),
            2 => Some(Start::Offset(-1)),
            _ => None,
        }
    };
    let from = config(&server).start(Start::Earliest);
    let consumer = Consumer::assign_all_from(from, &["t"], start_of).unwrap();
    let (mut offsets, mut refused, until) = (Vec::new(), 0, Instant::now() + LONG);
    let take = |count: usize, offsets: &mut Vec<(u32, i64)>, refused: &mut u32| {
        while offsets.len() < count || *refused == 0 {
            assert!(Instant::now() < until, "{offsets:?}");
            match consumer.next_timeout(Duration::from_secs(1)) {
                Ok(None) => {}
                Ok(Some(chunk)) => offsets.extend(
                    chunk.records().map(Result::unwrap).map(|one| (one.partition, one.offset)),
                ),
                Err(error) => {
                    assert!(error.to_string().contains("partition 2"), "{error}");
                    *refused += 1;
                }
            }
        }
    };
    take(7, &mut offsets, &mut refused);
    server.grow("t", 5).unwrap();
    fill(3);
    fill(4);
    take(14, &mut offsets, &mut refused);
    reported(consumer.seek("t", 2, Start::Offset(4))).unwrap();
    take(15, &mut offsets, &mut refused);
    offsets.sort_unstable();
    let tail = |partition: u32, from: i64| (from..5).map(move |offset| (partition, offset));
    let want = tail(0, 3).chain(tail(1, 0)).chain(tail(2, 4)).chain(tail(3, 3)).chain(tail(4, 0));
    assert_eq!(offsets, want.collect::<Vec<_>>());
    assert_eq!(refused, 1);
    let mut requested: Vec<_> = requested.try_iter().collect();
    requested.sort_unstable();
    assert_eq!(requested, (0..5).map(|at| ("t".to_owned(), at)).collect::<Vec<_>>(), "once each");
}
