//! Loads that made clients fail before: what each costs now, beside the bar that it must not
//! exceed.
//!
//! `cargo run --release -p kavka-tests --bin load -- all` runs all of them, a name runs one. Each
//! prints one line; a load that exceeds its bar ends this with status 1.
//!
//! Each load runs in a process of its own, so that none measures what another left in memory.

mod few_slots;
mod growth;
mod hold;
mod many_names;
mod measure;
mod missing_topic;
mod one_record;
mod reconnects;
mod slow_consumer;
mod stalled;
mod waiters;

use std::process::{Command, ExitCode};

use clap::Parser;

use measure::Outcome;

/// A load: its number, its name, and how it is run.
type Row = (u8, &'static str, fn() -> Outcome);

const ROWS: [Row; 10] = [
    (1, "missing-topic", missing_topic::run),
    (2, "slow-consumer", slow_consumer::run),
    (3, "stalled", stalled::run),
    (4, "one-record", one_record::run),
    (6, "few-slots", few_slots::run),
    (9, "many-names", many_names::run),
    (11, "growth", growth::run),
    (13, "hold", hold::run),
    (15, "waiters", waiters::run),
    (18, "reconnects", reconnects::run),
];

#[derive(Parser)]
#[command(
    about = "Loads that broke clients before, and what they cost now",
    after_help = "Exit codes: 0 every load kept its bar; 1 one did not; 2 wrong usage or no result."
)]
struct Options {
    /// Names or numbers of loads, or `all`.
    #[arg(required = true, value_parser = which)]
    rows: Vec<Vec<u8>>,
}

/// Returns the numbers that a name stands for.
fn which(text: &str) -> Result<Vec<u8>, String> {
    let named = |row: &&Row| text == "all" || text == row.1 || text == row.0.to_string();
    let found: Vec<u8> = ROWS.iter().filter(named).map(|row| row.0).collect();
    if found.is_empty() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.1).collect();
        return Err(format!("all, or one of {}", names.join(", ")));
    }
    Ok(found)
}

fn main() -> ExitCode {
    let rows: Vec<u8> = Options::parse().rows.concat();
    let worst = match rows[..] {
        [row] => here(row),
        _ => rows.iter().map(|row| apart(*row)).max().unwrap_or(0),
    };
    ExitCode::from(worst)
}

/// Runs a load in a process of its own.
fn apart(row: u8) -> u8 {
    let run = || Command::new(std::env::current_exe()?).arg(row.to_string()).status();
    match run() {
        Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2),
        Err(error) => {
            eprintln!("load {row}: {error}");
            2
        }
    }
}

fn here(number: u8) -> u8 {
    let Some((_, name, run)) = ROWS.iter().find(|row| row.0 == number) else { return 2 };
    match run() {
        Ok(figure) => {
            let verdict = if figure.kept { "ok" } else { "SHORT" };
            println!("{number:>2} {name:<14} {verdict:<6} {figure}");
            u8::from(!figure.kept)
        }
        Err(error) => {
            println!("{number:>2} {name:<14} FAILED {error}");
            2
        }
    }
}
