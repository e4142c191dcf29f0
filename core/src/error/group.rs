//! Errors of a consumer group.

use core::fmt;

use super::{LimitKind, Misuse};
use crate::id::TopicPartition;
use crate::wire::ErrorCode;

/// Why a group, or a commit to it, does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum GroupError {
    /// The coordinator refuses the member, with Kafka's code.
    Refused(ErrorCode),
    /// The group, or the cluster, has the classic protocol only: the group has members that cannot
    /// be converted, or brokers do not have KIP-848 switched on.
    NeedsClassic,
    /// A limit of this client is too small for the assignment; the member leaves, so that others
    /// read what it cannot.
    Limit {
        /// Which one.
        what: LimitKind,
        /// How much would have been enough, 0 where that cannot be known.
        needed: usize,
    },
    /// The coordinator refuses to commit an offset, with Kafka's code.
    Commit {
        /// The code.
        code: ErrorCode,
        /// The first partition that is concerned.
        partition: TopicPartition,
    },
    /// There is no membership, or it ended before the commit: the partitions are other members'.
    NoMember,
    /// The commit had no result within twice the request timeout.
    TimedOut,
    /// There is no memory for the text of a commit now.
    Full,
    /// The call is invalid.
    Caller(Misuse),
}

impl GroupError {
    /// Whether it is this client that cannot, so that the coordinator is to know. Code -1: it
    /// leads, and the coordinator cannot keep its plan.
    pub(crate) const fn is_ours(&self) -> bool {
        let leads = cfg!(feature = "classic");
        let none = ErrorCode::UNKNOWN_SERVER_ERROR.0;
        match self {
            Self::Limit { .. } => true,
            Self::Refused(code) => leads && code.0 == none,
            _ => false,
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Refused(code) | Self::Commit { code, .. } => advice(*code),
            Self::NeedsClassic => {
                "switch KIP-848 on (group.version=1, group.coordinator.rebalance.protocols), or \
                 use another group id"
            }
            Self::Limit { .. } => "raise the limit, or let more members share the topics",
            Self::NoMember => "poll for the next assignment; its records are read again",
            Self::TimedOut => "check the coordinator and the partitions of __consumer_offsets",
            Self::Full => "try again when something was sent",
            Self::Caller(_) => "correct the call",
        }
    }
}

const fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::GROUP_AUTHORIZATION_FAILED => "grant READ on the group",
        ErrorCode::TOPIC_AUTHORIZATION_FAILED => "grant READ on the topic",
        ErrorCode::INVALID_GROUP_ID => "choose another group id",
        ErrorCode::GROUP_MAX_SIZE_REACHED => {
            "raise group.consumer.max.size (classic groups: group.max.size) of the broker, or stop \
             a member"
        }
        ErrorCode::FENCED_INSTANCE_ID => "give each process a group instance id of its own",
        ErrorCode::UNRELEASED_INSTANCE_ID => {
            "stop the other process with this group instance id, or wait for its session to end"
        }
        ErrorCode::UNSUPPORTED_ASSIGNOR => "choose uniform or range, or what the broker has",
        ErrorCode::INCONSISTENT_GROUP_PROTOCOL => {
            "list an assignor that all members have, or use another group id"
        }
        ErrorCode::INVALID_SESSION_TIMEOUT => {
            "choose a session timeout between group.min.session.timeout.ms and \
             group.max.session.timeout.ms of the broker"
        }
        #[cfg(feature = "pattern")]
        ErrorCode::INVALID_REGULAR_EXPRESSION => {
            "correct the regular expression: brokers read the language of RE2J"
        }
        ErrorCode::INVALID_REQUEST => "check group id, instance id and rack",
        ErrorCode::OFFSET_METADATA_TOO_LARGE => {
            "shorten the text of the commit, or raise offset.metadata.max.bytes"
        }
        ErrorCode::INVALID_COMMIT_OFFSET_SIZE => "commit fewer partitions at a time",
        _ => "see the broker's log",
    }
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) => write!(f, "the coordinator refuses the member: {code}"),
            Self::NeedsClassic => f.write_str("the group can have the classic protocol only"),
            Self::Limit { what, needed: 0 } => {
                write!(f, "the assignment is larger than the limit: {what}")
            }
            Self::Limit { what, needed } => {
                write!(f, "the assignment is larger than the limit: {what}; needed {needed}")
            }
            Self::Commit { code, partition } => {
                let index = partition.partition;
                write!(f, "the commit of partition {index} was refused: {code}")
            }
            Self::NoMember => f.write_str("not a member of the group"),
            Self::TimedOut => f.write_str("the commit had no result in time"),
            Self::Full => f.write_str("no memory for the text of the commit"),
            Self::Caller(misuse) => write!(f, "wrong call: {misuse}"),
        }
    }
}

impl core::error::Error for GroupError {}
