//! In place of `consumer` where the feature of that name is off: nothing, in the shape that the
//! rest expects.

use core::marker::PhantomData;

use crate::cluster::Cluster;
use crate::connection::Net;
use crate::event::{Batch, Event};
use crate::memory::Mem;
use crate::time::Instant;
use crate::wire::table::Segment;

#[derive(Clone, Copy)]
pub(crate) struct Read;

impl Read {
    pub(crate) const EMPTY: Self = Self;
}

#[derive(Clone, Copy)]
pub(crate) struct Follow;

impl Follow {
    pub(crate) const EMPTY: Self = Self;
}

#[derive(Clone, Copy)]
pub(crate) struct Desk;

impl Desk {
    pub(crate) const EMPTY: Self = Self;
}

/// A place in a list.
#[derive(Clone, Copy)]
pub(crate) struct Knot;

impl Knot {
    pub(crate) const EMPTY: Self = Self;
}

/// In place of lists.
pub(crate) struct Nodes<'d>(Mem<'d, Knot>);

impl<'d> Nodes<'d> {
    pub(crate) const fn new(nodes: Mem<'d, Knot>) -> Self {
        Self(nodes)
    }
}

pub(crate) struct ConsumerMem<'d> {
    pub(crate) reads: Mem<'d, Read>,
    pub(crate) follows: Mem<'d, Follow>,
    pub(crate) desks: Mem<'d, Desk>,
    pub(crate) by_work: Nodes<'d>,
    pub(crate) by_forget: Nodes<'d>,
    pub(crate) by_news: Nodes<'d>,
    pub(crate) by_due: Nodes<'d>,
}

#[derive(Default)]
pub(crate) struct OffsetsCx(());

pub(crate) struct FetchCx;

impl FetchCx {
    pub(crate) fn new(_: u32) -> Self {
        Self
    }

    pub(crate) fn drop_records(&mut self) {}

    pub(crate) const fn is_dropped(&self) -> bool {
        true
    }

    pub(crate) fn next_batch(&mut self) {}
}

pub(crate) enum Found<'a> {
    More,
    Skip(usize),
    Drop,
    Batch(Batch<'a>, Taken),
}

pub(crate) struct Place {
    pub(crate) partition: u32,
    pub(crate) offset: i64,
    pub(crate) last_epoch: i32,
    pub(crate) leader_epoch: i32,
}

#[derive(Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) len: usize,
}

pub(crate) struct Consumer<'d> {
    pub(crate) news: bool,
    pub(crate) dirty: bool,
    pub(crate) sated: bool,
    memory: PhantomData<Mem<'d, Read>>,
}

impl<'d> Consumer<'d> {
    pub(crate) fn new(_: ConsumerMem<'d>, _: usize) -> Self {
        Self { news: false, dirty: false, sated: false, memory: PhantomData }
    }

    pub(crate) fn on_leader(&mut self, _: &mut Cluster<'d>, _: Instant, _: usize) {}

    pub(crate) fn drive(&mut self, _: &mut Cluster<'d>, _: &mut Net<'d>, _: Instant) -> Instant {
        self.dirty = false;
        Instant::NEVER
    }

    pub(crate) fn on_changed(
        &mut self,
        _: &mut Cluster<'d>,
        _: Instant,
        _: impl FnMut(&mut Cluster<'d>) -> bool,
    ) {
    }

    pub(crate) fn on_recreated(&mut self, _: &mut Cluster<'d>, _: usize) {}

    pub(crate) fn on_room(&mut self) {}

    pub(crate) fn on_fetch(
        &mut self,
        _: &mut Cluster<'d>,
        _: &mut Net<'d>,
        _: Instant,
        _: usize,
        _: &mut FetchCx,
        _: Segment<'_, '_>,
    ) {
    }

    pub(crate) fn on_offsets(
        &mut self,
        _: &mut Cluster<'d>,
        _: Instant,
        _: i32,
        _: &mut OffsetsCx,
        _: Segment<'_, '_>,
    ) {
    }

    pub(crate) fn offsets_done(&mut self, _: &Cluster<'d>, _: Instant, _: i32, _: i32) {}

    pub(crate) fn fetch_done(&mut self, _: &Cluster<'d>, _: i32) {}

    pub(crate) fn look<'a>(
        &mut self,
        _: &Cluster<'d>,
        _: &mut FetchCx,
        _: &'a [u8],
        _: usize,
    ) -> Found<'a> {
        Found::Drop
    }

    pub(crate) fn taken(&mut self, _: &Taken) -> bool {
        false
    }

    pub(crate) fn first_of(&self, _: usize) -> Option<u32> {
        None
    }

    pub(crate) fn place(&self, _: &Cluster<'d>, _: usize) -> Option<Place> {
        None
    }

    pub(crate) fn follow_from(&mut self, _: usize, _: u32) {}

    pub(crate) fn put(&mut self, _: &mut Cluster<'d>, _: Instant, _: usize, _: &Place) -> bool {
        false
    }

    pub(crate) fn poll_event(&mut self, _: &Cluster<'d>) -> Option<Event<'static>> {
        None
    }
}
