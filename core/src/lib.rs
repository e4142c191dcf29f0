//! An Apache Kafka client as a state machine that does no I/O.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod murmur2;
pub mod record;
pub mod time;
pub mod wire;
