//! What was sent, acknowledged and delivered, and the exact difference.

use std::collections::HashMap;

use kavka_std::Received;

/// Stream of the records without key.
pub(crate) const KEYLESS: u32 = 0;
/// Stream of the records sent to one partition each, as soon as it is known.
pub(crate) const DIRECT: u32 = u32::MAX - 1;
/// Stream of the records that only show whether a partition is being read. Not checked.
pub(crate) const HELLO: u32 = u32::MAX;

/// Bytes of a [`Tag`]; a value may be longer.
pub(crate) const TAG: usize = 28;

/// The beginning of each record's value. The streams with numbers between [`KEYLESS`] and
/// [`DIRECT`] are the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// The producer's number, which differs in each run.
    pub(crate) producer: u64,
    /// Records of one stream keep their order within each partition.
    pub(crate) stream: u32,
    /// Counts up from 0 in each stream.
    pub(crate) turn: u64,
    /// When it was sent, in microseconds since the start of the run.
    pub(crate) sent: u64,
}

impl Tag {
    /// Returns a value of `size` bytes, or longer if the tag needs it.
    pub(crate) fn value(self, size: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(size.max(TAG));
        value.extend(self.producer.to_be_bytes());
        value.extend(self.stream.to_be_bytes());
        value.extend(self.turn.to_be_bytes());
        value.extend(self.sent.to_be_bytes());
        value.resize(size.max(TAG), b'.');
        value
    }

    /// Reads the tag of a value; `None` for a value without one.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let (producer, rest) = value.split_first_chunk()?;
        let (stream, rest) = rest.split_first_chunk()?;
        let (turn, rest) = rest.split_first_chunk()?;
        let (sent, _) = rest.split_first_chunk()?;
        Some(Self {
            producer: u64::from_be_bytes(*producer),
            stream: u32::from_be_bytes(*stream),
            turn: u64::from_be_bytes(*turn),
            sent: u64::from_be_bytes(*sent),
        })
    }
}

/// How often each outcome occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Records handed to the producer.
    pub(crate) sent: u64,
    /// Those of them that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Those of them that were given up.
    pub(crate) failed: u64,
    /// Records that the consumer returned, each counted once.
    pub(crate) delivered: u64,
    /// Acknowledged, not delivered.
    pub(crate) lost: u64,
    /// Delivered again.
    pub(crate) duplicated: u64,
    /// Delivered after a later one of the same stream in the same partition, or with a lower offset
    /// than an earlier one in that partition.
    pub(crate) reordered: u64,
}

impl Counts {
    /// Returns whether nothing is lost, delivered twice or out of order.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.reordered == 0
    }
}

/// Both sides of a run.
#[derive(Debug, Default)]
pub(crate) struct Book {
    producer: u64,
    counts: Counts,
    streams: HashMap<u32, Stream>,
    /// The last turn of each stream in each partition.
    turns: HashMap<(u32, u32), u64>,
    /// The last offset of each partition.
    offsets: HashMap<u32, i64>,
    /// Acknowledged and not yet delivered.
    open: u64,
}

/// One bit per turn.
#[derive(Debug, Default)]
struct Stream {
    acknowledged: Bits,
    delivered: Bits,
}

#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn get(&self, at: u64) -> bool {
        let word = usize::try_from(at / 64).ok().and_then(|word| self.0.get(word));
        word.is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// Sets a bit; returns whether it was set before. The turn is our own, not a number from
    /// outside.
    fn set(&mut self, at: u64) -> bool {
        let before = self.get(at);
        let word = (at / 64) as usize;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (at % 64);
        before
    }
}

impl Book {
    /// Creates a book for the records of one producer; those of others are ignored.
    pub(crate) fn new(producer: u64) -> Self {
        Self { producer, ..Self::default() }
    }

    /// Counts a record that was handed to the producer.
    pub(crate) fn sent(&mut self) {
        self.counts.sent += 1;
    }

    /// Counts a record that the producer gave up.
    pub(crate) fn failed(&mut self) {
        self.counts.failed += 1;
    }

    /// Counts a record that was acknowledged.
    pub(crate) fn acknowledged(&mut self, tag: Tag) {
        self.counts.acknowledged += 1;
        let stream = self.streams.entry(tag.stream).or_default();
        if !stream.acknowledged.set(tag.turn) && !stream.delivered.get(tag.turn) {
            self.open += 1;
        }
    }

    /// Counts a record that was delivered. `None` when it is none of the records that count.
    pub(crate) fn delivered(&mut self, record: &Received<'_>) -> Option<Tag> {
        let tag = record.value.and_then(Tag::read)?;
        self.place(record.partition, record.offset, tag)
    }

    fn place(&mut self, partition: u32, offset: i64, tag: Tag) -> Option<Tag> {
        if tag.producer != self.producer {
            return None;
        }
        let behind = self.offsets.insert(partition, offset).is_some_and(|last| offset <= last);
        if tag.stream == HELLO {
            return None;
        }
        if tag.turn >= self.counts.sent {
            return None; // not one of ours, whatever its value
        }
        let stream = self.streams.entry(tag.stream).or_default();
        if stream.delivered.set(tag.turn) {
            self.counts.duplicated += 1;
            return None;
        }
        self.counts.delivered += 1;
        if stream.acknowledged.get(tag.turn) {
            self.open -= 1;
        }
        let last = self.turns.entry((tag.stream, partition)).or_insert(tag.turn);
        self.counts.reordered += u64::from(behind || tag.turn < *last);
        *last = tag.turn.max(*last);
        Some(tag)
    }

