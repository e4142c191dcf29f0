//! An Apache Kafka client as a state machine that does no I/O.
//!
//! Bytes come in, bytes go out, time is an argument, and all memory is allocated at the start. The
//! same machine runs in firmware, in an event loop of your own, behind a fuzzer and in a server.
//!
//! Start with [`Client`]; [`wire`] and [`record`] are usable alone.
#![no_std]
#![forbid(unsafe_code)]
// A build without a part leaves some helpers unused; a build with all parts leaves none.
#![cfg_attr(
    not(all(
        feature = "producer",
        feature = "consumer",
        feature = "admin",
        feature = "describe",
        feature = "replicas",
        feature = "epochs",
    )),
    allow(dead_code, unused_imports)
)]
#![warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc, clippy::alloc_instead_of_core)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(any(test, kavka_mutants))]
extern crate std;

#[macro_use]
mod guard;

#[cfg(not(all(feature = "producer", feature = "consumer", feature = "admin")))]
mod absent;
#[cfg(feature = "admin")]
mod admin;
mod api;
mod client;
mod cluster;
#[cfg(feature = "codecs")]
pub mod codec;
mod config;
mod connection;
#[cfg(feature = "consumer")]
mod consumer;
#[cfg(any(feature = "group", feature = "transactions"))]
mod coordinator;
mod error;
mod event;
#[cfg(feature = "group")]
mod group;
mod has;
mod id;
#[cfg(feature = "sasl")]
pub mod login;
mod memory;
pub mod murmur2;
#[cfg(feature = "producer")]
mod producer;
#[cfg(not(kavka_rare))]
mod rare;
#[cfg(kavka_rare)]
pub mod rare;
pub mod record;
mod response;
#[cfg(feature = "sasl")]
mod secret;
mod setup;
mod snapshot;
mod storage;
#[cfg(any(feature = "admin", feature = "transactions"))]
mod texts;
pub mod time;
#[cfg(feature = "transactions")]
mod transaction;
mod watch;
pub mod wire;

// Parts that a build leaves out are empty types under the same names.
#[cfg(not(feature = "admin"))]
mod admin {
    pub(crate) use crate::absent::{Absent as Admin, Nothing as Memo, Nothing as Request};
}
#[cfg(not(feature = "consumer"))]
mod consumer {
    pub(crate) use crate::absent::{
        Absent as Consumer, Bookmark, ConsumerMem, Found, Knots, Nothing as Memo, Nothing as Desk,
        Nothing as Follow, Nothing as Knot, Nothing as Assignment, Taken,
    };
}
#[cfg(not(feature = "producer"))]
mod producer {
    pub(crate) use crate::absent::{
        Absent as Producer, Nothing as Batch, Nothing as Memo, Nothing as Lane, Nothing as Queue,
        Nothing as Notch, Nothing as Spread, ProducerMem,
    };
}

#[cfg(feature = "std")]
pub use client::ConnStats;
pub use client::{Client, Commands, Stats};
pub use cluster::Probes;
#[cfg(feature = "classic")]
pub use config::Assignor;
#[cfg(feature = "group")]
pub use config::GroupProtocol;
#[cfg(feature = "read-committed")]
pub use config::Isolation;
#[cfg(feature = "key-order")]
pub use config::KeyOrder;
#[cfg(feature = "ordered-growth")]
pub use config::OrderedGrowth;
pub use config::{Acks, Config, OutOfRange, Probing, Start};
pub use connection::Transmit;
#[cfg(feature = "group")]
pub use error::GroupError;
#[cfg(feature = "sasl")]
pub use error::LoginFault;
#[cfg(feature = "transactions")]
pub use error::TransactionError;
pub use error::{
    AddressFault, AdminError, CloseReason, ConfigError, Error, LimitKind, Misuse, Obstacle,
    PeerFault, ProduceError, Protocol,
};
pub use event::{
    Action, Admin, Batch, Event, Freshness, MoveReason, Reply, Signal, Source, Target, Unreadable,
};
#[cfg(feature = "transactions")]
pub use event::{Consumed, Membership, Outcome};
#[cfg(feature = "group-admin")]
pub use event::{GroupAdmin, GroupOffset, GroupReply};
#[cfg(all(feature = "group", feature = "transactions"))]
pub use group::CommitMark;
#[cfg(feature = "classic")]
#[doc(hidden)]
pub use group::Leader;
#[cfg(feature = "classic")]
pub use group::LeaderMemory;
#[cfg(feature = "group")]
pub use id::CommitId;
pub use id::{BatchId, ConnId, PartitionId, RecordId, RequestId, TopicId, TopicPartition};
pub use record::{Header, Record, RecordRef, Records};
#[cfg(feature = "sasl")]
pub use secret::{Entropy, NoEntropy, Secret};
pub use snapshot::{RestoreError, Restored, Saved, snapshot_bytes};
pub use storage::{BLOCK_BYTES, Limits, Resources, Storage};
pub use time::{Duration, Instant};
