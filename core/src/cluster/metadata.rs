//! Metadata: asked for topics that need it, merged element by element as it streams in.

use super::topics::Plan;
use super::{Cluster, pending, topic};
use crate::api::Kind;
use crate::connection::{Draft, Net, PATIENCE};
use crate::error::Error;
use crate::event::{Signal, Source};
use crate::memory::Link;
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, Full, Uuid, metadata};

/// A topic is not asked for more often than this.
const GAP: Span = Span::from_millis(20);
/// The same new topic id from one broker for this long is believed (R5 c).
const NEW_ID_TIME: Span = Span::from_secs(2);
/// Brokers without ids must contradict for this long (R6, R7).
const LAG_ALLOWANCE: Span = Span::from_secs(5);
/// The id before ours is believed of one broker after this long: there is nobody else to be asked.
const ALONE: Span = Span::from_secs(30);
/// A topic that was never seen is told to be missing after this long.
const MISSING_TIME: Span = Span::from_secs(2);
/// A broker that is behind is not asked more often than this for what nobody waits for; probes go
/// on, and see when it caught up.
const ASK_STALE: u8 = 3;
/// So often an error that says nothing is asked about again before it is told.
const RETRIES: u8 = 3;

/// What has to be remembered while an answer streams in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetadataMemo {
    pub(super) started: Tick,
    node: i32,
    serial: u32,
    /// Leader epochs mean something (version 9 and later).
    reliable: bool,
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
}

impl MetadataMemo {
    pub(crate) const fn new(started: Tick, node: i32, version: i16, serial: u32) -> Self {
        Self {
            started,
            node,
            serial,
            reliable: version >= 9,
            brokers: 0,
            skipped: false,
            topic: Link::NONE,
            generation: 0,
            error: ErrorCode(0),
            id: Uuid::ZERO,
            count: 0,
            applies: false,
            news: false,
        }
    }

    fn source(&self) -> Source {
        Source { broker: self.node, signal: Signal::Metadata }
    }
}

impl<'d> Cluster<'d> {
    /// Serial of the Metadata request that was sent last.
    pub(crate) const fn metadata_serial(&self) -> u32 {
        self.metadata_serial
    }

    /// Sends what is due and returns when to look again.
    // Its frame ends before the next part's begins: a device has little stack.
    #[inline(never)]
    pub(crate) fn drive(&mut self, net: &mut Net<'d>, now: Tick) -> Tick {
        self.asks = false;
        (self.clock, self.requests) = (now, (net.requests - self.probes.requests) as u32);
        self.adopt_seeds(net, now);
        let mut next = Tick::NEVER;
        if self.metadata_until <= now {
            // No answer: somebody else may know. A late one is still welcome.
            self.metadata_lost(now);
        }
        while let Some(slot) = self.topics.oldest() {
            let stale = self.topics[slot].described + self.config.metadata_max_age;
            if stale > now {
                next = stale;
                break;
            }
            self.refresh(slot, now);
        }
        let brokers = if self.brokers_wanted { self.brokers_at } else { Tick::NEVER };
        let due = brokers.min(self.topics.wanted_at);
        if due > now {
            next = next.min(due);
        } else if self.metadata_until == Tick::NEVER {
            next = next.min(self.send_metadata(net, now, brokers));
        }
        next = next.min(self.metadata_until);
        next = next.min(self.drive_probes(net, now));
        if self.topics.used() > 0 || self.brokers_wanted {
            next = next.min(self.ensure_main(net, now));
        }
        next
    }

    /// A connection to ask about the cluster, other ones in turn; brokers that were behind last,
    /// then connections with batches on their way.
    pub(crate) fn pick_main(
        &mut self,
        net: &Net<'d>,
        now: Tick,
        prefer: Option<i32>,
        kind: Kind,
    ) -> Option<usize> {
        self.turn = self.turn.wrapping_add(1);
        net.in_turn(self.turn, &|conn| {
            let usable = conn.can_ask(now) && conn.versions.has(kind);
            let node = conn.peer.node();
            let other = prefer.is_some_and(|prefer| prefer != node);
            usable.then(|| [other, self.is_stale(node, now), conn.is_behind_batches()])
        })
    }

