//! How transactions end, and what is sent with them.

use crate::error::TransactionError;

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// All of it counts. Readers see it as soon as the brokers have marked its end.
    Committed,
    /// Nothing of it counts, as was requested.
    Aborted,
    /// Nothing of it counts, although a commit was requested.
    NotCommitted(TransactionError),
    /// It may count or not: the coordinator got the request, no answer came, and it cannot tell any
    /// more. Whoever sends offsets with records continues from what the group has committed.
    Unknown(TransactionError),
}

/// The member of a group whose offsets are committed with a transaction, as it is now (KIP-447):
/// the coordinator refuses the offsets of a member that is none any more (Kafka 2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership<'a> {
    /// The group's id, at most 255 bytes.
    pub group: &'a str,
    /// The member's id; empty for none, which is not checked.
    pub member: &'a str,
    /// Its generation or epoch; -1 for none.
    pub generation: i32,
    /// Its instance id, if it is a static one.
    pub instance: Option<&'a str>,
}

/// Where a group continues in a partition if the transaction is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumed<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition's index.
    pub partition: i32,
    /// The offset of the next record: the position, not the last record's offset plus one, since
    /// markers lie in between.
    pub offset: i64,
    /// The leader epoch of the last record, -1 for unknown.
    pub leader_epoch: i32,
    /// A text that is kept with it.
    pub metadata: &'a str,
}
