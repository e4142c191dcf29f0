//! What is known of the cluster: brokers, watched topics and the partitions in use, how fresh
//! that is, and when to ask again. Never goes backwards: see the rules at each merge.

mod broker;
mod connect;
mod freshness;
mod hosts;
mod metadata;
mod news;
mod owner;
mod table;
mod topic;
mod topics;

use crate::config::Settings;
use crate::error::{Error, LimitKind, Misuse, Obstacle};
use crate::event::Source;
use crate::id::TopicId;
use crate::memory::{Index, Link, Mem, Rng, backoff};
use crate::time::Tick;
use crate::wire::{ErrorCode, Uuid};

pub(crate) use broker::Broker;
pub(crate) use connect::Wish;
use freshness::{DescribeCx, OffsetsProbeCx};
use hosts::{Host, Hosts};
use metadata::MetadataCx;
pub(crate) use owner::Cx;
pub(crate) use table::{CONSUMER, HELD, PRODUCER, Partition, Table, TableMem};
pub(crate) use topic::Topic;
use topic::pending;
use topics::Plan;
pub(crate) use topics::{Topics, TopicsMem};

/// A leader that refuses a partition so often under one epoch may be another broker.
const DOUBT: u8 = 5;

/// See the module.
pub(crate) struct Cluster<'d> {
    pub(crate) config: Settings<'d>,
    pub(crate) brokers: Mem<'d, Broker>,
    /// By node id.
    broker_index: Index<'d>,
    hosts: Hosts<'d>,
    pub(crate) topics: Topics<'d>,
    pub(crate) table: Table<'d>,
    pub(crate) rng: Rng,
    seeds: connect::Seeds,
    /// Node id of the controller; requests that change topics go there (ZooKeeper mode).
    pub(crate) controller: Option<i32>,
    /// An admin request waits for the list of brokers.
    pub(crate) brokers_wanted: bool,
    /// Not before.
    brokers_at: Tick,
    /// Until when the Metadata request under way may take before another broker is asked; never
    /// when there is none.
    metadata_until: Tick,
    metadata_serial: u32,
    /// Rotates over connections.
    turn: usize,
    /// Who gave away that there is news, to be asked first.
    informed: Option<i32>,
    /// Requests but for probes when it was looked last, modulo 2^32.
    requests: u32,
    /// Somebody has answered more than ApiVersions.
    pub(crate) answered: bool,
    /// The last connection that failed, while none has answered since.
    trouble: Option<Obstacle>,
    /// The time that is known.
    clock: Tick,
    /// Brokers with news for the application.
    pub(crate) broker_news: bool,
    /// The address of some broker changed or is doubted, or it is forgotten.
    pub(crate) brokers_moved: bool,
    /// Metadata of some topic is wanted since it was looked for what is due.
    pub(crate) asks: bool,
    /// When a record was produced last, for [`Probing::WhenProducing`](crate::Probing).
    pub(crate) produced: Option<Tick>,
    pub(crate) probes: Probes,
}

/// What noticing growth costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Probes {
    /// Probe requests sent since the start.
    pub requests: u64,
    /// Bytes of these requests, frame lengths included.
    pub bytes_out: u64,
    /// Bytes of their answers, frame lengths included.
    pub bytes_in: u64,
}

impl<'d> Cluster<'d> {
    pub(crate) fn new(
        config: Settings<'d>,
        brokers: Mem<'d, Broker>,
        broker_index: Index<'d>,
        hosts: Mem<'d, u8>,
        topics: TopicsMem<'d>,
        table: Table<'d>,
        mut rng: Rng,
    ) -> Self {
        let seeds = connect::Seeds::new(rng.below(config.seeds() as u32));
        Self {
            config,
            brokers,
            broker_index,
            hosts: Hosts::new(hosts),
            topics: Topics::new(topics),
            table,
            rng,
            seeds,
            controller: None,
            brokers_wanted: false,
            brokers_at: Tick::ZERO,
            metadata_until: Tick::NEVER,
            metadata_serial: 0,
            turn: 0,
            informed: None,
            requests: 0,
            answered: false,
            trouble: None,
            clock: Tick::ZERO,
            broker_news: false,
            brokers_moved: false,
            asks: false,
            produced: None,
            probes: Probes::default(),
        }
    }

    /// Watches a topic; the same name gives the same id.
    pub(crate) fn watch(&mut self, name: &str) -> Result<TopicId, Error> {
        if !topic::is_legal_name(name) {
            return Err(Error::Caller(Misuse::TopicName));
        }
        if let Some(slot) = self.topics.named(name) {
            self.topics.watch(slot, true);
            return Ok(self.topic_id(slot));
        }
        let needed = self.topics.used() + 1;
        let slot = self.topics.add(name);
        let slot = slot.ok_or(Error::Limit { what: LimitKind::Topics, needed })?;
        self.plan(slot);
        Ok(self.topic_id(slot))
    }

    /// Forgets a topic that nobody uses.
    pub(crate) fn forget(&mut self, slot: usize) {
        self.topics[slot].wants = 0;
        self.let_go(slot);
        self.topics.remove(slot);
    }

