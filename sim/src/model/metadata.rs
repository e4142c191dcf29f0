//! ApiVersions, Metadata and DescribeTopicPartitions, from the broker's own image.

use std::sync::Arc;

use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey};
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, MetadataRequest, MetadataResponse, ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{Cluster, Ctx, Reply};
use crate::code;
use crate::frame::Response;
use crate::image::{Endpoint, TopicImage, TopicRef};
use crate::profile::Profile;

/// `max.request.partition.size.limit`.
const DESCRIBE_LIMIT: i32 = 2000;

fn ids(of: &[i32]) -> Vec<BrokerId> {
    of.iter().copied().map(BrokerId).collect()
}

impl Cluster {
    pub(super) fn api_versions(&self, ctx: &Ctx) -> Reply {
        let profile = self.profile(ctx.broker);
        let mut body = ApiVersionsResponse::default().with_throttle_time_ms(ctx.throttle());
        let offered = profile.ranges().iter().filter(|(api, ..)| !self.withheld.contains(api));
        body.api_keys = offered.map(|r| api_version(*r)).collect();
        let more = self.more_ranges(profile);
        let more = more.into_iter().filter(|(api, ..)| !self.withheld.contains(api));
        body.api_keys.extend(more.map(api_version));
        body.error_code = ctx.injected().unwrap_or(code::NONE);
        if ctx.version >= 3 {
            let transactions = self.options.transactions.as_ref().map_or(2, |at| at.version);
            body.finalized_features = features(profile, transactions);
            body.finalized_features_epoch =
                if profile.zookeeper() { 0 } else { self.features_epoch };
        }
        let mut response = ctx.respond(ResponseKind::ApiVersions(body));
        response.version = ctx.version.min(4); // v5 changes the request only
        Reply::Now(response)
    }

    /// KIP-511: in v0 format, with the range of ApiVersions itself; before 2.4 with none.
    pub(super) fn unsupported_version(&self, ctx: &Ctx) -> Box<Response> {
        let profile = self.profile(ctx.broker);
        let own = profile.ranges().iter().filter(|(api, ..)| *api == ApiKey::ApiVersions);
        let mut body = ApiVersionsResponse::default().with_error_code(code::UNSUPPORTED_VERSION);
        if profile > Profile::V1_1 {
            body.api_keys = own.map(|r| api_version(*r)).collect();
        }
        let mut response = ctx.respond(ResponseKind::ApiVersions(body));
        response.version = 0;
        response
    }

    pub(super) fn metadata(&mut self, ctx: &Ctx, request: MetadataRequest) -> Reply {
        if self.options.auto_create && request.allow_auto_topic_creation {
            for topic in request.topics.iter().flatten().filter_map(|topic| topic.name.as_ref()) {
                let _ = self.create_topic(topic, 1); // existing ones stay
            }
        }
        let image = self.view(ctx.broker).clone();
        let mut body = MetadataResponse::default().with_throttle_time_ms(ctx.throttle());
        body.brokers = image.brokers.iter().map(broker).collect();
        let foreign = self.impostors.contains(&ctx.broker);
        let other = StrBytes::from_static_str("another-cluster-00001");
        body.cluster_id = Some(if foreign { other } else { self.cluster_id.clone() });
        body.controller_id = BrokerId(self.controller());
        let all = match &request.topics {
            None => true,
            Some(topics) => topics.is_empty() && ctx.version == 0,
        };
        if all {
            let topics = image.topics.values();
            body.topics = topics.map(|topic| self.metadata_topic(ctx, topic)).collect();
        } else {
            for requested in request.topics.unwrap_or_default() {
                let (topic, unknown) = match requested.name {
                    Some(name) => (TopicRef::Name(name.0), code::UNKNOWN_TOPIC_OR_PARTITION),
                    None => (TopicRef::Id(requested.topic_id), code::UNKNOWN_TOPIC_ID),
                };
                body.topics.push(match image.topic(&topic) {
                    Some(found) => self.metadata_topic(ctx, found),
                    None => missing(topic, ctx.injected().unwrap_or(unknown)),
                });
            }
        }
        for topic in body.topics.iter_mut().filter(|_| foreign) {
            // Topics of the same names, but not the same ones.
            topic.topic_id = Uuid::from_u128(!topic.topic_id.as_u128());
            topic.partitions.truncate(1);
        }
        Reply::Now(ctx.respond(ResponseKind::Metadata(body)))
    }

