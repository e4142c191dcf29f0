//! Events, kept beyond the life of the receive memory.

use kavka_core::wire::ErrorCode;
use kavka_core::{Error, Event, PartitionId, Reply, RequestId, TopicPartition};

use super::Script;

/// What was reported to the application.
#[derive(Clone, Debug)]
pub enum Reported {
    /// An event that borrows nothing.
    Event(Event<'static>),
    /// Records of a batch.
    Records {
        /// The assigned partition.
        at: PartitionId,
        /// Its topic and partition.
        partition: TopicPartition,
        /// Offsets and values; a record that cannot be read ends the list.
        records: Vec<(i64, Vec<u8>)>,
        /// The position after the batch.
        next: i64,
        /// High watermark.
        high_watermark: i64,
    },
    /// Part of an admin response, as text.
    Reply {
        /// The request.
        id: RequestId,
        /// The part.
        text: String,
    },
    /// What a broker says of a batch that it refuses, or of a record in it.
    Refused {
        /// Place of the record.
        record: Option<u32>,
        /// Its error code.
        code: ErrorCode,
        /// Its words.
        text: String,
    },
    /// End of an admin response.
    Done {
        /// The request.
        id: RequestId,
        /// The result.
        result: Result<(), Error>,
    },
}

impl Reported {
    pub(super) fn of(event: &Event<'_>) -> Self {
        Self::Event(match *event {
            Event::Records(batch) => {
                let records = batch.records().map_while(Result::ok);
                let records = records.map(|r| (r.offset, r.value.unwrap_or_default().to_vec()));
                return Self::Records {
                    at: batch.partition(),
                    partition: batch.topic_partition(),
                    records: records.collect(),
                    next: batch.next_offset(),
                    high_watermark: batch.high_watermark(),
                };
            }
            Event::Refused { record, code, text, .. } => {
                return Self::Refused { record, code, text: text.to_owned() };
            }
            Event::Reply { id, reply: Reply::Done(result) } => return Self::Done { id, result },
            Event::Reply { id, reply } => return Self::Reply { id, text: format!("{reply:?}") },
            Event::TopicReady { topic, partitions } => Event::TopicReady { topic, partitions },
            Event::PartitionsAdded { topic, from, to, by } => {
                Event::PartitionsAdded { topic, from, to, by }
            }
            Event::LeaderMoved { topic, partition, epoch } => {
                Event::LeaderMoved { topic, partition, epoch }
            }
            Event::TopicRecreated { topic, partitions } => {
                Event::TopicRecreated { topic, partitions }
            }
            Event::TopicFailed { topic, error } => Event::TopicFailed { topic, error },
            Event::BrokerStale { broker, topic } => Event::BrokerStale { broker, topic },
            Event::Room => Event::Room,
            Event::Drained { topic, partitions, held, settled } => {
                Event::Drained { topic, partitions, held, settled }
            }
            Event::Flushed => Event::Flushed,
            Event::Delivered { batch, to, first, count, base_offset } => {
                Event::Delivered { batch, to, first, count, base_offset }
            }
            Event::Failed { batch, to, first, count, error, maybe_written } => {
                Event::Failed { batch, to, first, count, error, maybe_written }
            }
            Event::TooLarge { at, offset, next_offset, needed } => {
                Event::TooLarge { at, offset, next_offset, needed }
            }
            Event::Corrupt { at, offset, next_offset, why } => {
                Event::Corrupt { at, offset, next_offset, why }
            }
            Event::Moved { at, from, to, why } => Event::Moved { at, from, to, why },
            Event::PartitionFailed { at, error } => Event::PartitionFailed { at, error },
            Event::Positioned { at, offset } => Event::Positioned { at, offset },
            Event::EndOfPartition { at, offset } => Event::EndOfPartition { at, offset },
            Event::Assigned { at, partition } => Event::Assigned { at, partition },
            Event::TransactionsReady => Event::TransactionsReady,
            Event::TransactionTrouble { error } => Event::TransactionTrouble { error },
            Event::TransactionFailed { error } => Event::TransactionFailed { error },
            Event::TransactionEnded { outcome } => Event::TransactionEnded { outcome },
            Event::OffsetsSent => Event::OffsetsSent,
            Event::Disconnected { broker, error } => Event::Disconnected { broker, error },
            Event::Unresponsive { broker, silent } => Event::Unresponsive { broker, silent },
            ref other => return Self::later(other),
        })
    }

