//! Reads requests and writes responses, all flexible, for the brokers in memory beside this file.

use super::alloc::vec::Vec;

/// Reads bytes that lie in several slices.
pub(super) struct Cursor<'a, I> {
    slices: I,
    rest: &'a [u8],
    /// Bytes read.
    pub(super) read: usize,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Cursor<'a, I> {
    pub(super) fn new(slices: I) -> Self {
        Self { slices, rest: &[], read: 0 }
    }

    /// Length of the next frame; `None` after the last.
    pub(super) fn length(&mut self) -> Option<usize> {
        while self.rest.is_empty() {
            self.rest = self.slices.next()?;
        }
        Some(u32::from_be_bytes(self.take()) as usize)
    }

    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let mut have = 0;
        while have < N {
            let n = self.rest.len().min(N - have);
            bytes[have..have + n].copy_from_slice(&self.rest[..n]);
            self.rest = &self.rest[n..];
            have += n;
            if have < N {
                self.rest = self.slices.next().expect("a whole request");
            }
        }
        self.read += N;
        bytes
    }

    pub(super) fn skip(&mut self, len: usize) {
        let mut left = len;
        while left > self.rest.len() {
            left -= self.rest.len();
            self.rest = self.slices.next().expect("a whole request");
        }
        self.rest = &self.rest[left..];
        self.read += len;
    }

    pub(super) fn uvarint(&mut self) -> usize {
        let (mut value, mut shift) = (0, 0);
        loop {
            let [byte] = self.take();
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
            shift += 7;
        }
    }

    /// A compact string or compact bytes; also the length of an array.
    pub(super) fn compact(&mut self) -> usize {
        self.uvarint() - 1
    }

    pub(super) fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }
}

/// A response being written.
pub(super) struct Frame<'a> {
    pub(super) out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Frame<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>, correlation: i32, tags: bool) -> Self {
        let start = out.len();
        let mut frame = Self { out, start };
        frame.i32(0);
        frame.i32(correlation);
        if tags {
            frame.no_tags();
        }
        frame
    }

    pub(super) fn end(self) {
        let length = (self.out.len() - self.start - 4) as u32;
        self.out[self.start..self.start + 4].copy_from_slice(&length.to_be_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    /// The length of an array or of bytes.
    pub(super) fn compact(&mut self, len: usize) {
        let mut rest = len + 1;
        while rest > 0x7f {
            self.out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push(rest as u8);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.compact(text.len());
        self.bytes(text.as_bytes());
    }

    pub(super) fn null(&mut self) {
        self.out.push(0);
    }

    pub(super) fn no_tags(&mut self) {
        self.out.push(0);
    }
}
