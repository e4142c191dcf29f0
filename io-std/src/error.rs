//! Errors for people: what was being done, what the broker responded, and what to do about it.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use kavka_core::codec::{Codec, Fault};
use kavka_core::record::Malformed;
use kavka_core::wire::{ApiKey, ErrorCode};
use kavka_core::{
    AddressFault, AdminError, CloseReason, ConfigError, Error as Core, GroupError, LimitKind,
    LoginFault, Obstacle, PeerFault, Protocol, TransactionError, Unreadable,
};

/// What went wrong. Cheap to clone.
///
/// Its text names what was being done, the broker, its response, and what to do.
#[derive(Clone, Debug)]
pub struct Error(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    doing: Cow<'static, str>,
    said: Option<String>,
    broker: Option<String>,
    api: Option<ApiKey>,
    at: Option<(Arc<str>, u32)>,
    maybe_written: bool,
}

/// The kinds of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An error of the machine in `kavka-core`: a broker's refusal, a timeout, a limit, ….
    Kafka(Core),
    /// A record larger than a batch may be.
    RecordTooLarge {
        /// Largest encoded record, in bytes.
        max: usize,
    },
    /// A record batch larger than a receive buffer may be. Reading continues after a seek past it,
    /// or with a larger [`Config::max_batch_bytes`](crate::Config::max_batch_bytes).
    BatchTooLarge {
        /// Offset of the batch.
        offset: i64,
        /// First offset after it.
        next_offset: i64,
        /// Receive buffer that would hold it, in bytes.
        needed: usize,
    },
    /// A record batch that cannot be read, or a record inside one whose checksum is right. Reading
    /// continues after a seek past the batch.
    Unreadable {
        /// The position: offset of the batch, or first offset in it that was not read.
        offset: i64,
        /// First offset after it, `offset` where the batch does not say.
        next_offset: i64,
        /// Why.
        why: Unreadable,
    },
    /// A compressed record batch that cannot be unpacked. Reading continues after a seek past it;
    /// one that is too large can be read with a larger
    /// [`Config::unpacked_bytes`](crate::Config::unpacked_bytes).
    Unpack {
        /// The position: first offset that was not read.
        offset: i64,
        /// First offset after the batch.
        next_offset: i64,
        /// Its codec.
        codec: Codec,
        /// Bytes of its packed records.
        packed: usize,
        /// Bytes that they may unpack to.
        limit: usize,
        /// Why.
        why: Fault,
    },
    /// A request of an [`Admin`](crate::Admin) that is larger than the client can send.
    RequestTooLarge {
        /// What of it.
        what: LimitKind,
        /// How much there is of that.
        needed: usize,
        /// How much of that can be sent.
        max: usize,
    },
    /// The machine did not take a record, for a reason that is newer than this crate.
    ProduceRefused(kavka_core::ProduceError),
    /// The same of an admin request.
    AdminRefused(AdminError),
    /// A consumer group, or a commit to it, does not work.
    Group(GroupError),
    /// The application took no records for
    /// [`Config::max_poll_interval`](crate::Config::max_poll_interval): the member has left its
    /// group, and joins it again when the next ones are taken.
    PollTimeout {
        /// That time.
        limit: Duration,
    },
    /// The expression that topics are subscribed by is no regular expression.
    #[cfg(feature = "pattern")]
    Pattern,
    /// A transaction does not work.
    Transaction(TransactionError),
    /// The producer, consumer or admin was closed before.
    Closed,
    /// The background thread is gone, by a panic.
    Panicked,
    /// The operating system refused something.
    System(io::ErrorKind),
}

