//! Lines on stderr, without those that were there a moment ago.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long after its last occurrence a line is news again.
const NEWS: Duration = Duration::from_secs(60);
/// Lines that are remembered.
const MOST: usize = 256;

static RECENT: Mutex<Option<Recent>> = Mutex::new(None);

/// When each line was due last, and which was printed last.
#[derive(Default)]
struct Recent {
    seen: HashMap<String, Instant>,
    last: String,
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
}

/// Prints something that is continuing: not again while it continues.
pub(super) fn notice(text: &str) {
    with(|recent| {
        if recent.is_news(text, Instant::now()) {
            recent.print(text);
        }
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
    with(|recent| {
        for text in reasons {
            let known = recent.seen.contains_key(*text);
            let news = if known { "" } else { recent.without_last(text) }.to_owned();
            if !news.is_empty() {
                recent.print(&news);
            }
        }
    });
}

fn with(act: impl FnOnce(&mut Recent)) {
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    act(recent.get_or_insert_default());
}

impl Recent {
    /// What a text adds to the last line: nothing where only what was being done differs, and no
    /// advice that was just given.
    fn without_last<'a>(&self, text: &'a str) -> &'a str {
        let error = |text: &'a str| text.split_once(": ").map_or(text, |(_, error)| error);
        let last = self.last.split_once(": ").map_or(&*self.last, |(_, error)| error);
        if error(text) == last {
            return "";
        }
        match (text.rsplit_once("; "), self.last.rsplit_once("; ")) {
            (Some((front, advice)), Some((_, known))) if advice == known => front,
            _ => text,
        }
    }

    fn print(&mut self, text: &str) {
        // Without a reader of stderr there are still results and the exit code.
        let _ = writeln!(io::stderr(), "kavka: {text}");
        text.clone_into(&mut self.last);
    }
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
    fn what_the_last_line_says_is_not_repeated() {
        let last = "connection: refused, broker h:1; is one running there?".to_owned();
        let recent = Recent { last, ..Recent::default() };
        for (text, news) in [
            ("connection: refused, broker h:1; is one running there?", ""),
            ("read t: refused, broker h:1; is one running there?", ""),
            (
                "read t: not done in time: refused, broker h:1; is one running there?",
                "read t: not done in time: refused, broker h:1",
            ),
            ("read t: reset, broker h:1; try again", "read t: reset, broker h:1; try again"),
            ("t has no partition 1", "t has no partition 1"),
        ] {
            assert_eq!(recent.without_last(text), news);
        }
        assert_eq!(Recent::default().without_last("a: b; c"), "a: b; c");
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
