//! What we write, others read as it was meant: requests of all APIs at all versions, and batches.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind};
use kafka_protocol::protocol::Decodable;
use kafka_protocol::records::{
    Compression, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
};
use kavka_core::record::{self, BatchHeader, Header, Record, Records, Seal};
use kavka_core::wire::{
    self, Encode, Full, SliceSink, Uuid, Writer, api_versions, create_partitions, create_topics,
    delete_topics, describe_topic_partitions, fetch, header, init_producer_id, list_offsets,
    metadata, offset_for_leader_epoch, produce,
};

use crate::apis::{COMPARED, versions};
use crate::input::Input;
use crate::memory::still;

/// Bytes of space for a request or a batch.
const ROOM: usize = 64 * 1024;

/// Reads API or batch, version, fields.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match COMPARED.get(input.below(COMPARED.len() * 2)) {
        Some(api) => request(*api, &mut input),
        None => batch(&mut input),
    }
}

fn request(api: ApiKey, input: &mut Input<'_>) {
    let (first, last) = versions(api);
    let version = first + i16::from(input.byte()) % (last - first + 1);
    if version > api.valid_versions().max {
        return; // The other codec ends before ours.
    }
    let (client, correlation) = (input.name(), input.number() as i32);
    let fields = Fields::new(input);
    let mut room = vec![0; input.below(256) + ROOM];
    let mut sink = SliceSink::new(&mut room);
    let mut out = Writer::new(&mut sink);
    let key = wire::ApiKey(api as i16);
    let written = header::request(&mut out, key, version, correlation, &client)
        .and_then(|()| fields.write(api, &mut out, version));
    assert_eq!(written, Ok(()), "{api:?} v{version}: there is room");
    let mut bytes = Bytes::copy_from_slice(sink.written());
    let name = format!("{api:?} v{version} {fields:?}");
    let header = RequestHeader::decode(&mut bytes, api.request_header_version(version));
    let header = header.unwrap_or_else(|e| panic!("{name}: header: {e}"));
    assert_eq!(header.correlation_id, correlation, "{name}");
    assert_eq!(header.client_id.as_deref(), Some(client.as_str()), "{name}");
    assert_eq!((header.request_api_key, header.request_api_version), (api as i16, version));
    let body = bytes.clone();
    let request = RequestKind::decode(api, &mut bytes, version);
    let request = request.unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(bytes.is_empty(), "{name}: {} bytes behind it", bytes.len());
    fields.compare(&request, version, &name);
    // What they would write is what we wrote: it contained nothing else.
    let mut again = BytesMut::new();
    request.encode(&mut again, version).unwrap_or_else(|e| panic!("{name}: again: {e}"));
    assert_eq!(again.freeze(), body, "{name}: written again");
    short_of_room(api, version, &fields, body.len());
}

/// Checks that with one byte less it is `Full`, without a panic.
fn short_of_room(api: ApiKey, version: i16, fields: &Fields<'_>, len: usize) {
    let Some(less) = len.checked_sub(1) else { return };
    let mut room = vec![0; less];
    let mut sink = SliceSink::new(&mut room);
    assert_eq!(fields.write(api, &mut Writer::new(&mut sink), version), Err(Full), "{api:?}");
}

/// Values for the fields of any request.
#[derive(Debug)]
struct Fields<'a> {
    names: Vec<String>,
    text: Option<String>,
    numbers: [i64; 6],
    flag: bool,
    id: Uuid,
    records: &'a [u8],
}

impl<'a> Fields<'a> {
    fn new(input: &mut Input<'a>) -> Self {
        let names = (0..input.below(4)).map(|_| input.name()).collect();
        let text = input.one_in(2).then(|| input.name());
        let mut numbers = [0; 6];
        numbers.fill_with(|| input.number());
        let mut id = [0; 16];
        id.fill_with(|| input.byte());
        Self { names, text, numbers, flag: input.one_in(2), id: Uuid(id), records: input.rest() }
    }

    fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    fn i32(&self, n: usize) -> i32 {
        self.numbers[n] as i32
    }

