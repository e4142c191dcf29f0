//! Compression, by libraries: brokers open what producers pack, and pack again where a topic says
//! so (`compression.type`).

use std::io::{Read, Write};

use bytes::{BufMut, Bytes, BytesMut};
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::batch::{HEADER, Header};

/// What the records of a batch may unpack to, in bytes.
const MOST: usize = 256 << 20;
/// The framing of snappy's blocks: magic, version, oldest compatible version.
const XERIAL: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// Bytes of such a block before compression.
const BLOCK: usize = 32 << 10;
/// With a gzip header.
const GZIP_BITS: u8 = 15 + 16;

/// Returns a batch with its records as they are; `None` where they cannot be unpacked, or this
/// build does not know the codec (zstd is a feature).
#[must_use]
pub fn unpacked(batch: &Bytes) -> Option<Bytes> {
    let header = Header::read(batch)?;
    let body = batch.get(HEADER..header.size)?;
    let records = match header.codec() {
        0 => return Some(batch.clone()),
        1 => gunzip(body)?,
        2 => unsnap(body)?,
        3 => {
            let mut out = Vec::new();
            FrameDecoder::new(body).take(MOST as u64).read_to_end(&mut out).ok()?;
            out
        }
        4 => unzstd(body)?,
        _ => return None,
    };
    Some(with_body(batch, 0, &records))
}

/// Returns a batch with its records packed by a codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
/// `None` as in [`unpacked`].
#[must_use]
pub fn packed(batch: &Bytes, codec: i16) -> Option<Bytes> {
    if Header::read(batch)?.codec() == codec {
        return Some(batch.clone());
    }
    let plain = unpacked(batch)?;
    if codec == 0 {
        return Some(plain);
    }
    let body = compressed(plain.get(HEADER..)?, codec)?;
    Some(with_body(&plain, codec, &body))
}

/// Returns records packed by a codec, 1 to 4. `None` as in [`unpacked`].
#[must_use]
pub fn compressed(records: &[u8], codec: i16) -> Option<Vec<u8>> {
    Some(match codec {
        1 => gzip(records)?,
        2 => snap(records)?,
        3 => {
            let info =
                FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(records).ok()?;
            encoder.finish().ok()?
        }
        4 => zstd(records)?,
        _ => return None,
    })
}

/// Returns a batch with another body, length and checksum.
fn with_body(batch: &[u8], codec: i16, body: &[u8]) -> Bytes {
    let mut out = BytesMut::from(&batch[..HEADER]);
    out.put_slice(body);
    let length = u32::try_from(out.len() - 12).unwrap_or(u32::MAX);
    out[8..12].copy_from_slice(&length.to_be_bytes());
    out[22] = out[22] & !7 | codec.to_be_bytes()[1];
    let crc = crc32c::crc32c(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out.freeze()
}

fn gunzip(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; body.len().saturating_mul(4).max(1 << 10)];
    let mut inflate = zlib_rs::Inflate::new(true, GZIP_BITS);
    loop {
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let at = usize::try_from(written).ok()?;
        let flush = zlib_rs::InflateFlush::NoFlush;
        let ended = inflate.decompress(body, &mut out[at..], flush).ok()?;
        body = body.get(usize::try_from(inflate.total_in() - read).ok()?..)?;
        let end = usize::try_from(inflate.total_out()).ok()?;
        match ended {
            zlib_rs::Status::StreamEnd => {
                out.truncate(end);
                return body.is_empty().then_some(out);
            }
            _ if end == out.len() && end < MOST => out.resize(end * 4, 0),
            _ => return None,
        }
    }
}

fn gzip(records: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; zlib_rs::compress_bound(records.len()) + 32];
    let mut deflate = zlib_rs::Deflate::new(6, true, GZIP_BITS);
    deflate.compress(records, &mut out, zlib_rs::DeflateFlush::Finish).ok()?;
    out.truncate(usize::try_from(deflate.total_out()).ok()?);
    Some(out)
}

fn unsnap(body: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = snap::raw::Decoder::new();
    let Some(mut rest) = body.strip_prefix(&XERIAL) else {
        return decoder.decompress_vec(body).ok();
    };
    let mut out = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk() {
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        let (block, after) = after.split_at_checked(len)?;
        out.extend(decoder.decompress_vec(block).ok()?);
        rest = after;
    }
    rest.is_empty().then_some(out)
}

fn snap(records: &[u8]) -> Option<Vec<u8>> {
    let mut out = XERIAL.to_vec();
    for block in records.chunks(BLOCK) {
        let packed = snap::raw::Encoder::new().compress_vec(block).ok()?;
        out.extend(u32::try_from(packed.len()).ok()?.to_be_bytes());
        out.extend(packed);
    }
    Some(out)
}

#[cfg(feature = "zstd")]
fn unzstd(body: &[u8]) -> Option<Vec<u8>> {
    zstd::bulk::decompress(body, MOST.min(body.len().saturating_mul(1 << 10))).ok()
}

#[cfg(feature = "zstd")]
fn zstd(records: &[u8]) -> Option<Vec<u8>> {
    zstd::bulk::compress(records, 3).ok()
}

#[cfg(not(feature = "zstd"))]
fn unzstd(_: &[u8]) -> Option<Vec<u8>> {
    None
}

#[cfg(not(feature = "zstd"))]
fn zstd(_: &[u8]) -> Option<Vec<u8>> {
    None
}
