//! The producer against scripted brokers, in virtual time. `scenarios` has more.

mod culprits;
mod deadlines;
mod first;
mod flush;
mod linger;
mod memory;
mod order;
mod packed;
mod partitions;
mod requests;
mod room;
