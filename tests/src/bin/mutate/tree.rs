//! A copy of the project in which each drawn site has a switch.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::sites::{Site, render};
use super::suites::Message;

/// What the workspace consists of, and what its members' sources include.
const COPIED: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "docs",
    "core",
    "io-std",
    "io-embassy",
    "sim",
    "tests",
    "fuzz",
];
/// Crates with sites.
pub(crate) const CRATES: [&str; 2] = ["core/src", "io-std/src"];

/// Returns the Rust files below `folder`, by their path from `root`.
pub(crate) fn sources(root: &Path, folder: &str) -> Vec<(String, String)> {
    let paths = files(root, folder).into_iter().filter(|path| path.ends_with(".rs"));
    paths.map(|path| (path.clone(), fs::read_to_string(root.join(path)).expect("text"))).collect()
}

/// Returns the files below a folder, or the file itself, from `root`, in order.
fn files(root: &Path, below: &str) -> Vec<String> {
    if root.join(below).is_file() {
        return vec![below.to_owned()];
    }
    let Ok(entries) = fs::read_dir(root.join(below)) else { return Vec::new() };
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names: BTreeSet<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    let kept = names.iter().filter(|name| !name.starts_with("target") && !name.starts_with('.'));
    kept.flat_map(|name| files(root, &format!("{below}/{name}"))).collect()
}

/// The copy.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    originals: BTreeMap<String, String>,
    /// Where each site was written, by file.
    written: BTreeMap<String, Vec<(usize, Range<usize>)>>,
}

impl Tree {
    /// Copies `from`. Unchanged files keep their time, so that little is rebuilt.
    pub(crate) fn copy(from: &Path, to: PathBuf) -> Self {
        let paths = COPIED.iter().flat_map(|part| files(from, part));
        let (mut originals, mut kept) = (BTreeMap::new(), BTreeSet::new());
        for path in paths {
            let bytes = fs::read(from.join(&path)).expect("a file");
            if CRATES.iter().any(|folder| path.starts_with(folder)) && path.ends_with(".rs") {
                let text = String::from_utf8(bytes).expect("text");
                originals.insert(path.clone(), text);
            } else {
                write(&to.join(&path), &bytes);
            }
            kept.insert(path);
        }
        for path in COPIED.iter().flat_map(|part| files(&to, part)) {
            if !kept.contains(&path) {
                fs::remove_file(to.join(path)).expect("it is ours");
            }
        }
        Self { root: to, originals, written: BTreeMap::new() }
    }

    /// Returns the text of a file with sites, without switches.
    pub(crate) fn original(&self, path: &str) -> &str {
        &self.originals[path]
    }

    /// Gives each of `sites` its switch, with its number, from 1.
    pub(crate) fn switch(&mut self, sites: &[(usize, &Site)]) {
        let highest = sites.iter().map(|(number, _)| *number).max().unwrap_or(0);
        let mut by_file: BTreeMap<&str, Vec<(usize, &Site)>> = BTreeMap::new();
        for (number, site) in sites {
            by_file.entry(&site.path).or_default().push((*number, site));
        }
        for (path, text) in &self.originals {
            let mine = by_file.remove(path.as_str()).unwrap_or_default();
            let (mut text, places) = render(text, &mine);
            if CRATES.iter().any(|folder| *path == format!("{folder}/lib.rs")) {
                text += &SWITCHES.replace("LENGTH", &(highest + 1).to_string());
            }
            write(&self.root.join(path), text.as_bytes());
            self.written.insert(path.clone(), places);
        }
    }

    /// Returns the numbers of the sites that compiler errors blame.
    pub(crate) fn blamed(&self, messages: &[Message]) -> BTreeSet<usize> {
        let errors = messages.iter().filter(|message| message["message"]["level"] == "error");
        errors.filter_map(|error| self.blame(&error["message"])).collect()
    }

    /// Returns the innermost site at the error's place, or else the one next to it.
    fn blame(&self, error: &Message) -> Option<usize> {
        let (mut first, mut notes) = (Vec::new(), Vec::new());
        for span in error["spans"].as_array().into_iter().flatten() {
            let places = if span["is_primary"] == true { &mut first } else { &mut notes };
            places.extend(place(span));
            places.extend(place(&span["expansion"]["span"]));
        }
        let around = |places: &[(String, Range<usize>)]| {
            let hits = places.iter().flat_map(|(path, at)| {
                let sites = self.written.get(path).into_iter().flatten();
                sites.filter(|(_, site)| site.start <= at.start && at.end <= site.end)
            });
            hits.min_by_key(|(_, site)| site.len()).map(|(number, _)| *number)
        };
        let next_to = |places: &[(String, Range<usize>)]| {
            let all = places.iter().flat_map(|(path, at)| {
                let sites = self.written.get(path).into_iter().flatten();
                sites.map(|(number, site)| {
                    let apart = at.start.saturating_sub(site.end);
                    (apart.max(site.start.saturating_sub(at.end)), *number)
                })
            });
            all.min().map(|(_, number)| number)
        };
        around(&first).or_else(|| around(&notes)).or_else(|| next_to(&[first, notes].concat()))
    }
}

/// Returns the bytes of a file that a compiler span covers.
fn place(span: &Message) -> Option<(String, Range<usize>)> {
    let at = |name: &str| span[name].as_u64().and_then(|at| usize::try_from(at).ok());
    Some((span["file_name"].as_str()?.to_owned(), at("byte_start")?..at("byte_end")?))
}

fn write(path: &Path, bytes: &[u8]) {
    match fs::read(path) {
        Ok(old) if old == bytes => return,
        Err(error) if error.kind() != ErrorKind::NotFound => panic!("{path:?}: {error}"),
        _ => {}
    }
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, bytes).expect("it is written");
}

/// Module added to each crate with sites. The number of the mutant comes from the environment;
/// `reached` records which switches are evaluated at all.
const SWITCHES: &str = r#"
#[doc(hidden)]
mod mutant {
    extern crate std;
    use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::io::Write;
    use std::sync::OnceLock;

    const REACHED: u32 = u32::MAX;
    const UNREAD: u32 = u32::MAX - 1;

    static ACTIVE: AtomicU32 = AtomicU32::new(UNREAD);

    #[inline(never)]
    pub(crate) fn on(number: u32) -> bool {
        let mut active = ACTIVE.load(Ordering::Relaxed);
        if active >= UNREAD {
            if active == UNREAD {
                active = read();
            }
            if active == REACHED {
                note(number);
            }
        }
        active == number
    }

    #[cold]
    fn read() -> u32 {
        let active = match std::env::var("KAVKA_MUTANT") {
            Ok(name) if name == "reached" => REACHED,
            Ok(name) => name.parse().unwrap_or(0),
            Err(_) => 0,
        };
        ACTIVE.store(active, Ordering::Relaxed);
        active
    }

    #[cold]
    fn note(number: u32) {
        static SEEN: [AtomicBool; LENGTH] = [const { AtomicBool::new(false) }; LENGTH];
        let seen = SEEN.get(number as usize).is_none_or(|seen| seen.swap(true, Ordering::Relaxed));
        static FILE: OnceLock<Option<std::fs::File>> = OnceLock::new();
        if !seen {
            let file = FILE.get_or_init(|| {
                let path = std::env::var("KAVKA_MUTANTS_REACHED").ok()?;
                std::fs::OpenOptions::new().append(true).create(true).open(path).ok()
            });
            let line = std::format!("{number}\n");
            let _ = file.as_ref().map(|mut file| file.write_all(line.as_bytes()));
        }
    }
}
"#;
