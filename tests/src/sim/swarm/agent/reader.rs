//! Reads partitions, and checks that nothing is skipped or repeated except as the client reports.

use core::time::Duration;

use kavka_core::{Batch, Commands, Event, Instant, PartitionId, Start, TopicId, Unreadable};

use super::{Agent, UNPACKED};
use crate::sim::swarm::step::{Done, Id};

/// A partition that is read.
pub(super) struct Reader {
    pub(super) topic: TopicId,
    pub(super) partition: u32,
    /// Offset that has to come next; `None`: depends on the start.
    pub(super) next: Option<i64>,
}

impl Reader {
    pub(super) fn new(topic: TopicId, partition: u32, start: Start) -> Self {
        let mut reader = Self { topic, partition, next: None };
        reader.go(start);
        reader
    }

    fn go(&mut self, to: Start) {
        self.next = match to {
            Start::Offset(offset) => Some(offset),
            _ => None,
        };
    }
}

impl Agent {
    /// Handles events of reading.
    pub(super) fn on_reading(
        &mut self,
        now: Instant,
        event: Event<'_>,
        commands: &mut Commands<'static>,
    ) {
        match event {
            Event::Records(batch) if self.drops() => {
                // Not one of the positions that were changed: it is not to know better.
                self.taken -= batch.bytes().len() as u64;
                commands.hold(batch.partition(), batch.position());
                commands.resume(now, batch.partition());
            }
            Event::Records(batch) => {
                self.take(now, &batch);
                if !self.calm && self.rng.chance(self.plan.whims) {
                    self.indulge(now, &batch, commands);
                }
            }
            Event::Moved { at, from, to, why } => {
                let Some(reader) = self.readers.get_mut(&at) else {
                    return self.finds(format!("{at:?} moved, which is not read"));
                };
                let wrong = reader.next.is_some_and(|next| next != from);
                let next = reader.next.replace(to);
                let (topic, partition) = (reader.topic, reader.partition);
                self.did(now, topic, Done::Moved(partition, from, to));
                if wrong {
                    self.finds(format!("{at:?} moved from {from} to {to} ({why:?}), not {next:?}"));
                }
            }
            Event::TooLarge { at, next_offset, .. } => {
                self.go(now, at, Start::Offset(next_offset), commands);
            }
            Event::Corrupt { at, offset, why, .. } => {
                if why != Unreadable::ByBroker {
                    self.finds(format!("{at:?}: corrupt at {offset}: {why:?}"));
                }
                self.go(now, at, Start::Offset(offset), commands);
            }
            _ => {}
        }
    }

    /// Returns whether a batch is fetched in vain.
    fn drops(&mut self) -> bool {
        self.plan.wastes > 0 && !self.calm && self.rng.chance(self.plan.wastes)
    }

    fn take(&mut self, now: Instant, batch: &Batch<'_>) {
        let at = batch.partition();
        let Some(reader) = self.readers.get_mut(&at) else {
            return self.finds(format!("records of {at:?}, which is not read"));
        };
        let (mut findings, mut read) = (Vec::new(), Vec::new());
        if batch.header().codec() != 0 && self.scratch.is_empty() {
            self.scratch.resize(UNPACKED, 0);
        }
        let records = match batch.unpack(&mut self.decoders, &mut self.scratch) {
            Ok(records) => records,
            Err(error) => return self.findings.push(format!("not unpacked: {error}")),
        };
        for record in records {
            let record = match record {
                Ok(record) => record,
                Err(why) => {
                    findings.push(format!("malformed record after {:?}: {why:?}", reader.next));
                    break;
                }
            };
            let offset = record.offset;
            if let Some(next) = reader.next.filter(|next| *next != offset) {
                let Reader { topic, partition, .. } = reader;
                findings.push(format!(
                    "read offset {offset} of {topic:?} {partition}, and {next} was due"
                ));
            }
            read.push(Done::Read(record.value.and_then(Id::parse), reader.partition, offset));
            reader.next = Some(offset + 1);
        }
        if batch.topic_partition().topic != reader.topic
            || batch.topic_partition().partition != reader.partition
        {
            findings.push(format!("{at:?} is now {:?}", batch.topic_partition()));
        }
        let topic = reader.topic;
        for done in read {
            self.did(now, topic, done);
        }
        for finding in findings {
            self.finds(finding);
        }
    }

    /// Does what applications do from time to time.
    fn indulge(&mut self, now: Instant, batch: &Batch<'_>, commands: &mut Commands<'static>) {
        let at = batch.partition();
        self.turns += 1;
        let later = now + self.rng.time(Duration::from_millis(1), Duration::from_secs(3));
        match self.rng.below(4) {
            0 => {
                commands.pause(at);
                self.resumes.push((later, at));
            }
            1 => {
                let from = batch.position().max(0);
                let span = batch.next_offset().saturating_sub(from).max(1);
                let offset = from + self.rng.below(span.unsigned_abs()).cast_signed();
                commands.hold(at, offset);
                self.resumes.push((later, at));
                if let Some(reader) = self.readers.get_mut(&at) {
                    reader.next = Some(offset);
                }
            }
            2 => {
                let back = self.rng.below(20).cast_signed();
                let to = (batch.next_offset() - back).max(0);
                self.go(now, at, Start::Offset(to), commands);
            }
            _ => {
                let to = self.rng.pick(&[Start::Earliest, Start::Latest, Start::Offset(0)]);
                self.go(now, at, to, commands);
            }
        }
    }

    fn go(&mut self, now: Instant, at: PartitionId, to: Start, commands: &mut Commands<'static>) {
        self.turns += 1;
        if let Err(error) = commands.seek(now, at, to) {
            self.finds(format!("seek of {at:?} to {to:?} refused: {error:?}"));
        }
        if let Some(reader) = self.readers.get_mut(&at) {
            reader.go(to);
            let (topic, partition) = (reader.topic, reader.partition);
            self.did(now, topic, Done::Sought(partition, to));
        }
    }
}
