//! What the producer's background thread counts.

use std::collections::HashMap;
use std::sync::Arc;

use kavka_core::{BatchId, Instant, RecordId, TopicId};

use crate::driver::Driver;
use crate::metrics::{Known, NetMetrics, ProducerMetrics, TopicSent};

#[derive(Default)]
pub(super) struct Counts {
    /// By name; a topic's number in the inbox and in the machine are two others.
    topics: HashMap<Arc<str>, Sent>,
    /// Bytes handed over, by number in the inbox.
    bytes: Vec<u64>,
    /// When the first record of a batch was handed over.
    begun: HashMap<BatchId, Instant>,
    pub(super) disconnects: u64,
}

#[derive(Default)]
struct Sent {
    counted: TopicSent,
    /// The machine's count of retries when it was last read; it begins again when the machine has
    /// forgotten the topic meanwhile.
    retries: u64,
}

impl Sent {
    fn note_retries(&mut self, all: u64) {
        let new = all.checked_sub(self.retries).unwrap_or(all);
        self.counted.retries += new;
        self.retries = all;
    }
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

    /// `topic`: its name, and the machine's count of its retries.
    pub(super) fn delivered(
        &mut self,
        now: Instant,
        topic: (&str, u64),
        batch: BatchId,
        first: u32,
        count: u32,
    ) {
        let begun = self.end(batch, first);
        self.add(topic.0, |sent| {
            sent.note_retries(topic.1);
            let sent = &mut sent.counted;
            sent.records += u64::from(count);
            sent.batches += 1;
            if let Some(begun) = begun {
                sent.latency.add(begun.until(now));
            }
        });
    }

    pub(super) fn failed(&mut self, topic: (&str, u64), batch: BatchId, first: u32, count: u32) {
        self.end(batch, first);
        self.add(topic.0, |sent| {
            sent.note_retries(topic.1);
            sent.counted.failed += u64::from(count);
            sent.counted.errors += 1;
        });
    }

    /// The topic cannot be used for now.
    pub(super) fn topic_failed(&mut self, topic: &str) {
        self.add(topic, |sent| sent.counted.errors += 1);
    }

    /// A record that was never handed over.
    pub(super) fn refused(&mut self, topic: &str) {
        self.add(topic, |sent| {
            sent.counted.failed += 1;
            sent.counted.errors += 1;
        });
    }

    /// A name is copied once, not for each batch.
    fn add(&mut self, topic: &str, count: impl FnOnce(&mut Sent)) {
        match self.topics.get_mut(topic) {
            Some(sent) => count(sent),
            None => count(self.topics.entry(topic.into()).or_default()),
        }
    }

    /// `name`: name and id of a topic by its number in the inbox.
    pub(super) fn metrics(
        &mut self,
        driver: &Driver<'_>,
        name: impl Fn(u32) -> Option<(Arc<str>, Option<TopicId>)>,
    ) -> ProducerMetrics {
        let net = NetMetrics::of(driver, self.disconnects);
        let mut metrics = ProducerMetrics { net, ..ProducerMetrics::default() };
        for (topic, bytes) in (0..).zip(self.bytes.clone()) {
            let Some((name, id)) = name(topic) else { continue };
            let known = Known::of(driver, id);
            self.add(&name, |sent| {
                if let Some(id) = id {
                    sent.note_retries(driver.retries(id));
                }
                let sent = &mut sent.counted;
                (sent.bytes, sent.partitions) = (bytes, known.partitions);
                (sent.age, sent.leaders_age) = (known.age, known.leaders_age);
            });
        }
        let all = self.topics.iter().map(|(name, sent)| (name.clone(), sent.counted.clone()));
        metrics.topics = all.collect();
        metrics
    }
}
