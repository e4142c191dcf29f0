//! Checks histories: prints a line for each finding, then one with what was read.
//!
//! Exit code 0 without findings, 1 with findings, 2 for a file that is no history.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use kavka_tests::checker::{self, Checker};

#[derive(Parser)]
#[command(about = "Finds what must not be in a history")]
struct Options {
    /// History files (JSON lines) of one run; a process's lines are all in one of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Milliseconds within which growth must be noticed, whatever the files say.
    #[arg(long, value_name = "MS")]
    growth_ms: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut checker = Checker::default();
    for path in &options.files {
        if let Err(error) = read(&mut checker, path) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    }
    if let Some(ms) = options.growth_ms {
        checker.growth_within(ms.saturating_mul(1000));
    }
    let report = checker.finish();
    println!("{report}");
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(checker: &mut Checker, path: &Path) -> std::io::Result<()> {
    checker::read(checker, BufReader::with_capacity(1 << 20, File::open(path)?))
}
