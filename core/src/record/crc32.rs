//! CRC-32 (IEEE 802.3): the checksum of gzip, and of messages before magic 2.

use crc::{CRC_32_ISO_HDLC, Crc, NoTable, Table};

// 16 KiB of table on servers, else 1 KiB, unless flash is scarce.
static WIDE: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);
static FAST: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);
static SMALL: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// Returns the checksum of `bytes`.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    if cfg!(any(feature = "std", feature = "wide-crc")) {
        WIDE.checksum(bytes)
    } else if cfg!(feature = "crc-table") {
        FAST.checksum(bytes)
    } else {
        SMALL.checksum(bytes)
    }
}
