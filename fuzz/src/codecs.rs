//! Codecs: the small decoders against the fast ones, over bytes of a hostile broker; and compressed
//! data must decompress to the original.

use std::cell::RefCell;

use kavka_core::codec::{Codec, Compact, Fault, Unpack, lz4, snappy};
use kavka_std::codec::Decoders;

/// Largest decompressed size in bytes.
const LIMIT: usize = 1 << 20;

thread_local! {
    /// Kept, as applications do: their memory takes longer to create than most inputs.
    static KEPT: RefCell<(Compact, Decoders, Vec<u8>)> = RefCell::default();
}

/// Reads codec and operation, then the bytes.
pub fn run(data: &[u8]) {
    let Some((first, input)) = data.split_first() else { return };
    let codec = Codec::ALL[usize::from(first & 3)];
    if first & 4 != 0 {
        return pack(codec, input, 1 << (first >> 4));
    }
    if codec == Codec::Lz4 {
        unsummed(input);
    }
    let small = compact(codec, input, LIMIT);
    let fast = growing(codec, input);
    match (&small, &fast) {
        (Err(Fault::Missing), _) => return,
        // The format's own limits may be found in another order.
        (Err(_), Err(_)) => return,
        _ => assert_eq!(small, fast, "{codec}"),
    }
    let Ok(small) = small else { return };
    // Exactly this space is enough, and less is not.
    assert_eq!(compact(codec, input, small.len()).as_ref(), Ok(&small));
    if let Some(less) = small.len().checked_sub(1) {
        compact(codec, input, less).expect_err("too little room");
    }
}

/// Messages of magic 0 have frames whose header has a wrong checksum: whatever it is, the rest is
/// read as before.
fn unsummed(input: &[u8]) {
    let mut out = vec![0; LIMIT];
    let mut whole = out.clone();
    let got = lz4::unpack_unsummed(input, &mut out);
    match Compact::new().unpack(Codec::Lz4, input, &mut whole) {
        Err(Fault::Checksum) => assert!(got != Err(Fault::Missing)),
        same => assert_eq!((got, &out), (same, &whole)),
    }
}

fn compact(codec: Codec, input: &[u8], room: usize) -> Result<Vec<u8>, Fault> {
    KEPT.with_borrow_mut(|(decoders, _, out)| {
        out.resize(LIMIT.max(room), 0);
        let len = decoders.unpack(codec, input, &mut out[..room])?;
        Ok(out[..len].to_vec())
    })
}

fn growing(codec: Codec, input: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let unpacked = KEPT
        .with_borrow_mut(|(_, decoders, _)| decoders.unpack_to(codec, input, &mut out, 0, LIMIT));
    assert!(out.len() <= LIMIT, "{codec}: {} bytes", out.len());
    out.truncate(unpacked?);
    Ok(out)
}

fn pack(codec: Codec, input: &[u8], places: usize) {
    let mut table = vec![0; places];
    let mut packed = vec![0; lz4::packed_bound(input.len()).max(snappy::packed_bound(input.len()))];
    let len = match codec {
        Codec::Lz4 => lz4::pack(input, &mut packed, &mut table),
        Codec::Snappy => snappy::pack(input, &mut packed, &mut table),
        _ => return,
    };
    let packed = &packed[..len.expect("the bound is enough")];
    if input.len() <= LIMIT {
        assert_eq!(compact(codec, packed, input.len()).as_deref(), Ok(input));
        assert_eq!(growing(codec, packed).as_deref(), Ok(input));
    }
}
