//! Fetch (1): records of partitions, within a fetch session (KIP-227) from version 7 on.

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response, tagged, until};
use super::{ApiKey, ErrorCode, Full, Uuid, Writer};

const API: ApiKey = ApiKey::FETCH;

fn flexible(version: i16) -> bool {
    version >= const { API.first_flexible() }
}

/// The fields of a request before its topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How long the broker may wait for `min_bytes`, milliseconds.
    pub max_wait_ms: i32,
    /// Record bytes that end the wait.
    pub min_bytes: i32,
    /// About how many record bytes the response may have; the first batch comes whole (KIP-74).
    pub max_bytes: i32,
    /// 0 for read_uncommitted, 1 for read_committed.
    pub isolation: i8,
    /// The session's id, 0 for none; from version 7 on.
    pub session_id: i32,
    /// The session's epoch: 0 begins one, -1 ends it or means none; from version 7 on.
    pub session_epoch: i32,
}

/// One partition of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: i32,
    /// The leader's epoch as we know it, -1 for "do not check"; from version 9 on.
    pub current_leader_epoch: i32,
    /// The first offset wanted.
    pub fetch_offset: i64,
    /// Epoch of the last record read, -1 for none: detects truncation; from version 12 on.
    pub last_fetched_epoch: i32,
    /// -1 for consumers; from version 5 on.
    pub log_start_offset: i64,
    /// About how many record bytes of this partition the response may have.
    pub max_bytes: i32,
}

/// Begins a request of `topics` topics. Versions 4 to 18.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn begin(out: &mut Writer<'_>, version: i16, head: &Head, topics: usize) -> Result<(), Full> {
    if version <= 14 {
        out.i32(-1)?; // A replica id; later a tagged field that consumers leave out.
    }
    out.i32(head.max_wait_ms)?;
    out.i32(head.min_bytes)?;
    out.i32(head.max_bytes)?;
    out.i8(head.isolation)?;
    if version >= 7 {
        out.i32(head.session_id)?;
        out.i32(head.session_epoch)?;
    }
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

/// One partition.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn partition(out: &mut Writer<'_>, version: i16, partition: &Partition) -> Result<(), Full> {
    out.i32(partition.index)?;
    if version >= 9 {
        out.i32(partition.current_leader_epoch)?;
    }
    out.i64(partition.fetch_offset)?;
    if version >= 12 {
        out.i32(partition.last_fetched_epoch)?;
    }
    if version >= 5 {
        out.i64(partition.log_start_offset)?;
    }
    out.i32(partition.max_bytes)?;
    // The tagged directory id and high watermark are for replicas.
    out.no_tags(flexible(version))
}

/// Ends a topic.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end_topic(out: &mut Writer<'_>, version: i16) -> Result<(), Full> {
    out.no_tags(flexible(version))
}

/// Follows the topics, always: `topics` topics with partitions to drop from the session follow.
/// Writes nothing before version 7, which has no sessions.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn forgotten_begin(out: &mut Writer<'_>, version: i16, topics: usize) -> Result<(), Full> {
    if version >= 7 { out.count(flexible(version), Some(topics)) } else { Ok(()) }
}

/// A topic with partitions to drop from the session, complete.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn forgotten_topic(
    out: &mut Writer<'_>,
    version: i16,
    name: &str,
    id: Uuid,
    partitions: impl ExactSizeIterator<Item = i32>,
) -> Result<(), Full> {
    if version < 7 {
        return Ok(());
    }
    topic(out, version, name, id, partitions.len())?;
    for partition in partitions {
        out.i32(partition)?;
    }
    out.no_tags(flexible(version))
}

