//! Style as a test: what a reviewer should not have to check.
//!
//! The lists of exceptions only get shorter: an entry that is no longer needed fails, too.

mod modules;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{Facts, facts, files, root, rust_files};

/// Longest file, in lines.
const FILE: usize = 800;
/// Longest line, in characters.
const LINE: usize = 100;
/// Longest function, from `fn` to its closing brace, in lines.
const FUNCTION: usize = 70;

/// Functions that are longer than [`FUNCTION`]: `(file, function, lines)`.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// Libraries whose code outside tests never panics on purpose.
const LIBRARIES: [&str; 3] = ["core/src", "io-std/src", "io-embassy/src"];

/// Fails with every line of `found`.
fn none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn files_are_short() {
    let long = |(path, text): &(String, String)| {
        let lines = text.lines().count();
        (lines >= FILE).then(|| format!("{path}: {lines} lines"))
    };
    let found: Vec<String> = rust_files().iter().filter_map(long).collect();
    none("files of 800 lines or more", &found);
}

#[test]
fn lines_fit_a_screen() {
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > LINE {
                found.push(format!("{path}:{}", number + 1));
            }
        }
    }
    none("lines of more than 100 columns", &found);
}

/// Every field of the core that is a point in time is aged somewhere, or it would be hours off
/// after days.
#[test]
fn what_is_kept_in_ticks_moves_with_the_scale() {
    // What exists only during a call.
    const PASSING: [&str; 1] = ["now"];
    let core: Vec<_> =
        rust_files().into_iter().filter(|(path, _)| path.starts_with("core/src")).collect();
    let mut moved = BTreeSet::new();
    for line in core.iter().flat_map(|(_, text)| text.lines()) {
        if let Some(place) = line.trim().strip_suffix(".age(by);") {
            moved.insert(place.rsplit('.').next().unwrap_or(place));
        }
    }
    let (mut found, mut fields) = (Vec::new(), 0);
    for (path, text) in &core {
        let mut of_a_struct = false;
        for line in text.lines() {
            // `Timers` are created and compared within a call.
            let kept = line.contains("struct ") && !line.contains("struct Timers ");
            let opens = kept && line.ends_with('{');
            of_a_struct = opens || of_a_struct && line.trim() != "}";
            let field = line.trim().strip_suffix(',').and_then(|line| line.split_once(": "));
            // Also those that only some builds keep, such as `Silent<Tick>`.
            let time = |kind: &str| kind == "Tick" || kind.ends_with("<Tick>");
            let Some((name, _)) = field.filter(|(_, kind)| of_a_struct && time(kind)) else {
                continue;
            };
            let name = name.rsplit(' ').next().unwrap_or(name);
            fields += 1;
            if !moved.contains(name) && !PASSING.contains(&name) {
                found.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(fields > 30, "{fields} fields");
    none("points in time that do not move with the scale", &found);
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for (path, text) in rust_files() {
        for (name, line, lines) in facts(&path, &text, &[]).functions {
            if lines >= FUNCTION {
                long.push((path.clone(), name, line, lines));
            }
        }
    }
    let listed = |path: &str, name: &str, lines: usize| {
        LONG_FUNCTIONS.iter().any(|(p, n, most)| *p == path && *n == name && lines <= *most)
    };
    let new: Vec<String> = long
        .iter()
        .filter(|(path, name, _, lines)| !listed(path, name, *lines))
        .map(|(path, name, line, lines)| format!("{path}:{line}: {name}, {lines} lines"))
        .collect();
    none("functions of 70 lines or more", &new);
    let stale: Vec<String> = LONG_FUNCTIONS
        .iter()
        .filter(|(p, n, most)| {
            !long.iter().any(|(path, name, _, l)| path == p && name == n && l == most)
        })
        .map(|entry| format!("{entry:?}"))
        .collect();
    none("entries of LONG_FUNCTIONS that can go or shrink", &stale);
}

#[test]
fn libraries_do_not_panic_on_purpose() {
    let mut found = Vec::new();
    for folder in LIBRARIES {
        for (path, _, facts) in modules::crate_facts(folder) {
            found.extend(facts.panics.iter().map(|(line, what)| format!("{path}:{line}: {what}")));
        }
    }
    none("unwrap, expect, panic! and the like outside tests", &found);
}

#[test]
fn no_path_of_one_machine_is_named() {
    // In pieces, so that this file does not name them either.
    let paths = [
        concat!("/wo", "rk/"),
        concat!("/fa", "rm/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/tm", "p/"),
        concat!("../sha", "red"),
        concat!("index.crates", ".io"),
        concat!("static.crates", ".io"),
        concat!("repo1.maven", ".org"),
        concat!("repo.maven.apache", ".org"),
        concat!("static.rust-lang", ".org"),
    ];
    let ends = [".rs", ".toml", ".md", ".sh", ".yml", ".yaml", ".x", ".ci/run"];
    let mut found = Vec::new();
    for (path, text) in files("", |path| ends.iter().any(|end| path.ends_with(end))) {
        for (number, line) in text.lines().enumerate() {
            found.extend(
                paths
                    .iter()
                    .filter(|bad| line.contains(**bad))
                    .map(|bad| format!("{path}:{}: {bad}", number + 1)),
            );
        }
    }
    none("paths of one machine, hosts of registries", &found);
}

/// What crates.io shows of a package, and the texts that its licences ask to go along.
#[test]
fn published_packages_have_a_readme_and_the_licence_texts() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap_or_default();
    let (mut found, mut published) = (Vec::new(), 0);
    for member in ["core", "io-std", "io-embassy", "sim", "tests"] {
        let manifest = read(&format!("{member}/Cargo.toml"));
        if manifest.contains("publish = false") {
            continue;
        }
        published += 1;
        let readme = manifest.contains("\nreadme = \"README.md\"\n");
        if !readme || read(&format!("{member}/README.md")).len() < 500 {
            found.push(format!("{member}: no README.md, or not named in its Cargo.toml"));
        }
        for text in ["LICENSE-MIT", "LICENSE-APACHE"] {
            if read(&format!("{member}/{text}")) != read(text) {
                found.push(format!("{member}: {text} is not that of the repository"));
            }
        }
    }
    assert_eq!(published, 4, "packages");
    none("packages as they are published", &found);
}

/// One figure for the same memory: that of `.ci/run size`.
#[test]
fn readmes_state_the_recorded_ram_and_flash() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect(path);
    let record = read("size/record.txt");
    let row = record.lines().find(|line| line.starts_with("both ")).expect("a row `both`");
    let bytes: usize = row.split_whitespace().last().and_then(|n| n.parse().ok()).expect("RAM");
    let figure = format!("{},{:03}", bytes / 1000, bytes % 1000);
    let mut found = Vec::new();
    for path in ["README.md", "io-embassy/README.md"] {
        if !read(path).contains(&figure) {
            found.push(path.to_string());
        }
    }
    none(&format!("RAM of Resources<1, 2, 8, 4096, 16> is {figure}"), &found);
    // And for flash, in KiB.
    let flash = |name: &str| {
        let mut rows = record.lines().filter(|line| !line.starts_with('#'));
        let row = rows.find(|line| line.split_whitespace().next() == Some(name));
        let bytes = row.and_then(|row| row.split_whitespace().nth(2)?.parse::<f64>().ok());
        (bytes.expect(name) / 1024.0).round()
    };
    let (one, both) = (flash("producer"), flash("both"));
    let text = format!("{one} KiB of flash for a producer, {both} KiB for a producer and consumer");
    let readme = read("README.md").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(readme.contains(&text), "README.md: {text}");
}

#[test]
fn wire_stands_alone() {
    let core = modules::crate_facts("core/src");
    let graph = modules::graph(&core);
    assert!(core.iter().any(|(_, module, _)| module == &["wire"]), "there is a module wire");
    let found: Vec<String> = graph.get("wire").into_iter().flatten().cloned().collect();
    none("wire uses modules above it", &found);
}

/// Returns modules that a build may leave out: features of the core with a module of their name.
fn parts(manifest: &str, tops: &BTreeSet<String>) -> Vec<String> {
    let after = manifest.split("[features]").nth(1).unwrap_or_default();
    let lines = after.lines().skip(1).take_while(|line| !line.starts_with('['));
    let features = lines.filter_map(|line| Some(line.split_once('=')?.0.trim().to_string()));
    features.filter(|feature| tops.contains(feature)).collect()
}

/// Returns pairs `(part, part)`: the former uses the latter.
fn friends(graph: &BTreeMap<String, BTreeSet<String>>, parts: &[String]) -> Vec<String> {
    let uses = |part: &String| graph.get(part).into_iter().flatten().cloned();
    let pairs = parts.iter().flat_map(|part| uses(part).map(move |to| (part, to)));
    pairs
        .filter(|(_, to)| parts.contains(to))
        .map(|(part, to)| format!("{part} uses {to}"))
        .collect()
}

#[test]
fn parts_of_the_machine_do_not_know_each_other() {
    let core = modules::crate_facts("core/src");
    let tops = core.iter().filter_map(|(_, module, _)| module.first().cloned()).collect();
    let manifest = std::fs::read_to_string(root().join("core/Cargo.toml")).expect("a manifest");
    let (parts, graph) = (parts(&manifest, &tops), modules::graph(&core));
    for part in ["producer", "consumer", "admin"] {
        assert!(parts.iter().any(|found| found == part), "{part} is no part: {parts:?}");
    }
    for part in &parts {
        let uses = graph.get(part).is_some_and(|uses| uses.contains("connection"));
        assert!(uses, "{part} does not even use `connection`: its names are not seen");
    }
    // One that cannot be without another has its feature in the manifest.
    let mut found = friends(&graph, &parts);
    found.retain(|pair| {
        let (part, to) = pair.split_once(" uses ").unwrap_or_default();
        !manifest.lines().any(|line| line == format!("{part} = [\"{to}\"]"))
    });
    none("parts that talk past connection and cluster", &found);
}

#[test]
fn core_modules_form_no_cycle() {
    let graph = modules::graph(&modules::crate_facts("core/src"));
    assert!(!graph.is_empty(), "no module of core uses another one");
    let cycle = modules::cycle(&graph);
    assert!(cycle.is_none(), "modules of core use each other in a cycle: {cycle:?}");
}

/// Every public function of the adapter for servers that returns something to await says what
/// happens when that is dropped, as tokio's documents do.
#[test]
fn functions_that_return_a_pending_result_document_their_cancel_safety() {
    let mut found = Vec::new();
    let mut documented = 0;
    for (path, text) in rust_files().into_iter().filter(|(path, _)| path.starts_with("io-std/src"))
    {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let line = line.trim_start();
            if !line.starts_with("pub fn ") && !line.starts_with("pub async fn ") {
                continue;
            }
            let signature: String = lines
                .iter()
                .skip(number)
                .take_while(|line| !line.trim_end().ends_with('{'))
                .chain(lines.iter().skip(number).find(|line| line.trim_end().ends_with('{')))
                .copied()
                .collect();
            let returns = signature.split_once("->").map_or("", |(_, returns)| returns);
            if !returns.contains("Pending<") {
                continue;
            }
            let docs = lines.iter().take(number).rev();
            let mut docs = docs.take_while(|line| {
                let line = line.trim_start();
                line.starts_with("///") || line.starts_with("#[")
            });
            if docs.any(|line| line.contains("# Cancel safety")) {
                documented += 1;
            } else {
                found.push(format!("{path}:{}", number + 1));
            }
        }
    }
    none("no word about cancel safety", &found);
    assert!(documented > 20, "only {documented} functions found");
}

