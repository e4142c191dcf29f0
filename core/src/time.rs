//! The machine's own clock reading: microseconds on a scale that the caller chooses.

use core::ops::{Add, Sub};
pub use core::time::Duration;

/// A point on the caller's monotonic clock, in microseconds.
///
/// Zero is wherever the caller's clock starts (boot, process start). The machine only compares
/// and subtracts; it never reads a clock itself. Wall-clock time is a second clock: it appears
/// only in record timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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

    /// Later than all that will be: no deadline.
    pub(crate) const NEVER: Self = Self { micros: u64::MAX };

    /// So many microseconds later; saturates.
    #[inline(never)]
    pub(crate) const fn plus(self, micros: u64) -> Self {
        Self { micros: self.micros.saturating_add(micros) }
    }

    /// Whole milliseconds from here to `later`; 0 when it is not later.
    pub(crate) const fn millis_until(self, later: Self) -> u64 {
        thousandth(later.micros.saturating_sub(self.micros))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates: a clock that runs for 584,000 years is not a reason to panic.
    #[inline(never)]
    fn add(self, by: Duration) -> Self {
        self.plus(micros(by))
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
    i32::try_from(thousandth(micros(duration))).unwrap_or(i32::MAX)
}

/// In 64 bits, and not at every use anew: on a Cortex-M the 128-bit way costs three kilobytes.
#[inline(never)]
pub(crate) fn micros(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000);
    seconds.saturating_add(u64::from(duration.subsec_micros()))
}

/// A division by 1000 as on paper, in digits of 16 bits: where there is no instruction for 64 bits
/// the general way costs half a kilobyte.
#[cfg_attr(feature = "std", inline)]
#[cfg_attr(not(feature = "std"), inline(never))]
const fn thousandth(micros: u64) -> u64 {
    if cfg!(feature = "std") && !cfg!(test) {
        return micros / 1000;
    }
    let (mut quotient, mut rest, mut shift) = (0, 0, 64);
    while shift > 0 {
        shift -= 16;
        let digit = rest << 16 | (micros >> shift) as u32 & 0xffff;
        quotient = quotient << 16 | (digit / 1000) as u64;
        rest = digit % 1000;
    }
    quotient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_a_thousandth() {
        for micros in [0, 1, 999, 1000, 65_535_999, u64::from(u32::MAX) + 1, 1 << 47, u64::MAX] {
            assert_eq!(thousandth(micros), micros / 1000, "{micros}");
        }
        assert_eq!(millis(Duration::MAX), i32::MAX);
    }
}
