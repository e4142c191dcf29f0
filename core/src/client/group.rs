//! The commands of an application whose partitions a group assigns.

use super::Commands;
use super::owners::Owners;
use crate::config::Start;
use crate::error::{Error, GroupError, Misuse};
use crate::id::{CommitId, PartitionId, TopicId};
use crate::time::{Duration, Instant, Span};

impl Commands<'_> {
    /// Joins the group of [`Config::group`](crate::Config::group) with these topics, in place of
    /// those before. Partitions come by [`Event::Assigned`](crate::Event::Assigned) and go by
    /// [`Event::Revoking`](crate::Event::Revoking) or [`Event::Lost`](crate::Event::Lost).
    ///
    /// Partitions begin where the group has committed. Those without a commit begin at `start`
    /// when the group first reads the topic; later ones, and those that were added since, where
    /// nothing is skipped, unless
    /// [`Config::group_skips`](crate::Config::group_skips).
    ///
    /// # Errors
    /// `Caller` without a group id, for a stale id or none, for a start that is an offset, and
    /// while the member leaves.
    pub fn subscribe(
        &mut self,
        now: Instant,
        topics: &[TopicId],
        start: Start,
    ) -> Result<(), Error> {
        self.at(now);
        let begun = self.wall_ms(now).unwrap_or(0);
        self.owners.group.subscribe(&mut self.cx, topics, (start, begun))
    }

    /// Joins the group with all topics whose whole name matches
    /// [`Config::group_pattern`](crate::Config::group_pattern), now or later, in place of those
    /// before. The coordinator finds them (Kafka 4.0 and later, KIP-848), in RE2J's language; else
    /// [`Event::FindTopics`](crate::Event::FindTopics) asks the application for them. Starts are
    /// those of [`Commands::subscribe`].
    ///
    /// # Errors
    /// As [`Commands::subscribe`], and without a pattern.
    #[cfg(feature = "pattern")]
    pub fn subscribe_pattern(&mut self, now: Instant, start: Start) -> Result<(), Error> {
        self.at(now);
        let begun = self.wall_ms(now).unwrap_or(0);
        self.owners.group.subscribe_pattern(&mut self.cx, (start, begun))
    }

    /// Reports which topics match the pattern now, in place of those before, after
    /// [`Event::FindTopics`](crate::Event::FindTopics). Without that event it changes nothing: the
    /// coordinator finds them.
    ///
    /// # Errors
    /// `Caller` for a stale id.
    #[cfg(feature = "pattern")]
    pub fn resolve_pattern(&mut self, now: Instant, topics: &[TopicId]) -> Result<(), Error> {
        self.at(now);
        self.owners.group.resolve_pattern(&mut self.cx, topics)
    }

    /// Says that a topic was created after this member's subscription by pattern began, while its
    /// [`Event::TopicJoined`](crate::Event::TopicJoined) is held: partitions without a commit begin
    /// at their first record, whatever the start is.
    #[cfg(feature = "pattern")]
    pub fn read_from_first(&mut self, topic: TopicId) {
        if let Some(slot) = self.cx.cluster.topic_slot(topic) {
            self.owners.group.read_from_first(slot);
        }
    }

    /// Leaves the group, within `limit` at most: positions are committed first if
    /// [`Config::auto_commit`](crate::Config::auto_commit) is set.
    /// [`Event::GroupLeft`](crate::Event::GroupLeft) follows.
    pub fn unsubscribe(&mut self, now: Instant, limit: Duration) {
        self.at(now);
        let Self { cx, owners: Owners { consumer, group, .. }, .. } = self;
        group.leave(cx, consumer, Span::of(limit));
    }

    /// Commits what was read of all assigned partitions.
    /// [`Event::Committed`](crate::Event::Committed) has the result.
    ///
    /// # Errors
    /// `NoMember` before the member has joined.
    pub fn commit(&mut self, now: Instant) -> Result<CommitId, GroupError> {
        self.at(now);
        let Self { cx, owners: Owners { consumer, group, .. }, .. } = self;
        group.commit(cx, consumer)
    }

    /// Commits an offset of a partition, that of the next record to be read, with the leader epoch
    /// of the last one (-1: unknown) and a text of at most 1024 bytes.
    /// [`Event::Committed`](crate::Event::Committed) has the result.
    ///
    /// # Errors
    /// `NoMember` for a partition that is not this member's, `Full` when there is no memory for the
    /// text now, `Limit` for a text that is too long.
    #[cfg(feature = "given-offsets")]
    pub fn commit_offset(
        &mut self,
        now: Instant,
        at: PartitionId,
        (offset, leader_epoch): (i64, i32),
        text: &str,
    ) -> Result<CommitId, GroupError> {
        self.at(now);
        let part = self.owners.consumer.slot(&self.cx.cluster, at);
        let part = part.ok_or(GroupError::Caller(Misuse::StaleId))?;
        self.owners.group.commit_offset(&mut self.cx, part, (offset, leader_epoch), text)
    }

    /// Reports how far the application has read a partition, where
    /// [`Config::marks_taken`](crate::Config::marks_taken) is set: up to `offset`, whose last
    /// record has this leader epoch (-1: unknown).
    #[cfg(feature = "given-offsets")]
    pub fn mark_taken(&mut self, at: PartitionId, offset: i64, leader_epoch: i32) {
        if let Some(part) = self.owners.consumer.slot(&self.cx.cluster, at) {
            self.owners.group.mark_taken(part, offset, leader_epoch);
        }
    }

    /// Keeps a partition beyond the event [`Event::Revoking`](crate::Event::Revoking) that is held,
    /// until [`Commands::release`]: the application is not done with its records. After
    /// [`Config::rebalance_timeout`](crate::Config::rebalance_timeout) it is given up.
    pub fn keep(&mut self, at: PartitionId) {
        if let Some(part) = self.owners.consumer.slot(&self.cx.cluster, at) {
            self.owners.group.keep(part);
        }
    }

    /// Gives a partition up that is being revoked. What was marked or committed before is committed
    /// first.
    pub fn release(&mut self, now: Instant, at: PartitionId) {
        self.at(now);
        let Self { cx, owners: Owners { consumer, group, .. }, .. } = self;
        if let Some(part) = consumer.slot(&cx.cluster, at) {
            group.release(cx, consumer, part);
        }
    }

    /// Returns the offset of an assigned partition that the group has committed last, as far as
    /// this member knows.
    #[must_use]
    pub fn committed(&self, at: PartitionId) -> Option<i64> {
        let part = self.owners.consumer.slot(&self.cx.cluster, at)?;
        self.owners.group.committed(part)
    }

    /// Returns what commits of a partition have in front of their metadata, so that later members
    /// begin where nothing is skipped: it has to be in front of
    /// [`Consumed::metadata`](crate::Consumed::metadata), too. `None` under
    /// [`Config::group_skips`](crate::Config::group_skips).
    #[cfg(feature = "transactions")]
    #[must_use]
    pub fn commit_mark(&self, at: PartitionId) -> Option<crate::CommitMark> {
        let part = self.owners.consumer.slot(&self.cx.cluster, at)?;
        self.owners.group.commit_mark(&self.cx, part)
    }

    /// Returns this member's id and epoch in its group; `None` outside of one.
    #[must_use]
    pub fn membership(&self) -> Option<(&str, i32)> {
        self.owners.group.membership()
    }

    /// Returns the node id of the group's coordinator, as far as it is known.
    #[must_use]
    pub fn group_coordinator(&self) -> Option<i32> {
        self.owners.group.coordinator()
    }

    /// Returns the client id of the member that leads the group, 64 bytes of it at most; `None`
    /// where no member does. Feature `coverage`.
    #[cfg(feature = "coverage")]
    #[must_use]
    pub fn group_leader(&self) -> Option<&str> {
        self.owners.group.leader()
    }

    /// Gives a partition up whose revocation was the last event, unless it was kept.
    pub(super) fn end_revocation(&mut self) {
        let Self { cx, owners: Owners { consumer, group, .. }, .. } = self;
        group.proceed(cx, consumer);
    }
}
