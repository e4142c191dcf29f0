//! Responses to requests of the producer: Produce and InitProducerId.

use super::{Identity, Producer, ResponseMemo};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::connection::{InFlight, Origin};
use crate::error::Error;
use crate::event::Event;
use crate::time::Span;
use crate::wire::table::Segment;

/// State that is kept while a response streams in.
pub(crate) enum Memo {
    Identity,
    Produce(ResponseMemo),
}

impl Memo {
    /// Whether the next element may be an event for the application.
    pub(crate) fn explains(&self) -> bool {
        matches!(self, Self::Produce(memo) if memo.explains())
    }
}

impl<'d> Producer<'d> {
    /// Ages all times: the scale of time moves.
    pub(crate) fn age(&mut self, by: Span) {
        self.paused_until.age(by);
        self.waiting_until.age(by);
        self.last_record.age(by);
        #[cfg(feature = "pack")]
        self.packer.age(by);
        if let Identity::Requested(at) | Identity::Wanted(at) | Identity::Refused(_, at) =
            &mut self.identity
        {
            at.age(by);
        }
        for spread in self.spreads.iter_mut() {
            spread.examine.age(by);
            spread.wanted_at.age(by);
            #[cfg(feature = "key-order")]
            spread.mapping.age(by);
        }
        for lane in self.lanes.iter_mut() {
            lane.lingers.age(by);
        }
        for queue in self.queues.iter_mut() {
            queue.retry_at.age(by);
        }
        for batch in self.batches.iter_mut() {
            batch.created.age(by);
            batch.own.age(by);
        }
        self.own_timer.age(by);
    }

    pub(crate) fn begin(&self, _: &Cx<'d>, from: &Origin) -> Memo {
        match from.requested.kind {
            Kind::Produce => Memo::Produce(ResponseMemo::new(from.conn)),
            _ => Memo::Identity,
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
            Memo::Identity => {
                self.on_init_producer_id(cx, from.conn, got);
                None
            }
            Memo::Produce(memo) => self.on_response(cx, from, memo, got),
        }
    }

    pub(crate) fn done(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        memo: &Memo,
    ) -> Option<Event<'static>> {
        if let Memo::Produce(memo) = memo {
            self.on_complete(cx, &from.requested, memo);
        }
        None
    }

    pub(crate) fn lost(&mut self, cx: &mut Cx<'d>, request: &InFlight, error: Error) {
        match request.requested.kind {
            Kind::Produce => self.on_lost(cx, request, error),
            _ => self.on_identity(cx, Err(error)),
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }
}
