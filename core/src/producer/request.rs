//! Produce requests: which batches go into one, its bytes, and the headers of the batches.

use super::lane::Due;
#[cfg(feature = "pack")]
use super::pack::codec_of;
use super::send::Next;
use super::{Batch, Marks, Place, Producer, Stage};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::connection::{BY_NAME, Draft, Net};
#[cfg(feature = "pack")]
use crate::has::PIECES;
use crate::memory::Link;
use crate::record::{self, HEADER_LEN, Seal};
use crate::time::{Span, Tick};
#[cfg(feature = "pack")]
use crate::wire::ApiKey;
use crate::wire::{Full, produce};

/// The first batch to a new partition takes its followers up to 1.6 s: its request must not time
/// out earlier, however close its delivery deadline is (R11).
const LEAST_TIMEOUT: Span = Span::from_secs(2);

/// Batches for one request.
struct Picked {
    first: Link,
    last: Link,
    topics: usize,
    count: usize,
    bytes: usize,
    /// The limit of `count`.
    most: usize,
    /// All of the topics have ids.
    ids: bool,
    /// Something of it has to be packed first.
    #[cfg(feature = "pack")]
    waits: bool,
}

impl<'d> Producer<'d> {
    /// Sends one Produce request with what is due of a lane; `None` when nothing (more) is due,
    /// false when it cannot be made now.
    pub(super) fn send_request(
        &mut self,
        cx: &mut Cx<'d>,
        (lane, conn): (usize, usize),
        due: Due,
    ) -> Option<bool> {
        let mut most = usize::MAX;
        let (draft, first) = loop {
            let picked = self.pick_batches(cx, lane, due, most);
            #[cfg(feature = "pack")]
            if PIECES && picked.waits && !self.goes_early(cx, conn, &picked) {
                self.unpick(cx, &picked);
                return Some(false);
            }
            if picked.count == 0 {
                return None;
            }
            match self.draft(cx, conn, &picked) {
                Some(draft) => break (draft, picked.first),
                // Short of memory: a smaller request may fit.
                None if picked.count > 1 && cx.net.takes_requests(conn, cx.now) => {
                    most = picked.count / 2
                }
                None => return Some(false),
            }
        };
        let correlation = draft.correlation();
        let mut oldest = cx.now;
        let mut link = first;
        while let Some(batch) = link.get() {
            link = cx.net.outgoing[batch].next;
            oldest = oldest.min(self.batches[batch].created);
            self.depart(cx, batch, correlation);
            let part = self.batches[batch].part as usize;
            self.place(cx, part);
            if let Some(other) = self.queues[part].lane.get().filter(|other| *other != lane) {
                self.wake(other);
            }
        }
        let due = oldest + cx.settings.delivery_timeout;
        let deadline = (cx.now + cx.settings.request_timeout).min(due.max(cx.now + LEAST_TIMEOUT));
        let silent = Self::silent(cx.settings.acks);
        cx.net.commit(cx.now, draft, [0; 2], deadline, first, silent);
        Some(true)
    }

    /// Makes a batch part of a request.
    fn depart(&mut self, cx: &mut Cx<'d>, batch: usize, request: i32) {
        self.seal(&mut cx.net, batch);
        self.txn.depart();
        let b = &mut self.batches[batch];
        b.stage = Stage::Sent;
        b.out_of_sequence &= guard!("a refusal is of one try", false => true);
        b.request = request;
        b.attempts = b.attempts.saturating_add(1);
        let q = &mut self.queues[b.part as usize];
        q.in_flight += 1;
        let epoch = cx.cluster.table[b.part as usize].epoch;
        let same = guard!("another leader's first batch alone", q.sent_epoch == epoch => true);
        q.marks.keep(Marks::KNOWN, same);
        q.sent_epoch = epoch;
    }

    /// Makes a request with the batches that were picked; `None` when that is not possible now.
    fn draft(&mut self, cx: &mut Cx<'d>, conn: usize, picked: &Picked) -> Option<Draft> {
        let cap = if picked.ids { i16::MAX } else { BY_NAME }.min(self.txn.cap());
        let mut draft = cx.net.open(conn, cx.now, Kind::Produce, cap);
        if let Some(written) = &mut draft
            && self.write_request(cx, written, picked).is_err()
            && let Some(draft) = draft.take()
        {
            cx.net.abandon(draft);
        }
        let mut link = picked.first;
        while let Some(batch) = link.get() {
            link = cx.net.outgoing[batch].next;
            let part = self.batches[batch].part as usize;
            self.spreads[usize::from(cx.cluster.table[part].topic)].picked = 0;
        }
        draft
    }

