//! The producer against scripted brokers, in virtual time. More of it in `scenarios`.

mod flush;
mod memory;
mod partitions;
mod requests;
mod room;
