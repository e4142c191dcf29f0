#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc, clippy::alloc_instead_of_core)]

#[macro_use]
mod log;
mod driver;
#[cfg(feature = "net")]
pub mod net;
mod socket;
pub mod stream;
#[cfg(feature = "tls")]
pub mod tls;

pub use driver::{Driver, now};
pub use kavka_core as core;
#[cfg(feature = "net")]
pub use net::{NetSocket, SocketMem};
pub use socket::Socket;