/// Ends the request. `rack` lets the broker return a closer replica (KIP-392), from version 11 on;
/// empty for none.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end(out: &mut Writer<'_>, version: i16, rack: &str) -> Result<(), Full> {
    if version >= 11 {
        out.str(flexible(version), rack)?;
    }
    out.no_tags(flexible(version))
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First.
    Head {
        /// Milliseconds that the broker wants us to wait.
        throttle_ms: i32,
        /// For the whole response, from version 7 on: sessions, authorization.
        error: ErrorCode,
        /// The session, 0 for none.
        session_id: i32,
    },
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
        /// What went wrong with this partition.
        error: ErrorCode,
        /// The offset after the last replicated record.
        high_watermark: i64,
        /// The offset below which every transaction is decided; -1 when not requested.
        last_stable_offset: i64,
        /// First offset of the log, from version 5 on, else -1.
        log_start_offset: i64,
    },
    /// An aborted transaction in the following records; only under read_committed.
    Aborted {
        /// Its producer id.
        producer_id: i64,
        /// From which offset on, until that producer's next control batch.
        first_offset: i64,
    },
    /// The raw record bytes come next in the input, for the caller to take from there; see
    /// [`Response::take`].
    Records {
        /// A replica that should be fetched from instead, -1 for none; from version 11 on.
        preferred_read_replica: i32,
        /// How many bytes; 0 also when null. The last batch may be incomplete.
        len: u32,
    },
    /// Our log and the broker's differ from here on: truncate (version 12 and later).
    DivergingEpoch {
        /// The greatest epoch that both know.
        epoch: i32,
        /// The offset after its last record at the broker.
        end_offset: i64,
    },
    /// The last partition's leader, when it is another broker (KIP-951; version 12 and later).
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
    /// Where a leader named above listens; from version 16 on.
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
    /// Something that did not fit was dropped; record bytes never are of that kind.
    Skipped,
}

const ROOT: u8 = 0;
const TOPIC: u8 = 1;
const PARTITION: u8 = 2;
const ABORTED: u8 = 3;
const DIVERGING: u8 = 4;
const LEADER: u8 = 5;
const SNAPSHOT: u8 = 6;
const ENDPOINT: u8 = 7;
const RECORDS_FIELD: u8 = 6;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[
            field("ThrottleTimeMs", Kind::I32, 1),
            field("ErrorCode", Kind::I16, 7),
            field("SessionId", Kind::I32, 7),
            field("Responses", Kind::Array(TOPIC), 0),
            tagged(field("NodeEndpoints", Kind::Array(ENDPOINT), 16), 0),
        ],
        &[
            until(field("Topic", Kind::Str, 0), 12),
            field("TopicId", Kind::Uuid, 13),
            field("Partitions", Kind::Array(PARTITION), 0),
        ],
        &[
            field("PartitionIndex", Kind::I32, 0),
            field("ErrorCode", Kind::I16, 0),
            field("HighWatermark", Kind::I64, 0),
            field("LastStableOffset", Kind::I64, 4),
            field("LogStartOffset", Kind::I64, 5),
            nullable(field("AbortedTransactions", Kind::Array(ABORTED), 4), 4),
            field("PreferredReadReplica", Kind::I32, 11),
            nullable(field("Records", Kind::Records, 0), 0),
            tagged(field("DivergingEpoch", Kind::Struct(DIVERGING), 12), 0),
            tagged(field("CurrentLeader", Kind::Struct(LEADER), 12), 1),
            tagged(field("SnapshotId", Kind::Struct(SNAPSHOT), 12), 2),
        ],
        &[field("ProducerId", Kind::I64, 4), field("FirstOffset", Kind::I64, 4)],
        &[field("Epoch", Kind::I32, 12), field("EndOffset", Kind::I64, 12)],
        &[field("LeaderId", Kind::I32, 12), field("LeaderEpoch", Kind::I32, 12)],
        &[field("EndOffset", Kind::I64, 0), field("Epoch", Kind::I32, 0)],
        &[
            field("NodeId", Kind::I32, 16),
            field("Host", Kind::Str, 16),
            field("Port", Kind::I32, 16),
            nullable(field("Rack", Kind::Str, 16), 16),
        ],
    ],
    flexible: 12,
};

response!(API, 4..=18, 'b, Item<'b>);

impl Response {
    /// Returns how many record bytes of the last [`Item::Records`] come next in the input and were
    /// not taken.
    ///
    /// The next step drops them; the caller may take any part of them before.
    #[must_use]
    pub const fn records_left(&self) -> u32 {
        self.0.records_left()
    }

