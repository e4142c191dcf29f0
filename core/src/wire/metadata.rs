//! Metadata (3): brokers, topics, leaders.

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response, until};
use super::{ApiKey, Encode, ErrorCode, Full, Ints, Uuid, Writer};

const API: ApiKey = ApiKey::METADATA;

fn flexible(version: i16) -> bool {
    version >= const { API.first_flexible() }
}

/// Begins a request for `topics` topics, or for all of them with `None`. Versions 1 to 13.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn begin(out: &mut Writer<'_>, version: i16, topics: Option<usize>) -> Result<(), Full> {
    out.count(flexible(version), topics)
}

/// One topic. Request by id alone only from version 12 on (10 and 11 have the field, but brokers
/// ignore it); a name of `None` before version 10 is written as an empty name.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn topic(out: &mut Writer<'_>, version: i16, id: Uuid, name: Option<&str>) -> Result<(), Full> {
    if version >= 10 {
        out.uuid(id)?;
        out.nullable_str(flexible(version), name)?;
    } else {
        out.str(flexible(version), name.unwrap_or_default())?;
    }
    out.no_tags(flexible(version))
}

/// Ends the request. `allow_auto_create` counts from version 4 on; before, brokers with
/// `auto.create.topics.enable` create requested topics.
///
/// # Errors
/// [`Full`] when the sink is.
pub fn end(out: &mut Writer<'_>, version: i16, allow_auto_create: bool) -> Result<(), Full> {
    if version >= 4 {
        out.bool(allow_auto_create)?;
    }
    if (8..=10).contains(&version) {
        out.bool(false)?; // The cluster's authorized operations.
    }
    if version >= 8 {
        out.bool(false)?; // The topics' authorized operations.
    }
    out.no_tags(flexible(version))
}

/// Requests topics by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The names; `None` for all topics, an empty slice for the brokers alone.
    pub topics: Option<&'a [&'a str]>,
    /// Whether the broker may create them.
    pub allow_auto_create: bool,
}

impl Encode for Request<'_> {
    const API: ApiKey = API;
    const VERSIONS: (i16, i16) = (1, 13);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        begin(out, version, self.topics.map(<[_]>::len))?;
        for name in self.topics.unwrap_or_default() {
            topic(out, version, Uuid::ZERO, Some(name))?;
        }
        end(out, version, self.allow_auto_create)
    }
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First, from version 3 on.
    Throttle {
        /// Milliseconds that the broker wants us to wait.
        ms: i32,
    },
    /// One live broker.
    Broker {
        /// Its node id.
        id: i32,
        /// Where it listens.
        host: &'b str,
        /// Where it listens.
        port: i32,
        /// Its rack.
        rack: Option<&'b str>,
    },
    /// After the brokers.
    Cluster {
        /// The cluster's id, from version 2 on.
        id: Option<&'b str>,
        /// The controller's node id (any broker's on KRaft clusters), -1 when unknown.
        controller: i32,
    },
    /// Partitions of this topic follow.
    Topic {
        /// What went wrong with the topic as a whole.
        error: ErrorCode,
        /// Its name; may be null from version 12 on, when an unknown id was requested.
        name: Option<&'b str>,
        /// Its id from version 10 on, else zero.
        id: Uuid,
        /// Whether it is Kafka's own, such as `__consumer_offsets`.
        internal: bool,
    },
    /// One partition, in no particular order.
    Partition {
        /// `LEADER_NOT_AVAILABLE`, `LISTENER_NOT_FOUND` or the harmless `REPLICA_NOT_AVAILABLE`.
        error: ErrorCode,
        /// Its index.
        index: i32,
        /// The leader's node id, -1 for none.
        leader: i32,
        /// The leader's epoch, -1 before version 7; trustworthy from version 9 on.
        epoch: i32,
        /// All replicas' node ids.
        replicas: Ints<'b>,
        /// Those in sync.
        isr: Ints<'b>,
        /// Those offline, from version 5 on.
        offline: Ints<'b>,
    },
    /// After a topic's partitions.
    TopicEnd,
    /// Last.
    End {
        /// For the whole response, from version 13 on: `REBOOTSTRAP_REQUIRED` (KIP-1102).
        error: ErrorCode,
    },
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const BROKER: u8 = 1;
const TOPIC: u8 = 2;
const PARTITION: u8 = 3;
const ROOT_LAST: u8 = 5;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[
            field("ThrottleTimeMs", Kind::I32, 3),
            field("Brokers", Kind::Array(BROKER), 0),
            nullable(field("ClusterId", Kind::Str, 2), 2),
            field("ControllerId", Kind::I32, 1),
            field("Topics", Kind::Array(TOPIC), 0),
            until(field("ClusterAuthorizedOperations", Kind::I32, 8), 10),
            field("ErrorCode", Kind::I16, 13),
        ],
        &[
            field("NodeId", Kind::I32, 0),
            field("Host", Kind::Str, 0),
            field("Port", Kind::I32, 0),
            nullable(field("Rack", Kind::Str, 1), 1),
        ],
        &[
            field("ErrorCode", Kind::I16, 0),
            nullable(field("Name", Kind::Str, 0), 12),
            field("TopicId", Kind::Uuid, 10),
            field("IsInternal", Kind::Bool, 1),
            field("Partitions", Kind::Array(PARTITION), 0),
            field("TopicAuthorizedOperations", Kind::I32, 8),
        ],
        &[
            field("ErrorCode", Kind::I16, 0),
            field("PartitionIndex", Kind::I32, 0),
            field("LeaderId", Kind::I32, 0),
            field("LeaderEpoch", Kind::I32, 7),
            field("ReplicaNodes", Kind::Ints, 0),
            field("IsrNodes", Kind::Ints, 0),
            field("OfflineReplicas", Kind::Ints, 5),
        ],
    ],
    flexible: 9,
};

response!(API, 1..=13, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, walker } = got;

    Some(match piece {
        Piece::Fields(ROOT, 0) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(BROKER, _) => Item::Broker {
            id: values.i32_or(0, -1),
            host: values.text(1).unwrap_or_default(),
            port: values.i32_or(2, 0),
            rack: values.text(3),
        },
        Piece::Fields(ROOT, 2) => {
            Item::Cluster { id: values.text(0), controller: values.i32_or(1, -1) }
        }
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
            offline: values.ints(6),
        },
        Piece::End(TOPIC) => Item::TopicEnd,
        Piece::Fields(ROOT, ROOT_LAST) if walker.version() >= 13 => {
            Item::End { error: values.error(1) }
        }
        Piece::End(ROOT) if walker.version() < 13 => Item::End { error: ErrorCode::NONE },
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
