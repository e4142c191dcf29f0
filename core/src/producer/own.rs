//! Deadlines that records bring along, shorter than the delivery timeout (feature `std`). Records
//! share a batch only with those of about the same deadline, since a batch ends as a whole. Without
//! the feature there are none, and all of this has no size.

#[cfg(feature = "std")]
pub(crate) use on::*;

#[cfg(not(feature = "std"))]
pub(crate) use off::*;

#[cfg(feature = "std")]
mod on {
    use super::super::Producer;
    use crate::cluster::Cx;
    use crate::time::{Span, Tick};

    /// A batch takes records whose deadline is later than its own by this at most.
    const SLACK: Span = Span::from_millis(10);
    /// Deadlines are not checked more often than this.
    const PACE: Span = Span::from_millis(1);

    /// The deadline of a record, and of the batch that begins with it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Own(Tick);

    impl Own {
        pub(crate) const NONE: Self = Self(Tick::ZERO);

        /// After `left`, which is not zero.
        pub(crate) fn after(now: Tick, left: Span) -> Self {
            Self(now + left.max(Span::LEAST))
        }

        /// Whether a batch with this deadline takes a record with that one.
        pub(crate) fn takes(self, record: Self) -> bool {
            let same = match (self, record) {
                (Self::NONE, _) | (_, Self::NONE) => self == record,
                _ => self.0 <= record.0 && record.0 <= self.0 + SLACK,
            };
            guard!("a batch has one deadline", same => true)
        }

        /// Returns the earlier one of this and another deadline.
        pub(crate) fn or(self, other: Tick) -> Tick {
            if self == Self::NONE { other } else { other.min(self.0) }
        }

        pub(crate) fn age(&mut self, by: Span) {
            self.0.age(by);
        }
    }

    /// When such deadlines are checked next.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct OwnTimer(Tick);

    impl OwnTimer {
        pub(crate) const NEVER: Self = Self(Tick::NEVER);

        /// Notes the deadline of a new batch.
        pub(crate) fn note(&mut self, own: Own) {
            self.0 = own.or(self.0);
        }

        pub(crate) fn age(&mut self, by: Span) {
            self.0.age(by);
        }
    }

    impl Producer<'_> {
        /// Returns a batch whose own deadline is over, or else when the next one may be.
        pub(in crate::producer) fn over(&mut self, cx: &Cx<'_>) -> Result<usize, Tick> {
            if self.own_timer.0 > cx.now {
                return Err(self.own_timer.0);
            }
            let mut next = Tick::NEVER;
            let mut link = self.aging.first();
            while let Some(batch) = link.get() {
                link = self.ages.next(batch);
                let at = self.batches[batch].own.or(Tick::NEVER);
                if guard!("a record's own deadline counts", at <= cx.now) {
                    return Ok(batch);
                }
                next = next.min(at);
            }
            self.own_timer.0 = next.max(cx.now + PACE);
            Err(next)
        }
    }
}

#[cfg(not(feature = "std"))]
mod off {
    use super::super::Producer;
    use crate::cluster::Cx;
    use crate::time::{Span, Tick};

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Own;

    impl Own {
        pub(crate) const NONE: Self = Self;

        pub(crate) const fn takes(self, _record: Self) -> bool {
            true
        }

        pub(crate) const fn or(self, other: Tick) -> Tick {
            other
        }

        pub(crate) const fn age(&mut self, _by: Span) {}
    }

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct OwnTimer;

    impl OwnTimer {
        pub(crate) const NEVER: Self = Self;

        pub(crate) const fn note(&mut self, _own: Own) {}

        pub(crate) const fn age(&mut self, _by: Span) {}
    }

    impl Producer<'_> {
        pub(in crate::producer) const fn over(&mut self, _: &Cx<'_>) -> Result<usize, Tick> {
            Err(Tick::NEVER)
        }
    }
}
