//! What clients count, for monitoring.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kavka_core::{Freshness, Instant, TopicId};

use crate::address;
use crate::driver::Driver;

/// What a [`Producer`](crate::Producer) did since its start, and what waits now.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// Bytes of records that wait in the queue, of [`Config::queue_bytes`](crate::Config).
    pub queue_bytes: usize,
    /// Bytes of records that wait for their topic or partition to become known.
    pub parked_bytes: usize,
    /// Records that were handed over to be sent and are neither acknowledged nor failed.
    pub in_flight: u64,
    /// The connections.
    pub net: NetMetrics,
    /// By topic.
    pub topics: BTreeMap<Arc<str>, TopicSent>,
}

/// What a [`Consumer`](crate::Consumer) did since its start, and what waits now.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConsumerMetrics {
    /// Bytes that wait for the application, of [`Config::queue_bytes`](crate::Config).
    pub queue_bytes: usize,
    /// The connections.
    pub net: NetMetrics,
    /// By topic.
    pub topics: BTreeMap<Arc<str>, TopicRead>,
}

/// Connections of a client.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NetMetrics {
    /// Connections that are open or being opened.
    pub connections: usize,
    /// Connections that ended or could not be established.
    pub disconnects: u64,
    /// Requests of all kinds.
    pub requests: u64,
    /// Bytes that were written, over all connections since the start.
    pub bytes_out: u64,
    /// Bytes that were read, over all connections since the start.
    pub bytes_in: u64,
    /// TLS handshakes that were complete.
    pub handshakes: u64,
    /// Those of them that resumed an earlier session.
    pub resumed: u64,
    /// Each connection that is open or being opened.
    pub each: Vec<ConnMetrics>,
}

/// A connection of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnMetrics {
    /// Place among the client's connections, reused when this one has ended. A broker may have
    /// several connections.
    pub slot: usize,
    /// Node id of the broker, -1 for a bootstrap address whose broker is not known yet.
    pub broker: i32,
    /// `host:port`.
    pub address: Arc<str>,
    /// Bytes that were written.
    pub bytes_out: u64,
    /// Bytes that were read.
    pub bytes_in: u64,
    /// Requests of all kinds.
    pub requests: u64,
    /// Requests without a response.
    pub in_flight: usize,
    /// From the last byte of a request to the end of its response, smoothed over eight of them.
    /// Fetch is left out, since brokers hold it back until there are records. `None` before the
    /// first response.
    pub round_trip: Option<Duration>,
}

/// Records sent to a topic.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TopicSent {
    /// Records acknowledged.
    pub records: u64,
    /// Records failed, also those that were never sent.
    pub failed: u64,
    /// Batches acknowledged.
    pub batches: u64,
    /// Batches that returned to their queue, to be sent again: a broker refused them for now, or
    /// their connection ended.
    pub retries: u64,
    /// Batches that failed, records that were never sent, and times at which the topic could not
    /// be used.
    pub errors: u64,
    /// Bytes of the records that were handed over to be sent.
    pub bytes: u64,
    /// From the first record of a batch being handed over to its acknowledgement.
    pub latency: Histogram,
    /// Partitions of the topic as far as known, 0 before.
    pub partitions: u32,
    /// How long ago a broker last confirmed their count.
    pub age: Option<Duration>,
    /// How long ago a broker last named the leaders of all of them. Metadata is returned for whole
    /// topics, so this is the age of each partition; a leader that another response named is newer.
    pub leaders_age: Option<Duration>,
}

/// Records read from a topic.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TopicRead {
    /// Batches received.
    pub batches: u64,
    /// Bytes of batches received.
    pub bytes: u64,
    /// Errors of its partitions, and times at which the topic could not be used.
    pub errors: u64,
    /// By partition: records that its log has, by the last response, behind the one that the
    /// application took last. Only partitions that something was received of.
    pub lag: BTreeMap<u32, i64>,
    /// Partitions of the topic as far as known, 0 before.
    pub partitions: u32,
    /// How long ago a broker last confirmed their count.
    pub age: Option<Duration>,
    /// How long ago a broker last named the leaders of all of them. Metadata is returned for whole
    /// topics, so this is the age of each partition; a leader that another response named is newer.
    pub leaders_age: Option<Duration>,
}

/// Spans of time, counted by their size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

/// Upper bounds of the buckets in milliseconds.
const BOUNDS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 20_000, 120_000];

impl Histogram {
    pub(crate) fn add(&mut self, span: Duration) {
        let bucket = BOUNDS.iter().position(|bound| span <= Duration::from_millis(*bound));
        if let Some(slot) = bucket.and_then(|at| self.counts.get_mut(at)) {
            *slot += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(span);
    }

    /// How many there were, longer ones than the last bound included.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        self.sum
    }

    /// Upper bounds, and how many were no longer than that: Prometheus's cumulative buckets but
    /// for the last one, which is [`Histogram::count`].
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.counts.iter().zip(BOUNDS).scan(0, |all, (count, bound)| {
            *all += count;
            Some((Duration::from_millis(bound), *all))
        })
    }
}

impl NetMetrics {
    pub(crate) fn of(driver: &Driver<'_>, disconnects: u64) -> Self {
        let connections = driver.connections();
        let stats = driver.stats();
        let each = driver.connection_stats().map(|conn| {
            let address = driver.address(conn.conn);
            let address = address.map(|(host, port)| address::text(host, port));
            ConnMetrics {
                slot: conn.conn.slot(),
                broker: conn.broker,
                address: address.unwrap_or_default().into(),
                bytes_out: conn.bytes_out,
                bytes_in: conn.bytes_in,
                requests: conn.requests,
                in_flight: conn.in_flight,
                round_trip: conn.round_trip,
            }
        });
        Self {
            connections,
            disconnects,
            requests: stats.requests,
            bytes_out: stats.bytes_out,
            bytes_in: stats.bytes_in,
            handshakes: driver.handshakes().0,
            resumed: driver.handshakes().1,
            each: each.collect(),
        }
    }
}

/// What is known of a topic's partitions.
pub(crate) struct Known {
    /// How many there are, 0 when that is not known.
    pub(crate) partitions: u32,
    /// How old that is.
    pub(crate) age: Option<Duration>,
    /// And how old their leaders are.
    pub(crate) leaders_age: Option<Duration>,
}

impl Known {
    pub(crate) fn of(driver: &Driver<'_>, id: Option<TopicId>) -> Self {
        let known = id.and_then(|id| driver.freshness(id)).filter(|known| known.partitions > 0);
        let age = |of: fn(&Freshness) -> Instant| {
            let at = known.as_ref().map(of).filter(|at| *at > Instant::ZERO)?;
            Some(at.until(driver.now()))
        };
        Self {
            partitions: known.as_ref().map_or(0, |known| known.partitions),
            age: age(|known| known.confirmed),
            leaders_age: age(|known| known.described),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_up_to_its_bounds() {
        let mut histogram = Histogram::default();
        for millis in [0, 1, 2, 3, 600, 500_000] {
            histogram.add(Duration::from_millis(millis));
        }
        let of = |millis| {
            let bound = Duration::from_millis(millis);
            histogram.buckets().find(|(at, _)| *at == bound).map(|(_, count)| count)
        };
        assert_eq!([of(1), of(2), of(5), of(500), of(1000)].map(Option::unwrap), [2, 3, 4, 4, 5]);
        assert_eq!((of(120_000), histogram.count()), (Some(5), 6));
        assert_eq!(histogram.sum(), Duration::from_millis(500_606));
    }
}
