//! Bookmarks: positions of the consumer, to be saved and restored.

use super::{Activity, Consumer};
use crate::api::Kind;
use crate::cluster::{Cluster, Cx};
use crate::config::Start;

/// The position in a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bookmark {
    pub(crate) partition: u32,
    /// Offset of the next record, from 0.
    pub(crate) offset: i64,
    /// Leader epoch of the last batch, -1 for none.
    pub(crate) last_epoch: i32,
    /// Leader epoch of the partition, -1 for none.
    pub(crate) leader_epoch: i32,
}

impl<'d> Consumer<'d> {
    /// Returns the number of partitions that a topic had when `assign_all` began to read it.
    pub(crate) fn first_of(&self, slot: usize) -> Option<u32> {
        let follow = &self.follows[slot];
        (follow.active && follow.begun).then_some(follow.first)
    }

    /// Returns the bookmark of an assigned partition; `None` while its start is being resolved.
    pub(crate) fn bookmark(&self, cluster: &Cluster<'d>, part: usize) -> Option<Bookmark> {
        let offset = self.position(part)?;
        let entry = &cluster.table[part];
        let last_epoch = self.reads[part].last_epoch;
        Some(Bookmark { partition: entry.index, offset, last_epoch, leader_epoch: entry.epoch })
    }

    /// Returns whether all partitions of a topic are read.
    pub(crate) fn is_followed(&self, slot: usize) -> bool {
        self.follows[slot].active
    }

    /// Resumes an `assign_all`: partitions from `first` on were added while the topic was read.
    pub(crate) fn follow_from(&mut self, slot: usize, first: u32) {
        let follow = &mut self.follows[slot];
        if follow.active {
            (follow.begun, follow.first) = (true, first);
        }
    }

    /// Moves a partition to a bookmark, if it is assigned by hand or by `assign_all`.
    pub(crate) fn put(&mut self, cx: &mut Cx<'d>, slot: usize, bookmark: &Bookmark) -> bool {
        let topic = cx.cluster.topic_id(slot);
        let known = cx.cluster.table.find(slot, bookmark.partition);
        let part = match known.filter(|part| self.reads[*part].state != Activity::Off) {
            Some(part) => part,
            None if self.follows[slot].active => {
                let start = Start::Offset(bookmark.offset);
                let Ok(at) = self.assign(cx, topic, bookmark.partition, start) else {
                    return false;
                };
                let part = at.index as usize;
                self.reads[part].assigned_news = true;
                self.report(part);
                part
            }
            None => return false,
        };
        let read = &mut self.reads[part];
        if bookmark.offset == 0 {
            read.begin_first();
        } else {
            read.begin(Start::Offset(bookmark.offset));
        }
        read.last_epoch = bookmark.last_epoch;
        let entry = &cx.cluster.table[part];
        let (leader, epoch) = (entry.leader(), entry.epoch.max(bookmark.leader_epoch));
        cx.cluster.set_leader(part, leader, epoch);
        read.unchecked = Kind::EPOCHS.is_some() && bookmark.last_epoch >= 0;
        self.relink(&cx.cluster, part);
        #[cfg(feature = "ordered-growth")]
        if self.follows[slot].active {
            self.hold_added(cx, part, self.follows[slot].first, false);
        }
        true
    }
}
