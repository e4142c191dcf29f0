//! Which batches go out now, and the requests that carry them.

use super::{Batch, Identity, Producer, State};
use crate::api::Kind;
use crate::cluster::{Cluster, Wish};
use crate::config::Acks;
use crate::connection::{Draft, Net, PRODUCE_IN_FLIGHT, Role};
use crate::error::Error;
use crate::memory::{Link, backoff};
use crate::record::{self, HEADER_LEN, Seal};
use crate::time::{Duration, Instant, millis};
use crate::wire::table::Segment;
use crate::wire::{ApiKey, Encode, ErrorCode, Full, Uuid, init_producer_id, produce};

/// The first batch to a new partition takes its followers up to 1.6 s: its request may not time
/// out earlier, however close its delivery deadline is (R11).
const LEAST_TIMEOUT: Duration = Duration::from_secs(2);

/// Batches for one request.
struct Picked {
    first: Link,
    topics: usize,
    count: usize,
    /// All of the topics have ids.
    ids: bool,
}

/// What a partition can do now.
enum Next {
    Send(usize),
    /// Nothing before this, if nothing happens.
    Wait(Instant),
}

impl<'d> Producer<'d> {
    /// Sends and expires what is due; returns when to look again.
    // Its frame ends before the next part's begins: a device has little stack.
    #[inline(never)]
    pub(crate) fn drive(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
    ) -> Instant {
        self.dirty = false;
        self.prune_active();
        let mut next = self.drive_identity(cluster, net, now);
        let mut link = self.active;
        let mut last = (-1, None);
        while let Some(part) = link.get() {
            link = self.parts[part].next_active;
            next = next.min(self.expire(cluster, net, now, part));
            self.split_due(net, part);
            match self.next_batch(cluster, now, part) {
                Next::Wait(at) => next = next.min(at),
                Next::Send(_) => {
                    let leader = cluster.table[part].leader();
                    if last.0 != leader || leader < 0 {
                        let (conn, at) = connection_to(cluster, net, now, part);
                        last = (leader, conn);
                        next = next.min(at);
                    }
                    if let Some(conn) = last.1 {
                        net.conns[conn].due = true;
                    }
                }
            }
        }
        for conn in 0..net.conns.len() {
            if core::mem::take(&mut net.conns[conn].due) {
                while self.send_request(cluster, net, now, conn) {}
                if now < net.conns[conn].throttled_until {
                    next = next.min(net.conns[conn].throttled_until);
                }
            }
        }
        next = next.min(self.check_room(&net.blocks, cluster, now));
        net.short |= self.wants_blocks > 0;
        self.deadline = next;
        next
    }

    /// Gets a producer id when batches wait for one.
    fn drive_identity(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
    ) -> Instant {
        match self.identity {
            Identity::Asked(at) | Identity::Wanted(at) if at > now => return at,
            Identity::Asked(_) | Identity::Wanted(_) if !self.active.is_none() => {}
            _ => return Instant::NEVER,
        }
        let soon = now + Duration::from_millis(20);
        let kind = Kind::InitProducerId;
        let Some(conn) = cluster.pick_main(net, now, None, kind) else { return soon };
        let request = init_producer_id::Request {
            transactional_id: None,
            timeout_ms: i32::MAX,
            producer_id: -1,
            producer_epoch: -1,
        };
        let draft = net.draft(conn, now, kind, &mut |w, version| request.encode(version, w));
        let Some(draft) = draft else { return soon };
        net.send(now, draft, [0; 2], &cluster.config.request_timeout);
        let until = now + Duration::from_secs(2);
        self.identity = Identity::Asked(until);
        until
    }

    /// The answer to InitProducerId.
    pub(crate) fn on_init_producer_id(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Instant,
        got: Segment<'_, '_>,
    ) {
        if let Some(init_producer_id::Item::Answer { error, producer_id, producer_epoch, .. }) =
            init_producer_id::item(got)
        {
            let answer = match error {
                ErrorCode(0) => Ok((producer_id, producer_epoch)),
                error => Err(Error::Broker(error)),
            };
            self.on_identity(cluster, now, answer);
        }
    }

