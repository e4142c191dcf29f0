//! Places drawn at random: how many of them do the tests catch?
//!
//! All places get their switch, so that nothing is built again for another draw.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::reach::{Known, measure};
use super::reasons::{Reasons, row};
use super::sites::{Site, sites};
use super::suites::{End, Suite, built, cargo};
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
const NOT_MEANT: [&str; 4] = ["/absent", "/guard.rs", "/rare.rs", "/bin/"];
/// The tests that reach a mutant are run in these steps, by how long each of them takes.
const STEPS: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(300), Duration::from_secs(2), Duration::MAX];
/// Factor by which tests may be slower than without a mutant before they count as hung.
const SLOWER: u32 = 4;
const LONGER: Duration = Duration::from_secs(15);

/// The outcome of the mutants.
#[derive(Default)]
struct Tally<'a> {
    caught: usize,
    equivalent: usize,
    survivors: Vec<(usize, &'a Site)>,
    uncompilable: usize,
}

/// A site and its number, from 1.
type Numbered<'a> = (usize, &'a Site);

pub(crate) fn run(options: &Options, count: usize) -> ExitCode {
    let all = all();
    let mut drawn = draw(&of_name(options, &all), count, options.seed);
    drawn.retain(|(number, _)| options.only.is_empty() || options.only.contains(number));
    if options.list {
        drawn.iter().for_each(|(number, site)| println!("{}", line(*number, site)));
        return ExitCode::SUCCESS;
    }
    let reasons = Reasons::read(&root());
    let (compiled, known) = prepare(&all);
    let mut tally = Tally::default();
    let begun = Instant::now();
    let total = drawn.len();
    for (done, (number, site)) in (1..).zip(drawn) {
        let since = Instant::now();
        if !compiled.contains(&number) {
            println!("[{done}/{total}] {}: does not compile", line(number, site));
            tally.uncompilable += 1;
            continue;
        }
        let by = caught_by(&known, number);
        let fate = match (&by, reasons.why(site)) {
            (Ok(by), _) => by.clone(),
            (Err(_), Some(why)) => format!("equivalent: {why}"),
            (Err(tried), None) => format!("SURVIVED {tried} tests"),
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
    fs::write(root().join("target/mutants/survivors.md"), rows).expect("survivors are written");
    close(&tally, count, options.seed, begun.elapsed())
}

/// Lists the places that no test reaches.
pub(crate) fn unreached(options: &Options) -> ExitCode {
    let all = all();
    let reasons = Reasons::read(&root());
    let (compiled, known) = prepare(&all);
    let reached = |number| known.iter().any(|known| known.reaches(number));
    let mut places = of_name(options, &all);
    places.retain(|(number, _)| compiled.contains(number));
    let total = places.len();
    places.retain(|(number, site)| !reached(*number) && reasons.why(site).is_none());
    places.iter().for_each(|(number, site)| println!("{}", line(*number, site)));
    println!("{} of {total} places are reached by no test", places.len());
    ExitCode::SUCCESS
}

/// Builds the suites with all sites and measures them. Returns the numbers of the sites that
/// compile, and the tests.
fn prepare(all: &[Site]) -> (BTreeSet<usize>, Vec<Known>) {
    let target = root().join("target/mutants");
    let mut tree = Tree::copy(&root(), target.join("tree"));
    let mut numbered: Vec<Numbered<'_>> = (1..).zip(all).collect();
    let suites = build(&mut tree, &mut numbered);
    let known = measure(&suites, &target.join("reached"));
    (numbered.into_iter().map(|(number, _)| number).collect(), known)
}

/// Returns all sites of the two libraries, in the order of their files.
fn all() -> Vec<Site> {
    let files = CRATES.iter().flat_map(|folder| sources(&root(), folder));
    let wanted = |path: &str| !NOT_MEANT.iter().any(|part| path.contains(part));
    files.filter(|(path, _)| wanted(path)).flat_map(|(path, text)| sites(&path, &text)).collect()
}

/// Returns the sites in files with the name of the options, with their numbers.
fn of_name<'a>(options: &Options, all: &'a [Site]) -> Vec<Numbered<'a>> {
    let wanted = |site: &Site| options.name.as_ref().is_none_or(|name| site.path.contains(name));
    (1..).zip(all).filter(|(_, site)| wanted(site)).collect()
}

