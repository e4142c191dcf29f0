//! The typed items of responses as JSON, with the names of Kafka's schemas.

use kavka_core::wire::{self, Decode, ErrorCode, Ints, Step, Uuid};
use serde_json::{Value, json};

use crate::classic;
use crate::group_admin;
use crate::groups;
use crate::sasl;
use crate::transactions;
use crate::vectors::Vector;
use crate::walk::uuid;

/// Builds a response from items that arrive one after another.
pub(crate) struct Builder(Value);

impl Builder {
    fn new() -> Self {
        Self(json!({}))
    }

    /// Adds the fields of `add` to the struct at `path`, whose names are separated by dots; each
    /// name except the last means the last element of an array, or a struct.
    pub(crate) fn set(&mut self, path: &str, add: Value) {
        let target = self.at(path);
        let (Value::Object(target), Value::Object(add)) = (target, add) else {
            panic!("{path} is no struct");
        };
        target.extend(add);
    }

    /// Appends `add` to the array at `path`.
    pub(crate) fn push(&mut self, path: &str, add: Value) {
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
        let list = &mut self.at(parent)[name];
        if list.is_null() {
            *list = json!([]);
        }
        list.as_array_mut().expect(path).push(add);
    }

    fn at(&mut self, path: &str) -> &mut Value {
        path.split('.').filter(|name| !name.is_empty()).fold(&mut self.0, |value, name| {
            match &mut value[name] {
                Value::Array(list) => list.last_mut().expect(name),
                value => value,
            }
        })
    }
}

pub(crate) fn ints(ints: Ints<'_>) -> Value {
    ints.collect()
}

pub(crate) fn code(error: ErrorCode) -> Value {
    json!(error.0)
}

