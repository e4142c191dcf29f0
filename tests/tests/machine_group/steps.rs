//! A coordinator by hand: heartbeats, commits and their responses.

use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use kafka_protocol::protocol::StrBytes;
use kavka_core::{Config, Duration, Event, GroupProtocol, Limits, Start, TopicId};
use kavka_tests::script::{Requested, Script, World};
use uuid::Uuid;

pub(crate) type Beat = Requested<ConsumerGroupHeartbeatRequest>;
pub(crate) type Commit = Requested<OffsetCommitRequest>;

/// The heartbeat interval of the coordinator.
pub(crate) const INTERVAL: i32 = 5000;

/// Returns a world of two brokers, the second of which coordinates, with topic `t`, whose logs end
/// at 40.
pub(crate) fn world(partitions: usize) -> World {
    let mut world = World::new(2).topic("t", partitions).coordinator(2);
    for index in 0..partitions {
        world.partition("t", index).end = 40;
    }
    world
}

pub(crate) fn config(world: &World) -> Config<'static> {
    let mut config = Config::new(world.bootstrap()).linger(Duration::ZERO).group("g");
    config.group_protocol = GroupProtocol::Consumer;
    config
}

/// Subscribes to topic `t`.
pub(crate) fn subscribed(world: World, config: Config<'static>, start: Start) -> (Script, TopicId) {
    let mut s = Script::with(world, config, &Limits::small());
    let now = s.now();
    s.client.set_wall_clock(now, 1_700_000_000_000);
    let t = s.topic("t");
    s.client.subscribe(now, &[t], start).expect("subscribed");
    (s, t)
}

/// The same with the usual configuration, and a first heartbeat.
pub(crate) fn joining(partitions: usize, start: Start) -> (Script, TopicId, Beat) {
    let world = world(partitions);
    let config = config(&world);
    let (mut s, t) = subscribed(world, config, start);
    let beat = s.expect::<ConsumerGroupHeartbeatRequest>();
    (s, t, beat)
}

/// Responds to a heartbeat: epoch, and partitions of `t` if the assignment is named.
pub(crate) fn beat(s: &mut Script, requested: &Beat, epoch: i32, partitions: Option<&[i32]>) {
    let id = s.world.topic_mut("t").id;
    let topics = |partitions: &[i32]| match partitions {
        [] => Vec::new(),
        list => vec![TopicPartitions::default().with_topic_id(id).with_partitions(list.to_vec())],
    };
    let assignment =
        partitions.map(|list| Assignment::default().with_topic_partitions(topics(list)));
    s.respond(
        requested,
        ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(requested.body.member_id.clone()))
            .with_member_epoch(epoch)
            .with_heartbeat_interval_ms(INTERVAL)
            .with_assignment(assignment),
    );
}

/// Responds to heartbeats that wait: nothing has changed.
pub(crate) fn calm(s: &mut Script) {
    while let Some(due) = s.take::<ConsumerGroupHeartbeatRequest>() {
        let epoch = due.body.member_epoch.max(1);
        beat(s, &due, epoch, None);
    }
}

pub(crate) fn refuse_beat(s: &mut Script, requested: &Beat, code: i16) {
    let body = ConsumerGroupHeartbeatResponse::default().with_error_code(code);
    s.respond(requested, body);
}

/// Waits for a heartbeat.
pub(crate) fn next_beat(s: &mut Script) -> Beat {
    s.expect::<ConsumerGroupHeartbeatRequest>()
}

/// Returns the partitions that a heartbeat lists as owned; `None`: unchanged.
pub(crate) fn owned(beat: &Beat) -> Option<Vec<i32>> {
    let topics = beat.body.topic_partitions.as_ref()?;
    let mut list: Vec<i32> = topics.iter().flat_map(|topic| topic.partitions.clone()).collect();
    list.sort_unstable();
    Some(list)
}

/// Whether a heartbeat has all fields.
pub(crate) fn is_full(beat: &Beat) -> bool {
    let body = &beat.body;
    body.subscribed_topic_names.is_some()
        && body.topic_partitions.is_some()
        && body.rebalance_timeout_ms > 0
}

/// A commit as the coordinator has it: offset, -1 for none, and text.
pub(crate) type Found<'a> = (i64, &'a str, i16);

