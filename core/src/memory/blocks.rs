//! Send memory: blocks of one size, chained. The holder of a chain owns its bytes until it releases
//! them, however long a request takes (CVE-2026-35554 was a buffer released too early).

use super::{Link, Mem, Slots};
use crate::wire::{Full, Sink};

/// All send blocks of a client.
pub(crate) struct Blocks<'d> {
    bytes: Mem<'d, u8>,
    next: Mem<'d, Link>,
    size: usize,
    slots: Slots,
}

/// Bytes in blocks; every block but the last is full.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chain {
    head: Link,
    tail: Link,
    len: u32,
}

impl Chain {
    pub(crate) const EMPTY: Self = Self { head: Link::NONE, tail: Link::NONE, len: 0 };

    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }
}

impl<'d> Blocks<'d> {
    pub(crate) fn new(bytes: Mem<'d, u8>, next: Mem<'d, Link>, size: usize) -> Self {
        let count = next.len().min(bytes.len() / size.max(1));
        Self { bytes, next, size, slots: Slots::new(count) }
    }

    pub(crate) const fn free(&self) -> usize {
        self.slots.left()
    }

    pub(crate) fn total(&self) -> usize {
        self.next.len()
    }

    pub(crate) const fn block_size(&self) -> usize {
        self.size
    }

    fn take(&mut self) -> Option<usize> {
        let index = self.slots.take(|block| self.next[block])?;
        self.next[index] = Link::NONE;
        Some(index)
    }

    /// Returns how many more blocks a chain would need to take `extra` bytes.
    pub(crate) const fn needed(&self, chain: &Chain, extra: usize) -> usize {
        (chain.len() + extra).div_ceil(self.size) - chain.len().div_ceil(self.size)
    }

