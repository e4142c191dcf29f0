//! Where partitions begin and end, as far as brokers have responded: those of one that does not
//! must not hold up the others.

use core::mem;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kavka_std::{Start, TopicDescription};

use super::Failure;
use crate::interrupt;
use crate::places::{Found, Places, Query};

/// How long all are waited for, once one is known.
const TOGETHER: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(20);

pub(super) struct Search {
    pub(super) places: Places,
    open: Vec<(TopicDescription, Query)>,
    begun: Instant,
}

/// A topic, and what is known of some partitions of it.
pub(super) type Part = (TopicDescription, Found);

impl Search {
    pub(super) fn new(places: Places) -> Self {
        Self { places, open: Vec::new(), begun: Instant::now() }
    }

    /// Begins to look for offsets: with a request for each leader.
    pub(super) fn add(&mut self, topic: &TopicDescription, partitions: &[u32], starts: &[Start]) {
        let leader = |index: u32| {
            let at = topic.partitions.iter().find(|at| at.index == index);
            at.and_then(|at| at.leader)
        };
        let mut by_leader: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for &partition in partitions {
            by_leader.entry(leader(partition)).or_default().push(partition);
        }
        for partitions in by_leader.into_values() {
            let query = self.places.query(&topic.name, partitions, starts);
            self.open.push((topic.clone(), query));
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether it is better to wait than to begin with what is known.
    pub(super) fn is_early(&self, known: bool) -> bool {
        !self.is_over() && (!known || self.begun.elapsed() < TOGETHER)
    }

    /// What became known. Waits for a moment.
    pub(super) fn wait(&mut self) -> Result<Vec<Part>, Failure> {
        let found = self.poll(TICK)?;
        match interrupt::came() && found.is_empty() {
            true => {
                Err(Failure::Interrupted("interrupted before a broker had responded".to_owned()))
            }
            false => Ok(found),
        }
    }

    /// What became known. `within`: how long something is waited for.
    pub(super) fn poll(&mut self, mut within: Duration) -> Result<Vec<Part>, Failure> {
        let mut found = Vec::new();
        for (topic, query) in mem::take(&mut self.open) {
            match self.places.poll(&topic.name, query, mem::take(&mut within)) {
                Ok(known) => found.push((topic, known?)),
                Err(query) => self.open.push((topic, query)),
            }
        }
        Ok(found)
    }
}
