//! What a producer compresses with.

use std::fmt;
use std::str::FromStr;

use kavka_core::codec::Codec;

/// What batches are compressed with, and how hard. As text: `none`, `gzip`, `snappy`, `lz4`,
/// `zstd`, or with a level `gzip:9`, `zstd:1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compression {
    codec: Option<Codec>,
    level: Option<i32>,
}

impl Compression {
    /// None.
    pub const NONE: Self = Self { codec: None, level: None };

    /// A codec at its usual level: 6 for gzip, 3 for zstd; the others have none.
    #[must_use]
    pub const fn new(codec: Codec) -> Self {
        Self { codec: Some(codec), level: None }
    }

    /// The same at another level, bounded to those that there are: 1 to 9 for gzip, -131,072 to 22
    /// for zstd. Nothing for the others.
    #[must_use]
    pub fn at_level(mut self, level: i32) -> Self {
        self.level = self.levels().map(|(least, most)| level.clamp(least, most));
        self
    }

    /// The codec; `None` for none.
    #[must_use]
    pub const fn codec(self) -> Option<Codec> {
        self.codec
    }

    /// The level that was chosen; `None` for the usual one.
    #[must_use]
    pub const fn level(self) -> Option<i32> {
        self.level
    }

    /// The lowest and the highest level of the codec.
    const fn levels(self) -> Option<(i32, i32)> {
        match self.codec {
            Some(Codec::Gzip) => Some((1, 9)),
            // ZSTD_minCLevel and ZSTD_maxCLevel.
            Some(Codec::Zstd) => Some((-131_072, 22)),
            _ => None,
        }
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Self::new(codec)
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let known = Codec::ALL.into_iter().find(|codec| codec.name() == name);
        let plain = match known {
            Some(codec) => Self::new(codec),
            None if name == "none" => Self::NONE,
            None => return Err("must be none, gzip, snappy, lz4 or zstd".into()),
        };
        let Some(level) = level else { return Ok(plain) };
        let Some((least, most)) = plain.levels() else {
            return Err(format!("{name} has no levels"));
        };
        match level.parse() {
            Ok(level) if (least..=most).contains(&level) => Ok(plain.at_level(level)),
            _ => Err(format!("levels of {name} are {least} to {most}")),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.codec.map_or("none", Codec::name))?;
        self.level.map_or(Ok(()), |level| write!(f, ":{level}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written() {
        for text in ["none", "gzip", "gzip:1", "snappy", "lz4", "zstd", "zstd:-5", "zstd:22"] {
            assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
        }
        for bad in ["", "LZ4", "gzip:0", "gzip:10", "gzip:", "zstd:23", "lz4:1", "none:1", "br"] {
            assert!(bad.parse::<Compression>().is_err(), "{bad}");
        }
        assert_eq!(Compression::from(Codec::Gzip).at_level(99).level(), Some(9));
        assert_eq!(Compression::from(Codec::Lz4).at_level(99).level(), None);
    }
}
