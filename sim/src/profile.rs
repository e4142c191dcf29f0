//! Which API versions a broker of each release offers.

use core::fmt;
use core::str::FromStr;

use kafka_protocol::messages::ApiKey;

/// A release whose version ranges and quirks a simulated broker shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Apache Kafka 1.1.1, ZooKeeper mode: no topic ids, no epochs, no cached responses to probes.
    V1_1,
    /// 2.4.1, ZooKeeper mode: no topic ids.
    V2_4,
    /// 2.8.2, ZooKeeper mode, topic ids.
    V2_8,
    /// 3.2.3, ZooKeeper mode, topic ids.
    V3_2,
    /// 3.9.2, KRaft.
    V3_9,
    /// 4.4.0, KRaft.
    #[default]
    V4_4,
}

impl Profile {
    /// All of them, oldest first.
    pub const ALL: [Self; 6] =
        [Self::V1_1, Self::V2_4, Self::V2_8, Self::V3_2, Self::V3_9, Self::V4_4];

    /// Returns whether topics have ids (KIP-516).
    #[must_use]
    pub fn topic_ids(self) -> bool {
        self >= Self::V2_8
    }

    /// Returns whether only the controller takes admin requests; others return `NOT_CONTROLLER`.
    #[must_use]
    pub fn zookeeper(self) -> bool {
        self <= Self::V3_2
    }

    /// Returns what ApiVersions lists: (API, lowest, highest). As the real release, with three
    /// limits where the codec of this simulation ends: ListOffsets 10, Metadata 13, ApiVersions 5.
    /// Produce below 3, Fetch below 4, ListOffsets 0 and others below the codec's minimum are
    /// listed but close the connection.
    #[must_use]
    pub fn ranges(self) -> &'static [(ApiKey, i16, i16)] {
        match self {
            Self::V1_1 => &V1_1,
            Self::V2_4 => &V2_4,
            Self::V2_8 => &V2_8,
            Self::V3_2 => &V3_2,
            Self::V3_9 => &V3_9,
            Self::V4_4 => &V4_4,
        }
    }

    /// Returns the ranges of the two APIs of logins, which real brokers always list and simulated
    /// ones where they want logins.
    #[must_use]
    pub fn login_ranges(self) -> [(ApiKey, i16, i16); 2] {
        let last = match self {
            Self::V1_1 => 0,
            Self::V2_4 => 1,
            _ => 2,
        };
        [(ApiKey::SaslHandshake, 0, 1), (ApiKey::SaslAuthenticate, 0, last)]
    }

    /// Returns the ranges of what members of groups need, which real brokers always list and
    /// simulated ones where they have groups. As the real release, with two limits where the codec
    /// of this simulation ends: OffsetCommit 9 and OffsetFetch 9. KIP-848 from 3.9 on.
    #[must_use]
    pub fn group_ranges(self) -> &'static [(ApiKey, i16, i16)] {
        match self {
            Self::V1_1 => &[
                (OffsetCommit, 0, 3),
                (OffsetFetch, 0, 3),
                (FindCoordinator, 0, 1),
                (JoinGroup, 0, 2),
                (Heartbeat, 0, 1),
                (LeaveGroup, 0, 1),
                (DescribeGroups, 0, 1),
                (SyncGroup, 0, 1),
            ],
            Self::V2_4 => &[
                (OffsetCommit, 0, 8),
                (OffsetFetch, 0, 6),
                (FindCoordinator, 0, 3),
                (JoinGroup, 0, 6),
                (Heartbeat, 0, 4),
                (LeaveGroup, 0, 4),
                (DescribeGroups, 0, 5),
                (SyncGroup, 0, 4),
            ],
            Self::V2_8 => &[
                (OffsetCommit, 0, 8),
                (OffsetFetch, 0, 7),
                (FindCoordinator, 0, 3),
                (JoinGroup, 0, 7),
                (Heartbeat, 0, 4),
                (LeaveGroup, 0, 4),
                (DescribeGroups, 0, 5),
                (SyncGroup, 0, 5),
            ],
            Self::V3_2 => &[
                (OffsetCommit, 0, 8),
                (OffsetFetch, 0, 8),
                (FindCoordinator, 0, 4),
                (JoinGroup, 0, 9),
                (Heartbeat, 0, 4),
                (LeaveGroup, 0, 5),
                (DescribeGroups, 0, 5),
                (SyncGroup, 0, 5),
            ],
            Self::V3_9 => &[
                (OffsetCommit, 0, 9),
                (OffsetFetch, 0, 9),
                (FindCoordinator, 0, 6),
                (ConsumerGroupHeartbeat, 0, 0),
                (JoinGroup, 0, 9),
                (Heartbeat, 0, 4),
                (LeaveGroup, 0, 5),
                (DescribeGroups, 0, 5),
                (SyncGroup, 0, 5),
            ],
            Self::V4_4 => &[
                (OffsetCommit, 2, 9),
                (OffsetFetch, 1, 9),
                (FindCoordinator, 0, 6),
                (ConsumerGroupHeartbeat, 0, 1),
                (JoinGroup, 0, 9),
                (Heartbeat, 0, 4),
                (LeaveGroup, 0, 5),
                (DescribeGroups, 0, 6),
                (SyncGroup, 0, 5),
            ],
        }
    }

    /// Returns the ranges of what transactions need, which real brokers always list and simulated
    /// ones where they have transactions. Those of FindCoordinator are as with groups, and
    /// TxnOffsetCommit ends with the codec of this simulation, at 5.
    #[must_use]
    pub fn transaction_ranges(self) -> &'static [(ApiKey, i16, i16)] {
        match self {
            Self::V1_1 => &[
                (FindCoordinator, 0, 1),
                (AddPartitionsToTxn, 0, 0),
                (AddOffsetsToTxn, 0, 0),
                (EndTxn, 0, 0),
                (TxnOffsetCommit, 0, 0),
            ],
            Self::V2_4 => &[
                (FindCoordinator, 0, 3),
                (AddPartitionsToTxn, 0, 1),
                (AddOffsetsToTxn, 0, 1),
                (EndTxn, 0, 1),
                (TxnOffsetCommit, 0, 2),
            ],
            Self::V2_8 | Self::V3_2 => &[
                (FindCoordinator, 0, 3),
                (AddPartitionsToTxn, 0, 3),
                (AddOffsetsToTxn, 0, 3),
                (EndTxn, 0, 3),
                (TxnOffsetCommit, 0, 3),
            ],
            Self::V3_9 => &[
                (FindCoordinator, 0, 6),
                (AddPartitionsToTxn, 0, 5),
                (AddOffsetsToTxn, 0, 4),
                (EndTxn, 0, 4),
                (TxnOffsetCommit, 0, 4),
            ],
            Self::V4_4 => &[
                (FindCoordinator, 0, 6),
                (AddPartitionsToTxn, 0, 5),
                (AddOffsetsToTxn, 0, 4),
                (EndTxn, 0, 5),
                (TxnOffsetCommit, 0, 5),
            ],
        }
    }

    /// Returns the listed range of one API.
    #[must_use]
    pub fn range(self, api: ApiKey) -> Option<(i16, i16)> {
        self.ranges().iter().find(|(key, ..)| *key == api).map(|(_, min, max)| (*min, *max))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_1 => "1.1",
            Self::V2_4 => "2.4",
            Self::V2_8 => "2.8",
            Self::V3_2 => "3.2",
            Self::V3_9 => "3.9",
            Self::V4_4 => "4.4",
        })
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|profile| profile.to_string() == name);
        found.ok_or_else(|| format!("no broker profile {name:?}; there are 1.1 to 4.4"))
    }
}

