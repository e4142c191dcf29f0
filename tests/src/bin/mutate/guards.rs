//! Named lines: each `guard!` in the sources of the core is switched off, one at a time.

use std::collections::BTreeSet;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::suites::{End, Suite, built, cargo};
use super::{Options, root};

/// Suites; those that catch most in the least time come first.
const SUITES: [&str; 25] = [
    "scenarios",
    "machine_producer",
    "machine_consumer",
    "machine_group",
    "machine_transaction",
    "machine_group_admin",
    "machine_assignors",
    "machine_cluster",
    "record_suite",
    "wire_vectors",
    "wire_schemas",
    "sim_client",
    "machine_admin",
    "machine_snapshot",
    "machine_connection",
    "machine_login",
    "sasl",
    "secrets",
    "secrets_memory",
    "codec_suite",
    "sim_ordered",
    "sim_committed",
    "sim_keys",
    "sim_groups",
    "sim_copies",
];
/// Time limit of a suite: one that takes longer loops forever.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn run(options: &Options) -> ExitCode {
    let page_path = root().join("tests/MUTATION.md");
    let known = if options.new {
        rows(&fs::read_to_string(&page_path).expect("the page"))
    } else {
        Vec::new()
    };
    let wanted = |name: &String| {
        options.name.as_ref().is_none_or(|part| name.contains(part))
            && known.iter().all(|(guard, _)| guard != name)
    };
    let names = guards();
    let guards: Vec<&String> = names.iter().filter(|name| wanted(name)).collect();
    let suites = build();
    let begun = Instant::now();
    if let Some(by) = caught_by(&suites, "") {
        eprintln!("{by} fails with all guards on");
        return ExitCode::FAILURE;
    }
    let mut found = Vec::new();
    for guard in guards {
        let since = Instant::now();
        let by = caught_by(&suites, guard);
        let seen = by.as_deref().unwrap_or("SURVIVED");
        println!("{guard}: {seen} ({:.1} s)", since.elapsed().as_secs_f32());
        found.push((guard.clone(), by));
    }
    let caught = found.iter().filter(|(_, by)| by.is_some()).count();
    println!("{caught} of {} caught, {} s", found.len(), begun.elapsed().as_secs());
    let all = caught == found.len();
    if options.write && options.name.is_none() {
        found.extend(known.into_iter().filter(|(guard, _)| names.contains(guard)));
        found.sort();
        fs::write(page_path, page(&found)).expect("the page is written");
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

/// Returns the rows of a page that [`page`] wrote.
fn rows(page: &str) -> Vec<(String, Option<String>)> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let ends = cells.filter_map(|(guard, rest)| Some((guard, rest.strip_suffix(" |")?)));
    ends.filter_map(|(guard, by)| {
        Some((guard.to_owned(), Some(by.strip_prefix('`')?.strip_suffix('`')?.to_owned())))
    })
    .collect()
}

fn page(rows: &[(String, Option<String>)]) -> String {
    let mut page = "# What the tests see\n\n\
         Written by `cargo run -p kavka-tests --bin mutate -- --write`: each guard of the core \
         (`guard!` in its sources)\nis switched off alone, and the suites run until a test fails. \
         The test named here is the one that failed first. With `--new`,\nonly guards that are \
         not in this table yet are switched off.\n\n\
         | switched off | caught by |\n| --- | --- |\n"
        .to_owned();
    for (guard, by) in rows {
        let by = by.as_ref().map_or("nobody".to_owned(), |by| format!("`{by}`"));
        page += &format!("| {guard} | {by} |\n");
    }
    page
}
