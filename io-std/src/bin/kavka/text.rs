//! Text in and out.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Stdout, Write};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use kavka_std::{Event, Events};

/// Buffered stdout. Its errors, a closed pipe among them, come back instead of a panic.
pub(super) type Out = BufWriter<Stdout>;

pub(super) fn out() -> Out {
    BufWriter::with_capacity(64 << 10, io::stdout())
}

/// Text that stands for some bytes on the command line: `\t`, `\n`, `\r`, `\0`, `\\`, `\xHH`.
pub(super) fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = || {
            let digits =
                bytes.get(at + 2..at + 4).and_then(|hex| core::str::from_utf8(hex).ok())?;
            u8::from_str_radix(digits, 16).ok()
        };
        let (value, taken) = match (byte, bytes.get(at + 1)) {
            (b'\\', Some(b't')) => (b'\t', 2),
            (b'\\', Some(b'n')) => (b'\n', 2),
            (b'\\', Some(b'r')) => (b'\r', 2),
            (b'\\', Some(b'0')) => (0, 2),
            (b'\\', Some(b'\\')) => (b'\\', 2),
            (b'\\', Some(b'x')) => hex().map_or((byte, 1), |value| (value, 4)),
            _ => (byte, 1),
        };
        plain.push(value);
        at += taken;
    }
    plain
}

/// Time of day, UTC, with milliseconds.
pub(super) fn time_of_day() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (day, millis) = (now.as_secs() % 86_400, now.subsec_millis());
    format!("{:02}:{:02}:{:02}.{millis:03}", day / 3600, day / 60 % 60, day % 60)
}

/// Tells on stderr what goes wrong, and with `all` whatever happens, until the client ends.
pub(super) fn notices(events: Events, all: bool) {
    let tell = move || {
        let mut last = String::new();
        while let Ok(event) = events.next().wait() {
            let wrong = matches!(
                event,
                Event::TopicFailed { .. }
                    | Event::Disconnected { .. }
                    | Event::Moved { .. }
                    | Event::PartitionFailed { .. }
            );
            let text = describe(&event);
            if (all || wrong) && text != last {
                // Nobody may be listening any more; that is no reason to stop.
                let _ = writeln!(io::stderr(), "kavka: {text}");
                last = text;
            }
        }
    };
    // Without a thread to spare there are no notices, only results.
    let _ = thread::Builder::new().name("kavka-notices".into()).spawn(tell);
}

/// An event in words.
pub(super) fn describe(event: &Event) -> String {
    match event {
        Event::TopicReady { topic, partitions } => format!("{topic}: {partitions} partitions"),
        Event::PartitionsAdded { topic, from, to, broker, signal } => {
            format!("{topic}: grown from {from} to {to} partitions (broker {broker}, {signal:?})")
        }
        Event::LeaderMoved { topic, partition, epoch } => {
            format!("{topic}, partition {partition}: new leader, epoch {epoch}")
        }
        Event::TopicRecreated { topic, partitions } => {
            format!("{topic}: recreated with {partitions} partitions")
        }
        Event::TopicFailed { error, .. }
        | Event::PartitionFailed { error, .. }
        | Event::Disconnected { error, .. } => error.to_string(),
        Event::BrokerStale { broker, topic } => {
            format!("{topic}: broker {broker} is behind the others")
        }
        Event::Assigned { topic, partition } => format!("{topic}, partition {partition}: reading"),
        Event::Moved { topic, partition, from, to, why } => {
            format!("{topic}, partition {partition}: position {from} -> {to} ({why:?})")
        }
        other => format!("{other:?}"),
    }
}

/// Node ids as text, for a table.
pub(super) fn join(ids: &[i32]) -> String {
    let mut text = String::new();
    for (n, id) in ids.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{id}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_can_be_written_with_backslashes() {
        assert_eq!(unescape(r"\t"), b"\t");
        assert_eq!(unescape(r"a\x1fb\\n"), b"a\x1fb\\n");
        assert_eq!(unescape(r"\xzz\q"), br"\xzz\q", "unknown ones stay as they are");
        assert_eq!(unescape("ž"), "ž".as_bytes());
    }
}
