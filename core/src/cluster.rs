//! Cluster: what is known of brokers, watched topics and partitions in use, how fresh that is, and
//! when to request it again. Never goes backwards: see the rules at each merge.

mod broker;
mod connect;
mod cx;
#[cfg(feature = "transactions")]
mod features;
mod freshness;
mod hosts;
mod identity;
mod metadata;
mod news;
mod obstacle;
mod owner;
mod table;
mod topic;
mod topics;

use crate::error::{Error, LimitKind, Misuse, Obstacle};
use crate::event::Source;
use crate::has::{ADMIN, UNWATCH};
use crate::id::TopicId;
use crate::memory::{Index, Link, Mem, backoff};
use crate::time::Tick;
use crate::wire::{ErrorCode, Uuid};

pub(crate) use broker::Broker;
pub(crate) use connect::Wish;
pub(crate) use cx::Cx;
use freshness::{DescribeMemo, OffsetsProbeMemo};
use hosts::{Host, Hosts};
pub(crate) use identity::Identity;
use metadata::MetadataMemo;
pub(crate) use obstacle::Complaint;
pub(crate) use owner::Memo;
#[cfg(feature = "group")]
pub(crate) use table::GROUP;
#[cfg(feature = "ordered-growth")]
pub(crate) use table::GROWTH;
pub(crate) use table::{CONSUMER, HELD, PRODUCER, Partition, Table, TableMem};
pub(crate) use topic::Topic;
use topic::pending;
use topics::Plan;
pub(crate) use topics::{Topics, TopicsMem};

/// Refusals under one epoch after which a leader may be another broker.
const DOUBT: u8 = 5;

/// See the module.
pub(crate) struct Cluster<'d> {
    pub(crate) brokers: Mem<'d, Broker>,
    /// By node id.
    broker_index: Index<'d>,
    unusable: broker::Unusable,
    hosts: Hosts<'d>,
    pub(crate) topics: Topics<'d>,
    pub(crate) table: Table<'d>,
    pub(crate) identity: Identity,
    seeds: connect::Seeds,
    /// Node id of the controller; requests that change topics go there (ZooKeeper mode).
    pub(crate) controller: Option<i32>,
    /// An admin request waits for the list of brokers.
    pub(crate) brokers_wanted: bool,
    /// No request for brokers before this.
    brokers_at: Tick,
    /// Responses in a row that did not name the controller, and who sent the last one.
    uncontrolled: (u8, i32),
    /// Time limit of the Metadata request in flight, after which another broker gets it; never when
    /// there is none.
    metadata_until: Tick,
    metadata_serial: u32,
    /// Rotates over connections.
    turn: usize,
    /// The broker that showed that there is news; it gets the next request.
    informed: Option<i32>,
    /// Requests except probes at the last pass, modulo 2^32.
    requests: u32,
    /// Some broker has sent a response other than ApiVersions.
    pub(crate) responded: bool,
    /// The last connection that failed, while no broker has responded since.
    trouble: Option<Obstacle>,
    /// Brokers with news for the application.
    pub(crate) broker_news: bool,
    /// The address of some broker changed or is doubted, or a broker was forgotten.
    pub(crate) brokers_moved: bool,
    /// Metadata of some topic became wanted after the last pass over what is due.
    pub(crate) wants_requests: bool,
    /// When a record was produced last, for [`Probing::WhenProducing`](crate::Probing).
    pub(crate) produced: Option<Tick>,
    pub(crate) probes: Probes,
    #[cfg(feature = "transactions")]
    pub(crate) features: features::Features,
}

/// The memory of a [`Cluster`].
pub(crate) struct ClusterMem<'d> {
    pub(crate) brokers: Mem<'d, Broker>,
    pub(crate) broker_index: Index<'d>,
    pub(crate) hosts: Mem<'d, u8>,
    pub(crate) topics: TopicsMem<'d>,
    pub(crate) table: Table<'d>,
}

/// What noticing growth costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Probes {
    /// Probe requests sent since the start.
    pub requests: u64,
    /// Bytes of these requests, frame lengths included.
    pub bytes_out: u64,
    /// Bytes of their responses, frame lengths included.
    pub bytes_in: u64,
}

