//! API keys, and from which version each API's messages are flexible (KIP-482).

use core::fmt;

/// A request type as in the request header, an `i16`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ApiKey(pub i16);

/// "Never flexible" in the table below.
const NEVER: i8 = i8::MAX;

macro_rules! keys {
    ($($key:literal $name:ident $flexible:expr,)*) => {
        impl ApiKey {
            $(
                #[doc = concat!("Key ", stringify!($key), ".")]
                pub const $name: Self = Self($key);
            )*

            /// Returns Kafka's name in capitals; `"UNKNOWN"` for a key that has none here.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($key => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }

            /// Returns the first version with compact lengths and tagged fields (`flexibleVersions`
            /// in Kafka's schemas); `i16::MAX` when there is none or the key is unknown.
            #[must_use]
            pub const fn first_flexible(self) -> i16 {
                let first: i8 = match self.0 {
                    $($key => $flexible,)*
                    _ => NEVER,
                };
                if first == NEVER { i16::MAX } else { first as i16 }
            }
        }
    };
}

keys! {
    0 PRODUCE 9,
    1 FETCH 12,
    2 LIST_OFFSETS 6,
    3 METADATA 9,
    8 OFFSET_COMMIT 8,
    9 OFFSET_FETCH 6,
    10 FIND_COORDINATOR 3,
    11 JOIN_GROUP 6,
    12 HEARTBEAT 4,
    13 LEAVE_GROUP 4,
    14 SYNC_GROUP 4,
    15 DESCRIBE_GROUPS 5,
    16 LIST_GROUPS 3,
    17 SASL_HANDSHAKE NEVER,
    18 API_VERSIONS 3,
    19 CREATE_TOPICS 5,
    20 DELETE_TOPICS 4,
    21 DELETE_RECORDS 2,
    22 INIT_PRODUCER_ID 2,
    23 OFFSET_FOR_LEADER_EPOCH 4,
    24 ADD_PARTITIONS_TO_TXN 3,
    25 ADD_OFFSETS_TO_TXN 3,
    26 END_TXN 3,
    27 WRITE_TXN_MARKERS 1,
    28 TXN_OFFSET_COMMIT 3,
    29 DESCRIBE_ACLS 2,
    30 CREATE_ACLS 2,
    31 DELETE_ACLS 2,
    32 DESCRIBE_CONFIGS 4,
    33 ALTER_CONFIGS 2,
    34 ALTER_REPLICA_LOG_DIRS 2,
    35 DESCRIBE_LOG_DIRS 2,
    36 SASL_AUTHENTICATE 2,
    37 CREATE_PARTITIONS 2,
    38 CREATE_DELEGATION_TOKEN 2,
    39 RENEW_DELEGATION_TOKEN 2,
    40 EXPIRE_DELEGATION_TOKEN 2,
    41 DESCRIBE_DELEGATION_TOKEN 2,
    42 DELETE_GROUPS 2,
    43 ELECT_LEADERS 2,
    44 INCREMENTAL_ALTER_CONFIGS 1,
    45 ALTER_PARTITION_REASSIGNMENTS 0,
    46 LIST_PARTITION_REASSIGNMENTS 0,
    47 OFFSET_DELETE NEVER,
    48 DESCRIBE_CLIENT_QUOTAS 1,
    49 ALTER_CLIENT_QUOTAS 1,
    50 DESCRIBE_USER_SCRAM_CREDENTIALS 0,
    51 ALTER_USER_SCRAM_CREDENTIALS 0,
    55 DESCRIBE_QUORUM 0,
    57 UPDATE_FEATURES 0,
    60 DESCRIBE_CLUSTER 0,
    61 DESCRIBE_PRODUCERS 0,
    64 UNREGISTER_BROKER 0,
    65 DESCRIBE_TRANSACTIONS 0,
    66 LIST_TRANSACTIONS 0,
    68 CONSUMER_GROUP_HEARTBEAT 0,
    69 CONSUMER_GROUP_DESCRIBE 0,
    71 GET_TELEMETRY_SUBSCRIPTIONS 0,
    72 PUSH_TELEMETRY 0,
    74 LIST_CONFIG_RESOURCES 0,
    75 DESCRIBE_TOPIC_PARTITIONS 0,
    76 SHARE_GROUP_HEARTBEAT 0,
    77 SHARE_GROUP_DESCRIBE 0,
    78 SHARE_FETCH 0,
    79 SHARE_ACKNOWLEDGE 0,
    80 ADD_RAFT_VOTER 0,
    81 REMOVE_RAFT_VOTER 0,
    88 STREAMS_GROUP_HEARTBEAT 0,
    89 STREAMS_GROUP_DESCRIBE 0,
    90 DESCRIBE_SHARE_GROUP_OFFSETS 0,
    91 ALTER_SHARE_GROUP_OFFSETS 0,
    92 DELETE_SHARE_GROUP_OFFSETS 0,
    93 STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE 0,
    94 UNREGISTER_CONTROLLER 0,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}
