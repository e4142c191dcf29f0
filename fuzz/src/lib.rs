//! Fuzz targets of kavka-core, one module each; `README.md` describes what they check.

pub mod apis;
pub mod assignors;
pub mod codecs;
pub mod commands;
pub mod differential;
pub mod framing;
pub mod hostile;
pub mod input;
pub mod login;
mod memory;
pub mod packing;
mod peer;
pub mod records;
pub mod responses;
pub mod roundtrip;
mod watch;
