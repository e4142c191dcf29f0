//! Message sets of magic 0 and 1: those of other clients' tests, and those that broke other
//! clients. All checksums are right except those that are meant to be wrong.

use bytes::Bytes;
use kavka_core::codec::{Codec, unpack_body};
use kavka_core::record::{
    BatchHeader, Damage, Magic, Malformed, Records, TimestampType, check_crc, check_records,
    parse_old,
};
use kavka_std::codec::Decoders;
use kavka_tests::sim::old::{Message, set, wrapped};
use serde_json::Value;

use super::golden::{bytes, lines, number, text};
use super::support::{Owned, collect, hex};

/// Returns an unpacked set, and the header of the message that has it.
fn unpacked(bytes: &[u8]) -> (BatchHeader, Vec<u8>) {
    let header = parse_old(bytes).expect("a message");
    let mut out = vec![0; 1 << 20];
    let len = unpack_body(&mut Decoders::new(), &header, header.body(bytes), &mut out);
    out.truncate(len.expect("unpacked"));
    (header, out)
}

#[test]
fn message_sets_of_other_clients_are_read() {
    let (mut plain, mut packed, mut batches) = (0, [0; 5], 0);
    for line in lines("old.jsonl") {
        let id = text(&line, "id");
        let all = hex(text(&line, "hex"));
        let mut rest = &all[..];
        let mut expected = line["expected"].as_array().expect("array").iter().peekable();
        while let Some(next) = expected.peek().copied() {
            if let Some(tail) = next.get("partial") {
                assert_eq!(tail.as_u64(), Some(rest.len() as u64), "{id}: tail");
                assert_eq!(parse_old(rest).err(), Some(Malformed::Truncated), "{id}");
                rest = &[];
                expected.next();
            } else if next["magic"] == 2 {
                let header = BatchHeader::parse(rest).unwrap_or_else(|why| panic!("{id}: {why}"));
                assert_eq!(check_crc(rest), Ok(()), "{id}");
                assert_eq!(parse_old(rest), Err(Malformed::Magic(2)), "{id}");
                (rest, batches) = (&rest[header.total_len()..], batches + 1);
                expected.next();
            } else if next.get("inner").is_some() {
                let len = parse_old(rest).unwrap_or_else(|why| panic!("{id}: {why}")).total_len();
                let codec = same_inner(id, &rest[..len], next);
                (rest, packed[codec]) = (&rest[len..], packed[codec] + 1);
                expected.next();
            } else {
                let header = parse_old(rest).unwrap_or_else(|why| panic!("{id}: {why}"));
                assert_eq!((header.codec(), header.partition_leader_epoch), (0, -1), "{id}");
                let (records, fault) = collect(Records::new(&header, rest));
                assert_eq!((fault, records.len()), (None, header.count as usize), "{id}");
                for record in &records {
                    let wanted = expected.next().unwrap_or_else(|| panic!("{id}: {record:?}"));
                    assert_eq!(i64::from(header.magic.number()), number(wanted, "magic"), "{id}");
                    assert_eq!(*record, owned(wanted, 0), "{id}");
                }
                let (first, last) = (&records[0], &records[records.len() - 1]);
                assert_eq!((header.base_offset, header.last_offset()), (first.offset, last.offset));
                (rest, plain) = (&rest[header.total_len()..], plain + records.len());
            }
        }
        assert!(rest.is_empty(), "{id}: {} bytes are left", rest.len());
    }
    assert_eq!((plain, packed, batches), PLACED, "messages, by codec, and batches of old.jsonl");
}

/// Messages of old.jsonl that are not compressed, those that are by codec, and batches.
const PLACED: (usize, [usize; 5], usize) = (71, [0, 24, 3, 2, 2], 12);

