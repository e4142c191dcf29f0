//! Iteration over the records of a batch, without a copy.

use core::str::Utf8Error;

#[cfg(feature = "old-records")]
use super::old::Old;
use super::write::HeaderList;
use super::{BatchHeader, HEADER_LEN, Malformed, PEEK_LEN, Record, TimestampType, varint};

/// Bytes of the smallest record: six numbers of one byte, and the attributes.
const MIN_RECORD: usize = 7;
/// Bytes of the smallest header of a record.
const MIN_HEADER: usize = 2;

/// Iterates over the records of an uncompressed batch.
///
/// It ends after an error, and ends with one when the batch holds more or fewer records than its
/// header says; the records before it are valid. Its work is bounded by the bytes, whatever the
/// counts say. Offsets rise in all that Kafka writes, but that is not checked.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    left: i32,
    base_offset: i64,
    last_offset: i64,
    base_timestamp: i64,
    append_time: Option<i64>,
    from: i64,
    fault: Option<Malformed>,
    /// These are messages of magic 0 or 1.
    #[cfg(feature = "old-records")]
    old: Option<Old>,
}

impl<'a> Records<'a> {
    /// Returns the records of a batch: `bytes` begin with its header. What follows the batch is
    /// ignored. A compressed or incomplete batch yields one error.
    #[must_use]
    pub fn new(header: &BatchHeader, bytes: &'a [u8]) -> Self {
        #[cfg(feature = "old-records")]
        if header.is_old() {
            return Self::of_set(Old::plain(header, bytes));
        }
        let fault = match bytes.get(HEADER_LEN..header.total_len()) {
            _ if header.codec() != 0 => Malformed::Compressed(header.codec()),
            Some(body) => return Self::unpacked(header, body),
            None => Malformed::Truncated,
        };
        Self { fault: Some(fault), left: 0, ..Self::unpacked(header, &[]) }
    }

    /// Returns the records of a compressed batch: `body` is the unpacked form of the bytes after
    /// the header ([`BatchHeader::body`]).
    #[must_use]
    pub fn unpacked(header: &BatchHeader, body: &'a [u8]) -> Self {
        #[cfg(feature = "old-records")]
        if header.is_old() {
            return Self::of_set(Old::unpacked(header, body));
        }
        Self {
            rest: body,
            left: header.count,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            base_timestamp: header.base_timestamp,
            append_time: match header.timestamp_type() {
                TimestampType::Create => None,
                TimestampType::LogAppend => Some(header.max_timestamp),
            },
            from: i64::MIN,
            fault: None,
            #[cfg(feature = "old-records")]
            old: None,
        }
    }

