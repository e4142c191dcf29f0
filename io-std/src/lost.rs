//! What a producer that ends could not deliver.

use std::fmt;

use crate::error::Error;

/// Records that a closed producer did not get acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    /// Never sent.
    pub unsent: u64,
    /// Perhaps sent, not acknowledged: they may be in the log all the same.
    pub unacknowledged: u64,
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
        write!(f, "{all} {records} lost: {unsent} not sent, {unsure} not acknowledged, ")?;
        write!(f, "{} failed", self.failed)?;
        match &self.first {
            Some(error) => write!(f, " ({error})"),
            None => Ok(()),
        }
    }
}
