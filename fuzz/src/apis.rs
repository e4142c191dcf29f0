//! The APIs that kavka uses, in a list, so that a byte of the input can name one by index.

use kafka_protocol::messages::ApiKey;

/// All of them. Add new ones at the end: the corpus names them by index.
pub const APIS: [ApiKey; 11] = [
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
];

/// Calls `$act::<Answer>($args)` with the response decoder of an API of [`APIS`].
#[macro_export]
macro_rules! with_answer {
    ($api:expr, $act:ident ( $($arg:expr),* )) => {{
        use kafka_protocol::messages::ApiKey as Key;
        use kavka_core::wire;
        match $api {
            Key::ApiVersions => $act::<wire::api_versions::Answer>($($arg),*),
            Key::Metadata => $act::<wire::metadata::Answer>($($arg),*),
            Key::Produce => $act::<wire::produce::Answer>($($arg),*),
            Key::Fetch => $act::<wire::fetch::Answer>($($arg),*),
            Key::ListOffsets => $act::<wire::list_offsets::Answer>($($arg),*),
            Key::DescribeTopicPartitions => {
                $act::<wire::describe_topic_partitions::Answer>($($arg),*)
            }
            Key::InitProducerId => $act::<wire::init_producer_id::Answer>($($arg),*),
            Key::CreateTopics => $act::<wire::create_topics::Answer>($($arg),*),
            Key::CreatePartitions => $act::<wire::create_partitions::Answer>($($arg),*),
            Key::DeleteTopics => $act::<wire::delete_topics::Answer>($($arg),*),
            Key::OffsetForLeaderEpoch => {
                $act::<wire::offset_for_leader_epoch::Answer>($($arg),*)
            }
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
    with_answer!(api, of())
}