#[test]
fn modules_of_the_adapter_for_servers_form_no_cycle() {
    let facts = modules::crate_facts("io-std/src");
    let library: Vec<_> = facts.into_iter().filter(|(path, ..)| !path.contains("/bin/")).collect();
    let graph = modules::fine_graph(&library);
    for (from, to) in [("producer", "producer::run"), ("consumer::run", "consumer::chunk")] {
        assert!(graph.get(from).is_some_and(|uses| uses.contains(to)), "{from} uses {to}");
    }
    let cycle = modules::cycle(&graph);
    assert!(cycle.is_none(), "modules of io-std use each other in a cycle: {cycle:?}");
}

/// A checker that used the client's code would share its mistakes.
#[test]
fn the_checker_shares_no_code_with_the_client() {
    let parts = ["tests/src/history", "tests/src/checker", "tests/src/bin/checker"];
    let mine = |path: &str| parts.iter().any(|part| path.starts_with(part));
    let sources: Vec<_> = rust_files().into_iter().filter(|(path, _)| mine(path)).collect();
    assert!(sources.len() >= 3, "the checker is somewhere else: {sources:?}");
    // In pieces, so that this file may name them.
    let theirs = [
        concat!("kavka", "_core"),
        concat!("kavka", "_std"),
        "crate::kafka",
        concat!("kavka", "_sim"),
        "crate::sim",
        "crate::script",
        "kavka_tests::kafka",
        "kavka_tests::sim",
        "kavka_tests::script",
        "kafka_protocol",
    ];
    let mut found = Vec::new();
    for (path, text) in sources {
        found.extend(
            theirs.iter().filter(|name| text.contains(*name)).map(|name| format!("{path}: {name}")),
        );
    }
    none("the checker uses what it has to judge", &found);
}

