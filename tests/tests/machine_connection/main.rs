//! Connections against scripted brokers, in virtual time. `scenarios` has more.

mod away;
mod calls;
mod causes;
mod faults;
mod many;
mod misuse;
mod reasons;
mod scarce;
mod silence;
