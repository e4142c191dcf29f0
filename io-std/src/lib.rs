//! kavka over `std` sockets: an Apache Kafka client for servers.
//!
//! [`Producer`], [`Consumer`] and [`Admin`] each run a client of their own on a background thread.
//! Their results are [`Pending`]: futures for any runtime, or to be waited for.
//!
//! ```no_run
//! use kavka_std::{Config, Consumer, Producer, Record, Start};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new("localhost:9092");
//! let producer = Producer::new(config.clone())?;
//! producer.send("readings", &Record::new(b"21.5").key(b"pump-3"))?; // not waited for
//! producer.flush().wait()?; // reports the first failure that was not waited for
//!
//! let consumer = Consumer::assign_all(config.start(Start::Earliest), &["readings"])?;
//! for record in consumer.next().wait()?.records() {
//!     println!("{:?}", record?.value);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Driver`] is the part between: a client of `kavka-core` with its sockets, for an event loop of
//! your own. The `kavka` command is in this package too, behind the feature `cli`.
#![deny(unsafe_code)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

mod address;
mod admin;
mod bootstrap;
pub mod codec;
mod compression;
mod config;
mod consumer;
pub mod driver;
mod error;
mod event;
#[cfg(any(feature = "log", feature = "tracing"))]
mod logged;
mod lost;
mod metrics;
#[cfg(feature = "oidc")]
mod oidc;
#[cfg(feature = "pattern")]
mod pattern;
mod pending;
mod producer;
mod queue;
mod reasons;
mod security;
#[cfg(feature = "stream")]
mod stream;
mod stuck;
#[cfg(feature = "tls")]
mod tls;
mod wakers;
mod worker;

pub use admin::{
    Admin, BrokerDescription, ClusterDescription, CommittedOffset, GroupDescription, GroupKind,
    GroupListing, GroupMember, ListedGroup, NewOffset, NewTopic, PartitionDescription,
    TopicDescription,
};
pub use compression::Compression;
pub use config::Config;
pub use consumer::{Chunk, ChunkBatch, Consumer, MemberId, Received};
pub use driver::{Driver, Mode};
pub use error::{Error, ErrorKind, ProduceError};
pub use event::{Event, Events, Freshness};
pub use kavka_core;
pub use kavka_core::record::{Header, Record};
pub use kavka_core::{
    Acks, Consumed, GroupProtocol, Isolation, KeyOrder, Limits, Membership, OrderedGrowth,
    OutOfRange, Probing, Start,
};
pub use lost::Lost;
pub use metrics::{
    ConnMetrics, ConsumerMetrics, Histogram, NetMetrics, ProducerMetrics, TopicRead, TopicSent,
};
#[cfg(feature = "oidc")]
pub use oidc::Oidc;
#[cfg(feature = "pattern")]
pub use pattern::PatternTopics;
pub use pending::Pending;
pub use producer::{Delivered, Producer, Transaction, Within};
pub use security::{Sasl, Token};
#[cfg(feature = "stream")]
pub use stream::Items;
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsBuilder, rustls};
