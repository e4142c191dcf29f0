//! `kavka copy`: from topic to topic, as a member of a group, so that it continues where it ended.

mod partitions;
mod sink;
mod transform;

use core::time::Duration;
use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::time::Instant;

use clap::Args;
use kavka_std::kavka_core::wire::ApiKey;
use kavka_std::kavka_core::{GroupError, PeerFault, TransactionError};
use kavka_std::{
    Acks, Chunk, Config, Consumed, Consumer, Error, ErrorKind, Event, Events, Isolation, MemberId,
    Pending, Producer, Start, Transaction,
};

use super::common::Settings;
use super::notices::{Notices, hopeless};
use super::progress::Progress;
use super::text::{counted, topic_name};
use super::{Failure, failure, interrupt, lines};
use partitions::Partitions;
use sink::{All, Gathered, Offsets, Sink};
use transform::Transform;

/// How often signals and events are looked for.
const TICK: Duration = Duration::from_millis(100);
/// How often partitions are looked at that wait for their coordinator.
const SOON: Duration = Duration::from_millis(5);
/// Time for the abort of what is not committed.
const ABORT: Duration = Duration::from_secs(1);
/// Time for leaving the group.
const LEAVE: Duration = Duration::from_secs(5);
/// A transaction that is open for longer is aborted by its coordinator: readers wait so long at
/// most after this process was killed.
const TRANSACTION: Duration = Duration::from_secs(15);
/// What is copied of a partition that is taken away is committed within this time.
const REVOCATION: Duration = Duration::from_secs(20);
/// A classic group waits so long for a member that was killed in the middle of a round.
const REBALANCE: Duration = REVOCATION.saturating_add(Duration::from_secs(10));
/// A transaction ends when it has this many bytes.
const BYTES: usize = 4 << 20;
/// So many failures without a success in between end the command.
const FAILURES: u32 = 10;

#[derive(Args)]
pub(super) struct Options {
    /// Topic to read from
    #[arg(value_parser = topic_name)]
    from: String,
    /// Topic to write to: partition N gets the records of partition N, so it needs as many
    #[arg(value_parser = topic_name)]
    to: String,
    /// Consumer group that keeps how far the copy is [default: copy-FROM-TO]
    #[arg(short, long, value_name = "GROUP")]
    group: Option<String>,
    /// Each record exactly once, whatever dies: in transactions
    #[arg(long)]
    exactly_once: bool,
    /// Identifies this process across restarts: two that run at the same time need one each
    /// [default: the group]. Brokers before 2.5 need an id for each partition in its place, the
    /// same in all processes: GROUP:TOPIC:PARTITION
    #[arg(long, value_name = "ID", requires = "exactly_once")]
    transactional_id: Option<String>,
    /// Milliseconds after which what was copied is committed
    #[arg(
        long, value_name = "MS", default_value_t = 200,
        value_parser = clap::value_parser!(u64).range(1..=10_000)
    )]
    interval: u64,
    /// Program that gets each value as a line and prints the new one as a line, through the shell
    #[arg(long, value_name = "COMMAND")]
    transform: Option<String>,
    /// End after this many records
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
}

/// What writes.
enum Writer {
    /// One producer for all partitions.
    All(Box<Producer>),
    /// One for each.
    Each(Box<Partitions>),
}

impl Writer {
    /// How long to wait for records.
    fn patience(&self) -> Duration {
        match self {
            Self::Each(partitions) if partitions.is_busy() => SOON,
            _ => TICK,
        }
    }
}

/// What ended a transaction, or a stretch without them.
enum Step {
    Copied,
    /// Read again from what is committed.
    Again(Error),
}

pub(super) fn run(settings: &Settings, options: &Options) -> Result<(), Failure> {
    let group = match &options.group {
        Some(group) => group.clone(),
        None => format!("copy-{}-{}", options.from, options.to),
    };
    let mut copy = Copy {
        options,
        notices: Notices::new(settings.verbose()),
        transform: options.transform.as_deref().map(Transform::start).transpose()?,
        progress: Progress::new(io::stdout().is_terminal()),
        config: settings.config(),
        group,
        copied: 0,
        revoked: BTreeSet::new(),
        gone: BTreeSet::new(),
        by_partition: false,
    };
    let ended = copy.run();
    let Copy { progress, copied, .. } = copy;
    drop(progress);
    lines::say(&format!("{} copied", counted(copied, "record")));
    ended
}

