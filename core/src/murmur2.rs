//! The hash that Kafka's default partitioner computes of a key (`Utils.murmur2` of the Java
//! client).

const M: u32 = 0x5bd1_e995;
const SEED: u32 = 0x9747_b28c;

/// Returns murmur2 of `bytes`, bit for bit as Java's clients compute it.
///
/// The length enters as its low 32 bits; Java cannot have longer keys.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "Java's length is an int")]
#[expect(clippy::cast_possible_wrap, reason = "Java's ints are signed")]
pub fn murmur2(bytes: &[u8]) -> i32 {
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (place, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

/// Returns Kafka's "positive" of a hash: the sign bit cleared, not the absolute value
/// (`Utils.toPositive`).
#[must_use]
pub const fn positive(hash: i32) -> u32 {
    hash.cast_unsigned() & 0x7fff_ffff
}
