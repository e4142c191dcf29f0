//! A response of the other codec, as the items that our decoder should return.

use core::fmt::Debug;

use kafka_protocol::messages::{
    BrokerId, CreateTopicsResponse, DescribeTopicPartitionsResponse, FetchResponse,
    MetadataResponse, OffsetForLeaderEpochResponse, ProduceResponse, ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kavka_core::wire::{
    ApiKey, ErrorCode, Uuid, api_versions, create_partitions, create_topics, delete_topics,
    describe_topic_partitions as describe, fetch, init_producer_id, list_offsets, metadata,
    offset_for_leader_epoch, produce,
};

/// Formatted items. Borrowed `int32`s have no constructor, so they are text.
struct Reported(Vec<String>);

impl Reported {
    fn say(&mut self, item: impl Debug) {
        self.0.push(format!("{item:?}"));
    }
}

pub(super) fn items(response: &ResponseKind, version: i16) -> Vec<String> {
    let mut reported = Reported(Vec::new());
    match response {
        ResponseKind::ApiVersions(response) => api_versions(&mut reported, response, version),
        ResponseKind::Metadata(response) => metadata(&mut reported, response, version),
        ResponseKind::Produce(response) => produce(&mut reported, response, version),
        ResponseKind::Fetch(response) => fetch(&mut reported, response, version),
        ResponseKind::DescribeTopicPartitions(response) => describe(&mut reported, response),
        ResponseKind::CreateTopics(response) => create_topics(&mut reported, response),
        ResponseKind::ListOffsets(response) => {
            use list_offsets::Item;
            if version >= 2 {
                reported.say(Item::Throttle { ms: response.throttle_time_ms });
            }
            for topic in &response.topics {
                reported.say(Item::Topic { name: &topic.name });
                for p in &topic.partitions {
                    reported.say(Item::Partition {
                        index: p.partition_index,
                        error: ErrorCode(p.error_code),
                        timestamp: p.timestamp,
                        offset: p.offset,
                        leader_epoch: p.leader_epoch,
                    });
                }
                reported.say(Item::TopicEnd);
            }
        }
        ResponseKind::InitProducerId(response) => reported.say(init_producer_id::Item::Response {
            throttle_ms: response.throttle_time_ms,
            error: ErrorCode(response.error_code),
            producer_id: response.producer_id.0,
            producer_epoch: response.producer_epoch,
        }),
        ResponseKind::CreatePartitions(response) => {
            use create_partitions::Item;
            reported.say(Item::Throttle { ms: response.throttle_time_ms });
            for topic in &response.results {
                reported.say(Item::Topic {
                    name: &topic.name,
                    error: ErrorCode(topic.error_code),
                    message: topic.error_message.as_deref(),
                });
            }
        }
        ResponseKind::DeleteTopics(response) => {
            use delete_topics::Item;
            reported.say(Item::Throttle { ms: response.throttle_time_ms });
            for topic in &response.responses {
                reported.say(Item::Topic {
                    name: topic.name.as_ref().map(|name| name.0.as_str()),
                    id: uuid(topic.topic_id),
                    error: ErrorCode(topic.error_code),
                    message: topic.error_message.as_deref(),
                });
            }
        }
        ResponseKind::OffsetForLeaderEpoch(response) => epochs(&mut reported, response),
        other => panic!("{other:?} is not in APIS"),
    }
    reported.0.retain(|item| !is_default(item));
    reported.0
}

fn uuid(id: uuid::Uuid) -> Uuid {
    Uuid(*id.as_bytes())
}

/// Formats integers like a run of `int32`s.
fn ints<'a>(list: impl IntoIterator<Item = &'a BrokerId>) -> String {
    let bytes: Vec<u8> = list.into_iter().flat_map(|id| id.0.to_be_bytes()).collect();
    format!("Ints {{ bytes: {bytes:?} }}")
}

fn text(name: &Option<StrBytes>) -> Option<&str> {
    name.as_deref()
}

fn topic_name(name: &TopicName, there: bool) -> Option<&str> {
    there.then_some(name.0.as_str())
}

