//! Compression piece by piece: what a producer needs of an encoder.

#[cfg(feature = "lz4")]
use super::lz4;
#[cfg(feature = "snappy")]
use super::snappy;
use super::{Codec, Codecs};
#[cfg(any(feature = "lz4", feature = "snappy"))]
use crate::has::{PIECES, UNPACKS};

/// The largest useful piece, in bytes.
pub const PIECE: usize = 64 << 10;

/// Returns how many bytes of output a piece of `len` bytes may need, whatever the codec and the
/// library.
#[must_use]
pub const fn packed_room(len: usize) -> usize {
    // Snappy's library wants a sixth more than it has to pack, LZ4's a tenth, whatever comes of it.
    len.saturating_add(len / 6 + 64)
}

/// Returns how many bytes of scratch memory a producer needs that packs pieces of `len` bytes: one
/// piece and its output. None for 0.
#[must_use]
pub const fn scratch_bytes(len: usize) -> usize {
    if len == 0 { 0 } else { len.saturating_add(packed_room(len)) }
}

/// How far a step of a decoder came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of input that it used.
    pub read: usize,
    /// Bytes of output that it wrote.
    pub written: usize,
}

/// Encoders of some codecs, and decoders of what they write, with their work memory.
///
/// The records of a batch are packed in pieces: their bytes lie in many places, and are in memory
/// twice for no longer than a piece takes. One batch is packed at a time, and one is unpacked, in
/// turns.
pub trait Pack {
    /// The codecs that it packs.
    fn codecs(&self) -> Codecs;

    /// Returns what batches of a topic are packed with, where the configuration wants `usual`; one
    /// of [`Pack::codecs`], or `None` for none. It is the same whenever a batch of the topic is
    /// chosen. What begins next is a batch of this topic.
    #[cfg(feature = "std")]
    fn choose(&mut self, topic: &str, usual: Option<Codec>) -> Option<Codec> {
        let _ = topic;
        usual
    }

    /// Returns how many bytes of the batch that was begun are packed at one point in time: no
    /// response is handled meanwhile. 256 KiB at most, and those by default.
    #[cfg(feature = "std")]
    fn pace(&self) -> usize {
        4 * PIECE
    }

    /// Begins a batch whose records are `len` bytes in all; what was begun before is abandoned.
    /// Returns false when it cannot: the batch is then sent as it is.
    fn begin(&mut self, codec: Codec, len: usize) -> bool;

    /// Packs all of `input` to the front of `output`, keeping nothing back, and ends the batch
    /// where it is the `last` piece. Returns how many bytes that are. `output` has
    /// [`packed_room`] for `input`, which is at most [`PIECE`] bytes long.
    ///
    /// `None` when it fails: where that is the first piece the batch is sent as it is, else it
    /// cannot be sent.
    fn pack(&mut self, input: &[u8], last: bool, output: &mut [u8]) -> Option<usize>;

    /// Begins to unpack a batch that it packed. Returns false when it cannot.
    fn begin_unpacking(&mut self, codec: Codec) -> bool;

    /// Unpacks some of `input`, which continues where the last step ended, to the front of
    /// `output`. `input` has at least [`packed_room`] bytes of the largest piece of the batch, or
    /// all that are left; `output` has room for such a piece. A step that neither reads nor writes
    /// is a failure, as `None` is.
    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step>;
}

/// Places of a table: enough for what devices send (see the module `find`).
#[cfg(any(feature = "lz4", feature = "snappy"))]
const PLACES: usize = 512;

/// The encoders of this crate: LZ4 and snappy, with 1 KiB of work memory.
#[cfg(any(feature = "lz4", feature = "snappy"))]
pub struct CompactPack {
    table: [u16; PLACES],
    /// What is being packed, and unpacked; 0 for nothing.
    packs: u8,
    unpacks: u8,
    /// Something of it was written, or read.
    written: bool,
    read: bool,
}

#[cfg(any(feature = "lz4", feature = "snappy"))]
impl CompactPack {
    /// Creates the encoders; all zero.
    #[must_use]
    pub const fn new() -> Self {
        Self { table: [0; PLACES], packs: 0, unpacks: 0, written: false, read: false }
    }

    const CODECS: Codecs = {
        let set = if cfg!(feature = "lz4") { Codecs::NONE.with(Codec::Lz4) } else { Codecs::NONE };
        if cfg!(feature = "snappy") { set.with(Codec::Snappy) } else { set }
    };
}

#[cfg(any(feature = "lz4", feature = "snappy"))]
impl Default for CompactPack {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(any(feature = "lz4", feature = "snappy"))]
impl core::fmt::Debug for CompactPack {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CompactPack").finish_non_exhaustive()
    }
}

#[cfg(any(feature = "lz4", feature = "snappy"))]
impl Pack for CompactPack {
    fn codecs(&self) -> Codecs {
        Self::CODECS
    }

    fn begin(&mut self, codec: Codec, _: usize) -> bool {
        (self.packs, self.written) = (codec.id(), false);
        Self::CODECS.has(codec)
    }

    fn pack(&mut self, input: &[u8], last: bool, output: &mut [u8]) -> Option<usize> {
        let first = !core::mem::replace(&mut self.written, true);
        let table = &mut self.table;
        match Codec::from_id(self.packs)? {
            #[cfg(feature = "lz4")]
            Codec::Lz4 if !PIECES => lz4::pack_one(input, output, table),
            #[cfg(feature = "lz4")]
            Codec::Lz4 => lz4::pack_piece(input, output, (first, last), |block, output, most| {
                lz4::pack_block(block, output.get_mut(..most)?, table)
            }),
            #[cfg(feature = "snappy")]
            Codec::Snappy => snappy::pack_piece(input, output, first, |block, output| {
                snappy::pack_block(block, output, table)
            }),
            _ => {
                let _ = last;
                None
            }
        }
    }

    fn begin_unpacking(&mut self, codec: Codec) -> bool {
        (self.unpacks, self.read) = (codec.id(), false);
        UNPACKS && Self::CODECS.has(codec)
    }

    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        if !UNPACKS {
            return None;
        }
        let first = !core::mem::replace(&mut self.read, true);
        match Codec::from_id(self.unpacks)? {
            #[cfg(feature = "lz4")]
            Codec::Lz4 => lz4::unpack_piece(input, output, first, |block, output| {
                lz4::block(block, output, 0, 0)
            }),
            #[cfg(feature = "snappy")]
            Codec::Snappy => snappy::unpack_piece(input, output, first, snappy::block),
            _ => return None,
        }
        .ok()
    }
}
