//! Mistakes of the loop around a client, where they can be detected. Without the feature `misuse`
//! nothing is kept, and all of this has no size.

#[cfg(feature = "misuse")]
pub(crate) use on::*;

#[cfg(not(feature = "misuse"))]
pub(crate) use off::*;

#[cfg(feature = "misuse")]
mod on {
    use crate::error::{Error, Misuse, PeerFault};
    use crate::time::{Span, Tick};

    /// Steps back of less than this are those of a loop that reads its clock once a turn.
    const STEP_BACK: Span = Span::from_secs(1);
    /// So many responses do not arrive within one tick.
    const AT_ONCE: u16 = 256;

    /// What an adapter was offered on a connection.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Offer {
        /// A receive buffer, and nothing was reported as received since.
        buffer: bool,
        /// Bytes to transmit that were not reported as transmitted since.
        bytes: u32,
    }

    impl Offer {
        pub(crate) const NONE: Self = Self { buffer: false, bytes: 0 };

        pub(crate) const fn lend(&mut self) {
            self.buffer = true;
        }

        /// Whether `len` bytes cannot have been received into a buffer with `space`.
        pub(crate) fn is_overrun(&mut self, len: usize, space: usize) -> bool {
            let lent = core::mem::take(&mut self.buffer);
            len > 0 && guard!("only a buffer that was lent is filled", !lent || len > space)
        }

        pub(crate) const fn show(&mut self, bytes: u32) {
            self.bytes = bytes;
        }

        /// Whether `len` bytes cannot have been transmitted.
        pub(crate) fn is_exceeded(&mut self, len: usize) -> bool {
            let left = u32::try_from(len).ok().and_then(|len| self.bytes.checked_sub(len));
            self.bytes = left.unwrap_or(0);
            guard!("only bytes that were shown are transmitted", left.is_none())
        }
    }

    /// Counts the mistakes, and remembers the last one.
    pub(crate) struct Watch {
        latest: Tick,
        /// Responses since then.
        responses: u16,
        count: u32,
        last: Option<Misuse>,
        /// The mistake that may be the reason for an apparent fault of the peer.
        suspicion: Option<Misuse>,
    }

    impl Watch {
        pub(crate) const fn new() -> Self {
            Self { latest: Tick::ZERO, responses: 0, count: 0, last: None, suspicion: None }
        }

        pub(crate) fn age(&mut self, by: Span) {
            self.latest.age(by);
        }

        #[cold]
        pub(crate) const fn note(&mut self, misuse: Misuse) {
            self.count = self.count.saturating_add(1);
            self.last = Some(misuse);
        }

        /// Checks the clock.
        pub(crate) fn look(&mut self, now: Tick) {
            if guard!("a clock that goes back is noticed", now + STEP_BACK < self.latest) {
                self.note(Misuse::ClockBack);
                self.latest = now;
            } else if now > self.latest {
                (self.latest, self.responses) = (now, 0);
            }
        }

        /// Counts a response that has been read.
        pub(crate) fn responded(&mut self) {
            self.responses += 1;
            if guard!("a clock that stands is noticed", self.responses >= AT_ONCE) {
                self.note(Misuse::ClockStopped);
                self.responses = 0;
            }
        }

        pub(crate) const fn suspect(&mut self, misuse: Misuse) {
            self.suspicion = Some(misuse);
        }

        /// Returns the error for an apparent fault of the peer: a mistake of the loop, if one is
        /// suspected.
        pub(crate) fn blame(&mut self, fault: PeerFault) -> Error {
            match self.suspicion.take() {
                Some(misuse) => {
                    self.note(misuse);
                    Error::Caller(misuse)
                }
                None => Error::Peer(fault),
            }
        }

        pub(crate) const fn report(&self) -> (u32, Option<Misuse>) {
            (self.count, self.last)
        }
    }
}

#[cfg(not(feature = "misuse"))]
mod off {
    use crate::error::{Error, Misuse, PeerFault};
    use crate::time::{Span, Tick};

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Offer;

    impl Offer {
        pub(crate) const NONE: Self = Self;

        pub(crate) const fn lend(&mut self) {}

        pub(crate) const fn is_overrun(&mut self, _len: usize, _space: usize) -> bool {
            false
        }

        pub(crate) const fn show(&mut self, _bytes: u32) {}

        pub(crate) const fn is_exceeded(&mut self, _len: usize) -> bool {
            false
        }
    }

    pub(crate) struct Watch;

    impl Watch {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) const fn age(&mut self, _by: Span) {}

        pub(crate) const fn note(&mut self, _misuse: Misuse) {}

        pub(crate) const fn look(&mut self, _now: Tick) {}

        pub(crate) const fn responded(&mut self) {}

        pub(crate) const fn suspect(&mut self, _misuse: Misuse) {}

        pub(crate) const fn blame(&mut self, fault: PeerFault) -> Error {
            Error::Peer(fault)
        }
    }
}
