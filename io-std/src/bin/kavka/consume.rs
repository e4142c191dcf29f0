//! `kavka consume`.

use core::str::FromStr;
use core::time::Duration;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use kavka_std::{Admin, Consumer, Received, Start};
use serde_json::{Map, Value, json};

use super::text::{Out, notices, out, unescape};
use super::{Common, Failure};

/// How often an interrupt is looked for.
const TICK: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(super) struct Options {
    /// What to read
    #[arg(required = true)]
    topics: Vec<String>,
    /// Only this partition
    #[arg(short, long)]
    partition: Option<u32>,
    /// Where to begin: beginning, end, an offset, -N (the last N), or @MS (milliseconds since
    /// 1970)
    #[arg(short, long, default_value = "beginning", allow_hyphen_values = true)]
    offset: Offset,
    /// End after this many records
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// End when the last record that is there at the start was read
    #[arg(short, long)]
    exit: bool,
    /// Print the key too, with this text behind it; \t and \xHH are understood
    #[arg(short = 'K', long, value_name = "SEPARATOR")]
    key_separator: Option<String>,
    /// Text after each record
    #[arg(short = 'D', long, default_value = "\\n", value_name = "DELIMITER")]
    delimiter: String,
    /// One JSON object per record, with the names that kcat uses
    #[arg(long, conflicts_with_all = ["key_separator", "delimiter"])]
    json: bool,
    /// The rack of this client: partitions are read from a replica there, if brokers choose
    /// replicas by racks
    #[arg(long, default_value = "", hide_default_value = true)]
    rack: String,
    /// Flush stdout after each chunk of records even when it is not a terminal
    #[arg(short, long)]
    unbuffered: bool,
}

#[derive(Clone, Copy)]
enum Offset {
    At(Start),
    FromEnd(i64),
}

impl FromStr for Offset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let wrong = format!("{text}: beginning, end, an offset, -N or @MS");
            text.parse::<u64>().ok().and_then(|n| i64::try_from(n).ok()).ok_or(wrong)
        };
        Ok(match text {
            "beginning" | "earliest" => Self::At(Start::Earliest),
            "end" | "latest" => Self::At(Start::Latest),
            _ => match (text.strip_prefix('@'), text.strip_prefix('-')) {
                (Some(ms), _) => Self::At(Start::Timestamp(number(ms)?)),
                (_, Some(n)) => Self::FromEnd(number(n)?),
                _ => Self::At(Start::Offset(number(text)?)),
            },
        })
    }
}

pub(super) fn run(common: &Common, options: Options) -> Result<(), Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Release))
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let mut ends = Ends::find(common, &options)?;
    if options.exit && ends.left.is_empty() || options.count == Some(0) {
        return Ok(());
    }
    let consumer = start(common, &options, &ends)?;
    notices(consumer.events(), common.verbose);
    let mut print = Print::new(&options);
    let mut left = options.count.unwrap_or(u64::MAX);
    while !interrupted.load(Ordering::Acquire) {
        let Some(chunk) = consumer.next_timeout(TICK)? else {
            print.out.flush()?;
            continue;
        };
        for batch in chunk.batches() {
            let end =
                if options.exit { ends.of(batch.topic(), batch.partition()) } else { i64::MAX };
            for record in batch.records() {
                let record = record?;
                if record.offset >= end {
                    break;
                }
                print.record(&record)?;
                left -= 1;
                if left == 0 {
                    return Ok(print.out.flush()?);
                }
            }
            ends.passed(batch.topic(), batch.partition(), batch.next_offset());
        }
        if options.unbuffered {
            print.out.flush()?;
        }
        if options.exit && ends.left.is_empty() {
            break;
        }
    }
    Ok(print.out.flush()?)
}

fn start(common: &Common, options: &Options, ends: &Ends) -> Result<Consumer, Failure> {
    let config = common.config().rack(&options.rack);
    Ok(match (options.partition, options.offset) {
        (Some(partition), Offset::At(start)) => {
            let list: Vec<_> =
                options.topics.iter().map(|topic| (topic.as_str(), partition, start)).collect();
            Consumer::assign(config, &list)?
        }
        (_, Offset::FromEnd(_)) => {
            let starts = ends.starts.iter();
            let list: Vec<_> = starts
                .map(|((topic, partition), start)| {
                    (topic.as_str(), *partition, Start::Offset(*start))
                })
                .collect();
            Consumer::assign(config, &list)?
        }
        (None, Offset::At(start)) => {
            let names: Vec<_> = options.topics.iter().map(String::as_str).collect();
            Consumer::assign_all(config.start(start), &names)?
        }
    })
}

