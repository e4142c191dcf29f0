//! Heartbeats: what the coordinator learns of the member, and the assignment that it returns.

use super::{AGAIN, Group, Phase, Share, UNHEARD};
use crate::api::Kind;
use crate::cluster::{Cx, GROUP, Topic};
use crate::connection::{Draft, Origin};
use crate::error::{Error, GroupError, LimitKind};
use crate::memory::backoff;
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, Full, Ints, Writer, consumer_group_heartbeat as heartbeat};

/// Fewer milliseconds between two heartbeats than this are taken for this many.
const LEAST: i32 = 100;
/// An instance id that another member has is tried again after this long, at the most: its
/// session ends by then.
const HELD: Span = Span::from_secs(10);

/// What was noted of an assignment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marked {
    /// A topic of it is not known.
    pub(super) unresolved: bool,
    /// Something did not fit: the receive buffer, or the table (and how many entries would).
    pub(super) skipped: bool,
    short: bool,
    partitions: u32,
}

/// A response as it streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BeatMemo {
    /// It is of this membership.
    valid: bool,
    error: ErrorCode,
    /// It has an assignment.
    assigned: bool,
    marked: Marked,
}

impl<'d> Group<'d> {
    /// Sends a heartbeat if one is due; returns when the next one is.
    pub(super) fn send_heartbeat(&mut self, cx: &mut Cx<'d>, conn: usize) -> Tick {
        if self.beats {
            return Tick::NEVER;
        }
        let leaving = self.phase == Phase::Leaving;
        let departs = leaving && !self.commits.are_open();
        // Commits come first; they may need the epoch that a heartbeat has.
        if leaving && !departs && !self.full {
            return Tick::NEVER;
        }
        // The coordinator may know the member only after a heartbeat.
        if departs && !self.beaten {
            self.left();
            return Tick::NEVER;
        }
        if self.beat_at > cx.now {
            return self.beat_at;
        }
        if cx.net.conns[conn].versions.lacks(Kind::Heartbeat).is_some() {
            self.needs_classic(&cx.settings);
            return cx.now;
        }
        let Some(mut draft) = cx.net.open(conn, cx.now, Kind::Heartbeat, i16::MAX) else {
            return cx.now + AGAIN;
        };
        let full = self.full || self.owns_nothing(cx);
        if let Err(Full) = self.write_heartbeat(cx, &mut draft, full, departs) {
            cx.net.abandon(draft);
            return cx.now + AGAIN;
        }
        (self.beats, self.beaten, self.acknowledges) = (true, true, false);
        self.departs = departs;
        // What changes from now on is in the next one.
        self.full &= !full;
        let timeout = cx.settings.request_timeout.min(UNHEARD);
        cx.net.send(cx.now, draft, [self.serial, self.epoch as u32], timeout);
        Tick::NEVER
    }

    fn owns_nothing(&self, cx: &Cx<'d>) -> bool {
        self.count_topics(cx, &Share::is_owned) == 0
    }

    fn write_heartbeat(
        &self,
        cx: &mut Cx<'d>,
        draft: &mut Draft,
        full: bool,
        leaves: bool,
    ) -> Result<(), Full> {
        let full = full && !leaves;
        let joins = self.phase == Phase::Joining;
        let subscribed = |slot: &usize| self.interests[*slot].wanted;
        let topics = (0..self.interests.len()).filter(subscribed).count();
        let instance = cx.settings.instance();
        // While partitions are being revoked "unchanged" says that they are still owned.
        let acknowledges = self.acknowledges && self.revoking == 0;
        let lists = !leaves && !joins && (full || acknowledges);
        let owning = self.count_topics(cx, &Share::is_owned);
        let head = heartbeat::Head {
            group: &cx.settings.group,
            member: self.member_id(),
            epoch: match (leaves, instance) {
                (true, Some(_)) => heartbeat::LEAVE_FOR_NOW,
                (true, None) => heartbeat::LEAVE,
                _ => self.epoch,
            },
            instance,
            rack: Some(&*cx.settings.rack).filter(|rack| full && !rack.is_empty()),
            rebalance_timeout_ms: if full { cx.settings.rebalance_timeout.millis() } else { -1 },
        };
        let (net, cluster, settings) = (&mut cx.net, &cx.cluster, &cx.settings);
        net.write(draft, &mut |w, _| heartbeat::begin(w, &head, full.then_some(topics)))?;
        for slot in (0..self.interests.len()).filter(|slot| full && subscribed(slot)) {
            net.write(draft, &mut |w, _| heartbeat::name(w, &cluster.topics[slot].name))?;
        }
        let assignor = settings.assignor().filter(|_| full);
        let count = match joins {
            true => Some(0),
            false => lists.then_some(owning),
        };
        #[cfg(feature = "pattern")]
        let regex = self.expression(settings).filter(|_| full);
        #[cfg(not(feature = "pattern"))]
        let regex = None;
        net.write(draft, &mut |w, version| heartbeat::middle(w, version, regex, assignor, count))?;
        if lists {
            let begin =
                |w: &mut Writer<'_>, _, topic: &Topic, count| heartbeat::owned(w, topic.id, count);
            let end = |w: &mut Writer<'_>, _| heartbeat::end(w);
            self.write_lists(cx, draft, &Share::is_owned, &begin, &end)?;
        }
        cx.net.write(draft, &mut |w, _| heartbeat::end(w))
    }

