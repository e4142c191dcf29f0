//! What kavka's tests need: scripted peers, simulated brokers on loopback, real Kafka clusters.

pub mod kafka;
pub mod script;
pub mod sim;
