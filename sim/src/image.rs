//! A broker's view of the cluster (`KRaftMetadataCache`): an immutable image, replaced as a whole.
//! Brokers adopt new images at their own pace, so one of them may be stale.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

#[derive(Clone, Debug)]
pub(crate) struct PartitionImage {
    pub(crate) leader: i32,
    pub(crate) epoch: i32,
    pub(crate) replicas: Arc<[i32]>,
    pub(crate) isr: Arc<[i32]>,
    /// Left out of metadata.
    pub(crate) hidden: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct TopicImage {
    pub(crate) name: StrBytes,
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<PartitionImage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) id: i32,
    pub(crate) host: StrBytes,
    pub(crate) port: u16,
    pub(crate) rack: Option<StrBytes>,
}

/// A topic as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TopicRef {
    Name(StrBytes),
    Id(Uuid),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    pub(crate) topics: BTreeMap<StrBytes, Arc<TopicImage>>,
    pub(crate) ids: BTreeMap<Uuid, Arc<TopicImage>>,
    /// Live brokers by id.
    pub(crate) brokers: Vec<Endpoint>,
}

impl Image {
    pub(crate) fn endpoint(&self, broker: i32) -> Option<&Endpoint> {
        self.brokers.iter().find(|endpoint| endpoint.id == broker)
    }

    /// Updates one topic of the image; `None` removes it.
    pub(crate) fn put(&mut self, name: &StrBytes, topic: Option<TopicImage>) {
        if let Some(old) = self.topics.remove(name) {
            self.ids.remove(&old.id);
        }
        if let Some(new) = topic.map(Arc::new) {
            self.topics.insert(name.clone(), new.clone());
            self.ids.insert(new.id, new);
        }
    }

    pub(crate) fn topic(&self, topic: &TopicRef) -> Option<&Arc<TopicImage>> {
        match topic {
            TopicRef::Name(name) => self.topics.get(name),
            TopicRef::Id(id) => self.ids.get(id),
        }
    }
}
