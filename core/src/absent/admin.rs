//! In place of `admin` where the feature of that name is off: nothing, in the shape that the rest
//! expects.

use core::marker::PhantomData;

use crate::cluster::Cluster;
use crate::connection::{Net, Question, Ticket};
use crate::error::Error;
use crate::event::Event;
use crate::memory::{Blocks, Mem};
use crate::time::Instant;
use crate::wire::table::Segment;

pub(crate) struct Request;

impl Request {
    pub(crate) const EMPTY: Self = Self;
}

pub(crate) struct Admin<'d> {
    pub(crate) news: bool,
    pub(crate) dirty: bool,
    memory: PhantomData<Mem<'d, Request>>,
}

impl<'d> Admin<'d> {
    pub(crate) fn new(_: Mem<'d, Request>) -> Self {
        Self { news: false, dirty: false, memory: PhantomData }
    }

    pub(crate) fn drive(&mut self, _: &mut Cluster<'d>, _: &mut Net<'d>, _: Instant) -> Instant {
        Instant::NEVER
    }

    pub(crate) fn on_answer<'a>(&mut self, _: &Question, _: Segment<'_, 'a>) -> Option<Event<'a>> {
        None
    }

    pub(crate) fn answered(
        &mut self,
        _: &mut Cluster<'d>,
        _: &mut Blocks<'d>,
        _: Instant,
        _: Ticket,
    ) -> Option<Event<'static>> {
        None
    }

    pub(crate) fn on_lost(&mut self, _: &mut Blocks<'d>, _: Ticket, _: Error) {}

    pub(crate) fn poll_event(&mut self) -> Option<Event<'static>> {
        None
    }
}