struct Copy<'a> {
    options: &'a Options,
    notices: Notices,
    transform: Option<Transform>,
    progress: Progress,
    config: Config,
    group: String,
    /// Records that are committed.
    copied: u64,
    /// Partitions that are to be given up once they are committed.
    revoked: BTreeSet<u32>,
    /// Partitions that are given up, or were taken away.
    gone: BTreeSet<u32>,
    /// The group's coordinator does not check members: each partition needs a producer.
    by_partition: bool,
}

impl Copy<'_> {
    /// Begins anew, from what the group has committed, until it ends.
    fn run(&mut self) -> Result<(), Failure> {
        let (mut failures, mut kept) = (0, None);
        loop {
            let mut writer = match kept.take() {
                Some(producer) => Writer::All(producer),
                None => self.writer()?,
            };
            let consumer = Consumer::subscribe(self.reading(), &[&self.options.from])?;
            let (before, ended) = (self.copied, self.copy(&mut writer, &consumer));
            let producer = match writer {
                Writer::All(producer) => Some(producer),
                // Before the group gives them to others, who would fence them.
                Writer::Each(partitions) => {
                    partitions.end();
                    None
                }
            };
            let closed = consumer.close(LEAVE);
            self.revoked.clear();
            self.gone.clear();
            let why = match ended? {
                None => return Ok(closed?),
                Some(why) => why,
            };
            if !self.by_partition && lacks_fences(&why) {
                lines::say("brokers before 2.5: each partition has a producer of its own");
                (self.by_partition, failures) = (true, 0);
                continue;
            }
            failures = if self.copied > before { 1 } else { failures + 1 };
            lines::say(&format!("{}; continuing from what is committed", failure::describe(&why)));
            if failures >= FAILURES || is_final(&why) {
                return Err(why.into());
            }
            // With its ids it learns whether another process has the transactional id. Only one
            // that does not know its last end begins with new ones, and whoever has it is fenced.
            // Nor is one kept that has to do what its brokers do not offer.
            kept = producer.filter(|_| !why.maybe_written() && !is_beyond(&why));
        }
    }

    fn writer(&self) -> Result<Writer, Error> {
        Ok(match self.by_partition {
            true => {
                let (group, from) = (&self.group, &self.options.from);
                Writer::Each(Box::new(Partitions::new(self.writing(), group, from)?))
            }
            false => Writer::All(Box::new(Producer::new(self.writing())?)),
        })
    }

    fn reading(&self) -> Config {
        let config = self.config.clone().group(&self.group).start(Start::Earliest);
        let config = config.isolation(Isolation::ReadCommitted).revocation_wait(REVOCATION);
        config.rebalance_timeout(REBALANCE)
    }

    fn writing(&self) -> Config {
        let config = self.config.clone().acks(Acks::All).close_timeout(ABORT);
        let config = config.on_lost(|_| ()); // it is read again
        if !self.options.exactly_once {
            return config;
        }
        let id = self.options.transactional_id.as_ref().unwrap_or(&self.group);
        config.transactional_id(id).transaction_timeout(TRANSACTION)
    }

    /// Copies until a signal or the last record; returns why it has to begin anew.
    fn copy(&mut self, writer: &mut Writer, consumer: &Consumer) -> Result<Option<Error>, Failure> {
        let events = consumer.events();
        while !self.is_over() {
            self.events(&events, consumer)?;
            self.release(writer, consumer);
            if let Writer::Each(partitions) = writer {
                partitions.drive(consumer)?;
            }
            let first = match consumer.next_timeout(writer.patience()) {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    self.progress.show(String::new);
                    continue;
                }
                Err(error) => return Ok(Some(error)),
            };
            let step = match writer {
                Writer::All(producer) => self.stretch(producer, consumer, &events, first),
                Writer::Each(partitions) => self.stretch_each(partitions, consumer, &events, first),
            };
            if let Step::Again(why) = step? {
                return Ok(Some(why));
            }
            self.release(writer, consumer);
        }
        Ok(None)
    }

    fn is_over(&self) -> bool {
        interrupt::came() || self.options.count.is_some_and(|count| self.copied >= count)
    }

    /// Copies for a while from this chunk on, and commits.
    fn stretch(
        &mut self,
        producer: &Producer,
        consumer: &Consumer,
        events: &Events,
        first: Chunk,
    ) -> Result<Step, Failure> {
        let transaction =
            match self.options.exactly_once.then(|| producer.transaction()).transpose() {
                Ok(transaction) => transaction,
                Err(error) => return Ok(Step::Again(error)),
            };
        let sent = transaction.is_none().then(Vec::new);
        let mut all = All { producer, sent };
        let gathered = match self.gather(consumer, events, first, &mut all)? {
            Ok(gathered) => gathered,
            Err(error) => return Ok(Step::Again(error)),
        };
        let ended = match transaction {
            Some(transaction) => self.commit(transaction, consumer, &gathered.offsets),
            None => (all.sent.into_iter().flatten())
                .try_for_each(|pending| pending.wait().map(drop))
                .and_then(|()| self.commit_offsets(consumer, &gathered.offsets)),
        };
        Ok(match ended {
            Ok(()) => {
                self.copied += gathered.records;
                self.progress.add(gathered.bytes);
                Step::Copied
            }
            Err(why) => Step::Again(why),
        })
    }

    /// The same with a transaction for each partition.
    fn stretch_each(
        &mut self,
        partitions: &mut Partitions,
        consumer: &Consumer,
        events: &Events,
        first: Chunk,
    ) -> Result<Step, Failure> {
        let mut open = partitions.open();
        let gathered = match self.gather(consumer, events, first, &mut open)? {
            Ok(gathered) => gathered,
            Err(error) => return Ok(Step::Again(error)),
        };
        let member = match consumer.membership().wait() {
            Ok(member) => member.map(MemberId::without_member),
            Err(error) => return Ok(Step::Again(error)),
        };
        let ended = open.commit(member.as_ref(), &self.options.from, &gathered);
        self.copied += partitions.close_stretch(ended)?;
        self.progress.add(gathered.bytes);
        Ok(Step::Copied)
    }

    /// Sends records for a while, from this chunk on.
    fn gather(
        &mut self,
        consumer: &Consumer,
        events: &Events,
        first: Chunk,
        sink: &mut dyn Sink,
    ) -> Result<Result<Gathered, Error>, Failure> {
        let until = Instant::now() + Duration::from_millis(self.options.interval);
        let (mut gathered, mut next) = (Gathered::default(), Some(first));
        while let Some(chunk) = next.take() {
            self.send(&chunk, sink, &mut gathered)?;
            // The commit learns of partitions that were lost.
            self.events(events, consumer)?;
            let left = until.saturating_duration_since(Instant::now());
            let all = self.copied + gathered.records;
            let more = self.options.count.is_none_or(|count| all < count);
            if !left.is_zero() && gathered.bytes < BYTES && self.revoked.is_empty() && more {
                next = match consumer.next_timeout(left) {
                    Ok(chunk) => chunk,
                    Err(error) => return Ok(Err(error)),
                };
            }
        }
        // Markers behind the records are read, too.
        for (partition, (offset, _)) in &mut gathered.offsets {
            let position = consumer.position(&self.options.from, *partition);
            *offset = position.map_or(*offset, |position| position.max(*offset));
        }
        Ok(Ok(gathered))
    }

    fn send(
        &mut self,
        chunk: &Chunk,
        sink: &mut dyn Sink,
        gathered: &mut Gathered,
    ) -> Result<(), Failure> {
        for batch in chunk.batches() {
            let partition = batch.partition();
            for record in batch.records() {
                let received = record?;
                let value = match (&mut self.transform, received.value) {
                    (Some(transform), Some(value)) => Some(transform.apply(value)?),
                    (_, value) => value,
                };
                let mut record = received.to_record();
                record.value = value;
                if sink.send(&self.options.to, partition, received.offset, &record)? {
                    gathered.bytes += record.value.map_or(0, <[u8]>::len);
                    gathered.records += 1;
                }
            }
            let (epoch, next) = (batch.header().partition_leader_epoch, batch.next_offset());
            if sink.ends(partition, next)? {
                gathered.offsets.insert(partition, (next, epoch));
            }
        }
        Ok(())
    }

    /// Commits a transaction with the offsets of the group. A partition that the group has taken
    /// away meanwhile may be another member's already: its offset must not be committed.
    fn commit(
        &self,
        transaction: Transaction<'_>,
        consumer: &Consumer,
        offsets: &Offsets,
    ) -> Result<(), Error> {
        let member = match consumer.membership().wait() {
            // What was lost at any time since this consumer began may be in the transaction.
            Ok(Some(member)) if member.losses == 0 => member,
            Ok(_) => return Err(ErrorKind::Group(GroupError::NoMember).into()),
            Err(error) => return Err(error),
        };
        let sent = send_offsets(&transaction, &member, &self.options.from, offsets);
        let committed = transaction.commit().wait();
        committed.and(sent.wait())
    }

    fn commit_offsets(&self, consumer: &Consumer, offsets: &Offsets) -> Result<(), Error> {
        let commit = |(partition, (offset, _)): (&u32, &(i64, i32))| {
            consumer.commit_offset(&self.options.from, *partition, *offset, "")
        };
        let commits: Vec<_> = offsets.iter().map(commit).collect();
        commits.into_iter().try_for_each(Pending::wait)
    }

    /// Gives up what is committed and was to be given up.
    fn release(&mut self, writer: &mut Writer, consumer: &Consumer) {
        let revoked = core::mem::take(&mut self.revoked);
        let gone = revoked.iter().copied().chain(core::mem::take(&mut self.gone));
        if let Writer::Each(partitions) = writer {
            partitions.give_up(gone);
        }
        for partition in revoked {
            // It may be gone already.
            drop(consumer.release(&self.options.from, partition));
        }
    }

    /// Handles events of the group.
    fn events(&mut self, events: &Events, consumer: &Consumer) -> Result<(), Failure> {
        while let Some(event) = events.try_next() {
            let net = || Some(consumer.metrics().wait_timeout(TICK).ok()?.ok()?.net);
            if let Some(why) = hopeless(&event, net) {
                return Err(Failure::Failed(why));
            }
            match event {
                Event::Revoking { partition, .. } => drop(self.revoked.insert(partition)),
                other => {
                    if let Event::Lost { partition, .. } = other {
                        self.gone.insert(partition);
                    }
                    self.notices.show(&other);
                }
            }
        }
        Ok(())
    }
}