    fn i16(&self, n: usize) -> i16 {
        self.numbers[n] as i16
    }

    fn head(&self) -> fetch::Head {
        fetch::Head {
            max_wait_ms: self.i32(0),
            min_bytes: self.i32(1),
            max_bytes: self.i32(2),
            isolation: i8::from(self.flag),
            session_id: self.i32(3),
            session_epoch: self.i32(4),
        }
    }

    fn partition(&self) -> fetch::Partition {
        fetch::Partition {
            index: self.i32(5),
            current_leader_epoch: self.i32(4),
            fetch_offset: self.numbers[3],
            last_fetched_epoch: self.i32(2),
            log_start_offset: self.numbers[1],
            max_bytes: self.i32(0),
        }
    }
}

/// Writes with our encoders.
impl Fields<'_> {
    fn write(&self, api: ApiKey, out: &mut Writer<'_>, version: i16) -> Result<(), Full> {
        let (names, text) = (&*self.names(), self.text.as_deref());
        match api {
            ApiKey::ApiVersions => {
                let software_name = text.unwrap_or_default();
                let request = api_versions::Request { software_name, software_version: "1.2" };
                request.encode(version, out)
            }
            ApiKey::Metadata => {
                let topics = self.flag.then_some(names);
                metadata::Request { topics, allow_auto_create: self.allows() }.encode(version, out)
            }
            ApiKey::InitProducerId => init_producer_id::Request {
                transactional_id: text,
                timeout_ms: self.i32(0),
                producer_id: self.numbers[1],
                producer_epoch: self.i16(2),
            }
            .encode(version, out),
            ApiKey::DescribeTopicPartitions => {
                let (limit, cursor) = (self.i32(0), text.map(|topic| (topic, self.i32(1))));
                let request = describe_topic_partitions::Request { topics: names, limit, cursor };
                request.encode(version, out)
            }
            ApiKey::DeleteTopics => {
                delete_topics::Request { names, timeout_ms: self.i32(0) }.encode(version, out)
            }
            ApiKey::CreateTopics => self.write_create_topics(out, version),
            ApiKey::CreatePartitions => {
                let count = self.i32(0);
                let topics: Vec<_> = names
                    .iter()
                    .map(|name| create_partitions::NewPartitions { name, count })
                    .collect();
                let (timeout_ms, validate_only) = (self.i32(1), self.flag);
                create_partitions::Request { topics: &topics, timeout_ms, validate_only }
                    .encode(version, out)
            }
            ApiKey::Produce => self.write_produce(out, version),
            ApiKey::Fetch => self.write_fetch(out, version),
            ApiKey::ListOffsets => {
                list_offsets::begin(out, version, i8::from(self.flag), names.len())?;
                for name in names {
                    list_offsets::topic(out, version, name, 1)?;
                    let (index, epoch, timestamp) = (self.i32(0), self.i32(1), self.numbers[2]);
                    list_offsets::partition(out, version, index, epoch, timestamp)?;
                    list_offsets::end_topic(out, version)?;
                }
                list_offsets::end(out, version, self.i32(3))
            }
            ApiKey::OffsetForLeaderEpoch => {
                use offset_for_leader_epoch::{begin, end, partition, topic};
                begin(out, version, names.len())?;
                for name in names {
                    topic(out, version, name, 1)?;
                    partition(out, version, self.i32(0), self.i32(1), self.i32(2))?;
                    end(out, version)?;
                }
                end(out, version)
            }
            other => panic!("{other:?} is not in APIS"),
        }
    }

    fn write_create_topics(&self, out: &mut Writer<'_>, version: i16) -> Result<(), Full> {
        let configs = [("retention.ms", self.text.as_deref())];
        let topic = |name| create_topics::NewTopic {
            name,
            partitions: self.i32(0),
            replication_factor: self.i16(1),
            configs: &configs[..usize::from(self.flag)],
        };
        let topics: Vec<_> = self.names().into_iter().map(topic).collect();
        let (timeout_ms, validate_only) = (self.i32(2), self.flag);
        create_topics::Request { topics: &topics, timeout_ms, validate_only }.encode(version, out)
    }

    fn write_produce(&self, out: &mut Writer<'_>, version: i16) -> Result<(), Full> {
        let (text, acks, timeout) = (self.text.as_deref(), self.i16(0), self.i32(1));
        produce::begin(out, version, text, acks, timeout, self.names.len())?;
        for name in &self.names {
            produce::topic(out, version, name, self.id, 1)?;
            produce::partition(out, version, self.i32(2), self.records.len())?;
            out.raw(self.records)?;
            produce::end_partition(out, version)?;
            produce::end_topic(out, version)?;
        }
        produce::end(out, version)
    }

    fn write_fetch(&self, out: &mut Writer<'_>, version: i16) -> Result<(), Full> {
        fetch::begin(out, version, &self.head(), self.names.len())?;
        for name in &self.names {
            fetch::topic(out, version, name, self.id, 1)?;
            fetch::partition(out, version, &self.partition())?;
            fetch::end_topic(out, version)?;
        }
        fetch::forgotten_begin(out, version, usize::from(self.flag))?;
        if self.flag {
            let partitions = [self.i32(0), self.i32(1)];
            fetch::forgotten_topic(out, version, "gone", self.id, partitions.into_iter())?;
        }
        fetch::end(out, version, self.text.as_deref().unwrap_or_default())
    }

    fn allows(&self) -> bool {
        self.numbers[0] > 0
    }
}

