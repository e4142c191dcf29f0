//! Properties of all records and all bytes.

use kavka_core::record::{
    BatchHeader, HEADER_LEN, Header, HeaderRef, Malformed, Record, Records, Seal, check_crc,
    encoded_len, peek_len, seal, varint, write,
};
use kavka_core::wire::Full;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::support::{Bounded, Owned, collect, crc32c, encode, read_all};

type Headers = Vec<(String, Option<Vec<u8>>)>;

/// Generates a record; its offset and timestamp come from the batch.
fn record() -> impl Strategy<Value = Owned> {
    let bytes = || option::of(vec(any::<u8>(), 0..80));
    let headers = vec((".{0,6}", option::of(vec(any::<u8>(), 0..9))), 0..4);
    let timestamp = prop_oneof![-100..100_000_i64, Just(i64::MIN / 2), Just(i64::MAX / 2)];
    (bytes(), bytes(), headers, timestamp).prop_map(
        |(key, value, headers, timestamp): (_, _, Headers, _)| Owned {
            offset: 0,
            timestamp,
            key,
            value,
            headers: headers.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
        },
    )
}

fn with<T>(owned: &Owned, use_it: impl FnOnce(&Record<'_>) -> T) -> T {
    let headers: Vec<Header<'_>> = owned
        .headers
        .iter()
        .map(|(name, value)| Header {
            name: str::from_utf8(name).expect("made from text"),
            value: value.as_deref(),
        })
        .collect();
    let mut record = Record::tombstone().headers(&headers);
    record.key = owned.key.as_deref();
    record.value = owned.value.as_deref();
    use_it(&record)
}

/// Returns a sealed batch, its records written with offsets from `base`.
fn batch(records: &mut [Owned], base: i64) -> Vec<u8> {
    let base_timestamp = records.first().map_or(0, |first| first.timestamp);
    let mut body = Vec::new();
    for (delta, record) in (0_u32..).zip(records.iter_mut()) {
        record.offset = base + i64::from(delta);
        body.extend(with(record, |r| encode(r, delta, record.timestamp - base_timestamp)));
    }
    let header = seal(
        &Seal {
            producer_id: 7,
            producer_epoch: 3,
            base_sequence: 5,
            count: records.len() as u32,
            base_timestamp,
            max_timestamp: records.iter().map(|r| r.timestamp).max().unwrap_or(0),
            transactional: true,
            codec: 0,
        },
        body.chunks(11),
    );
    let mut bytes = header.expect("can be sealed").to_vec();
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes.extend(body);
    bytes
}

proptest! {
    #[test]
    fn round_trip(mut records in vec(record(), 1..9), base in 0..i64::MAX / 2) {
        let bytes = batch(&mut records, base);
        prop_assert_eq!(check_crc(&bytes), Ok(()));
        prop_assert_eq!(bytes[17..21].to_vec(), crc32c(&bytes[21..]).to_be_bytes());
        prop_assert_eq!(peek_len(bytes.first_chunk().expect("12 bytes")), Ok(bytes.len()));
        let header = BatchHeader::parse(&bytes).expect("sealed");
        prop_assert_eq!(header.next_offset(), base + records.len() as i64);
        let producer = (header.producer_id, header.producer_epoch, header.base_sequence);
        prop_assert_eq!(producer, (7, 3, 5));
        prop_assert!(header.is_transactional() && !header.is_control());
        prop_assert_eq!(read_all(&bytes), (records, None));
    }

    #[test]
    fn length_is_what_is_written(
        record in record(), delta in 0..=i32::MAX as u32, time in any::<i64>(),
        room in 0..200_usize,
    ) {
        let len = with(&record, |r| encoded_len(r, delta, time));
        let bytes = with(&record, |r| encode(r, delta, time));
        prop_assert_eq!(bytes.len(), len);
        let mut sink = Bounded(Vec::new(), room);
        let written = with(&record, |r| write(&mut sink, r, delta, time));
        prop_assert_eq!(written, if len <= room { Ok(()) } else { Err(Full) });
        prop_assert!(bytes.starts_with(&sink.0));
    }

    /// Also with names that are not UTF-8.
    #[test]
    fn headers_of_any_names_are_read_as_written(
        pairs in vec((vec(any::<u8>(), 0..5), option::of(vec(any::<u8>(), 0..5))), 0..6),
        mut one in vec(record(), 1..2),
    ) {
        let headers: Vec<_> =
            pairs.iter().map(|(name, value)| HeaderRef { name, value: value.as_deref() }).collect();
        let record = Record::new(b"v").header_refs(&headers);
        let bytes = encode(&record, 0, 0);
        prop_assert_eq!(bytes.len(), encoded_len(&record, 0, 0));
        let named: Vec<_> =
            record.each_header().map(|(name, value)| HeaderRef { name, value }).collect();
        prop_assert_eq!(&named, &headers);
        let header = BatchHeader::parse(&batch(&mut one, 0)).expect("sealed");
        let read = Records::unpacked(&header, &bytes).next().expect("a record").expect("good");
        prop_assert_eq!(read.headers.collect::<Vec<_>>(), headers);
        prop_assert_eq!(encode(&read.to_record(), 0, 0), bytes);
    }

    #[test]
    fn split_batch_is_the_same_records(mut records in vec(record(), 2..9), at in 1..8_usize) {
        let whole = batch(&mut records, 0);
        let header = BatchHeader::parse(&whole).expect("sealed");
        let at = at.min(records.len() - 1);
        let mut tail = Vec::new();
        let read: Vec<_> = Records::new(&header, &whole).map(|r| r.expect("good")).collect();
        let base = read[at].timestamp;
        for (delta, record) in (0..).zip(&read[at..]) {
            tail.extend(encode(&record.to_record(), delta, record.timestamp - base));
        }
        let header = BatchHeader { base_offset: at as i64, base_timestamp: base,
            count: (read.len() - at) as i32, ..header };
        prop_assert_eq!(collect(Records::unpacked(&header, &tail)), (records.split_off(at), None));
    }

    #[test]
    fn every_prefix_fails(mut records in vec(record(), 1..4)) {
        let bytes = batch(&mut records, 0);
        let header = BatchHeader::parse(&bytes).expect("sealed");
        for cut in 0..bytes.len() {
            prop_assert_eq!(check_crc(&bytes[..cut]), Err(Malformed::Truncated), "cut at {}", cut);
            let body = &bytes[HEADER_LEN.min(cut)..cut];
            let (read, why) = collect(Records::unpacked(&header, body));
            prop_assert!(why.is_some(), "cut at {}", cut);
            prop_assert!(records.starts_with(&read), "cut at {}", cut);
        }
    }

    #[test]
    fn every_bit_flip_is_seen(mut records in vec(record(), 1..3)) {
        let bytes = batch(&mut records, 0);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // Base offset and leader epoch are the broker's.
            let free = bit / 8 < 8 || (12..16).contains(&(bit / 8));
            prop_assert_eq!(check_crc(&bad).is_ok(), free, "bit {}", bit);
            bounded(&bad)?;
        }
    }

    #[test]
    fn any_bytes(body in vec(any::<u8>(), 0..300), front in any::<[u8; HEADER_LEN]>()) {
        let mut bytes = [&front, body.as_slice()].concat();
        bounded(&bytes)?;
        bytes[16] = 2;
        bytes[8..12].copy_from_slice(&(body.len() as i32 + 49).to_be_bytes());
        bounded(&bytes)?;
        bytes[22] &= !7;
        bounded(&bytes)?;
    }

    #[test]
    fn any_varint(value in any::<i64>(), wire in vec(any::<u8>(), 0..12)) {
        let (bytes, len) = varint::encode(value);
        prop_assert_eq!(varint::len(value), len);
        prop_assert_eq!(varint::take_i64(&mut &bytes[..len]), Ok(value));
        let narrow = value as i32;
        let (bytes, len) = varint::encode(i64::from(narrow));
        prop_assert!(len <= varint::MAX_32);
        prop_assert_eq!(varint::take_i32(&mut &bytes[..len]), Ok(narrow));
        let mut rest = wire.as_slice();
        if varint::take_i64(&mut rest).is_err() {
            prop_assert_eq!(rest.len(), wire.len());
        }
    }

    #[test]
    fn from_offset_is_the_tail(mut records in vec(record(), 1..9), from in -3..12_i64) {
        let bytes = batch(&mut records, 2);
        let header = BatchHeader::parse(&bytes).expect("sealed");
        records.retain(|record| record.offset >= from);
        let tail = Records::new(&header, &bytes).from_offset(from);
        prop_assert_eq!(collect(tail), (records, None));
    }
}

