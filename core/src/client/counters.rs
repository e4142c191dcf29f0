//! What a client counts.

use crate::cluster::Probes;
#[cfg(feature = "misuse")]
use crate::error::Misuse;

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Stats {
    /// Requests of all kinds.
    pub requests: u64,
    /// Bytes that were written to connections. Feature `std`.
    #[cfg(feature = "std")]
    pub bytes_out: u64,
    /// Bytes that were read from connections. Feature `std`.
    #[cfg(feature = "std")]
    pub bytes_in: u64,
    /// Growth probes, and their bytes.
    pub probes: Probes,
    /// Bytes after the end of a response: tolerated.
    pub trailing_bytes: u64,
    /// Tagged fields in responses that this version does not know.
    pub unknown_tags: u64,
    /// Send blocks that hold something now, of [`Limits::tx_blocks`](crate::Limits::tx_blocks).
    pub blocks_used: usize,
    /// Detected mistakes of the loop around the client; 0 in a correct one. Feature `misuse`.
    #[cfg(feature = "misuse")]
    pub misuses: u32,
    /// The last of these mistakes.
    #[cfg(feature = "misuse")]
    pub last_misuse: Option<Misuse>,
}
