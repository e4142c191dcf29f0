//! The commands of an application that produces.

use super::Commands;
use crate::error::ProduceError;
use crate::event::Target;
use crate::id::RecordId;
#[cfg(feature = "std")]
use crate::record::Packed;
use crate::record::Record;
use crate::time::Instant;

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
        self.owners.producer.produce(&mut self.cx, to.into(), record, wall)
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
        self.owners.producer.produce(&mut self.cx, to.into(), record, wall)
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

    /// Sets the time of day: timestamps of records that have none are counted from here. Without it
    /// they are -1, "no timestamp".
    pub fn set_wall_clock(&mut self, now: Instant, unix_ms: i64) {
        self.wall = Some((now, unix_ms));
    }

    fn wall_ms(&self, now: Instant) -> Option<i64> {
        let (at, ms) = self.wall?;
        Some(ms.saturating_add_unsigned(at.millis_until(now)))
    }
}
