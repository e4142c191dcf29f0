//! Lines on stderr, without those that were there a moment ago, and without what those said.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long after its last occurrence a line is news again.
const NEWS: Duration = Duration::from_secs(60);
/// Lines that are remembered, and facts.
const MOST: usize = 256;

static RECENT: Mutex<Option<Recent>> = Mutex::new(None);

/// When each line, and each fact, was due last.
#[derive(Default)]
struct Recent {
    seen: HashMap<String, Instant>,
    facts: HashMap<Fact, Known>,
}

/// What was printed of a fact.
struct Known {
    at: Instant,
    /// What the system or the broker said of it.
    said: Vec<String>,
    /// What it was about.
    subjects: Vec<String>,
    /// Advice that was given.
    advised: Vec<String>,
}

impl Known {
    fn new(at: Instant) -> Self {
        Self { at, said: Vec::new(), subjects: Vec::new(), advised: Vec::new() }
    }
}

/// What is wrong at which broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Fact {
    what: String,
    broker: String,
}

/// The parts of a line.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    /// What was being done, or with what.
    subject: &'a str,
    fact: Fact,
    /// What the system or the broker said of it.
    rest: &'a str,
}

/// Takes a line apart; `None` for one that is not about a broker.
fn parts(text: &str) -> Option<Parts<'_>> {
    let text = without_advice(text);
    if let Some(rest) = text.strip_prefix("no response from broker ") {
        let (broker, _) = address(rest);
        let fact = Fact { what: SILENT.to_owned(), broker: broker.to_owned() };
        return Some(Parts { subject: "", fact, rest: "" });
    }
    let (front, behind) = text.split_once(", broker ")?;
    let (broker, rest) = address(behind);
    let at = front.rfind("not done: ").map(|at| at + "not done: ".len());
    let at = at.or_else(|| front.find(CLOSED)).or_else(|| front.find(": ").map(|at| at + 2));
    let (subject, what) = front.split_at_checked(at.unwrap_or(0))?;
    let subject = subject.trim_end_matches("not done: ").trim_end_matches(": ");
    let what = what.strip_prefix(CLOSED).unwrap_or(what);
    let what = what.split(" (no response to ").next().unwrap_or(what);
    let what = if what.starts_with(SILENT) { SILENT } else { what };
    let fact = Fact { what: what.to_owned(), broker: broker.to_owned() };
    Some(Parts { subject, fact, rest })
}

const FOREIGN: &str = "the address leads to another cluster";
const CLOSED: &str = "connection closed: ";
const SILENT: &str = "no response from the broker";

/// An address at the front of a text, and what follows it.
fn address(text: &str) -> (&str, &str) {
    let end = text.find([' ', ')', ';']).unwrap_or(text.len());
    let (address, rest) = text.split_at(end);
    let bare = address.trim_end_matches([':', ',']);
    (bare, if bare.len() < address.len() { text.get(bare.len()..).unwrap_or(rest) } else { rest })
}

fn without_advice(text: &str) -> &str {
    text.rsplit_once("; ").map_or(text, |(front, _)| front)
}

impl Recent {
    /// Notes a line. Returns whether it was not there a moment ago.
    fn is_news(&mut self, line: &str, now: Instant) -> bool {
        self.seen.retain(|_, at| now.saturating_duration_since(*at) < NEWS);
        if self.seen.len() >= MOST
            && let Some(oldest) = self.seen.iter().min_by_key(|(_, at)| **at)
        {
            let oldest = oldest.0.clone();
            self.seen.remove(&oldest);
        }
        self.seen.insert(line.to_owned(), now).is_none()
    }

    /// Notes the fact in a line. Returns what is new in it: nothing where a line said all of it, or
    /// only what it is about where that is another thing.
    fn news<'a>(&mut self, text: &'a str, now: Instant) -> Option<Cow<'a, str>> {
        let Some(Parts { subject, fact, rest }) = parts(text) else { return Some(text.into()) };
        self.facts.retain(|_, known| now.saturating_duration_since(known.at) < NEWS);
        if self.facts.len() >= MOST {
            self.facts.clear(); // then some are said again
        }
        let known = self.facts.contains_key(&fact);
        let Known { at, said, subjects, advised } =
            self.facts.entry(fact.clone()).or_insert_with(|| Known::new(now));
        *at = now;
        // Which cluster it is was said with the first address that leads to it.
        let covered = known && (fact.what == FOREIGN || said.iter().any(|at| at.contains(rest)));
        if !covered {
            said.push(rest.to_owned());
        }
        let bare = bare(subject);
        let other = !bare.is_empty() && !subjects.iter().any(|known| known == bare);
        if other {
            subjects.push(bare.to_owned());
        }
        let advice = text.rsplit_once("; ").map_or("", |(_, advice)| advice);
        let advice = if advised.iter().any(|known| known == advice) { "" } else { advice };
        advised.push(advice.to_owned());
        let advice = if advice.is_empty() { String::new() } else { format!("; {advice}") };
        let Fact { broker, .. } = fact;
        match (covered, other) {
            _ if !known => Some(text.into()),
            (false, _) if bare.is_empty() => Some(without_advice(text).into()),
            (false, _) => {
                Some(format!("{subject}: as above, broker {broker}{rest}{advice}").into())
            }
            (true, true) => Some(format!("{subject}: as above, broker {broker}{advice}").into()),
            (true, false) => None,
        }
    }

    fn print(&mut self, text: &str) {
        // Without a reader of stderr there are still results and the exit code.
        let _ = writeln!(io::stderr(), "kavka: {text}");
    }
}

