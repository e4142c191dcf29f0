//! read_committed: records of aborted transactions are left out, as Java's `CompletedFetch` does. A
//! response lists aborted transactions in front of a partition's records, by their ends: those that
//! begin first are kept, as many as there is memory for, and put in order. What might belong to one
//! that was not kept is fetched again.

use super::{Consumer, FetchMemo, Found};
use crate::cluster::Cx;
use crate::config::Isolation;
use crate::error::{Error, LimitKind};
use crate::memory::Mem;
use crate::record::{self, BatchHeader, ControlRecord, Malformed, Records};

/// An aborted transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aborted {
    producer_id: i64,
    first_offset: i64,
}

impl Aborted {
    pub(crate) const EMPTY: Self = Self { producer_id: 0, first_offset: 0 };
}

/// The memory for aborted transactions: as much for each connection.
pub(crate) struct AbortedMem<'d> {
    entries: Mem<'d, Aborted>,
    each: usize,
}

impl<'d> AbortedMem<'d> {
    pub(crate) const fn new(entries: Mem<'d, Aborted>, each: usize) -> Self {
        Self { entries, each }
    }

    /// Returns how many fit for a connection.
    pub(crate) const fn each(&self) -> usize {
        self.each
    }

    fn of(&mut self, conn: usize) -> &mut [Aborted] {
        let from = conn * self.each;
        self.entries.get_mut(from..from + self.each).unwrap_or_default()
    }
}

/// What is known of the aborted transactions in a partition's entry. In their list come first those
/// that are over, then those that began before the batch at the front, then the others by their
/// first offsets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filter {
    conn: u16,
    over: u16,
    begun: u16,
    kept: u16,
    /// Entries in the response.
    listed: u32,
    /// The lowest first offset that was not kept; zero where `listed` is not above `kept`.
    bound: i64,
    /// What comes next may belong to a transaction that was not kept.
    stuck: bool,
}

impl Filter {
    pub(super) fn new(conn: usize) -> Self {
        Self { conn: conn as u16, ..Self::default() }
    }

    const fn is_complete(&self) -> bool {
        self.listed == self.kept as u32
    }

    /// Returns an error if the entry ended at what may belong to a transaction that was not kept.
    pub(super) fn limit(&self) -> Option<Error> {
        let error = Error::Limit { what: LimitKind::Aborted, needed: self.listed as usize };
        self.stuck.then_some(error)
    }

    /// Adds an entry. Until all are known they are a heap, with the highest first offset in front.
    fn add(&mut self, list: &mut [Aborted], new: Aborted) {
        let full = usize::from(self.kept) == list.len();
        let mut dropped = new.first_offset;
        if !full {
            let mut at = usize::from(self.kept);
            list[at] = new;
            self.kept += 1;
            while at > 0 && list[(at - 1) / 2].first_offset < list[at].first_offset {
                list.swap(at, (at - 1) / 2);
                at = (at - 1) / 2;
            }
        } else if let Some(last) = list.first_mut()
            && guard!("those that begin first are kept", last.first_offset > dropped)
        {
            dropped = core::mem::replace(last, new).first_offset;
            sink(list);
        }
        if full {
            self.bound = if self.is_complete() { dropped } else { self.bound.min(dropped) };
        }
        self.listed = self.listed.saturating_add(1);
    }

    /// Puts the entries in order, once all are known.
    fn sort(&self, list: &mut [Aborted]) {
        let mut heap = list.get_mut(..usize::from(self.kept)).unwrap_or_default();
        while let [.., _] = heap {
            let last = heap.len() - 1;
            heap.swap(0, last);
            heap = &mut heap[..last];
            sink(heap);
        }
    }

    /// Takes those into account that begin up to an offset.
    fn reach(&mut self, list: &[Aborted], offset: i64) {
        while self.begun < self.kept
            && list.get(usize::from(self.begun)).is_some_and(|next| next.first_offset <= offset)
        {
            self.begun += 1;
        }
    }

    /// Returns the transactions that began and are not over.
    const fn open(&self) -> core::ops::Range<usize> {
        self.over as usize..self.begun as usize
    }

    /// Whether a producer's records are aborted, up to its next marker. Its epoch does not matter:
    /// that of the marker may be another one (KIP-890).
    fn hides(&self, list: &[Aborted], producer_id: i64) -> bool {
        let open = list.get(self.open()).unwrap_or_default();
        open.iter().any(|aborted| aborted.producer_id == producer_id)
    }

