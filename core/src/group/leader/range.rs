//! The assignors that know no past: range and roundrobin.

use super::Leader;

impl Leader<'_> {
    /// Divides each topic into ranges, one for each of its subscribers, in order.
    pub(super) fn range(&mut self) {
        if self.range_by_rack() {
            return;
        }
        for topic in 0..self.topics {
            let subscribers = self.subscribers(topic);
            if subscribers == 0 {
                continue;
            }
            let (mut seat, end) =
                (self.memory.topics[topic].first, self.memory.topics[topic].end());
            let (quota, mut extra) = ((end - seat) / subscribers, (end - seat) % subscribers);
            for member in 0..self.members {
                if !self.wants(member, topic) {
                    continue;
                }
                let more = usize::from(extra > 0);
                extra -= more;
                for _ in 0..quota + more {
                    self.give(seat, member);
                    seat += 1;
                }
            }
        }
    }

    /// Deals all partitions around, to the next member that subscribes to their topic.
    pub(super) fn round_robin(&mut self) {
        let mut next = 0;
        for topic in 0..self.topics {
            if self.subscribers(topic) == 0 {
                continue;
            }
            for seat in self.memory.topics[topic].first..self.memory.topics[topic].end() {
                while !self.wants(next, topic) {
                    next = (next + 1) % self.members;
                }
                self.give(seat, next);
                next = (next + 1) % self.members;
            }
        }
    }
}