/// Compares with what the other codec read.
impl Fields<'_> {
    fn compare(&self, request: &RequestKind, version: i16, of: &str) {
        let text = self.text.as_deref();
        let names = self.names();
        let since =
            |first: i16, value: i64, default: i64| if version >= first { value } else { default };
        match request {
            RequestKind::ApiVersions(got) => {
                let name = text.filter(|_| version >= 3).unwrap_or_default();
                assert_eq!(got.client_software_name.as_str(), name, "{of}");
            }
            RequestKind::Metadata(got) => {
                let got_names = got.topics.as_ref().map(|topics| {
                    let name = topics.iter().map(|t| t.name.as_ref().map_or("", |n| n.0.as_str()));
                    name.collect::<Vec<_>>()
                });
                assert_eq!(got_names, self.flag.then_some(names), "{of}");
                let allows = version < 4 || self.allows();
                assert_eq!(got.allow_auto_topic_creation, allows, "{of}");
            }
            RequestKind::InitProducerId(got) => {
                assert_eq!(got.transactional_id.as_ref().map(|id| id.0.as_str()), text, "{of}");
                assert_eq!(got.transaction_timeout_ms, self.i32(0), "{of}");
                assert_eq!(got.producer_id.0, since(3, self.numbers[1], -1), "{of}");
                let epoch = since(3, self.i16(2).into(), -1);
                assert_eq!(i64::from(got.producer_epoch), epoch, "{of}");
            }
            RequestKind::DescribeTopicPartitions(got) => {
                let topics = got.topics.iter().map(|topic| topic.name.0.as_str());
                assert!(topics.eq(names), "{of}");
                assert_eq!(got.response_partition_limit, self.i32(0), "{of}");
                let cursor = got.cursor.as_ref();
                let cursor = cursor.map(|c| (c.topic_name.0.as_str(), c.partition_index));
                assert_eq!(cursor, text.map(|topic| (topic, self.i32(1))), "{of}");
            }
            RequestKind::DeleteTopics(got) => {
                let named = got.topics.iter().map(|t| t.name.as_ref().map_or("", |n| n.0.as_str()));
                let all = named.chain(got.topic_names.iter().map(|name| name.0.as_str()));
                assert!(all.eq(names), "{of}");
                assert_eq!(got.timeout_ms, self.i32(0), "{of}");
            }
            RequestKind::CreateTopics(got) => {
                let topics = got.topics.iter().map(|topic| {
                    let configs = topic.configs.iter().map(|c| c.value.as_deref());
                    assert!(configs.eq(self.flag.then_some(text)), "{of}");
                    (topic.name.0.as_str(), topic.num_partitions, topic.replication_factor)
                });
                assert!(topics.eq(names.iter().map(|n| (*n, self.i32(0), self.i16(1)))), "{of}");
                assert_eq!((got.timeout_ms, got.validate_only), (self.i32(2), self.flag), "{of}");
            }
            RequestKind::CreatePartitions(got) => {
                let topics = got.topics.iter().map(|topic| (topic.name.0.as_str(), topic.count));
                assert!(topics.eq(names.iter().map(|name| (*name, self.i32(0)))), "{of}");
                assert_eq!((got.timeout_ms, got.validate_only), (self.i32(1), self.flag), "{of}");
            }
            _ => self.compare_data(request, version, of),
        }
    }

    /// Returns topics by name up to version 12, by id after.
    fn topics(&self, version: i16) -> impl Iterator<Item = (&str, [u8; 16])> {
        let id = if version >= 13 { self.id.0 } else { [0; 16] };
        self.names.iter().map(move |name| (if version >= 13 { "" } else { name.as_str() }, id))
    }

    fn compare_data(&self, request: &RequestKind, version: i16, of: &str) {
        let since = |first: i16, value: i32| if version >= first { value } else { -1 };
        match request {
            RequestKind::Produce(got) => {
                let topics = got.topic_data.iter().map(|topic| {
                    let parts = topic.partition_data.iter();
                    let parts = parts.map(|p| (p.index, p.records.as_deref().unwrap_or_default()));
                    assert!(parts.eq([(self.i32(2), self.records)]), "{of}");
                    (topic.name.0.as_str(), *topic.topic_id.as_bytes())
                });
                assert!(topics.eq(self.topics(version)), "{of}");
                assert_eq!((got.acks, got.timeout_ms), (self.i16(0), self.i32(1)), "{of}");
            }
            RequestKind::Fetch(got) => {
                let (head, requested) = (self.head(), self.partition());
                assert_eq!((got.max_wait_ms, got.min_bytes), (head.max_wait_ms, head.min_bytes));
                assert_eq!((got.max_bytes, got.isolation_level), (head.max_bytes, head.isolation));
                if version >= 7 {
                    let (id, epoch) = (got.session_id, got.session_epoch);
                    assert_eq!((id, epoch), (head.session_id, head.session_epoch), "{of}");
                    assert_eq!(got.forgotten_topics_data.len(), usize::from(self.flag), "{of}");
                }
                let topics = got.topics.iter().map(|topic| {
                    for p in &topic.partitions {
                        assert_eq!(
                            (p.partition, p.fetch_offset),
                            (requested.index, requested.fetch_offset)
                        );
                        assert_eq!(p.partition_max_bytes, requested.max_bytes, "{of}");
                        let epochs = (p.current_leader_epoch, p.last_fetched_epoch);
                        let (current, last) =
                            (requested.current_leader_epoch, requested.last_fetched_epoch);
                        assert_eq!(epochs, (since(9, current), since(12, last)), "{of}");
                    }
                    (topic.topic.0.as_str(), *topic.topic_id.as_bytes())
                });
                assert!(topics.eq(self.topics(version)), "{of}");
            }
            RequestKind::ListOffsets(got) => {
                let topics = got.topics.iter().map(|topic| {
                    for p in &topic.partitions {
                        let wanted = (self.i32(0), since(4, self.i32(1)), self.numbers[2]);
                        let got = (p.partition_index, p.current_leader_epoch, p.timestamp);
                        assert_eq!(got, wanted, "{of}");
                    }
                    topic.name.0.as_str()
                });
                assert!(topics.eq(self.names()), "{of}");
            }
            RequestKind::OffsetForLeaderEpoch(got) => {
                if version >= 3 {
                    assert_eq!(got.replica_id.0, -1, "{of}");
                }
                let topics = got.topics.iter().map(|topic| {
                    for p in &topic.partitions {
                        let wanted = (self.i32(0), self.i32(1), self.i32(2));
                        let got = (p.partition, p.current_leader_epoch, p.leader_epoch);
                        assert_eq!(got, wanted, "{of}");
                    }
                    topic.topic.0.as_str()
                });
                assert!(topics.eq(self.names()), "{of}");
            }
            other => panic!("{other:?} is not in APIS"),
        }
    }
}

