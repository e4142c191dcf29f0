//! CreateTopics (19).

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response, tagged};
use super::{ApiKey, Encode, ErrorCode, Full, Uuid, Writer};

/// One topic to create; the broker assigns the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many partitions; -1 for the broker's default, from version 4 on.
    pub partitions: i32,
    /// How many replicas each; -1 for the broker's default, from version 4 on.
    pub replication_factor: i16,
    /// Topic configuration as (name, value).
    pub configs: &'a [(&'a str, Option<&'a str>)],
}

/// Creates topics; each succeeds or fails separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The topics.
    pub topics: &'a [NewTopic<'a>],
    /// How long the broker waits until they exist, milliseconds.
    pub timeout_ms: i32,
    /// Only checks whether they could be created.
    pub validate_only: bool,
}

impl Encode for Request<'_> {
    const API: ApiKey = ApiKey::CREATE_TOPICS;
    const VERSIONS: (i16, i16) = (2, 7);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        begin(out, version, self.topics.len())?;
        for topic in self.topics {
            out.str(flexible(version), topic.name)?;
            layout(out, version, topic.partitions, topic.replication_factor, topic.configs.len())?;
            for (name, value) in topic.configs {
                out.str(flexible(version), name)?;
                out.nullable_str(flexible(version), *value)?;
                out.no_tags(flexible(version))?;
            }
            out.no_tags(flexible(version))?;
        }
        end(out, version, self.timeout_ms, self.validate_only)
    }
}

pub(crate) fn flexible(version: i16) -> bool {
    version >= const { ApiKey::CREATE_TOPICS.first_flexible() }
}

/// Begins a request for `topics` topics; of each the name follows, its [`layout`], and its configs.
pub(crate) fn begin(out: &mut Writer<'_>, version: i16, topics: usize) -> Result<(), Full> {
    out.count(flexible(version), Some(topics))
}

/// Writes what comes between a topic's name and its configs.
pub(crate) fn layout(
    out: &mut Writer<'_>,
    version: i16,
    partitions: i32,
    replication_factor: i16,
    configs: usize,
) -> Result<(), Full> {
    out.i32(partitions)?;
    out.i16(replication_factor)?;
    out.count(flexible(version), Some(0))?; // Assignments by hand.
    out.count(flexible(version), Some(configs))
}

/// Ends the request.
pub(crate) fn end(
    out: &mut Writer<'_>,
    version: i16,
    timeout_ms: i32,
    validate_only: bool,
) -> Result<(), Full> {
    out.i32(timeout_ms)?;
    out.bool(validate_only)?;
    out.no_tags(flexible(version))
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
    /// One topic.
    Topic {
        /// Its name.
        name: &'b str,
        /// Its id, from version 7 on; else zero.
        id: Uuid,
        /// The result for it.
        error: ErrorCode,
        /// A message for people.
        message: Option<&'b str>,
        /// How many partitions, from version 5 on; -1 for unknown.
        partitions: i32,
        /// How many replicas each, from version 5 on; -1 for unknown.
        replication_factor: i16,
    },
    /// One configuration entry of the last topic; from version 5 on.
    Config {
        /// Its name.
        name: &'b str,
        /// Its value; null when sensitive.
        value: Option<&'b str>,
        /// Whether it cannot be changed.
        read_only: bool,
        /// Where the value comes from (Kafka's `ConfigSource`; 5 is the default).
        source: i8,
        /// Whether it is a secret.
        sensitive: bool,
    },
    /// Why a topic's configuration is not returned; from version 5 on, after the entries.
    ConfigError {
        /// `TOPIC_AUTHORIZATION_FAILED`, mostly.
        error: ErrorCode,
    },
    /// After all of a topic.
    TopicEnd,
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const TOPIC: u8 = 1;
const CONFIG: u8 = 2;
const CONFIG_ERROR_FIELD: u8 = 7;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[field("ThrottleTimeMs", Kind::I32, 2), field("Topics", Kind::Array(TOPIC), 0)],
        &[
            field("Name", Kind::Str, 0),
            field("TopicId", Kind::Uuid, 7),
            field("ErrorCode", Kind::I16, 0),
            nullable(field("ErrorMessage", Kind::Str, 1), 0),
            field("NumPartitions", Kind::I32, 5),
            field("ReplicationFactor", Kind::I16, 5),
            nullable(field("Configs", Kind::Array(CONFIG), 5), 5),
            tagged(field("TopicConfigErrorCode", Kind::I16, 5), 0),
        ],
        &[
            field("Name", Kind::Str, 5),
            nullable(field("Value", Kind::Str, 5), 5),
            field("ReadOnly", Kind::Bool, 5),
            field("ConfigSource", Kind::I8, 5),
            field("IsSensitive", Kind::Bool, 5),
        ],
    ],
    flexible: 5,
};

response!(ApiKey::CREATE_TOPICS, 2..=7, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    let name = values.text(0).unwrap_or_default();
    Some(match piece {
        Piece::Fields(ROOT, _) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(TOPIC, 0) => Item::Topic {
            name,
            id: values.uuid(1),
            error: values.error(2),
            message: values.text(3),
            partitions: values.i32_or(4, -1),
            replication_factor: values.i32_or(5, -1) as i16,
        },
        Piece::Fields(CONFIG, _) => Item::Config {
            name,
            value: values.text(1),
            read_only: values.bool(2),
            source: values.i16(3) as i8,
            sensitive: values.bool(4),
        },
        Piece::Fields(TOPIC, CONFIG_ERROR_FIELD) => Item::ConfigError { error: values.error(0) },
        Piece::End(TOPIC) => Item::TopicEnd,
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
