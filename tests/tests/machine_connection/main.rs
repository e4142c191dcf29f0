//! Connections against scripted brokers, in virtual time. More of it in `scenarios`.

mod calls;
mod faults;
mod scarce;
