//! `kavka produce`.

use core::time::Duration;
use std::io::{self, BufRead, Write};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use clap::{Args, ValueEnum};
use kavka_std::{Acks, Header, Producer, Record};

use super::text::{notices, unescape};
use super::{Common, Failure};

/// How long acknowledgements are waited for after an interrupt.
const INTERRUPTED: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(super) struct Options {
    /// Where to
    topic: String,
    /// Only to this partition
    #[arg(short, long)]
    partition: Option<u32>,
    /// Text between key and value; \t and \xHH are understood
    #[arg(short = 'K', long, value_name = "SEPARATOR")]
    key_separator: Option<String>,
    /// The same key for all records
    #[arg(short, long, conflicts_with = "key_separator")]
    key: Option<String>,
    /// A header for all records; may be repeated
    #[arg(short = 'H', long, value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// An empty value is sent as none at all (a tombstone)
    #[arg(short = 'Z', long)]
    null: bool,
    /// Who must have a record before it counts
    #[arg(long, value_enum, default_value_t = AcksArg::All)]
    acks: AcksArg,
    /// Milliseconds that a batch waits for more records at most, while others are under way
    #[arg(long, default_value_t = 5, value_name = "MS")]
    linger: u64,
    /// A batch waits for the whole --linger although nothing is under way
    #[arg(long)]
    linger_when_idle: bool,
    /// Seconds after which a record that is not acknowledged has failed
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    delivery_timeout: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum AcksArg {
    /// All replicas that are in sync
    All,
    /// The leader
    #[value(name = "1")]
    Leader,
    /// Nobody
    #[value(name = "0")]
    None,
}

impl From<AcksArg> for Acks {
    fn from(acks: AcksArg) -> Self {
        match acks {
            AcksArg::All => Self::All,
            AcksArg::Leader => Self::Leader,
            AcksArg::None => Self::None,
        }
    }
}

pub(super) fn run(common: &Common, options: Options) -> Result<(), Failure> {
    let headers = headers(&options.header)?;
    let headers: Vec<Header<'_>> = headers
        .iter()
        .map(|(name, value)| Header { name, value: Some(value.as_bytes()) })
        .collect();
    let delivery = Duration::from_secs(options.delivery_timeout.max(1));
    let config = common
        .config()
        .acks(options.acks.into())
        .linger(Duration::from_millis(options.linger))
        .linger_when_idle(options.linger_when_idle)
        .delivery_timeout(delivery);
    let producer = Producer::new(config)?;
    producer.freshness(&options.topic).wait()?;
    notices(producer.events(), common.verbose);

    let sent = Arc::new(AtomicU64::new(0));
    let producer = Arc::new(Mutex::new(Some(producer)));
    on_interrupt(&producer, &sent, common.verbose)?;
    let separator = options.key_separator.as_deref().map(unescape);
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let record = parse(text, separator.as_deref(), options.key.as_deref(), options.null);
        let record = record.headers(&headers);
        let Ok(guard) = producer.lock() else { break };
        let Some(producer) = &*guard else { break };
        let pending = match options.partition {
            Some(partition) => producer.send_to(&options.topic, partition, &record)?,
            None => producer.send(&options.topic, &record)?,
        };
        drop(pending); // the end tells of failures
        sent.fetch_add(1, Ordering::Relaxed);
    }
    let Some(producer) = producer.lock().ok().and_then(|mut producer| producer.take()) else {
        // Interrupted: the handler ends the process.
        loop {
            std::thread::park();
        }
    };
    end(producer, sent.load(Ordering::Relaxed), delivery, common.verbose)
}

fn end(producer: Producer, sent: u64, bound: Duration, verbose: bool) -> Result<(), Failure> {
    let lost = producer.close(bound);
    if !lost.is_empty() {
        return Err(Failure::Failed(format!("of {sent} records: {lost}")));
    }
    if verbose {
        writeln!(io::stderr(), "kavka: {sent} records delivered")?;
    }
    Ok(())
}

/// On SIGINT and SIGTERM what was read is still delivered.
fn on_interrupt(
    producer: &Arc<Mutex<Option<Producer>>>,
    sent: &Arc<AtomicU64>,
    verbose: bool,
) -> Result<(), Failure> {
    let (producer, sent) = (producer.clone(), sent.clone());
    let handler = move || {
        let Some(producer) = producer.lock().ok().and_then(|mut producer| producer.take()) else {
            return; // ending already
        };
        let code = match end(producer, sent.load(Ordering::Relaxed), INTERRUPTED, verbose) {
            Ok(()) => 0,
            Err(Failure::Failed(text) | Failure::Usage(text)) => {
                let _ = writeln!(io::stderr(), "kavka: {text}");
                1
            }
            Err(Failure::Io(_)) => 1,
        };
        process::exit(code);
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::Failed(error.to_string()))
}

fn headers(list: &[String]) -> Result<Vec<(&str, &str)>, Failure> {
    let split = |text: &String| Failure::Usage(format!("--header {text}: must be NAME=VALUE"));
    list.iter().map(|text| text.split_once('=').ok_or_else(|| split(text))).collect()
}

fn parse<'a>(
    text: &'a [u8],
    separator: Option<&[u8]>,
    key: Option<&'a str>,
    null: bool,
) -> Record<'a> {
    let at = separator.and_then(|separator| find(text, separator));
    let (key, value) = match (at, separator) {
        (Some(at), Some(separator)) => {
            (text.get(..at), text.get(at + separator.len()..).unwrap_or_default())
        }
        _ => (key.map(str::as_bytes), text),
    };
    let mut record = Record::new(value);
    if null && value.is_empty() {
        record = Record::tombstone();
    }
    if let Some(key) = key {
        record = record.key(key);
    }
    record
}

fn find(text: &[u8], separator: &[u8]) -> Option<usize> {
    if separator.is_empty() {
        return None;
    }
    text.windows(separator.len()).position(|window| window == separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_at_the_first_separator() {
        let record = parse(b"k::v::w", Some(b"::"), None, false);
        assert_eq!((record.key, record.value), (Some(&b"k"[..]), Some(&b"v::w"[..])));
        let record = parse(b"no separator", Some(b"::"), None, false);
        assert_eq!((record.key, record.value), (None, Some(&b"no separator"[..])));
        let record = parse(b"k:", Some(b":"), None, true);
        assert_eq!((record.key, record.value), (Some(&b"k"[..]), None), "a tombstone");
        let record = parse(b"k:", Some(b":"), None, false);
        assert_eq!((record.key, record.value), (Some(&b"k"[..]), Some(&b""[..])));
        let record = parse(b"v", None, Some("all"), false);
        assert_eq!((record.key, record.value), (Some(&b"all"[..]), Some(&b"v"[..])));
    }
}
