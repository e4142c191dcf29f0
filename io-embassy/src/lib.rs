//! kavka on a device: the [`Client`](kavka_core::Client) over embassy-net's sockets, or over any
//! `embedded-io-async` stream.
//!
//! No allocation, no `unsafe`, and all memory is the caller's. Begin with [`Driver`].
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

pub use driver::{Driver, now};
pub use kavka_core as core;
#[cfg(feature = "net")]
pub use net::{NetSocket, SocketMem};
pub use socket::Socket;
