//! Every scenario has its test or a reason for having none.

use std::collections::BTreeSet;
use std::path::Path;

const LIST: &str = include_str!("list.txt");
const README: &str = include_str!("README.md");

/// Parses "T1" as (T, 1).
fn number(text: &str) -> Option<(char, u32)> {
    let mut rest = text.chars();
    let letter = rest.next().filter(char::is_ascii_uppercase)?;
    Some((letter, rest.as_str().parse().ok()?))
}

fn scenarios() -> Vec<(char, u32)> {
    let of = |line: &str| {
        let first = line.split(' ').next().unwrap_or_default();
        number(first).unwrap_or_else(|| panic!("no number at the front of {line:?}"))
    };
    LIST.lines().map(of).collect()
}

/// Returns the numbers of the first table of README.md, with spans expanded.
fn excused() -> BTreeSet<(char, u32)> {
    let table = README.split("\n## ").nth(1).expect("a section with those that are elsewhere");
    let cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let span = |cell: &str| {
        let (from, to) = cell.split_once('-').unwrap_or((cell, cell));
        let ((letter, from), (_, to)) = (number(from)?, number(to)?);
        Some((from..=to).map(move |n| (letter, n)))
    };
    cells.filter_map(span).flatten().collect()
}

/// Returns the numbers at the front of test names, wherever they are.
fn tested() -> BTreeSet<(char, u32)> {
    let mut found = BTreeSet::new();
    let suites = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let folders = std::fs::read_dir(&suites)
        .expect("suites")
        .chain(std::fs::read_dir(suites.join("scenarios")).expect("this one"));
    for entry in folders {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source");
        for (attribute, line) in text.lines().zip(text.lines().skip(1)) {
            let name = line.strip_prefix("fn ").filter(|_| attribute == "#[test]");
            let first = name.and_then(|name| name.split('_').next());
            found.extend(first.and_then(|first| number(&first.to_uppercase())));
        }
    }
    found
}

#[test]
fn every_scenario_has_its_test_or_its_reason() {
    let (all, excused, tested) = (scenarios(), excused(), tested());
    let open: Vec<_> = all.iter().filter(|n| !excused.contains(n) && !tested.contains(n)).collect();
    assert!(open.is_empty(), "neither a test nor a reason in README.md: {open:?}");
    let both: Vec<_> = excused.intersection(&tested).collect();
    assert!(both.is_empty(), "a test, and a reason why there is none: {both:?}");
    let known: BTreeSet<_> = all.iter().copied().collect();
    let strange: Vec<_> = excused.union(&tested).filter(|n| !known.contains(n)).collect();
    assert!(strange.is_empty(), "not in list.txt: {strange:?}");
    assert_eq!(known.len(), all.len(), "a number twice in list.txt");
}

/// Adds what all sources below a folder have.
fn read_all(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&std::fs::read_to_string(path).expect("a source"));
        }
    }
}

#[test]
fn scenarios_of_security_name_tests_that_exist() {
    check_rows("Security", "SE", 20, &[18]);
}

#[test]
fn scenarios_of_transactions_name_tests_that_exist() {
    check_rows("Transactions", "X", 10, &[]);
    check_rows("Transactions", "XR", 14, &[]);
}

/// Checks the rows of a section whose numbers begin with this; those of `silent` name no test.
fn check_rows(section: &str, prefix: &str, count: usize, silent: &[usize]) {
    let found = README.split("\n## ").find(|part| part.starts_with(&format!("{section}\n")));
    let is_row = |line: &&str| {
        let rest = line.strip_prefix("| ").and_then(|rest| rest.strip_prefix(prefix));
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let rows: Vec<&str> = found.expect("the section").lines().filter(is_row).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    for folder in ["tests", "../io-std/tests", "../io-embassy/tests"] {
        read_all(&root.join(folder), &mut sources);
    }
    for (n, row) in (1..).zip(&rows) {
        assert!(row.starts_with(&format!("| {prefix}{n} |")), "{row}");
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() || silent.contains(&n), "{row}");
        for name in named {
            let program = root.join("src/bin").join(name).exists();
            let there = program || sources.contains(&format!("fn {name}("));
            assert!(there, "{prefix}{n}: no test {name}");
        }
    }
    assert_eq!(rows.len(), count);
}

#[test]
fn the_list_is_whole() {
    let counts = [("M", 17), ("E", 16), ("T", 7), ("P", 7), ("I", 16), ("X", 10), ("C", 12)];
    let later = [("G", 15), ("K", 12), ("N", 10), ("A", 7)];
    for (letter, count) in counts.into_iter().chain(later) {
        let mine: Vec<u32> =
            scenarios().iter().filter(|(l, _)| letter.starts_with(*l)).map(|(_, n)| *n).collect();
        assert_eq!(mine, (1..=count).collect::<Vec<_>>(), "{letter}");
    }
}
