//! Racks, reading from followers (KIP-392), and truncation that only OffsetForLeaderEpoch shows.

use core::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{BrokerId, OffsetForLeaderEpochRequest};
use kavka_tests::sim::{Options, Profile, Server};
use uuid::Uuid;

use crate::client::{Client, PLAIN, batch, fetch, text, topic};

/// Starts three brokers in racks 1 to 3. Broker 1 leads the only partition of `t`.
fn racks(options: Options) -> (Server, Uuid) {
    let server = Server::start(Options { racks: 3, ..options }).expect("server");
    let id = server.create_topic("t", 1).expect("created");
    (server, id)
}

fn aware() -> Options {
    Options { rack_aware: true, ..Options::default() }
}

/// Fetches partition 0 of `t` from `offset` on, as a consumer in `rack`.
fn read(client: &mut Client, version: i16, id: Uuid, offset: i64, rack: &str) -> PartitionData {
    let mut operation = fetch(version, ("t", id), &[(0, offset)]);
    if version >= 11 {
        operation.rack_id = text(rack);
    }
    let mut response = client.fetch(version, &operation);
    response.responses.remove(0).partitions.remove(0)
}

fn len(part: &PartitionData) -> usize {
    part.records.as_ref().map_or(0, Bytes::len)
}

#[test]
fn metadata_names_the_rack_of_each_broker() {
    for (racks, wanted) in
        [(3, ["rack-1", "rack-2", "rack-3"]), (2, ["rack-1", "rack-2", "rack-1"])]
    {
        let server = Server::start(Options { racks, ..Options::default() }).expect("server");
        let response = Client::connect(&server, 1).metadata(12, &[]);
        let reported =
            response.brokers.iter().map(|broker| broker.rack.as_deref().unwrap_or_default());
        assert_eq!(reported.collect::<Vec<_>>(), wanted);
    }
    let server = Server::start(Options::default()).expect("server");
    let response = Client::connect(&server, 1).metadata(12, &[]);
    assert!(response.brokers.iter().all(|broker| broker.rack.is_none()));
}

#[test]
fn a_leader_names_the_replica_in_the_rack_of_the_reader() {
    for profile in [Profile::V2_4, Profile::V2_8, Profile::V3_9, Profile::V4_4] {
        let (server, id) = racks(Options { profile, ..aware() });
        let mut client = Client::connect(&server, 1);
        client.produce(8, ("t", id, 0), -1, batch(&["a"], PLAIN));
        let reported = read(&mut client, 11, id, 0, "rack-2");
        let named = (reported.preferred_read_replica, reported.error_code, len(&reported));
        assert_eq!(named, (BrokerId(2), 0, 0), "{profile}");
        assert_eq!((reported.high_watermark, reported.log_start_offset), (1, 0), "{profile}");
        // The rack of the leader, one without brokers, and none.
        for rack in ["rack-1", "rack-9", ""] {
            let reported = read(&mut client, 11, id, 0, rack);
            assert_eq!(reported.preferred_read_replica, BrokerId(-1), "{profile} {rack}");
            assert!(len(&reported) > 0, "{profile} {rack}");
        }
        assert!(len(&read(&mut client, 10, id, 0, "")) > 0, "{profile}");
        // The follower itself names no replica.
        let reported = read(&mut Client::connect(&server, 2), 11, id, 0, "rack-2");
        assert_eq!(reported.preferred_read_replica, BrokerId(-1), "{profile}");
        assert!(len(&reported) > 0, "{profile}");
    }
}

#[test]
fn without_the_selector_a_leader_serves_every_rack() {
    let (server, id) = racks(Options::default());
    let mut client = Client::connect(&server, 1);
    client.produce(9, ("t", id, 0), -1, batch(&["a"], PLAIN));
    let reported = read(&mut client, 11, id, 0, "rack-2");
    assert_eq!(reported.preferred_read_replica, BrokerId(-1));
    assert!(len(&reported) > 0);
}

