//! The clock of the caller, in microseconds on a scale that it chooses, and that of the machine,
//! which has 32 bits: a device pays for each comparison of 64.

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

    /// Returns the instant `micros` microseconds after [`Instant::ZERO`].
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// Returns the instant `millis` milliseconds after [`Instant::ZERO`]; saturates.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self { micros: millis.saturating_mul(1000) }
    }

    /// Returns the microseconds since [`Instant::ZERO`].
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.micros
    }

    /// From here to `later`; zero when `later` is not later.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_micros(later.micros.saturating_sub(self.micros))
    }

    /// Returns the earlier of two optional deadlines, where `None` is "never".
    #[must_use]
    pub fn earliest(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whole milliseconds from here to `later`; 0 when it is not later.
    pub(crate) const fn millis_until(self, later: Self) -> u64 {
        thousandth(later.micros.saturating_sub(self.micros))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates: a clock that runs for 584,000 years is not a reason to panic.
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

/// In 64 bits, and in one place: on a Cortex-M the 128-bit division at every use costs three
/// kilobytes.
#[inline(never)]
fn micros(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000);
    seconds.saturating_add(u64::from(duration.subsec_micros()))
}

/// Ticks in a millisecond.
const PER_MILLI: u64 = 8;
/// Microseconds in a tick.
const PER_TICK: u64 = 125;
/// The scale is shifted when it has reached this: half of the range is left for deadlines.
const END: u64 = 1 << 30;
/// Where it continues then: times before that are kept while they matter.
const KEPT: u64 = END - (1 << 26);

/// A point in time as the machine keeps it: eighths of a millisecond on a scale that is shifted, in
/// half the bytes of an [`Instant`]. Every part shifts what it keeps (`age`). Never negative, but
/// signed: a Cortex-M4 has an instruction for saturating sums of signed numbers only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Tick(i32);

/// A time span in ticks, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(i32);

impl Tick {
    /// Before every other tick, or not at all.
    pub(crate) const ZERO: Self = Self(0);
    /// Later than every other tick: no deadline.
    pub(crate) const NEVER: Self = Self(i32::MAX);

    #[cfg(test)]
    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self((millis * PER_MILLI) as i32)
    }

    /// Shifts a kept point in time back with the scale. "Never" and "not" stay as they are.
    #[inline(never)]
    pub(crate) fn age(&mut self, by: Span) {
        if !matches!(*self, Self::ZERO | Self::NEVER) {
            self.0 = (self.0 - by.0).max(1);
        }
    }

    /// From here to `later`; zero when `later` is not later.
    pub(crate) fn until(self, later: Self) -> Span {
        Span((later.0 - self.0).max(0))
    }
}

impl Add<Span> for Tick {
    type Output = Self;

    /// Saturates at "never".
    fn add(self, by: Span) -> Self {
        Self(self.0.saturating_add(by.0))
    }
}

impl Sub<Span> for Tick {
    type Output = Self;

    /// Stops at [`Tick::ZERO`].
    fn sub(self, by: Span) -> Self {
        Self((self.0 - by.0).max(0))
    }
}

impl Span {
    pub(crate) const ZERO: Self = Self(0);
    /// The shortest span that a clock of ticks reliably distinguishes from zero.
    pub(crate) const LEAST: Self = Self(2);

    pub(crate) const fn from_millis(millis: u32) -> Self {
        Self::capped(millis as u64 * PER_MILLI)
    }

    const fn capped(ticks: u64) -> Self {
        Self(if ticks > i32::MAX as u64 { i32::MAX } else { ticks as i32 })
    }

    pub(crate) const fn from_secs(seconds: u32) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Rounds up. Spans longer than the range of the scale (34 hours) are unlimited.
    pub(crate) fn of(duration: Duration) -> Self {
        let seconds = u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        let rest = duration.subsec_micros().div_ceil(PER_TICK as u32);
        let ticks = Self::from_secs(seconds) + Self(rest as i32);
        Self(if ticks.0 < KEPT as i32 { ticks.0 } else { i32::MAX })
    }

    /// As Kafka's requests have it: whole milliseconds.
    pub(crate) const fn millis(self) -> i32 {
        self.0 / PER_MILLI as i32
    }

    /// The same as callers have it.
    #[cfg(any(feature = "std", feature = "ordered-growth"))]
    pub(crate) const fn duration(self) -> Duration {
        Duration::from_micros(self.0 as u64 * PER_TICK)
    }

    pub(crate) const fn times(self, factor: u32) -> Self {
        Self::capped(self.0 as u64 * factor as u64)
    }

