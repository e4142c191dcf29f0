//! The batch reader: any bytes, and any header with a right checksum.

use kavka_core::record::{
    self, BatchHeader, ControlRecord, HEADER_LEN, PEEK_LEN, Record, Records, TimestampType,
    check_crc, peek_len, varint,
};

use crate::input::Input;
use crate::memory::still;

/// Position of a batch's checksum, and of the first byte that it covers.
const CRC: core::ops::Range<usize> = 17..21;
/// BatchLength.
const LENGTH: core::ops::Range<usize> = 8..12;

/// Reads flags, then a batch: bit 0 corrects its length, bit 1 its magic, bit 2 its checksum.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (flags, from) = (input.byte(), input.number());
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
        bytes[16] = 2;
    }
    if flags & 4 != 0 {
        let len = bytes[LENGTH].iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
        let end = len.saturating_add(PEEK_LEN).min(bytes.len());
        let crc = crc32c::crc32c(bytes.get(CRC.end..end).unwrap_or_default());
        bytes[CRC].copy_from_slice(&crc.to_be_bytes());
    }
    bytes
}

fn walk(header: &BatchHeader, mut records: Records<'_>, len: usize) {
    let (_, most) = records.size_hint();
    let (mut count, mut failed) = (0_usize, false);
    while let Some(next) = still(|| records.next()) {
        assert!(!failed, "goes on after an error");
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
