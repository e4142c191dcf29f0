//! Producing, and responses to Produce requests.

use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;
use kavka_core::{ProduceError, Record, RecordId, TopicId};

use super::{Requested, Script};
use crate::sim::batch::{self, Header};

/// A batch in a Produce request.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Topic name.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Its header; the checksum was verified.
    pub header: Header,
    /// Values of its records, as text.
    pub values: Vec<String>,
}

impl Sent {
    /// Returns producer epoch, base sequence (relative to the first one of the epoch) and number of
    /// records.
    #[must_use]
    pub const fn place(&self) -> (i16, i32, i32) {
        let Header { producer_epoch, base_sequence, count, .. } = self.header;
        #[cfg(kavka_rare)]
        let base_sequence = match producer_epoch {
            0 => base_sequence.wrapping_sub(kavka_core::rare::FIRST_SEQUENCE) & i32::MAX,
            _ => base_sequence,
        };
        (producer_epoch, base_sequence, count)
    }
}

impl Script {
    /// Gives the client a record with a value and no key, for a partition.
    ///
    /// # Panics
    /// When it is not accepted.
    pub fn produce(&mut self, topic: TopicId, partition: u32, value: &str) -> RecordId {
        self.try_produce(topic, partition, value).expect("the record is taken")
    }

    /// Tries to give the client a record.
    ///
    /// # Errors
    /// As [`kavka_core::Commands::produce`].
    pub fn try_produce(
        &mut self,
        topic: TopicId,
        partition: u32,
        value: &str,
    ) -> Result<RecordId, ProduceError> {
        let now = self.now();
        self.client.produce(now, (topic, partition), &Record::new(value.as_bytes()))
    }

    /// Returns the batches of a Produce request, in its order.
    ///
    /// # Panics
    /// When a batch is not one that a broker would accept.
    #[must_use]
    pub fn batches(&self, requested: &Requested<ProduceRequest>) -> Vec<Sent> {
        let mut out = Vec::new();
        for topic in &requested.body.topic_data {
            let name = self.world.name(&topic.name, topic.topic_id);
            for partition in &topic.partition_data {
                let bytes = partition.records.clone().unwrap_or_default();
                let header = batch::check(&bytes, requested.version, usize::MAX)
                    .unwrap_or_else(|e| self.fail(&format!("a broker refuses the batch: {e:?}")));
                let values = batch::records(&bytes)
                    .unwrap_or_else(|| self.fail("records that cannot be read"))
                    .into_iter()
                    .map(|r| String::from_utf8_lossy(&r.value.unwrap_or_default()).into_owned());
                out.push(Sent {
                    topic: name.clone(),
                    partition: partition.index,
                    header,
                    values: values.collect(),
                });
            }
        }
        out
    }

    /// Returns a response with the same result for all partitions of a request.
    #[must_use]
    pub fn produce_response(
        requested: &Requested<ProduceRequest>,
        code: i16,
        offset: i64,
    ) -> ProduceResponse {
        let topics = requested.body.topic_data.iter().map(|topic| {
            let partitions = topic.partition_data.iter().map(|partition| {
                PartitionProduceResponse::default()
                    .with_index(partition.index)
                    .with_error_code(code)
                    .with_base_offset(if code == 0 { offset } else { -1 })
            });
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions.collect())
        });
        ProduceResponse::default().with_responses(topics.collect())
    }

    /// Acknowledges all batches of a request at this offset.
    pub fn acknowledge(&mut self, requested: &Requested<ProduceRequest>, offset: i64) {
        self.respond(requested, Self::produce_response(requested, 0, offset));
    }

    /// Fails all batches of a request with this error code.
    pub fn refuse(&mut self, requested: &Requested<ProduceRequest>, code: i16) {
        self.respond(requested, Self::produce_response(requested, code, -1));
    }

    /// Fails them, naming the new leader (KIP-951): node id and epoch.
    pub fn refuse_with_leader(
        &mut self,
        requested: &Requested<ProduceRequest>,
        code: i16,
        to: (i32, i32),
    ) {
        let mut body = Self::produce_response(requested, code, -1);
        let leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(to.0));
        for topic in &mut body.responses {
            for partition in &mut topic.partition_responses {
                partition.current_leader = leader.clone().with_leader_epoch(to.1);
            }
        }
        let node = self.world.node(to.0);
        body.node_endpoints = vec![
            NodeEndpoint::default()
                .with_node_id(BrokerId(to.0))
                .with_host(StrBytes::from_string(node.host.clone()))
                .with_port(i32::from(node.port)),
        ];
        self.respond(requested, body);
    }
}
