//! Which batches go out now, and the requests that carry them.

use super::{Batch, Identity, Producer, State};
use crate::cluster::{Cluster, Wish};
use crate::config::Acks;
use crate::connection::{Draft, Net, PRODUCE_IN_FLIGHT, Role, Ticket};
use crate::error::Error;
use crate::memory::{Link, backoff};
use crate::record::{self, HEADER_LEN, Seal};
use crate::time::{Duration, Instant};
use crate::wire::{ApiKey, Encode, Full, Uuid, init_producer_id, produce};

/// The first batch to a new partition takes its followers up to 1.6 s: its request may not time
/// out earlier, however close its delivery deadline is (R11).
const LEAST_TIMEOUT: Duration = Duration::from_secs(2);

/// What a partition can do now.
enum Next {
    Send(usize),
    /// Nothing before this, if nothing happens.
    Wait(Option<Instant>),
}

impl<'d> Producer<'d> {
    /// Sends and expires what is due; returns when to look again.
    pub(crate) fn drive(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
    ) -> Option<Instant> {
        self.dirty = false;
        self.prune_active();
        let mut next = self.drive_identity(cluster, net, now);
        let mut ready: u64 = 0;
        let mut link = self.active;
        let mut last = (-1, None);
        while let Some(part) = link.get() {
            link = self.parts[part].next_active;
            next = Instant::earliest(next, self.expire(cluster, net, now, part));
            match self.next_batch(cluster, now, part) {
                Next::Wait(at) => next = Instant::earliest(next, at),
                Next::Send(_) => {
                    let leader = cluster.table[part].leader;
                    if last.0 != leader || leader < 0 {
                        let (conn, at) = connection_to(cluster, net, now, part);
                        last = (leader, conn);
                        next = Instant::earliest(next, at);
                    }
                    if let Some(conn) = last.1 {
                        ready |= 1 << (conn & 63);
                    }
                }
            }
        }
        for conn in 0..net.conns.len().min(64) {
            if ready & (1 << conn) != 0 {
                while self.send_request(cluster, net, now, conn) {}
                if now < net.conns[conn].throttled_until {
                    next = Instant::earliest(next, Some(net.conns[conn].throttled_until));
                }
            }
        }
        self.check_room(&net.blocks, cluster);
        self.deadline = next;
        next
    }

    /// Gets a producer id when batches wait for one.
    fn drive_identity(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
    ) -> Option<Instant> {
        match self.identity {
            Identity::Asked(until) if until > now => return Some(until),
            Identity::Wanted(at) if at > now => return Some(at),
            Identity::Asked(_) | Identity::Wanted(_) if !self.active.is_none() => {}
            _ => return None,
        }
        let soon = Some(now + Duration::from_millis(20));
        let able = |c: &crate::connection::Conn| c.versions.has(ApiKey::INIT_PRODUCER_ID);
        let Some(conn) = cluster.pick_main(net, now, None, able) else { return soon };
        let Some(mut draft) = net.open(conn, now, ApiKey::INIT_PRODUCER_ID, i16::MAX) else {
            return soon;
        };
        let request = init_producer_id::Request {
            transactional_id: None,
            timeout_ms: i32::MAX,
            producer_id: -1,
            producer_epoch: -1,
        };
        let version = draft.version;
        if let Err(Full) = net.write(&mut draft, |w| request.encode(version, w)) {
            net.abandon(draft);
            return soon;
        }
        net.send(now, draft, Ticket::InitProducerId, cluster.config.request_timeout);
        let until = now + Duration::from_secs(2);
        self.identity = Identity::Asked(until);
        Some(until)
    }

