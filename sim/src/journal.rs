//! An application for [`World`](super::World) that sends what a test queues and records what
//! happens.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap, VecDeque};

use kavka_core::{
    Commands, Error, Event, Instant, MoveReason, PartitionId, ProduceError, Record, RecordId,
    TopicId, TopicPartition,
};

use super::world::App;

/// A record to be sent.
#[derive(Clone, Debug)]
pub struct ToSend {
    /// The topic.
    pub topic: TopicId,
    /// The partition; `None` lets the client choose.
    pub partition: Option<u32>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Vec<u8>,
}

/// An acknowledged record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acked {
    /// The partition it was written to.
    pub to: TopicPartition,
    /// Its offset, if the broker reported one.
    pub offset: Option<i64>,
    /// The value.
    pub value: Vec<u8>,
}

/// A record that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The partition it was meant for.
    pub to: TopicPartition,
    /// The error it failed with.
    pub error: Error,
    /// Whether it may be in the log nevertheless.
    pub maybe_written: bool,
    /// The value.
    pub value: Vec<u8>,
}

/// News of a topic, a partition or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they repeat the fields of kavka_core::Event")]
pub enum News {
    /// [`Event::TopicReady`].
    Ready { topic: TopicId, partitions: u32 },
    /// [`Event::PartitionsAdded`].
    Added { topic: TopicId, from: u32, to: u32 },
    /// [`Event::TopicRecreated`].
    Recreated { topic: TopicId, partitions: u32 },
    /// [`Event::TopicFailed`].
    TopicFailed { topic: TopicId, error: Error },
    /// [`Event::LeaderMoved`].
    LeaderMoved { topic: TopicId, partition: u32, epoch: i32 },
    /// [`Event::BrokerStale`].
    Stale { broker: i32, topic: TopicId },
    /// [`Event::Moved`].
    Moved { at: PartitionId, from: i64, to: i64, why: MoveReason },
    /// [`Event::Assigned`].
    Assigned { at: PartitionId, partition: TopicPartition },
    /// [`Event::PartitionFailed`].
    PartitionFailed { at: PartitionId, error: Error },
    /// [`Event::Corrupt`] or [`Event::TooLarge`].
    Stuck { at: PartitionId, offset: i64 },
    /// [`Event::Disconnected`].
    Disconnected { broker: i32, error: Error },
    /// [`Event::Flushed`].
    Flushed,
}

/// The records read from a partition: (offset, value).
pub type Read = Vec<(i64, Vec<u8>)>;

/// What happened to a client.
#[derive(Debug, Default)]
pub struct Journal {
    /// Not yet accepted by the client.
    pub to_send: VecDeque<ToSend>,
    /// Accepted, neither acknowledged nor given up.
    pub under_way: HashMap<RecordId, Vec<u8>>,
    /// Acknowledged, in the order of acknowledgement.
    pub acked: Vec<Acked>,
    /// Given up.
    pub lost: Vec<Lost>,
    /// Read: (offset, value) per partition, in the order of delivery.
    pub read: BTreeMap<(TopicId, u32), Read>,
    /// All other events, with their time.
    pub news: Vec<(Duration, News)>,
    /// The client took no record; `Room` follows.
    waits: bool,
}

impl Journal {
    /// Queues `value` for a topic; the client chooses the partition.
    pub fn send(&mut self, topic: TopicId, value: impl Into<Vec<u8>>) {
        self.to_send.push_back(ToSend { topic, partition: None, key: None, value: value.into() });
    }

    /// Queues `value` for a partition.
    pub fn send_to(&mut self, topic: TopicId, partition: u32, value: impl Into<Vec<u8>>) {
        let (partition, value) = (Some(partition), value.into());
        self.to_send.push_back(ToSend { topic, partition, key: None, value });
    }

    /// Returns whether all that was queued is acknowledged or given up.
    #[must_use]
    pub fn sent_all(&self) -> bool {
        self.to_send.is_empty() && self.under_way.is_empty()
    }

    /// Returns the number of records read so far.
    #[must_use]
    pub fn count_read(&self) -> usize {
        self.read.values().map(Vec::len).sum()
    }

    /// Returns all values read, sorted.
    #[must_use]
    pub fn values_read(&self) -> Vec<Vec<u8>> {
        let all = self.read.values().flatten().map(|(_, value)| value.clone());
        let mut all: Vec<_> = all.collect();
        all.sort();
        all
    }

