//! Connections against scripted brokers, in virtual time. More of it in `scenarios`.

mod away;
mod calls;
mod faults;
mod many;
mod reasons;
mod scarce;
mod silence;