    /// Ends a producer's aborted transactions.
    fn end(&mut self, list: &mut [Aborted], producer_id: i64) {
        for at in self.open() {
            if list[at].producer_id == producer_id {
                list.swap(at, usize::from(self.over));
                self.over += 1;
            }
        }
    }
}

/// Moves the first of a heap to its place.
fn sink(heap: &mut [Aborted]) {
    let mut at = 0;
    loop {
        let mut child = 2 * at + 1;
        let Some(left) = heap.get(child) else { return };
        if heap.get(child + 1).is_some_and(|right| right.first_offset > left.first_offset) {
            child += 1;
        }
        if heap[child].first_offset <= heap[at].first_offset {
            return;
        }
        heap.swap(at, child);
        at = child;
    }
}

/// Whether a control batch ends an aborted transaction. Compaction leaves batches without a record.
fn aborts(header: &BatchHeader, bytes: &[u8]) -> Result<bool, Malformed> {
    let Some(marker) = Records::new(header, bytes).next() else { return Ok(false) };
    let key = ControlRecord::parse(marker?.key.unwrap_or_default())?;
    Ok(key == ControlRecord::Abort)
}

impl<'d> Consumer<'d> {
    /// Notes an aborted transaction around the records that follow. Some brokers name them although
    /// all records are read.
    pub(super) fn note_aborted(
        &mut self,
        cx: &Cx<'d>,
        memo: &mut FetchMemo,
        producer_id: i64,
        first_offset: i64,
    ) {
        let wanted = cx.settings.isolation == Isolation::ReadCommitted;
        if guard!("who reads all is given all", wanted => true) && !memo.discard {
            let list = self.aborted.of(memo.filter.conn.into());
            memo.filter.add(list, Aborted { producer_id, first_offset });
        }
    }

    /// Notes that all aborted transactions are known: the records follow.
    pub(super) fn order_aborted(&mut self, memo: &FetchMemo) {
        let list = self.aborted.of(memo.filter.conn.into());
        guard!("aborted transactions come in any order", memo.filter.sort(list) => ());
    }

    /// Withholds a complete batch that is aborted, or may be. Markers end what is aborted; they are
    /// left to the caller.
    pub(super) fn withheld<'a>(
        &mut self,
        memo: &mut FetchMemo,
        part: usize,
        header: &BatchHeader,
        bytes: &[u8],
    ) -> Option<Found<'a>> {
        let filter = &mut memo.filter;
        if filter.listed == 0 {
            return None;
        }
        let list = self.aborted.of(filter.conn.into());
        filter.reach(list, header.last_offset());
        let hides = filter.hides(list, header.producer_id);
        if header.is_control() {
            if hides {
                match aborts(header, bytes) {
                    Ok(true) => guard!("a marker ends what is aborted",
                        filter.end(list, header.producer_id) => ()),
                    Ok(false) => {}
                    Err(why) => return Some(self.corrupt(part, header.next_offset(), why)),
                }
            }
            return None;
        }
        if guard!("what is in no transaction is given", !header.is_transactional()) {
            return None;
        }
        if guard!("what was aborted is not given", hides) {
            let read = &mut self.reads[part];
            (read.position, read.last_epoch) =
                (header.next_offset(), header.partition_leader_epoch);
            self.moved_on(part);
            return Some(Found::Skip(bytes.len()));
        }
        let unknown =
            !filter.is_complete() && header.last_offset() >= filter.bound && header.count != 0;
        if guard!("what may be aborted is not given", unknown) {
            filter.stuck = true;
            return Some(Found::Drop);
        }
        None
    }

    /// Examines a batch before the position: a marker there counts. `total` is its length.
    pub(super) fn pass_marker<'a>(
        &mut self,
        memo: &mut FetchMemo,
        part: usize,
        header: &BatchHeader,
        (bytes, total): (&[u8], usize),
    ) -> Option<Found<'a>> {
        if memo.filter.listed == 0 || !header.is_control() || total > self.rx_bytes {
            return None;
        }
        let Some(batch) = bytes.get(..total) else { return Some(Found::More) };
        if let Err(why) = record::check_crc(batch) {
            return Some(self.corrupt(part, self.reads[part].position, why));
        }
        self.withheld(memo, part, header, batch)
    }
}
