//! Feeds responses to their decoders in pieces.

use core::fmt::Debug;

use kavka_core::wire::{self, Decode, Malformed, Step};

use crate::sasl;

/// How bytes arrive.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    seed: u64,
    piece: usize,
    buffer: usize,
}

impl Feed {
    /// All at once.
    pub(crate) fn whole() -> Self {
        Self { seed: 0, piece: usize::MAX, buffer: usize::MAX }
    }

    /// One by one.
    pub(crate) fn bytes() -> Self {
        Self { seed: 0, piece: 1, buffer: usize::MAX }
    }

    /// In pieces of 1 to `piece` bytes.
    pub(crate) fn pieces(seed: u64, piece: usize) -> Self {
        Self { seed, piece, buffer: usize::MAX }
    }

    /// Limits the buffer to this many bytes: items that need more are skipped.
    pub(crate) fn buffer(mut self, buffer: usize) -> Self {
        self.buffer = buffer;
        self
    }

    fn next(&mut self) -> usize {
        if self.seed == 0 {
            return self.piece;
        }
        // splitmix64
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % self.piece + 1
    }
}

/// The outcome of decoding a response.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Every item, formatted.
    pub items: Vec<String>,
    /// Bytes consumed.
    pub used: usize,
    /// Whether it reached its end; if not, bytes were missing.
    pub done: bool,
    /// Calls of `step`.
    pub steps: usize,
}

/// Decodes a response body of any API.
pub(crate) fn decode(
    api: &str,
    version: i16,
    bytes: &[u8],
    feed: Feed,
) -> Result<Outcome, Malformed> {
    match api {
        "ApiVersions" => run::<wire::api_versions::Response>(version, bytes, feed),
        "Metadata" => run::<wire::metadata::Response>(version, bytes, feed),
        "Produce" => run::<wire::produce::Response>(version, bytes, feed),
        "Fetch" => run::<wire::fetch::Response>(version, bytes, feed),
        "ListOffsets" => run::<wire::list_offsets::Response>(version, bytes, feed),
        "OffsetForLeaderEpoch" => {
            run::<wire::offset_for_leader_epoch::Response>(version, bytes, feed)
        }
        "DescribeTopicPartitions" => {
            run::<wire::describe_topic_partitions::Response>(version, bytes, feed)
        }
        "InitProducerId" => run::<wire::init_producer_id::Response>(version, bytes, feed),
        "CreateTopics" => run::<wire::create_topics::Response>(version, bytes, feed),
        "CreatePartitions" => run::<wire::create_partitions::Response>(version, bytes, feed),
        "DeleteTopics" => run::<wire::delete_topics::Response>(version, bytes, feed),
        "ListGroups" => run::<wire::list_groups::Response>(version, bytes, feed),
        "DescribeGroups" => run::<wire::describe_groups::Response>(version, bytes, feed),
        "ConsumerGroupDescribe" => {
            run::<wire::consumer_group_describe::Response>(version, bytes, feed)
        }
        "DeleteGroups" => run::<wire::delete_groups::Response>(version, bytes, feed),
        "OffsetDelete" => run::<wire::offset_delete::Response>(version, bytes, feed),
        "SaslHandshake" => run::<wire::sasl_handshake::Response>(version, bytes, feed),
        "SaslAuthenticate" => {
            let text = |item: wire::sasl_authenticate::Item<'_>| sasl::debug(&item);
            run_as::<wire::sasl_authenticate::Response>(version, bytes, feed, text)
        }
        "FindCoordinator" => run::<wire::find_coordinator::Response>(version, bytes, feed),
        "ConsumerGroupHeartbeat" => {
            run::<wire::consumer_group_heartbeat::Response>(version, bytes, feed)
        }
        "OffsetCommit" => run::<wire::offset_commit::Response>(version, bytes, feed),
        "OffsetFetch" => run::<wire::offset_fetch::Response>(version, bytes, feed),
        "AddPartitionsToTxn" => run::<wire::add_partitions_to_txn::Response>(version, bytes, feed),
        "AddOffsetsToTxn" => run::<wire::add_offsets_to_txn::Response>(version, bytes, feed),
        "TxnOffsetCommit" => run::<wire::txn_offset_commit::Response>(version, bytes, feed),
        "EndTxn" => run::<wire::end_txn::Response>(version, bytes, feed),
        "JoinGroup" => run::<wire::join_group::Response>(version, bytes, feed),
        "SyncGroup" => run::<wire::sync_group::Response>(version, bytes, feed),
        "Heartbeat" => run::<wire::heartbeat::Response>(version, bytes, feed),
        "LeaveGroup" => run::<wire::leave_group::Response>(version, bytes, feed),
        api => panic!("{api} is not of this test"),
    }
}

fn run<D: Decode>(version: i16, bytes: &[u8], feed: Feed) -> Result<Outcome, Malformed>
where
    for<'b> D::Item<'b>: Debug,
{
    run_as::<D>(version, bytes, feed, |item| format!("{item:?}"))
}

fn run_as<D: Decode>(
    version: i16,
    bytes: &[u8],
    mut feed: Feed,
    text: impl Fn(D::Item<'_>) -> String,
) -> Result<Outcome, Malformed> {
    let mut response = D::new(version).expect("a version that is spoken");
    let mut outcome = Outcome::default();
    let (mut start, mut end) = (0, 0);
    loop {
        outcome.steps += 1;
        assert!(outcome.steps <= 8 * bytes.len() + 16, "steps that get nowhere");
        let mut input = &bytes[start..end];
        let step = response.step(&mut input)?;
        start = end - input.len();
        outcome.used = start;
        match step {
            Step::Item(item) => outcome.items.push(text(item)),
            Step::Done => {
                outcome.done = true;
                return Ok(outcome);
            }
            Step::More { needed } => {
                assert!(needed > end - start, "{needed} bytes needed, {} there", end - start);
                if needed > feed.buffer {
                    response.skip();
                    continue;
                }
                if end == bytes.len() {
                    return Ok(outcome);
                }
                let piece = feed.next().min(feed.buffer - (end - start)).max(1);
                end = bytes.len().min(end.saturating_add(piece));
            }
        }
    }
}
