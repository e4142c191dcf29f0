//! LZ4 frames as in Kafka: magic, descriptor, blocks, end mark.
//!
//! Read: blocks of all sizes, linked ones (which Java's client refuses) and those that are stored;
//! checksums are verified (feature `codec-checks`), and a content length has to be right. One frame
//! and nothing after it. Written: what Java writes and reads, blocks of 64 KiB that do not depend
//! on each other, without checksums.

#[cfg(feature = "pack")]
use super::Step;
use super::find::{BLOCK, find};
use super::{FULL, Fault, array, byte, piece, put, repeat, xxh32};
use crate::has::CODEC_CHECKS;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const VERSION_BITS: u8 = 0xc0;
const VERSION: u8 = 0x40;
const INDEPENDENT: u8 = 0x20;
const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_LEN: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
/// Bit 1 has no meaning yet, and dictionaries (bit 0) are not for Kafka.
const UNKNOWN: u8 = 0x03;
/// In the length of a block: it is not compressed.
const STORED: u32 = 1 << 31;

/// Largest ratio that the format has: a byte of a length stands for 255 bytes.
const MOST: u64 = 255;

/// The descriptor of a frame.
#[derive(Clone, Copy)]
struct Frame {
    flags: u8,
    block: usize,
    content: Option<u64>,
}

/// Takes magic and descriptor; `summed`: its checksum has to be right.
fn frame(rest: &mut &[u8], summed: bool) -> Result<Frame, Fault> {
    if array(rest)? != MAGIC {
        return Err(Fault::Damaged);
    }
    let descriptor = *rest;
    let [flags, sizes] = array(rest)?;
    // 64 KiB, 256 KiB, 1 MiB, 4 MiB.
    let block = match sizes {
        0x40 | 0x50 | 0x60 | 0x70 => 1 << (8 + 2 * (sizes >> 4)),
        _ => return Err(Fault::Damaged),
    };
    if flags & VERSION_BITS != VERSION || flags & UNKNOWN != 0 {
        return Err(Fault::Damaged);
    }
    let has_len = flags & CONTENT_LEN != 0;
    let content = if has_len { Some(u64::from_le_bytes(array(rest)?)) } else { None };
    let covered = descriptor.get(..descriptor.len() - rest.len()).unwrap_or_default();
    let checksum = byte(rest)?;
    let wrong = CODEC_CHECKS && summed && (xxh32(covered) >> 8) as u8 != checksum;
    if guard!("lz4 frame header checksum", wrong) {
        return Err(Fault::Checksum);
    }
    Ok(Frame { flags, block, content })
}

/// Returns the unpacked length that a frame declares.
#[must_use]
pub fn unpacked_len(input: &[u8]) -> Option<u64> {
    let len = frame(&mut &*input, true).ok()?.content?;
    (len <= (input.len() as u64).saturating_mul(MOST)).then_some(len)
}

/// Unpacks a frame to the front of `output`; returns how many bytes that are.
///
/// # Errors
/// See [`Fault`].
pub fn unpack(input: &[u8], output: &mut [u8]) -> Result<usize, Fault> {
    unpack_with(input, output, block)
}

/// Unpacks a frame of a message of magic 0, where the checksum of the frame's header is wrong and
/// therefore not verified (KAFKA-3160).
///
/// # Errors
/// See [`Fault`].
#[cfg(feature = "old-records")]
pub fn unpack_unsummed(input: &[u8], output: &mut [u8]) -> Result<usize, Fault> {
    unpack_frame(input, output, false, block)
}

/// The same with another decoder of blocks. It gets a block, the output, the index where the block
/// begins there and that of the earliest byte that it may refer to, and returns where the block
/// ends. It may write only after that beginning.
///
/// # Errors
/// See [`Fault`].
pub fn unpack_with(
    input: &[u8],
    output: &mut [u8],
    block: impl FnMut(&[u8], &mut [u8], usize, usize) -> Result<usize, Fault>,
) -> Result<usize, Fault> {
    unpack_frame(input, output, true, block)
}

