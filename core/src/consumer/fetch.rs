//! Fetch requests, incremental where the broker keeps a session (KIP-227), and the outer part of
//! their responses.

#[cfg(feature = "read-committed")]
use super::committed::Filter;
use super::plan::Named;
use super::work::Spot;
use super::{Activity, Answered, Consumer, Trouble};
use crate::api::Kind;
use crate::cluster::{Cluster, Cx};
use crate::connection::{BY_NAME, Draft};
use crate::error::PeerFault;
use crate::event::{MoveReason, Unreadable};
use crate::has::{HINTS, PACE, POSITIONS};
use crate::memory::{Link, List};
use crate::time::Span;
#[cfg(not(feature = "reasons"))]
use crate::wire::ApiKey;
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, Writer, fetch};

/// How long a broker may hold a fetch on a connection that other requests share.
const SHARED_WAIT: Span = Span::from_millis(100);
/// The same while some of what is read from the broker is held or paused: the short wait for `CALM`
/// requests, then the longer one.
const SHORT_WAIT: Span = Span::from_millis(5);
const CALM: u8 = 50;
const CALM_WAIT: Span = Span::from_millis(20);
/// Pause before another attempt after a request did not fit.
pub(super) const NO_ROOM: Span = Span::from_millis(20);

/// How much of a batch arrived, for its error.
#[derive(Clone, Copy, Debug)]
struct Cut {
    #[cfg(feature = "reasons")]
    bytes: (u32, u32),
}

impl Cut {
    #[cfg(feature = "reasons")]
    fn new(needed: usize, got: usize) -> Self {
        let bytes = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { bytes: (bytes(needed), bytes(got)) }
    }

    #[cfg(not(feature = "reasons"))]
    const fn new(_needed: usize, _got: usize) -> Self {
        Self {}
    }

    #[cfg(feature = "reasons")]
    const fn fault(self) -> PeerFault {
        PeerFault::CutBatch { needed: self.bytes.0, got: self.bytes.1 }
    }

    #[cfg(not(feature = "reasons"))]
    const fn fault(self) -> PeerFault {
        PeerFault::Malformed(ApiKey::FETCH)
    }
}

/// State that is kept while a response streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FetchMemo {
    pub(super) serial: u32,
    topic: Link,
    pub(super) part: Link,
    error: ErrorCode,
    pub(super) high_watermark: i64,
    diverging: Option<(i32, i64)>,
    /// The rest of this partition's records is not wanted.
    pub(super) discard: bool,
    hinted: bool,
    /// A replica to be read from instead, -1 for none.
    pub(super) preferred: i32,
    /// Bytes of a batch before the position that did not arrive yet.
    pub(super) skip: usize,
    /// There was a batch before the position.
    pub(super) passed: bool,
    /// The batch at the position is incomplete: its bytes, 0 for unknown, and how many arrived.
    cut: Option<Cut>,
    /// The broker throttles, which empties the response.
    pub(super) void: bool,
    /// The broker refused the request as a whole.
    pub(super) refused: bool,
    /// Something was left out of it here: it did not fit.
    pub(super) skipped: bool,
    /// It has errors or records of partitions that are read.
    pub(super) useful: bool,
    /// It has records.
    pub(super) brought: bool,
    /// It has none of this partition.
    empty: bool,
    /// What of this partition's records was aborted.
    #[cfg(feature = "read-committed")]
    pub(super) filter: Filter,
    /// The checksum of the batch at the front was verified.
    pub(super) checked: bool,
    /// Its records can be read.
    #[cfg(feature = "record-check")]
    pub(super) sound: bool,
    /// Where this partition was read to when its entry began.
    #[cfg(feature = "record-check")]
    pub(super) began: i64,
}

impl FetchMemo {
    pub(crate) fn new(serial: u32) -> Self {
        Self { serial, ..Self::default() }
    }

    /// Notes that only `got` bytes of the batch at the position arrived, if nothing before it was
    /// of use: what follows something useful is fetched next.
    pub(super) fn note_cut(&mut self, first: bool, needed: usize, got: usize) {
        self.cut = first.then_some(Cut::new(needed, got));
    }

    /// Discards the rest of the partition's records, which will be fetched again.
    pub(crate) fn drop_records(&mut self) {
        self.discard = true;
    }

    pub(crate) const fn is_dropped(&self) -> bool {
        self.discard
    }

    /// Notes that the batch at the front was taken.
    pub(crate) fn next_batch(&mut self) {
        self.checked = false;
        #[cfg(feature = "record-check")]
        {
            self.sound = false;
        }
    }
}

