//! Record bytes that broke other clients, and where Java is lenient. All checksums are right except
//! the one that is meant to be wrong, so that the check cannot hide what follows it.

use kavka_core::record::{
    BatchHeader, ControlRecord, HEADER_LEN, Malformed, PEEK_LEN, Record, Records, check_crc,
    peek_len, varint,
};

use super::support::{Raw, collect, encode, hex, read_all, split};

/// The expected result of a batch: how many records, then which fault, and the position after it.
struct Case {
    name: &'static str,
    batch: Vec<u8>,
    records: usize,
    fault: Option<Malformed>,
    next_offset: i64,
}

fn case(name: &'static str, raw: &Raw, records: usize, fault: Option<Malformed>) -> Case {
    Case { name, batch: raw.bytes(), records, fault, next_offset: 1 }
}

impl Case {
    const fn next(mut self, offset: i64) -> Self {
        self.next_offset = offset;
        self
    }
}

/// Returns a record with key `k` and value `v`.
fn good(offset_delta: u32) -> Vec<u8> {
    encode(&Record::new(b"v").key(b"k"), offset_delta, 0)
}

/// Returns a record from its bytes after the length.
fn sized(body: &[u8]) -> Vec<u8> {
    let (length, len) = varint::encode(body.len() as i64);
    [&length[..len], body].concat()
}

fn body(body: Vec<u8>) -> Raw {
    Raw { body, ..Raw::default() }
}

fn counts() -> Vec<Case> {
    let one = body(good(0));
    let count = |count| Raw { count, ..one.clone() };
    let two = Raw { body: [good(0), good(1)].concat(), last_offset_delta: 1, ..one.clone() };
    vec![
        case("good", &one, 1, None),
        case("count-negative", &count(-1), 0, Some(Malformed::RecordCount)),
        case("count-min-int", &count(i32::MIN), 0, Some(Malformed::RecordCount)),
        case("count-huge", &count(i32::MAX), 1, Some(Malformed::RecordCount)),
        case("count-one-more", &count(2), 1, Some(Malformed::RecordCount)),
        case("count-zero-with-record", &count(0), 0, Some(Malformed::TrailingBytes)),
        case("count-one-less", &two, 1, Some(Malformed::TrailingBytes)).next(2),
        case("record-trailing-byte", &body([good(0), vec![0]].concat()), 1, {
            Some(Malformed::TrailingBytes)
        }),
    ]
}

fn lengths() -> Vec<Case> {
    let long = |lie: i32| {
        let mut record = good(0);
        let (bytes, len) = varint::encode(i64::from(lie));
        record.splice(..1, bytes[..len].iter().copied());
        body(record)
    };
    let field = |key: &[u8], value: &[u8]| body(sized(&[&[0, 0, 0], key, value, &[0]].concat()));
    let wrong = Some(Malformed::RecordLength);
    let wrong_field = Some(Malformed::FieldLength);
    let null: &[u8] = &[1];
    vec![
        case("record-length-overrun", &long(1000), 0, wrong),
        case("record-length-max-int", &long(i32::MAX), 0, wrong),
        case("record-length-negative", &long(-1), 0, wrong),
        case("record-length-min-int", &long(i32::MIN), 0, wrong),
        case("record-length-zero", &long(0), 0, wrong),
        case("record-length-one-short", &long(7), 0, wrong),
        case("record-length-one-long", &body([sized(&[0, 0, 0, 1, 1, 0, 0])].concat()), 0, {
            Some(Malformed::RecordLength)
        }),
        case("key-and-value-null", &field(null, null), 1, None),
        case("key-length-minus-2", &field(&[3], null), 0, wrong_field),
        case("value-length-minus-2", &field(null, &[3]), 0, wrong_field),
        case("key-length-min-int", &field(&[0xff, 0xff, 0xff, 0xff, 0x0f], null), 0, wrong_field),
        case("key-length-max-int", &field(&[0xfe, 0xff, 0xff, 0xff, 0x0f], null), 0, wrong_field),
        case("value-length-overrun", &field(null, &[0x14]), 0, wrong_field),
        case("no-header-count", &body(sized(&[0, 0, 0, 1, 1])), 0, wrong),
        case("attributes-only", &body(sized(&[0])), 0, wrong),
    ]
}

