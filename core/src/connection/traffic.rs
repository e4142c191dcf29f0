//! What connections carry, for the metrics of servers (feature `std`). Without it nothing is kept,
//! and all of this has no size.

#[cfg(feature = "std")]
pub(crate) use on::*;

#[cfg(not(feature = "std"))]
pub(crate) use off::*;

#[cfg(feature = "std")]
mod on {
    use crate::time::{Duration, Span, Tick};

    /// When the last byte of a request was sent.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Sent(Tick);

    impl Sent {
        pub(crate) const NOT: Self = Self(Tick::ZERO);

        pub(crate) const fn leave(&mut self, now: Tick) {
            self.0 = now;
        }

        pub(crate) fn age(&mut self, by: Span) {
            self.0.age(by);
        }
    }

    /// Counters of one connection, or of all together.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Traffic {
        pub(crate) bytes_out: u64,
        pub(crate) bytes_in: u64,
        pub(crate) requests: u64,
        /// Smoothed as TCP does it (RFC 6298); counts once there was a response.
        round_trip: Span,
        measured: bool,
    }

    impl Traffic {
        pub(crate) const NONE: Self = Self {
            bytes_out: 0,
            bytes_in: 0,
            requests: 0,
            round_trip: Span::ZERO,
            measured: false,
        };

        /// `None` before the first response.
        pub(crate) fn round_trip(&self) -> Option<Duration> {
            self.measured.then(|| self.round_trip.duration())
        }

        pub(crate) const fn requested(&mut self) {
            self.requests += 1;
        }

        pub(crate) const fn wrote(&mut self, bytes: usize) {
            self.bytes_out += bytes as u64;
        }

        pub(crate) const fn read(&mut self, bytes: usize) {
            self.bytes_in += bytes as u64;
        }

        /// Notes the response to a request that the broker does not hold back.
        pub(crate) fn responded(&mut self, sent: Sent, now: Tick) {
            let took = sent.0.until(now);
            let before = core::mem::replace(&mut self.measured, true);
            let eighths = self.round_trip.times(7) + took;
            self.round_trip = if before { eighths.shifted(3) } else { took };
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_round_trip_is_smoothed_over_eight_responses() {
            let mut traffic = Traffic::NONE;
            let mut response = |millis: u64| {
                let mut sent = Sent::NOT;
                sent.leave(Tick::from_millis(1000));
                traffic.responded(sent, Tick::from_millis(1000 + millis));
                traffic.round_trip.millis()
            };
            assert_eq!(response(80), 80, "the first one counts whole");
            assert_eq!(response(160), 90);
            for _ in 0..40 {
                response(8);
            }
            assert!((8..10).contains(&response(8)));
        }
    }
}

#[cfg(not(feature = "std"))]
mod off {
    use crate::time::{Span, Tick};

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Sent;

    impl Sent {
        pub(crate) const NOT: Self = Self;

        pub(crate) const fn leave(&mut self, _now: Tick) {}

        pub(crate) const fn age(&mut self, _by: Span) {}
    }

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Traffic;

    impl Traffic {
        pub(crate) const NONE: Self = Self;

        pub(crate) const fn requested(&mut self) {}

        pub(crate) const fn wrote(&mut self, _bytes: usize) {}

        pub(crate) const fn read(&mut self, _bytes: usize) {}

        pub(crate) const fn responded(&mut self, _sent: Sent, _now: Tick) {}
    }
}
