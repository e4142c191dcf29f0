//! The commands of an application that consumes.

use super::Commands;
use super::owners::Owners;
use crate::config::Start;
use crate::consumer::Consumer;
use crate::error::{Error, Misuse, Obstacle};
use crate::id::{PartitionId, TopicId, TopicPartition};
use crate::time::Instant;

impl Commands<'_> {
    /// Assigns a partition, which need not exist yet.
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
        self.at(now);
        let Self { cx, owners: Owners { producer, consumer, .. }, .. } = self;
        if cx.cluster.table.room() == 0 && !consumer.free_ghosts(&mut cx.cluster) {
            producer.evict_one(&mut cx.cluster);
        }
        consumer.assign(cx, topic, partition, start)
    }

    /// Assigns all partitions of a topic: those that exist are read from `start` on, those that are
    /// added later from their first record. Each is reported by
    /// [`Event::Assigned`](crate::Event::Assigned).
    ///
    /// # Errors
    /// `Caller` for a stale id or a second call.
    pub fn assign_all(&mut self, _now: Instant, topic: TopicId, start: Start) -> Result<(), Error> {
        self.owners.consumer.assign_all(&mut self.cx.cluster, topic, start)
    }

    /// Assigns like [`Commands::assign_all`], for an application that stores positions itself: each
    /// partition begins paused. On [`Event::Assigned`](crate::Event::Assigned) the application
    /// seeks where it has a position, and resumes.
    ///
    /// # Errors
    /// As [`Commands::assign_all`].
    #[cfg(feature = "std")]
    pub fn assign_all_paused(
        &mut self,
        now: Instant,
        topic: TopicId,
        start: Start,
    ) -> Result<(), Error> {
        self.assign_all(now, topic, start)?;
        self.owners.consumer.begin_paused(&self.cx.cluster, topic);
        Ok(())
    }

    /// Stops reading a partition.
    pub fn unassign(&mut self, _now: Instant, at: PartitionId) {
        if let Some(part) = self.owners.consumer.slot(&self.cx.cluster, at) {
            self.owners.consumer.unassign(&mut self.cx.cluster, part);
        }
    }

    /// Continues reading at another position.
    ///
    /// # Errors
    /// `Caller` for a stale id or a negative offset.
    pub fn seek(&mut self, _now: Instant, at: PartitionId, to: Start) -> Result<(), Error> {
        let part = self.part(at)?;
        self.owners.consumer.seek(&self.cx, part, to)
    }

    /// Reads a partition that waits for a seek again from its position, for example after
    /// [`Client::grow_receive_buffers`](crate::Client::grow_receive_buffers).
    #[cfg(feature = "alloc")]
    pub fn retry(&mut self, _now: Instant, at: PartitionId) {
        if let Some(part) = self.owners.consumer.slot(&self.cx.cluster, at) {
            self.owners.consumer.retry(&self.cx, part);
        }
    }

    /// Stops returning records of this partition for now.
    pub fn pause(&mut self, at: PartitionId) {
        if let Some(part) = self.owners.consumer.slot(&self.cx.cluster, at) {
            self.owners.consumer.pause(&self.cx.cluster, part);
        }
    }

    /// Keeps the records from `offset` on unread: they are returned again after
    /// [`Event::Room`](crate::Event::Room) or [`Commands::resume`].
    pub fn hold(&mut self, at: PartitionId, offset: i64) {
        if let Some(part) = self.owners.consumer.slot(&self.cx.cluster, at) {
            self.owners.consumer.hold(&self.cx.cluster, part, offset);
        }
    }

    /// Parks a partition: the records from `offset` on cannot be used, for example because
    /// [`Batch::unpack`](crate::Batch::unpack) failed. It waits there for a [`Commands::seek`], as
    /// after [`Event::Corrupt`](crate::Event::Corrupt).
    pub fn park(&mut self, at: PartitionId, offset: i64) {
        if let Some(part) = self.owners.consumer.slot(&self.cx.cluster, at) {
            self.owners.consumer.park_at(part, offset);
        }
    }

    /// Continues after [`Commands::pause`] or [`Commands::hold`].
    pub fn resume(&mut self, _now: Instant, at: PartitionId) {
        if let Some(part) = self.owners.consumer.slot(&self.cx.cluster, at) {
            self.owners.consumer.resume(&self.cx.cluster, part);
        }
    }

    /// Returns the offset of the next record of a partition; `None` while its start is being
    /// resolved.
    #[must_use]
    pub fn position(&self, at: PartitionId) -> Option<i64> {
        self.owners
            .consumer
            .slot(&self.cx.cluster, at)
            .and_then(|part| self.owners.consumer.position(part))
    }

    /// Returns what keeps an assigned partition from being read, as far as that is known: it does
    /// not exist, has no leader, or its leader cannot be reached, refuses or does not respond.
    /// `None` without the feature `reasons`.
    #[must_use]
    pub fn obstacle_of(&self, at: PartitionId) -> Option<Obstacle> {
        let part = self.owners.consumer.slot(&self.cx.cluster, at)?;
        self.owners.consumer.obstacle_of(&self.cx, part)
    }

    /// Returns topic and index of an assigned partition.
    #[must_use]
    pub fn topic_partition(&self, at: PartitionId) -> Option<TopicPartition> {
        let part = self.owners.consumer.slot(&self.cx.cluster, at)?;
        Some(Consumer::topic_partition(&self.cx.cluster, part))
    }

    fn part(&self, at: PartitionId) -> Result<usize, Error> {
        self.owners.consumer.slot(&self.cx.cluster, at).ok_or(Error::Caller(Misuse::StaleId))
    }
}