fn headers() -> Vec<Case> {
    let with = |end: &[u8]| body(sized(&[&[0, 0, 0, 1, 1], end].concat()));
    let wrong = Some(Malformed::FieldLength);
    vec![
        case("headers-count-huge", &with(&[0xfe, 0xff, 0xff, 0xff, 0x0f]), 0, wrong),
        case("headers-count-negative", &with(&[1]), 0, wrong),
        case("headers-count-min-int", &with(&[0xff, 0xff, 0xff, 0xff, 0x0f]), 0, wrong),
        case("headers-count-one-more", &with(&[4, 2, b'h', 1, 0]), 0, {
            Some(Malformed::RecordLength)
        }),
        case("headers-count-one-less", &with(&[2, 2, b'h', 1, 2, b'i', 1]), 0, {
            Some(Malformed::RecordLength)
        }),
        case("header-name-null", &with(&[2, 1, 1]), 0, wrong),
        case("header-name-overrun", &with(&[2, 0x14, 1]), 0, wrong),
        case("header-value-overrun", &with(&[2, 0, 0x14]), 0, wrong),
        case("header-value-minus-2", &with(&[2, 0, 3]), 0, wrong),
        case("header-name-empty", &with(&[2, 0, 1]), 1, None),
        case("header-name-not-utf8", &with(&[2, 2, 0xff, 1]), 1, None),
        case("header-name-twice", &with(&[4, 2, b'h', 1, 2, b'h', 0]), 1, None),
    ]
}

fn varints() -> Vec<Case> {
    let wrong = Some(Malformed::Varint);
    let high = vec![0x81, 0x80, 0x80, 0x80, 0x70, 0, 0];
    let six = [vec![0xff, 0xff, 0xff, 0xff, 0xff, 0x01], good(0)].concat();
    let eleven = [&[0; 1][..], &[0xff; 10], &[1, 0, 1, 1, 0]].concat();
    let bits = [&[0; 1][..], &[0xff; 9], &[2, 0, 1, 1, 0]].concat();
    let padded = [0, 0x80, 0x80, 0, 0x80, 0, 1, 1, 0];
    vec![
        case("varint-6-bytes", &body(six), 0, wrong),
        case("varint-5th-byte-high-bits", &body(high), 0, wrong),
        case("varlong-11-bytes", &body(sized(&eleven)), 0, wrong),
        case("varlong-10th-byte-high-bits", &body(sized(&bits)), 0, wrong),
        case("varint-not-minimal", &body(sized(&padded)), 1, None),
    ]
}

fn offsets() -> Vec<Case> {
    let one = body(good(0));
    let last = |last_offset_delta| Raw { last_offset_delta, ..one.clone() };
    let base = |base_offset, delta| Raw {
        base_offset,
        last_offset_delta: i32::MAX,
        body: good(delta),
        ..Raw::default()
    };
    let back =
        Raw { body: [good(2), good(0)].concat(), count: 2, last_offset_delta: 2, ..Raw::default() };
    let below = body(sized(&[0, 0, 1, 1, 1, 0]));
    let compacted = Raw { last_offset_delta: 9, body: good(8), ..Raw::default() };
    let wrong = Some(Malformed::Offset);
    vec![
        case("compacted-tail", &compacted, 1, None).next(10),
        case("last-offset-delta-negative", &last(-1), 0, wrong).next(0),
        case("last-offset-delta-min-int", &last(i32::MIN), 0, wrong).next(0),
        case("last-offset-delta-below-record", &body(good(1)), 0, wrong),
        case("offset-delta-negative", &below, 0, wrong),
        case("offsets-decreasing", &back, 2, None).next(3),
        case("base-offset-max", &base(i64::MAX, 1), 0, wrong).next(i64::MAX),
        case("base-offset-max-no-next", &base(i64::MAX, 0), 0, wrong).next(i64::MAX),
        case("base-offset-near-max", &base(i64::MAX - 1, 0), 1, None).next(i64::MAX),
        case("base-offset-negative", &base(-5, 0), 1, None).next(i64::from(i32::MAX) - 4),
    ]
}

