//! Ids that users hold. All of them carry a generation, so that a stale id is refused instead of
//! naming something else.

/// A watched topic. Returned by [`Commands::topic`](crate::Commands::topic).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TopicId {
    pub(crate) index: u16,
    pub(crate) generation: u16,
}

/// An assigned partition. Returned by [`Commands::assign`](crate::Commands::assign) and named by
/// consumer events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PartitionId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// One connection, from [`Action::Connect`](crate::Action::Connect) until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConnId {
    pub(crate) index: u16,
    pub(crate) generation: u16,
}

impl ConnId {
    /// Returns a small number, below [`Limits::conns`](crate::Limits::conns), that is unique among
    /// the connections that are open at a time: an index into a table of sockets.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.index as usize
    }
}

/// A batch of records; counts up from 1 and is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BatchId(pub(crate) u64);

impl BatchId {
    /// Returns the number itself, for tables of the caller.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A record that was taken by [`Commands::produce`](crate::Commands::produce): the batch that
/// carries it, its place there (from 0) and the partition that was chosen. Batch and place are its
/// identity: two that differ only in the partition are equal.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RecordId {
    /// The batch; [`Event::Delivered`](crate::Event::Delivered) and `Failed` name it.
    pub batch: BatchId,
    /// Place of the record in its batch, from 0.
    pub index: u32,
    /// The partition that the record goes to. A record with neither a key nor a partition of its
    /// own moves to another partition while this one has no reachable leader:
    /// [`Event::Delivered`](crate::Event::Delivered) names the final one.
    pub partition: u32,
}

impl PartialEq for RecordId {
    fn eq(&self, other: &Self) -> bool {
        (self.batch, self.index) == (other.batch, other.index)
    }
}

impl Eq for RecordId {}

impl core::hash::Hash for RecordId {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        (self.batch, self.index).hash(state);
    }
}

/// An admin request, until its [`Reply::Done`](crate::Reply::Done).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RequestId(pub(crate) u32);

/// A set of commits, until its [`Event::Committed`](crate::Event::Committed); counts up. Calls that
/// end up in the same set return the same id.
#[cfg(feature = "group")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CommitId(pub(crate) u32);

/// A topic's partition as events name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// Index of the partition, from 0.
    pub partition: u32,
}
