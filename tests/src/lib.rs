//! What kavka's tests need: scripted peers, simulated brokers on loopback, real Kafka clusters,
//! and a checker of what happened with them.

pub mod chaos;
pub mod checker;
pub mod history;
pub mod kafka;
pub mod packed;
pub mod script;
pub mod sim;

/// The examples of README.md, which compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
