//! What a peer did wrong: a broker that broke the protocol or refuses a login, or no broker at all.

use core::fmt;

use crate::api;
use crate::wire::{ApiKey, ErrorCode};

/// How a peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PeerFault {
    /// A response to such a request that cannot be decoded.
    Malformed(ApiKey),
    /// A Metadata response that lists no brokers, as of one that is starting.
    NoBrokers,
    /// A Metadata response without a topic that was requested, or without its partitions.
    NoTopic,
    /// A frame length below zero or above what Kafka allows: usually not a Kafka broker, or TLS
    /// on a plaintext port.
    FrameLength(i32),
    /// Bytes of another protocol where a Kafka response was due.
    NotKafka(Protocol),
    /// A response to another request than the one that was due.
    Correlation,
    /// A response to such a request without the topic or partition that was requested.
    LeftOut(ApiKey),
    /// A response to such a request with neither an error nor what was requested: -1 in place of an
    /// offset or of a producer id.
    NoValue(ApiKey),
    /// The broker has an API only in versions that name topics by id, and names no ids itself.
    NoTopicIds {
        /// The API.
        api: ApiKey,
        /// The lowest version of the broker.
        min: i16,
    },
    /// The broker responds to Fetch at once, time and again, although it has nothing new and was
    /// allowed to wait: such requests are sent ever more slowly.
    NotHeld,
    /// Fetch responses bring no records although the high watermark is beyond the position.
    NoRecords {
        /// Offsets from the position to the high watermark; 2^32 - 1 for that many or more.
        left: u32,
    },
    /// Fetch responses end in the middle of the batch at the position: a broker has to return the
    /// first batch whole, however large it is (KIP-74). Builds without the feature `reasons` say
    /// `Malformed`.
    #[cfg(feature = "reasons")]
    CutBatch {
        /// Bytes of the batch, by its header; 0 if even that is incomplete.
        needed: u32,
        /// Bytes of it that arrived.
        got: u32,
    },
    /// Fetch responses bring only records before the position.
    OldRecords,
    /// A position that the broker refuses as out of range is in its log by its own ListOffsets.
    OutOfRange,
    /// The broker reports that its log diverges where it does not (KIP-320).
    Divergence,
    /// The broker responds to ApiVersions with this code.
    NoVersions(ErrorCode),
    /// The peer does not have an API that is needed.
    NoApi(ApiKey),
    /// The peer has no common version with us of an API that is needed.
    NoCommonVersion {
        /// The API.
        api: ApiKey,
        /// Its lowest version.
        min: i16,
        /// Its highest version.
        max: i16,
    },
    /// The address leads to another cluster than before: see
    /// [`Commands::cluster_id`](crate::Commands::cluster_id) and
    /// [`Commands::refused_cluster_id`](crate::Commands::refused_cluster_id). Nothing else was sent
    /// there. A broker that names no cluster id counts, where a version of Metadata has it.
    OtherCluster,
    /// Logging in failed.
    #[cfg(feature = "sasl")]
    Login(LoginFault),
    /// The broker is too old for the codec that batches are compressed with.
    #[cfg(feature = "pack")]
    NoCodec(crate::codec::Codec),
}

/// Why a client could not log in.
#[cfg(feature = "sasl")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
#[repr(u8)]
pub enum LoginFault {
    /// The broker refuses the credentials, or reports another error, with Kafka's code; see
    /// [`Commands::login_refusal`](crate::Commands::login_refusal).
    Refused(ErrorCode) = 1,
    /// The listener does not have the mechanism;
    /// [`Commands::login_refusal`](crate::Commands::login_refusal) returns those that it has.
    Mechanism,
    /// The listener has no SASL at all.
    NoSasl,
    /// The broker was not at the point where it takes such a message.
    State,
    /// A message of the broker that the mechanism does not have.
    Message,
    /// A message of the broker that is longer than there is memory for.
    TooLong,
    /// The mechanism itself reports a failure (`e=` of SCRAM).
    Server,
    /// The nonce does not continue ours: an old exchange is played again.
    Nonce,
    /// The number of iterations is outside the limits.
    Iterations,
    /// The peer could not prove that it knows the password: it is not the broker that it claims to
    /// be.
    Signature,
    /// The source of randomness has failed.
    Entropy,
    /// The application provided no token in time, or could not fetch one.
    NoToken,
    /// The server that issues tokens refuses to issue one.
    TokenRefused,
    /// A mechanism of the application's own failed, for a reason that it knows.
    Own(u8),
}

