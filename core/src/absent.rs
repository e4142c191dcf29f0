//! Stand-in for parts that a build leaves out (features `producer`, `consumer`, `admin`): one type
//! in place of all of them that does nothing, with the methods that `client` expects of each.

use core::marker::PhantomData;

use crate::cluster::{Cluster, Cx};
use crate::connection::{InFlight, Net, Origin};
use crate::error::Error;
use crate::event::Event;
use crate::memory::{Link, Mem};
use crate::setup::Setup;
use crate::time::{Span, Tick};
use crate::wire::table::Segment;

/// An entry of a table of an absent part: no memory.
#[derive(Clone, Copy)]
pub(crate) struct Nothing;

impl Nothing {
    pub(crate) const EMPTY: Self = Self;

    #[cfg(not(feature = "producer"))]
    #[expect(clippy::unused_self, reason = "as of the producer's")]
    pub(crate) const fn explains(&self) -> bool {
        false
    }
}

/// An absent part.
pub(crate) struct Absent<'d>(PhantomData<&'d ()>);

impl<'d> Absent<'d> {
    pub(crate) fn new<T>(_: T, _: &Setup) -> Self {
        Self(PhantomData)
    }

    pub(crate) fn age(&mut self, _: Span) {}

    pub(crate) fn is_dirty(&self) -> bool {
        false
    }

    pub(crate) fn has_news(&self) -> bool {
        false
    }

    pub(crate) fn begin(&self, _: &Cx<'d>, _: &Origin) -> Nothing {
        Nothing
    }

    pub(crate) fn item<'a, C>(
        &mut self,
        _: &mut Cx<'d>,
        _: &Origin,
        _: &mut C,
        _: Segment<'_, 'a>,
    ) -> Option<Event<'a>> {
        None
    }

    pub(crate) fn done<C>(&mut self, _: &mut Cx<'d>, _: &Origin, _: &C) -> Option<Event<'static>> {
        None
    }

    pub(crate) fn lost(&mut self, _: &mut Cx<'d>, _: &InFlight, _: Error) {}

    pub(crate) fn drive(&mut self, _: &mut Cx<'d>) -> Tick {
        Tick::NEVER
    }

    pub(crate) fn forget(&mut self, _: &mut Cluster<'d>, _: usize) {}

    pub(crate) fn on_recreated(&mut self, _: &mut Cx<'d>, _: usize) {}

    pub(crate) fn poll_event(&mut self, _: &Cluster<'d>) -> Option<Event<'static>> {
        None
    }
}

/// The memory of an absent producer.
#[cfg(not(feature = "producer"))]
pub(crate) struct ProducerMem<'d> {
    pub(crate) queues: Mem<'d, Nothing>,
    pub(crate) places: Mem<'d, Nothing>,
    pub(crate) spreads: Mem<'d, Nothing>,
    pub(crate) batches: Mem<'d, Nothing>,
    pub(crate) ages: Mem<'d, Nothing>,
    pub(crate) lanes: Mem<'d, Nothing>,
    pub(crate) lane_places: Mem<'d, Nothing>,
}

/// What `client` expects only of a producer.
#[cfg(not(feature = "producer"))]
impl<'d> Absent<'d> {
    pub(crate) fn unfinished(&self) -> u32 {
        0
    }

    pub(crate) fn on_leader(&mut self, _: &Cluster<'d>, _: usize) {}

    pub(crate) fn on_ways_changed(&mut self) {}

    pub(crate) fn poll_outcome(&mut self, _: &mut Net<'d>) -> Option<Event<'static>> {
        None
    }

    pub(crate) fn evict_one(&mut self, _: &mut Cluster<'d>) -> bool {
        false
    }

    pub(crate) fn on_grown(&mut self, _: &mut Cx<'d>, _: usize) {}

    pub(crate) fn may_forget(&self, _: &Cluster<'d>, _: usize) -> bool {
        true
    }

    pub(crate) fn on_silent(&mut self, _: &mut Net<'d>, _: Link) {}
}

#[cfg(not(feature = "consumer"))]
pub(crate) use no_consumer::*;

/// What `client` and `snapshot` expect only of a consumer.
#[cfg(not(feature = "consumer"))]
mod no_consumer {
    use super::{Absent, Nothing};
    use crate::cluster::{Cluster, Cx};
    use crate::event::Batch;
    use crate::memory::Mem;

    /// In place of lists.
    pub(crate) struct Knots<'d>(#[expect(dead_code)] Mem<'d, Nothing>);

    impl<'d> Knots<'d> {
        pub(crate) const fn new(nodes: Mem<'d, Nothing>) -> Self {
            Self(nodes)
        }
    }

    /// The memory of an absent consumer.
    pub(crate) struct ConsumerMem<'d> {
        pub(crate) reads: Mem<'d, Nothing>,
        pub(crate) follows: Mem<'d, Nothing>,
        pub(crate) desks: Mem<'d, Nothing>,
        /// One place for each partition.
        pub(crate) by_work: Knots<'d>,
        pub(crate) by_forget: Knots<'d>,
        pub(crate) by_news: Knots<'d>,
        /// One place for each broker.
        pub(crate) by_due: Knots<'d>,
    }

    pub(crate) enum Found<'a> {
        More,
        Skip(usize),
        Drop,
        Batch(Batch<'a>, Taken),
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Taken {
        pub(crate) len: usize,
    }

    pub(crate) struct Bookmark {
        pub(crate) partition: u32,
        pub(crate) offset: i64,
        pub(crate) last_epoch: i32,
        pub(crate) leader_epoch: i32,
    }

    impl Nothing {
        pub(crate) fn fetch(&mut self) -> Option<&mut Self> {
            None
        }

        pub(crate) fn drop_records(&mut self) {}

        pub(crate) fn is_dropped(&self) -> bool {
            true
        }

        pub(crate) fn next_batch(&mut self) {}
    }

    impl<'d> Absent<'d> {
        pub(crate) fn on_changed(
            &mut self,
            _: &mut Cx<'d>,
            _: usize,
            _: impl FnMut(&mut Cx<'d>) -> bool,
        ) {
        }

        pub(crate) fn on_relocated(&mut self, _: &mut Cx<'d>, _: usize) {}

        pub(crate) fn set_sated(&mut self, _: bool) {}

        pub(crate) fn unfollow(&mut self, _: &mut Cluster<'d>, _: usize) {}

        pub(crate) fn on_room(&mut self) {}

        pub(crate) fn look<'a>(
            &mut self,
            _: &Cx<'d>,
            _: &mut Nothing,
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

        pub(crate) fn bookmark(&self, _: &Cluster<'d>, _: usize) -> Option<Bookmark> {
            None
        }

        pub(crate) fn is_followed(&self, _: usize) -> bool {
            false
        }

        pub(crate) fn follow_from(&mut self, _: usize, _: u32) {}

        pub(crate) fn put(&mut self, _: &mut Cx<'d>, _: usize, _: &Bookmark) -> bool {
            false
        }
    }
}
