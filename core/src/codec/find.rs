//! Repeated strings in a block of at most 64 KiB, found greedily through a small table.

/// Bytes that are compared first, and the shortest string that is found.
const MIN: usize = 4;

/// Longest block.
pub(super) const BLOCK: usize = 1 << 16;

/// A string that occurred before.
pub(super) struct Found<'a> {
    /// What is between the previous string and this one.
    pub(super) literals: &'a [u8],
    /// How many bytes earlier it occurred, from 1.
    pub(super) offset: usize,
    /// Its length, from 4.
    pub(super) len: usize,
}

/// Passes the repeated strings of `block` to `each` until that returns `None`; returns what follows
/// the last one. None begins in the last 12 bytes or ends in the last 5, as LZ4 requires. `table`
/// has a power of two of places. `None` also for a longer block.
pub(super) fn find<'a>(
    block: &'a [u8],
    table: &mut [u16],
    mut each: impl FnMut(Found<'a>) -> Option<()>,
) -> Option<&'a [u8]> {
    if block.len() > BLOCK {
        return None;
    }
    let bits = table.len().checked_ilog2()?.min(16);
    table.fill(0);
    let (last, mut at, mut done, mut misses) = (block.len().saturating_sub(12), 0, 0, 0);
    while at < last {
        let here = word(block, at)?;
        // Fibonacci hashing: the upper bits are the good ones.
        let place = u64::from(here.wrapping_mul(0x9e37_79b1)) >> (32 - bits);
        let place = table.get_mut(place as usize)?;
        let before = usize::from(core::mem::replace(place, at as u16));
        if before >= at || word(block, before)? != here {
            // Data that does not compress is skipped in longer and longer steps.
            at += 1 + (misses >> 5);
            misses += 1;
            continue;
        }
        let (end, offset) = (block.len() - 5, at - before);
        let mut start = at;
        while start > done && start > offset && block[start - 1] == block[start - 1 - offset] {
            start -= 1;
        }
        at += MIN;
        while at < end && block[at] == block[at - offset] {
            at += 1;
        }
        each(Found { literals: block.get(done..start)?, offset, len: at - start })?;
        (done, misses) = (at, 0);
    }
    block.get(done..)
}

fn word(block: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*block.get(at..)?.first_chunk()?))
}
