//! The context that every part of a client works with, as one argument.

use super::Cluster;
use crate::config::Settings;
use crate::connection::Net;
use crate::memory::Rng;
#[cfg(any(feature = "group", feature = "transactions"))]
use crate::memory::backoff;
use crate::time::Tick;

/// The client's settings and resources, and what is known of the cluster; the parts of the
/// cluster's work that need all of it are methods of this.
pub(crate) struct Cx<'d> {
    pub(crate) settings: Settings<'d>,
    /// For jitter and for choices, not for secrets.
    pub(crate) rng: Rng,
    /// The time of this call.
    pub(crate) now: Tick,
    pub(crate) net: Net<'d>,
    pub(crate) cluster: Cluster<'d>,
}

impl Cx<'_> {
    /// Returns when to try again after one more failure.
    #[cfg(any(feature = "group", feature = "transactions"))]
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) fn retry_at(&mut self, failures: &mut u8) -> Tick {
        let (base, max) = (self.settings.retry_backoff, self.settings.retry_backoff_max);
        let before = *failures;
        *failures = before.saturating_add(1);
        backoff(&mut self.rng, self.now, base, max, before)
    }

    /// Returns whether something has to be done before any deadline.
    pub(crate) fn is_dirty(&self) -> bool {
        let (net, cluster) = (&self.net, &self.cluster);
        net.stirred
            || net.check
            || cluster.brokers_moved
            || cluster.wants_requests
            || cluster.topics.has_changed()
            || cluster.table.has_relocated()
    }
}
