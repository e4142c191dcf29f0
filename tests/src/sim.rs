//! The simulator ([`kavka_sim`]), and what `simulate` runs in it.

pub mod committed;
pub mod copies;
pub mod groups;
pub mod keys;
pub mod ordered;
pub mod swarm;

pub use kavka_sim::*;