#[test]
fn non_obvious_entries_name_their_test() {
    let Ok(text) = std::fs::read_to_string(root().join("ARCHITECTURE.md")) else { return };
    let tests: BTreeSet<String> =
        rust_files().iter().flat_map(|(path, text)| facts(path, text, &[]).tests).collect();
    let entries = non_obvious(&text);
    assert!(!entries.is_empty(), "ARCHITECTURE.md has a section Non-obvious with entries");
    let unproven: Vec<String> =
        entries.iter().filter(|entry| !names_one_of(entry, &tests)).cloned().collect();
    none(
        "Non-obvious entries of ARCHITECTURE.md without an existing test in backquotes",
        &unproven,
    );
}

/// Returns the list entries of the section whose heading contains "Non-obvious".
fn non_obvious(text: &str) -> Vec<String> {
    let level = |line: &str| line.bytes().take_while(|byte| *byte == b'#').count();
    let mut lines = text.lines();
    let Some(heading) = lines.find(|line| level(line) > 0 && line.contains("Non-obvious")) else {
        return Vec::new();
    };
    let mut entries: Vec<String> = Vec::new();
    for line in lines.take_while(|line| level(line) == 0 || level(line) > level(heading)) {
        let number = line.split('.').next().is_some_and(|n| n.parse::<u16>().is_ok());
        if line.starts_with("- ") || line.starts_with("* ") || number {
            entries.push(line.to_string());
        } else if let Some(entry) = entries.last_mut() {
            entry.push(' ');
            entry.push_str(line.trim());
        }
    }
    entries
}

