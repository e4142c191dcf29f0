//! kavka over `std` sockets.
#![deny(unsafe_code)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

mod admin;
mod config;
mod consumer;
pub mod driver;
mod error;
mod event;
mod pending;
mod producer;
mod queue;
mod worker;

pub use admin::{
    Admin, BrokerDescription, ClusterDescription, NewTopic, PartitionDescription, TopicDescription,
};
pub use config::Config;
pub use consumer::{Chunk, ChunkBatch, Consumer, Received};
pub use driver::{Driver, Mode};
pub use error::{Error, ErrorKind, ProduceError};
pub use event::{Event, Events, Freshness};
pub use kavka_core;
pub use kavka_core::record::{Header, Record};
pub use kavka_core::{Acks, Limits, OutOfRange, Probing, Start};
pub use pending::Pending;
pub use producer::{Delivered, Lost, Producer};