/// Where reading begins and, with `--exit`, ends.
#[derive(Default)]
struct Ends {
    starts: HashMap<(String, u32), i64>,
    /// Partitions that are not read to their end yet, and that end.
    left: HashMap<(String, u32), i64>,
    all: HashMap<(String, u32), i64>,
}

impl Ends {
    fn find(common: &Common, options: &Options) -> Result<Self, Failure> {
        let mut found = Self::default();
        if !options.exit && matches!(options.offset, Offset::At(_)) {
            return Ok(found);
        }
        let admin = Admin::new(common.config())?;
        for topic in &options.topics {
            let ends = admin.offsets(topic, Start::Latest).wait()?;
            let firsts = admin.offsets(topic, Start::Earliest).wait()?;
            let starts = match options.offset {
                Offset::At(Start::Earliest) => firsts.clone(),
                Offset::At(Start::Offset(offset)) => vec![offset; ends.len()],
                Offset::At(start) => admin.offsets(topic, start).wait()?,
                Offset::FromEnd(n) => ends.iter().map(|end| end - n).collect(),
            };
            let places = starts.iter().zip(&firsts).zip(&ends);
            for (partition, ((&start, &first), &end)) in (0..).zip(places) {
                if options.partition.is_some_and(|only| only != partition) {
                    continue;
                }
                let (at, start) = ((topic.clone(), partition), start.max(first));
                found.starts.insert(at.clone(), start.min(end));
                found.all.insert(at.clone(), end);
                if start < end {
                    found.left.insert(at, end);
                }
            }
        }
        Ok(found)
    }

    /// Where a partition ends; 0 for one that was added meanwhile.
    fn of(&self, topic: &str, partition: u32) -> i64 {
        self.all.get(&(topic.to_owned(), partition)).copied().unwrap_or(0)
    }

    fn passed(&mut self, topic: &str, partition: u32, next_offset: i64) {
        if !self.left.is_empty() {
            let at = (topic.to_owned(), partition);
            if self.left.get(&at).is_some_and(|end| next_offset >= *end) {
                self.left.remove(&at);
            }
        }
    }
}

struct Print {
    out: Out,
    key_separator: Option<Vec<u8>>,
    delimiter: Vec<u8>,
    json: bool,
}

impl Print {
    fn new(options: &Options) -> Self {
        Self {
            out: out(),
            key_separator: options.key_separator.as_deref().map(unescape),
            delimiter: unescape(&options.delimiter),
            json: options.json,
        }
    }

    fn record(&mut self, record: &Received<'_>) -> io::Result<()> {
        if self.json {
            return writeln!(self.out, "{}", as_json(record));
        }
        if let Some(separator) = &self.key_separator {
            self.out.write_all(record.key.unwrap_or_default())?;
            self.out.write_all(separator)?;
        }
        self.out.write_all(record.value.unwrap_or_default())?;
        self.out.write_all(&self.delimiter)
    }
}

fn as_json(record: &Received<'_>) -> Value {
    fn text(bytes: Option<&[u8]>) -> Option<Cow<'_, str>> {
        bytes.map(String::from_utf8_lossy)
    }
    let mut headers = Map::new();
    for header in record.headers {
        let name = String::from_utf8_lossy(header.name).into_owned();
        headers.insert(name, json!(text(header.value)));
    }
    json!({
        "topic": record.topic, "partition": record.partition, "offset": record.offset,
        "ts": record.timestamp, "key": text(record.key), "payload": text(record.value),
        "headers": headers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_kcat_does() {
        let at = |text| match Offset::from_str(text) {
            Ok(Offset::At(start)) => Some(start),
            _ => None,
        };
        assert_eq!(at("beginning"), Some(Start::Earliest));
        assert_eq!(at("end"), Some(Start::Latest));
        assert_eq!(at("17"), Some(Start::Offset(17)));
        assert_eq!(at("@1700000000000"), Some(Start::Timestamp(1_700_000_000_000)));
        assert!(matches!(Offset::from_str("-5"), Ok(Offset::FromEnd(5))));
        for bad in ["", "middle", "@", "--1", "@-1", "9223372036854775808"] {
            assert!(Offset::from_str(bad).is_err(), "{bad:?}");
        }
    }
}
