//! Encoding and decoding of the Kafka protocol, and nothing else: usable without the client.
//!
//! Every module below is one API: a request that is written field by field into a [`Sink`], and a
//! response that is decoded *step by step* from whatever bytes have arrived. A step takes what it
//! used from the front of its input and returns one item, or how many bytes it needs. It never
//! restarts and keeps no borrow, so a response may be far larger than the buffer it passes through.
//! Item by item is also the only way: no count read from the wire sizes anything.
//!
//! ```
//! use kavka_core::wire::{Decode, Step, list_offsets};
//!
//! let frame = [0, 0, 0, 0, 0, 0, 0, 0]; // ListOffsets v2: no throttling, no topics
//! let mut response = list_offsets::Response::new(2).expect("version 2 is spoken");
//! let mut input = &frame[..];
//! while let Step::Item(item) = response.step(&mut input)? {
//!     assert_eq!(item, list_offsets::Item::Throttle { ms: 0 });
//! }
//! assert!(input.is_empty());
//! # Ok::<(), kavka_core::wire::Malformed>(())
//! ```
//!
//! Neither the four bytes of frame length nor the correlation id of a response are read here: they
//! belong to the connection. The caller drops bytes after a response's end, since newer or sloppy
//! peers may send some.

mod api_key;
mod error_code;
mod read;
pub mod table;
mod write;

#[cfg(feature = "transactions")]
pub mod add_offsets_to_txn;
#[cfg(feature = "transactions")]
pub mod add_partitions_to_txn;
pub mod api_versions;
#[cfg(feature = "group-admin")]
pub mod consumer_group_describe;
#[cfg(feature = "group")]
pub mod consumer_group_heartbeat;
#[cfg(any(feature = "classic", feature = "group-admin"))]
pub mod consumer_protocol;
pub mod create_partitions;
pub mod create_topics;
#[cfg(feature = "group-admin")]
pub mod delete_groups;
pub mod delete_topics;
#[cfg(any(feature = "coverage", feature = "group-admin"))]
pub mod describe_groups;
pub mod describe_topic_partitions;
#[cfg(feature = "transactions")]
pub mod end_txn;
pub mod fetch;
#[cfg(any(feature = "group", feature = "group-admin", feature = "transactions"))]
pub mod find_coordinator;
pub mod header;
#[cfg(feature = "classic")]
pub mod heartbeat;
pub mod init_producer_id;
#[cfg(feature = "classic")]
pub mod join_group;
#[cfg(feature = "classic")]
pub mod leave_group;
#[cfg(feature = "group-admin")]
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
#[cfg(any(feature = "group", feature = "group-admin"))]
pub mod offset_commit;
#[cfg(feature = "group-admin")]
pub mod offset_delete;
#[cfg(any(feature = "group", feature = "group-admin"))]
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
#[cfg(feature = "sasl")]
pub mod sasl_authenticate;
#[cfg(feature = "sasl")]
pub mod sasl_handshake;
#[cfg(feature = "classic")]
pub mod sync_group;
#[cfg(feature = "transactions")]
pub mod txn_offset_commit;

use core::fmt;

pub use api_key::ApiKey;
pub(crate) use error_code::Codes;
pub use error_code::ErrorCode;
pub use read::Ints;
#[cfg(any(feature = "classic", feature = "sasl"))]
pub(crate) use write::Length;
pub use write::{Full, Sink, SliceSink, Writer};

/// Versions of OffsetCommit and OffsetFetch from this one on are spoken: without `classic` members
/// are those of KIP-848, whose coordinators have all of them (Kafka 3.7).
#[cfg(any(feature = "group", feature = "group-admin"))]
const OFFSETS_SINCE: i16 =
    if cfg!(any(feature = "classic", feature = "group-admin")) { 1 } else { 9 };

/// Whether such a version has what `first` brought.
#[cfg(any(feature = "group", feature = "group-admin"))]
#[inline]
const fn offsets_have(version: i16, first: i16) -> bool {
    OFFSETS_SINCE >= first || version >= first
}

/// A message that can be written whole.
pub trait Encode {
    /// The API it belongs to.
    const API: ApiKey;
    /// First and last version that [`Encode::encode`] writes.
    const VERSIONS: (i16, i16);

    /// Appends the message body in the format of `version`, which must lie in
    /// [`Encode::VERSIONS`]. Fields that the version does not have are left out.
    ///
    /// # Errors
    /// [`Full`] when the sink has no space or a string is longer than Kafka's 32,767 bytes; what
    /// was written so far is then useless.
    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full>;
}

/// A message that is read step by step, from bytes that arrive in any pieces.
pub trait Decode: Sized {
    /// The API it belongs to.
    const API: ApiKey;
    /// First and last version that it reads.
    const VERSIONS: (i16, i16);
    /// What a step returns; borrows from the input.
    type Item<'b>;

    /// Creates a decoder for one body of `version`; `None` outside [`Decode::VERSIONS`].
    fn new(version: i16) -> Option<Self>;

    /// Takes the next item from the front of `input`.
    ///
    /// After [`Step::More`] call again with at least `needed` bytes, beginning where `input` now
    /// begins. After [`Step::Done`] every further call returns `Done` and takes nothing.
    ///
    /// # Errors
    /// [`Malformed`] when no continuation could make the bytes a valid message. The decoder is then
    /// useless; further calls return an error again.
    fn step<'b>(&mut self, input: &mut &'b [u8]) -> Result<Step<Self::Item<'b>>, Malformed>;

    /// Drops the item for which [`Step::More`] requested bytes, because they can never fit.
    ///
    /// Its bytes are consumed as they come, the item `Skipped` takes its place, and the message
    /// continues (also with what was nested in the dropped item).
    fn skip(&mut self);

    /// Returns how many tagged fields were dropped because our tables do not know them.
    fn unknown_tags(&self) -> u32;
}

/// The result of one call of [`Decode::step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// The next item.
    Item(T),
    /// Nothing yet: `needed` bytes (at least 1, more than the input now holds) must be there for
    /// the next step to make progress; it may then request more again.
    More {
        /// Bytes, counted from where the input now begins.
        needed: usize,
    },
    /// The message is over.
    Done,
}

/// Why bytes are not the message that was due. Always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Malformed {
    /// A length or count below zero where the schema has no null, or below -1.
    Length,
    /// A string longer than 32,767 bytes.
    TooLong,
    /// A string that is not UTF-8.
    Utf8,
    /// An unsigned varint of more than 32 bits.
    Varint,
    /// Tags that do not ascend, or one tag twice.
    TagOrder,
    /// A tagged field that does not fit into its own size, or into what it is part of.
    Tag,
    /// A message deeper or longer than any version in our tables.
    Shape,
}

impl Malformed {
    /// The reason in words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Length => "length or count below zero",
            Self::TooLong => "string longer than 32,767 bytes",
            Self::Utf8 => "string is not UTF-8",
            Self::Varint => "varint of more than 32 bits",
            Self::TagOrder => "tags do not ascend",
            Self::Tag => "tagged field does not fit its size",
            Self::Shape => "message deeper or longer than its schema",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl core::error::Error for Malformed {}

/// A topic id or another 128-bit id, in wire order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// "No id": what brokers send for a topic that has none.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this is [`Uuid::ZERO`].
    #[must_use]
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}
