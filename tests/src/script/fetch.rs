//! Fetch requests, and responses to them.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{Requested, Script};

/// A record batch as a broker stores it. Change its fields to make an unusual one.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Offset of the first record.
    pub base: i64,
    /// Values, at successive offsets.
    pub values: Vec<String>,
    /// Offset of the last record that ever existed, relative to the base.
    pub last_delta: i32,
    /// Number of records that the header claims.
    pub count: i32,
    /// Leader epoch.
    pub epoch: i32,
    /// Attributes: codec 1 to 4, transactional 16, control 32.
    pub attributes: i16,
    /// Producer id and epoch.
    pub producer: (i64, i16),
}

impl Batch {
    /// Returns an ordinary batch, of epoch 0.
    #[must_use]
    pub fn new(base: i64, values: &[&str]) -> Self {
        let count = i32::try_from(values.len()).unwrap_or(i32::MAX);
        let values = values.iter().map(ToString::to_string).collect();
        Self {
            base,
            values,
            last_delta: count - 1,
            count,
            epoch: 0,
            attributes: 0,
            producer: (-1, -1),
        }
    }

    /// Returns its bytes, with a correct checksum.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let mut covered = BytesMut::new();
        covered.put_i16(self.attributes);
        covered.put_i32(self.last_delta);
        covered.put_i64(1_000);
        covered.put_i64(1_000);
        covered.put_i64(self.producer.0);
        covered.put_i16(self.producer.1);
        covered.put_i32(-1);
        covered.put_i32(self.count);
        for (delta, value) in (0..).zip(&self.values) {
            let mut record = BytesMut::new();
            record.put_i8(0);
            varint(&mut record, 0);
            varint(&mut record, delta);
            varint(&mut record, -1);
            varint(&mut record, value.len() as i64);
            record.put_slice(value.as_bytes());
            varint(&mut record, 0);
            varint(&mut covered, record.len() as i64);
            covered.put_slice(&record);
        }
        let mut out = BytesMut::new();
        out.put_i64(self.base);
        out.put_i32(covered.len() as i32 + 9);
        out.put_i32(self.epoch);
        out.put_i8(2);
        out.put_u32(crc32c::crc32c(&covered));
        out.put_slice(&covered);
        out.freeze()
    }
}

fn varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// Returns a partition's part of a response: records. Without any it has no high watermark either.
#[must_use]
pub fn records(partition: i32, batches: &[Bytes]) -> PartitionData {
    PartitionData::default()
        .with_partition_index(partition)
        .with_high_watermark(if batches.is_empty() { -1 } else { 1_000_000 })
        .with_last_stable_offset(if batches.is_empty() { -1 } else { 1_000_000 })
        .with_records(Some(batches.concat().into()))
}

/// Returns a partition's part of a response with these transactions as aborted: producer id, first
/// offset.
#[must_use]
pub fn aborted(part: PartitionData, list: &[(i64, i64)]) -> PartitionData {
    let aborted = |(producer_id, first_offset): &(i64, i64)| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(*producer_id))
            .with_first_offset(*first_offset)
    };
    part.with_aborted_transactions(Some(list.iter().map(aborted).collect()))
}

/// Returns a partition's part of a response: an error code.
#[must_use]
pub fn refused(partition: i32, code: i16) -> PartitionData {
    records(partition, &[]).with_error_code(code)
}

/// Returns an error code with the leader and its epoch (KIP-951).
#[must_use]
pub fn led(partition: i32, code: i16, leader: i32, epoch: i32) -> PartitionData {
    refused(partition, code).with_current_leader(
        LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader)).with_leader_epoch(epoch),
    )
}

/// Returns a partition's part of a response: the log ends before the position (KIP-595).
#[must_use]
pub fn diverging(partition: i32, epoch: i32, end_offset: i64) -> PartitionData {
    records(partition, &[]).with_diverging_epoch(
        EpochEndOffset::default().with_epoch(epoch).with_end_offset(end_offset),
    )
}

/// Adds the partitions of a request that a response does not name.
fn complete(body: &mut FetchResponse, requested: &FetchRequest) {
    for topic in &requested.topics {
        let (name, id) = (&topic.topic, topic.topic_id);
        let same = |t: &FetchableTopicResponse| match id.is_nil() {
            true => t.topic == *name,
            false => t.topic_id == id,
        };
        let at = body.responses.iter().position(same).unwrap_or_else(|| {
            let new = FetchableTopicResponse::default().with_topic(name.clone()).with_topic_id(id);
            body.responses.push(new);
            body.responses.len() - 1
        });
        let parts = &mut body.responses[at].partitions;
        for partition in &topic.partitions {
            if parts.iter().all(|part| part.partition_index != partition.partition) {
                parts.push(records(partition.partition, &[]));
            }
        }
    }
}

impl Script {
    /// Returns topic, partition and offset of all that a Fetch request adds or changes.
    #[must_use]
    pub fn wanted(&self, requested: &Requested<FetchRequest>) -> Vec<(String, i32, i64)> {
        let topics = requested.body.topics.iter().flat_map(|topic| {
            let name = self.world.name(&topic.topic, topic.topic_id);
            topic.partitions.iter().map(move |p| (name.clone(), p.partition, p.fetch_offset))
        });
        topics.collect()
    }

    /// Returns topic and partition of all that a Fetch request removes from its session.
    #[must_use]
    pub fn forgotten(&self, requested: &Requested<FetchRequest>) -> Vec<(String, i32)> {
        let topics = requested.body.forgotten_topics_data.iter().flat_map(|topic| {
            let name = self.world.name(&topic.topic, topic.topic_id);
            topic.partitions.iter().map(move |p| (name.clone(), *p))
        });
        topics.collect()
    }

    /// Responds to a Fetch request: the session, and parts for partitions of the first topic. Those
    /// that a full request names besides have nothing new.
    pub fn give(
        &mut self,
        requested: &Requested<FetchRequest>,
        session: i32,
        parts: Vec<PartitionData>,
    ) {
        let mut body = self.fetch_response(session, parts);
        if requested.body.session_epoch <= 0 {
            complete(&mut body, &requested.body);
        }
        self.respond(requested, body);
    }

    /// Does the same, and leaves out all other partitions.
    pub fn give_only(&mut self, requested: &Requested<FetchRequest>, parts: Vec<PartitionData>) {
        let body = self.fetch_response(0, parts);
        self.respond(requested, body);
    }

    /// Returns the bytes of such a response, for [`Script::feed`].
    pub fn give_later(
        &mut self,
        requested: &Requested<FetchRequest>,
        session: i32,
        parts: Vec<PartitionData>,
    ) -> Bytes {
        let body = self.fetch_response(session, parts);
        self.encoded(requested, body)
    }

    fn fetch_response(&self, session: i32, parts: Vec<PartitionData>) -> FetchResponse {
        let topic = &self.world.topics[0];
        let reported = FetchableTopicResponse::default()
            .with_topic(TopicName(StrBytes::from_string(topic.name.clone())))
            .with_topic_id(topic.id)
            .with_partitions(parts);
        let topics = if reported.partitions.is_empty() { Vec::new() } else { vec![reported] };
        FetchResponse::default().with_session_id(session).with_responses(topics)
    }

    /// Fails a Fetch request as a whole.
    pub fn refuse_fetch(&mut self, requested: &Requested<FetchRequest>, code: i16) {
        self.respond(requested, FetchResponse::default().with_error_code(code));
    }
}
