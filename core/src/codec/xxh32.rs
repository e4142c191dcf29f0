//! xxHash with 32 bits, the checksum of LZ4 frames.

use core::num::Wrapping;

const P1: Wrapping<u32> = Wrapping(0x9e37_79b1);
const P2: Wrapping<u32> = Wrapping(0x85eb_ca77);
const P3: Wrapping<u32> = Wrapping(0xc2b2_ae3d);
const P4: Wrapping<u32> = Wrapping(0x27d4_eb2f);
const P5: Wrapping<u32> = Wrapping(0x1656_67b1);

/// Returns the xxHash of `bytes` with seed 0.
#[must_use]
pub fn xxh32(bytes: &[u8]) -> u32 {
    let (stripes, mut rest) = bytes.as_chunks::<16>();
    let mut hash = P5;
    if !stripes.is_empty() {
        let mut lanes = [P1 + P2, P2, Wrapping(0), -P1];
        for stripe in stripes {
            for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<4>().0) {
                *lane += Wrapping(u32::from_le_bytes(*word)) * P2;
                *lane = turn(*lane, 13) * P1;
            }
        }
        let [a, b, c, d] = lanes;
        hash = turn(a, 1) + turn(b, 7) + turn(c, 12) + turn(d, 18);
    }
    hash += Wrapping(bytes.len() as u32);
    while let Some((word, after)) = rest.split_first_chunk::<4>() {
        hash = turn(hash + Wrapping(u32::from_le_bytes(*word)) * P3, 17) * P4;
        rest = after;
    }
    for byte in rest {
        hash = turn(hash + Wrapping(u32::from(*byte)) * P5, 11) * P1;
    }
    hash = (hash ^ hash >> 15) * P2;
    hash = (hash ^ hash >> 13) * P3;
    (hash ^ hash >> 16).0
}

fn turn(value: Wrapping<u32>, bits: u32) -> Wrapping<u32> {
    Wrapping(value.0.rotate_left(bits))
}

#[cfg(test)]
mod tests {
    use super::xxh32;

    #[test]
    fn known_values() {
        assert_eq!(xxh32(b""), 0x02cc_5d05);
        assert_eq!(xxh32(b"abc"), 0x32d1_53ff);
        assert_eq!(xxh32(b"Nobody inspects the spammish repetition"), 0xe229_3b2f);
    }
}
