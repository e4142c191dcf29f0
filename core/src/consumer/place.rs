//! Where reading stands, to be saved and restored.

use super::{Consumer, State};
use crate::api::Kind;
use crate::cluster::Cluster;
use crate::config::Start;
use crate::time::Tick;

/// Where reading of a partition stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) partition: u32,
    /// Offset of the next record, from 0.
    pub(crate) offset: i64,
    /// Leader epoch of the last batch, -1 for none.
    pub(crate) last_epoch: i32,
    /// Leader epoch of the partition, -1 for none.
    pub(crate) leader_epoch: i32,
}

impl<'d> Consumer<'d> {
    /// Partitions that a topic had when `assign_all` began to read it.
    pub(crate) fn first_of(&self, slot: usize) -> Option<u32> {
        let follow = &self.follows[slot];
        (follow.active && follow.begun).then_some(follow.first)
    }

    /// The place of an assigned partition; `None` while its start is being resolved.
    pub(crate) fn place(&self, cluster: &Cluster<'d>, part: usize) -> Option<Place> {
        let offset = self.position(part)?;
        let entry = &cluster.table[part];
        let last_epoch = self.reads[part].last_epoch;
        Some(Place { partition: entry.index, offset, last_epoch, leader_epoch: entry.epoch })
    }

    /// Whether all partitions of a topic are read.
    pub(crate) fn is_followed(&self, slot: usize) -> bool {
        self.follows[slot].active
    }

    /// An `assign_all` goes on: partitions from `first` on were added while the topic was read.
    pub(crate) fn follow_from(&mut self, slot: usize, first: u32) {
        let follow = &mut self.follows[slot];
        if follow.active {
            (follow.begun, follow.first) = (true, first);
        }
    }

    /// Puts a partition to a place, if it is assigned by hand or by `assign_all`.
    pub(crate) fn put(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Tick,
        slot: usize,
        place: &Place,
    ) -> bool {
        let topic = cluster.topic_id(slot);
        let known = cluster.table.find(slot, place.partition);
        let part = match known.filter(|part| self.reads[*part].state != State::Off) {
            Some(part) => part,
            None if self.follows[slot].active => {
                let start = Start::Offset(place.offset);
                let Ok(at) = self.assign(cluster, now, topic, place.partition, start) else {
                    return false;
                };
                let part = at.index as usize;
                self.reads[part].assigned_news = true;
                self.tell(part);
                part
            }
            None => return false,
        };
        let read = &mut self.reads[part];
        if place.offset == 0 {
            read.begin_first();
        } else {
            read.begin(Start::Offset(place.offset));
        }
        read.last_epoch = place.last_epoch;
        let entry = &cluster.table[part];
        let (leader, epoch) = (entry.leader(), entry.epoch.max(place.leader_epoch));
        cluster.set_leader(part, leader, epoch);
        read.unchecked = Kind::EPOCHS.is_some() && place.last_epoch >= 0;
        self.relink(cluster, part);
        true
    }
}
