//! Text in and out.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Failure;

/// Reads text that stands for some bytes on the command line: `\t`, `\n`, `\r`, `\0`, `\\`, `\xHH`.
pub(super) fn unescape(option: &str, text: &str) -> Result<Vec<u8>, Failure> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        plain.extend_from_slice(before.as_bytes());
        let (byte, taken) =
            escape(from).map_err(|why| Failure::Usage(format!("{option} {text}: {why}")))?;
        plain.push(byte);
        rest = from.get(taken..).unwrap_or_default();
    }
    plain.extend_from_slice(rest.as_bytes());
    Ok(plain)
}

/// Reads the escape at the front of `text`, which begins with a backslash: its byte, and how many
/// bytes it takes.
pub(super) fn escape(text: &str) -> Result<(u8, usize), String> {
    let byte = match text.chars().nth(1) {
        Some('t') => b'\t',
        Some('n') => b'\n',
        Some('r') => b'\r',
        Some('0') => 0,
        Some('\\') => b'\\',
        Some('x') => {
            let digits = text.get(2..4).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            return byte.map(|byte| (byte, 4)).ok_or("\\x needs two hexadecimal digits".into());
        }
        Some(other) => return Err(format!("\\{other} means nothing; write \\\\ for a backslash")),
        None => return Err("\\ stands at the end; write \\\\ for a backslash".into()),
    };
    Ok((byte, 2))
}

/// Reads the name of a topic: what brokers accept as one (`Topic.validate`).
pub(super) fn topic_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let good = (1..=249).contains(&text.len()) && text.bytes().all(fits);
    if good && !matches!(text, "." | "..") {
        Ok(text.to_owned())
    } else {
        Err("a topic name has 1 to 249 of a-z A-Z 0-9 . _ -, and is not . or ..".to_owned())
    }
}

/// Names without those that were there before.
pub(super) fn distinct(names: &[String]) -> Vec<&str> {
    let mut seen = HashSet::new();
    names.iter().map(String::as_str).filter(|name| seen.insert(*name)).collect()
}

/// Largest index of a partition.
pub(super) const PARTITION: i64 = i32::MAX as i64 - 1;

/// Reads `-K`.
pub(super) fn key_separator(text: Option<&str>) -> Result<Option<Vec<u8>>, Failure> {
    match text {
        Some("") => Err(Failure::Usage("--key-separator must not be empty".into())),
        Some(text) => unescape("--key-separator", text).map(Some),
        None => Ok(None),
    }
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

/// A number of things, in English.
pub(super) fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Numbers as text, such as `1, 3-5 and 9`; of many ranges only the first.
pub(super) fn ranges(numbers: &[u32]) -> String {
    let mut list: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match list.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => list.push((number, number)),
        }
    }
    let shown = list.get(..RANGES).unwrap_or(&list);
    let covered: u64 = shown.iter().map(|(first, last)| u64::from(last - first) + 1).sum();
    let more = (numbers.len() as u64).saturating_sub(covered);
    let mut parts: Vec<String> = shown
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    if more > 0 {
        parts.push(format!("{more} more"));
    }
    match parts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, front)) => format!("{} and {last}", front.join(", ")),
        None => String::new(),
    }
}

/// Ranges that a message names.
const RANGES: usize = 10;

/// `host:port`; a host that is empty is named as that.
pub(super) fn address(host: &str, port: u16) -> String {
    match host {
        "" => format!("(empty host):{port}"),
        _ if host.contains(':') => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
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
        let plain = |text| unescape("-K", text).ok().expect(text);
        assert_eq!(plain(r"\t\n\r\0"), b"\t\n\r\0");
        assert_eq!(plain(r"a\x1fb\\n\xFF"), b"a\x1fb\\n\xff");
        assert_eq!(plain("ž"), "ž".as_bytes());
        for bad in [r"\xzz", r"\x1", r"\x+1", r"\q", r"a\", r"\ž", r"\x1ž"] {
            assert!(matches!(unescape("-K", bad), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn names_of_topics_are_those_that_brokers_accept() {
        let long = "x".repeat(250);
        for good in ["t", "a.b_c-9", "...", "__consumer_offsets", &long[1..]] {
            assert_eq!(topic_name(good).as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", "a b", "a/b", "ž", "a\n", &long] {
            assert!(topic_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_are_listed_as_ranges() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[3]), "3");
        assert_eq!(ranges(&[1, 3, 4, 5, u32::MAX]), "1, 3-5 and 4294967295");
        let even: Vec<u32> = (0..40).map(|n| 2 * n).collect();
        assert_eq!(ranges(&even), "0, 2, 4, 6, 8, 10, 12, 14, 16, 18 and 30 more");
    }

    #[test]
    fn addresses_have_brackets_where_they_need_them() {
        assert_eq!(address("h", 1), "h:1");
        assert_eq!(address("::1", 1), "[::1]:1");
        assert_eq!(address("", 9), "(empty host):9");
    }

    #[test]
    fn node_ids_are_listed() {
        assert_eq!((join(&[]), join(&[1]), join(&[3, 1])), ("".into(), "1".into(), "3,1".into()));
    }
}
