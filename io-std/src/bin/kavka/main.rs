//! The `kavka` command: topics, produce and consume, in the habits of kcat and Kafka's own tools.
//!
//! Exit codes: 0 done; 1 failed, with the reason on stderr; 2 wrong usage; 130 a second signal.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

mod clusters;
mod common;
mod consume;
mod copy;
mod encryption;
mod failure;
mod groups;
mod interrupt;
mod json;
mod lines;
mod metadata;
mod notices;
mod places;
mod produce;
mod progress;
mod properties;
mod security;
mod streams;
mod text;
mod topics;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::error::ContextKind;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use clusters::Comparison;
use common::{Common, Settings};
use failure::Failure;

/// clap's exit code, and ours.
const WRONG_USAGE: u8 = 2;

/// Command-line client for Apache Kafka.
#[derive(Parser)]
#[command(
    name = "kavka",
    version,
    after_help = "Exit codes: 0 done, or a signal ended produce, consume or topics watch; \
                  1 failed, with the reason on stderr; 2 wrong usage: options, formats, \
                  properties, addresses; 130 a second signal came while the first was handled."
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
    /// Copy the records of one topic to another, exactly once if wanted
    Copy(copy::Options),
    /// List, describe or delete consumer groups, print their lag, or set where they continue
    #[command(subcommand)]
    Groups(groups::Command),
    /// Print brokers, controller and topics
    Metadata(metadata::Options),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl Command {
    /// Whether it changes a cluster.
    fn writes(&self) -> bool {
        match self {
            Self::Topics(command) => command.writes(),
            Self::Groups(command) => command.writes(),
            Self::Produce(_) | Self::Copy(_) => true,
            Self::Consume(options) => options.commits(),
            Self::Metadata(_) | Self::Completions { .. } => false,
        }
    }
}

fn main() -> ExitCode {
    let ended = match Cli::try_parse() {
        Ok(Cli { common, command }) => run(common, command),
        Err(mut error) if error.use_stderr() => {
            if error.kind() == clap::error::ErrorKind::UnknownArgument {
                // That a value may begin with a dash behind `--`: never what was meant here.
                let _ = error.remove(ContextKind::Suggested);
            }
            // Without a reader of stderr there is still the exit code.
            let _ = error.print();
            return ExitCode::from(WRONG_USAGE);
        }
        Err(help) => print_help(&help),
    };
    ended.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

fn run(common: Common, command: Command) -> Result<(), Failure> {
    if let Command::Completions { shell } = command {
        return completions(shell);
    }
    interrupt::note()?;
    let mut settings = Settings::new(common)?;
    if let Command::Consume(options) = &command {
        options.choose(&mut settings.properties);
    }
    let comparison = Comparison::begin(&settings);
    if command.writes() {
        comparison.verdict()?;
    }
    let ended = match command {
        Command::Topics(command) => topics::run(&settings, command),
        Command::Produce(options) => produce::run(&settings, options),
        Command::Consume(options) => consume::run(&settings, options),
        Command::Copy(options) => copy::run(&settings, &options),
        Command::Groups(command) => groups::run(&settings, command),
        Command::Metadata(options) => metadata::run(&settings, &options),
        Command::Completions { .. } => Ok(()), // above
    };
    let verdict = comparison.verdict();
    ended.and(verdict)
}

/// Help or version, which clap would print without looking whether that worked.
fn print_help(help: &clap::Error) -> Result<(), Failure> {
    let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_none_or(|term| term == "dumb");
    let text = help.render();
    let text = match io::stdout().is_terminal() && !plain {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    print(text.as_bytes())
}

fn completions(shell: Shell) -> Result<(), Failure> {
    // Not to stdout at once: a write error would be a panic there.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kavka", &mut script);
    print(&script)
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = streams::out()?;
    out.write_all(text)?;
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