fn api_versions(
    reported: &mut Reported,
    response: &kafka_protocol::messages::ApiVersionsResponse,
    version: i16,
) {
    use api_versions::Item;
    reported.say(Item::Head { error: ErrorCode(response.error_code) });
    for range in &response.api_keys {
        let (min, max) = (range.min_version, range.max_version);
        reported.say(Item::Range { api: ApiKey(range.api_key), min, max });
    }
    if version >= 1 {
        reported.say(Item::Throttle { ms: response.throttle_time_ms });
    }
    for feature in &response.supported_features {
        let (min, max) = (feature.min_version, feature.max_version);
        reported.say(Item::Supported { name: &feature.name, min, max });
    }
    reported.say(Item::FinalizedEpoch { epoch: response.finalized_features_epoch });
    for feature in &response.finalized_features {
        let (min, max) = (feature.min_version_level, feature.max_version_level);
        reported.say(Item::Finalized { name: &feature.name, min, max });
    }
}

fn metadata(reported: &mut Reported, response: &MetadataResponse, version: i16) {
    use metadata::Item;
    if version >= 3 {
        reported.say(Item::Throttle { ms: response.throttle_time_ms });
    }
    for broker in &response.brokers {
        reported.say(Item::Broker {
            id: broker.node_id.0,
            host: &broker.host,
            port: broker.port,
            rack: text(&broker.rack),
        });
    }
    let id = text(&response.cluster_id).filter(|_| version >= 2);
    reported.say(Item::Cluster { id, controller: response.controller_id.0 });
    for topic in &response.topics {
        reported.say(Item::Topic {
            error: ErrorCode(topic.error_code),
            name: topic.name.as_ref().map(|name| name.0.as_str()),
            id: uuid(topic.topic_id),
            internal: topic.is_internal,
        });
        for p in &topic.partitions {
            reported.0.push(format!(
                "Partition {{ error: {:?}, index: {}, leader: {}, epoch: {}, replicas: {}, \
                 isr: {}, offline: {} }}",
                ErrorCode(p.error_code),
                p.partition_index,
                p.leader_id.0,
                p.leader_epoch,
                ints(&p.replica_nodes),
                ints(&p.isr_nodes),
                ints(&p.offline_replicas),
            ));
        }
        reported.say(Item::TopicEnd);
    }
    reported.say(Item::End { error: ErrorCode(response.error_code) });
}

fn produce(reported: &mut Reported, response: &ProduceResponse, version: i16) {
    use produce::Item;
    for topic in &response.responses {
        let name = topic_name(&topic.name, version < 13);
        reported.say(Item::Topic { name, id: uuid(topic.topic_id) });
        for p in &topic.partition_responses {
            reported.say(Item::Partition {
                index: p.index,
                error: ErrorCode(p.error_code),
                base_offset: p.base_offset,
                log_append_time: p.log_append_time_ms,
                log_start_offset: p.log_start_offset,
            });
            for error in &p.record_errors {
                let message = text(&error.batch_index_error_message);
                reported.say(Item::RecordError { batch_index: error.batch_index, message });
            }
            if version >= 8 {
                reported.say(Item::PartitionText { message: text(&p.error_message) });
            }
            let (leader, epoch) = (p.current_leader.leader_id.0, p.current_leader.leader_epoch);
            reported.say(Item::CurrentLeader { leader, epoch });
            reported.say(Item::PartitionEnd);
        }
        reported.say(Item::TopicEnd);
    }
    reported.say(Item::Throttle { ms: response.throttle_time_ms });
    for node in &response.node_endpoints {
        let (id, host, port) = (node.node_id.0, &*node.host, node.port);
        reported.say(Item::Endpoint { id, host, port, rack: text(&node.rack) });
    }
}

