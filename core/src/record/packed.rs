//! Records that are encoded before it is known which batch they go into.

use super::write::{Content, Small, content_len, front, numbers_len, with_length, write_content};
use super::{Record, varint};
use crate::wire::{Full, Sink};

/// A record that [`pack`] has written: all of it except what depends on its batch. Moving it there
/// takes one copy.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    bytes: &'a [u8],
    /// Milliseconds since 1970. `None`: the default of the receiver.
    pub timestamp: Option<i64>,
}

/// Returns how many bytes [`pack`] appends. `usize::MAX` stands for more than can be counted.
#[must_use]
#[inline]
pub fn packed_len(record: &Record<'_>) -> usize {
    content_len(record)
}

/// Appends key, value and headers of a record in the format of a batch. The timestamp of `record`
/// is ignored.
///
/// # Errors
/// `Full`, when the sink is. What it took before stays there.
#[inline]
pub fn pack(sink: &mut (impl Sink + ?Sized), record: &Record<'_>) -> Result<(), Full> {
    write_content(sink, Small::new(), record)
}

impl<'a> Packed<'a> {
    /// Returns the record that [`pack`] has written to `bytes`. They are not checked: with other
    /// bytes brokers refuse the whole batch.
    #[must_use]
    #[inline]
    pub const fn new(bytes: &'a [u8], timestamp: Option<i64>) -> Self {
        Self { bytes, timestamp }
    }

    #[inline]
    fn body_len(&self, offset_delta: u32, timestamp_delta: i64) -> usize {
        numbers_len(offset_delta, timestamp_delta).saturating_add(self.bytes.len())
    }

    /// Returns what [`pack`] has written.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl Content for Packed<'_> {
    #[inline]
    fn key(&self) -> Option<&[u8]> {
        let mut rest = self.bytes;
        let len = usize::try_from(varint::take_i32(&mut rest).ok()?).ok()?;
        rest.get(..len)
    }

    #[inline]
    fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }

    #[inline]
    fn len(&self, offset_delta: u32, timestamp_delta: i64) -> usize {
        with_length(self.body_len(offset_delta, timestamp_delta))
    }

    #[inline]
    fn write(
        &self,
        sink: &mut (impl Sink + ?Sized),
        len: usize,
        offset_delta: u32,
        timestamp_delta: i64,
    ) -> Result<(), Full> {
        if i32::try_from(len).is_err() {
            return Err(Full);
        }
        let body = self.body_len(offset_delta, timestamp_delta);
        sink.put(front(body, offset_delta, timestamp_delta)?.bytes())?;
        sink.put(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::{Header, encoded_len, write};
    use super::*;
    use crate::wire::SliceSink;

    fn written(fill: impl Fn(&mut SliceSink<'_>) -> Result<(), Full>) -> Vec<u8> {
        let mut room = [0; 1000];
        let mut sink = SliceSink::new(&mut room);
        fill(&mut sink).unwrap();
        sink.written().to_vec()
    }

    #[test]
    fn a_packed_record_becomes_the_same_bytes() {
        let headers = [Header { name: "a", value: Some(b"1") }, Header { name: "", value: None }];
        let records = [
            Record::new(b"value"),
            Record::new(b"").key(b""),
            Record::new(&[7; 300]).key(&[8; 40]).headers(&headers),
            Record::tombstone().key(b"key"),
            Record::tombstone(),
        ];
        for record in &records {
            let bytes = written(|sink| pack(sink, record));
            assert_eq!(bytes.len(), packed_len(record));
            let packed = Packed::new(&bytes, None);
            assert_eq!(packed.key(), record.key);
            for (offset, time) in [(0, 0), (1, -1), (70, 1 << 40), (i32::MAX as u32, i64::MIN)] {
                let len = packed.len(offset, time);
                assert_eq!(len, encoded_len(record, offset, time));
                let got = written(|sink| packed.write(sink, len, offset, time));
                assert_eq!(got, written(|sink| write(sink, record, offset, time)));
            }
            let mut room = [0; 1000];
            let mut sink = SliceSink::new(&mut room);
            assert_eq!(packed.write(&mut sink, 400, 1 << 31, 0), Err(Full));
        }
    }
}
