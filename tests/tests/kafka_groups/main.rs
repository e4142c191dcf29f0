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

use kavka_tests::kafka::{Cluster, Spec, Version, start_or_skip};

/// Starts one broker with KIP-848 switched on.
fn broker(version: Version) -> Option<Cluster> {
    let spec = Spec::new(version, 1);
    // On by default from 4.0 on.
    let protocols = "group.coordinator.rebalance.protocols";
    start_or_skip(match version {
        Version::V3_9_2 => spec.set(protocols, "classic,consumer"),
        _ => spec,
    })
}
