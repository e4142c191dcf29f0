//! What the brokers did, for those who judge what clients say of it.

use core::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

/// Something that a client cannot see, or only later.
#[derive(Clone, Debug)]
pub struct Deed {
    /// When it was done.
    pub at: Duration,
    /// Name of the topic.
    pub topic: StrBytes,
    /// What was done.
    pub what: What,
}

/// What was done to a topic.
#[derive(Clone, Debug)]
pub enum What {
    /// It was made, or has more partitions.
    Grown {
        /// Partitions now.
        count: u32,
    },
    /// It is gone with its data.
    Deleted,
    /// A leader took a batch, which has its offset in it.
    Appended {
        /// The partition.
        partition: u32,
        /// The batch as stored.
        batch: Bytes,
    },
    /// Retention: nothing below an offset is left.
    Trimmed {
        /// The partition.
        partition: u32,
        /// Offset of the first record that is left.
        to: i64,
    },
    /// Unclean election: from an offset on, the log is another one now, or none.
    Cut {
        /// The partition.
        partition: u32,
        /// Where the part ends that is as before.
        to: i64,
    },
}
