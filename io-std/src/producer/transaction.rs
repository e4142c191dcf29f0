//! Records that count together or not at all.

use std::fmt;
use std::sync::Arc;

use kavka_core::Consumed;
use kavka_core::record::Record;

use super::chunk::Delivered;
use super::inbox::{Inbox, Item, To};
use super::turn::{Offsets, Turn};
use crate::consumer::MemberId;
use crate::error::ProduceError;
use crate::pending::{Cell, Pending};

/// An open transaction, from [`Producer::transaction`](crate::Producer::transaction). Dropped
/// without a commit it is aborted.
///
/// Readers with `read_committed` see all of its records or none, once it is committed. What a
/// commit returns says which: see [`Transaction::commit`].
///
/// ```no_run
/// # fn example(producer: &kavka_std::Producer) -> Result<(), Box<dyn std::error::Error>> {
/// let transfer = producer.transaction()?;
/// transfer.send("withdrawals", &kavka_std::Record::new(b"alice 7"))?;
/// transfer.send("deposits", &kavka_std::Record::new(b"bob 7"))?;
/// transfer.commit().wait()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "dropped, it is aborted"]
pub struct Transaction<'p> {
    inbox: &'p Arc<Inbox>,
    open: bool,
}

impl<'p> Transaction<'p> {
    pub(super) const fn new(inbox: &'p Arc<Inbox>) -> Self {
        Self { inbox, open: true }
    }

    /// As [`Producer::send`](crate::Producer::send).
    ///
    /// # Errors
    /// As [`Producer::send`](crate::Producer::send).
    ///
    /// # Cancel safety
    /// As [`Producer::send`](crate::Producer::send).
    pub fn send(
        &self,
        topic: &str,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        self.inbox.push_waiting(&To { topic, partition: None, within: None }, record)
    }

    /// As [`Producer::send_to`](crate::Producer::send_to).
    ///
    /// # Errors
    /// As [`Producer::send`](crate::Producer::send).
    ///
    /// # Cancel safety
    /// As [`Producer::send`](crate::Producer::send).
    pub fn send_to(
        &self,
        topic: &str,
        partition: u32,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        let partition = Some(partition);
        self.inbox.push_waiting(&To { topic, partition, within: None }, record)
    }

    /// As [`Producer::send_async`](crate::Producer::send_async).
    ///
    /// # Errors
    /// As [`Producer::send`](crate::Producer::send).
    ///
    /// # Cancel safety
    /// As [`Producer::send_async`](crate::Producer::send_async).
    pub async fn send_async(
        &self,
        topic: &str,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        self.inbox.push_awaiting(&To { topic, partition: None, within: None }, record).await
    }

    /// Commits offsets of a group with the transaction (KIP-447): where its members continue if the
    /// transaction is committed. `member` is what the consumer is now, not when it began; those of
    /// a topic follow each other. A commit waits for it: the [`Pending`] need not be waited for.
    ///
    /// # Errors
    /// Of the [`Pending`]: when the group's coordinator refuses them; the transaction can only be
    /// aborted then.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] changes nothing.
    pub fn send_offsets(&self, member: &MemberId, offsets: &[Consumed<'_>]) -> Pending<()> {
        let (done, pending) = Cell::pair();
        let offsets = Offsets::new(member, offsets);
        self.inbox.submit(|_| Item::Turn(Turn::Offsets { offsets, done }));
        pending
    }

    /// Commits it when all of its records are acknowledged. It begins with the call; another
    /// transaction may be begun at once, and waits for the end of this one.
    ///
    /// # Errors
    /// Of the [`Pending`]: nothing of it is committed, since a record failed, the coordinator has
    /// ended it (it was open for too long), or another producer has the transactional id. Only
    /// where [`Error::maybe_written`](crate::Error::maybe_written) is true that is not known: the
    /// coordinator may have committed it, but its answer was lost, and it cannot tell any more.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] changes nothing: it is committed.
    #[must_use = "nothing else reports whether it is committed"]
    pub fn commit(mut self) -> Pending<()> {
        self.end(true)
    }

    /// Aborts it. What was not sent of it fails.
    ///
    /// # Errors
    /// Of the [`Pending`]: when the producer was closed before.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] changes nothing: it is aborted.
    pub fn abort(mut self) -> Pending<()> {
        self.end(false)
    }

    fn end(&mut self, commits: bool) -> Pending<()> {
        let (done, pending) = Cell::pair();
        self.open = false;
        self.inbox.end_transaction(Item::Turn(Turn::End { commits, done }));
        pending
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            drop(self.end(false));
        }
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}
