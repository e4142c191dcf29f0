//! What is reported to the application of topics and leaders.

use super::{Cluster, pending};
use crate::error::Error;
use crate::event::Event;

impl Cluster<'_> {
    /// Returns the next event of topics and leaders.
    pub(crate) fn poll_event(&mut self) -> Option<Event<'static>> {
        if let Some(slot) = self.topics.first_news() {
            let event = self.topic_event(slot);
            if guard!("all news of a topic is reported", self.topics[slot].pending == 0 => true) {
                self.topics.reported(slot);
            }
            return Some(event);
        }
        let part = self.table.next_moved()?;
        let entry = &self.table[part];
        let (slot, partition, epoch) = (usize::from(entry.topic), entry.index, entry.epoch);
        let topic = self.topic_id(slot);
        Some(Event::LeaderMoved { topic, partition, epoch })
    }

    /// Returns the next failed connection that was not reported to the application.
    pub(crate) fn poll_disconnected(&mut self) -> Option<Event<'static>> {
        if !self.broker_news {
            return None;
        }
        let (broker, error) = self.take_broker_news()?;
        Some(Event::Disconnected { broker, error })
    }

    /// Returns whether there is such an event.
    pub(crate) fn has_news(&self) -> bool {
        self.topics.has_news() || self.table.has_moved() || self.has_failures()
    }

    fn topic_event(&mut self, slot: usize) -> Event<'static> {
        let id = self.topic_id(slot);
        let topic = &mut self.topics[slot];
        // Later additions are reported by their own event: they are read from another place.
        let added = topic.pending & pending::ADDED != 0;
        let partitions = if added { topic.added_from } else { topic.count };
        let mut take = |bit: u8| {
            let set = topic.pending & bit != 0;
            topic.pending &= !bit;
            set
        };
        if take(pending::READY) {
            Event::TopicReady { topic: id, partitions }
        } else if take(pending::RECREATED) {
            Event::TopicRecreated { topic: id, partitions }
        } else if take(pending::ADDED) {
            let (from, to, by) = (topic.added_from, topic.count, topic.added_by);
            Event::PartitionsAdded { topic: id, from, to, by }
        } else if take(pending::STALE) {
            Event::BrokerStale { broker: topic.stale_broker, topic: id }
        } else {
            topic.pending = 0;
            let error = topic.failure.unwrap_or(Error::TimedOut);
            Event::TopicFailed { topic: id, error }
        }
    }
}
