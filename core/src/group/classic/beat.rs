//! Heartbeats between rounds, and the end of a membership.

use super::Round;
use crate::api::Kind;
use crate::cluster::Cx;
use crate::connection::Origin;
use crate::error::Error;
use crate::group::{AGAIN, Group, UNHEARD};
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{Encode, ErrorCode, heartbeat, leave_group};

/// What is not committed so long before the end of leaving is given up, so that the member leaves.
const LAST: Span = Span::from_millis(500);

/// A response as it streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PulseMemo {
    error: ErrorCode,
}

impl<'d> Group<'d> {
    /// Sends a heartbeat if one is due; returns when the next one is.
    pub(super) fn send_pulse(&mut self, cx: &mut Cx<'d>, conn: usize) -> Tick {
        if self.beats {
            return Tick::NEVER;
        }
        if self.beat_at > cx.now {
            return self.beat_at;
        }
        let request = heartbeat::Request {
            group: &cx.settings.group,
            generation: self.epoch,
            member: self.classic.id(),
            instance: cx.settings.instance(),
        };
        let draft =
            cx.net.draft(conn, cx.now, Kind::Beat, &mut |w, version| request.encode(version, w));
        let Some(draft) = draft else { return cx.now + AGAIN };
        self.beats = true;
        let timeout = cx.settings.request_timeout.min(UNHEARD);
        cx.net.send(cx.now, draft, [self.serial, self.epoch as u32], timeout);
        Tick::NEVER
    }

    pub(in crate::group) fn on_pulse(memo: &mut PulseMemo, got: Segment<'_, '_>) {
        if let Some(heartbeat::Item::Head { error, .. }) = heartbeat::item(got) {
            memo.error = error;
        }
    }

    pub(in crate::group) fn pulse_done(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        memo: &PulseMemo,
    ) {
        let [serial, generation] = from.requested.tag;
        if serial != self.serial {
            return;
        }
        (self.beats, self.dirty) = (false, true);
        let interval = cx.settings.classic.heartbeat_interval;
        self.beat_at = cx.now + self.growth.pace(cx.now, interval);
        if generation != self.epoch as u32 {
            return;
        }
        match memo.error {
            ErrorCode(0) => {
                self.failures = 0;
                self.news.recovered();
                self.coordinator.recovered();
            }
            ErrorCode::REBALANCE_IN_PROGRESS => {
                self.coordinator.recovered();
                self.beat_at = cx.now + interval;
                if self.classic.round == Round::Idle {
                    self.look_around(cx);
                    self.hasten(cx);
                    self.rejoin();
                }
            }
            code => {
                if self.judge_round(cx, code) {
                    self.note_trouble(cx.now, Error::Broker(code));
                    self.beat_at = cx.now + cx.settings.retry_backoff;
                }
            }
        }
    }

    /// Has the counts of all topics read: a round may be because of growth, which is then known
    /// before it ends.
    fn look_around(&self, cx: &mut Cx<'d>) {
        for slot in (0..self.interests.len()).filter(|slot| self.interests[*slot].wanted) {
            cx.refresh(slot);
        }
    }

    pub(in crate::group) fn pulse_lost(&mut self, cx: &mut Cx<'d>, serial: u32, error: Error) {
        self.coordinator.forget(cx.now);
        self.dirty = true;
        if serial == self.serial {
            self.beats = false;
            self.beat_at = cx.now + cx.settings.retry_backoff;
            self.note_trouble(cx.now, error);
        }
    }

    /// Commits, then leaves. A static member only goes: its partitions are kept for it.
    pub(super) fn send_farewell(&mut self, cx: &mut Cx<'d>, conn: usize) -> Tick {
        if self.departs {
            return Tick::NEVER;
        }
        let known = !self.classic.id().is_empty();
        let hopeless = self.leave_until - LAST;
        let open = self.commits.are_open() && !self.classic.gives_up;
        let commits = self.epoch > 0 && open && cx.now < hopeless;
        if known && commits {
            let next = match self.classic.round {
                // Between the two parts of a round commits are refused.
                Round::Counting => self.send_counts(cx),
                Round::Syncing => self.send_sync(cx, conn),
                // The coordinator waits for others: it takes them still.
                Round::Parked | Round::Idle => self.send_commits(cx, conn),
            };
            return next.min(hopeless);
        }
        // One that cannot be a member does.
        let is_static = cx.settings.instance().is_some() && !self.news.silent;
        let stays = guard!("a static member does not leave", is_static);
        if !known || stays {
            self.left();
            return Tick::NEVER;
        }
        if self.beat_at > cx.now {
            return self.beat_at;
        }
        let request = leave_group::Request {
            group: &cx.settings.group,
            member: self.classic.id(),
            instance: cx.settings.instance(),
            reason: None,
        };
        let draft =
            cx.net.draft(conn, cx.now, Kind::Leave, &mut |w, version| request.encode(version, w));
        let Some(draft) = draft else { return cx.now + AGAIN };
        self.departs = true;
        let timeout = cx.settings.request_timeout.min(UNHEARD);
        cx.net.send(cx.now, draft, [self.serial, 0], timeout);
        Tick::NEVER
    }

    /// Handles the response to LeaveGroup: only another coordinator could do more.
    pub(in crate::group) fn leave_done(&mut self, cx: &mut Cx<'d>, serial: u32, memo: &PulseMemo) {
        if serial != self.serial || !self.departs {
            return;
        }
        if !memo.error.passes_at_coordinators() {
            return self.left();
        }
        (self.departs, self.dirty) = (false, true);
        self.beat_at = cx.now + cx.settings.retry_backoff;
        self.judge_round(cx, memo.error);
    }

    pub(in crate::group) fn on_leave(memo: &mut PulseMemo, got: Segment<'_, '_>) {
        if let Some(leave_group::Item::Head { error, .. }) = leave_group::item(got) {
            memo.error = error;
        }
    }

    pub(in crate::group) fn leave_lost(&mut self, cx: &mut Cx<'d>, serial: u32) {
        self.coordinator.forget(cx.now);
        self.dirty = true;
        if serial == self.serial {
            self.departs = false;
            self.beat_at = cx.now + cx.settings.retry_backoff;
        }
    }
}
