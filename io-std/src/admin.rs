//! Creating, growing, deleting and describing topics.

mod offsets;
mod run;

use core::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use kavka_core::Start;
use kavka_core::wire::{ErrorCode, Uuid};

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::event::{Events, Hub};
use crate::pending::{Cell, Pending, Setter};
use crate::worker::Worker;
use run::{Ask, Gathered, Job};

/// Creates, grows, deletes and describes topics, on one background thread with its own
/// connections. Requests that a cluster in motion refuses are tried again, for
/// [`Config::admin_timeout`].
pub struct Admin {
    jobs: Option<Sender<Job>>,
    hub: Arc<Hub>,
    worker: Worker,
}

/// A topic to be created.
#[derive(Clone, Debug)]
pub struct NewTopic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) replication_factor: i16,
    pub(crate) configs: Vec<(String, Option<String>)>,
}

impl NewTopic {
    /// `-1` asks for the brokers' default (Kafka 2.4 and later), of either number.
    #[must_use]
    pub fn new(name: impl Into<String>, partitions: i32, replication_factor: i16) -> Self {
        Self { name: name.into(), partitions, replication_factor, configs: Vec::new() }
    }

    /// The same with a topic config, such as `retention.ms`.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((name.into(), Some(value.into())));
        self
    }
}

/// Name, partitions, replication factor.
impl From<(&str, i32, i16)> for NewTopic {
    fn from((name, partitions, replication_factor): (&str, i32, i16)) -> Self {
        Self::new(name, partitions, replication_factor)
    }
}

/// A topic as a broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Kafka's id of it, zero before 2.8.
    pub id: Uuid,
    /// Internal to Kafka.
    pub internal: bool,
    /// 0, or why there is nothing to tell.
    pub error: ErrorCode,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition as a broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its index, from 0.
    pub index: u32,
    /// Node id of the leader; `None` while there is none.
    pub leader: Option<i32>,
    /// Leader epoch, -1 before 2.4.
    pub epoch: i32,
    /// Node ids of the replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Node ids of the in-sync replicas.
    pub isr: Vec<i32>,
    /// 0, or what is wrong with it.
    pub error: ErrorCode,
}

/// A cluster as a broker describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub id: Option<String>,
    /// Node id of the controller (KRaft: of some broker).
    pub controller: i32,
    /// Its brokers, by node id.
    pub brokers: Vec<BrokerDescription>,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerDescription {
    /// Node id.
    pub id: i32,
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Rack.
    pub rack: Option<String>,
}

impl Admin {
    /// Starts the background thread.
    ///
    /// # Errors
    /// When the configuration cannot work, or the system has no thread or poller to give.
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
    /// Of the [`Pending`]: the brokers' refusal, or that there was no answer in time.
    #[must_use = "nothing else tells how it ended"]
    pub fn create_topic(&self, topic: impl Into<NewTopic>) -> Pending<()> {
        self.ask(Ask::Create(topic.into()), |_| Ok(()))
    }

    /// Grows a topic to `count` partitions.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else tells how it ended"]
    pub fn create_partitions(&self, topic: &str, count: i32) -> Pending<()> {
        self.ask(Ask::Grow { name: topic.into(), count }, |_| Ok(()))
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else tells how it ended"]
    pub fn delete_topic(&self, topic: &str) -> Pending<()> {
        self.ask(Ask::Delete { name: topic.into() }, |_| Ok(()))
    }

    /// Describes a topic.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else tells how it ended"]
    pub fn describe(&self, topic: &str) -> Pending<TopicDescription> {
        self.ask(Ask::Describe { name: Some(topic.into()) }, |mut gathered| {
            gathered.topics.pop().ok_or_else(|| ErrorKind::Kafka(unknown()).into())
        })
    }

    /// Describes all topics, by name.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else tells how it ended"]
    pub fn list_topics(&self) -> Pending<Vec<TopicDescription>> {
        self.ask(Ask::Describe { name: None }, |gathered| Ok(gathered.topics))
    }

    /// Describes the cluster.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else tells how it ended"]
    pub fn cluster(&self) -> Pending<ClusterDescription> {
        self.ask(Ask::Describe { name: None }, |gathered| Ok(gathered.cluster))
    }

    /// The offsets at which reading would start in each partition of a topic, by index.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    #[must_use = "nothing else tells how it ended"]
    pub fn offsets(&self, topic: &str, at: Start) -> Pending<Vec<i64>> {
        let ask = Ask::Offsets { name: topic.into(), at };
        self.ask(ask, |gathered| Ok(gathered.offsets))
    }

    /// What happens to connections.
    #[must_use]
    pub fn events(&self) -> Events {
        self.hub.subscribe()
    }

    fn ask<T: Send + 'static>(
        &self,
        ask: Ask,
        take: impl FnOnce(Gathered) -> Result<T, Error> + Send + 'static,
    ) -> Pending<T> {
        let (done, pending): (Setter<T>, _) = Cell::pair();
        let finish = Box::new(move |result: Result<Gathered, Error>| {
            done.set(result.and_then(take));
        });
        if let Some(jobs) = &self.jobs {
            // When the thread is gone the job is dropped, which answers "closed".
            let _ = jobs.send(Job { ask, finish });
            self.worker.waker.wake();
        }
        pending
    }
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
