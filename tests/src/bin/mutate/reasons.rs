//! Sites that no test can catch, and why: `tests/MUTATION-random.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::sites::Site;

/// Identifies a site across changes elsewhere: file, function, change.
type Key = (String, String, String);

pub(crate) struct Reasons(BTreeMap<Key, String>);

impl Reasons {
    pub(crate) fn read(root: &Path) -> Self {
        let text = fs::read_to_string(root.join("tests/MUTATION-random.md"));
        Self::of(&text.expect("tests/MUTATION-random.md"))
    }

    fn of(page: &str) -> Self {
        let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
        let parse = |row: &str| {
            let cells: Vec<&str> = row.split(" | ").collect();
            let [path, function, change, reason] = cells[..] else { return None };
            let key = (path.to_owned(), function.to_owned(), change.to_owned());
            path.ends_with(".rs").then(|| (key, reason.to_owned()))
        };
        Self(rows.filter_map(parse).collect())
    }

    pub(crate) fn why(&self, site: &Site) -> Option<&str> {
        let key = (site.path.clone(), site.function.clone(), escaped(&site.change));
        self.0.get(&key).map(String::as_str).filter(|reason| !reason.trim().is_empty())
    }
}

/// Formats a row of that page, up to the reason.
pub(crate) fn row(site: &Site) -> String {
    format!("| {} | {} | {} | ", site.path, site.function, escaped(&site.change))
}

/// Escapes bars, which would end the cell.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_was_written_is_found_again() {
        let text = "impl A { fn f(&self) -> &B { a || b } }";
        let site = &crate::sites::sites("core/src/x.rs", text)[0];
        let page = format!("# t\n\n| place | x |\n| --- | --- |\n{}speed only |\n", row(site));
        assert_eq!(Reasons::of(&page).why(site), Some("speed only"), "{page}");
        let without = page.replace("speed only", "");
        assert_eq!(Reasons::of(&without).why(site), None, "a reason is due");
        assert_eq!(Reasons::of("").why(site), None);
    }
}
