//! Where reading would start in every partition of a topic: found out by taking them up for a
//! moment, a few at a time.

use std::collections::VecDeque;

use kavka_core::{Error as Core, Instant, LimitKind, PartitionId, Start, TopicId};

use crate::driver::Driver;

/// Partitions that are taken up at a time.
const AT_A_TIME: usize = 64;

/// The search for the offsets of one topic.
pub(super) struct Offsets {
    topic: TopicId,
    at: Start,
    next: u32,
    open: VecDeque<(u32, PartitionId)>,
    found: Vec<i64>,
}

impl Offsets {
    pub(super) fn new(topic: TopicId, at: Start) -> Self {
        Self { topic, at, next: 0, open: VecDeque::new(), found: Vec::new() }
    }

    pub(super) fn topic(&self) -> TopicId {
        self.topic
    }

    /// All offsets, when the last one is found.
    pub(super) fn advance(
        &mut self,
        driver: &mut Driver<'_>,
        now: Instant,
    ) -> Result<Option<Vec<i64>>, Core> {
        let known = driver.freshness(self.topic).map_or(0, |known| known.partitions);
        if known == 0 {
            return Ok(None);
        }
        let found = &mut self.found;
        self.open.retain(|&(index, id)| {
            let Some(position) = driver.position(id) else { return true };
            if let Some(slot) = found.get_mut(index as usize) {
                *slot = position;
            }
            driver.unassign(now, id);
            false
        });
        self.found.resize(known as usize, -1);
        while self.open.len() < AT_A_TIME && self.next < known {
            match driver.assign(now, self.topic, self.next, self.at) {
                Ok(id) => {
                    // Its records are not wanted, and a Fetch that waits for some would hold up
                    // the next question.
                    driver.pause(id);
                    self.open.push_back((self.next, id));
                }
                Err(Core::Limit { what: LimitKind::Partitions, .. }) if !self.open.is_empty() => {
                    break;
                }
                Err(error) => {
                    self.stop(driver, now);
                    return Err(error);
                }
            }
            self.next += 1;
        }
        let done = self.open.is_empty() && self.next >= known;
        if done {
            self.stop(driver, now);
        }
        Ok(done.then(|| core::mem::take(&mut self.found)))
    }

    /// Gives everything back, the topic's place with it.
    pub(super) fn stop(&mut self, driver: &mut Driver<'_>, now: Instant) {
        for (_, id) in self.open.drain(..) {
            driver.unassign(now, id);
        }
        driver.unwatch(self.topic);
    }
}
