//! Encoders of the libraries, for batches in pieces.

use std::collections::HashMap;
use std::fmt;

use kavka_core::codec::{Codec, Codecs, PIECE, Pack, Step};

use super::set::WRITTEN;
use crate::compression::Compression;

/// Encoders of [`WRITTEN`], with the work memory that they keep of those that were used: 16 KB for
/// LZ4, 32 KB for snappy, 270 KB for gzip, and for zstd 220 KB to a few MB, depending on level and
/// length of the batches.
#[derive(Default)]
pub struct Encoders {
    usual: Compression,
    topics: HashMap<String, Compression>,
    /// What the next batch begins with, and the level of this one.
    next: Compression,
    level: Option<i32>,
    packs: Option<Codec>,
    unpacks: Option<Codec>,
    /// The next piece is the first.
    first: bool,
    unread: bool,
    #[cfg(feature = "lz4")]
    lz4: Option<lz4_flex::block::CompressTable>,
    #[cfg(feature = "snappy")]
    snappy: Option<snap::raw::Encoder>,
    #[cfg(feature = "gzip")]
    gzip: with_zlib::Gzip,
    #[cfg(feature = "zstd")]
    zstd: with_zstd::Zstd,
}

impl Encoders {
    /// The encoders, which pack at the level that `compression` wants.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self { usual: compression, next: compression, ..Self::default() }
    }

    /// The same but for topics that have a compression of their own.
    #[must_use]
    pub fn with_topics(mut self, topics: HashMap<String, Compression>) -> Self {
        self.topics = topics;
        self
    }
}

/// Pairs of level and bytes: what levels from this one on pack in about a millisecond
/// (`benches/pack.rs`).
type Paces = [(i32, usize)];

const GZIP_PACES: [(i32, usize); 4] = [(1, 4 * PIECE), (2, 2 * PIECE), (4, PIECE), (7, PIECE / 2)];
const ZSTD_PACES: [(i32, usize); 4] =
    [(i32::MIN, 4 * PIECE), (5, PIECE), (10, PIECE / 4), (16, PIECE / 8)];

fn pace_of(paces: &Paces, level: i32) -> usize {
    let last = paces.iter().rev().find(|(from, _)| level >= *from);
    last.map_or(PIECE, |(_, bytes)| *bytes)
}

impl fmt::Debug for Encoders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoders").field("usual", &self.usual).finish_non_exhaustive()
    }
}

impl Pack for Encoders {
    fn codecs(&self) -> Codecs {
        WRITTEN
    }

    fn choose(&mut self, topic: &str, usual: Option<Codec>) -> Option<Codec> {
        let own = self.topics.get(topic);
        self.next = own.copied().unwrap_or(self.usual);
        own.map_or(usual, |own| own.codec())
    }

    fn pace(&self) -> usize {
        match (self.packs, self.level) {
            (Some(Codec::Gzip), level) => pace_of(&GZIP_PACES, level.unwrap_or(6)),
            (Some(Codec::Zstd), level) => pace_of(&ZSTD_PACES, level.unwrap_or(3)),
            _ => 4 * PIECE,
        }
    }

    fn begin(&mut self, codec: Codec, len: usize) -> bool {
        (self.packs, self.first, self.level) = (Some(codec), true, self.next.level());
        match codec {
            #[cfg(feature = "gzip")]
            Codec::Gzip => return self.gzip.begin(self.level),
            #[cfg(feature = "zstd")]
            Codec::Zstd => return self.zstd.begin(self.level, len),
            _ => {
                let _ = len;
            }
        }
        WRITTEN.has(codec)
    }

    fn pack(&mut self, input: &[u8], last: bool, output: &mut [u8]) -> Option<usize> {
        let first = std::mem::take(&mut self.first);
        match self.packs? {
            #[cfg(feature = "lz4")]
            Codec::Lz4 => {
                use kavka_core::codec::lz4;
                use lz4_flex::block::{CompressTable, compress_into_with_table};

                let table = self.lz4.get_or_insert_with(CompressTable::large);
                lz4::pack_piece(input, output, (first, last), |block, output, _| {
                    compress_into_with_table(block, output, table).ok()
                })
            }
            #[cfg(feature = "snappy")]
            Codec::Snappy => {
                let encoder = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
                kavka_core::codec::snappy::pack_piece(input, output, first, |block, output| {
                    encoder.compress(block, output).ok()
                })
            }
            #[cfg(feature = "gzip")]
            Codec::Gzip => self.gzip.pack(input, (first, last), output),
            #[cfg(feature = "zstd")]
            Codec::Zstd => self.zstd.pack(input, last, output),
            #[allow(unreachable_patterns, reason = "not with all features")]
            _ => {
                let _ = (input, last, output, first);
                None
            }
        }
    }

    fn begin_unpacking(&mut self, codec: Codec) -> bool {
        (self.unpacks, self.unread) = (Some(codec), true);
        match codec {
            #[cfg(feature = "gzip")]
            Codec::Gzip => self.gzip.begin_unpacking(),
            #[cfg(feature = "zstd")]
            Codec::Zstd => return self.zstd.begin_unpacking(),
            _ => {}
        }
        WRITTEN.has(codec)
    }

    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        let first = std::mem::take(&mut self.unread);
        match self.unpacks? {
            #[cfg(feature = "lz4")]
            Codec::Lz4 => {
                use kavka_core::codec::lz4;
                lz4::unpack_piece(input, output, first, |block, output| {
                    lz4::block(block, output, 0, 0)
                })
                .ok()
            }
            #[cfg(feature = "snappy")]
            Codec::Snappy => {
                use kavka_core::codec::snappy;
                snappy::unpack_piece(input, output, first, snappy::block).ok()
            }
            #[cfg(feature = "gzip")]
            Codec::Gzip => self.gzip.unpack(input, first, output),
            #[cfg(feature = "zstd")]
            Codec::Zstd => self.zstd.unpack(input, output),
            #[allow(unreachable_patterns, reason = "not with all features")]
            _ => {
                let _ = (input, output, first);
                None
            }
        }
    }
}