impl Error {
    /// The kind, for a `match`.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The broker's error code, if a broker refused.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self.0.kind {
            ErrorKind::Kafka(
                Core::Broker(code) | Core::Blocked(Obstacle::Refused { code, .. }),
            )
            | ErrorKind::Group(GroupError::Refused(code) | GroupError::Commit { code, .. }) => {
                Some(code)
            }
            ErrorKind::Transaction(
                TransactionError::Refused(code)
                | TransactionError::Ended(code)
                | TransactionError::Offsets(code)
                | TransactionError::Partition { code, .. }
                | TransactionError::Record(Core::Broker(code)),
            ) => Some(code),
            _ => None,
        }
    }

    /// Of a record that failed: whether it may be in the log all the same. Of a commit of a
    /// transaction: whether it may be committed.
    #[must_use]
    pub fn maybe_written(&self) -> bool {
        self.0.maybe_written
    }

    /// The broker that the error came from, as far as that is known.
    #[must_use]
    pub fn broker(&self) -> Option<&str> {
        self.0.broker.as_deref()
    }

    /// The request that a broker refused, or did not respond to, as far as that is known.
    #[must_use]
    pub fn api(&self) -> Option<ApiKey> {
        match self.0.kind {
            ErrorKind::Kafka(Core::Blocked(obstacle)) => obstacle.api(),
            _ => self.0.api,
        }
    }

    /// The topic and the partition that cannot be read, of an error of a
    /// [`Consumer`](crate::Consumer) that is about one: others are read on.
    #[must_use]
    pub fn partition(&self) -> Option<(&str, u32)> {
        self.0.at.as_ref().map(|(topic, partition)| (&**topic, *partition))
    }

    /// What the broker or the operating system said in words.
    #[must_use]
    pub fn said(&self) -> Option<&str> {
        self.0.said.as_deref()
    }

    /// What to do about it; empty where there is no good advice.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        advice(self.0.kind)
    }

    /// Adds what was being done.
    pub(crate) fn doing(mut self, doing: impl Into<Cow<'static, str>>) -> Self {
        Arc::make_mut(&mut self.0).doing = doing.into();
        self
    }

    /// The same, of reading this partition.
    pub(crate) fn reading(mut self, topic: &Arc<str>, partition: u32) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        inner.doing = format!("read {topic}, partition {partition}").into();
        inner.at = Some((topic.clone(), partition));
        self
    }

    pub(crate) fn with_message(mut self, said: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).said = Some(said.into());
        self
    }

    pub(crate) fn at_broker(mut self, broker: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).broker = Some(broker.into());
        self
    }

    /// Adds the request that a broker refused.
    pub(crate) fn to(mut self, api: Option<ApiKey>) -> Self {
        Arc::make_mut(&mut self.0).api = api;
        self
    }

    pub(crate) fn with_maybe_written(mut self, maybe_written: bool) -> Self {
        Arc::make_mut(&mut self.0).maybe_written = maybe_written;
        self
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        let doing = Cow::Borrowed("");
        Self(Arc::new(Inner {
            kind,
            doing,
            said: None,
            broker: None,
            api: None,
            at: None,
            maybe_written: false,
        }))
    }
}

