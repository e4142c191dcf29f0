//! Metadata: requested for topics that need it, merged element by element as it streams in.

use super::topics::Plan;
use super::{Cluster, Complaint, Cx, pending, topic};
use crate::api::Kind;
use crate::connection::{CLUSTER_ID_SINCE, Draft, HandshakeMemo, PATIENCE, Peer};
#[cfg(any(feature = "group", feature = "transactions", feature = "admin"))]
use crate::connection::{Conn, Role};
use crate::error::Error;
use crate::event::{Signal, Source};
use crate::has::{ADMIN, COORDINATORS};
use crate::memory::{Link, backoff};
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, Full, Uuid, metadata};

/// A topic is not requested more often than this.
const GAP: Span = Span::from_millis(20);
/// The same new topic id from one broker for this long is believed (R5 c).
const NEW_ID_TIME: Span = Span::from_secs(2);
/// Brokers without ids must contradict for this long (R6, R7).
const LAG_ALLOWANCE: Span = Span::from_secs(5);
/// The previous id is believed of one broker after this long: there is no other to request it from.
const ALONE: Span = Span::from_secs(30);
/// A topic that was never seen is reported as missing after this long.
const MISSING_TIME: Span = Span::from_secs(2);
/// Limit of requests to a stale broker for what no caller waits for; probes continue, and detect
/// that it caught up.
const REQUEST_STALE: u8 = 3;
/// Retries after an error that may be temporary before it is reported: less than a second's.
const RETRIES: u8 = 3;

/// State that is kept while a response streams in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetadataMemo {
    pub(super) started: Tick,
    node: i32,
    serial: u32,
    /// Leader epochs mean something (version 9 and later).
    reliable: bool,
    /// It has the cluster id (version 2 and later).
    named: bool,
    brokers: u32,
    /// Something did not fit and was left out: a smaller count means nothing then.
    skipped: bool,
    topic: Link,
    generation: u16,
    error: ErrorCode,
    id: Uuid,
    /// Highest partition index + 1.
    count: u32,
    /// Its partitions are those of the topic that we know.
    applies: bool,
    /// Something of the topic was not known before.
    news: bool,
    /// It is the response of another cluster.
    pub(super) foreign: bool,
}

impl MetadataMemo {
    pub(crate) const fn new(started: Tick, node: i32, version: i16, serial: u32) -> Self {
        Self {
            started,
            node,
            serial,
            reliable: version >= 9,
            named: version >= CLUSTER_ID_SINCE,
            brokers: 0,
            skipped: false,
            topic: Link::NONE,
            generation: 0,
            error: ErrorCode(0),
            id: Uuid::ZERO,
            count: 0,
            applies: false,
            news: false,
            foreign: false,
        }
    }

    /// Returns what the response says against the topic that ends.
    fn complaint(&self) -> Complaint {
        let code = match self.error {
            _ if self.names_no_brokers() => Complaint::NO_BROKERS,
            ErrorCode(0) if self.count == 0 && !self.skipped => Complaint::NO_TOPIC,
            ErrorCode(code) => code,
        };
        Complaint::new(code, self.node)
    }

    /// Returns what the response says against a topic that it does not name.
    const fn unnamed(&self) -> i16 {
        if self.names_no_brokers() { Complaint::NO_BROKERS } else { Complaint::NO_TOPIC }
    }

    /// Whether the response lists no brokers.
    pub(super) const fn names_no_brokers(&self) -> bool {
        self.brokers == 0 && !self.skipped
    }

    fn source(&self) -> Source {
        Source { broker: self.node, signal: Signal::Metadata }
    }
}

impl<'d> Cluster<'d> {
    /// Returns the serial of the Metadata request that was sent last.
    pub(crate) const fn metadata_serial(&self) -> u32 {
        self.metadata_serial
    }

    /// Returns the topic that a response is about, unless it was forgotten meanwhile.
    pub(super) fn still(&self, topic: Link, generation: u16) -> Option<usize> {
        let slot = topic.get()?;
        let other = self.topics[slot].generation != generation;
        (!guard!("a response about a forgotten topic is dropped", other)).then_some(slot)
    }

