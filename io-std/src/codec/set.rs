//! Which codecs there are.

use kavka_core::codec::{Codec, Codecs};

/// The codecs that this build reads and writes: features `lz4`, `snappy`, `gzip` and `zstd`.
pub const READ: Codecs = {
    let set = if cfg!(feature = "lz4") { Codecs::NONE.with(Codec::Lz4) } else { Codecs::NONE };
    let set = if cfg!(feature = "snappy") { set.with(Codec::Snappy) } else { set };
    let set = if cfg!(feature = "gzip") { set.with(Codec::Gzip) } else { set };
    if cfg!(feature = "zstd") { set.with(Codec::Zstd) } else { set }
};
