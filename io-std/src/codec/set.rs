//! Which codecs there are.

use kavka_core::codec::{Codec, Codecs};

/// The codecs that this build reads: [`WRITTEN`], and zstd also with the feature `zstd-rust`.
pub const READ: Codecs =
    if cfg!(feature = "zstd-rust") { WRITTEN.with(Codec::Zstd) } else { WRITTEN };

/// The codecs that this build writes: features `lz4`, `snappy`, `gzip` and `zstd`.
pub const WRITTEN: Codecs = {
    let set = if cfg!(feature = "lz4") { Codecs::NONE.with(Codec::Lz4) } else { Codecs::NONE };
    let set = if cfg!(feature = "snappy") { set.with(Codec::Snappy) } else { set };
    let set = if cfg!(feature = "gzip") { set.with(Codec::Gzip) } else { set };
    if cfg!(feature = "zstd") { set.with(Codec::Zstd) } else { set }
};
