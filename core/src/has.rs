//! What a build has beyond the least, by feature. A build with `--cfg kavka_lean` has none of it,
//! so that tests which choose no features run without, too.

#[cfg(not(all(
    feature = "split",
    feature = "culprits",
    feature = "moves",
    feature = "resend-unblamed",
    feature = "reasons",
    feature = "witness",
    feature = "silence",
    feature = "unwatch",
    feature = "admin",
)))]
use core::marker::PhantomData;

use crate::time::{Span, Tick};

/// Leaves out what `--cfg kavka_lean` is to leave out.
const fn unless_lean(wanted: bool) -> bool {
    wanted && !cfg!(kavka_lean)
}

/// Batches that a broker finds too large are split.
pub(crate) const SPLIT: bool = unless_lean(cfg!(feature = "split"));
/// Records that a broker names as the reason for a refusal are distinguished from the others.
pub(crate) const CULPRITS: bool = unless_lean(cfg!(feature = "culprits"));
/// The others are sent again.
pub(crate) const RESEND: bool = unless_lean(cfg!(feature = "resend-unblamed"));
/// Records without keys move away from partitions without a reachable leader.
pub(crate) const MOVES: bool = unless_lean(cfg!(feature = "moves"));
/// What stood in the way of a time-out is kept.
pub(crate) const REASONS: bool = unless_lean(cfg!(feature = "reasons"));
/// Silent connections are reported, and end while others get responses.
pub(crate) const SILENCE: bool = unless_lean(cfg!(feature = "silence"));
/// Spare connections are used: clients with eight or more have some.
pub(crate) const WITNESS: bool = unless_lean(cfg!(feature = "witness"));
/// Topics are forgotten when they are no longer used. Not part of a lean build, since that would
/// leave out a function of the API.
pub(crate) const UNWATCH: bool = cfg!(feature = "unwatch");
/// Every address may lead to another cluster, or refuse the login: what waits fails then.
pub(crate) const STRAYS: bool =
    cfg!(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early")));
/// A session that ends is renewed over its connection, not by a new one (KIP-368).
#[cfg(feature = "sasl")]
pub(crate) const RENEWAL: bool = unless_lean(cfg!(feature = "renewal"));
/// A mechanism may need tokens of the application.
#[cfg(feature = "sasl")]
pub(crate) const TOKENS: bool = cfg!(feature = "tokens");
/// What brokers say about a refusal is kept. Not part of a lean build, since that would leave out a
/// function of the API.
#[cfg(feature = "sasl")]
pub(crate) const WORDS: bool = cfg!(feature = "refusal-text");
/// Brokers that respond at once with nothing new are sent the next Fetch later, and what they leave
/// out is missed.
pub(crate) const PACE: bool = unless_lean(cfg!(feature = "pace"));
/// The application may change topics itself.
pub(crate) const ADMIN: bool = cfg!(feature = "admin");
/// The leader of a classic group considers racks.
#[cfg(feature = "classic")]
pub(crate) const RACKS: bool = unless_lean(cfg!(feature = "std"));
/// The client may be a member of a group.
pub(crate) const COORDINATORS: bool = cfg!(any(feature = "group", feature = "transactions"));
/// A batch that was packed is unpacked where it has to be taken apart.
#[cfg(all(feature = "pack", any(feature = "lz4", feature = "snappy")))]
pub(crate) const UNPACKS: bool = SPLIT || CULPRITS;
/// Batches that are larger than the scratch are packed in pieces.
#[cfg(feature = "pack")]
pub(crate) const PIECES: bool = unless_lean(cfg!(feature = "pieces"));
/// Batches may be packed with zstd, which some brokers do not know: devices have no encoder for it.
#[cfg(feature = "pack")]
pub(crate) const ZSTD: bool = cfg!(feature = "std");
/// The checksums inside LZ4 frames are verified.
#[cfg(feature = "codecs")]
pub(crate) const CODEC_CHECKS: bool = cfg!(feature = "codec-checks");
/// Leaders that Produce and Fetch responses name are adopted without a Metadata request (KIP-951).
pub(crate) const HINTS: bool = unless_lean(cfg!(feature = "hints"));
/// Events report where reading begins and that it reached the end. Not part of a lean build, since
/// that would leave out what the configuration requests.
pub(crate) const POSITIONS: bool = cfg!(feature = "positions");
/// Faulty ApiVersions responses of some brokers are tolerated.
pub(crate) const LENIENT: bool = unless_lean(cfg!(feature = "lenient"));

/// Values that builds without a feature do not keep: no memory there, and always the same value.
macro_rules! kept {
    ($($(#[$doc:meta])* $name:ident: $build:meta;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name<T: Copy>(
            #[cfg($build)] T,
            #[cfg(not($build))] PhantomData<T>,
        );

        #[allow(dead_code, reason = "each part of a build has its own")]
        impl<T: Copy> $name<T> {
            /// What a build that does not keep it returns has to be the value here, too.
            pub(crate) const fn new(_value: T) -> Self {
                Self(
                    #[cfg($build)]
                    _value,
                    #[cfg(not($build))]
                    PhantomData,
                )
            }

            pub(crate) const fn set(&mut self, _value: T) {
                #[cfg($build)]
                {
                    self.0 = _value;
                }
            }

            /// Returns the value, `absent` where it is not kept.
            pub(crate) const fn or(self, _absent: T) -> T {
                #[cfg($build)]
                return self.0;
                #[cfg(not($build))]
                _absent
            }
        }

        #[allow(dead_code, reason = "most of them are no times")]
        impl $name<Tick> {
            /// Shifts the scale of time.
            pub(crate) fn age(&mut self, _by: Span) {
                #[cfg($build)]
                self.0.age(_by);
            }
        }
    )*};
}

kept! {
    /// Of splitting batches.
    Split: feature = "split";
    /// Of records at fault.
    Culprits: feature = "culprits";
    /// Of moving batches.
    Moves: feature = "moves";
    /// Of moving batches, or of sending parts of them again.
    Numbers: any(feature = "moves", feature = "resend-unblamed");
    /// Of obstacles.
    Reasons: feature = "reasons";
    /// Of spare connections.
    Witness: feature = "witness";
    /// Of silent connections.
    Silent: feature = "silence";
    /// Of packed batches that have to be taken apart.
    Packed: any(feature = "split", feature = "culprits");
    /// Of topics that go.
    Unwatch: feature = "unwatch";
    /// Of what the application changes itself.
    Own: feature = "admin";
}
