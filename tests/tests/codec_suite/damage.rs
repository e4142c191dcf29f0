//! Truncated, changed and malicious bytes.

use std::io::Write;

use kavka_core::codec::{Codec, Fault, lz4};
use kavka_tests::packed;
use lz4_flex::frame::{FrameEncoder, FrameInfo};

use super::{BOTH, compact, fast, growing, telemetry};

/// Returns an LZ4 frame with all checksums.
fn checked(input: &[u8]) -> Vec<u8> {
    let info = FrameInfo::new().block_checksums(true).content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(input).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_prefix_is_an_error() {
    let input = telemetry(12);
    let mut all: Vec<_> = Codec::ALL.map(|codec| (codec, packed::body(&input, codec))).into();
    all.push((Codec::Lz4, checked(&input)));
    for (codec, body) in all {
        for cut in 0..body.len() {
            // A chunk of xerial's format ends here, and may be the last one.
            if codec == Codec::Snappy && cut == 16 {
                continue;
            }
            let front = &body[..cut];
            if BOTH.contains(&codec) {
                let why = compact(codec, front, input.len()).expect_err("cut");
                // Fewer bytes than the magic are a bare block, whose length can be any.
                let bare = codec == Codec::Snappy && cut < 8;
                let large = matches!(why, Fault::TooLarge { .. });
                assert!(bare || !large, "{codec} cut at {cut}: {why:?}");
            }
            fast(codec, front, input.len()).expect_err("cut");
            growing(codec, front, input.len()).expect_err("cut");
        }
    }
}

#[test]
fn no_changed_bit_panics_and_both_decoders_read_the_same() {
    let input = telemetry(12);
    for codec in BOTH {
        let mut body = packed::body(&input, codec);
        for bit in 0..8 * body.len() {
            body[bit / 8] ^= 1 << (bit % 8);
            let [one, other] = [compact, fast].map(|unpack| unpack(codec, &body, 4 * input.len()));
            if let (Ok(one), Ok(other)) = (&one, &other) {
                assert_eq!(one, other, "{codec}, bit {bit}");
            }
            assert_eq!(one.is_ok(), other.is_ok(), "{codec}, bit {bit}: {one:?}, {other:?}");
            body[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn a_changed_bit_in_a_checked_frame_is_found() {
    let input = telemetry(12);
    let mut body = checked(&input);
    for bit in 0..8 * body.len() {
        body[bit / 8] ^= 1 << (bit % 8);
        for unpack in [compact, fast] {
            unpack(Codec::Lz4, &body, 4 * input.len()).expect_err("changed");
        }
        body[bit / 8] ^= 1 << (bit % 8);
    }
    // Where there is one block, its checksum and that of the content are different bytes.
    let end = body.len();
    body[end - 1] ^= 1;
    assert_eq!(compact(Codec::Lz4, &body, 4 * input.len()), Err(Fault::Checksum));
    body[end - 1] ^= 1;
    body[end - 9] ^= 1;
    assert_eq!(compact(Codec::Lz4, &body, 4 * input.len()), Err(Fault::Checksum));
}

#[test]
fn a_gzip_member_with_another_checksum_or_length_is_refused() {
    let input = telemetry(12);
    let mut body = packed::body(&input, Codec::Gzip);
    for at in body.len() - 8..body.len() {
        body[at] ^= 0x10;
        for unpack in [compact, fast] {
            let why = unpack(Codec::Gzip, &body, input.len());
            assert_eq!(why, Err(Fault::Checksum), "byte {at} of {}", body.len());
        }
        body[at] ^= 0x10;
    }
}

#[test]
fn what_follows_the_end_is_an_error() {
    let input = telemetry(12);
    for codec in Codec::ALL {
        let body = packed::body(&input, codec);
        for tail in [[0].as_slice(), &[1, 2, 3, 4, 5]] {
            let long = [&body, tail].concat();
            if BOTH.contains(&codec) {
                compact(codec, &long, 4 * input.len()).expect_err("trailing bytes");
            }
            fast(codec, &long, 4 * input.len()).expect_err("trailing bytes");
        }
    }
    let frame = packed::body(&input, Codec::Lz4);
    let two = frame.repeat(2);
    assert_eq!(compact(Codec::Lz4, &two, 4 * input.len()), Err(Fault::Damaged), "two frames");
}

#[test]
fn an_lz4_content_length_has_to_be_right() {
    let input = telemetry(12);
    let n = input.len() as u64;
    for said in [0, n - 1, n, n + 1, u64::MAX] {
        // Only the length differs; its checksum is right.
        let mut frame = vec![0x04, 0x22, 0x4d, 0x18, 0x68, 0x40];
        frame.extend(said.to_le_bytes());
        frame.push((kavka_core::codec::xxh32(&frame[4..]) >> 8) as u8);
        frame.extend(&packed::body(&input, Codec::Lz4)[7..]);
        for unpack in [compact, fast, growing] {
            let got = unpack(Codec::Lz4, &frame, input.len() + 100);
            assert_eq!(got.is_ok(), said == n, "{said}: {got:?}");
        }
    }
}

#[test]
fn an_lz4_block_is_no_larger_than_its_frame_allows() {
    let mut table = [0; 512];
    let zeros = vec![0; 1 << 16];
    let mut block = vec![0; 1 << 10];
    let len = lz4::pack_block(&zeros, &mut block, &mut table).expect("zeros");
    block.truncate(len);
    let frame = |block: &[u8]| {
        let mut frame = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
        frame.extend((block.len() as u32).to_le_bytes());
        frame.extend(block);
        frame.extend([0; 4]);
        frame
    };
    for unpack in [compact, fast] {
        assert_eq!(unpack(Codec::Lz4, &frame(&block), 1 << 20), Ok(zeros.clone()));
    }
    // One more literal at its end: 65,537 bytes.
    let last = block.len() - 6;
    assert_eq!(block[last], 5 << 4, "five literals at the end");
    block[last] = 6 << 4;
    block.push(0);
    for unpack in [compact, fast] {
        assert_eq!(unpack(Codec::Lz4, &frame(&block), 1 << 20), Err(Fault::Damaged));
    }
}

/// From `badinput.md` and its sources: advisories of other libraries, and clients' bug reports.
#[test]
fn bytes_that_broke_others_are_errors() {
    let xerial = |rest: &[u8]| [b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".as_slice(), rest].concat();
    let lz4 = |rest: &[u8]| [b"\x04\x22\x4d\x18\x60\x40\x82".as_slice(), rest].concat();
    let cases = [
        ("chunk of 4 GB", Codec::Snappy, xerial(b"\xfc\0\x09\x09\x09\x09\x09\x09\x09\x09\x09")),
        ("negative chunk", Codec::Snappy, xerial(b"\xff\xff\xff\xff\x01\0A")),
        ("empty chunk", Codec::Snappy, xerial(b"\0\0\0\0")),
        ("half a chunk length", Codec::Snappy, xerial(b"\0\0")),
        ("half a xerial header", Codec::Snappy, xerial(b"")[..12].to_vec()),
        ("claims 4 GB", Codec::Snappy, b"\xff\xff\xff\xff\x0f\0\0\0\0\0\0\0\0".to_vec()),
        ("length of 6 bytes", Codec::Snappy, b"\x81\x80\x80\x80\x80\x00\0A".to_vec()),
        ("copy before the start", Codec::Snappy, b"\x08\0A\x05\x02".to_vec()),
        ("copy of offset 0", Codec::Snappy, b"\x08\0A\x05\x00".to_vec()),
        ("bad match offset", Codec::Lz4, lz4(b"\x07\0\0\0\x14\x61\xff\xff\0\0\0\0\0\0\0")),
        ("match of offset 0", Codec::Lz4, lz4(b"\x07\0\0\0\x14\x61\0\0\x10\x61\x61\0\0\0\0")),
        ("block of 2 GB", Codec::Lz4, lz4(b"\xff\xff\xff\x7f\0\0\0\0")),
        ("no end mark", Codec::Lz4, lz4(b"")),
        ("empty block with a flag", Codec::Lz4, lz4(b"\0\0\0\x80")),
        ("skippable frame", Codec::Lz4, b"\x50\x2a\x4d\x18\0\0\0\0".to_vec()),
        ("claims 2^48", Codec::Zstd, b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\0\x01\0\x01\0\0".to_vec()),
        ("window of 2 GB", Codec::Zstd, b"\x28\xb5\x2f\xfd\0\xa8\x01\0\0".to_vec()),
        ("reserved flags", Codec::Gzip, b"\x1f\x8b\x08\xe0\0\0\0\0\0\0\x03\0".to_vec()),
        ("endless name", Codec::Gzip, b"\x1f\x8b\x08\x08\0\0\0\0\0\0aaaaaaaa".to_vec()),
        ("other method", Codec::Gzip, b"\x1f\x8b\x07\0\0\0\0\0\0\0\x03\0".to_vec()),
        ("empty", Codec::Gzip, vec![]),
        ("empty", Codec::Snappy, vec![]),
        ("empty", Codec::Lz4, vec![]),
        ("empty", Codec::Zstd, vec![]),
    ];
    for (what, codec, input) in cases {
        for room in [0, 100, 1 << 20] {
            compact(codec, &input, room).expect_err(what);
            growing(codec, &input, room).expect_err(what);
            // Decoders that limit the window refuse 2 GB; ours needs no window.
            if what != "window of 2 GB" {
                fast(codec, &input, room).expect_err(what);
            }
        }
    }
}

/// Whatever is decoded, the buffer does not grow above the limit.
#[test]
fn a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 2 << 20];
    for codec in Codec::ALL {
        let bomb = packed::body(&zeros, codec);
        assert!(bomb.len() < zeros.len() / 20, "{codec}: {} bytes", bomb.len());
        for limit in [0, 1, 1000, 1 << 20] {
            let why = growing(codec, &bomb, limit).expect_err("a bomb");
            assert!(matches!(why, Fault::TooLarge { .. }), "{codec}: {why:?}");
            if BOTH.contains(&codec) {
                let why = compact(codec, &bomb, limit).expect_err("a bomb");
                assert!(matches!(why, Fault::TooLarge { .. }), "{codec}: {why:?}");
            }
        }
        assert_eq!(growing(codec, &bomb, zeros.len()).map(|all| all.len()), Ok(zeros.len()));
    }
}

/// A length that a few bytes claim is not trusted, so that it cannot reserve the whole limit.
#[test]
fn claims_beyond_what_a_format_can_do_take_no_memory() {
    let claims = [
        (Codec::Snappy, b"\x80\x80\x80\x10\0A".to_vec()),
        (Codec::Zstd, b"\x28\xb5\x2f\xfd\xa0\0\0\0\x02\x01\0\0".to_vec()),
        (Codec::Gzip, b"\x1f\x8b\x08\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\x02".to_vec()),
    ];
    for (codec, input) in claims {
        let mut buffer = Vec::new();
        let mut decoders = kavka_std::codec::Decoders::new();
        let snappy = codec == Codec::Snappy;
        assert!(
            !snappy || kavka_core::codec::Unpack::unpacked_len(&decoders, codec, &input).is_none(),
            "believed"
        );
        let got = decoders.unpack_to(codec, &input, &mut buffer, 0, 64 << 20);
        got.expect_err("a lie");
        assert!(buffer.len() <= 64 << 20);
        if codec != Codec::Snappy {
            assert!(buffer.len() <= 1 << 20, "{codec}: {} bytes", buffer.len());
        }
    }
}

/// Bytes changed, left out, repeated and moved, by a seed: both sets of decoders read the same, or
/// both refuse, and write nothing beyond their output.
#[test]
fn damaged_inputs_are_read_alike_by_both_sets() {
    let input = telemetry(30);
    for codec in BOTH {
        let body = packed::body(&input, codec);
        let (mut read, mut refused) = (0, 0);
        for seed in 0..20_000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut bad = body.clone();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..bad.len());
                match rng.u8(..5) {
                    0 => bad[at] = rng.u8(..),
                    1 => bad[at] ^= 1 << rng.u8(..8),
                    2 => drop(bad.drain(at..(at + rng.usize(1..9)).min(bad.len()))),
                    3 => bad.insert(at, rng.u8(..)),
                    _ => {
                        let from = rng.usize(..bad.len());
                        let len = rng.usize(1..20).min(bad.len() - at.max(from));
                        bad.copy_within(from..from + len, at);
                    }
                }
            }
            let room = 2 * input.len();
            let [one, other] = [compact, fast].map(|unpack| unpack(codec, &bad, room));
            assert_eq!(one.is_ok(), other.is_ok(), "{codec}, seed {seed}: {one:?}, {other:?}");
            match (one, other) {
                (Ok(one), Ok(other)) => {
                    assert_eq!(one, other, "{codec}, seed {seed}");
                    read += 1;
                }
                _ => refused += 1,
            }
        }
        // Only gzip has checksums.
        let enough = codec == Codec::Gzip || read > 100;
        assert!(enough && refused > 1000, "{codec}: {read} read, {refused} refused");
    }
}
