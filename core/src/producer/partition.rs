//! Which partition a record goes to (KIP-794; Java's BuiltInPartitioner).

use super::{Place, Producer, Queue, Spread};
use crate::cluster::{CONSUMER, Cluster, Cx, PRODUCER};
use crate::connection::Peer;
use crate::error::{Error, LimitKind, Misuse, ProduceError};
use crate::memory::Link;
use crate::murmur2::{murmur2, positive};
use crate::time::{Span, Tick};

/// How many partitions are checked to find an available one.
const LOOK_AT: usize = 64;
/// Pause before the next search when there is none.
const LOOK_AGAIN: Span = Span::from_millis(1);

impl<'d> Producer<'d> {
    /// Returns the entry of the partition that a record goes to.
    pub(super) fn choose(
        &mut self,
        cx: &mut Cx<'d>,
        slot: usize,
        partition: Option<u32>,
        key: Option<&[u8]>,
    ) -> Result<usize, ProduceError> {
        let count = cx.cluster.topics[slot].count;
        if self.spreads[slot].opened < count {
            self.open_partitions(cx, slot);
        }
        let index = match (partition, key) {
            (Some(index), _) if index < count => index,
            (Some(index), _) if index < i32::MAX as u32 => {
                // It may exist by now: a reason to request metadata at once (S12).
                cx.refresh(slot);
                return Err(self.not_ready(cx.now, slot, index + 1));
            }
            (Some(_), _) => {
                return Err(ProduceError::Refused(Error::Caller(Misuse::PartitionIndex)));
            }
            #[cfg(not(feature = "key-order"))]
            (None, Some(key)) => positive(murmur2(key)) % count.max(1),
            #[cfg(feature = "key-order")]
            (None, Some(key)) => self.keyed(cx, slot, positive(murmur2(key)))?,
            (None, None) => return self.stick(cx, slot),
        };
        self.entry(cx, slot, index)
    }

    fn entry(&mut self, cx: &mut Cx<'d>, slot: usize, index: u32) -> Result<usize, ProduceError> {
        if let Some(part) = cx.cluster.table.find(slot, index) {
            if !cx.cluster.table[part].used_by(PRODUCER) {
                cx.cluster.table.take(slot, index, PRODUCER);
                self.rest(part);
            }
            return Ok(part);
        }
        if cx.cluster.table.room() == 0 && !self.evict_one(&mut cx.cluster) {
            return Err(self.no_entry());
        }
        cx.refresh(slot);
        let taken = self.take_entry(&mut cx.cluster, slot, index);
        taken.ok_or_else(|| Self::limit(LimitKind::Partitions))
    }

    /// Makes an entry of the producer, while there is a free one.
    fn take_entry(&mut self, cluster: &mut Cluster<'d>, slot: usize, index: u32) -> Option<usize> {
        let part = cluster.table.take(slot, index, PRODUCER)?;
        self.rest(part);
        Some(part)
    }

    /// Frees the entry of a partition that only the producer used and that has nothing to send.
    pub(crate) fn evict_one(&mut self, cluster: &mut Cluster<'d>) -> bool {
        let Some(part) = self.idle_entry(cluster) else { return false };
        let topic = usize::from(cluster.table[part].topic);
        self.evict(part, topic);
        cluster.table.release(part, PRODUCER);
        true
    }

    /// Returns a partition whose entry may be reused for another.
    pub(super) fn idle_entry(&self, cluster: &Cluster<'d>) -> Option<usize> {
        let mut link = self.first_of(Place::Idle).map_or(Link::NONE, Link::to);
        while let Some(part) = link.get() {
            if !cluster.table[part].used_by(CONSUMER) && !self.is_kept(part) {
                return Some(part);
            }
            link = self.places.next(part);
        }
        None
    }

    /// Makes entries for a topic's partitions while there are free ones, so that one metadata
    /// response brings all their leaders.
    fn open_partitions(&mut self, cx: &mut Cx<'d>, slot: usize) {
        let count = cx.cluster.topics[slot].count;
        let mut unknown = false;
        for index in self.spreads[slot].opened..count {
            if cx.cluster.table.room() == 0 {
                break;
            }
            if let Some(part) = self.take_entry(&mut cx.cluster, slot, index) {
                unknown |= cx.cluster.table[part].leader() < 0;
            }
        }
        let topic = &mut self.spreads[slot];
        topic.opened = count;
        topic.visited = if topic.visited == 0 { count } else { topic.visited.min(count) };
        if unknown {
            cx.refresh(slot);
        }
    }

    /// Adopts new partitions of a topic that is produced to.
    pub(crate) fn on_grown(&mut self, cx: &mut Cx<'d>, slot: usize) {
        let topic = &cx.cluster.topics[slot];
        let wanted = topic.ready && topic.wants & PRODUCER != 0;
        if wanted && self.spreads[slot].opened < topic.count {
            self.open_partitions(cx, slot);
        }
    }

    /// Returns whether nothing of a topic waits to be sent or acknowledged.
    pub(crate) fn may_forget(&self, cluster: &Cluster<'d>, slot: usize) -> bool {
        let unused = |part: usize| self.queues[part].head.is_none() && !self.is_kept(part);
        cluster.table.of_topic(slot).all(unused)
    }

