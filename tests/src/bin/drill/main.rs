//! Measures how soon kavka notices growth, and whether records are lost over it.
//!
//! `cargo run --release --bin drill` needs nothing else: it starts three simulated brokers on
//! loopback TCP. `--bootstrap` does the same with a real cluster. `--help` lists the options.

mod book;
mod keys;
mod load;
mod options;
mod readers;
mod report;
mod run;
mod secure;
mod state;
mod watch;

use std::fs;
use std::process::ExitCode;

use clap::Parser;

use options::Options;
use report::Report;
use state::Shared;

fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(0..1 << 32));
    if options.policy.is_some() {
        return match keys::run(&options, seed) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("drill: {error} (seed {seed})");
                ExitCode::FAILURE
            }
        };
    }
    // Number of our records and of the topic: unlike the seed, it differs in each run.
    let id = fastrand::u64(..);
    let shared = Shared::new(id);
    let outcome = match run::run(&options, seed, &shared, id) {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!("drill: {error} (seed {seed})");
            return ExitCode::FAILURE;
        }
    };
    let report = Report::new(&options, &outcome, &shared);
    if !options.json_alone() {
        report.print();
    }
    if let Some(file) = &options.json {
        let text = format!("{:#}\n", report.json());
        if options.json_alone() {
            print!("{text}");
        } else if let Err(error) = fs::write(file, text) {
            eprintln!("drill: {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
