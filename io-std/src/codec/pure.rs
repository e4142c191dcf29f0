//! zstd by `ruzstd`: without C, and reading alone.

use std::io::Read as _;

use kavka_core::codec::{FULL, Fault};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::frame::USUAL_WINDOW;

/// A block unpacks to this at most: no more is unpacked beyond the output before that is noticed.
const STEP: BlockDecodingStrategy = BlockDecodingStrategy::UptoBytes(128 << 10);

pub(super) fn unpack(
    decoder: &mut Option<FrameDecoder>,
    input: &[u8],
    output: &mut [u8],
) -> Result<usize, Fault> {
    // No frame at all is a mistake.
    if input.is_empty() {
        return Err(Fault::Truncated);
    }
    let decoder = decoder.get_or_insert_with(FrameDecoder::new);
    decoder.set_max_window_size(USUAL_WINDOW.max(output.len() as u64));
    let (mut rest, mut at) = (input, 0);
    while !rest.is_empty() {
        match decoder.init(&mut rest) {
            Ok(()) => {}
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                rest = rest.get(length as usize..).ok_or(Fault::Truncated)?;
                continue;
            }
            Err(why) => return Err(fault(&why, rest)),
        }
        let begun = at;
        while !decoder.is_finished() {
            decoder.decode_blocks(&mut rest, STEP).map_err(|why| fault(&why, rest))?;
            at += decoder.read(output.get_mut(at..).unwrap_or_default()).unwrap_or(0);
            if decoder.can_collect() > 0 {
                return Err(FULL);
            }
        }
        // 0 where it is not said.
        let said = decoder.content_size();
        if said > 0 && said != (at - begun) as u64 {
            return Err(Fault::Damaged);
        }
        let checksum = decoder.get_checksum_from_data();
        if checksum.is_some() && checksum != decoder.get_calculated_checksum() {
            return Err(Fault::Checksum);
        }
    }
    Ok(at)
}

fn fault(why: &FrameDecoderError, rest: &[u8]) -> Fault {
    match why {
        FrameDecoderError::WindowSizeTooBig { requested, .. } => {
            Fault::TooLarge { needed: *requested }
        }
        // It reads as far as it can.
        _ if rest.is_empty() => Fault::Truncated,
        _ => Fault::Damaged,
    }
}

#[cfg(all(test, feature = "zstd"))]
mod tests {
    use zstd::zstd_safe::{CCtx, CParameter};

    use super::*;
    use crate::codec::frame;

    /// Words and numbers that differ.
    fn text(len: usize) -> Vec<u8> {
        let words = (0..).map(|n| format!("{} and {n}; ", n * 7919 % 101));
        words.flat_map(String::into_bytes).take(len).collect()
    }

    fn packed(bytes: &[u8], level: i32, parameters: &[CParameter]) -> Vec<u8> {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::CompressionLevel(level)).unwrap();
        for parameter in parameters {
            context.set_parameter(*parameter).unwrap();
        }
        let mut out = vec![0; bytes.len() + 1000];
        let len = context.compress2(&mut out, bytes).unwrap();
        out.truncate(len);
        out
    }

    #[test]
    fn frames_of_the_reference_are_read() {
        let checksum = [CParameter::ChecksumFlag(true)];
        for len in [0, 1, 100, 70_000, 400_000] {
            for level in [-5, 1, 3, 9, 19] {
                for parameters in [&[][..], &checksum, &[CParameter::ContentSizeFlag(false)]] {
                    let (bytes, case) = (text(len), format!("{len} at {level}, {parameters:?}"));
                    let frame = packed(&bytes, level, parameters);
                    let (mut out, mut decoder) = (vec![0; 2 * len], None);
                    assert_eq!(unpack(&mut decoder, &frame, &mut out), Ok(len), "{case}");
                    assert!(out[..len] == bytes, "{case}");
                    if let Some(said) = frame::unpacked_len(&frame) {
                        assert_eq!(said, len as u64, "{case}");
                    }
                    // Two frames, by the same decoder, in exactly the space that they need.
                    let two = [&frame[..], &frame].concat();
                    let got = unpack(&mut decoder, &two, &mut out);
                    assert_eq!(got, Ok(2 * len), "{case}");
                    assert!(out[len..] == bytes, "{case}");
                    if len > 0 {
                        let got = unpack(&mut decoder, &frame, &mut out[..len - 1]);
                        assert_eq!(got, Err(FULL), "{case}");
                    }
                }
            }
        }
    }

    #[test]
    fn damage_ends_in_order() {
        let bytes = text(5000);
        let frame = packed(&bytes, 3, &[CParameter::ChecksumFlag(true)]);
        let (mut out, mut decoder) = (vec![0; 6000], None);
        let mut read = |frame: &[u8]| unpack(&mut decoder, frame, &mut out);
        for len in 0..frame.len() {
            assert_eq!(read(&frame[..len]), Err(Fault::Truncated), "{len} bytes");
        }
        assert!(read(&[&frame[..], &[1, 2, 3, 4, 5]].concat()).is_err(), "trailing bytes");
        for at in 0..frame.len() {
            let mut damaged = frame.clone();
            damaged[at] ^= 0x55;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
        assert_eq!(read(&frame), Ok(5000), "afterwards");
    }
}
