//! What the machine reports to the application, and the few types of its commands.

#[cfg(feature = "group-admin")]
mod group;
#[cfg(feature = "transactions")]
mod transaction;

#[cfg(feature = "codecs")]
use crate::codec::{Fault, Unpack, UnpackError, unpack_body};
#[cfg(feature = "group")]
use crate::error::GroupError;
#[cfg(feature = "transactions")]
use crate::error::TransactionError;
use crate::error::{CloseReason, Error};
#[cfg(feature = "group")]
use crate::id::CommitId;
use crate::id::{BatchId, ConnId, PartitionId, RequestId, TopicId, TopicPartition};
use crate::record::{BatchHeader, Malformed, Records};
use crate::time::Instant;
use crate::wire::{ErrorCode, Ints, Uuid};
#[cfg(feature = "group-admin")]
pub use group::{GroupAdmin, GroupOffset, GroupReply};
#[cfg(feature = "transactions")]
pub use transaction::{Consumed, Membership, Outcome};

/// What the adapter has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Action {
    /// Open a connection to [`Client::address`](crate::Client::address), then call
    /// `handle_connected`, or `handle_closed` when it fails.
    Connect {
        /// The new connection.
        conn: ConnId,
    },
    /// Close it; the machine has forgotten it already.
    Close {
        /// The connection that ended.
        conn: ConnId,
    },
    /// Fetch a token, then call [`Commands::set_token`](crate::Commands::set_token): connections
    /// wait for it, or the one that they log in with will soon be invalid.
    #[cfg(feature = "sasl")]
    NeedToken,
}

