//! The context that every part of a client works with, as one argument.

use super::Cluster;
use crate::config::Settings;
use crate::connection::Net;
use crate::memory::Rng;
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
