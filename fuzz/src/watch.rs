//! What an application may rely on, checked against everything that is reported to it.

use std::collections::{BTreeMap, HashMap, HashSet};

use kavka_core::{Commands, Event, PartitionId, ProduceError, RecordId, Reply, RequestId, TopicId};

/// Tracks the events of one client.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Accepted and not reported yet.
    under_way: HashSet<RecordId>,
    /// The last reported number of partitions of each topic.
    counts: BTreeMap<TopicId, u32>,
    /// Generation and number of partitions of each topic.
    known: BTreeMap<TopicId, (u32, u32)>,
    /// Topics that nothing used any more and that made room for others.
    left: HashSet<TopicId>,
    /// Next offset of each assigned partition: nothing below is delivered again by itself.
    next: HashMap<PartitionId, i64>,
    /// Admin requests that have not ended yet.
    requested: HashSet<RequestId>,
    refused: u64,
    rooms: u64,
    flushes: u64,
    flushed: u64,
    /// Whether a flush is pending; `Flushed` covers everything before it.
    flushing: bool,
}

impl Watch {
    pub(crate) fn produced(&mut self, result: Result<RecordId, ProduceError>) {
        match result {
            Ok(id) => assert!(self.under_way.insert(id), "{id:?} is given twice"),
            Err(ProduceError::Full | ProduceError::NotReady) => self.refused += 1,
            Err(_) => {}
        }
    }

    pub(crate) fn flush(&mut self) {
        self.flushes += 1;
        self.flushing = true;
    }

    pub(crate) fn requested(&mut self, id: RequestId) {
        assert!(self.requested.insert(id), "{id:?} is given twice");
    }

    /// Records that the application moved or ended a partition itself.
    pub(crate) fn forget(&mut self, at: PartitionId) {
        self.next.remove(&at);
    }

    /// Records that the application wants records from `offset` on again.
    pub(crate) fn held(&mut self, at: PartitionId, offset: i64) {
        self.next.entry(at).and_modify(|next| *next = offset.min(*next));
    }

    /// Returns whether all records, flushes and admin requests have ended.
    pub(crate) fn is_through(&self) -> bool {
        self.under_way.is_empty() && self.requested.is_empty() && !self.flushing
    }

    pub(crate) fn reported(&mut self, event: &Event<'_>, commands: &Commands<'_>) {
        match *event {
            Event::TopicReady { topic, partitions } => {
                assert!(!self.left.contains(&topic), "{topic:?} had left");
                let before = self.counts.insert(topic, partitions);
                assert!(before.is_none(), "{topic:?} is ready twice");
            }
            Event::PartitionsAdded { topic, from, to, .. } => {
                let before = self.counts.insert(topic, to);
                assert_eq!(before, Some(from), "{topic:?} grows to {to}");
                assert!(to > from, "{topic:?} grows from {from} to {to}");
            }
            Event::TopicRecreated { topic, partitions } => {
                let before = self.counts.insert(topic, partitions);
                assert!(before.is_some(), "{topic:?} is recreated before it was there");
            }
            Event::Delivered { batch, to, first, count, base_offset } => {
                assert!(base_offset.is_none_or(|offset| offset >= 0), "at {base_offset:?}");
                self.ended(batch, to.partition, first, count);
            }
            Event::Failed { batch, to, first, count, .. } => {
                self.ended(batch, to.partition, first, count);
            }
            Event::Room => {
                self.rooms += 1;
                assert!(self.rooms <= self.refused, "room is told without a refusal");
            }
            Event::Flushed => {
                self.flushed += 1;
                self.flushing = false;
                assert!(self.flushed <= self.flushes, "flushed without a flush");
            }
            Event::Moved { at, from, to, .. } => {
                // What is not reported, such as control batches, is in between.
                let next = self.next.insert(at, to);
                assert!(next.is_none_or(|next| next <= from), "from {from}, but was at {next:?}");
            }
            Event::Records(batch) => self.read(&batch),
            Event::Reply { id, reply } => {
                assert!(self.requested.contains(&id), "{id:?} is answered after its end");
                if matches!(reply, Reply::Done(_)) {
                    self.requested.remove(&id);
                }
            }
            _ => {}
        }
        self.compare(commands);
    }

    /// What is known may be ahead of what was reported, never behind it. A topic that made room
    /// stays unknown, and nothing is reported about it any more.
    fn compare(&mut self, commands: &Commands<'_>) {
        for topic in self.counts.keys() {
            let known =
                commands.freshness(*topic).map(|fresh| (fresh.generation, fresh.partitions));
            if known.is_none() {
                self.left.insert(*topic);
            }
            let before = self.known.insert(*topic, known.unwrap_or_default());
            assert!(before <= known || known.is_none(), "{topic:?}: {before:?}, then {known:?}");
        }
        self.counts.retain(|topic, _| !self.left.contains(topic));
        for topic in &self.left {
            assert_eq!(commands.freshness(*topic), None, "{topic:?} had left");
        }
    }

    fn ended(&mut self, batch: kavka_core::BatchId, partition: u32, first: u32, count: u32) {
        assert!(count > 0, "{batch:?}: nothing ended");
        for index in first..first + count {
            let id = RecordId { batch, index, partition };
            assert!(self.under_way.remove(&id), "{id:?} ended, but was not in flight");
        }
    }

    fn read(&mut self, batch: &kavka_core::Batch<'_>) {
        let at = batch.partition();
        let next = self.next.entry(at).or_insert(batch.position());
        assert!(batch.position() >= *next, "{} after {next}: {batch:?}", batch.position());
        assert!(batch.next_offset() > batch.position(), "goes nowhere: {batch:?}");
        for record in batch.records() {
            let Ok(record) = record else { break };
            let range = batch.position()..batch.next_offset();
            assert!(range.contains(&record.offset), "offset {} of {batch:?}", record.offset);
        }
        *next = batch.next_offset();
    }
}
