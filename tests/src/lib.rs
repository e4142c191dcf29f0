//! kavka-tests

pub mod sim;
