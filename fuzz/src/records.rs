//! The batch reader: any bytes, and any header with a right checksum.

use kavka_core::record::{
    self, BatchHeader, ControlRecord, HEADER_LEN, Magic, PEEK_LEN, Record, Records, TimestampType,
    check_crc, check_records, parse_old, peek_len, varint,
};

use crate::input::Input;
use crate::memory::still;

/// Position of a batch's checksum, and of the first byte that it covers.
const CRC: core::ops::Range<usize> = 17..21;
/// BatchLength.
const LENGTH: core::ops::Range<usize> = 8..12;
/// Position of the magic in all formats.
const MAGIC: usize = 16;

/// Reads flags, then a batch: bit 0 corrects its length, bit 1 its magic, bit 2 its checksum. With
/// bits 3 and 4: messages of magic 0 and 1, of which these correct the first one, and bit 5 the
/// checksums of all others.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (flags, from) = (input.byte(), input.number());
    if flags & 24 == 24 {
        return old(input.rest(), flags, from);
    }
    let bytes = mended(input.rest(), flags);
    varints(&bytes);
    if let Some(front) = bytes.first_chunk::<PEEK_LEN>()
        && let Ok(len) = still(|| peek_len(front))
    {
        assert!(len >= HEADER_LEN && i32::try_from(len).is_ok(), "{len} bytes");
    }
    let Ok(header) = still(|| BatchHeader::parse(&bytes)) else {
        assert!(check_crc(&bytes).is_err(), "a checksum without a header");
        return;
    };
    let whole = bytes.len() >= header.total_len();
    let right = still(|| check_crc(&bytes)).is_ok();
    assert!(whole || !right, "a checksum of what is not there");
    if flags & 7 == 7 {
        assert!(right, "a checksum that is right is not taken");
    }
    assert!(header.last_offset() >= header.base_offset.saturating_sub(1), "{header:?}");
    assert!(header.next_offset() >= header.base_offset.min(i64::MAX - 1), "{header:?}");
    let body = bytes.get(HEADER_LEN..).unwrap_or_default();
    walk(&header, Records::new(&header, &bytes), body.len());
    walk(&header, Records::unpacked(&header, body), body.len());
    let later = Records::unpacked(&header, body).from_offset(from);
    let all =
        Records::unpacked(&header, body).filter(|r| !r.as_ref().is_ok_and(|r| r.offset < from));
    assert!(
        later.map(|r| r.map(|r| r.offset)).eq(all.map(|r| r.map(|r| r.offset))),
        "from offset {from}: {header:?}"
    );
}

fn mended(bytes: &[u8], flags: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() < HEADER_LEN {
        return bytes;
    }
    if flags & 1 != 0 {
        let len = u32::try_from(bytes.len() - PEEK_LEN).expect("inputs are small");
        bytes[LENGTH].copy_from_slice(&len.to_be_bytes());
    }
    if flags & 2 != 0 {
        bytes[MAGIC] = 2;
    }
    if flags & 4 != 0 {
        let len = bytes[LENGTH].iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
        let end = len.saturating_add(PEEK_LEN).min(bytes.len());
        let crc = crc32c::crc32c(bytes.get(CRC.end..end).unwrap_or_default());
        bytes[CRC].copy_from_slice(&crc.to_be_bytes());
    }
    bytes
}

/// Message sets: as they are, and as what was unpacked from a compressed message.
fn old(bytes: &[u8], flags: u8, from: i64) {
    let bytes = mended_set(bytes, flags);
    let Ok(header) = still(|| parse_old(&bytes)) else { return };
    let len = header.total_len();
    assert!(len <= bytes.len() && header.count > 0 && header.magic != Magic::V2, "{header:?}");
    assert!(header.next_offset() > header.base_offset.min(i64::MAX - 1), "{header:?}");
    assert!(!header.is_control() && !header.is_transactional(), "{header:?}");
    // The run of messages is all that it says, and can be found again in its bytes alone.
    assert_eq!(still(|| parse_old(&bytes[..len])), Ok(header));
    if header.codec() == 0 {
        let read = walk_set(&header, Records::new(&header, &bytes), len);
        let count = usize::try_from(header.count).expect("positive");
        assert_eq!((read.0, read.1, read.2), (count, None, header.next_offset()), "{header:?}");
    }
    // The value of a compressed message, as if it had not been compressed; and all of the bytes.
    for body in [header.body(&bytes), &bytes] {
        let (count, fault, next) = walk_set(&header, Records::unpacked(&header, body), body.len());
        let Err(damage) = still(|| check_records(&header, body)) else {
            assert_eq!(fault, None, "{header:?}");
            continue;
        };
        assert_eq!((Some(damage.why), damage.sound.next_offset()), (fault, next), "{header:?}");
        if count > 0 {
            // What can be read stays the same without the rest.
            let sound = &body[..damage.sound.total_len() - HEADER_LEN];
            let again = Records::unpacked(&damage.sound, sound);
            let before = Records::unpacked(&header, body).map_while(Result::ok);
            let before: Vec<_> = before.map(|r| (r.offset, r.timestamp, r.key, r.value)).collect();
            let again = again.map(|r| r.expect("sound"));
            assert!(
                again.map(|r| (r.offset, r.timestamp, r.key, r.value)).eq(before),
                "{:?} of {header:?}",
                damage.sound
            );
        }
        let later = Records::unpacked(&header, body).from_offset(from);
        assert!(later.filter_map(Result::ok).all(|r| r.offset >= from), "from offset {from}");
    }
}

