//! The `kavka` command: topics, produce and consume, in the habits of kcat and Kafka's own tools.
//!
//! Exit codes: 0 done; 1 failed, with the reason on stderr; 2 wrong usage.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

mod common;
mod consume;
mod failure;
mod interrupt;
mod json;
mod metadata;
mod notices;
mod places;
mod produce;
mod progress;
mod properties;
mod text;
mod topics;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use common::{Common, Settings};
use failure::Failure;

/// Talks to Apache Kafka.
#[derive(Parser)]
#[command(
    name = "kavka",
    version,
    after_help = "Exit codes: 0 done, or ended by SIGINT or SIGTERM; 1 failed, with the reason on \
                  stderr; 2 wrong usage."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List, create, describe, grow, delete or watch topics, or print their offsets
    #[command(subcommand)]
    Topics(topics::Command),
    /// Send a record for each line of stdin
    Produce(produce::Options),
    /// Print records to stdout
    Consume(consume::Options),
    /// Print brokers, controller and topics
    Metadata(metadata::Options),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    match run(common, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(common: Common, command: Command) -> Result<(), Failure> {
    if let Command::Completions { shell } = command {
        return completions(shell);
    }
    let settings = Settings::new(common)?;
    match command {
        Command::Topics(command) => topics::run(&settings, command),
        Command::Produce(options) => produce::run(&settings, options),
        Command::Consume(options) => consume::run(&settings, options),
        Command::Metadata(options) => metadata::run(&settings, &options),
        Command::Completions { .. } => Ok(()), // above
    }
}

fn completions(shell: Shell) -> Result<(), Failure> {
    // Not to stdout at once: a write error would be a panic there.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kavka", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script)?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }
}
