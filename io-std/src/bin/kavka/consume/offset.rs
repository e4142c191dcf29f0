//! `-o`: where to begin.

use core::str::FromStr;

use kavka_std::Start;

#[derive(Clone, Copy)]
pub(super) enum Offset {
    At(Start),
    FromEnd(i64),
}

impl FromStr for Offset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            let wrong = format!("{text}: beginning, end, an offset, -N or @MS");
            digits.parse::<u64>().ok().and_then(|n| i64::try_from(n).ok()).ok_or(wrong)
        };
        // kcat writes s@MS.
        let time = text.strip_prefix("s@").or_else(|| text.strip_prefix('@'));
        Ok(match text {
            "beginning" | "earliest" => Self::At(Start::Earliest),
            "end" | "latest" => Self::At(Start::Latest),
            _ => match (time, text.strip_prefix('-')) {
                (Some(ms), _) => Self::At(Start::Timestamp(number(ms)?)),
                (_, Some(n)) => Self::FromEnd(number(n)?),
                _ => Self::At(Start::Offset(number(text)?)),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_kcat_does() {
        let at = |text| match Offset::from_str(text) {
            Ok(Offset::At(start)) => Some(start),
            _ => None,
        };
        assert_eq!(at("beginning"), Some(Start::Earliest));
        assert_eq!(at("end"), Some(Start::Latest));
        assert_eq!(at("17"), Some(Start::Offset(17)));
        assert_eq!(at("@1700000000000"), Some(Start::Timestamp(1_700_000_000_000)));
        assert_eq!(at("s@5"), Some(Start::Timestamp(5)));
        assert!(matches!(Offset::from_str("-5"), Ok(Offset::FromEnd(5))));
        for bad in ["", "middle", "@", "--1", "@-1", "9223372036854775808"] {
            assert!(Offset::from_str(bad).is_err(), "{bad:?}");
        }
    }
}
