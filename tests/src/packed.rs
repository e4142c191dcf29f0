//! Batches as other clients compress them.

use bytes::{BufMut, Bytes, BytesMut};
use kavka_core::codec::{Codec, lz4, snappy};

/// Bytes of a batch header.
const HEADER: usize = 61;

/// Returns a batch with its records compressed, and with the resulting length and checksum.
///
/// # Panics
/// When `batch` is no batch, or a library fails.
#[must_use]
pub fn batch(batch: &[u8], codec: Codec) -> Bytes {
    with_body(batch, codec, &body(&batch[HEADER..], codec))
}

/// Returns a batch whose compressed records are these bytes, with a correct checksum.
///
/// # Panics
/// When `batch` is shorter than a header.
#[must_use]
pub fn with_body(batch: &[u8], codec: Codec, body: &[u8]) -> Bytes {
    let mut out = BytesMut::from(&batch[..HEADER]);
    out.put_slice(body);
    let length = (out.len() - 12) as u32;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    out[22] = out[22] & !7 | codec.id();
    let crc = crc32c::crc32c(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out.freeze()
}

/// Compresses records.
///
/// # Panics
/// When a library fails.
#[must_use]
pub fn body(records: &[u8], codec: Codec) -> Vec<u8> {
    match codec {
        Codec::Gzip => gzip(records),
        Codec::Snappy => {
            let mut out = vec![0; snappy::packed_bound(records.len())];
            let len = snappy::pack(records, &mut out, &mut [0; 1024]);
            out.truncate(len.expect("as long as it can be"));
            out
        }
        Codec::Lz4 => {
            let mut out = vec![0; lz4::packed_bound(records.len())];
            let len = lz4::pack(records, &mut out, &mut [0; 1024]);
            out.truncate(len.expect("as long as it can be"));
            out
        }
        Codec::Zstd => zstd::bulk::compress(records, 1).expect("compressed"),
    }
}

/// Returns one gzip member.
fn gzip(input: &[u8]) -> Vec<u8> {
    // Above 15: with a gzip header.
    let config = zlib_rs::DeflateConfig { level: 6, window_bits: 31, ..Default::default() };
    let mut out = vec![0; zlib_rs::compress_bound(input.len()) + 32];
    let mut deflate = zlib_rs::Deflate::new_with_config(config);
    let ended = deflate.compress(input, &mut out, zlib_rs::DeflateFlush::Finish);
    assert_eq!(ended, Ok(zlib_rs::Status::StreamEnd));
    out.truncate(deflate.total_out() as usize);
    out
}
