//! What there is to choose from.

/// Acknowledgements that a produced batch waits for (`acks`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Acks {
    /// All in-sync replicas (-1). The only one with which an acknowledged record is safe.
    #[default]
    All,
    /// The leader alone (1).
    Leader,
    /// None (0): a batch counts as delivered when its bytes were handed to the transport.
    None,
}

impl Acks {
    pub(crate) const fn code(self) -> i16 {
        match self {
            Self::All => -1,
            Self::Leader => 1,
            Self::None => 0,
        }
    }
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Start {
    /// At the log start offset.
    Earliest,
    /// At the end, as of the moment when the leader handles the request. Partitions that are added
    /// later are still read from their first record.
    Latest,
    /// At this offset, from 0.
    Offset(i64),
    /// At the first record with at least this timestamp (ms since 1970); at the end if none.
    Timestamp(i64),
}

/// What to do when a position is outside the log. Every jump is reported by
/// [`Event::Moved`](crate::Event::Moved).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OutOfRange {
    /// To the log start when the position is below it, to the end when it is above.
    #[default]
    Nearest,
    /// To the log start.
    Earliest,
    /// To the end.
    Latest,
    /// Nowhere: [`Event::PartitionFailed`](crate::Event::PartitionFailed), and the partition
    /// waits for a seek.
    Stop,
}

/// Which records of transactions are read (`isolation.level`). Markers of transactions are never
/// given.
#[cfg(feature = "read-committed")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Isolation {
    /// All, also of transactions that are open or aborted: Kafka's own default.
    #[default]
    ReadUncommitted,
    /// Those of committed transactions, and those outside transactions. Partitions are read up to
    /// the last stable offset: the first record of a transaction that is open. That is also their
    /// end for [`Start::Latest`] and in events.
    ReadCommitted,
}

/// Which protocol the member of a group speaks.
#[cfg(feature = "group")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum GroupProtocol {
    /// That of KIP-848 where the coordinator offers it for the group, else the classic one.
    #[default]
    Auto,
    /// That of KIP-848: the coordinator assigns (Kafka 4.0; 3.7 where it is switched on).
    Consumer,
    /// The classic one: a member assigns (JoinGroup, SyncGroup).
    #[cfg(feature = "classic")]
    Classic,
}

/// How the leader of a classic group assigns partitions: as the assignors of Kafka's Java client.
#[cfg(feature = "classic")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Assignor {
    /// Each topic in contiguous ranges: topics of equal size and subscribers are divided alike.
    Range,
    /// All partitions in turn.
    RoundRobin,
    /// As even as can be, and as little as possible moves. Everything is revoked first.
    Sticky,
    /// The same, and what stays is read on: what moves is given to its next owner by a second
    /// round.
    CooperativeSticky,
}

#[cfg(feature = "classic")]
impl Assignor {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Range, Self::RoundRobin, Self::Sticky, Self::CooperativeSticky];

    /// Returns its name in requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Returns the one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }
}

/// When the client probes for growth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Probing {
    /// All the time, at the configured pace.
    #[default]
    Always,
    /// Only within two idle intervals after a record was produced: a sleeping device stays quiet.
    WhenProducing,
    /// Never; growth is found by the age of metadata and by errors.
    Never,
}

/// Which partition a record with a key goes to while its topic grows; of each topic, see
/// [`Commands::set_key_order`](crate::Commands::set_key_order). Records that name their partition,
/// and those without key, are not concerned.
#[cfg(feature = "key-order")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum KeyOrder {
    /// By the count of partitions that is known when the record is produced, as with other clients:
    /// records of a key are in order within a partition, and a key may change its partition.
    #[default]
    Follow,
    /// The same, but a key that changes its partition waits until what was produced before it to
    /// its old one is settled: acknowledged, or failed with no request left that could still write
    /// it. So the records of a key are appended in order, by this producer; a record that failed
    /// as late may be missing, or be written out of order. Meanwhile such records are refused
    /// with [`ProduceError::NotReady`](crate::ProduceError::NotReady). A reader that is behind in
    /// the old partition may still see the new one first, and other producers may notice the growth
    /// at another time.
    Drain,
    /// Over the first so many partitions, however many there are: as long as all producers pin the
    /// same number, a key stays where it is. 0: as many as there were when the first key was
    /// produced. While the topic has fewer, records with keys are refused with `NotReady`.
    Pin(u32),
}

/// Keeps the order of each key for readers while a topic grows, of producers that drain
/// ([`KeyOrder::Drain`](crate::KeyOrder::Drain)): partitions that are added are held until those
/// that their keys come from have been read, in a group committed, up to their end as of `settle`
/// after the growth was noticed. [`Event::GrowthRead`](crate::Event::GrowthRead) reports that.
///
/// It is a promise only where every producer sends nothing under the old count any more by then,
/// and where the topic grows by whole multiples: else keys move between partitions that existed
/// before, too, which are read as they are.
#[cfg(feature = "ordered-growth")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct OrderedGrowth {
    /// How long producers may need to notice a growth and to drain after this reader has noticed
    /// it. Records in new partitions wait for at least that long (default: 5 s).
    pub settle: crate::time::Duration,
    /// Longest time that partitions are held; then they are read in any case, and the event says
    /// that order was not kept. Zero: as with no order at all (default: 300 s).
    pub limit: crate::time::Duration,
}

#[cfg(feature = "ordered-growth")]
impl OrderedGrowth {
    /// Returns these times.
    #[must_use]
    pub const fn new(settle: crate::time::Duration, limit: crate::time::Duration) -> Self {
        Self { settle, limit }
    }
}

#[cfg(feature = "ordered-growth")]
impl Default for OrderedGrowth {
    fn default() -> Self {
        let seconds = crate::time::Duration::from_secs;
        Self { settle: seconds(5), limit: seconds(300) }
    }
}