/// Compares the messages inside a compressed one; returns its codec.
fn same_inner(id: &str, message: &[u8], wanted: &Value) -> usize {
    let inner = wanted["inner"].as_array().expect("array");
    let last = inner.last().map_or(0, |last| number(last, "offset"));
    // Some were recorded on their way to a broker, which writes the offset.
    let offset = number(wanted, "offset").max(last);
    let message = [&offset.to_be_bytes()[..], &message[8..]].concat();
    let (header, body) = unpacked(&message);
    assert_eq!((header.base_offset, header.next_offset()), (offset, offset + 1), "{id}");
    assert_eq!(i64::from(header.crc), number(wanted, "crc"), "{id}");
    let (records, fault) = collect(Records::unpacked(&header, &body));
    if inner.is_empty() {
        assert_eq!(fault, Some(Malformed::RecordCount), "{id}");
    } else {
        assert_eq!((fault, check_records(&header, &body)), (None, Ok(())), "{id}");
    }
    let base = if header.magic == Magic::V0 { 0 } else { offset - last };
    let wanted: Vec<Owned> = inner.iter().map(|inner| owned(inner, base)).collect();
    assert_eq!(records, wanted, "{id}");
    usize::from(header.codec())
}

fn owned(wanted: &Value, base: i64) -> Owned {
    Owned {
        offset: base + number(wanted, "offset"),
        timestamp: wanted.get("timestamp").map_or(-1, |_| number(wanted, "timestamp")),
        key: bytes(&wanted["key"]),
        value: bytes(&wanted["value"]),
        headers: Vec::new(),
    }
}

fn message(magic: i8, offset: i64) -> Message {
    let value = Some(Bytes::from(format!("value {offset}")));
    Message { offset, magic, attributes: 0, timestamp: 1000 + offset, key: None, value }
}

fn messages(magic: i8, offsets: core::ops::Range<i64>) -> Vec<Message> {
    offsets.map(|offset| message(magic, offset)).collect()
}

fn offsets(records: Records<'_>) -> Vec<i64> {
    collect(records).0.into_iter().map(|record| record.offset).collect()
}

