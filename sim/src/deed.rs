//! What the brokers did, for tests that compare it with what clients report.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::batch::Header;

/// Something that a client cannot see, or sees only later.
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
    /// It was created, or gained partitions.
    Grown {
        /// Partitions now.
        count: u32,
    },
    /// It was deleted with its data.
    Deleted,
    /// A leader appended a batch, which contains its offset.
    Appended {
        /// The partition.
        partition: u32,
        /// The batch as stored.
        batch: Bytes,
        /// Whether its sequence is above 0 although the log did not know its producer.
        amid: bool,
    },
    /// All producers are forgotten; they may write again what the log already holds.
    Forgotten {
        /// The partition.
        partition: u32,
    },
    /// Retention: records below an offset were deleted.
    Trimmed {
        /// The partition.
        partition: u32,
        /// Offset of the first record that remains.
        to: i64,
    },
    /// A group committed an offset.
    Committed {
        /// The group.
        group: StrBytes,
        /// The partition.
        partition: u32,
        /// The offset.
        offset: i64,
    },
    /// Unclean election: from an offset on, the log is lost or replaced.
    Cut {
        /// The partition.
        partition: u32,
        /// End of the part that is unchanged.
        to: i64,
    },
}

/// Formats a deed for traces.
impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = &*self.topic;
        match &self.what {
            What::Grown { count } => write!(f, "{topic} has {count} partitions"),
            What::Deleted => write!(f, "{topic} is gone"),
            What::Appended { partition, batch, .. } => {
                let Some(h) = Header::read(batch) else { return Ok(()) };
                let (first, last) = (h.base_offset, h.base_offset + i64::from(h.last_offset_delta));
                let producer = (h.producer_id, h.producer_epoch, h.base_sequence);
                write!(f, "{topic} {partition}: {first}..={last} appended, producer {producer:?}")
            }
            What::Forgotten { partition } => write!(f, "{topic} {partition}: producers forgotten"),
            What::Trimmed { partition, to } => write!(f, "{topic} {partition}: begins at {to}"),
            What::Committed { group, partition, offset } => {
                write!(f, "{topic} {partition}: {group} commits {offset}")
            }
            What::Cut { partition, to } => write!(f, "{topic} {partition}: cut at {to}"),
        }
    }
}
