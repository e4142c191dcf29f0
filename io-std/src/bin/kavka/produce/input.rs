//! Records from stdin.

use std::io::{BufRead, Read};

use kavka_std::Record;

use crate::Failure;
use crate::json::Parsed;
use crate::streams::stdin;

/// Delimited pieces of the input, each of bounded length.
pub(super) struct Lines<R> {
    input: R,
    delimiter: Vec<u8>,
    /// Longest piece, without its delimiter.
    limit: usize,
    /// Of the piece read last, from 1.
    pub(super) number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, delimiter: Vec<u8>, limit: usize) -> Result<Self, Failure> {
        if delimiter.is_empty() {
            return Err(Failure::Usage("--delimiter must not be empty".into()));
        }
        Ok(Self { input, delimiter, limit, number: 0, line: Vec::new() })
    }

    /// The next piece, without its delimiter. `None`: the input has ended.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        self.line.clear();
        self.number += 1;
        let last = self.delimiter.last().copied().unwrap_or(b'\n');
        let most = self.limit + self.delimiter.len();
        loop {
            let room = (most + 1).saturating_sub(self.line.len());
            let mut part = self.input.by_ref().take(room as u64);
            let read = part.read_until(last, &mut self.line).map_err(stdin)?;
            if let Some(text) = self.line.strip_suffix(&*self.delimiter)
                && text.len() <= self.limit
            {
                let length = text.len();
                return Ok(self.line.get(..length));
            }
            if read == 0 && self.line.len() <= self.limit {
                return Ok((!self.line.is_empty()).then_some(&self.line));
            }
            if read == 0 || self.line.len() > most {
                return Err(too_large(self.number, self.limit));
            }
        }
    }
}

/// The line is larger than a record may be.
pub(super) fn too_large(number: u64, limit: usize) -> Failure {
    Failure::Failed(format!(
        "line {number}: larger than a record of {limit} bytes; -X max.request.size=N raises that"
    ))
}

/// Key and value of a line.
pub(super) fn split(
    text: &[u8],
    separator: Option<&[u8]>,
    key: Option<&str>,
    null: bool,
) -> Parsed {
    let at = separator.and_then(|separator| find(text, separator));
    let (key, value) = match (at, separator) {
        (Some(at), Some(separator)) => {
            (text.get(..at), text.get(at + separator.len()..).unwrap_or_default())
        }
        _ => (key.map(str::as_bytes), text),
    };
    let value = (!null || !value.is_empty()).then(|| value.to_vec());
    Parsed { key: key.map(<[u8]>::to_vec), value, ..Parsed::default() }
}

fn find(text: &[u8], separator: &[u8]) -> Option<usize> {
    if separator.is_empty() {
        return None;
    }
    text.windows(separator.len()).position(|window| window == separator)
}

/// As the producer takes it, without headers.
pub(super) fn record(parsed: &Parsed) -> Record<'_> {
    let mut record = Record::tombstone();
    record.value = parsed.value.as_deref();
    record.key = parsed.key.as_deref();
    record.timestamp = parsed.timestamp;
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &[u8], delimiter: &str, limit: usize) -> Result<Vec<Vec<u8>>, u64> {
        let mut lines = Lines::new(text, delimiter.into(), limit).ok().expect("a delimiter");
        let mut found = Vec::new();
        loop {
            match lines.next() {
                Ok(Some(line)) => found.push(line.to_vec()),
                Ok(None) => return Ok(found),
                Err(_) => return Err(lines.number),
            }
        }
    }

    #[test]
    fn input_is_cut_at_delimiters_and_lines_are_bounded() {
        let cut = |text: &str, delimiter, limit| {
            let found = pieces(text.as_bytes(), delimiter, limit);
            found.map(|all| all.iter().map(|one| String::from_utf8_lossy(one).into()).collect())
        };
        let want = |list: &[&str]| Ok(list.iter().map(|one| one.to_string()).collect::<Vec<_>>());
        assert_eq!(cut("a\r\n\nb", "\n", 9), want(&["a\r", "", "b"]), "a carriage return is kept");
        assert_eq!(cut("a\nb\r\nc\r\n", "\r\n", 9), want(&["a\nb", "c"]));
        assert_eq!(cut("", "\n", 9), want(&[]));
        assert_eq!(cut("12345\n12345", "\n", 5), want(&["12345", "12345"]));
        assert_eq!(cut("1\n123456\n", "\n", 5), Err(2));
        assert_eq!(cut("1\n123456", "\n", 5), Err(2));
        assert_eq!(cut("1\n123456789", "\n", 5), Err(2));
        assert_eq!(cut("12345--", "--", 5), want(&["12345"]));
        assert_eq!(cut("123456-", "--", 5), Err(1));
        assert!(Lines::new(&b""[..], Vec::new(), 1).is_err(), "no delimiter");
    }

    #[test]
    fn a_line_is_split_at_the_first_separator() {
        let parts = |text: &[u8], separator: Option<&[u8]>, key, null| {
            let parsed = split(text, separator, key, null);
            let text = |bytes: Option<Vec<u8>>| bytes.map(|b| String::from_utf8(b).expect("text"));
            (text(parsed.key), text(parsed.value))
        };
        let want = |key: Option<&str>, value: Option<&str>| {
            (key.map(str::to_owned), value.map(str::to_owned))
        };
        let colons = Some(&b"::"[..]);
        assert_eq!(parts(b"k::v::w", colons, None, false), want(Some("k"), Some("v::w")));
        assert_eq!(parts(b"none", colons, None, false), want(None, Some("none")));
        assert_eq!(parts(b"k::", colons, None, true), want(Some("k"), None), "a tombstone");
        assert_eq!(parts(b"k::", colons, None, false), want(Some("k"), Some("")));
        assert_eq!(parts(b"v", None, Some("all"), false), want(Some("all"), Some("v")));
        assert_eq!(parts(b"v", Some(b""), None, false), want(None, Some("v")));
    }
}
