//! The golden bytes of the tests through the codec, with a checksum over all that came out of each.
//! A host and a 32-bit device without an operating system must get the same checksums.

#![no_std]

use core::fmt::{self, Debug, Write};

use kavka_core::murmur2::murmur2;
use kavka_core::record::{BatchHeader, Crc32c, Records, Seal, check_crc, seal, write};
use kavka_core::wire::{
    ApiKey, Decode, Malformed, SliceSink, Step, api_versions, create_partitions, create_topics,
    delete_topics, describe_topic_partitions, fetch, header, init_producer_id, list_offsets,
    metadata, offset_for_leader_epoch, produce,
};

mod tables {
    include!(concat!(env!("OUT_DIR"), "/tables.rs"));
}

/// What `report` gets: the name of a vector, and the checksum over the result.
pub type Digest = (&'static str, u32);

/// All of them.
pub fn each(mut report: impl FnMut(Digest)) {
    for (id, api, version, headed, bytes) in tables::RESPONSES {
        report((id, respond(api, *version, *headed, bytes)));
    }
    for (id, bytes) in tables::BATCHES {
        report((id, batch(bytes)));
    }
    for (is_crc, bytes, expected) in tables::HASHES {
        let got = if *is_crc { Crc32c::of(bytes) } else { murmur2(bytes) as u32 };
        // 1 means right: the right result is known from elsewhere.
        report((if *is_crc { "crc32c" } else { "murmur2" }, u32::from(got == *expected)));
    }
}

/// A checksum as text is written to it.
struct Sum(Crc32c);

impl Sum {
    const fn new() -> Self {
        Self(Crc32c::new())
    }

    fn add(&mut self, item: &impl Debug) {
        let _ = write!(self, "{item:?};");
    }
}

impl Write for Sum {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// Of the items of a response. Byte by byte the result must be the same: else 0.
fn respond(api: &str, version: i16, headed: bool, bytes: &[u8]) -> u32 {
    let sum = match api {
        "ApiVersions" => items::<api_versions::Response>,
        "Metadata" => items::<metadata::Response>,
        "Produce" => items::<produce::Response>,
        "Fetch" => items::<fetch::Response>,
        "ListOffsets" => items::<list_offsets::Response>,
        "DescribeTopicPartitions" => items::<describe_topic_partitions::Response>,
        "InitProducerId" => items::<init_producer_id::Response>,
        "CreateTopics" => items::<create_topics::Response>,
        "CreatePartitions" => items::<create_partitions::Response>,
        "DeleteTopics" => items::<delete_topics::Response>,
        "OffsetForLeaderEpoch" => items::<offset_for_leader_epoch::Response>,
        _ => return 0,
    };
    let mut body = bytes;
    if headed && header::response_tags(key(api), version) {
        let _ = header::Tags::new().step(&mut body);
    }
    let (whole, pieces) = (sum(version, body, usize::MAX), sum(version, body, 1));
    if whole == pieces { whole } else { 0 }
}

fn key(api: &str) -> ApiKey {
    match api {
        "ApiVersions" => ApiKey::API_VERSIONS,
        "Metadata" => ApiKey::METADATA,
        "Produce" => ApiKey::PRODUCE,
        "Fetch" => ApiKey::FETCH,
        "ListOffsets" => ApiKey::LIST_OFFSETS,
        "DescribeTopicPartitions" => ApiKey::DESCRIBE_TOPIC_PARTITIONS,
        "InitProducerId" => ApiKey::INIT_PRODUCER_ID,
        "CreateTopics" => ApiKey::CREATE_TOPICS,
        "CreatePartitions" => ApiKey::CREATE_PARTITIONS,
        "OffsetForLeaderEpoch" => ApiKey::OFFSET_FOR_LEADER_EPOCH,
        _ => ApiKey::DELETE_TOPICS,
    }
}

/// Decodes `bytes`, of which at first none and then `piece` more each time are there.
fn items<D: Decode>(version: i16, bytes: &[u8], piece: usize) -> u32
where
    for<'b> D::Item<'b>: Debug,
{
    let Some(mut decoder) = D::new(version) else { return 0 };
    let mut sum = Sum::new();
    let (mut start, mut end) = (0, 0);
    loop {
        let mut input = &bytes[start..end];
        let step: Result<Step<_>, Malformed> = decoder.step(&mut input);
        start = end - input.len();
        match step {
            Ok(Step::Item(item)) => sum.add(&item),
            Ok(Step::More { .. }) if end < bytes.len() => {
                end = end.saturating_add(piece).min(bytes.len());
            }
            Ok(Step::More { .. }) => return sum.0.finish() ^ 1,
            Ok(Step::Done) => return sum.0.finish(),
            Err(why) => {
                sum.add(&why);
                return sum.0.finish();
            }
        }
    }
}

/// Of the records of a batch, and of that batch written again.
fn batch(bytes: &[u8]) -> u32 {
    let mut sum = Sum::new();
    let header = match BatchHeader::parse(bytes) {
        Ok(header) => header,
        Err(why) => {
            sum.add(&why);
            return sum.0.finish();
        }
    };
    sum.add(&header);
    sum.add(&check_crc(bytes));
    let mut buffer = [0; 4096];
    let (mut len, mut count) = (0, 0);
    for record in Records::new(&header, bytes) {
        sum.add(&record);
        let Ok(record) = record else { break };
        let mut sink = SliceSink::new(&mut buffer[len..]);
        if write(&mut sink, &record.to_record(), count, 0).is_err() {
            break;
        }
        len += sink.written().len();
        count += 1;
    }
    let seal_of = Seal {
        producer_id: 7,
        producer_epoch: 1,
        base_sequence: 3,
        count,
        base_timestamp: 0,
        max_timestamp: 0,
        transactional: false,
        codec: 0,
    };
    sum.add(&seal(&seal_of, core::iter::once(&buffer[..len])));
    sum.0.update(&buffer[..len]);
    sum.0.finish()
}
