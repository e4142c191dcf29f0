//! Exactly once where the group's coordinator does not check members (brokers before 2.5): a
//! transactional producer for each partition. Its id is the same in every process, so whichever
//! process is assigned the partition fences the one that had it, and only then reads what is
//! committed. No clock is part of that: those here only bound how long something is tried.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use kavka_std::kavka_core::{Error as Core, TransactionError};
use kavka_std::{
    Admin, CommittedOffset, Config, Consumer, Error, ErrorKind, Limits, Lost, MemberId, Pending,
    Producer, Record, Start, Transaction,
};

use super::sink::{Gathered, Sink};
use super::{ABORT, FAILURES, is_refused, send_offsets};
use crate::{Failure, failure, lines};

/// A coordinator that does not give the id within this time is tried anew.
const CLAIM: Duration = Duration::from_secs(60);
/// Pauses after a failure: the first one, after a fence, and the longest one. By the end of the
/// second a process that was fenced knows what the group assigns it.
const PAUSE: Duration = Duration::from_millis(100);
const FENCED: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// Bytes of records that wait in each producer before the copy waits for it.
const QUEUE: usize = 1 << 20;

/// Memory of a producer of one partition: reserved, and touched when it is used.
fn limits() -> Limits {
    let (mut limits, server) = (Limits::small(), Limits::server());
    // As large records as by the producer of all partitions.
    (limits.tx_blocks, limits.block_bytes) = (server.tx_blocks, server.block_bytes);
    limits.brokers = server.brokers;
    limits
}

/// The partitions of this process, from their first record on.
pub(super) struct Partitions {
    config: Config,
    group: String,
    topic: String,
    admin: Admin,
    parts: BTreeMap<u32, Part>,
    /// What is committed, and the partitions that had claimed their ids before it was requested.
    query: Option<(Pending<Vec<CommittedOffset>>, BTreeSet<u32>)>,
    /// Producers that end. Another one with the id begins afterwards, or the older one's request
    /// may fence it.
    closing: BTreeMap<u32, Pending<Lost>>,
}

struct Part {
    state: State,
    /// Since the last success.
    failures: u32,
}

enum State {
    Resting {
        until: Instant,
    },
    /// The coordinator is to fence the former owner.
    Claiming {
        producer: Producer,
        claimed: Pending<()>,
        until: Instant,
    },
    /// It has: what is committed stays so.
    Claimed(Producer),
    /// The consumer moves to what is committed.
    Seeking(Producer, Pending<()>),
    /// `next`: no record before that one is taken again.
    Ready {
        producer: Producer,
        next: Option<i64>,
    },
}

impl State {
    fn producer(self) -> Option<Producer> {
        match self {
            Self::Resting { .. } => None,
            Self::Claiming { producer, .. }
            | Self::Claimed(producer)
            | Self::Seeking(producer, _)
            | Self::Ready { producer, .. } => Some(producer),
        }
    }
}

impl Partitions {
    /// `config`: as for a producer of all partitions.
    pub(super) fn new(config: Config, group: &str, topic: &str) -> Result<Self, Error> {
        let admin = Admin::new(config.clone().transactional_id(""))?;
        Ok(Self {
            config: config.limits(limits()).queue_bytes(QUEUE),
            group: group.to_owned(),
            topic: topic.to_owned(),
            admin,
            parts: BTreeMap::new(),
            query: None,
            closing: BTreeMap::new(),
        })
    }

    /// Whether partitions wait for something other than records.
    pub(super) fn is_busy(&self) -> bool {
        self.parts.values().any(|part| !matches!(part.state, State::Ready { .. }))
    }

    /// Drops partitions that this process does not have any more.
    pub(super) fn give_up(&mut self, gone: impl IntoIterator<Item = u32>) {
        for partition in gone {
            if let Some(part) = self.parts.remove(&partition) {
                self.close(partition, part.state);
            }
        }
    }

    /// Ends all producers, and waits for them.
    pub(super) fn end(mut self) {
        for (partition, part) in core::mem::take(&mut self.parts) {
            self.close(partition, part.state);
        }
        for closing in core::mem::take(&mut self.closing).into_values() {
            drop(closing.wait()); // what is lost is read again
        }
    }

    fn close(&mut self, partition: u32, state: State) {
        if let Some(producer) = state.producer() {
            self.closing.insert(partition, producer.close(ABORT));
        }
    }

    /// Does what is due for partitions that are not being copied yet.
    pub(super) fn drive(&mut self, consumer: &Consumer) -> Result<(), Failure> {
        let all: Vec<u32> = self.parts.keys().copied().collect();
        for partition in all {
            let Some(Part { state, failures }) = self.parts.remove(&partition) else { continue };
            match self.step(consumer, partition, state) {
                Ok(Some(state)) => drop(self.parts.insert(partition, Part { state, failures })),
                Ok(None) => {} // it is not this process's
                Err(why) => self.fail(partition, failures, &why)?,
            }
        }
        self.ask(consumer)
    }