    /// Chooses one batch per partition of a lane, `most` in all, linked topic by topic. Those that
    /// are left out come first in the next request, since the picked ones move to the end.
    fn pick_batches(&mut self, cx: &mut Cx<'d>, lane: usize, due: Due, most: usize) -> Picked {
        let mut picked = Picked {
            first: Link::NONE,
            last: Link::NONE,
            topics: 0,
            count: 0,
            bytes: 0,
            most,
            ids: true,
            #[cfg(feature = "pack")]
            waits: false,
        };
        match due {
            Due::Nothing(_) => {}
            Due::First => self.pick_from(cx, lane, (Place::First, Tick::NEVER), &mut picked),
            Due::Some(begun) => {
                self.pick_from(cx, lane, (Place::Ready, Tick::NEVER), &mut picked);
                self.pick_from(cx, lane, (Place::Open, begun), &mut picked);
            }
        }
        picked
    }

    /// Does the same from one list, with batches that were begun by then.
    fn pick_from(
        &mut self,
        cx: &mut Cx<'d>,
        lane: usize,
        (place, begun): (Place, Tick),
        picked: &mut Picked,
    ) {
        let mut link = self.lanes[lane].first(place).map_or(Link::NONE, Link::to);
        while let Some(part) = link.get() {
            link = self.places.next(part);
            let batch = match self.next_batch(cx, part) {
                Next::Send(batch) => batch,
                Next::Hold => continue,
                Next::Blocked => {
                    self.unplace(part);
                    continue;
                }
            };
            let b = &self.batches[batch];
            if b.created > begun {
                continue;
            }
            #[cfg(feature = "pack")]
            let b = {
                if picked.count == picked.most {
                    return;
                }
                if !self.prepare(cx, batch) {
                    picked.waits = true;
                    return;
                }
                &self.batches[batch]
            };
            let len = b.chain.len();
            let full = picked.bytes > 0 && picked.bytes + len > cx.settings.request_bytes;
            if full || picked.count == picked.most {
                return;
            }
            picked.bytes += len;
            let slot = usize::from(cx.cluster.table[part].topic);
            picked.ids &= !cx.cluster.topics[slot].lacks_id();
            picked.count += 1;
            cx.net.outgoing[batch].chain = b.chain;
            self.pick(&mut cx.net, picked, slot, batch);
        }
    }

    /// Inserts a batch after those of its topic.
    fn pick(&mut self, net: &mut Net<'d>, picked: &mut Picked, slot: usize, batch: usize) {
        let spread = &mut self.spreads[slot];
        let before = match spread.picked {
            0 => {
                picked.topics += 1;
                picked.last
            }
            _ => spread.picked_last,
        };
        spread.picked += 1;
        spread.picked_last = Link::to(batch);
        match before.get() {
            Some(before) => {
                net.outgoing[batch].next = net.outgoing[before].next;
                net.outgoing[before].next = Link::to(batch);
            }
            None => {
                net.outgoing[batch].next = Link::NONE;
                picked.first = Link::to(batch);
            }
        }
        if picked.last == before {
            picked.last = Link::to(batch);
        }
    }

    /// Returns whether what has been packed so far is sent: the broker has nothing to do.
    #[cfg(feature = "pack")]
    fn goes_early(&self, cx: &Cx<'d>, conn: usize, picked: &Picked) -> bool {
        picked.count > 0 && cx.net.conns[conn].pending_of(ApiKey::PRODUCE) == 0
    }

    /// Undoes what [`Self::pick`] notes of topics.
    #[cfg(feature = "pack")]
    fn unpick(&mut self, cx: &Cx<'d>, picked: &Picked) {
        let mut link = picked.first;
        while let Some(batch) = link.get() {
            link = cx.net.outgoing[batch].next;
            let part = self.batches[batch].part as usize;
            self.spreads[usize::from(cx.cluster.table[part].topic)].picked = 0;
        }
    }

