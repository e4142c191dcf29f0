//! CRC-32C (Castagnoli), the checksum of a record batch.

#[cfg(not(feature = "std"))]
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

#[cfg(feature = "std")]
mod by {
    /// With the processor's own instructions where it has them.
    pub(super) use crc32c::crc32c_append as append;
}

/// A CRC-32C over pieces.
#[derive(Clone)]
pub struct Crc32c(u32);

impl Crc32c {
    /// That of no bytes yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Appends `bytes`.
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = by::append(self.0, bytes);
    }

    /// The checksum of all that was appended.
    #[must_use]
    pub const fn finish(self) -> u32 {
        self.0
    }

    /// The checksum of one piece.
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
