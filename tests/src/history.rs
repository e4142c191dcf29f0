//! The history of a run, one JSON object per line, in a format independent of what produced it.
//!
//! The simulation, runs against real clusters and the example `peer` of kavka-std all write it;
//! [`checker`](crate::checker) reads it. The first line is a [`Header`], every other one a
//! [`Line`]. Absent fields are left out. One file holds any number of processes, whose lines may be
//! mixed in any way: only the order within a process and the times count.
//!
//! ```json
//! {"history":1,"source":"simulate","seed":17,"growth_us":2500000}
//! {"time":0,"process":"p0","op":"open","type":"ok"}
//! {"time":9,"process":"p0","op":"send","type":"invoke","topic":"t","key":"k","value":7}
//! {"time":9,"process":"p0","op":"send","type":"ok","topic":"t","partition":2,"offset":0,"value":7}
//! {"time":20,"process":"c","op":"poll","type":"ok","topic":"t","partition":2,"offset":0,"value":7}
//! ```
//!
//! A process is one client from start to end; a restarted one has another name.

use std::borrow::Cow;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

/// The version of the format that this module reads and writes.
pub const VERSION: u32 = 1;

/// The first line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub history: u32,
    /// The program that wrote it.
    pub source: String,
    /// The seed that repeats the run, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Microseconds within which growth must be noticed; absent: not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth_us: Option<u64>,
}

impl Header {
    /// Returns a header without seed and bounds.
    pub fn new(source: impl Into<String>) -> Self {
        Self { history: VERSION, source: source.into(), seed: None, growth_us: None }
    }
}

/// The operation of a line. Each variant names the fields that its lines have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// `ok`: the process starts, with its `promise`. Optional: without it, [`Promise::default`].
    Open,
    /// `ok`: the process ends regularly; from here on it need not notice or read anything.
    Close,
    /// `invoke`: the application hands over a record: `topic`, `value`, `key` if it has one,
    /// `partition` if the application chose it. `ok`: acknowledged: `topic`, `partition`, `value`,
    /// `offset` if reported. `fail`: given up, and certainly not written: `topic`, `value`. `info`:
    /// given up or without an outcome, it may be written: `topic`, `value`.
    Send,
    /// `ok`: the application took a record: `topic`, `partition`, `offset`, `value`. A record that
    /// it only peeked at, and will get again, is not one.
    Poll,
    /// `ok`: reading begins: `topic`; `partition`, or absent for all of the topic and those that
    /// are added later; `offset` of the first record wanted, or absent with `latest`: the end of
    /// the log at that time. With neither it is the start of the log. Partitions that are added
    /// later are always read from the start of their log.
    Assign,
    /// `ok`: reading of `topic`, `partition` ends.
    Unassign,
    /// `ok`: the application moved its position: `topic`, `partition`, `to`.
    Seek,
    /// `ok`: the client reported that the position jumped by itself: `topic`, `partition`, `offset`
    /// (before), `to`.
    Moved,
    /// `ok`: the process claims to have read everything that this history acknowledges.
    Drained,
    /// `ok`: the process knows that `topic` has `count` partitions.
    Count,
    /// `ok`: `topic` was created with, or extended to, `count` partitions; the time is that of the
    /// cluster's confirmation.
    Grow,
    /// `ok`: `topic` was deleted in this `generation`: its records are gone.
    Delete,
    /// `ok`: the log of `topic`, `partition` begins at `offset` now: retention.
    Trim,
    /// `ok`: the log of `topic`, `partition` lost what it had from `offset` on: an unclean
    /// election. What was acknowledged before this line is no longer promised from there on.
    Truncate,
    /// `info`: a fault begins that may keep growth from being noticed; faults nest.
    Fault,
    /// `info`: ends one such fault; there is one for each [`Op::Fault`] line of this process.
    Calm,
    /// `info`: `text` for people, without effect.
    Memo,
    /// `ok`: the process holds `bytes` of memory, and may hold `limit`.
    Memory,
}

/// The state of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It begins.
    Invoke,
    /// It is done, or a fact.
    Ok,
    /// It did not happen.
    Fail,
    /// It may have happened.
    Info,
}

/// The promises of a process, as it was configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Promise {
    /// What is acknowledged stays: acks=all, no unclean elections.
    pub durable: bool,
    /// No record is in the log twice: idempotence.
    pub once: bool,
    /// Records of one partition are in the order of their sends: idempotence, or one request in
    /// flight.
    pub ordered: bool,
    /// A key's records are written in the order of their sends, also when growth moves the key to
    /// another partition.
    pub key_ordered: bool,
}

impl Default for Promise {
    fn default() -> Self {
        Self { durable: true, once: true, ordered: true, key_ordered: false }
    }
}

/// Text that borrows from the line it was read from where possible.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl core::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

