//! What the brokers did, for those who judge what clients say of it.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::batch::Header;

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
        /// Its sequence is not a first one, and the log knew nothing of its producer.
        amid: bool,
    },
    /// Nothing is known of producers any more, who may send what is there once more.
    Forgotten {
        /// The partition.
        partition: u32,
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

/// For those who read a trace.
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
            What::Cut { partition, to } => write!(f, "{topic} {partition}: cut at {to}"),
        }
    }
}
