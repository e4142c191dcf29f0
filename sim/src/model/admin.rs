//! CreateTopics, CreatePartitions and DeleteTopics.

use core::time::Duration;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{Cluster, Ctx, Reply};
use crate::code;

/// How long a name stays reserved after a deletion in ZooKeeper mode.
const ZOOKEEPER_DELETION: Duration = Duration::from_millis(300);

/// Topic configs that CreateTopics v5+ returns to the client, as every broker does.
const CONFIGS: [(&str, &str); 26] = [
    ("compression.type", "producer"),
    ("leader.replication.throttled.replicas", ""),
    ("message.downconversion.enable", "true"),
    ("min.insync.replicas", "1"),
    ("segment.jitter.ms", "0"),
    ("cleanup.policy", "delete"),
    ("flush.ms", "9223372036854775807"),
    ("follower.replication.throttled.replicas", ""),
    ("segment.bytes", "1073741824"),
    ("retention.ms", "604800000"),
    ("flush.messages", "9223372036854775807"),
    ("message.format.version", "2.8-IV1"),
    ("file.delete.delay.ms", "60000"),
    ("max.compaction.lag.ms", "9223372036854775807"),
    ("max.message.bytes", "1048588"),
    ("min.compaction.lag.ms", "0"),
    ("message.timestamp.type", "CreateTime"),
    ("preallocate", "false"),
    ("min.cleanable.dirty.ratio", "0.5"),
    ("index.interval.bytes", "4096"),
    ("unclean.leader.election.enable", "false"),
    ("retention.bytes", "-1"),
    ("delete.retention.ms", "86400000"),
    ("segment.ms", "604800000"),
    ("message.timestamp.difference.max.ms", "9223372036854775807"),
    ("segment.index.bytes", "10485760"),
];

impl Cluster {
    /// In ZooKeeper mode brokers other than the controller refuse and forward nothing.
    fn refused(&self, ctx: &Ctx) -> Option<i16> {
        let elsewhere = self.profile(ctx.broker).zookeeper() && self.controller() != ctx.broker;
        ctx.injected().or(elsewhere.then_some(code::NOT_CONTROLLER))
    }

    pub(super) fn create_topics(&mut self, ctx: &Ctx, request: &CreateTopicsRequest) -> Reply {
        let mut body = CreateTopicsResponse::default().with_throttle_time_ms(ctx.throttle());
        for topic in &request.topics {
            let made = match self.refused(ctx) {
                Some(code) => Err(code),
                None => self.create_requested(topic, request.validate_only),
            };
            let mut reported = CreatableTopicResult::default().with_name(topic.name.clone());
            reported.error_code = ctx.reported(made.err().unwrap_or(code::NONE));
            if ctx.version >= 5 {
                reported.num_partitions = -1;
                reported.replication_factor = -1;
                if let Ok((partitions, replication)) = made {
                    reported.num_partitions = partitions;
                    reported.replication_factor = replication;
                    reported.configs = Some(CONFIGS.iter().map(config).collect());
                }
            }
            if ctx.version >= 7 && made.is_ok() && self.options.profile.topic_ids() {
                reported.topic_id = self.names.get(&topic.name.0).copied().unwrap_or_default();
            }
            body.topics.push(reported);
        }
        Reply::Now(ctx.respond(ResponseKind::CreateTopics(body)))
    }

    /// Creates a topic unless `dry`; returns its (partitions, replicas).
    fn create_requested(&mut self, topic: &CreatableTopic, dry: bool) -> Result<(i32, i16), i16> {
        check_name(&topic.name.0)?;
        let now = self.now;
        self.deleting.retain(|_, until| *until > now);
        if self.names.contains_key(&topic.name.0) || self.deleting.contains_key(&topic.name.0) {
            return Err(code::TOPIC_ALREADY_EXISTS);
        }
        let partitions = match topic.num_partitions {
            -1 => 1,
            count => count,
        };
        let count = u32::try_from(partitions).map_err(|_| code::INVALID_PARTITIONS)?;
        if count == 0 {
            return Err(code::INVALID_PARTITIONS);
        }
        let replication = match topic.replication_factor {
            -1 => i64::from(self.options.replication).min(self.nodes.len() as i64),
            factor => i64::from(factor),
        };
        if replication < 1 || replication > self.nodes.len() as i64 {
            return Err(code::INVALID_REPLICATION_FACTOR);
        }
        if !dry {
            self.create(&topic.name.0, count, u32::try_from(replication).unwrap_or(1))?;
        }
        Ok((partitions, i16::try_from(replication).unwrap_or(i16::MAX)))
    }

