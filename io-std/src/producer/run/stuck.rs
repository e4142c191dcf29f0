//! Partitions whose records cannot be written for a while, and why.

use std::collections::HashMap;
use std::time::Duration;

use kavka_core::{Error as Core, Instant, Obstacle, TopicPartition};

use crate::driver::Driver;
use crate::event::{Event, Hub, located};

/// Records that wait for longer are checked, at this pace: together less than a second.
const LATE: Duration = Duration::from_millis(600);
const PACE: Duration = Duration::from_millis(250);

#[derive(Default)]
pub(super) struct Stuck {
    examine: Option<Instant>,
    /// What the application knows already.
    known: HashMap<(kavka_core::TopicId, u32), Vec<Obstacle>>,
}

impl Stuck {
    /// Returns the time of the next check; none while no record waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.examine
    }

    /// Reports each obstacle of a partition once until its records are written. That a leader is
    /// slow is none: its silence is an event of its own.
    pub(super) fn look(&mut self, driver: &Driver<'_>, now: Instant, waits: bool, hub: &Hub) {
        match self.examine {
            _ if !waits => {
                (self.examine, self.known) = (None, HashMap::new());
                return;
            }
            Some(at) if at > now => return,
            _ => self.examine = Some(now + PACE),
        }
        let mut before = core::mem::take(&mut self.known);
        let mut news: Vec<(TopicPartition, Obstacle)> = Vec::new();
        driver.late_batches(LATE, |at, obstacle| {
            let key = (at.topic, at.partition);
            let known =
                self.known.entry(key).or_insert_with(|| before.remove(&key).unwrap_or_default());
            if !matches!(obstacle, Obstacle::NoResponse { .. }) && !known.contains(&obstacle) {
                known.push(obstacle);
                news.push((at, obstacle));
            }
        });
        for (at, obstacle) in news {
            let Some(topic) = driver.topic_name(at.topic) else { continue };
            let partition = at.partition;
            let error = located(Core::Blocked(obstacle), driver, driver.last_failure());
            let error = error.doing(format!("produce to {topic}, partition {partition}"));
            let topic = topic.into();
            hub.report(|| Some(Event::PartitionFailed { topic, partition, error }));
        }
    }
}
