//! Errors name the cause: the peer, an error code of a broker, a limit of ours, the configuration,
//! the network, or the caller.

#[cfg(feature = "group")]
mod group;
mod peer;
#[cfg(feature = "transactions")]
mod transaction;

use core::fmt;

use crate::wire::{ApiKey, ErrorCode};

#[cfg(feature = "group")]
pub use group::GroupError;
#[cfg(feature = "sasl")]
pub use peer::LoginFault;
pub use peer::{PeerFault, Protocol};
#[cfg(feature = "transactions")]
pub use transaction::TransactionError;

/// What went wrong, and what caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
#[repr(u8)]
pub enum Error {
    /// The peer broke the protocol; the connection is closed.
    Peer(PeerFault) = 1,
    /// A broker refused, with Kafka's error code.
    Broker(ErrorCode),
    /// A broker refused the batch for another record, with Kafka's error code: this one can be sent
    /// again, by the caller or by [`Config::resend_unblamed`](crate::Config::resend_unblamed).
    BatchRefused(ErrorCode),
    /// A limit that was set at start is too small for what was requested.
    Limit {
        /// Which one.
        what: LimitKind,
        /// How much would have been enough (bytes or entries), 0 where that cannot be known.
        needed: usize,
    },
    /// The configuration cannot work.
    Config(ConfigError),
    /// A connection ended.
    Closed(CloseReason),
    /// No response within the time that the configuration allows.
    TimedOut,
    /// The same, where the last obstacle is known.
    Blocked(Obstacle),
    /// The call is invalid.
    Caller(Misuse),
    /// The record's transaction is aborted, or can only be aborted.
    #[cfg(feature = "transactions")]
    Aborted,
}

/// What stands in the way of a record or request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Obstacle {
    /// The partition has no leader.
    NoLeader,
    /// The topic has no such partition.
    NoPartition,
    /// A Metadata response names no controller, which has to create, grow and delete topics.
    NoController {
        /// Node id of the broker that sent it, -1 for a bootstrap address.
        broker: i32,
    },
    /// The partition's leader is advertised without a host or a port, or not among the brokers.
    NoAddress {
        /// Node id of the broker that said so last, -1 for a bootstrap address.
        broker: i32,
        /// Node id of the leader.
        leader: i32,
        /// What is wrong.
        why: AddressFault,
    },
    /// The connection to a broker that is needed ended or could not be made.
    Unreachable {
        /// Its node id, -1 for a bootstrap address.
        broker: i32,
        /// Why.
        why: CloseReason,
        /// The request that it had not responded to, if there was one.
        api: Option<ApiKey>,
    },
    /// A broker that is needed broke the protocol, or has no common version.
    Peer {
        /// Its node id, -1 for a bootstrap address.
        broker: i32,
        /// How.
        fault: PeerFault,
    },
    /// A broker refused with Kafka's error code, at the last attempt.
    Refused {
        /// Its node id, -1 for a bootstrap address or where it is not known.
        broker: i32,
        /// The request.
        api: Option<ApiKey>,
        /// The code.
        code: ErrorCode,
    },
    /// A broker that is needed does not respond.
    NoResponse {
        /// Its node id, -1 for a bootstrap address.
        broker: i32,
        /// The request that waits for a response; `None`: the connection is not established.
        api: Option<ApiKey>,
    },
    /// A limit of this client.
    Limit(LimitKind),
}

/// Why a broker that Metadata names as a leader cannot be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AddressFault {
    /// It is not among the brokers.
    Unlisted,
    /// Its host is empty.
    NoHost,
    /// Its port is not one.
    NoPort,
}

impl Obstacle {
    /// Returns the node id of the broker concerned, -1 for a bootstrap address.
    #[must_use]
    pub const fn broker(&self) -> Option<i32> {
        match *self {
            Self::NoController { broker }
            | Self::NoAddress { broker, .. }
            | Self::Unreachable { broker, .. }
            | Self::Peer { broker, .. }
            | Self::Refused { broker, .. }
            | Self::NoResponse { broker, .. } => Some(broker),
            Self::NoLeader | Self::NoPartition | Self::Limit(_) => None,
        }
    }

