//! A broker whose responses the input shapes: built by the `kafka-protocol` crate for each request,
//! with wrong values in them if the input says so, and with broken bytes.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsResponse, CreateTopicsResponse, DeleteTopicsResponse, FetchRequest,
    FetchResponse, MetadataResponse, ProduceResponse, ProducerId, RequestKind, ResponseKind,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use kavka_core::ConnId;
use kavka_tests::script::fetch::Batch;
use kavka_tests::script::{Requested, World};
use kavka_tests::sim::Profile;
use kavka_tests::sim::frame::{Request, Response};

use crate::input::Input;

/// Error codes that a client treats specially.
const CODES: [i16; 24] =
    [0, 0, 0, 0, 1, 2, 3, 5, 6, 7, 9, 10, 14, 45, 47, 54, 59, 70, 71, 74, 75, 76, 100, 41];

/// What all brokers know, and how they get requests.
pub(crate) struct Peer {
    pub(crate) world: World,
}

/// The broker's end of one connection.
pub(crate) struct Line {
    pub(crate) conn: ConnId,
    /// Node id of the broker, -1 for none.
    pub(crate) node: i32,
    from_client: BytesMut,
    /// Bytes were reported as sent that never arrived: what follows has no meaning.
    pub(crate) torn: bool,
    /// Requests without a response yet.
    pub(crate) requested: Vec<Requested<RequestKind>>,
    /// Bytes that the client has not taken yet.
    pub(crate) to_client: BytesMut,
}

impl Line {
    pub(crate) fn new(conn: ConnId, node: i32) -> Self {
        let (from_client, to_client) = Default::default();
        Self { conn, node, from_client, torn: false, requested: Vec::new(), to_client }
    }

    /// Handles bytes of the client.
    ///
    /// # Panics
    /// When they are no request that a broker can read.
    pub(crate) fn sent(&mut self, now: kavka_core::Instant, bytes: &[u8]) {
        if self.torn {
            return;
        }
        self.from_client.extend_from_slice(bytes);
        while let Some(length) = self.from_client.first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            assert!(length < 1 << 24, "a request of {length} bytes");
            if self.from_client.len() < 4 + length {
                return;
            }
            self.from_client.advance(4);
            let frame: Bytes = self.from_client.split_to(length).freeze();
            if is_beyond_the_codec(&frame) {
                continue;
            }
            let request = Request::decode(frame);
            let request = request.unwrap_or_else(|e| panic!("a request that no broker reads: {e}"));
            let Request { api, version, correlation, body, .. } = request;
            if !matches!(&body, RequestKind::Produce(body) if body.acks == 0) {
                let (conn, node, at) = (self.conn, self.node, now);
                self.requested.push(Requested { conn, node, api, version, correlation, at, body });
            }
        }
    }
}

/// Returns whether this is ListOffsets 11, which a peer may claim: we support it, the other codec
/// does not.
fn is_beyond_the_codec(frame: &[u8]) -> bool {
    frame.starts_with(&[0, 2, 0, 11])
}

impl Peer {
    /// Creates two brokers and two topics, of a release that the input chooses.
    pub(crate) fn new(input: &mut Input<'_>) -> Self {
        let profile = input.pick(&Profile::ALL);
        let world = World::new(2).release(profile).topic("t", 2).topic("u", 1);
        Self { world }
    }

    /// Returns the broker that listens at an address.
    pub(crate) fn node(&self, address: Option<(&str, u16)>) -> i32 {
        let here = |(host, port): (&str, u16)| {
            self.world.nodes.iter().find(|node| node.host == host && node.port == port)
        };
        address.and_then(here).map_or(-1, |node| node.id)
    }

    /// Changes something in the cluster.
    pub(crate) fn change(&mut self, input: &mut Input<'_>) {
        let topic = input.pick(&["t", "u"]);
        let index = input.below(2).min(self.world.topic_mut(topic).partitions.len() - 1);
        let partition = self.world.partition(topic, index);
        match input.below(10) {
            0 => partition.leader = input.pick(&[1, 2, -1, 3]),
            1 => partition.epoch = partition.epoch.saturating_add(1),
            2 => partition.epoch = input.number() as i32,
            3 => partition.start = input.number(),
            4 => partition.end = input.number(),
            5 => partition.error = input.pick(&CODES),
            6 => self.world.topic_mut(topic).error = input.pick(&CODES),
            7 => {
                let more = self.world.topic_mut(topic).partitions.len() + 1 + input.below(3);
                self.world.grow(topic, more.min(40));
            }
            8 => {
                let id = uuid::Uuid::from_u128(0x2000 + u128::from(input.byte()));
                let topic = self.world.topic_mut(topic);
                if !topic.id.is_nil() {
                    topic.id = id;
                }
                topic.partitions.truncate(1);
            }
            _ => {
                let id = input.pick(&[1, 2]);
                let node = self.world.node(id);
                node.port = 9000 + u16::from(input.byte());
            }
        }
    }

