//! The producer against scripted brokers, in virtual time. More of it in `scenarios`.

mod culprits;
mod first;
mod flush;
mod linger;
mod memory;
mod partitions;
mod requests;
mod room;
