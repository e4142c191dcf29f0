//! The wall clock, which devices may not have.

use super::Commands;
use crate::time::Instant;

impl Commands<'_> {
    /// Sets the time of day: timestamps of records that have none are counted from here. Without it
    /// they are -1, "no timestamp".
    pub fn set_wall_clock(&mut self, now: Instant, unix_ms: i64) {
        self.wall = Some((now, unix_ms));
    }

    pub(super) fn wall_ms(&self, now: Instant) -> Option<i64> {
        let (at, ms) = self.wall?;
        Some(ms.saturating_add_unsigned(at.millis_until(now)))
    }
}
