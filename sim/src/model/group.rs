//! Group coordinators: consumer groups of KIP-848 and their offsets
//! (`GroupMetadataManager`, `CurrentAssignmentBuilder`, `OffsetMetadataManager`).

mod assign;
mod classic;
mod coordinator;
mod heartbeat;
mod member;
mod offsets;
mod pattern;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{Cluster, Event};
use crate::deed::What;
use classic::{Classic, Foreign};
pub use classic::{Looks, Stretch};
use member::Member;
use offsets::Committed;
use pattern::Found;

/// A partition of a topic, by the topic's id.
type Place = (Uuid, i32);

/// How coordinators behave.
#[derive(Clone, Debug)]
pub struct Groups {
    /// A member that is silent for this long is removed (`consumer.session.timeout.ms`).
    pub session: Duration,
    /// Time between two heartbeats that members are given (`consumer.heartbeat.interval.ms`).
    pub interval: Duration,
    /// How long a broker loads a group that it becomes the coordinator of.
    pub loading: Duration,
    /// The first round of a classic group waits so long for members
    /// (`group.initial.rebalance.delay.ms`).
    pub join_delay: Duration,
    /// Topics of regular expressions are looked for no more often than this
    /// (`REGEX_BATCH_REFRESH_MIN_INTERVAL_MS`).
    pub find_pause: Duration,
    /// Commits of a group without members are forgotten after this (`offsets.retention.minutes`).
    pub retention: Duration,
    /// Groups are converted between the two protocols while they have members
    /// (`group.consumer.migration.policy`: `bidirectional` or `disabled`); below 4.0 never.
    pub converts: bool,
    /// KIP-848 is available; without it heartbeats fail with `UNSUPPORTED_VERSION`
    /// (`group.version`).
    pub native: bool,
}

impl Default for Groups {
    /// As Apache Kafka: 45 s, 5 s, 3 s, 10 s, and a week; 50 ms for loading.
    fn default() -> Self {
        Self {
            session: Duration::from_secs(45),
            interval: Duration::from_secs(5),
            loading: Duration::from_millis(50),
            join_delay: Duration::from_secs(3),
            find_pause: Duration::from_secs(10),
            retention: Duration::from_secs(7 * 86_400),
            converts: true,
            native: true,
        }
    }
}

/// A group.
#[derive(Default)]
pub(super) struct Group {
    epoch: i32,
    members: BTreeMap<StrBytes, Member>,
    /// What each member is to have once all have given up what they are to give up.
    target: BTreeMap<StrBytes, BTreeSet<Place>>,
    target_epoch: i32,
    /// The topics of each expression that members subscribe by.
    patterns: BTreeMap<StrBytes, Found>,
    /// Who has a partition, or has not acknowledged its revocation.
    owners: BTreeMap<Place, StrBytes>,
    /// Partitions of the subscribed topics when the epoch was raised last.
    counts: BTreeMap<StrBytes, (Uuid, usize)>,
    offsets: BTreeMap<Place, Committed>,
    /// Since when it has no members.
    empty_since: Duration,
    /// The broker that serves it, and from when on.
    server: Option<(i32, Duration)>,
    /// How often it was moved on purpose.
    moved: u32,
    /// Its members by the classic protocol, unless it is a group of KIP-848: that one hosts them.
    classic: Classic,
    /// One of these is another client.
    foreign: Option<Box<Foreign>>,
}

/// What a test sees of groups, and does to them.
impl Cluster {
    /// Returns the members of a group, each with its epoch.
    #[must_use]
    pub fn group_members(&self, group: &str) -> Vec<(String, i32)> {
        let Some(group) = self.groups.get(group.as_bytes()) else { return Vec::new() };
        let classic = group.classic.members.keys();
        let classic = classic.map(|id| (id.to_string(), group.classic.generation));
        let native = group.members.iter().map(|(id, member)| (id.to_string(), member.epoch));
        native.chain(classic).collect()
    }

    /// Returns which member of a group may read each partition, by topic and index, also while its
    /// revocation is not acknowledged.
    #[must_use]
    pub fn group_owners(&self, group: &str) -> BTreeMap<(String, i32), String> {
        let owners = self.groups.get(group.as_bytes()).into_iter().flat_map(|group| &group.owners);
        let named = owners.filter_map(|((id, index), member)| {
            let topic = self.topics.get(id)?;
            Some(((topic.name.to_string(), *index), member.to_string()))
        });
        named.collect()
    }

    /// Returns what a group has committed: offset and metadata.
    #[must_use]
    pub fn group_offset(&self, group: &str, topic: &str, partition: i32) -> Option<(i64, String)> {
        let id = self.names.get(topic.as_bytes())?;
        let found = self.groups.get(group.as_bytes())?.offsets.get(&(*id, partition))?;
        Some((found.offset, found.metadata.to_string()))
    }

    /// Returns whether a group has members and is one of KIP-848, whose owners are known.
    #[must_use]
    pub fn is_native(&self, group: &str) -> bool {
        self.groups.get(group.as_bytes()).is_some_and(|group| !group.members.is_empty())
    }

    /// Makes KIP-848 available, as at the end of an upgrade (`kafka-features upgrade`).
    pub fn enable_native(&mut self) {
        if let Some(groups) = &mut self.options.groups {
            groups.native = true;
        }
    }

    /// Has another broker coordinate a group, if there is one.
    pub fn move_coordinator(&mut self, group: &str) {
        let key = StrBytes::from_string(group.to_owned());
        let group = self.groups.entry(key).or_default();
        group.moved += 1;
        let held = group.classic.take_parked();
        self.turn_away(held);
    }

    /// Removes a member, as after its session; it learns of that with its next heartbeat.
    pub fn expel(&mut self, group: &str, member: &str) {
        let id = StrBytes::from_string(member.to_owned());
        let name = StrBytes::from_string(group.to_owned());
        match self.groups.get(&name).is_some_and(|group| group.members.contains_key(&id)) {
            true => self.remove_member(&name, &id),
            false => self.drop_classic(&name, &id),
        }
    }

    /// The session of a member, or the time for its revocation, may be over.
    pub(super) fn check_member(&mut self, group: &StrBytes, id: &StrBytes) {
        let Some(known) = self.groups.get_mut(group) else { return };
        let Some(member) = known.members.get_mut(id) else { return self.check_classic(group, id) };
        let until = member.ends();
        if until <= self.now {
            return self.remove_member(group, id);
        }
        member.watched = until;
        self.schedule(until, Event::Member { group: group.clone(), id: id.clone() });
    }

    /// Forgets what a broker that died held for groups.
    pub(super) fn forget_held(&mut self, broker: i32) {
        for group in self.groups.values_mut() {
            group.classic.forget(broker);
        }
    }

    fn next_member(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// Notes what a group committed.
    fn note_commit(&mut self, group: &StrBytes, place: Place, offset: i64) {
        let Some(name) = self.topics.get(&place.0).map(|topic| topic.name.clone()) else { return };
        let partition = u32::try_from(place.1).unwrap_or(0);
        self.note(&name, What::Committed { group: group.clone(), partition, offset });
    }
}
