//! Records as JSON objects, one a line, with the names that kcat uses. Reading is the inverse of
//! writing, for every byte.
//!
//! Text is a JSON string, null is null, and bytes that are not UTF-8 are `{"base64": ".."}`.
//! Headers are pairs `[name, value]` in order.

use std::io::{self, Write};

use kavka_std::Received;
use kavka_std::kavka_core::record::TimestampType;
use serde_json::{Map, Value};

/// Writes one record and a line feed. `broker`: where it was read.
pub(super) fn write(
    out: &mut impl Write,
    record: &Received<'_>,
    kind: TimestampType,
    broker: i32,
) -> io::Result<()> {
    out.write_all(b"{\"topic\":")?;
    text(out, record.topic)?;
    let (partition, offset, time) = (record.partition, record.offset, record.timestamp);
    let kind = match kind {
        _ if time < 0 => "unknown",
        TimestampType::Create => "create",
        TimestampType::LogAppend => "logappend",
    };
    write!(out, ",\"partition\":{partition},\"offset\":{offset},\"tstype\":\"{kind}\"")?;
    write!(out, ",\"ts\":{time},\"broker\":{broker},\"headers\":[")?;
    for (n, header) in record.headers.enumerate() {
        out.write_all(if n == 0 { b"[" } else { b",[" })?;
        bytes(out, Some(header.name))?;
        out.write_all(b",")?;
        bytes(out, header.value)?;
        out.write_all(b"]")?;
    }
    out.write_all(b"],\"key\":")?;
    bytes(out, record.key)?;
    out.write_all(b",\"payload\":")?;
    bytes(out, record.value)?;
    out.write_all(b"}\n")
}

fn text(out: &mut impl Write, text: &str) -> io::Result<()> {
    serde_json::to_writer(out, text).map_err(io::Error::from)
}

fn bytes(out: &mut impl Write, bytes: Option<&[u8]>) -> io::Result<()> {
    match bytes.map(|bytes| (bytes, core::str::from_utf8(bytes))) {
        None => out.write_all(b"null"),
        Some((_, Ok(plain))) => text(out, plain),
        Some((bytes, Err(_))) => {
            out.write_all(b"{\"base64\":\"")?;
            base64(out, bytes)?;
            out.write_all(b"\"}")
        }
    }
}

/// A record as it was written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) partition: Option<u32>,
    pub(super) timestamp: Option<i64>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Headers,
}

/// Reads one record. `payload` must be there, be it null; the rest may be left out. Topic, offset,
/// broker and names that are not kcat's are passed over.
pub(super) fn parse(line: &[u8]) -> Result<Parsed, String> {
    let value = serde_json::from_slice(line).map_err(|error| wrong(&error))?;
    let Value::Object(fields) = value else { return Err(format!("must be {WANTED}")) };
    let Some(payload) = fields.get("payload") else {
        return Err("has no \"payload\"; write null for a tombstone".into());
    };
    Ok(Parsed {
        partition: number(&fields, "partition", "a number from 0, or null")?,
        timestamp: number(&fields, "ts", "whole milliseconds since 1970, or null")?,
        key: fields.get("key").map_or(Ok(None), |key| unbytes("key", key))?,
        value: unbytes("payload", payload)?,
        headers: fields.get("headers").map_or(Ok(Vec::new()), headers)?,
    })
}

/// What each line must be.
const WANTED: &str = r#"a JSON object, such as {"key": "k", "payload": "v"}"#;

/// What is no JSON, and where: serde_json's lines are those within the piece.
fn wrong(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    let line =
        if error.line() > 1 { format!("line {} of it, ", error.line()) } else { String::new() };
    format!("{line}column {}: {what}; it must be {WANTED}", error.column())
}

fn number<N: TryFrom<i64>>(
    fields: &Map<String, Value>,
    name: &str,
    what: &str,
) -> Result<Option<N>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_i64().and_then(|number| N::try_from(number).ok());
            number.map(Some).ok_or_else(|| format!("{name:?} is {value}; it must be {what}"))
        }
    }
}

fn unbytes(name: &str, value: &Value) -> Result<Option<Vec<u8>>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.as_bytes().to_vec())),
        Value::Object(fields) if fields.len() == 1 => {
            let text = fields.get("base64").and_then(Value::as_str);
            let bytes = text.and_then(|text| unbase64(text.as_bytes()));
            bytes.map(Some).ok_or_else(|| {
                format!("{name:?} has no valid base64, as in {{\"base64\": \"Zm9v\"}}")
            })
        }
        _ => Err(format!("{name:?} must be a string, null or {{\"base64\": \"..\"}}")),
    }
}

