//! `kavka produce`.

mod input;
mod sample;

use core::cell::Cell;
use core::time::Duration;
use std::io::{self, BufRead, IsTerminal};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::{Args, ValueEnum};
use kavka_std::kavka_core::record::{HEADER_LEN, HeaderRef, encoded_len};
use kavka_std::{Acks, Compression, Config, Event, KeyOrder, ProduceError, Producer, Record};

use super::common::Settings;
use super::failure::describe_lost;
use super::json::{self, Parsed};
use super::notices::{Notices, hopeless, in_background};
use super::places::missing;
use super::progress::Progress;
use super::streams::input;
use super::text::{PARTITION, counted, key_separator, pair, topic_name, unescape};
use super::{Failure, interrupt, lines};
use input::{Lines, too_large};
use sample::Sample;

/// How long acknowledgements are waited for after an interrupt.
const INTERRUPTED: Duration = Duration::from_secs(5);
/// Records fail after the delivery timeout, with a reason: closing waits for that, too.
const REASONS: Duration = Duration::from_secs(2);
/// The same when nothing can be delivered any more, as far as is known.
const HOPELESS: Duration = Duration::from_secs(1);
/// How often a producer without space is tried, since an interrupt may have come meanwhile.
const TICK: Duration = Duration::from_millis(200);
/// A byte of a record takes six of JSON at most, as in \u001f.
const JSON: usize = 6;
/// Everything else in a line of JSON.
const AROUND: usize = 64 << 10;

#[derive(Args)]
pub(super) struct Options {
    /// Topic to write to
    #[arg(value_parser = topic_name)]
    topic: String,
    /// Only to this partition
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(0..=PARTITION))]
    partition: Option<u32>,
    /// Text between key and value; \t and \xHH are understood
    #[arg(short = 'K', long, value_name = "SEPARATOR")]
    key_separator: Option<String>,
    /// Text after each record
    #[arg(short = 'D', long, default_value = "\\n", value_name = "DELIMITER")]
    delimiter: String,
    /// The same key for all records
    #[arg(short, long, conflicts_with = "key_separator")]
    key: Option<String>,
    /// A header for all records; may be repeated
    #[arg(short = 'H', long, value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// An empty value is sent as null (a tombstone)
    #[arg(short = 'Z', long)]
    null: bool,
    /// Read JSON objects as `consume --json` prints them: key, payload, headers, timestamp and
    /// partition of each are sent as the object has them
    #[arg(long, short = 'J', conflicts_with_all = ["key_separator", "key", "null", "delimiter"])]
    json: bool,
    /// With --json: let keys choose partitions, whatever the objects say
    #[arg(long, requires = "json", conflicts_with = "partition")]
    repartition: bool,
    /// Which replicas must have a record before it is acknowledged [default: all]
    #[arg(long, value_enum)]
    acks: Option<AcksArg>,
    /// Compress batches: gzip, snappy, lz4 or zstd; gzip and zstd take a level, as in zstd:1
    /// [default: none]
    #[arg(short = 'z', long, value_name = "CODEC[:LEVEL]")]
    compression: Option<Compression>,
    /// Which partition a key goes to while the topic grows: follow; drain, which waits until all
    /// that was sent before is acknowledged or failed; or pin:N, the first N partitions whatever
    /// their number [default: follow]
    #[arg(long, value_name = "POLICY", value_parser = key_order)]
    key_order: Option<KeyOrder>,
    /// Milliseconds that a batch waits for more records, at most, while others are in flight
    /// [default: 5]
    #[arg(long, value_name = "MS")]
    linger: Option<u64>,
    /// A batch waits for the whole --linger although nothing is in flight
    #[arg(long)]
    linger_when_idle: bool,
    /// Seconds after which a record that is not acknowledged has failed [default: 120]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    delivery_timeout: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum AcksArg {
    /// All replicas that are in sync
    All,
    /// The leader
    #[value(name = "1")]
    Leader,
    /// None
    #[value(name = "0")]
    None,
}

