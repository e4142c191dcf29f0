//! Creating, growing, deleting and describing topics; listing, describing and deleting consumer
//! groups and their offsets.

mod group;
mod listing;
mod offsets;
mod run;
mod topic;
mod wanted;

use core::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use kavka_core::Start;
use kavka_core::wire::ErrorCode;

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::event::{Events, Hub};
use crate::pending::{Cell, Pending, Setter};
use crate::worker::Worker;
pub use group::{
    CommittedOffset, GroupDescription, GroupKind, GroupListing, GroupMember, ListedGroup, NewOffset,
};
use run::{Gathered, Job, Operation};
pub use topic::{
    BrokerDescription, ClusterDescription, NewTopic, PartitionDescription, TopicDescription,
};
use wanted::Wanted;

/// Creates, grows, deletes and describes topics, and operates consumer groups, on one background
/// thread with its own connections. Requests that a cluster in motion refuses are retried, for
/// [`Config::admin_timeout`].
pub struct Admin {
    jobs: Option<Sender<Job>>,
    hub: Arc<Hub>,
    worker: Worker,
}

impl Admin {
    /// Starts the background thread.
    ///
    /// # Errors
    /// When the configuration cannot work, or the system has no thread or poller.
    pub fn new(config: Config) -> Result<Self, Error> {
        let (jobs, todo) = channel();
        let hub = Arc::new(Hub::default());
        let theirs = hub.clone();
        let worker = Worker::start(config, "kavka-admin", move |config, driver, _| {
            run::run(config, driver, &todo, &theirs);
        })?;
        Ok(Self { jobs: Some(jobs), hub, worker })
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// Of the [`Pending`]: the brokers' refusal, that there was no response in time, or, at once,
    /// [`ErrorKind::RequestTooLarge`] for configs that the send memory cannot hold, and for a name
    /// or value above 32,767 bytes.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] takes the request back if it was not begun; otherwise the brokers
    /// may still carry it out. That holds for all requests of an `Admin`.
    #[must_use = "nothing else reports the result"]
    pub fn create_topic(&self, topic: impl Into<NewTopic>) -> Pending<()> {
        self.submit(Operation::Create(topic.into()), |_| Ok(()))
    }

    /// Grows a topic to `count` partitions.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn create_partitions(&self, topic: &str, count: i32) -> Pending<()> {
        self.submit(Operation::Grow { name: topic.into(), count }, |_| Ok(()))
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn delete_topic(&self, topic: &str) -> Pending<()> {
        self.submit(Operation::Delete { name: topic.into() }, |_| Ok(()))
    }

    /// Describes a topic.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn describe(&self, topic: &str) -> Pending<TopicDescription> {
        self.submit(Operation::Describe { name: Some(topic.into()) }, |mut gathered| {
            gathered.topics.pop().ok_or_else(|| ErrorKind::Kafka(unknown()).into())
        })
    }