/// Sends offsets of a topic with a transaction.
fn send_offsets<'o>(
    transaction: &Transaction<'_>,
    member: &MemberId,
    topic: &str,
    offsets: impl IntoIterator<Item = (&'o u32, &'o (i64, i32))>,
) -> Pending<()> {
    let consumed = |(partition, (offset, leader_epoch)): (&u32, &(i64, i32))| Consumed {
        topic,
        partition: partition.cast_signed(),
        offset: *offset,
        leader_epoch: *leader_epoch,
        metadata: "",
    };
    let list: Vec<_> = offsets.into_iter().map(consumed).collect();
    transaction.send_offsets(member, &list)
}

/// Whether to begin anew would not help.
fn is_final(error: &Error) -> bool {
    is_refused(error) || matches!(error.kind(), ErrorKind::Transaction(TransactionError::Fenced))
}

/// Whether permissions are missing.
fn is_refused(error: &Error) -> bool {
    error.code().is_some_and(|code| !code.is_retriable() && is_authorization(code.0))
}

/// Whether the group's coordinator would not check the member of a transaction's offsets.
fn lacks_fences(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Transaction(TransactionError::Peer(PeerFault::NoCommonVersion {
            api: ApiKey::TXN_OFFSET_COMMIT,
            ..
        }))
    )
}

/// Whether a broker does not speak what a transaction needs next.
fn is_beyond(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Transaction(TransactionError::Peer(_)))
}

/// Kafka's codes for missing permissions.
const fn is_authorization(code: i16) -> bool {
    matches!(code, 29 | 30 | 31 | 53)
}
