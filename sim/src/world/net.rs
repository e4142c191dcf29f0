//! The network between clients and brokers, and what goes wrong with its streams.

use core::fmt;
use core::time::Duration;

use crate::rng::Rng;

/// The network between clients and brokers. Every stream keeps its order.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    /// Shortest time that bytes, and opening a connection, take.
    pub fastest: Duration,
    /// Longest such time.
    pub slowest: Duration,
    /// Whether streams are split into random pieces.
    pub pieces: bool,
    /// What goes wrong.
    pub trouble: Trouble,
}

impl Default for Net {
    fn default() -> Self {
        Self {
            fastest: Duration::from_micros(100),
            slowest: Duration::from_millis(3),
            pieces: true,
            trouble: Trouble::default(),
        }
    }
}

/// How often streams fail, each in 10,000 chances. All zero: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// A piece is truncated and the stream is reset after it.
    pub reset: u16,
    /// A request is applied; at most a part of its response arrives, then the stream is reset.
    pub lost_response: u16,
    /// A piece takes up to [`Trouble::stall_for`] longer, and so does all that follows it.
    pub stall: u16,
    /// Longest stall.
    pub stall_for: Duration,
    /// Nothing arrives any more from here on, in one direction or both, and neither side is
    /// notified.
    pub half_open: u16,
    /// A new connection passes a few bytes at a time.
    pub trickle: u16,
    /// A connection is refused.
    pub refused: u16,
    /// A connection takes up to [`Trouble::stall_for`] longer to open.
    pub slow_connect: u16,
    /// A connection never opens, and the client is not notified.
    pub no_connect: u16,
}

/// The directions in which no bytes arrive any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dark {
    pub(super) to_broker: bool,
    pub(super) to_client: bool,
}

impl Trouble {
    /// Returns whether something that goes wrong at this rate does so now.
    pub(super) fn strikes(rng: &mut Rng, rate: u16) -> bool {
        rate > 0 && rng.below(10_000) < u64::from(rate)
    }

    /// Returns how much longer something takes.
    pub(super) fn delay(&self, rng: &mut Rng, rate: u16) -> Duration {
        if !Self::strikes(rng, rate) {
            return Duration::ZERO;
        }
        rng.time(Duration::ZERO, self.stall_for)
    }

    /// Returns which directions go silent.
    pub(super) fn darkness(&self, rng: &mut Rng) -> Dark {
        if !Self::strikes(rng, self.half_open) {
            return Dark::default();
        }
        let which = rng.below(3);
        Dark { to_broker: which != 1, to_client: which != 0 }
    }
}

/// Formats the troubles that happen, as `name:rate`.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("reset", self.reset),
            ("lost-answer", self.lost_response),
            ("stall", self.stall),
            ("half-open", self.half_open),
            ("trickle", self.trickle),
            ("refused", self.refused),
            ("slow-connect", self.slow_connect),
            ("no-connect", self.no_connect),
        ];
        let some: Vec<String> = all
            .iter()
            .filter(|(_, rate)| *rate > 0)
            .map(|(name, rate)| format!("{name}:{rate}"))
            .collect();
        f.write_str(&some.join(" "))
    }
}
