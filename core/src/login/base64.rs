//! Base64 (RFC 4648, section 4): what SCRAM sends as text. All of it is seen on the wire, so that
//! nothing depends on how long a look-up takes, and a general library is five times larger.

/// Returns the character of six bits.
const fn symbol(bits: u8) -> u8 {
    match bits {
        0..26 => b'A' + bits,
        26..52 => b'a' + (bits - 26),
        52..62 => b'0' + (bits - 52),
        62 => b'+',
        _ => b'/',
    }
}

/// Returns the six bits of a character.
const fn value(symbol: u8) -> Option<u8> {
    Some(match symbol {
        b'A'..=b'Z' => symbol - b'A',
        b'a'..=b'z' => symbol - b'a' + 26,
        b'0'..=b'9' => symbol - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

/// Writes bytes as text, with padding, as far as `out` has room. Returns the text.
#[inline(never)]
pub(super) fn encode<'o>(bytes: &[u8], out: &'o mut [u8]) -> &'o [u8] {
    let mut written = 0;
    for (piece, quad) in bytes.chunks(3).zip(out.chunks_exact_mut(4)) {
        let mut word = 0;
        for at in 0..3 {
            word = (word << 8) | u32::from(piece.get(at).copied().unwrap_or_default());
        }
        for (at, to) in quad.iter_mut().enumerate() {
            *to = if at <= piece.len() { symbol((word >> 18) as u8 & 63) } else { b'=' };
            word <<= 6;
        }
        written += 4;
    }
    out.get(..written).unwrap_or_default()
}

/// Reads text into `out`. Returns how many bytes it has; `None` if it is no such text, or too long.
/// Padding is required, and bits that are not used are zero.
#[inline(never)]
pub(super) fn decode(text: &[u8], out: &mut [u8]) -> Option<usize> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let (mut rest, mut bits, mut len) = (0_u32, 0, 0);
    for symbol in text {
        rest = (rest << 6) | u32::from(value(*symbol)?);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            *out.get_mut(len)? = (rest >> bits) as u8;
            rest &= (1 << bits) - 1;
            len += 1;
        }
    }
    (rest == 0).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, section 10, and all characters.
    const VECTORS: [(&[u8], &[u8]); 8] = [
        (b"", b""),
        (b"f", b"Zg=="),
        (b"fo", b"Zm8="),
        (b"foo", b"Zm9v"),
        (b"foob", b"Zm9vYg=="),
        (b"fooba", b"Zm9vYmE="),
        (b"foobar", b"Zm9vYmFy"),
        (
            b"\x00\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f\x41\x14\x93\x51\x55\x97\x61\x96\
              \x9b\x71\xd7\x9f\x82\x18\xa3\x92\x59\xa7\xa2\x9a\xab\xb2\xdb\xaf\xc3\x1c\xb3\xd3\
              \x5d\xb7\xe3\x9e\xbb\xf3\xdf\xbf",
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        ),
    ];

    #[test]
    fn both_ways_as_the_rfc_has_it() {
        for (bytes, text) in VECTORS {
            let (mut there, mut back) = ([0; 64], [0; 48]);
            assert_eq!(encode(bytes, &mut there), text);
            let len = decode(text, &mut back).expect("the text of some bytes");
            assert_eq!(&back[..len], bytes);
        }
    }

    #[test]
    fn what_is_no_such_text_is_refused() {
        // Without padding, too much of it, within, bits that are not used, other characters.
        let wrong: [&[u8]; 9] =
            [b"Zg", b"Zg=", b"Z===", b"Zg==Zg==", b"Zh==", b"Zm9=", b"Zm-v", b"Zm9 ", b"=Zm9"];
        for text in wrong {
            assert_eq!(decode(text, &mut [0; 8]), None, "{}", text.escape_ascii());
        }
        assert_eq!(decode(b"Zm9v", &mut [0; 2]), None, "longer than there is room for");
    }
}