/// The thing that a line is about, without what was being done with it.
fn bare(subject: &str) -> &str {
    let subject = subject.strip_prefix("the last trouble was: ").unwrap_or(subject);
    match subject {
        "connection" => "",
        _ => ["read ", "produce to ", "topic "]
            .iter()
            .find_map(|doing| subject.strip_prefix(doing))
            .unwrap_or(subject),
    }
}

/// Prints something that is continuing: not again while it continues.
pub(super) fn notice(text: &str) {
    with(|recent| {
        let now = Instant::now();
        if recent.is_news(text, now)
            && let Some(news) = recent.news(text, now)
        {
            recent.print(&news);
        }
    });
}

/// Prints that addresses lead to different clusters, unless that was printed of one of them.
pub(super) fn other_cluster(addresses: &[&str], text: &str) {
    with(|recent| {
        let fact = |broker: &&str| Fact { what: FOREIGN.to_owned(), broker: (*broker).to_owned() };
        if addresses.iter().map(fact).any(|fact| recent.facts.contains_key(&fact)) {
            return;
        }
        let at = Instant::now();
        for fact in addresses.iter().map(fact) {
            let known = Known::new(at);
            recent.facts.insert(fact, known);
        }
        recent.print(text);
    });
}

/// Prints something that is said once.
pub(super) fn say(text: &str) {
    with(|recent| {
        let _ = recent.is_news(text, Instant::now()); // printed in any case
        recent.print(text);
    });
}

/// Prints why the command ends, in one or more lines, without what was said a moment ago.
pub(super) fn last(reasons: &[&str]) {
    reasons.iter().for_each(|text| notice(text));
}

/// The reason in a longer text: only what it is about where the rest was said a moment ago.
pub(super) fn brief(text: &str) -> String {
    with(|recent| {
        let now = Instant::now();
        let before = parts(text).map(|parts| (parts.subject.to_owned(), parts.fact.broker));
        match (recent.news(text, now), before) {
            (None, Some((subject, broker))) => format!("{subject}: as above, broker {broker}"),
            (news, _) => news.map_or_else(|| text.to_owned(), Cow::into_owned),
        }
    })
}

fn with<T>(act: impl FnOnce(&mut Recent) -> T) -> T {
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    act(recent.get_or_insert_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_take_turns_are_printed_once_until_they_were_gone_for_long() {
        let (mut recent, begun) = (Recent::default(), Instant::now());
        let mut printed = 0;
        for second in 0..300 {
            let now = begun + Duration::from_secs(second);
            for line in ["one is dead", "the other is dead"] {
                printed += u32::from(recent.is_news(line, now));
            }
        }
        assert_eq!(printed, 2, "they never paused");
        let later = begun + Duration::from_secs(299) + NEWS;
        assert!(recent.is_news("one is dead", later), "it lived meanwhile");
        assert!(!recent.is_news("one is dead", later + NEWS / 2));
    }

    #[test]
    fn a_fact_is_said_once_whoever_it_is_about() {
        let mut recent = Recent::default();
        let now = Instant::now();
        let refused = "connection closed: refused, broker h:1 (os error 111)";
        for (text, news) in [
            (&*format!("{refused}; is one running?"), Some("; is one running?")),
            (&format!("{refused}; is one running?"), None),
            (
                &format!("read t, partition 0: not done: {refused}; is one running?"),
                Some("read t, partition 0: as above, broker h:1"),
            ),
            (&format!("t, partition 0: {refused}"), None),
            (&format!("the last trouble was: read t, partition 0: not done: {refused}"), None),
            (
                &format!("t, partition 1: not done: {refused}"),
                Some("t, partition 1: as above, broker h:1"),
            ),
            (
                &format!("describe t: {refused}: also h:2 (x); is one running?"),
                Some("also h:2 (x)"),
            ),
            ("connection closed: refused, broker h:2 (x)", Some("broker h:2 (x)")),
            ("no response from broker h:3 for 3 s", Some("for 3 s")),
            (
                "t, partition 1: not done: no response from the broker to FETCH, broker h:3; up?",
                Some("t, partition 1: as above, broker h:3; up?"),
            ),
            ("t has no partition 1", Some("t has no partition 1")),
        ] {
            let said = recent.news(text, now);
            match news {
                Some(news) => assert!(said.as_ref().is_some_and(|s| s.ends_with(news)), "{said:?}"),
                None => assert_eq!(said, None, "{text}"),
            }
        }
        let later = now + NEWS;
        assert!(recent.news(refused, later).is_some(), "it was gone meanwhile");
    }

    #[test]
    fn lines_are_taken_apart() {
        let of = |text| parts(text).map(|p| (p.subject, p.fact.what, p.fact.broker, p.rest));
        let want = |subject, what: &str, broker: &str, rest| {
            Some((subject, what.to_owned(), broker.to_owned(), rest))
        };
        assert_eq!(
            of("connection: the address leads to another cluster, broker h:1: its id is x; use y"),
            want("connection", "the address leads to another cluster", "h:1", ": its id is x")
        );
        assert_eq!(
            of("read t: not done: connection closed: ended (no response to FETCH), broker [::1]:2"),
            want("read t", "ended", "[::1]:2", "")
        );
        assert_eq!(of("t has no partition 1"), None);
    }

    #[test]
    fn only_some_lines_are_remembered() {
        let (mut recent, begun) = (Recent::default(), Instant::now());
        for n in 0..2 * MOST as u64 {
            assert!(recent.is_news(&format!("line {n}"), begun + Duration::from_millis(n)));
        }
        assert!(recent.seen.len() <= MOST, "{}", recent.seen.len());
        let last = format!("line {}", 2 * MOST - 1);
        assert!(!recent.is_news(&last, begun + Duration::from_secs(1)), "the latest are");
    }
}
