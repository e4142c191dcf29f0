//! Random numbers that are the same on every machine.

use core::time::Duration;

/// SplitMix64: small, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// Returns the next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `limit`; 0 for 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw().checked_rem(limit).unwrap_or(0)
    }

    /// Returns a number from `low` to `high`, both included.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Returns true in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Returns one element of `of`, which is not empty.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Returns a time between two, both included, in whole microseconds.
    pub fn time(&mut self, low: Duration, high: Duration) -> Duration {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.range(micros(low), micros(high)))
    }

    /// Returns a time between two numbers of milliseconds; small ones are as likely as large ones
    /// of the same order of magnitude.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        let (low, high) = (low.max(1), high.max(1));
        let spread = (high / low).max(1).ilog2();
        let base = low << self.below(u64::from(spread) + 1);
        Duration::from_millis(self.range(base, (base * 2).min(high).max(base)))
    }

    /// Returns another generator, independent of what is drawn from this one later.
    pub fn fork(&mut self) -> Self {
        Self(self.draw())
    }
}
