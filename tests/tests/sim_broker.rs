//! The simulated brokers, tested with another codec's client: versions, metadata, probes, admin,
//! faults. Expected sizes and codes are those of real brokers.

#[path = "sim_broker/client.rs"]
mod client;
#[path = "sim_broker/data.rs"]
mod data;
#[path = "sim_broker/groups.rs"]
mod groups;
#[path = "sim_broker/hosted.rs"]
mod hosted;
#[path = "sim_broker/racks.rs"]
mod racks;

use core::time::Duration;
use std::time::Instant;

use client::{Client, PLAIN, batch, topic};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, MetadataRequest,
};
use kavka_tests::sim::{ApiKey, Fault, Options, Profile, Server};
use uuid::Uuid;

/// 21 bytes, as in the table of sizes that real brokers confirmed.
const TOPIC: &str = "telemetry.readings.eu";

fn start(profile: Profile) -> Server {
    Server::start(Options { profile, ..Options::default() }).expect("server")
}

fn default() -> Server {
    start(Profile::V4_4)
}

#[test]
fn api_versions_lists_the_profile() {
    for profile in Profile::ALL {
        let server = start(profile);
        let mut client = Client::connect(&server, 1);
        let highest = profile.range(ApiKey::ApiVersions).expect("always offered").1.min(4);
        for version in 0..=highest {
            let response = client.call(version, &ApiVersionsRequest::default());
            assert_eq!(response.error_code, 0, "{profile} v{version}");
            let reported: Vec<_> =
                response.api_keys.iter().map(|k| (k.api_key, k.max_version)).collect();
            let wanted: Vec<_> =
                profile.ranges().iter().map(|(api, _, max)| (*api as i16, *max)).collect();
            assert_eq!(reported, wanted, "{profile} v{version}");
        }
    }
}

#[test]
fn api_versions_too_new_gets_a_response_in_v0_and_the_connection_stays() {
    for (profile, size) in [(Profile::V1_1, 14), (Profile::V2_4, 20), (Profile::V4_4, 20)] {
        let server = start(profile);
        let mut client = Client::connect(&server, 2);
        // Header v2 with an unknown version 99; the body can be anything.
        client.send_raw(b"\x00\x00\x00\x0e\x00\x12\x00\x63\x00\x00\x00\x07\x00\x01a\x00\x01\x01");
        let frame = client.receive_raw().expect("a response");
        assert_eq!(client.last_sizes.1, size, "{profile}");
        assert_eq!(&frame[..6], b"\x00\x00\x00\x07\x00\x23", "{profile}: error 35");
        assert_eq!(client.call(0, &ApiVersionsRequest::default()).error_code, 0, "{profile}");
    }
}

#[test]
fn api_versions_5_is_understood() {
    let server = default();
    let mut client = Client::connect(&server, 1);
    client.send_raw(
        b"\x00\x00\x00\x16\x00\x12\x00\x05\x00\x00\x00\x07\x00\x01a\x00\
          \x02k\x021\x00\xff\xff\xff\xff\x00",
    );
    let frame = client.receive_raw().expect("a response");
    assert_eq!(&frame[..6], b"\x00\x00\x00\x07\x00\x00");
}

#[test]
fn metadata_of_an_unknown_version_closes_the_connection() {
    let server = default();
    let mut client = Client::connect(&server, 1);
    client.send_raw(b"\x00\x00\x00\x0b\x00\x03\x00\x63\x00\x00\x00\x07\x00\x01a");
    assert!(client.receive_raw().is_err());
}

#[test]
fn metadata_has_the_sizes_of_real_brokers() {
    for (partitions, size) in [(1, 192), (10, 570), (100, 4350), (1000, 42151), (10_000, 420_151)] {
        let server = default();
        server.create_topic(TOPIC, partitions).expect("created");
        let mut client = Client::connect(&server, 1);
        let response = client.metadata(12, &[TOPIC]);
        assert_eq!(client.last_sizes, (67, size), "{partitions} partitions");
        assert_eq!(response.topics[0].partitions.len(), partitions as usize);
        assert_eq!(response.brokers.len(), 3);
    }
}