#[test]
fn a_replica_without_the_offset_is_not_named() {
    let (server, id) = racks(aware());
    server.with(|cluster| cluster.set_replica_lag(2, Duration::from_secs(60)));
    let mut client = Client::connect(&server, 1);
    client.produce(9, ("t", id, 0), 1, batch(&["a"], PLAIN));
    assert_eq!(read(&mut client, 11, id, 1, "rack-2").preferred_read_replica, BrokerId(-1));
    assert_eq!(read(&mut client, 11, id, 0, "rack-2").preferred_read_replica, BrokerId(2));
    assert_eq!(read(&mut client, 11, id, 1, "rack-3").preferred_read_replica, BrokerId(3));
}

#[test]
fn a_dead_replica_is_not_named() {
    let (server, id) = racks(aware());
    server.kill(2).expect("killed");
    let mut client = Client::connect(&server, 1);
    for _ in 0..200 {
        if client.metadata(12, &[]).brokers.len() == 2 {
            break;
        }
    }
    while client.metadata(12, &[]).brokers.len() > 2 {}
    assert_eq!(read(&mut client, 11, id, 0, "rack-2").preferred_read_replica, BrokerId(-1));
}

#[test]
fn a_session_repeats_which_replica_is_preferred() {
    let (server, id) = racks(aware());
    let mut client = Client::connect(&server, 1);
    let mut operation = fetch(12, ("t", id), &[(0, 0)]);
    (operation.rack_id, operation.session_epoch) = (text("rack-2"), 0);
    let session = client.fetch(12, &operation).session_id;
    assert!(session > 0);
    for epoch in 1..4 {
        let mut operation = fetch(12, ("t", id), &[]);
        (operation.rack_id, operation.session_id, operation.session_epoch) =
            (text("rack-2"), session, epoch);
        let response = client.fetch(12, &operation);
        let reported = &response.responses[0].partitions[0];
        assert_eq!(reported.preferred_read_replica, BrokerId(2), "epoch {epoch}");
    }
}

#[test]
fn a_follower_serves_consumers_of_version_11_up_to_what_it_has() {
    let (server, id) = racks(aware());
    let (mut leader, mut follower) = (Client::connect(&server, 1), Client::connect(&server, 2));
    leader.produce(9, ("t", id, 0), -1, batch(&["a"], PLAIN));
    for version in [11, 12, 13, 17] {
        let reported = read(&mut follower, version, id, 0, "");
        let about = (reported.error_code, reported.high_watermark);
        assert_eq!(about, (0, 1), "version {version}");
        assert!(len(&reported) > 0, "version {version}");
    }
    assert_eq!(read(&mut follower, 10, id, 0, "").error_code, 6, "older ones know leaders only");
    server.with(|cluster| cluster.set_replica_lag(2, Duration::from_secs(60)));
    leader.produce(9, ("t", id, 0), 1, batch(&["b", "c"], PLAIN));
    let reported = read(&mut follower, 12, id, 1, "");
    assert_eq!(
        (reported.error_code, reported.high_watermark, len(&reported)),
        (0, 1, 0),
        "nothing yet"
    );
    assert_eq!(read(&mut follower, 12, id, 3, "").error_code, 1, "not there yet");
    assert_eq!(read(&mut leader, 12, id, 3, "").error_code, 0, "at the leader it is in range");
    // Only the leader serves ListOffsets and OffsetForLeaderEpoch.
    assert_eq!(follower.list(6, "t", &[(0, -1)])[0].1, 6);
    assert_eq!(epoch_end(&mut follower, 4, (-1, 0)).0, 6);
}