/// Names, which need not be UTF-8, and values.
type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Pairs, or kcat's list of names and values in turn.
fn headers(value: &Value) -> Result<Headers, String> {
    let wrong = "\"headers\" must be a list of pairs [name, value]";
    let list = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list,
        _ => return Err(wrong.into()),
    };
    let mut found = Vec::new();
    let mut items = list.iter();
    while let Some(item) = items.next() {
        let (name, value) = match item {
            Value::Array(pair) => match pair.as_slice() {
                [name, value] => (name, value),
                _ => return Err(wrong.into()),
            },
            name => (name, items.next().ok_or(wrong)?),
        };
        let name = unbytes("headers", name)?.ok_or("a header has no name")?;
        found.push((name, unbytes("headers", value)?));
    }
    Ok(found)
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, with padding.
fn base64(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    for group in bytes.chunks(3) {
        let at = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let mut text = *b"====";
        for (n, digit) in text.iter_mut().enumerate().take(group.len() + 1) {
            *digit = DIGITS[(bits >> (18 - 6 * n) & 63) as usize];
        }
        out.write_all(&text)?;
    }
    Ok(())
}

/// `None` for what no encoder writes.
fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    let stop = text.len().saturating_sub(4);
    let padding = text.get(stop..)?.iter().rev().take_while(|byte| **byte == b'=').count();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for (n, group) in text.chunks(4).enumerate() {
        let pads = if (n + 1) * 4 == text.len() { padding } else { 0 };
        let mut bits = 0;
        for &byte in group.get(..4 - pads)? {
            bits = bits << 6 | DIGITS.iter().position(|digit| *digit == byte)?;
        }
        bits <<= 6 * pads;
        let three = [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8];
        if three.get(3 - pads..)?.iter().any(|rest| *rest != 0) {
            return None; // bits that the padding cuts off
        }
        bytes.extend_from_slice(three.get(..3 - pads)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases: [(&[u8], &str); 7] = [
            (b"", ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"\xff\xfe", "//4="),
            (b"\xfb\xff\xbf", "+/+/"),
        ];
        for (bytes, text) in cases {
            let mut out = Vec::new();
            base64(&mut out, bytes).expect("memory");
            assert_eq!(out, text.as_bytes());
            assert_eq!(unbase64(text.as_bytes()).as_deref(), Some(bytes), "{text}");
        }
        for bad in ["Z", "Zg=", "Zg", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "Zm9v\n", "-_=="]
        {
            assert_eq!(unbase64(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused_with_its_reason() {
        let cases = [
            ("", "EOF"),
            ("[1]", "JSON object"),
            ("{}", "payload"),
            (r#"{"payload":1}"#, "\"payload\" must be"),
            (r#"{"payload":{"base64":"!"}}"#, "\"payload\" has no valid base64"),
            (r#"{"payload":{"base64":"Zg==","x":1}}"#, "must be a string"),
            (r#"{"payload":null,"partition":-1}"#, "\"partition\" is -1"),
            (r#"{"payload":null,"ts":1.5}"#, "\"ts\" is 1.5"),
            (r#"{"payload":null,"headers":{"a":"b"}}"#, "pairs"),
            (r#"{"payload":null,"headers":["a"]}"#, "pairs"),
            (r#"{"payload":null,"headers":[["a"]]}"#, "pairs"),
            (r#"{"payload":null,"headers":[[null,"a"]]}"#, "no name"),
            (r#"{"payload":null,"headers":[[{"base64":"//4"},"a"]]}"#, "no valid base64"),
        ];
        for (line, why) in cases {
            let refused = parse(line.as_bytes()).expect_err(line);
            assert!(refused.contains(why), "{line}: {refused}");
        }
    }

    #[test]
    fn kcats_lines_are_read() {
        let line = br#"{"topic":"t","partition":2,"offset":7,"tstype":"create","ts":5,"broker":1,
            "headers":["a","1","a",null],"key":null,"payload":"x","unknown":true}"#;
        let headers = vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"a".to_vec(), None)];
        let (partition, timestamp, value) = (Some(2), Some(5), Some(b"x".to_vec()));
        let want = Parsed { partition, timestamp, key: None, value, headers };
        assert_eq!(parse(line), Ok(want));
        let least = Parsed { value: Some(Vec::new()), ..Parsed::default() };
        assert_eq!(parse(br#"{"payload":"","headers":null,"ts":null}"#), Ok(least));
    }
}
