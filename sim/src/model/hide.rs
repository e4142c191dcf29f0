//! Metadata with partitions left out, as from brokers that apply changes piece by piece.

use core::ops::Range;
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::Cluster;
use crate::code;
use crate::image::TopicImage;

/// Partitions that a broker leaves out.
#[derive(Clone, Debug)]
pub(super) struct Hidden {
    topic: Uuid,
    partitions: Range<u32>,
}

impl Cluster {
    /// Leaves these partitions of a topic out of a broker's metadata, until it is
    /// [shown](Cluster::show) again or the topic is recreated. The broker still serves what it
    /// leads.
    ///
    /// # Errors
    /// 3 for an unknown topic, 9 for an unknown broker.
    pub fn hide(&mut self, broker: i32, name: &str, partitions: Range<u32>) -> Result<(), i16> {
        let name = StrBytes::from_string(name.to_owned());
        let topic = *self.names.get(&name).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        let node = self.nodes.get_mut(&broker).ok_or(code::REPLICA_NOT_AVAILABLE)?;
        node.hidden.push(Hidden { topic, partitions });
        Ok(())
    }

    /// Ends [`Cluster::hide`] for a broker: its metadata is complete again.
    pub fn show(&mut self, broker: i32) {
        if let Some(node) = self.nodes.get_mut(&broker) {
            node.hidden.clear();
        }
    }

    pub(super) fn hides(&self, broker: i32, topic: &TopicImage, index: usize) -> bool {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let hides = |h: &Hidden| h.topic == topic.id && h.partitions.contains(&index);
        self.nodes.get(&broker).is_some_and(|node| node.hidden.iter().any(hides))
    }

    /// Returns a topic as a broker's metadata shows it.
    pub(super) fn shown(&self, broker: i32, topic: &Arc<TopicImage>) -> Arc<TopicImage> {
        if self.nodes.get(&broker).is_none_or(|node| node.hidden.is_empty()) {
            return topic.clone();
        }
        let mut shown = TopicImage::clone(topic);
        for (index, partition) in shown.partitions.iter_mut().enumerate() {
            partition.hidden = self.hides(broker, topic, index);
        }
        while shown.partitions.last().is_some_and(|partition| partition.hidden) {
            shown.partitions.pop();
        }
        Arc::new(shown)
    }
}
