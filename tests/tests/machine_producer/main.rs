//! The producer against scripted brokers, in virtual time. More of it in `scenarios`.

mod first;
mod linger;
mod memory;
mod requests;
mod room;
