//! The few messages that the broker in memory reads and writes, each in one version, all flexible:
//! Produce 12, Fetch 12, ListOffsets 7, Metadata 12, InitProducerId 4, ApiVersions 3 to 5.

use super::TOPIC;
use super::alloc::vec::Vec;
use super::codec::{Cursor, Frame};

/// API keys with the versions that are offered.
const OFFERED: [(i16, i16, i16); 6] =
    [(0, 3, 12), (1, 4, 12), (2, 1, 7), (3, 1, 12), (18, 0, 5), (22, 0, 4)];
const REPLICAS: [i32; 3] = [0, 1, 2];
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

fn skip_text<'a>(from: &mut Cursor<'a, impl Iterator<Item = &'a [u8]>>) {
    let len = from.compact();
    from.skip(len);
}

pub(super) fn api_versions(to: &mut Frame<'_>) {
    to.i16(0);
    to.compact(OFFERED.len());
    for (api, min, max) in OFFERED {
        to.i16(api);
        to.i16(min);
        to.i16(max);
        to.no_tags();
    }
    to.i32(0);
    to.no_tags();
}

pub(super) fn producer_id(to: &mut Frame<'_>, id: i64) {
    to.i32(0);
    to.i16(0);
    to.i64(id);
    to.i16(0);
    to.no_tags();
}

pub(super) fn metadata<'a, I: Iterator<Item = &'a [u8]>>(
    from: &mut Cursor<'a, I>,
    to: &mut Frame<'_>,
    partitions: u32,
) {
    let topics = from.compact();
    to.i32(0);
    to.compact(1); // Brokers.
    to.i32(0);
    to.text("localhost");
    to.i32(9092);
    to.null(); // Rack.
    to.no_tags();
    to.null(); // Cluster id.
    to.i32(0);
    to.compact(topics);
    if topics > 0 {
        to.i16(0);
        to.text(TOPIC);
        to.bytes(&[0xa5; 16]);
        to.bytes(&[0]);
        to.compact(partitions as usize);
        for index in 0..partitions {
            to.i16(0);
            to.i32(index as i32);
            to.i32(0); // Leader, and its epoch.
            to.i32(0);
            for _ in ["replicas", "in-sync replicas"] {
                to.compact(REPLICAS.len());
                REPLICAS.iter().for_each(|node| to.i32(*node));
            }
            to.compact(0); // Offline replicas.
            to.no_tags();
        }
        to.i32(i32::MIN);
        to.no_tags();
    }
    to.no_tags();
}

/// Calls `append` with partition and records of each batch, for its base offset; returns the
/// records of all.
pub(super) fn produce<'a, I: Iterator<Item = &'a [u8]>>(
    from: &mut Cursor<'a, I>,
    to: &mut Frame<'_>,
    mut append: impl FnMut(usize, i64) -> i64,
) -> u64 {
    assert_eq!(from.uvarint(), 0, "no transactional id");
    from.skip(2 + 4);
    let topics = from.compact();
    to.compact(topics);
    let mut records = 0;
    for _ in 0..topics {
        skip_text(from);
        to.text(TOPIC);
        let partitions = from.compact();
        to.compact(partitions);
        for _ in 0..partitions {
            let index = from.i32();
            let len = from.compact();
            from.skip(57);
            let count = from.i32();
            from.skip(len - 61 + 1);
            records += u64::from(count.unsigned_abs());
            let base_offset = append(index as usize, i64::from(count));
            to.i32(index);
            to.i16(0);
            to.i64(base_offset);
            to.i64(-1);
            to.i64(0);
            to.compact(0);
            to.null();
            to.no_tags();
        }
        from.skip(1);
        to.no_tags();
    }
    to.i32(0);
    to.no_tags();
    records
}

pub(super) fn list_offsets<'a, I: Iterator<Item = &'a [u8]>>(
    from: &mut Cursor<'a, I>,
    to: &mut Frame<'_>,
    known: u32,
) {
    from.skip(4 + 1);
    let topics = from.compact();
    to.i32(0);
    to.compact(topics);
    for _ in 0..topics {
        skip_text(from);
        to.text(TOPIC);
        let partitions = from.compact();
        to.compact(partitions);
        for _ in 0..partitions {
            let index = from.i32();
            from.skip(4 + 8 + 1);
            let is_known = index < known as i32;
            to.i32(index);
            to.i16(if is_known { 0 } else { UNKNOWN_TOPIC_OR_PARTITION });
            to.i64(-1);
            to.i64(if is_known { 0 } else { -1 });
            to.i32(if is_known { 0 } else { -1 });
            to.no_tags();
        }
        from.skip(1);
        to.no_tags();
    }
    to.no_tags();
}

/// Calls `seek` with partition and offset of all that a Fetch request names.
pub(super) fn fetch_request<'a, I: Iterator<Item = &'a [u8]>>(
    from: &mut Cursor<'a, I>,
    mut seek: impl FnMut(usize, i64),
) {
    from.skip(4 + 4 + 4 + 4 + 1 + 4 + 4);
    for _ in 0..from.compact() {
        skip_text(from);
        for _ in 0..from.compact() {
            let index = from.i32();
            from.skip(4);
            seek(index as usize, i64::from_be_bytes(from.take()));
            from.skip(4 + 8 + 4 + 1);
        }
        from.skip(1);
    }
}

/// A Fetch response of `per_partition` batches of each partition, and where they are: partition,
/// begin, records.
pub(super) fn fetch_response(
    partitions: usize,
    batch: &[u8],
    per_partition: usize,
) -> (Vec<u8>, Vec<(usize, usize, i64)>) {
    let (mut out, mut batches) = (Vec::new(), Vec::new());
    let count = batch.get(57..61).and_then(|count| count.try_into().ok()).map(i32::from_be_bytes);
    let records = i64::from(count.unwrap_or(0));
    let mut to = Frame::begin(&mut out, 0, true);
    to.i32(0);
    to.i16(0);
    to.i32(77); // The fetch session.
    to.compact(1);
    to.text(TOPIC);
    to.compact(partitions);
    for partition in 0..partitions {
        to.i32(partition as i32);
        to.i16(0);
        to.i64(i64::MAX);
        to.i64(i64::MAX);
        to.i64(0);
        to.null(); // Aborted transactions.
        to.i32(-1);
        to.compact(batch.len() * per_partition);
        for _ in 0..per_partition {
            batches.push((partition, to.out.len(), records));
            to.bytes(batch);
        }
        to.no_tags();
    }
    to.no_tags();
    to.no_tags();
    to.end();
    (out, batches)
}