/// Responds to a request for commits: `found` by partition.
pub(crate) fn fetched(
    s: &mut Script,
    requested: &Requested<OffsetFetchRequest>,
    found: impl Fn(i32) -> Found<'static>,
) {
    let groups = requested.body.groups.iter().map(|group| {
        let topics = group.topics.iter().flatten().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                let (offset, text, error) = found(*index);
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(*index)
                    .with_committed_offset(offset)
                    .with_committed_leader_epoch(-1)
                    .with_metadata(Some(StrBytes::from_static_str(text)))
                    .with_error_code(error)
            });
            OffsetFetchResponseTopics::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        OffsetFetchResponseGroup::default()
            .with_group_id(group.group_id.clone())
            .with_topics(topics.collect())
    });
    let groups = groups.collect();
    s.respond(requested, OffsetFetchResponse::default().with_groups(groups));
}

/// Waits for a request for commits and responds.
pub(crate) fn fetch_commits(s: &mut Script, found: impl Fn(i32) -> Found<'static>) {
    let requested = s.expect::<OffsetFetchRequest>();
    fetched(s, &requested, found);
}

pub(crate) fn next_commit(s: &mut Script) -> Commit {
    s.expect::<OffsetCommitRequest>()
}

/// Returns what a commit has: partition, offset and text.
pub(crate) fn committed(commit: &Commit) -> Vec<(i32, i64, String)> {
    let mut list: Vec<_> = commit
        .body
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|p| {
            let text = p.committed_metadata.as_ref().map_or("", |text| text.as_str());
            (p.partition_index, p.committed_offset, text.to_owned())
        })
        .collect();
    list.sort();
    list
}

/// Returns the same without the texts.
pub(crate) fn offsets(commit: &Commit) -> Vec<(i32, i64)> {
    committed(commit).into_iter().map(|(partition, offset, _)| (partition, offset)).collect()
}

/// Responds to a commit with an error code by partition.
pub(crate) fn commit_with(s: &mut Script, requested: &Commit, code: impl Fn(i32) -> i16) {
    let topics = requested.body.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(code(p.partition_index))
        });
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    let topics = topics.collect();
    s.respond(requested, OffsetCommitResponse::default().with_topics(topics));
}

/// Returns a member with these partitions, which continue at 10.
pub(crate) fn member(partitions: usize, mine: &[i32]) -> (Script, TopicId) {
    let world = world(partitions);
    let config = config(&world);
    member_with(world, config, mine)
}

pub(crate) fn member_with(
    world: World,
    config: Config<'static>,
    mine: &[i32],
) -> (Script, TopicId) {
    let (mut s, t) = subscribed(world, config, Start::Latest);
    let first = next_beat(&mut s);
    beat(&mut s, &first, 1, Some(mine));
    fetch_commits(&mut s, |_| (10, "", 0));
    let second = next_beat(&mut s);
    beat(&mut s, &second, 1, None);
    assert_eq!(assigned(&mut s), mine);
    (s, t)
}

/// Takes the partitions that were reported as assigned, in order.
pub(crate) fn assigned(s: &mut Script) -> Vec<i32> {
    let mut list = s.take_reported(|reported| match reported.event()? {
        Event::Assigned { partition, .. } => Some(partition.partition as i32),
        _ => None,
    });
    list.sort_unstable();
    list
}

/// Takes the partitions that were reported as being revoked.
pub(crate) fn revoking(s: &mut Script) -> Vec<u32> {
    s.take_reported(|reported| match reported.event()? {
        Event::Revoking { partition, .. } => Some(partition.partition),
        _ => None,
    })
}

/// Takes the partitions that were reported as lost.
pub(crate) fn lost(s: &mut Script) -> Vec<u32> {
    s.take_reported(|reported| match reported.event()? {
        Event::Lost { partition, .. } => Some(partition.partition),
        _ => None,
    })
}

/// Takes the events of the group as a whole.
pub(crate) fn group_events(s: &mut Script) -> Vec<Event<'static>> {
    s.take_reported(|reported| {
        let event = reported.event()?;
        let of_group = matches!(
            event,
            Event::GroupFailed { .. }
                | Event::GroupTrouble { .. }
                | Event::GroupLeft
                | Event::Committed { .. }
        );
        of_group.then_some(event)
    })
}

/// Returns the marker of a group that first saw `count` partitions of `t`.
pub(crate) fn marker(s: &mut Script, count: u32, begun: i64) -> String {
    let id = *s.world.topic_mut("t").id.as_bytes();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = u128::from_be_bytes(id);
    let digit = |at: u32| {
        let six = match 122_u32.checked_sub(6 * at) {
            Some(shift) => bits >> shift,
            None => bits << (6 * at - 122),
        };
        char::from(alphabet[(six & 63) as usize])
    };
    let text: String = (0..22).map(digit).collect();
    format!("kv1;n={count};b={begun};t={text};")
}

/// Recreates topic `t` under another id.
pub(crate) const OTHER: Uuid = Uuid::from_u128(0x7777);
