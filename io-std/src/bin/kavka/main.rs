//! The `kavka` command: topics, produce and consume, in the habits of kcat and Kafka's own tools.
//!
//! Exit codes: 0 done; 1 failed, with the reason on stderr; 2 wrong usage.

mod consume;
mod produce;
mod text;
mod topics;

use core::time::Duration;
use std::io;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kavka_std::{Config, Error, ProduceError};

/// Talks to Apache Kafka.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done; 1 failed, with the reason on stderr; 2 wrong usage."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args)]
struct Common {
    /// Some brokers of the cluster: host:port[,host:port]
    #[arg(
        short,
        long,
        global = true,
        env = "KAVKA_BOOTSTRAP",
        default_value = "localhost:9092",
        value_name = "BROKERS"
    )]
    bootstrap: String,
    /// Name of this client, for the brokers' logs and quotas
    #[arg(long, global = true, default_value = "kavka")]
    client_id: String,
    /// Seconds to wait for a cluster or a topic that does not answer
    #[arg(long, global = true, default_value_t = 10, value_name = "SECONDS")]
    timeout: u64,
    /// Tell on stderr what happens to topics and connections
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Command {
    /// List, create, describe, grow, delete or watch topics
    #[command(subcommand)]
    Topics(topics::Command),
    /// Send a record for each line of stdin
    Produce(produce::Options),
    /// Print records to stdout
    Consume(consume::Options),
}

impl Common {
    fn config(&self) -> Config {
        let timeout = Duration::from_secs(self.timeout.max(1));
        Config::new(&self.bootstrap)
            .client_id(&self.client_id)
            .topic_timeout(timeout)
            .admin_timeout(timeout)
    }
}

/// Why the command ends with an exit code other than 0.
enum Failure {
    Usage(String),
    Failed(String),
    Io(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
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

fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let result = match command {
        Command::Topics(command) => topics::run(&common, command),
        Command::Produce(options) => produce::run(&common, options),
        Command::Consume(options) => consume::run(&common, options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has had enough.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Io(error)) => fail(1, &error.to_string()),
        Err(Failure::Failed(text)) => fail(1, &text),
        Err(Failure::Usage(text)) => fail(2, &text),
    }
}

fn fail(code: u8, text: &str) -> ExitCode {
    eprintln!("kavka: {text}");
    ExitCode::from(code)
}
