//! Compression by libraries that are built for speed, behind the traits of
//! [`kavka_core::codec`]: `lz4_flex`, `snap`, `zlib-rs` and `zstd`, each with the feature of its
//! codec's name; with `zstd-rust` alone, zstd is read by `ruzstd`.

mod encode;
#[cfg(any(feature = "zstd", feature = "zstd-rust"))]
mod frame;
#[cfg(all(feature = "zstd-rust", any(test, not(feature = "zstd"))))]
mod pure;
mod set;

use std::fmt;

use kavka_core::codec::{Codec, Fault, Unpack, unpack_body};
use kavka_core::record::BatchHeader;

pub use encode::Encoders;
pub use set::{READ, WRITTEN};

/// Decoders of [`READ`], with the work memory that they keep: 48 KB for gzip and 160 KB for zstd,
/// once there was such a batch.
#[derive(Default)]
pub struct Decoders {
    #[cfg(feature = "snappy")]
    snappy: snap::raw::Decoder,
    #[cfg(feature = "gzip")]
    gzip: Option<zlib_rs::Inflate>,
    #[cfg(feature = "zstd")]
    zstd: Option<zstd::zstd_safe::DCtx<'static>>,
    #[cfg(all(feature = "zstd-rust", not(feature = "zstd")))]
    zstd: Option<ruzstd::decoding::FrameDecoder>,
}

impl Decoders {
    /// The decoders.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Unpacks `input` to `buffer` from `at` on; the buffer grows as needed, to at most
    /// `at + limit` bytes, and never shrinks. Returns how many bytes that are.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn unpack_to(
        &mut self,
        codec: Codec,
        input: &[u8],
        buffer: &mut Vec<u8>,
        at: usize,
        limit: usize,
    ) -> Result<usize, Fault> {
        let unpack = |decoders: &mut Self, output: &mut [u8]| decoders.unpack(codec, input, output);
        self.unpack_by(unpack, (codec, input), buffer, at, limit)
    }

    /// The same of the records of a batch (`BatchHeader::body`).
    pub(crate) fn unpack_batch(
        &mut self,
        (codec, header): (Codec, &BatchHeader),
        body: &[u8],
        buffer: &mut Vec<u8>,
        at: usize,
        limit: usize,
    ) -> Result<usize, Fault> {
        let unpack =
            |decoders: &mut Self, output: &mut [u8]| unpack_body(decoders, header, body, output);
        self.unpack_by(unpack, (codec, body), buffer, at, limit)
    }

    fn unpack_by(
        &mut self,
        unpack: impl Fn(&mut Self, &mut [u8]) -> Result<usize, Fault>,
        (codec, input): (Codec, &[u8]),
        buffer: &mut Vec<u8>,
        at: usize,
        limit: usize,
    ) -> Result<usize, Fault> {
        let said = self.unpacked_len(codec, input);
        if let Some(needed) = said.max(window(codec, input)).filter(|most| *most > limit as u64) {
            return Err(Fault::TooLarge { needed });
        }
        let guess = said.and_then(|len| usize::try_from(len).ok());
        let mut room = guess.unwrap_or_else(|| (4 * input.len()).max(LEAST)).min(limit);
        loop {
            let end = at.saturating_add(room);
            if buffer.len() < end {
                buffer.reserve_exact(end - buffer.len());
                buffer.resize(end, 0);
            }
            // What is there of the buffer is used, also beyond a guess.
            let most = buffer.len().min(at.saturating_add(limit));
            let output = buffer.get_mut(at..most).unwrap_or_default();
            room = output.len();
            match unpack(self, output) {
                Err(Fault::TooLarge { needed }) if room < limit => {
                    let more = usize::try_from(needed).unwrap_or(usize::MAX);
                    // Also from nothing, which is what a lie may begin with.
                    room = room.saturating_mul(4).max(more).max(LEAST).min(limit);
                }
                result => return result,
            }
        }
    }
}

impl fmt::Debug for Decoders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoders").finish_non_exhaustive()
    }
}

impl Unpack for Decoders {
    fn unpacked_len(&self, codec: Codec, input: &[u8]) -> Option<u64> {
        match codec {
            #[cfg(feature = "lz4")]
            Codec::Lz4 => kavka_core::codec::lz4::unpacked_len(input),
            #[cfg(feature = "snappy")]
            Codec::Snappy => kavka_core::codec::snappy::unpacked_len(input),
            #[cfg(feature = "gzip")]
            Codec::Gzip => kavka_core::codec::gzip::unpacked_len(input),
            #[cfg(any(feature = "zstd", feature = "zstd-rust"))]
            Codec::Zstd => frame::unpacked_len(input),
            #[allow(unreachable_patterns, reason = "not with all features")]
            _ => {
                let _ = input;
                None
            }
        }
    }

