//! Snappy as in Kafka: raw blocks, each after its length, in the framing of xerial's
//! `SnappyOutputStream`. A bare block is also read (librdkafka writes that).

#[cfg(feature = "pack")]
use super::Step;
use super::find::find;
use super::{FULL, Fault, array, byte, piece, put, repeat};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version 1, and the oldest version that can read it. Not compared when read: some clients
/// write them with the other byte order.
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// Bytes of a block as Java's client writes it.
const CHUNK: usize = 32 << 10;
/// Above the largest ratio that the format has: three bytes stand for 64.
const MOST: u64 = 32;

/// Returns the unpacked length that all blocks together declare.
#[must_use]
pub fn unpacked_len(input: &[u8]) -> Option<u64> {
    let mut sum = 0;
    let bare = each(input, |mut block| {
        sum += u64::from(block_len(&mut block)?);
        Ok(())
    });
    bare.ok().filter(|()| sum <= (input.len() as u64).saturating_mul(MOST))?;
    Some(sum)
}

/// Unpacks framed blocks, or a bare one, to the front of `output`; returns how many bytes that
/// are.
///
/// # Errors
/// See [`Fault`].
pub fn unpack(input: &[u8], output: &mut [u8]) -> Result<usize, Fault> {
    unpack_with(input, output, block)
}

/// The same with another decoder of blocks, which returns how many bytes it has written.
///
/// # Errors
/// See [`Fault`].
pub fn unpack_with(
    input: &[u8],
    output: &mut [u8],
    mut block: impl FnMut(&[u8], &mut [u8]) -> Result<usize, Fault>,
) -> Result<usize, Fault> {
    let mut at = 0;
    each(input, |packed| {
        at += block(packed, output.get_mut(at..).ok_or(FULL)?)?;
        Ok(())
    })?;
    Ok(at)
}

/// Passes each block to `one`.
fn each<'a>(
    input: &'a [u8],
    mut one: impl FnMut(&'a [u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if !input.starts_with(&MAGIC) {
        return one(input);
    }
    let mut rest = input;
    while !rest.is_empty() {
        // Streams may follow each other.
        if rest.starts_with(&MAGIC) {
            piece(&mut rest, HEADER.len())?;
            continue;
        }
        let len = u32::from_be_bytes(array(&mut rest)?);
        one(piece(&mut rest, usize::try_from(len).map_err(|_| Fault::Truncated)?)?)?;
    }
    Ok(())
}

/// Takes the length at the front of a block: a varint of 32 bits.
fn block_len(rest: &mut &[u8]) -> Result<u32, Fault> {
    let mut len = 0;
    for shift in (0..35).step_by(7) {
        let next = byte(rest)?;
        len |= u64::from(next & 0x7f) << shift;
        if next < 0x80 {
            return u32::try_from(len).map_err(|_| Fault::Damaged);
        }
    }
    Err(Fault::Damaged)
}

/// Unpacks a raw block to the front of `output`; returns how many bytes that are.
///
/// # Errors
/// See [`Fault`].
pub fn block(input: &[u8], output: &mut [u8]) -> Result<usize, Fault> {
    let mut rest = input;
    let needed = block_len(&mut rest)?;
    let len = usize::try_from(needed).unwrap_or(usize::MAX);
    let room = output.get_mut(..len).ok_or(Fault::TooLarge { needed: needed.into() })?;
    let mut at = 0;
    while !rest.is_empty() {
        at = element(&mut rest, room, at).map_err(|why| match why {
            // The limit is the declared length of the block, not of the output.
            Fault::TooLarge { .. } => Fault::Damaged,
            other => other,
        })?;
    }
    if at == len { Ok(len) } else { Err(Fault::Truncated) }
}

/// Takes a literal or a copy.
fn element(rest: &mut &[u8], output: &mut [u8], at: usize) -> Result<usize, Fault> {
    let tag = byte(rest)?;
    let upper = usize::from(tag >> 2);
    let (len, offset) = match tag & 3 {
        0 => {
            let len = match upper {
                0..60 => upper,
                _ => little_endian(rest, upper - 59)?,
            };
            return put(output, at, piece(rest, len.saturating_add(1))?);
        }
        1 => ((upper & 7) + 4, usize::from(tag >> 5) << 8 | usize::from(byte(rest)?)),
        2 => (upper + 1, little_endian(rest, 2)?),
        _ => (upper + 1, little_endian(rest, 4)?),
    };
    repeat(output, at, 0, offset, len)
}

