//! A broker that tests share.

use core::ops::Deref;
use core::sync::atomic::{AtomicU32, Ordering};

use super::{Cluster, Spec, shared_or_skip};

/// A cluster that tests share, and a name for topics, groups and ids that is one test's own.
#[derive(Debug)]
pub struct Site {
    cluster: &'static Cluster,
    /// Not created.
    pub topic: String,
}

impl Site {
    /// Returns the cluster of this process with just this spec, and a name; `None` as for
    /// [`shared_or_skip`].
    ///
    /// # Panics
    /// As [`shared_or_skip`].
    pub fn new(spec: Spec) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cluster = shared_or_skip(spec)?;
        let topic = format!("readings-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Some(Self { cluster, topic })
    }
}

impl Deref for Site {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster
    }
}
