//! A simulated Kafka cluster for tests.
//!
//! [`Cluster`] is the model: topics, logs, leaders, epochs, producer state, fetch sessions and each
//! broker's own (perhaps stale) metadata. It does no I/O and reads no clock: requests and time go
//! in, responses come out. [`Server`] runs it on loopback TCP with the real clock, for any Kafka
//! client; [`World`] runs it and clients of `kavka-core` in virtual time, without sockets, from a
//! seed.
//!
//! Requests and responses go through the `kafka-protocol` crate, never through kavka's own codec.
//! Behaviour follows real brokers 1.1.1 to 4.4.0, as each module notes.
//!
//! A panic of this crate is a test failure: its message names the seed and the time.

pub mod batch;
pub mod code;
pub mod counters;
pub mod deed;
pub mod fault;
pub mod frame;
mod image;
pub mod journal;
mod log;
pub mod model;
pub mod old;
pub mod packed;
pub mod profile;
pub mod rng;
pub mod sasl;
pub mod tcp;
pub mod world;

pub use counters::{Counters, Traffic};
pub use deed::{Deed, What};
pub use fault::Fault;
pub use journal::Journal;
pub use kafka_protocol::messages::ApiKey;
pub use model::{Cluster, Groups, Looks, Options, Output, Reply, Stretch, Transactions, TxnState};
pub use profile::Profile;
pub use rng::Rng;
pub use sasl::{Sasl, Tamper};
pub use tcp::Server;
pub use world::{App, Fetched, Net, World};

/// The example of README.md, run as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