fn unpack_frame(
    input: &[u8],
    output: &mut [u8],
    summed: bool,
    mut block: impl FnMut(&[u8], &mut [u8], usize, usize) -> Result<usize, Fault>,
) -> Result<usize, Fault> {
    let mut rest = input;
    let frame = frame(&mut rest, summed)?;
    let room = output.len();
    if frame.content.is_some_and(|needed| needed > room as u64) {
        return Err(Fault::TooLarge { needed: frame.content.unwrap_or(0) });
    }
    let mut at = 0_usize;
    loop {
        let len = u32::from_le_bytes(array(&mut rest)?);
        if len == 0 {
            break;
        }
        let packed = piece(&mut rest, (len & !STORED) as usize)?;
        if packed.len() > frame.block {
            return Err(Fault::Damaged);
        }
        if frame.flags & BLOCK_CHECKSUMS != 0 {
            let sum = u32::from_le_bytes(array(&mut rest)?);
            let wrong = CODEC_CHECKS && sum != xxh32(packed);
            if guard!("lz4 block checksum", wrong) {
                return Err(Fault::Checksum);
            }
        }
        let most = at.saturating_add(frame.block);
        let window = output.get_mut(..most.min(room)).ok_or(FULL)?;
        let low = if frame.flags & INDEPENDENT != 0 { at } else { 0 };
        let end = if len & STORED != 0 {
            put(window, at, packed)
        } else {
            block(packed, window, at, low)
        };
        at = match end {
            // The limit is that of a block, not of the output.
            Err(Fault::TooLarge { .. }) if most <= room => return Err(Fault::Damaged),
            end => end?,
        };
    }
    let content = output.get(..at).ok_or(FULL)?;
    if frame.flags & CONTENT_CHECKSUM != 0 {
        let sum = u32::from_le_bytes(array(&mut rest)?);
        let wrong = CODEC_CHECKS && sum != xxh32(content);
        if guard!("lz4 content checksum", wrong) {
            return Err(Fault::Checksum);
        }
    }
    let other = frame.content.is_some_and(|len| len != at as u64);
    if guard!("an lz4 frame is all there is", other || !rest.is_empty()) {
        return Err(Fault::Damaged);
    }
    Ok(at)
}

/// Unpacks a block to `output[at..]`; it may refer to bytes from `low` on. Returns where it ends.
///
/// # Errors
/// See [`Fault`].
pub fn block(input: &[u8], output: &mut [u8], at: usize, low: usize) -> Result<usize, Fault> {
    let (mut rest, mut at) = (input, at);
    loop {
        let token = byte(&mut rest)?;
        let literals = length(&mut rest, token >> 4)?;
        at = put(output, at, piece(&mut rest, literals)?)?;
        if rest.is_empty() {
            return Ok(at);
        }
        let offset = usize::from(u16::from_le_bytes(array(&mut rest)?));
        let len = length(&mut rest, token & 15)?.saturating_add(4);
        at = repeat(output, at, low, offset, len)?;
    }
}

/// Takes a length whose first four bits are known.
fn length(rest: &mut &[u8], bits: u8) -> Result<usize, Fault> {
    let mut length = usize::from(bits);
    if bits == 15 {
        loop {
            let more = byte(rest)?;
            length = length.saturating_add(usize::from(more));
            if more != 255 {
                break;
            }
        }
    }
    Ok(length)
}

/// The descriptor that is written, and its checksum: version 1, independent blocks of 64 KiB.
const HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];

/// Returns how many bytes of output [`pack`] needs at most: blocks that do not shrink are stored.
#[must_use]
pub const fn packed_bound(len: usize) -> usize {
    let blocks = len.div_ceil(BLOCK);
    len.saturating_add(blocks.saturating_mul(4)).saturating_add(HEADER.len() + 4)
}

/// Packs `input` into a frame; returns its length, or `None` when `output` is too small. `table`
/// is work memory: a power of two of places, of which 512 are enough.
#[must_use]
pub fn pack(input: &[u8], output: &mut [u8], table: &mut [u16]) -> Option<usize> {
    pack_with(input, output, |block, output| pack_block(block, output, table))
}

/// The same with another encoder of blocks, which returns `None` when its output is too small.
#[must_use]
pub fn pack_with(
    input: &[u8],
    output: &mut [u8],
    mut encode: impl FnMut(&[u8], &mut [u8]) -> Option<usize>,
) -> Option<usize> {
    pack_piece(input, output, (true, true), |block, output, most| {
        encode(block, output.get_mut(..most)?)
    })
}