    /// Returns the request concerned, where one is.
    #[must_use]
    pub const fn api(&self) -> Option<ApiKey> {
        match *self {
            Self::Unreachable { api, .. }
            | Self::Refused { api, .. }
            | Self::NoResponse { api, .. } => api,
            _ => None,
        }
    }
}

impl Error {
    /// Whether the address of the peer is useless until someone changes something: it led to
    /// another cluster, or does not let us log in.
    pub(crate) fn is_hopeless(self) -> bool {
        self.is_refusal() || self == Self::Peer(PeerFault::OtherCluster)
    }

    /// Whether one side does not accept the other: another attempt ends in the same way until
    /// someone changes something.
    pub(crate) const fn is_refusal(self) -> bool {
        match self {
            #[cfg(feature = "sasl")]
            Self::Peer(PeerFault::Login(fault)) => fault.is_permanent(),
            #[cfg(feature = "sasl")]
            Self::Closed(CloseReason::Certificate) => true,
            _ => false,
        }
    }

    /// Returns the error as the obstacle of something that needed a broker, which was sent `api`
    /// and did not respond, or responded with the error.
    pub(crate) const fn as_obstacle(self, broker: i32, api: Option<ApiKey>) -> Option<Obstacle> {
        Some(match self {
            Self::Peer(fault) => Obstacle::Peer { broker, fault },
            Self::Broker(code) | Self::BatchRefused(code) => {
                Obstacle::Refused { broker, api, code }
            }
            Self::Closed(why) => Obstacle::Unreachable { broker, why, api },
            Self::Limit { what, .. } => Obstacle::Limit(what),
            Self::TimedOut => Obstacle::NoResponse { broker, api },
            Self::Blocked(obstacle) => obstacle,
            Self::Config(_) | Self::Caller(_) => return None,
            #[cfg(feature = "transactions")]
            Self::Aborted => return None,
        })
    }
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LimitKind {
    /// [`Limits::conns`](crate::Limits::conns).
    Connections,
    /// [`Limits::brokers`](crate::Limits::brokers).
    Brokers,
    /// [`Limits::topics`](crate::Limits::topics).
    Topics,
    /// [`Limits::partitions`](crate::Limits::partitions).
    Partitions,
    /// [`Limits::rx_bytes`](crate::Limits::rx_bytes): an element of a response does not fit.
    ReceiveBuffer,
    /// [`Limits::tx_blocks`](crate::Limits::tx_blocks).
    SendBlocks,
    /// [`Limits::block_bytes`](crate::Limits::block_bytes).
    BlockBytes,
    /// [`Limits::requests`](crate::Limits::requests): this many are in flight already.
    Requests,
    /// [`Limits::aborted`](crate::Limits::aborted): more transactions were aborted around the
    /// position.
    #[cfg(feature = "read-committed")]
    Aborted,
    /// The longest text that fits into a Kafka message: 32,767 bytes.
    Text,
    /// The bytes that a snapshot was to be written to.
    Snapshot,
    /// [`Limits::group_members`](crate::Limits::group_members).
    #[cfg(feature = "classic")]
    GroupMembers,
    /// [`Limits::group_partitions`](crate::Limits::group_partitions).
    #[cfg(feature = "classic")]
    GroupPartitions,
    /// [`Limits::group_bytes`](crate::Limits::group_bytes).
    #[cfg(feature = "classic")]
    GroupBytes,
}

/// What makes a configuration unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// No `host:port` in the bootstrap list, or one that cannot be read.
    Bootstrap,
    /// A text that is too long: host 255 bytes, client id 64.
    TooLong,
    /// Idempotence needs `acks = all`.
    IdempotenceNeedsAcksAll,
    /// Transactions need idempotence.
    #[cfg(feature = "transactions")]
    TransactionsNeedIdempotence,
    /// An assignor of classic groups that there is not.
    #[cfg(feature = "classic")]
    Assignor,
    /// A limit is below the smallest that works.
    TooLittle {
        /// Which one.
        what: LimitKind,
        /// Entries, or bytes.
        least: usize,
    },
    /// A limit is above what can be counted.
    TooMuch {
        /// Which one.
        what: LimitKind,
        /// Entries.
        most: usize,
    },
    /// A duration of zero, or an interval longer than its maximum.
    Duration,
    /// A name or password that is empty or has a NUL character, or a token that cannot be sent.
    #[cfg(feature = "sasl")]
    Credentials,
    /// There is no encoder for the codec that batches are to be compressed with, or no scratch
    /// memory for it: `Storage::packing`.
    #[cfg(feature = "pack")]
    NoEncoder(crate::codec::Codec),
}

