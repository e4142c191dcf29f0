//! Records and requests that wait for their topic, and how they end when their time is over.

use std::time::Duration;

use kavka_core::wire::ErrorCode;
use kavka_core::{Error as Core, Instant, Obstacle, TopicId};

use super::super::chunk::{self, Expired, Failure, Outcome, Packed};
use super::super::inbox::Item;
use super::super::parked::Place;
use super::{Current, Run, Step};
use crate::driver::Driver;
use crate::error::Error;
use crate::event::{Freshness, explained, why_not};

/// Records' own deadlines are checked no more often than this, in microseconds.
const PACE: u64 = 5000;
/// The count of partitions that a broker confirms so long after a record came is that record's.
const SETTLED: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// Reports records whose own deadline passed before the machine took them, wherever they wait.
    /// Their bytes stay until their turn.
    pub(super) fn expire(&mut self, driver: &Driver<'_>) {
        let now = self.inbox.micros();
        if self.until.is_none_or(|until| until > now) {
            return;
        }
        self.inbox.take(&mut self.work);
        let mut next = Vec::new();
        let mut over = Vec::new();
        for topic in &self.waiting {
            let Some(entry) = self.topics.get_mut(*topic as usize) else { continue };
            let (from, until) = entry.parked.expire(now);
            over.extend(from.into_iter().map(|from| (from, *topic)));
            next.extend(until);
        }
        if let Some(Current { bytes, at, from }) = &mut self.current {
            let bytes = bytes.get_mut(*at..).unwrap_or_default();
            let expired = chunk::expire(bytes, from.place, now);
            let at = |(place, topic)| (Place { place, ..*from }, topic);
            over.extend(expired.over.into_iter().map(at));
            next.extend(expired.next);
        }
        let why = self.reasons.timed_out(driver, driver.last_failure());
        for (from, topic) in over {
            self.refuse(&from, topic, why.clone());
        }
        for item in &mut self.work {
            let Item::Chunk(chunk) = item else { continue };
            let Expired { over, next: until } = chunk::expire(&mut chunk.bytes, 0, now);
            next.extend(until);
            chunk.over += over.len() as u32;
            chunk.outcomes.prepare(chunk.count);
            for (place, topic) in over {
                let name = self.inbox.name(topic).unwrap_or_default();
                self.counts.refused(&name);
                let failure = Failure::new(why.clone().doing(format!("produce to {name}")), 1);
                self.failures.add(failure.clone());
                chunk.outcomes.set(place, 1, |_| Outcome::Failed(failure.clone()));
            }
        }
        // Not for each of many records that end one after the other.
        self.until = next.into_iter().min().map(|until| until.max(now + PACE));
    }

    /// Parked records: in the order of their topic, as far as they can leave now.
    pub(super) fn retry_parked(&mut self, driver: &mut Driver<'_>, now: Instant) {
        for topic in core::mem::take(&mut self.waiting) {
            let Some(entry) = self.topics.get_mut(topic as usize) else { continue };
            // Taken out, since it is borrowed from while it is at work.
            let mut parked = core::mem::take(&mut entry.parked);
            let before = parked.len();
            while !self.full
                && let Some((bytes, waiting)) = parked.first()
            {
                let (from, since) = (waiting.from, waiting.since);
                let packed = Packed::read(bytes);
                let missing = packed.as_ref().and_then(|packed| self.lacks(driver, packed, since));
                let late = self.give_up(driver, topic as usize, since, now);
                let step = match (missing, late, packed) {
                    (.., Some(packed)) if packed.is_over => Step::Done,
                    (Some(error), ..) => {
                        let name = self.inbox.name(topic).unwrap_or_default();
                        self.fail(&from, &name, error);
                        Step::Done
                    }
                    (None, Some(why), packed) => {
                        let partition = packed.and_then(|packed| packed.partition);
                        self.refuse_at(&from, topic, partition, why);
                        Step::Done
                    }
                    (None, None, Some(packed)) => self.produce(driver, now, &packed, &from),
                    (None, None, None) => Step::Done,
                };
                if !matches!(step, Step::Done) {
                    self.full = matches!(step, Step::Full);
                    break;
                }
                let cost = parked.pop();
                self.parked = self.parked.saturating_sub(cost);
                self.left(topic, cost);
            }
            if !parked.is_empty() {
                self.waiting.push(topic);
            }
            let moved = parked.len() < before;
            if let Some(entry) = self.topics.get_mut(topic as usize) {
                entry.parked = parked;
            }
            if moved {
                self.report_inbox(0);
            }
        }
    }

    /// The error of a record whose partition does not exist by what a broker said long enough
    /// after it came that one created just before it is known.
    fn lacks(&self, driver: &Driver<'_>, packed: &Packed<'_>, since: Instant) -> Option<Error> {
        let partition = packed.partition?;
        let known = driver.freshness(self.id_of(packed.topic)?)?;
        let settled = known.confirmed >= since + SETTLED;
        if !settled || known.partitions == 0 || partition < known.partitions {
            return None;
        }
        let name = self.inbox.name(packed.topic)?;
        let error = Error::from(Core::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        let count = known.partitions;
        Some(error.doing(format!("produce to {name}, partition {partition} (it has {count})")))
    }

    /// Why a record should wait no longer for its topic.
    fn give_up(
        &self,
        driver: &Driver<'_>,
        topic: usize,
        since: Instant,
        now: Instant,
    ) -> Option<Error> {
        let topic = self.topics.get(topic)?;
        let obstacle = topic.id.and_then(|id| driver.obstacle_of_topic(id));
        let explain = |error| explained(error, obstacle, driver, driver.last_failure());
        if let Some(Core::Broker(code)) = topic.failed
            && is_final(code)
        {
            return Some(explain(Core::Broker(code)));
        }
        // How long keys wait for what was produced before is up to the machine.
        if topic.id.is_some_and(|id| driver.drains(id)) {
            return None;
        }
        let since = since.max(topic.drained);
        if since + self.config.topic_timeout > now && !driver.is_hopeless() {
            return None;
        }
        let known = topic.id.and_then(|id| driver.freshness(id));
        Some(match topic.failed {
            Some(error) => explain(error),
            None if known.is_some_and(|known| known.partitions > 0) => {
                Core::Blocked(Obstacle::NoPartition).into()
            }
            None => self.why_not(driver, topic.id),
        })
    }

    /// Why nothing is known of a topic.
    fn why_not(&self, driver: &Driver<'_>, topic: Option<TopicId>) -> Error {
        let failure = driver.last_failure();
        let late = || self.reasons.timed_out(driver, failure);
        match topic {
            Some(topic) => why_not(driver.obstacle_of_topic(topic), driver, failure, late),
            None => late(),
        }
    }

    /// Completes requests about topics.
    pub(super) fn respond(&mut self, driver: &Driver<'_>, now: Instant) {
        let mut rest = Vec::new();
        for expected in core::mem::take(&mut self.questions) {
            if !expected.report.is_awaited() {
                continue;
            }
            let topic = self.topics.get(expected.topic as usize);
            let known = topic.and_then(|topic| driver.freshness(topic.id?));
            let failed = topic.and_then(|topic| topic.failed);
            let lost = failed.is_some_and(|e| match e {
                Core::Broker(code) => is_final(code),
                _ => topic.is_some_and(|topic| topic.id.is_none()),
            });
            match known {
                Some(known) if known.partitions > 0 => {
                    expected.report.set(Ok(Freshness::new(&known, now)));
                }
                _ if lost || expected.until <= now || driver.is_hopeless() => {
                    let name = self.inbox.name(expected.topic).unwrap_or_default();
                    let id = topic.and_then(|topic| topic.id);
                    let obstacle = id.and_then(|id| driver.obstacle_of_topic(id));
                    let failure = driver.last_failure();
                    let error = match failed {
                        Some(error) => explained(error, obstacle, driver, failure),
                        None => self.why_not(driver, id),
                    };
                    expected.report.set(Err(error.doing(format!("topic {name}"))));
                }
                _ => rest.push(expected),
            }
        }
        self.questions = rest;
    }
}

/// Refusals that trying again does not mend: INVALID_TOPIC_EXCEPTION and authorization.
fn is_final(code: ErrorCode) -> bool {
    matches!(code.0, 17 | 29 | 30 | 31)
}