/// Checks that there are no more records than fit into the bytes.
fn bounded(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (records, why) = read_all(bytes);
    let held: usize = records.iter().map(|r| 7 + r.headers.len() * 2).sum();
    prop_assert!(held <= bytes.len().saturating_sub(HEADER_LEN), "{:?}", why);
    if let Ok(header) = BatchHeader::parse(bytes) {
        prop_assert!(header.next_offset() >= header.base_offset);
        prop_assert!(header.last_offset() < i64::MAX);
    }
    Ok(())
}

/// What the format cannot express is refused, not truncated.
#[test]
fn too_large() {
    let mut sink = Bounded(Vec::new(), usize::MAX);
    assert_eq!(write(&mut sink, &Record::new(b"v"), 1 << 31, 0), Err(Full), "offset delta");
    assert!(sink.0.is_empty(), "wrote something");
    let of = |count, codec| Seal {
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        count,
        base_timestamp: 0,
        max_timestamp: 0,
        transactional: false,
        codec,
    };
    let none = || core::iter::empty();
    assert_eq!(seal(&of(0, 0), none()), None, "no records");
    assert_eq!(seal(&of(1 << 31, 0), none()), None, "too many records");
    assert_eq!(seal(&of(1, 5), none()), None, "unknown codec");
    assert!(seal(&of(i32::MAX as u32, 4), none()).is_some(), "most records");
}
