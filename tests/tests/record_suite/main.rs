//! `kavka_core::record` and `murmur2` against golden bytes, bad bytes and random ones.

mod bad;
mod golden;
mod old;
mod properties;
mod support;