    /// Returns the response to a request, as a frame: right, wrong or broken.
    pub(crate) fn respond(
        &self,
        requested: &Requested<RequestKind>,
        input: &mut Input<'_>,
    ) -> Vec<u8> {
        let body = self.body(requested, input);
        let version = match &body {
            ResponseKind::ApiVersions(response) if response.error_code == 35 => 0,
            ResponseKind::ApiVersions(_) => requested.version.min(4),
            _ => requested.version,
        };
        let response =
            Response { api: requested.api, version, correlation: requested.correlation, body };
        // Some values do not exist in some versions.
        let Ok(frame) = response.encode() else { return Vec::new() };
        broken(frame.to_vec(), input)
    }

    /// Returns the response of a broker that behaves well.
    pub(crate) fn right_response(&self, requested: &Requested<RequestKind>) -> Vec<u8> {
        self.respond(requested, &mut Input::new(&[]))
    }

    fn body(&self, requested: &Requested<RequestKind>, input: &mut Input<'_>) -> ResponseKind {
        // Addresses move: a broker responds there nevertheless.
        let node = if requested.node < 0 { 1 } else { requested.node };
        if let Some(mut body) = self.world.respond(&Requested { node, ..requested.clone() }) {
            if input.one_in(4) {
                distort(&mut body, input);
            }
            return body;
        }
        match &requested.body {
            RequestKind::Produce(request) => {
                let reported = input.byte();
                let topics = request.topic_data.iter().map(|topic| {
                    use kafka_protocol::messages::produce_response as p;
                    let partitions = topic.partition_data.iter().map(|partition| {
                        let error = if reported < 128 { 0 } else { input.pick(&CODES) };
                        let offset = if reported < 128 { 5 } else { input.number() };
                        p::PartitionProduceResponse::default()
                            .with_index(partition.index ^ i32::from(reported == 255))
                            .with_error_code(error)
                            .with_base_offset(offset)
                            .with_current_leader(
                                p::LeaderIdAndEpoch::default()
                                    .with_leader_id(BrokerId(if error == 6 { 2 } else { -1 }))
                                    .with_leader_epoch(if error == 6 { 3 } else { -1 }),
                            )
                    });
                    p::TopicProduceResponse::default()
                        .with_name(topic.name.clone())
                        .with_topic_id(topic.topic_id)
                        .with_partition_responses(partitions.collect())
                });
                ProduceResponse::default().with_responses(topics.collect()).into()
            }
            RequestKind::Fetch(request) => self.fetch(request, input).into(),
            RequestKind::CreateTopics(request) => {
                let topics = request.topics.iter().map(|topic| {
                    CreatableTopicResult::default()
                        .with_name(topic.name.clone())
                        .with_error_code(input.pick(&CODES))
                });
                CreateTopicsResponse::default().with_topics(topics.collect()).into()
            }
            RequestKind::CreatePartitions(request) => {
                let results = request.topics.iter().map(|topic| {
                    CreatePartitionsTopicResult::default()
                        .with_name(topic.name.clone())
                        .with_error_code(input.pick(&CODES))
                });
                CreatePartitionsResponse::default().with_results(results.collect()).into()
            }
            RequestKind::DeleteTopics(request) => {
                let named = request.topics.iter().filter_map(|topic| topic.name.clone());
                let names = named.chain(request.topic_names.iter().cloned());
                let results = names.map(|name| {
                    DeletableTopicResult::default()
                        .with_name(Some(name))
                        .with_error_code(input.pick(&CODES))
                });
                DeleteTopicsResponse::default().with_responses(results.collect()).into()
            }
            RequestKind::OffsetForLeaderEpoch(request) => epochs(request, input).into(),
            other => panic!("a request of another kind: {other:?}"),
        }
    }