    /// Reports a failure to the application, once per kind.
    pub(crate) fn fail_topic(&mut self, slot: usize, error: Error) {
        let same = match (self.topics[slot].failure, error) {
            (Some(Error::Broker(known)), Error::Broker(code)) => known == code,
            (Some(Error::Limit { .. }), Error::Limit { .. }) => true,
            _ => false,
        };
        if !same {
            self.topics[slot].failure = Some(error);
            self.report(slot, pending::FAILED);
        }
    }
}

/// Times at which something is due about the cluster, by what that is.
struct Timers {
    /// Metadata of some topic gets too old.
    max_age: Tick,
    /// A Metadata request is due.
    metadata: Tick,
    /// The request in flight is given up.
    patience: Tick,
    /// A topic is probed for growth.
    probe: Tick,
    /// A connection for requests is needed.
    connection: Tick,
}

impl Timers {
    fn first(self) -> Tick {
        let Self { max_age, metadata, patience, probe, connection } = self;
        max_age.min(metadata).min(patience).min(probe).min(connection)
    }
}

impl<'d> Cx<'d> {
    /// Sends what is due and returns the time of the next pass.
    // Its frame ends before the next part's begins: a device has little stack.
    #[inline(never)]
    pub(crate) fn drive(&mut self) -> Tick {
        self.cluster.wants_requests = false;
        self.cluster.requests = (self.net.requests - self.cluster.probes.requests) as u32;
        self.adopt_seeds();
        #[cfg(feature = "one-cluster")]
        self.compare_seeds();
        if self.cluster.metadata_until <= self.now {
            // No response: another broker may know. A late one is still welcome.
            self.metadata_lost();
        }
        let max_age = self.refresh_old();
        let brokers = if self.brokers_wanted() { self.cluster.brokers_at } else { Tick::NEVER };
        let due = brokers.min(self.cluster.topics.wanted_at);
        let metadata = match due {
            due if due > self.now => due,
            _ if self.cluster.metadata_until == Tick::NEVER => self.send_metadata(brokers),
            _ => Tick::NEVER,
        };
        let patience = self.cluster.metadata_until;
        let probe = self.drive_probes();
        let connection = match self.cluster.topics.used() > 0 || self.brokers_wanted() {
            true => self.ensure_main(),
            false => Tick::NEVER,
        };
        let connection = connection.min(self.cluster.hopeless_after(self.now));
        Timers { max_age, metadata, patience, probe, connection }.first()
    }

    /// Has a connection made where there is none, although no topic needs it.
    #[cfg(any(feature = "group", feature = "transactions", feature = "admin"))]
    pub(crate) fn want_connection(&mut self) {
        // Of the others only those to coordinators may be the only ones.
        let serves = |conn: &Conn| !COORDINATORS || conn.role == Role::Main;
        let main = |conn: &Conn| conn.is_live() && serves(conn);
        let any = self.net.conns.iter().any(main);
        self.cluster.brokers_wanted |= !any;
    }

    fn brokers_wanted(&self) -> bool {
        (ADMIN || COORDINATORS) && self.cluster.brokers_wanted
    }

    /// Requests metadata of topics that is too old. Returns when the next one's is.
    fn refresh_old(&mut self) -> Tick {
        while let Some(slot) = self.cluster.topics.oldest() {
            let stale = self.cluster.topics[slot].described + self.settings.metadata_max_age;
            if stale > self.now {
                return stale;
            }
            self.refresh(slot);
        }
        Tick::NEVER
    }

    /// Returns a connection for a cluster request, another one each time; stale brokers come last,
    /// then connections with batches in flight.
    pub(crate) fn pick_main(&mut self, prefer: Option<i32>, kind: Kind) -> Option<usize> {
        self.cluster.turn = self.cluster.turn.wrapping_add(1);
        self.net.in_turn(self.cluster.turn, &|conn| {
            let usable = conn.takes_requests(self.now) && conn.versions.has(kind);
            let node = conn.peer.node();
            let other = prefer.is_some_and(|prefer| prefer != node);
            usable.then(|| [other, self.cluster.is_stale(node, self.now), conn.waits_for_batches()])
        })
    }