/// Decodes all items of a whole response.
fn each<D: Decode>(vector: &Vector, mut f: impl FnMut(&mut Builder, D::Item<'_>)) -> Value {
    let mut response = D::new(vector.version).expect("a version that is spoken");
    let mut input = vector.response_body();
    let mut built = Builder::new();
    while let Step::Item(item) = response.step(&mut input).expect(&vector.id) {
        f(&mut built, item);
    }
    built.0
}

/// Returns the response that its items describe.
pub(crate) fn fields(vector: &Vector) -> Value {
    match vector.api.as_str() {
        "ApiVersions" => each::<wire::api_versions::Response>(vector, api_versions),
        "Metadata" => each::<wire::metadata::Response>(vector, metadata),
        "Produce" => each::<wire::produce::Response>(vector, produce),
        "Fetch" => each::<wire::fetch::Response>(vector, fetch),
        "ListOffsets" => each::<wire::list_offsets::Response>(vector, list_offsets),
        "OffsetForLeaderEpoch" => each::<wire::offset_for_leader_epoch::Response>(vector, epochs),
        "DescribeTopicPartitions" => {
            each::<wire::describe_topic_partitions::Response>(vector, describe)
        }
        "InitProducerId" => each::<wire::init_producer_id::Response>(vector, init_producer_id),
        "CreateTopics" => each::<wire::create_topics::Response>(vector, create_topics),
        "CreatePartitions" => each::<wire::create_partitions::Response>(vector, create_partitions),
        "DeleteTopics" => each::<wire::delete_topics::Response>(vector, delete_topics),
        "ListGroups" => each::<wire::list_groups::Response>(vector, group_admin::list),
        "DescribeGroups" => each::<wire::describe_groups::Response>(vector, group_admin::describe),
        "ConsumerGroupDescribe" => {
            each::<wire::consumer_group_describe::Response>(vector, group_admin::describe_consumer)
        }
        "DeleteGroups" => each::<wire::delete_groups::Response>(vector, group_admin::delete),
        "OffsetDelete" => {
            each::<wire::offset_delete::Response>(vector, group_admin::delete_offsets)
        }
        "SaslHandshake" => each::<wire::sasl_handshake::Response>(vector, sasl::handshake),
        "SaslAuthenticate" => each::<wire::sasl_authenticate::Response>(vector, sasl::authenticate),
        "FindCoordinator" => each::<wire::find_coordinator::Response>(vector, |to, item| {
            groups::find_coordinator(to, vector.version, item);
        }),
        "ConsumerGroupHeartbeat" => {
            each::<wire::consumer_group_heartbeat::Response>(vector, groups::heartbeat)
        }
        "OffsetCommit" => each::<wire::offset_commit::Response>(vector, groups::offset_commit),
        "JoinGroup" => each::<wire::join_group::Response>(vector, classic::join),
        "SyncGroup" => each::<wire::sync_group::Response>(vector, classic::sync),
        "Heartbeat" => each::<wire::heartbeat::Response>(vector, classic::heartbeat),
        "LeaveGroup" => each::<wire::leave_group::Response>(vector, classic::leave),
        "OffsetFetch" => each::<wire::offset_fetch::Response>(vector, |to, item| {
            groups::offset_fetch(to, vector.version, item);
        }),
        "AddPartitionsToTxn" => each::<wire::add_partitions_to_txn::Response>(
            vector,
            transactions::add_partitions_to_txn,
        ),
        "AddOffsetsToTxn" => {
            each::<wire::add_offsets_to_txn::Response>(vector, transactions::add_offsets_to_txn)
        }
        "TxnOffsetCommit" => {
            each::<wire::txn_offset_commit::Response>(vector, transactions::txn_offset_commit)
        }
        "EndTxn" => each::<wire::end_txn::Response>(vector, transactions::end_txn),
        api => panic!("{api} is not of this test"),
    }
}

fn api_versions(to: &mut Builder, item: wire::api_versions::Item<'_>) {
    use wire::api_versions::Item::*;
    match item {
        Head { error } => to.set("", json!({ "errorCode": code(error) })),
        Range { api, min, max } => {
            to.push("apiKeys", json!({ "apiKey": api.0, "minVersion": min, "maxVersion": max }));
        }
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Supported { name, min, max } => to.push(
            "supportedFeatures",
            json!({ "name": name, "minVersion": min, "maxVersion": max }),
        ),
        FinalizedEpoch { epoch } => to.set("", json!({ "finalizedFeaturesEpoch": epoch })),
        Finalized { name, min, max } => to.push(
            "finalizedFeatures",
            json!({ "name": name, "minVersionLevel": min, "maxVersionLevel": max }),
        ),
        other => panic!("{other:?}"),
    }
}

fn metadata(to: &mut Builder, item: wire::metadata::Item<'_>) {
    use wire::metadata::Item::*;
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Broker { id, host, port, rack } => {
            to.push("brokers", json!({ "nodeId": id, "host": host, "port": port, "rack": rack }))
        }
        Cluster { id, controller } => {
            to.set("", json!({ "clusterId": id, "controllerId": controller }));
        }
        Topic { error, name, id, internal } => to.push(
            "topics",
            json!({
                "errorCode": code(error), "name": name, "topicId": uuid(id),
                "isInternal": internal,
            }),
        ),
        Partition { error, index, leader, epoch, replicas, isr, offline } => to.push(
            "topics.partitions",
            json!({
                "errorCode": code(error), "partitionIndex": index, "leaderId": leader,
                "leaderEpoch": epoch, "replicaNodes": ints(replicas), "isrNodes": ints(isr),
                "offlineReplicas": ints(offline),
            }),
        ),
        TopicEnd => {}
        End { error } => to.set("", json!({ "errorCode": code(error) })),
        other => panic!("{other:?}"),
    }
}

