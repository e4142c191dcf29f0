//! Produce, Fetch, sessions, sequences, epochs.

use core::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, FetchResponse, InitProducerIdRequest, OffsetForLeaderEpochRequest,
    ProducerId,
};
use kavka_tests::sim::{ApiKey, Fault, Options, Profile, Server};
use uuid::Uuid;

use crate::client::{Client, PLAIN, batch, fetch, produce, topic, values};

fn server() -> (Server, Uuid) {
    let server = Server::start(Options::default()).expect("server");
    let id = server.create_topic("t", 3).expect("created");
    (server, id)
}

fn partition(response: &FetchResponse, index: i32) -> Option<&PartitionData> {
    response.responses.iter().flat_map(|t| &t.partitions).find(|p| p.partition_index == index)
}

#[test]
fn every_version_produces_and_fetches() {
    for profile in Profile::ALL {
        let server = Server::start(Options { profile, ..Options::default() }).expect("server");
        let id = server.create_topic("t", 1).expect("created");
        let mut client = Client::connect(&server, 1);
        let (_, highest) = profile.range(ApiKey::Produce).expect("offered");
        for version in 3..=highest {
            let reported = client.produce(version, ("t", id, 0), -1, batch(&["a", "b"], PLAIN));
            let wanted = (0, i64::from(version - 3) * 2);
            assert_eq!((reported.error_code, reported.base_offset), wanted, "{profile} v{version}");
        }
        let end = server.log_len("t", 0);
        let (_, highest) = profile.range(ApiKey::Fetch).expect("offered");
        for version in 4..=highest {
            let response = client.fetch(version, &fetch(version, ("t", id), &[(0, 0)]));
            let reported = partition(&response, 0).expect("the partition");
            assert_eq!(
                (reported.error_code, reported.high_watermark),
                (0, end),
                "{profile} v{version}"
            );
            let stored: usize = server.with(|c| c.batches("t", 0).iter().map(Bytes::len).sum());
            let records = reported.records.as_ref().map_or(0, Bytes::len);
            assert_eq!(records, stored, "{profile} v{version}");
        }
    }
}

#[test]
fn bad_batches_are_refused() {
    let (server, id) = server();
    let mut client = Client::connect(&server, 1);
    let good = batch(&["a", "b"], PLAIN);
    let changed = |at: usize, to: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = to;
        bytes
    };
    let sealed = |mut bytes: Vec<u8>| {
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(bytes)
    };
    let twice = [&good[..], &good[..]].concat();
    let mut long = good.to_vec();
    long.truncate(good.len() - 1);
    let cases: [(&str, Bytes, i16); 8] = [
        ("a flipped bit", changed(good.len() - 1, 0x55).into(), 2),
        ("magic 1", sealed(changed(16, 1)), 87),
        ("two batches", twice.into(), 87),
        ("cut short", long.into(), 2),
        ("count 3 of 2", sealed(changed(60, 3)), 87),
        ("last delta 4 of 2", sealed(changed(26, 4)), 87),
        ("control", sealed(changed(22, 0x20)), 87),
        ("nothing", Bytes::new(), 2),
    ];
    for (name, records, code) in cases {
        assert_eq!(client.produce(9, ("t", id, 0), -1, records).error_code, code, "{name}");
    }
    let big = "x".repeat(1_100_000);
    let reported = client.produce(9, ("t", id, 0), -1, batch(&[&big], PLAIN));
    assert_eq!(reported.error_code, 10, "above max.message.bytes");
    assert_eq!(client.produce(9, ("t", id, 0), 2, good.clone()).error_code, 21, "acks 2");
    assert_eq!(client.produce(9, ("u", id, 0), 1, good.clone()).error_code, 3, "no such topic");
    assert_eq!(client.produce(9, ("t", id, 3), 1, good.clone()).error_code, 3, "no such partition");
    let other = Uuid::from_u128(9);
    assert_eq!(client.produce(13, ("t", other, 0), 1, good).error_code, 100, "no such id");
    assert_eq!(server.log_len("t", 0), 0);
}