#[cfg(feature = "gzip")]
mod with_zlib {
    use kavka_core::codec::Step;
    use zlib_rs::crc32::crc32;
    use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

    const WINDOW_BITS: u8 = 15;
    /// zlib's own default, and Java's.
    const LEVEL: i32 = 6;
    /// RFC 1952: deflate, no flags, no time, an unknown system.
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

    /// One member.
    #[derive(Default)]
    pub(super) struct Gzip {
        deflate: Option<Deflate>,
        inflate: Option<Inflate>,
        level: i32,
        crc: u32,
        len: u32,
    }

    impl Gzip {
        pub(super) fn begin(&mut self, level: Option<i32>) -> bool {
            let level = level.unwrap_or(LEVEL);
            let deflate = match &mut self.deflate {
                Some(deflate) => deflate,
                None => self.deflate.insert(Deflate::new(level, false, WINDOW_BITS)),
            };
            deflate.reset();
            (self.crc, self.len) = (0, 0);
            self.level == level || {
                self.level = level;
                deflate.set_level(level).is_ok()
            }
        }

        pub(super) fn pack(
            &mut self,
            input: &[u8],
            (first, last): (bool, bool),
            output: &mut [u8],
        ) -> Option<usize> {
            let deflate = self.deflate.as_mut()?;
            let mut at = 0;
            if first {
                output.get_mut(..HEADER.len())?.copy_from_slice(&HEADER);
                at = HEADER.len();
            }
            self.crc = crc32(self.crc, input);
            self.len = self.len.wrapping_add(input.len() as u32);
            let flush = if last { DeflateFlush::Finish } else { DeflateFlush::SyncFlush };
            let (read, before) = (deflate.total_in(), deflate.total_out());
            let ended = deflate.compress(input, output.get_mut(at..)?, flush).ok()?;
            at += usize::try_from(deflate.total_out() - before).ok()?;
            // With room to spare a flush is complete.
            let done = if last { ended == Status::StreamEnd } else { at < output.len() };
            if !done || deflate.total_in() - read != input.len() as u64 {
                return None;
            }
            if last {
                let end = at.checked_add(8)?;
                let (crc, len) = output.get_mut(at..end)?.split_at_mut(4);
                crc.copy_from_slice(&self.crc.to_le_bytes());
                len.copy_from_slice(&self.len.to_le_bytes());
                at = end;
            }
            Some(at)
        }

        pub(super) fn begin_unpacking(&mut self) {
            self.inflate.get_or_insert_with(|| Inflate::new(false, WINDOW_BITS)).reset(false);
        }

        pub(super) fn unpack(
            &mut self,
            input: &[u8],
            first: bool,
            output: &mut [u8],
        ) -> Option<Step> {
            let inflate = self.inflate.as_mut()?;
            let front = if first { HEADER.len() } else { 0 };
            let before = (inflate.total_in(), inflate.total_out());
            inflate.decompress(input.get(front..)?, output, InflateFlush::NoFlush).ok()?;
            let read = usize::try_from(inflate.total_in() - before.0).ok()?;
            let written = usize::try_from(inflate.total_out() - before.1).ok()?;
            Some(Step { read: front + read, written })
        }
    }
}

#[cfg(feature = "zstd")]
mod with_zstd {
    use kavka_core::codec::Step;
    use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective::{ZSTD_e_end, ZSTD_e_flush};
    use zstd::zstd_safe::{CCtx, CParameter, DCtx, InBuffer, OutBuffer, ResetDirective};

    /// zstd's own default, and Java's.
    const LEVEL: i32 = 3;

    /// One frame, which says how long its content is.
    #[derive(Default)]
    pub(super) struct Zstd {
        packs: Option<CCtx<'static>>,
        unpacks: Option<DCtx<'static>>,
    }

    impl Zstd {
        pub(super) fn begin(&mut self, level: Option<i32>, len: usize) -> bool {
            let context = match &mut self.packs {
                Some(context) => context,
                None => {
                    let Some(new) = CCtx::try_create() else { return false };
                    self.packs.insert(new)
                }
            };
            let level = CParameter::CompressionLevel(level.unwrap_or(LEVEL));
            context.reset(ResetDirective::SessionOnly).is_ok()
                && context.set_parameter(level).is_ok()
                && context.set_pledged_src_size(Some(len as u64)).is_ok()
        }

        pub(super) fn pack(
            &mut self,
            input: &[u8],
            last: bool,
            output: &mut [u8],
        ) -> Option<usize> {
            let context = self.packs.as_mut()?;
            let end = if last { ZSTD_e_end } else { ZSTD_e_flush };
            let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
            let left = context.compress_stream2(&mut to, &mut from, end).ok()?;
            (left == 0 && from.pos == input.len()).then_some(to.pos())
        }

        pub(super) fn begin_unpacking(&mut self) -> bool {
            let context = match &mut self.unpacks {
                Some(context) => context,
                None => match DCtx::try_create() {
                    Some(new) => self.unpacks.insert(new),
                    None => return false,
                },
            };
            context.reset(ResetDirective::SessionOnly).is_ok()
        }

        pub(super) fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
            let context = self.unpacks.as_mut()?;
            let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
            context.decompress_stream(&mut to, &mut from).ok()?;
            Some(Step { read: from.pos, written: to.pos() })
        }
    }
}
