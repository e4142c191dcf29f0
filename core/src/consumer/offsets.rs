//! ListOffsets: resolves a start, or a position that fell out of the log, to an offset.

use super::{Activity, Assignment, Consumer, Origin, Trouble};
use crate::api::Kind;
use crate::cluster::{Cluster, Cx};
use crate::config::OutOfRange;
use crate::error::{Error, PeerFault};
use crate::event::MoveReason;
use crate::has::{POSITIONS, REASONS};
use crate::memory::{Link, backoff};
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{ApiKey, ErrorCode, list_offsets};

/// An error that retries may mend is reported once it has lasted this long; new partitions return 3
/// and 6 for a moment (R11). The pauses between retries make it less than a second.
const PASSING: Span = Span::from_millis(500);
/// And again after this.
const AGAIN: Span = Span::from_secs(5);
/// Stands for an error code: the response makes no sense.
const FAULT: i16 = i16::MIN + 1;
/// Refusals in a row, more than a second's worth, that still count as the lag of a broker.
const LAGS: u8 = 6;

/// A response as it streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OffsetsMemo {
    topic: Link,
}

impl OffsetsMemo {
    /// Notes the topic of the partitions that follow.
    pub(super) fn names(&mut self, cluster: &Cluster<'_>, name: &str) {
        self.topic = cluster.named(name).map_or(Link::NONE, Link::to);
    }

    pub(super) fn part(&self, cluster: &Cluster<'_>, index: i32) -> Option<usize> {
        cluster.part_of(self.topic, index)
    }
}

impl<'d> Consumer<'d> {
    /// Requests the needed offsets from the broker of a connection. False: no space.
    pub(super) fn send_offsets(&mut self, cx: &mut Cx<'d>, (conn, desk): (usize, usize)) -> bool {
        if self.desks[desk].offsets.is_empty()
            || cx.net.conns[conn].awaits(|kind| kind == Kind::Offsets)
        {
            return true;
        }
        self.request(cx, (conn, desk), Kind::Offsets)
    }

    pub(crate) fn on_offsets(
        &mut self,
        cx: &mut Cx<'d>,
        correlation: i32,
        memo: &mut OffsetsMemo,
        got: Segment<'_, '_>,
    ) {
        let Some(item) = list_offsets::item(got) else { return };
        match item {
            list_offsets::Item::Topic { name } => {
                memo.names(&cx.cluster, name);
            }
            list_offsets::Item::Partition { index, error, offset, leader_epoch, .. } => {
                let Some(part) = memo.part(&cx.cluster, index) else { return };
                let read = &self.reads[part];
                // A seek in between takes precedence.
                let sought = guard!("a seek has the last word", read.requested != correlation);
                if read.state != Activity::Resolve || sought {
                    return;
                }
                self.reads[part].requested = 0;
                if error.0 != 0 {
                    return self.refused(cx, part, error);
                }
                if leader_epoch >= 0 {
                    cx.saw_epoch(part, leader_epoch);
                }
                self.resolved(cx, part, offset);
                self.relink(&cx.cluster, part);
            }
            _ => {}
        }
    }

    /// Handles the loss of a response: what it was about is requested again.
    pub(super) fn not_awaited(&mut self, now: Tick, correlation: i32) {
        while let Some(part) = self.requested_with(correlation) {
            let read = &mut self.reads[part];
            (read.requested, read.retry_at) = (0, now + Span::from_millis(100));
            self.wait(part);
        }
    }

    /// Handles the end of a response: what is still open was left out.
    pub(super) fn left_open(&mut self, cx: &mut Cx<'d>, correlation: i32, api: ApiKey) {
        while let Some(part) = self.requested_with(correlation) {
            self.reads[part].requested = 0;
            self.at_fault(cx, part, PeerFault::LeftOut(api));
        }
    }

    /// Returns a partition that waits for the response to this request.
    fn requested_with(&self, correlation: i32) -> Option<usize> {
        let mut waits = self.by_work.iter(&self.lists.requested);
        waits.find(|part| self.reads[*part].requested == correlation)
    }

    fn resolved(&mut self, cx: &mut Cx<'d>, part: usize, offset: i64) {
        let read = &mut self.reads[part];
        if offset < 0 {
            if read.start.timestamp() >= 0 {
                // No record with such a timestamp: the end is used.
                read.start = Origin::LATEST;
                return;
            }
            return self.at_fault(cx, part, PeerFault::NoValue(ApiKey::LIST_OFFSETS));
        }
        let from = read.position;
        if !read.resets {
            read.recovered();
            read.state = Activity::Fetch;
            (read.position, read.last_epoch) = (offset, -1);
            self.note_resolved();
            if POSITIONS && cx.settings.report_positions {
                self.reads[part].positioned_news = true;
                self.report(part);
            }
            return;
        }
        if cx.settings.out_of_range == OutOfRange::Nearest
            && read.start == Origin::EARLIEST
            && from >= offset
        {
            // Not below the log, so above it: the end of the log decides.
            read.start = Origin::LATEST;
            return;
        }
        read.state = Activity::Fetch;
        read.resets = false;
        let in_range_after_all = read.start == Origin::LATEST
            && cx.settings.out_of_range == OutOfRange::Nearest
            && from <= offset;
        if in_range_after_all {
            // The responses contradict each other: one broker lags, or the log does not know the
            // epoch that was read last, of a topic that was recreated without ids.
            read.go_on_from(-1);
            return self.at_fault(cx, part, PeerFault::OutOfRange);
        }
        read.recovered();
        read.last_epoch = -1;
        self.jump(&cx.cluster, part, offset, MoveReason::OutOfRange);
    }

