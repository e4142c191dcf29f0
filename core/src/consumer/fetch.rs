//! Fetch requests, incremental where the broker keeps a session (KIP-227), and the outer part of
//! their answers.

use super::plan::{Part, Plan, Span};
use super::{Consumer, State, Trouble};
use crate::api::Kind;
use crate::cluster::{CONSUMER, Cluster, Wish};
use crate::connection::{Draft, Net, Role};
use crate::event::{MoveReason, Unreadable};
use crate::memory::Link;
use crate::time::{Duration, Instant, millis};
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, Uuid, Writer, fetch};

/// How long a broker may hold a fetch on a connection that other requests share.
const SHARED_WAIT: Duration = Duration::from_millis(100);
/// When to try again after there was no room for a request.
pub(super) const NO_ROOM: Duration = Duration::from_millis(20);

/// What has to be remembered while an answer streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FetchCx {
    pub(super) serial: u32,
    topic: Link,
    pub(super) part: Link,
    error: ErrorCode,
    pub(super) high_watermark: i64,
    diverging: Option<(i32, i64)>,
    /// The rest of this partition's records is not wanted.
    pub(super) discard: bool,
    hinted: bool,
    /// Bytes of a batch before the position that did not come yet.
    pub(super) skip: usize,
    /// The batch at the position is cut short.
    pub(super) cut: bool,
    /// The checksum of the batch at the front was verified.
    pub(super) checked: bool,
}

impl FetchCx {
    pub(crate) fn new(serial: u32) -> Self {
        Self { serial, ..Self::default() }
    }

    /// The rest of the partition's records is not wanted: it will be fetched again.
    pub(crate) fn drop_records(&mut self) {
        self.discard = true;
    }

    pub(crate) const fn is_dropped(&self) -> bool {
        self.discard
    }

    /// The batch at the front was taken.
    pub(crate) fn next_batch(&mut self) {
        self.checked = false;
    }
}

impl<'d> Consumer<'d> {
    /// Asks for offsets and records where that is due; returns when to look again.
    // Its frame ends before the next part's begins: a device has little stack.
    #[inline(never)]
    pub(crate) fn drive(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
    ) -> Instant {
        self.dirty = false;
        let mut next = Instant::NEVER;
        let mut last = (-1, None);
        for part in 0..self.upto {
            let read = &self.reads[part];
            let active = match read.state {
                State::Resolve => true,
                State::Fetch => !read.paused && !read.held,
                State::Off | State::Parked => false,
            };
            let entry = cluster.table[part];
            let topic = usize::from(entry.topic);
            if !active || !entry.used_by(CONSUMER) || !cluster.topics[topic].ready {
                continue;
            }
            if read.retry_at > now {
                next = next.min(read.retry_at);
                continue;
            }
            if entry.broker().is_none() {
                if entry.index < cluster.topics[topic].count {
                    cluster.refresh(topic, now);
                }
                continue;
            }
            if last.0 != entry.leader() {
                last.0 = entry.leader();
                last.1 = match cluster.wish(net, now, entry.leader(), Role::Fetch) {
                    Wish::Ready(conn) => Some(conn),
                    Wish::Later(at) => {
                        next = next.min(at);
                        None
                    }
                };
            }
            if let Some(conn) = last.1 {
                net.conns[conn].due = true;
            }
        }
        for conn in 0..net.conns.len() {
            if !core::mem::take(&mut net.conns[conn].due) {
                continue;
            }
            let mut fits = self.send_offsets(cluster, net, now, conn);
            let at = net.conns[conn].session.retry_at.max(net.conns[conn].throttled_until);
            if at > now {
                next = next.min(at);
            } else {
                fits &= self.send_fetch(cluster, net, now, conn);
            }
            if !fits {
                next = next.min(now + NO_ROOM);
            }
        }
        self.deadline = next;
        next
    }