/// Draws `count` of them, in their order.
fn draw<'a>(all: &[Numbered<'a>], count: usize, seed: u64) -> Vec<Numbered<'a>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut chosen = random.choose_multiple(0..all.len(), count);
    chosen.sort_unstable();
    println!("{} of {} places, seed {seed}", chosen.len(), all.len());
    chosen.into_iter().map(|at| all[at]).collect()
}

fn line(number: usize, site: &Site) -> String {
    let Site { path, line, function, change, .. } = site;
    format!("{number} {path}:{line} {function}: {change}")
}

/// Builds the suites with all sites; those that do not compile are removed.
fn build(tree: &mut Tree, sites: &mut Vec<Numbered<'_>>) -> Vec<Suite> {
    // Not that of the workspace: packages of the same name would be taken for the same.
    let target = root().join("target/mutants/build");
    let packages = PACKAGES.iter().flat_map(|package| ["-p".to_owned(), (*package).to_owned()]);
    let packages: Vec<String> = packages.collect();
    let mut test: Vec<String> = ["test", "--no-run", "--lib"].map(str::to_owned).to_vec();
    for name in test_targets().into_iter().chain(["command".to_owned()]) {
        test.extend(["--test".to_owned(), name]);
    }
    test.extend(packages);
    let mut broken = Broken::read();
    sites.retain(|(_, site)| !broken.has(tree, site));
    loop {
        tree.switch(sites);
        let (good, messages) = cargo(&tree.root, (&target, ""), &test);
        if good {
            return built(&messages);
        }
        let blamed = tree.blamed(&messages);
        assert!(!blamed.is_empty(), "the copy does not compile, and no site is to blame");
        for (_, site) in sites.extract_if(.., |(number, _)| blamed.contains(number)) {
            broken.0.insert(Broken::key(tree, site));
        }
        broken.write();
        println!("{} places do not compile; {} left", blamed.len(), sites.len());
    }
}

/// Sites that do not compile, kept as long as their file is the same.
struct Broken(BTreeSet<String>);

impl Broken {
    const FILE: &str = "target/mutants/uncompilable";

    fn read() -> Self {
        let text = fs::read_to_string(root().join(Self::FILE)).unwrap_or_default();
        Self(text.lines().map(str::to_owned).collect())
    }

    fn key(tree: &Tree, site: &Site) -> String {
        let mut hasher = DefaultHasher::new();
        tree.original(&site.path).hash(&mut hasher);
        format!("{:x} {:?} {} {}", hasher.finish(), site.range, site.path, site.change)
    }

    fn has(&self, tree: &Tree, site: &Site) -> bool {
        self.0.contains(&Self::key(tree, site))
    }

    fn write(&self) {
        let text: String = self.0.iter().flat_map(|line| [line, "\n"]).collect();
        fs::write(root().join(Self::FILE), text).expect("it is written");
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

/// Returns which test catches the mutant, or how many tests ran and did not. Quick ones come first.
fn caught_by(known: &[Known], number: usize) -> Result<String, usize> {
    let number_text = number.to_string();
    let env = [("KAVKA_MUTANT", number_text.as_str())];
    let reaching: Vec<&Known> = known.iter().filter(|known| known.reaches(number)).collect();
    let mut from = Duration::ZERO;
    for step in STEPS {
        let step_of = |known: &&&Known| (from..step).contains(&known.took);
        let tests: Vec<&Known> = reaching.iter().filter(step_of).copied().collect();
        let mut suites: Vec<(Duration, Vec<&Known>)> = tests
            .chunk_by(|a, b| a.suite.name == b.suite.name)
            .map(|tests| (tests.iter().map(|known| known.took).sum(), tests.to_vec()))
            .collect();
        suites.sort_by_key(|(took, _)| *took);
        for (took, tests) in suites {
            if let Some(test) = fails(&tests, &env, took * SLOWER + LONGER) {
                return Ok(test);
            }
        }
        from = step;
    }
    Err(reaching.len())
}

/// Runs tests of one suite; returns which of them fails, and does again: a test that fails at
/// random says nothing about a mutant.
fn fails(tests: &[&Known], env: &[(&str, &str)], patience: Duration) -> Option<String> {
    let suite = &tests.first()?.suite;
    let names: Vec<&str> = tests.iter().map(|known| known.test.as_str()).collect();
    match suite.run_only(&names, env, patience) {
        End::Good => None,
        End::Other(what) => Some(format!("{}: {what}", suite.name)),
        End::Test(what) => {
            let again = suite.run_only(&[&what], env, patience) != End::Good
                || suite.run_only(&names, env, patience) != End::Good;
            again.then(|| format!("{}: {what}", suite.name))
        }
    }
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
