//! `kavka consume`.

mod format;
mod member;
mod offset;
mod plan;
mod print;
mod search;
mod waits;

use core::time::Duration;
use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::time::Instant;

use clap::Args;
use kavka_std::kavka_core::MoveReason;
use kavka_std::{
    Chunk, Config, Consumer, Error, Event, Events, GroupProtocol, Isolation, Limits, OrderedGrowth,
    Start,
};

use super::Failure;
use super::common::Settings;
use super::failure;
use super::interrupt::{self, stdout_is_closed};
use super::lines;
use super::notices::{Notices, describe, hopeless, leads_elsewhere, trouble};
use super::progress::Progress;
use super::properties::{Properties, assignors, isolation, protocol};
use super::text::{PARTITION, counted, topic_name};
use offset::Offset;
use plan::Plan;
use print::Print;

/// How often an interrupt is looked for.
const TICK: Duration = Duration::from_millis(200);
/// Receive buffers that are large are fewer, so that they take no more than this together.
const BUFFERS: usize = 256 << 20;
/// Bytes of a receive buffer at first.
const RECEIVE: usize = 2 << 20;
/// Buffers that there always are.
const LEAST: usize = 4;

#[derive(Args)]
pub(super) struct Options {
    /// Topics to read; with --group one that begins with ^ is a regular expression instead, which
    /// has to match whole names: '^orders-.*'
    #[arg(required = true, value_parser = topic_or_pattern)]
    topics: Vec<String>,
    /// Partition to read; all without it
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(0..=PARTITION))]
    partition: Option<u32>,
    /// Where to start: beginning, end, an offset, -N (the last N), or @MS (milliseconds since
    /// 1970) [default: beginning, or as auto.offset.reset says]
    #[arg(short, long, allow_hyphen_values = true)]
    offset: Option<Offset>,
    /// Read as a member of this consumer group: partitions are shared with the other
    /// members, and what was printed is committed. --offset is where partitions without a commit
    /// begin
    #[arg(short, long, value_name = "GROUP", conflicts_with_all = ["partition", "exit"])]
    group: Option<String>,
    /// The id of a static member of the group (group.instance.id)
    #[arg(long, value_name = "ID", requires = "group")]
    instance: Option<String>,
    /// How the member takes part in the group (group.protocol): consumer (KIP-848), classic, or
    /// auto: consumer where the broker offers it
    #[arg(long, value_name = "PROTOCOL", requires = "group", value_parser = protocol)]
    protocol: Option<GroupProtocol>,
    /// The assignors of a member by the classic protocol, the preferred one first, separated by
    /// commas (partition.assignment.strategy): range, roundrobin, sticky, cooperative-sticky
    /// [default: cooperative-sticky,range]
    #[arg(long, value_name = "NAMES", requires = "group", value_parser = assignors)]
    assignors: Option<String>,
    /// Exit after this many records
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// Exit after the last record that existed at the start
    #[arg(short, long)]
    exit: bool,
    /// Print the key too, followed by this text; \t and \xHH are understood
    #[arg(short = 'K', long, value_name = "SEPARATOR")]
    key_separator: Option<String>,
    /// Text after each record
    #[arg(short = 'D', long, default_value = "\\n", value_name = "DELIMITER")]
    delimiter: String,
    /// Print each record in this form: %s payload, %S its length (-1: null), %R the same as four
    /// bytes, %k key, %K its length, %T timestamp, %h headers, %t topic, %p partition, %o offset,
    /// %n line feed, %% percent sign; \n, \t and \xHH are understood
    #[arg(short, long, conflicts_with_all = ["key_separator", "delimiter"])]
    format: Option<String>,
    /// One JSON object per record, with the names that kcat uses
    #[arg(long, short = 'J', conflicts_with_all = ["key_separator", "delimiter", "format"])]
    json: bool,
    /// Print NULL for keys and payloads that are null
    #[arg(short = 'Z', long, conflicts_with = "json")]
    null: bool,
    /// The rack of this client: partitions are read from a replica there, if brokers choose
    /// replicas by racks
    #[arg(long)]
    rack: Option<String>,
    /// Which records of transactions are read: read_committed, or read_uncommitted (those of open
    /// and aborted ones, too) [default: read_uncommitted, or as isolation.level says]
    #[arg(long, value_name = "LEVEL", value_parser = isolation)]
    isolation: Option<Isolation>,
    /// Hold partitions that are added until those that their keys come from have been read, as of
    /// SECONDS after the growth was noticed: keys are in order if all producers drain within that
    /// time and the number of partitions is multiplied
    #[arg(
        long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
        default_missing_value = "5", value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    ordered_growth: Option<u32>,
    /// Receive buffer in bytes: the largest record batch that can be read [default: 2 MiB, which
    /// grows up to 64 MiB where a batch is larger]
    #[arg(
        long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(4096..=1 << 30)
    )]
    fetch_bytes: Option<u32>,
    /// Flush stdout after each chunk of records even when it is not a terminal
    #[arg(short, long)]
    unbuffered: bool,
}

