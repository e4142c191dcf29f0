//! Growth: the starts of new partitions are committed first, so that no member of any kind skips
//! what is written meanwhile; then heartbeats request another assignment until it comes.

use super::assignment::Step;
use super::{Group, Interest, Phase};
use crate::cluster::{Cx, GROUP};
use crate::consumer::Consumer;
use crate::time::{Span, Tick};

/// Pace of heartbeats after growth.
const PACE: Span = Span::from_millis(50);
/// They are as fast for this long at most: brokers assign once a second at least.
const HURRY: Span = Span::from_secs(3);
/// A member that does not commit the starts itself leaves this time to the one that does.
const AFTER: Span = Span::from_millis(100);
/// Commits of starts are waited for no longer than this.
const SEEDS: Span = Span::from_millis(500);

/// What is under way because of growth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    /// Topics were subscribed or described since the last look.
    pub(super) stirred: bool,
    /// Partitions whose starts are still to be committed.
    pub(super) seeding: u32,
    /// Some are committed by this member: at once if it owns the first partition of the topic.
    seeds: bool,
    /// When heartbeats begin to be fast at the latest, whether they are, and until when.
    from: Tick,
    pub(super) hurries: bool,
    until: Tick,
}

impl Growth {
    pub(super) const NONE: Self = Self {
        stirred: false,
        seeding: 0,
        seeds: false,
        from: Tick::NEVER,
        hurries: false,
        until: Tick::ZERO,
    };

    pub(super) fn age(&mut self, by: Span) {
        self.from.age(by);
        self.until.age(by);
    }

    /// Returns when the next heartbeat is due after one.
    pub(super) fn pace(&self, now: Tick, interval: Span) -> Span {
        if self.hurries && now < self.until { interval.min(PACE) } else { interval }
    }

    /// Whether the assignment that growth leads to is still to come.
    pub(super) fn waits(&self) -> bool {
        self.until != Tick::ZERO
    }

    /// Whether starts are being committed, and a round or heartbeats wait for them.
    #[cfg(feature = "classic")]
    pub(super) fn prepares(&self) -> bool {
        self.from != Tick::NEVER
    }

    /// A round held back what growth needs: it gets its time now.
    #[cfg(feature = "classic")]
    pub(super) fn resume(&mut self, now: Tick, patience: Span) {
        if self.prepares() {
            self.from = now + SEEDS;
            self.until = self.until.max(now + patience.max(SEEDS));
        }
    }

    /// Heartbeats are fast for a while: the coordinator assigns soon.
    #[cfg(feature = "pattern")]
    pub(super) fn hurry(&mut self, now: Tick) {
        (self.hurries, self.until) = (true, now + HURRY);
    }

    /// The coordinator has assigned again: the member has another epoch.
    pub(super) const fn over(&mut self) {
        (self.from, self.until) = (Tick::NEVER, Tick::ZERO);
        (self.seeds, self.hurries) = (false, false);
    }
}

impl<'d> Group<'d> {
    /// Handles news of a topic: more partitions, or that it is known at all.
    pub(crate) fn on_changed(&mut self, slot: usize) {
        if self.interests[slot].active {
            #[cfg(feature = "pattern")]
            self.pattern.stir();
            (self.growth.stirred, self.dirty) = (true, true);
        }
    }

    /// Handles a topic that was recreated: what was committed is of the one before.
    pub(crate) fn on_recreated(&mut self, cx: &mut Cx<'d>, slot: usize) {
        if !self.interests[slot].active {
            return;
        }
        let (active, wanted) = (true, self.interests[slot].wanted);
        let (known, marked, begun) = (true, true, self.begun);
        #[cfg(feature = "pattern")]
        let joins = self.interests[slot].joins;
        // The leader may know the count of the one before.
        #[cfg(feature = "coverage")]
        let open = u32::from(self.is_classic() && !self.begins_rounds());
        self.interests[slot] = Interest {
            active,
            wanted,
            known,
            marked,
            begun,
            #[cfg(feature = "pattern")]
            joins,
            #[cfg(feature = "coverage")]
            open,
            ..Interest::EMPTY
        };
        #[cfg(feature = "coverage")]
        if open > 0 {
            self.check_growth(cx.now + cx.settings.retry_backoff);
        }
        let mut link = cx.cluster.table.first_of(slot);
        while let Some(part) = link.get() {
            link = cx.cluster.table.next_of(part);
            self.unwant(&mut cx.net.blocks, part);
            let share = &mut self.shares[part];
            (share.taken, share.committed) = Default::default();
            if matches!(share.step, Step::Query | Step::Fetching) {
                (share.step, share.bare) = (Step::Query, true);
            }
        }
        (self.full, self.beat_at) = (true, cx.now);
        #[cfg(feature = "classic")]
        if self.begins_rounds() {
            self.rejoin();
        }
        (self.growth.stirred, self.work, self.dirty) = (true, true, true);
    }

