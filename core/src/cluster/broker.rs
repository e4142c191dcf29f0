//! The brokers that are worth remembering: those that lead partitions in use, and as many others as
//! fit.

use crate::error::{AddressFault, Error, Obstacle};
use crate::has::{REASONS, Reasons};
use crate::memory::hash;
use crate::time::Tick;
use crate::wire::ApiKey;

use super::{Cluster, Cx, Host};

/// A broker by node id.
pub(crate) struct Broker {
    pub(crate) used: bool,
    pub(crate) id: i32,
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// When a response named it last.
    pub(crate) seen: Tick,
    /// Connection attempts that failed in a row.
    pub(crate) failures: u8,
    pub(crate) retry_at: Tick,
    /// It responded with less than is known: others are preferred until then (R4).
    pub(crate) stale_until: Tick,
    /// Its address changed: open connections lead to the old one.
    pub(crate) readdressed: bool,
    /// It keeps refusing what it leads: open connections may lead to another broker.
    pub(crate) doubted: bool,
    /// Highest ApiVersions version that it took, 0 while not known.
    pub(crate) handshake: i16,
    /// The turns in which it last got a connection, by role.
    pub(super) turns: [u16; 2],
    pub(crate) last: LastFailure,
}

/// No request.
const NOTHING: i16 = -1;

/// Why the last connection to a peer failed, until one responds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastFailure {
    error: Option<Error>,
    /// The request that had no response.
    api: i16,
    /// The connection had been ready: another one that is proves nothing.
    ready: bool,
    /// No connection was ready since.
    down: bool,
    /// The application was notified.
    reported: bool,
}

impl LastFailure {
    pub(super) const NONE: Self =
        Self { error: None, api: 0, ready: false, down: false, reported: false };

    pub(super) fn new(error: Error, api: Option<ApiKey>, ready: bool) -> Self {
        let api = api.map_or(NOTHING, |api| api.0);
        Self { error: Some(error), api, ready, down: true, reported: false }
    }

    /// Whether a response to such a request shows that the failure does not repeat: it may have
    /// been caused by another request, which is the next one to be sent.
    pub(super) fn is_over_with(self, api: ApiKey) -> bool {
        let open = REASONS && self.ready && self.api != NOTHING && self.api != api.0;
        !guard!("another request proves nothing", open)
    }

    /// Whether it led to another cluster, or refuses us: other attempts end in the same way.
    #[cfg(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early")))]
    pub(super) fn is_hopeless(self) -> bool {
        self.error.is_some_and(Error::is_hopeless)
    }

    /// Returns the failure, if it is such a one.
    #[cfg(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early")))]
    pub(super) fn hopeless(self) -> Option<Error> {
        self.error.filter(|error| error.is_hopeless())
    }

    /// Whether no connection was ready since.
    pub(crate) const fn is_down(self) -> bool {
        self.down
    }

    /// Returns the failure of a broker while no connection to it was ready since.
    pub(crate) fn why_down(self, broker: i32) -> Option<Obstacle> {
        let api = (self.api != NOTHING).then_some(ApiKey(self.api));
        self.error.filter(|_| self.down)?.as_obstacle(broker, api)
    }

    /// Returns the failure of a peer that has another address now.
    const fn readdressed(self) -> Self {
        Self { down: false, ..self }
    }

    /// Returns the failure that was not reported yet.
    fn news(self) -> Option<Error> {
        self.error.filter(|_| !self.reported)
    }

    pub(super) fn has_news(self) -> bool {
        self.news().is_some()
    }

    /// Returns the failure that was not reported yet, and marks it as reported.
    pub(super) fn take_news(&mut self) -> Option<Error> {
        let news = self.news()?;
        self.reported = true;
        Some(news)
    }

    /// Notes that another connection is ready: the failure is not reported any more.
    pub(super) const fn dismiss(&mut self) {
        (self.down, self.reported) = (false, true);
    }

    /// Forgets the failure, since another connection got a response; one that was not reported
    /// yet is still news.
    pub(super) fn forget_known(&mut self) {
        self.error = self.news();
    }
}

impl Broker {
    pub(crate) const EMPTY: Self = Self {
        used: false,
        id: 0,
        host: Host::NONE,
        port: 0,
        seen: Tick::ZERO,
        failures: 0,
        retry_at: Tick::ZERO,
        stale_until: Tick::ZERO,
        readdressed: false,
        doubted: false,
        handshake: 0,
        turns: [0; 2],
        last: LastFailure::NONE,
    };
}

/// Brokers that were named with an address of no use; a broken listener is usually that of all.
#[derive(Clone, Copy)]
pub(super) struct Unusable(Reasons<[Option<(i32, AddressFault, Tick)>; 4]>);

impl Unusable {
    pub(super) const NONE: Self = Self(Reasons::new([None; 4]));

    /// Forgets those that were not named since.
    fn keep_since(&mut self, since: Tick) {
        let keep = |entry: Option<(i32, AddressFault, Tick)>| entry.filter(|(.., at)| *at >= since);
        self.0.set(self.0.or([None; 4]).map(keep));
    }

    /// Notes what is wrong with the address of a broker, if something is.
    fn note(&mut self, now: Tick, id: i32, fault: Option<AddressFault>) {
        let [a, b, c, _] =
            self.0.or([None; 4]).map(|entry| entry.filter(|(other, ..)| *other != id));
        if let Some(fault) = fault {
            self.0.set([Some((id, fault, now)), a, b, c]);
        }
    }

    pub(super) fn why(&self, id: i32) -> AddressFault {
        let entries = self.0.or([None; 4]);
        let found = entries.iter().flatten().find(|(other, ..)| *other == id);
        found.map_or(AddressFault::Unlisted, |(_, fault, _)| *fault)
    }

