//! Requests with a value in each field.

use kavka_core::wire::{self, Encode, Full, Writer};

use crate::ID;

pub(crate) fn api_versions_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    wire::api_versions::Request { software_name: "kavka", software_version: "0.1.0" }
        .encode(version, out)
}

pub(crate) fn metadata_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    wire::metadata::begin(out, version, Some(1))?;
    wire::metadata::topic(out, version, ID, Some("t"))?;
    wire::metadata::end(out, version, true)
}

pub(crate) fn produce_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::produce::*;
    begin(out, version, Some("tx"), -1, 7, 1)?;
    topic(out, version, "t", ID, 1)?;
    partition(out, version, 3, 3)?;
    out.raw(b"abc")?;
    end_partition(out, version)?;
    end_topic(out, version)?;
    end(out, version)
}

pub(crate) fn fetch_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::fetch::*;
    let head = Head {
        max_wait_ms: 1,
        min_bytes: 2,
        max_bytes: 3,
        isolation: 1,
        session_id: 4,
        session_epoch: 5,
    };
    begin(out, version, &head, 1)?;
    topic(out, version, "t", ID, 1)?;
    let at = Partition {
        index: 6,
        current_leader_epoch: 7,
        fetch_offset: 8,
        last_fetched_epoch: 9,
        log_start_offset: -1,
        max_bytes: 10,
    };
    partition(out, version, &at)?;
    end_topic(out, version)?;
    forgotten_begin(out, version, 1)?;
    forgotten_topic(out, version, "u", ID, [11, 12].into_iter())?;
    end(out, version, "r")
}

pub(crate) fn list_offsets_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::list_offsets::*;
    begin(out, version, 1, 1)?;
    topic(out, version, "t", 1)?;
    partition(out, version, 2, 3, EARLIEST)?;
    end_topic(out, version)?;
    end(out, version, 9)
}

pub(crate) fn epochs_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::offset_for_leader_epoch::*;
    begin(out, version, 1)?;
    topic(out, version, "t", 1)?;
    partition(out, version, 2, 3, 4)?;
    end(out, version)?;
    end(out, version)
}

pub(crate) fn describe_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    let topics = &["t", "u"];
    wire::describe_topic_partitions::Request { topics, limit: 1, cursor: Some(("t", 5)) }
        .encode(version, out)
}

pub(crate) fn init_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    wire::init_producer_id::Request {
        transactional_id: Some("tx"),
        timeout_ms: 1,
        producer_id: 2,
        producer_epoch: 3,
    }
    .encode(version, out)
}

pub(crate) fn add_partitions_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::add_partitions_to_txn::*;
    begin(out, version, "tx", (2, 3), 1)?;
    topic(out, version, "t", 2)?;
    out.i32(4)?;
    out.i32(5)?;
    end(out, version)?;
    end(out, version)
}

pub(crate) fn add_offsets_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    wire::add_offsets_to_txn::Request {
        transactional_id: "tx",
        producer_id: 2,
        producer_epoch: 3,
        group: "group",
    }
    .encode(version, out)
}

pub(crate) fn txn_offsets_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::txn_offset_commit::*;
    begin(out, version, "tx")?;
    out.str(flexible(version), "group")?;
    producer(out, version, (2, 3), 4)?;
    if version >= FENCES {
        out.str(flexible(version), "member")?;
        out.nullable_str(flexible(version), None)?;
    }
    out.count(flexible(version), Some(1))?;
    out.str(flexible(version), "t")?;
    out.count(flexible(version), Some(1))?;
    partition(out, version, 5, 6, 7)?;
    out.str(flexible(version), "text")?;
    end(out, version)?;
    end(out, version)?;
    end(out, version)
}

pub(crate) fn end_txn_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    wire::end_txn::Request {
        transactional_id: "tx",
        producer_id: 2,
        producer_epoch: 3,
        committed: true,
    }
    .encode(version, out)
}

pub(crate) fn create_topics_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::create_topics::{NewTopic, Request};
    let configs = &[("a", Some("b")), ("c", None)];
    let topics = &[NewTopic { name: "t", partitions: 2, replication_factor: 3, configs }];
    Request { topics, timeout_ms: 4, validate_only: true }.encode(version, out)
}