    fn send_metadata(&mut self, brokers: Tick) -> Tick {
        let (due, later) = self.due_topics();
        if due == 0 && brokers > self.now {
            self.cluster.topics.wanted_at = later;
            return later;
        }
        let conn = self.pick_main(self.cluster.informed, Kind::Metadata);
        let Some(conn) = conn else { return Tick::NEVER };
        let mut count = due;
        let draft = loop {
            match self.write_metadata(conn, count) {
                Ok(draft) => break draft,
                // As many as there is memory for now; the others come next.
                Err(Full) if guard!("names that do not fit are split", count > 1) => count /= 2,
                Err(Full) => return self.now + GAP,
            }
        };
        let Some(draft) = draft else { return Tick::NEVER };
        self.net.send(self.now, draft, [0; 2], self.settings.request_timeout);
        self.cluster.metadata_serial = self.cluster.metadata_serial.wrapping_add(1).max(1);
        // Topics that did not fit are still due.
        self.cluster.topics.wanted_at = if count < due { self.now } else { later };
        let mut link = self.cluster.topics.first(Plan::Wanted);
        while let Some(slot) = link.get().filter(|_| count > 0) {
            link = self.cluster.topics.next(slot);
            let need = &mut self.cluster.topics[slot].need;
            if need.at <= self.now {
                (need.wanted, need.serial, need.at) =
                    (false, self.cluster.metadata_serial, self.now + GAP);
                self.cluster.plan(slot);
                count -= 1;
            }
        }
        self.cluster.informed = None;
        self.cluster.metadata_until = self.now + PATIENCE;
        let (base, max) = (self.settings.retry_backoff, self.settings.retry_backoff_max);
        let vain = self.cluster.uncontrolled.0;
        self.cluster.brokers_at = match vain {
            0 => self.now + base,
            _ => backoff(&mut self.rng, self.now, base, max, vain),
        };
        Tick::NEVER
    }

    /// Returns how many topics want Metadata now, and when the next one does.
    fn due_topics(&self) -> (usize, Tick) {
        let (mut due, mut later) = (0, Tick::NEVER);
        let mut link = self.cluster.topics.first(Plan::Wanted);
        while let Some(slot) = link.get() {
            match self.cluster.topics[slot].need.at {
                at if at <= self.now => due += 1,
                at => later = later.min(at),
            }
            link = self.cluster.topics.next(slot);
        }
        (due, later)
    }

    /// Writes a request for the first `count` topics that are due. `None`: the connection takes
    /// none.
    fn write_metadata(&mut self, conn: usize, count: usize) -> Result<Option<Draft>, Full> {
        let draft = self.net.open(conn, self.now, Kind::Metadata, i16::MAX);
        let Some(mut draft) = draft else { return Ok(None) };
        let (topics, now) = (&self.cluster.topics, self.now);
        let auto_create = self.settings.auto_create;
        let written = self.net.write(&mut draft, &mut |w, version| {
            metadata::begin(w, version, Some(count))?;
            let (mut link, mut left) = (topics.first(Plan::Wanted), count);
            while let Some(slot) = link.get().filter(|_| left > 0) {
                let topic = &topics[slot];
                if topic.need.at <= now {
                    metadata::topic(w, version, Uuid::ZERO, Some(topic.name.as_str()))?;
                    left -= 1;
                }
                link = topics.next(slot);
            }
            metadata::end(w, version, auto_create)
        });
        match written {
            Ok(()) => Ok(Some(draft)),
            Err(Full) => {
                self.net.abandon(draft);
                Err(Full)
            }
        }
    }

    /// Notes that a Metadata request will get no response (soon).
    pub(crate) fn metadata_lost(&mut self) {
        self.cluster.metadata_until = Tick::NEVER;
        while let Some(slot) = self.cluster.topics.first(Plan::Requested).get() {
            let need = &mut self.cluster.topics[slot].need;
            need.serial = 0;
            need.wanted = true;
            need.at = need.at.max(self.now);
            need.reported = false;
            self.cluster.plan(slot);
        }
    }

    /// Takes an item of the response that confirms which cluster a connection leads to.
    pub(crate) fn on_confirmation(
        &mut self,
        conn: usize,
        memo: &mut HandshakeMemo,
        got: Segment<'_, '_>,
    ) {
        if let Some(metadata::Item::Cluster { id, .. }) = metadata::item(got) {
            memo.foreign = !self.admits(conn, id);
        }
    }

