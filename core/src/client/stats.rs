//! What connections and topics count, for the metrics of servers (feature `std`).

use super::Commands;
use crate::id::ConnId;
#[cfg(feature = "producer")]
use crate::id::TopicId;
use crate::time::Duration;

/// What a connection has carried since it was requested. Feature `std`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnStats {
    /// The connection; [`Client::address`](crate::Client::address) has its address.
    pub conn: ConnId,
    /// Node id of the broker, -1 for a bootstrap address whose broker is not known yet.
    pub broker: i32,
    /// Bytes that were written.
    pub bytes_out: u64,
    /// Bytes that were read.
    pub bytes_in: u64,
    /// Requests that were queued, those in flight included.
    pub requests: u64,
    /// Requests without a response.
    pub in_flight: usize,
    /// From the last byte of a request to the end of its response, smoothed over eight of them (RFC
    /// 6298). Fetch is left out, since brokers hold it back until there are records. `None` before
    /// the first response.
    pub round_trip: Option<Duration>,
}

impl Commands<'_> {
    /// Returns the counters of each connection that is open or being opened. Feature `std`.
    pub fn connection_stats(&self) -> impl Iterator<Item = ConnStats> {
        let net = &self.cx.net;
        let live = net.conns.iter().enumerate().filter(|(_, conn)| conn.is_live());
        live.map(|(slot, conn)| ConnStats {
            conn: net.id(slot),
            broker: conn.peer.node(),
            bytes_out: conn.traffic.bytes_out,
            bytes_in: conn.traffic.bytes_in,
            requests: conn.traffic.requests,
            in_flight: conn.pending(),
            round_trip: conn.traffic.round_trip(),
        })
    }

    /// Returns how often batches of a topic were sent again, or returned to their queues to be: a
    /// broker refused them for now, or a connection ended. It counts from when the topic was last
    /// made known. Feature `std`.
    #[cfg(feature = "producer")]
    #[must_use]
    pub fn retries(&self, topic: TopicId) -> u64 {
        let slot = self.cx.cluster.topic_slot(topic);
        slot.map_or(0, |slot| self.owners.producer.retries(slot))
    }
}