impl Options {
    /// Puts an option in the place of a property that is not only the consumer's.
    pub(super) fn choose(&self, properties: &mut Properties) {
        properties.isolation = self.isolation.or(properties.isolation);
    }

    /// Whether it commits offsets.
    pub(super) fn commits(&self) -> bool {
        self.group.is_some()
    }
}

fn topic_or_pattern(text: &str) -> Result<String, String> {
    match text.starts_with('^') {
        true => Ok(text.to_owned()),
        false => topic_name(text),
    }
}

pub(super) fn run(settings: &Settings, mut options: Options) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    options.topics.retain(|topic| seen.insert(topic.clone()));
    let patterns = options.topics.iter().filter(|topic| topic.starts_with('^')).count();
    if patterns > 0 && (options.group.is_none() || options.topics.len() > 1) {
        let text = "a regular expression needs --group, and is the only topic: join several by |";
        return Err(Failure::Usage(text.into()));
    }
    let print = Print::new(settings, &options)?;
    if options.count == Some(0) {
        return Ok(());
    }
    if let Some(group) = &options.group {
        return member::run(settings, &options, config(settings, &options), group);
    }
    let by_default = settings.properties.start.unwrap_or(Start::Earliest);
    let offset = options.offset.unwrap_or(Offset::At(by_default));
    let plan = Plan::find(settings, &options, offset)
        .map_err(|failure| failure.interrupted("nothing was read"))?;
    if plan.is_done() {
        return plan.verdict();
    }
    let consumer = start(settings, &options, offset, &plan)?;
    let reader = Reader {
        settings,
        topics: options.topics.clone(),
        events: consumer.events(),
        consumer,
        notices: Notices::new(settings.verbose()),
        plan,
        print,
        progress: Progress::new(io::stdout().is_terminal()),
        left: options.count.unwrap_or(u64::MAX),
        counts: options.count.is_some(),
        unbuffered: options.unbuffered || io::stdout().is_terminal(),
        patience: settings.timeout(),
        ready: false,
        trouble: None,
    };
    reader.run()
}

/// The configuration of a consumer, as the options have it.
fn config(settings: &Settings, options: &Options) -> Config {
    let mut limits = Limits::server();
    limits.rx_bytes = options.fetch_bytes.map_or(RECEIVE, |bytes| bytes as usize);
    limits.conns = limits.conns.min(BUFFERS / limits.rx_bytes).max(LEAST);
    let rack = options.rack.as_ref().or(settings.properties.rack.as_ref());
    let mut config = settings.config().rack(rack.cloned().unwrap_or_default()).limits(limits);
    if let Some(seconds) = options.ordered_growth {
        let settle = Duration::from_secs(seconds.into());
        let limit = OrderedGrowth::default().limit.max(settle * 2);
        config = config.ordered_growth(OrderedGrowth::new(settle, limit));
    }
    if options.fetch_bytes.is_some() {
        config = config.max_batch_bytes(limits.rx_bytes);
    }
    if options.fetch_bytes.is_none() && settings.properties.max_batch_bytes.is_some() {
        let _ = failure::RECEIVE_LIMITED.set(()); // there is one of these
    }
    config
}

fn start(
    settings: &Settings,
    options: &Options,
    offset: Offset,
    plan: &Plan,
) -> Result<Consumer, Failure> {
    let config = config(settings, options);
    if let Some(list) = &plan.list {
        let list: Vec<_> =
            list.iter().map(|(topic, partition, start)| (&**topic, *partition, *start)).collect();
        return Ok(Consumer::assign(config, &list)?);
    }
    let names: Vec<_> = options.topics.iter().map(String::as_str).collect();
    let start = match offset {
        Offset::At(start) => start,
        Offset::FromEnd(_) => Start::Latest, // has a list
    };
    Ok(Consumer::assign_all(config.start(start), &names)?)
}

struct Reader<'a> {
    settings: &'a Settings,
    topics: Vec<String>,
    consumer: Consumer,
    events: Events,
    notices: Notices,
    plan: Plan,
    print: Print,
    progress: Progress,
    /// Records to print at most.
    left: u64,
    /// That is fewer than there may be.
    counts: bool,
    unbuffered: bool,
    /// How long nothing may come: of what is known of the topics, and with `--exit` of records.
    patience: Duration,
    /// Something is known of a topic.
    ready: bool,
    /// The last thing that went wrong.
    trouble: Option<String>,
}

