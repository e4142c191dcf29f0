//! What a build has beyond the least, by feature. A build with `--cfg kavka_lean` has none of it,
//! so that tests which choose no features run without, too.

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
/// The application may change topics itself.
pub(crate) const ADMIN: bool = cfg!(feature = "admin");
