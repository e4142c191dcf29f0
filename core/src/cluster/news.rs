//! What the application is told of topics and leaders.

use super::{Cluster, pending};
use crate::error::Error;
use crate::event::Event;

impl Cluster<'_> {
    /// The next thing to tell of topics and leaders.
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

    /// The next failed connection that the application was not told of.
    pub(crate) fn poll_disconnected(&mut self) -> Option<Event<'static>> {
        if !self.broker_news {
            return None;
        }
        let (broker, error) = self.take_broker_news()?;
        Some(Event::Disconnected { broker, error })
    }

    /// Whether there is something of that.
    pub(crate) fn has_news(&self) -> bool {
        self.topics.has_news() || self.broker_news || self.table.has_moved()
    }

    fn topic_event(&mut self, slot: usize) -> Event<'static> {
        let id = self.topic_id(slot);
        let topic = &mut self.topics[slot];
        let mut take = |bit: u8| {
            let set = topic.pending & bit != 0;
            topic.pending &= !bit;
            set
        };
        if take(pending::READY) {
            Event::TopicReady { topic: id, partitions: topic.count }
        } else if take(pending::RECREATED) {
            Event::TopicRecreated { topic: id, partitions: topic.count }
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