fn names_one_of(entry: &str, tests: &BTreeSet<String>) -> bool {
    let mut spans = entry.split('`').skip(1).step_by(2);
    spans.any(|span| span.rsplit("::").next().is_some_and(|name| tests.contains(name)))
}

#[test]
fn readme_and_ci_name_the_same_commands() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect(path);
    let (readme, ci) = (read("README.md"), read(".ci/run"));
    for command in ["cargo test --workspace", "cargo run --release --bin drill"] {
        assert!(readme.contains(command), "README.md names `{command}`");
        assert!(ci.contains(command), ".ci/run runs `{command}`");
    }
}

/// Tests of the rules: each of them fails on a sample.
mod samples {
    use super::*;

    fn of(text: &str) -> Facts {
        facts("sample", text, &["top", "below"])
    }

    #[test]
    fn panics_are_seen_outside_tests_only() {
        let found = of("fn f(x: Option<u8>) { x.unwrap(); }\n\
             fn g() { write!(out, \"{}\", x.expect(\"y\")); todo!() }\n\
             fn h(x: Vec<Option<u8>>) { x.into_iter().map(Option::unwrap); }\n\
             fn fine(x: Option<u8>) { x.unwrap_or(1); queue.expect(id, 2); assert!(true) }\n\
             #[cfg(test)] mod tests { fn i() { x.unwrap(); panic!() } }\n\
             #[cfg(all(test, feature = \"x\"))] fn j() { x.unwrap() }");
        let lines: Vec<usize> = found.panics.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 2, 2, 3], "{:?}", found.panics);
    }

    #[test]
    fn names_are_resolved_from_the_root() {
        let found = of("use crate::{a::B, c}; use super::d; use super::super::e::f;\n\
             fn g(x: crate::h::I) { self::j::k(); println!(\"{}\", crate::l::M); }\n\
             mod inner { use super::super::n; }");
        let names: Vec<String> = found.names.iter().map(|(_, path)| path.join("::")).collect();
        assert_eq!(
            names,
            ["a::B", "c", "top::d", "e::f", "h::I", "top::below::j::k", "l", "top::n"]
        );
    }

    #[test]
    fn long_functions_and_tests_are_counted() {
        let found = of("#[test]\nfn a() {\n}\nimpl B {\n    fn c(\n    ) {\n    }\n}\n\
             proptest! { #[test] fn d(x in 0..1) {} }");
        assert_eq!(found.functions, [("a".into(), 2, 2), ("c".into(), 5, 3)]);
        assert_eq!(found.tests, ["a".to_string(), "d".to_string()].into());
    }

    #[test]
    fn a_cycle_is_found_through_the_root() {
        let file = |module: &str, text: &str| {
            let parts: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
            let owned = parts.iter().map(|part| (*part).into()).collect();
            (module.to_string(), owned, facts(module, text, &parts))
        };
        let mut files = vec![
            file("", "pub use crate::b::Named;"),
            file("a", "use crate::Named;"),
            file("b", "use crate::c;"),
            file("c", ""),
        ];
        assert_eq!(modules::cycle(&modules::graph(&files)), None);
        files.push(file("c::d", "fn f() { super::super::a::g() }"));
        let cycle = modules::cycle(&modules::graph(&files)).expect("a cycle");
        assert_eq!(cycle, ["a", "b", "c", "a"]);
    }

    #[test]
    fn parts_that_know_each_other_are_seen() {
        let set = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        let manifest = "[features]\ndefault = [\"a\"]\na = []\nb = []\nno = []\n[x]\nc = 1";
        let parts = parts(manifest, &set(&["a", "b", "c"]));
        assert_eq!(parts, ["a", "b"]);
        let graph = BTreeMap::from([
            ("a".to_string(), set(&["c"])),
            ("b".to_string(), set(&["a", "c"])),
            ("c".to_string(), set(&["b"])),
        ]);
        assert_eq!(friends(&graph, &parts), ["b uses a"]);
    }

    #[test]
    fn a_cycle_within_a_module_is_found() {
        let file = |module: &str, text: &str| {
            let parts: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
            let owned = parts.iter().map(|part| (*part).into()).collect();
            (module.to_string(), owned, facts(module, text, &parts))
        };
        let mut files = vec![
            file("", "pub use a::Named; mod a;"),
            file("a", "pub use b::Named; mod b; mod c; fn f() { c::g() }"),
            file("a::b", "use super::c;"),
            file("a::c", ""),
            file("d", "use crate::Named;"),
        ];
        let graph = modules::fine_graph(&files);
        assert_eq!(graph["d"], ["a".to_string()].into());
        assert_eq!(graph["a"], ["a::b".to_string(), "a::c".into()].into());
        assert_eq!(modules::cycle(&graph), None);
        files.push(file("a::c::e", "use crate::d::x;"));
        files[3] = file("a::c", "mod e; use e::y;");
        let cycle = modules::cycle(&modules::fine_graph(&files)).expect("a cycle");
        assert_eq!(cycle, ["a", "a::b", "a::c", "a::c::e", "d", "a"]);
    }

    #[test]
    fn entries_without_a_test_are_seen() {
        let text = "# A\n## Non-obvious\n- one: `x::proven`\n- two\n  more `proven`\n### sub\n\
            3. three `nothing`\n## B\n- not one\n";
        let tests = BTreeSet::from(["proven".to_string()]);
        let named: Vec<bool> =
            non_obvious(text).iter().map(|entry| names_one_of(entry, &tests)).collect();
        assert_eq!(named, [true, true, false]);
    }
}
