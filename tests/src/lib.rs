//! What kavka's tests need: simulated brokers on loopback, and real Kafka clusters.

pub mod kafka;
pub mod sim;