    /// Notices growth; returns when something is due because of it.
    pub(super) fn watch_growth(&mut self, cx: &mut Cx<'d>) -> Tick {
        if core::mem::take(&mut self.growth.stirred) {
            for slot in 0..self.interests.len() {
                let topic = &cx.cluster.topics[slot];
                if self.interests[slot].active && topic.ready {
                    let (seen, count) = (self.interests[slot].seen, topic.count);
                    // Growth that is seen outside a membership is due once there is one.
                    if seen == 0 || self.phase == Phase::Member {
                        self.interests[slot].seen = count;
                    }
                    if seen == 0 && !self.interests[slot].marked {
                        self.interests[slot].count = count;
                    }
                    if seen > 0 && seen < count && self.phase == Phase::Member {
                        self.grown(cx, slot, seen..count);
                    }
                }
            }
            if self.unresolved {
                self.beat_at = self.beat_at.min(cx.now);
            }
        }
        #[cfg(feature = "classic")]
        if self.is_in_round() {
            return Tick::NEVER;
        }
        let growth = &mut self.growth;
        if growth.until != Tick::ZERO && growth.until <= cx.now {
            growth.over();
            // Seeds of partitions that others have.
            (self.reconciles, self.work, self.dirty) = (true, true, true);
            #[cfg(feature = "classic")]
            self.despair(cx.now);
            return cx.now;
        }
        let seeded = growth.seeds && growth.seeding == 0 && !self.work;
        let begins = growth.from != Tick::NEVER && (growth.from <= cx.now || seeded);
        if begins && self.seed_late(cx) {
            return self.growth.from;
        }
        let growth = &mut self.growth;
        if begins {
            growth.from = Tick::NEVER;
            #[cfg(feature = "classic")]
            let hurries = !self.trigger();
            #[cfg(not(feature = "classic"))]
            let hurries = true;
            if hurries {
                self.growth.hurries = true;
                self.beat_at = self.beat_at.min(cx.now);
            }
        }
        let growth = &self.growth;
        growth.from.min(if growth.waits() { growth.until } else { Tick::NEVER })
    }

    /// Handles partitions that were added to a topic.
    fn grown(&mut self, cx: &mut Cx<'d>, slot: usize, added: core::ops::Range<u32>) {
        #[cfg(feature = "classic")]
        if self.is_classic() && self.is_planned(slot, added.end) {
            return;
        }
        // The assignment may have been faster; the others may be a member's that does not know it.
        let known = |index| {
            let part = cx.cluster.table.find(slot, index);
            part.is_some_and(|part| self.shares[part].target)
        };
        if added.clone().all(known) {
            return;
        }
        let first = cx.cluster.table.find(slot, 0);
        let owns = first.is_some_and(|part| self.shares[part].step == Step::Own);
        #[cfg(feature = "classic")]
        let owns = if self.is_classic() { self.is_seeder(owns) } else { owns };
        #[cfg(feature = "coverage")]
        self.suspect(slot, added.start);
        let seeds = Self::seeds(cx) && owns;
        if seeds {
            self.seed(cx, slot, added);
        } else if Self::seeds(cx) {
            self.interests[slot].unseeded = added.start;
        }
        let hurry = HURRY;
        #[cfg(feature = "classic")]
        let hurry = if self.is_classic() { self.patience() } else { hurry };
        let growth = &mut self.growth;
        growth.seeds |= seeds;
        growth.hurries = false;
        growth.from = cx.now + if seeds { SEEDS } else { AFTER };
        growth.until = cx.now + hurry;
        #[cfg(feature = "classic")]
        self.listen(cx.now);
    }

    /// Has the starts committed that the owner of the first partition did not commit: it may be
    /// another client. Returns whether there may be some.
    fn seed_late(&mut self, cx: &mut Cx<'d>) -> bool {
        let mut any = false;
        for slot in 0..self.interests.len() {
            let from = core::mem::take(&mut self.interests[slot].unseeded);
            if from > 0 {
                self.seed(cx, slot, from..cx.cluster.topics[slot].count);
                any = true;
            }
        }
        if any {
            self.growth.seeds = true;
            self.growth.from = cx.now + SEEDS;
            self.dirty = true;
        }
        any
    }

    /// Whether the starts of new partitions are committed for whoever gets them. One that comes
    /// late would undo what a transaction has committed: members that read what is committed and
    /// commit nothing by themselves do without; markers tell where they begin.
    pub(super) fn seeds(cx: &Cx<'d>) -> bool {
        let exact_start = cx.settings.exact_start();
        let exactly_once = cx.settings.isolation() != 0 && !cx.settings.commits_by_itself();
        exact_start && guard!("what a transaction has committed stays", !exactly_once => true)
    }

    /// Has the starts of new partitions committed, as far as there is memory for them.
    pub(super) fn seed(&mut self, cx: &mut Cx<'d>, slot: usize, added: core::ops::Range<u32>) {
        for index in added {
            if cx.cluster.table.room() == 0 && cx.cluster.table.find(slot, index).is_none() {
                return;
            }
            let Some(part) = cx.cluster.table.take(slot, index, GROUP) else { return };
            let share = &mut self.shares[part];
            if share.is_free() {
                (share.step, share.seed) = (Step::Query, true);
                self.growth.seeding += 1;
            }
        }
    }

    /// Gives up seeds that are not in the assignment that is being read: those that are `done`, or
    /// all. Returns whether there were any.
    pub(super) fn drop_seeds(
        &mut self,
        cx: &mut Cx<'d>,
        consumer: &mut Consumer<'d>,
        done: bool,
    ) -> bool {
        let mut any = false;
        self.each(cx, &mut |group, cx, part| {
            let share = &group.shares[part];
            let kept = share.target || share.marked || done && share.step != Step::Seeded;
            let goes = share.seed && share.comes() && !kept;
            if guard!("an assignment comes before seeds", goes) {
                group.drop(cx, consumer, part);
                any = true;
            }
        });
        self.work |= any;
        any
    }
}
