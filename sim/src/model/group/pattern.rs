//! Subscriptions by regular expression: the topics of an expression are looked for aside, so that
//! it has none at first, and again after new ones were created, but not at once
//! (`GroupMetadataManager.maybeUpdateRegularExpressions`).

use core::time::Duration;
use std::collections::BTreeSet;

use kafka_protocol::protocol::StrBytes;
use regex::bytes::{Regex, RegexBuilder};

use super::Group;
use super::member::Member;
use crate::image::Image;

/// A look takes this long.
const TAKES: Duration = Duration::from_millis(30);

/// The topics of an expression.
#[derive(Debug)]
pub(super) struct Found {
    names: BTreeSet<StrBytes>,
    /// When the last look began, and whether it goes on.
    at: Duration,
    open: bool,
}

/// Returns an expression that has to match whole names; `None`: it is none. Of what RE2J does not
/// have, only the flag `x` is refused.
pub(super) fn whole(text: &str) -> Option<Regex> {
    let build = |text: &str| RegexBuilder::new(text).unicode(false).build().ok();
    build(text).filter(|_| !text.starts_with("(?x"))?;
    build(&format!(r"\A(?:{text})\z"))
}

impl Group {
    /// Looks for the topics of the members' expressions.
    pub(super) fn find_topics(&mut self, view: &Image, now: Duration, pause: Duration) {
        let all: BTreeSet<StrBytes> =
            self.members.values().map(|member| member.expression.clone()).collect();
        self.patterns.retain(|text, _| all.contains(text));
        for text in all.into_iter().filter(|text| !text.is_empty()) {
            let new = Found { names: BTreeSet::new(), at: now, open: true };
            let found = self.patterns.entry(text.clone()).or_insert(new);
            if !found.open && now >= found.at + pause {
                (found.at, found.open) = (now, true);
            }
            if found.open && now >= found.at + TAKES {
                found.open = false;
                let Some(expression) = whole(&text) else { continue };
                let matches = |name: &&StrBytes| expression.is_match(name.as_bytes());
                found.names = view.topics.keys().filter(matches).cloned().collect();
            }
        }
    }

    /// Returns the topics that a member subscribes to.
    pub(super) fn names_of(&self, member: &Member) -> Vec<StrBytes> {
        let found = self.patterns.get(&member.expression);
        let found = found.into_iter().flat_map(|found| &found.names);
        member.names.iter().chain(found).cloned().collect()
    }

    pub(super) fn subscribes(&self, member: &Member, name: &StrBytes) -> bool {
        let found = self.patterns.get(&member.expression);
        member.names.contains(name) || found.is_some_and(|found| found.names.contains(name))
    }
}