/// Why a connection ended; the adapter passes it to
/// [`Client::handle_closed`](crate::Client::handle_closed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CloseReason {
    /// Nothing listens there, or the host is unreachable.
    Refused,
    /// The name has no address.
    Unresolved,
    /// The peer reset the connection.
    Reset,
    /// The peer ended the stream in order.
    Ended,
    /// The peer ended the stream after it had responded to nothing but ApiVersions, as a listener
    /// that wants SASL does.
    EndedEarly,
    /// The peer accepted the connection and sent nothing.
    Silent,
    /// Over TLS: the certificate of the peer is not trusted or names another host, or the peer does
    /// not accept that of this client.
    Certificate,
    /// TLS failed in another way.
    Tls,
    /// Any other failure of the transport.
    Failed,
}

/// An invalid call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Misuse {
    /// The id is of something that no longer exists.
    StaleId,
    /// A topic name must have 1 to 249 of `a-z A-Z 0-9 . _ -` and not be `.` or `..`.
    TopicName,
    /// The partition is assigned already.
    AlreadyAssigned,
    /// A negative offset or timestamp.
    Negative,
    /// A partition index above 2^31 - 2.
    PartitionIndex,
    /// The loop reported received bytes that no
    /// [`Client::recv_buffer`](crate::Client::recv_buffer) had been offered for. The connection is
    /// closed, since its stream cannot be trusted.
    Received,
    /// The loop reported received bytes of a connection that had ended: it did not close the socket
    /// after [`Action::Close`](crate::Action::Close), or continued to read after
    /// [`Client::handle_closed`](crate::Client::handle_closed). The bytes are ignored.
    Ended,
    /// The loop reported more bytes as transmitted than
    /// [`Client::poll_transmit`](crate::Client::poll_transmit) had returned. The connection is
    /// closed, since the broker has only a part of a request.
    Transmitted,
    /// A response arrived to a request that the loop had not reported as transmitted: see
    /// [`Client::handle_transmitted`](crate::Client::handle_transmitted). The connection is closed,
    /// since the request may have been sent twice.
    Unreported,
    /// A request timed out for which the loop never called
    /// [`Client::poll_transmit`](crate::Client::poll_transmit).
    Unpolled,
    /// The loop reported bytes for another connection than the one that they came from.
    OtherConnection,
    /// The loop's clock went back by more than a second.
    ClockBack,
    /// The loop's clock has stopped: more responses arrived at one instant than is possible.
    ClockStopped,
    /// An encoder failed in the middle of a batch.
    #[cfg(feature = "pack")]
    Encoder,
    /// No group id is configured.
    #[cfg(feature = "group")]
    NoGroup,
    /// No regular expression for the topics of the group is configured.
    #[cfg(feature = "pattern")]
    NoPattern,
    /// The member is leaving its group.
    #[cfg(feature = "group")]
    Leaving,
    /// No transactional id is configured.
    #[cfg(feature = "transactions")]
    NoTransactionalId,
    /// No transaction is open.
    #[cfg(feature = "transactions")]
    NoTransaction,
    /// A transaction is open already, or did not end yet.
    #[cfg(feature = "transactions")]
    InTransaction,
}

