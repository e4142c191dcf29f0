//! Where reading would start in partitions of a topic: found out by assigning them for a moment,
//! a few at a time.

use std::collections::VecDeque;

use kavka_core::{
    Commands, Error as Core, Instant, LimitKind, Obstacle, PartitionId, Start, TopicId,
};

use crate::driver::Driver;
use crate::error::{Error, is_permanent};
use crate::event::located;

/// Partitions that are assigned at a time.
const AT_A_TIME: usize = 64;

/// The search for the offsets of one topic.
pub(super) struct Offsets {
    topic: TopicId,
    at: Start,
    /// The partitions; `None` for all.
    list: Option<Vec<u32>>,
    /// Next place in the list.
    next: usize,
    open: VecDeque<(usize, PartitionId)>,
    found: Vec<Found>,
}

/// What is known of a partition: its offset, or the obstacle last.
#[derive(Clone)]
enum Found {
    At(i64),
    Not(Option<Error>),
}

impl Offsets {
    pub(super) fn new(topic: TopicId, at: Start, list: Option<Vec<u32>>) -> Self {
        Self { topic, at, list, next: 0, open: VecDeque::new(), found: Vec::new() }
    }

    pub(super) fn topic(&self) -> TopicId {
        self.topic
    }

    /// All offsets, when the last one is found.
    pub(super) fn advance(
        &mut self,
        driver: &mut Driver<'_>,
        now: Instant,
    ) -> Result<Option<Vec<Result<i64, Error>>>, Core> {
        let known = driver.freshness(self.topic).map_or(0, |known| known.partitions);
        if known == 0 {
            return Ok(None);
        }
        let found = &mut self.found;
        self.open.retain(|&(place, id)| {
            let Some(position) = driver.position(id) else { return true };
            if let Some(slot) = found.get_mut(place) {
                *slot = Found::At(position);
            }
            driver.unassign(now, id);
            false
        });
        let count = self.list.as_ref().map_or(known as usize, Vec::len);
        self.found.resize(count, Found::Not(None));
        while self.open.len() < AT_A_TIME && self.next < count {
            let place = self.next;
            let index = match &self.list {
                Some(list) => list.get(place).copied().unwrap_or(u32::MAX),
                None => u32::try_from(place).unwrap_or(u32::MAX),
            };
            if index >= known {
                let missing = Core::Blocked(Obstacle::NoPartition);
                self.note(place, missing.into());
                self.next += 1;
                continue;
            }
            match driver.assign(now, self.topic, index, self.at) {
                Ok(id) => {
                    // Its records are not wanted, and a Fetch that waits for some would hold up
                    // the next request.
                    driver.pause(id);
                    self.open.push_back((place, id));
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
        let done = self.open.is_empty() && self.next >= count;
        if done {
            self.stop(driver, now);
        }
        Ok(done.then(|| self.results(&Core::TimedOut.into())))
    }

    /// A partition cannot be read for now, or, if trying again does not mend that, has its result.
    pub(super) fn failed(
        &mut self,
        commands: &mut Commands<'_>,
        now: Instant,
        at: PartitionId,
        error: Error,
    ) {
        let Some(place) = self.open.iter().position(|(_, id)| *id == at) else { return };
        let Some(&(found, _)) = self.open.get(place) else { return };
        if is_permanent(&error) {
            self.open.remove(place);
            commands.unassign(now, at);
        }
        self.note(found, error);
    }

    fn note(&mut self, place: usize, error: Error) {
        if let Some(slot) = self.found.get_mut(place) {
            *slot = Found::Not(Some(error));
        }
    }

    /// Returns what was found so far; `None` when not even the partitions are known. Those without
    /// a result get the obstacle of each, at its address, and `late` where that is not
    /// known.
    pub(super) fn partial(
        &mut self,
        driver: &Driver<'_>,
        late: &Error,
    ) -> Option<Vec<Result<i64, Error>>> {
        if self.found.is_empty() {
            return None;
        }
        for at in 0..self.open.len() {
            let Some(&(place, id)) = self.open.get(at) else { break };
            if let Some(obstacle) = driver.obstacle_of(id) {
                let error = Core::Blocked(obstacle);
                self.note(place, located(error, driver, driver.last_failure()));
            }
        }
        // A partition whose broker has not responded yet must not get the reason of another one.
        let apart = self.found.iter().any(|found| !matches!(found, Found::Not(None)));
        let late = if apart { &Core::TimedOut.into() } else { late };
        Some(self.results(late))
    }

    fn results(&mut self, late: &Error) -> Vec<Result<i64, Error>> {
        let result = |found: Found| match found {
            Found::At(offset) => Ok(offset),
            Found::Not(Some(error)) => Err(error),
            Found::Not(None) => Err(late.clone()),
        };
        core::mem::take(&mut self.found).into_iter().map(result).collect()
    }

    /// Releases everything, the topic's slot included.
    pub(super) fn stop(&mut self, driver: &mut Driver<'_>, now: Instant) {
        for (_, id) in self.open.drain(..) {
            driver.unassign(now, id);
        }
        driver.unwatch(self.topic);
    }
}
