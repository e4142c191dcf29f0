//! What the leader of a classic group computes: examples, rules, and Java's own assignors.

mod bytes;
mod case;
mod examples;
mod java;
mod rules;