#[test]
fn a_fetch_that_waits_at_a_follower_ends_when_records_come_there() {
    for lag in [Duration::ZERO, Duration::from_millis(50)] {
        let (server, id) = racks(aware());
        server.with(|cluster| cluster.set_replica_lag(2, lag));
        let (mut leader, mut follower) = (Client::connect(&server, 1), Client::connect(&server, 2));
        let mut operation = fetch(12, ("t", id), &[(0, 0)]);
        operation.max_wait_ms = 15_000;
        follower.send(12, &operation);
        leader.produce(9, ("t", id, 0), 1, batch(&["a"], PLAIN));
        let begun = std::time::Instant::now();
        let response = follower.receive::<kafka_protocol::messages::FetchRequest>(12);
        let reported = response.expect("a response").responses.remove(0).partitions.remove(0);
        assert!(len(&reported) > 0, "lag {lag:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "lag {lag:?}");
    }
}

/// Returns (error, epoch, end offset) of OffsetForLeaderEpoch for (current epoch, epoch).
fn epoch_end(
    client: &mut Client,
    version: i16,
    (current, requested): (i32, i32),
) -> (i16, i32, i64) {
    let wanted = OffsetForLeaderPartition::default()
        .with_partition(0)
        .with_current_leader_epoch(current)
        .with_leader_epoch(requested);
    let wanted =
        OffsetForLeaderTopic::default().with_topic(topic("t")).with_partitions(vec![wanted]);
    let mut operation = OffsetForLeaderEpochRequest::default().with_topics(vec![wanted]);
    if version >= 3 {
        operation.replica_id = BrokerId(-1);
    }
    let response = client.call(version, &operation);
    let reported = &response.topics[0].partitions[0];
    (reported.error_code, reported.leader_epoch, reported.end_offset)
}

#[test]
fn where_an_epoch_ended_is_reported_in_every_version() {
    let (server, id) = racks(Options::default());
    let mut client = Client::connect(&server, 1);
    client.produce(9, ("t", id, 0), -1, batch(&["a", "b"], PLAIN));
    for _ in 0..2 {
        server.move_leader("t", 0, 2).expect("moved");
        server.move_leader("t", 0, 1).expect("moved back");
    }
    client.produce(9, ("t", id, 0), -1, batch(&["c"], PLAIN));
    assert_eq!(server.leader("t", 0), Some((1, 4)));
    for version in 2..=4 {
        let mut end = |epochs| epoch_end(&mut client, version, epochs);
        assert_eq!(end((4, 0)), (0, 0, 2), "v{version}: an epoch with records");
        assert_eq!(end((4, 4)), (0, 4, 3), "v{version}: the current epoch");
        assert_eq!(end((-1, 0)), (0, 0, 2), "v{version}: no current epoch is checked");
        assert_eq!(end((4, 5)), (0, -1, -1), "v{version}: an epoch to come");
        assert_eq!(end((3, 0)).0, 74, "v{version}: fenced");
        assert_eq!(end((5, 0)).0, 75, "v{version}: unknown");
    }
}

#[test]
fn before_fetch_12_only_the_end_of_an_epoch_shows_an_unclean_election() {
    let (server, id) = racks(Options { profile: Profile::V2_4, unclean: true, ..aware() });
    let mut client = Client::connect(&server, 1);
    client.produce(8, ("t", id, 0), 1, batch(&["a"], PLAIN));
    client.produce(8, ("t", id, 0), 1, batch(&["lost"], PLAIN));
    server.with(|cluster| cluster.truncate("t", 0, 1)).expect("truncated");
    client.produce(8, ("t", id, 0), 1, batch(&["b"], PLAIN));
    client.produce(8, ("t", id, 0), 1, batch(&["c"], PLAIN));
    // A reader that had "lost", and knows the new leader.
    let mut operation = fetch(11, ("t", id), &[(0, 2)]);
    operation.topics[0].partitions[0].current_leader_epoch = 1;
    let response = client.fetch(11, &operation);
    let reported = &response.responses[0].partitions[0];
    assert_eq!(reported.error_code, 0, "nothing says that record 1 is another one now");
    assert!(len(reported) > 0);
    assert_eq!(epoch_end(&mut client, 3, (1, 0)), (0, 0, 1), "and here it shows");
}
