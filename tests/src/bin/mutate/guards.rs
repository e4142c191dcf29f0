//! Named lines: each `guard!` in the sources of the core is switched off, one at a time.

use std::collections::BTreeSet;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::suites::{End, Suite, built, cargo};
use super::{Options, root};

/// Suites; those that catch most in the least time come first.
const SUITES: [&str; 12] = [
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
    "secrets",
];
/// Time limit of a suite: one that takes longer loops forever.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn run(options: &Options) -> ExitCode {
    let wanted = |name: &String| options.name.as_ref().is_none_or(|part| name.contains(part));
    let guards: Vec<String> = guards().into_iter().filter(wanted).collect();
    let suites = build();
    let begun = Instant::now();
    if let Some(by) = caught_by(&suites, "") {
        eprintln!("{by} fails with all guards on");
        return ExitCode::FAILURE;
    }
    let mut rows = Vec::new();
    for guard in &guards {
        let since = Instant::now();
        let by = caught_by(&suites, guard);
        let seen = by.as_deref().unwrap_or("SURVIVED");
        println!("{guard}: {seen} ({:.1} s)", since.elapsed().as_secs_f32());
        rows.push((guard.as_str(), by));
    }
    let caught = rows.iter().filter(|(_, by)| by.is_some()).count();
    let took = begun.elapsed().as_secs();
    println!("{caught} of {} caught, {took} s", rows.len());
    if options.write && options.name.is_none() {
        let path = root().join("tests/MUTATION.md");
        fs::write(path, page(&rows, took)).expect("the page is written");
    }
    if caught == rows.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns the names of all guards in the sources of the core.
fn guards() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, text) in super::tree::sources(&root(), "core/src") {
        if !path.ends_with("/guard.rs") {
            let names = text.split("guard!(").skip(1).filter_map(|rest| rest.split('"').nth(1));
            found.extend(names.map(str::to_owned));
        }
    }
    found
}

/// Builds the suites with guards that can be switched off.
fn build() -> Vec<Suite> {
    let mut arguments: Vec<String> =
        ["test", "-p", "kavka-tests", "--no-run"].map(str::to_owned).to_vec();
    for suite in SUITES {
        arguments.extend(["--test".to_owned(), suite.to_owned()]);
    }
    let (good, messages) =
        cargo(&root(), (&root().join("target/mutants"), "--cfg kavka_mutants"), &arguments);
    assert!(good, "the suites cannot be built");
    let built = built(&messages);
    let suite = |name: &str| {
        let found = built.iter().find(|suite| suite.name == name);
        found.unwrap_or_else(|| panic!("{name} was not built")).clone()
    };
    SUITES.iter().map(|name| suite(name)).collect()
}

/// Runs the suites up to the first failing test.
fn caught_by(suites: &[Suite], guard: &str) -> Option<String> {
    suites.iter().find_map(|suite| match suite.run(&[("KAVKA_MUTANT", guard)], PATIENCE) {
        End::Good => None,
        End::Test(what) | End::Other(what) => Some(format!("{}: {what}", suite.name)),
    })
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