    fn send_metadata(&mut self, net: &mut Net<'d>, now: Tick, brokers: Tick) -> Tick {
        let (due, later) = self.due_topics(now);
        if due == 0 && brokers > now {
            self.topics.wanted_at = later;
            return later;
        }
        let conn = self.pick_main(net, now, self.informed, Kind::Metadata);
        let Some(conn) = conn else { return Tick::NEVER };
        let mut count = due;
        let draft = loop {
            match self.write_metadata(net, now, conn, count) {
                Ok(draft) => break draft,
                // As many as there is memory for now; the others come next.
                Err(Full) if guard!("names that do not fit are split", count > 1) => count /= 2,
                Err(Full) => return now + GAP,
            }
        };
        let Some(draft) = draft else { return Tick::NEVER };
        net.send(now, draft, [0; 2], self.config.request_timeout);
        self.metadata_serial = self.metadata_serial.wrapping_add(1).max(1);
        // What found no room is due still.
        self.topics.wanted_at = if count < due { now } else { later };
        let mut link = self.topics.first(Plan::Wanted);
        while let Some(slot) = link.get().filter(|_| count > 0) {
            link = self.topics.next(slot);
            let need = &mut self.topics[slot].need;
            if need.at <= now {
                (need.wanted, need.serial, need.at) = (false, self.metadata_serial, now + GAP);
                self.plan(slot);
                count -= 1;
            }
        }
        self.informed = None;
        self.metadata_until = now + PATIENCE;
        self.brokers_at = now + self.config.retry_backoff;
        Tick::NEVER
    }

    /// How many topics want Metadata now, and when the next one does.
    fn due_topics(&self, now: Tick) -> (usize, Tick) {
        let (mut due, mut later) = (0, Tick::NEVER);
        let mut link = self.topics.first(Plan::Wanted);
        while let Some(slot) = link.get() {
            match self.topics[slot].need.at {
                at if at <= now => due += 1,
                at => later = later.min(at),
            }
            link = self.topics.next(slot);
        }
        (due, later)
    }

    /// A request for the first `count` topics that are due. `None`: the connection takes none.
    fn write_metadata(
        &self,
        net: &mut Net<'d>,
        now: Tick,
        conn: usize,
        count: usize,
    ) -> Result<Option<Draft>, Full> {
        let draft = net.open(conn, now, Kind::Metadata, i16::MAX);
        let Some(mut draft) = draft else { return Ok(None) };
        let (topics, auto_create) = (&self.topics, self.config.auto_create);
        let written = net.write(&mut draft, &mut |w, version| {
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
                net.abandon(draft);
                Err(Full)
            }
        }
    }

    /// A Metadata request will not be answered (soon).
    pub(crate) fn metadata_lost(&mut self, now: Tick) {
        self.metadata_until = Tick::NEVER;
        while let Some(slot) = self.topics.first(Plan::Asked).get() {
            let need = &mut self.topics[slot].need;
            need.serial = 0;
            need.wanted = true;
            need.at = need.at.max(now);
            need.told = false;
            self.plan(slot);
        }
    }

    pub(crate) fn on_metadata(&mut self, now: Tick, memo: &mut MetadataMemo, got: Segment<'_, '_>) {
        if memo.serial == self.metadata_serial && self.metadata_until != Tick::NEVER {
            // Long answers over slow links take their time; this one is on its way.
            self.metadata_until = now + PATIENCE;
        }
        let Some(item) = metadata::item(got) else { return };
        match item {
            metadata::Item::Broker { id, host, port, .. } => {
                memo.brokers += 1;
                // Who is behind may know an old address (R9).
                let behind = self.broker(id).is_some() && self.is_stale(memo.node, now);
                if !guard!("who is behind moves no broker", behind) {
                    self.merge_broker(now, id, host, port);
                }
            }
            metadata::Item::Cluster { controller, .. } if controller >= 0 => {
                self.controller = Some(controller);
            }
            metadata::Item::Topic { error, name, id, .. } => {
                let slot = name.and_then(|name| self.named(name));
                memo.topic = slot.map_or(Link::NONE, Link::to);
                memo.generation = slot.map_or(0, |slot| self.topics[slot].generation);
                (memo.error, memo.id, memo.count, memo.news) = (error, id, 0, false);
                memo.applies = memo.brokers > 0
                    && slot.is_some_and(|slot| {
                        let known = self.topics[slot].id;
                        known == id || known == Uuid::ZERO || id == Uuid::ZERO
                    });
            }
            metadata::Item::Partition { error, index, leader, epoch, .. } => {
                let Some(slot) = self.still(memo.topic, memo.generation) else { return };
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
                if let Some(part) = self.table.find(slot, index).or_else(|| self.hold(slot, index))
                {
                    memo.news |= self.merge_leader(part, leader, epoch, memo.reliable);
                }
            }
            metadata::Item::TopicEnd => {
                if let Some(slot) = self.still(memo.topic, memo.generation) {
                    self.merge_topic(now, slot, memo);
                    self.schedule(slot, now);
                }
                memo.topic = Link::NONE;
            }
            metadata::Item::Skipped => memo.skipped = true,
            _ => {}
        }
    }