#[test]
fn acks_0_has_no_response_and_an_error_closes() {
    let (server, id) = server();
    let mut client = Client::connect(&server, 1);
    client.send(9, &produce(9, ("t", id, 0), 0, batch(&["a"], PLAIN)));
    let reported = client.produce(9, ("t", id, 0), 1, batch(&["b"], PLAIN));
    assert_eq!(reported.base_offset, 1, "the response is that of the second request");
    client.send(9, &produce(9, ("t", id, 7), 0, batch(&["c"], PLAIN)));
    assert!(client.receive_raw().is_err(), "closed");
}

#[test]
fn sequences_duplicates_and_epochs() {
    let (server, id) = server();
    let mut client = Client::connect(&server, 1);
    let init = InitProducerIdRequest::default().with_transactional_id(None);
    let pid = client.call(4, &init.with_producer_id(ProducerId(-1)).with_producer_epoch(-1));
    assert_eq!((pid.error_code, pid.producer_epoch), (0, 0));
    let pid = pid.producer_id.0;
    let mut send = |values: &[&str], epoch, sequence| {
        let reported = client.produce(9, ("t", id, 0), -1, batch(values, (pid, epoch, sequence)));
        (reported.error_code, reported.base_offset)
    };
    for n in 0..6 {
        assert_eq!(send(&["a", "b"], 0, n * 2), (0, i64::from(n) * 2), "batch {n}");
    }
    assert_eq!(send(&["a", "b"], 0, 2), (0, 2), "a duplicate has the offset of then");
    assert_eq!(send(&["a", "b"], 0, 10), (0, 10), "so has the last one");
    assert_eq!(send(&["a", "b"], 0, 0).0, 45, "the sixth last is forgotten");
    assert_eq!(send(&["a"], 0, 14).0, 45, "a gap");
    assert_eq!(send(&["a"], 1, 5).0, 45, "a new epoch starts at 0");
    assert_eq!(send(&["a"], 1, 0), (0, 12));
    assert_eq!(send(&["a"], 0, 12).0, 47, "the old epoch is over");
    assert_eq!(server.log_len("t", 0), 13);
}

#[test]
fn a_forgotten_producer_is_refused_by_2_4_and_taken_since() {
    for (profile, code) in [(Profile::V2_4, 59), (Profile::V2_8, 0), (Profile::V4_4, 0)] {
        let server = Server::start(Options { profile, ..Options::default() }).expect("server");
        let id = server.create_topic("t", 1).expect("created");
        let mut client = Client::connect(&server, 1);
        let mut send = |sequence| {
            client.produce(8, ("t", id, 0), -1, batch(&["a"], (77, 0, sequence))).error_code
        };
        assert_eq!((send(0), send(1), send(1)), (0, 0, 0), "{profile}");
        server.with(|cluster| cluster.forget_producers("t", 0)).expect("forgotten");
        assert_eq!(send(2), code, "{profile}");
        server.with(|cluster| cluster.forget_producers("t", 0)).expect("forgotten");
        assert_eq!(send(0), 0, "{profile}: another beginning");
    }
}

#[test]
fn brokers_have_limits_of_size() {
    let small = Options { max_message_bytes: 200, ..Options::default() };
    let segment = Options { segment_bytes: 200, ..Options::default() };
    let big = "x".repeat(300);
    for (options, code) in [(small, 10), (segment, 18)] {
        let server = Server::start(options).expect("server");
        let id = server.create_topic("t", 1).expect("created");
        let mut client = Client::connect(&server, 1);
        let mut send = |value| client.produce(9, ("t", id, 0), 1, batch(&[value], PLAIN));
        assert_eq!((send(&big).error_code, send("a").error_code), (code, 0));
    }
    let narrow = Options { max_request_bytes: 300, ..Options::default() };
    let server = Server::start(narrow).expect("server");
    let id = server.create_topic("t", 1).expect("created");
    let mut client = Client::connect(&server, 1);
    assert_eq!(client.produce(9, ("t", id, 0), 1, batch(&["a"], PLAIN)).error_code, 0);
    client.send(9, &produce(9, ("t", id, 0), 1, batch(&[&big], PLAIN)));
    assert!(client.receive_raw().is_err(), "closed");
}

