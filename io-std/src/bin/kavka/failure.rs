//! Why the command ends with an exit code other than 0.

use std::io;
use std::process::ExitCode;
use std::sync::OnceLock;

use kavka_std::kavka_core::record::Malformed;
use kavka_std::kavka_core::wire::ApiKey;
use kavka_std::kavka_core::{Error as Core, Misuse, Obstacle, PeerFault, Unreadable};
use kavka_std::{Error, ErrorKind, Lost, ProduceError};

use super::{WRONG_USAGE, lines};

/// UNKNOWN_TOPIC_OR_PARTITION.
pub(super) const UNKNOWN: i16 = 3;

/// Addresses that the client began with, for errors that name no broker.
pub(super) static BOOTSTRAP: OnceLock<String> = OnceLock::new();

/// Set where `receive.message.max.bytes` says how large a batch may be.
pub(super) static RECEIVE_LIMITED: OnceLock<()> = OnceLock::new();

pub(super) enum Failure {
    Usage(String),
    Failed(String),
    /// Records were lost; the reason in it is brief already.
    Lost(String),
    /// The reason was printed when it was found.
    Said,
    /// Several things failed.
    Several(Vec<String>),
    /// A signal came before there was a result; what was not done.
    Interrupted(String),
    Stdout(io::Error),
}

impl Failure {
    /// Prints the reason, and returns the exit code.
    pub(super) fn report(&self) -> ExitCode {
        ExitCode::from(self.say())
    }

    pub(super) fn say(&self) -> u8 {
        let (code, text) = match self {
            Self::Several(texts) => {
                lines::last(&texts.iter().map(String::as_str).collect::<Vec<_>>());
                return 1;
            }
            Self::Lost(text) => {
                lines::say(text);
                return 1;
            }
            Self::Said => return 1,
            // The reader of our output has had enough.
            Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe => return 0,
            Self::Stdout(error) => (1, &format!("stdout: {error}")),
            Self::Failed(text) => (1, text),
            Self::Usage(text) => (WRONG_USAGE, text),
            Self::Interrupted(text) => (0, text),
        };
        lines::last(&[text]);
        code
    }

    /// Makes an interrupt a failure: of a command that has one thing to do.
    pub(super) fn if_undone(self, doing: &str) -> Self {
        match self {
            Self::Interrupted(why) => Self::Failed(format!("{doing}: {why}")),
            other => other,
        }
    }

    /// Notes which of several names the failure is about, or what was not done.
    pub(super) fn interrupted(self, undone: &str) -> Self {
        match self {
            Self::Interrupted(why) => Self::Interrupted(format!("{why}: {undone}")),
            other => other,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = describe(&error);
        // Only the start of a client finds these, and what was typed or configured is at fault.
        let usage = matches!(
            error.kind(),
            ErrorKind::Kafka(
                Core::Config(_)
                    | Core::Caller(Misuse::TopicName | Misuse::PartitionIndex | Misuse::Negative)
            )
        );
        if usage { Self::Usage(text) } else { Self::Failed(text) }
    }
}

impl From<ProduceError> for Failure {
    fn from(error: ProduceError) -> Self {
        match error {
            ProduceError::Refused(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Of stdout: other streams have no errors that matter, or name themselves.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Stdout(error)
    }
}

/// The text of an error, with advice that fits the command instead of a program.
pub(super) fn describe(error: &Error) -> String {
    let text = error.to_string();
    let front = text.strip_suffix(error.advice()).unwrap_or(&text);
    let front = front.trim_end_matches([';', ' ']);
    // Whichever of them responded: Metadata is the same at all.
    let by_any = error.code().is_some() && error.broker().is_none();
    let place = match BOOTSTRAP.get().filter(|_| by_any) {
        Some(addresses) => format!(", broker {addresses}"),
        None => String::new(),
    };
    match advice(error).as_deref().unwrap_or(error.advice()) {
        "" => format!("{front}{place}"),
        advice => format!("{front}{place}; {advice}"),
    }
}

/// Advice other than the library's.
fn advice(error: &Error) -> Option<String> {
    let peer = match error.kind() {
        ErrorKind::Kafka(Core::Peer(fault) | Core::Blocked(Obstacle::Peer { fault, .. })) => {
            Some(fault)
        }
        _ => None,
    };
    if let Some(code) = error.code() {
        return match code.0 {
            1 => Some("it is not in the log any more, or not yet: choose another (-o)".to_owned()),
            10 | 18 => Some(
                "raise max.message.bytes of the topic, or lower -X batch.size if it has many \
                 records"
                    .to_owned(),
            ),
            _ => None,
        };
    }
    Some(match (error.kind(), peer) {
        (_, Some(PeerFault::OtherCluster)) => "use --any-cluster to accept it".to_owned(),
        (_, Some(PeerFault::NoApi(ApiKey::INIT_PRODUCER_ID))) => {
            "such brokers need -X enable.idempotence=false".to_owned()
        }
        (ErrorKind::BatchTooLarge { needed, .. }, _) => match RECEIVE_LIMITED.get() {
            Some(()) => format!("raise receive.message.max.bytes to {needed}"),
            None => format!("use --fetch-bytes {needed}"),
        },
        (ErrorKind::Unreadable { offset, next_offset, why }, _) => {
            // Or all offsets of the batch were read.
            if next_offset > offset || is_behind(why) {
                format!("to read on without it, begin at {next_offset} (-o)")
            } else {
                let next = offset.saturating_add(1);
                format!("its end is not known: to read on, begin at {next} or later (-o)")
            }
        }
        (ErrorKind::Unpack { next_offset, .. }, _) => {
            format!("to read on without it, begin at {next_offset} (-o)")
        }
        (ErrorKind::Kafka(Core::TimedOut), _) if error.broker().is_some() => SILENT.to_owned(),
        (ErrorKind::RecordTooLarge { .. }, _) => "raise -X max.request.size".to_owned(),
        _ => return None,
    })
}

/// What to look at where a broker does not respond.
pub(super) const SILENT: &str =
    "is the address right, is the broker up, and does anything on the way to it drop packets?";

/// Whether the fault is one of records, and not of their batch.
fn is_behind(why: Unreadable) -> bool {
    use Malformed::{FieldLength, RecordCount, RecordLength, TrailingBytes, Varint};
    let Unreadable::Malformed(why) = why else { return false };
    matches!(why, FieldLength | RecordCount | RecordLength | TrailingBytes | Varint)
}

/// What a producer that ends could not deliver, in words.
pub(super) fn describe_lost(lost: &Lost) -> String {
    let Some(error) = &lost.first else { return lost.to_string() };
    format!("{} ({})", Lost { first: None, ..lost.clone() }, lines::brief(&describe(error)))
}