    /// Whether a cluster id that came over a connection is that of this client's cluster. The first
    /// one is.
    pub(crate) fn admits(&mut self, conn: usize, id: Option<&str>) -> bool {
        let seed = match self.net.conns[conn].peer {
            Peer::Seed(n) => Some(n),
            Peer::Node(_) => None,
        };
        self.settings.accept_other_cluster || self.cluster.identity.admit(id, seed)
    }

    /// Whether a response may be of another cluster: its id, which stands behind the brokers, is to
    /// be compared first.
    fn may_be_foreign(&self, conn: usize) -> bool {
        let unsure = self.net.conns[conn].unconfirmed && self.cluster.identity.is_known();
        guard!("brokers of a cluster that may be another one are not adopted", unsure)
    }

    /// Takes a broker that a response names.
    fn on_broker(
        &mut self,
        conn: usize,
        memo: &mut MetadataMemo,
        (id, host, port): (i32, &str, i32),
    ) {
        memo.brokers += 1;
        if self.may_be_foreign(conn) {
            memo.skipped = true;
            return;
        }
        // A stale broker may know an old address (R9).
        let behind =
            self.cluster.broker(id).is_some() && self.cluster.is_stale(memo.node, self.now);
        if !guard!("who is behind moves no broker", behind) {
            self.merge_broker(id, host, port);
        }
    }

    /// Takes what a response says of the cluster.
    fn on_cluster(
        &mut self,
        conn: usize,
        memo: &mut MetadataMemo,
        id: Option<&str>,
        controller: i32,
    ) {
        if !memo.named || self.admits(conn, id) {
            self.net.conns[conn].unconfirmed = false;
            if controller >= 0 {
                self.cluster.controller = Some(controller);
            }
            if ADMIN {
                self.cluster.note_controller(memo.node, controller);
            }
            return;
        }
        memo.foreign = true;
    }

    pub(crate) fn on_metadata(
        &mut self,
        conn: usize,
        memo: &mut MetadataMemo,
        got: Segment<'_, '_>,
    ) {
        if memo.serial == self.cluster.metadata_serial && self.cluster.metadata_until != Tick::NEVER
        {
            // Long responses over slow links take their time; this one is arriving.
            self.cluster.metadata_until = self.now + PATIENCE;
        }
        let Some(item) = metadata::item(got) else { return };
        match item {
            _ if cfg!(feature = "one-cluster") && memo.foreign => {}
            metadata::Item::Broker { id, host, port, .. } => {
                self.on_broker(conn, memo, (id, host, port));
            }
            metadata::Item::Cluster { id, controller } => {
                self.on_cluster(conn, memo, id, controller);
            }
            metadata::Item::Topic { error, name, id, .. } => {
                let slot = name.and_then(|name| self.cluster.named(name));
                memo.topic = slot.map_or(Link::NONE, Link::to);
                memo.generation = slot.map_or(0, |slot| self.cluster.topics[slot].generation);
                (memo.error, memo.id, memo.count, memo.news) = (error, id, 0, false);
                memo.applies = memo.brokers > 0
                    && slot.is_some_and(|slot| {
                        let known = self.cluster.topics[slot].id;
                        known == id || known.is_zero() || id.is_zero()
                    });
            }
            metadata::Item::Partition { error, index, leader, epoch, .. } => {
                let Some(slot) = self.cluster.still(memo.topic, memo.generation) else { return };
                let Ok(index) = u32::try_from(index) else { return };
                memo.count = memo.count.max(index.saturating_add(1));
                let leaderless = matches!(
                    error,
                    ErrorCode::LEADER_NOT_AVAILABLE | ErrorCode::LISTENER_NOT_FOUND
                );
                let leader = if leaderless { -1 } else { leader.max(-1) };
                if !memo.applies {
                    return;
                }
                if let Some(part) =
                    self.cluster.table.find(slot, index).or_else(|| self.cluster.hold(slot, index))
                {
                    memo.news |= self.cluster.merge_leader(part, leader, epoch, memo.reliable);
                }
            }
            metadata::Item::TopicEnd => {
                if let Some(slot) = self.cluster.still(memo.topic, memo.generation) {
                    self.merge_topic(slot, memo);
                    self.schedule(slot);
                }
            }
            metadata::Item::Skipped => memo.skipped = true,
            _ => {}
        }
    }