    /// Returns the messages of a set that was examined.
    #[cfg(feature = "old-records")]
    fn of_set(set: Result<(Old, &'a [u8]), Malformed>) -> Self {
        let (old, rest, fault) = match set {
            Ok((old, rest)) => (Some(old), rest, None),
            Err(why) => (None, [].as_slice(), Some(why)),
        };
        Self {
            rest,
            // Only batches have a count.
            left: 0,
            base_offset: 0,
            last_offset: 0,
            base_timestamp: 0,
            append_time: None,
            from: i64::MIN,
            fault,
            old,
        }
    }

    /// Drops the records below `offset`: a batch is sent whole, also when only its tail was
    /// requested.
    #[must_use]
    pub const fn from_offset(mut self, offset: i64) -> Self {
        self.from = offset;
        self
    }

    /// Reads the next record to `into`; returns false at the regular end of the batch. Not a
    /// `Result` with a record in it: that is copied inefficiently.
    #[cfg_attr(feature = "std", inline)]
    fn step(&mut self, into: &mut RecordRef<'a>) -> Result<bool, Malformed> {
        if self.left <= 0 {
            #[cfg(feature = "old-records")]
            if let Some(old) = &mut self.old {
                return old.step(&mut self.rest, into);
            }
            return self.end();
        }
        if self.rest.is_empty() {
            return Err(Malformed::RecordCount);
        }
        let mut rest = self.rest;
        let length = varint::take_i32(&mut rest)?;
        let length = usize::try_from(length).map_err(|_| Malformed::RecordLength)?;
        let (body, rest) = rest.split_at_checked(length).ok_or(Malformed::RecordLength)?;
        self.read(body, into).map_err(|why| match why {
            Malformed::Truncated => Malformed::RecordLength,
            other => other,
        })?;
        self.rest = rest;
        self.left -= 1;
        Ok(true)
    }

    /// Reads a record from the bytes that its length covers. `Truncated` means that these were too
    /// short.
    #[cfg_attr(feature = "std", inline)]
    fn read(&self, body: &'a [u8], into: &mut RecordRef<'a>) -> Result<(), Malformed> {
        // The attributes of a record have no meaning yet.
        let (_, mut rest) = body.split_first().ok_or(Malformed::Truncated)?;
        let timestamp_delta = varint::take_i64(&mut rest)?;
        let offset_delta = i64::from(varint::take_i32(&mut rest)?);
        into.key = field(&mut rest)?;
        into.value = field(&mut rest)?;
        into.headers = Headers::check(rest)?;
        let offset = self.base_offset.checked_add(offset_delta).ok_or(Malformed::Offset)?;
        let outside = offset_delta < 0 || offset > self.last_offset;
        if guard!("records lie in their batch", outside) {
            return Err(Malformed::Offset);
        }
        // Any timestamp is accepted, as Java does.
        let created = self.base_timestamp.saturating_add(timestamp_delta);
        into.timestamp = self.append_time.unwrap_or(created);
        into.offset = offset;
        Ok(())
    }

    #[cold]
    fn end(&mut self) -> Result<bool, Malformed> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.left < 0 {
            return Err(Malformed::RecordCount);
        }
        if self.rest.is_empty() { Ok(false) } else { Err(Malformed::TrailingBytes) }
    }
}

/// Damage inside a batch whose checksum is right. Its records before that are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// What is wrong.
    pub why: Malformed,
    /// Header of the batch without the first record that cannot be read, and all after it. Its
    /// length is that of an uncompressed batch.
    pub sound: BatchHeader,
}

/// Checks that all records of a batch can be read; `body` is the bytes after its header, unpacked.
///
/// # Errors
/// At the first record that cannot be, and when there are more or fewer than the header says.
pub fn check_records(header: &BatchHeader, body: &[u8]) -> Result<(), Damage> {
    #[cfg(feature = "old-records")]
    if header.is_old() {
        return check_set(header, body);
    }
    let mut records = Records::unpacked(header, body);
    let (mut count, mut last) = (0, header.base_offset.saturating_sub(1));
    let mut record = RecordRef::NONE;
    let why = loop {
        match records.step(&mut record) {
            Ok(true) => (count, last) = (count + 1, last.max(record.offset)),
            Ok(false) => return Ok(()),
            Err(why) => break why,
        }
    };
    let read = HEADER_LEN - PEEK_LEN + (body.len() - records.rest.len());
    let delta = last.saturating_sub(header.base_offset);
    let sound = BatchHeader {
        count,
        last_offset_delta: i32::try_from(delta).unwrap_or(-1),
        batch_length: i32::try_from(read).unwrap_or(i32::MAX),
        ..*header
    };
    Err(Damage { why, sound })
}

