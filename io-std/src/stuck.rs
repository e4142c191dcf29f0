//! Assigned partitions that cannot be read for long, and why.

use std::collections::HashMap;
use std::time::Duration;

use kavka_core::{Instant, Obstacle, PartitionId};

use crate::driver::Driver;

/// A broker that does not respond may only be slow.
const SLOW: Duration = Duration::from_millis(2500);

/// Checks all partitions periodically.
#[derive(Default)]
pub(crate) struct Stuck {
    examine: Option<Instant>,
    /// Since when, and what the application knows.
    since: HashMap<PartitionId, (Instant, Option<Obstacle>)>,
}

impl Stuck {
    /// Returns the time of the next check.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.examine
    }

    /// Returns the partitions that could not be read for `timeout`, once for each reason.
    pub(crate) fn look(
        &mut self,
        driver: &Driver<'_>,
        now: Instant,
        timeout: Duration,
        assigned: impl ExactSizeIterator<Item = PartitionId>,
    ) -> Vec<(PartitionId, Obstacle)> {
        if self.examine.is_some_and(|at| at > now) {
            return Vec::new();
        }
        let pace = (timeout / 4).clamp(Duration::from_millis(100), Duration::from_secs(5));
        self.examine = (assigned.len() > 0).then(|| now + pace);
        let before = core::mem::take(&mut self.since);
        let mut news = Vec::new();
        for id in assigned {
            let Some(obstacle) = driver.obstacle_of(id) else { continue };
            let (since, mut known) = before.get(&id).copied().unwrap_or((now, None));
            let patience = match obstacle {
                Obstacle::NoResponse { .. } => timeout.max(SLOW),
                _ => timeout,
            };
            if since + patience <= now && known != Some(obstacle) {
                known = Some(obstacle);
                news.push((id, obstacle));
            }
            self.since.insert(id, (since, known));
        }
        news
    }
}
