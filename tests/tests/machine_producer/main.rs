//! The producer against scripted brokers, in virtual time. More of it in `scenarios`.

mod memory;
mod requests;
mod room;
