//! kavka over `std` sockets.
#![deny(unsafe_code)]

pub mod driver;

pub use driver::{Driver, Mode};