/// One record, as all sides must read it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plain {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: i64,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Plain {
    fn new(input: &mut Input<'_>) -> Self {
        let bytes = |input: &mut Input<'_>| {
            let len = input.below(80);
            (len > 0).then(|| input.take(len - 1).to_vec())
        };
        let headers = (0..input.below(4)).map(|n| (format!("h{n}"), bytes(input)));
        let headers = headers.collect();
        Self { headers, key: bytes(input), value: bytes(input), timestamp: input.number() }
    }
}

fn batch(input: &mut Input<'_>) {
    let base = input.number() >> 1; // No difference of two timestamps overflows.
    let mut plain: Vec<_> = (0..=input.below(8)).map(|_| Plain::new(input)).collect();
    for record in &mut plain {
        record.timestamp >>= 1;
    }
    let bytes = written(&plain, base, input);
    let header = BatchHeader::parse(&bytes).expect("what was sealed");
    record::check_crc(&bytes).expect("the checksum of what was sealed");
    assert_eq!(ours(&header, &bytes), plain, "ours, of ours");
    let mut theirs = Bytes::from(bytes);
    let read = RecordBatchDecoder::decode(&mut theirs).unwrap_or_else(|e| panic!("{plain:?}: {e}"));
    assert!(theirs.is_empty(), "{} bytes behind {plain:?}", theirs.len());
    let got: Vec<_> = read.records.iter().map(from_theirs).collect();
    assert_eq!(got, plain, "theirs, of ours");
    let mut again = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut again, read.records.iter(), &options).expect("they are good");
    let header = BatchHeader::parse(&again).expect("a header of theirs");
    record::check_crc(&again).expect("a checksum of theirs");
    assert_eq!(ours(&header, &again), plain, "ours, of theirs");
}

