//! Requests about consumer groups: which broker gets which request when, and how each one ends.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::consumer_group_describe_response as consumer;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response as classic;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_commit_response as commit;
use kafka_protocol::messages::offset_delete_response as forget;
use kafka_protocol::messages::offset_fetch_response as offsets;
use kafka_protocol::messages::{
    ApiKey, BrokerId, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, GroupId, ListGroupsRequest,
    ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest,
    OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kavka_core::wire::{ApiKey as Api, ErrorCode};
use kavka_core::{
    Admin, AdminError, Config, Error, GroupAdmin, GroupOffset, LimitKind, Limits, Obstacle,
    PeerFault, RequestId,
};
use kavka_tests::script::{Reported, Requested, Script, World};

const NOT_COORDINATOR: i16 = 16;
const NOT_FOUND: i16 = 69;

/// What brokers offer of groups: their newest versions that the other codec has.
const GROUPS: [(ApiKey, i16, i16); 8] = [
    (ApiKey::FindCoordinator, 0, 6),
    (ApiKey::ListGroups, 0, 5),
    (ApiKey::DescribeGroups, 0, 6),
    (ApiKey::ConsumerGroupDescribe, 0, 1),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::OffsetFetch, 1, 9),
    (ApiKey::OffsetCommit, 2, 9),
    (ApiKey::OffsetDelete, 0, 0),
];

fn script() -> Script {
    with(2, &GROUPS)
}

fn with(brokers: i32, apis: &[(ApiKey, i16, i16)]) -> Script {
    let mut world = World::new(brokers).topic("t", 2);
    world.extra = apis.to_vec();
    let mut limits = Limits::small();
    limits.conns = 4;
    let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    let mut s = Script::with(world, config, &limits);
    s.manual(ApiKey::FindCoordinator);
    s
}

fn submit(s: &mut Script, wanted: GroupAdmin<'_>) -> RequestId {
    let now = s.now();
    s.client.admin(now, &Admin::Group(wanted)).expect("the request is taken")
}

/// Takes the ends of requests, in order.
fn done(s: &mut Script) -> Vec<(RequestId, Result<(), Error>)> {
    s.take_reported(|reported| match reported {
        Reported::Done { id, result } => Some((*id, *result)),
        _ => None,
    })
}

/// Takes the other parts of responses, as text.
fn replies(s: &mut Script) -> Vec<String> {
    s.take_reported(|reported| match reported {
        Reported::Reply { text, .. } => Some(text.clone()),
        _ => None,
    })
}