/// Something happened. Borrows only from the receive memory, so that commands can be used while it
/// is held.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event<'a> {
    /// The topic's partitions are known for the first time.
    TopicReady {
        /// The topic.
        topic: TopicId,
        /// How many partitions it has.
        partitions: u32,
    },
    /// The topic has grown. Comes once per (generation, count); counts never go back (R10).
    PartitionsAdded {
        /// The topic.
        topic: TopicId,
        /// Partitions before.
        from: u32,
        /// Partitions now.
        to: u32,
        /// Which broker reported it, and how.
        by: Source,
    },
    /// A partition in use has a new leader.
    LeaderMoved {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: u32,
        /// Its leader epoch, -1 where brokers have none.
        epoch: i32,
    },
    /// The topic was deleted and recreated: positions and sequences restart.
    TopicRecreated {
        /// The topic.
        topic: TopicId,
        /// Partitions of the new one.
        partitions: u32,
    },
    /// The topic cannot be used for now: it does not exist, or access is refused. The client
    /// retries.
    TopicFailed {
        /// The topic.
        topic: TopicId,
        /// Why.
        error: Error,
    },
    /// A broker reported fewer partitions than are known: it is stale, and is probed less for a
    /// while.
    BrokerStale {
        /// Node id of the broker, -1 for a bootstrap address.
        broker: i32,
        /// The topic for which it was stale.
        topic: TopicId,
    },
    /// After `Full` or `NotReady`: trying again is worthwhile.
    Room,
    /// Everything that was produced before [`Commands::flush`](crate::Commands::flush) is
    /// acknowledged or failed.
    Flushed,
    /// Records `first .. first + count` of a batch are acknowledged.
    Delivered {
        /// The batch.
        batch: BatchId,
        /// Its topic and partition.
        to: TopicPartition,
        /// Place of the first record in the batch; not 0 only after a split.
        first: u32,
        /// How many.
        count: u32,
        /// Offset of the first record; `None` with acks 0, and for a batch that the broker
        /// recognises as a duplicate whose offset it no longer knows.
        base_offset: Option<i64>,
    },
    /// Records `first .. first + count` of a batch have failed.
    Failed {
        /// The batch.
        batch: BatchId,
        /// Its topic and partition.
        to: TopicPartition,
        /// Place of the first record in the batch.
        first: u32,
        /// How many.
        count: u32,
        /// Why.
        error: Error,
        /// Whether the records may be in the log nevertheless.
        maybe_written: bool,
    },
    /// A topic has grown under [`KeyOrder::Drain`](crate::KeyOrder::Drain), and keys wait no longer
    /// for what was produced before. Feature `key-order`.
    #[cfg(feature = "key-order")]
    Drained {
        /// The topic.
        topic: TopicId,
        /// Partitions that keys are spread over now.
        partitions: u32,
        /// How often a record was refused meanwhile.
        held: u32,
        /// Whether all of it was settled. `false`: the time was over
        /// ([`Config::drain_timeout`](crate::Config::drain_timeout)), or the policy changed;
        /// records of a key may be out of order.
        settled: bool,
    },
    /// Partitions that were added to a topic are read from now on
    /// ([`OrderedGrowth`](crate::OrderedGrowth)). Feature `ordered-growth`.
    #[cfg(feature = "ordered-growth")]
    GrowthRead {
        /// The topic.
        topic: TopicId,
        /// The first of them.
        from: u32,
        /// How many were held by this client.
        partitions: u32,
        /// For how long.
        waited: core::time::Duration,
        /// Whether those that keys come from have been read, in a group committed, up to their end
        /// as of [`OrderedGrowth::settle`](crate::OrderedGrowth) after the growth was noticed: if
        /// all producers had drained by then, each key is read in order. `false`: the time was
        /// over, or there is no memory for the partitions of other members.
        ordered: bool,
    },
    /// A broker's words about a batch that it refuses, or about a record in it (Kafka 2.4). They
    /// come before the [`Event::Failed`] of these records, or before they are sent again. Feature
    /// `refusal-text`.
    Refused {
        /// The batch.
        batch: BatchId,
        /// Its topic and partition.
        to: TopicPartition,
        /// Place of the record in the batch; `None`: the batch as a whole.
        record: Option<u32>,
        /// The broker's error code.
        code: ErrorCode,
        /// Its words.
        text: &'a str,
    },
    /// Records of an assigned partition, in order. The position moves past the batch when the
    /// next event is polled, unless [`Commands::hold`](crate::Commands::hold) says otherwise.
    Records(Batch<'a>),
    /// A record batch that does not fit into the receive buffer. The partition waits at `offset`
    /// for a seek (to `next_offset`, to skip it).
    TooLarge {
        /// The partition.
        at: PartitionId,
        /// The position.
        offset: i64,
        /// First offset after the batch.
        next_offset: i64,
        /// Receive buffer that would hold it, in bytes.
        needed: usize,
    },
    /// A record batch that cannot be read, or a record inside one. The partition waits at `offset`
    /// for a seek; others are read on.
    Corrupt {
        /// The partition.
        at: PartitionId,
        /// The position.
        offset: i64,
        /// First offset after the batch; equal to `offset` where the batch does not say.
        next_offset: i64,
        /// Why.
        why: Unreadable,
    },
    /// The position jumped.
    Moved {
        /// The partition.
        at: PartitionId,
        /// Position before.
        from: i64,
        /// Position now.
        to: i64,
        /// Why.
        why: MoveReason,
    },
    /// A partition cannot be read for now. The client retries, except for `OFFSET_OUT_OF_RANGE`
    /// under [`OutOfRange::Stop`](crate::OutOfRange::Stop), and where more transactions were
    /// aborted around the position than there is memory for (`Limits::aborted`): the partition
    /// waits for a seek. With
    /// [`PeerFault::NotHeld`](crate::PeerFault::NotHeld) all partitions of the broker are read
    /// less often, of which this is one.
    PartitionFailed {
        /// The partition.
        at: PartitionId,
        /// Why.
        error: Error,
    },
    /// The leader resolved where reading of a partition begins, by time or at the beginning or the
    /// end: what is written from now on will not be missed. Emitted with
    /// [`Config::report_positions`](crate::Config::report_positions).
    Positioned {
        /// The partition.
        at: PartitionId,
        /// Offset of the next record, from 0.
        offset: i64,
    },
    /// A partition was read up to the high watermark of the leader's last response, or the last
    /// stable offset where only committed records are read: all records
    /// that were written before it are read; transaction markers, compacted and empty batches move
    /// the position without a record. Once for each time that the position has moved. Emitted with
    /// [`Config::report_positions`](crate::Config::report_positions).
    EndOfPartition {
        /// The partition.
        at: PartitionId,
        /// Offset of the next record, from 0.
        offset: i64,
    },
    /// A partition of an `assign_all` was assigned, or one of the group's; it is read from now on.
    Assigned {
        /// The partition.
        at: PartitionId,
        /// What it is.
        partition: TopicPartition,
    },
    /// The group takes a partition away. No more records of it come. With the next call to the
    /// client it is given up, unless [`Commands::keep`](crate::Commands::keep) is called while the
    /// event is held; what was read is committed then if
    /// [`Config::auto_commit`](crate::Config::auto_commit) is set. Feature `group`.
    #[cfg(feature = "group")]
    Revoking {
        /// The partition.
        at: PartitionId,
        /// What it is.
        partition: TopicPartition,
    },
    /// The group took a partition away without a chance to commit: the coordinator no longer knows
    /// the member, and another one may read it already. The client joins again. Feature `group`.
    #[cfg(feature = "group")]
    Lost {
        /// The partition; invalid from now on.
        at: PartitionId,
        /// What it is.
        partition: TopicPartition,
    },
    /// The coordinator cannot find the topics of the regular expression (Kafka before 4.0, or a
    /// classic group): the application is to, now and again and again, and to report them by
    /// [`Commands::resolve_pattern`](crate::Commands::resolve_pattern). Until then the member does
    /// not join. Feature `pattern`.
    #[cfg(feature = "pattern")]
    FindTopics,
    /// A topic is part of a subscription by regular expression from now on; one that the
    /// coordinator finds, if partitions of it may be this member's. While the event is held
    /// [`Commands::read_from_first`](crate::Commands::read_from_first) says that it is a new topic.
    /// Feature `pattern`.
    #[cfg(feature = "pattern")]
    TopicJoined {
        /// The topic.
        topic: TopicId,
    },
    /// A topic is no longer part of it, and all of its partitions are given up. It stays watched:
    /// see [`Commands::unwatch`](crate::Commands::unwatch). Feature `pattern`.
    #[cfg(feature = "pattern")]
    TopicLeft {
        /// The topic.
        topic: TopicId,
    },
    /// A set of commits has ended; also without being requested when it failed. Feature `group`.
    #[cfg(feature = "group")]
    Committed {
        /// The set.
        id: CommitId,
        /// The first error, if there was one: other partitions may be committed nevertheless.
        result: Result<(), GroupError>,
    },
    /// All that the last assignment of the group has is in place. Feature `group`.
    #[cfg(feature = "group")]
    GroupStable {
        /// The member's epoch.
        epoch: i32,
        /// Partitions that it reads.
        partitions: u32,
    },
    /// Partitions of the group are no member's: it is led by another client, which plans by older
    /// counts ([`Commands::group_leader`](crate::Commands::group_leader)). This member has begun a
    /// round in vain, and does so again each minute. Once for each growth. Feature `coverage`.
    #[cfg(feature = "coverage")]
    Unassigned {
        /// The topic.
        topic: TopicId,
        /// The first of them.
        first: u32,
        /// The last of them, among the 256 from the first one that may be.
        last: u32,
        /// How many they are up to the last.
        partitions: u32,
    },
    /// The coordinator has been of no use for half a second. The client retries. Features
    /// `group` and `reasons`.
    #[cfg(feature = "group")]
    GroupTrouble {
        /// Why.
        error: Error,
    },
    /// The membership has ended, and the client does not retry; partitions were
    /// [`Event::Lost`] before. Feature `group`.
    #[cfg(feature = "group")]
    GroupFailed {
        /// Why.
        error: GroupError,
    },
    /// The member has left after [`Commands::unsubscribe`](crate::Commands::unsubscribe). Feature
    /// `group`.
    #[cfg(feature = "group")]
    GroupLeft,
    /// The transactional id is this client's: older producers with it are fenced off, and what they
    /// left open has ended. Once, before the first transaction. Feature `transactions`.
    #[cfg(feature = "transactions")]
    TransactionsReady,
    /// The coordinator has been of no use for half a second. The client retries. Features
    /// `transactions` and `reasons`.
    #[cfg(feature = "transactions")]
    TransactionTrouble {
        /// Why.
        error: Error,
    },
    /// The offsets of [`Commands::send_offsets`](crate::Commands::send_offsets) are part of the
    /// transaction. Feature `transactions`.
    #[cfg(feature = "transactions")]
    OffsetsSent,
    /// The open transaction can only be aborted; what was not sent of it fails. Feature
    /// `transactions`.
    #[cfg(feature = "transactions")]
    TransactionFailed {
        /// Why.
        error: TransactionError,
    },
    /// A transaction has ended, after the events of its records. Feature `transactions`.
    #[cfg(feature = "transactions")]
    TransactionEnded {
        /// How.
        outcome: Outcome,
    },
    /// Part of the response to an admin request.
    Reply {
        /// The request.
        id: RequestId,
        /// The part; the last one is [`Reply::Done`].
        reply: Reply<'a>,
    },
    /// A broker has not responded for some seconds, or a connection to it is not established for so
    /// long. Once for each silence; what waits for it continues to wait, up to
    /// [`Config::request_timeout`](crate::Config::request_timeout).
    Unresponsive {
        /// Node id of the broker, -1 for a bootstrap address.
        broker: i32,
        /// Since when nothing has arrived.
        silent: core::time::Duration,
    },
    /// A connection ended or could not be established. The client retries.
    Disconnected {
        /// Node id of the broker, -1 for a bootstrap address.
        broker: i32,
        /// Why.
        error: Error,
    },
}