fn attributes() -> Vec<Case> {
    let bits = |attributes, body| Raw { attributes, body, ..Raw::default() };
    let times = |time, delta: i64| Raw {
        base_timestamp: time,
        max_timestamp: time,
        body: encode(&Record::new(b"v"), 0, delta),
        ..Raw::default()
    };
    let empty = Raw { count: 0, ..Raw::default() };
    let mark = encode(&Record::new(&[0, 0, 0, 0, 0, 1]).key(&[0, 0, 0, 0]), 0, 0);
    let codec = |codec: u8| {
        let raw = bits(i16::from(codec), good(0));
        (raw, Some(Malformed::Compressed(codec)))
    };
    let [(gzip, is_gzip), (five, is_five), (six, is_six), (seven, is_seven)] =
        [1, 5, 6, 7].map(codec);
    vec![
        case("reserved-attribute-bits", &bits(!0x7f, good(0)), 1, None),
        case("record-attribute-bits", &body(sized(&[0xff, 0, 0, 1, 1, 0])), 1, None),
        case("timestamp-overflow", &times(i64::MAX, i64::MAX), 1, None),
        case("timestamp-underflow", &times(i64::MIN, i64::MIN), 1, None),
        case("empty-batch-count0", &Raw { last_offset_delta: 4, ..empty.clone() }, 0, None).next(5),
        case("control-empty-batch", &Raw { attributes: 0x30, ..empty }, 0, None),
        case("control-batch", &bits(0x30, mark), 1, None),
        case("codec-not-unpacked", &gzip, 0, is_gzip),
        case("codec-5", &five, 0, is_five),
        case("codec-6", &six, 0, is_six),
        case("codec-7", &seven, 0, is_seven),
    ]
}

#[test]
fn table() {
    let tables = [counts(), lengths(), headers(), varints(), offsets(), attributes()];
    for Case { name, batch, records, fault, next_offset } in tables.into_iter().flatten() {
        assert_eq!(check_crc(&batch), Ok(()), "{name}: checksum");
        let header = BatchHeader::parse(&batch).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(header.next_offset(), next_offset, "{name}: next offset");
        assert!(header.next_offset() >= header.base_offset, "{name}: position goes back");
        let (read, why) = read_all(&batch);
        assert_eq!((read.len(), why), (records, fault), "{name}: {read:?}");
        for record in read {
            assert!(record.offset < header.next_offset(), "{name}: delivered forever");
        }
    }
}

#[test]
fn batch_lengths() {
    let right = i32::try_from(body(good(0)).bytes().len()).expect("short") - 12;
    let table = [
        ("length-right", right, None),
        ("length-negative", -1, Some(Malformed::BatchLength)),
        ("length-min-int", i32::MIN, Some(Malformed::BatchLength)),
        ("length-zero", 0, Some(Malformed::BatchLength)),
        ("length-below-header", 48, Some(Malformed::BatchLength)),
        ("length-max-int", i32::MAX, Some(Malformed::BatchLength)),
        ("length-overflows-total", i32::MAX - 11, Some(Malformed::BatchLength)),
        ("length-largest", i32::MAX - 12, Some(Malformed::Truncated)),
        ("length-one-more", right + 1, Some(Malformed::Truncated)),
        ("length-one-less", right - 1, Some(Malformed::Crc)),
    ];
    for (name, length, fault) in table {
        let batch = Raw { length: Some(length), ..body(good(0)) }.bytes();
        assert_eq!(check_crc(&batch).err(), fault, "{name}");
        let front = batch.first_chunk::<PEEK_LEN>().expect("12 bytes");
        let peeked = peek_len(front);
        if fault == Some(Malformed::BatchLength) {
            assert_eq!(peeked, Err(Malformed::BatchLength), "{name}");
            assert_eq!(BatchHeader::parse(&batch), Err(Malformed::BatchLength), "{name}");
        } else {
            let total = usize::try_from(length).expect("positive") + 12;
            assert_eq!(peeked, Ok(total), "{name}");
            let header = BatchHeader::parse(&batch).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert_eq!(header.total_len(), total, "{name}");
        }
    }
    // Without a record, and valid nevertheless.
    let empty = Raw { count: 0, ..Raw::default() }.bytes();
    assert_eq!(empty.len(), HEADER_LEN, "length-smallest");
    assert_eq!(check_crc(&empty), Ok(()), "length-smallest");
}

#[test]
fn wrong_checksum() {
    let mut batch = body(good(0)).bytes();
    batch[20] ^= 1;
    assert_eq!(check_crc(&batch), Err(Malformed::Crc), "crc-bad");
    // The broker may write base offset and leader epoch without a new checksum.
    let mut batch = body(good(0)).bytes();
    batch[7] = 9;
    batch[15] = 3;
    assert_eq!(check_crc(&batch), Ok(()), "crc-does-not-cover-the-broker's-fields");
}

#[test]
fn other_magic() {
    for magic in [0, 1, 3, 0x7f, 0xff] {
        // The length has no meaning then.
        let batch = Raw { magic, length: Some(-1), ..body(good(0)) }.bytes();
        assert_eq!(BatchHeader::parse(&batch), Err(Malformed::Magic(magic)), "magic {magic}");
        assert_eq!(check_crc(&batch), Err(Malformed::Magic(magic)), "magic {magic}");
    }
}