use ApiKey::{
    AddOffsetsToTxn, AddPartitionsToTxn, ApiVersions, ConsumerGroupHeartbeat, CreatePartitions,
    CreateTopics, DeleteTopics, DescribeGroups, DescribeTopicPartitions, EndTxn, Fetch,
    FindCoordinator, Heartbeat, InitProducerId, JoinGroup, LeaveGroup, ListOffsets, Metadata,
    OffsetCommit, OffsetFetch, OffsetForLeaderEpoch, Produce, SyncGroup, TxnOffsetCommit,
};

const V1_1: [(ApiKey, i16, i16); 9] = [
    (Produce, 0, 5),
    (Fetch, 0, 7),
    (ListOffsets, 0, 2),
    (Metadata, 0, 5),
    (ApiVersions, 0, 1),
    (CreateTopics, 0, 2),
    (DeleteTopics, 0, 1),
    (InitProducerId, 0, 0),
    (CreatePartitions, 0, 0),
];

const V2_4: [(ApiKey, i16, i16); 10] = [
    (Produce, 0, 8),
    (Fetch, 0, 11),
    (ListOffsets, 0, 5),
    (Metadata, 0, 9),
    (ApiVersions, 0, 3),
    (CreateTopics, 0, 5),
    (DeleteTopics, 0, 4),
    (InitProducerId, 0, 2),
    (OffsetForLeaderEpoch, 0, 3),
    (CreatePartitions, 0, 1),
];

const V2_8: [(ApiKey, i16, i16); 10] = [
    (Produce, 0, 9),
    (Fetch, 0, 12),
    (ListOffsets, 0, 6),
    (Metadata, 0, 11),
    (ApiVersions, 0, 3),
    (CreateTopics, 0, 7),
    (DeleteTopics, 0, 6),
    (InitProducerId, 0, 4),
    (OffsetForLeaderEpoch, 0, 4),
    (CreatePartitions, 0, 3),
];

const V3_2: [(ApiKey, i16, i16); 10] = [
    (Produce, 0, 9),
    (Fetch, 0, 13),
    (ListOffsets, 0, 7),
    (Metadata, 0, 12),
    (ApiVersions, 0, 3),
    (CreateTopics, 0, 7),
    (DeleteTopics, 0, 6),
    (InitProducerId, 0, 4),
    (OffsetForLeaderEpoch, 0, 4),
    (CreatePartitions, 0, 3),
];

const V3_9: [(ApiKey, i16, i16); 11] = [
    (Produce, 0, 11),
    (Fetch, 0, 17),
    (ListOffsets, 0, 9),
    (Metadata, 0, 12),
    (ApiVersions, 0, 4),
    (CreateTopics, 0, 7),
    (DeleteTopics, 0, 6),
    (InitProducerId, 0, 5),
    (OffsetForLeaderEpoch, 0, 4),
    (CreatePartitions, 0, 3),
    (DescribeTopicPartitions, 0, 0),
];

const V4_4: [(ApiKey, i16, i16); 11] = [
    (Produce, 0, 13),
    (Fetch, 4, 18),
    (ListOffsets, 1, 10),
    (Metadata, 0, 13),
    (ApiVersions, 0, 5),
    (CreateTopics, 2, 7),
    (DeleteTopics, 1, 6),
    (InitProducerId, 0, 5),
    (OffsetForLeaderEpoch, 2, 4),
    (CreatePartitions, 0, 3),
    (DescribeTopicPartitions, 0, 0),
];
