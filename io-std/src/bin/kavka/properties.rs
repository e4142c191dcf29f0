//! Client properties as Java and librdkafka name them, from `--config FILE` and `-X KEY=VALUE`.

use std::fs;
use std::time::Duration;

use kavka_std::kavka_core::Assignor;
use kavka_std::kavka_core::codec::Codec;
use kavka_std::{Acks, Compression, Config, GroupProtocol, Isolation, OutOfRange, Start};

use super::security::Security;
use super::{Failure, lines};

/// The values of the properties; `None` where there is none.
#[derive(Default)]
pub(super) struct Properties {
    pub(super) bootstrap: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) rack: Option<String>,
    pub(super) acks: Option<Acks>,
    pub(super) idempotence: Option<bool>,
    pub(super) linger: Option<Duration>,
    pub(super) delivery_timeout: Option<Duration>,
    pub(super) request_bytes: Option<usize>,
    compression: Option<Compression>,
    /// `compression.gzip.level` and the like; one for all codecs is librdkafka's.
    levels: Vec<(Option<Codec>, i32)>,
    /// `auto.offset.reset`: where reading begins, and what happens outside the log.
    pub(super) start: Option<Start>,
    pub(super) out_of_range: Option<OutOfRange>,
    pub(super) isolation: Option<Isolation>,
    /// `group.protocol` and `partition.assignment.strategy`.
    pub(super) protocol: Option<GroupProtocol>,
    pub(super) assignors: Option<String>,
    batch_bytes: Option<usize>,
    queue_bytes: Option<usize>,
    auto_create: Option<bool>,
    pub(super) check_cluster: Option<bool>,
    pub(super) max_batch_bytes: Option<usize>,
    pub(super) security: Security,
    durations: Vec<(Timing, Duration)>,
    sizes: Vec<(Size, i32)>,
}

#[derive(Clone, Copy)]
enum Timing {
    Request,
    Connect,
    Retry,
    RetryMax,
    Reconnect,
    ReconnectMax,
    MetadataAge,
    FetchWait,
    Session,
    Heartbeat,
}

#[derive(Clone, Copy)]
enum Size {
    FetchMin,
    FetchMax,
    Partition,
}

/// Properties that mean nothing to a command that assigns partitions and prints bytes.
const NO_EFFECT: [&str; 12] = [
    "group.id",
    "group.instance.id",
    "enable.auto.commit",
    "auto.commit.interval.ms",
    "max.poll.records",
    "max.poll.interval.ms",
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
    "retries",
    "max.in.flight.requests.per.connection",
];

/// Reads how a member takes part in its group.
pub(super) fn protocol(text: &str) -> Result<GroupProtocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Ok(GroupProtocol::Auto),
        "consumer" => Ok(GroupProtocol::Consumer),
        "classic" => Ok(GroupProtocol::Classic),
        _ => Err("must be auto, consumer or classic".into()),
    }
}

/// Reads a list of assignors: names, or the classes of Kafka's Java client.
pub(super) fn assignors(text: &str) -> Result<String, String> {
    let mut names = Vec::new();
    for name in text.split(',').map(str::trim) {
        let class = name.strip_prefix("org.apache.kafka.clients.consumer.").unwrap_or(name);
        let known = match class {
            "RangeAssignor" => Some(Assignor::Range),
            "RoundRobinAssignor" => Some(Assignor::RoundRobin),
            "StickyAssignor" => Some(Assignor::Sticky),
            "CooperativeStickyAssignor" => Some(Assignor::CooperativeSticky),
            name => Assignor::from_name(name),
        };
        let known = known.ok_or("must be of range, roundrobin, sticky, cooperative-sticky")?;
        names.push(known.name());
    }
    Ok(names.join(","))
}

/// The result of reading a property.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    Yes,
    /// It is named on stderr, with this.
    Warn(&'static str),
}