    /// A producer id, or why there is none.
    pub(crate) fn on_identity(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Instant,
        answer: Result<(i64, i16), Error>,
    ) {
        if !matches!(self.identity, Identity::Asked(_)) {
            return;
        }
        self.dirty = true;
        match answer {
            Ok((id, epoch)) if id >= 0 && epoch >= 0 => {
                (self.producer_id, self.epoch) = (id, epoch);
                self.identity = Identity::Known;
                self.identity_failures = 0;
            }
            Err(Error::Broker(code)) if !code.is_retriable() && code.0 != -1 => {
                let until = now + cluster.config.retry_backoff_max;
                self.identity = Identity::Refused(Error::Broker(code), until);
            }
            _ => {
                let (base, max) =
                    (&cluster.config.retry_backoff, &cluster.config.retry_backoff_max);
                let at = backoff(&mut cluster.rng, now, base, max, self.identity_failures);
                self.identity_failures = self.identity_failures.saturating_add(1);
                self.identity = Identity::Wanted(at);
            }
        }
    }

    /// Fails what waited too long, or waits for a producer id that is refused. Returns the next
    /// deadline.
    fn expire(
        &mut self,
        cluster: &Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
        part: usize,
    ) -> Instant {
        loop {
            let sent =
                |b: &Batch| guard!("a batch on its way keeps its memory", b.state == State::Sent);
            let Some(batch) = self.first_not(part, sent) else { return Instant::NEVER };
            let b = &self.batches[batch];
            let deadline = b.created + cluster.config.delivery_timeout;
            let error = match self.identity {
                Identity::Refused(error, _) => error,
                _ if guard!("delivery deadline", deadline <= now) => Error::TimedOut,
                _ => return deadline,
            };
            let maybe = b.maybe_written;
            self.finish(&mut net.blocks, part, batch, Err((error, maybe)));
        }
    }

    /// The batch of a partition that may be sent now, if any: order and sequence decide.
    fn next_batch(&mut self, cluster: &Cluster<'d>, now: Instant, part: usize) -> Next {
        let idempotent = self.idempotent();
        let Some(batch) = self.first_waiting(part) else { return Next::Wait(Instant::NEVER) };
        if guard!("a broken sequence begins a new epoch", self.parts[part].bump) {
            if guard!("a new epoch waits for the old one", self.parts[part].in_flight > 0) {
                return Next::Wait(Instant::NEVER);
            }
            // What may be in the log goes again as it was: only so can the broker recognise it.
            let b = &self.batches[batch];
            let kept = b.sealed && b.maybe_written && !b.out_of_sequence;
            if !guard!("what may be written goes again as it was", kept) {
                self.restart_sequence(part);
            }
        }
        let (p, b) = (&self.parts[part], &self.batches[batch]);
        let entry = &cluster.table[part];
        // Another leader may have lost what the last one knew (an unclean election).
        let same =
            guard!("another leader's first batch alone", entry.epoch == p.sent_epoch => true);
        let most = match cluster.config.acks {
            Acks::None => u8::MAX,
            // A leader that has never heard of this producer takes any sequence for the first:
            // the second batch must not overtake it.
            _ if idempotent && guard!("first batch alone", p.known && same => true) => {
                PRODUCE_IN_FLIGHT as u8
            }
            _ => 1,
        };
        if b.oversize {
            return Next::Wait(Instant::NEVER);
        }
        // A batch that was sent before goes alone and in its turn (SenderTest calls this
        // "multiple in flights retried in order").
        let full = guard!("batches in flight", p.in_flight >= most);
        if full || guard!("retries alone", b.attempts > 0 && p.in_flight > 0) {
            let first = self.parts[part].head.get();
            if b.attempts == 0 || first != Some(batch) {
                return Next::Wait(Instant::NEVER);
            }
        }
        // A leader that nobody asked yet is asked at once (KIP-951).
        if p.retry_at > now && (entry.leader() < 0 || entry.epoch <= p.sent_epoch) {
            return Next::Wait(p.retry_at);
        }
        if idempotent && !b.sealed {
            let is_new_id = p.producer_id != self.producer_id;
            let waits = guard!("a new producer id waits", is_new_id && p.in_flight > 0);
            if self.identity != Identity::Known || waits {
                return Next::Wait(Instant::NEVER);
            }
        }
        if b.state == State::Open {
            let lingers = b.created + cluster.config.linger;
            let full = b.chain.len() >= cluster.config.batch_bytes;
            if lingers > now && !full && !self.pressure {
                return Next::Wait(lingers);
            }
        }
        Next::Send(batch)
    }