#[test]
fn metadata_in_every_version_of_every_profile() {
    for profile in Profile::ALL {
        let server = start(profile);
        server.create_topic("t", 12).expect("created");
        let mut client = Client::connect(&server, 3);
        let (_, highest) = profile.range(ApiKey::Metadata).expect("offered");
        for version in 0..=highest {
            let response = client.metadata(version, &["t", "none"]);
            let reported = &response.topics[0];
            let mut indices: Vec<_> =
                reported.partitions.iter().map(|p| p.partition_index).collect();
            let sorted = indices.is_sorted();
            assert_eq!(sorted, profile > Profile::V3_9, "{profile}: hash order until 3.9");
            indices.sort_unstable();
            assert_eq!(indices, (0..12).collect::<Vec<_>>(), "{profile} v{version}");
            assert_eq!(response.topics[1].error_code, 3, "{profile} v{version}");
            let id = version >= 10 && profile.topic_ids();
            assert_eq!(reported.topic_id != Uuid::nil(), id, "{profile} v{version}");
        }
    }
}

#[test]
fn metadata_by_id_and_of_all() {
    let server = default();
    let id = server.create_topic("t", 2).expect("created");
    server.create_topic("u", 1).expect("created");
    let mut client = Client::connect(&server, 1);
    let by_id = |id| {
        let topic = MetadataRequestTopic::default().with_name(None).with_topic_id(id);
        MetadataRequest::default().with_topics(Some(vec![topic]))
    };
    let known = client.call(12, &by_id(id));
    assert_eq!(known.topics[0].name.as_ref().map(|n| n.as_str()), Some("t"));
    let unknown = client.call(12, &by_id(Uuid::from_u128(7)));
    assert_eq!((unknown.topics[0].error_code, &unknown.topics[0].name), (100, &None));
    let all = client.call(12, &MetadataRequest::default().with_topics(None));
    assert_eq!(all.topics.len(), 2);
    let none = client.call(12, &MetadataRequest::default().with_topics(Some(Vec::new())));
    assert_eq!(none.topics.len(), 0);
}

fn describe(
    client: &mut Client,
    names: &[&str],
    limit: i32,
    cursor: Option<(&str, i32)>,
) -> DescribeTopicPartitionsResponse {
    let request = |name: &&str| TopicRequest::default().with_name(topic(name));
    let cursor = cursor.map(|(name, index)| {
        Cursor::default().with_topic_name(topic(name)).with_partition_index(index)
    });
    let operation = DescribeTopicPartitionsRequest::default()
        .with_topics(names.iter().map(request).collect())
        .with_response_partition_limit(limit)
        .with_cursor(cursor);
    client.call(0, &operation)
}

/// Returns (index of the one partition, index of the next cursor).
fn probe(client: &mut Client, cursor: i32) -> (Option<i32>, Option<i32>) {
    let response = describe(client, &[TOPIC], 1, Some((TOPIC, cursor)));
    let partition = response.topics[0].partitions.first().map(|p| p.partition_index);
    (partition, response.next_cursor.map(|cursor| cursor.partition_index))
}

#[test]
fn growth_probe_says_stale_current_or_grown() {
    for replication in [1, 3] {
        let server = Server::start(Options { replication, ..Options::default() }).expect("server");
        let id = server.create_topic(TOPIC, 6).expect("created");
        let mut client = Client::connect(&server, 2);
        let wide = if replication == 3 { 16 } else { 0 };
        assert_eq!(probe(&mut client, 5), (Some(5), None), "current");
        assert_eq!(client.last_sizes, (81, 91 + wide));
        server.grow(TOPIC, 8).expect("grown");
        assert_eq!(probe(&mut client, 5), (Some(5), Some(6)), "grown");
        assert_eq!(client.last_sizes, (81, 118 + wide));
        assert_eq!(probe(&mut client, 8), (None, None), "beyond its count");
        assert_eq!(client.last_sizes, (81, 63));
        let reported = describe(&mut client, &[TOPIC], 1, Some((TOPIC, 8)));
        assert_eq!(reported.topics[0].topic_id, id);
    }
}

