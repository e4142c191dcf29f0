//! Why the command ends with an exit code other than 0.

use std::io::{self, Write};
use std::process::ExitCode;

use kavka_std::kavka_core::{Error as Core, Obstacle, PeerFault};
use kavka_std::{Error, ErrorKind, ProduceError};

pub(super) enum Failure {
    Usage(String),
    Failed(String),
    Io(io::Error),
}

impl Failure {
    /// Prints the reason, and returns the exit code.
    pub(super) fn report(&self) -> ExitCode {
        ExitCode::from(self.say())
    }

    pub(super) fn say(&self) -> u8 {
        let (code, text) = match self {
            // The reader of our output has had enough.
            Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => return 0,
            Self::Io(error) => (1, &error.to_string()),
            Self::Failed(text) => (1, text),
            Self::Usage(text) => (2, text),
        };
        // When stderr cannot be written the exit code has to do.
        let _ = writeln!(io::stderr(), "kavka: {text}");
        code
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(describe(&error))
    }
}

impl From<ProduceError> for Failure {
    fn from(error: ProduceError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The text of an error, with advice that fits the command instead of a program.
pub(super) fn describe(error: &Error) -> String {
    let text = error.to_string();
    let advice = match error.kind() {
        ErrorKind::BatchTooLarge { needed, .. } => format!("use --fetch-bytes {needed}"),
        ErrorKind::Kafka(
            Core::Peer(PeerFault::OtherCluster)
            | Core::Blocked(Obstacle::Peer { fault: PeerFault::OtherCluster, .. }),
        ) => "nothing was sent there; use --any-cluster to accept it".to_owned(),
        ErrorKind::Unreadable { next_offset, .. } | ErrorKind::Unpack { next_offset, .. } => {
            format!("to read on without it, begin at {next_offset} (-o)")
        }
        ErrorKind::RecordTooLarge { .. } => "raise -X max.request.size".to_owned(),
        _ => return text,
    };
    let front = text.strip_suffix(error.advice()).unwrap_or(&text);
    format!("{}; {advice}", front.trim_end_matches([';', ' ']))
}