impl From<Core> for Error {
    fn from(error: Core) -> Self {
        ErrorKind::Kafka(error).into()
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        ErrorKind::Kafka(Core::Config(error)).into()
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::from(ErrorKind::System(error.kind())).with_message(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if !inner.doing.is_empty() {
            write!(f, "{}: ", inner.doing)?;
        }
        write!(f, "{}", inner.kind)?;
        match (inner.api, inner.kind) {
            (Some(api), ErrorKind::Kafka(Core::Closed(_))) => {
                write!(f, " (no response to {})", api.name())?;
            }
            (
                Some(api),
                ErrorKind::Kafka(Core::Broker(_) | Core::BatchRefused(_) | Core::TimedOut),
            ) => write!(f, " to {}", api.name())?,
            _ => {}
        }
        if let Some(broker) = &inner.broker {
            write!(f, ", broker {broker}")?;
        }
        if let Some(said) = &inner.said {
            write!(f, ": {said}")?;
        }
        match inner.maybe_written {
            // Not there: nothing was sent to the other one.
            true if is_foreign(inner.kind) => {
                f.write_str(" (it may have been written to this client's cluster)")?;
            }
            true => f.write_str(" (it may have been written)")?,
            false => {}
        }
        match self.advice() {
            "" => Ok(()),
            advice => write!(f, "; {advice}"),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kafka(error) => error.fmt(f),
            Self::PollTimeout { limit } => {
                write!(f, "no records were taken for {limit:?}: the member has left the group")
            }
            Self::RecordTooLarge { max } => write!(f, "record too large; at most {max} bytes"),
            Self::BatchTooLarge { offset, needed, .. } => {
                write!(f, "the batch at offset {offset} needs a receive buffer of {needed} bytes")
            }
            Self::Unreadable { offset, next_offset, why } => {
                let what = match (is_inside(*why), next_offset > offset) {
                    (true, true) => "the record at",
                    // A batch with impossible offsets.
                    (true, false) if *why == Unreadable::Malformed(Malformed::Offset) => {
                        "the batch at"
                    }
                    // All offsets of the batch were read.
                    (true, false) => "what follows the record before",
                    (false, _) => "the batch at",
                };
                write!(f, "{what} offset {offset} cannot be read: ")?;
                match why {
                    Unreadable::Malformed(why) => why.fmt(f),
                    Unreadable::Compressed(codec) => {
                        write!(f, "compressed with {}", codec_name(*codec))
                    }
                    Unreadable::ByBroker => f.write_str("the broker says that it is corrupt"),
                    other => write!(f, "{other:?}"),
                }
            }
            Self::Unpack { offset, codec, packed, limit, why, .. } => {
                write!(f, "the batch at offset {offset} cannot be unpacked ({packed} bytes of ")?;
                write!(f, "{codec}, at most {limit} unpacked): {why}")
            }
            &Self::RequestTooLarge { what, needed, max } => {
                AdminError::TooLarge { what, needed, max }.fmt(f)
            }
            Self::ProduceRefused(why) => why.fmt(f),
            Self::AdminRefused(why) => why.fmt(f),
            Self::Group(why) => why.fmt(f),
            #[cfg(feature = "pattern")]
            Self::Pattern => f.write_str("this is no regular expression"),
            Self::Transaction(why) => why.fmt(f),
            Self::Closed => f.write_str("closed"),
            Self::Panicked => f.write_str("the background thread panicked"),
            Self::System(kind) => write!(f, "{kind}"),
        }
    }
}

/// Whether something is wrong inside a batch whose header and checksum are right.
const fn is_inside(why: Unreadable) -> bool {
    match why {
        Unreadable::Malformed(why) => matches!(
            why,
            Malformed::RecordCount
                | Malformed::TrailingBytes
                | Malformed::RecordLength
                | Malformed::FieldLength
                | Malformed::Varint
                | Malformed::Offset
        ),
        _ => false,
    }
}

/// Whether trying again does not mend the error: a refusal that is not temporary, or a request that
/// the broker does not support.
pub(crate) fn is_permanent(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Kafka(Core::Broker(code)) => {
            !code.is_retriable() && code != ErrorCode::UNKNOWN_SERVER_ERROR
        }
        ErrorKind::Kafka(Core::Peer(fault)) => {
            matches!(
                fault,
                PeerFault::NoApi(_)
                    | PeerFault::NoCommonVersion { .. }
                    | PeerFault::NoTopicIds { .. }
            )
        }
        _ => false,
    }
}

/// Whether an address does not let us log in, as long as nothing is changed.
pub(crate) fn login_fault(kind: ErrorKind) -> Option<LoginFault> {
    match kind {
        ErrorKind::Kafka(
            Core::Peer(PeerFault::Login(fault))
            | Core::Blocked(Obstacle::Peer { fault: PeerFault::Login(fault), .. }),
        ) => Some(fault),
        _ => None,
    }
}

/// Whether an address led to another cluster.
pub(crate) fn is_foreign(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Kafka(
            Core::Peer(PeerFault::OtherCluster)
                | Core::Blocked(Obstacle::Peer { fault: PeerFault::OtherCluster, .. })
        )
    )
}

fn codec_name(codec: u8) -> &'static str {
    Codec::from_id(codec).map_or("an unknown codec", Codec::name)
}

fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Group(error) => error.advice(),
        ErrorKind::PollTimeout { .. } => {
            "take records more often, or raise Config::max_poll_interval"
        }
        ErrorKind::Transaction(error) => error.advice(),
        ErrorKind::Kafka(Core::Broker(code)) => code_advice(code.0),
        ErrorKind::Kafka(Core::Closed(why)) => closed_advice(why),
        ErrorKind::Kafka(Core::BatchRefused(_)) => "send it again, without the record at fault",
        ErrorKind::Kafka(Core::Blocked(obstacle)) => obstacle_advice(obstacle),
        ErrorKind::Kafka(Core::Peer(fault)) => fault_advice(fault),
        ErrorKind::Kafka(Core::Limit { what, .. }) => match what {
            LimitKind::Topics => "raise Limits::topics",
            LimitKind::Partitions => "raise Limits::partitions",
            LimitKind::ReceiveBuffer => "raise Limits::rx_bytes",
            LimitKind::SendBlocks => "raise Limits::tx_blocks",
            _ => "wait for an earlier request to end",
        },
        ErrorKind::RequestTooLarge { .. } => "leave out what has its default, or set it later",
        ErrorKind::RecordTooLarge { .. } => "raise batch_bytes, or send less in a record",
        ErrorKind::BatchTooLarge { .. } => "raise max_batch_bytes, or seek past the batch",
        ErrorKind::Unreadable { why: Unreadable::Compressed(_), .. } => {
            "this build cannot decompress; seek past the batch or read it with another client"
        }
        ErrorKind::Unpack { why: Fault::TooLarge { .. }, .. } => {
            "raise unpacked_bytes, or seek past the batch"
        }
        ErrorKind::Unpack { .. } | ErrorKind::Unreadable { .. } => {
            "seek past the batch to continue without it"
        }
        _ => "",
    }
}