#[cfg(feature = "sasl")]
impl LoginFault {
    /// Whether another attempt cannot end differently before someone changes something.
    #[must_use]
    pub const fn is_permanent(self) -> bool {
        match self {
            Self::Refused(code) => !code.is_retriable(),
            Self::State | Self::Entropy | Self::NoToken => false,
            _ => true,
        }
    }
}

/// What a peer speaks that is no Kafka broker, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Protocol {
    /// TLS: a handshake or an alert.
    Tls,
    /// HTTP.
    Http,
    /// SSH.
    Ssh,
    /// Text, as SMTP, Redis and others do: its first bytes.
    Text([u8; 4]),
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "it seems to speak TLS",
            Self::Http => "it seems to speak HTTP",
            Self::Ssh => "it seems to speak SSH",
            Self::Text(front) => {
                return write!(f, "but text: it begins with \"{}\"", front.escape_ascii());
            }
        })
    }
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(api) => {
                return write!(f, "a response to {} cannot be decoded", api.name());
            }
            Self::NoTopic => "a METADATA response leaves out the topic, or its partitions",
            Self::NoBrokers => "a METADATA response lists no brokers (is the broker starting?)",
            Self::FrameLength(length) => {
                return write!(f, "impossible frame length {length} (is this a Kafka port?)");
            }
            Self::LeftOut(api) => {
                return write!(f, "a response to {} leaves out what was requested", api.name());
            }
            Self::NoValue(api) => {
                return write!(
                    f,
                    "a response to {} has -1 in place of what was requested, and no error",
                    api.name()
                );
            }
            Self::NoTopicIds { api, min } => {
                return write!(
                    f,
                    "the broker has {} only from version {min} on, which needs topic ids, but its \
                     METADATA names no ids",
                    api.name()
                );
            }
            Self::NotHeld => {
                "the broker responds to FETCH at once, again and again, although it has nothing new"
            }
            Self::NoRecords { left } => {
                return write!(
                    f,
                    "the broker returns no records, but its high watermark is {left} beyond the \
                     position"
                );
            }
            #[cfg(feature = "reasons")]
            Self::CutBatch { needed, got } => return write_cut(f, *needed, *got),
            Self::OldRecords => "a FETCH response has only records before the position",
            Self::OutOfRange => {
                "the position is refused as out of range, but is in the log by LIST_OFFSETS"
            }
            Self::Divergence => "the log is said to diverge where it does not",
            Self::NotKafka(protocol) => return write!(f, "not Kafka's protocol, {protocol}"),
            Self::Correlation => "a response to another request",
            Self::OtherCluster => "the address leads to another cluster",
            Self::NoVersions(code) => {
                let name = code.name();
                return write!(f, "the broker refuses API_VERSIONS with {name} ({})", code.0);
            }
            Self::NoApi(api) => {
                return write!(f, "the broker does not have {} (no common version)", api.name());
            }
            Self::NoCommonVersion { api, min, max } => {
                write!(f, "no common version of {}: the broker has {min} to {max}", api.name())?;
                let Some((least, most)) = api::spoken(*api) else { return Ok(()) };
                return write!(f, ", this client {least} to {most}");
            }
            #[cfg(feature = "sasl")]
            Self::Login(fault) => return fault.fmt(f),
            #[cfg(feature = "pack")]
            Self::NoCodec(codec) => return write!(f, "the broker is too old for {codec}"),
        })
    }
}

#[cfg(feature = "sasl")]
impl fmt::Display for LoginFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(ErrorCode::SASL_AUTHENTICATION_FAILED) => {
                "the broker refused the credentials"
            }
            Self::Refused(code) => {
                return write!(f, "the broker refused the login: {} ({})", code.name(), code.0);
            }
            Self::Mechanism => "the broker does not have this SASL mechanism",
            Self::NoSasl => "the listener has no SASL",
            Self::State => "the broker expected another message of the login",
            Self::Message => "a message of the login cannot be understood",
            Self::TooLong => "a message of the login is too long",
            Self::Server => "the broker reports a failure of the login",
            Self::Nonce => "the broker's nonce does not continue ours",
            Self::Iterations => "the broker wants too few or too many SCRAM iterations",
            Self::Signature => "the peer does not know the password: it is not the broker",
            Self::Entropy => "no randomness for the login",
            Self::NoToken => "no token for the login",
            Self::TokenRefused => "no token is issued for the login",
            Self::Own(reason) => return write!(f, "the login failed (reason {reason})"),
        })
    }
}

#[cfg(feature = "reasons")]
fn write_cut(f: &mut fmt::Formatter<'_>, needed: u32, got: u32) -> fmt::Result {
    write!(f, "only {got} ")?;
    if needed > 0 {
        write!(f, "of {needed} ")?;
    }
    f.write_str("bytes of the batch at the position arrive")
}