    /// Returns how many are neither acknowledged nor given up yet.
    pub(crate) fn in_flight(&self) -> u64 {
        self.counts.sent - self.counts.acknowledged - self.counts.failed
    }

    /// Returns how many are acknowledged and not delivered yet.
    pub(crate) fn undelivered(&self) -> u64 {
        self.open
    }

    /// Returns the offset of the last record of this partition that the consumer returned, of any
    /// stream.
    pub(crate) fn last(&self, partition: u32) -> Option<i64> {
        self.offsets.get(&partition).copied()
    }

    /// Returns all counts, as if no more would arrive.
    pub(crate) fn counts(&self) -> Counts {
        Counts { lost: self.open, ..self.counts }
    }

    /// Returns some of the lost records, for a message.
    pub(crate) fn lost(&self) -> Vec<(u32, u64)> {
        let mut lost: Vec<(u32, u64)> = Vec::new();
        for (name, stream) in &self.streams {
            let turns = 0..stream.acknowledged.0.len() as u64 * 64;
            let open =
                turns.filter(|turn| stream.acknowledged.get(*turn) && !stream.delivered.get(*turn));
            lost.extend(open.take(5).map(|turn| (*name, turn)));
        }
        lost.sort_unstable();
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(stream: u32, turn: u64) -> Tag {
        Tag { producer: 7, stream, turn, sent: 5 }
    }

    /// Returns a book in which turns 0, 1 and 2 of stream 3 are acknowledged.
    fn book() -> Book {
        let mut book = Book::new(7);
        for turn in 0..3 {
            book.sent();
            book.acknowledged(tag(3, turn));
        }
        book
    }

    fn deliver(book: &mut Book, places: &[(u32, i64, u64)]) -> Counts {
        for (partition, offset, turn) in places {
            book.place(*partition, *offset, tag(3, *turn));
        }
        book.counts()
    }

    #[test]
    fn a_tag_comes_back_from_a_value_of_any_size() {
        for size in [0, TAG, 100] {
            let value = tag(3, 1 << 40).value(size);
            assert_eq!(value.len(), size.max(TAG));
            assert_eq!(Tag::read(&value), Some(tag(3, 1 << 40)), "size {size}");
        }
        assert_eq!(Tag::read(&[0; TAG - 1]), None);
    }

    #[test]
    fn a_clean_run_is_clean() {
        let counts = deliver(&mut book(), &[(0, 0, 0), (0, 1, 1), (1, 0, 2)]);
        assert!(counts.is_clean() && counts.delivered == 3, "{counts:?}");
    }

    #[test]
    fn a_lost_record_is_counted_and_named() {
        let mut book = book();
        let counts = deliver(&mut book, &[(0, 0, 0), (0, 1, 2)]);
        assert_eq!((counts.lost, counts.duplicated, counts.reordered), (1, 0, 0));
        assert_eq!(book.lost(), [(3, 1)]);
        assert!(!counts.is_clean());
    }

    #[test]
    fn a_duplicate_is_counted_wherever_it_lies() {
        let counts = deliver(&mut book(), &[(0, 0, 0), (0, 1, 1), (0, 2, 1), (1, 0, 2), (1, 1, 0)]);
        assert_eq!((counts.lost, counts.duplicated, counts.reordered), (0, 2, 0));
        assert!(!counts.is_clean());
    }

    #[test]
    fn order_counts_within_a_stream_and_a_partition() {
        let counts = deliver(&mut book(), &[(0, 0, 1), (0, 1, 0), (1, 0, 2)]);
        assert_eq!((counts.lost, counts.duplicated, counts.reordered), (0, 0, 1));
        assert!(!counts.is_clean());
        let counts = deliver(&mut book(), &[(0, 0, 1), (1, 0, 0), (2, 0, 2)]);
        assert!(counts.is_clean(), "other partitions: {counts:?}");
    }

    #[test]
    fn an_offset_that_goes_back_is_out_of_order() {
        let counts = deliver(&mut book(), &[(0, 5, 0), (0, 4, 1), (0, 6, 2)]);
        assert_eq!(counts.reordered, 1);
    }

    #[test]
    fn a_record_may_be_delivered_before_its_acknowledgement() {
        let mut book = Book::new(7);
        book.sent();
        book.place(0, 0, tag(3, 0));
        assert_eq!((book.in_flight(), book.undelivered()), (1, 0));
        book.acknowledged(tag(3, 0));
        assert!(book.counts().is_clean() && book.undelivered() == 0 && book.in_flight() == 0);
    }

    #[test]
    fn records_of_others_do_not_count() {
        let mut book = book();
        book.place(0, 0, Tag { producer: 8, ..tag(3, 0) });
        book.place(0, 1, tag(HELLO, 0));
        book.place(0, 2, tag(3, u64::MAX));
        assert_eq!(book.counts().delivered, 0);
    }
}
