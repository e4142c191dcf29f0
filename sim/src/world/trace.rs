//! What happened in a run: a hash that differs between different runs, and on demand every line.

use core::fmt;
use core::time::Duration;

use kavka_core::{Event, Instant};

/// Most characters of a message in a line.
const LONGEST: usize = 2000;

/// Formats a message for a line, without the codec's noise, and truncated if long.
pub(super) struct Brief<'m, M>(pub(super) &'m M);

impl<M: fmt::Debug> fmt::Display for Brief<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?}", self.0).replace(", unknown_tagged_fields: {}", "");
        let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(at, _)| at);
        f.write_str(&text[..end])
    }
}

/// The trace of a run.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    /// Whether each entry is printed as well.
    pub print: bool,
    /// The lines, where they are kept.
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Returns the hash, which is the same for the same run.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Adds an entry: what happened, and numbers that identify it.
    pub fn note(&mut self, at: Duration, what: &str, numbers: &[u64]) {
        let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        self.mix(micros);
        self.mix(u64::from(crc32c::crc32c(what.as_bytes())));
        for number in numbers {
            self.mix(*number);
        }
        self.say(at, format_args!("{what} {numbers:?}"));
    }

    /// Keeps the lines from now on, and those that say when a client wants to be called.
    pub fn keep(&mut self) {
        self.lines.get_or_insert_default();
    }

    /// Takes the lines that were kept.
    pub fn take_lines(&mut self) -> Vec<String> {
        self.lines.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// Notes when a client wants to be called at the latest.
    pub(super) fn due(&mut self, at: Duration, client: usize, due: Option<Instant>) {
        if self.lines.is_some() {
            let text = due.map_or("never".to_owned(), |due| {
                format!("{:.6}", Duration::from_micros(due.as_micros()).as_secs_f64())
            });
            self.say(at, format_args!("client {client} sleeps until {text}"));
        }
    }

    /// Adds bytes that went from one side to the other.
    pub(super) fn bytes(&mut self, at: Duration, way: &str, link: u64, bytes: &[u8]) {
        let sum = u64::from(crc32c::crc32c(bytes));
        self.note(at, way, &[link, bytes.len() as u64, sum]);
    }

    /// Prints or keeps a text only: the numbers already cover it in the hash.
    pub fn say(&mut self, at: Duration, text: fmt::Arguments<'_>) {
        if self.print {
            println!("{:>12.6} {text}", at.as_secs_f64());
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:.6} {text}", at.as_secs_f64()));
        }
    }

    /// Prints an event; for records, which ones.
    pub(super) fn event(&mut self, at: Duration, client: usize, event: &Event<'_>) {
        if let Event::Records(batch) = event {
            let (place, from, to) =
                (batch.topic_partition(), batch.position(), batch.next_offset());
            let high = batch.high_watermark();
            self.say(at, format_args!("client {client}: Records {place:?} {from}..{to} of {high}"));
        } else {
            self.say(at, format_args!("client {client}: {event:?}"));
        }
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}
