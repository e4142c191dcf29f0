//! Which partitions a topic has, and where their logs begin and end.

use core::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use kavka_std::{Admin, Error, Events, PartitionDescription, Pending, Start, TopicDescription};

use super::common::Settings;
use super::notices::{Notices, PATIENCE};
use super::text::{address, join, ranges};
use super::{Failure, failure, lines};

/// What is left of the time for a topic at least: its offsets may be known at once.
const LEAST: Duration = Duration::from_millis(200);

pub(super) struct Places {
    admin: Admin,
    events: Events,
    notices: Notices,
    timeout: Duration,
    /// When the time for the topic described last is over.
    until: Cell<Instant>,
    /// Addresses of the brokers, by id.
    brokers: RefCell<HashMap<i32, String>>,
}

/// A topic, or why nothing is known of it although brokers respond.
pub(super) type Described = Result<TopicDescription, String>;

/// Offsets of partitions.
#[derive(Default)]
pub(super) struct Found {
    pub(super) good: Vec<(u32, Vec<i64>)>,
    /// Those that have none.
    pub(super) failed: Vec<u32>,
    /// Why: those with the same reason in one line.
    pub(super) bad: Vec<String>,
}

impl Places {
    pub(super) fn new(settings: &Settings) -> Result<Self, Failure> {
        let admin = Admin::new(settings.config())?;
        let (events, timeout) = (admin.events(), settings.timeout());
        let notices = Notices::new(settings.verbose());
        let (until, brokers) = (Cell::new(Instant::now() + timeout), RefCell::default());
        Ok(Self { admin, events, notices, timeout, until, brokers })
    }

    pub(super) fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Waits for a result of the admin.
    pub(super) fn wait<T>(&self, pending: Pending<T>) -> Result<T, Failure> {
        self.notices.wait(pending, &self.events)
    }

    /// The same, with an error to examine.
    pub(super) fn result<T>(&self, pending: Pending<T>) -> Result<Result<T, Error>, Failure> {
        self.notices.wait_for(pending, &self.events, |_| None)
    }

    pub(super) fn describe(&self, topic: &str) -> Result<Described, Failure> {
        self.until.set(Instant::now() + self.timeout);
        let request = || self.admin.metadata(Some(topic));
        let (cluster, topics) = match self.notices.wait_for_topic(request, &self.events)? {
            Ok(described) => described,
            Err(error) if error.code().is_some() => return Ok(Err(failure::describe(&error))),
            Err(error) => return Err(error.into()),
        };
        let brokers = cluster.brokers.iter().map(|at| (at.id, address(&at.host, at.port)));
        self.brokers.borrow_mut().extend(brokers);
        let found = topics.into_iter().next();
        Ok(found.ok_or_else(|| format!("describe topic {topic}: the response does not have it")))
    }

    /// The address of a partition's leader, for a message.
    pub(super) fn leader(&self, topic: &TopicDescription, partition: u32) -> String {
        let at = topic.partitions.iter().find(|at| at.index == partition);
        let leader = at.and_then(|at| at.leader).unwrap_or(-1);
        self.brokers.borrow().get(&leader).cloned().unwrap_or_else(|| leader.to_string())
    }

    /// Offsets of these partitions for each start, and why some have none. Takes no longer than
    /// what is left of the time for the topic.
    pub(super) fn offsets(
        &self,
        topic: &str,
        partitions: &[u32],
        starts: &[Start],
    ) -> Result<Found, Failure> {
        if partitions.is_empty() {
            return Ok(Found::default());
        }
        let query = self.query(topic, partitions.to_vec(), starts);
        let results = self.notices.wait(query.pending, &self.events)?;
        Ok(sorted(topic, partitions, results))
    }

    /// The same, to be waited for beside others.
    pub(super) fn query(&self, topic: &str, partitions: Vec<u32>, starts: &[Start]) -> Query {
        let within = self.until.get().saturating_duration_since(Instant::now()).max(LEAST);
        let pending = self.admin.offsets_within(topic, &partitions, starts, within);
        Query { pending, partitions, begun: Instant::now() }
    }

    /// Waits for it; returns it again when it is not over. What goes wrong is printed when it takes
    /// longer than a moment.
    pub(super) fn poll(
        &self,
        topic: &str,
        query: Query,
        within: Duration,
    ) -> Result<Result<Found, Failure>, Query> {
        let Query { pending, partitions, begun } = query;
        if begun.elapsed() >= PATIENCE {
            core::iter::from_fn(|| self.events.try_next()).for_each(|at| self.notices.show(&at));
        }
        match pending.wait_timeout(within) {
            Ok(Ok(results)) => Ok(Ok(sorted(topic, &partitions, results))),
            Ok(Err(error)) => Ok(Err(error.into())),
            Err(pending) => Err(Query { pending, partitions, begun }),
        }
    }
}

/// A request for offsets of some partitions.
pub(super) struct Query {
    pending: Pending<Vec<Result<Vec<i64>, Error>>>,
    partitions: Vec<u32>,
    begun: Instant,
}

fn sorted(topic: &str, partitions: &[u32], results: Vec<Result<Vec<i64>, Error>>) -> Found {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (&partition, found) in partitions.iter().zip(results) {
        match found {
            Ok(offsets) => good.push((partition, offsets)),
            Err(error) => bad.push((partition, failure::describe(&error))),
        }
    }
    let failed = bad.iter().map(|(partition, _)| *partition).collect();
    Found { good, failed, bad: grouped(topic, bad) }
}

/// Partitions with the reason why they cannot be read: those with the same one in one line.
fn grouped(topic: &str, bad: Vec<(u32, String)>) -> Vec<String> {
    let mut reasons: Vec<(String, Vec<u32>)> = Vec::new();
    let mut places = HashMap::new();
    for (partition, why) in bad {
        let place = *places.entry(why.clone()).or_insert_with(|| {
            reasons.push((why, Vec::new()));
            reasons.len() - 1
        });
        if let Some((_, partitions)) = reasons.get_mut(place) {
            partitions.push(partition);
        }
    }
    let line = |(why, partitions): &(String, Vec<u32>)| {
        let plural = if partitions.len() == 1 { "" } else { "s" };
        format!("{topic}, partition{plural} {}: {why}", ranges(partitions))
    };
    reasons.iter().map(line).collect()
}

/// The partitions of a topic that can be read, and why the others cannot. `only`: this one.
pub(super) fn readable(topic: &TopicDescription, only: Option<u32>) -> (Vec<u32>, Vec<String>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let wanted = |at: &&PartitionDescription| only.is_none_or(|only| only == at.index);
    for at in topic.partitions.iter().filter(wanted) {
        if at.leader.is_some() {
            good.push(at.index);
        } else {
            let (why, replicas) = (at.error.name(), join(&at.replicas));
            let why = format!(
                "it has no leader ({why}); is a broker down? Its replicas are on {replicas}"
            );
            bad.push((at.index, why));
        }
    }
    let mut bad = grouped(&topic.name, bad);
    if good.is_empty() && bad.is_empty() {
        bad.push(match only {
            Some(only) => missing(&topic.name, only, topic.partitions.len()),
            None => format!("{}: the brokers list no partitions of it", topic.name),
        });
    }
    (good, bad)
}

/// Prints at once what cannot be read, since the end of the command may be far.
pub(super) fn say_all(bad: &[String]) {
    bad.iter().for_each(|why| lines::notice(why));
}

/// There is no such partition.
pub(super) fn missing(topic: &str, partition: u32, count: usize) -> String {
    format!("{topic} has no partition {partition}: it has {count}, numbered from 0")
}