impl Reader<'_> {
    fn run(mut self) -> Result<(), Failure> {
        let mut result = self.read();
        // What was skipped before the end is reported before it.
        if let (Ok(()), Err(why)) = (&result, self.events()) {
            result = Err(why);
        }
        // What was read before is printed whatever happened then.
        let flushed = self.print.flush();
        drop(self.progress);
        result?;
        flushed?;
        self.plan.verdict()
    }

    fn read(&mut self) -> Result<(), Failure> {
        let mut last = Instant::now();
        while !interrupt::came() {
            let chunk = self.consumer.next_timeout(TICK);
            self.events()?;
            for (topic, partition, start) in self.plan.found()? {
                self.consumer.add(&topic, partition, start).wait()?;
                last = Instant::now();
            }
            let chunk = match chunk {
                Err(error) => {
                    self.stop(&error)?;
                    if self.plan.is_done() {
                        return Ok(());
                    }
                    continue;
                }
                Ok(chunk) => chunk,
            };
            let Some(chunk) = chunk else {
                self.print.flush()?;
                if stdout_is_closed() {
                    return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
                }
                let before = self.plan.remaining();
                self.plan.follow(&self.consumer);
                if self.plan.remaining() != before {
                    last = Instant::now(); // what has no records for us counts as well
                }
                if self.plan.is_done() {
                    return Ok(());
                }
                if last.elapsed() > self.patience {
                    self.check()?;
                }
                continue;
            };
            last = Instant::now();
            self.chunk(&chunk)?;
            if self.unbuffered {
                self.print.flush()?;
            }
            if self.left == 0 || self.plan.is_done() {
                return Ok(());
            }
            let plan = &self.plan;
            self.progress.show(|| {
                plan.remaining().map_or_else(String::new, |left| format!(", {left} to go"))
            });
        }
        self.interrupted();
        Ok(())
    }

    /// Reports what a signal left undone.
    fn interrupted(&self) {
        let ends = self.plan.remaining().map(|left| format!("at most {}", counted(left, "record")));
        let few = self.counts.then(|| counted(self.left, "record"));
        if let Some(left) = ends.or(few) {
            lines::say(&format!("interrupted: {left} left to read"));
        } else if !self.ready {
            lines::say("interrupted before a broker had responded: nothing was read");
        }
    }

    /// Handles an error: one of a partition does not concern the others.
    fn stop(&mut self, error: &Error) -> Result<(), Failure> {
        let Some((topic, partition)) = error.partition() else {
            return Err(error.clone().into());
        };
        self.plan.stop(topic, partition, failure::describe(error));
        Ok(())
    }

    /// Whether records may still come although none have for a long time.
    fn check(&self) -> Result<(), Failure> {
        let obstacle = self.obstacle();
        let trouble = obstacle.as_deref().or(self.trouble.as_deref());
        if self.plan.remaining().is_some() {
            return Err(self.plan.stalled(trouble));
        }
        if self.ready {
            return Ok(());
        }
        let (time, why) = (self.patience.as_secs(), trouble.unwrap_or("no broker has responded"));
        Err(Failure::Failed(format!("nothing is known of the topic after {time} s: {why}")))
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<(), Failure> {
        for batch in chunk.batches() {
            let end = self.plan.end(batch.topic(), batch.partition());
            let mut behind = 0;
            self.print.begin(&batch);
            for record in batch.records() {
                let record = record?;
                behind = record.offset.saturating_add(1);
                if record.offset >= end {
                    break;
                }
                self.print.record(&record)?;
                self.progress.add(record.value.map_or(0, <[u8]>::len));
                self.left -= 1;
                if self.left == 0 {
                    return Ok(());
                }
            }
            self.plan.read(&batch, behind);
        }
        Ok(())
    }

    fn events(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.events.try_next() {
            let net = || Some(self.consumer.metrics().wait_timeout(TICK).ok()?.ok()?.net);
            if let Some(why) = hopeless(&event, net) {
                return Err(Failure::Failed(why));
            }
            self.notices.show(&event);
            if let Some(text) = trouble(&event) {
                self.trouble = Some(text);
            }
            match event {
                Event::TopicReady { topic, partitions: count }
                | Event::PartitionsAdded { topic, to: count, .. } => {
                    self.ready = true;
                    self.plan.count(&topic, count);
                    self.print.leaders_changed(&topic);
                    for partition in self.plan.added(&topic, count) {
                        self.consumer.add(&topic, partition, Start::Earliest).wait()?;
                    }
                }
                Event::EndOfPartition { topic, partition, offset } => {
                    self.ended(&topic, partition, offset)?;
                }
                Event::PartitionFailed { topic, partition, error } if leads_elsewhere(&error) => {
                    self.plan.stop(&topic, partition, failure::describe(&error));
                }
                Event::Moved { why: MoveReason::Skipped, .. } => {
                    self.plan.skipped(describe(&event));
                }
                Event::LeaderMoved { topic, .. } | Event::TopicRecreated { topic, .. } => {
                    self.print.leaders_changed(&topic);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