#[test]
fn describe_errors_and_traps() {
    let server = default();
    server.create_topic(TOPIC, 6).expect("created");
    let mut client = Client::connect(&server, 1);
    let none = describe(&mut client, &["absent"], 1, Some(("absent", 0)));
    assert_eq!((none.topics[0].error_code, client.last_sizes.1), (3, 48));
    for (names, cursor) in [([TOPIC], ("other", 0)), ([TOPIC], (TOPIC, -1))] {
        let bad = describe(&mut client, &names, 1, Some(cursor));
        assert_eq!((bad.topics[0].error_code, client.last_sizes.1), (42, 63), "{cursor:?}");
    }
    let trap = probe(&mut client, i32::MAX);
    assert_eq!(trap, (None, Some(i32::MIN)), "Java int arithmetic");
}

#[test]
fn describe_pages_and_the_order_of_topics() {
    let server = default();
    for (name, partitions) in [("a", 3), ("b", 4), ("c", 2)] {
        server.create_topic(name, partitions).expect("created");
    }
    let mut client = Client::connect(&server, 1);
    let mut seen = Vec::new();
    let mut cursor: Option<(String, i32)> = None;
    loop {
        let at = cursor.as_ref().map(|(name, index)| (name.as_str(), *index));
        let page = describe(&mut client, &["c", "a", "b"], 2, at);
        for reported in &page.topics {
            let name = reported.name.as_ref().expect("name").to_string();
            seen.extend(reported.partitions.iter().map(|p| (name.clone(), p.partition_index)));
        }
        let Some(next) = page.next_cursor else { break };
        cursor = Some((next.topic_name.to_string(), next.partition_index));
    }
    let all = [("a", 3), ("b", 4), ("c", 2)];
    let wanted: Vec<_> =
        all.iter().flat_map(|(n, count)| (0..*count).map(|i| (n.to_string(), i))).collect();
    assert_eq!(seen, wanted);
    let everything = describe(&mut client, &[], 2000, None);
    assert_eq!(everything.topics.len(), 3, "an empty list means all topics");
}

#[test]
fn list_offsets_probe_on_every_release() {
    for profile in Profile::ALL {
        let options = Options { profile, replication: 1, ..Options::default() };
        let server = Server::start(options).expect("server");
        server.create_topic(TOPIC, 6).expect("created");
        // Partition 5 is only on broker 3.
        let elsewhere = if profile == Profile::V1_1 { 3 } else { 6 };
        let (_, highest) = profile.range(ApiKey::ListOffsets).expect("offered");
        for (broker, wanted) in [(1, elsewhere), (2, elsewhere), (3, 0)] {
            let mut client = Client::connect(&server, broker);
            for version in 1..=highest {
                let reported = client.list(version, TOPIC, &[(5, -1), (6, -1)]);
                let codes: Vec<_> =
                    reported.iter().map(|(index, code, _)| (*index, *code)).collect();
                assert_eq!(codes, [(5, wanted), (6, 3)], "{profile} v{version} broker {broker}");
            }
        }
    }
}

#[test]
fn list_offsets_probe_has_the_sizes_of_real_brokers() {
    let server = default();
    server.create_topic(TOPIC, 6).expect("created");
    let mut client = Client::connect(&server, 1);
    client.list(6, TOPIC, &[(6, -1)]);
    assert_eq!(client.last_sizes, (72, 66));
    client.list(6, TOPIC, &[(5, -1), (6, -1)]);
    assert_eq!(client.last_sizes, (89, 93));
}

#[test]
fn a_lagging_broker_is_stale_and_catches_up() {
    let server = default();
    server.create_topic(TOPIC, 6).expect("created");
    server.with(|cluster| cluster.set_lag(2, Duration::from_millis(150)));
    let (mut fresh, mut stale) = (Client::connect(&server, 1), Client::connect(&server, 2));
    let grown = Instant::now();
    server.grow(TOPIC, 8).expect("grown");
    assert_eq!(fresh.metadata(12, &[TOPIC]).topics[0].partitions.len(), 8);
    let first = stale.metadata(12, &[TOPIC]).topics[0].partitions.len();
    if grown.elapsed() < Duration::from_millis(150) {
        assert_eq!(first, 6);
        assert_eq!(stale.metadata(12, &[TOPIC]).topics[0].error_code, 0, "nothing says stale");
    }
    while stale.metadata(12, &[TOPIC]).topics[0].partitions.len() < 8 {
        assert!(grown.elapsed() < Duration::from_secs(5), "never caught up");
    }
    assert!(grown.elapsed() >= Duration::from_millis(150));
}

