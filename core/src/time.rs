//! The machine's own clock reading: microseconds on a scale that the caller chooses.

use core::ops::{Add, Sub};
pub use core::time::Duration;

/// A point on the caller's monotonic clock, in microseconds.
///
/// Zero is wherever the caller's clock starts (boot, process start). The machine only compares
/// and subtracts; it never reads a clock itself. Wall-clock time is a second clock: it appears
/// only in record timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    micros: u64,
}

impl Instant {
    /// The start of the clock; earlier than (or equal to) every other instant.
    pub const ZERO: Self = Self { micros: 0 };

    /// `micros` microseconds after [`Instant::ZERO`].
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// `millis` milliseconds after [`Instant::ZERO`]; saturates.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self { micros: millis.saturating_mul(1000) }
    }

    /// Microseconds since [`Instant::ZERO`].
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.micros
    }

    /// From here to `later`; zero when `later` is not later.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_micros(later.micros.saturating_sub(self.micros))
    }

    /// The earlier of two optional deadlines, where `None` is "never".
    #[must_use]
    pub fn earliest(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates: a clock that runs for 584,000 years is not a reason to panic.
    #[inline(never)]
    fn add(self, by: Duration) -> Self {
        Self { micros: self.micros.saturating_add(micros(by)) }
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    /// Stops at [`Instant::ZERO`].
    fn sub(self, by: Duration) -> Self {
        Self { micros: self.micros.saturating_sub(micros(by)) }
    }
}

/// As Kafka's requests have it: whole milliseconds in an int32, the largest one for more.
pub(crate) fn millis(duration: Duration) -> i32 {
    i32::try_from(micros(duration) / 1000).unwrap_or(i32::MAX)
}

/// In 64 bits, and not at every use anew: on a Cortex-M the 128-bit way costs three kilobytes.
#[inline(never)]
fn micros(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000);
    seconds.saturating_add(u64::from(duration.subsec_micros()))
}
