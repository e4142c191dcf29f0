//! Produce (0): record batches to partitions, and their results.

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response, tagged, until};
use super::{ApiKey, ErrorCode, Full, Uuid, Writer};

const API: ApiKey = ApiKey::PRODUCE;

/// From this version on a broker adds partitions to the transaction itself (KIP-890): for clusters
/// of transaction version 2 alone.
pub const ADDS: i16 = 12;

fn flexible(version: i16) -> bool {
    version >= const { API.first_flexible() }
}

/// Begins a request of `topics` topics. `acks` is 0, 1 or -1 for all in-sync replicas; with 0 no
/// response comes. `timeout_ms` bounds the wait for replicas. Versions 3 to 13; inside transactions
/// 12 and later add the partition to the transaction implicitly (KIP-890).
///
/// # Errors
/// [`Full`] when the sink is.
pub fn begin(
    out: &mut Writer<'_>,
    version: i16,
    transactional_id: Option<&str>,
    acks: i16,
    timeout_ms: i32,
    topics: usize,
) -> Result<(), Full> {
    out.nullable_str(flexible(version), transactional_id)?;
    out.i16(acks)?;
    out.i32(timeout_ms)?;
    out.count(flexible(version), Some(topics))
}

/// One topic of `partitions` partitions, which follow: by `name` up to version 12, by `id` after.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn topic(
    out: &mut Writer<'_>,
    version: i16,
    name: &str,
    id: Uuid,
    partitions: usize,
) -> Result<(), Full> {
    if version >= 13 {
        out.uuid(id)?
    } else {
        out.str(flexible(version), name)?
    }
    out.count(flexible(version), Some(partitions))
}

/// One partition, up to and including the length of its records. The caller writes `records_len`
/// bytes of record batches after it, then calls [`end_partition`].
///
/// # Errors
/// [`Full`] when the sink is.
pub fn partition(
    out: &mut Writer<'_>,
    version: i16,
    index: i32,
    records_len: usize,
) -> Result<(), Full> {
    out.i32(index)?;
    out.count(flexible(version), Some(records_len))
}

/// Ends a partition, after its records.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end_partition(out: &mut Writer<'_>, version: i16) -> Result<(), Full> {
    out.no_tags(flexible(version))
}

/// Ends a topic.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end_topic(out: &mut Writer<'_>, version: i16) -> Result<(), Full> {
    out.no_tags(flexible(version))
}

/// Ends the request.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end(out: &mut Writer<'_>, version: i16) -> Result<(), Full> {
    out.no_tags(flexible(version))
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// Partitions of this topic follow.
    Topic {
        /// Its name, up to version 12.
        name: Option<&'b str>,
        /// Its id, from version 13 on; else zero.
        id: Uuid,
    },
    /// One partition.
    Partition {
        /// Its index.
        index: i32,
        /// The result for the batch.
        error: ErrorCode,
        /// The first record's offset, -1 on failure.
        base_offset: i64,
        /// Milliseconds when the topic stamps on append, else -1.
        log_append_time: i64,
        /// First offset of the log, from version 5 on, else -1.
        log_start_offset: i64,
    },
    /// A record for which the broker refused the batch; from version 8 on (KIP-467).
    RecordError {
        /// The record's index within the batch.
        batch_index: i32,
        /// For people.
        message: Option<&'b str>,
    },
    /// The broker's message on the last partition; from version 8 on.
    PartitionText {
        /// For people.
        message: Option<&'b str>,
    },
    /// The last partition's leader, when it is another broker; from version 10 on (KIP-951).
    CurrentLeader {
        /// Its node id, -1 for none.
        leader: i32,
        /// Its epoch, -1 for unknown.
        epoch: i32,
    },
    /// After all of a partition.
    PartitionEnd,
    /// After a topic's partitions.
    TopicEnd,
    /// After the topics.
    Throttle {
        /// Milliseconds that the broker wants us to wait.
        ms: i32,
    },
    /// Where a leader named above listens; from version 10 on.
    Endpoint {
        /// Its node id.
        id: i32,
        /// Where it listens.
        host: &'b str,
        /// Where it listens.
        port: i32,
        /// Its rack.
        rack: Option<&'b str>,
    },
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const TOPIC: u8 = 1;
const PARTITION: u8 = 2;
const RECORD_ERROR: u8 = 3;
const LEADER: u8 = 4;
const ENDPOINT: u8 = 5;
const PARTITION_TEXT: u8 = 6;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[
            field("Responses", Kind::Array(TOPIC), 0),
            field("ThrottleTimeMs", Kind::I32, 1),
            tagged(field("NodeEndpoints", Kind::Array(ENDPOINT), 10), 0),
        ],
        &[
            until(field("Name", Kind::Str, 0), 12),
            field("TopicId", Kind::Uuid, 13),
            field("PartitionResponses", Kind::Array(PARTITION), 0),
        ],
        &[
            field("Index", Kind::I32, 0),
            field("ErrorCode", Kind::I16, 0),
            field("BaseOffset", Kind::I64, 0),
            field("LogAppendTimeMs", Kind::I64, 2),
            field("LogStartOffset", Kind::I64, 5),
            field("RecordErrors", Kind::Array(RECORD_ERROR), 8),
            nullable(field("ErrorMessage", Kind::Str, 8), 8),
            tagged(field("CurrentLeader", Kind::Struct(LEADER), 10), 0),
        ],
        &[
            field("BatchIndex", Kind::I32, 8),
            nullable(field("BatchIndexErrorMessage", Kind::Str, 8), 8),
        ],
        &[field("LeaderId", Kind::I32, 10), field("LeaderEpoch", Kind::I32, 10)],
        &[
            field("NodeId", Kind::I32, 10),
            field("Host", Kind::Str, 10),
            field("Port", Kind::I32, 10),
            nullable(field("Rack", Kind::Str, 10), 10),
        ],
    ],
    flexible: 9,
};

response!(API, 3..=13, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(TOPIC, _) => Item::Topic { name: values.text(0), id: values.uuid(1) },
        Piece::Fields(PARTITION, 0) => Item::Partition {
            index: values.i32_or(0, 0),
            error: values.error(1),
            base_offset: values.i64_or(2, -1),
            log_append_time: values.i64_or(3, -1),
            log_start_offset: values.i64_or(4, -1),
        },
        Piece::Fields(RECORD_ERROR, _) => {
            Item::RecordError { batch_index: values.i32_or(0, 0), message: values.text(1) }
        }
        Piece::Fields(PARTITION, PARTITION_TEXT) => Item::PartitionText { message: values.text(0) },
        Piece::Fields(LEADER, _) => {
            Item::CurrentLeader { leader: values.i32_or(0, -1), epoch: values.i32_or(1, -1) }
        }
        Piece::End(PARTITION) => Item::PartitionEnd,
        Piece::End(TOPIC) => Item::TopicEnd,
        Piece::Fields(ROOT, _) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(ENDPOINT, _) => Item::Endpoint {
            id: values.i32_or(0, -1),
            host: values.text(1).unwrap_or_default(),
            port: values.i32_or(2, 0),
            rack: values.text(3),
        },
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
