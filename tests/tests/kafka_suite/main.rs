//! Real Kafka brokers: records, growth and recreation on every version, faults on three brokers.
//!
//! Skipped with one line where Java is missing; `KAVKA_REQUIRE_JAVA=1` makes that a failure.

#![allow(clippy::std_instead_of_alloc, reason = "only ever runs where there is std")]

mod chaos;
mod compression;
mod faults;
mod load;
mod old;
mod replicas;
mod versions;