    fn write_request(
        &mut self,
        cx: &mut Cx<'d>,
        draft: &mut Draft,
        picked: &Picked,
    ) -> Result<(), Full> {
        let timeout = cx.settings.request_timeout.millis();
        let acks = cx.settings.acks.code();
        let topics = picked.topics;
        let (net, settings) = (&mut cx.net, &cx.settings);
        let id = self.txn.id(settings);
        net.write(draft, &mut |w, version| produce::begin(w, version, id, acks, timeout, topics))?;
        let mut link = picked.first;
        let mut current = None;
        while let Some(batch) = link.get() {
            link = cx.net.outgoing[batch].next;
            let entry = &cx.cluster.table[self.batches[batch].part as usize];
            let slot = usize::from(entry.topic);
            let topic = &cx.cluster.topics[slot];
            let partitions = self.spreads[slot].picked as usize;
            let len = self.batches[batch].chain.len();
            let opens = current != Some(slot);
            let closes = opens && current.is_some();
            current = Some(slot);
            cx.net.write(draft, &mut |w, version| {
                if closes {
                    produce::end_topic(w, version)?;
                }
                if opens {
                    produce::topic(w, version, topic.name.as_str(), topic.id, partitions)?;
                }
                produce::partition(w, version, entry.index as i32, len)
            })?;
            cx.net.outgoing[batch].ctl_end = draft.len();
            cx.net.write(draft, &mut |w, version| produce::end_partition(w, version))?;
        }
        cx.net.write(draft, &mut |w, version| {
            produce::end_topic(w, version)?;
            produce::end(w, version)
        })
    }

    /// Fixes producer id, epoch, sequence and checksum; they stay the same in every retry.
    fn seal(&mut self, net: &mut Net<'d>, batch: usize) {
        let idempotent = self.idempotent();
        let b = &mut self.batches[batch];
        if guard!("a batch keeps its sequence", b.sealed) {
            return;
        }
        let (part, slot) = (b.part as usize, usize::from(b.to.topic.index));
        let restarts = self.is_of_other_epoch(&self.queues[part]);
        let b = &mut self.batches[batch];
        if !idempotent {
            (b.epoch, b.sequence) = (-1, -1);
            b.producer_id.set(-1);
        } else if guard!("a batch keeps its sequence", b.sequence < 0 => true) {
            let p = &mut self.queues[part];
            // A known sequence of 0 has wrapped.
            let unknown = p.next_sequence == 0 && p.in_flight == 0 && !p.marks.has(Marks::KNOWN);
            let mark = self.producer_id as i32;
            if unknown || restarts || p.id_mark != mark {
                let same = (p.id_mark, p.epoch) == (mark, self.epoch);
                p.marks.keep(Marks::KNOWN, same);
                (p.id_mark, p.epoch) = (mark, self.epoch);
                p.next_sequence = self.rare.sequence(self.epoch);
            }
            (b.id_mark, b.epoch) = (mark, p.epoch);
            b.producer_id.set(self.producer_id);
            b.sequence = p.next_sequence;
            p.next_sequence = advance(p.next_sequence, b.count);
        }
        self.unstick(slot, part);
        self.write_header(net, batch);
    }

    /// Writes the header of a batch over its first bytes.
    fn write_header(&mut self, net: &mut Net<'d>, batch: usize) {
        let b: &Batch = &self.batches[batch];
        let seal = Seal {
            producer_id: b.producer_id.or(if b.epoch < 0 { -1 } else { self.producer_id }),
            producer_epoch: b.epoch,
            base_sequence: b.sequence,
            count: b.count,
            base_timestamp: b.base,
            max_timestamp: b.max_timestamp,
            transactional: self.txn.is_on(),
            #[cfg(feature = "pack")]
            codec: codec_of(b),
            #[cfg(not(feature = "pack"))]
            codec: 0,
        };
        let records = net.blocks.slices(&b.chain, HEADER_LEN, b.chain.len());
        if let Some(header) = record::seal(&seal, records) {
            net.blocks.patch(&b.chain, &header);
        }
        self.batches[batch].sealed = true;
    }
}

/// Returns the sequence after `count` records; wraps from 2^31 - 1 to 0 (Java's incrementSequence).
pub(super) fn advance(sequence: i32, count: u32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) & i64::from(i32::MAX)) as i32
}

#[cfg(test)]
mod tests {
    use super::advance;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(advance(0, 5), 5);
        assert_eq!(advance(i32::MAX, 1), 0);
        assert_eq!(advance(i32::MAX - 1, 3), 1);
    }
}
