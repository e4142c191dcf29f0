//! Transactions as a log has them (`ProducerStateManager`, `TransactionIndex`): which are open, and
//! which were aborted. All of it follows from the batches.

use std::collections::HashMap;

use bytes::Bytes;

use crate::batch::{self, Header};

/// A transaction that is over.
#[derive(Clone, Copy, Debug)]
struct Over {
    producer_id: i64,
    /// First offset of its records.
    first: i64,
    /// Offset of its marker.
    marker: i64,
    aborted: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Transactions {
    /// First offsets of those that are open, by producer id.
    open: HashMap<i64, i64>,
    /// In the order of their ends.
    over: Vec<Over>,
}

impl Transactions {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes an appended batch into account. A marker without records leaves no entry.
    pub(super) fn note(&mut self, header: &Header, bytes: &Bytes, base: i64) {
        if !header.is_transactional() {
            return;
        }
        let producer_id = header.producer_id;
        if !header.is_control() {
            self.open.entry(producer_id).or_insert(base);
            return;
        }
        let marker = base + i64::from(header.last_offset_delta);
        if let Some(commits) = batch::commits(bytes)
            && let Some(first) = self.open.remove(&producer_id)
        {
            self.over.push(Over { producer_id, first, marker, aborted: !commits });
        }
    }

    /// Returns the last stable offset: the first one of a transaction that is open, or whose marker
    /// is not below the high watermark.
    pub(super) fn stable(&self, high_watermark: i64) -> i64 {
        let unknown = self.over.iter().filter(|over| over.marker >= high_watermark);
        let firsts = self.open.values().copied().chain(unknown.map(|over| over.first));
        firsts.fold(high_watermark, i64::min)
    }

    /// Returns (producer id, first offset) of transactions that were aborted around these offsets.
    pub(super) fn aborted(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        let around = |over: &&Over| over.aborted && over.marker >= from && over.first < to;
        self.over.iter().filter(around).map(|over| (over.producer_id, over.first)).collect()
    }

    /// Returns whether an offset is part of a producer's transaction that is open, or was aborted.
    pub(super) fn hides(&self, producer_id: i64, offset: i64) -> bool {
        let open = self.open.get(&producer_id).is_some_and(|first| *first <= offset);
        let of = |over: &Over| over.producer_id == producer_id && over.aborted;
        let within = |over: &Over| (over.first..=over.marker).contains(&offset);
        open || self.over.iter().any(|over| of(over) && within(over))
    }
}
