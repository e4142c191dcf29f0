//! Compression of record batches: one module for each format, and what they have in common.
//!
//! The records of a batch, as one piece, may be compressed by one of four codecs
//! (`compression.type`). Nothing here does I/O or allocates: input and output are slices, and the
//! caller owns the work memory. The length that the bytes declare is never believed beyond the
//! output slice.
//!
//! [`Unpack`] is a set of decoders. [`Compact`] is the set of this crate, written to be small;
//! servers implement the same trait with fast libraries and use the framing of [`lz4`], [`snappy`]
//! and [`gzip`] around them. `Pack` and `CompactPack` are the same for encoders (feature `pack`).

use core::fmt;

use crate::id::TopicPartition;
use crate::record::BatchHeader;

mod find;
pub mod gzip;
pub mod lz4;
#[cfg(feature = "pack")]
mod pack;
pub mod snappy;
mod xxh32;

#[cfg(all(feature = "pack", any(feature = "lz4", feature = "snappy")))]
pub use pack::CompactPack;
#[cfg(feature = "pack")]
pub use pack::{PIECE, Pack, Step, packed_room, scratch_bytes};
pub use xxh32::xxh32;

/// A compression format of record batches, by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Codec {
    /// RFC 1952, one or more members.
    Gzip = 1,
    /// Raw blocks in xerial's framing, or one bare block.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// Zstandard frames (RFC 8878); Kafka 2.1 and later (KIP-110).
    Zstd = 4,
}

impl Codec {
    /// All codecs.
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Returns the codec of a number in a batch header, 1 to 4; `None` for 0 and for numbers that
    /// Kafka does not have.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Returns the number in a batch header.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Returns the name in `compression.type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of codecs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Codecs(u8);

impl Codecs {
    /// None.
    pub const NONE: Self = Self(0);
    /// Those that [`Compact`] has in this build: features `lz4`, `snappy` and `gzip`.
    pub const COMPACT: Self = {
        let set = if cfg!(feature = "lz4") { Self::NONE.with(Codec::Lz4) } else { Self::NONE };
        let set = if cfg!(feature = "snappy") { set.with(Codec::Snappy) } else { set };
        if cfg!(feature = "gzip") { set.with(Codec::Gzip) } else { set }
    };

    /// Returns the set with one more.
    #[must_use]
    pub const fn with(self, codec: Codec) -> Self {
        Self(self.0 | 1 << codec.id())
    }

    /// Whether it is in the set.
    #[must_use]
    pub const fn has(self, codec: Codec) -> bool {
        self.0 & 1 << codec.id() != 0
    }
}

/// Why compressed bytes cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Fault {
    /// This build has no decoder for the format.
    Missing,
    /// The bytes end too early.
    Truncated,
    /// The bytes break the rules of their format, or continue after its end.
    Damaged,
    /// A checksum of the format does not match the bytes.
    Checksum,
    /// The records, or the window that their decoder needs, are larger than the output slice.
    TooLarge {
        /// Bytes that would be enough; 0 where the format does not say.
        needed: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "this build has no decoder for it",
            Self::Truncated => "compressed records are cut short",
            Self::Damaged => "compressed records are damaged",
            Self::Checksum => "compressed records have a wrong checksum",
            Self::TooLarge { needed: 0 } => "the records are too large",
            Self::TooLarge { needed } => {
                return write!(f, "the records are too large: {needed} bytes");
            }
        })
    }
}

impl core::error::Error for Fault {}

/// A batch that cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnpackError {
    /// Its partition.
    pub partition: TopicPartition,
    /// The position: the first offset that is not read.
    pub offset: i64,
    /// First offset after the batch.
    pub next_offset: i64,
    /// Its codec, as in the batch header.
    pub codec: u8,
    /// Bytes of the compressed records.
    pub packed: usize,
    /// Bytes that they were allowed to unpack to.
    pub limit: usize,
    /// What is wrong.
    pub why: Fault,
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, packed, limit, why, partition, .. } = self;
        let index = partition.partition;
        let codec = Codec::from_id(self.codec).map_or("an unknown codec", Codec::name);
        write!(f, "partition {index}, offset {offset}: {packed} bytes of {codec}, ")?;
        write!(f, "at most {limit} unpacked: {why}")
    }
}

impl core::error::Error for UnpackError {}

/// Decoders of some codecs, with their work memory.
pub trait Unpack {
    /// Returns the unpacked length that `input` declares; `None` where it declares none, or an
    /// impossible one. Only a hint.
    fn unpacked_len(&self, codec: Codec, input: &[u8]) -> Option<u64>;

