//! Bytes to be sent: request bytes and record batches in turn, straight from the blocks where they
//! wait for their acknowledgement.

use super::{Conn, InFlight, Net};
use crate::memory::{Blocks, Chain, Link, Slices};
use crate::time::Tick;

/// The send side of a produced batch; same index as the producer's own entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    /// Header and records.
    pub(crate) chain: Chain,
    /// Bytes of the request that go before the batch, counted from the start of the request.
    pub(crate) ctl_end: u32,
    /// The next batch of the same request, and the one before.
    pub(crate) next: Link,
    pub(super) before: Link,
}

impl Outgoing {
    pub(crate) const EMPTY: Self =
        Self { chain: Chain::EMPTY, ctl_end: 0, next: Link::NONE, before: Link::NONE };
}

/// Slices to be written, in order. Short writes are normal: pass the number of bytes taken to
/// [`Client::handle_transmitted`](crate::Client::handle_transmitted).
pub struct Transmit<'a> {
    blocks: &'a Blocks<'a>,
    outgoing: &'a [Outgoing],
    entries: core::slice::Iter<'a, InFlight>,
    ctl: Chain,
    ctl_at: usize,
    batch: Link,
    /// The next run is the batch, not the request bytes before it.
    in_batch: bool,
    /// Bytes that were sent before.
    skip: usize,
    run: Slices<'a>,
}

impl<'a> Transmit<'a> {
    /// Sets up the next run of bytes; false at the end.
    fn advance(&mut self) -> bool {
        loop {
            let (chain, from, to) = match self.batch.get() {
                Some(batch) if self.in_batch => {
                    let out = &self.outgoing[batch];
                    self.batch = out.next;
                    self.in_batch = false;
                    (out.chain, 0, out.chain.len())
                }
                Some(batch) => {
                    let to = self.outgoing[batch].ctl_end as usize;
                    self.in_batch = true;
                    (self.ctl, core::mem::replace(&mut self.ctl_at, to), to)
                }
                None if self.ctl_at < self.ctl.len() => {
                    let to = self.ctl.len();
                    (self.ctl, core::mem::replace(&mut self.ctl_at, to), to)
                }
                None => {
                    let Some(entry) = self.entries.next() else { return false };
                    (self.ctl, self.ctl_at) = (entry.ctl, 0);
                    (self.batch, self.in_batch) = (entry.batches, false);
                    self.skip = entry.sent as usize;
                    continue;
                }
            };
            let len = to - from;
            if self.skip >= len {
                self.skip -= len;
                continue;
            }
            self.run = self.blocks.slices(&chain, from + self.skip, to);
            self.skip = 0;
            return true;
        }
    }
}

impl<'a> Iterator for Transmit<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            if let Some(slice) = self.run.next() {
                return Some(slice);
            }
            if !self.advance() {
                return None;
            }
        }
    }
}

impl Conn {
    /// Returns the first batch of the oldest request that was not reported.
    pub(crate) fn oldest_batches(&self) -> Link {
        self.in_flight.first().map_or(Link::NONE, |request| request.batches)
    }
}

impl Net<'_> {
    /// Returns the bytes that a connection has to send.
    pub(crate) fn transmit(&self, slot: usize) -> Option<Transmit<'_>> {
        let conn = &self.conns[slot];
        if !conn.is_up() || usize::from(conn.shown) == conn.in_flight.len() {
            return None;
        }
        let entries = conn.in_flight.get(usize::from(conn.shown)..).unwrap_or_default().iter();
        Some(Transmit {
            blocks: &self.blocks,
            outgoing: &self.outgoing,
            entries,
            ctl: Chain::EMPTY,
            ctl_at: 0,
            batch: Link::NONE,
            in_batch: false,
            skip: 0,
            run: Slices::EMPTY,
        })
    }

    /// Returns how many bytes [`Net::transmit`] yields.
    pub(crate) fn offered(&self, slot: usize) -> u32 {
        let conn = &self.conns[slot];
        let left = conn.in_flight.get(usize::from(conn.shown)..).unwrap_or_default();
        left.iter().fold(0, |sum: u32, f| sum.saturating_add(f.total - f.sent))
    }

    /// Removes a batch from the request whose response is being read on a connection.
    pub(crate) fn leave_request(&mut self, conn: usize, batch: usize) {
        let Outgoing { next, before, .. } = self.outgoing[batch];
        match (before.get(), self.conns[conn].in_flight.first_mut()) {
            (Some(before), _) => self.outgoing[before].next = next,
            (None, Some(request)) => request.batches = next,
            (None, None) => {}
        }
        if let Some(next) = next.get() {
            self.outgoing[next].before = before;
        }
    }

    /// Notes that the adapter wrote `len` bytes. Request bytes are released once they are sent;
    /// batches stay until their request ends.
    pub(crate) fn transmitted(&mut self, now: Tick, slot: usize, len: usize) {
        let mut left = len;
        let conn = &mut self.conns[slot];
        if len > 0 {
            self.stirred |= conn.renew(now, usize::from(conn.shown));
        }
        conn.traffic.wrote(len);
        self.traffic.wrote(len);
        let shown = usize::from(conn.shown);
        if shown == 0 && len > 0 {
            conn.left_at.set(now);
        }
        for entry in conn.in_flight.iter_mut().skip(shown) {
            let rest = (entry.total - entry.sent) as usize;
            if left < rest {
                entry.sent += left as u32;
                return;
            }
            left -= rest;
            entry.sent = entry.total;
            entry.left.leave(now);
            entry.release(&mut self.blocks);
            self.stirred |= core::mem::take(&mut self.short);
            conn.shown += 1;
        }
    }

    /// Takes the batches of a request that was sent whole and gets no response (acks 0).
    pub(crate) fn take_silent(&mut self, slot: usize) -> Option<Link> {
        let conn = &mut self.conns[slot];
        let shown = conn.in_flight.get(..usize::from(conn.shown)).unwrap_or_default();
        let at = shown.iter().position(|f| f.silent)?;
        let batches = conn.take(at).batches;
        self.stirred = true;
        Some(batches)
    }
}
