//! One row for each kind of request that we send: everything that has to be known of it outside its
//! `wire` file and its owner. A new API needs a row here.

#[cfg(feature = "group")]
use crate::wire::consumer_group_heartbeat;
#[cfg(any(feature = "coverage", feature = "group-admin"))]
use crate::wire::describe_groups;
#[cfg(any(feature = "group", feature = "group-admin", feature = "transactions"))]
use crate::wire::find_coordinator;
use crate::wire::table::Schema;
use crate::wire::{
    ApiKey, Decode, api_versions, create_partitions, create_topics, delete_topics,
    describe_topic_partitions, fetch, init_producer_id, list_offsets, metadata,
    offset_for_leader_epoch, produce,
};
#[cfg(feature = "transactions")]
use crate::wire::{add_offsets_to_txn, add_partitions_to_txn, end_txn, txn_offset_commit};
#[cfg(feature = "group-admin")]
use crate::wire::{consumer_group_describe, delete_groups, list_groups, offset_delete};
#[cfg(feature = "classic")]
use crate::wire::{heartbeat, join_group, leave_group, sync_group};
#[cfg(any(feature = "group", feature = "group-admin"))]
use crate::wire::{offset_commit, offset_fetch};
#[cfg(feature = "sasl")]
use crate::wire::{sasl_authenticate, sasl_handshake};

/// The part of a client that sends a request, and that gets the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The connection itself, before it is ready.
    Handshake,
    Cluster,
    Producer,
    Consumer,
    #[cfg(feature = "group")]
    Group,
    #[cfg(feature = "transactions")]
    Transaction,
    Admin,
}

/// What has to be known of a kind of request.
pub(crate) struct Row {
    pub(crate) api: ApiKey,
    pub(crate) owner: Owner,
    /// The versions that we speak.
    pub(crate) versions: (i16, i16),
    /// The layout of its response.
    pub(crate) schema: &'static Schema,
    /// From this version on a broker responds to a throttled request at once and the client has to
    /// wait afterwards (KIP-219); before, the broker waits itself.
    pub(crate) throttles: i16,
    /// Place of ThrottleTimeMs among the fields of the response.
    pub(crate) throttle_field: u8,
    /// A broker may hold it, and everything after it.
    pub(crate) waits: bool,
}

/// No version of it needs handling of throttling.
const NEVER: i16 = i16::MAX;