fn fault_advice(fault: PeerFault) -> &'static str {
    match fault {
        PeerFault::NotKafka(Protocol::Tls) => {
            "set Config::tls (--tls) where the port has TLS, or use another port"
        }
        PeerFault::FrameLength(_) | PeerFault::NotKafka(_) => "use the port of a Kafka listener",
        PeerFault::NoApi(ApiKey::SASL_HANDSHAKE) => {
            "this listener has no SASL: use another port, or no login"
        }
        PeerFault::Login(fault) => login_advice(fault),
        PeerFault::OtherCluster => {
            "nothing was sent there; to use it restart, or set accept_other_cluster (--any-cluster)"
        }
        PeerFault::NoApi(ApiKey::INIT_PRODUCER_ID)
        | PeerFault::NoCommonVersion { api: ApiKey::INIT_PRODUCER_ID, .. } => {
            "switch idempotence off for such brokers: Config::idempotent(false), or \
             -X enable.idempotence=false"
        }
        PeerFault::NoCommonVersion { api: ApiKey::TXN_OFFSET_COMMIT, .. } => {
            "use brokers of Kafka 2.5 or later, or a producer for each partition and \
             MemberId::without_member"
        }
        PeerFault::NoBrokers => "wait until the broker has started; is it part of a cluster?",
        PeerFault::NotHeld => {
            "does a proxy respond in the broker's place? brokers wait for fetch.max.wait.ms"
        }
        PeerFault::NoRecords { .. } => {
            "is the end of the log damaged, or kept back? seek to the end to skip it"
        }
        PeerFault::NoTopicIds { .. } => {
            "does a proxy drop topic ids? METADATA needs version 10 or later for them"
        }
        PeerFault::LeftOut(_)
        | PeerFault::NoValue(_)
        | PeerFault::CutBatch { .. }
        | PeerFault::OldRecords => {
            "no Kafka broker does so: is it another implementation, or a proxy?"
        }
        PeerFault::NoApi(ApiKey::METADATA) => "is this a controller's port? use a broker's",
        PeerFault::NoCodec(_) => "choose gzip, snappy or lz4, or brokers of Kafka 2.1 or later",
        PeerFault::NoApi(_) | PeerFault::NoCommonVersion { .. } => {
            "this client and these brokers are too far apart in age"
        }
        _ => "",
    }
}

fn closed_advice(why: CloseReason) -> &'static str {
    match why {
        CloseReason::Refused => "is a broker running there, and does the port fit?",
        CloseReason::Unresolved => "check the host name",
        CloseReason::Certificate => {
            "check the authorities (--ca), the host name, the clock, and the certificate of this \
             client; nothing is sent without TLS instead"
        }
        CloseReason::Tls => "is this a TLS port, and does it have TLS 1.2 or 1.3?",
        CloseReason::Silent => "is this a Kafka port, and is the broker overloaded?",
        CloseReason::EndedEarly => {
            "a listener that wants SASL does so: set Config::sasl (--sasl), or use another port"
        }
        _ => "",
    }
}

