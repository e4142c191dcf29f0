//! kcat: another release of librdkafka, as the system has it.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::OnceLock;

use super::{Mock, RECORDS, Row, librdkafka, run, skipped};

pub(super) fn is_here() -> bool {
    static IS_HERE: OnceLock<bool> = OnceLock::new();
    *IS_HERE.get_or_init(|| {
        let is_here = Command::new("kcat").arg("-V").output().is_ok();
        if !is_here {
            skipped("kcat", "kcat");
        }
        is_here
    })
}

fn kcat(mock: &Mock, topic: &str) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-q", "-b", &mock.bootstrap_servers(), "-t", topic]);
    command
}

/// Writes lines; where they went is read by librdkafka.
pub(super) fn write(
    mock: &Mock,
    topic: &str,
    (codec, level): (&str, &str),
    bytes: usize,
) -> Vec<Row> {
    let (mut lines, mut wanted) = (String::new(), Vec::new());
    for n in 0..RECORDS {
        let key = (n % 7 > 0).then(|| format!("sensor-{}", n % 7));
        let value = format!("{bytes} {n}, the temperature is 21.5 C; ").repeat(1 + n % 9);
        if let Some(key) = &key {
            let _ = write!(lines, "{key}#");
        }
        let _ = writeln!(lines, "{value}");
        wanted.push((key.map(String::into_bytes), Some(value.into_bytes())));
    }
    let mut command = kcat(mock, topic);
    command.args(["-P", "-K", "#", "-H", "by=kcat", "-z", codec]);
    for set in [format!("compression.level={level}"), format!("batch.size={bytes}")] {
        command.args(["-X", &set]);
    }
    run(command.args(["-X", "linger.ms=20"]), &lines);

    let before = super::BATCHES.iter().filter(|before| **before < bytes).count();
    let mut rows = librdkafka::read(mock, topic, RECORDS * (before + 1));
    let own = bytes.to_string() + " ";
    rows.retain(|(.., content)| {
        content.value.as_ref().is_some_and(|value| value.starts_with(own.as_bytes()))
    });
    let header = [("by".to_owned(), Some(b"kcat".to_vec()))];
    assert!(rows.iter().all(|(.., content)| content.headers == header), "{topic}: headers");
    let pair = |(.., content): &Row| (content.key.clone(), content.value.clone());
    let mut got: Vec<_> = rows.iter().map(pair).collect();
    (got.sort(), wanted.sort());
    assert!(got == wanted, "{topic}: {} records of {}", got.len(), wanted.len());
    rows
}

/// Returns the records in order, without headers, whose bytes it cuts.
pub(super) fn read(mock: &Mock, topic: &str) -> Vec<Row> {
    let mut command = kcat(mock, topic);
    command.args(["-C", "-e", "-o", "beginning", "-X", "check.crcs=true"]);
    let printed = run(command.args(["-f", "%p %o %T %K %S\n%k%s\n"]), "");
    let (mut rest, mut rows) = (&printed[..], Vec::new());
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&rest[..end]).expect("a line");
        let fields: Vec<i64> = line.split(' ').map(|field| field.parse().expect(line)).collect();
        let [partition, offset, timestamp, key, value] = fields[..] else { panic!("{line}") };
        rest = &rest[end + 1..];
        let mut take = |len: i64| {
            let len = usize::try_from(len).ok()?;
            let (taken, after) = rest.split_at(len);
            rest = after;
            Some(taken.to_vec())
        };
        let (key, value) = (take(key), take(value));
        rest = rest.strip_prefix(b"\n").expect("the end of a record");
        let content = super::Content { timestamp, key, value, headers: Vec::new() };
        rows.push((u32::try_from(partition).expect(line), offset, content));
    }
    rows.sort();
    rows
}