    /// Appends all of `bytes` or nothing.
    #[cfg_attr(feature = "std", inline)]
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) fn append(&mut self, chain: &mut Chain, bytes: &[u8]) -> Result<(), Full> {
        let used = chain.len() % self.size;
        if let (Some(tail), true) = (chain.tail.get(), used > 0 && used + bytes.len() <= self.size)
        {
            let at = tail * self.size + used;
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
            chain.len += bytes.len() as u32;
            return Ok(());
        }
        self.append_across(chain, bytes)
    }

    /// Lets `write` append `len` bytes to a chain, where they fit into its last block; else returns
    /// `None`.
    #[inline]
    pub(crate) fn append_in_place(
        &mut self,
        chain: &mut Chain,
        len: usize,
        write: impl FnOnce(&mut [u8]) -> Result<(), Full>,
    ) -> Option<Result<(), Full>> {
        let used = chain.len() % self.size;
        if used == 0 || len > self.size - used {
            return None;
        }
        let at = chain.tail.get()? * self.size + used;
        let written = write(self.bytes.get_mut(at..at + len)?);
        if written.is_ok() {
            chain.len += len as u32;
        }
        Some(written)
    }

    fn append_across(&mut self, chain: &mut Chain, mut bytes: &[u8]) -> Result<(), Full> {
        if self.needed(chain, bytes.len()) > self.free() {
            return Err(Full);
        }
        while !bytes.is_empty() {
            let used = chain.len() % self.size;
            let block = match chain.tail.get() {
                Some(tail) if used > 0 => tail,
                old => {
                    let Some(block) = self.take() else { return Err(Full) };
                    match old {
                        Some(old) => self.next[old] = Link::to(block),
                        None => chain.head = Link::to(block),
                    }
                    chain.tail = Link::to(block);
                    block
                }
            };
            let n = bytes.len().min(self.size - used);
            let at = block * self.size + used;
            self.bytes[at..at + n].copy_from_slice(&bytes[..n]);
            chain.len += n as u32;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Overwrites the first bytes of a chain; they must lie in its first block.
    pub(crate) fn patch(&mut self, chain: &Chain, bytes: &[u8]) {
        if let Some(head) = chain.head.get() {
            let at = head * self.size;
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Writes over one byte of a chain.
    pub(crate) fn set(&mut self, chain: &Chain, at: usize, byte: u8) {
        let mut link = chain.head;
        for _ in 0..at / self.size {
            link = link.get().map_or(Link::NONE, |block| self.next[block]);
        }
        if let Some(block) = link.get().filter(|_| at < chain.len()) {
            self.bytes[block * self.size + at % self.size] = byte;
        }
    }

    /// Overwrites the bytes of a chain with zeros.
    #[cfg(feature = "sasl")]
    pub(crate) fn wipe(&mut self, chain: &Chain) {
        use zeroize::Zeroize;
        let (mut link, mut left) = (chain.head, chain.len());
        while let Some(block) = link.get().filter(|_| left > 0) {
            let (at, len) = (block * self.size, left.min(self.size));
            if let Some(bytes) = self.bytes.get_mut(at..at + len) {
                bytes.zeroize();
            }
            (link, left) = (self.next[block], left - len);
        }
    }

    /// Releases the blocks.
    pub(crate) fn release(&mut self, chain: &mut Chain) {
        if let Some(tail) = chain.tail.get() {
            self.next[tail] = self.slots.give(chain.head, chain.len().div_ceil(self.size));
        }
        *chain = Chain::EMPTY;
    }

    /// Releases everything from `len` on.
    pub(crate) fn truncate(&mut self, chain: &mut Chain, len: usize) {
        let kept = len.div_ceil(self.size);
        if kept == 0 || len >= chain.len() {
            if kept == 0 {
                self.release(chain);
            }
            return;
        }
        let mut tail = chain.head;
        for _ in 1..kept {
            tail = tail.get().map_or(Link::NONE, |block| self.next[block]);
        }
        let Some(last) = tail.get() else { return };
        if let Some(rest) = chain.len().checked_sub(kept * self.size).filter(|rest| *rest > 0) {
            let head = core::mem::replace(&mut self.next[last], Link::NONE);
            self.release(&mut Chain { head, tail: chain.tail, len: rest as u32 });
        }
        (chain.tail, chain.len) = (tail, len as u32);
    }

    /// Releases the blocks in front of `from`, which is less than the length, and returns how many
    /// bytes they had.
    #[cfg(feature = "pack")]
    pub(crate) fn release_front(&mut self, chain: &mut Chain, from: usize) -> usize {
        let (count, mut last) = (from / self.size, chain.head);
        for _ in 1..count {
            last = last.get().map_or(Link::NONE, |block| self.next[block]);
        }
        let Some(block) = last.get().filter(|_| count > 0 && from < chain.len()) else { return 0 };
        let (rest, len) = (self.next[block], count * self.size);
        self.release(&mut Chain { head: chain.head, tail: last, len: len as u32 });
        (chain.head, chain.len) = (rest, chain.len - len as u32);
        len
    }

    /// Takes the blocks before the one with byte `from` out of a view of a chain, and returns how
    /// many bytes those are.
    pub(crate) fn pass(&self, view: &mut Chain, from: usize) -> usize {
        let count = from / self.size;
        for _ in 0..count {
            view.head = view.head.get().map_or(Link::NONE, |block| self.next[block]);
        }
        view.len = view.len.saturating_sub((count * self.size) as u32);
        count * self.size
    }

    /// Returns the bytes `from..to` of a chain, block by block.
    pub(crate) fn slices(&self, chain: &Chain, from: usize, to: usize) -> Slices<'_> {
        let mut link = chain.head;
        for _ in 0..from / self.size {
            link = link.get().map_or(Link::NONE, |block| self.next[block]);
        }
        let to = to.min(chain.len());
        Slices {
            bytes: &self.bytes,
            next: &self.next,
            size: self.size,
            link,
            skip: from % self.size,
            left: to.saturating_sub(from),
        }
    }
}

/// See [`Blocks::slices`].
#[derive(Clone)]
pub(crate) struct Slices<'a> {
    bytes: &'a [u8],
    next: &'a [Link],
    size: usize,
    link: Link,
    skip: usize,
    left: usize,
}

impl Slices<'_> {
    pub(crate) const EMPTY: Self =
        Self { bytes: &[], next: &[], size: 1, link: Link::NONE, skip: 0, left: 0 };
}

impl<'a> Iterator for Slices<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let block = self.link.get()?;
        let n = (self.size - self.skip).min(self.left);
        let at = block * self.size + self.skip;
        self.link = *self.next.get(block)?;
        self.skip = 0;
        self.left -= n;
        self.bytes.get(at..at + n)
    }
}

/// Writes to the end of a chain.
pub(crate) struct ChainSink<'a, 'd> {
    pub(crate) blocks: &'a mut Blocks<'d>,
    pub(crate) chain: &'a mut Chain,
}