impl<'d> Consumer<'d> {
    /// Returns the version of the next Fetch, and whether it names everything that is read from the
    /// broker.
    fn version(&self, cx: &Cx<'d>, (conn, desk): (usize, usize)) -> Option<(i16, bool)> {
        let (versions, session) = (&cx.net.conns[conn].versions, &cx.net.conns[conn].session);
        let at = &self.desks[desk];
        let have_ids =
            |list: &List| self.by_work.iter(list).all(|part| !cx.cluster.is_nameless(part));
        let ids = have_ids(&at.sends);
        if session.epoch != 0 && session.serial == at.serial && !at.restarts {
            let cap = if session.by_id { i16::MAX } else { BY_NAME };
            let version = versions.best(Kind::Fetch, cap)?;
            // A session cannot mix names and ids.
            if version >= 7 && (version >= 13) == session.by_id && (ids || !session.by_id) {
                return Some((version, false));
            }
        }
        let cap = if ids && have_ids(&at.quiet) { i16::MAX } else { BY_NAME };
        Some((versions.best(Kind::Fetch, cap)?, true))
    }

    /// Begins another session: everything that is read from the broker is named.
    fn begin_session(&mut self, cx: &mut Cx<'d>, (conn, desk): (usize, usize), by_id: bool) {
        self.leave_session(&mut cx.cluster, desk);
        self.session_serial = self.session_serial.wrapping_add(1).max(1);
        let session = &mut cx.net.conns[conn].session;
        (session.epoch, session.by_id, session.serial) = (0, by_id, self.session_serial);
        let Self { reads, desks, by_work, .. } = self;
        let desk = &mut desks[desk];
        let before = core::mem::replace(&mut desk.serial, session.serial);
        desk.restarts = false;
        // The last partitions may get nothing when the limit on bytes applies: first come those
        // that did not fit into the last request, then those for which it brought nothing, in turn.
        let (mut first, mut last) = (List::EMPTY, List::EMPTY);
        while let Some(part) = by_work.pop(&mut desk.sends) {
            let list = if reads[part].session == before { &mut last } else { &mut first };
            by_work.push_back(list, part);
        }
        if let Some(part) = by_work.pop(&mut desk.quiet) {
            by_work.push_back(&mut desk.quiet, part);
        }
        while let Some(part) = by_work.pop(&mut desk.quiet) {
            reads[part].spot = Spot::Sends;
            by_work.push_back(&mut first, part);
        }
        while let Some(part) = by_work.pop(&mut last) {
            by_work.push_back(&mut first, part);
        }
        desk.sends = first;
    }

    /// Fetches from the broker of a connection, one request at a time. False: no space for it.
    pub(super) fn send_fetch(&mut self, cx: &mut Cx<'d>, (conn, desk): (usize, usize)) -> bool {
        let at = &self.desks[desk];
        let idle = at.sends.is_empty() && at.quiet.is_empty();
        if idle || cx.net.conns[conn].awaits(|kind| kind == Kind::Fetch) {
            return true;
        }
        if !cx.net.takes_requests(conn, cx.now) {
            return false;
        }
        let Some((version, full)) = self.version(cx, (conn, desk)) else { return false };
        if full {
            self.begin_session(cx, (conn, desk), version >= 13);
        }
        let wait = self.wait_of(cx, (conn, desk));
        self.desks[desk].pace.sent(cx.now, wait);
        let head = self.head(cx, conn, wait);
        let Some((draft, sends)) = self.draft(cx, (conn, desk), version, &head) else {
            return false;
        };
        for _ in 0..sends {
            self.note_sent(&cx.cluster, desk);
        }
        while let Some(part) = self.by_forget.pop(&mut self.desks[desk].forgets) {
            self.forgotten(&mut cx.cluster, part);
        }
        self.desks[desk].ghosts = false;
        cx.net.send(cx.now, draft, [desk as u32, 0], cx.settings.request_timeout + wait);
        true
    }

    /// Returns how long the broker may wait for records.
    fn wait_of(&mut self, cx: &Cx<'d>, (conn, desk): (usize, usize)) -> Span {
        let desk = &mut self.desks[desk];
        let mut wait = cx.settings.fetch_max_wait;
        if cx.net.conns[conn].is_shared() {
            wait = wait.min(SHARED_WAIT);
        }
        if guard!("a fetch beside what is held is short", desk.resting > 0) {
            // What is resumed can only be part of the next request, and may be resumed at any
            // moment.
            desk.calm = desk.calm.saturating_add(1);
            wait = wait.min(if desk.calm < CALM { SHORT_WAIT } else { CALM_WAIT });
        }
        #[cfg(feature = "group")]
        if self.expects {
            wait = wait.min(CALM_WAIT);
        }
        wait
    }

