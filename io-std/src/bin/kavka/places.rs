//! Which partitions a topic has, and where their logs begin and end.

use kavka_std::{Admin, Error, Events, PartitionDescription, Start, TopicDescription};

use super::common::Settings;
use super::notices::Notices;
use super::text::join;
use super::{Failure, failure};

pub(super) struct Places {
    admin: Admin,
    events: Events,
    notices: Notices,
}

impl Places {
    pub(super) fn new(settings: &Settings) -> Result<Self, Failure> {
        let admin = Admin::new(settings.config())?;
        let events = admin.events();
        Ok(Self { admin, events, notices: Notices::new(settings.verbose()) })
    }

    pub(super) fn describe(&self, topic: &str) -> Result<TopicDescription, Failure> {
        self.notices.wait_for_topic(|| self.admin.describe(topic), &self.events)
    }

    /// Offsets of these partitions; the reason, with topic and partition, for those without.
    pub(super) fn offsets(
        &self,
        topic: &str,
        partitions: &[u32],
        at: Start,
    ) -> Result<Vec<Result<i64, String>>, Failure> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let pending = self.admin.offsets_of(topic, partitions, at);
        let found = self.notices.wait(pending, &self.events)?;
        let named = |(partition, result): (&u32, Result<i64, Error>)| {
            let text = |error| format!("{topic}, partition {partition}: {error}");
            result.map_err(|error| text(failure::describe(&error)))
        };
        Ok(partitions.iter().zip(found).map(named).collect())
    }
}

/// The partitions of a topic that can be read, and why the others cannot. `only`: this one.
pub(super) fn readable(
    topic: &TopicDescription,
    only: Option<u32>,
) -> Result<(Vec<u32>, Vec<String>), Failure> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let wanted = |at: &&PartitionDescription| only.is_none_or(|only| only == at.index);
    for at in topic.partitions.iter().filter(wanted) {
        if at.leader.is_some() {
            good.push(at.index);
        } else {
            let (index, why) = (at.index, at.error.name());
            let replicas = join(&at.replicas);
            bad.push(format!(
                "{}, partition {index}: it has no leader ({why}); is a broker down? Its replicas \
                 are on {replicas}",
                topic.name
            ));
        }
    }
    match only {
        Some(only) if good.is_empty() && bad.is_empty() => {
            Err(Failure::Failed(missing(&topic.name, only, topic.partitions.len())))
        }
        _ => Ok((good, bad)),
    }
}

/// There is no such partition.
pub(super) fn missing(topic: &str, partition: u32, count: usize) -> String {
    format!("{topic} has no partition {partition}: it has {count}, numbered from 0")
}
