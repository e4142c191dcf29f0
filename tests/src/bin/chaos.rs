//! Kills, stops and restarts the brokers of a real cluster and adds partitions to its topic under
//! load, writes the history and judges it: `chaos --version 4.4.0 --nodes 3 --minutes 10`.
//!
//! Exit code 1 with findings.

use core::time::Duration;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kavka_tests::chaos::{self, Plan};
use kavka_tests::kafka::{Cluster, Spec, Version};

#[derive(Parser)]
#[command(about = "Trouble for a real Kafka cluster under load, and what kavka made of it")]
struct Options {
    /// 4.4.0, 3.9.2, 3.2.3, 2.8.2 or 2.4.1.
    #[arg(long, default_value = "4.4.0")]
    version: Version,
    /// Brokers.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Minutes during which faults occur.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Records a second of each of the three producers.
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// Seed of the faults and their times; random and printed by default.
    #[arg(long)]
    seed: Option<u64>,
    /// File of the history.
    #[arg(long, default_value = "chaos.jsonl")]
    history: PathBuf,
}

fn main() -> Result<ExitCode, Box<dyn core::error::Error>> {
    let Options { version, nodes, minutes, rate, seed, history } = Options::parse();
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let spec = Spec::new(version, nodes);
    println!("--seed {seed}: {minutes} minutes of {spec}, history in {}", history.display());
    let cluster = Cluster::start(spec)?;
    let length = Duration::try_from_secs_f64(minutes * 60.0)?;
    let outcome = chaos::run(&cluster, &Plan { seed, length, rate, history })?;
    println!("{outcome}");
    Ok(if outcome.report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