/// The same for an unpacked message set.
#[cfg(feature = "old-records")]
fn check_set(header: &BatchHeader, body: &[u8]) -> Result<(), Damage> {
    let mut records = Records::unpacked(header, body);
    let (mut count, mut last) = (0_i32, None);
    let mut record = RecordRef::NONE;
    let why = loop {
        match records.step(&mut record) {
            Ok(true) => (count, last) = (count.saturating_add(1), Some(record.offset)),
            Ok(false) => return Ok(()),
            Err(why) => break why,
        }
    };
    // Relative offsets end with the last message, whose offset the header has.
    let (base_offset, last_offset_delta) = last.map_or((0, -1), |last| (last, 0));
    let read = if last.is_none() { 0 } else { body.len() - records.rest.len() };
    let batch_length = i32::try_from(HEADER_LEN - PEEK_LEN + read).unwrap_or(i32::MAX);
    let sound = BatchHeader { base_offset, last_offset_delta, batch_length, count, ..*header };
    Err(Damage { why, sound })
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let mut record = RecordRef::NONE;
        loop {
            match self.step(&mut record) {
                Ok(true) if record.offset < self.from => {}
                Ok(true) => return Some(Ok(record)),
                Ok(false) => return None,
                Err(why) => {
                    (self.rest, self.left, self.fault) = (&[], 0, None);
                    return Some(Err(why));
                }
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // One more for an error.
        (0, Some((self.rest.len() / MIN_RECORD).saturating_add(1)))
    }
}

impl core::iter::FusedIterator for Records<'_> {}

/// A record, borrowed from the received bytes.
#[derive(Clone, Debug)]
pub struct RecordRef<'a> {
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970, -1 for none: of the producer, or of the leader where the batch has
    /// [`TimestampType::LogAppend`].
    pub timestamp: i64,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers, in order; names may repeat.
    pub headers: Headers<'a>,
}

impl<'a> RecordRef<'a> {
    const NONE: Self = Self {
        offset: 0,
        timestamp: 0,
        key: None,
        value: None,
        headers: Headers { count: 0, bytes: &[] },
    };

    /// Returns the same record to be written again. Headers are copied unchanged.
    #[must_use]
    pub const fn to_record(&self) -> Record<'a> {
        Record {
            key: self.key,
            value: self.value,
            headers: HeaderList::Raw(self.headers),
            timestamp: Some(self.timestamp),
        }
    }
}

/// A header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeaderRef<'a> {
    /// Name; UTF-8, but some producers write other bytes.
    pub name: &'a [u8],
    /// Value.
    pub value: Option<&'a [u8]>,
}

impl<'a> HeaderRef<'a> {
    /// Returns the name as text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub const fn name_str(&self) -> Result<&'a str, Utf8Error> {
        core::str::from_utf8(self.name)
    }
}

/// Iterates over the headers of a record, which have been checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    pub(super) count: u32,
    pub(super) bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Checks the end of a record: the count, that many headers, and nothing more.
    #[inline]
    fn check(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match bytes {
            [0] => Ok(Self { count: 0, bytes: &[] }),
            _ => Self::check_some(bytes),
        }
    }

    fn check_some(mut rest: &'a [u8]) -> Result<Self, Malformed> {
        let count = varint::take_i32(&mut rest)?;
        let count = u32::try_from(count).map_err(|_| Malformed::FieldLength)?;
        let bytes = rest;
        if usize::try_from(count).is_ok_and(|count| count > bytes.len() / MIN_HEADER) {
            return Err(Malformed::FieldLength);
        }
        for _ in 0..count {
            header(&mut rest)?;
        }
        if rest.is_empty() { Ok(Self { count, bytes }) } else { Err(Malformed::RecordLength) }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderRef<'a>;

    fn next(&mut self) -> Option<HeaderRef<'a>> {
        self.count = self.count.checked_sub(1)?;
        header(&mut self.bytes).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        (count, Some(count))
    }
}

impl ExactSizeIterator for Headers<'_> {}

fn header<'a>(rest: &mut &'a [u8]) -> Result<HeaderRef<'a>, Malformed> {
    let name = field(rest)?.ok_or(Malformed::FieldLength)?;
    Ok(HeaderRef { name, value: field(rest)? })
}

/// Takes a length, -1 for null, and as many bytes.
#[cfg_attr(feature = "std", inline)]
#[cfg_attr(not(feature = "std"), inline(never))]
fn field<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    let length = varint::take_i32(rest)?;
    let Ok(length) = usize::try_from(length) else {
        return if length == -1 { Ok(None) } else { Err(Malformed::FieldLength) };
    };
    let (bytes, after) = rest.split_at_checked(length).ok_or(Malformed::FieldLength)?;
    *rest = after;
    Ok(Some(bytes))
}
