//! What stands in the way of requests, topics and admin requests.

use super::Commands;
use crate::error::Obstacle;
use crate::id::TopicId;

impl Commands<'_> {
    /// Returns the obstacle of all requests: a connection failed and no broker has
    /// responded since, or none responds now. [`Obstacle::broker`] is the broker of that
    /// connection. `None` without the feature `reasons`.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.cx.obstacle()
    }

    /// Returns why a topic cannot be used, as far as that is known: what the last Metadata response
    /// said against it, or the obstacle of that response.
    #[must_use]
    pub fn obstacle_of_topic(&self, topic: TopicId) -> Option<Obstacle> {
        self.cx.obstacle_of_topic(self.cx.cluster.topic_slot(topic)?)
    }

    /// Returns what an admin request waits for, besides what concerns all requests: no controller
    /// is known, the one that is refuses, or there is no response. `None` without the feature
    /// `reasons`, and when the request has ended.
    #[cfg(feature = "admin")]
    #[must_use]
    pub fn obstacle_of_request(&self, id: crate::id::RequestId) -> Option<Obstacle> {
        self.owners.admin.obstacle_of(&self.cx, id)
    }
}
