//! Which partition a record goes to (KIP-794; Java's BuiltInPartitioner).

use super::Producer;
use crate::cluster::{Cluster, PRODUCER};
use crate::error::{Error, LimitKind, Misuse, ProduceError};
use crate::memory::Link;
use crate::murmur2::{murmur2, positive};
use crate::record::Record;
use crate::time::{Duration, Instant};

/// Finding an available partition may take a look at all of them; without one, this is the pause
/// before the next.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl<'d> Producer<'d> {
    /// The entry of the partition that a record goes to.
    pub(super) fn choose(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Instant,
        slot: usize,
        partition: Option<u32>,
        record: &Record<'_>,
    ) -> Result<usize, ProduceError> {
        let count = cluster.topics[slot].count;
        if self.topics[slot].opened < count {
            self.open_partitions(cluster, now, slot);
        }
        let index = match (partition, record.key) {
            (Some(index), _) if index < count => index,
            (Some(index), _) if index < i32::MAX as u32 => {
                // It may exist by now: a reason to look at once (S12).
                cluster.refresh(slot, now);
                self.wants_room.get_or_insert(0);
                return Err(ProduceError::NotReady);
            }
            (Some(_), _) => {
                return Err(ProduceError::Refused(Error::Caller(Misuse::PartitionIndex)));
            }
            (None, Some(key)) => positive(murmur2(key)) % count.max(1),
            (None, None) => return self.stick(cluster, now, slot),
        };
        self.entry(cluster, now, slot, index)
    }

    fn entry(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Instant,
        slot: usize,
        index: u32,
    ) -> Result<usize, ProduceError> {
        if let Some(part) = cluster.table.find(slot, index) {
            if !cluster.table[part].used_by(PRODUCER) {
                cluster.table.take(slot, index, PRODUCER);
            }
            return Ok(part);
        }
        if cluster.table.room() == 0 && !self.evict_one(cluster) {
            return match self.unfinished {
                0 => Err(Self::limit(LimitKind::Partitions)),
                _ => {
                    self.wants_room = Some(1);
                    self.pressure = true;
                    self.dirty = true;
                    Err(ProduceError::Full)
                }
            };
        }
        cluster.refresh(slot, now);
        let taken = cluster.table.take(slot, index, PRODUCER);
        taken.ok_or_else(|| Self::limit(LimitKind::Partitions))
    }

    /// Frees the entry of a partition that only the producer used and that has nothing to send.
    pub(crate) fn evict_one(&mut self, cluster: &mut Cluster<'d>) -> bool {
        let idle = (0..cluster.table.len()).find(|part| {
            let entry = &cluster.table[*part];
            entry.used_by(PRODUCER)
                && !entry.used_by(crate::cluster::CONSUMER)
                && self.may_evict(*part)
        });
        let Some(part) = idle else { return false };
        let topic = usize::from(cluster.table[part].topic);
        self.evict(part, topic);
        cluster.table.release(part, PRODUCER);
        true
    }

    /// Makes entries for a topic's partitions while there is room, so that one metadata answer
    /// brings all their leaders.
    fn open_partitions(&mut self, cluster: &mut Cluster<'d>, now: Instant, slot: usize) {
        let count = cluster.topics[slot].count;
        let mut unknown = false;
        for index in self.topics[slot].opened..count {
            if cluster.table.room() == 0 {
                break;
            }
            if let Some(part) = cluster.table.take(slot, index, PRODUCER) {
                unknown |= cluster.table[part].leader < 0;
            }
        }
        self.topics[slot].opened = count;
        if unknown {
            cluster.refresh(slot, now);
        }
    }

    /// Takes up new partitions of the topics that are produced to.
    pub(crate) fn on_grown(&mut self, cluster: &mut Cluster<'d>, now: Instant) {
        for slot in 0..cluster.topics.len() {
            let opened = self.topics[slot].opened;
            if cluster.topics[slot].ready && opened > 0 && opened < cluster.topics[slot].count {
                self.open_partitions(cluster, now, slot);
            }
        }
        self.dirty = true;
    }

    /// The partition for records without key: the same until a batch's worth of bytes went there.
    fn stick(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Instant,
        slot: usize,
    ) -> Result<usize, ProduceError> {
        let topic = &self.topics[slot];
        if let Some(part) = topic.sticky.get() {
            let full = topic.sticky_bytes as usize >= cluster.config.batch_bytes;
            if !full && (now < topic.look_at || self.is_available(cluster, part)) {
                return Ok(part);
            }
        }
        let part = self.pick(cluster, slot);
        match part {
            Some(part) => {
                let found = self.is_available(cluster, part);
                let topic = &mut self.topics[slot];
                topic.sticky = Link::to(part);
                topic.sticky_bytes = 0;
                topic.look_at = if found { Instant::ZERO } else { now + LOOK_AGAIN };
                Ok(part)
            }
            None => {
                self.wants_room = Some(1);
                self.dirty = true;
                Err(ProduceError::Full)
            }
        }
    }

    /// A partition with a leader that takes records, evenly by chance; else any entry.
    fn pick(&mut self, cluster: &mut Cluster<'d>, slot: usize) -> Option<usize> {
        let count = cluster.topics[slot].count;
        for _ in 0..4 {
            let index = cluster.rng.below(count);
            if let Some(part) = cluster.table.find(slot, index)
                && cluster.table[part].used_by(PRODUCER)
                && self.is_available(cluster, part)
            {
                return Some(part);
            }
        }
        let entries = cluster.table.len();
        let start = cluster.rng.below(entries as u32) as usize;
        let mine = |part: &usize| {
            let entry = &cluster.table[*part];
            entry.used_by(PRODUCER) && usize::from(entry.topic) == slot && entry.index < count
        };
        let around = (start..entries).chain(0..start).filter(mine);
        let available = around.clone().find(|part| self.is_available(cluster, *part));
        let any = available.or_else(|| around.clone().next());
        if any.is_some() {
            return any;
        }
        if cluster.table.room() == 0 && !self.evict_one(cluster) {
            return None;
        }
        let index = cluster.rng.below(count);
        cluster.table.take(slot, index, PRODUCER)
    }

    fn is_available(&self, cluster: &Cluster<'d>, part: usize) -> bool {
        cluster.table[part].leader >= 0 && self.parts[part].failures == 0
    }
}
