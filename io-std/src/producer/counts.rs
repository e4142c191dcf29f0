//! What the producer's background thread counts.

use std::collections::HashMap;
use std::sync::Arc;

use kavka_core::{BatchId, Instant, RecordId, TopicId};

use crate::driver::Driver;
use crate::metrics::{NetMetrics, ProducerMetrics, TopicSent, known};

#[derive(Default)]
pub(super) struct Counts {
    /// By name; a topic's number in the inbox and in the machine are two others.
    topics: HashMap<Arc<str>, TopicSent>,
    /// Bytes handed over, by number in the inbox.
    bytes: Vec<u64>,
    /// When the first record of a batch was handed over.
    begun: HashMap<BatchId, Instant>,
    pub(super) disconnects: u64,
}

impl Counts {
    pub(super) fn took(&mut self, now: Instant, topic: u32, record: RecordId, bytes: usize) {
        let at = topic as usize;
        if self.bytes.len() <= at {
            self.bytes.resize(at + 1, 0);
        }
        if let Some(all) = self.bytes.get_mut(at) {
            *all += bytes as u64;
        }
        if record.index == 0 {
            self.begun.insert(record.batch, now);
        }
    }

    /// The end of a batch, or of the first part of one that was split.
    fn end(&mut self, batch: BatchId, first: u32) -> Option<Instant> {
        if first == 0 { self.begun.remove(&batch) } else { None }
    }

    pub(super) fn delivered(
        &mut self,
        now: Instant,
        topic: &str,
        batch: BatchId,
        first: u32,
        count: u32,
    ) {
        let begun = self.end(batch, first);
        self.add(topic, |sent| {
            sent.records += u64::from(count);
            sent.batches += 1;
            if let Some(begun) = begun {
                sent.latency.add(begun.until(now));
            }
        });
    }

    pub(super) fn failed(&mut self, topic: &str, batch: BatchId, first: u32, count: u32) {
        self.end(batch, first);
        self.add(topic, |sent| sent.failed += u64::from(count));
    }

    /// A record that was never handed over.
    pub(super) fn refused(&mut self, topic: &str) {
        self.add(topic, |sent| sent.failed += 1);
    }

    /// A name is copied once, not for each batch.
    fn add(&mut self, topic: &str, count: impl FnOnce(&mut TopicSent)) {
        match self.topics.get_mut(topic) {
            Some(sent) => count(sent),
            None => count(self.topics.entry(topic.into()).or_default()),
        }
    }

    /// `name`: name and id of a topic by its number in the inbox.
    pub(super) fn metrics(
        &self,
        driver: &Driver<'_>,
        name: impl Fn(u32) -> Option<(Arc<str>, Option<TopicId>)>,
    ) -> ProducerMetrics {
        let net = NetMetrics::of(driver, self.disconnects);
        let mut metrics = ProducerMetrics { net, ..ProducerMetrics::default() };
        metrics.topics = self.topics.iter().map(|(at, sent)| (at.clone(), sent.clone())).collect();
        for (topic, bytes) in (0..).zip(&self.bytes) {
            let Some((name, id)) = name(topic) else { continue };
            let sent = metrics.topics.entry(name).or_default();
            sent.bytes = *bytes;
            (sent.partitions, sent.age) = known(driver, id);
        }
        metrics
    }
}
