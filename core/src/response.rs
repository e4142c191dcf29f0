//! The response that a connection is in the middle of.

use crate::connection::{Expected, HandshakeMemo};
#[cfg(feature = "group")]
use crate::group;
use crate::time::{Span, Tick};
#[cfg(feature = "transactions")]
use crate::transaction;
use crate::wire::table::Walker;
use crate::{admin, cluster, consumer, producer};

/// Which part of a frame comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Frame {
    Length,
    Correlation,
    /// The tagged fields of the response's header.
    Tags,
    Body,
    /// The rest of the frame, which is ignored.
    Rest,
}

/// What the owner of a response remembers while it streams in.
#[repr(u8)]
pub(crate) enum Memo {
    None,
    Handshake(HandshakeMemo),
    Cluster(cluster::Memo),
    Producer(producer::Memo),
    Consumer(consumer::Memo),
    Admin(admin::Memo),
    #[cfg(feature = "group")]
    Group(group::Memo),
    #[cfg(feature = "transactions")]
    Transaction(transaction::Memo),
}

/// See the module; one per connection.
pub(crate) struct ResponseSlot {
    pub(crate) frame: Frame,
    /// Bytes of the frame that were not read yet.
    pub(crate) left: u32,
    pub(crate) expected: Expected,
    /// The position in the header's tags or in the body.
    pub(crate) walker: Walker,
    pub(crate) memo: Memo,
    /// Polling an event may yield one from here.
    pub(crate) ready: bool,
    /// Since when records wait to be polled, on a connection that others need too.
    pub(crate) waiting_since: Option<Tick>,
}

impl ResponseSlot {
    pub(crate) const EMPTY: Self = Self {
        frame: Frame::Length,
        left: 0,
        expected: Expected::NONE,
        walker: Walker::IDLE,
        memo: Memo::None,
        ready: false,
        waiting_since: None,
    };

    /// Shifts the scale of time.
    pub(crate) fn age(&mut self, by: Span) {
        if let Some(waiting_since) = &mut self.waiting_since {
            waiting_since.age(by);
        }
        if let Memo::Cluster(memo) = &mut self.memo {
            memo.age(by);
        }
    }

    /// Returns how many record bytes come next.
    pub(crate) fn records_left(&self) -> usize {
        self.walker.records_left() as usize
    }
}