    /// Forgets a topic, and its sequences with it.
    pub(crate) fn forget(&mut self, cluster: &mut Cluster<'d>, slot: usize) {
        let mut link = cluster.table.first_of(slot);
        let mut sequences = false;
        while let Some(part) = link.get() {
            link = cluster.table.next_of(part);
            sequences |= self.queues[part].next_sequence > 0;
            self.unplace(part);
            self.evicted = self.taken;
            self.queues[part] = Queue::EMPTY;
            cluster.table.release(part, PRODUCER);
        }
        if guard!("a forgotten sequence raises the epoch", sequences) {
            self.raise_epoch();
        }
        if self.spreads[slot].wanted > 0 {
            self.unwant(slot);
        }
        #[cfg(feature = "key-order")]
        if self.drains(slot) {
            self.end_drain(slot, true);
        }
        self.spreads[slot] = Spread::EMPTY;
    }

    /// Stops the wait for a topic that is forgotten: its callers have to request it again.
    fn unwant(&mut self, slot: usize) {
        let next = self.spreads[slot].next_wanted;
        let mut link = self.wanted;
        if link == Link::to(slot) {
            self.wanted = next;
        }
        while let Some(before) = link.get() {
            link = self.spreads[before].next_wanted;
            if link == Link::to(slot) {
                self.spreads[before].next_wanted = next;
            }
        }
        self.room = true;
    }

    /// Lets records without key change from a partition to another one.
    pub(super) fn unstick(&mut self, slot: usize, part: usize) {
        if self.spreads[slot].sticky == Link::to(part) {
            self.spreads[slot].sticky = Link::NONE;
        }
    }

    /// Returns the next added partition that got no record without key yet, if it takes some.
    fn unvisited(&mut self, cx: &Cx<'d>, slot: usize) -> Option<usize> {
        let index = self.spreads[slot].visited;
        if index >= cx.cluster.topics[slot].count {
            return None;
        }
        let part = cx.cluster.table.find(slot, index);
        let part = part.filter(|part| self.is_available(cx, *part))?;
        self.spreads[slot].visited = index + 1;
        Some(part)
    }

    /// Returns the partition for records without key: the same until a batch's worth of bytes went
    /// there or its batch has left, so that a slow producer reaches all of them, too. Added ones
    /// come first.
    fn stick(&mut self, cx: &mut Cx<'d>, slot: usize) -> Result<usize, ProduceError> {
        let added = self.unvisited(cx, slot);
        let topic = &self.spreads[slot];
        let full = topic.sticky_bytes as usize >= cx.settings.batch_bytes;
        let current = topic.sticky.get().filter(|_| !full && added.is_none());
        if let Some(part) = current
            && (cx.now < topic.examine || self.is_available(cx, part))
        {
            return Ok(part);
        }
        let part = match (added.or_else(|| self.try_partitions(cx, slot)), current) {
            (Some(part), _) => Some(part),
            // There is no better one: it stays.
            (None, Some(part)) => {
                self.spreads[slot].examine = cx.now + LOOK_AGAIN;
                return Ok(part);
            }
            (None, None) => self.pick_partition(cx, slot),
        };
        match part {
            Some(part) => {
                let found = self.is_available(cx, part);
                let topic = &mut self.spreads[slot];
                topic.sticky = Link::to(part);
                topic.sticky_bytes = 0;
                topic.examine = if found { Tick::ZERO } else { cx.now + LOOK_AGAIN };
                Ok(part)
            }
            None => Err(self.no_entry()),
        }
    }

    /// Returns a partition with a leader that takes records, by a few guesses.
    pub(super) fn try_partitions(&self, cx: &mut Cx<'d>, slot: usize) -> Option<usize> {
        let count = cx.cluster.topics[slot].count;
        (0..4).find_map(|_| {
            let index = cx.rng.below(count);
            cx.cluster.table.find(slot, index).filter(|part| {
                cx.cluster.table[*part].used_by(PRODUCER) && self.is_available(cx, *part)
            })
        })
    }

    /// Does the same by checking some of the entries, from a random one on; else returns any entry.
    fn pick_partition(&mut self, cx: &mut Cx<'d>, slot: usize) -> Option<usize> {
        let count = cx.cluster.topics[slot].count;
        let index = cx.rng.below(count);
        let guess = cx.cluster.table.find(slot, index).map_or(Link::NONE, Link::to);
        let (mut link, mut any) = (guess, None);
        for _ in 0..LOOK_AT {
            let Some(part) = link.get() else {
                link = cx.cluster.table.first_of(slot);
                continue;
            };
            link = cx.cluster.table.next_of(part);
            let entry = &cx.cluster.table[part];
            if entry.used_by(PRODUCER) && entry.index < count {
                if self.is_available(cx, part) {
                    return Some(part);
                }
                any = any.or(Some(part));
            }
        }
        if any.is_some() {
            return any;
        }
        if cx.cluster.table.room() == 0 && !self.evict_one(&mut cx.cluster) {
            return None;
        }
        self.take_entry(&mut cx.cluster, slot, index)
    }

    /// Returns whether a broker takes connections and responds, as far as is known.
    pub(super) fn responds(cx: &Cx<'d>, slot: usize) -> bool {
        let broker = &cx.cluster.brokers[slot];
        let silent = cx.net.is_silent(Peer::Node(broker.id));
        !broker.last.is_down() && !guard!("records without keys leave a silent leader", silent)
    }

    pub(super) fn is_available(&self, cx: &Cx<'d>, part: usize) -> bool {
        let leader = cx.cluster.table[part].broker();
        leader.is_some_and(|slot| Self::responds(cx, slot)) && self.queues[part].failures == 0
    }
}
