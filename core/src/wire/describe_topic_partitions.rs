//! DescribeTopicPartitions (75): a topic's partitions page by page (KIP-966); the cheap probe for
//! growth: cursor (topic, known count - 1), limit 1.

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response};
use super::{ApiKey, Encode, ErrorCode, Full, Ints, Uuid, Writer};

const API: ApiKey = ApiKey::DESCRIBE_TOPIC_PARTITIONS;

/// Requests the partitions of topics from a cursor on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The topics; brokers return them in the order of names.
    pub topics: &'a [&'a str],
    /// The most partitions to return; the broker has a limit of its own (2,000).
    pub limit: i32,
    /// The topic and the first partition to return.
    pub cursor: Option<(&'a str, i32)>,
}

impl Encode for Request<'_> {
    const API: ApiKey = API;
    const VERSIONS: (i16, i16) = (0, 0);

    fn encode(&self, _: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        out.count(true, Some(self.topics.len()))?;
        for topic in self.topics {
            out.str(true, topic)?;
            out.no_tags(true)?;
        }
        out.i32(self.limit)?;
        match self.cursor {
            Some((topic, partition)) => {
                out.i8(1)?;
                out.str(true, topic)?;
                out.i32(partition)?;
                out.no_tags(true)?;
            }
            None => out.i8(-1)?,
        }
        out.no_tags(true)
    }
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First.
    Throttle {
        /// Milliseconds that the broker wants us to wait.
        ms: i32,
    },
    /// Partitions of this topic follow.
    Topic {
        /// What went wrong with the topic as a whole.
        error: ErrorCode,
        /// Its name.
        name: Option<&'b str>,
        /// Its id, zero for none.
        id: Uuid,
        /// Whether it is Kafka's own.
        internal: bool,
    },
    /// One partition, ascending by index.
    Partition {
        /// What went wrong with this partition.
        error: ErrorCode,
        /// Its index.
        index: i32,
        /// The leader's node id, -1 for none.
        leader: i32,
        /// The leader's epoch, -1 for unknown.
        epoch: i32,
        /// All replicas' node ids.
        replicas: Ints<'b>,
        /// Those in sync.
        isr: Ints<'b>,
        /// Those that may become leader; empty also when null.
        eligible: Ints<'b>,
        /// Those last known to be eligible; empty also when null.
        last_known_eligible: Ints<'b>,
        /// Those offline.
        offline: Ints<'b>,
    },
    /// After a topic's partitions.
    TopicEnd,
    /// Last: where the next page begins; `None` after the last page.
    Cursor(Option<(&'b str, i32)>),
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const TOPIC: u8 = 1;
const PARTITION: u8 = 2;
const CURSOR: u8 = 3;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[
            field("ThrottleTimeMs", Kind::I32, 0),
            field("Topics", Kind::Array(TOPIC), 0),
            nullable(field("NextCursor", Kind::Struct(CURSOR), 0), 0),
        ],
        &[
            field("ErrorCode", Kind::I16, 0),
            nullable(field("Name", Kind::Str, 0), 0),
            field("TopicId", Kind::Uuid, 0),
            field("IsInternal", Kind::Bool, 0),
            field("Partitions", Kind::Array(PARTITION), 0),
            field("TopicAuthorizedOperations", Kind::I32, 0),
        ],
        &[
            field("ErrorCode", Kind::I16, 0),
            field("PartitionIndex", Kind::I32, 0),
            field("LeaderId", Kind::I32, 0),
            field("LeaderEpoch", Kind::I32, 0),
            field("ReplicaNodes", Kind::Ints, 0),
            field("IsrNodes", Kind::Ints, 0),
            nullable(field("EligibleLeaderReplicas", Kind::Ints, 0), 0),
            nullable(field("LastKnownElr", Kind::Ints, 0), 0),
            field("OfflineReplicas", Kind::Ints, 0),
        ],
        &[field("TopicName", Kind::Str, 0), field("PartitionIndex", Kind::I32, 0)],
    ],
    flexible: 0,
};

response!(API, 0..=0, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, 0) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(TOPIC, 0) => Item::Topic {
            error: values.error(0),
            name: values.text(1),
            id: values.uuid(2),
            internal: values.bool(3),
        },
        Piece::Fields(PARTITION, _) => Item::Partition {
            error: values.error(0),
            index: values.i32_or(1, 0),
            leader: values.i32_or(2, -1),
            epoch: values.i32_or(3, -1),
            replicas: values.ints(4),
            isr: values.ints(5),
            eligible: values.ints(6),
            last_known_eligible: values.ints(7),
            offline: values.ints(8),
        },
        Piece::End(TOPIC) => Item::TopicEnd,
        Piece::Fields(CURSOR, _) => {
            Item::Cursor(Some((values.text(0).unwrap_or_default(), values.i32_or(1, 0))))
        }
        Piece::Null(CURSOR) => Item::Cursor(None),
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