    /// Handles the end of a response.
    pub(crate) fn metadata_done(&mut self, memo: &MetadataMemo) {
        if memo.brokers > 0 && !memo.skipped {
            self.cluster.drop_unnamed(memo.started, memo.node);
            self.cluster.brokers_wanted = false;
        } else if memo.names_no_brokers() {
            self.cluster.brokers_at = self.now + self.settings.retry_backoff_max;
        }
        if memo.serial == self.cluster.metadata_serial {
            self.cluster.metadata_until = Tick::NEVER;
        }
        let mut link = self.cluster.topics.first(Plan::Requested);
        while let Some(slot) = link.get() {
            link = self.cluster.topics.next(slot);
            // Requested and not named in the response: as if there had been none.
            let topic = &mut self.cluster.topics[slot];
            if topic.need.serial == memo.serial {
                topic.need.serial = 0;
                topic.said = Complaint::new(memo.unnamed(), memo.node);
                self.request_again(slot);
            }
        }
    }

    /// Schedules a topic after a response was merged: it waits for its next probe, or for more.
    fn schedule(&mut self, slot: usize) {
        self.cluster.plan(slot);
        self.cluster.topics.note_change(slot);
        let requests = self.cluster.requests;
        let topic = &mut self.cluster.topics[slot];
        if let plan @ (Plan::Rest | Plan::Eager) = topic.plan {
            (topic.probe.sent, topic.probe.requests) = (self.now, requests);
            self.cluster.topics.put(slot, plan);
            self.cluster.topics.renew(slot);
        }
    }

