//! The header of a zstd frame (RFC 8878, 3.1.1.1).

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Decoders should have so much (RFC 8878, 3.1.1.1.2). That in C takes none: the output is its
/// window.
pub(super) const USUAL_WINDOW: u64 = 8 << 20;
/// The window is the content.
const SINGLE_SEGMENT: u8 = 0x20;
/// Largest ratio that the format has, and more: a block of 128 KiB in four bytes.
const MOST: u64 = 32 << 10;

/// Bytes that the first frame says that it unpacks to.
pub(super) fn unpacked_len(input: &[u8]) -> Option<u64> {
    let (descriptor, rest) = input.strip_prefix(&MAGIC)?.split_first()?;
    let single = descriptor & SINGLE_SEGMENT != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let rest = rest.get(usize::from(!single) + dictionary..)?;
    let len = match (descriptor >> 6, single) {
        (0, false) => return None,
        (0, true) => u64::from(*rest.first()?),
        (1, _) => 256 + u64::from(u16::from_le_bytes(*rest.first_chunk()?)),
        (2, _) => u64::from(u32::from_le_bytes(*rest.first_chunk()?)),
        _ => u64::from_le_bytes(*rest.first_chunk()?),
    };
    (len <= (input.len() as u64).saturating_mul(MOST)).then_some(len)
}

/// Bytes of the window that the first frame needs, where those are unusually many. Java says 2 MiB
/// for whatever it packs.
pub(super) fn window(input: &[u8]) -> Option<u64> {
    let [descriptor, window, ..] = *input.strip_prefix(&MAGIC)? else { return None };
    if descriptor & SINGLE_SEGMENT != 0 {
        return None;
    }
    let base = 1_u64 << (10 + (window >> 3));
    let window = base + base / 8 * u64::from(window & 7);
    (window > USUAL_WINDOW).then_some(window)
}
