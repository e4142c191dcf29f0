//! The command line.

use core::ops::Range;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use kavka_tests::sim::swarm::Loads;

const LOADS: [&str; 8] = ["wide", "slow", "stalled", "missing", "racks", "codecs", "old", "logins"];

/// Runs kavka's clients in virtual time against a simulated cluster. A seed decides everything.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "simulate",
    version,
    after_help = "Exit codes: 0 nothing wrong was seen; 1 something was; 2 wrong usage.\n\n\
        Built with RUSTFLAGS='--cfg kavka_rare', clients take rare branches on purpose: a seed is \
        another run there."
)]
pub(crate) struct Options {
    /// One run
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Runs from N to M - 1 [default: from a random seed on, until --seconds or 1000 runs]
    #[arg(long, value_name = "N..M", value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Start no run after this many seconds
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<u64>,
    /// Write the history to this file, in the format of `checker`
    #[arg(long, value_name = "FILE", requires = "seed")]
    pub(crate) history: Option<PathBuf>,
    /// Print every step
    #[arg(long)]
    pub(crate) trace: bool,
    /// Stop after this many failed runs
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) failures: usize,
    /// Report bytes that are fetched and neither taken nor lost as a finding
    #[arg(long)]
    pub(crate) strict_fetch: bool,
    /// Do not draw these loads: wide, slow, stalled, missing, racks, codecs, old, logins
    #[arg(long, value_delimiter = ',', value_name = "LOADS", value_parser = LOADS)]
    without: Vec<String>,
    /// Run this instead
    #[arg(long, value_enum, conflicts_with_all = ["history", "strict_fetch", "without"])]
    kind: Option<Kind>,
    /// The same as --kind groups
    #[arg(long, conflicts_with_all = ["history", "strict_fetch", "without", "kind"])]
    groups: bool,
    /// The same as --kind patterns
    #[arg(long, conflicts_with_all = ["history", "strict_fetch", "without", "kind", "groups"])]
    patterns: bool,
    /// The same as --kind copies
    #[arg(long, conflicts_with_all = ["history", "strict_fetch", "without", "kind", "groups",
        "patterns"])]
    copies: bool,
    /// Print only failures and the sum
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Simulators of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Consumer groups
    Groups,
    /// Consumer groups whose members subscribe by regular expressions
    Patterns,
    /// Exactly-once copies
    Copies,
    /// Readers of what is committed
    Committed,
    /// Producers of keys while a topic grows
    Keys,
    /// Readers of keys while a topic grows
    Ordered,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::Patterns => "patterns",
            Self::Copies => "copies",
            Self::Committed => "committed",
            Self::Keys => "keys",
            Self::Ordered => "ordered",
        }
    }
}

impl Options {
    pub(crate) fn kind(&self) -> Option<Kind> {
        let short = [
            (self.groups, Kind::Groups),
            (self.patterns, Kind::Patterns),
            (self.copies, Kind::Copies),
        ];
        self.kind.or_else(|| short.into_iter().find(|(on, _)| *on).map(|(_, kind)| kind))
    }

    pub(crate) fn loads(&self) -> Loads {
        let on = |name: &str, default: bool| default && !self.without.iter().any(|o| o == name);
        let all = Loads::default();
        Loads {
            wide: on("wide", all.wide),
            slow: on("slow", all.slow),
            stalled: on("stalled", all.stalled),
            missing: on("missing", all.missing),
            racks: on("racks", all.racks),
            codecs: on("codecs", all.codecs),
            old: on("old", all.old),
            logins: on("logins", all.logins),
        }
    }

    pub(crate) fn seeds(&self) -> Range<u64> {
        if let Some(seed) = self.seed {
            return seed..seed.saturating_add(1);
        }
        self.seeds.clone().unwrap_or_else(|| {
            let first = fastrand::u64(0..1 << 40);
            first..first + if self.seconds.is_some() { u64::MAX >> 20 } else { 1000 }
        })
    }
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("two numbers, as in 1..300")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let range = number(from)?..number(to)?;
    if range.is_empty() { Err("the second number is the larger one".to_owned()) } else { Ok(range) }
}
