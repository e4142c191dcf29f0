//! Partitions of the member, from their assignment to the end of it.

use super::{Group, Phase, SOON};
use crate::cluster::{Cx, GROUP};
use crate::config::Start;
use crate::consumer::Consumer;
use crate::error::{Error, GroupError};
#[cfg(feature = "given-offsets")]
use crate::memory::Chain;
use crate::time::{Span, Tick};

/// How far a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Step {
    /// Not the member's.
    Free,
    /// Its commit is to be fetched.
    Query,
    /// Its commit is being fetched.
    Fetching,
    /// Its leader resolves where it begins.
    Place,
    /// Where it begins is being committed: no record is given before that.
    Begin,
    /// That is done, of a partition that is no member's yet as far as is known.
    Seeded,
    /// It is read.
    Own,
    /// It is to be given up; the application does not know yet.
    Revoke,
    /// The application knows.
    Revoking,
    /// The application has given it up; what it has read may have to be committed.
    Release,
    /// It is another member's; the application does not know yet.
    Lost,
}

/// An offset, or none, which is all zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offset(i64);

impl Offset {
    pub(super) const NONE: Self = Self(0);

    /// `offset` is 0 or more.
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(super) const fn of(offset: i64) -> Self {
        Self(offset.saturating_add(1))
    }

    pub(super) const fn get(self) -> Option<i64> {
        if self.0 > 0 { Some(self.0 - 1) } else { None }
    }

    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// What the group keeps of a partition in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(super) step: Step,
    /// It is in the last assignment.
    pub(super) target: bool,
    /// It is in the assignment that is being read.
    pub(super) marked: bool,
    /// Its start is committed although it is not assigned: it is new.
    pub(super) seed: bool,
    /// It has no commit.
    pub(super) bare: bool,
    /// The end of its log is resolved first, and then whether it begins there; that end was known
    /// when markers were looked for once more.
    pub(super) contact: bool,
    pub(super) checked: bool,
    /// It is part of the set of commits that is under way.
    pub(super) joined: bool,
    /// The commit that was found has a text of the application.
    pub(super) texted: bool,
    /// Fetches of its commit that failed because of the member's epoch.
    pub(super) stale: u8,
    /// What the application has read, where it reports that itself.
    pub(super) taken: Offset,
    pub(super) taken_epoch: i32,
    /// To be committed.
    pub(super) wanted: Offset,
    pub(super) wanted_epoch: i32,
    /// Being committed; the epoch stays that of the last commit.
    pub(super) sent: Offset,
    pub(super) sent_epoch: i32,
    /// Committed last.
    pub(super) committed: Offset,
    /// The text of the application for its commits.
    #[cfg(feature = "given-offsets")]
    pub(super) text: Chain,
}

impl Share {
    pub(crate) const EMPTY: Self = Self {
        step: Step::Free,
        target: false,
        marked: false,
        seed: false,
        bare: false,
        contact: false,
        checked: false,
        joined: false,
        texted: false,
        stale: 0,
        taken: Offset::NONE,
        taken_epoch: 0,
        wanted: Offset::NONE,
        wanted_epoch: 0,
        sent: Offset::NONE,
        sent_epoch: 0,
        committed: Offset::NONE,
        #[cfg(feature = "given-offsets")]
        text: Chain::EMPTY,
    };

    pub(super) const fn is_free(&self) -> bool {
        matches!(self.step, Step::Free)
    }

    /// Whether the coordinator is to know it as owned.
    pub(super) const fn is_owned(&self) -> bool {
        match self.step {
            Step::Free | Step::Lost => false,
            Step::Revoke | Step::Revoking | Step::Release => true,
            _ => self.target,
        }
    }

    /// Whether it is being read, or was until its revocation.
    pub(super) const fn is_read(&self) -> bool {
        matches!(self.step, Step::Own | Step::Revoke | Step::Revoking | Step::Release)
    }

    /// Whether its start is being committed because it is new.
    #[cfg(feature = "classic")]
    pub(super) const fn is_being_seeded(&self) -> bool {
        self.seed && self.comes() && !matches!(self.step, Step::Seeded)
    }

    const fn goes(&self) -> bool {
        matches!(self.step, Step::Revoke | Step::Revoking | Step::Release)
    }

    pub(super) const fn comes(&self) -> bool {
        matches!(self.step, Step::Query | Step::Fetching | Step::Place | Step::Begin | Step::Seeded)
    }
}

