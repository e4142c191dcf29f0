//! Responses to requests of the group.

use super::Group;
#[cfg(feature = "coverage")]
use super::classic::CoverMemo;
#[cfg(feature = "classic")]
use super::classic::{CountsMemo, JoinMemo, PulseMemo, SyncMemo};
use super::commit::CommitMemo;
use super::committed::QueryMemo;
use super::heartbeat::BeatMemo;
use crate::api::Kind;
use crate::cluster::Cx;
use crate::connection::{InFlight, Origin};
use crate::consumer::Consumer;
use crate::error::Error;
use crate::time::Span;
use crate::wire::table::Segment;

/// State that is kept while a response streams in.
pub(crate) enum Memo {
    Coordinator,
    Beat(BeatMemo),
    Query(QueryMemo),
    Commit(CommitMemo),
    #[cfg(feature = "pattern")]
    Names,
    #[cfg(feature = "classic")]
    Join(JoinMemo),
    #[cfg(feature = "classic")]
    Counts(CountsMemo),
    #[cfg(feature = "classic")]
    Sync(SyncMemo),
    #[cfg(feature = "classic")]
    Pulse(PulseMemo),
    #[cfg(feature = "classic")]
    Leave(PulseMemo),
    #[cfg(feature = "coverage")]
    Cover(CoverMemo),
}

impl<'d> Group<'d> {
    /// Ages all times: the scale of time moves.
    pub(crate) fn age(&mut self, by: Span) {
        self.coordinator.age(by);
        self.beat_at.age(by);
        self.revoke_until.age(by);
        self.look_at.age(by);
        self.fresh_until.age(by);
        for interest in self.interests.iter_mut() {
            interest.check_at.age(by);
        }
        self.queries.retry_at.age(by);
        self.commits.age(by);
        self.growth.age(by);
        #[cfg(feature = "pattern")]
        self.pattern.age(by);
        self.news.age(by);
        #[cfg(feature = "classic")]
        self.classic.age(by);
        self.leave_until.age(by);
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub(crate) fn begin(&self, from: &Origin) -> Memo {
        match from.requested.kind {
            Kind::Coordinator => Memo::Coordinator,
            Kind::Commit => Memo::Commit(CommitMemo::default()),
            Kind::Committed => Memo::Query(QueryMemo::default()),
            #[cfg(feature = "pattern")]
            Kind::Names => Memo::Names,
            #[cfg(feature = "classic")]
            Kind::Join => Memo::Join(JoinMemo::default()),
            #[cfg(feature = "classic")]
            Kind::Counts => Memo::Counts(CountsMemo::default()),
            #[cfg(feature = "classic")]
            Kind::Sync => Memo::Sync(SyncMemo::default()),
            #[cfg(feature = "classic")]
            Kind::Beat => Memo::Pulse(PulseMemo::default()),
            #[cfg(feature = "classic")]
            Kind::Leave => Memo::Leave(PulseMemo::default()),
            #[cfg(feature = "coverage")]
            Kind::Cover => Memo::Cover(CoverMemo::default()),
            _ => Memo::Beat(BeatMemo::default()),
        }
    }

    pub(crate) fn item(
        &mut self,
        cx: &mut Cx<'d>,
        consumer: &mut Consumer<'d>,
        (from, memo): (&Origin, &mut Memo),
        got: Segment<'_, '_>,
        make_room: &mut dyn FnMut(&mut Cx<'d>) -> bool,
    ) {
        match memo {
            Memo::Coordinator => self.on_coordinator(cx, got),
            Memo::Beat(memo) => {
                let make_room = &mut |group: &mut Self, cx: &mut Cx<'d>| {
                    group.free_one(cx, consumer, make_room)
                };
                self.on_heartbeat(cx, from, memo, got, make_room);
            }
            Memo::Query(memo) => self.on_committed(cx, consumer, from, memo, got),
            Memo::Commit(memo) => self.on_commit(cx, from, memo, got),
            #[cfg(feature = "pattern")]
            Memo::Names => self.on_names(cx, from, got),
            #[cfg(feature = "classic")]
            Memo::Join(memo) => self.on_join(cx, from, memo, got),
            #[cfg(feature = "classic")]
            Memo::Counts(memo) => self.on_counts(cx, from, memo, got),
            #[cfg(feature = "classic")]
            Memo::Sync(memo) => {
                let make_room = &mut |group: &mut Self, cx: &mut Cx<'d>| {
                    group.free_one(cx, consumer, make_room)
                };
                self.on_sync(cx, from, memo, got, make_room);
            }
            #[cfg(feature = "classic")]
            Memo::Pulse(memo) => Self::on_pulse(memo, got),
            #[cfg(feature = "classic")]
            Memo::Leave(memo) => Self::on_leave(memo, got),
            #[cfg(feature = "coverage")]
            Memo::Cover(memo) => self.on_cover(cx, from, memo, got),
        }
    }