    /// Describes all topics, by name.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn list_topics(&self) -> Pending<Vec<TopicDescription>> {
        self.submit(Operation::Describe { name: None }, |gathered| Ok(gathered.topics))
    }

    /// Describes the cluster.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn cluster(&self) -> Pending<ClusterDescription> {
        self.submit(Operation::Describe { name: None }, |gathered| Ok(gathered.cluster))
    }

    /// The offsets at which reading would start in each partition of a topic, by index.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn offsets(&self, topic: &str, at: Start) -> Pending<Vec<i64>> {
        let operation = Operation::Offsets { name: topic.into(), starts: vec![at], list: None };
        self.submit(operation, |gathered| gathered.offsets.into_iter().map(first).collect())
    }

    /// Describes the cluster and, in the same request, one topic or all topics by name.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn metadata(
        &self,
        topic: Option<&str>,
    ) -> Pending<(ClusterDescription, Vec<TopicDescription>)> {
        let operation = Operation::Describe { name: topic.map(str::to_owned) };
        self.submit(operation, |gathered| Ok((gathered.cluster, gathered.topics)))
    }

    /// [`Admin::offsets`] of some partitions, each with its own result, in this order. A partition
    /// that the topic does not have fails at once, and one whose leader does not respond when
    /// [`Config::admin_timeout`] is over; the others succeed all the same.
    ///
    /// # Errors
    /// As [`Admin::create_topic`], when nothing is known of the topic.
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn offsets_of(
        &self,
        topic: &str,
        partitions: &[u32],
        at: Start,
    ) -> Pending<Vec<Result<i64, Error>>> {
        let list = Some(partitions.to_vec());
        let operation = Operation::Offsets { name: topic.into(), starts: vec![at], list };
        self.submit(operation, |gathered| Ok(gathered.offsets.into_iter().map(first).collect()))
    }

    /// [`Admin::offsets_of`] for several starts at once: each partition has its offsets in their
    /// order, or the reason why not all of them are known. When `within` is over, those that were
    /// not reached until then fail, and the others succeed all the same.
    ///
    /// # Errors
    /// As [`Admin::offsets_of`].
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn offsets_within(
        &self,
        topic: &str,
        partitions: &[u32],
        starts: &[Start],
        within: Duration,
    ) -> Pending<Vec<Result<Vec<i64>, Error>>> {
        let (list, starts) = (Some(partitions.to_vec()), starts.to_vec());
        let operation = Operation::Offsets { name: topic.into(), starts, list };
        self.submit_within(operation, Some(within), |gathered| Ok(gathered.offsets))
    }

    /// Lists the groups of all brokers. Brokers that do not respond within
    /// [`Config::admin_timeout`] are named beside the groups of the others.
    ///
    /// # Errors
    /// As [`Admin::create_topic`], when no broker has listed its groups.
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn groups(&self) -> Pending<GroupListing> {
        self.submit(Operation::Group(Wanted::List), |gathered| Ok(gathered.listing))
    }

    /// Describes a group, classic or under KIP-848.
    ///
    /// # Errors
    /// As [`Admin::create_topic`]; error 69 (`GROUP_ID_NOT_FOUND`) for a group that does not exist,
    /// and for one of another type, such as a share group.
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn describe_group(&self, group: &str) -> Pending<GroupDescription> {
        let id = group.to_owned();
        let operation = Operation::Group(Wanted::Describe { group: group.into() });
        self.submit(operation, |gathered| Ok(GroupDescription { id, ..gathered.group.described }))
    }

    /// Deletes a group and its offsets.
    ///
    /// # Errors
    /// As [`Admin::create_topic`]; error 68 (`NON_EMPTY_GROUP`) while it has members, 69
    /// (`GROUP_ID_NOT_FOUND`) where it does not exist.
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn delete_group(&self, group: &str) -> Pending<()> {
        self.submit(Operation::Group(Wanted::Delete { group: group.into() }), |_| Ok(()))
    }

    /// The offsets that a group has committed, by topic and partition; none for a group that does
    /// not exist. Those of a transaction that is open are those before it.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn group_offsets(&self, group: &str) -> Pending<Vec<CommittedOffset>> {
        let operation = Operation::Group(Wanted::Offsets { group: group.into() });
        self.submit(operation, |gathered| Ok(gathered.group.offsets))
    }

    /// Commits offsets of a topic for a group that has no members. A group that does not exist is
    /// created. More than 500 partitions are sent in several requests; where one fails, those
    /// before it stay.
    ///
    /// # Errors
    /// As [`Admin::create_topic`]; error 25 (`UNKNOWN_MEMBER_ID`) while the group has members, 3
    /// for a partition that does not exist.
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn set_group_offsets(
        &self,
        group: &str,
        topic: &str,
        offsets: &[NewOffset],
    ) -> Pending<()> {
        let (group, topic, offsets) = (group.into(), topic.into(), offsets.to_vec());
        self.submit(Operation::Group(Wanted::Set { group, topic, offsets, done: 0 }), |_| Ok(()))
    }

    /// Deletes offsets of a topic that no member of the group is subscribed to (Kafka 2.4 and
    /// later). More than 500 partitions are sent in several requests.
    ///
    /// # Errors
    /// As [`Admin::create_topic`]; error 86 (`GROUP_SUBSCRIBED_TO_TOPIC`) while a member is
    /// subscribed, 69 for a group that does not exist.
    ///
    /// # Cancel safety
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else reports the result"]
    pub fn delete_group_offsets(
        &self,
        group: &str,
        topic: &str,
        partitions: &[u32],
    ) -> Pending<()> {
        let index = |partition: &u32| i32::try_from(*partition).unwrap_or(i32::MAX);
        let (group, topic) = (group.into(), topic.into());
        let partitions = partitions.iter().map(index).collect();
        let wanted = Wanted::Forget { group, topic, partitions, done: 0 };
        self.submit(Operation::Group(wanted), |_| Ok(()))
    }

    /// What happens to connections.
    #[must_use]
    pub fn events(&self) -> Events {
        self.hub.subscribe()
    }

    fn submit<T: Send + 'static>(
        &self,
        operation: Operation,
        take: impl FnOnce(Gathered) -> Result<T, Error> + Send + 'static,
    ) -> Pending<T> {
        self.submit_within(operation, None, take)
    }

    fn submit_within<T: Send + 'static>(
        &self,
        operation: Operation,
        within: Option<Duration>,
        take: impl FnOnce(Gathered) -> Result<T, Error> + Send + 'static,
    ) -> Pending<T> {
        let (done, pending): (Setter<T>, _) = Cell::pair();
        let is_awaited = Box::new(done.watch());
        let finish = Box::new(move |result: Result<Gathered, Error>| {
            done.set(result.and_then(take));
        });
        if let Some(jobs) = &self.jobs {
            // When the thread is gone the job is dropped, which reports "closed".
            let _ = jobs.send(Job { operation, within, finish, is_awaited });
            self.worker.waker.wake();
        }
        pending
    }
}

/// The offset for the only start.
fn first(found: Result<Vec<i64>, Error>) -> Result<i64, Error> {
    let late = || kavka_core::Error::TimedOut.into();
    found.and_then(|offsets| offsets.first().copied().ok_or_else(late))
}

fn unknown() -> kavka_core::Error {
    kavka_core::Error::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.jobs = None;
        self.worker.waker.wake();
        self.worker.join();
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}
