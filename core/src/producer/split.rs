//! A batch that a broker finds too large is sent as two; the parts take over its sequence range in
//! order (MESSAGE_TOO_LARGE; Java's `ProducerBatch.split`).

use super::request::advance;
use super::{Batch, Producer, Stage};
use crate::cluster::Cx;
use crate::connection::Net;
use crate::memory::{Blocks, Chain, Slices};
use crate::record::{HEADER_LEN, Small, varint};

/// Reads a chain's records one after the other without having them in one piece.
pub(super) struct Reader<'a> {
    slices: Slices<'a>,
    slice: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    /// Reads from a position in a batch's chain on.
    pub(super) fn new(blocks: &'a Blocks<'_>, chain: &Chain, at: usize) -> Self {
        Self { slices: blocks.slices(chain, at, chain.len()), slice: &[], at }
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        while self.slice.is_empty() {
            self.slice = self.slices.next()?;
        }
        let (first, rest) = self.slice.split_first()?;
        (self.slice, self.at) = (rest, self.at + 1);
        Some(*first)
    }

    /// Reads a zig-zag varint.
    pub(super) fn varint(&mut self) -> Option<i64> {
        let (mut bytes, mut len) = ([0; varint::MAX_64], 0);
        loop {
            let byte = self.byte()?;
            *bytes.get_mut(len)? = byte;
            len += 1;
            if byte < 0x80 {
                return varint::take_i64(&mut bytes.get(..len)?).ok();
            }
        }
    }

    pub(super) fn skip(&mut self, mut count: usize) -> Option<()> {
        while count > 0 {
            if self.slice.is_empty() {
                self.slice = self.slices.next()?;
            }
            let n = count.min(self.slice.len());
            self.slice = &self.slice[n..];
            (self.at, count) = (self.at + n, count - n);
        }
        Some(())
    }
}

/// Returns where `count` records from `at` on end, and the largest timestamp of them.
pub(super) fn extent(net: &Net<'_>, b: &Batch, at: usize, count: u32) -> Option<(usize, i64)> {
    let mut reader = Reader::new(&net.blocks, &b.chain, at);
    let mut max = i64::MIN;
    for _ in 0..count {
        let len = usize::try_from(reader.varint()?).ok()?;
        let end = reader.at + len;
        reader.byte()?;
        max = max.max(b.base.wrapping_add(reader.varint()?));
        reader.skip(end.checked_sub(reader.at)?)?;
    }
    Some((reader.at, max))
}

impl<'d> Producer<'d> {
    /// Splits a batch in two halves; false when there is no memory for the second.
    pub(super) fn split(&mut self, cx: &mut Cx<'d>, part: usize, batch: usize) -> bool {
        let net = &mut cx.net;
        #[cfg(feature = "pack")]
        let Some(packed) = self.unpack(net, batch) else { return false };
        let b = &self.batches[batch];
        let (keep, rest) = (b.count / 2, b.count - b.count / 2);
        let Some((at, first_max)) = extent(net, b, HEADER_LEN, keep) else { return false };
        let Some((_, max_timestamp)) = extent(net, b, at, rest) else { return false };
        let Some(mut second) = renumbered(net, &b.chain, at, keep, rest) else { return false };
        let Some(half) = self.take_batch() else {
            net.blocks.release(&mut second);
            return false;
        };
        let b = &mut self.batches[batch];
        net.blocks.truncate(&mut b.chain, at);
        (b.stage, b.sealed, b.attempts) = (Stage::Ready, false, 0);
        b.oversize.set(false);
        let mut other = Batch { count: rest, max_timestamp, chain: second, ..*b };
        other.first.set(b.first.or(0) + keep);
        (b.count, b.max_timestamp) = (keep, first_max);
        if other.sequence >= 0 {
            other.sequence = advance(other.sequence, keep);
        }
        self.batches[half] = other;
        self.enqueue_after(part, batch, half);
        #[cfg(feature = "pack")]
        if packed {
            self.pack_again(cx, [batch, half]);
        }
        true
    }
}

/// Copies `count` records from `at` on, with offset deltas lowered by `less`, after an empty
/// header.
pub(super) fn renumbered(
    net: &mut Net<'_>,
    chain: &Chain,
    mut at: usize,
    less: u32,
    count: u32,
) -> Option<Chain> {
    // Of the chain, from the block of the next record on: no search from its beginning for each.
    let (mut copy, mut view) = (Chain::EMPTY, *chain);
    let mut write = |net: &mut Net<'_>| -> Option<()> {
        net.blocks.append(&mut copy, &[0; HEADER_LEN]).ok()?;
        for _ in 0..count {
            // The batches of a device are small.
            if cfg!(feature = "std") {
                at -= net.blocks.pass(&mut view, at);
            }
            at = renumber_one(net, &view, at, less, &mut copy)?;
        }
        Some(())
    };
    if write(net).is_none() {
        net.blocks.release(&mut copy);
        return None;
    }
    Some(copy)
}

/// Copies one record: length, attributes, timestamp delta, offset delta, the rest as it is.
fn renumber_one(
    net: &mut Net<'_>,
    chain: &Chain,
    at: usize,
    less: u32,
    copy: &mut Chain,
) -> Option<usize> {
    let mut reader = Reader::new(&net.blocks, chain, at);
    let len = usize::try_from(reader.varint()?).ok()?;
    let body = reader.at;
    let attributes = reader.byte()?;
    let timestamp = reader.varint()?;
    let delta = reader.varint()? - i64::from(less);
    let (rest, end) = (reader.at, body + len);
    let front = Small::front(attributes, timestamp, delta, end.checked_sub(rest)?);
    net.blocks.append(copy, front.bytes()).ok()?;
    let mut at = rest;
    while at < end {
        let mut piece = [0; 64];
        let n = read_at(net, chain, at, &mut piece[..(end - at).min(64)]);
        if n == 0 {
            return None;
        }
        net.blocks.append(copy, &piece[..n]).ok()?;
        at += n;
    }
    Some(end)
}

/// Reads up to `into.len()` bytes from a place in a chain.
fn read_at(net: &Net<'_>, chain: &Chain, at: usize, into: &mut [u8]) -> usize {
    let mut n = 0;
    for slice in net.blocks.slices(chain, at, at + into.len()) {
        into[n..n + slice.len()].copy_from_slice(slice);
        n += slice.len();
    }
    n
}