#[test]
fn truncated_tail() {
    let batch = body(good(0)).bytes();
    let header = BatchHeader::parse(&batch).expect("a good one");
    for cut in 0..batch.len() {
        let set = [&batch, &batch[..cut]].concat();
        assert_eq!(split(&set), (vec![batch.as_slice()], cut), "truncated-tail-{cut}");
        assert_eq!(check_crc(&batch[..cut]), Err(Malformed::Truncated), "cut at {cut}");
        let (records, why) = collect(Records::new(&header, &batch[..cut]));
        assert_eq!((records.len(), why), (0, Some(Malformed::Truncated)), "cut at {cut}");
    }
}

#[test]
fn control_records() {
    let both = hex(concat!(
        "0000000000000000000000530000000002056aff5400300000000100000000000003e800000000000003e8",
        "00000000000000070001ffffffff000000022000000008000000000c000000000001002000000208000000",
        "000c00000000000100",
    ));
    assert_eq!(check_crc(&both), Ok(()), "control-two-markers");
    assert!(BatchHeader::parse(&both).is_ok_and(|header| header.is_control()));
    let (records, why) = read_all(&both);
    assert_eq!((records.len(), why), (2, None), "control-two-markers");
    for record in records {
        let key = record.key.expect("a key");
        assert_eq!(ControlRecord::parse(&key), Ok(ControlRecord::Abort), "control-two-markers");
    }
    let table: [(&str, &[u8], Result<ControlRecord, Malformed>); 9] = [
        ("abort", &[0, 0, 0, 0], Ok(ControlRecord::Abort)),
        ("commit", &[0, 0, 0, 1], Ok(ControlRecord::Commit)),
        ("leader-change", &[0, 0, 0, 2], Ok(ControlRecord::Other(2))),
        ("type-negative", &[0, 0, 0xff, 0xff], Ok(ControlRecord::Other(-1))),
        ("version-later", &[0, 9, 0, 1], Ok(ControlRecord::Commit)),
        ("longer", &[0, 0, 0, 1, 7], Ok(ControlRecord::Commit)),
        ("version-negative", &[0xff, 0xff, 0, 1], Err(Malformed::ControlKey)),
        ("short", &[0, 0, 0], Err(Malformed::ControlKey)),
        ("empty", &[], Err(Malformed::ControlKey)),
    ];
    for (name, key, expected) in table {
        assert_eq!(ControlRecord::parse(key), expected, "control-{name}");
    }
}

/// Bytes as they were reported, not built here.
#[test]
fn reported() {
    let table = [
        (
            "headers-count-huge",
            "00000000000000000000003e0000000002546accd000000000000000000000000003e800000000000003e8\
             ffffffffffffffffffffffffffff0000000118000000026b0276feffffff0f",
            Some(Malformed::FieldLength),
        ),
        (
            "record-length-overrun",
            "00000000000000000000003b0000000002d301856200000000000000000000000003e800000000000003e8\
             ffffffffffffffffffffffffffff00000001d00f000000026b027600",
            Some(Malformed::RecordLength),
        ),
        (
            "varint-6-bytes",
            "00000000000000000000003f000000000278dbfc9900000000000000000000000003e800000000000003e8\
             ffffffffffffffffffffffffffff00000001ffffffffff01000000026b027600",
            Some(Malformed::Varint),
        ),
        (
            "zstd-claims-huge",
            "0000000000000000000000410000000002bf5d16cb00040000000200000000000003e800000000000003e8\
             ffffffffffffffffffffffffffff0000000328b52ffde00000000000000040010000",
            Some(Malformed::Compressed(4)),
        ),
    ];
    for (name, bytes, fault) in table {
        let batch = hex(bytes);
        assert_eq!(check_crc(&batch), Ok(()), "{name}");
        assert_eq!(read_all(&batch), (Vec::new(), fault), "{name}");
    }
    let compacted = hex(concat!(
        "00000000000000000000003a00000000021d86ff5d00000000000900000000000003e800000000000003e8",
        "ffffffffffffffffffffffffffff0000000110000000026b027600",
    ));
    let next = BatchHeader::parse(&compacted).map(|header| header.next_offset());
    assert_eq!(next, Ok(10), "compacted-tail");
    assert_eq!(read_all(&compacted).1, None, "compacted-tail");
}