    fn head(&self, cx: &Cx<'d>, conn: usize, wait: Span) -> fetch::Head {
        let (session, config) = (&cx.net.conns[conn].session, &cx.settings);
        fetch::Head {
            max_wait_ms: wait.millis(),
            min_bytes: config.fetch_min_bytes,
            max_bytes: match cx.net.conns[conn].is_shared() {
                false => config.fetch_max_bytes,
                true => config.fetch_max_bytes.min(self.rx_limit()),
            },
            isolation: config.isolation(),
            session_id: session.id,
            session_epoch: session.epoch,
        }
    }

    fn rx_limit(&self) -> i32 {
        i32::try_from(self.rx_bytes).unwrap_or(i32::MAX)
    }

    /// Makes a Fetch request of as many partitions as there are blocks for. Returns it and their
    /// number.
    fn draft(
        &mut self,
        cx: &mut Cx<'d>,
        (conn, desk): (usize, usize),
        version: i16,
        head: &fetch::Head,
    ) -> Option<(Draft, usize)> {
        self.drop_strangers(&mut cx.cluster, desk);
        let most_bytes = cx.settings.partition_max_bytes.min(self.rx_limit());
        // Only what is tried is put in order, or the partitions after it would lose their turn.
        let mut most = guard!("who had no room comes first", self.room.1 => u16::MAX);
        loop {
            let Self { desks, follows, by_work, by_forget, .. } = self;
            let at = &mut desks[desk];
            let sends = Self::group(&cx.cluster, follows, by_work, &mut at.sends, most.into());
            let count = Self::group(&cx.cluster, follows, by_forget, &mut at.forgets, usize::MAX);
            let sent = self.named(&self.desks[desk].sends, sends);
            let first = self.desks[desk].forgets.first();
            let forgotten = Named { nodes: &self.by_forget, first, count };
            let plan = self.plan(&cx.cluster, version);
            let leaders_alone = self.leaders_alone(cx.now);
            let rack = if leaders_alone { "" } else { &*cx.settings.rack };
            let mut draft = cx.net.open(conn, cx.now, Kind::Fetch, version)?;
            let written = cx.net.write(&mut draft, &mut |w: &mut Writer<'_>, _| {
                plan.write_fetch(w, (head, rack), (&sent, &forgotten), most_bytes)
            });
            if written.is_ok() {
                if sends == usize::from(most) {
                    self.room = (most, most.saturating_add(most / 8).saturating_add(1));
                }
                return Some((draft, sends));
            }
            cx.net.abandon(draft);
            if sends < 2 {
                // If the list to be forgotten is what is too long, the next request begins another
                // session.
                self.desks[desk].restarts |= count > 0;
                return None;
            }
            // If one step beyond the last size that fit is too long, that size is used again.
            let half = (sends / 2) as u16;
            most = if usize::from(self.room.0) < sends { self.room.0 } else { half };
            self.room = (half, most);
        }
    }

    /// Drops from the list to be forgotten what is not part of the session anyway.
    fn drop_strangers(&mut self, cluster: &mut Cluster<'d>, desk: usize) {
        let mut link = self.desks[desk].forgets.first();
        while let Some(part) = link.get() {
            link = self.by_forget.next(part);
            if self.reads[part].session != self.desks[desk].serial {
                self.by_forget.remove(&mut self.desks[desk].forgets, part);
                self.forgotten(cluster, part);
            }
        }
    }

    /// Records what a Fetch request says of the first partition that it names.
    fn note_sent(&mut self, cluster: &Cluster<'d>, desk: usize) {
        let Some(part) = self.by_work.pop(&mut self.desks[desk].sends) else { return };
        self.by_work.push_back(&mut self.desks[desk].quiet, part);
        let read = &mut self.reads[part];
        if let Some(other) = read.seat.get().filter(|other| *other != desk) {
            // Its old leader got no request to forget it, and would continue to return it.
            self.by_forget.remove(&mut self.desks[other].forgets, part);
            self.desks[other].restarts = guard!("an old leader's session restarts", true);
        }
        let desk_of = &mut self.desks[desk];
        // KIP-227: of others the broker names only what changed.
        if PACE && guard!("what is new in a session is to be named", read.session != desk_of.serial)
        {
            read.answered.set(Answered::Nothing);
            desk_of.pace.owe();
        }
        (read.seat, read.session) = (Link::to(desk), desk_of.serial);
        (read.sent_position, read.sent_epoch) = (read.position, cluster.table[part].epoch);
        (read.stale, read.spot) = (false, Spot::Quiet);
    }

    pub(crate) fn on_fetch(
        &mut self,
        cx: &mut Cx<'d>,
        conn: usize,
        memo: &mut FetchMemo,
        got: Segment<'_, '_>,
    ) {
        let Some(item) = fetch::item(got) else { return };
        match item {
            fetch::Item::Head { error, session_id, throttle_ms } => {
                if PACE {
                    (memo.void, memo.refused) = (throttle_ms > 0, error.0 != 0);
                }
                self.on_session(cx, conn, (error, session_id));
            }
            fetch::Item::Topic { name, id } => {
                memo.topic = cx.cluster.named_or_id(name, id).map_or(Link::NONE, Link::to);
            }
            fetch::Item::Partition { index, error, high_watermark, last_stable_offset, .. } => {
                let end = cx.settings.end_of(high_watermark, last_stable_offset);
                self.begin_entry(cx, conn, memo, (index, error, end));
            }
            #[cfg(feature = "read-committed")]
            fetch::Item::Aborted { producer_id, first_offset } => {
                self.note_aborted(cx, memo, producer_id, first_offset);
            }
            fetch::Item::Records { preferred_read_replica, len } => {
                memo.preferred = preferred_read_replica;
                #[cfg(feature = "read-committed")]
                self.order_aborted(memo);
                if PACE {
                    memo.empty = len == 0;
                    memo.brought |= len > 0;
                    memo.useful |= len > 0 && memo.part != Link::NONE;
                }
            }
            fetch::Item::DivergingEpoch { epoch, end_offset } => {
                memo.diverging = Some((epoch, end_offset));
            }
            fetch::Item::CurrentLeader { leader, epoch } if HINTS => {
                if let Some(part) = memo.part.get()
                    && cx.cluster.hint(part, leader, epoch)
                {
                    memo.hinted = true;
                    cx.refresh(usize::from(cx.cluster.table[part].topic));
                }
            }
            fetch::Item::PartitionEnd => {
                if let Some(part) = memo.part.get() {
                    self.conclude(cx, part, memo);
                }
                memo.part = Link::NONE;
            }
            fetch::Item::Endpoint { id, host, port, .. } if HINTS => {
                cx.merge_broker(id, host, port);
            }
            fetch::Item::Skipped if PACE => memo.skipped = true,
            _ => {}
        }
    }

    /// Handles the beginning of a partition's entry. `end` is that of what may be read.
    #[inline(always)]
    #[cfg_attr(not(feature = "read-committed"), expect(unused_variables, reason = "its filter's"))]
    fn begin_entry(
        &mut self,
        cx: &Cx<'d>,
        conn: usize,
        memo: &mut FetchMemo,
        (index, error, end): (i32, ErrorCode, i64),
    ) {
        let part = cx.cluster.part_of(memo.topic, index);
        let part = part.filter(|part| self.is_current(*part, memo.serial));
        memo.part = part.map_or(Link::NONE, Link::to);
        (memo.error, memo.high_watermark, memo.diverging) = (error, end, None);
        (memo.hinted, memo.cut, memo.skip) = (false, None, 0);
        if let Some(part) = part {
            self.reads[part].answered.set(Answered::Fully);
            #[cfg(feature = "record-check")]
            (memo.began = self.reads[part].position);
        }
        memo.next_batch();
        memo.passed = false;
        memo.preferred = -1;
        memo.discard = part.is_none() || error.0 != 0;
        #[cfg(feature = "read-committed")]
        {
            memo.filter = Filter::new(conn);
        }
    }

    /// Returns whether a response of a session still applies to a partition: no seek, pause or move
    /// since.
    #[inline]
    pub(super) fn is_current(&self, part: usize, serial: u32) -> bool {
        let read = &self.reads[part];
        let stale = guard!("a response of before a seek is dropped", read.stale);
        let paused = guard!("nothing is given while paused", read.paused);
        read.session == serial
            && !stale
            && !paused
            && read.state == Activity::Fetch
            && read.requested == 0
    }

    fn on_session(&mut self, cx: &mut Cx<'d>, conn: usize, (error, session_id): (ErrorCode, i32)) {
        self.dirty = true;
        let session = &mut cx.net.conns[conn].session;
        let known = session.epoch != 0;
        match error {
            ErrorCode(0) if session_id != 0 => {
                session.id = session_id;
                let next = if session.epoch == i32::MAX { 1 } else { session.epoch + 1 };
                session.epoch = guard!("session epoch", next => session.epoch.max(1));
            }
            // No session: full requests, each with a serial of its own.
            ErrorCode(0) => (session.id, session.epoch) = (0, 0),
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND if known => (session.id, session.epoch) = (0, 0),
            ErrorCode::INVALID_FETCH_SESSION_EPOCH | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
                if known =>
            {
                session.epoch = 0;
            }
            error => {
                session.epoch = 0;
                session.retry_at = cx.now + cx.settings.retry_backoff;
                let serial = session.serial;
                let Some(desk) = cx.cluster.broker_slot(cx.net.conns[conn].peer.node()) else {
                    return;
                };
                for list in [self.desks[desk].quiet, self.desks[desk].sends] {
                    let mut link = list.first();
                    while let Some(part) = link.get() {
                        link = self.by_work.next(part);
                        if self.is_current(part, serial) {
                            self.refused(cx, part, error);
                        }
                    }
                }
            }
        }
    }

    /// Notes that a partition was read to its end, which is reported once.
    fn note_end(&mut self, cx: &Cx<'d>, part: usize, high_watermark: i64) {
        let read = &mut self.reads[part];
        let ends = high_watermark >= 0 && read.position >= high_watermark;
        if POSITIONS && cx.settings.report_positions && ends && !read.ended {
            (read.ended, read.ended_news) = (true, true);
            self.report(part);
        }
    }

    /// Handles the end of a partition's entry.
    fn conclude(&mut self, cx: &mut Cx<'d>, part: usize, memo: &mut FetchMemo) {
        if !self.is_current(part, memo.serial) {
            return;
        }
        let trouble = memo.error.0 != 0 || memo.diverging.is_some();
        if PACE {
            memo.useful |= trouble;
        }
        if trouble && self.leave_replica(cx, part) {
            if memo.error.is_invalid_metadata() {
                cx.refresh(usize::from(cx.cluster.table[part].topic));
            }
            return;
        }
        if let Some((epoch, end_offset)) = memo.diverging {
            return self.diverged(cx, part, epoch, end_offset);
        }
        let read = &self.reads[part];
        let unmoved = read.position == read.sent_position;
        let vain = guard!("what leads nowhere is not fetched at once", memo.passed) && unmoved;
        #[cfg(feature = "read-committed")]
        if let Some(error) = memo.filter.limit().filter(|_| unmoved && memo.error.0 == 0) {
            return self.park(part, Trouble::Failed(error));
        }
        match (memo.error, memo.cut) {
            // Fetched again at once, it would be the same.
            (ErrorCode(0), Some(cut)) => self.at_fault(cx, part, cut.fault()),
            (ErrorCode(0), None) if vain => self.at_fault(cx, part, PeerFault::OldRecords),
            (ErrorCode(0), None) => {
                let lacks =
                    PACE && memo.empty && memo.preferred < 0 && read.position < memo.high_watermark;
                if guard!("records that a broker keeps back are missed", lacks) {
                    let left = memo.high_watermark.saturating_sub(read.position);
                    let left = u32::try_from(left).unwrap_or(u32::MAX);
                    self.reads[part].answered.set(Answered::Less(left));
                    if let Some(desk) = self.reads[part].seat.get() {
                        self.desks[desk].pace.starve();
                    }
                    return;
                }
                self.reads[part].recovered();
                self.note_end(cx, part, memo.high_watermark);
                self.prefer(cx, part, memo);
            }
            (ErrorCode::OFFSET_OUT_OF_RANGE, _) => self.out_of_range(cx, part),
            (ErrorCode::CORRUPT_MESSAGE, _) => {
                let next_offset = self.reads[part].position;
                let why = Unreadable::ByBroker;
                self.park(part, Trouble::Corrupt { why, next_offset });
            }
            // The new leader is known: it is used without a pause (KIP-951).
            _ if HINTS && memo.hinted => self.dirty = true,
            (code, _) => self.refused(cx, part, code),
        }
    }
}

impl<'d> Consumer<'d> {
    /// Handles a divergence: the leader's log ends an epoch before our position, so what we read
    /// above was truncated (KIP-320).
    pub(super) fn diverged(&mut self, cx: &mut Cx<'d>, part: usize, epoch: i32, end_offset: i64) {
        let read = &mut self.reads[part];
        let to = end_offset.min(read.position);
        if end_offset < 0 {
            // No common epoch at all: nothing is known to be lost.
            read.last_epoch = -1;
            self.out_of_range(cx, part);
        } else if (to, epoch) == (read.position, read.last_epoch) {
            self.at_fault(cx, part, PeerFault::Divergence);
            self.doubt_epoch(cx, part);
        } else {
            read.go_on_from(epoch);
            self.jump(&cx.cluster, part, to, MoveReason::Truncated);
        }
    }
}