/// Where a report came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Source {
    /// Node id of the broker, -1 for a bootstrap address.
    pub broker: i32,
    /// Kind of response.
    pub signal: Signal,
}

/// The kinds of response that report the partitions of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Signal {
    /// A Metadata response.
    #[default]
    Metadata,
    /// A DescribeTopicPartitions probe (Kafka 3.8 and later).
    DescribeTopicPartitions,
    /// A ListOffsets probe (Kafka 2.0 and later).
    ListOffsets,
    /// [`Client::restore`](crate::Client::restore); no broker has confirmed it yet.
    Snapshot,
}

/// What is known of a topic, and how old that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Freshness {
    /// Partitions.
    pub partitions: u32,
    /// How often the topic was recreated while it is watched.
    pub generation: u32,
    /// Kafka's id of the topic, zero where brokers have none (before 2.8).
    pub id: Uuid,
    /// When a broker last confirmed the count; [`Instant::ZERO`] for one that was restored.
    pub confirmed: Instant,
    /// When a broker last described all partitions, with their leaders; [`Instant::ZERO`] before.
    pub described: Instant,
    /// Which broker confirmed the count, and how.
    pub by: Source,
}

/// Why a batch cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Unreadable {
    /// The bytes are wrong, the checksum among them; or they are of a format that this build does
    /// not read.
    Malformed(Malformed),
    /// It is compressed with this codec (1 gzip, 2 snappy, 3 lz4, 4 zstd), which this build cannot
    /// decompress.
    Compressed(u8),
    /// The broker itself says that it is corrupt (CORRUPT_MESSAGE).
    ByBroker,
}