pub(crate) fn create_partitions_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::create_partitions::{NewPartitions, Request};
    let topics = &[NewPartitions { name: "t", count: 9 }];
    Request { topics, timeout_ms: 4, validate_only: true }.encode(version, out)
}

pub(crate) fn delete_topics_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    wire::delete_topics::Request { names: &["t"], timeout_ms: 4 }.encode(version, out)
}

pub(crate) fn list_groups_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    wire::list_groups::Request { states: &["Stable", "Empty"], types: &["Classic"] }
        .encode(version, out)
}

pub(crate) fn describe_groups_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    wire::describe_groups::Request { groups: &["g", "h"], include_authorized_operations: true }
        .encode(version, out)
}

pub(crate) fn consumer_group_describe_request(
    version: i16,
    out: &mut Writer<'_>,
) -> Result<(), Full> {
    use wire::consumer_group_describe::Request;
    Request { groups: &["g", "h"], include_authorized_operations: true }.encode(version, out)
}

pub(crate) fn delete_groups_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    wire::delete_groups::Request { groups: &["g", "h"] }.encode(version, out)
}

pub(crate) fn offset_delete_request(_: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    wire::offset_delete::begin(out, "g", 1)?;
    wire::offset_delete::topic(out, "t", 2)?;
    out.i32(3)?;
    out.i32(5)
}

pub(crate) fn find_coordinator_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    wire::find_coordinator::Request { key: "group", key_type: 0 }.encode(version, out)
}

pub(crate) fn heartbeat_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::consumer_group_heartbeat::*;
    let head = Head {
        group: "group",
        member: "member",
        epoch: 5,
        instance: Some("one"),
        rack: Some("r"),
        rebalance_timeout_ms: 6,
    };
    begin(out, &head, Some(2))?;
    name(out, "t")?;
    name(out, "u")?;
    middle(out, version, Some("x.*"), Some("uniform"), Some(1))?;
    owned(out, ID, 2)?;
    out.i32(1)?;
    out.i32(2)?;
    end(out)?;
    end(out)
}

pub(crate) fn offset_commit_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::offset_commit::*;
    let head = Head { group: "group", epoch: 5, member: "member", instance: Some("one") };
    begin(out, version, &head, 1)?;
    topic(out, version, "t", ID, 1)?;
    partition(out, version, 1, 2, 3)?;
    out.str(version >= FLEXIBLE, "text")?;
    end(out, version)?;
    end(out, version)?;
    end(out, version)
}

pub(crate) fn offset_fetch_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::offset_fetch::*;
    begin(out, version, "group", Some(("member", 5)), Some(1))?;
    topic(out, version, "t", ID, 2)?;
    out.i32(1)?;
    out.i32(2)?;
    end_topic(out, version)?;
    end(out, version, true)
}

pub(crate) fn join_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::join_group::*;
    let head = Head {
        group: "group",
        session_timeout_ms: 1,
        rebalance_timeout_ms: 2,
        member: "member",
        instance: Some("one"),
    };
    begin(out, version, &head, 1)?;
    protocol(out, version, "range", 3)?;
    out.raw(b"abc")?;
    end_protocol(out, version)?;
    end(out, version, Some("why"))
}

pub(crate) fn sync_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    use wire::sync_group::*;
    let head = Head {
        group: "group",
        generation: 5,
        member: "member",
        instance: Some("one"),
        protocol: Some("range"),
    };
    begin(out, version, &head, 1)?;
    member(out, version, "other", 3)?;
    out.raw(b"abc")?;
    end(out, version)?;
    end(out, version)
}

pub(crate) fn classic_heartbeat_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    let (group, member, instance) = ("group", "member", Some("one"));
    wire::heartbeat::Request { group, generation: 5, member, instance }.encode(version, out)
}

pub(crate) fn leave_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    let (group, member, instance, reason) = ("group", "member", Some("one"), Some("why"));
    wire::leave_group::Request { group, member, instance, reason }.encode(version, out)
}

pub(crate) fn sasl_handshake_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    wire::sasl_handshake::Request { mechanism: "PLAIN" }.encode(version, out)
}

pub(crate) fn sasl_authenticate_request(version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
    wire::sasl_authenticate::begin(out, version, 7)?;
    out.raw(b"message")?;
    wire::sasl_authenticate::end(out, version)
}
