//! Real Kafka brokers: records, growth and recreation on every version, faults on three brokers.
//!
//! Skipped with one line where Java is missing; `KAVKA_REQUIRE_JAVA=1` makes that a failure.

mod faults;
mod load;
mod versions;
