//! Writing: scalars, strings and counts in both the old and the flexible format.

use core::fmt;

use super::Uuid;

/// No space, or a value too long for its field. A normal condition: nothing is broken, try again
/// with more space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room")
    }
}

impl core::error::Error for Full {}

/// Where encoded bytes go: a slice, chained blocks, a checksum.
pub trait Sink {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// [`Full`] when they do not fit; part of them may have been taken.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full>;
}

/// A [`Sink`] over a slice of fixed size.
#[derive(Debug)]
pub struct SliceSink<'a> {
    room: &'a mut [u8],
    used: usize,
}

impl<'a> SliceSink<'a> {
    /// Creates a sink that starts at the beginning of `room`.
    pub const fn new(room: &'a mut [u8]) -> Self {
        Self { room, used: 0 }
    }

    /// Returns how many bytes were written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.used
    }

    /// Whether nothing was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Returns the bytes written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.room.get(..self.used).unwrap_or_default()
    }
}

impl Sink for SliceSink<'_> {
    #[cfg_attr(feature = "std", inline)]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let room = self.room.get_mut(self.used..).ok_or(Full)?;
        let (to, _) = room.split_at_mut_checked(bytes.len()).ok_or(Full)?;
        to.copy_from_slice(bytes);
        self.used += bytes.len();
        Ok(())
    }
}

/// A [`Sink`] that takes everything and keeps nothing, so that a [`Writer`] counts.
#[cfg(any(feature = "classic", feature = "sasl"))]
pub(crate) struct Length;

#[cfg(any(feature = "classic", feature = "sasl"))]
impl Sink for Length {
    fn put(&mut self, _: &[u8]) -> Result<(), Full> {
        Ok(())
    }
}

/// Writes Kafka's types into a [`Sink`] and counts the bytes.
///
/// Methods that differ between the old and the flexible format (KIP-482) take `flexible`; see
/// [`is_flexible`](super::header::is_flexible).
pub struct Writer<'a> {
    sink: &'a mut dyn Sink,
    written: usize,
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("written", &self.written).finish_non_exhaustive()
    }
}

