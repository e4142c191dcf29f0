//! `kavka consume --group`: as a member of a consumer group.

use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal};

use kavka_std::{Chunk, Config, Consumer, ErrorKind, Event, Events, Pending, Start};

use super::offset::Offset;
use super::print::Print;
use super::{Options, TICK};
use crate::common::Settings;
use crate::failure;
use crate::interrupt::{self, stdout_is_closed};
use crate::lines;
use crate::notices::{Notices, hopeless};
use crate::text::counted;
use crate::{Failure, progress::Progress};

/// Time for the last commit and for leaving.
const LEAVE: Duration = Duration::from_secs(5);

struct Member {
    group: String,
    consumer: Consumer,
    events: Events,
    notices: Notices,
    print: Print,
    progress: Progress,
    left: u64,
    /// The last commit, while it has no result.
    commit: Option<Pending<()>>,
}

/// Reads until a signal comes, or the wanted number of records.
pub(super) fn run(
    settings: &Settings,
    options: &Options,
    config: Config,
    group: &str,
) -> Result<(), Failure> {
    let by_default = settings.properties.start.unwrap_or(Start::Earliest);
    let start = match options.offset.unwrap_or(Offset::At(by_default)) {
        Offset::At(start @ (Start::Earliest | Start::Latest | Start::Timestamp(_))) => start,
        _ => {
            return Err(Failure::Usage(
                "--offset with --group is where partitions without a commit begin: beginning, end \
                 or @MS"
                    .into(),
            ));
        }
    };
    let instance = options.instance.clone().unwrap_or_default();
    let mut config = config.group(group).group_instance(instance).start(start);
    if let Some(protocol) = options.protocol.or(settings.properties.protocol) {
        config = config.group_protocol(protocol);
    }
    let assignors = options.assignors.as_ref().or(settings.properties.assignors.as_ref());
    if let Some(names) = assignors {
        config = config.group_assignors(names);
    }
    let names: Vec<_> = options.topics.iter().map(String::as_str).collect();
    let consumer = match names[..] {
        [pattern] if pattern.starts_with('^') => Consumer::subscribe_pattern(config, pattern)?,
        _ => Consumer::subscribe(config, &names)?,
    };
    let mut member = Member {
        group: group.to_owned(),
        events: consumer.events(),
        consumer,
        notices: Notices::new(settings.verbose()),
        print: Print::new(settings, options)?,
        progress: Progress::new(io::stdout().is_terminal()),
        left: options.count.unwrap_or(u64::MAX),
        commit: None,
    };
    let read = member.read();
    let flushed = member.print.flush();
    let Member { group, consumer, progress, .. } = member;
    drop(progress);
    let closed = consumer.close(LEAVE);
    read?;
    flushed?;
    closed?;
    lines::say(&format!("group {group}: left"));
    Ok(())
}

impl Member {
    fn read(&mut self) -> Result<(), Failure> {
        while !interrupt::came() && self.left > 0 {
            let chunk = self.consumer.next_timeout(TICK);
            self.events()?;
            self.check_commit();
            let chunk = match chunk {
                // The output was blocked: the member joins again.
                Err(error) if matches!(error.kind(), ErrorKind::PollTimeout { .. }) => {
                    lines::say(&failure::describe(&error));
                    continue;
                }
                chunk => chunk?,
            };
            match chunk {
                Some(chunk) => self.chunk(&chunk)?,
                None if stdout_is_closed() => {
                    return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
                }
                None => {}
            }
            self.progress.show(String::new);
        }
        Ok(())
    }

    /// Prints records, and commits them once they are printed.
    fn chunk(&mut self, chunk: &Chunk) -> Result<(), Failure> {
        for batch in chunk.batches() {
            self.print.begin(&batch);
            for record in batch.records() {
                let record = record?;
                self.print.record(&record)?;
                self.progress.add(record.value.map_or(0, <[u8]>::len));
                self.left -= 1;
                if self.left == 0 {
                    self.print.flush()?;
                    return self.commit_until(
                        chunk,
                        (batch.topic(), batch.partition()),
                        record.offset,
                    );
                }
            }
        }
        self.print.flush()?;
        self.commit = Some(self.consumer.commit(chunk));
        Ok(())
    }

    /// Commits the records of a chunk up to the last one that was printed.
    fn commit_until(&self, chunk: &Chunk, last: (&str, u32), offset: i64) -> Result<(), Failure> {
        let mut ends = BTreeMap::new();
        for record in chunk.records() {
            let record = record?;
            ends.insert((record.topic, record.partition), record.offset + 1);
            if ((record.topic, record.partition), record.offset) == (last, offset) {
                break;
            }
        }
        for ((topic, partition), end) in ends {
            self.consumer.commit_offset(topic, partition, end, "").wait()?;
        }
        Ok(())
    }

    /// Reports a commit that failed: its records will be read again.
    fn check_commit(&mut self) {
        let Some(commit) = self.commit.take() else { return };
        match commit.wait_timeout(Duration::ZERO) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => lines::say(&failure::describe(&error)),
            Err(pending) => self.commit = Some(pending),
        }
    }

    /// Reports what happens to the assignment, one line for each kind.
    fn events(&mut self) -> Result<(), Failure> {
        let (mut assigned, mut revoked, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        let mut stable = None;
        while let Some(event) = self.events.try_next() {
            let net = || Some(self.consumer.metrics().wait_timeout(TICK).ok()?.ok()?.net);
            if let Some(why) = hopeless(&event, net) {
                return Err(Failure::Failed(why));
            }
            match event {
                Event::Assigned { topic, partition } => {
                    assigned.push(format!("{topic} {partition}"))
                }
                Event::Revoking { topic, partition } => {
                    revoked.push(format!("{topic} {partition}"))
                }
                Event::Lost { topic, partition } => lost.push(format!("{topic} {partition}")),
                Event::TopicJoined { topic } => joined.push(topic.to_string()),
                Event::TopicLeft { topic } => left.push(topic.to_string()),
                Event::Rebalanced { partitions } => stable = Some(partitions),
                other => self.notices.show(&other),
            }
        }
        let group = &self.group;
        let lists = [
            ("topic joined:", joined),
            ("assigned", assigned),
            ("revoked", revoked),
            ("lost", lost),
            ("topic left:", left),
        ];
        for (what, mut list) in lists {
            if !list.is_empty() {
                list.sort();
                lines::say(&format!("group {group}: {what} {}", list.join(", ")));
            }
        }
        if let Some(partitions) = stable {
            let partitions = counted(partitions.into(), "partition");
            lines::say(&format!("group {group}: reading {partitions}"));
        }
        Ok(())
    }
}
