//! `kavka topics offsets`.

use core::str::FromStr;
use std::io::Write;

use clap::Args;
use kavka_std::Start;
use serde_json::json;

use super::places::{Found, Places, readable, say_all};
use super::{Failure, Settings};
use crate::streams::Out;
use crate::text::{PARTITION, distinct, topic_name};

#[derive(Args)]
pub(crate) struct Options {
    /// Names of the topics
    #[arg(required = true, value_parser = topic_name)]
    names: Vec<String>,
    /// Only this partition
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(0..=PARTITION))]
    partition: Option<u32>,
    /// The offset at a time: earliest (-2), latest (-1), or of the first record with at least this
    /// timestamp (milliseconds since 1970)
    #[arg(long, allow_hyphen_values = true)]
    time: Option<Time>,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Time(Start);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: earliest, latest or milliseconds since 1970");
        Ok(Self(match text {
            "earliest" | "beginning" | "-2" => Start::Earliest,
            "latest" | "end" | "-1" => Start::Latest,
            _ => {
                let digits = text.strip_prefix('@').unwrap_or(text);
                let ms = digits.parse::<u64>().map_err(|_| wrong())?;
                Start::Timestamp(i64::try_from(ms).map_err(|_| wrong())?)
            }
        }))
    }
}

pub(super) fn run(settings: &Settings, options: &Options, mut out: Out) -> Result<(), Failure> {
    let places = Places::new(settings)?;
    let mut bad = Vec::new();
    for name in distinct(&options.names) {
        match print(&places, name, options, &mut out) {
            Ok(more) => {
                say_all(&more);
                bad.extend(more);
            }
            // Others would be waited for as long in vain.
            Err(Failure::Failed(why)) => {
                bad.push(why);
                break;
            }
            Err(other) => return Err(other),
        }
    }
    out.flush()?;
    if bad.is_empty() { Ok(()) } else { Err(Failure::Several(bad)) }
}

/// Prints the offsets of a topic. Returns what is not known, and why.
fn print(
    places: &Places,
    name: &str,
    options: &Options,
    out: &mut Out,
) -> Result<Vec<String>, Failure> {
    let topic = match places.describe(name)? {
        Ok(topic) => topic,
        Err(why) => return Ok(vec![why]),
    };
    let (good, mut bad) = readable(&topic, options.partition);
    say_all(&bad);
    let starts = match options.time {
        Some(Time(start)) => vec![start],
        None => vec![Start::Earliest, Start::Latest],
    };
    let Found { good: rows, bad: more, .. } = places.offsets(name, &good, &starts)?;
    bad.extend(more);
    for (partition, offsets) in rows {
        let Some(line) = line(name, partition, &offsets, options.json) else { continue };
        writeln!(out, "{line}")?;
    }
    Ok(bad)
}

/// Both ends of a log, or one offset.
fn line(topic: &str, partition: u32, offsets: &[i64], as_json: bool) -> Option<String> {
    Some(match (offsets, as_json) {
        ([first, end], true) => {
            json!({ "topic": topic, "partition": partition, "first": first, "end": end })
                .to_string()
        }
        ([offset, ..], true) => {
            json!({ "topic": topic, "partition": partition, "offset": offset }).to_string()
        }
        ([first, end], false) => format!("{topic}\t{partition}\t{first}\t{end}"),
        ([offset, ..], false) => format!("{topic}:{partition}:{offset}"),
        ([], _) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_kafkas_tool_does() {
        for (text, start) in [
            ("earliest", Start::Earliest),
            ("-2", Start::Earliest),
            ("latest", Start::Latest),
            ("-1", Start::Latest),
            ("0", Start::Timestamp(0)),
            ("@1700000000000", Start::Timestamp(1_700_000_000_000)),
        ] {
            assert_eq!(text.parse(), Ok(Time(start)), "{text}");
        }
        for bad in ["", "-3", "max-timestamp", "1e3", "9223372036854775808"] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }
}
