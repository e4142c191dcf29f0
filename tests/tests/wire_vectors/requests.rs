//! Requests of the vectors, encoded by our encoders from their fields.

use kavka_core::wire::{self, ApiKey, Encode, Full, SliceSink, Uuid, Writer, header};
use serde_json::Value;

use crate::classic;
use crate::group_admin;
use crate::sasl;
use crate::transactions;
use crate::vectors::{Vector, unhex};

pub(crate) type Encoded = Result<(), Cannot>;

/// Why our encoders cannot write a request, on purpose.
#[derive(Debug)]
pub(crate) struct Cannot(&'static str);

impl From<Full> for Cannot {
    fn from(_: Full) -> Self {
        panic!("no room in the test's buffer")
    }
}

/// Returns the request as we would write it, or why we cannot.
pub(crate) fn encode(vector: &Vector) -> Result<Vec<u8>, &'static str> {
    if vector.note || vector.unknown_tags() > 0 {
        return Err("stray bytes or tags");
    }
    let mut room = vec![0; vector.bytes.len() + 256];
    let mut sink = SliceSink::new(&mut room);
    let mut out = Writer::new(&mut sink);
    write(vector, &mut out).map_err(|why| why.0)?;
    let written = sink.written();
    if vector.framing == "frame" {
        let size = (written.len() as u32).to_be_bytes();
        return Ok([&size, written].concat());
    }
    Ok(written.to_vec())
}

