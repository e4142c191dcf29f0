//! Does the suite see? Switches off the guards of the core one at a time (`guard!` in its sources)
//! and runs the suites until a test fails. A guard that no test misses ends this with status 1.
//!
//! `cargo run -p kavka-tests --bin mutate` runs all of them, with `--write` it writes
//! `tests/MUTATION.md`, too. A name, or a part of one, runs those alone.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;

/// Suites, those first that see most and take least.
const SUITES: [&str; 11] = [
    "scenarios",
    "machine_producer",
    "machine_consumer",
    "machine_cluster",
    "record_suite",
    "wire_vectors",
    "wire_schemas",
    "sim_client",
    "machine_admin",
    "machine_snapshot",
    "machine_connection",
];
/// Takes longer than all others together, and looks for panics only.
const SKIPPED: &str = "any_order_of_calls_is_legal";
/// A suite that takes longer was sent into a loop.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Parser)]
#[command(about = "Switches off one guard of the core after the other: does a test notice?")]
struct Options {
    /// Only guards whose name has this in it.
    name: Option<String>,
    /// Write tests/MUTATION.md.
    #[arg(long)]
    write: bool,
}

/// What became of a mutant.
enum Fate {
    Caught { suite: &'static str, test: String },
    Survived,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let wanted = |name: &String| options.name.as_ref().is_none_or(|part| name.contains(part));
    let guards: Vec<String> = guards().into_iter().filter(wanted).collect();
    let suites = build();
    let begun = Instant::now();
    if let Fate::Caught { suite, test } = fate(&suites, "") {
        eprintln!("{suite}: {test} fails with all guards on");
        return ExitCode::FAILURE;
    }
    let mut rows = Vec::new();
    for guard in &guards {
        let since = Instant::now();
        let caught_by = match fate(&suites, guard) {
            Fate::Caught { suite, test } => Some(format!("{suite}: {test}")),
            Fate::Survived => None,
        };
        let seen = caught_by.as_deref().unwrap_or("SURVIVED");
        println!("{guard}: {seen} ({:.1} s)", since.elapsed().as_secs_f32());
        rows.push((guard.as_str(), caught_by));
    }
    let caught = rows.iter().filter(|(_, by)| by.is_some()).count();
    let took = begun.elapsed().as_secs();
    println!("{caught} of {} caught, {took} s", rows.len());
    if options.write && options.name.is_none() {
        fs::write(tests().join("MUTATION.md"), page(&rows, took)).expect("the page is written");
    }
    if caught == rows.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tests() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names of all guards, from the sources of the core.
fn guards() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![tests().join("../core/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the core") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "guard.rs") {
                let text = fs::read_to_string(&path).expect("a source");
                let names = text.split("guard!(").skip(1).filter_map(|rest| rest.split('"').nth(1));
                found.extend(names.map(str::to_owned));
            }
        }
    }
    found
}

/// Builds the suites with guards that can be switched off; their executables.
fn build() -> Vec<(&'static str, PathBuf)> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "-p", "kavka-tests", "--no-run", "--message-format=json"]);
    SUITES.iter().for_each(|suite| {
        cargo.args(["--test", suite]);
    });
    cargo.current_dir(tests().join("..")).env("CARGO_TARGET_DIR", "target/mutants");
    cargo.env("RUSTFLAGS", "--cfg kavka_mutants");
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "the suites cannot be built");
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    let built: Vec<serde_json::Value> = messages.collect();
    let executable = |suite: &&'static str| {
        let mine = |m: &&serde_json::Value| m["target"]["name"] == **suite;
        let message = built.iter().find(|m| mine(m) && m["executable"].is_string());
        let path = message.and_then(|m| m["executable"].as_str());
        (*suite, PathBuf::from(path.unwrap_or_else(|| panic!("{suite} was not built"))))
    };
    SUITES.iter().map(executable).collect()
}

/// Runs the suites up to the first failing test.
fn fate(suites: &[(&'static str, PathBuf)], guard: &str) -> Fate {
    for (suite, path) in suites {
        if let Some(test) = first_failure(path, guard) {
            return Fate::Caught { suite, test };
        }
    }
    Fate::Survived
}

/// The first test of an executable that fails.
fn first_failure(path: &Path, guard: &str) -> Option<String> {
    let mut command = Command::new(path);
    command.args(["--skip", SKIPPED]);
    command.current_dir(tests()).env("KAVKA_MUTANT", guard).env("RUST_BACKTRACE", "0");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let (tell, told) = mpsc::channel();
    // Ends with the child, whose output it reads.
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let failed = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED"));
            if let Some(test) = failed
                && tell.send(test.to_owned()).is_err()
            {
                return;
            }
        }
    });
    let failure = match told.recv_timeout(PATIENCE) {
        Ok(test) => Some(test),
        Err(mpsc::RecvTimeoutError::Timeout) => Some(format!("no end after {PATIENCE:?}")),
        Err(mpsc::RecvTimeoutError::Disconnected) => None,
    };
    if failure.is_some() {
        child.kill().expect("it is ours");
    }
    let status = child.wait().expect("it ends");
    reader.join().expect("reads lines");
    failure.or_else(|| (!status.success()).then(|| format!("ended with {status}")))
}

fn page(rows: &[(&str, Option<String>)], took: u64) -> String {
    let mut page = format!(
        "# What the tests see\n\n\
         Written by `cargo run -p kavka-tests --bin mutate -- --write`: each guard of the core \
         (`guard!` in its sources)\nis switched off alone, and the suites run until a test fails. \
         The test named here is the one that failed first. This run took {took} s after the \
         build.\n\n\
         | switched off | caught by |\n| --- | --- |\n",
    );
    for (guard, by) in rows {
        let by = by.as_ref().map_or("nobody".to_owned(), |by| format!("`{by}`"));
        page += &format!("| {guard} | {by} |\n");
    }
    page
}