#[test]
fn sequence_wraps_to_zero() {
    let (server, id) = server();
    let mut client = Client::connect(&server, 1);
    for (sequence, offset) in [(i32::MAX - 2, 0), (i32::MAX, 2), (1, 4)] {
        let mut records = batch(&["a", "b"], (77, 0, 0)).to_vec();
        records[53..57].copy_from_slice(&sequence.to_be_bytes());
        let crc = crc32c::crc32c(&records[21..]);
        records[17..21].copy_from_slice(&crc.to_be_bytes());
        let reported = client.produce(9, ("t", id, 0), -1, records.into());
        assert_eq!((reported.error_code, reported.base_offset), (0, offset), "sequence {sequence}");
    }
}

#[test]
fn a_moved_leader_is_hinted() {
    let (server, id) = server();
    let mut client = Client::connect(&server, 1);
    server.move_leader("t", 0, 3).expect("moved");
    let operation = produce(11, ("t", id, 0), -1, batch(&["a"], PLAIN));
    let response = client.call(11, &operation);
    let reported = &response.responses[0].partition_responses[0];
    assert_eq!(reported.error_code, 6);
    assert_eq!((reported.current_leader.leader_id.0, reported.current_leader.leader_epoch), (3, 1));
    let port = i32::from(server.address(3).expect("address").port());
    assert_eq!(response.node_endpoints[0].node_id.0, 3);
    assert_eq!(response.node_endpoints[0].port, port);
    let old = client.call(9, &produce(9, ("t", id, 0), -1, batch(&["a"], PLAIN)));
    assert_eq!(old.responses[0].partition_responses[0].error_code, 6, "without a hint before 10");

    let response = client.fetch(17, &fetch(17, ("t", id), &[(0, 0)]));
    let reported = partition(&response, 0).expect("the partition");
    assert_eq!((reported.error_code, reported.current_leader.leader_id.0), (6, 3));
    assert_eq!(response.node_endpoints[0].port, port);
    let mut known = fetch(17, ("t", id), &[(0, 0)]);
    for (epoch, code) in [(0, 74), (1, 6), (2, 75)] {
        known.topics[0].partitions[0].current_leader_epoch = epoch;
        let response = client.fetch(17, &known);
        assert_eq!(partition(&response, 0).map(|p| p.error_code), Some(code), "epoch {epoch}");
    }
    let mut leader = Client::connect(&server, 3);
    assert_eq!(leader.produce(11, ("t", id, 0), -1, batch(&["a"], PLAIN)).error_code, 0);
}

fn waiting(version: i16, id: Uuid, from: &[(i32, i64)], wait_ms: i32) -> FetchRequest {
    fetch(version, ("t", id), from).with_max_wait_ms(wait_ms)
}

#[test]
fn a_long_poll_ends_with_data_or_with_its_time() {
    let (server, id) = server();
    let (mut reader, mut writer) = (Client::connect(&server, 1), Client::connect(&server, 1));
    let requested = Instant::now();
    reader.send(13, &waiting(13, id, &[(0, 0)], 10_000));
    writer.produce(9, ("t", id, 0), 1, batch(&["a"], PLAIN));
    let response = reader.receive::<FetchRequest>(13).expect("a response");
    assert!(requested.elapsed() < Duration::from_secs(5), "woken by the append");
    assert!(
        partition(&response, 0).and_then(|p| p.records.as_ref()).is_some_and(|r| !r.is_empty())
    );
    let requested = Instant::now();
    let response = reader.fetch(13, &waiting(13, id, &[(0, 1)], 60));
    assert!(requested.elapsed() >= Duration::from_millis(60), "waited its time");
    assert_eq!(partition(&response, 0).map(|p| p.error_code), Some(0));
}

#[test]
fn min_bytes_holds_a_long_poll() {
    let (server, id) = server();
    let (mut reader, mut writer) = (Client::connect(&server, 1), Client::connect(&server, 1));
    let size = batch(&["a"], PLAIN).len() as i32;
    reader.send(13, &waiting(13, id, &[(0, 0)], 10_000).with_min_bytes(size * 2));
    writer.produce(9, ("t", id, 0), 1, batch(&["a"], PLAIN));
    writer.produce(9, ("t", id, 0), 1, batch(&["b"], PLAIN));
    let response = reader.receive::<FetchRequest>(13).expect("a response");
    let records = partition(&response, 0).and_then(|p| p.records.clone()).expect("records");
    assert_eq!(records.len(), size as usize * 2);
}

