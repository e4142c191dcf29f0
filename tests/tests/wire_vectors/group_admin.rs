//! Requests about consumer groups, and what members of classic groups exchange.

use kavka_core::wire::consumer_protocol::{Assignment, Subscription, Topics};
use kavka_core::wire::{self, Encode, Full, Malformed, Writer};
use serde_json::{Value, json};

use crate::hex;
use crate::requests::{i32_of, list as array, text};
use crate::typed::{Builder, code, ints};
use crate::vectors::unhex;
use crate::walk::uuid;

pub(crate) fn list(to: &mut Builder, item: wire::list_groups::Item<'_>) {
    use wire::list_groups::Item::*;
    match item {
        Head { throttle_ms, error } => {
            to.set("", json!({ "throttleTimeMs": throttle_ms, "errorCode": code(error) }));
        }
        Group { id, protocol_type, state, kind } => to.push(
            "groups",
            json!({
                "groupId": id, "protocolType": protocol_type, "groupState": state,
                "groupType": kind,
            }),
        ),
        other => panic!("{other:?}"),
    }
}

fn bytes(bytes: &[u8]) -> String {
    format!("hex:{}", hex(bytes))
}

pub(crate) fn describe(to: &mut Builder, item: wire::describe_groups::Item<'_>) {
    use wire::describe_groups::Item::*;
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Group { error, message, id, state, protocol_type, protocol } => to.push(
            "groups",
            json!({
                "errorCode": code(error), "errorMessage": message, "groupId": id,
                "groupState": state, "protocolType": protocol_type, "protocolData": protocol,
            }),
        ),
        Member { id, instance, client_id, client_host, metadata, assignment } => to.push(
            "groups.members",
            json!({
                "memberId": id, "groupInstanceId": instance, "clientId": client_id,
                "clientHost": client_host, "memberMetadata": bytes(metadata),
                "memberAssignment": bytes(assignment),
            }),
        ),
        Operations(bits) => to.set("groups", json!({ "authorizedOperations": bits })),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn describe_consumer(to: &mut Builder, item: wire::consumer_group_describe::Item<'_>) {
    use wire::consumer_group_describe::Item::*;
    let topic = |id, name, partitions| {
        let (id, partitions) = (uuid(id), ints(partitions));
        json!({ "topicId": id, "topicName": name, "partitions": partitions })
    };
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Group { error, message, id, state, epoch, assignment_epoch, assignor } => to.push(
            "groups",
            json!({
                "errorCode": code(error), "errorMessage": message, "groupId": id,
                "groupState": state, "groupEpoch": epoch, "assignmentEpoch": assignment_epoch,
                "assignorName": assignor,
            }),
        ),
        Member { id, instance, rack, epoch, client_id, client_host } => to.push(
            "groups.members",
            json!({
                "memberId": id, "instanceId": instance, "rackId": rack, "memberEpoch": epoch,
                "clientId": client_id, "clientHost": client_host,
                "assignment": { "topicPartitions": [] },
                "targetAssignment": { "topicPartitions": [] },
            }),
        ),
        Subscribed(name) => to.push("groups.members.subscribedTopicNames", json!(name)),
        Pattern(regex) => to.set("groups.members", json!({ "subscribedTopicRegex": regex })),
        Assigned { id, topic: name, partitions } => {
            to.push("groups.members.assignment.topicPartitions", topic(id, name, partitions));
        }
        Target { id, topic: name, partitions } => {
            let path = "groups.members.targetAssignment.topicPartitions";
            to.push(path, topic(id, name, partitions));
        }
        MemberType(kind) => to.set("groups.members", json!({ "memberType": kind })),
        Operations(bits) => to.set("groups", json!({ "authorizedOperations": bits })),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn delete(to: &mut Builder, item: wire::delete_groups::Item<'_>) {
    use wire::delete_groups::Item::*;
    match item {
        Throttle { ms } => to.set("", json!({ "throttleTimeMs": ms })),
        Group { id, error, message } => to.push(
            "results",
            json!({ "groupId": id, "errorCode": code(error), "errorMessage": message }),
        ),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn delete_offsets(to: &mut Builder, item: wire::offset_delete::Item<'_>) {
    use wire::offset_delete::Item::*;
    match item {
        Head { error, throttle_ms } => {
            to.set("", json!({ "throttleTimeMs": throttle_ms, "errorCode": code(error) }));
        }
        Topic { name } => to.push("topics", json!({ "name": name })),
        Partition { index, error } => to.push(
            "topics.partitions",
            json!({ "partitionIndex": index, "errorCode": code(error) }),
        ),
        other => panic!("{other:?}"),
    }
}

fn texts(value: &Value) -> Vec<&str> {
    array(value).iter().map(text).collect()
}

pub(crate) fn write_list(version: i16, body: &Value, out: &mut Writer<'_>) -> Result<(), Full> {
    let (states, types) = (texts(&body["statesFilter"]), texts(&body["typesFilter"]));
    wire::list_groups::Request { states: &states, types: &types }.encode(version, out)
}

pub(crate) fn write_describe(version: i16, body: &Value, out: &mut Writer<'_>) -> Result<(), Full> {
    let groups = texts(&body["groups"]);
    let include_authorized_operations = body["includeAuthorizedOperations"] == true;
    wire::describe_groups::Request { groups: &groups, include_authorized_operations }
        .encode(version, out)
}

pub(crate) fn write_describe_consumer(
    version: i16,
    body: &Value,
    out: &mut Writer<'_>,
) -> Result<(), Full> {
    let groups = texts(&body["groupIds"]);
    let include_authorized_operations = body["includeAuthorizedOperations"] == true;
    wire::consumer_group_describe::Request { groups: &groups, include_authorized_operations }
        .encode(version, out)
}

pub(crate) fn write_delete(version: i16, body: &Value, out: &mut Writer<'_>) -> Result<(), Full> {
    let groups = texts(&body["groupsNames"]);
    wire::delete_groups::Request { groups: &groups }.encode(version, out)
}

pub(crate) fn write_delete_offsets(body: &Value, out: &mut Writer<'_>) -> Result<(), Full> {
    let topics = array(&body["topics"]);
    wire::offset_delete::begin(out, text(&body["groupId"]), topics.len())?;
    for topic in topics {
        let partitions = array(&topic["partitions"]);
        wire::offset_delete::topic(out, text(&topic["name"]), partitions.len())?;
        for partition in partitions {
            out.i32(i32_of(&partition["partitionIndex"]))?;
        }
    }
    Ok(())
}

fn topics(list: Topics<'_>) -> Value {
    list.map(|(topic, partitions)| json!({ "topic": topic, "partitions": ints(partitions) }))
        .collect()
}

fn subscription(read: &Subscription<'_>) -> Value {
    json!({
        "topics": read.topics.collect::<Vec<_>>(), "userData": read.user_data.map(bytes),
        "ownedPartitions": topics(read.owned), "generationId": read.generation,
        "rackId": read.rack,
    })
}

/// One line of the file: what it is, its version, its bytes and its fields.
fn exchanged() -> Vec<(String, bool, i16, Vec<u8>, Value)> {
    let lines = include_str!("../../data/vectors/consumer_protocol.jsonl").lines();
    lines
        .map(|line| {
            let mut json: Value = serde_json::from_str(line).expect("a line is JSON");
            let version = json["version"].as_i64().expect("a version") as i16;
            let is_subscription = json["kind"] == "subscription";
            let (id, bytes) = (text(&json["id"]).to_owned(), unhex(text(&json["hex"])));
            (id, is_subscription, version, bytes, json["body"].take())
        })
        .collect()
}

#[test]
fn subscriptions_and_assignments_are_read() {
    let mut count = 0;
    for (id, is_subscription, version, bytes, body) in exchanged() {
        let got = if is_subscription {
            let read = Subscription::read(&bytes).unwrap_or_else(|e| panic!("{id}: {e}"));
            assert_eq!(read.version, version, "{id}");
            subscription(&read)
        } else {
            let read = Assignment::read(&bytes).unwrap_or_else(|e| panic!("{id}: {e}"));
            assert_eq!(read.version, version, "{id}");
            let partitions = topics(read.topics);
            json!({ "assignedPartitions": partitions, "userData": read.user_data.map(self::bytes) })
        };
        // One claims version 1 and ends before the fields that are new in it.
        let Some(body) = body.as_object() else {
            assert_eq!(got["topics"], json!(["one", "two"]), "{id}");
            assert_eq!(got["ownedPartitions"], json!([]), "{id}");
            continue;
        };
        for (name, wanted) in body {
            assert_eq!(&got[name], wanted, "{id}: {name}");
        }
        count += 1;
    }
    assert!(count >= 25, "{count} vectors: some are missing");
}

/// GR1: what a newer version appends is ignored.
#[test]
fn newer_versions_are_read_by_the_fields_that_are_known() {
    let known = "00030000000100017400000000000000010001740000000200000000000000010000000700017\
                 2";
    let known: String = known.split_whitespace().collect();
    for version in ["0003", "0004", "0007", "7fff"] {
        for behind in ["", "00", "ffffffffff", "0000000161"] {
            let bytes = unhex(&format!("{version}{}{behind}", &known[4..]));
            let read = Subscription::read(&bytes).expect(version);
            let wanted = json!({
                "topics": ["t"], "userData": "hex:",
                "ownedPartitions": [{ "topic": "t", "partitions": [0, 1] }],
                "generationId": 7, "rackId": "r",
            });
            assert_eq!(subscription(&read), wanted, "{version} {behind}");
        }
    }
    let bytes = unhex("00090000000100017400000001000000050000000161ff");
    let read = Assignment::read(&bytes).expect("newer and longer");
    assert_eq!(topics(read.topics), json!([{ "topic": "t", "partitions": [5] }]));
    assert_eq!(read.user_data, Some(&b"a"[..]));
}

#[test]
fn bad_subscriptions_and_assignments_are_refused() {
    for (hex, why) in [
        ("", Malformed::Shape),
        ("00", Malformed::Shape),
        ("ffff00000000ffffffff", Malformed::Length),
        ("0000ffffffffffffffff", Malformed::Length),
        ("00007fffffff0001740000", Malformed::Shape),
        ("0000000000010001", Malformed::Shape),
        ("0000000000010001ff00000000", Malformed::Utf8),
        ("000000000001ffff00000000", Malformed::Length),
    ] {
        let bytes = unhex(hex);
        assert_eq!(Subscription::read(&bytes).err(), Some(why), "{hex}");
        assert_eq!(Assignment::read(&bytes).err(), Some(why), "{hex}");
    }
    // More partitions than there are bytes, and a null list of them.
    for hex in ["000000000001000174400000000000000000", "000000000001000174ffffffff00000000"] {
        assert!(Assignment::read(&unhex(hex)).is_err(), "{hex}");
    }
}

/// Every prefix and every flipped bit: a result, and only topics that were checked.
#[test]
fn damage_in_subscriptions_and_assignments_does_no_harm() {
    let mut refused = 0;
    let mut look = |bytes: &[u8]| {
        if let Ok(read) = Subscription::read(bytes) {
            let _ = subscription(&read);
        } else {
            refused += 1;
        }
        if let Ok(read) = Assignment::read(bytes) {
            assert!(read.topics.count() <= bytes.len());
        } else {
            refused += 1;
        }
    };
    for (_, _, _, mut bytes, _) in exchanged() {
        for end in 0..bytes.len() {
            look(&bytes[..end]);
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            look(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
    assert!(refused > 1000, "{refused} refused");
}