    #[inline(never)]
    pub(crate) fn topic_id(&self, slot: usize) -> TopicId {
        TopicId { index: slot as u16, generation: self.topics[slot].generation }
    }

    /// The slot of an id.
    #[inline]
    pub(crate) fn topic_slot(&self, id: TopicId) -> Option<usize> {
        let topic = self.topics.get(id.index as usize)?;
        let old = guard!("an old topic id means nothing", topic.generation != id.generation);
        (!old).then_some(id.index as usize)
    }

    /// The topic that an answer names.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.topics.named(name)
    }

    /// The same where newer versions have an id instead of a name; zero is nobody's.
    pub(crate) fn named_or_id(&self, name: Option<&str>, id: Uuid) -> Option<usize> {
        match name {
            Some(name) => self.named(name),
            None if id == Uuid::ZERO => None,
            None => self.topics.with_id(id),
        }
    }

    /// The entry of a partition that an answer names, under its topic there.
    pub(crate) fn part_of(&self, topic: Link, index: i32) -> Option<usize> {
        self.table.find(topic.get()?, u32::try_from(index).ok()?)
    }

    /// Puts a topic where it waits for what it needs next.
    fn plan(&mut self, slot: usize) {
        let topic = &self.topics[slot];
        let (old, at) = (topic.plan, topic.need.at);
        let plan = match topic.need {
            topic::Need { serial: 1.., .. } => Plan::Asked,
            topic::Need { wanted: true, .. } => Plan::Wanted,
            _ if topic.probe.eager_until != Tick::ZERO => Plan::Eager,
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

    /// Asks for metadata of a topic, at once unless it is in back-off.
    #[inline(never)]
    pub(crate) fn refresh(&mut self, slot: usize, now: Tick) {
        let need = &mut self.topics[slot].need;
        if !need.wanted {
            need.wanted = true;
            need.at = need.at.max(now);
            self.asks = true;
            self.plan(slot);
        }
    }

    /// The same, knowing that the answer will be news: no back-off, and from who gave it away.
    #[inline(never)]
    pub(crate) fn refresh_now(&mut self, slot: usize, now: Tick, by: Source) {
        let need = &mut self.topics[slot].need;
        *need = topic::Need { wanted: true, at: now, told: true, by, ..*need };
        need.failures = 0;
        self.informed = Some(by.broker);
        self.plan(slot);
    }

    /// A metadata answer did not settle what was asked: again after a growing pause.
    fn ask_again(&mut self, slot: usize, now: Tick) {
        self.slow_down(slot, now);
        self.topics[slot].need.wanted = true;
        self.plan(slot);
    }

    /// A metadata answer told nothing new (KIP-580): the next one only after a growing pause.
    fn slow_down(&mut self, slot: usize, now: Tick) {
        let failures = self.topics[slot].need.failures;
        let (base, max) = (self.config.retry_backoff, self.config.retry_backoff_max);
        let at = backoff(&mut self.rng, now, base, max, failures);
        let need = &mut self.topics[slot].need;
        need.failures = failures.saturating_add(1);
        need.at = at;
        need.told = false;
    }

    /// A broker refused a partition for reasons of leadership or existence (errors.md section 2,
    /// rule 3): metadata is asked once for all who complain.
    pub(crate) fn suspect(&mut self, part: usize, code: ErrorCode, now: Tick) {
        let slot = self.table[part].topic as usize;
        if matches!(
            code,
            ErrorCode::UNKNOWN_TOPIC_ID
                | ErrorCode::INCONSISTENT_TOPIC_ID
                | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        ) {
            self.topics[slot].evidence.refused = true;
        }
        // The second is what 2.4 says to a fetch of what it has no replica of.
        if matches!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::REPLICA_NOT_AVAILABLE) {
            self.doubt(part);
        }
        self.refresh(slot, now);
    }

    /// A leader says that it is none: after some times under one epoch it may be another broker
    /// that answers there, and connections to it are made anew.
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

    /// A leader named by a Produce or Fetch answer (KIP-951): taken only with a newer epoch.
    /// Returns whether it was.
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

    /// A newer leader epoch was seen outside metadata: who leads now is not known.
    pub(crate) fn saw_epoch(&mut self, part: usize, epoch: i32, now: Tick) {
        let known = self.table[part].epoch;
        if guard!("a newer epoch unseats the leader", known >= 0 && epoch > known) {
            self.set_leader(part, -1, epoch);
            self.suspect(part, ErrorCode::NOT_LEADER_OR_FOLLOWER, now);
        }
    }

    /// Sets leader and epoch of a partition, -1 for none.
    #[inline(never)]
    pub(crate) fn set_leader(&mut self, part: usize, leader: i32, epoch: i32) {
        let broker = if leader < 0 { None } else { self.broker_slot(leader) };
        self.table.lead(part, leader, epoch, broker);
    }

    /// Merges what an answer says of a partition's leader (KIP-320). Returns whether it was news.
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
            // A stale broker, unless they keep saying so: then an unclean election lost the
            // higher epoch, and insisting on it would never end.
            p.rewinds += 1;
            if p.rewinds < 5 {
                return false;
            }
            p.rewinds = 0;
            // The leader may know better and name its epoch again: the next answer has no hurry.
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