/// Why a position jumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MoveReason {
    /// It was outside the log: retention deleted it, or it was beyond the end.
    OutOfRange = 1,
    /// The log was truncated below it by an unclean leader election (KIP-320).
    Truncated,
    /// The topic was recreated.
    Recreated,
    /// Records from the first position on were skipped: their batch claims to have none, or the
    /// batch before theirs claims their offsets. Java's consumer skips them, too, in silence. The
    /// second position may be behind records that were given. Without the feature `record-check`
    /// that is not noticed.
    Skipped,
}

/// A record batch in the receive buffer, its checksum verified.
///
/// With the feature `old-records` also a message set of magic 0 or 1, as logs from before Kafka
/// 0.11 have them (`Magic`): a compressed message, or plain ones that follow each other. Their
/// records have neither headers nor, in magic 0, timestamps.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Batch<'a> {
    pub(crate) at: PartitionId,
    pub(crate) partition: TopicPartition,
    pub(crate) position: i64,
    pub(crate) high_watermark: i64,
    pub(crate) header: BatchHeader,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The assigned partition.
    #[must_use]
    pub const fn partition(&self) -> PartitionId {
        self.at
    }

    /// Topic and index of the partition.
    #[must_use]
    pub const fn topic_partition(&self) -> TopicPartition {
        self.partition
    }

    /// Returns the records from the position on, without a copy. Of a batch with damage inside,
    /// although its checksum is right, those before it: [`Event::Corrupt`] follows (feature
    /// `record-check`; without it the last item is an error, and
    /// [`Commands::park`](crate::Commands::park) keeps the position).
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records::new(&self.header, self.bytes).from_offset(self.position)
    }

    /// Returns the records from the position on, of a batch that may be compressed: `decoders`
    /// unpack them to `scratch`, whose length bounds what they may unpack to. A batch that is not
    /// compressed needs neither.
    ///
    /// After an error [`Commands::park`](crate::Commands::park) keeps the position, or the batch
    /// counts as read.
    ///
    /// # Errors
    /// When the batch is damaged although its checksum is right, larger than `scratch`, or there is
    /// no decoder for its codec.
    #[cfg(feature = "codecs")]
    pub fn unpack<'s>(
        &self,
        decoders: &mut impl Unpack,
        scratch: &'s mut [u8],
    ) -> Result<Records<'s>, UnpackError>
    where
        'a: 's,
    {
        let id = self.header.codec();
        if id == 0 {
            return Ok(self.records());
        }
        let packed = self.header.body(self.bytes);
        let limit = scratch.len();
        let unpacked = unpack_body(decoders, &self.header, packed, scratch);
        let why = match unpacked.map(|len| scratch.get(..len)) {
            Ok(Some(body)) => {
                return Ok(Records::unpacked(&self.header, body).from_offset(self.position));
            }
            Ok(None) => Fault::Damaged,
            Err(why) => why,
        };
        Err(UnpackError {
            partition: self.partition,
            offset: self.position,
            next_offset: self.next_offset(),
            codec: id,
            packed: packed.len(),
            limit,
            why,
        })
    }

    /// Returns the whole batch as it was on the wire, to be passed to another thread.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the first offset that was requested: [`Batch::bytes`] may contain earlier records.
    #[must_use]
    pub const fn position(&self) -> i64 {
        self.position
    }

    /// Returns the position after this batch: base offset + last delta + 1. The offset of a
    /// compressed message of magic 0 or 1 is that of the last record inside.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.header.next_offset()
    }

    /// Returns the end of what consumers may read, as of this response of the leader: the last
    /// stable offset where only committed records are read (feature `read-committed`).
    #[must_use]
    pub const fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Returns the header of the batch; of a message set what there is of its fields
    /// (`record::parse_old`).
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }
}

