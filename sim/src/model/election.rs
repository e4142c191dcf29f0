//! Elections: brokers leave the cluster and come back, partitions get other leaders.

use super::replica::Partition;
use super::{Cluster, Event, Node};
use crate::deed::What;

impl Cluster {
    pub(super) fn schedule_fence(&mut self, broker: i32) {
        let Some(node) = self.nodes.get_mut(&broker) else { return };
        node.incarnation += 1;
        let incarnation = node.incarnation;
        let at = self.now + self.options.session_timeout;
        self.schedule(at, Event::Fence { broker, incarnation });
    }

    /// Removes a broker from the cluster: others lead, and no leader waits for it.
    pub(super) fn fence(&mut self, broker: i32) {
        let Some(node) = self.nodes.get_mut(&broker).filter(|node| !node.fenced) else { return };
        node.fenced = true;
        self.elect(|partition| partition.has(broker));
    }

    /// Returns a broker to the cluster: it leads what has no leader and has it in sync.
    pub(super) fn unfence(&mut self, broker: i32) {
        let Some(node) = self.nodes.get_mut(&broker) else { return };
        node.incarnation += 1;
        node.fenced = false;
        self.elect(|partition| partition.leader < 0);
        self.replicate_all();
    }

    /// Hands a broker's partitions over, as SIGTERM does before the end; the caller then kills it.
    pub fn hand_over(&mut self, broker: i32) {
        let Some(node) = self.nodes.get_mut(&broker).filter(|node| node.alive) else { return };
        node.fenced = true;
        node.incarnation += 1;
        self.elect(|partition| partition.has(broker));
    }

    /// Chooses leaders and in-sync replicas again.
    pub(super) fn elect(&mut self, which: impl Fn(&Partition) -> bool) {
        let mut changed = Vec::new();
        let mut cut = Vec::new();
        let (now, unclean) = (self.now, self.options.unclean);
        for topic in self.topics.values_mut() {
            let mut moved = false;
            for (index, partition) in topic.partitions.iter_mut().enumerate() {
                if !which(partition) {
                    continue;
                }
                let lives = |id: &i32| self.nodes.get(id).is_some_and(Node::in_cluster);
                moved |= choose(partition, lives, unclean, now, |to| {
                    cut.push((topic.name.clone(), u32::try_from(index).unwrap_or(u32::MAX), to));
                });
            }
            if moved {
                changed.push(topic.name.clone());
            }
        }
        changed.sort(); // the map's order must not be visible
        cut.sort();
        for (name, partition, to) in cut {
            self.note(&name, What::Cut { partition, to });
        }
        self.publish(&changed);
        self.touch_all(&changed);
        if !changed.is_empty() {
            self.replicate_all();
        }
        self.wake();
    }
}

/// Chooses a partition's leader and in-sync replicas; returns whether anything changed. The last
/// one in sync stays in the ISR, even if it is down: only it has all that is committed.
fn choose(
    partition: &mut Partition,
    lives: impl Fn(&i32) -> bool,
    unclean: bool,
    now: core::time::Duration,
    cut: impl FnOnce(i64),
) -> bool {
    let in_sync: Vec<i32> = partition.isr.iter().copied().filter(&lives).collect();
    let shrunk = !in_sync.is_empty() && in_sync.len() < partition.isr.len();
    if shrunk {
        partition.isr = in_sync.clone().into();
    } else if in_sync.is_empty() && partition.isr.len() > 1 {
        // All of them are down: the last leader counts as the last one in sync.
        let last = partition.isr.iter().copied().find(|id| *id == partition.leader);
        let last = last.unwrap_or(partition.isr[0]);
        partition.isr = [last].into();
    }
    if in_sync.contains(&partition.leader) {
        return shrunk;
    }
    let brokers = partition.brokers();
    let clean = brokers.iter().copied().find(|id| in_sync.contains(id));
    let leader = match clean {
        None if unclean => brokers.iter().copied().find(&lives),
        clean => clean,
    };
    let leader = leader.unwrap_or(-1);
    if leader == partition.leader {
        return shrunk;
    }
    let kept = partition.lead(leader, now);
    if clean.is_none() && leader >= 0 {
        partition.isr = [leader].into();
        cut(kept);
    }
    true
}
