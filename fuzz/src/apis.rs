//! The APIs that kavka uses, in a list, so that a byte of the input can name one by index.

use kafka_protocol::messages::ApiKey;

/// All of them. Add new ones at the end: the corpus names them by index.
pub const APIS: [ApiKey; 30] = [
    ApiKey::ApiVersions,
    ApiKey::Metadata,
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::DescribeTopicPartitions,
    ApiKey::InitProducerId,
    ApiKey::CreateTopics,
    ApiKey::CreatePartitions,
    ApiKey::DeleteTopics,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::FindCoordinator,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::ListGroups,
    ApiKey::DescribeGroups,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::DeleteGroups,
    ApiKey::OffsetDelete,
    ApiKey::SaslHandshake,
    ApiKey::SaslAuthenticate,
    ApiKey::JoinGroup,
    ApiKey::SyncGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::TxnOffsetCommit,
    ApiKey::EndTxn,
];

/// Those that are compared with the other codec.
pub const COMPARED: &[ApiKey] = APIS.split_at(11).0;

/// Calls `$act::<Response>($args)` with the response decoder of an API of [`APIS`].
#[macro_export]
macro_rules! with_response {
    ($api:expr, $act:ident ( $($arg:expr),* )) => {{
        use kafka_protocol::messages::ApiKey as Key;
        use kavka_core::wire;
        match $api {
            Key::ApiVersions => $act::<wire::api_versions::Response>($($arg),*),
            Key::Metadata => $act::<wire::metadata::Response>($($arg),*),
            Key::Produce => $act::<wire::produce::Response>($($arg),*),
            Key::Fetch => $act::<wire::fetch::Response>($($arg),*),
            Key::ListOffsets => $act::<wire::list_offsets::Response>($($arg),*),
            Key::DescribeTopicPartitions => {
                $act::<wire::describe_topic_partitions::Response>($($arg),*)
            }
            Key::InitProducerId => $act::<wire::init_producer_id::Response>($($arg),*),
            Key::CreateTopics => $act::<wire::create_topics::Response>($($arg),*),
            Key::CreatePartitions => $act::<wire::create_partitions::Response>($($arg),*),
            Key::DeleteTopics => $act::<wire::delete_topics::Response>($($arg),*),
            Key::OffsetForLeaderEpoch => {
                $act::<wire::offset_for_leader_epoch::Response>($($arg),*)
            }
            Key::FindCoordinator => $act::<wire::find_coordinator::Response>($($arg),*),
            Key::ConsumerGroupHeartbeat => {
                $act::<wire::consumer_group_heartbeat::Response>($($arg),*)
            }
            Key::OffsetCommit => $act::<wire::offset_commit::Response>($($arg),*),
            Key::OffsetFetch => $act::<wire::offset_fetch::Response>($($arg),*),
            Key::ListGroups => $act::<wire::list_groups::Response>($($arg),*),
            Key::DescribeGroups => $act::<wire::describe_groups::Response>($($arg),*),
            Key::ConsumerGroupDescribe => {
                $act::<wire::consumer_group_describe::Response>($($arg),*)
            }
            Key::DeleteGroups => $act::<wire::delete_groups::Response>($($arg),*),
            Key::OffsetDelete => $act::<wire::offset_delete::Response>($($arg),*),
            Key::SaslHandshake => $act::<wire::sasl_handshake::Response>($($arg),*),
            Key::SaslAuthenticate => $act::<wire::sasl_authenticate::Response>($($arg),*),
            Key::JoinGroup => $act::<wire::join_group::Response>($($arg),*),
            Key::SyncGroup => $act::<wire::sync_group::Response>($($arg),*),
            Key::Heartbeat => $act::<wire::heartbeat::Response>($($arg),*),
            Key::LeaveGroup => $act::<wire::leave_group::Response>($($arg),*),
            Key::AddPartitionsToTxn => {
                $act::<wire::add_partitions_to_txn::Response>($($arg),*)
            }
            Key::AddOffsetsToTxn => $act::<wire::add_offsets_to_txn::Response>($($arg),*),
            Key::TxnOffsetCommit => $act::<wire::txn_offset_commit::Response>($($arg),*),
            Key::EndTxn => $act::<wire::end_txn::Response>($($arg),*),
            other => panic!("{other:?} is not in APIS"),
        }
    }};
}

/// Returns the first and last version of a response that we read.
#[must_use]
pub fn versions(api: ApiKey) -> (i16, i16) {
    fn of<D: kavka_core::wire::Decode>() -> (i16, i16) {
        D::VERSIONS
    }
    with_response!(api, of())
}