/// Names of the parts.
fn kinds(replies: &[String]) -> Vec<&str> {
    let inner = replies.iter().map(|text| text.strip_prefix("Group(").unwrap_or(text));
    inner.map(|text| text.split([' ', '(', ')']).next().unwrap_or_default()).collect()
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn group() -> GroupId {
    GroupId(text("g"))
}

fn topic() -> TopicName {
    TopicName(text("t"))
}

/// Answers a look-up: the coordinator, or an error.
fn answer(s: &mut Script, requested: &Requested<FindCoordinatorRequest>, node: i32, code: i16) {
    assert_eq!(requested.body.coordinator_keys, [text("g")]);
    assert_eq!(requested.body.key_type, 0);
    let found = Coordinator::default()
        .with_key(text("g"))
        .with_node_id(BrokerId(node))
        .with_host(text("not looked at"))
        .with_port(1)
        .with_error_code(code);
    s.respond(requested, FindCoordinatorResponse::default().with_coordinators(vec![found]));
}

/// Lets the client find its coordinator.
fn coordinator(s: &mut Script, node: i32) {
    let requested = s.expect::<FindCoordinatorRequest>();
    answer(s, &requested, node, 0);
}

fn consumer_group(code: i16) -> ConsumerGroupDescribeResponse {
    let topics = |index| {
        let topic = consumer::TopicPartitions::default()
            .with_topic_id(uuid::Uuid::from_u128(7))
            .with_topic_name(topic())
            .with_partitions(vec![index]);
        consumer::Assignment::default().with_topic_partitions(vec![topic])
    };
    let member = consumer::Member::default()
        .with_member_id(text("m-1"))
        .with_client_id(text("c"))
        .with_client_host(text("/127.0.0.1"))
        .with_member_epoch(4)
        .with_subscribed_topic_names(vec![topic(), TopicName(text("u"))])
        .with_assignment(topics(0))
        .with_target_assignment(topics(1))
        .with_member_type(1);
    let group = consumer::DescribedGroup::default()
        .with_error_code(code)
        .with_error_message((code != 0).then(|| text("no such group")))
        .with_group_id(group())
        .with_group_state(text(if code == 0 { "Stable" } else { "" }))
        .with_group_epoch(5)
        .with_assignment_epoch(4)
        .with_assignor_name(text("uniform"))
        .with_members(if code == 0 { vec![member] } else { vec![] });
    ConsumerGroupDescribeResponse::default().with_groups(vec![group])
}

fn classic_group(state: &'static str, code: i16) -> DescribeGroupsResponse {
    let member = classic::DescribedGroupMember::default()
        .with_member_id(text("m-1"))
        .with_client_id(text("c"))
        .with_client_host(text("/127.0.0.1"))
        .with_member_metadata(Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\0"))
        .with_member_assignment(Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\0"));
    let is_there = code == 0 && state != "Dead";
    let group = classic::DescribedGroup::default()
        .with_error_code(code)
        .with_group_id(group())
        .with_group_state(text(state))
        .with_protocol_type(text("consumer"))
        .with_protocol_data(text("range"))
        .with_members(if is_there { vec![member] } else { vec![] });
    DescribeGroupsResponse::default().with_groups(vec![group])
}

#[test]
fn a_group_under_kip_848_is_described_by_its_coordinator() {
    let mut s = script();
    let id = submit(&mut s, GroupAdmin::Describe { group: "g" });
    coordinator(&mut s, 2);
    let requested = s.expect::<ConsumerGroupDescribeRequest>();
    assert_eq!((requested.node, &requested.body.group_ids[..]), (2, &[group()][..]));
    s.respond(&requested, consumer_group(0));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
    let replies = replies(&mut s);
    let wanted =
        ["Consumer", "Member", "Subscribed", "Subscribed", "Assigned", "Target", "MemberType"];
    assert_eq!(kinds(&replies), wanted, "{replies:#?}");
    assert!(replies[4].contains("bytes: [0, 0, 0, 0]"), "{}", replies[4]);
    assert!(replies[5].contains("bytes: [0, 0, 0, 1]"), "{}", replies[5]);
    s.none::<DescribeGroupsRequest>("the group was described");
}

#[test]
fn a_group_that_is_none_under_kip_848_is_described_as_a_classic_one() {
    for code in [NOT_FOUND, 35] {
        let mut s = script();
        let id = submit(&mut s, GroupAdmin::Describe { group: "g" });
        coordinator(&mut s, 2);
        let requested = s.expect::<ConsumerGroupDescribeRequest>();
        s.respond(&requested, consumer_group(code));
        let requested = s.expect::<DescribeGroupsRequest>();
        assert_eq!((requested.node, &requested.body.groups[..]), (2, &[group()][..]));
        s.respond(&requested, classic_group("Stable", 0));
        assert_eq!(done(&mut s), [(id, Ok(()))], "{code}");
        assert_eq!(kinds(&replies(&mut s)), ["Classic", "ClassicMember"], "{code}");
    }
}

#[test]
fn a_group_that_does_not_exist_ends_with_error_69() {
    for (state, code) in [("Dead", 0), ("", NOT_FOUND)] {
        let mut s = script();
        let id = submit(&mut s, GroupAdmin::Describe { group: "g" });
        coordinator(&mut s, 1);
        let requested = s.expect::<ConsumerGroupDescribeRequest>();
        s.respond(&requested, consumer_group(NOT_FOUND));
        let requested = s.expect::<DescribeGroupsRequest>();
        s.respond(&requested, classic_group(state, code));
        assert_eq!(done(&mut s), [(id, Err(Script::code(NOT_FOUND)))], "{state}");
        assert_eq!(replies(&mut s), [""; 0], "{state}");
    }
}

#[test]
fn brokers_without_kip_848_are_sent_the_classic_request_alone() {
    let apis: Vec<_> = GROUPS
        .into_iter()
        .filter(|(api, ..)| *api != ApiKey::ConsumerGroupDescribe)
        .map(|(api, min, max)| (api, min, if api == ApiKey::DescribeGroups { 5 } else { max }))
        .collect();
    let mut s = with(1, &apis);
    let id = submit(&mut s, GroupAdmin::Describe { group: "g" });
    coordinator(&mut s, 1);
    let requested = s.expect::<DescribeGroupsRequest>();
    assert_eq!(requested.version, 5);
    s.respond(&requested, classic_group("Empty", 0));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
}

/// In a rolling restart groups move: the next look-up finds the new coordinator.
#[test]
fn a_broker_that_is_not_the_coordinator_is_not_believed() {
    let mut s = script();
    let id = submit(&mut s, GroupAdmin::Delete { group: "g" });
    coordinator(&mut s, 1);
    let result = |code| {
        let result = DeletableGroupResult::default().with_group_id(group()).with_error_code(code);
        DeleteGroupsResponse::default().with_results(vec![result])
    };
    let requested = s.expect::<DeleteGroupsRequest>();
    assert_eq!(requested.node, 1);
    s.respond(&requested, result(NOT_COORDINATOR));
    coordinator(&mut s, 2);
    let requested = s.expect::<DeleteGroupsRequest>();
    assert_eq!((requested.node, &requested.body.groups_names[..]), (2, &[group()][..]));
    assert_eq!(done(&mut s), []);
    s.respond(&requested, result(0));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
}

#[test]
fn look_ups_that_are_refused_become_rare_and_end_with_the_request() {
    let mut s = script();
    let id = submit(&mut s, GroupAdmin::Delete { group: "g" });
    let (start, mut times) = (s.now(), 0);
    let mut ended = Vec::new();
    while ended.is_empty() {
        s.run(Duration::from_millis(50));
        while let Some(requested) = s.take::<FindCoordinatorRequest>() {
            answer(&mut s, &requested, -1, 15);
            times += 1;
        }
        ended = done(&mut s);
    }
    let code = match ended[0] {
        (of, Err(Error::Blocked(Obstacle::Refused { code, .. }) | Error::Broker(code)))
            if of == id =>
        {
            code
        }
        _ => panic!("{ended:?}"),
    };
    assert_eq!(code, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    let took = start.until(s.now());
    assert!((29..=31).contains(&took.as_secs()), "{took:?}");
    assert!((10..=60).contains(&times), "{times} look-ups");
}

#[test]
fn a_coordinator_that_cannot_be_reached_is_looked_up_again() {
    let mut s = script();
    s.world.node(2).hangs = true;
    let id = submit(&mut s, GroupAdmin::Offsets { group: "g" });
    coordinator(&mut s, 2);
    let requested = s.expect_within::<FindCoordinatorRequest>(Duration::from_secs(3));
    answer(&mut s, &requested, 1, 0);
    let requested = s.expect_within::<OffsetFetchRequest>(Duration::from_secs(1));
    assert_eq!(requested.node, 1);
    let group = offsets::OffsetFetchResponseGroup::default().with_group_id(group());
    s.respond(&requested, OffsetFetchResponse::default().with_groups(vec![group]));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
    assert_eq!(replies(&mut s), [""; 0], "no offsets");
}

#[test]
fn offsets_of_all_topics_are_reported() {
    let mut s = script();
    let id = submit(&mut s, GroupAdmin::Offsets { group: "g" });
    coordinator(&mut s, 1);
    let requested = s.expect::<OffsetFetchRequest>();
    let wanted = &requested.body.groups[0];
    assert_eq!((requested.version, &wanted.group_id, &wanted.topics), (9, &group(), &None));
    assert!(!requested.body.require_stable);
    let partition = |index, offset| {
        offsets::OffsetFetchResponsePartitions::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(3)
            .with_metadata(Some(text("note")))
    };
    let topics = offsets::OffsetFetchResponseTopics::default()
        .with_name(topic())
        .with_partitions(vec![partition(0, 17), partition(1, -1)]);
    let group = offsets::OffsetFetchResponseGroup::default()
        .with_group_id(group())
        .with_topics(vec![topics]);
    s.respond(&requested, OffsetFetchResponse::default().with_groups(vec![group]));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
    let replies = replies(&mut s);
    assert_eq!(kinds(&replies), ["Topic", "Offset", "Offset"]);
    assert!(replies[1].contains("offset: 17, leader_epoch: 3, metadata: \"note\""), "{replies:?}");
}

/// Versions without topic names, from Kafka 4.2 on, cannot be used for topics that are not known.
#[test]
fn offsets_are_requested_in_versions_that_name_topics() {
    let mut apis = GROUPS;
    apis[5].2 = 10;
    apis[6].2 = 10;
    let mut s = with(1, &apis);
    submit(&mut s, GroupAdmin::Offsets { group: "g" });
    coordinator(&mut s, 1);
    assert_eq!(s.expect::<OffsetFetchRequest>().version, 9);
}

const LIST: [GroupOffset<'static>; 2] = [
    GroupOffset { partition: 0, offset: 40, leader_epoch: 2, metadata: "why" },
    GroupOffset { partition: 1, offset: 1 << 40, leader_epoch: -1, metadata: "" },
];

fn committed(results: &[(i32, i16)]) -> OffsetCommitResponse {
    let partition = |(index, code): &(i32, i16)| {
        commit::OffsetCommitResponsePartition::default()
            .with_partition_index(*index)
            .with_error_code(*code)
    };
    let topics = commit::OffsetCommitResponseTopic::default()
        .with_name(topic())
        .with_partitions(results.iter().map(partition).collect());
    OffsetCommitResponse::default().with_topics(vec![topics])
}

#[test]
fn offsets_are_committed_outside_of_the_group() {
    for piece in [usize::MAX, 3] {
        let mut s = script();
        s.piece = piece;
        let id = submit(&mut s, GroupAdmin::SetOffsets { group: "g", topic: "t", offsets: &LIST });
        coordinator(&mut s, 2);
        let requested = s.expect::<OffsetCommitRequest>();
        let body = &requested.body;
        assert_eq!((requested.node, &body.group_id), (2, &group()));
        let outside = (body.generation_id_or_member_epoch, body.member_id.as_str());
        assert_eq!((outside, &body.group_instance_id), ((-1, ""), &None));
        let sent: Vec<_> = body.topics[0]
            .partitions
            .iter()
            .map(|p| {
                let metadata = p.committed_metadata.as_deref();
                (p.partition_index, p.committed_offset, p.committed_leader_epoch, metadata)
            })
            .collect();
        assert_eq!(body.topics[0].name, topic());
        assert_eq!(sent, [(0, 40, 2, Some("why")), (1, 1 << 40, -1, Some(""))]);
        s.respond(&requested, committed(&[(0, 0), (1, 0)]));
        assert_eq!(done(&mut s), [(id, Ok(()))]);
        assert_eq!(kinds(&replies(&mut s)), ["Topic", "Result", "Result"]);
    }
}

#[test]
fn offsets_that_are_refused_fail_with_the_first_reason() {
    let mut s = script();
    let id = submit(&mut s, GroupAdmin::SetOffsets { group: "g", topic: "t", offsets: &LIST });
    coordinator(&mut s, 1);
    let requested = s.expect::<OffsetCommitRequest>();
    s.respond(&requested, committed(&[(0, 25), (1, 0)]));
    assert_eq!(done(&mut s), [(id, Err(Script::code(25)))]);
    assert!(replies(&mut s)[1].contains("UNKNOWN_MEMBER_ID"));
}

#[test]
fn offsets_that_a_response_leaves_out_are_not_committed() {
    let mut s = script();
    let id = submit(&mut s, GroupAdmin::SetOffsets { group: "g", topic: "t", offsets: &LIST });
    coordinator(&mut s, 1);
    let requested = s.expect::<OffsetCommitRequest>();
    s.respond(&requested, committed(&[(1, 0)]));
    let left_out = Err(Error::Peer(PeerFault::LeftOut(Api::OFFSET_COMMIT)));
    assert_eq!(done(&mut s), [(id, left_out)]);
}

/// A coordinator that loads its groups refuses each partition; the whole commit is sent again.
#[test]
fn offsets_are_committed_when_the_coordinator_has_loaded() {
    let mut s = script();
    let id = submit(&mut s, GroupAdmin::SetOffsets { group: "g", topic: "t", offsets: &LIST });
    coordinator(&mut s, 1);
    let requested = s.expect::<OffsetCommitRequest>();
    s.respond(&requested, committed(&[(0, 14), (1, 14)]));
    coordinator(&mut s, 1);
    let requested = s.expect::<OffsetCommitRequest>();
    assert_eq!(requested.body.topics[0].partitions.len(), 2);
    s.respond(&requested, committed(&[(0, 0), (1, 0)]));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
    let results = replies(&mut s).iter().filter(|text| text.contains("Result")).count();
    assert_eq!(results, 2, "what was tried again is no result");
}

#[test]
fn offsets_are_deleted() {
    for (top, each) in [(0, 0), (0, 86), (NOT_FOUND, 0)] {
        let mut s = script();
        let partitions = &[0, 1];
        let id = submit(&mut s, GroupAdmin::DeleteOffsets { group: "g", topic: "t", partitions });
        coordinator(&mut s, 2);
        let requested = s.expect::<OffsetDeleteRequest>();
        let topic = &requested.body.topics[0];
        let sent: Vec<_> = topic.partitions.iter().map(|p| p.partition_index).collect();
        assert_eq!((&requested.body.group_id, sent), (&group(), vec![0, 1]));
        let partition = |index| {
            forget::OffsetDeleteResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(each)
        };
        let topic = forget::OffsetDeleteResponseTopic::default()
            .with_name(self::topic())
            .with_partitions(vec![partition(0), partition(1)]);
        let body = OffsetDeleteResponse::default().with_error_code(top).with_topics(if top == 0 {
            vec![topic]
        } else {
            vec![]
        });
        s.respond(&requested, body);
        let wanted = match (top, each) {
            (0, 0) => Ok(()),
            (0, code) | (code, _) => Err(Script::code(code)),
        };
        assert_eq!(done(&mut s), [(id, wanted)]);
    }
}

#[test]
fn each_broker_lists_its_own_groups() {
    let mut s = with(3, &GROUPS);
    let now = s.now();
    let id = s.client.admin(now, &Admin::Brokers).expect("taken");
    s.run(Duration::from_secs(1));
    assert_eq!(done(&mut s), [(id, Ok(()))]);
    let named = replies(&mut s);
    let wanted = ["Broker", "Broker", "Broker", "Cluster"];
    assert_eq!(named.iter().map(|t| t.split(' ').next().unwrap_or("")).collect::<Vec<_>>(), wanted);
    for broker in [3, 1] {
        let id = submit(&mut s, GroupAdmin::List { broker });
        let requested = s.expect::<ListGroupsRequest>();
        assert_eq!((requested.node, requested.version), (broker, 5));
        let listed = ListedGroup::default()
            .with_group_id(group())
            .with_protocol_type(text("consumer"))
            .with_group_state(text("Empty"))
            .with_group_type(text("Classic"));
        s.respond(&requested, ListGroupsResponse::default().with_groups(vec![listed]));
        assert_eq!(done(&mut s), [(id, Ok(()))]);
        assert_eq!(kinds(&replies(&mut s)), ["Listed"]);
        s.none::<FindCoordinatorRequest>("a list needs no coordinator");
    }
}

#[test]
fn a_list_of_a_broker_that_does_not_respond_ends() {
    let mut s = with(2, &GROUPS);
    s.world.node(2).up = false;
    let id = submit(&mut s, GroupAdmin::List { broker: 2 });
    s.run(Duration::from_secs(29));
    assert_eq!(done(&mut s), []);
    s.run(Duration::from_secs(2));
    let ends = done(&mut s);
    assert!(matches!(ends[..], [(of, Err(_))] if of == id), "{ends:?}");
}

#[test]
fn brokers_without_an_api_are_named() {
    let apis: Vec<_> =
        GROUPS.into_iter().filter(|(api, ..)| *api != ApiKey::OffsetDelete).collect();
    let mut s = with(1, &apis);
    let wanted = GroupAdmin::DeleteOffsets { group: "g", topic: "t", partitions: &[0] };
    let id = submit(&mut s, wanted);
    coordinator(&mut s, 1);
    s.run(Duration::from_secs(1));
    let lacks = Err(Error::Peer(PeerFault::NoApi(Api::OFFSET_DELETE)));
    assert_eq!(done(&mut s), [(id, lacks)]);
}

#[test]
fn a_connection_that_ends_ends_its_request() {
    let mut s = script();
    let id = submit(&mut s, GroupAdmin::Describe { group: "g" });
    coordinator(&mut s, 2);
    let requested = s.expect::<ConsumerGroupDescribeRequest>();
    s.cut(requested.conn);
    let ends = done(&mut s);
    assert!(matches!(ends[..], [(of, Err(Error::Closed(_)))] if of == id), "{ends:?}");
}

#[test]
fn what_can_never_be_sent_is_refused_and_keeps_no_memory() {
    let mut s = script();
    s.run(Duration::from_secs(1));
    let before = s.client.stats().blocks_used;
    let now = s.now();
    let long = "g".repeat(1025);
    let refused = s.client.admin(now, &Admin::Group(GroupAdmin::Delete { group: &long }));
    let wanted = AdminError::TooLarge { what: LimitKind::Text, needed: 1025, max: 1024 };
    assert_eq!(refused, Err(wanted));
    let many = vec![LIST[0]; 100_000];
    let refused = s.client.admin(
        now,
        &Admin::Group(GroupAdmin::SetOffsets { group: "g", topic: "t", offsets: &many }),
    );
    let too_large =
        matches!(refused, Err(AdminError::TooLarge { what: LimitKind::SendBlocks, .. }));
    assert!(too_large, "{refused:?}");
    assert_eq!(s.client.stats().blocks_used, before);
}
