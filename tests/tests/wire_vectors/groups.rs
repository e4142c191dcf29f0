//! The typed items of responses of groups as JSON, with the names of Kafka's schemas.

use kavka_core::wire;
use serde_json::json;

use crate::typed::{Builder, code, ints};
use crate::walk::uuid;

pub(crate) fn find_coordinator(
    to: &mut Builder,
    version: i16,
    item: wire::find_coordinator::Item<'_>,
) {
    use wire::find_coordinator::Item::*;
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Coordinator { throttle_ms, key, error, message, node, host, port } => {
            let fields = json!({
                "key": key, "errorCode": code(error), "errorMessage": message, "nodeId": node,
                "host": host, "port": port,
            });
            match version {
                4.. => to.push("coordinators", fields),
                _ => {
                    to.set("", fields);
                    to.set("", json!({ "throttleTimeMs": throttle_ms }));
                }
            }
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn heartbeat(to: &mut Builder, item: wire::consumer_group_heartbeat::Item<'_>) {
    use wire::consumer_group_heartbeat::Item::*;
    match item {
        Head { throttle_ms, error, message, member, epoch, interval_ms } => to.set(
            "",
            json!({
                "throttleTimeMs": throttle_ms, "errorCode": code(error), "errorMessage": message,
                "memberId": member, "memberEpoch": epoch, "heartbeatIntervalMs": interval_ms,
                "assignment": { "topicPartitions": [] },
            }),
        ),
        Topic { id, partitions } => to.push(
            "assignment.topicPartitions",
            json!({ "topicId": uuid(id), "partitions": ints(partitions) }),
        ),
        AssignmentEnd => {}
        Unchanged => to.set("", json!({ "assignment": null })),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn offset_commit(to: &mut Builder, item: wire::offset_commit::Item<'_>) {
    use wire::offset_commit::Item::*;
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Topic { name, id } => to.push("topics", json!({ "name": name, "topicId": uuid(id) })),
        Partition { index, error } => to.push(
            "topics.partitions",
            json!({ "partitionIndex": index, "errorCode": code(error) }),
        ),
        TopicEnd => {}
        other => panic!("{other:?}"),
    }
}

pub(crate) fn offset_fetch(to: &mut Builder, version: i16, item: wire::offset_fetch::Item<'_>) {
    use wire::offset_fetch::Item::*;
    let at = |path: &str| match version {
        8.. => format!("groups.{path}"),
        _ => path.to_owned(),
    };
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Group { id } => to.push("groups", json!({ "groupId": id })),
        Topic { name, id } => {
            to.push(&at("topics"), json!({ "name": name, "topicId": uuid(id) }));
        }
        Partition { index, offset, leader_epoch, metadata, error } => to.push(
            &at("topics.partitions"),
            json!({
                "partitionIndex": index, "committedOffset": offset,
                "committedLeaderEpoch": leader_epoch, "metadata": metadata,
                "errorCode": code(error),
            }),
        ),
        TopicEnd => {}
        End { error } => {
            to.set(if version >= 8 { "groups" } else { "" }, json!({ "errorCode": code(error) }));
        }
        other => panic!("{other:?}"),
    }
}
