//! kavka-tests

pub mod kafka;
pub mod sim;
