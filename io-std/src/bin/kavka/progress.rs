//! A line on a terminal that shows the progress of a long run.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line changes.
const PACE: Duration = Duration::from_millis(200);

/// Only where stderr is a terminal, and the other end (stdin or stdout) is none, since lines
/// typed or printed there would mix with it.
pub(super) struct Progress {
    begun: Instant,
    next: Option<Instant>,
    shown: bool,
    records: u64,
    bytes: u64,
}

impl Progress {
    pub(super) fn new(other_is_terminal: bool) -> Self {
        let begun = Instant::now();
        let wanted = io::stderr().is_terminal() && !other_is_terminal;
        Self { begun, next: wanted.then(|| begun + PACE), shown: false, records: 0, bytes: 0 }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
    }

    /// Shows the line when it is time to; `left` says what is known of the rest.
    pub(super) fn show(&mut self, left: impl FnOnce() -> String) {
        let Some(next) = self.next else { return };
        let now = Instant::now();
        if now < next {
            return;
        }
        self.next = Some(now + PACE);
        self.shown = true;
        let text = line(self.records, self.bytes, now - self.begun, &left());
        // Clears the rest of the previous line.
        let _ = write!(io::stderr(), "\r{text}\x1b[K"); // for the eye only
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K"); // for the eye only
        }
    }
}

fn line(records: u64, bytes: u64, time: Duration, left: &str) -> String {
    let seconds = time.as_secs_f64().max(0.001);
    let (rate, mebibytes) = (records as f64 / seconds, bytes as f64 / f64::from(1 << 20));
    format!("{records} records, {mebibytes:.1} MiB, {rate:.0} records/s{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_much_and_how_fast() {
        let text = line(3000, 3 << 20, Duration::from_secs(2), ", 5 to go");
        assert_eq!(text, "3000 records, 3.0 MiB, 1500 records/s, 5 to go");
    }
}
