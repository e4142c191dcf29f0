//! CRC-32C (Castagnoli), the checksum of a record batch.

use crc::{CRC_32_ISCSI, Crc, Digest, Table};

// 16 KiB of table or 1 KiB: speed or flash.
#[cfg(feature = "wide-crc")]
type Width = Table<16>;
#[cfg(not(feature = "wide-crc"))]
type Width = Table<1>;

static CRC: Crc<u32, Width> = Crc::<u32, Width>::new(&CRC_32_ISCSI);

/// A CRC-32C over pieces.
#[derive(Clone)]
pub struct Crc32c(Digest<'static, u32, Width>);

impl Crc32c {
    /// That of no bytes yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(CRC.digest())
    }

    /// Appends `bytes`.
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all that was appended.
    #[must_use]
    pub const fn finish(self) -> u32 {
        self.0.finalize()
    }

    /// The checksum of one piece.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> u32 {
        CRC.checksum(bytes)
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Crc32c {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Crc32c").field(&self.clone().finish()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Crc32c;

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
}