fn fetch(reported: &mut Reported, response: &FetchResponse, version: i16) {
    use fetch::Item;
    reported.say(Item::Head {
        throttle_ms: response.throttle_time_ms,
        error: ErrorCode(response.error_code),
        session_id: response.session_id,
    });
    for topic in &response.responses {
        let name = topic_name(&topic.topic, version < 13);
        reported.say(Item::Topic { name, id: uuid(topic.topic_id) });
        for p in &topic.partitions {
            reported.say(Item::Partition {
                index: p.partition_index,
                error: ErrorCode(p.error_code),
                high_watermark: p.high_watermark,
                last_stable_offset: p.last_stable_offset,
                log_start_offset: p.log_start_offset,
            });
            for aborted in p.aborted_transactions.iter().flatten() {
                let (producer_id, first_offset) = (aborted.producer_id.0, aborted.first_offset);
                reported.say(Item::Aborted { producer_id, first_offset });
            }
            reported.say(Item::Records {
                preferred_read_replica: p.preferred_read_replica.0,
                len: p.records.as_ref().map_or(0, |bytes| bytes.len() as u32),
            });
            let (epoch, end_offset) = (p.diverging_epoch.epoch, p.diverging_epoch.end_offset);
            reported.say(Item::DivergingEpoch { epoch, end_offset });
            let (leader, epoch) = (p.current_leader.leader_id.0, p.current_leader.leader_epoch);
            reported.say(Item::CurrentLeader { leader, epoch });
            reported.say(Item::PartitionEnd);
        }
        reported.say(Item::TopicEnd);
    }
    for node in &response.node_endpoints {
        let (id, host, port) = (node.node_id.0, &*node.host, node.port);
        reported.say(Item::Endpoint { id, host, port, rack: text(&node.rack) });
    }
}

fn describe(reported: &mut Reported, response: &DescribeTopicPartitionsResponse) {
    use describe::Item;
    reported.say(Item::Throttle { ms: response.throttle_time_ms });
    for topic in &response.topics {
        reported.say(Item::Topic {
            error: ErrorCode(topic.error_code),
            name: topic.name.as_ref().map(|name| name.0.as_str()),
            id: uuid(topic.topic_id),
            internal: topic.is_internal,
        });
        for p in &topic.partitions {
            reported.0.push(format!(
                "Partition {{ error: {:?}, index: {}, leader: {}, epoch: {}, replicas: {}, \
                 isr: {}, eligible: {}, last_known_eligible: {}, offline: {} }}",
                ErrorCode(p.error_code),
                p.partition_index,
                p.leader_id.0,
                p.leader_epoch,
                ints(&p.replica_nodes),
                ints(&p.isr_nodes),
                ints(p.eligible_leader_replicas.iter().flatten()),
                ints(p.last_known_elr.iter().flatten()),
                ints(&p.offline_replicas),
            ));
        }
        reported.say(Item::TopicEnd);
    }
    let cursor = response.next_cursor.as_ref();
    reported
        .say(Item::Cursor(cursor.map(|next| (next.topic_name.0.as_str(), next.partition_index))));
}

fn epochs(reported: &mut Reported, response: &OffsetForLeaderEpochResponse) {
    use offset_for_leader_epoch::Item;
    reported.say(Item::Throttle { ms: response.throttle_time_ms });
    for topic in &response.topics {
        reported.say(Item::Topic { name: &topic.topic });
        for p in &topic.partitions {
            reported.say(Item::Partition {
                error: ErrorCode(p.error_code),
                index: p.partition,
                leader_epoch: p.leader_epoch,
                end_offset: p.end_offset,
            });
        }
        reported.say(Item::TopicEnd);
    }
}

fn create_topics(reported: &mut Reported, response: &CreateTopicsResponse) {
    use create_topics::Item;
    reported.say(Item::Throttle { ms: response.throttle_time_ms });
    for topic in &response.topics {
        reported.say(Item::Topic {
            name: &topic.name,
            id: uuid(topic.topic_id),
            error: ErrorCode(topic.error_code),
            message: text(&topic.error_message),
            partitions: topic.num_partitions,
            replication_factor: topic.replication_factor,
        });
        for config in topic.configs.iter().flatten() {
            reported.say(Item::Config {
                name: &config.name,
                value: text(&config.value),
                read_only: config.read_only,
                source: config.config_source,
                sensitive: config.is_sensitive,
            });
        }
        reported.say(Item::ConfigError { error: ErrorCode(topic.topic_config_error_code) });
        reported.say(Item::TopicEnd);
    }
}

/// Returns whether an item has the default value: ours returns it when its tagged field is there,
/// whatever its value; theirs cannot distinguish that.
pub(super) fn is_default(item: &str) -> bool {
    [
        "CurrentLeader { leader: -1, epoch: -1 }",
        "DivergingEpoch { epoch: -1, end_offset: -1 }",
        "FinalizedEpoch { epoch: -1 }",
        "ConfigError { error: NONE (0) }",
    ]
    .contains(&item)
}