    fn step(
        &mut self,
        consumer: &Consumer,
        partition: u32,
        state: State,
    ) -> Result<Option<State>, Error> {
        Ok(Some(match state {
            State::Resting { until } if until <= Instant::now() => {
                return self.claim(consumer, partition, until);
            }
            State::Claiming { producer, claimed, until } => {
                match claimed.wait_timeout(Duration::ZERO) {
                    Err(claimed) if Instant::now() < until => {
                        State::Claiming { producer, claimed, until }
                    }
                    Ok(Ok(())) => State::Claimed(producer),
                    ended => {
                        self.closing.insert(partition, producer.close(ABORT));
                        let late = ErrorKind::Transaction(TransactionError::TimedOut);
                        return Err(ended.ok().and_then(Result::err).unwrap_or(late.into()));
                    }
                }
            }
            State::Seeking(producer, sought) => match sought.wait_timeout(Duration::ZERO) {
                Err(sought) => State::Seeking(producer, sought),
                Ok(Ok(())) => {
                    drop(consumer.resume(&self.topic, partition)); // it was, or is gone
                    State::Ready { producer, next: None }
                }
                Ok(Err(_)) => {
                    self.closing.insert(partition, producer.close(ABORT));
                    return Ok(None);
                }
            },
            other => other,
        }))
    }

    /// Begins with a partition if the group still assigns it.
    fn claim(
        &mut self,
        consumer: &Consumer,
        partition: u32,
        until: Instant,
    ) -> Result<Option<State>, Error> {
        if let Some(closing) = self.closing.remove(&partition)
            && let Err(closing) = closing.wait_timeout(Duration::ZERO)
        {
            self.closing.insert(partition, closing);
            return Ok(Some(State::Resting { until }));
        }
        // Nothing comes before the seek; it fails where the partition is another process's.
        if consumer.pause(&self.topic, partition).wait().is_err() {
            return Ok(None);
        }
        let id = format!("{}:{}:{partition}", self.group, self.topic);
        let producer = Producer::new(self.config.clone().transactional_id(id))?;
        let claimed = producer.init_transactions();
        Ok(Some(State::Claiming { producer, claimed, until: Instant::now() + CLAIM }))
    }

    /// Requests what is committed, and moves the consumer there.
    fn ask(&mut self, consumer: &Consumer) -> Result<(), Failure> {
        if let Some((asked, of)) = self.query.take() {
            match asked.wait_timeout(Duration::ZERO) {
                Err(asked) => self.query = Some((asked, of)),
                Ok(Ok(committed)) => self.seek(consumer, &of, &committed)?,
                Ok(Err(why)) => of.into_iter().try_for_each(|one| self.broken(one, &why))?,
            }
        }
        let claimed =
            |(at, part): (&u32, &Part)| matches!(part.state, State::Claimed(_)).then_some(*at);
        let of: BTreeSet<u32> = self.parts.iter().filter_map(claimed).collect();
        if self.query.is_none() && !of.is_empty() {
            self.query = Some((self.admin.group_offsets(&self.group), of));
        }
        Ok(())
    }

    fn seek(
        &mut self,
        consumer: &Consumer,
        of: &BTreeSet<u32>,
        committed: &[CommittedOffset],
    ) -> Result<(), Failure> {
        for partition in of {
            let is_it =
                |at: &&CommittedOffset| at.topic == self.topic && at.partition == *partition;
            let at = committed.iter().find(is_it);
            if let Some(code) = at.map(|at| at.error).filter(|code| code.0 != 0) {
                let why = Error::from(Core::Broker(code));
                self.broken(*partition, &why)?;
                continue;
            }
            // A later claim of the same partition is in a later query.
            let Some(part) = self.parts.remove(partition) else { continue };
            let state = match part.state {
                State::Claimed(producer) => {
                    let start = at.map_or(Start::Earliest, |at| Start::Offset(at.offset));
                    State::Seeking(producer, consumer.seek(&self.topic, *partition, start))
                }
                other => other,
            };
            self.parts.insert(*partition, Part { state, ..part });
        }
        Ok(())
    }

    /// Begins anew with a partition, after a pause.
    fn broken(&mut self, partition: u32, why: &Error) -> Result<(), Failure> {
        let Some(part) = self.parts.remove(&partition) else { return Ok(()) };
        self.close(partition, part.state);
        self.fail(partition, part.failures, why)
    }

    fn fail(&mut self, partition: u32, failures: u32, why: &Error) -> Result<(), Failure> {
        let text = failure::describe(why);
        lines::say(&format!("partition {partition}: {text}; continuing from what is committed"));
        let failures = failures.saturating_add(1);
        if failures >= FAILURES && !is_fence(why) || is_refused(why) {
            return Err(why.clone().into());
        }
        let first = if is_fence(why) { FENCED } else { PAUSE };
        let pause = first.saturating_mul(1 << failures.min(8)) / 2;
        let state = State::Resting { until: Instant::now() + pause.min(PAUSE_MAX) };
        self.parts.insert(partition, Part { state, failures });
        Ok(())
    }

