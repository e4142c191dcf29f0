//! Where reading would start in partitions of a topic: found out by assigning them for a moment,
//! some at a time.

use std::collections::VecDeque;
use std::time::Duration;

use kavka_core::{
    Commands, Error as Core, Instant, LimitKind, Obstacle, PartitionId, Start, TopicId,
};

use crate::driver::Driver;
use crate::error::{Error, is_foreign, is_permanent};
use crate::event::located;
use crate::stuck::Stuck;

/// Partitions that are assigned at a time.
const AT_A_TIME: usize = 256;
/// What keeps a partition from being read for this long is reported.
const STUCK: Duration = Duration::from_millis(500);

/// Offsets of a partition, one for each start.
pub(super) type Result<T = Vec<i64>> = core::result::Result<T, Error>;

/// The search for the offsets of one topic.
pub(super) struct Offsets {
    topic: TopicId,
    starts: Vec<Start>,
    /// The partitions; `None` for all.
    list: Option<Vec<u32>>,
    /// Places in the list that wait for their turn; those with an obstacle are behind the others.
    waiting: VecDeque<usize>,
    open: Vec<(usize, PartitionId)>,
    found: Vec<Found>,
    stuck: Stuck,
}

/// What is known of a partition.
#[derive(Clone, Default)]
struct Found {
    /// For the first starts.
    offsets: Vec<i64>,
    /// The obstacle last.
    error: Option<Error>,
}

impl Offsets {
    pub(super) fn new(topic: TopicId, starts: Vec<Start>, list: Option<Vec<u32>>) -> Self {
        let (waiting, open, found) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { topic, starts, list, waiting, open, found, stuck: Stuck::default() }
    }

    pub(super) fn topic(&self) -> TopicId {
        self.topic
    }

    /// Returns the time of the next check.
    pub(super) fn due(&self) -> Option<Instant> {
        self.stuck.due()
    }

    fn index(&self, place: usize) -> u32 {
        match &self.list {
            Some(list) => list.get(place).copied().unwrap_or(u32::MAX),
            None => u32::try_from(place).unwrap_or(u32::MAX),
        }
    }

    /// All offsets, when the last one is found.
    pub(super) fn advance(
        &mut self,
        driver: &mut Driver<'_>,
        now: Instant,
    ) -> core::result::Result<Option<Vec<Result>>, Core> {
        let known = driver.freshness(self.topic).map_or(0, |known| known.partitions);
        if known == 0 {
            return Ok(None);
        }
        let count = self.list.as_ref().map_or(known as usize, Vec::len);
        let before = self.found.len();
        self.found.resize_with(count, Found::default);
        self.waiting.extend(before..count);
        self.collect(driver, now);
        while self.open.len() < AT_A_TIME
            && let Some(&place) = self.waiting.front()
        {
            let index = self.index(place);
            let resolved = self.found.get(place).map_or(0, |found| found.offsets.len());
            let start = self.starts.get(resolved).copied();
            let Some(start) = start.filter(|_| index < known) else {
                self.note(place, Core::Blocked(Obstacle::NoPartition).into());
                self.waiting.pop_front();
                continue;
            };
            match driver.assign(now, self.topic, index, start) {
                Ok(id) => {
                    // Its records are not wanted, and a Fetch that waits for some would hold up
                    // the next request.
                    driver.pause(id);
                    self.open.push((place, id));
                }
                Err(Core::Limit { what: LimitKind::Partitions, .. }) if !self.open.is_empty() => {
                    break;
                }
                Err(error) => {
                    self.stop(driver, now);
                    return Err(error);
                }
            }
            self.waiting.pop_front();
        }
        let done = self.open.is_empty() && self.waiting.is_empty();
        if done {
            self.stop(driver, now);
        }
        Ok(done.then(|| self.results(&Core::TimedOut.into())))
    }

    /// Takes the offsets that were found.
    fn collect(&mut self, driver: &mut Driver<'_>, now: Instant) {
        let Self { open, found, starts, waiting, .. } = self;
        open.retain(|&(place, id)| {
            let Some(position) = driver.position(id) else { return true };
            if let Some(found) = found.get_mut(place) {
                found.offsets.push(position);
                if found.offsets.len() < starts.len() {
                    waiting.push_front(place);
                }
            }
            driver.unassign(now, id);
            false
        });
    }

    /// Returns the partitions that cannot be read for now, with the reason, once for each. They
    /// make way for others that were not tried. One that is led in another cluster has its result.
    pub(super) fn stuck(&mut self, driver: &mut Driver<'_>, now: Instant) -> Vec<(u32, Error)> {
        let ids: Vec<_> = self.open.iter().map(|(_, id)| *id).collect();
        let mut news = Vec::new();
        for (id, obstacle) in self.stuck.look(driver, now, STUCK, ids.into_iter()) {
            let Some(at) = self.open.iter().position(|(_, open)| *open == id) else { continue };
            let Some(&(place, _)) = self.open.get(at) else { continue };
            let error = located(Core::Blocked(obstacle), driver, driver.last_failure());
            self.note(place, error.clone());
            let over = is_foreign(error.kind());
            if over || !self.waiting.is_empty() {
                self.open.remove(at);
                driver.unassign(now, id);
            }
            if !over && !self.waiting.is_empty() {
                self.waiting.push_back(place);
            }
            news.push((self.index(place), error));
        }
        news
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
        if let Some(found) = self.found.get_mut(place) {
            found.error = Some(error);
        }
    }

    /// Returns what was found so far; `None` when not even the partitions are known. Those without
    /// a result get the obstacle of each, at its address, and `late` where that is not
    /// known.
    pub(super) fn partial(&mut self, driver: &Driver<'_>, late: &Error) -> Option<Vec<Result>> {
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
        let known = |found: &Found| found.error.is_some() || !found.offsets.is_empty();
        let apart = self.found.iter().any(known);
        let late = if apart { &Core::TimedOut.into() } else { late };
        Some(self.results(late))
    }

    fn results(&mut self, late: &Error) -> Vec<Result> {
        let wanted = self.starts.len();
        let result = |found: Found| match found.error {
            _ if found.offsets.len() >= wanted => Ok(found.offsets),
            Some(error) => Err(error),
            None => Err(late.clone()),
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
