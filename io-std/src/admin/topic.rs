//! Topics and clusters as an admin describes them.

use kavka_core::wire::{ErrorCode, Uuid};

/// A topic to be created.
#[derive(Clone, Debug)]
pub struct NewTopic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) replication_factor: i16,
    pub(crate) configs: Vec<(String, Option<String>)>,
}

impl NewTopic {
    /// `-1` is the brokers' default (Kafka 2.4 and later), for either number.
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
    /// 0, or why nothing is known.
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