    fn unpack(&mut self, codec: Codec, input: &[u8], output: &mut [u8]) -> Result<usize, Fault> {
        match codec {
            #[cfg(feature = "lz4")]
            Codec::Lz4 => with_lz4::unpack(input, output),
            #[cfg(feature = "snappy")]
            Codec::Snappy => with_snap::unpack(&mut self.snappy, input, output),
            #[cfg(feature = "gzip")]
            Codec::Gzip => with_zlib::unpack(&mut self.gzip, input, output),
            #[cfg(feature = "zstd")]
            Codec::Zstd => with_zstd::unpack(&mut self.zstd, input, output),
            #[cfg(all(feature = "zstd-rust", not(feature = "zstd")))]
            Codec::Zstd => pure::unpack(&mut self.zstd, input, output),
            #[allow(unreachable_patterns, reason = "not with all features")]
            _ => {
                let _ = (input, output);
                Err(Fault::Missing)
            }
        }
    }
}

/// Bytes that a buffer grows to at least.
const LEAST: usize = 4 << 10;

/// Bytes of the window that a decoder would need that has no whole output.
fn window(codec: Codec, input: &[u8]) -> Option<u64> {
    #[cfg(any(feature = "zstd", feature = "zstd-rust"))]
    if codec == Codec::Zstd {
        return frame::window(input);
    }
    let _ = (codec, input);
    None
}

#[cfg(feature = "lz4")]
mod with_lz4 {
    use kavka_core::codec::{FULL, Fault, lz4};
    use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};

    /// A match begins at most so many bytes earlier.
    const WINDOW: usize = 64 << 10;

    pub(super) fn unpack(input: &[u8], output: &mut [u8]) -> Result<usize, Fault> {
        lz4::unpack_with(input, output, |block, output, at, low| {
            let (done, free) = output.split_at_mut_checked(at).ok_or(Fault::Damaged)?;
            let before = done.get(low.max(at.saturating_sub(WINDOW))..).unwrap_or_default();
            let written = if before.is_empty() {
                decompress_into(block, free)
            } else {
                decompress_into_with_dict(block, free, before)
            };
            written.map(|len| at + len).map_err(|why| match why {
                DecompressError::OutputTooSmall { .. } => FULL,
                DecompressError::ExpectedAnotherByte | DecompressError::LiteralOutOfBounds => {
                    Fault::Truncated
                }
                _ => Fault::Damaged,
            })
        })
    }
}

#[cfg(feature = "snappy")]
mod with_snap {
    use kavka_core::codec::{Fault, snappy};
    use snap::Error;
    use snap::raw::Decoder;

    pub(super) fn unpack(
        decoder: &mut Decoder,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Fault> {
        snappy::unpack_with(input, output, |block, output| {
            decoder.decompress(block, output).map_err(|why| match why {
                Error::BufferTooSmall { min, .. } => Fault::TooLarge { needed: min },
                Error::Empty => Fault::Truncated,
                _ => Fault::Damaged,
            })
        })
    }
}

#[cfg(feature = "gzip")]
mod with_zlib {
    use kavka_core::codec::{FULL, Fault, gzip};
    use zlib_rs::{Inflate, InflateFlush, Status};

    const WINDOW_BITS: u8 = 15;

    pub(super) fn unpack(
        inflate: &mut Option<Inflate>,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Fault> {
        let inflate = inflate.get_or_insert_with(|| Inflate::new(false, WINDOW_BITS));
        let member = |input: &[u8], output: &mut [u8]| {
            inflate.reset(false);
            let ended = inflate.decompress(input, output, InflateFlush::Finish);
            let [read, written] = [inflate.total_in(), inflate.total_out()]
                .map(|len| usize::try_from(len).unwrap_or(usize::MAX));
            match ended {
                Ok(Status::StreamEnd) => Ok((read, written)),
                Ok(_) if written == output.len() => Err(FULL),
                Ok(_) => Err(Fault::Truncated),
                Err(_) => Err(Fault::Damaged),
            }
        };
        gzip::unpack_with(input, output, member, |bytes| zlib_rs::crc32::crc32(0, bytes))
    }
}

#[cfg(feature = "zstd")]
mod with_zstd {
    use kavka_core::codec::{FULL, Fault};
    use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode as Code;
    use zstd::zstd_safe::{DCtx, is_error_kind};

    pub(super) fn unpack(
        context: &mut Option<DCtx<'static>>,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Fault> {
        // To the library no frame at all is no mistake.
        if input.is_empty() {
            return Err(Fault::Truncated);
        }
        let context = match context {
            Some(context) => context,
            None => context.insert(DCtx::try_create().ok_or(Fault::Missing)?),
        };
        context.decompress(output, input).map_err(|code| {
            if is_error_kind(code, Code::ZSTD_error_dstSize_tooSmall) {
                FULL
            } else if is_error_kind(code, Code::ZSTD_error_srcSize_wrong) {
                Fault::Truncated
            } else if is_error_kind(code, Code::ZSTD_error_checksum_wrong) {
                Fault::Checksum
            } else {
                Fault::Damaged
            }
        })
    }
}
