//! The brokers that are worth remembering: those that lead partitions in use, and as many others
//! as there is room for.

use heapless::String;

use crate::error::Error;
use crate::time::Instant;

use super::Cluster;

/// A broker by node id.
pub(crate) struct Broker {
    pub(crate) used: bool,
    pub(crate) id: i32,
    pub(crate) host: String<255, u8>,
    pub(crate) port: u16,
    /// When an answer named it last.
    pub(crate) seen: Instant,
    /// Connection attempts that failed in a row.
    pub(crate) failures: u32,
    pub(crate) retry_at: Instant,
    /// It answered with less than is known: ask others until then (R4).
    pub(crate) stale_until: Instant,
    /// Its address changed: open connections lead to the old one.
    pub(crate) readdressed: bool,
    /// Highest ApiVersions version that it took, 0 while not known.
    pub(crate) handshake: i16,
    /// For the application.
    pub(crate) error: Option<Error>,
}

impl Broker {
    pub(crate) const EMPTY: Self = Self {
        used: false,
        id: 0,
        host: String::new(),
        port: 0,
        seen: Instant::ZERO,
        failures: 0,
        retry_at: Instant::ZERO,
        stale_until: Instant::ZERO,
        readdressed: false,
        handshake: 0,
        error: None,
    };
}

impl Cluster<'_> {
    #[inline(never)]
    pub(crate) fn broker(&self, id: i32) -> Option<&Broker> {
        self.brokers.iter().find(|b| b.used && b.id == id)
    }

    #[inline(never)]
    pub(crate) fn broker_mut(&mut self, id: i32) -> Option<&mut Broker> {
        self.brokers.iter_mut().find(|b| b.used && b.id == id)
    }

    /// Whether a broker, -1 for a bootstrap address, was found to be behind just now (R4).
    #[inline(never)]
    pub(crate) fn is_stale(&self, id: i32, now: Instant) -> bool {
        match self.broker(id) {
            Some(broker) => broker.stale_until > now,
            None => id < 0 && self.seeds.stale_until > now,
        }
    }

    /// An answer names a broker (R9: merged by id; whoever is not named stays for now).
    pub(crate) fn merge_broker(&mut self, now: Instant, id: i32, host: &str, port: i32) {
        let Ok(port) = u16::try_from(port) else { return };
        let Ok(name) = String::try_from(host) else { return };
        if id < 0 || port == 0 || host.is_empty() {
            return;
        }
        if let Some(broker) = self.broker_mut(id) {
            broker.seen = now;
            if broker.host != name || broker.port != port {
                (broker.host, broker.port) = (name, port);
                (broker.failures, broker.retry_at) = (0, now);
                broker.readdressed = true;
            }
            return;
        }
        let Some(slot) = self.broker_room() else { return };
        self.brokers[slot] =
            Broker { used: true, id, host: name, port, seen: now, ..Broker::EMPTY };
    }

    /// A free slot, or one whose broker leads nothing that is in use.
    fn broker_room(&self) -> Option<usize> {
        let free = self.brokers.iter().position(|b| !b.used);
        free.or_else(|| {
            (0..self.brokers.len())
                .filter(|slot| !self.leads(self.brokers[*slot].id))
                .min_by_key(|slot| self.brokers[*slot].seen)
        })
    }

    /// Whether a broker leads a partition in use, or is the controller.
    pub(crate) fn leads(&self, id: i32) -> bool {
        self.controller == Some(id) || self.table.iter().any(|p| p.used() && p.leader == id)
    }

    /// Forgets brokers that a whole answer of a broker that is not behind left out, unless they
    /// lead something (R9).
    pub(super) fn drop_unnamed(&mut self, since: Instant, by: i32) {
        if self.is_stale(by, since) {
            return;
        }
        for slot in 0..self.brokers.len() {
            let broker = &self.brokers[slot];
            if broker.used && broker.seen < since && !self.leads(broker.id) {
                self.brokers[slot] = Broker::EMPTY;
            }
        }
    }
}
