//! Measures what the suites catch: breaks one line at a time and runs them until a test fails.
//!
//! `cargo run -p kavka-tests --bin mutate` switches off the guards of the core (`guard!` in its
//! sources), all of them or those with a name; `--write` also writes `tests/MUTATION.md`. If no
//! test catches a guard, it ends with status 1.
//!
//! `mutate --random 100 --seed 1` draws a hundred places of `core/src` and `io-std/src`, and ends
//! with status 1 when the tests catch fewer than 96 % of them. Those that survive for a reason are
//! listed in `tests/MUTATION-random.md`. `mutate --unreached` lists the places that no test
//! executes: what is wrong there nobody can notice.

mod active;
mod guards;
mod random;
mod reach;
mod reasons;
mod sites;
mod suites;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Breaks one line of the client after the other: does a test notice?")]
struct Options {
    /// Only guards whose name contains this; places whose file does.
    name: Option<String>,
    /// Write tests/MUTATION.md.
    #[arg(long, conflicts_with = "random")]
    write: bool,
    /// Only guards that are not in tests/MUTATION.md yet; the rows of the others are kept.
    #[arg(long, conflicts_with = "random")]
    new: bool,
    /// Number of places, drawn at random.
    #[arg(long)]
    random: Option<usize>,
    /// Seed of the draw.
    #[arg(long, default_value_t = 1, requires = "random")]
    seed: u64,
    /// Only these of the drawn ones, by number: `3,17`.
    #[arg(long, requires = "random", value_delimiter = ',')]
    only: Vec<usize>,
    /// Only list them.
    #[arg(long, requires = "random")]
    list: bool,
    /// List the places that no test reaches.
    #[arg(long, conflicts_with = "random")]
    unreached: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match options.random {
        Some(count) => random::run(&options, count),
        None if options.unreached => random::unreached(&options),
        None => guards::run(&options),
    }
}

/// Returns the folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it lies in the workspace").to_path_buf()
}
