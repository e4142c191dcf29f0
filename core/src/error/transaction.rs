//! Errors of transactions.

use core::fmt;

use super::{Error, LimitKind, Misuse, PeerFault};
use crate::id::TopicPartition;
use crate::wire::ErrorCode;

/// Why a transaction, or a command about one, does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum TransactionError {
    /// Another producer has taken over the transactional id, or the coordinator ended a transaction
    /// that was open for too long and does not tell that apart (before Kafka 4.0, and below
    /// transaction version 2). This client sends no more records.
    Fenced,
    /// The coordinator had ended the transaction, because it was open for too long or another
    /// producer has its id; with Kafka's code.
    Ended(ErrorCode),
    /// A record of the transaction failed.
    Record(Error),
    /// The coordinator refuses, with Kafka's code.
    Refused(ErrorCode),
    /// The coordinator refuses to add a partition, with Kafka's code.
    Partition {
        /// The code.
        code: ErrorCode,
        /// The first partition that is concerned.
        partition: TopicPartition,
    },
    /// The coordinator of the group refuses the offsets, with Kafka's code.
    Offsets(ErrorCode),
    /// A coordinator has been of no use for longer than the transaction may last.
    TimedOut,
    /// A broker that is needed has no version of a request that the transaction needs.
    Peer(PeerFault),
    /// There is no memory for the offsets now, or others are on their way.
    Full,
    /// A limit is too small for the request.
    Limit(LimitKind),
    /// The call is invalid.
    Caller(Misuse),
}

impl TransactionError {
    /// Returns what to do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Fenced => {
                "give each producer a transactional id of its own; start this one again if there \
                 is no other"
            }
            Self::Ended(_) => "end transactions sooner, or raise the transaction timeout",
            Self::Record(_) => "see why the record failed, and repeat the transaction",
            Self::Refused(code) | Self::Partition { code, .. } | Self::Offsets(code) => {
                advice(*code)
            }
            Self::TimedOut => {
                "check the coordinator and the partitions of __transaction_state (its replication \
                 factor is 3 by default)"
            }
            Self::Peer(_) => "use newer brokers",
            Self::Full => "try again when something was sent",
            Self::Limit(_) => "raise the limit, or send less",
            Self::Caller(_) => "correct the call",
        }
    }
}

const fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => "grant WRITE on the transactional id",
        ErrorCode::TOPIC_AUTHORIZATION_FAILED => "grant WRITE on the topic",
        ErrorCode::GROUP_AUTHORIZATION_FAILED => "grant READ on the group",
        ErrorCode::INVALID_TRANSACTION_TIMEOUT => {
            "lower the transaction timeout, or raise the broker's transaction.max.timeout.ms"
        }
        ErrorCode::INVALID_PRODUCER_ID_MAPPING => {
            "start again: the coordinator has forgotten the transactional id \
             (transactional.id.expiration.ms)"
        }
        ErrorCode::ILLEGAL_GENERATION
        | ErrorCode::UNKNOWN_MEMBER_ID
        | ErrorCode::FENCED_INSTANCE_ID
        | ErrorCode::STALE_MEMBER_EPOCH => "abort, and read again from what the group committed",
        ErrorCode::COORDINATOR_NOT_AVAILABLE => {
            "check the partitions of __transaction_state (its replication factor is 3 by default)"
        }
        _ => "see the broker's log",
    }
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced => f.write_str(
                "another producer has the transactional id, or the transaction timed out and the \
                 coordinator does not tell",
            ),
            Self::Ended(code) => write!(f, "the coordinator had ended the transaction: {code}"),
            Self::Record(error) => write!(f, "a record of the transaction failed: {error}"),
            Self::Refused(code) => write!(f, "the coordinator refuses: {code}"),
            Self::Partition { code, partition } => {
                write!(f, "partition {} was not added: {code}", partition.partition)
            }
            Self::Offsets(code) => write!(f, "the group's coordinator refuses the offsets: {code}"),
            Self::TimedOut => f.write_str("the coordinator was of no use in time"),
            Self::Peer(fault) => Error::Peer(*fault).fmt(f),
            Self::Full => f.write_str("no memory for the offsets, or others are on their way"),
            Self::Limit(what) => write!(f, "limit reached: {what}"),
            Self::Caller(misuse) => write!(f, "wrong call: {misuse}"),
        }
    }
}

impl core::error::Error for TransactionError {}