    /// Handles a position that its leader reports as out of range.
    pub(super) fn out_of_range(&mut self, cx: &Cx<'d>, part: usize) {
        let read = &mut self.reads[part];
        let start = match cx.settings.out_of_range {
            // It was to begin at the first record, which is gone.
            _ if read.start == Origin::EARLIEST && read.position == 0 => Origin::EARLIEST,
            OutOfRange::Nearest | OutOfRange::Earliest => Origin::EARLIEST,
            OutOfRange::Latest => Origin::LATEST,
            OutOfRange::Stop => {
                let error = Error::Broker(ErrorCode::OFFSET_OUT_OF_RANGE);
                return self.park(part, Trouble::Failed(error));
            }
        };
        read.resets = true;
        read.start = start;
        read.state = Activity::Resolve;
        read.requested = 0;
        read.refused.set(None);
        self.relink(&cx.cluster, part);
    }

    /// Sets a growing pause before a partition is tried again.
    pub(super) fn back_off(&mut self, cx: &mut Cx<'d>, part: usize) {
        let read = &mut self.reads[part];
        let base = Span::from_millis(25);
        let max = cx.settings.retry_backoff_max;
        if read.failures == 0 {
            read.failing_since = cx.now;
        }
        read.retry_at = backoff(&mut cx.rng, cx.now, base, max, read.failures);
        read.failures = read.failures.saturating_add(1);
    }

    /// Handles the refusal of a partition in a Fetch or ListOffsets response (errors.md section 4).
    pub(super) fn refused(&mut self, cx: &mut Cx<'d>, part: usize, code: ErrorCode) {
        self.back_off(cx, part);
        // 75 and 78 mean that the broker lags: a metadata request would not help. If they persist,
        // the cluster does not have the epoch: it is that of a topic that was recreated.
        let unknown = code == ErrorCode::UNKNOWN_LEADER_EPOCH;
        let lags =
            matches!(code, ErrorCode::UNKNOWN_LEADER_EPOCH | ErrorCode::OFFSET_NOT_AVAILABLE);
        let passing = code.is_retriable() || code == ErrorCode::UNKNOWN_SERVER_ERROR;
        self.report_failure(cx.now, part, (code.0, passing), Error::Broker(code));
        if unknown {
            self.doubt_epoch(cx, part);
        } else if !lags && (code.is_invalid_metadata() || !passing) {
            cx.suspect(part, code);
        }
        self.wait(part);
    }

    /// Handles a leader that does not have the epoch that was read last, or contradicts itself
    /// about it: it may only lag for a while.
    pub(super) fn doubt_epoch(&self, cx: &mut Cx<'d>, part: usize) {
        let void = self.reads[part].failures > LAGS;
        if guard!("an epoch that no broker has is given up", void) {
            cx.suspect(part, ErrorCode::UNKNOWN_LEADER_EPOCH);
        }
    }

    /// Handles a response that makes no sense for a partition, although it has no error: it is
    /// requested again, ever more slowly.
    pub(super) fn at_fault(&mut self, cx: &mut Cx<'d>, part: usize, fault: PeerFault) {
        if !REASONS {
            return self.refused(cx, part, ErrorCode::CORRUPT_MESSAGE);
        }
        self.back_off(cx, part);
        self.report_failure(cx.now, part, (FAULT, true), Error::Peer(fault));
        self.wait(part);
    }

    /// Notes what keeps a partition from being read; it becomes an event at once, or once it has
    /// lasted if it may pass. `code` distinguishes it from what was reported before.
    pub(super) fn report_failure(
        &mut self,
        now: Tick,
        part: usize,
        (code, passing): (i16, bool),
        error: Error,
    ) {
        let read = &mut self.reads[part];
        let known = read.reported == code;
        // Responses that a broker holds are too few to count them.
        let often = read.failures > 3 || code == FAULT;
        let report = match passing {
            true if known => read.failing_since + AGAIN <= now,
            true => often && read.failing_since + PASSING <= now,
            false => !known,
        };
        read.refused.set(Some(error));
        if report {
            read.trouble = Some(Trouble::Failed(error));
            (read.failing_since, read.reported) = (now, code);
            self.report(part);
        }
    }
}

impl Assignment {
    /// Returns the timestamp for ListOffsets.
    pub(super) fn timestamp(&self) -> i64 {
        self.start.timestamp()
    }
}