    /// Unpacks all of `input` to the front of `output`, and returns how many bytes that are. The
    /// rest of `output` is undefined afterwards.
    ///
    /// # Errors
    /// See [`Fault`]; the content of `output` is undefined then.
    fn unpack(&mut self, codec: Codec, input: &[u8], output: &mut [u8]) -> Result<usize, Fault>;
}

/// Unpacks the records of a batch to the front of `output`, and returns how many bytes that are;
/// `body` is [`BatchHeader::body`]. Where the format has oddities of its own, this knows them.
///
/// # Errors
/// As [`Unpack::unpack`]; `Missing` for a codec that Kafka does not have.
pub fn unpack_body(
    decoders: &mut (impl Unpack + ?Sized),
    header: &BatchHeader,
    body: &[u8],
    output: &mut [u8],
) -> Result<usize, Fault> {
    let codec = Codec::from_id(header.codec()).ok_or(Fault::Missing)?;
    #[cfg(feature = "old-records")]
    if codec == Codec::Lz4 && header.magic == crate::record::Magic::V0 {
        return lz4::unpack_unsummed(body, output);
    }
    decoders.unpack(codec, body, output)
}

/// The decoders of this crate: [`Codecs::COMPACT`]. Only gzip needs work memory (11 KB).
#[derive(Default)]
pub struct Compact {
    #[cfg(feature = "gzip")]
    gzip: gzip::Inflater,
}

impl Compact {
    /// Creates the decoders.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compact").finish_non_exhaustive()
    }
}

impl Unpack for Compact {
    fn unpacked_len(&self, codec: Codec, input: &[u8]) -> Option<u64> {
        match codec {
            #[cfg(feature = "lz4")]
            Codec::Lz4 => lz4::unpacked_len(input),
            #[cfg(feature = "snappy")]
            Codec::Snappy => snappy::unpacked_len(input),
            #[cfg(feature = "gzip")]
            Codec::Gzip => gzip::unpacked_len(input),
            #[allow(unreachable_patterns)]
            _ => {
                let _ = input;
                None
            }
        }
    }

    fn unpack(&mut self, codec: Codec, input: &[u8], output: &mut [u8]) -> Result<usize, Fault> {
        match codec {
            #[cfg(feature = "lz4")]
            Codec::Lz4 => lz4::unpack(input, output),
            #[cfg(feature = "snappy")]
            Codec::Snappy => snappy::unpack(input, output),
            #[cfg(feature = "gzip")]
            Codec::Gzip => self.gzip.unpack(input, output),
            #[allow(unreachable_patterns)]
            _ => {
                let _ = (input, output);
                Err(Fault::Missing)
            }
        }
    }
}

/// Takes one byte.
fn byte(rest: &mut &[u8]) -> Result<u8, Fault> {
    let (first, after) = rest.split_first().ok_or(Fault::Truncated)?;
    *rest = after;
    Ok(*first)
}

/// Takes `N` bytes.
fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Fault> {
    let (first, after) = rest.split_first_chunk().ok_or(Fault::Truncated)?;
    *rest = after;
    Ok(*first)
}

/// Takes `len` bytes.
fn piece<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Fault> {
    let (first, after) = rest.split_at_checked(len).ok_or(Fault::Truncated)?;
    *rest = after;
    Ok(first)
}

/// The output slice is full, and the format does not say how much would do.
pub const FULL: Fault = Fault::TooLarge { needed: 0 };

/// Appends `bytes` at `at`; returns where they end.
fn put(output: &mut [u8], at: usize, bytes: &[u8]) -> Result<usize, Fault> {
    let end = at.checked_add(bytes.len()).ok_or(FULL)?;
    output.get_mut(at..end).ok_or(FULL)?.copy_from_slice(bytes);
    Ok(end)
}

/// Appends `len` bytes that begin `offset` before `at`, no earlier than `low`; they may overlap
/// with themselves. Returns where they end.
fn repeat(
    output: &mut [u8],
    at: usize,
    low: usize,
    offset: usize,
    len: usize,
) -> Result<usize, Fault> {
    let from = at.checked_sub(offset).filter(|from| *from >= low && offset > 0);
    let from = from.ok_or(Fault::Damaged)?;
    let end = at.checked_add(len).filter(|end| *end <= output.len()).ok_or(FULL)?;
    let mut done = at;
    while done < end {
        // What has been copied already is a multiple of the period.
        let n = (end - done).min(done - from);
        output.copy_within(from..from + n, done);
        done += n;
    }
    Ok(end)
}
