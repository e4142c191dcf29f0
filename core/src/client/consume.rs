//! The commands of an application that consumes.

use super::Commands;
use crate::config::Start;
use crate::consumer::Consumer;
use crate::error::{Error, Misuse, Obstacle};
use crate::id::{PartitionId, TopicId, TopicPartition};
use crate::time::Instant;

impl Commands<'_> {
    /// Reads a partition, which need not exist yet.
    ///
    /// # Errors
    /// `Limit` when all partitions are in use; `Caller` when it is assigned already.
    pub fn assign(
        &mut self,
        now: Instant,
        topic: TopicId,
        partition: u32,
        start: Start,
    ) -> Result<PartitionId, Error> {
        let now = self.at(now);
        let Self { consumer, producer, cluster, .. } = self;
        if cluster.table.room() == 0 && !consumer.free_ghosts(cluster) {
            producer.evict_one(cluster);
        }
        consumer.assign(cluster, now, topic, partition, start)
    }

    /// Reads all partitions of a topic: those that exist from `start` on, those that are added
    /// later from their first record. Each is told by [`Event::Assigned`](crate::Event::Assigned).
    ///
    /// # Errors
    /// `Caller` for a stale id or a second time.
    pub fn assign_all(&mut self, _now: Instant, topic: TopicId, start: Start) -> Result<(), Error> {
        self.consumer.assign_all(&mut self.cluster, topic, start)
    }

    /// Stops reading a partition.
    pub fn unassign(&mut self, _now: Instant, at: PartitionId) {
        if let Some(part) = self.consumer.slot(&self.cluster, at) {
            self.consumer.unassign(&mut self.cluster, part);
        }
    }

    /// Goes on reading elsewhere.
    ///
    /// # Errors
    /// `Caller` for a stale id or a negative offset.
    pub fn seek(&mut self, _now: Instant, at: PartitionId, to: Start) -> Result<(), Error> {
        let part = self.part(at)?;
        self.consumer.seek(&self.cluster, part, to)
    }

    /// No records of this partition for now.
    pub fn pause(&mut self, at: PartitionId) {
        if let Some(part) = self.consumer.slot(&self.cluster, at) {
            self.consumer.pause(&self.cluster, part);
        }
    }

    /// Not done with records from `offset` on: they come again after
    /// [`Event::Room`](crate::Event::Room) or
    /// [`Commands::resume`].
    pub fn hold(&mut self, at: PartitionId, offset: i64) {
        if let Some(part) = self.consumer.slot(&self.cluster, at) {
            self.consumer.hold(&self.cluster, part, offset);
        }
    }

    /// Goes on after [`Commands::pause`] or [`Commands::hold`].
    pub fn resume(&mut self, _now: Instant, at: PartitionId) {
        if let Some(part) = self.consumer.slot(&self.cluster, at) {
            self.consumer.resume(&self.cluster, part);
        }
    }

    /// Offset of the next record of a partition; `None` while its start is being resolved.
    #[must_use]
    pub fn position(&self, at: PartitionId) -> Option<i64> {
        self.consumer.slot(&self.cluster, at).and_then(|part| self.consumer.position(part))
    }

    /// What keeps an assigned partition from being read, as far as brokers said or connections
    /// showed: that it does not exist, has no leader, or one that cannot be reached.
    #[must_use]
    pub fn obstacle_of(&self, at: PartitionId) -> Option<Obstacle> {
        let part = self.consumer.slot(&self.cluster, at)?;
        self.cluster.obstacle_of(part)
    }

    /// Topic and index of an assigned partition.
    #[must_use]
    pub fn topic_partition(&self, at: PartitionId) -> Option<TopicPartition> {
        let part = self.consumer.slot(&self.cluster, at)?;
        Some(Consumer::topic_partition(&self.cluster, part))
    }

    fn part(&self, at: PartitionId) -> Result<usize, Error> {
        self.consumer.slot(&self.cluster, at).ok_or(Error::Caller(Misuse::StaleId))
    }
}