impl Sink for ChainSink<'_, '_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.blocks.append(self.chain, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn with_blocks(test: impl FnOnce(&mut Blocks<'_>)) {
        let (mut bytes, mut next) = ([0; 8 * 16], [Link::NONE; 8]);
        test(&mut Blocks::new(Mem::Lent(&mut bytes), Mem::Lent(&mut next), 16));
    }

    fn read(blocks: &Blocks<'_>, chain: &Chain, from: usize, to: usize) -> Vec<u8> {
        blocks.slices(chain, from, to).flatten().copied().collect()
    }

    #[test]
    fn chains_keep_bytes_in_order_and_give_blocks_back() {
        with_blocks(|blocks| {
            let bytes: Vec<u8> = (0..100).collect();
            let mut chain = Chain::EMPTY;
            for piece in bytes.chunks(7) {
                blocks.append(&mut chain, piece).unwrap();
            }
            assert_eq!(blocks.free(), 1);
            for (from, to) in [(0, 100), (0, 16), (15, 17), (16, 48), (99, 100), (100, 100)] {
                assert_eq!(read(blocks, &chain, from, to), bytes[from..to], "{from}..{to}");
            }
            blocks.release(&mut chain);
            assert_eq!((blocks.free(), chain.len()), (8, 0));
        });
    }

    #[test]
    fn bytes_are_written_in_place_where_a_block_has_room() {
        with_blocks(|blocks| {
            let mut chain = Chain::EMPTY;
            let fill = |byte: u8| {
                move |room: &mut [u8]| {
                    room.fill(byte);
                    Ok(())
                }
            };
            assert_eq!(blocks.append_in_place(&mut chain, 4, fill(1)), None, "no block yet");
            blocks.append(&mut chain, &[2; 10]).unwrap();
            assert_eq!(blocks.append_in_place(&mut chain, 7, fill(3)), None, "one too many");
            assert_eq!(blocks.append_in_place(&mut chain, 5, |_| Err(Full)), Some(Err(Full)));
            assert_eq!(blocks.append_in_place(&mut chain, 6, fill(4)), Some(Ok(())));
            assert_eq!(blocks.append_in_place(&mut chain, 1, fill(5)), None, "the block is full");
            assert_eq!(read(blocks, &chain, 0, 99), [&[2; 10][..], &[4; 6]].concat());
        });
    }

    #[test]
    fn a_truncated_chain_keeps_its_front_and_grows_again() {
        for len in [0, 1, 15, 16, 17, 32, 99, 100, 112] {
            with_blocks(|blocks| {
                let bytes: Vec<u8> = (0..100).collect();
                let mut chain = Chain::EMPTY;
                blocks.append(&mut chain, &bytes).unwrap();
                blocks.truncate(&mut chain, len);
                let len = len.min(100);
                assert_eq!(blocks.free(), 8 - len.div_ceil(16), "{len}");
                blocks.append(&mut chain, &[7; 20]).unwrap();
                assert_eq!(read(blocks, &chain, 0, len), bytes[..len], "{len}");
                assert_eq!(read(blocks, &chain, len, len + 20), [7; 20], "{len}");
                blocks.release(&mut chain);
                assert_eq!(blocks.free(), 8, "{len}");
            });
        }
    }

    #[cfg(feature = "pack")]
    #[test]
    fn a_chain_loses_the_blocks_in_front_of_a_place() {
        for from in [0, 1, 15, 16, 17, 32, 47, 48, 98, 99] {
            with_blocks(|blocks| {
                let bytes: Vec<u8> = (0..100).collect();
                let mut chain = Chain::EMPTY;
                blocks.append(&mut chain, &bytes).unwrap();
                let gone = blocks.release_front(&mut chain, from);
                assert_eq!(gone, from / 16 * 16, "{from}");
                assert_eq!(blocks.free(), 1 + gone / 16, "{from}");
                assert_eq!(read(blocks, &chain, 0, 100), bytes[gone..], "{from}");
                blocks.append(&mut chain, &[7; 12]).unwrap();
                assert_eq!(chain.len(), 112 - gone, "{from}");
                blocks.release(&mut chain);
                assert_eq!(blocks.free(), 8, "{from}");
            });
        }
    }

    #[test]
    fn a_full_pool_takes_nothing_of_a_piece() {
        with_blocks(|blocks| {
            let mut chain = Chain::EMPTY;
            blocks.append(&mut chain, &[1; 100]).unwrap();
            assert!(blocks.append(&mut chain, &[2; 30]).is_err());
            assert_eq!(read(blocks, &chain, 0, 200), [1; 100]);
            blocks.append(&mut chain, &[3; 28]).unwrap();
            assert_eq!(blocks.free(), 0);
        });
    }

    #[test]
    fn released_blocks_are_used_again() {
        with_blocks(|blocks| {
            for round in 0..100u8 {
                let (mut a, mut b) = (Chain::EMPTY, Chain::EMPTY);
                blocks.append(&mut a, &[round; 60]).unwrap();
                blocks.append(&mut b, &[!round; 64]).unwrap();
                assert_eq!(blocks.free(), 0);
                assert_eq!(read(blocks, &a, 0, 60), [round; 60]);
                assert_eq!(read(blocks, &b, 0, 64), [!round; 64]);
                blocks.release(&mut b);
                blocks.release(&mut a);
            }
        });
    }
}
