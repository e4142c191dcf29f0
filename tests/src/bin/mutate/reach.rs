//! Which test reaches which sites, and how long it takes. It is measured once for each build of a
//! suite, and kept in a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::suites::{End, Suite};

/// Time limit of a test that was not measured yet.
const PATIENCE: Duration = Duration::from_secs(300);
/// Tests that are measured at once. More would disturb those that measure time.
const AT_ONCE: usize = 2;
/// Tries of a test that fails; it is left out then.
const TRIES: usize = 3;

/// A test, how long it takes, and which sites it reaches.
pub(crate) struct Known {
    pub(crate) suite: Suite,
    pub(crate) test: String,
    pub(crate) took: Duration,
    reaches: Vec<usize>,
}

impl Known {
    pub(crate) fn reaches(&self, site: usize) -> bool {
        self.reaches.binary_search(&site).is_ok()
    }
}

/// By test: microseconds, sites in order.
type Tests = BTreeMap<String, (u64, Vec<usize>)>;

/// What is kept of a suite.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Of the build that was measured.
    version: String,
    tests: Tests,
}

/// Runs every test alone, without a mutant; a suite that was not built again since is read from
/// `folder`. A test that fails is left out.
pub(crate) fn measure(suites: &[Suite], folder: &Path) -> Vec<Known> {
    fs::create_dir_all(folder).expect("a folder");
    let mut known = Vec::new();
    for suite in suites {
        let file = folder.join(format!("{}.json", suite.name));
        let old = fs::read_to_string(&file).ok().and_then(|text| serde_json::from_str(&text).ok());
        let version = suite.version();
        let kept = old.filter(|old: &Kept| old.version == version).unwrap_or_else(|| {
            let since = Instant::now();
            let tests = measure_suite(suite, folder);
            let (took, count) = (since.elapsed().as_secs_f32(), tests.len());
            println!("{}: {count} tests, {took:.1} s", suite.name);
            let kept = Kept { version, tests };
            fs::write(&file, serde_json::to_string(&kept).expect("it is plain")).expect("written");
            kept
        });
        known.extend(kept.tests.into_iter().map(|(test, (micros, reaches))| Known {
            suite: suite.clone(),
            test,
            took: Duration::from_micros(micros),
            reaches,
        }));
    }
    known
}

fn measure_suite(suite: &Suite, folder: &Path) -> Tests {
    let tests = suite.tests();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for worker in 0..AT_ONCE {
            let note = folder.join(format!("reached-{worker}"));
            let (tests, next, found) = (&tests, &next, &found);
            scope.spawn(move || {
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match measure_test(suite, test, &note) {
                        Some(it) => drop(found.lock().expect("alive").insert(test.clone(), it)),
                        None => println!("{}: {test} fails without a mutant", suite.name),
                    }
                }
            });
        }
    });
    found.into_inner().expect("alive")
}

fn measure_test(suite: &Suite, test: &str, note: &PathBuf) -> Option<(u64, Vec<usize>)> {
    let path = note.to_string_lossy();
    let env = [("KAVKA_MUTANT", "reached"), ("KAVKA_MUTANTS_REACHED", &*path)];
    (0..TRIES).find_map(|_| {
        let _ = fs::remove_file(note); // of the previous test
        let since = Instant::now();
        let good = suite.run_only(&[test], &env, PATIENCE) == End::Good;
        let took = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let text = fs::read_to_string(note).unwrap_or_default();
        let mut sites: Vec<usize> = text.lines().filter_map(|line| line.parse().ok()).collect();
        sites.sort_unstable();
        good.then_some((took, sites))
    })
}