/// Reads a policy for keys.
fn key_order(text: &str) -> Result<KeyOrder, String> {
    match text.split_once(':') {
        None if text == "follow" => Ok(KeyOrder::Follow),
        None if text == "drain" => Ok(KeyOrder::Drain),
        Some(("pin", count)) => match count.parse() {
            Ok(0) | Err(_) => Err("pin:N needs a number of partitions, 1 or more".into()),
            Ok(count) => Ok(KeyOrder::Pin(count)),
        },
        _ => Err("must be follow, drain or pin:N".into()),
    }
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

pub(super) fn run(settings: &Settings, options: Options) -> Result<(), Failure> {
    let (config, delivery) = config(settings, &options);
    let largest = settings.properties.largest_record();
    let limit =
        if options.json { largest.saturating_mul(JSON).saturating_add(AROUND) } else { largest };
    let mut lines = Lines::new(input()?, unescape("--delimiter", &options.delimiter)?, limit)?;
    let headers: Vec<_> =
        options.header.iter().map(|text| pair("--header", text)).collect::<Result<_, _>>()?;
    let separator = key_separator(options.key_separator.as_deref())?;
    let producer = Producer::new(config)?;
    let events = producer.events();
    let notices = Notices::new(settings.verbose());
    let known = notices
        .wait_known(&producer, &options.topic, &events)
        .map_err(|failure| failure.interrupted("nothing was read and nothing sent"))?;
    if let Some(partition) = options.partition.filter(|partition| *partition >= known.partitions) {
        return Err(Failure::Failed(missing(&options.topic, partition, known.partitions as usize)));
    }

    let shared = Arc::new(Shared::new(producer, settings.verbose()));
    let ending = shared.clone();
    in_background(events, settings.verbose(), move |event| ending.is_over(event));
    let ending = shared.clone();
    interrupt::ends_by(move || ending.interrupted());
    let sender = Sender {
        options: &options,
        headers,
        separator,
        largest,
        partitions: Cell::new(known.partitions),
        shared: &shared,
    };
    let fed = sender.feed(&mut lines);
    let Some(producer) = shared.take() else {
        // Something else ends the process.
        loop {
            std::thread::park();
        }
    };
    let ended = shared.end(producer, delivery.saturating_add(REASONS));
    if interrupt::came() {
        lines::say("interrupted: the input was read to its end");
    }
    match (fed, ended) {
        (Ok(()), ended) => ended.map(|sent| shared.delivered(sent)),
        (fed, Ok(_)) => fed,
        (Err(fed), Err(ended)) => {
            fed.say();
            Err(ended)
        }
    }
}

fn config(settings: &Settings, options: &Options) -> (Config, Duration) {
    let properties = &settings.properties;
    let acks = options.acks.map(Acks::from).or(properties.acks).unwrap_or_default();
    let linger = options.linger.map(Duration::from_millis).or(properties.linger);
    let delivery = options.delivery_timeout.map(Duration::from_secs);
    let delivery = delivery.or(properties.delivery_timeout).unwrap_or(Duration::from_secs(120));
    let mut config = settings
        .config()
        .acks(acks)
        .linger_when_idle(options.linger_when_idle)
        .delivery_timeout(delivery);
    if let Some(linger) = linger {
        config = config.linger(linger);
    }
    if let Some(compression) = options.compression.or_else(|| properties.compression()) {
        config = config.compression(compression);
    }
    if let Some(order) = options.key_order {
        config = config.key_order(order);
    }
    if let Some(idempotent) = properties.idempotence {
        config = config.idempotent(idempotent);
    }
    (config, delivery)
}

/// What the threads share that may end the command. The one that takes the producer does.
struct Shared {
    producer: Mutex<Option<Producer>>,
    sample: Mutex<Option<Sample>>,
    sent: AtomicU64,
    verbose: bool,
}

impl Shared {
    fn new(producer: Producer, verbose: bool) -> Self {
        let (producer, sample) = (Mutex::new(Some(producer)), Mutex::new(Sample::new()));
        Self { producer, sample, sent: AtomicU64::new(0), verbose }
    }

    fn take(&self) -> Option<Producer> {
        lock(&self.producer).take()
    }

    /// Waits for acknowledgements. Returns how many records were delivered: all.
    fn end(&self, producer: Producer, bound: Duration) -> Result<u64, Failure> {
        let watched = lock(&self.sample).take().map(Sample::end).unwrap_or_default();
        let mut closing = producer.close(bound);
        let mut lost = loop {
            closing = match closing.wait_timeout(TICK) {
                Ok(lost) => break lost?,
                Err(closing) => closing,
            };
            if interrupt::came() {
                drop(producer.close(INTERRUPTED.min(bound))); // that time is enough now
            }
        };
        watched.add_to(&mut lost);
        let sent = self.sent.load(Ordering::Relaxed);
        if lost.is_empty() {
            return Ok(sent);
        }
        let (all, lost) = (counted(sent, "record"), describe_lost(&lost));
        Err(Failure::Lost(format!("of {all}: {lost}")))
    }

    fn delivered(&self, sent: u64) {
        if self.verbose {
            lines::say(&format!("{} delivered", counted(sent, "record")));
        }
    }

    /// Ends the process after a signal: what was read is still delivered.
    fn interrupted(&self) {
        let Some(producer) = self.take() else { return }; // ending already
        let code = match self.end(producer, INTERRUPTED) {
            Ok(sent) => {
                let sent = counted(sent, "record");
                lines::say(&format!(
                    "interrupted: {sent} delivered; the input was not read to its end"
                ));
                0
            }
            Err(failure) => {
                lines::say("interrupted: the input was not read to its end");
                failure.say()
            }
        };
        process::exit(code.into());
    }

    /// Ends the process when an event says that records cannot be delivered. Returns whether it
    /// says so.
    fn is_over(&self, event: &Event) -> bool {
        let net = || {
            let metrics = lock(&self.producer).as_ref()?.metrics();
            Some(metrics.wait_timeout(TICK).ok()?.ok()?.net)
        };
        let Some(why) = hopeless(event, net) else { return false };
        let Some(producer) = self.take() else { return false };
        lines::say("the input was not read to its end");
        // Other brokers may still acknowledge.
        if let Err(lost) = self.end(producer, HOPELESS) {
            lost.say();
        }
        process::exit(Failure::Failed(why).say().into());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sender<'a> {
    options: &'a Options,
    headers: Vec<(&'a str, &'a str)>,
    separator: Option<Vec<u8>>,
    /// Largest record, in bytes.
    largest: usize,
    /// Partitions that the topic has, as far as known here.
    partitions: Cell<u32>,
    shared: &'a Shared,
}

impl Sender<'_> {
    /// Sends everything that is read, up to the end of the input or an interrupt.
    fn feed(&self, lines: &mut Lines<impl BufRead>) -> Result<(), Failure> {
        let options = self.options;
        let separator = self.separator.as_deref();
        let mut progress = Progress::new(io::stdin().is_terminal());
        while let Some(text) = lines.next()? {
            let parsed = if !options.json {
                input::split(text, separator, options.key.as_deref(), options.null)
            } else if text.trim_ascii().is_empty() {
                continue;
            } else {
                let parsed = json::parse(text);
                parsed.map_err(|why| Failure::Failed(format!("line {}: {why}", lines.number)))?
            };
            if !self.send_line(&parsed, lines.number)? {
                return Ok(());
            }
            progress.add(parsed.value.map_or(0, |value| value.len()));
            progress.show(String::new);
        }
        Ok(())
    }

    /// `false`: interrupted.
    fn send_line(&self, parsed: &Parsed, number: u64) -> Result<bool, Failure> {
        let mut headers = Vec::with_capacity(parsed.headers.len() + self.headers.len());
        for (name, value) in &parsed.headers {
            headers.push(HeaderRef { name, value: value.as_deref() });
        }
        for (name, value) in &self.headers {
            headers.push(HeaderRef { name: name.as_bytes(), value: Some(value.as_bytes()) });
        }
        let record = input::record(parsed).header_refs(&headers);
        if encoded_len(&record, 0, 0).saturating_add(HEADER_LEN) > self.largest {
            return Err(too_large(number, self.largest));
        }
        let partition = match self.options.partition {
            None if !self.options.repartition => parsed.partition,
            chosen => chosen,
        };
        if let Some(partition) = partition.filter(|partition| *partition >= self.count(*partition))
        {
            let why = missing(&self.options.topic, partition, self.partitions.get() as usize);
            let advice = "--repartition lets keys choose";
            return Err(Failure::Failed(format!("line {number}: {why}; {advice}")));
        }
        self.send(partition, &record)
    }

    /// How many partitions the topic has; it may have gained this one since.
    fn count(&self, partition: u32) -> u32 {
        if partition >= self.partitions.get() {
            let known =
                lock(&self.shared.producer).as_ref().map(|at| at.freshness(&self.options.topic));
            let known = known.and_then(|known| known.wait_timeout(INTERRUPTED).ok()?.ok());
            self.partitions.set(known.map_or(self.partitions.get(), |known| known.partitions));
        }
        self.partitions.get()
    }

    /// Waits for space; `false`: interrupted meanwhile.
    fn send(&self, partition: Option<u32>, record: &Record<'_>) -> Result<bool, Failure> {
        let topic = &self.options.topic;
        loop {
            // The lock is not held while there is no space: an interrupt needs it.
            let room = {
                let guard = lock(&self.shared.producer);
                let Some(producer) = &*guard else { return Ok(false) };
                let sent = match partition {
                    Some(partition) => producer.try_send_to(topic, partition, record),
                    None => producer.try_send(topic, record),
                };
                match sent {
                    Ok(pending) => {
                        // Other failures show when the producer is closed.
                        if let Some(sample) = &*lock(&self.shared.sample) {
                            sample.watch(pending);
                        }
                        self.shared.sent.fetch_add(1, Ordering::Relaxed);
                        return Ok(true);
                    }
                    Err(ProduceError::Full | ProduceError::TopicFull) => producer.room_for(topic),
                    Err(refused) => return Err(refused.into()),
                }
            };
            // In either case it is tried again.
            let _ = room.wait_timeout(TICK);
        }
    }
}
