//! The commands of an application that sends records in transactions.

use super::Commands;
use super::owners::Owners;
use crate::error::TransactionError;
use crate::event::{Consumed, Membership};
use crate::time::Instant;

impl Commands<'_> {
    /// Begins a transaction: records are taken from now on. They leave when the coordinator has
    /// given this client its id, and [`Config::linger`](crate::Config::linger) applies as always.
    ///
    /// # Errors
    /// `Caller` without a transactional id, and until the end of the transaction before was polled;
    /// what ended all transactions of this client, if something did.
    pub fn begin(&mut self, now: Instant) -> Result<(), TransactionError> {
        self.at(now);
        let Self { cx, owners: Owners { transaction, producer, .. }, .. } = self;
        transaction.begin(cx, producer)
    }

    /// Commits the open transaction when all of its records are acknowledged; one that failed makes
    /// it abort. [`Event::TransactionEnded`](crate::Event::TransactionEnded) follows.
    ///
    /// # Errors
    /// `Caller` when none is open.
    pub fn commit_transaction(&mut self, now: Instant) -> Result<(), TransactionError> {
        self.end_transaction(now, true)
    }

    /// Aborts the open transaction. Records that were not sent fail with
    /// [`Error::Aborted`](crate::Error::Aborted).
    /// [`Event::TransactionEnded`](crate::Event::TransactionEnded) follows.
    ///
    /// # Errors
    /// `Caller` when none is open.
    pub fn abort_transaction(&mut self, now: Instant) -> Result<(), TransactionError> {
        self.end_transaction(now, false)
    }

    fn end_transaction(&mut self, now: Instant, commits: bool) -> Result<(), TransactionError> {
        self.at(now);
        let Self { owners: Owners { transaction, producer, .. }, .. } = self;
        transaction.end(producer, commits)
    }

    /// Commits offsets of a group with the open transaction, those of a topic one after the other.
    /// [`Event::OffsetsSent`](crate::Event::OffsetsSent) follows, and a commit waits for it.
    ///
    /// # Errors
    /// `Full` while others are on their way or there is no memory; `Caller` when no transaction is
    /// open; why it can only be aborted, if that is so.
    pub fn send_offsets(
        &mut self,
        now: Instant,
        member: &Membership<'_>,
        offsets: &[Consumed<'_>],
    ) -> Result<(), TransactionError> {
        self.at(now);
        let Self { cx, owners: Owners { transaction, .. }, .. } = self;
        transaction.take_offsets(cx, member, offsets)
    }
}