fn produce(to: &mut Builder, item: wire::produce::Item<'_>) {
    use wire::produce::Item::*;
    match item {
        Topic { name, id } => to.push("responses", json!({ "name": name, "topicId": uuid(id) })),
        Partition { index, error, base_offset, log_append_time, log_start_offset } => to.push(
            "responses.partitionResponses",
            json!({
                "index": index, "errorCode": code(error), "baseOffset": base_offset,
                "logAppendTimeMs": log_append_time, "logStartOffset": log_start_offset,
            }),
        ),
        RecordError { batch_index, message } => to.push(
            "responses.partitionResponses.recordErrors",
            json!({ "batchIndex": batch_index, "batchIndexErrorMessage": message }),
        ),
        PartitionText { message } => {
            to.set("responses.partitionResponses", json!({ "errorMessage": message }));
        }
        CurrentLeader { leader, epoch } => to.set(
            "responses.partitionResponses",
            json!({ "currentLeader": { "leaderId": leader, "leaderEpoch": epoch } }),
        ),
        PartitionEnd | TopicEnd => {}
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Endpoint { id, host, port, rack } => to.push(
            "nodeEndpoints",
            json!({ "nodeId": id, "host": host, "port": port, "rack": rack }),
        ),
        other => panic!("{other:?}"),
    }
}

fn fetch(to: &mut Builder, item: wire::fetch::Item<'_>) {
    use wire::fetch::Item::*;
    let at = "responses.partitions";
    match item {
        Head { throttle_ms, error, session_id } => to.set(
            "",
            json!({
                "throttleTimeMs": throttle_ms, "errorCode": code(error), "sessionId": session_id,
            }),
        ),
        Topic { name, id } => to.push("responses", json!({ "topic": name, "topicId": uuid(id) })),
        Partition { index, error, high_watermark, last_stable_offset, log_start_offset } => to
            .push(
                at,
                json!({
                    "partitionIndex": index, "errorCode": code(error),
                    "highWatermark": high_watermark, "lastStableOffset": last_stable_offset,
                    "logStartOffset": log_start_offset,
                }),
            ),
        Aborted { producer_id, first_offset } => to.push(
            "responses.partitions.abortedTransactions",
            json!({ "producerId": producer_id, "firstOffset": first_offset }),
        ),
        Records { preferred_read_replica, len } => {
            to.set(at, json!({ "preferredReadReplica": preferred_read_replica, "records": len }))
        }
        DivergingEpoch { epoch, end_offset } => {
            to.set(at, json!({ "divergingEpoch": { "epoch": epoch, "endOffset": end_offset } }))
        }
        CurrentLeader { leader, epoch } => {
            to.set(at, json!({ "currentLeader": { "leaderId": leader, "leaderEpoch": epoch } }))
        }
        PartitionEnd | TopicEnd => {}
        Endpoint { id, host, port, rack } => to.push(
            "nodeEndpoints",
            json!({ "nodeId": id, "host": host, "port": port, "rack": rack }),
        ),
        other => panic!("{other:?}"),
    }
}

fn list_offsets(to: &mut Builder, item: wire::list_offsets::Item<'_>) {
    use wire::list_offsets::Item::*;
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Topic { name } => to.push("topics", json!({ "name": name })),
        Partition { index, error, timestamp, offset, leader_epoch } => to.push(
            "topics.partitions",
            json!({
                "partitionIndex": index, "errorCode": code(error), "timestamp": timestamp,
                "offset": offset, "leaderEpoch": leader_epoch,
            }),
        ),
        TopicEnd => {}
        other => panic!("{other:?}"),
    }
}

fn epochs(to: &mut Builder, item: wire::offset_for_leader_epoch::Item<'_>) {
    use wire::offset_for_leader_epoch::Item::*;
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Topic { name } => to.push("topics", json!({ "topic": name })),
        Partition { error, index, leader_epoch, end_offset } => to.push(
            "topics.partitions",
            json!({
                "errorCode": code(error), "partition": index, "leaderEpoch": leader_epoch,
                "endOffset": end_offset,
            }),
        ),
        TopicEnd => {}
        other => panic!("{other:?}"),
    }
}

