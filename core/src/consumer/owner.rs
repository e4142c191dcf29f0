//! Responses to requests of the consumer.

use super::{Consumer, FetchMemo, OffsetsMemo};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::connection::{InFlight, Origin};
use crate::error::Error;
use crate::event::Event;
use crate::has::REASONS;
use crate::time::Span;
use crate::wire::table::Segment;

/// State that is kept while a response streams in.
pub(crate) enum Memo {
    Fetch(FetchMemo),
    Offsets(OffsetsMemo),
    Epochs(OffsetsMemo),
    #[cfg(feature = "ordered-growth")]
    Ends(OffsetsMemo),
}

impl Memo {
    /// Returns the state of a response that brings records.
    pub(crate) fn fetch(&mut self) -> Option<&mut FetchMemo> {
        match self {
            Self::Fetch(memo) => Some(memo),
            Self::Offsets(_) | Self::Epochs(_) => None,
            #[cfg(feature = "ordered-growth")]
            Self::Ends(_) => None,
        }
    }
}

impl<'d> Consumer<'d> {
    /// Ages all times: the scale of time moves.
    pub(crate) fn age(&mut self, by: Span) {
        let lists = &mut self.lists;
        self.rack_from.age(by);
        lists.wake.age(by);
        lists.search.age(by);
        lists.lease.age(by);
        #[cfg(feature = "ordered-growth")]
        self.follows.iter_mut().for_each(|follow| follow.growth.age(by));
        #[cfg(all(feature = "ordered-growth", feature = "group"))]
        self.waits.age(by);
        for desk in self.desks.iter_mut() {
            desk.pace.age(by);
        }
        for r in self.reads.iter_mut() {
            r.retry_at.age(by);
            r.lease.age(by);
            r.failing_since.age(by);
        }
    }

    pub(crate) fn begin(&self, cx: &Cx<'d>, from: &Origin) -> Memo {
        match from.requested.kind {
            Kind::Fetch => Memo::Fetch(FetchMemo::new(cx.net.conns[from.conn].session.serial)),
            kind if Some(kind) == Kind::EPOCHS => Memo::Epochs(OffsetsMemo::default()),
            #[cfg(feature = "ordered-growth")]
            Kind::Ends => Memo::Ends(OffsetsMemo::default()),
            _ => Memo::Offsets(OffsetsMemo::default()),
        }
    }

    pub(crate) fn item<'a>(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        memo: &mut Memo,
        got: Segment<'_, 'a>,
    ) -> Option<Event<'a>> {
        match memo {
            Memo::Fetch(memo) => self.on_fetch(cx, from.conn, memo, got),
            Memo::Epochs(memo) if Kind::EPOCHS.is_some() => {
                self.on_epochs(cx, from.requested.correlation, memo, got);
            }
            Memo::Epochs(_) => {}
            #[cfg(feature = "ordered-growth")]
            Memo::Ends(memo) => self.on_ends(cx, from.requested.correlation, memo, got),
            Memo::Offsets(memo) => {
                self.on_offsets(cx, from.requested.correlation, memo, got);
            }
        }
        None
    }

    pub(crate) fn done(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        memo: &Memo,
    ) -> Option<Event<'static>> {
        let desk = from.requested.tag[0] as usize;
        match memo {
            Memo::Fetch(memo) => self.on_fetched(cx, (from.conn, desk), memo),
            #[cfg(feature = "ordered-growth")]
            Memo::Ends(_) => self.ends_done(cx, from.requested.correlation),
            _ if !REASONS => self.not_awaited(cx.now, from.requested.correlation),
            _ => self.left_open(cx, from.requested.correlation, from.requested.kind.api()),
        }
        self.due(desk);
        None
    }

    pub(crate) fn lost(&mut self, cx: &mut Cx<'d>, request: &InFlight, _: Error) {
        #[cfg(feature = "ordered-growth")]
        if request.requested.kind == Kind::Ends {
            return self.ends_done(cx, request.requested.correlation);
        }
        if request.requested.kind != Kind::Fetch {
            self.not_awaited(cx.now, request.requested.correlation);
        }
        self.due(request.requested.tag[0] as usize);
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub(crate) fn has_news(&self) -> bool {
        // What was to be reported may have been withdrawn, as by a seek.
        let real = |part: usize| self.reads[part].has_news();
        #[cfg(feature = "ordered-growth")]
        if self.waits.news {
            return true;
        }
        self.news && self.by_news.iter(&self.lists.news).any(real)
    }
}