    pub(super) fn age(&mut self, by: crate::time::Span) {
        let mut entries = self.0.or([None; 4]);
        entries.iter_mut().flatten().for_each(|(.., at)| at.age(by));
        self.0.set(entries);
    }
}

impl Cluster<'_> {
    /// Returns the slot of a broker.
    #[inline(never)]
    pub(crate) fn broker_slot(&self, id: i32) -> Option<usize> {
        let mut link = self.broker_index.first(hash(id as u32));
        while let Some(slot) = link.get() {
            if self.brokers[slot].used && self.brokers[slot].id == id {
                return Some(slot);
            }
            link = self.broker_index.next(slot);
        }
        None
    }

    pub(crate) fn broker(&self, id: i32) -> Option<&Broker> {
        self.broker_slot(id).map(|slot| &self.brokers[slot])
    }

    pub(crate) fn broker_mut(&mut self, id: i32) -> Option<&mut Broker> {
        self.broker_slot(id).map(|slot| &mut self.brokers[slot])
    }

    /// Returns whether a broker, -1 for a bootstrap address, was recently found to be stale (R4).
    #[inline(never)]
    pub(crate) fn is_stale(&self, id: i32, now: Tick) -> bool {
        match self.broker(id) {
            Some(broker) => broker.stale_until > now,
            None => id < 0 && self.seeds.stale_until > now,
        }
    }

    /// Whether the bootstrap addresses are all that is known of the cluster.
    pub(crate) fn knows_no_broker(&self) -> bool {
        self.brokers.iter().all(|broker| !broker.used)
    }

    /// Forgets a broker.
    pub(super) fn drop_broker(&mut self, slot: usize) {
        self.drop_host(slot);
        if self.brokers[slot].used {
            self.broker_index.remove(hash(self.brokers[slot].id as u32), slot);
            self.table.broker_went(slot);
            self.brokers_moved = true;
        }
        self.brokers[slot] = Broker::EMPTY;
    }

    fn drop_host(&mut self, slot: usize) {
        let gone = core::mem::replace(&mut self.brokers[slot].host, Host::NONE);
        self.hosts.remove(gone);
        for broker in self.brokers.iter_mut() {
            broker.host.move_up(gone);
        }
    }

    /// Returns a free slot, or one whose broker leads nothing that is in use.
    fn broker_room(&self) -> Option<usize> {
        self.brokers.iter().position(|b| !b.used).or_else(|| self.idle_broker(-1))
    }

    /// Returns a broker other than `but` that leads nothing that is in use.
    fn idle_broker(&self, but: i32) -> Option<usize> {
        (0..self.brokers.len())
            .filter(|slot| {
                let broker = &self.brokers[*slot];
                broker.used && broker.id != but && !self.leads(*slot)
            })
            .min_by_key(|slot| self.brokers[*slot].seen)
    }

    /// Returns whether a broker leads a partition in use, or is the controller.
    fn leads(&self, slot: usize) -> bool {
        self.controller == Some(self.brokers[slot].id) || !self.table.first_led(slot).is_none()
    }

    /// Forgets brokers that a complete response of a broker that is not stale left out, unless they
    /// lead something (R9).
    pub(super) fn drop_unnamed(&mut self, since: Tick, by: i32) {
        if self.is_stale(by, since) {
            return;
        }
        self.unusable.keep_since(since);
        for slot in 0..self.brokers.len() {
            let broker = &self.brokers[slot];
            if broker.used && broker.seen < since && !self.leads(slot) {
                self.drop_broker(slot);
            }
        }
    }
}

impl<'d> Cx<'d> {
    /// Merges a broker that a response names (R9: by id; brokers that are not named stay for now).
    pub(crate) fn merge_broker(&mut self, id: i32, host: &str, port: i32) {
        let number = u16::try_from(port).unwrap_or(0);
        let fault = match number {
            _ if host.is_empty() => Some(AddressFault::NoHost),
            0 => Some(AddressFault::NoPort),
            _ => None,
        };
        if REASONS {
            self.cluster.unusable.note(self.now, id, fault);
        }
        if id < 0 || fault.is_some() {
            return;
        }
        let port = number;
        let known = self.cluster.broker_slot(id);
        if let Some(slot) = known {
            let broker = &mut self.cluster.brokers[slot];
            broker.seen = self.now;
            if broker.port == port && self.cluster.hosts.get(broker.host) == host {
                return;
            }
            self.cluster.drop_host(slot);
        }
        let Some(slot) = known.or_else(|| self.cluster.broker_room()) else { return };
        if known.is_none() {
            self.cluster.drop_broker(slot);
        }
        let place = loop {
            match (self.cluster.hosts.put(host), self.cluster.idle_broker(id)) {
                (Some(place), _) => break place,
                (None, Some(other)) => self.cluster.drop_broker(other),
                // A broker without an address is of no use.
                (None, None) => return self.cluster.drop_broker(slot),
            }
        };
        let old = known.map(|slot| &self.cluster.brokers[slot]);
        let (stale_until, last) = old.map_or((Tick::ZERO, LastFailure::NONE), |old| {
            (old.stale_until, old.last.readdressed())
        });
        self.cluster.brokers[slot] = Broker {
            used: true,
            id,
            host: place,
            port,
            seen: self.now,
            retry_at: if known.is_some() { self.now } else { Tick::ZERO },
            readdressed: known.is_some(),
            stale_until,
            last,
            ..Broker::EMPTY
        };
        self.cluster.brokers_moved |= known.is_some();
        if known.is_none() {
            self.cluster.broker_index.insert(hash(id as u32), slot);
            self.cluster.table.broker_came(slot, id);
        }
    }
}
