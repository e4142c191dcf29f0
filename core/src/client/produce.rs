//! The commands of an application that produces.

use super::Commands;
#[cfg(feature = "key-order")]
use crate::config::KeyOrder;
#[cfg(any(feature = "std", feature = "key-order"))]
use crate::error::Error;
#[cfg(feature = "key-order")]
use crate::error::Misuse;
#[cfg(feature = "std")]
use crate::error::Obstacle;
use crate::error::ProduceError;
use crate::event::Target;
use crate::id::RecordId;
#[cfg(feature = "key-order")]
use crate::id::TopicId;
#[cfg(feature = "std")]
use crate::id::TopicPartition;
use crate::producer::Own;
#[cfg(feature = "std")]
use crate::record::Packed;
use crate::record::Record;
use crate::time::Instant;
#[cfg(any(feature = "std", feature = "key-order"))]
use crate::time::Span;

impl Commands<'_> {
    /// Queues a record. Its bytes are copied once, into their final place.
    ///
    /// Without an explicit partition a key decides as in Java (murmur2 over the partitions known
    /// now), and records without key stay with a partition for a batch's worth of bytes.
    ///
    /// # Errors
    /// `Full` and `NotReady` are temporary: one [`Event::Room`](crate::Event::Room) follows. The
    /// others are permanent.
    pub fn produce(
        &mut self,
        now: Instant,
        to: impl Into<Target>,
        record: &Record<'_>,
    ) -> Result<RecordId, ProduceError> {
        let wall = self.wall_ms(now);
        self.at(now);
        self.owners.producer.produce(&mut self.cx, to.into(), record, wall, Own::NONE)
    }

    /// Queues, as [`Commands::produce`] does, a record that another thread has encoded already.
    ///
    /// # Errors
    /// As [`Commands::produce`].
    #[cfg(feature = "std")]
    pub fn produce_packed(
        &mut self,
        now: Instant,
        to: impl Into<Target>,
        record: &Packed<'_>,
    ) -> Result<RecordId, ProduceError> {
        let wall = self.wall_ms(now);
        self.at(now);
        self.owners.producer.produce(&mut self.cx, to.into(), record, wall, Own::NONE)
    }

    /// Queues, as [`Commands::produce_packed`] does, a record with a deadline of its own, earlier
    /// than that of the delivery timeout. When it has not left by then it fails as one that is late
    /// otherwise; one that has left fails when its request ends without success. Records share a
    /// batch only if their deadlines differ by 10 ms at most, and then have the earliest of them.
    ///
    /// # Errors
    /// As [`Commands::produce`]; `Refused` with [`Error::TimedOut`] when `until` has passed.
    #[cfg(feature = "std")]
    pub fn produce_packed_until(
        &mut self,
        now: Instant,
        to: impl Into<Target>,
        record: &Packed<'_>,
        until: Instant,
    ) -> Result<RecordId, ProduceError> {
        if guard!("a deadline that has passed is refused", until <= now) {
            return Err(ProduceError::Refused(Error::TimedOut));
        }
        let wall = self.wall_ms(now);
        self.at(now);
        let own = Own::after(self.cx.now, Span::of(now.until(until)));
        self.owners.producer.produce(&mut self.cx, to.into(), record, wall, own)
    }

    /// Sets which partition the keys of a topic go to while it grows. To be called before the first
    /// key is produced: what was produced before is not waited for.
    ///
    /// # Errors
    /// When the topic is not watched any more.
    #[cfg(feature = "key-order")]
    pub fn set_key_order(&mut self, topic: TopicId, order: KeyOrder) -> Result<(), Error> {
        let slot = self.cx.cluster.topic_slot(topic).ok_or(Error::Caller(Misuse::StaleId))?;
        self.owners.producer.set_key_order(slot, order);
        Ok(())
    }

    /// Sets over how many partitions the keys of a topic were spread by an earlier process, so that
    /// [`KeyOrder::Drain`] sees growth that came in between, and `Pin(0)` pins that number. To be
    /// called before the first key is produced; [`Client::restore`](crate::Client::restore) does
    /// the same from a snapshot, with no `wait`.
    ///
    /// What the earlier process sent cannot be waited for, since this client has none of it:
    /// for `wait`, at most [`Config::drain_timeout`](crate::Config::drain_timeout), keys that move
    /// are refused with `NotReady`. Zero is right if it flushed before it ended. After a crash a
    /// broker may still have requests of it in its queue, for which Kafka has no bound: seconds are
    /// usual.
    ///
    /// # Errors
    /// When the topic is not watched any more.
    #[cfg(feature = "key-order")]
    pub fn set_key_count(
        &mut self,
        now: Instant,
        topic: TopicId,
        partitions: u32,
        wait: core::time::Duration,
    ) -> Result<(), Error> {
        self.at(now);
        let slot = self.cx.cluster.topic_slot(topic).ok_or(Error::Caller(Misuse::StaleId))?;
        self.owners.producer.set_key_count(self.cx.now, slot, partitions, Span::of(wait));
        Ok(())
    }

    /// Whether keys of a topic that has grown wait for what was produced before:
    /// [`KeyOrder::Drain`].
    #[cfg(feature = "key-order")]
    #[must_use]
    pub fn drains(&self, topic: TopicId) -> bool {
        let slot = self.cx.cluster.topic_slot(topic);
        slot.is_some_and(|slot| self.owners.producer.drains(slot))
    }

    /// Returns the node id of a partition's leader, as far as it is known.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn leader_of(&self, to: TopicPartition) -> Option<i32> {
        let cluster = &self.cx.cluster;
        let part = cluster.table.find(cluster.topic_slot(to.topic)?, to.partition)?;
        Some(cluster.table[part].leader()).filter(|leader| *leader >= 0)
    }

    /// Calls `report` for each batch that was begun at least `age` ago and has neither been
    /// acknowledged nor failed, oldest first, with its partition and what stands in its way, if
    /// that is known.
    #[cfg(feature = "std")]
    pub fn late_batches(
        &self,
        age: core::time::Duration,
        mut report: impl FnMut(TopicPartition, Obstacle),
    ) {
        let since = self.cx.now - Span::of(age);
        self.owners.producer.late(&self.cx, since, &mut report);
    }

    /// Calls `report` for each batch that has neither been acknowledged nor failed, oldest first,
    /// with its partition and its count of records.
    #[cfg(feature = "std")]
    pub fn open_batches(&self, mut report: impl FnMut(TopicPartition, u32)) {
        self.owners.producer.open(&mut report);
    }

    /// Sends everything taken so far without waiting for linger; one
    /// [`Event::Flushed`](crate::Event::Flushed) follows
    /// when all of it is acknowledged or failed. Flushes that overlap end together.
    pub fn flush(&mut self, _now: Instant) {
        self.owners.producer.flush();
    }

    /// Returns when the records that gather for a batch are sent, if no more come before that.
    /// Until then it is enough to produce others now and then, several at a time: they would
    /// gather, too. `None`: a record that is produced now may be sent at once.
    #[must_use]
    pub fn gathers_until(&self) -> Option<Instant> {
        self.owners.producer.gathers_until().map(|at| self.scale.instant(at))
    }
}