    /// The answer is complete.
    pub(crate) fn metadata_done(&mut self, now: Tick, memo: &MetadataMemo) {
        if memo.brokers > 0 && !memo.skipped {
            self.drop_unnamed(memo.started, memo.node);
            self.brokers_wanted = false;
        }
        if memo.serial == self.metadata_serial {
            self.metadata_until = Tick::NEVER;
        }
        let mut link = self.topics.first(Plan::Asked);
        while let Some(slot) = link.get() {
            link = self.topics.next(slot);
            // Asked and not named in the answer: as if there had been none.
            if self.topics[slot].need.serial == memo.serial {
                self.topics[slot].need.serial = 0;
                self.ask_again(slot, now);
            }
        }
    }

    /// The topic that an answer is about, unless it was forgotten meanwhile.
    pub(super) fn still(&self, topic: Link, generation: u16) -> Option<usize> {
        let slot = topic.get()?;
        let other = self.topics[slot].generation != generation;
        (!guard!("an answer about a forgotten topic is dropped", other)).then_some(slot)
    }

    /// An answer was merged: the topic waits for its next probe, or for more.
    fn schedule(&mut self, slot: usize, now: Tick) {
        self.plan(slot);
        self.topics.note_change(slot);
        let requests = self.requests;
        let topic = &mut self.topics[slot];
        if let plan @ (Plan::Rest | Plan::Eager) = topic.plan {
            (topic.probe.sent, topic.probe.requests) = (now, requests);
            self.topics.put(slot, plan);
            self.topics.renew(slot);
        }
    }

    fn merge_topic(&mut self, now: Tick, slot: usize, memo: &MetadataMemo) {
        self.topics[slot].need.serial = 0;
        match memo.error {
            _ if memo.brokers == 0 => return self.ask_again(slot, now),
            ErrorCode(0)
                if guard!("no partitions are no topic", memo.count == 0) || memo.skipped =>
            {
                return self.ask_again(slot, now);
            }
            ErrorCode(0) => {}
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
                return self.merge_missing(now, slot, memo);
            }
            error if error.is_retriable() => return self.ask_again(slot, now),
            // Passes, as a rule.
            ErrorCode::UNKNOWN_SERVER_ERROR if self.topics[slot].need.failures < RETRIES => {
                return self.ask_again(slot, now);
            }
            error => {
                self.fail_topic(slot, Error::Broker(error));
                return self.ask_again(slot, now);
            }
        }
        let mut news = memo.news;
        let topic = &mut self.topics[slot];
        let gone = topic.failure == Some(Error::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        topic.failure = None;
        let rested = topic.described + self.config.retry_backoff_max.times(2) <= now;
        topic.described = now;
        if !topic.ready {
            topic.count = memo.count;
            topic.nameless = memo.id == Uuid::ZERO;
            topic.evidence = topic::Evidence::NONE;
            self.topics.set_id(slot, memo.id);
            self.topics.set_ready(slot);
            self.tell(slot, pending::READY);
            news = true;
        } else if !memo.applies || (gone && memo.id == Uuid::ZERO) {
            return self.merge_other(now, slot, memo, gone);
        } else if guard!("a count does not shrink", memo.count < topic.count) {
            return self.merge_smaller(now, slot, memo);
        } else {
            topic.evidence = topic::Evidence::NONE;
            topic.nameless = memo.id == Uuid::ZERO;
            if topic.id == Uuid::ZERO {
                self.topics.set_id(slot, memo.id);
            }
            let topic = &self.topics[slot];
            if memo.count != topic.count {
                let seen = if topic.need.told { topic.need.by } else { memo.source() };
                self.grow(slot, memo.count, seen);
                news = true;
            }
        }
        self.confirm(slot, now, memo.source());
        if news || rested {
            self.topics[slot].need.failures = 0;
        }
        self.want_leaders(slot, now, news);
    }

