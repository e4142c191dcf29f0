//! What the parts of a client are created with.

use crate::rare::Rare;

/// What parts are created with, besides their memory.
pub(crate) struct Setup {
    pub(crate) idempotence: bool,
    /// All send blocks.
    pub(crate) blocks: usize,
    /// Receive buffer of a connection, in bytes.
    pub(crate) rx_bytes: usize,
    pub(crate) rare: Rare,
}
