//! What a producer that ends could not deliver.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;

/// Partitions that a text names; the others are counted.
const NAMED: usize = 8;

/// Records that a closed producer did not get acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    /// Never sent.
    pub unsent: u64,
    /// Perhaps sent, not acknowledged: they may be in the log all the same.
    pub unacknowledged: u64,
    /// Topic, partition and count of those that were in batches.
    pub places: Vec<(Arc<str>, u32, u64)>,
    /// Failed before, without a report by a
    /// [`Pending`](crate::Pending) or a flush.
    pub failed: u64,
    /// The first of those failures; without any, the obstacle of the others, if that is
    /// known.
    pub first: Option<Error>,
}

impl Lost {
    /// All of them.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.unsent + self.unacknowledged + self.failed
    }

    /// Whether nothing was lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records() == 0
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, unsent, unsure) = (self.records(), self.unsent, self.unacknowledged);
        let records = if all == 1 { "record" } else { "records" };
        write!(f, "{all} {records} lost: {unsent} not sent, {unsure} not acknowledged")?;
        let mut before = "";
        for (n, (topic, partition, count)) in self.places.iter().take(NAMED).enumerate() {
            f.write_str(if n == 0 { " (" } else { ", " })?;
            match **topic == *before {
                true => write!(f, "partition {partition}: {count}")?,
                false => write!(f, "{topic}, partition {partition}: {count}")?,
            }
            before = topic;
        }
        match self.places.len() {
            0 => {}
            all if all > NAMED => write!(f, ", and {} partitions more)", all - NAMED)?,
            _ => f.write_str(")")?,
        }
        write!(f, ", {} failed", self.failed)?;
        match &self.first {
            Some(error) => write!(f, " ({error})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_up_to_some() {
        let places = (0..3).map(|n| (Arc::from(if n < 2 { "t" } else { "u" }), n, 2)).collect();
        let lost = Lost { unacknowledged: 6, places, ..Lost::default() };
        let text = "6 records lost: 0 not sent, 6 not acknowledged (t, partition 0: 2, \
                    partition 1: 2, u, partition 2: 2), 0 failed";
        assert_eq!(lost.to_string(), text);
        let places = (0..10).map(|n| (Arc::from("t"), n, 1)).collect();
        let lost = Lost { unacknowledged: 10, places, ..Lost::default() };
        assert!(lost.to_string().contains("partition 7: 1, and 2 partitions more), 0 failed"));
        assert!(Lost::default().to_string().contains("0 not acknowledged, 0 failed"));
    }
}