    pub(super) fn on_heartbeat(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        memo: &mut BeatMemo,
        got: Segment<'_, '_>,
        make_room: &mut dyn FnMut(&mut Self, &mut Cx<'d>) -> bool,
    ) {
        let Some(item) = heartbeat::item(got) else { return };
        match item {
            heartbeat::Item::Head { error, epoch, interval_ms, .. } => {
                memo.valid = from.requested.tag[0] == self.serial;
                memo.error = error;
                if !memo.valid || error.0 != 0 {
                    return;
                }
                if interval_ms > 0 {
                    self.interval = Span::from_millis(interval_ms.max(LEAST).unsigned_abs());
                }
                if epoch > 0 && self.phase == Phase::Leaving && !self.departs {
                    self.epoch = epoch; // for the last commits
                } else if epoch > 0 && self.phase != Phase::Leaving {
                    if epoch != self.epoch && self.growth.waits() {
                        self.growth.over();
                        // Seeds of partitions that other members get are dropped.
                        self.reconciles = true;
                    }
                    self.growth.stirred |= self.phase != Phase::Member;
                    #[cfg(feature = "pattern")]
                    if self.phase != Phase::Member {
                        self.joined_by_pattern(cx.now);
                    }
                    (self.epoch, self.phase) = (epoch, Phase::Member);
                }
                self.each(cx, &mut |group, _, part| group.shares[part].marked = false);
            }
            heartbeat::Item::Topic { id, partitions } if self.takes(memo) => {
                let slot = cx.cluster.named_or_id(None, id);
                #[cfg(feature = "pattern")]
                self.meet(slot, id, memo.marked.unresolved);
                self.mark(cx, &mut memo.marked, slot, partitions, make_room);
            }
            heartbeat::Item::AssignmentEnd => memo.assigned = true,
            heartbeat::Item::Skipped => memo.marked.skipped = true,
            _ => {}
        }
    }

    const fn takes(&self, memo: &BeatMemo) -> bool {
        memo.valid && memo.error.0 == 0 && matches!(self.phase, Phase::Member)
    }

    /// Notes partitions of an assignment.
    pub(super) fn mark(
        &mut self,
        cx: &mut Cx<'d>,
        memo: &mut Marked,
        topic: Option<usize>,
        partitions: Ints<'_>,
        make_room: &mut dyn FnMut(&mut Self, &mut Cx<'d>) -> bool,
    ) {
        let Some(slot) = topic.filter(|slot| self.interests[*slot].active) else {
            memo.unresolved = true;
            return;
        };
        for index in partitions {
            let Ok(index) = u32::try_from(index) else { continue };
            memo.partitions = memo.partitions.saturating_add(1);
            let full = cx.cluster.table.room() == 0 && cx.cluster.table.find(slot, index).is_none();
            if full && !make_room(self, cx) {
                memo.short = true;
                continue;
            }
            match cx.cluster.table.take(slot, index, GROUP) {
                Some(part) => self.shares[part].marked = true,
                None => memo.short = true,
            }
        }
    }

    pub(super) fn heartbeat_done(&mut self, cx: &mut Cx<'d>, memo: &BeatMemo) {
        if !memo.valid {
            return;
        }
        self.beats = false;
        self.dirty = true;
        if self.phase == Phase::Leaving && self.has_left(memo) {
            return self.left();
        }
        if memo.error.0 != 0 {
            return self.refused(cx, memo.error);
        }
        self.failures = 0;
        self.news.recovered();
        self.coordinator.recovered();
        self.beat_at = match self.phase {
            Phase::Leaving => cx.now,
            _ if self.full => cx.now,
            _ => cx.now + self.growth.pace(cx.now, self.interval),
        };
        if !memo.assigned || self.phase != Phase::Member {
            self.work |= self.reconciles;
            return;
        }
        if !self.fits(&memo.marked) {
            return;
        }
        self.unresolved = memo.marked.unresolved;
        #[cfg(feature = "pattern")]
        let found = self.search(cx);
        #[cfg(not(feature = "pattern"))]
        let found = false;
        if self.unresolved && !found {
            self.resolve(cx);
        }
        self.adopt(cx);
    }

    /// Whether all of an assignment fits into this client's memory.
    pub(super) fn fits(&mut self, marked: &Marked) -> bool {
        if !marked.skipped && !marked.short {
            return true;
        }
        let (what, needed) = match marked.short {
            true => (LimitKind::Partitions, marked.partitions as usize),
            false => (LimitKind::ReceiveBuffer, 0),
        };
        self.news.fatal = Some(GroupError::Limit { what, needed });
        false
    }

    /// Takes what was noted for the assignment.
    pub(super) fn adopt(&mut self, cx: &mut Cx<'d>) {
        self.each(cx, &mut |group, _, part| {
            let share = &mut group.shares[part];
            group.reassigned |= share.target != share.marked;
            share.target = share.marked;
        });
        #[cfg(feature = "pattern")]
        self.keep_assigned(cx);
        (self.work, self.news.rebalanced) = (true, true);
        self.reconciles = true;
    }

    /// Whether the coordinator has let the member go.
    fn has_left(&self, memo: &BeatMemo) -> bool {
        let gone = matches!(
            memo.error,
            ErrorCode(0)
                | ErrorCode::UNKNOWN_MEMBER_ID
                | ErrorCode::FENCED_MEMBER_EPOCH
                | ErrorCode::GROUP_ID_NOT_FOUND
                | ErrorCode::FENCED_INSTANCE_ID
        );
        // The response may be to a heartbeat from before.
        gone && self.departs
    }

    /// Requests what is needed to know the topics of the assignment.
    fn resolve(&mut self, cx: &mut Cx<'d>) {
        for slot in 0..self.interests.len() {
            if self.interests[slot].active {
                cx.refresh(slot);
            }
        }
        self.full = true;
    }

    /// Handles an error in the response to a heartbeat (errors.md of Kafka's `Errors`, KIP-848).
    fn refused(&mut self, cx: &mut Cx<'d>, code: ErrorCode) {
        self.full = true;
        if self.judge(cx, code) {
            // Once the coordinator is found, which takes longer each time.
            self.beat_at = cx.now;
            return self.note_trouble(cx.now, Error::Broker(code));
        }
        match code {
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_MEMBER_EPOCH => return,
            ErrorCode::GROUP_ID_NOT_FOUND if self.epoch == 0 => {
                return self.needs_classic(&cx.settings);
            }
            ErrorCode::UNSUPPORTED_VERSION => return self.needs_classic(&cx.settings),
            ErrorCode::GROUP_ID_NOT_FOUND => {
                self.news.fenced = true;
                self.work = true;
                return;
            }
            ErrorCode::GROUP_AUTHORIZATION_FAILED
            | ErrorCode::INVALID_REQUEST
            | ErrorCode::INVALID_GROUP_ID
            | ErrorCode::GROUP_MAX_SIZE_REACHED
            | ErrorCode::FENCED_INSTANCE_ID
            | ErrorCode::UNSUPPORTED_ASSIGNOR
            | ErrorCode::INVALID_REGULAR_EXPRESSION => {
                self.news.fatal = Some(GroupError::Refused(code));
                return;
            }
            _ => {}
        }
        let max = match code {
            ErrorCode::UNRELEASED_INSTANCE_ID => HELD,
            _ => cx.settings.retry_backoff_max,
        };
        self.back_off(cx, max);
        self.note_trouble(cx.now, Error::Broker(code));
    }

    #[cfg(not(feature = "classic"))]
    fn needs_classic(&mut self, _: &crate::config::Settings<'_>) {
        self.news.fatal = Some(GroupError::NeedsClassic);
        self.dirty = true;
    }

    fn back_off(&mut self, cx: &mut Cx<'d>, max: Span) {
        let base = cx.settings.retry_backoff;
        self.beat_at = backoff(&mut cx.rng, cx.now, base, max, self.failures);
        self.failures = self.failures.saturating_add(1);
    }

    /// Handles a heartbeat without a response: it may have had an effect.
    pub(super) fn heartbeat_lost(&mut self, cx: &mut Cx<'d>, serial: u32, error: Error) {
        self.coordinator.forget(cx.now);
        self.dirty = true;
        if serial != self.serial {
            return;
        }
        (self.beats, self.full) = (false, true);
        self.back_off(cx, cx.settings.retry_backoff_max);
        self.note_trouble(cx.now, error);
    }
}
