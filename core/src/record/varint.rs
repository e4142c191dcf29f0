//! Zig-zag LEB128 numbers, as they occur within records (`ByteUtils.readVarint`, `readVarlong`).
//!
//! The *unsigned* varints of flexible protocol versions are a different format.

use super::Malformed;

/// Longest varint of 32 bits, in bytes.
pub const MAX_32: usize = 5;
/// Longest varint of 64 bits (varlong), in bytes.
pub const MAX_64: usize = 10;

/// Takes a varint of 32 bits off the front of `input`.
///
/// # Errors
/// `Truncated`, or `Varint` for more than 5 bytes or bits above 32, which Java drops silently.
/// Needless zero groups within 5 bytes are accepted. After an error `input` is unchanged.
#[cfg_attr(feature = "std", inline)]
#[cfg_attr(not(feature = "std"), inline(never))]
pub fn take_i32(input: &mut &[u8]) -> Result<i32, Malformed> {
    let raw = match input.split_first() {
        // Nearly all of them are short.
        Some((&byte, rest)) if byte < 0x80 => {
            *input = rest;
            u32::from(byte)
        }
        // A varint of 32 bits has no more.
        _ => long(input, MAX_32, 0x0f)? as u32,
    };
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Takes a varint of 64 bits off the front of `input`.
///
/// # Errors
/// `Truncated`, or `Varint` for more than 10 bytes or bits above 64. After an error `input` is
/// unchanged.
#[cfg_attr(feature = "std", inline)]
#[cfg_attr(not(feature = "std"), inline(never))]
pub fn take_i64(input: &mut &[u8]) -> Result<i64, Malformed> {
    let raw = match input.split_first() {
        Some((&byte, rest)) if byte < 0x80 => {
            *input = rest;
            u64::from(byte)
        }
        _ => long(input, MAX_64, 1)?,
    };
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Takes a number of at most `most` bytes, of which the last one is not above `top`.
#[cfg_attr(feature = "std", inline)]
#[cfg_attr(not(feature = "std"), inline(never))]
fn long(input: &mut &[u8], most: usize, top: u8) -> Result<u64, Malformed> {
    let mut rest = *input;
    let mut value = 0;
    for n in 1..=most {
        let (&byte, after) = rest.split_first().ok_or(Malformed::Truncated)?;
        rest = after;
        value |= u64::from(byte & 0x7f) << (7 * (n - 1));
        if n == most && byte > top {
            return Err(Malformed::Varint);
        }
        if byte < 0x80 {
            break;
        }
    }
    *input = rest;
    Ok(value)
}

/// Encodes `value`; returns the bytes, and how many of them are used (1 to 10). A value of 32 bits
/// takes as many bytes as in 32 bits, 5 at most.
#[must_use]
#[cfg_attr(feature = "std", inline)]
#[cfg_attr(not(feature = "std"), inline(never))]
pub fn encode(value: i64) -> ([u8; MAX_64], usize) {
    let mut bytes = [0; MAX_64];
    let mut raw = zigzag(value);
    let mut len = 0;
    for slot in &mut bytes {
        len += 1;
        // The low seven bits.
        *slot = (raw & 0x7f) as u8;
        raw >>= 7;
        if raw == 0 {
            break;
        }
        *slot |= 0x80;
    }
    (bytes, len)
}

/// Returns how many bytes [`encode`] needs for `value`, 1 to 10.
#[must_use]
#[cfg_attr(feature = "std", inline)]
#[cfg_attr(not(feature = "std"), inline(never))]
pub const fn len(value: i64) -> usize {
    // Nearly all of them are short.
    if let -64..64 = value {
        return 1;
    }
    let bits = u64::BITS - (zigzag(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Returns the zig-zag value, before it is split into groups of seven bits.
#[inline]
pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}
