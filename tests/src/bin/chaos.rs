//! Kills, stops and restarts the brokers of a real cluster and adds partitions to its topic under
//! load, writes the history and judges it: `chaos --version 4.4.0 --nodes 3 --minutes 10`.
//!
//! Exit code 1 with findings.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kavka_tests::chaos::{self, Plan};
use kavka_tests::kafka::{Campaign, Cluster, Spec};

#[derive(Parser)]
#[command(about = "Trouble for a real Kafka cluster under load, and what kavka made of it")]
struct Options {
    #[command(flatten)]
    campaign: Campaign,
    /// File of the history.
    #[arg(long, default_value = "chaos.jsonl")]
    history: PathBuf,
}

fn main() -> Result<ExitCode, Box<dyn core::error::Error>> {
    let Options { mut campaign, history } = Options::parse();
    let seed = campaign.seed();
    let Campaign { version, nodes, minutes, rate, .. } = campaign;
    let spec = Spec::new(version, nodes);
    println!("--seed {seed}: {minutes} minutes of {spec}, history in {}", history.display());
    let cluster = Cluster::start(spec)?;
    let length = campaign.length()?;
    let outcome = chaos::run(&cluster, &Plan { seed, length, rate, history })?;
    println!("{outcome}");
    Ok(if outcome.report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