impl<'d> Group<'d> {
    /// Takes each partition as far as it gets now.
    pub(super) fn advance(&mut self, cx: &mut Cx<'d>, consumer: &mut Consumer<'d>) {
        (self.work, self.look_at) = (false, Tick::NEVER);
        if core::mem::take(&mut self.news.fenced) {
            self.fenced(cx, consumer);
        }
        if core::mem::take(&mut self.reconciles) {
            self.reconcile(cx, consumer);
        }
        let late = self.revoking > 0 && self.revoke_until <= cx.now;
        let was = self.revoking;
        (self.revoking, self.coming) = (0, 0);
        self.growth.seeding = 0;
        self.each(cx, &mut |group, cx, part| group.step(cx, consumer, part, late));
        for slot in 0..self.interests.len() {
            self.retire(cx, slot);
        }
        if self.revoking > 0 {
            self.look_at = self.revoke_until;
        } else if was > 0 {
            self.acknowledge(cx.now);
            #[cfg(feature = "classic")]
            self.gave_up();
        }
        self.check_contacts(cx, consumer);
        if self.coming == 0 && self.revoking == 0 && core::mem::take(&mut self.news.rebalanced) {
            self.news.stable = self.phase == Phase::Member;
        }
    }

    /// Has the next heartbeat list what is owned, at once.
    pub(super) fn acknowledge(&mut self, now: Tick) {
        // In a classic group the next round does.
        #[cfg(feature = "classic")]
        if self.is_classic() {
            return;
        }
        if self.phase == Phase::Member {
            (self.acknowledges, self.beat_at) = (true, now);
            self.dirty = true;
        }
    }

    /// Takes a partition one step further.
    fn step(&mut self, cx: &mut Cx<'d>, consumer: &mut Consumer<'d>, part: usize, late: bool) {
        match self.shares[part].step {
            Step::Query if self.shares[part].bare => {
                let slot = usize::from(cx.cluster.table[part].topic);
                #[cfg(feature = "pattern")]
                let told = !self.interests[slot].joins;
                #[cfg(not(feature = "pattern"))]
                let told = true;
                if told && (self.interests[slot].known || !cx.settings.exact_start()) {
                    let start = self.start_of(cx, part);
                    let latest = cx.settings.exact_start() && matches!(self.start, Start::Latest);
                    let contact = latest && matches!(start, Start::Latest | Start::Timestamp(_));
                    self.shares[part].contact = contact;
                    let start = if contact { Start::Latest } else { start };
                    self.place(cx, consumer, part, start, -1);
                }
            }
            Step::Release if late || !self.has_commits(part) => {
                self.finish(cx, consumer, part);
            }
            Step::Revoke | Step::Revoking if late => self.finish(cx, consumer, part),
            _ => {}
        }
        if self.shares[part].step == Step::Place
            && let Some(position) = consumer.position(part)
            && let Some(position) = self.begin_of(cx, consumer, part, position)
        {
            self.positioned(cx, consumer, part, position);
        }
        let committed = !self.shares[part].committed.is_none();
        if self.shares[part].step == Step::Begin && (committed || !self.has_commits(part)) {
            self.shares[part].step = Step::Seeded;
        }
        if self.shares[part].step == Step::Seeded && self.shares[part].target {
            self.admit(cx, consumer, part);
        }
        let share = &self.shares[part];
        self.revoking += u32::from(share.goes());
        self.coming += u32::from(share.comes() && share.target);
        let seeding = share.comes() && share.seed && share.step != Step::Seeded;
        self.growth.seeding += u32::from(seeding);
    }

    /// Has the consumer find where a partition begins, without reading it yet.
    pub(super) fn place(
        &mut self,
        cx: &mut Cx<'d>,
        consumer: &mut Consumer<'d>,
        part: usize,
        start: Start,
        epoch: i32,
    ) {
        match consumer.assign_aside(cx, part, start, epoch) {
            Ok(()) => self.shares[part].step = Step::Place,
            Err(Error::Limit { what, needed }) => {
                self.news.fatal = Some(GroupError::Limit { what, needed });
                self.dirty = true;
            }
            // Assigned by the application itself, which reads it already.
            Err(_) => self.shares[part].step = Step::Own,
        }
    }

    /// Handles a partition whose start is known.
    fn positioned(
        &mut self,
        cx: &mut Cx<'d>,
        consumer: &mut Consumer<'d>,
        part: usize,
        position: i64,
    ) {
        let share = &mut self.shares[part];
        share.taken = Offset::of(position);
        share.taken_epoch = consumer.last_epoch(part);
        share.step = Step::Begin;
        if share.committed.is_none() && cx.settings.exact_start() {
            let epoch = share.taken_epoch;
            self.want(part, position, epoch);
            self.dirty = true;
        } else if share.committed.is_none() {
            share.step = Step::Seeded;
        }
    }

    /// Has a partition read.
    fn admit(&mut self, cx: &mut Cx<'d>, consumer: &mut Consumer<'d>, part: usize) {
        let share = &mut self.shares[part];
        (share.step, share.seed) = (Step::Own, false);
        #[cfg(feature = "ordered-growth")]
        {
            let slot = usize::from(cx.cluster.table[part].topic);
            consumer.hold_added(cx, part, self.interests[slot].count, true);
        }
        consumer.admit(&cx.cluster, part);
    }

