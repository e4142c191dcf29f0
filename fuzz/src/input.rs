//! Decisions from a fuzzer's bytes, taken from their front; zeros after their end.

/// A cursor over the input.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

/// Numbers that often break code.
const EDGES: [i64; 16] = [
    0,
    1,
    -1,
    2,
    7,
    100,
    -2,
    0x7f,
    0x7fff,
    0x7fff_ffff,
    -0x8000_0000,
    i64::MAX,
    i64::MAX - 1,
    i64::MIN,
    1 << 32,
    5000,
];

impl<'a> Input<'a> {
    /// Starts at the beginning of `data`.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Returns whether all of it was used.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns the next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// Returns a number below `limit`, which is at most 256.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit.max(1)
    }

    /// Returns true for one in `odds`.
    pub fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == odds - 1
    }

    /// Returns one of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Returns any number: small ones, those around limits, and eight bytes as they are.
    pub fn number(&mut self) -> i64 {
        match self.byte() {
            small @ 0..=127 => i64::from(small),
            edge @ 128..=191 => EDGES[usize::from(edge) % EDGES.len()],
            _ => {
                let mut bytes = [0; 8];
                bytes.fill_with(|| self.byte());
                i64::from_be_bytes(bytes)
            }
        }
    }

    /// Takes at most `most` of the remaining bytes.
    pub fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(most.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Takes all that remains.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// Returns a text of at most 15 ASCII letters; the alphabet of topic names.
    pub fn name(&mut self) -> String {
        let len = self.below(16);
        let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
        let bytes = self.take(len).iter();
        bytes.map(|byte| char::from(letters[usize::from(*byte) % letters.len()])).collect()
    }
}
