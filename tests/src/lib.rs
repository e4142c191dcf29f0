//! kavka-tests

pub mod kafka;