    /// Another topic id than ours, or a topic that is back after it was gone: is it a new topic, or
    /// is the broker behind (R5)?
    fn merge_other(&mut self, now: Tick, slot: usize, memo: &MetadataMemo, gone: bool) {
        let topic = &mut self.topics[slot];
        topic.evidence.add(now, memo.id, memo.count, memo.node);
        let e = &topic.evidence;
        let lasts = |time: Span| e.answers > 1 && e.since + time <= now;
        // Kafka never gives an id twice: who still has the one before ours is behind, unless it
        // was us who took them in the wrong order.
        let old = memo.id != Uuid::ZERO && memo.id == topic.old_id;
        let believed = match old {
            true => lasts(LAG_ALLOWANCE) && (e.refused || e.two_brokers || lasts(ALONE)),
            false => gone || e.refused || e.two_brokers || lasts(NEW_ID_TIME),
        };
        if guard!("another id is corroborated", believed => true) {
            self.recreate(slot, memo.id, memo.count);
            // This answer was read as one about another topic: its leaders were not taken.
            self.confirm(slot, now, memo.source());
            self.refresh_now(slot, now, memo.source());
        } else if old {
            self.merge_stale(now, slot, memo);
        } else {
            self.ask_again(slot, now);
        }
    }

    /// The broker is behind: others are asked, and itself a few times more.
    fn merge_stale(&mut self, now: Tick, slot: usize, memo: &MetadataMemo) {
        self.stale(slot, now, memo.node);
        if self.topics[slot].need.failures < ASK_STALE {
            self.ask_again(slot, now);
        } else {
            self.slow_down(slot, now);
        }
    }

    /// Leaders of partitions in use that are still not known, or that somebody contradicts, are
    /// asked again.
    fn want_leaders(&mut self, slot: usize, now: Tick, news: bool) {
        self.topics[slot].need.told = false;
        let count = self.topics[slot].count;
        let open = self.table.of_topic(slot).any(|part| {
            let p = &self.table[part];
            p.index < count && (p.broker().is_none() || p.rewinds > 0)
        });
        if open {
            self.ask_again(slot, now);
        } else if !news {
            self.slow_down(slot, now);
        }
    }

    /// "No such topic": believed only when it lasts (R7).
    fn merge_missing(&mut self, now: Tick, slot: usize, memo: &MetadataMemo) {
        let brokers = self.brokers.iter().filter(|b| b.used).count();
        let topic = &mut self.topics[slot];
        topic.evidence.add(now, Uuid::ZERO, 0, memo.node);
        let allowance = if topic.ready { LAG_ALLOWANCE } else { MISSING_TIME };
        let e = &topic.evidence;
        // Of a topic that was never seen there is nothing that a second broker could contradict.
        let enough = usize::from(e.answers) >= if topic.ready { brokers.max(3) } else { 3 };
        let agreed = !topic.ready || e.two_brokers || brokers < 2 || e.answers > 20;
        let gone = enough && agreed && e.since + allowance <= now;
        if guard!("a missing topic is corroborated", gone => true) {
            self.fail_topic(slot, Error::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        }
        self.ask_again(slot, now);
    }

    /// Fewer partitions than are known: the broker is behind (R4), or, without topic ids and when
    /// all say so for long, the topic was made again (R6).
    fn merge_smaller(&mut self, now: Tick, slot: usize, memo: &MetadataMemo) {
        let brokers = self.brokers.iter().filter(|b| b.used).count();
        if memo.id == Uuid::ZERO {
            let topic = &mut self.topics[slot];
            topic.evidence.add(now, Uuid::ZERO, memo.count, memo.node);
            let e = &topic.evidence;
            if usize::from(e.answers) >= brokers.max(3)
                && (e.two_brokers || brokers < 2 || e.answers > 20)
                && e.since + LAG_ALLOWANCE <= now
            {
                self.recreate(slot, Uuid::ZERO, memo.count);
                self.confirm(slot, now, memo.source());
                return self.refresh_now(slot, now, memo.source());
            }
        }
        if memo.id != Uuid::ZERO {
            return self.merge_stale(now, slot, memo);
        }
        self.stale(slot, now, memo.node);
        self.ask_again(slot, now);
    }

    /// Tells the application once per kind of failure.
    pub(crate) fn fail_topic(&mut self, slot: usize, error: Error) {
        if self.topics[slot].failure != Some(error) {
            self.topics[slot].failure = Some(error);
            self.tell(slot, pending::FAILED);
        }
    }
}
