//! A blocking client over the `kafka-protocol` crate, one request at a time.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader,
    ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use kavka_tests::sim::Server;
use uuid::Uuid;

pub(crate) fn text(of: &str) -> StrBytes {
    StrBytes::from_string(of.to_owned())
}

pub(crate) fn topic(of: &str) -> TopicName {
    TopicName(text(of))
}

pub(crate) struct Client {
    stream: TcpStream,
    correlation: i32,
    /// Bytes of the last request and response, with length prefixes.
    pub(crate) last_sizes: (usize, usize),
}

impl Client {
    pub(crate) fn connect(server: &Server, broker: i32) -> Self {
        let address = server.address(broker).expect("broker id");
        let stream = TcpStream::connect(address).expect("broker listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        Self { stream, correlation: 0, last_sizes: (0, 0) }
    }

    /// Sends without waiting.
    pub(crate) fn send<R: Request>(&mut self, version: i16, body: &R) {
        self.correlation += 1;
        let mut out = BytesMut::new();
        out.put_i32(0);
        RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(text("sim-tests")))
            .encode(&mut out, R::header_version(version))
            .expect("header");
        body.encode(&mut out, version).expect("request body");
        let len = (out.len() - 4) as u32;
        out[..4].copy_from_slice(&len.to_be_bytes());
        self.last_sizes.0 = out.len();
        self.stream.write_all(&out).expect("send");
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("send");
    }

    /// Returns the next frame, without its length.
    pub(crate) fn receive_raw(&mut self) -> io::Result<Bytes> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        let mut frame = vec![0; u32::from_be_bytes(len) as usize];
        self.stream.read_exact(&mut frame)?;
        self.last_sizes.1 = frame.len() + 4;
        Ok(frame.into())
    }

    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> io::Result<R::Response> {
        let mut frame = self.receive_raw()?;
        let header_version = R::Response::header_version(version);
        let header = ResponseHeader::decode(&mut frame, header_version).expect("answer header");
        assert_eq!(header.correlation_id, self.correlation, "correlation id");
        let body = R::Response::decode(&mut frame, version).expect("answer body");
        assert!(frame.is_empty(), "{} stray bytes behind the response", frame.len());
        Ok(body)
    }

    pub(crate) fn call<R: Request>(&mut self, version: i16, body: &R) -> R::Response {
        self.send(version, body);
        self.receive::<R>(version).expect("a response")
    }

    pub(crate) fn metadata(&mut self, version: i16, names: &[&str]) -> MetadataResponse {
        let name = |n: &&str| MetadataRequestTopic::default().with_name(Some(topic(n)));
        let topics = names.iter().map(name).collect();
        let mut operation = MetadataRequest::default().with_topics(Some(topics));
        if version < 4 {
            operation.allow_auto_topic_creation = true; // its default there
        }
        self.call(version, &operation)
    }

    pub(crate) fn list(
        &mut self,
        version: i16,
        name: &str,
        wants_requests: &[(i32, i64)],
    ) -> Vec<(i32, i16, i64)> {
        let partition = |(index, timestamp): &(i32, i64)| {
            ListOffsetsPartition::default()
                .with_partition_index(*index)
                .with_timestamp(*timestamp)
                .with_current_leader_epoch(-1)
        };
        let requested = ListOffsetsTopic::default()
            .with_name(topic(name))
            .with_partitions(wants_requests.iter().map(partition).collect());
        let operation = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![requested]);
        let response: ListOffsetsResponse = self.call(version, &operation);
        let mut reported: Vec<_> = response.topics[0]
            .partitions
            .iter()
            .map(|p| (p.partition_index, p.error_code, p.offset))
            .collect();
        reported.sort_unstable();
        reported
    }

    pub(crate) fn produce(
        &mut self,
        version: i16,
        to: (&str, Uuid, i32),
        acks: i16,
        records: Bytes,
    ) -> PartitionProduceResponse {
        let response: ProduceResponse = self.call(version, &produce(version, to, acks, records));
        response.responses[0].partition_responses[0].clone()
    }

    pub(crate) fn fetch(&mut self, version: i16, operation: &FetchRequest) -> FetchResponse {
        self.call(version, operation)
    }
}

pub(crate) fn produce(
    version: i16,
    (name, id, partition): (&str, Uuid, i32),
    acks: i16,
    records: Bytes,
) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let mut to = TopicProduceData::default().with_partition_data(vec![data]);
    if version >= 13 {
        to.topic_id = id;
    } else {
        to.name = topic(name);
    }
    ProduceRequest::default().with_acks(acks).with_timeout_ms(5000).with_topic_data(vec![to])
}

/// Builds a fetch of `(partition, offset)`s of one topic.
pub(crate) fn fetch(version: i16, (name, id): (&str, Uuid), from: &[(i32, i64)]) -> FetchRequest {
    let partition = |(index, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(1 << 20)
    };
    let mut wanted = FetchTopic::default().with_partitions(from.iter().map(partition).collect());
    if version >= 13 {
        wanted.topic_id = id;
    } else {
        wanted.topic = topic(name);
    }
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 26)
        .with_session_epoch(-1)
        .with_topics(if from.is_empty() { Vec::new() } else { vec![wanted] })
}

/// Builds one batch of `values`; producer (id, epoch, first sequence).
pub(crate) fn batch(values: &[&str], producer: (i64, i16, i32)) -> Bytes {
    let (producer_id, producer_epoch, first) = producer;
    let record = |(at, value): (usize, &&str)| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id,
        producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset: at as i64,
        sequence: first + at as i32, // the encoder needs a run even without idempotence
        timestamp: 1_000 + at as i64,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    };
    let records: Vec<Record> = values.iter().enumerate().map(record).collect();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode(&mut out, &records, &options).expect("batch");
    out.freeze()
}

/// No idempotence.
pub(crate) const PLAIN: (i64, i16, i32) = (-1, -1, -1);

pub(crate) fn values(server: &Server, name: &str, partition: u32) -> Vec<String> {
    let records = server.records(name, partition);
    let value = |r: kavka_tests::sim::batch::Record| r.value.unwrap_or_default();
    records.into_iter().map(|r| String::from_utf8_lossy(&value(r)).into_owned()).collect()
}