impl Properties {
    pub(super) fn read_file(&mut self, path: &str) -> Result<(), Failure> {
        let text = fs::read_to_string(path).map_err(|error| {
            let hint = if path.contains('=') { "; a topic config is -c NAME=VALUE" } else { "" };
            Failure::Usage(format!("--config {path}: {error}{hint}"))
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text); // as editors put it there
        for (line, key, value) in entries(text) {
            self.take(&format!("{path}, line {line}"), &key, &value)?;
        }
        Ok(())
    }

    pub(super) fn read_option(&mut self, entry: &str) -> Result<(), Failure> {
        match entry.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some((key, value)) if !key.is_empty() => self.take("-X", key, value),
            _ => Err(Failure::Usage(format!("-X {entry}: must be KEY=VALUE"))),
        }
    }

    fn take(&mut self, place: &str, key: &str, value: &str) -> Result<(), Failure> {
        match self.set(key, value) {
            Ok(Taken::Yes) => {}
            Ok(Taken::Warn(why)) => lines::say(&format!("{place}: {key} {why}")),
            Err(why) if is_secret(key) => {
                return Err(Failure::Usage(format!("{place}: {key}: {why}")));
            }
            Err(why) => return Err(Failure::Usage(format!("{place}: {key}={value}: {why}"))),
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<Taken, String> {
        match key {
            "bootstrap.servers" | "metadata.broker.list" => self.bootstrap = Some(value.into()),
            "client.id" => self.client_id = Some(short(value)?),
            "client.rack" => self.rack = Some(short(value)?),
            "acks" | "request.required.acks" => self.acks = Some(acks(value)?),
            "enable.idempotence" => self.idempotence = Some(truth(value)?),
            "linger.ms" | "queue.buffering.max.ms" => self.linger = Some(millis(value, 0, LONG)?),
            "batch.size" => self.batch_bytes = Some(number(value, 0, INT)?),
            "receive.message.max.bytes" => self.max_batch_bytes = Some(number(value, 1000, INT)?),
            "buffer.memory" => self.queue_bytes = Some(number(value, 1, LONG)?),
            "delivery.timeout.ms" | "message.timeout.ms" => {
                self.delivery_timeout = Some(millis(value, 1, INT)?);
            }
            "max.request.size" | "message.max.bytes" => {
                self.request_bytes = Some(number(value, 1, INT)?)
            }
            "allow.auto.create.topics" => self.auto_create = Some(truth(value)?),
            "metadata.cluster.check.enable" => self.check_cluster = Some(truth(value)?),
            "auto.offset.reset" => self.reset(value)?,
            "isolation.level" => self.isolation = Some(isolation(value)?),
            "group.protocol" => self.protocol = Some(protocol(value)?),
            "partition.assignment.strategy" => self.assignors = Some(assignors(value)?),
            "compression.type" | "compression.codec" => self.compression = Some(value.parse()?),
            "compression.gzip.level" => self.level(Codec::Gzip, value)?,
            "compression.zstd.level" => self.level(Codec::Zstd, value)?,
            "compression.level" => self.levels.push((None, level(value)?)),
            _ if self.security.set(key, value)? => {}
            _ => return self.set_timing(key, value),
        }
        Ok(Taken::Yes)
    }

    fn set_timing(&mut self, key: &str, value: &str) -> Result<Taken, String> {
        let timing = match key {
            "request.timeout.ms" | "socket.timeout.ms" => Timing::Request,
            "socket.connection.setup.timeout.ms" => Timing::Connect,
            "retry.backoff.ms" => Timing::Retry,
            "retry.backoff.max.ms" => Timing::RetryMax,
            "reconnect.backoff.ms" => Timing::Reconnect,
            "reconnect.backoff.max.ms" => Timing::ReconnectMax,
            "metadata.max.age.ms" | "topic.metadata.refresh.interval.ms" => Timing::MetadataAge,
            "fetch.max.wait.ms" | "fetch.wait.max.ms" => Timing::FetchWait,
            "session.timeout.ms" => Timing::Session,
            "heartbeat.interval.ms" => Timing::Heartbeat,
            _ => return self.set_size(key, value),
        };
        let (least, most) = match timing {
            Timing::FetchWait => (0, INT),
            Timing::Request | Timing::Session | Timing::Heartbeat => (1, INT),
            _ => (1, LONG),
        };
        self.durations.push((timing, millis(value, least, most)?));
        Ok(Taken::Yes)
    }

    fn set_size(&mut self, key: &str, value: &str) -> Result<Taken, String> {
        let size = match key {
            "fetch.min.bytes" => Size::FetchMin,
            "fetch.max.bytes" => Size::FetchMax,
            "max.partition.fetch.bytes" | "fetch.message.max.bytes" => Size::Partition,
            _ => return check(key),
        };
        self.sizes.push((size, number(value, 0, INT)?));
        Ok(Taken::Yes)
    }

    fn reset(&mut self, value: &str) -> Result<(), String> {
        let (start, out_of_range) = match value {
            "earliest" | "smallest" | "beginning" => (Some(Start::Earliest), OutOfRange::Earliest),
            "latest" | "largest" | "end" => (Some(Start::Latest), OutOfRange::Latest),
            "none" | "error" => (None, OutOfRange::Stop),
            _ => return Err("must be earliest, latest or none".into()),
        };
        (self.start, self.out_of_range) = (start, Some(out_of_range));
        Ok(())
    }

    /// Takes the level of a codec, which has to be one that it has.
    fn level(&mut self, codec: Codec, value: &str) -> Result<(), String> {
        let level = level(value)?;
        // Java's default.
        if !(level == -1 && codec == Codec::Gzip) {
            format!("{codec}:{level}").parse::<Compression>()?;
        }
        self.levels.push((Some(codec), level));
        Ok(())
    }

    /// Largest record that is worth reading, in bytes.
    pub(super) fn largest_record(&self) -> usize {
        self.request_bytes.unwrap_or(1 << 20)
    }

    /// What is compressed with, at the level that is set for it.
    pub(super) fn compression(&self) -> Option<Compression> {
        let chosen = self.compression?;
        let mut levels = self.levels.iter().filter(|(codec, _)| {
            // -1 is the usual one for Java's gzip, and for all codecs in librdkafka.
            codec.is_none() || *codec == chosen.codec()
        });
        let usual = |codec: Option<Codec>, level| level == -1 && codec != Some(Codec::Zstd);
        match levels.next_back() {
            Some((codec, level)) if !usual(*codec, *level) => Some(chosen.at_level(*level)),
            _ => Some(chosen),
        }
    }

    /// The configuration with everything that no option can override.
    pub(super) fn apply(&self, mut config: Config) -> Config {
        if let Some(bytes) = self.batch_bytes {
            config = config.batch_bytes(bytes);
        }
        if let Some(bytes) = self.queue_bytes {
            config = config.queue_bytes(bytes);
        }
        if let Some(bytes) = self.max_batch_bytes {
            config = config.max_batch_bytes(bytes);
        }
        if let Some(yes) = self.auto_create {
            config = config.auto_create(yes);
        }
        if let Some(yes) = self.check_cluster {
            config = config.accept_other_cluster(!yes);
        }
        if let Some(what) = self.out_of_range {
            config = config.out_of_range(what);
        }
        if let Some(isolation) = self.isolation {
            config = config.isolation(isolation);
        }
        let (request_bytes, durations) = (self.request_bytes, self.durations.clone());
        let sizes = self.sizes.clone();
        config.tune(move |core| {
            core.request_bytes = request_bytes.unwrap_or(core.request_bytes);
            for &(timing, value) in &durations {
                match timing {
                    Timing::Request => core.request_timeout = value,
                    Timing::Connect => core.connect_timeout = value,
                    Timing::Retry => core.retry_backoff = value,
                    Timing::RetryMax => core.retry_backoff_max = value,
                    Timing::Reconnect => core.reconnect_backoff = value,
                    Timing::ReconnectMax => core.reconnect_backoff_max = value,
                    Timing::MetadataAge => core.metadata_max_age = value,
                    Timing::FetchWait => core.fetch_max_wait = value,
                    Timing::Session => core.session_timeout = value,
                    Timing::Heartbeat => core.heartbeat_interval = value,
                }
            }
            // A pause given alone may be longer than the default of its maximum.
            core.retry_backoff_max = core.retry_backoff_max.max(core.retry_backoff);
            core.reconnect_backoff_max = core.reconnect_backoff_max.max(core.reconnect_backoff);
            for &(size, value) in &sizes {
                match size {
                    Size::FetchMin => core.fetch_min_bytes = value,
                    Size::FetchMax => core.fetch_max_bytes = value,
                    Size::Partition => core.partition_max_bytes = value,
                }
            }
        })
    }
}

/// Whether the value is not to be shown.
fn is_secret(key: &str) -> bool {
    ["password", "jaas", "secret", ".key"].iter().any(|word| key.contains(word))
}

/// Properties that only have one possible value here, or none.
fn check(key: &str) -> Result<Taken, String> {
    match key {
        "compression.lz4.level" => Ok(Taken::Warn("has no effect: there is one level")),
        "transactional.id" => Err("is for copy alone: --transactional-id".into()),
        _ if key.starts_with("sasl.") || key.starts_with("ssl.") => {
            Ok(Taken::Warn("has no effect here"))
        }
        _ if NO_EFFECT.contains(&key) => Ok(Taken::Warn("has no effect here")),
        _ => Ok(Taken::Warn("is no property that kavka knows; ignored")),
    }
}

/// Reads a level of isolation.
pub(super) fn isolation(value: &str) -> Result<Isolation, String> {
    match value {
        "read_committed" => Ok(Isolation::ReadCommitted),
        "read_uncommitted" => Ok(Isolation::ReadUncommitted),
        _ => Err("must be read_committed or read_uncommitted".into()),
    }
}

/// Java's largest `int` and `long`, which properties are.
const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
/// Bytes of a name that is sent to brokers.
const NAME: usize = 64;

fn number<N: TryFrom<i64>>(value: &str, least: i64, most: i64) -> Result<N, String> {
    let number = value.parse::<i64>().ok().filter(|number| (least..=most).contains(number));
    let number = number.and_then(|number| N::try_from(number).ok());
    number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

/// A level of compression, whose range is that of its codec.
fn level(value: &str) -> Result<i32, String> {
    value.parse().map_err(|_| "must be a whole number".to_owned())
}

fn millis(value: &str, least: i64, most: i64) -> Result<Duration, String> {
    let wrong = || format!("must be milliseconds from {least} to {most}");
    // librdkafka has fractions of milliseconds.
    let millis = value.parse::<f64>().map_err(|_| wrong())?;
    if millis > most as f64 || (least > 0 && millis <= 0.0) {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(millis / 1000.0).map_err(|_| wrong())
}

fn short(value: &str) -> Result<String, String> {
    match value.len() {
        0..=NAME => Ok(value.to_owned()),
        length => Err(format!("has {length} bytes; at most {NAME} are allowed")),
    }
}

fn truth(value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

fn acks(value: &str) -> Result<Acks, String> {
    match value {
        "all" | "-1" => Ok(Acks::All),
        "1" => Ok(Acks::Leader),
        "0" => Ok(Acks::None),
        _ => Err("must be all, 1 or 0".into()),
    }
}

/// Line number, key and value of each entry, as `java.util.Properties` reads them: `=`, `:` or
/// white space after the key, `#` and `!` before comments, a backslash at the end of a line that
/// is continued.
fn entries(text: &str) -> Vec<(usize, String, String)> {
    let mut found = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = line.to_owned();
        while is_continued(&whole) {
            whole.pop();
            match lines.next() {
                Some((_, more)) => whole.push_str(more.trim_start()),
                None => break,
            }
        }
        let (key, value) = split(&whole);
        found.push((number, plain(key), plain(value)));
    }
    found
}

/// An odd number of backslashes stands at the end.
fn is_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let ends_key = |c: char| {
        let ends = !escaped && (matches!(c, '=' | ':') || c.is_whitespace());
        escaped = c == '\\' && !escaped;
        ends
    };
    let Some(at) = line.find(ends_key) else { return (line, "") };
    let (key, rest) = line.split_at(at);
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    // Java keeps white space at the end, which is never intended.
    (key, value.trim())
}

/// Without its backslashes.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = rest.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok();
                out.push(code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_java_does() {
        let text = "# comment\n! another\n\n  a.b = c d \nbootstrap.servers=h:1,\\\n   i:2\n\
                    e: f\ng h\npath=C:\\\\x\\\n\nonly\nu=\\u00e9\\t\nk\\=ey=v\nlast=\\";
        let found = entries(text);
        let want = [
            (4, "a.b", "c d"),
            (5, "bootstrap.servers", "h:1,i:2"),
            (7, "e", "f"),
            (8, "g", "h"),
            (9, "path", "C:\\x"),
            (11, "only", ""),
            (12, "u", "\u{e9}\t"),
            (13, "k=ey", "v"),
            (14, "last", ""),
        ];
        let want = want.map(|(line, key, value)| (line, key.to_owned(), value.to_owned()));
        assert_eq!(found, want);
    }

    #[test]
    fn every_key_is_taken() {
        let good = [
            ("bootstrap.servers", "h:1"),
            ("client.id", "x"),
            ("client.rack", "r"),
            ("acks", "-1"),
            ("request.required.acks", "1"),
            ("enable.idempotence", "true"),
            ("linger.ms", "0.5"),
            ("batch.size", "1000"),
            ("buffer.memory", "100000"),
            ("delivery.timeout.ms", "1000"),
            ("max.request.size", "1000"),
            ("allow.auto.create.topics", "false"),
            ("auto.offset.reset", "earliest"),
            ("auto.offset.reset", "latest"),
            ("auto.offset.reset", "none"),
            ("request.timeout.ms", "1"),
            ("socket.connection.setup.timeout.ms", "1"),
            ("retry.backoff.ms", "5000"),
            ("retry.backoff.max.ms", "2"),
            ("reconnect.backoff.ms", "1"),
            ("reconnect.backoff.max.ms", "2"),
            ("metadata.max.age.ms", "1"),
            ("fetch.max.wait.ms", "1"),
            ("fetch.min.bytes", "2"),
            ("fetch.max.bytes", "3"),
            ("max.partition.fetch.bytes", "4"),
            ("security.protocol", "plaintext"),
            ("isolation.level", "read_uncommitted"),
            ("isolation.level", "read_committed"),
            ("compression.type", "none"),
            ("compression.codec", "gzip"),
            ("compression.type", "zstd"),
            ("compression.gzip.level", "9"),
            ("compression.gzip.level", "-1"),
            ("compression.zstd.level", "1"),
            ("group.protocol", "CLASSIC"),
            (
                "partition.assignment.strategy",
                "range, org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
            ),
        ];
        let mut properties = Properties::default();
        for (key, value) in good {
            assert_eq!(properties.set(key, value), Ok(Taken::Yes), "{key}={value}");
        }
        let chosen = properties.compression().map(|chosen| chosen.to_string());
        assert_eq!(chosen.as_deref(), Some("zstd:1"));
        assert_eq!(properties.protocol, Some(GroupProtocol::Classic));
        assert_eq!(properties.assignors.as_deref(), Some("range,cooperative-sticky"));
        let config = format!("{:?}", properties.apply(Config::new("h:1")));
        for part in [
            "batch_bytes: 1000,",
            "request_bytes: 1000,",
            "fetch_min_bytes: 2,",
            "fetch_max_bytes: 3,",
            "partition_max_bytes: 4,",
            "auto_create: false",
            "out_of_range: Stop",
            "isolation: ReadCommitted",
        ] {
            assert!(config.contains(part), "{part} is not in {config}");
        }
    }

    #[test]
    fn wrong_values_are_refused_and_keys_without_effect_are_named() {
        let mut properties = Properties::default();
        for (key, value) in [
            ("acks", "2"),
            ("enable.idempotence", "yes"),
            ("linger.ms", "-1"),
            ("linger.ms", "x"),
            ("batch.size", "-1"),
            ("fetch.min.bytes", "many"),
            ("auto.offset.reset", "middle"),
            ("security.protocol", "SECURE"),
            ("isolation.level", "committed"),
            ("transactional.id", "t"),
            ("compression.type", "uncompressed"),
            ("group.protocol", "share"),
            ("partition.assignment.strategy", "uniform"),
            ("compression.zstd.level", "high"),
            ("compression.zstd.level", "23"),
            ("compression.gzip.level", "10"),
        ] {
            assert!(properties.set(key, value).is_err(), "{key}={value}");
        }
        for (key, why) in [
            ("compression.lz4.level", "no effect"),
            ("ssl.protocol", "no effect here"),
            ("group.id", "no effect"),
            ("bootstrap.server", "ignored"),
        ] {
            let Ok(Taken::Warn(text)) = properties.set(key, "x") else { panic!("{key}") };
            assert!(text.contains(why), "{key}: {text}");
        }
    }
}
