//! Requests of transactions, and what their responses say.

use kavka_core::wire::{self, Encode as _, Writer};
use serde_json::{Value, json};

use crate::requests::{Encoded, i32_of, list, text};
use crate::typed::{Builder, code};

fn ids(body: &Value, id: &str, epoch: &str) -> (i64, i16) {
    let int = |name: &str| body[name].as_i64().unwrap_or(-1);
    (int(id), int(epoch) as i16)
}

pub(crate) fn write_add_partitions_to_txn(
    version: i16,
    body: &Value,
    out: &mut Writer<'_>,
) -> Encoded {
    use wire::add_partitions_to_txn::*;
    let topics = list(&body["v3AndBelowTopics"]);
    let ids = ids(body, "v3AndBelowProducerId", "v3AndBelowProducerEpoch");
    begin(out, version, text(&body["v3AndBelowTransactionalId"]), ids, topics.len())?;
    for one in topics {
        let partitions = list(&one["partitions"]);
        topic(out, version, text(&one["name"]), partitions.len())?;
        for index in partitions {
            out.i32(i32_of(index))?;
        }
        end(out, version)?;
    }
    end(out, version)?;
    Ok(())
}

pub(crate) fn write_add_offsets_to_txn(
    version: i16,
    body: &Value,
    out: &mut Writer<'_>,
) -> Encoded {
    let (producer_id, producer_epoch) = ids(body, "producerId", "producerEpoch");
    wire::add_offsets_to_txn::Request {
        transactional_id: text(&body["transactionalId"]),
        producer_id,
        producer_epoch,
        group: text(&body["groupId"]),
    }
    .encode(version, out)?;
    Ok(())
}

pub(crate) fn write_txn_offset_commit(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    use wire::txn_offset_commit::*;
    let compact = flexible(version);
    begin(out, version, text(&body["transactionalId"]))?;
    out.str(compact, text(&body["groupId"]))?;
    let generation = body["generationId"].as_i64().unwrap_or(-1) as i32;
    producer(out, version, ids(body, "producerId", "producerEpoch"), generation)?;
    if version >= FENCES {
        out.str(compact, text(&body["memberId"]))?;
        out.nullable_str(compact, body["groupInstanceId"].as_str())?;
    }
    let topics = list(&body["topics"]);
    out.count(compact, Some(topics.len()))?;
    for one in topics {
        let partitions = list(&one["partitions"]);
        out.str(compact, text(&one["name"]))?;
        out.count(compact, Some(partitions.len()))?;
        for one in partitions {
            let epoch = one["committedLeaderEpoch"].as_i64().unwrap_or(-1) as i32;
            let offset = one["committedOffset"].as_i64().unwrap_or(0);
            partition(out, version, i32_of(&one["partitionIndex"]), offset, epoch)?;
            out.nullable_str(compact, one["committedMetadata"].as_str())?;
            end(out, version)?;
        }
        end(out, version)?;
    }
    end(out, version)?;
    Ok(())
}

pub(crate) fn write_end_txn(version: i16, body: &Value, out: &mut Writer<'_>) -> Encoded {
    let (producer_id, producer_epoch) = ids(body, "producerId", "producerEpoch");
    wire::end_txn::Request {
        transactional_id: text(&body["transactionalId"]),
        producer_id,
        producer_epoch,
        committed: body["committed"].as_bool().unwrap_or(false),
    }
    .encode(version, out)?;
    Ok(())
}

pub(crate) fn add_partitions_to_txn(to: &mut Builder, item: wire::add_partitions_to_txn::Item<'_>) {
    use wire::add_partitions_to_txn::Item::*;
    const TOPICS: &str = "resultsByTopicV3AndBelow";
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Topic { name } => to.push(TOPICS, json!({ "name": name })),
        Partition { index, error } => to.push(
            "resultsByTopicV3AndBelow.resultsByPartition",
            json!({ "partitionIndex": index, "partitionErrorCode": code(error) }),
        ),
        TopicEnd => {}
        other => panic!("{other:?}"),
    }
}

pub(crate) fn add_offsets_to_txn(to: &mut Builder, item: wire::add_offsets_to_txn::Item) {
    match item {
        wire::add_offsets_to_txn::Item::Response { throttle_ms, error } => {
            to.set("", json!({ "throttleTimeMs": throttle_ms, "errorCode": code(error) }));
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn txn_offset_commit(to: &mut Builder, item: wire::txn_offset_commit::Item<'_>) {
    use wire::txn_offset_commit::Item::*;
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Topic { name } => to.push("topics", json!({ "name": name })),
        Partition { index, error } => to.push(
            "topics.partitions",
            json!({ "partitionIndex": index, "errorCode": code(error) }),
        ),
        TopicEnd => {}
        other => panic!("{other:?}"),
    }
}

pub(crate) fn end_txn(to: &mut Builder, item: wire::end_txn::Item) {
    match item {
        wire::end_txn::Item::Response { throttle_ms, error, producer_id, producer_epoch } => {
            to.set(
                "",
                json!({
                    "throttleTimeMs": throttle_ms, "errorCode": code(error),
                    "producerId": producer_id, "producerEpoch": producer_epoch,
                }),
            );
        }
        other => panic!("{other:?}"),
    }
}
