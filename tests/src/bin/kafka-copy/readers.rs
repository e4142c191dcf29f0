//! Both topics as three clients read them with `read_committed`: a line for each record, with
//! partition, timestamp, length of the key, key, headers, length of the value and value.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use kavka_std::{Config, Consumer, Event, Isolation, Received, Start};
use kavka_tests::kafka::{Cluster, Version, jars};

use super::{FROM, Failure, TO};

/// Lines of each partition, in order.
type Lines = BTreeMap<u32, Vec<String>>;

/// Returns what distinguishes the topics, and one reader from another.
pub(super) fn compare(cluster: &Cluster, folder: &Path) -> Result<Vec<String>, Failure> {
    let mut differences = Vec::new();
    let mut first: Option<(&str, Lines)> = None;
    for (reader, read) in [("kavka", kavka as Reader), ("Java", java), ("kcat", kcat)] {
        if reader == "kcat" && !has_kcat() {
            println!("kcat is not installed: not read by it");
            continue;
        }
        let (from, to) = (read(cluster, FROM)?, read(cluster, TO)?);
        let count = |lines: &Lines| lines.values().map(Vec::len).sum::<usize>();
        println!("{reader}: {} records in {FROM}, {} in {TO}", count(&from), count(&to));
        difference(&format!("{reader}: {TO} is not {FROM}"), &from, &to, &mut differences);
        if let Some((other, lines)) = &first {
            let what = format!("{reader} and {other} read {TO} differently");
            difference(&what, lines, &to, &mut differences);
        }
        if !differences.is_empty() {
            save(folder, FROM, &from)?;
            save(folder, TO, &to)?;
            return Ok(differences);
        }
        first.get_or_insert((reader, to));
    }
    Ok(differences)
}

type Reader = fn(&Cluster, &str) -> Result<Lines, Failure>;

/// Adds what is different: missing and surplus lines, or the first place where the order differs.
fn difference(what: &str, wanted: &Lines, found: &Lines, differences: &mut Vec<String>) {
    let partitions: std::collections::BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
    for partition in partitions {
        let of = |lines: &Lines| lines.get(partition).cloned().unwrap_or_default();
        let (wanted, found) = (of(wanted), of(found));
        if wanted == found {
            continue;
        }
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        wanted.iter().for_each(|line| *counts.entry(line).or_default() += 1);
        found.iter().for_each(|line| *counts.entry(line).or_default() -= 1);
        let some = |surplus: i64| {
            let mut all = counts.iter().filter(|(_, n)| n.signum() == surplus);
            let count = all.clone().count();
            format!("{count} ({:?})", all.next().map(|(line, _)| line))
        };
        let at = wanted.iter().zip(&found).position(|(a, b)| a != b);
        differences.push(format!(
            "{what}: partition {partition}: {} missing, {} too many, first difference at record \
             {at:?}",
            some(1),
            some(-1)
        ));
    }
}

fn save(folder: &Path, topic: &str, lines: &Lines) -> Result<(), Failure> {
    let mut text = String::new();
    for (partition, lines) in lines {
        lines.iter().for_each(|line| {
            let _ = writeln!(text, "{partition}\t{line}");
        });
    }
    Ok(std::fs::write(folder.join(topic), text)?)
}

fn parse(text: &str) -> Result<Lines, Failure> {
    let mut lines = Lines::new();
    for line in text.lines() {
        let (partition, rest) = line.split_once('\t').ok_or_else(|| format!("a line {line:?}"))?;
        lines.entry(partition.parse()?).or_default().push(rest.to_owned());
    }
    Ok(lines)
}

fn text(bytes: Option<&[u8]>) -> (i64, String) {
    match bytes {
        None => (-1, String::new()),
        Some(bytes) => (bytes.len() as i64, String::from_utf8_lossy(bytes).into_owned()),
    }
}

fn line(record: &Received<'_>) -> String {
    let headers: Vec<String> = record
        .headers
        .map(|header| format!("{}={}", text(Some(header.name)).1, text(header.value).1))
        .collect();
    let ((key_len, key), (len, value)) = (text(record.key), text(record.value));
    let (timestamp, headers) = (record.timestamp, headers.join(","));
    format!("{timestamp}\t{key_len}\t{key}\t{headers}\t{len}\t{value}")
}

fn kavka(cluster: &Cluster, topic: &str) -> Result<Lines, Failure> {
    let config = Config::new(cluster.bootstrap()).isolation(Isolation::ReadCommitted);
    let consumer = Consumer::assign_all(config.start(Start::Earliest), &[topic])?;
    let events = consumer.events();
    let partitions = cluster.metadata(Some(topic))?.partitions.len();
    let (mut lines, mut ends) = (Lines::new(), BTreeMap::new());
    // An end is an event of its own, which overtakes the records before it.
    let is_read = |(partition, end): (&u32, &i64)| {
        consumer.position(topic, *partition).is_some_and(|position| position >= *end)
    };
    while ends.len() < partitions || !ends.iter().all(is_read) {
        if let Some(chunk) = consumer.next_timeout(super::TICK)? {
            for batch in chunk.batches() {
                let lines = lines.entry(batch.partition()).or_default();
                for record in batch.records() {
                    lines.push(line(&record?));
                }
            }
        }
        while let Some(event) = events.try_next() {
            if let Event::EndOfPartition { partition, offset, .. } = event {
                ends.insert(partition, offset);
            }
        }
    }
    Ok(lines)
}

fn java(cluster: &Cluster, topic: &str) -> Result<Lines, Failure> {
    let jars = jars::fetch(Version::V4_4_0)?;
    let mut command = Command::new("java");
    command.arg("-cp").arg(jars.join("*")).args(["-Xmx512m", "-XX:TieredStopAtLevel=1"]);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/data/java/ReadWhole.java"));
    output(command.args([&cluster.bootstrap(), topic]))
}

fn has_kcat() -> bool {
    let mut command = Command::new("kcat");
    command.arg("-V").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn kcat(cluster: &Cluster, topic: &str) -> Result<Lines, Failure> {
    let mut command = Command::new("kcat");
    command.args(["-q", "-C", "-e", "-o", "beginning", "-X", "isolation.level=read_committed"]);
    command.args(["-f", "%p\\t%T\\t%K\\t%k\\t%h\\t%S\\t%s\\n"]);
    output(command.args(["-b", &cluster.bootstrap(), "-t", topic]))
}

fn output(command: &mut Command) -> Result<Lines, Failure> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    parse(str::from_utf8(&output.stdout)?)
}