impl<'d> Cluster<'d> {
    /// Makes a cluster; `first_seed` is the bootstrap address that is tried first.
    pub(crate) fn new(memory: ClusterMem<'d>, first_seed: u32) -> Self {
        Self {
            brokers: memory.brokers,
            broker_index: memory.broker_index,
            unusable: broker::Unusable::NONE,
            hosts: Hosts::new(memory.hosts),
            topics: Topics::new(memory.topics),
            table: memory.table,
            identity: Identity::default(),
            seeds: connect::Seeds::new(first_seed),
            controller: None,
            brokers_wanted: false,
            brokers_at: Tick::ZERO,
            uncontrolled: (0, 0),
            metadata_until: Tick::NEVER,
            metadata_serial: 0,
            turn: 0,
            informed: None,
            requests: 0,
            responded: false,
            trouble: None,
            broker_news: false,
            brokers_moved: false,
            wants_requests: false,
            produced: None,
            probes: Probes::default(),
            #[cfg(feature = "transactions")]
            features: features::Features::NONE,
        }
    }

    /// Watches a topic; the same name gives the same id.
    pub(crate) fn watch(&mut self, name: &str) -> Result<TopicId, Error> {
        if !topic::is_legal_name(name) {
            return Err(Error::Caller(Misuse::TopicName));
        }
        if let Some(slot) = self.topics.named(name) {
            if UNWATCH {
                self.topics.watch(slot, true);
            }
            return Ok(self.topic_id(slot));
        }
        let needed = self.topics.used() + 1;
        let slot = self.topics.add(name);
        let slot = slot.ok_or(Error::Limit { what: LimitKind::Topics, needed })?;
        self.plan(slot);
        Ok(self.topic_id(slot))
    }

    /// Forgets a topic that is no longer used.
    pub(crate) fn forget(&mut self, slot: usize) {
        self.topics[slot].wants = 0;
        self.let_go(slot);
        self.topics.remove(slot);
    }

    #[inline(never)]
    pub(crate) fn topic_id(&self, slot: usize) -> TopicId {
        TopicId { index: slot as u16, generation: self.topics[slot].generation }
    }

    /// Returns the slot of an id.
    #[inline]
    pub(crate) fn topic_slot(&self, id: TopicId) -> Option<usize> {
        let topic = self.topics.get(id.index as usize)?;
        let old = guard!("an old topic id means nothing", topic.generation != id.generation);
        (!old).then_some(id.index as usize)
    }

    /// Returns the topic that a response names.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.topics.named(name)
    }

    /// Does the same where newer versions have an id instead of a name; zero is no topic's id.
    pub(crate) fn named_or_id(&self, name: Option<&str>, id: Uuid) -> Option<usize> {
        match name {
            Some(name) => self.named(name),
            None if id.is_zero() => None,
            None => self.topics.with_id(id),
        }
    }

    /// Returns the entry of a partition that a response names, under its topic there.
    pub(crate) fn part_of(&self, topic: Link, index: i32) -> Option<usize> {
        self.table.find(topic.get()?, u32::try_from(index).ok()?)
    }

    /// Returns whether the topic of a partition has no id on the wire.
    pub(crate) fn is_nameless(&self, part: usize) -> bool {
        self.topics[usize::from(self.table[part].topic)].lacks_id()
    }

    /// Puts a topic into the list of what it needs next.
    fn plan(&mut self, slot: usize) {
        let topic = &self.topics[slot];
        let (old, at) = (topic.plan, topic.need.at);
        let plan = match topic.need {
            topic::Need { serial: 1.., .. } => Plan::Requested,
            topic::Need { wanted: true, .. } => Plan::Wanted,
            _ if ADMIN && topic.probe.eager_until.or(Tick::ZERO) != Tick::ZERO => Plan::Eager,
            _ => Plan::Rest,
        };
        if plan == Plan::Wanted {
            self.topics.wanted_at = self.topics.wanted_at.min(at);
        }
        if plan == old {
            return;
        }
        self.topics.put(slot, plan);
        match plan {
            Plan::Rest | Plan::Eager => {}
            _ => self.topics.age_is_no_matter(slot),
        }
    }

    /// Notes that a leader says it is none: after several times under one epoch another broker may
    /// be listening at its address, and connections to it are closed and reconnected.
    fn doubt(&mut self, part: usize) {
        let p = &mut self.table[part];
        p.refusals += 1;
        if p.refusals >= DOUBT {
            p.refusals = 0;
            let leader = p.leader();
            if let Some(broker) = self.broker_mut(leader) {
                broker.doubted = true;
                self.brokers_moved = true;
            }
        }
    }

    /// Adopts a leader named by a Produce or Fetch response (KIP-951), only with a newer epoch.
    /// Returns whether it did.
    pub(crate) fn hint(&mut self, part: usize, leader: i32, epoch: i32) -> bool {
        let p = &mut self.table[part];
        if leader < 0 || epoch < 0 || guard!("a hint is of a newer epoch", epoch <= p.epoch) {
            return false;
        }
        (p.rewinds, p.refusals) = (0, 0);
        self.set_leader(part, leader, epoch);
        self.table.note_moved(part);
        true
    }

    /// Sets leader and epoch of a partition, -1 for none.
    #[inline(never)]
    pub(crate) fn set_leader(&mut self, part: usize, leader: i32, epoch: i32) {
        let broker = if leader < 0 { None } else { self.broker_slot(leader) };
        self.table.lead(part, leader, epoch, broker);
    }

    /// Merges a partition's leader from a response (KIP-320). Returns whether it was news.
    fn merge_leader(&mut self, part: usize, leader: i32, epoch: i32, reliable: bool) -> bool {
        let p = &mut self.table[part];
        let (before, mut known) = (p.leader(), (p.leader(), p.epoch));
        let epoch = if !reliable {
            -1
        } else if epoch < 0 {
            // Leaderless for now, or a broker without epochs: the last real epoch is kept.
            p.epoch
        } else if guard!("an older epoch is refused", epoch >= p.epoch => true) {
            p.rewinds = 0;
            epoch
        } else {
            // A stale broker, unless it repeats itself: then an unclean election lost the higher
            // epoch, and insisting on it would never end.
            p.rewinds += 1;
            if p.rewinds < 5 {
                return false;
            }
            p.rewinds = 0;
            // The leader may know better and name its epoch again: the next request is not urgent.
            known = guard!("a lower epoch is no news", (leader, epoch) => known);
            epoch
        };
        self.set_leader(part, leader, epoch);
        let p = &mut self.table[part];
        let moved = leader != before && leader >= 0 && p.known;
        p.known |= leader >= 0;
        let news = (leader, epoch) != known;
        if news {
            p.refusals = 0;
        }
        if moved {
            self.table.note_moved(part);
        }
        news
    }
}