#[test]
fn what_is_examined_ends_where_the_next_message_differs() {
    let two = |magic| messages(magic, 3..5);
    let packed = |magic| wrapped(&messages(magic, 5..7), 1).unwrap();
    let appended = Message { attributes: 8, ..message(1, 5) };
    let wrong = |message: &Message| {
        let mut bytes = message.bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    let cases: [(&str, i8, Vec<u8>); 8] = [
        ("nothing", 0, vec![]),
        ("a compressed one", 0, packed(0).bytes().into()),
        ("the other magic", 0, message(1, 5).bytes().into()),
        ("another timestamp type", 1, appended.bytes().into()),
        ("an incomplete one", 1, message(1, 5).bytes()[..20].into()),
        ("a damaged one", 0, wrong(&message(0, 5))),
        ("the same offset again", 1, message(1, 4).bytes().into()),
        ("an offset that is too far away", 1, message(1, 4 + (1 << 31)).bytes().into()),
    ];
    for (name, magic, after) in cases {
        let front = set(&two(magic));
        let header = parse_old(&[&front[..], &after].concat()).expect(name);
        assert_eq!((header.total_len(), header.count), (front.len(), 2), "{name}");
        assert_eq!((header.base_offset, header.next_offset()), (3, 5), "{name}");
        assert_eq!(offsets(Records::new(&header, &front)), [3, 4], "{name}");
        assert_eq!(offsets(Records::new(&header, &front).from_offset(4)), [4], "{name}");
        // It can be passed to another thread as bytes alone.
        assert_eq!(parse_old(&front), Ok(header), "{name}");
    }
    // A compressed one stands alone.
    let after = [packed(0).bytes(), message(0, 7).bytes()].concat();
    let header = parse_old(&after).unwrap();
    assert_eq!(header.total_len(), packed(0).bytes().len());
    let fault = collect(Records::new(&header, &after)).1;
    assert_eq!(fault, Some(Malformed::Compressed(1)), "it is to be unpacked first");
}

#[test]
fn what_no_position_can_follow_is_refused_or_ends_the_set() {
    for magic in [0, 1] {
        let at = |offset| Message { offset, ..message(magic, 0) };
        let last = at(i64::MAX);
        assert_eq!(parse_old(&last.bytes()), Err(Malformed::Offset), "magic {magic}");
        let set = set(&[at(i64::MAX - 1), last]);
        let header = parse_old(&set).expect("a message");
        let end = (header.count, header.last_offset(), header.next_offset());
        assert_eq!(end, (1, i64::MAX - 1, i64::MAX), "magic {magic}");
        assert_eq!(offsets(Records::new(&header, &set)), [i64::MAX - 1], "magic {magic}");
    }
}

#[test]
fn timestamps_are_those_of_the_leader_where_it_set_them() {
    let inner = messages(1, 0..3);
    let packed = wrapped(&inner, 2).unwrap();
    assert_eq!(packed.timestamp, 1002);
    let times = |message: &Message| {
        let (header, body) = unpacked(&message.bytes());
        let (records, fault) = collect(Records::unpacked(&header, &body));
        assert_eq!(fault, None);
        let times: Vec<i64> = records.into_iter().map(|record| record.timestamp).collect();
        (header.timestamp_type(), times)
    };
    assert_eq!(times(&packed), (TimestampType::Create, vec![1000, 1001, 1002]));
    let appended = Message { attributes: packed.attributes | 8, timestamp: 5, ..packed };
    assert_eq!(times(&appended), (TimestampType::LogAppend, vec![5, 5, 5]));
    // Plain messages have a time each.
    let plain: Vec<_> = inner.into_iter().map(|m| Message { attributes: 8, ..m }).collect();
    let plain = set(&plain);
    let header = parse_old(&plain).unwrap();
    assert_eq!(header.timestamp_type(), TimestampType::LogAppend);
    let (records, _) = collect(Records::new(&header, &plain));
    assert_eq!(records.iter().map(|r| r.timestamp).collect::<Vec<_>>(), [1000, 1001, 1002]);
    // Magic 0 knows neither; its bits beyond the codec mean nothing.
    let header = parse_old(&Message { attributes: 0x78, ..message(0, 0) }.bytes()).unwrap();
    assert_eq!((header.attributes, header.max_timestamp), (0, -1));
}

#[test]
fn nulls_are_told_from_what_is_empty() {
    for magic in [0, 1] {
        let with = |key: Option<&'static [u8]>, value: Option<&'static [u8]>| Message {
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            ..message(magic, 0)
        };
        for (key, value) in [(None, None), (Some(&b""[..]), None), (None, Some(&b""[..]))] {
            let bytes = with(key, value).bytes();
            let header = parse_old(&bytes).expect("a message");
            let (records, _) = collect(Records::new(&header, &bytes));
            let got = (records[0].key.as_deref(), records[0].value.as_deref());
            assert_eq!(got, (key, value), "magic {magic}");
        }
    }
}

/// Replaces bytes of a message, and corrects its checksum.
fn changed(message: &Message, at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = message.bytes().to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    summed(bytes)
}

fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = zlib_rs::crc32::crc32(0, &bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Messages that cannot be read: name, bytes, why.
fn bad() -> Vec<(&'static str, Vec<u8>, Malformed)> {
    let [v0, v1] = [0, 1].map(|magic| message(magic, 7));
    let size = |message: &Message, size: i32| changed(message, 8, &size.to_be_bytes());
    let mut wrong_crc = v1.bytes().to_vec();
    wrong_crc[12] ^= 1;
    let longer = |message: &Message| {
        let mut bytes = [&message.bytes()[..], &[0]].concat();
        bytes[11] += 1;
        summed(bytes)
    };
    let short = {
        let mut bytes = v0.bytes()[..12 + 20].to_vec();
        (bytes[11], bytes[16]) = (20, 1);
        summed(bytes)
    };
    vec![
        ("size-negative", size(&v0, -1), Malformed::BatchLength),
        ("size-min-int", size(&v0, i32::MIN), Malformed::BatchLength),
        ("size-max-int", size(&v1, i32::MAX), Malformed::BatchLength),
        ("size-zero", size(&v0, 0), Malformed::BatchLength),
        ("size-13", size(&v0, 13), Malformed::BatchLength),
        ("size-20-of-magic-1", short, Malformed::FieldLength),
        ("size-larger-than-there-is", size(&v1, 1000), Malformed::Truncated),
        ("magic-2", changed(&v0, 16, &[2]), Malformed::Magic(2)),
        ("magic-3", changed(&v0, 16, &[3]), Malformed::Magic(3)),
        ("magic-255", changed(&v1, 16, &[255]), Malformed::Magic(255)),
        ("crc", wrong_crc, Malformed::Crc),
        ("key-length-minus-2", changed(&v0, 18, &[255, 255, 255, 254]), Malformed::FieldLength),
        ("key-length-min-int", changed(&v1, 26, &[128, 0, 0, 0]), Malformed::FieldLength),
        ("key-length-overrun", changed(&v0, 18, &[0, 0, 0, 100]), Malformed::FieldLength),
        ("key-length-max-int", changed(&v1, 26, &[127, 255, 255, 255]), Malformed::FieldLength),
        ("value-length-minus-2", changed(&v1, 30, &[255, 255, 255, 254]), Malformed::FieldLength),
        ("value-length-overrun", changed(&v0, 22, &[0, 0, 0, 8]), Malformed::FieldLength),
        ("value-length-short", changed(&v0, 22, &[0, 0, 0, 6]), Malformed::RecordLength),
        ("value-null-with-bytes", changed(&v1, 30, &[255; 4]), Malformed::RecordLength),
        ("trailing-byte", longer(&v1), Malformed::RecordLength),
    ]
}

#[test]
fn bad_messages_are_refused_for_what_they_are() {
    for (name, bytes, why) in bad() {
        assert_eq!(parse_old(&bytes), Err(why), "{name}");
        // The same inside of a compressed one, after a good one.
        for magic in [0, 1] {
            let header = parse_old(&wrapped(&[message(magic, 9)], 1).unwrap().bytes()).unwrap();
            let inner = [&message(magic, 5).bytes()[..], &bytes].concat();
            let (records, fault) = collect(Records::unpacked(&header, &inner));
            assert!(records.len() <= 1, "{name} in magic {magic}: {records:?}");
            assert_eq!(fault, Some(why), "{name} in magic {magic}");
        }
    }
}

/// A set: name, messages, the magic outside, offsets that are read, why no more.
type Case = (&'static str, Vec<u8>, i8, Vec<i64>, Option<Malformed>);

/// Returns sets inside a compressed message of offset 9.
fn bad_sets() -> Vec<Case> {
    let of = |magic: i8, offsets: &[i64]| {
        let all: Vec<Message> = offsets.iter().map(|offset| message(magic, *offset)).collect();
        set(&all).to_vec()
    };
    let double = |magic, codec| {
        let inner = wrapped(&messages(magic, 1..3), codec).unwrap();
        set(&[message(magic, 0), inner]).to_vec()
    };
    let cut = |magic, less: usize| {
        let all = of(magic, &[0, 1]);
        all[..all.len() - less].to_vec()
    };
    let (offset, many, nested) =
        (Some(Malformed::Offset), Some(Malformed::RecordCount), Malformed::Compressed);
    vec![
        ("absolute offsets in magic 1", of(1, &[7, 8, 9]), 1, vec![7, 8, 9], None),
        ("relative offsets with gaps", of(1, &[0, 3, 4]), 1, vec![5, 8, 9], None),
        ("the other magic inside", of(0, &[0, 1]), 1, vec![8, 9], None),
        ("the other magic inside", of(1, &[8, 9]), 0, vec![8, 9], None),
        ("gaps at the end", of(0, &[4, 6]), 0, vec![4, 6], None),
        ("backward", of(0, &[8, 7, 9]), 0, vec![8], offset),
        ("backward", of(1, &[1, 0, 2]), 1, vec![8], offset),
        ("the same twice", of(1, &[0, 1, 1]), 1, vec![8, 9], offset),
        ("above that of the message", of(0, &[9, 10]), 0, vec![9], offset),
        ("below 0", of(1, &[0, 12]), 1, vec![], offset),
        ("below 0", of(0, &[-1, 0]), 0, vec![], offset),
        ("beyond all numbers", of(1, &[0, i64::MIN]), 1, vec![], offset),
        ("no message", vec![], 0, vec![], many),
        ("no message", vec![], 1, vec![], many),
        ("cut", cut(0, 1), 0, vec![0], Some(Malformed::Truncated)),
        ("cut after its size", cut(0, 14), 0, vec![0], Some(Malformed::Truncated)),
        ("cut", cut(1, 1), 1, vec![], Some(Malformed::Truncated)),
        ("compressed twice", double(0, 1), 0, vec![0], Some(nested(1))),
        ("compressed twice", double(1, 3), 1, vec![7], Some(nested(3))),
    ]
}

#[test]
fn offsets_inside_a_compressed_message_are_checked() {
    for (name, body, magic, wanted, why) in bad_sets() {
        let name = format!("{name}, magic {magic}");
        let header = parse_old(&wrapped(&[message(magic, 9)], 1).unwrap().bytes()).unwrap();
        let (records, fault) = collect(Records::unpacked(&header, &body));
        let got: Vec<i64> = records.iter().map(|record| record.offset).collect();
        assert_eq!((&got, fault), (&wanted, why), "{name}");
        let Err(Damage { why: found, sound, .. }) = check_records(&header, &body) else {
            assert_eq!(why, None, "{name}");
            continue;
        };
        assert_eq!(Some(found), why, "{name}");
        // What can be read stays the same without the rest, and the position ends there.
        assert_eq!(sound.next_offset(), got.last().map_or(0, |last| last + 1), "{name}");
        if !got.is_empty() {
            let front = &body[..sound.total_len() - 61];
            let (again, fault) = collect(Records::unpacked(&sound, front));
            assert_eq!((again, fault), (records, None), "{name}");
        }
    }
}

/// A set in a set in a set: each step is one call of the application, and none is needed.
#[test]
fn sets_that_are_packed_many_times_end_at_the_first_step() {
    let mut message = message(1, 0);
    for _ in 0..64 {
        message = wrapped(&[message], 1).unwrap();
    }
    let (header, body) = unpacked(&message.bytes());
    let (records, fault) = collect(Records::unpacked(&header, &body));
    assert_eq!((records, fault), (vec![], Some(Malformed::Compressed(1))));
}

#[test]
fn no_cut_and_no_flipped_bit_is_a_surprise() {
    let mut inputs: Vec<(String, Vec<u8>)> = lines("old.jsonl")
        .iter()
        .map(|line| (text(line, "id").to_owned(), hex(text(line, "hex"))))
        .filter(|(_, bytes)| bytes.get(16).is_some_and(|magic| *magic < 2) && bytes.len() < 600)
        .collect();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
        let packed = wrapped(&messages(1, 0..5), i16::from(codec.id())).unwrap();
        inputs.push((codec.to_string(), packed.bytes().to_vec()));
    }
    for (id, bytes) in inputs {
        let header = parse_old(&bytes).unwrap_or_else(|why| panic!("{id}: {why}"));
        let size = i32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize + 12;
        for end in 0..bytes.len() {
            match parse_old(&bytes[..end]) {
                Err(why) => assert_eq!((why, end < size), (Malformed::Truncated, true), "{id}"),
                Ok(part) => assert!(part.total_len() <= end && part.count <= header.count, "{id}"),
            }
        }
        for bit in 0..8 * size {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let parsed = parse_old(&flipped);
            // Offset and size are outside the checksum.
            if bit >= 8 * 12 {
                assert!(parsed.is_err(), "{id}: bit {bit}");
            }
            if let Ok(parsed) = parsed {
                collect(Records::new(&parsed, &flipped));
                collect(Records::unpacked(&parsed, parsed.body(&flipped)));
            }
        }
    }
}