    /// Fetches from the broker of a connection, one request at a time. False: no room for it.
    fn send_fetch(
        &mut self,
        cluster: &Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
        conn: usize,
    ) -> bool {
        if net.conns[conn].awaits(|kind| kind == Kind::Fetch) {
            return true;
        }
        let node = net.conns[conn].peer.node();
        let (mut last, mut ids) = (None, true);
        for part in 0..self.upto {
            let entry = &cluster.table[part];
            if entry.is_read_from(node) && self.reads[part].wants_records(now) {
                last = Some(part);
                ids &= cluster.topics[usize::from(entry.topic)].wire_id() != Uuid::ZERO;
            }
        }
        let Some(last) = last else { return true };
        let cap = if ids { i16::MAX } else { 12 };
        let version = net.conns[conn].versions.best(Kind::Fetch, cap);
        let Some(version) = version.filter(|_| net.is_open(conn, now)) else { return false };
        let by_id = version >= 13;
        let session = &mut net.conns[conn].session;
        let before = session.serial;
        let same = session.epoch != 0 && session.by_id == by_id && version >= 7;
        let full = session.anew || !same;
        if full {
            self.session_serial = self.session_serial.wrapping_add(1).max(1);
            (session.epoch, session.by_id, session.anew) = (0, by_id, false);
            session.serial = self.session_serial;
        }
        let session = *session;
        let span = Span::all(self.turn % (last + 1), self.upto);
        let reads = &self.reads[..self.upto];
        let mut plan = Plan { reads, cluster, now, node, serial: session.serial, full, span };
        let wait = if !net.conns[conn].is_shared() {
            cluster.config.fetch_max_wait
        } else {
            cluster.config.fetch_max_wait.min(SHARED_WAIT)
        };
        let rx = i32::try_from(self.rx_bytes).unwrap_or(i32::MAX);
        let head = fetch::Head {
            max_wait_ms: millis(wait),
            min_bytes: cluster.config.fetch_min_bytes,
            max_bytes: match !net.conns[conn].is_shared() {
                true => cluster.config.fetch_max_bytes,
                false => cluster.config.fetch_max_bytes.min(rx),
            },
            isolation: 0,
            session_id: session.id,
            session_epoch: session.epoch,
        };
        let most = cluster.config.partition_max_bytes.min(rx);
        let Some(draft) = draft(net, conn, cap, &mut plan, &head, most) else { return false };
        let span = plan.span;
        self.turn = self.turn.wrapping_add(1);
        self.note_sent(cluster, net, now, conn, before, span);
        net.send(now, draft, [0; 2], &(cluster.config.request_timeout + wait));
        true
    }

    /// Remembers what a Fetch request asked for: what changed in `span`. `before` is the serial of
    /// the connection's session before that.
    fn note_sent(
        &mut self,
        cluster: &Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
        conn: usize,
        before: u32,
        span: Span,
    ) {
        let (node, serial) = (net.conns[conn].peer.node(), net.conns[conn].session.serial);
        for part in 0..self.upto {
            let entry = &cluster.table[part];
            let read = &mut self.reads[part];
            if entry.is_read_from(node) && read.wants_records(now) {
                let known = (read.session, read.sent_position, read.sent_epoch);
                if known != (serial, read.position, entry.epoch) && !span.has(part) {
                    continue;
                }
                if read.session != serial && read.session != before {
                    // Its old leader was not told to forget it, and would go on answering for it.
                    restart_session(net, read.session);
                }
                read.session = serial;
                (read.sent_position, read.sent_epoch) = (read.position, entry.epoch);
                read.stale = false;
            } else if read.session == serial {
                read.session = 0;
            }
        }
    }

    pub(crate) fn on_fetch(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
        conn: usize,
        cx: &mut FetchCx,
        got: Segment<'_, '_>,
    ) {
        let Some(item) = fetch::item(got) else { return };
        match item {
            fetch::Item::Head { error, session_id, .. } => {
                self.on_session(cluster, net, now, conn, (error, session_id));
            }
            fetch::Item::Topic { name, id } => {
                cx.topic = cluster.named_or_id(name, id).map_or(Link::NONE, Link::to);
            }
            fetch::Item::Partition { index, error, high_watermark, .. } => {
                let part = cluster
                    .part_of(cx.topic, index)
                    .filter(|part| self.is_current(*part, cx.serial));
                cx.part = part.map_or(Link::NONE, Link::to);
                (cx.error, cx.high_watermark, cx.diverging) = (error, high_watermark, None);
                (cx.hinted, cx.checked, cx.cut, cx.skip) = (false, false, false, 0);
                cx.discard = part.is_none() || error.0 != 0;
            }
            fetch::Item::DivergingEpoch { epoch, end_offset } => {
                cx.diverging = Some((epoch, end_offset));
            }
            fetch::Item::CurrentLeader { leader, epoch } => {
                if let Some(part) = cx.part.get()
                    && cluster.hint(part, leader, epoch)
                {
                    cx.hinted = true;
                    cluster.refresh(usize::from(cluster.table[part].topic), now);
                }
            }
            fetch::Item::PartitionEnd => {
                if let Some(part) = cx.part.get() {
                    self.settle_partition(cluster, now, part, cx);
                }
                cx.part = Link::NONE;
            }
            fetch::Item::Endpoint { id, host, port, .. } => {
                cluster.merge_broker(now, id, host, port);
            }
            _ => {}
        }
    }

