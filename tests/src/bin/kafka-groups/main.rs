//! Measures consumer groups on real brokers: what is lost, read twice and late while brokers and
//! members restart, die and stop; how soon growth is read; what commits cost.
//!
//! `cargo run --release -p kavka-tests --bin kafka-groups -- --help` lists the commands.

mod commits;
mod delays;
mod growth;
mod log;
mod member;
mod restarts;
mod writer;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kavka_std::{Config, GroupProtocol, Start};
use kavka_tests::kafka::{Spec, Version};

type Failure = Box<dyn core::error::Error + Send + Sync>;

/// Measures consumer groups on real brokers.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Restarts, kills and stops of brokers and members, the topic growing in each phase.
    Restarts(restarts::Options),
    /// From growth to the first record of the last new partition, and how late old ones are then.
    Growth(growth::Options),
    /// Throughput with and without a group, and one commit of many partitions.
    Commits(commits::Options),
    /// A member, for `restarts`.
    #[command(hide = true)]
    Member(member::Options),
}

/// How members take part.
#[derive(Args, Clone, Debug)]
struct Kind {
    /// Protocol of the group.
    #[arg(long, value_enum, default_value_t = Protocol::Consumer)]
    protocol: Protocol,
    /// Assignors of a classic group.
    #[arg(long, default_value = "cooperative-sticky")]
    assignors: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    Consumer,
    Classic,
}

impl Kind {
    fn config(&self, bootstrap: &str, group: &str, start: Start) -> Config {
        let config = Config::new(bootstrap).group(group).start(start);
        match self.protocol {
            Protocol::Consumer => config.group_protocol(GroupProtocol::Consumer),
            Protocol::Classic => config
                .group_protocol(GroupProtocol::Classic)
                .session_timeout(SESSION)
                .group_assignors(self.assignors.as_str()),
        }
    }

    fn name(&self) -> String {
        match self.protocol {
            Protocol::Consumer => "KIP-848".to_owned(),
            Protocol::Classic => format!("classic, {}", self.assignors),
        }
    }
}

/// A member that is silent for so long is removed.
const SESSION: core::time::Duration = core::time::Duration::from_secs(6);

/// Returns brokers that wait as long for a member of KIP-848.
fn brokers(version: Version, nodes: usize) -> Spec {
    let spec = Spec::new(version, nodes);
    match version {
        Version::V3_9_2 | Version::V4_4_0 => spec.kip_848().session(SESSION),
        _ => spec,
    }
}

fn main() -> Result<(), Failure> {
    match Options::parse().command {
        Command::Restarts(options) => restarts::run(&options),
        Command::Growth(options) => growth::run(&options),
        Command::Commits(options) => commits::run(&options),
        Command::Member(options) => member::run(&options),
    }
}