    fn merge_topic(&mut self, slot: usize, memo: &MetadataMemo) {
        let topic = &mut self.cluster.topics[slot];
        topic.need.serial = 0;
        topic.said = memo.complaint();
        match memo.error {
            _ if memo.brokers == 0 => return self.request_again(slot),
            ErrorCode(0)
                if guard!("no partitions are no topic", memo.count == 0) || memo.skipped =>
            {
                return self.request_again(slot);
            }
            ErrorCode(0) => {}
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
                return self.merge_missing(slot, memo);
            }
            // Of a topic that is known this says little.
            error if error.is_retriable() && self.cluster.topics[slot].ready => {
                return self.request_again(slot);
            }
            // Usually temporary.
            error
                if (error.is_retriable() || error == ErrorCode::UNKNOWN_SERVER_ERROR)
                    && self.cluster.topics[slot].need.failures < RETRIES =>
            {
                return self.request_again(slot);
            }
            error => {
                self.cluster.fail_topic(slot, Error::Broker(error));
                return self.request_again(slot);
            }
        }
        let mut news = memo.news;
        let topic = &mut self.cluster.topics[slot];
        let gone =
            matches!(topic.failure, Some(Error::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)));
        topic.failure = None;
        let rested = topic.described + self.settings.retry_backoff_max.times(2) <= self.now;
        topic.described = self.now;
        if !topic.ready {
            topic.count = memo.count;
            topic.nameless = memo.id.is_zero();
            topic.evidence = topic::Evidence::NONE;
            self.cluster.topics.set_id(slot, memo.id);
            self.cluster.topics.set_ready(slot);
            self.cluster.report(slot, pending::READY);
            news = true;
        } else if !memo.applies || (gone && memo.id.is_zero()) {
            return self.merge_other(slot, memo, gone);
        } else if guard!("a count does not shrink", memo.count < topic.count) {
            return self.merge_smaller(slot, memo);
        } else {
            topic.evidence = topic::Evidence::NONE;
            topic.nameless = memo.id.is_zero();
            if topic.id.is_zero() {
                self.cluster.topics.set_id(slot, memo.id);
            }
            let topic = &self.cluster.topics[slot];
            if memo.count != topic.count {
                let seen = if topic.need.reported { topic.need.by } else { memo.source() };
                self.cluster.grow(slot, memo.count, seen);
                news = true;
            }
        }
        self.confirm(slot, memo.source());
        if news || rested {
            self.cluster.topics[slot].need.failures = 0;
        }
        self.want_leaders(slot, news);
    }

    /// Handles another topic id than ours, or a topic that is back after it was gone: either the
    /// topic is new, or the broker is stale (R5).
    fn merge_other(&mut self, slot: usize, memo: &MetadataMemo, gone: bool) {
        let topic = &mut self.cluster.topics[slot];
        topic.evidence.add(self.now, memo.id, memo.count, memo.node);
        let e = &topic.evidence;
        let lasts = |time: Span| e.responses > 1 && e.since + time <= self.now;
        // Kafka never reuses an id: a broker that still has the previous one is stale, unless the
        // client saw them in the wrong order.
        let old = !memo.id.is_zero() && memo.id == topic.old_id;
        let believed = match old {
            true => lasts(LAG_ALLOWANCE) && (e.refused || e.two_brokers || lasts(ALONE)),
            false => gone || e.refused || e.two_brokers || lasts(NEW_ID_TIME),
        };
        if guard!("another id is corroborated", believed => true) {
            self.cluster.recreate(slot, memo.id, memo.count);
            // This response was read as one about another topic: its leaders were not adopted.
            self.confirm(slot, memo.source());
            self.refresh_now(slot, memo.source());
        } else if old {
            self.merge_stale(slot, memo);
        } else {
            self.request_again(slot);
        }
    }

    /// Notes a stale broker: others get the request, and the broker itself a few more.
    fn merge_stale(&mut self, slot: usize, memo: &MetadataMemo) {
        self.stale(slot, memo.node);
        if self.cluster.topics[slot].need.failures < REQUEST_STALE {
            self.request_again(slot);
        } else {
            self.slow_down(slot);
        }
    }

    /// Requests leaders of partitions in use again that are still unknown, or that some broker
    /// contradicts.
    fn want_leaders(&mut self, slot: usize, news: bool) {
        self.cluster.topics[slot].need.reported = false;
        let count = self.cluster.topics[slot].count;
        let open = self.cluster.table.of_topic(slot).any(|part| {
            let p = &self.cluster.table[part];
            p.index < count && (p.broker().is_none() || p.rewinds > 0)
        });
        if open {
            self.request_again(slot);
        } else if !news {
            self.slow_down(slot);
        }
    }

    /// Handles "no such topic", which is believed only when it lasts (R7).
    fn merge_missing(&mut self, slot: usize, memo: &MetadataMemo) {
        let brokers = self.cluster.brokers.iter().filter(|b| b.used).count();
        let topic = &mut self.cluster.topics[slot];
        topic.evidence.add(self.now, Uuid::ZERO, 0, memo.node);
        let allowance = if topic.ready { LAG_ALLOWANCE } else { MISSING_TIME };
        let e = &topic.evidence;
        // A second broker cannot contradict anything about a topic that was never seen.
        let enough = usize::from(e.responses) >= if topic.ready { brokers.max(3) } else { 3 };
        let agreed = !topic.ready || e.two_brokers || brokers < 2 || e.responses > 20;
        let gone = enough && agreed && e.since + allowance <= self.now;
        if guard!("a missing topic is corroborated", gone => true) {
            self.cluster.fail_topic(slot, Error::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        }
        self.request_again(slot);
    }

    /// Handles fewer partitions than are known: the broker is stale (R4), or, without topic ids and
    /// when all agree for long, the topic was recreated (R6).
    fn merge_smaller(&mut self, slot: usize, memo: &MetadataMemo) {
        let brokers = self.cluster.brokers.iter().filter(|b| b.used).count();
        if memo.id.is_zero() {
            let topic = &mut self.cluster.topics[slot];
            topic.evidence.add(self.now, Uuid::ZERO, memo.count, memo.node);
            let e = &topic.evidence;
            if usize::from(e.responses) >= brokers.max(3)
                && (e.two_brokers || brokers < 2 || e.responses > 20)
                && e.since + LAG_ALLOWANCE <= self.now
            {
                self.cluster.recreate(slot, Uuid::ZERO, memo.count);
                self.confirm(slot, memo.source());
                return self.refresh_now(slot, memo.source());
            }
        }
        if !memo.id.is_zero() {
            return self.merge_stale(slot, memo);
        }
        self.stale(slot, memo.node);
        self.request_again(slot);
    }
}
