//! Which module of a crate uses which.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{self, Facts};

/// Returns the facts of every file of the crate with sources in `folder`, by path, without files
/// that only tests use.
pub(crate) fn crate_facts(folder: &str) -> Vec<(String, Vec<String>, Facts)> {
    let found = source::files(folder, |path| path.ends_with(".rs"));
    let read = |(path, text): &(String, String)| {
        let module = module_of(folder, path);
        let parts: Vec<&str> = module.iter().map(String::as_str).collect();
        let facts = source::facts(path, text, &parts);
        (path.clone(), module, facts)
    };
    let all: Vec<(String, Vec<String>, Facts)> = found.iter().map(read).collect();
    let for_tests: Vec<Vec<String>> =
        all.iter().flat_map(|(_, _, facts)| facts.test_modules.clone()).collect();
    all.into_iter()
        .filter(|(_, module, _)| !for_tests.iter().any(|test| module.starts_with(test)))
        .collect()
}

/// Returns the module of a file: `wire/fetch.rs` is `[wire, fetch]`, `lib.rs` is `[]`.
fn module_of(folder: &str, path: &str) -> Vec<String> {
    let below = path.trim_start_matches(folder).trim_start_matches('/').trim_end_matches(".rs");
    let mut parts: Vec<String> = below.split('/').map(String::from).collect();
    let last = parts.last().map(String::as_str);
    if matches!(last, Some("mod")) || (parts.len() == 1 && matches!(last, Some("lib" | "main"))) {
        parts.pop();
    }
    parts
}

/// Returns top modules, each with those it names. What `lib.rs` re-exports counts as the module it
/// comes from.
pub(crate) fn graph(files: &[(String, Vec<String>, Facts)]) -> BTreeMap<String, BTreeSet<String>> {
    let tops: BTreeSet<String> =
        files.iter().filter_map(|(_, module, _)| module.first().cloned()).collect();
    let from_root: BTreeMap<String, String> = files
        .iter()
        .flat_map(|(_, _, facts)| &facts.names)
        .filter(|(module, path)| module.is_empty() && path.len() > 1 && tops.contains(&path[0]))
        .map(|(_, path)| (path[path.len() - 1].clone(), path[0].clone()))
        .collect();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, path) in files.iter().flat_map(|(_, _, facts)| &facts.names) {
        let (Some(from), Some(first)) = (module.first(), path.first()) else { continue };
        let to = if tops.contains(first) { first } else { from_root.get(first).unwrap_or(first) };
        if to != from {
            graph.entry(from.clone()).or_default().insert(to.clone());
        }
    }
    graph
}

/// Returns all modules in files, each with those it names; a module and its submodules are
/// separate. Stricter than [`graph`], for crates that keep to it.
pub(crate) fn fine_graph(
    files: &[(String, Vec<String>, Facts)],
) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeSet<String> = files.iter().map(|(_, module, _)| module.join("::")).collect();
    let fronts = |path: &[String]| -> Vec<String> {
        (1..=path.len()).rev().map(|n| path[..n].join("::")).collect()
    };
    let file_of = |path: &[String]| fronts(path).into_iter().find(|name| modules.contains(name));
    let reexports: BTreeMap<String, String> = files
        .iter()
        .flat_map(|(_, _, facts)| &facts.reexports)
        .filter_map(|(module, path)| {
            let name = path.last()?;
            Some(([&module[..], core::slice::from_ref(name)].concat().join("::"), file_of(path)?))
        })
        .collect();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, path) in files.iter().flat_map(|(_, _, facts)| &facts.names) {
        let Some(from) = file_of(module) else { continue };
        let named = fronts(path).iter().find_map(|name| reexports.get(name).cloned());
        let Some(to) = named.or_else(|| file_of(path)) else { continue };
        if to != from {
            graph.entry(from).or_default().insert(to);
        }
    }
    graph
}

/// Returns one cycle of the graph, its first module repeated at its end.
pub(crate) fn cycle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    graph.keys().find_map(|start| walk(graph, start, &mut Vec::new(), &mut done))
}

fn walk(
    graph: &BTreeMap<String, BTreeSet<String>>,
    at: &str,
    way: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(first) = way.iter().position(|module| module == at) {
        let mut found = way[first..].to_vec();
        found.push(at.to_string());
        return Some(found);
    }
    if !done.contains(at) {
        way.push(at.to_string());
        let next = graph.get(at).into_iter().flatten();
        if let Some(found) = next.into_iter().find_map(|to| walk(graph, to, way, done)) {
            return Some(found);
        }
        way.pop();
        done.insert(at.to_string());
    }
    None
}
