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

macro_rules! nothing {
    ($($name:ident)*) => {
        $(#[derive(Clone, Copy)]
        pub(crate) struct $name;

        impl $name {
            pub(crate) const EMPTY: Self = Self;
        })*
    };
}

nothing!(Queue Spread Batch Lane Spot);

pub(crate) struct ProducerMem<'d> {
    pub(crate) queues: Mem<'d, Queue>,
    pub(crate) places: Mem<'d, Spot>,
    pub(crate) spreads: Mem<'d, Spread>,
    pub(crate) batches: Mem<'d, Batch>,
    pub(crate) ages: Mem<'d, Spot>,
    pub(crate) lanes: Mem<'d, Lane>,
    pub(crate) lane_places: Mem<'d, Spot>,
}

#[derive(Default)]
pub(crate) struct AnswerCx(());

impl AnswerCx {
    pub(crate) fn new(_: usize) -> Self {
        Self(())
    }
}

pub(crate) struct Producer<'d> {
    pub(crate) dirty: bool,
    pub(crate) deadline: Instant,
    memory: PhantomData<&'d ()>,
}

impl<'d> Producer<'d> {
    pub(crate) fn new(_: ProducerMem<'d>, _: bool, _: usize, _: Rare) -> Self {
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

    pub(crate) fn on_grown(&mut self, _: &mut Cluster<'d>, _: Instant) {}

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
        _: &Net<'d>,
        _: Instant,
        _: &Question,
        _: &AnswerCx,
    ) {
    }

    pub(crate) fn on_lost(&mut self, _: &mut Cluster<'d>, _: &Net<'d>, _: Instant, _: &InFlight) {}

    pub(crate) fn on_silent(&mut self, _: &mut Net<'d>, _: Link) {}
}
