//! Options of programs that break a real cluster for minutes.

use core::time::Duration;
use std::time::Instant;

use super::Version;

/// A cluster, for how long it is broken, and the load meanwhile.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Campaign {
    /// 4.4.0, 3.9.2, 3.2.3, 2.8.2 or 2.4.1, as far as it has what is tested.
    #[arg(long, default_value = "4.4.0")]
    pub version: Version,
    /// Brokers, 1 to 3.
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// Minutes during which faults occur.
    #[arg(long, default_value_t = 10.0)]
    pub minutes: f64,
    /// Records a second of each producer.
    #[arg(long, default_value_t = 300)]
    pub rate: u32,
    /// Seed of the faults and their times; random and printed by default.
    #[arg(long)]
    seed: Option<u64>,
}

impl Campaign {
    /// Returns the seed; a random one is drawn once and kept.
    pub fn seed(&mut self) -> u64 {
        *self.seed.get_or_insert_with(|| fastrand::u64(..))
    }

    /// Returns for how long faults occur.
    ///
    /// # Errors
    /// When the minutes are negative, or more than a [`Duration`] has.
    pub fn length(&self) -> Result<Duration, core::time::TryFromFloatSecsError> {
        Duration::try_from_secs_f64(self.minutes * 60.0)
    }

    /// Returns when faults end that begin now.
    ///
    /// # Errors
    /// As [`Campaign::length`].
    pub fn end(&self) -> Result<Instant, core::time::TryFromFloatSecsError> {
        Ok(Instant::now() + self.length()?)
    }
}