    pub(crate) fn done(&mut self, cx: &mut Cx<'d>, from: &Origin, memo: &Memo) {
        let serial = from.requested.tag[0];
        match memo {
            Memo::Coordinator => self.coordinator_sought(cx),
            Memo::Beat(memo) => self.heartbeat_done(cx, memo),
            Memo::Query(memo) => self.committed_done(cx, serial, memo),
            Memo::Commit(memo) => self.commit_done(cx, serial, memo),
            #[cfg(feature = "pattern")]
            Memo::Names => self.names_done(cx, serial),
            #[cfg(feature = "classic")]
            Memo::Join(memo) => self.join_done(cx, serial, memo),
            #[cfg(feature = "classic")]
            Memo::Counts(memo) => self.counts_done(cx, from.requested.tag, memo),
            #[cfg(feature = "classic")]
            Memo::Sync(memo) => self.sync_done(cx, serial, memo),
            #[cfg(feature = "classic")]
            Memo::Pulse(memo) => self.pulse_done(cx, from, memo),
            #[cfg(feature = "classic")]
            Memo::Leave(memo) => self.leave_done(cx, serial, memo),
            #[cfg(feature = "coverage")]
            Memo::Cover(memo) => self.cover_done(cx, from.requested.tag, memo),
        }
    }

    pub(crate) fn lost(&mut self, cx: &mut Cx<'d>, lost: &InFlight, error: Error) {
        let serial = lost.requested.tag[0];
        match lost.requested.kind {
            Kind::Coordinator => self.coordinator_sought(cx),
            Kind::Commit => self.commit_lost(cx, serial, error),
            #[cfg(feature = "pattern")]
            Kind::Names => self.names_lost(cx, serial),
            Kind::Committed => {
                if serial == self.serial {
                    self.queries.in_flight = false;
                    self.unfetch(cx);
                    self.query_later(cx, error);
                }
            }
            #[cfg(feature = "classic")]
            Kind::Join => self.join_lost(cx, serial, error),
            #[cfg(feature = "classic")]
            Kind::Counts => self.counts_lost(cx, lost.requested.tag),
            #[cfg(feature = "classic")]
            Kind::Sync => self.sync_lost(cx, serial, error),
            #[cfg(feature = "classic")]
            Kind::Beat => self.pulse_lost(cx, serial, error),
            #[cfg(feature = "classic")]
            Kind::Leave => self.leave_lost(cx, serial),
            #[cfg(feature = "coverage")]
            Kind::Cover => self.cover_lost(cx, serial),
            _ => self.heartbeat_lost(cx, serial, error),
        }
    }
}

impl<'d> Group<'d> {
    /// Frees an entry for an assignment. Seeds whose start is committed are of no more use; others
    /// come last. A device has the entries that it needs, and seeds fewer partitions.
    fn free_one(
        &mut self,
        cx: &mut Cx<'d>,
        consumer: &mut Consumer<'d>,
        make_room: &mut dyn FnMut(&mut Cx<'d>) -> bool,
    ) -> bool {
        let seeds = cfg!(feature = "coverage");
        seeds && self.drop_seeds(cx, consumer, true)
            || free(cx, consumer)
            || make_room(cx)
            || seeds && self.drop_seeds(cx, consumer, false)
    }
}

/// Frees an entry that the consumer keeps for its own sake.
fn free<'d>(cx: &mut Cx<'d>, consumer: &mut Consumer<'d>) -> bool {
    if consumer.free_ghosts(&mut cx.cluster) {
        return true;
    }
    #[cfg(feature = "ordered-growth")]
    let freed = consumer.free_growth(cx);
    #[cfg(not(feature = "ordered-growth"))]
    let freed = false;
    freed
}
