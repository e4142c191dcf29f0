//! Racks of replicas as a Metadata response has them: brokers come first, then the replicas of each
//! partition, topic by topic in any order. One pass does: what has arrived lies in the order of the
//! topics, and is moved to its seats once all counts are known.

use core::cmp::Reverse;

use super::Leader;
use super::memory::{BrokerRack, Racks};
use super::racks::sum_of;
use crate::has;

/// Replicas of a partition that are considered. Topics have three or so, and comparing the racks
/// of many with one another would take long.
const REPLICAS: usize = 32;

/// How far a response is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Brokers that were named.
    brokers: usize,
    /// Racks of topics that have ended, and of the partitions of the one that arrives.
    ended: usize,
    open: usize,
    /// A sum that distinguishes the racks of all partitions; that of the last plan.
    sum: u32,
    planned: u32,
}

impl Arrival {
    pub(super) const NONE: Self = Self { brokers: 0, ended: 0, open: 0, sum: 0, planned: 0 };
}

impl Leader<'_> {
    /// Whether some member has a rack, so that those of replicas count.
    pub(crate) fn wants_racks(&self) -> bool {
        has::RACKS && self.racks > 0 && !self.memory.racks.is_empty()
    }

    /// Begins another response. `plans`: for a plan, or else only to be compared with the last one.
    pub(crate) fn begin_racks(&mut self, plans: bool) {
        let Arrival { planned, ended, .. } = self.arrival;
        let ended = if plans { 0 } else { ended };
        self.arrival = Arrival { planned, ended, ..Arrival::NONE };
        if plans {
            for topic in &mut self.memory.topics[..self.topics] {
                topic.racks = (0, 0);
            }
        }
    }

    /// Takes the rack of a broker. Those that there is no memory for are as if they had none.
    pub(crate) fn broker(&mut self, id: i32, rack: Option<&str>) {
        let Some(rack) = rack.filter(|rack| self.wants_racks() && !rack.is_empty()) else { return };
        let (rack, used) = (rack.as_bytes(), self.arrival.brokers);
        let racks = Racks { known: self.bit_of(rack), sum: sum_of(rack) };
        let Some(brokers) = self.memory.brokers.get_mut(..=used) else { return };
        let Err(place) = brokers[..used].binary_search_by_key(&id, |broker| broker.id) else {
            return;
        };
        brokers[used] = BrokerRack { id, racks };
        brokers[place..].rotate_right(1);
        self.arrival.brokers += 1;
    }

    /// Takes the replicas of a partition of a topic.
    pub(crate) fn replicas(
        &mut self,
        topic: usize,
        partition: u32,
        nodes: impl ExactSizeIterator<Item = i32>,
        plans: bool,
    ) {
        if !self.wants_racks() || topic >= self.topics {
            return;
        }
        let racks = self.racks_of_nodes(nodes);
        let name = sum_of(self.memory.topics[topic].name.of(&self.memory.bytes));
        let place = partition.wrapping_mul(0x85eb_ca6b) ^ name;
        // Any order of partitions has the same sum.
        let one = (place ^ racks.sum).wrapping_mul(0xc2b2_ae35);
        self.arrival.sum = self.arrival.sum.wrapping_add(one ^ (one >> 15));
        // A topic that was named before has its racks.
        if !plans || self.memory.topics[topic].racks.1 > 0 {
            return;
        }
        let Arrival { ended, open, .. } = self.arrival;
        let Some(rest) = self.memory.racks.get_mut(ended..) else { return };
        let partition = partition as usize;
        if partition >= rest.len() {
            return;
        }
        if partition >= open {
            rest[open..=partition].fill(Racks::EMPTY);
            self.arrival.open = partition + 1;
        }
        rest[partition] = racks;
    }

    /// A topic has ended: its racks go to their place among those of the others.
    pub(crate) fn end_replicas(&mut self, topic: usize) {
        let Arrival { ended, open, .. } = self.arrival;
        self.arrival.open = 0;
        let topics = &mut self.memory.topics[..self.topics];
        if open == 0 || topics.get(topic).is_none_or(|topic| topic.racks.1 > 0) {
            return;
        }
        let before = topics[..topic].iter().rev().find(|topic| topic.racks.1 > 0);
        let at = before.map_or(0, |topic| (topic.racks.0 + topic.racks.1) as usize);
        self.memory.racks[at..ended + open].rotate_right(open);
        topics[topic].racks = (at as u32, open as u32);
        for later in topics[topic + 1..].iter_mut().filter(|topic| topic.racks.1 > 0) {
            later.racks.0 += open as u32;
        }
        self.arrival.ended += open;
    }

    /// Moves racks to the seats of their partitions: the plan may have more or fewer of a topic
    /// than the response.
    pub(super) fn place_racks(&mut self) {
        let (topics, racks) = (&mut self.memory.topics[..self.topics], &mut *self.memory.racks);
        if racks.len() < self.seats {
            return;
        }
        let mut next = 0;
        for topic in topics.iter_mut() {
            let (at, len) = (topic.racks.0 as usize, topic.racks.1.min(topic.count) as usize);
            racks.copy_within(at..at + len, next);
            topic.racks = (next as u32, len as u32);
            next += len;
        }
        // From the last one on: each moves to where the ones behind it were.
        for topic in topics.iter_mut().rev() {
            let (at, len) = (topic.racks.0 as usize, topic.racks.1 as usize);
            racks.copy_within(at..at + len, topic.first);
            racks[topic.first + len..topic.end()].fill(Racks::EMPTY);
            topic.racks = (topic.first as u32, topic.count);
        }
        self.arrival.ended = self.seats;
    }

    /// Notes that a plan is made with what has arrived.
    pub(crate) fn racks_planned(&mut self) {
        self.arrival.planned = self.arrival.sum;
    }

    /// Whether other racks have arrived than the last plan was made with. A broker that starts may
    /// name none at all.
    #[cfg(feature = "coverage")]
    pub(crate) const fn have_racks_moved(&self) -> bool {
        self.arrival.brokers > 0 && self.arrival.planned != self.arrival.sum
    }

    /// Returns the racks of nodes; those that a response did not name, as they are down, have none.
    fn racks_of_nodes(&self, nodes: impl ExactSizeIterator<Item = i32>) -> Racks {
        let brokers = &self.memory.brokers[..self.arrival.brokers];
        let mut sums = [0; REPLICAS];
        let sums = &mut sums[..nodes.len().min(REPLICAS)];
        let mut all = Racks::EMPTY;
        for (to, node) in sums.iter_mut().zip(nodes) {
            if let Ok(at) = brokers.binary_search_by_key(&node, |broker| broker.id) {
                *to = brokers[at].racks.sum;
                all.known |= brokers[at].racks.known;
            }
        }
        sums.sort_unstable_by_key(|sum| Reverse(*sum));
        let mut last = 0;
        for sum in sums.iter().take_while(|sum| **sum != 0) {
            if *sum != last {
                all.sum = all.sum.wrapping_add(*sum);
            }
            last = *sum;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::LeaderMem;
    use super::*;
    use crate::memory::Rng;

    const TOPICS: [&str; 4] = ["a", "b", "c", "d"];
    const RACKS: [&str; 3] = ["x", "y", ""];

    /// Returns a leader of one member in rack `x` that subscribes to all topics.
    fn leader() -> Leader<'static> {
        let mut leader = Leader::new(LeaderMem::heap(1, TOPICS.len(), 24, 8, 1024));
        leader.begin();
        let mut bytes = alloc::vec![0, 3, 0, 0, 0, 4];
        TOPICS.iter().for_each(|name| bytes.extend([0, 1, name.as_bytes()[0]]));
        bytes.extend([255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255, 0, 1, b'x']);
        leader.member("m", None, &bytes).expect("it fits");
        leader
    }

    fn draw_order(rng: &mut Rng, len: usize) -> Vec<usize> {
        let mut order: Vec<_> = (0..len).collect();
        (1..len).for_each(|at| order.swap(at, rng.below(at as u32 + 1) as usize));
        order
    }

    /// What a response has is at the seats of its partitions, whatever the order, and also where
    /// the plan has more or fewer of a topic.
    #[test]
    fn racks_get_to_the_seats_of_their_partitions() {
        for seed in 0..500_u16 {
            let mut rng = Rng::new([(seed % 256) as u8 ^ (seed / 256 * 77) as u8; 32]);
            let mut leader = leader();
            // A response that breaks off leaves nothing.
            for _ in 0..2 {
                leader.begin_racks(true);
                let racks: Vec<_> = (0..6).map(|_| RACKS[rng.below(3) as usize]).collect();
                for id in draw_order(&mut rng, racks.len()) {
                    leader.broker(id as i32, Some(racks[id]));
                }
                let mut expected = Vec::new();
                let counts: Vec<_> = TOPICS.iter().map(|_| rng.below(7)).collect();
                let arrived: Vec<_> = TOPICS.iter().map(|_| rng.below(7)).collect();
                let of = |topic: usize, partition: usize| -> [usize; 3] {
                    [topic, partition, topic + 2 * partition].map(|node| node % 7)
                };
                for (topic, (count, arrived)) in counts.iter().zip(&arrived).enumerate() {
                    expected.extend((0..*count as usize).map(|partition| {
                        let mut names: Vec<_> = of(topic, partition)
                            .iter()
                            .filter_map(|node| racks.get(*node).filter(|rack| !rack.is_empty()))
                            .filter(|_| partition < *arrived as usize)
                            .collect();
                        names.sort_unstable();
                        names.dedup();
                        let sums = names.iter().map(|name| sum_of(name.as_bytes()));
                        let known = u32::from(names.contains(&&"x"));
                        (known, sums.fold(0_u32, u32::wrapping_add))
                    }));
                }
                for topic in draw_order(&mut rng, TOPICS.len()) {
                    for partition in draw_order(&mut rng, arrived[topic] as usize) {
                        let nodes = of(topic, partition).map(|node| node as i32);
                        leader.replicas(topic, partition as u32, nodes.into_iter(), true);
                    }
                    leader.end_replicas(topic);
                    leader.count(topic, counts[topic]);
                }
                leader.lay_out().expect("it fits");
                let racks = &leader.memory.racks[..leader.seats];
                let got: Vec<_> = racks.iter().map(|racks| (racks.known, racks.sum)).collect();
                assert_eq!(got, expected, "seed {seed}: {arrived:?} of {counts:?}");
            }
        }
    }
}