    pub(super) fn create_partitions(
        &mut self,
        ctx: &Ctx,
        request: &CreatePartitionsRequest,
    ) -> Reply {
        let mut body = CreatePartitionsResponse::default().with_throttle_time_ms(ctx.throttle());
        for topic in &request.topics {
            let mut result = match self.refused(ctx) {
                Some(code) => Err(code),
                None => self.grow_requested(topic, request.validate_only),
            };
            if result.is_ok() && request.timeout_ms <= 0 && !request.validate_only {
                result = Err(code::REQUEST_TIMED_OUT); // and yet partitions were added
            }
            body.results.push(
                CreatePartitionsTopicResult::default()
                    .with_name(topic.name.clone())
                    .with_error_code(ctx.reported(result.err().unwrap_or(code::NONE)))
                    .with_error_message(None),
            );
        }
        Reply::Now(ctx.respond(ResponseKind::CreatePartitions(body)))
    }

    fn grow_requested(&mut self, topic: &CreatePartitionsTopic, dry: bool) -> Result<(), i16> {
        let have = self.partitions(&topic.name);
        if have == 0 {
            return Err(code::UNKNOWN_TOPIC_OR_PARTITION);
        }
        let count = u32::try_from(topic.count).map_err(|_| code::INVALID_PARTITIONS)?;
        if count <= have {
            return Err(code::INVALID_PARTITIONS);
        }
        if dry { Ok(()) } else { self.grow(&topic.name, count) }
    }

    pub(super) fn delete_topics(&mut self, ctx: &Ctx, request: &DeleteTopicsRequest) -> Reply {
        let mut body = DeleteTopicsResponse::default().with_throttle_time_ms(ctx.throttle());
        let by_name = request.topic_names.iter().cloned();
        let by_name = by_name.map(|name| DeleteTopicState::default().with_name(Some(name)));
        for requested in by_name.chain(request.topics.iter().cloned()) {
            body.responses.push(self.delete_requested(ctx, requested));
        }
        Reply::Now(ctx.respond(ResponseKind::DeleteTopics(body)))
    }

    fn delete_requested(&mut self, ctx: &Ctx, requested: DeleteTopicState) -> DeletableTopicResult {
        let named = requested.name.map(|name| name.0);
        let by_id = named.is_none();
        let name = named.or_else(|| self.topics.get(&requested.topic_id).map(|t| t.name.clone()));
        let mut reported = DeletableTopicResult::default();
        reported.name = name.clone().map(TopicName);
        if ctx.version >= 6 {
            let id = name.as_ref().and_then(|name| self.names.get(name));
            reported.topic_id = id.copied().unwrap_or(requested.topic_id);
        }
        let result = match (self.refused(ctx), name) {
            (Some(code), _) => Err(code),
            (None, Some(name)) => self.delete_topic(&name).map(|()| {
                if self.options.profile.zookeeper() {
                    self.deleting.insert(name, self.now + ZOOKEEPER_DELETION);
                }
            }),
            (None, None) if by_id => Err(code::UNKNOWN_TOPIC_ID),
            (None, None) => Err(code::UNKNOWN_TOPIC_OR_PARTITION),
        };
        reported.error_code = ctx.reported(result.err().unwrap_or(code::NONE));
        reported
    }
}

/// `Topic.validate`: 1 to 249 of `[a-zA-Z0-9._-]`, not `.` or `..`.
fn check_name(name: &StrBytes) -> Result<(), i16> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let sound = (1..=249).contains(&name.len()) && name.bytes().all(legal);
    if sound && !matches!(name.as_str(), "." | "..") { Ok(()) } else { Err(code::INVALID_TOPIC) }
}

fn config((name, value): &(&'static str, &'static str)) -> CreatableTopicConfigs {
    CreatableTopicConfigs::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(Some(StrBytes::from_static_str(value)))
        .with_config_source(5)
}