#[test]
fn a_broker_leaves_partitions_out_of_its_metadata() {
    let server = default();
    let id = server.create_topic(TOPIC, 6).expect("created");
    let (mut one, mut two) = (Client::connect(&server, 1), Client::connect(&server, 2));
    let reported = |client: &mut Client| -> Vec<i32> {
        let response = client.metadata(12, &[TOPIC]);
        response.topics[0].partitions.iter().map(|p| p.partition_index).collect()
    };
    server.with(|cluster| cluster.hide(2, TOPIC, 1..2)).expect("hidden");
    assert_eq!(reported(&mut two).len(), 5, "a hole");
    assert!(!reported(&mut two).contains(&1));
    assert_eq!(probe(&mut two, 0), (Some(0), Some(1)), "what comes after the hole shows");
    server.with(|cluster| cluster.hide(2, TOPIC, 3..6)).expect("hidden");
    let mut left = reported(&mut two);
    left.sort_unstable();
    assert_eq!(left, [0, 2], "fewer than there are");
    assert_eq!(probe(&mut two, 5), (None, None), "as if it were behind");
    assert_eq!(reported(&mut one).len(), 6, "others tell all");
    let led = two.produce(9, (TOPIC, id, 1), 1, batch(&["a"], PLAIN));
    assert_eq!(led.error_code, 0, "it serves what it leads");
    let other = two.produce(9, (TOPIC, id, 3), 1, batch(&["a"], PLAIN));
    assert_eq!(other.error_code, 3, "and knows nothing of what others lead");
    server.with(|cluster| cluster.show(2));
    assert_eq!(reported(&mut two).len(), 6);
}

#[test]
fn create_grow_delete_through_the_protocol() {
    for profile in Profile::ALL {
        let server = start(profile);
        let mut client = Client::connect(&server, 1);
        let (_, version) = profile.range(ApiKey::CreateTopics).expect("offered");
        let wanted = |name| {
            let topic = CreatableTopic::default().with_name(topic(name));
            topic.with_num_partitions(4).with_replication_factor(3)
        };
        let operation = CreateTopicsRequest::default()
            .with_topics(vec![wanted("t"), wanted("b/d")])
            .with_timeout_ms(1000);
        let made = client.call(version, &operation);
        assert_eq!(made.topics[0].error_code, 0, "{profile}");
        assert_eq!(made.topics[1].error_code, 17, "{profile}");
        let configs = made.topics[0].configs.as_ref().map_or(0, Vec::len);
        assert_eq!(configs > 20, version >= 5, "{profile}");
        assert_eq!(client.call(version, &operation).topics[0].error_code, 36, "{profile}");

        let (_, version) = profile.range(ApiKey::CreatePartitions).expect("offered");
        let grow = |count, dry, timeout| {
            let topic = CreatePartitionsTopic::default().with_name(topic("t")).with_count(count);
            CreatePartitionsRequest::default()
                .with_topics(vec![topic.with_assignments(None)])
                .with_timeout_ms(timeout)
                .with_validate_only(dry)
        };
        let wants_requests =
            [(4, true, 1000, 37), (5, true, 1000, 0), (6, false, 1000, 0), (6, false, 1000, 37)];
        for (count, dry, timeout, code) in wants_requests {
            let reported = client.call(version, &grow(count, dry, timeout));
            assert_eq!(reported.results[0].error_code, code, "{profile}: {count}, dry {dry}");
        }
        assert_eq!(client.call(version, &grow(7, false, 0)).results[0].error_code, 7);
        assert_eq!(
            server.with(|cluster| cluster.partitions("t")),
            7,
            "{profile}: grown all the same"
        );

        let (_, version) = profile.range(ApiKey::DeleteTopics).expect("offered");
        let operation = if version >= 6 {
            let state = DeleteTopicState::default().with_name(Some(topic("t")));
            DeleteTopicsRequest::default().with_topics(vec![state])
        } else {
            DeleteTopicsRequest::default().with_topic_names(vec![topic("t")])
        };
        assert_eq!(client.call(version, &operation).responses[0].error_code, 0, "{profile}");
        assert_eq!(client.call(version, &operation).responses[0].error_code, 3, "{profile}");
        assert_eq!(client.metadata(1, &["t"]).topics[0].error_code, 3, "{profile}");
    }
}