    /// The answer to InitProducerId.
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
                self.identity = Identity::Refused(Error::Broker(code));
            }
            _ => {
                let (base, max) = (cluster.config.retry_backoff, cluster.config.retry_backoff_max);
                let pause = backoff(&mut cluster.rng, base, max, self.identity_failures);
                self.identity_failures = self.identity_failures.saturating_add(1);
                self.identity = Identity::Wanted(now + pause);
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
    ) -> Option<Instant> {
        loop {
            let batch = self.first_waiting(part)?;
            let b = &self.batches[batch];
            let deadline = b.created + cluster.config.delivery_timeout;
            let error = match self.identity {
                Identity::Refused(error) => error,
                _ if deadline <= now => Error::TimedOut,
                _ => return Some(deadline),
            };
            let maybe = b.maybe_written;
            self.finish(&mut net.blocks, part, batch, Err((error, maybe)));
        }
    }

    /// The batch of a partition that may be sent now, if any: order and sequence decide.
    fn next_batch(&mut self, cluster: &Cluster<'d>, now: Instant, part: usize) -> Next {
        let idempotent = self.idempotent();
        let p = self.parts[part];
        if p.bump {
            if p.in_flight > 0 {
                return Next::Wait(None);
            }
            self.restart_sequence(part);
        }
        let Some(batch) = self.first_waiting(part) else { return Next::Wait(None) };
        let b = &self.batches[batch];
        let most = match cluster.config.acks {
            Acks::None => u8::MAX,
            _ if idempotent => PRODUCE_IN_FLIGHT as u8,
            _ => 1,
        };
        // A batch that was sent before goes alone and in its turn (SenderTest calls this
        // "multiple in flights retried in order").
        if p.in_flight >= most || (b.attempts > 0 && p.in_flight > 0) {
            let first = self.parts[part].head.get();
            if b.attempts == 0 || first != Some(batch) {
                return Next::Wait(None);
            }
        }
        if p.retry_at > now {
            return Next::Wait(Some(p.retry_at));
        }
        if idempotent && self.identity != Identity::Known && !b.sealed {
            return Next::Wait(None);
        }
        if b.state == State::Open {
            let lingers = b.created + cluster.config.linger;
            let full = b.chain.len() >= cluster.config.batch_bytes;
            if lingers > now && !full && !self.pressure {
                return Next::Wait(Some(lingers));
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
        let (first, topics, ids) = self.pick_batches(cluster, net, now, conn);
        if first.is_none() {
            return false;
        }
        // Version 13 names topics by id only (KIP-516).
        let cap = if ids { i16::MAX } else { 12 };
        let Some(mut draft) = net.open(conn, now, ApiKey::PRODUCE, cap) else { return false };
        if let Err(Full) = self.write_request(cluster, net, &mut draft, first, topics) {
            net.abandon(draft);
            return false;
        }
        let correlation = draft.correlation();
        let mut oldest = now;
        let mut link = first;
        while let Some(batch) = link.get() {
            link = net.outgoing[batch].next;
            self.seal(net, batch);
            oldest = oldest.min(self.batches[batch].created);
            let b = &mut self.batches[batch];
            b.state = State::Sent;
            b.request = correlation;
            b.attempts = b.attempts.saturating_add(1);
            self.parts[b.part as usize].in_flight += 1;
        }
        let due = oldest + cluster.config.delivery_timeout;
        let deadline = (now + cluster.config.request_timeout).min(due.max(now + LEAST_TIMEOUT));
        let silent = Self::silent(cluster.config.acks);
        net.commit(now, draft, Ticket::Produce, deadline, first, silent);
        true
    }

    /// Chooses one batch per partition of a broker, linked topic by topic. Returns the first one,
    /// the number of topics, and whether all of them have ids.
    fn pick_batches(
        &mut self,
        cluster: &Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
        conn: usize,
    ) -> (Link, usize, bool) {
        let node = net.conns[conn].peer.node();
        let (mut first, mut last) = (Link::NONE, Link::NONE);
        let (mut topics, mut bytes, mut ids) = (0, 0, true);
        let mut link = self.active;
        while let Some(part) = link.get() {
            link = self.parts[part].next_active;
            if cluster.table[part].leader != node {
                continue;
            }
            let Next::Send(batch) = self.next_batch(cluster, now, part) else { continue };
            let len = self.batches[batch].chain.len();
            if bytes > 0 && bytes + len > cluster.config.request_bytes {
                continue;
            }
            bytes += len;
            let slot = usize::from(cluster.table[part].topic);
            ids &= cluster.topics[slot].id != Uuid::ZERO;
            net.outgoing[batch].chain = self.batches[batch].chain;
            let topic = &mut self.topics[slot];
            let before = match topic.picked {
                0 => {
                    topics += 1;
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
                    first = Link::to(batch);
                }
            }
            if last == before {
                last = Link::to(batch);
            }
        }
        (first, topics, ids)
    }

    fn write_request(
        &mut self,
        cluster: &Cluster<'d>,
        net: &mut Net<'d>,
        draft: &mut Draft,
        first: Link,
        topics: usize,
    ) -> Result<(), Full> {
        let version = draft.version;
        let timeout = i32::try_from(cluster.config.request_timeout.as_millis()).unwrap_or(i32::MAX);
        let acks = cluster.config.acks.code();
        let mut written =
            net.write(draft, |w| produce::begin(w, version, None, acks, timeout, topics));
        let mut link = first;
        let mut current = None;
        while let Some(batch) = link.get() {
            link = net.outgoing[batch].next;
            let entry = &cluster.table[self.batches[batch].part as usize];
            let slot = usize::from(entry.topic);
            let topic = &cluster.topics[slot];
            let picked = core::mem::take(&mut self.topics[slot].picked) as usize;
            let len = self.batches[batch].chain.len();
            let opens = current != Some(slot);
            let closes = opens && current.is_some();
            current = Some(slot);
            if written.is_ok() {
                written = net.write(draft, |w| {
                    if closes {
                        produce::end_topic(w, version)?;
                    }
                    if opens {
                        produce::topic(w, version, topic.name.as_str(), topic.id, picked)?;
                    }
                    produce::partition(w, version, entry.index as i32, len)
                });
                net.outgoing[batch].ctl_end = draft.len();
            }
            if written.is_ok() {
                written = net.write(draft, |w| produce::end_partition(w, version));
            }
        }
        written?;
        net.write(draft, |w| {
            produce::end_topic(w, version)?;
            produce::end(w, version)
        })
    }

    /// Fixes producer id, epoch, sequence and checksum; they stay through every retry.
    fn seal(&mut self, net: &mut Net<'d>, batch: usize) {
        let b = &self.batches[batch];
        if b.sealed {
            return;
        }
        let part = b.part as usize;
        let mut sealed = *b;
        if self.identity == Identity::None {
            (sealed.producer_id, sealed.epoch, sealed.sequence) = (-1, -1, -1);
        } else if sealed.sequence < 0 {
            let p = &mut self.parts[part];
            let fresh = p.next_sequence == 0 && p.in_flight == 0;
            if fresh || p.producer_id != self.producer_id {
                (p.producer_id, p.epoch, p.next_sequence) = (self.producer_id, self.epoch, 0);
            }
            (sealed.producer_id, sealed.epoch) = (p.producer_id, p.epoch);
            sealed.sequence = p.next_sequence;
            p.next_sequence = advance(p.next_sequence, sealed.count);
        }
        self.batches[batch] = sealed;
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
        p.bump = false;
        p.next_sequence = 0;
        (p.producer_id, p.epoch) = (self.producer_id, self.epoch);
        let mut link = p.head;
        while let Some(batch) = link.get() {
            let b = &mut self.batches[batch];
            b.sequence = -1;
            b.sealed = false;
            link = b.next;
        }
    }
}

/// The sequence after `count` records; wraps from 2^31 - 1 to 0 (Java's incrementSequence).
fn advance(sequence: i32, count: u32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) & i64::from(i32::MAX)) as i32
}

/// The connection to the leader of a partition, or when to look for one again.
fn connection_to<'d>(
    cluster: &mut Cluster<'d>,
    net: &mut Net<'d>,
    now: Instant,
    part: usize,
) -> (Option<usize>, Option<Instant>) {
    let entry = cluster.table[part];
    if entry.leader < 0 || cluster.broker(entry.leader).is_none() {
        cluster.refresh(usize::from(entry.topic), now);
        return (None, None);
    }
    match cluster.wish(net, now, entry.leader, Role::Main) {
        Wish::Ready(conn) => (Some(conn), None),
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
