//! Requests about consumer groups, and the parts of their responses.

use crate::wire::{ErrorCode, Ints, Uuid};

/// An admin request about consumer groups. All but [`GroupAdmin::List`] are sent to the group's
/// coordinator, which is looked up; errors 14, 15 and 16 are retried until the request times out.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum GroupAdmin<'a> {
    /// List the groups that one broker coordinates.
    List {
        /// Its node id.
        broker: i32,
    },
    /// Describe a group: first as one under KIP-848, and, if it is none (error 69) or the broker
    /// knows none, as a classic one. One that does not exist ends with error 69.
    Describe {
        /// Its id, at most 1,024 bytes. That holds for all of these requests.
        group: &'a str,
    },
    /// Delete a group that has no members, and its offsets.
    Delete {
        /// Its id.
        group: &'a str,
    },
    /// Report all committed offsets of a group; none for one that does not exist.
    Offsets {
        /// Its id.
        group: &'a str,
    },
    /// Commit offsets for a group that has no members (error 25 while it has some). A group that
    /// does not exist is created.
    SetOffsets {
        /// Its id.
        group: &'a str,
        /// The topic's name.
        topic: &'a str,
        /// The partitions, each once.
        offsets: &'a [GroupOffset<'a>],
    },
    /// Forget committed offsets of a topic that no member is subscribed to (error 86 otherwise).
    DeleteOffsets {
        /// Its id.
        group: &'a str,
        /// The topic's name.
        topic: &'a str,
        /// The partitions, each once.
        partitions: &'a [i32],
    },
}

/// Where a group is to continue in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupOffset<'a> {
    /// The partition's index.
    pub partition: i32,
    /// The offset of the next record.
    pub offset: i64,
    /// The leader epoch of the last record before it, -1 for unknown.
    pub leader_epoch: i32,
    /// A text that is kept with it; brokers refuse more than 4,096 UTF-16 units by default.
    pub metadata: &'a str,
}

/// Part of the response to a request about groups.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum GroupReply<'a> {
    /// To [`GroupAdmin::List`]: a group.
    Listed {
        /// Its id.
        id: &'a str,
        /// What its members use it for, such as `consumer`; empty while it has only offsets.
        protocol_type: &'a str,
        /// Its state; from Kafka 2.6 on.
        state: Option<&'a str>,
        /// `classic`, `consumer`, `share` or `streams`, in either case; from Kafka 3.8 on.
        kind: Option<&'a str>,
    },
    /// To [`GroupAdmin::Describe`]: a classic group; its members follow.
    Classic {
        /// Its state.
        state: &'a str,
        /// What its members use it for, such as `consumer`.
        protocol_type: &'a str,
        /// Of consumers the assignor; empty unless the group is stable.
        protocol: &'a str,
    },
    /// A member of a classic group.
    ClassicMember {
        /// Its id.
        id: &'a str,
        /// The instance id of a static member.
        instance: Option<&'a str>,
        /// Its client id.
        client_id: &'a str,
        /// Its address, as the broker sees it.
        client_host: &'a str,
        /// Of consumers a [`Subscription`](crate::wire::consumer_protocol::Subscription); empty
        /// unless the group is stable.
        subscription: &'a [u8],
        /// Of consumers an [`Assignment`](crate::wire::consumer_protocol::Assignment); empty
        /// unless the group is stable.
        assignment: &'a [u8],
    },
    /// To [`GroupAdmin::Describe`]: a group under KIP-848; its members follow.
    Consumer {
        /// Its state.
        state: &'a str,
        /// The assignor of the server.
        assignor: &'a str,
        /// Its epoch, which rises with members, subscriptions and topics.
        epoch: i32,
        /// The epoch of the assignment that members move to.
        assignment_epoch: i32,
    },
    /// A member of a group under KIP-848; what follows up to the next one is about it.
    Member {
        /// Its id.
        id: &'a str,
        /// The instance id of a static member.
        instance: Option<&'a str>,
        /// Its rack.
        rack: Option<&'a str>,
        /// Its epoch.
        epoch: i32,
        /// Its client id.
        client_id: &'a str,
        /// Its address, as the broker sees it.
        client_host: &'a str,
    },
    /// A topic that the member subscribes by name.
    Subscribed(&'a str),
    /// The regular expression that the member subscribes by.
    Pattern(&'a str),
    /// Partitions that the member has now.
    Assigned {
        /// The topic's name.
        topic: &'a str,
        /// The topic's id.
        id: Uuid,
        /// The partitions.
        partitions: Ints<'a>,
    },
    /// Partitions that the member is to have.
    Target {
        /// The topic's name.
        topic: &'a str,
        /// The topic's id.
        id: Uuid,
        /// The partitions.
        partitions: Ints<'a>,
    },
    /// The last of a member: 1 for one under KIP-848, 0 for a classic one in such a group, -1 for
    /// unknown; from Kafka 4.0 on.
    MemberType(i8),
    /// A topic; offsets of its partitions, or results for them, follow.
    Topic(&'a str),
    /// To [`GroupAdmin::Offsets`]: a committed offset.
    Offset {
        /// The partition's index.
        partition: i32,
        /// The offset of the next record, -1 for none.
        offset: i64,
        /// The leader epoch that was committed with it, -1 for unknown.
        leader_epoch: i32,
        /// The text that was committed with it.
        metadata: &'a str,
        /// 0, or why the offset is not known.
        error: ErrorCode,
    },
    /// To [`GroupAdmin::SetOffsets`] and [`GroupAdmin::DeleteOffsets`]: the result for a partition.
    Result {
        /// The partition's index.
        partition: i32,
        /// 0, or why nothing was changed.
        error: ErrorCode,
    },
    /// In place of an element, such as a member, that does not fit into the receive buffer.
    Skipped,
}