#[test]
fn zookeeper_mode_refuses_admin_off_the_controller_and_reuse_of_a_name() {
    let server = start(Profile::V2_8);
    let wanted = CreatableTopic::default().with_name(topic("t")).with_num_partitions(1);
    let operation =
        CreateTopicsRequest::default().with_topics(vec![wanted.with_replication_factor(1)]);
    let mut other = Client::connect(&server, 3);
    assert_eq!(other.call(4, &operation).topics[0].error_code, 41);
    let mut controller = Client::connect(&server, 1);
    assert_eq!(controller.call(4, &operation).topics[0].error_code, 0);
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![topic("t")]);
    assert_eq!(controller.call(4, &delete).responses[0].error_code, 0);
    let deleted = Instant::now();
    let again = controller.call(4, &operation).topics[0].error_code;
    if deleted.elapsed() < Duration::from_millis(250) {
        assert_eq!(again, 36, "still being deleted");
    }
    while controller.call(4, &operation).topics[0].error_code != 0
        && server.with(|c| c.partitions("t")) == 0
    {
        assert!(deleted.elapsed() < Duration::from_secs(5), "never free again");
    }
}

#[test]
fn a_killed_broker_refuses_loses_its_leaders_and_comes_back() {
    let options = Options { session_timeout: Duration::from_millis(100), ..Options::default() };
    let server = Server::start(options).expect("server");
    server.create_topic("t", 3).expect("created");
    assert_eq!(server.leader("t", 1), Some((2, 0)));
    let (mut dead, mut alive) = (Client::connect(&server, 2), Client::connect(&server, 1));
    dead.metadata(12, &["t"]);
    let killed = Instant::now();
    server.kill(2).expect("killed");
    assert!(dead.receive_raw().is_err(), "connection ends");
    let address = server.address(2).expect("address");
    assert!(std::net::TcpStream::connect(address).is_err(), "port refuses");
    while server.leader("t", 1) == Some((2, 0)) {
        assert!(killed.elapsed() < Duration::from_secs(5), "no election");
    }
    assert!(killed.elapsed() >= Duration::from_millis(100), "before the session timed out");
    let reported = alive.metadata(12, &["t"]);
    assert_eq!(reported.brokers.len(), 2);
    let partition = reported.topics[0].partitions.iter().find(|p| p.partition_index == 1);
    let partition = partition.expect("partition 1");
    assert!(partition.leader_id.0 != 2 && partition.leader_epoch == 1, "{partition:?}");
    server.restart(2).expect("restarted");
    assert_eq!(Client::connect(&server, 2).metadata(12, &["t"]).brokers.len(), 3);
}

#[test]
fn a_partition_without_live_replica_has_no_leader() {
    let options = Options { replication: 1, session_timeout: Duration::ZERO, ..Options::default() };
    let server = Server::start(options).expect("server");
    server.create_topic("t", 3).expect("created");
    server.kill(3).expect("killed");
    let started = Instant::now();
    while server.leader("t", 2) == Some((3, 0)) {
        assert!(started.elapsed() < Duration::from_secs(5), "never given up");
    }
    let reported = Client::connect(&server, 1).metadata(12, &["t"]);
    let partition = reported.topics[0].partitions.iter().find(|p| p.partition_index == 2);
    assert_eq!(partition.map(|p| (p.error_code, p.leader_id.0)), Some((5, -1)));
    server.restart(3).expect("restarted");
    assert_eq!(server.leader("t", 2), Some((3, 2)));
}