/// Packs a frame of one block, of at most 64 KiB; `None` when it does not shrink.
#[cfg(all(feature = "pack", any(feature = "lz4", feature = "snappy")))]
pub(super) fn pack_one(input: &[u8], output: &mut [u8], table: &mut [u16]) -> Option<usize> {
    let at = put(output, 0, &HEADER).ok()?;
    let body = output.get_mut(at + 4..)?;
    let len = pack_block(input, body, table).filter(|len| *len < input.len())?;
    put(output, at, &(len as u32).to_le_bytes()).ok()?;
    put(output, at + 4 + len, &[0; 4]).ok()
}

/// Packs a piece of a frame: its beginning, its end, both or neither. `encode` gets a block, the
/// rest of `output`, and how many bytes of that it may use at most; a block for which it returns
/// `None` or more is stored.
#[must_use]
pub fn pack_piece(
    input: &[u8],
    output: &mut [u8],
    (first, last): (bool, bool),
    mut encode: impl FnMut(&[u8], &mut [u8], usize) -> Option<usize>,
) -> Option<usize> {
    let mut at = if first { put(output, 0, &HEADER).ok()? } else { 0 };
    for block in input.chunks(BLOCK) {
        let body = output.get_mut(at.checked_add(4)?..)?;
        // A block that does not shrink is stored.
        let most = body.len().min(block.len() - 1);
        let (len, stored) = match encode(block, body, most).filter(|len| *len <= most) {
            Some(len) => (len, 0),
            None => (put(body, 0, block).ok()?, STORED),
        };
        put(output, at, &(len as u32 | stored).to_le_bytes()).ok()?;
        at += 4 + len;
    }
    if last { put(output, at, &[0; 4]).ok() } else { Some(at) }
}

/// Unpacks the next block of what [`pack_piece`] has written to the front of `output`; `first` at
/// the beginning of the frame. `block` returns how many bytes it has written.
///
/// # Errors
/// See [`Fault`].
#[cfg(feature = "pack")]
pub fn unpack_piece(
    input: &[u8],
    output: &mut [u8],
    first: bool,
    block: impl FnOnce(&[u8], &mut [u8]) -> Result<usize, Fault>,
) -> Result<Step, Fault> {
    let mut rest = input;
    if first {
        piece(&mut rest, HEADER.len())?;
    }
    let len = u32::from_le_bytes(array(&mut rest)?);
    let packed = piece(&mut rest, (len & !STORED) as usize)?;
    let written = match len {
        0 => 0,
        _ if len & STORED != 0 => put(output, 0, packed)?,
        _ => block(packed, output)?,
    };
    Ok(Step { read: input.len() - rest.len(), written })
}

/// Packs a block of at most 64 KiB; `None` when `output` is too small.
#[must_use]
pub fn pack_block(block: &[u8], output: &mut [u8], table: &mut [u16]) -> Option<usize> {
    let mut at = 0_usize;
    let last = find(block, table, |found| {
        at = sequence(output, at, found.literals, Some((found.offset, found.len)))?;
        Some(())
    })?;
    sequence(output, at, last, None)
}

/// Writes literals, and the match after them where there is one.
fn sequence(
    output: &mut [u8],
    at: usize,
    literals: &[u8],
    found: Option<(usize, usize)>,
) -> Option<usize> {
    let (offset, len) = found.map_or((0, 0), |(offset, len)| (offset, len - 4));
    let token = literals.len().min(15) << 4 | len.min(15);
    let mut end = put(output, at, &[token as u8]).ok()?;
    end = more(output, end, literals.len())?;
    end = put(output, end, literals).ok()?;
    if found.is_some() {
        end = put(output, end, &(offset as u16).to_le_bytes()).ok()?;
        end = more(output, end, len)?;
    }
    Some(end)
}

/// Writes the part of a length that does not fit into the four bits of the token.
fn more(output: &mut [u8], at: usize, length: usize) -> Option<usize> {
    let Some(mut left) = length.checked_sub(15) else { return Some(at) };
    let mut at = at;
    while left >= 255 {
        at = put(output, at, &[255]).ok()?;
        left -= 255;
    }
    put(output, at, &[left as u8]).ok()
}
