//! Responses to requests of the group.

use super::Group;
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
        self.news.age(by);
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
                let make_room =
                    &mut |cx: &mut Cx<'d>| consumer.free_ghosts(&mut cx.cluster) || make_room(cx);
                self.on_heartbeat(cx, from, memo, got, make_room);
            }
            Memo::Query(memo) => self.on_committed(cx, consumer, from, memo, got),
            Memo::Commit(memo) => self.on_commit(cx, from, memo, got),
        }
    }

    pub(crate) fn done(&mut self, cx: &mut Cx<'d>, from: &Origin, memo: &Memo) {
        let serial = from.requested.tag[0];
        match memo {
            Memo::Coordinator => self.coordinator_sought(cx),
            Memo::Beat(memo) => self.heartbeat_done(cx, memo),
            Memo::Query(memo) => self.committed_done(cx, serial, memo),
            Memo::Commit(memo) => self.commit_done(cx, serial, memo),
        }
    }

    pub(crate) fn lost(&mut self, cx: &mut Cx<'d>, lost: &InFlight, error: Error) {
        let serial = lost.requested.tag[0];
        match lost.requested.kind {
            Kind::Coordinator => self.coordinator_sought(cx),
            Kind::Commit => self.commit_lost(cx, serial, error),
            Kind::Committed => {
                if serial == self.serial {
                    self.queries.in_flight = false;
                    self.unfetch(cx);
                    self.query_later(cx, error);
                }
            }
            _ => self.heartbeat_lost(cx, serial, error),
        }
    }
}