/// Takes a number of 1 to 4 bytes.
fn little_endian(rest: &mut &[u8], bytes: usize) -> Result<usize, Fault> {
    let number = piece(rest, bytes)?.iter().rfold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    usize::try_from(number).map_err(|_| Fault::Damaged)
}

/// Returns how many bytes of output [`pack`] needs at most.
#[must_use]
pub const fn packed_bound(len: usize) -> usize {
    // Three bytes for a length, and three for the tag of a literal. A copy of four bytes takes
    // three, and the tag of a literal from 61 bytes on two: one more than there were.
    let blocks = len.div_ceil(CHUNK);
    let tags = blocks.saturating_mul(4 + 3 + 3).saturating_add(len / (4 + 61));
    len.saturating_add(tags).saturating_add(HEADER.len())
}

/// Packs `input` as Java's client does; returns how many bytes that are, or `None` when `output`
/// is too small. `table` is work memory: a power of two of places, of which 512 are enough.
#[must_use]
pub fn pack(input: &[u8], output: &mut [u8], table: &mut [u16]) -> Option<usize> {
    pack_with(input, output, |block, output| pack_block(block, output, table))
}

/// The same with another encoder of blocks, which returns `None` when its output is too small.
#[must_use]
pub fn pack_with(
    input: &[u8],
    output: &mut [u8],
    encode: impl FnMut(&[u8], &mut [u8]) -> Option<usize>,
) -> Option<usize> {
    pack_piece(input, output, true, encode)
}

/// Packs a piece of what [`pack_with`] packs whole, the `first` one or another.
#[must_use]
pub fn pack_piece(
    input: &[u8],
    output: &mut [u8],
    first: bool,
    mut encode: impl FnMut(&[u8], &mut [u8]) -> Option<usize>,
) -> Option<usize> {
    let mut at = if first { put(output, 0, &HEADER).ok()? } else { 0 };
    for block in input.chunks(CHUNK) {
        let len = encode(block, output.get_mut(at.checked_add(4)?..)?)?;
        put(output, at, &(len as u32).to_be_bytes()).ok()?;
        at += 4 + len;
    }
    Some(at)
}

/// Unpacks the next block of what [`pack_piece`] has written to the front of `output`; `first` at
/// the beginning. `block` returns how many bytes it has written.
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
    let len = u32::from_be_bytes(array(&mut rest)?);
    let packed = piece(&mut rest, usize::try_from(len).map_err(|_| Fault::Truncated)?)?;
    let written = block(packed, output)?;
    Ok(Step { read: input.len() - rest.len(), written })
}

/// Packs a block of at most 64 KiB; `None` when `output` is too small.
#[must_use]
pub fn pack_block(block: &[u8], output: &mut [u8], table: &mut [u16]) -> Option<usize> {
    let (mut at, mut len) = (0, block.len());
    while len >= 0x80 {
        at = put(output, at, &[len as u8 | 0x80]).ok()?;
        len >>= 7;
    }
    at = put(output, at, &[len as u8]).ok()?;
    let last = find(block, table, |found| {
        at = literal(output, at, found.literals)?;
        let mut left = found.len;
        while left > 0 {
            // A copy has at most 64 bytes.
            let n = left.min(64);
            let [low, high] = (found.offset as u16).to_le_bytes();
            at = put(output, at, &[((n - 1) << 2 | 2) as u8, low, high]).ok()?;
            left -= n;
        }
        Some(())
    })?;
    literal(output, at, last)
}

fn literal(output: &mut [u8], at: usize, bytes: &[u8]) -> Option<usize> {
    let Some(len) = bytes.len().checked_sub(1) else { return Some(at) };
    let at = match len {
        0..60 => put(output, at, &[(len << 2) as u8]),
        60..256 => put(output, at, &[60 << 2, len as u8]),
        _ => put(output, at, &[61 << 2, len as u8, (len >> 8) as u8]),
    };
    put(output, at.ok()?, bytes).ok()
}