fn written(plain: &[Plain], base: i64, input: &mut Input<'_>) -> Vec<u8> {
    let mut room = vec![0; ROOM];
    let mut sink = SliceSink::new(&mut room);
    for (delta, record) in (0..).zip(plain) {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(name, value)| Header { name, value: value.as_deref() })
            .collect();
        let mut new = Record::tombstone().headers(&headers);
        (new.key, new.value) = (record.key.as_deref(), record.value.as_deref());
        let (before, time) = (sink.len(), record.timestamp - base);
        still(|| record::write(&mut sink, &new, delta, time)).expect("there is room");
        assert_eq!(sink.len() - before, record::encoded_len(&new, delta, time), "{record:?}");
    }
    let seal = Seal {
        producer_id: input.number(),
        producer_epoch: input.number() as i16,
        base_sequence: input.number() as i32,
        count: u32::try_from(plain.len()).expect("few"),
        base_timestamp: base,
        max_timestamp: plain.iter().map(|record| record.timestamp).max().unwrap_or(base),
        transactional: input.one_in(2),
        codec: 0,
    };
    let (front, rest) = sink.written().split_at(input.below(256).min(sink.len()));
    let header = still(|| record::seal(&seal, [front, rest].into_iter())).expect("it is small");
    [&header[..], sink.written()].concat()
}

fn ours(header: &BatchHeader, bytes: &[u8]) -> Vec<Plain> {
    let records = Records::new(header, bytes).map(|record| {
        let record = record.unwrap_or_else(|e| panic!("{header:?}: {e}"));
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        Plain {
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            timestamp: record.timestamp,
            headers: record
                .headers
                .map(|header| (text(header.name), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    });
    records.collect()
}

fn from_theirs(record: &kafka_protocol::records::Record) -> Plain {
    Plain {
        key: record.key.as_ref().map(|bytes| bytes.to_vec()),
        value: record.value.as_ref().map(|bytes| bytes.to_vec()),
        timestamp: record.timestamp,
        headers: record
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_ref().map(|v| v.to_vec())))
            .collect(),
    }
}