#[test]
fn an_unknown_partition_does_not_cut_a_long_poll_short() {
    let (server, id) = server();
    let mut reader = Client::connect(&server, 1);
    let requested = Instant::now();
    let response = reader.fetch(13, &waiting(13, id, &[(0, 0), (3, 0)], 80));
    assert!(requested.elapsed() >= Duration::from_millis(80));
    assert_eq!(partition(&response, 3).map(|p| p.error_code), Some(3));
    let requested = Instant::now();
    let alone = reader.fetch(13, &waiting(13, id, &[(3, 0)], 10_000));
    assert!(requested.elapsed() < Duration::from_secs(5), "nothing to wait for");
    assert_eq!(partition(&alone, 3).map(|p| p.error_code), Some(3));
}

#[test]
fn a_leader_move_ends_a_long_poll() {
    let (server, id) = server();
    let mut reader = Client::connect(&server, 1);
    reader.send(17, &waiting(17, id, &[(0, 0)], 10_000));
    let requested = Instant::now();
    server.move_leader("t", 0, 2).expect("moved");
    let response = reader.receive::<FetchRequest>(17).expect("a response");
    assert!(requested.elapsed() < Duration::from_secs(5));
    let reported = partition(&response, 0).expect("the partition");
    assert_eq!((reported.error_code, reported.current_leader.leader_id.0), (6, 2));
}

#[test]
fn requests_of_one_connection_are_responded_to_in_order() {
    let (server, id) = server();
    let mut client = Client::connect(&server, 1);
    client.send(13, &waiting(13, id, &[(0, 0)], 100));
    let requested = Instant::now();
    client.send(9, &produce(9, ("t", id, 0), 1, batch(&["a"], PLAIN)));
    let first = client.receive_raw().expect("a response");
    assert!(requested.elapsed() >= Duration::from_millis(90), "the append waits behind the poll");
    assert_eq!(first[..4], [0, 0, 0, 1], "correlation of the fetch");
    assert_eq!(client.receive_raw().expect("a response")[..4], [0, 0, 0, 2]);
}

#[test]
fn sessions_return_changes_only() {
    let (server, id) = server();
    for partition in [1, 2] {
        server.move_leader("t", partition, 1).expect("moved");
    }
    let mut client = Client::connect(&server, 1);
    let open = fetch(13, ("t", id), &[(0, 0), (1, 0), (2, 0)]).with_session_epoch(0);
    let response = client.fetch(13, &open);
    let session = response.session_id;
    assert!(session > 0);
    assert_eq!(response.responses[0].partitions.len(), 3, "the first response is full");
    let next = |epoch| fetch(13, ("t", id), &[]).with_session_id(session).with_session_epoch(epoch);
    let quiet = client.fetch(13, &next(1));
    assert_eq!((quiet.session_id, quiet.responses.len()), (session, 0));
    assert_eq!(client.last_sizes.1, 21, "an empty incremental answer");
    client.produce(9, ("t", id, 1), 1, batch(&["a"], PLAIN));
    let response = client.fetch(13, &next(2));
    assert_eq!(response.responses[0].partitions.len(), 1);
    assert!(partition(&response, 1).is_some());
    let again = client.fetch(13, &next(3));
    assert!(partition(&again, 1).is_some(), "its position has not moved");
    let mut moved = fetch(13, ("t", id), &[(1, 1)]);
    moved = moved.with_session_id(session).with_session_epoch(4);
    assert_eq!(client.fetch(13, &moved).responses.len(), 0);
    assert_eq!(client.fetch(13, &next(4)).error_code, 71, "epoch used twice");
    assert_eq!(
        client
            .fetch(12, &fetch(12, ("t", id), &[]).with_session_id(session).with_session_epoch(5))
            .error_code,
        106,
        "names in a session of ids"
    );
    server.with(|cluster| cluster.evict_sessions(1));
    assert_eq!(client.fetch(13, &next(5)).error_code, 70, "evicted");
}