/// Part of the response to an admin request.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Reply<'a> {
    /// A broker of the cluster.
    Broker {
        /// Node id.
        id: i32,
        /// Host.
        host: &'a str,
        /// Port.
        port: i32,
        /// Rack.
        rack: Option<&'a str>,
    },
    /// The cluster.
    Cluster {
        /// Its id.
        id: Option<&'a str>,
        /// Node id of the controller (KRaft: of some broker).
        controller: i32,
    },
    /// A topic; its partitions follow.
    Topic {
        /// Name.
        name: &'a str,
        /// Kafka's id, zero before 2.8.
        id: Uuid,
        /// Internal to Kafka.
        internal: bool,
        /// 0, or why nothing is known of the topic.
        error: ErrorCode,
    },
    /// A partition of the last topic. Not in order.
    Partition {
        /// Index, from 0.
        index: i32,
        /// Node id of the leader, -1 for none.
        leader: i32,
        /// Leader epoch, -1 before 2.4.
        epoch: i32,
        /// Node ids of the replicas.
        replicas: Ints<'a>,
        /// Node ids of the in-sync replicas.
        isr: Ints<'a>,
        /// 0, or what is wrong with it.
        error: ErrorCode,
    },
    /// The broker's message in words; for people only.
    Message(&'a str),
    /// Part of the response to a request about groups.
    #[cfg(feature = "group-admin")]
    Group(GroupReply<'a>),
    /// The end of the response.
    Done(Result<(), Error>),
}

/// An admin request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Admin<'a> {
    /// Create a topic.
    CreateTopic {
        /// Name.
        name: &'a str,
        /// Partitions; -1 for the broker's default (2.4 and later).
        partitions: i32,
        /// Replicas; -1 for the broker's default (2.4 and later).
        replication_factor: i16,
        /// Topic configs.
        configs: &'a [(&'a str, Option<&'a str>)],
    },
    /// Grow a topic to `count` partitions.
    CreatePartitions {
        /// Name.
        name: &'a str,
        /// Partitions afterwards.
        count: i32,
        /// Only check whether the request would succeed.
        validate_only: bool,
    },
    /// Delete a topic.
    DeleteTopic {
        /// Name.
        name: &'a str,
    },
    /// Describe a topic, or with `None` all topics, and the brokers.
    Describe {
        /// Name.
        topic: Option<&'a str>,
    },
    /// Describe the brokers and no topic.
    #[cfg(feature = "group-admin")]
    Brokers,
    /// A request about consumer groups.
    #[cfg(feature = "group-admin")]
    Group(GroupAdmin<'a>),
}

/// Where a record goes: a topic, or one partition of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub(crate) topic: TopicId,
    pub(crate) partition: Option<u32>,
}

impl From<TopicId> for Target {
    fn from(topic: TopicId) -> Self {
        Self { topic, partition: None }
    }
}

impl From<(TopicId, u32)> for Target {
    fn from((topic, partition): (TopicId, u32)) -> Self {
        Self { topic, partition: Some(partition) }
    }
}

impl From<CloseReason> for Error {
    fn from(why: CloseReason) -> Self {
        Self::Closed(why)
    }
}
