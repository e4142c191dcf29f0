//! The marker in the metadata of each commit: what later members have to know to begin where
//! nothing is skipped, whatever `auto.offset.reset` is. A text before that of the application:
//! `kv1;n=COUNT;b=MS;t=ID;`, from members that subscribe by a regular expression with
//! `p=HASH:MS;` behind it.

use crate::wire::Uuid;

/// Longest marker, in bytes.
pub(super) const LONGEST: usize = if cfg!(feature = "pattern") { 104 } else { 64 };
const HEAD: &[u8] = b"kv1;n=";
/// Digits of a topic id in Kafka's text form (base64url without padding).
const ID: usize = 22;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What a marker says about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// Partitions that the topic had when the group first subscribed to it.
    pub(super) count: u32,
    /// When that was, in milliseconds since 1970; 0 where there was no clock.
    pub(super) begun: i64,
    /// The topic's id then, zero where brokers have none.
    pub(super) id: Uuid,
    /// A hash of the expression that the member subscribes by, 0 for none, and when the group first
    /// did that, in the unit of `begun`.
    #[cfg(feature = "pattern")]
    pub(super) met: (u32, i64),
}

/// The text in front of the metadata of a commit, at most 64 bytes (104 with feature `pattern`),
/// ASCII. See [`Config::group_skips`](crate::Config::group_skips).
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "transactions"), allow(unreachable_pub, reason = "nobody else needs it"))]
pub struct CommitMark {
    bytes: [u8; LONGEST],
    len: usize,
}

impl CommitMark {
    const fn new() -> Self {
        Self { bytes: [0; LONGEST], len: 0 }
    }

    /// What does not fit is left out.
    fn put(&mut self, text: &[u8]) {
        if let Some(to) = self.bytes.get_mut(self.len..self.len + text.len()) {
            to.copy_from_slice(text);
            self.len += text.len();
        }
    }

    /// Divides byte by byte: a device has no division of 64 bits, and needs none for anything else.
    fn number(&mut self, value: u64) {
        let mut left = value.to_be_bytes();
        let mut digits = [0; 20];
        let mut from = digits.len();
        for (at, digit) in digits.iter_mut().enumerate().rev() {
            let mut rest = 0;
            for byte in &mut left {
                let part = rest << 8 | u32::from(*byte);
                (*byte, rest) = ((part / 10) as u8, part % 10);
            }
            *digit = b'0' + rest as u8;
            from = at;
            if left == [0; 8] {
                break;
            }
        }
        self.put(digits.get(from..).unwrap_or_default());
    }

    fn id(&mut self, id: &Uuid) {
        self.put(&base64(&id.0));
    }

    /// Returns the text.
    #[cfg(feature = "transactions")]
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// Returns the bytes, all ASCII.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Returns 16 bytes in Kafka's text form of ids.
pub(super) fn base64(bytes: &[u8; 16]) -> [u8; ID] {
    let mut text = [0; ID];
    let (mut bits, mut has, mut bytes) = (0_u32, 0, bytes.iter());
    for digit in &mut text {
        if has < 6 {
            // 22 digits are 132 bits: the last one has two.
            bits = bits << 8 | u32::from(bytes.next().copied().unwrap_or(0));
            has += 8;
        }
        has -= 6;
        *digit = ALPHABET[(bits >> has & 63) as usize];
    }
    text
}

fn from_base64(text: &[u8]) -> Option<Uuid> {
    let mut id = [0; 16];
    let (mut bits, mut has, mut bytes) = (0_u32, 0, id.iter_mut());
    for digit in text {
        let six = ALPHABET.iter().position(|letter| letter == digit)? as u32;
        (bits, has) = (bits << 6 | six, has + 6);
        if has >= 8 {
            has -= 8;
            *bytes.next()? = (bits >> has) as u8;
        }
    }
    Some(Uuid(id))
}

impl Marker {
    pub(super) fn text(&self) -> CommitMark {
        let mut text = CommitMark::new();
        text.put(HEAD);
        text.number(u64::from(self.count));
        text.put(b";b=");
        text.number(self.begun.max(0) as u64);
        text.put(b";t=");
        text.id(&self.id);
        text.put(b";");
        #[cfg(feature = "pattern")]
        if self.met.0 > 0 {
            text.put(b"p=");
            text.number(u64::from(self.met.0));
            text.put(b":");
            text.number(self.met.1.max(0) as u64);
            text.put(b";");
        }
        text
    }