#[test]
fn sessions_are_closed_forgotten_and_limited() {
    let options = Options { session_slots: 1, ..Options::default() };
    let server = Server::start(options).expect("server");
    let id = server.create_topic("t", 1).expect("created");
    let mut client = Client::connect(&server, 1);
    let open = fetch(13, ("t", id), &[(0, 0)]).with_session_epoch(0);
    let first = client.fetch(13, &open).session_id;
    assert!(first > 0);
    assert_eq!(client.fetch(13, &open).session_id, 0, "no slot left: stay with full requests");
    let close = fetch(13, ("t", id), &[]).with_session_id(first).with_session_epoch(-1);
    assert_eq!(client.fetch(13, &close).session_id, 0);
    assert_eq!(server.with(|cluster| cluster.sessions(1)), 0);
    let second = client.fetch(13, &open).session_id;
    assert!(second > 0 && second != first);
    server.fault(1, ApiKey::Fetch, Fault::TopError(70), 1);
    let next = fetch(13, ("t", id), &[]).with_session_id(second).with_session_epoch(1);
    assert_eq!(client.fetch(13, &next).error_code, 70, "scripted");
    assert_eq!(client.fetch(13, &next).error_code, 0, "and the session untouched");
}

#[test]
fn byte_limits_and_the_first_batch() {
    let (server, id) = server();
    server.move_leader("t", 1, 1).expect("moved");
    let mut client = Client::connect(&server, 1);
    let size = batch(&["0123456789"], PLAIN).len();
    for index in [0, 0, 0, 1] {
        client.produce(9, ("t", id, index), 1, batch(&["0123456789"], PLAIN));
    }
    let len = |response: &FetchResponse, index| {
        partition(response, index).and_then(|p| p.records.as_ref()).map_or(0, Bytes::len)
    };
    let mut operation = fetch(13, ("t", id), &[(0, 0), (1, 0)]);
    operation.max_bytes = 1;
    let response = client.fetch(13, &operation);
    assert_eq!((len(&response, 0), len(&response, 1)), (size, 0), "the first batch whole, alone");
    operation.max_bytes = 1 << 20;
    operation.topics[0].partitions[0].partition_max_bytes = (size * 2 + 5) as i32;
    let response = client.fetch(13, &operation);
    assert_eq!((len(&response, 0), len(&response, 1)), (size * 2 + 5, size), "the last one is cut");
    operation.topics[0].partitions[1].partition_max_bytes = 1;
    let response = client.fetch(13, &operation);
    assert_eq!(len(&response, 1), 0, "not the first partition: no batch too large");
    let middle = client.fetch(13, &fetch(13, ("t", id), &[(0, 2)]));
    assert_eq!(len(&middle, 0), size);
}

#[test]
fn offsets_out_of_range_and_by_time() {
    let (server, id) = server();
    let mut client = Client::connect(&server, 1);
    client.produce(9, ("t", id, 0), 1, batch(&["a", "b", "c"], PLAIN));
    client.produce(9, ("t", id, 0), 1, batch(&["d", "e"], PLAIN));
    let code = |client: &mut Client, offset| {
        let response = client.fetch(13, &fetch(13, ("t", id), &[(0, offset)]));
        partition(&response, 0).map(|p| p.error_code)
    };
    assert_eq!(code(&mut client, 5), Some(0), "the end is in range");
    assert_eq!(code(&mut client, 6), Some(1));
    server.with(|cluster| cluster.trim("t", 0, 3)).expect("trimmed");
    assert_eq!(code(&mut client, 2), Some(1), "below the log start");
    assert_eq!(client.list(7, "t", &[(0, -2)]), [(0, 0, 3)]);
    assert_eq!(client.list(7, "t", &[(0, -1)]), [(0, 0, 5)]);
    assert_eq!(client.list(7, "t", &[(0, 1001)]), [(0, 0, 4)], "first record at or after");
    assert_eq!(client.list(7, "t", &[(0, 2000)]), [(0, 0, -1)]);
    assert_eq!(client.list(7, "t", &[(0, -3)]), [(0, 0, 4)], "largest timestamp");
    assert_eq!(client.list(9, "t", &[(0, -6)]), [(0, 35, -1)], "unknown special time");
    assert_eq!(client.list(7, "t", &[(0, -6)]), [(0, 0, 3)], "taken for a time before 3.9");
}

