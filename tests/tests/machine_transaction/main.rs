//! Transactions against scripted coordinators and simulated clusters, in virtual time.

mod added;
mod begins;
mod ends;
mod errors;
mod identity;
mod late;
mod memory;
mod offsets;
mod simulated;
mod steps;