/// Each fails with [`Full`] when the sink does.
#[allow(clippy::missing_errors_doc)]
impl<'a> Writer<'a> {
    /// Writes to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        Self { sink, written: 0 }
    }

    /// Returns how many bytes were written through this writer.
    #[must_use]
    pub const fn written(&self) -> usize {
        self.written
    }

    /// Writes bytes unchanged.
    #[inline(never)]
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.sink.put(bytes)?;
        self.written += bytes.len();
        Ok(())
    }

    /// Writes a boolean: one byte.
    pub fn bool(&mut self, value: bool) -> Result<(), Full> {
        self.raw(&[u8::from(value)])
    }

    /// Writes an `int8`.
    #[inline(never)]
    pub fn i8(&mut self, value: i8) -> Result<(), Full> {
        self.raw(&value.to_be_bytes())
    }

    /// Writes an `int16`.
    #[inline(never)]
    pub fn i16(&mut self, value: i16) -> Result<(), Full> {
        self.raw(&value.to_be_bytes())
    }

    /// Writes an `int32`.
    #[inline(never)]
    pub fn i32(&mut self, value: i32) -> Result<(), Full> {
        self.raw(&value.to_be_bytes())
    }

    /// Writes an `int64`.
    #[inline(never)]
    pub fn i64(&mut self, value: i64) -> Result<(), Full> {
        self.raw(&value.to_be_bytes())
    }

    /// Writes a `uuid`: 16 bytes.
    pub fn uuid(&mut self, value: Uuid) -> Result<(), Full> {
        self.raw(&value.0)
    }

    /// Writes an unsigned varint, one to five bytes.
    #[inline(never)]
    pub fn uvarint(&mut self, mut value: u32) -> Result<(), Full> {
        let mut bytes = [0; 5];
        let mut used = 0;
        for byte in &mut bytes {
            used += 1;
            *byte = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                break;
            }
            *byte |= 0x80;
        }
        self.raw(bytes.get(..used).unwrap_or_default())
    }

    /// Writes a string of at most 32,767 bytes; [`Full`] when longer.
    #[inline(never)]
    pub fn str(&mut self, flexible: bool, value: &str) -> Result<(), Full> {
        let len = i16::try_from(value.len()).map_err(|_| Full)?;
        self.text_len(flexible, Some(len.unsigned_abs()))?;
        self.raw(value.as_bytes())
    }

    /// Writes the length in front of a string; `None` is null.
    #[inline(never)]
    pub fn text_len(&mut self, flexible: bool, len: Option<u16>) -> Result<(), Full> {
        match len {
            Some(len) if flexible => self.uvarint(u32::from(len) + 1),
            Some(len) => self.i16(i16::try_from(len).map_err(|_| Full)?),
            None if flexible => self.uvarint(0),
            None => self.i16(-1),
        }
    }

    /// Writes a nullable string.
    #[inline(never)]
    pub fn nullable_str(&mut self, flexible: bool, value: Option<&str>) -> Result<(), Full> {
        match value {
            Some(value) => self.str(flexible, value),
            None => self.text_len(flexible, None),
        }
    }

    /// Writes the count in front of an array, or the length in front of bytes or records; `None` is
    /// null.
    #[inline(never)]
    pub fn count(&mut self, flexible: bool, count: Option<usize>) -> Result<(), Full> {
        match count {
            Some(count) => {
                let count = i32::try_from(count).map_err(|_| Full)?;
                if flexible { self.uvarint(count.unsigned_abs() + 1) } else { self.i32(count) }
            }
            None if flexible => self.uvarint(0),
            None => self.i32(-1),
        }
    }

    /// Writes an array of texts.
    ///
    /// # Errors
    /// As [`Writer::str`], and for more elements than an `i32` counts.
    #[cfg(any(feature = "group-admin", feature = "coverage"))]
    pub fn strs(&mut self, flexible: bool, list: &[&str]) -> Result<(), Full> {
        self.count(flexible, Some(list.len()))?;
        list.iter().try_for_each(|text| self.str(flexible, text))
    }

    /// Writes the end of a struct that has no tagged fields: nothing unless `flexible`.
    #[inline(never)]
    pub fn no_tags(&mut self, flexible: bool) -> Result<(), Full> {
        if flexible { self.uvarint(0) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> heapless::Vec<u8, 64> {
        let mut room = [0; 64];
        let mut sink = SliceSink::new(&mut room);
        let mut out = Writer::new(&mut sink);
        write(&mut out).expect("64 bytes are enough");
        let written = out.written();
        assert_eq!(written, sink.len());
        heapless::Vec::from_slice(sink.written()).expect("64 bytes are enough")
    }

    #[test]
    fn varints_have_their_shortest_form() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            assert_eq!(hex(|w| w.uvarint(value)), bytes, "{value}");
        }
    }

    #[test]
    fn strings_and_counts_in_both_formats() {
        assert_eq!(hex(|w| w.str(false, "ab")), [0, 2, b'a', b'b']);
        assert_eq!(hex(|w| w.str(true, "ab")), [3, b'a', b'b']);
        assert_eq!(hex(|w| w.nullable_str(false, None)), [0xff, 0xff]);
        assert_eq!(hex(|w| w.nullable_str(true, None)), [0]);
        assert_eq!(hex(|w| w.count(false, Some(2))), [0, 0, 0, 2]);
        assert_eq!(hex(|w| w.count(true, Some(2))), [3]);
        assert_eq!(hex(|w| w.count(false, None)), [0xff; 4]);
    }

    #[test]
    fn no_room_is_full_and_so_is_a_string_too_long() {
        let mut room = [0; 3];
        let mut sink = SliceSink::new(&mut room);
        let mut out = Writer::new(&mut sink);
        assert_eq!(out.i16(1), Ok(()));
        assert_eq!(out.i16(2), Err(Full));
        assert_eq!(out.written(), 2);
        let (mut room, long) = ([0; 40_000], [b'x'; 32_768]);
        let long = core::str::from_utf8(&long).expect("ASCII");
        assert_eq!(Writer::new(&mut SliceSink::new(&mut room)).str(true, long), Err(Full));
    }
}