    /// Reads the marker at the beginning of a commit's metadata; `None`: another client wrote it.
    pub(super) fn read(text: &str) -> Option<Self> {
        let rest = text.as_bytes().strip_prefix(HEAD)?;
        let (count, rest) = number(rest)?;
        let (begun, rest) = number(rest.strip_prefix(b";b=")?)?;
        let rest = rest.strip_prefix(b";t=")?;
        let id = from_base64(rest.get(..ID)?)?;
        if rest.get(ID) != Some(&b';') {
            return None;
        }
        Some(Self {
            count: u32::try_from(count).ok()?,
            begun: i64::try_from(begun).ok()?,
            id,
            #[cfg(feature = "pattern")]
            met: rest.get(ID + 1..).and_then(met).unwrap_or_default(),
        })
    }
}

/// Reads what a marker says of an expression.
#[cfg(feature = "pattern")]
fn met(text: &[u8]) -> Option<(u32, i64)> {
    let (hash, rest) = number(text.strip_prefix(b"p=")?)?;
    let (ms, rest) = number(rest.strip_prefix(b":")?)?;
    rest.strip_prefix(b";")?;
    Some((u32::try_from(hash).ok()?, i64::try_from(ms).ok()?))
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let len = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(len)?;
    let mut value = 0_u64;
    for digit in digits {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    (len > 0).then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        for (count, begun, id) in [
            (0, 0, Uuid::ZERO),
            (12, 1_764_500_000_000, Uuid([7; 16])),
            (u32::MAX, i64::MAX, Uuid([255; 16])),
        ] {
            let marker = Marker {
                count,
                begun,
                id,
                #[cfg(feature = "pattern")]
                met: (count, begun),
            };
            let text = marker.text();
            let text = str::from_utf8(text.bytes()).unwrap();
            assert_eq!(Marker::read(text), Some(marker), "{text}");
            assert_eq!(Marker::read(&alloc::format!("{text}mine")), Some(marker));
        }
    }

    #[test]
    fn ids_are_written_as_kafka_does() {
        let id = [0xd2, 0x9f, 0x0c, 0x8a, 0x11, 0x5e, 0x4d, 0x2b, 0x9c, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(&base64(&id), b"0p8MihFeTSucAQIDBAUGBw");
        assert_eq!(from_base64(b"0p8MihFeTSucAQIDBAUGBw"), Some(Uuid(id)));
        assert_eq!(&base64(&[0; 16]), b"AAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn other_texts_are_no_markers() {
        let good = "kv1;n=3;b=5;t=AAAAAAAAAAAAAAAAAAAAAA;";
        assert!(Marker::read(good).is_some());
        for end in 0..good.len() {
            assert_eq!(Marker::read(&good[..end]), None, "{}", &good[..end]);
        }
        for bad in [
            "kv1;n=;b=5;t=AAAAAAAAAAAAAAAAAAAAAA;",
            "kv1;n=4294967296;b=5;t=AAAAAAAAAAAAAAAAAAAAAA;",
            "kv1;n=3;b=99999999999999999999;t=AAAAAAAAAAAAAAAAAAAAAA;",
            "kv1;n=3;b=5;t=AAAAAAAAAAAAAAAAAAAAA?;",
            "kv2;n=3;b=5;t=AAAAAAAAAAAAAAAAAAAAAA;",
        ] {
            assert_eq!(Marker::read(bad), None, "{bad}");
        }
    }
}
