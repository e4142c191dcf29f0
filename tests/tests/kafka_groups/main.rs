//! Groups on real Kafka brokers: members that come and go, commits, growth under `latest`.
//!
//! Skipped with one line where Java is missing; `KAVKA_REQUIRE_JAVA=1` makes that a failure.

#![allow(clippy::std_instead_of_alloc, reason = "only ever runs where there is std")]

mod classic;
mod exact;
mod growth;
mod java;
mod member;
mod members;
mod pattern;
mod racks;
mod statics;

use core::ops::Deref;
use core::sync::atomic::{AtomicU32, Ordering};

use kavka_tests::kafka::{Cluster, Spec, Version, shared_or_skip};

/// A broker that tests share, and a topic and a group that are this test's own.
struct Site {
    cluster: &'static Cluster,
    topic: String,
}

impl Deref for Site {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster
    }
}

/// Returns one broker with KIP-848 switched on.
fn broker(version: Version) -> Option<Site> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let cluster = shared_or_skip(Spec::new(version, 1).kip_848())?;
    let topic = format!("readings-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    Some(Site { cluster, topic })
}
