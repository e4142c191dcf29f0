//! `kavka_core::codec` and `kavka_std::codec` against golden bytes, other libraries, random input
//! and damage.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

mod damage;
mod golden;
mod roundtrip;

use kavka_core::codec::{Codec, Compact, Fault, Unpack};
use kavka_std::codec::Decoders;

/// The codecs that both crates read.
const BOTH: [Codec; 3] = [Codec::Gzip, Codec::Snappy, Codec::Lz4];

/// Decompresses by the small decoders, in a buffer of `room` bytes.
fn compact(codec: Codec, input: &[u8], room: usize) -> Result<Vec<u8>, Fault> {
    let mut out = vec![0xee; room];
    let len = Compact::new().unpack(codec, input, &mut out)?;
    out.truncate(len);
    Ok(out)
}

/// Decompresses by the fast decoders.
fn fast(codec: Codec, input: &[u8], room: usize) -> Result<Vec<u8>, Fault> {
    let mut out = vec![0xee; room];
    let len = Decoders::new().unpack(codec, input, &mut out)?;
    out.truncate(len);
    Ok(out)
}

/// Decompresses by the fast decoders in a buffer that grows.
fn growing(codec: Codec, input: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let len = Decoders::new().unpack_to(codec, input, &mut out, 0, limit)?;
    assert!(out.len() <= limit, "{} bytes, at most {limit}", out.len());
    out.truncate(len);
    Ok(out)
}

/// Returns lines of JSON with ascending numbers, as in telemetry.
fn telemetry(lines: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for n in 0..lines {
        let (celsius, pump) = (200 + n * 7 % 31, n % 5);
        let line = format!("{{\"at\":{},\"pump\":{pump},\"celsius\":{celsius}}}\n", 1_700_000 + n);
        out.extend_from_slice(line.as_bytes());
    }
    out
}

/// Returns bytes without any pattern.
fn noise(len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(7);
    (0..len).map(|_| rng.u8(..)).collect()
}
