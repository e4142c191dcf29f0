//! What an application did, and what was reported to it, step by step.

use kavka_core::{Error, Instant, Start};

/// A record's own number: the client that wrote it and its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) process: usize,
    pub(super) number: u64,
}

impl Id {
    /// Returns the front of the record's value; the rest is padding.
    pub(super) fn text(self) -> String {
        format!("{}-{}-", self.process, self.number)
    }

    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(value).ok()?;
        let mut parts = text.splitn(3, '-');
        let process = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        parts.next().map(|_| Self { process, number })
    }
}

/// A step; the topic is its index in the plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) at: Instant,
    pub(super) topic: usize,
    pub(super) what: Done,
}

/// What was done; partitions and offsets as the client reports them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Done {
    /// The client accepted a record.
    Sent(Id),
    /// It is acknowledged in a partition, at this offset if the broker reported one.
    Delivered(Id, u32, Option<i64>),
    /// It was given up; whether it may be in the log nevertheless.
    Failed(Id, Error, bool),
    /// A record was read; `None` for one that no client here wrote.
    Read(Option<Id>, u32, i64),
    /// A partition, or all of them, is read from here on.
    Assigned(Option<u32>, Start),
    /// The application continues elsewhere.
    Sought(u32, Start),
    /// The client moved a position by itself, from and to.
    Moved(u32, i64, i64),
    /// The topic is known to have this many partitions.
    Counted(u32),
}
