//! Places drawn at random: how many of them do the tests catch?

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::reasons::{Reasons, row};
use super::sites::{Site, sites};
use super::suites::{End, Message, Suite, built, cargo};
use super::tree::{CRATES, Tree, sources};
use super::{Options, root};

/// Per cent of the noticeable mutants that must be caught.
const BAR: f64 = 96.0;
/// The packages with sites, and the one that tests them.
const PACKAGES: [&str; 3] = ["kavka-core", "kavka-std", "kavka-tests"];
/// Suites with real brokers, one that checks the sources, and one that counts allocations: reading
/// which mutant is on allocates.
const LEFT_OUT: [&str; 4] = ["kafka_suite", "kafka_launcher", "tidy", "memory"];
/// Not part of the libraries: stand-ins, hooks for builds like this one, and the command.
const NOT_MEANT: [&str; 4] = ["/absent/", "/guard.rs", "/rare.rs", "/bin/"];
/// Factor by which a suite may be slower than without a mutant before it counts as hung.
const SLOWER: u32 = 4;
const LONGER: Duration = Duration::from_secs(20);
/// Time limit of a suite that was not measured yet.
const PATIENCE: Duration = Duration::from_secs(600);

/// A suite, how long it takes, and which sites it reaches.
struct Known {
    suite: Suite,
    took: Duration,
    reaches: BTreeSet<usize>,
}

/// The outcome of the mutants.
#[derive(Default)]
struct Tally<'a> {
    caught: usize,
    equivalent: usize,
    survivors: Vec<(usize, &'a Site)>,
    uncompilable: usize,
}

pub(crate) fn run(options: &Options, count: usize) -> ExitCode {
    let drawn = draw(&all(options), count, options.seed);
    let mut numbered: Vec<(usize, &Site)> = (1..).zip(&drawn).collect();
    if options.list {
        numbered.iter().for_each(|(number, site)| println!("{}", line(*number, site)));
        return ExitCode::SUCCESS;
    }
    let reasons = Reasons::read(&root());
    let target = root().join("target/mutants");
    let mut tree = Tree::copy(&root(), target.join("tree"));
    let mut tally = Tally::default();
    let suites = build(&mut tree, &mut numbered, &mut tally);
    let Some(known) = measure(&suites, &numbered, &target.join("reached")) else {
        return ExitCode::FAILURE;
    };
    let begun = Instant::now();
    numbered.retain(|(number, _)| options.only.is_empty() || options.only.contains(number));
    let total = numbered.len();
    for (done, (number, site)) in (1..).zip(numbered) {
        let since = Instant::now();
        let by = caught_by(&known, number);
        let fate = match (&by, reasons.why(site)) {
            (Ok(by), _) => by.clone(),
            (Err(_), Some(why)) => format!("equivalent: {why}"),
            (Err(tried), None) => format!("SURVIVED {tried} suites"),
        };
        let took = since.elapsed().as_secs_f32();
        println!("[{done}/{total}] {}: {fate} ({took:.1} s)", line(number, site));
        match (by, reasons.why(site)) {
            (Ok(_), _) => tally.caught += 1,
            (Err(_), Some(_)) => tally.equivalent += 1,
            (Err(_), None) => tally.survivors.push((number, site)),
        }
    }
    let rows: String = tally.survivors.iter().map(|(_, site)| row(site) + " |\n").collect();
    fs::write(target.join("survivors.md"), rows).expect("the survivors are written");
    close(&tally, count, options.seed, begun.elapsed())
}

/// Returns all sites of the two libraries, in the order of their files.
fn all(options: &Options) -> Vec<Site> {
    let files = CRATES.iter().flat_map(|folder| sources(&root(), folder));
    let wanted = |path: &str| {
        !NOT_MEANT.iter().any(|part| path.contains(part))
            && options.name.as_ref().is_none_or(|name| path.contains(name))
    };
    files.filter(|(path, _)| wanted(path)).flat_map(|(path, text)| sites(&path, &text)).collect()
}

/// Draws `count` of them, in their order.
fn draw(all: &[Site], count: usize, seed: u64) -> Vec<Site> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut chosen = random.choose_multiple(0..all.len(), count);
    chosen.sort_unstable();
    println!("{} of {} places, seed {seed}", chosen.len(), all.len());
    chosen.into_iter().map(|at| all[at].clone()).collect()
}

fn line(number: usize, site: &Site) -> String {
    let Site { path, line, function, change, .. } = site;
    format!("{number} {path}:{line} {function}: {change}")
}