    /// One Produce request to one broker; false when there is nothing (more) to send.
    fn send_request(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
        conn: usize,
    ) -> bool {
        if net.conns[conn].pending_of(ApiKey::PRODUCE) >= PRODUCE_IN_FLIGHT {
            return false;
        }
        let mut most = usize::MAX;
        let (draft, first, count) = loop {
            let picked = self.pick_batches(cluster, net, now, conn, most);
            if picked.count == 0 {
                return false;
            }
            match self.draft(cluster, net, now, conn, &picked) {
                Some(draft) => break (draft, picked.first, picked.count as u32),
                // Short of memory: a smaller request may find room.
                None if picked.count > 1 && net.is_open(conn, now) => most = picked.count / 2,
                None => return false,
            }
        };
        let correlation = draft.correlation();
        let mut oldest = now;
        let mut link = first;
        while let Some(batch) = link.get() {
            link = net.outgoing[batch].next;
            self.seal(net, batch);
            oldest = oldest.min(self.batches[batch].created);
            let b = &mut self.batches[batch];
            b.state = State::Sent;
            b.out_of_sequence &= guard!("a refusal is of one try", false => true);
            b.request = correlation;
            b.attempts = b.attempts.saturating_add(1);
            let p = &mut self.parts[b.part as usize];
            p.in_flight += 1;
            let epoch = cluster.table[b.part as usize].epoch;
            p.known &= guard!("another leader's first batch alone", p.sent_epoch == epoch => true);
            p.sent_epoch = epoch;
        }
        let due = oldest + cluster.config.delivery_timeout;
        let deadline = (now + cluster.config.request_timeout).min(due.max(now + LEAST_TIMEOUT));
        let silent = Self::silent(cluster.config.acks);
        net.commit(now, draft, [count, 0], deadline, first, silent);
        true
    }

    /// A request with the batches that were picked; `None` when it cannot be made now.
    fn draft(
        &mut self,
        cluster: &Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
        conn: usize,
        picked: &Picked,
    ) -> Option<Draft> {
        // Version 13 names topics by id only (KIP-516).
        let cap = if picked.ids { i16::MAX } else { 12 };
        let mut draft = net.open(conn, now, Kind::Produce, cap);
        if let Some(written) = &mut draft
            && self.write_request(cluster, net, written, picked).is_err()
            && let Some(draft) = draft.take()
        {
            net.abandon(draft);
        }
        let mut link = picked.first;
        while let Some(batch) = link.get() {
            link = net.outgoing[batch].next;
            let part = self.batches[batch].part as usize;
            self.topics[usize::from(cluster.table[part].topic)].picked = 0;
        }
        draft
    }

    /// Chooses one batch per partition of a broker, `most` in all, linked topic by topic.
    fn pick_batches(
        &mut self,
        cluster: &Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
        conn: usize,
        most: usize,
    ) -> Picked {
        let node = net.conns[conn].peer.node();
        let mut picked = Picked { first: Link::NONE, topics: 0, count: 0, ids: true };
        let (mut last, mut bytes) = (Link::NONE, 0);
        let (mut before, mut left_out) = (None, None);
        let mut link = self.active;
        while let Some(part) = link.get() {
            link = self.parts[part].next_active;
            let behind = before.replace(part);
            if cluster.table[part].leader() != node {
                continue;
            }
            let Next::Send(batch) = self.next_batch(cluster, now, part) else { continue };
            let len = self.batches[batch].chain.len();
            let full = bytes > 0 && bytes + len > cluster.config.request_bytes;
            if full || picked.count == most {
                left_out = left_out.or(behind);
                continue;
            }
            bytes += len;
            let slot = usize::from(cluster.table[part].topic);
            picked.ids &= cluster.topics[slot].wire_id() != Uuid::ZERO;
            picked.count += 1;
            net.outgoing[batch].chain = self.batches[batch].chain;
            last = self.pick(net, &mut picked, last, slot, batch);
        }
        if let Some(behind) = left_out {
            self.begin_after(behind);
        }
        picked
    }

    /// Puts a batch behind those of its topic. Returns the last batch of all.
    fn pick(
        &mut self,
        net: &mut Net<'d>,
        picked: &mut Picked,
        last: Link,
        slot: usize,
        batch: usize,
    ) -> Link {
        let topic = &mut self.topics[slot];
        let before = match topic.picked {
            0 => {
                picked.topics += 1;
                last
            }
            _ => topic.picked_last,
        };
        topic.picked += 1;
        topic.picked_last = Link::to(batch);
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
        if last == before { Link::to(batch) } else { last }
    }