    /// Compares the last assignment with what there is.
    fn reconcile(&mut self, cx: &mut Cx<'d>, consumer: &mut Consumer<'d>) {
        self.each(cx, &mut |group, cx, part| {
            let share = &mut group.shares[part];
            match (share.target, share.step) {
                (true, Step::Free) => share.step = Step::Query,
                // It may have been another member's since it was seeded.
                (true, Step::Seeded) if share.seed => group.finish(cx, consumer, part),
                // It is back before the application has heard of it.
                (true, Step::Revoke) => {
                    share.step = Step::Own;
                    consumer.resume(&cx.cluster, part);
                }
                (false, Step::Free) => cx.cluster.table.release(part, GROUP),
                (false, Step::Own) => {
                    share.step = Step::Revoke;
                    consumer.pause(&cx.cluster, part);
                }
                // Seeds are kept until the assignment that their growth leads to.
                (false, _) if share.comes() && !(share.seed && group.growth.waits()) => {
                    group.drop(cx, consumer, part);
                }
                _ => {}
            }
        });
        if self.revoking == 0 {
            let limit = cx.settings.rebalance_timeout;
            // The coordinator counts from when it sent the assignment.
            self.revoke_until = cx.now + limit.scaled(960);
        }
        self.fresh_until = cx.now + SOON;
        // With partitions to be revoked the acknowledgement follows when that is done.
        let revokes = self.news_of_revocation(cx);
        let changed = core::mem::take(&mut self.reassigned);
        // The coordinator says so to a member without partitions with each heartbeat.
        if !revokes && guard!("what has not changed is not acknowledged", changed => true) {
            self.acknowledge(cx.now);
        }
        self.dirty = true;
    }

    fn news_of_revocation(&mut self, cx: &mut Cx<'d>) -> bool {
        let mut any = false;
        self.each(cx, &mut |group, _, part| any |= group.shares[part].goes());
        self.news.revokes |= any;
        any
    }

    /// Ends the revocation of a partition.
    pub(super) fn finish(&mut self, cx: &mut Cx<'d>, consumer: &mut Consumer<'d>, part: usize) {
        let (target, entry) = (self.shares[part].target, cx.cluster.table[part]);
        self.drop(cx, consumer, part);
        // It came back while it was on its way out.
        if target
            && let Some(part) = cx.cluster.table.take(usize::from(entry.topic), entry.index, GROUP)
        {
            self.shares[part] = Share { step: Step::Query, target: true, ..Share::EMPTY };
            (self.work, self.dirty) = (true, true);
        }
    }

    /// Forgets a partition.
    pub(super) fn drop(&mut self, cx: &mut Cx<'d>, consumer: &mut Consumer<'d>, part: usize) {
        self.unwant(&mut cx.net.blocks, part);
        self.shares[part] = Share::EMPTY;
        if consumer.is_assigned(part) {
            consumer.unassign(&mut cx.cluster, part);
        }
        cx.cluster.table.release(part, GROUP);
    }

    /// Handles the loss of the membership: others may read the partitions already.
    fn fenced(&mut self, cx: &mut Cx<'d>, consumer: &mut Consumer<'d>) {
        self.give_up_all(cx, consumer, true);
        self.commits.fail(GroupError::NoMember);
        if self.phase == Phase::Leaving {
            return self.left();
        }
        self.phase = Phase::Joining;
        self.renew();
        let pause = if self.failures > 0 { cx.settings.retry_backoff_max } else { Span::ZERO };
        self.beat_at = cx.now + pause;
        #[cfg(feature = "classic")]
        self.join_at(self.beat_at);
        self.failures = self.failures.saturating_add(1);
    }

    /// Gives all partitions up: because they are lost, or to leave.
    pub(super) fn give_up_all(&mut self, cx: &mut Cx<'d>, consumer: &mut Consumer<'d>, lost: bool) {
        self.each(cx, &mut |group, cx, part| {
            let share = &mut group.shares[part];
            (share.target, share.seed, share.marked) = (false, false, false);
            if lost && share.step == Step::Release {
                group.drop(cx, consumer, part); // the application gave it up before
            } else if lost && share.is_read() {
                group.unwant(&mut cx.net.blocks, part);
                group.shares[part].step = Step::Lost;
                group.news.losses = true;
                consumer.pause(&cx.cluster, part);
            } else if share.is_read() {
                share.step = Step::Release;
                consumer.pause(&cx.cluster, part);
            } else if share.step != Step::Lost {
                group.drop(cx, consumer, part);
            }
        });
        if !lost {
            self.revoke_until = self.leave_until;
        }
        self.revoking = 0;
    }

    /// The application has given a partition up.
    pub(crate) fn release(&mut self, cx: &mut Cx<'d>, consumer: &Consumer<'d>, part: usize) {
        if !matches!(self.shares[part].step, Step::Revoke | Step::Revoking) {
            return;
        }
        self.shares[part].step = Step::Release;
        if cx.settings.commits_by_itself() {
            self.commit_one(cx, consumer, part, false);
        }
        (self.work, self.dirty) = (true, true);
    }
}