fn write(vector: &Vector, out: &mut Writer<'_>) -> Encoded {
    let (version, body) = (vector.version, &vector.body);
    if vector.framing != "body" {
        let correlation = int(&vector.header["correlationId"]) as i32;
        let client = vector.header["clientId"].as_str().ok_or(Cannot("client id null"))?;
        header::request(out, vector.key(), version, correlation, client)?;
    }
    match vector.key() {
        ApiKey::API_VERSIONS => api_versions(version, body, out),
        ApiKey::METADATA => metadata(version, body, out),
        ApiKey::PRODUCE => produce(version, body, out),
        ApiKey::FETCH => fetch(version, body, out),
        ApiKey::LIST_OFFSETS => list_offsets(version, body, out),
        ApiKey::OFFSET_FOR_LEADER_EPOCH => epochs(version, body, out),
        ApiKey::DESCRIBE_TOPIC_PARTITIONS => describe(version, body, out),
        ApiKey::INIT_PRODUCER_ID => init_producer_id(version, body, out),
        ApiKey::CREATE_TOPICS => create_topics(version, body, out),
        ApiKey::CREATE_PARTITIONS => create_partitions(version, body, out),
        ApiKey::DELETE_TOPICS => delete_topics(version, body, out),
        ApiKey::LIST_GROUPS => Ok(group_admin::write_list(version, body, out)?),
        ApiKey::DESCRIBE_GROUPS => Ok(group_admin::write_describe(version, body, out)?),
        ApiKey::CONSUMER_GROUP_DESCRIBE => {
            Ok(group_admin::write_describe_consumer(version, body, out)?)
        }
        ApiKey::DELETE_GROUPS => Ok(group_admin::write_delete(version, body, out)?),
        ApiKey::OFFSET_DELETE => Ok(group_admin::write_delete_offsets(body, out)?),
        ApiKey::SASL_HANDSHAKE => Ok(sasl::write_handshake(version, body, out)?),
        ApiKey::SASL_AUTHENTICATE => Ok(sasl::write_authenticate(version, body, out)?),
        ApiKey::FIND_COORDINATOR => find_coordinator(version, body, out),
        ApiKey::CONSUMER_GROUP_HEARTBEAT => heartbeat(version, body, out),
        ApiKey::OFFSET_COMMIT => offset_commit(version, body, out),
        ApiKey::OFFSET_FETCH => offset_fetch(version, body, out),
        ApiKey::ADD_PARTITIONS_TO_TXN => {
            transactions::write_add_partitions_to_txn(version, body, out)
        }
        ApiKey::ADD_OFFSETS_TO_TXN => transactions::write_add_offsets_to_txn(version, body, out),
        ApiKey::TXN_OFFSET_COMMIT => transactions::write_txn_offset_commit(version, body, out),
        ApiKey::END_TXN => transactions::write_end_txn(version, body, out),
        ApiKey::JOIN_GROUP => {
            refuse(body["protocolType"] != "consumer", "another type than consumer")?;
            Ok(classic::write_join(version, body, out)?)
        }
        ApiKey::SYNC_GROUP => {
            let other = version >= 5 && body["protocolType"] != "consumer";
            refuse(other, "another type than consumer")?;
            Ok(classic::write_sync(version, body, out)?)
        }
        ApiKey::HEARTBEAT => Ok(classic::write_heartbeat(version, body, out)?),
        ApiKey::LEAVE_GROUP => {
            refuse(version >= 3 && list(&body["members"]).len() != 1, "several members")?;
            Ok(classic::write_leave(version, body, out)?)
        }
        key => panic!("{key:?} is not of this test"),
    }
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

pub(crate) fn i32_of(value: &Value) -> i32 {
    int(value) as i32
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn id(value: &Value) -> Uuid {
    let digits: String = text(value).chars().filter(|c| *c != '-').collect();
    Uuid(unhex(&digits).try_into().unwrap_or_default())
}

fn refuse(when: bool, why: &'static str) -> Encoded {
    if when { Err(Cannot(why)) } else { Ok(()) }
}

fn api_versions(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    let checks = body.get("nodeId").is_some_and(|node| int(node) != -1);
    refuse(checks || body["clusterId"].is_string(), "cluster id and node id")?;
    wire::api_versions::Request {
        software_name: text(&body["clientSoftwareName"]),
        software_version: text(&body["clientSoftwareVersion"]),
    }
    .encode(version, out)?;
    Ok(())
}

fn metadata(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    let operations = ["includeClusterAuthorizedOperations", "includeTopicAuthorizedOperations"];
    refuse(operations.iter().any(|name| body[*name] == true), "authorized operations")?;
    let topics = body["topics"].as_array();
    wire::metadata::begin(out, version, topics.map(Vec::len))?;
    for topic in topics.into_iter().flatten() {
        wire::metadata::topic(out, version, id(&topic["topicId"]), topic["name"].as_str())?;
    }
    wire::metadata::end(out, version, body["allowAutoTopicCreation"] == true)?;
    Ok(())
}

fn produce(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    use wire::produce::*;
    let (acks, timeout) = (int(&body["acks"]) as i16, i32_of(&body["timeoutMs"]));
    let topics = list(&body["topicData"]);
    begin(out, version, body["transactionalId"].as_str(), acks, timeout, topics.len())?;
    for one in topics {
        let partitions = list(&one["partitionData"]);
        topic(out, version, text(&one["name"]), id(&one["topicId"]), partitions.len())?;
        for one in partitions {
            let records = one["records"].as_str().ok_or(Cannot("records null"))?;
            let records = unhex(records.strip_prefix("hex:").expect("hexadecimal"));
            partition(out, version, i32_of(&one["index"]), records.len())?;
            out.raw(&records)?;
            end_partition(out, version)?;
        }
        end_topic(out, version)?;
    }
    end(out, version)?;
    Ok(())
}

fn fetch(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    use wire::fetch::*;
    refuse(body.get("replicaId").is_some_and(|id| int(id) != -1), "replica id")?;
    refuse(body.get("replicaState").is_some(), "replica state")?;
    refuse(body["clusterId"].is_string(), "cluster id")?;
    let head = Head {
        max_wait_ms: i32_of(&body["maxWaitMs"]),
        min_bytes: i32_of(&body["minBytes"]),
        max_bytes: i32_of(&body["maxBytes"]),
        isolation: int(&body["isolationLevel"]) as i8,
        session_id: i32_of(&body["sessionId"]),
        session_epoch: i32_of(&body["sessionEpoch"]),
    };
    let topics = list(&body["topics"]);
    begin(out, version, &head, topics.len())?;
    for one in topics {
        let partitions = list(&one["partitions"]);
        topic(out, version, text(&one["topic"]), id(&one["topicId"]), partitions.len())?;
        for one in partitions {
            let replica = ["replicaDirectoryId", "highWatermark"];
            refuse(replica.iter().any(|name| one.get(*name).is_some()), "tags of replicas")?;
            let at = Partition {
                index: i32_of(&one["partition"]),
                current_leader_epoch: i32_of(&one["currentLeaderEpoch"]),
                fetch_offset: int(&one["fetchOffset"]),
                last_fetched_epoch: i32_of(&one["lastFetchedEpoch"]),
                log_start_offset: int(&one["logStartOffset"]),
                max_bytes: i32_of(&one["partitionMaxBytes"]),
            };
            partition(out, version, &at)?;
        }
        end_topic(out, version)?;
    }
    let forgotten = list(&body["forgottenTopicsData"]);
    forgotten_begin(out, version, forgotten.len())?;
    for one in forgotten {
        let partitions = list(&one["partitions"]).iter().map(i32_of);
        forgotten_topic(out, version, text(&one["topic"]), id(&one["topicId"]), partitions)?;
    }
    end(out, version, text(&body["rackId"]))?;
    Ok(())
}

fn list_offsets(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    use wire::list_offsets::*;
    refuse(int(&body["replicaId"]) != -1, "replica id")?;
    let topics = list(&body["topics"]);
    begin(out, version, int(&body["isolationLevel"]) as i8, topics.len())?;
    for one in topics {
        let partitions = list(&one["partitions"]);
        topic(out, version, text(&one["name"]), partitions.len())?;
        for one in partitions {
            let (index, epoch) = (&one["partitionIndex"], &one["currentLeaderEpoch"]);
            let timestamp = int(&one["timestamp"]);
            partition(out, version, i32_of(index), i32_of(epoch), timestamp)?;
        }
        end_topic(out, version)?;
    }
    end(out, version, i32_of(&body["timeoutMs"]))?;
    Ok(())
}

fn epochs(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    use wire::offset_for_leader_epoch::*;
    refuse(version >= 3 && int(&body["replicaId"]) != -1, "replica id")?;
    let topics = list(&body["topics"]);
    begin(out, version, topics.len())?;
    for one in topics {
        let partitions = list(&one["partitions"]);
        topic(out, version, text(&one["topic"]), partitions.len())?;
        for one in partitions {
            let [index, current, epoch] =
                ["partition", "currentLeaderEpoch", "leaderEpoch"].map(|name| i32_of(&one[name]));
            partition(out, version, index, current, epoch)?;
        }
        end(out, version)?;
    }
    end(out, version)?;
    Ok(())
}

fn describe(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    let topics: Vec<_> = list(&body["topics"]).iter().map(|topic| text(&topic["name"])).collect();
    let cursor = body["cursor"].as_object();
    wire::describe_topic_partitions::Request {
        topics: &topics,
        limit: i32_of(&body["responsePartitionLimit"]),
        cursor: cursor.map(|at| (text(&at["topicName"]), i32_of(&at["partitionIndex"]))),
    }
    .encode(version, out)?;
    Ok(())
}

fn init_producer_id(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    wire::init_producer_id::Request {
        transactional_id: body["transactionalId"].as_str(),
        timeout_ms: i32_of(&body["transactionTimeoutMs"]),
        producer_id: int(&body["producerId"]),
        producer_epoch: int(&body["producerEpoch"]) as i16,
    }
    .encode(version, out)?;
    Ok(())
}

fn create_topics(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    use wire::create_topics::{NewTopic, Request};
    let list_of = list(&body["topics"]);
    let by_hand = |topic: &Value| !list(&topic["assignments"]).is_empty();
    refuse(list_of.iter().any(by_hand), "assignments by hand")?;
    let configs: Vec<Vec<_>> = list_of.iter().map(configs_of).collect();
    let with = list_of.iter().zip(&configs);
    let new = with.map(|(topic, configs)| NewTopic {
        name: text_of(topic),
        partitions: i32_of(&topic["numPartitions"]),
        replication_factor: int(&topic["replicationFactor"]) as i16,
        configs,
    });
    let topics: Vec<_> = new.collect();
    let (timeout_ms, validate_only) = (i32_of(&body["timeoutMs"]), body["validateOnly"] == true);
    Request { topics: &topics, timeout_ms, validate_only }.encode(version, out)?;
    Ok(())
}

fn configs_of(topic: &Value) -> Vec<(&str, Option<&str>)> {
    let configs = list(&topic["configs"]).iter();
    configs.map(|one| (text(&one["name"]), one["value"].as_str())).collect()
}

fn text_of(topic: &Value) -> &str {
    text(&topic["name"])
}

fn create_partitions(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    use wire::create_partitions::{NewPartitions, Request};
    let list_of = list(&body["topics"]);
    refuse(list_of.iter().any(|topic| !topic["assignments"].is_null()), "assignments by hand")?;
    let new = list_of
        .iter()
        .map(|topic| NewPartitions { name: text_of(topic), count: i32_of(&topic["count"]) });
    let topics: Vec<_> = new.collect();
    let (timeout_ms, validate_only) = (i32_of(&body["timeoutMs"]), body["validateOnly"] == true);
    Request { topics: &topics, timeout_ms, validate_only }.encode(version, out)?;
    Ok(())
}

fn delete_topics(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    let topics = list(&body["topics"]);
    let by_id = |topic: &Value| topic["name"].is_null();
    refuse(topics.iter().any(by_id), "topics by id")?;
    let named = |topic: &Value| id(&topic["topicId"]) == Uuid::ZERO;
    refuse(!topics.iter().all(named), "names with ids")?;
    let old = list(&body["topicNames"]).iter().map(text);
    let names: Vec<_> = topics.iter().map(text_of).chain(old).collect();
    let timeout_ms = i32_of(&body["timeoutMs"]);
    wire::delete_topics::Request { names: &names, timeout_ms }.encode(version, out)?;
    Ok(())
}

fn find_coordinator(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    let keys = list(&body["coordinatorKeys"]);
    refuse(version >= 4 && keys.len() != 1, "several keys")?;
    let key = if version >= 4 { text(&keys[0]) } else { text(&body["key"]) };
    let key_type = int(&body["keyType"]) as i8;
    wire::find_coordinator::Request { key, key_type }.encode(version, out)?;
    Ok(())
}

fn heartbeat(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    use wire::consumer_group_heartbeat::*;
    let head = Head {
        group: text(&body["groupId"]),
        member: text(&body["memberId"]),
        epoch: i32_of(&body["memberEpoch"]),
        instance: body["instanceId"].as_str(),
        rack: body["rackId"].as_str(),
        rebalance_timeout_ms: body["rebalanceTimeoutMs"].as_i64().unwrap_or(-1) as i32,
    };
    let names = body["subscribedTopicNames"].as_array();
    begin(out, &head, names.map(Vec::len))?;
    for one in names.into_iter().flatten() {
        name(out, text(one))?;
    }
    let (regex, assignor) = (&body["subscribedTopicRegex"], &body["serverAssignor"]);
    let topics = body["topicPartitions"].as_array();
    middle(out, version, regex.as_str(), assignor.as_str(), topics.map(Vec::len))?;
    for one in topics.into_iter().flatten() {
        let partitions = list(&one["partitions"]);
        owned(out, id(&one["topicId"]), partitions.len())?;
        for index in partitions {
            out.i32(i32_of(index))?;
        }
        end(out)?;
    }
    end(out)?;
    Ok(())
}

fn offset_commit(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    use wire::offset_commit::*;
    let retention = body["retentionTimeMs"].as_i64().unwrap_or(-1);
    refuse(version <= 4 && retention != -1, "retention")?;
    let topics = list(&body["topics"]);
    let head = Head {
        group: text(&body["groupId"]),
        epoch: body["generationIdOrMemberEpoch"].as_i64().unwrap_or(-1) as i32,
        member: text(&body["memberId"]),
        instance: body["groupInstanceId"].as_str(),
    };
    begin(out, version, &head, topics.len())?;
    for one in topics {
        let partitions = list(&one["partitions"]);
        topic(out, version, text(&one["name"]), id(&one["topicId"]), partitions.len())?;
        for one in partitions {
            let metadata = &one["committedMetadata"];
            refuse(metadata.is_null(), "metadata null")?;
            let epoch = one["committedLeaderEpoch"].as_i64().unwrap_or(-1) as i32;
            let (index, offset) = (i32_of(&one["partitionIndex"]), int(&one["committedOffset"]));
            partition(out, version, index, offset, epoch)?;
            out.str(version >= FLEXIBLE, text(metadata))?;
            end(out, version)?;
        }
        end(out, version)?;
    }
    end(out, version)?;
    Ok(())
}

fn offset_fetch(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    use wire::offset_fetch::*;
    let groups = list(&body["groups"]);
    refuse(version >= 8 && groups.len() != 1, "several groups")?;
    let group = if version >= 8 { &groups[0] } else { body };
    let epoch = group["memberEpoch"].as_i64().unwrap_or(-1) as i32;
    let member = group["memberId"].as_str().map(|id| (id, epoch));
    let topics = group["topics"].as_array();
    begin(out, version, text(&group["groupId"]), member, topics.map(Vec::len))?;
    for one in topics.into_iter().flatten() {
        let partitions = list(&one["partitionIndexes"]);
        topic(out, version, text(&one["name"]), id(&one["topicId"]), partitions.len())?;
        for index in partitions {
            out.i32(i32_of(index))?;
        }
        end_topic(out, version)?;
    }
    end(out, version, body["requireStable"] == true)?;
    Ok(())
}
