//! gzip (RFC 1952): the members around deflate streams. Members may follow each other; nothing
//! else may follow.

use super::{FULL, Fault, array, byte, piece};

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const UNKNOWN: u8 = 0xe0;
/// Largest ratio that deflate has.
const MOST: u64 = 1032;

/// Returns the unpacked length that the end of the last member declares: wrong when there are
/// several members.
#[must_use]
pub fn unpacked_len(input: &[u8]) -> Option<u64> {
    let len = u64::from(u32::from_le_bytes(*input.last_chunk()?));
    (len <= (input.len() as u64).saturating_mul(MOST)).then_some(len)
}

/// Unpacks all members to the front of `output`; returns how many bytes that are. `inflate` decodes
/// the deflate stream at the front of its input and returns how many bytes it has read and written;
/// `crc32` is that of IEEE 802.3.
///
/// # Errors
/// See [`Fault`].
pub fn unpack_with(
    input: &[u8],
    output: &mut [u8],
    mut inflate: impl FnMut(&[u8], &mut [u8]) -> Result<(usize, usize), Fault>,
    crc32: impl Fn(&[u8]) -> u32,
) -> Result<usize, Fault> {
    let (mut rest, mut at) = (input, 0);
    loop {
        header(&mut rest)?;
        let (read, written) = inflate(rest, output.get_mut(at..).ok_or(FULL)?)?;
        piece(&mut rest, read)?;
        let end = at.checked_add(written).ok_or(FULL)?;
        let content = output.get(at..end).ok_or(FULL)?;
        let wrong_sum = u32::from_le_bytes(array(&mut rest)?) != crc32(content);
        let wrong_len = u32::from_le_bytes(array(&mut rest)?) != written as u32;
        if guard!("gzip checksum", wrong_sum || wrong_len) {
            return Err(Fault::Checksum);
        }
        at = end;
        if rest.is_empty() {
            return Ok(at);
        }
    }
}

/// Takes the header of a member.
fn header(rest: &mut &[u8]) -> Result<(), Fault> {
    if array(rest)? != MAGIC {
        return Err(Fault::Damaged);
    }
    // Flags, modification time, extra flags, system.
    let [flags, ..] = array::<7>(rest)?;
    if flags & UNKNOWN != 0 {
        return Err(Fault::Damaged);
    }
    if flags & EXTRA != 0 {
        let len = u16::from_le_bytes(array(rest)?);
        piece(rest, usize::from(len))?;
    }
    for text in [NAME, COMMENT] {
        while flags & text != 0 && byte(rest)? != 0 {}
    }
    if flags & HEADER_CRC != 0 {
        array::<2>(rest)?;
    }
    Ok(())
}

#[cfg(feature = "gzip")]
pub use with_miniz::Inflater;

#[cfg(feature = "gzip")]
mod with_miniz {
    use core::fmt;

    use miniz_oxide::inflate::TINFLStatus;
    use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

    use super::{FULL, Fault};
    use crate::record::crc32;

    /// Work memory of the decoder: 11 KB. The output serves as window.
    #[derive(Default)]
    pub struct Inflater(DecompressorOxide);

    impl Inflater {
        /// Unpacks all members to the front of `output`; returns how many bytes that are.
        ///
        /// # Errors
        /// See [`Fault`].
        pub fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Result<usize, Fault> {
            super::unpack_with(input, output, |input, output| self.inflate(input, output), crc32)
        }

        fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Fault> {
            self.0.init();
            let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
            let (status, read, written) = decompress(&mut self.0, input, output, 0, flags);
            match status {
                TINFLStatus::Done => Ok((read, written)),
                TINFLStatus::HasMoreOutput => Err(FULL),
                TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => {
                    Err(Fault::Truncated)
                }
                _ => Err(Fault::Damaged),
            }
        }
    }

    impl fmt::Debug for Inflater {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Inflater").finish_non_exhaustive()
        }
    }
}
