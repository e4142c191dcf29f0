//! CRC-32C (Castagnoli), the checksum of a record batch.

#[cfg(feature = "std")]
mod by {
    /// With the processor's own instructions where it has them.
    pub(super) use crc32c::crc32c_append as append;
}

#[cfg(all(not(feature = "std"), any(feature = "crc-table", feature = "wide-crc")))]
mod by {
    use crc::{CRC_32_ISCSI, Crc, Table};

    // 16 KiB of table or 1 KiB: speed or flash.
    #[cfg(feature = "wide-crc")]
    type Width = Table<16>;
    #[cfg(not(feature = "wide-crc"))]
    type Width = Table<1>;

    static CRC: Crc<u32, Width> = Crc::<u32, Width>::new(&CRC_32_ISCSI);

    pub(super) fn append(crc: u32, bytes: &[u8]) -> u32 {
        let mut digest = CRC.digest_with_initial((!crc).reverse_bits());
        digest.update(bytes);
        digest.finalize()
    }
}

#[cfg(not(any(feature = "std", feature = "crc-table", feature = "wide-crc")))]
use half as by;

/// Half a byte at a time: a table of 64 bytes.
#[cfg(any(test, not(any(feature = "std", feature = "crc-table", feature = "wide-crc"))))]
mod half {
    /// The polynomial of CRC-32C, its bits in reverse.
    const POLYNOMIAL: u32 = 0x82f6_3b78;

    static TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut n = 0;
        while n < 16 {
            let (mut crc, mut bits) = (n as u32, 4);
            while bits > 0 {
                crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
                bits -= 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };

    pub(super) fn append(crc: u32, bytes: &[u8]) -> u32 {
        let step = |crc: u32| crc >> 4 ^ TABLE[(crc & 15) as usize];
        !bytes.iter().fold(!crc, |crc, byte| step(step(crc ^ u32::from(*byte))))
    }
}

/// A CRC-32C over pieces.
#[derive(Clone)]
pub struct Crc32c(u32);

impl Crc32c {
    /// Creates a checksum over no bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Appends `bytes`.
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = by::append(self.0, bytes);
    }

    /// Returns the checksum of all that was appended.
    #[must_use]
    pub const fn finish(self) -> u32 {
        self.0
    }

    /// Returns the checksum of one piece.
    #[must_use]
    pub fn of(bytes: &[u8]) -> u32 {
        by::append(0, bytes)
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Crc32c {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Crc32c").field(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Crc32c, half};

    /// The other golden values are tested from outside, but only for one width of the table.
    #[test]
    fn check_value() {
        assert_eq!(Crc32c::of(b"123456789"), 0xe306_9283);
        assert_eq!(Crc32c::of(&[0xff; 32]), 0x62a8_ab43);
        let mut pieces = Crc32c::new();
        for piece in [0..1, 1..1, 1..20, 20..32] {
            pieces.update(&[0xff; 32][piece]);
        }
        assert_eq!(pieces.finish(), 0x62a8_ab43);
    }
    #[test]
    fn half_a_byte_at_a_time_gives_the_same() {
        assert_eq!(half::append(0, b"123456789"), 0xe306_9283);
        let bytes: [u8; 256] = core::array::from_fn(|i| (i * 37) as u8);
        for end in 0..bytes.len() {
            let (front, back) = bytes[..end].split_at(end / 3);
            assert_eq!(half::append(Crc32c::of(front), back), Crc32c::of(&bytes[..end]), "{end}");
        }
    }
}
