//! Bytes that other clients' tests and real brokers agree on.

use std::path::PathBuf;

use kavka_core::codec::{Codec, Compact, Fault, Unpack};
use kavka_core::murmur2::{murmur2, positive};
use kavka_core::record::{
    BatchHeader, ControlRecord, Crc32c, HEADER_LEN, Malformed, Records, Seal, TimestampType,
    check_crc, encoded_len, seal, varint,
};
use serde_json::Value;

use super::support::{Owned, collect, encode, hex, read_all, split};

pub(crate) fn lines(name: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/records").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

pub(crate) fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

pub(crate) fn number(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn input_bytes(input: &Value) -> Vec<u8> {
    match input.get("utf8") {
        Some(utf8) => utf8.as_str().expect("text").as_bytes().to_vec(),
        None => hex(text(input, "hex")),
    }
}

#[test]
fn algorithms() {
    let mut seen = 0;
    for line in lines("algorithms.jsonl") {
        let (input, expected) = (&line["input"], &line["expected"]);
        match text(&line, "algorithm") {
            "murmur2" => {
                let hash = murmur2(&input_bytes(input));
                assert_eq!(i64::from(hash), number(expected, "i32"), "{line}");
                assert_eq!(i64::from(positive(hash)), number(expected, "positive"), "{line}");
            }
            "murmur2-positive" => {
                let hash = positive(murmur2(&input_bytes(input)));
                assert_eq!(i64::from(hash), number(expected, "positive"), "{line}");
            }
            "murmur2-partition" => {
                let hash = i64::from(positive(murmur2(&input_bytes(input))));
                let partition = hash % number(input, "partitions");
                assert_eq!(partition, number(expected, "partition"), "{line}");
            }
            "crc32c" => {
                let bytes = input_bytes(input);
                let mut pieces = Crc32c::new();
                bytes.chunks(3).for_each(|piece| pieces.update(piece));
                assert_eq!(i64::from(Crc32c::of(&bytes)), number(expected, "u32"), "{line}");
                assert_eq!(i64::from(pieces.finish()), number(expected, "u32"), "{line}");
            }
            "varint32-zigzag" => {
                varint(&line, "i32", |rest| varint::take_i32(rest).map(i64::from));
            }
            "varint64-zigzag" => varint(&line, "i64", varint::take_i64),
            other => panic!("nothing tests {other}"),
        }
        seen += 1;
    }
    assert_eq!(seen, 146, "lines of algorithms.jsonl");
}

fn varint(line: &Value, width: &str, take: impl Fn(&mut &[u8]) -> Result<i64, Malformed>) {
    let (input, expected) = (&line["input"], &line["expected"]);
    if expected.get("error").is_some() {
        let wire = hex(text(input, "hex"));
        assert_eq!(take(&mut wire.as_slice()), Err(Malformed::Varint), "{line}");
        return;
    }
    let value = number(input, width);
    let wire = hex(text(expected, "hex"));
    let mut rest = wire.as_slice();
    assert_eq!(take(&mut rest), Ok(value), "{line}");
    assert!(rest.is_empty(), "{line}");
    for cut in 0..wire.len() {
        assert_eq!(take(&mut &wire[..cut]), Err(Malformed::Truncated), "{line} cut at {cut}");
    }
    let (bytes, len) = varint::encode(value);
    assert_eq!(bytes[..len], wire, "{line}");
    assert_eq!(varint::len(value), wire.len(), "{line}");
}

#[test]
fn vectors() {
    let mut seen = [0; 5];
    for line in lines("vectors.jsonl") {
        record_set(&line, &mut seen);
    }
    assert_eq!(seen, [65, 19, 11, 3, 2], "batches of vectors.jsonl by codec");
}

#[test]
fn recorded() {
    let mut seen = [0; 5];
    for line in lines("recorded.jsonl") {
        record_set(&line, &mut seen);
    }
    assert_eq!(seen, [215, 47, 48, 53, 33], "batches of recorded.jsonl by codec");
}

/// Checks a line; counts its batches of magic 2 by codec.
fn record_set(line: &Value, seen: &mut [usize; 5]) {
    let id = text(line, "id");
    let bytes = hex(text(line, "hex"));
    let (batches, tail) = split(&bytes);
    let mut expected = line["expected"].as_array().expect("array").clone();
    if let Some(partial) = expected.last().and_then(|last| last.get("partial")) {
        assert_eq!(partial.as_i64(), Some(tail as i64), "{id}: tail");
        expected.pop();
    }
    assert_eq!(batches.len(), expected.len(), "{id}: batches");
    for (bytes, expected) in batches.into_iter().zip(&expected) {
        if number(expected, "magic") < 2 {
            let magic = number(expected, "magic") as u8;
            let padded = [bytes, &[0; HEADER_LEN]].concat();
            assert_eq!(BatchHeader::parse(&padded), Err(Malformed::Magic(magic)), "{id}");
            continue;
        }
        let header = same_header(id, bytes, expected);
        seen[usize::from(header.codec())] += 1;
        match Codec::from_id(header.codec()) {
            None => same_records(id, &header, bytes, expected),
            Some(codec) => same_unpacked(id, codec, &header, bytes, expected),
        }
    }
}

/// Checks that the decoders of both crates read what other clients compressed, to the same length.
fn same_unpacked(id: &str, codec: Codec, header: &BatchHeader, bytes: &[u8], expected: &Value) {
    let packed = &bytes[HEADER_LEN..];
    let mut fast = Vec::new();
    let len = kavka_std::codec::Decoders::new()
        .unpack_to(codec, packed, &mut fast, 0, 1 << 20)
        .unwrap_or_else(|why| panic!("{id}: {codec}: {why}"));
    fast.truncate(len);
    let (records, fault) = collect(Records::unpacked(header, &fast));
    assert_eq!(fault, None, "{id}");
    let wanted = expected["records"].as_array().expect("array").iter().map(|record| {
        let mut record = owned(record);
        // `expected` has what the producer wrote; the leader's time replaces it.
        if header.timestamp_type() == TimestampType::LogAppend {
            record.timestamp = header.max_timestamp;
        }
        record
    });
    assert_eq!(records, wanted.collect::<Vec<_>>(), "{id}");

    let mut compact = vec![0; len];
    let mut small = Compact::new();
    let got = small.unpack(codec, packed, &mut compact);
    if codec == Codec::Zstd {
        return assert_eq!(got, Err(Fault::Missing), "{id}");
    }
    assert_eq!((got, compact), (Ok(len), fast), "{id}");
    let full = small.unpack(codec, packed, &mut vec![0; len - 1]);
    assert!(matches!(full, Err(Fault::TooLarge { .. })), "{id}: {full:?}");
}

fn same_header(id: &str, bytes: &[u8], expected: &Value) -> BatchHeader {
    let header = BatchHeader::parse(bytes).unwrap_or_else(|why| panic!("{id}: {why}"));
    let either = |one: &str, other: &str| {
        number(expected, if expected.get(one).is_some() { one } else { other })
    };
    assert_eq!(header.base_offset, number(expected, "baseOffset"), "{id}");
    assert_eq!(i64::from(header.batch_length), number(expected, "batchLength"), "{id}");
    let epoch = i64::from(header.partition_leader_epoch);
    assert_eq!(epoch, number(expected, "partitionLeaderEpoch"), "{id}");
    assert_eq!(i64::from(header.crc), number(expected, "crc"), "{id}");
    assert_eq!(i64::from(header.attributes), number(expected, "attributes"), "{id}");
    let last = number(expected, "lastOffsetDelta");
    assert_eq!(i64::from(header.last_offset_delta), last, "{id}");
    assert_eq!(header.next_offset(), header.base_offset + last + 1, "{id}");
    assert_eq!(header.base_timestamp, either("baseTimestamp", "firstTimestamp"), "{id}");
    assert_eq!(header.max_timestamp, number(expected, "maxTimestamp"), "{id}");
    assert_eq!(header.producer_id, number(expected, "producerId"), "{id}");
    assert_eq!(i64::from(header.producer_epoch), number(expected, "producerEpoch"), "{id}");
    assert_eq!(i64::from(header.base_sequence), number(expected, "baseSequence"), "{id}");
    assert_eq!(i64::from(header.count), either("count", "recordCount"), "{id}");
    assert_eq!(header.total_len(), bytes.len(), "{id}");

    let codec = ["none", "gzip", "snappy", "lz4", "zstd"][usize::from(header.codec())];
    assert_eq!(codec, text(expected, "compression"), "{id}");
    assert_eq!(header.is_control(), expected["control"], "{id}");
    assert_eq!(header.is_transactional(), expected["transactional"], "{id}");
    let appended = text(expected, "timestampType").starts_with("log");
    assert_eq!(header.timestamp_type() == TimestampType::LogAppend, appended, "{id}");
    if let Some(horizon) = expected.get("hasDeleteHorizon") {
        assert_eq!(header.has_delete_horizon(), *horizon, "{id}");
    }
    assert_eq!(check_crc(bytes), Ok(()), "{id}");
    header
}

fn same_records(id: &str, header: &BatchHeader, bytes: &[u8], expected: &Value) {
    let (records, fault) = read_all(bytes);
    if expected.get("recordsError").is_some() {
        // A batch whose header hides that it is compressed.
        assert!(fault.is_some(), "{id}: read what nobody can");
        return;
    }
    assert_eq!(fault, None, "{id}");
    let wanted = expected["records"].as_array().expect("array");
    assert_eq!(records.len(), wanted.len(), "{id}: records");
    for (record, wanted) in records.iter().zip(wanted) {
        assert_eq!(*record, owned(wanted), "{id}");
        if let Some(kind) = wanted.get("controlType") {
            let key = record.key.as_deref().expect("a control record has a key");
            let kind = match kind.as_str() {
                Some("abort") => ControlRecord::Abort,
                Some("commit") => ControlRecord::Commit,
                other => panic!("{id}: unknown {other:?}"),
            };
            assert_eq!(ControlRecord::parse(key), Ok(kind), "{id}");
        }
    }
    from_each_offset(id, header, bytes, &records);
    // One hand-made vector has attributes in its record, which no client writes.
    if wanted.iter().all(|record| record.get("attributes").is_none_or(|bits| *bits == 0)) {
        again(id, header, bytes);
    }
}

fn from_each_offset(id: &str, header: &BatchHeader, bytes: &[u8], records: &[Owned]) {
    for from in header.base_offset..=header.next_offset() {
        let tail: Vec<i64> = Records::new(header, bytes)
            .from_offset(from)
            .map(|record| record.unwrap_or_else(|why| panic!("{id}: {why}")).offset)
            .collect();
        let wanted: Vec<i64> =
            records.iter().map(|record| record.offset).filter(|at| *at >= from).collect();
        assert_eq!(tail, wanted, "{id} from {from}");
    }
}

/// Checks that what was read, written again, is identical; the header too where a producer could
/// have written it.
fn again(id: &str, header: &BatchHeader, bytes: &[u8]) {
    let mut body = Vec::new();
    for record in Records::new(header, bytes) {
        let record = record.unwrap_or_else(|why| panic!("{id}: {why}"));
        let offset_delta = u32::try_from(record.offset - header.base_offset).expect("positive");
        let timestamp_delta = record.timestamp - header.base_timestamp;
        let encoded = encode(&record.to_record(), offset_delta, timestamp_delta);
        let len = encoded_len(&record.to_record(), offset_delta, timestamp_delta);
        assert_eq!(encoded.len(), len, "{id} at {}", record.offset);
        body.extend(encoded);
    }
    assert_eq!(body, bytes[HEADER_LEN..], "{id}: records written again");

    let count = u32::try_from(header.count).expect("not negative");
    let made = seal(
        &Seal {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            count,
            base_timestamp: header.base_timestamp,
            max_timestamp: header.max_timestamp,
            transactional: header.is_transactional(),
            codec: header.codec(),
        },
        body.chunks(7),
    );
    let dense = header.last_offset_delta == header.count - 1;
    if count == 0 {
        assert_eq!(made, None, "{id}: an empty batch is not the producer's to make");
    } else if dense && header.attributes & !0x17 == 0 {
        let made = made.unwrap_or_else(|| panic!("{id}: not sealed"));
        assert_eq!(made[8..12], bytes[8..12], "{id}: length");
        assert_eq!(made[16..], bytes[16..HEADER_LEN], "{id}: header recreated");
        assert_eq!(made[..8], [0; 8], "{id}: base offset");
        assert_eq!(made[12..16], [0xff; 4], "{id}: leader epoch");
    }
}

fn owned(wanted: &Value) -> Owned {
    let headers = wanted.get("headers").and_then(Value::as_array);
    Owned {
        offset: number(wanted, "offset"),
        timestamp: number(wanted, "timestamp"),
        key: bytes(&wanted["key"]),
        value: bytes(&wanted["value"]),
        headers: headers.map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|header| (bytes(&header[0]).expect("a name"), bytes(&header[1])))
                .collect()
        }),
    }
}

pub(crate) fn bytes(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    Some(text.strip_prefix("hex:").map_or_else(|| text.as_bytes().to_vec(), hex))
}