    /// The same times a factor in 1024ths, 2048 at most.
    pub(crate) const fn scaled(self, factor: u32) -> Self {
        Self::capped((self.0 as u64 * factor as u64) >> 10)
    }

    /// Its `2^n`-th part.
    pub(crate) const fn shifted(self, n: u32) -> Self {
        Self(self.0 >> n)
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Where the scale of ticks begins on the caller's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Ticks that it was shifted by.
    shift: u64,
}

/// Ticks that the scale is ahead of the caller's clock: as if it had run for long, so that it is
/// shifted all the time: a test.
const AHEAD: u64 = if cfg!(kavka_rare) { KEPT } else { 0 };

impl Scale {
    pub(crate) const fn new() -> Self {
        Self { shift: 0 }
    }

    /// Reads the clock. With a span: all ticks that were kept before have to be shifted back by it.
    pub(crate) fn read(&mut self, now: Instant) -> (Tick, Option<Span>) {
        let micros = now.micros.min(u64::MAX / PER_MILLI);
        let ticks = thousandth(micros * PER_MILLI) + AHEAD;
        let ticks = ticks.saturating_sub(self.shift);
        let end = if cfg!(kavka_rare) { KEPT + 100 * PER_MILLI } else { END };
        if ticks < end {
            return (Tick(ticks as i32), None);
        }
        let by = ticks - KEPT;
        self.shift += by;
        (Tick(KEPT as i32), Some(Span::capped(by)))
    }

    /// Converts a tick to the caller's clock, [`Instant::ZERO`] for [`Tick::ZERO`].
    pub(crate) const fn instant(self, tick: Tick) -> Instant {
        if tick.0 == 0 {
            return Instant::ZERO;
        }
        let ticks = (self.shift + tick.0 as u64).saturating_sub(AHEAD);
        Instant { micros: ticks * PER_TICK }
    }
}

/// Divides by 1000 in digits of 16 bits: without an instruction for 64 bits the general division
/// costs half a kilobyte.
#[cfg_attr(not(feature = "std"), inline(never))]
const fn thousandth(n: u64) -> u64 {
    if cfg!(target_pointer_width = "64") {
        return n / 1000;
    }
    on_paper(n)
}

const fn on_paper(n: u64) -> u64 {
    let (mut quotient, mut rest, mut shift) = (0, 0, 64);
    while shift > 0 {
        shift -= 16;
        let digit = rest << 16 | (n >> shift) as u32 & 0xffff;
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
            assert_eq!(on_paper(micros), micros / 1000, "{micros}");
        }
    }

    #[test]
    fn a_span_that_is_too_long_for_the_scale_has_no_end() {
        let day = 24 * 3600;
        assert_eq!(Span::of(Duration::from_secs(day)), Span::from_secs(day as u32));
        for long in [Duration::from_secs(2 * day), Duration::MAX] {
            assert_eq!(Tick(1) + Span::of(long), Tick::NEVER, "{long:?}");
        }
        assert_eq!(Span::of(Duration::from_micros(1)), Span(1), "rounded up");
        assert_eq!(Span::of(Duration::from_millis(1500)).millis(), 1500);
    }

    #[test]
    fn what_is_kept_stays_where_it_was_on_the_callers_clock() {
        let mut scale = Scale::new();
        let (mut past, _) = scale.read(Instant::from_millis(1_000_000));
        let (mut never, mut not, mut moves) = (Tick::NEVER, Tick::ZERO, 0);
        let hour = 3_600_000;
        for n in 1..300 {
            let at = Instant::from_millis(1_000_000 + n * hour);
            let (now, by) = scale.read(at);
            let mut soon = now + Span::from_secs(3600);
            if let Some(by) = by {
                for kept in [&mut past, &mut never, &mut not] {
                    kept.age(by);
                }
                moves += 1;
            }
            assert_eq!(scale.instant(now), at);
            assert_eq!(scale.instant(soon), Instant::from_millis(at.as_micros() / 1000 + hour));
            if n < 30 {
                assert_eq!(scale.instant(past), Instant::from_millis(1_000_000), "hour {n}");
            }
            assert!(past > Tick::ZERO && past < now, "hour {n}: it was, and long ago");
            assert_eq!((never, not), (Tick::NEVER, Tick::ZERO));
            soon = soon + Span::of(Duration::MAX);
            assert_eq!(soon, Tick::NEVER);
        }
        assert!(moves > 1, "it lasts for more than one scale");
        let (now, by) = scale.read(Instant::from_micros(u64::MAX));
        assert!(by.is_some() && now < Tick::NEVER, "a clock that jumps");
        assert_eq!(scale.read(Instant::ZERO).0, Tick::ZERO, "or goes back");
    }
}
