//! Requests are written into blocks, and queued after those of their connection.

use super::deadlines::report_at;
use super::{Body, Draft, Expected, InFlight, Net, Sent, Tag};
use crate::api::Kind;
use crate::config::Text;
use crate::memory::{Chain, ChainSink, Link};
use crate::time::{Span, Tick};
use crate::wire::{Full, Writer, header};

impl Net<'_> {
    /// Begins a request; `None` while the connection cannot take it.
    pub(crate) fn open(&mut self, conn: usize, now: Tick, kind: Kind, cap: i16) -> Option<Draft> {
        let slot = &self.conns[conn];
        let version = match slot.handshake_version_for(kind) {
            Some(version) => version,
            None if self.takes_requests(conn, now) => slot.versions.best(kind, cap)?,
            None => return None,
        };
        // No request has the id 0.
        self.correlation = (self.correlation.wrapping_add(1) & i32::MAX).max(1);
        let mut draft =
            Draft { conn, kind, version, correlation: self.correlation, ctl: Chain::EMPTY };
        let correlation = self.correlation;
        let client_id = core::mem::replace(&mut self.client_id, Text::Lent(""));
        let written = self.write(&mut draft, &mut |w, version| {
            w.i32(0)?;
            let flexible = kind.is_flexible(version);
            header::request_as(w, kind.api(), version, flexible, correlation, &client_id)
        });
        self.client_id = client_id;
        self.whole(draft, written)
    }

    /// Writes a whole request, if the connection and the memory allow it.
    pub(crate) fn draft(
        &mut self,
        conn: usize,
        now: Tick,
        kind: Kind,
        body: Body<'_>,
    ) -> Option<Draft> {
        let mut draft = self.open(conn, now, kind, i16::MAX)?;
        let written = self.write(&mut draft, body);
        self.whole(draft, written)
    }

    /// Returns a request, unless a part of it did not fit.
    fn whole(&mut self, draft: Draft, written: Result<(), Full>) -> Option<Draft> {
        match written {
            Ok(()) => Some(draft),
            Err(Full) => {
                self.abandon(draft);
                None
            }
        }
    }

    /// Writes to a request.
    #[inline(never)]
    pub(crate) fn write(&mut self, draft: &mut Draft, body: Body<'_>) -> Result<(), Full> {
        if self.rare.full() {
            self.stirred = true;
            return Err(Full);
        }
        let mut sink = ChainSink { blocks: &mut self.blocks, chain: &mut draft.ctl };
        let written = body(&mut Writer::new(&mut sink), draft.version);
        self.short |= written.is_err();
        written
    }

    pub(crate) fn abandon(&mut self, mut draft: Draft) {
        #[cfg(feature = "sasl")]
        super::login::wipe(&mut self.blocks, draft.kind, &draft.ctl);
        self.blocks.release(&mut draft.ctl);
    }

    /// Queues a request with the batches that belong to it.
    pub(crate) fn commit(
        &mut self,
        now: Tick,
        draft: Draft,
        tag: Tag,
        deadline: Tick,
        batches: Link,
        no_response: bool,
    ) {
        let mut total = draft.ctl.len();
        let (mut link, mut before) = (batches, Link::NONE);
        while let Some(batch) = link.get() {
            total += self.outgoing[batch].chain.len();
            self.outgoing[batch].before = core::mem::replace(&mut before, link);
            link = self.outgoing[batch].next;
        }
        let length = i32::try_from(total.saturating_sub(4)).unwrap_or(i32::MAX);
        self.blocks.patch(&draft.ctl, &length.to_be_bytes());
        let entry = InFlight {
            requested: Expected {
                kind: draft.kind,
                version: draft.version,
                correlation: draft.correlation,
                tag,
            },
            since: now,
            deadline,
            batches,
            ctl: draft.ctl,
            total: total as u32,
            sent: 0,
            left: Sent::NOT,
            silent: no_response,
        };
        self.deadline = self.deadline.min(deadline).min(report_at(now));
        let conn = &mut self.conns[draft.conn];
        conn.used = now;
        // An adapter that has not sent all that it was given polls again by itself.
        if conn.pending() == usize::from(conn.shown) && !conn.unshown {
            conn.unshown = true;
            self.unshown += 1;
        }
        // `open` made sure that there is a place.
        if let Err(mut entry) = conn.in_flight.push(entry) {
            entry.release(&mut self.blocks);
        }
        conn.traffic.requested();
        self.requests += 1;
    }

    /// Queues a request without batches.
    #[inline(never)]
    pub(crate) fn send(&mut self, now: Tick, draft: Draft, tag: Tag, timeout: Span) {
        self.commit(now, draft, tag, now + timeout, Link::NONE, false);
    }
}
