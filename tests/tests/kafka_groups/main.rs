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

use kavka_tests::kafka::{Site, Spec, Version};

/// Returns one broker with KIP-848 switched on.
fn broker(version: Version) -> Option<Site> {
    Site::new(Spec::new(version, 1).kip_848())
}
