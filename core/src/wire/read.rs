//! Reading scalars from the front of bytes of which more may follow, with nom's streaming parser.

use nom::Needed;
use nom::bytes::streaming::take;

use super::Malformed;

/// Why a scalar could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// This many bytes are missing after the end of the input.
    More(usize),
    /// The bytes are invalid, whatever follows.
    Bad(Malformed),
}

/// A cursor over bytes that may end too early.
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) const fn new(rest: &'b [u8]) -> Self {
        Self { rest }
    }

    pub(crate) const fn rest(&self) -> &'b [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'b [u8], Stop> {
        match take::<_, _, ()>(len)(self.rest) {
            Ok((rest, taken)) => {
                self.rest = rest;
                Ok(taken)
            }
            Err(nom::Err::Incomplete(Needed::Size(missing))) => Err(Stop::More(missing.get())),
            Err(nom::Err::Incomplete(Needed::Unknown)) => Err(Stop::More(1)),
            Err(_) => Err(Stop::Bad(Malformed::Shape)),
        }
    }

    /// Reads a signed integer of 1 to 8 bytes. One function for all widths is small, and fast
    /// enough for a few per batch.
    #[inline]
    pub(crate) fn int(&mut self, width: u8) -> Result<i64, Stop> {
        let bytes = self.take(usize::from(width))?;
        let negative = bytes.first().is_some_and(|first| *first >= 0x80);
        let sign = if negative { -1 } else { 0 };
        Ok(bytes.iter().fold(sign, |value, byte| value << 8 | i64::from(*byte)))
    }

    pub(crate) fn uuid(&mut self) -> Result<&'b [u8; 16], Stop> {
        self.take(16)?.try_into().map_err(|_| Stop::Bad(Malformed::Shape))
    }

    /// Reads an unsigned varint of at most 32 bits; Java silently drops higher bits, we refuse
    /// them.
    pub(crate) fn uvarint(&mut self) -> Result<u32, Stop> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.take(1)?.iter().fold(0, |_, byte| *byte);
            let low = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= low << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Stop::Bad(Malformed::Varint))
    }

    /// Reads a count of array elements, or a length of bytes or records; `None` is null.
    pub(crate) fn count(&mut self, flexible: bool) -> Result<Option<u32>, Stop> {
        if flexible {
            let count = self.uvarint()?.checked_sub(1);
            return if count > Some(i32::MAX.unsigned_abs()) {
                Err(Stop::Bad(Malformed::Length))
            } else {
                Ok(count)
            };
        }
        length(self.int(4)?)
    }

    /// Reads the length of a string; `None` is null.
    pub(crate) fn str_len(&mut self, flexible: bool) -> Result<Option<u32>, Stop> {
        if !flexible {
            return length(self.int(2)?);
        }
        match self.uvarint()?.checked_sub(1) {
            Some(len) if len > 0x7fff => Err(Stop::Bad(Malformed::TooLong)),
            len => Ok(len),
        }
    }

    pub(crate) fn str(&mut self, flexible: bool) -> Result<Option<&'b str>, Stop> {
        let Some(len) = self.str_len(flexible)? else { return Ok(None) };
        let bytes = self.take(len as usize)?;
        match core::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Stop::Bad(Malformed::Utf8)),
        }
    }

    pub(crate) fn ints(&mut self, flexible: bool) -> Result<Option<Ints<'b>>, Stop> {
        let Some(count) = self.count(flexible)? else { return Ok(None) };
        let len = (count as usize).checked_mul(4).ok_or(Stop::Bad(Malformed::Length))?;
        Ok(Some(Ints { bytes: self.take(len)? }))
    }
}

fn length(len: i64) -> Result<Option<u32>, Stop> {
    match len {
        -1 => Ok(None),
        len => u32::try_from(len).map(Some).map_err(|_| Stop::Bad(Malformed::Length)),
    }
}

/// Borrowed `int32`s, such as the broker ids of a replica set. An iterator; copies are cheap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ints<'b> {
    bytes: &'b [u8],
}

impl Iterator for Ints<'_> {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        let (first, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(i32::from_be_bytes(*first))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.bytes.len() / 4;
        (len, Some(len))
    }
}

impl ExactSizeIterator for Ints<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints() {
        for (bytes, wanted) in [
            (&[0][..], Ok(0)),
            (&[0xac, 2], Ok(300)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX)),
            (&[0x80, 0x80, 0x80, 0x80, 0x70], Err(Stop::Bad(Malformed::Varint))),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 1], Err(Stop::Bad(Malformed::Varint))),
            (&[0x80], Err(Stop::More(1))),
            (&[], Err(Stop::More(1))),
        ] {
            assert_eq!(Reader::new(bytes).uvarint(), wanted, "{bytes:02x?}");
        }
    }

    #[test]
    fn lengths_below_minus_one_are_refused() {
        let bad = Err(Stop::Bad(Malformed::Length));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xfe]).count(false), bad);
        assert_eq!(Reader::new(&[0xff; 4]).count(false), Ok(None));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).count(true), bad);
        assert_eq!(Reader::new(&[0xff, 0xfe]).str_len(false), bad);
        let long = Err(Stop::Bad(Malformed::TooLong));
        assert_eq!(Reader::new(&[0x81, 0x80, 2]).str_len(true), long);
        assert_eq!(Reader::new(&[0x80, 0x80, 2]).str_len(true), Ok(Some(0x7fff)));
    }

    #[test]
    fn what_is_missing_is_counted() {
        assert_eq!(Reader::new(&[0, 5, b'a']).str(false), Err(Stop::More(4)));
        assert_eq!(Reader::new(&[0, 0, 0, 2, 0]).ints(false), Err(Stop::More(7)));
        assert_eq!(Reader::new(&[0, 1, 0xff]).str(false), Err(Stop::Bad(Malformed::Utf8)));
        let mut ints = Reader::new(&[3, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
        let ints = ints.ints(true).expect("complete").expect("not null");
        assert_eq!(ints.len(), 2);
        assert!(ints.eq([1, -1]));
    }
}
