//! What is compressed here is decompressed by other libraries, and vice versa.

use std::io::Write;

use kavka_core::codec::{Codec, Unpack, lz4, snappy};
use kavka_std::codec::Decoders;
use kavka_tests::packed;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{BOTH, compact, fast, growing, noise, telemetry};

/// Generates bytes with repetitions near and far.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..40).prop_map(|bytes| (bytes, 1)),
        (vec(any::<u8>(), 1..20), 1..200_usize),
        (vec(0..4_u8, 1..300), 1..4_usize),
        (any::<u8>().prop_map(|byte| vec![byte]), 1..30_000_usize),
    ];
    vec(piece, 0..8).prop_map(|pieces| {
        let parts = pieces.into_iter().map(|(bytes, times)| bytes.repeat(times));
        parts.collect::<Vec<_>>().concat()
    })
}

/// Input, output, table.
type Pack = fn(&[u8], &mut [u8], &mut [u16]) -> Option<usize>;

/// Compresses with a table of this many entries.
fn pack(codec: Codec, input: &[u8], places: usize) -> Vec<u8> {
    let mut table = vec![0xffff; places];
    let (bound, pack): (_, Pack) = match codec {
        Codec::Lz4 => (lz4::packed_bound(input.len()), lz4::pack),
        _ => (snappy::packed_bound(input.len()), snappy::pack),
    };
    let mut out = vec![0; bound];
    let len = pack(input, &mut out, &mut table).expect("the bound is enough");
    // The exact length is enough, and one byte less is not.
    let mut exact = vec![0; len];
    assert_eq!(pack(input, &mut exact, &mut table), Some(len));
    assert_eq!(exact, out[..len]);
    assert_eq!(pack(input, &mut exact[..len - 1], &mut table), None);
    exact
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn our_lz4_and_snappy_are_read_by_all(input in input(), bits in 0..12_u32) {
        for codec in [Codec::Lz4, Codec::Snappy] {
            let packed = pack(codec, &input, 1 << bits);
            let n = input.len();
            assert_eq!(compact(codec, &packed, n).as_ref(), Ok(&input), "{}", codec);
            assert_eq!(fast(codec, &packed, n).as_ref(), Ok(&input), "{}", codec);
            assert_eq!(growing(codec, &packed, n).as_ref(), Ok(&input), "{}", codec);
            if codec == Codec::Lz4 {
                let mut read = Vec::new();
                std::io::copy(&mut FrameDecoder::new(packed.as_slice()), &mut read).unwrap();
                assert_eq!(&read, &input);
            }
        }
    }

    #[test]
    fn lz4_frames_of_all_kinds_are_read(
        input in input(),
        linked: bool,
        size in 0..4_usize,
        sums: (bool, bool),
        sized: bool,
    ) {
        use BlockSize::{Max1MB, Max4MB, Max64KB, Max256KB};
        let size = [Max64KB, Max256KB, Max1MB, Max4MB][size];
        let mode = if linked { BlockMode::Linked } else { BlockMode::Independent };
        let info = FrameInfo::new()
            .block_mode(mode)
            .block_size(size)
            .block_checksums(sums.0)
            .content_checksum(sums.1)
            .content_size(sized.then_some(input.len() as u64));
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&input).unwrap();
        let packed = encoder.finish().unwrap();
        let n = input.len();
        assert_eq!(compact(Codec::Lz4, &packed, n).as_ref(), Ok(&input));
        assert_eq!(fast(Codec::Lz4, &packed, n).as_ref(), Ok(&input));
        assert_eq!(growing(Codec::Lz4, &packed, n).as_ref(), Ok(&input));
    }

    #[test]
    fn what_libraries_pack_is_read(input in input()) {
        let n = input.len();
        let bare = snap::raw::Encoder::new().compress_vec(&input).unwrap();
        let of = |codec| packed::body(&input, codec);
        let members = [of(Codec::Gzip), of(Codec::Gzip)].concat();
        let twice = [input.as_slice(), &input].concat();
        for (codec, packed, wanted) in [
            (Codec::Snappy, bare, &input),
            (Codec::Gzip, of(Codec::Gzip), &input),
            (Codec::Gzip, members, &twice),
            (Codec::Zstd, of(Codec::Zstd), &input),
            (Codec::Zstd, [of(Codec::Zstd), of(Codec::Zstd)].concat(), &twice),
        ] {
            if BOTH.contains(&codec) {
                assert_eq!(compact(codec, &packed, wanted.len()).as_ref(), Ok(wanted));
            }
            assert_eq!(fast(codec, &packed, wanted.len()).as_ref(), Ok(wanted));
            assert_eq!(growing(codec, &packed, 2 * n).as_ref(), Ok(wanted));
        }
    }
}

#[test]
fn a_small_table_is_enough_for_telemetry_and_noise_is_stored() {
    let input = telemetry(4000);
    for codec in [Codec::Lz4, Codec::Snappy] {
        let len = pack(codec, &input, 512).len();
        assert!(len * 2 < input.len(), "{codec}: {len} bytes of {}", input.len());
    }
    let noise = noise(200_000);
    let stored = pack(Codec::Lz4, &noise, 512).len();
    assert_eq!(stored, lz4::packed_bound(noise.len()), "blocks that do not shrink are stored");
    assert!(pack(Codec::Snappy, &noise, 512).len() <= snappy::packed_bound(noise.len()));
}

/// Four bytes that repeat between literals that do not: three bytes for the copy, and two or three
/// for the tag of each literal.
#[test]
fn short_copies_between_long_literals_fit_the_bound() {
    for literal in [57, 60, 61, 62, 100, 255, 256, 257, 258, 400] {
        let noise = noise(60_000);
        let parts = noise.chunks(literal).map(|part| [b"abcd", part].concat());
        let input = parts.collect::<Vec<_>>().concat();
        for codec in [Codec::Lz4, Codec::Snappy] {
            // A large table finds all of them.
            let packed = pack(codec, &input, 1 << 15);
            assert_eq!(compact(codec, &packed, input.len()).as_ref(), Ok(&input), "{literal}");
        }
    }
}

/// Java's client writes this header, and verifies its checksum.
#[test]
fn a_frame_begins_as_those_of_java() {
    let packed = pack(Codec::Lz4, b"", 512);
    assert_eq!(packed, [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82, 0, 0, 0, 0]);
}

/// A decoder is reused after an error, and after any other input.
#[test]
fn one_set_of_decoders_reads_one_batch_after_the_other() {
    let (mut decoders, mut buffer) = (Decoders::new(), Vec::new());
    let input = telemetry(500);
    for _ in 0..3 {
        for codec in Codec::ALL {
            let body = packed::body(&input, codec);
            let cut = &body[..body.len() - 2];
            decoders.unpack_to(codec, cut, &mut buffer, 0, 1 << 20).expect_err("cut");
            let len = decoders.unpack_to(codec, &body, &mut buffer, 7, 1 << 20).unwrap();
            assert_eq!(buffer[7..7 + len], input, "{codec}");
            assert_eq!(decoders.unpacked_len(codec, &body).is_some(), codec != Codec::Lz4);
        }
    }
}
