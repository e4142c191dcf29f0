//! The command line.

use core::time::Duration;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use kavka_std::{Config, GroupProtocol, KeyOrder};
use kavka_tests::kafka::Version;

/// Produces and consumes while the topic gains partitions; reports how soon kavka notices, and
/// whether each record arrived exactly once and in order.
///
/// Without --bootstrap it runs against three simulated brokers on loopback TCP, which it starts
/// itself.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "drill",
    version,
    after_help = "Exit codes: 0 every record once and in order; 1 a record lost, duplicated,\n\
                  out of order or not acknowledged, a growth not noticed, or no cluster;\n\
                  2 wrong usage."
)]
pub(crate) struct Options {
    /// A real cluster, as host:port,host:port. The topic is deleted afterwards
    #[arg(short, long, value_name = "BROKERS")]
    pub(crate) bootstrap: Option<String>,
    /// Connect over TLS to brokers whose certificates this authority signed (PEM), and log in as
    /// the user of the tests' own clusters with SCRAM-SHA-256
    #[arg(long, value_name = "CA", requires = "bootstrap")]
    pub(crate) secure: Option<PathBuf>,
    /// Name of the topic, which must not exist yet [default: one that contains the seed]
    #[arg(short, long)]
    pub(crate) topic: Option<String>,
    /// Partitions at the start
    #[arg(
        long, default_value_t = 6, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub(crate) partitions: u32,
    /// Growths, each by one to three partitions
    #[arg(
        long, default_value_t = 20, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    pub(crate) grow: u32,
    /// Records a second
    #[arg(
        long, default_value_t = 1000, value_name = "RECORDS/S",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub(crate) rate: u32,
    /// Keys; every second record has one, 0: none has
    #[arg(
        long, default_value_t = 16, value_name = "N",
        value_parser = clap::value_parser!(u32).range(0..=1_000_000)
    )]
    pub(crate) keys: u32,
    /// Bytes of a value
    #[arg(
        long, default_value_t = 100, value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(28..=900_000)
    )]
    pub(crate) size: u32,
    /// Read as members of a consumer group, by this protocol
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub(crate) group: Option<Group>,
    /// Assignors of members by the classic protocol, the preferred one first [default:
    /// cooperative-sticky,range]
    #[arg(long, value_name = "NAMES", requires = "group")]
    pub(crate) assignors: Option<String>,
    /// Members of the group
    #[arg(
        long, default_value_t = 1, value_name = "N", requires = "group",
        value_parser = clap::value_parser!(u32).range(1..=100)
    )]
    pub(crate) members: u32,
    /// One more member, which joins and leaves all the time
    #[arg(long, requires = "group")]
    pub(crate) guest: bool,
    /// No traffic while partitions are added, until all clients have noticed
    #[arg(long)]
    pub(crate) idle: bool,
    /// Where the consumer begins in partitions that exist at the start
    #[arg(long, value_enum, default_value_t = Reset::Latest)]
    pub(crate) reset: Reset,
    /// Measure the order of each key instead, with producers of this policy; brokers are killed in
    /// between, where they are not given
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(crate) policy: Option<Policy>,
    /// Producers, which share the keys
    #[arg(
        long, default_value_t = 3, value_name = "N", requires = "policy",
        value_parser = clap::value_parser!(u32).range(1..=100)
    )]
    pub(crate) producers: u32,
    /// The topic is doubled; another one follows at 64 partitions
    #[arg(long, requires = "policy")]
    pub(crate) double: bool,
    /// Readers hold partitions that are added, as of SECONDS after the growth
    #[arg(long, value_name = "SECONDS", requires = "policy")]
    pub(crate) ordered_growth: Option<u32>,
    /// Start three real brokers of this version
    #[arg(
        long, value_name = "VERSION", requires = "policy", conflicts_with = "bootstrap",
        value_parser = version
    )]
    pub(crate) kafka: Option<Version>,
    /// Seed of when and by how much the topic grows [default: random]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// A short run for continuous integration: four growths
    #[arg(long, conflicts_with = "grow")]
    pub(crate) quick: bool,
    /// Write the results as JSON; with - to the standard output, which then has nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Which partition a key goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// By the number that is known.
    Follow,
    /// The same, after what was sent before is settled.
    Drain,
    /// By the number at the start.
    Pin,
}

impl Policy {
    /// Returns it, of a topic that begins with so many partitions.
    pub(crate) fn order(self, partitions: u32) -> KeyOrder {
        match self {
            Self::Follow => KeyOrder::Follow,
            Self::Drain => KeyOrder::Drain,
            Self::Pin => KeyOrder::Pin(partitions),
        }
    }

    /// Whether no order of a key is promised.
    pub(crate) fn is_follow(self) -> bool {
        self == Self::Follow
    }
}

fn version(text: &str) -> Result<Version, String> {
    let known = Version::ALL.into_iter().find(|version| version.as_str() == text);
    known.ok_or_else(|| "no version that the launcher has".to_owned())
}

/// `auto.offset.reset` of other clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reset {
    /// The first record.
    Earliest,
    /// The end of the log; a partition that is added later is read from its first record.
    Latest,
}

/// `group.protocol` of other clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// KIP-848.
    Consumer,
    /// JoinGroup and SyncGroup.
    Classic,
}

impl Group {
    /// Returns the name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Classic => "classic",
        }
    }

    /// Has a consumer speak this protocol.
    pub(crate) fn apply(self, config: Config) -> Config {
        config.group_protocol(match self {
            Self::Consumer => GroupProtocol::Consumer,
            Self::Classic => GroupProtocol::Classic,
        })
    }
}

impl Reset {
    /// Returns the name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Earliest => "earliest",
            Self::Latest => "latest",
        }
    }
}

impl Options {
    /// Returns the growths in this run.
    pub(crate) fn growths(&self) -> u32 {
        if self.quick { 4 } else { self.grow }
    }

    /// Returns whether JSON goes to the standard output, which excludes the table.
    pub(crate) fn json_alone(&self) -> bool {
        self.json.as_ref().is_some_and(|file| file.as_os_str() == "-")
    }

    /// Returns the longest time for a growth to be noticed and for new partitions to be used.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(if self.quick { 10 } else { 30 })
    }
}