/// One line. Built with [`Line::new`] and the methods named like its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line<'a> {
    /// Microseconds since a moment that is the same for all processes of the history.
    pub time: u64,
    /// The process.
    #[serde(borrow)]
    pub process: Text<'a>,
    /// The operation.
    pub op: Op,
    /// Its state.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Name of a topic.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Text<'a>>,
    /// How often the topic was deleted and recreated; all processes count the same way.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u32,
    /// Index of a partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Key of a record.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub key: Option<Text<'a>>,
    /// The record: a number that no other send of the topic has. Records of a topic without sends
    /// in the history may share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// Offset of a record, or a position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// The position after a jump.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
    /// Whether reading begins at the end of the log.
    #[serde(default, skip_serializing_if = "is_false")]
    pub latest: bool,
    /// Number of partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Bytes in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Limit of the bytes in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The promise, with [`Op::Open`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
    /// Text for people: an error, a fault.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text<'a>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

macro_rules! setters {
    ($($name:ident: $type:ty),*) => {$(
        #[doc = concat!("With this `", stringify!($name), "`.")]
        #[must_use]
        pub fn $name(mut self, $name: impl Into<$type>) -> Self {
            self.$name = Some($name.into());
            self
        }
    )*};
}

impl<'a> Line<'a> {
    /// Returns a line without optional fields.
    #[must_use]
    pub fn new(time: u64, process: &'a str, op: Op, kind: Kind) -> Self {
        Self {
            time,
            process: process.into(),
            op,
            kind,
            topic: None,
            generation: 0,
            partition: None,
            key: None,
            value: None,
            offset: None,
            to: None,
            latest: false,
            count: None,
            bytes: None,
            limit: None,
            promise: None,
            text: None,
        }
    }

    setters! {
        topic: Text<'a>, partition: u32, key: Text<'a>, value: u64, offset: i64, to: i64,
        count: u32, bytes: u64, limit: u64, promise: Promise, text: Text<'a>
    }

    /// Sets this `generation`.
    #[must_use]
    pub fn generation(mut self, generation: u32) -> Self {
        self.generation = generation;
        self
    }

    /// Sets `latest`.
    #[must_use]
    pub fn latest(mut self) -> Self {
        self.latest = true;
        self
    }
}

/// Writes a history.
#[derive(Debug)]
pub struct Writer<W: Write>(W);

impl<W: Write> Writer<W> {
    /// Begins with `header`. `out` should be buffered.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W, header: &Header) -> io::Result<Self> {
        put(&mut out, header)?;
        Ok(Self(out))
    }

    /// Adds a line.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&mut self, line: &Line<'_>) -> io::Result<()> {
        put(&mut self.0, line)
    }

    /// Flushes all buffers.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn put(out: &mut impl Write, what: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, what)?;
    out.write_all(b"\n")
}

/// Reads a history, a line at a time.
#[derive(Debug)]
pub struct Reader<R: BufRead> {
    lines: R,
    header: Header,
    number: u64,
    text: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// Those of `lines`; `InvalidData` for a first line that is no [`Header`], or another
    /// [`VERSION`].
    pub fn new(mut lines: R) -> io::Result<Self> {
        let mut text = Vec::new();
        lines.read_until(b'\n', &mut text)?;
        let header: Header = parse(&text, 1)?;
        if header.history != VERSION {
            return Err(bad(1, format!("format {}, not {VERSION}", header.history)));
        }
        Ok(Self { lines, header, number: 1, text })
    }

    /// Returns the header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the next line and its number, counted from 1 including the header.
    ///
    /// # Errors
    /// Those of the file; `InvalidData` for a line that is no [`Line`], with its number.
    pub fn next_line(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        self.text.clear();
        if self.lines.read_until(b'\n', &mut self.text)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        parse(&self.text, self.number).map(|line| Some((self.number, line)))
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a [u8], number: u64) -> io::Result<T> {
    serde_json::from_slice(text).map_err(|error| bad(number, error.to_string()))
}

fn bad(number: u64, why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("line {number}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut header = Header::new("test");
        header.growth_us = Some(7);
        let lines = [
            Line::new(1, "p", Op::Open, Kind::Ok).promise(Promise::default()),
            Line::new(2, "p", Op::Send, Kind::Invoke).topic("t").key("\"k\"\n").value(1_u64),
            Line::new(3, "c", Op::Poll, Kind::Ok).topic("t").generation(2).partition(1_u32),
            Line::new(4, "c", Op::Assign, Kind::Ok).topic("t").latest(),
        ];
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, &header).unwrap();
        lines.iter().for_each(|line| writer.write(line).unwrap());
        let mut reader = Reader::new(&file[..]).unwrap();
        assert_eq!(reader.header(), &header);
        for (number, line) in (2..).zip(&lines) {
            assert_eq!(reader.next_line().unwrap(), Some((number, line.clone())));
        }
        assert_eq!(reader.next_line().unwrap(), None);
    }

    #[test]
    fn a_bad_line_is_named() {
        let file = "{\"history\":1,\"source\":\"x\"}\n{\"time\":1}\n";
        let mut reader = Reader::new(file.as_bytes()).unwrap();
        assert!(reader.next_line().unwrap_err().to_string().starts_with("line 2: missing field"));
        let error = Reader::new(&b"{\"history\":9,\"source\":\"x\"}\n"[..]).unwrap_err();
        assert_eq!(error.to_string(), "line 1: format 9, not 1");
    }
}