#[test]
fn a_paused_broker_responds_after_it_continues() {
    let server = default();
    server.create_topic("t", 1).expect("created");
    let (mut requester, mut writer) = (Client::connect(&server, 1), Client::connect(&server, 1));
    requester.metadata(12, &["t"]);
    server.pause(1);
    let before = server.traffic(ApiKey::Metadata).requests;
    requester.send(12, &MetadataRequest::default().with_topics(None));
    writer.send(9, &client::produce(9, ("t", Uuid::nil(), 0), -1, batch(&["x"], PLAIN)));
    // A running broker serves a request at the moment it counts it.
    let arrived = || {
        let requested = server.traffic(ApiKey::Metadata).requests - before;
        requested == 1 && server.traffic(ApiKey::Produce).requests == 1
    };
    let sent = Instant::now();
    while !server.with(|_| arrived()) {
        assert!(sent.elapsed() < Duration::from_secs(5), "the requests do not arrive");
        std::thread::yield_now();
    }
    assert_eq!(server.log_len("t", 0), 0, "served while paused");
    server.with(|cluster| cluster.set_lag(1, Duration::from_secs(60)));
    server.grow("t", 4).expect("grown");
    server.resume(1);
    let reported = requester.receive::<MetadataRequest>(12).expect("a response");
    assert_eq!(reported.topics[0].partitions.len(), 1, "still the metadata of before");
    writer.receive_raw().expect("a response");
    assert_eq!(server.log_len("t", 0), 1, "served after the pause");
}

#[test]
fn faults_error_drop_delay_throttle() {
    let server = default();
    server.create_topic("t", 1).expect("created");
    let mut client = Client::connect(&server, 1);
    server.inject(1, ApiKey::Metadata, 14, 2);
    assert_eq!(client.metadata(12, &["t"]).topics[0].error_code, 14);
    assert_eq!(client.metadata(12, &["t"]).topics[0].error_code, 14);
    assert_eq!(client.metadata(12, &["t"]).topics[0].error_code, 0);
    server.fault(1, ApiKey::Metadata, Fault::Throttle(70), 1);
    assert_eq!(client.metadata(12, &["t"]).throttle_time_ms, 70);
    server.fault(1, ApiKey::Metadata, Fault::Delay(Duration::from_millis(40)), 1);
    let requested = Instant::now();
    client.metadata(12, &["t"]);
    assert!(requested.elapsed() >= Duration::from_millis(40));
    server.drop_response(1, ApiKey::Produce);
    client.send(9, &client::produce(9, ("t", Uuid::nil(), 0), -1, batch(&["x"], PLAIN)));
    assert!(client.receive_raw().is_err(), "closed");
    assert_eq!(server.log_len("t", 0), 1, "yet applied");
    let mut client = Client::connect(&server, 1);
    server.fault(1, ApiKey::Produce, Fault::DropRequest, 1);
    client.send(9, &client::produce(9, ("t", Uuid::nil(), 0), -1, batch(&["x"], PLAIN)));
    assert!(client.receive_raw().is_err(), "closed");
    assert_eq!(server.log_len("t", 0), 1, "not applied");
    assert_eq!(server.with(|cluster| cluster.faults_left()), 0);
}

#[test]
fn counters_report_requests_and_bytes() {
    let server = default();
    server.create_topic(TOPIC, 6).expect("created");
    let mut client = Client::connect(&server, 1);
    probe(&mut client, 5);
    probe(&mut client, 5);
    let reported = server.traffic(ApiKey::DescribeTopicPartitions);
    assert_eq!((reported.requests, reported.bytes_in, reported.bytes_out), (2, 162, 214));
}

#[test]
fn recreated_topic_has_another_id() {
    let server = default();
    let old = server.create_topic("t", 10).expect("created");
    let new = server.recreate("t", 4).expect("recreated");
    assert_ne!(old, new);
    let mut client = Client::connect(&server, 1);
    let reported = client.metadata(12, &["t"]);
    assert_eq!((reported.topics[0].topic_id, reported.topics[0].partitions.len()), (new, 4));
    assert_eq!(client.list(7, "t", &[(9, -1)])[0].1, 3, "reads as not there yet");
}