    /// Begins a stretch.
    pub(super) fn open(&self) -> Open<'_> {
        Open {
            parts: &self.parts,
            transactions: BTreeMap::new(),
            next: BTreeMap::new(),
            torn: BTreeSet::new(),
            missed: BTreeSet::new(),
        }
    }

    /// Takes note of how a stretch ended; returns how many records are committed.
    pub(super) fn close_stretch(&mut self, ended: Ended) -> Result<u64, Failure> {
        let mut copied = 0;
        for (partition, records, result) in ended.commits {
            match result {
                Ok(()) => {
                    copied += records;
                    let after = ended.next.get(&partition).copied();
                    if let Some(part) = self.parts.get_mut(&partition) {
                        part.failures = 0;
                        if let State::Ready { next, .. } = &mut part.state {
                            *next = after;
                        }
                    }
                }
                Err(why) => self.broken(partition, &why)?,
            }
        }
        for partition in ended.torn {
            let Some(part) = self.parts.remove(&partition) else { continue };
            self.close(partition, part.state);
            self.rest(partition, part.failures, PAUSE);
        }
        for partition in ended.missed {
            match self.parts.remove(&partition) {
                None => self.rest(partition, 0, Duration::ZERO),
                // What was not taken came after the seek: the partition was assigned once more.
                Some(Part { state: State::Seeking(producer, _), failures }) => {
                    self.parts
                        .insert(partition, Part { state: State::Claimed(producer), failures });
                }
                Some(part) => drop(self.parts.insert(partition, part)),
            }
        }
        Ok(copied)
    }

    fn rest(&mut self, partition: u32, failures: u32, pause: Duration) {
        let state = State::Resting { until: Instant::now() + pause };
        self.parts.insert(partition, Part { state, failures });
    }
}

/// The transactions of a stretch.
pub(super) struct Open<'p> {
    parts: &'p BTreeMap<u32, Part>,
    transactions: BTreeMap<u32, (Transaction<'p>, u64)>,
    /// Offset of the record that follows.
    next: BTreeMap<u32, i64>,
    /// Partitions whose records come once more: they were taken away and given back.
    torn: BTreeSet<u32>,
    /// Partitions with records that were not taken.
    missed: BTreeSet<u32>,
}

/// What became of a stretch.
pub(super) struct Ended {
    commits: Vec<(u32, u64, Result<(), Error>)>,
    next: BTreeMap<u32, i64>,
    torn: BTreeSet<u32>,
    missed: BTreeSet<u32>,
}

impl Open<'_> {
    /// Whether what comes of a partition at this offset is part of its transaction, which is begun.
    fn joins(&mut self, partition: u32, offset: i64) -> Result<bool, Failure> {
        let Some(Part { state: State::Ready { producer, next }, .. }) = self.parts.get(&partition)
        else {
            self.missed.insert(partition);
            return Ok(false);
        };
        let next = self.next.get(&partition).copied().or(*next);
        if self.torn.contains(&partition) || next.is_some_and(|next| offset < next) {
            self.torn.insert(partition);
            return Ok(false);
        }
        if let std::collections::btree_map::Entry::Vacant(entry) =
            self.transactions.entry(partition)
        {
            entry.insert((producer.transaction()?, 0));
        }
        Ok(true)
    }

    /// Ends the transactions side by side: all commits are begun before one is waited for.
    /// `member`: none where this process is no member now.
    pub(super) fn commit(
        mut self,
        member: Option<&MemberId>,
        topic: &str,
        gathered: &Gathered,
    ) -> Ended {
        let mut begun = Vec::new();
        for (partition, (transaction, records)) in core::mem::take(&mut self.transactions) {
            let offset = gathered.offsets.get_key_value(&partition);
            let (Some(member), Some(at)) = (member, offset) else {
                self.torn.insert(partition);
                continue; // dropped, it is aborted
            };
            if self.torn.contains(&partition) {
                continue;
            }
            self.next.insert(partition, at.1.0);
            let sent = send_offsets(&transaction, member, topic, [at]);
            begun.push((partition, records, transaction.commit(), sent));
        }
        let wait = |(partition, records, committed, sent): (_, _, Pending<()>, Pending<()>)| {
            (partition, records, committed.wait().and(sent.wait()))
        };
        let commits = begun.into_iter().map(wait).collect();
        Ended { commits, next: self.next, torn: self.torn, missed: self.missed }
    }
}

impl Sink for Open<'_> {
    fn send(
        &mut self,
        topic: &str,
        partition: u32,
        offset: i64,
        record: &Record<'_>,
    ) -> Result<bool, Failure> {
        if !self.joins(partition, offset)? {
            return Ok(false);
        }
        if let Some((transaction, records)) = self.transactions.get_mut(&partition) {
            drop(transaction.send_to(topic, partition, record)?); // the commit knows
            *records += 1;
        }
        self.next.insert(partition, offset.saturating_add(1));
        Ok(true)
    }

    fn ends(&mut self, partition: u32, next: i64) -> Result<bool, Failure> {
        let joins = self.joins(partition, next)?;
        if joins {
            self.next.insert(partition, next);
        }
        Ok(joins)
    }
}

/// Whether another process has the partition, or the coordinator ended the transaction: brokers
/// before 2.5 do not say which.
fn is_fence(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Transaction(TransactionError::Fenced | TransactionError::Ended(_))
    )
}