fn login_advice(fault: LoginFault) -> &'static str {
    match fault {
        LoginFault::Refused(ErrorCode::SASL_AUTHENTICATION_FAILED) => {
            "check user and password (or token), and that the broker knows them for this mechanism"
        }
        LoginFault::Mechanism => "choose one that the broker has",
        LoginFault::NoSasl => "use the port of a SASL listener, or no login",
        LoginFault::Signature | LoginFault::Nonce => {
            "something between this client and the broker may be pretending to be it"
        }
        LoginFault::Iterations => "4096 to 1048576 are accepted; set the password again",
        LoginFault::NoToken => "see why no token can be fetched",
        LoginFault::TokenRefused => {
            "check the client id and secret, and that the server knows them for this scope"
        }
        LoginFault::Message | LoginFault::TooLong => "is this a Kafka broker?",
        _ => "",
    }
}

fn obstacle_advice(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::NoLeader => "is the broker that holds the partition down?",
        Obstacle::NoController { .. } => "is the controller down, or without a quorum?",
        Obstacle::NoPartition => "partitions count from 0",
        Obstacle::NoAddress { why: AddressFault::Unlisted, .. } => {
            "is that broker down, or does it have no listener of this name?"
        }
        Obstacle::NoAddress { .. } => "check advertised.listeners of that broker",
        // It keeps doing so, or it would be no obstacle; a login would come before anything else.
        Obstacle::Unreachable {
            why: CloseReason::Ended | CloseReason::Reset,
            api: None | Some(ApiKey::API_VERSIONS | ApiKey::METADATA),
            ..
        } => {
            "if the broker is not restarting, that listener may want SASL: set Config::sasl \
             (--sasl), or use another port"
        }
        Obstacle::Unreachable { why: CloseReason::Ended | CloseReason::Reset, .. } => {
            "if the broker is not restarting, see its log for why it ends connections over that"
        }
        Obstacle::Unreachable { why, .. } => advice(ErrorKind::Kafka(Core::Closed(why))),
        Obstacle::Peer { fault, .. } => advice(ErrorKind::Kafka(Core::Peer(fault))),
        Obstacle::Refused { code, .. } => code_advice(code.0),
        Obstacle::NoResponse { .. } => {
            "is the broker up, and does anything on the way to it drop packets?"
        }
        Obstacle::Limit(what) => advice(ErrorKind::Kafka(Core::Limit { what, needed: 0 })),
        _ => "",
    }
}

/// For the codes that people meet; see Kafka's `Errors` class.
fn code_advice(code: i16) -> &'static str {
    match code {
        1 => "the offset is not in the log any more, or not yet: seek to another one",
        3 => "create the topic, or check its name (partitions count from 0)",
        7 => "the broker timed out; what was requested may have happened all the same",
        10 | 18 => "raise max.message.bytes of the topic, or lower batch_bytes",
        17 => "a topic name has 1 to 249 of a-z A-Z 0-9 . _ -",
        19 | 20 => "too few replicas are in sync: are brokers down?",
        24 => "brokers accept no empty id of a group",
        25 => "the group has members that commit themselves: stop them first",
        29..=31 => "the brokers' ACLs do not allow this to this user",
        36 => "choose another name, or delete the topic first",
        37 => "a topic can only grow: request more partitions than it has",
        38 => "there are fewer brokers than replicas were requested",
        40 => "a topic config is wrong",
        41 => "the cluster has no controller that responds; try again",
        44 => "the cluster's policy forbids it",
        68 => "the group has members: stop them first",
        69 => "no consumer group has this id; is it one of another type?",
        73 => "the cluster has deletion of topics switched off",
        76 => "zstd needs brokers of Kafka 2.1 or later, and no older proxy before them",
        86 => "members are subscribed to the topic: stop them first",
        87 => "the broker found the records invalid; compacted topics need keys",
        _ => "",
    }
}

/// Why [`Producer::send`](crate::Producer::send) did not take a record.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ProduceError {
    /// Only from `try_send`: too much waits already; see [`Producer::room`](crate::Producer::room).
    Full,
    /// Only from `try_send`: too much waits for this topic, which brokers do not know (yet), or for
    /// a partition that it does not have (yet); see
    /// [`Producer::room_for`](crate::Producer::room_for).
    TopicFull,
    /// The record is larger than a batch may be.
    TooLarge {
        /// Largest encoded record, in bytes.
        max: usize,
    },
    /// It will never be taken.
    Refused(Error),
}

impl fmt::Display for ProduceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("too many records wait to be sent"),
            Self::TopicFull => f.write_str("too many records wait for this topic to be known"),
            Self::TooLarge { max } => write!(f, "record too large; at most {max} bytes"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ProduceError {}