/// Returns how many messages can be read, why no more, and the offset after them.
fn walk_set(
    header: &BatchHeader,
    mut records: Records<'_>,
    len: usize,
) -> (usize, Option<record::Malformed>, i64) {
    let (_, most) = records.size_hint();
    let (mut count, mut next) = (0, 0);
    loop {
        match still(|| records.next()) {
            Some(Ok(record)) => {
                count += 1;
                let first = count == 1;
                assert!(first || record.offset >= next, "{} of {header:?}", record.offset);
                assert!(record.offset <= header.last_offset(), "{} of {header:?}", record.offset);
                next = record.offset + 1;
                assert_eq!(record.headers.len(), 0);
                rewrite(&record.to_record(), 0);
                assert!(count <= len / 26 && most.is_some_and(|most| count <= most), "{count}");
            }
            Some(Err(why)) => {
                assert!(records.next().is_none(), "continues after an error");
                return (count, Some(why), next);
            }
            None => return (count, None, next),
        }
    }
}

fn mended_set(bytes: &[u8], flags: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let (mut at, mut first) = (0, true);
    while bytes.len() - at > MAGIC {
        let rest = &mut bytes[at..];
        if first && flags & 1 != 0 {
            let len = u32::try_from(rest.len() - PEEK_LEN).expect("inputs are small");
            rest[LENGTH].copy_from_slice(&len.to_be_bytes());
        }
        if first && flags & 2 != 0 {
            rest[MAGIC] &= 1;
        }
        let len = rest[LENGTH].iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
        let end = len.saturating_add(PEEK_LEN).min(rest.len());
        if flags & if first { 4 } else { 32 } != 0 && end >= MAGIC {
            let crc = crc32(&rest[MAGIC..end]);
            rest[PEEK_LEN..MAGIC].copy_from_slice(&crc.to_be_bytes());
        }
        (at, first) = (at + end, false);
    }
    bytes
}

/// CRC-32 of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xedb8_8320 * (crc & 1)))
    })
}

fn walk(header: &BatchHeader, mut records: Records<'_>, len: usize) {
    let (_, most) = records.size_hint();
    let (mut count, mut failed) = (0_usize, false);
    while let Some(next) = still(|| records.next()) {
        assert!(!failed, "continues after an error");
        count += 1;
        assert!(most.is_some_and(|most| count <= most), "{count} records, hint {most:?}");
        assert!(count <= len / 7 + 1, "{count} records in {len} bytes");
        let Ok(record) = next else {
            failed = true;
            continue;
        };
        let range = header.base_offset..=header.last_offset();
        assert!(range.contains(&record.offset), "offset {} of {header:?}", record.offset);
        if header.timestamp_type() == TimestampType::LogAppend {
            assert_eq!(record.timestamp, header.max_timestamp);
        }
        let headers = record.headers.len();
        assert_eq!(still(|| record.headers.count()), headers, "headers that were checked");
        rewrite(&record.to_record(), headers);
        if let Some(key) = record.key {
            let _ = still(|| ControlRecord::parse(key));
        }
    }
    assert!(records.next().is_none(), "more after the end");
    let fewer = !failed && count != usize::try_from(header.count).unwrap_or(usize::MAX);
    assert!(!fewer, "{count} records, no error: {header:?}");
}

/// Checks that what was read can be written, in the stated size, and reads as the same.
fn rewrite(record: &Record<'_>, headers: usize) {
    let len = record::encoded_len(record, 3, 5);
    let mut room = vec![0; len];
    let mut sink = kavka_core::wire::SliceSink::new(&mut room);
    record::write(&mut sink, record, 3, 5).expect("as much room as is said");
    assert_eq!(sink.len(), len, "encoded length");
    let header = BatchHeader {
        base_offset: 0,
        batch_length: 0,
        partition_leader_epoch: 0,
        magic: Magic::V2,
        crc: 0,
        attributes: 0,
        last_offset_delta: 3,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        count: 1,
    };
    let mut again = Records::unpacked(&header, &room);
    let read = again.next().expect("one record").expect("what we wrote");
    assert_eq!((read.offset, read.timestamp), (3, 5));
    assert_eq!((read.key, read.value, read.headers.len()), (record.key, record.value, headers));
    assert!(read.to_record().each_header().eq(record.each_header()), "headers");
    assert!(again.next().is_none(), "one record");
}

fn varints(bytes: &[u8]) {
    let mut rest = bytes;
    if let Ok(value) = varint::take_i32(&mut rest) {
        assert!(bytes.len() - rest.len() <= varint::MAX_32);
        assert!(varint::len(i64::from(value)) <= bytes.len() - rest.len(), "shortest form");
    }
    let mut rest = bytes;
    if let Ok(value) = varint::take_i64(&mut rest) {
        assert!(bytes.len() - rest.len() <= varint::MAX_64);
        assert!(varint::len(value) <= bytes.len() - rest.len(), "shortest form");
    }
}