/// Why [`Commands::produce`](crate::Commands::produce) did not take a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ProduceError {
    /// The send memory is full; one [`Event::Room`](crate::Event::Room) follows.
    Full,
    /// The topic's partitions are not known yet; one [`Event::Room`](crate::Event::Room) follows.
    NotReady,
    /// The record alone is larger than a batch may be.
    TooLarge {
        /// Largest encoded record, in bytes.
        max: usize,
    },
    /// The record is refused permanently.
    Refused(Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(
                fault @ (PeerFault::NotKafka(_)
                | PeerFault::NoVersions(_)
                | PeerFault::NoApi(_)
                | PeerFault::NoCommonVersion { .. }
                | PeerFault::NoBrokers
                | PeerFault::NoTopic
                | PeerFault::NoTopicIds { .. }
                | PeerFault::NotHeld
                | PeerFault::NoRecords { .. }
                | PeerFault::OtherCluster),
            ) => fault.fmt(f),
            #[cfg(feature = "pack")]
            Self::Peer(fault @ PeerFault::NoCodec(_)) => fault.fmt(f),
            #[cfg(feature = "sasl")]
            Self::Peer(fault @ PeerFault::Login(_)) => fault.fmt(f),
            Self::Peer(fault) => write!(f, "the broker broke the protocol: {fault}"),
            Self::Broker(code) => {
                write!(f, "the broker responded with {} ({})", code.name(), code.0)
            }
            Self::BatchRefused(code) => {
                write!(
                    f,
                    "refused with its batch, for another record: {} ({})",
                    code.name(),
                    code.0
                )
            }
            Self::Limit { what, needed: 0 } => write!(f, "limit reached: {what}"),
            Self::Limit { what, needed } => write!(f, "limit reached: {what}; needed {needed}"),
            Self::Config(error) => write!(f, "configuration: {error}"),
            Self::Closed(why) => write!(f, "connection closed: {why}"),
            Self::TimedOut => f.write_str("no response in time"),
            Self::Blocked(obstacle) => write!(f, "not done: {obstacle}"),
            Self::Caller(misuse) => write!(f, "wrong call: {misuse}"),
            #[cfg(feature = "transactions")]
            Self::Aborted => f.write_str("the transaction is aborted"),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeader => f.write_str("the partition has no leader"),
            Self::NoPartition => f.write_str("the topic has no such partition"),
            Self::NoController { .. } => f.write_str("the broker's METADATA names no controller"),
            Self::NoAddress { leader, why, .. } => {
                write!(f, "the leader, broker {leader}, is ")?;
                match why {
                    AddressFault::Unlisted => f.write_str("not among the brokers of METADATA"),
                    AddressFault::NoHost => f.write_str("advertised without a host"),
                    AddressFault::NoPort => f.write_str("advertised with an impossible port"),
                }
            }
            Self::Unreachable { why, api, .. } => {
                Error::Closed(*why).fmt(f)?;
                match api {
                    Some(api) => write!(f, " (no response to {})", api.name()),
                    None => Ok(()),
                }
            }
            Self::Peer { fault, .. } => Error::Peer(*fault).fmt(f),
            Self::Refused { api, code, .. } => {
                Error::Broker(*code).fmt(f)?;
                match api {
                    Some(api) => write!(f, " to {}", api.name()),
                    None => Ok(()),
                }
            }
            Self::NoResponse { api: Some(api), .. } => {
                write!(f, "no response from the broker to {}", api.name())
            }
            Self::NoResponse { api: None, .. } => f.write_str("no response from the broker"),
            Self::Limit(what) => write!(f, "limit reached: {what}"),
        }
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topics => "topics in use",
            Self::Partitions => "partitions in use",
            Self::ReceiveBuffer => "receive buffer",
            Self::Connections => "connections",
            Self::Brokers => "brokers remembered",
            Self::SendBlocks => "send blocks",
            Self::BlockBytes => "size of a send block",
            Self::Requests => "admin requests in flight",
            #[cfg(feature = "read-committed")]
            Self::Aborted => "aborted transactions around the position",
            Self::Text => "bytes of a text",
            Self::Snapshot => "room for a snapshot",
            #[cfg(feature = "classic")]
            Self::GroupMembers => "members of the group that this one leads",
            #[cfg(feature = "classic")]
            Self::GroupPartitions => "partitions of the group that this one leads",
            #[cfg(feature = "classic")]
            Self::GroupBytes => "subscriptions of the group that this one leads",
        })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bootstrap => "bootstrap must be host:port, separated by commas",
            Self::TooLong => "a host or the client id is too long",
            Self::IdempotenceNeedsAcksAll => "idempotence needs acks=all",
            #[cfg(feature = "transactions")]
            Self::TransactionsNeedIdempotence => "transactions need idempotence",
            #[cfg(feature = "classic")]
            Self::Assignor => "no such assignor: range, roundrobin, sticky or cooperative-sticky",
            Self::TooLittle { what, least } => {
                return write!(f, "too little memory: {what}; at least {least}");
            }
            Self::TooMuch { what, most } => {
                return write!(f, "more than can be counted: {what}; at most {most}");
            }
            Self::Duration => "a duration is zero or above its maximum",
            #[cfg(feature = "sasl")]
            Self::Credentials => "user and password of a login must be there, without NUL",
            #[cfg(feature = "pack")]
            Self::NoEncoder(codec) => {
                return write!(f, "no encoder for {codec}, or no memory for it");
            }
        })
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Unresolved => "name not resolved",
            Self::Reset => "reset by the peer",
            Self::Ended => "ended by the peer",
            Self::EndedEarly => {
                "ended by the peer after it had responded to nothing but ApiVersions"
            }
            Self::Silent => "the peer is silent",
            Self::Certificate => "a certificate was not accepted",
            Self::Tls => "TLS failed",
            Self::Failed => "transport failed",
        })
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StaleId => "the id is of something that is gone",
            Self::TopicName => "not a legal topic name",
            Self::AlreadyAssigned => "the partition is assigned already",
            Self::Negative => "negative offset or timestamp",
            Self::PartitionIndex => "partition index out of range",
            Self::Received => "the loop received more bytes than it was offered a buffer for",
            Self::Ended => "the loop received bytes on a connection that had ended",
            Self::Transmitted => "the loop transmitted more bytes than it was offered",
            Self::Unreported => "the loop did not report a request as transmitted",
            Self::Unpolled => "the loop did not poll for bytes to transmit",
            Self::OtherConnection => "the loop passed on the bytes of another connection",
            Self::ClockBack => "the loop's clock went back",
            Self::ClockStopped => "the loop's clock stands",
            #[cfg(feature = "pack")]
            Self::Encoder => "the encoder failed in the middle of a batch",
            #[cfg(feature = "group")]
            Self::NoGroup => "no group id is configured",
            #[cfg(feature = "pattern")]
            Self::NoPattern => "no regular expression for the topics is configured",
            #[cfg(feature = "group")]
            Self::Leaving => "the member is leaving its group",
            #[cfg(feature = "transactions")]
            Self::NoTransactionalId => "no transactional id is configured",
            #[cfg(feature = "transactions")]
            Self::NoTransaction => "no transaction is open",
            #[cfg(feature = "transactions")]
            Self::InTransaction => "a transaction is open or ends",
        })
    }
}

impl fmt::Display for ProduceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("send memory is full"),
            Self::NotReady => f.write_str("the topic is not known yet"),
            Self::TooLarge { max } => write!(f, "record too large; at most {max} bytes"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

/// Why [`Commands::admin`](crate::Commands::admin) did not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AdminError {
    /// As many are in flight as [`Limits::requests`](crate::Limits::requests) allows, or the send
    /// memory is in use: try again when one of these has ended.
    Full,
    /// The request is permanently too large for this client.
    TooLarge {
        /// Which limit.
        what: LimitKind,
        /// How much the request takes: send blocks, or bytes of a text.
        needed: usize,
        /// How much can be sent.
        max: usize,
    },
    /// The request is invalid.
    Caller(Misuse),
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("too many admin requests in flight"),
            Self::TooLarge { what, needed, max } => {
                write!(f, "too large: {needed} {what}, at most {max}")
            }
            Self::Caller(misuse) => write!(f, "wrong call: {misuse}"),
        }
    }
}

impl core::error::Error for AdminError {}
impl core::error::Error for Error {}
impl core::error::Error for ConfigError {}
impl core::error::Error for ProduceError {}