fn describe(to: &mut Builder, item: wire::describe_topic_partitions::Item<'_>) {
    use wire::describe_topic_partitions::Item::*;
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Topic { error, name, id, internal } => to.push(
            "topics",
            json!({
                "errorCode": code(error), "name": name, "topicId": uuid(id),
                "isInternal": internal,
            }),
        ),
        Partition {
            error,
            index,
            leader,
            epoch,
            replicas,
            isr,
            eligible,
            last_known_eligible,
            offline,
        } => to.push(
            "topics.partitions",
            json!({
                "errorCode": code(error), "partitionIndex": index, "leaderId": leader,
                "leaderEpoch": epoch, "replicaNodes": ints(replicas), "isrNodes": ints(isr),
                "eligibleLeaderReplicas": ints(eligible),
                "lastKnownElr": ints(last_known_eligible), "offlineReplicas": ints(offline),
            }),
        ),
        TopicEnd => {}
        Cursor(None) => to.set("", json!({ "nextCursor": null })),
        Cursor(Some((topic, partition))) => {
            to.set("", json!({ "nextCursor": { "topicName": topic, "partitionIndex": partition } }))
        }
        other => panic!("{other:?}"),
    }
}

fn init_producer_id(to: &mut Builder, item: wire::init_producer_id::Item) {
    match item {
        wire::init_producer_id::Item::Response {
            throttle_ms,
            error,
            producer_id,
            producer_epoch,
        } => to.set(
            "",
            json!({
                "throttleTimeMs": throttle_ms, "errorCode": code(error),
                "producerId": producer_id, "producerEpoch": producer_epoch,
            }),
        ),
        other => panic!("{other:?}"),
    }
}

fn create_topics(to: &mut Builder, item: wire::create_topics::Item<'_>) {
    use wire::create_topics::Item::*;
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Topic { name, id, error, message, partitions, replication_factor } => to.push(
            "topics",
            json!({
                "name": name, "topicId": uuid(id), "errorCode": code(error),
                "errorMessage": message, "numPartitions": partitions,
                "replicationFactor": replication_factor,
            }),
        ),
        Config { name, value, read_only, source, sensitive } => to.push(
            "topics.configs",
            json!({
                "name": name, "value": value, "readOnly": read_only, "configSource": source,
                "isSensitive": sensitive,
            }),
        ),
        ConfigError { error } => {
            to.set("topics", json!({ "topicConfigErrorCode": code(error) }));
        }
        TopicEnd => {}
        other => panic!("{other:?}"),
    }
}

fn create_partitions(to: &mut Builder, item: wire::create_partitions::Item<'_>) {
    use wire::create_partitions::Item::*;
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Topic { name, error, message } => to.push(
            "results",
            json!({ "name": name, "errorCode": code(error), "errorMessage": message }),
        ),
        other => panic!("{other:?}"),
    }
}

fn delete_topics(to: &mut Builder, item: wire::delete_topics::Item<'_>) {
    use wire::delete_topics::Item::*;
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Topic { name, id, error, message } => to.push(
            "responses",
            json!({
                "name": name, "topicId": uuid(id), "errorCode": code(error),
                "errorMessage": message,
            }),
        ),
        other => panic!("{other:?}"),
    }
}

/// Fields that items do not carry, as our clients do not need them.
const NOT_REPORTED: [&str; 4] =
    ["topicAuthorizedOperations", "clusterAuthorizedOperations", "zkMigrationReady", "snapshotId"];

/// Compares every field: one that a version does not have has its default in an item.
pub(crate) fn compare(at: &str, got: &Value, wanted: &Value) {
    match (got, wanted) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, value) in ours {
                let at = format!("{at}.{name}");
                match theirs.get(name) {
                    Some(wanted) => compare(&at, value, wanted),
                    None => assert!(is_default(value), "{at}: {value} is not on the wire"),
                }
            }
            for (name, value) in theirs {
                let reported = ours.contains_key(name) || NOT_REPORTED.contains(&name.as_str());
                assert!(reported || is_empty(value), "{at}.{name}: {value} is missing");
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{at}: elements");
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                compare(&format!("{at}[{index}]"), ours, theirs);
            }
        }
        // Null is reported as its meaning: no records, no replicas.
        (ours, Value::Null) => assert!(is_default(ours), "{at}: {ours} for null"),
        (ours, theirs) => assert_eq!(ours, theirs, "{at}"),
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn is_default(value: &Value) -> bool {
    let numbers = value.as_i64().is_some_and(|value| value == 0 || value == -1);
    numbers || is_empty(value) || value == &json!(false) || value == &uuid(Uuid::ZERO)
}