impl<'d> Cx<'d> {
    /// Requests metadata of a topic, at once unless it is in back-off.
    #[inline(never)]
    pub(crate) fn refresh(&mut self, slot: usize) {
        let need = &mut self.cluster.topics[slot].need;
        if !need.wanted {
            need.wanted = true;
            need.at = need.at.max(self.now);
            self.cluster.wants_requests = true;
            self.cluster.plan(slot);
        }
    }

    /// Does the same without back-off and from the broker that showed that there is news.
    #[inline(never)]
    pub(crate) fn refresh_now(&mut self, slot: usize, by: Source) {
        let need = &mut self.cluster.topics[slot].need;
        *need = topic::Need { wanted: true, at: self.now, reported: true, by, ..*need };
        need.failures = 0;
        self.cluster.informed = Some(by.broker);
        self.cluster.plan(slot);
    }

    /// Requests metadata again after a growing pause: a response did not settle the matter.
    fn request_again(&mut self, slot: usize) {
        self.slow_down(slot);
        self.cluster.topics[slot].need.wanted = true;
        self.cluster.plan(slot);
    }

    /// Delays the next request by a growing pause: a response brought nothing new (KIP-580).
    fn slow_down(&mut self, slot: usize) {
        let failures = self.cluster.topics[slot].need.failures;
        let (base, max) = (self.settings.retry_backoff, self.settings.retry_backoff_max);
        let at = backoff(&mut self.rng, self.now, base, max, failures);
        let need = &mut self.cluster.topics[slot].need;
        need.failures = failures.saturating_add(1);
        need.at = at;
        need.reported = false;
    }

    /// Notes that a broker refused a partition for reasons of leadership or existence (errors.md
    /// section 2, rule 3): one metadata request serves all such refusals.
    pub(crate) fn suspect(&mut self, part: usize, code: ErrorCode) {
        let slot = self.cluster.table[part].topic as usize;
        if matches!(
            code,
            ErrorCode::UNKNOWN_TOPIC_ID
                | ErrorCode::INCONSISTENT_TOPIC_ID
                | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        ) {
            self.cluster.topics[slot].evidence.refused = true;
        }
        // 2.4 returns the second for a fetch of a partition that it has no replica of.
        if matches!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::REPLICA_NOT_AVAILABLE) {
            self.cluster.doubt(part);
        }
        self.refresh(slot);
    }

    /// Notes a newer leader epoch seen outside metadata: the current leader is unknown.
    pub(crate) fn saw_epoch(&mut self, part: usize, epoch: i32) {
        let known = self.cluster.table[part].epoch;
        if guard!("a newer epoch unseats the leader", known >= 0 && epoch > known) {
            self.cluster.set_leader(part, -1, epoch);
            self.suspect(part, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
    }
}
