//! Where a group is to continue, and in which partitions, as options say it.

use core::str::FromStr;

use clap::Args;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use kavka_std::Start;

use crate::text::{PARTITION, topic_name};

/// A topic, or some of its partitions: `T` or `T:P,P`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) topic: String,
    /// `None`: all.
    pub(super) partitions: Option<Vec<u32>>,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (topic, list) = match text.split_once(':') {
            Some((topic, list)) => (topic, Some(list)),
            None => (text, None),
        };
        let index = |text: &str| {
            let index = text.parse::<u32>().ok().filter(|index| i64::from(*index) <= PARTITION);
            index.ok_or_else(|| format!("{text}: a partition is a number from 0 on, as in T:0,3"))
        };
        let mut partitions: Option<Vec<u32>> =
            list.map(|list| list.split(',').map(index).collect()).transpose()?;
        if let Some(list) = &mut partitions {
            list.sort_unstable();
            list.dedup();
        }
        Ok(Self { topic: topic_name(topic)?, partitions })
    }
}

/// Where to continue: one of these.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// At the first record
    #[arg(long)]
    to_earliest: bool,
    /// At the end
    #[arg(long)]
    to_latest: bool,
    /// At this offset
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// So many records later than now, or earlier if negative
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// At the first record of this time or later, such as 2026-01-31T09:30:00 (UTC), with +02:00
    /// behind it for another zone, or @MS for milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time)]
    to_datetime: Option<i64>,
    /// At the first record that is not older than this, such as PT1H30M or 90m
    #[arg(long, value_name = "DURATION", value_parser = age)]
    by_duration: Option<i64>,
}

/// How a new offset is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// It is where reading would begin.
    At(Start),
    /// It is this one.
    Offset(i64),
    /// It is so much more than the one before.
    Shift(i64),
}

impl Target {
    pub(super) fn rule(&self) -> Rule {
        match self {
            Self { to_offset: Some(offset), .. } => Rule::Offset(*offset),
            Self { shift_by: Some(by), .. } => Rule::Shift(*by),
            Self { to_datetime: Some(ms), .. } => Rule::At(Start::Timestamp(*ms)),
            Self { by_duration: Some(ms), .. } => {
                let now = Timestamp::now().as_millisecond();
                Rule::At(Start::Timestamp(now.saturating_sub(*ms).max(0)))
            }
            Self { to_latest: true, .. } => Rule::At(Start::Latest),
            _ => Rule::At(Start::Earliest),
        }
    }
}

/// Reads a time as milliseconds since 1970; without a zone it is UTC, as for Kafka's tool.
fn time(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text}: a time is 2026-01-31T09:30:00, or @MS");
    let ms = if let Some(digits) = text.strip_prefix('@') {
        digits.parse().map_err(|_| wrong())?
    } else if let Ok(at) = text.parse::<Timestamp>() {
        at.as_millisecond()
    } else {
        let at: DateTime = text.parse().map_err(|_| wrong())?;
        at.to_zoned(TimeZone::UTC).map_err(|_| wrong())?.timestamp().as_millisecond()
    };
    if ms < 0 { Err(format!("{text}: brokers know no times before 1970")) } else { Ok(ms) }
}

/// Reads a duration as milliseconds; a day has 24 hours.
fn age(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text}: a duration is PT1H30M, P2D or 90m");
    let span: Span = text.parse().map_err(|_| wrong())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    i64::try_from(duration.as_millis()).ok().filter(|ms| *ms >= 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_topics_or_partitions_of_one() {
        let place = |topic: &str, partitions: Option<&[u32]>| Place {
            topic: topic.to_owned(),
            partitions: partitions.map(<[u32]>::to_vec),
        };
        assert_eq!("t".parse(), Ok(place("t", None)));
        assert_eq!("t:3,0,3".parse(), Ok(place("t", Some(&[0, 3]))));
        for bad in ["", ":0", "t:", "t:-1", "t:0,", "t:a", "a b", "t:2147483647"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_have_utc_or_their_own_zone() {
        for (text, ms) in [
            ("1970-01-02T00:00:00", 86_400_000),
            ("1970-01-02T00:00:00.125", 86_400_125),
            ("1970-01-02T02:00:00+02:00", 86_400_000),
            ("1970-01-02T00:00:00Z", 86_400_000),
            ("1970-01-02", 86_400_000),
            ("@1234", 1234),
        ] {
            assert_eq!(time(text), Ok(ms), "{text}");
        }
        for bad in ["", "yesterday", "@", "@-1", "1969-12-31T23:59:59", "2026-13-01T00:00:00"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_kafkas_or_friendlier() {
        for (text, ms) in [
            ("PT1H30M", 5_400_000),
            ("P1DT1S", 86_401_000),
            ("90m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("PT0S", 0),
        ] {
            assert_eq!(age(text), Ok(ms), "{text}");
        }
        for bad in ["", "90", "-PT1H", "P1Y", "soon"] {
            assert!(age(bad).is_err(), "{bad}");
        }
    }
}
