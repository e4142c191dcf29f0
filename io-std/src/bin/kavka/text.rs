//! Text in and out.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Stdout};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Failure;

/// Buffered stdout. Its errors, a closed pipe among them, are returned instead of a panic.
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
            let digits = bytes.get(at + 2..at + 4)?;
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let value = digit(*digits.first()?)? * 16 + digit(*digits.get(1)?)?;
            u8::try_from(value).ok()
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

/// `NAME=VALUE`, the value of this option.
pub(super) fn pair<'a>(option: &str, text: &'a str) -> Result<(&'a str, &'a str), Failure> {
    text.split_once('=')
        .ok_or_else(|| Failure::Usage(format!("{option} {text}: must be NAME=VALUE")))
}

/// Time of day, UTC, with milliseconds.
pub(super) fn time_of_day() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (day, millis) = (now.as_secs() % 86_400, now.subsec_millis());
    format!("{:02}:{:02}:{:02}.{millis:03}", day / 3600, day / 60 % 60, day % 60)
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
        assert_eq!(unescape(r"\t\n\r\0"), b"\t\n\r\0");
        assert_eq!(unescape(r"a\x1fb\\n"), b"a\x1fb\\n");
        assert_eq!(unescape(r"\xzz\q\x+1\x"), br"\xzz\q\x+1\x", "unknown ones stay as they are");
        assert_eq!(unescape("ž"), "ž".as_bytes());
    }

    #[test]
    fn node_ids_are_listed() {
        assert_eq!((join(&[]), join(&[1]), join(&[3, 1])), ("".into(), "1".into(), "3,1".into()));
    }
}
