//! What the parts of a client are created with.

use crate::config::Settings;
use crate::memory::Blocks;
use crate::rare::Rare;

/// What parts are created with, besides their memory.
pub(crate) struct Setup {
    pub(crate) idempotence: bool,
    /// There is a transactional id.
    #[cfg(feature = "transactions")]
    pub(crate) transactional: bool,
    /// All send blocks.
    pub(crate) blocks: usize,
    /// Receive buffer of a connection, in bytes.
    pub(crate) rx_bytes: usize,
    pub(crate) rare: Rare,
    /// Bytes of a batch that may have to be unpacked; 0 where none is packed.
    #[cfg(feature = "pack")]
    pub(crate) unpacked: usize,
    #[cfg(feature = "pack")]
    pub(crate) block_bytes: usize,
}

impl Setup {
    /// `_packs`: batches may be compressed, which only builds with `pack` can do.
    pub(crate) fn new(
        config: &Settings<'_>,
        blocks: &Blocks<'_>,
        rx_bytes: usize,
        rare: Rare,
        _packs: bool,
    ) -> Self {
        Self {
            idempotence: config.idempotence,
            #[cfg(feature = "transactions")]
            transactional: config.is_transactional(),
            blocks: blocks.total(),
            rx_bytes,
            rare,
            #[cfg(feature = "pack")]
            unpacked: if _packs { config.batch_bytes } else { 0 },
            #[cfg(feature = "pack")]
            block_bytes: blocks.block_size(),
        }
    }
}