macro_rules! rows {
    ($(
        $(#[doc = $doc:literal])*
        $(#[cfg($build:meta)])?
        $kind:ident: $api:ident, $wire:ident, $owner:ident,
            $throttles:expr, $field:literal, $waits:literal;
    )*) => {
        /// A kind of request: an API, and the owner's purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Kind {
            $($(#[doc = $doc])* $(#[cfg($build)])? $kind,)*
        }

        /// In the order of [`Kind`].
        pub(crate) static ROWS: [Row; Kind::COUNT] = [
            $($(#[cfg($build)])? Row {
                api: ApiKey::$api,
                owner: Owner::$owner,
                versions: $wire::Response::VERSIONS,
                schema: &$wire::SCHEMA,
                throttles: $throttles,
                throttle_field: $field,
                waits: $waits,
            },)*
        ];

        impl Kind {
            pub(crate) const COUNT: usize = [$($(#[cfg($build)])? stringify!($kind),)*].len();
        }
    };
}

rows! {
    // Kind: API, module of `wire`, owner, throttles since, in which field, may wait.
    Versions: API_VERSIONS, api_versions, Handshake, NEVER, 0, false;
    Metadata: METADATA, metadata, Cluster, 6, 0, false;
    /// The cluster id, before a connection is ready.
    #[cfg(feature = "one-cluster")]
    Confirm: METADATA, metadata, Handshake, 6, 0, false;
    /// Names the mechanism.
    #[cfg(feature = "sasl")]
    Mechanism: SASL_HANDSHAKE, sasl_handshake, Handshake, NEVER, 0, false;
    /// A message of the mechanism.
    #[cfg(feature = "sasl")]
    Authenticate: SASL_AUTHENTICATE, sasl_authenticate, Handshake, NEVER, 0, false;
    /// The growth probe of one topic. Tag: topic slot and generation, and a stamp of its count.
    #[cfg(feature = "describe")]
    Describe: DESCRIBE_TOPIC_PARTITIONS, describe_topic_partitions, Cluster, 1, 0, false;
    /// The growth probe of several topics.
    Probe: LIST_OFFSETS, list_offsets, Cluster, 3, 0, false;
    /// For positions.
    #[cfg(feature = "consumer")]
    Offsets: LIST_OFFSETS, list_offsets, Consumer, 3, 0, false;
    /// Where partitions end that those of a growth wait for.
    #[cfg(feature = "ordered-growth")]
    Ends: LIST_OFFSETS, list_offsets, Consumer, 3, 0, false;
    #[cfg(feature = "consumer")]
    Fetch: FETCH, fetch, Consumer, 8, 0, true;
    #[cfg(all(feature = "consumer", feature = "epochs"))]
    Epochs: OFFSET_FOR_LEADER_EPOCH, offset_for_leader_epoch, Consumer, NEVER, 0, false;
    // Tag of these: serial of the membership, and what the request is about.
    #[cfg(feature = "group")]
    Coordinator: FIND_COORDINATOR, find_coordinator, Group, 2, 0, false;
    #[cfg(feature = "group")]
    Heartbeat: CONSUMER_GROUP_HEARTBEAT, consumer_group_heartbeat, Group, 0, 0, false;
    /// Parked until the round is complete: the longest of all requests.
    #[cfg(feature = "classic")]
    Join: JOIN_GROUP, join_group, Group, 3, 0, true;
    /// Parked until the leader has assigned.
    #[cfg(feature = "classic")]
    Sync: SYNC_GROUP, sync_group, Group, 2, 0, true;
    #[cfg(feature = "classic")]
    Beat: HEARTBEAT, heartbeat, Group, 2, 0, false;
    #[cfg(feature = "classic")]
    Leave: LEAVE_GROUP, leave_group, Group, 2, 0, false;
    /// Partitions of the topics that the members of a group subscribe to, for its leader.
    #[cfg(feature = "classic")]
    Counts: METADATA, metadata, Group, 6, 0, false;
    /// Names of the topics of an assignment.
    #[cfg(feature = "pattern")]
    Names: METADATA, metadata, Group, 6, 0, false;
    /// What the members of a group have.
    #[cfg(feature = "coverage")]
    Cover: DESCRIBE_GROUPS, describe_groups, Group, 2, 0, false;
    #[cfg(feature = "group")]
    Commit: OFFSET_COMMIT, offset_commit, Group, 4, 0, false;
    #[cfg(feature = "group")]
    Committed: OFFSET_FETCH, offset_fetch, Group, 4, 0, false;
    #[cfg(feature = "producer")]
    InitProducerId: INIT_PRODUCER_ID, init_producer_id, Producer, 1, 0, false;
    /// Tag: how many batches were sent with it.
    #[cfg(feature = "producer")]
    Produce: PRODUCE, produce, Producer, 6, 1, false;
    // Tag of these: serial of the request, and for which coordinator it is.
    #[cfg(feature = "transactions")]
    TxnCoordinator: FIND_COORDINATOR, find_coordinator, Transaction, 2, 0, false;
    /// The id and epoch that belong to a transactional id.
    #[cfg(feature = "transactions")]
    TxnInit: INIT_PRODUCER_ID, init_producer_id, Transaction, 1, 0, false;
    #[cfg(feature = "transactions")]
    AddPartitions: ADD_PARTITIONS_TO_TXN, add_partitions_to_txn, Transaction, 1, 0, false;
    #[cfg(feature = "transactions")]
    AddOffsets: ADD_OFFSETS_TO_TXN, add_offsets_to_txn, Transaction, 1, 0, false;
    #[cfg(feature = "transactions")]
    TxnOffsets: TXN_OFFSET_COMMIT, txn_offset_commit, Transaction, 1, 0, false;
    #[cfg(feature = "transactions")]
    EndTxn: END_TXN, end_txn, Transaction, 1, 0, false;
    // Tag of all of these: slot and serial of the request.
    #[cfg(feature = "admin")]
    Create: CREATE_TOPICS, create_topics, Admin, NEVER, 0, false;
    #[cfg(feature = "admin")]
    Grow: CREATE_PARTITIONS, create_partitions, Admin, NEVER, 0, false;
    #[cfg(feature = "admin")]
    Delete: DELETE_TOPICS, delete_topics, Admin, NEVER, 0, false;
    #[cfg(feature = "admin")]
    List: METADATA, metadata, Admin, NEVER, 0, false;
    #[cfg(feature = "group-admin")]
    GroupCoordinator: FIND_COORDINATOR, find_coordinator, Admin, 2, 0, false;
    #[cfg(feature = "group-admin")]
    ListGroups: LIST_GROUPS, list_groups, Admin, 2, 0, false;
    /// A group under KIP-848.
    #[cfg(feature = "group-admin")]
    DescribeConsumer: CONSUMER_GROUP_DESCRIBE, consumer_group_describe, Admin, 0, 0, false;
    /// A classic group.
    #[cfg(feature = "group-admin")]
    DescribeClassic: DESCRIBE_GROUPS, describe_groups, Admin, 2, 0, false;
    #[cfg(feature = "group-admin")]
    DeleteGroup: DELETE_GROUPS, delete_groups, Admin, 1, 0, false;
    #[cfg(feature = "group-admin")]
    GroupOffsets: OFFSET_FETCH, offset_fetch, Admin, 4, 0, false;
    #[cfg(feature = "group-admin")]
    SetOffsets: OFFSET_COMMIT, offset_commit, Admin, 4, 0, false;
    #[cfg(feature = "group-admin")]
    DeleteOffsets: OFFSET_DELETE, offset_delete, Admin, NEVER, 0, false;
}

/// The versions of an API that we speak.
pub(crate) fn spoken(api: ApiKey) -> Option<(i16, i16)> {
    ROWS.iter().find(|row| row.api == api).map(|row| row.versions)
}

impl Kind {
    pub(crate) fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    pub(crate) fn api(self) -> ApiKey {
        self.row().api
    }

    /// Whether a version has compact lengths and tagged fields (KIP-482).
    pub(crate) fn is_flexible(self, version: i16) -> bool {
        version >= i16::from(self.row().schema.flexible)
    }

    /// Present in builds that have it: others link nothing that only it needs.
    #[cfg(feature = "describe")]
    pub(crate) const DESCRIBE: Option<Self> = Some(Self::Describe);
    #[cfg(not(feature = "describe"))]
    pub(crate) const DESCRIBE: Option<Self> = None;

    #[cfg(feature = "one-cluster")]
    pub(crate) const CONFIRM: Option<Self> = Some(Self::Confirm);
    #[cfg(not(feature = "one-cluster"))]
    pub(crate) const CONFIRM: Option<Self> = None;

    #[cfg(all(feature = "consumer", feature = "epochs"))]
    pub(crate) const EPOCHS: Option<Self> = Some(Self::Epochs);
    #[cfg(all(feature = "consumer", not(feature = "epochs")))]
    pub(crate) const EPOCHS: Option<Self> = None;

    /// Whether a broker may hold it for as long as the members of a group take: nothing may be sent
    /// behind it, and its silence says nothing.
    #[cfg(feature = "classic")]
    pub(crate) fn is_round(self) -> bool {
        matches!(self, Self::Join | Self::Sync)
    }
    #[cfg(not(feature = "classic"))]
    pub(crate) const fn is_round(self) -> bool {
        false
    }

    /// Whether it requests the cluster id before a connection is ready.
    pub(crate) fn confirms(self) -> bool {
        Some(self) == Self::CONFIRM
    }

    /// Whether it is only sent to notice growth.
    pub(crate) fn is_probe(self) -> bool {
        self == Self::Probe || Some(self) == Self::DESCRIBE
    }
}