    fn fetch(&self, request: &FetchRequest, input: &mut Input<'_>) -> FetchResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|requested| {
                let part = PartitionData::default()
                    .with_partition_index(requested.partition)
                    .with_high_watermark(1_000_000)
                    .with_last_stable_offset(1_000_000);
                let part = fetched(part, requested.fetch_offset, input);
                match request.isolation_level {
                    0 => part,
                    _ => decided(part, requested.fetch_offset, input),
                }
            });
            FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions.collect())
        });
        let response = FetchResponse::default().with_responses(topics.collect());
        match input.below(8) {
            7 => {
                response.with_error_code(input.pick(&CODES)).with_session_id(input.number() as i32)
            }
            _ => response.with_session_id(if request.session_epoch >= 0 { 77 } else { 0 }),
        }
    }
}

/// Names aborted transactions, and makes the first batch part of one, or a marker.
fn decided(part: PartitionData, offset: i64, input: &mut Input<'_>) -> PartitionData {
    let list = (0..input.below(48)).map(|_| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(input.below(3) as i64))
            .with_first_offset(offset.wrapping_add(input.pick(&[-1, 0, 1, 2, 3, i64::MAX])))
    });
    let mut part = part.with_aborted_transactions(Some(list.collect()));
    part.last_stable_offset = input.pick(&[1_000_000, 1_000_000, offset, -1]);
    let mut bytes = part.records.take().unwrap_or_default().to_vec();
    if bytes.len() > 61 {
        let size = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
        bytes[22] |= input.pick(&[0, 0x10, 0x10, 0x30]);
        bytes[50] = input.below(3) as u8;
        bytes[43..50].fill(0);
        let end = bytes.len().min(size.saturating_add(12)).max(61);
        let crc = crc32c::crc32c(&bytes[21..end]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    part.with_records(Some(bytes.into()))
}

/// Returns a partition in a Fetch response.
fn fetched(part: PartitionData, offset: i64, input: &mut Input<'_>) -> PartitionData {
    match input.below(16) {
        6 => part,
        0..=5 => {
            let batches = (0..1 + input.below(3)).map(|n| batch(offset, n as i64 * 2, input));
            part.with_records(Some(Bytes::from(batches.collect::<Vec<_>>().concat())))
        }
        7 => part.with_error_code(input.pick(&CODES)),
        8 => part.with_error_code(6).with_current_leader(
            LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(input.pick(&[1, 2, 3, -1])))
                .with_leader_epoch(input.number() as i32),
        ),
        9 => part.with_diverging_epoch(
            EpochEndOffset::default()
                .with_epoch(input.number() as i32)
                .with_end_offset(input.number()),
        ),
        10 => part.with_high_watermark(input.number()).with_log_start_offset(input.number()),
        11 => part.with_records(None).with_preferred_read_replica(BrokerId(input.number() as i32)),
        12 => {
            let len = input.below(256);
            part.with_records(Some(Bytes::copy_from_slice(input.take(len))))
        }
        13 => {
            let mut bytes = batch(offset, 0, input).to_vec();
            bytes.truncate(input.below(256));
            part.with_records(Some(bytes.into()))
        }
        14 => {
            // Any byte of the header changed, under a right checksum.
            let mut bytes = batch(offset, 0, input).to_vec();
            let at = input.below(61);
            bytes[at] ^= input.byte();
            let crc = crc32c::crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            part.with_records(Some(bytes.into()))
        }
        _ => {
            let large = Batch::new(offset, &["x".repeat(16 * input.below(256)).as_str()]);
            part.with_records(Some(large.bytes()))
        }
    }
}

fn batch(offset: i64, later: i64, input: &mut Input<'_>) -> Bytes {
    let shift = input.pick(&[0, 0, 0, 0, 0, 1, 5, -1, -2, i64::MAX, i64::MIN]);
    let mut batch = Batch::new(offset.saturating_add(later).wrapping_add(shift), &["a", "bc"]);
    match input.below(12) {
        8 => batch.count = input.number() as i32,
        9 => batch.last_delta = input.number() as i32,
        10 => batch.attributes = input.pick(&[1, 2, 3, 4, 7, 8, 16, 32, 64, -1]),
        11 => batch.epoch = input.number() as i32,
        _ => {}
    }
    batch.bytes()
}