    fn metadata_topic(&self, ctx: &Ctx, topic: &Arc<TopicImage>) -> MetadataResponseTopic {
        let topic = self.shown(ctx.broker, topic);
        let name = Some(TopicName(topic.name.clone()));
        let mut reported = MetadataResponseTopic::default().with_name(name);
        reported.error_code = ctx.reported(ctx.injected().unwrap_or(code::NONE));
        if self.options.profile.topic_ids() && ctx.version >= 10 {
            reported.topic_id = topic.id;
        }
        if reported.error_code != code::NONE {
            return reported;
        }
        let reported_of = |index: &usize| !topic.partitions[*index].hidden;
        let mut order: Vec<usize> = (0..topic.partitions.len()).filter(reported_of).collect();
        if self.profile(ctx.broker) <= Profile::V3_9 {
            order.sort_by_key(|index| index.wrapping_mul(0x9e37_79b9) % 0x1_0001); // a hash order
        }
        reported.partitions =
            order.into_iter().map(|i| metadata_partition(ctx, &topic, i)).collect();
        reported
    }

    /// Returns the broker that takes admin requests in ZooKeeper mode: the live one with the lowest
    /// id.
    pub(super) fn controller(&self) -> i32 {
        let live = self.nodes.iter().find(|(_, node)| node.in_cluster());
        live.map_or(-1, |(id, _)| *id)
    }

    /// `DescribeTopicPartitionsRequestHandler`, `KRaftMetadataCache.describeTopicResponse`.
    pub(super) fn describe(&self, ctx: &Ctx, request: &DescribeTopicPartitionsRequest) -> Reply {
        let image = self.view(ctx.broker);
        let mut body = DescribeTopicPartitionsResponse::default();
        body.throttle_time_ms = ctx.throttle();
        let mut names: Vec<StrBytes> = request.topics.iter().map(|t| t.name.0.clone()).collect();
        if let Some(code) = ctx.injected().or_else(|| bad_cursor(request, &names)) {
            body.topics = names.into_iter().map(|name| undescribed(name, code)).collect();
            return Reply::Now(ctx.respond(ResponseKind::DescribeTopicPartitions(body)));
        }
        if names.is_empty() {
            names = image.topics.keys().cloned().collect();
        }
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        if let Some(cursor) = &request.cursor {
            names.retain(|name| name.as_str() >= cursor.topic_name.as_str());
        }
        let mut room = request.response_partition_limit.clamp(1, DESCRIBE_LIMIT);
        for name in names {
            let Some(topic) = image.topics.get(&name) else {
                body.topics.push(undescribed(name, code::UNKNOWN_TOPIC_OR_PARTITION));
                continue;
            };
            let cursor = request.cursor.as_ref().filter(|cursor| cursor.topic_name.0 == name);
            let start = cursor.map_or(0, |cursor| cursor.partition_index);
            if room == 0 {
                body.next_cursor = Some(next_cursor(&name, start));
                break;
            }
            let (reported, next) = described(&self.shown(ctx.broker, topic), start, room);
            room -= i32::try_from(reported.partitions.len()).unwrap_or(room);
            body.topics.push(reported);
            if let Some(next) = next {
                body.next_cursor = Some(next_cursor(&name, next));
                break;
            }
        }
        Reply::Now(ctx.respond(ResponseKind::DescribeTopicPartitions(body)))
    }
}