    /// Notes that the caller has advanced its input by `len` of the record bytes.
    pub const fn take(&mut self, len: u32) {
        self.0.take(len);
    }
}

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, 0) => Item::Head {
            throttle_ms: values.i32_or(0, 0),
            error: values.error(1),
            session_id: values.i32_or(2, 0),
        },
        Piece::Fields(TOPIC, _) => Item::Topic { name: values.text(0), id: values.uuid(1) },
        Piece::Fields(PARTITION, 0) => Item::Partition {
            index: values.i32_or(0, 0),
            error: values.error(1),
            high_watermark: values.i64_or(2, -1),
            last_stable_offset: values.i64_or(3, -1),
            log_start_offset: values.i64_or(4, -1),
        },
        Piece::Fields(ABORTED, _) => {
            Item::Aborted { producer_id: values.i64_or(0, -1), first_offset: values.i64_or(1, -1) }
        }
        Piece::Fields(PARTITION, RECORDS_FIELD) => Item::Records {
            preferred_read_replica: values.i32_or(0, -1),
            len: values.i32_or(1, 0) as u32,
        },
        Piece::Fields(DIVERGING, _) => {
            Item::DivergingEpoch { epoch: values.i32_or(0, -1), end_offset: values.i64_or(1, -1) }
        }
        Piece::Fields(LEADER, _) => {
            Item::CurrentLeader { leader: values.i32_or(0, -1), epoch: values.i32_or(1, -1) }
        }
        Piece::End(PARTITION) => Item::PartitionEnd,
        Piece::End(TOPIC) => Item::TopicEnd,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Decode, Malformed, Step};

    /// Version 12, one topic `t` of one partition with ten record bytes, then the leader's tag and
    /// what ends partition, topic and response.
    const RESPONSE: &[u8] = &[
        0, 0, 0, 5, 0, 0, 0, 0, 0, 9, 2, 2, b't', 2, // head, topic
        0, 0, 0, 3, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 6, // partition
        0, 0, 0, 0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 11, // aborted, replica, length
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, // records
        1, 1, 9, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, // tags
    ];

    /// Up to the records, in one input.
    fn to_records(input: &mut &[u8]) -> Result<Response, Malformed> {
        let mut response = Response::new(12).expect("spoken");
        let wanted = [
            Item::Head { throttle_ms: 5, error: ErrorCode::NONE, session_id: 9 },
            Item::Topic { name: Some("t"), id: Uuid::ZERO },
            Item::Partition {
                index: 3,
                error: ErrorCode::NOT_LEADER_OR_FOLLOWER,
                high_watermark: 7,
                last_stable_offset: 6,
                log_start_offset: 1,
            },
            Item::Records { preferred_read_replica: -1, len: 10 },
        ];
        for item in wanted {
            assert_eq!(response.step(input)?, Step::Item(item));
        }
        Ok(response)
    }

    fn end(response: &mut Response, input: &mut &[u8]) -> Result<(), Malformed> {
        let leader = Item::CurrentLeader { leader: 2, epoch: 4 };
        for item in [leader, Item::PartitionEnd, Item::TopicEnd] {
            assert_eq!(response.step(input)?, Step::Item(item));
        }
        assert_eq!(response.step(input)?, Step::Done);
        assert_eq!(response.step(input)?, Step::Done);
        assert!(input.is_empty());
        Ok(())
    }

    #[test]
    fn the_caller_takes_records_itself() -> Result<(), Malformed> {
        let mut input = RESPONSE;
        let mut response = to_records(&mut input)?;
        assert_eq!(response.records_left(), 10);
        let (records, rest) = input.split_at(10);
        assert_eq!(records, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        response.take(4);
        assert_eq!(response.records_left(), 6);
        response.take(6);
        input = rest;
        end(&mut response, &mut input)
    }

    #[test]
    fn records_left_alone_are_dropped_as_they_come() -> Result<(), Malformed> {
        let mut input = RESPONSE;
        let mut response = to_records(&mut input)?;
        response.take(1);
        let (mut few, rest) = input.split_at(4);
        few = few.get(1..).unwrap_or_default();
        assert_eq!(response.step(&mut few)?, Step::More { needed: 1 });
        assert!(few.is_empty());
        assert_eq!(response.records_left(), 6);
        input = rest;
        end(&mut response, &mut input)
    }

    #[test]
    fn versions_out_of_range_have_no_decoder() {
        assert!(Response::new(3).is_none());
        assert!(Response::new(19).is_none());
        assert!(Response::new(-1).is_none());
    }
}
