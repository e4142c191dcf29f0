//! Connections against scripted brokers, in virtual time. Names in brackets are scenarios.

mod calls;
mod faults;
mod scarce;