    fn write_request(
        &mut self,
        cluster: &Cluster<'d>,
        net: &mut Net<'d>,
        draft: &mut Draft,
        picked: &Picked,
    ) -> Result<(), Full> {
        let timeout = millis(cluster.config.request_timeout);
        let acks = cluster.config.acks.code();
        let topics = picked.topics;
        net.write(draft, &mut |w, version| {
            produce::begin(w, version, None, acks, timeout, topics)
        })?;
        let mut link = picked.first;
        let mut current = None;
        while let Some(batch) = link.get() {
            link = net.outgoing[batch].next;
            let entry = &cluster.table[self.batches[batch].part as usize];
            let slot = usize::from(entry.topic);
            let topic = &cluster.topics[slot];
            let partitions = self.topics[slot].picked as usize;
            let len = self.batches[batch].chain.len();
            let opens = current != Some(slot);
            let closes = opens && current.is_some();
            current = Some(slot);
            net.write(draft, &mut |w, version| {
                if closes {
                    produce::end_topic(w, version)?;
                }
                if opens {
                    produce::topic(w, version, topic.name.as_str(), topic.id, partitions)?;
                }
                produce::partition(w, version, entry.index as i32, len)
            })?;
            net.outgoing[batch].ctl_end = draft.len();
            net.write(draft, &mut |w, version| produce::end_partition(w, version))?;
        }
        net.write(draft, &mut |w, version| {
            produce::end_topic(w, version)?;
            produce::end(w, version)
        })
    }

    /// Fixes producer id, epoch, sequence and checksum; they stay through every retry.
    fn seal(&mut self, net: &mut Net<'d>, batch: usize) {
        let idempotent = self.idempotent();
        let b = &mut self.batches[batch];
        if guard!("a batch keeps its sequence", b.sealed) {
            return;
        }
        let (part, slot) = (b.part as usize, usize::from(b.to.topic.index));
        if !idempotent {
            (b.producer_id, b.epoch, b.sequence) = (-1, -1, -1);
        } else if guard!("a batch keeps its sequence", b.sequence < 0 => true) {
            let p = &mut self.parts[part];
            // 0 of a known one is where it wrapped to.
            let fresh = p.next_sequence == 0 && p.in_flight == 0 && !p.known;
            if fresh || p.producer_id != self.producer_id {
                p.known &= (p.producer_id, p.epoch) == (self.producer_id, self.epoch);
                (p.producer_id, p.epoch) = (self.producer_id, self.epoch);
                p.next_sequence = self.rare.sequence(self.epoch);
            }
            (b.producer_id, b.epoch) = (p.producer_id, p.epoch);
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
            producer_id: b.producer_id,
            producer_epoch: b.epoch,
            base_sequence: b.sequence,
            count: b.count,
            base_timestamp: b.base_timestamp,
            max_timestamp: b.max_timestamp,
            transactional: false,
            codec: 0,
        };
        let records = net.blocks.slices(&b.chain, HEADER_LEN, b.chain.len());
        if let Some(header) = record::seal(&seal, records) {
            net.blocks.patch(&b.chain, &header);
        }
        self.batches[batch].sealed = true;
    }

    /// Begins a new epoch for a partition whose sequence broke: brokers know then that what is
    /// sent again is not a repetition (rule 7: local, no request needed).
    fn restart_sequence(&mut self, part: usize) {
        self.raise_epoch();
        let p = &mut self.parts[part];
        (p.bump, p.known) = (false, false);
        p.next_sequence = 0;
        (p.producer_id, p.epoch) = (self.producer_id, self.epoch);
        let mut link = p.head;
        while let Some(batch) = link.get() {
            let b = &mut self.batches[batch];
            b.sequence = -1;
            (b.sealed, b.out_of_sequence) = (false, false);
            link = b.next;
        }
    }
}

/// The sequence after `count` records; wraps from 2^31 - 1 to 0 (Java's incrementSequence).
pub(super) fn advance(sequence: i32, count: u32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) & i64::from(i32::MAX)) as i32
}

/// The connection to the leader of a partition, or when to look for one again.
fn connection_to<'d>(
    cluster: &mut Cluster<'d>,
    net: &mut Net<'d>,
    now: Instant,
    part: usize,
) -> (Option<usize>, Instant) {
    let entry = cluster.table[part];
    if entry.broker().is_none() {
        cluster.refresh(usize::from(entry.topic), now);
        return (None, Instant::NEVER);
    }
    match cluster.wish(net, now, entry.leader(), Role::Main) {
        Wish::Ready(conn) => (Some(conn), Instant::NEVER),
        Wish::Later(at) => (None, at),
    }
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