    /// Whether an answer of a session still concerns a partition: no seek, pause or move since.
    pub(super) fn is_current(&self, part: usize, serial: u32) -> bool {
        let read = &self.reads[part];
        let stale = guard!("an answer of before a seek is dropped", read.stale);
        let paused = guard!("nothing is given while paused", read.paused);
        read.session == serial && !stale && !paused && read.state == State::Fetch
    }

    fn on_session(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
        conn: usize,
        (error, session_id): (ErrorCode, i32),
    ) {
        self.dirty = true;
        let session = &mut net.conns[conn].session;
        let known = session.epoch != 0;
        match error {
            ErrorCode(0) if session_id != 0 => {
                session.id = session_id;
                let next = if session.epoch == i32::MAX { 1 } else { session.epoch + 1 };
                session.epoch = guard!("session epoch", next => session.epoch.max(1));
            }
            // No session: whole requests, each with a serial of its own.
            ErrorCode(0) => (session.id, session.epoch) = (0, 0),
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND if known => (session.id, session.epoch) = (0, 0),
            ErrorCode::INVALID_FETCH_SESSION_EPOCH | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
                if known =>
            {
                session.epoch = 0;
            }
            error => {
                session.epoch = 0;
                session.retry_at = now + cluster.config.retry_backoff;
                let serial = session.serial;
                for part in 0..self.upto {
                    if self.is_current(part, serial) {
                        self.refused(cluster, now, part, error);
                    }
                }
            }
        }
    }

    /// The end of a partition's entry.
    fn settle_partition(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Instant,
        part: usize,
        cx: &FetchCx,
    ) {
        if !self.is_current(part, cx.serial) {
            return;
        }
        if let Some((epoch, end_offset)) = cx.diverging {
            return self.diverged(cluster, now, part, epoch, end_offset);
        }
        match cx.error {
            // Refetched at once it would come the same way.
            ErrorCode(0) if cx.cut => self.refused(cluster, now, part, ErrorCode::CORRUPT_MESSAGE),
            ErrorCode(0) => self.reads[part].recovered(),
            ErrorCode::OFFSET_OUT_OF_RANGE => self.out_of_range(cluster, part),
            ErrorCode::CORRUPT_MESSAGE => {
                let next_offset = self.reads[part].position;
                let why = Unreadable::ByBroker;
                self.park(part, Trouble::Corrupt { why, next_offset });
            }
            // The new leader is known: on to it without a pause (KIP-951).
            _ if cx.hinted => self.dirty = true,
            code => self.refused(cluster, now, part, code),
        }
    }
}

impl<'d> Consumer<'d> {
    /// The leader's log ends an epoch before our position: what we read above was truncated
    /// (KIP-320).
    fn diverged(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Instant,
        part: usize,
        epoch: i32,
        end_offset: i64,
    ) {
        let read = &mut self.reads[part];
        let to = end_offset.min(read.position);
        if end_offset < 0 {
            // No common epoch at all: nothing is known to be lost.
            read.last_epoch = -1;
            self.out_of_range(cluster, part);
        } else if (to, epoch) == (read.position, read.last_epoch) {
            self.refused(cluster, now, part, ErrorCode::UNKNOWN_LEADER_EPOCH);
        } else {
            read.go_on_from(epoch);
            self.jump(part, to, MoveReason::Truncated);
        }
    }
}

/// A Fetch request of as many partitions as there are blocks for; `most` bytes of each.
fn draft(
    net: &mut Net<'_>,
    conn: usize,
    cap: i16,
    plan: &mut Plan<'_, '_>,
    head: &fetch::Head,
    most: i32,
) -> Option<Draft> {
    loop {
        let mut draft = net.open(conn, plan.now, Kind::Fetch, cap)?;
        let mut body = |w: &mut Writer<'_>, version| plan.write_fetch(w, version, head, most);
        if net.write(&mut draft, &mut body).is_ok() {
            return Some(draft);
        }
        net.abandon(draft);
        if !plan.halve(Part::Sends) {
            return None;
        }
    }
}

/// The session with this serial cannot be told what changed: its next request begins another one.
pub(super) fn restart_session(net: &mut Net<'_>, serial: u32) {
    for conn in net.conns.iter_mut().filter(|c| serial != 0 && c.session.serial == serial) {
        conn.session.anew = guard!("a session that cannot be told begins anew", true);
    }
}
