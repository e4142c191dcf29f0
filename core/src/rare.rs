//! Rare branches on demand: in a build with `--cfg kavka_rare` a client often meets what others
//! meet once in years. Its seed selects which: the last byte has a bit for each kind. In all other
//! builds [`Rare`] has no size, and its functions return their input.

#[cfg(not(kavka_rare))]
use crate::config::Config;

#[cfg(kavka_rare)]
pub use on::*;

/// The rare conditions that a client meets often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rare {
    #[cfg(kavka_rare)]
    kinds: u8,
    #[cfg(kavka_rare)]
    dice: u64,
}

#[cfg(not(kavka_rare))]
impl Rare {
    pub(crate) const fn new(_seed: &[u8; 32]) -> Self {
        Self {}
    }

    pub(crate) const fn config<'d>(self, config: Config<'d>) -> Config<'d> {
        config
    }

    /// Returns the first sequence number of a producer that the broker does not know yet.
    pub(crate) const fn sequence(self, _epoch: i16) -> i32 {
        0
    }

    pub(crate) const fn correlation(self) -> i32 {
        0
    }

    /// Returns whether to pretend that no memory is free.
    pub(crate) const fn full(&mut self) -> bool {
        false
    }
}

#[cfg(kavka_rare)]
mod on {
    use super::Rare;
    use crate::config::Config;
    use crate::time::Duration;

    /// Sequence numbers begin at [`FIRST_SEQUENCE`].
    pub const SEQUENCES: u8 = 1;
    /// Correlation ids begin just below 2^31.
    pub const CORRELATIONS: u8 = 2;
    /// Batches of one or two records.
    pub const TINY_BATCHES: u8 = 4;
    /// Requests time out after a second.
    pub const EARLY_DEADLINES: u8 = 8;
    /// A pause of a millisecond before any retry, except of connections.
    pub const SHORT_PAUSES: u8 = 16;
    /// One request or batch in sixteen finds no memory.
    pub const FULL: u8 = 32;

    /// The first sequence number of epoch 0; it wraps soon. A higher epoch has to begin at 0, and
    /// so has a producer id that comes with one.
    pub const FIRST_SEQUENCE: i32 = i32::MAX - 2;

    impl Rare {
        pub(crate) const fn new(seed: &[u8; 32]) -> Self {
            let [.., a, b, kinds] = *seed;
            Self { kinds, dice: u16::from_be_bytes([a, b]) as u64 }
        }

        const fn has(self, kind: u8) -> bool {
            self.kinds & kind != 0
        }

        pub(crate) fn config(self, mut config: Config<'_>) -> Config<'_> {
            if self.has(TINY_BATCHES) {
                config.batch_bytes = 100;
            }
            if self.has(EARLY_DEADLINES) {
                config.request_timeout = config.request_timeout.min(Duration::from_secs(1));
            }
            if self.has(SHORT_PAUSES) {
                config.retry_backoff = Duration::from_millis(1);
                config.retry_backoff_max = Duration::from_millis(1);
            }
            config
        }

        pub(crate) const fn sequence(self, epoch: i16) -> i32 {
            if self.has(SEQUENCES) && epoch == 0 { FIRST_SEQUENCE } else { 0 }
        }

        pub(crate) const fn correlation(self) -> i32 {
            if self.has(CORRELATIONS) { i32::MAX - 9 } else { 0 }
        }

        pub(crate) const fn full(&mut self) -> bool {
            // Knuth's MMIX generator; its high bits are the good ones.
            self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.has(FULL) && self.dice >> 60 == 0
        }
    }
}
