//! Requests of members of classic groups.

use kavka_core::wire::{self, Encode, Full, Writer};
use serde_json::{Value, json};

use crate::hex;
use crate::requests::{i32_of, list, text};
use crate::typed::{Builder, code};
use crate::vectors::unhex;

fn bytes(bytes: &[u8]) -> String {
    format!("hex:{}", hex(bytes))
}

pub(crate) fn join(to: &mut Builder, item: wire::join_group::Item<'_>) {
    use wire::join_group::Item::*;
    match item {
        Head {
            throttle_ms,
            error,
            generation,
            protocol_type,
            protocol,
            leader,
            skip_assignment,
            member,
        } => to.set(
            "",
            json!({
                "throttleTimeMs": throttle_ms, "errorCode": code(error),
                "generationId": generation, "protocolType": protocol_type,
                "protocolName": protocol, "leader": leader,
                "skipAssignment": skip_assignment, "memberId": member, "members": [],
            }),
        ),
        Member { id, instance, metadata } => to.push(
            "members",
            json!({
                "memberId": id, "groupInstanceId": instance, "metadata": bytes(metadata),
            }),
        ),
        End => {}
        other => panic!("{other:?}"),
    }
}

pub(crate) fn sync(to: &mut Builder, item: wire::sync_group::Item<'_>) {
    use wire::sync_group::Item::*;
    match item {
        Assignment { throttle_ms, error, protocol_type, protocol, bytes: assignment } => to.set(
            "",
            json!({
                "throttleTimeMs": throttle_ms, "errorCode": code(error),
                "protocolType": protocol_type, "protocolName": protocol,
                "assignment": bytes(assignment),
            }),
        ),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn heartbeat(to: &mut Builder, item: wire::heartbeat::Item) {
    let wire::heartbeat::Item::Head { throttle_ms, error } = item else { panic!("{item:?}") };
    to.set("", json!({ "throttleTimeMs": throttle_ms, "errorCode": code(error) }));
}

pub(crate) fn leave(to: &mut Builder, item: wire::leave_group::Item<'_>) {
    use wire::leave_group::Item::*;
    match item {
        Head { throttle_ms, error } => {
            to.set("", json!({ "throttleTimeMs": throttle_ms, "errorCode": code(error) }));
        }
        Member { id, instance, error } => to.push(
            "members",
            json!({ "memberId": id, "groupInstanceId": instance, "errorCode": code(error) }),
        ),
        other => panic!("{other:?}"),
    }
}

fn data(value: &Value) -> Vec<u8> {
    unhex(text(value).strip_prefix("hex:").unwrap_or_default())
}

pub(crate) fn write_join(version: i16, body: &Value, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::join_group::*;
    let head = Head {
        group: text(&body["groupId"]),
        session_timeout_ms: i32_of(&body["sessionTimeoutMs"]),
        rebalance_timeout_ms: i32_of(&body["rebalanceTimeoutMs"]),
        member: text(&body["memberId"]),
        instance: body["groupInstanceId"].as_str(),
    };
    let protocols = list(&body["protocols"]);
    begin(out, version, &head, protocols.len())?;
    for one in protocols {
        let metadata = data(&one["metadata"]);
        protocol(out, version, text(&one["name"]), metadata.len())?;
        out.raw(&metadata)?;
        end_protocol(out, version)?;
    }
    end(out, version, body["reason"].as_str())
}

pub(crate) fn write_sync(version: i16, body: &Value, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::sync_group::*;
    let head = Head {
        group: text(&body["groupId"]),
        generation: i32_of(&body["generationId"]),
        member: text(&body["memberId"]),
        instance: body["groupInstanceId"].as_str(),
        protocol: body["protocolName"].as_str(),
    };
    let members = list(&body["assignments"]);
    begin(out, version, &head, members.len())?;
    for one in members {
        let assignment = data(&one["assignment"]);
        member(out, version, text(&one["memberId"]), assignment.len())?;
        out.raw(&assignment)?;
        end(out, version)?;
    }
    end(out, version)
}

pub(crate) fn write_heartbeat(
    version: i16,
    body: &Value,
    out: &mut Writer<'_>,
) -> Result<(), Full> {
    wire::heartbeat::Request {
        group: text(&body["groupId"]),
        generation: i32_of(&body["generationId"]),
        member: text(&body["memberId"]),
        instance: body["groupInstanceId"].as_str(),
    }
    .encode(version, out)
}

pub(crate) fn write_leave(version: i16, body: &Value, out: &mut Writer<'_>) -> Result<(), Full> {
    let one = if version >= 3 { &body["members"][0] } else { body };
    wire::leave_group::Request {
        group: text(&body["groupId"]),
        member: text(&one["memberId"]),
        instance: one["groupInstanceId"].as_str(),
        reason: one["reason"].as_str(),
    }
    .encode(version, out)
}
