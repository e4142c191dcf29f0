//! What is reported to the application.

use super::assignment::Step;
#[cfg(feature = "coverage")]
use super::classic::Unassigned;
use super::{Group, Phase};
use crate::cluster::Cx;
use crate::consumer::Consumer;
use crate::error::{Error, GroupError};
use crate::event::Event;
use crate::has;
use crate::memory::Link;
use crate::time::{Span, Tick};

/// Trouble that passes is reported once it has lasted this long.
const PASSING: Span = Span::from_millis(500);

/// News that were not reported yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    /// The membership has ended by this.
    pub(super) fatal: Option<GroupError>,
    pub(super) failed: Option<GroupError>,
    /// The coordinator knows the member no longer.
    pub(super) fenced: bool,
    pub(super) revokes: bool,
    pub(super) losses: bool,
    /// The assignment has changed since all of it was in place.
    pub(super) rebalanced: bool,
    pub(super) stable: bool,
    pub(super) left: bool,
    /// Leaving is not the application's doing.
    pub(super) silent: bool,
    trouble: Option<Error>,
    troubled_since: Tick,
    reported: bool,
    /// The partition whose revocation was reported last: it is given up with the next poll.
    revoked: Option<u32>,
}

impl News {
    pub(super) const NONE: Self = Self {
        fatal: None,
        failed: None,
        fenced: false,
        revokes: false,
        losses: false,
        rebalanced: false,
        stable: false,
        left: false,
        silent: false,
        trouble: None,
        troubled_since: Tick::ZERO,
        reported: false,
        revoked: None,
    };

    pub(super) fn age(&mut self, by: Span) {
        self.troubled_since.age(by);
    }

    /// The coordinator has responded without an error.
    pub(super) const fn recovered(&mut self) {
        (self.trouble, self.troubled_since, self.reported) = (None, Tick::ZERO, false);
    }

    /// The application keeps a partition for now although its revocation was reported.
    pub(super) fn keep(&mut self, part: usize) {
        self.revoked = self.revoked.filter(|revoked| *revoked as usize != part);
    }
}

impl<'d> Group<'d> {
    /// Notes what keeps the coordinator from being of use.
    pub(super) fn note_trouble(&mut self, now: Tick, error: Error) {
        if !has::REASONS {
            return;
        }
        let news = &mut self.news;
        if news.troubled_since == Tick::ZERO {
            news.troubled_since = now;
        }
        if !news.reported && news.troubled_since + PASSING <= now {
            (news.trouble, news.reported) = (Some(error), true);
        }
    }

    pub(crate) fn has_news(&self) -> bool {
        let news = &self.news;
        #[cfg(feature = "pattern")]
        if self.pattern.has_news() {
            return true;
        }
        news.failed.is_some()
            || news.revokes
            || news.losses
            || news.stable
            || news.left
            || self.has_unassigned()
            || (has::REASONS && news.trouble.is_some())
            || self.commits.has_news()
    }

    /// Ends the event that the application had: a reported revocation.
    pub(crate) fn proceed(&mut self, cx: &mut Cx<'d>, consumer: &Consumer<'d>) {
        if let Some(part) = self.news.revoked.take() {
            self.release(cx, consumer, part as usize);
        }
    }

    /// Returns the next event.
    pub(crate) fn poll_event(
        &mut self,
        cx: &mut Cx<'d>,
        consumer: &mut Consumer<'d>,
    ) -> Option<Event<'static>> {
        let lost = if self.news.losses { self.find(cx, Step::Lost) } else { None };
        self.news.losses = lost.is_some();
        let looks = self.news.revokes && lost.is_none();
        let revoked = if looks { self.find(cx, Step::Revoke) } else { None };
        self.news.revokes &= !looks || revoked.is_some();
        if let Some(part) = lost.or(revoked) {
            let at = Consumer::id(&cx.cluster, part);
            let partition = Consumer::topic_partition(&cx.cluster, part);
            if lost.is_some() {
                self.finish(cx, consumer, part);
                return Some(Event::Lost { at, partition });
            }
            self.shares[part].step = Step::Revoking;
            self.news.revoked = Some(part as u32);
            return Some(Event::Revoking { at, partition });
        }
        #[cfg(feature = "pattern")]
        if let Some(event) = self.poll_topics(cx) {
            return Some(event);
        }
        if let Some((id, result)) = self.commits.take_news() {
            // The next set waits for that.
            self.dirty = true;
            return Some(Event::Committed { id, result });
        }
        if has::REASONS
            && let Some(error) = self.news.trouble.take()
        {
            return Some(Event::GroupTrouble { error });
        }
        if let Some(error) = self.news.failed.take() {
            return Some(Event::GroupFailed { error });
        }
        #[cfg(feature = "coverage")]
        if let Some(found) = self.classic.cover.news.take() {
            let Unassigned { topic, first, last, partitions } = found;
            return Some(Event::Unassigned { topic, first, last, partitions });
        }
        if core::mem::take(&mut self.news.stable) && self.phase == Phase::Member {
            let owned = |slot| self.count(cx, slot, &super::Share::is_read) as u32;
            let partitions = (0..self.interests.len()).map(owned).sum();
            return Some(Event::GroupStable { epoch: self.epoch, partitions });
        }
        core::mem::take(&mut self.news.left).then_some(Event::GroupLeft)
    }

    /// Whether partitions that no member has are to be reported.
    const fn has_unassigned(&self) -> bool {
        #[cfg(feature = "coverage")]
        return self.classic.cover.news.is_some();
        #[cfg(not(feature = "coverage"))]
        false
    }

    fn find(&self, cx: &Cx<'d>, step: Step) -> Option<usize> {
        for slot in 0..self.interests.len() {
            let mut link = match self.interests[slot].active {
                true => cx.cluster.table.first_of(slot),
                false => Link::NONE,
            };
            while let Some(part) = link.get() {
                if self.shares[part].step == step {
                    return Some(part);
                }
                link = cx.cluster.table.next_of(part);
            }
        }
        None
    }
}