/// Sets wrong values where a broker that behaves well has right ones.
fn distort(body: &mut ResponseKind, input: &mut Input<'_>) {
    match body {
        ResponseKind::ApiVersions(response) => {
            response.error_code = input.pick(&CODES);
            let at = input.below(response.api_keys.len().max(1));
            if let Some(range) = response.api_keys.get_mut(at) {
                range.min_version = input.number() as i16;
                range.max_version = input.number() as i16;
            }
        }
        ResponseKind::Metadata(response) => distort_metadata(response, input),
        ResponseKind::ListOffsets(response) => {
            for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                partition.error_code = input.pick(&CODES);
                partition.offset = input.number();
                partition.leader_epoch = input.number() as i32;
                partition.partition_index ^= i32::from(input.one_in(8));
            }
        }
        ResponseKind::DescribeTopicPartitions(response) => {
            for topic in &mut response.topics {
                topic.error_code = input.pick(&CODES);
                for partition in &mut topic.partitions {
                    partition.error_code = input.pick(&CODES);
                    partition.partition_index = input.number() as i32;
                    partition.leader_id = BrokerId(input.pick(&[1, 2, 3, -1]));
                    partition.leader_epoch = input.number() as i32;
                }
            }
        }
        ResponseKind::InitProducerId(response) => {
            response.error_code = input.pick(&CODES);
            response.producer_id = input.number().into();
            response.producer_epoch = input.number() as i16;
        }
        _ => {}
    }
}

fn distort_metadata(response: &mut MetadataResponse, input: &mut Input<'_>) {
    for topic in &mut response.topics {
        match input.below(8) {
            0 => topic.error_code = input.pick(&CODES),
            1 => topic.name = None,
            2 => topic.topic_id = uuid::Uuid::from_u128(input.byte().into()),
            3 => topic.partitions.truncate(input.below(3)),
            4 => topic.partitions.reverse(),
            _ => {}
        }
        for partition in &mut topic.partitions {
            match input.below(8) {
                0 => partition.error_code = input.pick(&CODES),
                1 => partition.partition_index = input.number() as i32,
                2 => partition.leader_id = BrokerId(input.number() as i32),
                3 => partition.leader_epoch = input.number() as i32,
                _ => {}
            }
        }
    }
    for broker in &mut response.brokers {
        match input.below(8) {
            0 => broker.node_id = BrokerId(input.number() as i32),
            1 => broker.port = input.number() as i32,
            2 => broker.host = "h".repeat(input.below(256) * 2).into(),
            _ => {}
        }
    }
    response.error_code = if input.one_in(16) { 129 } else { 0 };
}

/// Returns a frame as it arrives from a hostile peer.
fn broken(mut frame: Vec<u8>, input: &mut Input<'_>) -> Vec<u8> {
    let at =
        |input: &mut Input<'_>, len: usize| (input.below(256) << 8 | input.below(256)) % len.max(1);
    match input.below(24) {
        16 => {
            let place = at(input, frame.len());
            frame[place] ^= input.byte();
        }
        17 => {
            // Past length and correlation id.
            let place = 8 + at(input, frame.len() - 8);
            if let Some(byte) = frame.get_mut(place) {
                *byte = input.byte();
            }
        }
        18 => {
            frame.truncate(8 + at(input, frame.len() - 8));
            set_length(&mut frame);
        }
        19 => {
            let more = input.below(64);
            frame.extend_from_slice(input.take(more));
            set_length(&mut frame);
        }
        20 => frame.truncate(at(input, frame.len())),
        21 => frame.extend_from_within(..),
        22 => frame[..4].copy_from_slice(&(input.number() as i32).to_be_bytes()),
        23 => {
            let len = input.below(256);
            frame.truncate(8);
            frame.extend_from_slice(input.take(len));
            set_length(&mut frame);
        }
        _ => {}
    }
    frame
}

fn set_length(frame: &mut [u8]) {
    let len = u32::try_from(frame.len() - 4).expect("frames are small");
    frame[..4].copy_from_slice(&len.to_be_bytes());
}

/// Returns any ends of leader epochs.
fn epochs(
    request: &OffsetForLeaderEpochRequest,
    input: &mut Input<'_>,
) -> OffsetForLeaderEpochResponse {
    use kafka_protocol::messages::offset_for_leader_epoch_response as e;
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            e::EpochEndOffset::default()
                .with_partition(partition.partition)
                .with_error_code(input.pick(&CODES))
                .with_leader_epoch(partition.leader_epoch)
                .with_end_offset(input.number())
        });
        e::OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic.clone())
            .with_partitions(partitions.collect())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}