    fn later(event: &Event<'_>) -> Self {
        Self::Event(match *event {
            Event::GrowthRead { topic, from, partitions, waited, ordered } => {
                Event::GrowthRead { topic, from, partitions, waited, ordered }
            }
            ref other => match of_topics(other).or_else(|| of_group(other)) {
                Some(event) => event,
                None => panic!("an event that scripts do not know yet: {other:?}"),
            },
        })
    }

    /// Returns the event, if it is one that borrows nothing.
    #[must_use]
    pub const fn event(&self) -> Option<Event<'static>> {
        match self {
            Self::Event(event) => Some(*event),
            _ => None,
        }
    }
}

impl Script {
    /// Takes the reported events of one kind, in order; the others stay.
    pub fn take_reported<T>(&mut self, kind: impl Fn(&Reported) -> Option<T>) -> Vec<T> {
        self.settle();
        let mut found = Vec::new();
        self.reported.retain(|reported| match kind(reported) {
            Some(it) => {
                found.push(it);
                false
            }
            None => true,
        });
        found
    }

    /// Takes the batches reported as delivered: number of records, offset of the first.
    pub fn delivered(&mut self) -> Vec<(u32, Option<i64>)> {
        self.take_reported(|reported| match reported.event()? {
            Event::Delivered { count, base_offset, .. } => Some((count, base_offset)),
            _ => None,
        })
    }

    /// Takes the batches reported as failed: number of records, error, whether maybe written.
    pub fn failed(&mut self) -> Vec<(u32, Error, bool)> {
        self.take_reported(|reported| match reported.event()? {
            Event::Failed { count, error, maybe_written, .. } => {
                Some((count, error, maybe_written))
            }
            _ => None,
        })
    }

    /// Returns how often `Room` was reported.
    pub fn rooms(&mut self) -> usize {
        self.take_reported(|reported| matches!(reported.event()?, Event::Room).then_some(())).len()
    }

    /// Returns how often `Flushed` was reported.
    pub fn flushed(&mut self) -> usize {
        self.take_reported(|reported| matches!(reported.event()?, Event::Flushed).then_some(()))
            .len()
    }

    /// Takes the records read: partition, offset, value as text.
    pub fn records(&mut self) -> Vec<(u32, i64, String)> {
        let batches = self.take_reported(|reported| match reported {
            Reported::Records { partition, records, .. } => {
                Some((partition.partition, records.clone()))
            }
            _ => None,
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        batches
            .into_iter()
            .flat_map(|(partition, records)| {
                records.into_iter().map(move |(offset, v)| (partition, offset, text(&v)))
            })
            .collect()
    }

    /// Returns a broker's error as [`Script::failed`] reports it.
    #[must_use]
    pub const fn code(code: i16) -> Error {
        Error::Broker(ErrorCode(code))
    }
}

/// An event about topics of a pattern.
fn of_topics(event: &Event<'_>) -> Option<Event<'static>> {
    Some(match *event {
        Event::FindTopics => Event::FindTopics,
        Event::TopicJoined { topic } => Event::TopicJoined { topic },
        Event::TopicLeft { topic } => Event::TopicLeft { topic },
        _ => return None,
    })
}

/// Returns an event of a group as one that borrows nothing.
fn of_group(event: &Event<'_>) -> Option<Event<'static>> {
    Some(match *event {
        Event::Revoking { at, partition } => Event::Revoking { at, partition },
        Event::Lost { at, partition } => Event::Lost { at, partition },
        Event::Committed { id, result } => Event::Committed { id, result },
        Event::GroupStable { epoch, partitions } => Event::GroupStable { epoch, partitions },
        Event::Unassigned { topic, first, last, partitions } => {
            Event::Unassigned { topic, first, last, partitions }
        }
        Event::GroupTrouble { error } => Event::GroupTrouble { error },
        Event::GroupFailed { error } => Event::GroupFailed { error },
        Event::GroupLeft => Event::GroupLeft,
        _ => return None,
    })
}