#[test]
fn truncation_shows_by_epoch() {
    let (server, id) = server();
    let mut client = Client::connect(&server, 1);
    client.produce(9, ("t", id, 0), 1, batch(&["a"], PLAIN));
    client.produce(9, ("t", id, 0), 1, batch(&["b"], PLAIN));
    server.with(|cluster| cluster.truncate("t", 0, 1)).expect("truncated");
    assert_eq!(server.leader("t", 0), Some((1, 1)));
    client.produce(9, ("t", id, 0), 1, batch(&["c"], PLAIN));
    assert_eq!(values(&server, "t", 0), ["a", "c"]);
    let mut operation = fetch(13, ("t", id), &[(0, 2)]);
    operation.topics[0].partitions[0].last_fetched_epoch = 0;
    let response = client.fetch(13, &operation);
    let reported = partition(&response, 0).expect("the partition");
    assert_eq!((reported.diverging_epoch.epoch, reported.diverging_epoch.end_offset), (0, 1));
    let wanted = OffsetForLeaderPartition::default()
        .with_partition(0)
        .with_current_leader_epoch(1)
        .with_leader_epoch(0);
    let wanted =
        OffsetForLeaderTopic::default().with_topic(topic("t")).with_partitions(vec![wanted]);
    let operation = OffsetForLeaderEpochRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![wanted]);
    let response = client.call(4, &operation);
    let reported = &response.topics[0].partitions[0];
    assert_eq!((reported.error_code, reported.leader_epoch, reported.end_offset), (0, 0, 1));
}

#[test]
fn a_log_that_is_cut_below_its_start_starts_there() {
    let (server, id) = server();
    let mut client = Client::connect(&server, 1);
    client.produce(9, ("t", id, 0), 1, batch(&["a", "b", "c"], PLAIN));
    server.with(|cluster| cluster.trim("t", 0, 1)).expect("trimmed");
    server.with(|cluster| cluster.truncate("t", 0, 2)).expect("cut");
    let ends = server.with(|cluster| (cluster.log_start("t", 0), cluster.log_len("t", 0)));
    assert_eq!(ends, (0, 0), "a batch goes as a whole");
}

#[test]
fn acks_all_waits_for_followers_and_readers_for_the_high_watermark() {
    let wait = Duration::from_millis(80);
    let options = Options { first_append_delay: wait, ..Options::default() };
    let server = Server::start(options).expect("server");
    let made = Instant::now();
    let id = server.create_topic("t", 1).expect("created");
    let (mut all, mut one) = (Client::connect(&server, 1), Client::connect(&server, 1));
    assert_eq!(one.produce(9, ("t", id, 0), 1, batch(&["a"], PLAIN)).base_offset, 0);
    if made.elapsed() < wait / 2 {
        assert_eq!(server.with(|cluster| cluster.high_watermark("t", 0)), 0);
    }
    assert_eq!(all.produce(9, ("t", id, 0), -1, batch(&["b"], PLAIN)).base_offset, 1);
    assert!(made.elapsed() >= wait);
    assert_eq!(server.with(|cluster| cluster.high_watermark("t", 0)), 2);
}

#[test]
fn recreated_topics_refuse_the_old_id() {
    let (server, old) = server();
    server.recreate("t", 3).expect("recreated");
    let mut client = Client::connect(&server, 1);
    let response = client.fetch(13, &fetch(13, ("t", old), &[(0, 0)]));
    assert_eq!(
        (response.error_code, partition(&response, 0).map(|p| p.error_code)),
        (0, Some(100))
    );
    assert_eq!(client.produce(13, ("t", old, 0), 1, batch(&["a"], PLAIN)).error_code, 100);
    let by_name = client.fetch(12, &fetch(12, ("t", old), &[(0, 0)]));
    assert_eq!(partition(&by_name, 0).map(|p| p.error_code), Some(0));
}

#[test]
fn error_after_the_append() {
    let (server, id) = server();
    let mut client = Client::connect(&server, 1);
    server.fault(1, ApiKey::Produce, Fault::ErrorAfter(20), 1);
    let sent = batch(&["a"], (5, 0, 0));
    assert_eq!(client.produce(9, ("t", id, 0), -1, sent.clone()).error_code, 20);
    let again = client.produce(9, ("t", id, 0), -1, sent);
    assert_eq!((again.error_code, again.base_offset), (0, 0), "the retry is a duplicate");
    assert_eq!(server.log_len("t", 0), 1);
}
