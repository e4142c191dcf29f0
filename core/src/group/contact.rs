//! First contact under `latest`. Members that come at the same time find no marker, each of them.
//! One that commits where it begins promises that nothing after that is skipped, also where another
//! begins later: so each looks for markers once more when it knows where it would begin.

use super::assignment::{Offset, Step};
use super::committed::SLACK;
use super::{Group, Interest};
use crate::cluster::Cx;
use crate::config::Start;
use crate::consumer::Consumer;
use crate::time::{Span, Tick};

/// Partitions whose start is known wait so long for those whose is not.
const TOGETHER: Span = Span::from_millis(500);

/// The second look for markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Check {
    /// Due once the starts are known.
    Open,
    /// Under way.
    Looking,
    /// There was still none.
    Alone,
    /// Another member was first.
    Late,
}

impl<'d> Group<'d> {
    /// Handles a topic whose markers are known: without one this is the group's first contact.
    pub(super) fn contacted(&mut self, slot: usize) {
        let begun = self.begun;
        #[cfg(feature = "pattern")]
        self.met_before(slot);
        let interest = &mut self.interests[slot];
        if interest.check == Check::Looking {
            interest.check = if interest.fresh { Check::Alone } else { Check::Late };
        }
        (interest.known, interest.scans) = (true, false);
        if !interest.marked {
            (interest.begun, interest.marked) = (begun, true);
            interest.fresh = true;
        }
        (self.work, self.dirty) = (true, true);
    }

    /// Returns where a partition begins whose leader says that its log ends at `position`, or that
    /// it has the time of first contact there; `None` while that is not decided. If markers are
    /// known, or came meanwhile, it begins where nothing is skipped: at the first record since
    /// then, but not behind the end that was found before that was looked for.
    pub(super) fn begin_of(
        &mut self,
        cx: &Cx<'d>,
        consumer: &mut Consumer<'d>,
        part: usize,
        position: i64,
    ) -> Option<i64> {
        let slot = usize::from(cx.cluster.table[part].topic);
        let Interest { check, begun, fresh, .. } = self.interests[slot];
        let share = &mut self.shares[part];
        if !share.contact {
            let end = share.taken.get().filter(|end| *end < position);
            let Some(end) = end else { return Some(position) };
            // It is a legal offset.
            let _ = consumer.seek(cx, part, Start::Offset(end));
            return Some(end);
        }
        let alone = match check {
            Check::Alone => share.checked,
            Check::Open | Check::Looking if fresh => return None,
            _ => false,
        };
        share.contact = false;
        if guard!("a second look for markers", alone => true) {
            return Some(position);
        }
        share.taken = Offset::of(position);
        // Starts by time are legal.
        consumer.seek(cx, part, since(begun)).is_err().then_some(position)
    }

    /// Begins second looks that are due.
    pub(super) fn check_contacts(&mut self, cx: &mut Cx<'d>, consumer: &Consumer<'d>) {
        for slot in 0..self.interests.len() {
            let interest = &self.interests[slot];
            if !interest.active || !interest.fresh || interest.check != Check::Open {
                continue;
            }
            let placed = |part: &usize| {
                let share = &self.shares[*part];
                share.step == Step::Place && share.contact
            };
            let (mut ready, mut all) = (0, 0);
            for part in cx.cluster.table.of_topic(slot).filter(placed) {
                all += 1;
                ready += usize::from(consumer.position(part).is_some());
            }
            if ready == 0 {
                continue;
            }
            let interest = &mut self.interests[slot];
            if interest.check_at == Tick::ZERO {
                interest.check_at = cx.now + TOGETHER;
            }
            if ready < all && cx.now < interest.check_at {
                self.look_at = self.look_at.min(interest.check_at);
                continue;
            }
            (interest.check, interest.scans, interest.scanned) = (Check::Looking, true, 0);
            let mut link = cx.cluster.table.first_of(slot);
            while let Some(part) = link.get() {
                link = cx.cluster.table.next_of(part);
                self.shares[part].checked = consumer.position(part).is_some();
            }
            self.dirty = true;
        }
    }
}

/// Where a partition without a commit begins if the group was there before.
pub(super) fn since(begun: i64) -> Start {
    match begun {
        0 => Start::Earliest,
        begun => Start::Timestamp(begun.saturating_sub(SLACK).max(0)),
    }
}
