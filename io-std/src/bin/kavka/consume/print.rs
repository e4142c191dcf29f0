//! Records on stdout.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use kavka_std::kavka_core::record::TimestampType;
use kavka_std::{Admin, ChunkBatch, Received};

use super::Options;
use super::format::Format;
use crate::Failure;
use crate::common::Settings;
use crate::json;
use crate::streams::{Out, out};
use crate::text::{key_separator, unescape};

/// How long the leaders of a topic are waited for; without, records are printed all the same.
const LEADERS: Duration = Duration::from_secs(2);

pub(super) struct Print {
    out: Out,
    style: Style,
    null: &'static [u8],
    /// Of the batch at work.
    kind: TimestampType,
    broker: i32,
}

enum Style {
    Plain { key_separator: Option<Vec<u8>>, delimiter: Vec<u8> },
    Format(Format),
    Json(Leaders),
}

impl Print {
    pub(super) fn new(settings: &Settings, options: &Options) -> Result<Self, Failure> {
        let out = out()?;
        let style = if options.json {
            Style::Json(Leaders { admin: Admin::new(settings.config())?, known: HashMap::new() })
        } else if let Some(format) = &options.format {
            let wrong = |why| Failure::Usage(format!("--format {format}: {why}"));
            Style::Format(Format::new(format).map_err(wrong)?)
        } else {
            let key_separator = key_separator(options.key_separator.as_deref())?;
            let delimiter = unescape("--delimiter", &options.delimiter)?;
            Style::Plain { key_separator, delimiter }
        };
        let null: &[u8] = if options.null { b"NULL" } else { b"" };
        Ok(Self { out, style, null, kind: TimestampType::Create, broker: -1 })
    }

    /// The records that follow are of this batch.
    pub(super) fn begin(&mut self, batch: &ChunkBatch<'_>) {
        if let Style::Json(leaders) = &mut self.style {
            self.kind = batch.header().timestamp_type();
            self.broker = leaders.of(batch.topic(), batch.partition());
        }
    }

    pub(super) fn record(&mut self, record: &Received<'_>) -> io::Result<()> {
        match &self.style {
            Style::Json(_) => json::write(&mut self.out, record, self.kind, self.broker),
            Style::Format(format) => format.write(&mut self.out, record, self.null),
            Style::Plain { key_separator, delimiter } => {
                if let Some(separator) = key_separator {
                    self.out.write_all(record.key.unwrap_or(self.null))?;
                    self.out.write_all(separator)?;
                }
                self.out.write_all(record.value.unwrap_or(self.null))?;
                self.out.write_all(delimiter)
            }
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// What is known of the leaders may be old.
    pub(super) fn leaders_changed(&mut self, topic: &str) {
        if let Style::Json(leaders) = &mut self.style {
            leaders.known.remove(topic);
        }
    }
}

/// The leader of each partition: the `broker` of JSON objects.
struct Leaders {
    admin: Admin,
    known: HashMap<String, Vec<i32>>,
}

impl Leaders {
    /// -1 when it is not known.
    fn of(&mut self, topic: &str, partition: u32) -> i32 {
        if !self.known.contains_key(topic) {
            let described = self.admin.describe(topic).wait_timeout(LEADERS);
            let partitions = match described {
                Ok(Ok(described)) => described.partitions,
                _ => Vec::new(),
            };
            let mut leaders = Vec::new();
            for at in partitions {
                let place = at.index as usize;
                leaders.resize(leaders.len().max(place + 1), -1);
                leaders[place] = at.leader.unwrap_or(-1);
            }
            self.known.insert(topic.to_owned(), leaders);
        }
        let leaders = self.known.get(topic);
        leaders.and_then(|leaders| leaders.get(partition as usize)).copied().unwrap_or(-1)
    }
}