/// Builds the suites with all sites; those that do not compile are removed.
fn build<'a>(
    tree: &mut Tree,
    sites: &mut Vec<(usize, &'a Site)>,
    tally: &mut Tally<'a>,
) -> Vec<Suite> {
    let target = root().join("target/mutants/build");
    let packages = PACKAGES.iter().flat_map(|package| ["-p".to_owned(), (*package).to_owned()]);
    let packages: Vec<String> = packages.collect();
    // The libraries first: their errors are found at once.
    let check = ["check", "--lib"].map(str::to_owned).into_iter().chain(packages.clone());
    let mut test: Vec<String> = ["test", "--no-run", "--lib"].map(str::to_owned).to_vec();
    for name in test_targets() {
        test.extend(["--test".to_owned(), name]);
    }
    test.extend(packages);
    let check: Vec<String> = check.collect();
    loop {
        tree.switch(sites);
        let (good, messages) = cargo(&tree.root, (&target, ""), &check);
        if !good {
            drop_blamed(tree, &messages, sites, tally);
            continue;
        }
        println!("{} places compile; building the suites", sites.len());
        let (good, messages) = cargo(&tree.root, (&target, ""), &test);
        if good {
            return built(&messages);
        }
        drop_blamed(tree, &messages, sites, tally);
    }
}

fn drop_blamed<'a>(
    tree: &Tree,
    messages: &[Message],
    sites: &mut Vec<(usize, &'a Site)>,
    tally: &mut Tally<'a>,
) {
    let blamed = tree.blamed(messages);
    assert!(!blamed.is_empty(), "the copy does not compile, and no site is to blame");
    for (number, site) in sites.extract_if(.., |(number, _)| blamed.contains(number)) {
        println!("{}: does not compile", line(number, site));
        tally.uncompilable += 1;
    }
}

/// Returns integration tests of this package that run without real brokers.
fn test_targets() -> BTreeSet<String> {
    let folder = root().join("tests/tests");
    let entries = fs::read_dir(folder).expect("suites").map(|entry| entry.expect("an entry"));
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names = names.map(|name| name.trim_end_matches(".rs").to_owned());
    names.filter(|name| !LEFT_OUT.contains(&name.as_str())).collect()
}

/// Runs every suite without a mutant: cheap ones come first, and a suite is not run for sites that
/// it does not reach. `None`: one of them fails.
fn measure(suites: &[Suite], sites: &[(usize, &Site)], note: &Path) -> Option<Vec<Known>> {
    let mut known = Vec::new();
    for suite in suites {
        let mut since = Instant::now();
        let mut reaches = reached(suite, note);
        if reaches.is_none() {
            // Recording the sites takes time and memory, which may disturb a test.
            since = Instant::now();
            if let End::Test(what) | End::Other(what) = suite.run(&[], PATIENCE) {
                eprintln!("{}: {what} fails without a mutant", suite.name);
                return None;
            }
            reaches = Some(sites.iter().map(|(number, _)| *number).collect());
        }
        let took = since.elapsed();
        let reaches = reaches.unwrap_or_default();
        println!("{}: {:.1} s, {} places", suite.name, took.as_secs_f32(), reaches.len());
        known.push(Known { suite: suite.clone(), took, reaches });
    }
    known.sort_by_key(|known| known.took);
    Some(known)
}

/// Returns the sites that a suite reaches; `None`: it failed.
fn reached(suite: &Suite, note: &Path) -> Option<BTreeSet<usize>> {
    let _ = fs::remove_file(note); // of the previous suite
    let path = note.to_string_lossy();
    let env = [("KAVKA_MUTANT", "reached"), ("KAVKA_MUTANTS_REACHED", &*path)];
    let good = suite.run(&env, PATIENCE) == End::Good;
    let text = fs::read_to_string(note).unwrap_or_default();
    good.then(|| text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Returns which test catches the mutant, or how many suites ran and did not.
fn caught_by(known: &[Known], number: usize) -> Result<String, usize> {
    let number_text = number.to_string();
    let env = [("KAVKA_MUTANT", number_text.as_str())];
    let reaching = known.iter().filter(|known| known.reaches.contains(&number));
    let mut tried = 0;
    for Known { suite, took, .. } in reaching {
        let patience = *took * SLOWER + LONGER;
        let end = suite.run(&env, patience);
        if suite.fails_again(&end, &env, patience)
            && let End::Test(what) | End::Other(what) = end
        {
            return Ok(format!("{}: {what}", suite.name));
        }
        tried += 1;
    }
    Err(tried)
}

/// Prints the summary, which is the last line.
fn close(tally: &Tally<'_>, count: usize, seed: u64, took: Duration) -> ExitCode {
    let survived = tally.survivors.len();
    if survived > 0 {
        println!("\nno test misses these (target/mutants/survivors.md has them, too):");
        tally.survivors.iter().for_each(|(number, site)| println!("  {}", line(*number, site)));
        println!();
    }
    let noticeable = tally.caught + survived;
    let rate = 100.0 * tally.caught as f64 / noticeable.max(1) as f64;
    let good = noticeable == 0 || rate >= BAR;
    println!(
        "random {count}, seed {seed}: {} caught, {survived} survived, {} equivalent, \
         {} uncompilable, {} s; {rate:.1} % of {noticeable} noticeable (bar {BAR} %): {}",
        tally.caught,
        tally.equivalent,
        tally.uncompilable,
        took.as_secs(),
        if good { "reached" } else { "MISSED" },
    );
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
