//! In place of `producer` where the feature of that name is off: nothing, in the shape that the
//! rest expects.

use core::marker::PhantomData;

use crate::cluster::Cluster;
use crate::connection::{InFlight, Net, Question};
use crate::error::Error;
use crate::event::Event;
use crate::memory::{Blocks, Link, Mem};
use crate::rare::Rare;
use crate::time::Instant;
use crate::wire::table::Segment;

#[derive(Clone, Copy)]
pub(crate) struct Part;

impl Part {
    pub(crate) const EMPTY: Self = Self;
}

#[derive(Clone, Copy)]
pub(crate) struct TopicPart;

impl TopicPart {
    pub(crate) const EMPTY: Self = Self;
}

#[derive(Clone, Copy)]
pub(crate) struct Batch;

impl Batch {
    pub(crate) const EMPTY: Self = Self;
}

#[derive(Default)]
pub(crate) struct AnswerCx(());

pub(crate) struct Producer<'d> {
    pub(crate) dirty: bool,
    pub(crate) deadline: Instant,
    memory: PhantomData<Mem<'d, Part>>,
}

impl<'d> Producer<'d> {
    pub(crate) fn new(
        _: Mem<'d, Part>,
        _: Mem<'d, TopicPart>,
        _: Mem<'d, Batch>,
        _: bool,
        _: usize,
        _: Rare,
    ) -> Self {
        Self { dirty: false, deadline: Instant::NEVER, memory: PhantomData }
    }

    pub(crate) fn on_leader(&mut self, _: &Cluster<'d>, _: usize) {}

    pub(crate) fn drive(&mut self, _: &mut Cluster<'d>, _: &mut Net<'d>, _: Instant) -> Instant {
        Instant::NEVER
    }

    pub(crate) fn has_news(&self) -> bool {
        false
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event<'static>> {
        None
    }

    pub(crate) fn evict_one(&mut self, _: &mut Cluster<'d>) -> bool {
        false
    }

    pub(crate) fn on_grown(&mut self, _: &mut Cluster<'d>, _: Instant, _: usize) {}

    pub(crate) fn may_forget(&self, _: &Cluster<'d>, _: usize) -> bool {
        true
    }

    pub(crate) fn forget(&mut self, _: &mut Cluster<'d>, _: usize) {}

    pub(crate) fn on_recreated(&mut self, _: &Cluster<'d>, _: &mut Blocks<'d>, _: usize) {}

    pub(crate) fn on_init_producer_id(
        &mut self,
        _: &mut Cluster<'d>,
        _: Instant,
        _: Segment<'_, '_>,
    ) {
    }

    pub(crate) fn on_identity(
        &mut self,
        _: &mut Cluster<'d>,
        _: Instant,
        _: Result<(i64, i16), Error>,
    ) {
    }

    pub(crate) fn on_answer(
        &mut self,
        _: &mut Cluster<'d>,
        _: &mut Net<'d>,
        _: Instant,
        _: &Question,
        _: &mut AnswerCx,
        _: Segment<'_, '_>,
    ) {
    }

    pub(crate) fn on_complete(
        &mut self,
        _: &mut Cluster<'d>,
        _: Instant,
        _: &Question,
        _: &AnswerCx,
    ) {
    }

    pub(crate) fn on_lost(&mut self, _: &mut Cluster<'d>, _: Instant, _: &InFlight) {}

    pub(crate) fn on_silent(&mut self, _: &mut Net<'d>, _: Link) {}
}