    /// Returns when the first news that matches `which` arrived.
    #[must_use]
    pub fn first(&self, which: impl Fn(&News) -> bool) -> Option<Duration> {
        self.news.iter().find(|(_, news)| which(news)).map(|(at, _)| *at)
    }

    /// Returns what is wrong with the order of reading: an offset that does not follow the one
    /// before.
    #[must_use]
    pub fn out_of_order(&self) -> Option<String> {
        let wrong = |pair: &[(i64, Vec<u8>)]| pair[0].0 >= pair[1].0;
        self.read.iter().find_map(|((_, partition), records)| {
            let pair = records.windows(2).find(|pair| wrong(pair))?;
            Some(format!("partition {partition}: offset {} after {}", pair[1].0, pair[0].0))
        })
    }

    fn responded(&mut self, batch: kavka_core::BatchId, index: u32, partition: u32) -> Vec<u8> {
        let id = RecordId { batch, index, partition };
        self.under_way.remove(&id).unwrap_or_else(|| panic!("{id:?} answered, but not in flight"))
    }

    fn note(&mut self, now: Instant, news: News) {
        self.news.push((Duration::from_micros(now.as_micros()), news));
    }
}

impl App for Journal {
    fn on_event(&mut self, now: Instant, event: Event<'_>, _: &mut Commands<'static>) {
        match event {
            Event::Delivered { batch, to, first, count, base_offset } => {
                for n in 0..count {
                    let value = self.responded(batch, first + n, to.partition);
                    let offset = base_offset.map(|base| base + i64::from(n));
                    self.acked.push(Acked { to, offset, value });
                }
            }
            Event::Failed { batch, to, first, count, error, maybe_written } => {
                for n in 0..count {
                    let value = self.responded(batch, first + n, to.partition);
                    self.lost.push(Lost { to, error, maybe_written, value });
                }
            }
            Event::Records(batch) => {
                let at = batch.topic_partition();
                let read = self.read.entry((at.topic, at.partition)).or_default();
                for record in batch.records() {
                    let record = record.unwrap_or_else(|e| panic!("malformed record: {e:?}"));
                    read.push((record.offset, record.value.unwrap_or_default().to_vec()));
                }
            }
            Event::Room => self.waits = false,
            other => {
                if let Some(news) = news(other) {
                    self.note(now, news);
                }
            }
        }
    }

    fn on_idle(&mut self, now: Instant, commands: &mut Commands<'static>) {
        while !self.waits
            && let Some(next) = self.to_send.pop_front()
        {
            let mut record = Record::new(&next.value).timestamp(1_700_000_000_000);
            if let Some(key) = &next.key {
                record = record.key(key);
            }
            let taken = match next.partition {
                Some(partition) => commands.produce(now, (next.topic, partition), &record),
                None => commands.produce(now, next.topic, &record),
            };
            match taken {
                Ok(id) => {
                    self.under_way.insert(id, next.value);
                }
                Err(ProduceError::Full | ProduceError::NotReady) => {
                    self.to_send.push_front(next);
                    self.waits = true;
                }
                Err(error) => panic!("a record was refused: {error:?}"),
            }
        }
    }
}

fn news(event: Event<'_>) -> Option<News> {
    Some(match event {
        Event::TopicReady { topic, partitions } => News::Ready { topic, partitions },
        Event::PartitionsAdded { topic, from, to, .. } => News::Added { topic, from, to },
        Event::TopicRecreated { topic, partitions } => News::Recreated { topic, partitions },
        Event::TopicFailed { topic, error } => News::TopicFailed { topic, error },
        Event::LeaderMoved { topic, partition, epoch } => {
            News::LeaderMoved { topic, partition, epoch }
        }
        Event::BrokerStale { broker, topic } => News::Stale { broker, topic },
        Event::Moved { at, from, to, why } => News::Moved { at, from, to, why },
        Event::Assigned { at, partition } => News::Assigned { at, partition },
        Event::PartitionFailed { at, error } => News::PartitionFailed { at, error },
        Event::TooLarge { at, offset, .. } | Event::Corrupt { at, offset, .. } => {
            News::Stuck { at, offset }
        }
        Event::Disconnected { broker, error } => News::Disconnected { broker, error },
        Event::Flushed => News::Flushed,
        _ => return None,
    })
}