fn api_version((api, min, max): (ApiKey, i16, i16)) -> ApiVersion {
    ApiVersion::default().with_api_key(api as i16).with_min_version(min).with_max_version(max)
}

fn features(profile: Profile, transactions: i16) -> Vec<FinalizedFeatureKey> {
    let of: &[(&'static str, i16)] = match profile {
        Profile::V4_4 => &[
            ("group.version", 1),
            ("transaction.version", transactions),
            ("share.version", 2),
            ("streams.version", 1),
            ("eligible.leader.replicas.version", 1),
            ("metadata.version", 33),
        ],
        Profile::V3_9 => &[("metadata.version", 21)],
        _ => &[],
    };
    let feature = |(name, level): &(&'static str, i16)| {
        FinalizedFeatureKey::default()
            .with_name(StrBytes::from_static_str(name))
            .with_max_version_level(*level)
            .with_min_version_level(*level)
    };
    of.iter().map(feature).collect()
}

fn broker(endpoint: &Endpoint) -> MetadataResponseBroker {
    MetadataResponseBroker::default()
        .with_node_id(BrokerId(endpoint.id))
        .with_host(endpoint.host.clone())
        .with_port(i32::from(endpoint.port))
        .with_rack(endpoint.rack.clone())
}

fn missing(topic: TopicRef, code: i16) -> MetadataResponseTopic {
    let reported = MetadataResponseTopic::default().with_error_code(code);
    match topic {
        TopicRef::Name(name) => reported.with_name(Some(TopicName(name))),
        TopicRef::Id(id) => reported.with_name(None).with_topic_id(id),
    }
}

fn metadata_partition(ctx: &Ctx, topic: &TopicImage, index: usize) -> MetadataResponsePartition {
    let image = &topic.partitions[index];
    let mut reported = MetadataResponsePartition::default()
        .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
        .with_leader_id(BrokerId(image.leader))
        .with_replica_nodes(ids(&image.replicas))
        .with_isr_nodes(ids(&image.isr));
    if image.leader < 0 {
        reported.error_code = code::LEADER_NOT_AVAILABLE;
    }
    if ctx.version >= 7 {
        reported.leader_epoch = image.epoch;
    }
    reported
}

fn bad_cursor(request: &DescribeTopicPartitionsRequest, names: &[StrBytes]) -> Option<i16> {
    let cursor = request.cursor.as_ref()?;
    let listed = names.is_empty() || names.contains(&cursor.topic_name.0);
    (!listed || cursor.partition_index < 0).then_some(code::INVALID_REQUEST)
}

fn undescribed(name: StrBytes, code: i16) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(name)))
        .with_error_code(code)
        .with_topic_id(Uuid::nil())
}

/// Returns one topic's partitions `start..start + room`, and the next index if there are more.
fn described(
    topic: &TopicImage,
    start: i32,
    room: i32,
) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
    // Kafka computes with Java's int: a huge start wraps, and its next cursor is negative.
    let upper = start.wrapping_add(room);
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let range = start..upper.min(count);
    let next = (upper < count).then_some(upper);
    let partitions = range.filter_map(|index| {
        let image = topic.partitions.get(usize::try_from(index).ok()?)?;
        (!image.hidden).then(|| {
            DescribeTopicPartitionsResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(BrokerId(image.leader))
                .with_leader_epoch(image.epoch)
                .with_replica_nodes(ids(&image.replicas))
                .with_isr_nodes(ids(&image.isr))
                .with_eligible_leader_replicas(Some(Vec::new()))
                .with_last_known_elr(Some(Vec::new()))
        })
    });
    let reported = DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(topic.name.clone())))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect());
    (reported, next)
}

fn next_cursor(name: &StrBytes, index: i32) -> Cursor {
    Cursor::default().with_topic_name(TopicName(name.clone())).with_partition_index(index)
}
